"""A node's home: made once, made part of one network once.

    make_home        keys of CometBFT (its own program makes them) and node.toml; safe to repeat
    join_network     network.json, every rollup's genesis, CometBFT's genesis; refused when it is of another network

Both can be one command (`plait init --network FILE`), or the second can wait until the network's founders have
collected the validators' keys.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from plait.codec.damage import DAMAGED
from plait.engines.cometbft.home import create_keys, write_genesis
from plait.errors import ConfigurationError
from plait.native import ed25519_public_key
from plait.node.config import NetworkConfig, NodeConfig
from plait.node.engine import comet_genesis
from plait.node.node import open_storage
from plait.node.node_file import NODE_FILE, NodeSettings, encode_settings, read_settings
from plait.storage import Files


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """By what others know a node."""

    public_key: bytes
    """ed25519, signs its votes."""
    node_id: str
    """40 hex digits, its name among peers."""


def make_home(home: Path, changes: Mapping[str, Any]) -> Identity:
    """Creates a home; what is there already stays, but for the settings that are given.

    Args:
        home: directory.
        changes: settings of node.toml by name; the others are the defaults, or what the file says already.

    Raises:
        ConfigurationError: `cometbft_missing`, `cometbft_version`, `comet_home_unusable`, `data_directory_unusable`,
            and what `NodeConfig.check` raises.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # keys are in it
        path = home / NODE_FILE
        settings = read_settings(home) if path.exists() else NodeSettings()
        settings = msgspec.structs.replace(settings, **changes)
        settings.config(home)
        if changes or not path.exists():
            Files().write_whole(path, encode_settings(settings).encode())
    except OSError as error:
        raise ConfigurationError(
            f"The home {home} cannot be used: {error.strerror or error}.", code="data_directory_unusable"
        ) from error
    public_key, node_id = create_keys(home)
    return Identity(public_key=public_key, node_id=node_id)


def consensus_seed(home: Path) -> bytes:
    """The seed of a node's consensus key, 32 bytes, to prove that whoever stakes for the key has it.

    Raises:
        ConfigurationError: `consensus_key_unusable`.
    """
    path = home / "cometbft" / "config" / "priv_validator_key.json"
    try:
        private = msgspec.json.decode(path.read_bytes())["priv_key"]["value"]
        key = base64.b64decode(private, validate=True)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is missing; make the node's home with `plait init`.", code="consensus_key_unusable"
        ) from None
    except (*DAMAGED, KeyError, TypeError):
        key = b""
    if len(key) != 64 or ed25519_public_key(key[:32]) != key[32:]:
        raise ConfigurationError(f"{path} is no ed25519 key of CometBFT.", code="consensus_key_unusable")
    return key[:32]


def join_network(home: Path, network: NetworkConfig) -> None:
    """Makes a home part of a network.

    Raises:
        ConfigurationError: `validators_missing` when the network has none, `network_mismatch` and
            `comet_genesis_mismatch` when the home belongs to another one.
        Unavailable: `data_directory_in_use`.
    """
    network.check()
    if not network.validators:
        raise ConfigurationError(
            "The network has no validators, so nobody could agree on anything; `plait devnet` runs such a network.",
            code="validators_missing",
        )
    stored = open_storage(network, NodeConfig(data_dir=home))
    try:
        write_genesis(home, comet_genesis(stored.network, stored.genesis))
    finally:
        stored.log.close()
        if stored.directory is not None:
            stored.directory.close()
