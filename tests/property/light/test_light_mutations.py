"""Every field of a block that a provider shows is bound: changing any one, whatever to, is refused by the name of the
check that fails, or changes nothing that is believed. Whatever else a provider answers is refused, never an error."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import LightRefused
from plait.light import LightBlock, Policy, decode_light_block, encode_light_block, verify
from plait.light.commits import Commit
from plait.light.headers import Header
from tests.unit.light.light_chains import Chain

CHAIN = Chain(9)
TRUSTED, ADJACENT, FAR = CHAIN.block(1), CHAIN.block(2), CHAIN.block(9)
HEADER_CODES = {
    "version": {"light_block_malformed", "light_commit_mismatch"},
    "chain_id": {"light_chain_wrong", "light_block_malformed"},
    "height": {"light_commit_mismatch", "light_block_malformed"},
    "proposer_address": {"light_commit_mismatch", "light_block_malformed"},
}
HASHED = {"light_commit_mismatch", "light_block_malformed", "light_answer_malformed"}
Path = tuple[Any, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all values that hold no others."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None:
        yield path
        return
    for key, child in children:
        yield from leaves(child, (*path, key))


def with_value(shown: Any, path: Path, change: Any) -> Any:
    changed = copy.deepcopy(shown)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change(place[path[-1]])
    return changed


def another(value: Any) -> Any:
    """A value of the same form."""
    if isinstance(value, int):
        return value % 3 + 1 if 1 <= value <= 3 else value + 1
    if value.isdigit() and len(value) < 20:
        return str(int(value) + 1)
    if "T" in value and value.endswith("Z"):
        return value.replace("2026", "2025")
    last = "1" if value.endswith("0") else "0"
    if value.endswith("="):  # base64: the first letter is all bits of its byte's half
        return ("B" if value.startswith("A") else "A") + value[1:]
    return value[:-1] + last if value else value


def verdict(trusted: LightBlock, shown: Any) -> tuple[str | None, LightBlock | None]:
    """Why it is refused, or what is believed."""
    try:
        block = decode_light_block(shown)
        verify(trusted, block, now_ns=CHAIN.now_ns(), policy=Policy())
    except LightRefused as refused:
        return refused.code, None
    return None, block


def expected(path: Path) -> set[str | None]:
    """Codes by which a changed value may be refused; None where nothing that is believed depends on it."""
    match path:
        case ("signed_header", "header", field, *_):
            return set(HEADER_CODES.get(field, HASHED))
        case ("signed_header", "commit", "signatures", 3, *_):  # three of four signatures suffice
            return {None, "light_commit_malformed", "light_answer_malformed"}
        case ("signed_header", "commit", "signatures", _, "block_id_flag"):
            return {"light_commit_malformed", "light_power_insufficient", "light_signature_invalid", None}
        case ("signed_header", "commit", "signatures", _, "validator_address"):
            return {"light_commit_malformed"}
        case ("signed_header", "commit", "signatures", *_):
            return {"light_signature_invalid"}
        case ("signed_header", "commit", "block_id", "hash") | ("signed_header", "commit", "height"):
            return {"light_commit_mismatch"}
        case ("signed_header", "commit", *_):
            return {"light_signature_invalid"}
        case ("validators", _, "address"):
            return {None}
        case ("validators", _, "pub_key", "type"):
            return {"light_answer_malformed"}
        case _:
            return {"light_validators_mismatch"}


@pytest.mark.parametrize("block", [ADJACENT, FAR], ids=["adjacent", "skipping"])
@pytest.mark.parametrize("path", list(leaves(encode_light_block(ADJACENT))), ids=lambda p: ".".join(map(str, p)))
def test_every_field_is_bound(block: LightBlock, path: Path) -> None:
    shown = encode_light_block(block)
    assert verdict(TRUSTED, shown) == (None, block)
    changed = with_value(shown, path, another)
    assert changed != shown
    code, believed = verdict(TRUSTED, changed)
    assert code in expected(path), (path, code)
    if believed is not None:
        assert (believed.header, believed.validators) == (block.header, block.validators)


@pytest.mark.parametrize("part", [Header, Commit])
def test_the_table_of_fields_is_whole(part: type) -> None:
    """The JSON form that is mutated has every field that the structure has."""
    shown = encode_light_block(ADJACENT)["signed_header"]["header" if part is Header else "commit"]
    assert len(shown) == len(part.__struct_fields__) - (1 if part is Header else 0)  # version is two fields


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
PATHS = [*leaves(encode_light_block(ADJACENT)), ("signed_header",), ("validators",), ("signed_header", "commit")]
PATHS += [("signed_header", "commit", "signatures"), ("validators", 0), ("signed_header", "header", "last_block_id")]


@settings(max_examples=300)
@given(path=st.sampled_from(PATHS), value=JSON)
def test_any_json_in_any_place_is_refused_or_changes_nothing(path: Path, value: Any) -> None:
    code, believed = verdict(TRUSTED, with_value(encode_light_block(ADJACENT), path, lambda _: value))
    assert code is None or code.startswith("light_")
    if believed is not None:
        assert (believed.header, believed.validators) == (ADJACENT.header, ADJACENT.validators)


@settings(max_examples=200)
@given(JSON)
def test_any_json_at_all_is_refused(value: Any) -> None:
    assert verdict(TRUSTED, value)[0] == "light_answer_malformed"


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z",
     "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z",
     "2026-01-01t00:00:00Z", "0000-01-01T00:00:00Z", "\uff12026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"],
)  # fmt: skip
def test_texts_that_are_no_time(text: str) -> None:
    shown = with_value(encode_light_block(ADJACENT), ("signed_header", "header", "time"), lambda _: text)
    assert verdict(TRUSTED, shown)[0] == "light_answer_malformed"
