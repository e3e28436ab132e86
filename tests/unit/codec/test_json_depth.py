"""Nesting is measured as a decoder would meet it: brackets in strings count nothing, whatever is escaped there."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codec.json_depth import is_deeper, json_depth

_TEXT = st.text(alphabet='[]{}"\\/n\n\u00e9x', max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(_VALUES, st.booleans())
def test_the_depth_is_that_of_the_decoded_value(value: Any, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=1 if ascii_only else None).encode()
    assert json_depth(data) == depth_of(value)
    for levels in range(depth_of(value) + 2):
        assert is_deeper(data, levels) is (depth_of(value) > levels)


@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b":", b",", b"1", b"n"]), max_size=40))
def test_of_what_is_no_json_no_fewer_levels_are_told_than_a_decoder_enters(parts: list[bytes]) -> None:
    """A decoder that stops at the first error has entered no more than `entered` levels."""
    data = b"".join(parts)
    try:
        msgspec.json.decode(data)
        entered = 0
    except msgspec.DecodeError as error:
        at = str(error).rpartition("(byte ")[2].rstrip(")")
        entered = json_depth(data[: int(at)]) if at.isdigit() else 0
    assert json_depth(data) >= entered


@pytest.mark.parametrize("made", [b"[" * 16_000_000, b'{"a":' * 3_000_000, b'"[{' * 5_000_000, b'["\\"",' * 2_000_000])
def test_a_quarter_of_the_largest_answer_is_measured_in_seconds(made: bytes) -> None:
    began = time.perf_counter()
    json_depth(made)
    assert time.perf_counter() - began < 30
