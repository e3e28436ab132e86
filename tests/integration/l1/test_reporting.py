"""Reports made of a real L1 lead to agreement on exactly that L1, through reorganisations and with liars among them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from anvil_l1 import Anvil, RollupOnL1
from tampering import Proxy

from plait.codec.l1_items import SignedReport, decode_l1_item
from plait.crypto.l1_reports import is_signed, reporter_of
from plait.derivation.l1_facts import L1BlockFacts, l1_facts_digest
from plait.errors import ActionRefused
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import DEVELOPMENT_SCHEDULE
from plait.ledger.l1 import L1State, L1Terms, cut, next_digest, reorged_from, with_bindings, with_facts, with_report
from plait.node.l1_reporter import L1Reporter, watcher_of
from plait.types import NetworkId, RollupId, Slot

pytestmark = pytest.mark.node_js

NETWORK = NetworkId(77)


class Agreement:
    """The ledger's rules about L1, and what reporters hand in; no consensus around them."""

    def __init__(self, start: L1BlockFacts, rollup: RollupOnL1, powers: dict[bytes, int], lag_blocks: int = 1) -> None:
        terms = L1Terms(chain_id=900, lag_blocks=lag_blocks, hold_s=30)
        self.state = L1State(terms=terms, bindings=(rollup.config,), blocks=(start,))
        self.powers = {reporter_of(key): power for key, power in powers.items()}
        self.facts: dict[bytes, L1BlockFacts] = {}
        self.cuts: list[int] = []

    def submit(self, raw: bytes) -> None:
        signed = decode_l1_item(raw)
        assert isinstance(signed, SignedReport)
        assert is_signed(NETWORK, signed)
        self.state = with_report(self.state, signed.report, self.powers)
        lowest = reorged_from(self.state, self.powers)
        if lowest is not None:
            self.cuts.append(lowest)
            self.state = cut(self.state, lowest)
        while (digest := next_digest(self.state, self.powers)) is not None and digest in self.facts:
            self.state = with_facts(self.state, self.facts[digest], self.powers)

    def offer(self, facts: L1BlockFacts) -> None:
        self.facts[l1_facts_digest(facts)] = facts


class Reporters:
    """Validators that each read the L1 through a client of their own."""

    def __init__(self, agreement: Agreement, reporters: list[L1Reporter]) -> None:
        self.agreement = agreement
        self.reporters = reporters

    async def settle(self, rounds: int = 6) -> None:
        for _ in range(rounds):
            for reporter in self.reporters:
                while await reporter.watcher.step():
                    pass
                reporter.step()


@asynccontextmanager
async def reporters_of(
    anvil: Anvil, rollup: RollupOnL1, urls: list[str], powers: list[int], **terms: Any
) -> AsyncIterator[Reporters]:
    from plait.native import ed25519_public_key

    seeds = [bytes([at + 1]) * 32 for at in range(len(urls))]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(L1Client(url)) for url in urls]
        honest = await stack.enter_async_context(L1Client(anvil.url))
        header = await honest.header(rollup.config.genesis_l1.number)
        assert header is not None
        start, _ = block_facts(header, (), [rollup.config], DEVELOPMENT_SCHEDULE)
        keys = dict(zip(map(ed25519_public_key, seeds), powers, strict=True))
        agreement = Agreement(start, rollup, keys, **terms)
        reporters = [
            L1Reporter(
                watcher=watcher_of(client, agreement.state),
                network_id=NETWORK,
                seed=seed,
                agreed=lambda: agreement.state,
                submit=agreement.submit,
                offer_facts=agreement.offer,
            )
            for client, seed in zip(clients, seeds, strict=True)
        ]
        yield Reporters(agreement, reporters)


async def assert_agreed_is(client: L1Client, state: L1State, number: int) -> None:
    assert state.head.number == number
    for facts in state.blocks:
        header = await client.header(facts.number)
        assert header is not None
        assert header.hash == facts.hash


async def test_validators_agree_on_the_l1_and_its_deposits(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    async with reporters_of(anvil, rollup, [anvil.url] * 4, [1, 1, 1, 1]) as network:
        anvil.mine(3)
        rollup.deposit()
        with_deposit = anvil.mine()
        head = anvil.mine(80)
        await network.settle(8)
        await assert_agreed_is(client, network.agreement.state, head - 1)
        told = [facts.number for facts in network.agreement.state.blocks if facts.rollups]
        assert told == [with_deposit]


async def test_a_reorganisation_is_agreed_on_and_nothing_else_is_taken_back(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    async with reporters_of(anvil, rollup, [anvil.url] * 4, [1, 1, 1, 1]) as network:
        head = anvil.mine(12)
        await network.settle()
        assert network.agreement.state.head.number == head - 1
        anvil.call("anvil_reorg", 5, [])
        head = anvil.mine(3)
        await network.settle()
        assert network.agreement.cuts == [head - 3 - 5 + 1], "the agreed chain is cut at the first block that left"
        await assert_agreed_is(client, network.agreement.state, head - 1)


async def test_one_liar_of_four_changes_nothing_and_two_only_delay(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    other = Anvil(anvil._directory / "other", chain_id=900)
    async with Proxy(anvil.url) as proxy:
        # an L1 whose every block is true to its hash, and which is another chain behind the genesis
        other._directory.mkdir(parents=True, exist_ok=True)
        anvil.stop()
        (other._directory / "anvil.json").write_bytes((anvil._directory / "anvil.json").read_bytes())
        anvil.start()
        anvil.later(100)  # its time begins anew, behind that of its blocks
        other.start()
        try:
            other.later(500)
            other.mine(6)
            urls = [proxy.url, proxy.url, proxy.url, other.url]
            async with reporters_of(anvil, rollup, urls, [1, 1, 1, 1]) as network:
                head = anvil.mine(6)
                await network.settle()
                await assert_agreed_is(client, network.agreement.state, head - 1)
            async with reporters_of(anvil, rollup, [anvil.url, anvil.url, other.url, other.url], [1] * 4) as network:
                await network.settle()
                assert len(network.agreement.state.blocks) == 1, "neither side has two thirds"
        finally:
            other.stop()


async def test_a_validator_that_lags_is_waited_for_by_nobody(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    async with Proxy(anvil.url) as proxy:
        proxy.down = True
        async with reporters_of(anvil, rollup, [anvil.url] * 3 + [proxy.url], [1, 1, 1, 1]) as network:
            head = anvil.mine(5)
            await network.settle(2)
            await assert_agreed_is(client, network.agreement.state, head - 1)
            behind = network.reporters[3]
            assert behind.watcher.status.code == "l1_unreachable"
            assert [alarm.code for alarm in behind.alarms] == ["l1_unreachable"]
            proxy.down = False
            await network.settle(2)
            assert behind.alarms == ()
            assert behind.watcher.tip.number == head


async def test_it_says_nothing_twice_and_says_again_what_was_lost(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    async with reporters_of(anvil, rollup, [anvil.url], [1]) as network:
        reporter, agreement = network.reporters[0], network.agreement
        now = 1_000.0
        reporter._clock = lambda: now
        lost: list[bytes] = []
        reporter._submit = lost.append
        anvil.mine(3)
        await reporter.watcher.step()
        first = reporter.step()
        assert first is not None
        assert reporter.step() is None, "the same again is no news"
        now += 5
        again = reporter.step()
        assert again is not None
        assert lost == [first, again]
        assert decode_l1_item(again).report.sequence > decode_l1_item(first).report.sequence
        reporter._submit = agreement.submit
        now -= 1_000  # a clock that was set back makes no older sequence
        anvil.mine()
        await reporter.watcher.step()
        assert reporter.step() is not None, reporter._refusal
        assert agreement.state.reports[0].sequence > decode_l1_item(again).report.sequence


async def test_a_refused_report_is_an_alarm_and_no_failure(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    async with reporters_of(anvil, rollup, [anvil.url], [1]) as network:
        reporter = network.reporters[0]

        def refuse(raw: bytes) -> None:
            raise ActionRefused("the key of this L1 report belongs to no validator", code="l1_reporter_unknown")

        reporter._submit = refuse
        anvil.mine(2)
        await reporter.watcher.step()
        assert reporter.step() is None
        reporter.step()
        assert [alarm.code for alarm in reporter.alarms] == ["l1_reporter_unknown"]
        assert "seed" not in repr(reporter).replace("L1Reporter", "")


async def test_blocks_of_one_second_are_agreed_on_too(anvil: Anvil, client: L1Client) -> None:
    anvil.call("anvil_removeBlockTimestampInterval")
    rollup = RollupOnL1(anvil, 901)
    async with reporters_of(anvil, rollup, [anvil.url], [1]) as network:
        head = anvil.mine(8)
        times = [facts.timestamp for facts in (await client.headers(1, head))]
        assert len(set(times)) < len(times), "a development L1 mines several blocks a second"
        await network.settle(2)
        await assert_agreed_is(client, network.agreement.state, head - 1)


async def test_a_rollup_that_is_bound_later_is_told_of_from_then_on(anvil: Anvil, client: L1Client) -> None:
    """Reporters look anew at what they have said already; agreement goes on with the new rollup's deposits."""
    rollup, later = RollupOnL1(anvil, 901), RollupOnL1(anvil, 902)
    async with reporters_of(anvil, rollup, [anvil.url] * 4, [1, 1, 1, 1], lag_blocks=3) as network:
        agreement = network.agreement
        anvil.mine(5)
        await network.settle(4)
        later.deposit()
        with_deposit = anvil.mine()
        for reporter in network.reporters:
            await reporter.watcher.step()
            reporter.step()  # said of the block, without the rollup
        before = agreement.state.head.number
        assert before < with_deposit
        agreement.state = with_bindings(agreement.state, (*agreement.state.bindings, later.config), Slot(1))
        assert all(report.digests == () for report in agreement.state.reports)
        head = anvil.mine(20)
        await network.settle(8)
        await assert_agreed_is(client, agreement.state, head - 3)
        told = [facts.number for facts in agreement.state.blocks if facts.of(RollupId(902)).deposits]
        assert told == [with_deposit]
        assert {facts.generation for facts in agreement.state.blocks if facts.number > before} == {1}
        assert agreement.cuts == [], "facts of another generation are no reorganisation"
