"""The decided log under truncation at every byte, a flip of any bit, and power loss at any write."""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lossy import LossyFiles, PowerLossError

from plait.errors import InvariantBroken
from plait.storage.log import DecidedLog
from plait.storage.record import SEGMENT_HEADER_BYTES, DecidedRecord

NETWORK = bytes(range(32))


def record(height: int, seed: int, size: int = 40) -> DecidedRecord:
    source = random.Random(f"{seed}/{height}")
    return DecidedRecord(
        height=height,
        slot=height // 3,
        sub_index=height % 3,
        time_ms=1_000 * height,
        app_hash=source.randbytes(32),
        proposal=source.randbytes(size + source.randrange(size)),
        senders=source.randbytes(20 * source.randrange(4)),
    )


def filled(
    directory: Path, count: int, *, seed: int = 7, size: int = 40, segment_bytes_max: int = 1 << 20
) -> list[DecidedRecord]:
    log = DecidedLog(directory, NETWORK, segment_bytes_max=segment_bytes_max)
    records = [record(height, seed, size) for height in range(1, count + 1)]
    for one in records:
        log.append(one)
    log.close()
    return records


def reopened(directory: Path) -> list[DecidedRecord]:
    log = DecidedLog(directory, NETWORK)
    try:
        found = list(log.iterate())
        assert log.height == len(found)
        assert log.last == (found[-1] if found else None)
        return found
    finally:
        log.close()


def test_truncation_at_every_byte_of_the_last_record_loses_only_that_record(tmp_path: Path) -> None:
    records = filled(tmp_path / "log", 3)
    segment = next((tmp_path / "log").glob("*.segment"))
    whole = segment.read_bytes()
    filled(tmp_path / "two", 2)
    boundary = next((tmp_path / "two").glob("*.segment")).stat().st_size
    for size in range(boundary, len(whole)):
        segment.write_bytes(whole[:size])
        assert reopened(tmp_path / "log") == records[:2], f"cut at byte {size}"
        assert segment.stat().st_size == boundary, f"cut at byte {size}: the torn tail stays"


def test_truncation_at_every_byte_of_a_segment_gives_a_prefix_or_is_refused(tmp_path: Path) -> None:
    records = filled(tmp_path / "log", 4)
    segment = next((tmp_path / "log").glob("*.segment"))
    whole = segment.read_bytes()
    for size in range(len(whole)):
        segment.write_bytes(whole[:size])
        if size < SEGMENT_HEADER_BYTES:
            with pytest.raises(InvariantBroken) as caught:
                reopened(tmp_path / "log")
            assert caught.value.code == "log_damaged"
        else:
            found = reopened(tmp_path / "log")
            assert found == records[: len(found)], f"cut at byte {size}"
            assert size < len(whole) // 2 or found, f"cut at byte {size}"


def test_a_flip_of_any_bit_is_refused_by_name(tmp_path: Path) -> None:
    filled(tmp_path / "log", 3)
    segment = next((tmp_path / "log").glob("*.segment"))
    whole = segment.read_bytes()
    for at in range(len(whole) * 8):
        data = bytearray(whole)
        data[at // 8] ^= 1 << at % 8
        segment.write_bytes(data)
        with pytest.raises(InvariantBroken) as caught:
            reopened(tmp_path / "log")
        assert caught.value.code == "log_damaged", f"bit {at}"
        assert caught.value.fields["segment"] == segment.name
        assert segment.read_bytes() == data, f"bit {at}: a refused log must stay as it is"


def test_a_flip_in_an_older_segment_is_refused_when_read(tmp_path: Path) -> None:
    records = filled(tmp_path / "log", 30, size=600, segment_bytes_max=4_000)
    segments = sorted((tmp_path / "log").glob("*.segment"))
    assert len(segments) > 4
    data = bytearray(segments[1].read_bytes())
    data[len(data) // 2] ^= 4
    segments[1].write_bytes(data)
    log = DecidedLog(tmp_path / "log", NETWORK)
    seen: list[DecidedRecord] = []
    with pytest.raises(InvariantBroken, match=segments[1].name):
        seen.extend(log.iterate())
    assert seen
    assert seen == records[: len(seen)]
    log.close()


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "log", 30, size=600, segment_bytes_max=4_000)
    sorted((tmp_path / "log").glob("*.segment"))[1].unlink()
    log = DecidedLog(tmp_path / "log", NETWORK)
    with pytest.raises(InvariantBroken, match="ends before"):
        list(log.iterate())
    log.close()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), dies_at=st.integers(0, 60), size=st.sampled_from([30, 400, 3_000]))
def test_after_power_loss_at_any_write_everything_acknowledged_is_there(seed: int, dies_at: int, size: int) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        acknowledged = 0
        for turn in range(3):
            files = LossyFiles(seed + turn, dies_at)
            log = None
            try:
                log = DecidedLog(directory, NETWORK, files=files, segment_bytes_max=6_000)
                assert log.height >= acknowledged
                assert list(log.iterate()) == [record(h, seed, size) for h in range(1, log.height + 1)]
                for height in range(log.height + 1, log.height + 21):
                    log.append(record(height, seed, size))
                    acknowledged = height
            except PowerLossError:
                pass
            if log is not None:
                log.close()
            files.lose()
        found = reopened(directory)
        assert len(found) >= acknowledged
        assert found == [record(h, seed, size) for h in range(1, len(found) + 1)]
    finally:
        shutil.rmtree(directory)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), segment=st.integers(1_000, 20_000), data=st.data())
def test_reads_agree_with_what_was_appended(seed: int, segment: int, data: st.DataObject) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        records = filled(directory, 60, seed=seed, size=300, segment_bytes_max=segment)
        log = DecidedLog(directory, NETWORK)
        low = data.draw(st.integers(1, 60))
        high = data.draw(st.integers(low, 60))
        assert list(log.iterate(low, high)) == records[low - 1 : high]
        assert log.read(low) == records[low - 1]
        assert log.read(61) is None
        slot = data.draw(st.integers(0, 22))
        assert list(log.heights_of_slot(slot)) == [one.height for one in records if one.slot == slot]
        log.close()
    finally:
        shutil.rmtree(directory)
