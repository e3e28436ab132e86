"""Scenarios C with messages: positions shift, access lists are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from plait.interop.access_list import access_of, encode_accesses
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER
from plait.types import Hash32
from sim.workload import BURNING_CODE
from tests.scenarios.messages import changed, declared, delivered, foreseen, relaying, send
from tests.scenarios.world import USERS, A, B, World, calldata, fails_without_trace

COUNT = calldata("count()")


@pytest.mark.parametrize("pinned", [True, False])
def test_c08_an_earlier_transaction_shifts_the_log(pinned: bool) -> None:
    """Legs were signed for a message at log 0 of A's block, and another bundle writes a log first => the pre-signed
    bundle leaves no trace, pinned or not; it is the pin's own code when it is pinned."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [relaying(world, 3, message)]}
    pins = (world.pin(A),) if pinned else ()
    offer = world.offer(legs, pins=pins)
    code = "bundle_pin_missed" if pinned else "bundle_message_invalid"
    reason = "" if pinned else "message_checksum_wrong"
    world.happen(A, world.tx(A, 5, bench, COUNT))
    fails_without_trace(world, offer, code=code, reason=reason)
    assert (world.ask(A, MESSENGER, "messageNonce()"), world.ask(B, bench, "counter()")) == (0, 0)


def test_c08_a_relay_finds_the_new_position() -> None:
    """The same, but nobody signed a position in advance: several bundles and plain transactions write logs before and
    between => every delivery names the position that its message has in the end."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    offers = [
        world.offer(
            {A: [world.tx(A, user, bench, COUNT), world.tx(A, user, MESSENGER, send(B, bench, COUNT), after=1)]},
            delivery_required=required,
            ready_ms=1 + user,
        )
        for user, required in ((0, True), (1, False), (2, True))
    ]
    plain = {A: [world.tx(A, 3, bench, COUNT), world.tx(A, 3, MESSENGER, send(B, bench, COUNT), after=1)]}
    decided = world.decide(*offers, plain=plain)
    assert decided.bundles == [offer.bundle.hash for offer in offers]
    assert [message.message.identifier.log_index for message in decided.effect.sent] == [1, 3, 5, 7]
    assert len(decided.effect.delivered) == 4
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [4, 4]


def test_c10_no_room_for_a_delivery() -> None:
    """Both legs fit their blocks, but the block of B has no room left for the delivery that the bundle needs => nothing
    of it in these blocks; in the next slot legs and delivery take place together."""
    world = World(relay="free", gas_limit=8_000_000)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    world.decide(plain={B: [world.tx(B, 7, b"", BURNING_CODE, gas=7_850_000)]})
    legs = {A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))], B: [world.tx(B, 0, value=5, gas=21_000)]}
    offer = world.offer(legs, delivery_required=True)
    twin = world.twin()
    decided = world.decide(offer)
    twin.decide()
    assert decided.bundles == []
    assert world.info == twin.info
    assert world.there(offer) == {False}
    assert world.decide(offer, after_ms=1_000).bundles == [offer.bundle.hash]
    assert (world.ask(B, bench, "counter()"), world.waiting) == (1, [])


@pytest.mark.parametrize(
    ("case", "code", "reason"),
    [
        ("none", "bundle_leg_failed", "reverted"),
        ("of another message", "bundle_leg_failed", "reverted"),
        ("wrong block number", "bundle_message_invalid", "message_missing"),
        ("wrong log index", "bundle_message_invalid", "message_missing"),
        ("wrong timestamp", "bundle_message_invalid", "message_timestamp_wrong"),
        ("wrong chain", "bundle_message_invalid", "message_checksum_wrong"),
        ("only the checksum", "bundle_message_invalid", "access_list_key_type"),
        ("cut short", "bundle_leg_failed", "reverted"),
        ("padding", "bundle_message_invalid", "access_list_padding"),
        ("a stray key behind", "bundle_message_invalid", "access_list_key_type"),
        ("a second list with nonsense", "bundle_message_invalid", "access_list_key_type"),
    ],
)
def test_c12_the_access_list_is_missing_or_wrong(case: str, code: str, reason: str) -> None:
    """A delivery's access list is missing, of another message, names a wrong place with the true checksum, or is
    malformed in one of the ways there are => no trace of the bundle, and validators refuse it; with the right list the
    same delivery is fine."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    world.happen(A, world.tx(A, 0, MESSENGER, send(B, bench, COUNT)))
    world.fresh()
    first = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    world.happen(A, world.tx(A, 0, MESSENGER, send(B, bench, COUNT)))
    true = list(encode_accesses([first.access]))
    at = first.message.identifier

    def placed(**fields: int) -> list[Hash32]:
        """Another place with the true checksum."""
        moved = changed(first.message, **fields)
        return [encode_accesses([access_of(moved)])[0], true[1]]

    other, _ = world.waiting
    inbox: Any = CROSS_L2_INBOX
    lists: dict[str, Any] = {
        "none": [],
        "of another message": declared(other.access),
        "wrong block number": [(inbox, placed(block_number=at.block_number - 1, log_index=5))],
        "wrong log index": [(inbox, placed(log_index=at.log_index + 1))],
        "wrong timestamp": [(inbox, placed(timestamp=at.timestamp - 1))],
        "wrong chain": [(inbox, placed(chain_id=B))],
        "only the checksum": [(inbox, true[1:])],
        "cut short": [(inbox, true[:1])],
        "padding": [(inbox, [Hash32(b"\1\0\0\1" + true[0][4:]), true[1]])],
        "a stray key behind": [(inbox, [*true, Hash32(b"\7" + bytes(31))])],
        "a second list with nonsense": [(inbox, true), (inbox, [Hash32(bytes(32))])],
    }
    raw = relaying(world, 3, first, access_list=lists[case])
    offer = world.offer({A: [world.tx(A, 1)], B: [raw]})
    assert world.refusal(world.forged(offer)).code == code
    fails_without_trace(world, offer, code=code, reason=reason, rollup_id=B)
    assert not delivered(world, first)
    good = world.offer({A: [world.tx(A, 1)], B: [relaying(world, 3, first)]})
    assert world.decide(good).bundles == [good.bundle.hash]
    assert delivered(world, first)
