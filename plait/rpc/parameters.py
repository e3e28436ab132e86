"""Typed parameters: from decoded JSON to values, with go-ethereum's rules and words.

- quantity: `0x`, at least one digit, no leading zero
- data: `0x`, an even number of digits
- block: a tag, a quantity, a 32-byte hash, or an object of EIP-1898

Each `Kind` has a JSON schema, so that the OpenRPC document says exactly what is checked. A decoder raises ValueError
with the bare problem; the table turns it into `invalid argument <n>: <problem>`.

Level 7.
"""

import re
from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from plait.limits import RPC_ADDRESSES_MAX, RPC_PROOF_SLOTS_MAX
from plait.rpc.errors import SERVER_ERROR, RpcError

Schema: TypeAlias = dict[str, Any]
NULL: Final = msgspec.Raw(b"null")


class Kind(NamedTuple):
    """A parameter's decoder and schema. `raw` decoders get the parameter's own JSON bytes."""

    decode: Callable[[Any], Any]
    schema: Schema
    raw: bool = False


class BlockRef(NamedTuple):
    """A block as a client names it. Exactly one of the three is set."""

    tag: Literal["latest", "pending", "safe", "finalized", "earliest"] | None = None
    number: int | None = None
    hash: bytes | None = None


LATEST: Final = BlockRef(tag="latest")
PENDING_REF: Final = BlockRef(tag="pending")
_TAGS: Final[dict[str, BlockRef]] = {
    "latest": LATEST,
    "pending": PENDING_REF,
    "safe": BlockRef(tag="safe"),
    "finalized": BlockRef(tag="finalized"),
    "earliest": BlockRef(tag="earliest"),
}


# ---------------------------------------------------------------- hex
def quantity_of(value: object, bits: int = 64) -> int:
    """A QUANTITY. Raises ValueError with the problem."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into a hex quantity")
    digits = value[2:]
    if value[:2] not in {"0x", "0X"}:
        raise ValueError("empty hex string" if not value else "hex string without 0x prefix")
    if not digits:
        raise ValueError('hex string "0x"')
    if len(digits) > 1 and digits[0] == "0":
        raise ValueError("hex number with leading zero digits")
    if not _HEX(digits):
        raise ValueError("invalid hex string")
    if 4 * len(digits) > bits + 3 or (number := int(digits, 16)) >> bits:
        raise ValueError(f"hex number > {bits} bits")
    return number


_HEX: Final = re.compile(r"[0-9a-fA-F]+\Z").match


def data_of_hex(value: object) -> bytes:
    """DATA of any length. Raises ValueError with the problem."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into hex data")
    if value[:2] not in {"0x", "0X"}:
        raise ValueError("empty hex string" if not value else "hex string without 0x prefix")
    try:
        return unhexlify(value[2:])
    except ValueError:
        raise ValueError("hex string of odd length" if len(value) % 2 else "invalid hex string") from None


def fixed(value: object, size: int) -> bytes:
    """DATA of a fixed size in bytes. Raises ValueError with the problem."""
    data = data_of_hex(value)
    if len(data) != size:
        raise ValueError(f"hex string has length {2 * len(data)}, want {2 * size}")
    return data


def slot_key(value: object) -> bytes:
    """A storage slot: up to 32 bytes of DATA, or a number as some clients send it."""
    if not isinstance(value, str) or value[:2] not in {"0x", "0X"}:
        raise ValueError("hex string without 0x prefix")
    digits = value[2:]
    if not digits or len(digits) > 64:
        raise ValueError("storage key too long (want at most 32 bytes)" if digits else 'hex string "0x"')
    try:
        return unhexlify(digits.rjust(64, "0"))
    except ValueError:
        raise ValueError("invalid hex string") from None


# ---------------------------------------------------------------- blocks
def block_ref(value: object) -> BlockRef:
    """A block tag, number, hash or EIP-1898 object. Raises ValueError with the problem."""
    if isinstance(value, str):
        tag = _TAGS.get(value)
        if tag is not None:
            return tag
        if len(value) == 66:
            return BlockRef(hash=fixed(value, 32))
        return block_number(value)
    if isinstance(value, Mapping):
        named, hash_ = value.get("blockNumber"), value.get("blockHash")
        if named is not None and hash_ is not None:
            raise ValueError("cannot specify both BlockHash and BlockNumber, choose one or the other")
        if hash_ is not None:
            return BlockRef(hash=fixed(hash_, 32))
        if named is not None:
            return block_number(named)
        raise ValueError("neither blockNumber nor blockHash is set")
    raise ValueError("a block is a tag, a hex number, a hash or an object of EIP-1898")


def block_number(value: object) -> BlockRef:
    """A block tag or number, where go-ethereum takes neither hash nor object. Raises ValueError with the problem."""
    if not isinstance(value, str):
        raise ValueError("hex string without 0x prefix")
    tag = _TAGS.get(value)
    if tag is not None:
        return tag
    number = quantity_of(value)
    if number >> 63:
        raise ValueError("block number larger than int64")
    return BlockRef(number=number)


# ---------------------------------------------------------------- objects
class LogFilter(NamedTuple):
    """What logs are asked for."""

    block_hash: bytes | None
    from_block: BlockRef | None
    to_block: BlockRef | None
    addresses: tuple[bytes, ...]
    topics: tuple[tuple[bytes, ...] | None, ...]


def log_filter(value: object) -> LogFilter:
    """The filter object of eth_getLogs, eth_newFilter and the `logs` subscription. Raises ValueError with the
    problem."""
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ValueError("a log filter is an object")
    block_hash = value.get("blockHash")
    from_block, to_block = value.get("fromBlock"), value.get("toBlock")
    if block_hash is not None and (from_block is not None or to_block is not None):
        raise ValueError("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    address = value.get("address")
    addresses = [] if address is None else address if isinstance(address, list) else [address]
    if len(addresses) > RPC_ADDRESSES_MAX:
        raise ValueError("exceed max addresses or topics per search position")
    topics = value.get("topics") or []
    if not isinstance(topics, list):
        raise ValueError("topics is an array of topics, arrays of topics and null")
    if len(topics) > 4:
        raise ValueError("exceed max topics")
    return LogFilter(
        None if block_hash is None else fixed(block_hash, 32),
        None if from_block is None else block_number(from_block),
        None if to_block is None else block_number(to_block),
        tuple(fixed(item, 20) for item in addresses),
        tuple(_topic_position(item) for item in topics),
    )


def _topic_position(value: object) -> tuple[bytes, ...] | None:
    if value is None:
        return None
    if isinstance(value, list):
        if len(value) > RPC_ADDRESSES_MAX:
            raise ValueError("exceed max addresses or topics per search position")
        return None if not value or None in value else tuple(fixed(item, 32) for item in value)
    return (fixed(value, 32),)


class _CallRequest(msgspec.Struct):
    """The fields of a call that have a fixed form; the native core reads the original bytes."""

    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    gas: str | None = None
    gas_price: str | None = msgspec.field(name="gasPrice", default=None)
    max_fee_per_gas: str | None = msgspec.field(name="maxFeePerGas", default=None)
    max_priority_fee_per_gas: str | None = msgspec.field(name="maxPriorityFeePerGas", default=None)
    value: str | None = None
    nonce: str | None = None
    data: str | None = None
    input: str | None = None
    authorization_list: list[msgspec.Raw] | None = msgspec.field(name="authorizationList", default=None)


def _check_authorizations(request: _CallRequest) -> None:
    """What EIP-7702 forbids and the native core, which sees no difference to an ordinary call, would run."""
    sender = (request.from_ or "0x" + "00" * 20).lower()
    if request.to is None:
        problem = f"err: EIP-7702 transaction cannot be used to create contract (sender {sender})"
        raise RpcError(SERVER_ERROR, problem, {"code": "authorizations_without_to"})
    if not request.authorization_list:
        problem = f"err: EIP-7702 transaction with empty auth list (sender {sender})"
        raise RpcError(SERVER_ERROR, problem, {"code": "authorizations_empty"})


_call_decoder = msgspec.json.Decoder(_CallRequest)


def call_request(value: bytes) -> bytes:
    """A transaction object of eth_call and its kin, checked and passed on. Raises ValueError with the
    problem."""
    try:
        request = _call_decoder.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"json: cannot unmarshal into a transaction object ({error})") from None
    for address in (request.from_, request.to):
        if address is not None:
            fixed(address, 20)
    for number, bits in ((request.gas, 64), (request.nonce, 64), (request.value, 256)):
        if number is not None:
            quantity_of(number, bits)
    for price in (request.gas_price, request.max_fee_per_gas, request.max_priority_fee_per_gas):
        if price is not None:
            quantity_of(price, 256)
    if request.gas_price is not None and (request.max_fee_per_gas or request.max_priority_fee_per_gas):
        raise RpcError(SERVER_ERROR, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if request.authorization_list is not None:
        _check_authorizations(request)
    for data in (request.data, request.input):
        if data is not None:
            data_of_hex(data)
    if request.data is not None and request.input is not None and request.data != request.input:
        # op-geth lets `input` win; the native core would refuse the contradiction.
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        del fields["data"]
        return msgspec.json.encode(fields)
    return value


def json_object(value: bytes) -> bytes:
    """Any JSON object, passed on as it came."""
    if not value.lstrip().startswith(b"{"):
        raise ValueError("json: an object is expected")
    return value


class AskedSlot(NamedTuple):
    """A storage slot, and how go-ethereum echoes it: 32 bytes as 32 bytes, anything shorter as a quantity."""

    key: bytes
    shown: str


def _slots(value: object) -> list[AskedSlot]:
    if not isinstance(value, list):
        raise ValueError("storage keys are an array")
    if len(value) > RPC_PROOF_SLOTS_MAX:
        raise ValueError(f"too many slots (requested {len(value)}, max {RPC_PROOF_SLOTS_MAX})")
    keys = [slot_key(item) for item in value]
    return [AskedSlot(k, "0x" + k.hex() if len(v) == 66 else hex(int(v, 16))) for k, v in zip(keys, value, strict=True)]


def _percentiles(value: object) -> list[float]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 100:
        raise ValueError("reward percentiles are an array of at most 100 numbers")
    before = 0.0
    for place, item in enumerate(value):
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= 100:
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: {item}", {"code": "invalid_percentile"})
        if item < before:
            problem = f"invalid reward percentile: #{place - 1}:{before:f} >= #{place}:{item:f}"
            raise RpcError(SERVER_ERROR, problem, {"code": "invalid_percentile"})
        before = float(item)
    return [float(item) for item in value]


def _count(value: object) -> int:
    """A small count, as a quantity, decimal string or number (clients differ for eth_feeHistory)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return quantity_of(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("json: cannot unmarshal into Go value of type bool")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("json: a string is expected")
    return value


def _height(value: object) -> int | None:
    """A sub-block's height, or None for the latest."""
    return None if value is None or value == "latest" else _count(value)


def _wait_ms(value: object) -> int:
    return 0 if value is None else _count(value)


def _one_of(schemas: Sequence[Schema]) -> Schema:
    return {"oneOf": list(schemas)}


def _string(pattern: str, title: str) -> Schema:
    return {"title": title, "type": "string", "pattern": pattern}


QUANTITY_SCHEMA: Final = _string("^0x(0|[1-9a-fA-F][0-9a-fA-F]*)$", "quantity")
DATA_SCHEMA: Final = _string("^0x([0-9a-fA-F]{2})*$", "data")
ADDRESS_SCHEMA: Final = _string("^0x[0-9a-fA-F]{40}$", "address")
HASH_SCHEMA: Final = _string("^0x[0-9a-fA-F]{64}$", "32 bytes")
SLOT_SCHEMA: Final = _string("^0x[0-9a-fA-F]{1,64}$", "storage slot")
OBJECT_SCHEMA: Final[Schema] = {"type": "object"}
TAG_SCHEMA: Final[Schema] = {"title": "block tag", "enum": ["latest", "pending", "safe", "finalized", "earliest"]}
NUMBER_SCHEMA: Final = _one_of([TAG_SCHEMA, QUANTITY_SCHEMA])
EIP1898_SCHEMA: Final[Schema] = {
    "title": "block of EIP-1898",
    "type": "object",
    "properties": {
        "blockNumber": QUANTITY_SCHEMA,
        "blockHash": HASH_SCHEMA,
        "requireCanonical": {"type": "boolean"},
    },
}
BLOCK_SCHEMA: Final[Schema] = {"anyOf": [TAG_SCHEMA, QUANTITY_SCHEMA, HASH_SCHEMA, EIP1898_SCHEMA]}
COUNT_SCHEMA: Final[Schema] = {"anyOf": [QUANTITY_SCHEMA, {"type": "integer", "minimum": 0}]}
_TOPIC: Final[Schema] = {
    "anyOf": [{"type": "null"}, HASH_SCHEMA, {"type": "array", "items": {"anyOf": [HASH_SCHEMA, {"type": "null"}]}}]
}
FILTER_SCHEMA: Final[Schema] = {
    "title": "log filter",
    "type": "object",
    "properties": {
        "fromBlock": NUMBER_SCHEMA,
        "toBlock": NUMBER_SCHEMA,
        "blockHash": HASH_SCHEMA,
        "address": {
            "anyOf": [ADDRESS_SCHEMA, {"type": "array", "items": ADDRESS_SCHEMA, "maxItems": RPC_ADDRESSES_MAX}]
        },
        "topics": {"type": "array", "items": _TOPIC, "maxItems": 4},
    },
}
CALL_SCHEMA: Final[Schema] = {
    "title": "transaction object",
    "type": "object",
    "properties": {
        "from": ADDRESS_SCHEMA,
        "to": ADDRESS_SCHEMA,
        "gas": QUANTITY_SCHEMA,
        "gasPrice": QUANTITY_SCHEMA,
        "maxFeePerGas": QUANTITY_SCHEMA,
        "maxPriorityFeePerGas": QUANTITY_SCHEMA,
        "value": QUANTITY_SCHEMA,
        "nonce": QUANTITY_SCHEMA,
        "input": DATA_SCHEMA,
        "data": DATA_SCHEMA,
        "authorizationList": {"type": "array", "items": OBJECT_SCHEMA, "minItems": 1},
    },
}

QUANTITY: Final = Kind(quantity_of, QUANTITY_SCHEMA)
DATA: Final = Kind(data_of_hex, DATA_SCHEMA)
ADDRESS: Final = Kind(lambda value: fixed(value, 20), ADDRESS_SCHEMA)
HASH: Final = Kind(lambda value: fixed(value, 32), HASH_SCHEMA)
SLOT: Final = Kind(slot_key, SLOT_SCHEMA)
SLOTS: Final = Kind(_slots, {"type": "array", "items": SLOT_SCHEMA, "maxItems": RPC_PROOF_SLOTS_MAX})
BOOLEAN: Final = Kind(_boolean, {"type": "boolean"})
TEXT: Final = Kind(_text, {"type": "string"})
BLOCK: Final = Kind(block_ref, BLOCK_SCHEMA)
BLOCK_NUMBER: Final = Kind(block_number, NUMBER_SCHEMA)
FILTER: Final = Kind(log_filter, FILTER_SCHEMA)
COUNT: Final = Kind(_count, COUNT_SCHEMA)
PERCENTILES: Final = Kind(_percentiles, {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 100}})
HEIGHT: Final = Kind(_height, {"anyOf": [{"const": "latest"}, COUNT_SCHEMA]})
WAIT_MS: Final = Kind(_wait_ms, COUNT_SCHEMA)
CALL: Final = Kind(call_request, CALL_SCHEMA, raw=True)
OBJECT: Final = Kind(json_object, OBJECT_SCHEMA, raw=True)
ANY: Final = Kind(lambda value: value, {})
