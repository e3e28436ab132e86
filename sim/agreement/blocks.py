"""What nodes agree on: votes, blocks and commits, and what a block tells the application.

A block is one proposal of Plait's with what CometBFT adds: who proposed it, its time, the commit of the block before,
and evidence. Its time is the median, weighted by power, of the times in that commit's votes for the block (BFT time;
votes for nil have no say, so that times rise strictly as long as less than a third lies). Nothing is signed with a
key: the world keeps the set of all votes that were ever signed, and a vote outside of it is a forged one.
"""

from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import msgspec

from plait.types import (
    Agreed,
    BlockIdFlag,
    CommitVote,
    ConsensusAddress,
    Height,
    Milliseconds,
    Misbehavior,
    MisbehaviorKind,
)
from sim.agreement.validators import ValidatorSet

BlockId = bytes


class VoteKind(IntEnum):
    """The two votes of a round."""

    PREVOTE = 1
    PRECOMMIT = 2


class Vote(NamedTuple):
    """A signed vote. `block_id` None is a vote for nil."""

    address: bytes
    height: int
    round: int
    kind: VoteKind
    block_id: BlockId | None
    time_ms: int


class Evidence(NamedTuple):
    """Two votes of one validator for one height, round and kind that name different blocks."""

    first: Vote
    second: Vote

    @property
    def key(self) -> tuple[bytes, int, int, int]:
        """Names the offence, whichever pair of votes proves it."""
        return (self.first.address, self.first.height, self.first.round, int(self.first.kind))


class Commit(NamedTuple):
    """Precommits of one round that decided a block."""

    height: int
    round: int
    block_id: BlockId
    votes: tuple[Vote, ...]


class Block(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is voted on."""

    height: int
    time_ms: int
    proposer: bytes
    previous: BlockId
    last_commit: Commit | None
    evidence: tuple[Evidence, ...]
    proposal: bytes

    @cached_property
    def id(self) -> BlockId:
        """Names everything in it."""
        commit = self.last_commit
        head = repr(
            (
                self.height,
                self.time_ms,
                self.proposer,
                self.previous,
                None if commit is None else (commit.round, sorted(commit.votes, key=repr)),
                self.evidence,
            )
        )
        return sha256(head.encode() + sha256(self.proposal).digest()).digest()


class ProposalMessage(NamedTuple):
    """A block proposed in a round; `valid_round` is -1 for a new one."""

    address: bytes
    height: int
    round: int
    valid_round: int
    block: Block


class Decided(NamedTuple):
    """A block and the commit that proves it decided."""

    block: Block
    commit: Commit


def median_time(commit: Commit, validators: ValidatorSet) -> int:
    """The time of the next block: weighted median of the times in votes for the block, Unix milliseconds."""
    times = sorted((vote.time_ms, validators.power(vote.address)) for vote in commit.votes if vote.block_id is not None)
    left = sum(power for _, power in times) // 2
    for time_ms, power in times:
        if left < power:
            return time_ms
        left -= power
    raise AssertionError("a commit without votes")


def agreed_of(block: Block, sets: Mapping[int, ValidatorSet], times_ms: Mapping[int, int]) -> Agreed:
    """What the application is told about a block.

    Args:
        block: decided or proposed.
        sets: validators by height, up to the block's.
        times_ms: of blocks by height, below the block's.
    """
    votes: tuple[CommitVote, ...] = ()
    if block.last_commit is not None:
        cast = {vote.address: vote for vote in block.last_commit.votes}
        votes = tuple(
            CommitVote(ConsensusAddress(member.address), member.power, _flag(cast.get(member.address)))
            for member in sets[block.height - 1].members
        )
    return Agreed(
        proposer=ConsensusAddress(block.proposer),
        votes=votes,
        misbehavior=tuple(_misbehavior(evidence, sets, times_ms) for evidence in block.evidence),
    )


def _flag(vote: Vote | None) -> BlockIdFlag:
    if vote is None:
        return BlockIdFlag.ABSENT
    return BlockIdFlag.NIL if vote.block_id is None else BlockIdFlag.COMMIT


def _misbehavior(evidence: Evidence, sets: Mapping[int, ValidatorSet], times_ms: Mapping[int, int]) -> Misbehavior:
    vote = evidence.first
    validators = sets[vote.height]
    return Misbehavior(
        kind=MisbehaviorKind.DUPLICATE_VOTE,
        address=ConsensusAddress(vote.address),
        power=validators.power(vote.address),
        height=Height(vote.height),
        time_ms=Milliseconds(times_ms[vote.height]),
        total_power=validators.total_power,
    )
