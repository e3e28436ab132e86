"""A rollup's stream over a range of slots: fetched in pieces, each proven by an agreed block, and summed up.

Work goes in ascending pieces of LIGHT_HEADERS_PER_CALL_MAX sub-blocks; the block after a piece's last sub-block proves
it. What lies below everything that the client has verified is reached once backwards through parents' app hashes, to
note the app hash at the end of each piece. Memory is that of one piece, whatever the range. No IO but through the
provider.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

from plait.crypto.commitments import EMPTY_ITEMS_ROOT
from plait.errors import LightRefused
from plait.light.blocks import LightBlock
from plait.light.provider import StreamProvider
from plait.light.stream import (
    ItemKind,
    Linked,
    SubBlock,
    check_follows,
    check_items,
    check_rollups,
    items_root_in,
    link,
)
from plait.limits import (
    LIGHT_BACKWARDS_MAX,
    LIGHT_HEADERS_PER_CALL_MAX,
    LIGHT_ITEMS_HEIGHTS_PER_CALL,
    LIGHT_SLOTS_MAX,
)
from plait.types import BlockNumber, Hash32, Height, NetworkId, RollupId, Slot

_FIRST = Height(1)


class Verifier(Protocol):
    """The part of a light client that proves blocks."""

    @property
    def lowest(self) -> Height:
        """The lowest verified height."""
        ...

    async def verify(self, height: Height | None = None) -> LightBlock:
        """A block that was decided."""
        ...

    def signed_power(self, height: Height) -> int:
        """Voting power whose signatures on a verified block were checked."""
        ...


class Anchor(NamedTuple):
    """An agreed block that proves sub-blocks below it."""

    height: Height
    hash: Hash32
    signed_power: int
    """Whose signatures were checked: more than two thirds of `total_power`."""
    total_power: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What was proven of a rollup's stream."""

    chain_id: str
    network_id: NetworkId
    rollup_id: RollupId
    first_slot: Slot
    last_slot: Slot
    first_height: Height
    """Of the first sub-block in the range; one above `last_height` when the range has none."""
    last_height: Height
    sub_blocks: int
    slots_without_sub_block: int
    active_sub_blocks: int
    """Those in which the rollup was registered."""
    items: int
    transactions: int
    """Of plain items, legs, deliveries and relays together."""
    legs: int
    relays: int
    """Deliveries of messages, those of bundles included."""
    sealed_blocks: int
    last_sealed: tuple[BlockNumber, Hash32] | None
    rollup_ids: tuple[RollupId, ...]
    """All rollups, ascending, at the end of the range."""
    rollup_changes: int
    """Times that the set of rollups changed within the range."""
    app_hash: Hash32
    """Of the sub-block after the range."""
    stream_hash: Hash32
    """SHA-256 over height (8 bytes, big-endian) and items root of every sub-block: equal streams have equal ones."""
    anchors: tuple[Anchor, ...]


class StreamReader:
    """Reads and proves one range once.

    Args:
        verifier: proves blocks.
        provider: shows sub-blocks.
        rollup_id: whose items.
        first: slot of the range.
        last: slot of the range.

    Raises:
        LightRefused: `light_range_invalid`.
    """

    def __init__(
        self, verifier: Verifier, provider: StreamProvider, rollup_id: RollupId, *, first: Slot, last: Slot
    ) -> None:
        if not 0 <= first <= last < LIGHT_SLOTS_MAX:
            raise LightRefused(f"Slots {first} to {last} are no range.", code="light_range_invalid")
        self.first_height, self.end_height = _FIRST, _FIRST
        """The first sub-block of the range, and the first one after it; known once reading has begun."""
        self.anchors: list[Anchor] = []
        self.closing: Linked | None = None
        """The sub-block after the range, once reading has ended."""
        self.chain_id = ""
        self._verifier = verifier
        self._provider = provider
        self._rollup_id = rollup_id
        self._first, self._last = first, last
        self._walked: dict[Height, Hash32] = {}
        self._sealed: BlockNumber | None = None

    async def read(self) -> AsyncIterator[SubBlock]:
        """Every sub-block of the range in order; the range is complete when this ends without an error."""
        await self._find_range()
        low = max(_FIRST, Height(self.first_height - 1))
        pieces = list(_pieces(low, self.end_height))
        await self._walk_back([last for _, last in pieces])
        before: Linked | None = None
        for start, last in pieces:
            app_hash = await self._agreed_app_hash(last)
            headers = await self._provider.sub_block_headers(start, last)
            linked = link(headers, first=start, count=last - start + 1, app_hash=app_hash)
            if before is not None:
                _check_joint(before, linked[0])
            before = linked[-1]
            for one in linked:
                self._check_place(one)
            inside = [one for one in linked if self.first_height <= one.header.height < self.end_height]
            for at in range(0, len(inside), LIGHT_ITEMS_HEIGHTS_PER_CALL):
                for sub_block in await self._with_items(inside[at : at + LIGHT_ITEMS_HEIGHTS_PER_CALL]):
                    yield sub_block
        self.closing = before

    # ------------------------------------------------------------ the range
    async def _find_range(self) -> None:
        """Asks which heights the slots have. The answer is a hint: both ends are proven later."""
        start, end = await self._provider.heights_of_slots(self._first, self._last)
        if not _FIRST <= start <= end:
            raise LightRefused(
                f"Heights {start} to {end} are shown for slots {self._first} to {self._last}.",
                code="light_answer_malformed", field="heights",
            )  # fmt: skip
        newest = await self._verifier.verify(None)
        if end >= newest.height:
            raise LightRefused(
                f"Slot {self._last} may still get sub-blocks: none of a later slot is proven by block {newest.height}, "
                "the newest there is. Try again in a moment, or ask for earlier slots.",
                code="light_slot_open", slot=self._last, height=newest.height,
            )  # fmt: skip
        self.chain_id = newest.header.chain_id
        self.first_height, self.end_height = start, end

    def _check_place(self, one: Linked) -> None:
        height, slot = one.header.height, one.header.slot
        if height < self.first_height:
            right = slot < self._first
        elif height < self.end_height:
            right = self._first <= slot <= self._last
        else:
            right = slot > self._last
        if not right:
            raise LightRefused(
                f"Sub-block {height} is of slot {slot}: heights {self.first_height} to {self.end_height - 1} are not "
                f"all there is of slots {self._first} to {self._last}.",
                code="light_boundary_wrong", height=height, slot=slot,
            )  # fmt: skip

    # ------------------------------------------------------------ agreed app hashes
    async def _agreed_app_hash(self, height: Height) -> Hash32:
        walked = self._walked.pop(height, None)
        if walked is not None:
            return walked
        return self._anchored(await self._verifier.verify(Height(height + 1)))

    def _anchored(self, block: LightBlock) -> Hash32:
        power, total = self._verifier.signed_power(block.height), block.validators.total_power
        self.anchors.append(Anchor(block.height, block.hash, power, total))
        return Hash32(block.header.app_hash)

    async def _walk_back(self, wanted: Sequence[Height]) -> None:
        """Notes the app hashes of those `wanted` heights that lie below everything the client has verified."""
        lowest = self._verifier.lowest
        below = {height for height in wanted if height + 1 < lowest}
        if not below:
            return
        bottom = min(below)
        if lowest - bottom > LIGHT_BACKWARDS_MAX:
            raise LightRefused(
                f"Sub-block {bottom} is more than {LIGHT_BACKWARDS_MAX} below the oldest verified block {lowest}; "
                "begin with an older trusted block.",
                code="light_way_too_long", height=bottom,
            )  # fmt: skip
        top, app_hash = Height(lowest - 1), self._anchored(await self._verifier.verify(lowest))
        while top > bottom:
            start = Height(max(bottom + 1, top - LIGHT_HEADERS_PER_CALL_MAX + 1))
            headers = await self._provider.sub_block_headers(start, top)
            linked = link(headers, first=start, count=top - start + 1, app_hash=app_hash)
            self._walked |= {one.header.height: one.app_hash for one in linked if one.header.height in below}
            top, app_hash = Height(start - 1), linked[0].header.parent_app_hash
        self._walked[top] = app_hash

    # ------------------------------------------------------------ items
    async def _with_items(self, batch: Sequence[Linked]) -> list[SubBlock]:
        """Adds items to proven headers; those that are proven to have none are not asked for."""
        wanted = [one.header.height for one in batch if self._items_root(one) != EMPTY_ITEMS_ROOT]
        shown = await self._provider.sub_block_items(wanted, self._rollup_id) if wanted else ()
        if len(shown) != len(wanted):
            raise LightRefused(
                f"Items of {len(wanted)} sub-blocks were asked for, those of {len(shown)} are shown.",
                code="light_answer_malformed", field="items",
            )  # fmt: skip
        found = dict(zip(wanted, shown, strict=True))
        return [self._sub_block(one, tuple(found.get(one.header.height, ()))) for one in batch]

    def _items_root(self, one: Linked) -> Hash32:
        return items_root_in(one.header, self._rollup_id) or EMPTY_ITEMS_ROOT

    def _sub_block(self, one: Linked, items: tuple[bytes, ...]) -> SubBlock:
        header = one.header
        check_rollups(header)
        check_items(header, self._rollup_id, items)
        return SubBlock(
            height=header.height,
            slot=header.slot,
            sub_index=header.sub_index,
            time_ms=header.time_ms,
            header_hash=one.hash,
            app_hash=one.app_hash,
            rollup_ids=header.commitment.ids,
            active=self._rollup_id in header.commitment.ids,
            items=items,
            items_root=self._items_root(one),
            sealed=self._follow_sealed(one),
        )

    def _follow_sealed(self, one: Linked) -> tuple[tuple[BlockNumber, Hash32], ...]:
        """The rollup's sealed blocks. Raises LightRefused `light_sealed_gap` when their numbers leave one out."""
        sealed = dict(one.header.sealed).get(self._rollup_id, ())
        for number, _ in sealed:
            if self._sealed is not None and number != self._sealed + 1:
                raise LightRefused(
                    f"Sub-block {one.header.height} seals block {number} of rollup {self._rollup_id} after "
                    f"{self._sealed}.",
                    code="light_sealed_gap", height=one.header.height, number=number,
                )  # fmt: skip
            self._sealed = number
        return sealed


def sub_blocks_of(
    verifier: Verifier, provider: StreamProvider, rollup_id: RollupId, first: Slot, last: Slot
) -> AsyncIterator[SubBlock]:
    """Every sub-block of a range in order, proven. Raises as `plait.light.Client.sub_blocks`."""
    return StreamReader(verifier, provider, rollup_id, first=first, last=last).read()


async def account_of(
    verifier: Verifier,
    provider: StreamProvider,
    rollup_id: RollupId,
    *,
    first: Slot,
    last: Slot,
    each: Callable[[SubBlock], None] | None = None,
) -> Account:
    """Proves a range and sums it up. Raises as `plait.light.Client.account`."""
    reader = StreamReader(verifier, provider, rollup_id, first=first, last=last)
    sums = _Sums()
    async for sub_block in reader.read():
        sums.add(sub_block)
        if each is not None:
            each(sub_block)
    assert reader.closing is not None  # the range ends with the sub-block after it
    return Account(
        chain_id=reader.chain_id,
        network_id=reader.closing.header.network_id,
        rollup_id=rollup_id,
        first_slot=first,
        last_slot=last,
        first_height=reader.first_height,
        last_height=Height(reader.end_height - 1),
        sub_blocks=sums.sub_blocks,
        slots_without_sub_block=last - first + 1 - sums.slots,
        active_sub_blocks=sums.active,
        items=sums.items,
        transactions=sums.transactions,
        legs=sums.legs,
        relays=sums.relays,
        sealed_blocks=sums.sealed_blocks,
        last_sealed=sums.last_sealed,
        rollup_ids=sums.rollup_ids,
        rollup_changes=sums.rollup_changes,
        app_hash=reader.closing.app_hash,
        stream_hash=Hash32(sums.digest.digest()),
        anchors=tuple(reader.anchors),
    )


class _Sums:
    """What an account counts."""

    def __init__(self) -> None:
        self.sub_blocks = self.slots = self.active = self.items = self.transactions = self.legs = self.relays = 0
        self.sealed_blocks = self.rollup_changes = 0
        self.last_sealed: tuple[BlockNumber, Hash32] | None = None
        self.rollup_ids: tuple[RollupId, ...] = ()
        self.digest = sha256()
        self._slot = -1

    def add(self, sub_block: SubBlock) -> None:
        self.sub_blocks += 1
        self.slots += sub_block.slot != self._slot
        self._slot = sub_block.slot
        self.active += sub_block.active
        self.rollup_changes += bool(self.rollup_ids) and sub_block.rollup_ids != self.rollup_ids
        self.rollup_ids = sub_block.rollup_ids
        self.sealed_blocks += len(sub_block.sealed)
        self.last_sealed = sub_block.sealed[-1] if sub_block.sealed else self.last_sealed
        self.items += len(sub_block.items)
        for item in sub_block.read_items():
            self.transactions += len(item.transactions)
            self.legs += item.kind is ItemKind.LEG
            self.relays += len(item.transactions) if item.kind in {ItemKind.RELAY, ItemKind.DELIVERIES} else 0
        self.digest.update(sub_block.height.to_bytes(8, "big") + sub_block.items_root)


def _pieces(first: Height, last: Height) -> Iterator[tuple[Height, Height]]:
    for start in range(first, last + 1, LIGHT_HEADERS_PER_CALL_MAX):
        yield Height(start), Height(min(last, start + LIGHT_HEADERS_PER_CALL_MAX - 1))


def _check_joint(before: Linked, after: Linked) -> None:
    if after.header.parent_app_hash != before.app_hash:
        raise LightRefused(
            f"Sub-block {after.header.height} follows another sub-block {before.header.height} than the one that was "
            "agreed on.",
            code="light_parent_mismatch", height=before.header.height,
        )  # fmt: skip
    check_follows(before.header, after.header)
