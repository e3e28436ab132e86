"""Commits: the precommits for a block, what each validator signed, and how much power stands behind it.

    sign bytes of a vote     = length-delimited CanonicalVote {type, height (sfixed64), round (sfixed64), block id
                               (left out for nil), timestamp, chain id}
    sign bytes of a proposal = length-delimited CanonicalProposal {type 32, height, round, POL round, block id,
                               timestamp, chain id}

`check_light`: the set that signed is known, so place i of the commit is validator i; more than two thirds of its power
must have signed the block. `check_trusting`: an older set is known and validators are found by address; more than the
trust level of its power must have signed. Both stop at the signature that suffices, as CometBFT does; both refuse a
commit in which one of the signatures looked at is wrong.

Source: CometBFT v0.38 spec/core/data_structures.md, types/canonical.go, types/validation.go. Pure.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property

import msgspec

from plait.errors import LightRefused
from plait.light.headers import ADDRESS_BYTES, HASH_BYTES, INT64_MAX, BlockId
from plait.light.protobuf import bytes_field, delimited, message_field, sfixed64_field, timestamp, uint_field
from plait.light.validators import Validator, ValidatorSet
from plait.limits import LIGHT_ROUND_MAX, LIGHT_VALIDATORS_MAX
from plait.native import ed25519_verify_many, merkle_root
from plait.types import Hash32, Height
from plait.types.consensus import BlockIdFlag

PREVOTE, PRECOMMIT, PROPOSAL = 1, 2, 32
"""CometBFT's SignedMsgType."""
SIGNATURE_BYTES = 64
ZERO_TIME_NS = -62_135_596_800 * 1_000_000_000
"""Go's zero time, 0001-01-01T00:00:00Z: the time of an absent signature."""

Verify = Callable[[Sequence[tuple[bytes, bytes, bytes]]], list[bool]]
"""Whether each (public key, message, signature) is valid by ZIP-215."""


class CommitSignature(msgspec.Struct, frozen=True):
    """One validator's place in a commit."""

    flag: BlockIdFlag
    address: bytes
    time_ns: int
    signature: bytes

    def encode(self) -> bytes:
        """tendermint.types.CommitSig: a leaf of the commit's hash."""
        return (
            uint_field(1, self.flag)
            + bytes_field(2, self.address)
            + message_field(3, timestamp(self.time_ns))
            + bytes_field(4, self.signature)
        )

    def check(self) -> None:
        """Raises LightRefused `light_commit_malformed`."""
        if self.flag is BlockIdFlag.ABSENT:
            if self.address or self.signature or self.time_ns != ZERO_TIME_NS:
                raise _malformed("An absent validator has neither address, time nor signature in a commit.")
        elif len(self.address) != ADDRESS_BYTES or len(self.signature) != SIGNATURE_BYTES:
            raise _malformed("A signature in a commit has 64 bytes, beside an address of 20 bytes.")


ABSENT = CommitSignature(BlockIdFlag.ABSENT, b"", ZERO_TIME_NS, b"")


class Commit(msgspec.Struct, frozen=True, dict=True):
    """The precommits of one round that decided a block."""

    height: Height
    round: int
    block_id: BlockId
    signatures: tuple[CommitSignature, ...]

    @cached_property
    def hash(self) -> Hash32:
        """What the next header names as its `last_commit_hash`."""
        return Hash32(merkle_root([signature.encode() for signature in self.signatures]))

    def check(self) -> None:
        """Raises LightRefused `light_commit_malformed` when no commit can be so."""
        if not 0 < self.height <= INT64_MAX or not 0 <= self.round <= LIGHT_ROUND_MAX:
            raise _malformed("A commit has a height above 0 and a round of at least 0.")
        if len(self.block_id.hash) != HASH_BYTES or len(self.block_id.parts_hash) != HASH_BYTES:
            raise _malformed("A commit is for a block.")
        if not 0 < len(self.signatures) <= LIGHT_VALIDATORS_MAX:
            raise _malformed(f"A commit has 1 to {LIGHT_VALIDATORS_MAX} places.")
        for signature in self.signatures:
            signature.check()

    def sign_bytes(self, chain_id: str, place: int) -> bytes:
        """What the validator at `place` signed."""
        signature = self.signatures[place]
        block_id = self.block_id if signature.flag is BlockIdFlag.COMMIT else BlockId()
        return vote_sign_bytes(
            chain_id, PRECOMMIT, height=self.height, round_=self.round, block_id=block_id, time_ns=signature.time_ns
        )


def vote_sign_bytes(chain_id: str, kind: int, *, height: int, round_: int, block_id: BlockId, time_ns: int) -> bytes:
    """What a validator signs for a prevote or a precommit.

    Args:
        chain_id: of the network's CometBFT genesis.
        kind: PREVOTE or PRECOMMIT.
        height: at least 0.
        round_: at least 0.
        block_id: nil for a vote for no block.
        time_ns: of the vote, nanoseconds since the Unix epoch.
    """
    return delimited(
        uint_field(1, kind)
        + sfixed64_field(2, height)
        + sfixed64_field(3, round_)
        + (b"" if block_id.is_nil else message_field(4, block_id.encode()))
        + message_field(5, timestamp(time_ns))
        + bytes_field(6, chain_id.encode())
    )


def proposal_sign_bytes(
    chain_id: str, *, height: int, round_: int, pol_round: int, block_id: BlockId, time_ns: int
) -> bytes:
    """What a proposer signs.

    Args:
        chain_id: of the network's CometBFT genesis.
        height: at least 0.
        round_: at least 0.
        pol_round: -1, or the earlier round in which the block had two thirds of the prevotes.
        block_id: of the proposed block.
        time_ns: of the proposal, nanoseconds since the Unix epoch.
    """
    return delimited(
        uint_field(1, PROPOSAL)
        + sfixed64_field(2, height)
        + sfixed64_field(3, round_)
        + uint_field(4, pol_round)
        + (b"" if block_id.is_nil else message_field(5, block_id.encode()))
        + message_field(6, timestamp(time_ns))
        + bytes_field(7, chain_id.encode())
    )


def check_light(chain_id: str, validators: ValidatorSet, commit: Commit, verify: Verify = ed25519_verify_many) -> int:
    """Checks that more than two thirds of a set signed its own commit.

    Returns:
        The power whose signatures were checked.

    Raises:
        LightRefused: `light_commit_malformed` (another number of places, or a place with another's address),
            `light_power_insufficient`, `light_signature_invalid`.
    """
    if len(commit.signatures) != len(validators.validators):
        raise _malformed(
            f"A set of {len(validators.validators)} validators has a commit of {len(commit.signatures)} places."
        )
    chosen: list[tuple[int, Validator]] = []
    needed = validators.total_power * 2 // 3
    power = 0
    for place, (signature, validator) in enumerate(zip(commit.signatures, validators.validators, strict=True)):
        if signature.flag is not BlockIdFlag.COMMIT:
            continue
        if signature.address != validator.address:
            raise _malformed(
                f"Place {place} of the commit is validator {validator.address.hex()}'s, and not signed by it."
            )
        chosen.append((place, validator))
        power += validator.power
        if power > needed:
            break
    if power <= needed:
        raise LightRefused(
            f"Height {commit.height} is signed by {power} of {validators.total_power} voting power; more than two "
            "thirds are needed.",
            code="light_power_insufficient", height=commit.height, power=power, total_power=validators.total_power,
        )  # fmt: skip
    _check_signatures(chain_id, commit, chosen, verify)
    return power


def check_trusting(
    chain_id: str,
    validators: ValidatorSet,
    commit: Commit,
    trust_level: Fraction = Fraction(1, 3),
    verify: Verify = ed25519_verify_many,
) -> int:
    """Checks that more than `trust_level` of an earlier set signed a later commit.

    Returns:
        The power whose signatures were checked.

    Raises:
        LightRefused: `light_trust_insufficient` (a block in between may help), `light_vote_repeated`,
            `light_signature_invalid`.
    """
    chosen: list[tuple[int, Validator]] = []
    seen: set[int] = set()
    needed = validators.total_power * trust_level.numerator // trust_level.denominator
    power = 0
    for place, signature in enumerate(commit.signatures):
        if signature.flag is not BlockIdFlag.COMMIT:
            continue
        index = validators.by_address.get(signature.address)
        if index is None:
            continue
        if index in seen:
            raise LightRefused(
                f"Validator {signature.address.hex()} stands twice in the commit of height {commit.height}.",
                code="light_vote_repeated", height=commit.height, address=signature.address,
            )  # fmt: skip
        seen.add(index)
        chosen.append((place, validators.validators[index]))
        power += validators.validators[index].power
        if power > needed:
            break
    if power <= needed:
        raise LightRefused(
            f"Height {commit.height} is signed by {power} of the {validators.total_power} voting power that is "
            f"trusted; more than {trust_level} is needed.",
            code="light_trust_insufficient", height=commit.height, power=power, total_power=validators.total_power,
        )  # fmt: skip
    _check_signatures(chain_id, commit, chosen, verify)
    return power


def _check_signatures(chain_id: str, commit: Commit, chosen: Sequence[tuple[int, Validator]], verify: Verify) -> None:
    signed = [
        (validator.public_key, commit.sign_bytes(chain_id, place), commit.signatures[place].signature)
        for place, validator in chosen
    ]
    for (place, validator), valid in zip(chosen, verify(signed), strict=True):
        if not valid:
            raise LightRefused(
                f"The signature at place {place} of the commit of height {commit.height} is not validator "
                f"{validator.address.hex()}'s.",
                code="light_signature_invalid", height=commit.height, place=place, address=validator.address,
            )  # fmt: skip


def _malformed(sentence: str) -> LightRefused:
    return LightRefused(sentence, code="light_commit_malformed")
