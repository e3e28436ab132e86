"""The economy's part of one sub-block: begin, every action, end. This is the face that the protocol uses.

    draft = Draft(economy)
    begin(draft, ctx, agreed, ...)              evidence, participation, unbonding, what is due of governance, registry
    act(draft, ctx, action)     for each action in the order of the proposal; a refused one leaves no trace
    end(draft, ctx, usage)                      registry's accounts; at an epoch's end rewards and the validator set
    economy = draft.freeze()

Everything is a function of the arguments: no clock, no random source, no order of a dict or set. Level 3, pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from plait.errors import ActionRefused
from plait.ledger import accounts, downtime, epochs, governance, joining, membership, registry, rewards, slashing, stake
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.happenings import ActionApplied
from plait.types import Agreed, RollupId, ValidatorUpdate
from plait.types.action import Body, SignedAction

__all__ = ["HANDLERS", "Ended", "SubBlockContext", "act", "begin", "end"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine has to be told after a sub-block."""

    validator_updates: tuple[ValidatorUpdate, ...] = ()
    """Ascending by consensus address; returned at height H they act from H + 2 on."""


_ALL: Final[tuple[Mapping[Any, registry.Handler], ...]] = (
    accounts.HANDLERS,
    stake.HANDLERS,
    rewards.HANDLERS,
    slashing.HANDLERS,
    governance.HANDLERS,
    registry.HANDLERS,
    joining.HANDLERS,
)
HANDLERS: Final[Mapping[type[Body], registry.Handler]] = MappingProxyType(
    {body: handler for handlers in _ALL for body, handler in handlers.items()}
)
"""What each body does, by its type."""


def begin(
    draft: Draft, ctx: SubBlockContext, agreed: Agreed, *, cannot_join: frozenset[RollupId] = frozenset()
) -> None:
    """What happens before a sub-block's actions: faults, participation, matured stake, what governance and registry
    have due. `cannot_join`: `joining.unready` of the state before.
    """
    if draft.clock.epoch_began_ms == 0:
        draft.clock = msgspec.structs.replace(draft.clock, epoch_began_ms=ctx.time_ms)
    epochs.note_release(draft, ctx)
    downtime.count_participation(draft, ctx, agreed)
    for misbehavior in agreed.misbehavior:
        slashing.judge_engine_evidence(draft, ctx, misbehavior)
    slashing.forget_old_evidence(draft, ctx)
    epochs.pay_matured(draft, ctx)
    joining.begin(draft, ctx, cannot_join)
    registry.begin(draft, ctx)
    governance.begin(draft, ctx)


def act(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> tuple[Any, ...]:
    """Applies one action; returns what happened.

    Raises:
        ActionRefused: with the code of the rule that it breaks; the draft is as it was.
    """
    handler = HANDLERS.get(type(action.body))
    if handler is None:
        raise ActionRefused(f"{type(action.body).__name__} is not known here", code="action_malformed")
    before = draft.checkpoint()
    try:
        fee = accounts.admit(draft, action)
        draft.emit(ActionApplied(hash=action.hash, sender=action.sender, kind=int(action.kind), fee=fee))
        handler(draft, ctx, action)
    except BaseException:
        draft.rollback(before)
        raise
    return tuple(draft.effects[before.effects :])


def end(draft: Draft, ctx: SubBlockContext, usage: Mapping[RollupId, int]) -> Ended:
    """What happens after a sub-block's items. `usage`: ordered transactions per rollup."""
    registry.end(draft, ctx, usage)
    if epochs.is_last_height(draft, ctx):
        registry.charge(draft, ctx)
        epochs.end_epoch(draft, ctx)
    return Ended(validator_updates=membership.announce(draft))
