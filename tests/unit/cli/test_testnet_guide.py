"""The guide of local networks lists every option and command, and no other."""

import re
from pathlib import Path

import click
from click.testing import CliRunner

from plait.cli.main import plait
from plait.cli.testnet import chaos, status_line, testnet

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "testnet.md").read_text()


def test_every_option_and_no_other() -> None:
    described = set(re.findall(r"^\| (`--[^|]*)\|", GUIDE, re.M))
    named = {option for row in described for option in re.findall(r"--[a-z-]+", row)}
    assert named == {option for parameter in testnet.params for option in parameter.opts}


def test_every_command_with_every_option_and_no_other() -> None:
    rows = re.findall(r"^\| (`plait testnet [^|]*)\|", GUIDE, re.M)
    words = {word for row in rows for word in re.findall(r"[a-z]+", re.sub(r"--[a-z]+|[A-Z]+", "", row))}
    words -= {"plait", "testnet", "chaos"}
    assert words == {*testnet.commands, *chaos.commands} - {"chaos"}
    named = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    existing = {
        option
        for command in (*testnet.commands.values(), *chaos.commands.values())
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts + parameter.secondary_opts
    }
    assert named | {"--data-dir", "--json", "--validator"} == existing


def test_a_command_without_a_network_says_how_to_start_one(tmp_path: Path) -> None:
    for arguments in (["status"], ["stop", "node1"], ["chaos", "heal"], ["add"]):
        result = CliRunner().invoke(plait, ["testnet", *arguments, "--data-dir", str(tmp_path), "--json"])
        assert result.exit_code == 4, result.output
        assert "testnet_not_running" in result.output
        assert "plait testnet --data-dir" in result.output


def test_the_live_line_says_who_is_not_well() -> None:
    nodes = [{"name": "node1", "height": 7, "state": "running"}, {"name": "node2", "height": None, "state": "paused"}]
    line = status_line({"nodes": nodes, "brokenLinks": [("node1", "node2", "cut")], "agree": None})
    assert line.startswith("node1 7 · node2 - paused · 1 links broken")
    assert "DISAGREE" in status_line({"nodes": nodes, "brokenLinks": [], "agree": False})
