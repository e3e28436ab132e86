"""web3.py, ethers, viem and cast, unmodified, agree with each other and with the expected values on a running devnet.

Each client is a script in tests/e2e/clients that prints one JSON line per step; the steps are the keys of `EXPECTED`.
All four run at once against `plait devnet`, two on each of its rollups, with an account of their own. A step that a
client has no command for prints null; only those listed in `UNSUPPORTED` may.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS

pytestmark = [pytest.mark.node_js, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / "tests" / "e2e" / "clients"
CLIENT_SECONDS_MAX = 150
TRANSFER_TOPIC = Web3.keccak(text="Transfer(address,address,uint256)").to_0x_hex()

EXPECTED: dict[str, Any] = {
    "syncing": False,
    "client_version": True,
    "genesis_block": [0, 0, 1_000_000_000],
    "empty_balance": "0",
    "funded_balance": True,
    "gas_price": True,
    "fee_history": [5, 4, 4, 2],
    "block_lookup": True,
    "pending_block": True,
    "deploy_token": [1, Web3.keccak(artifact("DemoToken").runtime_code).to_0x_hex()],
    "token_metadata": ["Plait Test", "PTT", 18],
    "mint": [1, 1, TRANSFER_TOPIC],
    "transfer": [1, "250"],
    "token_balances": ["750", "250"],
    "logs_query": 2,
    "estimate_transfer": 21_000,
    "estimate_contract": True,
    "block_receipts": True,
    "deploy_workbench": 1,
    "revert_reason": "not today",
    "revert_custom": "0xa85e02ba" + "7".rjust(64, "0"),  # Refused(uint256,string), first argument
    "revert_panic": "0x4e487b71" + "12".rjust(64, "0"),  # Panic(uint256): division by zero
    "estimate_revert": "not today",
    "storage": 1,
    "proof": [True, 1],
    "create_access_list": 1,
    "reverted_transaction": 0,
    "state_override": 42,
    "value_transfer": [1, "12345"],
    "transaction_fields": [2, True, "12345", True],
    "legacy": [0, 1],
    "access_list": [1, 1],
    "set_code": [1, "0xef0100"],
    "nonce_too_low": "nonce too low",
    "insufficient_funds": "insufficient funds",
    "intrinsic_gas": "intrinsic gas too low",
    "wrong_chain_id": "invalid chain id",
    "unknown_method": "method not found",
    "replacement_underpriced": "replacement transaction underpriced",
    "gap_filled": 1,
    "pending_nonce": 2,
    "new_heads": [2, True, 1],
    "logs_subscription": [TRANSFER_TOPIC, 5, False],
}
UNSUPPORTED = {("cast", "batch"), ("cast", "new_heads")}

# name: (command, index of its development account, index of its rollup)
SCRIPTS = {
    "web3.py": ([sys.executable, "web3py_client.py"], 1, 0),
    "ethers": (["node", "ethers_client.mjs"], 2, 1),
    "viem": (["node", "viem_client.mjs"], 3, 0),
    "cast": ([sys.executable, "cast_client.py"], 4, 1),
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """A devnet of two rollups in a process of its own; gives what it says about its rollups."""
    command = [sys.executable, "-m", "plait.cli.main", "devnet", "--json", "--rollup-port-base", "0"]
    command += ["--port", str(_free_port()), "--data-dir", str(tmp_path / "devnet")]
    with open(tmp_path / "devnet.log", "wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (tmp_path / "devnet.log").read_text()
        yield json.loads(line)["rollups"]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tools() -> Path:
    """Installs the client packages; gives cast's path."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Node.js and npm, and has not")
        pytest.skip("Node.js or npm is not installed; ethers, viem and cast come from npm")
    sys.path.insert(0, str(REPOSITORY / "tools"))
    import build_tools

    return build_tools.foundry_path("cast")


def test_four_clients_agree(devnet: list[dict[str, Any]]) -> None:
    """Every step of every client has the expected value: 46 steps, four clients."""
    cast = _tools()
    running = {}
    for name, (command, account, rollup) in SCRIPTS.items():
        url = devnet[rollup]["url"]
        environment = {
            **os.environ,
            "PLAIT_CLIENT_KEY": "0x" + DEVELOPMENT_ACCOUNTS[account].private_key.hex(),
            "PLAIT_CAST": str(cast),
        }
        arguments = [*command, url, url.replace("http://", "ws://")]
        running[name] = subprocess.Popen(
            arguments, cwd=CLIENTS, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    problems = []
    for name, process in running.items():
        try:
            output, errors = process.communicate(timeout=CLIENT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors += f"\nnot done after {CLIENT_SECONDS_MAX} s"
        if process.returncode != 0:
            problems.append(f"{name} ended with {process.returncode}: {errors[-1500:]}")
        problems += _check(name, output, devnet[SCRIPTS[name][2]]["chainId"])
    assert not problems, "\n".join(problems)


def _check(name: str, output: str, chain_id: int) -> list[str]:
    """Differences between a client's lines and the expected values of its rollup."""
    expected = {**EXPECTED, "chain_id": chain_id, "network_version": str(chain_id), "batch": [chain_id, "0", 0]}
    seen = {item["step"]: item["value"] for item in map(json.loads, output.splitlines())}
    problems = [f"{name}: unknown step {step}" for step in seen.keys() - expected.keys()]
    for step, value in expected.items():
        if step not in seen:
            problems.append(f"{name}: step {step} is missing")
        elif (name, step) in UNSUPPORTED:
            if seen[step] is not None:
                problems.append(f"{name}: {step} works now; take it out of UNSUPPORTED")
        elif seen[step] != value:
            problems.append(f"{name}: {step} gave {seen[step]!r}, expected {value!r}")
    return problems
