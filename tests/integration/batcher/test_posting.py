"""What the batcher posts to a real anvil decodes to the rollups' blocks, in every format."""

from __future__ import annotations

from pathlib import Path

import pytest
from batcher_inbox import posted_channels
from batcher_world import BATCHER, Anvil, Chain, facts_at, make_batcher

from plait.derivation.batches import SingularBatch, decode_singular
from plait.derivation.channel_reading import read_batches
from plait.derivation.span_batches import decode_span
from plait.l1.client import L1Client
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.blocks import batch_block
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.service import Batcher, BatcherTerms

pytestmark = pytest.mark.node_js


def expected(chain: Chain) -> list[SingularBatch]:
    raws = [chain.rollup.raw_block(number) for number in range(1, chain.rollup.head.number + 1)]
    return [batch_block(raw).batch for raw in raws if raw is not None]


async def two_chains(anvil: Anvil, client: L1Client, blocks: int, transactions: int) -> list[Chain]:
    anvil.mine(3)
    origin = await facts_at(client, 1)
    assert origin is not None
    chains = [Chain(901, origin), Chain(902, origin)]
    for chain in chains:
        await chain.grow(client, blocks, transactions)
    return chains


@pytest.mark.parametrize(("compression", "carrier"), [("zlib", "calldata"), ("brotli", "calldata"), ("zlib", "blob")])
async def test_singular_batches_decode_to_the_blocks(
    anvil: Anvil, client: L1Client, compression: str, carrier: str
) -> None:
    chains = await two_chains(anvil, client, 6, 3)
    terms = BatcherTerms(
        format=Format(carrier=carrier, batch="singular", compression=compression),  # type: ignore[arg-type]
    )
    batcher = make_batcher(ClientAccess(client), chains, terms)
    batcher.flush()
    await batcher.step()
    anvil.mine()
    await batcher.step()
    channels = posted_channels(anvil)
    assert len(channels) == 2, "one complete channel of each rollup"
    assert anvil.nonce() == 1, "one transaction for both"
    for chain, channel in zip(chains, channels, strict=True):
        assert [decode_singular(batch) for batch in read_batches(channel)] == expected(chain)
    status = batcher.status()
    assert [one["postedTo"] for one in status["rollups"].values()] == [6, 6]
    receipt = anvil.call("eth_getTransactionReceipt", anvil.block_transactions(anvil.number())[0]["hash"])
    paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    paid += int(receipt.get("blobGasUsed") or "0x0", 16) * int(receipt.get("blobGasPrice") or "0x0", 16)
    assert sum(costs.wei for costs in batcher.costs().values()) == paid, "the shares add up to what was paid"


@pytest.mark.parametrize("carrier", ["calldata", "blob"])
async def test_span_batches_in_many_frames_decode_to_the_blocks(anvil: Anvil, client: L1Client, carrier: str) -> None:
    chains = await two_chains(anvil, client, 20, 8)
    terms = BatcherTerms(
        format=Format(carrier=carrier, batch="span", transaction_bytes_max=3_000),  # type: ignore[arg-type]
    )
    batcher = make_batcher(ClientAccess(client), chains, terms)
    batcher.flush()
    await batcher.step()
    anvil.mine()
    await batcher.step()
    assert anvil.nonce() == 1 if carrier == "blob" else anvil.nonce() > 5, "calldata needs several transactions"
    for chain, channel in zip(chains, posted_channels(anvil), strict=True):
        (batch,) = read_batches(channel)
        span = decode_span(batch, genesis_time_s=chain.config.genesis_time_s, block_time_s=1, chain_id=chain.chain_id)
        blocks = expected(chain)
        assert [(one.epoch_number, one.timestamp, one.transactions) for one in span.blocks] == [
            (one.epoch_number, one.timestamp, one.transactions) for one in blocks
        ]


async def test_costs_survive_restarts_and_count_every_transaction_once(
    anvil: Anvil, client: L1Client, tmp_path: Path
) -> None:
    """Three postings, a restart after each and one when all are final: what is counted is what L1 took in."""
    chains = await two_chains(anvil, client, 2, 1)

    def paid() -> int:
        blocks = [anvil.block_transactions(number) for number in range(1, anvil.number() + 1)]
        ours = [one["hash"] for block in blocks for one in block if one["from"] == "0x" + BATCHER.address.hex()]
        receipts = [anvil.call("eth_getTransactionReceipt", one) for one in ours]
        return sum(int(one["gasUsed"], 16) * int(one["effectiveGasPrice"], 16) for one in receipts)

    def restarted() -> Batcher:
        return make_batcher(ClientAccess(client), chains, BatcherTerms(), directory=tmp_path / "journal")

    def counted(batcher: Batcher) -> int:
        return sum(costs.wei for costs in batcher.costs().values())

    for _ in range(3):
        batcher = restarted()
        batcher.flush()
        await batcher.step()
        anvil.mine()
        await batcher.step()
        assert counted(batcher) == paid() > 0
        batcher = restarted()
        await batcher.step()
        assert counted(batcher) == paid(), "receipts that are not final are read again"
        for chain in chains:
            await chain.grow(client, 2)
    anvil.mine(40)
    await batcher.step()
    assert not batcher._journal.entries, "all of it is final"
    again = restarted()
    assert counted(again) == paid(), "before it asked L1"
    assert {one: costs.postings for one, costs in again.costs().items()} == {901: 3, 902: 3}
    assert again.statistics()["cost_wei"] == paid()
    assert again.status()["rollups"]["901"]["costs"]["blocks"] == 6
