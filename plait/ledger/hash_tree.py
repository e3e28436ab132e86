"""The tree of hashes over the rows of a table: cheap to change a little, whoever chose the keys.

    leaf   = encoded row
    node   = RFC 6962 tree hash over its leaves, ascending by key, of at most 32 rows;
             else of "branch" and its 16 children's hashes, in order, with an empty string for a child without rows
    child  = the rows whose next hex digit of SHA-256(key) is the child's place

So the hash depends on the rows alone and never on the order of changes. A change costs the path to its row: somebody
who wants a path one digit longer has to find keys whose hashes agree in one digit more, all of them.

Nodes are immutable and shared between trees. Level 3, pure.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from plait.native import merkle_root

BUCKET_ROWS_MAX: Final = 32
_BRANCH: Final = b"branch"
"""No row begins with these bytes: rows are RLP lists."""

Change: TypeAlias = tuple[bytes, bytes, bytes | None]
"""SHA-256 of a key, the key, and its encoded row, or None for no row."""


class Node:
    """Rows whose key hashes share their first digits: a bucket of few, or a branch."""

    __slots__ = ("_hash", "children", "count", "rows")

    def __init__(
        self, *, rows: tuple[tuple[bytes, bytes], ...] = (), children: tuple["Node | None", ...] = (), count: int
    ) -> None:
        self.rows = rows
        self.children = children
        self.count = count
        self._hash: bytes | None = None

    def hash(self) -> bytes:
        """Hash of the node, computed once."""
        if self._hash is None:
            if self.children:
                hashes = [b"" if child is None else child.hash() for child in self.children]
                self._hash = merkle_root([_BRANCH, *hashes])
            else:
                self._hash = merkle_root([leaf for _, leaf in self.rows])
        return self._hash

    def all_rows(self) -> list[tuple[bytes, bytes]]:
        """(key, encoded row) of everything below."""
        if not self.children:
            return list(self.rows)
        return [row for child in self.children if child is not None for row in child.all_rows()]


def changed(node: Node | None, changes: Iterable[tuple[bytes, bytes | None]]) -> Node | None:
    """The tree with every (key, encoded row) put and every (key, None) taken out; None is the tree without rows.

    Each key at most once.
    """
    return _changed(node, [(sha256(key).digest(), key, leaf) for key, leaf in changes], 0)


def tree_hash(node: Node | None) -> bytes:
    """32 bytes; of a tree without rows the hash of an empty RFC 6962 tree."""
    return merkle_root([]) if node is None else node.hash()


def way_to(node: Node | None, key: bytes) -> tuple[list[tuple[list[bytes], int]], tuple[tuple[bytes, bytes], ...]]:
    """The branches on the way from the root to a key's bucket, and the bucket's (key, encoded row), ascending by key.

    Each branch is its tree's leaves and the place among them of the one that leads on. Costs the path alone.
    """
    digits = sha256(key).digest()
    branches: list[tuple[list[bytes], int]] = []
    while node is not None and node.children:
        byte, low = divmod(len(branches), 2)
        digit = digits[byte] & 15 if low else digits[byte] >> 4
        leaves = [_BRANCH, *(b"" if child is None else child.hash() for child in node.children)]
        branches.append((leaves, 1 + digit))
        node = node.children[digit]
    return branches, () if node is None else node.rows


def _changed(node: Node | None, changes: Sequence[Change], depth: int) -> Node | None:
    if not changes:
        return node
    if node is not None and node.children:
        return _branch_changed(node.children, changes, depth)
    rows = dict(node.rows) if node is not None else {}
    for _, key, leaf in changes:
        if leaf is None:
            rows.pop(key, None)
        else:
            rows[key] = leaf
    if not rows:
        return None
    if len(rows) <= BUCKET_ROWS_MAX:
        return Node(rows=tuple(sorted(rows.items())), count=len(rows))
    return _branch_changed((None,) * 16, [(sha256(key).digest(), key, leaf) for key, leaf in rows.items()], depth)


def _branch_changed(children: tuple[Node | None, ...], changes: Sequence[Change], depth: int) -> Node | None:
    parts: dict[int, list[Change]] = {}
    byte, low = divmod(depth, 2)
    for change in changes:
        digits = change[0][byte]
        parts.setdefault(digits & 15 if low else digits >> 4, []).append(change)
    after = list(children)
    for place, part in parts.items():
        after[place] = _changed(after[place], part, depth + 1)
    count = sum(child.count for child in after if child is not None)
    branch = Node(children=tuple(after), count=count)
    if count > BUCKET_ROWS_MAX:
        return branch
    return Node(rows=tuple(sorted(branch.all_rows())), count=count) if count else None
