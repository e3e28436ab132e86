"""What blocks are made of: their tries of transactions, and legacy transactions without replay protection."""

import random

import pytest
from eth_account import Account

from plait.crypto.ordered_trie import ordered_root
from plait.native import Refusal, Rollup, Store, Transaction, decode_transactions, ordered_trie_root
from tests.unit.native.builders import ALICE, BOB, CHAIN_ID, GWEI, address, attributes, genesis


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 300])
def test_the_root_over_positions_is_the_one_that_is_written_in_python(count: int) -> None:
    draw = random.Random(count)
    values = [draw.randbytes(draw.randint(1, 200)) for _ in range(count)]
    assert ordered_trie_root(values) == ordered_root(values)


def test_a_legacy_transaction_without_a_chain_is_decoded_for_blocks_alone_and_survives_in_the_store() -> None:
    fields = {"nonce": 0, "gasPrice": 2 * GWEI, "gas": 21_000, "to": BOB.address, "value": 5, "data": b""}
    raw = bytes(Account.sign_transaction(fields, ALICE.key).raw_transaction)
    assert raw[-67] in (27, 28)
    (refusal,) = decode_transactions([raw], CHAIN_ID)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "chain_id_missing"
    (transaction,) = decode_transactions([raw], CHAIN_ID, unprotected=True)
    assert isinstance(transaction, Transaction)
    assert transaction.sender == address(ALICE)
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    session = rollup.session()
    session.open(attributes(1))
    assert session.run([transaction]).included == 1
    for number in range(2, 12):
        session.seal()
        session.open(attributes(number))
    rollup.commit(session)
    assert rollup.raw_transaction(transaction.hash) == raw, "read from the store by now"
