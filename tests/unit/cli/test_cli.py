"""The command line without a running node: help, errors as one sentence with a code, exit codes, files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from plait.cli.inspect import _print_status
from plait.cli.main import main
from plait.cli.output import out
from plait.cli.watch import View

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
    for word in (
        "devnet",
        "status",
        "watch",
        "block",
        "tx",
        "bundle",
        "verify-log",
        "genesis",
        "version",
        "Exit codes",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command", ["devnet", "status", "watch", "block", "tx", "bundle", "verify-log", "genesis", "version"]
)
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
        (("genesis", "-o", "/nonexistent/g.json"), 4, "file_unusable"),
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
    [
        ("fly",),
        ("devnet", "--rollups", "x"),
        ("tx", "0x12"),
        ("bundle", "0x12"),
        ("block", "twelve"),
        ("devnet", "--policy", "no"),
    ],
)
def test_a_command_line_that_is_not_understood_exits_with_2(
    plait: Callable[..., Done], arguments: tuple[str, ...]
) -> None:
    done = plait(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("devnet", "--policy", "no"), "'no': there are priority_fee, arrival"),
        (("devnet", "--block-time", "x"), "'x': not a number of seconds above 0"),
        (("devnet", "--block-time", "nan"), "'nan': not a number of seconds above 0"),
        (("devnet", "--gas-limit", "1e9"), "'1e9': not a whole number"),
        (("devnet", "--in-memory", "--slot-ms", "1500"), "choose another block time or slot length"),
        (("genesis", "-o", "/nonexistent/g.json"), "/nonexistent/g.json: No such file or directory."),
        (("status", "--url", "http://127.0.0.1:9"), "No node answers at http://127.0.0.1:9 (Connection refused);"),
    ],
)
def test_an_error_says_what_is_wrong_in_the_users_words(
    plait: Callable[..., Done], arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in " ".join(plait(*arguments).stderr.split())


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_are_whole_at_this_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load every cell is long; none of them may be cut."""
    monkeypatch.setattr(out, "width", width)
    rollups = [
        {
            "rollupId": chain_id, "chainId": chain_id, "gasLimit": 60_000_000,
            "head": {"number": 32_000, "hash": "0x" + "ab" * 32, "timestamp": 1},
            "openBlock": {"number": 32_001, "gasUsed": 31_541_346, "transactionCount": 1_502, "baseFee": "0x3b9aca07"},
        }
        for chain_id in (901, 902)
    ]  # fmt: skip
    network = {
        "version": "0.1.0", "networkId": 7901, "slotMs": 1_000, "subBlocksPerSlot": 4, "rollups": rollups,
        "appHash": "0x" + "00" * 32,
    }  # fmt: skip
    pool = {"transactions": 20_000, "rollups": {str(one): {"pending": 12_345, "queued": 1_234} for one in (901, 902)}}
    health = {"ready": True, "reasons": ["The system's clock was set back."]}
    view = View(network)
    view.pool, view.health = pool, health
    parts = [
        {
            "rollupId": one,
            "transactions": [0] * 1_502,
            "relayed": 1_024,
            "sealed": [{"number": 32_000, "hash": "0x" + "ab" * 32}],
        }
        for one in (901, 902)
    ]
    view.add(
        {
            "height": 128_000,
            "slot": 32_000,
            "subIndex": 3,
            "timeMs": 0,
            "appHash": "0x" + "00" * 32,
            "rollups": parts,
            "bundles": [0] * 1_000,
        }
    )
    slot = {"height": 1, "slot": 1, "subIndex": 0, "clockSlot": 1, "clockMs": 2_000}
    with out.capture() as captured:
        out.print(view.draw())
        _print_status(
            {"url": "http://127.0.0.1:8545", "network": network, "slot": slot, "pool": pool, "health": health}
        )
    shown = captured.get()
    tables = [line for line in shown.splitlines() if line.lstrip().startswith(("901", "902", "rollup", "128000"))]
    assert len(tables) == 7
    assert all("…" not in line.replace("ab…", "") for line in tables), shown
    assert shown.count("12345+1234") == 4
    assert "clock was set back" in shown


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
