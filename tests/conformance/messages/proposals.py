"""An independent reading of a decided proposal: are its bundles whole, and are its deliveries and relays what they must
be? Judged from the proposal's bytes and from what its transactions logged; no code of plait/protocol or plait/execution
takes part.

    leg          as the terms name it by hash; every transaction took place and succeeded, or may revert
    delivery     type 2, to messenger, desk or fees; declares one message and executes it; delivers a message that its
                 bundle sent, or claims a fee
    owed         what a bundle sends is delivered in it, when its terms say so or when the message is demanded
    demand       no transaction outside of bundles demands a delivery
    relay        as a delivery, of any message
    pin          the bundle's first transaction on the rollup begins at that log of that block
    order        legs (and deliveries) of the bundles in their order, then plain transactions, then relays
    bundles      strictly ascending by (not pinned, -bid, stamp, hash)

Sources: docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import rlp
from eth_abi import decode, encode
from eth_hash.auto import keccak

from tests.conformance.messages.checker import (
    EXECUTING,
    FEES,
    INBOX,
    MESSENGER,
    RELAYED,
    REQUIRED,
    Malformed,
    declared_by,
)
from tests.conformance.messages.reading import Log, read_access_list

DESK = bytes.fromhex("504c414954000000000000000000000000000001")
SENT = keccak(b"SentMessage(uint256,address,uint256,address,bytes)")


class Outcome(NamedTuple):
    """What came of a transaction in the open block."""

    status: int
    logs: tuple[Log, ...]
    block_number: int
    log_index: int
    """Of its first log, or where it would be."""


Outcomes = Callable[[int, bytes], Outcome]
"""By rollup and transaction hash."""


class _Bundle(NamedTuple):
    hash: bytes
    key: tuple[bool, int, int, bytes]
    legs: dict[int, tuple[bytes, list[int]]]
    """Per rollup the leg's hash and the allowed reverts."""
    required: bool
    pins: list[tuple[int, int, int]]


class _Messages(NamedTuple):
    """Hashes of what a bundle sent, delivered, and demanded to be delivered."""

    sent: list[bytes]
    delivered: set[bytes]
    demanded: set[bytes]


def faults_of(proposal: bytes, outcomes: Outcomes, rollups: Collection[int]) -> list[str]:
    """Sentences about everything that is wrong; none when all is well.

    Args:
        proposal: as decided.
        outcomes: of its transactions, as committed.
        rollups: the interop set that all of them belong to.
    """
    parts = rlp.decode(proposal)
    bundles = [_read_bundle(stamp, terms) for stamp, terms in parts[2]]
    blocks = {_integer(rollup_id): [bytes(item) for item in items] for rollup_id, items in parts[-1]}
    faults: list[str] = []
    if [bundle.key for bundle in bundles] != sorted({bundle.key for bundle in bundles}):
        faults.append("bundles are not in order")
    heads = dict.fromkeys(blocks, 0)
    for bundle in bundles:
        faults += _check_bundle(bundle, blocks, heads, outcomes, rollups)
    for rollup_id, items in blocks.items():
        rest = items[heads[rollup_id] :]
        kinds = [item[0] for item in rest]
        if kinds != sorted(kinds) or set(kinds) - {0, 2}:
            faults.append(f"items of rollup {rollup_id} stand in the order {kinds} after its bundles")
        for item in rest:
            raw = item[7:] if item[0] == 0 else item[1:]
            outcome = outcomes(rollup_id, keccak(raw))
            if item[0] == 2 and (problem := _no_relay(raw, outcome)):
                faults.append(f"relay 0x{keccak(raw).hex()} on rollup {rollup_id} {problem}")
            if _demands(outcome.logs):
                faults.append(f"0x{keccak(raw).hex()} on rollup {rollup_id} demands a delivery outside of bundles")
    return faults


def _read_bundle(stamp: bytes, terms: bytes) -> _Bundle:
    _, _, _, legs, _, bid, required, pins = rlp.decode(terms)
    bundle_hash = sha256(terms).digest()
    amount = _integer(bid[1]) if bid else 0
    return _Bundle(
        bundle_hash,
        (not pins, -amount, _integer(stamp), bundle_hash),
        {
            _integer(rollup_id): (leg_hash, [_integer(place) for place in allowed])
            for rollup_id, leg_hash, allowed in legs
        },
        bool(_integer(required)),
        [(_integer(pin[0]), _integer(pin[1]), _integer(pin[2])) for pin in pins],
    )


def _check_bundle(
    bundle: _Bundle,
    blocks: dict[int, list[bytes]],
    heads: dict[int, int],
    outcomes: Outcomes,
    rollups: Collection[int],
) -> list[str]:
    """Takes the bundle's items from the heads of the blocks, and judges them."""
    name = f"bundle 0x{bundle.hash[:4].hex()}"
    faults: list[str] = []
    seen = _Messages([], set(), set())
    deliveries: list[tuple[int, bytes, Outcome]] = []
    for rollup_id in sorted(blocks):
        items = blocks[rollup_id]
        leg_hash, allowed = bundle.legs.get(rollup_id, (b"", []))
        at = heads[rollup_id]
        leg = _take(items, heads, rollup_id, b"\x01" + bundle.hash)
        if (leg is not None) != (rollup_id in bundle.legs):
            faults.append(f"{name} has a leg on rollup {rollup_id} in its terms or in its items, not in both")
        if leg is not None and sha256(items[at][33:]).digest() != leg_hash:
            faults.append(f"{name} has another leg on rollup {rollup_id} than its terms name")
        pinned = [pin[1:] for pin in bundle.pins if pin[0] == rollup_id]
        for place, raw in enumerate(leg or []):
            outcome = outcomes(rollup_id, keccak(raw))
            if outcome.status != 1 and place not in allowed:
                faults.append(f"{name}: transaction {place} on rollup {rollup_id} failed")
            if place == 0 and pinned and pinned[0] != (outcome.block_number, outcome.log_index):
                faults.append(f"{name} is pinned to {pinned[0]} and stands at {outcome[2:]}")
            _note(rollup_id, outcome.logs, rollups, seen)
        for raw in _take(items, heads, rollup_id, b"\x03" + bundle.hash) or []:
            outcome = outcomes(rollup_id, keccak(raw))
            deliveries.append((rollup_id, raw, outcome))
            _note(rollup_id, outcome.logs, rollups, seen)
    if missing := set(bundle.legs) - set(blocks):
        faults.append(f"{name} has no items on rollups {sorted(missing)}")
    for rollup_id, raw, outcome in deliveries:
        problem = _no_relay(raw, outcome)
        theirs = {log.topics[3] for log in outcome.logs if log.origin == MESSENGER and log.topics[:1] == (RELAYED,)}
        if problem or (not theirs & set(seen.sent) and _to(raw) != FEES):
            faults.append(f"{name}: a delivery on rollup {rollup_id} {problem or 'delivers no message of the bundle'}")
    owed = ({*seen.sent} if bundle.required else set()) | seen.demanded
    if owed - seen.delivered:
        faults.append(f"{name} owes the delivery of {len(owed - seen.delivered)} messages")
    return faults


def _take(items: Sequence[bytes], heads: dict[int, int], rollup_id: int, prefix: bytes) -> list[bytes] | None:
    place = heads[rollup_id]
    if place >= len(items) or not items[place].startswith(prefix):
        return None
    heads[rollup_id] = place + 1
    return [bytes(raw) for raw in rlp.decode(items[place][33:])]


def _note(rollup_id: int, logs: Sequence[Log], rollups: Collection[int], seen: _Messages) -> None:
    for log in logs:
        if log.origin == MESSENGER and log.topics[:1] == (SENT,):
            destination, target, nonce = (_integer(topic) for topic in log.topics[1:])
            sender, message = decode(["address", "bytes"], log.data)
            fields = (destination, rollup_id, nonce, sender, "0x" + target.to_bytes(20, "big").hex(), message)
            types = ["uint256", "uint256", "uint256", "address", "address", "bytes"]
            if destination in rollups:
                seen.sent.append(keccak(encode(types, fields)))
        if log.origin == MESSENGER and log.topics[:1] == (RELAYED,):
            seen.delivered.add(log.topics[3])
    seen.demanded.update(_demands(logs))


def _demands(logs: Sequence[Log]) -> set[bytes]:
    return {log.topics[1] for log in logs if log.origin == FEES and log.topics[:1] == (REQUIRED,)}


def _no_relay(raw: bytes, outcome: Outcome) -> str:
    """Why a transaction is neither a delivery nor a claim; empty when it is one."""
    if raw[0] != 2 or _to(raw) not in {MESSENGER, DESK, FEES}:
        return "is of another type or calls something else"
    try:
        declared = declared_by(read_access_list(raw))
    except Malformed as malformed:
        return f"declares badly: {malformed}"
    executed = [log for log in outcome.logs if log.origin == INBOX and log.topics[:1] == (EXECUTING,)]
    if outcome.status != 1 or len(declared) != 1 or not executed:
        return f"has status {outcome.status}, declares {len(declared)} messages and executes {len(executed)}"
    return ""


def _to(raw: bytes) -> bytes:
    return bytes(rlp.decode(raw[1:])[5]) if raw[0] == 2 else b""


def _integer(data: Any) -> int:
    return int.from_bytes(data, "big")
