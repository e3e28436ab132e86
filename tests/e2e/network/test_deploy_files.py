"""The files under deploy/ fit the program: every metric that they name is served, every option of the units exists."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from running_network import ROOT, running_network, until

from plait.cli.main import plait
from plait.client import Client, NodeUnreachable
from plait.testnet.layout import free_ports

DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\b(?:plait|cometbft)_[a-z_]+")


def named_metrics() -> dict[str, set[str]]:
    """File -> metrics in its expressions."""
    board = json.loads((DEPLOY / "grafana" / "plait-node.json").read_text())
    shown = "\n".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    rules = "\n".join(re.findall(r"^ +expr: (.*)$", alerts, re.M))
    assert len(re.findall(r"- alert:", alerts)) == len(rules.splitlines())
    return {"plait-node.json": set(METRIC.findall(shown)), "alerts.yml": set(METRIC.findall(rules))}


@pytest.mark.slow
@pytest.mark.cometbft
@pytest.mark.timeout(420)
async def test_every_metric_of_dashboard_and_alerts_is_served(tmp_path: Path) -> None:
    async with running_network(tmp_path / "net", "--validators", "2") as network:
        (port,) = free_ports(1)
        settings = tmp_path / "net" / "node1" / "node.toml"
        text = await asyncio.to_thread(settings.read_text)
        await asyncio.to_thread(
            settings.write_text, re.sub(r"^comet_metrics_port = 0$", f"comet_metrics_port = {port}", text, flags=re.M)
        )
        await network.tell("restart", node="node1")
        await network.look_up()
        await network.decide(["node1", "node2"])

        async def served() -> set[str]:
            found = ""
            for url in (network.urls["node1"], f"http://127.0.0.1:{port}"):
                async with Client(url) as client:
                    status, body = await client.get("metrics")
                    assert status == 200
                    found += body.decode()
            return set(re.findall(r"^([a-z_]+)", found, re.M))

        async def complete() -> bool:
            try:
                found = await served()
            except NodeUnreachable:
                return False
            return all(names <= found for names in named_metrics().values())

        try:
            await until(complete, seconds=15, what="every metric is served")
        except AssertionError:
            found = await served()
            raise AssertionError({file: sorted(names - found) for file, names in named_metrics().items()}) from None


def test_the_units_run_what_there_is() -> None:
    text = (DEPLOY / "systemd" / "plait.service").read_text()
    (line,) = re.findall(r"^ExecStart=\S*/plait (.*)$", text, re.M)
    name, *arguments = line.split()
    command = plait.get_command(click.Context(plait), name)
    assert command is not None
    existing = {option for parameter in command.params for option in parameter.opts}
    assert {one for one in arguments if one.startswith("--")} <= existing


def test_systemd_understands_the_units() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed; it reads the units")
    units = sorted(str(path) for path in (DEPLOY / "systemd").iterdir())
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, timeout=60, check=False)
    problems = [line for line in done.stderr.splitlines() if "is not executable" not in line]  # not installed here
    assert problems == [], problems
