"""Starts and stops the programs that benchmarks talk to over HTTP; everything listens on loopback, on free ports."""

import contextlib
import json
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import workload

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 120


class Served:
    """A running JSON-RPC server."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def call(self, method: str, *params: object) -> object:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.loads(response.read())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def plait(genesis: dict[int, bytes], genesis_time_s: int, sub_blocks: int = 4) -> Iterator[dict[int, Served]]:
    """A Plait node over these genesis files; one `Served` per chain id, and the network's own under 0."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for chain_id, data in genesis.items():
            path = Path(folder) / f"{chain_id}.json"
            path.write_bytes(data)
            files.append(str(path))
        command = [sys.executable, "-m", "bench.serve", f"{folder}/data", str(genesis_time_s), str(sub_blocks), *files]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            while not (line := process.stdout.readline()).startswith(b'{"url"'):
                if not line:
                    raise RuntimeError("the node ended before it served")
            ready = json.loads(line)
            url = ready["url"].rstrip("/")
            yield {0: Served(url, process.pid)} | {
                chain_id: Served(f"{url}/{chain_id}", process.pid) for chain_id in genesis
            }
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def anvil(genesis: bytes, chain_id: int) -> Iterator[Served]:
    """Anvil with one-second blocks, its fastest mode for a stream of transactions (mining each one apart is slower)."""
    program = subprocess.run(
        [sys.executable, "tools/build_tools.py", "foundry"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()[0]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "genesis.json"
        path.write_bytes(genesis)
        command = [program, "--port", str(port), "--chain-id", str(chain_id), "--init", str(path), "--block-time", "1"]
        command += [
            "--gas-limit",
            str(workload.GAS_LIMIT_BLOCK),
            "--silent",
            "--no-request-size-limit",
            "--order",
            "fifo",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            served = Served(f"http://127.0.0.1:{port}", process.pid)
            wait_until_answering(served)
            yield served
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_answering(served: Served) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            served.call("eth_blockNumber")
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def load(
    served: Served, raws: list[bytes], batch: int = 100, connections: int = 8, rate: float = 0.0
) -> dict[str, object]:
    """Sends all transactions from a process of its own; what it prints. Raises when any was refused."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        file.write(pickle.dumps(raws))
        file.flush()
        command = [sys.executable, "-m", "bench.load", served.url, file.name, str(batch), str(connections), str(rate)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    report: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    if report["errors"]:
        raise RuntimeError(f"{report['errors']} requests were answered with errors: {report['first_errors']}")
    return report


def wait_for_receipt(served: Served, raw: bytes, poll_s: float = 0.02) -> float:
    """Unix time at which the transaction's receipt was first there."""
    name = "0x" + workload.keccak256(raw).hex()
    deadline = time.monotonic() + START_SECONDS_MAX
    while served.call("eth_getTransactionReceipt", name) is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no receipt of {name} in {START_SECONDS_MAX} s")
        time.sleep(poll_s)
    return time.time()
