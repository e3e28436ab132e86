"""The action table, its bytes and what a wallet signs: eth-account, an independent implementation of EIP-712, finds
the same digest and the same signer for every kind."""

import msgspec
import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given, settings

from plait.codec.action import body_from_json, decode_action, domain_salt, encode_action, typed_data
from plait.crypto.actions import action_digest, recover_action, sign_action
from plait.errors import ActionRefused, CodecError
from plait.types.action import (
    ACTION_TABLE,
    STRUCT_TYPES,
    Action,
    ActionKind,
    Body,
    Delegate,
    ProposeText,
    Transfer,
    VoteOption,
)
from tests.property.codec.actions import bodies, body_of

KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
ADDRESS = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
NETWORK = 901
TRANSFER = Transfer(to=bytes(19) + b"\x07", amount=5)


def eth_digest(document: dict[str, object]) -> bytes:
    return bytes(_hash_eip191_message(encode_typed_data(full_message=document)))


def test_the_table_and_the_bodies_have_the_same_fields() -> None:
    for entry in (*ACTION_TABLE.values(), *STRUCT_TYPES.values()):
        struct = entry.body if hasattr(entry, "body") else entry.struct
        assert tuple(field.name for field in entry.fields) == struct.__struct_fields__, struct
    assert set(ACTION_TABLE) == set(ActionKind)
    assert max(VoteOption) == next(f for f in ACTION_TABLE[40].fields if f.name == "option").bound


@pytest.mark.parametrize("kind", sorted(ACTION_TABLE))
def test_a_wallet_signs_every_kind_as_we_read_it(kind: int) -> None:
    @settings(max_examples=12, deadline=None)
    @given(body_of(ACTION_TABLE[kind]))
    def check(body: Body) -> None:
        document = typed_data(NETWORK, 3, 10**15, body)
        digest = action_digest(NETWORK, 3, 10**15, body)
        assert eth_digest(document) == digest
        assert eth_digest(msgspec.json.decode(msgspec.json.encode(document))) == digest
        signed = Account.sign_typed_data(KEY, full_message=document)
        action = Action(nonce=3, max_fee=10**15, body=body, signature=bytes(signed.signature))
        assert recover_action(encode_action(action), NETWORK).sender == ADDRESS
        assert recover_action(sign_action(NETWORK, 3, 10**15, body, KEY), NETWORK).sender == ADDRESS

    check()


@settings(max_examples=60, deadline=None)
@given(bodies)
def test_an_action_signed_for_another_network_has_another_sender(body: Body) -> None:
    raw = sign_action(NETWORK, 0, 0, body, KEY)
    try:
        found = recover_action(raw, NETWORK + 1).sender.hex()
    except ActionRefused as error:
        found = error.code
    assert found == "action_signature_invalid" or (len(found) == 40 and found != ADDRESS.hex())
    assert domain_salt(NETWORK) != domain_salt(NETWORK + 1)


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        (bytes(65), "action_malformed"),
        (bytes(64) + b"\x1b", "action_signature_invalid"),
        (b"\xff" * 64 + b"\x1b", "action_signature_invalid"),
        (bytes(31) + b"\x01" + b"\x80" + bytes(31) + b"\x1c", "action_signature_invalid"),
    ],
)
def test_a_signature_that_is_nobodys_is_refused(signature: bytes, code: str) -> None:
    raw = sign_action(NETWORK, 0, 0, TRANSFER, KEY)
    forged = raw[:-65] + signature
    with pytest.raises((CodecError, ActionRefused)) as caught:
        recover_action(forged, NETWORK)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        Transfer(to=bytes(19), amount=1),
        Transfer(to=bytes(20), amount=0),
        Transfer(to=bytes(20), amount=2**128),
        Transfer(to=bytes(20), amount=-1),
        Transfer(to="0x00", amount=1),
        Transfer(to=bytes(20), amount=True),
        ProposeText(title="", details="", deposit=0),
        ProposeText(title="x" * 121, details="", deposit=0),
        ProposeText(title="clear\x1b[2J", details="", deposit=0),
        ProposeText(title="right \u202e left", details="", deposit=0),
        ProposeText(title="\ud800", details="", deposit=0),
    ],
)
def test_a_body_out_of_its_bounds_is_never_signed(body: Body) -> None:
    with pytest.raises(CodecError) as caught:
        sign_action(NETWORK, 0, 0, body, KEY)
    assert caught.value.code == "action_malformed"


def test_an_unknown_kind_and_a_foreign_field_are_named() -> None:
    with pytest.raises(CodecError, match="no action of kind 99"):
        decode_action(b"\xc1\x63")
    with pytest.raises(CodecError, match="no action named 'Steal'"):
        body_from_json("Steal", {})
    with pytest.raises(CodecError, match="missing: amount"):
        body_from_json("Delegate", {"validator": "0x" + "00" * 20})
    made = body_from_json("Delegate", {"validator": "0x" + "00" * 20, "amount": "0x10"})
    assert made == Delegate(validator=bytes(20), amount=16)
