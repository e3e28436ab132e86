"""The laboratory's wallet is a real one: the native core and eth-account recover its address from what it signs."""

import pytest
from eth_account import Account

from plait.native import PENDING, Transaction, decode_transactions
from sim.situation import FEE, USERS, at_slot, queues, transfer
from sim.wallet import Wallet


@pytest.mark.parametrize("index", range(6))
def test_signed_transactions_are_recovered_to_the_wallets_address(index: int) -> None:
    wallet = Wallet.of_index(index, "wallet test")
    raws = []
    for nonce in range(8):
        raws.append(wallet.sign_1559(901, nonce, to=bytes(20), value=nonce, access_list=[(bytes(20), [bytes(32)])]))
        raws.append(wallet.sign_1559(901, nonce, data=b"\x00", gas_limit=90_000))
        raws.append(wallet.sign_legacy(901, nonce, to=bytes(20), value=nonce))
        raws.append(wallet.sign_7702(901, nonce, [wallet.authorize(901, nonce + 1)]))
    for raw, decoded in zip(raws, decode_transactions(raws, 901), strict=True):
        assert isinstance(decoded, Transaction), decoded
        assert decoded.sender == wallet.address
        assert bytes.fromhex(Account.recover_transaction(raw)[2:]) == wallet.address


def test_an_authorization_moves_its_signers_nonce() -> None:
    """A self-authorization uses a second nonce, so the sender stands at 2 after one transaction."""
    situation = at_slot(2)
    raw = USERS[0].sign_7702(FEE, 0, [USERS[0].authorize(FEE, 1)])
    prepared = situation.prepare({FEE: queues(FEE, [[raw, transfer(FEE, 0, 1)]], situation.time_ms)})
    assert (prepared.transactions, [entry.code for entry in prepared.dropped]) == (1, ["nonce_too_low"])
    situation.decide(prepared.proposal)
    assert situation.judge.rollups[FEE].accounts([USERS[0].address], PENDING)[0][0] == 2


def test_an_address_is_the_one_other_tools_derive() -> None:
    key = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    assert Wallet(key).address.hex() == Account.from_key(key).address[2:].lower()
