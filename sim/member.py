"""One simulated node: its place in the agreement, the real application, pools and log, and a disk that forgets.

Specification
    - Heights are decided by a `Machine`, or learned from a peer as decided blocks; then finalized (without `process`,
      where this node never judged the block), appended to the log, committed, in this order.
    - What CometBFT keeps is `kept` and survives every crash; the application, pools and log handle do not. A start
      opens the log and snapshots as the disk left them, restores the application, and finalizes what the block store
      has beyond.
    - A crash is a `PowerLost` out of any storage operation, or an order from outside between two events.
    - Its clock is the world's plus a constant skew.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import msgspec

from plait.engines.decision import record_of
from plait.execution.relaying import Relayer
from plait.native import Rollup, Store
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import FinalizeRequest, PrepareRequest, ProcessRequest, Verdict
from plait.storage import DecidedLog, Snapshots
from plait.types import Agreed, Hash32, Height, Milliseconds
from sim.agreement.blocks import Block, BlockId, Decided, Evidence, ProposalMessage, Vote, agreed_of, median_time
from sim.agreement.machine import Machine, Message, Phase, Timeouts
from sim.agreement.validators import ValidatorSet, address_of
from sim.checkers import Violation
from sim.disk import PowerLost, SimulatedDisk
from sim.mempools import Mempools
from sim.restoring import restored, save
from sim.world import Network

NETWORK = Hash32(b"simulated".ljust(32, b"\0"))
SYNCED_BLOCKS_MAX = 3
"""Decided blocks in one answer to a node that is behind."""
EVIDENCE_PER_BLOCK_MAX = 4
EVIDENCE_AGE_MAX_HEIGHTS = 30
GOSSIP_MS = 120


class Kept(msgspec.Struct, kw_only=True):
    """What CometBFT keeps on its own account: block store, state, evidence, and the write-ahead log's state of the
    height in progress."""

    sets: dict[int, ValidatorSet]
    times_ms: dict[int, int]
    blocks: list[Decided] = msgspec.field(default_factory=list)
    evidence: dict[tuple[bytes, int, int, int], Evidence] = msgspec.field(default_factory=dict)
    punished: set[tuple[bytes, int, int, int]] = msgspec.field(default_factory=set)
    machine: Machine | None = None
    before: Machine | None = None
    """Of the height before: late precommits still count for the next block's commit."""
    app_hashes: dict[int, Hash32] = msgspec.field(default_factory=dict)


class Surroundings(Protocol):
    """What a member needs of its world."""

    random: Random
    timeouts: Timeouts
    signed: set[Vote]
    relayer: Relayer | None

    def now_ms(self) -> int:
        """Virtual time."""
        ...

    def after(self, member: "Member", delay_ms: int, event: Callable[[], None]) -> None:
        """Lets something happen at this member unless it restarted in between."""
        ...

    def broadcast(self, member: "Member", message: Message) -> None:
        """To all others."""
        ...

    def unicast(self, member: "Member", target: int, deliver: Callable[["Member"], None]) -> None:
        """To one other."""
        ...

    def gossiped(self, member: "Member", messages: list[Message]) -> list[Message]:
        """What the member repeats of what it knows."""
        ...

    def peers(self, member: "Member") -> list[int]:
        """Indices of all others."""
        ...

    def proposed(self, member: "Member", block: Block, request: PrepareRequest) -> Block:
        """What the member really proposes instead of its honest block."""
        ...

    def judged(self, member: "Member", block: Block, verdict: Verdict, before: object) -> None:
        """A verdict was given; `before` is the fingerprint of the application when it was asked."""
        ...

    def committed(self, member: "Member", decided: Decided, effect: SubBlockDecided) -> None:
        """A height was committed."""
        ...

    def restored(self, member: "Member") -> None:
        """A start replayed the log."""
        ...

    def crashed(self, member: "Member") -> None:
        """The member is down."""
        ...


def fingerprint(application: Application) -> tuple[object, ...]:
    """What a question to the application must not change."""
    rollups = tuple(
        (rollup_id, rollup.head.hash, _open_of(rollup)) for rollup_id, rollup in application.rollups.items()
    )
    return (application.info(), application.statistics()["candidates"], *rollups)


def _open_of(rollup: Rollup) -> tuple[int, ...]:
    block = rollup.open_block
    return () if block is None else (block.number, block.transaction_count, block.gas_used)


class Habits(NamedTuple):
    """What a member's operator set."""

    recheck_own: bool
    skew_ms: int
    segment_bytes_max: int
    bytes_max: int
    with_senders: bool
    snapshot_heights: int
    """A snapshot follows every so many heights."""


class Member:
    """A node.

    Args:
        index: its place in the network.
        public_key: of its consensus key.
        world: where it lives.
        network: its genesis.
        sets: validators of heights 1 and 2.
        root: directory of its disk.
        habits: settings.
    """

    def __init__(
        self,
        index: int,
        public_key: bytes,
        world: Surroundings,
        network: Network,
        *,
        sets: dict[int, ValidatorSet],
        root: Path,
        habits: Habits,
    ) -> None:
        self.index = index
        self.address = address_of(public_key)
        self.world = world
        self.habits = habits
        self.kept = Kept(sets=dict(sets), times_ms={})
        self.disk = SimulatedDisk(root, world.random)
        self.application: Application | None = None
        self.mempools: Mempools | None = None
        self.log: DecidedLog | None = None
        self.life = 0
        """Counts starts: what was planned for an earlier life does not happen."""
        self.durable_height = 0
        """Of the newest record whose append returned."""
        self.snapshots: Snapshots | None = None
        self.snapshots_count = 0
        self._network = network
        self._store = Store.in_memory()
        self._verdicts: dict[BlockId, bool] = {}

    # ------------------------------------------------------------ life
    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.application is not None

    @property
    def running(self) -> Application:
        """Its application. Only while it is up."""
        assert self.application is not None
        return self.application

    @property
    def height(self) -> int:
        """Newest height in its block store."""
        return len(self.kept.blocks)

    def start(self) -> None:
        """Starts, for the first time or after a crash. May crash again."""
        self.life += 1
        try:
            self._restore()
        except PowerLost:
            self.crash()
            return
        self._enter()
        self.world.after(self, self.world.random.randrange(GOSSIP_MS), self._gossip)

    def crash(self) -> None:
        """Loses everything but what is kept and on the disk."""
        self.life += 1
        if self.log is not None:
            self.log.close()
        self.application = self.mempools = self.log = None
        self._verdicts = {}
        self.disk.crash()
        self.world.crashed(self)

    def _restore(self) -> None:
        log = DecidedLog(
            self.disk.root / "log", NETWORK, files=self.disk, segment_bytes_max=self.habits.segment_bytes_max
        )
        self.log = log
        if not self.durable_height <= log.height <= self.height:
            raise Violation(
                f"node {self.index}: the log holds {log.height} heights after a crash, {self.durable_height} had been "
                f"appended and {self.height} decided"
            )
        self.durable_height = log.height
        self.snapshots = Snapshots(self.disk.root / "snapshots", NETWORK, files=self.disk)
        application = restored(
            self._network,
            self._store,
            log,
            self.snapshots,
            recheck_own=self.habits.recheck_own,
            with_senders=self.habits.with_senders,
        )
        self.application = application
        self.mempools = Mempools(application)
        self.world.restored(self)
        for decided in self.kept.blocks[application.info().height :]:
            self._apply(decided)

    # ------------------------------------------------------------ heights
    def _enter(self) -> None:
        """Begins the next height, or goes on with it."""
        height = self.height + 1
        machine = self._machine()
        if machine.started:
            machine.start()
            return

        def begin() -> None:
            if self.kept.machine is machine:
                machine.start()

        self.world.after(self, self.world.timeouts.commit_ms if height > 1 else 0, begin)

    def _machine(self) -> Machine:
        height = self.height + 1
        machine = self.kept.machine
        if machine is None or machine.height != height:
            self.kept.before = machine
            machine = Machine(self, height, self.address, self.kept.sets[height], self.world.timeouts)
            self.kept.machine = machine
            self._verdicts = {}
        return machine

    def decide(self, decided: Decided) -> None:
        """The machine's, or a peer's, word that a height is decided."""
        self.kept.blocks.append(decided)
        self.kept.times_ms[decided.block.height] = decided.block.time_ms
        try:
            self._apply(decided)
        except PowerLost:
            self.crash()
            return
        self._enter()

    def _apply(self, decided: Decided) -> None:
        """Finalizes, logs, commits."""
        block, kept = decided.block, self.kept
        agreed = self.agreed(block)
        finalized = self.running.finalize(
            FinalizeRequest(
                height=Height(block.height),
                time_ms=Milliseconds(block.time_ms),
                proposal=block.proposal,
                agreed=agreed,
            )
        )
        effect = finalized.effect
        following = kept.sets[block.height + 1].changed(effect.validator_updates).turned()
        kept.sets.setdefault(block.height + 2, following)
        for evidence in block.evidence:
            kept.punished.add(evidence.key)
            kept.evidence.pop(evidence.key, None)
        if kept.app_hashes.setdefault(block.height, finalized.app_hash) != finalized.app_hash:
            raise Violation(f"node {self.index}: height {block.height} gives another app hash after a restart")
        assert self.log is not None
        assert self.mempools is not None
        self.log.append(record_of(effect))
        self.durable_height = block.height
        self.running.commit()
        self.mempools.on_decided(effect)
        self.world.committed(self, decided, effect)
        if block.height % self.habits.snapshot_heights == 0 and self.snapshots is not None:
            save(self.running, self.snapshots)
            self.snapshots_count += 1

    def agreed(self, block: Block) -> Agreed:
        """What the application is told about a block."""
        return agreed_of(block, self.kept.sets, self.kept.times_ms)

    # ------------------------------------------------------------ what a machine asks
    def propose(self, height: int, round_index: int) -> Block:
        """A block of this node's pools."""
        del round_index
        assert self.mempools is not None
        kept = self.kept
        last = kept.blocks[-1] if kept.blocks else None
        commit = None
        time_ms = int(self.running.ledger.parameters.genesis_time_s) * 1_000
        if last is not None:
            before = kept.before
            commit = before.precommits_for(last) if before is not None and before.height == height - 1 else last.commit
            time_ms = median_time(commit, kept.sets[height - 1])
        block = Block(
            height=height,
            time_ms=time_ms,
            proposer=self.address,
            previous=b"" if last is None else last.block.id,
            last_commit=commit,
            evidence=tuple(kept.evidence[key] for key in sorted(kept.evidence) if self.is_evidence(kept.evidence[key]))[
                :EVIDENCE_PER_BLOCK_MAX
            ],
            proposal=b"",
        )
        slot = slot_at(self.running.ledger.parameters, Milliseconds(time_ms))
        request = PrepareRequest(
            height=Height(height),
            time_ms=Milliseconds(time_ms),
            candidates=self.mempools.candidates(),
            bundles=self.mempools.bundle_candidates(slot),
            relays=self.mempools.messages.offer(slot),
            actions=self.mempools.actions.candidates(),
            relayer=self.world.relayer,
            agreed=self.agreed(block),
            bytes_max=self.habits.bytes_max,
        )
        prepared = self.running.prepare(request)
        if len(prepared.proposal) > request.bytes_max:
            raise Violation(f"a proposal of {len(prepared.proposal)} bytes, {request.bytes_max} are allowed")
        self.mempools.on_prepared(prepared, slot, Milliseconds(self.clock_ms()))
        honest = msgspec.structs.replace(block, proposal=prepared.proposal)
        return self.world.proposed(self, honest, request)

    def judge(self, block: Block) -> bool:
        """CometBFT's rules of a block, then the application's."""
        known = self._verdicts.get(block.id)
        if known is not None:
            return known
        accepted = False
        if self._well_formed(block):
            before = fingerprint(self.running)
            verdict = self.running.process(
                ProcessRequest(
                    height=Height(block.height),
                    time_ms=Milliseconds(block.time_ms),
                    proposal=block.proposal,
                    agreed=self.agreed(block),
                )
            )
            self.world.judged(self, block, verdict, before)
            accepted = not hasattr(verdict, "code")
        self._verdicts[block.id] = accepted
        return accepted

    def _well_formed(self, block: Block) -> bool:
        kept, height = self.kept, block.height
        last = kept.blocks[-1] if kept.blocks else None
        if not kept.sets[height].power(block.proposer):
            return False
        if last is None:
            genesis_ms = int(self.running.ledger.parameters.genesis_time_s) * 1_000
            return block.last_commit is None and block.time_ms == genesis_ms and not block.evidence
        commit = block.last_commit
        if commit is None or block.previous != last.block.id or not self._is_commit_of(commit, last.block):
            return False
        if block.time_ms != median_time(commit, kept.sets[height - 1]):
            return False
        keys = {evidence.key for evidence in block.evidence}
        return (
            len(keys) == len(block.evidence) <= EVIDENCE_PER_BLOCK_MAX
            and not keys & kept.punished
            and all(self.is_evidence(evidence) for evidence in block.evidence)
        )

    def _is_commit_of(self, commit: object, block: Block) -> bool:
        validators = self.kept.sets[block.height]
        votes = getattr(commit, "votes", ())
        of_block = [vote for vote in votes if vote.block_id == block.id]
        return (
            len({vote.address for vote in votes}) == len(votes)
            and all(
                vote in self.world.signed
                and validators.power(vote.address) > 0
                and (vote.height, vote.round, int(vote.kind)) == (block.height, getattr(commit, "round", -1), 2)
                and vote.block_id in {None, block.id}
                for vote in votes
            )
            and validators.is_quorum(sum(validators.power(vote.address) for vote in of_block))
        )

    def is_evidence(self, evidence: Evidence) -> bool:
        """Whether two signed votes contradict each other, not too long ago, by one who was a validator."""
        first, second = evidence
        same = first[:4] == second[:4] and first.block_id != second.block_id
        recent = self.height - EVIDENCE_AGE_MAX_HEIGHTS < first.height <= self.height
        known = recent and self.kept.sets[first.height].power(first.address) > 0
        return same and known and first in self.world.signed and second in self.world.signed

    def clock_ms(self) -> int:
        """What this node believes the time to be."""
        return self.world.now_ms() + self.habits.skew_ms

    def vote_time_ms(self, at_least_ms: int) -> int:
        """The time of a vote."""
        return max(self.clock_ms(), at_least_ms)

    def send(self, message: Message) -> None:
        """Signs and sends."""
        if isinstance(message, Vote):
            self.world.signed.add(message)
        self.world.broadcast(self, message)

    def set_timeout(self, height: int, round_index: int, phase: Phase) -> None:
        """A timer."""

        def expire() -> None:
            machine = self.kept.machine
            if machine is not None and machine.height == height:
                machine.on_timeout(round_index, phase)

        self.world.after(self, self.world.timeouts.of(phase, round_index), expire)

    def witness(self, evidence: Evidence) -> None:
        """Keeps evidence for the next block that this node proposes."""
        if evidence.key not in self.kept.punished:
            self.kept.evidence.setdefault(evidence.key, evidence)

    # ------------------------------------------------------------ messages
    def receive(self, message: Message) -> None:
        """From a peer, at any time."""
        machine = self.kept.machine
        before = self.kept.before
        if isinstance(message, Vote) and message not in self.world.signed:
            return
        if machine is not None and message.height == machine.height:
            if isinstance(message, ProposalMessage):
                machine.on_proposal(message)
            else:
                machine.on_vote(message)
        elif before is not None and message.height == before.height and isinstance(message, Vote):
            before.on_vote(message)

    def receive_status(self, source: int, height: int, round_index: int, messages: list[Message]) -> None:
        """A peer says where it stands and what it knows of its height."""
        for message in messages:
            if not self.is_up:
                return
            self.receive(message)
        if not self.is_up or height > self.height:
            return
        before = self.kept.before
        if before is not None and before.height == height and self.world.random.randrange(2):
            helpful = self.world.gossiped(self, before.known(round_index))
            self.world.unicast(self, source, lambda peer: peer.receive_all(helpful))
            return
        blocks = self.kept.blocks[height - 1 : height - 1 + SYNCED_BLOCKS_MAX]
        self.world.unicast(self, source, lambda peer: peer.receive_blocks(blocks))

    def receive_all(self, messages: list[Message]) -> None:
        """Several messages at once."""
        for message in messages:
            if self.is_up:
                self.receive(message)

    def receive_blocks(self, blocks: list[Decided]) -> None:
        """Decided blocks from a peer: applied without `process` when their commits hold."""
        for decided in blocks:
            if not self.is_up or decided.block.height != self.height + 1:
                continue
            if decided.commit.block_id == decided.block.id and self._is_commit_of(decided.commit, decided.block):
                self._machine().decided = decided
                self.decide(decided)

    def _gossip(self) -> None:
        machine = self._machine()
        messages = self.world.gossiped(self, machine.known(max(0, machine.round - 1))) if machine.started else []
        height, round_index = machine.height, machine.round
        for target in self.world.peers(self):
            self.world.unicast(
                self, target, lambda peer: peer.receive_status(self.index, height, round_index, messages)
            )
        self.world.after(self, GOSSIP_MS, self._gossip)
