"""The Tendermint algorithm for one height of one node (arXiv:1807.04938, algorithm 1; lines are named where they act).

`Machine` is told about proposals, votes and expired timeouts, and tells its host what to send, which timeouts to set,
and what was decided. It asks the host for a value to propose and for its judgement of a block, and for nothing else:
no clock, no network, no randomness. Votes that contradict each other all count for what they name, as in the paper,
where a quorum is one of messages; that is safe as long as less than a third of the power is dishonest.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple, Protocol

from sim.agreement.blocks import Block, BlockId, Commit, Decided, Evidence, ProposalMessage, Vote, VoteKind
from sim.agreement.validators import ValidatorSet

Message = ProposalMessage | Vote


class Phase(IntEnum):
    """Steps of a round."""

    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


class Timeouts(NamedTuple):
    """Milliseconds; each round waits `delta_ms` longer than the one before."""

    propose_ms: int = 1_000
    vote_ms: int = 500
    delta_ms: int = 500
    commit_ms: int = 210

    def of(self, phase: Phase, round_index: int) -> int:
        """How long a phase of a round waits."""
        return (self.propose_ms if phase is Phase.PROPOSE else self.vote_ms) + round_index * self.delta_ms


class Host(Protocol):
    """What a machine runs in."""

    def propose(self, height: int, round_index: int) -> Block:
        """A new block (getValue)."""
        ...

    def judge(self, block: Block) -> bool:
        """Whether a block is valid (valid); the same answer whenever asked."""
        ...

    def vote_time_ms(self, at_least_ms: int) -> int:
        """The node's own clock, or `at_least_ms` if that is later."""
        ...

    def send(self, message: Message) -> None:
        """Signs a message of this validator and sends it to everybody else."""
        ...

    def set_timeout(self, height: int, round_index: int, phase: Phase) -> None:
        """Calls `on_timeout` later."""
        ...

    def decide(self, decided: Decided) -> None:
        """The height is decided."""
        ...

    def witness(self, evidence: Evidence) -> None:
        """Two votes contradict each other."""
        ...


class _Votes:
    """The votes of one kind in one round."""

    def __init__(self) -> None:
        self.by_address: dict[bytes, dict[BlockId | None, Vote]] = {}

    def add(self, vote: Vote) -> Evidence | bool | None:
        """False for a vote that is known; the evidence that it completes, if any."""
        cast = self.by_address.setdefault(vote.address, {})
        if vote.block_id in cast:
            return False
        cast[vote.block_id] = vote
        if len(cast) == 1:
            return None
        first, second = sorted(cast.values(), key=lambda v: v.block_id or b"")[:2]
        return Evidence(first, second)

    def all(self) -> list[Vote]:
        return [vote for cast in self.by_address.values() for vote in cast.values()]

    def power_of(self, block_id: BlockId | None, validators: ValidatorSet) -> int:
        return sum(validators.power(address) for address, cast in self.by_address.items() if block_id in cast)

    def power(self, validators: ValidatorSet) -> int:
        return sum(map(validators.power, self.by_address))

    def ids(self) -> list[BlockId]:
        return sorted({block_id for cast in self.by_address.values() for block_id in cast if block_id is not None})


class Machine:
    """One height. `me` may be no validator: then it only follows."""

    def __init__(self, host: Host, height: int, me: bytes, validators: ValidatorSet, timeouts: Timeouts) -> None:
        self.host = host
        self.height = height
        self.me = me
        self.validators = validators
        self.timeouts = timeouts
        self.round = 0
        self.phase = Phase.PROPOSE
        self.started = False
        self.locked: tuple[int, BlockId | None] = (-1, None)
        self.valid: tuple[int, Block | None] = (-1, None)
        self.decided: Decided | None = None
        self.proposals: dict[int, list[ProposalMessage]] = {}
        self.blocks: dict[BlockId, Block] = {}
        self._prevotes: dict[int, _Votes] = {}
        self._precommits: dict[int, _Votes] = {}
        self._fired: set[tuple[str, int]] = set()
        self._voted: set[tuple[int, VoteKind]] = set()
        self._own: list[Message] = []

    # ------------------------------------------------------------ inputs
    def start(self) -> None:
        """Begins round 0, or goes on after a restart, which forgot all timers."""
        if not self.started:
            self.started = True
            self._start_round(0)
        elif self.decided is None:
            self._fired -= {("wait prevote", self.round), ("wait precommit", self.round)}
            if self.phase is Phase.PROPOSE:
                self.host.set_timeout(self.height, self.round, self.phase)
        self._act()

    def on_proposal(self, message: ProposalMessage) -> None:
        """A proposal by the round's proposer."""
        if self._take_proposal(message):
            self._act()

    def on_vote(self, vote: Vote) -> None:
        """A vote of this height."""
        if self._take_vote(vote):
            self._act()

    def on_timeout(self, round_index: int, phase: Phase) -> None:
        """A timeout that was set has expired."""
        if self.decided is not None or round_index != self.round:
            return
        if phase is Phase.PROPOSE and self.phase is Phase.PROPOSE:  # line 57
            self._vote(VoteKind.PREVOTE, None)
            self.phase = Phase.PREVOTE
        elif phase is Phase.PREVOTE and self.phase is Phase.PREVOTE:  # line 61
            self._vote(VoteKind.PRECOMMIT, None)
            self.phase = Phase.PRECOMMIT
        elif phase is Phase.PRECOMMIT:  # line 65
            self._start_round(self.round + 1)
        self._act()

    def known(self, from_round: int) -> list[Message]:
        """Everything that helps a node at this height which stands in that round: for gossip."""
        rounds = {r for r in (*self.proposals, *self._prevotes, *self._precommits) if r >= from_round}
        rounds |= {self.valid[0], self.locked[0]} - {-1}
        found: list[Message] = []
        for round_index in sorted(rounds):
            found.extend(self.proposals.get(round_index, ()))
            for table in (self._prevotes, self._precommits):
                found.extend(table[round_index].all() if round_index in table else ())
        return found

    def precommits_for(self, decided: Decided) -> Commit:
        """The commit of the decided round with every vote for it or nil that has come in until now."""
        table = self._precommits.get(decided.commit.round, _Votes())
        votes = {vote.address: vote for vote in decided.commit.votes}
        for address, cast in table.by_address.items():
            vote = cast.get(decided.block.id) or cast.get(None)
            if vote is not None:
                votes.setdefault(address, vote)
        return decided.commit._replace(votes=tuple(votes[address] for address in sorted(votes)))

    # ------------------------------------------------------------ messages
    def _take_proposal(self, message: ProposalMessage) -> bool:
        if message.address != self.validators.proposer(message.round) or message.block.height != self.height:
            return False
        known = self.proposals.setdefault(message.round, [])
        if any(other.block.id == message.block.id and other.valid_round == message.valid_round for other in known):
            return False
        known.append(message)
        self.blocks[message.block.id] = message.block
        return True

    def _take_vote(self, vote: Vote) -> bool:
        if not self.validators.power(vote.address):
            return False
        table = self._prevotes if vote.kind is VoteKind.PREVOTE else self._precommits
        added = table.setdefault(vote.round, _Votes()).add(vote)
        if isinstance(added, Evidence):
            self.host.witness(added)
        return added is not False

    def _send(self, message: Message) -> None:
        """To the others, and to oneself as the next input."""
        self.host.send(message)
        self._own.append(message)

    # ------------------------------------------------------------ rules
    def _start_round(self, round_index: int) -> None:  # line 11
        self.round = round_index
        self.phase = Phase.PROPOSE
        if self.validators.proposer(round_index) == self.me:
            valid_round, block = self.valid
            if block is None:
                block = self.host.propose(self.height, round_index)
            self._send(ProposalMessage(self.me, self.height, round_index, valid_round, block))
        else:
            self.host.set_timeout(self.height, round_index, Phase.PROPOSE)

    def _vote(self, kind: VoteKind, block: Block | None) -> None:
        if not self.validators.power(self.me) or (self.round, kind) in self._voted:
            return
        self._voted.add((self.round, kind))
        time_ms = self.host.vote_time_ms(0 if block is None else block.time_ms + 1)
        self._send(Vote(self.me, self.height, self.round, kind, None if block is None else block.id, time_ms))

    def _act(self) -> None:
        """Applies rules until none applies."""
        while self.decided is None and self.started:
            if self._own:
                message = self._own.pop(0)
                if isinstance(message, Vote):
                    self._take_vote(message)
                else:
                    self._take_proposal(message)
            elif not self._apply_one():
                return

    def _apply_one(self) -> bool:
        return (
            self._decide()
            or self._skip_round()
            or self._prevote_new()
            or self._prevote_again()
            or self._polka()
            or self._polka_nil()
            or self._wait()
        )

    def _once(self, rule: str, round_index: int) -> bool:
        if (rule, round_index) in self._fired:
            return False
        self._fired.add((rule, round_index))
        return True

    def _quorums(self, table: dict[int, _Votes], round_index: int) -> Iterable[BlockId]:
        votes = table.get(round_index)
        if votes is None:
            return
        for block_id in votes.ids():
            if self.validators.is_quorum(votes.power_of(block_id, self.validators)):
                yield block_id

    def _decide(self) -> bool:  # line 49
        for round_index in sorted(self._precommits):
            for block_id in self._quorums(self._precommits, round_index):
                block = self.blocks.get(block_id)
                if block is None:
                    continue
                cast = self._precommits[round_index].by_address
                votes = tuple(cast[address][block_id] for address in sorted(cast) if block_id in cast[address])
                self.decided = Decided(block, Commit(self.height, round_index, block_id, votes))
                self.host.decide(self.decided)
                return True
        return False

    def _skip_round(self) -> bool:  # line 55
        ahead = {r for r in (*self.proposals, *self._prevotes, *self._precommits) if r > self.round}
        for round_index in sorted(ahead, reverse=True):
            speakers = {message.address for message in self.proposals.get(round_index, ())}
            for table in (self._prevotes, self._precommits):
                speakers |= set(table[round_index].by_address) if round_index in table else set()
            if self.validators.is_third(sum(map(self.validators.power, speakers))):
                self._start_round(round_index)
                return True
        return False

    def _prevote_new(self) -> bool:  # line 22
        if self.phase is not Phase.PROPOSE:
            return False
        for message in self.proposals.get(self.round, ()):
            if message.valid_round == -1:
                block = message.block
                free = self.locked[0] == -1 or self.locked[1] == block.id
                self._vote(VoteKind.PREVOTE, block if free and self.host.judge(block) else None)
                self.phase = Phase.PREVOTE
                return True
        return False

    def _prevote_again(self) -> bool:  # line 28
        if self.phase is not Phase.PROPOSE:
            return False
        for message in self.proposals.get(self.round, ()):
            block, valid_round = message.block, message.valid_round
            if 0 <= valid_round < self.round and block.id in self._quorums(self._prevotes, valid_round):
                free = self.locked[0] <= valid_round or self.locked[1] == block.id
                self._vote(VoteKind.PREVOTE, block if free and self.host.judge(block) else None)
                self.phase = Phase.PREVOTE
                return True
        return False

    def _polka(self) -> bool:  # line 36
        if self.phase is Phase.PROPOSE or ("polka", self.round) in self._fired:
            return False
        for block_id in self._quorums(self._prevotes, self.round):
            block = self.blocks.get(block_id)
            if block is None or not self.host.judge(block):
                continue
            self._fired.add(("polka", self.round))
            if self.phase is Phase.PREVOTE:
                self.locked = (self.round, block_id)
                self._vote(VoteKind.PRECOMMIT, block)
                self.phase = Phase.PRECOMMIT
            self.valid = (self.round, block)
            return True
        return False

    def _polka_nil(self) -> bool:  # line 44
        votes = self._prevotes.get(self.round)
        if self.phase is not Phase.PREVOTE or votes is None:
            return False
        if not self.validators.is_quorum(votes.power_of(None, self.validators)):
            return False
        self._vote(VoteKind.PRECOMMIT, None)
        self.phase = Phase.PRECOMMIT
        return True

    def _wait(self) -> bool:  # lines 34 and 47
        prevotes, precommits = self._prevotes.get(self.round), self._precommits.get(self.round)
        if (
            self.phase is Phase.PREVOTE
            and prevotes is not None
            and self.validators.is_quorum(prevotes.power(self.validators))
            and self._once("wait prevote", self.round)
        ):
            self.host.set_timeout(self.height, self.round, Phase.PREVOTE)
        if (
            precommits is not None
            and self.validators.is_quorum(precommits.power(self.validators))
            and self._once("wait precommit", self.round)
        ):
            self.host.set_timeout(self.height, self.round, Phase.PRECOMMIT)
        return False
