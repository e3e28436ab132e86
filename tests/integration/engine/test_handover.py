"""A chain that a stock op-node sequences is taken over, goes on here, and is given back: no block time is left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engine_fixtures import Drivers
from engine_processes import can_build
from eth_account import Account

import plait.rollups.opstack.handover
from plait.client import Client
from plait.derivation.attributes import L1BlockInfo, block_attributes
from plait.derivation.rollup_config import OpStackConfig, decode_rollup_json
from plait.derivation.system_config import SystemConfig
from plait.errors import ConfigurationError, Unavailable
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.native import Rollup, Store, Transaction, decode_transactions
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.handover import OpNode, give, take
from plait.rollups.opstack.importing import Anchor, check_chain
from plait.rollups.opstack.jwt import read_secret
from plait.testnet.opstack.founding import L1_CHAIN_ID, Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import BlockNumber, Seconds
from tests.peers.stock_sequencer import stock_sequencer

pytestmark = [pytest.mark.opgeth, pytest.mark.node_js, pytest.mark.slow]

WAIT_S = 60
RECIPIENT = bytes.fromhex("70" * 20)
WALLET = Account.from_key(DEVELOPMENT_ACCOUNTS[0].private_key)


def transfer(chain_id: int, nonce: int) -> bytes:
    fields = {
        "type": 2, "chainId": chain_id, "nonce": nonce, "to": RECIPIENT, "value": 5, "gas": 21_000,
        "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**6,
    }  # fmt: skip
    return bytes(WALLET.sign_transaction(fields).raw_transaction)


class Sequencer:
    """What goes on here from an anchor: blocks in wall-clock time upon real L1 origins."""

    def __init__(self, rollup: Rollup, anchor: Anchor, l1: L1Client) -> None:
        self.rollup = rollup
        self.system: SystemConfig = anchor.system
        self._config: OpStackConfig = anchor.config
        self._l1 = l1
        self._origin, self._sequence = int(anchor.origin.number), anchor.sequence_number

    async def _info(self, number: int) -> L1BlockInfo | None:
        header = await self._l1.header(BlockNumber(number))
        return None if header is None else block_facts(header, (), (), blob_schedule(L1_CHAIN_ID))[0].info

    async def block(self, raws: list[bytes]) -> None:
        timestamp = self.rollup.head.timestamp + self._config.block_time_s
        await asyncio.sleep(max(0, timestamp - time.time()))
        following = await self._info(self._origin + 1)
        if following is not None and following.timestamp <= timestamp:
            self._origin, self._sequence, origin = self._origin + 1, 0, following
        else:
            self._sequence += 1
            found = await self._info(self._origin)
            assert found is not None
            origin = found
        session = self.rollup.session()
        fork = self._config.fork
        session.open(block_attributes(Seconds(timestamp), origin, self._sequence, self.system, fork=fork))
        made = [item for item in decode_transactions(raws, self._config.chain_id) if isinstance(item, Transaction)]
        assert session.run(made).included == len(raws)
        session.seal()
        self.rollup.commit(session)


async def comes(read: Callable[[], Awaitable[int]], least: int) -> bool:
    """Whether a number reaches a least one in time."""
    deadline = time.monotonic() + WAIT_S
    while await read() < least:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


async def nonce_of_wallet(eth: Client) -> int:
    return int(await eth.call("eth_getTransactionCount", WALLET.address, "latest"), 16)


async def number_of(node: OpNode) -> int:
    return (await node.unsafe_head()).number


async def test_a_chain_is_taken_over_from_op_node_and_given_back_without_a_gap(
    tmp_path: Path, drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_build():
        pytest.skip("op-geth is neither there nor can it be built")
    async with OpStack.running(
        tmp_path, find_programs(), Founding(rollups=1, ports=PortPlan(rpc=0)), sequencer=False
    ) as network:
        chain_id = network.layout.rollups[0].chain_id
        home = network.directory / str(chain_id)
        config = decode_rollup_json((home / "rollup.json").read_bytes())
        genesis = (home / "genesis.json").read_bytes()
        secret = read_secret(network.directory / "jwt.hex")
        process, node_url = stock_sequencer(network)
        await process.start()
        endpoints = network.endpoints(0)
        engine_url = f"http://{HOST}:{network.ports.programs[0].engine_auth}"
        try:
            async with (
                OpNode(node_url) as node,
                EngineClient(engine_url, secret) as client,
                Client(endpoints.engine) as eth,
                L1Client(network.l1_url) as l1,
            ):
                await check_chain(client, config)
                await eth.call("eth_sendRawTransaction", "0x" + transfer(chain_id, 0).hex())
                assert await comes(lambda: nonce_of_wallet(eth), 1)

                # a take that does not come to its end leaves op-node sequencing
                rollup = Rollup.from_genesis(genesis, Store.in_memory())
                with monkeypatch.context() as patch:
                    patch.setattr(plait.rollups.opstack.handover, "HANDOVER_TIMEOUT_S", -1)
                    with pytest.raises(Unavailable) as late:
                        await take(node, client, rollup, config)
                assert late.value.code == "handover_timeout"
                assert await node.is_sequencing()
                with pytest.raises(ConfigurationError) as busy:
                    await give(node, client, config)
                assert busy.value.code == "handover_sequencing"

                anchor = await take(node, client, rollup, config)
                assert not await node.is_sequencing()
                assert rollup.head.hash == anchor.block.hash == (await node.unsafe_head()).hash
                assert rollup.accounts([bytes.fromhex(WALLET.address[2:])], -1)[0][0] == 1
                with pytest.raises(ConfigurationError) as stopped:
                    await take(node, client, rollup, config)
                assert stopped.value.code == "handover_not_sequencing"

                here = Sequencer(rollup, anchor, l1)
                driver = drivers.run(engine_url, secret, NativeBlocks(rollup, anchor.block), fork=config.fork)
                for nonce in range(1, 6):
                    await here.block([transfer(chain_id, nonce)])
                    driver.notify()
                    await driver.wait_for(BlockNumber(rollup.head.number), WAIT_S)
                await drivers.close()
                drivers._tasks.clear()

                last = await give(node, client, config)
                assert (last.number, last.hash) == (rollup.head.number, rollup.head.hash)
                assert await node.is_sequencing()
                assert await comes(lambda: number_of(node), last.number + 3)
                for number in range(1, last.number + 3):
                    below, above = [await client.block(BlockNumber(at)) for at in (number, number + 1)]
                    assert below is not None
                    assert above is not None
                    assert above.parent_hash == below.hash
                    assert above.timestamp == below.timestamp + config.block_time_s
                assert int(await eth.call("eth_getBalance", "0x" + RECIPIENT.hex(), "latest"), 16) == 30
        finally:
            await process.stop()
