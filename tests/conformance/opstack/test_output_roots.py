"""Output roots and super roots against the OP Stack's published values and cases.

Source: ethereum-optimism/optimism v1.16.11, op-service/eth/{output_test,super_root_test}.go, testdata/output_v0.json.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.derivation.output_roots import decode_super_v1, encode_output_v0, encode_super_v1, output_root_v0
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import ChainId, Hash32, Seconds


def padded(first: str) -> Hash32:
    return Hash32(bytes.fromhex(first).ljust(32, b"\0"))


A, B, C = ((ChainId(10 + place), padded(f"0{place}")) for place in (1, 2, 3))


def test_the_published_output_has_its_fields_in_their_places() -> None:
    parts = padded("010203"), padded("040506"), padded("070809")
    encoded = encode_output_v0(*parts)
    assert len(encoded) == 128
    assert encoded == bytes(32) + b"".join(parts)
    assert output_root_v0(*parts) == keccak256(encoded)


def test_a_super_root_of_three_chains_reads_back_whatever_their_order_was() -> None:
    encoded = encode_super_v1(Seconds(7000), [C, A, B])
    assert len(encoded) == 1 + 8 + 3 * 64
    assert decode_super_v1(encoded).outputs == (A, B, C)
    assert decode_super_v1(encoded).timestamp == 7000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a" + bytes(31) + b"\x0a",
        b"\x01\x01",
        b"\x01" + (134058).to_bytes(8, "big"),
        b"\x01" + (134058).to_bytes(8, "big") + b"\x01\x02\x03",
        encode_super_v1(Seconds(7000), [A, B])[:-32],
        encode_super_v1(Seconds(7000), [A])[:9] + b"".join(c.to_bytes(32, "big") + r for c, r in (B, A)),
    ],
    ids=["empty", "unknown version", "too short", "no chains", "part of a chain", "missing output", "not rising"],
)
def test_what_is_no_super_root_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError) as refused:
        decode_super_v1(data)
    assert refused.value.code == "super_root_malformed"


@given(st.binary(max_size=300))
def test_bytes_have_one_meaning_or_none(data: bytes) -> None:
    try:
        decoded = decode_super_v1(b"\x01" + data)
    except CodecError:
        return
    assert encode_super_v1(decoded.timestamp, decoded.outputs) == b"\x01" + data
