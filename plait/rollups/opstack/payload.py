"""A payload's header and hash, recomputed from its fields: a `blockHash` that an engine names is checked, not believed.

Specification (Yellow Paper 4.3; EIP-1559, 4895, 4844, 4788, 7685; OP Stack specs, isthmus exec-engine)
    - A header has 20 fields from Ecotone on and `requestsHash` as the 21st from Isthmus on, where blocks have no
      execution requests and the field is SHA-256 of nothing.
    - From Isthmus on `withdrawalsRoot` is the storage root of the message passer; before, the root of an empty trie.
Level 5, pure.
"""

import hashlib
from typing import Any, Final

import msgspec

from plait.codec.rlp import EMPTY_LIST, encode_bytes, encode_list, encode_uint
from plait.crypto.ordered_trie import EMPTY_ROOT, ordered_root
from plait.derivation.execution_payload import PayloadEnvelope, payload_from_json
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import Hash32

_NO_OMMERS: Final = keccak256(EMPTY_LIST)
_NO_REQUESTS: Final = hashlib.sha256(b"").digest()

HEADER_FIELDS: Final = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty",
    "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas", "withdrawalsRoot",
    "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
"""Names of a header's fields in their order, as JSON-RPC names them."""


def header_fields(envelope: PayloadEnvelope) -> list[bytes | int]:
    """The header's values in the order of `HEADER_FIELDS`; 20 of them before Isthmus.

    Args:
        envelope: of version 3 or 4.

    Raises:
        CodecError: `payload_malformed`, it is of an earlier fork.
    """
    payload, root = envelope.payload, envelope.parent_beacon_block_root
    if root is None or payload.version < 3:
        raise CodecError(
            "This payload is of a fork before Ecotone, which Plait does not drive.", code="payload_malformed"
        )
    isthmus = payload.withdrawals_root is not None
    fields: list[bytes | int] = [
        payload.parent_hash, _NO_OMMERS, payload.fee_recipient, payload.state_root, ordered_root(payload.transactions),
        payload.receipts_root, payload.logs_bloom, 0, payload.block_number, payload.gas_limit, payload.gas_used,
        payload.timestamp, payload.extra_data, payload.prev_randao, bytes(8), payload.base_fee_per_gas,
        payload.withdrawals_root if payload.withdrawals_root is not None else EMPTY_ROOT, payload.blob_gas_used or 0,
        payload.excess_blob_gas or 0, root,
    ]  # fmt: skip
    return [*fields, _NO_REQUESTS] if isthmus else fields


def header_rlp(envelope: PayloadEnvelope) -> bytes:
    """The header's canonical bytes. Raises as `header_fields`."""
    return encode_list(
        encode_bytes(value) if isinstance(value, bytes) else encode_uint(value) for value in header_fields(envelope)
    )


def block_hash_of(envelope: PayloadEnvelope) -> Hash32:
    """The block's hash by its fields. Raises as `header_fields`."""
    return Hash32(keccak256(header_rlp(envelope)))


def read_payload(payload_json: bytes, parent_beacon_block_root: bytes) -> PayloadEnvelope:
    """A payload from JSON whose `blockHash` is the hash of its fields.

    Args:
        payload_json: ExecutionPayload V3 or V4.
        parent_beacon_block_root: 32 bytes.

    Raises:
        CodecError: `payload_malformed`; `payload_hash_wrong` when the hash it names is another one.
    """
    try:
        decoded: Any = msgspec.json.decode(payload_json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"This is no execution payload: {error}.", code="payload_malformed") from error
    envelope = PayloadEnvelope(
        payload=payload_from_json(decoded), parent_beacon_block_root=Hash32(parent_beacon_block_root)
    )
    found = block_hash_of(envelope)
    if found != envelope.payload.block_hash:
        raise CodecError(
            f"Payload {envelope.payload.block_number} names hash 0x{envelope.payload.block_hash.hex()}, and its fields "
            f"have 0x{found.hex()}.",
            code="payload_hash_wrong",
        )
    return envelope


def header_shown(envelope: PayloadEnvelope) -> dict[str, str]:
    """The header as JSON-RPC shows it, for evidence."""
    return {
        name: "0x" + value.hex() if isinstance(value, bytes) else hex(value)
        for name, value in zip(HEADER_FIELDS, header_fields(envelope), strict=False)
    } | {"hash": "0x" + block_hash_of(envelope).hex()}


def first_difference(ours: PayloadEnvelope, theirs: PayloadEnvelope) -> str | None:
    """Name of the first header field in which two blocks differ; None when they are equal. A field that one of them
    lacks differs."""
    left, right = header_fields(ours), header_fields(theirs)
    for position, name in enumerate(HEADER_FIELDS):
        if left[position : position + 1] != right[position : position + 1]:
            return name
    return None
