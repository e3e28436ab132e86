"""What a node shows to light clients: headers that link to its app hashes, items that have the headers' roots, heights
of slots; ranges are bounded, and what is asked for wrongly is refused."""

import time
from typing import Any

import pytest

from plait.client.light import RpcProvider
from plait.errors import Unavailable
from plait.light.stream import check_items, check_rollups, link
from plait.limits import LIGHT_HEADERS_PER_CALL_MAX
from plait.protocol.proposal import decode_proposal, encode_header
from plait.rpc.methods.proofs import header_bytes_of
from plait.types import Hash32, Height, RollupId, Slot
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import ONE, OTHER, next_nonce, signed


@pytest.fixture(scope="module")
def height(node: Running) -> int:
    """Of a sub-block after some that have items."""
    for rollup in (ONE, OTHER):
        for nonce in range(next_nonce(node, 0, rollup), 12):
            node.call("eth_sendRawTransaction", "0x" + signed(0, rollup, nonce).hex(), rollup=rollup)
            time.sleep(0.02)
    deadline = time.monotonic() + 20
    while any(
        int(node.call("eth_getTransactionCount", "0x" + WALLETS[0].address.hex(), "latest", rollup=rollup), 16) < 12
        for rollup in (ONE, OTHER)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(node.call("plait_slot")["height"])


def test_headers_link_to_the_app_hash_and_items_have_their_roots(node: Running, height: int) -> None:
    headers = [bytes.fromhex(one[2:]) for one in node.call("plait_getSubBlockHeaders", 1, height)]
    shown = node.call("plait_getSubBlock", height)
    app_hash = Hash32(bytes.fromhex(shown["appHash"][2:]))
    linked = link(headers, first=Height(1), count=height, app_hash=app_hash)
    transactions = 0
    for one in linked:
        check_rollups(one.header)
        assert one.header.commitment.ids == (ONE, OTHER)
        for rollup in (ONE, OTHER):
            found = node.call("plait_getSubBlockItems", one.header.height, rollup)
            check_items(one.header, RollupId(rollup), [bytes.fromhex(item[2:]) for item in found])
            transactions += len(found)
    assert transactions >= 24


def test_a_header_is_cut_out_of_its_proposal_as_it_was_encoded(node: Running, height: int) -> None:
    for record in node.node.log.iterate(Height(1), Height(height)):
        assert header_bytes_of(record.proposal) == encode_header(decode_proposal(record.proposal).header)


def test_heights_of_slots_are_those_of_the_headers(node: Running, height: int) -> None:
    slots = {h: node.call("plait_getSubBlock", h)["slot"] for h in range(1, height + 1)}
    last = slots[height] - 1
    for first in range(last):
        found = node.call("plait_getHeightsOfSlots", first, last)
        inside = [h for h, slot in slots.items() if first <= slot <= last]
        assert (found["first"], found["end"]) == (min(inside), max(inside) + 1)


async def test_the_provider_reads_what_the_node_shows(node: Running, height: int) -> None:
    async with RpcProvider(node.url(None)) as provider:
        headers = await provider.sub_block_headers(Height(1), Height(height))
        assert len(headers) == height
        items = await provider.sub_block_items([Height(h) for h in range(1, height + 1)], RollupId(ONE))
        assert sum(map(len, items)) >= 12
        first, end = await provider.heights_of_slots(Slot(0), Slot(2**40))
        assert first == 1
        assert end > height
        with pytest.raises(Unavailable) as caught:
            await provider.light_block(None)
        assert caught.value.code == "light_blocks_missing"
        with pytest.raises(Unavailable) as caught:
            await provider.sub_block_items([Height(10**9)], RollupId(ONE))
        assert caught.value.code == "height_unknown"


@pytest.mark.parametrize(
    ("call", "number", "code"),
    [
        (("plait_getSubBlockHeaders", 1, LIGHT_HEADERS_PER_CALL_MAX + 1), -32005, "range_too_large"),
        (("plait_getSubBlockHeaders", 1, 2**63), -32005, "range_too_large"),
        (("plait_getSubBlockHeaders", 0, 1), -32000, "height_unknown"),
        (("plait_getSubBlockHeaders", 2, 1), -32000, "height_unknown"),
        (("plait_getSubBlockHeaders", 2**40, 2**40 + 1), -32000, "height_unknown"),
        (("plait_getSubBlockItems", 0, ONE), -32000, "height_unknown"),
        (("plait_getSubBlockItems", 2**64, ONE), -32000, "height_unknown"),
        (("plait_getHeightsOfSlots", 2, 1), -32602, "range_invalid"),
        (("plait_getHeightsOfSlots", 0, 2**60), -32602, "range_invalid"),
        (("plait_getLightBlock", "latest"), -32000, "light_blocks_missing"),
        (("plait_getLightBlock", 7), -32000, "light_blocks_missing"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    node: Running, height: int, call: tuple[Any, ...], number: int, code: str
) -> None:
    error = node.error(*call)
    assert (error["code"], error["data"]["code"]) == (number, code)


def test_a_rollup_that_there_is_not_has_no_items(node: Running, height: int) -> None:
    assert node.call("plait_getSubBlockItems", height, 999) == []
