"""The checked-in actions are what the code gives, and what the specification gives: bytes are recomputed with `rlp` and
hashlib, digests and signers with eth-account, from the vectors' own text and the documented table alone."""

import importlib.util
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rlp
from eth_account import Account
from eth_account.messages import encode_typed_data

from plait.types.action import ActionKind

HERE = Path(__file__).parent
PROTOCOL = (HERE.parents[1] / "docs/protocol.md").read_text()
VECTORS = msgspec.json.decode((HERE / "vectors/action_v1.json").read_bytes(), type=list[dict[str, Any]])
ROW = re.compile(r"^\| \d* ?\| `(\w+)` \| (.*) \|$", re.M)
FIELD = re.compile(r"(uint\d+|address|bytes32|bytes|string|\w+\[\]) (\w+)(?: \([^)]*\))?")


def documented() -> dict[str, list[tuple[str, str]]]:
    """(type, name) of the fields of every kind and struct, read from the specification's table."""
    text = PROTOCOL.split("<!-- actions -->\n")[1].split("<!-- /actions -->")[0]
    return {name: [] if fields == "none" else FIELD.findall(fields) for name, fields in ROW.findall(text)}


TYPES = documented()


def item(type_: str, value: Any) -> Any:
    """What `rlp` encodes for a value."""
    if type_.endswith("[]"):
        return [[item(inner, entry[name]) for inner, name in TYPES[type_[:-2]]] for entry in value]
    if type_.startswith("uint"):
        return rlp.sedes.big_endian_int.serialize(int(value))
    return value.encode() if type_ == "string" else bytes.fromhex(value[2:])


def typed(vector: dict[str, Any]) -> dict[str, Any]:
    """The typed data of section 11."""
    fields = [("uint64", "nonce"), ("uint128", "maxFee"), *TYPES[vector["name"]]]
    held = {type_[:-2] for type_, _ in fields if type_.endswith("[]")}
    types = {name: [{"name": n, "type": t} for t, n in TYPES[name]] for name in held}
    types[vector["name"]] = [{"name": n, "type": t} for t, n in fields]
    domain = [("name", "string"), ("version", "string"), ("salt", "bytes32")]
    types["EIP712Domain"] = [{"name": n, "type": t} for n, t in domain]
    salt = sha256(b"plait/actions/1" + vector["networkId"].to_bytes(8, "big")).digest()
    return {
        "types": types,
        "primaryType": vector["name"],
        "domain": {"name": "Plait", "version": "1", "salt": salt},
        "message": {"nonce": vector["nonce"], "maxFee": vector["maxFee"]} | vector["fields"],
    }


def test_the_code_gives_the_checked_in_vectors() -> None:
    spec = importlib.util.spec_from_file_location("action_vectors", HERE / "action_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.render(maker.vectors()) == maker.PATH.read_bytes()


def test_every_kind_has_vectors() -> None:
    assert {vector["kind"] for vector in VECTORS} == set(ActionKind)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['name']}-{vector['nonce']}")
def test_the_specification_alone_gives_the_same_bytes_digest_and_sender(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["raw"][2:])
    signature = rlp.decode(raw)[-1]
    head = [rlp.sedes.big_endian_int.serialize(int(vector[name])) for name in ("kind", "nonce", "maxFee")]
    body = [item(type_, vector["fields"][name]) for type_, name in TYPES[vector["name"]]]
    assert rlp.encode([*head, *body, signature]) == raw
    assert "0x" + sha256(raw).hexdigest() == vector["hash"]
    message = encode_typed_data(full_message=typed(vector))
    assert Account.recover_message(message, signature=signature).lower() == vector["sender"]
    assert signature[64] in (27, 28)
