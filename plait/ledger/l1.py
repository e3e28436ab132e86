"""What the network has agreed on about its L1, and how reports become agreement. Level 3, pure.

    l1       = [] | [terms, [config, ...], [facts, ...], [report, ...], [[rollup_id, to_number], ...],
                     [[rollup_id, floor], ...], due_slot, generation?]
    terms    = [chain_id, lag_blocks, hold_s, reporter]
    report   = [public_key, sequence, head, first, digests, safe, conflicts]          as in `plait.codec.l1_items`

Rules
    - Who reports: the validators of the height, each with its voting power; in a network without validators the one
      key that its terms name, with power 1.
    - Only the newest report of a key counts. "Agreed" means more than two thirds of all power say the same.
    - The next L1 block is agreed when its number is not above the weighted median of the reported heads minus the lag,
      and its digest is agreed. Its facts, which somebody then puts into a proposal, must have that digest and name the
      block before as their parent.
    - The set of rollups that derive from it may change: one is bound (`plait.ledger.joining`), or has left. Every change
      begins a generation. Blocks that are agreed from then on are of that generation, and say what L1 says to the new
      set; digests that were reported before count no more. Generation 0 is that of the network's genesis.
    - An agreed block is taken back when another digest is agreed for its number: it and all above leave the chain, and
      every rollup goes back to before the first slot that any of them opened with such an origin.
    - A conflict (a block that L1 derives with another hash than the network's) is agreed in the same way: every rollup
      goes back to before that block's slot, but none below what is agreed to be safe, the weighted median of what is
      reported.
    - A rollup that has to go back further than UNWIND_BLOCKS_MAX blocks is left where it is; its operators must bring
      it anew. The blocks are counted from the highest head that it had: nodes drop what they would need for more. So
      the ledger remembers a floor for a rollup that went back, until its head is that far above it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from plait.crypto.l1_reports import reporter_of
from plait.derivation.l1_facts import L1BlockFacts, l1_facts_digest
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.errors import ActionRefused
from plait.ledger.rotation import ProposerSet
from plait.limits import L1_BLOCKS_KEPT_MAX, L1_REORG_BLOCKS_MAX, UNWIND_BLOCKS_MAX
from plait.types import BlockNumber, ConsensusAddress, Hash32, RollupId, Slot
from plait.types.l1 import L1Report

NO_SLOT: Final = Slot(0)


class L1Terms(msgspec.Struct, frozen=True, kw_only=True):
    """On what a network relies its L1 data; fixed at genesis.

    Fields:
        chain_id: of the L1.
        lag_blocks: how far below the median of the reported heads agreement stays.
        hold_s: a rollup block older than this waits for the L1 blocks of its time (a network that comes back).
        reporter: Ed25519 key that reports where there are no validators; empty where there are.
    """

    chain_id: int
    lag_blocks: int
    hold_s: int
    reporter: bytes = b""


class UnwindOrder(msgspec.Struct, frozen=True):
    """A rollup has to go back to a block before the next sub-block."""

    rollup_id: RollupId
    to_number: BlockNumber


class Floor(msgspec.Struct, frozen=True):
    """The lowest block that a rollup which went back can go back to, while its head is lower than it was."""

    rollup_id: RollupId
    number: BlockNumber


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks of a rollup that share an L1 origin. The sequence number of block n is n - first_block."""

    first_block: BlockNumber
    origin: BlockId
    system: SystemConfig


class L1State(msgspec.Struct, frozen=True, kw_only=True):
    """What is agreed about the L1."""

    terms: L1Terms
    bindings: tuple[OpStackConfig, ...]
    """Of the rollups that derive from it, ascending by id."""
    blocks: tuple[L1BlockFacts, ...]
    """The agreed chain: consecutive, at least one; older ones that nothing needs any more are gone."""
    reports: tuple[L1Report, ...] = ()
    """The newest of each key, ascending by key."""
    orders: tuple[UnwindOrder, ...] = ()
    """Ascending by rollup; carried out when the next sub-block begins."""
    floors: tuple[Floor, ...] = ()
    """Ascending by rollup."""
    generation: int = 0
    """How often `bindings` changed."""
    due_slot: Slot = NO_SLOT
    """Slot in which the next block's digest became agreed while its facts are missing; 0: nothing is due."""

    @property
    def head(self) -> L1BlockFacts:
        """The newest agreed block."""
        return self.blocks[-1]

    def block(self, number: int) -> L1BlockFacts | None:
        """An agreed block; None when it is not agreed, or forgotten."""
        index = number - self.blocks[0].number
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def floor(self, rollup_id: RollupId, head_number: BlockNumber) -> BlockNumber:
        """The lowest block that every node can take a rollup with this head back to."""
        kept = next((one.number for one in self.floors if one.rollup_id == rollup_id), 0)
        return BlockNumber(max(kept, head_number - UNWIND_BLOCKS_MAX, 0))

    def binding(self, rollup_id: RollupId) -> OpStackConfig | None:
        """How a rollup derives; None for one that does not."""
        for config in self.bindings:
            if config.chain_id == rollup_id:
                return config
        return None


Powers = Mapping[ConsensusAddress, int]


def with_bindings(state: L1State, bindings: Iterable[OpStackConfig]) -> L1State:
    """The state with another set of rollups that derive from the L1; blocks that are agreed stay as they are."""
    return msgspec.structs.replace(
        state,
        bindings=tuple(sorted(bindings, key=lambda config: config.chain_id)),
        generation=state.generation + 1,
        reports=tuple(msgspec.structs.replace(report, digests=()) for report in state.reports),
        due_slot=NO_SLOT,
    )


def without_safe(state: L1State, rollup_id: RollupId) -> L1State:
    """The state with nothing said of how far a rollup is safe: what was said is of another anchor."""
    reports = tuple(
        msgspec.structs.replace(report, safe=tuple(one for one in report.safe if one.rollup_id != rollup_id))
        for report in state.reports
    )
    return msgspec.structs.replace(state, reports=reports)


def holds_anchor(state: L1State, rollup_id: RollupId, number: BlockNumber, powers: Powers) -> bool:
    """Whether more than two thirds of all power say that they have a chain up to a block (an entry of `safe`)."""
    weight = 0
    for report in state.reports:
        if any(one.rollup_id == rollup_id and one.number >= number for one in report.safe):
            weight += powers.get(reporter_of(report.public_key), 0)
    return 3 * weight > 2 * sum(powers.values())


def undo_blocks(state: L1State | None) -> int:
    """Blocks that every node of a network must be able to take back, whatever it started from; 0 without an L1."""
    return 0 if state is None else UNWIND_BLOCKS_MAX


def powers_of(state: L1State, validators: ProposerSet) -> dict[ConsensusAddress, int]:
    """Who may report, and what each report weighs."""
    if validators.addresses:
        return dict(zip(validators.addresses, validators.powers, strict=True))
    return {reporter_of(state.terms.reporter): 1} if state.terms.reporter else {}


def with_report(state: L1State, report: L1Report, powers: Powers) -> L1State:
    """The state with one more report, whose signature holds.

    Raises:
        ActionRefused: `l1_reporter_unknown`, `l1_report_old`, `l1_report_out_of_range`.
    """
    if reporter_of(report.public_key) not in powers:
        raise ActionRefused("the key of this L1 report belongs to no validator", code="l1_reporter_unknown")
    before = next((held for held in state.reports if held.public_key == report.public_key), None)
    if before is not None and report.sequence <= before.sequence:
        raise ActionRefused(
            f"the L1 report has sequence {report.sequence}; the newest of its key is {before.sequence}",
            code="l1_report_old",
            sequence=report.sequence,
        )
    low, high = state.blocks[0].number, state.head.number + 1
    if report.digests and not low < report.first <= high:
        raise ActionRefused(
            f"the L1 report begins with block {report.first}; it may begin with {low + 1} to {high}",
            code="l1_report_out_of_range",
            first=report.first,
        )
    kept = [held for held in state.reports if held is not before and reporter_of(held.public_key) in powers]
    reports = sorted((*kept, report), key=lambda held: held.public_key)
    return msgspec.structs.replace(state, reports=tuple(reports))


def agreed_digest(state: L1State, number: int, powers: Powers) -> Hash32 | None:
    """The digest of an L1 block that more than two thirds of the power report."""
    weights: dict[Hash32, int] = {}
    for report in state.reports:
        digest = report.digest_of(number)
        if digest is not None:
            weights[digest] = weights.get(digest, 0) + powers.get(reporter_of(report.public_key), 0)
    total = sum(powers.values())
    return next((digest for digest, weight in sorted(weights.items()) if 3 * weight > 2 * total), None)


def next_digest(state: L1State, powers: Powers) -> Hash32 | None:
    """Digest of the block after the agreed head, when it is agreed and deep enough."""
    number = state.head.number + 1
    heads = [(report.head, powers.get(reporter_of(report.public_key), 0)) for report in state.reports]
    if number > _median(heads, sum(powers.values())) - state.terms.lag_blocks:
        return None
    return agreed_digest(state, number, powers)


def with_facts(state: L1State, facts: L1BlockFacts, powers: Powers) -> L1State:
    """The state with the next agreed block.

    Raises:
        ActionRefused: `l1_facts_not_next`, `l1_facts_outdated`, `l1_facts_not_agreed`, `l1_facts_unlinked`.
    """
    head = state.head
    if facts.number != head.number + 1:
        raise ActionRefused(
            f"these are facts of L1 block {facts.number}; block {head.number + 1} is next", code="l1_facts_not_next"
        )
    if facts.generation != state.generation:
        raise ActionRefused(
            f"these facts of L1 block {facts.number} are of generation {facts.generation} of the network's rollups; "
            f"{state.generation} is in force",
            code="l1_facts_outdated",
        )
    if l1_facts_digest(facts) != next_digest(state, powers):
        raise ActionRefused(
            f"these facts of L1 block {facts.number} are not what the validators agreed on", code="l1_facts_not_agreed"
        )
    if facts.parent_hash != head.hash or facts.timestamp < head.timestamp:
        raise ActionRefused(
            f"L1 block {facts.number} does not follow the agreed block {head.number}", code="l1_facts_unlinked"
        )
    return msgspec.structs.replace(state, blocks=(*state.blocks, facts), due_slot=NO_SLOT)


def reorged_from(state: L1State, powers: Powers) -> BlockNumber | None:
    """The lowest agreed block for which another digest is agreed now; never the oldest one held."""
    said = [report.first for report in state.reports if report.digests]
    lowest = max(min(said), state.blocks[0].number + 1) if said else state.head.number + 1
    for facts in state.blocks:
        if facts.number < lowest:
            continue
        digest = agreed_digest(state, facts.number, powers)
        if digest is not None and digest != l1_facts_digest(facts):
            return facts.number
    return None


def cut(state: L1State, number: BlockNumber) -> L1State:
    """The agreed chain without a block and all above it."""
    kept = tuple(facts for facts in state.blocks if facts.number < number)
    return msgspec.structs.replace(state, blocks=kept, due_slot=NO_SLOT)


def agreed_conflicts(state: L1State, powers: Powers) -> dict[RollupId, BlockNumber]:
    """Blocks that L1 derives otherwise, as far as more than two thirds of the power say so."""
    weights: dict[tuple[RollupId, BlockNumber, Hash32], int] = {}
    for report in state.reports:
        for conflict in report.conflicts:
            key = (conflict.rollup_id, conflict.number, conflict.hash)
            weights[key] = weights.get(key, 0) + powers.get(reporter_of(report.public_key), 0)
    total = sum(powers.values())
    return {rollup_id: number for (rollup_id, number, _), weight in sorted(weights.items()) if 3 * weight > 2 * total}


def agreed_safe(state: L1State, rollup_id: RollupId, powers: Powers) -> BlockNumber:
    """How far a rollup is safe: the weighted median of what is reported; 0 where too few say."""
    said = []
    for report in state.reports:
        number = next((one.number for one in report.safe if one.rollup_id == rollup_id), 0)
        said.append((number, powers.get(reporter_of(report.public_key), 0)))
    return BlockNumber(max(0, _median(said, sum(powers.values()))))


def forget_old(state: L1State, oldest_origin: int) -> L1State:
    """The state without blocks that no rollup needs, not even after a reorg."""
    needed = max(oldest_origin, state.blocks[0].number) - L1_REORG_BLOCKS_MAX
    drop = max(0, min(needed - state.blocks[0].number, len(state.blocks) - 1))
    return state if drop == 0 else msgspec.structs.replace(state, blocks=state.blocks[drop:])


def is_full(state: L1State, oldest_origin: int) -> bool:
    """Whether agreement has to wait for the rollups: they use the L1 blocks more slowly than these come."""
    return state.head.number - oldest_origin >= L1_BLOCKS_KEPT_MAX - L1_REORG_BLOCKS_MAX


def _median(said: Sequence[tuple[int, int]], total: int) -> int:
    """The greatest value such that more than half of all power says at least that; -1 when there is none.

    Who says nothing counts as saying the least.
    """
    weight = 0
    for value, power in sorted(said, reverse=True):
        weight += power
        if 2 * weight > total:
            return value
    return -1
