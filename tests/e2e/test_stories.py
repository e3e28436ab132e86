"""The demonstration's trades and their failing twins on `plait devnet`, with web3.py, eth-account and plait.client.

The twins are held to a footprint of their own, wider than the demonstration's: every account of the genesis, every
contract and everybody who takes part, on both rollups, by eth_getProof. Each test leaves the markets in a usable state.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from eth_account import Account
from web3 import Web3

from examples.demo.chain import Chain
from examples.demo.footprint import Footprint, holding
from examples.demo.show import UNIT, DemoFailure
from examples.demo.stories import arbitrage, risk_reversal, round_trip
from examples.demo.stories.bundles import fails, happens
from examples.demo.stories.stage import ANA, BEA, CAI, MAX, Purse, Stage, build
from plait.client import Bundle, BundleDropped, Client
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_RELAYER
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_document
from plait.types import ChainId, Seconds

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
OWNER = Account.from_key(DEVELOPMENT_ACCOUNTS[0].private_key)
PEOPLE = (ANA, BEA, CAI, MAX)
Result = TypeVar("Result")


class World:
    """A devnet with the stage on both rollups, and a look at everything that is there."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url: str = ready["url"]
        chains = [Chain(rollup["chainId"], rollup["url"]) for rollup in ready["rollups"]]
        purses = [Purse(ANA, 1, 100, 200_000), Purse(BEA, 1, 100, 200_000)]
        self.one = build(chains[0], OWNER, 2_000, [*purses, Purse(CAI, 1, 100, 0)])
        self.two = build(chains[1], OWNER, 2_100, purses)
        self.journey = round_trip.prepare(self.one, self.two, OWNER)
        specification = GenesisSpecification(chain_id=ChainId(901), timestamp=Seconds(0), interop=True)
        self.addresses = ["0x" + address for address in genesis_document(specification)["alloc"]]
        self.addresses += [person.address for person in PEOPLE]
        self.addresses += [DEVELOPMENT_RELAYER.address_text, self.journey.account.address]
        for stage in self.stages:
            self.addresses += [one.address for one in (stage.gold, stage.dollar, stage.exchange, stage.desk)]

    @property
    def stages(self) -> tuple[Stage, Stage]:
        return self.one, self.two

    def run(self, work: Callable[[Client], Awaitable[Result]]) -> Result:
        """Runs an asynchronous piece of work with a client of the network."""

        async def main() -> Result:
            async with Client(self.url) as client:
                return await work(client)

        return asyncio.run(main())

    async def everything(self, client: Client) -> dict[tuple[int, str], tuple[str, ...]]:
        """(nonce, balance, code, storage root) of every account, at the last sealed blocks."""
        found = {}
        for stage in self.stages:
            calls = [("eth_getProof", (address, [], "latest")) for address in self.addresses]
            for address, proof in zip(self.addresses, await client.at(str(stage.rollup)).batch(calls), strict=True):
                fields = ("nonce", "balance", "codeHash", "storageHash")
                found[stage.rollup, address] = tuple(proof[field] for field in fields)
        return found

    def heights(self) -> list[int]:
        return [int(stage.chain.web3.eth.block_number) for stage in self.stages]

    def footprint(self) -> Footprint:
        """The demonstration's own check, on something small."""
        return Footprint(
            [holding(stage.chain, "Ana's USD", stage.dollar, ANA.address) for stage in self.stages],
            [(stage.chain, ANA.address) for stage in self.stages],
        )

    async def after_next_blocks(self) -> None:
        await asyncio.to_thread(self.footprint().next_blocks)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    command = [sys.executable, "-m", "plait.cli.main", "devnet", "--json", "--in-memory"]
    command += ["--port", "0", "--rollup-port-base", "0", "--log-level", "error"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield World(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


L1_BLOCK = "0x4200000000000000000000000000000000000015"


async def leaves_no_trace(world: World, client: Client, work: Callable[[], Awaitable[None]]) -> None:
    """Runs the work, which must change nothing but what every block's deposit changes (values of L1Block)."""
    before, heights = await world.everything(client), world.heights()
    await work()
    await world.after_next_blocks()
    after = await world.everything(client)
    changed = {place for place in before if before[place] != after[place]}
    assert {address for _, address in changed} <= {L1_BLOCK, "0x000f3df6d732807ef1319fb7b8bb8522d0beac02",
                                                   "0x0000f90827f1c53a10cb7a02335b175320002935"}  # fmt: skip
    for stage, first, last in zip(world.stages, heights, world.heights(), strict=True):
        for number in range(first + 1, last + 1):
            block = stage.chain.web3.eth.get_block(number, full_transactions=True)
            assert [transaction["type"] for transaction in block["transactions"]] == [0x7E]


def dropped(bundle: Bundle, client: Client) -> Awaitable[BundleDropped]:
    """Sends a bundle that must be dropped; why."""

    async def work() -> BundleDropped:
        bundle.deadline((await client.call("plait_slot"))["clockSlot"] + 1)
        await client.send(bundle)
        with pytest.raises(BundleDropped) as found:
            await bundle.wait("decided")
        return found.value

    return work()


def statuses(stage: Stage, hashes: list[str]) -> list[int]:
    return [stage.chain.receipt(bytes.fromhex(hash_[2:]))["status"] for hash_ in hashes]


def test_the_arbitrage_happens_on_both_rollups_in_one_decision(world: World) -> None:
    nonces = [stage.chain.nonce(ANA) for stage in world.stages]
    dollars = [stage.balance(stage.dollar, ANA) for stage in world.stages]
    bundle, cost = arbitrage.trade(*world.stages)
    sealed = world.run(lambda client: happens(client, bundle))
    assert [leg["rollupId"] for leg in sealed["legs"]] == [901, 902]
    for stage, leg in zip(world.stages, sealed["legs"], strict=True):
        assert statuses(stage, leg["transactions"]) == [1, 1]
        block = stage.chain.web3.eth.get_block(leg["blockNumber"])
        assert [hash_.to_0x_hex() for hash_ in block["transactions"]][1:] == leg["transactions"]
    assert [stage.chain.nonce(ANA) for stage in world.stages] == [nonce + 2 for nonce in nonces]
    earned = sum(stage.balance(stage.dollar, ANA) - had for stage, had in zip(world.stages, dollars, strict=True))
    assert world.one.balance(world.one.dollar, ANA) == dollars[0] - cost
    assert earned >= arbitrage.PROFIT_MIN


def test_an_arbitrage_whose_price_has_moved_leaves_no_trace_and_its_nonces_stay_free(world: World) -> None:
    bundle, _ = arbitrage.trade(*world.stages)
    worse = world.two.exchange.functions.swap(True, 60 * UNIT, 1, MAX.address, 2**40)
    world.two.chain.confirm([world.two.chain.send(MAX, worse)])

    async def twin(client: Client) -> BundleDropped:
        found: list[BundleDropped] = []

        async def work() -> None:
            found.append(await dropped(bundle, client))

        await leaves_no_trace(world, client, work)
        return found[0]

    why = world.run(twin)
    assert (why.code, why.fields["rollup_id"], why.fields["index"]) == ("bundle_expired", 902, 1)
    better = world.two.exchange.functions.swap(False, 200_000 * UNIT, 1, MAX.address, 2**40)
    world.two.chain.confirm([world.two.chain.send(MAX, better)])
    again, _ = arbitrage.trade(*world.stages)  # signed with the same nonces
    assert world.run(lambda client: happens(client, again))["status"] == "sealed"


def test_a_false_condition_on_a_reserve_leaves_no_trace(world: World) -> None:
    bundle, _ = arbitrage.trade(*world.stages)
    reserve = world.two.exchange.functions.reserveBase().call()
    bundle.require_storage(902, world.two.exchange.address, "0x0", "gt", reserve)

    async def twin(client: Client) -> None:
        simulated = await client.simulate(bundle)
        assert simulated["failure"]["code"] == "bundle_condition_false"

        async def work() -> None:
            await dropped(bundle, client)

        await leaves_no_trace(world, client, work)

    world.run(twin)


def test_the_risk_reversal_is_one_deal_on_two_desks(world: World) -> None:
    quotes = risk_reversal.quote(*world.stages)
    had = [stage.balance(stage.dollar, BEA) for stage in world.stages]
    sealed = world.run(lambda client: happens(client, risk_reversal.trade(*world.stages, quotes)))
    for stage, leg in zip(world.stages, sealed["legs"], strict=True):
        assert statuses(stage, leg["transactions"]) == [1, 1]
    call = world.one.desk.functions.optionOf(quotes.call).call()
    put = world.two.desk.functions.optionOf(quotes.put).call()
    assert (call[0], call[1], call[2], call[3]) == (0, 3, MAX.address, BEA.address)
    assert (put[0], put[1], put[2], put[3]) == (1, 3, BEA.address, MAX.address)
    premium, collateral = risk_reversal.PREMIUM, risk_reversal.COLLATERAL
    assert [stage.balance(stage.dollar, BEA) - own for stage, own in zip(world.stages, had, strict=True)] == [
        -premium,
        premium - collateral,
    ]


def test_a_risk_reversal_without_collateral_for_the_put_buys_no_call(world: World) -> None:
    two = world.two
    spare = two.balance(two.dollar, BEA)
    two.chain.confirm([two.chain.send(BEA, two.dollar.functions.transfer(MAX.address, spare - 1))])
    quotes = risk_reversal.quote(*world.stages)
    bundle = risk_reversal.trade(*world.stages, quotes)

    async def twin(client: Client) -> BundleDropped:
        found: list[BundleDropped] = []

        async def work() -> None:
            found.append(await dropped(bundle, client))

        await leaves_no_trace(world, client, work)
        return found[0]

    why = world.run(twin)
    assert (why.fields["rollup_id"], why.fields["index"]) == (902, 1)
    assert world.one.desk.functions.optionOf(quotes.call).call()[1] == 1
    assert world.two.desk.functions.optionOf(quotes.put).call()[1] == 2
    two.chain.confirm([two.chain.send(MAX, two.dollar.functions.transfer(BEA.address, spare - 1))])


def test_an_option_is_exercised_and_what_it_gives_is_sold_in_one_bundle(world: World) -> None:
    """At its expiry the call's holder pays the strike, gets gold on one rollup and sells gold on the other."""
    one, two = world.stages
    option = one.desk.functions.optionCount().call()
    expiry = int(one.chain.web3.eth.get_block("latest")["timestamp"]) + 6
    one.chain.confirm([one.chain.send(MAX, one.desk.functions.offer(0, UNIT, 1_500 * UNIT, UNIT, expiry), gas=500_000)])
    one.chain.confirm(
        [
            one.chain.send(BEA, one.dollar.functions.approve(one.desk.address, 2**256 - 1)),
            one.chain.send(BEA, one.desk.functions.buy(option)),
        ]
    )
    at_one, at_two = one.chain.nonce(BEA), two.chain.nonce(BEA)
    least = two.exchange.functions.amountOutFor(True, UNIT).call()
    bundle = (
        Bundle()
        .leg(901, one.chain.sign(BEA, one.desk.functions.exercise(option), nonce=at_one))
        .leg(
            902,
            two.chain.sign(BEA, two.gold.functions.approve(two.exchange.address, UNIT), nonce=at_two),
            two.chain.sign(BEA, two.exchange.functions.swap(True, UNIT, least, BEA.address, 2**40), nonce=at_two + 1),
        )
    )

    async def early_and_in_time(client: Client) -> tuple[dict[str, Any], dict[str, Any]]:
        before = await client.simulate(bundle)
        while int(one.chain.web3.eth.get_block("pending")["timestamp"]) < expiry:
            await world.after_next_blocks()
        return before, await happens(client, bundle)

    gold, dollars = one.balance(one.gold, BEA), one.balance(one.dollar, BEA)
    early, sealed = world.run(early_and_in_time)
    assert not early["success"]
    assert (
        early["legs"][0]["transactions"][0]["output"][:10]
        == Web3.keccak(text="TooEarly(uint256,uint256)")[:4].to_0x_hex()
    )
    assert sealed["status"] == "sealed"
    assert one.balance(one.gold, BEA) == gold + UNIT
    assert one.balance(one.dollar, BEA) == dollars - 1_500 * UNIT
    assert one.desk.functions.optionOf(option).call()[1] == 4


def supply(world: World, coin: str) -> int:
    """Of a coin, over both rollups, as of the last sealed blocks."""
    return sum(int(getattr(stage, coin).functions.totalSupply().call()) for stage in world.stages)


def test_gold_is_moved_and_sold_and_the_dollars_are_home_in_one_slot(world: World) -> None:
    """Three deliveries by the relayer, all at the leg's timestamp; the supplies over both are as before."""
    one, two, size = world.one, world.two, round_trip.SIZE
    since = {901: world.heights()[0], 902: world.heights()[1]}
    before = supply(world, "gold"), supply(world, "dollar")
    gold, dollars = one.balance(one.gold, CAI), one.balance(one.dollar, CAI)
    out = int(two.exchange.functions.amountOutFor(True, size).call())
    sealed = world.run(lambda client: happens(client, round_trip.trade(world.journey, out)))
    (leg,) = [leg for leg in sealed["legs"] if leg["transactions"]]
    assert (leg["rollupId"], statuses(one, leg["transactions"])) == (901, [1, 1])
    found = round_trip.deliveries(world.journey, since)
    assert [(one.source, one.destination) for one in found] == [(902, 901), (901, 902), (901, 902)]
    assert len({place[1] for one in found for place in (one.left, one.arrived)}) == 1
    for stage, count in ((one, 1), (two, 2)):
        block = stage.chain.web3.eth.get_block(next(d.arrived[0] for d in found if d.destination == stage.rollup), True)
        senders = [transaction["from"] for transaction in block["transactions"]]
        assert senders.count(DEVELOPMENT_RELAYER.address_text) == count
    assert (one.balance(one.gold, CAI), one.balance(one.dollar, CAI)) == (gold - size, dollars + out)
    assert (supply(world, "gold"), supply(world, "dollar")) == before
    assert two.chain.web3.eth.get_transaction_count(CAI.address) == 0
    assert two.chain.web3.eth.get_balance(CAI.address) == 0


def test_gold_whose_use_on_arrival_reverts_never_leaves(world: World) -> None:
    out = int(world.two.exchange.functions.amountOutFor(True, round_trip.SIZE).call())
    bundle = round_trip.trade(world.journey, out + 1)

    async def twin(client: Client) -> BundleDropped:
        simulated = await client.simulate(bundle)
        assert simulated["failure"]["code"] == "bundle_delivery_failed"
        found: list[BundleDropped] = []

        async def work() -> None:
            found.append(await dropped(bundle, client))

        await leaves_no_trace(world, client, work)
        return found[0]

    why = world.run(twin)
    assert (why.code, why.fields["rollup_id"]) == ("bundle_expired", 902)
    assert "cannot be delivered" in why.message


def test_without_demanded_delivery_the_gold_leaves_and_waits(world: World) -> None:
    """The same messages in a plain bundle: the gold arrives, its use does not succeed, and is tried again later."""
    one, two = world.stages
    out = int(two.exchange.functions.amountOutFor(True, round_trip.SIZE).call())
    demanding = round_trip.trade(world.journey, out + 1)
    bundle = Bundle().leg(901, *(bytes.fromhex(raw[2:]) for raw in demanding.request()["legs"][0]["transactions"]))
    dollars = one.balance(one.dollar, CAI)
    world.run(lambda client: happens(client, bundle))
    world.run(lambda client: world.after_next_blocks())
    assert two.balance(two.gold, world.journey.account) == round_trip.SIZE
    assert one.balance(one.dollar, CAI) == dollars
    better = two.exchange.functions.swap(False, 20_000 * UNIT, 1, MAX.address, 2**40)
    two.chain.confirm([two.chain.send(MAX, better)])
    end = time.monotonic() + 20
    while one.balance(one.dollar, CAI) == dollars:
        assert time.monotonic() < end, "the waiting message was not tried again"
        world.run(lambda client: world.after_next_blocks())
    assert one.balance(one.dollar, CAI) == dollars + out + 1


def test_the_demonstration_notices_a_trace(world: World) -> None:
    """Somebody's transfer meanwhile, of nothing to nobody: the demonstration's own check fails on it."""
    one = world.one
    footprint = world.footprint()
    before = footprint.take()
    footprint.require_no_trace(before)
    one.chain.confirm([one.chain.send_plain(MAX, MAX.address, gas=21_000)])
    with pytest.raises(DemoFailure):
        footprint.require_no_trace(before)


def test_the_check_of_these_tests_notices_a_trace(world: World) -> None:
    """One wei to oneself: gas was paid and a nonce used."""

    async def traced(client: Client) -> None:
        async def work() -> None:
            await asyncio.to_thread(world.two.chain.confirm, [world.two.chain.send_plain(MAX, MAX.address, gas=21_000)])

        with pytest.raises(AssertionError):
            await leaves_no_trace(world, client, work)

    world.run(traced)


def test_the_demonstration_fails_when_a_twin_takes_place(world: World) -> None:
    nonce = world.one.chain.nonce(ANA)
    harmless = Bundle().leg(
        901, world.one.chain.sign(ANA, world.one.gold.functions.transfer(MAX.address, 0), nonce=nonce)
    )
    with pytest.raises(DemoFailure, match="should fail"):
        world.run(lambda client: fails(client, harmless, world.footprint()))
