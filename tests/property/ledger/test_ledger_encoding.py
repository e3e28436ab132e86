"""The ledger's bytes: every state has one encoding, every encoding one state, and every field reaches the root."""

import msgspec
import rlp
from hypothesis import given
from hypothesis import strategies as st

from plait.crypto import merkle
from plait.errors import CodecError
from plait.ledger.encoding import decode_ledger, encode_ledger, ledger_leaves, ledger_root
from plait.ledger.state import LedgerState, OpenBlockRecord, RollupRecord, genesis_state
from plait.types import NetworkParameters, OrderingPolicy, RollupParameters

uint32, uint64, hashes = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)
networks = st.builds(
    NetworkParameters,
    network_id=st.integers(1, 2**64 - 1),
    genesis_time_s=st.integers(1, 2**32 - 1),
    slot_ms=st.sampled_from([1_000, 2_000, 60_000]),
    sub_blocks_per_slot=st.integers(1, 50),
)
rollups = st.builds(
    RollupParameters,
    rollup_id=st.integers(1, 2**64 - 1),
    genesis_hash=hashes,
    block_time_slots=st.integers(1, 60),
    gas_limit=st.integers(1_000_000, 2**53),
    ordering=st.sampled_from(list(OrderingPolicy)),
    da_footprint_gas_scalar=st.integers(0, 2**16 - 1),
    eip1559_denominator=st.integers(1, 2**32 - 1),
    eip1559_elasticity=st.integers(1, 2**32 - 1),
    min_base_fee=uint64,
    operator_fee_scalar=uint32,
    operator_fee_constant=uint64,
    base_fee_scalar=uint32,
    blob_base_fee_scalar=uint32,
    interop_set=uint32,
)


@st.composite
def ledgers(draw: st.DrawFn) -> LedgerState:
    registry = [
        msgspec.structs.replace(one, start_slot=one.block_time_slots * draw(st.integers(0, 2**32)))
        for one in draw(st.lists(rollups, min_size=1, max_size=4, unique_by=lambda entry: entry.rollup_id))
    ]
    state = genesis_state(draw(networks), tuple(registry))
    records = []
    for record in state.rollups:
        head = draw(st.integers(0, 2**40))
        block = OpenBlockRecord(
            number=head + 1,
            gas_used=draw(uint64),
            da_footprint=draw(uint64),
            transaction_count=draw(uint32),
            digest=draw(hashes),
        )
        records.append(
            RollupRecord(
                parameters=record.parameters,
                head_number=head,
                head_hash=draw(hashes),
                open_block=draw(st.sampled_from([None, block])),
            )
        )
    return msgspec.structs.replace(
        state,
        height=draw(uint64),
        slot=draw(uint64),
        sub_index=draw(uint32),
        time_ms=draw(uint64),
        rollups=tuple(records),
    )


@given(ledgers())
def test_a_ledger_survives_the_round_trip(state: LedgerState) -> None:
    assert decode_ledger(encode_ledger(state)) == state


@given(ledgers(), st.data())
def test_bytes_with_a_change_are_refused_or_another_ledger(state: LedgerState, data: st.DataObject) -> None:
    encoded = bytearray(encode_ledger(state))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_ledger(bytes(encoded))
    except CodecError:
        return
    assert other != state
    assert encode_ledger(other) == bytes(encoded), "what is accepted is canonical"
    assert ledger_root(other) != ledger_root(state)


@given(st.one_of(st.binary(max_size=300), st.recursive(st.binary(max_size=9), st.lists, max_leaves=30).map(rlp.encode)))
def test_garbage_is_refused_and_nothing_but_refused(data: bytes) -> None:
    try:
        decode_ledger(data)
    except CodecError:
        return
    raise AssertionError("garbage was accepted")


@given(ledgers())
def test_a_rollups_head_is_provable_against_the_root(state: LedgerState) -> None:
    leaves = ledger_leaves(state)
    for place in range(len(leaves)):
        proof = merkle.inclusion_proof(leaves, place)
        assert merkle.verify_inclusion(leaves[place], place, len(leaves), proof, ledger_root(state))
