"""A long life of one network: thousands of trades, faults and epochs from a seed, every unit counted after each height.

The same script gives the same root on every hash seed. Replay: PLAIT_SEED=<seed> on the test's own command line.
"""

import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from plait.ledger.economy import economy_root
from plait.types import Address, MisbehaviorKind
from plait.types.action import (
    Body,
    CreateValidator,
    Delegate,
    EditValidator,
    SubmitEvidence,
    Transfer,
    Undelegate,
    Unjail,
    WithdrawCommission,
    WithdrawRewards,
)
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import ACCOUNTS, World, possession, public_key, two_proposals

SEED = int(os.environ.get("PLAIT_SEED", "1"))
ROOT = Path(__file__).resolve().parents[3]
MANY = (*ACCOUNTS, *(Address(sha256(b"account %d" % i).digest()[:20]) for i in range(30)))


def some_action(world: World, rng: random.Random) -> tuple[Address, Body]:
    """What an account might want now."""
    sender, operator = rng.choice(MANY), rng.choice(MANY[:8])
    pairs = [key for key, _ in world.economy.delegations.items()]
    if pairs and rng.random() < 0.5:
        pair = rng.choice(pairs)
        sender, operator = Address(pair[:20]), Address(pair[20:])
    have, worth = world.balance(sender), world.worth(sender, operator)
    part = rng.choice((1, 2, 3, 10, 1_000, 999_999_937))
    created = rng.randrange(3, 12)
    bodies: tuple[Body, ...] = (
        Transfer(to=rng.choice(MANY), amount=Amount(have // part)),
        Delegate(validator=operator, amount=Amount(have // part)),
        Delegate(validator=operator, amount=Amount(have // part)),
        Undelegate(validator=operator, amount=Amount(worth // part)),
        Undelegate(validator=operator, amount=Amount(worth // part)),
        WithdrawRewards(validator=operator),
        WithdrawCommission(),
        Unjail(),
        EditValidator(name=f"n{part}", commission_ppm=rng.choice((0, 50_000, 100_000))),
        CreateValidator(
            public_key=public_key(created),
            commission_ppm=50_000,
            commission_max_ppm=1_000_000,
            commission_step_ppm=50_000,
            self_stake=Amount(have // 2),
            name="later",
            possession=possession(created, sender),
        ),
    )
    return sender, rng.choice(bodies)


def live(seed: int, heights: int) -> World:
    """A network's life."""
    rng, world = random.Random(seed), World()
    for account in MANY[8:]:
        world.sub_block((ACCOUNTS[3], Transfer(to=account, amount=Amount(rng.randrange(10**23)))))
    while world.height < heights:
        actions = [some_action(world, rng) for _ in range(rng.choice((0, 1, 1, 2, 5)))]
        faults = []
        if rng.random() < 0.01:
            kind = rng.choice(tuple(MisbehaviorKind))
            faults.append(world.fault(rng.randrange(12), heights_ago=rng.randrange(9), kind=kind))
        if rng.random() < 0.01:
            height = max(1, world.height - rng.randrange(9))
            body = SubmitEvidence(evidence_kind=1, validator=MANY[rng.randrange(8)], payload=two_proposals(1, height))
            actions.append((MANY[3], body))
        absent = (rng.randrange(9),) if rng.random() < 0.15 else ()
        led_by = rng.randrange(9) if rng.random() < 0.05 else None
        elapsed_ms = rng.choice((0, 250, 900))
        world.sub_block(*actions, absent=absent, led_by=led_by, misbehavior=faults, elapsed_ms=elapsed_ms)
    return world


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_every_unit_is_there_after_a_long_life(seed: int) -> None:
    print(f"PLAIT_SEED={seed}")
    world = live(seed, 600)
    assert world.economy.supply.issued > 0
    assert world.economy.clock.epoch > 100


def test_the_root_is_the_same_on_every_hash_seed() -> None:
    print(f"PLAIT_SEED={SEED}")
    command = [sys.executable, "-m", "tests.property.ledger.test_stake_long_run", str(SEED), "150"]
    roots = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        roots.add(run.stdout)
    assert len(roots) == 1, roots


if __name__ == "__main__":
    print(economy_root(live(int(sys.argv[1]), int(sys.argv[2])).economy).hex())
