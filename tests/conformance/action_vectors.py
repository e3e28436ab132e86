"""Makes the conformance vectors of ledger actions: `python tests/conformance/action_vectors.py` writes them.

One action per kind with the smallest, the greatest and a middle value of its fields, signed by a development key.
Changing a result is a change of the protocol and needs a decision record.
"""

from pathlib import Path
from typing import Any

import msgspec

from plait.codec.action import body_to_json
from plait.crypto.actions import action_digest, recover_action, sign_action
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types.action import ACTION_TABLE, STRUCT_TYPES, ActionType, Body, Field

PATH = Path(__file__).parent / "vectors" / "action_v1.json"
NETWORKS = (901, 2**64 - 1)


def value(field: Field, place: int) -> Any:
    """The smallest (0), a middle (1) or the greatest (2) value of a field; long ones stay short."""
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        count = max(field.low, (field.low, 1, 2)[place])
        return tuple(
            struct.struct(**{inner.name: value(inner, min(2, place + at)) for inner in struct.fields})
            for at in range(count)
        )
    if field.type.startswith("uint"):
        return (field.low, (field.low + field.bound) // 2, field.bound)[place]
    if field.type in ("address", "bytes32", "bytes"):
        size = field.bound if field.type != "bytes" else max(field.low, min(field.bound, (1, 64, 100)[place]))
        return bytes((7 * place + at) % 256 for at in range(size))
    return "é€ plait"[: max(1, 2 * place + 1)] if field.low or place else ""


def body(entry: ActionType, place: int) -> Body:
    """A body of a kind."""
    return entry.body(**{field.name: value(field, place) for field in entry.fields})


def vectors() -> list[dict[str, Any]]:
    """All vectors."""
    made = []
    for entry in ACTION_TABLE.values():
        for place in range(3):
            key = DEVELOPMENT_ACCOUNTS[place].private_key
            network, nonce, fee = NETWORKS[place // 2], (0, 5, 2**64 - 1)[place], (0, 10**15, 2**128 - 1)[place]
            chosen = body(entry, place)
            raw = sign_action(network, nonce, fee, chosen, key)
            found = recover_action(raw, network)
            made.append(
                {
                    "kind": int(entry.kind),
                    "name": entry.name,
                    "networkId": network,
                    "nonce": nonce,
                    "maxFee": str(fee),
                    "fields": body_to_json(chosen),
                    "digest": "0x" + action_digest(network, nonce, fee, chosen).hex(),
                    "raw": "0x" + raw.hex(),
                    "hash": "0x" + found.hash.hex(),
                    "sender": "0x" + found.sender.hex(),
                }
            )
    return made


def render(made: list[dict[str, Any]]) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"


if __name__ == "__main__":
    PATH.write_bytes(render(vectors()))
