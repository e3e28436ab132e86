"""opstack.toml: what is in it reaches the node; what is wrong in it is named, and no key of a URL is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import ConfigurationError
from plait.node.node_file import NodeSettings
from plait.node.opstack_file import OPSTACK_FILE, read_opstack
from plait.rollups.batcher.service import BatcherTerms

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


BATCHER = '[l1]\nrpc_url = "http://l1"\n[batcher]\nkey_file = "k"\n'


def test_the_documented_settings_of_the_batcher_are_read(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs" / "opstack" / "batcher.md").read_text()
    write(tmp_path, guide.partition("```toml\n")[2].partition("```")[0])
    found = read_opstack(tmp_path).batcher
    assert found is not None
    assert found.fee_cap_max_wei == found.terms().sender.fee_cap_max_wei == 10**11
    for name in (*found.__struct_fields__, *found.throttle.__struct_fields__):
        assert f"`{name}`" in guide, f"{name} is not in the guide"


def test_without_settings_the_batcher_has_its_defaults(tmp_path: Path) -> None:
    write(tmp_path, BATCHER)
    found = read_opstack(tmp_path).batcher
    assert found is not None
    assert found.terms() == BatcherTerms()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("interval_s = 0", "interval_s"),
        ("interval_s = 86401", "interval_s"),
        ("window_margin_blocks = 0", "window_margin_blocks"),
        ("fee_cap_max_wei = -1", "fee_cap_max_wei"),
        ("fee_cap_max_wei = 1_000_000_000_000_001", "fee_cap_max_wei"),
        ("blob_fee_cap_max_wei = -1", "blob_fee_cap_max_wei"),
        ("tip_min_wei = -1", "tip_min_wei"),
        ("tip_min_wei = 5\nfee_cap_max_wei = 4", "tip_min_wei"),
        ("bump_after_s = 0", "bump_after_s"),
        ("bump_percent = 9", "bump_percent"),
        ("bump_percent = 1001", "bump_percent"),
        ("blob_bump_percent = 99", "blob_bump_percent"),
        ("resend_after_s = 0", "resend_after_s"),
        ("poll_s = 0.01", "poll_s"),
        ("poll_s = 61", "poll_s"),
        ("poll_s = nan", "poll_s"),
        ("final_depth_blocks = 0", "final_depth_blocks"),
        ("[batcher.throttle]\nbacklog_low_bytes = 0", "backlog_low_bytes"),
        ("[batcher.throttle]\nbacklog_low_bytes = 5\nbacklog_high_bytes = 5", "backlog_low_bytes"),
        ("[batcher.throttle]\nblock_low_bytes = 5\nblock_high_bytes = 4", "block_low_bytes"),
        ("[batcher.throttle]\ntransaction_low_bytes = 5\ntransaction_high_bytes = 4", "transaction_low_bytes"),
        ("[batcher.throttle]\nunknown = 5", "unknown"),
    ],
)
def test_settings_of_the_batcher_out_of_their_range_are_refused_by_name(tmp_path: Path, line: str, named: str) -> None:
    write(tmp_path, BATCHER + line + "\n")
    with pytest.raises(ConfigurationError) as refused:
        read_opstack(tmp_path)
    assert refused.value.code == "opstack_file_invalid"
    assert named in refused.value.message


ATTESTER = f"""
[l1]
rpc_url = "http://127.0.0.1:8545"

[attester]
registry = "0x{"ab" * 20}"
key_file = "attester.key"
payer_key_file = "payer.key"
interval_heights = 100
peers = ["http://10.0.0.2:8545"]

[forced_inclusion]
contract = "0x{"cd" * 20}"
acknowledged = {{ 901 = 2 }}
"""


def test_an_attester_and_a_watch_reach_the_node(tmp_path: Path) -> None:
    write(tmp_path, ATTESTER)
    config = NodeSettings().config(tmp_path)
    assert config.attester is not None
    assert config.attester.key_file == tmp_path / "attester.key"
    assert config.attester.payer_key_file == tmp_path / "payer.key"
    assert (config.attester.interval_heights, config.attester.peers) == (100, ("http://10.0.0.2:8545",))
    assert config.forced_inclusion is not None
    assert config.forced_inclusion.acknowledged == {"901": 2}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[l1]\nrpc_url", "[other]\nrpc_url"),
        ('[l1]\nrpc_url = "http://127.0.0.1:8545"', ""),
        ("0x" + "ab" * 20, "0x12"),
        ("0x" + "cd" * 20, "nobody"),
        ("interval_heights = 100", "interval_heights = 0"),
        ("interval_heights = 100", "interval_heights = 100\nfee_cap_max_wei = -1"),
        ('key_file = "attester.key"\npayer_key_file = "payer.key"', ""),
        ("http://10.0.0.2:8545", "10.0.0.2:8545"),
        ("[forced", '[batcher]\nkey_file = "payer.key"\n\n[forced'),
    ],
)
def test_an_attester_that_cannot_work_is_refused(tmp_path: Path, before: str, after: str) -> None:
    assert before in ATTESTER
    write(tmp_path, ATTESTER.replace(before, after))
    with pytest.raises(ConfigurationError) as refused:
        read_opstack(tmp_path)
    assert refused.value.code == "opstack_file_invalid"
