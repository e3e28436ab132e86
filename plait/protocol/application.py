"""The one `Application` that every engine drives: prepare, process, finalize, commit.

Obligations (what an engine may rely on, and tests check)
1. `prepare` and `process` change nothing that `info`, later answers or storage could show; any number may be asked per
   height.
2. What `prepare` returns, `process` accepts, on every node at the same committed state and time.
3. `process` recomputes everything. Only a proposal that this very instance prepared is trusted without running it
   again (its execution is kept), and not even that with `recheck_own`.
4. `finalize` needs no earlier `process`; if the proposal was not executed here, it is checked in full. A decided
   proposal that breaks a rule means a broken network or a damaged log: InvariantBroken.
5. `commit` makes the finalized sub-block the state and forgets every other candidate.
6. Same genesis and same decided proposals give the same app hash, on any machine, Python version, hash seed and worker
   count. Where another node holds a rollup's state, whether and when it answers decides what `prepare` takes, and
   nothing else: `process` and `finalize` give their one answer, or fail and may be asked again.

Synchronous, single-threaded by contract: the adapter calls from one thread at a time. Knows no engine, no clock, no
socket. Level 4.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Mapping

from plait.errors import CodecError, InvariantBroken, ProposalRefused, Unavailable
from plait.ledger import joining, registry
from plait.ledger.encoding import ledger_root
from plait.ledger.l1 import undo_blocks
from plait.ledger.rollup_records import RollupEntry
from plait.ledger.state import LedgerState
from plait.limits import CANDIDATES_MAX
from plait.native import NativeError, Rollup, Store
from plait.protocol.actions import LedgerWork, require_upgrade
from plait.protocol.building import build
from plait.protocol.checking import check_agreed, check_commitment, check_facts, check_position, finish, run_items
from plait.protocol.effects import Finalized
from plait.protocol.grid import slot_at
from plait.protocol.proposal import decode_proposal, genesis_app_hash, proposal_hash_of
from plait.protocol.registry import RollupSource
from plait.protocol.requests import (
    Accepted,
    ApplicationInfo,
    Committed,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Refused,
    Verdict,
)
from plait.protocol.sub_block import Advanced, Base, Executed, advance, heads_of
from plait.protocol.unwinding import GoneBack, go_back
from plait.types import Agreed, Hash32, Height, Milliseconds, RollupId


class Application:
    """The sequencing protocol over a ledger and its rollups."""

    def __init__(
        self,
        ledger: LedgerState,
        rollups: Mapping[RollupId, Rollup],
        source: RollupSource,
        *,
        app_hash: Hash32 | None = None,
        recheck_own: bool = False,
        store: Store | None = None,
        changes: frozenset[Hash32] = frozenset(),
    ) -> None:
        """Starts at a committed state.

        Args:
            ledger: genesis (`genesis_state`) or a snapshot's ledger.
            rollups: every registered rollup, at the state that the ledger names.
            source: payload attributes and L1 origins, the same pure function on every node.
            app_hash: of the ledger's height; None at genesis, where it follows from the ledger.
            recheck_own: also execute proposals again that this instance prepared.
            store: where rollups that join keep their blocks; None for memory.
            changes: upgrades that this program has, by the hash that governance decided.

        Raises:
            InvariantBroken: `state_mismatch` when a rollup's head is not the ledger's, or the app hash is missing.
        """
        _require_state(ledger, rollups, app_hash)
        start = app_hash if app_hash is not None else genesis_app_hash(ledger_root(ledger))
        self._base = Base(ledger, start)
        self._rollups = {rollup_id: rollups[rollup_id] for rollup_id in ledger.rollup_ids}
        self._source = source
        self._store = store if store is not None else Store.in_memory()
        self._changes = changes
        self._joining: dict[RollupId, Rollup] = {}
        self._prepare_joins()
        self._recheck_own = recheck_own
        self._advanced: tuple[Milliseconds, Advanced] | None = None
        self._back: tuple[LedgerState, GoneBack] | None = None
        self._executed: OrderedDict[Hash32, Executed] = OrderedDict()
        self._prepared: set[Hash32] = set()
        self._finalized: Executed | None = None

    # ------------------------------------------------------------ reads
    @property
    def ledger(self) -> LedgerState:
        """The committed ledger."""
        return self._base.ledger

    @property
    def app_hash(self) -> Hash32:
        """App hash of the committed height."""
        return self._base.app_hash

    @property
    def rollups(self) -> Mapping[RollupId, Rollup]:
        """The native rollups, ascending by id."""
        return self._rollups

    def info(self) -> ApplicationInfo:
        """Where the committed state stands."""
        ledger = self._base.ledger
        return ApplicationInfo(
            height=ledger.height,
            app_hash=self._base.app_hash,
            slot=ledger.slot,
            sub_index=ledger.sub_index,
            time_ms=ledger.time_ms,
        )

    def statistics(self) -> dict[str, int]:
        """Candidates alive and their bound."""
        return {"candidates": len(self._executed), "candidates_max": CANDIDATES_MAX}

    # ------------------------------------------------------------ the four questions
    def prepare(self, request: PrepareRequest) -> PreparedProposal:
        """Builds a proposal for the next height from candidates.

        Raises:
            Unavailable: `height_not_next` when the request is not for the height after the committed one.
            ProposalRefused: `time_before_previous` when its time is before the committed one; no proposal can be valid
            then.
            NativeError: a block cannot be opened, because state that another node holds cannot be read now
            (`plait.native.unread`).
        """
        if request.height != self._base.ledger.height + 1:
            raise Unavailable(
                f"height {request.height} cannot be prepared after height {self._base.ledger.height}",
                code="height_not_next",
                height=request.height,
            )
        require_upgrade(self._base.ledger.economy, request.height, self._changes)
        advanced = self._advance(request.time_ms)
        built = build(self._base, advanced, self._begin(advanced, request.time_ms, request.agreed), request)
        executed = built.executed
        self._keep(executed, prepared=True)
        return PreparedProposal(
            proposal=executed.proposal,
            proposal_hash=executed.effect.proposal_hash,
            transactions=executed.effect.transactions,
            dropped=built.dropped,
            deferred=built.deferred,
            bundles_failed=tuple(built.bundles.failed),
            relays_refused=built.relays_refused,
            actions_failed=built.actions_failed,
            bundles_deferred=built.bundles.deferred,
            unread=built.unread,
        )

    def process(self, request: ProcessRequest) -> Verdict:
        """Decides whether a proposal is valid for the next height. Never raises on bad input.

        Raises:
            NativeError: state that another node holds cannot be read now; ask again, nothing has changed.
        """
        proposal_hash = proposal_hash_of(request.proposal)
        known = self._executed.get(proposal_hash)
        own = proposal_hash in self._prepared
        if known is not None and _same_question(known, request) and not (own and self._recheck_own):
            return Accepted(proposal_hash=proposal_hash)
        try:
            executed = self._execute(request, None)
        except (CodecError, ProposalRefused) as refusal:
            return Refused(code=refusal.code, sentence=refusal.message, fields=refusal.fields)
        self._prepared.discard(proposal_hash)
        self._keep(executed, prepared=False)
        return Accepted(proposal_hash=proposal_hash)

    def finalize(self, request: FinalizeRequest) -> Finalized:
        """Takes a decided proposal. May be asked again for the same height until `commit`; the last answer counts.

        Raises:
            InvariantBroken: `decided_proposal_invalid` when the proposal breaks a rule at the committed state.
            NativeError: as `process`.
        """
        executed = self._executed.get(proposal_hash_of(request.proposal))
        if executed is None or not _same_question(executed, request):
            try:
                executed = self._execute(request, request.senders)
            except (CodecError, ProposalRefused) as refusal:
                raise InvariantBroken(
                    f"the decided proposal of height {request.height} is not valid here ({refusal.code}): "
                    f"{refusal.message}",
                    code="decided_proposal_invalid",
                    height=request.height,
                    rule=refusal.code,
                ) from refusal
            self._keep(executed, prepared=False)
        self._finalized = executed
        return Finalized(app_hash=executed.effect.app_hash, effect=executed.effect)

    def commit(self) -> Committed:
        """Makes the finalized sub-block the committed state.

        Raises:
            InvariantBroken: `nothing_finalized`.
        """
        executed = self._finalized
        if executed is None:
            raise InvariantBroken("commit without finalize", code="nothing_finalized")
        every = {**self._rollups, **self._joining}
        executed.candidate.adopt(every)
        self._base = Base(executed.ledger, executed.effect.app_hash)
        self._rollups = {rollup_id: every[rollup_id] for rollup_id in executed.ledger.rollup_ids}
        self._prepare_joins()
        self._forget()
        # between two heights no vote waits for it, and all nodes do it at the same time
        with contextlib.suppress(NativeError):
            self._gone_back()
        return Committed(height=executed.ledger.height, app_hash=self._base.app_hash, retain_height=Height(0))

    def replace(self, ledger: LedgerState, rollups: Mapping[RollupId, Rollup], app_hash: Hash32) -> None:
        """Goes on from another committed state of the same network, taken over between two heights.

        Raises:
            InvariantBroken: `state_mismatch` as at the start.
        """
        _require_state(ledger, rollups, app_hash)
        self._base = Base(ledger, app_hash)
        self._rollups = {rollup_id: rollups[rollup_id] for rollup_id in ledger.rollup_ids}
        self._joining = {}
        self._prepare_joins()
        self._forget()

    # ------------------------------------------------------------ inside
    def _prepare_joins(self) -> None:
        """Makes the rollups that are registered and have not joined yet; forgets those whose registration ended."""
        pending = registry.pending(self._base.ledger.economy)
        waiting = {entry.rollup_id: entry for entry in pending if entry.joining is None or self._is_here(entry)}
        if waiting.keys() != self._joining.keys():
            self._joining = {
                rollup_id: self._joining.get(rollup_id)
                or Rollup.from_genesis(
                    self._source.genesis_json(entry), self._store, undo_blocks=undo_blocks(self._base.ledger.l1)
                )
                for rollup_id, entry in waiting.items()
            }

    def _is_here(self, entry: RollupEntry) -> bool:
        """Whether a chain that existed was taken up at its anchor."""
        held = self._joining.get(entry.rollup_id)
        anchor = None if entry.joining is None else entry.joining.anchor
        return held is not None and anchor is not None and held.head.hash == anchor.block.hash

    def _bring_in(self, time_ms: Milliseconds) -> None:
        """Takes up chains that existed and join by the slot of this time at the latest.

        Raises:
            InvariantBroken: `rollup_import_missing`.
        """
        ledger = self._base.ledger
        slot = slot_at(ledger.parameters, time_ms)
        unready = joining.unready(ledger.economy, ledger.l1, slot)
        for entry in registry.pending(ledger.economy):
            due = entry.joining is not None and entry.begins_slot <= slot and entry.rollup_id not in unready
            if due and not self._is_here(entry):
                self._joining[entry.rollup_id] = self._source.existing(entry, self._store)

    def _gone_back(self) -> GoneBack:
        """The committed state with its orders to go back carried out; made once, whatever rounds and times a height
        sees: a long way back takes longer than a round."""
        ledger = self._base.ledger
        if self._back is None or self._back[0] is not ledger:
            self._back = (ledger, go_back(ledger, self._rollups))
        return self._back[1]

    def _advance(self, time_ms: Milliseconds) -> Advanced:
        """All rollups at the slot of this time, on a candidate of its own. Rival proposals of one time share the
        sealing of blocks."""
        if self._advanced is None or self._advanced[0] != time_ms:
            self._bring_in(time_ms)
            every = {**self._rollups, **self._joining}
            self._advanced = (time_ms, advance(self._base, every, self._source, time_ms, self._gone_back()))
        advanced = self._advanced[1]
        return advanced._replace(candidate=advanced.candidate.fork())

    def _begin(self, advanced: Advanced, time_ms: Milliseconds, agreed: Agreed) -> LedgerWork:
        return LedgerWork(
            advanced.ledger,
            advanced.position.slot,
            time_ms,
            agreed,
            departures=advanced.departures,
            stuck=advanced.stuck,
            heads=heads_of(advanced),
            genesis_hash=self._genesis_hash,
        )

    def _genesis_hash(self, entry: RollupEntry) -> Hash32:
        return Hash32(Rollup.from_genesis(self._source.genesis_json(entry), Store.in_memory()).genesis_hash)

    def _execute(self, request: ProcessRequest | FinalizeRequest, senders: bytes | None) -> Executed:
        """Checks every rule and executes.

        Raises:
            CodecError, ProposalRefused: the first broken rule.
            InvariantBroken: `upgrade_required`.
        """
        require_upgrade(self._base.ledger.economy, request.height, self._changes)
        data, time_ms = request.proposal, request.time_ms
        proposal = decode_proposal(data)
        check_agreed(self._base, proposal.header, request.height, time_ms)
        advanced = self._advance(time_ms)
        check_position(advanced, proposal)
        commitment = check_commitment(advanced.ledger, proposal)
        work = self._begin(advanced, time_ms, request.agreed)
        work.run(proposal.actions)
        check_facts(work, proposal)
        runs, bundles, messages = run_items(advanced, proposal, time_ms, senders)
        return finish(
            self._base,
            advanced,
            runs,
            bundles,
            messages,
            proposal=proposal,
            data=data,
            commitment=commitment,
            work=work,
            time_ms=time_ms,
        )

    def _keep(self, executed: Executed, *, prepared: bool) -> None:
        proposal_hash = executed.effect.proposal_hash
        self._executed[proposal_hash] = executed
        self._executed.move_to_end(proposal_hash)
        if prepared:
            self._prepared.add(proposal_hash)
        while len(self._executed) > CANDIDATES_MAX:
            oldest, _ = self._executed.popitem(last=False)
            self._prepared.discard(oldest)

    def _forget(self) -> None:
        self._executed.clear()
        self._prepared.clear()
        self._advanced = None
        self._back = None
        self._finalized = None


def _same_question(executed: Executed, request: ProcessRequest | FinalizeRequest) -> bool:
    asked = (request.height, request.time_ms, request.agreed)
    return (executed.header.height, executed.header.time_ms, executed.effect.agreed) == asked


def _require_state(ledger: LedgerState, rollups: Mapping[RollupId, Rollup], app_hash: Hash32 | None) -> None:
    if app_hash is None and ledger.height != 0:
        raise InvariantBroken(
            "an app hash is needed to start above genesis", code="state_mismatch", height=ledger.height
        )
    if not set(ledger.rollup_ids) <= set(rollups):
        raise InvariantBroken("a rollup of the ledger is missing", code="state_mismatch", height=ledger.height)
    for record in ledger.rollups:
        head = rollups[record.rollup_id].head
        if (head.number, head.hash) != (record.head_number, record.head_hash):
            raise InvariantBroken(
                f"rollup {record.rollup_id} stands at block {head.number} 0x{head.hash.hex()}, "
                f"the ledger at {record.head_number} 0x{record.head_hash.hex()}",
                code="state_mismatch",
                rollup_id=record.rollup_id,
            )
