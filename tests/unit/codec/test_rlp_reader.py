"""The reader takes canonical RLP of the expected shape and refuses every other input with CodecError."""

import pytest

from plait.codec.rlp import Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError

# Encodings of the Yellow Paper's appendix B and ethereum.org's page on RLP.
PUBLISHED = [
    (encode_bytes(b"dog"), "83646f67"),
    (encode_bytes_list([b"cat", b"dog"]), "c88363617483646f67"),
    (encode_bytes(b""), "80"),
    (encode_list([]), "c0"),
    (encode_uint(0), "80"),
    (encode_bytes(b"\x00"), "00"),
    (encode_uint(15), "0f"),
    (encode_uint(1024), "820400"),
    (
        encode_bytes(b"Lorem ipsum dolor sit amet, consectetur adipisicing elit"),
        "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c"
        "20636f6e7365637465747572206164697069736963696e6720656c6974",
    ),
]


@pytest.mark.parametrize(("encoded", "expected"), PUBLISHED)
def test_published_examples_encode_as_published(encoded: bytes, expected: str) -> None:
    assert encoded.hex() == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("8100", "a single byte below 0x80 with a prefix"),
        ("b80161", "a long form for a short string"),
        ("b90001" + "61", "a length with a leading zero"),
        ("83646f", "cut off"),
        ("b9ff", "a length that is cut off"),
        ("bfffffffffffffffff", "a length of 2**64"),
        ("", "nothing"),
        ("c0", "a list for a string"),
    ],
)
def test_strings_that_are_not_canonical_are_refused(data: str, why: str) -> None:
    with pytest.raises(CodecError):
        Reader(bytes.fromhex(data)).read_bytes()


@pytest.mark.parametrize("data", ["00", "820001", "a1" + "01" * 33, "c0"])
def test_integers_with_leading_zeros_or_of_another_type_are_refused(data: str) -> None:
    with pytest.raises(CodecError):
        Reader(bytes.fromhex(data)).read_uint(2**300)


def test_an_integer_above_its_maximum_is_refused() -> None:
    assert Reader(encode_uint(255)).read_uint(255) == 255
    with pytest.raises(CodecError):
        Reader(encode_uint(256)).read_uint(255)


@pytest.mark.parametrize("data", ["83646f67", "c8836361", "f80183", "f838" + "80" * 55, "f90038" + "80" * 56])
def test_lists_that_are_strings_cut_off_or_not_canonical_are_refused(data: str) -> None:
    with pytest.raises(CodecError):
        Reader(bytes.fromhex(data)).read_list("list")


def test_sizes_and_counts_are_bounded_before_anything_is_copied() -> None:
    with pytest.raises(CodecError):
        Reader(encode_bytes(bytes(33))).read_bytes(size=32)
    with pytest.raises(CodecError):
        Reader(encode_bytes(bytes(33))).read_bytes(size_max=32)
    with pytest.raises(CodecError):
        Reader(encode_bytes_list([b"a"] * 4)).read_bytes_list("items", count_max=3)
    with pytest.raises(CodecError):
        Reader(encode_bytes_list([bytes(9)])).read_bytes_list("items", count_max=3, size_max=8)
    with pytest.raises(CodecError):
        Reader(encode_list([encode_list([])])).read_bytes_list("items", count_max=3)


def test_bytes_left_over_are_refused() -> None:
    reader = Reader(encode_uint(1) + b"\x01")
    reader.read_uint()
    assert reader.more
    with pytest.raises(CodecError):
        reader.end()


def test_deep_nesting_costs_no_recursion() -> None:
    with pytest.raises(CodecError):
        Reader(b"\xc1" * 100_000).read_list("outer").read_bytes()
