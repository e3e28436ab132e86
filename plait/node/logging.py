"""Structured logs: one event per line, JSON for machines or columns for people, to standard error.

Events are short snake_case names, values are keyed; no secret, key or raw transaction is ever a value. `redact` drops
values whose key sounds like a secret, in case one gets there by mistake.

Libraries that log through the standard library are shown in the same form, one line each and without traceback. Anybody
who reaches a port can make them log, so each logger has a bound: LIBRARY_LINES_MAX per LIBRARY_WINDOW_S, the next line
says how many were left out. What a client sent is never in such a line.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import structlog

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
LIBRARY_LINES_MAX = 5
LIBRARY_WINDOW_S = 60.0
_SECRET_WORDS = ("secret", "password", "private", "mnemonic", "token", "authorization")


class _StandardError:
    """Standard error as it is when a line is written, not as it was when logging was set up."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces values whose key names a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "(redacted)"
    return event


class LibraryHandler(logging.Handler):
    """Shows the standard library's log records as structured events, bounded in number.

    `clock`: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        """(logger, event) -> (when its window began, lines in it so far)."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line, or counts it when the logger has written enough of them."""
        error = record.exc_info[1] if record.exc_info else None
        malformed = _is_malformed_http(error)
        event = "http_request_malformed" if malformed else "library_message"
        key = (record.name, event)
        now = self._clock()
        began, count = self._windows.get(key, (now, 0))
        left_out = 0
        if now - began >= LIBRARY_WINDOW_S:
            left_out, began, count = max(0, count - LIBRARY_LINES_MAX), now, 0
        self._windows[key] = (began, count + 1)
        if count >= LIBRARY_LINES_MAX:
            return
        values: dict[str, Any] = {"logger": record.name}
        if error is None:
            values["message"] = record.getMessage()[:200]
        else:
            values["error"] = type(error).__name__
            if not malformed:
                values["where"] = _where(error)
        if left_out:
            values["left_out_before"] = left_out
        get_logger("library").log(logging.INFO if malformed else record.levelno, event, **values)


def _is_malformed_http(error: BaseException | None) -> bool:
    """By name: the node does not need the server's library."""
    return any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


def configure_logging(format_: LogFormat, level: LogLevel) -> None:
    """Sets up structlog and the standard library's loggers of this process."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=format_ == "json"),
        redact,
    ]
    if format_ == "json":
        processors.append(structlog.processors.format_exc_info)
    minimum = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(minimum, logging.WARNING), handlers=[LibraryHandler()])


def get_logger(component: str) -> Any:
    """A logger whose events carry `component`."""
    return structlog.get_logger().bind(component=component)
