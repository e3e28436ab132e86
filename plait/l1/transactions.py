"""Transactions of an L1 block, proven by the transactions root of its header; senders are recovered. Pure.

Specification
    The trie holds each transaction's canonical encoding: legacy as RLP, others as type ++ RLP (EIP-2718), blob
    transactions without their sidecar (EIP-4844). Types 0 to 4 are known; an L1 with others is refused.
    anvil commits to blob transactions with their sidecar and puts it into a block's JSON. Where the canonical root is
    not the header's, the one with sidecars is tried: it proves the transactions just as well. (op-node does not know
    this and needs --l1.trustrpc with anvil and blobs.)
Source: Yellow Paper 4.3; EIP-155, 2930, 1559, 4844, 7702.
"""

from typing import Any, Final

import msgspec

from plait.codec.rlp import encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.crypto.ordered_trie import ordered_root
from plait.l1.fields import (
    Json,
    address_of,
    as_bytes,
    as_list,
    as_object,
    bytes_of,
    hash_of,
    malformed,
    optional_address_of,
    quantity_of,
)
from plait.l1.headers import L1Header
from plait.native import keccak256, recover_signer
from plait.types import Address, Hash32

_UINT256_MAX: Final = 2**256 - 1
_LEGACY, _ACCESS_LIST, _DYNAMIC_FEE, _BLOB, _SET_CODE = range(5)


class L1Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction of L1. `raw` is what the block holds, `signing_hash` what the sender signed."""

    hash: Hash32
    type: int
    to: Address | None
    data: bytes
    blob_hashes: tuple[Hash32, ...]
    """Versioned hashes of its blobs, in their order."""
    raw: bytes
    signing_hash: Hash32
    signature: bytes
    """r, s, y parity: 65 bytes."""

    def sender(self) -> Address | None:
        """Who signed it, recovered (about 50 microseconds); None for a signature that is none."""
        signer = recover_signer(self.signing_hash, self.signature)
        return None if signer is None else Address(signer)


class L1Block(msgspec.Struct, frozen=True, kw_only=True):
    """A block with its transactions, all proven by its hash."""

    header: L1Header
    transactions: tuple[L1Transaction, ...]


def transactions_of(header: L1Header, answer: Any) -> tuple[L1Transaction, ...]:
    """The transactions of a block as JSON-RPC gives them in full.

    Raises:
        L1Refused: `l1_block_malformed` when one is malformed or of an unknown type, or their root is not the header's.
    """
    entries = as_list(as_object(answer, "a block").get("transactions"), "transactions")
    transactions = tuple(_transaction_of(as_object(entry, "a transaction")) for entry in entries)
    root = ordered_root([transaction.raw for transaction in transactions])
    if root != header.transactions_root and any(transaction.type == _BLOB for transaction in transactions):
        with_sidecars = map(_with_sidecar, transactions, entries)
        root = root if ordered_root(list(with_sidecars)) != header.transactions_root else header.transactions_root
    if root != header.transactions_root:
        raise malformed(
            f"the transactions of block {header.number} have the root 0x{root.hex()}, "
            f"not 0x{header.transactions_root.hex()}",
            number=header.number,
        )
    return transactions


def _transaction_of(found: Json) -> L1Transaction:
    kind = 0 if found.get("type") is None else quantity_of(found, "type", 0x7F)
    if kind > _SET_CODE:
        raise malformed(f"a transaction has type {kind}, which no L1 of an OP Stack rollup has", type=kind)
    r, s = quantity_of(found, "r", _UINT256_MAX), quantity_of(found, "s", _UINT256_MAX)
    to = optional_address_of(found, "to")
    data = bytes_of(found, "input")
    if kind == _LEGACY:
        signed, raw, parity = _legacy(found, to, data, r, s)
    else:
        fields = _typed_fields(found, kind, to, data)
        parity = quantity_of(found, "yParity" if found.get("yParity") is not None else "v", 1)
        prefix = bytes((kind,))
        signed = prefix + encode_list(fields)
        raw = prefix + encode_list((*fields, encode_uint(parity), encode_uint(r), encode_uint(s)))
    computed = Hash32(keccak256(raw))
    if computed != hash_of(found, "hash"):
        raise malformed("a transaction's fields have another hash than it claims", computed="0x" + computed.hex())
    return L1Transaction(
        hash=computed,
        type=kind,
        to=to,
        data=data,
        blob_hashes=_blob_hashes(found) if kind == _BLOB else (),
        raw=raw,
        signing_hash=Hash32(keccak256(signed)),
        signature=r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,)),
    )


def _legacy(found: Json, to: Address | None, data: bytes, r: int, s: int) -> tuple[bytes, bytes, int]:
    """(what was signed, encoding, y parity) of a legacy transaction, with or without EIP-155."""
    v = quantity_of(found, "v", _UINT256_MAX)
    fields = (
        encode_uint(quantity_of(found, "nonce")),
        encode_uint(quantity_of(found, "gasPrice", _UINT256_MAX)),
        encode_uint(quantity_of(found, "gas")),
        encode_bytes(to or b""),
        encode_uint(quantity_of(found, "value", _UINT256_MAX)),
        encode_bytes(data),
    )
    raw = encode_list((*fields, encode_uint(v), encode_uint(r), encode_uint(s)))
    if v >= 35:
        return encode_list((*fields, encode_uint((v - 35) // 2), encode_uint(0), encode_uint(0))), raw, (v - 35) % 2
    if v not in {27, 28}:
        raise malformed(f"a legacy transaction has v = {v}")
    return encode_list(fields), raw, v - 27


def _typed_fields(found: Json, kind: int, to: Address | None, data: bytes) -> list[bytes]:
    """Encoded fields of a typed transaction up to its signature."""
    fields = [encode_uint(quantity_of(found, "chainId")), encode_uint(quantity_of(found, "nonce"))]
    if kind == _ACCESS_LIST:
        fields.append(encode_uint(quantity_of(found, "gasPrice", _UINT256_MAX)))
    else:
        fields.append(encode_uint(quantity_of(found, "maxPriorityFeePerGas", _UINT256_MAX)))
        fields.append(encode_uint(quantity_of(found, "maxFeePerGas", _UINT256_MAX)))
    fields += [
        encode_uint(quantity_of(found, "gas")),
        encode_bytes(to or b""),
        encode_uint(quantity_of(found, "value", _UINT256_MAX)),
        encode_bytes(data),
        _access_list(found),
    ]
    if kind == _BLOB:
        fields.append(encode_uint(quantity_of(found, "maxFeePerBlobGas", _UINT256_MAX)))
        fields.append(encode_bytes_list(_blob_hashes(found)))
    elif kind == _SET_CODE:
        fields.append(_authorizations(found))
    return fields


def _access_list(found: Json) -> bytes:
    entries = []
    for entry in as_list(found.get("accessList") or [], "an access list"):
        one = as_object(entry, "an entry of an access list")
        keys = [as_bytes(key, "a storage key", 32) for key in as_list(one.get("storageKeys"), "storageKeys")]
        entries.append(encode_list((encode_bytes(address_of(one, "address")), encode_bytes_list(keys))))
    return encode_list(entries)


def _authorizations(found: Json) -> bytes:
    entries = []
    for entry in as_list(found.get("authorizationList"), "an authorization list"):
        one = as_object(entry, "an authorization")
        entries.append(
            encode_list(
                (
                    encode_uint(quantity_of(one, "chainId", _UINT256_MAX)),
                    encode_bytes(address_of(one, "address")),
                    encode_uint(quantity_of(one, "nonce")),
                    encode_uint(quantity_of(one, "yParity", 255)),
                    encode_uint(quantity_of(one, "r", _UINT256_MAX)),
                    encode_uint(quantity_of(one, "s", _UINT256_MAX)),
                )
            )
        )
    return encode_list(entries)


def _with_sidecar(transaction: L1Transaction, found: Json) -> bytes:
    """A blob transaction as it travels between nodes: with blobs, commitments and proofs (EIP-4844, EIP-7594)."""
    if transaction.type != _BLOB or found.get("blobs") is None:
        return transaction.raw
    cells = found.get("cellProofs") is not None
    columns = ("blobs", "commitments", "cellProofs" if cells else "proofs")
    parts = [encode_bytes_list(as_bytes(one, name) for one in as_list(found.get(name), name)) for name in columns]
    version = (encode_uint(1),) if cells else ()
    return bytes((_BLOB,)) + encode_list((transaction.raw[1:], *version, *parts))


def _blob_hashes(found: Json) -> tuple[Hash32, ...]:
    listed = as_list(found.get("blobVersionedHashes"), "blobVersionedHashes")
    return tuple(Hash32(as_bytes(one, "a blob's hash", 32)) for one in listed)
