"""CometBFT's validator set: who may sign, with how much power, and the hash by which a header names them.

    validator set hash = RFC 6962 tree hash over SimpleValidator {public key, voting power}, in the set's order
    address            = first 20 bytes of SHA-256 of the Ed25519 public key

The order is CometBFT's: by power, highest first, then by address. Proposer priorities are not part of the hash, so
nothing here looks at them. Source: CometBFT v0.38 types/validator_set.go (Hash), types/validator.go (Bytes). Pure.
"""

from collections.abc import Mapping
from functools import cached_property

import msgspec

from plait.errors import LightRefused
from plait.light.protobuf import bytes_field, message_field, uint_field
from plait.limits import LIGHT_VALIDATORS_MAX
from plait.native import merkle_root
from plait.types.consensus import ConsensusAddress, consensus_address
from plait.types.identifiers import Hash32

PUBLIC_KEY_BYTES = 32
TOTAL_POWER_MAX = (2**63 - 1) // 8
"""CometBFT's MaxTotalVotingPower."""


class Validator(msgspec.Struct, frozen=True, dict=True):
    """One validator."""

    public_key: bytes
    """Ed25519, 32 bytes."""
    power: int

    @cached_property
    def address(self) -> ConsensusAddress:
        """By which commits name it."""
        return consensus_address(self.public_key)

    def encode(self) -> bytes:
        """tendermint.types.SimpleValidator: a leaf of the set's hash."""
        return message_field(1, bytes_field(1, self.public_key)) + uint_field(2, self.power)


class ValidatorSet(msgspec.Struct, frozen=True, dict=True):
    """Validators in their set's order."""

    validators: tuple[Validator, ...]

    @cached_property
    def hash(self) -> Hash32:
        """What a header names the set by."""
        return Hash32(merkle_root([validator.encode() for validator in self.validators]))

    @cached_property
    def total_power(self) -> int:
        """Sum of all powers."""
        return sum(validator.power for validator in self.validators)

    @cached_property
    def by_address(self) -> Mapping[bytes, int]:
        """Place of each validator."""
        return {validator.address: place for place, validator in enumerate(self.validators)}

    def check(self) -> None:
        """Raises LightRefused `light_block_malformed` when no CometBFT network has such a set."""
        if not 0 < len(self.validators) <= LIGHT_VALIDATORS_MAX:
            raise _malformed(f"A validator set has 1 to {LIGHT_VALIDATORS_MAX} validators, not {len(self.validators)}.")
        for validator in self.validators:
            if len(validator.public_key) != PUBLIC_KEY_BYTES or validator.power <= 0:
                raise _malformed("A validator has an Ed25519 key of 32 bytes and a voting power above 0.")
        if self.total_power > TOTAL_POWER_MAX:
            raise _malformed(f"The voting power is {self.total_power} in all; at most {TOTAL_POWER_MAX} is possible.")
        if len(self.by_address) != len(self.validators):
            raise _malformed("A validator stands twice in its set.")


def _malformed(sentence: str) -> LightRefused:
    return LightRefused(sentence, code="light_block_malformed", field="validators")
