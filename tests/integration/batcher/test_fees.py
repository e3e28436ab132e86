"""On a real anvil: a transaction that offers too little is replaced by one that offers enough."""

from __future__ import annotations

import time

import pytest
from batcher_world import BATCHER, Anvil, Chain, facts_at, make_batcher

from plait.l1.client import L1Client
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
