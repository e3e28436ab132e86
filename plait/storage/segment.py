"""One segment file of the decided log: reading it in order, and finding where its good part ends.

A record that cannot be decoded is a torn append only at the end of the newest segment (`is_torn_tail` says when);
anywhere else it is damage, and reading stops with an error that names file, offset and height.
"""

from collections.abc import Iterator
from pathlib import Path

from plait.errors import InvariantBroken, Unavailable
from plait.storage.record import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    TRAILER,
    DecidedRecord,
    decode_record_body,
    decode_record_header,
    decode_segment_header,
    is_torn_tail,
)
from plait.types import Hash32, Height

SUFFIX = ".segment"
_READ_BUFFER_BYTES = 1024 * 1024


def segment_path(directory: Path, first_height: Height) -> Path:
    """Files sort by name as by height."""
    return directory / f"{first_height:020d}{SUFFIX}"


def read_segment_header(path: Path) -> tuple[Height, Hash32]:
    """(first height, network) of a segment. Raises InvariantBroken (`log_damaged`)."""
    with path.open("rb") as file:
        decoded = decode_segment_header(file.read(SEGMENT_HEADER_BYTES))
    if decoded is None or path.name != segment_path(path.parent, decoded[0]).name:
        raise damaged(path, 0, None, "its header is not readable")
    return decoded


def read_records(
    path: Path, *, offset: int, height: Height, end: int | None = None
) -> Iterator[tuple[int, int, DecidedRecord]]:
    """Records from `offset` on, where the record of `height` begins, each as (its offset, the offset after it, record).

    Ends at `end` (a record's boundary) or at the end of the file. Raises InvariantBroken (`log_damaged`) at the first
    record that is not whole, undamaged and of the next height.
    """
    with path.open("rb", buffering=_READ_BUFFER_BYTES) as file:
        file.seek(offset)
        while end is None or offset < end:
            head = file.read(RECORD_HEADER_BYTES)
            if not head and end is None:
                return
            header = decode_record_header(head)
            if header is None:
                raise damaged(path, offset, height, "its record has no readable header")
            record = decode_record_body(header, file.read(header.body_bytes + len(TRAILER)))
            if record is None:
                raise damaged(path, offset, height, "its record's checksum does not match")
            if header.height != height:
                raise damaged(path, offset, height, f"its record is of height {header.height}")
            following = offset + header.record_bytes
            yield offset, following, record
            offset = following
            height = Height(height + 1)


def find_torn_tail(path: Path, offset: int) -> bool:
    """Whether what lies from `offset` to the end of the newest segment is an append cut short (`is_torn_tail`)."""
    with path.open("rb") as file:
        file.seek(offset)
        return is_torn_tail(file.read(), offset)


def damaged(path: Path, offset: int, height: Height | None, what: str) -> InvariantBroken:
    """The error for a log that changed after it was written."""
    where = "" if height is None else f" where height {height} is expected"
    return InvariantBroken(
        f"The decided log is damaged: {path.name} at byte {offset}{where}: {what}. "
        "Restore this file from a copy; the node does not start on a log that lost decided sub-blocks.",
        code="log_damaged",
        segment=path.name,
        offset=offset,
        height=height,
    )


def pruned(height: Height, first_height: Height) -> Unavailable:
    """The error for a height that lies before the log's first one."""
    return Unavailable(
        f"Height {height} is not kept: this node's log begins at height {first_height}. Ask a node with older ones.",
        code="height_pruned",
        height=height,
        first_height=first_height,
    )
