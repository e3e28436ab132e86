"""Proposal v2: what a sub-block's proposer sends, as canonical bytes.

    proposal  = [header, actions, bundles, blocks]
    header    = [version = 2, network_id, height, slot, sub_index, time_ms, parent_app_hash, [l1_number, l1_hash],
                 [[rollup_id, items_root], ...], rollups_root, ids_root, sealed, ledger_root, actions_root,
                 bundles_root]
    actions   = [signed action, ...]                 `plait.codec.action`, each as a string
    bundles   = [entry, ...]                         entry = [stamp_ms, terms], the terms' bytes as a string
    sealed    = [[rollup_id, [[number, hash], ...]], ...]    rollups with newly sealed blocks, strictly ascending
    blocks    = [[rollup_id, [item, ...]], ...]              rollups with items, strictly ascending
    item      = 0x00 || stamp_ms (6 bytes, big-endian) || signed transaction (EIP-2718 bytes)
              | 0x01 || bundle hash (32 bytes) || leg
              | 0x02 || signed transaction of a relayer
              | 0x03 || bundle hash (32 bytes) || [signed transaction of a relayer, ...]

An item's first byte is its kind. 0x00 is a transaction; its stamp is when it became executable at the proposer (arrival
policy) and 0 under priority_fee. 0x01 is a bundle's leg on this rollup, 0x03 the deliveries of a bundle's messages;
terms and legs are those of `plait.codec.bundle`, and deliveries have the form of a leg. 0x02 is a relay, the delivery
of any other message. A rollup's items stand in this order: for each bundle, in the order of the bundles section, its
leg and its deliveries; then transactions; then relays. Items are the leaves of the items tree exactly as they stand
here; `bundles_root` is the same kind of tree over the entries, `actions_root` over the actions.

    proposal hash = SHA-256(proposal)                header hash = SHA-256(header)
    app hash      = SHA-256([height, header hash, ledger_root]); at genesis [0, 32 zero bytes, ledger_root]

The header binds everything: items, bundles and actions through their roots, sealed blocks by hash, the ledger after
this sub-block by its root.

Level 4, pure. Every length is bounded; raises CodecError only.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from plait.codec.bundle import bundle_hash_of, decode_terms
from plait.codec.rlp import Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.crypto.commitments import SubBlockCommitment
from plait.crypto.merkle import EMPTY_ROOT
from plait.errors import CodecError
from plait.limits import (
    ACTIONS_PER_SUB_BLOCK_MAX,
    BUNDLE_BYTES_MAX,
    BUNDLES_PER_SUB_BLOCK_MAX,
    CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX,
    L1_FACTS_BYTES_MAX,
    L1_ITEMS_PER_SUB_BLOCK_MAX,
    PROPOSAL_BYTES_MAX,
    PROPOSAL_ITEMS_MAX,
    ROLLUPS_MAX,
    TRANSACTION_BYTES_MAX,
)
from plait.types import (
    BlockNumber,
    BundleTerms,
    Hash32,
    Height,
    L1Origin,
    Milliseconds,
    NetworkId,
    RollupId,
    Slot,
    SubIndex,
)

PROPOSAL_VERSION = 2
ITEM_HEAD_BYTES = 7
"""Kind and stamp."""
ITEM_OVERHEAD_BYTES = ITEM_HEAD_BYTES + 4
"""Head and RLP prefix of a transaction below 64 KiB; what packing counts per item."""
STAMP_MS_MAX = 2**48 - 1
LEG_KIND = b"\x01"
RELAY_KIND = b"\x02"
DELIVERIES_KIND = b"\x03"
LEG_HEAD_BYTES = 33
"""Kind and bundle hash."""
_UNSTAMPED = bytes(ITEM_HEAD_BYTES)
_ZERO_HASH = bytes(32)

RollupSeals = tuple[RollupId, tuple[tuple[BlockNumber, Hash32], ...]]
RollupItems = tuple[RollupId, list[bytes]]


class SubBlockHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a proposal but the items themselves."""

    network_id: NetworkId
    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    parent_app_hash: Hash32
    l1_origin: L1Origin
    commitment: SubBlockCommitment
    sealed: tuple[RollupSeals, ...]
    ledger_root: Hash32
    actions_root: Hash32 = EMPTY_ROOT
    bundles_root: Hash32 = EMPTY_ROOT


class BundleEntry(NamedTuple):
    """A bundle in a proposal: what it asks for, and the stamp that orders it."""

    stamp_ms: Milliseconds
    terms: BundleTerms
    terms_bytes: bytes

    @property
    def hash(self) -> Hash32:
        """The bundle's identity."""
        return bundle_hash_of(self.terms_bytes)


class Proposal(NamedTuple):
    """A header and what it commits to: items per rollup, bundles and signed actions in their order."""

    header: SubBlockHeader
    blocks: tuple[RollupItems, ...]
    bundles: tuple[BundleEntry, ...] = ()
    actions: tuple[bytes, ...] = ()


def encode_header(header: SubBlockHeader) -> bytes:
    """Canonical bytes of a header: what a commit certificate signs, by its hash."""
    numbers = (PROPOSAL_VERSION, header.network_id, header.height, header.slot, header.sub_index, header.time_ms)
    sealed = encode_list(
        encode_list(
            (
                encode_uint(rollup_id),
                encode_list(
                    encode_list((encode_uint(number), encode_bytes(block_hash))) for number, block_hash in blocks
                ),
            )
        )
        for rollup_id, blocks in header.sealed
    )
    return encode_list(
        (
            *map(encode_uint, numbers),
            encode_bytes(header.parent_app_hash),
            encode_list((encode_uint(header.l1_origin.number), encode_bytes(header.l1_origin.hash))),
            encode_list(
                encode_list((encode_uint(rollup_id), encode_bytes(root)))
                for rollup_id, root in zip(header.commitment.ids, header.commitment.items_roots, strict=True)
            ),
            encode_bytes(header.commitment.rollups_root),
            encode_bytes(header.commitment.ids_root),
            sealed,
            encode_bytes(header.ledger_root),
            encode_bytes(header.actions_root),
            encode_bytes(header.bundles_root),
        )
    )


def encode_entry(stamp_ms: Milliseconds, terms: bytes) -> bytes:
    """Canonical bytes of a bundle's entry: a leaf of the bundles tree."""
    return encode_list((encode_uint(stamp_ms), encode_bytes(terms)))


def encode_proposal(
    header: bytes, blocks: Sequence[RollupItems], entries: Sequence[bytes] = (), actions: Sequence[bytes] = ()
) -> bytes:
    """Canonical bytes of a proposal from its encoded header, its items, encoded bundle entries and signed actions."""
    items = encode_list(encode_list((encode_uint(rollup_id), encode_bytes_list(items))) for rollup_id, items in blocks)
    return encode_list((header, encode_bytes_list(actions), encode_list(entries), items))


def decode_proposal(data: bytes) -> Proposal:
    """Reads a proposal's canonical bytes. Rules beyond the encoding are checked by `process`.

    Raises:
        CodecError: `codec_too_large`, `codec_version_unknown`, or `codec_invalid` (not canonical, over a bound,
        rollups not ascending).
    """
    if len(data) > PROPOSAL_BYTES_MAX:
        raise CodecError(
            f"a proposal has at most {PROPOSAL_BYTES_MAX} bytes, this one {len(data)}",
            code="codec_too_large",
            size=len(data),
        )
    outer = Reader(data, what="proposal")
    reader = outer.read_list("proposal")
    outer.end()
    header = _read_header(reader.read_list("header"))
    entries_max = ACTIONS_PER_SUB_BLOCK_MAX + L1_ITEMS_PER_SUB_BLOCK_MAX
    actions = tuple(reader.read_bytes_list("actions", count_max=entries_max, size_max=L1_FACTS_BYTES_MAX + 16))
    bundles = _read_bundles(reader.read_list("bundles"))
    listed = reader.read_list("blocks")
    reader.end()
    blocks: list[RollupItems] = []
    room = PROPOSAL_ITEMS_MAX
    while listed.more:
        _require_room(len(blocks), "blocks")
        block = listed.read_list("block")
        rollup_id = _ascending_id(block, blocks[-1][0] if blocks else 0, "blocks")
        items = block.read_bytes_list("items", count_max=room, size_max=ITEM_HEAD_BYTES + TRANSACTION_BYTES_MAX)
        block.end()
        if not items:
            raise CodecError(f"rollup {rollup_id} is listed without items", rollup_id=rollup_id)
        room -= len(items)
        blocks.append((rollup_id, items))
    return Proposal(header, tuple(blocks), bundles, actions)


def decode_header(data: bytes) -> SubBlockHeader:
    """Reads a header's canonical bytes.

    Raises:
        CodecError: not the canonical encoding of a header.
    """
    outer = Reader(data, what="header")
    header = _read_header(outer.read_list("header"))
    outer.end()
    return header


def _read_header(reader: Reader) -> SubBlockHeader:
    version = reader.read_uint(2**32)
    if version != PROPOSAL_VERSION:
        raise CodecError(f"proposal version {version} is not known here", code="codec_version_unknown", version=version)
    network_id, height, slot, sub_index, time_ms = (reader.read_uint(2**63 - 1 if i else 2**64 - 1) for i in range(5))
    parent_app_hash = Hash32(reader.read_bytes(size=32))
    origin = reader.read_list("L1 origin")
    l1_origin = L1Origin(number=BlockNumber(origin.read_uint()), hash=Hash32(origin.read_bytes(size=32)))
    origin.end()
    ids, items_roots = _read_items_roots(reader.read_list("items roots"))
    rollups_root = Hash32(reader.read_bytes(size=32))
    ids_root = Hash32(reader.read_bytes(size=32))
    sealed = _read_sealed(reader.read_list("sealed blocks"))
    ledger_root = Hash32(reader.read_bytes(size=32))
    actions_root = Hash32(reader.read_bytes(size=32))
    bundles_root = Hash32(reader.read_bytes(size=32))
    reader.end()
    return SubBlockHeader(
        network_id=NetworkId(network_id),
        height=Height(height),
        slot=Slot(slot),
        sub_index=SubIndex(sub_index),
        time_ms=Milliseconds(time_ms),
        parent_app_hash=parent_app_hash,
        l1_origin=l1_origin,
        commitment=SubBlockCommitment(ids=ids, items_roots=items_roots, rollups_root=rollups_root, ids_root=ids_root),
        sealed=sealed,
        ledger_root=ledger_root,
        actions_root=actions_root,
        bundles_root=bundles_root,
    )


def _read_items_roots(reader: Reader) -> tuple[tuple[RollupId, ...], tuple[Hash32, ...]]:
    ids: list[RollupId] = []
    roots: list[Hash32] = []
    while reader.more:
        _require_room(len(ids), "items roots")
        entry = reader.read_list("items root of a rollup")
        ids.append(_ascending_id(entry, ids[-1] if ids else 0, "items roots"))
        roots.append(Hash32(entry.read_bytes(size=32)))
        entry.end()
    return tuple(ids), tuple(roots)


def _read_bundles(reader: Reader) -> tuple[BundleEntry, ...]:
    entries: list[BundleEntry] = []
    while reader.more:
        if len(entries) == BUNDLES_PER_SUB_BLOCK_MAX:
            raise CodecError(f"more than {BUNDLES_PER_SUB_BLOCK_MAX} bundles", code="codec_too_many")
        entry = reader.read_list("bundle entry")
        stamp_ms = Milliseconds(entry.read_uint(STAMP_MS_MAX))
        terms = entry.read_bytes(size_max=BUNDLE_BYTES_MAX)
        entry.end()
        entries.append(BundleEntry(stamp_ms, decode_terms(terms), terms))
    return tuple(entries)


def _read_sealed(reader: Reader) -> tuple[RollupSeals, ...]:
    sealed: list[RollupSeals] = []
    while reader.more:
        _require_room(len(sealed), "sealed blocks")
        entry = reader.read_list("sealed blocks of a rollup")
        rollup_id = _ascending_id(entry, sealed[-1][0] if sealed else 0, "sealed blocks")
        listed = entry.read_list("sealed blocks of a rollup")
        entry.end()
        blocks: list[tuple[BlockNumber, Hash32]] = []
        while listed.more:
            # those that it filled, and the last one of a rollup that leaves
            if len(blocks) == CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX + 1:
                raise CodecError(
                    f"more than {CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX + 1} sealed blocks of rollup {rollup_id}",
                    code="codec_too_many",
                    rollup_id=rollup_id,
                )
            block = listed.read_list("sealed block")
            blocks.append((BlockNumber(block.read_uint()), Hash32(block.read_bytes(size=32))))
            block.end()
        if not blocks:
            raise CodecError(f"rollup {rollup_id} is listed without sealed blocks", rollup_id=rollup_id)
        sealed.append((rollup_id, tuple(blocks)))
    return tuple(sealed)


def _require_room(rollups: int, what: str) -> None:
    if rollups == ROLLUPS_MAX:
        raise CodecError(f"{what}: more than {ROLLUPS_MAX} rollups", code="codec_too_many")


def _ascending_id(reader: Reader, before: int, what: str) -> RollupId:
    rollup_id = RollupId(reader.read_uint())
    if rollup_id <= before:
        raise CodecError(
            f"{what}: rollup {rollup_id} after {before}; ids go strictly ascending",
            code="rollups_unsorted",
            rollup_id=rollup_id,
        )
    return rollup_id


# ---------------------------------------------------------------- items as columns
class TransactionColumns(NamedTuple):
    """Items of one rollup, column by column."""

    stamps_ms: list[Milliseconds]
    raws: list[bytes]


def encode_items(raws: Sequence[bytes], stamps_ms: Sequence[Milliseconds]) -> list[bytes]:
    """Items of transactions in order; a stamp is 0 to STAMP_MS_MAX."""
    if not any(stamps_ms):
        return [_UNSTAMPED + raw for raw in raws]
    return [stamp.to_bytes(ITEM_HEAD_BYTES, "big") + raw for stamp, raw in zip(stamps_ms, raws, strict=True)]


def split_items(items: Sequence[bytes], first: int = 0) -> TransactionColumns:
    """Columns of a rollup's plain items; `first` items (of bundles) stand before them.

    Raises:
        CodecError: `item_kind_unknown`, with the item's index.
    """
    heads = [item[:ITEM_HEAD_BYTES] for item in items]
    raws = [item[ITEM_HEAD_BYTES:] for item in items]
    if heads.count(_UNSTAMPED) == len(heads):
        return TransactionColumns([Milliseconds(0)] * len(heads), raws)
    for index, head in enumerate(heads):
        if len(head) < ITEM_HEAD_BYTES or head[0] != 0:
            place = first + index
            raise CodecError(f"item {place} is not of kind 0, a transaction", code="item_kind_unknown", index=place)
    from_bytes = int.from_bytes
    return TransactionColumns([Milliseconds(from_bytes(head, "big")) for head in heads], raws)


def encode_leg_item(bundle_hash: Hash32, leg: bytes) -> bytes:
    """The item of a bundle's leg; `leg` is what `plait.codec.bundle.encode_leg` gives."""
    return LEG_KIND + bundle_hash + leg


def encode_deliveries_item(bundle_hash: Hash32, raws: Sequence[bytes]) -> bytes:
    """The item of a bundle's deliveries on a rollup."""
    return DELIVERIES_KIND + bundle_hash + encode_bytes_list(raws)


def encode_relay_item(raw: bytes) -> bytes:
    """The item of a relay."""
    return RELAY_KIND + raw


def bundled_count(items: Sequence[bytes]) -> int:
    """How many of a rollup's first items belong to bundles."""
    count = 0
    for item in items:
        if item[:1] not in {LEG_KIND, DELIVERIES_KIND}:
            break
        count += 1
    return count


def relays_count(items: Sequence[bytes]) -> int:
    """How many of a rollup's last items are relays."""
    count = 0
    for item in reversed(items):
        if item[:1] != RELAY_KIND:
            break
        count += 1
    return count


# ---------------------------------------------------------------- hashes
def proposal_hash_of(proposal: bytes) -> Hash32:
    """Identity of a proposal."""
    return Hash32(sha256(proposal).digest())


def header_hash_of(header: bytes) -> Hash32:
    """What a certificate over the sub-block signs."""
    return Hash32(sha256(header).digest())


def app_hash_of(height: Height, header_hash: Hash32, ledger_root: Hash32) -> Hash32:
    """Identity of the network's state after a height; the next proposal names it as its parent."""
    return Hash32(
        sha256(encode_list((encode_uint(height), encode_bytes(header_hash), encode_bytes(ledger_root)))).digest()
    )


def genesis_app_hash(ledger_root: Hash32) -> Hash32:
    """App hash of height 0."""
    return app_hash_of(Height(0), Hash32(_ZERO_HASH), ledger_root)
