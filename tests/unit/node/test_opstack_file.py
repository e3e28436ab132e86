"""opstack.toml: what is in it reaches the node; what is wrong in it is named, and no key of a URL is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import ConfigurationError
from plait.node.node_file import NodeSettings
from plait.node.opstack_file import OPSTACK_FILE, read_opstack

WHOLE = """
[l1]
rpc_url = "https://l1.example/v3/s3cr3t"
beacon_url = "https://beacon.example"

[[engines]]
chain_id = 901
engine_url = "http://127.0.0.1:8551"
jwt_file = "jwt.hex"

[[engines]]
chain_id = 902
engine_url = "http://127.0.0.1:8552"
jwt_file = "/elsewhere/jwt.hex"
mode = "build"

[batcher]
key_file = "keys/batcher.key"
data = "blob"
"""


def write(home: Path, text: str, mode: int = 0o600) -> None:
    (home / OPSTACK_FILE).write_text(text)
    (home / OPSTACK_FILE).chmod(mode)


def test_a_home_without_the_file_reads_no_l1(tmp_path: Path) -> None:
    config = NodeSettings().config(tmp_path)
    assert (config.l1, config.engines, config.batcher) == (None, (), None)


def test_every_setting_reaches_the_node_with_paths_relative_to_the_file(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    config = NodeSettings().config(tmp_path)
    assert config.l1 is not None
    assert config.l1.rpc_url.endswith("/s3cr3t")
    assert [engine.jwt_file for engine in config.engines] == [tmp_path / "jwt.hex", Path("/elsewhere/jwt.hex")]
    assert config.engines[1].mode == "build"
    assert config.batcher is not None
    assert config.batcher.key_file == tmp_path / "keys/batcher.key"
    assert config.batcher.data == "blob"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path, WHOLE, mode)
    with pytest.raises(ConfigurationError) as refused:
        read_opstack(tmp_path)
    assert refused.value.code == "opstack_file_exposed"
    assert "chmod 600" in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "[l1]",
        '[l1]\nrpc_url = ""',
        '[l1]\nrpc_url = "ws://l1.example/v3/s3cr3t"',
        '[l1]\nrpc_url = "http://l1"\nrpc = 1',
        '[[engines]]\nchain_id = "901"\nengine_url = "http://e"\njwt_file = "j"',
        '[[engines]]\nchain_id = 901\nengine_url = "http://e"',
        "[engines]\nchain_id = 901",
        '[batcher]\nkey_file = "k"',
        '[l1]\nrpc_url = "http://l1"\n[batcher]\nkey_file = "k"\ndata = "papyrus"',
        WHOLE.replace("902", "901"),
        "l1 = 5",
        "engines = [5]",
        "[other]\nx = 1",
    ],
)
def test_what_cannot_be_used_is_named_without_the_urls(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        read_opstack(tmp_path)
    assert refused.value.code == "opstack_file_invalid"
    assert "s3cr3t" not in str(refused.value)
