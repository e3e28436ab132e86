"""Canonical bytes of an action, and the typed data that a wallet shows and signs; both from `ACTION_TABLE`.

    action      = [kind, nonce, max_fee, field, ..., signature]        fields in the table's order
    signature   = 65 bytes: r, s, v with v = 27 or 28, s in the lower half (checked where the signer is recovered)
    a uint is an RLP integer; address, bytes32, bytes and string are RLP strings; a list is an RLP list of [field, ...]
    domain      = name "Plait", version "1", salt = SHA-256("plait/actions/1" || network_id as 8 bytes)

There is no chain id in the domain, because a wallet refuses one that is not its current network's; the salt binds an
action to one network. Strings are UTF-8 without control or direction-changing characters, so that a terminal and a
wallet show what was signed. Bytes that are none of this are refused with `action_malformed`.

Level 0. Raises CodecError (`action_malformed`) and nothing else. Source: EIP-712.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import ACTION_BYTES_MAX
from plait.types.action import (
    ACTION_OF_NAME,
    ACTION_TABLE,
    HEAD_FIELDS,
    STRUCT_TYPES,
    TYPE_OF_BODY,
    Action,
    ActionType,
    Body,
    Field,
)
from plait.types.identifiers import NetworkId
from plait.types.quantities import Amount

DOMAIN_NAME: Final = "Plait"
DOMAIN_VERSION: Final = "1"
DOMAIN_FIELDS: Final = (("name", "string"), ("version", "string"), ("salt", "bytes32"))
MALFORMED: Final = "action_malformed"

# C0 and C1 controls but the line feed, and the marks that change the direction of what follows (Unicode, annex 9)
_CHARACTERS_REFUSED: Final = frozenset(
    map(chr, (*range(0x0A), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)


def domain_salt(network_id: NetworkId) -> bytes:
    """Salt of the network's EIP-712 domain, 32 bytes."""
    return sha256(b"plait/actions/1" + network_id.to_bytes(8, "big")).digest()


# ---------------------------------------------------------------- canonical bytes
def encode_action(action: Action) -> bytes:
    """Canonical bytes.

    Raises:
        CodecError: `action_malformed`, a field is out of its bounds or the whole too large.
    """
    entry = TYPE_OF_BODY[type(action.body)]
    head = (encode_uint(entry.kind), *(_encode_value(field, getattr(action, field.name)) for field in HEAD_FIELDS))
    check_signature_form(action.signature)
    body = (_encode_value(field, getattr(action.body, field.name)) for field in entry.fields)
    encoded = encode_list((*head, *body, encode_bytes(action.signature)))
    if len(encoded) > ACTION_BYTES_MAX:
        raise _malformed(f"an action has at most {ACTION_BYTES_MAX} bytes, this one {len(encoded)}")
    return encoded


def decode_action(data: bytes) -> Action:
    """Reads canonical bytes.

    Raises:
        CodecError: `action_malformed`, it is not the canonical encoding of an action.
    """
    if len(data) > ACTION_BYTES_MAX:
        raise _malformed(f"an action has at most {ACTION_BYTES_MAX} bytes, this one {len(data)}")
    try:
        outer = Reader(data, what="action")
        reader = outer.read_list("action")
        outer.end()
        entry = _read_kind(reader)
        head = {field.name: _decode_value(field, reader) for field in HEAD_FIELDS}
        body = _read_fields(entry, reader)
        signature = reader.read_bytes(size=65)
        reader.end()
    except CodecError as error:
        raise _malformed(error.message, **error.fields) from error
    check_signature_form(signature)
    return Action(nonce=head["nonce"], max_fee=Amount(head["max_fee"]), body=body, signature=signature)


def encode_body(body: Body) -> bytes:
    """A body by itself, as the ledger keeps it: [kind, field, ...].

    Raises:
        CodecError: `action_malformed`, a field is out of its bounds.
    """
    entry = TYPE_OF_BODY[type(body)]
    fields = (_encode_value(field, getattr(body, field.name)) for field in entry.fields)
    return encode_list((encode_uint(entry.kind), *fields))


def decode_body(reader: Reader) -> Body:
    """Reads what `encode_body` wrote.

    Raises:
        CodecError: not canonical, or of an unknown kind.
    """
    body = _read_fields(_read_kind(reader), reader)
    reader.end()
    return body


def _read_kind(reader: Reader) -> ActionType:
    kind = reader.read_uint(255)
    entry = ACTION_TABLE.get(kind)
    if entry is None:
        raise _malformed(f"there is no action of kind {kind}", kind=kind)
    return entry


def _read_fields(entry: ActionType, reader: Reader) -> Body:
    return entry.body(**{field.name: _decode_value(field, reader) for field in entry.fields})


def check_signature_form(signature: bytes) -> None:
    """Raises CodecError `action_malformed` unless it has 65 bytes and v is 27 or 28."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise _malformed("a signature has 65 bytes: r, s, and v of 27 or 28")


def check_body(body: Body) -> None:
    """Raises CodecError `action_malformed` when a field is out of its bounds."""
    for field in TYPE_OF_BODY[type(body)].fields:
        _encode_value(field, getattr(body, field.name))


def _encode_value(field: Field, value: Any) -> bytes:
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        _check_range(field, len(value), "entries")
        return encode_list(
            encode_list(_encode_value(inner, getattr(entry, inner.name)) for inner in struct.fields) for entry in value
        )
    if field.type.startswith("uint"):
        if not isinstance(value, int) or isinstance(value, bool):
            raise _malformed(f"{field.wire_name} must be an integer", field=field.wire_name)
        _check_range(field, value, "")
        return encode_uint(value)
    if field.type == "string":
        if not isinstance(value, str):
            raise _malformed(f"{field.wire_name} must be a string", field=field.wire_name)
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise _malformed(f"{field.wire_name} is not Unicode text", field=field.wire_name) from error
        _check_text(field, value)
    else:
        if not isinstance(value, bytes):
            raise _malformed(f"{field.wire_name} must be bytes", field=field.wire_name)
        data = value
    _check_range(field, len(data), "bytes")
    return encode_bytes(data)


def _decode_value(field: Field, reader: Reader) -> Any:
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        entries = reader.read_list(field.wire_name)
        values: list[Any] = []
        while entries.more:
            if len(values) == field.bound:
                raise _malformed(f"{field.wire_name} has more than {field.bound} entries", field=field.wire_name)
            entry = entries.read_list(struct.name)
            values.append(struct.struct(**{inner.name: _decode_value(inner, entry) for inner in struct.fields}))
            entry.end()
        _check_range(field, len(values), "entries")
        return tuple(values)
    if field.type.startswith("uint"):
        number = reader.read_uint(field.bound)
        _check_range(field, number, "")
        return number
    if field.type in ("address", "bytes32"):
        return reader.read_bytes(size=field.bound)
    data = reader.read_bytes(size_max=field.bound)
    _check_range(field, len(data), "bytes")
    if field.type == "bytes":
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _malformed(f"{field.wire_name} is not UTF-8", field=field.wire_name) from error
    _check_text(field, text)
    return text


def _check_range(field: Field, measure: int, unit: str) -> None:
    low = field.bound if field.type in ("address", "bytes32") else field.low
    if not low <= measure <= field.bound:
        measured = f"{measure} {unit}".rstrip()
        sentence = f"{field.wire_name} is {measured}; it must lie in {low} to {field.bound}"
        raise _malformed(sentence, field=field.wire_name)


def _check_text(field: Field, text: str) -> None:
    if not _CHARACTERS_REFUSED.isdisjoint(text):
        raise _malformed(
            f"{field.wire_name} holds a control character or one that changes the direction of text",
            field=field.wire_name,
        )


def _malformed(sentence: str, **fields: Any) -> CodecError:
    return CodecError(sentence, code=MALFORMED, **fields)


# ---------------------------------------------------------------- typed data
def struct_definitions(entry: ActionType) -> dict[str, list[tuple[str, str]]]:
    """(name, type) of every field: the primary type first, then the structs that it holds by name."""
    own = {entry.name: [(field.wire_name, field.type) for field in (*HEAD_FIELDS, *entry.fields)]}
    held = sorted(field.type[:-2] for field in entry.fields if field.type.endswith("[]"))
    for name in held:
        own[name] = [(field.wire_name, field.type) for field in STRUCT_TYPES[name].fields]
    return own


def typed_data(network_id: NetworkId, nonce: int, max_fee: Amount, body: Body) -> dict[str, Any]:
    """The `eth_signTypedData_v4` object of an action: integers as decimal strings, bytes as 0x strings."""
    entry = TYPE_OF_BODY[type(body)]
    check_body(body)
    types = {"EIP712Domain": [{"name": name, "type": type_} for name, type_ in DOMAIN_FIELDS]}
    for name, fields in struct_definitions(entry).items():
        types[name] = [{"name": field, "type": type_} for field, type_ in fields]
    message = {"nonce": str(nonce), "maxFee": str(max_fee)} | body_to_json(body)
    domain = {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "salt": "0x" + domain_salt(network_id).hex()}
    return {"types": types, "primaryType": entry.name, "domain": domain, "message": message}


def body_to_json(body: Body) -> dict[str, Any]:
    """The body's fields by wire name."""
    return {field.wire_name: _to_json(field, getattr(body, field.name)) for field in TYPE_OF_BODY[type(body)].fields}


def body_from_json(name: str, fields: Mapping[str, Any]) -> Body:
    """A body from its kind's name and fields by wire name; integers may be numbers, decimal or 0x strings.

    Raises:
        CodecError: `action_malformed`, an unknown kind, a field missing, unknown, of a wrong form or out of bounds.
    """
    entry = ACTION_OF_NAME.get(name)
    if entry is None:
        raise _malformed(f"there is no action named {name[:40]!r}; known: {', '.join(ACTION_OF_NAME)}")
    body = entry.body(**_fields_from_json(entry.name, entry.fields, fields))
    check_body(body)
    return body


def _fields_from_json(what: str, fields: Sequence[Field], given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _malformed(f"{what} must be an object")
    names = {field.wire_name for field in fields}
    unknown, missing = sorted(set(given) - names), sorted(names - set(given))
    if unknown or missing:
        parts = [f"unknown: {', '.join(map(str, unknown))[:200]}"] * bool(unknown)
        parts += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise _malformed(f"{what} has the wrong fields ({'; '.join(parts)})")
    return {field.name: _from_json(field, given[field.wire_name]) for field in fields}


def _to_json(field: Field, value: Any) -> Any:
    if field.type.endswith("[]"):
        inner = STRUCT_TYPES[field.type[:-2]].fields
        return [{part.wire_name: _to_json(part, getattr(entry, part.name)) for part in inner} for entry in value]
    if field.type.startswith("uint"):
        return str(value)
    return value if field.type == "string" else "0x" + value.hex()


def _from_json(field: Field, value: Any) -> Any:
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        if not isinstance(value, list) or len(value) > field.bound:
            raise _malformed(f"{field.wire_name} must be a list of at most {field.bound}", field=field.wire_name)
        return tuple(struct.struct(**_fields_from_json(struct.name, struct.fields, entry)) for entry in value)
    if field.type == "string":
        return value
    if field.type.startswith("uint"):
        if isinstance(value, str) and len(value) <= 80 and value.isascii():
            try:
                return int(value, 16 if value.startswith("0x") else 10)
            except ValueError:
                pass
        elif isinstance(value, int) and not isinstance(value, bool):
            return value
        raise _malformed(f"{field.wire_name} must be an integer, decimal or 0x", field=field.wire_name)
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 2 * ACTION_BYTES_MAX:
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise _malformed(f"{field.wire_name} must be a 0x string of whole bytes", field=field.wire_name)
