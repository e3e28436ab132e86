"""A deterministic engine for tests: agreement without a network, with everything that agreement does to an application.

It drives N nodes height by height. Per height it fixes the agreed time, then plays rounds: a proposer's honest
proposal or rivals of it are shown to nodes, some nodes are not asked at all, and the round ends undecided or decides
one proposal that every asked node accepted. Decided proposals go to the durable log first; then every live node
finalizes and commits, in any order, and a node may crash between the two. A node that was down is brought back by a
new application over empty state that replays the log.

What it asserts itself: honest nodes at the same height give the same verdict on the same bytes. Everything else is for
independent checkers, which see every step through `observe`.

All choices come from the `random.Random` passed in. Level 5.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec

from plait.engines.decision import Candidates
from plait.errors import InvariantBroken
from plait.execution.bundles import BundleCandidate
from plait.execution.relaying import Relayer
from plait.interop.relays import Relay
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import Accepted, Dropped, FinalizeRequest, PrepareRequest, ProcessRequest, Refused, Verdict
from plait.types import Hash32, Height, Milliseconds


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the decided log."""

    height: Height
    time_ms: Milliseconds
    proposal: bytes
    app_hash: Hash32
    senders: bytes


class Chances(msgspec.Struct, frozen=True, kw_only=True):
    """How often things happen, each 0 to 100 percent."""

    byzantine: int = 30
    rival: int = 25
    undecided: int = 20
    not_asked: int = 20
    crash_before_commit: int = 4
    crash_after_commit: int = 3
    stay_down: int = 50
    replay_with_senders: int = 50


class Forgery(NamedTuple):
    """A byzantine proposer's proposal; `valid` says whether honest nodes may accept it."""

    name: str
    proposal: bytes
    valid: bool = False


Forger = Callable[[Random, Application, PrepareRequest, bytes], Forgery]
"""Makes a forgery from an honest proposal and the question that it answered."""


class Shown(NamedTuple):
    """One proposal shown to nodes in a round, and their verdicts by node index."""

    round: int
    proposer: int
    name: str
    proposal: bytes
    valid: bool
    verdicts: dict[int, Verdict]


class Step(NamedTuple):
    """Everything that happened at a height."""

    decided: Decided
    shown: tuple[Shown, ...]
    effects: dict[int, SubBlockDecided]
    dropped: tuple[Dropped, ...]
    restarted: tuple[int, ...]


class SimulatedNode:
    """A node's place in the engine: its application while it is up, and how to make a new one over genesis."""

    def __init__(self, index: int, start: Callable[[], Application]) -> None:
        self.index = index
        self.start = start
        self.application: Application | None = start()


class SimulatedEngine:
    """Plays heights over nodes. The log is what has been decided so far; it survives every crash."""

    ROUNDS_MAX = 6

    def __init__(
        self,
        nodes: Sequence[SimulatedNode],
        random: Random,
        *,
        candidates: Callable[[int, Milliseconds], Candidates],
        bundles: Callable[[int, Milliseconds], Sequence[BundleCandidate]] = lambda _, __: (),
        relays: Callable[[int, Milliseconds], Sequence[Relay]] = lambda _, __: (),
        relayer: Relayer | None = None,
        forgers: Sequence[Forger] = (),
        chances: Chances | None = None,
    ) -> None:
        """Engine over nodes at genesis.

        Args:
            nodes: at least one.
            random: source of every choice.
            candidates: the pool's view of a node at a time.
            bundles: the bundle pool's view of a node at a time.
            relays: a node's messages without their delivery at a time.
            relayer: who delivers messages, for every node; None delivers none.
            forgers: byzantine proposers to choose from.
            chances: how often things happen; the defaults exercise everything within tens of heights.
        """
        self.nodes = list(nodes)
        self.log: list[Decided] = []
        self._random = random
        self._candidates = candidates
        self._bundles = bundles
        self._relays = relays
        self._relayer = relayer
        self._forgers = list(forgers)
        self._chances = chances if chances is not None else Chances()
        self._down: set[int] = set()

    @property
    def live(self) -> list[tuple[int, Application]]:
        """Nodes that are up, with their applications."""
        return [(node.index, node.application) for node in self.nodes if node.application is not None]

    def step(self, time_ms: Milliseconds) -> Step:
        """Decides one height at this agreed time and applies it on every live node."""
        restarted = self._restart_some()
        height = Height(len(self.log) + 1)
        shown: list[Shown] = []
        dropped: list[Dropped] = []
        decided: bytes | None = None
        for round_index in range(self.ROUNDS_MAX):
            last = round_index == self.ROUNDS_MAX - 1
            decided, seen, forgotten = self._round(height, time_ms, round_index, last)
            shown.extend(seen)
            dropped = forgotten
            if decided is not None:
                break
        assert decided is not None, "the last round is honest and always decides"
        effects, record = self._apply(height, time_ms, decided)
        return Step(record, tuple(shown), effects, tuple(dropped), tuple(restarted))

    # ------------------------------------------------------------ rounds
    def _request(self, height: Height, time_ms: Milliseconds, proposer: int) -> PrepareRequest:
        return PrepareRequest(
            height=height,
            time_ms=time_ms,
            candidates=self._candidates(proposer, time_ms),
            bundles=self._bundles(proposer, time_ms),
            relayer=self._relayer,
            relays=self._relays(proposer, time_ms),
        )

    def _round(
        self, height: Height, time_ms: Milliseconds, round_index: int, last: bool
    ) -> tuple[bytes | None, list[Shown], list[Dropped]]:
        random, chances = self._random, self._chances
        proposer, application = random.choice(self.live)
        proposals: list[Forgery] = []
        request = self._request(height, time_ms, proposer)
        prepared = application.prepare(request)
        honest = Forgery("honest", prepared.proposal, True)
        if not last and self._forgers and _happens(random, chances.byzantine):
            forger = random.choice(self._forgers)
            proposals.append(forger(random, application, request, prepared.proposal))
        if last or not proposals or _happens(random, chances.rival):
            proposals.append(honest)
        if not last and _happens(random, chances.rival):
            rival, other = random.choice(self.live)
            again = other.prepare(self._request(height, time_ms, rival))
            proposals.append(Forgery("rival", again.proposal, True))
        random.shuffle(proposals)
        shown = [self._show(height, time_ms, round_index, proposer, proposal) for proposal in proposals]
        if not last and _happens(random, chances.undecided):
            return None, shown, []
        acceptable = [entry.proposal for entry in shown if entry.valid]
        if not acceptable:
            return None, shown, []
        return random.choice(acceptable), shown, list(prepared.dropped)

    def _show(self, height: Height, time_ms: Milliseconds, round_index: int, proposer: int, forgery: Forgery) -> Shown:
        """Asks the nodes (some are left out) about one proposal; all must answer the same."""
        request = ProcessRequest(height=height, time_ms=time_ms, proposal=forgery.proposal)
        verdicts: dict[int, Verdict] = {}
        for index, application in self.live:
            if len(verdicts) > 0 and _happens(self._random, self._chances.not_asked):
                continue
            verdicts[index] = application.process(request)
        kinds = {verdict.code if isinstance(verdict, Refused) else "accepted" for verdict in verdicts.values()}
        if len(kinds) > 1:
            raise InvariantBroken(f"nodes disagree about {forgery.name!r}: {sorted(kinds)}", code="verdicts_differ")
        accepted = isinstance(next(iter(verdicts.values())), Accepted)
        if accepted != forgery.valid:
            raise InvariantBroken(
                f"{forgery.name!r} was {'accepted' if accepted else 'refused: ' + next(iter(kinds))}",
                code="verdict_wrong",
                height=height,
            )
        return Shown(round_index, proposer, forgery.name, forgery.proposal, forgery.valid, verdicts)

    # ------------------------------------------------------------ decision and crashes
    def _apply(
        self, height: Height, time_ms: Milliseconds, proposal: bytes
    ) -> tuple[dict[int, SubBlockDecided], Decided]:
        """Finalizes everywhere, logs, commits; nodes may crash before or after their commit."""
        request = FinalizeRequest(height=height, time_ms=time_ms, proposal=proposal)
        order = self.live
        self._random.shuffle(order)
        effects = {index: application.finalize(request).effect for index, application in order}
        hashes = {effect.app_hash for effect in effects.values()}
        if len(hashes) > 1:
            raise InvariantBroken(f"app hashes differ at height {height}", code="app_hashes_differ", height=height)
        effect = next(iter(effects.values()))
        record = Decided(
            height=height, time_ms=time_ms, proposal=proposal, app_hash=effect.app_hash, senders=effect.senders
        )
        self.log.append(record)
        for index, application in order:
            can_crash = len(self.live) > 1
            if can_crash and _happens(self._random, self._chances.crash_before_commit):
                self._crash(index)
                continue
            application.commit()
            if can_crash and _happens(self._random, self._chances.crash_after_commit):
                self._crash(index)
        return effects, record

    def _crash(self, index: int) -> None:
        self.nodes[index].application = None
        self._down.add(index)

    def _restart_some(self) -> list[int]:
        back = [index for index in sorted(self._down) if not _happens(self._random, self._chances.stay_down)]
        for index in back:
            self.restart(index)
        return back

    def restart(self, index: int) -> None:
        """Brings a node back: a new application over genesis replays the decided log, with or without stored
        senders."""
        node = self.nodes[index]
        with_senders = _happens(self._random, self._chances.replay_with_senders)
        node.application = replay(node.start(), self.log, with_senders=with_senders)
        self._down.discard(index)


def replay(application: Application, log: Sequence[Decided], *, with_senders: bool) -> Application:
    """Applies a decided log on top of an application's height and compares every app hash.

    Raises:
        InvariantBroken: `replay_differs`, or what `finalize` raises.
    """
    for record in log[application.info().height :]:
        finalized = application.finalize(
            FinalizeRequest(
                height=record.height,
                time_ms=record.time_ms,
                proposal=record.proposal,
                senders=record.senders if with_senders else None,
            )
        )
        if finalized.app_hash != record.app_hash:
            raise InvariantBroken(
                f"replay of height {record.height} gives another app hash", code="replay_differs", height=record.height
            )
        application.commit()
    return application


def _happens(random: Random, percent: int) -> bool:
    return random.randrange(100) < percent


__all__ = [
    "Chances",
    "Decided",
    "Forger",
    "Forgery",
    "Shown",
    "SimulatedEngine",
    "SimulatedNode",
    "Step",
    "replay",
]
