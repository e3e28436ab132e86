"""debug_: canonical bytes of blocks and transactions, and call traces. Level 7."""

from typing import Any, Final

import msgspec

from plait.limits import RPC_GAS_CAP
from plait.native import PENDING
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import HEADER_NOT_FOUND, Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.methods.transactions import raw_transaction_by_hash
from plait.rpc.parameters import BLOCK, CALL, DATA_SCHEMA, HASH, LATEST, OBJECT, OBJECT_SCHEMA, BlockRef
from plait.rpc.table import Param, method

_BLOCK: Final = Param("block", BLOCK)
_OPTIONS: Final = Param("options", OBJECT, optional=True, default=b"{}")
_HASH_EXAMPLE: Final = "0x" + "11" * 32


def _sealed(endpoint: Endpoint, block: BlockRef) -> int:
    at = endpoint.state(block)
    return endpoint.head_number() if at == PENDING else at


def _found(data: bytes | None) -> str:
    if data is None:
        raise HEADER_NOT_FOUND
    return hex_of(data)


@method("debug_getRawHeader", _BLOCK, result=DATA_SCHEMA, example=("latest",))
def raw_header(endpoint: Endpoint, block: BlockRef) -> str:
    """RLP of a sealed block's header."""
    return _found(endpoint.native.raw_header(_sealed(endpoint, block)))


@method("debug_getRawBlock", _BLOCK, mode="thread", result=DATA_SCHEMA, example=("latest",))
def raw_block(endpoint: Endpoint, block: BlockRef) -> str:
    """RLP of a sealed block."""
    return _found(endpoint.native.raw_block(_sealed(endpoint, block)))


@method(
    "debug_getRawReceipts", _BLOCK, mode="thread", result={"type": "array", "items": DATA_SCHEMA}, example=("latest",)
)
def raw_receipts(endpoint: Endpoint, block: BlockRef) -> list[str]:
    """Consensus encodings of a sealed block's receipts."""
    receipts = endpoint.native.raw_receipts(_sealed(endpoint, block))
    if receipts is None:
        raise HEADER_NOT_FOUND
    return [hex_of(receipt) for receipt in receipts]


@method("debug_getRawTransaction", Param("hash", HASH), result=DATA_SCHEMA, example=(_HASH_EXAMPLE,))
def raw_transaction(endpoint: Endpoint, hash_: bytes) -> str:
    """A transaction's signed bytes; `0x` when it is not known."""
    return raw_transaction_by_hash(endpoint, hash_)


@method("debug_traceTransaction", Param("hash", HASH), _OPTIONS, mode="thread", result=OBJECT_SCHEMA)
def trace_transaction(endpoint: Endpoint, hash_: bytes, options: bytes) -> Any:
    """Calls that a sealed transaction made (`{"tracer": "callTracer"}`, the default)."""
    trace = endpoint.native.trace_transaction_json(hash_, options)
    if trace is None:
        raise RpcError(SERVER_ERROR, "transaction not found", {"code": "transaction_unknown"})
    return msgspec.Raw(trace)


@method(
    "debug_traceCall",
    Param("call", CALL),
    Param("block", BLOCK, optional=True, default=LATEST),
    _OPTIONS,
    mode="thread",
    result=OBJECT_SCHEMA,
    example=({"to": "0x" + "00" * 20}, "latest", {"tracer": "callTracer"}),
)
def trace_call(endpoint: Endpoint, request: bytes, block: BlockRef, options: bytes) -> Any:
    """Calls that a call would make (`{"tracer": "callTracer"}`, the default)."""
    return msgspec.Raw(endpoint.native.trace_call_json(request, endpoint.state(block), options, RPC_GAS_CAP))
