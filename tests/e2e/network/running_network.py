"""A `plait testnet` process, what it can be told, and what must hold for its nodes at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plait.client import Client, NodeUnreachable, RpcError
from plait.engines.cometbft.binary import find_cometbft
from plait.errors import ConfigurationError
from plait.testnet.control import ask

ROOT = Path(__file__).resolve().parents[3]
NODES = ("node1", "node2", "node3", "node4")
DOWN_S_MAX = 20.0
"""From the end of a fault until the node, or the network, decides again."""
MISSED_HEIGHTS_MAX = 1
"""Heights of one fault that a majority did not decide after one timeout at most (round 2 or later)."""
PATIENT_S = 60.0
"""For the questions at the end, which are many: what they are about does not depend on the time."""
_POLL_S = 0.1


def require_cometbft() -> None:
    """Skips with a sentence where CometBFT cannot be had; in CI it is an error."""
    try:
        find_cometbft()
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error.message} (`make peers` builds it.)")


class Network:
    """A running network."""

    process: asyncio.subprocess.Process
    """Of `plait testnet`, when it is one of its own."""

    def __init__(self, data_dir: Path, description: dict[str, Any]) -> None:
        self.data_dir = data_dir
        self.description = description
        self.urls: dict[str, str] = {node["name"]: node["url"] for node in description["nodes"]}
        self.comet_urls: dict[str, str] = {node["name"]: node["cometUrl"] for node in description["nodes"]}
        self.rollups: list[int] = description["rollups"]

    async def tell(self, command: str, **arguments: Any) -> Any:
        """A command on the control socket, as `plait testnet` sends it."""
        return await ask(self.data_dir, command, arguments)

    async def start(self, node: str) -> None:
        """Starts a node; its address may be a new one."""
        await self.tell("start", node=node)
        await self.look_up()

    async def look_up(self) -> None:
        """Learns the nodes' addresses anew."""
        for entry in (await self.tell("describe"))["nodes"]:
            self.urls[entry["name"]] = entry["url"]
            self.comet_urls[entry["name"]] = entry["cometUrl"]

    # ------------------------------------------------------------ heights
    async def height(self, node: str) -> int | None:
        """Of a node; None when it does not answer."""
        try:
            async with Client(self.urls[node], timeout_s=1) as client:
                return int((await client.call("plait_slot"))["height"])
        except (NodeUnreachable, RpcError):
            return None

    async def heights(self, nodes: Iterable[str] = NODES) -> dict[str, int]:
        """Of those that answer."""
        names = list(nodes)
        found = await asyncio.gather(*(self.height(name) for name in names))
        return {name: height for name, height in zip(names, found, strict=True) if height is not None}

    async def decide(self, nodes: Iterable[str] = NODES, *, heights: int = 3, seconds: float = DOWN_S_MAX) -> float:
        """Returns when each node has decided so many more heights than the furthest of them has now: the seconds it
        took."""
        names = list(nodes)
        began = time.monotonic()
        wanted = max((await self.heights(names)).values(), default=0) + heights

        async def decided() -> bool:
            found = await self.heights(names)
            return len(found) == len(names) and min(found.values()) >= wanted

        await until(decided, seconds=seconds, what=f"{', '.join(names)} decide height {wanted}", state=self.heights)
        return time.monotonic() - began

    async def rounds(self, node: str, first: int, last: int) -> dict[int, int]:
        """In which round of agreement each height was decided, as a node's CometBFT knows it."""
        async with Client(self.comet_urls[node], timeout_s=5) as comet:
            found = {}
            for height in range(first, last + 1):
                _, data = await comet.get(f"commit?height={height}")
                header = msgspec.json.decode(data)["result"]["signed_header"]
                found[height] = int(header["commit"]["round"])
            return found

    # ------------------------------------------------------------ what must hold
    async def require_equal(self, nodes: Iterable[str] = NODES) -> int:
        """All nodes have the same app hash at every height and the same hash of every block: the number of heights."""
        names = list(nodes)
        await self.decide(names, heights=2)
        last = min((await self.heights(names)).values())
        app_hashes = [await self._app_hashes(name, last) for name in names]
        for name, found in zip(names, app_hashes, strict=True):
            assert found == app_hashes[0], f"{name} and {names[0]} differ: {_difference(found, app_hashes[0])}"
        for rollup in self.rollups:
            heads = [await self._head(name, rollup) for name in names]
            blocks = [await self._blocks(name, rollup, min(heads)) for name in names]
            for name, found in zip(names, blocks, strict=True):
                assert found == blocks[0], f"rollup {rollup}: {name} and {names[0]} differ in a block's hash"
        return last

    async def _app_hashes(self, node: str, last: int) -> list[str]:
        async with Client(self.urls[node], timeout_s=PATIENT_S) as client:
            found = await client.batch([("plait_getSubBlock", (height,)) for height in range(1, last + 1)])
        assert not any(isinstance(one, RpcError) or one is None for one in found), f"{node} misses a height"
        return [one["appHash"] for one in found]

    async def _head(self, node: str, rollup: int) -> int:
        async with Client(self.urls[node], timeout_s=PATIENT_S) as client:
            return int(await client.at(str(rollup)).call("eth_blockNumber"), 16)

    async def _blocks(self, node: str, rollup: int, last: int) -> list[str]:
        async with Client(self.urls[node], timeout_s=PATIENT_S) as client:
            calls = [("eth_getBlockByNumber", (hex(number), False)) for number in range(last + 1)]
            return [block["hash"] for block in await client.at(str(rollup)).batch(calls)]


def _difference(one: list[str], other: list[str]) -> str:
    for at, (left, right) in enumerate(zip(one, other, strict=False), 1):
        if left != right:
            return f"height {at}: {left} and {right}"
    return f"{len(one)} and {len(other)} heights"


@asynccontextmanager
async def running_network(data_dir: Path, *arguments: str) -> AsyncIterator[Network]:
    """Starts `plait testnet`, hands it out when all nodes serve, and stops it."""
    require_cometbft()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plait.cli.main", "testnet", "--json", "--port", "0", "--trace"),
        *("--data-dir", str(data_dir), *arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 90)
        if not line:
            raise AssertionError(f"the network did not start: {(await said).decode()[-2_000:]}")
        description = json.loads(line)
        assert description.get("event") == "ready", description
        network = Network(data_dir, description)
        network.process = process
        yield network
    except BaseException:
        _print_logs(data_dir)
        raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 60)
        await said
    assert code == 0, f"the network ended with exit code {code}: {said.result().decode()[-2_000:]}"


def _print_logs(data_dir: Path) -> None:
    for log in sorted(data_dir.glob("node*/node.log")):
        print(f"--- {log.parent.name}, end of its log\n" + log.read_text()[-1_500:])


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
    shown = "" if state is None else f"; now {await state()}"
    raise AssertionError(f"not within {seconds:g} s: {what}{shown}")
