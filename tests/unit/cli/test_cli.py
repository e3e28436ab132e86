"""The command line without a running node: help, errors as one sentence with a code, exit codes, files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from plait.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def plait(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(ROOT)

    def run(*arguments: str) -> Done:
        code: object = 0
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Done(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


def test_the_program_ends_with_the_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plait.cli.main", "status", "--url", "http://127.0.0.1:9"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("error (node_unreachable): ")


def test_help_names_every_command_and_the_exit_codes(plait: Callable[..., Done]) -> None:
    done = plait("--help")
    assert done.returncode == 0
    for word in ("devnet", "status", "watch", "block", "tx", "verify-log", "genesis", "version", "Exit codes"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["devnet", "status", "watch", "block", "tx", "verify-log", "genesis", "version"])
def test_every_command_has_help_and_json(plait: Callable[..., Done], command: str) -> None:
    done = plait(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("status", "--url", "http://127.0.0.1:9"), 3, "node_unreachable"),
        (("block", "7", "--url", "http://127.0.0.1:9"), 3, "node_unreachable"),
        (("devnet", "--in-memory", "--slot-ms", "10"), 4, "network_parameter_out_of_range"),
        (("devnet", "--in-memory", "--block-time", "1.5"), 4, "block_time_not_whole_slots"),
        (("devnet", "--in-memory", "--rollups", "3", "--policy", "arrival,priority_fee"), 4, "values_count"),
        (("devnet", "--data-dir", "pyproject.toml/x", "--rollup-port-base", "0"), 4, "data_directory_unusable"),
        (("verify-log", "--data-dir", "docs"), 4, "network_missing"),
    ],
)
def test_an_error_is_one_sentence_with_a_code(
    plait: Callable[..., Done], arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    done = plait(*arguments)
    assert done.returncode == exit_code, done.stderr
    assert f"error ({code}): " in done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(plait(*arguments, "--json").stdout)["error"]
    assert error["code"] == code
    assert error["message"]
    assert not (ROOT / "docs" / "lock").exists()


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("devnet", "--rollups", "x"), ("tx", "0x12"), ("block", "twelve"), ("devnet", "--policy", "no")],
)
def test_a_command_line_that_is_not_understood_exits_with_2(
    plait: Callable[..., Done], arguments: tuple[str, ...]
) -> None:
    done = plait(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_genesis_writes_what_op_geth_reads(plait: Callable[..., Done], tmp_path: Path) -> None:
    done = plait("genesis", "--rollup", "905", "--time", "1700000000", "-o", str(tmp_path / "g.json"))
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "g.json").read_text())
    assert document["config"]["chainId"] == 905
    assert int(document["timestamp"], 16) == 1_700_000_000
    assert len(document["alloc"]) > 20
    assert (
        plait("genesis", "--rollup", "905", "--time", "1700000000").stdout.strip()
        == (tmp_path / "g.json").read_text().strip()
    )


def test_version_in_both_forms(plait: Callable[..., Done]) -> None:
    assert plait("version").stdout.startswith("plait 0.")
    assert json.loads(plait("version", "--json").stdout)["plait"].startswith("0.")
