"""What waits for state that another node holds, how long, and that waiting ends: patience of threads, steps that are
tried again, the solo engine, and both pools."""

import asyncio
import threading
import time

import pytest

from plait.engines.solo import SoloEngine
from plait.errors import BundleRefused, TransactionRefused
from plait.limits import REMOTE_RETRY_MS_FIRST, REMOTE_RETRY_MS_MAX
from plait.mempool import BundlePool, Pool
from plait.mempool.entries import Admitted
from plait.mempool.unread import Unread
from plait.native import NativeError, Rollup, Store
from plait.native.unread import is_unread
from plait.patience import NotRead, patience, time_left_s, until_read
from plait.protocol.application import Application
from plait.protocol.requests import BundleFailed
from plait.protocol.requests import Unread as LeftOut
from plait.storage import MemoryLog
from plait.types import Bundle, Hash32, Leg, Milliseconds, Slot
from sim.bundling import decoded
from sim.remote import KEEPER, LOCAL, REMOTE, STRANGERS, FailingNode, network_with_state, remote_rollup
from sim.wallet import Wallet

USERS = [Wallet.of_index(index, "waiting for state") for index in range(4)]
NETWORK = network_with_state([user.address for user in USERS])


def rollups() -> tuple[dict[int, Rollup], FailingNode]:
    remote, node = remote_rollup(NETWORK)
    return {REMOTE: remote, LOCAL: Rollup.from_genesis(NETWORK.genesis[LOCAL], Store.in_memory())}, node


# ---------------------------------------------------------------- patience
def test_patience_bounds_its_own_thread_and_can_only_shrink() -> None:
    assert time_left_s(5) == 5
    with patience(2):
        assert 1.9 < time_left_s(5) <= 2
        assert time_left_s(1) == 1
        with patience(10):
            assert time_left_s(5) <= 2
        with patience(0):
            assert time_left_s(5) == 0
        seen: list[float] = []
        thread = threading.Thread(target=lambda: seen.append(time_left_s(5)))
        thread.start()
        thread.join()
        assert seen == [5]
        assert 1.9 < time_left_s(5) <= 2
    assert time_left_s(5) == 5


def test_a_step_is_tried_until_state_comes_and_other_failures_end_it_at_once() -> None:
    found, node = rollups()
    node.moods = ["refuse", "lie", "refuse"]
    told: list[str] = []
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return True

    accounts = until_read(lambda: found[REMOTE].accounts([STRANGERS[7]], 0), lambda e: told.append(e.code), pause)
    assert accounts == [(0, 8, False)]
    assert told == ["remote_unavailable", "remote_proof_wrong", "remote_unavailable"]
    assert [1_000 * seconds for seconds in pauses] == [REMOTE_RETRY_MS_FIRST << shift for shift in range(3)]
    with pytest.raises(NativeError) as caught:
        until_read(lambda: found[REMOTE].accounts([STRANGERS[7]], 9), pause=pause)
    assert not is_unread(caught.value)
    assert len(pauses) == 3
    node.then = "refuse"
    with pytest.raises(NotRead):
        until_read(lambda: found[REMOTE].accounts([STRANGERS[8]], 0), pause=lambda _: False)


def test_pauses_double_up_to_their_bound_and_what_failed_least_comes_first() -> None:
    unread, now = Unread(), Milliseconds(1_000)
    for item in (b"a", b"b", b"c"):
        unread.add(item)
    assert unread.due(now) == [b"a", b"b", b"c"]
    pauses: list[int] = []
    for _ in range(9):
        unread.failed(b"a", "remote_unavailable", "gone", now)
        missing = unread.get(b"a")
        assert missing is not None
        pauses.append(missing.not_before_ms - now)
    assert pauses == sorted(pauses)
    assert pauses[:3] == [REMOTE_RETRY_MS_FIRST, 2 * REMOTE_RETRY_MS_FIRST, 4 * REMOTE_RETRY_MS_FIRST]
    assert pauses[-1] == REMOTE_RETRY_MS_MAX
    assert unread.due(now) == [b"b", b"c"]
    assert unread.due(Milliseconds(now + REMOTE_RETRY_MS_MAX)) == [b"b", b"c", b"a"]
    unread.keep(lambda item: item != b"b")
    unread.done(b"c")
    assert len(unread) == 1


# ---------------------------------------------------------------- pools
def pool_of(found: dict[int, Rollup]) -> Pool:
    pool = Pool()
    for record in NETWORK.ledger.rollups:
        pool.add_rollup(found[record.rollup_id], record.parameters)
    return pool


def pay(rollup: int, user: int, nonce: int, **changes: int) -> bytes:
    fields = {"value": 1, "max_fee_per_gas": 10**10} | changes
    return USERS[user].sign_1559(rollup, nonce, to=STRANGERS[3], **fields)  # type: ignore[arg-type]


def offered(pool: Pool) -> dict[int, int]:
    return {rollup_id: sum(map(len, queues)) for rollup_id, queues in pool.candidates().items()}


def test_a_transaction_is_offered_when_its_state_was_read_and_waits_with_its_reason() -> None:
    found, node = rollups()
    pool = pool_of(found)
    now = Milliseconds(1)
    node.then = "refuse"
    (refused,) = pool.submit(REMOTE, [pay(REMOTE, 0, 0)], now)
    assert isinstance(refused, TransactionRefused)
    assert refused.code == "remote_unavailable"
    assert str(refused).startswith("state not available")
    node.then = "ok"
    results = pool.submit(REMOTE, [pay(REMOTE, 0, 0), pay(REMOTE, 0, 1), pay(REMOTE, 1, 0)], now)
    first, second, other = (item for item in results if isinstance(item, Admitted))
    pool.submit(LOCAL, [pay(LOCAL, 0, 0)], now)
    assert offered(pool) == {LOCAL: 1}, "those of the remote rollup are read for first"
    queues = pool.to_read(REMOTE, now, 10)
    assert sorted(len(queue) for queue in queues) == [1, 2]
    pool.state_read(REMOTE, [second.hash, other.hash])
    assert offered(pool) == {REMOTE: 1, LOCAL: 1}, "the first one holds up the second of its sender"
    assert pool.missing(REMOTE, first.hash) is None, "it was not tried yet"
    pool.state_unread([LeftOut(REMOTE, Hash32(first.hash), "remote_unavailable", "no answer")], now)
    missing = pool.missing(REMOTE, first.hash)
    assert missing is not None
    assert (missing.code, missing.sentence, missing.failures) == ("remote_unavailable", "no answer", 1)
    assert pool.to_read(REMOTE, now, 10) == []
    assert len(pool.to_read(REMOTE, Milliseconds(now + REMOTE_RETRY_MS_FIRST), 10)) == 1
    pool.state_read(REMOTE, [first.hash])
    assert offered(pool) == {REMOTE: 3, LOCAL: 1}
    (replacing,) = pool.submit(
        REMOTE, [pay(REMOTE, 1, 0, max_fee_per_gas=2 * 10**10, max_priority_fee_per_gas=2 * 10**6)], now
    )
    assert isinstance(replacing, Admitted)
    assert offered(pool) == {REMOTE: 2, LOCAL: 1}, "what replaces another is read for, too"


def test_transactions_that_may_look_at_much_make_no_others_wait_to_be_read_for() -> None:
    """One with 9,000,000 gas can look at thousands of accounts of which none is known, as often as it likes, for free:
    it is never included. Those that came after it and can look at little are read for before it."""
    found, _ = rollups()
    pool = pool_of(found)
    now = Milliseconds(1)
    greedy = [pay(REMOTE, user, 0, gas_limit=9_000_000) for user in range(2)]
    modest = [pay(REMOTE, 2, nonce) for nonce in range(2)]
    pool.submit(REMOTE, [*greedy, *modest], now)

    def read() -> list[list[int]]:
        return [[ready.transaction.gas_limit for ready in queue] for queue in pool.to_read(REMOTE, now, 100)]

    first = read()
    assert len(first[0]) == 2, "the later ones come first"
    assert [one for queue in first[1:] for one in queue] == [9_000_000], "one of the others, not both at once"
    for queue in pool.to_read(REMOTE, now, 100):
        pool.state_read(REMOTE, [ready.transaction.hash for ready in queue])
    assert read() == [[9_000_000]]


def test_bundles_of_one_payer_make_those_of_another_not_wait_to_be_read_for() -> None:
    found, _ = rollups()
    pool = BundlePool()
    for record in NETWORK.ledger.rollups:
        pool.add_rollup(found[record.rollup_id], record.parameters)
    made = []
    for user, value in ((0, 1), (0, 2), (0, 3), (1, 1)):
        legs = tuple(Leg(rollup_id=one, transactions=(pay(one, user, 0, value=value),)) for one in (REMOTE, LOCAL))
        made.append(decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(20))))
        pool.admit(made[-1], Milliseconds(1), Slot(0))
    order = [one.hash for one in pool.to_read(Milliseconds(1), Slot(1))]
    assert order == [made[place].hash for place in (0, 3, 1, 2)]


def test_a_bundle_with_a_remote_leg_waits_whole_and_nobody_is_charged() -> None:
    found, node = rollups()
    pool = BundlePool()
    for record in NETWORK.ledger.rollups:
        pool.add_rollup(found[record.rollup_id], record.parameters)
    legs = tuple(Leg(rollup_id=one, transactions=(pay(one, 0, 0),)) for one in (REMOTE, LOCAL))
    bundle = decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(20)))
    local = decoded(Bundle(legs=(legs[1],), not_before_slot=Slot(0), deadline_slot=Slot(20)))
    now = Milliseconds(1)
    node.then = "refuse"
    with pytest.raises(BundleRefused) as refused:
        pool.admit(bundle, now, Slot(0))
    assert refused.value.code == "remote_unavailable"
    node.then = "ok"
    pool.admit(bundle, now, Slot(0))
    pool.admit(local, now, Slot(0))
    assert [one.bundle.hash for one in pool.candidates(Slot(1))] == [local.hash]
    assert [one.hash for one in pool.to_read(now, Slot(1))] == [bundle.hash]
    pool.state_read(bundle.hash)
    assert len(pool.candidates(Slot(1))) == 2
    failed = BundleFailed(bundle.hash, "remote_unavailable", "gone", REMOTE, 0, "remote_unavailable", charged=False)
    pool.on_failed([failed], Slot(1))
    pool.state_unread(bundle.hash, failed.code, failed.sentence, now)
    assert [one.bundle.hash for one in pool.candidates(Slot(1))] == [local.hash]
    status = pool.status(bundle.hash)
    assert status is not None
    assert (status.status, status.trials) == ("received", 0)
    assert status.mishap is not None
    assert (status.mishap.code, status.mishap.rollup_id) == ("remote_unavailable", REMOTE)
    assert pool.to_read(now, Slot(1)) == []
    pool.state_read(bundle.hash)
    (again,) = [one for one in pool.candidates(Slot(1)) if one.bundle.hash == bundle.hash]
    assert not again.retried, "it stands where it stood"


# ---------------------------------------------------------------- the solo engine
def test_the_engine_waits_for_a_block_that_cannot_be_opened_says_why_and_can_be_stopped() -> None:
    async def main() -> None:
        found, node = rollups()
        application = Application(NETWORK.ledger, found, NETWORK.source)  # type: ignore[arg-type]
        node.then = "refuse"
        begun = time.monotonic()

        def clock() -> Milliseconds:
            return Milliseconds(NETWORK.ledger.time_ms + 1_000 + int(1_000 * (time.monotonic() - begun)))

        heights: list[int] = []
        engine = SoloEngine(
            application,
            MemoryLog(),
            parameters=NETWORK.ledger.parameters,
            clock=clock,
            candidates=dict,
            publish=lambda decision: heights.append(decision.effect.height),
        )
        running = asyncio.create_task(engine.run())
        await asyncio.sleep(1.2)
        assert heights == []
        assert engine.missing.startswith("remote_unavailable")
        node.then = "ok"
        for _ in range(100):
            await asyncio.sleep(0.05)
            if len(heights) >= 3:
                break
        assert heights[:3] == [1, 2, 3]
        assert engine.missing == ""
        node.then = "refuse"
        await asyncio.sleep(1.5)
        engine.stop()
        async with asyncio.timeout(5):
            await running

    asyncio.run(main())


def test_an_engine_that_waits_ends_when_it_is_stopped() -> None:
    """A wait for state is no reason to outlive `stop`."""
    ended = threading.Event()
    found, node = rollups()
    node.then = "refuse"
    threading.Timer(0.3, ended.set).start()
    started = time.monotonic()
    with pytest.raises(NotRead):
        until_read(lambda: found[REMOTE].code(KEEPER, 0), pause=lambda seconds: not ended.wait(seconds))
    assert time.monotonic() - started < 2
