"""`plait testnet`: a local network of validators, each a real node with its CometBFT, and commands to change and break
it from another terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from plait.cli.local_network import Remote, data_dir_option, stopping
from plait.cli.output import EXIT_INTERRUPTED, json_option, out, print_json, short
from plait.limits import ROLLUPS_MAX

DEFAULT_DATA_DIR = Path(".plait") / "testnet"
ROLLUPS_SHOWN_MAX = 4
_STATUS_EVERY_S = 1.0


@click.group(invoke_without_command=True)
@click.option(
    "--validators", type=click.IntRange(1, 10), default=4, show_default=True, help="Validators of a new network."
)
@click.option(
    "--rollups", type=click.IntRange(1, ROLLUPS_MAX), default=2, show_default=True, help="Rollups of a new network."
)
@click.option("--slot-ms", type=int, default=1_000, show_default=True, help="Length of a slot of a new network.")
@click.option("--sub-blocks", type=int, default=4, show_default=True, help="Sub-blocks per slot of a new network.")
@data_dir_option(DEFAULT_DATA_DIR)
@click.option("--reset", "do_reset", is_flag=True, help="Forget the network in the directory and start a new one.")
@click.option(
    "--port", type=click.IntRange(0, 65_000), default=8_545, show_default=True,
    help="RPC of the first node, the next node's follows; 0 for free ones.",
)  # fmt: skip
@click.option(
    "--rollup-port-base", type=click.IntRange(0, 60_000), default=9_545, show_default=True,
    help="First rollup's own port on the first node; 100 further on the next node; 0 for none.",
)  # fmt: skip
@click.option(
    "--comet-port-base", type=click.IntRange(1, 65_000), default=26_656, show_default=True,
    help="Where the first node's CometBFT listens; its RPC one further, the next node's 10 further.",
)  # fmt: skip
@click.option("--trace", is_flag=True, help="Nodes note every request of CometBFT (NODE/traces).")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="Of the nodes; their logs are in NODE/node.log.",
)  # fmt: skip
@json_option
@click.pass_context
def testnet(context: click.Context, /, data_dir: Path, as_json: bool, **options: Any) -> None:
    """Run a local network of validators until Ctrl-C; started again, it continues where it was.

    Without a subcommand this starts the network. The subcommands speak to the network that runs in --data-dir.

    \b
    Examples:
      plait testnet                                 four validators, two rollups
      plait testnet --validators 7 --rollups 3 --reset
      plait testnet status                          from another terminal
      plait testnet chaos kill node2 --for 5        kill -9, started again after five seconds
      plait testnet chaos partition node1,node2     two against the others
      plait testnet chaos heal
    """
    if context.invoked_subcommand is not None:
        return
    try:
        uvloop.run(run(data_dir, as_json=as_json, **options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(EXIT_INTERRUPTED) from None


async def run(data_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Founds the network when there is none, runs it and answers commands until a signal."""
    from plait.storage import DataDirectory
    from plait.testnet.founding import Founding, found, reset
    from plait.testnet.layout import PortPlan, read_layout
    from plait.testnet.network import commands_of, describe
    from plait.testnet.supervisor import Supervisor

    ports = PortPlan(rpc=options["port"], rollups=options["rollup_port_base"], comet=options["comet_port_base"])
    with DataDirectory(data_dir), stopping() as stop:
        if options["do_reset"]:
            reset(data_dir)
        layout = read_layout(data_dir)
        is_new = layout is None
        if layout is None:
            layout = await asyncio.to_thread(
                found,
                data_dir,
                Founding(
                    validators=options["validators"],
                    rollups=options["rollups"],
                    slot_ms=options["slot_ms"],
                    sub_blocks_per_slot=options["sub_blocks"],
                    ports=ports,
                ),
            )
        layout = msgspec.structs.replace(layout, ports=ports)
        running = Supervisor.running(data_dir, layout, log_level=options["log_level"], trace=options["trace"])
        async with running as network, commands_of(network, stop):
            description = describe(network)
            if as_json:
                print_json(description)
            else:
                print_welcome(description, is_new=is_new)
            await _until(stop, network, as_json=as_json)
            if not as_json:
                out.print("\nStopping all nodes.")


async def _until(stop: asyncio.Event, network: Any, *, as_json: bool) -> None:
    """Returns when asked to stop; meanwhile a line that tells what goes on, where a person looks."""
    if as_json or not sys.stdout.isatty():
        await stop.wait()
        return
    from plait.testnet.network import status

    while not stop.is_set():
        found = await status(network)
        sys.stdout.write("\r\x1b[2K" + status_line(found)[: max(out.width - 1, 20)])
        sys.stdout.flush()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _STATUS_EVERY_S)


# ---------------------------------------------------------------- for people
def print_welcome(description: dict[str, Any], *, is_new: bool) -> None:
    """Endpoints, keys and what to try."""
    nodes = description["nodes"]
    out.print(
        f"[bold]Plait[/]: network {description['networkId']} of {len(nodes)} nodes, "
        f"{'new' if is_new else 'continued'}, in {description['dataDir']}.\n"
    )
    shown = [str(one) for one in description["rollups"][:ROLLUPS_SHOWN_MAX]]
    for node in nodes:
        rows = [("network", node["url"])]
        for rollup in shown:
            own = node["ownPorts"][rollup]
            rows.append((f"rollup {rollup}", node["rollups"][rollup] + ("" if own is None else f"  or  {own}")))
        rows.append(("CometBFT", node["cometUrl"]))
        for at, (what, url) in enumerate(rows):
            out.print(f"{node['name'] if at == 0 else '':<7} {what:<12} {url}", markup=False)
    if len(description["rollups"]) > len(shown):
        out.print("Every node serves all rollups: append the chain id to its network address.")
    out.print("\nAccounts: the ten public development accounts, funded on every rollup and in the ledger.")
    out.print("[bold yellow]Their keys are public. Never send anything of value to these addresses.[/]\n")
    out.print("[bold]Try[/] in another terminal:")
    out.print("  plait testnet status")
    out.print("  plait testnet chaos kill node2 --for 5")
    out.print("  plait testnet chaos partition node1,node2   and   plait testnet chaos heal")
    out.print("Ctrl-C stops all nodes.\n")


def status_line(found: dict[str, Any]) -> str:
    """One line: heights of the nodes, and who is not well."""
    parts = []
    for node in found["nodes"]:
        height = "-" if node["height"] is None else str(node["height"])
        parts.append(f"{node['name']} {height}{'' if node['state'] == 'running' else ' ' + node['state']}")
    broken = found["brokenLinks"]
    agree = {True: "agree", False: "DISAGREE", None: ""}[found["agree"]]
    return " · ".join(parts) + (f" · {len(broken)} links broken" if broken else "") + f" · {agree}"


def print_status(found: dict[str, Any]) -> None:
    """A table whose columns are as wide as what is in them: an address that is cut cannot be copied."""
    rows = [("node", "state", "height", "app hash", "peers", "power", "pid", "RPC")]
    for node in found["nodes"]:
        given = ("height", "appHash", "peers", "power", "pid", "url")
        cells = ["-" if node[key] is None else str(node[key]) for key in given]
        cells[1] = short(node["appHash"])
        rows.append((node["name"], node["state"], *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print(line.rstrip(), markup=False)
    for node in found["nodes"]:
        if "reason" in node:
            out.print(f"[red]{node['name']} died:[/] ", end="")
            out.print(node["reason"], markup=False)
    for source, target, state in found["brokenLinks"]:
        out.print(f"[yellow]{source} and {target} do not reach each other ({state}).[/]")
    if found["agree"] is False:
        out.print("[bold red]Two nodes report different app hashes for one height.[/]")


# ---------------------------------------------------------------- subcommands
_remote = Remote(testnet, started_by="plait testnet", member="node", member_key="node", data_dir=DEFAULT_DATA_DIR)


@testnet.command()
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Show every node: its state, height, app hash, peers and voting power."""
    found = _remote.ask(data_dir, "status", {}, as_json=as_json)
    if as_json:
        print_json(found)
    else:
        print_status(found)
    if found["agree"] is False:
        raise SystemExit(1)


_remote.command("start", "Start a node that was stopped, killed or died.", "{} runs.")
_remote.command(
    "stop",
    "Stop one node, or the whole network when none is named.",
    "{} is stopped.",
    of_all="The network stops.",
)
_remote.command("restart", "Stop a node cleanly and start it again.", "{} runs again.")


@testnet.command()
@click.option("--validator/--follower", default=True, show_default=True, help="Whether the new node is to validate.")
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def add(validator: bool, data_dir: Path, as_json: bool) -> None:
    """Add a node: made, started, and made a validator with stake of a development account."""
    answer = _remote.ask(data_dir, "add", {"validator": validator}, as_json=as_json)
    if as_json:
        print_json(answer)
        return
    out.print(f"{answer['name']} runs at {answer['url']}.")
    if validator:
        out.print("It is in the set and votes.")


_remote.command(
    "remove",
    "Remove a node for good: its validator leaves, then it is stopped and its home deleted.",
    "{} is removed.",
)


@testnet.group()
def chaos() -> None:
    """Break nodes and links of the running network, and mend them."""


seconds_option = click.option("--for", "seconds", type=float, help="Take it back after so many seconds.")
silent_option = click.option(
    "--silent", is_flag=True, help="Connections stay and nothing passes, instead of being cut."
)

_remote.command(
    "kill",
    "kill -9 a node and its CometBFT; --for starts it again.",
    "{} is killed.",
    group=chaos,
    options=(seconds_option,),
)
_remote.command(
    "pause",
    "Stop the clock of a node and its CometBFT (SIGSTOP).",
    "{} is paused.",
    group=chaos,
    options=(seconds_option,),
)
_remote.command("resume", "Let a paused node go on.", "{} goes on.", group=chaos)
_remote.command(
    "disconnect",
    "Separate a node from all others; clients still reach it.",
    "{} reaches nobody.",
    group=chaos,
    options=(seconds_option, silent_option),
)
_remote.command("connect", "Take a disconnection back.", "{} is connected.", group=chaos)


@chaos.command()
@click.argument("groups", nargs=-1, required=True, metavar="NODE[,NODE]...")
@seconds_option
@silent_option
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def partition(groups: tuple[str, ...], seconds: float | None, silent: bool, data_dir: Path, as_json: bool) -> None:
    """Part the network into groups of nodes; those not named are one more group."""
    parts = [[name for name in group.split(",") if name] for group in groups]
    _remote.tell(
        data_dir, "partition", "The network is parted.", as_json=as_json, groups=parts, seconds=seconds, silent=silent
    )


@chaos.command()
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def heal(data_dir: Path, as_json: bool) -> None:
    """Mend all links and let paused nodes go on."""
    _remote.tell(data_dir, "heal", "Everybody reaches everybody.", as_json=as_json)


commands = {"testnet": testnet}
