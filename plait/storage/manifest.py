"""The manifest of a network snapshot: which parts it has, and the hash of every chunk.

    manifest = [version = 1, network 32 B, height, head_bytes, [[rollup_id, open_bytes, [span_bytes, ...], state_bytes],
                ...], hashes]
    hashes   = SHA-256 of every chunk, joined

    part             holds                                                     file
    head             [sub-block header, ledger]                                head
    open             per rollup: [raw transaction, ...] of its open block      <rollup id>-open
    blocks           per rollup: spans of NETWORK_SNAPSHOT_SPAN_BLOCKS blocks, <rollup id>-blocks-<age>
                     newest first; the age of the newest is 0
    state            per rollup: the state of its last sealed block            <rollup id>-state

Parts follow each other in this order, rollups strictly ascending. Each part is cut into chunks of
NETWORK_SNAPSHOT_CHUNK_BYTES, the last one shorter; no chunk crosses a part's end, so that a part that did not change
has the same chunks in the next snapshot. The hash of a snapshot is the SHA-256 of its manifest. All nodes make the same
bytes at a height. Names of files are made from numbers here; a manifest has none.

Source for the limits of offers: CometBFT v0.38, statesync/reactor.go (4 MB per offer, 16 MB per chunk).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, pairwise

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import (
    NETWORK_SNAPSHOT_CHUNK_BYTES,
    NETWORK_SNAPSHOT_CHUNKS_MAX,
    NETWORK_SNAPSHOT_HEAD_BYTES_MAX,
    NETWORK_SNAPSHOT_OPEN_BYTES_MAX,
    ROLLUPS_MAX,
)
from plait.types import Hash32, Height, RollupId

FORMAT = 1
"""The format that this program makes and takes."""
HEAD = "head"
MANIFEST_BYTES_MAX = NETWORK_SNAPSHOT_CHUNKS_MAX * 36 + ROLLUPS_MAX * 64 + 128
_PART_BYTES_MAX = NETWORK_SNAPSHOT_CHUNKS_MAX * NETWORK_SNAPSHOT_CHUNK_BYTES


class RollupParts(msgspec.Struct, frozen=True):
    """Sizes of one rollup's parts, bytes."""

    rollup_id: RollupId
    open_bytes: int
    spans: tuple[int, ...]
    """Newest first."""
    state_bytes: int


class Part(msgspec.Struct, frozen=True):
    """A file of a snapshot."""

    name: str
    size_bytes: int
    first_chunk: int

    @property
    def chunks(self) -> range:
        """Indices of its chunks in the snapshot."""
        return range(self.first_chunk, self.first_chunk + chunk_count(self.size_bytes))


class Manifest:
    """What a snapshot claims to consist of."""

    def __init__(
        self, network: Hash32, height: Height, head_bytes: int, rollups: Sequence[RollupParts], hashes: bytes
    ) -> None:
        self.network = network
        self.height = height
        self.head_bytes = head_bytes
        self.rollups = tuple(rollups)
        self.hashes = hashes

    @cached_property
    def encoded(self) -> bytes:
        """Canonical bytes."""
        return encode_list(
            (
                encode_uint(FORMAT),
                encode_bytes(self.network),
                encode_uint(self.height),
                encode_uint(self.head_bytes),
                encode_list(
                    encode_list(
                        (
                            encode_uint(one.rollup_id),
                            encode_uint(one.open_bytes),
                            encode_list(map(encode_uint, one.spans)),
                            encode_uint(one.state_bytes),
                        )
                    )
                    for one in self.rollups
                ),
                encode_bytes(self.hashes),
            )
        )

    @cached_property
    def hash(self) -> Hash32:
        """Identity of the snapshot."""
        return Hash32(sha256(self.encoded).digest())

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts in order."""
        named = list(self._named())
        firsts = accumulate((chunk_count(size) for _, size in named), initial=0)
        return tuple(Part(name, size, first) for (name, size), first in zip(named, firsts, strict=False))

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        last = self.parts[-1]
        return last.chunks.stop

    @property
    def total_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    def chunk_hash(self, index: int) -> bytes:
        """SHA-256 of a chunk."""
        return self.hashes[32 * index : 32 * index + 32]

    def locate(self, index: int) -> tuple[Part, int, int]:
        """(part, offset in it, length) of chunk `index`, which must be below `chunks`."""
        part = self.parts[bisect_right(self.parts, index, key=lambda one: one.first_chunk) - 1]
        offset = (index - part.first_chunk) * NETWORK_SNAPSHOT_CHUNK_BYTES
        return part, offset, min(NETWORK_SNAPSHOT_CHUNK_BYTES, part.size_bytes - offset)

    def _named(self) -> Iterator[tuple[str, int]]:
        yield HEAD, self.head_bytes
        for one in self.rollups:
            yield open_part(one.rollup_id), one.open_bytes
            for age, size in enumerate(one.spans):
                yield blocks_part(one.rollup_id, age), size
            yield state_part(one.rollup_id), one.state_bytes


def decode_manifest(data: bytes) -> Manifest:
    """Reads a manifest from anywhere.

    Raises:
        CodecError: not the canonical bytes of a manifest within all bounds.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise CodecError(f"manifest: {len(data)} bytes, at most {MANIFEST_BYTES_MAX} are allowed", code="codec_invalid")
    outer = Reader(data, what="manifest")
    reader = outer.read_list("manifest")
    outer.end()
    version = reader.read_uint()
    if version != FORMAT:
        raise CodecError(f"manifest: version {version}, this program reads {FORMAT}", code="codec_invalid")
    network, height = Hash32(reader.read_bytes(size=32)), Height(reader.read_uint())
    head_bytes = _size(reader, NETWORK_SNAPSHOT_HEAD_BYTES_MAX)
    rollups: list[RollupParts] = []
    listed = reader.read_list("manifest rollups")
    while listed.more:
        if len(rollups) == ROLLUPS_MAX:
            raise CodecError(f"manifest: more than {ROLLUPS_MAX} rollups", code="codec_too_many")
        one = listed.read_list("manifest rollup")
        rollup_id, open_bytes = RollupId(one.read_uint()), _size(one, NETWORK_SNAPSHOT_OPEN_BYTES_MAX)
        sizes = one.read_list("manifest spans")
        spans: list[int] = []
        while sizes.more:
            spans.append(_size(sizes, _PART_BYTES_MAX))
        rollups.append(RollupParts(rollup_id, open_bytes, tuple(spans), _size(one, _PART_BYTES_MAX)))
        one.end()
    hashes = reader.read_bytes(size_max=NETWORK_SNAPSHOT_CHUNKS_MAX * 32)
    reader.end()
    for before, after in pairwise(rollups):
        if before.rollup_id >= after.rollup_id:
            raise CodecError("manifest: rollups are not ascending", code="codec_invalid")
    manifest = Manifest(network, height, head_bytes, rollups, hashes)
    if height == 0 or manifest.chunks > NETWORK_SNAPSHOT_CHUNKS_MAX or len(hashes) != 32 * manifest.chunks:
        raise CodecError("manifest: the hashes are not those of its chunks", code="codec_invalid")
    return manifest


def chunk_count(size_bytes: int) -> int:
    """How many chunks a part of this size has."""
    return -(-size_bytes // NETWORK_SNAPSHOT_CHUNK_BYTES)


def open_part(rollup_id: RollupId) -> str:
    """File of an open block's transactions."""
    return f"{rollup_id}-open"


def blocks_part(rollup_id: RollupId, age: int) -> str:
    """File of a span of blocks; `age` 0 is the span with the head."""
    return f"{rollup_id}-blocks-{age}"


def state_part(rollup_id: RollupId) -> str:
    """File of a rollup's state."""
    return f"{rollup_id}-state"


def _size(reader: Reader, maximum: int) -> int:
    size = reader.read_uint(maximum)
    if size == 0:
        raise CodecError("manifest: a part is empty", code="codec_invalid")
    return size
