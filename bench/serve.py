"""A Plait node in a process of its own for the benchmarks: genesis files given, JSON-RPC on free ports, durable log
on disk.

    python -m bench.serve DATA_DIR GENESIS_TIME_S SUB_BLOCKS GENESIS.json...

Prints one JSON line `{"url": ..., "pid": ...}` when it serves, and stops on SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import uvloop

from bench.solo import network
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.rpc import RpcConfig, serve
from plait.types import RollupId


async def main(folder: str, genesis_time_s: str, sub_blocks: str, *genesis_files: str) -> None:
    """Serves until SIGTERM."""
    genesis = {}
    for name in genesis_files:
        data = Path(name).read_bytes()
        genesis[RollupId(int(Path(name).stem))] = data
    description = network(int(genesis_time_s), rollups=len(genesis), sub_blocks=int(sub_blocks))
    config = NodeConfig(data_dir=Path(folder), port=0, rollup_port_base=None, log_level="warning")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        Node.start(description, config, genesis=genesis) as node,
        serve(node, RpcConfig(host="127.0.0.1", port=0, rollup_port_base=None)) as server,
    ):
        print(json.dumps({"url": server.url, "pid": os.getpid()}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
