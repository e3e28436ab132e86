"""How commands speak: tables and sentences for people, one JSON document per answer for programs, errors with a code.

Exit codes
    0    done
    1    it was done and the answer is no: not found, a difference found, not ready
    2    the command line is not understood
    3    no node answers, or it refused the call
    4    the configuration or the data directory cannot be used
    5    a broken invariant: a bug, or a damaged disk
    130  interrupted
"""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
import msgspec
from rich.console import Console

from plait.client import NodeUnreachable, RpcError
from plait.errors import ConfigurationError, InvariantBroken, PlaitError, Unavailable
from plait.native import NativeError

EXIT_NO = 1
EXIT_NODE = 3
EXIT_CONFIGURATION = 4
EXIT_INVARIANT = 5
EXIT_INTERRUPTED = 130
NARROW_COLUMNS = 100

F = TypeVar("F", bound=Callable[..., Any])

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def json_option(function: F) -> F:
    """The option `--json` that every command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text.")(function)


def url_option(function: F) -> F:
    """The option that says which node to ask."""
    return click.option(
        "--url",
        default="http://127.0.0.1:8545",
        show_default=True,
        envvar="PLAIT_URL",
        help="Address of a running node.",
    )(function)


def print_json(value: Any) -> None:
    """One JSON document on one line of standard output."""
    sys.stdout.write(msgspec.json.encode(value, order="deterministic").decode() + "\n")
    sys.stdout.flush()


def exit_code_of(error: BaseException) -> int:
    """The exit code that stands for an error."""
    if isinstance(error, NodeUnreachable | RpcError):
        return EXIT_NODE
    if isinstance(error, InvariantBroken | NativeError):
        return EXIT_INVARIANT
    if isinstance(error, ConfigurationError | Unavailable | OSError):
        return EXIT_CONFIGURATION
    return EXIT_NO


def fail(error: BaseException, *, as_json: bool) -> NoReturn:
    """Says what went wrong in one sentence with its code, and ends the program."""
    code, message = code_and_sentence(error)
    if as_json:
        print_json({"error": {"code": code, "message": message}})
    else:
        err.print(f"[bold red]error[/] ({code}): ", end="")
        err.print(message, markup=False)
    raise SystemExit(exit_code_of(error))


def code_and_sentence(error: BaseException) -> tuple[str, str]:
    """An error's stable code and what to tell about it."""
    if isinstance(error, PlaitError):
        return error.code, error.message
    if isinstance(error, OSError) and error.errno is not None:
        code = {errno.ENOSPC: "disk_full", errno.EDQUOT: "disk_full"}.get(error.errno, "file_unusable")
        where = "" if error.filename is None else f"{error.filename}: "
        return code, f"{where}{os.strerror(error.errno)}."
    return str(getattr(error, "code", None) or type(error).__name__.lower()), str(error)


def narrow() -> bool:
    """Whether standard output has room for the essential columns of a table only."""
    return out.width < NARROW_COLUMNS


def first_error(error: BaseException) -> BaseException:
    """The reason inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def short(value: str | bytes | None, digits: int = 8) -> str:
    """A hash for people: its first digits."""
    if value is None:
        return "-"
    text = "0x" + value.hex() if isinstance(value, bytes) else value
    return text if len(text) <= digits + 4 else text[: digits + 2] + "…"
