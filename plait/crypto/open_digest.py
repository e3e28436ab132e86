"""A running digest over the transactions of a rollup's open block.

    digest of an empty block     32 zero bytes
    after one more transaction   SHA-256(digest || transaction hash)

Deposits are left out: they follow from agreed data. One step per transaction, so it does not matter how the block's
transactions were spread over sub-blocks. The ledger keeps the digest, so that whoever is given an open block's content
can check it against an agreed ledger root.

Level 1, pure.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from plait.types import Hash32

OPEN_DIGEST_EMPTY: Final = Hash32(bytes(32))


def extend_open_digest(digest: Hash32, hashes: Iterable[bytes]) -> Hash32:
    """The digest after the transactions with these hashes, in their order in the block."""
    value: bytes = digest
    for transaction_hash in hashes:
        value = sha256(value + transaction_hash).digest()
    return Hash32(value)
