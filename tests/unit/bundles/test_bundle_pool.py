"""The bundle pool: admission leaves nothing when it refuses, statuses follow a bundle to its end, and a sender's
failing bundles cost that sender alone."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.errors import BundleRefused
from plait.limits import BUNDLE_DEADLINE_SLOTS_MAX, BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
from plait.mempool import BundlePool, BundleStatus
from plait.mempool.bundles import signed_text
from plait.protocol.grid import slot_at
from plait.protocol.requests import FinalizeRequest, PrepareRequest
from plait.types import Bundle, FeeBid, Hash32, Height, Leg, Milliseconds, OrderingPolicy, RollupId, Slot, Wei
from sim.pooling import USERS, PooledNetwork
from sim.wallet import Wallet
from sim.workload import REVERTING_CODE

ONE, OTHER = RollupId(901), RollupId(902)
KEY = b"\x41" * 32
SIGNER = Wallet(KEY)
TO = bytes([9]) * 20


class Bundles:
    """A network of two rollups with a pool of bundles; the caller decides when."""

    def __init__(self, **limits: int) -> None:
        policies = (OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL)
        self.network = PooledNetwork([*USERS, SIGNER], policies=policies)
        self.pool = BundlePool(**limits)
        self.told: list[BundleStatus] = []
        self.pool.listen(self.told.append)
        application = self.network.application
        for record in application.ledger.rollups:
            self.pool.add_rollup(application.rollups[record.rollup_id], record.parameters)

    @property
    def slot(self) -> Slot:
        return slot_at(self.network.application.ledger.parameters, self.network.time_ms)

    def send(self, *legs: Leg, **options: Any) -> Hash32:
        window = {"not_before_slot": Slot(0), "deadline_slot": Slot(self.slot + options.pop("slots", 3))}
        bundle = Bundle(legs=legs, **(window | options.pop("changes", {})))
        return self.pool.admit(self.pool.decode(bundle), self.network.time_ms, self.slot, **options)

    def refuse(self, *legs: Leg, **options: Any) -> BundleRefused:
        before = (len(self.pool), self.pool.statistics()["bytes"], len(self.told))
        with pytest.raises(BundleRefused) as refused:
            self.send(*legs, **options)
        assert (len(self.pool), self.pool.statistics()["bytes"], len(self.told)) == before
        assert len(refused.value.message) > 15
        return refused.value

    def decide(self, after_ms: int = 250, *, plain: bool = True) -> list[Hash32]:
        """One sub-block as the solo engine makes it; the bundles that took place."""
        network = self.network
        network.time_ms = Milliseconds(network.time_ms + after_ms)
        application = network.application
        height = Height(application.info().height + 1)
        prepared = application.prepare(
            PrepareRequest(
                height=height,
                time_ms=network.time_ms,
                candidates=network.pool.candidates() if plain else {},
                bundles=self.pool.candidates(self.slot),
            )
        )
        request = FinalizeRequest(height=height, time_ms=network.time_ms, proposal=prepared.proposal)
        effect = application.finalize(request).effect
        application.commit()
        self.pool.on_failed(prepared.bundles_failed, self.slot)
        network.pool.on_decided(effect)
        self.pool.on_decided(effect)
        return [bundle.hash for bundle in effect.bundles]


def transfer(rollup_id: RollupId, user: int, nonce: int = 0, **changes: Any) -> bytes:
    wallet = SIGNER if user < 0 else USERS[user]
    return wallet.sign_1559(rollup_id, nonce, **({"to": TO, "value": 1} | changes))


def leg(rollup_id: RollupId, *raws: bytes) -> Leg:
    return Leg(rollup_id=rollup_id, transactions=raws)


def pair(user: int, nonce: int = 0, **changes: Any) -> tuple[Leg, Leg]:
    return leg(ONE, transfer(ONE, user, nonce, **changes)), leg(OTHER, transfer(OTHER, user, nonce))


def failing(user: int, value: int = 1) -> tuple[Leg, Leg]:
    bad = transfer(OTHER, user, 0, to=b"", value=0, data=REVERTING_CODE, gas_limit=80_000)
    return leg(ONE, transfer(ONE, user, 0, value=value)), leg(OTHER, bad)


def sign(text: str) -> bytes:
    return bytes(Account.sign_message(encode_defunct(text=text), KEY).signature)


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


def test_a_bundle_goes_through_its_levels_and_everybody_who_listens_is_told(bundles: Bundles) -> None:
    found = bundles.send(*pair(0))
    assert bundles.decide() == [found]
    status = bundles.pool.status(found)
    assert status is not None
    assert [placed.block_number for placed in status.legs] == [1, 1]
    bundles.decide(1_000)
    assert [told.status for told in bundles.told] == ["received", "decided", "sealed"]
    assert bundles.pool.status(found) == bundles.told[-1]
    assert len(bundles.pool) == 0
    assert bundles.pool.statistics()["bytes"] == 0


def test_h4_its_transactions_are_not_in_the_pool_of_plain_ones(bundles: Bundles) -> None:
    bundles.send(*pair(0))
    assert bundles.network.pool.count == 0
    assert bundles.network.pool.candidates() == {}


def test_c6_bundles_of_one_sender_in_one_millisecond_keep_their_order(bundles: Bundles) -> None:
    sent = [bundles.send(*pair(0, nonce)) for nonce in range(8)]
    assert bundles.decide() == sent


def test_c1_a_plain_transaction_that_uses_the_nonce_ends_the_bundle(bundles: Bundles) -> None:
    found = bundles.send(*pair(0), changes={"not_before_slot": Slot(bundles.slot + 2)})
    bundles.network.pool.submit(OTHER, [transfer(OTHER, 0, 0, value=77)], bundles.network.time_ms)
    bundles.decide()
    status = bundles.pool.status(found)
    assert status is not None
    assert status.mishap is not None
    assert (status.status, status.mishap.code, status.mishap.rollup_id) == ("dropped", "nonce_too_low", OTHER)


def test_c13_a_bundle_that_fails_until_its_deadline_is_dropped_with_its_reason(bundles: Bundles) -> None:
    found = bundles.send(*failing(0), slots=1)
    for _ in range(4):
        assert bundles.decide(1_000) == []
    status = bundles.pool.status(found)
    assert status is not None
    assert status.mishap is not None
    assert (status.status, status.mishap.code, status.mishap.reason) == ("dropped", "bundle_expired", "reverted")
    assert (status.mishap.rollup_id, status.mishap.index) == (OTHER, 0)


def test_a_bundle_waits_for_its_first_slot(bundles: Bundles) -> None:
    found = bundles.send(*pair(0), changes={"not_before_slot": Slot(bundles.slot + 2)})
    assert bundles.decide(1_000) == []
    assert bundles.decide(1_000) == [found]


def test_h1_a_flood_of_failing_bundles_delays_nobody_else_and_is_tried_a_bounded_number_of_times() -> None:
    bundles = Bundles(per_sender_max=64)
    flood = [bundles.send(*failing(0, value + 1), slots=20) for value in range(64)]
    assert bundles.refuse(*failing(0, 100)).code == "bundle_quota_reached"
    for nonce in range(3):
        honest = bundles.send(*pair(1, nonce))
        assert bundles.decide() == [honest], "decided in the very next sub-block"
    trials = sum(status.trials for found in flood if (status := bundles.pool.status(found)) is not None)
    assert 0 < trials <= BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
    bundles.decide(1_000)
    again = sum(status.trials for found in flood if (status := bundles.pool.status(found)) is not None)
    assert trials < again <= 2 * BUNDLE_TRIALS_FAILED_PER_SLOT_MAX


def test_h8_whoever_signs_the_submission_cannot_be_charged_by_others() -> None:
    bundles = Bundles(per_sender_max=2)
    stolen = transfer(ONE, -1)
    for value in (1, 2):
        bundles.send(leg(ONE, stolen), leg(OTHER, transfer(OTHER, 0, 0, value=value)))
    others = leg(ONE, stolen), leg(OTHER, transfer(OTHER, 0, 0, value=3))
    assert bundles.refuse(*others).code == "bundle_quota_reached"
    own = Bundle(legs=pair(-1), not_before_slot=Slot(0), deadline_slot=Slot(bundles.slot + 3))
    decoded = bundles.pool.decode(own)
    signature = sign(signed_text("send", decoded.hash))
    bundles.pool.admit(decoded, bundles.network.time_ms, bundles.slot, signature=signature)
    assert len(bundles.pool) == 3


def test_only_a_sender_cancels(bundles: Bundles) -> None:
    found = bundles.send(*pair(-1))
    for signature in (b"", bytes(65), sign(signed_text("send", found)), sign(signed_text("cancel", found))[:64]):
        with pytest.raises(BundleRefused) as refused:
            bundles.pool.cancel(found, signature)
        assert refused.value.code == "bundle_signature_wrong"
    bundles.pool.cancel(found, sign(signed_text("cancel", found)))
    assert bundles.told[-1].mishap is not None
    assert bundles.told[-1].mishap.code == "bundle_cancelled"
    assert bundles.decide() == []
    with pytest.raises(BundleRefused) as refused:
        bundles.pool.cancel(found, sign(signed_text("cancel", found)))
    assert refused.value.code == "bundle_unknown"


def test_a_replacement_takes_the_place_or_nothing_changes(bundles: Bundles) -> None:
    first = bundles.send(*pair(-1))
    slots = Slot(bundles.slot + 3)
    second = bundles.pool.decode(Bundle(legs=pair(-1, value=2), not_before_slot=Slot(0), deadline_slot=slots))
    for signature in (None, sign(signed_text("cancel", first))):
        with pytest.raises(BundleRefused):
            bundles.pool.admit(second, bundles.network.time_ms, bundles.slot, signature=signature, replaces=first)
        status = bundles.pool.status(first)
        assert status is not None
        assert status.status == "received"
    signature = sign(signed_text("replace", first, second.hash))
    bundles.pool.admit(second, bundles.network.time_ms, bundles.slot, signature=signature, replaces=first)
    assert bundles.decide() == [second.hash]
    status = bundles.pool.status(first)
    assert status is not None
    assert status.mishap is not None
    assert status.mishap.code == "bundle_replaced"


@pytest.mark.parametrize(
    ("legs", "options", "code"),
    [
        ((), {}, "bundle_no_legs"),
        ((leg(ONE),), {}, "bundle_leg_empty"),
        ((leg(RollupId(5), transfer(ONE, 0)),), {}, "rollup_unknown"),
        ((leg(ONE, *[transfer(ONE, 0, nonce) for nonce in range(17)]),), {}, "bundle_too_many_transactions"),
        ((leg(ONE, transfer(ONE, 0, data=bytes(128_000), gas_limit=1_500_000)),), {}, "bundle_too_large"),
        ((leg(ONE, transfer(OTHER, 0)),), {}, "chain_id_wrong"),
        ((leg(ONE, transfer(ONE, 0)[:-1]),), {}, "rlp_malformed"),
        ((leg(ONE, transfer(ONE, 0, value=10**30)),), {}, "insufficient_funds"),
        ((leg(ONE, transfer(ONE, 0, gas_limit=30_000_001)),), {}, "bundle_gas_exceeds_block"),
        (pair(0), {"slots": -1}, "bundle_past_deadline"),
        (pair(0), {"slots": BUNDLE_DEADLINE_SLOTS_MAX + 1}, "bundle_deadline_too_far"),
        (pair(0), {"signature": bytes(65)}, "bundle_signature_wrong"),
        (pair(0), {"replaces": Hash32(bytes(32))}, "bundle_unknown"),
        ((leg(OTHER, transfer(OTHER, 0)), leg(ONE, transfer(ONE, 0))), {}, "bundle_legs_unsorted"),
    ],
)
def test_each_refusal_has_its_code_and_leaves_nothing(
    bundles: Bundles, legs: tuple[Leg, ...], options: dict[str, Any], code: str
) -> None:
    assert bundles.refuse(*legs, **options).code == code


def test_the_same_bundle_twice_and_a_full_pool() -> None:
    bundles = Bundles(bundles_max=1)
    bundles.send(*pair(0))
    assert bundles.refuse(*pair(0)).code == "bundle_already_known"
    assert bundles.refuse(*pair(1)).code == "bundle_pool_full"


def test_a_used_nonce_is_refused_at_once(bundles: Bundles) -> None:
    bundles.send(*pair(0))
    bundles.decide()
    assert bundles.refuse(*pair(0, value=5)).code == "nonce_too_low"


def test_bundles_handed_in_together_fare_as_one_after_the_other() -> None:
    poor = Wallet(b"\x43" * 32)
    sets = [
        pair(0),
        pair(0),  # known already
        pair(0, 1),
        (leg(OTHER, transfer(OTHER, 1)), leg(ONE, transfer(ONE, 1))),  # not ascending
        (leg(ONE, transfer(ONE, 2), b"\x02\xff"), leg(OTHER, transfer(OTHER, 2))),  # undecodable between good ones
        pair(2),
        (leg(ONE, poor.sign_1559(ONE, 0, to=TO, value=1)), leg(OTHER, transfer(OTHER, 3))),  # cannot pay
        (leg(ONE, transfer(ONE, 3)), leg(RollupId(999), transfer(OTHER, 3))),  # unknown rollup
        pair(3),
        pair(3, 1),  # beyond the pool's bound
    ]
    apart, together = Bundles(bundles_max=4), Bundles(bundles_max=4)
    expected: list[Hash32 | str] = []
    for legs in sets:
        try:
            expected.append(apart.send(*legs))
        except BundleRefused as refused:
            expected.append(refused.code)
    handed = [Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(together.slot + 3)) for legs in sets]
    decoded = together.pool.decode_many(handed)
    found = together.pool.admit_many(decoded, together.network.time_ms, together.slot)
    assert [item.code if isinstance(item, BundleRefused) else item for item in found] == expected
    assert [index for index, item in enumerate(found) if not isinstance(item, BundleRefused)] == [0, 2, 5, 8]
    assert together.told == apart.told
    assert together.pool.candidates(together.slot) == apart.pool.candidates(apart.slot)
    assert len(together.decide()) == 4


def test_a_flood_that_fills_whole_sub_blocks_delays_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.mempool.waiting_bundles.BUNDLES_PER_SUB_BLOCK_MAX", 8)
    monkeypatch.setattr("plait.mempool.bundles.BUNDLES_PER_SUB_BLOCK_MAX", 8)
    flood = Bundles()
    for nonce in range(1, 21):  # the first nonce is missing: each fails at every sub-block, which costs no gas
        flood.send(*pair(0, nonce))
        flood.send(*pair(1, nonce))
    late = [flood.send(*pair(user)) for user in range(2, 6)]
    offered = flood.pool.candidates(flood.slot)
    assert len(offered) == 8
    assert {item.bundle.hash for item in offered} >= set(late)
    assert sorted(flood.decide()) == sorted(late)
    bid = FeeBid(rollup_id=ONE, amount=Wei(1))
    first = flood.send(*pair(0, 30), changes={"fee_bid": bid})
    assert first in {item.bundle.hash for item in flood.pool.candidates(flood.slot)}, "the payer's best comes first"
