"""Stake: validators, delegations and unbonding, as actions of accounts.

A validator's tokens belong to its delegators by shares. Bonding `amount` mints amount * shares // tokens shares;
unbonding it takes amount * shares / tokens shares, rounded up: rounding favours those who stay, and creates nothing.
A delegator who takes all that its shares are worth gives all of them back.

New stake counts for voting power and rewards from the next epoch on. Unbonded stake stops counting there too, stays
slashable for everything that happened while it counted, and is paid out when both the unbonding time and the evidence
age in heights have passed since (`epochs`). Level 3, pure.
"""

from typing import Final

from msgspec.structs import replace

from plait.errors import ActionRefused
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.rewards import await_mark, release_mark, require_delegation, settle
from plait.ledger.rollup_records import NetworkMode
from plait.ledger.stake_records import Delegation, Validator, delegation_key, unbonding_key
from plait.limits import SHARES_MAX
from plait.native import ed25519_verify
from plait.types import Address
from plait.types.action import (
    CreateValidator,
    Delegate,
    EditValidator,
    LeaveValidator,
    SignedAction,
    Undelegate,
    Unjail,
)
from plait.types.consensus import consensus_address

POSSESSION_DOMAIN: Final = b"plait/possession/1"


def possession_message(operator: Address) -> bytes:
    """What a consensus key signs to show that it is its operator's."""
    return POSSESSION_DOMAIN + operator


def create_validator(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Makes the sender an operator.

    Raises:
        ActionRefused: `validator_exists`, `validator_key_used`, `validator_key_not_possessed`, `commission_invalid`,
            `self_stake_too_small`, `validator_not_allowed`, `account_balance_insufficient`.
    """
    body = action.body
    assert isinstance(body, CreateValidator)
    operator, parameters = action.sender, draft.parameters
    if draft.validators.get(operator) is not None:
        raise ActionRefused("the account operates a validator already", code="validator_exists")
    if draft.mode is NetworkMode.SINGLE_OPERATOR and draft.validators.first() is not None:
        raise ActionRefused("the network has a single operator, and has it already", code="validator_not_allowed")
    address = consensus_address(body.public_key)
    if draft.keys.get(address) is not None:
        raise ActionRefused("the consensus key is or was another validator's", code="validator_key_used")
    if not body.commission_ppm <= body.commission_max_ppm <= parameters.commission_ppm_max:
        raise ActionRefused(
            f"the commission must be at most its own maximum, and that at most {parameters.commission_ppm_max} ppm",
            code="commission_invalid",
        )
    if body.self_stake < parameters.self_stake_min:
        raise ActionRefused(
            f"a validator needs {parameters.self_stake_min} base units of its operator",
            code="self_stake_too_small",
            minimum=parameters.self_stake_min,
        )
    if not ed25519_verify(body.public_key, possession_message(operator), body.possession):
        raise ActionRefused(
            "the consensus key has not signed the operator's address", code="validator_key_not_possessed"
        )
    draft.keys.put(address, operator)
    draft.validators.put(
        operator,
        Validator(
            public_key=body.public_key,
            name=body.name,
            tokens=0,
            shares=0,
            commission_ppm=body.commission_ppm,
            commission_max_ppm=body.commission_max_ppm,
            commission_step_ppm=body.commission_step_ppm,
            commission_base_ppm=body.commission_ppm,
            commission_epoch=draft.clock.epoch,
            created_height=ctx.height,
        ),
    )
    _bond(draft, operator, operator, body.self_stake)


def edit_validator(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Changes name and commission. Raises ActionRefused `validator_unknown` or `commission_invalid`."""
    body = action.body
    assert isinstance(body, EditValidator)
    validator, epoch = draft.validator(action.sender), draft.clock.epoch
    base = validator.commission_base_ppm if validator.commission_epoch == epoch else validator.commission_ppm
    ceiling = min(validator.commission_max_ppm, draft.parameters.commission_ppm_max)
    if body.commission_ppm != validator.commission_ppm and (
        body.commission_ppm > ceiling or abs(body.commission_ppm - base) > validator.commission_step_ppm
    ):
        raise ActionRefused(
            f"the commission may be at most {ceiling} ppm and {validator.commission_step_ppm} ppm from {base} "
            "within one epoch",
            code="commission_invalid",
            maximum=ceiling,
            base=base,
        )
    after = replace(
        validator,
        name=body.name,
        commission_ppm=body.commission_ppm,
        commission_base_ppm=base,
        commission_epoch=epoch,
    )
    draft.validators.put(action.sender, after)


def leave_validator(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Takes the sender's validator out of the set at the epoch's end and unbonds the operator's own stake.

    Raises:
        ActionRefused: `validator_unknown`, `validator_leaving`, or `validator_last` when no other could go on.
    """
    operator = action.sender
    validator = draft.validator(operator)
    if validator.leaving:
        raise ActionRefused("the validator is leaving already", code="validator_leaving")
    if validator.power and not _others_stay(draft, operator):
        raise ActionRefused("the network's last validator cannot leave", code="validator_last")
    draft.validators.put(operator, replace(validator, leaving=True))
    own = draft.delegations.get(delegation_key(operator, operator))
    worth = 0 if own is None else validator.tokens * own.shares // validator.shares
    if worth:
        _unbond(draft, operator, operator, worth)


def _others_stay(draft: Draft, operator: Address) -> bool:
    for address in draft.seats.addresses:
        other = draft.keys.get(address)
        validator = draft.validators.get(other) if other is not None else None
        if validator is None or other == operator:
            continue
        if not validator.leaving and not validator.jailed and not validator.tombstoned:
            return True
    return False


def unjail(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Lets the sender's validator stand for the set again, from the next epoch on.

    Raises:
        ActionRefused: `validator_unknown`, `validator_tombstoned`, `validator_not_jailed`, `validator_jail_not_over`.
    """
    validator = draft.validator(action.sender)
    if validator.tombstoned:
        raise ActionRefused("the validator signed two things; it cannot return", code="validator_tombstoned")
    if not validator.jailed:
        raise ActionRefused("the validator is not jailed", code="validator_not_jailed")
    if ctx.time_ms < validator.jailed_until_ms:
        raise ActionRefused(
            f"the validator is jailed until {validator.jailed_until_ms} ms; it is {ctx.time_ms} ms",
            code="validator_jail_not_over",
            until_ms=validator.jailed_until_ms,
        )
    draft.validators.put(action.sender, replace(validator, jailed=False, jailed_until_ms=0))


def delegate(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Bonds tokens of the sender to a validator.

    Raises:
        ActionRefused: `validator_unknown`, `validator_tombstoned`, `validator_leaving`, `validator_worthless`,
            `delegation_too_small`, `account_balance_insufficient`.
    """
    body = action.body
    assert isinstance(body, Delegate)
    validator = draft.validator(body.validator)
    if validator.tombstoned:
        raise ActionRefused("the validator signed two things; it cannot return", code="validator_tombstoned")
    if validator.leaving:
        raise ActionRefused("the validator is leaving", code="validator_leaving")
    if body.amount < draft.parameters.delegation_min:
        raise ActionRefused(
            f"a delegation has at least {draft.parameters.delegation_min} base units",
            code="delegation_too_small",
            minimum=draft.parameters.delegation_min,
        )
    _bond(draft, action.sender, body.validator, body.amount)


def _bond(draft: Draft, delegator: Address, operator: Address, amount: int) -> None:
    validator, epoch = draft.validator(operator), draft.clock.epoch
    if validator.shares and not validator.tokens:
        raise ActionRefused("all tokens of the validator were slashed", code="validator_worthless")
    minted = amount * validator.shares // validator.tokens if validator.shares else amount
    if minted == 0:
        raise ActionRefused("the amount is worth less than one share", code="delegation_too_small")
    if validator.shares + minted > SHARES_MAX:
        raise ActionRefused("the validator's shares are worth too little to add any", code="validator_worthless")
    draft.debit(delegator, amount)
    key = delegation_key(delegator, operator)
    delegation = draft.delegations.get(key)
    if delegation is None:
        delegation = Delegation(0, validator.index)
    else:
        delegation = settle(draft, delegator, operator, delegation)
        validator = draft.validator(operator)
    if not delegation.pending_shares:
        await_mark(draft, operator, validator.index)
    draft.delegations.put(
        key, Delegation(delegation.shares + minted, delegation.index, delegation.pending_shares + minted, epoch)
    )
    pending = validator.pending_shares if validator.pending_epoch == epoch else 0
    draft.validators.put(
        operator,
        replace(
            validator,
            tokens=validator.tokens + amount,
            shares=validator.shares + minted,
            pending_shares=pending + minted,
            pending_epoch=epoch,
        ),
    )


def undelegate(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Begins to unbond tokens of the sender from a validator.

    Raises:
        ActionRefused: `validator_unknown`, `delegation_unknown`, `delegation_insufficient`.
    """
    body = action.body
    assert isinstance(body, Undelegate)
    draft.validator(body.validator)
    require_delegation(draft, action.sender, body.validator)
    _unbond(draft, action.sender, body.validator, body.amount)


def _unbond(draft: Draft, delegator: Address, operator: Address, amount: int) -> None:
    delegation = settle(draft, delegator, operator, require_delegation(draft, delegator, operator))
    validator, epoch = draft.validator(operator), draft.clock.epoch
    worth = validator.tokens * delegation.shares // validator.shares
    if not 0 < amount <= worth:
        raise ActionRefused(
            f"the delegation is worth {worth} base units; {amount} cannot be unbonded",
            code="delegation_insufficient",
            worth=worth,
            amount=amount,
        )
    taken = delegation.shares if amount == worth else -(-amount * validator.shares // validator.tokens)
    _take_shares(draft, (delegator, operator), delegation, taken, amount)
    key = unbonding_key(epoch, operator, delegator)
    draft.unbondings.put(key, (draft.unbondings.get(key) or 0) + amount)


def _take_shares(
    draft: Draft, parties: tuple[Address, Address], delegation: Delegation, taken: int, amount: int
) -> None:
    """Removes shares of a settled delegation, those that earn nothing yet first, and `amount` of the tokens."""
    delegator, operator = parties
    validator, epoch = draft.validator(operator), draft.clock.epoch
    unripe = min(taken, delegation.pending_shares)
    pending = delegation.pending_shares - unripe
    if unripe and not pending:
        release_mark(draft, operator, epoch)
    key = delegation_key(delegator, operator)
    if taken == delegation.shares:
        draft.delegations.remove(key)
    else:
        pending_epoch = epoch if pending else 0
        draft.delegations.put(key, Delegation(delegation.shares - taken, delegation.index, pending, pending_epoch))
    shares = validator.shares - taken
    rewards = validator.rewards
    if not shares:
        draft.pot += rewards
        rewards = 0
    draft.validators.put(
        operator,
        replace(
            validator,
            tokens=validator.tokens - amount,
            shares=shares,
            pending_shares=validator.pending_shares - unripe,
            rewards=rewards,
        ),
    )


HANDLERS = {
    CreateValidator: create_validator,
    EditValidator: edit_validator,
    LeaveValidator: leave_validator,
    Unjail: unjail,
    Delegate: delegate,
    Undelegate: undelegate,
}
