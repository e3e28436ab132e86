"""Question: how long does a new node need to join a chain of 10,000 heights?

A validator with a real CometBFT makes the heights as fast as it can (no rest after a commit), with a snapshot at every
thousandth, and then goes on at the pace of the grid. A second node with an empty home fetches the snapshot through
CometBFT's state sync and executes what came after it. Measured from its start to standing where the network stands;
the goal is a minute.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import msgspec

from bench import processes
from bench.report import Result
from plait.engines.cometbft.home import create_keys, node_id_of, write_genesis
from plait.engines.cometbft.rpc_client import CometRpc
from plait.ledger.parameters import TOKEN
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, ValidatorConfig
from plait.node.engine import comet_genesis
from plait.node.node import Node, open_storage

REST_MS = 220
"""After a commit once the chain is long enough; four heights per second."""
JOIN_S_MAX = 300


def make_home(home: Path, network: NetworkConfig) -> None:
    """Makes a directory with CometBFT's keys part of a network."""
    stored = open_storage(network, NodeConfig(data_dir=home))
    write_genesis(home, comet_genesis(stored.network, stored.genesis))
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()


def homes(folder: Path, every: int) -> tuple[NodeConfig, NodeConfig]:
    """Settings of the validator and of the node that joins."""
    validator, newcomer = folder / "validator", folder / "newcomer"
    public_key, _ = create_keys(validator)
    create_keys(newcomer)
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=50,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
        validators=(
            ValidatorConfig(operator=f"0x{1:040x}", public_key="0x" + public_key.hex(), stake=TOKEN, name="bench"),
        ),
    )
    make_home(validator, network)
    make_home(newcomer, network)
    first = NodeConfig(
        data_dir=validator,
        engine="cometbft",
        port=0,
        rollup_port_base=None,
        p2p_port=processes.free_port(),
        comet_rpc_port=processes.free_port(),
        pex=False,
        network_snapshot_every_heights=every,
        log_level="error",
    )
    second = msgspec.structs.replace(
        first,
        data_dir=newcomer,
        p2p_port=processes.free_port(),
        comet_rpc_port=processes.free_port(),
        peers=(f"{node_id_of(validator)}@127.0.0.1:{first.p2p_port}",),
    )
    return first, second


async def reach(node: Node, height: int, seconds: float) -> None:
    """Returns when a node has decided a height."""
    async with asyncio.timeout(seconds):
        while node.info().height < height:
            await asyncio.sleep(0.05)


async def measure(folder: Path, heights: int) -> Result:
    """Makes the chain, then joins it."""
    every = max(heights // 10, 1)
    validator, newcomer = homes(folder, every)
    result = Result("joining")
    started = time.perf_counter()
    with patch("plait.node.engine.commit_timeout_ms", lambda _: 0):
        async with Node.start(None, validator) as node:
            await reach(node, heights + 5, heights)
    result.figure("making the chain", (time.perf_counter() - started) / heights * 1_000, "ms per height")
    with patch("plait.node.engine.commit_timeout_ms", lambda _: REST_MS):
        async with Node.start(None, validator) as node:
            await reach(node, node.info().height + 2, 30)
            server = f"127.0.0.1:{validator.comet_rpc_port}"
            async with CometRpc(f"http://{server}") as rpc:
                trusted = (await rpc.commit(every))["signed_header"]["commit"]
            newcomer = msgspec.structs.replace(
                newcomer,
                sync_servers=(server, server),
                sync_trust_height=every,
                sync_trust_hash=trusted["block_id"]["hash"],
            )
            started = time.perf_counter()
            async with Node.start(None, newcomer) as joined:
                await reach(joined, 1, JOIN_S_MAX)
                restored = time.perf_counter() - started
                await reach(joined, node.info().height, JOIN_S_MAX)
                seconds = time.perf_counter() - started
                result.note(f"began at height {joined.log.first_height - 1}, joined at {joined.info().height}")
    result.figure(f"from start to the snapshot's state, {heights} heights", restored, "s")
    result.figure(f"from start to the network's height, {heights} heights", seconds, "s")
    result.ratio("joining / one minute", seconds / 60, at_most=1.0)
    return result


def run(quick: bool = False) -> Result:
    """The answer; a few minutes, nearly all of them for making the chain."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as folder:
        return asyncio.run(measure(Path(folder), 200 if quick else 10_000))
