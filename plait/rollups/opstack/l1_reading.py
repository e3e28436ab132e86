"""What derivation reads of L1, block by block, ahead of what is being executed.

    headers in batches
    -> receipts where a bloom filter says that the rollup may be meant, transactions where there are any
    -> facts, and the transactions to the inbox

Everything is proven by the block's hash (plait.l1). A bloom filter is part of that hash, and one without a contract's
address and topic excludes logs of it, so most receipts need not be read. Blobs are fetched when their turn comes, for
only then it is known who the batcher is.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from plait.crypto.ordered_trie import EMPTY_ROOT
from plait.derivation.blobs import decode_blob
from plait.derivation.deposits import TRANSACTION_DEPOSITED
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import OpStackConfig
from plait.derivation.system_config import CONFIG_UPDATE
from plait.errors import CodecError, ConfigurationError, Unavailable
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.l1.headers import L1Header
from plait.l1.receipts import logs_of
from plait.l1.transactions import L1Transaction
from plait.limits import DERIVATION_L1_AHEAD_MAX, DERIVATION_L1_BATCH_BLOCKS
from plait.native import keccak256
from plait.types import Address, BlockNumber

_BLOB_TRANSACTION: Final = 3
_TYPES: Final = frozenset({0, 1, 2, _BLOB_TRANSACTION})
"""Transactions of later types are not read as batcher transactions."""


class ReadBlock(msgspec.Struct, frozen=True):
    """An L1 block, as far as derivation of one rollup needs it."""

    facts: L1BlockFacts
    to_inbox: tuple[L1Transaction, ...]
    malformed_deposits: int


class L1Reading:
    """Reads L1 for one rollup."""

    def __init__(self, client: L1Client, beacon: BeaconClient | None, config: OpStackConfig) -> None:
        self._client, self._beacon, self._config = client, beacon, config
        self._schedule = blob_schedule(config.l1_chain_id)
        self._logs_wanted = (
            _bloom_of(config.deposit_contract, TRANSACTION_DEPOSITED),
            _bloom_of(config.system_config_contract, CONFIG_UPDATE),
        )

    async def check_chain(self) -> None:
        """Raises ConfigurationError `l1_chain_mismatch` when the node is of another chain than the configuration."""
        found = await self._client.chain_id()
        if found != self._config.l1_chain_id:
            raise ConfigurationError(
                f"The L1 node at {self._client.address} is of chain {found}, but the rollup is on L1 chain "
                f"{self._config.l1_chain_id}. Use a node of that chain.",
                code="l1_chain_mismatch",
                found=found,
            )

    async def blocks(self, first: BlockNumber, last: BlockNumber) -> AsyncIterator[ReadBlock]:
        """Blocks from `first` to `last` in order; fewer when the node has no more. Reads ahead of its caller.

        Raises:
            Unavailable, L1Refused: of the L1 node.
        """
        queue: asyncio.Queue[list[ReadBlock] | None] = asyncio.Queue(
            DERIVATION_L1_AHEAD_MAX // DERIVATION_L1_BATCH_BLOCKS
        )

        async def read() -> None:
            for number in range(first, last + 1, DERIVATION_L1_BATCH_BLOCKS):
                count = min(DERIVATION_L1_BATCH_BLOCKS, last + 1 - number)
                headers = await self._client.headers(BlockNumber(number), count)
                await queue.put(list(await asyncio.gather(*map(self._read, headers))))
                if len(headers) < count:
                    break
            await queue.put(None)

        reader = asyncio.create_task(read())
        try:
            while True:
                waiting = asyncio.ensure_future(queue.get())
                await asyncio.wait((waiting, reader), return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done() and reader.exception() is not None:
                    waiting.cancel()
                    reader.result()
                batch = await waiting
                if batch is None:
                    return
                for block in batch:
                    yield block
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, header: L1Header) -> ReadBlock:
        receipts = await self._client.receipts(header) if self._may_mean_us(header) else ()
        facts, malformed = block_facts(header, logs_of(receipts), (self._config,), self._schedule)
        transactions: tuple[L1Transaction, ...] = ()
        if header.transactions_root != EMPTY_ROOT:
            block = await self._client.block(header.hash)
            if block is None:
                raise Unavailable(
                    f"The L1 node at {self._client.address} no longer has block {header.number}: the chain was "
                    "reorganised. Begin again.",
                    code="l1_reorganised",
                )
            inbox = self._config.batch_inbox
            transactions = tuple(one for one in block.transactions if one.to == inbox and one.type in _TYPES)
        return ReadBlock(facts, transactions, len(malformed))

    def _may_mean_us(self, header: L1Header) -> bool:
        bloom = int.from_bytes(header.logs_bloom, "big")
        return any(bloom & wanted == wanted for wanted in self._logs_wanted)

    async def data_of(self, block: ReadBlock, batcher: Address) -> tuple[list[bytes], list[CodecError]]:
        """Data that the batcher posted in a block, in its order, and what is wrong with blobs that carry none.

        Raises:
            Unavailable: `l1_blob_missing` when there are blobs and no beacon node has them.
        """
        data: list[bytes] = []
        errors: list[CodecError] = []
        for transaction in block.to_inbox:
            if transaction.sender() != batcher:
                continue
            if transaction.type != _BLOB_TRANSACTION:
                data.append(transaction.data)
                continue
            if self._beacon is None:
                raise Unavailable(
                    f"L1 block {block.facts.number} has batches in blobs; name a beacon node that has them (--beacon).",
                    code="l1_blob_missing",
                )
            for blob in await self._beacon.blobs(block.facts.timestamp, transaction.blob_hashes):
                try:
                    data.append(decode_blob(blob))
                except CodecError as error:
                    errors.append(error)
        return data, errors


def _bloom_of(*values: bytes) -> int:
    """Bits that a bloom filter over these values has set. Source: Yellow Paper 4.4.1 (M3:2048)."""
    bits = 0
    for value in values:
        digest = keccak256(value)
        for at in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 0x7FF)
    return bits
