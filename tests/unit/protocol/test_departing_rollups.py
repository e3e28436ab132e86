"""What is offered for a rollup that leaves, at its last slot boundary and after, is left out; proposals stay valid,
and the rollup's last block is sealed without a gap."""

from typing import Any

import msgspec
import pytest

from plait.execution.bundles import BundleCandidate
from plait.ledger.rollup_records import LeaveReason, rollup_key
from plait.protocol.proposal import decode_proposal
from plait.protocol.requests import Accepted, PreparedProposal, PrepareRequest
from plait.types import Bundle, Comparison, Condition, ConditionKind, FeeBid, Leg, Milliseconds, Slot, Wei
from sim.bundling import decoded
from sim.forging import with_blocks
from sim.situation import ARRIVAL, FEE, RECIPIENT, Situation, at_slot, queues, small_network, transfer

LEAVES = Slot(4)


@pytest.fixture
def situation() -> Situation:
    """Before the first sub-block of slot 4, at which rollup 901 leaves."""
    network = small_network()
    key = rollup_key(FEE)
    economy = network.ledger.economy
    entry = economy.rollups.get(key)
    assert entry is not None
    leaving = msgspec.structs.replace(entry, leave_slot=LEAVES, leave_reason=LeaveReason.OWNER)
    economy = msgspec.structs.replace(economy, rollups=economy.rollups.with_changes({key: leaving}))
    return at_slot(
        LEAVES, msgspec.structs.replace(network, ledger=msgspec.structs.replace(network.ledger, economy=economy))
    )


def offer(*legs: Leg, **changes: Any) -> BundleCandidate:
    bundle = decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(100), **changes))
    return BundleCandidate(bundle, Milliseconds(1), False, bundle.legs[0][0].sender, 8)


def offers() -> list[BundleCandidate]:
    """Bundles that name the leaving rollup in every way, and one that does not."""
    stays = Leg(rollup_id=ARRIVAL, transactions=(transfer(ARRIVAL, 0, 0),))
    goes = Leg(rollup_id=FEE, transactions=(transfer(FEE, 1, 0),))
    reads = Condition(
        rollup_id=FEE,
        kind=ConditionKind.BALANCE,
        address=RECIPIENT,
        input=b"",
        comparison=Comparison.GREATER_OR_EQUAL,
        value=0,
    )
    other = Leg(rollup_id=ARRIVAL, transactions=(transfer(ARRIVAL, 1, 0),))
    more = Leg(rollup_id=ARRIVAL, transactions=(transfer(ARRIVAL, 2, 0),))
    return [
        offer(goes, stays),
        offer(other, conditions=(reads,)),
        offer(more, fee_bid=FeeBid(rollup_id=FEE, amount=Wei(1))),
        offer(Leg(rollup_id=ARRIVAL, transactions=(transfer(ARRIVAL, 3, 0),))),
    ]


def prepared(situation: Situation) -> PreparedProposal:
    candidates = {FEE: queues(FEE, [[transfer(FEE, 2, 0)]], situation.time_ms - 500)}
    return situation.proposer.prepare(
        PrepareRequest(height=situation.height, time_ms=situation.time_ms, candidates=candidates, bundles=offers())
    )


def test_at_the_slot_and_after_it_nothing_of_the_rollup_is_proposed(situation: Situation) -> None:
    for after in range(3):
        situation.time_ms = Milliseconds(situation.network.ledger.time_ms + (LEAVES + after) * 1_000 + 100)
        found = prepared(situation)
        proposal = decode_proposal(found.proposal)
        assert proposal.header.commitment.ids == (ARRIVAL,)
        assert [rollup_id for rollup_id, _ in proposal.blocks] in ([ARRIVAL], [])
        assert isinstance(situation.verdict(found.proposal), Accepted)
        situation.decide(found.proposal)
    assert len(decode_proposal(found.proposal).bundles) == 0, "the one that stays was decided at the first slot"


def test_the_last_block_is_sealed_at_the_slot_and_named_in_the_ledger(situation: Situation) -> None:
    native = situation.judge.rollups[FEE]
    situation.decide(situation.honest)
    departed = situation.judge.ledger.economy.departed.get(rollup_key(FEE))
    assert departed is not None
    assert (departed.left_slot, departed.head_number, departed.head_hash) == (LEAVES, LEAVES - 1, native.head.hash)
    assert native.open_block is None
    assert FEE not in situation.judge.rollups
    sealed = dict(decode_proposal(situation.honest).header.sealed)
    assert sealed[FEE][-1] == (LEAVES - 1, native.head.hash), "the header names it"


def test_items_of_a_rollup_that_left_are_refused(situation: Situation) -> None:
    forged = with_blocks(situation.proposer, situation.honest, [(FEE, [bytes(7) + transfer(FEE, 2, 0)])])
    assert situation.refusal(forged).code in {"rollup_unknown", "ids_wrong"}
