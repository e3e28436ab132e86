"""Signed unsafe blocks as op-node's peers gossip them: encoder and decoder of the message, not of the network.

Specification (OP Stack specs, rollup-node-p2p "Gossip Topics"; op-node v1.16.11 op-node/p2p/gossip.go)
    message    snappy block of: signature (r, s, v: 65 bytes) ++ payload bytes
    payload    from version 3 on the parent beacon block root, then SSZ of the execution payload
    signature  over keccak(domain ++ u256 chain id ++ keccak(payload bytes)), domain 32 zero bytes, v 0 or 1
    topic      /optimism/<chain id>/<version - 1>/blocks
    id         the first 20 bytes of sha256(0x01000000 ++ u64le length of the topic ++ topic ++ payload with signature),
               0x00000000 and the message as it is where it does not decompress
What a stock node checks beyond this is about its clock and what it saw before: not older than 60 s, at most 5 s ahead,
at most 5 blocks of a height, and the block hash over all fields. Whoever decodes here compares the hash with a block of
its own or has an engine check it.
Imports: plait.types, plait.errors, plait.limits, plait.native (Keccak-256, recovery), cramjam (snappy). Pure.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import cramjam
import msgspec

from plait.derivation.execution_payload import (
    PayloadEnvelope,
    PayloadVersion,
    decode_envelope_ssz,
    encode_envelope_ssz,
)
from plait.errors import CodecError
from plait.limits import GOSSIP_MESSAGE_BYTES_MAX
from plait.native import keccak256, recover_signer
from plait.types import Address, ChainId, Hash32

SIGNING_DOMAIN_BLOCKS_V1: Final = bytes(32)
SIGNATURE_BYTES: Final = 65
_VARINT_BYTES_MAX: Final = 5
_VALID_SNAPPY: Final = b"\x01\x00\x00\x00"
_INVALID_SNAPPY: Final = b"\x00\x00\x00\x00"
_ID_BYTES: Final = 20

Signer = Callable[[Hash32], bytes]
"""Signs a 32-byte digest: r, s, v (0 or 1), 65 bytes; `plait.native.sign_digest` with its key bound, or another."""


class SignedPayload(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded message."""

    envelope: PayloadEnvelope
    signature: bytes
    signer: Address
    """Recovered; whoever takes the block compares it with the chain's unsafe block signer (SystemConfig)."""


def blocks_topic(chain_id: ChainId, version: PayloadVersion) -> str:
    """The gossip topic of blocks of a version (1 to 4)."""
    return f"/optimism/{chain_id}/{version - 1}/blocks"


def signing_hash(chain_id: ChainId, payload: bytes, domain: bytes = SIGNING_DOMAIN_BLOCKS_V1) -> Hash32:
    """What the sequencer signs.

    Args:
        chain_id: of the rollup, below 2**256.
        payload: the payload bytes of the message.
        domain: 32 bytes.

    Raises:
        CodecError: `gossip_malformed`, the chain id does not fit 32 bytes.
    """
    if not 0 <= chain_id < 2**256:
        raise _malformed("a chain id has at most 256 bits")
    return Hash32(keccak256(domain + chain_id.to_bytes(32, "big") + keccak256(payload)))


def encode_message(envelope: PayloadEnvelope, chain_id: ChainId, sign: Signer) -> bytes:
    """A message as a peer publishes it on `blocks_topic(chain_id, envelope.payload.version)`.

    Raises:
        CodecError: `payload_malformed`; `gossip_malformed`, larger than GOSSIP_MESSAGE_BYTES_MAX.
    """
    payload = encode_envelope_ssz(envelope)
    if SIGNATURE_BYTES + len(payload) > GOSSIP_MESSAGE_BYTES_MAX:
        raise _malformed(f"it has {len(payload)} bytes; peers take {GOSSIP_MESSAGE_BYTES_MAX} at most")
    return bytes(cramjam.snappy.compress_raw(sign(signing_hash(chain_id, payload)) + payload))


def decode_message(message: bytes, chain_id: ChainId, version: PayloadVersion) -> SignedPayload:
    """A message that arrived on the topic of a version, with the signer recovered.

    Raises:
        CodecError: `gossip_malformed` (not snappy, too large or short, a signature of nobody), `payload_malformed`.
    """
    data = _decompressed(message)
    if data is None:
        raise _malformed(f"it is not a snappy block of at most {GOSSIP_MESSAGE_BYTES_MAX} bytes")
    if len(data) <= SIGNATURE_BYTES:
        raise _malformed("it is too short for a signature and a payload")
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    signer = recover_signer(signing_hash(chain_id, payload), signature)
    if signer is None:
        raise _malformed("its signature is no signature (r, s, v with low s)")
    envelope = decode_envelope_ssz(payload, version)
    return SignedPayload(envelope=envelope, signature=signature, signer=Address(signer))


def message_id(topic: str, message: bytes) -> bytes:
    """The 20 bytes by which peers recognise a message they have seen."""
    data = _decompressed(message)
    name = topic.encode()
    domain, content = (_INVALID_SNAPPY, message) if data is None else (_VALID_SNAPPY, data)
    return hashlib.sha256(domain + len(name).to_bytes(8, "little") + name + content).digest()[:_ID_BYTES]


def _decompressed(message: bytes) -> bytes | None:
    """The block's content; its length is read before anything is made of it."""
    length = shift = 0
    for place, byte in enumerate(message[:_VARINT_BYTES_MAX]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if place == _VARINT_BYTES_MAX - 1:
            return None
    if not message or length > GOSSIP_MESSAGE_BYTES_MAX:
        return None
    try:
        return bytes(cramjam.snappy.decompress_raw(message))
    except cramjam.DecompressionError:
        return None


def _malformed(reason: str) -> CodecError:
    return CodecError(f"This is no signed block of the OP Stack: {reason}.", code="gossip_malformed", reason=reason)
