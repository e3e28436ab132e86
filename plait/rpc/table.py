"""The one table of methods: what may be called where, with which parameters, and how it is documented.

A module of methods registers functions with `method(...)`. Dispatch, parameter checks, the OpenRPC document and the
reference in docs/guides/rpc.md all read this table, so none of them can know a method that the others do not.

How a handler runs
- `inline`: on the event loop; it takes microseconds and never waits
- `state`: like `inline` where the state is at hand, like `thread` where another node holds it
- `thread`: in a reader thread (the native core releases the GIL); bounded in number and time
- `coroutine`: awaited; it bounds its own waiting
- `connection`: awaited, with the WebSocket connection as second argument
- `requester`: awaited, with the request's credentials, or None, as second argument

Level 7.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from plait.rpc.errors import INVALID_PARAMS, RpcError, invalid_argument
from plait.rpc.parameters import Kind, Schema

Mode: TypeAlias = Literal["inline", "state", "thread", "coroutine", "connection", "requester"]
Scope: TypeAlias = Literal["rollup", "network", "both"]


class Param(NamedTuple):
    """One positional parameter."""

    name: str
    kind: Kind
    optional: bool = False
    default: Any = None


class Method(NamedTuple):
    """One JSON-RPC method."""

    name: str
    params: tuple[Param, ...]
    handler: Callable[..., Any]
    mode: Mode
    scope: Scope
    result: Schema
    summary: str
    example: tuple[Any, ...] | None
    """Parameters of a call that works on any network with its genesis block; None where a call needs earlier ones."""

    def arguments(self, params: bytes) -> list[Any]:
        """Decodes the `params` member.

        Args:
            params: its JSON bytes, empty when it was left out.

        Raises:
            RpcError: INVALID_PARAMS with the index of the wrong one.
        """
        given = self._given(params)
        if len(given) > len(self.params):
            raise RpcError(INVALID_PARAMS, f"too many arguments, want at most {len(self.params)}")
        values: list[Any] = []
        for index, param in enumerate(self.params):
            raw = bytes(given[index]) if index < len(given) else b"null"
            if raw == b"null":
                if not param.optional:
                    raise RpcError(INVALID_PARAMS, f"missing value for required argument {index}", {"name": param.name})
                values.append(param.default)
                continue
            try:
                values.append(param.kind.decode(raw if param.kind.raw else msgspec.json.decode(raw)))
            except ValueError as error:
                raise invalid_argument(index, str(error)) from None
        return values

    def _given(self, params: bytes) -> list[msgspec.Raw]:
        if not params or params == b"null":
            return []
        if params[:1] == b"{":
            try:
                named = _named.decode(params)
            except msgspec.DecodeError as error:
                raise RpcError(INVALID_PARAMS, f"invalid params: {error}") from None
            unknown = named.keys() - {param.name for param in self.params}
            if unknown:
                raise RpcError(
                    INVALID_PARAMS, f"unknown argument {min(unknown)!r}", {"known": [p.name for p in self.params]}
                )
            return [named.get(param.name, _NULL) for param in self.params]
        if params[:1] != b"[":
            raise RpcError(INVALID_PARAMS, "non-array args")
        return _positional.decode(params)


_NULL: Final = msgspec.Raw(b"null")
_positional: Final = msgspec.json.Decoder(list[msgspec.Raw])
_named: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

METHODS: Final[dict[str, Method]] = {}
"""Every method by name; filled by the modules of `plait.rpc.methods`."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


def method(
    name: str,
    *params: Param,
    mode: Mode = "inline",
    scope: Scope = "rollup",
    result: Schema,
    example: tuple[Any, ...] | None = None,
) -> Callable[[Handler], Handler]:
    """Registers a handler; its docstring's first line is the method's summary."""

    def register(handler: Handler) -> Handler:
        summary = (handler.__doc__ or "").strip().split("\n", 1)[0]
        if not summary or name in METHODS:
            raise ValueError(f"{name}: registered twice or without a docstring")
        METHODS[name] = Method(name, params, handler, mode, scope, result, summary, example)
        return handler

    return register
