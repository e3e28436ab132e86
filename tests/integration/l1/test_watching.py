"""The watcher holds one chain that the L1 really has, through reorganisations, restarts, lies, lag and absence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from anvil_l1 import Anvil, RollupOnL1
from tampering import Proxy

from plait.derivation.l1_facts import l1_facts_digest
from plait.derivation.rollup_config import BlockId
from plait.errors import L1Refused, Unavailable
from plait.l1.client import L1Client
from plait.l1.watcher import L1Watcher

pytestmark = pytest.mark.node_js


async def watch(client: L1Client, *rollups: RollupOnL1, anchor: int = 0, **terms: Any) -> L1Watcher:
    header = await client.header(anchor)
    assert header is not None
    return L1Watcher(
        client,
        chain_id=terms.pop("chain_id", 900),
        anchor=BlockId(header.number, header.hash),
        bindings=[rollup.config for rollup in rollups],
        **terms,
    )


async def read_all(watcher: L1Watcher) -> None:
    while await watcher.step():
        pass


async def assert_holds_the_chain(watcher: L1Watcher, client: L1Client) -> None:
    """Every held block is the L1's own, consecutive, from behind the anchor to the L1's head."""
    head = await client.header("latest")
    assert head is not None
    assert watcher.tip == BlockId(head.number, head.hash)
    first = watcher.anchor.number + 1
    held = watcher.chain(first, 10_000)
    assert [block.facts.number for block in held] == list(range(first, head.number + 1))
    for block in held:
        header = await client.header(block.facts.number)
        assert header is not None
        assert header.hash == block.facts.hash
        assert block.digest == l1_facts_digest(block.facts)


async def test_it_follows_the_head_and_tells_deposits_once(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    watcher = await watch(client, rollup)
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)
    rollup.deposit(value=0)
    number = anvil.mine()
    anvil.mine(40)
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)
    told = [block.facts.number for block in watcher.chain(1, 10_000) if block.facts.rollups]
    assert told == [number]
    assert watcher.status.state == "ok"
    assert watcher.by_hash(watcher.tip.hash) is not None


@pytest.mark.parametrize("depth", [1, 5])
async def test_a_reorganisation_replaces_exactly_the_blocks_that_left(
    anvil: Anvil, client: L1Client, depth: int
) -> None:
    rollup = RollupOnL1(anvil, 901)
    anvil.mine(10)
    rollup.deposit()
    gone = anvil.mine()
    watcher = await watch(client, rollup)
    await read_all(watcher)
    before = {block.facts.number: block.facts for block in watcher.chain(1, 10_000)}
    assert before[gone].rollups
    anvil.call("anvil_reorg", depth, [])
    anvil.mine()
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)
    fork = gone - depth
    assert watcher.deepest_reorganisation == depth
    assert all(watcher.block(number).facts == before[number] for number in range(1, fork + 1))
    assert all(watcher.block(number).facts != before[number] for number in range(fork + 1, gone + 1))
    assert not any(block.facts.rollups for block in watcher.chain(fork + 1, 100)), "the deposit left with its block"


async def test_reorganisations_at_any_moment_leave_one_whole_chain(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(12)
    watcher = await watch(client)
    task = asyncio.create_task(watcher.run())
    for round_ in range(12):
        anvil.mine(1 + round_ % 3)
        anvil.call("anvil_reorg", 1 + round_ * 5 % 7, [])
        await asyncio.sleep(0.01 * (round_ % 4))
    anvil.mine()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)


async def test_an_l1_that_shows_an_older_head_of_the_same_chain_takes_nothing_back(
    anvil: Anvil, client: L1Client
) -> None:
    anvil.mine(10)
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        watcher = await watch(through)
        await read_all(watcher)
        older = anvil.call("eth_getBlockByNumber", "0x5", False)
        proxy.change = lambda method, params, result: older if params[:1] == ["latest"] else result
        await read_all(watcher)
        assert watcher.tip.number == 10
        assert watcher.reorganisations == 0


async def test_it_never_leaves_its_anchor(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(10)
    watcher = await watch(client, anchor=8)
    await read_all(watcher)
    anvil.call("anvil_reorg", 5, [])
    anvil.mine()
    await read_all(watcher)
    assert watcher.status.state == "wrong_chain"
    assert watcher.status.code == "l1_reorg_too_deep"


async def test_it_reads_ahead_no_further_than_its_bound_and_forgets_what_nobody_needs(
    anvil: Anvil, client: L1Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.l1.watcher.L1_CACHE_BLOCKS_MAX", 20)
    anvil.mine(50)
    watcher = await watch(client)
    await read_all(watcher)
    assert watcher.tip.number == 20
    watcher.keep_from(11)
    assert watcher.block(10) is None
    assert watcher.anchor.number == 10
    await read_all(watcher)
    assert watcher.tip.number == 30
    assert watcher.statistics()["blocks"] == 20


async def test_an_l1_that_restarts_is_followed_on(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    anvil.mine(3)
    watcher = await watch(client, rollup)
    await read_all(watcher)
    before = watcher.tip
    anvil.stop()
    await watcher.step()
    assert watcher.status.state == "unreachable"
    assert watcher.status.code == "l1_unreachable"
    assert watcher.tip == before, "what was seen stays"
    anvil.start()
    anvil.mine(3)
    await read_all(watcher)
    assert watcher.status.state == "ok"
    assert watcher.tip.number == before.number + 3
    assert watcher.reorganisations == 0
    await assert_holds_the_chain(watcher, client)


async def test_an_l1_that_came_back_empty_is_named(anvil: Anvil, client: L1Client, tmp_path: Path) -> None:
    anvil.mine(5)
    watcher = await watch(client, anchor=3)
    await read_all(watcher)
    anvil.stop()
    (tmp_path / "anvil" / "anvil.json").unlink()
    anvil.start()
    await watcher.step()
    await watcher.step()
    assert watcher.status.state in {"wrong_chain", "unreachable"}
    anvil.later(100)  # else the same second would give the same blocks
    anvil.mine(6)
    await watcher.step()
    assert watcher.status.code == "l1_reorg_too_deep"
    assert "reset" in watcher.status.message


async def test_another_chain_is_refused_by_its_id(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(3)
    watcher = await watch(client, chain_id=1)
    await read_all(watcher)
    assert watcher.status.state == "wrong_chain"
    assert watcher.status.code == "l1_chain_mismatch"
    assert "chain 900" in watcher.status.message
    assert watcher.chain(1, 10) == []


async def test_a_head_that_stands_still_is_lag(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(3)
    head = await client.header("latest")
    assert head is not None
    now = float(head.timestamp)
    watcher = await watch(client, clock=lambda: now)
    await read_all(watcher)
    assert watcher.status.state == "ok"
    now += 61
    await watcher.step()
    assert watcher.status.code == "l1_lags"
    assert watcher.tip.number == 3, "what is there is still read"


LIES: dict[str, Any] = {
    "a timestamp": ("eth_getBlockByNumber", lambda block: {**block, "timestamp": hex(int(block["timestamp"], 16) + 1)}),
    "a base fee": ("eth_getBlockByNumber", lambda block: {**block, "baseFeePerGas": "0x1"}),
    "a parent": ("eth_getBlockByNumber", lambda block: {**block, "parentHash": "0x" + "11" * 32}),
    "a hash": ("eth_getBlockByNumber", lambda block: {**block, "hash": "0x" + "11" * 32}),
    "a randao": ("eth_getBlockByNumber", lambda block: {**block, "mixHash": "0x" + "11" * 32}),
    "no excess blob gas": ("eth_getBlockByNumber", lambda block: {**block, "excessBlobGas": None}),
    "a field left out": ("eth_getBlockByNumber", lambda block: {k: v for k, v in block.items() if k != "stateRoot"}),
    "a number that is text": ("eth_getBlockByNumber", lambda block: {**block, "gasUsed": "many"}),
    "no deposit": ("eth_getBlockReceipts", lambda receipts: [{**one, "logs": []} for one in receipts]),
    "another deposit": (
        "eth_getBlockReceipts",
        lambda receipts: [
            {**one, "logs": [{**log, "data": log["data"][:-2] + "ff"} for log in one["logs"]]} for one in receipts
        ],
    ),
    "a failed transaction": ("eth_getBlockReceipts", lambda receipts: [{**one, "status": "0x0"} for one in receipts]),
    "no receipts": ("eth_getBlockReceipts", lambda receipts: []),
    "receipts twice": ("eth_getBlockReceipts", lambda receipts: receipts * 2),
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_l1_that_lies_is_believed_nothing(anvil: Anvil, client: L1Client, lie: str) -> None:
    rollup = RollupOnL1(anvil, 901)
    anvil.mine(3)
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        watcher = await watch(through, rollup)
        await read_all(watcher)
        honest = watcher.tip
        rollup.deposit()
        number = anvil.mine()
        method, tamper = LIES[lie]

        def change(asked: str, params: list[Any], result: Any) -> Any:
            return tamper(result) if asked == method and result and params[:1] != [hex(honest.number)] else result

        proxy.change = change
        for _ in range(3):
            await watcher.step()
        assert watcher.status.state == "lying", watcher.status
        assert watcher.status.code == "l1_block_malformed"
        assert watcher.block(number) is None
        assert watcher.tip == honest
        proxy.change = lambda method, params, result: result
        await read_all(watcher)
        assert watcher.status.state == "ok"
        assert watcher.block(number).facts.rollups, "the honest answer is believed"


async def test_block_numbers_of_logs_are_counted_and_not_believed(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    rollup.deposit()
    number = anvil.mine()
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:

        def change(method: str, params: list[Any], result: Any) -> Any:
            for receipt in result if method == "eth_getBlockReceipts" else ():
                for log in receipt["logs"]:
                    log["logIndex"] = "0x77"
            return result

        proxy.change = change
        lied_to, honest = await watch(through, rollup), await watch(client, rollup)
        await read_all(lied_to)
        await read_all(honest)
        assert lied_to.block(number).facts == honest.block(number).facts


async def test_a_node_without_block_receipts_is_asked_for_each(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    rollup.deposit()
    number = anvil.mine()
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        proxy.missing_methods.add("eth_getBlockReceipts")
        watcher = await watch(through, rollup)
        await read_all(watcher)
        assert len(watcher.block(number).facts.rollups[0].deposits) == 2
        assert proxy.asked.count("eth_getBlockReceipts") == 1, "it is not asked again for what it does not have"


async def test_a_short_absence_is_bridged_and_a_long_one_is_named_without_the_urls_key(
    anvil: Anvil, client: L1Client
) -> None:
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url + "/v3/s3cr3t-key") as through:
        proxy.fail_next = 2
        assert await through.chain_id() == 900
        proxy.down = True
        with pytest.raises(Unavailable) as gone:
            await through.chain_id()
        assert gone.value.code == "l1_unreachable"
        proxy.down = False
        proxy.missing_methods.add("eth_chainId")
        with pytest.raises(L1Refused) as refused:
            await through.chain_id()
        for shown in (str(gone.value), repr(gone.value.fields), str(refused.value), repr(through)):
            assert "s3cr3t" not in shown


async def test_a_transaction_is_sent_once(anvil: Anvil, client: L1Client) -> None:
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        proxy.fail_next = 1
        with pytest.raises(Unavailable):
            await through.send_raw_transaction(b"\x02\xc0")
        assert proxy.asked == []


async def test_a_node_that_takes_no_batches_is_asked_one_by_one(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    number = anvil.mine()
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        proxy.no_batches = True
        watcher = await watch(through, rollup)
        await read_all(watcher)
        assert watcher.status.state == "ok"
        assert watcher.block(number).facts.rollups
        assert watcher.finalized is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not json",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"[1]",
        b"{}",
        b'{"id":[],"result":1}',
        b'{"id":1}',
        b"\xff\xfe",
    ],
    ids=range(10),
)
async def test_whatever_an_l1_answers_is_a_state_and_never_a_failure(
    anvil: Anvil, client: L1Client, answer: bytes
) -> None:
    anvil.mine(3)
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url, attempts_max=1) as through:
        watcher = await watch(through)
        await read_all(watcher)
        proxy.raw = answer
        await watcher.step()
        assert watcher.status.state in {"unreachable", "lying", "wrong_chain"}, watcher.status
        assert watcher.tip.number == 3
        proxy.raw = None
        await read_all(watcher)
        assert watcher.status.state == "ok"


async def test_what_is_forgotten_while_it_walks_back_breaks_nothing(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(12)
    watcher = await watch(client)
    await read_all(watcher)
    task = asyncio.create_task(watcher.run())

    async def forget() -> None:
        while True:
            watcher.keep_from(watcher.tip.number - 3)
            await asyncio.sleep(0)

    forgetting = asyncio.create_task(forget())
    for _ in range(15):
        anvil.mine(2)
        anvil.call("anvil_reorg", 6, [])
        await asyncio.sleep(0.06)
    assert not task.done(), "a reorganisation deeper than what is kept is a state and no failure"
    for one in (task, forgetting):
        one.cancel()
    await asyncio.gather(task, forgetting, return_exceptions=True)
    assert watcher.status.state in {"ok", "wrong_chain"}


async def test_nodes_of_two_minds_behind_one_address_are_asked_with_pauses(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(5)
    async with Proxy(anvil.url) as proxy, L1Client(proxy.url) as through:
        watcher = await watch(through)
        await read_all(watcher)
        ours = {number: anvil.call("eth_getBlockByNumber", hex(number), False) for number in range(6)}
        anvil.call("anvil_reorg", 2, [])
        anvil.mine()

        def old_below_the_head(method: str, params: list[Any], result: Any) -> Any:
            asked = params[0] if params else ""
            return ours.get(int(asked, 16), result) if isinstance(asked, str) and asked[:2] == "0x" else result

        proxy.change = old_below_the_head
        assert not await watcher.step(), "nothing can be read at once"
        assert watcher.tip.number == 5
        proxy.change = lambda method, params, result: result
        await read_all(watcher)
        await assert_holds_the_chain(watcher, client)


async def test_blocks_above_the_agreed_one_are_looked_at_anew_for_another_set_of_rollups(
    anvil: Anvil, client: L1Client
) -> None:
    """A deposit below the agreed block stays out, one above it comes in; the chain that is held stays whole."""
    first, second = RollupOnL1(anvil, 901), RollupOnL1(anvil, 902)
    anvil.mine(3)
    second.deposit()
    below = anvil.mine()
    agreed = anvil.mine(2)
    second.deposit()
    above = anvil.mine()
    anvil.mine(40)
    watcher = await watch(client, first)
    await read_all(watcher)
    assert all(not block.facts.rollups for block in watcher.chain(1, 10_000))
    watcher.follow_bindings([first.config, second.config], 1, agreed)
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)
    told = [block.facts.number for block in watcher.chain(1, 10_000) if block.facts.rollups]
    assert told == [above]
    assert below < agreed < above
    assert {block.facts.generation for block in watcher.chain(agreed + 1, 10_000)} == {1}
    assert {block.facts.generation for block in watcher.chain(1, agreed)} == {0}
    deposited = anvil.mine()
    await read_all(watcher)
    assert watcher.tip.number == deposited


async def test_a_set_of_rollups_that_changes_far_below_what_is_held_lets_everything_be_read_again(
    anvil: Anvil, client: L1Client
) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    told_in = anvil.mine()
    head = anvil.mine(10)
    watcher = await watch(client)
    await read_all(watcher)
    watcher.follow_bindings([rollup.config], 1, 0)
    await read_all(watcher)
    await assert_holds_the_chain(watcher, client)
    assert [block.facts.number for block in watcher.chain(1, 10_000) if block.facts.rollups] == [told_in]
    assert watcher.tip.number == head
