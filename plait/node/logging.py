"""Structured logs: one event per line, JSON for machines or columns for people, to standard error.

Events are short snake_case names, values are keyed; no secret, key or raw transaction is ever a value. `redact` drops
values whose key sounds like a secret, in case one gets there by mistake.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
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
    logging.basicConfig(
        level=max(minimum, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def get_logger(component: str) -> Any:
    """A logger whose events carry `component`."""
    return structlog.get_logger().bind(component=component)
