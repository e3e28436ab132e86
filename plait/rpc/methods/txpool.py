"""txpool_: what is in the pool, in go-ethereum's shape. Level 7."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from plait.limits import RPC_TXPOOL_ENTRIES_MAX
from plait.mempool import Admitted
from plait.rpc.encoding import checksummed, pooled_transaction
from plait.rpc.endpoint import Endpoint
from plait.rpc.parameters import ADDRESS, OBJECT_SCHEMA, QUANTITY_SCHEMA, Schema
from plait.rpc.table import Param, method

_ZERO: Final = "0x" + "00" * 20
_STATUS_SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {"pending": QUANTITY_SCHEMA, "queued": QUANTITY_SCHEMA},
}
T = TypeVar("T")


@method("txpool_status", result=_STATUS_SCHEMA, example=())
def status(endpoint: Endpoint) -> dict[str, str]:
    """Numbers of executable transactions and of those behind a nonce gap."""
    lane = endpoint.backend.pool.lanes[endpoint.rollup_id]
    return {"pending": hex(lane.pending_count), "queued": hex(len(lane) - lane.pending_count)}


def _shown(entries: Iterable[Admitted], show: Callable[[Admitted], T]) -> dict[str, T]:
    return {str(entry.nonce): show(entry) for entry in entries}


def _content(endpoint: Endpoint, show: Callable[[Admitted], Any]) -> dict[str, dict[str, dict[str, Any]]]:
    content: dict[str, dict[str, dict[str, Any]]] = {"pending": {}, "queued": {}}
    room = RPC_TXPOOL_ENTRIES_MAX
    for address, account in endpoint.backend.pool.accounts(endpoint.rollup_id).items():
        if room <= 0:
            break
        room -= len(account)
        if account.pending:
            content["pending"][checksummed(address)] = _shown(account.pending, show)
        if account.queued:
            content["queued"][checksummed(address)] = _shown(account.queued.values(), show)
    return content


@method("txpool_content", result=OBJECT_SCHEMA, example=())
def content(endpoint: Endpoint) -> dict[str, dict[str, dict[str, Any]]]:
    """Pooled transactions by state, sender and nonce (the first RPC_TXPOOL_ENTRIES_MAX)."""
    return _content(endpoint, lambda entry: pooled_transaction(entry.transaction))


@method("txpool_contentFrom", Param("address", ADDRESS), result=OBJECT_SCHEMA, example=(_ZERO,))
def content_from(endpoint: Endpoint, address: bytes) -> dict[str, dict[str, Any]]:
    """One sender's pooled transactions by state and nonce."""
    account = endpoint.backend.pool.accounts(endpoint.rollup_id).get(address)
    if account is None:
        return {"pending": {}, "queued": {}}
    pending = _shown(account.pending, lambda entry: pooled_transaction(entry.transaction))
    queued = _shown(account.queued.values(), lambda entry: pooled_transaction(entry.transaction))
    return {"pending": pending, "queued": queued}


@method("txpool_inspect", result=OBJECT_SCHEMA, example=())
def inspect(endpoint: Endpoint) -> dict[str, dict[str, dict[str, Any]]]:
    """Pooled transactions by state, sender and nonce, one line each."""
    return _content(endpoint, _line)


def _line(entry: Admitted) -> str:
    to = entry.transaction.to
    target = "contract creation" if to is None else checksummed(to)
    return f"{target}: {entry.transaction.value} wei + {entry.gas_limit} gas \u00d7 {entry.fee_cap} wei"
