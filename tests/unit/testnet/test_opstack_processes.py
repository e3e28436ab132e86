"""Foreign programs of a local network: waited for, stopped, killed, and found again when they were left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plait.errors import ConfigurationError, Unavailable
from plait.testnet.opstack import processes, programs
from plait.testnet.opstack.processes import Process, end_left_over

SLEEP = "import sys, time; print('awake', flush=True); time.sleep(60)"


def make(directory: Path, code: str, name: str = "one") -> Process:
    """A program that is ready when it has said something."""
    log = directory / "logs" / f"{name}.log"

    async def ready() -> bool:
        return log.exists() and "awake" in log.read_text()

    return Process(name, (sys.executable, "-c", code, str(directory.resolve())), directory, ready=ready)


async def test_a_program_is_running_when_it_answers_and_stopped_when_asked(tmp_path: Path) -> None:
    process = make(tmp_path, SLEEP)
    await process.start()
    assert process.state == "running"
    assert (tmp_path / "run" / "one.pid").read_text().strip() == str(process.pid)
    await process.stop()
    assert (process.state, process.pid) == ("stopped", None)
    assert not (tmp_path / "run" / "one.pid").exists()


async def test_a_program_that_ends_before_it_answers_is_named_with_its_last_words(tmp_path: Path) -> None:
    process = make(tmp_path, "raise SystemExit('no such port')")
    with pytest.raises(Unavailable, match="no such port") as raised:
        await process.start()
    assert raised.value.code == "program_did_not_start"
    assert process.state == "died"


async def test_a_program_that_never_answers_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "OPSTACK_READY_S", 0.5)
    process = make(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(Unavailable, match="did not answer") as raised:
        await process.start()
    assert raised.value.code == "program_did_not_start"
    assert process.pid is None


async def test_a_program_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "OPSTACK_STOP_S", 0.5)
    process = make(tmp_path, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    await process.start()
    await process.stop()
    assert process.exit_code == -signal.SIGKILL


async def test_a_program_that_dies_by_itself_is_shown_as_died(tmp_path: Path) -> None:
    process = make(tmp_path, SLEEP)
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.ended()
    assert process.state == "died"


def test_what_was_left_behind_is_ended_and_nobody_elses_process(tmp_path: Path) -> None:
    """Pid files are hints: a process whose command line does not name the directory is somebody else's."""
    ours = subprocess.Popen([sys.executable, "-c", SLEEP, str(tmp_path.resolve())], stdout=subprocess.DEVNULL)
    others = subprocess.Popen([sys.executable, "-c", SLEEP, "elsewhere"], stdout=subprocess.DEVNULL)
    try:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "ours.pid").write_text(f"{ours.pid}\n")
        (tmp_path / "run" / "others.pid").write_text(f"{others.pid}\n")
        (tmp_path / "run" / "broken.pid").write_text("not a number")
        assert end_left_over(tmp_path) == ["ours"]
        assert ours.wait(10) == -signal.SIGKILL
        assert others.poll() is None
        assert list((tmp_path / "run").iterdir()) == []
    finally:
        for process in (ours, others):
            process.kill()
            process.wait()


def test_a_named_program_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIT_OP_GETH", str(tmp_path / "geth"))
    with pytest.raises(ConfigurationError, match="PLAIT_OP_GETH") as raised:
        programs.find_programs()
    assert raised.value.code == "program_missing"


def test_without_a_checkout_a_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    monkeypatch.setattr(programs, "BUILD_TOOLS", tmp_path / "none.py")
    with pytest.raises(ConfigurationError, match=r"op-geth v\d.*make opstack") as raised:
        programs.find_programs()
    assert raised.value.code == "program_missing"


def test_without_go_the_sentence_names_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real build tool and a PATH that holds no Go."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with pytest.raises(ConfigurationError, match=r"go is not installed\. Install Go") as raised:
        programs.find_programs(said.append)
    assert raised.value.code == "program_missing"
    assert "op-geth" in said[0]
