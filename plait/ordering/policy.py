"""The two ordering policies, and the check that an order is the policy's own.

Every policy is a key per transaction, smaller first:
- `priority_fee`: (-effective priority fee at the open block's base fee, hash)
- `arrival`:      (stamp, hash), with stamps that never decrease within a sender

A sender's transactions go in nonce order. The order is the merge that always takes the smallest key among the senders'
next transactions. That merge equals sorting by each transaction's *running maximum* key within its sender: after a
transaction with a large key was taken, the sender's following smaller ones are the smallest of all and come at once.
So building is one sort, checking is one pass, and the order of a given set is unique: hashes make running maxima of
different senders differ.

Level 2, pure. Lists in, lists out; nothing is kept between calls.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from plait.errors import ProposalRefused
from plait.native import Transaction
from plait.ordering.queues import SenderQueue
from plait.types import Milliseconds, OrderingPolicy, RollupId, Wei

_hash = attrgetter("hash")
_sender = attrgetter("sender")
_nonce = attrgetter("nonce")


class Ordered(NamedTuple):
    """Columns of ordered transactions; `stamps_ms` are 0 where the policy does not use them."""

    transactions: list[Transaction]
    stamps_ms: list[Milliseconds]


def order(policy: OrderingPolicy, queues: Iterable[SenderQueue], *, base_fee: Wei, time_ms: Milliseconds) -> Ordered:
    """Orders the executable transactions of many senders.

    Args:
        policy: of the rollup.
        queues: per sender, in nonce order; a queue is cut where a transaction's fee cap is below the base fee.
        base_fee: of the open block, wei.
        time_ms: of the sub-block; later stamps are lowered to it.
    """
    if policy is OrderingPolicy.PRIORITY_FEE:
        return _order_by_fee(queues, base_fee)
    return _order_by_arrival(queues, base_fee, time_ms)


def _order_by_fee(queues: Iterable[SenderQueue], base_fee: Wei) -> Ordered:
    keyed: list[tuple[int, bytes, int, Transaction]] = []
    append = keyed.append
    for queue in queues:
        highest = -1 << 256
        highest_hash = b""
        place = 0
        for transaction, _ in queue:
            tip = transaction.effective_priority_fee(base_fee)
            if tip is None:
                break
            key, key_hash = -tip, transaction.hash
            if key > highest or (key == highest and key_hash > highest_hash):
                highest, highest_hash, place = key, key_hash, 0
            else:
                place += 1
            append((highest, highest_hash, place, transaction))
    keyed.sort()
    return Ordered([entry[3] for entry in keyed], [Milliseconds(0)] * len(keyed))


def _order_by_arrival(queues: Iterable[SenderQueue], base_fee: Wei, time_ms: Milliseconds) -> Ordered:
    keyed: list[tuple[int, bytes, int, Transaction]] = []
    append = keyed.append
    for queue in queues:
        stamp = 0
        highest_hash = b""
        place = 0
        for transaction, ready_ms in queue:
            if transaction.max_fee_per_gas < base_fee:
                break
            if ready_ms > stamp and stamp < time_ms:
                stamp, highest_hash, place = min(ready_ms, time_ms), transaction.hash, 0
            elif (key_hash := transaction.hash) > highest_hash:
                highest_hash, place = key_hash, 0
            else:
                place += 1
            append((stamp, highest_hash, place, transaction))
    keyed.sort()
    return Ordered([entry[3] for entry in keyed], [Milliseconds(entry[0]) for entry in keyed])


def check_order(
    policy: OrderingPolicy,
    rollup_id: RollupId,
    transactions: Sequence[Transaction],
    stamps_ms: Sequence[Milliseconds],
    *,
    base_fee: Wei,
    time_ms: Milliseconds,
    first: int = 0,
) -> None:
    """Checks that transactions stand in the policy's own order.

    Args:
        policy, rollup_id: of the rollup whose items these are.
        transactions: as ordered by the proposal.
        stamps_ms: one per transaction.
        base_fee: of the open block, wei.
        time_ms: of the sub-block.
        first: index of the first of them among the rollup's items.

    Raises:
        ProposalRefused: `stamp_unused` (a stamp under priority_fee), `stamp_in_future`, `stamps_decrease`,
        `fee_cap_below_base_fee`,
            `nonce_order_wrong`, or `order_out_of_policy`; fields `rollup_id` and `index`.
    """
    if policy is OrderingPolicy.PRIORITY_FEE:
        if any(stamps_ms):
            raise _refused(
                rollup_id,
                first + _first(stamps_ms),
                "stamp_unused",
                "has a stamp, which the priority_fee policy does not use",
            )
        tips = [transaction.effective_priority_fee(base_fee) for transaction in transactions]
        if None in tips:
            raise _refused(
                rollup_id,
                first + tips.index(None),
                "fee_cap_below_base_fee",
                "has a fee cap below the block's base fee",
            )
        keys = [-tip for tip in tips if tip is not None]
    else:
        _check_stamps(rollup_id, stamps_ms, time_ms, first)
        keys = list(stamps_ms)
    _check_merge(rollup_id, transactions, keys, first)


def _check_stamps(rollup_id: RollupId, stamps_ms: Sequence[Milliseconds], time_ms: Milliseconds, first: int) -> None:
    before = 0
    for index, stamp in enumerate(stamps_ms, first):
        if stamp < before:
            raise _refused(rollup_id, index, "stamps_decrease", f"has a stamp of {stamp} ms after one of {before} ms")
        before = stamp
    if before > time_ms:
        index = next(i for i, stamp in enumerate(stamps_ms, first) if stamp > time_ms)
        raise _refused(rollup_id, index, "stamp_in_future", f"has a stamp after the sub-block's time of {time_ms} ms")


def _check_merge(rollup_id: RollupId, transactions: Sequence[Transaction], keys: Sequence[int], first: int) -> None:
    """One pass: every transaction's running maximum key must not fall, and a sender's nonces must be consecutive."""
    last_key: int = -1 << 256
    last_hash = b""
    seen: dict[bytes, tuple[int, int, bytes]] = {}
    get = seen.get
    columns = zip(map(_sender, transactions), map(_nonce, transactions), keys, map(_hash, transactions), strict=True)
    for index, (sender, nonce, own_key, own_hash) in enumerate(columns, first):
        key, key_hash = own_key, own_hash
        before = get(sender)
        if before is not None:
            if nonce != before[0] + 1:
                raise _refused(
                    rollup_id, index, "nonce_order_wrong", f"has nonce {nonce} after its sender's nonce {before[0]}"
                )
            if before[1] > key or (before[1] == key and before[2] > key_hash):
                key, key_hash = before[1], before[2]
        if key < last_key or (key == last_key and key_hash < last_hash):
            raise _refused(
                rollup_id, index, "order_out_of_policy", "does not stand where the rollup's ordering policy puts it"
            )
        last_key, last_hash = key, key_hash
        seen[sender] = (nonce, key, key_hash)


def _first(values: Sequence[int]) -> int:
    return next(index for index, value in enumerate(values) if value)


def _refused(rollup_id: RollupId, index: int, code: str, problem: str) -> ProposalRefused:
    return ProposalRefused(f"item {index} of rollup {rollup_id} {problem}", code=code, rollup_id=rollup_id, index=index)
