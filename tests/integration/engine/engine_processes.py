"""A real op-geth that can be killed, started again, and given another data directory, at the same address."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests" / "conformance" / "opgeth"))

from opgeth_node import START_SECONDS_MAX, JsonRpc, can_build, free_ports, require_op_geth  # noqa: E402

__all__ = ["EngineProcess", "JsonRpc", "can_build", "free_ports"]


class EngineProcess:
    """op-geth from a genesis file. `start`, `kill`, `stop` and `forget` may follow each other in any order that makes
    sense; `close` ends everything."""

    def __init__(self, genesis_json: bytes, directory: Path, chain_id: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.genesis = directory / "genesis.json"
        self.genesis.write_bytes(genesis_json)
        self.chain_id = chain_id
        self.secret = secrets.token_bytes(32)
        self.secret_file = directory / "jwt.hex"
        self.secret_file.write_text(self.secret.hex())
        self.secret_file.chmod(0o600)
        self.http_port, self.engine_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self.eth: JsonRpc

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.engine_port}"

    def initialise(self) -> None:
        data = str(self.directory / "data")
        with open(self.directory / "op-geth.log", "ab") as log:
            command = [str(require_op_geth()), "init", "--state.scheme=hash", "--datadir", data, str(self.genesis)]
            subprocess.run(command, check=True, stdout=log, stderr=log)

    def start(self, *flags: str) -> None:
        data = self.directory / "data"
        if not data.exists():
            self.initialise()
        command = [
            str(require_op_geth()), "--datadir", str(data), "--networkid", str(self.chain_id), "--syncmode", "full",
            "--gcmode", "archive", "--http", "--http.addr", "127.0.0.1", "--http.port", str(self.http_port),
            "--http.api", "eth,net,web3,debug,miner,admin", "--authrpc.addr", "127.0.0.1",
            "--authrpc.port", str(self.engine_port), "--authrpc.jwtsecret", str(self.secret_file), "--port", "0",
            "--nodiscover", "--maxpeers", "0", "--ipcdisable", "--rollup.disabletxpoolgossip=true", "--cache", "256",
            *flags,
        ]  # fmt: skip
        environment = {"HOME": str(self.directory), "PATH": os.environ["PATH"]}
        with open(self.directory / "op-geth.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.eth = JsonRpc(self.http_port)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.eth.call("eth_chainId")
                return
            except OSError:
                self.eth.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    tail = (self.directory / "op-geth.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"op-geth did not start: {tail}") from None
                time.sleep(0.05)

    def head(self) -> tuple[int, bytes]:
        """(number, hash) of its newest block, over a new connection: op-geth ends those that were idle for long."""
        self.eth.close()
        block = self.eth.call("eth_getBlockByNumber", "latest", False)
        return int(block["number"], 16), bytes.fromhex(block["hash"][2:])

    def kill(self) -> None:
        """SIGKILL, as when the machine fails."""
        assert self._process is not None
        self.eth.close()
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; it writes what it holds."""
        assert self._process is not None
        self.eth.close()
        self._process.terminate()
        self._process.wait(30)

    def forget(self) -> None:
        """Loses its data directory."""
        shutil.rmtree(self.directory / "data")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
