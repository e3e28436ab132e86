"""What bounds the way back, the data and the reports of an L1: blocks of an origin, repeated conflicts, replays."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from plait.crypto.l1_reports import reporter_of
from plait.derivation.l1_facts import encode_l1_facts
from plait.derivation.rollup_config import MAX_SEQUENCER_DRIFT_FJORD_S, rollup_json_of
from plait.errors import ActionRefused, ConfigurationError
from plait.ledger import l1
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.limits import (
    CONFLICT_PAUSE_SLOTS,
    CONFLICT_PAUSE_SLOTS_MAX,
    CONFLICTS_UNPAUSED,
    L1_FACTS_DUE_SLOTS,
    L1_REPORTERS_LEFT_MAX,
    UNWIND_BLOCKS_MAX,
)
from plait.native import SHARED_UNDO_BLOCKS
from plait.node.config import L1Config, NetworkConfig, RollupConfig
from plait.protocol.proposal import decode_proposal
from plait.protocol.requests import FinalizeRequest
from plait.types import Address, BlockNumber, Hash32, Milliseconds, RollupId
from plait.types.l1 import L1Report, RollupConflict, RollupSafe
from sim.l1 import Wish
from sim.l1_world import L1World

A, B = RollupId(901), RollupId(902)
SOMEBODY = Address(b"\x51" * 20)


def transfer(world: L1World, rollup_id: RollupId, user: int) -> bytes:
    nonce = world.nodes[0].rollups[rollup_id].session().accounts([world.wallets[user].address])[0][0]
    return world.wallets[user].sign_1559(rollup_id, nonce, to=b"\x77" * 20, value=1, max_priority_fee_per_gas=1)


def replayed(world: L1World) -> bytes:
    """App hash of a new application that is given the decided proposals."""
    fresh = world.network.application()
    for effect in world.decided:
        fresh.finalize(FinalizeRequest(height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal))
        fresh.commit()
    return fresh.app_hash


def newest(world: L1World, rollup_id: RollupId) -> int:
    """Number of a rollup's newest block."""
    return next(one.newest_number for one in world.nodes[0].ledger.rollups if one.rollup_id == rollup_id)


def is_open(world: L1World, rollup_id: RollupId) -> bool:
    """Whether a rollup takes a transaction in the next sub-block."""
    world.time_ms = Milliseconds(world.time_ms + 250)
    return world.prepare(transactions={rollup_id: [[transfer(world, rollup_id, 0)]]}).transactions == 1


# ---------------------------------------------------------------- the way back
def test_what_is_taken_back_fits_what_every_node_holds_and_what_an_origin_can_have() -> None:
    """Nodes that start from a snapshot hold as many records; blocks of a second reach to the sequencer drift, and the
    conflict that waited longest is not out of reach."""
    assert UNWIND_BLOCKS_MAX <= SHARED_UNDO_BLOCKS
    assert UNWIND_BLOCKS_MAX >= MAX_SEQUENCER_DRIFT_FJORD_S + 60
    assert CONFLICT_PAUSE_SLOTS_MAX <= UNWIND_BLOCKS_MAX // 2


@pytest.mark.parametrize("pause_s", [175, 1_700])
def test_a_pause_on_one_origin_that_the_l1_then_takes_back_stops_no_rollup(tmp_path: Path, pause_s: int) -> None:
    """While nothing is agreed all blocks have one origin, up to the sequencer drift; when L1 replaces just that block,
    all of them are taken back, by a restarted node too, and the rollup goes on with the new one."""
    world = L1World(rollups=1, embedded=1, validators=4, interval_s=12, hold_s=86_400)
    for _ in range(13):
        world.step()
    world.l1.grow()
    world.report()
    world.step()
    for _ in range(12):
        world.step(pause_s * 1_000 // 12)
    for _ in range(10):
        world.step(250)
    blocks = newest(world, A) - 13
    assert min(pause_s, 1_780) <= blocks <= 1_800
    world.restart(2, tmp_path)
    world.l1.reorganise(1, grow=max(12, pause_s // 12 + 1))
    for _ in range(60):
        world.report()
        world.step(100)
        if any(effect.unwound for effect in world.decided) and newest(world, A) == world.nodes[0].ledger.slot:
            break
    unwound = [one for effect in world.decided for one in effect.unwound if one.rollup_id == A]
    assert [one.last_lost - one.to_number >= blocks - 2 for one in unwound] == [True]
    assert newest(world, A) == world.nodes[0].ledger.slot
    world.step()
    assert is_open(world, A)
    assert replayed(world) == world.nodes[0].app_hash


def test_a_rollup_leaves_its_origin_once_it_is_silent_longer_than_the_drift_only_with_a_new_one() -> None:
    """However long nothing is agreed: an origin has no more blocks than the drift allows."""
    world = L1World(rollups=1, interval_s=12, hold_s=86_400)
    for _ in range(8):
        world.step(900_000)
    assert newest(world, A) == MAX_SEQUENCER_DRIFT_FJORD_S
    assert not is_open(world, A)


# ---------------------------------------------------------------- founding
def l1_config(world: L1World, *, lag_blocks: int = 0, hold_s: int = 60, block_time_s: int = 12) -> L1Config:
    start = "0x" + encode_l1_facts(world.l1.block(100)).hex()
    return L1Config(chain_id=900, start=start, lag_blocks=lag_blocks, hold_s=hold_s, block_time_s=block_time_s)


@pytest.mark.parametrize(("lag", "block_s"), [(0, 12), (3, 12), (64, 12), (2, 2)])
def test_a_network_whose_rollups_would_wait_for_ever_is_not_founded(lag: int, block_s: int) -> None:
    world = L1World()
    least = (lag + 2) * block_s
    assert l1_config(world, lag_blocks=lag, hold_s=least, block_time_s=block_s).terms().hold_s == least
    with pytest.raises(ConfigurationError) as refused:
        l1_config(world, lag_blocks=lag, hold_s=least - 1, block_time_s=block_s).terms()
    assert refused.value.code == "l1_hold_too_short"


@pytest.mark.parametrize(("lag", "hold_s", "opens"), [(0, 24, True), (3, 60, True), (3, 36, False)])
def test_with_the_least_hold_a_rollup_catches_up_after_a_pause_and_is_open_again(
    lag: int, hold_s: int, opens: bool
) -> None:
    """The newest agreed block is as old as the lag says: a shorter hold would keep the rollup behind it for ever."""
    world = L1World(rollups=1, interval_s=12, lag_blocks=lag, hold_s=hold_s)
    world.step()
    for _ in range(25):
        world.l1.grow()
    world.step(300_000)
    open_for = 0
    for second in range(1, 121):
        if second % 12 == 0:
            world.l1.grow()
        world.report()
        world.step()
        open_for += newest(world, A) == world.nodes[0].ledger.slot
    assert (open_for > 60) is opens, (hold_s, open_for)


def test_a_rollup_with_longer_blocks_than_its_l1_is_not_founded() -> None:
    world = L1World(rollups=1)
    config = world.state.bindings[0]
    for block_s, refused in ((2, False), (4, True)):
        slower = msgspec.structs.replace(config, block_time_s=block_s)
        network = NetworkConfig(
            genesis_time_s=config.genesis_time_s,
            rollups=(RollupConfig(chain_id=901, block_time_slots=block_s, opstack=rollup_json_of(slower)),),
            l1=l1_config(world, block_time_s=2),
        )
        if refused:
            with pytest.raises(ConfigurationError) as error:
                network.l1_state()
            assert error.value.code == "rollup_slower_than_l1"
        else:
            assert network.l1_state() is not None


# ---------------------------------------------------------------- conflicts
def test_conflicts_are_carried_out_at_once_until_there_are_too_many() -> None:
    world = L1World(validators=4, interval_s=12)
    for _ in range(12):
        world.step()
    when: list[int] = []
    for second in range(5 * CONFLICTS_UNPAUSED):
        if second % 12 == 0:
            world.l1.grow()
        if second % 3 == 0:
            number = BlockNumber(max(1, newest(world, A) - 1))
            world.report(conflicts=[RollupConflict(A, number, Hash32(second.to_bytes(32, "big")))])
        if world.step().unwound:
            when.append(second)
    assert len(when) == CONFLICTS_UNPAUSED + 1
    assert replayed(world) == world.nodes[0].app_hash


@pytest.fixture
def paused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollups that had their unpaused conflicts already."""
    monkeypatch.setattr("plait.ledger.l1_pauses.CONFLICTS_UNPAUSED", 0)


@pytest.mark.usefixtures("paused_at_once")
def test_one_rollups_conflicts_take_the_others_back_ever_more_seldom() -> None:
    """Who holds a rollup's batcher key can have every block of it derived otherwise: the others lose blocks once, then
    after a pause that doubles. The rollup takes no items while its conflict waits, and all others do."""
    world = L1World(validators=4, interval_s=12)
    for _ in range(12):
        world.step()
    when: list[int] = []
    for second in range(215):
        conflict = RollupConflict(A, BlockNumber(max(1, newest(world, A) - 3)), Hash32(second.to_bytes(32, "big")))
        if second % 12 == 0:
            world.l1.grow()
        world.report(conflicts=[conflict])
        effect = world.step()
        if effect.unwound:
            when.append(effect.slot)
            assert {one.rollup_id for one in effect.unwound} == {A, B}
        if second == 30:
            assert not is_open(world, A)
            assert is_open(world, B)
    gaps = [after - before for before, after in pairwise(when)]
    assert gaps[:2] == [CONFLICT_PAUSE_SLOTS, 2 * CONFLICT_PAUSE_SLOTS], when
    assert len(when) == 3
    assert replayed(world) == world.nodes[0].app_hash
    assert decode_ledger(encode_ledger(world.nodes[0].ledger)) == world.nodes[0].ledger


@pytest.mark.usefixtures("paused_at_once")
def test_a_conflict_that_waited_is_carried_out_without_another_report_and_its_rollup_opens_again() -> None:
    world = L1World(validators=4, hold_s=86_400)
    for _ in range(12):
        world.step()
    for number in (6, 7):
        world.report(conflicts=[RollupConflict(A, BlockNumber(number), Hash32(b"\x66" * 32))])
        world.step()
        world.step()
    assert sum(bool(effect.unwound) for effect in world.decided) == 1
    assert not is_open(world, A)
    for _ in range(CONFLICT_PAUSE_SLOTS + 1):
        world.step()
    unwound = [one for effect in world.decided for one in effect.unwound if one.rollup_id == A]
    assert [one.to_number for one in unwound] == [5, 6]
    assert is_open(world, A)
    assert replayed(world) == world.nodes[0].app_hash


# ---------------------------------------------------------------- reports and facts
def test_facts_that_can_never_follow_are_not_due_and_rollups_take_transactions() -> None:
    """An L1 whose time falls (a development L1 after a restart): its facts are shown once, then nothing waits for them;
    a reorganised L1 is agreed again."""
    world = L1World(validators=4)
    for _ in range(3):
        world.step()
    world.l1.grow()
    world.report()
    world.step()
    fallen = msgspec.structs.replace(world.l1.grow(), timestamp=world.l1.block(100).timestamp)
    world.l1.blocks[-1] = fallen
    for _ in range(L1_FACTS_DUE_SLOTS + 6):
        world.report()
        world.step()
    assert world.state.head.number == 101
    assert world.state.unusable == l1.digest_of(fallen)
    assert decode_ledger(encode_ledger(world.nodes[0].ledger)) == world.nodes[0].ledger
    assert is_open(world, A)
    world.report()
    prepared = world.prepare()
    assert len(decode_proposal(prepared.proposal).actions) == 4, "the reports; the facts are not carried again"
    world.items = []
    world.l1.reorganise(1, grow=1)
    world.report()
    world.step()
    assert world.state.head.number == 103
    assert world.state.unusable == b""
    assert replayed(world) == world.nodes[0].app_hash


def test_what_a_report_says_of_rollups_that_are_not_bound_is_not_kept() -> None:
    """256 made-up rollups in every report would be encoded at every height."""
    world = L1World(validators=4, embedded=1)
    world.step()
    made_up = [RollupSafe(RollupId(number), BlockNumber(1)) for number in range(1, 257)]
    conflicts = [RollupConflict(RollupId(one.rollup_id), BlockNumber(1), Hash32(bytes(32))) for one in made_up]
    world.report([0], safe=made_up, conflicts=conflicts)
    world.report([1], safe=[RollupSafe(A, BlockNumber(1)), RollupSafe(RollupId(903), BlockNumber(1))])
    world.step()
    kept = {one.public_key: one for one in world.state.reports}
    assert not kept[world.keys[0]].safe
    assert not kept[world.keys[0]].conflicts
    assert kept[world.keys[1]].safe == (RollupSafe(A, BlockNumber(1)),)


def test_a_report_of_a_validator_that_left_counts_no_second_time_when_it_is_back() -> None:
    world = L1World(validators=4)
    powers = dict.fromkeys(map(reporter_of, world.keys), 100)
    without = {address: power for address, power in powers.items() if address != reporter_of(world.keys[0])}

    def said(place: int, sequence: int) -> L1Report:
        return world.l1.report(world.keys[place], sequence, 101)

    state = l1.with_report(world.state, said(0, 9), powers)
    state = l1.with_report(state, said(1, 3), without)
    assert [one.public_key for one in state.reports] == [world.keys[1]]
    for sequence in (8, 9):
        with pytest.raises(ActionRefused) as refused:
            l1.with_report(state, said(0, sequence), powers)
        assert refused.value.code == "l1_report_old"
    back = l1.with_report(state, said(0, 10), powers)
    assert back.left == ()
    assert len(back.reports) == 2
    ledger = msgspec.structs.replace(world.nodes[0].ledger, l1=state)
    assert decode_ledger(encode_ledger(ledger)) == ledger


def test_the_ledger_remembers_no_more_validators_that_left_than_its_bound() -> None:
    state = L1World(validators=4).state
    for number in range(L1_REPORTERS_LEFT_MAX + 40):
        key = number.to_bytes(32, "big")
        report = L1Report(public_key=key, sequence=number, head=BlockNumber(1), first=BlockNumber(1), digests=())
        state = l1.with_report(state, report, {reporter_of(key): 1})
    assert len(state.left) == L1_REPORTERS_LEFT_MAX
    assert min(one.sequence for one in state.left) == 39, "the oldest are forgotten"


def test_a_hostile_portal_fills_its_share_of_the_ledger_and_stops_its_own_rollup_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once a rollup's L1 data in the ledger reach their bound the rest is not kept; the agreed digests stay what the
    validators report, so that neither a reorganisation is seen where there is none nor one missed."""
    monkeypatch.setattr(l1, "L1_ROLLUP_KEPT_BYTES_MAX", 2_000)
    world = L1World(validators=4, interval_s=2)
    for slot in range(1, 101):
        if slot % 2 == 0:
            world.l1.grow([Wish(rollup_id=A, to=SOMEBODY, amount=1), Wish(rollup_id=A, to=SOMEBODY, amount=2)])
            world.report()
        world.step()
        held = sum(block.of(A).size for block in world.state.blocks)
        assert held <= 2_000
    assert world.state.dropped
    assert not any(effect.unwound for effect in world.decided)
    assert newest(world, A) < newest(world, B) == world.nodes[0].ledger.slot
    ledger = world.nodes[0].ledger
    assert decode_ledger(encode_ledger(ledger)) == ledger
    world.restart(1, tmp_path)
    world.l1.reorganise(2, grow=1)
    for _ in range(3):
        world.report()
        world.step()
    assert any(one.rollup_id == B for effect in world.decided for one in effect.unwound)
    assert newest(world, B) == world.nodes[0].ledger.slot
    assert {one.number for one in world.state.dropped} <= {block.number for block in world.state.blocks}
    assert replayed(world) == world.nodes[0].app_hash
