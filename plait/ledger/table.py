"""An immutable sorted map from byte keys to records, with a Merkle root, that is cheap to change a little.

    leaf  = [key, record]                      RLP; `record` as the table's kind encodes it
    root  = hash of the tree over the leaves, by the hashes of their keys (`hash_tree`)

The root depends on the content alone and never on the order of changes. Rows lie in pages of bounded length, ascending
by key; where a page begins is nobody's business but this module's. A change costs the pages and the paths it touches
and not the table, whoever chose the keys.

`with_changes` shares all untouched pages and nodes with the table it starts from. Level 3, pure.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from plait.codec.rlp import Reader, encode_bytes, encode_list
from plait.errors import CodecError
from plait.ledger.hash_tree import Node, changed, tree_hash, way_to
from plait.limits import LEDGER_TABLE_ROWS_MAX
from plait.types import Hash32

R = TypeVar("R")

_PAGE_ROWS: Final = 48
"""Rows of a new page; one that has grown to more than twice as many is split."""


class TableKind(Generic[R]):
    """What a table holds: its name, the size of its keys in bytes, and the codec of one record."""

    __slots__ = ("decode", "encode", "key_size", "name")

    def __init__(self, name: str, key_size: int, encode: Callable[[R], bytes], decode: Callable[[Reader], R]) -> None:
        self.name = name
        self.key_size = key_size
        self.encode = encode
        self.decode = decode


class _Page(Generic[R]):
    """A run of entries."""

    __slots__ = ("keys", "leaves", "records")

    def __init__(self, entries: list[tuple[bytes, R, bytes]]) -> None:
        self.keys = [entry[0] for entry in entries]
        self.records = [entry[1] for entry in entries]
        self.leaves = [entry[2] for entry in entries]

    def entries(self) -> list[tuple[bytes, R, bytes]]:
        return list(zip(self.keys, self.records, self.leaves, strict=True))


class Table(Generic[R]):
    """Immutable; compare with `==`, read with `get` and `items`, change with `with_changes`."""

    __slots__ = ("_count", "_firsts", "_pages", "_tree", "kind")

    def __init__(self, kind: TableKind[R], rows: Iterable[tuple[bytes, R]] = ()) -> None:
        self.kind = kind
        entries = [(key, record, self._leaf(key, record)) for key, record in sorted(rows, key=lambda row: row[0])]
        self._fill(_split(entries), changed(None, [(key, leaf) for key, _, leaf in entries]))

    def _fill(self, pages: list[_Page[R]], tree: Node | None) -> None:
        self._pages = pages
        self._tree = tree
        self._firsts = [page.keys[0] for page in pages]
        self._count = 0 if tree is None else tree.count

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

    def way_to(self, key: bytes) -> tuple[list[tuple[list[bytes], int]], tuple[tuple[bytes, bytes], ...]]:
        """Branches of the tree from the root to a key's bucket, and the bucket (`hash_tree.way_to`)."""
        return way_to(self._tree, key)

    def root(self) -> Hash32:
        """Hash of the tree over the leaves."""
        return Hash32(tree_hash(self._tree))

    def with_changes(self, changes: Mapping[bytes, R | None]) -> "Table[R]":
        """This table with every record of `changes` put at its key, and every None's key removed."""
        if not changes:
            return self
        leaves: dict[bytes, bytes | None] = {}
        by_page: dict[int, list[bytes]] = {}
        for key in sorted(changes):
            record = changes[key]
            leaves[key] = None if record is None else self._leaf(key, record)
            by_page.setdefault(max(0, bisect_right(self._firsts, key) - 1), []).append(key)
        pages: list[_Page[R]] = []
        done = 0
        for index in sorted(by_page):
            pages.extend(self._pages[done:index])
            done = index + 1
            merged = {entry[0]: entry for entry in self._pages[index].entries()} if index < len(self._pages) else {}
            for key in by_page[index]:
                record, leaf = changes[key], leaves[key]
                if record is None or leaf is None:
                    merged.pop(key, None)
                else:
                    merged[key] = (key, record, leaf)
            pages.extend(_split([merged[key] for key in sorted(merged)]))
        pages.extend(self._pages[done:])
        after: Table[R] = Table.__new__(Table)
        after.kind = self.kind
        after._fill(pages, changed(self._tree, leaves.items()))
        return after


def _split(entries: list[tuple[bytes, R, bytes]]) -> list[_Page[R]]:
    if not entries:
        return []
    if len(entries) <= 2 * _PAGE_ROWS:
        return [_Page(entries)]
    return [_Page(entries[start : start + _PAGE_ROWS]) for start in range(0, len(entries), _PAGE_ROWS)]


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
