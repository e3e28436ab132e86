"""Every action has one encoding, every encoding one action; whatever else comes in is refused with a stable code."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.codec.action import body_from_json, body_to_json, decode_action, decode_body, encode_action, encode_body
from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.crypto.actions import recover_action
from plait.errors import ActionRefused, CodecError
from plait.limits import ACTION_BYTES_MAX
from plait.types.action import TYPE_OF_BODY, Action, Body, SignedAction
from tests.property.codec.actions import actions, bodies

CODES = {"action_malformed", "action_signature_invalid"}
deep = st.recursive(
    st.binary(max_size=40).map(encode_bytes) | st.integers(0, 2**256).map(encode_uint),
    lambda inner: st.lists(inner, max_size=6).map(encode_list),
    max_leaves=30,
)


def recovered(data: bytes) -> SignedAction | str:
    """The action, or the code of its refusal; any other exception fails the test."""
    try:
        return recover_action(data, 7)
    except (CodecError, ActionRefused) as error:
        return error.code


def check_refused_or_canonical(data: bytes) -> None:
    found = recovered(data)
    if isinstance(found, SignedAction):
        assert encode_action(decode_action(data)) == data == found.raw
    else:
        assert found in CODES


@given(actions)
def test_an_action_survives_the_round_trip(action: Action) -> None:
    encoded = encode_action(action)
    assert len(encoded) <= ACTION_BYTES_MAX
    assert decode_action(encoded) == action


@given(bodies)
def test_a_body_survives_the_ledgers_form_and_json(body: Body) -> None:
    reader = Reader(encode_body(body)).read_list("body")
    assert decode_body(reader) == body
    assert body_from_json(TYPE_OF_BODY[type(body)].name, body_to_json(body)) == body


@given(st.binary(max_size=300) | deep)
@example(b"")
@example(b"\xc0")
@example(b"\xc1\xc0")
@example(encode_list([encode_uint(1)] * 40))
def test_arbitrary_bytes_raise_nothing_but_a_named_refusal(data: bytes) -> None:
    check_refused_or_canonical(data)


@given(actions, st.data())
@settings(max_examples=400)
def test_a_changed_action_is_refused_or_another_canonical_action(action: Action, data: st.DataObject) -> None:
    encoded = bytearray(encode_action(action))
    for _ in range(data.draw(st.integers(1, 3))):
        change = data.draw(st.sampled_from(["flip", "cut", "insert", "double"]))
        place = data.draw(st.integers(0, max(0, len(encoded) - 1)))
        if change == "flip" and encoded:
            encoded[place] ^= data.draw(st.integers(1, 255))
        elif change == "cut":
            del encoded[place:]
        elif change == "insert":
            encoded[place:place] = data.draw(st.binary(min_size=1, max_size=4))
        else:
            encoded += encoded[:place]
    check_refused_or_canonical(bytes(encoded))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just("0x" + "00" * 20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(bodies, st.data())
def test_altered_json_is_refused_with_a_code_or_is_a_body(body: Body, data: st.DataObject) -> None:
    fields = body_to_json(body)
    name = data.draw(st.sampled_from([TYPE_OF_BODY[type(body)].name, "Transfer", "Nothing"]))
    if fields and data.draw(st.booleans()):
        fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    else:
        fields[data.draw(st.text(max_size=8))] = data.draw(json_values)
    code, made = None, None
    try:
        made = body_from_json(name, fields)
    except CodecError as error:
        code = error.code
    assert code == "action_malformed" if made is None else body_from_json(name, body_to_json(made)) == made
