"""What an engine's agreement tells the application beside the proposal: who proposed, who signed the height before,
who was caught.

These values are agreed data: every node that prepares, checks or applies a proposal is given the same ones (in
CometBFT: the block's proposer, its last commit and its evidence). An engine without validators gives `Agreed()`.

Level 0.
"""

from enum import IntEnum
from hashlib import sha256
from typing import NewType

import msgspec

from plait.types.identifiers import Height, NetworkId
from plait.types.quantities import Milliseconds

ConsensusAddress = NewType("ConsensusAddress", bytes)
"""20 bytes: the first 20 of SHA-256 of a validator's Ed25519 public key, as in CometBFT."""


def consensus_address(public_key: bytes) -> ConsensusAddress:
    """Address of an ed25519 public key of 32 bytes."""
    return ConsensusAddress(sha256(public_key).digest()[:20])


def comet_chain_id(network_id: NetworkId) -> str:
    """CometBFT's name of a network, part of everything its validators sign."""
    return f"plait-{network_id}"


class BlockIdFlag(IntEnum):
    """What a validator's vote in a commit was for; the numbers are CometBFT's."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


class CommitVote(msgspec.Struct, frozen=True):
    """One validator in the commit of the height before."""

    address: ConsensusAddress
    power: int
    """Voting power at that height, above 0."""
    flag: BlockIdFlag


class MisbehaviorKind(IntEnum):
    """What an engine can prove against a validator; the numbers are CometBFT's."""

    DUPLICATE_VOTE = 1
    LIGHT_CLIENT_ATTACK = 2


class Misbehavior(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that the engine has verified and put into the block."""

    kind: MisbehaviorKind
    address: ConsensusAddress
    power: int
    """Voting power when it happened."""
    height: Height
    time_ms: Milliseconds
    total_power: int


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed about a height beside its proposal."""

    proposer: ConsensusAddress = ConsensusAddress(b"")
    """Who made the proposal; empty where there are no validators."""
    votes: tuple[CommitVote, ...] = ()
    """The commit of the height before, in the engine's order of validators; empty at height 1."""
    misbehavior: tuple[Misbehavior, ...] = ()


class ValidatorUpdate(msgspec.Struct, frozen=True):
    """A change of the engine's validator set; one that is returned for height H acts from H + 2 on."""

    public_key: bytes
    """Ed25519, 32 bytes."""
    power: int
    """0 removes the validator."""


NOTHING_AGREED = Agreed()
