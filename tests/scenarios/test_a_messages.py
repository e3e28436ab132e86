"""Scenarios A with messages: what one rollup sends is used on another within the same sub-block."""

from __future__ import annotations

import pytest

from plait.interop.messages import ETH_BRIDGE, ETH_LIQUIDITY, MESSENGER, TOKEN_BRIDGE
from tests.scenarios.contracts import hop, open_market, start, swap
from tests.scenarios.messages import delivered, foreseen, relaying, send
from tests.scenarios.world import USERS, A, B, C, D, World, calldata, fails_without_trace

COUNT = calldata("count()")
REWRITE = calldata("fill(uint256,uint256,uint256)", 7, 1, 0)[:-32]
"""Workbench: cell 7 becomes the word that is appended."""


@pytest.mark.parametrize("required", [False, True])
def test_a02_a_message(required: bool) -> None:
    """A leg on A calls a contract on B by message => it is called in the same sub-block: within the bundle when that is
    required, else by a relay after everything else; the messenger of B says that it was delivered."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [world.tx(B, 0, value=5)]}
    decided = world.decide(world.offer(legs, delivery_required=required))
    (bundle,) = decided.effect.bundles
    assert [rollup_id for rollup_id, _ in bundle.deliveries] == ([B] if required else [])
    assert decided.statuses(B) == [1, 1], "the leg, and the delivery"
    assert world.ask(B, bench, "counter()") == 1
    assert delivered(world, message)
    assert world.waiting == []
    world.seal()


def test_a02_a_message_without_a_relayer_stays_available() -> None:
    """Nobody relays in this slot => the message waits, as in the OP Stack: anybody delivers it in a later block."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    world.happen(A, world.tx(A, 0, MESSENGER, send(B, bench, COUNT)))
    world.seal()
    assert (world.ask(B, bench, "counter()"), delivered(world, message)) == (0, False)
    world.happen(B, relaying(world, 3, message))
    assert (world.ask(B, bench, "counter()"), delivered(world, message)) == (1, True)


def test_a03_the_answer_is_used_in_a_second_call() -> None:
    """A asks B, takes B's answer home and calls B again with it => all three messages in one sub-block; B holds what it
    had answered itself."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    world.happen(B, *(world.tx(B, 5, bench, COUNT, after=n) for n in range(4)))
    journey = [
        hop(B, bench, COUNT),
        hop(A, travel, calldata("echo(uint256)", 0)[:-32], feed=True),
        hop(B, bench, REWRITE, feed=True),
    ]
    offer = world.offer({A: [world.tx(A, 0, travel, start(journey))]}, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert len(decided.effect.delivered) == 3
    assert world.ask(B, bench, "cells(uint256)", 7) == 5
    assert [world.ask(i, travel, "arrivals()") for i in (A, B)] == [1, 2]


def test_a04_one_rollup_reaches_three_others() -> None:
    """One transaction on A sends a message to each of B, C and D => each has been called once in the same sub-block."""
    world = World(4, relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    journeys = [[hop(rollup_id, bench, COUNT)] for rollup_id in (B, C, D)]
    offer = world.offer({A: [world.tx(A, 0, travel, start(*journeys))]}, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert [world.ask(i, bench, "counter()") for i in world.ids] == [0, 1, 1, 1]
    assert [rollup_id for rollup_id, _ in decided.effect.bundles[0].deliveries] == [B, C, D]


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("depth", [2, 3, 5, 10])
def test_a05_ping_pong(depth: int, required: bool) -> None:
    """A call goes back and forth `depth` times => every arrival is in the same sub-block, in order, and the last has
    what the first one began with."""
    world = World(relay="free")
    travel = world.deploy_everywhere("Itinerary")
    echo = calldata("echo(uint256)", 0)[:-32]
    journey = [
        hop((A, B)[(1 + n) % 2], travel, calldata("echo(uint256)", 77) if n == 0 else echo, feed=n > 0)
        for n in range(depth)
    ]
    offer = world.offer({A: [world.tx(A, 0, travel, start(journey), gas=2_000_000)]}, delivery_required=required)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert len(decided.effect.delivered) == depth
    assert sum(world.ask(i, travel, "arrivals()") for i in (A, B)) == depth
    last = (A, B)[depth % 2]
    assert (world.ask(last, travel, "ended()"), world.ask(last, travel, "answer()")) == (1, 77)
    world.seal()


def test_a06_a_call_back_while_the_caller_waits() -> None:
    """B calls back a contract on A whose journey has not ended => the call back sees what the first transaction stored
    (its journey has begun), not what it kept for itself alone (transient storage), for it is another transaction."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    begun, here = calldata("begun()"), calldata("beganHere()")
    journeys = [
        [hop(A, travel, here), hop(A, bench, calldata("fill(uint256,uint256,uint256)", 1, 1, 0)[:-32], feed=True)],
        [hop(B, bench, COUNT), hop(A, travel, begun), hop(A, bench, REWRITE, feed=True)],
        [hop(B, bench, COUNT), hop(A, travel, here)],
    ]
    offer = world.offer({A: [world.tx(A, 0, travel, start(*journeys), gas=3_000_000)]}, delivery_required=True)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert world.ask(A, bench, "cells(uint256)", 1) == 1, "within the first transaction its transient state is there"
    assert world.ask(A, bench, "cells(uint256)", 7) == 3, "stored state of the first transaction is seen from B"
    assert world.ask(A, travel, "answer()") == 0, "its transient state is gone"


@pytest.mark.parametrize(("least", "called"), [(1, True), (2, False)])
def test_a09_a_second_call_that_depends_on_the_answer(least: int, called: bool) -> None:
    """The second call is made only if B answers at least so much => it is made exactly then; the bundle takes place in
    both cases."""
    world = World(relay="free")
    bench, travel = world.deploy_everywhere("Workbench"), world.deploy_everywhere("Itinerary")
    journey = [hop(B, bench, COUNT), hop(A, bench, COUNT, least=least)]
    offer = world.offer({A: [world.tx(A, 0, travel, start(journey))]}, delivery_required=True)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [int(called), 1]


@pytest.mark.parametrize("profitable", [True, False])
def test_a10_a_flash_loan_over_rollups(profitable: bool) -> None:
    """A lender's tokens go from A to B, are sold where they are dear and bought back where they are cheap, come home
    and are paid back with interest, in one bundle of pinned legs signed by lender and borrower => both gained, and the
    supply over both rollups is what it was; when the trade yields one token too little, nobody lent or traded."""
    world = World()
    token, dear = open_market(world)
    cheap = world.deploy(B, "DemoExchange", token, bytes(20), types=("address", "address"))
    lender, borrower = USERS[0].address, USERS[1].address
    loan, interest = 10**18, 10**16
    world.happen(A, world.tx(A, 0, token, mint(lender, loan)))
    world.happen(B, world.tx(B, 5, dear, swap(False, 5 * 10**18, 1, USERS[5].address), value=5 * 10**18))
    world.happen(
        B,
        world.tx(B, 6, token, mint(USERS[6].address, 10**19)),
        world.tx(B, 6, token, calldata("approve(address,uint256)", cheap, 10**19), after=1),
        world.tx(B, 6, cheap, calldata("addLiquidity(uint256,uint256)", 10**19, 10**19), after=2, value=10**19),
    )
    supply = sum(world.ask(i, token, "totalSupply()") for i in (A, B))
    ether = world.ask(B, dear, "amountOutFor(bool,uint256)", True, loan)
    bought = world.ask(B, cheap, "amountOutFor(bool,uint256)", False, ether)
    assert bought > loan + interest
    back = bought if profitable else bought + 1
    world.fresh()
    arriving = "relayERC20(address,address,address,uint256)"
    out = foreseen(world, A, B, TOKEN_BRIDGE, TOKEN_BRIDGE, calldata(arriving, token, borrower, borrower, loan), log=3)
    home = foreseen(
        world, B, A, TOKEN_BRIDGE, TOKEN_BRIDGE, calldata(arriving, token, borrower, borrower, back), log=14
    )
    bridge = "sendERC20(address,address,uint256,uint256)"
    legs = {
        A: [
            world.tx(A, 0, token, calldata("transfer(address,uint256)", borrower, loan)),
            world.tx(A, 1, TOKEN_BRIDGE, calldata(bridge, token, borrower, loan, B)),
            relaying(world, 1, home, after=1),
            world.tx(A, 1, token, calldata("transfer(address,uint256)", lender, loan + interest), after=2),
        ],
        B: [
            relaying(world, 1, out),
            world.tx(B, 1, token, calldata("approve(address,uint256)", dear, loan), after=1),
            world.tx(B, 1, dear, swap(True, loan, ether, borrower), after=2),
            world.tx(B, 1, cheap, swap(False, ether, bought, borrower), value=ether, after=3),
            world.tx(B, 1, TOKEN_BRIDGE, calldata(bridge, token, borrower, back, A), after=4),
        ],
    }
    offer = world.offer(legs, pins=(world.pin(A), world.pin(B)))
    if profitable:
        decided = world.decide(offer)
        assert decided.bundles == [offer.bundle.hash], decided.failed
        assert world.ask(A, token, "balanceOf(address)", lender) == loan + interest
        assert world.ask(A, token, "balanceOf(address)", borrower) == bought - loan - interest
    else:
        fails_without_trace(world, offer, code="bundle_leg_failed", reason="reverted", rollup_id=B, index=4)
        assert world.ask(A, token, "balanceOf(address)", lender) == loan
        assert world.ask(A, token, "balanceOf(address)", borrower) == 0
    assert world.ask(B, token, "balanceOf(address)", borrower) == 0
    assert sum(world.ask(i, token, "totalSupply()") for i in (A, B)) == supply


def test_a11_burn_here_and_mint_there() -> None:
    """Tokens and ether cross both bridges in one bundle => what left A is on B in the same sub-block; the supply over
    both is constant, and ETHLiquidity of A gained what that of B gave."""
    world = World(relay="free")
    token = world.deploy_everywhere("DemoSuperchainToken")
    world.happen(A, world.tx(A, 0, token, mint(USERS[0].address, 1_000)))
    liquidity = [world.balance(i, ETH_LIQUIDITY) for i in (A, B)]
    ether = [world.ether(i) for i in (A, B)]
    to = USERS[4].address
    had = world.balance(B, to)
    legs = {
        A: [
            world.tx(A, 0, TOKEN_BRIDGE, calldata("sendERC20(address,address,uint256,uint256)", token, to, 300, B)),
            world.tx(A, 0, ETH_BRIDGE, calldata("sendETH(address,uint256)", to, B), value=10**17, after=1),
        ]
    }
    offer = world.offer(legs, delivery_required=True)
    assert world.decide(offer).bundles == [offer.bundle.hash]
    assert [world.ask(i, token, "totalSupply()") for i in (A, B)] == [700, 300]
    assert world.ask(B, token, "balanceOf(address)", to) == 300
    assert world.balance(B, to) == had + 10**17
    assert [world.balance(i, ETH_LIQUIDITY) - before for i, before in zip((A, B), liquidity, strict=True)] == [
        10**17,
        -(10**17),
    ]
    assert [world.ether(i) for i in (A, B)] == ether
    world.seal()


def test_a14_messages_of_both_directions_in_one_block() -> None:
    """A sends to B and B to A in one bundle, and a plain transaction of each does the same => all four are delivered in
    this sub-block."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    legs = {i: [world.tx(i, 0, MESSENGER, send(other, bench, COUNT))] for i, other in ((A, B), (B, A))}
    plain = {i: [world.tx(i, 1, MESSENGER, send(other, bench, COUNT))] for i, other in ((A, B), (B, A))}
    offer = world.offer(legs, delivery_required=True)
    decided = world.decide(offer, plain=plain)
    assert decided.bundles == [offer.bundle.hash]
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [2, 2]
    assert len(decided.effect.delivered) == 4


def mint(to: bytes, amount: int) -> bytes:
    """Calldata of the demonstration token."""
    return calldata("mint(address,uint256)", to, amount)
