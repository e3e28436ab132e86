"""A sender is recovered once per transaction, whatever decodes it and how often; remembering changes no answer."""

import random

from plait.native import Refusal, Transaction, decode_transactions, recovery_statistics
from sim.listening import WALLETS
from sim.wallet import FIELD

SEED = 20_261_121
CHAIN_ID = 901


def transfers(count: int, source: random.Random) -> list[bytes]:
    """Transactions that no other test sends."""
    return [
        WALLETS[index % len(WALLETS)].sign_1559(CHAIN_ID, index, to=source.randbytes(20), value=index)
        for index in range(count)
    ]


def test_decoding_again_recovers_nothing_and_gives_the_same() -> None:
    raws = transfers(200, random.Random(SEED))
    before = recovery_statistics()
    first = decode_transactions(raws, CHAIN_ID)
    between = recovery_statistics()
    again = decode_transactions(raws, CHAIN_ID)
    after = recovery_statistics()
    assert between["recovered"] - before["recovered"] == len(raws)
    assert after["recovered"] == between["recovered"]
    assert after["remembered"] - between["remembered"] == len(raws)
    assert all(isinstance(item, Transaction) for item in first)
    assert [(t.hash, t.sender) for t in first if isinstance(t, Transaction)] == [
        (t.hash, t.sender) for t in again if isinstance(t, Transaction)
    ]
    assert {t.sender for t in again if isinstance(t, Transaction)} == {wallet.address for wallet in WALLETS}
    assert after["entries"] <= after["entries_max"]


def test_a_remembered_transaction_is_still_refused_where_its_rules_are_broken() -> None:
    raws = transfers(1, random.Random(SEED + 1))
    decode_transactions(raws, CHAIN_ID)
    for chain_id, size_max, code in [
        (CHAIN_ID + 1, 131_072, "chain_id_wrong"),
        (CHAIN_ID, 10, "transaction_too_large"),
    ]:
        (refusal,) = decode_transactions(raws, chain_id, size_max=size_max)
        assert isinstance(refusal, Refusal)
        assert refusal.code == code


def test_a_failed_recovery_and_a_sender_that_was_given_are_not_remembered() -> None:
    (raw,) = transfers(1, random.Random(SEED + 2))
    before = recovery_statistics()
    (given,) = decode_transactions([raw], CHAIN_ID, senders=b"\x07" * 20)
    assert isinstance(given, Transaction)
    assert given.sender == b"\x07" * 20
    assert recovery_statistics() == before
    (recovered,) = decode_transactions([raw], CHAIN_ID)
    assert isinstance(recovered, Transaction)
    assert recovered.sender == WALLETS[0].address
    r = next(r for r in range(1 << 255, 1 << 256) if pow(r**3 + 7, (FIELD - 1) // 2, FIELD) != 1)
    r_without_point = raw[:-65] + r.to_bytes(32, "big") + raw[-33:]
    between = recovery_statistics()
    for _ in range(2):
        (refused,) = decode_transactions([r_without_point], CHAIN_ID)
        assert isinstance(refused, Refusal)
        assert refused.code == "signature_invalid"
    assert recovery_statistics() == between
