"""Keys of simulated users, and signing fast enough for thousands of transactions per second in pure Python.

A wallet signs every transaction with one fixed nonce point, so that signing is two multiplications modulo the group
order. Anyone who sees two such signatures can compute the key: that is fine for worlds without value, and for nothing
else. Signatures are ordinary secp256k1 signatures with low s (SEC 1; EIP-2), which every client accepts.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.native import keccak256
from plait.types import Address

# SEC 2, secp256k1
FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)

Point = tuple[int, int]


def _add(left: Point | None, right: Point | None) -> Point | None:
    if left is None:
        return right
    if right is None:
        return left
    if left[0] == right[0]:
        if (left[1] + right[1]) % FIELD == 0:
            return None
        slope = 3 * left[0] * left[0] * pow(2 * left[1], -1, FIELD) % FIELD
    else:
        slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, FIELD) % FIELD
    x = (slope * slope - left[0] - right[0]) % FIELD
    return x, (slope * (left[0] - x) - left[1]) % FIELD


def multiply(scalar: int) -> Point:
    """`scalar` times the generator; `scalar` is not a multiple of the order."""
    total: Point | None = None
    addend: Point | None = GENERATOR
    while scalar:
        if scalar & 1:
            total = _add(total, addend)
        addend = _add(addend, addend)
        scalar >>= 1
    assert total is not None
    return total


class Wallet:
    """One key pair, from 32 bytes."""

    __slots__ = ("_inverse", "_parity", "_r", "_r_key", "address")

    def __init__(self, private_key: bytes) -> None:
        key = int.from_bytes(private_key, "big") % ORDER
        x, y = multiply(key)
        self.address = Address(keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:])
        nonce = int.from_bytes(sha256(b"plait/sim/nonce" + private_key).digest(), "big") % ORDER
        point_x, point_y = multiply(nonce)
        self._parity = point_y & 1
        self._r = point_x % ORDER
        self._r_key = self._r * key % ORDER
        self._inverse = pow(nonce, -1, ORDER)

    @classmethod
    @cache
    def of_index(cls, index: int, domain: str = "user") -> "Wallet":
        """A wallet that any run can derive again."""
        return cls(sha256(f"plait/sim/{domain}/{index}".encode()).digest())

    def _sign(self, digest: bytes) -> tuple[int, int, int]:
        s = self._inverse * (int.from_bytes(digest, "big") + self._r_key) % ORDER
        if s > ORDER // 2:
            return self._parity ^ 1, self._r, ORDER - s
        return self._parity, self._r, s

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v over 32 bytes, v 27 or 28: what wallets return for typed data (EIP-712)."""
        parity, r, s = self._sign(digest)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + parity])

    def sign_1559(
        self,
        chain_id: int,
        nonce: int,
        *,
        to: bytes = b"",
        value: int = 0,
        data: bytes = b"",
        gas_limit: int = 21_000,
        max_fee_per_gas: int = 2 * 10**9,
        max_priority_fee_per_gas: int = 10**6,
        access_list: Sequence[tuple[bytes, Sequence[bytes]]] = (),
    ) -> bytes:
        """Raw EIP-1559 transaction; an empty `to` creates a contract."""
        fields = [
            encode_uint(chain_id),
            encode_uint(nonce),
            encode_uint(max_priority_fee_per_gas),
            encode_uint(max_fee_per_gas),
            encode_uint(gas_limit),
            encode_bytes(to),
            encode_uint(value),
            encode_bytes(data),
            encode_list(
                encode_list((encode_bytes(address), encode_list(map(encode_bytes, keys))))
                for address, keys in access_list
            ),
        ]
        signature = self._sign(keccak256(b"\x02" + encode_list(fields)))
        return b"\x02" + encode_list([*fields, *map(encode_uint, signature)])

    def authorize(self, chain_id: int, nonce: int, delegate: bytes = bytes(20)) -> bytes:
        """Encoded EIP-7702 authorization of this wallet; the zero address as delegate clears its code."""
        fields = [encode_uint(chain_id), encode_bytes(delegate), encode_uint(nonce)]
        signature = self._sign(keccak256(b"\x05" + encode_list(fields)))
        return encode_list([*fields, *map(encode_uint, signature)])

    def sign_7702(
        self,
        chain_id: int,
        nonce: int,
        authorizations: Sequence[bytes],
        *,
        to: bytes = bytes(20),
        gas_limit: int = 100_000,
        max_fee_per_gas: int = 2 * 10**9,
        max_priority_fee_per_gas: int = 10**6,
    ) -> bytes:
        """Raw EIP-7702 transaction with encoded authorizations."""
        fields = [
            encode_uint(chain_id),
            encode_uint(nonce),
            encode_uint(max_priority_fee_per_gas),
            encode_uint(max_fee_per_gas),
            encode_uint(gas_limit),
            encode_bytes(to),
            encode_uint(0),
            encode_bytes(b""),
            encode_list([]),
            encode_list(authorizations),
        ]
        signature = self._sign(keccak256(b"\x04" + encode_list(fields)))
        return b"\x04" + encode_list([*fields, *map(encode_uint, signature)])

    def sign_legacy(
        self,
        chain_id: int,
        nonce: int,
        *,
        to: bytes,
        value: int = 0,
        data: bytes = b"",
        gas_limit: int = 21_000,
        gas_price: int = 2 * 10**9,
    ) -> bytes:
        """Raw legacy transaction with EIP-155 replay protection."""
        fields = [
            encode_uint(nonce),
            encode_uint(gas_price),
            encode_uint(gas_limit),
            encode_bytes(to),
            encode_uint(value),
            encode_bytes(data),
        ]
        digest = keccak256(encode_list([*fields, encode_uint(chain_id), encode_uint(0), encode_uint(0)]))
        parity, r, s = self._sign(digest)
        return encode_list([*fields, *map(encode_uint, (parity + 35 + 2 * chain_id, r, s))])
