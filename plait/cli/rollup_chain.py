"""`plait rollup check|import|handover|add|run`: bring in an OP Stack chain that exists, run it, and give it back.

With `--genesis` every block is executed again and the state is held here. Without it nothing is executed: the state
stays in the chain's own node, and is read there with proofs (docs/opstack/remote-state.md).
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from plait.cli.bringing import Bringing
from plait.cli.keys import key_path, read_key, write_key
from plait.cli.output import json_option, out, print_json
from plait.client import Client
from plait.client.ledger import address_of
from plait.derivation.anchor import Anchor
from plait.derivation.rollup_config import OpStackConfig, decode_rollup_json
from plait.errors import ConfigurationError
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.handover import OpNode, give, take_with
from plait.rollups.opstack.importing import check_chain, check_grid
from plait.rollups.opstack.jwt import read_secret
from plait.rpc.encoding import checksummed
from plait.types import Milliseconds, Seconds

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def engine_options(function: F) -> F:
    """Options that name a chain and its engine."""
    for option in (
        json_option,
        click.option(
            "--rollup-config", type=_file, required=True, metavar="FILE", help="rollup.json, as op-node reads it."
        ),
        click.option(
            "--jwt", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE",
            help="Secret file that the engine was started with.",
        ),
        click.option("--engine", required=True, metavar="URL", help="Authenticated RPC of the chain's op-geth."),
    ):  # fmt: skip
        function = option(function)
    return function


def copy_options(function: F) -> F:
    """Options of a command that copies a chain."""
    for option in (
        click.option(
            "--into", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIRECTORY",
            help="Where the copy is kept; a second call goes on with it.",
        ),
    ):  # fmt: skip
        function = option(function)
    return state_options(function)


def state_options(function: F) -> F:
    """Options that say where a chain's state shall be."""
    for option in (
        click.option(
            "--state", "state_url", metavar="URL",
            help="RPC of the chain to read its state from, where that is not the engine; only without --genesis.",
        ),
        click.option(
            "--genesis", type=_file, metavar="FILE",
            help="The chain's genesis, as op-geth reads it: execute every block again and hold the state here. Without "
            "it the state stays in the chain's node and is read there, with proofs.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command("check")
@click.option("--url", metavar="URL", help="A node of the network to join: are its slots those of the chain?")
@engine_options
def check(engine: str, jwt: Path, rollup_config: Path, url: str | None, as_json: bool) -> None:
    """Check an engine against rollup.json: secret, chain id, genesis, fork; with --url also the network's slots."""
    config = decode_rollup_json(rollup_config.read_bytes())

    async def work(client: EngineClient) -> dict[str, Any]:
        await check_chain(client, config)
        if url is not None:
            await _check_network(url, config)
        head = await client.block("latest")
        return {
            "chainId": config.chain_id,
            "fork": config.fork,
            "head": None if head is None else {"number": head.number, "hash": "0x" + head.hash.hex()},
        }

    found = _with_engine(engine, jwt, work)
    if as_json:
        print_json(found)
    else:
        out.print(f"chain {config.chain_id} at {config.fork}: the engine fits; head {found['head']}", markup=False)


@click.command("import")
@copy_options
@engine_options
def import_(*, as_json: bool, into: Path, **options: Any) -> None:
    """Copy a chain from its engine and write what a node needs to go on from its newest block.

    With --genesis every block is copied and executed again. Without it only the last blocks are copied, and the state
    stays where it is.
    """
    config = decode_rollup_json(options["rollup_config"].read_bytes())

    async def work(client: EngineClient) -> Anchor:
        await check_chain(client, config)
        bringing = Bringing.of(config, into, options, quiet=as_json)
        async with bringing.copying(client) as copy:
            return await copy.finish()

    _print_anchor(_with_engine(options["engine"], options["jwt"], work), into, options["genesis"], as_json)


@click.group()
def handover() -> None:
    """Take a chain over from a stock op-node sequencer, or give it back; no block time is left out."""


@handover.command("take")
@click.option("--op-node", required=True, metavar="URL", help="RPC of the sequencer, with --rpc.enable-admin.")
@copy_options
@engine_options
def take_(*, op_node: str, as_json: bool, into: Path, **options: Any) -> None:
    """Stop op-node and write what a node needs to go on from its last block. It is quick after an `import`."""
    config = decode_rollup_json(options["rollup_config"].read_bytes())

    async def work(client: EngineClient) -> Anchor:
        await check_chain(client, config)
        bringing = Bringing.of(config, into, options, quiet=as_json)
        async with OpNode(op_node) as node, bringing.copying(client) as copy:
            return await take_with(node, client, copy.reach, config, keep=copy.keep)

    _print_anchor(_with_engine(options["engine"], options["jwt"], work), into, options["genesis"], as_json)


@handover.command("give")
@click.option("--op-node", required=True, metavar="URL", help="RPC of the sequencer, with --rpc.enable-admin.")
@engine_options
def give_(op_node: str, engine: str, jwt: Path, rollup_config: Path, as_json: bool) -> None:
    """Show op-node the blocks made here and start it upon the last one. Let the rollup leave the network first."""
    config = decode_rollup_json(rollup_config.read_bytes())

    async def work(client: EngineClient) -> dict[str, Any]:
        await check_chain(client, config)
        async with OpNode(op_node) as node:
            last = await give(node, client, config)
        return {"number": last.number, "hash": "0x" + last.hash.hex()}

    found = _with_engine(engine, jwt, work)
    if as_json:
        print_json(found)
    else:
        out.print(f"op-node sequences upon block {found['number']} {found['hash']}", markup=False)


@click.command("add")
@click.option("--l1", "l1_url", required=True, metavar="URL", help="RPC of the chain's L1.")
@click.option("--beacon", "beacon_url", default="", metavar="URL", help="Beacon API, where batches come in blobs.")
@click.option("--op-node", metavar="URL", help="The sequencer now: it is stopped, and the chain taken over from it.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIRECTORY",
    help="Of the network to be; several chains can be added to it before it starts.",
)  # fmt: skip
@state_options
@engine_options
def add(as_json: bool, **options: Any) -> None:
    """Add a chain that exists to a network of yours, taking it over from its sequencer; then `plait rollup run`.

    Without --genesis, for a chain of any size: its state stays in its op-geth and is read there, with proofs. With
    --genesis every block is executed again, and the state is held here.

    \b
    Example:
      plait rollup add --engine http://127.0.0.1:8551 --jwt jwt.hex --rollup-config rollup.json \\
          --l1 http://127.0.0.1:8545 --op-node http://127.0.0.1:9545 --data-dir network
      plait rollup run --data-dir network --batcher-key batcher.key
    """
    config = decode_rollup_json(options["rollup_config"].read_bytes())
    anchor = _with_engine(options["engine"], options["jwt"], lambda client: _add(client, config, options, as_json))
    _print_anchor(anchor, options["data_dir"], options["genesis"], as_json)
    if not as_json:
        out.print(f"Start the network with `plait rollup run --data-dir {options['data_dir']}`.", markup=False)


async def _add(client: EngineClient, config: OpStackConfig, options: dict[str, Any], quiet: bool) -> Anchor:
    from plait.l1.client import L1Client
    from plait.node.existing import KEYS_DIRECTORY, ChainEngine, add_chain, check_l1, check_open, import_directory

    directory = options["data_dir"]
    into = import_directory(directory, config.chain_id)
    engine = ChainEngine(chain_id=config.chain_id, url=options["engine"], jwt_file=str(options["jwt"].resolve()))
    founding = check_open(directory, config.chain_id)
    await check_chain(client, config)
    async with L1Client(options["l1_url"]) as l1:
        await check_l1(l1, config.l1_chain_id, founding)

        async def found(anchor: Anchor) -> None:
            await add_chain(
                directory, founding, anchor, engine, l1=l1, l1_url=options["l1_url"],
                beacon_url=options["beacon_url"], operator=_operator(directory / KEYS_DIRECTORY),
            )  # fmt: skip

        async with Bringing.of(config, into, options, quiet=quiet).copying(client, found) as copy:
            if options["op_node"] is None:
                return await copy.finish()
            async with OpNode(options["op_node"]) as node:
                return await take_with(node, client, copy.reach, config, keep=copy.keep)


def _operator(keys: Path) -> str:
    """Address of the key that owns the network's chains, made when there is none."""
    from plait.node.existing import OPERATOR_KEY

    if not key_path(keys, OPERATOR_KEY).exists():
        return write_key(keys, OPERATOR_KEY, secrets.token_bytes(32))
    return checksummed(address_of(read_key(keys, OPERATOR_KEY)))


@click.command("run")
@click.option(
    "--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, metavar="DIRECTORY",
    help="Where `plait rollup add` gathered the chains.",
)  # fmt: skip
@click.option(
    "--batcher-key", type=_file, metavar="FILE", help="Key of the batcher's account, 64 hex digits: post batches to L1."
)
@click.option(
    "--engine", "engines", type=(int, str, click.Path(exists=True, dir_okay=False, path_type=Path)), multiple=True,
    metavar="CHAIN_ID URL JWT_FILE", help="Engine of a chain that joins, or joined, while the network runs; repeat.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8545, show_default=True, help="Of the node's RPC.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@json_option
def run(
    *, data_dir: Path, batcher_key: Path | None, engines: tuple[tuple[int, str, Path], ...], port: int, log_level: Any,
    as_json: bool,
) -> None:  # fmt: skip
    """Run the network of added chains until Ctrl-C: it sequences them, drives their engines and posts their batches."""
    import uvloop

    from plait.cli.existing import run_network
    from plait.node.existing import ChainEngine
    from plait.node.logging import configure_logging

    configure_logging("json" if as_json else "console", log_level)
    more = tuple(ChainEngine(chain_id=chain_id, url=url, jwt_file=str(jwt.resolve())) for chain_id, url, jwt in engines)
    uvloop.run(run_network(data_dir, port=port, batcher_key=batcher_key, engines=more, as_json=as_json))


def _with_engine(url: str, jwt: Path, work: Callable[[EngineClient], Awaitable[T]]) -> T:
    async def inner() -> T:
        async with EngineClient(url, read_secret(jwt)) as client:
            return await work(client)

    return asyncio.run(inner())


async def _check_network(url: str, config: OpStackConfig) -> None:
    async with Client(url) as client:
        network = await client.call("plait_networkInfo")
    if any(rollup["chainId"] == config.chain_id for rollup in network["rollups"]):
        raise ConfigurationError(
            f"Chain {config.chain_id} is on that network already.", code="rollup_already_registered"
        )
    check_grid(config, genesis_time_s=Seconds(network["genesisTime"]), slot_ms=Milliseconds(network["slotMs"]))


def _print_anchor(anchor: Anchor, into: Path, genesis: Path | None, as_json: bool) -> None:
    shown = {
        "chainId": anchor.config.chain_id,
        "number": anchor.block.number,
        "hash": "0x" + anchor.block.hash.hex(),
        "timestamp": anchor.timestamp,
        "l1Origin": {"number": anchor.origin.number, "hash": "0x" + anchor.origin.hash.hex()},
        "sequenceNumber": anchor.sequence_number,
        "state": "remote" if genesis is None else "held",
        "directory": str(into),
    }
    if as_json:
        print_json(shown)
        return
    how = "its state stays where it is" if genesis is None else "executed up to there, every hash equal"
    block = f"block {anchor.block.number:,} {shown['hash']}"
    out.print(f"chain {shown['chainId']} goes on from {block}: {how}; written to {into}", markup=False)
