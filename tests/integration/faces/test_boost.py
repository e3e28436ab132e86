"""rollup-boost's position with a real op-geth behind and the network's own blocks: what op-node gets, and when not.

Behaviour after rollup-boost's own tests: simple, isthmus, no_tx_pool, execution_mode, remote_builder_down,
builder_returns_incorrect_block, builder_full_delay, unhealthy_builder_traffic.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from boosting import Boosted, boosted
from op_node import Engine, Refused, attributes_of, until

from plait.client import Bundle, Client
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.faces.boost_source import BlockSource, OurBlock
from plait.types import RollupId
from sim.wallet import Wallet

pytestmark = [pytest.mark.opgeth, pytest.mark.usefixtures("needs_op_geth")]

WALLETS = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]
TO = bytes([7]) * 20


def transfer(user: int, chain_id: int, nonce: int) -> bytes:
    return WALLETS[user].sign_1559(chain_id, nonce, to=TO, value=1, max_fee_per_gas=10**11)


async def open_at(found: Boosted, number: int, chain_id: int = 901) -> None:
    """Waits until the network works on a block, or has it."""

    def is_there() -> bool:
        open_block = found.native(chain_id).open_block
        return found.native(chain_id).head.number >= number or (open_block is not None and open_block.number == number)

    await until(is_there)


async def sealed(found: Boosted, number: int, chain_id: int = 901) -> None:
    await until(lambda: found.native(chain_id).head.number >= number)


async def step(found: Boosted, parent: str, number: int, chain_id: int = 901, **changes: Any) -> dict[str, Any]:
    """What op-node gets for a height when it asks as soon as the network works on it."""
    await open_at(found, number, chain_id)
    op_node = found.op_nodes[chain_id]
    return await op_node.get(await op_node.start(parent, attributes_of(found.native(chain_id), number, **changes)))


def hash_of(envelope: Mapping[str, Any]) -> str:
    found: str = envelope["executionPayload"]["blockHash"]
    return found


def hashes_in(envelope: Mapping[str, Any]) -> list[str]:
    raws = envelope["executionPayload"]["transactions"]
    return ["0x" + keccak256(bytes.fromhex(raw[2:])).hex() for raw in raws]


def our_hash(found: Boosted, number: int, chain_id: int = 901) -> str:
    block: str = msgspec.json.decode(found.native(chain_id).block_json(number, False))["hash"]
    return block


async def probe(found: Boosted, path: str = "/healthz") -> int:
    async with aiohttp.ClientSession() as session, session.get(found.face().url + path) as answer:
        return answer.status


@pytest.mark.parametrize("fork", ["jovian", "isthmus", "holocene"])
async def test_op_node_builds_the_networks_chain_block_by_block(tmp_path: Path, fork: str) -> None:
    async with boosted(tmp_path, fork=fork) as found:
        assert await probe(found) == 503, "no block yet"
        raws = [transfer(user, 901, nonce) for user in (0, 1) for nonce in range(20)]
        found.node.pool.submit(RollupId(901), raws, found.node.clock.now_ms())
        head, count, number = found.genesis(), 0, 0
        while number < 5 or count < number + len(raws):
            number += 1
            assert number < 20, "the transfers are in no block"
            envelope = await step(found, head, number)
            assert hash_of(envelope) == our_hash(found, number)
            count += len(envelope["executionPayload"]["transactions"])
            head = await found.op_nodes[901].adopt(envelope)
        assert count == number + len(raws), "every transfer, and a deposit in each block"
        assert await found.engines[901].head() == head == our_hash(found, number)
        assert found.face().statistics()["blocks_ours"] == number
        assert found.face().statistics()["blocks_fallback"] == 0
        assert await probe(found) == 200


async def test_what_is_not_about_blocks_passes_as_the_engine_answers_it(tmp_path: Path) -> None:
    async with boosted(tmp_path) as found:
        op_node, engine = found.op_nodes[901], found.engines[901]
        for method, *params in (
            ["eth_chainId"], ["engine_exchangeCapabilities", []], ["eth_getBlockByNumber", "0x0", True],
        ):  # fmt: skip
            assert await op_node.call(method, *params) == await engine.call(method, *params)
        for method, *params in (["eth_nonsense"], ["engine_getPayloadV4", "0x0000000000000000"], ["eth_call"]):
            with pytest.raises(Refused) as ours:
                await op_node.call(method, *params)
            with pytest.raises(Refused) as theirs:
                await engine.call(method, *params)
            assert str(ours.value) == str(theirs.value)


async def test_without_the_secret_nothing_is_answered(tmp_path: Path) -> None:
    async with boosted(tmp_path) as found:
        stranger = Engine(found.face().url, bytes(32))
        with pytest.raises(Refused, match="401"):
            await stranger.call("eth_chainId")
        assert found.face().statistics()["unauthorized"] == 1


async def test_another_parent_or_other_attributes_get_the_engines_own_block(tmp_path: Path) -> None:
    async with boosted(tmp_path) as found:
        for name, value in (("prevRandao", "0x" + "11" * 32), ("timestamp", hex(2**31 + 7)), ("gasLimit", "0x1c9c380")):
            envelope = await step(found, found.genesis(), 1, **{name: value})
            assert hash_of(envelope) != our_hash(found, 1)
            assert found.face().last_reason == "boost_attributes_differ"
        head = await found.op_nodes[901].adopt(envelope)
        await step(found, head, 2)
        assert found.face().last_reason == "boost_parent_unknown"
        assert await probe(found) == 206
        assert found.face().statistics()["blocks_ours"] == 0


async def test_a_block_that_the_engine_refuses_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = BlockSource.block_for

    async def wrong(self: BlockSource, parent: bytes, attributes: Mapping[str, Any]) -> OurBlock:
        ours = await honest(self, parent, attributes)
        payload = json.loads(ours.payload_json) | {"stateRoot": "0x" + "22" * 32}
        return msgspec.structs.replace(ours, payload_json=json.dumps(payload).encode())

    monkeypatch.setattr(BlockSource, "block_for", wrong)
    async with boosted(tmp_path) as found:
        envelope = await step(found, found.genesis(), 1)
        assert envelope["executionPayload"]["stateRoot"] != "0x" + "22" * 32
        assert found.face().last_reason == "boost_block_refused"
        await found.op_nodes[901].adopt(envelope)


async def test_a_block_that_comes_too_late_is_not_waited_for(tmp_path: Path) -> None:
    async with boosted(tmp_path, timeout_ms=50) as found:
        await sealed(found, 2)
        head = found.genesis()
        for number in (1, 2):  # sealed already: in time
            head = await found.op_nodes[901].adopt(await step(found, head, number))
        reasons = set()
        for number in range(3, 8):
            envelope = await step(found, head, number)
            reasons.add(found.face().last_reason)
            if hash_of(envelope) != our_hash(found, number - 1) and "boost_late" in reasons:
                break
            head = await found.op_nodes[901].adopt(envelope)
        assert "boost_late" in reasons


async def test_recovery_without_the_pool_is_the_engines_business(tmp_path: Path) -> None:
    async with boosted(tmp_path) as found:
        found.node.pool.submit(RollupId(901), [transfer(0, 901, 0)], found.node.clock.now_ms())
        await sealed(found, 3)
        envelope = await step(found, found.genesis(), 1, noTxPool=True)
        assert all(raw.startswith("0x7e") for raw in envelope["executionPayload"]["transactions"])
        assert found.face().statistics()["blocks_ours"] == found.face().statistics()["blocks_fallback"] == 0


async def test_execution_modes_are_switched_while_it_runs(tmp_path: Path) -> None:
    async def debug(method: str, *params: Any) -> Any:
        async with aiohttp.ClientSession() as session:
            body = {"jsonrpc": "2.0", "id": 1, "method": f"debug_{method}ExecutionMode", "params": params}
            async with session.post(found.face().debug_url, json=body) as answer:
                return await answer.json()

    async with boosted(tmp_path) as found:
        raw = transfer(0, 901, 0)
        found.node.pool.submit(RollupId(901), [raw], found.node.clock.now_ms())
        number = (await until(lambda: found.native().transaction_location(keccak256(raw))))[0]
        head = await walk(found, 901, number - 1)
        for mode in ("dry_run", "disabled"):
            assert (await debug("set", {"execution_mode": mode}))["result"] == {"execution_mode": mode}
            envelope = await step(found, head, number)
            await sealed(found, number)
            assert hash_of(envelope) != our_hash(found, number), "the engine's own block has no transfer"
        assert (await debug("get"))["result"] == {"execution_mode": "disabled"}
        assert (await debug("set", {"execution_mode": "sometimes"}))["error"]["code"] == -32602
        assert (await debug("set", {"execution_mode": "enabled"}))["result"] == {"execution_mode": "enabled"}
        assert hash_of(await step(found, head, number)) == our_hash(found, number)


async def test_an_engine_that_is_gone_is_said_and_comes_back(tmp_path: Path) -> None:
    async with boosted(tmp_path) as found:
        await sealed(found, 1)
        found.geths[901]._process.terminate()
        found.geths[901]._process.wait(20)
        with pytest.raises(Refused, match="does not answer"):
            await found.op_nodes[901].call("eth_chainId")
        assert found.op_nodes[901].status == 503
        assert await probe(found) == 503
        assert found.node.health().ok, "the node goes on"


# ---------------------------------------------------------------- bundles
async def send_bundle(found: Boosted, user: int = 2) -> tuple[dict[int, int], dict[int, str]]:
    """A bundle over both rollups, sealed: per rollup its block's number and the leg's hash."""
    async with Client(found.server.url) as client:
        bundle = Bundle().leg(901, transfer(user, 901, 0)).leg(902, transfer(user, 902, 0))
        await client.send(bundle)
        shown = await bundle.wait("sealed")
    legs = {leg["rollupId"]: leg["transactions"][0] for leg in shown["legs"]}
    numbers = {
        chain_id: found.native(chain_id).transaction_location(bytes.fromhex(hash_[2:]))[0]
        for chain_id, hash_ in legs.items()
    }
    return numbers, legs


async def walk(found: Boosted, chain_id: int, to: int) -> str:
    """The engine has the network's blocks up to a height, and op-node its head there; the head's hash."""
    await sealed(found, to, chain_id)
    for number in range(1, to + 1):
        payload, root = found.native(chain_id).execution_payload_json(number)
        params = [msgspec.json.decode(payload), [], "0x" + root.hex(), []]
        status = await found.engines[chain_id].call("engine_newPayloadV4", *params)
        assert status["status"] == "VALID", status
    head = our_hash(found, to, chain_id)
    await found.op_nodes[chain_id].forkchoice(head)
    return head


async def test_both_halves_of_a_bundle_are_answered_together(tmp_path: Path) -> None:
    async with boosted(tmp_path, rollups=2) as found:
        numbers, legs = await send_bundle(found)
        heads = {chain_id: await walk(found, chain_id, numbers[chain_id] - 1) for chain_id in numbers}
        first = asyncio.ensure_future(step(found, heads[901], numbers[901], 901))
        await asyncio.sleep(0.5)
        assert not first.done(), "one half waits for the other"
        envelopes = {902: await step(found, heads[902], numbers[902], 902), 901: await first}
        for chain_id, envelope in envelopes.items():
            assert legs[chain_id] in hashes_in(envelope)


async def test_when_one_half_cannot_be_answered_neither_is(tmp_path: Path) -> None:
    async with boosted(tmp_path, rollups=2) as found:
        numbers, legs = await send_bundle(found)
        heads = {chain_id: await walk(found, chain_id, numbers[chain_id] - 1) for chain_id in numbers}
        one = asyncio.ensure_future(step(found, heads[901], numbers[901], 901))
        await asyncio.sleep(0.3)
        other = await step(found, heads[902], numbers[902], 902, prevRandao="0x" + "11" * 32)
        envelopes = {901: await one, 902: other}
        assert found.face(902).last_reason == "boost_attributes_differ"
        assert found.face(901).last_reason == "boost_bundle_incomplete"
        for chain_id, envelope in envelopes.items():
            assert legs[chain_id] not in hashes_in(envelope), "half of a bundle"


async def test_the_engines_own_block_holds_no_leg_that_somebody_put_into_its_pool(tmp_path: Path) -> None:
    async with boosted(tmp_path, rollups=2) as found:
        numbers, legs = await send_bundle(found)
        raws = [transfer(2, 901, 0), transfer(3, 901, 0)]
        for raw in raws:
            await found.engines[901].call("eth_sendRawTransaction", "0x" + raw.hex())
        head = await walk(found, 901, numbers[901] - 1)
        op_node = found.op_nodes[901]
        asked = attributes_of(found.native(), numbers[901], prevRandao="0x" + "11" * 32)
        identity = await op_node.start(head, asked)
        await asyncio.sleep(0.5)  # op-geth fills the block from its pool
        envelope = await op_node.get(identity)
        assert legs[901] not in hashes_in(envelope)
        assert found.face().statistics()["blocks_rebuilt"] == 1, "the pool did hold it"
        assert all(raw.startswith("0x7e") for raw in envelope["executionPayload"]["transactions"])
        await op_node.adopt(envelope)


async def test_a_half_that_was_answered_is_answered_again_or_nothing_is(tmp_path: Path) -> None:
    async with boosted(tmp_path, rollups=2) as found:
        numbers, _legs = await send_bundle(found)
        heads = {chain_id: await walk(found, chain_id, numbers[chain_id] - 1) for chain_id in numbers}
        await asyncio.gather(*(step(found, heads[chain_id], numbers[chain_id], chain_id) for chain_id in numbers))
        again = await step(found, heads[901], numbers[901], 901)
        assert hash_of(again) == our_hash(found, numbers[901])
        with pytest.raises(Refused, match="boost_bundle_taken"):
            await step(found, heads[901], numbers[901], 901, prevRandao="0x" + "11" * 32)
