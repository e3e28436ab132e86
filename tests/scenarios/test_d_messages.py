"""Scenarios D: which messages may be executed, and which no validator lets pass."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plait.execution.bundles import BundleCandidate
from plait.interop.access_list import access_of, encode_accesses
from plait.interop.identifiers import Message
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER
from plait.interop.validity import EXPIRY_WINDOW_S
from plait.native import keccak256
from plait.types import RollupId
from tests.scenarios.messages import changed, declared, delivered, event, foreseen, relaying, send, validate, validating
from tests.scenarios.world import STEADY, USERS, A, B, C, World, calldata, fails_without_trace

COUNT = calldata("count()")
COUNTED = keccak256(b"Counted(address,uint256)")
MULTICALL = bytes.fromhex("ca11bde05977b3631167028862be2a173976ca11")


def counted(world: World, rollup_id: RollupId, bench: bytes, user: int, value: int, *, log: int = 0) -> Message:
    """The log of a user's call of `count`, foreseen as the `log`-th from now on."""
    topics = [COUNTED, USERS[user].address.rjust(32, b"\0")]
    return event(world, rollup_id, bench, topics, value.to_bytes(32, "big"), log=log)


def invalid_everywhere(world: World, offer: BundleCandidate, reason: str) -> None:
    """No honest proposer takes the bundle, and every validator refuses a proposal that holds it."""
    refused = world.refusal(world.forged(offer))
    assert (refused.code, refused.fields["reason"]) == ("bundle_message_invalid", reason), refused
    fails_without_trace(world, offer, code="bundle_message_invalid", reason=reason)


def plain_refused(world: World, rollup_id: RollupId, raw: bytes, reason: str) -> None:
    """The same for a plain transaction."""
    refused = world.refusal(world.forged(plain={rollup_id: [raw]}))
    assert (refused.code, refused.fields["reason"]) == ("message_invalid", reason), refused
    twin = world.twin()
    world.decide(plain={rollup_id: [raw]})
    twin.decide()
    assert world.info == twin.info


def test_d01_what_is_read_never_arrives() -> None:
    """A leg executes a message that is never sent => the bundle is tried and fails until its deadline, a plain
    transaction of the same kind waits until the block that should hold the message is sealed without it; neither leaves
    anything, and no clock of a coordinator runs out."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    never = counted(world, A, bench, 0, 1)
    offer = world.offer({A: [world.tx(A, 1)], B: [validating(world, B, 0, never)]}, slots=(0, world.slot + 2))
    raw = validating(world, B, 2, never)
    twin = world.twin()
    assert world.decide(plain={B: [raw]}).dropped == [], "what may still come is waited for"
    twin.decide()
    seen = []
    for _ in range(4):
        decided = world.decide(offer, plain={B: [raw]}, after_ms=1_000)
        twin.decide(after_ms=1_000)
        seen.append([failed.reason for failed in decided.failed.values()])
        assert decided.dropped == [(B, "message_missing")], "what cannot come any more is not waited for"
    assert seen == [["message_missing"], ["message_missing"], [], []], "after the deadline it is not tried any more"
    assert world.info == twin.info


def test_d02_what_is_sent_is_never_read() -> None:
    """A message to B that nobody delivers, one to a rollup outside of the set, one to an address without code => they
    stay what they are, logs on A: nothing waits for them, and blocks go on."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    raws = [world.tx(A, 0, MESSENGER, send(to, bench, COUNT), after=n) for n, to in enumerate((B, 999_999, 2**200))]
    world.happen(A, *raws)
    roots = [world.seal() for _ in range(2)]
    assert roots[0] != roots[1], "blocks go on"
    assert not delivered(world, message)
    assert [one.message_hash for one in world.waiting] == [message.message_hash], "only rollups of the set are served"
    assert world.ask(A, MESSENGER, "messageNonce()") == 3


def test_d03_messages_are_delivered_out_of_order() -> None:
    """Three messages of A are delivered as third, first, second, in different blocks of B => each is delivered once and
    B has counted three."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    messages = [foreseen(world, A, B, bench, USERS[0].address, COUNT, log=n, earlier=n) for n in range(3)]
    world.happen(A, *(world.tx(A, 0, MESSENGER, send(B, bench, COUNT), after=n) for n in range(3)))
    for place in (2, 0, 1):
        world.happen(B, relaying(world, 3, messages[place]))
        world.decide(after_ms=1_000)
    assert all(delivered(world, message) for message in messages)
    assert world.ask(B, bench, "counter()") == 3


def test_d04_read_in_another_order_than_written() -> None:
    """One transaction executes two logs of A in the order opposite to that in which they were written, its access list
    in either order => valid: order among messages is for applications to ask for."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    first, second = counted(world, A, bench, 0, 1), counted(world, A, bench, 0, 2, log=1)
    world.happen(A, world.tx(A, 0, bench, COUNT), world.tx(A, 0, bench, COUNT, after=1))
    calls = calldata(
        "aggregate((address,bytes)[])", [(CROSS_L2_INBOX, validate(second)), (CROSS_L2_INBOX, validate(first))]
    )
    for order in ((first, second), (second, first)):
        raw = world.tx(B, 1, MULTICALL, calls, access_list=declared(*map(access_of, order)))
        offer = world.offer({A: [world.tx(A, 2)], B: [raw]})
        assert world.decide(offer).bundles == [offer.bundle.hash]


def test_d05_a_delivered_message_is_delivered_again() -> None:
    """Somebody relays a message that was delivered, as a bundle, plainly, and as a relayer that thinks it waits =>
    the messenger refuses; B has counted once; the bundle leaves no trace, the relayer pays nothing."""
    world = World(relay="free")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    world.decide(world.offer({A: [world.tx(A, 0, MESSENGER, send(B, bench, COUNT))]}))
    assert (delivered(world, message), world.ask(B, bench, "counter()")) == (True, 1)
    again = world.offer({A: [world.tx(A, 1)], B: [relaying(world, 3, message)]})
    fails_without_trace(world, again, code="bundle_leg_failed", reason="reverted", rollup_id=B)
    had = world.balance(B, world.relayer.address)  # type: ignore[union-attr]
    world.waiting = [message]
    assert world.decide().undelivered == {message.message_hash: "relay_failed"}
    assert world.balance(B, world.relayer.address) == had  # type: ignore[union-attr]
    world.waiting = []
    assert world.decide(plain={B: [relaying(world, 3, message)]}).statuses(B) == [0], "included, reverted, paid for"
    assert world.ask(B, bench, "counter()") == 1


def test_d06_one_message_twice_in_one_transaction() -> None:
    """The counterpart of a doubled header: a transaction declares and executes one log twice, and a second one executes
    it again => valid, as in the OP Stack (a log may be executed any number of times); delivering a message twice in one
    transaction reverts, so it stays undelivered."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    log = counted(world, A, bench, 0, 1)
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT, log=1)
    world.happen(A, world.tx(A, 0, bench, COUNT), world.tx(A, 0, MESSENGER, send(B, bench, COUNT), after=1))
    twice = calldata("aggregate((address,bytes)[])", [(CROSS_L2_INBOX, validate(log))] * 2)
    list_twice = [(CROSS_L2_INBOX, [*encode_accesses([access_of(log)] * 2)])]
    raws = [world.tx(B, 1, MULTICALL, twice, access_list=list_twice), validating(world, B, 1, log, after=1)]
    offer = world.offer({A: [world.tx(A, 2)], B: raws})
    assert world.decide(offer).bundles == [offer.bundle.hash]
    both = calldata("aggregate((address,bytes)[])", [(MESSENGER, message.calldata)] * 2)
    raw = world.tx(B, 3, MULTICALL, both, access_list=declared(message.access), gas=2_000_000)
    fails_without_trace(world, world.offer({B: [raw]}), code="bundle_leg_failed", reason="reverted", rollup_id=B)
    assert not delivered(world, message)


@pytest.mark.parametrize("declares", ["true", "tampered"])
def test_d07_tampered_data(declares: str) -> None:
    """Somebody delivers a message with other content than was sent => with the true access list the inbox finds the
    checksum cold and reverts; with one made for the tampered content no validator lets it pass."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    true = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    tampered = foreseen(world, A, B, bench, USERS[0].address, calldata("burn(uint256)", 100_000))
    world.happen(A, world.tx(A, 0, MESSENGER, send(B, bench, COUNT)))
    access = true.access if declares == "true" else tampered.access
    raw = relaying(world, 3, tampered, access_list=declared(access))
    offer = world.offer({A: [world.tx(A, 1)], B: [raw]})
    if declares == "true":
        fails_without_trace(world, offer, code="bundle_leg_failed", reason="reverted", rollup_id=B)
    else:
        plain_refused(world, B, raw, "message_checksum_wrong")
        invalid_everywhere(world, offer, "message_checksum_wrong")
    assert not delivered(world, true)
    assert world.ask(B, bench, "counter()") == 0


def test_d08_wrong_receiver_and_numbers_above_64_bits() -> None:
    """A message for B is delivered on C, or one names a chain above 64 bits => the messenger of C reverts, the unknown
    chain is refused by every validator; on B the message is as good as ever."""
    world = World(3)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    message = foreseen(world, A, B, bench, USERS[0].address, COUNT)
    world.happen(A, world.tx(A, 0, MESSENGER, send(B, bench, COUNT)))
    elsewhere = world.tx(C, 3, MESSENGER, message.calldata, access_list=declared(message.access), gas=2_000_000)
    fails_without_trace(world, world.offer({C: [elsewhere]}), code="bundle_leg_failed", reason="reverted", rollup_id=C)
    huge = changed(message.message, chain_id=2**64 + A)
    assert len(encode_accesses([access_of(huge)])) == 3, "declared with an extension key"
    plain_refused(world, B, validating(world, B, 3, huge), "chain_unknown")
    invalid_everywhere(world, world.offer({B: [validating(world, B, 3, huge)]}), "chain_unknown")
    world.happen(B, relaying(world, 3, message))
    assert [world.ask(i, bench, "counter()") for i in (B, C)] == [1, 0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"origin": bytes(20)}, "message_checksum_wrong"),
        ({"block_number": 0}, "message_missing"),
        ({"timestamp": 0}, "initiation_too_early"),
        ({"chain_id": 0}, "chain_unknown"),
        ({"payload_hash": bytes(32)}, "message_checksum_wrong"),
        ({"origin": bytes(20), "block_number": 0, "log_index": 0, "timestamp": 0, "chain_id": 0}, "chain_unknown"),
    ],
)
def test_d09_zero_is_no_wildcard(fields: dict[str, object], reason: str) -> None:
    """A declared message has a zero field, or only zeros, where a careless reader might take any value => refused."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.decide(plain={A: [world.tx(A, 5, bench, COUNT)]})
    log = changed(counted(world, A, bench, 0, 2), **fields)
    world.happen(A, world.tx(A, 0, bench, COUNT))
    plain_refused(world, B, validating(world, B, 1, log), reason)
    invalid_everywhere(world, world.offer({B: [validating(world, B, 1, log)]}), reason)


@pytest.mark.parametrize("comes", [True, False])
def test_d10_executed_before_it_is_written(comes: bool) -> None:
    """The counterpart of a message before its session: the leg on A, which runs first, executes a log that the leg on B
    writes later in the same bundle => valid, they take place together; without the writing leg nothing does."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    log = counted(world, B, bench, 0, 1)
    legs = {A: [validating(world, A, 1, log)], B: [world.tx(B, 0, bench, COUNT) if comes else world.tx(B, 0)]}
    offer = world.offer(legs, pins=(world.pin(B),))
    if comes:
        assert world.decide(offer).bundles == [offer.bundle.hash]
        assert world.ask(B, bench, "counter()") == 1
    else:
        invalid_everywhere(world, offer, "message_missing")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("itself", "message_checksum_wrong"),
        ("unknown chain", "chain_unknown"),
        ("log index too high", "message_missing"),
        ("greatest log index", "message_missing"),
        ("greatest block number", "message_not_yet"),
    ],
)
def test_d11_messages_that_cannot_be(case: str, reason: str) -> None:
    """A transaction executes the log that it will write itself, one of an unknown chain, one beyond the block's logs,
    or one at the greatest position there is => refused by every validator, in a bundle and plainly."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    existing = counted(world, A, bench, 0, 1)
    fields: dict[str, dict[str, object]] = {
        "itself": {"chain_id": B, "log_index": 0},
        "unknown chain": {"chain_id": 12_345},
        "log index too high": {"log_index": 1},
        "greatest log index": {"log_index": 2**32 - 1},
        "greatest block number": {"block_number": 2**64 - 1},
    }
    message = changed(existing, **fields[case])
    world.happen(A, world.tx(A, 0, bench, COUNT))
    raw = validating(world, B, 1, message)
    plain_refused(world, B, raw, reason)
    invalid_everywhere(world, world.offer({B: [validating(world, B, 1, message)]}), reason)


def test_d11_a_rollup_of_no_set() -> None:
    """C has no interop at all => bundles over it and the others take place as ever; what names it in a message is not
    delivered, and a declaration of C's logs is refused."""
    world = World(3, sets=(1, 1, 0), relay="free")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    log = counted(world, C, bench, 0, 1)
    legs = {
        A: [world.tx(A, 0, MESSENGER, send(C, bench, COUNT))],
        B: [world.tx(B, 0, bench, COUNT)],
        C: [world.tx(C, 0, bench, COUNT)],
    }
    offer = world.offer(legs, delivery_required=True)
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash]
    assert (decided.effect.sent, world.waiting) == ((), [])
    assert [world.ask(i, bench, "counter()") for i in world.ids] == [0, 1, 1]
    plain_refused(world, B, validating(world, B, 1, log), "chain_unknown")


def test_d11_rollups_of_another_set() -> None:
    """A and B are of one interop set, C of another => what A sends to C is delivered by nobody, what C executes of A is
    refused; on B the same is fine."""
    world = World(3, sets=(1, 1, 2), relay="free")
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    log = counted(world, A, bench, 0, 1)
    raws = [world.tx(A, 0, bench, COUNT), world.tx(A, 0, MESSENGER, send(C, bench, COUNT), after=1)]
    decided = world.decide(plain={A: raws})
    assert (decided.statuses(A), decided.effect.sent, decided.statuses(C)) == ([1, 1], (), [])
    plain_refused(world, C, validating(world, C, 1, log), "chain_unknown")
    invalid_everywhere(world, world.offer({C: [validating(world, C, 1, log)]}), "chain_unknown")
    fine = world.offer({B: [validating(world, B, 1, log)]})
    assert world.decide(fine).bundles == [fine.bundle.hash]
    assert world.ask(C, bench, "counter()") == 0


# ---------------------------------------------------------------- messages that justify each other
def entangled(
    world: World, bench: bytes, legs: dict[RollupId, Sequence[tuple[RollupId, int] | None]]
) -> BundleCandidate:
    """A pinned bundle from a plan: per rollup a list in which None calls `count` (one log) and (rollup, place) executes
    the log at that place of another leg (also one log)."""
    raws: dict[RollupId, list[bytes]] = {}
    values = {(i, n): sum(a is None for a in acts[: n + 1]) for i, acts in legs.items() for n in range(len(acts))}
    for rollup_id, acts in legs.items():
        for place, act in enumerate(acts):
            if act is None:
                raw = world.tx(rollup_id, 0, bench, COUNT, after=place, gas=100_000)
            else:
                log = counted(world, act[0], bench, 0, values[act], log=act[1])
                raw = validating(world, rollup_id, 0, log, after=place, gas=100_000)
            raws.setdefault(rollup_id, []).append(raw)
    return world.offer(raws, pins=tuple(world.pin(rollup_id) for rollup_id in sorted(legs)))


CYCLES = {
    "one rollup, itself": {A: [(A, 1), None]},
    "one rollup, two": {A: [(A, 3), None, (A, 1), None]},
    "one rollup, three": {A: [(A, 5), None, (A, 1), None, (A, 3), None]},
    "two rollups": {A: [(B, 1), None], B: [(A, 1), None]},
    "three rollups": {A: [(C, 1), None], B: [(A, 1), None], C: [(B, 1), None]},
    "through adjacency": {A: [(B, 2), None], B: [(A, 1), (C, 0), None], C: [None]},
    "a later log": {A: [None, (B, 2), None], B: [None, (A, 2), None]},
}
LEGAL = {
    "both write first": {A: [None, (B, 0)], B: [None, (A, 0)]},
    "one writes first": {A: [None, (B, 1)], B: [(A, 0), None]},
    "own earlier log": {A: [None, (A, 0)]},
    "three in a ring, one writes first": {A: [None, (C, 1)], B: [(A, 0), None], C: [(B, 1), None]},
    "both read twice": {A: [None, (B, 0), None, (B, 2)], B: [None, (A, 0), None, (A, 2)]},
}


@pytest.mark.parametrize("name", list(CYCLES))
def test_d12_cycles(name: str) -> None:
    """Executions that justify each other in a circle: within one rollup, over two and three, through a neighbour on the
    same rollup, in spite of earlier logs => no proposer takes the bundle, every validator refuses it."""
    world = World(3)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    invalid_everywhere(world, entangled(world, bench, CYCLES[name]), "message_cycle")
    assert [world.ask(i, bench, "counter()") for i in world.ids] == [0, 0, 0]


@pytest.mark.parametrize("name", list(LEGAL))
def test_d12_mutual_dependence_that_is_no_cycle(name: str) -> None:
    """Legs that need each other where somebody acts before it relies on another => the bundle takes place, and all
    logs are where they were foreseen."""
    world = World(3)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    offer = entangled(world, bench, LEGAL[name])
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash], decided.failed
    expected = [sum(act is None for act in LEGAL[name].get(i, ())) for i in world.ids]
    assert [world.ask(i, bench, "counter()") for i in world.ids] == expected
    world.seal()


@pytest.mark.parametrize("circular", [True, False])
def test_d13_two_sales_that_wait_for_each_other(circular: bool) -> None:
    """A token on A is handed over because it was paid on B, and the payment on B is made because it was handed over:
    each only looks at the other's log before it acts => refused, nobody moved anything; when the buyer pays first and
    the seller hands over on seeing it, both happen."""
    world = World()
    token = world.deploy_everywhere("DemoSuperchainToken")
    seller, buyer = USERS[0].address, USERS[1].address
    world.happen(A, world.tx(A, 0, token, calldata("mint(address,uint256)", seller, 1)))
    world.happen(B, world.tx(B, 1, token, calldata("mint(address,uint256)", buyer, 100)))
    world.fresh()
    transfer = keccak256(b"Transfer(address,address,uint256)")
    word = 12 * b"\0"
    handed = event(world, A, token, [transfer, word + seller, word + buyer], (1).to_bytes(32, "big"), log=1)
    paid_at = 1 if circular else 0
    paid = event(world, B, token, [transfer, word + buyer, word + seller], (100).to_bytes(32, "big"), log=paid_at)
    hand = world.tx(A, 0, token, calldata("transfer(address,uint256)", buyer, 1), after=1)
    pay = world.tx(B, 1, token, calldata("transfer(address,uint256)", seller, 100), after=int(circular))
    see = validating(world, B, 1, handed, after=int(not circular))
    legs = {A: [validating(world, A, 0, paid), hand], B: [see, pay] if circular else [pay, see]}
    offer = world.offer(legs, pins=(world.pin(A), world.pin(B)))
    if circular:
        invalid_everywhere(world, offer, "message_cycle")
    else:
        assert world.decide(offer).bundles == [offer.bundle.hash]
    assert world.ask(A, token, "balanceOf(address)", buyer) == int(not circular)
    assert world.ask(B, token, "balanceOf(address)", seller) == (0 if circular else 100)


def test_d14_expiry_to_the_second() -> None:
    """Messages that are seven days and one block (an hour) old, and seven days to the second => the first is refused by
    every validator and dropped by a proposer, the second is executed."""
    world = World(block_times=(60, 60), slot_ms=60_000, chances=STEADY)
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    older = counted(world, A, bench, 0, 1)
    world.happen(A, world.tx(A, 0, bench, COUNT))
    world.fresh()
    old = counted(world, A, bench, 0, 2)
    world.happen(A, world.tx(A, 0, bench, COUNT))
    until = old.identifier.timestamp + EXPIRY_WINDOW_S
    while world.rollup(B).open_block.timestamp < until:  # type: ignore[union-attr]
        world.decide(after_ms=until * 1_000 - world.time_ms if world.time_ms < until * 1_000 else 1)
    assert world.rollup(B).open_block.timestamp == until  # type: ignore[union-attr]
    late = validating(world, B, 1, older)
    refused = world.refusal(world.forged(plain={B: [late]}))
    assert (refused.code, refused.fields["reason"]) == ("message_invalid", "message_expired")
    assert world.decide(plain={B: [late]}).dropped == [(B, "message_expired")]
    offer = world.offer({A: [world.tx(A, 2)], B: [validating(world, B, 2, old)]})
    assert world.decide(offer).bundles == [offer.bundle.hash]


def test_d14_of_the_activation_block_and_from_the_future() -> None:
    """A message that claims to be of genesis, where interop begins, and one of a block younger than the one that
    would execute it => refused; the second is valid once B's block is as young."""
    world = World(block_times=(1, 3))
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    genesis = world.network.ledger.time_ms // 1_000
    early = changed(counted(world, A, bench, 0, 1), block_number=0, timestamp=genesis)
    plain_refused(world, B, validating(world, B, 1, early), "initiation_too_early")
    world.decide(after_ms=1_000)
    future = counted(world, A, bench, 0, 1)
    world.happen(A, world.tx(A, 0, bench, COUNT))
    assert future.identifier.timestamp > world.rollup(B).open_block.timestamp  # type: ignore[union-attr]
    refused = world.refusal(world.forged(plain={B: [validating(world, B, 1, future)]}))
    assert (refused.code, refused.fields["reason"]) == ("message_invalid", "message_from_future")
    raw = validating(world, B, 1, future)
    assert [world.decide(plain={B: [raw]}, after_ms=1_000).statuses(B) for _ in range(2)] == [[], [1]]


def test_d15_an_alternating_chain_of_depth_ten() -> None:
    """Each of ten executions relies on the one before, by turns on A and B, all of one timestamp and signed in advance
    => the chain is valid; one more that closes it to a ring is not."""
    world = World()
    bench = world.deploy_everywhere("Workbench")
    world.fresh()
    legs: dict[RollupId, list[tuple[RollupId, int] | None]] = {A: [None], B: []}
    for step in range(10):
        here, there = ((B, A), (A, B))[step % 2]
        legs[here] += [(there, len(legs[there]) - 1), None]
    offer = entangled(world, bench, legs)
    ring = {A: [(A, len(legs[A])), *[None if a is None else (a[0], a[1] + (a[0] == A)) for a in legs[A]]]}
    ring[B] = [None if a is None else (a[0], a[1] + (a[0] == A)) for a in legs[B]]
    invalid_everywhere(world.twin(), entangled(world, bench, ring), "message_cycle")
    decided = world.decide(offer)
    assert decided.bundles == [offer.bundle.hash], decided.failed
    assert [world.ask(i, bench, "counter()") for i in (A, B)] == [6, 5]
    world.seal()
