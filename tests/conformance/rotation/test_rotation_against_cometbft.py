"""The ledger's rotation is CometBFT's: after any sequence of steps and updates, every priority and every leader are
those of CometBFT's own Go code, for sets of 1 to 150 validators with powers from 1 to the greatest possible.

Replay a failure with PLAIT_SEED=<seed>."""

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from plait.errors import InvariantBroken
from plait.ledger.rotation import ProposerSet, new_rotation, new_set
from plait.limits import VOTING_POWER_MAX
from plait.types import ConsensusAddress
from tests.peers.comet.oracle import Oracle, running

pytestmark = pytest.mark.cometbft
SEED = int(os.environ.get("PLAIT_SEED", "1"))
Powers = dict[int, int]
"""Voting power by number of key."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with running() as found:
        yield found


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    print(f"PLAIT_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


def key_of(number: int) -> bytes:
    return sha256(b"rotation %d" % number).digest()


def address_of(number: int) -> ConsensusAddress:
    return ConsensusAddress(sha256(key_of(number)).digest()[:20])


def by_address(powers: Powers) -> dict[ConsensusAddress, int]:
    return {address_of(number): power for number, power in powers.items()}


def shown(powers: Powers) -> list[dict[str, Any]]:
    return [{"public_key": key_of(number).hex(), "power": power} for number, power in powers.items()]


def some_power(rng: random.Random, share: int) -> int:
    top = VOTING_POWER_MAX // share
    return rng.choice([1, 2, rng.randint(1, 100), rng.randint(1, 10**6), rng.randint(1, top), top])


def some_powers(rng: random.Random, size: int) -> Powers:
    kind = rng.randrange(3)
    if kind == 0:  # equal powers: ties all the way
        power = some_power(rng, size)
        return dict.fromkeys(range(size), power)
    if kind == 1:  # one that outweighs the rest
        return {0: VOTING_POWER_MAX - 10 * size} | {number: rng.randint(1, 10) for number in range(1, size)}
    return {number: some_power(rng, size) for number in range(size)}


def some_update(rng: random.Random, members: Powers) -> Powers:
    """Joins, leaves and changes; sometimes such as CometBFT refuses."""
    update: Powers = {}
    for _ in range(rng.randint(1, 4)):
        number = rng.choice([*members, max(members, default=0) + 1 + rng.randrange(3)])
        update[number] = 0 if rng.randrange(3) == 0 else some_power(rng, len(members) + 4)
    if rng.randrange(10) == 0:
        update = dict.fromkeys(members, 0)
    return update


def assert_same(found: ProposerSet, told: dict[str, Any]) -> None:
    expected = {one["address"]: (one["power"], one["priority"]) for one in told["validators"]}
    ours = {a.hex(): (p, q) for a, p, q in zip(found.addresses, found.powers, found.priorities, strict=True)}
    assert ours == expected
    assert found.leader.hex() == told["proposer"]
    assert [address.hex() for address in found.by_power()] == [one["address"] for one in told["validators"]]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 10, 30, 100, 150])
def test_a_set_that_stays_takes_turns_as_in_cometbft(oracle: Oracle, rng: random.Random, size: int) -> None:
    for _ in range(3):
        powers = some_powers(rng, size)
        steps = 60 if size < 100 else 20
        standings = oracle.call("priorities", validators=shown(powers), steps=[{"increment": 1}] * steps)
        found = new_set(by_address(powers))
        for told in standings:
            assert_same(found, told)
            found = found.step()


@pytest.mark.parametrize("size", [1, 2, 4, 10, 40])
def test_updates_give_cometbfts_priorities(oracle: Oracle, rng: random.Random, size: int) -> None:
    """What CometBFT refuses is refused here, and leaves the set as it was."""
    refusals = 0
    for _ in range(12):
        start = some_powers(rng, size)
        members, steps = dict(start), []
        found = [new_set(by_address(start))]
        for _ in range(25):
            update = some_update(rng, members) if rng.randrange(2) else {}
            steps.append({"update": shown(update), "increment": 1})
            try:
                found.append(found[-1].updated(by_address(update)).step())
                members = {number: power for number, power in (members | update).items() if power}
            except InvariantBroken:
                found.append(found[-1])
        standings = oracle.call("priorities", validators=shown(start), steps=steps)
        for at, (ours, told) in enumerate(zip(found, standings, strict=True)):
            refused = at > 0 and ours is found[at - 1]
            assert refused == ("refused" in told), (at, told, steps[at - 1])
            refusals += refused
            assert_same(ours, told)
    assert refusals > 5


@pytest.mark.parametrize("size", [1, 4, 20])
def test_updates_act_two_heights_later_as_in_cometbft(oracle: Oracle, rng: random.Random, size: int) -> None:
    """`Rotation` holds what CometBFT's state calls Validators and NextValidators."""
    start = {number: some_power(rng, 4 * size) for number in range(size)}  # room for those who join
    rotation, members, steps, ours = new_rotation(by_address(start)), dict(start), [{"increment": 1}], []
    for height in range(60):
        ours.append(rotation)
        update: Powers = {}
        if height % 3 == 0:
            update = {max(members) + 1: some_power(rng, 60), rng.choice(list(members)): 1}
        members |= update
        rotation = rotation.after(by_address(update))
        steps.append({"update": shown(update), "increment": 1})
    standings = oracle.call("priorities", validators=shown(start), steps=steps)
    for height, found in enumerate(ours):
        assert_same(found.current, standings[height])
        assert_same(found.following, standings[height + 1])


def test_later_rounds_are_led_as_in_cometbft(oracle: Oracle, rng: random.Random) -> None:
    """Rounds entered one by one, and the schedule of a set that stays."""
    for size in (1, 3, 4, 9):
        start = {number: rng.randint(1, 1_000) for number in range(size)}
        rotation = new_rotation(by_address(start))
        standings = oracle.call("priorities", validators=shown(start), steps=[{"increment": 1}] * 40)
        leaders = [told["proposer"] for told in standings]
        assert [rotation.leader(0, round_number).hex() for round_number in range(40)] == leaders[:40]
        assert [address.hex() for address in rotation.schedule(40)] == leaders[:40]
        assert [rotation.leader(height).hex() for height in range(40)] == leaders[:40]
