"""Scenarios A: what a bundle is for, and that all of it takes place."""

from __future__ import annotations

from plait.rollups.contracts import artifact
from sim.wallet import Wallet
from tests.scenarios.contracts import handle, open_market
from tests.scenarios.world import NOWHERE, USERS, A, B, World, calldata, fails_without_trace


def test_a01_two_legs_no_messages() -> None:
    """Two transfers on two rollups in one bundle => both in the same sub-block; value moved, one nonce used on each."""
    world = World()
    before = [world.balance(rollup_id, USERS[0].address) for rollup_id in (A, B)]
    offer = world.offer({A: [world.tx(A, 0, value=5)], B: [world.tx(B, 0, value=7)]})
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert (world.balance(A, NOWHERE), world.balance(B, NOWHERE)) == (5, 7)
    for rollup_id, value, had in ((A, 5, before[0]), (B, 7, before[1])):
        assert world.nonce(rollup_id, USERS[0].address) == 1
        assert world.balance(rollup_id, USERS[0].address) < had - value, "the fee is paid on each rollup"
    roots = world.seal()
    assert roots[A] != roots[B]
    assert world.there(offer) == {True}


def test_a07_the_same_call_twice_in_one_bundle() -> None:
    """One leg calls `count` twice with the next two nonces => both count; the state is that of two calls."""
    world = World()
    bench = world.deploy(A, "Workbench")
    count = calldata("count()")
    offer = world.offer({A: [world.tx(A, 0, bench, count), world.tx(A, 0, bench, count, after=1)], B: [world.tx(B, 0)]})
    assert world.decide(offer).statuses(A) == [1, 1]
    assert world.ask(A, bench, "counter()") == 2
    assert world.nonce(A, USERS[0].address) == 2
    world.seal()


def test_a08_two_different_targets() -> None:
    """A leg calls two contracts, the other leg a third => each has counted its own call."""
    world = World()
    first, second, third = world.deploy(A, "Workbench"), world.deploy(A, "Workbench"), world.deploy(B, "Workbench")
    count = calldata("count()")
    offer = world.offer(
        {
            A: [world.tx(A, 0, first, count), world.tx(A, 0, second, count, after=1)],
            B: [world.tx(B, 1, third, count)],
        }
    )
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert [world.ask(A, first, "counter()"), world.ask(A, second, "counter()")] == [1, 1]
    assert world.ask(B, third, "counter()") == 1
    assert (world.nonce(A, USERS[0].address), world.nonce(B, USERS[1].address)) == (2, 1)


def test_a12_sponsored_legs() -> None:
    """An owner without any ether acts on two rollups; a sponsor's deposit pays the bundler, whose bundle has both legs
    => both acts happened, the sponsor paid both prices, the owner's accounts still hold nothing."""
    world = World()
    entry = world.deploy_everywhere("Operations")
    bench = world.deploy_everywhere("Workbench")
    owner, sponsor, bundler = Wallet.of_index(1, "owner without ether"), USERS[1], USERS[2]
    for rollup_id in world.ids:
        world.happen(rollup_id, world.tx(rollup_id, sponsor, entry, calldata("deposit()"), value=10**16))
    legs = {i: [world.tx(i, bundler, entry, handle(i, entry, owner, bench, sponsor=sponsor.address))] for i in (A, B)}
    offer = world.offer(legs)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    for rollup_id in (A, B):
        assert world.ask(rollup_id, bench, "counter()") == 1
        assert world.ask(rollup_id, entry, "deposits(address)", sponsor.address) == 10**16 - 10**15
        assert world.ask(rollup_id, entry, "nonces(address)", owner.address) == 1
        assert (world.balance(rollup_id, owner.address), world.nonce(rollup_id, owner.address)) == (0, 0)


def test_a12_sponsored_legs_failing_twin() -> None:
    """The sponsor's deposit on the second rollup is too small => the first rollup's operation did not happen either:
    nonces of owner and bundler, deposits and roots as if the bundle had never been sent."""
    world = World()
    entry = world.deploy_everywhere("Operations")
    bench = world.deploy_everywhere("Workbench")
    owner, sponsor, bundler = Wallet.of_index(1, "owner without ether"), USERS[1], USERS[2]
    for rollup_id, value in ((A, 10**16), (B, 10**14)):
        world.happen(rollup_id, world.tx(rollup_id, sponsor, entry, calldata("deposit()"), value=value))
    legs = {i: [world.tx(i, bundler, entry, handle(i, entry, owner, bench, sponsor=sponsor.address))] for i in (A, B)}
    fails_without_trace(world, world.offer(legs), code="bundle_leg_failed", reason="reverted", rollup_id=B)
    for rollup_id, deposit in ((A, 10**16), (B, 10**14)):
        assert world.ask(rollup_id, bench, "counter()") == 0
        assert world.ask(rollup_id, entry, "deposits(address)", sponsor.address) == deposit
        assert world.ask(rollup_id, entry, "nonces(address)", owner.address) == 0
        assert world.nonce(rollup_id, bundler.address) == 0


def test_a13_a_leg_of_several_transactions() -> None:
    """Approve and swap on one rollup, approve and swap back on the other, each step needing the one before => the
    trader's tokens moved as the exchange computes, reserves agree with balances."""
    world = World()
    token, exchange = open_market(world)
    bought = world.ask(A, exchange, "amountOutFor(bool,uint256)", False, 10**17)
    buy = calldata("swap(bool,uint256,uint256,address,uint256)", False, 10**17, bought, USERS[0].address, 2**40)
    approve = calldata("approve(address,uint256)", exchange, 10**20)
    sell = calldata("swap(bool,uint256,uint256,address,uint256)", True, 10**17, 1, USERS[0].address, 2**40)
    offer = world.offer(
        {
            A: [world.tx(A, 0, exchange, buy, value=10**17)],
            B: [
                world.tx(B, 0, token, calldata("mint(address,uint256)", USERS[0].address, 10**18)),
                world.tx(B, 0, token, approve, after=1),
                world.tx(B, 0, exchange, sell, after=2),
            ],
        }
    )
    assert world.decide(offer).statuses(B) == [1, 1, 1]
    assert world.ask(A, token, "balanceOf(address)", USERS[0].address) == bought
    assert world.ask(B, token, "balanceOf(address)", USERS[0].address) == 10**18 - 10**17
    for rollup_id in (A, B):
        held = world.ask(rollup_id, token, "balanceOf(address)", exchange)
        assert world.ask(rollup_id, exchange, "reserveBase()") == held
        assert world.ask(rollup_id, exchange, "reserveQuote()") == world.balance(rollup_id, exchange)
    assert (world.nonce(A, USERS[0].address), world.nonce(B, USERS[0].address)) == (1, 3)


def test_a14_bundles_of_both_directions_in_one_block() -> None:
    """One bundle pays on the first rollup and acts on the second, another the other way round, in one sub-block => both
    take place, in the order of their arrival on both rollups."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    count = calldata("count()")
    there = world.offer({A: [world.tx(A, 0, value=1)], B: [world.tx(B, 0, bench, count)]}, ready_ms=2)
    back = world.offer({A: [world.tx(A, 1, bench, count)], B: [world.tx(B, 1, value=1)]}, ready_ms=1)
    decided = world.decide(there, back)
    assert decided.bundles == [back.bundle.hash, there.bundle.hash]
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [1, 1]
    assert [world.balance(i, NOWHERE) for i in (A, B)] == [1, 1]
    for part in decided.effect.rollups:
        assert [t.sender for t in part.transactions] == [USERS[1].address, USERS[0].address]


def test_a15_local_transactions_and_bundles_of_one_account() -> None:
    """An account has a bundle with nonce 0 and plain transactions with nonces 0, 1 and 2 => the bundle uses nonce 0,
    those with 1 and 2 follow in the same sub-block, the one that lost its nonce is dropped."""
    world = World()
    offer = world.offer({A: [world.tx(A, 0, value=100)], B: [world.tx(B, 0, value=100)]})
    plain = {A: [world.tx(A, 0, value=1 + n, after=n) for n in range(3)]}
    decided = world.decide(offer, plain=plain)
    assert decided.bundles == [offer.bundle.hash]
    assert decided.dropped == [(A, "nonce_too_low")]
    assert world.balance(A, NOWHERE) == 100 + 2 + 3
    assert (world.nonce(A, USERS[0].address), world.nonce(B, USERS[0].address)) == (3, 1)
    world.seal()


def test_artifacts_of_the_suite_are_there() -> None:
    """The suite's own contracts are compiled by the project's pipeline."""
    assert all(artifact(name).runtime_code for name in ("Itinerary", "Operations"))
