"""Epochs: what happens when one ends, and how unbonded stake comes free after it.

An epoch has `epoch_heights` heights. At the end of its last one rewards are shared out, what validators did is added
to their records, the set of the next epoch is chosen, and validators that nobody needs any more are forgotten.

Stake that was unbonded during the epoch counts until the new set acts, two heights later. That height and its time are
its release; it matures when `unbonding_ms` have passed since, and `evidence_age_heights` heights. Since `unbonding_ms`
is longer than the evidence age, no evidence can arrive after its stake has gone. Level 3, pure.
"""

from msgspec.structs import replace

from plait.ledger import rewards
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.happenings import EpochEnded, UnbondingsPaid
from plait.ledger.membership import begin_epoch_for_seats, choose
from plait.ledger.stake_records import Release, Validator, uint64_key
from plait.limits import UNBONDINGS_PER_SUB_BLOCK_MAX
from plait.types import Address
from plait.types.consensus import consensus_address


def is_last_height(draft: Draft, ctx: SubBlockContext) -> bool:
    """Whether the epoch ends with this sub-block."""
    return ctx.height - draft.clock.epoch_first_height + 1 >= draft.parameters.epoch_heights


def end_epoch(draft: Draft, ctx: SubBlockContext) -> None:
    """Shares out rewards, chooses the next set and begins the next epoch."""
    epoch = draft.clock.epoch
    issued, distributed = rewards.distribute(draft, ctx)
    begin_epoch_for_seats(draft)
    choose(draft, ctx.height)
    _forget_validators(draft, ctx)
    draft.clock = replace(draft.clock, epoch=epoch + 1, epoch_first_height=ctx.height + 1, epoch_began_ms=ctx.time_ms)
    draft.emit(
        EpochEnded(
            epoch=epoch,
            issued=issued,
            distributed=distributed,
            pot=draft.pot,
            validators=len(draft.seats.addresses),
        )
    )


def note_release(draft: Draft, ctx: SubBlockContext) -> None:
    """At an epoch's second height, when the set that the last epoch chose begins to act: its unbondings come off."""
    clock = draft.clock
    if clock.epoch == 0 or ctx.height != clock.epoch_first_height + 1:
        return
    key = uint64_key(clock.epoch - 1)
    if draft.unbondings.first(key) is not None:
        draft.releases.put(key, Release(ctx.height, ctx.time_ms))


def pay_matured(draft: Draft, ctx: SubBlockContext) -> None:
    """Pays out unbondings that have matured, oldest epoch first, a bounded number per sub-block."""
    oldest = draft.releases.first()
    if oldest is None or not _is_mature(draft, ctx, oldest[1]):
        return
    paid: list[tuple[bytes, int]] = []
    finished: list[bytes] = []
    for epoch_key, release in draft.releases.items():
        if not _is_mature(draft, ctx, release):
            break
        finished.append(epoch_key)
        for key, amount in draft.unbondings.items(epoch_key):
            if len(paid) == UNBONDINGS_PER_SUB_BLOCK_MAX:
                finished.pop()
                break
            paid.append((key, amount))
        if len(paid) == UNBONDINGS_PER_SUB_BLOCK_MAX:
            break
    for key, amount in paid:
        draft.unbondings.remove(key)
        draft.credit(Address(key[28:]), amount)
    for epoch_key in finished:
        draft.releases.remove(epoch_key)
    if paid:
        draft.emit(UnbondingsPaid(count=len(paid), amount=sum(amount for _, amount in paid)))


def _is_mature(draft: Draft, ctx: SubBlockContext, release: Release) -> bool:
    parameters = draft.parameters
    return (
        ctx.time_ms - release.time_ms > parameters.unbonding_ms
        and ctx.height - release.height > parameters.evidence_age_heights
    )


def _forget_validators(draft: Draft, ctx: SubBlockContext) -> None:
    """Removes validators without shares and unbondings whose last fault is too old to be proved; pays commission."""
    for operator, validator in list(draft.validators.items()):
        if _is_forgettable(draft, ctx, Address(operator), validator):
            draft.credit(Address(operator), validator.commission)
            draft.validators.remove(operator)
            draft.keys.remove(consensus_address(validator.public_key))


def _is_forgettable(draft: Draft, ctx: SubBlockContext, operator: Address, validator: Validator) -> bool:
    if validator.shares or validator.power or validator.tombstoned:
        return False
    quiet_since = max(validator.created_height, validator.idle_height) + 2
    if ctx.height - quiet_since <= draft.parameters.evidence_age_heights:
        return False
    epochs = [key for key, _ in draft.releases.items()]
    epochs += [uint64_key(epoch) for epoch in (draft.clock.epoch - 1, draft.clock.epoch) if epoch >= 0]
    return all(draft.unbondings.first(key + operator) is None for key in epochs)
