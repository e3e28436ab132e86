"""Taking a snapshot for other nodes: everything of a height that its app hash commits to, and what agreement will ask.

    head     [sub-block header, ledger]: app hash = SHA-256([height, header hash, ledger root])
    open     the open block's transactions: the ledger has their digest
    blocks   sealed blocks: the ledger has the head's hash, every block its parent's. As many as a message may have
             come from (MESSAGE_LOGS_KEPT_S), and as BLOCKHASH can name, rounded down to a whole span
    state    the state after the head: its header has the root

The committed state is frozen between two heights, which costs a pointer per rollup; the files are written while the
node goes on. All nodes write the same bytes at a height. Files and chunks: plait.storage.manifest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_bytes_list, encode_list
from plait.errors import InvariantBroken
from plait.ledger.encoding import decode_ledger, encode_ledger, ledger_root
from plait.ledger.state import LedgerState, RollupRecord
from plait.limits import (
    MESSAGE_LOGS_KEPT_S,
    NETWORK_SNAPSHOT_HEAD_BYTES_MAX,
    NETWORK_SNAPSHOT_SPAN_BLOCKS,
    UNWIND_BLOCKS_MAX,
)
from plait.native import SHARED_UNDO_BLOCKS, FrozenRollup
from plait.protocol.application import Application
from plait.protocol.proposal import app_hash_of, decode_proposal, encode_header, header_hash_of
from plait.storage import DecidedLog, MemoryLog
from plait.storage.files import Files
from plait.storage.manifest import HEAD, RollupParts, blocks_part, open_part, state_part
from plait.storage.network_snapshots import NetworkSnapshot, NetworkSnapshots, describe
from plait.types import BlockNumber, Hash32, Height, NetworkParameters, RollupId

RECENT_BLOCKS = UNWIND_BLOCKS_MAX + 256
"""A rollup can be taken back so far, and BLOCKHASH names 256 ancestors below."""


class FrozenState(msgspec.Struct, frozen=True):
    """The committed state at one height; later heights do not touch it."""

    ledger: LedgerState
    app_hash: Hash32
    rollups: Mapping[RollupId, FrozenRollup]

    @property
    def height(self) -> Height:
        """Whose state it is."""
        return self.ledger.height


class Span(msgspec.Struct, frozen=True):
    """Consecutive blocks of one file."""

    number: int
    highest: int
    lowest: int

    @property
    def full(self) -> bool:
        """Whether no later block belongs to it."""
        return self.highest % NETWORK_SNAPSHOT_SPAN_BLOCKS == NETWORK_SNAPSHOT_SPAN_BLOCKS - 1


def freeze(application: Application) -> FrozenState:
    """The committed state as it stands. Not to be called while a height is in progress."""
    rollups = {rollup_id: rollup.freeze() for rollup_id, rollup in application.rollups.items()}
    return FrozenState(application.ledger, application.app_hash, rollups)


def lowest_block(parameters: NetworkParameters, record: RollupRecord) -> BlockNumber:
    """The lowest block that a node needs which starts from this state; 1 at least."""
    block_ms = record.parameters.block_time_slots * parameters.slot_ms
    newest = record.open_block.number if record.open_block is not None else record.head_number
    by_age = newest - MESSAGE_LOGS_KEPT_S * 1_000 // block_ms
    return BlockNumber(max(1, min(by_age, record.head_number - RECENT_BLOCKS)))


def spans_of(parameters: NetworkParameters, record: RollupRecord) -> list[Span]:
    """The spans of a rollup's blocks that belong to a snapshot of this state, newest first."""
    size, head = NETWORK_SNAPSHOT_SPAN_BLOCKS, int(record.head_number)
    if head == 0:
        return []
    return [
        Span(number, min(head, number * size + size - 1), max(1, number * size))
        for number in range(head // size, lowest_block(parameters, record) // size - 1, -1)
    ]


def write_network_snapshot(
    state: FrozenState,
    log: DecidedLog | MemoryLog,
    snapshots: NetworkSnapshots,
    network: Hash32,
    *,
    files: Files | None = None,
) -> NetworkSnapshot:
    """Writes the snapshot of a frozen state, while the node goes on.

    Args:
        log: holds the state's height.
        network: 32 bytes that name the network.

    Raises:
        InvariantBroken: `height_pruned` when the log does not hold the height, `snapshot_mismatch` when it has another
            app hash.
        OSError, NativeError: a part cannot be written.
    """
    disk = files if files is not None else Files()
    header = _header_of(state, log)
    previous = _previous(snapshots, state.ledger)
    work = snapshots.begin(state.height)
    head = encode_list((encode_bytes(header), encode_bytes(encode_ledger(state.ledger))))
    disk.write_whole(work / HEAD, head)
    known: dict[str, bytes] = {}
    rollups = [_write_rollup(state, record, work, snapshots, previous, known, disk) for record in state.ledger.rollups]
    manifest = describe(network, state.height, work, rollups, known)
    return snapshots.finish(work, manifest, heads_of(state.ledger))


def heads_of(ledger: LedgerState) -> dict[RollupId, BlockNumber]:
    """The last sealed block of every rollup."""
    return {record.rollup_id: record.head_number for record in ledger.rollups}


def encode_open(raws: Sequence[bytes]) -> bytes:
    """The part of an open block's transactions."""
    return encode_bytes_list(raws)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """(sub-block header's bytes, ledger's bytes). Raises CodecError."""
    outer = Reader(data, what="snapshot head")
    reader = outer.read_list("snapshot head")
    outer.end()
    header = reader.read_bytes(size_max=NETWORK_SNAPSHOT_HEAD_BYTES_MAX)
    ledger = reader.read_bytes(size_max=NETWORK_SNAPSHOT_HEAD_BYTES_MAX)
    reader.end()
    return header, ledger


def decode_head(data: bytes) -> tuple[bytes, LedgerState]:
    """(sub-block header's bytes, ledger). Raises CodecError."""
    header, ledger = split_head(data)
    return header, decode_ledger(ledger)


class _Previous(msgspec.Struct, frozen=True):
    """An older snapshot, for the spans that the next one has too."""

    snapshot: NetworkSnapshot
    heads: Mapping[RollupId, BlockNumber]
    may_go: int
    """Blocks below those heads that another chain may have taken the place of since, and whose undo records are in its
    files; 0 without an L1."""


def _previous(snapshots: NetworkSnapshots, ledger: LedgerState) -> _Previous | None:
    newest = snapshots.newest()
    if newest is None:
        return None
    may_go = 0 if ledger.l1 is None else max(UNWIND_BLOCKS_MAX, SHARED_UNDO_BLOCKS)
    if newest.heads is not None:
        return _Previous(newest, newest.heads, may_go)
    _, before = decode_head((newest.path / HEAD).read_bytes())
    return _Previous(newest, heads_of(before), may_go)


def _header_of(state: FrozenState, log: DecidedLog | MemoryLog) -> bytes:
    record = log.read(state.height)
    if record is None:
        raise InvariantBroken(
            f"The log does not hold height {state.height} any more.", code="height_pruned", height=state.height
        )
    header = encode_header(decode_proposal(record.proposal).header)
    expected = app_hash_of(state.height, header_hash_of(header), ledger_root(state.ledger))
    if not record.app_hash == state.app_hash == expected:
        raise InvariantBroken(
            f"The state of height {state.height} is not the one that its record in the log names.",
            code="snapshot_mismatch",
            height=state.height,
        )
    return header


def _write_rollup(  # noqa: PLR0917 - a helper with one caller
    state: FrozenState,
    record: RollupRecord,
    work: Path,
    snapshots: NetworkSnapshots,
    previous: _Previous | None,
    known: dict[str, bytes],
    disk: Files,
) -> RollupParts:
    rollup_id, frozen = record.rollup_id, state.rollups[record.rollup_id]
    opened = encode_open(frozen.open_transactions())
    disk.write_whole(work / open_part(rollup_id), opened)
    spans = spans_of(state.ledger.parameters, record)
    sizes: list[int] = []
    for age, span in enumerate(spans):
        name = blocks_part(rollup_id, age)
        if not _reuse(work / name, span, rollup_id, snapshots, previous, known):
            frozen.write_blocks(str(work / name), span.highest, span.lowest)
        sizes.append((work / name).stat().st_size)
    state_bytes = frozen.write_state(str(work / state_part(rollup_id)))
    return RollupParts(rollup_id, len(opened), tuple(sizes), state_bytes)


def _reuse(  # noqa: PLR0917 - a helper with one caller
    target: Path,
    span: Span,
    rollup_id: RollupId,
    snapshots: NetworkSnapshots,
    previous: _Previous | None,
    known: dict[str, bytes],
) -> bool:
    """Links a span's file from the previous snapshot when it was full there, and no way back leads below its end."""
    head = None if previous is None else previous.heads.get(rollup_id)
    if previous is None or head is None or not span.full or head - previous.may_go < span.highest:
        return False
    old_name = blocks_part(rollup_id, head // NETWORK_SNAPSHOT_SPAN_BLOCKS - span.number)
    manifest = previous.snapshot.manifest
    part = next((one for one in manifest.parts if one.name == old_name), None)
    if part is None or not snapshots.link(previous.snapshot.path / old_name, target):
        return False
    known[target.name] = manifest.hashes[32 * part.chunks.start : 32 * part.chunks.stop]
    return True
