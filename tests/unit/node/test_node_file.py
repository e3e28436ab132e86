"""node.toml: what is written is what is read, every setting has a comment, and what cannot be used is named."""

import tomllib
from pathlib import Path

import pytest

from plait.errors import ConfigurationError
from plait.node.node_file import NODE_FILE, NodeSettings, encode_settings, read_settings

PEER = "0a4f4ba16144c46c8c47f3955640ac51b452acf1@10.0.0.7:26656"


def written(home: Path, text: str) -> Path:
    (home / NODE_FILE).write_text(text)
    return home


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    settings = NodeSettings(
        name='odd "name" \\ with ü', port=1234, peers=(PEER,), allowed_hosts=("a.example", "b"), pex=False, trace=True
    )
    assert read_settings(written(tmp_path, encode_settings(settings))) == settings


def test_every_setting_is_written_with_a_comment_and_takes_effect_in_the_node() -> None:
    text = encode_settings(NodeSettings())
    assert sorted(tomllib.loads(text)) == sorted(NodeSettings.__struct_fields__)
    for name in NodeSettings.__struct_fields__:
        before = text[: text.index(f"\n{name} = ")].splitlines()[-1]
        assert before.startswith("# "), name
    config = NodeSettings(name="x", peers=(PEER,), trace=True, keep_heights=7_000, relayer_key="key").config(
        Path("home")
    )
    assert (config.engine, config.name, config.peers, config.data_dir) == ("cometbft", "x", (PEER,), Path("home"))
    assert (config.trace_dir, config.keep_heights) == (Path("home/traces"), 7_000)
    assert config.relayer_key == Path("home/key")


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("port = 'x'", "configuration_invalid", "port"),
        ("prot = 1", "configuration_invalid", "prot"),
        ("port = ", "configuration_invalid", "node.toml"),
        ("port = 70000", "port_out_of_range", "port"),
        ("comet_metrics_port = -1", "port_out_of_range", "comet_metrics_port"),
        ('peers = ["10.0.0.7:26656"]', "peer_malformed", "id@host:port"),
        ('sync_servers = ["a:1"]', "sync_invalid", "sync_servers"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, text: str, code: str, word: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(written(tmp_path, text)).config(tmp_path)
    assert refused.value.code == code
    assert word in refused.value.message


def test_a_directory_without_settings_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(tmp_path)
    assert refused.value.code == "home_missing"
    assert "plait init" in refused.value.message
