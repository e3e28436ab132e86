"""Plait's RLP against the `rlp` library: same bytes out, same values in, and both refuse the same inputs."""

import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.codec.rlp import Reader, encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.errors import CodecError

strings = st.one_of(st.binary(max_size=70), st.binary(min_size=250, max_size=300))
trees = st.recursive(strings, lambda children: st.lists(children, max_size=6), max_leaves=20)


def encode_tree(tree: object) -> bytes:
    return encode_bytes(tree) if isinstance(tree, bytes) else encode_list(map(encode_tree, tree))  # type: ignore[arg-type]


def read_tree(reader: Reader, shape: object) -> object:
    if isinstance(shape, bytes):
        return reader.read_bytes()
    inner = reader.read_list("list")
    values = [read_tree(inner, child) for child in shape]  # type: ignore[attr-defined]
    inner.end()
    return values


@given(trees)
def test_any_tree_encodes_as_the_library_does_and_reads_back(tree: object) -> None:
    data = encode_tree(tree)
    assert data == rlp.encode(tree)
    reader = Reader(data)
    assert read_tree(reader, tree) == tree
    reader.end()


@given(st.integers(0, 2**256 - 1))
def test_any_integer_encodes_as_the_library_does_and_reads_back(value: int) -> None:
    assert encode_uint(value) == rlp.encode(value)
    assert Reader(encode_uint(value)).read_uint(2**256 - 1) == value


@given(st.lists(strings, max_size=40))
def test_the_fast_list_path_equals_the_plain_one(values: list[bytes]) -> None:
    data = encode_bytes_list(values)
    assert data == rlp.encode(values)
    assert Reader(data).read_bytes_list("items", count_max=40) == values


@settings(max_examples=500)
@given(
    st.one_of(st.binary(max_size=80), st.lists(strings, max_size=4).map(rlp.encode)), st.randoms(use_true_random=False)
)
def test_bytes_are_read_as_a_list_of_strings_exactly_when_the_library_does(data: bytes, random: object) -> None:
    mutated = bytearray(data)
    if mutated and random.randrange(2):  # type: ignore[attr-defined]
        mutated[random.randrange(len(mutated))] = random.randrange(256)  # type: ignore[attr-defined]
    data = bytes(mutated)
    try:
        library = rlp.decode(data, strict=True)
    except rlp.exceptions.DecodingError:
        library = None
    valid = isinstance(library, list) and all(isinstance(value, bytes) for value in library)
    try:
        reader = Reader(data)
        ours = reader.read_bytes_list("items", count_max=100)
        reader.end()
    except CodecError:
        assert not valid
    else:
        assert ours == library
