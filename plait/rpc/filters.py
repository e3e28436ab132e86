"""Filters that clients poll: logs, new blocks, new pending transactions.

A filter remembers how far it was read; nothing is kept for it but the hashes of pending transactions, bounded. A filter
that nobody polls is removed after RPC_FILTER_LIFETIME_S. Ids are random, so that nobody polls another's.

Level 7. Lives on the event loop.
"""

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from plait.limits import RPC_FILTER_ENTRIES_MAX, RPC_FILTER_LIFETIME_S, RPC_FILTERS_MAX
from plait.rpc.errors import LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from plait.rpc.parameters import LogFilter


@dataclass(slots=True)
class Filter:
    """One filter."""

    kind: Literal["logs", "blocks", "transactions"]
    next_number: int
    polled_ms: int
    logs: LogFilter | None = None
    hashes: "deque[str]" = field(default_factory=lambda: deque(maxlen=RPC_FILTER_ENTRIES_MAX))


class Filters:
    """The filters of one rollup."""

    def __init__(self) -> None:
        self._filters: dict[str, Filter] = {}
        self._transaction_filters: set[str] = set()

    def __len__(self) -> int:
        return len(self._filters)

    def add(
        self, kind: Literal["logs", "blocks", "transactions"], head: int, now_ms: int, logs: LogFilter | None = None
    ) -> str:
        """A new filter that begins after block `head`. Raises RpcError when there are RPC_FILTERS_MAX."""
        self._expire(now_ms)
        if len(self._filters) >= RPC_FILTERS_MAX:
            raise RpcError(
                LIMIT_EXCEEDED, "too many filters; uninstall some or subscribe instead", {"code": "filters_full"}
            )
        identity = "0x" + secrets.token_hex(16)
        self._filters[identity] = Filter(kind, head + 1, now_ms, logs)
        if kind == "transactions":
            self._transaction_filters.add(identity)
        return identity

    def get(self, identity: str, now_ms: int) -> Filter:
        """A filter, now polled. Raises RpcError `filter not found`."""
        self._expire(now_ms)
        found = self._filters.get(identity)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found", {"code": "filter_unknown"})
        found.polled_ms = now_ms
        return found

    def remove(self, identity: str) -> bool:
        """Whether there was such a filter; it is gone now."""
        self._transaction_filters.discard(identity)
        return self._filters.pop(identity, None) is not None

    def pending_transactions(self, hashes: list[str]) -> None:
        """Tells transaction filters of new executable transactions."""
        for identity in self._transaction_filters:
            self._filters[identity].hashes.extend(hashes)

    @property
    def wants_transactions(self) -> bool:
        """Whether anybody polls for pending transactions."""
        return bool(self._transaction_filters)

    def _expire(self, now_ms: int) -> None:
        limit = now_ms - RPC_FILTER_LIFETIME_S * 1_000
        for identity in [key for key, item in self._filters.items() if item.polled_ms < limit]:
            self.remove(identity)
