"""A real node with its server in a thread of its own, and a plain client for it: what tests of the server stand on."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rpc import RpcConfig, Server, serve
from sim.wallet import Wallet

WALLETS = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


@dataclass
class Running:
    """A node that listens, and a plain client for it."""

    node: Node
    server: Server
    loop: asyncio.AbstractEventLoop
    nonces: dict[tuple[int, int], int] = field(default_factory=dict)

    def url(self, rollup: int | None = 901) -> str:
        """A rollup's URL on the main port; None: the network's."""
        return self.server.url + "/" if rollup is None else self.server.rollup_urls[rollup]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the main port."""
        parts = urlsplit(self.server.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def websocket(self, rollup: int | None = 901) -> str:
        """As `url`, for WebSocket."""
        return self.url(rollup).replace("http", "ws", 1)

    def post(
        self, body: bytes, *, rollup: int | None = 901, headers: dict[str, str] | None = None, path: str | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """POSTs a body: status, body and headers of the answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            target = path if path is not None else urlsplit(self.url(rollup)).path
            connection.request("POST", target, body, {"Content-Type": "application/json"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def answer(self, body: object, *, rollup: int | None = 901) -> Any:
        """The JSON answer to a JSON value or to raw bytes."""
        status, text, _ = self.post(body if isinstance(body, bytes) else json.dumps(body).encode(), rollup=rollup)
        assert status == 200, text
        return json.loads(text)

    def call(self, method: str, *params: Any, rollup: int | None = 901) -> Any:
        """The result of a call that must succeed."""
        answer = self.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}, rollup=rollup)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, *params: Any, rollup: int | None = 901) -> dict[str, Any]:
        """The error of a call that must fail."""
        answer = self.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}, rollup=rollup)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    def signed(self, user: int = 0, *, rollup: int = 901, **changes: Any) -> str:
        """The next transfer of a user, as hex."""
        nonce = self.nonces.setdefault((rollup, user), 0)
        self.nonces[rollup, user] += 1
        fields: dict[str, Any] = {"to": bytes([7]) * 20, "value": 1, "max_fee_per_gas": 10**10} | changes
        return "0x" + WALLETS[user].sign_1559(rollup, nonce, **fields).hex()

    def alive(self) -> None:
        """Asserts that the node answers."""
        assert self.call("eth_chainId") == "0x385"


async def _run(
    config: RpcConfig,
    network: NetworkConfig | None,
    settings: NodeConfig | None,
    started: Callable[[Running], None],
    stop: threading.Event,
) -> None:
    network = network or NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=5,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
    )
    settings = settings or NodeConfig(log_level="error")
    async with Node.start(network, settings) as node, serve(node, config) as server:
        started(Running(node, server, asyncio.get_running_loop()))
        await asyncio.to_thread(stop.wait)


def running_with_blocks(config: RpcConfig) -> Iterator[Running]:
    """The same, once every rollup has an open block."""
    for node in running(config):
        while any(rollup["openBlock"] is None for rollup in node.call("plait_rollups", rollup=None)):
            time.sleep(0.05)
        yield node


def running(
    config: RpcConfig, network: NetworkConfig | None = None, settings: NodeConfig | None = None
) -> Iterator[Running]:
    """A node of two rollups, or of another network, that listens until the generator is closed."""
    box: list[Running] = []
    ready, stop = threading.Event(), threading.Event()

    def started(found: Running) -> None:
        box.append(found)
        ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(_run(config, network, settings, started, stop)), daemon=True)
    thread.start()
    assert ready.wait(30), "the node did not start"
    yield box[0]
    stop.set()
    thread.join(30)
    assert not thread.is_alive(), "the node did not stop"
