"""Span batches: the transactions of many rollup blocks, column by column so that they compress well. Pure.

    batch   = 0x01 ++ prefix ++ payload
    prefix  = time since genesis ++ origin number of the last block ++ parent check (20) ++ origin check (20)
    payload = block count ++ origin bits ++ transactions per block ++ columns
    columns = creation bits ++ y parity bits ++ r, s (64 each) ++ to (20 each) ++ data ++ nonces ++ gas limits
              ++ protected bits

Integers are unsigned LEB128 of at most 64 bits. A bit list is a big-endian integer in as many bytes as its bits need:
the first block's or transaction's bit is the lowest. An origin bit says that a block's origin is not its parent's. A
transaction's `data` is its type (unless legacy) and the RLP list of what is in no other column. Protected bits are of
legacy transactions only: whether the signature names the chain (EIP-155). The checks are the first 20 bytes of the
parent's hash and of the last origin's hash.

    decode_raw / encode_raw     bytes <-> columns; encoding what was decoded gives the same bytes
    expand                      columns -> blocks with full raw transactions
    SpanBuilder                 blocks -> columns, one block at a time
    encode_span                 all of it at once

What derivation ignores is ignored here too: bytes after the columns, and integers that are not in their shortest form.

Source: OP Stack specs, Delta (span batches), Isthmus (type 4); op-node v1.16 for what is left open there. Imports:
plait.codec, plait.errors, plait.limits, plait.types, plait.derivation.batches.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from plait.derivation.batches import SPAN_BATCH, SingularBatch
from plait.derivation.span_transactions import Parts, join_transaction, read_item, split_transaction
from plait.errors import CodecError
from plait.limits import SPAN_BATCH_ELEMENTS_MAX
from plait.types import BlockNumber, Seconds

CHECK_BYTES: Final = 20
_UINT64: Final = 2**64 - 1
_VARINT_BYTES_MAX: Final = 10


class RawSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A span batch as its bytes have it: checks and columns."""

    time_since_genesis_s: int
    last_origin_number: int
    parent_check: bytes
    origin_check: bytes
    origin_bits: int
    transaction_counts: tuple[int, ...]
    """Per block."""
    creation_bits: int
    parity_bits: int
    signatures: bytes
    """r and s of each transaction, 64 bytes."""
    recipients: bytes
    """20 bytes of each transaction that creates no contract."""
    datas: tuple[bytes, ...]
    nonces: tuple[int, ...]
    gas_limits: tuple[int, ...]
    protected_bits: int

    @property
    def legacy_count(self) -> int:
        """Transactions that have a protected bit."""
        return sum(1 for data in self.datas if data[0] > 0x7F or data[0] == 0)


class SpanBlock(msgspec.Struct, frozen=True):
    """One block of a span batch."""

    epoch_number: BlockNumber
    timestamp: Seconds
    transactions: tuple[bytes, ...]


class SpanBatch(msgspec.Struct, frozen=True):
    """What a span batch says."""

    parent_check: bytes
    origin_check: bytes
    blocks: tuple[SpanBlock, ...]


# ---------------------------------------------------------------- columns to bytes
def encode_raw(raw: RawSpan) -> bytes:
    """Bytes of a span batch, its type first."""
    count = len(raw.datas)
    parts = [
        bytes((SPAN_BATCH,)),
        _varint(raw.time_since_genesis_s),
        _varint(raw.last_origin_number),
        raw.parent_check,
        raw.origin_check,
        _varint(len(raw.transaction_counts)),
        _bits(raw.origin_bits, len(raw.transaction_counts)),
        *map(_varint, raw.transaction_counts),
        _bits(raw.creation_bits, count),
        _bits(raw.parity_bits, count),
        raw.signatures,
        raw.recipients,
        *raw.datas,
        *map(_varint, raw.nonces),
        *map(_varint, raw.gas_limits),
        _bits(raw.protected_bits, raw.legacy_count),
    ]
    return b"".join(parts)


def decode_raw(data: bytes) -> RawSpan:
    """Reads a span batch's columns, its type first.

    Raises:
        CodecError: `batch_malformed`: another type, no block, more than SPAN_BATCH_ELEMENTS_MAX blocks or
            transactions, bits beyond a list's length, or columns that are cut off.
    """
    if not data or data[0] != SPAN_BATCH:
        raise _malformed("this is not a span batch")
    reader = _Reader(data, 1)
    time_since_genesis, last_origin = reader.varint(), reader.varint()
    parent_check, origin_check = reader.take(CHECK_BYTES), reader.take(CHECK_BYTES)
    block_count = reader.varint()
    if not 0 < block_count <= SPAN_BATCH_ELEMENTS_MAX:
        raise _malformed(f"a span batch has 1 to {SPAN_BATCH_ELEMENTS_MAX} blocks, not {block_count}")
    origin_bits = reader.bits(block_count)
    transaction_counts = reader.varints(block_count)
    count = sum(transaction_counts)
    if count > SPAN_BATCH_ELEMENTS_MAX:
        raise _malformed(f"a span batch has at most {SPAN_BATCH_ELEMENTS_MAX} transactions, not {count}")
    creation_bits, parity_bits = reader.bits(count), reader.bits(count)
    signatures = reader.take(64 * count)
    recipients = reader.take(20 * (count - creation_bits.bit_count()))
    datas = reader.datas(count)
    raw = RawSpan(
        time_since_genesis_s=time_since_genesis,
        last_origin_number=last_origin,
        parent_check=parent_check,
        origin_check=origin_check,
        origin_bits=origin_bits,
        transaction_counts=transaction_counts,
        creation_bits=creation_bits,
        parity_bits=parity_bits,
        signatures=signatures,
        recipients=recipients,
        datas=datas,
        nonces=reader.varints(count),
        gas_limits=reader.varints(count),
        protected_bits=0,
    )
    return msgspec.structs.replace(raw, protected_bits=reader.bits(raw.legacy_count))


# ---------------------------------------------------------------- columns to blocks
def expand(raw: RawSpan, *, genesis_time_s: Seconds, block_time_s: int, chain_id: int) -> SpanBatch:
    """Blocks of a span batch with full transactions.

    Args:
        raw: as decoded.
        genesis_time_s: of the rollup's genesis block.
        block_time_s: of the rollup.
        chain_id: of the rollup.

    Raises:
        CodecError: `span_transaction_malformed`: a transaction of unknown type, or data that is not its canonical RLP.
    """
    transactions = _transactions(raw, chain_id)
    blocks: list[SpanBlock] = []
    numbers = _origin_numbers(raw)
    position = 0
    for index, count in enumerate(raw.transaction_counts):
        timestamp = (genesis_time_s + raw.time_since_genesis_s + block_time_s * index) & _UINT64
        stop = position + count
        blocks.append(SpanBlock(BlockNumber(numbers[index]), Seconds(timestamp), tuple(transactions[position:stop])))
        position = stop
    return SpanBatch(raw.parent_check, raw.origin_check, tuple(blocks))


def decode_span(data: bytes, *, genesis_time_s: Seconds, block_time_s: int, chain_id: int) -> SpanBatch:
    """`decode_raw`, then `expand`. Raises CodecError as they do."""
    return expand(decode_raw(data), genesis_time_s=genesis_time_s, block_time_s=block_time_s, chain_id=chain_id)


def _origin_numbers(raw: RawSpan) -> list[int]:
    """Origin of each block: known of the last one, one less before every block whose bit is set."""
    count = len(raw.transaction_counts)
    numbers = [0] * count
    number = raw.last_origin_number
    bits = _bit_list(raw.origin_bits, count)
    for index in range(count - 1, -1, -1):
        numbers[index] = number
        if bits[index]:
            number = (number - 1) & _UINT64  # wraps as op-node's does: no L1 block has such a number
    return numbers


def _transactions(raw: RawSpan, chain_id: int) -> list[bytes]:
    count = len(raw.datas)
    creations, parities = _bit_list(raw.creation_bits, count), _bit_list(raw.parity_bits, count)
    protected = iter(_bit_list(raw.protected_bits, raw.legacy_count))
    signatures, recipients = raw.signatures, raw.recipients
    out: list[bytes] = []
    position = recipient = 0
    rows = zip(raw.datas, raw.nonces, raw.gas_limits, creations, parities, strict=True)
    for data, nonce, gas_limit, creates, parity in rows:
        to = b""
        if not creates:
            to = recipients[recipient : recipient + 20]
            recipient += 20
        v = int(parity)
        if data[0] > 0x7F or data[0] == 0:  # legacy
            v += 35 + 2 * chain_id if next(protected) else 27
        signature = signatures[position : position + 64]
        position += 64
        out.append(join_transaction(Parts(data, nonce, gas_limit, to, v, signature[:32], signature[32:]), chain_id))
    return out


# ---------------------------------------------------------------- blocks to columns
class SpanBuilder:
    """Columns of a span batch that grows by one block at a time; `encode` may be called after each."""

    def __init__(self, *, genesis_time_s: Seconds, chain_id: int) -> None:
        self._genesis_time_s = genesis_time_s
        self._chain_id = chain_id
        self._blocks = 0
        self._time_since_genesis_s = 0
        self._parent_check = self._origin_check = b""
        self._last_origin = 0
        self._last_timestamp = 0
        self._transactions = self._legacy = 0
        self._origin_bits = self._creation_bits = self._parity_bits = self._protected_bits = 0
        self._counts, self._signatures, self._recipients = bytearray(), bytearray(), bytearray()
        self._datas, self._nonces, self._gas_limits = bytearray(), bytearray(), bytearray()

    @property
    def block_count(self) -> int:
        """Blocks so far."""
        return self._blocks

    @property
    def transaction_count(self) -> int:
        """Transactions so far."""
        return self._transactions

    @property
    def size(self) -> int:
        """Bytes that `encode` would give, within a few."""
        columns = (self._counts, self._signatures, self._recipients, self._datas, self._nonces, self._gas_limits)
        return 64 + sum(map(len, columns)) + self._blocks // 8 + self._transactions * 3 // 8

    def add(self, batch: SingularBatch, *, begins_epoch: bool) -> None:
        """Appends a block.

        Args:
            batch: of the block, one block time after the one before.
            begins_epoch: whether it is the first of its L1 origin: sequence number 0. Decides of the first block only.

        Raises:
            CodecError: `batch_malformed`: out of order; `span_transaction_malformed`: a transaction that a span batch
                has no room for. Nothing was appended then.
        """
        if self._blocks and (batch.timestamp <= self._last_timestamp or batch.epoch_number < self._last_origin):
            raise _malformed("blocks of a span batch are in order", timestamp=batch.timestamp)
        parts = [split_transaction(raw, self._chain_id) for raw in batch.transactions]
        if self._blocks:
            begins_epoch = batch.epoch_number > self._last_origin
        else:
            self._parent_check = batch.parent_hash[:CHECK_BYTES]
            self._time_since_genesis_s = batch.timestamp - self._genesis_time_s
        self._origin_bits |= begins_epoch << self._blocks
        self._origin_check = batch.epoch_hash[:CHECK_BYTES]
        self._last_origin, self._last_timestamp = batch.epoch_number, batch.timestamp
        self._blocks += 1
        self._counts += _varint(len(parts))
        for one in parts:
            self._append(one)

    def _append(self, one: Parts) -> None:
        index = self._transactions
        self._transactions += 1
        if one.data[0] > 0x7F:
            is_protected = one.v not in (27, 28)
            parity = (one.v - 35) & 1 if is_protected else one.v - 27
            self._protected_bits |= is_protected << self._legacy
            self._legacy += 1
        else:
            parity = one.v
        self._parity_bits |= parity << index
        if one.to:
            self._recipients += one.to
        else:
            self._creation_bits |= 1 << index
        self._signatures += one.r + one.s
        self._datas += one.data
        self._nonces += _varint(one.nonce)
        self._gas_limits += _varint(one.gas_limit)

    def encode(self) -> bytes:
        """Bytes of the span batch so far, its type first. Raises CodecError `batch_malformed` when it has no block."""
        if not self._blocks:
            raise _malformed("a span batch has at least one block")
        count = self._transactions
        return b"".join(
            (
                bytes((SPAN_BATCH,)),
                _varint(self._time_since_genesis_s),
                _varint(self._last_origin),
                self._parent_check,
                self._origin_check,
                _varint(self._blocks),
                _bits(self._origin_bits, self._blocks),
                self._counts,
                _bits(self._creation_bits, count),
                _bits(self._parity_bits, count),
                self._signatures,
                self._recipients,
                self._datas,
                self._nonces,
                self._gas_limits,
                _bits(self._protected_bits, self._legacy),
            )
        )


def encode_span(
    batches: Sequence[SingularBatch], *, genesis_time_s: Seconds, chain_id: int, begins_epoch: bool
) -> bytes:
    """Bytes of a span batch of these blocks, its type first.

    Args:
        batches: of consecutive blocks, at least one.
        genesis_time_s: of the rollup's genesis block.
        chain_id: of the rollup.
        begins_epoch: whether the first block is the first of its L1 origin.

    Raises:
        CodecError: as `SpanBuilder.add` and `encode`.
    """
    builder = SpanBuilder(genesis_time_s=genesis_time_s, chain_id=chain_id)
    for batch in batches:
        builder.add(batch, begins_epoch=begins_epoch)
    return builder.encode()


# ---------------------------------------------------------------- integers, bits and their reader
class _Reader:
    """Reads columns in order; every length is checked against what is left before anything is taken."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, size: int) -> bytes:
        stop = self._position + size
        if stop > len(self._data):
            raise _malformed("columns are cut off", offset=self._position)
        taken = self._data[self._position : stop]
        self._position = stop
        return taken

    def varint(self) -> int:
        data, position = self._data, self._position
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
            if position >= len(data):
                raise _malformed("an integer is cut off", offset=position)
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > _UINT64:
                    break
                self._position = position
                return value
        raise _malformed("an integer has more than 64 bits", offset=self._position)

    def varints(self, count: int) -> tuple[int, ...]:
        if count > len(self._data) - self._position:
            raise _malformed("columns are cut off", offset=self._position)
        return tuple([self.varint() for _ in range(count)])

    def bits(self, count: int) -> int:
        value = int.from_bytes(self.take((count + 7) // 8), "big")
        if value.bit_length() > count:
            raise _malformed(f"a list of {count} bits has one beyond its end", offset=self._position)
        return value

    def datas(self, count: int) -> tuple[bytes, ...]:
        data = self._data
        out: list[bytes] = []
        position = self._position
        for _ in range(count):
            if position >= len(data):
                raise _malformed("columns are cut off", offset=position)
            # A type byte of 0 is read as a type (which no transaction has), as op-node reads it.
            is_list, start, stop = read_item(data, position + (data[position] <= 0x7F), len(data))
            if not is_list or stop - start > SPAN_BATCH_ELEMENTS_MAX:
                raise _malformed("a transaction's data is no list, or too long", offset=position)
            out.append(data[position:stop])
            position = stop
        self._position = position
        return tuple(out)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bits(value: int, count: int) -> bytes:
    return value.to_bytes((count + 7) // 8, "big")


def _bit_list(value: int, count: int) -> list[bool]:
    """Bits of a list from its first: linear in it, where shifting a big integer for each bit would not be."""
    return [digit == "1" for digit in reversed(f"{value:0{count}b}")] if count else []


def _malformed(problem: str, **fields: int) -> CodecError:
    return CodecError(f"span batch: {problem}", code="batch_malformed", **fields)
