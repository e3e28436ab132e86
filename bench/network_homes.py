"""Networks of four validators in processes of their own, for the benchmarks: Plait's, and CometBFT's with its built-in
key-value store at the same settings.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import processes, workload
from plait.engines.cometbft.binary import find_cometbft
from plait.engines.cometbft.home import (
    CometGenesis,
    CometSettings,
    commit_timeout_ms,
    create_keys,
    genesis_document,
    write_config,
    write_genesis,
)
from plait.ledger.parameters import TOKEN
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, ValidatorConfig
from plait.node.engine import comet_genesis
from plait.node.home import make_home
from plait.node.node import open_storage
from plait.types import Hash32, NetworkId, RollupId, Seconds, ValidatorUpdate

NODES = 4
SUB_BLOCKS = 4
START_S_MAX = 60
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


@dataclass
class Member:
    """A running node: its process, its CometBFT and where both answer."""

    pid: int
    comet_pid: int
    comet_url: str
    network: processes.Served
    rollups: dict[int, processes.Served]

    def metrics(self) -> dict[str, float]:
        """Every number of /metrics by its name and labels."""
        with urllib.request.urlopen(f"{self.network.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] not in {"", "#"}}

    @property
    def height(self) -> int:
        """Of the newest decided sub-block."""
        return int(self.metrics()["plait_height"])


@contextlib.contextmanager
def plait_network(geneses: Mapping[int, bytes], genesis_time_s: int) -> Iterator[list[Member]]:
    """Four Plait nodes over these genesis files."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as folder:
        homes = [Path(folder) / f"node{index}" for index in range(NODES)]
        ports = [(processes.free_port(), processes.free_port()) for _ in homes]
        identities = [make_home(home, {}) for home in homes]
        network = NetworkConfig(
            genesis_time_s=genesis_time_s,
            sub_blocks_per_slot=SUB_BLOCKS,
            rollups=tuple(
                RollupConfig(chain_id=chain_id, gas_limit=workload.GAS_LIMIT_BLOCK) for chain_id in sorted(geneses)
            ),
            validators=tuple(
                ValidatorConfig(
                    operator=f"0x{index + 1:040x}",
                    public_key="0x" + identity.public_key.hex(),
                    stake=10 * TOKEN,
                    name=f"node{index}",
                )
                for index, identity in enumerate(identities)
            ),
        )
        peers = [f"{one.node_id}@127.0.0.1:{p2p}" for one, (p2p, _) in zip(identities, ports, strict=True)]
        for index, home in enumerate(homes):
            stored = open_storage(
                network, NodeConfig(data_dir=home), genesis={RollupId(key): data for key, data in geneses.items()}
            )
            write_genesis(home, comet_genesis(stored.network, stored.genesis))
            stored.log.close()
            assert stored.directory is not None
            stored.directory.close()
            make_home(
                home,
                {
                    "name": home.name,
                    "port": processes.free_port(),
                    "rollup_port_base": 0,
                    "p2p_port": ports[index][0],
                    "comet_rpc_port": ports[index][1],
                    "peers": tuple(peer for other, peer in enumerate(peers) if other != index),
                    "pex": False,
                },
            )
        started = [_start_node(home) for home in homes]
        try:
            members = [
                _member(process, home, port) for process, home, (_, port) in zip(started, homes, ports, strict=True)
            ]
            _until_height(members, 5)
            yield members
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=60)


def _start_node(home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "plait.cli.main", "node", "--home", str(home), "--json", "--log-level", "error"]
    return subprocess.Popen(command, cwd=processes.ROOT, stdout=subprocess.PIPE)


def _member(process: subprocess.Popen[bytes], home: Path, comet_port: int) -> Member:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{home.name} ended before it was ready")
    ready = json.loads(line)
    url = ready["url"].rstrip("/")
    deadline = time.monotonic() + START_S_MAX
    pid_file = home / "cometbft" / "cometbft.pid"
    while not pid_file.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("CometBFT did not start")
        time.sleep(0.05)
    return Member(
        process.pid,
        int(pid_file.read_text()),
        f"http://127.0.0.1:{comet_port}",
        processes.Served(url, process.pid),
        {rollup["chainId"]: processes.Served(f"{url}/{rollup['chainId']}", process.pid) for rollup in ready["rollups"]},
    )


def _until_height(members: list[Member], height: int) -> None:
    deadline = time.monotonic() + START_S_MAX
    while min(member.height for member in members) < height:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no height {height} within {START_S_MAX} s")
        time.sleep(0.1)


@contextlib.contextmanager
def raw_network() -> Iterator[list[str]]:
    """Four CometBFT with their built-in key-value store; the URLs of their RPC."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-raw-") as folder:
        homes = [Path(folder) / f"node{index}" for index in range(NODES)]
        keys = [create_keys(home) for home in homes]
        ports = [(processes.free_port(), processes.free_port()) for _ in homes]
        document = genesis_document(
            CometGenesis(
                network_id=NetworkId(1),
                genesis_time_s=Seconds(int(time.time()) - 1),
                fingerprint=Hash32(bytes(32)),
                validators=tuple(ValidatorUpdate(public_key, 10) for public_key, _ in keys),
            )
        )
        document["consensus_params"]["block"]["max_gas"] = "-1"  # its transactions do go into blocks
        parameters = NetworkConfig(
            genesis_time_s=1, sub_blocks_per_slot=SUB_BLOCKS, rollups=(RollupConfig(chain_id=1),)
        ).parameters()
        started: list[subprocess.Popen[bytes]] = []
        for index, home in enumerate(homes):
            write_config(
                home,
                CometSettings(
                    moniker=home.name,
                    p2p_port=ports[index][0],
                    rpc_port=ports[index][1],
                    persistent_peers=tuple(
                        f"{node_id}@127.0.0.1:{p2p}"
                        for other, ((_, node_id), (p2p, _)) in enumerate(zip(keys, ports, strict=True))
                        if other != index
                    ),
                    pex=False,
                    timeout_commit_ms=commit_timeout_ms(parameters),
                ),
            )
            (home / "cometbft" / "config" / "genesis.json").write_text(json.dumps(document))
            started.append(
                subprocess.Popen(
                    [find_cometbft(), "start", "--home", str(home / "cometbft"), "--proxy_app", "kvstore"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"GOMAXPROCS": str(max((os.cpu_count() or 1) // 2, 1)), **os.environ},
                )
            )
        urls = [f"http://127.0.0.1:{rpc}" for _, rpc in ports]
        try:
            deadline = time.monotonic() + START_S_MAX
            while min(comet_height(url) for url in urls) < 5:
                if time.monotonic() > deadline:
                    raise RuntimeError("CometBFT alone decides nothing")
                time.sleep(0.1)
            yield urls
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=60)


def comet_call(url: str, method: str, **parameters: object) -> dict[str, object]:
    """The result of a method of CometBFT's RPC."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.loads(response.read())
    result: dict[str, object] = answer["result"]
    return result


def comet_height(url: str) -> int:
    """Newest height of a CometBFT; 0 while it does not answer."""
    try:
        sync = comet_call(url, "status")["sync_info"]
    except OSError:
        return 0
    assert isinstance(sync, dict)
    return int(sync["latest_block_height"])


def commit_one(url: str, payload: bytes) -> None:
    """Sends a transaction to a CometBFT and returns when it is decided."""
    answer = comet_call(url, "broadcast_tx_commit", tx=base64.b64encode(payload).decode())
    assert answer["tx_result"]["code"] == 0, answer  # type: ignore[index]
