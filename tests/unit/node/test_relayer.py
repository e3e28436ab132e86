"""The node's relayer: what it signs is what any wallet would sign, and its key stays closed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import ConfigurationError
from plait.native import Transaction, decode_transactions
from plait.node.relayer import LocalRelayer
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.types import Address, RollupId

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEYS = st.integers(1, ORDER - 1).map(lambda value: value.to_bytes(32, "big"))
WORD = st.integers(0, 2**64 - 1)
ACCESS_LISTS = st.lists(
    st.tuples(st.binary(min_size=20, max_size=20), st.lists(st.binary(min_size=32, max_size=32), max_size=3)),
    max_size=3,
)
KEY = DEVELOPMENT_RELAYER.private_key


FIELDS = st.fixed_dictionaries(
    {
        "nonce": st.integers(0, 2**64 - 2),
        "to": st.binary(min_size=20, max_size=20),
        "data": st.binary(max_size=300),
        "gas_limit": WORD,
        "access_list": ACCESS_LISTS,
    }
)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(key=KEYS, chain_id=st.integers(1, 2**64 - 1), fees=st.tuples(WORD, WORD), fields=FIELDS)
def test_it_signs_what_eth_account_signs(
    key: bytes, chain_id: int, fees: tuple[int, int], fields: dict[str, Any]
) -> None:
    """Byte for byte, for any key and any fields; and the address is the key's."""
    relayer = LocalRelayer(key, policy="paid")
    raw = relayer.sign(RollupId(chain_id), max_fee_per_gas=max(fees), max_priority_fee_per_gas=min(fees), **fields)
    account = Account.from_key(key)
    expected = {
        "type": 2, "chainId": chain_id, "nonce": fields["nonce"], "to": fields["to"], "value": 0,
        "data": fields["data"], "gas": fields["gas_limit"], "maxFeePerGas": max(fees),
        "maxPriorityFeePerGas": min(fees),
        "accessList": [
            {"address": address, "storageKeys": ["0x" + slot.hex() for slot in slots]}
            for address, slots in fields["access_list"]
        ],
    }  # fmt: skip
    assert raw == bytes(account.sign_transaction(expected).raw_transaction)
    assert relayer.address == bytes.fromhex(account.address[2:])


def test_the_native_core_finds_the_relayer_as_sender() -> None:
    """The decoder that admits transactions recovers the relayer's address."""
    relayer = LocalRelayer.of_development(policy="free")
    raw = relayer.sign(
        RollupId(901), nonce=3, to=Address(bytes(20)), data=b"", gas_limit=100_000, max_fee_per_gas=10,
        max_priority_fee_per_gas=1, access_list=[],
    )  # fmt: skip
    (transaction,) = decode_transactions([raw], 901)
    assert isinstance(transaction, Transaction)
    assert transaction.sender == relayer.address == DEVELOPMENT_RELAYER.address


@pytest.mark.parametrize("key", [b"", KEY[:-1], bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    """Another length, zero, and anything from the group order on."""
    with pytest.raises(ConfigurationError) as refused:
        LocalRelayer(key, policy="free")
    assert refused.value.code == "relayer_key_malformed"
    assert refused.value.__context__ is None, "the cause could quote the key"


@pytest.mark.parametrize("form", ["{}", "{}\n", "0x{}", "0x{}\r\n"])
def test_a_key_file_of_its_owner_alone(form: str, tmp_path: Path) -> None:
    """64 digits, with or without 0x and a line end."""
    path = tmp_path / "key"
    path.write_text(form.format(KEY.hex()), newline="")
    path.chmod(0o600)
    relayer = LocalRelayer.from_key_file(path, policy="paid")
    assert (relayer.address, relayer.policy) == (DEVELOPMENT_RELAYER.address, "paid")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602, 0o610])
def test_a_key_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    """Reading, writing or executing by group or others: the key counts as exposed."""
    path = tmp_path / "key"
    path.write_text(KEY.hex())
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        LocalRelayer.from_key_file(path, policy="paid")
    assert refused.value.code == "relayer_key_exposed"


@pytest.mark.parametrize(
    "text", ["", KEY.hex()[:-1], KEY.hex() + "0", KEY.hex() + "" + "\n" * 5, "0x0x" + KEY.hex(), "é" * 32, "zz" * 32]
)
def test_a_key_file_of_other_content_is_refused_without_quoting_it(text: str, tmp_path: Path) -> None:
    """Neither the sentence nor anything that the error carries shows what was in the file."""
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as refused:
        LocalRelayer.from_key_file(path, policy="paid")
    assert refused.value.code == "relayer_key_malformed"
    assert KEY.hex()[:16] not in repr((refused.value, refused.value.fields, refused.value.__context__))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Nothing there, a folder, and a named pipe, for which the node does not wait."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path / "nothing", tmp_path, pipe):
        with pytest.raises(ConfigurationError) as refused:
            LocalRelayer.from_key_file(path, policy="paid")
        assert refused.value.code == "relayer_key_unreadable"


def test_the_key_is_in_no_representation_and_no_copy() -> None:
    """repr and str show the address; pickling and copying are refused; there is no dictionary to dump."""
    relayer = LocalRelayer.of_development(policy="free")
    shown = repr(relayer) + str(relayer) + f"{relayer!r:>200}"
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown
    assert relayer.address.hex() in shown
    with pytest.raises(TypeError):
        pickle.dumps(relayer)
    assert not hasattr(relayer, "__dict__")
