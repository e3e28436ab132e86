"""RFC 6962 Merkle trees over SHA-256: root, inclusion and consistency proofs, and their verification.

Leaf hash = SHA-256(0x00 || leaf), node hash = SHA-256(0x01 || left || right), split at the largest power of two below
the size, empty tree = SHA-256 of nothing. Proofs are lists of hashes from the leaf's side to the root (RFC 6962, 2.1.1
and 2.1.2; verification as in RFC 9162, 2.1.3.2 and 2.1.4.2, which describes the same trees).

Roots of many leaves come from `plait.native.merkle_root`; this module makes proofs, and verifies them without native
code, as a light client does. Level 1, pure.
"""

from collections.abc import Sequence
from hashlib import sha256

from plait.types import Hash32

EMPTY_ROOT = Hash32(sha256().digest())


def leaf_hash(leaf: bytes) -> Hash32:
    """Hash of one leaf."""
    return Hash32(sha256(b"\x00" + leaf).digest())


def node_hash(left: bytes, right: bytes) -> Hash32:
    """Hash of an inner node."""
    return Hash32(sha256(b"\x01" + left + right).digest())


def root(leaves: Sequence[bytes]) -> Hash32:
    """Tree hash over the leaves."""
    return _root_of([leaf_hash(leaf) for leaf in leaves])


def _root_of(hashes: Sequence[Hash32]) -> Hash32:
    """Tree hash over leaf hashes, level by level: a level's odd last node moves up unchanged."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def _split(size: int) -> int:
    """Largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[Hash32]:
    """Audit path of the leaf at `index`.

    Raises:
        IndexError: `index` is not below the number of leaves.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    low, high = 0, len(hashes)
    path: list[Hash32] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_root_of(hashes[middle:high]))
            high = middle
        else:
            path.append(_root_of(hashes[low:middle]))
            low = middle
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether `leaf` is at `index` of the tree of `size` leaves with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last = index, size - 1
    found = leaf_hash(leaf)
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and found == expected_root


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[Hash32]:
    """Proof that the tree over the first `old_size` leaves is a prefix of the tree over all.

    Raises:
        IndexError: `old_size` is 0 or above the number of leaves.
    """
    if not 0 < old_size <= len(leaves):
        raise IndexError(f"old size {old_size} of {len(leaves)}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    low, high, size = 0, len(hashes), old_size
    whole = True
    path: list[Hash32] = []
    while size != high - low:
        middle = low + _split(high - low)
        if size <= middle - low:
            path.append(_root_of(hashes[middle:high]))
            high = middle
        else:
            path.append(_root_of(hashes[low:middle]))
            size -= middle - low
            low = middle
            whole = False
    if not whole:
        path.append(_root_of(hashes[low:high]))
    path.reverse()
    return path


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `new_size` leaves extends the tree of `old_size` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, Hash32(old_root))
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and found_old == old_root and found_new == new_root
