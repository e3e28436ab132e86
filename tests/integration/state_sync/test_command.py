"""`plait snapshot`: what a node offers, checked and written from the command line; and what CometBFT may forget."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plait.node.state_sync import SnapshotService
from plait.types import Height
from tests.integration.state_sync.chain import OpenHome, two_rollups


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped node of 30 heights with a snapshot of height 20."""
    path = tmp_path_factory.mktemp("command") / "home"
    with OpenHome(path, two_rollups()) as opened:
        opened.decide(20, transactions=3)
        opened.take()
        opened.decide(10, transactions=3, seed=2)
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "plait.cli.main", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run_json(*arguments: str) -> Any:
    code, text, reason = run(*arguments, "--json")
    assert code == 0, reason
    return json.loads(text)


def test_snapshots_are_listed_inspected_and_created(home: Path) -> None:
    (listed,) = run_json("snapshot", "list", "--home", str(home))["snapshots"]
    assert listed["height"] == 20
    shown = run_json("snapshot", "inspect", "20", "--home", str(home))
    assert shown["hash"] == listed["hash"]
    assert shown["damagedChunks"] == []
    with OpenHome(home) as opened:
        record = opened.stored.log.read(Height(20))
        assert record is not None
        assert shown["appHash"] == "0x" + record.app_hash.hex()
        heads = {one["chainId"]: one["head"] for one in shown["rollups"]}
        assert set(heads) == set(opened.application.rollups)
    assert run_json("snapshot", "create", "--home", str(home))["height"] == 30
    heights = [one["height"] for one in run_json("snapshot", "list", "--home", str(home))["snapshots"]]
    assert heights == [30, 20]
    code, text, _ = run("snapshot", "inspect", "30", "--home", str(home))
    assert (code, "chunks are as the manifest says" in text) == (0, True)


def test_damage_and_absence_are_named(home: Path, tmp_path: Path) -> None:
    code, _, reason = run("snapshot", "inspect", "7", "--home", str(home))
    assert code == 1
    assert "no usable snapshot of height 7" in reason
    code, _, reason = run("snapshot", "list", "--home", str(tmp_path))
    assert code == 4
    assert "holds no network" in reason
    path = home / "network-snapshots" / f"{20:020d}" / "902-state"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    code, text, _ = run("snapshot", "inspect", "20", "--home", str(home), "--json")
    assert code == 1
    assert len(json.loads(text)["damagedChunks"]) == 1


def test_cometbft_keeps_what_snapshots_and_evidence_need(home: Path) -> None:
    with OpenHome(home) as opened:
        assert opened.service.retain_height(Height(10**9)) == 0, "everything, when no bound is set"
        parameters = opened.application.ledger.economy.parameters
        aged = parameters.evidence_age_ms * 4 // 1_000
        assert aged > parameters.evidence_age_heights
        bounded = SnapshotService(opened.application, opened.service._home, keep_heights=1_000)
        assert bounded.retain_height(Height(aged)) == 0
        assert bounded.retain_height(Height(aged + 7)) == 7
        assert bounded.retain_height(Height(10**9)) == opened.service.oldest_height()
