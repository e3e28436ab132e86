"""HOME/node.toml: the settings of one node of a network, as its operator edits them.

HOME/faces.toml beside it has the settings of the faces, HOME/opstack.toml the L1, the engines and the batcher, if there
are any.

`plait init` writes it with every setting and a comment; `plait node` reads it at each start and derives CometBFT's own
configuration from it. What all nodes must agree on is in network.json instead. No secret belongs into it.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import ConfigurationError
from plait.limits import NETWORK_SNAPSHOT_EVERY_HEIGHTS, SNAPSHOT_EVERY_TRANSACTIONS
from plait.node.config import (
    DEFAULT_COMET_RPC_PORT,
    DEFAULT_P2P_PORT,
    DEFAULT_PORT,
    DEFAULT_ROLLUP_PORT_BASE,
    NodeConfig,
)
from plait.node.opstack_file import read_opstack
from plait.rollups.opstack.faces.settings import FACES_FILE, FacesSettings, read_faces

NODE_FILE: Final = "node.toml"
TRACES: Final = "traces"


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What node.toml holds. Paths are relative to the home."""

    name: str = "node"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    rollup_port_base: int = DEFAULT_ROLLUP_PORT_BASE
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    p2p_host: str = "127.0.0.1"
    p2p_port: int = DEFAULT_P2P_PORT
    external_address: str = ""
    peers: tuple[str, ...] = ()
    pex: bool = True
    comet_rpc_host: str = "127.0.0.1"
    comet_rpc_port: int = DEFAULT_COMET_RPC_PORT
    comet_metrics_port: int = 0
    sync_servers: tuple[str, ...] = ()
    sync_trust_height: int = 0
    sync_trust_hash: str = ""
    network_snapshot_every_heights: int = NETWORK_SNAPSHOT_EVERY_HEIGHTS
    keep_heights: int = 0
    relay: Literal["off", "free", "paid"] = "free"
    relayer_key: str = ""
    snapshot_every_transactions: int = SNAPSHOT_EVERY_TRANSACTIONS
    trace: bool = False

    def config(self, home: Path) -> NodeConfig:
        """As the node takes it. Raises ConfigurationError when a value cannot be used."""
        faces = home / FACES_FILE
        opstack = read_opstack(home)
        config = NodeConfig(
            data_dir=home,
            l1=opstack.l1,
            engines=opstack.engines,
            batcher=opstack.batcher,
            attester=opstack.attester,
            forced_inclusion=opstack.forced_inclusion,
            faces=read_faces(faces) if faces.exists() else FacesSettings(),
            engine="cometbft",
            name=self.name,
            host=self.host,
            port=self.port,
            rollup_port_base=self.rollup_port_base or None,
            allowed_hosts=self.allowed_hosts,
            allowed_origins=self.allowed_origins,
            relay=self.relay,
            relayer_key=home / self.relayer_key if self.relayer_key else None,
            snapshot_every_transactions=self.snapshot_every_transactions,
            p2p_host=self.p2p_host,
            p2p_port=self.p2p_port,
            comet_rpc_host=self.comet_rpc_host,
            comet_rpc_port=self.comet_rpc_port,
            comet_metrics_port=self.comet_metrics_port,
            sync_servers=self.sync_servers,
            sync_trust_height=self.sync_trust_height,
            sync_trust_hash=self.sync_trust_hash,
            network_snapshot_every_heights=self.network_snapshot_every_heights,
            keep_heights=self.keep_heights or None,
            external_address=self.external_address,
            peers=self.peers,
            pex=self.pex,
            trace_dir=home / TRACES if self.trace else None,
        )
        config.check()
        return config


_COMMENTS: Final = {
    "name": "What peers and logs call this node.",
    "host": "Address that the node's JSON-RPC listens on. Put a reverse proxy in front of it rather than open it.",
    "port": "Port of the JSON-RPC of the network and, by path, of every rollup; /health, /ready and /metrics too.",
    "rollup_port_base": "Port of the first rollup of its own, the next rollup's follows; 0 for none.",
    "allowed_hosts": "Host names besides localhost by which clients may reach the node.",
    "allowed_origins": "Web origins that may use the node from a browser.",
    "p2p_host": "Address that CometBFT listens on for its peers; 0.0.0.0 to be reached from other machines.",
    "p2p_port": "And its port.",
    "external_address": "host:port under which peers reach this node, when it is another one than they see.",
    "peers": "Peers to keep a connection to: id@host:port.",
    "pex": "Learn about further peers from peers.",
    "comet_rpc_host": "Address of CometBFT's own RPC. It has no limits of its own.",
    "comet_rpc_port": "And its port.",
    "comet_metrics_port": "Port of CometBFT's own metrics on 127.0.0.1; 0 for none.",
    "sync_servers": "host:port of two or more CometBFT RPCs: a new node fetches a snapshot from the network.",
    "sync_trust_height": "With sync_servers: a height that you trust, not older than a week.",
    "sync_trust_hash": "And the hash of CometBFT's block of that height, 64 hex digits.",
    "network_snapshot_every_heights": "At multiples of it a snapshot for new nodes is written; 0 for none.",
    "keep_heights": "How many heights are kept at least; 0 keeps all.",
    "relay": "Messages between rollups that this node delivers when it leads: free (all), paid, or off.",
    "relayer_key": "File, in this directory, with the key that pays deliveries; only its owner may read it.",
    "snapshot_every_transactions": "A restart replays at most about so many transactions.",
    "trace": "Note every request of CometBFT in traces/, for examinations; grows without bound.",
}


def encode_settings(settings: NodeSettings) -> str:
    """TOML with a comment for every setting."""
    lines = ["# Settings of this node; read at each start of `plait node`.", ""]
    for name in settings.__struct_fields__:
        lines += [f"# {_COMMENTS[name]}", f"{name} = {_toml(getattr(settings, name))}", ""]
    return "\n".join(lines)


def read_settings(home: Path) -> NodeSettings:
    """The settings of a home.

    Raises:
        ConfigurationError: `home_missing`, or `configuration_invalid` with the setting that is wrong.
    """
    path = home / NODE_FILE
    try:
        found = tomllib.loads(path.read_text())
        return msgspec.convert(found, NodeSettings)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{home} is no home of a node; create one with `plait init --home {home}`.", code="home_missing"
        ) from None
    except DAMAGED as error:
        raise ConfigurationError(f"{path} cannot be read: {said(error)}.", file=str(path)) from error


def _toml(value: Any) -> str:
    """A string, whole number, truth value or tuple of strings. JSON's strings are TOML's basic strings."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
