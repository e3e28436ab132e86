"""What lies in the directory of a local network of OP Stack rollups, and how its heads are shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from plait.cli.opstack_view import lines_of
from plait.errors import ConfigurationError
from plait.testnet.opstack import founding
from plait.testnet.opstack.layout import Layout, PortPlan, Ports, RollupEntry, read_layout
from plait.types import Address


def layout() -> Layout:
    """Of two rollups."""
    return Layout(
        rollups=tuple(RollupEntry(chain_id=901 + at, portal="0x" + "aa" * 20, system_config="0x" + "bb" * 20)
                      for at in range(2)),
        l1_chain_id=900, l1_block_time_s=2, l1_epoch_blocks=4, posting="calldata", batch="span", ports=PortPlan(),
    )  # fmt: skip


def test_a_layout_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_layout(tmp_path) is None
    layout().write(tmp_path)
    assert read_layout(tmp_path) == layout()
    (tmp_path / "opstack.json").write_text("{")
    with pytest.raises(ConfigurationError, match="--reset"):
        read_layout(tmp_path)


def test_no_two_programs_share_a_port() -> None:
    """With planned ports, and with free ones, for as many rollups as there may be."""
    for plan in (PortPlan(), PortPlan(rpc=0)):
        ports = Ports.of(plan, 8)
        given = [ports.rpc, ports.l1, ports.beacon]
        for one in ports.programs:
            given += [one.engine_http, one.engine_auth, one.verifier_http, one.verifier_auth, one.op_node]
        assert len(set(given)) == len(given) == 3 + 5 * 8


def test_contracts_are_where_the_yellow_paper_puts_them() -> None:
    """The first two contracts of an account, as Ethereum's mainnet has them (go-ethereum crypto_test.go)."""
    sender = Address(bytes.fromhex("970e8128ab834e8eac17ab8e3812f010678cf791"))
    created = [founding._created_address(sender, nonce).hex() for nonce in (0, 1)]
    assert created == ["333c3310824b7c685133f2bedb2ca4b8b4df633d", "8bda78331c916a08481428e4b07c96d3e916d165"]


def test_secrets_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old and open")
    founding._write_secret(path, bytes(range(32)))
    assert path.read_text() == bytes(range(32)).hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_reset_removes_the_network_and_nothing_else(tmp_path: Path) -> None:
    layout().write(tmp_path)
    (tmp_path / "901").mkdir()
    (tmp_path / "901" / "rollup.json").write_text("{}")
    (tmp_path / "2026").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "logs").mkdir()
    founding.reset(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026", "notes.txt"]


def test_the_l1s_configuration_names_every_fork_that_blobs_changed_in() -> None:
    found = json.loads(founding.l1_chain_json(900))
    assert found["chainId"] == 900
    assert set(found["blobSchedule"]) == {"cancun", "prague", "osaka"}
    assert found["osakaTime"] == 0


def test_the_table_says_what_differs_and_what_does_not_run() -> None:
    head = {"number": 7, "hash": "0x" + "12" * 32}
    same = {"plait": head, "engine": None, "verifier": head, "agree": True}
    other = {"plait": head, "engine": head, "verifier": head, "agree": False}
    nothing = {"plait": None, "engine": None, "verifier": None, "agree": None}
    found = {
        "l1": {"number": 5, "url": ""},
        "posted": 3,
        "reasons": ["The L1 lags."],
        "rollups": [
            {"chain_id": 901, "origin": 4, "agree": False,
             "levels": {"unsafe": same, "safe": other, "finalized": nothing}},
        ],
        "programs": {"l1": {"state": "running"}, "op-node-901": {"state": "died", "log": "logs/op-node-901.log"}},
    }  # fmt: skip
    text = lines_of(found)
    assert text[0].startswith("L1 block 5 ")
    assert "op-node-901: died, see logs/op-node-901.log" in text
    assert "The L1 lags." in text
    unsafe, safe, finalized = text[-3:]
    assert unsafe.split() == ["901", "unsafe", "7", "-", "7", "0x12121212", "equal"]
    assert safe.split()[-1] == "DIFFER"
    assert finalized.split() == ["finalized", "-", "-", "-", "-", "-"]
