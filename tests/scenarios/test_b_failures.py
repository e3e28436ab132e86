"""Scenarios B without messages: one leg fails, and nothing of the bundle has happened anywhere."""

from __future__ import annotations

import pytest

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.native import keccak256
from plait.types import Comparison, Condition, ConditionKind
from sim.wallet import Wallet
from sim.workload import BURNING_CODE, REVERTING_CODE
from tests.scenarios.contracts import open_market, swap
from tests.scenarios.world import NOWHERE, USERS, A, B, C, World, calldata, fails_without_trace


@pytest.mark.parametrize("failing", [A, B, C])
def test_b01_a_leg_reverts(failing: int) -> None:
    """One of three legs reverts, the first, the middle or the last => nothing on any of the three rollups."""
    world = World(3)
    bench = world.deploy_everywhere("Workbench")
    good, bad = calldata("count()"), calldata("revertReason(string)", "no")
    legs = {
        i: [world.tx(i, 0, value=9), world.tx(i, 0, bench, bad if i == failing else good, after=1)] for i in world.ids
    }
    fails_without_trace(
        world, world.offer(legs), code="bundle_leg_failed", reason="reverted", rollup_id=failing, index=1
    )
    for rollup_id in world.ids:
        assert world.ask(rollup_id, bench, "counter()") == 0
        assert world.balance(rollup_id, NOWHERE) == 0
        assert world.nonce(rollup_id, USERS[0].address) == 0


def test_b01_allowed_to_revert() -> None:
    """The same leg with its revert allowed => the bundle takes place, the reverted transaction paid and used its nonce
    but changed nothing else."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    bad = world.tx(B, 0, bench, calldata("revertReason(string)", "no"), value=0)
    offer = world.offer({A: [world.tx(A, 0, value=9)], B: [bad]}, allowed={B: (0,)})
    before = world.balance(B, USERS[0].address)
    assert world.decide(offer).statuses(B) == [0]
    assert (world.nonce(B, USERS[0].address), world.balance(A, NOWHERE)) == (1, 9)
    assert 0 < before - world.balance(B, USERS[0].address) < 10**15, "the fee, and nothing else"
    assert world.ask(B, bench, "counter()") == 0


def test_b02_out_of_gas_on_the_second_rollup() -> None:
    """The second leg burns all of its gas => nothing on either; not even the gas is paid."""
    world = World()
    legs = {A: [world.tx(A, 0, value=9)], B: [world.tx(B, 0, b"", BURNING_CODE, gas=200_000)]}
    before = [world.balance(i, USERS[0].address) for i in (A, B)]
    fails_without_trace(world, world.offer(legs), code="bundle_leg_failed", reason="out_of_gas", rollup_id=B)
    assert [world.balance(i, USERS[0].address) for i in (A, B)] == before


@pytest.mark.parametrize("short", [1, 10**18])
def test_b03_insufficient_balance_on_the_second_rollup(short: int) -> None:
    """The sender cannot pay value and fee of the second leg, by one wei or by far => nothing on either."""
    world = World()
    poor = Wallet.of_index(2, "poor")
    world.happen(B, world.tx(B, 5, poor.address, value=10**18))
    gas, cap = 21_000, 10**10
    legs = {A: [world.tx(A, 0, value=9)], B: [world.tx(B, poor, value=10**18 - gas * cap + short, gas=gas)]}
    offer = world.offer(legs)
    fails_without_trace(world, offer, code="bundle_leg_failed", reason="insufficient_funds", rollup_id=B)
    assert world.balance(B, poor.address) == 10**18


def test_b04_the_last_check_fails_after_the_others_succeeded() -> None:
    """Both swaps succeed, the last transaction of the last leg checks the profit and reverts => both exchanges, all
    nonces and all balances as before."""
    world = World()
    token, exchange = open_market(world)
    offer = world.offer(
        {
            A: [world.tx(A, 0, exchange, swap(False, 10**17, 1, USERS[0].address), value=10**17)],
            B: [
                world.tx(B, 0, exchange, swap(False, 10**17, 1, USERS[0].address), value=10**17),
                world.tx(B, 0, b"", REVERTING_CODE, after=1),
            ],
        }
    )
    fails_without_trace(world, offer, code="bundle_leg_failed", reason="reverted", rollup_id=B, index=1)
    for rollup_id in (A, B):
        assert world.ask(rollup_id, exchange, "reserveBase()") == 10**19
        assert world.ask(rollup_id, token, "balanceOf(address)", USERS[0].address) == 0


@pytest.mark.parametrize("reenters", [False, True])
def test_b08_reentrance_is_refused(reenters: bool) -> None:
    """A trade pays ether to a contract that trades again from within => the exchange's guard reverts that, and with it
    the whole bundle: the trap keeps what it had, the trader's tokens were never minted. One that calls another contract
    from within does no harm."""
    world = World()
    token, exchange = open_market(world)
    bench = world.deploy_everywhere("Workbench")
    inner = (exchange, swap(False, 10**16, 1, USERS[1].address)) if reenters else (bench, calldata("count()"))
    trap = created_by(USERS[1].address, world.nonce(B, USERS[1].address))
    world.happen(B, world.tx(B, 1, b"", calling(*inner, 10**16), value=10**17))
    leg = [
        world.tx(B, 0, token, calldata("mint(address,uint256)", USERS[0].address, 10**18)),
        world.tx(B, 0, token, calldata("approve(address,uint256)", exchange, 10**18), after=1),
        world.tx(B, 0, exchange, swap(True, 10**17, 1, trap), after=2),
    ]
    offer = world.offer({A: [world.tx(A, 0, value=9)], B: leg})
    if not reenters:
        assert world.decide(offer).statuses(B) == [1, 1, 1]
        assert world.ask(B, bench, "counter()") == 1
        return
    fails_without_trace(world, offer, code="bundle_leg_failed", reason="reverted", rollup_id=B, index=2)
    assert world.balance(B, trap) == 10**17
    assert world.ask(B, token, "balanceOf(address)", USERS[0].address) == 0
    assert world.ask(B, exchange, "reserveQuote()") == 10**19


@pytest.mark.parametrize("fails", [False, True])
def test_b09_the_target_is_created_and_destroyed_within_the_bundle(fails: bool) -> None:
    """A leg creates a contract, uses it and destroys it, and creates another that stays => exactly that is left; when
    the other leg fails, neither contract ever existed."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    heir = bytes(19) + b"\x77"
    legs = {
        A: [
            world.tx(A, 0, bench, calldata("createAndDestroy(bytes32,address)", bytes(32), heir), value=70),
            world.tx(A, 0, bench, calldata("create2(bytes32,uint256,bool)", b"\1" * 32, 5, False), after=1, value=30),
        ],
        B: [world.tx(B, 0, b"", REVERTING_CODE) if fails else world.tx(B, 0, value=9)],
    }
    offer = world.offer(legs)
    if fails:
        fails_without_trace(world, offer, code="bundle_leg_failed", reason="reverted", rollup_id=B)
    else:
        assert world.decide(offer).statuses(A) == [1, 1]
    assert world.balance(A, heir) == (0 if fails else 70)
    made = world.ask(A, bench, "lastCreated()")
    assert (made == 0) == fails
    if not fails:
        assert world.ask(A, made.to_bytes(20, "big"), "stored()") == 5
        assert world.balance(A, made.to_bytes(20, "big")) == 30


@pytest.mark.parametrize(("value", "holds"), [(0, True), (1, False)])
@pytest.mark.parametrize("kind", ["balance", "storage"])
def test_b10_reading_another_rollup(kind: str, value: int, holds: bool) -> None:
    """A bundle on A that goes only if a balance or a storage cell on B has a value => it goes exactly when it has;
    reading changes nothing on B."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    storage = kind == "storage"
    condition = Condition(
        rollup_id=B,
        kind=ConditionKind(kind),
        address=bench if storage else NOWHERE,
        input=(1).to_bytes(32, "big") if storage else b"",
        comparison=Comparison.EQUAL,
        value=value,
    )
    offer = world.offer({A: [world.tx(A, 0, value=9)]}, conditions=(condition,))
    if not holds:
        fails_without_trace(world, offer, code="bundle_condition_false", rollup_id=B, index=0)
        assert world.nonce(A, USERS[0].address) == 0
        world.happen(B, world.tx(B, 1, bench, calldata("count()")), world.tx(B, 2, NOWHERE, value=1))
    before = world.nonce(B, USERS[0].address)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert (world.balance(A, NOWHERE), world.nonce(B, USERS[0].address)) == (9, before)


def created_by(sender: bytes, nonce: int) -> bytes:
    """Address of a contract that a transaction creates (Yellow Paper, 7)."""
    return keccak256(encode_list((encode_bytes(sender), encode_uint(nonce))))[12:]


def calling(target: bytes, data: bytes, value: int) -> bytes:
    """Init code of a contract that makes this call whenever it is called, and reverts if that reverts."""
    size = len(data).to_bytes(2, "big")
    paying = b"\x67" + value.to_bytes(8, "big")
    call = bytes.fromhex("5f5f61") + size + b"\x5f" + paying + b"\x73" + target + bytes.fromhex("5af1")
    head = 2 * 3 + 2 + len(call)
    end = bytes.fromhex("1560") + bytes([head + 5]) + bytes.fromhex("57005b5f5ffd")
    start = b"\x61" + size + b"\x61" + (head + len(end)).to_bytes(2, "big") + bytes.fromhex("5f39")
    code = start + call + end + data
    return bytes.fromhex("61") + len(code).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff3") + code
