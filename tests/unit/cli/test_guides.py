"""The guides say what the program does: options, commands and metrics are compared in both directions."""

import asyncio
import re
import time
from pathlib import Path

import click
import pytest

from plait.cli.devnet import devnet
from plait.cli.main import plait
from plait.client import Client
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node
from plait.rpc import RpcConfig, serve

GUIDES = Path(__file__).resolve().parents[3] / "docs" / "guides"


def test_the_devnet_guide_lists_every_option_and_no_other() -> None:
    described = set(re.findall(r"^\| `[^|]*", (GUIDES / "devnet.md").read_text(), re.M))
    named = {option for row in described for option in re.findall(r"--[a-z-]+", row)}
    existing = {option for parameter in devnet.params for option in parameter.opts}
    assert named | {"--allow-host", "--allow-origin"} == existing


def test_the_command_guide_lists_every_command_and_no_other() -> None:
    context = click.Context(plait)
    described = set(re.findall(r"^\| `plait ([a-z0-9-]+)", (GUIDES / "cli.md").read_text(), re.M))
    assert described == set(plait.list_commands(context))


@pytest.mark.parametrize("guide", ["devnet.md", "cli.md", "operations.md"])
def test_options_in_a_guide_exist(guide: str) -> None:
    context = click.Context(plait)
    commands = [plait.get_command(context, name) for name in plait.list_commands(context)]
    existing = {option for command in commands if command for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"--[a-z][a-z-]+", (GUIDES / guide).read_text())) - {"--help"}
    assert named <= existing


async def test_the_operations_guide_lists_every_metric_and_no_other() -> None:
    network = NetworkConfig(genesis_time_s=int(time.time()) - 1, rollups=(RollupConfig(chain_id=901),))
    quiet = RpcConfig(host="127.0.0.1", port=0, rollup_port_base=None)
    async with Node.start(network, NodeConfig()) as node, serve(node, quiet) as server:
        async with Client(server.url) as client:
            await client.call("plait_health")
        async with asyncio.timeout(10):
            async for _ in node.bus.subscribe():
                if node.info().height == 2:
                    break
        text = node.metrics.render().decode()
    existing = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    rows = re.findall(r"^\| (`plait_[^|]*)\|", (GUIDES / "operations.md").read_text(), re.M)
    named = {name for row in rows for name in re.findall(r"`(plait_[a-z_]+\*?)", row)}
    patterns = [re.compile(name.replace("*", ".*") + r"\Z") for name in named]
    assert {name for name in existing if not any(pattern.match(name) for pattern in patterns)} == set()
    assert {pattern.pattern for pattern in patterns if not any(map(pattern.match, existing))} == set()
