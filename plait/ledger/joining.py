"""How an OP Stack chain that exists joins a running network, in two agreed steps of its owner.

    BindRollup       status BOUND     what later L1 blocks say to the chain is agreed on; its own sequencer goes on
    AnchorRollup     status PENDING   the block that the network goes on from, and the join slot; its sequencer stopped
    the join slot    status ACTIVE    the network sequences it, from the block after the anchor on

Rules
    - A chain is bound with the configuration that its own rollup.json has; fees run from then on. One that has no
      anchor at its lapse slot is let go, and may be bound again.
    - The anchor's L1 origin is an agreed block at or above the agreed head at the binding: all that L1 says to the
      chain after it is agreed. The blocks of the chain fall on the network's grid: on slots that are multiples of its
      block time.
    - At the join slot the rollup joins when that origin is still agreed and more than two thirds of the power hold the
      chain up to the anchor, which their L1 reports say; otherwise the anchor is given back and the chain is bound as
      before. So an anchor that nobody can execute stops nobody. A node without the chain stops there.
    - The network opens the blocks between the anchor and the join slot itself, with the origins and deposits that
      derivation gives them.
    - The owner may withdraw an anchor before its slot, and leave (`LeaveRollup`) before and after.

Level 3, pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from plait.codec.rlp import Reader
from plait.derivation.anchor import Anchor, decode_anchor
from plait.derivation.rollup_config import OpStackConfig, decode_config
from plait.derivation.system_config import SystemConfig
from plait.errors import ActionRefused, CodecError
from plait.ledger import registry
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy
from plait.ledger.l1 import L1State, holds_anchor, may_change, powers_of
from plait.ledger.registry import RollupMoved
from plait.ledger.rollup_records import NEVER, ORDERINGS, Joining, RollupEntry, RollupStatus, rollup_key
from plait.limits import ROLLUP_ANCHOR_SLOTS_AHEAD_MAX, ROLLUP_BINDING_SLOTS_MAX
from plait.types.action import AnchorRollup, BindRollup, Body, SignedAction, WithdrawAnchor
from plait.types.identifiers import BlockNumber, RollupId, Slot
from plait.types.network import NetworkParameters, OrderingPolicy, RollupParameters
from plait.types.quantities import Wei

NOT_BEGUN: Final = frozenset((RollupStatus.BOUND, RollupStatus.PENDING))


# ---------------------------------------------------------------- for the protocol and readers
def coming(economy: Economy) -> tuple[RollupEntry, ...]:
    """Chains that are bound or anchored and have not joined, ascending by id."""
    return tuple(
        entry for _, entry in economy.rollups.items() if entry.joining is not None and entry.status in NOT_BEGUN
    )


def unready(economy: Economy, state: L1State | None, slot: Slot) -> frozenset[RollupId]:
    """Anchored chains whose join slot has come at `slot` and that cannot join."""
    due = [entry for entry in coming(economy) if entry.status is RollupStatus.PENDING and entry.begins_slot <= slot]
    if not due or state is None:
        return frozenset(entry.rollup_id for entry in due)
    powers = powers_of(state, economy.rotation.current)
    return frozenset(
        entry.rollup_id
        for entry in due
        if entry.joining is None
        or entry.joining.anchor is None
        or not _is_agreed(state, entry.joining.anchor)
        or not holds_anchor(state, entry.rollup_id, entry.joining.anchor.block.number, powers)
    )


def origins_needed(economy: Economy) -> tuple[BlockNumber, ...]:
    """L1 origins of the anchors of chains that have not joined."""
    anchors = [entry.joining.anchor for entry in coming(economy) if entry.joining is not None]
    return tuple(anchor.origin.number for anchor in anchors if anchor is not None)


def config_of(body: BindRollup) -> OpStackConfig:
    """The configuration that a binding names. Raises ActionRefused `rollup_config_invalid`."""
    try:
        outer = Reader(body.config, what="rollup configuration")
        reader = outer.read_list("rollup configuration")
        outer.end()
        return decode_config(reader)
    except CodecError as error:
        raise _refused("rollup_config_invalid", f"the rollup configuration cannot be used: {error.message}") from error


# ---------------------------------------------------------------- actions
def act(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Applies a binding, an anchor or its withdrawal; nonce and fee are taken already.

    Raises:
        ActionRefused: a code that begins with `rollup_` or `registry_`, `l1_not_used`, `account_balance_insufficient`.
    """
    body = action.body
    if isinstance(body, BindRollup):
        _bind(draft, ctx, action, body)
    elif isinstance(body, AnchorRollup):
        _anchor(draft, ctx, action, body)
    elif isinstance(body, WithdrawAnchor):
        entry = _anchored(registry.owned(draft, action.sender, body.rollup_id))
        give_back(draft, ctx, entry)
    else:
        raise TypeError(f"{type(body).__name__} brings no chain in")


HANDLERS: Final[Mapping[type[Body], registry.Handler]] = MappingProxyType(
    dict.fromkeys((BindRollup, AnchorRollup, WithdrawAnchor), act)
)
"""Who applies which body."""


def _bind(draft: Draft, ctx: SubBlockContext, action: SignedAction, body: BindRollup) -> None:
    if ctx.l1 is None:
        raise _refused("l1_not_used", "this network has no L1 that a rollup could derive from")
    if not may_change(ctx.l1, ctx.slot):
        raise _refused("registry_busy", "the rollups that derive from the L1 changed a moment ago; try again later")
    registry.check_new(draft, action.sender, body.rollup_id)
    registry.check_fees(draft, body)
    config = config_of(body)
    _check_config(ctx, ctx.l1, config, body.rollup_id)
    _check_contracts(draft, ctx.l1, config)
    parameters = _parameters(config, config.genesis_system, ctx.network, ORDERINGS[body.ordering])
    registry.check_parameters(draft, ctx, parameters, gas_limit_before=0)
    draft.debit(action.sender, body.escrow)
    lapse_slot = Slot(ctx.slot + ROLLUP_BINDING_SLOTS_MAX)
    entry = RollupEntry(
        rollup_id=body.rollup_id,
        owner=action.sender,
        status=RollupStatus.BOUND,
        parameters=parameters,
        genesis=None,
        terms=None,
        revenue_recipient=body.revenue_recipient,
        escrow=body.escrow,
        charged_slot=ctx.slot,
        joining=Joining(bound_number=ctx.l1.head.number, lapse_slot=lapse_slot),
    )
    draft.rollups.put(rollup_key(body.rollup_id), entry)
    draft.emit(RollupMoved(rollup_id=body.rollup_id, event="bound", slot=lapse_slot))


def _check_config(ctx: SubBlockContext, state: L1State, config: OpStackConfig, rollup_id: RollupId) -> None:
    network = ctx.network
    block_ms = config.block_time_s * 1_000
    wrong = {
        "l2_chain_id": config.chain_id != rollup_id,
        "l1_chain_id": config.l1_chain_id != state.terms.chain_id,
        "genesis.l1": config.genesis_l1.number > state.head.number,
        "genesis.l2": config.genesis_l2.number != 0,
        "block_time": block_ms % network.slot_ms != 0,
    }
    field = next((name for name, differs in wrong.items() if differs), None)
    if field is not None:
        raise _refused(
            "rollup_config_invalid", f"{field} of the rollup configuration does not fit this network", field=field
        )
    if config.block_time_s > state.terms.block_time_s:
        raise _refused(
            "rollup_slower_than_l1",
            f"its blocks take {config.block_time_s} s and those of the L1 {state.terms.block_time_s} s: it would fall "
            "behind for ever",
        )
    if (config.genesis_time_s - network.genesis_time_s) % config.block_time_s:
        raise _refused(
            "rollup_off_grid",
            f"blocks every {config.block_time_s} s since {config.genesis_time_s} are not at multiples of that time "
            f"since {network.genesis_time_s}, with which this network's grid begins",
        )


def _check_contracts(draft: Draft, state: L1State, config: OpStackConfig) -> None:
    """Facts have so many bytes for all rollups: what one contract says must not count for many, or chains that somebody
    binds to a rollup's own contracts make its deposits too much for a block."""
    contracts = {config.deposit_contract, config.system_config_contract}
    for one in state.bindings:
        shared = contracts & {one.deposit_contract, one.system_config_contract}
        if shared and draft.rollups.get(rollup_key(one.chain_id)) is not None:
            raise _refused(
                "rollup_config_invalid",
                f"0x{min(shared).hex()} is a contract of rollup {one.chain_id} already",
                field="deposit_contract" if config.deposit_contract in shared else "system_config_contract",
            )


def _anchor(draft: Draft, ctx: SubBlockContext, action: SignedAction, body: AnchorRollup) -> None:
    entry = registry.owned(draft, action.sender, body.rollup_id)
    joining = entry.joining
    if joining is None or entry.status is not RollupStatus.BOUND or ctx.l1 is None:
        raise _refused("rollup_not_bound", f"rollup {body.rollup_id} is not bound, or has an anchor")
    try:
        anchor = decode_anchor(body.anchor)
    except CodecError as error:
        raise _refused("rollup_anchor_invalid", f"the anchor cannot be read: {error.message}") from error
    earliest = ctx.slot + draft.parameters.rollup_join_notice_slots
    latest = ctx.slot + ROLLUP_ANCHOR_SLOTS_AHEAD_MAX
    if not earliest <= body.join_slot <= max(earliest, latest):
        code = "rollup_slot_too_early" if body.join_slot < earliest else "rollup_slot_too_far"
        raise _refused(code, f"name a slot from {earliest} to {max(earliest, latest)}", earliest=earliest)
    _check_anchor(ctx, ctx.l1, body.rollup_id, anchor, joining.bound_number)
    before = entry.parameters
    parameters = _parameters(anchor.config, anchor.system, ctx.network, before.ordering, anchor)
    registry.check_parameters(draft, ctx, parameters, gas_limit_before=before.gas_limit)
    if parameters.start_slot > body.join_slot:
        raise _refused("rollup_anchor_invalid", "the anchor is younger than the slot at which the chain is to join")
    joining = msgspec.structs.replace(joining, anchor=anchor, join_slot=body.join_slot)
    after = msgspec.structs.replace(entry, status=RollupStatus.PENDING, parameters=parameters, joining=joining)
    draft.rollups.put(rollup_key(body.rollup_id), after)
    draft.emit(RollupMoved(rollup_id=body.rollup_id, event="anchored", slot=body.join_slot))


def _check_anchor(
    ctx: SubBlockContext, state: L1State, rollup_id: RollupId, anchor: Anchor, bound_number: BlockNumber
) -> None:
    config, network = anchor.config, ctx.network
    if config.chain_id != rollup_id or state.binding(rollup_id) != config:
        raise _refused("rollup_anchor_invalid", "the anchor has another rollup configuration than the bound one")
    blocks = anchor.block.number - config.genesis_l2.number
    on_time = anchor.timestamp == config.genesis_time_s + blocks * config.block_time_s
    if blocks < 1 or not on_time or anchor.timestamp < network.genesis_time_s or anchor.sequence_number > blocks:
        raise _refused("rollup_anchor_invalid", "the anchor's number, time and sequence number do not fit its chain")
    if anchor.origin.number < bound_number:
        raise _refused(
            "rollup_anchor_too_old",
            f"the anchor's L1 origin {anchor.origin.number} is before {bound_number}, up to which this network has not "
            "looked at the chain's deposits; name a later block",
            bound=bound_number,
        )
    if not _is_agreed(state, anchor):
        raise _refused(
            "rollup_anchor_origin_unknown",
            f"the anchor's L1 origin {anchor.origin.number} 0x{anchor.origin.hash.hex()} is none of the agreed blocks "
            f"{state.blocks[0].number} to {state.head.number}",
        )


def _is_agreed(state: L1State, anchor: Anchor) -> bool:
    block = state.block(anchor.origin.number)
    return block is not None and block.hash == anchor.origin.hash and block.timestamp <= anchor.timestamp


# ---------------------------------------------------------------- time passes
def begin(draft: Draft, ctx: SubBlockContext, cannot_join: frozenset[RollupId]) -> None:
    """Before joins take place: anchors that cannot be used are given back, bindings that lapse end.

    Args:
        draft, ctx: of the sub-block.
        cannot_join: of `unready`, at the committed state.
    """
    for _, entry in list(draft.rollups.items()):
        if entry.joining is None or entry.status not in NOT_BEGUN:
            continue
        if entry.rollup_id in cannot_join:
            give_back(draft, ctx, entry)
        elif entry.status is RollupStatus.BOUND and entry.joining.lapse_slot <= ctx.slot:
            registry.let_go(draft, ctx, entry)


def give_back(draft: Draft, ctx: SubBlockContext, entry: RollupEntry) -> None:
    """An anchored chain is bound again."""
    assert entry.joining is not None, "asked before"
    joining = msgspec.structs.replace(
        entry.joining, anchor=None, join_slot=NEVER, lapse_slot=Slot(ctx.slot + ROLLUP_BINDING_SLOTS_MAX)
    )
    after = msgspec.structs.replace(
        entry,
        status=RollupStatus.BOUND,
        parameters=msgspec.structs.replace(entry.parameters, start_slot=Slot(0), anchor_number=BlockNumber(0)),
        joining=joining,
    )
    draft.rollups.put(rollup_key(entry.rollup_id), after)
    draft.emit(RollupMoved(rollup_id=entry.rollup_id, event="unanchored", slot=ctx.slot))


# ---------------------------------------------------------------- parts
def _anchored(entry: RollupEntry) -> RollupEntry:
    if entry.joining is None or entry.status is not RollupStatus.PENDING:
        raise _refused("rollup_not_anchored", f"rollup {entry.rollup_id} has no anchor that could be withdrawn")
    return entry


def _parameters(
    config: OpStackConfig,
    system: SystemConfig,
    network: NetworkParameters,
    ordering: OrderingPolicy,
    anchor: Anchor | None = None,
) -> RollupParameters:
    since_ms = 0 if anchor is None else (anchor.timestamp - network.genesis_time_s) * 1_000
    return RollupParameters(
        rollup_id=RollupId(config.chain_id),
        genesis_hash=config.genesis_l2.hash,
        block_time_slots=config.block_time_s * 1_000 // network.slot_ms,
        gas_limit=system.gas_limit,
        ordering=ordering,
        da_footprint_gas_scalar=system.da_footprint_gas_scalar,
        eip1559_denominator=system.eip1559_denominator or config.eip1559_denominator,
        eip1559_elasticity=system.eip1559_elasticity or config.eip1559_elasticity,
        min_base_fee=Wei(system.min_base_fee),
        operator_fee_scalar=system.operator_fee_scalar,
        operator_fee_constant=system.operator_fee_constant,
        base_fee_scalar=system.base_fee_scalar,
        blob_base_fee_scalar=system.blob_base_fee_scalar,
        start_slot=Slot(since_ms // network.slot_ms),
        anchor_number=BlockNumber(0 if anchor is None else anchor.block.number),
    )


def _refused(code: str, sentence: str, **fields: Any) -> ActionRefused:
    return ActionRefused(sentence, code=code, **fields)
