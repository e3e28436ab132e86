"""`plait derive` as a program on a real anvil: what it refuses, with which code and advice, and what it says else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plait.derivation.rollup_config import BlockId, OpStackConfig, encode_rollup_json
from plait.derivation.system_config import SystemConfig
from plait.native import Rollup, Store
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

pytestmark = pytest.mark.node_js
NOBODY = Address(bytes(19) + b"\xaa")
WINDOW = 4


def call(url: str, method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=20
    ) as response:
        return json.load(response)["result"]


@pytest.fixture(scope="module")
def l1() -> Iterator[str]:
    """An anvil with twenty blocks, two seconds apart."""
    from build_tools import foundry_path

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(foundry_path("anvil")), "--chain-id", "900", "-p", str(port), "--silent", "--no-mining"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                call(url, "eth_chainId")
                break
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        call(url, "anvil_mine", "0x14", "0x2")
        yield url
    finally:
        process.terminate()
        process.wait(20)


class Files:
    """rollup.json and genesis.json of a rollup on that L1, with a short sequencing window."""

    def __init__(self, directory: Path, l1: str) -> None:
        first = call(l1, "eth_getBlockByNumber", "0x0", False)
        time_s = Seconds(int(first["timestamp"], 16))
        self.genesis = directory / "genesis.json"
        self.genesis.write_bytes(genesis_json(GenesisSpecification(chain_id=ChainId(901), timestamp=time_s)))
        rollup = Rollup.from_genesis(self.genesis.read_bytes(), Store.in_memory())
        self.rollup = directory / "rollup.json"
        self.config = OpStackConfig(
            chain_id=901,
            l1_chain_id=900,
            genesis_l1=BlockId(BlockNumber(0), Hash32(bytes.fromhex(first["hash"][2:]))),
            genesis_l2=BlockId(BlockNumber(0), Hash32(rollup.genesis_hash)),
            genesis_time_s=time_s,
            genesis_system=SystemConfig(
                batcher=NOBODY, gas_limit=Gas(30_000_000), base_fee_scalar=1, blob_base_fee_scalar=1,
                eip1559_denominator=250, eip1559_elasticity=6,
            ),
            block_time_s=1,
            seq_window_blocks=WINDOW,
            batch_inbox=NOBODY,
            deposit_contract=NOBODY,
            system_config_contract=NOBODY,
        )  # fmt: skip
        self.write()

    def write(self, **changes: Any) -> None:
        self.rollup.write_bytes(encode_rollup_json(msgspec.structs.replace(self.config, **changes)))

    def derive(self, l1: str, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, the JSON document, and standard error."""
        command = [
            str(Path(sys.executable).with_name("plait")), "derive", "--l1", l1, "--json",
            "--rollup-config", str(self.rollup), "--genesis", str(self.genesis), *options,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


@pytest.fixture
def files(tmp_path: Path, l1: str) -> Files:
    return Files(tmp_path, l1)


def test_a_rollup_that_nobody_posts_is_filled_after_its_window(files: Files, l1: str, tmp_path: Path) -> None:
    code, found, _ = files.derive(l1, "--store", str(tmp_path / "store"))
    assert code == 0
    assert found["blocks"] == found["blocks_without_batch"] > 0
    assert found["l1"]["number"] == 20
    assert found["head"]["number"] == found["blocks"]
    code, again, _ = files.derive(l1, "--to", "5")
    assert code == 0
    assert again["head"]["number"] == 5
    code, again, _ = files.derive(l1, "--l1-end", "10")
    assert code == 0
    assert again["l1"]["number"] == 10
    assert again["blocks"] < found["blocks"]
    code, refused, _ = files.derive(l1, "--store", str(tmp_path / "store"))
    assert code != 0
    assert refused["error"]["code"] == "derive_store_not_empty"


def test_a_node_with_other_blocks_is_named_with_the_first_difference(files: Files, l1: str) -> None:
    code, found, _ = files.derive(l1, "--compare", l1)
    assert code == 1
    assert found["equal"] is False
    assert found["difference"]["number"] == 0


def test_what_does_not_belong_together_is_refused_with_advice(files: Files, l1: str) -> None:
    files.write(l1_chain_id=1)
    code, found, _ = files.derive(l1)
    assert (code != 0, found["error"]["code"]) == (True, "l1_chain_mismatch")
    assert "Use a node of that chain" in found["error"]["message"]
    files.write(genesis_l1=BlockId(BlockNumber(0), Hash32(b"\x01" * 32)))
    code, found, _ = files.derive(l1)
    assert (code != 0, found["error"]["code"]) == (True, "l1_reorganised")
    files.write(genesis_l1=BlockId(BlockNumber(10_000), Hash32(b"\x01" * 32)))
    code, found, _ = files.derive(l1)
    assert (code != 0, found["error"]["code"]) == (True, "l1_block_unknown")
    files.write(genesis_l2=BlockId(BlockNumber(0), Hash32(b"\x02" * 32)))
    code, found, _ = files.derive(l1)
    assert (code != 0, found["error"]["code"]) == (True, "rollup_config_invalid")
    files.write()
    code, found, _ = files.derive("http://127.0.0.1:1")
    assert (code != 0, found["error"]["code"]) == (True, "l1_unreachable")
    code, _, err = files.derive(l1, "--l1-end", "soon")
    assert code == 2
    assert "latest, safe, finalized or a number" in err
