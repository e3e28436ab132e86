"""Risk reversal: buy a call on one rollup and pay for it by selling a put on the other, both or neither.

The desks have different orders: the call is offered on the one rollup, the put is wanted on the other. Buying the call
alone costs its premium; selling the put alone is a bet that the price does not fall. Only together they are the trade.
"""

from dataclasses import dataclass

from web3 import Web3

from examples.demo.footprint import Figure, Footprint, holding, nonce, purse
from examples.demo.show import UNIT, amount, require, say, table, title
from examples.demo.stories.bundles import fails, happens, positions
from examples.demo.stories.stage import BEA, MAX, Stage
from plait.client import Bundle, Client

CALL, PUT = 0, 1
STATES = ("none", "offered", "bid for", "open", "exercised", "reclaimed", "withdrawn")
SIZE = 10 * UNIT
CALL_STRIKE, PUT_STRIKE = 2_300 * UNIT, 1_800 * UNIT
PREMIUM = 450 * UNIT
COLLATERAL = SIZE * PUT_STRIKE // UNIT
DAYS_30_S = 30 * 86_400


@dataclass(frozen=True)
class Quotes:
    """Max's orders: a call that he offers on one desk, a put that he wants on the other."""

    call: int
    put: int


def quote(calls: Stage, puts: Stage) -> Quotes:
    """Max places both orders and waits until they are sealed."""
    numbers = [int(stage.desk.functions.optionCount().call()) for stage in (calls, puts)]
    expiry = int(calls.chain.web3.eth.get_block("latest")["timestamp"]) + DAYS_30_S
    offer = calls.desk.functions.offer(CALL, SIZE, CALL_STRIKE, PREMIUM, expiry)
    bid = puts.desk.functions.bid(PUT, SIZE, PUT_STRIKE, PREMIUM, expiry)
    sent = [(stage.chain, stage.chain.send(MAX, order, gas=500_000)) for stage, order in ((calls, offer), (puts, bid))]
    for chain, hash_ in sent:
        chain.confirm([hash_])
    return Quotes(*numbers)


def trade(calls: Stage, puts: Stage, quotes: Quotes) -> Bundle:
    """Bea's signed bundle: premium and purchase on one rollup, collateral and sale on the other."""
    buyer, writer = calls.chain.nonce(BEA), puts.chain.nonce(BEA)
    return (
        Bundle()
        .leg(
            calls.rollup,
            calls.chain.sign(BEA, calls.dollar.functions.approve(calls.desk.address, PREMIUM), nonce=buyer),
            calls.chain.sign(BEA, calls.desk.functions.buy(quotes.call), nonce=buyer + 1),
        )
        .leg(
            puts.rollup,
            puts.chain.sign(BEA, puts.dollar.functions.approve(puts.desk.address, COLLATERAL), nonce=writer),
            puts.chain.sign(BEA, puts.desk.functions.write(quotes.put), nonce=writer + 1),
        )
    )


def state(stage: Stage, kind: str, option: int) -> Figure:
    """Where an option stands."""
    read = stage.desk.functions.optionOf(option)
    return Figure(
        stage.chain, f"state of the {kind}", lambda at: int(read.call(block_identifier=at)[1]), STATES.__getitem__
    )


def footprint(calls: Stage, puts: Stage, quotes: Quotes) -> Footprint:
    """Everything that Bea's trade would touch."""
    figures, accounts = [], []
    for stage, option, what in ((calls, quotes.call, "call"), (puts, quotes.put, "put")):
        figures += [
            nonce(stage.chain, "Bea", BEA.address),
            purse(stage.chain, "Bea", BEA.address),
            holding(stage.chain, "Bea's USD", stage.dollar, BEA.address),
            holding(stage.chain, "Max's USD", stage.dollar, MAX.address),
            holding(stage.chain, "desk's GOLD", stage.gold, stage.desk.address),
            holding(stage.chain, "desk's USD", stage.dollar, stage.desk.address),
            state(stage, what, option),
        ]
        touched = (BEA.address, MAX.address, stage.gold.address, stage.dollar.address, stage.desk.address)
        accounts += [(stage.chain, Web3.to_checksum_address(address)) for address in touched]
    return Footprint(figures, accounts)


async def play(client: Client, calls: Stage, puts: Stage) -> None:
    """The trade that works."""
    title("Story 2: a risk reversal over two option desks")
    quotes = quote(calls, puts)
    say(f"""Bea expects GOLD to rise. The desk on rollup {calls.rollup} offers a call at {amount(CALL_STRIKE)}, the desk
        on {puts.rollup} wants a put at {amount(PUT_STRIKE)}, each for {amount(PREMIUM)} USD. Selling the put pays for
        the call, if both happen. Options are European and secured in full: the desks hold the collateral.""")
    had = [stage.balance(stage.dollar, BEA) for stage in (calls, puts)]
    sealed = await happens(client, trade(calls, puts, quotes))
    call = calls.desk.functions.optionOf(quotes.call).call()
    put = puts.desk.functions.optionOf(quotes.put).call()
    require(STATES[call[1]] == "open" and call[3] == BEA.address, "Bea does not hold the call.")
    require(STATES[put[1]] == "open" and put[2] == BEA.address, "Bea did not write the put.")
    paid = had[0] - calls.balance(calls.dollar, BEA)
    locked = had[1] + PREMIUM - puts.balance(puts.dollar, BEA)
    require(paid == PREMIUM, f"The call cost {amount(paid)} USD.")
    require(locked == COLLATERAL, f"The put locked {amount(locked)} USD.")
    table(
        ("rollup", "Bea", "size", "strike", "premium", "her collateral"),
        [
            [str(calls.rollup), "buys a call", amount(SIZE), amount(CALL_STRIKE), amount(-PREMIUM), amount(0)],
            [str(puts.rollup), "sells a put", amount(SIZE), amount(PUT_STRIKE), amount(PREMIUM), amount(COLLATERAL)],
            ["both", "", "", "", amount(PREMIUM - paid), amount(locked)],
        ],
    )
    print(positions(sealed))
    prices = [1_600 * UNIT, PUT_STRIKE, 2_000 * UNIT, CALL_STRIKE, 2_500 * UNIT]
    worth = [SIZE * (max(0, price - CALL_STRIKE) - max(0, PUT_STRIKE - price)) // UNIT for price in prices]
    table(
        ("price of GOLD at expiry", *(amount(price, 0) for price in prices)),
        [["Bea's result, USD", *(amount(value) for value in worth)]],
    )


async def play_twin(client: Client, calls: Stage, puts: Stage) -> None:
    """The put's collateral is missing."""
    title("Its failing twin: the collateral of the put is missing")
    quotes = quote(calls, puts)
    say(f"""Max quotes again and Bea wants the same once more. She could pay the premium on {calls.rollup}, but on
        {puts.rollup} she has only {amount(puts.balance(puts.dollar, BEA))} USD left, and another put needs
        {amount(COLLATERAL)}.""")
    await fails(client, trade(calls, puts, quotes), footprint(calls, puts, quotes))
