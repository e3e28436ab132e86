"""What a rollup takes from L1 besides batches: unmodified op-node derives our blocks with deposits and every update."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from by_hand import post, safe_hash, sequenced
from eth_abi import encode
from rebuilt import rebuilt

from plait.l1.client import L1Client
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.opstack.founding import OWNER, Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import OpStack
from plait.types import RollupId

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]

WALLET = "0x" + DEVELOPMENT_ACCOUNTS[1].address.hex()
DEPOSIT = "depositTransaction(address,uint256,uint64,bool,bytes)"
UPDATES = (
    ("setGasLimit(uint64)", 40_000_000),
    ("setEIP1559Params(uint32,uint32)", 100, 4),
    ("setGasConfigEcotone(uint32,uint32)", 777, 888),
    ("setOperatorFeeScalars(uint32,uint64)", 5, 6),
    ("setMinBaseFee(uint64)", 12_345),
    ("setDAFootprintGasScalar(uint16)", 500),
    ("setUnsafeBlockSigner(address)", WALLET),
)


async def send(l1: L1Client, sender: str, to: bytes, signature: str, *values: object, value: int = 0) -> str:
    kinds = signature[signature.index("(") + 1 : -1].split(",")
    data = keccak256(signature.encode())[:4] + encode(kinds, values)
    request = {"from": sender, "to": "0x" + to.hex(), "data": "0x" + data.hex(), "value": hex(value), "gas": "0x1e8480"}
    return str(await l1.call("eth_sendTransaction", request))


async def block_of(l1: L1Client, transaction_hash: str) -> int:
    """Number of the L1 block that holds a transaction, which succeeded."""
    for _ in range(300):
        receipt = await l1.transaction_receipt(bytes.fromhex(transaction_hash[2:]))
        if receipt is not None:
            assert receipt["status"] == "0x1", receipt
            return int(receipt["blockNumber"], 16)
        await asyncio.sleep(0.1)
    raise AssertionError(f"{transaction_hash} is in no L1 block after 30 s")


async def test_op_node_derives_deposits_and_every_update_of_the_system_configuration(tmp_path: Path) -> None:
    network = OpStack.running(
        tmp_path, find_programs(), Founding(rollups=1, l1_block_time_s=1, ports=PortPlan(rpc=0)), sequencer=False
    )
    async with network as running, sequenced(running) as (rollups, l1, watcher), asyncio.timeout(120):
        rollup = rollups[0]
        portal, contract = rollup.config.deposit_contract, rollup.config.system_config_contract
        sent = [
            await send(l1, WALLET, portal, DEPOSIT, WALLET, 5, 100_000, False, b"hello", value=10**18),
            await send(l1, WALLET, portal, DEPOSIT, "0x" + "00" * 20, 0, 300_000, True, bytes.fromhex("60015ff3")),
        ]
        sent += [await send(l1, "0x" + OWNER.address.hex(), contract, *update) for update in UPDATES]
        numbers = [await block_of(l1, one) for one in sent]
        # the first block after the last of them is built by the new rules
        while rollup.origin.number <= max(numbers):
            if watcher.tip.number <= rollup.origin.number:
                await asyncio.sleep(0.1)
            else:
                rollup.build([])
        head = rollup.build([])
        system = rollup.system
        assert (system.gas_limit, system.base_fee_scalar, system.blob_base_fee_scalar) == (40_000_000, 777, 888)
        assert (system.min_base_fee, system.da_footprint_gas_scalar) == (12_345, 500)
        assert (system.eip1559_denominator, system.operator_fee_constant) == (100, 6)
        held = [watcher.block(number) for number in sorted(set(numbers))]
        told = [one.facts.of(RollupId(rollup.config.chain_id)) for one in held if one is not None]
        assert sum(len(one.deposits) for one in told) == 2
        assert sum(len(one.updates) for one in told) == len(UPDATES) - 1
        await post(l1, rollup.config.batch_inbox, "calldata", rollup.channel("span", "brotli"))
        assert await safe_hash(running, 0, head.number, 60) == "0x" + head.hash.hex()
        home = running.directory / str(rollup.config.chain_id)
        found = await rebuilt(home, running.l1_url, running.beacon_url, running.endpoints(0).verifier)
        assert found["head"]["hash"] == "0x" + head.hash.hex(), "L1 alone gives the same"
