"""Ethereum's JSON forms: quantities (0x, shortest hexadecimal) and data (0x, two digits per byte), read strictly.

Source: execution-apis, base types. Whatever an engine answers goes through these before it is believed. Level 5; raises
CodecError `engine_answer_malformed` only.
"""

from typing import Any

from plait.errors import CodecError


def quantity(value: int) -> str:
    """JSON form of an integer >= 0."""
    return hex(value)


def data(value: bytes) -> str:
    """JSON form of bytes."""
    return "0x" + value.hex()


def malformed(what: str, problem: str) -> CodecError:
    """The refusal of an answer that is not what the Engine API says."""
    return CodecError(f"The engine's answer has {what} {problem}.", code="engine_answer_malformed", what=what)


def read_quantity(value: Any, what: str, bits: int = 64) -> int:
    """An integer from 0 to 2**bits - 1. Raises CodecError."""
    if not isinstance(value, str) or not value.startswith("0x") or len(value) < 3:
        raise malformed(what, "that is no quantity")
    digits = value[2:]
    if not digits.isascii() or not digits.isalnum():
        raise malformed(what, "that is no quantity")
    try:
        number = int(digits, 16)
    except ValueError:
        raise malformed(what, "that is no quantity") from None
    if number >> bits:
        raise malformed(what, f"of more than {bits} bits")
    return number


def read_data(value: Any, what: str, size: int | None = None) -> bytes:
    """Bytes, exactly `size` of them where it is given. Raises CodecError."""
    if not isinstance(value, str) or not value.startswith("0x") or any(letter in value for letter in " \t\r\n\f\v"):
        raise malformed(what, "that is no data")
    try:
        found = bytes.fromhex(value[2:])
    except ValueError:
        raise malformed(what, "that is no data") from None
    if size is not None and len(found) != size:
        raise malformed(what, f"of {len(found)} bytes instead of {size}")
    return found
