"""The registry: rollups join, change and leave at slot boundaries, under published fees or their own terms.

Rules
    - Who may register is the network's mode: everyone (marketplace), nobody (protocol-specific), the operator of the
      only validator (single operator; anyone while there is no validator).
    - Block n of a rollup covers the slots from start_slot + n * block_time_slots; block 0 is its genesis. Start slots
      are whole multiples of the block time, so that all blocks of equal block times begin together.
      A registration names a start slot at least the join notice ahead and the hash of the genesis block that its own
      fields give, which the protocol compares before it applies the action. Ids of rollups that left, or whose
      registration was cancelled, are never used again: nodes keep their blocks by id.
    - An update holds from the first block that begins at or after its slot; a newer update replaces a waiting one.
    - A departure is at the first block boundary at or after its slot, at least the leave notice ahead; the block before
      it is the rollup's last and is sealed there, so that no slot of it is left uncovered. What is left of the escrow
      goes back to the owner. One rollup always stays.
    - Fees are published parameters: so much per slot and per ordered transaction, charged from the escrow at the end of
      every epoch and at the departure, into the pot. Of the transaction fees a published share goes back to the
      rollup's revenue recipient. Rollups of the genesis may have terms of their own.
    - An escrow that cannot pay gives notice: the rollup leaves like at its owner's wish, unless it is funded before.
      What it owes is paid first. One that was going to leave later leaves then, funded or not.
    - A rollup joins a set whose rollups execute each other's messages only when its owner owns all of them.

`due` says what a slot changes for the rollups themselves; `begin` makes the same changes facts of the economy. Level 3,
pure.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from plait.errors import ActionRefused, ConfigurationError, InvariantBroken
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy
from plait.ledger.rollup_records import (
    FORKS,
    NEVER,
    ORDERINGS,
    DepartedRollup,
    LeaveReason,
    NetworkMode,
    RollupEntry,
    RollupGenesis,
    RollupStatus,
    RollupTerms,
    ScheduledUpdate,
    rollup_key,
)
from plait.limits import INTEROP_CHAINS_MAX, ROLLUP_START_SLOTS_AHEAD_MAX, ROLLUPS_MAX
from plait.types.action import (
    PPM,
    BindRollup,
    Body,
    FundRollup,
    LeaveRollup,
    RegisterRollup,
    SignedAction,
    UpdateRollup,
)
from plait.types.identifiers import Address, BlockNumber, Hash32, RollupId, Slot
from plait.types.network import RollupParameters
from plait.types.quantities import Amount

_UPDATED = (
    "gas_limit",
    "da_footprint_gas_scalar",
    "eip1559_denominator",
    "eip1559_elasticity",
    "min_base_fee",
    "operator_fee_scalar",
    "operator_fee_constant",
    "base_fee_scalar",
    "blob_base_fee_scalar",
)
"""Parameters that an update names under the same names."""


class RollupMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Effect: something happened to a rollup of the registry."""

    rollup_id: RollupId
    event: str
    """registered, bound, anchored, unanchored, let_go, joined, cancelled, update_scheduled, updated, leaving, stays,
    left, funded, owner."""
    slot: Slot
    """When it takes place."""


class RegistryDue(msgspec.Struct, frozen=True, kw_only=True):
    """What a slot changes, each ascending by rollup id."""

    joins: tuple[RollupEntry, ...] = ()
    """Rollups whose start slot has come."""
    leaves: tuple[RollupEntry, ...] = ()
    """Rollups whose last block, `last_block`, is to be sealed now; `depart` ends them."""
    updates: tuple[RollupParameters, ...] = ()
    """New parameters, for the blocks that are opened from now on."""


# ---------------------------------------------------------------- for the protocol and readers
def due(economy: Economy, slot: Slot) -> RegistryDue:
    """What changes in the first sub-block at or after `slot`; empty in nearly every sub-block."""
    joins: list[RollupEntry] = []
    leaves: list[RollupEntry] = []
    updates: list[RollupParameters] = []
    for entry in _entries(economy):
        if entry.leaves and entry.leave_slot <= slot:
            leaves.append(entry)
        elif entry.status is RollupStatus.PENDING and entry.begins_slot <= slot:
            joins.append(entry)
        elif entry.update is not None and entry.update.slot <= slot:
            updates.append(entry.update.parameters)
    return RegistryDue(joins=tuple(joins), leaves=tuple(leaves), updates=tuple(updates))


def pending(economy: Economy) -> tuple[RollupEntry, ...]:
    """Rollups that are going to join, ascending by id."""
    return tuple(entry for entry in _entries(economy) if entry.status is RollupStatus.PENDING)


def last_block(entry: RollupEntry) -> BlockNumber:
    """Number of the last block of a rollup that leaves: the one that ends where its leave slot begins."""
    parameters = entry.parameters
    return BlockNumber(parameters.block_at(entry.leave_slot) - 1)


def genesis_entry(
    parameters: RollupParameters,
    owner: Address,
    *,
    terms: RollupTerms | None = None,
    revenue_recipient: Address | None = None,
    escrow: int = 0,
) -> RollupEntry:
    """A rollup of the network's own genesis; `terms` None means the published fees."""
    return RollupEntry(
        rollup_id=parameters.rollup_id,
        owner=owner,
        status=RollupStatus.ACTIVE,
        parameters=parameters,
        genesis=None,
        terms=terms,
        revenue_recipient=owner if revenue_recipient is None else revenue_recipient,
        escrow=Amount(escrow),
        charged_slot=Slot(0),
    )


FREE_TERMS = RollupTerms(fee_per_slot=Amount(0), fee_per_transaction=Amount(0), revenue_share_ppm=0)
"""Of the rollups of a network whose genesis says nothing else."""


# ---------------------------------------------------------------- actions
def act(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Applies a registration, update, departure or funding; nonce and fee are taken already.

    Raises:
        ActionRefused: a code that begins with `rollup_` or `registry_`, or `account_balance_insufficient`. The caller
            rolls the draft back.
    """
    body = action.body
    if isinstance(body, RegisterRollup):
        _register(draft, ctx, action.sender, body)
    elif isinstance(body, UpdateRollup):
        _update(draft, ctx, action.sender, body)
    elif isinstance(body, LeaveRollup):
        _leave(draft, ctx, action.sender, body)
    elif isinstance(body, FundRollup):
        _fund(draft, ctx, action.sender, body)
    else:
        raise TypeError(f"{type(body).__name__} is no action of the registry")


Handler: TypeAlias = Callable[[Draft, SubBlockContext, SignedAction], None]
HANDLERS: Final[Mapping[type[Body], Handler]] = MappingProxyType(
    dict.fromkeys((RegisterRollup, UpdateRollup, LeaveRollup, FundRollup), act)
)
"""Who applies which body."""


def _register(draft: Draft, ctx: SubBlockContext, sender: Address, body: RegisterRollup) -> None:
    others = check_new(draft, sender, body.rollup_id)
    _check_slot(ctx, body.start_slot, draft.parameters.rollup_join_notice_slots)
    check_fees(draft, body)
    parameters = parameters_of(body)
    check_parameters(draft, ctx, parameters, gas_limit_before=0)
    _check_interop(others, parameters, sender)
    accounts = [funded.account for funded in body.balances]
    if accounts != sorted(set(accounts)):
        raise _refused("rollup_balances_unsorted", "funded accounts must be strictly ascending by address")
    draft.debit(sender, body.escrow)
    entry = RollupEntry(
        rollup_id=body.rollup_id,
        owner=sender,
        status=RollupStatus.PENDING,
        parameters=parameters,
        genesis=RollupGenesis(
            fork=FORKS[body.fork],
            base_fee=body.base_fee,
            fee_recipient=body.fee_recipient,
            balances=body.balances,
        ),
        terms=None,
        revenue_recipient=body.revenue_recipient,
        escrow=body.escrow,
        charged_slot=body.start_slot,
    )
    _put(draft, entry)
    draft.emit(RollupMoved(rollup_id=body.rollup_id, event="registered", slot=body.start_slot))


def _update(draft: Draft, ctx: SubBlockContext, sender: Address, body: UpdateRollup) -> None:
    entry = owned(draft, sender, body.rollup_id)
    if entry.joining is not None and entry.status is not RollupStatus.ACTIVE:
        raise _refused("rollup_not_joined", f"rollup {body.rollup_id} has not joined; L1 says what its parameters are")
    _check_slot(ctx, body.at_slot, 1)
    before = entry.parameters
    values = {name: getattr(body, name) for name in _UPDATED}
    after = msgspec.structs.replace(before, ordering=ORDERINGS[body.ordering], **values)
    check_parameters(draft, ctx, after, gas_limit_before=before.gas_limit)
    slot = Slot(max(_boundary(before, body.at_slot), before.start_slot + before.block_time_slots))
    update = ScheduledUpdate(slot=slot, parameters=after, revenue_recipient=body.revenue_recipient)
    _put(draft, msgspec.structs.replace(entry, update=update))
    draft.emit(RollupMoved(rollup_id=body.rollup_id, event="update_scheduled", slot=slot))


def _leave(draft: Draft, ctx: SubBlockContext, sender: Address, body: LeaveRollup) -> None:
    entry = owned(draft, sender, body.rollup_id)
    if draft.mode is NetworkMode.PROTOCOL_SPECIFIC:
        raise _refused("rollup_mode_closed", "the rollups of this network are fixed; a vote may remove one")
    if entry.status is not RollupStatus.ACTIVE:
        _cancel(draft, ctx, entry, LeaveReason.OWNER)
        return
    if entry.leaves:
        raise _refused(
            "rollup_leaving", f"rollup {body.rollup_id} leaves at slot {entry.leave_slot}", slot=entry.leave_slot
        )
    _check_slot(ctx, body.at_slot, draft.parameters.rollup_leave_notice_slots)
    check_removal(draft, body.rollup_id)
    _schedule(draft, entry, body.at_slot, LeaveReason.OWNER)


def _fund(draft: Draft, ctx: SubBlockContext, sender: Address, body: FundRollup) -> None:
    entry = entry_of(draft, body.rollup_id)
    draft.debit(sender, body.amount)
    escrow = entry.escrow + body.amount
    paid = min(entry.arrears, escrow)
    draft.pot += paid
    entry = msgspec.structs.replace(entry, escrow=Amount(escrow - paid), arrears=Amount(entry.arrears - paid))
    draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="funded", slot=ctx.slot))
    enough = not entry.arrears and entry.escrow >= draft.parameters.rollup_escrow_min
    if entry.leave_reason is LeaveReason.ESCROW_EMPTY and enough:
        entry = msgspec.structs.replace(entry, leave_slot=NEVER, leave_reason=LeaveReason.STAYS)
        draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="stays", slot=ctx.slot))
    _put(draft, entry)


# ---------------------------------------------------------------- what governance decides
def entry_of(draft: Draft, rollup_id: RollupId) -> RollupEntry:
    """A rollup of the registry.

    Raises:
        ActionRefused: `rollup_unknown`.
    """
    entry = draft.rollups.get(rollup_key(rollup_id))
    if entry is None:
        raise _refused("rollup_unknown", f"no rollup {rollup_id} is registered", rollup_id=rollup_id)
    return entry


def check_removal(draft: Draft, rollup_id: RollupId) -> None:
    """Raises ActionRefused `rollup_unknown`, or `rollup_last` when no other rollup would stay."""
    entry_of(draft, rollup_id)
    if not _another_stays(draft, rollup_id):
        raise _refused("rollup_last", "the network keeps at least one rollup", rollup_id=rollup_id)


def schedule_leave(draft: Draft, ctx: SubBlockContext, rollup_id: RollupId, reason: LeaveReason) -> None:
    """Lets a rollup leave after the published notice, or earlier when it leaves earlier anyway.

    Raises:
        ActionRefused: `rollup_unknown` or `rollup_last`.
    """
    check_removal(draft, rollup_id)
    entry = entry_of(draft, rollup_id)
    if entry.status is not RollupStatus.ACTIVE:
        _cancel(draft, ctx, entry, reason)
        return
    slot = Slot(ctx.slot + draft.parameters.rollup_leave_notice_slots)
    if entry.leaves:
        slot = min(slot, entry.leave_slot)
    _schedule(draft, entry, slot, reason)


def set_owner(draft: Draft, rollup_id: RollupId, owner: Address) -> None:
    """Gives a rollup another owner. Raises ActionRefused `rollup_unknown`."""
    _put(draft, msgspec.structs.replace(entry_of(draft, rollup_id), owner=owner))
    draft.emit(RollupMoved(rollup_id=rollup_id, event="owner", slot=NEVER))


# ---------------------------------------------------------------- time passes
def begin(draft: Draft, ctx: SubBlockContext) -> None:
    """Makes joins and updates that are due facts of the economy."""
    for entry in _entries(draft):
        after = entry
        if entry.status is RollupStatus.PENDING and entry.begins_slot <= ctx.slot:
            after = msgspec.structs.replace(after, status=RollupStatus.ACTIVE)
            draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="joined", slot=ctx.slot))
        update = entry.update
        if update is not None and update.slot <= ctx.slot:
            after = msgspec.structs.replace(
                after, parameters=update.parameters, revenue_recipient=update.revenue_recipient, update=None
            )
            draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="updated", slot=update.slot))
        if after is not entry:
            _put(draft, after)


def depart(
    draft: Draft, ctx: SubBlockContext, rollup_id: RollupId, head: tuple[BlockNumber, Hash32], *, may_lag: bool = False
) -> None:
    """Ends a rollup whose last block is sealed: last fees, escrow back to the owner, the record of what it was.

    Args:
        draft, ctx: of the sub-block.
        rollup_id: of the rollup.
        head: number and hash of its last sealed block.
        may_lag: whether that may be an earlier one than `last_block`: it waited for its L1.

    Raises:
        InvariantBroken: `registry_departure_wrong`, it does not leave now or that is not its last block.
    """
    entry = draft.rollups.get(rollup_key(rollup_id))
    last = BlockNumber(0) if entry is None else last_block(entry)
    reached = head[0] == last or (may_lag and head[0] < last)
    if entry is None or not entry.leaves or entry.leave_slot > ctx.slot or not reached:
        raise InvariantBroken(
            f"rollup {rollup_id} does not leave at slot {ctx.slot} with block {head[0]}",
            code="registry_departure_wrong",
            rollup_id=rollup_id,
        )
    _retire(draft, _charged(draft, ctx, entry), head)
    draft.emit(RollupMoved(rollup_id=rollup_id, event="left", slot=entry.leave_slot))


def end(draft: Draft, ctx: SubBlockContext, usage: Mapping[RollupId, int]) -> None:
    """Adds the transactions that a sub-block ordered per rollup to what the next charge counts.

    Raises:
        InvariantBroken: `registry_usage_unknown`, transactions of a rollup that is not registered.
    """
    for rollup_id in sorted(usage):
        entry = draft.rollups.get(rollup_key(rollup_id))
        if entry is None:
            raise InvariantBroken(
                f"transactions of rollup {rollup_id}, which is not registered, were ordered in height {ctx.height}",
                code="registry_usage_unknown",
                rollup_id=rollup_id,
            )
        if usage[rollup_id]:
            _put(draft, msgspec.structs.replace(entry, transactions=entry.transactions + usage[rollup_id]))


def charge(draft: Draft, ctx: SubBlockContext) -> None:
    """Takes every rollup's fees since the last charge into the pot, before the pot is shared out at an epoch's end."""
    for entry in _entries(draft):
        if entry.status is not RollupStatus.ACTIVE and entry.joining is None:
            continue
        after = _charged(draft, ctx, entry)
        if after != entry:
            _put(draft, after)
        if after.arrears and after.status is RollupStatus.ACTIVE:
            _leave_unpaid(draft, ctx, after)
        elif after.arrears:
            _cancel(draft, ctx, after, LeaveReason.ESCROW_EMPTY)


def _leave_unpaid(draft: Draft, ctx: SubBlockContext, entry: RollupEntry) -> None:
    """Lets a rollup that owes fees leave after the notice; one that leaves later by itself goes then already."""
    slot = Slot(ctx.slot + draft.parameters.rollup_leave_notice_slots)
    if entry.leaves:
        if _boundary(entry.parameters, slot) < entry.leave_slot:
            _schedule(draft, entry, slot, entry.leave_reason)
    elif _another_stays(draft, entry.rollup_id):
        _schedule(draft, entry, slot, LeaveReason.ESCROW_EMPTY)


def _charged(draft: Draft, ctx: SubBlockContext, entry: RollupEntry) -> RollupEntry:
    terms = entry.terms if entry.terms is not None else published_terms(draft)
    until = min(ctx.slot, entry.leave_slot) if entry.leaves else ctx.slot
    slots = max(0, until - entry.charged_slot)
    owed = entry.arrears + slots * terms.fee_per_slot
    transaction_fee = entry.transactions * terms.fee_per_transaction
    paid = min(entry.escrow, owed + transaction_fee)
    back = max(0, paid - owed) * terms.revenue_share_ppm // PPM
    draft.credit(entry.revenue_recipient, back)
    draft.pot += paid - back
    return msgspec.structs.replace(
        entry,
        escrow=Amount(entry.escrow - paid),
        arrears=Amount(owed + transaction_fee - paid),
        charged_slot=Slot(entry.charged_slot + slots),
        transactions=0,
    )


def published_terms(source: Draft | Economy) -> RollupTerms:
    """Fees in force for every rollup without terms of its own."""
    parameters = source.parameters
    return RollupTerms(
        fee_per_slot=Amount(parameters.rollup_fee_per_slot),
        fee_per_transaction=Amount(parameters.rollup_fee_per_transaction),
        revenue_share_ppm=parameters.rollup_revenue_share_ppm,
    )


# ---------------------------------------------------------------- checks and small steps
def check_mode(draft: Draft, sender: Address) -> None:
    """Raises ActionRefused `rollup_mode_closed` when an account may bring no rollup to the network."""
    if draft.mode is NetworkMode.PROTOCOL_SPECIFIC:
        raise _refused("rollup_mode_closed", "the rollups of this network are fixed by its genesis")
    if draft.mode is NetworkMode.SINGLE_OPERATOR:
        operators = [operator for operator, _ in draft.validators.items()]
        if operators and sender not in operators:
            raise _refused("rollup_mode_closed", "only the operator brings rollups to this network")


def check_new(draft: Draft, sender: Address, rollup_id: RollupId) -> list[RollupEntry]:
    """The rollups that are there, when this account may bring another one.

    Raises:
        ActionRefused: `rollup_mode_closed`, `rollup_already_registered`, `rollup_departed`, `registry_full`.
    """
    check_mode(draft, sender)
    key = rollup_key(rollup_id)
    if draft.rollups.get(key) is not None:
        raise _refused("rollup_already_registered", f"rollup {rollup_id} is registered", rollup_id=rollup_id)
    if draft.departed.get(key) is not None:
        raise _refused("rollup_departed", f"rollup {rollup_id} has left; its id is not used again", rollup_id=rollup_id)
    others = _entries(draft)
    if len(others) >= ROLLUPS_MAX:
        raise _refused("registry_full", f"the registry has its {ROLLUPS_MAX} rollups")
    return others


def _check_slot(ctx: SubBlockContext, slot: Slot, notice_slots: int) -> None:
    earliest, latest = ctx.slot + notice_slots, ctx.slot + ROLLUP_START_SLOTS_AHEAD_MAX
    if slot < earliest:
        raise _refused("rollup_slot_too_early", f"name slot {earliest} or later", earliest=earliest)
    if slot > latest:
        raise _refused("rollup_slot_too_far", f"name slot {latest} or earlier", latest=latest)


def check_fees(draft: Draft, body: RegisterRollup | BindRollup) -> None:
    """Raises ActionRefused `rollup_fees_above_limit`, `rollup_escrow_too_small`."""
    published = published_terms(draft)
    if published.fee_per_slot > body.fee_per_slot_max or published.fee_per_transaction > body.fee_per_transaction_max:
        raise _refused(
            "rollup_fees_above_limit",
            f"the published fees are {published.fee_per_slot} per slot and {published.fee_per_transaction} per "
            "transaction, more than this registration accepts",
        )
    least = draft.parameters.rollup_escrow_min
    if body.escrow < least:
        raise _refused("rollup_escrow_too_small", f"the escrow must be at least {least} base units", needed=least)


def parameters_of(body: RegisterRollup) -> RollupParameters:
    """The parameters that a registration gives its rollup."""
    values = {name: getattr(body, name) for name in _UPDATED}
    return RollupParameters(
        rollup_id=body.rollup_id,
        genesis_hash=body.genesis_hash,
        block_time_slots=body.block_time_slots,
        ordering=ORDERINGS[body.ordering],
        interop_set=body.interop_set,
        start_slot=body.start_slot,
        **values,
    )


def check_parameters(
    draft: Draft, ctx: SubBlockContext, parameters: RollupParameters, *, gas_limit_before: int
) -> None:
    """Raises ActionRefused `rollup_parameters_invalid`, `rollup_gas_limit_too_high`."""
    try:
        parameters.check(ctx.network)
    except ConfigurationError as error:
        raise _refused("rollup_parameters_invalid", error.message, **error.fields) from error
    most = draft.parameters.rollup_gas_per_slot_max * parameters.block_time_slots
    if parameters.gas_limit > max(most, gas_limit_before):
        raise _refused(
            "rollup_gas_limit_too_high",
            f"the network executes at most {most} gas per block of {parameters.block_time_slots} slots",
            gas_limit_max=most,
        )


def _check_interop(others: list[RollupEntry], parameters: RollupParameters, owner: Address) -> None:
    if not parameters.interop_set:
        return
    members = [entry for entry in others if entry.parameters.interop_set == parameters.interop_set]
    if any(entry.owner != owner for entry in members):
        raise _refused(
            "rollup_interop_refused",
            f"interop set {parameters.interop_set} has rollups of other owners, which would have to execute this "
            "rollup's messages",
        )
    if len(members) >= INTEROP_CHAINS_MAX:
        raise _refused("rollup_interop_refused", f"interop set {parameters.interop_set} is full")


def owned(draft: Draft, sender: Address, rollup_id: RollupId) -> RollupEntry:
    """The sender's own rollup. Raises ActionRefused `rollup_unknown`, `rollup_owner_wrong`."""
    entry = entry_of(draft, rollup_id)
    if entry.owner != sender:
        raise _refused("rollup_owner_wrong", f"rollup {rollup_id} belongs to 0x{entry.owner.hex()}")
    return entry


def _another_stays(draft: Draft, rollup_id: RollupId) -> bool:
    return any(
        entry.rollup_id != rollup_id and entry.status is RollupStatus.ACTIVE and not entry.leaves
        for entry in _entries(draft)
    )


def let_go(draft: Draft, ctx: SubBlockContext, entry: RollupEntry) -> None:
    """Ends a binding: last fees, escrow back. The chain is as it was, so that it may be bound again."""
    charged = _charged(draft, ctx, entry)
    draft.credit(charged.owner, charged.escrow)
    draft.rollups.remove(rollup_key(entry.rollup_id))
    draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="let_go", slot=ctx.slot))


def _cancel(draft: Draft, ctx: SubBlockContext, entry: RollupEntry, reason: LeaveReason) -> None:
    """Ends a registration before its rollup joined. Nodes have its genesis block already, so its id is used up too."""
    if entry.joining is not None:
        let_go(draft, ctx, entry)
        return
    ended = msgspec.structs.replace(entry, leave_slot=ctx.slot, leave_reason=reason)
    _retire(draft, ended, (BlockNumber(0), entry.parameters.genesis_hash))
    draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="cancelled", slot=ctx.slot))


def _retire(draft: Draft, entry: RollupEntry, head: tuple[BlockNumber, Hash32]) -> None:
    """Pays back the escrow and leaves the record of what a rollup was."""
    draft.credit(entry.owner, entry.escrow)
    key = rollup_key(entry.rollup_id)
    draft.rollups.remove(key)
    record = DepartedRollup(
        rollup_id=entry.rollup_id,
        owner=entry.owner,
        genesis_hash=entry.parameters.genesis_hash,
        left_slot=entry.leave_slot,
        head_number=head[0],
        head_hash=head[1],
        reason=entry.leave_reason,
    )
    draft.departed.put(key, record)


def _schedule(draft: Draft, entry: RollupEntry, at_slot: Slot, reason: LeaveReason) -> None:
    parameters = entry.parameters
    slot = Slot(max(_boundary(parameters, at_slot), parameters.start_slot + parameters.block_time_slots))
    _put(draft, msgspec.structs.replace(entry, leave_slot=slot, leave_reason=reason))
    draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="leaving", slot=slot))


def _boundary(parameters: RollupParameters, slot: Slot) -> int:
    """First slot at or after `slot` with which a block begins."""
    behind = slot % parameters.block_time_slots
    return slot if not behind else slot + parameters.block_time_slots - behind


def _entries(source: Draft | Economy) -> list[RollupEntry]:
    return [entry for _, entry in source.rollups.items()]


def _put(draft: Draft, entry: RollupEntry) -> None:
    draft.rollups.put(rollup_key(entry.rollup_id), entry)


def _refused(code: str, sentence: str, **fields: Any) -> ActionRefused:
    return ActionRefused(sentence, code=code, **fields)
