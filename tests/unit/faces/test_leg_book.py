"""Legs of bundles: the rest of a decided bundle is known, and a dropped one binds nobody."""

from types import SimpleNamespace

from plait.limits import BOOST_LEGS_KEPT
from plait.mempool import BundleStatus
from plait.mempool.bundle_records import Placement
from plait.rollups.opstack.faces.boost_source import LegBook
from plait.rollups.opstack.faces.boost_watch import BoostWatch
from plait.types import Hash32, RollupId, Slot

A, B = Hash32(b"\x01" * 32), Hash32(b"\x02" * 32)
MEMBERS = ((RollupId(901), A), (RollupId(902), B))


def test_a_leg_that_waits_is_known_and_one_that_took_place_knows_its_other_half() -> None:
    legs = LegBook()
    legs.wait(MEMBERS)
    assert A in legs
    assert legs.others(A) == ()
    legs.decide(MEMBERS)
    assert legs.others(B) == MEMBERS
    legs.drop(MEMBERS)
    assert A not in legs
    assert legs.others(A) == ()


def test_no_more_are_remembered_than_the_bound() -> None:
    legs = LegBook()
    for number in range(BOOST_LEGS_KEPT + 5):
        member = [(RollupId(901), number.to_bytes(32, "big"))]
        legs.wait(member)
        legs.decide(member)
        legs.wait([(RollupId(902), (number + 2**40).to_bytes(32, "big"))])
    assert len(legs._waiting) == len(legs._decided) == BOOST_LEGS_KEPT
    assert (0).to_bytes(32, "big") not in legs


def test_a_dropped_bundles_transaction_may_be_sent_by_itself() -> None:
    listeners = []
    host = SimpleNamespace(bundles=SimpleNamespace(listen=listeners.append))
    watch = BoostWatch(host, [RollupId(901)])  # type: ignore[arg-type]
    (told,) = listeners
    for name, known in (("received", True), ("decided", True), ("sealed", True), ("dropped", False)):
        legs = tuple(Placement(rollup_id, (hash_,), None) for rollup_id, hash_ in MEMBERS)
        told(
            BundleStatus(
                hash=Hash32(bytes(32)),
                status=name,
                legs=legs,
                not_before_slot=Slot(0),
                deadline_slot=Slot(9),  # type: ignore[arg-type]
            )
        )
        assert (A in watch.legs) == known, name
