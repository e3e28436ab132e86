"""Canonical bytes of what an engine agreed on beside a proposal, as the decided log keeps them.

    agreed      = [proposer, [vote, ...], [misbehavior, ...]]
    vote        = [address, power, flag]                       flag = 1 absent, 2 commit, 3 nil
    misbehavior = [kind, address, power, height, time_ms, total_power]
    kind        = 1 duplicate vote, 2 light client attack

The proposer is empty or a consensus address of 20 bytes. Level 0. Raises CodecError only.
"""

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import MISBEHAVIOR_PER_HEIGHT_MAX, VALIDATORS_MAX, VOTING_POWER_MAX
from plait.types import (
    NOTHING_AGREED,
    Agreed,
    BlockIdFlag,
    CommitVote,
    ConsensusAddress,
    Height,
    Milliseconds,
    Misbehavior,
    MisbehaviorKind,
)

ADDRESS_BYTES = 20
NOTHING_BYTES = b"\xc3\x80\xc0\xc0"
"""`NOTHING_AGREED`, encoded."""


def encode_agreed(agreed: Agreed) -> bytes:
    """Canonical bytes."""
    if agreed == NOTHING_AGREED:
        return NOTHING_BYTES
    votes = encode_list(
        encode_list((encode_bytes(vote.address), encode_uint(vote.power), encode_uint(vote.flag)))
        for vote in agreed.votes
    )
    misbehavior = encode_list(
        encode_list(
            (
                encode_uint(one.kind),
                encode_bytes(one.address),
                *map(encode_uint, (one.power, one.height, one.time_ms, one.total_power)),
            )
        )
        for one in agreed.misbehavior
    )
    return encode_list((encode_bytes(agreed.proposer), votes, misbehavior))


def decode_agreed(data: bytes) -> Agreed:
    """Reads canonical bytes.

    Raises:
        CodecError: not canonical, a number out of range, or more votes or evidence than there can be.
    """
    if data == NOTHING_BYTES:
        return NOTHING_AGREED
    outer = Reader(data, what="agreed data")
    reader = outer.read_list("agreed data")
    outer.end()
    proposer = reader.read_bytes(size_max=ADDRESS_BYTES)
    if len(proposer) not in {0, ADDRESS_BYTES}:
        raise CodecError(f"a consensus address has {ADDRESS_BYTES} bytes, not {len(proposer)}")
    listed, caught = reader.read_list("votes"), reader.read_list("misbehavior")
    reader.end()
    votes: list[CommitVote] = []
    while listed.more:
        if len(votes) == VALIDATORS_MAX:
            raise CodecError(f"more than {VALIDATORS_MAX} votes", code="codec_too_many")
        votes.append(_read_vote(listed.read_list("vote")))
    misbehavior: list[Misbehavior] = []
    while caught.more:
        if len(misbehavior) == MISBEHAVIOR_PER_HEIGHT_MAX:
            raise CodecError(f"more than {MISBEHAVIOR_PER_HEIGHT_MAX} pieces of evidence", code="codec_too_many")
        misbehavior.append(_read_misbehavior(caught.read_list("misbehavior")))
    return Agreed(proposer=ConsensusAddress(proposer), votes=tuple(votes), misbehavior=tuple(misbehavior))


def _read_vote(reader: Reader) -> CommitVote:
    address = ConsensusAddress(reader.read_bytes(size=ADDRESS_BYTES))
    power, flag = reader.read_uint(VOTING_POWER_MAX), reader.read_uint(max(BlockIdFlag))
    reader.end()
    if flag not in set(BlockIdFlag):
        raise CodecError("a vote's flag is 1, 2 or 3")
    return CommitVote(address, power, BlockIdFlag(flag))


def _read_misbehavior(reader: Reader) -> Misbehavior:
    kind = reader.read_uint(max(MisbehaviorKind))
    address = ConsensusAddress(reader.read_bytes(size=ADDRESS_BYTES))
    power, height, time_ms = reader.read_uint(VOTING_POWER_MAX), reader.read_uint(), reader.read_uint()
    total_power = reader.read_uint(VOTING_POWER_MAX)
    reader.end()
    if kind not in set(MisbehaviorKind):
        raise CodecError("a kind of misbehavior is 1 or 2")
    return Misbehavior(
        kind=MisbehaviorKind(kind),
        address=address,
        power=power,
        height=Height(height),
        time_ms=Milliseconds(time_ms),
        total_power=total_power,
    )
