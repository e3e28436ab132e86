"""Evidence of two proposals is what CometBFT's own code signs: its sign bytes are read as what was asked for, and two
of them, signed by its own key type, convict."""

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from plait.errors import ActionRefused
from plait.ledger.equivocation import Equivocation, encode_equivocation, judge, read_sign_bytes
from tests.peers.comet.oracle import Oracle, running
from tests.property.ledger.stake_world import proposal_sign_bytes

CHAIN = "plait-7"


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with running() as found:
        yield found


def proposal(height: int, round_number: int, block: bytes, pol_round: int = -1) -> dict[str, Any]:
    block_hash = sha256(block).hexdigest().upper()
    return {
        "chain_id": CHAIN,
        "height": str(height),
        "round": round_number,
        "pol_round": pol_round,
        "block_id": {"hash": block_hash, "parts": {"total": 1, "hash": block_hash}},
        "timestamp": "2023-11-14T22:13:20Z",
    }


def test_sign_bytes_of_proposals_are_read_as_what_was_signed(oracle: Oracle) -> None:
    rng = random.Random(5)
    for _ in range(200):
        height, round_number = rng.choice((1, 2**40, rng.randrange(1, 2**62))), rng.choice((0, 1, 2**31 - 1))
        pol_round = rng.choice((-1, 0, round_number - 1 if round_number else -1))
        block = rng.randbytes(4)
        asked = proposal(height, round_number, block, pol_round)
        data = bytes.fromhex(oracle.call("proposal_sign_bytes", **asked))
        found = read_sign_bytes(data)
        assert (found.height, found.round_number, found.chain_id) == (height, round_number, CHAIN)
        assert sha256(block).digest() in found.block_id
        if pol_round == -1:
            assert data == proposal_sign_bytes(height, round_number, block)


def test_votes_are_no_proposals(oracle: Oracle) -> None:
    for kind in (1, 2):
        asked = {**proposal(9, 0, b"block"), "type": kind}
        data = bytes.fromhex(oracle.call("vote_sign_bytes", **asked))
        with pytest.raises(ActionRefused) as refused:
            judge(
                encode_equivocation(
                    Equivocation(first=data, first_signature=bytes(64), second=data, second_signature=bytes(64))
                ),
                bytes(32),
                CHAIN,
            )
        assert refused.value.code == "evidence_malformed"


def test_two_proposals_that_cometbft_signed_convict(oracle: Oracle) -> None:
    messages = [oracle.call("proposal_sign_bytes", **proposal(9, 1, block)) for block in (b"one", b"other")]
    secret = sha256(b"validator").hexdigest()
    signed = oracle.call("sign", secrets=[secret, secret], messages=messages)
    proof = Equivocation(
        first=bytes.fromhex(messages[0]),
        first_signature=bytes.fromhex(signed[0]["signature"]),
        second=bytes.fromhex(messages[1]),
        second_signature=bytes.fromhex(signed[1]["signature"]),
    )
    key = bytes.fromhex(signed[0]["public_key"])
    assert judge(encode_equivocation(proof), key, CHAIN) == 9
