"""A real op-geth on the loopback interface, and its Engine API as a sequencer's derivation pipeline would use it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

REPOSITORY = Path(__file__).resolve().parents[3]
START_SECONDS_MAX = 60


def require_op_geth() -> Path:
    """Path of op-geth, built on first use.

    Raises:
        ToolMissingError: it cannot be built here.
    """
    sys.path.insert(0, str(REPOSITORY / "tools"))
    import build_tools

    return build_tools.build_op_geth()


def can_build() -> bool:
    """True when op-geth is in the cache or Go can build it."""
    sys.path.insert(0, str(REPOSITORY / "tools"))
    import build_tools

    return build_tools.op_geth_path().exists() or shutil.which("go") is not None


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


class RpcError(Exception):
    """A JSON-RPC error answer."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error}")
        self.error = error


class JsonRpc:
    """JSON-RPC over one kept-alive connection; with `secret`, authenticated as the Engine API wants it (JWT, HS256)."""

    def __init__(self, port: int, secret: bytes | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._secret = secret

    def call(self, method: str, *params: Any) -> Any:
        """Result of a call.

        Raises:
            RpcError: the answer is an error.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        return self._answer(method, body)

    def call_raw(self, method: str, params_json: str) -> Any:
        """As `call`, with the parameters as JSON text that is passed through unchanged."""
        return self._answer(method, f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params_json}}}')

    def _answer(self, method: str, body: str) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            headers["Authorization"] = "Bearer " + _token(self._secret)
        self._connection.request("POST", "/", body, headers)
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._connection.close()


def _token(secret: bytes) -> str:
    """JWT of the Engine API's authentication specification: claim iat, signed with HMAC-SHA-256."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    text = encode(b'{"alg":"HS256","typ":"JWT"}') + "." + encode(b'{"iat":%d}' % int(time.time()))
    return text + "." + encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())


class OpGeth:
    """An op-geth process with an empty pool and no peers, started from a genesis file. Use as a context manager.

    `flags` are further ones of its command line.
    """

    def __init__(self, genesis_json: bytes, directory: Path, flags: Sequence[str] = ()) -> None:
        self._directory = directory
        self._flags = flags
        directory.mkdir(parents=True, exist_ok=True)
        self._genesis_path = directory / "genesis.json"
        self._genesis_path.write_bytes(genesis_json)
        self._chain_id = json.loads(genesis_json)["config"]["chainId"]
        self._secret = secrets.token_bytes(32)
        self._process: subprocess.Popen[bytes] | None = None
        self.eth: JsonRpc
        self.engine: JsonRpc
        self._heads: ClientConnection
        self._open = ExitStack()

    def __enter__(self) -> OpGeth:
        geth = str(require_op_geth())
        data = str(self._directory / "data")
        secret_path = self._directory / "jwt.hex"
        secret_path.write_text(self._secret.hex())
        http_port, engine_port, websocket_port = free_ports(3)
        log = self._open.enter_context(open(self._directory / "op-geth.log", "wb"))
        subprocess.run(
            [geth, "init", "--state.scheme=hash", "--datadir", data, str(self._genesis_path)],
            check=True, stdout=log, stderr=log,
        )  # fmt: skip
        self._process = subprocess.Popen(
            [
                geth, "--datadir", data, "--networkid", str(self._chain_id),
                "--syncmode", "full", "--gcmode", "archive",
                "--http", "--http.addr", "127.0.0.1", "--http.port", str(http_port),
                "--http.api", "eth,net,web3,debug,txpool",
                "--ws", "--ws.addr", "127.0.0.1", "--ws.port", str(websocket_port), "--ws.api", "eth",
                "--authrpc.addr", "127.0.0.1", "--authrpc.port", str(engine_port),
                "--authrpc.jwtsecret", str(secret_path),
                "--port", "0", "--nodiscover", "--maxpeers", "0", "--ipcdisable", "--rollup.disabletxpoolgossip=true",
                "--cache", "256", *self._flags,
            ],
            stdout=log, stderr=log, env={"HOME": str(self._directory), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        self.eth = JsonRpc(http_port)
        self.engine = JsonRpc(engine_port, self._secret)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.eth.call("eth_chainId")
                self._subscribe(websocket_port)
                return self
            except OSError:
                self.eth.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    tail = (self._directory / "op-geth.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"op-geth did not start: {tail}") from None
                time.sleep(0.05)

    def _subscribe(self, port: int) -> None:
        self._heads = self._open.enter_context(connect(f"ws://127.0.0.1:{port}"))
        self._heads.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        assert "result" in json.loads(self._heads.recv(10))

    def next_head(self) -> Any:
        """The next notification of the newHeads subscription that began with the process.

        Fields of forks that the chain does not have are left out; this geth names them with a null.
        """
        head = json.loads(self._heads.recv(10))["params"]["result"]
        return {name: value for name, value in head.items() if value is not None}

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def insert(self, payload_json: bytes, beacon_root: bytes, version: int = 4) -> dict[str, Any]:
        """engine_newPayload: op-geth executes the block by itself and says VALID, or INVALID with the reason."""
        rest = "" if version == 3 else ",[]"
        params = f'[{payload_json.decode()},[],"0x{beacon_root.hex()}"{rest}]'
        status: dict[str, Any] = self.engine.call_raw(f"engine_newPayloadV{version}", params)
        return status

    def adopt(self, block_hash: bytes) -> None:
        """engine_forkchoiceUpdated: the block becomes the head."""
        head = "0x" + block_hash.hex()
        state = {"headBlockHash": head, "safeBlockHash": head, "finalizedBlockHash": "0x" + bytes(32).hex()}
        answer = self.engine.call("engine_forkchoiceUpdatedV3", state, None)
        assert answer["payloadStatus"]["status"] == "VALID", answer

    def build(self, parent_hash: bytes, attributes: dict[str, Any], version: int = 4) -> dict[str, Any]:
        """op-geth builds the block itself from the same attributes and transactions.

        Raises:
            RpcError: a transaction cannot be included; op-geth names the first one.
        """
        head = "0x" + parent_hash.hex()
        state = {"headBlockHash": head, "safeBlockHash": head, "finalizedBlockHash": "0x" + bytes(32).hex()}
        answer = self.engine.call("engine_forkchoiceUpdatedV3", state, attributes)
        payload: dict[str, Any] = self.engine.call(f"engine_getPayloadV{version}", answer["payloadId"])
        return payload
