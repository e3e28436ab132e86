"""config.toml says what the node's settings mean."""

import tomllib
from pathlib import Path

import pytest

from plait.engines.cometbft.home import CometSettings, write_config

PEERS = ("aa" * 20 + "@10.0.0.1:26656", "bb" * 20 + "@10.0.0.2:26656")


def configuration(home: Path, settings: CometSettings) -> dict[str, dict[str, object]]:
    write_config(home, settings)
    return tomllib.loads((home / "cometbft" / "config" / "config.toml").read_text())


def test_peers_that_the_operator_named_are_let_in_however_many_strangers_are_connected(tmp_path: Path) -> None:
    p2p = configuration(tmp_path, CometSettings(persistent_peers=PEERS))["p2p"]
    assert p2p["persistent_peers"] == ",".join(PEERS)
    assert p2p["unconditional_peer_ids"] == "aa" * 20 + "," + "bb" * 20


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("node.example", "node.example")]
)
def test_addresses_of_both_families_are_written_as_cometbft_reads_them(tmp_path: Path, host: str, written: str) -> None:
    found = configuration(tmp_path, CometSettings(p2p_host=host, rpc_host=host, p2p_port=7, rpc_port=8))
    assert (found["p2p"]["laddr"], found["rpc"]["laddr"]) == (f"tcp://{written}:7", f"tcp://{written}:8")


def test_nothing_listens_beyond_this_machine_by_default_and_no_web_page_may_ask(tmp_path: Path) -> None:
    found = configuration(tmp_path, CometSettings(moniker='a"\n[rpc]\nunsafe = true'))
    assert all(str(found[name]["laddr"]).startswith("tcp://127.0.0.1:") for name in ("p2p", "rpc"))
    assert not found["rpc"].keys() & {"unsafe", "cors_allowed_origins", "grpc_laddr"}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False)],
)
def test_only_on_one_machine_may_peers_share_an_address(tmp_path: Path, host: str, allowed: bool) -> None:
    """Elsewhere one machine must not take every inbound place."""
    found = configuration(tmp_path, CometSettings(p2p_host=host))
    assert found["p2p"]["allow_duplicate_ip"] is allowed
