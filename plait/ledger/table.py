"""An immutable sorted map from byte keys to records, with a Merkle root, that is cheap to change a little.

    leaf  = [key, record]                      RLP; `record` as the table's kind encodes it
    page  = RFC 6962 tree hash over its leaves, ascending by key
    root  = RFC 6962 tree hash over the page roots, ascending

A page begins at every key whose SHA-256 starts with a byte below 4, one key of 64, and at the first key. So the pages,
and with them the root, depend on the content alone and never on the order of changes, and a change costs the pages it
touches and not the table. Somebody who grinds keys to make one page long pays for every entry and slows only hashing.

`with_changes` shares all untouched pages with the table it starts from. Level 3, pure.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Generic, TypeVar

from plait.codec.rlp import Reader, encode_bytes, encode_list
from plait.errors import CodecError
from plait.limits import LEDGER_TABLE_ROWS_MAX
from plait.native import merkle_root
from plait.types import Hash32

R = TypeVar("R")

_BOUNDARY_BELOW = 4


class TableKind(Generic[R]):
    """What a table holds: its name, the size of its keys in bytes, and the codec of one record."""

    __slots__ = ("decode", "encode", "key_size", "name")

    def __init__(self, name: str, key_size: int, encode: Callable[[R], bytes], decode: Callable[[Reader], R]) -> None:
        self.name = name
        self.key_size = key_size
        self.encode = encode
        self.decode = decode


class _Page(Generic[R]):
    """A run of entries; its root is computed when it is asked for."""

    __slots__ = ("keys", "leaves", "records", "root")

    def __init__(self, entries: list[tuple[bytes, R, bytes]]) -> None:
        self.keys = [entry[0] for entry in entries]
        self.records = [entry[1] for entry in entries]
        self.leaves = [entry[2] for entry in entries]
        self.root: bytes | None = None

    def entries(self) -> list[tuple[bytes, R, bytes]]:
        return list(zip(self.keys, self.records, self.leaves, strict=True))


class Table(Generic[R]):
    """Immutable; compare with `==`, read with `get` and `items`, change with `with_changes`."""

    __slots__ = ("_count", "_firsts", "_pages", "_root", "kind")

    def __init__(self, kind: TableKind[R], rows: Iterable[tuple[bytes, R]] = ()) -> None:
        self.kind = kind
        self._pages: list[_Page[R]] = []
        self._firsts: list[bytes] = []
        self._count = 0
        self._root: Hash32 | None = None
        entries = [(key, record, self._leaf(key, record)) for key, record in sorted(rows, key=lambda row: row[0])]
        if entries:
            self._fill(_split(entries))

    def _fill(self, pages: list[_Page[R]]) -> None:
        self._pages = pages
        self._firsts = [page.keys[0] for page in pages]
        self._count = sum(len(page.keys) for page in pages)

    def _leaf(self, key: bytes, record: R) -> bytes:
        return encode_list((encode_bytes(key), self.kind.encode(record)))

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.kind.name == other.kind.name and (
            self is other or (self._count == other._count and list(self.leaves()) == list(other.leaves()))
        )

    __hash__ = None  # type: ignore[assignment]  # a map is no key

    def get(self, key: bytes) -> R | None:
        """The record at `key`, or None."""
        index = bisect_right(self._firsts, key) - 1
        if index < 0:
            return None
        page = self._pages[index]
        keys = page.keys
        at = bisect_left(keys, key)
        return page.records[at] if at < len(keys) and keys[at] == key else None

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, R]]:
        """Entries whose key starts with `prefix`, ascending."""
        index = max(0, bisect_right(self._firsts, prefix) - 1)
        for page in self._pages[index:]:
            keys = page.keys
            for at in range(bisect_left(keys, prefix), len(keys)):
                key = keys[at]
                if not key.startswith(prefix):
                    return
                yield key, page.records[at]

    def leaves(self) -> Iterator[bytes]:
        """Encoded entries, ascending by key."""
        for page in self._pages:
            yield from page.leaves

    def root(self) -> Hash32:
        """Tree hash over the page roots."""
        if self._root is None:
            for page in self._pages:
                if page.root is None:
                    page.root = merkle_root(page.leaves)
            self._root = Hash32(merkle_root([page.root or b"" for page in self._pages]))
        return self._root

    def with_changes(self, changes: Mapping[bytes, R | None]) -> "Table[R]":
        """This table with every record of `changes` put at its key, and every None's key removed."""
        if not changes:
            return self
        by_page: dict[int, list[bytes]] = {}
        for key in sorted(changes):
            by_page.setdefault(max(0, bisect_right(self._firsts, key) - 1), []).append(key)
        pages: list[_Page[R]] = []
        done = 0
        for index in sorted(by_page):
            pages.extend(self._pages[done:index])
            done = index + 1
            old = self._pages[index].entries() if index < len(self._pages) else []
            entries = self._merged(old, by_page[index], changes)
            if not entries:
                continue
            if pages and not _begins_page(entries[0][0]):
                entries = pages.pop().entries() + entries
            pages.extend(_split(entries, {*by_page[index], *(entry[0] for entry in old[:1])}))
        pages.extend(self._pages[done:])
        after: Table[R] = Table(self.kind)
        after._fill(pages)
        return after

    def _merged(
        self, old: list[tuple[bytes, R, bytes]], keys: list[bytes], changes: Mapping[bytes, R | None]
    ) -> list[tuple[bytes, R, bytes]]:
        touched = set(keys)
        merged = [entry for entry in old if entry[0] not in touched]
        for key in keys:
            record = changes[key]
            if record is not None:
                merged.append((key, record, self._leaf(key, record)))
        merged.sort(key=lambda entry: entry[0])
        return merged


def _begins_page(key: bytes) -> bool:
    return sha256(key).digest()[0] < _BOUNDARY_BELOW


def _split(entries: list[tuple[bytes, R, bytes]], asked: set[bytes] | None = None) -> list[_Page[R]]:
    """Pages of a run of entries that is not empty; its first entry begins a page whatever its key.

    `asked`: the only other keys that can begin one; all, when None. The rest stood within pages before.
    """
    starts = [
        at
        for at, (key, _, _) in enumerate(entries)
        if at == 0 or ((asked is None or key in asked) and _begins_page(key))
    ]
    return [_Page(entries[start:stop]) for start, stop in zip(starts, [*starts[1:], len(entries)], strict=True)]


def decode_table(kind: TableKind[R], reader: Reader) -> Table[R]:
    """Reads a table from a list of its leaves.

    Raises:
        CodecError: not canonical, a key of another size, keys not strictly ascending, or too many rows.
    """
    rows: list[tuple[bytes, R]] = []
    while reader.more:
        if len(rows) == LEDGER_TABLE_ROWS_MAX:
            raise CodecError(f"more than {LEDGER_TABLE_ROWS_MAX} rows of {kind.name}")
        leaf = reader.read_list(f"row of {kind.name}")
        key = leaf.read_bytes(size=kind.key_size)
        record = kind.decode(leaf.read_list(f"record of {kind.name}"))
        leaf.end()
        if rows and rows[-1][0] >= key:
            raise CodecError(f"keys of {kind.name} are not strictly ascending", key=key.hex())
        rows.append((key, record))
    return Table(kind, rows)
