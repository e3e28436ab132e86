"""State sync: snapshots of this node for others, and a snapshot of others for this node.

Serving
    every node takes a snapshot at the same heights (multiples of an interval): the state is frozen between two heights,
    the files are written in a thread, the newest ones are kept; a chunk is sent only if it is what the manifest says

Taking (CometBFT's OfferSnapshot and ApplySnapshotChunk; answers carry its numbers)
    1. offer      metadata is the manifest, its hash the snapshot's; bounds, network and room on the disk are checked.
                  The app hash comes from a light client and is the one thing that is believed
    2. chunks     each is checked against the manifest and goes to disk; one that is not right is fetched again, and its
                  sender asked no more
    3. the head   (header and ledger) is checked as soon as its chunks are there: a false snapshot costs little
    4. the last   everything else is checked, then put in place (plait.node.install); the application goes on from there

A node takes a snapshot only while it has no decided heights of its own. Memory is bounded by one chunk, the head and
one open block, beside the state itself; the disk by what the offer said, which is checked against the room there is.
`offer` and `apply_chunk` belong to the application's thread, `list` and `load_chunk` to any, `take_due` to one thread.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Any

import msgspec

from plait.engines.cometbft.snapshots import Description
from plait.errors import CodecError, PlaitError, SnapshotRefused, Unavailable
from plait.limits import NETWORK_SNAPSHOT_SENDERS_MAX
from plait.native import NativeError, Store
from plait.node.install import install
from plait.node.network_snapshot import FrozenState, freeze, write_network_snapshot
from plait.node.take_over import GenesisOf, Taken, check_head, check_parts, read_head
from plait.protocol.application import Application
from plait.protocol.registry import RollupSource
from plait.storage import DataDirectory, DecidedLog, Files, Snapshots
from plait.storage.manifest import FORMAT, MANIFEST_BYTES_MAX, Manifest, decode_manifest
from plait.storage.network_snapshots import NetworkSnapshot, NetworkSnapshots
from plait.storage.received import ReceivedSnapshot
from plait.types import Hash32, Height

SENDER_CHARACTERS_MAX = 128
"""Of a peer's name; CometBFT's have 40."""


class OfferResult(IntEnum):
    """CometBFT's numbers for an offer (abci/types.proto, ResponseOfferSnapshot)."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


class ApplyResult(IntEnum):
    """CometBFT's numbers for a chunk (ResponseApplySnapshotChunk)."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


class SnapshotDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot that this node offers."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class ApplyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a chunk."""

    result: ApplyResult
    refetch: tuple[int, ...] = ()
    reject_senders: tuple[str, ...] = ()
    code: str | None = None
    """Why it was not accepted (docs/errors.md)."""


class SnapshotStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start."""

    taken: int = 0
    taken_ms_last: int = 0
    chunks_sent: int = 0
    chunks_received: int = 0
    refused: int = 0
    restored: int = 0


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """What of a node's disk a snapshot is made from and put into."""

    directory: DataDirectory
    network: Hash32
    """32 bytes that name the network."""
    log: DecidedLog
    snapshots: Snapshots
    network_snapshots: NetworkSnapshots
    store: Store
    genesis_of: GenesisOf
    source: RollupSource
    files: Files


class _Restore(msgspec.Struct):
    """A snapshot that is being received."""

    received: ReceivedSnapshot
    app_hash: Hash32
    started_at: float
    checked: Taken | None = None
    senders: OrderedDict[str, None] = msgspec.field(default_factory=OrderedDict)


class SnapshotService:
    """Gives and takes snapshots for one node.

    Args:
        application: the node's; its state moves when a snapshot was taken over.
        home: the node's disk.
        every_heights: a snapshot is taken at every multiple; 0 takes none.
        keep_heights: how many of CometBFT's blocks are kept at least; None keeps all.
        on_restored: told, in the application's thread, when the state has moved.
        logger: told of refusals and of what is done; None for nobody.
    """

    def __init__(
        self,
        application: Application,
        home: Home,
        *,
        every_heights: int = 0,
        keep_heights: int | None = None,
        on_restored: Callable[[Taken], None] = lambda _: None,
        logger: Any = None,
    ) -> None:
        self._application = application
        self._home = home
        self._every_heights = every_heights
        self._keep_heights = keep_heights
        self._on_restored = on_restored
        self._logger = logger
        self._due: FrozenState | None = None
        self._restore: _Restore | None = None
        self.refusals: OrderedDict[str, int] = OrderedDict()
        """How often each code was given."""
        self._counts = dict.fromkeys(SnapshotStatistics.__struct_fields__, 0)

    # ------------------------------------------------------------ serving
    def list(self) -> Sequence[SnapshotDescription]:
        """What this node offers, newest first."""
        return [
            SnapshotDescription(
                height=one.height,
                format=FORMAT,
                chunks=one.manifest.chunks,
                hash=one.manifest.hash,
                metadata=one.manifest.encoded,
            )
            for one in self._home.network_snapshots.held()
        ]

    def load_chunk(self, height: int, format: int, index: int) -> bytes:  # noqa: A002 - CometBFT's name
        """A chunk of an offered snapshot; empty when there is none."""
        if format != FORMAT:
            return b""
        chunk = self._home.network_snapshots.chunk(Height(height), index)
        if chunk is None:
            return b""
        self._counts["chunks_sent"] += 1
        return chunk

    def on_decided(self, height: Height) -> bool:
        """Freezes the state when a snapshot of this height is due; returns whether `take_due` has something to do.

        To be called between heights. While an earlier snapshot is being written, the newest due one waits.
        """
        if self._every_heights and height % self._every_heights == 0 and self._application.ledger.height == height:
            self._due = freeze(self._application)
            return True
        return False

    def take_due(self) -> NetworkSnapshot | None:
        """Writes the snapshot that is due, while the node goes on. Raises OSError, NativeError, PlaitError."""
        state, self._due = self._due, None
        if state is None:
            return None
        return self.take(state)

    def take(self, state: FrozenState) -> NetworkSnapshot:
        """Writes the snapshot of a frozen state. Raises OSError, NativeError, PlaitError."""
        started = time.perf_counter()
        home = self._home
        snapshot = write_network_snapshot(state, home.log, home.network_snapshots, home.network, files=home.files)
        self._counts["taken"] += 1
        self._counts["taken_ms_last"] = round((time.perf_counter() - started) * 1_000)
        return snapshot

    def oldest_height(self) -> Height | None:
        """Height of the oldest snapshot that is offered."""
        return self._home.network_snapshots.oldest_height()

    def retain_height(self, height: Height) -> int:
        """CometBFT's blocks below it are not needed; 0 keeps all.

        Those from the oldest offered snapshot on stay, because who starts from it asks for them, and those about which
        evidence may still come (CometBFT takes it until it is too old both in heights and in time).
        """
        if self._keep_heights is None:
            return 0
        ledger = self._application.ledger
        bounds, grid = ledger.economy.parameters, ledger.parameters
        aged = bounds.evidence_age_ms * grid.sub_blocks_per_slot // grid.slot_ms
        retained = height - max(self._keep_heights, bounds.evidence_age_heights, aged)
        oldest = self.oldest_height()
        return max(0, retained if oldest is None else min(retained, oldest))

    def statistics(self) -> SnapshotStatistics:
        """Counters since the start."""
        return SnapshotStatistics(**self._counts)

    # ------------------------------------------------------------ taking
    def offer(self, description: Description, app_hash: bytes) -> OfferResult:
        """Whether a snapshot of another node is wanted.

        Args:
            description: as a peer gives it; nothing of it is believed.
            app_hash: agreed on at its height, from a light client.
        """
        self._drop()
        log = self._home.log
        if log.last is not None:
            return self._offer_refused(
                OfferResult.ABORT,
                "state_sync_not_empty",
                f"this node has decided heights up to {log.height}; only one without any starts from a snapshot",
            )
        if description.format != FORMAT:
            return self._offer_refused(
                OfferResult.REJECT_FORMAT, "snapshot_format_unknown", f"format {description.format} is not {FORMAT}"
            )
        try:
            manifest = self._manifest(description, app_hash)
            received = ReceivedSnapshot(self._home.directory.restore, manifest, files=self._home.files)
        except SnapshotRefused as refused:
            return self._offer_refused(OfferResult.REJECT, refused.code, refused.message)
        except Unavailable as full:
            # The size is a peer's word: ABORT would let one liar end the search among all peers for good.
            return self._offer_refused(OfferResult.REJECT, full.code, full.message)
        except OSError as error:
            return self._offer_refused(OfferResult.ABORT, "snapshot_io", str(error))
        self._restore = _Restore(received, Hash32(app_hash), time.perf_counter())
        self._tell("snapshot_accepted", height=manifest.height, chunks=manifest.chunks, bytes=manifest.total_bytes)
        return OfferResult.ACCEPT

    def apply_chunk(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Takes a chunk of the snapshot that was accepted; with the last one the state moves.

        Args:
            index: of the chunk; in any order, also again.
            chunk: its bytes as a peer sent them.
            sender: the peer's name.
        """
        restore = self._restore
        if restore is None:
            return self._chunk_refused(ApplyResult.ABORT, "snapshot_not_offered", "no snapshot was accepted")
        if not 0 <= index < restore.received.manifest.chunks:
            sentence = f"the snapshot has no chunk {index}"
            return self._chunk_refused(ApplyResult.REJECT_SNAPSHOT, "snapshot_chunk_wrong", sentence)
        try:
            if not restore.received.put(index, chunk):
                return self._wrong_chunk(index, chunk, sender)
            self._counts["chunks_received"] += 1
            self._remember(restore, sender)
            self._check_head_when_here(restore)
            if restore.received.complete:
                self._install(restore)
        except SnapshotRefused as refused:
            # All of them gave chunks that fit the manifest, and the manifest is a lie.
            senders = tuple(restore.senders)
            self._drop()
            return self._chunk_refused(ApplyResult.REJECT_SNAPSHOT, refused.code, refused.message, senders)
        except (OSError, NativeError, PlaitError) as error:
            self._drop()
            code = "snapshot_io" if isinstance(error, OSError) else error.code
            return self._chunk_refused(ApplyResult.ABORT, code, str(error))
        return ApplyAnswer(result=ApplyResult.ACCEPT)

    # ------------------------------------------------------------ inside
    def _manifest(self, description: Description, app_hash: bytes) -> Manifest:
        if len(app_hash) != 32:
            raise SnapshotRefused("there is no app hash to check it against", code="snapshot_app_hash_missing")
        data = description.metadata
        if len(data) > MANIFEST_BYTES_MAX or sha256(data).digest() != description.hash:
            raise SnapshotRefused("its hash is not that of its manifest", code="snapshot_hash_wrong")
        try:
            manifest = decode_manifest(data)
        except CodecError as error:
            raise SnapshotRefused(f"its manifest is not one: {error}", code="snapshot_manifest_wrong") from error
        if (manifest.height, manifest.chunks) != (description.height, description.chunks):
            raise SnapshotRefused("its manifest is of another height or size", code="snapshot_manifest_wrong")
        if manifest.network != self._home.network:
            raise SnapshotRefused("it is of another network", code="snapshot_foreign")
        return manifest

    def _check_head_when_here(self, restore: _Restore) -> None:
        received = restore.received
        if restore.checked is None and received.has(received.manifest.parts[0]):
            ledger = check_head(read_head(received.directory), received.manifest.height, restore.app_hash)
            check_parts(received.manifest, ledger)
            restore.checked = Taken(ledger, restore.app_hash, {})

    def _install(self, restore: _Restore) -> None:
        assert restore.checked is not None, "the head is one of the parts"
        home = self._home
        taken = install(
            restore.received,
            restore.checked,
            application=self._application,
            directory=home.directory,
            store=home.store,
            log=home.log,
            snapshots=home.snapshots,
            network_snapshots=home.network_snapshots,
            genesis_of=home.genesis_of,
            source=home.source,
            files=home.files,
        )
        self._restore = None
        self._counts["restored"] += 1
        self._tell("snapshot_restored", height=taken.height, seconds=round(time.perf_counter() - restore.started_at, 3))
        self._on_restored(taken)

    def _wrong_chunk(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        sentence = f"chunk {index} of {len(chunk)} bytes is not the one that the manifest names"
        return self._chunk_refused(ApplyResult.RETRY, "snapshot_chunk_wrong", sentence, (sender,), (index,))

    def _remember(self, restore: _Restore, sender: str) -> None:
        restore.senders[sender[:SENDER_CHARACTERS_MAX]] = None
        while len(restore.senders) > NETWORK_SNAPSHOT_SENDERS_MAX:
            restore.senders.popitem(last=False)

    def _drop(self) -> None:
        restore, self._restore = self._restore, None
        if restore is not None:
            restore.received.discard()

    def _offer_refused(self, result: OfferResult, code: str, sentence: str) -> OfferResult:
        self._count(code)
        self._tell("snapshot_refused", code=code, reason=sentence)
        return result

    def _chunk_refused(
        self,
        result: ApplyResult,
        code: str,
        sentence: str,
        senders: tuple[str, ...] = (),
        refetch: tuple[int, ...] = (),
    ) -> ApplyAnswer:
        self._count(code)
        self._tell("snapshot_chunk_refused", code=code, reason=sentence)
        return ApplyAnswer(result=result, refetch=refetch, reject_senders=senders, code=code)

    def _count(self, code: str) -> None:
        self._counts["refused"] += 1
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def _tell(self, event: str, **values: object) -> None:
        if self._logger is not None:
            self._logger.info(event, **values)
