"""Malformed HTTP cannot flood the log: a few structured lines a minute, no traceback, nothing of what was sent.

Each such request wrote a traceback of twelve lines to standard error, as plain text even with `--log-format json`.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path

import pytest
import structlog

from plait.node.logging import LIBRARY_LINES_MAX, LIBRARY_WINDOW_S, LibraryHandler

ROOT = Path(__file__).resolve().parents[2]
MALFORMED = [
    b"x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost : secret\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    b"Content-Length: 6\r\n\r\nsecret",
]


@pytest.mark.timeout(60)
async def test_malformed_requests_leave_few_lines_of_json() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "devnet", "--json", "--in-memory", "--port", "0"),
        *("--rollup-port-base", "0", "--log-format", "json"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    for request in MALFORMED * 5:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(request)
        await asyncio.wait([asyncio.ensure_future(reader.read(1_000))], timeout=5)
        writer.close()
    process.terminate()
    _, logs = await process.communicate()
    events = [json.loads(line) for line in logs.decode().splitlines()]
    assert b"secret" not in logs
    assert process.returncode == 0
    malformed = [event for event in events if event["event"] == "http_request_malformed"]
    assert 1 <= len(malformed) <= LIBRARY_LINES_MAX
    assert {event["level"] for event in malformed} == {"info"}
    assert len(events) <= len(malformed) + LIBRARY_LINES_MAX + 3


def test_what_was_left_out_is_counted_in_the_next_window() -> None:
    now = 0.0
    logger = logging.Logger("library.of.somebody")
    logger.addHandler(LibraryHandler(clock=lambda: now))
    with structlog.testing.capture_logs() as events:
        for at in range(100):
            logger.warning("message %d", at)
        now = LIBRARY_WINDOW_S
        logger.warning("later")
    assert [event["message"] for event in events] == [*(f"message {at}" for at in range(LIBRARY_LINES_MAX)), "later"]
    assert events[-1]["left_out_before"] == 100 - LIBRARY_LINES_MAX


def test_failure_inside_a_library_says_where_and_nothing_of_its_values() -> None:
    logger = logging.Logger("aiohttp.server")
    logger.addHandler(LibraryHandler())
    with structlog.testing.capture_logs() as events:
        try:
            raise ValueError("what a client sent")
        except ValueError:
            logger.exception("Error handling request")
    (event,) = events
    assert (event["event"], event["error"], event["log_level"]) == ("library_message", "ValueError", "error")
    assert "test_malformed_http_log.py" in event["where"]
    assert "client" not in str(event)
