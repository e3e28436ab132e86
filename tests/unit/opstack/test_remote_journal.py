"""What was read of remote state is on the disk before it is used: torn ends, damaged records, bounds, and what a start
from a snapshot loads."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from plait.native import keccak256
from plait.rollups.opstack.remote_journal import Held, JournalFull, ReadJournal
from plait.storage.files import Files


def payloads(seed: int, count: int) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(draw.randint(1, 300)) for _ in range(count)]


def everything(held: Held) -> set[bytes]:
    return {*held.nodes, *held.codes, *held.headers}


def segment(directory: Path) -> Path:
    return max(directory.glob("*.reads"))


def test_what_was_appended_is_held_after_opening_again(tmp_path: Path) -> None:
    nodes, codes, headers = payloads(1, 20), payloads(2, 3), payloads(3, 5)
    journal = ReadJournal(tmp_path)
    journal.append(nodes[:10], codes, [])
    journal.append(nodes, [], headers)
    size = journal.size_bytes
    journal.append(nodes[3:7], codes[:1], headers)
    assert journal.size_bytes == size, "nothing is written twice"
    journal.close()
    found = ReadJournal(tmp_path).held()
    assert (found.nodes, found.codes, found.headers) == (nodes, codes, headers)


def test_a_torn_end_at_every_byte_loses_what_was_never_used_and_nothing_else(tmp_path: Path) -> None:
    journal = ReadJournal(tmp_path / "whole")
    first, torn = payloads(4, 6), payloads(5, 1)
    journal.append(first, [], [])
    before = journal.size_bytes
    journal.append([], torn, [])
    journal.close()
    data = segment(tmp_path / "whole").read_bytes()
    for size in range(before, len(data)):
        directory = tmp_path / str(size)
        directory.mkdir()
        (directory / segment(tmp_path / "whole").name).write_bytes(data[:size])
        opened = ReadJournal(directory)
        assert everything(opened.held()) == set(first), size
        assert (opened.cut_bytes, opened.damaged_bytes) == (size - before, 0)
        opened.append(torn, [], [])
        opened.close()
        assert everything(ReadJournal(directory).held()) == {*first, *torn}, size


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_byte_costs_the_record_that_it_is_in(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    journal = ReadJournal(tmp_path)
    kept = payloads(seed, 12)
    starts = []
    for one in kept:
        starts.append(journal.size_bytes)
        journal.append([one], [], [])
    journal.close()
    path = segment(tmp_path)
    data = bytearray(path.read_bytes())
    at = draw.randrange(len(data))
    data[at] ^= draw.randint(1, 255)
    path.write_bytes(data)
    hit = max(index for index, start in enumerate(starts) if start <= at)
    opened = ReadJournal(tmp_path)
    assert everything(opened.held()) == {*kept[:hit], *kept[hit + 1 :]}, f"seed {seed}: byte {at}"
    assert opened.damaged_bytes + opened.cut_bytes > 0
    opened.append([kept[hit]], [], [])
    assert everything(opened.held()) == set(kept)


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_never_taken_for_records(tmp_path: Path, seed: int) -> None:
    (tmp_path / f"{0:020d}.reads").write_bytes(b"\xf7rd\n" * 20 + random.Random(seed).randbytes(5_000))
    opened = ReadJournal(tmp_path)
    assert everything(opened.held()) == set(), f"seed {seed}"
    opened.append([b"after"], [], [])
    assert everything(ReadJournal(tmp_path).held()) == {b"after"}


def test_more_than_the_bound_is_refused_until_a_snapshot_holds_it(tmp_path: Path) -> None:
    journal = ReadJournal(tmp_path, bytes_max=4_000, overlap_bytes=0)
    journal.append([bytes([1]) * 3_000], [], [])
    assert not journal.is_near()
    journal.append([bytes([2]) * 500], [], [])
    assert journal.is_near()
    with pytest.raises(JournalFull) as full:
        journal.append([bytes([3]) * 1_000], [], [])
    assert full.value.code == "remote_journal_full"
    assert bytes([3]) * 1_000 not in everything(journal.held())
    for height in (10, 20, 30):  # what the last two segments hold is needed, so it takes three
        journal.rotate(height)
        journal.prune([height])
    journal.append([bytes([3]) * 1_000], [], [])
    assert not journal.is_near()


def test_a_start_loads_what_was_read_since_its_snapshot_and_around_it(tmp_path: Path) -> None:
    """Two segments before it too: reading goes on while a snapshot is written, and equal records are not repeated."""
    journal = ReadJournal(tmp_path, overlap_bytes=0)
    for height in range(0, 60, 10):
        journal.rotate(height)
        journal.append([b"read at %d" % height], [], [])
    assert set(journal.held(50).nodes) == {b"read at %d" % height for height in (30, 40, 50)}
    assert set(journal.held(0).nodes) == {b"read at %d" % height for height in range(0, 60, 10)}
    whole = ReadJournal(tmp_path)
    assert set(whole.held(50).nodes) == set(journal.held(0).nodes), (
        "the last MiB before a snapshot are loaded in any case"
    )


def test_old_segments_go_where_they_are_too_large_and_no_snapshot_needs_them(tmp_path: Path) -> None:
    journal = ReadJournal(tmp_path, bytes_kept=2_500, overlap_bytes=0)
    for height in range(0, 60, 10):
        journal.rotate(height)
        journal.append([bytes([height + 1]) * 1_000], [], [])
        journal.prune([max(0, height - 10), height])
    assert [int(path.stem) for path in sorted(tmp_path.glob("*.reads"))] == [20, 30, 40, 50]
    assert len(journal.held(40).nodes) == 4
    journal.append([bytes([1]) * 1_000], [], [])
    assert bytes([1]) * 1_000 in journal.held(50).nodes, "what was forgotten may be read again"


def test_what_the_disk_refused_counts_for_nothing(tmp_path: Path) -> None:
    class Failing(Files):
        fail = False

        def write_at(self, fd: int, data: bytes, offset: int) -> None:
            if self.fail:
                super().write_at(fd, data[: len(data) // 2], offset)
                raise OSError(errno.ENOSPC, "no space left")
            super().write_at(fd, data, offset)

    files = Failing()
    journal = ReadJournal(tmp_path, files=files)
    journal.append([b"first"], [], [])
    files.fail = True
    with pytest.raises(OSError, match="no space"):
        journal.append([b"second" * 50, b"third" * 50], [], [])
    assert everything(journal.held()) == {b"first"}
    files.fail = False
    journal.append([b"fourth"], [], [])
    journal.close()
    assert {b"first", b"fourth"} <= everything(ReadJournal(tmp_path).held())
    assert keccak256(b"second" * 50) not in {keccak256(one) for one in everything(ReadJournal(tmp_path).held())}
