"""The L1's part of a sub-block: reports and facts that the proposal carries, and who has to go back because of them.

    work = L1Work(ledger, slot)
    work.apply(raw)            a report or facts; refused ones leave no trace
    work.withholds_facts       whether facts are overdue, so that the proposal may carry no items
    work.bind(config, registered)   a rollup that derives from the L1 from now on
    work.end(registered)         the agreed L1 data after the sub-block

Level 4, pure.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from plait.codec.l1_items import SignedReport, decode_l1_item
from plait.crypto.l1_reports import is_signed
from plait.derivation.l1_facts import VaultDeposit, decode_l1_facts
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import ActionRefused, CodecError
from plait.ledger import joining, l1, l1_pauses, l1_vault
from plait.ledger.l1 import NO_SLOT, L1State, UnwindOrder
from plait.ledger.state import LedgerState, RollupRecord
from plait.limits import BLOCK_TIME_SLOTS_MAX, L1_FACTS_DUE_SLOTS
from plait.protocol.l1_blocks import can_go
from plait.types import BlockNumber, RollupId, RollupParameters, Slot


class L1Work:
    """One sub-block's work on the agreed L1 data.

    Args:
        ledger: before the sub-block, with its rollups as they opened their blocks.
        slot: of the sub-block.
        stuck: rollups for which agreement does not wait.
        heads: last sealed block of each rollup after the sub-block, where that is another one.
    """

    def __init__(
        self,
        ledger: LedgerState,
        slot: Slot,
        stuck: frozenset[RollupId] = frozenset(),
        heads: Mapping[RollupId, BlockNumber] = MappingProxyType({}),
    ) -> None:
        self._stuck = stuck
        self._heads = heads
        self.final_deposits: tuple[VaultDeposit, ...] = ()
        """After `end`: deposits of the vault in L1 blocks that no report can take back any more."""
        self._heard: set[bytes] = set()
        self._brought = False
        """Whether facts were applied. Reports come before, so that what they contradict is looked for once."""
        # a conflict that waited may be due now, without a new report
        self._judged = ledger.l1 is None or not any(pause.waiting for pause in ledger.l1.pauses)
        self._records = ledger.rollups
        self._anchored = joining.origins_needed(ledger.economy)
        self._slot = slot
        self._network_id = ledger.parameters.network_id
        self._state = None if ledger.l1 is None else msgspec.structs.replace(ledger.l1, orders=())
        self._powers = {} if ledger.l1 is None else l1.powers_of(ledger.l1, ledger.economy.rotation.current)
        self._due_slot = NO_SLOT if ledger.l1 is None else ledger.l1.due_slot
        self._head = 0 if ledger.l1 is None else ledger.l1.head.number

    def apply(self, raw: bytes) -> None:
        """Applies a report or facts.

        Raises:
            CodecError: `l1_item_malformed`.
            ActionRefused: `l1_not_used`, `l1_report_unsigned`, `l1_report_repeated`, `l1_report_late`, `l1_full`,
                and those of `plait.ledger.l1`.
        """
        item = decode_l1_item(raw)
        state = self._state
        if state is None:
            raise ActionRefused("this network has no L1", code="l1_not_used")
        if isinstance(item, SignedReport):
            if not is_signed(self._network_id, item):
                raise ActionRefused("the L1 report is not signed by its key", code="l1_report_unsigned")
            if self._brought:
                raise ActionRefused("the L1 reports of a sub-block come before its facts", code="l1_report_late")
            if item.report.public_key in self._heard:
                raise ActionRefused("a sub-block takes one L1 report of a key", code="l1_report_repeated")
            self._state = l1.with_report(state, item.report, self._powers)
            self._heard.add(item.report.public_key)
            self._judged = False
            return
        state = self._judge(state)
        if l1.is_full(state, self._oldest_origin()):
            raise ActionRefused("the rollups have not used the L1 blocks agreed so far", code="l1_full")
        try:
            facts = decode_l1_facts(item)
        except CodecError as error:
            raise CodecError(error.message, code="l1_item_malformed", **error.fields) from error
        self._state = l1.with_facts(state, facts, self._powers)
        self._brought = True

    @property
    def state(self) -> L1State | None:
        """The agreed L1 data as the items so far make them."""
        return None if self._state is None else self._judge(self._state)

    @property
    def is_changing(self) -> bool:
        """Whether the rollups that derive from the L1 changed so lately that none can be bound."""
        return self._state is not None and not l1.may_change(self._state, self._slot)

    def is_bound(self, rollup_id: RollupId) -> bool:
        """Whether later L1 blocks say what they say to a rollup; for a while also to one that left."""
        return self._state is not None and self._state.binding(rollup_id) is not None

    def bind(self, config: OpStackConfig, is_registered: Callable[[RollupId], bool]) -> None:
        """Has later L1 blocks say what they say to a rollup; nothing that was reported counts for it. Those that left
        are let go with the same change: chains that are bound and leave in turn would otherwise stay for ever."""
        state = self.state
        assert state is not None, "a binding was applied"
        others = [
            one for one in state.bindings if one.chain_id != config.chain_id and is_registered(RollupId(one.chain_id))
        ]
        self._state = l1.with_bindings(state, (*others, config), self._slot)
        self._due_slot = NO_SLOT

    def forget_safe(self, rollup_id: RollupId) -> None:
        """Lets everybody say anew that they hold a chain."""
        state = self.state
        assert state is not None, "an anchor was applied"
        self._state = l1.without_safe(state, rollup_id)

    def _judge(self, state: L1State) -> L1State:
        """The state without what the reports heard so far contradict."""
        if not self._judged:
            state = self._state = self._without_wrong(state)
            self._judged = True
        return state

    @property
    def withholds_facts(self) -> bool:
        """Whether facts were due for some slots and this sub-block does not bring them."""
        if self._state is None or self._due_slot == NO_SLOT or self._slot < self._due_slot + L1_FACTS_DUE_SLOTS:
            return False
        state = self._judge(self._state)
        return state.head.number == self._head and l1.next_digest(state, self._powers) is not None

    def end(self, is_registered: Callable[[RollupId], bool]) -> L1State | None:
        """The agreed L1 data after the sub-block, given which rollups the registry has then."""
        if self._state is None:
            return None
        state = self._judge(self._state)
        kept = [config for config in state.bindings if is_registered(RollupId(config.chain_id))]
        if len(kept) < len(state.bindings) and l1.may_change(state, self._slot):
            state = l1.with_bindings(state, kept, self._slot)
        oldest = self._oldest_origin()
        before = state
        state = l1.forget_old(state, self._oldest_kept(state, oldest))
        self.final_deposits = l1_vault.final_deposits(before, state)
        state = l1_pauses.forget_pauses(state, {record.rollup_id for record in self._records}, self._slot)
        waiting = not l1.is_full(state, oldest) and l1.next_digest(state, self._powers) is not None
        due = NO_SLOT if not waiting else (state.due_slot or max(self._slot, Slot(1)))
        return state if due == state.due_slot else msgspec.structs.replace(state, due_slot=Slot(due))

    def _oldest_origin(self) -> int:
        """The oldest origin that a rollup still builds on; the agreed head's where none does."""
        head = 0 if self._state is None else self._state.head.number
        going = [record for record in self._records if record.epochs and record.rollup_id not in self._stuck]
        return min((record.epochs[-1].origin.number for record in going), default=head)

    def _oldest_kept(self, state: L1State, oldest: int) -> int:
        """The oldest origin that is kept: those of anchors too, while agreement need not wait for them."""
        return min([oldest, *(one for one in self._anchored if not l1.is_full(state, one))])

    def _without_wrong(self, state: L1State) -> L1State:
        """Takes back what the reports contradict."""
        reorged = l1.reorged_from(state, self._powers)
        if reorged is not None:
            state = l1.cut(state, reorged)
            wrong = {
                record.rollup_id: epoch.first_block
                for record in self._records
                for epoch in reversed(record.epochs)
                if epoch.origin.number >= reorged
            }
            return self._ordered(l1_pauses.with_waiting(l1.without_conflicts(state), ()), wrong, {})
        ids = {record.rollup_id for record in self._records}
        agreed = {key: number for key, number in l1.agreed_conflicts(state, self._powers).items() if key in ids}
        conflicts = l1_pauses.due_conflicts(state, agreed, self._slot)
        if not conflicts:
            return l1_pauses.with_waiting(state, agreed)
        safe = {record.rollup_id: l1.agreed_safe(state, record.rollup_id, self._powers) for record in self._records}
        ordered = self._ordered(l1_pauses.with_waiting(l1.without_conflicts(state), ()), conflicts, safe)
        return l1_pauses.with_carried_out(ordered, conflicts, self._slot) if ordered.orders else ordered

    def _ordered(
        self, state: L1State, wrong: dict[RollupId, BlockNumber], safe: dict[RollupId, BlockNumber]
    ) -> L1State:
        heads = self._heads
        records = [
            msgspec.structs.replace(
                record, head_number=heads.get(record.rollup_id, record.head_number), open_block=None
            )
            for record in self._records
        ]
        found = unwind_orders(records, wrong, safe, lambda record, number: can_go(record, number, state))
        lowest = {order.rollup_id: order.to_number for order in (*state.orders, *found)}
        for order in state.orders:
            lowest[order.rollup_id] = min(order.to_number, lowest[order.rollup_id])
        return msgspec.structs.replace(
            state, orders=tuple(UnwindOrder(rollup_id, lowest[rollup_id]) for rollup_id in sorted(lowest))
        )


def unwind_orders(
    records: Sequence[RollupRecord],
    wrong: Mapping[RollupId, BlockNumber],
    safe: Mapping[RollupId, BlockNumber],
    can: Callable[[RollupRecord, BlockNumber], bool],
) -> list[UnwindOrder]:
    """How far every rollup goes back so that the blocks in `wrong`, and all after them, are gone.

    All go back to the same slot, at which none of them has a block half way, so that no bundle is torn apart; only what
    is safe on L1 stays. Where there is no such slot near enough (block times that do not fit together), or a rollup
    that has to go back cannot go back that far, each goes back to before the block in which the earliest wrong one
    begins, and one that cannot only as far as it has to itself. A rollup that cannot go back far enough at all moves
    nobody.

    Args:
        records: of all rollups, with their heads.
        wrong: the first block that cannot stay, by rollup.
        safe: blocks that stay in any case, by rollup.
        can: whether a rollup can go back to a block.
    """

    def back(record: RollupRecord, number: int) -> BlockNumber:
        lowest = max(record.parameters.anchor_number, safe.get(record.rollup_id, 0))
        return BlockNumber(max(number, lowest))

    def before(record: RollupRecord, slot: Slot) -> BlockNumber:
        one = record.parameters
        return back(record, one.block_at(slot) - 1 if one.start_slot < slot else one.anchor_number)

    having = {
        record.rollup_id: back(record, wrong[record.rollup_id] - 1)
        for record in records
        if record.rollup_id in wrong and can(record, back(record, wrong[record.rollup_id] - 1))
    }
    if not having:
        return []
    parameters = [record.parameters for record in records]
    earliest = min(one.first_slot(wrong[one.rollup_id]) for one in parameters if one.rollup_id in having)
    slot = _boundary(parameters, earliest)
    if slot is None or not all(can(one, before(one, slot)) for one in records if one.rollup_id in having):
        slot = earliest
    orders = []
    for record in records:
        number = before(record, slot)
        if not can(record, number):
            number = having.get(record.rollup_id, number)
        orders.append(UnwindOrder(record.rollup_id, number))
    return orders


def _boundary(every: Sequence[RollupParameters], slot: Slot) -> Slot | None:
    """The last slot up to this one at which no rollup has a block half way; None further than a longest block away."""
    lowest = slot - BLOCK_TIME_SLOTS_MAX
    while slot >= lowest:
        earlier = min([slot, *(one.first_slot(one.block_at(slot)) for one in every if one.start_slot < slot)])
        if earlier == slot:
            return slot
        slot = earlier
    return None
