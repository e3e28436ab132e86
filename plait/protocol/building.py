"""`prepare`: a proposal from candidates. What it builds is what `process` accepts; which candidates it takes is its
own affair.

Ledger actions come first: what cannot be applied is left out and named. Then bundles: each is tried on the advanced
open blocks (`plait.protocol.bundles`); what fails leaves no trace.
Relays come last (`plait.protocol.relaying`).

Every rollup's candidates are then ordered by its policy, cut to the room of the proposal, and run on the advanced open
blocks. What cannot be applied is left out: for good when it never can be (the pool drops it), or until a later
sub-block (block gas, data availability, fees).

A plain transaction may execute a message that exists before the plain transactions run: one of an earlier sub-block or
of a bundle. One whose message may still come waits; any other is dropped, and so is one that demands a delivery in its
bundle, because it is in none.

Leaving a transaction out can put the rest out of order: when its sender's next one still applied, because the nonce had
moved without it (the candidate was stale, or an EIP-7702 authorization used the nonce). Then the run is undone and the
rest ordered and run again; no proposal leaves here that `process` would refuse.

Where another node holds a rollup's state, transactions, bundles and relays for which it cannot be read now are left
out, and so are those after which sealing the block would lack some: a proposal never needs what is not known here. Any
of them waits; only the rollup's own block, which has to be opened, may keep a proposal from being built.

Level 4.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import compress, islice
from typing import NamedTuple

from plait.crypto.commitments import commit
from plait.errors import ProposalRefused
from plait.execution.bundles import Marks, no_deliveries
from plait.execution.candidate import Candidate
from plait.execution.messages import (
    InteropSets,
    Ran,
    delivered_messages,
    demanded_by,
    lookup_of,
    never_comes,
    refuse_declared,
    refuse_messages,
    sent_messages,
)
from plait.execution.relaying import deliver_by
from plait.interop.messages import CROSS_L2_INBOX
from plait.interop.relays import Relay
from plait.interop.validity import AWAITED_CODES
from plait.ledger.state import LedgerState
from plait.limits import (
    MESSAGES_ASKED_PER_SUB_BLOCK_MAX,
    MESSAGES_PER_STEP_MAX,
    MESSAGES_PER_TRANSACTION_MAX,
    PROPOSAL_BYTES_MAX,
    PROPOSAL_ITEMS_MAX,
    PROPOSAL_REPAIRS_MAX,
    RELAYS_PER_SUB_BLOCK_MAX,
)
from plait.native import NativeError, Outcomes, Transaction, declaring
from plait.native.unread import is_unread
from plait.ordering.policy import Ordered, check_order, order
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.actions import ActionFailed, LedgerWork
from plait.protocol.bundles import BundlesBuilt, BundleWork, build_bundles
from plait.protocol.proposal import ITEM_OVERHEAD_BYTES, encode_items
from plait.protocol.relaying import RelayRefused, RelaysRun, RelayWork, Room, build_relays
from plait.protocol.requests import Dropped, PrepareRequest, Unread
from plait.protocol.sub_block import Advanced, Base, Executed, Messages, Run, assemble, complete, sets_of
from plait.types import Hash32, Milliseconds, RollupId, Seconds, Wei

FRAME_BYTES_PER_ROLLUP = 128
"""Upper bound of what a rollup adds to a proposal without items: roots, ids, list prefixes; sealed blocks are counted
apart."""
FRAME_BYTES = 1_024
SEALED_BLOCK_BYTES = 48

_INCLUDED = bytes(int(status != 2) for status in range(256))
_MESSAGES_AWAITED = AWAITED_CODES | {"message_missing"}
"""Refusals of a declared message that time may heal; a log that is missing may still come into an open block."""
_CAREFUL_MAX = 64
"""Transactions after each of which sealing is tried, where it would lack state after all of them."""
_RETRIED = frozenset({"nonce_too_high", "fee_cap_too_low", "block_gas_limit_reached", "block_da_limit_reached"})


class Built(NamedTuple):
    """An executed sub-block of our own, and what did not go in."""

    executed: Executed
    dropped: tuple[Dropped, ...]
    deferred: int
    bundles: BundlesBuilt
    relays_refused: tuple[RelayRefused, ...]
    actions_failed: tuple[ActionFailed, ...]
    unread: tuple[Unread, ...]


def build(base: Base, advanced: Advanced, work: LedgerWork, request: PrepareRequest) -> Built:
    """Orders, packs and runs candidates on top of `advanced`, whose candidate is used up, and actions with `work`."""
    ledger = advanced.ledger
    open_ids = [rollup_id for rollup_id in ledger.rollup_ids if rollup_id not in advanced.closed]
    bytes_left = _bytes_left(ledger, advanced, request.bytes_max)
    bytes_left -= work.hear(request.l1_items, bytes_left)
    if work.withholds_facts:
        open_ids = []
    queues = {rollup_id: request.candidates.get(rollup_id, ()) for rollup_id in open_ids}
    total = sum(len(queue) for rollup_queues in queues.values() for queue in rollup_queues)
    runs: dict[RollupId, Run] = {}
    dropped: list[Dropped] = []
    unread: list[Unread] = []
    sets = sets_of(ledger)
    candidate = advanced.candidate
    actions_bytes, actions_failed = work.attempt(request.actions, bytes_left)
    bytes_left -= actions_bytes
    open_sets = {rollup_id: one for rollup_id, one in sets.items() if rollup_id in open_ids}
    deliver = no_deliveries if request.relayer is None else deliver_by(request.relayer, open_sets)
    registered = set(open_ids)
    offered = [one for one in request.bundles if one.bundle.terms.rollup_ids <= registered]
    trials = BundleWork(offered, request.time_ms, bytes_left, sets, deliver)
    bundles = build_bundles(candidate, advanced.position, trials)
    bytes_left -= bundles.bytes
    items_left = PROPOSAL_ITEMS_MAX - bundles.run.transactions
    if total and advanced.position.carries_items:
        ordering = _Ordering(ledger, candidate, request.time_ms)
        ordered = _order_all(ordering, queues)
        packed = _pack(ordered, bytes_left, items_left)
        packed = _executable(ordering, sets, packed, dropped)
        marks = candidate.checkpoint()
        runs = _run_known(ordering, sets, packed, dropped, unread)
        if refuse_messages(candidate, sets, _ran(runs)) is not None:  # no known way to get here; all of them wait
            candidate.rollback(marks)
            runs = {}
    plain = sum(len(run.transactions) for run in runs.values())
    bytes_left -= sum(len(item) + 4 for run in runs.values() for item in run.items)
    room = Room(bytes_left, items_left - plain)
    relays, messages = _relay(sets, advanced, request, bundles, runs, open_sets=open_sets, room=room)
    runs = assemble(runs, bundles.run, relays.transactions)
    commitment = commit(ledger.rollup_ids, {rollup_id: run.items for rollup_id, run in runs.items()})
    executed = complete(
        base, advanced, runs, request.time_ms, commitment, work=work, bundles=bundles.run, messages=messages
    )
    deferred = total - plain - len(dropped)
    return Built(
        executed, tuple(dropped), deferred, bundles, tuple(relays.refused), tuple(actions_failed), tuple(unread)
    )


class _Ordering:
    """Orders plain transactions as their rollups want them, on the open blocks of a candidate."""

    def __init__(self, ledger: LedgerState, candidate: Candidate, time_ms: Milliseconds) -> None:
        self.candidate = candidate
        self._policies = {record.rollup_id: record.parameters.ordering for record in ledger.rollups}
        self._time_ms = time_ms

    def of(self, rollup_id: RollupId, queues: Sequence[SenderQueue]) -> Ordered:
        """The columns of sender queues."""
        policy, base_fee = self._policies[rollup_id], self._base_fee(rollup_id)
        return order(policy, queues, base_fee=base_fee, time_ms=self._time_ms)

    def again(self, rollup_id: RollupId, columns: Ordered, kept: bytes | bytearray) -> Ordered:
        """Columns of which some were taken out: what is left in the order that it then has."""
        rest = Ordered(list(compress(columns.transactions, kept)), list(compress(columns.stamps_ms, kept)))
        return self.of(rollup_id, _queues(rest))

    def holds(self, rollup_id: RollupId, columns: Ordered) -> bool:
        """Whether columns are in order."""
        policy, base_fee = self._policies[rollup_id], self._base_fee(rollup_id)
        try:
            check_order(policy, rollup_id, *columns, base_fee=base_fee, time_ms=self._time_ms)
        except ProposalRefused:
            return False
        return True

    def _base_fee(self, rollup_id: RollupId) -> Wei:
        block = self.candidate.open_block(rollup_id)
        return Wei(0 if block is None else block.base_fee)


def _executable(
    ordering: _Ordering, sets: InteropSets, packed: dict[RollupId, Ordered], dropped: list[Dropped]
) -> dict[RollupId, Ordered]:
    """The columns without transactions whose messages are not valid now; those that never will be are dropped."""
    candidate = ordering.candidate
    kept = dict(packed)
    lookup = lookup_of(candidate)
    room, asked_max = MESSAGES_PER_STEP_MAX - RELAYS_PER_SUB_BLOCK_MAX, MESSAGES_ASKED_PER_SUB_BLOCK_MAX
    for rollup_id, columns in packed.items():
        transactions = columns.transactions
        interop_set, block = sets.get(rollup_id), candidate.open_block(rollup_id)
        if interop_set is None or block is None:
            continue
        mask = bytearray(b"\x01") * len(transactions)
        for index in declaring(transactions, CROSS_L2_INBOX):
            transaction = transactions[index]
            messages = len(transaction.access_list_keys(CROSS_L2_INBOX)) // 2
            if min(room, asked_max) < messages <= 2 * MESSAGES_PER_TRANSACTION_MAX:  # it waits; more are refused unread
                mask[index] = 0
                continue
            asked_max -= messages
            failure = refuse_declared(interop_set, rollup_id, Seconds(block.timestamp), transaction, lookup)
            if failure is None:
                room -= messages
                continue
            mask[index] = 0
            lost = failure.code == "message_missing" and never_comes(candidate, transaction, lookup)
            if lost or failure.code not in _MESSAGES_AWAITED:
                dropped.append(Dropped(rollup_id, Hash32(transaction.hash), failure.code, failure.sentence))
        if not all(mask):
            kept[rollup_id] = ordering.again(rollup_id, columns, mask)
    return kept


def _reaches(relay: Relay, open_sets: InteropSets) -> bool:
    return {RollupId(relay.sent.destination), RollupId(relay.message.identifier.chain_id)} <= open_sets.keys()


def _relay(
    sets: InteropSets,
    advanced: Advanced,
    request: PrepareRequest,
    bundles: BundlesBuilt,
    runs: Mapping[RollupId, Run],
    *,
    open_sets: InteropSets,
    room: Room,
) -> tuple[RelaysRun, Messages]:
    """Relays what was sent, and says what the sub-block did with messages."""
    candidate = advanced.candidate
    plain = _ran(runs)
    sent = [*bundles.run.sent, *sent_messages(candidate, sets, plain)]
    delivered = frozenset(bundles.run.delivered) | delivered_messages(sets, plain)
    relays = RelaysRun({}, [])
    if request.relayer is not None and advanced.position.carries_items and (sent or request.relays):
        marks = candidate.checkpoint()
        undelivered = [relay for relay in sent if relay.message_hash not in delivered and _reaches(relay, open_sets)]
        waiting = [relay for relay in request.relays if _reaches(relay, open_sets)]
        work = RelayWork(request.relayer, undelivered, waiting)
        relays = build_relays(candidate, open_sets, work, room)
        relays = _sealable(candidate, relays, work, marks)
        whole = {i: [*plain.get(i, ()), *relays.ran.get(i, ())] for i in sorted({*plain, *relays.ran})}
        if refuse_messages(candidate, sets, whole) is not None:  # no known way to get here; what was sent waits
            candidate.rollback(marks)
            relays = RelaysRun({}, [])
        sent += sent_messages(candidate, sets, relays.ran)
        delivered |= delivered_messages(sets, relays.ran)
    return relays, Messages(tuple(sent), delivered)


def _sealable(candidate: Candidate, relays: RelaysRun, work: RelayWork, marks: Marks) -> RelaysRun:
    """The relays, or none where sealing would lack state after them."""
    try:
        candidate.require_sealable(relays.ran)
    except NativeError as error:
        if not is_unread(error):
            raise
        candidate.rollback(marks)
        code, sentence = error.code, str(error)
        return RelaysRun({}, [RelayRefused(relay, code, sentence) for relay in (*work.sent, *work.waiting)])
    return relays


def _ran(runs: Mapping[RollupId, Run]) -> dict[RollupId, list[Ran]]:
    """What ran of plain transactions, per rollup."""
    found: dict[RollupId, list[Ran]] = {}
    for rollup_id, run in runs.items():
        if run.outcomes is not None:
            found[rollup_id] = [Ran(run.tried, run.outcomes)]
    return found


def _run_known(
    ordering: _Ordering,
    sets: InteropSets,
    packed: dict[RollupId, Ordered],
    dropped: list[Dropped],
    unread: list[Unread],
) -> dict[RollupId, Run]:
    """`_run`, without what lacks state: at first all of it, then without those that do so alone, then without the
    rollups that lack some even so."""
    candidate = ordering.candidate
    remote = sorted(candidate.remote & packed.keys())
    if not remote:
        return _run(ordering, sets, packed, dropped)
    marks = candidate.checkpoint()
    for attempt in range(2):
        gone: list[Dropped] = []
        try:
            runs = _run(ordering, sets, packed, gone)
            candidate.require_sealable(runs)
        except NativeError as error:
            if not is_unread(error):
                raise
            failed = error
        else:
            dropped.extend(gone)
            return runs
        candidate.rollback(marks)
        for rollup_id in remote:
            if attempt:
                unread.extend(_waiting(rollup_id, packed.pop(rollup_id).transactions, failed))
            else:
                packed[rollup_id] = _readable(candidate, rollup_id, packed[rollup_id], unread)
    return _run(ordering, sets, packed, dropped)


def _readable(
    candidate: Candidate, rollup_id: RollupId, columns: Ordered, unread: list[Unread], *, careful: bool = False
) -> Ordered:
    """What is left of a remote rollup's ordered columns without each transaction that cannot be read, and the later
    ones of its sender; where sealing would lack state even so, without those that bring that about.

    With `careful` sealing is tried after each of them, so that few are looked at; the others stay for later.
    """
    session = candidate.session(rollup_id)
    mark = session.checkpoint()
    kept, stamps, ended = list[Transaction](), list[Milliseconds](), set[bytes]()
    for transaction, stamp_ms in islice(zip(*columns, strict=True), _CAREFUL_MAX if careful else None):
        if transaction.sender in ended:
            continue
        before = session.checkpoint()
        try:
            ran = session.run([transaction])
            if careful:
                candidate.require_sealable((rollup_id,))
        except NativeError as error:
            if not is_unread(error):
                raise
            session.rollback(before)
            ended.add(transaction.sender)
            unread.extend(_waiting(rollup_id, (transaction,), error))
            continue
        if ran.statuses[0] == 2:
            ended.add(transaction.sender)
        kept.append(transaction)
        stamps.append(stamp_ms)
    found = Ordered(kept, stamps)
    try:
        candidate.require_sealable((rollup_id,) if kept else ())
    except NativeError as error:
        session.rollback(mark)
        if not is_unread(error) or careful:
            raise
        return _readable(candidate, rollup_id, found, unread, careful=True)
    session.rollback(mark)
    return found


def _waiting(rollup_id: RollupId, transactions: Sequence[Transaction], error: NativeError) -> list[Unread]:
    code, sentence = error.code, str(error)
    return [Unread(rollup_id, Hash32(transaction.hash), code, sentence) for transaction in transactions]


def _run(
    ordering: _Ordering, sets: InteropSets, packed: dict[RollupId, Ordered], dropped: list[Dropped]
) -> dict[RollupId, Run]:
    """Runs ordered columns; what was left out for good is added to `dropped`. What is returned is in order."""
    candidate = ordering.candidate
    demanded: set[RollupId] = set()
    for repairs in range(PROPOSAL_REPAIRS_MAX + 1):
        if repairs == PROPOSAL_REPAIRS_MAX:
            for rollup_id in sorted(demanded & packed.keys()):
                packed[rollup_id] = _one_by_one(candidate, rollup_id, packed[rollup_id], dropped)
        marks = {rollup_id: candidate.session(rollup_id).checkpoint() for rollup_id in packed}
        outcomes = candidate.run({i: columns.transactions for i, columns in packed.items()}, on_invalid="skip")
        runs: dict[RollupId, Run] = {}
        included: dict[RollupId, Ordered] = {}
        repaired = False
        for rollup_id, ran in outcomes.items():
            columns = packed[rollup_id]
            demanding = demanded_by(ran) if rollup_id in sets else set()
            if demanding:
                dropped.extend(_demanding(rollup_id, columns.transactions, demanding))
                mask = bytes(int(at not in demanding) for at in range(len(ran)))
                included[rollup_id] = ordering.again(rollup_id, columns, mask)
                demanded.add(rollup_id)
                repaired = True
                continue
            run = _included(columns, ran)
            if len(run.transactions) < len(ran):
                block = candidate.open_block(rollup_id)
                gas_limit = block.gas_limit if block is not None else 0
                dropped.extend(_never_applicable(rollup_id, columns.transactions, ran, gas_limit))
                columns = Ordered(list(run.transactions), list(compress(columns.stamps_ms, _mask(ran))))
                if not ordering.holds(rollup_id, columns):
                    columns = ordering.of(rollup_id, _queues(columns))
                    repaired = True
            if run.transactions:
                runs[rollup_id] = run
                included[rollup_id] = columns
        if not repaired:
            return runs
        candidate.rollback(marks)
        packed = included
    return {}


def _one_by_one(candidate: Candidate, rollup_id: RollupId, columns: Ordered, dropped: list[Dropped]) -> Ordered:
    """What is left of ordered columns when each transaction that demands a delivery is taken out where it shows:
    demands may come and go with what ran before. Running what is left gives the same again.

    With a transaction go all later ones of its sender, so that the rest stays in order.
    """
    session = candidate.session(rollup_id)
    mark = session.checkpoint()
    kept: list[Transaction] = []
    stamps: list[Milliseconds] = []
    ended: set[bytes] = set()
    for place, (transaction, stamp_ms) in enumerate(zip(*columns, strict=True)):
        if transaction.sender in ended:
            continue
        before = session.checkpoint()
        ran = session.run([transaction])
        if ran.statuses[0] == 2:
            ended.add(transaction.sender)
        elif demanded_by(ran):
            session.rollback(before)
            ended.add(transaction.sender)
            dropped.extend(_demanding(rollup_id, columns.transactions, {place}))
        else:
            kept.append(transaction)
            stamps.append(stamp_ms)
    session.rollback(mark)
    return Ordered(kept, stamps)


def _queues(columns: Ordered) -> list[SenderQueue]:
    """Applied transactions as queues again, each up to the first nonce that is missing."""
    queues: dict[bytes, list[Ready]] = {}
    ended: set[bytes] = set()
    for transaction, stamp_ms in zip(*columns, strict=True):
        sender = transaction.sender
        queue = queues.setdefault(sender, [])
        if sender in ended or (queue and queue[-1].transaction.nonce + 1 != transaction.nonce):
            ended.add(sender)
        else:
            queue.append(Ready(transaction, stamp_ms))
    return [tuple(queue) for queue in queues.values()]


def _order_all(ordering: _Ordering, queues: Mapping[RollupId, Sequence[SenderQueue]]) -> dict[RollupId, Ordered]:
    """Ordered columns of every rollup that has candidates and an open block."""
    ordered: dict[RollupId, Ordered] = {}
    for rollup_id, waiting in queues.items():
        if waiting and ordering.candidate.open_block(rollup_id) is not None:
            columns = ordering.of(rollup_id, waiting)
            if columns.transactions:
                ordered[rollup_id] = columns
    return ordered


def _bytes_left(ledger: LedgerState, advanced: Advanced, bytes_max: int) -> int:
    """Bytes of a proposal that items may fill."""
    sealed = sum(map(len, advanced.sealed.values()))
    frame = FRAME_BYTES + FRAME_BYTES_PER_ROLLUP * len(ledger.rollups) + SEALED_BLOCK_BYTES * sealed
    return max(0, min(bytes_max, PROPOSAL_BYTES_MAX) - frame)


def _pack(ordered: Mapping[RollupId, Ordered], bytes_left: int, items_left: int) -> dict[RollupId, Ordered]:
    """Cuts every rollup's columns so that all fit: small demands first, each rollup at most an equal share of what is
    left.

    A cut column is a prefix, so it is in its policy's order and holds no transaction without its sender's earlier ones.
    """
    sizes = {
        rollup_id: [transaction.size + ITEM_OVERHEAD_BYTES for transaction in columns.transactions]
        for rollup_id, columns in ordered.items()
    }
    packed: dict[RollupId, Ordered] = {}
    waiting = sorted(sizes, key=lambda rollup_id: (sum(sizes[rollup_id]), rollup_id))
    for place, rollup_id in enumerate(waiting):
        rest = len(waiting) - place
        count = _prefix(sizes[rollup_id], bytes_left // rest, items_left // rest)
        bytes_left -= sum(sizes[rollup_id][:count])
        items_left -= count
        if count:
            columns = ordered[rollup_id]
            packed[rollup_id] = Ordered(columns.transactions[:count], columns.stamps_ms[:count])
    return packed


def _prefix(sizes: Sequence[int], bytes_max: int, items_max: int) -> int:
    """How many of the first sizes fit."""
    if len(sizes) <= items_max and sum(sizes) <= bytes_max:
        return len(sizes)
    used = 0
    for count, size in enumerate(sizes[:items_max]):
        used += size
        if used > bytes_max:
            return count
    return min(len(sizes), items_max)


def _included(columns: Ordered, outcomes: Outcomes) -> Run:
    """The transactions that were applied, with their items; order is kept."""
    statuses = outcomes.statuses
    transactions, stamps = columns
    positions: Sequence[int] = range(len(statuses))
    if 2 in statuses:
        mask = _mask(outcomes)
        transactions = list(compress(transactions, mask))
        stamps = list(compress(stamps, mask))
        positions = list(compress(positions, mask))
        statuses = bytes(compress(statuses, mask))
    items = encode_items([transaction.raw for transaction in transactions], stamps)
    return Run(items, transactions, outcomes, statuses, positions, tried=columns.transactions)


def _mask(outcomes: Outcomes) -> bytes:
    """1 for each applied transaction, 0 for each that was left out."""
    return outcomes.statuses.translate(_INCLUDED)


def _demanding(rollup_id: RollupId, transactions: Sequence[Transaction], places: Collection[int]) -> list[Dropped]:
    sentence = (
        "It sends a message that must be delivered in its slot or not be sent at all; hand it in as a bundle "
        "(plait_sendBundle)."
    )
    return [
        Dropped(rollup_id, Hash32(transactions[place].hash), "delivery_required", sentence) for place in sorted(places)
    ]


def _never_applicable(
    rollup_id: RollupId, transactions: Sequence[Transaction], outcomes: Outcomes, gas_limit: int
) -> list[Dropped]:
    """Left-out transactions that the pool should forget; the others may fit later."""
    found: list[Dropped] = []
    for index, status in enumerate(outcomes.statuses):
        if status != 2:
            continue
        failure = outcomes.failure(index)
        code, sentence = failure if failure is not None else ("transaction_not_applicable", "it cannot be applied")
        never_fits = code == "block_gas_limit_reached" and transactions[index].gas_limit > gas_limit
        if code not in _RETRIED or never_fits:
            found.append(Dropped(rollup_id, Hash32(transactions[index].hash), code, sentence))
    return found
