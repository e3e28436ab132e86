"""`plait opstack`: an L1, real OP Stack rollups sequenced by Plait, and verifiers that derive them from L1 alone."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from plait.cli.local_network import Remote, data_dir_option, stopping
from plait.cli.output import EXIT_INTERRUPTED, err, fail, json_option, out, print_json
from plait.node.logging import LogLevel, configure_logging

if TYPE_CHECKING:
    from plait.testnet.opstack.supervisor import OpStack

DEFAULT_DATA_DIR = Path(".plait") / "opstack"
_REFRESH_S = 1.0
_ROLLUPS_MAX = 8
"""Each is three programs; a laptop holds fewer."""


@click.group()
def opstack() -> None:
    """Run real OP Stack rollups on this machine: L1, op-geth, op-node, and Plait as their sequencer.

    \b
    Examples:
      plait opstack up                      two rollups, until Ctrl-C; again: continues
      plait opstack status                  from another terminal: heads of both sides, and whether they agree
      plait opstack kill op-geth-901-engine
      plait opstack start op-geth-901-engine
      plait opstack stop                    stops everything and keeps it
      plait opstack down                    stops everything and forgets it
    """


@opstack.command()
@click.option(
    "--rollups", type=click.IntRange(1, _ROLLUPS_MAX), default=2, show_default=True, help="Rollups of a new network."
)
@click.option("--block-time", type=click.IntRange(1, 12), default=1, show_default=True,
              help="Seconds per block of a new network's rollups.")  # fmt: skip
@click.option("--l1-block-time", type=click.IntRange(1, 12), default=2, show_default=True,
              help="Seconds per block of a new L1.")  # fmt: skip
@click.option("--l1-epoch", type=click.IntRange(1, 32), default=4, show_default=True,
              help="The L1's safe block is so many behind its newest, the finalized one twice as many.")  # fmt: skip
@click.option("--window", type=click.IntRange(4, 3_600), default=3_600, show_default=True,
              help="Sequencing window of a new network, L1 blocks.")  # fmt: skip
@click.option("--posting", type=click.Choice(["calldata", "blob"]), default="calldata", show_default=True,
              help="How a new network's batches are posted.")  # fmt: skip
@click.option("--batch", type=click.Choice(["span", "singular"]), default="span", show_default=True,
              help="Kind of a new network's batches.")  # fmt: skip
@data_dir_option(DEFAULT_DATA_DIR)
@click.option("--reset", "do_reset", is_flag=True, help="Forget the network in the directory and make a new one.")
@click.option("--port", type=click.IntRange(0, 65_000), default=8_545, show_default=True,
              help="RPC of Plait's node; 0 for free ports everywhere.")  # fmt: skip
@click.option("--rollup-port-base", type=click.IntRange(0, 60_000), default=9_545, show_default=True,
              help="First rollup's own port of Plait's node; 0 for none.")  # fmt: skip
@click.option("--l1-port", type=click.IntRange(1, 65_000), default=18_545, show_default=True,
              help="Of anvil; its beacon API one further.")  # fmt: skip
@click.option("--program-port-base", type=click.IntRange(1, 60_000), default=19_545, show_default=True,
              help="First rollup's op-geths and op-node, the next one's 10 further.")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
              show_default=True, help="Of Plait's node; all logs are in DATA_DIR/logs and DATA_DIR/node.")  # fmt: skip
@json_option
def up(data_dir: Path, as_json: bool, **options: Any) -> None:
    """Start everything and show both sides' heads until Ctrl-C; started again, it continues where it was.

    op-geth and op-node are built once with Go, anvil comes from npm; where these are missing a sentence says so.
    """
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        try:
            uvloop.run(run(data_dir, as_json=as_json, **options))
        except Exception as error:
            from plait.cli.output import first_error

            fail(first_error(error), as_json=as_json)
        return
    raise SystemExit(EXIT_INTERRUPTED)


async def run(data_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Founds the network when there is none, runs it and answers commands until a signal."""
    from plait.storage import DataDirectory
    from plait.testnet.opstack.founding import Founding, reset
    from plait.testnet.opstack.layout import PortPlan
    from plait.testnet.opstack.programs import find_programs
    from plait.testnet.opstack.supervisor import OpStack

    def say(sentence: str) -> None:
        if not as_json:
            with contextlib.suppress(OSError):  # the terminal may be closed: everything is stopped all the same
                err.print(sentence, markup=False)

    founding = Founding(
        rollups=options["rollups"],
        block_time_s=options["block_time"],
        l1_block_time_s=options["l1_block_time"],
        l1_epoch_blocks=options["l1_epoch"],
        seq_window_blocks=options["window"],
        posting=options["posting"],
        batch=options["batch"],
        ports=PortPlan(
            rpc=options["port"],
            rollups=options["rollup_port_base"],
            l1=options["l1_port"],
            programs=options["program_port_base"],
        ),
    )
    programs = await asyncio.to_thread(find_programs, say)
    with DataDirectory(data_dir), stopping() as stop:
        if options["do_reset"]:
            reset(data_dir)
        running = OpStack.running(data_dir, programs, founding, log_level=options["log_level"], say=say)
        async with running as network, commands_of(network, stop):
            if as_json:
                print_json(network.describe())
            else:
                print_welcome(network.describe())
            await _until(stop, network, as_json=as_json)


async def _until(stop: asyncio.Event, network: OpStack, *, as_json: bool) -> None:
    """Returns when asked to stop; meanwhile a table where a person looks."""
    if as_json or not sys.stdout.isatty():
        await stop.wait()
        return
    from rich.live import Live

    from plait.cli.opstack_view import table_of

    with contextlib.suppress(OSError), Live(console=out, auto_refresh=False, transient=True) as live:
        while not stop.is_set():
            live.update(table_of(await network.status()), refresh=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _REFRESH_S)


@contextlib.asynccontextmanager
async def commands_of(network: OpStack, stop: asyncio.Event) -> Any:
    """Takes commands on the control socket within the block."""
    from plait.testnet.control import Command, serve_control

    async def stop_all() -> None:
        """Ends everything."""
        stop.set()

    async def describe() -> dict[str, Any]:
        """What was told at the start."""
        return network.describe()

    commands: dict[str, Command] = {
        "status": network.status,
        "describe": describe,
        "start": network.start,
        "stop": network.stop,
        "kill": network.kill,
        "stop_all": stop_all,
    }
    async with serve_control(network.directory, commands):
        yield


def print_welcome(description: dict[str, Any]) -> None:
    """Endpoints, each on a line of its own so that it can be copied, and what to try."""
    l1 = description["l1"]
    out.print(
        f"\n[bold]Plait[/] sequences {len(description['rollups'])} OP Stack rollups, "
        f"{'new' if description['isNew'] else 'continued'}, in {description['directory']}\n"
    )
    rows = [("L1 (anvil)", l1["url"]), ("L1 beacon API", l1["beaconUrl"]), ("Plait", description["plait"])]
    for rollup in description["rollups"]:
        name = f"rollup {rollup['chainId']}"
        rows += [
            (f"{name}: Plait", rollup["plaitUrl"]),
            (f"{name}: sequencer's op-geth", rollup["engineUrl"]),
            (f"{name}: verifier's op-geth", rollup["verifierUrl"]),
            (f"{name}: verifier's op-node", rollup["op_nodeUrl"]),
            (f"{name}: deposit portal on L1", rollup["portal"]),
            (f"{name}: system configuration on L1", rollup["systemConfig"]),
        ]
    width = max(len(what) for what, _ in rows)
    for what, where in rows:
        out.print(f"  {what:<{width}}  {where}", markup=False)
    first = description["rollups"][0]
    wallet = description["cast"]
    out.print("\n[bold]Accounts[/]: the public development accounts, funded on L1 and on every rollup.")
    out.print("[bold yellow]Their keys are public. Never send anything of value to these addresses.[/]")
    out.print(
        f"\n[bold]Deposit[/] one ether from L1 to rollup {first['chainId']} (an ordinary transfer to its portal):"
    )
    out.print(f"  {deposit_command(first['portal'], l1['url'], wallet)}", markup=False)
    out.print("[bold]See it[/] arrive, at the same address:")
    out.print(f"  {wallet} balance {DEPOSITOR} --ether --rpc-url {first['plaitUrl']}", markup=False)
    out.print("\n[bold]Try[/] in another terminal: plait opstack status   ·   Ctrl-C stops.\n")


DEPOSITOR = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
"""Development account 3, which nothing here uses for itself."""
_DEPOSITOR_KEY = "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"


def deposit_command(portal: str, l1_url: str, wallet: str = "cast") -> str:
    """What a person types to deposit one ether."""
    return f"{wallet} send {portal} --value 1ether --private-key {_DEPOSITOR_KEY} --rpc-url {l1_url}"


# ---------------------------------------------------------------- from another terminal
_remote = Remote(opstack, started_by="plait opstack up", member="program", member_key="name", data_dir=DEFAULT_DATA_DIR)


@opstack.command()
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Show heads of both sides, whether their hashes agree, and the programs. Exit code 1 when they differ."""
    found = _remote.ask(data_dir, "status", {}, as_json=as_json)
    if as_json:
        print_json(found)
    else:
        from plait.cli.opstack_view import lines_of

        for line in lines_of(found):
            out.print(line, markup=False)
    if any(rollup["agree"] is False for rollup in found["rollups"]):
        raise SystemExit(1)


_remote.command(
    "stop",
    "Stop one program, or everything when none is named; it is kept.",
    "{} is stopped.",
    of_all="Everything stops.",
)
_remote.command("start", "Start a program that was stopped, killed or died.", "{} runs.")
_remote.command("kill", "kill -9 a program.", "{} is killed.")


@opstack.command()
@data_dir_option(DEFAULT_DATA_DIR)
@json_option
def down(data_dir: Path, as_json: bool) -> None:
    """Stop everything, if it runs, and remove the network from the directory."""
    from plait.errors import Unavailable
    from plait.storage import DataDirectory
    from plait.testnet.control import ask
    from plait.testnet.opstack.founding import reset
    from plait.testnet.opstack.processes import end_left_over

    async def end() -> None:
        with contextlib.suppress(Unavailable):
            await ask(data_dir, "stop_all")
        for _ in range(_DOWN_TRIES):
            try:
                with DataDirectory(data_dir):
                    end_left_over(data_dir)
                    reset(data_dir)
                return
            except Unavailable:
                await asyncio.sleep(_REFRESH_S)
        raise Unavailable(f"{data_dir} is still in use; stop what runs there.", code="data_directory_in_use")

    try:
        asyncio.run(end())
    except Exception as error:
        fail(error, as_json=as_json)
    if as_json:
        print_json({"done": "down"})
    else:
        out.print(f"Nothing is left of the network in {data_dir}.")


_DOWN_TRIES = 60


# ---------------------------------------------------------------- the node itself
@opstack.command(hidden=True)
@data_dir_option(DEFAULT_DATA_DIR)
@click.option("--ports", required=True)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def node(data_dir: Path, ports: str, log_level: LogLevel) -> None:
    """Run Plait's node of the network; `up` starts this."""
    from plait.cli.opstack_node import run_node

    configure_logging("json", log_level)
    uvloop.run(run_node(data_dir, ports))


commands = {"opstack": opstack}
