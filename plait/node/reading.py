"""What is done in threads to know, before a proposal is built, the state that it will need from another node.

Each of these executes on sessions that nobody keeps, and ends the block that they are in, as the engine will: what that
reads is known from then on, to every session of the rollup. So the guess is as good as execution itself, as long as
the state stays as it is; what changes meanwhile is read by the proposal, in the little time that it has.

    read_queues      transactions of one rollup, each sender's in their order
    read_bundle      a bundle on all of its rollups, with its deliveries
    read_openings    what opening the next blocks looks at beside deposits: their places in the rings of block hashes
                     (EIP-2935) and beacon roots (EIP-4788); and what ending a block looks at
    read_deposits    a block that is opened with deposits

Nothing here changes a rollup. Level 6.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from plait.execution.bundles import DecodedBundle, Deliver, try_bundle
from plait.execution.candidate import Candidate
from plait.execution.messages import InteropSets
from plait.limits import REMOTE_AHEAD_TIMEOUT_S
from plait.native import Attributes, NativeError, Rollup, Transaction
from plait.native.unread import is_unread
from plait.ordering.queues import SenderQueue
from plait.patience import patience
from plait.protocol.requests import Unread
from plait.rollups.embedded.genesis import BEACON_ROOTS, BLOCK_HASH_HISTORY
from plait.types import Hash32, RollupId

RING: Final = 8_191
"""Slots of the history contract by block, and of the beacon roots contract by timestamp, then for the roots."""
_FULL: Final = frozenset({"block_gas_limit_reached", "block_da_limit_reached", "nonce_too_high"})
"""A transaction that was left out so was not executed: it is read for another time."""
_FAILURES_MAX: Final = 3
"""After so many in a row the node is taken to be away, and the rest waits unasked."""
_NOT_APPLICABLE: Final = 2


class Tried(NamedTuple):
    """What came of reading for transactions."""

    read: list[bytes]
    later: list[bytes]
    """They could not be run now."""
    unread: list[Unread]
    untried: list[Unread]
    """What was not tried, because an earlier one of its sender could not be read, or the node seems to be away."""


def read_queues(rollup: Rollup, rollup_id: RollupId, queues: Sequence[SenderQueue]) -> Tried:
    """Reads for transactions: all at once, and where that fails one by one, so that what cannot be read holds up
    nothing but the later ones of its sender."""
    transactions = [ready.transaction for queue in queues for ready in queue]
    hashes = [transaction.hash for transaction in transactions]
    if rollup.open_block is None:
        return Tried([], hashes, [], [])
    try:
        with patience(REMOTE_AHEAD_TIMEOUT_S):
            session = rollup.session()
            outcomes = session.run(transactions)
            session.seal()
    except NativeError as error:
        if not is_unread(error):
            raise
        if len(transactions) == 1:
            return Tried([], [], [_unread(rollup_id, transactions[0], error)], [])
        return _one_by_one(rollup, rollup_id, queues)
    left_out = [place for place, status in enumerate(outcomes.statuses) if status == _NOT_APPLICABLE]
    later = {place for place in left_out if (outcomes.failure(place) or ("",))[0] in _FULL}
    read = [hash_ for place, hash_ in enumerate(hashes) if place not in later]
    return Tried(read, [hashes[place] for place in sorted(later)], [], [])


def _one_by_one(rollup: Rollup, rollup_id: RollupId, queues: Sequence[SenderQueue]) -> Tried:
    tried = Tried([], [], [], [])
    failures = 0
    last: NativeError | None = None
    with patience(REMOTE_AHEAD_TIMEOUT_S):
        for queue in queues:
            session = rollup.session()
            missing = last if failures >= _FAILURES_MAX else None
            for transaction in [ready.transaction for ready in queue]:
                if missing is not None:
                    tried.untried.append(_unread(rollup_id, transaction, missing))
                    continue
                try:
                    session.run([transaction])
                    session.fork().seal()
                except NativeError as error:
                    if not is_unread(error):
                        raise
                    missing = last = error
                    failures += 1
                    tried.unread.append(_unread(rollup_id, transaction, error))
                else:
                    failures = 0
                    tried.read.append(transaction.hash)
    return tried


def _unread(rollup_id: RollupId, transaction: Transaction, error: NativeError) -> Unread:
    return Unread(rollup_id, Hash32(transaction.hash), error.code, str(error))


def read_bundle(
    rollups: Mapping[RollupId, Rollup], bundle: DecodedBundle, sets: InteropSets, deliver: Deliver
) -> NativeError | None:
    """Reads for a bundle; what it failed with. Raises NativeError (`block_not_open`)."""
    candidate = Candidate.over(rollups)
    try:
        with patience(REMOTE_AHEAD_TIMEOUT_S):
            try_bundle(candidate, bundle, sets, deliver, every_leg=True)
            candidate.require_sealable(candidate.remote)
    except NativeError as error:
        if not is_unread(error):
            raise
        return error
    return None


def read_openings(rollup: Rollup, blocks: Iterable[tuple[int, int]]) -> None:
    """Reads what opening blocks looks at, for each (number, timestamp). Raises NativeError."""
    hashes: set[int] = set()
    roots: set[int] = set()
    for number, timestamp_s in blocks:
        hashes.add((number - 1) % RING)
        roots |= {timestamp_s % RING, timestamp_s % RING + RING}
    keys = [(bytes.fromhex(BLOCK_HASH_HISTORY), _words(hashes)), (bytes.fromhex(BEACON_ROOTS), _words(roots))]
    with patience(REMOTE_AHEAD_TIMEOUT_S):
        session = rollup.session()
        session.prefetch(keys)
        if session.open_block is not None:
            session.seal()


def _words(slots: Iterable[int]) -> list[bytes]:
    return [slot.to_bytes(32, "big") for slot in sorted(slots)]


def read_deposits(rollup: Rollup, attributes: Attributes) -> None:
    """Reads for the deposits of a block that is yet to be opened. Raises NativeError, not only for want of state."""
    with patience(REMOTE_AHEAD_TIMEOUT_S):
        session = rollup.session()
        if session.open_block is not None:
            session.seal()
        session.open(attributes)
        session.seal()
