"""The OP Stack's execution payload: the record of a sealed block that engines, op-node and gossip exchange, with its
two encodings: SSZ (gossip) and JSON (Engine API, op-conductor's and op-node's RPC).

Specification (OP Stack specs: rollup-node-p2p "Blocks", exec-engine; op-node v1.16.11 op-service/eth/{types,ssz}.go)
    version  topic  forks               adds
    1        0      Bedrock, Regolith   the fields of Bellatrix
    2        1      Canyon, Delta       withdrawals (empty)
    3        2      Ecotone to Holocene blob_gas_used, excess_blob_gas, and the parent beacon block root around it
    4        3      Isthmus, Jovian     withdrawals_root
    - SSZ: integers are little-endian, lists lie behind the fixed part in field order, found by 4-byte offsets.
    - The version follows from the fork, never from values: op-node infers version 3 for an Isthmus payload whose
      withdrawals root is that of an empty trie, which its own topic of version 4 then refuses; such a chain has no
      working gossip in op-node either.
Imports: plait.types, plait.errors, plait.limits. Pure.
"""

import re
from binascii import unhexlify
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec

from plait.errors import CodecError
from plait.limits import PAYLOAD_TRANSACTIONS_MAX, PAYLOAD_WITHDRAWALS_MAX
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds, Wei

PayloadVersion = Literal[1, 2, 3, 4]

EXTRA_DATA_BYTES_MAX: Final = 32
_BLOOM_BYTES: Final = 256
_FIXED_BYTES: Final[dict[int, int]] = {1: 508, 2: 512, 3: 528, 4: 560}
"""Length of the part before the lists, per version."""
_WITHDRAWAL_BYTES: Final = 44
_UINT64_MAX: Final = 2**64 - 1
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")


class ExecutionPayload(msgspec.Struct, frozen=True, kw_only=True):
    """A block as engines exchange it. What a version does not have is None; withdrawals are always empty."""

    parent_hash: Hash32
    fee_recipient: Address
    state_root: Hash32
    receipts_root: Hash32
    logs_bloom: bytes
    prev_randao: Hash32
    block_number: BlockNumber
    gas_limit: Gas
    gas_used: Gas
    timestamp: Seconds
    extra_data: bytes
    base_fee_per_gas: Wei
    block_hash: Hash32
    transactions: tuple[bytes, ...]
    withdrawals: tuple[()] | None = None
    blob_gas_used: Gas | None = None
    excess_blob_gas: Gas | None = None
    withdrawals_root: Hash32 | None = None

    @property
    def version(self) -> PayloadVersion:
        """The version whose fields it has."""
        if self.withdrawals_root is not None:
            return 4
        if self.blob_gas_used is not None:
            return 3
        return 1 if self.withdrawals is None else 2


class PayloadEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A payload and the field of its header that it lacks (from version 3 on)."""

    payload: ExecutionPayload
    parent_beacon_block_root: Hash32 | None = None


# ---------------------------------------------------------------- SSZ
def encode_payload_ssz(payload: ExecutionPayload) -> bytes:
    """SSZ of a payload in the layout of its version.

    Raises:
        CodecError: `payload_malformed`, a field is out of its range.
    """
    version = payload.version
    if len(payload.extra_data) > EXTRA_DATA_BYTES_MAX or len(payload.logs_bloom) != _BLOOM_BYTES:
        raise _malformed("extra data has at most 32 bytes and the bloom 256")
    if len(payload.transactions) > PAYLOAD_TRANSACTIONS_MAX:
        raise _malformed(f"a payload has at most {PAYLOAD_TRANSACTIONS_MAX} transactions")
    extra_at = _FIXED_BYTES[version]
    transactions_at = extra_at + len(payload.extra_data)
    transactions = _encode_transactions(payload.transactions)
    parts = [
        payload.parent_hash,
        payload.fee_recipient,
        payload.state_root,
        payload.receipts_root,
        payload.logs_bloom,
        payload.prev_randao,
        *(
            _little(number, 8)
            for number in (payload.block_number, payload.gas_limit, payload.gas_used, payload.timestamp)
        ),
        _little(extra_at, 4),
        _little(payload.base_fee_per_gas, 32),
        payload.block_hash,
        _little(transactions_at, 4),
    ]
    if version >= 2:
        parts.append(_little(transactions_at + len(transactions), 4))
    if version >= 3:
        parts += [_little(payload.blob_gas_used or 0, 8), _little(payload.excess_blob_gas or 0, 8)]
    if version >= 4:
        parts.append(payload.withdrawals_root or b"")
    return b"".join([*parts, payload.extra_data, transactions])


def decode_payload_ssz(data: bytes, version: PayloadVersion) -> ExecutionPayload:
    """The payload in SSZ bytes of a version.

    Raises:
        CodecError: `payload_malformed`: shorter than the fixed part, an offset that is not where it has to be, extra
            data beyond 32 bytes, a withdrawal, or too many transactions.
    """
    fixed = _FIXED_BYTES[version]
    if len(data) < fixed:
        raise _malformed(f"version {version} has {fixed} bytes at least, these are {len(data)}")
    reader = _Reader(data)
    values: dict[str, Any] = {
        "parent_hash": reader.take(32),
        "fee_recipient": reader.take(20),
        "state_root": reader.take(32),
        "receipts_root": reader.take(32),
        "logs_bloom": reader.take(_BLOOM_BYTES),
        "prev_randao": reader.take(32),
        **{name: reader.number(8) for name in ("block_number", "gas_limit", "gas_used", "timestamp")},
    }
    extra_at = reader.number(4)
    values["base_fee_per_gas"] = reader.number(32)
    values["block_hash"] = reader.take(32)
    transactions_at = reader.number(4)
    withdrawals_at = reader.number(4) if version >= 2 else len(data)
    if version >= 3:
        values["blob_gas_used"], values["excess_blob_gas"] = reader.number(8), reader.number(8)
    if version >= 4:
        values["withdrawals_root"] = reader.take(32)
    if extra_at != fixed or not extra_at <= transactions_at <= withdrawals_at <= len(data):
        raise _malformed("its offsets do not follow each other")
    if transactions_at - extra_at > EXTRA_DATA_BYTES_MAX:
        raise _malformed("its extra data has more than 32 bytes")
    if len(data) != withdrawals_at:
        raise _malformed(
            f"it has withdrawals ({(len(data) - withdrawals_at) // _WITHDRAWAL_BYTES} of at most "
            f"{PAYLOAD_WITHDRAWALS_MAX}); blocks of the OP Stack have none"
        )
    values["extra_data"] = data[extra_at:transactions_at]
    values["transactions"] = _decode_transactions(data[transactions_at:withdrawals_at])
    values["withdrawals"] = () if version >= 2 else None
    return ExecutionPayload(**values)


def encode_envelope_ssz(envelope: PayloadEnvelope) -> bytes:
    """Parent beacon block root, from version 3 on, and SSZ of the payload. Raises CodecError `payload_malformed`."""
    root = envelope.parent_beacon_block_root
    if (root is None) != (envelope.payload.version < 3):
        raise _malformed(f"the parent beacon block root does not fit version {envelope.payload.version}")
    return (root or b"") + encode_payload_ssz(envelope.payload)


def decode_envelope_ssz(data: bytes, version: PayloadVersion) -> PayloadEnvelope:
    """The reverse of `encode_envelope_ssz`. Raises CodecError `payload_malformed`."""
    if version < 3:
        return PayloadEnvelope(payload=decode_payload_ssz(data, version))
    if len(data) < 32:
        raise _malformed("it is shorter than a parent beacon block root")
    return PayloadEnvelope(
        payload=decode_payload_ssz(data[32:], version), parent_beacon_block_root=Hash32(bytes(data[:32]))
    )


# ---------------------------------------------------------------- JSON
def payload_from_json(value: object) -> ExecutionPayload:
    """A payload out of decoded JSON as op-node and engines write it.

    Raises:
        CodecError: `payload_malformed`, naming the field.
    """
    if not isinstance(value, dict):
        raise _malformed("it is not a JSON object")
    read = _Fields(value)
    if value.get("withdrawals"):
        raise _malformed("it has withdrawals; blocks of the OP Stack have none")
    listed = value.get("transactions")
    if not isinstance(listed, list) or len(listed) > PAYLOAD_TRANSACTIONS_MAX:
        raise _malformed(f"transactions has to be a list of at most {PAYLOAD_TRANSACTIONS_MAX}")
    bloom, extra = read.data("logsBloom"), read.data("extraData")
    if len(bloom) != _BLOOM_BYTES or len(extra) > EXTRA_DATA_BYTES_MAX:
        raise _malformed("logsBloom has 256 bytes and extraData at most 32")
    return ExecutionPayload(
        parent_hash=read.hash("parentHash"),
        fee_recipient=Address(read.data("feeRecipient", 20)),
        state_root=read.hash("stateRoot"),
        receipts_root=read.hash("receiptsRoot"),
        logs_bloom=bloom,
        prev_randao=read.hash("prevRandao"),
        block_number=BlockNumber(read.quantity("blockNumber")),
        gas_limit=Gas(read.quantity("gasLimit")),
        gas_used=Gas(read.quantity("gasUsed")),
        timestamp=Seconds(read.quantity("timestamp")),
        extra_data=extra,
        base_fee_per_gas=Wei(read.quantity("baseFeePerGas", 2**256 - 1)),
        block_hash=read.hash("blockHash"),
        transactions=tuple(_hex_data(item, f"transactions[{place}]") for place, item in enumerate(listed)),
        withdrawals=None if value.get("withdrawals") is None else (),
        blob_gas_used=read.optional_quantity("blobGasUsed"),
        excess_blob_gas=read.optional_quantity("excessBlobGas"),
        withdrawals_root=None if value.get("withdrawalsRoot") is None else read.hash("withdrawalsRoot"),
    )


def payload_json(payload: ExecutionPayload) -> dict[str, Any]:
    """A payload as engines and op-node read it; fields that its version lacks are left out."""
    shown: dict[str, Any] = {
        "parentHash": _hex(payload.parent_hash),
        "feeRecipient": _hex(payload.fee_recipient),
        "stateRoot": _hex(payload.state_root),
        "receiptsRoot": _hex(payload.receipts_root),
        "logsBloom": _hex(payload.logs_bloom),
        "prevRandao": _hex(payload.prev_randao),
        "blockNumber": hex(payload.block_number),
        "gasLimit": hex(payload.gas_limit),
        "gasUsed": hex(payload.gas_used),
        "timestamp": hex(payload.timestamp),
        "extraData": _hex(payload.extra_data),
        "baseFeePerGas": hex(payload.base_fee_per_gas),
        "blockHash": _hex(payload.block_hash),
        "transactions": [_hex(raw) for raw in payload.transactions],
    }
    if payload.withdrawals is not None:
        shown["withdrawals"] = []
    if payload.blob_gas_used is not None:
        shown["blobGasUsed"], shown["excessBlobGas"] = hex(payload.blob_gas_used), hex(payload.excess_blob_gas or 0)
    if payload.withdrawals_root is not None:
        shown["withdrawalsRoot"] = _hex(payload.withdrawals_root)
    return shown


def envelope_from_json(value: object) -> PayloadEnvelope:
    """An envelope `{executionPayload, parentBeaconBlockRoot}`. Raises CodecError `payload_malformed`."""
    if not isinstance(value, dict):
        raise _malformed("it is not a JSON object")
    root = None if value.get("parentBeaconBlockRoot") is None else _Fields(value).hash("parentBeaconBlockRoot")
    return PayloadEnvelope(payload=payload_from_json(value.get("executionPayload")), parent_beacon_block_root=root)


# ---------------------------------------------------------------- parts
class _Reader:
    """Fields of the fixed part, one after the other; its length was checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")


class _Fields:
    """Fields of a JSON object, checked as they are read."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value

    def data(self, name: str, length: int | None = None) -> bytes:
        data = _hex_data(self._value.get(name), name)
        if length is not None and len(data) != length:
            raise _malformed(f"{name} has {len(data)} bytes, not {length}")
        return data

    def hash(self, name: str) -> Hash32:
        return Hash32(self.data(name, 32))

    def quantity(self, name: str, largest: int = _UINT64_MAX) -> int:
        text = self._value.get(name)
        if not isinstance(text, str) or not _QUANTITY.fullmatch(text) or (number := int(text, 16)) > largest:
            raise _malformed(f"{name} is not a quantity (0x and hex digits) in its range")
        return number

    def optional_quantity(self, name: str) -> Gas | None:
        return None if self._value.get(name) is None else Gas(self.quantity(name))


def _encode_transactions(transactions: tuple[bytes, ...]) -> bytes:
    offsets: list[bytes] = []
    at = 4 * len(transactions)
    for raw in transactions:
        offsets.append(_little(at, 4))
        at += len(raw)
    return b"".join([*offsets, *transactions])


def _decode_transactions(data: bytes) -> tuple[bytes, ...]:
    if not data:
        return ()
    first = int.from_bytes(data[:4], "little")
    if len(data) < 4 or first % 4 or not 4 <= first <= len(data):
        raise _malformed("the offset of its first transaction is wrong")
    if first // 4 > PAYLOAD_TRANSACTIONS_MAX:
        raise _malformed(f"a payload has at most {PAYLOAD_TRANSACTIONS_MAX} transactions")
    offsets = [int.from_bytes(data[at : at + 4], "little") for at in range(0, first, 4)] + [len(data)]
    if any(start > end for start, end in pairwise(offsets)):
        raise _malformed("the offsets of its transactions fall")
    return tuple(data[start:end] for start, end in pairwise(offsets))


def _little(number: int, length: int) -> bytes:
    try:
        return number.to_bytes(length, "little")
    except OverflowError:
        raise _malformed(f"a number does not fit {length} bytes") from None


def _hex_data(text: object, name: str) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise _malformed(f"{name} is not 0x and hex digits")
    try:
        return unhexlify(text[2:])
    except ValueError:
        raise _malformed(f"{name} is not 0x and hex digits") from None


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _malformed(reason: str) -> CodecError:
    return CodecError(f"This is no execution payload: {reason}.", code="payload_malformed", reason=reason)
