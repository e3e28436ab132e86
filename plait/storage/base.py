"""Where a decided log begins: the file `base` beside its segments, when that is not at height 1.

    base = magic "PLAITBSE" | version u32 | height u64 | app hash 32 B | network 32 B | CRC-32 of the preceding u32

The log holds the heights above the base's; the base's app hash is that of its own height. A log gets a base when a node
starts from a snapshot, and when its oldest segments are removed. Integers are little-endian. No file: height 0.
"""

import struct
import zlib
from pathlib import Path

import msgspec

from plait.errors import ConfigurationError, InvariantBroken
from plait.storage.files import Files
from plait.types import Hash32, Height

BASE_FILE = "base"
_MAGIC = b"PLAITBSE"
_VERSION = 1
_BASE = struct.Struct("<8sIQ32s32sI")


class LogBase(msgspec.Struct, frozen=True):
    """The height below a log's first one, and its app hash; at height 0 that hash is not known here and zero."""

    height: Height
    app_hash: Hash32


GENESIS_BASE = LogBase(Height(0), Hash32(bytes(32)))


def write_base(files: Files, directory: Path, base: LogBase, network: Hash32) -> None:
    """Replaces the base of the log in `directory`, durably. Raises OSError."""
    fields = _BASE.pack(_MAGIC, _VERSION, base.height, base.app_hash, network, 0)[:-4]
    files.write_whole(directory / BASE_FILE, fields + zlib.crc32(fields).to_bytes(4, "little"))


def read_base(directory: Path, network: Hash32) -> LogBase:
    """The base of the log in `directory`.

    Raises:
        InvariantBroken: `log_damaged`.
        ConfigurationError: `network_mismatch`.
    """
    path = directory / BASE_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return GENESIS_BASE
    if len(data) == _BASE.size:
        magic, version, height, app_hash, found, crc = _BASE.unpack(data)
        if magic == _MAGIC and version == _VERSION and zlib.crc32(data[:-4]) == crc and height > 0:
            if found != network:
                raise ConfigurationError(
                    f"The log in {directory} belongs to another network; choose another data directory or use --reset.",
                    code="network_mismatch",
                    segment=path.name,
                )
            return LogBase(Height(height), Hash32(app_hash))
    raise InvariantBroken(
        f"The decided log is damaged: {path} does not say where the log begins. Restore this file from a copy.",
        code="log_damaged",
        segment=path.name,
        offset=0,
        height=None,
    )
