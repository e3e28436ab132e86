"""`plait devnet` as a person uses it: a real process, real commands against it, stopped and started again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.client import Client
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet

ROOT = Path(__file__).resolve().parents[3]
PLAIT = (sys.executable, "-m", "plait.cli.main")


@asynccontextmanager
async def devnet(*arguments: str) -> AsyncIterator[tuple[dict[str, Any], asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *PLAIT, "devnet", "--json", "--port", "0", "--rollup-port-base", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    logs = asyncio.create_task(process.stderr.read())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, (await logs).decode()
        yield json.loads(line), process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 15)
        await logs


async def plait(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *PLAIT, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode is not None
    return process.returncode, output.decode()


def transfer(chain_id: int, nonce: int) -> str:
    wallet = Wallet(DEVELOPMENT_ACCOUNTS[0].private_key)
    return "0x" + wallet.sign_1559(chain_id, nonce, to=bytes([9]) * 20, value=5, max_fee_per_gas=10**10).hex()


@pytest.mark.timeout(420)
async def test_a_network_is_started_used_stopped_and_continued(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with devnet("--data-dir", str(data_dir)) as (ready, process):
        assert [rollup["chainId"] for rollup in ready["rollups"]] == [901, 902]
        assert len(ready["accounts"]) == 10
        async with Client(ready["url"]) as client:
            await client.wait_ready(10)
            hashes = [
                await client.at(str(chain_id)).call("eth_sendRawTransaction", transfer(chain_id, 0))
                for chain_id in (901, 902)
            ]
        for chain_id, hash_ in zip((901, 902), hashes, strict=True):
            code, text = await plait("tx", hash_, "--wait", "sealed", "--url", ready["url"], "--json")
            assert code == 0, text
            found = json.loads(text)
            assert (found["rollupId"], found["level"], found["succeeded"]) == (chain_id, "sealed", True)
            block = found["blockNumber"]
            code, text = await plait("block", str(block), "--rollup", str(chain_id), "--url", ready["url"], "--json")
            assert json.loads(text)["transactions"][-1]["hash"] == hash_
        code, text = await plait("status", "--url", ready["url"])
        assert code == 0, text
        assert "ready" in text
        code, text = await plait("watch", "--sub-blocks", "2", "--url", ready["url"])
        assert code == 0, text
        assert "decided sub-blocks" in text
        code, text = await plait("watch", "--sub-blocks", "2", "--json", "--url", ready["url"])
        heights = [json.loads(line)["height"] for line in text.splitlines()]
        assert heights == [heights[0], heights[0] + 1]
        code, text = await plait("tx", "0x" + "11" * 32, "--url", ready["url"])
        assert (code, "transaction_unknown" in text) == (1, True)
        code, text = await plait("verify-log", "--data-dir", str(data_dir))
        assert (code, "data_directory_in_use" in text) == (4, True)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 15) == 0

    code, text = await plait("verify-log", "--data-dir", str(data_dir), "--json")
    assert code == 0, text
    verified = json.loads(text)
    assert (verified["ok"], verified["transactions"]) == (True, 2)
    async with devnet("--data-dir", str(data_dir)) as (again, _):
        assert again["height"] >= verified["heights"]
        assert again["genesisTime"] == ready["genesisTime"]
        async with Client(again["url"]) as client:
            await client.wait_ready(10)
            for chain_id, hash_ in zip((901, 902), hashes, strict=True):
                receipt = await client.at(str(chain_id)).call("eth_getTransactionReceipt", hash_)
                assert receipt["status"] == "0x1"


@pytest.mark.timeout(420)
async def test_other_parameters_are_refused_and_reset_starts_anew(tmp_path: Path) -> None:
    data_dir = str(tmp_path / "data")
    async with devnet("--data-dir", data_dir, "--rollups", "1"):
        pass
    code, text = await plait("devnet", "--data-dir", data_dir, "--rollups", "3")
    assert (code, "network_mismatch" in text, "1 rollups, 3 were asked for" in text) == (4, True, True), text
    async with devnet("--data-dir", data_dir, "--rollups", "3", "--block-time", "1,2,1", "--reset") as (ready, _):
        assert [rollup["blockTimeSeconds"] for rollup in ready["rollups"]] == [1.0, 2.0, 1.0]
        assert ready["height"] == 0
    async with devnet("--data-dir", data_dir) as (ready, _):
        assert len(ready["rollups"]) == 3


@pytest.mark.timeout(420)
async def test_a_rollup_can_start_from_an_own_genesis(tmp_path: Path) -> None:
    genesis = tmp_path / "genesis.json"
    code, text = await plait("genesis", "--rollup", "12345", "-o", str(genesis))
    assert code == 0, text
    async with devnet("--in-memory", "--genesis", str(genesis), "--gas-limit", "30000000") as (ready, _):
        (rollup,) = ready["rollups"]
        assert (rollup["chainId"], rollup["gasLimit"]) == (12345, 30_000_000)
        async with Client(rollup["url"]) as client:
            assert await client.call("eth_chainId") == hex(12345)
            assert (
                int(await client.call("eth_getBalance", DEVELOPMENT_ACCOUNTS[0].address_text, "latest"), 16) == 10**22
            )


@pytest.mark.timeout(60)
async def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    async with devnet("--in-memory") as (ready, _):
        port = ready["url"].rsplit(":", 1)[1]
        code, text = await plait(
            "devnet", "--in-memory", "--port", port, "--rollup-port-base", "0", "--log-level", "error"
        )
    assert code == 4, text
    assert "port_in_use" in text
    assert "Traceback" not in text


def test_the_demonstration_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo.demo"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it holds." in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 100] == []
    for story in ("arbitrage", "risk reversal", "a token moved"):
        assert story in done.stdout
    assert done.stdout.count("no trace of it") == done.stdout.count("Its failing twin") == 3


def test_the_demonstration_ends_with_exit_code_1_when_a_twin_takes_place() -> None:
    """The price does not move, so the arbitrage that should fail succeeds."""
    program = """
import sys
from examples.demo import demo
from examples.demo.stories import arbitrage
arbitrage.PRICE_MOVER = 1000
sys.exit(demo.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("The demonstration failed: The twin should fail")
    assert "Traceback" not in done.stderr
