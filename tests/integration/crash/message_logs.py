"""Messages as the blocks of a node show them: which transaction sent each, which one delivered it, at which height."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from bundled_traffic import Offered
from killed_node import CHAINS, answers

from plait.client import Client
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import Log, decode_relayed_message, is_relayed_message
from plait.interop.relays import relays_of
from plait.types import Address, BlockNumber, Hash32, Seconds

DEPOSIT_TYPE = "0x7e"
Place = tuple[int, str]
"""Rollup and transaction hash."""


class Seen(NamedTuple):
    """Everything in sealed blocks."""

    heights: dict[Place, int]
    """Of every transaction in a sub-block."""
    sent: dict[Place, list[bytes]]
    """Hashes of the messages that a transaction sent."""
    delivered: dict[bytes, Place]
    """Message -> who delivered it."""


async def read(client: Client) -> Seen:
    """Reads all sub-blocks and all sealed blocks; both must hold the same transactions."""
    heights: dict[Place, int] = {}
    newest = (await client.call("plait_slot"))["height"]
    for sub_block in await answers(client, [("plait_getSubBlock", (height,)) for height in range(1, newest + 1)]):
        for part in sub_block["rollups"]:
            for hash_ in part["transactions"]:
                place = (part["rollupId"], hash_)
                assert place not in heights, f"{place} is decided twice: {heights[place]}, {sub_block['height']}"
                heights[place] = sub_block["height"]
    seen = Seen(heights, {}, {})
    in_blocks: set[Place] = set()
    for chain_id in CHAINS:
        rollup = client.at(str(chain_id))
        head = int(await rollup.call("eth_blockNumber"), 16)
        numbers = range(1, head + 1)
        blocks = await answers(rollup, [("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
        listed = await answers(rollup, [("eth_getBlockReceipts", (hex(number),)) for number in numbers])
        for block, receipts in zip(blocks, listed, strict=True):
            for receipt in receipts:
                if receipt["type"] != DEPOSIT_TYPE:
                    in_blocks.add((chain_id, receipt["transactionHash"]))
                    _read_receipt(seen, chain_id, receipt, int(block["timestamp"], 16))
    missing = heights.keys() - in_blocks
    assert not missing, f"decided and in no block: {missing}"
    assert in_blocks <= heights.keys(), f"in a block and never decided: {in_blocks - heights.keys()}"
    return seen


def _read_receipt(seen: Seen, chain_id: int, receipt: dict[str, Any], timestamp: int) -> None:
    place = (chain_id, receipt["transactionHash"])
    logs = [
        Log(
            Address(bytes.fromhex(log["address"][2:])),
            [Hash32(bytes.fromhex(topic[2:])) for topic in log["topics"]],
            bytes.fromhex(log["data"][2:]),
        )
        for log in receipt["logs"]
    ]
    if not logs:
        return
    relays = relays_of(
        logs,
        first_log_index=LogIndex(int(receipt["logs"][0]["logIndex"], 16)),
        block_number=BlockNumber(int(receipt["blockNumber"], 16)),
        timestamp=Seconds(timestamp),
        chain_id=MessageChainId(chain_id),
    )
    seen.sent[place] = [relay.message_hash for relay in relays]
    for log in filter(is_relayed_message, logs):
        message = decode_relayed_message(log.topics, log.data).message_hash
        assert message not in seen.delivered, f"{message.hex()} is delivered twice: {seen.delivered[message]}, {place}"
        seen.delivered[message] = place


def check_delivered(seen: Seen, bundles: Iterable[Offered]) -> int:
    """Every message of a bundle that demands delivery, and every message that these cause, is delivered in the bundle's
    sub-block, by the transactions that were reported; how many that is."""
    count = 0
    for offered in bundles:
        if not offered.delivers or offered.hashes()[0] not in seen.heights:
            continue
        height = seen.heights[offered.hashes()[0]]
        waiting = [message for place in offered.hashes() for message in seen.sent.get(place, ())]
        assert waiting, f"{offered} sent nothing"
        delivering: set[Place] = set()
        while waiting:
            message = waiting.pop()
            place = seen.delivered.get(message)
            assert place is not None, f"half: message {message.hex()} of {offered} at {height} is not delivered"
            assert seen.heights[place] == height, f"half: {offered} is at {height}, not so its delivery {place}"
            delivering.add(place)
            waiting.extend(seen.sent.get(place, ()))
            count += 1
        if offered.height is not None:
            reported = {(rollup, hash_) for rollup, hashes in offered.deliveries.items() for hash_ in hashes}
            assert reported == delivering, f"{offered}: reported {reported}, found {delivering}"
    return count
