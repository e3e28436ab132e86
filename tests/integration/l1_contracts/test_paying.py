"""Whoever pays for checkpoints sends one transaction at a time, loses none, and believes nobody: on real anvil."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from contracts_l1 import CHAIN_ID, L1
from validators import DAY, TRUST_S, Member, Registry, members, raw

from plait.errors import CodecError
from plait.l1.attestations import L1Contract, attest, in_order, set_hash
from plait.l1.client import L1Client
from plait.l1.gathering import Attestations, CheckpointClaim, SetClaim, from_json, gather, has_quorum, to_json
from plait.l1.registry import RegistryState, read_attesters, read_checkpoints, read_registry
from plait.node.l1_paying import CheckpointPayer
from plait.rollups.batcher.l1_sender import SenderSettings
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, Hash32, Height

pytestmark = pytest.mark.node_js

PAYER = DEVELOPMENT_ACCOUNTS[9]
IMPATIENT = SenderSettings(bump_after_s=0, resend_after_s=0)
APP_HASH = Hash32(b"\x11" * 32)


class World:
    """A registry, and what its validators attest."""

    def __init__(self, l1: L1, client: L1Client) -> None:
        self.l1 = l1
        self.client = client
        self.registry = Registry(l1)
        self.contract = L1Contract(CHAIN_ID, raw(self.registry.contract.address))

    async def state(self) -> RegistryState:
        return await read_registry(self.client, self.contract)

    def says(
        self,
        state: RegistryState,
        member: Member,
        checkpoints: Sequence[tuple[int, Hash32]] = (),
        following: tuple[int, Sequence[Member]] | None = None,
    ) -> Attestations:
        """What a validator's node serves."""
        sets: tuple[SetClaim, ...] = ()
        if following is not None:
            validators = in_order(one.validator for one in following[1])
            digest = state.set_digest(Height(following[0]), validators)
            sets = (SetClaim(Height(following[0]), validators, attest(member.key, digest)),)
        return Attestations(
            chain_id=CHAIN_ID,
            registry=self.contract.address,
            network_id=state.network_id,
            epoch=state.epoch,
            attester=member.validator.operator,
            current=tuple(one.validator for one in self.registry.set),
            checkpoints=tuple(
                CheckpointClaim(Height(at), found, attest(member.key, state.checkpoint_digest(Height(at), found)))
                for at, found in checkpoints
            ),
            sets=sets,
        )

    def payer(
        self, directory: Path | None = None, settings: SenderSettings = IMPATIENT, **more: Any
    ) -> CheckpointPayer:
        return CheckpointPayer(self.client, (), PAYER.private_key, directory=directory, settings=settings, **more)

    def nonce(self) -> int:
        return int(self.l1.web3.eth.get_transaction_count(PAYER.address_text))


@contextlib.asynccontextmanager
async def world_on(l1: L1) -> AsyncIterator[World]:
    async with L1Client(l1.url) as client:
        yield await asyncio.to_thread(World, l1, client)


async def landed(payer: CheckpointPayer) -> None:
    """Waits until what was sent is in a block: anvil mines it a moment after it has taken it."""
    for _ in range(200):
        if await payer.follow():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not included within 10 s")


async def test_a_quorum_is_committed_once(l1: L1) -> None:
    """Two of four are too few, three are enough, and what is committed is not paid for again."""
    async with world_on(l1) as world:
        state, payer = await world.state(), world.payer()
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        assert await payer.pay(state, said[:2], (), {}) is None
        assert payer.signed == {"checkpoint 8": 50}
        assert await payer.pay(state, said[:3], (), {}) == "checkpoint 8"
        await landed(payer)
        state = await world.state()
        assert await read_checkpoints(world.client, state, [Height(8), Height(9)]) == [APP_HASH, None]
        for _ in range(3):
            assert await payer.pay(await world.state(), said, (), {}) is None
        assert world.nonce() == 1


async def test_what_cannot_be_sent_is_offered_at_higher_fees_and_survives_a_kill(l1: L1, tmp_path: Path) -> None:
    """L1 takes no transaction for a while: the same one is offered more, over a restart, and nothing beside it."""
    async with world_on(l1) as world:
        state = await world.state()
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        l1.rpc("evm_setAutomine", False)
        try:
            first = world.payer(tmp_path)
            assert await first.pay(state, said, (), {}) == "checkpoint 8"
            for _ in range(3):
                assert not await first.follow()
                assert await first.pay(state, said, (), {}) is None, "a second one is on its way"
            assert first.statistics()["fee_bumps"] >= 2
            second = world.payer(tmp_path)
            assert not await second.follow()
            assert await second.pay(state, said, (), {}) is None
        finally:
            l1.rpc("evm_setAutomine", True)
        l1.rpc("evm_mine")
        await landed(second)
        assert world.nonce() == 1
        assert await read_checkpoints(world.client, await world.state(), [Height(8)]) == [APP_HASH]


async def test_a_reorganisation_of_l1_takes_nothing_away(l1: L1, tmp_path: Path) -> None:
    """A commitment whose block is gone is sent again by itself."""
    async with world_on(l1) as world:
        state, payer = await world.state(), world.payer(tmp_path)
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        before = l1.rpc("evm_snapshot")
        assert await payer.pay(state, said, (), {}) == "checkpoint 8"
        await landed(payer)
        l1.rpc("evm_revert", before)
        l1.rpc("evm_mine")
        l1.rpc("evm_mine")
        assert await read_checkpoints(world.client, await world.state(), [Height(8)]) == [None]
        await landed(payer)
        assert await read_checkpoints(world.client, await world.state(), [Height(8)]) == [APP_HASH]


async def test_sets_follow_and_take_turns_with_checkpoints(l1: L1) -> None:
    """A set is committed although there is always a newer checkpoint; afterwards its signatures are worth nothing."""
    async with world_on(l1) as world:
        payer, done = world.payer(), []
        after = members((10, 20, 30), first=7)
        for height in range(8, 12):
            state = await world.state()
            said = [world.says(state, one, [(height, APP_HASH)], (height + 1, after)) for one in world.registry.set]
            done.append(await payer.pay(state, said, (), {}))
            await landed(payer)
            if (await world.state()).epoch > 1:
                break
        assert done[0] == "checkpoint 8"
        assert str(done[1]).startswith("set 10 ")
        state = await world.state()
        assert state.set_hash == set_hash(in_order(one.validator for one in after))
        assert await payer.pay(state, said, (), {}) is None


async def test_another_state_than_our_own_is_never_paid_for(l1: L1) -> None:
    """A quorum for another app hash, decided or committed, is told and not committed."""
    async with world_on(l1) as world:
        state, payer = await world.state(), world.payer()
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        assert await payer.pay(state, said, (), {Height(8): Hash32(b"\x22" * 32)}) is None
        assert payer.contradiction == 8
        assert await payer.pay(state, said, (), {Height(8): APP_HASH}) == "checkpoint 8"
        await landed(payer)
        other = [world.says(state, one, [(8, Hash32(b"\x33" * 32))]) for one in world.registry.set]
        assert await payer.pay(await world.state(), other, (), {}) is None
        assert payer.contradiction == 8
        assert world.registry.functions.conflictHeight().call() == 0


async def test_an_expired_set_is_told_by_its_state(l1: L1) -> None:
    """Trust runs out on L1's clock."""
    async with world_on(l1) as world:
        assert not (await world.state()).expired
        l1.warp(TRUST_S - DAY)
        found = await world.state()
        assert (found.expired, found.used_percent) == (False, 85)
        l1.warp(2 * DAY)
        assert (await world.state()).expired


async def test_an_empty_account_is_named(l1: L1) -> None:
    """Who cannot pay is told to get ether, and sends once it has some."""
    async with world_on(l1) as world:
        state, payer = await world.state(), world.payer()
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        l1.rpc("anvil_setBalance", PAYER.address_text, "0x1")
        await payer.pay(state, said, (), {})
        assert payer.problem is not None
        assert payer.problem.code == "l1_payer_funds_missing"
        l1.rpc("anvil_setBalance", PAYER.address_text, hex(10**20))
        await landed(payer)
        assert payer.problem is None
        assert await read_checkpoints(world.client, await world.state(), [Height(8)]) == [APP_HASH]


async def test_a_node_that_pays_later_waits_for_others(l1: L1) -> None:
    """`pay_after_s` counts from when a call could be sent."""
    async with world_on(l1) as world:
        now = [100.0]
        state, payer = await world.state(), world.payer(pay_after_s=30, clock=lambda: now[0])
        said = [world.says(state, one, [(8, APP_HASH)]) for one in world.registry.set]
        assert await payer.pay(state, said, (), {}) is None
        now[0] += 29
        assert await payer.pay(state, said, (), {}) is None
        now[0] += 1
        assert await payer.pay(state, said, (), {}) == "checkpoint 8"


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_not_signed_by_the_set_counts_nothing(l1: L1, seed: int) -> None:
    """Answers with a byte or a field changed at random are refused, or change no count. Replay: -k nothing[SEED]."""
    random = Random(seed)
    async with world_on(l1) as world:
        state = await world.state()
        validators = [one.validator for one in world.registry.set]
        keys = await read_attesters(world.client, state, [one.operator for one in validators])
        places = {key: place for place, key in enumerate(keys)}
        after = members((10, 20), first=9)
        honest = [world.says(state, one, [(8, APP_HASH)], (9, after)) for one in world.registry.set[:3]]
        right = gather(state, validators, places, honest)
        assert [has_quorum(validators, one) for one in (*right.checkpoints, *right.sets)] == [True, True]
        refused = 0
        for _ in range(150):
            broken = [damaged(random, to_json(one)) for one in honest]
            try:
                read = [from_json(one) for one in broken]
            except CodecError:
                refused += 1
                continue
            found = gather(state, validators, places, read)
            for votes in found.checkpoints:
                for place, signature in votes.signatures.items():
                    assert votes.height == 8
                    assert votes.app_hash == APP_HASH
                    assert signature == honest[place].checkpoints[0].signature, f"seed {seed}"
            for chosen in found.sets:
                assert chosen.validators == right.sets[0].validators
        assert 0 < refused < 150, f"seed {seed}"
        stranger = world.says(state, members((1,), first=50)[0], [(8, APP_HASH)])
        assert gather(state, validators, places, [stranger]).checkpoints == ()
        earlier = msgspec.structs.replace(honest[0], epoch=state.epoch + 1)
        assert gather(state, validators, places, [earlier]).checkpoints == ()
        posing = msgspec.structs.replace(honest[0], attester=honest[1].attester)
        assert gather(state, validators, places, [posing]).checkpoints == ()
        assert Address(bytes(20)) not in places


def damaged(random: Random, answer: Any) -> Any:
    """The answer with one place of it changed."""
    if isinstance(answer, dict) and answer:
        key = random.choice(sorted(answer))
        return {**answer, key: damaged(random, answer[key])}
    if isinstance(answer, list | tuple) and answer:
        at = random.randrange(len(answer))
        return [*answer[:at], damaged(random, answer[at]), *answer[at + 1 :]]
    if isinstance(answer, int):
        return answer + random.choice((-1, 1, 2**64))
    if isinstance(answer, str) and len(answer) > 2:
        at = random.randrange(len(answer))
        return answer[:at] + random.choice("0123456789abcdefxg") + answer[at + 1 :]
    return random.choice((None, [], {}, "0x", -1))
