"""The reader of remote state names every answer that it cannot use, and opens a closed connection again."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plait.rollups.opstack.remote_state import RemoteStateRefused, RpcStateReader


@contextmanager
def node(status: int, body: bytes, *, closes: bool = False) -> Iterator[str]:
    """A server on the loopback interface that answers everything in one way."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = closes

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def answer(result: object) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", "id": 0, "result": result}]).encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"[]"),
        (200, b"no JSON"),
        (200, b'{"result": null}'),
        (200, b"[3]"),
        (200, b"[]"),
        (200, json.dumps([{"id": 0, "error": {"code": -32601, "message": "the method does not exist"}}]).encode()),
        (200, answer({"accountProof": 3})),
        (200, answer({"accountProof": ["0xzz"], "storageProof": []})),
        (200, answer({"accountProof": [7], "storageProof": []})),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(status: int, body: bytes) -> None:
    with node(status, body) as url:
        reader = RpcStateReader(url, timeout_s=5)
        with pytest.raises(RemoteStateRefused) as caught:
            reader.read(1, bytes(32), [(bytes(20), [])], [], [], None)
        assert caught.value.code == "remote_unavailable"
        reader.close()


def test_a_connection_that_the_node_closed_is_opened_again() -> None:
    with node(200, answer({"accountProof": ["0xc0"], "storageProof": []}), closes=True) as url:
        reader = RpcStateReader(url)
        for _ in range(3):
            assert reader.read(1, bytes(32), [(bytes(20), [])], [], [], None) == ([b"\xc0"], [], [])
        reader.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "nonsense"])
def test_a_url_that_names_no_node_is_refused(url: str) -> None:
    with pytest.raises(RemoteStateRefused):
        RpcStateReader(url)
