"""A local file with something else in it than was written is refused with a stable code and a sentence that names it,
or passed over where what it held is found again otherwise: never a traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plait.cli.keys import read_key
from plait.cli.verify_stream import _trusted
from plait.derivation.rollup_config import decode_rollup_json
from plait.engines.cometbft.home import node_id_of, public_key_of
from plait.errors import PlaitError
from plait.node.config import RollupConfig, decode_network, rollup_of_genesis
from plait.node.existing import FOUNDING_FILE, read_founding
from plait.node.home import consensus_seed
from plait.node.known_sets import KnownSets
from plait.node.node_file import NODE_FILE, read_settings
from plait.node.opstack_file import OPSTACK_FILE, read_opstack
from plait.node.relayer import LocalRelayer
from plait.node.settlement import Settlement
from plait.rollups.batcher.journal import Journal
from plait.rollups.opstack.faces.conductor_record import ConductorRecord
from plait.rollups.opstack.faces.settings import FACES_FILE, read_faces
from plait.rollups.opstack.importing import ANCHOR_FILE, read_anchor
from plait.rollups.opstack.jwt import read_secret
from plait.rollups.opstack.remote_import import REMOTE_FILE, read_source
from plait.storage import Snapshots
from plait.storage.base import read_base
from plait.testnet.control import CONTROL_FILE, ask
from plait.testnet.layout import TESTNET_FILE, read_layout
from plait.testnet.opstack.layout import OPSTACK_FILE as NETWORK_LAYOUT
from plait.testnet.opstack.layout import read_layout as read_opstack_layout

JSON = {
    "nothing": b"",
    "not utf-8": b"\xff\xfe{\x00}\x00",
    "not utf-8 in a text": b'{"name": "caf\xe9", "socket": "\xe9", "priv_key": "\xe9", "hash": "\xe9"}',
    "half": b'{"name": "pla',
    "zeros": bytes(100),
    "too deep": b"[" * 200_000,
    "deep objects": b'{"priv_key":' * 200_000,
    "a list": b"[]",
    "a number": b"1",
    "a text": b'"x"',
    "null": b"null",
    "other types": b'{"socket": 5, "priv_key": 1, "pub_key": [], "hash": 5, "height": "x", "nodes": 7, "version": []}',
    "others inside": b'{"socket": [], "priv_key": {"value": 5}, "pub_key": {"value": {}}, "hash": "0x00", "height": 0}',
}
TOML = {
    "not utf-8": b"\xff\xfen\x00",
    "not utf-8 in a text": b'name = "caf\xe9"\n',
    "half": b'name = "pla',
    "zeros": bytes(100),
    "too deep": b"name = " + b"[" * 200_000,
    "numbers": b"boost = 5\nengines = 5\nl1 = 5\nname = 5\n",
    "lists": b"boost = [5]\nengines = [5]\nl1 = [5]\nname = [5]\n",
    "tables": b"[boost]\na = 1\n[engines]\nb = 1\n[name]\nc = 1\n",
}
PACKED = {
    "nothing": b"",
    "half": b"\x85\xa5nonce",
    "not utf-8": b"\x81\xa2\xff\xfe\x01",
    "reserved": b"\xc1" * 30,
    "too deep": b"\x91" * 200_000,
    "a number": b"\x01",
    "a list": b"\x90",
    "empty": b"\x80",
}
BYTES = {"nothing": b"", "not utf-8": b"\xff" * 64, "half": b"ab" * 31, "zeros": bytes(64), "long": b"ab" * 100_000}


class File(NamedTuple):
    """A file, how it is damaged, who reads it, and the code of the refusal."""

    path: str
    damages: dict[str, bytes]
    read: Callable[[Path], Any]
    code: str


def _genesis(directory: Path) -> Any:
    return rollup_of_genesis((directory / "genesis.json").read_bytes(), "genesis.json", RollupConfig(chain_id=901))


def _relayer(directory: Path) -> Any:
    return LocalRelayer.from_key_file(directory / "key", policy="free")


FILES = {
    "network": File(
        "network.json", JSON, lambda at: decode_network((at / "network.json").read_bytes(), "network.json"),
        "configuration_invalid",
    ),
    "genesis": File("genesis.json", JSON, _genesis, "genesis_malformed"),
    "rollup": File(
        "rollup.json", JSON, lambda at: decode_rollup_json((at / "rollup.json").read_bytes()), "rollup_config_invalid"
    ),
    "founding": File(FOUNDING_FILE, JSON, read_founding, "configuration_invalid"),
    "remote state": File(REMOTE_FILE, JSON, read_source, "import_missing"),
    "layout of a testnet": File(TESTNET_FILE, JSON, read_layout, "configuration_invalid"),
    "layout of opstack": File(NETWORK_LAYOUT, JSON, read_opstack_layout, "configuration_invalid"),
    "control": File(CONTROL_FILE, JSON, lambda at: asyncio.run(ask(at, "status")), "testnet_not_running"),
    "consensus key": File(
        "cometbft/config/priv_validator_key.json", JSON, consensus_seed, "consensus_key_unusable"
    ),
    "public key": File("cometbft/config/priv_validator_key.json", JSON, public_key_of, "comet_home_unusable"),
    "node key": File("cometbft/config/node_key.json", JSON, node_id_of, "comet_home_unusable"),
    "account key": File("alice.json", JSON, lambda at: read_key(at, "alice"), "key_malformed"),
    "node settings": File(NODE_FILE, TOML, read_settings, "configuration_invalid"),
    "opstack settings": File(OPSTACK_FILE, TOML, read_opstack, "opstack_file_invalid"),
    "faces": File(FACES_FILE, TOML, lambda at: read_faces(at / FACES_FILE), "faces_invalid"),
    "batcher transaction": File("7.tx", PACKED, Journal, "batcher_journal_damaged"),
    "conductor": File("901.blocks", PACKED, lambda at: ConductorRecord(at).check(), "conductor_record_damaged"),
    "anchor": File(ANCHOR_FILE, BYTES, read_anchor, "import_missing"),
    "engine secret": File("jwt.hex", BYTES, lambda at: read_secret(at / "jwt.hex"), "engine_jwt_unusable"),
    "relayer key": File("key", BYTES, _relayer, "relayer_key_malformed"),
    "log base": File("base", BYTES, lambda at: read_base(at, bytes(32)), "log_damaged"),
}  # fmt: skip


def placed(directory: Path, path: str, content: bytes) -> None:
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o600)


@pytest.mark.parametrize(
    ("name", "damage"), [(name, damage) for name, file in FILES.items() for damage in file.damages]
)
def test_a_damaged_file_is_refused_by_code_and_sentence(tmp_path: Path, name: str, damage: str) -> None:
    file = FILES[name]
    placed(tmp_path, file.path, file.damages[damage])
    with pytest.raises(PlaitError) as caught:
        file.read(tmp_path)
    assert caught.value.code == file.code, caught.value
    assert len(caught.value.message) > 15
    assert len(caught.value.message) < 1_000, "it does not repeat the file"


@pytest.mark.parametrize("damage", PACKED)
def test_cursors_of_the_batcher_are_refused_too(tmp_path: Path, damage: str) -> None:
    """An empty map is a journal that has settled nothing."""
    placed(tmp_path, "cursors", PACKED[damage])
    if damage == "empty":
        assert Journal(tmp_path).settled.cursors == {}
        return
    with pytest.raises(PlaitError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "batcher_journal_damaged"


@pytest.mark.parametrize("damage", PACKED)
def test_what_settlement_held_for_final_is_read_from_l1_again(tmp_path: Path, damage: str) -> None:
    placed(tmp_path, "901.final", PACKED[damage])
    settlement = Settlement(dict, None, directory=tmp_path)  # type: ignore[arg-type]
    assert settlement._kept(901) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", JSON)
def test_sets_of_validators_are_learnt_again(tmp_path: Path, damage: str) -> None:
    placed(tmp_path, "sets.json", JSON[damage])
    assert KnownSets(tmp_path).get(bytes(32)) == ()


@pytest.mark.parametrize("damage", JSON)
def test_a_snapshot_with_a_damaged_manifest_is_passed_over_with_a_sentence(tmp_path: Path, damage: str) -> None:
    placed(tmp_path, f"{7:020d}/manifest.json", JSON[damage])
    snapshots = Snapshots(tmp_path, bytes(32))
    assert list(snapshots.good(10)) == []
    assert len(snapshots.skipped) == 1
    assert "is not used" in snapshots.skipped[0]


@pytest.mark.parametrize("damage", JSON)
def test_a_damaged_trusted_block_is_refused(tmp_path: Path, damage: str) -> None:
    placed(tmp_path, "trusted.json", JSON[damage])
    with pytest.raises(PlaitError) as caught:
        _trusted(None, None, tmp_path / "trusted.json")
    assert caught.value.code == "trusted_file_invalid"
