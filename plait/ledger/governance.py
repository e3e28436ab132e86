"""Governance: proposals with a deposit, a vote by stake, a timelock, and what an adopted proposal does.

Rules
    - A proposal holds its deposit until its vote has ended. It comes back when the quorum took part; it goes into the
      pot when not, and is burned when the proposal was vetoed. Some of the places for open proposals are kept for
      operators of the set, so that nobody can shut out a pause by filling them.
    - Votes count with the stake that is bonded when the vote is counted. An operator votes for all stake of its
      validator; a delegator's own vote counts instead for its part, in every validator it delegates to. Parts are
      rounded down. Nobody votes twice.
    - Half of the PROPOSAL_VOTES_MAX places are open to every delegator; the others ask for stake of at least twice the
      bonded stake divided by PROPOSAL_VOTES_MAX. Operators always have a place.
    - Adopted: quorum (of bonded stake, abstentions included), no veto (of cast stake), and yes above the threshold (of
      yes, no and veto). It acts when its timelock has passed, if it still can; if not, it has failed.
    - Pause and resume are votes of operators only and act in the slot after the pause threshold (threshold for resume)
      of the bonded stake said yes; no quorum, veto or timelock. A pause is bounded, and the next one begins at the
      earliest as long after its end as it was long. It stops transactions and bundles; deposits, sealing, messages of
      the rollups' own rules and actions go on.
    - Parameters stay within the bounds of `PARAMETER_TABLE`, alone and together.

Everything is a function of the draft and the context. Level 3, pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from plait.errors import ActionRefused, ConfigurationError
from plait.ledger import registry
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy
from plait.ledger.parameters import PARAMETER_TABLE, LedgerParameters
from plait.ledger.proposal_records import (
    NO_CHANGE,
    Pause,
    ProposalRecord,
    ProposalStatus,
    Tally,
    UpgradePlan,
    VoteRecord,
    proposal_key,
    vote_key,
)
from plait.ledger.rollup_records import LeaveReason
from plait.ledger.stake_records import Validator
from plait.limits import (
    PROPOSAL_VOTES_MAX,
    PROPOSALS_ENDED_KEPT,
    PROPOSALS_FOR_OPERATORS,
    PROPOSALS_OPEN_MAX,
    PROPOSALS_TALLIED_PER_SUB_BLOCK_MAX,
)
from plait.types.action import (
    ACTION_TABLE,
    PPM,
    Body,
    Propose,
    ProposeParameters,
    ProposePause,
    ProposeResume,
    ProposeRollupOwner,
    ProposeRollupRemoval,
    ProposeUpgrade,
    SignedAction,
    Vote,
    VoteOption,
)
from plait.types.identifiers import Address, Height, Slot
from plait.types.quantities import Amount

_PLACES_FOR_ALL: Final = PROPOSAL_VOTES_MAX // 2
_COLUMNS: Final = {
    VoteOption.YES: "yes",
    VoteOption.NO: "no",
    VoteOption.ABSTAIN: "abstain",
    VoteOption.VETO: "veto",
}


class ProposalMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Effect: a proposal was submitted, adopted, or ended."""

    proposal_id: int
    status: ProposalStatus
    reason: str = ""


# ---------------------------------------------------------------- for readers
def is_paused(economy: Economy, slot: Slot) -> bool:
    """Whether sub-blocks of this slot carry deposits and actions only."""
    pause = economy.pause
    return pause is not None and pause.since_slot <= slot < pause.until_slot


def upgrade_due(economy: Economy, height: Height) -> UpgradePlan | None:
    """The plan whose change every node that takes part at this height must have; None when there is none."""
    plan = economy.upgrade
    if plan is None or plan.height <= height:
        return plan
    if plan.change_before == NO_CHANGE:
        return None
    return UpgradePlan(name="", height=Height(0), change_hash=plan.change_before, proposal_id=0)


# ---------------------------------------------------------------- actions
def act(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Applies a proposal or a vote; nonce and fee are taken already.

    Raises:
        ActionRefused: a code that begins with `proposal_`, `proposals_`, `vote_`, `rollup_` or
        `account_balance_insufficient`. The caller rolls the draft back.
    """
    body = action.body
    if isinstance(body, Vote):
        _vote(draft, ctx, action.sender, body)
    elif isinstance(body, Propose):
        _propose(draft, ctx, action.sender, body)
    else:
        raise TypeError(f"{type(body).__name__} is no action of governance")


HANDLERS: Final[Mapping[type[Body], registry.Handler]] = MappingProxyType(
    {entry.body: act for entry in ACTION_TABLE.values() if issubclass(entry.body, Propose | Vote)}
)
"""Who applies which body."""


def _propose(draft: Draft, ctx: SubBlockContext, sender: Address, body: Propose) -> None:
    deposit_min = draft.parameters.proposal_deposit
    if body.deposit < deposit_min:
        raise _refused(
            "proposal_deposit_too_small",
            f"a proposal needs a deposit of {deposit_min} base units, this one has {body.deposit}",
            needed=deposit_min,
        )
    bonded = bonded_validators(draft)
    if not bonded:
        raise _refused("proposal_no_stake", "no stake is bonded that could vote")
    open_count = sum(record.status.is_open for _, record in draft.proposals.items())
    if open_count >= PROPOSALS_OPEN_MAX - (0 if sender in bonded else PROPOSALS_FOR_OPERATORS):
        raise _refused("proposals_full", f"{open_count} proposals are open; wait until one has ended")
    _check_content(draft, ctx, body)
    draft.debit(sender, body.deposit)
    number = draft.next_proposal_id
    draft.next_proposal_id = number + 1
    record = ProposalRecord(
        proposal_id=number,
        proposer=sender,
        body=body,
        deposit=body.deposit,
        submitted_slot=ctx.slot,
        voting_end_slot=Slot(ctx.slot + draft.parameters.voting_period_slots),
    )
    draft.proposals.put(proposal_key(number), record)
    draft.emit(ProposalMoved(proposal_id=number, status=record.status))


def _vote(draft: Draft, ctx: SubBlockContext, voter: Address, body: Vote) -> None:
    record = draft.proposals.get(proposal_key(body.proposal_id))
    if record is None:
        raise _refused("proposal_unknown", f"there is no proposal {body.proposal_id}", proposal_id=body.proposal_id)
    if record.status is not ProposalStatus.VOTING or ctx.slot >= record.voting_end_slot:
        raise _refused(
            "proposal_not_voting", f"the vote on proposal {body.proposal_id} has ended", status=record.status.name
        )
    if draft.votes.get(vote_key(body.proposal_id, voter)) is not None:
        raise _refused("vote_repeated", f"this account has voted on proposal {body.proposal_id}; a vote is final")
    bonded = bonded_validators(draft)
    at_once = isinstance(record.body, ProposePause | ProposeResume)
    if voter not in bonded:
        if at_once:
            raise _refused("vote_operators_only", "only operators of bonded validators vote on a pause or its end")
        _check_place(draft, record, voter, bonded)
        record = msgspec.structs.replace(record, votes=record.votes + 1)
        draft.proposals.put(proposal_key(record.proposal_id), record)
    draft.votes.put(vote_key(body.proposal_id, voter), VoteRecord(option=VoteOption(body.option), slot=ctx.slot))
    if at_once:
        _act_at_once(draft, ctx, record)


def _check_place(draft: Draft, record: ProposalRecord, voter: Address, bonded: Mapping[Address, Validator]) -> None:
    stake = sum(amount for _, _, amount in _parts_of(draft, voter, bonded))
    if not stake:
        raise _refused("vote_without_stake", "this account has no stake bonded to a validator of the set")
    least = sum(validator.tokens for validator in bonded.values()) // _PLACES_FOR_ALL
    if record.votes >= _PLACES_FOR_ALL and stake < least:
        raise _refused(
            "vote_stake_too_small",
            f"the places left are for stake of at least {least} base units, this account has {stake}; its validators "
            "vote for it",
            needed=least,
        )


def _check_content(draft: Draft, ctx: SubBlockContext, body: Propose) -> None:
    """Raises ActionRefused when the proposal could not act as things are."""
    parameters = draft.parameters
    if isinstance(body, ProposeParameters):
        _check_affordable(draft, changed_parameters(parameters, body))
    elif isinstance(body, ProposeRollupRemoval):
        registry.check_removal(draft, body.rollup_id)
    elif isinstance(body, ProposeRollupOwner):
        registry.entry_of(draft, body.rollup_id)
    elif isinstance(body, ProposeUpgrade):
        _check_upgrade(draft, ctx, body)
    elif isinstance(body, ProposePause):
        _check_pause(draft, ctx, body)
    elif isinstance(body, ProposeResume) and not _pause_runs(draft.pause, ctx.slot):
        raise _refused("proposal_not_paused", "there is no pause to end")


def changed_parameters(parameters: LedgerParameters, body: ProposeParameters) -> LedgerParameters:
    """The parameters with a proposal's changes.

    Raises:
        ActionRefused: `proposal_parameters_unsorted`, `proposal_parameter_unknown`, `proposal_parameter_out_of_range`.
    """
    names = [change.name for change in body.changes]
    if names != sorted(set(names)):
        raise _refused("proposal_parameters_unsorted", "changes must be strictly ascending by the parameter's name")
    for change in body.changes:
        row = PARAMETER_TABLE.get(change.name)
        if row is None or not row.governed:
            raise _refused(
                "proposal_parameter_unknown", f"{change.name} is no parameter that a vote may change", name=change.name
            )
        if not row.minimum <= change.value <= row.maximum:
            raise _refused(
                "proposal_parameter_out_of_range",
                f"{change.name} must be from {row.minimum} to {row.maximum}, not {change.value}",
                name=change.name,
            )
    after = msgspec.structs.replace(parameters, **{change.name: change.value for change in body.changes})
    try:
        after.check()
    except ConfigurationError as error:
        raise _refused("proposal_parameter_out_of_range", error.message, **error.fields) from error
    return after


def _check_affordable(draft: Draft, after: LedgerParameters) -> None:
    """Refuses prices that would end governance itself: nobody could pay for the proposal that lowers them again."""
    supply = draft.supply.genesis + draft.supply.issued - draft.supply.burned
    for name, part in (("proposal_deposit", 100), ("action_fee", 100_000)):
        value = getattr(after, name)
        if value > getattr(draft.parameters, name) and value * part > supply:
            raise _refused(
                "proposal_parameter_out_of_range",
                f"{name} may be at most 1/{part} of all tokens, {supply // part} base units, not {value}",
                name=name,
            )


def _check_upgrade(draft: Draft, ctx: SubBlockContext, body: ProposeUpgrade) -> None:
    if body.height == 0:
        if draft.upgrade is None or draft.upgrade.height <= ctx.height:
            raise _refused("proposal_upgrade_none", "there is no plan of an upgrade that could be taken back")
        return
    earliest = ctx.height + draft.parameters.upgrade_notice_heights
    if body.height < earliest:
        raise _refused(
            "proposal_upgrade_too_soon", f"an upgrade needs notice: name height {earliest} or later", earliest=earliest
        )


def _check_pause(draft: Draft, ctx: SubBlockContext, body: ProposePause) -> None:
    longest = draft.parameters.pause_slots_max
    if body.slots > longest:
        raise _refused("proposal_pause_too_long", f"a pause has at most {longest} slots", longest=longest)
    earliest = _next_pause_slot(draft.pause)
    if ctx.slot + 1 < earliest:
        raise _refused(
            "proposal_pause_too_soon",
            f"the next pause may begin in slot {earliest}: as long after the last one as it was long",
            earliest=earliest,
        )


def _next_pause_slot(pause: Pause | None) -> int:
    return 0 if pause is None else 2 * pause.until_slot - pause.since_slot


def _pause_runs(pause: Pause | None, slot: Slot) -> bool:
    return pause is not None and slot + 1 < pause.until_slot


# ---------------------------------------------------------------- counting
def bonded_validators(draft: Draft) -> dict[Address, Validator]:
    """Validators with voting power, by operator, ascending. Costs what the set costs, however many wait outside."""
    bonded: dict[Address, Validator] = {}
    for address in draft.seats.addresses:
        operator = draft.keys.get(address)
        if operator is not None:
            bonded[operator] = draft.validator(operator)
    return dict(sorted(bonded.items()))


def _parts_of(draft: Draft, delegator: Address, bonded: Mapping[Address, Validator]) -> list[tuple[Address, int, int]]:
    """(operator, shares, tokens rounded down) of an account's delegations to bonded validators."""
    parts = []
    for key, delegation in draft.delegations.items(delegator):
        operator = Address(key[20:])
        validator = bonded.get(operator)
        if validator is not None and validator.shares:
            parts.append((operator, delegation.shares, validator.tokens * delegation.shares // validator.shares))
    return parts


def count(draft: Draft, record: ProposalRecord) -> Tally:
    """Stake per option as things are. Operators' votes only for a pause or its end, delegators' too otherwise."""
    bonded = bonded_validators(draft)
    stake = dict.fromkeys(VoteOption, 0)
    if isinstance(record.body, ProposePause | ProposeResume):
        for key, vote in draft.votes.items(proposal_key(record.proposal_id)):
            own = bonded.get(Address(key[8:]))
            if own is not None:
                stake[vote.option] += own.tokens
    else:
        shares_left = {operator: validator.shares for operator, validator in bonded.items()}
        operators: dict[Address, VoteOption] = {}
        for key, vote in draft.votes.items(proposal_key(record.proposal_id)):
            voter = Address(key[8:])
            if voter in bonded:
                operators[voter] = vote.option
            for operator, shares, tokens in _parts_of(draft, voter, bonded):
                shares_left[operator] -= shares
                stake[vote.option] += tokens
        for operator, option in operators.items():
            validator = bonded[operator]
            if validator.shares:
                stake[option] += validator.tokens * shares_left[operator] // validator.shares
    total = sum(validator.tokens for validator in bonded.values())
    return Tally(bonded=total, **{_COLUMNS[option]: amount for option, amount in stake.items()})


# ---------------------------------------------------------------- time passes
def begin(draft: Draft, ctx: SubBlockContext) -> None:
    """Counts votes that have ended and lets adopted proposals act whose timelock has passed, in order of their ids."""
    counted = 0
    for _, record in list(draft.proposals.items()):
        if record.status is ProposalStatus.TIMELOCKED and ctx.slot >= record.act_slot:
            _end(draft, _executed(draft, ctx, record))
        elif (
            record.status is ProposalStatus.VOTING
            and ctx.slot >= record.voting_end_slot
            and counted < PROPOSALS_TALLIED_PER_SUB_BLOCK_MAX
        ):
            counted += 1
            _decide(draft, ctx, record)


def _decide(draft: Draft, ctx: SubBlockContext, record: ProposalRecord) -> None:
    """Ends a vote: returns or takes the deposit, and rejects the proposal or starts its timelock."""
    parameters = draft.parameters
    tally = count(draft, record)
    quorum = tally.cast * PPM >= parameters.quorum_ppm * tally.bonded
    vetoed = tally.veto > 0 and tally.veto * PPM >= parameters.veto_ppm * tally.cast
    decisive = tally.yes + tally.no + tally.veto
    agreed = tally.yes * PPM > parameters.threshold_ppm * decisive or 0 < tally.yes == decisive
    at_once = isinstance(record.body, ProposePause | ProposeResume)
    status = ProposalStatus.REJECTED
    if quorum and vetoed and not at_once:
        draft.burn(record.deposit)
        status = ProposalStatus.VETOED
    elif quorum:
        draft.credit(record.proposer, record.deposit)
        if agreed and not at_once:
            status = ProposalStatus.TIMELOCKED
    else:
        draft.pot += record.deposit
    after = msgspec.structs.replace(record, status=status, deposit=Amount(0), tally=tally)
    if status is ProposalStatus.TIMELOCKED:
        after = msgspec.structs.replace(after, act_slot=Slot(ctx.slot + parameters.timelock_slots))
        _forget_votes(draft, record.proposal_id)
        draft.proposals.put(proposal_key(record.proposal_id), after)
        draft.emit(ProposalMoved(proposal_id=record.proposal_id, status=status))
    else:
        _end(draft, after)


def _act_at_once(draft: Draft, ctx: SubBlockContext, record: ProposalRecord) -> None:
    """Lets a pause or its end act as soon as enough operators said yes."""
    tally = count(draft, record)
    parameters = draft.parameters
    pausing = isinstance(record.body, ProposePause)
    needed = parameters.pause_threshold_ppm if pausing else parameters.threshold_ppm
    if not tally.yes or tally.yes * PPM < needed * tally.bonded:
        return
    draft.credit(record.proposer, record.deposit)
    act_slot = Slot(ctx.slot + 1)
    settled = msgspec.structs.replace(record, deposit=Amount(0), tally=tally, act_slot=act_slot)
    _end(draft, _executed(draft, ctx, settled))


def _executed(draft: Draft, ctx: SubBlockContext, record: ProposalRecord) -> ProposalRecord:
    """The record after it acted, or failed to."""
    checkpoint = draft.checkpoint()
    try:
        _check_content(draft, ctx, record.body)
        _execute(draft, ctx, record)
    except ActionRefused as error:
        draft.rollback(checkpoint)
        return msgspec.structs.replace(record, status=ProposalStatus.FAILED, reason=error.code)
    return msgspec.structs.replace(record, status=ProposalStatus.EXECUTED)


def _execute(draft: Draft, ctx: SubBlockContext, record: ProposalRecord) -> None:
    body = record.body
    if isinstance(body, ProposeParameters):
        draft.set_parameters(changed_parameters(draft.parameters, body))
    elif isinstance(body, ProposeRollupRemoval):
        registry.schedule_leave(draft, ctx, body.rollup_id, LeaveReason.GOVERNANCE)
    elif isinstance(body, ProposeRollupOwner):
        registry.set_owner(draft, body.rollup_id, body.owner)
    elif isinstance(body, ProposeUpgrade):
        draft.upgrade = _planned(draft.upgrade, ctx.height, body, record.proposal_id)
    elif isinstance(body, ProposePause):
        draft.pause = Pause(since_slot=Slot(ctx.slot + 1), until_slot=Slot(ctx.slot + 1 + body.slots))
    elif isinstance(body, ProposeResume):
        pause = draft.pause
        assert pause is not None, "checked before"
        since = min(pause.since_slot, ctx.slot + 1)
        draft.pause = Pause(since_slot=Slot(since), until_slot=Slot(ctx.slot + 1))


def _planned(plan: UpgradePlan | None, height: Height, body: ProposeUpgrade, proposal_id: int) -> UpgradePlan | None:
    """The plan after an upgrade was decided or, with height 0, taken back; a change in force stays required."""
    before = NO_CHANGE
    if plan is not None:
        before = plan.change_hash if plan.height <= height else plan.change_before
    if body.height:
        return UpgradePlan(
            name=body.name,
            height=Height(body.height),
            change_hash=body.change_hash,
            proposal_id=proposal_id,
            change_before=before,
        )
    if before == NO_CHANGE:
        return None
    return UpgradePlan(name=body.name, height=Height(0), change_hash=before, proposal_id=proposal_id)


def _end(draft: Draft, record: ProposalRecord) -> None:
    """Keeps an ended proposal for readers and forgets its votes; the oldest ended ones beyond the bound leave."""
    _forget_votes(draft, record.proposal_id)
    draft.proposals.put(proposal_key(record.proposal_id), record)
    ended = [key for key, other in draft.proposals.items() if not other.status.is_open]
    for key in ended[: max(0, len(ended) - PROPOSALS_ENDED_KEPT)]:
        draft.proposals.remove(key)
    draft.emit(ProposalMoved(proposal_id=record.proposal_id, status=record.status, reason=record.reason))


def _forget_votes(draft: Draft, proposal_id: int) -> None:
    for key in [key for key, _ in draft.votes.items(proposal_key(proposal_id))]:
        draft.votes.remove(key)


def _refused(code: str, sentence: str, **fields: Any) -> ActionRefused:
    return ActionRefused(sentence, code=code, **fields)
