"""The same log gives the same hashes under any PYTHONHASHSEED and any number of native workers, with and without
stored senders."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from plait.engines.simulated import Chances, SimulatedEngine, SimulatedNode
from plait.native import Transaction, decode_transactions
from plait.ordering.queues import Ready, SenderQueue
from plait.types import Gas, Milliseconds, OrderingPolicy, RollupId
from sim.replay import record
from sim.wallet import Wallet
from sim.workload import BURNING_CODE, REVERTING_CODE, STORING_CODE
from sim.world import Plan, World, network_of

ROOT = Path(__file__).parents[2]
CALM = Chances(byzantine=0, rival=0, undecided=0, crash_before_commit=0, crash_after_commit=0)


def run(module: str, *arguments: str, hash_seed: str, workers: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": workers}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def full_log(path: Path) -> None:
    """Eight heights of 300 transactions on each of three rollups: enough work that the native core spreads it."""
    wallets = [Wallet.of_index(index, "determinism") for index in range(60)]
    plan = Plan(
        nodes=1,
        block_times_slots=(1, 2, 1),
        policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL, OrderingPolicy.ARRIVAL),
        gas_limit=Gas(200_000_000),
        users=len(wallets),
        heights=8,
    )
    funded = [wallet.address for wallet in wallets]
    network = network_of(plan, funded)
    nonces = dict.fromkeys(((rollup_id, w) for rollup_id in network.ledger.rollup_ids for w in range(60)), 0)
    codes = (STORING_CODE, REVERTING_CODE, BURNING_CODE)

    def candidates(node: int, time_ms: Milliseconds) -> dict[RollupId, list[SenderQueue]]:
        found: dict[RollupId, list[SenderQueue]] = {}
        for (rollup_id, w), nonce in nonces.items():
            raws = [
                wallets[w].sign_1559(rollup_id, n, data=codes[n % 3], gas_limit=90_000, max_priority_fee_per_gas=w * n)
                if n % 4 == 3
                else wallets[w].sign_1559(
                    rollup_id, n, to=bytes([w, n % 256]) * 10, value=n, max_priority_fee_per_gas=w
                )
                for n in range(nonce, nonce + 5)
            ]
            decoded = [entry for entry in decode_transactions(raws, rollup_id) if isinstance(entry, Transaction)]
            found.setdefault(rollup_id, []).append(
                tuple(Ready(entry, Milliseconds(time_ms - 100 + w)) for entry in decoded)
            )
        return found

    engine = SimulatedEngine([SimulatedNode(0, network.application)], Random(1), candidates=candidates, chances=CALM)
    total = 0
    for height in range(8):
        step = engine.step(Milliseconds(network.ledger.time_ms + 2_000 + 700 * height))
        effect = step.effects[0]
        total += effect.transactions
        for part in effect.rollups:
            for transaction in part.transactions:
                owner = funded.index(transaction.sender)
                nonces[(part.rollup_id, owner)] = transaction.nonce + 1
    assert total > 5_000
    record(path, plan, funded, engine)


ENVIRONMENTS = [("0", "1"), ("1", "2"), ("4242", "7"), ("random", "3")]


def test_a_recorded_log_replays_to_the_same_hashes_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "log"
    full_log(path)
    outputs = {run("sim.replay", str(path), hash_seed=seed, workers=workers) for seed, workers in ENVIRONMENTS}
    outputs.add(run("sim.replay", str(path), "--with-senders", hash_seed="9", workers="2"))
    assert len(outputs) == 1, f"replays of {path} differ"


@pytest.mark.parametrize("seed", [9, 17])
def test_a_seed_plays_the_same_everywhere(seed: int) -> None:
    """Building, byzantine proposers, crashes: the whole run is a function of the seed."""
    outputs = {
        run("sim.run", "--seed", str(seed), "--json", hash_seed=hash_seed, workers=workers)
        for hash_seed, workers in ENVIRONMENTS[:3]
    }
    assert len(outputs) == 1, f"seed {seed} differs; compare: PYTHONHASHSEED=0 python -m sim.run --seed {seed} --json"


@pytest.mark.parametrize("seed", [4, 23])
def test_a_network_plays_the_same_everywhere(seed: int) -> None:
    """Agreement, weather, liars, disks: the whole run is a function of the seed."""
    outputs = {
        run("sim.run", "--seeds", str(seed), "--json", hash_seed=hash_seed, workers=workers)
        for hash_seed, workers in ENVIRONMENTS[:3]
    }
    assert len(outputs) == 1, f"seed {seed} differs; compare: PYTHONHASHSEED=0 python -m sim.run --seeds {seed} --json"


def test_a_world_can_be_recorded_and_replayed(tmp_path: Path) -> None:
    world = World(8, heights=12)
    for _ in range(12):
        world.step()
    path = tmp_path / "log"
    record(path, world.plan, [wallet.address for wallet in world.wallets], world.engine)
    assert run("sim.replay", str(path), hash_seed="5", workers="1").count(world.engine.log[-1].app_hash.hex()) == 1
