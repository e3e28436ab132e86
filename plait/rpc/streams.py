"""Subscriptions: from decided sub-blocks and admitted transactions to notifications of WebSocket connections.

One task per server follows the node's effects. What several subscribers want alike is encoded once. A connection's
queue is bounded; a client that does not keep up is disconnected with the reason, and nobody else waits for it.

Level 7. Lives on the event loop.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from plait.limits import RPC_LOGS_MAX, RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX
from plait.mempool import Admitted, BundleStatus
from plait.native import NativeError
from plait.protocol.effects import SubBlockDecided
from plait.rpc.backend import Backend
from plait.rpc.bundle_answers import status_json
from plait.rpc.encoding import hex_of, pooled_transaction_json, sub_block_json
from plait.rpc.errors import LIMIT_EXCEEDED, RpcError
from plait.rpc.filters import Filters
from plait.rpc.parameters import LogFilter
from plait.rpc.readers import Readers
from plait.types import RollupId

Topic: TypeAlias = Literal["newHeads", "syncing", "logs", "newPendingTransactions", "subBlocks", "bundles"]
_Key: TypeAlias = tuple[Topic, RollupId | bytes | None]
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Subscriber(Protocol):
    """A connection that takes notifications."""

    subscriptions: "dict[str, Subscription]"

    def notify(self, message: bytes) -> None:
        """Queues a message, or ends the connection when its queue is full."""
        ...


@dataclass(slots=True, eq=False)
class Subscription:
    """What one connection wants to hear of."""

    identity: str
    namespace: Literal["eth", "plait"]
    topic: Topic
    subscriber: Subscriber
    rollup_id: RollupId | None
    logs: LogFilter | None = None
    full: bool = False
    bundle_hash: bytes | None = None

    @property
    def key(self) -> "_Key":
        """What it is found by when there is something to tell: its topic, and its rollup or bundle."""
        return self.topic, self.rollup_id if self.bundle_hash is None else self.bundle_hash

    def send(self, result: bytes) -> None:
        """Notifies of one result, JSON."""
        self.subscriber.notify(
            b'{"jsonrpc":"2.0","method":"%b_subscription","params":{"subscription":"%b","result":%b}}'
            % (self.namespace.encode(), self.identity.encode(), result)
        )


class Streams:
    """All subscriptions of one server."""

    def __init__(self, backend: Backend, readers: Readers, log_failure: Callable[[str, BaseException], None]) -> None:
        self._backend = backend
        self._readers = readers
        self._log_failure = log_failure
        self._filters: dict[RollupId, Filters] = {}
        self._by_topic: dict[_Key, dict[str, Subscription]] = {}
        self._sealed = {rollup_id: handle.native.head.number for rollup_id, handle in backend.rollups.items()}
        backend.bundles.listen(self._bundle_changed)
        backend.pool.listen(self._admitted)

    def __len__(self) -> int:
        return sum(map(len, self._by_topic.values()))

    # ------------------------------------------------------------ subscribing
    def subscribe(
        self,
        subscriber: Subscriber,
        topic: Topic,
        rollup_id: RollupId | None,
        *,
        logs: LogFilter | None = None,
        full: bool = False,
        bundle_hash: bytes | None = None,
    ) -> str:
        """A new subscription's id. Raises RpcError at RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX."""
        if len(subscriber.subscriptions) >= RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX:
            raise RpcError(LIMIT_EXCEEDED, "too many subscriptions on this connection", {"code": "subscriptions_full"})
        identity = "0x" + secrets.token_hex(16)
        namespace: Literal["eth", "plait"] = "plait" if topic in {"subBlocks", "bundles"} else "eth"
        subscription = Subscription(identity, namespace, topic, subscriber, rollup_id, logs, full, bundle_hash)
        subscriber.subscriptions[identity] = subscription
        self._by_topic.setdefault(subscription.key, {})[identity] = subscription
        return identity

    def unsubscribe(self, subscriber: Subscriber, identity: str) -> bool:
        """Whether the connection had that subscription; it is gone now."""
        subscription = subscriber.subscriptions.pop(identity, None)
        if subscription is None:
            return False
        key = subscription.key
        self._by_topic[key].pop(identity, None)
        if not self._by_topic[key]:
            del self._by_topic[key]
        return True

    def leave(self, subscriber: Subscriber) -> None:
        """Ends all subscriptions of a connection."""
        for identity in list(subscriber.subscriptions):
            self.unsubscribe(subscriber, identity)

    def _of(self, topic: Topic, subject: RollupId | bytes | None) -> list[Subscription]:
        return list(self._by_topic.get((topic, subject), {}).values())

    # ------------------------------------------------------------ publishing
    def watch(self, rollup_id: RollupId, filters: Filters) -> None:
        """Also tells the filters of a rollup of pending transactions."""
        self._filters[rollup_id] = filters

    def wants_transactions(self, rollup_id: RollupId) -> bool:
        """Whether anybody subscribed to, or polls for, a rollup's pending transactions."""
        return ("newPendingTransactions", rollup_id) in self._by_topic or self._filters[rollup_id].wants_transactions

    def _admitted(self, rollup_id: RollupId, entries: Sequence[Admitted]) -> None:
        """Transactions came into the pool, from a client or from another node."""
        promoted = self._backend.pool.lanes[rollup_id].take_promoted()
        if rollup_id in self._filters and self.wants_transactions(rollup_id):
            self.executable(rollup_id, [*(entry for entry in entries if entry.pending), *promoted])

    def executable(self, rollup_id: RollupId, entries: Sequence[Admitted]) -> None:
        """Notifies of transactions that became executable."""
        self._filters[rollup_id].pending_transactions([hex_of(entry.hash) for entry in entries])
        subscriptions = self._of("newPendingTransactions", rollup_id)
        for entry in entries:
            short = b'"0x%b"' % entry.hash.hex().encode()
            long: bytes | None = None
            for subscription in subscriptions:
                if subscription.full:
                    long = long or pooled_transaction_json(entry.transaction)
                    subscription.send(long)
                else:
                    subscription.send(short)

    def _bundle_changed(self, status: BundleStatus) -> None:
        """Notifies who follows the bundle. Nobody learns of a bundle whose hash they do not know."""
        followers = self._of("bundles", status.hash)
        if followers:
            shown = status_json(status)
            for subscription in followers:
                subscription.send(shown)

    async def run(self) -> None:
        """Follows the node's decided sub-blocks until cancelled; picks up again after having fallen behind."""
        while True:
            effects = self._backend.bus.subscribe()
            try:
                while True:
                    await self._publish(await anext(effects))
            except StopAsyncIteration:
                if not effects.lagged:
                    return
            finally:
                effects.close()

    async def _publish(self, effect: SubBlockDecided) -> None:
        subscriptions = self._of("subBlocks", None)
        if subscriptions:
            message = await self._readers.run(sub_block_json, effect.proposal, effect.app_hash)
            for subscription in subscriptions:
                subscription.send(message)
        for part in effect.rollups:
            promoted = self._backend.pool.lanes[part.rollup_id].take_promoted()
            if promoted and self.wants_transactions(part.rollup_id):
                self.executable(part.rollup_id, promoted)
            if not part.sealed:
                continue
            first = self._sealed.get(part.rollup_id, part.sealed[0].number - 1) + 1
            last = part.sealed[-1].number
            self._sealed[part.rollup_id] = max(last, first - 1)
            for number in range(first, last + 1):
                try:
                    await self._publish_block(part.rollup_id, number)
                except (NativeError, RpcError) as error:
                    self._log_failure("block_notification_failed", error)

    async def _publish_block(self, rollup_id: RollupId, number: int) -> None:
        native = self._backend.rollups[rollup_id].native
        heads = self._of("newHeads", rollup_id)
        if heads and (header := native.header_json(number)) is not None:
            for subscription in heads:
                subscription.send(header)
        wanted: dict[LogFilter, list[Subscription]] = {}
        for subscription in self._of("logs", rollup_id):
            if subscription.logs is not None:
                wanted.setdefault(subscription.logs, []).append(subscription)
        for filter_, subscriptions in wanted.items():
            found = await self._readers.run(
                native.logs_json, number, number, list(filter_.addresses), list(filter_.topics), RPC_LOGS_MAX
            )
            for log in _raw_list.decode(found):
                for subscription in subscriptions:
                    subscription.send(bytes(log))
        await asyncio.sleep(0)
