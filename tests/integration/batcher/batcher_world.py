"""A real anvil that mines when told to, and native rollups whose origins are its blocks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from eth_account import Account

from plait.derivation.attributes import block_attributes
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.origins import Origin, next_origin
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.l1.client import L1Client
from plait.l1.fees import DEVELOPMENT_SCHEDULE, blob_base_fee
from plait.native import Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.batcher.journal import Journal
from plait.rollups.batcher.l1_access import L1Access
from plait.rollups.batcher.service import Batcher, BatcherTerms, PostedRollup
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, RollupId, Seconds
from tests.peers import anvil
from tests.peers.anvil import L1_CHAIN_ID

INBOX = Address(bytes.fromhex("ff00000000000000000000000000000000000901"))
BATCHER = DEVELOPMENT_ACCOUNTS[9]
NOBODY = Address(bytes.fromhex("00000000000000000000000000000000000000aa"))
_WALLETS = [Account.from_key(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


class Anvil(anvil.Anvil):
    """An L1 whose time is the tests'."""

    def restart(self) -> None:
        self.stop()
        self.start()

    def nonce(self, address: bytes = BATCHER.address) -> int:
        return int(self.call("eth_getTransactionCount", "0x" + address.hex(), "latest"), 16)

    def reorganise(self, depth: int) -> None:
        """Replaces the newest blocks by empty ones; their transactions are gone."""
        self.call("anvil_reorg", depth, [])

    def block_transactions(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("eth_getBlockByNumber", hex(number), True)["transactions"]
        return found


async def facts_at(client: L1Client, number: int) -> L1BlockFacts | None:
    header = await client.header(number)
    if header is None:
        return None
    return L1BlockFacts(
        number=header.number,
        hash=header.hash,
        parent_hash=header.parent_hash,
        timestamp=header.timestamp,
        base_fee=header.base_fee or 0,  # type: ignore[arg-type]
        blob_base_fee=blob_base_fee(header.excess_blob_gas, header.timestamp, DEVELOPMENT_SCHEDULE),
        prev_randao=header.mix_hash,
        parent_beacon_block_root=header.beacon_root,
    )


class Chain:
    """A native rollup on anvil's blocks: `grow` seals blocks with transfers."""

    def __init__(self, chain_id: int, origin: L1BlockFacts, *, block_time_s: int = 1, seq_window: int = 3_600) -> None:
        self.chain_id = chain_id
        self.system = SystemConfig(
            batcher=BATCHER.address,
            gas_limit=Gas(30_000_000),
            base_fee_scalar=1_368,
            blob_base_fee_scalar=810_949,
            eip1559_denominator=250,
            eip1559_elasticity=6,
        )
        genesis = genesis_json(GenesisSpecification(chain_id=ChainId(chain_id), timestamp=origin.timestamp))
        self.genesis = genesis
        self.rollup = Rollup.from_genesis(genesis, Store.in_memory())
        self.config = OpStackConfig(
            chain_id=chain_id,
            l1_chain_id=L1_CHAIN_ID,
            genesis_l1=BlockId(origin.number, origin.hash),
            genesis_l2=BlockId(BlockNumber(0), Hash32(self.rollup.genesis_hash)),
            genesis_time_s=origin.timestamp,
            genesis_system=self.system,
            block_time_s=block_time_s,
            seq_window_blocks=seq_window,
            batch_inbox=INBOX,
            deposit_contract=NOBODY,
            system_config_contract=NOBODY,
        )
        self.origin = Origin(origin, 0)
        self._nonces = [0] * len(_WALLETS)
        self._sent = 0

    @property
    def posted(self) -> PostedRollup:
        return PostedRollup(
            rollup_id=RollupId(self.chain_id), blocks=self.rollup, config=self.config, batcher=BATCHER.address
        )

    def transfers(self, count: int) -> list[bytes]:
        raws = []
        for _ in range(count):
            at = self._sent % len(_WALLETS)
            fields = {
                "type": 2, "chainId": self.chain_id, "nonce": self._nonces[at], "value": 1 + self._sent, "gas": 21_000,
                "to": keccak256(b"to %d" % self._sent)[:20], "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 1,
            }  # fmt: skip
            raws.append(bytes(_WALLETS[at].sign_transaction(fields).raw_transaction))
            self._nonces[at] += 1
            self._sent += 1
        return raws

    async def grow(self, client: L1Client, count: int, transactions: int = 2) -> None:
        for _ in range(count):
            number = self.rollup.head.number + 1
            timestamp = Seconds(self.config.genesis_time_s + number * self.config.block_time_s)
            following = await facts_at(client, self.origin.block.number + 1)
            self.origin = next_origin(self.origin, following, timestamp)
            session = self.rollup.session()
            session.open(block_attributes(timestamp, self.origin.block.info, self.origin.sequence_number, self.system))
            raws = self.transfers(transactions)
            decoded = [one for one in decode_transactions(raws, self.chain_id) if isinstance(one, Transaction)]
            outcomes = session.run(decoded)
            assert outcomes.included == len(raws), outcomes.failure(0)
            session.seal()
            self.rollup.commit(session)


class Silent:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def make_batcher(
    l1: L1Access,
    chains: list[Chain],
    terms: BatcherTerms,
    *,
    directory: Path | None = None,
    now_s: Any = time.time,
    floor: Any = None,
) -> Batcher:
    posted = {chain.posted.rollup_id: chain.posted for chain in chains}
    return Batcher(
        lambda: posted,
        l1,
        Journal(directory),
        BATCHER.private_key,
        l1_chain_id=L1_CHAIN_ID,
        terms=terms,
        now_s=now_s,
        logger=Silent(),
        floor=floor,
    )
