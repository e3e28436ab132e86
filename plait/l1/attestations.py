"""What validators sign for the L1 contracts: the next set, a checkpoint, a slash, an attester's key.

Specification
    digest    = keccak256(0x1901 || domain || struct hash)                                     (EIP-712)
    domain    of name "PlaitRegistry" or "StakeVault", version "1", the L1's chain id and the contract's address
    set hash  = keccak256 of the ABI encoding of (address operator, bytes32 publicKey, uint64 power)[]
    order     of a set: CometBFT's, by power, greatest first, then by consensus address
    A quorum is more than two thirds of the set's power. Who signed is a number whose bit i stands for place i of the
    set; signatures follow in that order, 64 bytes each: r, and s with the parity in its top bit (EIP-2098).

The digests are those of contracts/src/l1; an attester's key is a secp256k1 key, the operator's own unless the operator
appointed another. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from plait.native import keccak256, recover_signer, sign_digest
from plait.types import Address, Hash32, Height, NetworkId
from plait.types.consensus import consensus_address

_DOMAIN_TYPE: Final = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_SET_TYPE: Final = keccak256(
    b"ValidatorSetUpdate(uint64 networkId,uint64 epoch,uint64 height,bytes32 previousSet,bytes32 newSet)"
)
_CHECKPOINT_TYPE: Final = keccak256(b"Checkpoint(uint64 networkId,uint64 epoch,uint64 height,bytes32 appHash)")
_ATTESTER_TYPE: Final = keccak256(b"Attester(address operator,address attester,uint256 nonce)")
_SLASH_TYPE: Final = keccak256(b"Slash(uint64 epoch,uint256 withdrawalId,uint256 amount,uint256 nonce)")
_PARITY: Final = 1 << 255


class AttestedValidator(msgspec.Struct, frozen=True):
    """One validator of a set that L1 knows."""

    operator: Address
    public_key: bytes
    """Ed25519, 32 bytes."""
    power: int


class L1Contract(msgspec.Struct, frozen=True):
    """Which contract a signature is for: it is worth nothing on another chain or for another address."""

    chain_id: int
    """Of the L1."""
    address: Address

    def domain(self, name: str) -> bytes:
        """EIP-712 domain separator of the contract under its name."""
        parts = (_DOMAIN_TYPE, keccak256(name.encode()), keccak256(b"1"), _word(self.chain_id), _pad(self.address))
        return keccak256(b"".join(parts))


def in_order(validators: Iterable[AttestedValidator]) -> tuple[AttestedValidator, ...]:
    """The validators in CometBFT's order, which every set has."""
    return tuple(sorted(validators, key=lambda one: (-one.power, consensus_address(one.public_key))))


def set_hash(validators: Sequence[AttestedValidator]) -> Hash32:
    """What the registry knows a set by."""
    words = [_word(32), _word(len(validators))]
    for validator in validators:
        words += [_pad(validator.operator), validator.public_key, _word(validator.power)]
    return Hash32(keccak256(b"".join(words)))


def set_digest(
    registry: L1Contract,
    network_id: NetworkId,
    *,
    epoch: int,
    height: Height,
    previous: Hash32,
    validators: Sequence[AttestedValidator],
) -> bytes:
    """What validators of set `epoch` - 1, whose hash is `previous`, sign for the set that acts from `height` on."""
    words = (_word(network_id), _word(epoch), _word(height), previous, set_hash(validators))
    return _digest(registry.domain("PlaitRegistry"), _SET_TYPE, words)


def checkpoint_digest(
    registry: L1Contract, network_id: NetworkId, *, epoch: int, height: Height, app_hash: Hash32
) -> bytes:
    """What validators of set `epoch` sign for the network's state after `height`."""
    words = (_word(network_id), _word(epoch), _word(height), app_hash)
    return _digest(registry.domain("PlaitRegistry"), _CHECKPOINT_TYPE, words)


def attester_digest(registry: L1Contract, *, operator: Address, attester: Address, nonce: int) -> bytes:
    """What an attester's key signs to be appointed by an operator; `nonce` counts the operator's appointments."""
    return _digest(registry.domain("PlaitRegistry"), _ATTESTER_TYPE, (_pad(operator), _pad(attester), _word(nonce)))


def slash_digest(vault: L1Contract, *, epoch: int, withdrawal_id: int, amount: int, nonce: int) -> bytes:
    """What validators of set `epoch` sign to burn `amount` of a waiting withdrawal; `nonce` counts its slashes."""
    return _digest(vault.domain("StakeVault"), _SLASH_TYPE, map(_word, (epoch, withdrawal_id, amount, nonce)))


def attest(private_key: bytes, digest: bytes) -> bytes:
    """Signature of a 32-byte digest as the registry reads it, 64 bytes. ValueError: not a secp256k1 key."""
    signature = sign_digest(private_key, digest)
    s = int.from_bytes(signature[32:64], "big") | (_PARITY if signature[64] else 0)
    return signature[:32] + s.to_bytes(32, "big")


def attester_of(digest: bytes, attestation: bytes) -> Address | None:
    """Address whose key made the attestation; None when it is none."""
    if len(attestation) != 64:
        return None
    vs = int.from_bytes(attestation[32:], "big")
    found = recover_signer(digest, attestation[:32] + (vs & ~_PARITY).to_bytes(32, "big") + bytes((vs >> 255,)))
    return None if found is None else Address(found)


def pack(attestations: Mapping[int, bytes]) -> tuple[int, bytes]:
    """The contracts' `Signatures` from attestations by place in the set."""
    places = sum(1 << place for place in attestations)
    return places, b"".join(attestations[place] for place in sorted(attestations))


def is_quorum(validators: Sequence[AttestedValidator], places: Iterable[int]) -> bool:
    """Whether validators at these places have more than two thirds of the set's power."""
    signed = sum(validators[place].power for place in set(places))
    return 3 * signed > 2 * sum(validator.power for validator in validators)


def _digest(domain: bytes, type_hash: bytes, words: Iterable[bytes]) -> bytes:
    return keccak256(b"\x19\x01" + domain + keccak256(type_hash + b"".join(words)))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _pad(address: bytes) -> bytes:
    return address.rjust(32, b"\x00")
