"""Proof that a proposer signed two different proposals for one height and round.

    payload = [sign_bytes, signature, sign_bytes, signature]        RLP; signatures are 64 bytes

The sign bytes are CometBFT's: a length and the canonical proposal as protobuf. Only its proposer's consensus key can
have signed it, and CometBFT's signer never signs two for one height and round that differ in the block.

Source: CometBFT v0.38 spec/core/data_structures and proto/tendermint/types/canonical.proto. Level 3, pure.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list
from plait.errors import ActionRefused, CodecError
from plait.native import ed25519_verify

PROPOSAL_TYPE: Final = 32
SIGN_BYTES_MAX: Final = 1_024
"""A canonical proposal has about 130 bytes and the chain id."""


class SignedProposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a canonical proposal says."""

    height: int
    round_number: int
    block_id: bytes
    """Encoded block id: hash and part set header."""
    chain_id: str


class Equivocation(msgspec.Struct, frozen=True, kw_only=True):
    """Two signed proposals as they were handed in."""

    first: bytes
    first_signature: bytes
    second: bytes
    second_signature: bytes


def encode_equivocation(proof: Equivocation) -> bytes:
    """Payload of the evidence action."""
    return encode_list(map(encode_bytes, msgspec.structs.astuple(proof)))


def judge(payload: bytes, public_key: bytes, chain_id: str) -> int:
    """Height at which the key's owner signed two proposals for one round.

    Raises:
        ActionRefused: `evidence_malformed`, `evidence_chain_wrong`, `evidence_proves_nothing`,
            `evidence_signature_invalid`.
    """
    try:
        proof = _read(payload)
        first, second = read_sign_bytes(proof.first), read_sign_bytes(proof.second)
    except CodecError as error:
        raise ActionRefused(f"the evidence cannot be read: {error.message}", code="evidence_malformed") from error
    if first.chain_id != chain_id or second.chain_id != chain_id:
        raise ActionRefused(
            f"the proposals are not of the chain {chain_id}", code="evidence_chain_wrong", chain_id=first.chain_id
        )
    if (first.height, first.round_number) != (second.height, second.round_number) or first.block_id == second.block_id:
        raise ActionRefused(
            "the proposals are of different rounds, or for the same block", code="evidence_proves_nothing"
        )
    signed = ((proof.first, proof.first_signature), (proof.second, proof.second_signature))
    if not all(ed25519_verify(public_key, message, signature) for message, signature in signed):
        raise ActionRefused("the validator's key has not signed both proposals", code="evidence_signature_invalid")
    return first.height


def _read(payload: bytes) -> Equivocation:
    outer = Reader(payload, what="equivocation")
    reader = outer.read_list("equivocation")
    outer.end()
    proof = Equivocation(
        first=reader.read_bytes(size_max=SIGN_BYTES_MAX),
        first_signature=reader.read_bytes(size=64),
        second=reader.read_bytes(size_max=SIGN_BYTES_MAX),
        second_signature=reader.read_bytes(size=64),
    )
    reader.end()
    return proof


def read_sign_bytes(data: bytes) -> SignedProposal:
    """Reads the sign bytes of a proposal.

    Raises:
        CodecError: they are not those of a proposal for a block.
    """
    length, at = read_varint(data, 0)
    if at + length != len(data):
        raise CodecError("the length before the proposal is wrong")
    numbers: dict[int, int] = {}
    strings: dict[int, bytes] = {}
    before = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        field, wire_type = tag >> 3, tag & 7
        if field <= before:
            raise CodecError("the fields of the proposal are not in order")
        before = field
        if wire_type == 0:
            numbers[field], at = read_varint(data, at)
        elif wire_type == 1 and at + 8 <= len(data):
            numbers[field] = int.from_bytes(data[at : at + 8], "little", signed=True)
            at += 8
        elif wire_type == 2:
            size, at = read_varint(data, at)
            if at + size > len(data):
                raise CodecError("a field of the proposal is cut off")
            strings[field] = data[at : at + size]
            at += size
        else:
            raise CodecError("a field of the proposal has an unknown form")
    if numbers.get(1) != PROPOSAL_TYPE or not set(numbers) <= {1, 2, 3, 4} or not set(strings) <= {5, 6, 7}:
        raise CodecError("these are not the sign bytes of a proposal")
    height, round_number = numbers.get(2, 0), numbers.get(3, 0)
    if height <= 0 or round_number < 0 or not strings.get(5):
        raise CodecError("the proposal has no height or no block")
    try:
        chain_id = strings.get(7, b"").decode()
    except UnicodeDecodeError as error:
        raise CodecError("the chain id is not UTF-8") from error
    return SignedProposal(height=height, round_number=round_number, block_id=strings[5], chain_id=chain_id)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned LEB128 number at `at`, and where the next byte is. Raises CodecError when it is cut off."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise CodecError("a number is cut off")
