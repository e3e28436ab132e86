"""What the network has agreed on about its L1, and how reports become agreement. Level 3, pure.

    terms      what is fixed at genesis
    bindings   rollups that derive from the L1
    blocks     the agreed chain: facts of consecutive L1 blocks
    reports    the newest of each validator's key
    orders     rollups that go back when the next sub-block begins            canonical bytes: plait.ledger.l1_encoding

Rules
    - Who reports: the validators of the height, each with its voting power; in a network without validators the one
      key that its terms name, with power 1.
    - Only the newest report of a key counts, also of a validator that left and came back. What it says of rollups that
      are not bound is not kept. "Agreed" means more than two thirds of all power say the same.
    - The next L1 block is agreed when its number is not above the weighted median of the reported heads minus the lag,
      and its digest is agreed. Its facts, which somebody then puts into a proposal, must have that digest and name the
      block before as their parent. Facts with that digest which name another parent, or an earlier time, make the
      digest unusable: nothing is due until the L1 says otherwise.
    - The set of rollups that derive from it may change: one is bound (`plait.ledger.joining`), or has left. Every
      change begins a generation. Blocks that are agreed from then on are of that generation, and say what L1 says to
      the new set; digests that were reported before count no more. Generation 0 is that of the network's genesis.
      Changes are L1_BINDINGS_PAUSE_SLOTS apart; a rollup that left stays in the set so long.
    - What one rollup is told in all agreed blocks together has at most L1_ROLLUP_KEPT_BYTES_MAX bytes; beyond it the
      rollup is kept as oversized in the block, and the block's digest beside it. Only that rollup stops.
    - An agreed block is taken back when another digest is agreed for its number: it and all above leave the chain, and
      every rollup goes back to before the first slot that any of them opened with such an origin.
    - A conflict (a block that L1 derives with another hash than the network's) is agreed in the same way: every rollup
      goes back to before that block's slot, but none below what is agreed to be safe, the weighted median of what is
      reported. After it the same rollup's next conflict waits (`plait.ledger.l1_pauses`).
    - A rollup that has to go back further than UNWIND_BLOCKS_MAX blocks is left where it is; its operators must bring
      it anew. The blocks are counted from the highest head that it had: nodes drop what they would need for more. So
      the ledger remembers a floor for a rollup that went back, until its head is that far above it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final
from weakref import WeakKeyDictionary

import msgspec

from plait.crypto.l1_reports import reporter_of
from plait.derivation.l1_facts import L1BlockFacts, RollupL1Facts, l1_facts_digest
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.errors import ActionRefused
from plait.ledger.rotation import ProposerSet
from plait.limits import (
    L1_BINDINGS_PAUSE_SLOTS,
    L1_BLOCKS_KEPT_MAX,
    L1_REORG_BLOCKS_MAX,
    L1_REPORTERS_LEFT_MAX,
    L1_ROLLUP_KEPT_BYTES_MAX,
    UNWIND_BLOCKS_MAX,
    VALIDATORS_MAX,
)
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
        block_time_s: of the L1, in the mean. A rollup with longer blocks falls behind: an origin lasts one at least.
        vault: address of the StakeVault whose deposits the ledger credits; empty for none.
    """

    chain_id: int
    lag_blocks: int
    hold_s: int
    reporter: bytes = b""
    block_time_s: int = 12
    vault: bytes = b""


class VaultRecord(msgspec.Struct, frozen=True):
    """What of the vault's deposits the ledger has credited (`plait.ledger.l1_vault`)."""

    next_nonce: int = 0
    """Deposits below it were credited, or lie before what is agreed."""
    credited: int = 0
    """Base units of all that were credited."""


class UnwindOrder(msgspec.Struct, frozen=True):
    """A rollup has to go back to a block before the next sub-block."""

    rollup_id: RollupId
    to_number: BlockNumber


class Floor(msgspec.Struct, frozen=True):
    """The lowest block that a rollup which went back can go back to, while its head is lower than it was."""

    rollup_id: RollupId
    number: BlockNumber


class Left(msgspec.Struct, frozen=True):
    """The newest report of a validator that left: no older one of its key counts when it comes back."""

    public_key: bytes
    sequence: int


class Pause(msgspec.Struct, frozen=True):
    """How long a rollup's conflicts take nobody back after one did (`plait.ledger.l1_pauses`)."""

    rollup_id: RollupId
    count: int
    """Conflicts carried out since the last quiet time, 1 at least."""
    until_slot: Slot
    """The first slot in which the next one may be carried out."""
    waiting: bool = False
    """Whether one is agreed and waits; the rollup takes no items meanwhile, as they would be lost."""


class Dropped(msgspec.Struct, frozen=True):
    """The agreed digest of a block that is kept without what it says to a rollup."""

    number: BlockNumber
    digest: Hash32


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
    due_slot: Slot = NO_SLOT
    """Slot in which the next block's digest became agreed while its facts are missing; 0: nothing is due."""
    left: tuple[Left, ...] = ()
    """Ascending by key; at most L1_REPORTERS_LEFT_MAX."""
    pauses: tuple[Pause, ...] = ()
    """Ascending by rollup."""
    dropped: tuple[Dropped, ...] = ()
    """Ascending by number; of blocks that are held."""
    unusable: bytes = b""
    """Digest that is agreed for the next block and whose facts do not follow the head; empty for none."""
    generation: int = 0
    """How often `bindings` changed."""
    changed_slot: Slot = NO_SLOT
    """Slot of the last change; 0 before any."""
    vault: VaultRecord = VaultRecord()
    """Only where the terms name a vault."""

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

    def pause(self, rollup_id: RollupId) -> Pause | None:
        """A rollup's pause between conflicts; None for one without."""
        return next((one for one in self.pauses if one.rollup_id == rollup_id), None)

    def digest(self, facts: L1BlockFacts) -> Hash32:
        """The digest on which validators agreed for a block of the agreed chain."""
        for one in self.dropped:
            if one.number == facts.number:
                return one.digest
        return digest_of(facts)

    def binding(self, rollup_id: RollupId) -> OpStackConfig | None:
        """How a rollup derives; None for one that does not."""
        for config in self.bindings:
            if config.chain_id == rollup_id:
                return config
        return None


Powers = Mapping[ConsensusAddress, int]

_digests: WeakKeyDictionary[L1BlockFacts, Hash32] = WeakKeyDictionary()


def digest_of(facts: L1BlockFacts) -> Hash32:
    """`l1_facts_digest`, once for facts that somebody holds: they can be megabytes and are looked at every height."""
    found = _digests.get(facts)
    if found is None:
        found = _digests[facts] = l1_facts_digest(facts)
    return found


def may_change(state: L1State, slot: Slot) -> bool:
    """Whether the set of rollups that derive from the L1 may change again."""
    return state.generation == 0 or slot >= state.changed_slot + L1_BINDINGS_PAUSE_SLOTS


def with_bindings(state: L1State, bindings: Iterable[OpStackConfig], slot: Slot) -> L1State:
    """The state with another set of rollups that derive from the L1; blocks that are agreed stay as they are."""
    return msgspec.structs.replace(
        state,
        bindings=tuple(sorted(bindings, key=lambda config: config.chain_id)),
        generation=state.generation + 1,
        changed_slot=slot,
        reports=tuple(msgspec.structs.replace(report, digests=()) for report in state.reports),
        due_slot=NO_SLOT,
        unusable=b"",
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
    if _address(report.public_key) not in powers:
        raise ActionRefused("the key of this L1 report belongs to no validator", code="l1_reporter_unknown")
    newest = sequence_of(state, report.public_key)
    if report.sequence <= newest:
        raise ActionRefused(
            f"the L1 report has sequence {report.sequence}; the newest of its key is {newest}",
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
    bound = {config.chain_id for config in state.bindings}
    report = msgspec.structs.replace(
        report,
        safe=tuple(one for one in report.safe if one.rollup_id in bound),
        conflicts=tuple(one for one in report.conflicts if one.rollup_id in bound),
    )
    others = [held for held in state.reports if held.public_key != report.public_key]
    kept = [held for held in others if _address(held.public_key) in powers]
    gone = [Left(held.public_key, held.sequence) for held in others if _address(held.public_key) not in powers]
    left = [one for one in state.left if one.public_key != report.public_key]
    newest_left = sorted((*left, *gone), key=lambda one: (-one.sequence, one.public_key))[:L1_REPORTERS_LEFT_MAX]
    return msgspec.structs.replace(
        state,
        reports=tuple(sorted((*kept, report), key=lambda held: held.public_key)),
        left=tuple(sorted(newest_left, key=lambda one: one.public_key)),
    )


def sequence_of(state: L1State, public_key: bytes) -> int:
    """Sequence of the newest report of a key, also of one whose validator left; -1 for none."""
    held: tuple[L1Report | Left, ...] = (*state.reports, *state.left)
    return max((one.sequence for one in held if one.public_key == public_key), default=-1)


def agreed_digest(state: L1State, number: int, powers: Powers) -> Hash32 | None:
    """The digest of an L1 block that more than two thirds of the power report."""
    weights: dict[Hash32, int] = {}
    for report in state.reports:
        digest = report.digest_of(number)
        if digest is not None:
            weights[digest] = weights.get(digest, 0) + powers.get(_address(report.public_key), 0)
    total = sum(powers.values())
    return next((digest for digest, weight in sorted(weights.items()) if 3 * weight > 2 * total), None)


def next_digest(state: L1State, powers: Powers) -> Hash32 | None:
    """Digest of the block after the agreed head, when it is agreed, deep enough and not known to be unusable."""
    number = state.head.number + 1
    heads = [(report.head, powers.get(_address(report.public_key), 0)) for report in state.reports]
    if number > _median(heads, sum(powers.values())) - state.terms.lag_blocks:
        return None
    digest = agreed_digest(state, number, powers)
    return None if digest == state.unusable else digest


def with_facts(state: L1State, facts: L1BlockFacts, powers: Powers) -> L1State:
    """The state with the next agreed block; without it, and its digest as unusable, where it does not follow the head.

    Raises:
        ActionRefused: `l1_facts_not_next`, `l1_facts_outdated`, `l1_facts_not_agreed`.
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
    digest = digest_of(facts)
    if digest != next_digest(state, powers):
        raise ActionRefused(
            f"these facts of L1 block {facts.number} are not what the validators agreed on", code="l1_facts_not_agreed"
        )
    if facts.parent_hash != head.hash or facts.timestamp < head.timestamp:
        return msgspec.structs.replace(state, unusable=digest, due_slot=NO_SLOT)
    kept = _within_share(state, facts)
    dropped = state.dropped if kept is facts else (*state.dropped, Dropped(facts.number, digest))
    return msgspec.structs.replace(state, blocks=(*state.blocks, kept), dropped=dropped, due_slot=NO_SLOT, unusable=b"")


def _within_share(state: L1State, facts: L1BlockFacts) -> L1BlockFacts:
    """Facts without what a rollup is told beyond its share of the bytes that the ledger keeps."""
    rollups = []
    for one in facts.rollups:
        size = one.size
        held = 0 if size == 0 else sum(block.of(one.rollup_id).size for block in state.blocks)
        over = size > 0 and held + size > L1_ROLLUP_KEPT_BYTES_MAX
        rollups.append(RollupL1Facts(rollup_id=one.rollup_id, oversized=True) if over else one)
    return facts if tuple(rollups) == facts.rollups else msgspec.structs.replace(facts, rollups=tuple(rollups))


def reorged_from(state: L1State, powers: Powers) -> BlockNumber | None:
    """The lowest agreed block for which another digest is agreed now; never the oldest one held."""
    said = [report.first for report in state.reports if report.digests]
    lowest = max(min(said), state.blocks[0].number + 1) if said else state.head.number + 1
    for facts in state.blocks:
        if facts.number < lowest:
            continue
        digest = agreed_digest(state, facts.number, powers)
        if digest is not None and digest != state.digest(facts):
            return facts.number
    return None


def cut(state: L1State, number: BlockNumber) -> L1State:
    """The agreed chain without a block and all above it."""
    kept = tuple(facts for facts in state.blocks if facts.number < number)
    dropped = tuple(one for one in state.dropped if one.number < number)
    return msgspec.structs.replace(state, blocks=kept, dropped=dropped, due_slot=NO_SLOT, unusable=b"")


def without_conflicts(state: L1State) -> L1State:
    """The state without the conflicts that were reported: once rollups go back they speak of blocks that are gone."""
    reports = tuple(msgspec.structs.replace(report, conflicts=()) for report in state.reports)
    return msgspec.structs.replace(state, reports=reports)


def agreed_conflicts(state: L1State, powers: Powers) -> dict[RollupId, BlockNumber]:
    """Blocks that L1 derives otherwise, as far as more than two thirds of the power say so."""
    weights: dict[tuple[RollupId, BlockNumber, Hash32], int] = {}
    for report in state.reports:
        for conflict in report.conflicts:
            key = (conflict.rollup_id, conflict.number, conflict.hash)
            weights[key] = weights.get(key, 0) + powers.get(_address(report.public_key), 0)
    total = sum(powers.values())
    return {rollup_id: number for (rollup_id, number, _), weight in sorted(weights.items()) if 3 * weight > 2 * total}


def agreed_safe(state: L1State, rollup_id: RollupId, powers: Powers) -> BlockNumber:
    """How far a rollup is safe: the weighted median of what is reported; 0 where too few say."""
    said = []
    for report in state.reports:
        number = next((one.number for one in report.safe if one.rollup_id == rollup_id), 0)
        said.append((number, powers.get(_address(report.public_key), 0)))
    return BlockNumber(max(0, _median(said, sum(powers.values()))))


def forget_old(state: L1State, oldest_origin: int) -> L1State:
    """The state without blocks that no rollup needs, not even after a reorg."""
    needed = max(oldest_origin, state.blocks[0].number) - L1_REORG_BLOCKS_MAX
    drop = max(0, min(needed - state.blocks[0].number, len(state.blocks) - 1))
    if drop == 0:
        return state
    blocks = state.blocks[drop:]
    dropped = tuple(one for one in state.dropped if one.number >= blocks[0].number)
    return msgspec.structs.replace(state, blocks=blocks, dropped=dropped)


def is_full(state: L1State, oldest_origin: int) -> bool:
    """Whether agreement has to wait for the rollups: they use the L1 blocks more slowly than these come."""
    return state.head.number - oldest_origin >= L1_BLOCKS_KEPT_MAX - L1_REORG_BLOCKS_MAX


@lru_cache(maxsize=4 * VALIDATORS_MAX)
def _address(public_key: bytes) -> ConsensusAddress:
    return reporter_of(public_key)


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
