"""The part of a sub-block that its position alone decides, and what a fully executed sub-block is. Shared by building
and checking.

Level 4, pure but for the native sessions it drives.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plait.crypto.commitments import SubBlockCommitment
from plait.crypto.open_digest import OPEN_DIGEST_EMPTY, extend_open_digest
from plait.execution.candidate import AttributesSource, Candidate
from plait.execution.messages import InteropSets, interop_sets
from plait.interop.relays import Relay
from plait.ledger.encoding import ledger_root
from plait.ledger.state import LedgerState, OpenBlockRecord, RollupRecord
from plait.ledger.transition import RollupProgress, SubBlockApplied, apply
from plait.native import Attributes, OpenBlock, Outcomes, Rollup, SealedBlock, Transaction
from plait.protocol.bundles import BundlesRun
from plait.protocol.effects import RollupEffect, SubBlockDecided
from plait.protocol.grid import Position, block_timestamp_s, next_position, slot_start_ms
from plait.protocol.proposal import (
    RollupSeals,
    SubBlockHeader,
    app_hash_of,
    encode_header,
    encode_proposal,
    encode_relay_item,
    header_hash_of,
    proposal_hash_of,
)
from plait.types import BlockNumber, Gas, Hash32, Height, L1Origin, Milliseconds, RollupId, Seconds


class Base(NamedTuple):
    """The committed state that everything of a height builds on."""

    ledger: LedgerState
    app_hash: Hash32


class Advanced(NamedTuple):
    """All rollups moved to the sub-block's slot, nothing of its items run yet."""

    position: Position
    candidate: Candidate
    sealed: dict[RollupId, list[SealedBlock]]
    """Per rollup that opened a block; empty where that was its first."""
    l1_origin: L1Origin


class Run(NamedTuple):
    """What one rollup executed: its part of bundles, then plain transactions, then relays. All `transactions` were
    applied; `positions` says where the plain ones stand in `outcomes`."""

    items: list[bytes]
    transactions: list[Transaction]
    outcomes: Outcomes | None
    statuses: bytes
    positions: Sequence[int]
    bundled: int = 0
    """How many of the transactions are of bundles."""
    tried: Sequence[Transaction] = ()
    """What `outcomes` is about; while building, plain transactions that were left out are among them."""


_NOTHING = Run([], [], None, b"", ())


class Messages(NamedTuple):
    """What a sub-block did with messages."""

    sent: tuple[Relay, ...]
    delivered: frozenset[Hash32]


class Executed(NamedTuple):
    """A sub-block executed to its end: ready to be finalized."""

    header: SubBlockHeader
    proposal: bytes
    candidate: Candidate
    ledger: LedgerState
    effect: SubBlockDecided


def sets_of(ledger: LedgerState) -> InteropSets:
    """The interop sets of the registry."""
    parameters = ledger.parameters
    return interop_sets([record.parameters for record in ledger.rollups], parameters.genesis_time_s, parameters.slot_ms)


def advance(
    base: Base, rollups: Mapping[RollupId, Rollup], source: AttributesSource, time_ms: Milliseconds
) -> Advanced:
    """Moves a new candidate to the slot of this time: blocks whose time has passed are sealed, missed ones filled, the
    current one opened.

    Raises:
        ProposalRefused: `time_before_previous`.
    """
    ledger = base.ledger
    parameters = ledger.parameters
    position = next_position(
        parameters,
        time_ms=time_ms,
        previous_slot=ledger.slot,
        previous_sub_index=ledger.sub_index,
        previous_time_ms=ledger.time_ms,
        blocks=((record.parameters, record.newest_number) for record in ledger.rollups),
    )
    work: dict[RollupId, list[Attributes]] = {}
    if position.slot > ledger.slot:
        for record in ledger.rollups:
            rollup = record.parameters
            target = rollup.block_at(position.slot)
            attributes = [
                source.attributes(
                    rollup,
                    BlockNumber(number),
                    block_timestamp_s(parameters, rollup, BlockNumber(number)),
                )
                for number in range(record.newest_number + 1, target + 1)
            ]
            if attributes:
                work[rollup.rollup_id] = attributes
    candidate = Candidate.over(rollups)
    sealed = candidate.advance(work)
    l1_origin = source.l1_origin(Seconds(slot_start_ms(parameters, position.slot) // 1_000))
    return Advanced(position, candidate, sealed, l1_origin)


def complete(
    base: Base,
    advanced: Advanced,
    runs: Mapping[RollupId, Run],
    time_ms: Milliseconds,
    commitment: SubBlockCommitment,
    *,
    bundles: BundlesRun,
    messages: Messages,
) -> Executed:
    """Computes the header of a sub-block whose transactions have run, its canonical bytes, the next ledger and the
    effect.

    Args:
        base: the state it builds on.
        advanced: its rollups, in whose candidate `runs` ran.
        runs: per rollup with items.
        time_ms: agreed time of the height.
        commitment: to the items of `runs`.
        bundles: what took place of bundles; their transactions are in `runs`.
        messages: what it did with messages.
    """
    before = base.ledger
    candidate, position = advanced.candidate, advanced.position
    height = Height(before.height + 1)
    open_blocks = {record.rollup_id: candidate.open_block(record.rollup_id) for record in before.rollups}
    ledger, _ = apply(
        before,
        SubBlockApplied(
            height=height,
            slot=position.slot,
            sub_index=position.sub_index,
            time_ms=time_ms,
            progress=tuple(
                _progress(candidate, record, open_blocks[record.rollup_id], runs.get(record.rollup_id, _NOTHING))
                for record in before.rollups
            ),
        ),
    )
    header = SubBlockHeader(
        network_id=before.parameters.network_id,
        height=height,
        slot=position.slot,
        sub_index=position.sub_index,
        time_ms=time_ms,
        parent_app_hash=base.app_hash,
        l1_origin=advanced.l1_origin,
        commitment=commitment,
        sealed=seals_of(advanced.sealed),
        ledger_root=ledger_root(ledger),
        bundles_root=bundles.root,
    )
    header_bytes = encode_header(header)
    proposal = encode_proposal(
        header_bytes, [(rollup_id, run.items) for rollup_id, run in sorted(runs.items())], bundles.entries
    )
    effect = SubBlockDecided(
        height=height,
        slot=position.slot,
        sub_index=position.sub_index,
        time_ms=time_ms,
        commitment=commitment,
        app_hash=app_hash_of(height, header_hash_of(header_bytes), header.ledger_root),
        proposal=proposal,
        proposal_hash=proposal_hash_of(proposal),
        rollups=tuple(_effects(advanced, runs, open_blocks)),
        bundles=tuple(bundles.decided),
        sent=messages.sent,
        delivered=messages.delivered,
        transactions=sum(len(run.transactions) for run in runs.values()),
        senders=b"".join([transaction.sender for _, run in sorted(runs.items()) for transaction in run.transactions]),
    )
    return Executed(header, proposal, candidate, ledger, effect)


def assemble(
    plain: Mapping[RollupId, Run], bundles: BundlesRun, relays: Mapping[RollupId, Sequence[Transaction]]
) -> dict[RollupId, Run]:
    """Puts each rollup's part of the bundles before its plain transactions, and its relays after them."""
    joined = dict(plain)
    for rollup_id in sorted({*bundles.legs, *relays}):
        run = joined.get(rollup_id, _NOTHING)
        bundled = bundles.legs.get(rollup_id)
        items, transactions, statuses = ((), (), b"") if bundled is None else bundled
        relayed = relays.get(rollup_id, ())
        joined[rollup_id] = run._replace(
            items=[*items, *run.items, *(encode_relay_item(relay.raw) for relay in relayed)],
            transactions=[*transactions, *run.transactions, *relayed],
            statuses=bytes(statuses) + run.statuses + b"\x01" * len(relayed),
            bundled=len(transactions),
        )
    return joined


def seals_of(sealed: Mapping[RollupId, Sequence[SealedBlock]]) -> tuple[RollupSeals, ...]:
    """Sealed blocks as the header names them."""
    return tuple(
        (rollup_id, tuple((BlockNumber(block.number), Hash32(block.hash)) for block in sealed[rollup_id]))
        for rollup_id in sorted(sealed)
        if sealed[rollup_id]
    )


def _progress(candidate: Candidate, before: RollupRecord, block: OpenBlock | None, run: Run) -> RollupProgress:
    session = candidate.session(before.rollup_id)
    same = before.open_block is not None and block is not None and before.open_block.number == block.number
    digest = before.open_block.digest if same and before.open_block is not None else OPEN_DIGEST_EMPTY
    return RollupProgress(
        rollup_id=before.rollup_id,
        head_number=BlockNumber(session.head_number),
        head_hash=Hash32(session.head_hash),
        open_block=None
        if block is None
        else OpenBlockRecord(
            number=BlockNumber(block.number),
            gas_used=Gas(block.gas_used),
            da_footprint=Gas(block.da_footprint),
            transaction_count=block.transaction_count,
            digest=extend_open_digest(digest, [transaction.hash for transaction in run.transactions]),
        ),
    )


def _effects(
    advanced: Advanced, runs: Mapping[RollupId, Run], open_blocks: Mapping[RollupId, OpenBlock | None]
) -> list[RollupEffect]:
    effects: list[RollupEffect] = []
    for rollup_id, block in open_blocks.items():
        run = runs.get(rollup_id)
        if run is None and rollup_id not in advanced.sealed:
            continue
        effects.append(
            RollupEffect(
                rollup_id=rollup_id,
                transactions=tuple(run.transactions) if run is not None else (),
                statuses=run.statuses if run is not None else b"",
                bundled_transactions=run.bundled if run is not None else 0,
                relays_transactions=len(run.transactions) - len(run.positions) - run.bundled if run is not None else 0,
                outcomes=run.outcomes if run is not None else None,
                positions=run.positions if run is not None else (),
                sealed=tuple(advanced.sealed.get(rollup_id, ())),
                opened=(block,) if block is not None else (),
            )
        )
    return effects
