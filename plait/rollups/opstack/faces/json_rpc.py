"""JSON-RPC 2.0 for a face: requests and batches in, answers out; which methods there are is the face's business.

A face talks to programs that its operator started, so there is less to fear than at the node's own server; bounds hold
all the same: bytes (listener), calls of a batch, and one failure never ends another call. Level 5.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from plait.errors import InvariantBroken, PlaitError
from plait.limits import FACE_BATCH_CALLS_MAX

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = -32000

Call = Callable[[str, list[msgspec.Raw]], Awaitable[Any]]
"""Method and its parameters, each as JSON; what it returns is encoded, a `msgspec.Raw` as it is."""


class Failure(Exception):
    """An error answer that another program made, or one with a number of its own; passed on as it is."""

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.data = data


class Request(msgspec.Struct):
    """One call."""

    method: str
    jsonrpc: str = ""
    id: msgspec.Raw = msgspec.Raw(b"null")
    params: msgspec.Raw = msgspec.Raw(b"[]")


_request: Final = msgspec.json.Decoder(Request)
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


async def respond(request: web.Request, call: Call) -> web.Response:
    """The answer to a POST."""
    if request.method != "POST":
        return web.Response(status=405, text="POST a JSON-RPC request here\n")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return web.Response(status=413, text="request too large\n")
    return web.Response(body=await answer(body, call), content_type="application/json")


async def answer(body: bytes, call: Call) -> bytes:
    """The answer to a body: one call or an array of them."""
    try:
        body.decode()  # parts that are passed on as they are would carry what is not UTF-8 into the answer
        if body.lstrip()[:1] != b"[":
            return await _single(body, call)
        items = _array.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _failure(b"null", Failure(PARSE_ERROR, f"parse error: {error}"))
    if not 0 < len(items) <= FACE_BATCH_CALLS_MAX:
        return _failure(b"null", Failure(INVALID_REQUEST, f"a batch has 1 to {FACE_BATCH_CALLS_MAX} calls"))
    return b"[" + b",".join([await _single(bytes(item), call) for item in items]) + b"]"


async def _single(body: bytes, call: Call) -> bytes:
    try:
        request = _request.decode(body)
        params = [] if bytes(request.params) == b"null" else _array.decode(request.params)
    except (msgspec.ValidationError, RecursionError) as error:
        return _failure(b"null", Failure(INVALID_REQUEST, f"invalid request: {error}"))
    identity = bytes(request.id)
    try:
        result = await call(request.method, params)
    except Failure as failure:
        return _failure(identity, failure)
    except InvariantBroken:
        raise
    except PlaitError as error:
        return _failure(identity, Failure(REFUSED, error.message, {"code": error.code}))
    encoded = bytes(result) if isinstance(result, msgspec.Raw) else _encode(result)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identity, encoded)


def argument(params: list[msgspec.Raw], index: int, method: str) -> Any:
    """A decoded parameter. Raises Failure INVALID_PARAMS when it is missing, or nested deeper than can be read."""
    if index >= len(params):
        raise Failure(INVALID_PARAMS, f"missing value for required argument {index} of {method}")
    try:
        return msgspec.json.decode(params[index])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Failure(INVALID_PARAMS, f"argument {index} of {method[:64]} cannot be read: {error}") from error


def not_found(method: str) -> Failure:
    """The answer for a method that is not there."""
    return Failure(METHOD_NOT_FOUND, f"the method {method[:64]} does not exist/is not available")


def _failure(identity: bytes, failure: Failure) -> bytes:
    shown: dict[str, Any] = {"code": failure.number, "message": failure.message}
    if failure.data is not None:
        shown["data"] = failure.data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (identity, _encode(shown))
