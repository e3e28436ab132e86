"""From a request body to an answer: JSON-RPC 2.0 over any transport.

- One request or an array of them; an array is answered in order, each entry with its own result or error; notifications
  get no answer.
- Limits hold before work is done: bytes, elements and nesting of the JSON, calls of a batch, bytes of its answer.
- Results that the native core wrote are spliced in as they are; requests are decoded once and parameters stay raw until
  their method reads
  them.
- A batch of nothing but eth_sendRawTransaction is decoded in one pass and admitted as one batch.

Whatever comes, there is an answer: nothing in here lets a request end a connection or reach another one.

Level 7.
"""

import re
import time
from binascii import hexlify, unhexlify
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from plait.errors import PlaitError
from plait.limits import (
    RPC_BATCH_ITEMS_MAX,
    RPC_BATCH_RESPONSE_BYTES_MAX,
    RPC_BATCH_TIMEOUT_S,
    RPC_JSON_DEPTH_MAX,
    RPC_JSON_ELEMENTS_MAX,
)
from plait.native import NativeError
from plait.rpc.authentication import Credentials
from plait.rpc.counters import Counters
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
    TIMEOUT,
    RpcError,
    invalid_argument,
    of_exception,
)
from plait.rpc.methods.transactions import TOO_SHORT, is_too_short, submit
from plait.rpc.parameters import data_of_hex
from plait.rpc.streams import Subscriber
from plait.rpc.table import METHODS, Method


class _Request(msgspec.Struct):
    method: str
    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"")
    params: msgspec.Raw = msgspec.Raw(b"")


class _Send(msgspec.Struct, forbid_unknown_fields=True):
    """The only form that the fast path takes; everything else goes the general way."""

    method: str
    params: tuple[str]
    jsonrpc: str
    id: msgspec.Raw


_request: Final = msgspec.json.Decoder(_Request)
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_sends: Final = msgspec.json.Decoder(list[_Send])
_encode: Final = msgspec.json.Encoder().encode
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Never goes back, and an unterminated string ends with the body: linear, whatever a client sends."""
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_SEND: Final = "eth_sendRawTransaction"
_NULL_ID: Final = b"null"


class _Caller(NamedTuple):
    """Who asks, as far as the transport knows."""

    connection: Subscriber | None
    credentials: Credentials | None


class Dispatcher:
    """Answers request bodies.

    Args:
        counters: told of every call.
        log_failure: told of failures that nobody foresaw (method and exception; never parameters).
    """

    def __init__(self, counters: Counters, log_failure: Callable[[str, BaseException], None]) -> None:
        self._counters = counters
        self._log_failure = log_failure

    async def answer(
        self,
        endpoint: Endpoint,
        body: bytes,
        connection: Subscriber | None = None,
        credentials: Credentials | None = None,
    ) -> bytes | None:
        """The answer to a body; None when there is none to give (notifications only).

        Args:
            endpoint: where it arrived.
            body: as it arrived.
            connection: of a WebSocket, for subscriptions.
            credentials: of an HTTP request that has any.
        """
        caller = _Caller(connection, credentials)
        body = body.strip(b" \t\r\n")
        if body.count(b",") > RPC_JSON_ELEMENTS_MAX:
            return _failure(
                _NULL_ID, RpcError(INVALID_REQUEST, f"batch too large: more than {RPC_JSON_ELEMENTS_MAX} elements")
            )
        try:
            if not body.isascii():
                body.decode()  # the JSON reader does not look into raw members, and an id is answered as it came
            if body[:1] != b"[":
                return await self._single(endpoint, body, caller)
            return await self._batch(endpoint, body, caller)
        except msgspec.DecodeError as error:
            return _failure(_NULL_ID, RpcError(PARSE_ERROR, f"parse error: {error}"))
        except (RecursionError, UnicodeDecodeError):
            return _failure(_NULL_ID, RpcError(PARSE_ERROR, "parse error: nested too deep or not UTF-8"))

    # ------------------------------------------------------------ batches
    async def _batch(self, endpoint: Endpoint, body: bytes, caller: _Caller) -> bytes | None:
        if b'"eth_sendRawTransaction"' in body[:256] and endpoint.is_rollup:
            fast = await self._send_batch(endpoint, body)
            if fast is not None:
                return fast
        items = _array.decode(body)
        if not items:
            return _failure(_NULL_ID, RpcError(INVALID_REQUEST, "empty batch"))
        if len(items) > RPC_BATCH_ITEMS_MAX:
            problem = f"batch too large: {len(items)} calls, at most {RPC_BATCH_ITEMS_MAX}"
            return b"[" + _failure(_NULL_ID, RpcError(INVALID_REQUEST, problem)) + b"]"
        answers: list[bytes] = []
        size = 0
        deadline = time.monotonic() + RPC_BATCH_TIMEOUT_S
        for item in items:
            answer: bytes | None
            if size > RPC_BATCH_RESPONSE_BYTES_MAX:
                answer = _failure(_id_of(bytes(item)), RpcError(RESPONSE_TOO_LARGE, "response too large"))
            elif time.monotonic() > deadline:
                answer = _failure(_id_of(bytes(item)), RpcError(TIMEOUT, "request timed out", {"code": "timeout"}))
            else:
                answer = await self._single(endpoint, bytes(item), caller)
            if answer is not None:
                size += len(answer)
                answers.append(answer)
        return b"[" + b",".join(answers) + b"]" if answers else None

    async def _send_batch(self, endpoint: Endpoint, body: bytes) -> bytes | None:
        """A batch of transactions as one admission; None when the body is anything else."""
        try:
            sends = _sends.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        if not 0 < len(sends) <= RPC_BATCH_ITEMS_MAX:
            return None
        raws: list[bytes] = []
        ids: list[bytes] = []
        refused: dict[int, RpcError] = {}
        for place, send in enumerate(sends):
            identity = bytes(send.id)
            if send.method != _SEND or send.jsonrpc != "2.0" or identity.startswith((b"{", b"[")):
                return None
            ids.append(identity)
            text = send.params[0]
            try:
                if not text.startswith("0x"):
                    data_of_hex(text)
                raw = unhexlify(text[2:])
            except ValueError:
                refused[place] = _bad_hex(text)
                continue
            if len(raw) < 2 and is_too_short(raw):
                refused[place] = TOO_SHORT
            else:
                raws.append(raw)
        started = time.perf_counter()
        results = await submit(endpoint, raws)
        for place in sorted(refused):
            results.insert(place, refused[place])
        seconds = time.perf_counter() - started
        answers: list[bytes] = []
        errors = 0
        for identity, result in zip(ids, results, strict=True):
            if type(result) is bytes:
                answers.append(b'{"jsonrpc":"2.0","id":%b,"result":"0x%b"}' % (identity, hexlify(result)))
            else:
                assert isinstance(result, RpcError)
                answers.append(_failure(identity, result))
                errors += 1
        self._counters.observe_batch(_SEND, len(sends), seconds, errors)
        return b"[" + b",".join(answers) + b"]"

    # ------------------------------------------------------------ one call
    async def _single(self, endpoint: Endpoint, body: bytes, caller: _Caller) -> bytes | None:
        if body.count(b"[") + body.count(b"{") > RPC_JSON_DEPTH_MAX and _depth(body) > RPC_JSON_DEPTH_MAX:
            problem = f"parse error: nested deeper than {RPC_JSON_DEPTH_MAX} levels"
            return _failure(_NULL_ID, RpcError(PARSE_ERROR, problem))
        try:
            request = _request.decode(body)
        except msgspec.ValidationError as error:
            return _failure(_id_of(body), RpcError(INVALID_REQUEST, f"invalid request: {error}"))
        identity = bytes(request.id)
        if identity[:1] in {b"{", b"["}:
            return _failure(_NULL_ID, RpcError(INVALID_REQUEST, "invalid request: id must be a string or a number"))
        if request.jsonrpc != "2.0":
            return _failure(identity or _NULL_ID, RpcError(INVALID_REQUEST, 'invalid request: "jsonrpc" must be "2.0"'))
        started = time.perf_counter()
        number: int | None = None
        try:
            result = await self._call(endpoint, request, caller)
            answer = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identity or _NULL_ID, _result_json(result))
        except (RpcError, PlaitError, NativeError, TimeoutError) as error:
            failure = of_exception(error)
            if isinstance(error, NativeError) and failure.number == INTERNAL_ERROR:
                self._log_failure(request.method, error)
            number, answer = failure.number, _failure(identity or _NULL_ID, failure)
        except Exception as error:
            self._log_failure(request.method, error)
            failure = of_exception(error)
            number, answer = failure.number, _failure(identity or _NULL_ID, failure)
        self._counters.observe(request.method, time.perf_counter() - started, number)
        return answer if identity else None

    async def _call(self, endpoint: Endpoint, request: _Request, caller: _Caller) -> Any:
        method = _find(endpoint, request.method)
        arguments = method.arguments(bytes(request.params))
        if method.mode == "inline":
            return method.handler(endpoint, *arguments)
        if method.mode == "state" and not endpoint.is_remote:
            return method.handler(endpoint, *arguments)
        if method.mode in {"thread", "state"}:
            return await endpoint.readers.run(method.handler, endpoint, *arguments)
        if method.mode == "connection":
            if caller.connection is None:
                raise RpcError(METHOD_NOT_FOUND, "notifications not supported: subscribe over WebSocket")
            return method.handler(endpoint, caller.connection, *arguments)
        if method.mode == "requester":
            return await method.handler(endpoint, caller.credentials, *arguments)
        return await method.handler(endpoint, *arguments)


def _find(endpoint: Endpoint, name: str) -> Method:
    method = METHODS.get(name)
    if method is None:
        raise RpcError(METHOD_NOT_FOUND, f"the method {name[:64]} does not exist/is not available")
    if method.scope == "rollup" and not endpoint.is_rollup:
        problem = f"the method {name} does not exist/is not available here; call it at /<chain id> of a rollup"
        raise RpcError(METHOD_NOT_FOUND, problem)
    return method


def _result_json(result: Any) -> bytes:
    return bytes(result) if isinstance(result, msgspec.Raw) else _encode(result)


def _failure(identity: bytes, error: RpcError) -> bytes:
    body: dict[str, Any] = {"code": error.number, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (identity, _encode(body))


def _bad_hex(text: str) -> RpcError:
    try:
        data_of_hex(text)
    except ValueError as error:
        return invalid_argument(0, str(error))
    return RpcError(INVALID_PARAMS, "invalid argument 0: invalid hex string")


class _OnlyId(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")


_only_id: Final = msgspec.json.Decoder(_OnlyId)


def _id_of(body: bytes) -> bytes:
    """The id of a request that cannot be used otherwise; null when there is none."""
    try:
        identity = bytes(_only_id.decode(body).id)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _NULL_ID
    return _NULL_ID if identity[:1] in {b"{", b"["} else identity


def _depth(body: bytes) -> int:
    """Nesting of a request's JSON; stops counting beyond the limit."""
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if bracket[0] in {b"[", b"{"} else -1
        deepest = max(deepest, depth)
        if deepest > RPC_JSON_DEPTH_MAX:
            break
    return deepest
