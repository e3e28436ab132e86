"""Random actions, made from the action table itself; for this and other folders' tests."""

from typing import Any

from hypothesis import strategies as st

from plait.codec.action import _CHARACTERS_REFUSED, MALFORMED
from plait.types.action import ACTION_TABLE, STRUCT_TYPES, Action, ActionType, Body, Field

SECP256K1_HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
__all__ = ["MALFORMED", "actions", "bodies", "signatures"]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(sorted(_CHARACTERS_REFUSED))))


def values(field: Field) -> st.SearchStrategy[Any]:
    """Values of one field, extremes often."""
    if field.type.endswith("[]"):
        struct = STRUCT_TYPES[field.type[:-2]]
        entry = st.builds(struct.struct, **{inner.name: values(inner) for inner in struct.fields})
        return st.lists(entry, min_size=field.low, max_size=min(field.bound, 3)).map(tuple)
    if field.type.startswith("uint"):
        return st.integers(field.low, field.bound) | st.sampled_from([field.low, field.bound])
    if field.type in ("address", "bytes32"):
        return st.binary(min_size=field.bound, max_size=field.bound)
    if field.type == "bytes":
        return st.binary(min_size=field.low, max_size=min(field.bound, max(field.low, 80)))
    return texts.filter(lambda text: field.low <= len(text.encode()) <= field.bound)


def body_of(entry: ActionType) -> st.SearchStrategy[Body]:
    """Bodies of one kind."""
    return st.builds(entry.body, **{field.name: values(field) for field in entry.fields})


bodies = st.sampled_from(sorted(ACTION_TABLE)).flatmap(lambda kind: body_of(ACTION_TABLE[kind]))
signatures = st.tuples(st.integers(1, SECP256K1_HALF), st.integers(1, SECP256K1_HALF), st.sampled_from([27, 28])).map(
    lambda rsv: rsv[0].to_bytes(32, "big") + rsv[1].to_bytes(32, "big") + bytes((rsv[2],))
)
actions = st.builds(
    Action,
    nonce=st.integers(0, 2**64 - 1),
    max_fee=st.integers(0, 2**128 - 1),
    body=bodies,
    signature=signatures,
)
