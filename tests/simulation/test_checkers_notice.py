"""The checkers are not decoration: each notices the fault it exists for. And a seed is a complete description of a
run."""

import msgspec
import pytest

from plait.engines.simulated import Chances, Decided, Forgery, SimulatedEngine, replay
from plait.errors import InvariantBroken
from plait.protocol.application import Application
from plait.protocol.requests import Committed
from sim.checkers import Agreement, Checkers, NothingLost, Reasons, Replayable, ValueConserved, Violation
from sim.run import play
from sim.world import World

CALM = Chances(crash_before_commit=0, crash_after_commit=0)


def world_after(heights: int, seed: int = 3) -> World:
    world = World(seed, heights=heights, chances=CALM)
    for _ in range(heights):
        world.step()
    return world


def test_a_seed_gives_one_run() -> None:
    assert play(11, heights=10) == play(11, heights=10)
    assert play(11, heights=10).app_hash != play(12, heights=10).app_hash


def test_a_node_that_stands_elsewhere_is_noticed() -> None:
    world = world_after(4)
    step = world.step()
    Agreement().after(world, step)
    world.nodes[0].application = world.network.application()
    with pytest.raises(Violation, match="node 0 stands at 0"):
        Agreement().after(world, step)


def test_an_app_hash_that_differs_is_noticed() -> None:
    world = world_after(4)
    step = world.step()
    other = step._replace(decided=msgspec.structs.replace(step.decided, app_hash=bytes(32)))
    with pytest.raises(Violation, match="another app hash"):
        Agreement().after(world, other)


def test_a_transaction_missing_from_or_additional_in_blocks_is_noticed() -> None:
    world = world_after(0)
    checker = NothingLost()
    for _ in range(12):
        checker.after(world, world.step())
    checker.at_end(world)
    rollup_id = next(iter(checker._decided))
    lost = checker._decided[rollup_id].pop()
    with pytest.raises(Violation, match="other transactions than the log"):
        checker.at_end(world)
    checker._decided[rollup_id] += [lost, lost]
    with pytest.raises(Violation, match="decided twice"):
        checker.at_end(world)


def test_a_wei_too_much_is_noticed() -> None:
    world = world_after(6)
    checker = ValueConserved(world)
    step = world.step()
    checker.after(world, step)
    rollup_id = next(iter(checker._minted))
    checker._minted[rollup_id] += 1
    with pytest.raises(Violation, match="balances add up to"):
        checker.after(world, step)


def test_a_vault_that_falls_is_noticed() -> None:
    world = world_after(6)
    checker = ValueConserved(world)
    checker._vaults = {rollup_id: [10**30] * 4 for rollup_id in checker._vaults}
    with pytest.raises(Violation, match="balance fell"):
        checker.after(world, world.step())


def test_a_log_that_does_not_give_the_live_state_is_noticed() -> None:
    world = world_after(6)
    Replayable().at_end(world)
    record = world.engine.log.pop()
    with pytest.raises(Violation, match="stands elsewhere"):
        Replayable().at_end(world)
    world.engine.log.append(msgspec.structs.replace(record, app_hash=bytes(32)))
    with pytest.raises(InvariantBroken, match="gives another app hash"):
        Replayable().at_end(world)


def test_a_log_with_a_forged_record_stops_the_replay() -> None:
    world = world_after(6)
    record = world.engine.log[3]
    forged = Decided(
        height=record.height,
        time_ms=record.time_ms,
        proposal=record.proposal[:-1] + bytes([record.proposal[-1] ^ 1]),
        app_hash=record.app_hash,
        senders=record.senders,
    )
    log = [*world.engine.log[:3], forged, *world.engine.log[4:]]
    with pytest.raises(InvariantBroken, match="not valid here"):
        replay(world.network.application(), log, with_senders=False)


def test_an_accepted_forgery_and_a_refused_honest_proposal_are_noticed() -> None:
    world = World(5, heights=1, chances=Chances(byzantine=100, rival=0, undecided=0))
    world.engine._forgers = [lambda random, application, time_ms, honest: Forgery("not a forgery", honest)]
    with pytest.raises(InvariantBroken, match="was accepted"):
        world.step()
    world.engine._forgers = [lambda random, application, time_ms, honest: Forgery("garbage", b"x", True)]
    with pytest.raises(InvariantBroken, match="was refused"):
        world.step()


def test_a_refusal_without_a_reason_is_noticed() -> None:
    world = World(5, heights=1, chances=Chances(byzantine=100, rival=0, undecided=0))
    step = next(s for s in (world.step() for _ in range(20)) if any(not shown.valid for shown in s.shown))
    bad = next(shown for shown in step.shown if not shown.valid)
    silent = {index: msgspec.structs.replace(verdict, sentence="") for index, verdict in bad.verdicts.items()}
    with pytest.raises(Violation, match="without a reason"):
        Reasons().after(world, step._replace(shown=(bad._replace(verdicts=silent),)))


def test_a_commit_that_is_skipped_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5, heights=1, chances=CALM)
    checkers = Checkers(world)
    checkers.after(world.step())
    monkeypatch.setattr(Application, "commit", lambda self: Committed(height=0, app_hash=b"", retain_height=0))
    with pytest.raises(Violation):
        checkers.after(world.step())


def test_crashes_and_restarts_really_happen() -> None:
    often = Chances(crash_before_commit=30, crash_after_commit=30, stay_down=20)
    world = World(6, heights=20, chances=often)
    checkers = Checkers(world)
    restarted = down = 0
    for _ in range(20):
        step = world.step()
        checkers.after(step)
        restarted += len(step.restarted)
        down += len(world.nodes) - len(world.engine.live)
    checkers.at_end()
    assert restarted >= 5
    assert down >= 5
    assert isinstance(world.engine, SimulatedEngine)
