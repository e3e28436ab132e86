"""An operator hears of a forced request before its deadline, when it is missed, claimed, and counted on L1."""

from __future__ import annotations

import msgspec
import pytest
from contracts_l1 import L1
from forced_world import CHALLENGE_S, ROLLUP_ID, WINDOW_S, Forced
from sub_blocks import account, ledger
from validators import raw

from plait.derivation.rollup_config import BlockId
from plait.derivation.system_config import SystemConfig
from plait.errors import L1Refused
from plait.l1.client import L1Client
from plait.l1.forced import read_forced
from plait.ledger.l1 import Epoch
from plait.ledger.state import LedgerState
from plait.node.forced_watch import ForcedWatch
from plait.types import Address, BlockNumber, Gas, Hash32

pytestmark = pytest.mark.node_js

SYSTEM = SystemConfig(
    batcher=Address(b"\x01" * 20),
    gas_limit=Gas(30_000_000),
    base_fee_scalar=0,
    blob_base_fee_scalar=0,
    eip1559_denominator=250,
    eip1559_elasticity=6,
)


@pytest.fixture
def world(l1: L1) -> Forced:
    return Forced(l1)


class Followed:
    """A ledger whose rollup has adopted L1 blocks up to some number, and a watch over it."""

    def __init__(self, world: Forced, client: L1Client, acknowledged: dict[int, int] | None = None) -> None:
        self.state = ledger({account(1): 1})
        self.watch = ForcedWatch(
            client=client,
            contract=raw(world.desk.address),
            ledger=lambda: self.state,
            acknowledged=acknowledged or {},
        )

    def adopt(self, origin: int, *, sealed: bool) -> None:
        """The rollup's newest epoch begins with its block 5 on this origin; block 5 is sealed, or open."""
        self.state = adopted(self.state, origin, sealed=sealed)

    async def codes(self) -> set[str]:
        """Codes of what is wrong after one look."""
        while await self.watch.step():
            pass
        assert len(self.watch.reasons) == len(self.watch.alarms)
        return {alarm.code for alarm in self.watch.alarms}


def adopted(state: LedgerState, origin: int, *, sealed: bool) -> LedgerState:
    epochs = (
        Epoch(first_block=BlockNumber(0), origin=BlockId(BlockNumber(0), Hash32(bytes(32))), system=SYSTEM),
        Epoch(first_block=BlockNumber(5), origin=BlockId(BlockNumber(origin), Hash32(bytes(32))), system=SYSTEM),
    )
    head = BlockNumber(5 if sealed else 4)
    records = tuple(
        msgspec.structs.replace(one, epochs=epochs, head_number=head) if one.rollup_id == ROLLUP_ID else one
        for one in state.rollups
    )
    return msgspec.structs.replace(state, rollups=records)


async def test_a_request_that_is_sealed_in_time_raises_nothing(l1: L1, world: Forced) -> None:
    """Once the block that derivation puts it into is sealed, deadlines pass in silence."""
    async with L1Client(l1.url) as client:
        followed = Followed(world, client)
        assert await followed.codes() == set()
        world.force()
        followed.adopt(l1.web3.eth.block_number, sealed=True)
        assert await followed.codes() == set()
        l1.warp(WINDOW_S + 1)
        assert await followed.codes() == set()


async def test_a_missed_deadline_is_an_alarm_at_every_stage(l1: L1, world: Forced) -> None:
    """Near, missed, claimed, counted: each with a sentence that says what to do, each left again."""
    async with L1Client(l1.url) as client:
        followed = Followed(world, client)
        followed.adopt(0, sealed=True)
        world.force()
        at = l1.web3.eth.block_number
        assert await followed.codes() == set()
        l1.warp(WINDOW_S * 3 // 4 + 10)
        assert await followed.codes() == {"forced_inclusion_due"}
        followed.adopt(at, sealed=False)
        l1.warp(WINDOW_S // 4 + 10)
        assert await followed.codes() == {"forced_inclusion_missed"}
        assert f"Rollup {ROLLUP_ID} missed the deadline of 1 forced requests" in followed.watch.reasons[0]
        l1.send(world.functions.claim(1), sender=1, value=10**17)
        assert await followed.codes() == {"forced_inclusion_missed", "forced_inclusion_claimed"}
        l1.warp(CHALLENGE_S + 1)
        l1.send(world.functions.settle(1))
        assert await followed.codes() == {"forced_inclusion_overdue"}
        assert "governance" in followed.watch.reasons[0]
        assert followed.watch.statistics()["overdue"] == 1
        assert await Followed(world, client, {int(ROLLUP_ID): 1}).codes() == set()


async def test_a_false_claim_is_announced_although_the_request_was_sealed(l1: L1, world: Forced) -> None:
    """Somebody must answer it on L1, or it stands; after the proof there is nothing left to say."""
    async with L1Client(l1.url) as client:
        followed = Followed(world, client)
        _, receipt = world.force()
        proof = world.included(receipt)
        followed.adopt(l1.web3.eth.block_number, sealed=True)
        assert await followed.codes() == set()
        l1.warp(WINDOW_S + 1)
        l1.send(world.functions.claim(1), sender=1, value=10**17)
        assert await followed.codes() == {"forced_inclusion_claimed"}
        l1.send(world.prove(1, proof))
        assert await followed.codes() == set()


async def test_many_requests_are_read_in_bounded_looks(l1: L1, world: Forced) -> None:
    """What is watched is bounded, whatever is requested; a reorganisation that takes requests back is followed."""
    async with L1Client(l1.url) as client:
        followed = Followed(world, client)
        followed.adopt(0, sealed=True)
        world.force()
        before = l1.rpc("evm_snapshot")
        for _ in range(5):
            world.force()
        assert await followed.codes() == set()
        assert followed.watch.statistics()["waiting"] == 6
        l1.rpc("evm_revert", before)
        await followed.codes()
        assert followed.watch.statistics()["waiting"] == 1
        state = await read_forced(
            client, raw(world.desk.address), numbers=[1, 7], new_from=1, new_max=3, rollups=[int(ROLLUP_ID)]
        )
        assert [one.number for one in state.requests] == [1]


async def test_another_contract_is_named_as_such(l1: L1, world: Forced) -> None:
    """A wrong address is a reason with a code, and nothing else of the node depends on it."""
    async with L1Client(l1.url) as client:
        watch = ForcedWatch(
            client=client, contract=raw(world.portal.address), ledger=lambda: ledger({}), acknowledged={}
        )
        assert not await watch.step()
        assert [alarm.code for alarm in watch.alarms] == ["l1_contract_wrong"]
        with pytest.raises(L1Refused):
            await read_forced(client, Address(bytes(20)), numbers=(), new_from=1, new_max=1, rollups=())
