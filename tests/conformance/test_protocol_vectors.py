"""The checked-in vectors are what the code gives, and what the specification gives: hashes are recomputed here from
the text of docs/protocol.md with the `rlp` library and hashlib alone."""

import importlib.util
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rlp

from plait.ledger.stake_records import ACCOUNTS, Account
from plait.ledger.table import Table

HERE = Path(__file__).parent


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("protocol_vectors", HERE / "protocol_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()


def vectors(name: str) -> list[dict[str, Any]]:
    return msgspec.json.decode((HERE / "vectors" / f"{name}.json").read_bytes(), type=list[dict[str, Any]])


@pytest.mark.parametrize("name", sorted(MAKER.ALL))
def test_the_code_gives_the_checked_in_vectors(name: str) -> None:
    assert MAKER.render(MAKER.ALL[name]()) == (HERE / "vectors" / f"{name}.json").read_bytes()


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as the RFC writes it down."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def test_merkle_roots_follow_the_rfcs_recursion() -> None:
    for vector in vectors("merkle"):
        assert tree_hash([bytes.fromhex(leaf) for leaf in vector["leaves"]]).hex() == vector["root"]


def table_root(rows: list[list[bytes]], digits: int = 0) -> bytes:
    """At most 32 rows are a tree of their own; more are divided by the next hex digit of the SHA-256 of their keys."""
    if len(rows) <= 32:
        return tree_hash([rlp.encode(row) for row in rows])
    children: list[list[list[bytes]]] = [[] for _ in range(16)]
    for row in rows:
        children[int(sha256(row[0]).hexdigest()[digits], 16)].append(row)
    return tree_hash([b"branch", *(table_root(child, digits + 1) if child else b"" for child in children)])


def test_a_large_table_follows_the_rule_for_branches() -> None:
    rows = [(index.to_bytes(20, "big"), Account(index, 1)) for index in range(1_500)]
    parts = [[key, rlp.decode(ACCOUNTS.encode(account))] for key, account in rows]
    assert table_root(parts) == Table(ACCOUNTS, rows).root()


def test_ledger_roots_follow_the_specification() -> None:
    for vector in vectors("ledger_v4"):
        version, core, economy, records, l1 = rlp.decode(bytes.fromhex(vector["bytes"]))
        assert (version, l1) == (b"\4", [])
        assert int.from_bytes(core[4], "big") == vector["ledger"]["height"]
        parts = rlp.decode(economy)
        fixed, tables = parts[:8], parts[8:]
        leaves = [*map(rlp.encode, fixed), *map(table_root, tables)]
        assert tree_hash(leaves).hex() == vector["economy_root"]
        leaves = [rlp.encode(core), bytes.fromhex(vector["economy_root"]), b"", *map(rlp.encode, records)]
        assert tree_hash(leaves).hex() == vector["root"]


def test_proposals_follow_the_specification() -> None:
    for vector in vectors("proposal_v2"):
        header, actions, bundles, blocks = rlp.decode(bytes.fromhex(vector["proposal_bytes"]))
        items = {int.from_bytes(rollup_id, "big"): entries for rollup_id, entries in blocks}
        roots = [tree_hash(items.get(rollup_id, [])) for rollup_id in (901, 902)]
        assert header[8] == [
            [rollup_id.to_bytes(2, "big"), root] for rollup_id, root in zip((901, 902), roots, strict=True)
        ]
        ids = [rollup_id.to_bytes(8, "big") for rollup_id in (901, 902)]
        assert header[9] == tree_hash([i + root for i, root in zip(ids, roots, strict=True)])
        assert header[10] == tree_hash(ids)
        assert (actions, bundles, header[13:]) == ([], [], [tree_hash([]), tree_hash([])])
        header_hash = sha256(rlp.encode(header)).digest()
        assert header_hash.hex() == vector["header_hash"]
        assert sha256(bytes.fromhex(vector["proposal_bytes"])).hexdigest() == vector["proposal_hash"]
        assert sha256(rlp.encode([header[2], header_hash, header[12]])).hexdigest() == vector["app_hash"]


def test_bundles_follow_the_specification() -> None:
    """docs/protocol.md, sections 2, 3 and 9, with the `rlp` library and hashlib alone."""
    kinds, comparisons = ["balance", "storage", "call"], ["eq", "ne", "lt", "gt", "le", "ge"]
    for vector in vectors("bundle_v1"):
        bundle = vector["bundle"]
        legs = [[bytes.fromhex(raw) for raw in leg["transactions"]] for leg in bundle["legs"]]
        leg_hashes = [sha256(rlp.encode(leg)).digest() for leg in legs]
        listed = [
            [leg["rollup_id"], digest, leg["allowed_reverts"]]
            for leg, digest in zip(bundle["legs"], leg_hashes, strict=True)
        ]
        conditions = [
            [
                found["rollup_id"],
                kinds.index(found["kind"]),
                bytes.fromhex(found["address"]),
                bytes.fromhex(found["input"]),
                comparisons.index(found["comparison"]),
                found["value"],
            ]
            for found in bundle["conditions"]
        ]
        bid, pins = bundle["fee_bid"], bundle["pins"]
        more = [
            [] if bid is None else [bid["rollup_id"], bid["amount"]],
            int(bundle["delivery_required"]),
            [[pin["rollup_id"], pin["block_number"], pin["log_index"]] for pin in pins],
        ]
        terms = rlp.encode([1, bundle["not_before_slot"], bundle["deadline_slot"], listed, conditions, *more])
        assert terms.hex() == vector["terms_bytes"]
        bundle_hash = sha256(terms).digest()
        assert bundle_hash.hex() == vector["bundle_hash"]
        items = [b"\1" + bundle_hash + rlp.encode(leg) for leg in legs]
        assert [item.hex() for item in items] == vector["leg_items"]
        header, actions, entries, blocks = rlp.decode(bytes.fromhex(vector["proposal_bytes"]))
        assert [rlp.encode(entry).hex() for entry in entries] == [vector["entry_bytes"]]
        assert [listed[0] for _, listed in blocks] == items
        assert header[8] == [[rollup_id, tree_hash(listed)] for rollup_id, listed in blocks]
        assert (actions, header[13]) == ([], tree_hash([]))
        assert header[14] == tree_hash([rlp.encode(entry) for entry in entries])
        assert sha256(rlp.encode(header)).hexdigest() == vector["header_hash"]


def test_invalid_proposals_have_codes() -> None:
    assert {vector["code"] for vector in vectors("proposal_v2_invalid")} == {"codec_invalid", "codec_version_unknown"}


def test_orders_follow_the_specification() -> None:
    """By the definition with the running maximum, over hashes and fees written in the vectors' raw transactions."""
    for vector in vectors("ordering_v1"):
        entries = []
        for queue in vector["queues"]:
            highest, stamp = (-(2**256), ""), 0
            for place, (raw_hex, ready_ms) in enumerate(queue):
                raw = bytes.fromhex(raw_hex)
                fields = rlp.decode(raw[1:])
                tip, cap = (int.from_bytes(field, "big") for field in fields[2:4])
                if cap < vector["base_fee"]:
                    break
                stamp = max(stamp, min(ready_ms, vector["time_ms"]))
                fee = min(tip, cap - vector["base_fee"])
                digest = MAKER._decoded(raw).hash.hex()
                highest = max(highest, (-fee if vector["policy"] == "priority_fee" else stamp, digest))
                entries.append((highest, place, digest))
        assert [digest for _, _, digest in sorted(entries)] == vector["order"]
