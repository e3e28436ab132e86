"""A byzantine validator: a node like the others whose words to them are chosen by an enemy.

It follows the chain and keeps its application, so that its lies fit the moment. Per message it is honest, silent, or
lies: as a proposer it forges proposals with `sim.byzantine`, moves the block's time, shortens the commit of the height
before, accuses without proof, or shows different blocks to different peers; as a voter it votes twice, for nil, for
blocks that it judged invalid, and with times of its choice. Its strongest attack is the split: it shows one block to
some and another to the rest, and all liars together sign both votes for both. It signs only as a liar.
"""

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from plait.engines.simulated import Forger, Forgery
from plait.protocol.requests import PrepareRequest
from sim.agreement.blocks import Block, Evidence, ProposalMessage, Vote, VoteKind
from sim.agreement.machine import Message
from sim.member import Member

Expect = Callable[[Block, str, bool], None]
"""Told what a block is and whether honest nodes may accept it."""


class Adversary:
    """The lies of one member.

    Args:
        random: source of every choice.
        forgers: makers of forged proposals.
        expect: told about every block that it makes.
        signed: all votes ever signed; its own are added.
        coalition: addresses of all liars; each signs for the others.
        careful: it never signs two votes of a round, for which it would lose its place.
        caught: told about two blocks that it proposed in one round.
    """

    def __init__(
        self,
        random: Random,
        forgers: Sequence[Forger],
        expect: Expect,
        signed: set[Vote],
        coalition: Sequence[bytes],
        *,
        careful: bool,
        caught: Callable[[ProposalMessage, Block], None] = lambda _, __: None,
    ) -> None:
        self._coalition = list(coalition)
        self._careful = careful
        self._caught = caught
        self._random = random
        self._forgers = list(forgers)
        self._expect = expect
        self._signed = signed
        self._other: dict[bytes, Block] = {}
        """By the id of a block that it proposed, the one that it shows to the rest."""

    # ------------------------------------------------------------ proposals
    def proposed(self, member: Member, honest: Block, request: PrepareRequest) -> Block:
        """What it proposes in place of its honest block."""
        first = self._one(member, honest, request)
        if self._random.randrange(100) < 40:
            self._other[first.id] = self._one(member, honest, request)
        return first

    def _one(self, member: Member, honest: Block, request: PrepareRequest) -> Block:
        kind = self._random.randrange(100)
        if kind < 10:
            self._expect(honest, "honest", True)
            return honest
        if kind < 22:
            return self._rival(member, honest, request)
        if kind < 90:
            forger = self._random.choice(self._forgers)
            forgery: Forgery = forger(self._random, member.running, request, honest.proposal)
            block = msgspec.structs.replace(honest, proposal=forgery.proposal)
            self._expect(block, forgery.name, forgery.valid)
            return block
        block, name = self._misframed(honest)
        self._expect(block, name, block.id == honest.id)
        return block

    def _rival(self, member: Member, honest: Block, request: PrepareRequest) -> Block:
        """Another valid block: built from fewer candidates."""
        some = {rollup_id: queues[: len(queues) // 2] for rollup_id, queues in request.candidates.items()}
        prepared = member.running.prepare(msgspec.structs.replace(request, candidates=some, bundles=()))
        block = msgspec.structs.replace(honest, proposal=prepared.proposal)
        self._expect(block, "rival", True)
        return block

    def _misframed(self, honest: Block) -> tuple[Block, str]:
        """A block whose frame breaks a rule of the engine's own; honest nodes do not even ask the application."""
        replace, commit = msgspec.structs.replace, honest.last_commit
        kind = self._random.randrange(4)
        if kind == 0 or commit is None:
            return replace(honest, time_ms=honest.time_ms + self._random.choice((-1, 1, 5_000))), "moved time"
        if kind == 1:
            return replace(honest, last_commit=commit._replace(votes=commit.votes[:1])), "commit without quorum"
        victim = self._random.choice(commit.votes)
        if kind == 2:
            forged = tuple(
                vote._replace(time_ms=vote.time_ms + 60_000) if vote is victim else vote for vote in commit.votes
            )
            return replace(honest, last_commit=commit._replace(votes=forged)), "forged vote"
        other = victim._replace(block_id=self._random.randbytes(32))
        return replace(honest, evidence=(*honest.evidence, Evidence(victim, other))), "false accusation"

    # ------------------------------------------------------------ what peers are told
    def told(self, message: Message, peers: Sequence[int]) -> list[tuple[int, Message]]:
        """Who is told what in place of one message to all."""
        random = self._random
        kind = random.randrange(100)
        if kind < 12:
            return []
        if isinstance(message, ProposalMessage):
            return self._told_proposal(message, peers)
        if kind < 50 or self._careful:
            return [(peer, message) for peer in peers]
        told: list[tuple[int, Message]] = []
        other = self._other_vote(message)
        for peer in peers:
            which = random.randrange(3)
            told += [(peer, message)] * (which != 0) + [(peer, other)] * (which != 1)
        return told

    def _told_proposal(self, message: ProposalMessage, peers: Sequence[int]) -> list[tuple[int, Message]]:
        other = self._other.get(message.block.id)
        if other is None:
            return [(peer, message) for peer in peers if self._random.randrange(100) < 85]
        rival = message._replace(block=other)
        self._caught(message, other)
        split = not self._careful and self._random.randrange(100) < 60
        told: list[tuple[int, Message]] = []
        for peer in peers:
            first, second = (message, rival) if self._random.randrange(2) else (rival, message)
            told.append((peer, first))
            if split:
                told += [(peer, vote) for vote in self._votes_for(first)]
            elif self._random.randrange(3) == 0:
                told.append((peer, second))
        return told

    def _votes_for(self, message: ProposalMessage) -> list[Vote]:
        """Both votes of every liar for a proposal, in its round."""
        block = message.block
        votes = [
            Vote(address, block.height, message.round, kind, block.id, block.time_ms + 1)
            for address in self._coalition
            for kind in VoteKind
        ]
        self._signed.update(votes)
        return votes

    def _other_vote(self, vote: Vote) -> Vote:
        """A second vote of the same round, or the same with another time."""
        random = self._random
        kind = random.randrange(4)
        if kind == 0:
            other = vote._replace(time_ms=vote.time_ms + random.choice((-1_000_000, -5_000, 5_000, 1_000_000)))
        elif vote.block_id is None or kind == 1:
            ids = [block.id for block in self._other.values()] or [random.randbytes(32)]
            other = vote._replace(block_id=random.choice(ids))
        else:
            other = vote._replace(block_id=None)
        self._signed.add(other)
        return other
