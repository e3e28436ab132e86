"""Bundles under a requester's own name: replaced and cancelled by it, counted to the right payer, gone with the bundle;
and pinned bundles in the pool: offered in their slots only, dropped when these are over."""

from typing import Any

import pytest

from plait.errors import BundleRefused
from plait.limits import BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
from plait.mempool import Label
from plait.types import BlockNumber, Bundle, FeeBid, Hash32, Pin, RollupId, Slot, Wei
from sim.pooling import USERS
from tests.unit.bundles.test_bundle_pool import ONE, OTHER, Bundles, failing, leg, pair, transfer

ALICE, BOB = (Label(bytes([byte]) * 20, ONE, "order-1") for byte in (1, 2))
FAR = {"not_before_slot": Slot(50), "deadline_slot": Slot(60)}


@pytest.fixture
def bundles() -> Bundles:
    return Bundles(per_sender_max=2)


def far(bundles: Bundles, user: int, nonce: int, label: Label | None = None, **changes: Any) -> Hash32:
    return bundles.send(*pair(user, nonce), label=label, changes=FAR | changes)


def ends(bundles: Bundles, found: Hash32) -> tuple[str, str | None]:
    status = bundles.pool.status(found)
    assert status is not None
    return status.status, None if status.mishap is None else status.mishap.code


def test_a_label_is_its_requesters_and_its_rollups(bundles: Bundles) -> None:
    first = far(bundles, 0, 0, ALICE)
    others = [far(bundles, 1, 0, BOB), far(bundles, 2, 0, ALICE._replace(rollup_id=OTHER))]
    others.append(far(bundles, 3, 0, ALICE._replace(name="order-2")))
    second = far(bundles, 4, 0, ALICE)
    assert ends(bundles, first) == ("dropped", "bundle_replaced")
    assert [ends(bundles, found) for found in (*others, second)] == [("received", None)] * 4
    assert bundles.pool.cancel_labelled(ALICE) == second
    assert ends(bundles, second) == ("dropped", "bundle_cancelled")
    with pytest.raises(BundleRefused) as refused:
        bundles.pool.cancel_labelled(ALICE)
    assert refused.value.code == "bundle_unknown"


def test_a_label_ends_with_its_bundle(bundles: Bundles) -> None:
    decided = bundles.send(*pair(0), label=ALICE)
    assert bundles.decide() == [decided]
    with pytest.raises(BundleRefused):
        bundles.pool.cancel_labelled(ALICE)
    later = far(bundles, 1, 0, ALICE)
    assert ends(bundles, decided)[0] == "decided"
    assert ends(bundles, later)[0] == "received"


def test_a_refused_replacement_leaves_the_first(bundles: Bundles) -> None:
    first = far(bundles, 0, 0, ALICE)
    assert bundles.refuse(*pair(1, value=10**30), label=ALICE, changes=FAR).code == "insufficient_funds"
    assert bundles.refuse(*pair(0), label=ALICE, changes=FAR).code == "bundle_already_known"
    assert ends(bundles, first) == ("received", None)


def test_a_made_up_requester_does_not_escape_the_senders_quota(bundles: Bundles) -> None:
    for nonce in range(2):
        far(bundles, 0, nonce, Label(bytes([nonce + 1]) * 20, ONE, "x"))
    refused = bundles.refuse(*pair(0, 2), label=Label(b"\x09" * 20, ONE, "x"), changes=FAR)
    assert refused.code == "bundle_quota_reached"
    own = Label(USERS[0].address, ONE, "x")
    far(bundles, 0, 3, own)  # who is a sender has an account apart, as one who signs
    far(bundles, 0, 2, Label(b"\1" * 20, ONE, "x"))  # takes the place of one that counted: no more than before
    assert len(bundles.pool) == 3


def test_failing_bundles_under_labels_cost_their_own_sender_only() -> None:
    flood = Bundles()
    for number in range(3 * BUNDLE_TRIALS_FAILED_PER_SLOT_MAX):
        flood.send(*failing(0, value=number + 2), label=Label(number.to_bytes(20, "big"), ONE, "x"))
    good = [flood.send(*pair(user)) for user in range(1, 6)]
    assert sorted(flood.decide()) == sorted(good)
    assert flood.pool.trials_failed <= BUNDLE_TRIALS_FAILED_PER_SLOT_MAX


# ---------------------------------------------------------------- pins
def pinned(bundles: Bundles, user: int, block: int, log_index: int = 0, **options: Any) -> Hash32:
    pins = (Pin(rollup_id=ONE, block_number=BlockNumber(block), log_index=log_index),)
    return bundles.send(*pair(user), slots=20, changes={"pins": pins}, **options)


def test_a_pinned_bundle_is_offered_in_its_slots_only_and_takes_place_there(bundles: Bundles) -> None:
    found = pinned(bundles, 0, bundles.slot + 2)
    assert bundles.pool.candidates(bundles.slot) == []
    assert bundles.decide(1_000) == []
    assert bundles.decide(1_000) == [found]
    status = bundles.pool.status(found)
    assert status is not None
    assert status.legs[0].block_number == bundles.slot


def test_a_pin_that_missed_ends_the_bundle_with_its_block_without_cost_to_its_sender(bundles: Bundles) -> None:
    found = pinned(bundles, 0, bundles.slot + 1, log_index=7)
    for _ in range(3):
        assert bundles.decide(500) == []
    assert bundles.pool.trials_failed > 0
    bundles.decide(1_000)
    status = bundles.pool.status(found)
    assert status is not None
    assert status.mishap is not None
    assert (status.status, status.mishap.code, status.mishap.reason) == (
        "dropped",
        "bundle_expired",
        "bundle_pin_missed",
    )
    assert status.trials == 0


def test_a_pinned_bundle_stands_before_a_higher_bid(bundles: Bundles) -> None:
    bid = FeeBid(rollup_id=ONE, amount=Wei(1))
    rich = bundles.send(*pair(1, max_priority_fee_per_gas=10**9), changes={"fee_bid": bid})
    found = pinned(bundles, 0, bundles.slot + 1)
    plain = bundles.send(*pair(2))
    assert bundles.decide(1_000) == [found, rich, plain]


def test_every_rollup_that_a_bundle_names_must_be_known(bundles: Bundles) -> None:
    unknown = RollupId(999)
    for changes in (
        {"fee_bid": FeeBid(rollup_id=unknown, amount=Wei(1))},
        {"pins": (Pin(rollup_id=unknown, block_number=BlockNumber(1), log_index=0),)},
    ):
        wanted: dict[str, Any] = {"not_before_slot": Slot(0), "deadline_slot": Slot(9)} | changes
        with pytest.raises(BundleRefused) as refused:
            bundles.pool.decode(Bundle(legs=(leg(ONE, transfer(ONE, 0)),), **wanted))
        assert refused.value.code == "rollup_unknown"
