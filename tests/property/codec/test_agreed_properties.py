"""What an engine agreed on survives its encoding, and nothing else is read as it."""

from hypothesis import given
from hypothesis import strategies as st

from plait.codec.agreed import NOTHING_BYTES, decode_agreed, encode_agreed
from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import VOTING_POWER_MAX
from plait.types import NOTHING_AGREED, Agreed, BlockIdFlag, CommitVote, Misbehavior, MisbehaviorKind

addresses = st.binary(min_size=20, max_size=20)
powers = st.integers(0, VOTING_POWER_MAX)
votes = st.lists(st.builds(CommitVote, addresses, powers, st.sampled_from(BlockIdFlag)), max_size=5).map(tuple)
misbehavior = st.builds(
    Misbehavior,
    kind=st.sampled_from(MisbehaviorKind),
    address=addresses,
    power=powers,
    height=st.integers(0, 2**63),
    time_ms=st.integers(0, 2**63),
    total_power=powers,
)
agreed = st.builds(
    Agreed,
    proposer=st.one_of(st.just(b""), addresses),
    votes=votes,
    misbehavior=st.lists(misbehavior, max_size=3).map(tuple),
)


@given(agreed)
def test_agreed_data_survives_the_round_trip(one: Agreed) -> None:
    assert decode_agreed(encode_agreed(one)) == one


def test_nothing_has_its_own_short_encoding() -> None:
    parts = encode_list((encode_bytes(b""), encode_list(()), encode_list(())))
    assert encode_agreed(NOTHING_AGREED) == NOTHING_BYTES == parts


@given(agreed, st.integers(0, 2**16), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_values_only_encoding(one: Agreed, place: int, flip: int) -> None:
    data = bytearray(encode_agreed(one))
    data[place % len(data)] ^= flip
    try:
        found = decode_agreed(bytes(data))
    except CodecError:
        return
    assert encode_agreed(found) == bytes(data)
    assert found != one


@given(st.sampled_from([0, 4]))
def test_an_unknown_flag_is_refused(flag: int) -> None:
    vote = encode_list((encode_bytes(bytes(20)), encode_uint(1), encode_uint(flag)))
    data = encode_list((encode_bytes(b""), encode_list((vote,)), encode_list(())))
    try:
        decode_agreed(data)
    except CodecError:
        return
    raise AssertionError(f"flag {flag} was read")
