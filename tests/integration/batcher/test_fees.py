"""On a real anvil: a transaction that offers too little is replaced by one that offers enough."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from batcher_world import BATCHER, Anvil, Chain, facts_at, make_batcher

from plait.errors import Unavailable
from plait.l1.client import L1Client
from plait.node.opstack_file import OPSTACK_FILE, read_opstack
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.l1_sender import SenderSettings
from plait.rollups.batcher.service import BatcherTerms

pytestmark = pytest.mark.node_js

GWEI = 10**9


class Clock:
    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


async def one_chain(anvil: Anvil, client: L1Client) -> Chain:
    anvil.mine(3)
    origin = await facts_at(client, 1)
    assert origin is not None
    chain = Chain(901, origin)
    await chain.grow(client, 3)
    return chain


@pytest.mark.parametrize("carrier", ["calldata", "blob"])
async def test_a_jump_of_the_base_fee_is_answered_with_a_replacement(
    anvil: Anvil, client: L1Client, carrier: str
) -> None:
    chain = await one_chain(anvil, client)
    clock = Clock()
    batcher = make_batcher(
        ClientAccess(client),
        [chain],
        BatcherTerms(format=Format(carrier=carrier), sender=SenderSettings(bump_after_s=60)),  # type: ignore[arg-type]
        now_s=clock,
    )
    batcher.flush()
    await batcher.step()
    base = int(anvil.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    anvil.call("anvil_setNextBlockBaseFeePerGas", hex(20 * base))
    anvil.mine()
    assert anvil.nonce() == 0, "the first offer is too small for the new base fee"
    assert anvil.number() == 4
    await batcher.step()
    anvil.mine()
    assert batcher.sender.bumps >= 1
    await batcher.step()
    assert anvil.nonce() == 1, "the replacement is included"
    assert anvil.number() == 5
    assert batcher.sender.in_flight() == 0


async def test_what_waits_for_too_long_offers_ten_percent_more(anvil: Anvil, client: L1Client) -> None:
    chain = await one_chain(anvil, client)
    clock = Clock()
    batcher = make_batcher(
        ClientAccess(client), [chain], BatcherTerms(sender=SenderSettings(bump_after_s=30)), now_s=clock
    )
    batcher.flush()
    await batcher.step()
    first = anvil.call("txpool_content")["pending"]
    (offered,) = next(one for sender, one in first.items() if sender.lower() == "0x" + BATCHER.address.hex()).values()
    clock.now_s += 31
    await batcher.step()
    again = anvil.call("txpool_content")["pending"]
    (raised,) = next(one for sender, one in again.items() if sender.lower() == "0x" + BATCHER.address.hex()).values()
    assert raised["hash"] != offered["hash"]
    assert raised["input"] == offered["input"]
    for field in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert int(raised[field], 16) * 10 >= int(offered[field], 16) * 11, field


async def test_a_bound_on_fees_is_kept(anvil: Anvil, client: L1Client) -> None:
    chain = await one_chain(anvil, client)
    clock = Clock()
    settings = SenderSettings(bump_after_s=1, fee_cap_max_wei=3 * GWEI)
    batcher = make_batcher(ClientAccess(client), [chain], BatcherTerms(sender=settings), now_s=clock)
    batcher.flush()
    await batcher.step()
    for _ in range(20):
        clock.now_s += 2
        await batcher.step()
    (fees,) = [entry.offers[-1][1] for entry in batcher._journal.entries.values()]
    assert fees.fee_cap <= 3 * GWEI


def chosen(home: Path, settings: str) -> BatcherTerms:
    """Terms of a node whose operator wrote this under [batcher] in opstack.toml."""
    file = home / OPSTACK_FILE
    file.write_text(f'[l1]\nrpc_url = "http://127.0.0.1:1"\n[batcher]\nkey_file = "k"\n{settings}\n')
    file.chmod(0o600)
    found = read_opstack(home).batcher
    assert found is not None
    return found.terms()


def offered(anvil: Anvil) -> dict[str, Any]:
    """The batcher's one transaction in anvil's pool."""
    pool = anvil.call("txpool_content")["pending"]
    (found,) = next(one for sender, one in pool.items() if sender.lower() == "0x" + BATCHER.address.hex()).values()
    return dict(found)


async def test_an_operator_chooses_when_and_by_how_much_offers_rise(
    anvil: Anvil, client: L1Client, tmp_path: Path
) -> None:
    """After 5 s instead of 30, by 25 % instead of 10, from a tip of 3 gwei."""
    chain, clock = await one_chain(anvil, client), Clock()
    terms = chosen(tmp_path, "bump_after_s = 5\nbump_percent = 25\ntip_min_wei = 3_000_000_000")
    batcher = make_batcher(ClientAccess(client), [chain], terms, now_s=clock)
    batcher.flush()
    await batcher.step()
    first = offered(anvil)
    assert int(first["maxPriorityFeePerGas"], 16) == 3 * GWEI
    clock.now_s += 4
    await batcher.step()
    assert offered(anvil)["hash"] == first["hash"]
    clock.now_s += 2
    await batcher.step()
    again = offered(anvil)
    assert int(again["maxPriorityFeePerGas"], 16) == 3 * GWEI * 5 // 4
    assert int(again["maxFeePerGas"], 16) * 4 >= int(first["maxFeePerGas"], 16) * 5


@pytest.mark.parametrize("carrier", ["calldata", "blob"])
async def test_above_its_bound_the_batcher_waits_says_so_and_goes_on_when_fees_fall(
    anvil: Anvil, client: L1Client, tmp_path: Path, carrier: str
) -> None:
    """The bound per gas leaves the offer per blob gas alone."""
    chain, clock = await one_chain(anvil, client), Clock()
    base = int(anvil.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    terms = chosen(tmp_path, f'data = "{carrier}"\nfee_cap_max_wei = {4 * base}\nresend_after_s = 1')
    batcher = make_batcher(ClientAccess(client), [chain], terms, now_s=clock)
    batcher.flush()
    await batcher.step()
    first = offered(anvil)
    if carrier == "blob":
        assert int(first["maxFeePerBlobGas"], 16) >= GWEI
    anvil.call("anvil_setNextBlockBaseFeePerGas", hex(20 * base))
    anvil.mine()
    for _ in range(3):
        clock.now_s += 60
        with pytest.raises(Unavailable) as waiting:
            await batcher.step()
        assert waiting.value.code == "batcher_fee_capped"
    (fees,) = [entry.offers[-1][1] for entry in batcher._journal.entries.values()]
    assert fees.fee_cap <= 4 * base
    assert anvil.nonce() == 0
    anvil.call("anvil_setNextBlockBaseFeePerGas", hex(base))
    anvil.mine()
    clock.now_s += 2
    await batcher.step()
    anvil.mine()
    await batcher.step()
    assert anvil.nonce() == 1, "included at what it may offer"
    assert batcher.sender.in_flight() == 0


async def test_a_bound_per_blob_gas_is_one_of_its_own(anvil: Anvil, client: L1Client, tmp_path: Path) -> None:
    chain, clock = await one_chain(anvil, client), Clock()
    terms = chosen(tmp_path, 'data = "blob"\nblob_fee_cap_max_wei = 7\nblob_bump_percent = 150\nbump_after_s = 1')
    batcher = make_batcher(ClientAccess(client), [chain], terms, now_s=clock)
    batcher.flush()
    await batcher.step()
    assert int(offered(anvil)["maxFeePerBlobGas"], 16) == 7
    assert int(offered(anvil)["maxFeePerGas"], 16) > 7
    anvil.mine()
    await batcher.step()
    assert anvil.nonce() == 1


async def test_thresholds_of_the_throttle_are_the_operators(anvil: Anvil, client: L1Client, tmp_path: Path) -> None:
    """Blocks that L1 does not take add up: limits begin at the low threshold and reach the least at the high one."""
    chain = await one_chain(anvil, client)
    terms = chosen(
        tmp_path,
        "interval_s = 86400\n[batcher.throttle]\nbacklog_low_bytes = 1500\nbacklog_high_bytes = 3000\n"
        "block_high_bytes = 900\nblock_low_bytes = 300\ntransaction_high_bytes = 90\ntransaction_low_bytes = 30",
    )
    batcher = make_batcher(ClientAccess(client), [chain], terms, now_s=Clock())
    await batcher.step()
    assert batcher.da_budget() is None, batcher.backlog_bytes()
    blocks: list[int] = []
    while not blocks or blocks[-1] > 300:
        await chain.grow(client, 1, 1)
        await batcher.step()
        budget = batcher.da_budget()
        if budget is not None:
            blocks.append(budget.block_bytes)
            assert batcher.backlog_bytes() >= 1_500
            assert 30 <= budget.transaction_bytes <= 90
    assert blocks == sorted(blocks, reverse=True)
    assert batcher.backlog_bytes() >= 3_000
    assert len(blocks) > 2
    batcher.flush()
    await batcher.step()
    assert batcher.da_budget() is None, "what is posted waits no more"


async def test_the_pause_between_two_looks_at_l1_is_the_operators(
    anvil: Anvil, client: L1Client, tmp_path: Path
) -> None:
    looks = {}
    for poll_s in (0.05, 60):
        chain = await one_chain(anvil, client)
        batcher = make_batcher(ClientAccess(client), [chain], chosen(tmp_path, f"poll_s = {poll_s}"), now_s=Clock())
        step, count = batcher.step, 0

        async def counted(step: Any = step) -> None:
            nonlocal count
            count += 1
            await step()

        batcher.step = counted  # type: ignore[method-assign]
        task = asyncio.create_task(batcher.run())
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        looks[poll_s] = count
    assert looks[60] == 1
    assert looks[0.05] > 3
