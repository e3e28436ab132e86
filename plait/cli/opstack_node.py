"""Plait's node of `plait opstack up`, as a process of its own.

It says where it listens in one line of JSON when it serves, and stops with SIGTERM or when its standard input ends, so
that it does not outlive its supervisor.
"""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import msgspec

from plait.cli.devnet import describe, stopping_on_signals
from plait.cli.node import stopping_with_stdin
from plait.cli.output import print_json
from plait.node.node import Node
from plait.rpc import RpcConfig, serve
from plait.storage import NETWORK_FILE
from plait.testnet.founding import network_of
from plait.testnet.opstack.layout import Ports, read_layout
from plait.testnet.opstack.node import node_config
from plait.types import RollupId


async def run_node(directory: Path, ports_json: str) -> None:
    """Runs the node and its server until a signal or the end of standard input."""
    layout = read_layout(directory)
    assert layout is not None, f"the supervisor has written {NETWORK_FILE} before"
    network = network_of(directory)
    config = node_config(directory, layout, msgspec.json.decode(ports_json, type=Ports))
    genesis = {
        RollupId(entry.chain_id): (directory / str(entry.chain_id) / "genesis.json").read_bytes()
        for entry in layout.rollups
    }
    rpc = RpcConfig(host=config.host, port=config.port, rollup_port_base=config.rollup_port_base)
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(Node.start(network, config, genesis=genesis))
        stack.enter_context(stopping_on_signals(node))
        await stack.enter_async_context(stopping_with_stdin(node))
        server = await stack.enter_async_context(serve(node, rpc))
        print_json(describe(node, server))
        gc.collect()
        gc.freeze()
        await node.stopped()
