"""The batcher's L1 transactions: EIP-1559 with calldata and EIP-4844 with blobs, encoded and signed. Pure.

Specification
    type 2   0x02 ++ rlp[chain_id, nonce, tip, fee_cap, gas, to, value, data, access_list, y, r, s]
    type 3   0x03 ++ rlp[chain_id, nonce, tip, fee_cap, gas, to, value, data, access_list, blob_fee_cap,
             versioned_hashes, y, r, s]
    on the network the latter is 0x03 ++ rlp[those fields, (wrapper_version,) blobs, commitments, proofs]
    The hash is Keccak-256 of the form without the blobs.
Sources: EIP-2718, EIP-1559, EIP-4844, EIP-7594 (wrapper version 1 with cell proofs), EIP-7623 (floor of calldata gas).
Imports: plait.codec, plait.native (Keccak-256, signatures), plait.types.
"""

from typing import Final

import msgspec

from plait.codec.rlp import EMPTY_LIST, Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError
from plait.native import keccak256, recover_signer, sign_digest
from plait.rollups.batcher.sidecars import Sidecar
from plait.types import Address, Gas, Hash32, Wei

_BASE_GAS: Final = 21_000
_TOKEN_GAS: Final = 4
_TOKEN_FLOOR_GAS: Final = 10
_TOKENS_OF_NON_ZERO: Final = 4


class Fees(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction offers, wei per gas. `blob_fee_cap` 0 where there are no blobs."""

    tip: Wei
    fee_cap: Wei
    blob_fee_cap: Wei = Wei(0)

    def raised_to(self, other: "Fees") -> "Fees":
        """The greater of both, field by field."""
        return Fees(
            tip=max(self.tip, other.tip),
            fee_cap=max(self.fee_cap, other.fee_cap),
            blob_fee_cap=max(self.blob_fee_cap, other.blob_fee_cap),
        )


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction says, apart from its nonce and fees: the same for every replacement of it."""

    chain_id: int
    to: Address
    data: bytes = b""
    blobs: tuple[bytes, ...] = ()
    """Whole blobs, 131,072 bytes each; empty for a calldata transaction."""
    gas: int = 0
    """Gas limit of a call; 0 where the only work is to carry the data."""


class SignedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction as `eth_sendRawTransaction` takes it."""

    hash: Hash32
    nonce: int
    fees: Fees
    gas_limit: Gas
    raw: bytes


def calldata_gas(data: bytes) -> Gas:
    """Gas that a transaction needs whose only work is to carry `data` to an account without code (EIP-7623)."""
    zeros = data.count(0)
    tokens = zeros + (len(data) - zeros) * _TOKENS_OF_NON_ZERO
    return Gas(_BASE_GAS + max(tokens * _TOKEN_GAS, tokens * _TOKEN_FLOOR_GAS))


def sign(
    private_key: bytes, content: Content, *, nonce: int, fees: Fees, gas_limit: Gas, sidecar: Sidecar | None = None
) -> SignedTransaction:
    """Signs a transaction.

    Args:
        private_key: 32 bytes.
        content: what it says; with blobs, `sidecar` holds their commitments and proofs.
        nonce: of the account, from 0.
        fees: offered; `blob_fee_cap` at least 1 with blobs.
        gas_limit: at least `calldata_gas(content.data)`.
        sidecar: of exactly the content's blobs; None without blobs.

    Raises:
        ValueError: blobs without their sidecar or the reverse, or a key out of range.
    """
    if bool(content.blobs) != (sidecar is not None):
        raise ValueError("blobs and their sidecar go together")
    fields = [
        encode_uint(content.chain_id),
        encode_uint(nonce),
        encode_uint(fees.tip),
        encode_uint(fees.fee_cap),
        encode_uint(gas_limit),
        encode_bytes(content.to),
        encode_uint(0),
        encode_bytes(content.data),
        EMPTY_LIST,
    ]
    kind = b"\x02"
    if sidecar is not None:
        kind = b"\x03"
        fields += [encode_uint(fees.blob_fee_cap), encode_bytes_list(sidecar.versioned_hashes)]
    signature = sign_digest(private_key, keccak256(kind + encode_list(fields)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    signed = encode_list([*fields, encode_uint(signature[64]), encode_uint(r), encode_uint(s)])
    raw = kind + signed
    hash_ = Hash32(keccak256(raw))
    if sidecar is not None:
        raw = kind + encode_list([signed, *sidecar.encoded_parts(content.blobs)])
    return SignedTransaction(hash=hash_, nonce=nonce, fees=fees, gas_limit=gas_limit, raw=raw)


def address_of_key(private_key: bytes) -> Address:
    """The account of a private key (32 bytes). Raises ValueError for a key out of range."""
    digest = keccak256(b"")
    address = recover_signer(digest, sign_digest(private_key, digest))
    assert address is not None, "our own signature recovers"
    return Address(address)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Of a signed transaction, what a reader of L1 needs: who sent what where."""

    sender: Address
    to: Address | None
    data: bytes
    blob_hashes: tuple[Hash32, ...]


_FIELDS_BEFORE_TO: Final = {2: 5, 3: 5}


def decode_signed(raw: bytes) -> Sent:
    """Reads a type 2 or 3 transaction without its blobs, and recovers its sender; the inverse of `sign` for checks.

    Raises:
        CodecError: `codec_invalid`, it is not such a transaction or its signature is not valid.
    """
    if not raw or raw[0] not in _FIELDS_BEFORE_TO:
        raise CodecError("an L1 transaction of type 2 or 3 is expected")
    whole = Reader(raw, start=1, what="L1 transaction")
    reader = whole.read_list("L1 transaction")
    whole.end()
    parts = [encode_uint(reader.read_uint(2**256 - 1)) for _ in range(_FIELDS_BEFORE_TO[raw[0]])]
    to = reader.read_bytes(size_max=20)
    value = reader.read_uint(2**256 - 1)
    data = reader.read_bytes()
    reader.read_list("access list").end()
    parts += [encode_bytes(to), encode_uint(value), encode_bytes(data), EMPTY_LIST]
    hashes: list[bytes] = []
    if raw[0] == 3:
        parts.append(encode_uint(reader.read_uint(2**256 - 1)))
        hashes = reader.read_bytes_list("blob hashes", count_max=64, size=32)
        parts.append(encode_bytes_list(hashes))
    y, r, s = reader.read_uint(1), reader.read_uint(2**256 - 1), reader.read_uint(2**256 - 1)
    reader.end()
    digest = keccak256(raw[:1] + encode_list(parts))
    sender = recover_signer(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((y,)))
    if sender is None:
        raise CodecError("the signature of an L1 transaction is not valid")
    return Sent(
        sender=Address(sender), to=Address(to) if to else None, data=data, blob_hashes=tuple(map(Hash32, hashes))
    )
