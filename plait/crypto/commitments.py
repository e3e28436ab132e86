"""What a sub-block commits to: the ordered items of every rollup, and the set of rollups itself.

- items root of a rollup: RFC 6962 tree hash over its items' bytes in their order; the empty tree's hash when it has
  none
- rollups root: RFC 6962 tree hash over `rollup id (8 bytes, big-endian) || items root`, sorted by id, of all active
  rollups
- ids root: RFC 6962 tree hash over `rollup id (8 bytes, big-endian)`, sorted: a rollup that is left out is a provable
  gap

Level 1, pure.
"""

from collections.abc import Mapping, Sequence

import msgspec

from plait.native import merkle_root
from plait.types import Hash32, RollupId


class SubBlockCommitment(msgspec.Struct, frozen=True, kw_only=True):
    """The three commitments of one sub-block. `ids` are all active rollups, strictly ascending; `items_roots` follows
    them."""

    ids: tuple[RollupId, ...]
    items_roots: tuple[Hash32, ...]
    rollups_root: Hash32
    ids_root: Hash32


def id_leaf(rollup_id: RollupId) -> bytes:
    """Leaf of the ids tree: 8 bytes, big-endian."""
    return rollup_id.to_bytes(8, "big")


def rollup_leaf(rollup_id: RollupId, items_root: Hash32) -> bytes:
    """Leaf of the rollups tree: id and items root, 40 bytes."""
    return rollup_id.to_bytes(8, "big") + items_root


def items_root_of(items: Sequence[bytes]) -> Hash32:
    """RFC 6962 tree hash over item bytes; SHA-256 of nothing when empty."""
    return Hash32(merkle_root(items))


EMPTY_ITEMS_ROOT = Hash32(bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
"""RFC 6962, 2.1: the hash of an empty list is the hash of an empty string."""


def commit(rollup_ids: Sequence[RollupId], items: Mapping[RollupId, Sequence[bytes]]) -> SubBlockCommitment:
    """Commits to the items of all active rollups.

    Args:
        rollup_ids: all active rollups, strictly ascending.
        items: ordered item bytes of the rollups that have any.
    """
    roots = tuple(
        items_root_of(items[rollup_id]) if rollup_id in items else EMPTY_ITEMS_ROOT for rollup_id in rollup_ids
    )
    return SubBlockCommitment(
        ids=tuple(rollup_ids),
        items_roots=roots,
        rollups_root=Hash32(merkle_root([rollup_leaf(i, root) for i, root in zip(rollup_ids, roots, strict=True)])),
        ids_root=Hash32(merkle_root([id_leaf(i) for i in rollup_ids])),
    )
