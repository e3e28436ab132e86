"""A chain that exists joins a running network, is sequenced by it and leaves; whatever is said of it that is not so."""

from pathlib import Path

import msgspec
import pytest

from plait.derivation.rollup_config import BlockId
from plait.errors import InvariantBroken
from plait.ledger.encoding import decode_ledger, encode_ledger, ledger_root
from plait.ledger.rollup_records import RollupStatus
from plait.limits import L1_BINDINGS_PAUSE_SLOTS
from plait.protocol.requests import FinalizeRequest
from plait.types import Hash32, RollupId
from plait.types.action import LeaveRollup, WithdrawAnchor
from plait.types.l1 import RollupSafe
from sim.l1_joining import CHAIN, JoiningWorld
from sim.world import GENESIS_TIME_S


def transfer(world: JoiningWorld, rollup_id: RollupId, user: int, nonce: int) -> bytes:
    return world.wallets[user].sign_1559(rollup_id, nonce, to=b"\x77" * 20, value=1, max_priority_fee_per_gas=1)


def bound(world: JoiningWorld, seconds: int = 10) -> None:
    world.pass_seconds(seconds)
    world.pass_second([world.bind()])
    assert world.failed == ()
    assert world.entry is not None
    assert world.entry.status is RollupStatus.BOUND


def anchored(world: JoiningWorld, directory: Path, *, without: tuple[int, ...] = (), notice: int = 14) -> int:
    """The chain's sequencer stops, its copy goes to the nodes, the anchor into the ledger; the join slot."""
    world.sequences = False
    anchor = world.chain.copy_to(directory)
    for place, copies in enumerate(world.copies):
        if place not in without:
            copies[CHAIN] = directory
    join_slot = world.second + notice
    world.pass_second([world.anchor(join_slot)])
    assert world.failed == ()
    assert world.entry is not None
    assert world.entry.status is RollupStatus.PENDING
    world.safe = [RollupSafe(CHAIN, anchor.block.number)]
    return join_slot


@pytest.mark.parametrize("validators", [0, 4])
@pytest.mark.parametrize("block_time_s", [1, 2])
def test_a_chain_joins_with_every_deposit_and_its_blocks_are_those_of_derivation(
    validators: int, block_time_s: int, tmp_path: Path
) -> None:
    """Deposits before the binding, between it and the anchor, while nobody sequences, and after: each exactly once."""
    world = JoiningWorld(validators=validators, block_time_s=block_time_s)
    bound(world)
    world.pass_seconds(21)
    join_slot = anchored(world, tmp_path / "copy")
    anchor = world.chain.anchor().block.number
    while world.second < join_slot + 20:
        sent = {CHAIN: [[transfer(world, CHAIN, 0, 0)]]} if world.second == join_slot + 10 else None
        world.pass_second(transactions=sent)
        joined = CHAIN in world.nodes[0].rollups
        assert joined == (world.second >= join_slot)
    native = world.nodes[0].rollups[CHAIN]
    assert native.head.number >= anchor + (20 + 10) // block_time_s, "it has caught up with the grid"
    world.chain.follow(native, native.head.number)
    received = world.received(native)
    assert received == list(range(101, max(received) + 1)), "no deposit is missing"
    assert max(received) >= world.l1.head.number - 2
    assert native.session().accounts([b"\x77" * 20])[0][1] == 1
    record = next(one for one in world.nodes[0].ledger.rollups if one.rollup_id == CHAIN)
    assert record.parameters.anchor_number == anchor
    ledger = world.nodes[0].ledger
    assert ledger_root(decode_ledger(encode_ledger(ledger))) == ledger_root(ledger)
    assert decode_ledger(encode_ledger(ledger)) == ledger


def test_replaying_the_decided_proposals_gives_the_same_state(tmp_path: Path) -> None:
    """A node that starts anew with the chain's copy comes to the same app hash; one without it stops at the join."""
    world = JoiningWorld(validators=0)
    bound(world)
    world.pass_seconds(10)
    join_slot = anchored(world, tmp_path / "copy")
    while world.second < join_slot + 5:
        world.pass_second()
    fresh, without = world.fresh(world.copies[0]), world.fresh({})
    for effect in world.decided:
        request = FinalizeRequest(height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal)
        assert fresh.finalize(request).app_hash == effect.app_hash
        fresh.commit()
        if effect.slot < join_slot:
            without.finalize(request)
            without.commit()
        elif without.info().height == effect.height - 1:
            with pytest.raises(InvariantBroken) as refusal:
                without.finalize(request)
            assert refusal.value.code == "rollup_import_missing"
    assert without.info().slot == join_slot - 1


def test_a_validator_without_the_chain_stops_at_the_join_slot_and_goes_on_when_it_has_it(tmp_path: Path) -> None:
    world = JoiningWorld(validators=4)
    bound(world)
    world.pass_seconds(10)
    join_slot = anchored(world, tmp_path / "copy", without=(3,))
    while world.second < join_slot - 1:
        world.pass_second()
    behind = world.nodes.pop()
    world.pass_seconds(3)
    later = [effect for effect in world.decided if effect.height > behind.info().height]
    first = later[0]
    request = FinalizeRequest(height=first.height, time_ms=first.time_ms, proposal=first.proposal)
    with pytest.raises(InvariantBroken) as refusal:
        behind.finalize(request)
    assert refusal.value.code == "rollup_import_missing"
    world.copies[3][CHAIN] = tmp_path / "copy"
    for effect in later:
        request = FinalizeRequest(height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal)
        assert behind.finalize(request).app_hash == effect.app_hash
        behind.commit()


@pytest.mark.parametrize("validators", [0, 4])
def test_an_anchor_that_too_few_hold_is_given_back_and_stops_nobody(validators: int, tmp_path: Path) -> None:
    """Two thirds of the power do not say that they have the chain: it stays bound, and can be anchored again."""
    world = JoiningWorld(validators=validators)
    bound(world)
    world.pass_seconds(10)
    join_slot = anchored(world, tmp_path / "copy", without=tuple(range(len(world.nodes))))
    world.safe = []
    while world.second < join_slot + 3:
        world.pass_second()
    assert world.entry is not None
    assert world.entry.status is RollupStatus.BOUND
    assert CHAIN not in world.nodes[0].rollups
    world.chain.sequence(GENESIS_TIME_S + world.second)
    join_slot = anchored(world, tmp_path / "again")
    while world.second < join_slot + 3:
        world.pass_second()
    native = world.nodes[0].rollups[CHAIN]
    world.chain.follow(native, native.head.number)


def test_reports_from_before_the_binding_agree_on_nothing_after_it() -> None:
    """Everybody has reported blocks that say something to the chain, and looked at them without it: they are agreed on
    only when they were looked at anew."""
    world = JoiningWorld(validators=4)
    world.pass_seconds(6)
    world.l1.grow([])
    number = world.l1.head.number
    world.report(facts=False)
    world.step(actions=[world.bind()])
    assert world.failed == ()
    assert world.state.head.number == number - 1
    assert all(report.digests == () for report in world.state.reports)
    stale = [one for one in world.l1.blocks if one.number == number]
    assert world.seen(stale[0]).generation == 1
    world.report()
    world.step()
    assert world.state.head.number == number
    assert world.state.head.generation == 1


def test_facts_that_were_made_before_the_binding_are_refused() -> None:
    """More than two thirds of late reports agree on the old facts; they are not taken."""
    world = JoiningWorld(validators=4)
    world.pass_seconds(6)
    before = world.seen
    world.step(actions=[world.bind()])
    world.seen = lambda facts: msgspec.structs.replace(before(facts), generation=0, rollups=())  # type: ignore[method-assign]
    world.second += 1
    world.l1.grow([])
    head = world.state.head.number
    world.report()
    world.step()
    assert world.state.head.number == head, "facts of another generation were agreed on"
    world.seen = before  # type: ignore[method-assign]
    world.report()
    world.step()
    assert world.state.head.number == head + 1


def test_an_anchor_whose_origin_the_l1_loses_is_given_back(tmp_path: Path) -> None:
    world = JoiningWorld(validators=4)
    bound(world)
    world.pass_seconds(10)
    join_slot = anchored(world, tmp_path / "copy")
    origin = world.chain.anchor().origin.number
    world.l1.reorganise(world.l1.head.number - origin + 1, grow=1)
    while world.second < join_slot + 2:
        world.pass_second()
    assert world.entry is not None
    assert world.entry.status is RollupStatus.BOUND
    assert CHAIN not in world.nodes[0].rollups


def test_an_l1_reorganisation_after_the_join_takes_blocks_back_and_gives_others(tmp_path: Path) -> None:
    world = JoiningWorld(validators=4)
    bound(world)
    world.pass_seconds(10)
    join_slot = anchored(world, tmp_path / "copy")
    while world.second < join_slot + 10:
        world.pass_second()
    world.l1.reorganise(3, grow=1)
    world.pass_seconds(20)
    native = world.nodes[0].rollups[CHAIN]
    assert any(effect.unwound for effect in world.decided)
    world.chain.follow(native, native.head.number)
    assert native.head.number > world.second - 5


def test_the_owner_may_withdraw_an_anchor_and_let_the_chain_go_before_and_after_it_joined(tmp_path: Path) -> None:
    world = JoiningWorld(validators=0)
    bound(world)
    assert CHAIN in [config.chain_id for config in world.state.bindings]
    world.pass_second([world.action(LeaveRollup(rollup_id=CHAIN, at_slot=0))])
    assert world.entry is None
    world.pass_second([world.bind()])
    assert world.entry is None, "bindings are some slots apart; this one waits"
    assert world.failed == ()
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    assert CHAIN not in [config.chain_id for config in world.state.bindings]
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    bound(world)
    world.pass_seconds(4)
    anchored(world, tmp_path / "copy")
    world.pass_second([world.action(WithdrawAnchor(rollup_id=CHAIN))])
    assert world.entry is not None
    assert world.entry.status is RollupStatus.BOUND
    world.pass_second([world.action(WithdrawAnchor(rollup_id=CHAIN))])
    assert [failed.code for failed in world.failed] == ["rollup_not_anchored"]
    world.chain.sequence(GENESIS_TIME_S + world.second)
    join_slot = anchored(world, tmp_path / "again")
    while world.second < join_slot + 5:
        world.pass_second()
    assert CHAIN in world.nodes[0].rollups
    native = world.nodes[0].rollups[CHAIN]
    leave_slot = world.second + 15
    world.pass_second([world.action(LeaveRollup(rollup_id=CHAIN, at_slot=leave_slot))])
    assert world.failed == ()
    while world.second < leave_slot + 2:
        world.pass_second()
    assert CHAIN not in world.nodes[0].rollups
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    assert CHAIN not in [config.chain_id for config in world.state.bindings]
    world.chain.follow(native, native.head.number)
    gone = world.nodes[0].ledger.economy.departed.get(CHAIN.to_bytes(8, "big"))
    assert gone is not None
    assert gone.head_number == native.head.number
    last = world.chain.time_of(native.head.number)
    assert last == GENESIS_TIME_S + leave_slot - 1
    world.chain.sequence(GENESIS_TIME_S + world.second)
    assert len(world.chain.made) > native.head.number + 1, "its own sequencer goes on from the last block"


def test_what_does_not_fit_is_refused_with_its_code() -> None:
    world = JoiningWorld(validators=0)
    world.pass_seconds(4)
    config = world.chain.config
    for changed, code in (
        (msgspec.structs.replace(config, l1_chain_id=1), "rollup_config_invalid"),
        (msgspec.structs.replace(config, chain_id=991), "rollup_config_invalid"),
        (msgspec.structs.replace(config, block_time_s=3, genesis_time_s=GENESIS_TIME_S + 1), "rollup_off_grid"),
    ):
        world.pass_second([world.bind(changed)])
        assert [failed.code for failed in world.failed] == [code]
    early = world.chain.anchor()
    world.pass_second([world.anchor(world.second + 14)])
    assert [failed.code for failed in world.failed] == ["rollup_unknown"]
    world.pass_seconds(6)
    world.pass_second([world.bind()])
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    world.pass_second([world.bind()])
    assert [failed.code for failed in world.failed] == ["rollup_already_registered"]
    good = world.chain.anchor()
    for anchor, notice, code in (
        (early, 14, "rollup_anchor_too_old"),
        (good, 4, "rollup_slot_too_early"),
        (good, 10_000, "rollup_slot_too_far"),
        (msgspec.structs.replace(good, timestamp=good.timestamp + 1), 14, "rollup_anchor_invalid"),
        (
            msgspec.structs.replace(good, origin=BlockId(good.origin.number, Hash32(bytes(32)))),
            14,
            "rollup_anchor_origin_unknown",
        ),
    ):
        world.pass_second([world.anchor(world.second + notice, anchor)])
        assert [failed.code for failed in world.failed] == [code]


@pytest.mark.parametrize(("notice", "joins"), [(100, True), (230, False)])
def test_the_anchors_origin_is_kept_until_the_join_while_the_l1_need_not_wait(
    notice: int, joins: bool, tmp_path: Path
) -> None:
    """An L1 block a second: the origin is a reorganisation's reach old, or older than any that the ledger keeps."""
    world = JoiningWorld(validators=0, interval_s=1)
    bound(world)
    world.pass_seconds(4)
    join_slot = anchored(world, tmp_path / "copy", notice=notice)
    while world.second < join_slot + 40:
        world.pass_second()
        assert world.l1.head.number - world.state.head.number <= 1, "agreement waits for nobody"
    assert (CHAIN in world.nodes[0].rollups) == joins
    if joins:
        native = world.nodes[0].rollups[CHAIN]
        world.chain.follow(native, native.head.number)
        assert native.head.number > world.second - 3
