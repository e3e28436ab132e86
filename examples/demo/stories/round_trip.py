"""A token moves to another rollup, is sold there, and the money is home again: all within one slot.

Cai has nothing on the other rollup, not even ether for gas, and signs nothing there. What he has is a RemoteAccount: a
contract that obeys him by message. He sends gold to it through the token bridge, then says what to do with it: sell it
and send the dollars home. That is three messages, the last one a reply; the sequencer's relayer delivers them as part
of his bundle. `deliver()` says that all of them arrive or none is sent.

Bridges without this leave the token on the other side when the price there has moved in between.
"""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from examples.demo.footprint import Footprint, answer, holding, nonce, purse
from examples.demo.show import UNIT, amount, require, say, table, title
from examples.demo.stories.bundles import fails, happens
from examples.demo.stories.stage import CAI, FOREVER_S, MAX, Stage
from plait.client import Bundle, Client
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER

MESSENGER = Web3.to_checksum_address("0x4200000000000000000000000000000000000023")
TOKEN_BRIDGE = Web3.to_checksum_address("0x4200000000000000000000000000000000000028")
SIZE = 8 * UNIT
PRICE_MOVER_USD, PRICE_MOVER_GOLD = 130_000 * UNIT, 60 * UNIT


@dataclass(frozen=True)
class Journey:
    """Where Cai is at home, where he sells, and what stands for him there."""

    home: Stage
    away: Stage
    account: Contract
    """His RemoteAccount on the rollup that he never visits."""

    def messenger(self, stage: Stage) -> Contract:
        """The L2ToL2CrossDomainMessenger of a rollup."""
        return stage.chain.contract("L2ToL2CrossDomainMessenger", MESSENGER)

    def bridge(self, stage: Stage) -> Contract:
        """The SuperchainTokenBridge of a rollup."""
        return stage.chain.contract("SuperchainTokenBridge", TOKEN_BRIDGE)


def prepare(home: Stage, away: Stage, owner: LocalAccount) -> Journey:
    """Cai's account on the other rollup; anybody may put it there, here the owner of the stage."""
    account, hash_ = away.chain.place(owner, "RemoteAccount", CAI.address, home.rollup)
    away.chain.confirm([hash_])
    return Journey(home, away, account)


def calldata(contract: Contract, function: str, *arguments: Any) -> bytes:
    """Calldata of a contract's function."""
    return bytes.fromhex(contract.encode_abi(function, list(arguments))[2:])


def trade(journey: Journey, dollars: int) -> Bundle:
    """Cai's signed bundle: two transactions at home, to sell SIZE for at least so many dollars.

    What the account gets above that stays in it, for Cai's next message.
    """
    home, away, account = journey.home, journey.away, journey.account
    orders = [
        (away.gold.address, 0, calldata(away.gold, "approve", away.exchange.address, SIZE)),
        (away.exchange.address, 0, calldata(away.exchange, "swap", True, SIZE, dollars, account.address, FOREVER_S)),
        (
            TOKEN_BRIDGE, 0,
            calldata(journey.bridge(away), "sendERC20", away.dollar.address, CAI.address, dollars, home.rollup),
        ),
    ]  # fmt: skip
    send = journey.bridge(home).functions.sendERC20(home.gold.address, account.address, SIZE, away.rollup)
    order = journey.messenger(home).functions.sendMessage(
        away.rollup, account.address, calldata(account, "execute", orders)
    )
    first = home.chain.nonce(CAI)
    return (
        Bundle()
        .leg(home.rollup, home.chain.sign(CAI, send, nonce=first), home.chain.sign(CAI, order, nonce=first + 1))
        .deliver()
    )


def footprint(journey: Journey) -> Footprint:
    """Everything that the journey would touch."""
    home, away = journey.home, journey.away
    figures = [
        nonce(home.chain, "Cai", CAI.address),
        purse(home.chain, "Cai", CAI.address),
        holding(home.chain, "Cai's GOLD", home.gold, CAI.address),
        answer(home.chain, "supply of GOLD", home.gold.functions.totalSupply),
        answer(home.chain, "messages sent", journey.messenger(home).functions.messageNonce, str),
        answer(away.chain, "supply of GOLD", away.gold.functions.totalSupply),
        holding(away.chain, "account's GOLD", away.gold, journey.account.address),
        answer(away.chain, "exchange's GOLD", away.exchange.functions.reserveBase),
        answer(away.chain, "exchange's USD", away.exchange.functions.reserveQuote),
        answer(away.chain, "messages sent", journey.messenger(away).functions.messageNonce, str),
    ]
    accounts = []
    for stage in (home, away):
        touched: list[str] = [CAI.address, DEVELOPMENT_RELAYER.address_text, journey.account.address]
        touched += [stage.gold.address, stage.dollar.address, stage.exchange.address]
        accounts += [(stage.chain, Web3.to_checksum_address(address)) for address in touched]
    return Footprint(figures, accounts)


@dataclass(frozen=True)
class Delivery:
    """A message that arrived, with the block that it left in and the block that it arrived in: (number, timestamp)."""

    source: int
    destination: int
    left: tuple[int, int]
    arrived: tuple[int, int]


def deliveries(journey: Journey, since: dict[int, int]) -> list[Delivery]:
    """Messages between both rollups in the blocks after these, in the order of their arrival on each rollup."""
    sent, arrived = {}, []
    for stage in (journey.home, journey.away):
        web3, events = stage.chain.web3, journey.messenger(stage).events
        for log in events.SentMessage().get_logs(from_block=since[stage.rollup] + 1):
            place = (int(log["blockNumber"]), int(web3.eth.get_block(log["blockNumber"])["timestamp"]))
            sent[stage.rollup, log["args"]["messageNonce"]] = place
        for log in events.RelayedMessage().get_logs(from_block=since[stage.rollup] + 1):
            place = (int(log["blockNumber"]), int(web3.eth.get_block(log["blockNumber"])["timestamp"]))
            arrived.append((log["args"]["source"], stage.rollup, log["args"]["messageNonce"], place))
    return [Delivery(source, to, sent[source, number], place) for source, to, number, place in arrived]


async def play(client: Client, journey: Journey) -> None:
    """The journey that works."""
    home, away = journey.home, journey.away
    title("Story 3: a token moved, used, and the money home again, within one slot")
    lift = away.exchange.functions.swap(False, PRICE_MOVER_USD, 1, MAX.address, FOREVER_S)
    away.chain.confirm([away.chain.send(MAX, lift)])
    dollars = int(away.exchange.functions.amountOutFor(True, SIZE).call())
    say(f"""Cai has {amount(SIZE)} GOLD on rollup {home.rollup}, where it costs {amount(home.price())} USD. On
        {away.rollup} it costs {amount(away.price())}, but there he has nothing, not even ether. His bundle has two
        transactions on {home.rollup}: send the gold to his account on {away.rollup}, and tell that account by message
        to sell it and send the dollars home. He asks for delivery of everything, or nothing.""")
    since = {stage.rollup: int(stage.chain.web3.eth.block_number) for stage in (home, away)}
    sealed = await happens(client, trade(journey, dollars))
    found = deliveries(journey, since)
    there = [one for one in found if one.destination == away.rollup]
    back = [one for one in found if one.destination == home.rollup]
    require(len(there) == 2 and len(back) == 1, f"{len(there)} messages went there and {len(back)} came back.")
    what = ("the gold", "the order", "the dollars")
    table(
        ("message", "from", "block", "time", "to", "block", "time"),
        [
            [name, str(one.source), *map(str, one.left), str(one.destination), *map(str, one.arrived)]
            for name, one in zip(what, (*there, *back), strict=True)
        ],
    )
    times = {place[1] for one in found for place in (one.left, one.arrived)}
    require(len(times) == 1, f"The messages were not in one slot: {sorted(times)}.")
    gold, got = home.balance(home.gold, CAI), home.balance(home.dollar, CAI)
    require(gold == 0 and got == dollars, f"Cai has {amount(gold)} GOLD and {amount(got)} USD at home.")
    require(away.chain.web3.eth.get_transaction_count(CAI.address) == 0, f"Cai has signed on {away.rollup}.")
    at_home = int(home.exchange.functions.amountOutFor(True, SIZE).call())
    require(got > at_home, "The journey was not worth it.")
    say(f"""All of it in height {sealed["height"]}, one timestamp. Cai has {amount(got)} USD on {home.rollup}, which is
        {amount(got - at_home)} more than a sale at home would bring; he has signed nothing on {away.rollup}, where the
        sequencer's relayer paid the gas.""")


async def play_twin(client: Client, journey: Journey) -> None:
    """The use on arrival reverts."""
    home, away = journey.home, journey.away
    title("Its failing twin: the sale on arrival fails")
    home.chain.confirm([home.chain.send(MAX, home.gold.functions.transfer(CAI.address, SIZE))])
    dollars = int(away.exchange.functions.amountOutFor(True, SIZE).call())
    bundle = trade(journey, dollars)
    drop = away.exchange.functions.swap(True, PRICE_MOVER_GOLD, 1, MAX.address, FOREVER_S)
    away.chain.confirm([away.chain.send(MAX, drop)])
    worth = int(away.exchange.functions.amountOutFor(True, SIZE).call())
    say(f"""Cai has got {amount(SIZE)} GOLD again and signs the same for {amount(dollars)} USD. Before it arrives Max
        sells {amount(PRICE_MOVER_GOLD)} GOLD on {away.rollup}: there are only {amount(worth)} USD to be had now.
        Without delivery in the bundle the gold would soon be on {away.rollup}, unsold.""")
    await fails(client, bundle, footprint(journey), "bundle_delivery_failed")
