"""Errors of the JSON-RPC answers: numbers, messages and data.

Numbers are those of JSON-RPC 2.0 and of go-ethereum, messages begin as go-ethereum's do (clients parse both), `data` of
an error of Plait is `{"code": stable code, ...offending values}`. Every failure becomes an answer here; none ends the
connection.

Level 7.
"""

from typing import Any, Final

from plait.errors import PlaitError
from plait.native import NativeError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
TIMEOUT: Final = -32002
RESPONSE_TOO_LARGE: Final = -32003
LIMIT_EXCEEDED: Final = -32005
REVERTED: Final = 3
"""`data` is the revert data as a hex string."""
WAIT_TIMEOUT: Final = 4
"""EIP-7966: added to the pool, but not sealed in time; `data` is the hash."""
HISTORY_PRUNED: Final = 4444
"""The execution API's number for history that a node does not keep (EIP-4444)."""
WAIT_DROPPED: Final = 5
"""EIP-7966: left the pool instead of being sealed."""


class RpcError(Exception):
    """An error answer.

    Args:
        number: the JSON-RPC error code.
        message: one sentence; begins with go-ethereum's words where it has any.
        data: JSON-encodable, or None for no `data` member.
    """

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.data = data


def invalid_argument(index: int, problem: str) -> RpcError:
    """A parameter that cannot be used, in go-ethereum's words."""
    return RpcError(INVALID_PARAMS, f"invalid argument {index}: {problem}")


def reverted(output: bytes) -> RpcError:
    """A call that reverted: the reason in words, the data as hex."""
    reason = revert_reason(output)
    return RpcError(REVERTED, f"execution reverted: {reason}" if reason else "execution reverted", "0x" + output.hex())


PANICS: Final = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}
"""Solidity's panic codes (Solidity documentation, "Panic via assert")."""


def revert_reason(output: bytes) -> str | None:
    """The text in `Error(string)` or `Panic(uint256)` revert data, if it is one of them."""
    if output[:4] == b"\x08\xc3\x79\xa0" and len(output) >= 68:
        length = int.from_bytes(output[36:68], "big")
        text = output[68 : 68 + length]
        if int.from_bytes(output[4:36], "big") == 32 and len(text) == length:
            return text.decode("utf-8", "replace")
    if output[:4] == b"\x4e\x48\x7b\x71" and len(output) == 36:
        code = int.from_bytes(output[4:], "big")
        return PANICS.get(code, f"unknown panic code: {code:#x}")
    return None


NATIVE_PHRASES: Final = {
    "state_unavailable": (SERVER_ERROR, "historical state is not available"),
    "too_many_logs": (LIMIT_EXCEEDED, "query returned too many results"),
    "gas_required_exceeds_allowance": (SERVER_ERROR, "gas required exceeds allowance"),
    "invalid_params": (INVALID_PARAMS, "invalid argument"),
    "call_malformed": (INVALID_PARAMS, "invalid argument 0"),
    "state_overrides_malformed": (INVALID_PARAMS, "invalid argument 2"),
    "block_overrides_malformed": (INVALID_PARAMS, "invalid argument 3"),
    "trace_options_malformed": (INVALID_PARAMS, "invalid argument"),
    "invalid_percentile": (SERVER_ERROR, "invalid reward percentile"),
    "block_beyond_head": (SERVER_ERROR, "request beyond head block"),
    "trace_too_large": (LIMIT_EXCEEDED, "trace too large"),
    "tracer_unsupported": (INVALID_PARAMS, "tracer not supported"),
}
"""How answers begin for codes of the native core whose own sentence begins otherwise."""


def of_exception(error: BaseException) -> RpcError:
    """The answer for any failure of a handler. What nobody foresaw says only that: details go to the log, not to a
    stranger."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, NativeError):
        return _of_native(error)
    if isinstance(error, PlaitError):
        number = LIMIT_EXCEEDED if error.code.endswith("_full") else SERVER_ERROR
        return RpcError(number, error.message, data_of(error))
    if isinstance(error, TimeoutError):
        return RpcError(TIMEOUT, "request timed out", {"code": "timeout"})
    return RpcError(INTERNAL_ERROR, "internal error; the node's log says more", {"code": "internal_error"})


def _of_native(error: NativeError) -> RpcError:
    code = error.code
    if code == "execution_reverted":
        return reverted(getattr(error, "data", b""))
    if code.startswith("store_"):
        problem = "the node cannot read its store; its operator finds more with `plait verify-log`"
        return RpcError(INTERNAL_ERROR, problem, {"code": code})
    number, phrase = NATIVE_PHRASES.get(code, (SERVER_ERROR, ""))
    text = str(error)
    if phrase and not text.startswith(phrase):
        text = f"{phrase}: {text}"
    return RpcError(number, text, {"code": code})


def data_of(error: PlaitError) -> dict[str, Any]:
    """`error.data` of one of Plait's own errors: stable code and offending values (integers beyond 2**53 as hex)."""
    data: dict[str, Any] = {"code": error.code}
    for name, value in error.fields.items():
        key = "".join(part.title() if place else part for place, part in enumerate(name.split("_")))
        if isinstance(value, bytes):
            data[key] = "0x" + value.hex()
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
            data[key] = hex(value)
        elif isinstance(value, str | int | bool) or value is None:
            data[key] = value
        else:
            data[key] = str(value)
    return data
