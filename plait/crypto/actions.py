"""Signatures of ledger actions: EIP-712 struct hash from the action table, signer recovery, signing.

    digest = keccak256(0x1901 || domain separator || struct hash)        (EIP-712)

A signer cannot be told apart from another network's: an action signed for another network, or changed by one bit,
recovers to another address or to none. Hence "wrong network" shows as an unknown sender or as
`action_signature_invalid`.

Level 1. Differential test against eth-account in tests/unit/codec.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any

from plait.codec.action import (
    DOMAIN_FIELDS,
    DOMAIN_NAME,
    DOMAIN_VERSION,
    decode_action,
    domain_salt,
    encode_action,
    struct_definitions,
)
from plait.errors import ActionRefused
from plait.limits import ACTION_RECOVERIES_KEPT
from plait.native import keccak256, recover_signer, sign_digest
from plait.types.action import HEAD_FIELDS, STRUCT_TYPES, TYPE_OF_BODY, Action, Body, Field, SignedAction
from plait.types.identifiers import Address, Hash32, NetworkId
from plait.types.quantities import Amount


def action_digest(network_id: NetworkId, nonce: int, max_fee: Amount, body: Body) -> bytes:
    """What the sender signs, 32 bytes."""
    entry = TYPE_OF_BODY[type(body)]
    head = b"".join(value.to_bytes(32, "big") for value in (nonce, max_fee))
    fields = b"".join(_encode(field, getattr(body, field.name)) for field in entry.fields)
    struct_hash = keccak256(_type_hash(type(body)) + head + fields)
    return keccak256(b"\x19\x01" + _domain_separator(network_id) + struct_hash)


@lru_cache(maxsize=ACTION_RECOVERIES_KEPT)
def recover_action(raw: bytes, network_id: NetworkId) -> SignedAction:
    """Decodes canonical bytes and finds the signer.

    Raises:
        CodecError: `action_malformed`.
        ActionRefused: `action_signature_invalid`, nobody signed this.
    """
    action = decode_action(raw)
    digest = action_digest(network_id, action.nonce, action.max_fee, action.body)
    sender = recover_signer(digest, action.signature)
    if sender is None:
        raise ActionRefused(
            "the signature is nobody's; sign the action again, for this network", code="action_signature_invalid"
        )
    return SignedAction(
        raw=raw,
        hash=Hash32(sha256(raw).digest()),
        sender=Address(sender),
        nonce=action.nonce,
        max_fee=action.max_fee,
        body=action.body,
    )


def sign_action(network_id: NetworkId, nonce: int, max_fee: Amount, body: Body, private_key: bytes) -> bytes:
    """Canonical bytes of an action signed by a key of 32 bytes.

    Raises:
        CodecError: `action_malformed`, a field is out of its bounds.
        ValueError: the key is none.
    """
    encode_action(Action(nonce=nonce, max_fee=max_fee, body=body, signature=bytes(64) + b"\x1b"))
    signature = sign_digest(private_key, action_digest(network_id, nonce, max_fee, body))
    normal = signature[:64] + bytes((27 + signature[64] % 27,))
    return encode_action(Action(nonce=nonce, max_fee=max_fee, body=body, signature=normal))


def _encode(field: Field, value: Any) -> bytes:
    """EIP-712 encodeData of one value, 32 bytes."""
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        type_hash = keccak256(_type_text(struct.name, [(part.wire_name, part.type) for part in struct.fields]))
        entries = (
            keccak256(type_hash + b"".join(_encode(part, getattr(entry, part.name)) for part in struct.fields))
            for entry in value
        )
        return keccak256(b"".join(entries))
    if field.type.startswith("uint"):
        return int(value).to_bytes(32, "big")
    if field.type == "string":
        return keccak256(value.encode())
    if field.type == "bytes":
        return keccak256(value)
    return bytes(value).rjust(32, b"\0")


@lru_cache(maxsize=64)
def _type_hash(body: type[Body]) -> bytes:
    definitions = struct_definitions(TYPE_OF_BODY[body])
    return keccak256(b"".join(_type_text(name, fields) for name, fields in definitions.items()))


@lru_cache(maxsize=64)
def _domain_separator(network_id: NetworkId) -> bytes:
    type_hash = keccak256(_type_text("EIP712Domain", list(DOMAIN_FIELDS)))
    texts = keccak256(DOMAIN_NAME.encode()) + keccak256(DOMAIN_VERSION.encode())
    return keccak256(type_hash + texts + domain_salt(network_id))


def _type_text(name: str, fields: list[tuple[str, str]]) -> bytes:
    """EIP-712 encodeType of one struct."""
    return f"{name}({','.join(f'{type_} {field}' for field, type_ in fields)})".encode()


assert all(field.type.startswith("uint") for field in HEAD_FIELDS), "action_digest encodes the head as integers"
