"""JSON-RPC of the node that holds a rollup's state, for threads that may wait: batches, bounded in time and bytes.

Specification
    - A request is one HTTP POST of a batch; parts beyond REMOTE_BATCH_CALLS_MAX follow in further requests.
    - A call's time is bounded as a whole: waiting for one of REMOTE_CONNECTIONS_MAX connections, connecting, the
      answer's last byte. What the calling thread may still take (`plait.patience`) bounds it too.
    - The event loop's thread is refused at once: nobody may make it wait.
    - With a secret every request carries a fresh token, so the authenticated port of an engine serves as well as any.
    - Refusals keep the node's words and get a code that says what to do: `remote_method_missing`,
      `remote_state_pruned`, `engine_jwt_refused`; everything else is `remote_unavailable`.
Level 5.
"""

import asyncio
import http.client
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from plait.errors import InvalidInput
from plait.http_client import address_of_url
from plait.limits import REMOTE_ANSWER_BYTES_MAX, REMOTE_BATCH_CALLS_MAX, REMOTE_CONNECTIONS_MAX, REMOTE_TIMEOUT_S
from plait.patience import time_left_s
from plait.rollups.opstack.jwt import token

Call = tuple[str, list[Any]]
_CHUNK_BYTES: Final = 256 * 1024
_METHOD_MISSING: Final = -32_601
_REASON_CHARACTERS_MAX: Final = 200
_PRUNED: Final = ("missing trie node", "historical state", "state not available", "state is not available", "pruned")
"""How op-geth (hash and path scheme), op-reth and others say that they do not have a block's state."""


class RemoteStateRefused(InvalidInput):
    """A node that cannot give the state that it was asked for."""

    default_code = "remote_unavailable"


class NotAsked(RemoteStateRefused):
    """The calling thread may not ask for this, or not now; says nothing about the node."""


class NoTimeLeft(NotAsked):
    """The calling thread may not wait, or not any longer."""


class StateRpc:
    """The RPC of one node.

    Args:
        url: http://host:port or https://... with the methods of `eth`.
        secret: 32 bytes of an engine's authenticated port; None for a port without authentication.
        timeout_s: of one request.
    """

    def __init__(self, url: str, *, secret: bytes | None = None, timeout_s: float = REMOTE_TIMEOUT_S) -> None:
        parts = urlsplit(url)
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname is not None and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise RemoteStateRefused("the node's URL is not one of http or https with a host")
        self.url = address_of_url(url)
        """What may be shown of the address: a URL can hold a key."""
        self._parts = parts
        self._secret = secret
        self._timeout_s = timeout_s
        self._free = threading.BoundedSemaphore(REMOTE_CONNECTIONS_MAX)
        self._idle: list[http.client.HTTPConnection] = []
        self.requests = 0
        """HTTP requests so far."""

    def close(self) -> None:
        """Closes idle connections; the next request opens another."""
        while self._idle:
            self._idle.pop().close()

    def calls(self, calls: Sequence[Call], *, optional: str = "", partly: list[Any] | None = None) -> list[Any]:
        """Results of calls in their order; None for a call of `optional` that the node refuses.

        Args:
            calls: any number.
            optional: a method.
            partly: takes the results up to a failure.

        Raises:
            RemoteStateRefused: no answer within the time, a malformed one, or a refusal.
        """
        _require_thread()
        results: list[Any] = [] if partly is None else partly
        for start in range(0, len(calls), REMOTE_BATCH_CALLS_MAX):
            part = calls[start : start + REMOTE_BATCH_CALLS_MAX]
            body = [
                {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
                for index, (method, params) in enumerate(part)
            ]
            answers = self._request(msgspec.json.encode(body))
            if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
                raise RemoteStateRefused("the node does not answer batches of JSON-RPC calls")
            by_id: Mapping[Any, Any] = {answer["id"]: answer for answer in answers if isinstance(answer.get("id"), int)}
            for index, (method, _) in enumerate(part):
                answer = by_id.get(index, {})
                if answer.get("result") is None and method != optional:
                    raise self._refusal(method, answer)
                results.append(answer.get("result"))
        return results

    # ------------------------------------------------------------ inside
    def _refusal(self, method: str, answer: Mapping[str, Any]) -> RemoteStateRefused:
        error = answer.get("error")
        found: Mapping[str, Any] = error if isinstance(error, dict) else {}
        words = str(found.get("message") or "no answer")[:_REASON_CHARACTERS_MAX]
        if found.get("code") == _METHOD_MISSING:
            return RemoteStateRefused(
                f"The node at {self.url} does not offer {method} ({words}): name an RPC of the chain with the "
                "methods of `eth`, or start this one with them.",
                code="remote_method_missing",
            )
        if any(one in words for one in _PRUNED):
            return RemoteStateRefused(
                f"The node at {self.url} does not have the state that it was asked for ({words}): let it finish "
                "syncing, or name one that keeps the state of its newest blocks.",
                code="remote_state_pruned",
            )
        return RemoteStateRefused(f"{method}: {words}")

    def _request(self, body: bytes) -> Any:
        allowed_s = time_left_s(self._timeout_s)
        end = time.monotonic() + allowed_s
        if allowed_s <= 0 or not self._free.acquire(timeout=allowed_s):
            raise NoTimeLeft("there is no time left to ask the node for state")
        try:
            for attempt in (1, 2):
                kept = bool(self._idle)
                try:
                    return msgspec.json.decode(self._exchange(body, end))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise RemoteStateRefused("the node's answer is no JSON") from None
                except (OSError, http.client.HTTPException) as error:
                    # A kept connection that the node closed meanwhile is no failure of the node.
                    if attempt == 2 or not kept or isinstance(error, TimeoutError):
                        raise RemoteStateRefused(
                            f"no answer from the node at {self.url}: {type(error).__name__}"
                        ) from None
                    self.close()  # the others are as old
        finally:
            self._free.release()
        raise AssertionError("two attempts end above")

    def _exchange(self, body: bytes, end: float) -> bytes:
        """One request on one connection, which is kept for the next when all went well."""
        self.requests += 1
        connection = self._idle.pop() if self._idle else self._connection()
        try:
            connection.timeout = _left(end)
            if connection.sock is None:
                connection.connect()
            socket = connection.sock
            socket.settimeout(_left(end))
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            headers = {"Content-Type": "application/json"}
            if self._secret is not None:
                headers["Authorization"] = "Bearer " + token(self._secret, int(time.time()))
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = bytearray()
            while True:
                socket.settimeout(_left(end))
                chunk = response.read1(_CHUNK_BYTES)
                answer += chunk
                if not chunk or len(answer) > REMOTE_ANSWER_BYTES_MAX:
                    break
            response.close()  # read1 leaves one with a length open, and the next request on its connection would fail
            self._require_usable(response.status, answer)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return bytes(answer)

    def _require_usable(self, status: int, answer: bytearray) -> None:
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            raise RemoteStateRefused(
                f"The node at {self.url} refuses our token: name the secret file that it was started with "
                "(--authrpc.jwtsecret), and check that both clocks agree to a minute.",
                code="engine_jwt_refused",
            )
        if status != http.HTTPStatus.OK or len(answer) > REMOTE_ANSWER_BYTES_MAX:
            raise RemoteStateRefused(f"the node answers HTTP {status} with {len(answer)} bytes or more")

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port)


def _left(end: float) -> float:
    """Seconds until `end`. Raises TimeoutError when there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the whole answer took too long")
    return left


def _require_thread() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise NotAsked("state of another node cannot be read in the event loop's thread; this is a fault of Plait")


__all__ = ["Call", "NoTimeLeft", "NotAsked", "RemoteStateRefused", "StateRpc"]
