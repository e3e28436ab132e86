"""The part of a sub-block that its position alone decides, and what a fully executed sub-block is. Shared by building
and checking.

Level 4, pure but for the native sessions it drives.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from plait.crypto.commitments import SubBlockCommitment
from plait.crypto.open_digest import OPEN_DIGEST_EMPTY, extend_open_digest
from plait.execution.candidate import AttributesSource, Candidate
from plait.execution.messages import InteropSets, interop_sets
from plait.interop.relays import Relay
from plait.ledger import governance
from plait.ledger.encoding import ledger_root
from plait.ledger.state import LedgerState, OpenBlockRecord, RollupRecord
from plait.ledger.transition import RollupProgress, SubBlockApplied, apply
from plait.native import OpenBlock, Outcomes, Rollup, SealedBlock, Transaction, merkle_root
from plait.protocol.actions import LedgerWork
from plait.protocol.bundles import BundlesRun
from plait.protocol.effects import RollupEffect, SubBlockDecided, Unwound
from plait.protocol.grid import Position, next_position, slot_start_ms
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
from plait.protocol.registry import Departure, Registry, blocks_opened, registry_at
from plait.protocol.unwinding import GoneBack, go_back
from plait.types import BlockNumber, Gas, Hash32, Height, L1Origin, Milliseconds, RollupId, Seconds


class Base(NamedTuple):
    """The committed state that everything of a height builds on."""

    ledger: LedgerState
    app_hash: Hash32


class Advanced(NamedTuple):
    """All rollups moved to the sub-block's slot, nothing of its items run yet."""

    ledger: LedgerState
    """The committed ledger with the registry of the slot: who joined is in it, who left is not."""
    departures: tuple[Departure, ...]
    position: Position
    candidate: Candidate
    sealed: dict[RollupId, list[SealedBlock]]
    """Per rollup that opened a block; empty where that was its first."""
    l1_origin: L1Origin
    closed: frozenset[RollupId]
    """Rollups that take no transactions in this sub-block: they wait for their L1, catch up with the grid alone, or are
    too far ahead of their origin."""
    unwound: tuple[Unwound, ...]
    stuck: frozenset[RollupId]
    """Rollups for which the agreement about the L1 does not wait."""


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
    base: Base,
    rollups: Mapping[RollupId, Rollup],
    source: AttributesSource,
    time_ms: Milliseconds,
    back: GoneBack | None = None,
) -> Advanced:
    """Moves a new candidate to the slot of this time: rollups join and leave, blocks whose time has passed are sealed,
    missed ones filled, the current one opened.

    Args:
        base: the state it builds on.
        rollups: those of the ledger and those that are going to join.
        source: attributes and L1 origins.
        time_ms: agreed time of the height.
        back: `go_back` of the same state, when it is there already.

    Raises:
        ProposalRefused: `time_before_previous`.
    """
    back = go_back(base.ledger, rollups) if back is None else back
    ledger = back.ledger
    parameters = ledger.parameters
    position = next_position(
        parameters,
        time_ms=time_ms,
        previous_slot=ledger.slot,
        previous_sub_index=ledger.sub_index,
        previous_time_ms=ledger.time_ms,
        blocks=((record.parameters, record.newest_number) for record in ledger.rollups if not record.epochs),
    )
    registry = registry_at(ledger, position.slot)
    opened = blocks_opened(ledger, registry, position.slot, time_ms, source)
    sessions = {
        record.rollup_id: back.sessions[record.rollup_id].fork()
        if record.rollup_id in back.sessions
        else rollups[record.rollup_id].session()
        for record in registry.records
    }
    candidate = Candidate(sessions)
    sealed = candidate.advance(opened.work)
    _seal_stuck(candidate, opened.stuck, sealed)
    departures = _depart(candidate, registry, sealed)
    staying = tuple(record for record in opened.records if record.rollup_id not in registry.leaving)
    if governance.is_paused(ledger.economy, position.slot):
        position = msgspec.structs.replace(position, carries_items=False)
    return Advanced(
        ledger if staying == ledger.rollups else msgspec.structs.replace(ledger, rollups=staying),
        departures,
        position,
        candidate,
        sealed,
        _l1_origin(ledger, position, source),
        opened.closed,
        back.unwound,
        opened.stuck,
    )


def heads_of(advanced: Advanced) -> dict[RollupId, BlockNumber]:
    """Numbers of the last sealed blocks of the rollups."""
    candidate = advanced.candidate
    return {
        rollup_id: BlockNumber(candidate.session(rollup_id).head_number) for rollup_id in advanced.ledger.rollup_ids
    }


def _l1_origin(ledger: LedgerState, position: Position, source: AttributesSource) -> L1Origin:
    if ledger.l1 is not None:
        head = ledger.l1.head
        return L1Origin(number=head.number, hash=head.hash)
    return source.l1_origin(Seconds(slot_start_ms(ledger.parameters, position.slot) // 1_000))


def _seal_stuck(candidate: Candidate, stuck: frozenset[RollupId], sealed: dict[RollupId, list[SealedBlock]]) -> None:
    """Seals the open blocks of rollups that do not go on: nothing comes into them any more, and once their origins are
    forgotten nobody who takes the state over could open them again."""
    for rollup_id in sorted(stuck):
        session = candidate.session(rollup_id)
        if session.open_block is not None:
            sealed.setdefault(rollup_id, []).append(session.seal())


def _depart(
    candidate: Candidate, registry: Registry, sealed: dict[RollupId, list[SealedBlock]]
) -> tuple[Departure, ...]:
    """Seals the last blocks of the rollups that leave."""
    departures = []
    bound = {record.rollup_id for record in registry.records if record.epochs}
    for rollup_id in registry.leaving:
        session = candidate.session(rollup_id)
        if session.open_block is not None:
            sealed.setdefault(rollup_id, []).append(session.seal())
        head = BlockNumber(session.head_number), Hash32(session.head_hash)
        departures.append(Departure(rollup_id, *head, may_lag=rollup_id in bound))
    return tuple(departures)


def complete(
    base: Base,
    advanced: Advanced,
    runs: Mapping[RollupId, Run],
    time_ms: Milliseconds,
    commitment: SubBlockCommitment,
    *,
    work: LedgerWork,
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
        work: on the economy, with the actions applied; used up.
        bundles: what took place of bundles; their transactions are in `runs`.
        messages: what it did with messages.
    """
    before = advanced.ledger
    done = work.end({rollup_id: len(run.transactions) for rollup_id, run in runs.items()})
    actions = list(done.entries)
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
            economy=done.economy,
            l1=done.l1,
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
        actions_root=Hash32(merkle_root(actions)),
        bundles_root=bundles.root,
    )
    header_bytes = encode_header(header)
    proposal = encode_proposal(
        header_bytes, [(rollup_id, run.items) for rollup_id, run in sorted(runs.items())], bundles.entries, actions
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
        actions=done.actions,
        ledger_effects=done.effects,
        unwound=advanced.unwound,
        validator_updates=done.validator_updates,
        agreed=work.agreed,
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
    left = [departure.rollup_id for departure in advanced.departures]
    for rollup_id in sorted((*open_blocks, *left)):
        block = open_blocks.get(rollup_id)
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
