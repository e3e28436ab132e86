"""`plait init`: a home for a node of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plait.cli.output import json_option, out, print_json
from plait.errors import ConfigurationError

_NAME_CHARACTERS_MAX = 64


@click.command()
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory of the node; made anew."
)
@click.option(
    "--network", "network_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="network.json of the network that the node belongs to; can follow in a second `plait init`.",
)  # fmt: skip
@click.option("--name", help="What peers and logs call the node.  [default: node]")
@click.option("--peer", "peers", multiple=True, help="Peer to keep a connection to, id@host:port; repeatable.")
@click.option(
    "--sync-from", metavar="HOST:PORT,HOST:PORT",
    help="CometBFT RPCs of two or more nodes: fetch a snapshot instead of replaying everything; needs --trust.",
)  # fmt: skip
@click.option(
    "--trust", metavar="HEIGHT:HASH", help="A recent height and its block's hash that you trust, for --sync-from."
)
@json_option
def init(
    *,
    home: Path,
    network_file: Path | None,
    name: str | None,
    peers: tuple[str, ...],
    sync_from: str | None,
    trust: str | None,
    as_json: bool,
) -> None:
    """Create the home of a node: its keys, its settings and, with --network, the network's genesis.

    Repeating it changes nothing that is there but the settings that are given. The keys never leave the home; keep a
    copy of cometbft/config/priv_validator_key.json in a safe place, and never run two nodes with it.

    \b
    Examples:
      plait init --home ~/plait --name alice            keys; send the printed entry to the network's founders
      plait init --home ~/plait --network network.json  the same home, now part of that network
    """
    from plait.node.config import decode_network
    from plait.node.home import join_network, make_home
    from plait.node.node_file import read_settings

    network = None if network_file is None else decode_network(network_file.read_bytes(), str(network_file))
    identity = make_home(home, settings_of(name, peers, sync_from, trust))
    if network is not None:
        join_network(home, network)
    validates = network is not None and any(
        validator.key_bytes() == identity.public_key for validator in network.validators
    )
    answer = {
        "home": str(home.resolve()),
        "publicKey": "0x" + identity.public_key.hex(),
        "nodeId": identity.node_id,
        "networkId": None if network is None else network.network_id,
        "validator": validates,
    }
    if as_json:
        print_json(answer)
    else:
        _print(home, read_settings(home).name, answer)


def settings_of(name: str | None, peers: tuple[str, ...], sync_from: str | None, trust: str | None) -> dict[str, Any]:
    """What the options say about node.toml.

    Raises:
        ConfigurationError: `name_malformed`, `sync_invalid`.
    """
    changes: dict[str, Any] = {}
    if name is not None:
        if not name or len(name) > _NAME_CHARACTERS_MAX or not name.isprintable():
            raise ConfigurationError(
                f"A name has 1 to {_NAME_CHARACTERS_MAX} printable characters.", code="name_malformed"
            )
        changes["name"] = name
    if peers:
        changes["peers"] = peers
    if (sync_from is None) != (trust is None):
        raise ConfigurationError("--sync-from and --trust belong together.", code="sync_invalid")
    if sync_from is not None and trust is not None:
        height, _, hash_ = trust.partition(":")
        if not height.isdecimal():
            raise ConfigurationError(f"--trust is {trust!r}; write HEIGHT:HASH.", code="sync_invalid")
        changes |= {
            "sync_servers": tuple(sync_from.split(",")),
            "sync_trust_height": int(height),
            "sync_trust_hash": hash_.removeprefix("0x").upper(),
        }
    return changes


def _print(home: Path, name: str, answer: dict[str, Any]) -> None:
    out.print(f"[bold]Home[/] {answer['home']}")
    out.print(f"  public key  {answer['publicKey']}   signs votes; tell it to others")
    out.print(f"  node id     {answer['nodeId']}   peers write {answer['nodeId']}@your.host:26656")
    out.print(f"  settings    {home / 'node.toml'}")
    if answer["networkId"] is None:
        out.print("\nNo network yet. To be one of its first validators, send this entry to the founders:")
        out.print(
            f'  {{"operator": "0x… your Ethereum address", "public_key": "{answer["publicKey"]}", '
            f'"stake": 1000000000000000000, "name": "{name}"}}',
            markup=False,
        )
        out.print(f"and run `plait init --home {home} --network network.json` with what they send back.")
        return
    role = "one of its first validators" if answer["validator"] else "a node that follows it"
    out.print(f"\nPart of network {answer['networkId']} as {role}. Write its peers into node.toml, then:")
    out.print(f"  plait node --home {home}")


commands = {"init": init}
