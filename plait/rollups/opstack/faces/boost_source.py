"""Our block for a parent and attributes that op-node names, and what else has to take place with it. Level 5.

A block of ours answers a request when it is sealed and its timestamp, randomness, fee recipient, beacon root, gas
limit, fee parameters and forced transactions are those asked for. A request for a block that is open waits for it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from plait.errors import InvalidInput, MessageRefused
from plait.interop.access_list import parse_accesses
from plait.interop.messages import CROSS_L2_INBOX
from plait.limits import BOOST_LEGS_KEPT
from plait.native import PENDING, Rollup, Transaction, decode_transactions, keccak256
from plait.protocol.effects import SubBlockDecided
from plait.rollups.opstack.faces.boost_agreement import BlockKey
from plait.rollups.opstack.faces.host import FaceHost
from plait.types import BlockNumber, Hash32, RollupId

_POLL_S: Final = 0.01


class NoBlock(InvalidInput):
    """There is no block of ours for the request; the engine's own is answered. The code says why."""

    default_code = "boost_no_block"


class OurBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed block that fits a request."""

    number: BlockNumber
    hash: Hash32
    payload_json: bytes
    parent_beacon_block_root: bytes
    needs: frozenset[BlockKey]
    """Blocks of other rollups that have to take place with it."""


class LegBook:
    """Which transactions are legs of bundles, and where the other legs of decided ones are. Bounded; the oldest go.

    A bundle that was dropped, or unwound, is none any more: its transactions may be sent by themselves.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, None] = {}
        self._decided: dict[bytes, tuple[tuple[RollupId, bytes], ...]] = {}

    def __contains__(self, transaction_hash: bytes) -> bool:
        return transaction_hash in self._waiting or transaction_hash in self._decided

    def on_decided(self, effect: SubBlockDecided) -> None:
        """Remembers the bundles of a sub-block; deliveries of their messages belong to them."""
        for bundle in effect.bundles:
            placed = (*bundle.legs, *bundle.deliveries)
            self.decide([(rollup_id, hash_) for rollup_id, hashes in placed for hash_ in hashes])

    def wait(self, members: Sequence[tuple[RollupId, bytes]]) -> None:
        """Transactions of a bundle that is not decided yet."""
        for _rollup_id, hash_ in members:
            self._waiting[hash_] = None
        while len(self._waiting) > BOOST_LEGS_KEPT:
            del self._waiting[next(iter(self._waiting))]

    def decide(self, members: Sequence[tuple[RollupId, bytes]]) -> None:
        """Transactions of a bundle that took place, on all its rollups."""
        for _rollup_id, hash_ in members:
            self._waiting.pop(hash_, None)
            self._decided[hash_] = tuple(members)
        while len(self._decided) > BOOST_LEGS_KEPT:
            del self._decided[next(iter(self._decided))]

    def drop(self, members: Sequence[tuple[RollupId, bytes]]) -> None:
        """Transactions of a bundle that does not take place."""
        for _rollup_id, hash_ in members:
            self._waiting.pop(hash_, None)
            self._decided.pop(hash_, None)

    def others(self, transaction_hash: bytes) -> tuple[tuple[RollupId, bytes], ...]:
        """The decided bundle's transactions, itself included; none for what is no leg of one."""
        return self._decided.get(transaction_hash, ())


class BlockSource:
    """Our blocks of one rollup."""

    def __init__(self, host: FaceHost, rollup_id: RollupId, legs: LegBook) -> None:
        self._host = host
        self._rollup_id = rollup_id
        self._legs = legs

    @property
    def native(self) -> Rollup:
        """The rollup's state and blocks."""
        return self._host.rollups[self._rollup_id].native

    def number_of(self, block_hash: bytes) -> BlockNumber | None:
        """Number of one of our sealed blocks; None for others."""
        if self._rollup_id not in self._host.rollups:
            return None
        number = self.native.block_number_by_hash(block_hash)
        return None if number is None else BlockNumber(number)

    async def block_for(self, parent: bytes, attributes: Mapping[str, Any]) -> OurBlock:
        """Our block upon a parent, as soon as it is sealed; the caller bounds the time.

        Raises:
            NoBlock: `boost_parent_unknown`, `boost_attributes_differ`, `boost_not_ordered`.
        """
        if self._rollup_id not in self._host.rollups or not self._host.rollups[self._rollup_id].is_active:
            raise NoBlock("The network does not order this rollup now.", code="boost_not_ordered")
        at = self.number_of(parent)
        if at is None:
            raise NoBlock("op-node builds upon a block that is not this network's.", code="boost_parent_unknown")
        number = BlockNumber(at + 1)
        is_checked = False
        while self.native.head.number < number:
            if not is_checked and (found := self._read(PENDING)) is not None and found["number"] == hex(number):
                self._compare(found, attributes)
                is_checked = True
            await asyncio.sleep(_POLL_S)
        shown = self._read(number)
        if shown is None or shown["parentHash"] != "0x" + parent.hex():
            raise NoBlock("op-node builds upon a block that was replaced.", code="boost_parent_unknown")
        self._compare(shown, attributes)
        payload, root = self.native.execution_payload_json(number)
        raws = [bytes.fromhex(raw[2:]) for raw in msgspec.json.decode(payload, type=_Transactions).transactions]
        return OurBlock(
            number=number,
            hash=Hash32(bytes.fromhex(shown["hash"][2:])),
            payload_json=payload,
            parent_beacon_block_root=root,
            needs=self._needs(raws),
        )

    # ------------------------------------------------------------ parts
    def _read(self, at: int) -> dict[str, Any] | None:
        found = self.native.block_json(at, False)
        return None if found is None else msgspec.json.decode(found, type=dict[str, Any])

    def _compare(self, block: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Whether a block, sealed or open, is what the attributes ask for. Raises NoBlock `boost_attributes_differ`."""
        for name, ours in _NAMES.items():
            asked = attributes.get(name)
            if asked is not None and str(asked).lower() != str(block.get(ours)).lower():
                raise _differs(name, str(asked), str(block.get(ours)))
        extra = bytes.fromhex(block["extraData"][2:])
        parameters = bytes.fromhex(str(attributes.get("eip1559Params") or "0x")[2:])
        if any(parameters) and parameters != extra[1:9]:
            raise _differs("eip1559Params", parameters.hex(), extra[1:9].hex())
        least = attributes.get("minBaseFee")
        if least is not None and len(extra) == 17 and int(str(least), 0) != int.from_bytes(extra[9:], "big"):
            raise _differs("minBaseFee", str(least), extra[9:].hex())
        forced = ["0x" + keccak256(bytes.fromhex(raw[2:])).hex() for raw in attributes.get("transactions") or []]
        listed = block["transactions"]
        if listed[: len(forced)] != forced:
            raise _differs("transactions", f"{len(forced)} forced ones", "others")
        if len(listed) > len(forced):
            following = self.native.raw_transaction(bytes.fromhex(listed[len(forced)][2:]))
            if following is not None and following[0] == 0x7E:
                raise _differs("transactions", f"{len(forced)} deposits", "more of them")

    def _needs(self, raws: Sequence[bytes]) -> frozenset[BlockKey]:
        needs: set[BlockKey] = set()
        for hash_ in map(keccak256, raws):
            for rollup_id, other in self._legs.others(hash_):
                if rollup_id == self._rollup_id or rollup_id not in self._host.rollups:
                    continue
                place = self._host.rollups[rollup_id].native.transaction_location(other)
                # A leg that is nowhere was unwound: no block satisfies it.
                needs.add((rollup_id, BlockNumber(place[0] if place is not None else 2**63)))
        users = [raw for raw in raws if raw[0] != 0x7E]
        for item in decode_transactions(users, self.native.chain_id):
            if isinstance(item, Transaction):
                needs |= self._messages(item)
        return frozenset(needs)

    def _messages(self, transaction: Transaction) -> set[BlockKey]:
        keys = [Hash32(key) for key in transaction.access_list_keys(CROSS_L2_INBOX)]
        try:
            accesses = parse_accesses(keys) if keys else []
        except MessageRefused:
            return set()
        sources = {(RollupId(int(access.chain_id)), access.block_number) for access in accesses}
        return {key for key in sources if key[0] in self._host.rollups and key[0] != self._rollup_id}


class _Transactions(msgspec.Struct):
    transactions: list[str]


_NAMES: Final = {
    "timestamp": "timestamp",
    "prevRandao": "mixHash",
    "suggestedFeeRecipient": "miner",
    "parentBeaconBlockRoot": "parentBeaconBlockRoot",
    "gasLimit": "gasLimit",
}
"""Attributes, and the block's fields that they become."""


def _differs(name: str, asked: str, ours: str) -> NoBlock:
    return NoBlock(
        f"op-node asks for another {name} ({asked[:80]}) than the network's block has ({ours[:80]}).",
        code="boost_attributes_differ",
        attribute=name,
    )
