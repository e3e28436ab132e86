"""The node of the demonstration: `plait devnet` as a process of its own, and `plait verify-log` after it."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from examples.demo.show import require


async def start_node(data_dir: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """The node as a process of its own, and what it prints when it is ready."""
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "devnet", "--rollups", "2", "--port", "0", "--rollup-port-base", "0"),
        *("--data-dir", str(data_dir), "--log-level", "warning", "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert node.stdout is not None
    line = await asyncio.wait_for(node.stdout.readline(), 30)
    require(bool(line), f"The node did not start (exit code {await node.wait() if not line else 0}).")
    ready: dict[str, Any] = msgspec.json.decode(line)
    require(ready.get("event") == "ready", f"The node did not start: {ready.get('error', {}).get('message', ready)}")
    return node, ready


async def stop_node(node: asyncio.subprocess.Process) -> int:
    """Stops it as Ctrl-C does; its exit code."""
    if node.returncode is None:
        node.send_signal(signal.SIGINT)
    try:
        return await asyncio.wait_for(node.wait(), 15)
    except TimeoutError:
        node.kill()
        return await node.wait()


async def verify_log(data_dir: Path) -> None:
    """Replays the decided log in a process of its own."""
    check = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "verify-log", "--data-dir", str(data_dir), "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await check.communicate()
    found = msgspec.json.decode(output) if output else {}
    require(check.returncode == 0, f"Replaying the log found a difference: {found.get('difference', found)}")
    print(
        f"Log replayed from genesis: {found['heights']} sub-blocks, {found['transactions']} transactions, "
        "every root equal."
    )
