"""Headers of L1 blocks whose hash is recomputed: what a node answers is believed only as far as the hash goes.

Specification
    A header is the RLP list of the fields up to `nonce`, then those that forks added, in their order: baseFeePerGas
    (London), withdrawalsRoot (Shanghai), blobGasUsed, excessBlobGas, parentBeaconBlockRoot (Cancun), requestsHash
    (Prague). A fork's field stands only behind all earlier ones. Its Keccak-256 is the block's hash, so a header with
    this hash is the one that the hash names, whoever answered.
    Transactions and receipts follow from it by their roots (transactions.py, receipts.py).
    A field of a later fork that the encoding does not know makes the hash differ: the block is refused, not guessed.
Pure. Source: Yellow Paper 4.4; EIP-1559, 4895, 4844, 4788, 7685.
"""

from typing import Any, Final

import msgspec

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.l1.fields import Json, address_of, as_object, bytes_of, hash_of, malformed, quantity_of
from plait.limits import L1_EXTRA_DATA_BYTES_MAX
from plait.native import keccak256
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds, Wei

_UINT256_MAX: Final = 2**256 - 1
_NO_BEACON_ROOT: Final = Hash32(bytes(32))


class L1Header(msgspec.Struct, frozen=True, kw_only=True):
    """A header that its own hash proves. Fields of forks that are not active are None."""

    hash: Hash32
    parent_hash: Hash32
    uncles_hash: Hash32
    miner: Address
    state_root: Hash32
    transactions_root: Hash32
    receipts_root: Hash32
    logs_bloom: bytes
    difficulty: int
    number: BlockNumber
    gas_limit: Gas
    gas_used: Gas
    timestamp: Seconds
    extra_data: bytes
    mix_hash: Hash32
    nonce: bytes
    base_fee: Wei | None
    withdrawals_root: Hash32 | None
    blob_gas_used: Gas | None
    excess_blob_gas: Gas | None
    parent_beacon_block_root: Hash32 | None
    requests_hash: Hash32 | None

    @property
    def beacon_root(self) -> Hash32:
        """Parent beacon block root, zero before Cancun: what a rollup's block restates."""
        return _NO_BEACON_ROOT if self.parent_beacon_block_root is None else self.parent_beacon_block_root

    def encode(self) -> bytes:
        """Its RLP, whose Keccak-256 is the hash."""
        parts = [
            encode_bytes(self.parent_hash),
            encode_bytes(self.uncles_hash),
            encode_bytes(self.miner),
            encode_bytes(self.state_root),
            encode_bytes(self.transactions_root),
            encode_bytes(self.receipts_root),
            encode_bytes(self.logs_bloom),
            encode_uint(self.difficulty),
            encode_uint(self.number),
            encode_uint(self.gas_limit),
            encode_uint(self.gas_used),
            encode_uint(self.timestamp),
            encode_bytes(self.extra_data),
            encode_bytes(self.mix_hash),
            encode_bytes(self.nonce),
        ]
        ended = False
        for value in (
            self.base_fee,
            self.withdrawals_root,
            self.blob_gas_used,
            self.excess_blob_gas,
            self.parent_beacon_block_root,
            self.requests_hash,
        ):
            if value is None:
                ended = True
                continue
            if ended:
                raise malformed(f"block {self.number} has a later fork's field without an earlier one's")
            parts.append(encode_bytes(value) if isinstance(value, bytes) else encode_uint(value))
        return encode_list(parts)


def header_of(answer: Any) -> L1Header:
    """The header in a block as JSON-RPC gives it.

    Raises:
        L1Refused: `l1_block_malformed` when a field is missing or of another shape, or the fields have another hash
            than the block claims.
    """
    found = as_object(answer, "a block")
    number = BlockNumber(quantity_of(found, "number"))
    header = L1Header(
        hash=hash_of(found, "hash"),
        parent_hash=hash_of(found, "parentHash"),
        uncles_hash=hash_of(found, "sha3Uncles"),
        miner=address_of(found, "miner"),
        state_root=hash_of(found, "stateRoot"),
        transactions_root=hash_of(found, "transactionsRoot"),
        receipts_root=hash_of(found, "receiptsRoot"),
        logs_bloom=bytes_of(found, "logsBloom", 256),
        difficulty=quantity_of(found, "difficulty", _UINT256_MAX),
        number=number,
        gas_limit=Gas(quantity_of(found, "gasLimit")),
        gas_used=Gas(quantity_of(found, "gasUsed")),
        timestamp=Seconds(quantity_of(found, "timestamp")),
        extra_data=bytes_of(found, "extraData"),
        mix_hash=hash_of(found, "mixHash"),
        nonce=bytes_of(found, "nonce", 8),
        base_fee=None if _absent(found, "baseFeePerGas") else Wei(quantity_of(found, "baseFeePerGas", _UINT256_MAX)),
        withdrawals_root=_optional_hash(found, "withdrawalsRoot"),
        blob_gas_used=_optional_gas(found, "blobGasUsed"),
        excess_blob_gas=_optional_gas(found, "excessBlobGas"),
        parent_beacon_block_root=_optional_hash(found, "parentBeaconBlockRoot"),
        requests_hash=_optional_hash(found, "requestsHash"),
    )
    if len(header.extra_data) > L1_EXTRA_DATA_BYTES_MAX:
        raise malformed(f"block {number} has {len(header.extra_data)} bytes of extra data", number=number)
    computed = keccak256(header.encode())
    if computed != header.hash:
        raise malformed(
            f"the fields of block {number} have the hash 0x{computed.hex()}, not 0x{header.hash.hex()}",
            number=number,
            claimed="0x" + header.hash.hex(),
            computed="0x" + computed.hex(),
        )
    return header


def _absent(found: Json, name: str) -> bool:
    return found.get(name) is None


def _optional_hash(found: Json, name: str) -> Hash32 | None:
    return None if _absent(found, name) else hash_of(found, name)


def _optional_gas(found: Json, name: str) -> Gas | None:
    return None if _absent(found, name) else Gas(quantity_of(found, name))
