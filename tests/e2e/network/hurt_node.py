"""A node with something wrong in it: run as a program by the tests, instead of `plait`.

    python hurt_node.py flipped-bit BLOCK  node --home ...     one bit of what opens block BLOCK of rollup 901 differs
    python hurt_node.py wrong-clock MS     node --home ...     its clock, and its CometBFT's, are off by so much
    python hurt_node.py full-disk BYTES    node --home ...     its disk takes so many bytes, then says ENOSPC
    python hurt_node.py comet-full BYTES   node --home ...     no file of its CometBFT grows beyond so much

Nothing in `plait` knows of this. The CometBFT with a wrong clock is built by `shifted_comet`.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path


def flip_a_bit(block: int) -> None:
    from plait.derivation import attributes

    right = attributes.Attributes
    timestamp_of_block: list[int] = []

    def wrong(**fields):  # type: ignore[no-untyped-def]
        if len(fields["deposits"][0]) and fields["timestamp"] >= timestamp_of_block[0]:
            root = bytearray(fields["parent_beacon_block_root"])
            root[0] ^= 1
            fields["parent_beacon_block_root"] = bytes(root)
        return right(**fields)

    from plait.rollups.embedded.source import EmbeddedSource

    opened = EmbeddedSource.attributes

    def attributes_of(self, rollup, number, timestamp_s, fork=None):  # type: ignore[no-untyped-def]
        timestamp_of_block[:] = [timestamp_s if number >= block and rollup.rollup_id == 901 else 2**63]
        return opened(self, rollup, number, timestamp_s, fork)

    attributes.Attributes = wrong  # type: ignore[assignment, misc]
    EmbeddedSource.attributes = attributes_of  # type: ignore[method-assign]


def shift_the_clock(offset_ms: int) -> None:
    now_s, now_ns = time.time, time.time_ns
    time.time = lambda: now_s() + offset_ms / 1_000  # type: ignore[assignment]
    time.time_ns = lambda: now_ns() + offset_ms * 1_000_000  # type: ignore[assignment]
    os.environ["PLAIT_TEST_CLOCK_OFFSET_MS"] = str(offset_ms)


def fill_the_disk(bytes_left: int) -> None:
    from plait.storage.files import Files

    written = Files.write
    left = [bytes_left]

    def write(self, fd, data):  # type: ignore[no-untyped-def]
        size = len(memoryview(data).cast("B"))
        if size > left[0]:
            written(self, fd, memoryview(data).cast("B")[: left[0]])
            left[0] = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= size
        written(self, fd, data)

    Files.write = write  # type: ignore[method-assign]


def bound_the_files_of_cometbft(size: int, home: Path) -> None:
    from plait.engines.cometbft.binary import find_cometbft

    script = home / "bounded-cometbft"
    script.write_text(f'#!/bin/sh\nulimit -f {size // 512}\nexec "{find_cometbft()}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    os.environ["PLAIT_COMETBFT"] = str(script)


if __name__ == "__main__":
    kind, amount, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    match kind:
        case "flipped-bit":
            flip_a_bit(amount)
        case "wrong-clock":
            shift_the_clock(amount)
        case "full-disk":
            fill_the_disk(amount)
        case "comet-full":
            bound_the_files_of_cometbft(amount, Path(arguments[arguments.index("--home") + 1]))
        case _:
            raise SystemExit(f"unknown: {kind}")
    from plait.cli.main import main

    main(arguments)
