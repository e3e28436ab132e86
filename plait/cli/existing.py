"""The process of `plait rollup run`: one node that goes on with the chains that `plait rollup add` gathered."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from plait.cli.devnet import describe, stopping_on_signals
from plait.cli.output import out, print_json
from plait.errors import ConfigurationError
from plait.node.existing import FOUNDING_FILE, NODE_DIRECTORY, ChainEngine, genesis_files, node_config, read_founding
from plait.node.node import Node
from plait.rpc import RpcConfig, serve
from plait.storage import NETWORK_FILE


async def run_network(
    directory: Path, *, port: int, batcher_key: Path | None, engines: tuple[ChainEngine, ...], as_json: bool
) -> None:
    """Runs the node and its server until a signal or a failure.

    Raises:
        ConfigurationError: `network_missing`, nothing was added; what `Node.start` refuses.
    """
    founding = read_founding(directory)
    if founding is None:
        raise ConfigurationError(
            f"{directory} has no {FOUNDING_FILE}; add a chain first (`plait rollup add`).", code="network_missing"
        )
    config = node_config(
        directory, founding, port=port, rollup_port_base=None, batcher_key=batcher_key, engines=engines
    )
    started = (directory / NODE_DIRECTORY / NETWORK_FILE).exists()
    network, genesis = (None, None) if started else (founding.network, genesis_files(directory, founding))
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(Node.start(network, config, genesis=genesis))
        stack.enter_context(stopping_on_signals(node))
        rpc = RpcConfig(host=config.host, port=port, rollup_port_base=config.rollup_port_base)
        server = await stack.enter_async_context(serve(node, rpc))
        description = describe(node, server)
        if as_json:
            print_json(description)
        else:
            for rollup in description["rollups"]:
                out.print(f"chain {rollup['chainId']}  {rollup['url']}", markup=False)
            out.print("Ctrl-C stops.\n")
        gc.collect()
        gc.freeze()
        await node.stopped()
