"""plait_: what a light client checks: the engine's blocks, headers of sub-blocks, items of rollups. Level 7.

Nothing here needs to be believed: `plait.light` proves every answer or refuses it. Ranges are bounded, and so is what
one call reads from the log; an answer may then be shorter than was asked for, and the caller asks for the rest.
"""

from typing import Any, Final

from plait.errors import PlaitError
from plait.limits import (
    LIGHT_HEADERS_PER_CALL_MAX,
    LIGHT_LOG_BYTES_PER_CALL,
    LIGHT_SLOTS_MAX,
    LIGHT_VALIDATORS_MAX,
)
from plait.protocol.proposal import decode_proposal
from plait.rpc.backend import Backend
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import INVALID_PARAMS, LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from plait.rpc.parameters import COUNT, DATA_SCHEMA, HEIGHT, OBJECT_SCHEMA
from plait.rpc.table import Param, method
from plait.storage.record import DecidedRecord
from plait.types import Height, RollupId, Slot

_VALIDATORS_PER_PAGE: Final = 100
"""CometBFT's own bound of a page."""


@method("plait_getLightBlock", Param("height", HEIGHT), mode="coroutine", scope="both", result=OBJECT_SCHEMA)
async def get_light_block(endpoint: Endpoint, height: int | None) -> dict[str, Any]:
    """A block of the engine by height or `latest`, as light clients check it: signed header and validators."""
    comet = endpoint.backend.comet
    if comet is None:
        problem = "one process orders this network; there are no validators whose commits could be checked"
        raise RpcError(SERVER_ERROR, problem, {"code": "light_blocks_missing"})
    try:
        signed = (await comet.commit(height))["signed_header"]
        at = int(signed["header"]["height"])
        validators: list[Any] = []
        for page in range(1, LIGHT_VALIDATORS_MAX // _VALIDATORS_PER_PAGE + 1):
            shown = await comet.validators(at, page, _VALIDATORS_PER_PAGE)
            validators += shown["validators"]
            if len(validators) >= int(shown["total"]):
                break
    except (PlaitError, KeyError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, PlaitError) else "CometBFT's answer cannot be read"
        raise RpcError(SERVER_ERROR, reason, {"code": "light_block_unavailable"}) from error
    return {"signed_header": signed, "validators": validators}


@method(
    "plait_getHeightsOfSlots",
    Param("firstSlot", COUNT),
    Param("lastSlot", COUNT),
    mode="thread",
    scope="both",
    result=OBJECT_SCHEMA,
    example=(0, 0),
)
def get_heights_of_slots(endpoint: Endpoint, first: int, last: int) -> dict[str, int]:
    """The sub-blocks of a range of slots: the `first` height, and the `end`, the height after the last one."""
    if not first <= last < LIGHT_SLOTS_MAX:
        raise RpcError(INVALID_PARAMS, f"slots {first} to {last} are no range", {"code": "range_invalid"})
    log = endpoint.backend.log
    if log.height < log.first_height:
        return {"first": log.first_height, "end": log.first_height}
    return {"first": log.heights_of_slot(Slot(first)).start, "end": log.heights_of_slot(Slot(last)).stop}


@method(
    "plait_getSubBlockHeaders",
    Param("firstHeight", COUNT),
    Param("lastHeight", COUNT),
    mode="thread",
    scope="both",
    result={"type": "array", "items": DATA_SCHEMA},
)
def get_sub_block_headers(endpoint: Endpoint, first: int, last: int) -> list[str]:
    """Canonical headers of decided sub-blocks, ascending from `firstHeight`; fewer than asked for when they are big."""
    count = last - first + 1
    if count > LIGHT_HEADERS_PER_CALL_MAX:
        problem = f"headers of {count} sub-blocks; at most {LIGHT_HEADERS_PER_CALL_MAX} in one call"
        raise RpcError(LIMIT_EXCEEDED, problem, {"code": "range_too_large", "countMax": LIGHT_HEADERS_PER_CALL_MAX})
    log = endpoint.backend.log
    if not log.first_height <= first <= last <= log.height:
        raise _height_unknown(endpoint.backend, first, last)
    headers: list[str] = []
    size = 0
    for record in log.iterate(Height(first), Height(last)):
        headers.append(hex_of(header_bytes_of(record.proposal)))
        size += len(record.proposal)
        if size > LIGHT_LOG_BYTES_PER_CALL:
            break
    return headers


@method(
    "plait_getSubBlockItems",
    Param("height", COUNT),
    Param("rollupId", COUNT),
    mode="thread",
    scope="both",
    result={"type": "array", "items": DATA_SCHEMA},
)
def get_sub_block_items(endpoint: Endpoint, height: int, rollup_id: int) -> list[str]:
    """All items of a rollup in a decided sub-block, in order, as its items root commits to them."""
    items = dict(decode_proposal(_record(endpoint.backend, height).proposal).blocks)
    return [hex_of(item) for item in items.get(RollupId(rollup_id), ())]


# ---------------------------------------------------------------- the log
def header_bytes_of(proposal: bytes) -> bytes:
    """Canonical bytes of a decided proposal's header, without reading what follows it."""
    inner = _list_start(proposal, 0)
    start = _list_start(proposal, inner)
    size = proposal[inner] - 0xC0 if start == inner + 1 else int.from_bytes(proposal[inner + 1 : start], "big")
    return proposal[inner : start + size]


def _list_start(data: bytes, at: int) -> int:
    """Where the content of the RLP list at `at` begins."""
    return at + 1 + max(0, data[at] - 0xF7)


def _record(backend: Backend, height: int) -> DecidedRecord:
    log = backend.log
    record = log.read(Height(height)) if log.first_height <= height <= log.height else None
    if record is None:
        raise _height_unknown(backend, height, height)
    return record


def _height_unknown(backend: Backend, first: int, last: int) -> RpcError:
    kept = f"heights {backend.log.first_height} to {backend.log.height} are kept here"
    wanted = str(first) if first == last else f"{first} to {last}"
    return RpcError(SERVER_ERROR, f"unknown height {wanted}; {kept}", {"code": "height_unknown"})
