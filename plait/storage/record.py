"""Record and segment format of the decided log, version 2: bytes only, no files.

    segment  = header record*
    header   = magic "PLAITLOG" | version u32 | first height u64 | network 32 B | CRC-32 of the preceding u32
    record   = magic "PLr\\xa7" | body length u32 | CRC-32 of body u32 | height u64 | CRC-32 of the preceding u32
               | body | trailer "\\xe5END"
    body     = slot u64 | sub-index u32 | time_ms u64 | app hash 32 B | proposal length u32 | agreed length u32
               | proposal | agreed data (plait.codec.agreed) | senders 20 B each

Integers are little-endian. First and last bytes of a record are never zero, so a sector that the disk lost (zeros)
shows at either end. A change of this format is a decision record (docs/adr/0005-decided-log.md).
"""

import struct
import zlib

import msgspec

from plait.codec.agreed import decode_agreed, encode_agreed
from plait.errors import CodecError, ConfigurationError, InvariantBroken
from plait.limits import LOG_RECORD_BYTES_MAX, PROPOSAL_BYTES_MAX, PROPOSAL_ITEMS_MAX
from plait.types import NOTHING_AGREED, Agreed, Hash32, Height, Milliseconds, Slot, SubIndex

VERSION = 2
FIRST_HEIGHT = Height(1)
SEGMENT_MAGIC = b"PLAITLOG"
RECORD_MAGIC = b"PLr\xa7"
TRAILER = b"\xe5END"
ADDRESS_BYTES = 20
SECTOR_BYTES = 512
"""The unit a disk writes or loses as a whole."""

_SEGMENT = struct.Struct("<8sIQ32sI")
_RECORD = struct.Struct("<4sIIQI")
_BODY = struct.Struct("<QIQ32sII")
SEGMENT_HEADER_BYTES = _SEGMENT.size
RECORD_HEADER_BYTES = _RECORD.size
RECORD_FRAME_BYTES = _RECORD.size + len(TRAILER)


class DecidedRecord(msgspec.Struct, frozen=True):
    """One decided sub-block as the log keeps it."""

    height: Height
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds
    app_hash: Hash32
    proposal: bytes
    senders: bytes
    """20 bytes per transaction in the proposal's item order: replay of our own log need not recover them again."""
    agreed: Agreed = NOTHING_AGREED
    """What the engine agreed on beside the proposal."""


class RecordHeader(msgspec.Struct, frozen=True):
    """What a record's first bytes say once their checksum has been found right."""

    body_bytes: int
    body_crc: int
    height: Height

    @property
    def record_bytes(self) -> int:
        """Length of the whole record, frame included."""
        return RECORD_FRAME_BYTES + self.body_bytes


def encode_segment_header(first_height: Height, network: Hash32) -> bytes:
    """The first bytes of a segment file. `network`: 32 bytes that name the network the log belongs to."""
    fields = _SEGMENT.pack(SEGMENT_MAGIC, VERSION, first_height, network, 0)[:-4]
    return fields + zlib.crc32(fields).to_bytes(4, "little")


def decode_segment_header(data: bytes) -> tuple[Height, Hash32] | None:
    """(first height, network), or None when `data` does not begin with a whole, undamaged header.

    Raises:
        ConfigurationError: `log_version_unknown` when the header is whole and of another version of the format.
    """
    if len(data) < _SEGMENT.size:
        return None
    magic, version, first_height, network, crc = _SEGMENT.unpack_from(data)
    if magic != SEGMENT_MAGIC or zlib.crc32(data[: _SEGMENT.size - 4]) != crc:
        return None
    if version != VERSION:
        raise ConfigurationError(
            f"The decided log has format {version}, this program reads format {VERSION}: use the program that wrote "
            "it, or begin a new network with --reset.",
            code="log_version_unknown",
            version=version,
        )
    return Height(first_height), Hash32(network)


def encode_record(record: DecidedRecord) -> bytes:
    """The record's bytes. Raises InvariantBroken (`log_record_invalid`) when a field is outside its bounds."""
    if (
        not 0 < len(record.proposal) <= PROPOSAL_BYTES_MAX
        or len(record.senders) % ADDRESS_BYTES
        or len(record.senders) > PROPOSAL_ITEMS_MAX * ADDRESS_BYTES
        or len(record.app_hash) != 32
    ):
        raise InvariantBroken(
            f"The record of height {record.height} is outside the log's bounds.",
            code="log_record_invalid",
            height=record.height,
        )
    agreed = encode_agreed(record.agreed)
    body = b"".join(
        (
            _BODY.pack(
                record.slot, record.sub_index, record.time_ms, record.app_hash, len(record.proposal), len(agreed)
            ),
            record.proposal,
            agreed,
            record.senders,
        )
    )
    fields = _RECORD.pack(RECORD_MAGIC, len(body), zlib.crc32(body), record.height, 0)[:-4]
    return b"".join((fields, zlib.crc32(fields).to_bytes(4, "little"), body, TRAILER))


def decode_record_header(data: bytes | memoryview) -> RecordHeader | None:
    """The header at the start of `data`, or None when it is not whole and undamaged."""
    if len(data) < _RECORD.size:
        return None
    magic, body_bytes, body_crc, height, crc = _RECORD.unpack_from(data)
    if magic != RECORD_MAGIC or zlib.crc32(data[: _RECORD.size - 4]) != crc or body_bytes > LOG_RECORD_BYTES_MAX:
        return None
    return RecordHeader(body_bytes=body_bytes, body_crc=body_crc, height=Height(height))


def decode_record_body(header: RecordHeader, rest: bytes | memoryview) -> DecidedRecord | None:
    """The record whose body and trailer begin at `rest`, or None when they are not whole and undamaged."""
    body = bytes(rest[: header.body_bytes])
    trailer = bytes(rest[header.body_bytes : header.body_bytes + len(TRAILER)])
    if (
        len(body) != header.body_bytes
        or trailer != TRAILER
        or zlib.crc32(body) != header.body_crc
        or len(body) < _BODY.size
    ):
        return None
    slot, sub_index, time_ms, app_hash, proposal_bytes, agreed_bytes = _BODY.unpack_from(body)
    middle = _BODY.size + proposal_bytes
    end = middle + agreed_bytes
    senders = body[end:]
    if end > len(body) or len(senders) % ADDRESS_BYTES:
        return None
    try:
        agreed = decode_agreed(body[middle:end])
    except CodecError:
        return None
    return DecidedRecord(
        height=header.height,
        slot=Slot(slot),
        sub_index=SubIndex(sub_index),
        time_ms=Milliseconds(time_ms),
        app_hash=Hash32(app_hash),
        proposal=body[_BODY.size : middle],
        senders=senders,
        agreed=agreed,
    )


def is_torn_tail(rest: bytes, file_offset: int) -> bool:
    """Whether undecodable bytes at a log's end are an append that a crash interrupted, and not damage.

    `rest`: everything from the last good record's end at `file_offset` to the end of the file. An interrupted append
    leaves a prefix of its record, or a record of which whole sectors were never written (zeros); it is the last thing
    in the file, because the next append starts only after the one before is on the disk. Anything else was durable
    once and has changed since: cutting it would lose what was reported as decided.
    """
    header = decode_record_header(rest)
    if header is not None:
        if header.record_bytes > len(rest):
            return True
        return header.record_bytes == len(rest) and _has_lost_sector(rest, file_offset)
    if len(rest) < RECORD_HEADER_BYTES:
        return rest.startswith(RECORD_MAGIC[: len(rest)]) or _has_lost_sector(rest, file_offset)
    return _has_lost_sector(rest, file_offset) and not _holds_record(rest)


def _has_lost_sector(rest: bytes, file_offset: int) -> bool:
    start = 0
    end = SECTOR_BYTES - file_offset % SECTOR_BYTES
    while start < len(rest):
        if not any(rest[start:end]):
            return True
        start, end = end, end + SECTOR_BYTES
    return False


def _holds_record(rest: bytes) -> bool:
    """Whether a whole record header lies further on: then the bytes before it were durable once."""
    at = rest.find(RECORD_MAGIC, 1)
    while at >= 0:
        if decode_record_header(rest[at : at + RECORD_HEADER_BYTES]) is not None:
            return True
        at = rest.find(RECORD_MAGIC, at + 1)
    return False
