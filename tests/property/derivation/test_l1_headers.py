"""Headers of L1: what a node answers is taken with exactly the hash of its fields and refused with any other."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import L1Refused
from plait.l1.headers import header_of
from plait.l1.receipts import receipts_of
from plait.native import keccak256

FORKS = ("frontier", "london", "shanghai", "cancun", "prague")
_BASE = (
    ("parentHash", 32), ("sha3Uncles", 32), ("miner", 20), ("stateRoot", 32), ("transactionsRoot", 32),
    ("receiptsRoot", 32), ("logsBloom", 256), ("difficulty", None), ("number", None), ("gasLimit", None),
    ("gasUsed", None), ("timestamp", None), ("extraData", 0), ("mixHash", 32), ("nonce", 8),
)  # fmt: skip
_ADDED = {
    "london": (("baseFeePerGas", None),),
    "shanghai": (("withdrawalsRoot", 32),),
    "cancun": (("blobGasUsed", None), ("excessBlobGas", None), ("parentBeaconBlockRoot", 32)),
    "prague": (("requestsHash", 32),),
}


def text(value: bytes | int) -> str:
    return hex(value) if isinstance(value, int) else "0x" + value.hex()


@st.composite
def blocks(draw: Any) -> dict[str, Any]:
    """A block as JSON-RPC gives it, of any fork, with the hash that the `rlp` library's encoding has."""
    until = draw(st.integers(0, len(FORKS) - 1))
    fields = list(_BASE) + [field for fork in FORKS[1 : until + 1] for field in _ADDED[fork]]
    found: dict[str, Any] = {}
    values: list[Any] = []
    for name, size in fields:
        if size is None:
            value: bytes | int = draw(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 127, 128, 255, 256]))
            values.append(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        else:
            value = draw(st.binary(max_size=32)) if name == "extraData" else draw(_bytes(size))
            values.append(value)
        found[name] = text(value)
    found["hash"] = "0x" + keccak256(rlp.encode(values)).hex()
    found["totalDifficulty"] = "0x0"
    return found


def _bytes(size: int) -> Any:
    return st.binary(min_size=1, max_size=1).map(lambda one: one * size)


@given(blocks())
def test_a_true_header_is_taken_with_its_own_hash(block: dict[str, Any]) -> None:
    header = header_of(block)
    assert "0x" + header.hash.hex() == block["hash"]
    assert keccak256(header.encode()) == header.hash
    assert header.number == int(block["number"], 16)


@given(blocks(), st.data())
def test_a_header_with_any_field_changed_left_out_or_made_up_is_refused(block: dict[str, Any], data: Any) -> None:
    names = [name for name in block if name not in ("hash", "totalDifficulty")]
    name = data.draw(st.sampled_from(names))
    what = data.draw(st.sampled_from(["changed", "left out", "nonsense", "added"]))
    if what == "changed":
        old = block[name]
        block[name] = hex(int(old, 16) ^ 1) if name in _QUANTITIES else old[:-1] + ("0" if old[-1] != "0" else "1")
        if old in ("0x", "0x0"):
            block[name] = "0x01" if name == "extraData" else "0x1"
    elif what == "left out":
        del block[name]
    elif what == "nonsense":
        junk = st.text(max_size=8) | st.integers() | st.none() | st.lists(st.integers()) | st.booleans()
        block[name] = data.draw(junk.filter(lambda value: value != block[name]))
        if name == "extraData" and block[name] == "0x":
            return
    else:
        later = [field for fork in _ADDED.values() for field in fork if field[0] not in block]
        if not later:
            return
        added, size = data.draw(st.sampled_from(later))
        block[added] = "0x1" if size is None else "0x" + "11" * size
    with pytest.raises(L1Refused) as refused:
        header_of(block)
    assert refused.value.code == "l1_block_malformed"


_QUANTITIES = {name for name, size in (*_BASE, *(field for fork in _ADDED.values() for field in fork)) if size is None}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), st.lists, max_leaves=6))
def test_an_answer_of_any_shape_is_refused_by_name(answer: Any) -> None:
    with pytest.raises(L1Refused):
        header_of(answer)


@given(blocks(), st.lists(st.dictionaries(st.text(max_size=6), st.none() | st.integers() | st.text(max_size=4))))
def test_receipts_of_any_shape_are_refused_by_name(block: dict[str, Any], answer: list[dict[str, Any]]) -> None:
    header = header_of(block)
    with pytest.raises(L1Refused):
        receipts_of(header, answer)
