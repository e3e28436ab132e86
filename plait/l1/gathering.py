"""How attestations travel and how they become a quorum. Pure.

Specification
    A node serves what its own attester signed, for the newest points only (`plait_getL1Attestations`):

        {"chainId", "registry", "networkId", "epoch", "attester", "current": [validator, ...] | null,
         "checkpoints": [{"height", "appHash", "signature"}, ...],
         "sets": [{"height", "validators": [validator, ...], "signature"}, ...]}
        validator = [operator, public key, power]

    `epoch` is the registry's when they were signed; `current` is the set of that epoch, where the node knows it.
    Whoever pays asks the nodes, passes over whatever is malformed, of another registry or epoch, or signed by nobody of
    the current set, and adds up the rest: one attestation a validator for each (height, content). It believes nobody:
    the set is the registry's by its hash, and each signature is recovered.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from plait.errors import CodecError
from plait.l1.attestations import AttestedValidator, attester_of, in_order, is_quorum, set_hash
from plait.l1.registry import RegistryState
from plait.limits import L1_CHECKPOINT_POINTS_KEPT, VALIDATORS_MAX, VOTING_POWER_MAX
from plait.types import Address, Hash32, Height

_Row = tuple[str, str, int]


class CheckpointClaim(msgspec.Struct, frozen=True):
    """One signature of an app hash."""

    height: Height
    app_hash: Hash32
    signature: bytes


class SetClaim(msgspec.Struct, frozen=True):
    """One signature of the next set."""

    height: Height
    validators: tuple[AttestedValidator, ...]
    signature: bytes


class Attestations(msgspec.Struct, frozen=True, kw_only=True):
    """What one node serves."""

    chain_id: int
    registry: Address
    network_id: int
    epoch: int
    attester: Address
    current: tuple[AttestedValidator, ...] = ()
    """The set of the epoch; empty where the node does not know it."""
    checkpoints: tuple[CheckpointClaim, ...] = ()
    sets: tuple[SetClaim, ...] = ()

    def fits(self, state: RegistryState) -> bool:
        """Whether it is about this registry as it is now."""
        mine = (self.chain_id, self.registry, self.network_id, self.epoch)
        return mine == (state.contract.chain_id, state.contract.address, state.network_id, state.epoch)


class CheckpointVotes(msgspec.Struct, frozen=True):
    """Who of the current set signed an app hash: signatures by place."""

    height: Height
    app_hash: Hash32
    signatures: dict[int, bytes]


class SetVotes(msgspec.Struct, frozen=True):
    """Who of the current set signed a next set."""

    height: Height
    validators: tuple[AttestedValidator, ...]
    signatures: dict[int, bytes]


class Gathered(msgspec.Struct, frozen=True):
    """All that was signed, the greatest heights first."""

    checkpoints: tuple[CheckpointVotes, ...]
    sets: tuple[SetVotes, ...]


def to_json(one: Attestations) -> dict[str, Any]:
    """As a node answers."""
    return {
        "chainId": one.chain_id,
        "registry": _hex(one.registry),
        "networkId": one.network_id,
        "epoch": one.epoch,
        "attester": _hex(one.attester),
        "current": _rows(one.current) if one.current else None,
        "checkpoints": [
            {"height": claim.height, "appHash": _hex(claim.app_hash), "signature": _hex(claim.signature)}
            for claim in one.checkpoints
        ],
        "sets": [
            {"height": claim.height, "validators": _rows(claim.validators), "signature": _hex(claim.signature)}
            for claim in one.sets
        ],
    }


def from_json(value: Any) -> Attestations:
    """Reads a node's answer. Raises CodecError `codec_invalid` for anything that `to_json` does not make."""
    try:
        wire = msgspec.convert(value, _Wire)
        return Attestations(
            chain_id=wire.chainId,
            registry=Address(_bytes(wire.registry, 20)),
            network_id=wire.networkId,
            epoch=wire.epoch,
            attester=Address(_bytes(wire.attester, 20)),
            current=() if wire.current is None else _validators(wire.current),
            checkpoints=tuple(
                CheckpointClaim(Height(one.height), Hash32(_bytes(one.appHash, 32)), _bytes(one.signature, 64))
                for one in _bounded(wire.checkpoints)
            ),
            sets=tuple(
                SetClaim(Height(one.height), _validators(one.validators), _bytes(one.signature, 64))
                for one in _bounded(wire.sets)
            ),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise CodecError(f"these are no attestations: {error}") from error


def current_set(state: RegistryState, answers: Iterable[Attestations]) -> tuple[AttestedValidator, ...]:
    """The registry's current set, from the answer that has it; empty when none has."""
    return next((one.current for one in answers if one.current and set_hash(one.current) == state.set_hash), ())


def gather(
    state: RegistryState,
    validators: Sequence[AttestedValidator],
    attesters: Mapping[Address, int],
    answers: Iterable[Attestations],
) -> Gathered:
    """Adds up what nodes serve.

    Args:
        state: of the registry now.
        validators: its current set.
        attesters: place in the set by the key that attests for it.
        answers: of the nodes.
    """
    checkpoints: dict[tuple[Height, Hash32], dict[int, bytes]] = {}
    sets: dict[tuple[Height, tuple[AttestedValidator, ...]], dict[int, bytes]] = {}
    for one in answers:
        place = attesters.get(one.attester)
        if place is None or place >= len(validators) or not one.fits(state):
            continue
        for said in one.checkpoints:
            if attester_of(state.checkpoint_digest(said.height, said.app_hash), said.signature) == one.attester:
                checkpoints.setdefault((said.height, said.app_hash), {})[place] = said.signature
        for claim in one.sets:
            if attester_of(state.set_digest(claim.height, claim.validators), claim.signature) == one.attester:
                sets.setdefault((claim.height, claim.validators), {})[place] = claim.signature
    return Gathered(
        checkpoints=tuple(
            CheckpointVotes(height, app_hash, dict(sorted(signed.items())))
            for (height, app_hash), signed in sorted(checkpoints.items(), key=lambda row: row[0], reverse=True)
        ),
        sets=tuple(
            SetVotes(height, following, dict(sorted(signed.items())))
            for (height, following), signed in sorted(sets.items(), key=lambda row: -row[0][0])
        ),
    )


def signed_percent(validators: Sequence[AttestedValidator], votes: CheckpointVotes | SetVotes) -> int:
    """How much of the set's power signed."""
    total = sum(one.power for one in validators)
    return sum(validators[place].power for place in votes.signatures) * 100 // max(1, total)


def has_quorum(validators: Sequence[AttestedValidator], votes: CheckpointVotes | SetVotes) -> bool:
    """Whether the registry takes it."""
    return is_quorum(validators, votes.signatures)


class _WireCheckpoint(msgspec.Struct):
    height: int
    appHash: str  # noqa: N815 - the wire's name
    signature: str


class _WireSet(msgspec.Struct):
    height: int
    validators: list[_Row]
    signature: str


class _Wire(msgspec.Struct):
    chainId: int  # noqa: N815
    registry: str
    networkId: int  # noqa: N815
    epoch: int
    attester: str
    checkpoints: list[_WireCheckpoint]
    sets: list[_WireSet]
    current: list[_Row] | None = None


def _bounded(claims: list[Any]) -> list[Any]:
    if len(claims) > L1_CHECKPOINT_POINTS_KEPT:
        raise ValueError(f"more than {L1_CHECKPOINT_POINTS_KEPT} of a kind")
    if any(not 0 < claim.height < _UINT64 for claim in claims):
        raise ValueError("a height that cannot be")
    return claims


def _validators(rows: list[_Row]) -> tuple[AttestedValidator, ...]:
    if not 0 < len(rows) <= VALIDATORS_MAX:
        raise ValueError(f"a set of {len(rows)} validators")
    found = tuple(AttestedValidator(Address(_bytes(one, 20)), _bytes(key, 32), power) for one, key, power in rows)
    if any(not 0 < one.power <= VOTING_POWER_MAX for one in found) or in_order(found) != found:
        raise ValueError("a set that cannot be")
    return found


def _rows(validators: Sequence[AttestedValidator]) -> list[_Row]:
    return [(_hex(one.operator), _hex(one.public_key), one.power) for one in validators]


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _bytes(text: str, size: int) -> bytes:
    if len(text) != 2 + 2 * size or not text.startswith("0x"):
        raise ValueError(f"{size} bytes are expected as 0x and digits")
    return bytes.fromhex(text[2:])


_UINT64: Final = 2**64

__all__ = [
    "Attestations",
    "CheckpointClaim",
    "CheckpointVotes",
    "Gathered",
    "SetClaim",
    "SetVotes",
    "current_set",
    "from_json",
    "gather",
    "has_quorum",
    "signed_percent",
    "to_json",
]
