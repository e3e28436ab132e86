"""A single validator with a real CometBFT, killed with SIGKILL on either side at every point of a height.

Whatever dies, and when: both sides start again by themselves, agree on where they stand, decide further heights; every
height that was ever published keeps its app hash; the log has no gap and replays; CometBFT's headers carry the hashes
of our log; no process is left behind; and the recorded calls obey the published grammar.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from child_comet_node import POINTS
from comet_network import make_network, require_cometbft, running_of_home

from plait.engines.cometbft.rpc_client import CometRpc
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.types import Height

sys.path.append(str(Path(__file__).resolve().parents[2] / "conformance" / "abci"))
from grammar import check_directory

pytestmark = [pytest.mark.cometbft, pytest.mark.timeout(420)]
CHILD = Path(__file__).with_name("child_comet_node.py")
ROOT = Path(__file__).resolve().parents[3]


class Run:
    """One life of the validator."""

    def __init__(self, config: NodeConfig, published: dict[int, str]) -> None:
        assert config.data_dir is not None
        self.config, self.published = config, published
        self.home = config.data_dir
        self.comet_pid = 0
        self.started_at = -1
        self.height = 0
        self.said: list[str] = []
        self.news = asyncio.Event()

    async def start(self, point: str = "never", height: int = 0, seed: int = 1) -> None:
        path = self.home / "test_config.json"
        path.write_bytes(msgspec.json.encode(self.config, enc_hook=str))
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CHILD), str(path), point, str(height), str(seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.reading = asyncio.create_task(self._read())
        self.errors = asyncio.create_task(self._read_errors())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            words = line.decode().split()
            self.said.append(words[0])
            if words[0] == "started":
                self.started_at, self.comet_pid = int(words[1]), int(words[2])
                self.height = self.started_at
            elif words[0] == "decided":
                height, app_hash = int(words[1]), words[2]
                assert self.published.setdefault(height, app_hash) == app_hash, f"height {height} has changed"
                assert height == self.height + 1, "published heights follow each other"
                self.height = height
            self.news.set()
        self.news.set()

    async def _read_errors(self) -> bytes:
        assert self.process.stderr is not None
        return await self.process.stderr.read()

    async def until(self, height: int, seconds: float = 40) -> None:
        async with asyncio.timeout(seconds):
            while self.height < height:
                assert not self.reading.done(), f"the node ended: {(await self.errors).decode()[-2000:]}"
                self.news.clear()
                await self.news.wait()

    async def end(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 40)
        await self.reading
        await self.errors
        return code

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await self.end() == 0, (await self.errors).decode()[-2000:]
        assert self.said[-1] == "stopped"


async def check(config: NodeConfig, published: dict[int, str]) -> None:
    """Everything that must hold of a home after its runs; starts the node once more, replaying all of the log."""
    assert config.data_dir is not None
    assert running_of_home(config.data_dir) == [], "no CometBFT is left behind"
    config = msgspec.structs.replace(config, snapshots=False)
    async with Node.start(None, config) as node:
        height = node.info().height
        assert height >= max(published), "what was published is there"
        records = {}
        for at in range(1, height + 1):
            record = node.log.read(Height(at))
            assert record is not None
            records[at] = record
            assert published.get(at, record.app_hash.hex()) == record.app_hash.hex()
        subscription = node.bus.subscribe()
        for _ in range(2):
            await anext(subscription)
        async with CometRpc(f"http://127.0.0.1:{config.comet_rpc_port}") as rpc:
            for at in range(1, height + 1):
                header = (await rpc.commit(at + 1))["signed_header"]["header"]
                assert header["app_hash"].lower() == records[at].app_hash.hex(), f"header {at + 1}"
    judged, violations = check_directory(config.data_dir / "traces")
    assert violations == []
    assert judged > 2 * height


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point_of_a_height(tmp_path: Path, point: str) -> None:
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    published: dict[int, str] = {}
    first = Run(config, published)
    await first.start(point, height=4)
    assert await first.end() == -signal.SIGKILL
    second = Run(config, published)
    await second.start()
    await second.until(max(published, default=0) + 3)
    assert second.started_at >= (3 if point != "before_init" else 0)
    await second.stop()
    await check(config, published)


async def test_cometbft_killed_at_random_moments_ends_the_node_with_a_reason(tmp_path: Path) -> None:
    require_cometbft()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    (config,) = make_network(tmp_path, 1)
    published: dict[int, str] = {}
    for turn in range(4):
        run = Run(config, published)
        await run.start(seed=turn)
        await run.until(max(published, default=0) + 2)
        await asyncio.sleep(source.random() * 0.3)
        os.kill(run.comet_pid, signal.SIGKILL)
        assert await run.end() == 1
        said = (await run.errors).decode()
        assert "CometBFT ended by itself (signal SIGKILL)" in said
        assert "cometbft_failed" in said or "Unavailable" in said
    last = Run(config, published)
    await last.start()
    await last.until(max(published) + 2)
    await last.stop()
    await check(config, published)


async def test_both_killed_together_at_random_moments(tmp_path: Path) -> None:
    require_cometbft()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    (config,) = make_network(tmp_path, 1)
    published: dict[int, str] = {}
    for turn in range(5):
        run = Run(config, published)
        await run.start(seed=turn)
        await run.until(max(published, default=0) + 1)
        await asyncio.sleep(source.random() * 0.5)
        for pid in source.sample([run.comet_pid, run.process.pid], 2):
            os.kill(pid, signal.SIGKILL)
        await run.end()
    last = Run(config, published)
    await last.start()
    await last.until(max(published) + 2)
    await last.stop()
    await check(config, published)


async def test_a_node_that_lost_its_log_gets_everything_back_from_cometbft(tmp_path: Path) -> None:
    """Info names height 0, so CometBFT sends InitChain once more and then every block again."""
    require_cometbft()
    (config,) = make_network(tmp_path, 1)
    assert config.data_dir is not None
    published: dict[int, str] = {}
    first = Run(config, published)
    await first.start()
    await first.until(6)
    await first.stop()
    before = dict(published)
    for path in sorted((config.data_dir / "log").iterdir()):
        path.unlink()
    for name in ("snapshots", "store"):
        shutil.rmtree(config.data_dir / name)
    second = Run(config, published)
    await second.start()
    await second.until(max(before) + 2)
    assert second.started_at == 0
    assert {height: published[height] for height in before} == before
    await second.stop()
    await check(config, published)
