"""What L1 blocks hold for derivation: facts about the rollups, and what batchers sent to their inboxes.

Blocks come from an L1 client that proves each by its hash; receipts are only fetched where the header's bloom says that
a contract of some rollup may have logged. Blobs come from whoever has them: the batcher's own memory first, then a
beacon node. The last blocks are kept, so that a reorganisation, or another rollup, costs no second reading.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from plait.derivation.blobs import decode_blob
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import CodecError, Unavailable
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import BlobSchedule, blob_schedule
from plait.l1.headers import L1Header
from plait.l1.receipts import logs_of
from plait.l1.transactions import L1Transaction
from plait.limits import L1_CACHE_BLOCKS_MAX
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32

_BLOB_TYPE: Final = 3
_BLOOM_BITS: Final = 2_048


class Submission(msgspec.Struct, frozen=True):
    """What one transaction sent to an inbox: its calldata, or the data of each of its blobs."""

    sender: Address
    inbox: Address
    datas: tuple[bytes, ...]


class InboxBlock(msgspec.Struct, frozen=True):
    """An L1 block as derivation needs it."""

    facts: L1BlockFacts
    submissions: tuple[Submission, ...]
    """In the order of the block."""

    def datas(self, inbox: Address, batcher: Address) -> list[bytes]:
        """What counts for a rollup, in its order."""
        return [data for one in self.submissions if one.inbox == inbox and one.sender == batcher for data in one.datas]


class InboxReader:
    """L1 blocks by number, the last ones kept.

    Args:
        client: open.
        l1_chain_id: of L1.
        bindings: how the rollups hang on it; asked at every block.
        beacon: for blobs; None when there is none.
        own_blobs: blobs that this node posted lately, by versioned hash.
    """

    def __init__(
        self,
        client: L1Client,
        *,
        l1_chain_id: int,
        bindings: Callable[[], Sequence[OpStackConfig]],
        beacon: BeaconClient | None = None,
        own_blobs: Callable[[], Mapping[Hash32, bytes]] = dict,
    ) -> None:
        self._client = client
        self._bindings = bindings
        self._beacon = beacon
        self._own_blobs = own_blobs
        self._schedule: BlobSchedule = blob_schedule(l1_chain_id)
        self._blocks: dict[int, InboxBlock] = {}
        self._looked_for: tuple[OpStackConfig, ...] = ()
        self.latest = BlockNumber(0)
        self.safe = BlockNumber(0)
        self.finalized = BlockNumber(0)

    async def refresh(self) -> None:
        """Looks where L1 stands, and forgets blocks that are canonical no more.

        Raises:
            Unavailable, L1Refused: as the client.
        """
        bindings = tuple(self._bindings())
        if bindings != self._looked_for:
            self._looked_for = bindings
            self._blocks.clear()  # they were read for other rollups
        head = await self._client.header("latest")
        if head is None:
            raise Unavailable("The L1 node has no block.", code="l1_unreachable")
        self.latest = head.number
        for number in [one for one in self._blocks if one > head.number]:
            del self._blocks[number]
        for number in sorted(self._blocks, reverse=True):
            header = head if number == head.number else await self._client.header(number)
            if header is not None and header.hash == self._blocks[number].facts.hash:
                break
            del self._blocks[number]
        self.safe = await self._tagged("safe", 0)
        self.finalized = await self._tagged("finalized", 0)

    def held(self, number: int) -> InboxBlock | None:
        """A block that is kept."""
        return self._blocks.get(number)

    async def block(self, number: int) -> InboxBlock | None:
        """The canonical block of a number; None beyond the head.

        Raises:
            Unavailable: `l1_blob_missing` when a blob cannot be had; and as the client.
        """
        held = self._blocks.get(number)
        if held is not None:
            return held
        if number > self.latest:
            return None
        found = await self._client.block(BlockNumber(number))
        if found is None:
            return None
        bindings = self._looked_for
        receipts = await self._client.receipts(found.header) if _may_concern(found.header, bindings) else ()
        facts, _ = block_facts(found.header, logs_of(receipts), bindings, self._schedule)
        made = InboxBlock(facts, await self._submissions(found.header, found.transactions, bindings))
        self._blocks[number] = made
        while len(self._blocks) > L1_CACHE_BLOCKS_MAX:
            del self._blocks[min(self._blocks)]
        return made

    # ------------------------------------------------------------ inside
    async def _submissions(
        self, header: L1Header, transactions: Sequence[L1Transaction], bindings: Sequence[OpStackConfig]
    ) -> tuple[Submission, ...]:
        inboxes = {config.batch_inbox for config in bindings}
        chosen = [(one, one.sender()) for one in transactions if one.to in inboxes]
        blobs = await self._blobs(header, [hash_ for one, _ in chosen for hash_ in one.blob_hashes])
        found = []
        for one, sender in chosen:
            if sender is None or one.to is None:
                continue
            datas: tuple[bytes, ...] = (one.data,)
            if one.type == _BLOB_TYPE:
                datas = tuple(data for hash_ in one.blob_hashes if (data := _data_of(blobs[hash_])) is not None)
            found.append(Submission(sender, one.to, datas))
        return tuple(found)

    async def _blobs(self, header: L1Header, hashes: list[Hash32]) -> dict[Hash32, bytes]:
        own = self._own_blobs() if hashes else {}
        blobs = {hash_: own[hash_] for hash_ in hashes if hash_ in own}
        missing = list(dict.fromkeys(hash_ for hash_ in hashes if hash_ not in blobs))
        if not missing:
            return blobs
        if self._beacon is None:
            raise Unavailable(
                f"L1 block {header.number} has batches in blobs; name a beacon node (l1.beacon_url) to read them.",
                code="l1_blob_missing",
                number=header.number,
            )
        return blobs | dict(zip(missing, await self._beacon.blobs(header.timestamp, missing), strict=True))

    async def _tagged(self, tag: str, otherwise: int) -> BlockNumber:
        assert tag in ("safe", "finalized"), "the two that L1 has"
        header = await self._client.header("safe" if tag == "safe" else "finalized")
        return BlockNumber(otherwise) if header is None else header.number


def _data_of(blob: bytes) -> bytes | None:
    """What a blob holds; None for one that derivation passes over."""
    try:
        return decode_blob(blob)
    except CodecError:
        return None


def _may_concern(header: L1Header, bindings: Sequence[OpStackConfig]) -> bool:
    """Whether a contract of some rollup may have logged in a block, by the bloom that its hash proves."""
    bloom = int.from_bytes(header.logs_bloom, "big")
    if not bloom:
        return False
    contracts = {one for config in bindings for one in (config.deposit_contract, config.system_config_contract)}
    return any(bloom & _bits(address) == _bits(address) for address in sorted(contracts))


def _bits(address: Address) -> int:
    """The three bits of an address in a bloom filter (Yellow Paper, 4.3.1)."""
    hash_ = keccak256(address)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(hash_[at : at + 2], "big") % _BLOOM_BITS)
    return bits
