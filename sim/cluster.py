"""A simulated network of whole nodes from a seed: agreement message by message, in bad weather, then in fair weather.

The first part of a run is chaos: messages are lost, late and repeated, islands form, nodes crash between events and in
the middle of storage operations, some have wrong clocks, and less than a third of the power lies. Then the network
heals, everybody starts again, only the liars stay; a few heights later the run ends. `Invariants` (sim.invariants) is
told about every verdict, commit and crash, and raises `Violation`.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import msgspec

from plait.execution.relaying import Relayer
from plait.ledger.genesis import first_validators
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import Accepted, PrepareRequest, Verdict
from plait.types import Gas, Milliseconds, OrderingPolicy, RollupId, Slot
from plait.types.consensus import comet_chain_id
from sim.acting import Acting
from sim.adversary import Adversary
from sim.agreement.blocks import Block, Decided, ProposalMessage, Vote
from sim.agreement.machine import Message, Timeouts
from sim.agreement.validators import ValidatorSet
from sim.bundling import BundleWorkload
from sim.byzantine import all_forgers
from sim.checkers import Violation
from sim.economy import economy_of, public_key
from sim.evidence import two_proposals
from sim.invariants import Invariants
from sim.member import Habits, Member
from sim.network import FAIR, Agenda, LossyNetwork, Weather
from sim.wallet import Wallet
from sim.workload import Workload
from sim.world import RELAYER, Plan, network_of

EVENTS_MAX = 60_000
"""Of a run; one that needs more does not get anywhere."""
HEIGHTS_AFTER_HEALING = 3
MEMORY_DIRECTORY = "/dev/shm"  # noqa: S108 - a directory of its own is made in it
"""Where Linux keeps files in memory: the simulated disks decide themselves what is lost."""
WAVE_MS = 250
"""How often users send."""
WAITING_MAX = 60
"""Transactions that wait before users send no more."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed decides before the first event."""

    plan: Plan
    powers: tuple[int, ...]
    """Of the validators at genesis: the first nodes; the others may join."""
    liars: frozenset[int]
    careful: bool
    """Whether liars keep from what costs them their place in the set: two votes in a round."""
    habits: tuple[Habits, ...]
    weather: Weather
    start_ms: int
    """How long after genesis the nodes start. Rollups have blocks from slot 1 on."""
    chaos_ms: int
    crashes: int
    """Orders to crash from outside."""
    breaking: tuple[int | None, ...]
    """Per node the storage operation at which it dies, counted from its first one; None for never."""
    killed: tuple[bool, ...]
    """Per node whether that crash is the process's alone; else power goes, and what was not synced."""
    islands: int
    """How often the network falls apart."""
    again: int = 40
    """How many crashes in a hundred are followed by one in the first operations after the start."""

    @classmethod
    def of(cls, random: Random, *, heights: int | None = None) -> "Scenario":
        """A scenario for a seeded source of randomness."""
        validators = random.choice((4, 4, 4, 4, 5, 7))
        nodes = validators + (random.randrange(3) == 0)
        powers = tuple(random.choice((1, 1, 1, 2, 3)) for _ in range(validators))
        calm = random.randrange(100) < 10
        rollups = random.choice((1, 2, 2))
        return cls(
            plan=Plan(
                nodes=nodes,
                block_times_slots=tuple(random.choice((1, 1, 2)) for _ in range(rollups)),
                policies=tuple(random.choice(list(OrderingPolicy)) for _ in range(rollups)),
                gas_limit=Gas(random.choice((5_000_000, 30_000_000))),
                users=random.choice((2, 4)),
                heights=heights if heights is not None else random.randrange(3, 13),
                interop=random.choice((True, False)),
            ),
            powers=powers,
            liars=_liars(random, powers),
            careful=random.randrange(3) > 0,
            habits=_habits(random, nodes),
            weather=FAIR
            if calm
            else Weather(
                lost=random.choice((0, 5, 15, 30)),
                repeated=random.choice((0, 10)),
                delay_ms_max=random.choice((40, 150, 400, 1_500)),
                late=random.choice((0, 5, 15)),
            ),
            start_ms=random.choice((5, 1_100, 1_900, 5_000, 60_000)),
            chaos_ms=random.randrange(3_000, 15_000),
            crashes=0 if calm else random.choice((0, 1, 2, 4)),
            breaking=tuple(random.randrange(60) if random.randrange(100) < 40 else None for _ in range(nodes)),
            killed=tuple(random.randrange(3) == 0 for _ in range(nodes)),
            islands=0 if calm else random.choice((0, 0, 1, 2)),
        )


def _liars(random: Random, powers: tuple[int, ...]) -> frozenset[int]:
    """Some that have less than a third of the power together; often none."""
    chosen: set[int] = set()
    if random.randrange(100) < 15:
        return frozenset()
    for index in random.sample(range(len(powers)), len(powers)):
        if 3 * sum(powers[i] for i in {*chosen, index}) < sum(powers):
            chosen.add(index)
    return frozenset(chosen)


def _habits(random: Random, nodes: int) -> tuple[Habits, ...]:
    """Settings that differ; clocks within 40 ms of each other, sometimes one is 5 s off."""
    wrong = random.randrange(nodes) if random.randrange(100) < 40 else None
    return tuple(
        Habits(
            recheck_own=random.randrange(4) == 0,
            skew_ms=random.choice((-5_000, 5_000)) if index == wrong else random.randrange(-20, 21),
            segment_bytes_max=random.choice((4_000, 20_000, 10**6)),
            bytes_max=random.choice((20_000, 2**20, 2**24)),
            with_senders=random.randrange(2) == 0,
            snapshot_heights=random.choice((2, 4, 1_000, 1_000)),
        )
        for index in range(nodes)
    )


class Cluster:
    """The nodes, users and network of one seed. A context manager: its disks are files.

    Args:
        seed: decides everything else.
        scenario: instead of the seed's own.
        heights: decided before the network heals at the latest.
        tell: given a line about everything of note.
    """

    def __init__(
        self,
        seed: int,
        *,
        scenario: Scenario | None = None,
        heights: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.scenario = scenario if scenario is not None else Scenario.of(self.random, heights=heights)
        plan = self.scenario.plan
        self.wallets = [Wallet.of_index(index) for index in range(plan.users)]
        economy = economy_of(self.scenario.powers, plan.nodes, self.wallets, liars=bool(self.scenario.liars))
        self.network = network_of(plan, [wallet.address for wallet in self.wallets], economy=economy)
        ids = self.network.ledger.rollup_ids
        interop = plan.interop and len(ids) > 1
        self.relayer: Relayer | None = RELAYER if interop else None
        self.workload = Workload(self.random, ids, self.wallets, int(plan.gas_limit), interop=interop)
        self.bundles = BundleWorkload(
            self.random, self.network.ledger, self.wallets, self.workload.nonce, self.workload.recipients
        )
        self.acting = Acting(
            self.random,
            self.network.ledger.parameters.network_id,
            self.wallets,
            validators=len(self.scenario.powers),
            nodes=plan.nodes,
            liars=self.scenario.liars,
        )
        self.timeouts = Timeouts()
        self.signed: set[Vote] = set()
        self.start_ms = self.network.ledger.time_ms + self.scenario.start_ms
        self.agenda = Agenda(Milliseconds(self.start_ms))
        self.links = LossyNetwork(self.agenda, self.random, self.scenario.weather)
        self.healed_at_ms: int | None = None
        self.operations_at_healing: list[int] = []
        """Per node what its disk had done when the last crash could happen."""
        in_memory = MEMORY_DIRECTORY if os.access(MEMORY_DIRECTORY, os.W_OK) else None
        self._directory = tempfile.TemporaryDirectory(prefix="plait-sim-", dir=in_memory)
        self.invariants = Invariants(self)
        self.members = self._members()
        self.adversaries = {
            index: Adversary(
                self.random,
                all_forgers(),
                self.invariants.expect,
                self.signed,
                [self.members[liar].address for liar in sorted(self.scenario.liars)],
                careful=self.scenario.careful,
                caught=self._accuse,
            )
            for index in self.scenario.liars
        }
        self._followed = 0
        self._tell = tell

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            if member.log is not None:
                member.log.close()
        self._directory.cleanup()

    def _members(self) -> list[Member]:
        first = ValidatorSet.genesis(first_validators(self.network.ledger.economy))
        members: list[Member] = []
        for index in range(self.scenario.plan.nodes):
            habits = self.scenario.habits[index]
            root = Path(self._directory.name) / str(index)
            root.mkdir()
            members.append(
                Member(
                    index,
                    public_key(index),
                    self,
                    self.network,
                    sets={1: first, 2: first.turned()},
                    root=root,
                    habits=habits,
                )
            )
        return members

    # ------------------------------------------------------------ the run
    def run(self) -> None:
        """Plays the whole scenario.

        Raises:
            Violation, InvariantBroken: something that must always hold did not.
        """
        self._plan_chaos()
        for member in self.members:
            member.start()
        self.agenda.after(0, self._wave)
        while not self._is_over():
            if self.agenda.done > EVENTS_MAX or not self.agenda.step():
                raise Violation(f"no progress: {self.standing()}")
            if self.healed_at_ms is None and self._is_time_to_heal():
                self._heal()
        self.invariants.at_end()

    @property
    def honest(self) -> list[Member]:
        """Members that do not lie."""
        return [member for member in self.members if member.index not in self.scenario.liars]

    @property
    def height(self) -> int:
        """Newest height that any member decided."""
        return max(member.height for member in self.members)

    def standing(self) -> str:
        """Where everybody stands, for a failure's message."""
        nodes = ", ".join(
            f"{member.index}{'' if member.is_up else ' down'}: height {member.height}"
            + (f" round {member.kept.machine.round}" if member.kept.machine is not None else "")
            for member in self.members
        )
        healed = "not healed" if self.healed_at_ms is None else f"{self.now_ms() - self.healed_at_ms} ms after healing"
        return f"{nodes}; {healed}; {self.agenda.done} events"

    def _is_time_to_heal(self) -> bool:
        since_ms = self.now_ms() - self.start_ms
        return self.height >= self.scenario.plan.heights or since_ms > self.scenario.chaos_ms

    def _is_over(self) -> bool:
        if self.healed_at_ms is None:
            return False
        target = self.invariants.healed_height + HEIGHTS_AFTER_HEALING
        return all(member.is_up and member.height >= target for member in self.members)

    def _plan_chaos(self) -> None:
        scenario, random = self.scenario, self.random
        for member, operation, killed in zip(self.members, scenario.breaking, scenario.killed, strict=True):
            member.disk.dies_at = operation
            member.disk.loses_power = not killed
        for _ in range(scenario.crashes):
            victim = random.choice(self.members)
            self.agenda.after(random.randrange(scenario.chaos_ms), lambda victim=victim: self._kill(victim))  # type: ignore[misc]
        for _ in range(scenario.islands):
            begins = random.randrange(scenario.chaos_ms)
            self.agenda.after(begins, self._part)
            self.agenda.after(begins + random.randrange(500, 4_000), self.links.heal)

    def _part(self) -> None:
        if self.healed_at_ms is None:
            indices = self.random.sample(range(len(self.members)), len(self.members))
            cut = self.random.randrange(1, len(indices))
            self.links.part([frozenset(indices[:cut]), frozenset(indices[cut:])])
            self._note(f"islands: {sorted(indices[:cut])} and {sorted(indices[cut:])}")

    def _kill(self, member: Member) -> None:
        if self.healed_at_ms is None and member.is_up:
            member.crash()

    def _note(self, text: str) -> None:
        self._tell(f"{(self.now_ms() - self.start_ms) / 1_000:8.3f} s  {text}")

    def _accuse(self, message: ProposalMessage, other: Block) -> None:
        """Somebody saw both blocks of a liar's round, and now and then tells the ledger."""
        if self.random.randrange(100) < 30:
            index = next(member.index for member in self.members if member.address == message.address)
            chain_id = comet_chain_id(self.network.ledger.parameters.network_id)
            blocks = (message.block.id, other.id)
            self.acting.accuse(index, two_proposals(index, chain_id, message.height, message.round, blocks))

    def _heal(self) -> None:
        self._note("the network heals")
        self.healed_at_ms = self.now_ms()
        self.operations_at_healing = [member.disk.operations for member in self.members]
        self.links.heal()
        self.links.weather = FAIR
        for member in self.members:
            member.disk.dies_at = None
        self.invariants.healed()

    def _wave(self) -> None:
        """Users send, and send again: to some nodes each, some twice."""
        self.agenda.after(WAVE_MS, self._wave)
        random, now_ms = self.random, Milliseconds(self.now_ms())
        waiting = self.workload.waiting()
        if sum(map(len, waiting.values())) < WAITING_MAX:
            self.workload.add(random.choice((0, 1, 3, 8)))
        self.bundles.add(random.choice((0, 0, 1, 2)), now_ms)
        self.acting.add(random.choice((0, 1, 2, 4)))
        for member in self.members:
            if not member.is_up or member.mempools is None:
                continue
            slot = slot_at(self.network.ledger.parameters, Milliseconds(member.clock_ms()))
            for rollup_id, transactions in waiting.items():
                some = [transaction for transaction in transactions if random.randrange(100) < 60]
                member.mempools.receive(RollupId(rollup_id), some, Milliseconds(member.clock_ms()))
            actions = [raw for raw in self.acting.waiting() if random.randrange(100) < 60]
            member.mempools.receive_actions(actions, Milliseconds(member.clock_ms()))
            for bundle in self.bundles.waiting():
                if random.randrange(100) < 60 and member.mempools.bundles.status(bundle.hash) is None:
                    member.mempools.receive_bundle(bundle, Milliseconds(member.clock_ms()), Slot(max(0, slot)))

    # ------------------------------------------------------------ surroundings of members
    def now_ms(self) -> int:
        """Virtual time."""
        return self.agenda.now_ms

    def after(self, member: Member, delay_ms: int, event: Callable[[], None]) -> None:
        """Lets something happen at a member unless it went down in between."""
        life = member.life

        def happen() -> None:
            if member.life == life and member.is_up:
                event()

        self.agenda.after(delay_ms, happen)

    def peers(self, member: Member) -> list[int]:
        """Everybody else."""
        return [other.index for other in self.members if other is not member]

    def broadcast(self, member: Member, message: Message) -> None:
        """To all others, or what a liar makes of it."""
        adversary = self.adversaries.get(member.index)
        peers = self.peers(member)
        told = [(peer, message) for peer in peers] if adversary is None else adversary.told(message, peers)
        for target, said in told:
            self.unicast(member, target, lambda peer, said=said: peer.receive(said))  # type: ignore[misc]

    def gossiped(self, member: Member, messages: list[Message]) -> list[Message]:
        """Liars keep their own words to whom they told them; what an honest node heard goes round."""
        if member.index not in self.adversaries:
            return messages
        return [message for message in messages if message.address != member.address]

    def unicast(self, member: Member, target: int, deliver: Callable[[Member], None]) -> None:
        """To one other, if the network will."""
        peer = self.members[target]

        def arrive() -> None:
            if peer.is_up:
                deliver(peer)

        self.links.send(member.index, target, arrive)

    def proposed(self, member: Member, block: Block, request: PrepareRequest) -> Block:
        """A member's block is ready."""
        adversary = self.adversaries.get(member.index)
        if adversary is not None:
            return adversary.proposed(member, block, request)
        self.invariants.expect(block, "honest", True)
        return block

    def judged(self, member: Member, block: Block, verdict: Verdict, before: object) -> None:
        """A verdict was given."""
        if not isinstance(verdict, Accepted):
            self._note(f"node {member.index} refuses height {block.height} 0x{block.id.hex()[:8]}: {verdict.code}")
        self.invariants.on_verdict(member, block, verdict, before)

    def committed(self, member: Member, decided: Decided, effect: SubBlockDecided) -> None:
        """A height was committed; the first time, users follow it."""
        if decided.block.height > self._followed:
            self._followed = decided.block.height
            self._note(
                f"height {self._followed} decided in round {decided.commit.round}: "
                f"block 0x{decided.block.id.hex()[:8]}, slot {effect.slot}.{effect.sub_index}, "
                f"{effect.transactions} transactions, {len(effect.bundles)} bundles, {len(effect.actions)} actions, "
                f"{len(decided.block.evidence)} caught, app 0x{effect.app_hash.hex()[:12]}"
            )
            self.workload.on_decided(effect, member.running)
            self.bundles.on_decided(effect)
            self.acting.on_decided(member.running.ledger.economy)
        self.invariants.on_commit(member, decided, effect)

    def restored(self, member: Member) -> None:
        """A start replayed the log."""
        self._note(f"node {member.index} starts at height {member.running.info().height}")
        self.invariants.on_restored(member)

    def crashed(self, member: Member) -> None:
        """A member is down; it comes back, and may soon crash again."""
        self._note(f"node {member.index} crashes at height {member.height}")
        self.invariants.on_crash(member)
        healing = self.healed_at_ms is not None
        life = member.life

        def back() -> None:
            if member.life != life:
                return
            if self.healed_at_ms is None and self.random.randrange(100) < self.scenario.again:
                member.disk.dies_at = member.disk.operations + self.random.randrange(8)
                member.disk.loses_power = self.random.randrange(3) > 0
            member.start()

        self.agenda.after(self.random.randrange(50, 300 if healing else 2_500), back)
