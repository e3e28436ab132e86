"""Pinned bundles over a running node: reserve, sign references to logs that do not exist yet, send, and all of it takes
place at the reserved place; or none of it does. Scenarios (atomicity): A4 mutual references that are signed in advance,
D7 each leg executes what the other one emits."""

from typing import Any

import pytest
from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.client import Bundle, BundleDropped, Client, Reservation, RpcError
from plait.interop.access_list import access_of, encode_accesses
from plait.interop.identifiers import LogIndex, Message, MessageChainId, message_of_log
from plait.interop.messages import CROSS_L2_INBOX
from plait.native import keccak256
from plait.types import Address, BlockNumber, Seconds
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import (
    ONE,
    OTHER,
    created_by,
    next_nonce,
    personal,
    run,
    signed,
    traces,
)

EMITTER = bytes.fromhex("60006000a000")
"""Creation code that emits one log without topics and data, and leaves a contract without code."""
IDENTIFIER = "(address,uint256,uint256,uint256,uint256)"


def emitting(node: Running, user: int, rollup: int, reservation: Reservation) -> tuple[bytes, Message]:
    """A transaction that emits a log as the first of the reserved block, and the message that the log will be."""
    nonce = next_nonce(node, user, rollup)
    raw = signed(user, rollup, nonce, to=b"", value=0, data=EMITTER, gas_limit=100_000)
    (pin,) = (pin for pin in reservation.pins if pin.rollup_id == rollup)
    message = message_of_log(
        Address(created_by(user, nonce)),
        [],
        b"",
        block_number=BlockNumber(pin.block_number),
        log_index=LogIndex(pin.log_index),
        timestamp=Seconds(pin.timestamp),
        chain_id=MessageChainId(rollup),
    )
    return raw, message


def executing(node: Running, user: int, rollup: int, message: Message) -> bytes:
    """The user's transaction after that one, which executes a message of another rollup."""
    at = message.identifier
    fields = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
    selector = keccak256(f"validateMessage({IDENTIFIER},bytes32)".encode())[:4]
    return signed(
        user,
        rollup,
        next_nonce(node, user, rollup) + 1,
        to=CROSS_L2_INBOX,
        value=0,
        data=selector + encode([IDENTIFIER, "bytes32"], [fields, message.payload_hash]),
        gas_limit=200_000,
        access_list=[(CROSS_L2_INBOX, list(encode_accesses([access_of(message)])))],
    )


def reserve(node: Running, user: int, *, rollups: tuple[int, ...] = (ONE, OTHER), ahead: int = 3) -> Reservation:
    async def work(client: Client) -> Reservation:
        slot = (await client.call("plait_slot"))["clockSlot"]
        return await client.reserve(rollups, lambda text: personal(user, text), slot=slot + ahead)

    found: Reservation = run(node, work)
    return found


def mutual(node: Running, users: tuple[int, int], reservation: Reservation) -> Bundle:
    """Each leg emits a log and executes the other leg's; both users sign before either log exists."""
    first, second = users
    raw_one, message_one = emitting(node, first, ONE, reservation)
    raw_other, message_other = emitting(node, second, OTHER, reservation)
    bundle = Bundle().leg(ONE, raw_one, executing(node, first, ONE, message_other))
    return bundle.leg(OTHER, raw_other, executing(node, second, OTHER, message_one)).pin_to(reservation)


def test_legs_that_execute_each_others_logs_are_signed_before_the_logs_exist(node: Running) -> None:
    reservation = reserve(node, 0)
    bundle = mutual(node, (0, 1), reservation)

    async def work(client: Client) -> Any:
        await client.send(bundle)
        return await bundle.wait("sealed")

    sealed = run(node, work)
    assert [(leg["rollupId"], leg["blockNumber"]) for leg in sealed["legs"]] == [
        (pin.rollup_id, pin.block_number) for pin in reservation.pins
    ]
    for leg in sealed["legs"]:
        emitted, executed = (node.call("eth_getTransactionReceipt", h, rollup=leg["rollupId"])
                             for h in leg["transactions"])  # fmt: skip
        assert (emitted["status"], executed["status"]) == ("0x1", "0x1")
        assert [int(log["logIndex"], 16) for log in (*emitted["logs"], *executed["logs"])] == [0, 1]
        assert executed["logs"][0]["address"] == "0x" + CROSS_L2_INBOX.hex()
        block = node.call("eth_getBlockByNumber", emitted["blockNumber"], False, rollup=leg["rollupId"])
        (pin,) = (pin for pin in reservation.pins if pin.rollup_id == leg["rollupId"])
        assert int(block["timestamp"], 16) == pin.timestamp


def test_one_leg_that_fails_leaves_neither(node: Running) -> None:
    reservation = reserve(node, 2)
    before = traces(node, 2, 3)
    bundle = mutual(node, (2, 3), reservation)
    bundle.require_balance(OTHER, "0x" + WALLETS[3].address.hex(), "eq", 0)

    async def work(client: Client) -> str:
        await client.send(bundle)
        with pytest.raises(BundleDropped) as dropped:
            await bundle.wait("decided")
        return dropped.value.message

    assert "which is not eq 0" in run(node, work)
    assert traces(node, 2, 3) == before


def test_a_log_that_is_not_where_it_was_foreseen_ends_the_bundle(node: Running) -> None:
    """The same transactions a slot later than they were signed for: the pins, and with them the references, miss."""
    reservation = reserve(node, 4)
    before = traces(node, 4, 5)
    legs = mutual(node, (4, 5), reservation).request()["legs"]
    late = Bundle()
    for leg in legs:
        late.leg(leg["rollupId"], *(bytes.fromhex(raw[2:]) for raw in leg["transactions"]))

    async def work(client: Client) -> Any:
        late.not_before(reservation.slot + 1).deadline(reservation.slot + 2)
        await client.send(late)
        with pytest.raises(BundleDropped) as dropped:
            await late.wait("decided")
        return await late.status(), dropped.value

    status, _ = run(node, work)
    assert status["dropped"]["code"] == "bundle_expired"
    assert status["dropped"]["reason"] in {"message_missing", "message_timestamp_wrong", "message_checksum_wrong"}
    assert traces(node, 4, 5) == before


def refused(node: Running, bundle: Bundle) -> str:
    async def work(client: Client) -> str:
        with pytest.raises(RpcError) as found:
            await client.send(bundle)
        assert len(found.value.message) > 15
        return found.value.code

    code: str = run(node, work)
    return code


def pinned(node: Running, reservation: Reservation, user: int = 6) -> Bundle:
    bundle = Bundle().leg(ONE, signed(user, ONE, next_nonce(node, user, ONE)))
    for pin in reservation.pins:
        bundle.pin(pin.rollup_id, pin.block_number, pin.log_index)
    return bundle


def test_what_is_reserved_is_kept_for_whoever_has_the_id(node: Running) -> None:
    before = traces(node, 6)
    reservation = reserve(node, 6, ahead=20)
    assert refused(node, pinned(node, reservation)) == "reserve_taken"
    beside = Bundle().leg(OTHER, signed(6, OTHER, next_nonce(node, 6, OTHER)))
    beside.pin(ONE, reservation.pins[0].block_number, 5)
    assert refused(node, beside) == "reserve_taken", "a leg without a pin would emit logs at the reserved top too"
    lost = pinned(node, reservation)
    lost.reservation = "0x" + "11" * 16
    assert refused(node, lost) == "reserve_lost"
    elsewhere = Bundle().leg(ONE, signed(6, ONE, next_nonce(node, 6, ONE)))
    elsewhere.pin(ONE, reservation.pins[0].block_number, 1)
    elsewhere.reservation = reservation.id
    assert refused(node, elsewhere) == "reserve_lost"
    unpinned = Bundle().leg(ONE, signed(6, ONE, next_nonce(node, 6, ONE)))
    unpinned.reservation = reservation.id
    assert refused(node, unpinned) == "reserve_lost"
    later = reserve(node, 7, ahead=20)
    assert later.slot == reservation.slot + 1, "the next slot whose blocks are free"
    again = run(node, lambda client: client.reserve(
        [OTHER, ONE], lambda text: personal(6, text), slot=reservation.slot))  # fmt: skip
    assert again == reservation, "the same signature gives the same reservation"
    assert traces(node, 6) == before


def test_a_reservation_made_later_goes_before_a_bundle_that_is_pinned_without_one(node: Running) -> None:
    async def work(client: Client) -> Any:
        slot = (await client.call("plait_slot"))["clockSlot"] + 40
        bundle = Bundle().leg(ONE, signed(8, ONE, next_nonce(node, 8, ONE))).pin(ONE, slot, 0)
        await client.send(bundle)
        status = await bundle.status()
        assert status is not None
        assert (status["status"], status["notBeforeSlot"], status["deadlineSlot"]) == ("received", slot, slot)
        made = await client.reserve([ONE], lambda text: personal(8, text), slot=slot)
        assert made.slot == slot
        return await bundle.status()

    status = run(node, work)
    assert (status["status"], status["dropped"]["code"]) == ("dropped", "reserve_taken")


def test_reservations_are_bounded_and_refused_with_codes(node: Running) -> None:
    async def work(client: Client) -> dict[str, str]:
        slot = (await client.call("plait_slot"))["clockSlot"]
        codes: dict[str, str] = {}

        async def ask(name: str, rollups: list[int], earliest: int, sign: Any = lambda text: personal(9, text)) -> None:
            try:
                await client.reserve(rollups, sign, slot=earliest)
                codes[name] = "reserved"
            except RpcError as error:
                codes[name] = error.code

        await ask("none", [], slot + 3)
        await ask("twice", [ONE, ONE], slot + 3)
        await ask("unknown", [777], slot + 3)
        await ask("past", [ONE], 1)
        await ask("far", [ONE], slot + 10_000)
        await ask("unsigned", [ONE], slot + 3, lambda text: b"\xff" * 65)
        await ask("short", [ONE], slot + 3, lambda text: b"\1")
        await ask("poor", [ONE], slot + 3, stranger)
        for turn in range(5):
            await ask(f"turn {turn}", [ONE], slot + 60 + turn)
        return codes

    def stranger(text: str) -> bytes:
        return bytes(Account.sign_message(encode_defunct(text=text), b"\x78" * 32).signature)

    assert run(node, work) == {
        "none": "reserve_rollups_invalid",
        "twice": "reserve_rollups_invalid",
        "unknown": "rollup_unknown",
        "past": "reserve_slot_past",
        "far": "reserve_slot_too_far",
        "unsigned": "reserve_signature_wrong",
        "short": "reserve_signature_wrong",
        "poor": "reserve_unfunded",
        **{f"turn {turn}": "reserved" for turn in range(4)},
        "turn 4": "reserve_quota_reached",
    }
