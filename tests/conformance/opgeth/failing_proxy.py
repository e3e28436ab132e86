"""A proxy in front of a node's JSON-RPC over HTTP that fails as it is told, on the loopback interface.

Moods: `ok`; `slow`: every answer comes after `delay_s`; `refuse`: connections end without an answer; `cut`: half of an
answer, then the end of the connection; `lie`: a digit of every proof and code is another; `error`: every call of a
batch is answered with an error; `status`: HTTP 503.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

Mood = Literal["ok", "slow", "refuse", "cut", "lie", "error", "status"]
_DATA = re.compile(rb'"0x[0-9a-f]{40,}"')


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is part of the game."""
        del request, client_address


class FailingProxy:
    """Use as a context manager. `mood` and `delay_s` may be set at any time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.mood: Mood = "ok"
        self.delay_s = 0.0
        self.requests = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.requests += 1
                mood = proxy.mood
                if mood == "refuse":
                    self.close_connection = True
                    return
                if mood == "slow":
                    time.sleep(proxy.delay_s)
                answer = proxy.forward(body)
                if mood == "lie":
                    answer = _DATA.sub(lambda found: _other(found[0]), answer)
                elif mood == "error":
                    answer = _errors(body)
                self.send_response(503 if mood == "status" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):  # whoever asked has given up
                    self.wfile.write(answer[: len(answer) // 2] if mood == "cut" else answer)
                if mood == "cut":
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                del format, args

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def forward(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def __enter__(self) -> FailingProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _other(data: bytes) -> bytes:
    """The same data with another digit near its end."""
    return data[:-2] + (b"1" if data[-2:-1] != b"1" else b"2") + data[-1:]


def _errors(body: bytes) -> bytes:
    asked = json.loads(body)
    calls = asked if isinstance(asked, list) else [asked]
    answers = [{"jsonrpc": "2.0", "id": one["id"], "error": {"code": -32000, "message": "try later"}} for one in calls]
    return json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
