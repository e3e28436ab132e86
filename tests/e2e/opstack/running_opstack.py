"""`plait opstack up` as a user starts it, told on its control socket what to stop, kill and start.

What a test believes is an unmodified op-node: `require_derived` compares every block of Plait's with the verifier's,
up to what op-node calls safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plait.client import Client, NodeUnreachable, RpcError
from plait.errors import ConfigurationError
from plait.testnet.control import ask
from plait.testnet.opstack.programs import Programs, find_programs

ROOT = Path(__file__).resolve().parents[3]
FREE_PORTS = ("--port", "0")
_POLL_S = 0.2


def require_programs() -> Programs:
    """Skips with a sentence where the programs cannot be had; in CI that is an error."""
    try:
        return find_programs()
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(error.message)


def cast_path() -> Path:
    """The wallet that the guide names."""
    sys.path.insert(0, str(ROOT / "tools"))
    import build_tools

    return build_tools.foundry_path("cast")


class Running:
    """A running network."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process, description: dict[str, Any]) -> None:
        self.directory = directory
        self.process = process
        self.description = description
        self.l1_url: str = description["l1"]["url"]
        self.beacon_url: str = description["l1"]["beaconUrl"]
        self.plait_url: str = description["plait"]
        self.rollups: list[dict[str, Any]] = description["rollups"]

    # ------------------------------------------------------------ commands
    async def tell(self, command: str, **arguments: Any) -> Any:
        """A command on the control socket, as `plait opstack` sends it."""
        return await ask(self.directory, command, arguments)

    async def status(self) -> dict[str, Any]:
        """Both sides' heads."""
        found: dict[str, Any] = await self.tell("status")
        return found

    async def l1(self, method: str, *arguments: Any) -> Any:
        """A call to the L1."""
        return await call(self.l1_url, method, *arguments)

    # ------------------------------------------------------------ heads
    async def head(self, at: int) -> int:
        """Plait's newest block of a rollup."""
        return int(await call(self.rollups[at]["plaitUrl"], "eth_blockNumber"), 16)

    async def safe(self, at: int) -> int:
        """What op-node calls safe of a rollup; -1 while it does not answer."""
        return await self._verified(at, "safe")

    async def finalized(self, at: int) -> int:
        """What op-node calls final of a rollup; -1 while it does not answer."""
        return await self._verified(at, "finalized")

    async def safe_reaches(self, wanted: list[int], seconds: float) -> None:
        """Returns when op-node calls these blocks safe, one number for each rollup."""

        async def reached() -> bool:
            found = [await self.safe(at) for at in range(len(self.rollups))]
            return all(one >= number for one, number in zip(found, wanted, strict=True))

        await until(reached, seconds=seconds, what=f"op-node calls {wanted} safe", state=self.status)

    async def heads_reach(self, number: int, seconds: float) -> None:
        """Returns when Plait has so many blocks of every rollup."""

        async def reached() -> bool:
            return min([await self.head(at) for at in range(len(self.rollups))]) >= number

        await until(reached, seconds=seconds, what=f"Plait has block {number}", state=self.status)

    async def require_derived(self, *, seconds: float = 30) -> list[int]:
        """Every block that Plait has now becomes safe with op-node, and has the same hash there: their numbers."""
        heads = [await self.head(at) for at in range(len(self.rollups))]
        await self.safe_reaches(heads, seconds)
        for at, rollup in enumerate(self.rollups):
            own = await blocks(rollup["plaitUrl"], 0, heads[at])
            derived = await blocks(rollup["verifierUrl"], 0, heads[at])
            for number, (left, right) in enumerate(zip(own, derived, strict=True)):
                assert left == right, f"rollup {rollup['chainId']}, block {number}: Plait {left}, derived {right}"
        return heads

    async def require_engines_follow(self, seconds: float = 20) -> None:
        """Every op-geth that Plait drives has Plait's newest block, or the one before while it is being handed over."""

        async def follow() -> bool:
            for rollup in self.rollups:
                with contextlib.suppress(NodeUnreachable, RpcError):
                    engine = await call(rollup["engineUrl"], "eth_getBlockByNumber", "latest", False)
                    own = await call(rollup["plaitUrl"], "eth_getBlockByNumber", engine["number"], False)
                    head = int(await call(rollup["plaitUrl"], "eth_blockNumber"), 16)
                    if own is not None and own["hash"] == engine["hash"] and int(engine["number"], 16) >= head - 1:
                        continue
                return False
            return True

        await until(follow, seconds=seconds, what="the engines have Plait's newest blocks", state=self.status)

    async def _verified(self, at: int, level: str) -> int:
        try:
            status = await call(self.rollups[at]["op_nodeUrl"], "optimism_syncStatus")
        except (NodeUnreachable, RpcError):
            return -1
        return int(status[f"{level}_l2"]["number"])

    async def stop(self) -> int:
        """Ctrl-C; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), 60)


@contextlib.asynccontextmanager
async def running_opstack(directory: Path, *arguments: str) -> AsyncIterator[Running]:
    """Starts `plait opstack up`, hands it out when everything answers, and stops it."""
    require_programs()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "opstack", "up", "--json", "--data-dir", str(directory)),
        *(*FREE_PORTS, *arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    network: Running | None = None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 90)
        if not line:
            raise AssertionError(f"it did not start: {(await said).decode()[-2_000:]}")
        description = json.loads(line)
        assert description.get("event") == "ready", description
        network = Running(directory, process, description)
        yield network
    except BaseException:
        _print_logs(directory)
        raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(process.wait(), 60)
        await said
    assert code == 0, f"it ended with exit code {code}: {said.result().decode()[-2_000:]}"


async def call(url: str, method: str, *arguments: Any) -> Any:
    """One JSON-RPC call."""
    async with Client(url, timeout_s=10) as client:
        return await client.call(method, *arguments)


async def blocks(url: str, first: int, last: int) -> list[str]:
    """Hashes of blocks `first` to `last`."""
    async with Client(url, timeout_s=60) as client:
        found: list[str] = []
        for start in range(first, last + 1, 100):
            numbers = range(start, min(start + 100, last + 1))
            answers = await client.batch([("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
            found += [one["hash"] if isinstance(one, dict) else str(one) for one in answers]
        return found


async def until(
    question: Callable[[], Awaitable[Any]],
    *,
    seconds: float,
    what: str,
    state: Callable[[], Awaitable[Any]] | None = None,
) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := await question():
            return found
        await asyncio.sleep(_POLL_S)
    shown = "" if state is None else f"; now {json.dumps(await state())}"
    raise AssertionError(f"not within {seconds:g} s: {what}{shown}")


def cast(*arguments: str) -> str:
    """What the wallet prints."""
    environment = {**os.environ, "NO_COLOR": "1"}
    answer = subprocess.run(
        [cast_path(), *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert answer.returncode == 0, f"cast {' '.join(arguments[:2])} failed: {answer.stderr}"
    return answer.stdout.strip()


def _print_logs(directory: Path) -> None:
    for log in (*sorted((directory / "logs").glob("*.log")), directory / "node" / "node.log"):
        if log.exists():
            print(f"--- {log.name}, end of it\n" + log.read_text(errors="replace")[-1_500:])
    kept = os.environ.get("PLAIT_KEEP_LOGS")
    if kept:
        shutil.copytree(directory, Path(kept) / directory.name, dirs_exist_ok=True)
