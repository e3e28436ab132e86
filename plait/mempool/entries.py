"""A pooled transaction and its sender's nonce queue.

Invariants of an account
- `pending` holds consecutive nonces from `next_nonce` on; `ready` is parallel to it and is what a snapshot copies.
- `queued` holds nonces beyond a gap: never one that `pending` could take.
- `ready_ms` never decreases along `pending`, so that the arrival policy can follow nonce order.
- `cost` is the sum over both of what each transaction may cost its sender at most.
Entries are never changed after they were handed out: the protocol's thread may hold a snapshot. `Ready` objects are
replaced, not edited.

Level 2, pure.
"""

from collections.abc import Iterator
from typing import Final

from plait.native import Transaction
from plait.ordering.queues import Ready
from plait.types import Milliseconds

UNPLACED: Final = -1
"""Tier of an account without executable transactions."""


class Admitted:
    """A transaction in the pool, with the figures that the pool reads often as plain integers."""

    __slots__ = ("account", "arrived_ms", "cost", "fee_cap", "gas_limit", "hash", "nonce", "size", "tip", "transaction")

    def __init__(  # noqa: PLR0917  (keywords would double the cost of the call)
        self,
        account: "Account",
        transaction: Transaction,
        hash_: bytes,
        nonce: int,
        fee_cap: int,
        tip: int,
        gas_limit: int,
        size: int,
        cost: int,
        arrived_ms: Milliseconds,
    ) -> None:
        self.account = account
        self.transaction = transaction
        self.hash = hash_
        self.nonce = nonce
        self.fee_cap = fee_cap
        self.tip = tip
        self.gas_limit = gas_limit
        self.size = size
        self.cost = cost
        self.arrived_ms = arrived_ms

    @property
    def pending(self) -> bool:
        """Executable now (`pending`), or behind a nonce gap (`queued`)."""
        return 0 <= self.nonce - self.account.next_nonce < len(self.account.pending)

    def effective_tip(self, base_fee: int) -> int:
        """What the sequencer earns per gas at a base fee; negative when the fee cap is below it."""
        room = self.fee_cap - base_fee
        return self.tip if self.tip < room else room


class Account:
    """The transactions of one sender on one rollup."""

    __slots__ = ("address", "balance", "cost", "fee_cap_min", "next_nonce", "pending", "queued", "ready", "tier")

    def __init__(self, address: bytes, next_nonce: int, balance: int) -> None:
        self.address = address
        self.next_nonce = next_nonce
        self.balance = balance
        self.cost = 0
        self.pending: list[Admitted] = []
        self.ready: list[Ready] = []
        self.queued: dict[int, Admitted] = {}
        self.fee_cap_min = 0
        """A lower bound of the pending fee caps: exact after an insertion, too low at worst."""
        self.tier = UNPLACED

    def __len__(self) -> int:
        return len(self.pending) + len(self.queued)

    def entries(self) -> Iterator[Admitted]:
        """All transactions, executable ones first."""
        yield from self.pending
        yield from self.queued.values()

    def at(self, nonce: int) -> Admitted | None:
        """The transaction with a nonce, if there is one."""
        place = nonce - self.next_nonce
        if 0 <= place < len(self.pending):
            return self.pending[place]
        return self.queued.get(nonce)

    def tail(self) -> Admitted | None:
        """The one with the highest nonce: the only one whose removal makes no gap."""
        if self.queued:
            return self.queued[max(self.queued)]
        return self.pending[-1] if self.pending else None

    def append(self, entry: Admitted, now_ms: Milliseconds) -> None:
        """Adds the transaction that follows the last executable one."""
        ready = self.ready
        if ready:
            stamp = ready[-1].ready_ms
            self.fee_cap_min = min(self.fee_cap_min, entry.fee_cap)
            ready.append(Ready(entry.transaction, stamp if stamp > now_ms else now_ms))
        else:
            self.fee_cap_min = entry.fee_cap
            ready.append(Ready(entry.transaction, now_ms))
        self.pending.append(entry)

    def promote(self, now_ms: Milliseconds) -> list[Admitted]:
        """Moves what became executable from `queued` to `pending`."""
        moved: list[Admitted] = []
        while self.queued and (entry := self.queued.pop(self.next_nonce + len(self.pending), None)) is not None:
            self.append(entry, now_ms)
            moved.append(entry)
        return moved

    def replace(self, entry: Admitted, now_ms: Milliseconds) -> None:
        """Puts a transaction in the place of the one with its nonce. Later ones wait for the new one: their stamps are
        raised to now."""
        place = entry.nonce - self.next_nonce
        if not 0 <= place < len(self.pending):
            self.queued[entry.nonce] = entry
            return
        self.pending[place] = entry
        self.fee_cap_min = min(self.fee_cap_min, entry.fee_cap)
        ready = self.ready
        ready[place] = Ready(entry.transaction, now_ms)
        for later in range(place + 1, len(ready)):
            if ready[later].ready_ms >= now_ms:
                break
            ready[later] = Ready(ready[later].transaction, now_ms)

    def cut(self, place: int) -> list[Admitted]:
        """Ends `pending` before an index; what stood behind it goes back to `queued`. Returns the moved ones."""
        moved = self.pending[place:]
        del self.pending[place:]
        del self.ready[place:]
        for entry in moved:
            self.queued[entry.nonce] = entry
        return moved

    def advance(self, next_nonce: int) -> list[Admitted]:
        """Forgets every nonce below `next_nonce`. Returns the forgotten ones."""
        count = next_nonce - self.next_nonce
        if count <= 0:
            return []
        gone = self.pending[:count]
        del self.pending[:count]
        del self.ready[:count]
        self.next_nonce = next_nonce
        if self.queued:
            for nonce in [nonce for nonce in self.queued if nonce < next_nonce]:
                gone.append(self.queued.pop(nonce))
        return gone


def tier_of(price: int) -> int:
    """A price's rank in steps of at most 1/16 (6 %): enough to choose who is in a snapshot that holds more than a block
    does."""
    bits = price.bit_length()
    if bits <= 5:
        return max(price, 0)
    return bits << 4 | (price >> (bits - 5)) & 15
