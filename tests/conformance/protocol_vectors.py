"""Makes the conformance vectors of the protocol's encodings: `python tests/conformance/protocol_vectors.py` writes
them.

Inputs are written out in the vectors, results are Plait's. Changing a result is a change of the protocol and needs a
decision record.
"""

from pathlib import Path
from random import Random
from typing import Any

import msgspec

from plait.codec.bundle import bundle_hash_of, encode_leg, encode_terms, terms_of
from plait.codec.rlp import encode_list, encode_uint
from plait.crypto import merkle
from plait.crypto.commitments import commit
from plait.errors import CodecError
from plait.ledger.economy import economy_root
from plait.ledger.encoding import encode_ledger, ledger_root
from plait.ledger.state import OpenBlockRecord, genesis_state
from plait.native import Transaction, decode_transactions
from plait.ordering.policy import order
from plait.ordering.queues import Ready
from plait.protocol.proposal import (
    SubBlockHeader,
    app_hash_of,
    decode_proposal,
    encode_entry,
    encode_header,
    encode_items,
    encode_leg_item,
    encode_proposal,
    header_hash_of,
    proposal_hash_of,
)
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Gas,
    Hash32,
    Height,
    L1Origin,
    Leg,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    OrderingPolicy,
    Pin,
    RollupId,
    RollupParameters,
    Seconds,
    Slot,
    SubIndex,
    Wei,
)
from sim.wallet import Wallet

VECTORS = Path(__file__).parent / "vectors"


def _hash(value: int) -> Hash32:
    return Hash32(bytes([value]) * 32)


def _signed(chain_id: int, user: int, nonce: int, tip: int, cap: int = 1_000) -> bytes:
    return Wallet.of_index(user, "vectors").sign_1559(
        chain_id, nonce, to=bytes(20), value=1, max_priority_fee_per_gas=tip, max_fee_per_gas=cap
    )


def merkle_vectors() -> list[dict[str, Any]]:
    """Trees of 0 to 9 leaves `00`, `0101`, `020202`, ...: root, every audit path, every consistency proof."""
    vectors = []
    for size in range(10):
        leaves = [bytes([i]) * (i + 1) for i in range(size)]
        vectors.append(
            {
                "leaves": [leaf.hex() for leaf in leaves],
                "root": merkle.root(leaves).hex(),
                "inclusion": [[h.hex() for h in merkle.inclusion_proof(leaves, i)] for i in range(size)],
                "consistency": {
                    str(old): [h.hex() for h in merkle.consistency_proof(leaves, old)] for old in range(1, size + 1)
                },
            }
        )
    return vectors


def _network() -> NetworkParameters:
    return NetworkParameters(
        network_id=NetworkId(7),
        genesis_time_s=Seconds(1_790_000_000),
        slot_ms=Milliseconds(1_000),
        sub_blocks_per_slot=4,
    )


def _rollup(rollup_id: int, policy: OrderingPolicy) -> RollupParameters:
    return RollupParameters(
        rollup_id=RollupId(rollup_id),
        genesis_hash=_hash(rollup_id % 251),
        block_time_slots=2,
        gas_limit=Gas(30_000_000),
        ordering=policy,
        da_footprint_gas_scalar=400,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(0),
        operator_fee_scalar=1,
        operator_fee_constant=2**40,
        base_fee_scalar=5_227,
        blob_base_fee_scalar=1_014_213,
    )


def ledger_vectors() -> list[dict[str, Any]]:
    """The ledger at genesis, and later with an open block."""
    genesis = genesis_state(
        _network(), (_rollup(901, OrderingPolicy.PRIORITY_FEE), _rollup(902, OrderingPolicy.ARRIVAL))
    )
    block = OpenBlockRecord(
        number=BlockNumber(6), gas_used=Gas(46_000), da_footprint=Gas(40_000), transaction_count=2, digest=_hash(9)
    )
    first = msgspec.structs.replace(
        genesis.rollups[0], head_number=BlockNumber(5), head_hash=_hash(5), open_block=block
    )
    later = msgspec.structs.replace(
        genesis,
        height=Height(40),
        slot=Slot(12),
        sub_index=SubIndex(1),
        time_ms=Milliseconds(1_790_000_012_345),
        rollups=(first, genesis.rollups[1]),
    )
    return [
        {
            "ledger": _plain({name: getattr(state, name) for name in state.__struct_fields__ if name != "economy"}),
            "economy_root": economy_root(state.economy).hex(),
            "bytes": encode_ledger(state).hex(),
            "root": ledger_root(state).hex(),
        }
        for state in (genesis, later)
    ]


def proposal_vectors() -> list[dict[str, Any]]:
    """An empty proposal, and one with items of both policies and sealed blocks."""
    fee = encode_items([_signed(901, user, 0, 9 - user) for user in range(3)], [Milliseconds(0)] * 3)
    arrival = encode_items(
        [_signed(902, 0, 0, 1), _signed(902, 0, 1, 1)],
        [Milliseconds(1_790_000_011_900), Milliseconds(1_790_000_012_000)],
    )
    full = [(RollupId(901), fee), (RollupId(902), arrival)]
    seals = ((RollupId(901), ((BlockNumber(4), _hash(4)), (BlockNumber(5), _hash(5)))),)
    vectors = []
    for blocks, sealed in (([], ()), (full, seals)):
        header = SubBlockHeader(
            network_id=NetworkId(7),
            height=Height(40),
            slot=Slot(12),
            sub_index=SubIndex(0),
            time_ms=Milliseconds(1_790_000_012_345),
            parent_app_hash=_hash(0xAA),
            l1_origin=L1Origin(number=BlockNumber(1), hash=_hash(0xBB)),
            commitment=commit([RollupId(901), RollupId(902)], dict(blocks)),
            sealed=sealed,
            ledger_root=_hash(0xCC),
        )
        encoded = encode_header(header)
        proposal = encode_proposal(encoded, blocks)
        vectors.append(
            {
                "header": {name: value for name, value in _plain(header).items() if value is not None},
                "blocks": [[rollup_id, [item.hex() for item in items]] for rollup_id, items in blocks],
                "header_bytes": encoded.hex(),
                "proposal_bytes": proposal.hex(),
                "header_hash": header_hash_of(encoded).hex(),
                "proposal_hash": proposal_hash_of(proposal).hex(),
                "app_hash": app_hash_of(header.height, header_hash_of(encoded), header.ledger_root).hex(),
            }
        )
    return vectors


def bundle_vectors() -> list[dict[str, Any]]:
    """A bundle of two legs with conditions and an allowed revert, and a proposal that holds it before a plain item."""
    legs = (
        Leg(rollup_id=RollupId(901), transactions=(_signed(901, 0, 0, 1), _signed(901, 0, 1, 1)), allowed_reverts=(1,)),
        Leg(rollup_id=RollupId(902), transactions=(_signed(902, 1, 0, 1),)),
    )
    conditions = (
        Condition(
            rollup_id=RollupId(902),
            kind=ConditionKind.STORAGE,
            address=Address(bytes(19) + b"\x07"),
            input=bytes(31) + b"\x01",
            comparison=Comparison.GREATER_OR_EQUAL,
            value=2**255,
        ),
        Condition(
            rollup_id=RollupId(901),
            kind=ConditionKind.BALANCE,
            address=Address(bytes(20)),
            input=b"",
            comparison=Comparison.LESS,
            value=10**18,
        ),
        Condition(
            rollup_id=RollupId(902),
            kind=ConditionKind.CALL,
            address=Address(bytes(19) + b"\x08"),
            input=bytes.fromhex("18160ddd"),
            comparison=Comparison.NOT_EQUAL,
            value=0,
        ),
    )
    bundle = Bundle(
        legs=legs,
        not_before_slot=Slot(10),
        deadline_slot=Slot(20),
        conditions=conditions,
        fee_bid=FeeBid(rollup_id=RollupId(901), amount=Wei(10**15)),
        delivery_required=True,
        pins=(Pin(rollup_id=RollupId(902), block_number=BlockNumber(10), log_index=3),),
    )
    terms = encode_terms(terms_of(bundle))
    bundle_hash = bundle_hash_of(terms)
    items = [encode_leg_item(bundle_hash, encode_leg(leg.transactions)) for leg in legs]
    plain = encode_items([_signed(901, 2, 0, 5)], [Milliseconds(0)])
    blocks = [(RollupId(901), [items[0], *plain]), (RollupId(902), [items[1]])]
    entry = encode_entry(Milliseconds(1_790_000_012_000), terms)
    header = encode_header(
        SubBlockHeader(
            network_id=NetworkId(7),
            height=Height(41),
            slot=Slot(12),
            sub_index=SubIndex(1),
            time_ms=Milliseconds(1_790_000_012_345),
            parent_app_hash=_hash(0xAA),
            l1_origin=L1Origin(number=BlockNumber(1), hash=_hash(0xBB)),
            commitment=commit([RollupId(901), RollupId(902)], dict(blocks)),
            sealed=(),
            ledger_root=_hash(0xCC),
            bundles_root=Hash32(merkle.root([entry])),
        )
    )
    proposal = encode_proposal(header, blocks, [entry])
    return [
        {
            "bundle": _plain(bundle),
            "terms_bytes": terms.hex(),
            "bundle_hash": bundle_hash.hex(),
            "entry_bytes": entry.hex(),
            "leg_items": [item.hex() for item in items],
            "header_hash": header_hash_of(header).hex(),
            "proposal_bytes": proposal.hex(),
        }
    ]


def invalid_vectors() -> list[dict[str, Any]]:
    """Bytes that a decoder of proposals refuses, with Plait's code."""
    valid = bytes.fromhex(proposal_vectors()[1]["proposal_bytes"])
    random = Random(4)
    cases = {
        "empty": b"",
        "an empty list": b"\xc0",
        "one byte short": valid[:-1],
        "one byte too many": valid + b"\x00",
        "no blocks": encode_list([encode_header(decode_proposal(valid).header)]),
        "version 1": encode_list([encode_list([encode_uint(1)]), b"\xc0"]),
        "outer length with a leading zero": bytes([valid[0] + 1, 0]) + valid[1:],
        "noise": random.randbytes(64),
        "a thousand nested lists": b"\xc1" * 1_000 + b"\xc0",
    }
    vectors = []
    for why, data in cases.items():
        try:
            decode_proposal(data)
        except CodecError as error:
            vectors.append({"why": why, "bytes": data.hex(), "code": error.code})
        else:
            raise AssertionError(why)
    return vectors


def ordering_vectors() -> list[dict[str, Any]]:
    """Queues of signed transactions with their order under both policies."""
    vectors = []
    queues = [
        [(_signed(901, 0, 0, 1), 100), (_signed(901, 0, 1, 9), 100)],
        [(_signed(901, 1, 0, 5), 90), (_signed(901, 1, 1, 50, 103), 300)],
        [(_signed(901, 2, 0, 5), 100)],
        [(_signed(901, 3, 0, 1, 99), 10), (_signed(901, 3, 1, 40), 10)],
    ]
    for policy in OrderingPolicy:
        ready = [tuple(Ready(_decoded(raw), Milliseconds(stamp)) for raw, stamp in queue) for queue in queues]
        found = order(policy, ready, base_fee=Wei(100), time_ms=Milliseconds(200))
        vectors.append(
            {
                "policy": policy.value,
                "base_fee": 100,
                "time_ms": 200,
                "queues": [[[raw.hex(), stamp] for raw, stamp in queue] for queue in queues],
                "order": [transaction.hash.hex() for transaction in found.transactions],
                "stamps_ms": list(found.stamps_ms),
            }
        )
    return vectors


def _decoded(raw: bytes) -> Transaction:
    (entry,) = decode_transactions([raw], 901)
    assert isinstance(entry, Transaction)
    return entry


def _plain(value: Any) -> Any:
    """The value as JSON types, bytes as hex."""
    return _walk(msgspec.to_builtins(value, builtin_types=(bytes,)))


def _walk(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _walk(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(entry) for entry in value]
    return value


ALL = {
    "merkle": merkle_vectors,
    "ledger_v4": ledger_vectors,
    "proposal_v2": proposal_vectors,
    "proposal_v2_invalid": invalid_vectors,
    "ordering_v1": ordering_vectors,
    "bundle_v1": bundle_vectors,
}


def render(vectors: list[dict[str, Any]]) -> bytes:
    """The bytes of a vector file."""
    return msgspec.json.format(msgspec.json.encode(vectors), indent=1) + b"\n"


if __name__ == "__main__":
    for name, make in ALL.items():
        (VECTORS / f"{name}.json").write_bytes(render(make()))
