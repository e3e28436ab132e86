"""Every rule about bundles in a proposal: breaking it, and only it, is refused by its own code, and nothing remains.

Scenario ids (atomicity) stand in the names: A two rollups together, B execution failures, C races, H adversaries.
"""

import pytest
import rlp

from plait.codec.bundle import encode_leg
from plait.execution.bundles import BundleCandidate
from plait.limits import BUNDLES_PER_SUB_BLOCK_MAX
from plait.native import PENDING
from plait.protocol.proposal import decode_proposal, encode_entry, encode_header, encode_leg_item, encode_proposal
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Hash32,
    Leg,
    Milliseconds,
    Pin,
    RollupId,
    Slot,
    Wei,
)
from sim.bundling import decoded
from sim.forging import entries_of, with_bundles, with_header
from sim.situation import ARRIVAL, FEE, RECIPIENT, USERS, Situation, at_slot, queues, small_network, transfer
from sim.wallet import Wallet
from sim.workload import BURNING_CODE, REVERTING_CODE, STORING_CODE

STRANGER = Wallet.of_index(0, "bundle stranger")
OPEN = {"not_before_slot": Slot(0), "deadline_slot": Slot(100)}


def leg(rollup_id: RollupId, *raws: bytes, allowed: tuple[int, ...] = ()) -> Leg:
    return Leg(rollup_id=rollup_id, transactions=raws, allowed_reverts=allowed)


def offer(*legs: Leg, ready_ms: int = 1, credit: int = 8, retried: bool = False, **changes: object) -> BundleCandidate:
    bundle = decoded(Bundle(legs=legs, **(OPEN | changes)))  # type: ignore[arg-type]
    return BundleCandidate(bundle, Milliseconds(ready_ms), retried, bundle.legs[0][0].sender, credit)


def swap(user: int, nonce: int = 0, **changes: object) -> BundleCandidate:
    """A two-leg bundle of one user."""
    return offer(leg(FEE, transfer(FEE, user, nonce)), leg(ARRIVAL, transfer(ARRIVAL, user, nonce)), **changes)  # type: ignore[arg-type]


def prepare(situation: Situation, *offers: BundleCandidate, candidates: object = None) -> PreparedProposal:
    return situation.proposer.prepare(
        PrepareRequest(
            height=situation.height,
            time_ms=situation.time_ms,
            candidates=candidates or {},  # type: ignore[arg-type]
            bundles=offers,
        )
    )


def deploy(user: int, code: bytes, nonce: int = 0, gas: int = 120_000, rollup_id: RollupId = ARRIVAL) -> bytes:
    return transfer(rollup_id, user, nonce, to=b"", value=0, data=code, gas_limit=gas)


@pytest.fixture
def situation() -> Situation:
    """Before the first sub-block of slot 4; the honest proposal holds two bundles."""
    found = at_slot(4)
    prepared = prepare(found, swap(0, ready_ms=5), swap(1, ready_ms=7))
    assert prepared.transactions == 4
    found.honest = prepared.proposal
    return found


def bundles_of(proposal: bytes) -> list[Hash32]:
    return [entry.hash for entry in decode_proposal(proposal).bundles]


# ---------------------------------------------------------------- what takes place
def test_a1_a14_bundles_take_place_on_both_rollups_in_the_order_of_their_stamps(situation: Situation) -> None:
    offers = [swap(0, ready_ms=9), swap(1, ready_ms=3)]
    prepared = prepare(situation, *offers)
    assert bundles_of(prepared.proposal) == [offers[1].bundle.hash, offers[0].bundle.hash]
    assert isinstance(situation.verdict(prepared.proposal), Accepted)
    request = FinalizeRequest(height=situation.height, time_ms=situation.time_ms, proposal=prepared.proposal)
    effect = situation.judge.finalize(request).effect
    assert [decided.hash for decided in effect.bundles] == bundles_of(prepared.proposal)
    assert [part.statuses for part in effect.rollups] == [b"\1\1", b"\1\1"]
    assert len(effect.senders) == 4 * 20
    again = situation.proposer.finalize(
        FinalizeRequest(
            height=situation.height, time_ms=situation.time_ms, proposal=prepared.proposal, senders=effect.senders
        )
    )
    assert again.app_hash == effect.app_hash


def test_a13_a_leg_has_several_transactions_and_later_ones_see_earlier_ones(situation: Situation) -> None:
    """The second is paid for by the first: its sender had nothing."""
    newcomer = Wallet.of_index(9, "newcomer")
    funding = transfer(FEE, 0, 0, to=newcomer.address, value=10**18)
    spending = newcomer.sign_1559(FEE, 0, to=RECIPIENT, value=5)
    prepared = prepare(situation, offer(leg(FEE, funding, spending), leg(ARRIVAL, transfer(ARRIVAL, 0, 0))))
    assert (prepared.transactions, prepared.bundles_failed) == (3, ())
    assert isinstance(situation.verdict(prepared.proposal), Accepted)


def test_a15_plain_transactions_of_the_same_sender_follow_its_bundle(situation: Situation) -> None:
    plain = {FEE: queues(FEE, [[transfer(FEE, 0, 0, tip=9), transfer(FEE, 0, 1, tip=8)]], situation.time_ms)}
    prepared = prepare(situation, swap(0), candidates=plain)
    assert prepared.transactions == 3, "the bundle used nonce 0, the plain transaction with nonce 1 follows"
    assert [entry.code for entry in prepared.dropped] == ["nonce_too_low"]
    assert isinstance(situation.verdict(prepared.proposal), Accepted)
    items = dict(decode_proposal(prepared.proposal).blocks)[FEE]
    assert [item[0] for item in items] == [1, 0]


def test_an_allowed_revert_pays_and_keeps_the_bundle(situation: Situation) -> None:
    reverting = deploy(0, REVERTING_CODE)
    legs = (leg(FEE, transfer(FEE, 0, 0)), leg(ARRIVAL, reverting, allowed=(0,)))
    prepared = prepare(situation, offer(*legs))
    assert prepared.transactions == 2
    assert isinstance(situation.verdict(prepared.proposal), Accepted)


# ---------------------------------------------------------------- what fails leaves no trace
@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("b1 reverts", deploy(0, REVERTING_CODE), "reverted"),
        ("b2 runs out of gas", deploy(0, BURNING_CODE), "out_of_gas"),
        ("b3 cannot pay", STRANGER.sign_1559(ARRIVAL, 0, to=bytes(20), value=1), "insufficient_funds"),
        ("c1 uses a used nonce", transfer(ARRIVAL, 3, 0), "nonce_too_low"),
        ("nonce of the future", transfer(ARRIVAL, 0, 7), "nonce_too_high"),
        ("c2 fee cap below base fee", transfer(ARRIVAL, 0, 0, max_fee_per_gas=3, tip=1), "fee_cap_too_low"),
    ],
)
def test_a_failing_leg_leaves_no_trace_of_any(situation: Situation, name: str, raw: bytes, reason: str) -> None:
    """The same proposal comes out as if the bundle had never been offered."""
    used = {ARRIVAL: queues(ARRIVAL, [[transfer(ARRIVAL, 3, 0)]], 5_000)}
    situation.decide(situation.prepare(used).proposal)
    situation.time_ms = Milliseconds(situation.time_ms + 200)
    bad = offer(leg(FEE, transfer(FEE, 0, 0)), leg(ARRIVAL, raw))
    without = prepare(situation, swap(1))
    prepared = prepare(situation, bad, swap(1))
    assert prepared.proposal == without.proposal
    (failed,) = prepared.bundles_failed
    assert (failed.code, failed.rollup_id, failed.index) == ("bundle_leg_failed", ARRIVAL, 0)
    assert failed.reason == reason
    assert failed.sentence


def test_b4_a_last_check_that_fails_after_the_other_rollup_succeeded(situation: Situation) -> None:
    """The failing transaction is the last of the last leg."""
    tail = (transfer(ARRIVAL, 0, 0), deploy(0, REVERTING_CODE, nonce=1))
    prepared = prepare(situation, offer(leg(FEE, transfer(FEE, 0, 0)), leg(ARRIVAL, *tail)))
    assert prepared.transactions == 0
    assert prepared.bundles_failed[0].index == 1


def condition(kind: ConditionKind, comparison: Comparison, value: int, **changes: object) -> Condition:
    fields: dict[str, object] = {
        "rollup_id": ARRIVAL,
        "kind": kind,
        "address": Address(RECIPIENT),
        "input": bytes(32) if kind is ConditionKind.STORAGE else b"",
        "comparison": comparison,
        "value": value,
    }
    return Condition(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("comparison", "value", "holds"),
    [
        (Comparison.EQUAL, 0, True),
        (Comparison.NOT_EQUAL, 0, False),
        (Comparison.LESS, 1, True),
        (Comparison.LESS, 0, False),
        (Comparison.GREATER, 0, False),
        (Comparison.LESS_OR_EQUAL, 0, True),
        (Comparison.GREATER_OR_EQUAL, 1, False),
    ],
)
@pytest.mark.parametrize("kind", [ConditionKind.BALANCE, ConditionKind.STORAGE])
def test_a_condition_on_another_rollup_decides(
    situation: Situation, kind: ConditionKind, comparison: Comparison, value: int, holds: bool
) -> None:
    found = offer(leg(FEE, transfer(FEE, 0, 0)), conditions=(condition(kind, comparison, value),))
    prepared = prepare(situation, found)
    assert prepared.transactions == int(holds)
    if not holds:
        assert prepared.bundles_failed[0].code == "bundle_condition_false"


def test_c3_a_condition_sees_what_earlier_bundles_did(situation: Situation) -> None:
    """The first bundle gives the recipient a wei; the second one wants none there, the third wants one."""
    wants_none = offer(
        leg(FEE, transfer(FEE, 1, 0)), ready_ms=2, conditions=(condition(ConditionKind.BALANCE, Comparison.EQUAL, 0),)
    )
    wants_one = offer(
        leg(FEE, transfer(FEE, 2, 0)), ready_ms=3, conditions=(condition(ConditionKind.BALANCE, Comparison.EQUAL, 1),)
    )
    prepared = prepare(situation, swap(0, ready_ms=1), wants_none, wants_one)
    assert prepared.transactions == 3
    assert [failed.hash for failed in prepared.bundles_failed] == [wants_none.bundle.hash]


def test_a_storage_condition_reads_the_slot_where_the_bundle_stands(situation: Situation) -> None:
    from plait.codec.rlp import encode_bytes, encode_list, encode_uint
    from plait.native import keccak256

    created = Address(keccak256(encode_list((encode_bytes(USERS[0].address), encode_uint(0))))[12:])
    storing = offer(leg(ARRIVAL, deploy(0, STORING_CODE)), ready_ms=1)
    reading = offer(
        leg(FEE, transfer(FEE, 1, 0)),
        ready_ms=2,
        conditions=(condition(ConditionKind.STORAGE, Comparison.EQUAL, 42, address=created),),
    )
    assert prepare(situation, storing, reading).transactions == 2
    assert prepare(situation, reading).transactions == 0


# ---------------------------------------------------------------- races and room
def test_c4_bundles_on_one_hot_account_all_take_place_one_after_the_other(situation: Situation) -> None:
    """Fifty bundles of four users: execution in order, nothing aborts."""
    offers = [swap(user, nonce, ready_ms=4 * nonce + user) for nonce in range(12) for user in range(4)]
    prepared = prepare(situation, *offers)
    assert (prepared.transactions, prepared.bundles_failed) == (96, ())
    assert isinstance(situation.verdict(prepared.proposal), Accepted)


def test_c6_two_bundles_for_one_nonce_give_one_and_no_part_of_the_other(situation: Situation) -> None:
    first = swap(0, ready_ms=1)
    second = offer(leg(FEE, transfer(FEE, 1, 0)), leg(ARRIVAL, transfer(ARRIVAL, 0, 0, value=2)), ready_ms=2)
    prepared = prepare(situation, first, second)
    assert bundles_of(prepared.proposal) == [first.bundle.hash]
    assert prepared.bundles_failed[0].reason == "nonce_too_low"


def test_c10_a_bundle_whose_leg_does_not_fit_its_block_is_deferred_whole() -> None:
    situation = at_slot(4, small_network(gas_limit=1_000_000))
    big = [
        offer(leg(FEE, transfer(FEE, user, 0)), leg(ARRIVAL, deploy(user, STORING_CODE, gas=900_000)))
        for user in (0, 1)
    ]
    burning = offer(leg(ARRIVAL, deploy(2, BURNING_CODE, gas=500_000), allowed=(0,)), ready_ms=0)
    prepared = prepare(situation, burning, *big)
    assert (prepared.transactions, prepared.bundles_deferred, prepared.bundles_failed) == (1, 2, ())
    situation.decide(prepared.proposal)
    situation.time_ms = Milliseconds(situation.time_ms + 2_000)
    assert prepare(situation, big[0]).transactions == 2, "the next block has room"


@pytest.mark.parametrize(("first", "last", "transactions"), [(5, 9, 0), (0, 3, 0), (4, 4, 2), (0, 4, 2)])
def test_c13_a_bundle_takes_place_within_its_window_only(
    situation: Situation, first: int, last: int, transactions: int
) -> None:
    found = swap(0, not_before_slot=Slot(first), deadline_slot=Slot(last))
    assert prepare(situation, found).transactions == transactions


def test_h1_failing_bundles_take_their_own_senders_credit_and_stand_behind_fresh_ones(situation: Situation) -> None:
    failing = [
        offer(leg(FEE, transfer(FEE, 0, 0, value=n + 1)), leg(ARRIVAL, deploy(0, REVERTING_CODE)), credit=3, ready_ms=n)
        for n in range(20)
    ]
    honest = swap(1, ready_ms=1_000)
    prepared = prepare(situation, *failing, honest)
    assert bundles_of(prepared.proposal) == [honest.bundle.hash]
    assert (len(prepared.bundles_failed), prepared.bundles_deferred) == (3, 17)
    late = swap(1, ready_ms=situation.time_ms)
    retried = swap(0, ready_ms=1, retried=True)
    assert {*bundles_of(prepare(situation, retried, late).proposal)} == {late.bundle.hash, retried.bundle.hash}
    stamps = {e.hash: e.stamp_ms for e in decode_proposal(prepare(situation, retried, late).proposal).bundles}
    assert stamps[retried.bundle.hash] == situation.time_ms


# ---------------------------------------------------------------- rules of a proposal
def entry(found: BundleCandidate, stamp_ms: int | None = None) -> bytes:
    return encode_entry(Milliseconds(found.ready_ms if stamp_ms is None else stamp_ms), found.bundle.terms_bytes)


def items_of(*offers: BundleCandidate) -> list[tuple[RollupId, list[bytes]]]:
    blocks: dict[RollupId, list[bytes]] = {}
    for found in offers:
        for terms, data in zip(found.bundle.terms.legs, found.bundle.leg_bytes, strict=True):
            blocks.setdefault(terms.rollup_id, []).append(encode_leg_item(found.bundle.hash, data))
    return sorted(blocks.items())


def forged(situation: Situation, entries: list[bytes], *legs_of: BundleCandidate) -> bytes:
    return with_bundles(situation.proposer, situation.honest, entries, items_of(*legs_of))


def test_a_proposal_in_which_a_leg_fails(situation: Situation) -> None:
    for raw, reason in ((deploy(0, REVERTING_CODE), "reverted"), (transfer(ARRIVAL, 0, 4), "nonce_too_high")):
        bad = offer(leg(FEE, transfer(FEE, 0, 0)), leg(ARRIVAL, raw))
        refusal = situation.refusal(forged(situation, [entry(bad)], bad))
        assert (refusal.code, refusal.fields["reason"]) == ("bundle_leg_failed", reason)
        assert (refusal.fields["bundle"], refusal.fields["rollup_id"], refusal.fields["index"]) == (0, ARRIVAL, 0)


def test_a_proposal_in_which_a_condition_is_false(situation: Situation) -> None:
    bad = offer(leg(FEE, transfer(FEE, 0, 0)), conditions=(condition(ConditionKind.BALANCE, Comparison.GREATER, 0),))
    assert situation.refusal(forged(situation, [entry(bad)], bad)).code == "bundle_condition_false"


@pytest.mark.parametrize(("first", "last"), [(5, 9), (0, 3)])
def test_a_proposal_outside_a_bundles_window(situation: Situation, first: int, last: int) -> None:
    bad = swap(0, not_before_slot=Slot(first), deadline_slot=Slot(last))
    assert situation.refusal(forged(situation, [entry(bad)], bad)).code == "bundle_outside_window"


def test_a_bundle_twice(situation: Situation) -> None:
    one = swap(0)
    assert situation.refusal(forged(situation, [entry(one), entry(one, 2)], one, one)).code == "bundle_duplicate"


def test_bundles_out_of_order_and_of_the_future(situation: Situation) -> None:
    one, two = swap(0, ready_ms=5), swap(1, ready_ms=7)
    assert situation.refusal(forged(situation, [entry(two), entry(one)], two, one)).code == "bundle_order"
    same = sorted((one, two), key=lambda found: found.bundle.hash, reverse=True)
    assert situation.refusal(forged(situation, [entry(found, 5) for found in same], *same)).code == "bundle_order"
    late = entry(one, situation.time_ms + 1)
    assert situation.refusal(forged(situation, [late], one)).code == "bundle_stamp_in_future"


def test_a_leg_that_is_missing_or_not_the_one_that_the_terms_name(situation: Situation) -> None:
    one, two = swap(0, ready_ms=5), swap(1, ready_ms=7)
    blocks = dict(items_of(one))
    missing = with_bundles(situation.proposer, situation.honest, [entry(one)], [(FEE, blocks[FEE])])
    assert situation.refusal(missing).code == "bundle_leg_missing"
    assert situation.refusal(forged(situation, [entry(one), entry(two)], two, one)).code == "bundle_leg_mismatch"
    other = encode_leg_item(one.bundle.hash, encode_leg((transfer(ARRIVAL, 0, 0, value=9),)))
    blocks[ARRIVAL] = [other]
    exchanged = with_bundles(situation.proposer, situation.honest, [entry(one)], sorted(blocks.items()))
    assert situation.refusal(exchanged).code == "bundle_leg_mismatch"


def test_h4_a_leg_without_its_bundle(situation: Situation) -> None:
    one, two = swap(0, ready_ms=5), swap(1, ready_ms=7)
    assert situation.refusal(forged(situation, [entry(one)], one, two)).code == "bundle_item_unexpected"
    assert situation.refusal(forged(situation, [], one)).code == "bundle_item_unexpected"
    plain = [item + b"" for _, items in items_of(one) for item in items]
    late = [(FEE, [bytes(7) + transfer(FEE, 2, 0), plain[0]])]
    assert situation.refusal(with_bundles(situation.proposer, situation.honest, [], late)).code == "item_kind_unknown"


def test_a_wrong_or_missing_bundles_root(situation: Situation) -> None:
    wrong = with_header(situation.honest, bundles_root=Hash32(b"\x77" * 32))
    assert situation.refusal(wrong).code == "bundles_root_wrong"
    parts = decode_proposal(situation.honest)
    bare = encode_proposal(encode_header(parts.header), parts.blocks)
    assert situation.refusal(bare).code == "bundles_root_wrong"
    tree = rlp.decode(situation.honest)
    assert situation.refusal(rlp.encode([tree[0], tree[1], tree[3]])).code == "codec_invalid", "no section is left out"


def test_a_leg_or_condition_of_an_unknown_rollup(situation: Situation) -> None:
    far = RollupId(999)
    bad = offer(
        leg(FEE, transfer(FEE, 0, 0)),
        conditions=(condition(ConditionKind.BALANCE, Comparison.EQUAL, 0, rollup_id=far),),
    )
    refusal = situation.refusal(forged(situation, [entry(bad)], bad))
    assert (refusal.code, refusal.fields["rollup_id"]) == ("rollup_unknown", 999)


def test_an_allowed_revert_that_names_no_transaction(situation: Situation) -> None:
    bad = offer(leg(FEE, transfer(FEE, 0, 0), allowed=(3,)))
    assert situation.refusal(forged(situation, [entry(bad)], bad)).code == "bundle_allowed_revert_unknown"


def test_terms_that_break_their_own_rules(situation: Situation) -> None:
    one = leg(FEE, transfer(FEE, 0, 0))
    other = leg(ARRIVAL, transfer(ARRIVAL, 0, 0))
    cases = {
        "bundle_no_legs": {"legs": ()},
        "bundle_legs_unsorted": {"legs": (other, one)},
        "bundle_too_many_legs": {"legs": tuple(leg(RollupId(1 + i), b"") for i in range(17))},
        "bundle_reverts_unsorted": {"legs": (leg(FEE, *one.transactions, allowed=(1, 0)),)},
        "bundle_window_empty": {"not_before_slot": Slot(9), "deadline_slot": Slot(8)},
        "bundle_fee_bid_zero": {"fee_bid": FeeBid(rollup_id=FEE, amount=Wei(0))},
        "bundle_pins_unsorted": {"pins": (Pin(rollup_id=FEE, block_number=BlockNumber(1), log_index=0),) * 2},
        "bundle_too_many_pins": {
            "pins": tuple(Pin(rollup_id=RollupId(1 + i), block_number=BlockNumber(1), log_index=0) for i in range(17))
        },
        "bundle_too_many_conditions": {"conditions": (condition(ConditionKind.BALANCE, Comparison.EQUAL, 0),) * 17},
        "bundle_condition_malformed": {
            "conditions": (condition(ConditionKind.BALANCE, Comparison.EQUAL, 0, input=b"\x01"),)
        },
    }
    from plait.codec.bundle import encode_terms, terms_of

    for code, changes in cases.items():
        terms = encode_terms(terms_of(Bundle(**({"legs": (one,)} | OPEN | changes))))  # type: ignore[arg-type]
        proposal = with_bundles(situation.proposer, situation.honest, [encode_entry(Milliseconds(1), terms)], ())
        assert situation.refusal(proposal).code == code


def test_more_bundles_than_a_proposal_may_list(situation: Situation) -> None:
    one = entry(swap(0))
    proposal = with_bundles(situation.proposer, situation.honest, [one] * (BUNDLES_PER_SUB_BLOCK_MAX + 1), ())
    assert situation.refusal(proposal).code == "codec_too_many"


def test_a_transaction_of_a_leg_that_is_none(situation: Situation) -> None:
    good = swap(0)
    raws = (b"\x02\xc0",)
    bundle = Bundle(legs=(leg(FEE, *raws),), **OPEN)  # type: ignore[arg-type]
    from plait.codec.bundle import bundle_hash_of, encode_terms, terms_of

    terms = encode_terms(terms_of(bundle))
    item = encode_leg_item(bundle_hash_of(terms), encode_leg(raws))
    proposal = with_bundles(
        situation.proposer, situation.honest, [encode_entry(Milliseconds(1), terms)], [(FEE, [item])]
    )
    refusal = situation.refusal(proposal)
    assert (refusal.code, refusal.fields["leg"]) == ("transaction_undecodable", 0)
    assert good.bundle.hash not in bundles_of(situation.honest)[2:]


def test_a_failed_bundle_changes_neither_nonces_nor_balances_nor_roots(situation: Situation) -> None:
    """B: state of both rollups after deciding a sub-block with a failed offer equals one without it."""
    bad = offer(leg(FEE, transfer(FEE, 0, 0)), leg(ARRIVAL, deploy(0, REVERTING_CODE)))
    addresses = [user.address for user in USERS] + [RECIPIENT]
    twin = at_slot(4)
    situation.decide(prepare(situation, bad).proposal)
    twin.decide(prepare(twin).proposal)
    for rollup_id in (FEE, ARRIVAL):
        rollups = [found.judge.rollups[rollup_id] for found in (situation, twin)]
        assert rollups[0].accounts(addresses, PENDING) == rollups[1].accounts(addresses, PENDING)
        assert rollups[0].head.state_root == rollups[1].head.state_root
    assert situation.judge.info() == twin.judge.info()


def test_entries_round_trip(situation: Situation) -> None:
    parts = decode_proposal(situation.honest)
    assert encode_proposal(encode_header(parts.header), parts.blocks, entries_of(parts)) == situation.honest
