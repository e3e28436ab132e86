"""Blocks of a chain up to the one that a network goes on from: copied from its engine, kept in a file, never executed.

Why they are needed
    The batcher posts what is not on L1 yet, the settlement view finds where L1 stands, both from our own blocks; an
    engine that lost its last blocks is handed them again. So at least the blocks after the last final one are copied,
    and before that as many as a channel of L1 data can live, where reading of L1 begins (batcher/anchors.py).
What is believed
    Nothing: a header is taken by its hash, which its child names, transactions and receipts by the roots in it.
Layout of the file
    record = length (u32) ++ msgpack [number, header RLP, [transaction], [receipt]] ++ length (u32)
    Numbers rise by one. Readable from both ends: a copy goes on where it stopped, the newest block is taken first.
Level 5.
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from plait.codec.rlp import encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.crypto.ordered_trie import ordered_root
from plait.derivation.attributes import DEPOSIT_TYPE
from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.rollup_config import CHANNEL_TIMEOUT_GRANITE, BlockId, OpStackConfig
from plait.errors import CodecError, ConfigurationError, L1Refused, Unavailable
from plait.l1.fields import address_of, as_bytes, as_list, as_object, bytes_of, quantity_of
from plait.l1.headers import header_of
from plait.limits import REMOTE_ANCESTOR_BLOCKS_PER_CALL, REMOTE_ANCESTORS_MAX
from plait.native import keccak256
from plait.rollups.opstack.engine_answers import EngineRefused
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.importing import Progress, fetch_blocks
from plait.rollups.opstack.payload import header_rlp
from plait.rollups.opstack.wire import malformed, read_quantity
from plait.types import BlockNumber, Hash32

_LENGTH: Final = struct.Struct(">I")
_RECORD_BYTES_MAX: Final = 256 * 1024 * 1024
_DEPOSIT: Final = DEPOSIT_TYPE[0]


class Ancestor(NamedTuple):
    """A block; without its number as `Rollup.put_ancestors` takes it."""

    number: int
    header: bytes
    transactions: list[bytes]
    receipts: list[bytes]


class AncestorFile:
    """The file. Methods block; raises OSError where the disk fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ends(self) -> tuple[BlockId, BlockId] | None:
        """The lowest and the highest block; None when the file is missing, empty or damaged at an end."""
        try:
            with self.path.open("rb") as file:
                first = _record_at(file, 0)
                last = next(iter(_downwards(file)), None)
        except (FileNotFoundError, CodecError):
            return None
        return None if first is None or last is None else (_id_of(first), _id_of(last))

    def append(self, blocks: Sequence[Ancestor]) -> None:
        """Adds blocks at the upper end."""
        with self.path.open("ab") as file:
            for block in blocks:
                data = msgspec.msgpack.encode(block)
                file.write(_LENGTH.pack(len(data)) + data + _LENGTH.pack(len(data)))

    def clear(self) -> None:
        """Begins anew."""
        self.path.unlink(missing_ok=True)

    def downwards(self, count: int = REMOTE_ANCESTOR_BLOCKS_PER_CALL) -> Iterator[list[Ancestor]]:
        """All blocks from the highest one down, in pieces.

        Raises:
            CodecError: `ancestors_damaged`.
        """
        piece: list[Ancestor] = []
        with self.path.open("rb") as file:
            for block in _downwards(file):
                piece.append(block)
                if len(piece) == count:
                    yield piece
                    piece = []
        if piece:
            yield piece


# ---------------------------------------------------------------- copying
async def copy_ancestors(
    client: EngineClient,
    file: AncestorFile,
    config: OpStackConfig,
    *,
    until: BlockNumber | None = None,
    progress: Progress | None = None,
) -> BlockId:
    """Copies the engine's blocks up to `until` into the file, going on where it ends; returns the last one.

    Args:
        client: of the chain's engine; `check_chain` passed.
        file: of the chain.
        config: the chain's.
        until: the last block; None for the engine's head.
        progress: told after every piece.

    Raises:
        ConfigurationError: `import_empty`, no block above genesis; `remote_history_long`, too many are not on L1.
        Unavailable: `engine_lags`; `import_moved`, the engine took back what was copied: call again.
        CodecError: the engine's answers are malformed, or not what the hashes say.
    """
    last = until if until is not None else await _number(client, "latest")
    if last <= config.genesis_l2.number:
        raise ConfigurationError(
            "The chain has no block above its genesis yet; found the network with its rollup.json instead.",
            code="import_empty",
        )
    ends = await asyncio.to_thread(file.ends)
    if ends is not None and not await _is_canonical(client, ends[1]):
        ends = None
    if ends is None:
        await asyncio.to_thread(file.clear)
        start, parent = await _first(client, config, last), None
        if start <= config.genesis_l2.number + 1:
            genesis = await _genesis(client, config)
            await asyncio.to_thread(file.append, [genesis])
            start, parent = BlockNumber(config.genesis_l2.number + 1), config.genesis_l2.hash
    else:
        start, parent = BlockNumber(ends[1].number + 1), ends[1].hash
    while start <= last:
        count = min(REMOTE_ANCESTOR_BLOCKS_PER_CALL, last - start + 1)
        hashes, blocks = await _fetch(client, start, count, parent)
        await asyncio.to_thread(file.append, blocks)
        start, parent = BlockNumber(start + count), hashes[-1]
        if progress is not None:
            progress(BlockNumber(start - 1), last)
    assert parent is not None, "the file ends with a block"
    return BlockId(BlockNumber(start - 1), parent)


async def _first(client: EngineClient, config: OpStackConfig, last: BlockNumber) -> BlockNumber:
    """The lowest block to copy: its origin lies a channel's lifetime before that of the last block that L1 has."""
    genesis = config.genesis_l2.number
    posted = await _settled(client, BlockNumber(genesis), last)
    if posted <= genesis:
        lowest = genesis + 1
    else:
        wanted = await _origin(client, posted) - CHANNEL_TIMEOUT_GRANITE - 1
        low, high = genesis + 1, int(posted)  # the first block above `wanted` lies in low..high + 1
        while low < high:
            middle = (low + high + 1) // 2
            if await _origin(client, BlockNumber(middle)) <= wanted:
                low = middle
            else:
                high = middle - 1
        lowest = low
    if last - lowest >= REMOTE_ANCESTORS_MAX:
        raise ConfigurationError(
            f"The engine at {client.url} calls block {posted} the last one that is final on L1, so "
            f"{last - lowest + 1} blocks would have to be copied, and at most {REMOTE_ANCESTORS_MAX} are: let the "
            "chain's batcher post its blocks and its op-node follow L1 first.",
            code="remote_history_long",
        )
    return BlockNumber(lowest)


async def _settled(client: EngineClient, genesis: BlockNumber, last: BlockNumber) -> BlockNumber:
    """The last block that L1 has for good, as the chain's op-node told the engine; genesis for none."""
    for tag in ("finalized", "safe"):
        try:
            found = await client.call("eth_getBlockByNumber", tag, False)
        except EngineRefused:  # how op-geth says that it has none
            continue
        number = genesis if not isinstance(found, dict) else read_quantity(found.get("number"), "number")
        if number > genesis:
            return BlockNumber(min(number, last))
    return genesis


async def _origin(client: EngineClient, number: BlockNumber) -> int:
    (envelope,) = await fetch_blocks(client, number, 1)
    if not envelope.payload.transactions:
        raise CodecError(f"Block {number} has no deposit.", code="l1_attributes_malformed")
    return decode_l1_attributes(envelope.payload.transactions[0]).number


async def _number(client: EngineClient, tag: str) -> BlockNumber:
    head = await client.block(tag)
    if head is None:
        raise Unavailable(f"The engine at {client.url} has no head.", code="engine_lags")
    return head.number


async def _is_canonical(client: EngineClient, block: BlockId) -> bool:
    found = await client.block(block.number)
    return found is not None and found.hash == block.hash


async def _genesis(client: EngineClient, config: OpStackConfig) -> Ancestor:
    found = await client.call("eth_getBlockByNumber", hex(config.genesis_l2.number), False)
    try:
        header = header_of(found)
    except L1Refused as error:
        raise malformed("a genesis block", f"that cannot be read ({error.message})") from error
    if header.hash != config.genesis_l2.hash:
        raise malformed("another genesis block", "than before")
    return Ancestor(header.number, header.encode(), [], [])


async def _fetch(
    client: EngineClient, start: BlockNumber, count: int, parent: Hash32 | None
) -> tuple[list[Hash32], list[Ancestor]]:
    """Blocks in order, each upon the one before.

    Raises:
        Unavailable: `import_moved`.
    """
    envelopes = await fetch_blocks(client, start, count)
    receipts = await client.batch([("eth_getBlockReceipts", (hex(start + at),)) for at in range(count)])
    hashes: list[Hash32] = []
    blocks: list[Ancestor] = []
    for envelope, answer in zip(envelopes, receipts, strict=True):
        payload = envelope.payload
        if parent is not None and payload.parent_hash != parent:
            raise Unavailable(
                f"The engine at {client.url} took back block {payload.block_number - 1} while it was copied; call "
                "again.",
                code="import_moved",
            )
        encoded = read_receipts(answer)
        if ordered_root(encoded) != payload.receipts_root:
            raise malformed(f"receipts of block {payload.block_number}", "that have another root than its header names")
        parent = payload.block_hash
        hashes.append(parent)
        blocks.append(Ancestor(payload.block_number, header_rlp(envelope), list(payload.transactions), encoded))
    return hashes, blocks


# ---------------------------------------------------------------- receipts
def read_receipts(answer: Any) -> list[bytes]:
    """Receipts of a rollup's block as its receipts trie holds them, from `eth_getBlockReceipts`.

    A deposit's receipt also has its nonce and, since Canyon, the receipt's version. Source: OP Stack specs, deposits.

    Raises:
        CodecError: `engine_answer_malformed`.
    """
    try:
        return [_receipt(as_object(found, "a receipt")) for found in as_list(answer, "the receipts of a block")]
    except L1Refused as error:
        raise malformed("receipts", f"that cannot be read ({error.message})") from error


def _receipt(found: Any) -> bytes:
    logs = []
    for entry in as_list(found.get("logs"), "the logs of a receipt"):
        log = as_object(entry, "a log")
        topics = [as_bytes(topic, "a topic", 32) for topic in as_list(log.get("topics"), "topics")]
        logs.append(
            encode_list(
                (
                    encode_bytes(address_of(log, "address")),
                    encode_bytes_list(topics),
                    encode_bytes(bytes_of(log, "data")),
                )
            )
        )
    fields = [
        encode_uint(quantity_of(found, "status", 1)),
        encode_uint(quantity_of(found, "cumulativeGasUsed")),
        encode_bytes(bytes_of(found, "logsBloom", 256)),
        encode_list(logs),
    ]
    kind = 0 if found.get("type") is None else quantity_of(found, "type", 0x7F)
    if kind == _DEPOSIT:
        fields += [
            encode_uint(quantity_of(found, name))
            for name in ("depositNonce", "depositReceiptVersion")
            if found.get(name) is not None
        ]
    body = encode_list(fields)
    return body if kind == 0 else bytes((kind,)) + body


# ---------------------------------------------------------------- the file's records
def _downwards(file: Any) -> Iterator[Ancestor]:
    end = file.seek(0, 2)
    while end > 0:
        if end < 2 * _LENGTH.size:
            raise _damaged()
        file.seek(end - _LENGTH.size)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        end -= length + 2 * _LENGTH.size
        found = None if end < 0 else _record_at(file, end)
        if found is None:
            raise _damaged()
        yield found


def _record_at(file: Any, position: int) -> Ancestor | None:
    """None at the end of an empty file. Raises CodecError `ancestors_damaged`."""
    file.seek(position)
    prefix = file.read(_LENGTH.size)
    if not prefix:
        return None
    if len(prefix) < _LENGTH.size or (length := _LENGTH.unpack(prefix)[0]) > _RECORD_BYTES_MAX:
        raise _damaged()
    data = file.read(length + _LENGTH.size)
    if data[length:] != prefix:
        raise _damaged()
    try:
        return Ancestor(*msgspec.msgpack.decode(data[:length], type=tuple[int, bytes, list[bytes], list[bytes]]))
    except msgspec.MsgspecError:
        raise _damaged() from None


def _damaged() -> CodecError:
    return CodecError("the copied blocks are damaged", code="ancestors_damaged")


def _id_of(block: Ancestor) -> BlockId:
    return BlockId(BlockNumber(block.number), Hash32(keccak256(block.header)))


__all__ = ["Ancestor", "AncestorFile", "copy_ancestors", "read_receipts"]
