"""Many bundles at once: those about which there is nothing to decide but whether all of their transactions succeed.

Execution on one rollup never reads another. So the legs of consecutive bundles can run rollup by rollup, all rollups in
parallel, instead of bundle by bundle: when every transaction succeeds and none has to do with messages, the outcome is
what `try_bundle` gives for one after the other. The first bundle for which that is not so is exact as well, because
everything before it is: the run is undone, the bundles before it run again, and it is left to `try_bundle`.

Callers run the fewer together the more often one stands out (`Pace`), so that bundles that fail or send messages cost a
bounded share of work done in vain.

Level 2, pure but for the native sessions it drives.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from plait.execution.bundles import DecodedBundle
from plait.execution.candidate import Candidate
from plait.execution.messages import EMITTERS, InteropSets
from plait.interop.messages import CROSS_L2_INBOX
from plait.native import NativeError, Outcomes, Transaction, declaring
from plait.native.unread import is_unread
from plait.types import BundleTerms, RollupId

TOGETHER_MAX: Final = 256
"""Bundles that run together at most: a few milliseconds of execution."""
TOGETHER_FIRST: Final = 32
"""As long as nothing is known of those of a sub-block."""

PARALLEL_MIN: Final = 128
"""Transactions from which on rollups run in parallel; below, waking the native core's other threads costs more."""

TOGETHER_GAS_MAX: Final = 16_000_000
"""Gas limits of what runs together, all rollups: bounds what is run in vain when a bundle stands out."""


class Together(NamedTuple):
    """What came of running bundles together."""

    applied: int
    """How many of the first were."""
    stood_out: bool
    """Whether the next one is for `try_bundle`; otherwise there was no next one, or too much gas."""


class Pace:
    """How many bundles to run together next: an eighth of the usual distance between two that stand out.

    A run that is undone costs what it ran, one that stands saves less than that. So where every tenth bundle stands out
    nearly all go alone, and where none does they go together in hundreds. Only work depends on it, never an outcome.
    """

    __slots__ = ("_since", "_usual")

    def __init__(self, first: int = TOGETHER_FIRST) -> None:
        self._usual = 8 * first
        self._since = 0

    @property
    def count(self) -> int:
        """From 1 to TOGETHER_MAX."""
        return max(1, min(TOGETHER_MAX, max(self._usual, self._since // 2) // 8))

    def note(self, applied: int, *, surprised: bool) -> None:
        """Learns that so many bundles were dealt with, and whether the last of them stood out."""
        self._since += applied
        if surprised:
            self._usual = (self._usual + self._since) // 2
            self._since = 0


def is_ordinary(terms: BundleTerms) -> bool:
    """Whether a bundle may run together with others: nothing is asked of the state before or after its legs."""
    return not terms.pins and not terms.conditions and terms.fee_bid is None


def run_together(candidate: Candidate, bundles: Sequence[DecodedBundle], sets: InteropSets) -> Together:
    """Applies as many of these bundles, from the first on, as can be applied together.

    Args:
        candidate: every rollup of a leg has an open block.
        bundles: in order, all ordinary; their legs fit their blocks.
        sets: of the registry.

    Returns:
        How many were applied: all their transactions succeeded, and none has to do with messages. None where state
        is missing.

    Raises:
        NativeError: `block_not_open`.
    """
    columns: dict[RollupId, list[Transaction]] = {}
    owners: dict[RollupId, list[int]] = {}
    offered = _within_gas(bundles)
    for index, bundle in enumerate(bundles[:offered]):
        for leg, found in zip(bundle.terms.legs, bundle.legs, strict=True):
            columns.setdefault(leg.rollup_id, []).extend(found)
            owners.setdefault(leg.rollup_id, []).extend([index] * len(found))
    count = offered
    for rollup_id, transactions in columns.items():
        if rollup_id in sets and (declared := declaring(transactions, CROSS_L2_INBOX)):
            count = min(count, owners[rollup_id][declared[0]])
    while count:
        work = {
            rollup_id: _before(count, transactions, owners[rollup_id])
            for rollup_id, transactions in columns.items()
            if owners[rollup_id][0] < count
        }
        marks = {rollup_id: candidate.session(rollup_id).checkpoint() for rollup_id in work}
        try:
            ran = _run(candidate, work)
        except NativeError as error:
            candidate.rollback(marks)
            if not is_unread(error):
                raise
            return Together(0, stood_out=True)  # which of them lacks state shows one by one
        first = _first_to_stand_out(ran, work, owners, sets)
        if first is None:
            break
        candidate.rollback(marks)
        count = first
    return Together(count, count < offered)


def _within_gas(bundles: Sequence[DecodedBundle]) -> int:
    """How many of the first bundles stay within TOGETHER_GAS_MAX."""
    gas = 0
    for index, bundle in enumerate(bundles):
        gas += sum([transaction.gas_limit for leg in bundle.legs for transaction in leg])
        if gas > TOGETHER_GAS_MAX:
            return index
    return len(bundles)


def _run(candidate: Candidate, work: Mapping[RollupId, Sequence[Transaction]]) -> dict[RollupId, Outcomes]:
    """Runs columns up to the first transaction of each that cannot be applied."""
    if sum(map(len, work.values())) >= PARALLEL_MIN:
        return candidate.run(work, on_invalid="stop")
    return {
        rollup_id: candidate.session(rollup_id).run(transactions, on_invalid="stop")
        for rollup_id, transactions in work.items()
    }


def _before(count: int, transactions: list[Transaction], owners: list[int]) -> list[Transaction]:
    """The transactions of the first `count` bundles."""
    if owners[-1] < count:
        return transactions
    return transactions[: next(place for place, owner in enumerate(owners) if owner >= count)]


def _first_to_stand_out(
    ran: Mapping[RollupId, Outcomes],
    work: Mapping[RollupId, Sequence[Transaction]],
    owners: Mapping[RollupId, Sequence[int]],
    sets: InteropSets,
) -> int | None:
    """The first bundle with a transaction that did not succeed, or with a log that has to do with messages."""
    found: list[int] = []
    for rollup_id, outcomes in ran.items():
        statuses = outcomes.statuses
        succeeded = len(statuses) - len(statuses.lstrip(b"\x01"))
        if succeeded < len(work[rollup_id]):
            found.append(owners[rollup_id][succeeded])
        if rollup_id in sets and (logs := outcomes.logs_of(EMITTERS)):
            found.append(owners[rollup_id][logs[0][0]])
    return min(found, default=None)
