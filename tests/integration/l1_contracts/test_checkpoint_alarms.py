"""What an operator of a validator hears of the registry on L1, and when it is over."""

from __future__ import annotations

import pytest
from contracts_l1 import L1
from sub_blocks import account, ledger
from validators import NETWORK_ID, TRUST_S, Registry, key_of, members, raw

from plait.l1.attestations import L1Contract
from plait.l1.client import L1Client
from plait.node.l1_checkpoints import MISSING_S, L1Checkpoints
from plait.node.l1_paying import CheckpointPayer
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, Hash32, Height, NetworkId

pytestmark = pytest.mark.node_js

CHAIN_ID = 900
STATE = ledger({account(1): 1})


def service(
    client: L1Client, address: str, *, network: int = NETWORK_ID, key: bytes | None = None, paying: bool = False
) -> tuple[L1Checkpoints, list[float]]:
    """A service over a registry, and the clock that it looks at."""
    now = [1_000.0]
    return (
        L1Checkpoints(
            client=client,
            contract=L1Contract(CHAIN_ID, raw(address)),
            network_id=NetworkId(network),
            interval_heights=4,
            ledger=STATE,
            key=key_of(0) if key is None else key,
            payer=CheckpointPayer(client, (), DEVELOPMENT_ACCOUNTS[9].private_key) if paying else None,
            clock=lambda: now[0],
        ),
        now,
    )


async def codes(one: L1Checkpoints) -> list[str]:
    await one.step()
    found = one.status()["alarms"]
    assert [alarm["message"] for alarm in found] == list(one.reasons)
    return [alarm["code"] for alarm in found]


async def test_trust_that_runs_out_is_announced_before_it_has(l1: L1) -> None:
    """Nothing at first; a warning from three quarters of the period on; then that only the timelock can help."""
    registry = Registry(l1)
    async with L1Client(l1.url) as client:
        one, _ = service(client, registry.contract.address)
        assert await codes(one) == []
        l1.warp(TRUST_S * 3 // 4 + 60)
        assert await codes(one) == ["l1_set_expires"]
        l1.warp(TRUST_S // 4)
        assert await codes(one) == ["l1_set_expired"]
        assert "timelock" in one.reasons[0]
        found = one.attestations()
        assert found is not None
        assert found.checkpoints == found.sets == (), "signed for a registry that takes nothing"
        l1.send(registry.by_timelock("restart", registry.listed(), 2))
        assert await codes(one) == []


async def test_a_halted_registry_is_an_alarm_and_gets_no_signature(l1: L1) -> None:
    """Two states of one height were signed: the sentence names the height."""
    registry = Registry(l1)
    async with L1Client(l1.url) as client:
        one, _ = service(client, registry.contract.address)
        one.on_decided(Height(8), Hash32(b"\x01" * 32), STATE)
        await one.step()
        found = one.attestations()
        assert found is not None
        assert [claim.height for claim in found.checkpoints] == [8]
        for app_hash in (b"\x01" * 32, b"\x02" * 32):
            l1.send(registry.checkpoint(4, app_hash))
        assert await codes(one) == ["l1_registry_halted"]
        assert "height 4" in one.reasons[0]
        found = one.attestations()
        assert found is not None
        assert found.checkpoints == ()


async def test_what_is_configured_wrongly_is_named(l1: L1) -> None:
    """Another contract, another network's registry, an L1 that is gone: each has its code, and none stops anything."""
    registry = Registry(l1)
    async with L1Client(l1.url) as client:
        one, _ = service(client, registry.timelock.address)
        assert await codes(one) == ["l1_contract_wrong"]
        one, _ = service(client, registry.contract.address, network=NETWORK_ID + 1)
        assert await codes(one) == ["l1_registry_of_another_network"]
    async with L1Client("http://127.0.0.1:9", attempts_max=1) as client:
        one, _ = service(client, registry.contract.address)
        assert await codes(one) == ["l1_unreachable"]


async def test_only_points_of_the_interval_are_signed_and_few_are_held(l1: L1) -> None:
    """Heights between are passed over; what is on L1 already is not signed again."""
    registry = Registry(l1)
    async with L1Client(l1.url) as client:
        one, _ = service(client, registry.contract.address)
        for height in range(1, 101):
            one.on_decided(Height(height), Hash32(height.to_bytes(32, "big")), STATE)
        await one.step()
        found = one.attestations()
        assert found is not None
        assert [claim.height for claim in found.checkpoints] == [72, 76, 80, 84, 88, 92, 96, 100]
        assert one.proven_point() is None
        l1.send(registry.checkpoint(96, (96).to_bytes(32, "big")))
        await one.step()
        found = one.attestations()
        assert found is not None
        assert 96 not in [claim.height for claim in found.checkpoints]
        point = one.proven_point()
        assert point is not None
        assert point.height == 96


async def test_a_quorum_that_does_not_come_is_announced(l1: L1) -> None:
    """The node that pays says after a while how much was signed; without a set it says that nobody knows it."""
    registry = Registry(l1)
    async with L1Client(l1.url) as client:
        one, now = service(client, registry.contract.address, paying=True)
        assert await codes(one) == []
        one.on_decided(Height(8), Hash32(b"\x01" * 32), STATE)
        assert await codes(one) == ["l1_set_unknown"]
        now[0] += MISSING_S
        assert await codes(one) == ["l1_set_unknown", "l1_quorum_missing"]
        assert Address(bytes(20)) != members((1,))[0].validator.operator
