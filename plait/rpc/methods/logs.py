"""Logs, filters and subscriptions of a rollup. Level 7."""

from typing import Any, Final

import msgspec

from plait.limits import RPC_LOGS_BLOCK_RANGE_MAX, RPC_LOGS_MAX
from plait.native import PENDING
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import INVALID_PARAMS, LIMIT_EXCEEDED, SERVER_ERROR, RpcError, invalid_argument
from plait.rpc.filters import Filter
from plait.rpc.parameters import (
    ANY,
    FILTER,
    HASH_SCHEMA,
    OBJECT_SCHEMA,
    TEXT,
    BlockRef,
    LogFilter,
    Schema,
    log_filter,
)
from plait.rpc.streams import Subscriber
from plait.rpc.table import Param, method

_LOGS_SCHEMA: Final[Schema] = {"type": "array", "items": OBJECT_SCHEMA}
_ID_SCHEMA: Final[Schema] = {"type": "string"}
_EMPTY: Final = msgspec.Raw(b"[]")
_BLOCKS_PER_POLL_MAX: Final = 1_024


def _number(endpoint: Endpoint, ref: BlockRef | None, head: int) -> int:
    """A block of a range, which may lie beyond the head."""
    if ref is None:
        return head
    if ref.number is not None:
        return ref.number
    at = endpoint.block(ref)
    return head if at is None or at == PENDING else at


def _logs(endpoint: Endpoint, filter_: LogFilter, first: int, last: int) -> msgspec.Raw:
    if last - first >= RPC_LOGS_BLOCK_RANGE_MAX:
        problem = f"query exceeds max block range {RPC_LOGS_BLOCK_RANGE_MAX}; ask for fewer blocks at once"
        raise RpcError(LIMIT_EXCEEDED, problem, {"code": "block_range_too_large"})
    endpoint.require_kept(max(first, 1) if last > 0 else 0)
    found = endpoint.native.logs_json(first, last, list(filter_.addresses), list(filter_.topics), RPC_LOGS_MAX)
    return msgspec.Raw(found)


def _query(endpoint: Endpoint, filter_: LogFilter) -> msgspec.Raw:
    head = endpoint.head_number()
    if filter_.block_hash is not None:
        at = endpoint.native.block_number_by_hash(filter_.block_hash)
        if at is None:
            raise RpcError(SERVER_ERROR, "unknown block", {"code": "block_unknown"})
        return _logs(endpoint, filter_, at, at)
    _sealed_only(filter_)
    first, last = _number(endpoint, filter_.from_block, head), _number(endpoint, filter_.to_block, head)
    if first > last:
        raise RpcError(INVALID_PARAMS, f"invalid block range params: fromBlock {first} is after toBlock {last}")
    if last > head:
        raise RpcError(
            INVALID_PARAMS, "block range extends beyond current head block", {"code": "block_beyond_head", "head": head}
        )
    return _logs(endpoint, filter_, first, last)


def _sealed_only(filter_: LogFilter) -> None:
    if any(ref is not None and ref.tag == "pending" for ref in (filter_.from_block, filter_.to_block)):
        raise RpcError(INVALID_PARAMS, "pending logs are not supported", {"code": "pending_logs"})


@method(
    "eth_getLogs",
    Param("filter", FILTER),
    mode="thread",
    result=_LOGS_SCHEMA,
    example=({"fromBlock": "earliest", "toBlock": "latest"},),
)
def get_logs(endpoint: Endpoint, filter_: LogFilter) -> msgspec.Raw:
    """Logs of sealed blocks by address and topics."""
    return _query(endpoint, filter_)


# ---------------------------------------------------------------- filters that are polled
@method("eth_newFilter", Param("filter", FILTER), result=_ID_SCHEMA, example=({},))
def new_filter(endpoint: Endpoint, filter_: LogFilter) -> str:
    """Begins a log filter; poll it with eth_getFilterChanges."""
    _sealed_only(filter_)
    first, last = (None if ref is None else ref.number for ref in (filter_.from_block, filter_.to_block))
    if first is not None and last is not None and first > last:
        raise RpcError(INVALID_PARAMS, f"invalid block range params: fromBlock {first} is after toBlock {last}")
    return endpoint.filters.add("logs", endpoint.head_number(), endpoint.backend.clock.now_ms(), filter_)


@method("eth_newBlockFilter", result=_ID_SCHEMA, example=())
def new_block_filter(endpoint: Endpoint) -> str:
    """Begins a filter of new sealed blocks; poll it with eth_getFilterChanges."""
    return endpoint.filters.add("blocks", endpoint.head_number(), endpoint.backend.clock.now_ms())


@method("eth_newPendingTransactionFilter", result=_ID_SCHEMA, example=())
def new_pending_transaction_filter(endpoint: Endpoint) -> str:
    """Begins a filter of transactions that become executable; poll it with eth_getFilterChanges."""
    return endpoint.filters.add("transactions", endpoint.head_number(), endpoint.backend.clock.now_ms())


@method("eth_uninstallFilter", Param("id", TEXT), result={"type": "boolean"}, example=("0x1",))
def uninstall_filter(endpoint: Endpoint, identity: str) -> bool:
    """Ends a filter."""
    return endpoint.filters.remove(identity)


@method("eth_getFilterChanges", Param("id", TEXT), mode="coroutine", result={"type": "array"})
async def get_filter_changes(endpoint: Endpoint, identity: str) -> Any:
    """What is new since the last poll: logs, block hashes or transaction hashes."""
    found = endpoint.filters.get(identity, endpoint.backend.clock.now_ms())
    if found.kind == "transactions":
        hashes = list(found.hashes)
        found.hashes.clear()
        return hashes
    head = endpoint.head_number()
    first = found.next_number
    last = min(head, first + (RPC_LOGS_BLOCK_RANGE_MAX if found.kind == "logs" else _BLOCKS_PER_POLL_MAX) - 1)
    if first > last:
        return _EMPTY
    found.next_number = last + 1
    if found.kind == "blocks":
        return [_block_hash(endpoint, number) for number in range(first, last + 1)]
    return await endpoint.readers.run(_changed_logs, endpoint, found, first, last)


def _changed_logs(endpoint: Endpoint, found: Filter, first: int, last: int) -> msgspec.Raw:
    assert found.logs is not None
    if found.logs.from_block is not None and found.logs.from_block.number is not None:
        first = max(first, found.logs.from_block.number)
    if found.logs.to_block is not None and found.logs.to_block.number is not None:
        last = min(last, found.logs.to_block.number)
    return _EMPTY if first > last else _logs(endpoint, found.logs, first, last)


class _Hash(msgspec.Struct):
    hash: str


def _block_hash(endpoint: Endpoint, number: int) -> str:
    header = endpoint.native.header_json(number)
    assert header is not None
    return msgspec.json.decode(header, type=_Hash).hash


@method("eth_getFilterLogs", Param("id", TEXT), mode="coroutine", result=_LOGS_SCHEMA)
async def get_filter_logs(endpoint: Endpoint, identity: str) -> Any:
    """All logs that a log filter's criteria match."""
    found = endpoint.filters.get(identity, endpoint.backend.clock.now_ms())
    if found.logs is None:
        raise RpcError(SERVER_ERROR, "filter not found", {"code": "filter_unknown"})
    return await endpoint.readers.run(_query, endpoint, found.logs)


# ---------------------------------------------------------------- subscriptions
@method(
    "eth_subscribe",
    Param("kind", TEXT),
    Param("options", ANY, optional=True),
    mode="connection",
    result=HASH_SCHEMA,
)
def subscribe(endpoint: Endpoint, subscriber: Subscriber, kind: str, options: Any) -> str:
    """Subscribes to `newHeads`, `logs` (with a filter), `newPendingTransactions` (true for whole ones) or `syncing`;
    WebSocket only."""
    streams, rollup_id = endpoint.streams, endpoint.rollup_id
    if kind in {"newHeads", "syncing"}:
        return streams.subscribe(subscriber, "newHeads" if kind == "newHeads" else "syncing", rollup_id)
    if kind == "logs":
        try:
            return streams.subscribe(subscriber, "logs", rollup_id, logs=log_filter(options))
        except ValueError as error:
            raise invalid_argument(1, str(error)) from None
    if kind == "newPendingTransactions":
        if options is not None and not isinstance(options, bool):
            raise invalid_argument(1, "json: cannot unmarshal into Go value of type bool")
        return streams.subscribe(subscriber, "newPendingTransactions", rollup_id, full=bool(options))
    raise RpcError(-32601, f'no "{kind[:64]}" subscription in eth namespace')


@method("eth_unsubscribe", Param("id", TEXT), mode="connection", result={"type": "boolean"})
def unsubscribe(endpoint: Endpoint, subscriber: Subscriber, identity: str) -> bool:
    """Ends a subscription of this connection."""
    if not endpoint.streams.unsubscribe(subscriber, identity):
        raise RpcError(SERVER_ERROR, "subscription not found", {"code": "subscription_unknown"})
    return True
