"""`prepare`: a proposal from candidates. What it builds is what `process` accepts; which candidates it takes is its
own affair.

Every rollup's candidates are ordered by its policy, cut to the room of the proposal, and run on the advanced open
blocks. What cannot be applied is left out: for good when it never can be (the pool drops it), or until a later
sub-block (block gas, data availability, fees).

Level 4.
"""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from plait.crypto.commitments import commit
from plait.execution.candidate import Candidate
from plait.ledger.state import LedgerState
from plait.limits import PROPOSAL_BYTES_MAX, PROPOSAL_ITEMS_MAX
from plait.native import Outcomes, Transaction
from plait.ordering.policy import Ordered, order
from plait.ordering.queues import SenderQueue
from plait.protocol.proposal import ITEM_OVERHEAD_BYTES, encode_items
from plait.protocol.requests import Dropped, PrepareRequest
from plait.protocol.sub_block import Advanced, Base, Executed, Run, complete
from plait.types import Hash32, Milliseconds, RollupId, Wei

FRAME_BYTES_PER_ROLLUP = 128
"""Upper bound of what a rollup adds to a proposal without items: roots, ids, list prefixes; sealed blocks are counted
apart."""
FRAME_BYTES = 1_024
SEALED_BLOCK_BYTES = 48

_INCLUDED = bytes(int(status != 2) for status in range(256))
_RETRIED = frozenset({"nonce_too_high", "fee_cap_too_low", "block_gas_limit_reached", "block_da_limit_reached"})


class Built(NamedTuple):
    """An executed sub-block of our own, and what did not go in."""

    executed: Executed
    dropped: tuple[Dropped, ...]
    deferred: int


def build(base: Base, advanced: Advanced, request: PrepareRequest) -> Built:
    """Orders, packs and runs candidates on top of `advanced`, whose candidate is used up."""
    queues = {rollup_id: request.candidates.get(rollup_id, ()) for rollup_id in base.ledger.rollup_ids}
    total = sum(len(queue) for rollup_queues in queues.values() for queue in rollup_queues)
    runs: dict[RollupId, Run] = {}
    dropped: list[Dropped] = []
    if total and advanced.position.carries_items:
        ordered = _order_all(base.ledger, advanced.candidate, queues, request.time_ms)
        packed = _pack(ordered, _bytes_left(base.ledger, advanced, request.bytes_max), PROPOSAL_ITEMS_MAX)
        outcomes = advanced.candidate.run({i: p.transactions for i, p in packed.items()}, on_invalid="skip")
        for rollup_id, ran in outcomes.items():
            run = _included(packed[rollup_id], ran)
            if run.transactions:
                runs[rollup_id] = run
            if len(run.transactions) < len(ran):
                block = advanced.candidate.open_block(rollup_id)
                gas_limit = block.gas_limit if block is not None else 0
                dropped.extend(_never_applicable(rollup_id, packed[rollup_id].transactions, ran, gas_limit))
    commitment = commit(base.ledger.rollup_ids, {rollup_id: run.items for rollup_id, run in runs.items()})
    executed = complete(base, advanced, runs, request.time_ms, commitment)
    return Built(executed, tuple(dropped), total - executed.effect.transactions - len(dropped))


def _order_all(
    ledger: LedgerState,
    candidate: Candidate,
    queues: Mapping[RollupId, Sequence[SenderQueue]],
    time_ms: Milliseconds,
) -> dict[RollupId, Ordered]:
    """Ordered columns of every rollup that has candidates and an open block."""
    ordered: dict[RollupId, Ordered] = {}
    for record in ledger.rollups:
        block = candidate.open_block(record.rollup_id)
        if block is not None and queues[record.rollup_id]:
            columns = order(
                record.parameters.ordering, queues[record.rollup_id], base_fee=Wei(block.base_fee), time_ms=time_ms
            )
            if columns.transactions:
                ordered[record.rollup_id] = columns
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
        mask = statuses.translate(_INCLUDED)
        transactions = list(compress(transactions, mask))
        stamps = list(compress(stamps, mask))
        positions = list(compress(positions, mask))
        statuses = bytes(compress(statuses, mask))
    items = encode_items([transaction.raw for transaction in transactions], stamps)
    return Run(items, transactions, outcomes, statuses, positions)


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
