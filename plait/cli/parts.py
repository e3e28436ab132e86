"""What a decided transaction is part of, and which messages it executes.

A sub-block holds a transaction as an item: alone, in a bundle's leg, in the deliveries of a bundle, or as a relay.
The item's first byte says which, and a bundle's hash follows it (`plait.protocol.proposal`); the node gives the item
with its inclusion proof. The messages are those that the access list declares.
"""

from typing import Any, Final

from plait.errors import PlaitError
from plait.interop.access_list import Access, parse_access_list
from plait.protocol.proposal import DELIVERIES_KIND, LEG_HEAD_BYTES, LEG_KIND, RELAY_KIND
from plait.types import Address, Hash32

MESSAGES_SHOWN_MAX: Final = 4
_KINDS: Final = {LEG_KIND: "leg", DELIVERIES_KIND: "delivery", RELAY_KIND: "relay"}
_WORDS: Final = {
    "leg": "of bundle {bundle}",
    "delivery": "a delivery of bundle {bundle}",
    "relay": "a relay: the node's relayer delivers a message, or claims its fee",
}


def part_of(item: str) -> dict[str, str | None]:
    """`kind` (plain, leg, delivery, relay) and `bundleHash` of a proposal's item, 0x hex."""
    data = bytes.fromhex(item[2:])
    kind = _KINDS.get(data[:1], "plain")
    bundled = kind in {"leg", "delivery"}
    return {"kind": kind, "bundleHash": "0x" + data[1:LEG_HEAD_BYTES].hex() if bundled else None}


def executed(transaction: dict[str, Any]) -> list[dict[str, int]]:
    """Where the logs are that a transaction of eth_getTransactionByHash declares to execute; none when it declares
    nothing that can be read."""
    try:
        found = parse_access_list(
            [
                (
                    Address(bytes.fromhex(entry["address"][2:])),
                    [Hash32(bytes.fromhex(k[2:])) for k in entry["storageKeys"]],
                )
                for entry in transaction.get("accessList") or []
            ]
        )
    except PlaitError:
        return []
    return [_place(access) for access in found]


def _place(access: Access) -> dict[str, int]:
    return {"chainId": access.chain_id, "blockNumber": access.block_number, "logIndex": access.log_index}


def rows_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines for people about `partOf` and `executes` of a transaction."""
    rows: list[tuple[str, str]] = []
    part = found.get("partOf") or {}
    if part.get("kind") in _WORDS:
        rows.append(("part", _WORDS[part["kind"]].format(bundle=part["bundleHash"])))
    places = found.get("executes") or []
    for place in places[:MESSAGES_SHOWN_MAX]:
        where = f"log {place['logIndex']} of block {place['blockNumber']} on rollup {place['chainId']}"
        rows.append(("executes", where))
    if len(places) > MESSAGES_SHOWN_MAX:
        rows.append(("", f"and {len(places) - MESSAGES_SHOWN_MAX} more"))
    return rows
