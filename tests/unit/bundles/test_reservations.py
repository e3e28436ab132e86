"""Reservations without a node: which slot is found on a grid of different block times, who may use it, when it ends."""

from typing import Any

import msgspec
import pytest

from plait.errors import BundleRefused
from plait.limits import RESERVE_SLOTS_AHEAD_MAX, RESERVE_SLOTS_AHEAD_MIN
from plait.mempool.reservations import Reservation, Reservations, reservation_text
from plait.native import keccak256, sign_digest
from plait.types import (
    BlockNumber,
    BundleTerms,
    Gas,
    Hash32,
    LegTerms,
    OrderingPolicy,
    Pin,
    RollupId,
    RollupParameters,
    Slot,
    Wei,
)

KEYS = [bytes([byte]) * 32 for byte in (1, 2, 3)]


class Accounts:
    """State of a rollup in which everybody has the same balance."""

    def __init__(self, balance: int) -> None:
        self.balance = balance

    def accounts(self, addresses: list[bytes], at: int) -> list[tuple[int, int, bool]]:
        return [(0, self.balance, False) for _ in addresses]


def held(block_times: dict[int, int], *, balance: int = 1, **bounds: int) -> Reservations:
    made = Reservations(**bounds)
    for rollup_id, slots in block_times.items():
        reads: Any = Accounts(balance)
        made.add_rollup(reads, parameters(rollup_id, slots))
    return made


def parameters(rollup_id: int, slots: int) -> RollupParameters:
    return RollupParameters(
        rollup_id=RollupId(rollup_id), genesis_hash=Hash32(bytes(32)), block_time_slots=slots, gas_limit=Gas(10**7),
        ordering=OrderingPolicy.ARRIVAL, da_footprint_gas_scalar=0, eip1559_denominator=250, eip1559_elasticity=6,
        min_base_fee=Wei(0), operator_fee_scalar=0, operator_fee_constant=0, base_fee_scalar=1, blob_base_fee_scalar=1,
    )  # fmt: skip


def sign(key: bytes, text: str) -> bytes:
    data = text.encode()
    return sign_digest(key, keccak256(b"\x19Ethereum Signed Message:\n%d%b" % (len(data), data)))


def reserve(made: Reservations, rollups: list[int], earliest: int, now: int, key: bytes = KEYS[0]) -> Reservation:
    ids = [RollupId(rollup_id) for rollup_id in rollups]
    text = reservation_text(sorted(set(ids)), Slot(earliest))
    return made.reserve(ids, Slot(earliest), Slot(now), sign(key, text), keccak256(text.encode() + key)[:16])


def code_of(made: Reservations, *args: Any) -> str:
    before = len(made)
    with pytest.raises(BundleRefused) as refused:
        reserve(made, *args)
    assert len(made) <= before
    return refused.value.code


def terms(legs: list[int], *pins: tuple[int, int, int]) -> BundleTerms:
    return BundleTerms(
        not_before_slot=Slot(0), deadline_slot=Slot(1_000), conditions=(), fee_bid=None, delivery_required=False,
        legs=tuple(LegTerms(rollup_id=RollupId(i), leg_hash=Hash32(bytes(32)), allowed_reverts=()) for i in legs),
        pins=tuple(Pin(rollup_id=RollupId(r), block_number=BlockNumber(n), log_index=i) for r, n, i in pins),
    )  # fmt: skip


def check(made: Reservations, wanted: BundleTerms, now: int, reservation: bytes | None = None) -> str | None:
    try:
        made.check(wanted, Slot(now), reservation)
    except BundleRefused as refused:
        return refused.code
    return None


@pytest.mark.parametrize(
    ("block_times", "earliest", "now", "slot", "blocks"),
    [
        ({1: 1, 2: 1}, 10, 7, 10, [10, 10]),
        ({1: 1, 2: 1}, 7, 7, 7 + RESERVE_SLOTS_AHEAD_MIN, [9, 9]),
        ({1: 1, 2: 2}, 11, 7, 12, [12, 6]),
        ({1: 2, 2: 3}, 13, 7, 18, [9, 6]),
        ({1: 4, 2: 6, 3: 5}, 8, 7, 60, [15, 10, 12]),
    ],
)
def test_every_rollup_opens_its_block_in_the_reserved_slot(
    block_times: dict[int, int], earliest: int, now: int, slot: int, blocks: list[int]
) -> None:
    found = reserve(held(block_times), list(block_times), earliest, now)
    assert (found.slot, [pin.block_number for pin in found.pins]) == (slot, blocks)
    assert all(pin.block_number * block_times[pin.rollup_id] == slot for pin in found.pins)
    assert {pin.log_index for pin in found.pins} == {0}


def test_a_block_is_reserved_once_and_the_next_free_slot_is_found() -> None:
    made = held({1: 1, 2: 2, 3: 1})
    first = reserve(made, [1, 2], 10, 7)
    assert (first.slot, reserve(made, [1], 10, 7, KEYS[1]).slot, reserve(made, [2], 10, 7, KEYS[1]).slot) == (
        10,
        11,
        12,
    )
    assert reserve(made, [1, 2], 10, 7, KEYS[2]).slot == 14, "slot 12 has 2's block taken, 11 and 13 open none of it"
    assert reserve(made, [3], 10, 7, KEYS[2]).slot == 10, "another rollup's block is another place"


def test_reach_and_bounds() -> None:
    made = held({1: 1, 2: 1}, maximum=3, per_signer_max=2)
    assert code_of(made, [1], 6, 7) == "reserve_slot_past"
    assert code_of(made, [1], 8 + RESERVE_SLOTS_AHEAD_MAX, 7) == "reserve_slot_too_far"
    assert code_of(held({1: 3 * RESERVE_SLOTS_AHEAD_MAX}), [1], 60, 52) == "reserve_taken", "no block begins in reach"
    reserve(made, [1], 10, 7)
    reserve(made, [1], 11, 7)
    assert code_of(made, [1], 12, 7) == "reserve_quota_reached"
    reserve(made, [1], 12, 7, KEYS[1])
    assert code_of(made, [1], 13, 7, KEYS[2]) == "reservations_full"
    assert reserve(made, [1], 13, 11).slot == 13, "the reservation of slot 10 has ended, and freed quota and place"
    assert code_of(held({1: 1}, balance=0), [1], 10, 7) == "reserve_unfunded"


def test_a_signature_sent_again_gives_what_it_gave_before() -> None:
    made = held({1: 1})
    assert reserve(made, [1], 10, 7) == reserve(made, [1], 10, 8)
    assert len(made) == 1


def test_pins_of_a_live_reservation_need_its_id() -> None:
    made = held({1: 1, 2: 2, 3: 1})
    found = reserve(made, [1, 2], 10, 7)
    mine = terms([1, 2], (1, 10, 0), (2, 5, 0))
    assert check(made, mine, 8, found.id) is None
    assert check(made, terms([1, 3], (1, 10, 0)), 8, found.id) is None, "a part of what is reserved"
    assert check(made, mine, 8) == "reserve_taken"
    assert check(made, mine, 8, b"\1" * 16) == "reserve_lost"
    assert check(made, terms([1], (1, 11, 0)), 8, found.id) == "reserve_lost"
    assert check(made, terms([1], (1, 10, 3)), 8, found.id) == "reserve_lost"
    assert check(made, terms([1]), 8, found.id) == "reserve_lost"
    assert check(made, terms([1, 3], (3, 10, 0)), 8) == "reserve_taken", "its leg on 1 would run at the reserved top"
    assert check(made, terms([3], (3, 10, 0)), 8) is None
    delivering = msgspec.structs.replace(terms([3], (3, 10, 0)), delivery_required=True)
    assert check(made, delivering, 8) == "reserve_taken", "its deliveries could be anywhere"
    assert check(made, terms([1, 2]), 8) is None, "bundles without pins stand behind pinned ones"
    assert check(made, terms([1], (1, 9, 0)), 8) is None
    assert check(made, mine, 10, found.id) is None
    assert check(made, mine, 11, found.id) == "reserve_lost", "it ends with its slot"
    assert check(made, mine, 11) is None
