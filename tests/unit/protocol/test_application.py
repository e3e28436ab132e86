"""The obligations to an engine (numbered in `plait/protocol/application.py`), and what effects say."""

from hashlib import sha256

import msgspec
import pytest

from plait.errors import InvariantBroken, Unavailable
from plait.ledger.encoding import decode_ledger, encode_ledger, ledger_root
from plait.limits import CANDIDATES_MAX, CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX
from plait.native import Transaction, decode_transactions
from plait.ordering.policy import Ordered
from plait.protocol import checking
from plait.protocol.application import Application
from plait.protocol.building import _pack
from plait.protocol.proposal import decode_proposal, encode_header, split_items
from plait.protocol.requests import Accepted, FinalizeRequest, PrepareRequest, ProcessRequest
from plait.types import Hash32, Height, Milliseconds, RollupId
from sim.situation import ARRIVAL, FEE, Situation, at_slot, at_slot_4, queues, small_network, transfer
from sim.wallet import Wallet
from sim.workload import REVERTING_CODE, STORING_CODE


def finalize_request(situation: Situation, proposal: bytes, senders: bytes | None = None) -> FinalizeRequest:
    return FinalizeRequest(height=situation.height, time_ms=situation.time_ms, proposal=proposal, senders=senders)


# ---------------------------------------------------------------- genesis and hashes
def test_genesis_stands_at_height_0_with_the_specified_app_hash() -> None:
    """docs/protocol.md, section 3: H([0, 32 zero bytes, ledger root])."""
    network = small_network()
    info = network.application().info()
    assert (info.height, info.slot, info.sub_index) == (0, 0, 0)
    encoded = b"\xf8\x43\x80\xa0" + bytes(32) + b"\xa0"
    assert info.app_hash == sha256(encoded + ledger_root(network.ledger)).digest()


def test_each_proposal_names_the_app_hash_before_and_yields_the_specified_one() -> None:
    situation = at_slot_4()
    header = decode_proposal(situation.honest).header
    assert header.parent_app_hash == situation.judge.info().app_hash
    header_hash = sha256(encode_header(header)).digest()
    expected = sha256(b"\xf8\x43" + bytes([situation.height]) + b"\xa0" + header_hash + b"\xa0" + header.ledger_root)
    situation.decide(situation.honest)
    assert situation.judge.info().app_hash == expected.digest()


def test_the_ledger_root_of_a_proposal_is_that_of_the_committed_ledger_after_it() -> None:
    situation = at_slot_4()
    situation.decide(situation.honest)
    assert ledger_root(situation.judge.ledger) == decode_proposal(situation.honest).header.ledger_root


# ---------------------------------------------------------------- obligations
def test_asking_changes_nothing() -> None:
    """1: after any number of prepare and process calls the application stands where it stood."""
    situation = at_slot_4()
    before = (situation.judge.info(), situation.judge.ledger)
    heads = [rollup.head.hash for rollup in situation.judge.rollups.values()]
    for user in range(4):
        situation.prepare({FEE: queues(FEE, [[transfer(FEE, user, 0)]], situation.time_ms)})
        situation.verdict(situation.honest)
        situation.verdict(situation.honest + b"x")
    assert (situation.judge.info(), situation.judge.ledger) == before
    assert [rollup.head.hash for rollup in situation.judge.rollups.values()] == heads
    for rollup_id, rollup in situation.judge.rollups.items():
        block = rollup.open_block
        record = next(r for r in situation.judge.ledger.rollups if r.rollup_id == rollup_id)
        assert block is not None
        assert record.open_block is not None
        assert (block.number, block.gas_used) == (record.open_block.number, record.open_block.gas_used)


def test_what_is_prepared_is_accepted_elsewhere() -> None:
    """2, for a proposal with skipped candidates of every kind."""
    situation = at_slot(4)
    stranger = Wallet.of_index(1, "application stranger")
    mixed = [
        [transfer(FEE, 0, 0), transfer(FEE, 0, 1, value=10**30), transfer(FEE, 0, 2)],
        [transfer(FEE, 1, 0, gas_limit=30_000_001)],
        [stranger.sign_1559(FEE, 0, to=bytes(20), value=1)],
        [transfer(FEE, 2, 0, data=REVERTING_CODE, to=b"", gas_limit=80_000)],
        [transfer(FEE, 3, 0, tip=9)],
    ]
    prepared = situation.prepare({FEE: queues(FEE, mixed, situation.time_ms)})
    assert prepared.transactions == 3
    codes = sorted(entry.code for entry in prepared.dropped)
    assert codes == ["block_gas_limit_reached", "insufficient_funds", "insufficient_funds"]
    assert prepared.deferred == 1, "the one behind an unpayable nonce waits"
    assert isinstance(situation.verdict(prepared.proposal), Accepted)


def test_own_proposals_run_once_unless_recheck_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """3: the judge decodes; the proposer does not; a proposer with `recheck_own` does."""
    calls: list[int] = []

    def counted(*args: object, **kwargs: object) -> list[object]:
        calls.append(1)
        return decode_transactions(*args, **kwargs)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(checking, "decode_transactions", counted)
    for recheck, expected in ((False, 0), (True, 1)):
        network = small_network()
        application = network.application(recheck_own=recheck)
        time_ms = Milliseconds(network.ledger.time_ms + 1_000)
        candidates = {FEE: queues(FEE, [[transfer(FEE, 0, 0)]], time_ms)}
        prepared = application.prepare(PrepareRequest(height=Height(1), time_ms=time_ms, candidates=candidates))
        request = ProcessRequest(height=Height(1), time_ms=time_ms, proposal=prepared.proposal)
        calls.clear()
        assert isinstance(application.process(request), Accepted)
        assert len(calls) == expected
        assert isinstance(application.process(request), Accepted)
        finalize = FinalizeRequest(height=Height(1), time_ms=time_ms, proposal=prepared.proposal)
        application.finalize(finalize)
        assert len(calls) == expected, "a checked proposal is not run again"


def test_finalize_needs_no_process_and_gives_the_same() -> None:
    """4, with and without stored senders."""
    situation = at_slot_4()
    prepared = situation.proposer.finalize(finalize_request(situation, situation.honest))
    replayed = situation.judge.finalize(finalize_request(situation, situation.honest))
    again = at_slot_4().judge.finalize(finalize_request(situation, situation.honest, prepared.effect.senders))
    assert prepared.app_hash == replayed.app_hash == again.app_hash
    assert prepared.effect.senders == replayed.effect.senders == again.effect.senders
    assert len(prepared.effect.senders) == 20 * 12


def test_the_last_finalized_proposal_counts() -> None:
    situation = at_slot_4()
    empty = situation.prepare({}).proposal
    situation.judge.finalize(finalize_request(situation, empty))
    last = situation.judge.finalize(finalize_request(situation, situation.honest))
    assert situation.judge.commit().app_hash == last.app_hash


def test_commit_forgets_rivals_and_needs_a_finalized_sub_block() -> None:
    """5"""
    situation = at_slot_4()
    with pytest.raises(InvariantBroken):
        situation.judge.commit()
    situation.verdict(situation.prepare({}).proposal)
    situation.verdict(situation.honest)
    assert situation.judge.statistics()["candidates"] >= 2
    situation.decide(situation.honest)
    assert situation.judge.statistics()["candidates"] == 0
    with pytest.raises(InvariantBroken):
        situation.judge.commit()


def test_rival_candidates_are_bounded_and_an_evicted_one_can_still_be_decided() -> None:
    situation = at_slot(4)
    rivals = [
        situation.prepare({FEE: queues(FEE, [[transfer(FEE, 0, 0, tip=tip)]], situation.time_ms)}).proposal
        for tip in range(CANDIDATES_MAX + 3)
    ]
    assert len(set(rivals)) == len(rivals)
    for rival in rivals:
        assert isinstance(situation.verdict(rival), Accepted)
    assert situation.judge.statistics()["candidates"] == CANDIDATES_MAX
    assert situation.proposer.statistics()["candidates"] == CANDIDATES_MAX
    situation.decide(rivals[0])
    assert situation.judge.info() == situation.proposer.info()


def test_only_the_next_height_can_be_prepared() -> None:
    situation = at_slot(2)
    for height in (0, 1, 3):
        with pytest.raises(Unavailable) as refusal:
            situation.proposer.prepare(PrepareRequest(height=Height(height), time_ms=situation.time_ms, candidates={}))
        assert refusal.value.code == "height_not_next"


# ---------------------------------------------------------------- start
def test_an_application_goes_on_from_a_ledgers_bytes() -> None:
    """What a snapshot restores: ledger bytes, app hash, and rollups at the same heads."""
    situation = at_slot_4()
    old = situation.judge
    restored = Application(
        decode_ledger(encode_ledger(old.ledger)), old.rollups, situation.network.source, app_hash=old.app_hash
    )
    assert restored.info() == old.info()
    request = ProcessRequest(height=situation.height, time_ms=situation.time_ms, proposal=situation.honest)
    assert isinstance(restored.process(request), Accepted)


def test_a_state_that_does_not_fit_its_ledger_stops_the_start() -> None:
    situation = at_slot_4()
    judge, network = situation.judge, situation.network
    fresh = network.application()
    for ledger, rollups, app_hash in (
        (judge.ledger, judge.rollups, None),
        (judge.ledger, fresh.rollups, judge.app_hash),
        (network.ledger, {FEE: fresh.rollups[FEE]}, None),
    ):
        with pytest.raises(InvariantBroken) as broken:
            Application(ledger, rollups, network.source, app_hash=app_hash)
        assert broken.value.code == "state_mismatch"


# ---------------------------------------------------------------- effects
def test_an_effect_tells_transactions_outcomes_sealed_and_open_blocks() -> None:
    situation = at_slot(4)
    unpayable = transfer(FEE, 1, 0, value=10**30, tip=50)
    reverting = transfer(FEE, 2, 0, data=REVERTING_CODE, to=b"", gas_limit=80_000, tip=40)
    storing = transfer(FEE, 3, 0, data=STORING_CODE, to=b"", gas_limit=120_000, tip=30)
    candidates = {FEE: queues(FEE, [[unpayable], [reverting], [storing]], situation.time_ms)}
    prepared = situation.prepare(candidates)
    effect = situation.proposer.finalize(finalize_request(situation, prepared.proposal)).effect
    assert (effect.height, effect.slot, effect.sub_index, effect.transactions) == (situation.height, 4, 0, 2)
    assert effect.proposal_hash == prepared.proposal_hash == sha256(prepared.proposal).digest()
    fee, arrival = effect.rollups
    assert [transaction.raw for transaction in fee.transactions] == [reverting, storing]
    assert fee.statuses == b"\0\1"
    assert list(fee.positions) == [1, 2]
    assert fee.outcomes is not None
    failure = fee.outcomes.failure(fee.positions[0])
    assert failure is not None
    assert failure[0] == "reverted"
    assert [block.number for block in fee.sealed] == [3]
    assert [block.number for block in fee.opened] == [4]
    assert (arrival.rollup_id, arrival.transactions, arrival.statuses) == (ARRIVAL, (), b"")
    assert [block.number for block in arrival.sealed] == [1]
    judged = situation.judge.finalize(finalize_request(situation, prepared.proposal)).effect
    assert list(judged.rollups[0].positions) == [0, 1], "a checker runs only what is in the proposal"
    assert judged.rollups[0].statuses == fee.statuses


def test_a_sub_block_in_which_nothing_happens_has_no_rollup_effects() -> None:
    situation = at_slot_4()
    situation.decide(situation.honest)
    effect = situation.judge.finalize(finalize_request(situation, situation.prepare({}).proposal)).effect
    assert (effect.rollups, effect.transactions, effect.senders) == ((), 0, b"")


def test_arrival_stamps_are_the_ready_times_in_order() -> None:
    situation = at_slot(4)
    early = [transfer(ARRIVAL, 0, 0)]
    late = [transfer(ARRIVAL, 1, 0, tip=99)]
    candidates = {ARRIVAL: [*queues(ARRIVAL, [late], situation.time_ms), *queues(ARRIVAL, [early], 5_000)]}
    items = decode_proposal(situation.prepare(candidates).proposal).blocks[0][1]
    columns = split_items(items)
    assert columns.raws == [*early, *late]
    assert columns.stamps_ms == [5_000, situation.time_ms]


# ---------------------------------------------------------------- packing and catching up
def test_a_small_proposal_is_shared_by_rollups_and_the_rest_is_deferred() -> None:
    situation = at_slot(4)
    candidates = {
        rollup_id: queues(rollup_id, [[transfer(rollup_id, 0, nonce) for nonce in range(50)]], situation.time_ms)
        for rollup_id in (FEE, ARRIVAL)
    }
    candidates[ARRIVAL] = [candidates[ARRIVAL][0][:5]]
    prepared = situation.prepare(candidates, bytes_max=5_000)
    counts = {rollup_id: len(items) for rollup_id, items in decode_proposal(prepared.proposal).blocks}
    assert counts[ARRIVAL] == 5, "a small demand is met"
    assert 10 < counts[FEE] < 50
    assert len(prepared.proposal) <= 5_000
    assert prepared.deferred == 55 - prepared.transactions
    assert prepared.dropped == ()


def test_items_are_bounded_over_all_rollups() -> None:
    decoded = [
        t for t in decode_transactions([transfer(FEE, 0, n) for n in range(9)], FEE) if isinstance(t, Transaction)
    ]
    columns = Ordered(decoded, [Milliseconds(0)] * 9)
    packed = _pack({FEE: columns, ARRIVAL: columns, RollupId(903): columns}, 10**9, 20)
    assert [len(entry.transactions) for entry in packed.values()] == [6, 7, 7]
    assert _pack({FEE: columns}, 0, 20) == {}


def test_a_full_block_defers_what_does_not_fit_and_takes_it_in_the_next_block() -> None:
    situation = at_slot(4, small_network(gas_limit=1_000_000))
    raws = [transfer(FEE, 0, nonce, gas_limit=600_000) for nonce in range(3)]
    first = situation.prepare({FEE: queues(FEE, [raws], situation.time_ms)})
    assert first.transactions == 3, "the limit is checked against gas used so far, not against limits before"
    big = [transfer(FEE, user, 0, data=bytes(20_000), gas_limit=900_000) for user in (1, 2)]
    both = situation.prepare({FEE: queues(FEE, [[raw] for raw in big], situation.time_ms)})
    assert (both.transactions, both.deferred, both.dropped) == (1, 1, ())
    situation.decide(both.proposal)
    taken = decode_proposal(both.proposal).blocks[0][1][0][7:]
    rest = next(raw for raw in big if raw != taken)
    situation.time_ms = Milliseconds(situation.time_ms + 1_000)
    assert situation.prepare({FEE: queues(FEE, [[rest]], situation.time_ms)}).transactions == 1


def test_after_a_stall_blocks_are_filled_on_the_grid_in_bounded_steps_until_items_go_again() -> None:
    situation = at_slot(2)
    stall = 2 * CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX + 10
    situation.time_ms = Milliseconds(situation.time_ms + stall * 1_000)
    candidates = {FEE: queues(FEE, [[transfer(FEE, 0, 0)]], situation.time_ms)}
    sealed: list[int] = []
    transactions = []
    timestamps = []
    for _ in range(4):
        prepared = situation.prepare(candidates)
        effect = situation.judge.finalize(finalize_request(situation, prepared.proposal)).effect
        blocks = [block for part in effect.rollups if part.rollup_id == FEE for block in part.sealed]
        sealed.append(len(blocks))
        timestamps += [(block.number, block.timestamp) for block in blocks]
        transactions.append(prepared.transactions)
        situation.decide(prepared.proposal)
        if prepared.transactions:
            break
    assert sealed == [CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX] * 2 + [11]
    assert transactions == [0, 0, 1]
    genesis_time_s = situation.network.ledger.parameters.genesis_time_s
    assert all(timestamp == genesis_time_s + number for number, timestamp in timestamps)


def test_an_application_with_another_network_id_refuses() -> None:
    situation = at_slot_4()
    ledger = situation.network.ledger
    other_parameters = msgspec.structs.replace(ledger.parameters, network_id=2)
    other = Application(
        msgspec.structs.replace(ledger, parameters=other_parameters),
        situation.network.application().rollups,
        situation.network.source,
    )
    assert other.app_hash != situation.network.application().app_hash
    verdict = other.process(ProcessRequest(height=Height(1), time_ms=situation.time_ms, proposal=at_slot(1).honest))
    assert getattr(verdict, "code", None) == "network_wrong"
    assert isinstance(other.app_hash, bytes)
    assert len(Hash32(other.app_hash)) == 32
