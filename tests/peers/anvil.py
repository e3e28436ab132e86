"""A real anvil as a test's own L1: it mines when it is told to, and what it has survives its restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from plait.testnet.layout import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

from build_tools import foundry_path  # noqa: E402

L1_CHAIN_ID = 900
START_S_MAX = 20


class Anvil:
    """Its state is a file in `directory`.

    Args:
        directory: made if missing.
        flags: of anvil, beside those of every one.
        chain_id: of the L1.
    """

    def __init__(self, directory: Path, *flags: str, chain_id: int = L1_CHAIN_ID) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._flags = flags
        self._chain_id = chain_id
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [
            str(foundry_path("anvil")), "--chain-id", str(self._chain_id), "-p", str(self.port), "--silent",
            "--no-mining", "--slots-in-an-epoch", "8", "--state", str(self._directory / "anvil.json"), *self._flags,
        ]  # fmt: skip
        environment = {"HOME": str(self._directory), "PATH": os.environ["PATH"]}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                self.call("eth_chainId")
                return
            except (OSError, urllib.error.URLError):
                assert self._process.poll() is None, "anvil ended at once"
                assert time.monotonic() < deadline, "anvil did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it so that it writes its state."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)

    def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call; raises RuntimeError when it is refused."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def number(self) -> int:
        """Of the newest block."""
        return int(self.call("eth_blockNumber"), 16)

    def mine(self, count: int = 1) -> int:
        """Number of the newest block after mining."""
        for _ in range(count):
            self.call("evm_mine")
        return self.number()
