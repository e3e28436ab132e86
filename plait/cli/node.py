"""`plait node`: one node of a network, its CometBFT included."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from plait.cli.output import json_option, out, print_json
from plait.node.logging import LogFormat, LogLevel, configure_logging

if TYPE_CHECKING:
    from plait.node.config import NodeConfig
    from plait.node.node import Node


@click.command()
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory that `plait init` made."
)
@click.option("--log-format", type=click.Choice(["console", "json"]), help="Logs, on standard error.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True, help="Stop when standard input ends.")
@json_option
def node(
    home: Path, log_format: LogFormat | None, log_level: LogLevel, until_stdin_closes: bool, as_json: bool
) -> None:
    """Run a node of a network until Ctrl-C or SIGTERM: this process, and CometBFT as its child.

    Both end together: when one fails, the other is stopped and the reason is the last line. Settings are read from
    node.toml in the home. Started again, it continues where it was.
    """
    from plait.engines.cometbft.home import require_home
    from plait.node.node_file import read_settings

    configure_logging(log_format or ("json" if as_json else "console"), log_level)
    config = read_settings(home).config(home)
    require_home(home)
    uvloop.run(run(config, as_json=as_json, until_stdin_closes=until_stdin_closes))


async def run(config: NodeConfig, *, as_json: bool, until_stdin_closes: bool) -> None:
    """Runs the node and its server until a signal, the end of standard input, or a failure."""
    from plait.cli.devnet import describe, stopping_on_signals
    from plait.node.node import Node
    from plait.rpc import RpcConfig, serve

    rpc = RpcConfig(
        host=config.host,
        port=config.port,
        rollup_port_base=config.rollup_port_base if config.port else None,
        hosts=config.allowed_hosts,
        origins=config.allowed_origins,
    )
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(Node.start(None, config))
        stack.enter_context(stopping_on_signals(node))
        if until_stdin_closes:
            await stack.enter_async_context(stopping_with_stdin(node))
        server = await stack.enter_async_context(serve(node, rpc))
        description = describe(node, server) | {"name": config.name}
        if as_json:
            print_json(description)
        else:
            _print(description)
        gc.collect()
        gc.freeze()
        await node.stopped()
    if not as_json:
        out.print(f"Stopped cleanly at height {node.info().height}.")


class _Stdin(asyncio.Protocol):
    """Stops the node when the pipe ends."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._node.stop()


@contextlib.asynccontextmanager
async def stopping_with_stdin(node: Node) -> AsyncIterator[None]:
    """Whoever started the node holds the other end: when that one dies, the node must not go on unseen."""
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Stdin(node), sys.stdin)
    try:
        yield
    finally:
        transport.close()


def _print(description: dict[str, Any]) -> None:
    out.print(
        f"[bold]Plait {description['version']}[/]: node {description['name']!r} of network {description['networkId']} "
        f"at height {description['height']}."
    )
    for rollup in description["rollups"]:
        own = "" if rollup["ownPortUrl"] is None else f"  or  {rollup['ownPortUrl']}"
        out.print(f"  rollup {rollup['chainId']}  {rollup['url']}{own}")
    out.print(f"  network, /health, /ready, /metrics  {description['url']}")
    out.print("Ctrl-C stops.\n")


commands = {"node": node}
