"""Measuring the nesting of a request takes time linear in its size, even when a string never ends.

A body of brackets, a quote and then escaped quotes made the search for strings start again at every quote: 40 kB froze
the whole node for eight seconds, and five megabytes would have for a day.
"""

import time

from plait.limits import RPC_BODY_BYTES_MAX, RPC_JSON_DEPTH_MAX
from plait.rpc.dispatch import _depth

NESTED = b'{"a":' + b"[" * (RPC_JSON_DEPTH_MAX + 6)


def test_unterminated_string_of_escaped_quotes_is_measured_at_once() -> None:
    body = NESTED + b'"' + b'\\"' * ((RPC_BODY_BYTES_MAX - len(NESTED)) // 2 - 1)
    started = time.perf_counter()
    assert _depth(body) > RPC_JSON_DEPTH_MAX
    assert time.perf_counter() - started < 5, "quadratic: this took days before"


def test_brackets_within_strings_do_not_count() -> None:
    assert _depth(b'{"a":["[[[[\\"[[[[\\\\"],"b":"{\\\n{"}') == 2
    assert _depth(b'["' + b"[" * 1_000) == 1
