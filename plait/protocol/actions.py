"""The ledger's part of a sub-block: what is due, what was agreed, and the signed actions of the proposal.

    work = LedgerWork(ledger, slot, time_ms, agreed, ...)        evidence, participation, what is due
    work.run(raws)  or  work.attempt(actions, room)              checking a proposal, building one
    work.end(usage)                                              fees, epochs, validator updates

Actions run before bundles and items, in the order of the proposal, and every one of a proposal applies; one that cannot
be applied makes the proposal invalid, as a transaction does. While building, it is left out and named.

Level 4, pure: draws on nothing but its arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from plait.codec.l1_items import is_l1_item
from plait.crypto.actions import recover_action
from plait.errors import ActionRefused, CodecError, ConfigurationError, InvariantBroken, ProposalRefused
from plait.ledger import governance, joining, l1_vault, registry, steps
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy
from plait.ledger.l1 import L1State
from plait.ledger.rollup_records import RollupEntry, rollup_key
from plait.ledger.state import LedgerState
from plait.limits import ACTIONS_PER_SUB_BLOCK_MAX, L1_ITEMS_PER_SUB_BLOCK_MAX, REGISTRATIONS_PER_SUB_BLOCK_MAX
from plait.protocol.l1_work import L1Work
from plait.protocol.registry import Departure
from plait.types import Agreed, BlockNumber, Hash32, Height, Milliseconds, RollupId, Slot, ValidatorUpdate
from plait.types.action import AnchorRollup, BindRollup, RegisterRollup, SignedAction

GenesisHash = Callable[[RollupEntry], Hash32]
"""Hash of the genesis block that every node derives from a registration."""


class ActionFailed(msgspec.Struct, frozen=True, kw_only=True):
    """An action that was tried and left no trace."""

    hash: Hash32
    code: str
    sentence: str


class LedgerDone(msgspec.Struct, frozen=True, kw_only=True):
    """What a sub-block made of the economy and of the agreed L1 data."""

    economy: Economy
    l1: L1State | None
    entries: tuple[bytes, ...]
    """The proposal's list of actions: reports and facts of the L1 and actions of accounts, in their order."""
    actions: tuple[SignedAction, ...]
    effects: tuple[object, ...]
    validator_updates: tuple[ValidatorUpdate, ...]


class LedgerWork:
    """One sub-block's work on the economy.

    Args:
        ledger: before the sub-block, with the registry of its slot.
        slot: of the sub-block.
        time_ms: agreed time of the height.
        agreed: what the engine agreed on beside the proposal.
        departures: rollups that left at this slot, sealed.
        stuck: rollups for which the agreement about the L1 does not wait.
        heads: last sealed blocks of the rollups, as the sub-block's slot makes them.
        genesis_hash: for registrations.

    """

    def __init__(
        self,
        ledger: LedgerState,
        slot: Slot,
        time_ms: Milliseconds,
        agreed: Agreed,
        *,
        departures: Sequence[Departure],
        stuck: frozenset[RollupId] = frozenset(),
        heads: Mapping[RollupId, BlockNumber] = MappingProxyType({}),
        genesis_hash: GenesisHash,
    ) -> None:
        self.agreed = agreed
        self._draft = Draft(ledger.economy)
        self._context = SubBlockContext(
            height=Height(ledger.height + 1), slot=slot, time_ms=time_ms, network=ledger.parameters
        )
        self._genesis_hash = genesis_hash
        self._l1 = L1Work(ledger, slot, stuck, heads)
        self._entries: list[bytes] = []
        self._actions: list[SignedAction] = []
        self._registrations = 0
        cannot_join = joining.unready(ledger.economy, ledger.l1, slot)
        steps.begin(self._draft, self._context, agreed, cannot_join=cannot_join)
        for left in departures:
            registry.depart(
                self._draft, self._context, left.rollup_id, (left.head_number, left.head_hash), may_lag=left.may_lag
            )

    def run(self, raws: Sequence[bytes]) -> None:
        """Applies the actions of a proposal.

        Raises:
            ProposalRefused: `action_undecodable`, `action_duplicate`, or `action_not_applicable` with the reason, also
                for what is said of the L1.
        """
        seen: set[bytes] = set()
        for index, raw in enumerate(raws):
            if raw in seen:
                raise ProposalRefused(f"action {index} occurs twice", code="action_duplicate", index=index)
            seen.add(raw)
            try:
                action = None if is_l1_item(raw) else recover_action(raw, self._context.network_id)
            except (CodecError, ActionRefused) as error:
                raise ProposalRefused(
                    f"action {index} is not an acceptable action: {error.message}",
                    code="action_undecodable",
                    index=index,
                    reason=error.code,
                ) from error
            try:
                if action is None:
                    self._hear(raw)
                else:
                    self._act(action)
            except (ActionRefused, CodecError) as error:
                raise ProposalRefused(
                    f"action {index} cannot be applied: {error.message}",
                    code="action_not_applicable",
                    index=index,
                    reason=error.code,
                ) from error

    def hear(self, raws: Sequence[bytes], bytes_max: int) -> int:
        """Takes in what of reports and facts applies; returns how many bytes of the proposal that takes.

        Args:
            raws: in the order in which they are to be tried; what does not apply is passed over.
            bytes_max: room for them in the proposal.
        """
        used = 0
        for raw in raws[:L1_ITEMS_PER_SUB_BLOCK_MAX]:
            size = len(raw) + 4
            if used + size > bytes_max:
                continue
            try:
                self._hear(raw)
            except (ActionRefused, CodecError):
                continue
            used += size
        return used

    @property
    def withholds_facts(self) -> bool:
        """Whether the proposal must carry no items, because L1 facts are overdue (`L1Work.withholds_facts`)."""
        return self._l1.withholds_facts

    def attempt(self, actions: Sequence[SignedAction], bytes_max: int) -> tuple[int, list[ActionFailed]]:
        """Applies those actions that can be applied, as many as a sub-block has room for.

        Args:
            actions: in the order in which they are to be tried.
            bytes_max: room for them in the proposal.

        Returns:
            How many bytes of the proposal those take that were applied, and why others were not. What found no room, or
            is a registration beyond the bound or a binding too soon after another, waits.
        """
        registrations = 0
        failed: list[ActionFailed] = []
        taken = used = 0
        for action in actions:
            size = len(action.raw) + 4
            if taken == ACTIONS_PER_SUB_BLOCK_MAX or used + size > bytes_max:
                continue
            if isinstance(action.body, RegisterRollup):
                if registrations == REGISTRATIONS_PER_SUB_BLOCK_MAX:
                    continue
                registrations += 1
            if isinstance(action.body, BindRollup) and self._l1.is_changing:
                continue
            try:
                self._act(action)
            except ActionRefused as error:
                failed.append(ActionFailed(hash=action.hash, code=error.code, sentence=error.message))
                continue
            taken += 1
            used += size
        return used, failed

    def end(self, usage: Mapping[RollupId, int]) -> LedgerDone:
        """Closes the sub-block.

        Args:
            usage: transactions that each rollup ordered in it.
        """
        ended = steps.end(self._draft, self._context, usage)
        agreed_l1 = self._l1.end(self._is_registered)
        if agreed_l1 is not None:
            agreed_l1 = l1_vault.credit(self._draft, agreed_l1, self._l1.final_deposits)
        return LedgerDone(
            economy=self._draft.freeze(),
            l1=agreed_l1,
            entries=tuple(self._entries),
            actions=tuple(self._actions),
            effects=tuple(self._draft.effects),
            validator_updates=ended.validator_updates,
        )

    def _act(self, action: SignedAction) -> None:
        if isinstance(action.body, RegisterRollup):
            self._register(action, action.body)
        else:
            steps.act(self._draft, msgspec.structs.replace(self._context, l1=self._l1.state), action)
        if isinstance(action.body, BindRollup):
            self._l1.bind(joining.config_of(action.body), self._is_registered)
        elif isinstance(action.body, AnchorRollup):
            self._l1.forget_safe(action.body.rollup_id)
        self._actions.append(action)
        self._entries.append(action.raw)

    def _is_registered(self, rollup_id: RollupId) -> bool:
        return self._draft.rollups.get(rollup_key(rollup_id)) is not None

    def _hear(self, raw: bytes) -> None:
        if self._actions:
            # each action sees the L1 as judged so far: reports between them would have it judged again and again
            raise ActionRefused("what is said of the L1 comes before the actions of accounts", code="l1_report_late")
        self._l1.apply(raw)
        self._entries.append(raw)

    def _register(self, action: SignedAction, body: RegisterRollup) -> None:
        if self._registrations == REGISTRATIONS_PER_SUB_BLOCK_MAX:
            raise ActionRefused(
                f"a sub-block registers at most {REGISTRATIONS_PER_SUB_BLOCK_MAX} rollups", code="registry_busy"
            )
        if self._l1.is_bound(body.rollup_id) and not self._is_registered(body.rollup_id):
            raise ActionRefused(
                f"chain {body.rollup_id} was bound to the L1 a moment ago; a rollup with its id would derive from it",
                code="registry_busy",
            )
        mark = self._draft.checkpoint()
        steps.act(self._draft, self._context, action)
        try:
            self._check_genesis(body)
        except ActionRefused:
            self._draft.rollback(mark)
            raise
        self._registrations += 1

    def _check_genesis(self, body: RegisterRollup) -> None:
        entry = self._draft.rollups.get(rollup_key(body.rollup_id))
        if entry is None:
            raise InvariantBroken("a registered rollup is not in the registry", code="ledger_input_wrong")
        try:
            expected = self._genesis_hash(entry)
        except ConfigurationError as error:
            raise ActionRefused(
                f"no genesis can be made of the registration: {error.message}", code="rollup_parameters_invalid"
            ) from error
        found = entry.parameters.genesis_hash
        if found != expected:
            raise ActionRefused(
                f"the registration names the genesis block 0x{found.hex()}; what it describes has 0x{expected.hex()}",
                code="rollup_genesis_wrong",
                found=found.hex(),
                expected=expected.hex(),
            )


def require_upgrade(economy: Economy, height: Height, known: frozenset[Hash32]) -> None:
    """Stops a program that lacks a change which the network has decided.

    Args:
        economy: committed.
        height: that is to be decided.
        known: hashes of the changes that this program has.

    Raises:
        InvariantBroken: `upgrade_required`.
    """
    plan = governance.upgrade_due(economy, height)
    if plan is not None and plan.change_hash not in known:
        raise InvariantBroken(
            f"From height {plan.height} on the network runs {plan.name!r} (change 0x{plan.change_hash.hex()}), which "
            "this program does not have: install the version that has it and start the node again.",
            code="upgrade_required",
            height=plan.height,
            change=plan.change_hash.hex(),
        )
