"""Arbitrage: gold is cheaper on one rollup's exchange than on the other's. Buy there and sell here, both or neither.

The risk of doing it in two steps is to be left with the first one: the price may move before the second. As one bundle
there is no such moment. The condition costs nothing either: somebody else's trade before ours makes it false.
"""

from web3 import Web3

from examples.demo.footprint import Footprint, answer, holding, nonce, purse
from examples.demo.show import UNIT, amount, ether, require, say, table, title
from examples.demo.stories.bundles import fails, happens, positions
from examples.demo.stories.stage import ANA, FOREVER_S, MAX, Stage
from plait.client import Bundle, Client

SIZE = 5 * UNIT
PROFIT_MIN = 50 * UNIT
PRICE_MOVER = 40 * UNIT
RESERVE_BASE_SLOT = "0x0"
"""Storage slot of DemoExchange's `reserveBase`."""


def cost_of(stage: Stage, gold: int) -> int:
    """Dollars that buy this much gold: the exchange's formula, solved for the input and rounded up."""
    call = stage.exchange.functions
    base, quote = call.reserveBase().call(), call.reserveQuote().call()
    return int(quote * gold * 1_000 // ((base - gold) * 997)) + 1


def trade(cheap: Stage, dear: Stage) -> tuple[Bundle, int]:
    """Ana's signed bundle at the prices of now, and what the gold costs her."""
    cost = cost_of(cheap, SIZE)
    buyer, seller = cheap.chain.nonce(ANA), dear.chain.nonce(ANA)
    buy = cheap.exchange.functions.swap(False, cost, SIZE, ANA.address, FOREVER_S)
    sell = dear.exchange.functions.swap(True, SIZE, cost + PROFIT_MIN, ANA.address, FOREVER_S)
    bundle = (
        Bundle()
        .leg(
            cheap.rollup,
            cheap.chain.sign(ANA, cheap.dollar.functions.approve(cheap.exchange.address, cost), nonce=buyer),
            cheap.chain.sign(ANA, buy, nonce=buyer + 1),
        )
        .leg(
            dear.rollup,
            dear.chain.sign(ANA, dear.gold.functions.approve(dear.exchange.address, SIZE), nonce=seller),
            dear.chain.sign(ANA, sell, nonce=seller + 1),
        )
        .require_storage(
            cheap.rollup, cheap.exchange.address, RESERVE_BASE_SLOT, "ge", cheap.exchange.functions.reserveBase().call()
        )
    )
    return bundle, cost


def footprint(cheap: Stage, dear: Stage) -> Footprint:
    """Everything that Ana's trade would touch."""
    figures, accounts = [], []
    for stage in (cheap, dear):
        call = stage.exchange.functions
        figures += [
            nonce(stage.chain, "Ana", ANA.address),
            purse(stage.chain, "Ana", ANA.address),
            holding(stage.chain, "Ana's GOLD", stage.gold, ANA.address),
            holding(stage.chain, "Ana's USD", stage.dollar, ANA.address),
            answer(stage.chain, "exchange's GOLD", call.reserveBase),
            answer(stage.chain, "exchange's USD", call.reserveQuote),
        ]
        touched = (ANA.address, stage.gold.address, stage.dollar.address, stage.exchange.address)
        accounts += [(stage.chain, Web3.to_checksum_address(address)) for address in touched]
    return Footprint(figures, accounts)


async def play(client: Client, cheap: Stage, dear: Stage) -> None:
    """The trade that works."""
    title("Story 1: arbitrage between two exchanges")
    say(f"""GOLD costs {amount(cheap.price())} USD on rollup {cheap.rollup} and {amount(dear.price())} on {dear.rollup}.
        Ana has dollars on {cheap.rollup} and gold on {dear.rollup}. Her bundle buys {amount(SIZE)} GOLD on
        {cheap.rollup} and sells as much on {dear.rollup} (approve and swap on both), on condition that nobody has taken
        gold out of the cheap exchange since she looked.""")
    holdings = [(stage.balance(stage.gold, ANA), stage.balance(stage.dollar, ANA)) for stage in (cheap, dear)]
    purses = sum(stage.chain.web3.eth.get_balance(ANA.address) for stage in (cheap, dear))
    bundle, cost = trade(cheap, dear)
    sealed = await happens(client, bundle)
    rows, gold, dollars = [], 0, 0
    for stage, side, (had_gold, had_dollars) in zip((cheap, dear), ("buys", "sells"), holdings, strict=True):
        more_gold = stage.balance(stage.gold, ANA) - had_gold
        more_dollars = stage.balance(stage.dollar, ANA) - had_dollars
        price = abs(more_dollars * UNIT // more_gold) if more_gold else 0
        rows.append([str(stage.rollup), side, amount(more_gold), amount(more_dollars), amount(price)])
        gold, dollars = gold + more_gold, dollars + more_dollars
    rows.append(["both", "profit", amount(gold), amount(dollars), ""])
    gas = purses - sum(stage.chain.web3.eth.get_balance(ANA.address) for stage in (cheap, dear))
    table(("rollup", "Ana", "GOLD", "USD", "price"), rows)
    say(f"{positions(sealed)} Gas for all four transactions: {ether(gas)} ether.")
    require(dollars >= PROFIT_MIN, f"The profit is {amount(dollars)} USD, less than the bundle demanded.")
    require(-1 <= gold <= UNIT // 10**6, f"Ana should have as much gold as before, but has {gold} units more.")
    require(cost > 0, "Gold was free.")


async def play_twin(client: Client, cheap: Stage, dear: Stage) -> None:
    """The price moves between signing and arriving."""
    title("Its failing twin: the price moves first")
    bundle, cost = trade(cheap, dear)
    require((await client.simulate(bundle))["success"], "The trade should still be good when Ana signs it.")
    moved = dear.exchange.functions.swap(True, PRICE_MOVER, 1, MAX.address, FOREVER_S)
    dear.chain.confirm([dear.chain.send(MAX, moved)])
    first_leg = Bundle()
    for raw in bundle.request()["legs"][0]["transactions"]:
        first_leg.leg(cheap.rollup, bytes.fromhex(raw[2:]))
    alone = (await client.simulate(first_leg))["success"]
    require(alone, "The first leg should succeed on its own.")
    worth = int(dear.exchange.functions.amountOutFor(True, SIZE).call())
    say(f"""Ana signs the same trade again: good when she signs. Before it arrives Max sells {amount(PRICE_MOVER)} GOLD
        on {dear.rollup}, where the price falls to {amount(dear.price())} USD. The purchase on {cheap.rollup} would
        still go through: on its own it would leave Ana with gold for {amount(cost)} USD that sells for
        {amount(worth)}.""")
    await fails(client, bundle, footprint(cheap, dear))
