"""Homes of small networks with real CometBFT for the tests of this folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from plait.engines.cometbft.binary import find_cometbft
from plait.engines.cometbft.home import create_keys, node_id_of, write_genesis
from plait.errors import ConfigurationError
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, ValidatorConfig, decode_network
from plait.node.engine import comet_genesis
from plait.node.node import open_storage
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import NETWORK_FILE
from sim.wallet import Wallet

CHAINS = (901, 902)
STAKE = 10 * 10**18


def require_cometbft() -> None:
    """Skips where CometBFT cannot be had; `make peers` builds it."""
    try:
        find_cometbft()
    except ConfigurationError as error:
        pytest.skip(str(error))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_network(
    base: Path, count: int, *, change: Callable[[NetworkConfig], NetworkConfig] = lambda network: network
) -> list[NodeConfig]:
    """Homes of `count` validators that know each other; returns each node's settings."""
    homes = [base / f"node{index}" for index in range(count)]
    keys = [create_keys(home) for home in homes]
    network = change(
        NetworkConfig(
            genesis_time_s=int(time.time()) - 1,
            rollups=tuple(RollupConfig(chain_id=chain_id) for chain_id in CHAINS),
            validators=tuple(
                ValidatorConfig(
                    operator=f"0x{index + 1:040x}", public_key="0x" + public_key.hex(), stake=STAKE, name=f"node{index}"
                )
                for index, (public_key, _) in enumerate(keys)
            ),
        )
    )
    for home in homes:
        join(home, network)
    ports = [(free_port(), free_port()) for _ in homes]
    peers = [f"{node_id}@127.0.0.1:{p2p}" for (_, node_id), (p2p, _) in zip(keys, ports, strict=True)]
    return [
        NodeConfig(
            data_dir=home,
            engine="cometbft",
            name=home.name,
            p2p_port=ports[index][0],
            comet_rpc_port=ports[index][1],
            peers=tuple(peer for other, peer in enumerate(peers) if other != index),
            pex=False,
            trace_dir=home / "traces",
            log_level="warning",
        )
        for index, home in enumerate(homes)
    ]


def add_node(base: Path, members: list[NodeConfig]) -> NodeConfig:
    """A node of the same network that is no validator, not started yet."""
    home = base / f"node{len(members)}"
    create_keys(home)
    first = members[0].data_dir
    assert first is not None
    path = first / NETWORK_FILE
    join(home, decode_network(path.read_bytes(), str(path)))
    peers = []
    for member in members:
        assert member.data_dir is not None
        peers.append(f"{node_id_of(member.data_dir)}@127.0.0.1:{member.p2p_port}")
    return msgspec.structs.replace(
        members[0],
        data_dir=home,
        name=home.name,
        p2p_port=free_port(),
        comet_rpc_port=free_port(),
        peers=tuple(peers),
        trace_dir=home / "traces",
    )


def join(home: Path, network: NetworkConfig) -> None:
    """Makes a home part of a network."""
    stored = open_storage(network, NodeConfig(data_dir=home))
    try:
        write_genesis(home, comet_genesis(stored.network, stored.genesis))
    finally:
        stored.log.close()
        if stored.directory is not None:
            stored.directory.close()


def wallets() -> list[Wallet]:
    """Funded accounts."""
    return [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


def running_of_home(home: Path) -> list[int]:
    """Process ids of CometBFT that were started for a home."""
    if shutil.which("pgrep") is None:
        pytest.skip("pgrep is not installed")
    found = subprocess.run(
        ["pgrep", "-f", str(home / "cometbft")], capture_output=True, text=True, check=False
    ).stdout.split()
    return [int(pid) for pid in found]
