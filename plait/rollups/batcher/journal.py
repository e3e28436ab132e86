"""What was signed under which nonce: on disk before anything is sent, so that a kill at any moment leaves no gap.

Layout of a directory, one per batcher account
    <nonce>.tx     one transaction of a posting: its content, its fees, the posting's ranges (msgpack)
    cursors        how far every rollup is posted for good and what that cost, and the nonce after the last transaction
                   forgotten (msgpack)

Invariants
    - A posting's transactions have consecutive nonces; all of them are written before the first is sent. A posting
      whose files are not all there was never sent, and its files are removed at open.
    - `cursors` is written before the transactions that it covers are removed. It counts what they cost in the same
      write, so that a posting is counted once whatever happens in between.
    - A file is replaced whole (write, sync, rename), so it is always readable.
Without a directory everything is in memory, for nodes that keep nothing. Raises InvariantBroken for a damaged file: to
go on without it could post something else under a nonce that is in use.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import InvariantBroken
from plait.rollups.batcher.l1_transactions import Content, Fees
from plait.rollups.batcher.sidecars import Sidecar
from plait.storage.files import TEMPORARY_SUFFIX, Files
from plait.types import BlockNumber, Gas, Hash32, RollupId

_SUFFIX: Final = ".tx"
_CURSORS: Final = "cursors"
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks of one rollup that a posting holds, both ends included."""

    rollup_id: RollupId
    first: BlockNumber
    last: BlockNumber
    last_hash: Hash32
    bytes: int
    """Of the posting's L1 data, those that carry this rollup's channel."""


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """One posting for all rollups of a slot range: one transaction, or several of consecutive nonces."""

    first_nonce: int
    transactions: int
    ranges: tuple[Range, ...]
    made_at_ms: int


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One transaction of a posting. `offers` are the fees under which it was signed so far, the newest last."""

    nonce: int
    posting: Posting
    content: Content
    gas_limit: Gas
    sidecar: Sidecar | None
    offers: tuple[tuple[Hash32, Fees], ...]
    void: bool = False
    """Its ranges are posted again by others: a transaction before it was lost, so derivation drops what it holds."""


class Cursor(msgspec.Struct, frozen=True):
    """The last block of a rollup that is posted for good."""

    number: BlockNumber
    hash: Hash32


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What postings cost one rollup, as far as L1 holds them."""

    postings: int = 0
    blocks: int = 0
    bytes: int = 0
    gas: int = 0
    blob_gas: int = 0
    wei: int = 0

    def plus(self, other: "Costs") -> "Costs":
        """Both together."""
        return Costs(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Settled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What remains of transactions that were forgotten because L1 made them final."""

    next_nonce: int = 0
    cursors: dict[int, Cursor] = {}
    costs: dict[int, Costs] = {}
    """Of all that was forgotten, by rollup."""


class Journal:
    """The batcher's memory across crashes. Calls block for a disk sync; make them in a thread."""

    def __init__(self, directory: Path | None, files: Files | None = None) -> None:
        self._directory = directory
        self._files = files or Files()
        self.entries: dict[int, Entry] = {}
        """By nonce, rising."""
        self.settled = Settled()
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._open(directory)

    def add(self, entries: Iterable[Entry]) -> None:
        """Writes the transactions of one posting. Raises OSError."""
        added = list(entries)
        for entry in added:
            assert entry.nonce not in self.entries, "a nonce keeps its content"
            self._write(entry)
        self.entries = self.entries | {entry.nonce: entry for entry in added}

    def offered(self, nonce: int, hash_: Hash32, fees: Fees) -> Entry:
        """Notes that the transaction was signed with other fees, before it is sent so. Raises OSError."""
        entry = self.entries[nonce]
        entry = msgspec.structs.replace(entry, offers=(*entry.offers, (hash_, fees)))
        self._write(entry)
        self.entries[nonce] = entry
        return entry

    def settle(self, posting: Posting, costs: Mapping[int, Costs] | None = None) -> None:
        """Forgets a posting that L1 made final, and counts what it cost its rollups. Raises OSError."""
        last_nonce = posting.first_nonce + posting.transactions - 1
        cursors = dict(self.settled.cursors)
        parts = () if self.entries[posting.first_nonce].void else posting.ranges
        for part in parts:
            cursors[part.rollup_id] = Cursor(part.last, part.last_hash)
        spent = dict(self.settled.costs)
        for rollup_id, cost in (costs or {}).items():
            spent[rollup_id] = spent.get(rollup_id, Costs()).plus(cost)
        self._settle(Settled(next_nonce=max(self.settled.next_nonce, last_nonce + 1), cursors=cursors, costs=spent))
        self._remove(range(posting.first_nonce, last_nonce + 1))

    def void_from(self, nonce: int) -> None:
        """What is posted from this nonce on counts for nothing and is to be posted again. Raises OSError."""
        for one, entry in reversed(self.entries.items()):
            # The last first: a crash in between leaves void what came after the loss, which is then noticed again.
            if one >= nonce and not entry.void:
                self._write(entry := msgspec.structs.replace(entry, void=True))
                self.entries[one] = entry

    def rewind(self, cursors: Mapping[int, Cursor], next_nonce: int) -> None:
        """Forgets everything but what was paid: L1 does not know what the journal says is final. Raises OSError."""
        self._settle(Settled(next_nonce=next_nonce, cursors=dict(cursors), costs=self.settled.costs))
        self._remove(tuple(self.entries))

    def postings(self) -> list[Posting]:
        """Postings that are not final yet, by rising nonce."""
        return [entry.posting for nonce, entry in self.entries.items() if nonce == entry.posting.first_nonce]

    def ranges(self, rollup_id: RollupId) -> list[Range]:
        """What is posted of a rollup after its settled cursor, in order."""
        live = [posting for posting in self.postings() if not self.entries[posting.first_nonce].void]
        return [part for posting in live for part in posting.ranges if part.rollup_id == rollup_id]

    def next_nonce(self) -> int:
        """The nonce after all that the journal ever held."""
        return max(self.settled.next_nonce, max(self.entries, default=-1) + 1)

    # ------------------------------------------------------------ inside
    def _open(self, directory: Path) -> None:
        for leftover in directory.glob(f"*{TEMPORARY_SUFFIX}"):
            leftover.unlink()
        found = [_read(path, Entry) for path in directory.glob(f"*{_SUFFIX}")]
        self.entries = {entry.nonce: entry for entry in sorted(found, key=lambda entry: entry.nonce)}
        if (directory / _CURSORS).exists():
            self.settled = _read(directory / _CURSORS, Settled)
        self._remove([nonce for nonce, entry in self.entries.items() if not self._is_kept(entry)])

    def _is_kept(self, entry: Entry) -> bool:
        """Whether the posting of an entry is complete and not final."""
        first = entry.posting.first_nonce
        whole = all(nonce in self.entries for nonce in range(first, first + entry.posting.transactions))
        return whole and entry.nonce >= self.settled.next_nonce

    def _settle(self, settled: Settled) -> None:
        if self._directory is not None:
            self._files.write_whole(self._directory / _CURSORS, msgspec.msgpack.encode(settled))
        self.settled = settled

    def _write(self, entry: Entry) -> None:
        if self._directory is not None:
            self._files.write_whole(self._path(entry.nonce), msgspec.msgpack.encode(entry))

    def _remove(self, nonces: Iterable[int]) -> None:
        gone = set(nonces)
        # another one, not less in the same: other threads walk through what they were given
        self.entries = {nonce: entry for nonce, entry in self.entries.items() if nonce not in gone}
        for nonce in sorted(gone, reverse=True):
            if self._directory is not None and self._path(nonce).exists():
                self._files.remove(self._path(nonce))

    def _path(self, nonce: int) -> Path:
        assert self._directory is not None, "asked by those who have one"
        return self._directory / f"{nonce}{_SUFFIX}"


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except DAMAGED as error:
        raise InvariantBroken(
            f"{path} is damaged ({said(error)}). Stop the batcher, wait until L1 took or forgot what it sent, and "
            "remove its directory: it then finds on L1 how far it was.",
            code="batcher_journal_damaged",
            file=str(path),
        ) from error


__all__ = ["Costs", "Cursor", "Entry", "Journal", "Posting", "Range", "Settled"]
