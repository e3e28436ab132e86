"""The attributes of embedded rollups over the synthetic L1, as the protocol asks for them.

A pure function of its parameters: every node that is given the same network parameters opens the same blocks.
Imports: plait.types, plait.l1, plait.native (the Attributes record), the deposit builder beside it.
"""

from collections.abc import Mapping

import msgspec

from plait.derivation.attributes import FORKS, Fork, block_attributes
from plait.derivation.system_config import system_of
from plait.errors import InvariantBroken
from plait.l1.synthetic import SYNTHETIC_BLOCK_TIME_S, SyntheticL1
from plait.ledger.rollup_records import RollupEntry
from plait.native import Attributes, Rollup, Store
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import BlockNumber, ChainId, L1Origin, NetworkParameters, RollupId, RollupParameters, Seconds


class EmbeddedSource(msgspec.Struct, frozen=True):
    """`plait.execution.candidate.AttributesSource` over a synthetic L1."""

    network: NetworkParameters
    l1: SyntheticL1
    forks: Mapping[RollupId, Fork]
    """Fork of each rollup's genesis; one that is not named has Jovian."""

    @classmethod
    def of(cls, network: NetworkParameters, forks: Mapping[RollupId, Fork] | None = None) -> "EmbeddedSource":
        """The source of a network with its own synthetic L1."""
        return cls(network, SyntheticL1(network.genesis_time_s, network.network_id), dict(forks or {}))

    def attributes(
        self, rollup: RollupParameters, number: BlockNumber, timestamp_s: Seconds, fork: str | None = None
    ) -> Attributes:
        """Attributes that open block `number`, 1 or above, at its grid timestamp."""
        block_time_s = Seconds(rollup.block_time_slots * self.network.slot_ms // 1_000)
        start_s = Seconds(rollup.start_slot * self.network.slot_ms // 1_000)
        origin, sequence_number = self.l1.origin(number, block_time_s, start_s)
        named = next((one for one in FORKS if one == fork), None)
        started = named if named is not None else self.forks.get(rollup.rollup_id, "jovian")
        return block_attributes(timestamp_s, origin, sequence_number, system_of(rollup), fork=started)

    def genesis_json(self, entry: RollupEntry) -> bytes:
        """op-geth's genesis JSON of a rollup that was registered.

        Raises:
            InvariantBroken: `genesis_unknown` for one of the network's own genesis, whose files a node has.
        """
        rollup, genesis = entry.parameters, entry.genesis
        fork = next((one for one in FORKS if genesis is not None and one == genesis.fork), None)
        if genesis is None or fork is None:
            raise InvariantBroken(f"rollup {entry.rollup_id} was not registered", code="genesis_unknown")
        start_s = self.network.genesis_time_s + rollup.start_slot * self.network.slot_ms // 1_000
        return genesis_json(
            GenesisSpecification(
                chain_id=ChainId(rollup.rollup_id),
                timestamp=Seconds(start_s),
                fork=fork,
                gas_limit=rollup.gas_limit,
                eip1559_denominator=rollup.eip1559_denominator,
                eip1559_elasticity=rollup.eip1559_elasticity,
                base_fee=genesis.base_fee,
                min_base_fee=rollup.min_base_fee,
                balances={funded.account: funded.balance for funded in genesis.balances},
                fee_recipient=genesis.fee_recipient,
                interop=rollup.interop_set != 0,
            )
        )

    def existing(self, entry: RollupEntry, _store: Store) -> Rollup:
        """Raises InvariantBroken (`rollup_import_missing`): there is no chain here that existed before."""
        raise InvariantBroken(
            f"rollup {entry.rollup_id} existed before it joined, and is not here", code="rollup_import_missing"
        )

    def l1_origin(self, timestamp_s: Seconds) -> L1Origin:
        """The newest synthetic L1 block that is not younger than this time; block 0 before its genesis."""
        number = max(0, timestamp_s - self.network.genesis_time_s) // SYNTHETIC_BLOCK_TIME_S
        block = self.l1.block(BlockNumber(number))
        return L1Origin(number=block.number, hash=block.hash)
