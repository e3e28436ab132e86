"""Which engine drives a node, and what CometBFT is told of the node's settings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from plait.engines.cometbft.binary import find_cometbft
from plait.engines.cometbft.home import (
    CometGenesis,
    CometSettings,
    StateSyncSettings,
    commit_timeout_ms,
    require_home,
    require_signer_memory,
    write_config,
)
from plait.errors import ConfigurationError
from plait.ledger.genesis import first_validators
from plait.node.config import NetworkConfig, NodeConfig, fingerprint
from plait.node.genesis import genesis_stake
from plait.types import NetworkId, RollupId, Seconds

T = TypeVar("T")


class Engine(Protocol):
    """What a node needs of an engine."""

    async def run(self) -> None:
        """Decides heights until `stop`, or until one fails."""

    def stop(self) -> None:
        """Ends `run`."""

    async def between_heights(self, work: Callable[[], T]) -> T:
        """Runs `work` where the committed state stands still."""

    def statistics(self) -> msgspec.Struct:
        """Counters since the start."""


def comet_genesis(network: NetworkConfig, genesis: Mapping[RollupId, bytes]) -> CometGenesis:
    """What CometBFT must start from in this network."""
    parameters = network.ledger_parameters()
    return CometGenesis(
        network_id=NetworkId(network.network_id),
        genesis_time_s=Seconds(network.genesis_time_s),
        fingerprint=fingerprint(network, genesis),
        validators=first_validators(genesis_stake(network)),
        evidence_age_heights=parameters.evidence_age_heights,
        evidence_age_ms=parameters.evidence_age_ms,
    )


def comet_settings(network: NetworkConfig, config: NodeConfig) -> CometSettings:
    """CometBFT's settings for a node."""
    sync = None
    if config.sync_servers:
        sync = StateSyncSettings(
            rpc_servers=config.sync_servers,
            trust_height=config.sync_trust_height,
            trust_hash=config.sync_trust_hash,
            trust_period_s=max(network.ledger_parameters().unbonding_ms * 2 // 3 // 1_000, 1),
        )
    return CometSettings(
        moniker=config.name,
        p2p_host=config.p2p_host,
        p2p_port=config.p2p_port,
        rpc_host=config.comet_rpc_host,
        rpc_port=config.comet_rpc_port,
        prometheus_port=config.comet_metrics_port or None,
        external_address=config.external_address,
        persistent_peers=config.peers,
        pex=config.pex,
        timeout_commit_ms=commit_timeout_ms(network.parameters()),
        state_sync=sync,
    )


def prepare_comet(home: Path, network: NetworkConfig, config: NodeConfig) -> Path:
    """Makes a home ready for CometBFT to start in; returns the program.

    Raises:
        ConfigurationError: `comet_home_missing`, `comet_home_unusable`, `cometbft_missing`, `cometbft_version`,
            `validators_missing`.
        InvariantBroken: `signer_memory_lost`.
    """
    if not network.validators:
        raise ConfigurationError(
            f"The network in {home} has no validators, so nobody could agree on anything; `plait devnet` runs such a "
            "network.",
            code="validators_missing",
        )
    require_home(home)
    require_signer_memory(home)
    write_config(home, comet_settings(network, config))
    return find_cometbft()
