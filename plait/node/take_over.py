"""Taking the state of a network over from a snapshot: nothing is believed but the app hash that the network agreed on.

    app hash --> sub-block header, ledger --> per rollup: head hash --> blocks, state
                                                          digest    --> open block's transactions
    payload attributes of the open block follow from the ledger; the block is executed again

Every refusal is a SnapshotRefused with its code (docs/errors.md). Blocks go to the store as they are found right; the
caller removes them again when a later check fails.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from plait.codec.rlp import Reader
from plait.crypto.open_digest import OPEN_DIGEST_EMPTY, extend_open_digest
from plait.errors import CodecError, InvariantBroken, SnapshotRefused
from plait.ledger.encoding import decode_ledger, ledger_root
from plait.ledger.l1 import undo_blocks
from plait.ledger.state import LedgerState, RollupRecord
from plait.limits import NETWORK_SNAPSHOT_OPEN_BYTES_MAX
from plait.native import NativeError, Rollup, Store, keccak256_many
from plait.node.network_snapshot import spans_of, split_head
from plait.protocol.proposal import app_hash_of, decode_header, header_hash_of
from plait.protocol.registry import RollupSource, attributes_of
from plait.storage.manifest import HEAD, Manifest, blocks_part, open_part, state_part
from plait.types import Hash32, Height, RollupId

GenesisOf = Callable[[LedgerState], Mapping[RollupId, bytes]]
"""op-geth's genesis JSON of every rollup of a ledger, those that joined later included."""

_TRANSACTIONS_MAX = NETWORK_SNAPSHOT_OPEN_BYTES_MAX // 64


class Taken(msgspec.Struct, frozen=True):
    """A state that was taken over and found to be the agreed one."""

    ledger: LedgerState
    app_hash: Hash32
    rollups: Mapping[RollupId, Rollup]

    @property
    def height(self) -> Height:
        """Whose state it is."""
        return self.ledger.height


def check_head(data: bytes, height: Height, app_hash: Hash32) -> LedgerState:
    """The ledger of a snapshot's first part.

    Raises:
        SnapshotRefused: `snapshot_head_wrong` when it is not what `app_hash` commits to at `height`.
    """
    try:
        header_bytes, ledger_bytes = split_head(data)
        header = decode_header(header_bytes)
        # The header first: it is small, and a made-up one ends here.
        computed = app_hash_of(height, header_hash_of(header_bytes), header.ledger_root)
        if computed != app_hash or header.height != height:
            raise SnapshotRefused(
                f"The header in the snapshot of height {height} gives app hash 0x{computed.hex()}; the network agreed "
                f"on 0x{app_hash.hex()}.",
                code="snapshot_head_wrong",
                height=height,
            )
        ledger = decode_ledger(ledger_bytes)
    except CodecError as error:
        raise SnapshotRefused(
            f"The snapshot of height {height} does not begin with a sub-block header and a ledger: {error}.",
            code="snapshot_head_wrong",
        ) from error
    if ledger_root(ledger) != header.ledger_root or ledger.height != height:
        raise SnapshotRefused(
            f"The ledger in the snapshot of height {height} is not the one of its header.",
            code="snapshot_head_wrong",
            height=height,
        )
    return ledger


def check_parts(manifest: Manifest, ledger: LedgerState) -> None:
    """Raises SnapshotRefused (`snapshot_parts_wrong`) when the manifest's parts are not those that the ledger needs."""
    if [one.rollup_id for one in manifest.rollups] != list(ledger.rollup_ids):
        raise SnapshotRefused("The snapshot's rollups are not those of its ledger.", code="snapshot_parts_wrong")
    for one, record in zip(manifest.rollups, ledger.rollups, strict=True):
        expected = len(spans_of(ledger.parameters, record))
        if len(one.spans) != expected:
            raise SnapshotRefused(
                f"The snapshot has {len(one.spans)} spans of blocks of rollup {one.rollup_id}, {expected} are needed.",
                code="snapshot_parts_wrong",
                rollup_id=one.rollup_id,
            )


def take_over(path: Path, agreed: Taken, store: Store, genesis_of: GenesisOf, source: RollupSource) -> Taken:
    """Builds every rollup from the parts in `path`; their blocks are put into `store`.

    Args:
        agreed: ledger and app hash, without rollups: of `check_head`, and `check_parts` found its parts in `path`.

    Raises:
        SnapshotRefused: a part is not what the ledger commits to.
        NativeError: the store or a file fails.
        OSError: a file cannot be read.
        InvariantBroken: `genesis_missing`: a rollup's genesis is not known here.
    """
    ledger = agreed.ledger
    genesis = genesis_of(ledger)
    rollups: dict[RollupId, Rollup] = {}
    for record in ledger.rollups:
        if record.rollup_id not in genesis:
            raise InvariantBroken(
                f"The genesis of rollup {record.rollup_id} is not known here.",
                code="genesis_missing",
                rollup_id=record.rollup_id,
            )
        rollups[record.rollup_id] = _take_rollup(path, ledger, record, store, genesis[record.rollup_id], source)
    return Taken(ledger, agreed.app_hash, rollups)


def read_head(path: Path) -> bytes:
    """The first part's bytes. Raises OSError."""
    return (path / HEAD).read_bytes()


def check_open(record: RollupRecord, data: bytes) -> list[bytes]:
    """The open block's transactions, raw. Raises SnapshotRefused (`snapshot_open_block_wrong`)."""
    try:
        outer = Reader(data, what="open block")
        raws = outer.read_bytes_list("open block", count_max=_TRANSACTIONS_MAX)
        outer.end()
    except CodecError as error:
        raise _open_wrong(record, f"are malformed: {error}") from error
    expected = OPEN_DIGEST_EMPTY if record.open_block is None else record.open_block.digest
    if extend_open_digest(OPEN_DIGEST_EMPTY, keccak256_many(raws)) != expected:
        raise _open_wrong(record, "are not those whose digest is in the ledger")
    return raws


def _take_rollup(  # noqa: PLR0917 - a helper with one caller
    path: Path, ledger: LedgerState, record: RollupRecord, store: Store, genesis: bytes, source: RollupSource
) -> Rollup:
    parameters, rollup_id = record.parameters, record.rollup_id
    raws = check_open(record, (path / open_part(rollup_id)).read_bytes())
    spans = spans_of(ledger.parameters, record)
    block = record.open_block
    attributes = None if block is None else attributes_of(ledger, record, block.number, source)
    try:
        rollup = Rollup.take_over(
            genesis,
            store,
            state=str(path / state_part(rollup_id)),
            blocks=[str(path / blocks_part(rollup_id, age)) for age in range(len(spans))],
            head_number=record.head_number,
            head_hash=record.head_hash,
            lowest=spans[-1].lowest if spans else 1,
            attributes=attributes,
            transactions=raws,
            undo_blocks=undo_blocks(ledger.l1),
        )
    except NativeError as error:
        if error.code.startswith("snapshot_") and error.code != "snapshot_io":
            sentence = f"The snapshot's rollup {rollup_id} is not the agreed one: {error}."
            raise SnapshotRefused(sentence, code=error.code, rollup_id=rollup_id) from error
        raise
    if rollup.genesis_hash != parameters.genesis_hash:
        raise InvariantBroken(
            f"Rollup {rollup_id} has another genesis here than in the ledger.",
            code="genesis_missing",
            rollup_id=rollup_id,
        )
    _check_measures(record, rollup)
    return rollup


def _check_measures(record: RollupRecord, rollup: Rollup) -> None:
    found, agreed = rollup.open_block, record.open_block
    if found is None or agreed is None:
        same = found is None and agreed is None
    else:
        same = (found.number, found.gas_used, found.da_footprint, found.transaction_count) == (
            agreed.number,
            agreed.gas_used,
            agreed.da_footprint,
            agreed.transaction_count,
        )
    if not same:
        raise _open_wrong(record, "do not execute to what the ledger says")


def _open_wrong(record: RollupRecord, what: str) -> SnapshotRefused:
    return SnapshotRefused(
        f"The transactions of the open block of rollup {record.rollup_id} {what}.",
        code="snapshot_open_block_wrong",
        rollup_id=record.rollup_id,
    )
