"""Governance: who decides what, when it acts, what becomes of the deposit; and each refusal with its code."""

import pytest

from plait.ledger import governance
from plait.ledger.parameters import PARAMETER_TABLE, TOKEN
from plait.ledger.proposal_records import ProposalRecord, ProposalStatus, proposal_key
from plait.limits import PROPOSALS_FOR_OPERATORS, PROPOSALS_OPEN_MAX
from plait.types.action import (
    Delegate,
    ParameterChange,
    Propose,
    ProposeParameters,
    ProposePause,
    ProposeResume,
    ProposeRollupOwner,
    ProposeRollupRemoval,
    ProposeText,
    ProposeUpgrade,
    Vote,
    VoteOption,
)
from tests.unit.ledger.council import PARAMETERS, Council, account

YES, NO, ABSTAIN, VETO = VoteOption
ABOUT = {"title": "t", "details": "", "deposit": 100}
CHANGE = ProposeParameters(**ABOUT, changes=(ParameterChange(name="action_fee", value=9),))
PAUSE = ProposePause(**ABOUT, slots=10)
HASH = bytes([7]) * 32


def proposed(council: Council, body: Propose = CHANGE, sender: int = 12) -> int:
    assert council.act(sender, body) is None
    return council.draft.next_proposal_id - 1


def vote(council: Council, number: int, sender: int, option: VoteOption) -> str | None:
    return council.act(sender, Vote(proposal_id=number, option=option))


def record(council: Council, number: int) -> ProposalRecord:
    found = council.draft.proposals.get(proposal_key(number))
    assert found is not None
    return found


def decided(council: Council, body: Propose = CHANGE, **votes: VoteOption) -> ProposalRecord:
    """A proposal whose vote has ended; votes by `v1` to `v4`."""
    number = proposed(council, body)
    for voter, option in votes.items():
        assert vote(council, number, int(voter[1:]), option) is None
    council.pass_slots(PARAMETERS.voting_period_slots)
    return record(council, number)


def test_an_adopted_change_acts_after_its_timelock_and_not_before() -> None:
    council = Council()
    before = council.balance(12)
    found = decided(council, v1=YES, v2=YES, v3=NO)
    assert found.status is ProposalStatus.TIMELOCKED
    assert (found.tally.yes, found.tally.no, found.tally.bonded) == (70 * TOKEN, 20 * TOKEN, 100 * TOKEN)
    assert council.balance(12) == before - PARAMETERS.action_fee, "the deposit comes back"
    council.pass_slots(PARAMETERS.timelock_slots - 1)
    assert council.draft.parameters.action_fee == 7
    council.pass_slots(1)
    assert council.draft.parameters.action_fee == 9
    assert record(council, 1).status is ProposalStatus.EXECUTED
    assert list(council.draft.votes.items()) == [], "votes are forgotten"


@pytest.mark.parametrize(
    ("votes", "status", "place"),
    [
        ({"v1": YES}, ProposalStatus.TIMELOCKED, "back"),
        ({"v1": YES, "v2": NO, "v4": NO}, ProposalStatus.REJECTED, "back"),  # a tie is not above one half
        ({"v2": YES}, ProposalStatus.REJECTED, "pot"),  # 30 % is below the quorum of 33.4 %
        ({}, ProposalStatus.REJECTED, "pot"),
        ({"v4": YES, "v2": ABSTAIN}, ProposalStatus.TIMELOCKED, "back"),
        ({"v1": YES, "v2": VETO, "v3": VETO}, ProposalStatus.VETOED, "burned"),
        ({"v1": YES, "v2": YES, "v3": VETO}, ProposalStatus.TIMELOCKED, "back"),  # 22 % veto
    ],
)
def test_quorum_threshold_and_veto_decide_and_the_deposit_follows(
    votes: dict[str, VoteOption], status: ProposalStatus, place: str
) -> None:
    council = Council()
    before = council.balance(12) - PARAMETERS.action_fee
    found = decided(council, **votes)
    assert found.status is status
    assert found.deposit == 0
    assert council.balance(12) == before - (0 if place == "back" else 100)
    assert council.draft.supply.burned == (100 if place == "burned" else 0)


def test_a_delegators_vote_counts_instead_of_its_validators_for_its_part_only() -> None:
    council = Council()
    assert council.act(11, Delegate(validator=account(1), amount=25 * TOKEN)) is None
    assert council.act(11, Delegate(validator=account(2), amount=5 * TOKEN)) is None
    council.pass_slots(10)
    number = proposed(council)
    assert vote(council, number, 1, YES) is None
    assert vote(council, number, 11, NO) is None
    tally = governance.count(council.draft, record(council, number))
    assert (tally.yes, tally.no, tally.bonded) == (40 * TOKEN, 30 * TOKEN, 130 * TOKEN)
    assert vote(council, number, 2, ABSTAIN) is None
    tally = governance.count(council.draft, record(council, number))
    assert (tally.yes, tally.no, tally.abstain) == (40 * TOKEN, 30 * TOKEN, 30 * TOKEN)


def test_a_pause_acts_in_the_next_slot_at_two_thirds_and_ends_by_itself() -> None:
    council = Council()
    number = proposed(council, PAUSE)
    assert vote(council, number, 1, YES) is None
    assert record(council, number).status is ProposalStatus.VOTING
    assert vote(council, number, 2, YES) is None
    assert record(council, number).status is ProposalStatus.EXECUTED
    council.step()
    paused = [governance.is_paused(council.economy, slot) for slot in range(13)]
    assert paused == [False] + [True] * 10 + [False] * 2


def test_a_pause_can_be_ended_early_and_the_next_one_has_to_wait_as_long_as_it_was() -> None:
    council = Council()
    first = proposed(council, PAUSE)
    for voter in (1, 2):
        assert vote(council, first, voter, YES) is None
    council.pass_slots(4)
    number = proposed(council, ProposeResume(**ABOUT))
    assert vote(council, number, 2, YES) is None
    assert vote(council, number, 3, YES) is None  # 50 % of the bonded stake
    council.step()
    assert [governance.is_paused(council.economy, slot) for slot in (4, 5)] == [True, False]
    assert council.act(12, PAUSE) == "proposal_pause_too_soon"
    council.pass_slots(4)
    assert council.act(12, PAUSE) is None


def test_delegators_do_not_vote_on_a_pause() -> None:
    council = Council()
    assert council.act(11, Delegate(validator=account(1), amount=25 * TOKEN)) is None
    council.pass_slots(10)
    number = proposed(council, PAUSE)
    assert vote(council, number, 11, YES) == "vote_operators_only"


def test_an_upgrade_is_due_from_its_height_for_ever_and_a_plan_can_be_taken_back() -> None:
    council = Council()
    body = ProposeUpgrade(**ABOUT, name="v2", height=40, change_hash=HASH)
    assert decided(council, body, v1=YES, v2=YES).status is ProposalStatus.TIMELOCKED
    council.pass_slots(PARAMETERS.timelock_slots + 1)
    assert governance.upgrade_due(council.economy, 39) is None
    for height in (40, 41, 10**6):
        plan = governance.upgrade_due(council.economy, height)
        assert plan is not None
        assert plan.change_hash == HASH
    back = ProposeUpgrade(**ABOUT, name="v2 back", height=0, change_hash=bytes(32))
    decided(council, back, v1=YES, v2=YES)
    council.pass_slots(PARAMETERS.timelock_slots + 1)
    assert council.economy.upgrade is None


def test_a_change_in_force_stays_required_while_the_next_one_is_planned_and_when_that_is_taken_back() -> None:
    council = Council()
    decided(council, ProposeUpgrade(**ABOUT, name="v2", height=30, change_hash=HASH), v1=YES, v2=YES)
    council.pass_slots(30)
    later = bytes([8]) * 32
    decided(council, ProposeUpgrade(**ABOUT, name="v3", height=90, change_hash=later), v1=YES, v2=YES)
    council.pass_slots(PARAMETERS.timelock_slots + 1)
    hashes = [plan.change_hash for height in (89, 90) if (plan := governance.upgrade_due(council.economy, height))]
    assert hashes == [HASH, later]
    decided(council, ProposeUpgrade(**ABOUT, name="b", height=0, change_hash=bytes(32)), v1=YES, v2=YES)
    council.pass_slots(PARAMETERS.timelock_slots + 1)
    plan = governance.upgrade_due(council.economy, 10**6)
    assert plan is not None
    assert plan.change_hash == HASH


def test_a_plan_whose_height_is_too_near_when_it_would_act_has_failed() -> None:
    council = Council()
    number = proposed(council, ProposeUpgrade(**ABOUT, name="v2", height=10, change_hash=HASH))
    for voter in (1, 2):
        assert vote(council, number, voter, YES) is None
    council.pass_slots(20)
    assert (record(council, number).status, record(council, number).reason) == (
        ProposalStatus.FAILED,
        "proposal_upgrade_too_soon",
    )
    assert council.economy.upgrade is None


def test_a_change_within_its_own_bounds_and_impossible_beside_the_others_is_refused() -> None:
    council = Council()
    quick = ProposeParameters(**ABOUT, changes=(ParameterChange(name="unbonding_ms", value=172_800_000),))
    assert council.act(12, quick) == "proposal_parameter_out_of_range"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("action_fee", PARAMETER_TABLE["action_fee"].maximum + 1)], "proposal_parameter_out_of_range"),
        ([("epoch_heights", 1)], "proposal_parameter_out_of_range"),
        ([("threshold_ppm", 499_999)], "proposal_parameter_out_of_range"),
        ([("evidence_age_ms", 5)], "proposal_parameter_unknown"),
        ([("block_reward", 5)], "proposal_parameter_unknown"),
        ([("veto_ppm", 500_000), ("action_fee", 1)], "proposal_parameters_unsorted"),
        ([("action_fee", 1), ("action_fee", 2)], "proposal_parameters_unsorted"),
    ],
)
def test_parameters_leave_their_bounds_in_no_vote(changes: list[tuple[str, int]], code: str) -> None:
    body = ProposeParameters(**ABOUT, changes=tuple(ParameterChange(name=n, value=v) for n, v in changes))
    assert Council().act(12, body) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (ProposeText(title="t", details="", deposit=99), "proposal_deposit_too_small"),
        (ProposeText(title="t", details="", deposit=2**127), "account_balance_insufficient"),
        (ProposeRollupRemoval(**ABOUT, rollup_id=5), "rollup_unknown"),
        (ProposeRollupRemoval(**ABOUT, rollup_id=100), "rollup_last"),
        (ProposeRollupOwner(**ABOUT, rollup_id=5, owner=account(3)), "rollup_unknown"),
        (ProposeUpgrade(**ABOUT, name="x", height=4, change_hash=HASH), "proposal_upgrade_too_soon"),
        (ProposeUpgrade(**ABOUT, name="x", height=0, change_hash=HASH), "proposal_upgrade_none"),
        (ProposePause(**ABOUT, slots=21), "proposal_pause_too_long"),
        (ProposeResume(**ABOUT), "proposal_not_paused"),
    ],
)
def test_what_could_not_act_is_refused_at_once(body: Propose, code: str) -> None:
    assert Council().act(12, body) == code


def test_votes_are_refused_with_their_reason() -> None:
    council = Council()
    number = proposed(council)
    assert vote(council, 99, 1, YES) == "proposal_unknown"
    assert vote(council, number, 13, YES) == "vote_without_stake"
    assert vote(council, number, 1, YES) is None
    assert vote(council, number, 1, NO) == "vote_repeated"
    council.pass_slots(PARAMETERS.voting_period_slots, at_once=True)
    assert vote(council, number, 2, YES) == "proposal_not_voting"


def test_a_network_without_stake_has_no_governance() -> None:
    assert Council(()).act(12, CHANGE) == "proposal_no_stake"


def test_open_proposals_are_bounded_and_all_are_counted_in_turn() -> None:
    council = Council()
    for _ in range(PROPOSALS_OPEN_MAX - PROPOSALS_FOR_OPERATORS):
        assert council.act(12, CHANGE) is None
    assert council.act(12, CHANGE) == "proposals_full"
    for _ in range(PROPOSALS_FOR_OPERATORS):
        assert council.act(1, PAUSE) is None, "operators can still ask for a pause"
    assert council.act(1, PAUSE) == "proposals_full"
    council.pass_slots(PARAMETERS.voting_period_slots, at_once=True)
    for _ in range(PROPOSALS_OPEN_MAX):
        council.step()
    assert {item.status for _, item in council.draft.proposals.items()} == {ProposalStatus.REJECTED}


def test_a_dispute_moves_a_rollup_to_another_owner() -> None:
    council = Council()
    decided(council, ProposeRollupOwner(**ABOUT, rollup_id=100, owner=account(3)), v1=YES, v2=YES)
    council.pass_slots(PARAMETERS.timelock_slots)
    entry = council.rollup(100)
    assert entry is not None
    assert entry.owner == account(3)


@pytest.mark.parametrize("name", ["action_fee", "proposal_deposit"])
def test_no_vote_makes_governance_unaffordable(name: str) -> None:
    council = Council()
    dear = ProposeParameters(**ABOUT, changes=(ParameterChange(name=name, value=PARAMETER_TABLE[name].maximum),))
    assert council.act(12, dear) == "proposal_parameter_out_of_range"
