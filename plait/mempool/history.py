"""What became of transactions that left the pool, bounded; and those who wait for it.

Ends are kept in two generations: when the newer one is full, the older one is forgotten. One record is shared by all
transactions of a rollup's part of a sub-block, so that remembering thousands of them is one dictionary update.

Level 2. Waiters are futures of the event loop that the pool lives on.
"""

import asyncio
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from plait.errors import Unavailable
from plait.limits import POOL_STATUS_HISTORY_MAX, POOL_WAITERS_MAX
from plait.types import BlockNumber, Height


class Pooled(NamedTuple):
    """In the pool: executable, or behind a nonce gap."""

    status: Literal["pending", "queued"]


class Decided(NamedTuple):
    """Part of a decided sub-block; in the block with this number, which may still be open."""

    height: Height
    block_number: BlockNumber
    status: Literal["decided"] = "decided"


class Sealed(NamedTuple):
    """In a sealed block."""

    height: Height
    block_number: BlockNumber
    status: Literal["sealed"] = "sealed"


class DroppedEnd(NamedTuple):
    """Left the pool without being decided."""

    code: str
    sentence: str
    status: Literal["dropped"] = "dropped"


End: TypeAlias = Decided | DroppedEnd
Status: TypeAlias = Pooled | Decided | Sealed | DroppedEnd
PENDING = Pooled("pending")
QUEUED = Pooled("queued")


class History:
    """The ends of the last transactions that left the pool of one rollup."""

    __slots__ = ("_newer", "_older", "capacity")

    def __init__(self, capacity: int = POOL_STATUS_HISTORY_MAX) -> None:
        self.capacity = capacity
        self._newer: dict[bytes, End] = {}
        self._older: dict[bytes, End] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def remember(self, hashes: Iterable[bytes], end: End) -> None:
        """Records one end for many transactions (at most PROPOSAL_ITEMS_MAX at once)."""
        self._newer.update(dict.fromkeys(hashes, end))
        if 2 * len(self._newer) >= self.capacity:
            self._older, self._newer = self._newer, {}

    def forget(self, hash_: bytes) -> None:
        """Removes a record: the transaction came back into the pool."""
        self._newer.pop(hash_, None)
        self._older.pop(hash_, None)

    def get(self, hash_: bytes) -> End | None:
        """The end of a transaction, if it is remembered."""
        end = self._newer.get(hash_)
        return end if end is not None else self._older.get(hash_)


class Waiters:
    """Who waits until a transaction of one rollup is decided or sealed. A drop ends every wait."""

    __slots__ = ("_by_block", "_by_hash", "_count")

    def __init__(self) -> None:
        self._by_hash: dict[bytes, list[tuple[Literal["decided", "sealed"], asyncio.Future[Status]]]] = {}
        self._by_block: dict[int, list[tuple[Decided, asyncio.Future[Status]]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(
        self, hash_: bytes, level: Literal["decided", "sealed"], so_far: Decided | None
    ) -> "asyncio.Future[Status]":
        """A future of the status; cancel it to stop waiting.

        Args:
            hash_: of the transaction.
            level: what to wait for.
            so_far: where it was decided, when it already was.

        Raises:
            Unavailable: `waiters_full` when POOL_WAITERS_MAX wait already.
        """
        if self._count >= POOL_WAITERS_MAX:
            raise Unavailable("too many calls wait for transactions; poll for the receipt instead", code="waiters_full")
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._count += 1
        if so_far is None:
            self._by_hash.setdefault(hash_, []).append((level, future))
        else:
            self._by_block.setdefault(so_far.block_number, []).append((so_far, future))
        future.add_done_callback(lambda done: self._done(hash_, done))
        return future

    def _done(self, hash_: bytes, future: "asyncio.Future[Status]") -> None:
        self._count -= 1
        if not future.cancelled():
            return
        waiting = self._by_hash.get(hash_)
        if waiting is not None:
            waiting[:] = [item for item in waiting if item[1] is not future]
            if not waiting:
                del self._by_hash[hash_]
        for number, items in list(self._by_block.items()):
            items[:] = [item for item in items if item[1] is not future]
            if not items:
                del self._by_block[number]

    def decided(self, hashes: Iterable[bytes], end: Decided) -> None:
        """Wakes those who wait for `decided`; the others now wait for the block."""
        if not self._by_hash:
            return
        for hash_ in self._by_hash.keys() & set(hashes):
            for level, future in self._by_hash.pop(hash_):
                if level == "sealed":
                    self._by_block.setdefault(end.block_number, []).append((end, future))
                elif not future.done():
                    future.set_result(end)

    def sealed(self, number: int) -> None:
        """Wakes those who wait for blocks up to this one."""
        for block_number in [waiting for waiting in self._by_block if waiting <= number]:
            for end, future in self._by_block.pop(block_number):
                if not future.done():
                    future.set_result(Sealed(end.height, end.block_number))

    def unwound(self, to_number: int, end: DroppedEnd) -> None:
        """Tells those who wait for blocks after this one that these are gone."""
        for block_number in [waiting for waiting in self._by_block if waiting > to_number]:
            for _, future in self._by_block.pop(block_number):
                if not future.done():
                    future.set_result(end)

    def dropped(self, hash_: bytes, end: DroppedEnd) -> None:
        """Tells those who wait that it will not come."""
        if not self._by_hash:
            return
        for _, future in self._by_hash.pop(hash_, ()):
            if not future.done():
                future.set_result(end)
