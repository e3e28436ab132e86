"""CometBFT's file signer never gives two signatures for one height, round and step, whatever it is ordered and however
often it is killed in between: 100,000 random orders, with key and state read back from the disk now and then.

Consensus keys of a Plait network are held by that signer, so the property that slashing relies on is tested on it.
Replay a failure with PLAIT_SEED=<seed>."""

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from plait.light.blocks import encode_block_id, format_time
from plait.light.commits import PRECOMMIT, PREVOTE, PROPOSAL
from plait.light.headers import BlockId
from plait.native import ed25519_verify_many
from tests.peers.comet.oracle import Oracle, running

pytestmark = pytest.mark.cometbft
SEED = int(os.environ.get("PLAIT_SEED", "1"))
ORDERS = 100_000
BATCH = 2_000
RELOAD_EVERY = 50
STEP = {PROPOSAL: 1, PREVOTE: 2, PRECOMMIT: 3}
BLOCKS = [BlockId()] + [BlockId(sha256(b"%d" % n).digest(), 1, sha256(b"p%d" % n).digest()) for n in range(3)]
START_NS = 1_790_000_000 * 10**9


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with running() as found:
        yield found


def some_orders(rng: random.Random) -> Iterator[dict[str, Any]]:
    """A walk up through heights, rounds and steps, that often stays, goes back, or jumps ahead."""
    height, round_, kind = 1, 0, PROPOSAL
    kinds = [PROPOSAL, PREVOTE, PRECOMMIT]
    while True:
        move = rng.randrange(10)
        if move < 2:
            kind = rng.choice(kinds)
        elif move < 4:
            round_, kind = max(0, round_ + rng.choice([1, 1, -1, 3])), rng.choice(kinds)
        elif move < 6:
            height, round_ = max(1, height + rng.choice([1, 1, 1, -1, -2, 5])), rng.choice([0, 0, 0, 1, 2])
        block_id = rng.choice(BLOCKS[1:] if kind == PROPOSAL else BLOCKS)
        yield {
            "chain_id": rng.choice(["plait-1"] * 20 + ["plait-2"]),
            "type": kind,
            "height": str(height),
            "round": round_,
            "pol_round": rng.choice([-1, -1, 0]),
            "block_id": encode_block_id(block_id),
            "timestamp": format_time(START_NS + rng.choice([0, 0, 1, rng.randrange(10**12)])),
            "reload": rng.randrange(RELOAD_EVERY) == 0,
        }


def disk_in_memory(fallback: Path) -> Path:
    """A directory that survives a process's death and needs no waiting for a disk: only deaths are tested here."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else fallback


@pytest.mark.slow
def test_no_height_round_and_step_is_signed_twice(oracle: Oracle, tmp_path: Path) -> None:
    print(f"PLAIT_SEED={SEED}")
    rng = random.Random(SEED)
    directory = disk_in_memory(tmp_path) / f"plait-signer-{os.getpid()}"
    directory.mkdir()
    try:
        public_key = bytes.fromhex(
            oracle.call("signer_open", directory=str(directory), secret=sha256(b"signer").hexdigest())
        )
        orders = some_orders(rng)
        signed: dict[tuple[int, int, int], tuple[str, str]] = {}
        again = refused = reloads = 0
        highest = (0, 0, 0)
        for _ in range(ORDERS // BATCH):
            batch = [next(orders) for _ in range(BATCH)]
            reloads += sum(order["reload"] for order in batch)
            for order, answer in zip(batch, oracle.call("signer_orders", orders=batch), strict=True):
                place = (int(order["height"]), order["round"], STEP[order["type"]])
                if answer.get("refused"):
                    refused += 1
                    continue
                given = (answer["sign_bytes"], answer["signature"])
                assert signed.setdefault(place, given) == given, f"two signatures at {place}: {order}"
                assert place >= highest, f"{place} was signed after {highest}"
                again += place == highest
                highest = place
        print(f"{ORDERS} orders: {len(signed)} places signed, {again} answered, {refused} refused, {reloads} reloads")
        assert min(again, refused, reloads, len(signed)) > ORDERS // 200, (again, refused, reloads, len(signed))
        checks = [(public_key, bytes.fromhex(text), bytes.fromhex(mark)) for text, mark in signed.values()]
        assert all(ed25519_verify_many(checks))
    finally:
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()
