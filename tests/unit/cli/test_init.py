"""`plait init` and `plait node`: keys once, settings as asked, one network per home, clear errors."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from plait.cli.main import main
from plait.engines.cometbft.binary import find_cometbft
from plait.errors import ConfigurationError
from plait.ledger.parameters import TOKEN
from plait.node.config import NetworkConfig, RollupConfig, ValidatorConfig
from plait.node.node_file import read_settings

PEER = "0a4f4ba16144c46c8c47f3955640ac51b452acf1@10.0.0.7:26656"
HASH = "ab" * 32

try:
    find_cometbft()
    _missing = ""
except ConfigurationError as error:
    _missing = error.message

pytestmark = [pytest.mark.cometbft, pytest.mark.skipif(bool(_missing), reason=_missing)]


def plait(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = 0
    try:
        main([*map(str, arguments), "--json"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    out = capsys.readouterr().out.strip()
    return code, json.loads(out) if out else None


def network(public_key: str, *, genesis_time_s: int = 1_700_000_000) -> bytes:
    return NetworkConfig(
        genesis_time_s=genesis_time_s,
        network_id=77,
        rollups=(RollupConfig(chain_id=901),),
        validators=(ValidatorConfig(operator=f"0x{1:040x}", public_key=public_key, stake=5 * TOKEN, name="alice"),),
    ).encode()


def test_keys_are_made_once_and_the_home_joins_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    code, first = plait("init", "--home", home, "--name", "alice", "--peer", PEER, capsys=capsys)
    assert (code, first["networkId"], first["validator"]) == (0, None, False)
    assert home.stat().st_mode & 0o077 == 0, "others can read the keys"
    file = tmp_path / "network.json"
    file.write_bytes(network(first["publicKey"]))
    code, second = plait("init", "--home", home, "--network", file, capsys=capsys)
    assert (code, second["networkId"], second["validator"]) == (0, 77, True)
    assert (second["publicKey"], second["nodeId"]) == (first["publicKey"], first["nodeId"])
    assert (read_settings(home).name, read_settings(home).peers) == ("alice", (PEER,))
    comet = json.loads((home / "cometbft/config/genesis.json").read_text())
    assert (comet["chain_id"], comet["validators"][0]["power"]) == ("plait-77", "5")
    file.write_bytes(network(first["publicKey"], genesis_time_s=1_700_000_001))
    code, refused = plait("init", "--home", home, "--network", file, capsys=capsys)
    assert (code, refused["error"]["code"]) == (4, "network_mismatch")


def test_a_network_that_others_validate_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "network.json"
    file.write_bytes(network(f"0x{7:064x}"))
    code, found = plait(
        *("init", "--home", tmp_path / "home", "--network", file),
        *("--sync-from", "a.example:26657,b.example:26657", "--trust", f"1200:0x{HASH}"),
        capsys=capsys,
    )
    assert (code, found["validator"]) == (0, False)
    settings = read_settings(tmp_path / "home")
    assert settings.sync_servers == ("a.example:26657", "b.example:26657")
    assert (settings.sync_trust_height, settings.sync_trust_hash) == (1_200, HASH.upper())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--name", ""), "name_malformed"),
        (("--name", "x" * 65), "name_malformed"),
        (("--peer", "10.0.0.7:26656"), "peer_malformed"),
        (("--sync-from", "a:1,b:1"), "sync_invalid"),
        (("--sync-from", "a:1,b:1", "--trust", "x:y"), "sync_invalid"),
        (("--sync-from", "a:1,b:1", "--trust", "5:12"), "sync_invalid"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: str
) -> None:
    found = plait("init", "--home", tmp_path / "home", *options, capsys=capsys)
    assert (found[0], found[1]["error"]["code"]) == (4, code)
    assert not (tmp_path / "home" / "node.toml").exists()


def test_a_network_without_validators_and_a_directory_that_is_no_home_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "network.json"
    file.write_bytes(NetworkConfig(genesis_time_s=1, rollups=(RollupConfig(chain_id=901),)).encode())
    code, found = plait("init", "--home", tmp_path / "home", "--network", file, capsys=capsys)
    assert (code, found["error"]["code"]) == (4, "validators_missing")
    code, found = plait("node", "--home", tmp_path / "nothing", capsys=capsys)
    assert (code, found["error"]["code"]) == (4, "home_missing")
    code, found = plait("node", "--home", tmp_path / "home", capsys=capsys)
    assert (code, found["error"]["code"]) == (4, "comet_home_missing")


def test_the_entry_for_the_founders_is_what_network_json_takes(tmp_path: Path) -> None:
    from plait.cli.main import plait as group

    result = CliRunner().invoke(group, ["init", "--home", str(tmp_path / "home"), "--name", "bob"])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if '"operator"' in line]
    assert json.loads(line)["name"] == "bob"
    assert set(json.loads(line)) <= set(ValidatorConfig.__struct_fields__)
