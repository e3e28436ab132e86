"""What a running `plait devnet` serves over JSON-RPC is a chain that an unmodified op-geth accepts, answer for answer.

The node runs in a process of its own and is loaded through its endpoints. Then op-geth, started from the file that
`plait genesis` writes, executes every sealed block as the RPC gives it, and both sides are asked the same questions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import rlp
from comparison import DIFFERENCES_MAX, differences
from opgeth_node import OpGeth, RpcError, can_build, free_ports
from random_transactions import Generator

from plait.derivation.attributes import L1_BLOCK
from plait.rollups.embedded.genesis import MESSAGE_PASSER

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[3]
SEED = int(os.environ.get("PLAIT_OPGETH_SEEDS", "1").split(",")[0])
ROUNDS = 6
TRANSACTIONS_PER_ROUND = 40


class Rpc:
    """JSON-RPC of one rollup of the devnet."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, method: str, *params: Any) -> Any:
        answer = self.answer(method, *params)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def answer(self, method: str, *params: Any) -> Any:
        """The whole answer, an error too."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        request = Request(self._url, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as response:
            return json.load(response)


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[tuple[list[Any], Path]]:
    """A devnet of two rollups: what it says about them, and its data directory."""
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")
    data = tmp_path / "devnet"
    command = [sys.executable, "-m", "plait.cli.main", "devnet", "--json", "--rollup-port-base", "0"]
    command += ["--port", str(free_ports(1)[0]), "--data-dir", str(data)]
    with open(tmp_path / "devnet.log", "wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (tmp_path / "devnet.log").read_text()
        yield json.loads(line)["rollups"], data
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(rpc: Rpc, chain_id: int) -> int:
    """Sends rounds of random transactions as a user would and waits until they are sealed; gives the newest block."""
    generator = Generator(SEED, chain_id)
    accepted: list[str] = []
    for round_number in range(ROUNDS):
        generator.base_fee = int(rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        made = generator.setup() if round_number == 0 else generator.transactions(TRANSACTIONS_PER_ROUND)
        for item in made:
            answer = rpc.answer("eth_sendRawTransaction", "0x" + item.raw.hex())
            if "result" in answer:
                accepted.append(answer["result"])
        wallet = generator.wallet
        time.sleep(1.5)  # a sub-block or two, so that rounds end up in different blocks
        for address in [*wallet.senders, *wallet.authorities]:
            wallet.nonces[address] = int(rpc("eth_getTransactionCount", "0x" + address.hex(), "pending"), 16)
    assert len(accepted) > ROUNDS * TRANSACTIONS_PER_ROUND // 3
    deadline = time.monotonic() + 30
    sealed = 0
    while sealed < len(accepted) * 9 // 10 and time.monotonic() < deadline:
        time.sleep(0.5)
        sealed = sum(rpc("eth_getTransactionReceipt", identity) is not None for identity in accepted)
    assert sealed >= len(accepted) * 9 // 10, f"{sealed} of {len(accepted)} accepted transactions were sealed"
    return int(rpc("eth_blockNumber"), 16)


def payload_of(rpc: Rpc, number: int) -> tuple[dict[str, Any], bytes]:
    """The execution payload of a block, from what the RPC answers about it."""
    block = rpc("eth_getBlockByNumber", hex(number), False)
    _, transactions, _, _ = rlp.decode(bytes.fromhex(rpc("debug_getRawBlock", hex(number))[2:]))
    same = (
        "parentHash", "stateRoot", "receiptsRoot", "logsBloom", "gasLimit", "gasUsed", "timestamp", "extraData",
        "baseFeePerGas", "withdrawals", "blobGasUsed", "excessBlobGas", "withdrawalsRoot",
    )  # fmt: skip
    payload = {name: block[name] for name in same} | {
        "feeRecipient": block["miner"],
        "prevRandao": block["mixHash"],
        "blockNumber": block["number"],
        "blockHash": block["hash"],
        "transactions": ["0x" + (item if isinstance(item, bytes) else rlp.encode(item)).hex() for item in transactions],
    }
    return payload, bytes.fromhex(block["parentBeaconBlockRoot"][2:])


def test_op_geth_follows_a_running_devnet(devnet: tuple[list[Any], Path], tmp_path: Path) -> None:
    """Every sealed block of both rollups is VALID, and blocks, receipts and logs are equal field by field."""
    rollups, data = devnet
    rpcs = {rollup["chainId"]: Rpc(rollup["url"]) for rollup in rollups}
    with ThreadPoolExecutor() as both:
        newest_of = dict(zip(rpcs, both.map(load, rpcs.values(), rpcs), strict=True))
    for chain_id, rpc in rpcs.items():
        newest = newest_of[chain_id]
        genesis = tmp_path / f"{chain_id}.json"
        command = [sys.executable, "-m", "plait.cli.main", "genesis", "--rollup", str(chain_id)]
        subprocess.run([*command, "--data-dir", str(data), "-o", str(genesis)], cwd=REPOSITORY, check=True)
        with OpGeth(genesis.read_bytes(), tmp_path / f"op-geth-{chain_id}") as op_geth:
            for number in range(1, newest + 1):
                payload, beacon_root = payload_of(rpc, number)
                status = op_geth.insert(json.dumps(payload).encode(), beacon_root)
                assert status["status"] == "VALID", f"seed {SEED}, rollup {chain_id}, block {number}: {status}"
                op_geth.adopt(bytes.fromhex(payload["blockHash"][2:]))
            found = _answers_differ(rpc, op_geth, newest) + _refusals_differ(rpc, op_geth, newest)
            assert not found, f"seed {SEED}, rollup {chain_id}\n" + "\n".join(found)


def _answers_differ(rpc: Rpc, op_geth: OpGeth, newest: int) -> list[str]:
    """Differences of what both sides answer about all blocks."""
    questions: list[tuple[Any, ...]] = [("eth_chainId",), ("net_version",)]
    questions.append(("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(newest)}))
    for number in range(newest + 1):
        tag = hex(number)
        questions += [
            ("eth_getBlockByNumber", tag, True),
            ("eth_getBlockReceipts", tag),
            ("eth_getBlockTransactionCountByNumber", tag),
            ("eth_getTransactionByBlockNumberAndIndex", tag, "0x0"),
            ("debug_getRawReceipts", tag),
        ]
    slots = ["0x" + slot.to_bytes(32, "big").hex() for slot in (1, 3, 7, 99)]
    for contract in (L1_BLOCK, MESSAGE_PASSER):
        questions.append(("eth_getProof", "0x" + contract, slots, hex(newest)))
    found = []
    for question in questions:
        ours, theirs = rpc(*question), op_geth.eth.call(*question)
        found += differences(json.dumps(question)[:80], ours, theirs)
    return found[:DIFFERENCES_MAX]


NOBODY = "0x" + "e1" * 20
ABSENT = "0x" + "12" * 32


def _edge_questions(newest: str, newest_hash: str) -> list[tuple[Any, ...]]:
    """Requests at the edge of what is allowed, and beyond."""

    def overridden(code: str) -> tuple[Any, ...]:
        return ("eth_call", {"to": NOBODY}, newest, {NOBODY: {"code": code}})

    return [
        ("eth_noSuch",), ("noNamespace",), ("engine_newPayloadV4",), ("net_listening",), ("net_peerCount",),
        ("web3_sha3", "0x68656c6c6f"), ("eth_syncing",), ("eth_accounts",), ("eth_chainId", "extra"),
        ("eth_getBalance",), ("eth_getBalance", NOBODY, "0x0"), ("eth_getBalance", NOBODY, "0x01"),
        ("eth_getBalance", NOBODY, {"blockNumber": newest}), ("eth_getBalance", NOBODY, "nonsense"),
        ("eth_getBalance", NOBODY, {"blockHash": newest_hash}), ("eth_getBalance", NOBODY, newest, "extra"),
        ("eth_getBalance", NOBODY, {"blockHash": newest_hash, "requireCanonical": True}),
        ("eth_getBalance", NOBODY, "0xffffff"), ("eth_getBalance", NOBODY, {"blockHash": ABSENT}),
        ("eth_getCode", NOBODY, newest), ("eth_getStorageAt", NOBODY, "0x0", newest),
        ("eth_getTransactionCount", NOBODY, newest), ("eth_getBlockByNumber", "0xffffff", False),
        ("eth_getBlockByHash", newest_hash, False), ("eth_getBlockByHash", ABSENT, False),
        ("eth_getTransactionByHash", ABSENT), ("eth_getTransactionReceipt", ABSENT),
        ("eth_getTransactionByBlockNumberAndIndex", newest, "0xff"),
        ("eth_getTransactionByBlockHashAndIndex", newest_hash, "0x0"),
        ("eth_getBlockTransactionCountByHash", newest_hash), ("eth_getUncleCountByBlockNumber", newest),
        ("eth_getBlockReceipts", "0xffffff"), ("eth_getBlockReceipts", newest_hash),
        ("eth_getLogs",), ("eth_getLogs", {"blockHash": newest_hash}), ("eth_getLogs", {"blockHash": ABSENT}),
        ("eth_getLogs", {"blockHash": newest_hash, "fromBlock": "0x1"}),
        ("eth_getLogs", {"fromBlock": "0x1", "toBlock": newest, "topics": [[ABSENT], None]}),
        ("eth_getLogs", {"fromBlock": "0x1", "toBlock": newest, "topics": [[], [], [], [], []]}),
        ("eth_feeHistory", "0x2", newest, [0, 100]), ("eth_feeHistory", "0x400", newest, None),
        ("eth_call",), ("eth_call", {}, newest), ("eth_call", {"to": NOBODY}, "0xffffff"),
        ("eth_call", {"to": NOBODY, "value": "0x1"}, newest), ("eth_call", {"to": NOBODY, "gas": "0x1"}, newest),
        ("eth_call", {"to": NOBODY, "from": NOBODY, "gasPrice": "0x3b9aca00", "gas": "0x5208"}, newest),
        ("eth_call", {"data": "0x60006000fd"}, newest), ("eth_call", {"data": "0x602a60005260206000f3"}, newest),
        ("eth_call", {"to": NOBODY, "nonce": "0x7"}, newest), ("eth_call", {"to": NOBODY, "unknown": 1}, newest),
        overridden("0x602a60005260206000f3"), overridden("0x4860005260206000f3"), overridden("0x3a60005260206000f3"),
        overridden("0x4560005260206000f3"), overridden("0x4460005260206000f3"), overridden("0x4a60005260206000f3"),
        ("eth_call", {"to": NOBODY}, newest, {NOBODY: {"code": "0x4360005260206000f3"}}, {"number": "0x1234"}),
        ("eth_estimateGas", {"to": NOBODY}, newest), ("eth_estimateGas", {"to": NOBODY, "gas": "0x1"}, newest),
        ("eth_estimateGas", {"data": "0xfe"}, newest), ("eth_estimateGas", {"data": "0x60006000fd"}, newest),
        ("eth_getProof", NOBODY, [], "0xffffff"), ("debug_getRawHeader", newest),
        ("debug_traceTransaction", ABSENT, {"tracer": "callTracer"}), ("eth_uninstallFilter", "0x1"),
        ("eth_getFilterChanges", "0x1"), ("eth_getFilterLogs", "0x1"), ("eth_sendRawTransaction",),
    ]  # fmt: skip


def _refusals_differ(rpc: Rpc, op_geth: OpGeth, newest: int) -> list[str]:
    """Differences of answers and of errors' codes and messages; `data` of ours may say more where op-geth has none."""
    found = []
    for question in _edge_questions(hex(newest), rpc("eth_getBlockByNumber", hex(newest), False)["hash"]):
        answer = rpc.answer(*question)
        ours = {name: answer[name] for name in ("result", "error") if name in answer}
        try:
            theirs: dict[str, Any] = {"result": op_geth.eth.call(*question)}
        except RpcError as error:
            theirs = {"error": error.error}
            if "error" in ours and "data" not in error.error:
                ours["error"].pop("data", None)
        found += differences(json.dumps(question)[:120], ours, theirs)
    return found[:DIFFERENCES_MAX]
