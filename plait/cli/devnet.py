"""`plait devnet`: a local network of embedded rollups on one sequencer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
import uvloop

from plait.cli.output import json_option, out, print_json
from plait.derivation.attributes import FORKS, Fork
from plait.errors import ConfigurationError
from plait.ledger.parameters import TOKEN
from plait.limits import INTEROP_CHAINS_MAX, ROLLUPS_MAX, SNAPSHOT_EVERY_TRANSACTIONS
from plait.node.config import (
    DEFAULT_PORT,
    DEFAULT_ROLLUP_PORT_BASE,
    FIRST_CHAIN_ID,
    AccountConfig,
    NetworkConfig,
    NodeConfig,
    RollupConfig,
    decode_network,
    genesis_at,
    rollup_of_genesis,
)
from plait.node.logging import configure_logging
from plait.node.node import Node, reset
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_MNEMONIC
from plait.rollups.opstack.faces.settings import FacesSettings, read_faces
from plait.types import OrderingPolicy, RollupId, Seconds

if TYPE_CHECKING:
    from plait.rpc import Server

DEFAULT_DATA_DIR = Path(".plait") / "devnet"
T = TypeVar("T")


class PerRollup(click.ParamType[Any]):
    """One value for all rollups, or one per rollup separated by commas."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = f"{name}[,{name}…]"
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The values as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._parse(part.strip()) for part in str(value).split(","))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def fork_named(name: str) -> Fork:
    """A fork by its name. Raises ValueError."""
    if name not in FORKS:
        raise ValueError(f"there are {', '.join(FORKS)}")
    return name


def policy_named(name: str) -> OrderingPolicy:
    """An ordering policy by its name. Raises ValueError."""
    try:
        return OrderingPolicy(name)
    except ValueError:
        raise ValueError(f"there are {', '.join(policy.value for policy in OrderingPolicy)}") from None


def seconds(text: str) -> float:
    """A positive number of seconds. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("not a number of seconds above 0")
    return value


def whole(text: str) -> int:
    """A whole number. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("not a whole number") from None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about the network; None where it says nothing."""

    rollups: int | None
    slot_ms: int | None
    sub_blocks: int | None
    accounts: int | None
    policies: tuple[OrderingPolicy, ...] | None
    gas_limits: tuple[int, ...] | None
    block_times_s: tuple[float, ...] | None
    da_scalars: tuple[int, ...] | None
    forks: tuple[Fork, ...] | None
    interop_sets: tuple[int, ...] | None
    genesis_files: tuple[Path, ...]


@click.command()
@click.option("--rollups", type=click.IntRange(1, ROLLUPS_MAX), help="How many rollups.  [default: 2]")
@click.option("--slot-ms", type=int, help="Length of a slot, the tick all rollups share.  [default: 1000]")
@click.option("--sub-blocks", type=int, help="Confirmations (sub-blocks) per slot.  [default: 4]")
@click.option(
    "--block-time",
    "block_times",
    type=PerRollup("SECONDS", seconds),
    help="Block time, whole slots.  [default: one slot]",
)
@click.option("--gas-limit", "gas_limits", type=PerRollup("GAS", whole), help="Gas of a block.  [default: 60000000]")
@click.option(
    "--policy", "policies", type=PerRollup("POLICY", policy_named),
    help="Order within a sub-block: priority_fee or arrival.  [default: priority_fee]",
)  # fmt: skip
@click.option("--da-scalar", "da_scalars", type=PerRollup("SCALAR", whole), help="DA footprint scalar.  [default: 400]")
@click.option("--fork", "forks", type=PerRollup("FORK", fork_named), help="OP Stack fork.  [default: jovian]")
@click.option(
    "--interop-set", "interop_sets", type=PerRollup("SET", whole),
    help="Rollups with the same number execute each other's messages; 0: none.  [default: 1]",
)  # fmt: skip
@click.option("--accounts", type=click.IntRange(0, 10), help="Funded development accounts.  [default: 10]")
@click.option(
    "--genesis", "genesis_files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A rollup with this genesis (op-geth's JSON) instead of an embedded one; repeat for more rollups.",
)  # fmt: skip
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_DATA_DIR, show_default=True,
    help="Where the network is kept; a second start goes on where the first stopped.",
)  # fmt: skip
@click.option("--in-memory", is_flag=True, help="Keep nothing on disk.")
@click.option("--reset", "do_reset", is_flag=True, help="Forget the network in the data directory and start a new one.")
@click.option(
    "--snapshot-every", type=click.IntRange(1), default=SNAPSHOT_EVERY_TRANSACTIONS, show_default=True,
    help="Transactions after which a snapshot is written; a restart replays at most about so many.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Port of the server."
)
@click.option(
    "--rollup-port-base", type=click.IntRange(0, 65_535), default=DEFAULT_ROLLUP_PORT_BASE, show_default=True,
    help="First rollup's own port, the next rollup's follows; 0 for none.",
)  # fmt: skip
@click.option(
    "--allow-host", "allowed_hosts", multiple=True,
    help="Host name besides localhost by which clients may reach the node; repeatable, * for any.",
)  # fmt: skip
@click.option(
    "--allow-origin", "allowed_origins", multiple=True,
    help="Web origin that may use the node from a browser; repeatable, * for any.",
)  # fmt: skip
@click.option("--log-format", type=click.Choice(["console", "json"]), help="Logs, on standard error.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--relay", type=click.Choice(["free", "paid", "off"]), default="free", show_default=True,
    help="Messages between rollups that the node delivers: all, those that pay for it, or none.",
)  # fmt: skip
@click.option(
    "--relayer-key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the key that pays deliveries, readable by its owner only.  [default: a public one]",
)  # fmt: skip
@click.option(
    "--faces", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="faces.toml: flashblocks, op-conductor's and rollup-boost's places.  [default: none]",
)  # fmt: skip
@click.option("--recheck", is_flag=True, help="Execute every own proposal twice, as validators of a network do.")
@json_option
def devnet(as_json: bool, **options: Any) -> None:
    """Start a local network of rollups on one sequencer and keep it running until Ctrl-C.

    Each rollup has an Ethereum JSON-RPC endpoint for wallets and libraries. Started again, it continues where it was.

    \b
    Examples:
      plait devnet                                   two rollups, 1 s blocks, 250 ms confirmations
      plait devnet --rollups 4 --sub-blocks 10       four rollups, 100 ms confirmations
      plait devnet --block-time 1,2 --policy priority_fee,arrival
      plait devnet --in-memory --port 9000           nothing on disk
      plait devnet --reset                           a new network
    """
    configure_logging(options["log_format"] or ("json" if as_json else "console"), options["log_level"])
    asked = Asked(
        rollups=options["rollups"],
        slot_ms=options["slot_ms"],
        sub_blocks=options["sub_blocks"],
        accounts=options["accounts"],
        policies=options["policies"],
        gas_limits=options["gas_limits"],
        block_times_s=options["block_times"],
        da_scalars=options["da_scalars"],
        forks=options["forks"],
        interop_sets=options["interop_sets"],
        genesis_files=options["genesis_files"],
    )
    data_dir = None if options["in_memory"] else options["data_dir"]
    if data_dir is not None and options["do_reset"]:
        reset(data_dir)
    network, genesis = network_to_run(asked, data_dir)
    config = NodeConfig(
        data_dir=data_dir,
        faces=FacesSettings() if options["faces"] is None else read_faces(options["faces"]),
        host=options["host"],
        port=options["port"],
        rollup_port_base=options["rollup_port_base"] or None,
        allowed_hosts=options["allowed_hosts"],
        allowed_origins=options["allowed_origins"],
        recheck_own=options["recheck"],
        relay=options["relay"],
        relayer_key=options["relayer_key"],
        snapshot_every_transactions=options["snapshot_every"],
    )
    uvloop.run(run(network, config, genesis, as_json=as_json))


def network_to_run(asked: Asked, data_dir: Path | None) -> tuple[NetworkConfig, dict[RollupId, bytes] | None]:
    """The network that a data directory holds, changed by what was asked for (the node refuses a difference); or a
    new one.

    Raises:
        ConfigurationError: values that do not fit together.
    """
    stored = None if data_dir is None else data_dir / "network.json"
    if stored is not None and stored.exists():
        found = decode_network(stored.read_bytes(), str(stored))
        genesis_time_s = found.genesis_time_s
    else:
        found = None
        genesis_time_s = 0
    templates = _rollups(asked, found)
    genesis: dict[RollupId, bytes] | None = None
    if asked.genesis_files and found is None:
        files = [path.read_bytes() for path in asked.genesis_files]
        named = list(zip(files, asked.genesis_files, templates, strict=True))
        templates = tuple(rollup_of_genesis(data, str(path), template) for data, path, template in named)
    slot_ms = _or(asked.slot_ms, found.slot_ms if found else 1_000)
    if found is None:
        longest_ms = max(rollup.block_time_slots for rollup in templates) * slot_ms
        # One block before now, so that block 1 is open from the start (block 0 is genesis).
        genesis_time_s = int(time.time()) - -(-longest_ms // 1_000)
    network = NetworkConfig(
        genesis_time_s=genesis_time_s,
        slot_ms=slot_ms,
        sub_blocks_per_slot=_or(asked.sub_blocks, found.sub_blocks_per_slot if found else 4),
        development_accounts=_or(asked.accounts, found.development_accounts if found else 10),
        rollups=templates,
        accounts=found.accounts if found else _development_accounts(_or(asked.accounts, 10)),
    )
    network.check()
    if asked.genesis_files and found is None:
        genesis = {
            RollupId(rollup.chain_id): genesis_at(path.read_bytes(), str(path), Seconds(genesis_time_s))
            for rollup, path in zip(templates, asked.genesis_files, strict=True)
        }
    return network, genesis


def _rollups(asked: Asked, found: NetworkConfig | None) -> tuple[RollupConfig, ...]:
    if asked.genesis_files and asked.rollups not in {None, len(asked.genesis_files)}:
        raise ConfigurationError(
            f"--rollups {asked.rollups} and {len(asked.genesis_files)} genesis files do not fit; leave --rollups out.",
            code="rollup_count",
        )
    default = len(found.rollups) if found else len(asked.genesis_files) or 2
    count = _or(asked.rollups, default)
    slot_ms = _or(asked.slot_ms, found.slot_ms if found else 1_000)
    before = found.rollups if found else ()
    base = [before[at] if at < len(before) else _default_rollup(at) for at in range(count)]
    block_times = None if asked.block_times_s is None else tuple(_slots(one, slot_ms) for one in asked.block_times_s)
    changes: list[dict[str, Any]] = [{} for _ in base]
    for name, flag, values in (
        ("block_time_slots", "--block-time", block_times),
        ("gas_limit", "--gas-limit", asked.gas_limits),
        ("ordering", "--policy", asked.policies),
        ("da_footprint_gas_scalar", "--da-scalar", asked.da_scalars),
        ("fork", "--fork", asked.forks),
        ("interop_set", "--interop-set", asked.interop_sets),
    ):
        for change, value in zip(changes, _spread(values, count, flag), strict=True):
            if value is not None:
                change[name] = value
    return tuple(msgspec.structs.replace(one, **change) for one, change in zip(base, changes, strict=True))


def _development_accounts(count: int) -> tuple[AccountConfig, ...]:
    """Ledger accounts of the development accounts, with enough to try everything."""
    return tuple(
        AccountConfig(address="0x" + account.address.hex(), balance=1_000_000 * TOKEN)
        for account in DEVELOPMENT_ACCOUNTS[:count]
    )


def _default_rollup(at: int) -> RollupConfig:
    """The rollup at this place; as many as may share an interop set."""
    return RollupConfig(
        chain_id=FIRST_CHAIN_ID + at,
        interop_set=1 + at // INTEROP_CHAINS_MAX,
        owner="0x" + DEVELOPMENT_ACCOUNTS[0].address.hex(),
    )


def _spread(values: Sequence[Any] | None, count: int, flag: str) -> Sequence[Any]:
    if values is None or len(values) == 1:
        return [None if values is None else values[0]] * count
    if len(values) != count:
        raise ConfigurationError(
            f"{flag} has {len(values)} values for {count} rollups; give one for all, or one each.", code="values_count"
        )
    return values


def _slots(block_time_s: float, slot_ms: int) -> int:
    slots, rest = divmod(round(block_time_s * 1_000), slot_ms)
    if rest or slots < 1:
        raise ConfigurationError(
            f"A block time of {block_time_s:g} s is not a whole number of slots of {slot_ms} ms.",
            code="block_time_not_whole_slots",
        )
    return slots


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


async def run(
    network: NetworkConfig, config: NodeConfig, genesis: dict[RollupId, bytes] | None, *, as_json: bool
) -> None:
    """Runs the node and its server until a signal or a failure."""
    from plait.rpc import RpcConfig, serve

    rpc = RpcConfig(
        host=config.host,
        port=config.port,
        rollup_port_base=config.rollup_port_base,
        hosts=config.allowed_hosts,
        origins=config.allowed_origins,
    )
    async with Node.start(network, config, genesis=genesis) as node:
        with stopping_on_signals(node):
            async with serve(node, rpc) as server:
                description = describe(node, server)
                if as_json:
                    print_json(description)
                else:
                    print_welcome(node, description)
                gc.collect()
                gc.freeze()
                await node.stopped()
    if not as_json:
        out.print(f"Stopped cleanly at height {node.info().height}.")


@contextlib.contextmanager
def stopping_on_signals(node: Node) -> Any:
    """The first Ctrl-C or SIGTERM stops cleanly, the second ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = False

    def stop(number: int) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        if sys.stderr.isatty():
            sys.stderr.write("\nStopping; press Ctrl-C again to end at once.\n")
        node.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def describe(node: Node, server: Server) -> dict[str, Any]:
    """What a program needs to know about the started network."""
    network = node.network
    served: dict[str, list[str]] = {}
    for endpoint in server.endpoints:
        served.setdefault(endpoint.name, []).append(endpoint.http_url.rstrip("/"))
    return {
        "event": "ready",
        "pid": os.getpid(),
        "version": node.version,
        "url": served["network"][0],
        "networkId": network.network_id,
        "genesisTime": network.genesis_time_s,
        "slotMs": network.slot_ms,
        "subBlocksPerSlot": network.sub_blocks_per_slot,
        "height": node.info().height,
        "dataDir": None if node.config.data_dir is None else str(node.config.data_dir.resolve()),
        "faces": server.faces.urls(),
        "rollups": [
            {
                "chainId": rollup.chain_id,
                "url": served[str(rollup.chain_id)][0],
                "ownPortUrl": next(iter(served[str(rollup.chain_id)][1:]), None),
                "blockTimeSeconds": rollup.block_time_slots * network.slot_ms / 1_000,
                "gasLimit": rollup.gas_limit,
                "ordering": rollup.ordering.value,
            }
            for rollup in network.rollups
        ],
        "accounts": [
            {"address": account.address_text, "privateKey": "0x" + account.private_key.hex()}
            for account in DEVELOPMENT_ACCOUNTS[: network.development_accounts]
        ],
    }


def print_welcome(node: Node, description: dict[str, Any]) -> None:
    """The same for people."""
    network = node.network
    out.print(
        f"[bold]Plait {node.version}[/]: {len(network.rollups)} rollups on one sequencer, slots of "
        f"{network.slot_ms} ms, a confirmation every {network.slot_ms / network.sub_blocks_per_slot:g} ms."
    )
    where = description["dataDir"] or "memory only"
    state = "continued at" if node.info().height else "new at"
    out.print(f"Data: {where}, {state} height {node.info().height}.\n")
    out.print("[bold]Rollups[/] (HTTP and WebSocket at the same address)")
    for rollup in description["rollups"]:
        own = "" if rollup["ownPortUrl"] is None else f"  or  {rollup['ownPortUrl']}"
        out.print(f"  chain id {rollup['chainId']}  {rollup['url']}{own}")
        out.print(
            f"    block every {rollup['blockTimeSeconds']:g} s, {rollup['gasLimit']:,} gas, "
            f"ordered by {rollup['ordering']}"
        )
    if description["accounts"]:
        out.print("\n[bold]Development accounts[/], 10,000 ETH each on every rollup (embedded genesis)")
        for at, account in enumerate(description["accounts"]):
            out.print(f"  ({at}) {account['address']}  {account['privateKey']}")
        out.print(f"  Mnemonic: {DEVELOPMENT_MNEMONIC}")
        out.print("  [bold yellow]These keys are public. Never send anything of value to these addresses.[/]")
    first = description["rollups"][0]
    out.print(
        f"\n[bold]Wallet[/]: add a network with RPC URL {first['ownPortUrl'] or first['url']}, "
        f"chain id {first['chainId']}, currency ETH; import a key from above."
    )
    out.print(f"[bold]Try[/]: cast block-number --rpc-url {first['url']}   ·   plait watch --url {description['url']}")
    out.print(f"[bold]Plait's own API[/] (plait_*), /health, /ready, /metrics: {description['url']}")
    for name, url in description["faces"].items():
        out.print(f"[bold]Face[/] {name}: {url}")
    out.print("Ctrl-C stops.\n")


commands = {"devnet": devnet}
