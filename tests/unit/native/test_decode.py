"""Decoding: only one canonical, signed, protected transaction is accepted; everything else gets its own stable code."""

import random

import pytest
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.native import Refusal, Transaction, decode_transactions
from tests.unit.native.builders import ALICE, BOB, CHAIN_ID, GWEI, address, decode, deposit, sign

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def refusal_code(raw: bytes, **options: int) -> str:
    (item,) = decode_transactions([raw], CHAIN_ID, **options)
    assert isinstance(item, Refusal), item
    assert item.message
    return item.code


def legacy(**fields: object) -> bytes:
    request = {
        "nonce": 0,
        "gas": 21_000,
        "gasPrice": GWEI,
        "to": address(BOB),
        "value": 1,
        "chainId": CHAIN_ID,
    } | fields
    return bytes(
        ALICE.sign_transaction({key: value for key, value in request.items() if value is not None}).raw_transaction
    )


def test_fields_hash_and_sender_of_every_type_equal_what_was_signed() -> None:
    authorization = BOB.sign_authorization({"chainId": CHAIN_ID, "address": address(BOB), "nonce": 0})
    access = [{"address": address(BOB), "storageKeys": ["0x" + "01".rjust(64, "0")]}]
    dynamic = {"chainId": CHAIN_ID, "nonce": 3, "gas": 90_000, "maxFeePerGas": 9, "maxPriorityFeePerGas": 2, "value": 7}
    cases = {
        0: legacy(),
        1: legacy(type=1, accessList=access),
        2: bytes(ALICE.sign_transaction(dynamic | {"type": 2, "to": address(BOB), "data": b"abc"}).raw_transaction),
        4: bytes(
            ALICE.sign_transaction(
                dynamic | {"type": 4, "to": address(BOB), "authorizationList": [authorization]}
            ).raw_transaction
        ),
    }
    for kind, raw in cases.items():
        (transaction,) = decode(raw)
        assert transaction.type == kind
        assert transaction.raw == raw
        assert transaction.size == len(raw)
        assert transaction.sender == address(ALICE)
        assert transaction.to == address(BOB)
        assert transaction.da_size >= 100
    (dynamic_fee,) = decode(cases[2])
    assert (dynamic_fee.nonce, dynamic_fee.gas_limit, dynamic_fee.value, dynamic_fee.input_bytes) == (3, 90_000, 7, 3)
    assert dynamic_fee.max_cost() == 7 + 90_000 * 9
    assert dynamic_fee.effective_priority_fee(8) == 1
    assert dynamic_fee.effective_priority_fee(1) == 2
    assert dynamic_fee.effective_priority_fee(10) is None


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("rlp_malformed", b""),
        ("rlp_malformed", b"\x80"),
        ("rlp_malformed", b"\x02"),
        ("rlp_malformed", b"\xc0"),
        ("rlp_malformed", sign(ALICE, 0, address(BOB))[:-1]),
        ("rlp_trailing_bytes", sign(ALICE, 0, address(BOB)) + b"\x00"),
        ("rlp_trailing_bytes", legacy() + b"\x00"),
        ("transaction_type_unsupported", deposit(bytes(32), address(ALICE), address(BOB))),
        ("transaction_type_unsupported", b"\x7d\xc0"),
        ("transaction_type_unsupported", b"\x03\xc0"),
        ("transaction_type_unsupported", b"\x00\xc0"),
        ("transaction_type_unsupported", b"\x05\xc0"),
        ("chain_id_wrong", sign(ALICE, 0, address(BOB), chainId=1)),
        ("chain_id_wrong", legacy(chainId=1)),
        ("chain_id_missing", legacy(chainId=None)),
        ("fee_cap_below_tip", sign(ALICE, 0, address(BOB), maxFeePerGas=1, maxPriorityFeePerGas=2)),
        ("nonce_max", sign(ALICE, 2**64 - 1, address(BOB))),
        ("init_code_too_large", sign(ALICE, 0, None, data=bytes(49_153))),
    ],
)
def test_what_cannot_be_a_user_transaction_is_refused_with_its_code(code: str, raw: bytes) -> None:
    assert refusal_code(raw) == code


def test_a_transaction_above_the_size_limit_is_refused_before_it_is_parsed() -> None:
    raw = sign(ALICE, 0, address(BOB), data=bytes(1000))
    assert refusal_code(raw, size_max=len(raw) - 1) == "transaction_too_large"
    assert isinstance(decode_transactions([raw], CHAIN_ID, size_max=len(raw))[0], Transaction)


def test_the_mirrored_signature_and_an_impossible_one_are_refused() -> None:
    raw = sign(ALICE, 0, address(BOB))
    fields = rlp.decode(raw[1:])
    parity, r, s = fields[-3:]
    mirrored = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big").lstrip(b"\0")
    flipped = b"" if parity == b"\x01" else b"\x01"
    assert refusal_code(b"\x02" + rlp.encode([*fields[:-3], flipped, r, mirrored])) == "signature_high_s"
    assert refusal_code(b"\x02" + rlp.encode([*fields[:-3], parity, b"", s])) == "signature_invalid"
    over = CURVE_ORDER.to_bytes(32, "big")
    assert refusal_code(b"\x02" + rlp.encode([*fields[:-3], parity, over, s])) == "signature_invalid"


def test_a_set_code_transaction_needs_a_recipient_and_an_authorisation() -> None:
    fields = [CHAIN_ID, 0, 1, 2, 100_000, address(BOB), 0, b"", [], [], 0, 1, 1]
    assert refusal_code(b"\x04" + rlp.encode(fields)) == "authorization_list_empty"
    fields[5] = b""
    assert refusal_code(b"\x04" + rlp.encode(fields)) == "creation_unsupported"


def test_non_canonical_integers_are_refused() -> None:
    fields = rlp.decode(sign(ALICE, 5, address(BOB))[1:])
    fields[1] = b"\x00\x05"
    assert refusal_code(b"\x02" + rlp.encode(fields)) == "rlp_malformed"


def test_given_senders_replace_recovery_and_must_be_complete() -> None:
    raw = sign(ALICE, 0, address(BOB))
    (transaction,) = decode_transactions([raw], CHAIN_ID, senders=address(BOB))
    assert isinstance(transaction, Transaction)
    assert transaction.sender == address(BOB)
    with pytest.raises(ValueError, match="20 bytes"):
        decode_transactions([raw], CHAIN_ID, senders=b"short")


def test_order_is_kept_in_a_large_batch() -> None:
    accounts = [Account.create() for _ in range(5)]
    raws = [sign(accounts[index % 5], index, address(BOB)) if index % 7 else b"\xc0" for index in range(200)]
    decoded = decode_transactions(raws, CHAIN_ID)
    for index, item in enumerate(decoded):
        assert isinstance(item, Transaction if index % 7 else Refusal)
        if isinstance(item, Transaction):
            assert (item.nonce, item.sender) == (index, address(accounts[index % 5]))


def test_intrinsic_gas_covers_calldata_access_lists_and_the_floor() -> None:
    plain, data, creation, floor = decode(
        sign(ALICE, 0, address(BOB)),
        sign(
            ALICE,
            0,
            address(BOB),
            data=b"\x00" * 4 + b"\x01" * 4,
            accessList=[{"address": address(BOB), "storageKeys": []}],
        ),
        sign(ALICE, 0, None, data=b"\x01" * 32),
        sign(ALICE, 0, address(BOB), data=b"\x01" * 100),
    )
    assert plain.intrinsic_gas == 21_000
    assert data.intrinsic_gas == 21_000 + 4 * 4 + 4 * 16 + 2_400  # EIP-2028, EIP-2930
    assert creation.intrinsic_gas == 53_000 + 32 * 16 + 2  # EIP-2, EIP-3860
    assert floor.intrinsic_gas == 21_000 + 100 * 4 * 10  # EIP-7623


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_crash_and_never_decode_to_something_else(raw: bytes) -> None:
    (item,) = decode_transactions([raw], CHAIN_ID)
    assert isinstance(item, Refusal) or item.raw == raw


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_transaction_is_refused_or_is_another_valid_one(seed: int) -> None:
    # Replay: random.Random(seed) chooses the byte and its new value.
    dice = random.Random(seed)
    raw = bytearray(sign(ALICE, 1, address(BOB), data=b"payload"))
    raw[dice.randrange(len(raw))] = dice.randrange(256)
    (item,) = decode_transactions([bytes(raw)], CHAIN_ID)
    assert isinstance(item, Refusal) or item.raw == bytes(raw), seed
