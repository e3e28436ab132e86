"""What an execution engine answers, typed; and its refusals, with what their texts say made into fields.

Specification (execution-apis, engine/common and paris; op-geth)
    - A payload's status is VALID, INVALID, SYNCING, ACCEPTED or INVALID_BLOCK_HASH.
    - JSON-RPC numbers: -38001 unknown payload, -38002 invalid forkchoice state, -38003 invalid payload attributes,
      -38004 too large, -38005 unsupported fork. The detail of -38003 is in `error.data.err`.
    - A forced transaction that cannot be included fails the whole build; op-geth names the first one:
      "failed to force-include tx: 0x<hash> type: <n> sender: <address> nonce: <n>, err: <reason>", or, when it cannot
      be decoded, "transaction <index> is not valid: <reason>".
Everything from the engine is bounded and checked here. Level 5, pure.
"""

import re
from typing import Any, Final, Literal, cast, get_args

import msgspec

from plait.errors import CodecError, InvalidInput, Unavailable
from plait.limits import ENGINE_ERROR_TEXT_MAX
from plait.rollups.opstack.wire import malformed, read_data, read_quantity
from plait.types import BlockNumber, Hash32, Seconds

Status = Literal["VALID", "INVALID", "SYNCING", "ACCEPTED", "INVALID_BLOCK_HASH"]
_STATUSES: Final[frozenset[str]] = frozenset(get_args(Status))


class EngineUnreachable(Unavailable):
    """Nobody answers at the engine's address in time, or what answers is no engine."""

    default_code = "engine_unreachable"


class EngineRefused(InvalidInput):
    """The engine's own refusal. `fields`: `number` (JSON-RPC's), `detail` (its words), `forced` (a ForcedRefusal)."""

    default_code = "engine_refused"


class PayloadStatus(msgspec.Struct, frozen=True):
    """What the engine thinks of a block."""

    status: Status
    latest_valid_hash: Hash32 | None
    validation_error: str


class ForkchoiceAnswer(msgspec.Struct, frozen=True):
    """Answer to a forkchoice update; `payload_id` is there when attributes were accepted."""

    status: PayloadStatus
    payload_id: str | None


class BuiltPayload(msgspec.Struct, frozen=True):
    """A payload as the engine built it: its JSON unchanged, and what says which block it is."""

    payload_json: bytes
    block_hash: Hash32
    parent_beacon_block_root: Hash32


class EngineBlock(msgspec.Struct, frozen=True):
    """A block of the engine's chain."""

    number: BlockNumber
    hash: Hash32
    parent_hash: Hash32
    timestamp: Seconds
    extra_data: bytes


class ForcedRefusal(msgspec.Struct, frozen=True):
    """The transaction because of which a block cannot be built: by hash, or by its position when it has none."""

    hash: Hash32 | None
    index: int | None
    reason: str


# ---------------------------------------------------------------- answers
def read_payload_status(value: Any) -> PayloadStatus:
    """A PayloadStatusV1. Raises CodecError `engine_answer_malformed`."""
    status = value.get("status") if isinstance(value, dict) else None
    if not isinstance(status, str) or status not in _STATUSES:
        raise malformed("a payload status", "that is none")
    latest = value.get("latestValidHash")
    return PayloadStatus(
        cast(Status, status),
        None if latest is None else Hash32(read_data(latest, "latestValidHash", 32)),
        bounded(value.get("validationError")),
    )


def read_forkchoice(value: Any) -> ForkchoiceAnswer:
    """Answer of forkchoiceUpdated. Raises CodecError `engine_answer_malformed`."""
    if not isinstance(value, dict):
        raise malformed("a forkchoice answer", "that is no object")
    identity = value.get("payloadId")
    if identity is not None:
        read_data(identity, "payloadId", 8)
    return ForkchoiceAnswer(read_payload_status(value.get("payloadStatus")), identity)


class _Envelope(msgspec.Struct):
    executionPayload: msgspec.Raw  # noqa: N815 - the name on the wire
    parentBeaconBlockRoot: str = "0x" + "00" * 32  # noqa: N815


class _Hash(msgspec.Struct):
    blockHash: str  # noqa: N815


def read_built(result: bytes) -> BuiltPayload:
    """Answer of getPayload, V3 to V5, from its JSON. Raises CodecError `engine_answer_malformed`."""
    try:
        envelope = msgspec.json.decode(result, type=_Envelope)
        payload = bytes(envelope.executionPayload)
        block_hash = msgspec.json.decode(payload, type=_Hash).blockHash
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise malformed("a built payload", f"that cannot be read ({error})") from error
    return BuiltPayload(
        payload,
        Hash32(read_data(block_hash, "blockHash", 32)),
        Hash32(read_data(envelope.parentBeaconBlockRoot, "parentBeaconBlockRoot", 32)),
    )


def read_block(value: Any) -> EngineBlock:
    """A block of eth_getBlockByNumber. Raises CodecError `engine_answer_malformed`."""
    if not isinstance(value, dict):
        raise malformed("a block", "that is no object")
    return EngineBlock(
        BlockNumber(read_quantity(value.get("number"), "number")),
        Hash32(read_data(value.get("hash"), "hash", 32)),
        Hash32(read_data(value.get("parentHash"), "parentHash", 32)),
        Seconds(read_quantity(value.get("timestamp"), "timestamp")),
        read_data(value.get("extraData"), "extraData"),
    )


# ---------------------------------------------------------------- refusals
_CODES: Final[dict[int, dict[str, str]]] = {
    -38001: {"code": "engine_payload_unknown"},
    -38002: {"code": "engine_forkchoice_invalid"},
    -38003: {"code": "engine_attributes_invalid"},
    -38004: {"code": "engine_request_too_large"},
    -38005: {"code": "engine_fork_mismatch"},
}
_FORCED: Final = re.compile(r"failed to force-include tx: (0x[0-9a-fA-F]{64})\b.*?\berr: (.*)", re.DOTALL)
_UNDECODABLE: Final = re.compile(r"transaction ([0-9]{1,7}) is not valid: (.*)", re.DOTALL)


def read_forced(detail: str) -> ForcedRefusal | None:
    """The transaction that op-geth's words about a failed build name; None when they name none."""
    found = _FORCED.search(detail)
    if found:
        return ForcedRefusal(Hash32(bytes.fromhex(found[1][2:])), None, found[2].strip())
    found = _UNDECODABLE.search(detail)
    return ForcedRefusal(None, int(found[1]), found[2].strip()) if found else None


def refusal(method: str, error: Any) -> EngineRefused | CodecError:
    """The error that a JSON-RPC error object stands for."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return malformed(f"an error to {method}", "that is none")
    number, more = error["code"], error.get("data")
    inner = more.get("err") if isinstance(more, dict) else None
    detail = bounded(f"{error.get('message')}: {inner}" if inner else error.get("message"))
    advice = ""
    if number == -38005:
        advice = " Start it with the genesis and fork times that rollup.json names, or correct those."
    return EngineRefused(
        f"The engine refuses {method}: {detail}.{advice}",
        number=number,
        detail=detail,
        forced=read_forced(detail),
        method=method,
        **_CODES.get(number, {}),
    )


def bounded(text: Any) -> str:
    """An engine's words, cut at ENGINE_ERROR_TEXT_MAX."""
    return "" if text is None else str(text)[:ENGINE_ERROR_TEXT_MAX]
