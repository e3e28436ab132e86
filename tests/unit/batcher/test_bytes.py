"""The bytes of L1 transactions, carriers and the journal: what was written reads back, and nothing else passes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from plait.derivation.batches import SingularBatch
from plait.derivation.channels import ChannelAssembler
from plait.derivation.frames import FRAME_OVERHEAD_BYTES
from plait.derivation.frames import decode as decode_frames
from plait.errors import CodecError, InvariantBroken
from plait.rollups.batcher.assembly import Part, carry
from plait.rollups.batcher.blocks import BatchBlock, batch_block
from plait.rollups.batcher.journal import Costs, Entry, Journal, Posting, Range
from plait.rollups.batcher.l1_transactions import Content, Fees, address_of_key, calldata_gas, decode_signed, sign
from plait.rollups.batcher.sidecars import Sidecar, versioned_hash
from plait.types import Address, BlockNumber, Gas, Hash32, RollupId, Seconds, Wei

KEY = bytes(range(1, 33))
INBOX = Address(b"\xff" * 20)
FEES = Fees(tip=Wei(2), fee_cap=Wei(10**9))


@given(st.binary(max_size=300), st.integers(0, 2**40), st.integers(0, 2**60), st.integers(1, 2**63))
def test_a_signed_transaction_is_eth_accounts_byte_for_byte(data: bytes, nonce: int, tip: int, chain_id: int) -> None:
    fees = Fees(tip=Wei(tip), fee_cap=Wei(tip + 7))
    content = Content(chain_id=chain_id, to=INBOX, data=data)
    ours = sign(KEY, content, nonce=nonce, fees=fees, gas_limit=calldata_gas(data))
    theirs = Account.sign_transaction(
        {
            "type": 2, "chainId": chain_id, "nonce": nonce, "maxPriorityFeePerGas": tip, "maxFeePerGas": tip + 7,
            "gas": calldata_gas(data), "to": INBOX, "value": 0, "data": data,
        },
        KEY,
    )  # fmt: skip
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == bytes(theirs.hash)
    read = decode_signed(ours.raw)
    assert (read.sender, read.to, read.data) == (address_of_key(KEY), INBOX, data)


def test_a_blob_transaction_names_its_blobs_and_its_hash_leaves_them_out() -> None:
    blob, commitment = bytes(131_072), b"\xc0" + bytes(47)
    content = Content(chain_id=900, to=INBOX, blobs=(blob,))
    hashes = set()
    for version, proofs in ((0, 1), (1, 128)):
        sidecar = Sidecar(version=version, commitments=(commitment,), proofs=(commitment,) * proofs)  # type: ignore[arg-type]
        signed = sign(KEY, content, nonce=1, fees=FEES, gas_limit=Gas(21_000), sidecar=sidecar)
        assert blob in signed.raw
        hashes.add(signed.hash)
    assert len(hashes) == 1, "the form of the proofs is no part of what is signed"
    assert versioned_hash(commitment)[0] == 1
    with pytest.raises(ValueError, match="go together"):
        sign(KEY, content, nonce=1, fees=FEES, gas_limit=Gas(21_000))


@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_transaction_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_signed(data)


def test_gas_of_calldata_is_the_floor_of_eip_7623() -> None:
    assert calldata_gas(b"") == 21_000
    assert calldata_gas(b"\x00" * 10) == 21_100
    assert calldata_gas(b"\x01" * 10) == 21_400


# ---------------------------------------------------------------- carriers
def part(rollup_id: int, data: bytes) -> Part:
    batch = SingularBatch(
        parent_hash=Hash32(bytes(32)), epoch_number=BlockNumber(1), epoch_hash=Hash32(bytes(32)), timestamp=Seconds(1)
    )
    block = BatchBlock(number=BlockNumber(1), hash=Hash32(bytes(32)), gas_limit=Gas(1), sequence_number=0, batch=batch)
    return Part(
        rollup_id=RollupId(rollup_id), channel_id=rollup_id.to_bytes(16, "big"), data=data, stream_bytes=len(data),
        first=block, last=block, transactions=0,
    )  # fmt: skip


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=5), st.integers(400, 3_000))
def test_carriers_hold_every_channel_whole_and_in_order(sizes: list[int], carrier_bytes: int) -> None:
    parts = [part(at, bytes((at,)) * size) for at, size in enumerate(sizes)]
    carriers = carry(parts, carrier_bytes)
    assert all(len(one) <= carrier_bytes for one in carriers)
    assembler = ChannelAssembler()
    channels = [
        found
        for at, one in enumerate(carriers)
        for frame in decode_frames(one)
        if (found := assembler.add(frame, BlockNumber(at // 50))) is not None
    ]
    assert channels == [one.data for one in parts]
    least = sum(sizes) + FRAME_OVERHEAD_BYTES * len(parts)
    assert sum(map(len, carriers)) <= least + len(carriers) * (FRAME_OVERHEAD_BYTES + 1), "overhead beyond the frames'"


@given(st.binary(max_size=200))
def test_bytes_that_are_no_block_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        batch_block(data)


# ---------------------------------------------------------------- the journal
def posting(first: int, count: int, *, last_block: int = 5) -> list[Entry]:
    ranges = (
        Range(
            rollup_id=RollupId(901),
            first=BlockNumber(1),
            last=BlockNumber(last_block),
            last_hash=Hash32(b"\x05" * 32),
            bytes=9,
        ),
    )
    made = Posting(first_nonce=first, transactions=count, ranges=ranges, made_at_ms=1)
    content = Content(chain_id=900, to=INBOX, data=b"\x00data")
    return [
        Entry(
            nonce=nonce, posting=made, content=content, gas_limit=Gas(21_000), sidecar=None,
            offers=((Hash32(bytes(32)), FEES),),
        )
        for nonce in range(first, first + count)
    ]  # fmt: skip


def test_a_journal_remembers_and_forgets_whole_postings(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(posting(4, 2))
    journal.add(posting(6, 1, last_block=9))
    journal.offered(5, Hash32(b"\x01" * 32), msgspec.structs.replace(FEES, tip=Wei(3)))
    again = Journal(tmp_path)
    assert again.entries == journal.entries
    assert list(again.entries) == [4, 5, 6]
    assert [one.last for one in again.ranges(RollupId(901))] == [5, 9]
    again.settle(again.postings()[0], {901: Costs(postings=1, wei=5)})
    last = Journal(tmp_path)
    assert last.settled.costs == {901: Costs(postings=1, wei=5)}
    assert list(last.entries) == [6]
    assert last.settled.cursors[901].number == 5
    assert last.next_nonce() == 7
    last.settle(last.postings()[0], {901: Costs(postings=1, wei=7, blocks=4), 902: Costs(wei=1)})
    last.rewind({}, 3)
    assert Journal(tmp_path).settled.costs == {901: Costs(postings=2, wei=12, blocks=4), 902: Costs(wei=1)}


def test_a_posting_that_was_not_written_whole_was_never_sent_and_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(posting(4, 3))
    (tmp_path / "6.tx").unlink()
    assert Journal(tmp_path).entries == {}


def test_void_postings_count_for_nothing_and_stay_until_they_are_final(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(posting(4, 1))
    journal.add(posting(5, 1, last_block=9))
    journal.void_from(5)
    again = Journal(tmp_path)
    assert [one.last for one in again.ranges(RollupId(901))] == [5]
    assert list(again.entries) == [4, 5]
    for one in again.postings():
        again.settle(one)
    assert again.settled.cursors[901].number == 5


def test_a_damaged_journal_stops_the_batcher(tmp_path: Path) -> None:
    Journal(tmp_path).add(posting(4, 1))
    (tmp_path / "4.tx").write_bytes(b"\xc1")
    with pytest.raises(InvariantBroken, match="damaged"):
        Journal(tmp_path)
