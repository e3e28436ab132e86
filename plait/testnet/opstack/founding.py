"""Makes a local network of OP Stack rollups on an L1 that runs already.

    found      deploys every rollup's portal and system configuration with ordinary transactions, takes the newest L1
               block as origin of all rollups' genesis, and writes what op-geth, op-node and Plait start from
    l1_chain_json
               the L1's configuration for op-node: a chain that is not public has to be described

Everything is made of public development keys: nothing here is for a network with value. Secrets of the network itself
(what authenticates an engine, who posts batches) are files of their own that only their owner may read.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.derivation.l1_facts import L1BlockFacts, encode_l1_facts
from plait.derivation.rollup_config import BlockId, OpStackConfig, encode_rollup_json, rollup_json_of
from plait.derivation.system_config import SystemConfig
from plait.errors import Unavailable
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.limits import OPSTACK_READY_S
from plait.native import Rollup, Store, ed25519_public_key, keccak256
from plait.node.config import FIRST_CHAIN_ID, L1Config, NetworkConfig, RollupConfig, embedded_genesis
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import NETWORK_FILE
from plait.testnet.opstack.layout import OPSTACK_FILE, BatchKind, Layout, PortPlan, PostingKind, RollupEntry
from plait.types import Address, BlockNumber, Gas, Hash32, RollupId

NETWORK_ID: Final = 7_906
L1_CHAIN_ID: Final = 900
GAS_LIMIT: Final = Gas(30_000_000)
OWNER: Final = DEVELOPMENT_ACCOUNTS[8]
"""Deploys, and owns every rollup's system configuration."""
BATCHER: Final = DEVELOPMENT_ACCOUNTS[9]
"""Posts the batches of all rollups together, so it is the batcher of each."""
BATCH_INBOX: Final = Address(bytes.fromhex("ff00000000000000000000000000000000000900"))
"""One for all: whoever derives a rollup passes over the others' frames."""
_CREATION_GAS: Final = 4_000_000
"""Above what either contract needs; anvil's own estimate is too low when several creations wait for one block."""


class Founding(msgspec.Struct, frozen=True, kw_only=True):
    """What a new network is to be. Times in seconds, windows in L1 blocks."""

    rollups: int = 2
    block_time_s: int = 1
    sub_blocks_per_slot: int = 4
    l1_block_time_s: int = 2
    l1_epoch_blocks: int = 4
    l1_lag_blocks: int = 1
    """How far behind its newest block the network takes L1 for agreed."""
    seq_window_blocks: int = 3_600
    posting: PostingKind = "calldata"
    batch: BatchKind = "span"
    ports: PortPlan = PortPlan()


async def found(directory: Path, founding: Founding, l1: L1Client) -> Layout:
    """Makes a network in a directory that holds none; the layout is written last.

    Raises:
        Unavailable: `l1_refused`, a contract was not deployed.
    """
    contracts = await _deploy_all(l1, founding.rollups)
    header = await l1.header("latest")
    if header is None:
        raise Unavailable("The L1 has no newest block.", code="l1_refused")
    start, _ = block_facts(header, (), (), blob_schedule(L1_CHAIN_ID))
    reporter = _secret(directory / "reporter.key")
    _write_secret(directory / "batcher.key", BATCHER.private_key)
    _secret(directory / "jwt.hex")
    (directory / "l1chain.json").write_bytes(l1_chain_json(L1_CHAIN_ID))

    rollups = tuple(
        RollupConfig(chain_id=entry.chain_id, block_time_slots=founding.block_time_s, gas_limit=GAS_LIMIT)
        for entry in contracts
    )
    bare = NetworkConfig(
        genesis_time_s=start.timestamp,
        sub_blocks_per_slot=founding.sub_blocks_per_slot,
        network_id=NETWORK_ID,
        rollups=rollups,
    )
    genesis = embedded_genesis(bare)
    configured = []
    for rollup, entry in zip(rollups, contracts, strict=True):
        data = genesis[RollupId(rollup.chain_id)]
        config = _rollup_config(rollup, entry, data, founding, start)
        home = directory / str(rollup.chain_id)
        home.mkdir(parents=True, exist_ok=True)
        (home / "genesis.json").write_bytes(data)
        (home / "rollup.json").write_bytes(encode_rollup_json(config))
        configured.append(msgspec.structs.replace(rollup, opstack=rollup_json_of(config)))
    network = msgspec.structs.replace(
        bare,
        rollups=tuple(configured),
        l1=L1Config(
            chain_id=L1_CHAIN_ID,
            start="0x" + encode_l1_facts(start).hex(),
            lag_blocks=founding.l1_lag_blocks,
            block_time_s=founding.l1_block_time_s,
            reporter="0x" + ed25519_public_key(reporter).hex(),
        ),
    )
    network.check()
    (directory / NETWORK_FILE).write_bytes(network.encode())
    layout = Layout(
        rollups=contracts,
        l1_chain_id=L1_CHAIN_ID,
        l1_block_time_s=founding.l1_block_time_s,
        l1_epoch_blocks=founding.l1_epoch_blocks,
        posting=founding.posting,
        batch=founding.batch,
        ports=founding.ports,
    )
    layout.write(directory)
    return layout


def l1_chain_json(chain_id: int) -> bytes:
    """What op-node has to know of an L1 that is not public: every fork anvil starts with, and what blobs cost.

    Source: EIP-7840 (blob schedule in client configuration files); the values are Ethereum's own.
    """
    blocks = ("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul",
              "muirGlacier", "berlin", "london", "arrowGlacier", "grayGlacier", "mergeNetsplit")  # fmt: skip
    prague = {"target": 6, "max": 9, "baseFeeUpdateFraction": 5_007_716}
    found: dict[str, Any] = {"chainId": chain_id, "terminalTotalDifficulty": 0}
    found |= {f"{name}Block": 0 for name in blocks}
    found |= {f"{name}Time": 0 for name in ("shanghai", "cancun", "prague", "osaka")}
    found["blobSchedule"] = {
        "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3_338_477},
        "prague": prague,
        "osaka": prague,
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


def reset(directory: Path) -> None:
    """Removes a network and nothing else in the directory."""
    (directory / OPSTACK_FILE).unlink(missing_ok=True)
    for home in directory.glob("[0-9]*"):
        if (home / "rollup.json").exists():
            shutil.rmtree(home)
    for name in ("node", "l1", "logs", "run"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (NETWORK_FILE, "control", "l1chain.json", "jwt.hex", "batcher.key", "reporter.key"):
        (directory / name).unlink(missing_ok=True)


# ---------------------------------------------------------------- inside
def _rollup_config(
    rollup: RollupConfig,
    entry: RollupEntry,
    genesis: bytes,
    founding: Founding,
    start: L1BlockFacts,
) -> OpStackConfig:
    header = Rollup.from_genesis(genesis, Store.in_memory()).raw_header(0)
    assert header is not None, "a rollup has its genesis block"
    return OpStackConfig(
        chain_id=rollup.chain_id,
        l1_chain_id=L1_CHAIN_ID,
        genesis_l1=BlockId(start.number, start.hash),
        genesis_l2=BlockId(BlockNumber(0), Hash32(keccak256(header))),
        genesis_time_s=start.timestamp,
        genesis_system=SystemConfig(
            batcher=BATCHER.address,
            gas_limit=GAS_LIMIT,
            base_fee_scalar=rollup.base_fee_scalar,
            blob_base_fee_scalar=rollup.blob_base_fee_scalar,
            eip1559_denominator=rollup.eip1559_denominator,
            eip1559_elasticity=rollup.eip1559_elasticity,
        ),
        block_time_s=founding.block_time_s,
        seq_window_blocks=founding.seq_window_blocks,
        batch_inbox=BATCH_INBOX,
        deposit_contract=Address(bytes.fromhex(entry.portal[2:])),
        system_config_contract=Address(bytes.fromhex(entry.system_config[2:])),
        fork=rollup.fork,
        eip1559_denominator=rollup.eip1559_denominator,
        eip1559_elasticity=rollup.eip1559_elasticity,
    )


async def _deploy_all(l1: L1Client, count: int) -> tuple[RollupEntry, ...]:
    """A portal and a system configuration for every rollup, in one L1 block.

    Raises:
        Unavailable: `l1_refused`, one of them was not deployed.
    """
    nonce = int(await l1.call("eth_getTransactionCount", OWNER.address_text, "pending"), 16)
    sent: list[str] = []
    entries: list[RollupEntry] = []
    for at in range(count):
        chain_id = FIRST_CHAIN_ID + at
        portal, system = (_created_address(OWNER.address, nonce + 2 * at + one) for one in (0, 1))
        sent.append(await _create(l1, "DepositPortal", ()))
        sent.append(await _create(l1, "SystemConfig", _system_arguments(chain_id, portal)))
        entries.append(RollupEntry(chain_id=chain_id, portal="0x" + portal.hex(), system_config="0x" + system.hex()))
    await l1.call("evm_mine")  # a new network does not wait for the interval
    for transaction in sent:
        receipt = await _receipt(l1, transaction)
        if receipt is None or receipt["status"] != "0x1":
            raise Unavailable(f"The L1 did not deploy the rollups' contracts: {receipt}.", code="l1_refused")
    return tuple(entries)


async def _receipt(l1: L1Client, transaction: str) -> dict[str, Any] | None:
    """None when the transaction is in no block after OPSTACK_READY_S."""
    for _ in range(OPSTACK_READY_S * 10):
        receipt: dict[str, Any] | None = await l1.call("eth_getTransactionReceipt", transaction)
        if receipt is not None:
            return receipt
        await asyncio.sleep(0.1)
    return None


def _system_arguments(chain_id: int, portal: Address) -> tuple[int, ...]:
    rollup = RollupConfig(chain_id=chain_id)
    return (
        int.from_bytes(OWNER.address),
        int.from_bytes(BATCHER.address),
        rollup.base_fee_scalar,
        rollup.blob_base_fee_scalar,
        GAS_LIMIT,
        int.from_bytes(OWNER.address),  # who would sign gossip of unsafe blocks; nothing here gossips
        int.from_bytes(BATCH_INBOX),
        int.from_bytes(portal),
        chain_id,
    )


async def _create(l1: L1Client, name: str, arguments: Sequence[int]) -> str:
    """Sends a creation whose constructor takes static words: the transaction's hash."""
    code = artifact(name).creation_code + b"".join(value.to_bytes(32, "big") for value in arguments)
    transaction = {"from": OWNER.address_text, "data": "0x" + code.hex(), "gas": hex(_CREATION_GAS)}
    return str(await l1.call("eth_sendTransaction", transaction))


def _created_address(sender: Address, nonce: int) -> Address:
    """Where a creation by this transaction puts its contract (Yellow Paper, section 7)."""
    return Address(keccak256(encode_list((encode_bytes(sender), encode_uint(nonce))))[12:])


def _secret(path: Path) -> bytes:
    value = secrets.token_bytes(32)
    _write_secret(path, value)
    return value


def _write_secret(path: Path, value: bytes) -> None:
    """As 64 hex digits, in a file that only its owner may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value.hex())


__all__ = ["BATCHER", "BATCH_INBOX", "L1_CHAIN_ID", "NETWORK_ID", "OWNER", "Founding", "found", "l1_chain_json",
           "reset"]  # fmt: skip
