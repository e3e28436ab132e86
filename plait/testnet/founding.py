"""Makes a local network: the homes of its nodes and the genesis that all of them share.

Every node is run by one of the public development accounts, with equal stake; those accounts own as much again, so
that delegations, votes and further validators can be tried. Nothing here is for a network with value.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

import msgspec

from plait.errors import ConfigurationError
from plait.ledger.parameters import TOKEN
from plait.limits import INTEROP_CHAINS_MAX
from plait.node.config import (
    FIRST_CHAIN_ID,
    AccountConfig,
    NetworkConfig,
    RollupConfig,
    ValidatorConfig,
    decode_network,
)
from plait.node.home import join_network, make_home
from plait.node.node_file import NodeSettings
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import NETWORK_FILE
from plait.testnet.layout import CONTROL_FILE, TESTNET_FILE, Layout, NodeEntry, PortPlan

NETWORK_ID: Final = 7_904
STAKE: Final = 1_000_000 * TOKEN
BALANCE: Final = 1_000_000 * TOKEN

LEDGER: Final = {
    "epoch_heights": 40,
    "voting_period_slots": 60,
    "timelock_slots": 10,
    "upgrade_notice_heights": 20,
}
"""Short times, so that a person sees what comes of an action within a minute."""


class Founding(msgspec.Struct, frozen=True, kw_only=True):
    """What a new network is to be."""

    validators: int = 4
    rollups: int = 2
    slot_ms: int = 1_000
    sub_blocks_per_slot: int = 4
    ports: PortPlan
    settings: NodeSettings = NodeSettings(pex=False)
    ledger: dict[str, int] = msgspec.field(default_factory=lambda: dict(LEDGER))
    """Governed parameters that differ from their defaults."""


def found(data_dir: Path, founding: Founding) -> Layout:
    """Makes a network in a directory that holds none. `testnet.json` is written last: without it there is none.

    Raises:
        ConfigurationError: `validator_count`, and what else does not fit together.
    """
    if not 1 <= founding.validators <= len(DEVELOPMENT_ACCOUNTS):
        raise ConfigurationError(
            f"A local network begins with 1 to {len(DEVELOPMENT_ACCOUNTS)} validators, not {founding.validators}.",
            code="validator_count",
        )
    reset(data_dir)
    entries: list[NodeEntry] = []
    validators: list[ValidatorConfig] = []
    for at in range(founding.validators):
        entry = make_node(data_dir, at + 1, founding.settings, operator=at)
        entries.append(entry)
        validators.append(
            ValidatorConfig(
                operator=DEVELOPMENT_ACCOUNTS[at].address_text,
                public_key=entry.public_key,
                stake=STAKE,
                name=entry.name,
            )
        )
    network = NetworkConfig(
        # One slot before now, so that block 1 is open from the start (block 0 is genesis).
        genesis_time_s=int(time.time()) - -(-founding.slot_ms // 1_000),
        slot_ms=founding.slot_ms,
        sub_blocks_per_slot=founding.sub_blocks_per_slot,
        network_id=NETWORK_ID,
        rollups=tuple(
            RollupConfig(chain_id=FIRST_CHAIN_ID + at, interop_set=1 + at // INTEROP_CHAINS_MAX)
            for at in range(founding.rollups)
        ),
        validators=tuple(validators),
        accounts=tuple(
            AccountConfig(address=account.address_text, balance=BALANCE) for account in DEVELOPMENT_ACCOUNTS
        ),
        ledger=founding.ledger,
    )
    network.check()
    (data_dir / NETWORK_FILE).write_bytes(network.encode())
    for entry in entries:
        join_network(data_dir / entry.name, network)
    layout = Layout(nodes=tuple(entries), next_place=len(entries) + 1, ports=founding.ports)
    layout.write(data_dir)
    return layout


def make_node(data_dir: Path, place: int, settings: NodeSettings, *, operator: int | None) -> NodeEntry:
    """The home and keys of one more node; `join` makes it part of the network."""
    name = f"node{place}"
    identity = make_home(data_dir / name, msgspec.structs.asdict(settings) | {"name": name})
    return NodeEntry(
        name=name,
        place=place,
        node_id=identity.node_id,
        public_key="0x" + identity.public_key.hex(),
        operator=operator,
    )


def join(data_dir: Path, name: str) -> None:
    """Makes a home part of the network of its directory."""
    join_network(data_dir / name, network_of(data_dir))


def network_of(data_dir: Path) -> NetworkConfig:
    """The network in a directory. Raises ConfigurationError (`network_missing`, `configuration_invalid`)."""
    path = data_dir / NETWORK_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(f"{data_dir} holds no network.", code="network_missing") from None
    return decode_network(data, str(path))


def reset(data_dir: Path) -> None:
    """Removes a local network and its homes, and nothing else in the directory."""
    (data_dir / TESTNET_FILE).unlink(missing_ok=True)
    for file in (NETWORK_FILE, CONTROL_FILE):
        (data_dir / file).unlink(missing_ok=True)
    for home in data_dir.glob("node[0-9]*"):
        if (home / "node.toml").exists() or (home / "cometbft").exists():
            shutil.rmtree(home)
    data_dir.mkdir(parents=True, exist_ok=True)
