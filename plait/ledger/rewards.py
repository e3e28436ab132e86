"""Rewards: the pot and the issuance of an epoch, shared out by voting power and signed heights.

At an epoch's end every announced validator gets total * weight // sum of weights, weight = power * heights whose commit
holds its vote. Of its part the operator earns the commission; the rest raises the validator's index of rewards per
share. What a delegation earned is the index now minus the index when it was last paid, times its shares: it is paid
whenever the delegation changes or is asked for. Every division rounds down; what rounding leaves stays in the pot or
with the validator's rewards, so that no payment can exceed what was put aside.

Shares that are delegated during an epoch earn from the next one on: nobody collects an epoch's rewards by delegating
just before its end. A mark remembers the index at that epoch's end until every such delegation has used it.

A slash takes tokens and no shares, so it leaves earned rewards alone. Level 3, pure.
"""

from typing import Final

from msgspec.structs import replace

from plait.errors import ActionRefused, InvariantBroken
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.stake_records import INDEX_SCALE, Delegation, Mark, Validator, delegation_key, mark_key
from plait.limits import ISSUANCE_ELAPSED_MS_MAX, SUPPLY_MAX
from plait.types import Address
from plait.types.action import PPM, SignedAction, WithdrawCommission, WithdrawRewards

YEAR_MS: Final = 365 * 86_400_000


def issuance(draft: Draft, time_ms: int) -> int:
    """Base units that come into being at this epoch's end; never more than SUPPLY_MAX in all."""
    supply = draft.supply
    elapsed_ms = min(max(time_ms - draft.clock.epoch_began_ms, 0), ISSUANCE_ELAPSED_MS_MAX)
    there = supply.genesis + supply.issued - supply.burned
    grown = there * draft.parameters.issuance_ppm_per_year * elapsed_ms // (PPM * YEAR_MS)
    return min(grown, SUPPLY_MAX - supply.genesis - supply.issued)


def distribute(draft: Draft, ctx: SubBlockContext) -> tuple[int, int]:
    """Shares out pot and issuance. Returns (issued, distributed) in base units.

    Nothing is issued for an epoch in which nobody signed; the pot waits.
    """
    seats = draft.seats
    weighed: list[tuple[Address, Validator, int]] = []
    for address, signed in zip(seats.addresses, seats.signed, strict=True):
        operator = draft.keys.get(address)
        validator = draft.validators.get(operator) if operator is not None else None
        if operator is None or validator is None:
            raise InvariantBroken("a seat has no validator", code="ledger_seat_wrong", address=address.hex())
        weighed.append((operator, validator, validator.power * signed))
    weights = sum(weight for _, _, weight in weighed)
    if weights == 0:
        return 0, 0
    issued = issuance(draft, ctx.time_ms)
    total = draft.pot + issued
    distributed = 0
    for operator, validator, weight in weighed:
        distributed += _reward(draft, operator, validator, total * weight // weights)
    draft.supply = replace(draft.supply, issued=draft.supply.issued + issued, pot=total - distributed)
    return issued, distributed


def _reward(draft: Draft, operator: Address, validator: Validator, amount: int) -> int:
    """Gives one validator its part; returns how much of it was taken: what the index cannot express stays out."""
    epoch = draft.clock.epoch
    pending = validator.pending_shares if validator.pending_epoch == epoch else 0
    earning = validator.shares - pending
    commission = amount * validator.commission_ppm // PPM
    raised = (amount - commission) * INDEX_SCALE // earning if earning else 0
    rest = -(-raised * earning // INDEX_SCALE)
    index = validator.index + raised
    after = replace(
        validator, index=index, rewards=validator.rewards + rest, commission=validator.commission + commission
    )
    draft.validators.put(operator, after)
    key = mark_key(operator, epoch)
    mark = draft.marks.get(key)
    if mark is not None:
        draft.marks.put(key, Mark(index, mark.waiting))
    return commission + rest


def settle(draft: Draft, delegator: Address, operator: Address, delegation: Delegation) -> Delegation:
    """Pays what a delegation has earned to its delegator; returns the delegation as it stands, which is stored too."""
    validator = draft.validator(operator)
    pending, pending_epoch = delegation.pending_shares, delegation.pending_epoch
    earned = (delegation.shares - pending) * (validator.index - delegation.index) // INDEX_SCALE
    if pending and pending_epoch < draft.clock.epoch:
        earned += pending * (validator.index - _use_mark(draft, operator, pending_epoch)) // INDEX_SCALE
        pending = pending_epoch = 0
    if earned > validator.rewards:
        raise InvariantBroken(
            f"a delegation earned {earned} of {validator.rewards}", code="ledger_rewards_short", earned=earned
        )
    if earned:
        draft.validators.put(operator, replace(validator, rewards=validator.rewards - earned))
        draft.credit(delegator, earned)
    after = Delegation(delegation.shares, validator.index, pending, pending_epoch)
    if after != delegation:
        draft.delegations.put(delegation_key(delegator, operator), after)
    return after


def earned_by(draft: Draft, delegator: Address, operator: Address) -> int:
    """Base units that `settle` would pay now; 0 when there is no delegation."""
    delegation = draft.delegations.get(delegation_key(delegator, operator))
    validator = draft.validators.get(operator)
    if delegation is None or validator is None:
        return 0
    pending = delegation.pending_shares
    earned = (delegation.shares - pending) * (validator.index - delegation.index) // INDEX_SCALE
    if pending and delegation.pending_epoch < draft.clock.epoch:
        mark = draft.marks.get(mark_key(operator, delegation.pending_epoch))
        earned += pending * (validator.index - (mark.index if mark else validator.index)) // INDEX_SCALE
    return earned


def await_mark(draft: Draft, operator: Address, index: int) -> None:
    """Counts a delegation whose new shares begin to earn at this epoch's end."""
    key = mark_key(operator, draft.clock.epoch)
    mark = draft.marks.get(key)
    draft.marks.put(key, Mark(index, 1 if mark is None else mark.waiting + 1))


def _use_mark(draft: Draft, operator: Address, epoch: int) -> int:
    key = mark_key(operator, epoch)
    mark = draft.marks.get(key)
    if mark is None:
        raise InvariantBroken("pending shares without a mark", code="ledger_mark_missing", operator=operator.hex())
    release_mark(draft, operator, epoch)
    return mark.index


def release_mark(draft: Draft, operator: Address, epoch: int) -> None:
    """One delegation needs a mark no longer."""
    key = mark_key(operator, epoch)
    mark = draft.marks.get(key)
    if mark is None or mark.waiting <= 1:
        draft.marks.remove(key)
    else:
        draft.marks.put(key, Mark(mark.index, mark.waiting - 1))


def withdraw_rewards(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Pays out a delegation's rewards. Raises ActionRefused `validator_unknown` or `delegation_unknown`."""
    body = action.body
    assert isinstance(body, WithdrawRewards)
    draft.validator(body.validator)
    settle(draft, action.sender, body.validator, require_delegation(draft, action.sender, body.validator))


def require_delegation(draft: Draft, delegator: Address, operator: Address) -> Delegation:
    """A delegation. Raises ActionRefused `delegation_unknown`."""
    delegation = draft.delegations.get(delegation_key(delegator, operator))
    if delegation is None:
        raise ActionRefused(
            f"the account has delegated nothing to the validator of 0x{operator.hex()}",
            code="delegation_unknown",
            validator=operator.hex(),
        )
    return delegation


def withdraw_commission(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Pays out an operator's commission. Raises ActionRefused `validator_unknown` or `commission_empty`."""
    validator = draft.validator(action.sender)
    if validator.commission == 0:
        raise ActionRefused("there is no commission to withdraw", code="commission_empty")
    draft.validators.put(action.sender, replace(validator, commission=0))
    draft.credit(action.sender, validator.commission)


HANDLERS = {WithdrawRewards: withdraw_rewards, WithdrawCommission: withdraw_commission}
