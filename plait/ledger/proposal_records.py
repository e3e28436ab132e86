"""What governance keeps in the ledger: proposals with their deposits, votes, the pause and the upgrade plan.

    proposal = [id, proposer, body, deposit, submitted_slot, voting_end_slot, status, act_slot, reason, votes, tally]
    tally    = [yes, no, abstain, veto, bonded]            base units of stake; zero until the vote is counted
    vote     = [option, slot]
    pause    = [since_slot, until_slot]
    upgrade  = [name, height, change_hash, proposal_id, change_before]      change_before: zeros when there is none

Keys: a proposal's is its id, a vote's is the proposal's id and the voter, ids as 8 bytes big-endian. Level 3, pure.
"""

from enum import IntEnum
from typing import Final

import msgspec

from plait.codec.action import decode_body, encode_body
from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.ledger.table import TableKind
from plait.limits import ACTION_NAME_BYTES_MAX
from plait.types.action import AMOUNT_MAX, Propose, VoteOption
from plait.types.identifiers import Address, Hash32, Height, Slot
from plait.types.quantities import Amount

REASON_BYTES_MAX: Final = 64
"""A stable code."""


NO_CHANGE: Final = Hash32(bytes(32))
"""Stands for the version that the network began with."""


class ProposalStatus(IntEnum):
    """Where a proposal stands."""

    VOTING = 1
    TIMELOCKED = 2
    """Adopted; acts when its timelock has passed."""
    EXECUTED = 3
    REJECTED = 4
    VETOED = 5
    FAILED = 6
    """Adopted, and impossible when it was to act; `reason` has the code."""

    @property
    def is_open(self) -> bool:
        """Whether it can still act."""
        return self in (ProposalStatus.VOTING, ProposalStatus.TIMELOCKED)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Stake per option, and the bonded stake at the count; base units."""

    yes: int = 0
    no: int = 0
    abstain: int = 0
    veto: int = 0
    bonded: int = 0

    @property
    def cast(self) -> int:
        """Stake that voted, abstentions included."""
        return self.yes + self.no + self.abstain + self.veto


class ProposalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal."""

    proposal_id: int
    proposer: Address
    body: Propose
    deposit: Amount
    """Still held; 0 once it was returned or lost."""
    submitted_slot: Slot
    voting_end_slot: Slot
    status: ProposalStatus = ProposalStatus.VOTING
    act_slot: Slot = Slot(0)
    """When it acts, or acted; 0 before it was adopted."""
    reason: str = ""
    votes: int = 0
    """Votes of delegators that are not operators of a validator."""
    tally: Tally = Tally()


class VoteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One account's vote."""

    option: VoteOption
    slot: Slot


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """The newest pause: slots `since` (included) to `until` (not included)."""

    since_slot: Slot = Slot(0)
    until_slot: Slot = Slot(0)


class UpgradePlan(msgspec.Struct, frozen=True, kw_only=True):
    """From `height` on only nodes whose change has this hash take part. It stays after the height has passed."""

    name: str
    height: Height
    change_hash: Hash32
    proposal_id: int
    change_before: Hash32 = NO_CHANGE
    """What nodes must have until then."""


def proposal_key(proposal_id: int) -> bytes:
    """Key of a proposal, and prefix of its votes."""
    return proposal_id.to_bytes(8, "big")


def vote_key(proposal_id: int, voter: Address) -> bytes:
    """Key of a vote."""
    return proposal_key(proposal_id) + voter


def encode_proposal(record: ProposalRecord) -> bytes:
    """Canonical bytes of a proposal."""
    return encode_list(
        (
            encode_uint(record.proposal_id),
            encode_bytes(record.proposer),
            encode_body(record.body),
            *map(
                encode_uint,
                (record.deposit, record.submitted_slot, record.voting_end_slot, record.status, record.act_slot),
            ),
            encode_bytes(record.reason.encode()),
            encode_uint(record.votes),
            encode_list(map(encode_uint, msgspec.structs.astuple(record.tally))),
        )
    )


def decode_proposal(reader: Reader) -> ProposalRecord:
    """Reads a proposal.

    Raises:
        CodecError: not canonical or out of range.
    """
    proposal_id = reader.read_uint()
    proposer = Address(reader.read_bytes(size=20))
    body = decode_body(reader.read_list("proposal body"))
    if not isinstance(body, Propose):
        raise CodecError(f"a proposal cannot hold a {type(body).__name__}")
    deposit, submitted, voting_end = reader.read_uint(AMOUNT_MAX), reader.read_uint(), reader.read_uint()
    status = reader.read_uint(max(ProposalStatus))
    if status < min(ProposalStatus):
        raise CodecError("a proposal has no status")
    act_slot = reader.read_uint()
    reason = _read_text(reader, REASON_BYTES_MAX)
    votes = reader.read_uint()
    listed = reader.read_list("tally")
    tally = Tally(**{name: listed.read_uint(2**256 - 1) for name in Tally.__struct_fields__})
    listed.end()
    reader.end()
    return ProposalRecord(
        proposal_id=proposal_id,
        proposer=proposer,
        body=body,
        deposit=Amount(deposit),
        submitted_slot=Slot(submitted),
        voting_end_slot=Slot(voting_end),
        status=ProposalStatus(status),
        act_slot=Slot(act_slot),
        reason=reason,
        votes=votes,
        tally=tally,
    )


def encode_vote(record: VoteRecord) -> bytes:
    """Canonical bytes of a vote."""
    return encode_list((encode_uint(record.option), encode_uint(record.slot)))


def decode_vote(reader: Reader) -> VoteRecord:
    """Reads a vote.

    Raises:
        CodecError: not canonical or out of range.
    """
    option = reader.read_uint(max(VoteOption))
    if option < min(VoteOption):
        raise CodecError("a vote has no option")
    slot = reader.read_uint()
    reader.end()
    return VoteRecord(option=VoteOption(option), slot=Slot(slot))


def encode_pause(pause: Pause) -> bytes:
    """Canonical bytes of the newest pause."""
    return encode_list((encode_uint(pause.since_slot), encode_uint(pause.until_slot)))


def decode_pause(reader: Reader) -> Pause:
    """Reads the newest pause.

    Raises:
        CodecError: not canonical, or it ends before it begins.
    """
    since, until = reader.read_uint(), reader.read_uint()
    reader.end()
    if until < since:
        raise CodecError("a pause ends before it begins")
    return Pause(since_slot=Slot(since), until_slot=Slot(until))


def encode_upgrade(plan: UpgradePlan) -> bytes:
    """Canonical bytes of the upgrade plan."""
    return encode_list(
        (
            encode_bytes(plan.name.encode()),
            encode_uint(plan.height),
            encode_bytes(plan.change_hash),
            encode_uint(plan.proposal_id),
            encode_bytes(plan.change_before),
        )
    )


def decode_upgrade(reader: Reader) -> UpgradePlan:
    """Reads the upgrade plan.

    Raises:
        CodecError: not canonical.
    """
    name = _read_text(reader, ACTION_NAME_BYTES_MAX)
    plan = UpgradePlan(
        name=name,
        height=Height(reader.read_uint()),
        change_hash=Hash32(reader.read_bytes(size=32)),
        proposal_id=reader.read_uint(),
        change_before=Hash32(reader.read_bytes(size=32)),
    )
    reader.end()
    return plan


def _read_text(reader: Reader, size_max: int) -> str:
    try:
        return reader.read_bytes(size_max=size_max).decode()
    except UnicodeDecodeError as error:
        raise CodecError("a text of the ledger is not UTF-8") from error


PROPOSALS: Final = TableKind[ProposalRecord]("proposals", 8, encode_proposal, decode_proposal)
VOTES: Final = TableKind[VoteRecord]("votes", 28, encode_vote, decode_vote)
