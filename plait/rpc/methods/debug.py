"""debug_: canonical bytes of blocks and transactions, and call traces.

Tracing a block executes it again up to each of its transactions; it ends, with an error, when its time is over.

Level 7.
"""

import time
from typing import Any, Final

import msgspec

from plait.limits import RPC_BATCH_RESPONSE_BYTES_MAX, RPC_CALL_TIMEOUT_S, RPC_GAS_CAP
from plait.native import PENDING
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import HEADER_NOT_FOUND, Endpoint
from plait.rpc.errors import INVALID_PARAMS, RESPONSE_TOO_LARGE, SERVER_ERROR, TIMEOUT, RpcError
from plait.rpc.methods.transactions import raw_transaction_by_hash
from plait.rpc.parameters import (
    BLOCK,
    BLOCK_NUMBER,
    CALL,
    DATA_SCHEMA,
    HASH,
    LATEST,
    OBJECT,
    OBJECT_SCHEMA,
    BlockRef,
)
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


_STRUCT_LOGGER: Final = ("disableStack", "disableStorage", "enableMemory", "enableReturnData", "limit", "debug")


def _known_tracer(options: bytes) -> None:
    """Refuses options of the struct logger, go-ethereum's default that is not here, rather than ignoring them."""
    fields = msgspec.json.decode(options, type=dict[str, msgspec.Raw])
    asked = [name for name in _STRUCT_LOGGER if name in fields]
    if asked and "tracer" not in fields:
        problem = f'tracer not supported: {asked[0]} belongs to the struct logger; ask for {{"tracer": "callTracer"}}'
        raise RpcError(INVALID_PARAMS, problem, {"code": "tracer_unsupported"})


class _Hashes(msgspec.Struct):
    transactions: list[str]


def _trace_block(endpoint: Endpoint, block: BlockRef, name: str, options: bytes) -> Any:
    _known_tracer(options)
    at = endpoint.block(block)
    shown = None if at is None else endpoint.native.block_json(at, False)
    if shown is None:
        raise RpcError(SERVER_ERROR, f"block {name} not found", {"code": "block_unknown"})
    if at == 0:
        raise RpcError(SERVER_ERROR, "genesis is not traceable", {"code": "genesis_untraceable"})
    end = time.monotonic() + RPC_CALL_TIMEOUT_S
    size = 0
    traces: list[bytes] = []
    for hash_ in msgspec.json.decode(shown, type=_Hashes).transactions:
        if time.monotonic() > end:
            raise RpcError(TIMEOUT, f"request timed out after {RPC_CALL_TIMEOUT_S} s", {"code": "timeout"})
        trace = endpoint.native.trace_transaction_json(bytes.fromhex(hash_[2:]), options)
        assert trace is not None, "a block's transaction is known"
        traces.append(b'{"txHash":"%b","result":%b}' % (hash_.encode(), trace))
        size += len(trace)
        if size > RPC_BATCH_RESPONSE_BYTES_MAX:
            raise RpcError(RESPONSE_TOO_LARGE, "response too large; trace the block's transactions one by one")
    return msgspec.Raw(b"[" + b",".join(traces) + b"]")


_TRACES_SCHEMA: Final = {"type": "array", "items": OBJECT_SCHEMA}


@method("debug_traceBlockByNumber", Param("block", BLOCK_NUMBER), _OPTIONS, mode="thread", result=_TRACES_SCHEMA)
def trace_block_by_number(endpoint: Endpoint, block: BlockRef, options: bytes) -> Any:
    """Calls that each transaction of a block made, as debug_traceTransaction shows them."""
    return _trace_block(endpoint, block, f"#{block.number}", options)


@method("debug_traceBlockByHash", Param("hash", HASH), _OPTIONS, mode="thread", result=_TRACES_SCHEMA)
def trace_block_by_hash(endpoint: Endpoint, hash_: bytes, options: bytes) -> Any:
    """Calls that each transaction of a sealed block made, as debug_traceTransaction shows them."""
    return _trace_block(endpoint, BlockRef(hash=hash_), hex_of(hash_), options)


@method("debug_traceTransaction", Param("hash", HASH), _OPTIONS, mode="thread", result=OBJECT_SCHEMA)
def trace_transaction(endpoint: Endpoint, hash_: bytes, options: bytes) -> Any:
    """Calls that a sealed transaction made (`{"tracer": "callTracer"}`, the default)."""
    _known_tracer(options)
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
    _known_tracer(options)
    return msgspec.Raw(endpoint.native.trace_call_json(request, endpoint.state(block), options, RPC_GAS_CAP))
