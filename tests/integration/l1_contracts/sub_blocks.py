"""Chains of sub-blocks with real headers and real ledgers, as the network encodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from validators import NETWORK_ID

from plait.crypto.commitments import commit
from plait.l1.contract_proofs import SubBlockProof
from plait.ledger.encoding import ledger_root
from plait.ledger.genesis import GenesisEconomy, genesis_economy
from plait.ledger.state import LedgerState, genesis_state
from plait.protocol.proposal import RollupSeals, SubBlockHeader, app_hash_of, encode_header, header_hash_of
from plait.types import (
    Address,
    BlockNumber,
    Gas,
    Hash32,
    Height,
    L1Origin,
    Milliseconds,
    NetworkParameters,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
    Slot,
    SubIndex,
    Wei,
)

ROLLUPS = (RollupId(901), RollupId(902), RollupId(905))
BEGAN_S = 1_700_000_000


def account(number: int) -> Address:
    """An address of the ledger; the same number, the same address."""
    return Address(sha256(b"account %d" % number).digest()[:20])


def ledger(balances: Mapping[Address, int]) -> LedgerState:
    """A ledger whose accounts have these balances."""
    network = NetworkParameters(
        network_id=NETWORK_ID, genesis_time_s=Seconds(BEGAN_S), slot_ms=Milliseconds(1_000), sub_blocks_per_slot=4
    )
    rollups = tuple(
        RollupParameters(
            rollup_id=rollup_id,
            genesis_hash=Hash32(sha256(b"genesis %d" % rollup_id).digest()),
            block_time_slots=2,
            gas_limit=Gas(30_000_000),
            ordering=OrderingPolicy.PRIORITY_FEE,
            da_footprint_gas_scalar=0,
            eip1559_denominator=250,
            eip1559_elasticity=6,
            min_base_fee=Wei(0),
            operator_fee_scalar=0,
            operator_fee_constant=0,
            base_fee_scalar=0,
            blob_base_fee_scalar=0,
        )
        for rollup_id in ROLLUPS
    )
    economy = genesis_economy(GenesisEconomy(accounts=tuple(sorted(balances.items()))))
    return genesis_state(network, rollups, economy)


class Made(NamedTuple):
    """One sub-block."""

    header: bytes
    app_hash: Hash32
    items: Mapping[RollupId, Sequence[bytes]]


class Chain:
    """Sub-blocks one after the other, each with the ledger that it leaves behind."""

    def __init__(self, state: LedgerState, *, network_id: int = NETWORK_ID, ids: Sequence[RollupId] = ROLLUPS) -> None:
        self.state = state
        self._root = ledger_root(state)
        self.made: list[Made] = []
        self._network_id = network_id
        self._ids = ids
        self._parent = Hash32(bytes(32))

    @property
    def height(self) -> Height:
        return Height(len(self.made))

    def add(
        self,
        *,
        time_ms: int = BEGAN_S * 1_000,
        items: Mapping[RollupId, Sequence[bytes]] | None = None,
        sealed: Sequence[tuple[int, Sequence[tuple[int, bytes]]]] = (),
        state: LedgerState | None = None,
    ) -> Made:
        """The next sub-block."""
        if state is not None:
            self.state, self._root = state, ledger_root(state)
        height = Height(len(self.made) + 1)
        root = self._root
        seals: tuple[RollupSeals, ...] = tuple(
            (RollupId(one), tuple((BlockNumber(number), Hash32(found)) for number, found in blocks))
            for one, blocks in sealed
        )
        header = encode_header(
            SubBlockHeader(
                network_id=self._network_id,  # type: ignore[arg-type]
                height=height,
                slot=Slot(height),
                sub_index=SubIndex(0),
                time_ms=Milliseconds(time_ms),
                parent_app_hash=self._parent,
                l1_origin=L1Origin(number=BlockNumber(1), hash=Hash32(bytes(32))),
                commitment=commit(self._ids, items or {}),
                sealed=seals,
                ledger_root=root,
            )
        )
        made = Made(header, app_hash_of(height, header_hash_of(header), root), items or {})
        self.made.append(made)
        self._parent = made.app_hash
        return made

    def proof(self, checkpoint: int, height: int) -> SubBlockProof:
        """Headers from the checkpoint's down to that of `height`."""
        return SubBlockProof(
            Height(checkpoint), tuple(self.made[at - 1].header for at in range(checkpoint, height - 1, -1))
        )
