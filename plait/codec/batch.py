"""Canonical bytes of a batch: what nodes send each other of what clients handed in, before it is decided.

    batch        = [version = 1, height, [group, ...], [bundle, ...], [cancellation, ...], [action, ...]]
    group        = [rollup_id, [transaction, ...]]       ascending by rollup id, none empty, raw signed transactions
    bundle       = [terms, [leg, ...], signature, replaces, request]
                   `plait.codec.bundle`; signature is empty or 65 bytes, replaces empty or a bundle's hash
    request      = [] | [label, body, signature]         an authenticated eth_sendBundle with a client's own id
    cancellation = [bundle_hash, signature] | [rollup_id, label, body, signature]
    action       = signed action bytes, which this module does not read

A batch has 1 to BATCH_ENTRIES_MAX entries (a transaction, a bundle, a cancellation and an action are one each) and at
most BATCH_BYTES_MAX bytes. `height` is the last one that its maker knew: it makes the bytes of entries that are sent
again others than those of before, so that no cache on the way takes them for the old ones. Nothing here is consensus:
batches are never ordered, and whether an entry is any good is for the pools to say.

Level 0. Raises CodecError only.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from plait.codec.bundle import bundle_hash_of, decode_leg, decode_terms, encode_leg, encode_terms, terms_of
from plait.codec.rlp import EMPTY_LIST, Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import (
    BATCH_BYTES_MAX,
    BATCH_ENTRIES_MAX,
    BUNDLE_LEGS_MAX,
    BUNDLE_UUID_CHARACTERS_MAX,
    TRANSACTION_BYTES_MAX,
)
from plait.types import Bundle, Hash32, Height, Leg, RollupId

BATCH_VERSION: Final = 1
SIGNATURE_BYTES: Final = 65
LABEL_BYTES_MAX: Final = 4 * BUNDLE_UUID_CHARACTERS_MAX
"""UTF-8."""
_NO_BYTES: Final = encode_bytes(b"")


class LabelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The signed request that gives a label its right: who signed it may replace and cancel under it."""

    label: str
    body: bytes
    """Of the HTTP request."""
    signature: bytes
    """65 bytes, over the body (`plait.rpc.authentication`)."""


class BundleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle as its sender handed it in."""

    bundle: Bundle
    hash: Hash32
    signature: bytes | None = None
    replaces: Hash32 | None = None
    request: LabelRequest | None = None


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """Withdraws one bundle, by its hash."""

    bundle_hash: Hash32
    signature: bytes


class LabelCancellation(msgspec.Struct, frozen=True, kw_only=True):
    """Withdraws the bundle under a label."""

    rollup_id: RollupId
    request: LabelRequest


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent together."""

    height: Height
    transactions: tuple[tuple[RollupId, tuple[bytes, ...]], ...] = ()
    bundles: tuple[BundleEntry, ...] = ()
    cancellations: tuple[Cancellation | LabelCancellation, ...] = ()
    actions: tuple[bytes, ...] = ()

    @property
    def entries(self) -> int:
        """How many there are."""
        columns = len(self.bundles) + len(self.cancellations) + len(self.actions)
        return columns + sum(len(raws) for _, raws in self.transactions)


def batch_hash_of(data: bytes) -> Hash32:
    """Identity of a batch."""
    return Hash32(sha256(data).digest())


def encode_batch(batch: Batch) -> bytes:
    """Canonical bytes of a batch that keeps to its bounds."""
    groups = (encode_list((encode_uint(i), encode_bytes_list(raws))) for i, raws in batch.transactions)
    return encode_list(
        (
            encode_uint(BATCH_VERSION),
            encode_uint(batch.height),
            encode_list(groups),
            encode_list(map(encode_bundle_entry, batch.bundles)),
            encode_list(map(encode_cancellation, batch.cancellations)),
            encode_bytes_list(batch.actions),
        )
    )


def encode_bundle_entry(entry: BundleEntry) -> bytes:
    """A bundle's part of a batch."""
    legs = [encode_leg(leg.transactions) for leg in entry.bundle.legs]
    return encode_list(
        (
            encode_bytes(encode_terms(terms_of(entry.bundle, legs))),
            encode_bytes_list(legs),
            _NO_BYTES if entry.signature is None else encode_bytes(entry.signature),
            _NO_BYTES if entry.replaces is None else encode_bytes(entry.replaces),
            EMPTY_LIST if entry.request is None else encode_list(_request_parts(entry.request)),
        )
    )


def encode_cancellation(entry: Cancellation | LabelCancellation) -> bytes:
    """A cancellation's part of a batch."""
    if isinstance(entry, Cancellation):
        return encode_list((encode_bytes(entry.bundle_hash), encode_bytes(entry.signature)))
    return encode_list((encode_uint(entry.rollup_id), *_request_parts(entry.request)))


def _request_parts(request: LabelRequest) -> Iterable[bytes]:
    return encode_bytes(request.label.encode()), encode_bytes(request.body), encode_bytes(request.signature)


# ---------------------------------------------------------------- decoding
def decode_batch(data: bytes) -> Batch:
    """Reads a batch; work and memory are linear in its size.

    Raises:
        CodecError: `batch_too_large`, `batch_empty`, `batch_unsorted`, `batch_bundle_mismatch`, `codec_too_many`,
            `codec_version_unknown`, `codec_invalid`, and what `plait.codec.bundle` gives.
    """
    if len(data) > BATCH_BYTES_MAX:
        raise CodecError(
            f"a batch has at most {BATCH_BYTES_MAX} bytes, {len(data)} came", code="batch_too_large", size=len(data)
        )
    outer = Reader(data, what="batch")
    reader = outer.read_list("batch")
    outer.end()
    version = reader.read_uint()
    if version != BATCH_VERSION:
        raise CodecError(
            f"batch version {version}; this build knows {BATCH_VERSION}", code="codec_version_unknown", version=version
        )
    height = Height(reader.read_uint())
    room = _Room()
    batch = Batch(
        height=height,
        transactions=_decode_groups(reader.read_list("transactions"), room),
        bundles=tuple(_decode_bundle_entry(one) for one in room.each(reader.read_list("bundles"), "bundle")),
        cancellations=tuple(
            _decode_cancellation(one) for one in room.each(reader.read_list("cancellations"), "cancellation")
        ),
        actions=tuple(room.strings(reader, "actions")),
    )
    reader.end()
    if not room.taken:
        raise CodecError("a batch without entries", code="batch_empty")
    return batch


class _Room:
    """Counts entries up to BATCH_ENTRIES_MAX."""

    def __init__(self) -> None:
        self.taken = 0

    def each(self, reader: Reader, what: str) -> Iterable[Reader]:
        while reader.more:
            self.taken += 1
            if self.taken > BATCH_ENTRIES_MAX:
                raise CodecError(f"more than {BATCH_ENTRIES_MAX} entries", code="codec_too_many")
            yield reader.read_list(what)

    def strings(self, reader: Reader, what: str) -> list[bytes]:
        left = BATCH_ENTRIES_MAX - self.taken
        found = reader.read_bytes_list(what, count_max=left, size_max=TRANSACTION_BYTES_MAX)
        self.taken += len(found)
        return found


def _decode_groups(reader: Reader, room: _Room) -> tuple[tuple[RollupId, tuple[bytes, ...]], ...]:
    groups: list[tuple[RollupId, tuple[bytes, ...]]] = []
    before = -1
    while reader.more:
        group = reader.read_list("group")
        rollup_id = group.read_uint()
        if rollup_id <= before:
            raise CodecError(f"the group of rollup {rollup_id} stands after that of {before}", code="batch_unsorted")
        before = rollup_id
        raws = room.strings(group, "group")
        group.end()
        if not raws:
            raise CodecError(f"the group of rollup {rollup_id} has no transactions", code="batch_empty")
        groups.append((RollupId(rollup_id), tuple(raws)))
    return tuple(groups)


def _decode_bundle_entry(reader: Reader) -> BundleEntry:
    data = reader.read_bytes()
    legs = reader.read_bytes_list("legs", count_max=BUNDLE_LEGS_MAX)
    signature, replaces = _optional(reader, SIGNATURE_BYTES), _optional(reader, 32)
    listed = reader.read_list("request")
    request = _decode_request(listed) if listed.more else None
    reader.end()
    terms = decode_terms(data)
    if [sha256(leg).digest() for leg in legs] != [leg.leg_hash for leg in terms.legs]:
        raise CodecError("the legs are not those that the bundle's terms name", code="batch_bundle_mismatch")
    bundle = Bundle(
        legs=tuple(
            Leg(rollup_id=named.rollup_id, transactions=tuple(decode_leg(leg)), allowed_reverts=named.allowed_reverts)
            for named, leg in zip(terms.legs, legs, strict=True)
        ),
        not_before_slot=terms.not_before_slot,
        deadline_slot=terms.deadline_slot,
        conditions=terms.conditions,
        fee_bid=terms.fee_bid,
        delivery_required=terms.delivery_required,
        pins=terms.pins,
    )
    return BundleEntry(
        bundle=bundle,
        hash=bundle_hash_of(data),
        signature=signature,
        replaces=None if replaces is None else Hash32(replaces),
        request=request,
    )


def _decode_cancellation(reader: Reader) -> Cancellation | LabelCancellation:
    first = reader.read_bytes(size_max=32)
    if len(first) == 32:
        signature = reader.read_bytes(size=SIGNATURE_BYTES)
        reader.end()
        return Cancellation(bundle_hash=Hash32(first), signature=signature)
    if len(first) > 8 or first[:1] == b"\0":
        raise CodecError("a cancellation begins with a bundle's hash or a rollup id")
    return LabelCancellation(rollup_id=RollupId(int.from_bytes(first, "big")), request=_decode_request(reader))


def _decode_request(reader: Reader) -> LabelRequest:
    try:
        label = reader.read_bytes(size_max=LABEL_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise CodecError("a label is not UTF-8") from None
    body, signature = reader.read_bytes(), reader.read_bytes(size=SIGNATURE_BYTES)
    reader.end()
    return LabelRequest(label=label, body=body, signature=signature)


def _optional(reader: Reader, size: int) -> bytes | None:
    found = reader.read_bytes(size_max=size)
    if found and len(found) != size:
        raise CodecError(f"{size} bytes or none are expected, {len(found)} found")
    return found or None
