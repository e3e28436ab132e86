"""The ledger that a network's configuration begins with: its rollups, accounts and first validators."""

from collections.abc import Mapping

import msgspec

from plait.ledger import registry
from plait.ledger.economy import Economy
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.rollup_records import NetworkMode, RollupEntry
from plait.ledger.state import NOBODY, LedgerState, genesis_state
from plait.node.config import NetworkConfig, RollupConfig
from plait.types import Hash32, RollupId, RollupParameters, Slot


def genesis_ledger(network: NetworkConfig, genesis_hashes: Mapping[RollupId, Hash32]) -> LedgerState:
    """The ledger of height 0.

    Args:
        network: checked.
        genesis_hashes: hash of block 0 of every rollup of the network.

    Raises:
        ConfigurationError: what `genesis_economy` and `genesis_state` refuse.
    """
    rollups = tuple(
        _anchored(network, rollup, rollup.parameters(genesis_hashes[RollupId(rollup.chain_id)]))
        for rollup in network.rollups
    )
    anchors = {
        RollupId(rollup.chain_id): anchor for rollup in network.rollups if (anchor := rollup.anchor_block()) is not None
    }
    entries = tuple(
        registry.genesis_entry(parameters, rollup.owner_address() or NOBODY, terms=rollup.terms(), escrow=rollup.escrow)
        for rollup, parameters in zip(network.rollups, rollups, strict=True)
    )
    return genesis_state(network.parameters(), rollups, genesis_stake(network, entries), network.l1_state(), anchors)


def _anchored(network: NetworkConfig, rollup: RollupConfig, parameters: RollupParameters) -> RollupParameters:
    """A rollup's parameters with the block and the slot that an existing chain goes on from."""
    anchor = rollup.anchor_block()
    if anchor is None:
        return parameters
    start_slot = (anchor.timestamp - network.genesis_time_s) * 1_000 // network.slot_ms
    return msgspec.structs.replace(parameters, start_slot=Slot(start_slot), anchor_number=anchor.block.number)


def genesis_stake(network: NetworkConfig, rollups: tuple[RollupEntry, ...] = ()) -> Economy:
    """Accounts and stake of height 0; with the registry's entries when they are given.

    Raises:
        ConfigurationError: what `genesis_economy` refuses.
    """
    return genesis_economy(
        GenesisEconomy(
            mode=NetworkMode(network.mode),
            parameters=network.ledger_parameters(),
            accounts=tuple((account.address_bytes(), account.balance) for account in network.accounts),
            validators=tuple(
                GenesisValidator(
                    operator=validator.operator_address(),
                    public_key=validator.key_bytes(),
                    stake=validator.stake,
                    name=validator.name,
                    commission_ppm=validator.commission_ppm,
                    commission_max_ppm=validator.commission_max_ppm,
                    commission_step_ppm=validator.commission_step_ppm,
                )
                for validator in network.validators
            ),
            rollups=rollups,
        )
    )
