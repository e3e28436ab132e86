"""JSON that is not UTF-8 is refused like any other that cannot be read, wherever it comes from.

The JSON reader raises UnicodeDecodeError for it, which is none of its own errors, and does not look into members that
it hands on raw. A node answered a request whose id was not UTF-8 with bytes that no client can read; a network file, an
L1 node or a node that answers so ended in a traceback.
"""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from plait.client import Client, NodeUnreachable
from plait.derivation.rollup_config import decode_rollup_json
from plait.errors import ConfigurationError
from plait.l1.client import L1Client
from plait.node.config import decode_network
from plait.rpc import RpcConfig
from sim.listening import Running, running

BAD = b'{"jsonrpc":"2.0","id":1,"result":"\xe1\x28"}'


@pytest.fixture(scope="module")
def node() -> Iterator[Running]:
    yield from running(RpcConfig(port=0, rollup_port_base=None))


@pytest.fixture
def answering_badly() -> Iterator[str]:
    """The URL of a server that answers everything with JSON that is not UTF-8."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(BAD)))
            self.end_headers()
            self.wfile.write(BAD)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":"\xe1","method":"eth_chainId"}',
        b'{"jsonrpc":"2.0","id":"\xe1","method":"eth_nothing"}',
        b'{"jsonrpc":"1.0","id":"\xe1"}',
        b'[{"jsonrpc":"2.0","id":"\xe1","method":"eth_sendRawTransaction","params":["0x02"]}]',
        b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":["\xff"]}',
    ],
)
@pytest.mark.parametrize("rollup", [901, None])
def test_a_request_is_a_parse_error_that_any_client_can_read(node: Running, body: bytes, rollup: int | None) -> None:
    answer = node.answer(body, rollup=rollup)
    assert answer["error"]["code"] == -32700
    assert "UTF-8" in answer["error"]["message"]
    assert answer["id"] is None
    named = node.answer('{"jsonrpc":"2.0","id":"é","method":"eth_chainId"}'.encode())
    assert (named["id"], named["result"]) == ("é", "0x385")


@pytest.mark.parametrize("read", [lambda data: decode_network(data, "network.json"), decode_rollup_json])
def test_a_file_is_refused_as_configuration(read: Callable[[bytes], object]) -> None:
    with pytest.raises(ConfigurationError):
        read(b'{"rollups":[{"fork":"\xe1\x28"}]}')


async def test_an_l1_node_that_answers_so_is_one_that_cannot_be_used(answering_badly: str) -> None:
    async with L1Client(answering_badly, attempts_max=1) as l1:
        with pytest.raises(Exception, match="no JSON-RPC") as refusal:
            await l1.chain_id()
    assert getattr(refusal.value, "code", "").startswith("l1_")


async def test_a_node_that_answers_so_is_no_node(answering_badly: str) -> None:
    async with Client(answering_badly) as client:
        with pytest.raises(NodeUnreachable, match="JSON-RPC"):
            await client.call("plait_slot")
