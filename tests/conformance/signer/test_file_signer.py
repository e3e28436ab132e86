"""CometBFT's file signer never gives two signatures for one height, round and step, whatever it is ordered and however
often it is killed in between: 100,000 random orders, with key and state read back from the disk now and then.

Consensus keys of a Plait network are held by that signer, so the property that slashing relies on is tested on it.
Replay a failure with PLAIT_SEED=<seed>."""

import base64
import json
import os
import random
import shutil
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from plait.light.blocks import encode_block_id, format_time
from plait.light.commits import PRECOMMIT, PREVOTE, PROPOSAL
from plait.light.headers import BlockId
from plait.native import ed25519_verify_many
from tests.peers.comet.oracle import Oracle, oracle_path, running

pytestmark = pytest.mark.cometbft
SEED = int(os.environ.get("PLAIT_SEED", "1"))
ORDERS = 100_000
BATCH = 2_000
RELOAD_EVERY = 50
KILLS = 60
Place = tuple[int, int, int]
"""Height, round and step."""
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


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """On a disk in memory where there is one: what a killed process leaves is tested, not what a power cut leaves."""
    shared = Path("/dev/shm")
    folder = (shared if os.access(shared, os.W_OK) else tmp_path) / f"plait-signer-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    print(f"PLAIT_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


class Ledger:
    """Everything that the signer has given out, and where: no place twice, and never one below the highest."""

    def __init__(self) -> None:
        self.signed: dict[Place, tuple[str, str]] = {}
        self.highest: Place = (0, 0, 0)
        self.again = self.refused = 0

    def note(self, place: Place, sign_bytes: str, signature: str) -> None:
        given = (sign_bytes, signature)
        assert self.signed.setdefault(place, given) == given, f"two signatures at {place}"
        assert place >= self.highest, f"{place} was signed after {self.highest}"
        self.again += place == self.highest
        self.highest = place

    def note_all(self, orders: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
        for order, answer in zip(orders, answers, strict=True):
            if answer.get("refused"):
                self.refused += 1
            else:
                place = (int(order["height"]), order["round"], STEP[order["type"]])
                self.note(place, answer["sign_bytes"], answer["signature"])

    def require_valid(self, public_key: bytes) -> None:
        """All signatures are the key's."""
        signed = [(public_key, bytes.fromhex(text), bytes.fromhex(mark)) for text, mark in self.signed.values()]
        assert all(ed25519_verify_many(signed))


def open_signer(oracle: Oracle, directory: Path) -> bytes:
    return bytes.fromhex(oracle.call("signer_open", directory=str(directory), secret=sha256(b"signer").hexdigest()))


@pytest.mark.slow
def test_no_height_round_and_step_is_signed_twice(oracle: Oracle, rng: random.Random, directory: Path) -> None:
    public_key, orders, ledger, reloads = open_signer(oracle, directory), some_orders(rng), Ledger(), 0
    for _ in range(ORDERS // BATCH):
        batch = list(islice(orders, BATCH))
        reloads += sum(order["reload"] for order in batch)
        ledger.note_all(batch, oracle.call("signer_orders", orders=batch))
    counts = {"signed": len(ledger.signed), "again": ledger.again, "refused": ledger.refused, "reloads": reloads}
    print(f"{ORDERS} orders: {counts}")
    assert min(counts.values()) > ORDERS // 200, counts
    ledger.require_valid(public_key)


@pytest.mark.slow
def test_nor_after_the_process_was_killed_at_any_moment(rng: random.Random, directory: Path) -> None:
    """What the state on the disk says was signed may have left the process, whether or not anybody has read it."""
    orders, ledger, lost = some_orders(rng), Ledger(), 0
    for _ in range(KILLS):
        oracle = Oracle(oracle_path())
        public_key = open_signer(oracle, directory)
        batch = list(islice(orders, 20))
        ledger.note_all(batch, oracle.call("signer_orders", orders=batch))
        doomed = [order | {"height": str(ledger.highest[0] + at // 3)} for at, order in enumerate(islice(orders, 300))]
        oracle.ask_and_kill(rng.uniform(0, 0.12), "signer_orders", orders=doomed)
        state = json.loads((directory / "state.json").read_text())
        place = (int(state["height"]), state["round"], state["step"])
        lost += place != ledger.highest
        ledger.note(place, state["signbytes"].lower(), base64.b64decode(state["signature"]).hex())
    print(f"{KILLS} kills, {lost} of them after signatures that nobody read")
    assert lost > KILLS // 12, f"only {lost} of {KILLS} kills came after a signature that nobody read"
    ledger.require_valid(public_key)
