"""A driver keeps a real op-geth at the rollup's own blocks, whatever happens to either of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from driven_chain import Chain
from engine_fixtures import Drivers, Engines

from plait.derivation.rollup_config import BlockId
from plait.native import keccak256
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.driver_state import DriverState, EngineStatus, SettledHeads
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.handing import import_block
from plait.rollups.opstack.payload import header_rlp, read_payload
from plait.types import BlockNumber, ChainId, Hash32

pytestmark = [pytest.mark.opgeth]

WAIT_S = 60


def following(chain: Chain) -> Callable[[EngineStatus], bool]:
    """A status in which the engine's head is the chain's."""
    return lambda now: now.state is DriverState.FOLLOWING and now.engine_hash == chain.rollup.head.hash


@pytest.mark.parametrize(
    ("mode", "fork"), [("import", "jovian"), ("build", "jovian"), ("build", "isthmus"), ("import", "holocene")]
)
async def test_every_sealed_block_becomes_the_engines_head_with_our_hash(
    engines: Engines, drivers: Drivers, mode: str, fork: str
) -> None:
    chain = Chain(fork=fork)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain, mode=mode, fork=fork)
    for number in range(1, 15):  # op-geth remembers ten payloads; here it builds more
        chain.seal(transactions=number % 4, deposits=number % 3)
        driver.notify()
        await driver.wait_for(BlockNumber(number), WAIT_S)
        assert engine.head() == (number, chain.rollup.head.hash)
    assert driver.status.imported == 14
    assert driver.status.built == (14 if mode == "build" else 0)


async def test_an_engine_that_was_killed_stopped_or_lost_its_data_comes_back_to_our_head(
    engines: Engines, drivers: Drivers
) -> None:
    chain = Chain()
    chain.grow(20)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_for(BlockNumber(20), WAIT_S)
    for number, end in ((60, engine.kill), (70, engine.stop), (80, engine.kill)):
        end()
        driver.notify()
        chain.grow(number - chain.rollup.head.number)
        driver.notify()
        status = await driver.wait_until(lambda now: now.state is DriverState.CONNECTING, WAIT_S)
        assert status.code == "engine_unreachable"
        if number == 80:
            engine.forget()
        engine.start()
        await driver.wait_for(BlockNumber(number), WAIT_S)
        assert engine.head() == (number, chain.rollup.head.hash)
    assert driver.status.reconnects >= 4


async def test_an_engine_that_was_stopped_amid_blocks_without_keeping_their_state_executes_them_again(
    engines: Engines, drivers: Drivers
) -> None:
    """op-geth as it is by default: at its end it writes its head's state, not that of blocks it was shown since."""
    chain = Chain()
    chain.grow(40)
    engine = engines.started(chain, "--gcmode", "full")
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_for(BlockNumber(40), WAIT_S)
    chain.grow(30)
    async with EngineClient(engine.url, engine.secret) as client:
        for number in range(41, 61):
            assert (
                await import_block(client, NativeBlocks(chain.rollup), BlockNumber(number), "jovian")
            ).number == number
    engine.stop()
    engine.start("--gcmode", "full")
    driver.notify()
    await driver.wait_for(BlockNumber(70), WAIT_S)
    assert engine.head() == (70, chain.rollup.head.hash)


async def test_an_engine_that_answers_syncing_gets_the_blocks_that_it_lacks(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(10)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain, idle_check_s=600)
    await driver.wait_for(BlockNumber(10), WAIT_S)
    engine.kill()
    engine.forget()
    engine.start()  # the driver has not noticed: the next block's parent is unknown now
    chain.grow(1)
    driver.notify()
    await driver.wait_for(BlockNumber(11), WAIT_S)
    assert engine.head() == (11, chain.rollup.head.hash)


class Switching:
    """Blocks that come from one chain, and after `become` from another, as after an unwinding."""

    def __init__(self, chain: Chain) -> None:
        self.become(chain)

    def become(self, chain: Chain) -> None:
        self._inner = NativeBlocks(chain.rollup)
        self.chain_id: ChainId = self._inner.chain_id
        self.first = self._inner.first

    def head(self) -> BlockId:
        return self._inner.head()

    def hash_of(self, number: BlockNumber) -> Hash32 | None:
        return self._inner.hash_of(number)

    def payload(self, number: BlockNumber) -> tuple[bytes, bytes] | None:
        return self._inner.payload(number)


def forked(common: int, longer: int, shorter: int) -> tuple[Chain, Chain]:
    """Two chains that share `common` blocks and then differ."""
    one, other = Chain(), Chain()
    for chain in (one, other):
        chain.grow(common, 1)
    one.grow(longer - common, 2)
    if shorter > common:
        other.grow(shorter - common, 1)
    return one, other


async def test_blocks_that_our_network_replaced_leave_the_engine(engines: Engines, drivers: Drivers) -> None:
    before = Chain()
    blocks = Switching(before)
    engine = engines.started(before)
    driver = drivers.run(engine.url, engine.secret, blocks)
    for common, after in ((6, 6), (6, 8), (6, 12), (6, 15), (0, 3)):
        before, then = forked(common, 12, after)
        blocks.become(before)
        driver.notify()
        await driver.wait_until(following(before), WAIT_S)
        unwound = driver.status.unwound
        blocks.become(then)
        driver.notify()
        await driver.wait_until(following(then), WAIT_S)
        assert engine.head() == (after, then.rollup.head.hash)
        assert driver.status.unwound - unwound == (1 if after == common else 0)
        then.grow(1)
        driver.notify()
        await driver.wait_until(following(then), WAIT_S)
        assert engine.head() == (after + 1, then.rollup.head.hash)


async def test_an_unwinding_of_the_native_core_reaches_the_engine(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(10)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_for(BlockNumber(10), WAIT_S)
    for to, more in ((7, 0), (5, 2), (3, 12)):
        chain.rollup.commit(chain.rollup.session_at(to))
        driver.notify()
        await driver.wait_until(following(chain), WAIT_S)
        for _ in range(more):
            chain.seal(1)
            driver.notify()
        await driver.wait_until(following(chain), WAIT_S)
        assert engine.head() == (to + more, chain.rollup.head.hash)


@pytest.mark.parametrize("foreign", [False, True], ids=["ours to come", "of somebody else"])
async def test_blocks_above_our_head_are_left_alone_for_a_while_and_then_taken_back(
    engines: Engines, drivers: Drivers, foreign: bool
) -> None:
    longer, shorter = forked(5, 9, 5)
    engine = engines.started(longer)
    first = drivers.run(engine.url, engine.secret, longer)
    await first.wait_for(BlockNumber(9), WAIT_S)
    await drivers.close()
    drivers._tasks.clear()

    driver = drivers.run(engine.url, engine.secret, shorter, ahead_grace_s=1.5)
    status = await driver.wait_until(lambda now: now.code == "engine_ahead", WAIT_S)
    assert status.state is DriverState.SYNCING
    assert engine.head()[0] == 9
    if foreign:
        await driver.wait_until(following(shorter), WAIT_S)
        assert driver.status.unwound == 1
        assert engine.head() == (5, shorter.rollup.head.hash)
        return
    shorter.grow(4, 2)  # the same transactions: the same blocks
    assert shorter.rollup.head.hash == longer.rollup.head.hash
    driver.notify()
    await driver.wait_until(following(shorter), WAIT_S)
    assert (driver.status.unwound, driver.status.imported) == (0, 0)


async def test_an_engine_with_other_blocks_is_brought_to_ours(engines: Engines, drivers: Drivers) -> None:
    theirs, ours = forked(3, 40, 7)
    engine = engines.started(theirs)
    first = drivers.run(engine.url, engine.secret, theirs)
    await first.wait_for(BlockNumber(40), WAIT_S)
    await drivers.close()
    drivers._tasks.clear()
    driver = drivers.run(engine.url, engine.secret, ours)
    await driver.wait_until(following(ours), WAIT_S)
    assert engine.head() == (7, ours.rollup.head.hash)
    assert driver.status.imported == 4


async def test_safe_and_finalized_follow_what_is_settled(engines: Engines, drivers: Drivers) -> None:
    chain = Chain()
    chain.grow(8)
    engine = engines.started(chain)
    settled = SettledHeads()
    driver = drivers.run(engine.url, engine.secret, chain, settled=lambda: settled)
    await driver.wait_for(BlockNumber(8), WAIT_S)
    for safe, finalized in ((3, 0), (7, 3), (8, 8)):
        settled = SettledHeads(BlockNumber(safe), BlockNumber(finalized))
        driver.notify()
        await driver.wait_until(lambda now, safe=safe, end=finalized: (now.safe, now.finalized) == (safe, end), WAIT_S)
        for tag, number in (("safe", safe), ("finalized", finalized)):
            if number:
                assert int(engine.eth.call("eth_getBlockByNumber", tag, False)["number"], 16) == number


class Snapshot(Switching):
    """Blocks of a node that began from a snapshot: it has none up to a number, but knows the first one."""

    def __init__(self, chain: Chain, missing: int) -> None:
        super().__init__(chain)
        self.missing = missing

    def payload(self, number: BlockNumber) -> tuple[bytes, bytes] | None:
        return None if number <= self.missing else super().payload(number)

    def hash_of(self, number: BlockNumber) -> Hash32 | None:
        return None if 0 < number <= self.missing else super().hash_of(number)


async def test_a_node_without_old_blocks_drives_an_engine_that_has_them_and_says_what_another_one_needs(
    engines: Engines, drivers: Drivers
) -> None:
    chain = Chain()
    chain.grow(12)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, Snapshot(chain, 8))
    status = await driver.wait_until(lambda now: now.code == "engine_history_missing", WAIT_S)
    assert "block 1," in status.message
    whole = drivers.run(engine.url, engine.secret, chain)
    await whole.wait_for(BlockNumber(12), WAIT_S)
    await drivers.close()
    drivers._tasks.clear()
    driver = drivers.run(engine.url, engine.secret, Snapshot(chain, 8))
    chain.grow(1)
    await driver.wait_for(BlockNumber(13), WAIT_S)
    assert driver.status.imported == 1


async def test_settled_blocks_that_the_engine_cannot_have_do_not_hold_up_its_head(
    engines: Engines, drivers: Drivers
) -> None:
    class Other(Switching):
        """Names another hash for an old block, as when what is settled was just taken back."""

        lies = True

        def hash_of(self, number: BlockNumber) -> Hash32 | None:
            return Hash32(keccak256(b"other")) if number == 2 and self.lies else super().hash_of(number)

    chain = Chain()
    chain.grow(3)
    engine = engines.started(chain)
    blocks = Other(chain)
    settled = SettledHeads(BlockNumber(2), BlockNumber(0))
    driver = drivers.run(engine.url, engine.secret, blocks, settled=lambda: settled)
    with pytest.raises(TimeoutError):
        await driver.wait_until(lambda now: now.safe == 2, 1)
    assert engine.head()[0] == 3
    blocks.lies = False
    chain.grow(1)
    driver.notify()
    await driver.wait_until(lambda now: (now.engine_head, now.safe) == (4, 2), WAIT_S)


class WrongRoot(Switching):
    """Our blocks with another state root from one on: what a fault of our own execution would give."""

    def __init__(self, chain: Chain, number: int) -> None:
        super().__init__(chain)
        self.number = number

    def payload(self, number: BlockNumber) -> tuple[bytes, bytes] | None:
        found = super().payload(number)
        if found is None or number != self.number:
            return found
        fields = json.loads(found[0])
        envelope = read_payload(*found)
        wrong = Hash32(keccak256(b"wrong"))
        header = header_rlp(envelope).replace(envelope.payload.state_root, wrong)
        fields |= {"stateRoot": "0x" + wrong.hex(), "blockHash": "0x" + keccak256(header).hex()}
        return json.dumps(fields).encode(), found[1]

    def hash_of(self, number: BlockNumber) -> Hash32 | None:
        if number != self.number or super().payload(number) is None:
            return super().hash_of(number)
        return read_payload(*self.payload(number)).payload.block_hash

    def head(self) -> BlockId:
        head = super().head()
        return BlockId(head.number, self.hash_of(head.number))


@pytest.mark.parametrize("mode", ["import", "build"])
async def test_a_different_hash_stops_this_rollup_with_evidence_and_no_other(
    engines: Engines, drivers: Drivers, mode: str, tmp_path: Path
) -> None:
    chain, healthy = Chain(), Chain(chain_id=902)
    engine, other = engines.started(chain), engines.started(healthy)
    blocks = WrongRoot(chain, 4)
    driver = drivers.run(engine.url, engine.secret, blocks, mode=mode)
    beside = drivers.run(other.url, other.secret, healthy, mode=mode)
    for number in range(1, 5):
        chain.grow(1)
        healthy.grow(1)
        driver.notify()
        beside.notify()
        await beside.wait_for(BlockNumber(number), WAIT_S)
        if number < 4:
            await driver.wait_for(BlockNumber(number), WAIT_S)
    status = await driver.wait_until(lambda now: now.evidence != "", WAIT_S)
    assert (status.state, status.code, status.engine_head) == (DriverState.STOPPED, "engine_hash_mismatch", 3)
    assert "stateRoot" in status.message
    evidence = json.loads(await asyncio.to_thread(Path(status.evidence).read_bytes))
    assert evidence["firstDifference"] == "stateRoot"
    assert evidence["engine"]["hash"] == "0x" + chain.rollup.head.hash.hex()
    assert evidence["ours"]["hash"] != evidence["engine"]["hash"]
    assert len(evidence["transactions"]) == 3
    chain.grow(1)
    healthy.grow(1)
    driver.notify()
    beside.notify()
    await beside.wait_for(BlockNumber(5), WAIT_S)
    assert driver.status.state is DriverState.STOPPED
    blocks.number = 0  # our network replaced the block
    driver.notify()
    await driver.wait_for(BlockNumber(5), WAIT_S)
    assert engine.head() == (5, chain.rollup.head.hash)
