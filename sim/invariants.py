"""What must always hold in a cluster, asked after every verdict, commit and crash, and at the end of a run.

They look from outside and share no code with what they check; questions about one node's content are those of
`sim.checkers`.

 1. No two nodes decide different blocks at a height, or have different app hashes or validators there.
 2. An honest proposal is accepted by every node that judges it; a forged one by none; equal questions get equal
    answers. A forged one is never decided.
 3. A refused proposal leaves no trace, and is refused with a code and a sentence.
 4. What a log's `append` returned for is there after any crash (asked by `Member`), and replay gives the same app hash.
 5. Per node: bundles all or nothing, value conserved, every decided transaction in its block once and nothing else.
 6. Tokens are conserved to the last unit and nothing is below zero; the ledger's rotation is the engine's; whoever is
    caught voting twice is out of the set two heights later; the liars' power never reaches a third.
 7. Times rise strictly, and are never beyond an honest clock; nor beyond those that are right, as long as wrong clocks
    and liars have less than a third of the power.
 8. After healing every height is decided within ROUNDS_PER_NODE_MAX rounds per node, and everybody gets there
    (`Cluster.run` bounds the events of a run).
"""

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING

from plait.node.restore import replay
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import Accepted, Verdict
from plait.storage import DecidedLog
from plait.types import Hash32
from sim.agreement.blocks import Block, BlockId, Decided
from sim.agreement.validators import ValidatorSet
from sim.bundling import BundleWorkload
from sim.checkers import AllOrNothing, NothingLost, ValueConserved, Violation
from sim.economy import negative_places, same_set, tokens_held, tokens_made
from sim.member import Member, fingerprint
from sim.wallet import Wallet
from sim.workload import Workload
from sim.world import Network

if TYPE_CHECKING:
    from sim.cluster import Cluster

ROUNDS_PER_NODE_MAX = 2
"""A height after healing takes at most this many rounds per node beyond the highest round that anybody was in."""
WRONG_CLOCK_MS = 1_000
"""A clock that is off by this or more is wrong."""
NONCES_MAX = 80
"""Of contracts that a user creates in a run."""


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise Violation(sentence)


class _NodeView:
    """One node, as the checkers of a world look at it."""

    def __init__(self, cluster: "Cluster", member: Member) -> None:
        self.network: Network = cluster.network
        self.workload: Workload = cluster.workload
        self.bundles: BundleWorkload = cluster.bundles
        self.wallets: list[Wallet] = cluster.wallets
        self._member = member

    @property
    def live(self) -> list[tuple[int, Application]]:
        """The node."""
        return [(self._member.index, self._member.running)]


class _NodeChecks:
    """The questions about one node's content, height by height."""

    def __init__(self, cluster: "Cluster", member: Member) -> None:
        self.height = 0
        self._view = _NodeView(cluster, member)
        self._value = ValueConserved(self._view, nonces=NONCES_MAX)
        self._lost = NothingLost()
        self._bundles = AllOrNothing()

    def after(self, decided: Decided) -> None:
        """Asks after a commit. A height that a restarted node commits again was asked about already."""
        if decided.block.height <= self.height:
            return
        _require(decided.block.height == self.height + 1, f"height {self.height + 1} was left out")
        self.height = decided.block.height
        step = SimpleNamespace(decided=decided.block)
        self._value.after(self._view, step)
        self._bundles.after(self._view, step)
        self._lost.after(self._view, step)

    def at_end(self) -> None:
        """The dearer questions."""
        self._value.at_end(self._view)
        self._bundles.at_end(self._view)
        self._lost.at_end(self._view)


class Invariants:
    """The questions, and what must be remembered to ask them."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._blocks: dict[int, tuple[BlockId, Hash32, tuple[object, ...]]] = {}
        self._times_ms: dict[int, int] = {}
        self._expected: dict[BlockId, tuple[str, bool]] = {}
        self._answers: dict[BlockId, str] = {}
        self._checks: dict[int, _NodeChecks] = {}
        self.healed_height = 0
        self._healed_round = 0
        self.verdicts: Counter[str] = Counter()
        self.crashes = 0
        self.rounds: Counter[int] = Counter()
        self.transactions = 0
        self.bundles = 0
        self.misbehavior = 0
        self.actions: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.last_app_hash = Hash32(b"")

    # ------------------------------------------------------------ questions
    def expect(self, block: Block, name: str, valid: bool) -> None:
        """A proposer made a block, and says what it is."""
        self._expected[block.id] = (name, valid)

    def on_verdict(self, member: Member, block: Block, verdict: Verdict, before: object) -> None:
        """2 and 3."""
        name, valid = self._expected[block.id]
        code = "accepted" if isinstance(verdict, Accepted) else verdict.code
        self.verdicts[code] += 1
        where = f"node {member.index}, height {block.height}: {name!r} was {code}"
        _require((code == "accepted") == valid, f"{where} {getattr(verdict, 'sentence', '')}")
        _require(self._answers.setdefault(block.id, code) == code, f"{where}, elsewhere {self._answers[block.id]}")
        if not isinstance(verdict, Accepted):
            _require(bool(code) and len(verdict.sentence) > 10, f"{where} without a reason")
            _require(fingerprint(member.running) == before, f"{where} and left a trace")

    def on_commit(self, member: Member, decided: Decided, effect: SubBlockDecided) -> None:
        """1, 2, 5, 6, 7 and 8."""
        block = decided.block
        name, valid = self._expected[block.id]
        _require(valid, f"node {member.index} decided {name!r} at height {block.height}")
        self._agree(member, block, effect.app_hash)
        info = member.running.info()
        _require((info.height, info.app_hash) == (block.height, effect.app_hash), f"node {member.index}: {info}")
        if block.height not in self._times_ms:
            self._first_time(member, decided, effect)
        self._checks_of(member).after(decided)
        self._ledger(member, block)

    def _ledger(self, member: Member, block: Block) -> None:
        """6."""
        economy = member.running.ledger.economy
        where = f"node {member.index}, height {block.height}"
        made, held = tokens_made(economy), tokens_held(economy)
        _require(made == held, f"{where}: {held} base units are held, {made} were made")
        below = negative_places(economy)
        _require(not below, f"{where}: below zero: {below}")
        sets, rotation = member.kept.sets, economy.rotation
        for height, own in ((block.height + 1, rotation.current), (block.height + 2, rotation.following)):
            _require(same_set(own, sets[height]), f"{where}: the ledger has another set of height {height}")
        following = sets[block.height + 2]
        for evidence in block.evidence:
            out = following.power(evidence.first.address) == 0 or len(following.members) == 1
            _require(out, f"{where}: who was caught is a validator of height {block.height + 2}")
        first, liars = sets[1], [self._cluster.members[index].address for index in self._cluster.scenario.liars]
        if 3 * sum(map(first.power, liars)) < first.total_power:
            power = sum(map(following.power, liars))
            _require(3 * power < following.total_power or not power, f"{where}: liars gained")

    def on_restored(self, member: Member) -> None:
        """4 and 5 after a replay: the height that a crash kept from being committed stands in the log, or does not."""
        height = member.running.info().height
        if height:
            decided = member.kept.blocks[height - 1]
            self._agree(member, decided.block, member.running.app_hash)
            self._checks_of(member).after(decided)

    def _agree(self, member: Member, block: Block, app_hash: Hash32) -> None:
        validators = tuple(member.kept.sets[block.height + 2].members)
        mine = (block.id, app_hash, validators)
        theirs = self._blocks.setdefault(block.height, mine)
        for what, a, b in zip(("block", "app hash", "validators"), mine, theirs, strict=True):
            _require(a == b, f"node {member.index} has another {what} at height {block.height}")

    def _checks_of(self, member: Member) -> _NodeChecks:
        if member.index not in self._checks:
            self._checks[member.index] = _NodeChecks(self._cluster, member)
        return self._checks[member.index]

    def _first_time(self, member: Member, decided: Decided, effect: SubBlockDecided) -> None:
        block, cluster = decided.block, self._cluster
        before = self._times_ms.get(block.height - 1, 0)
        _require(block.time_ms > before, f"height {block.height}: the time is {block.time_ms} after {before}")
        self._times_ms[block.height] = block.time_ms
        self.last_app_hash = effect.app_hash
        latest = cluster.now_ms() + self._skew_max_ms(member.kept.sets[max(1, block.height - 1)])
        latest = max(latest, before + 1)  # where time is ahead already, it may only creep on
        _require(block.time_ms <= latest, f"height {block.height}: {block.time_ms} is beyond every honest clock")
        self.rounds[decided.commit.round] += 1
        self.transactions += effect.transactions
        self.bundles += len(effect.bundles)
        self.actions.update(type(action.body).__name__ for action in effect.actions)
        self.happened.update(type(one).__name__ for one in effect.ledger_effects)
        self.misbehavior += len(block.evidence)
        if cluster.healed_at_ms is not None and block.height > self.healed_height:
            allowed = self._healed_round * (block.height == self.healed_height + 1)
            allowed += ROUNDS_PER_NODE_MAX * len(cluster.members)
            _require(
                decided.commit.round <= allowed,
                f"height {block.height} took {decided.commit.round} rounds, {allowed} are allowed after healing",
            )

    def _skew_max_ms(self, validators: ValidatorSet) -> int:
        """How far an honest clock may be ahead that counts: the right ones alone decide if the rest cannot."""
        honest = self._cluster.honest
        right = [member for member in honest if abs(member.habits.skew_ms) < WRONG_CLOCK_MS]
        rest = validators.total_power - sum(validators.power(member.address) for member in right)
        return max(member.habits.skew_ms for member in (right if 3 * rest < validators.total_power else honest))

    def on_crash(self, member: Member) -> None:
        """Counts; what a crash left is asked at the next start."""
        del member
        self.crashes += 1

    def healed(self) -> None:
        """From now on heights must be decided in time."""
        cluster = self._cluster
        self.healed_height = cluster.height
        machines = [member.kept.machine for member in cluster.members if member.kept.machine is not None]
        self._healed_round = max((machine.round for machine in machines), default=0)

    def at_end(self) -> None:
        """5 again, and 4: every log alone gives the live state."""
        for checks in self._checks.values():
            checks.at_end()
        for member in self._cluster.members:
            self._replays(member)

    def _replays(self, member: Member) -> None:
        log, live = member.log, member.running
        assert isinstance(log, DecidedLog)
        _require(log.height == live.info().height == member.durable_height, f"node {member.index}: log {log.height}")
        again = self._cluster.network.application()
        replay(again, log)
        _require(again.info() == live.info(), f"node {member.index}: the replayed application stands elsewhere")
        _require(fingerprint(again)[2:] == fingerprint(live)[2:], f"node {member.index}: other blocks by replay")
