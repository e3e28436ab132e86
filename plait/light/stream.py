"""Sub-blocks from an agreed app hash: each header by its parent's, and a rollup's items by the header.

1. CometBFT's header of height H + 1 has the app hash of our sub-block H: SHA-256([H, header hash, ledger root]).
2. Every sub-block header names its parent's app hash, so one agreed app hash proves all headers below it.
3. A header lists the rollups that there are with the root of each one's items, and `ids_root` and `rollups_root` over
   both: a rollup that is left out, and an item that is left out, moved, changed or added, changes a root.
4. Positions: a slot's sub-blocks are numbered from 0 without a gap, and slots never fall. A range of slots is complete
   when the sub-block right before it lies in an earlier slot and the one right after it in a later one.

Source: plait.protocol.proposal, plait.crypto.commitments. Pure.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import msgspec

from plait.codec.bundle import decode_leg
from plait.crypto.commitments import EMPTY_ITEMS_ROOT, id_leaf, items_root_of, rollup_leaf
from plait.errors import CodecError, LightRefused
from plait.limits import DELIVERIES_PER_BUNDLE_MAX
from plait.native import keccak256_many, merkle_root
from plait.protocol.proposal import (
    DELIVERIES_KIND,
    ITEM_HEAD_BYTES,
    LEG_HEAD_BYTES,
    LEG_KIND,
    RELAY_KIND,
    SubBlockHeader,
    app_hash_of,
    decode_header,
    header_hash_of,
)
from plait.types import BlockNumber, Hash32, Height, Milliseconds, RollupId, Slot, SubIndex


class Linked(NamedTuple):
    """A sub-block header that an agreed app hash proves."""

    header: SubBlockHeader
    hash: Hash32
    app_hash: Hash32


class ItemKind(StrEnum):
    """What an item of a rollup is."""

    TRANSACTION = "transaction"
    LEG = "leg"
    DELIVERIES = "deliveries"
    RELAY = "relay"


class Item(NamedTuple):
    """One item of a rollup's ordered stream."""

    kind: ItemKind
    transactions: tuple[Hash32, ...]
    """Keccak-256 of each signed transaction in it: one, or those of a bundle's leg or deliveries."""
    bundle: Hash32 | None
    """Hash of the bundle that it is of."""


class SubBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A proven sub-block, as one rollup sees it."""

    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    header_hash: Hash32
    app_hash: Hash32
    rollup_ids: tuple[RollupId, ...]
    """All rollups, ascending."""
    active: bool
    """Whether the rollup is one of them."""
    items: tuple[bytes, ...]
    """The rollup's items as they were decided."""
    items_root: Hash32
    """Their tree hash; that of an empty list where the rollup is not active."""
    sealed: tuple[tuple[BlockNumber, Hash32], ...]
    """The rollup's blocks that it sealed."""

    def read_items(self) -> list[Item]:
        """The items with the hashes of their transactions. Raises LightRefused `light_items_malformed`."""
        return read_items(self.items)


def link(headers: Sequence[bytes], *, first: Height, count: int, app_hash: Hash32) -> list[Linked]:
    """Proves consecutive headers by the app hash of the last one.

    Args:
        headers: canonical bytes, ascending.
        first: height of the first.
        count: how many were asked for.
        app_hash: agreed, of height first + count - 1.

    Raises:
        LightRefused: `light_headers_missing`, `light_sub_block_malformed`, `light_height_wrong`,
            `light_app_hash_mismatch` (the last header), `light_parent_mismatch` (one before it),
            `light_position_wrong`, `light_network_wrong`.
    """
    if len(headers) != count:
        raise LightRefused(
            f"Headers of {count} sub-blocks from height {first} were asked for, {len(headers)} are shown.",
            code="light_headers_missing", height=first, count=len(headers), expected=count,
        )  # fmt: skip
    linked: list[Linked] = []
    expected = app_hash
    for place in range(count - 1, -1, -1):
        height = Height(first + place)
        header = _decode(headers[place], height)
        if header.height != height:
            raise LightRefused(
                f"Sub-block {header.height} is shown in the place of {height}.",
                code="light_height_wrong", height=header.height, expected=height,
            )  # fmt: skip
        header_hash = header_hash_of(headers[place])
        if app_hash_of(height, header_hash, header.ledger_root) != expected:
            last = place == count - 1
            raise LightRefused(
                f"The header shown for sub-block {height} is not the one that "
                + ("the validators agreed on." if last else f"sub-block {height + 1} follows."),
                code="light_app_hash_mismatch" if last else "light_parent_mismatch", height=height,
            )  # fmt: skip
        linked.append(Linked(header, header_hash, expected))
        expected = header.parent_app_hash
    linked.reverse()
    for before, after in pairwise(linked):
        check_follows(before.header, after.header)
    return linked


def check_follows(before: SubBlockHeader, after: SubBlockHeader) -> None:
    """Checks that the position of a sub-block can follow the one before.

    Raises:
        LightRefused: `light_position_wrong`, `light_network_wrong`.
    """
    if after.network_id != before.network_id:
        raise LightRefused(
            f"Sub-block {after.height} is of network {after.network_id}, the one before of {before.network_id}.",
            code="light_network_wrong", height=after.height,
        )  # fmt: skip
    numbered = (
        after.sub_index == before.sub_index + 1
        if after.slot == before.slot
        else after.slot > before.slot and after.sub_index == 0
    )
    if not numbered or after.time_ms < before.time_ms:
        raise LightRefused(
            f"Sub-block {after.height} is number {after.sub_index} of slot {after.slot}, after number "
            f"{before.sub_index} of slot {before.slot}.",
            code="light_position_wrong", height=after.height,
        )  # fmt: skip


def check_rollups(header: SubBlockHeader) -> None:
    """Checks that a header's roots are those of the rollups it lists. Raises LightRefused `light_rollups_mismatch`."""
    commitment = header.commitment
    leaves = [rollup_leaf(*pair) for pair in zip(commitment.ids, commitment.items_roots, strict=True)]
    ids_root = merkle_root([id_leaf(rollup_id) for rollup_id in commitment.ids])
    if ids_root != commitment.ids_root or merkle_root(leaves) != commitment.rollups_root:
        raise LightRefused(
            f"The {len(commitment.ids)} rollups that sub-block {header.height} lists are not those of its roots.",
            code="light_rollups_mismatch", height=header.height,
        )  # fmt: skip


def items_root_in(header: SubBlockHeader, rollup_id: RollupId) -> Hash32 | None:
    """Root of a rollup's items; None when the rollup is not registered at that height."""
    ids = header.commitment.ids
    return header.commitment.items_roots[ids.index(rollup_id)] if rollup_id in ids else None


def check_items(header: SubBlockHeader, rollup_id: RollupId, items: Sequence[bytes]) -> None:
    """Checks that these are all items of a rollup in a proven sub-block, in order.

    Raises:
        LightRefused: `light_items_mismatch`.
    """
    if items_root_of(items) != (items_root_in(header, rollup_id) or EMPTY_ITEMS_ROOT):
        raise LightRefused(
            f"The {len(items)} items shown for rollup {rollup_id} in sub-block {header.height} are not those that were "
            "decided: one is left out, added, changed or moved.",
            code="light_items_mismatch", height=header.height, rollup_id=rollup_id,
        )  # fmt: skip


def read_items(items: Sequence[bytes]) -> list[Item]:
    """Kinds and transaction hashes of items. Raises LightRefused `light_items_malformed`."""
    found: list[tuple[ItemKind, int, Hash32 | None]] = []
    raws: list[bytes] = []
    for item in items:
        kind, bundle, held = _parts_of(item)
        found.append((kind, len(held), bundle))
        raws += held
    hashes = iter(Hash32(hash_) for hash_ in keccak256_many(raws))
    return [Item(kind, tuple(next(hashes) for _ in range(count)), bundle) for kind, count, bundle in found]


def _parts_of(item: bytes) -> tuple[ItemKind, Hash32 | None, list[bytes]]:
    kind = item[:1]
    if kind == b"\x00" and len(item) > ITEM_HEAD_BYTES:
        return ItemKind.TRANSACTION, None, [item[ITEM_HEAD_BYTES:]]
    if kind == RELAY_KIND:
        return ItemKind.RELAY, None, [item[1:]]
    if kind in {LEG_KIND, DELIVERIES_KIND} and len(item) > LEG_HEAD_BYTES:
        try:
            held = decode_leg(item[LEG_HEAD_BYTES:], count_max=DELIVERIES_PER_BUNDLE_MAX)
        except CodecError as error:
            raise LightRefused(f"An item cannot be read: {error.message}", code="light_items_malformed") from error
        what = ItemKind.LEG if kind == LEG_KIND else ItemKind.DELIVERIES
        return what, Hash32(item[1:LEG_HEAD_BYTES]), held
    raise LightRefused(
        f"An item of {len(item)} bytes is of no known kind; a newer version of Plait may know it.",
        code="light_items_malformed",
    )


def _decode(data: bytes, height: Height) -> SubBlockHeader:
    try:
        return decode_header(data)
    except CodecError as error:
        raise LightRefused(
            f"The header shown for sub-block {height} cannot be read: {error.message}",
            code="light_sub_block_malformed", height=height,
        ) from error  # fmt: skip
