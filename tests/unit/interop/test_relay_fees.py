"""Fees for deliveries on the native core: who is paid, once, for what, by whom; and who cannot be made to pay."""

from __future__ import annotations

import msgspec
import pytest
from eth_abi import decode, encode

from plait.errors import MessageRefused
from plait.interop.access_list import access_of, encode_accesses
from plait.interop.identifiers import MessageChainId, message_of_log
from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    MESSENGER,
    RELAY_DESK,
    RELAY_FEES,
    Log,
    SentMessage,
    is_relayed_message,
    message_hash_of,
)
from plait.interop.relay_fees import (
    DELIVERED_TOPIC,
    DELIVERY_REQUIRED_TOPIC,
    Claim,
    claim_of,
    decode_delivered,
    decode_delivery_required,
    decode_offer,
    is_delivered,
    is_delivery_required,
)
from plait.interop.relays import Relay
from plait.native import keccak256
from plait.rollups.embedded.genesis import MULTICALL
from plait.types import Address, Hash32, Seconds
from tests.unit.interop.fees import (
    MARGIN_S,
    PROBE,
    WEEK_S,
    attach,
    claim_after,
    deliver,
    delivered,
    deploy_probe,
    make_claim,
    message,
    messages_left,
    offered,
    only_relay,
    probe,
    sponsor,
)
from tests.unit.interop.pair import (
    ALICE,
    BOB,
    RELAYER,
    STRANGER,
    TOKEN,
    A,
    B,
    Executed,
    Pair,
    aggregate,
    calldata,
    error,
)

MULTICALL_ADDRESS = Address(bytes.fromhex(MULTICALL))
NOT_IN_ACCESS_LIST = error("NotInAccessList()")
CLAIM = "(address,uint256,uint256,uint256,uint256),address,uint256,address,address,bytes"
HOSTILE = MessageChainId(903)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def refused(executed: Executed, expected: bytes) -> None:
    """The transaction reverted with exactly this."""
    assert (executed.status, executed.output, executed.logs) == (0, expected, [])


def claim_calldata(claim: Claim, **changes: object) -> bytes:
    """Calldata of a claim with other values than the real ones."""
    (identifier, *rest) = decode([f"({CLAIM})"], (32).to_bytes(32, "big") + claim.calldata[4:])[0]
    values = dict(zip(("relayer", "nonce", "sender", "target", "message"), rest, strict=True)) | {"id": identifier}
    assert values["relayer"] == "0x" + claim.delivered.relayer.hex()
    values |= changes
    arguments = [values[name] for name in ("id", "relayer", "nonce", "sender", "target", "message")]
    types = ["(address,uint256,uint256,uint256,uint256)", "address", "uint256", "address", "address", "bytes"]
    return keccak256(f"claim({CLAIM})".encode())[:4] + encode(types, arguments)


def test_an_attached_fee_goes_to_the_relayer_within_the_timestamp(pair: Pair) -> None:
    """Attach, deliver through the desk, claim: one timestamp, the whole fee, to the relayer and nobody else."""
    sent = message(pair.a, B)
    assert attach(pair.a, sent.message_hash, 500).status == 1
    assert offered(pair.a, sent.message_hash, ALICE.address) == (500, 200_000)
    executed = deliver(pair.b, sent)
    claim = claim_after(pair.b, sent, executed)
    assert claim.delivered == msgspec.structs.replace(claim.delivered, message_hash=sent.message_hash, source=A)
    assert claim.delivered.relayer == RELAYER.address
    assert pair.b.ask(MESSENGER, "successfulMessages(bytes32)", sent.message_hash) == 1
    assert [is_relayed_message(log) for _, log in executed.logs] == [False, True, False]
    before = pair.a.balance(RELAYER.address)
    paid = make_claim(pair.a, claim, wallet=BOB)  # a foreign claim pays the one who delivered
    assert (paid.status, decode(["uint256"], paid.output)) == (1, (500,))
    assert pair.a.balance(RELAYER.address) == before + 500
    assert pair.a.balance(RELAY_FEES) == 0
    assert offered(pair.a, sent.message_hash, ALICE.address) == (0, 0)


def test_fees_of_several_payers_add_up(pair: Pair) -> None:
    """Two payers, three calls, one before the message exists: the sum is offered, with the highest gas limit."""
    foreseen = SentMessage(
        destination=B, target=STRANGER, nonce=0, sender=ALICE.address, message=b"hello"
    )  # what A's first message will be
    message_hash = message_hash_of(foreseen, A)
    assert attach(pair.a, message_hash, 100, gas=90_000, wallet=BOB).status == 1
    sent = message(pair.a, B)
    assert sent.message_hash == message_hash
    assert attach(pair.a, message_hash, 20, gas=300_000).status == 1
    assert attach(pair.a, message_hash, 3, gas=1).status == 1
    assert offered(pair.a, message_hash, ALICE.address) == (123, 300_000)
    assert make_claim(pair.a, delivered(pair, sent)).status == 1
    assert pair.a.balance(RELAY_FEES) == 0


def test_a_message_is_paid_for_once(pair: Pair) -> None:
    """The same claim again, the log of a resend, and a fee attached afterwards: AlreadyClaimed, nothing moves."""
    sent, other = message(pair.a, B), message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    attach(pair.a, other.message_hash, 700)
    claim = delivered(pair, sent)
    assert make_claim(pair.a, claim).status == 1
    refused(make_claim(pair.a, claim), error("AlreadyClaimed()"))
    refused(attach(pair.a, sent.message_hash, 1), error("AlreadyClaimed()"))
    refund = calldata("refund(bytes32)", sent.message_hash)
    pair.a.leap(Seconds(pair.a.timestamp + WEEK_S + MARGIN_S))
    refused(pair.a.execute(ALICE, RELAY_FEES, refund), error("AlreadyClaimed()"))
    refused(make_claim(pair.a, claim), error("AlreadyClaimed()"))
    assert pair.a.balance(RELAY_FEES) == 700


def test_a_reply_is_paid_for_on_the_rollup_that_sent_it(pair: Pair) -> None:
    """A's message has B send one back; each is delivered at one timestamp and claimed where it was sent."""
    reply = calldata("sendMessage(uint256,address,bytes)", A, STRANGER, b"back")
    there = message(pair.a, B, target=MULTICALL_ADDRESS, data=aggregate((MESSENGER, False, reply)))
    attach(pair.a, there.message_hash, 10)
    executed = deliver(pair.b, there)
    back = only_relay(pair.b, executed)
    assert back.sent.sender == MULTICALL_ADDRESS
    attach(pair.b, back.message_hash, 20, wallet=BOB)
    first = claim_after(pair.b, there, executed)
    second = claim_after(pair.a, back, deliver(pair.a, back))
    assert make_claim(pair.a, first).status == 1
    assert make_claim(pair.b, second).status == 1
    assert pair.a.balance(RELAY_FEES) == pair.b.balance(RELAY_FEES) == 0


def test_without_a_delivery_through_the_desk_nothing_is_paid(pair: Pair) -> None:
    """A delivery straight through the messenger names no relayer; the fee goes back to its payer later."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    executed = pair.b.execute(RELAYER, MESSENGER, sent.calldata, access_list=[(CROSS_L2_INBOX, sent.keys)])
    assert executed.status == 1
    assert not any(is_delivered(log) for _, log in executed.logs)
    refused(deliver(pair.b, sent), error("MessageAlreadyRelayed()"))


def test_a_claim_without_its_access_list_is_refused(pair: Pair) -> None:
    """The log of the delivery must be declared like any message."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    claim = delivered(pair, sent)
    refused(pair.a.execute(RELAYER, RELAY_FEES, claim.calldata), NOT_IN_ACCESS_LIST)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"relayer": BOB.address}, NOT_IN_ACCESS_LIST),
        ({"nonce": 7}, error("MessageNotSent()")),
        ({"sender": BOB.address}, error("MessageNotSent()")),
        ({"target": BOB.address}, error("MessageNotSent()")),
        ({"message": b"hello!"}, error("MessageNotSent()")),
    ],
)
def test_a_claim_says_what_was_sent_and_who_delivered(pair: Pair, changes: dict[str, object], expected: bytes) -> None:
    """One value changed: it is another message, or another log than the declared one."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    claim = delivered(pair, sent)
    assert claim_calldata(claim) == claim.calldata
    refused(make_claim(pair.a, claim, data=claim_calldata(claim, **changes)), expected)
    assert make_claim(pair.a, claim).status == 1


def forged(sent: Relay, *, chain_id: MessageChainId, origin: Address = RELAY_DESK) -> tuple[Claim, list[Hash32]]:
    """A claim by a log that a hostile chain, or another contract, could emit: it names BOB as relayer."""
    log = Log(
        origin,
        [DELIVERED_TOPIC, sent.message_hash, Hash32(A.to_bytes(32, "big")), Hash32(BOB.address.rjust(32, b"\0"))],
        b"",
    )
    sent = msgspec.structs.replace(sent, sent=msgspec.structs.replace(sent.sent, destination=chain_id))
    position = {"block_number": 1, "log_index": 0, "timestamp": 1_700_000_001}
    claim = claim_of(sent, log._replace(address=RELAY_DESK), **position)  # type: ignore[arg-type]
    declared = message_of_log(log.address, log.topics, log.data, chain_id=chain_id, **position)  # type: ignore[arg-type]
    return claim, encode_accesses([access_of(declared)])


def test_another_chain_cannot_claim(pair: Pair) -> None:
    """A chain of the set whose desk says what it likes gets nothing for messages to B, and nothing for unsent ones."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    sponsor(pair.a, BOB, ALICE, amount=900, messages=5, deposit=9_000)
    claim, keys = forged(sent, chain_id=HOSTILE)
    for other in (claim.calldata, claim_calldata(claim, nonce=99), claim_calldata(claim, sender=BOB.address)):
        executed = pair.a.execute(BOB, RELAY_FEES, other, access_list=[(CROSS_L2_INBOX, keys)])
        refused(executed, error("MessageNotSent()"))
    # what it can have is what was sent to it: its own deliveries are its own business
    own = message(pair.a, HOSTILE)
    claim, keys = forged(own, chain_id=HOSTILE)
    assert pair.a.execute(BOB, RELAY_FEES, claim.calldata, access_list=[(CROSS_L2_INBOX, keys)]).status == 1
    assert pair.a.balance(RELAY_FEES) == 500 + 9_000 - 900


def test_another_contract_cannot_say_that_it_delivered(pair: Pair) -> None:
    """A log of the same content from any other address than the desk's is refused, declared or not."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    claim, keys = forged(sent, chain_id=B, origin=STRANGER)
    access_list = [(CROSS_L2_INBOX, keys)]
    refused(pair.a.execute(BOB, RELAY_FEES, claim.calldata, access_list=access_list), NOT_IN_ACCESS_LIST)
    identifier = (STRANGER, 1, 0, 1_700_000_001, int(B))
    refused(
        pair.a.execute(BOB, RELAY_FEES, claim_calldata(claim, id=identifier), access_list=access_list),
        error("IdOriginNotRelayDesk()"),
    )


def test_claim_and_refund_never_both_have_their_time(pair: Pair) -> None:
    """Offered for 7 days, claimable an hour longer to the second; refundable from that second on, once."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    until = pair.a.timestamp + WEEK_S
    claim = delivered(pair, sent)
    refund = calldata("refund(bytes32)", sent.message_hash)
    too_early = calldata("RefundTooEarly(uint256)", until + MARGIN_S)
    for at, amount in ((until - 1, 500), (until, 0), (until + MARGIN_S - 1, 0)):
        pair.a.leap(Seconds(at))
        assert offered(pair.a, sent.message_hash, ALICE.address)[0] == amount
        refused(pair.a.execute(ALICE, RELAY_FEES, refund), too_early)
        point = pair.a.session.checkpoint()
        assert make_claim(pair.a, claim).status == 1, at - until
        pair.a.session.rollback(point)
    pair.a.leap(Seconds(until + MARGIN_S))
    refused(make_claim(pair.a, claim), error("NothingOffered()"))
    refused(pair.a.execute(BOB, RELAY_FEES, refund), error("NothingAttached()"))
    before = pair.a.balance(ALICE.address)
    executed = pair.a.execute(ALICE, RELAY_FEES, refund)
    assert executed.status == 1
    assert before + 500 - 2 * 10**9 * executed.gas_used - 10**15 < pair.a.balance(ALICE.address) < before + 500
    assert pair.a.balance(RELAY_FEES) == pair.a.ask(RELAY_FEES, "offers(bytes32)", sent.message_hash) == 0
    refused(pair.a.execute(ALICE, RELAY_FEES, refund), error("NothingAttached()"))


def test_an_offer_that_closes_takes_nothing_more(pair: Pair) -> None:
    """In the last hour nobody adds; afterwards a new offer begins, and an old part is offered again or given back."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    attach(pair.a, sent.message_hash, 60, wallet=BOB)
    closed = pair.a.timestamp + WEEK_S + MARGIN_S
    pair.a.leap(Seconds(closed - MARGIN_S))
    refused(attach(pair.a, sent.message_hash, 1), calldata("OfferClosing(uint256)", closed))
    pair.a.leap(Seconds(closed))
    refused(attach(pair.a, sent.message_hash, 0, wallet=RELAYER), error("NothingAttached()"))
    assert attach(pair.a, sent.message_hash, 0).status == 1
    assert offered(pair.a, sent.message_hash, ALICE.address)[0] == 500, "renewed without Bob's part"
    pair.b.leap(Seconds(pair.a.timestamp))
    assert make_claim(pair.a, delivered(pair, sent)).status == 1
    assert pair.a.balance(RELAY_FEES) == 60
    refund = calldata("refund(bytes32)", sent.message_hash)
    refused(pair.a.execute(ALICE, RELAY_FEES, refund), error("AlreadyClaimed()"))
    assert pair.a.execute(BOB, RELAY_FEES, refund).status == 1
    assert pair.a.balance(RELAY_FEES) == 0


def test_a_claim_that_a_sponsor_pays_spends_no_expired_part(pair: Pair) -> None:
    """The attached fee has expired and a sponsor pays everything: the payer still gets its part back."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    claim = delivered(pair, sent)
    pair.a.leap(Seconds(pair.a.timestamp + WEEK_S + MARGIN_S))
    sponsor(pair.a, BOB, ALICE, amount=300, messages=1, deposit=300)
    assert make_claim(pair.a, claim).status == 1
    assert pair.a.balance(RELAY_FEES) == 500
    assert pair.a.execute(ALICE, RELAY_FEES, calldata("refund(bytes32)", sent.message_hash)).status == 1
    assert pair.a.balance(RELAY_FEES) == 0


def test_nobody_keeps_a_fee_from_going_back(pair: Pair) -> None:
    """Another payer's later addition does not put off the refund of the first."""
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    closed = pair.a.timestamp + WEEK_S + MARGIN_S
    pair.a.leap(Seconds(closed - MARGIN_S - 1))
    assert attach(pair.a, sent.message_hash, 1, wallet=BOB).status == 1
    pair.a.leap(Seconds(closed))
    assert pair.a.execute(ALICE, RELAY_FEES, calldata("refund(bytes32)", sent.message_hash)).status == 1
    assert pair.a.balance(RELAY_FEES) == 1


def test_a_sponsor_pays_for_a_sender_who_chose_it(pair: Pair) -> None:
    """Deposit, promise and choice together make an offer; each claim takes the promise once."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=2, deposit=1_000)
    sent = message(pair.a, B)
    assert offered(pair.a, sent.message_hash, ALICE.address) == (300, 150_000)
    assert make_claim(pair.a, delivered(pair, sent)).status == 1
    assert pair.a.ask(RELAY_FEES, "deposits(address)", BOB.address) == 700
    assert messages_left(pair.a, BOB.address, ALICE.address) == 1
    assert pair.a.balance(RELAY_FEES) == 700


def test_a_sponsor_adds_what_an_attached_fee_lacks(pair: Pair) -> None:
    """A wei attached by anybody does not keep a sponsored message unpaid; a higher fee costs the sponsor nothing."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=5, deposit=1_000)
    small, high = message(pair.a, B), message(pair.a, B)
    attach(pair.a, small.message_hash, 1, gas=500_000, wallet=RELAYER)
    attach(pair.a, high.message_hash, 300)
    assert offered(pair.a, small.message_hash, ALICE.address) == (300, 500_000)
    assert offered(pair.a, high.message_hash, ALICE.address) == (300, 200_000)
    assert make_claim(pair.a, delivered(pair, small)).status == 1
    assert make_claim(pair.a, delivered(pair, high)).status == 1
    assert pair.a.ask(RELAY_FEES, "deposits(address)", BOB.address) == 701
    assert messages_left(pair.a, BOB.address, ALICE.address) == 4
    assert pair.a.balance(RELAY_FEES) == 701


def test_a_sponsor_is_not_drained(pair: Pair) -> None:
    """H8: strangers, unchosen sponsors, more messages than promised, other people's deposits: nothing is paid."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=1, deposit=1_000)
    # a stranger chooses the sponsor, who promised it nothing
    assert pair.a.execute(RELAYER, RELAY_FEES, calldata("useSponsor(address)", BOB.address)).status == 1
    stranger = message(pair.a, B, wallet=RELAYER)
    assert offered(pair.a, stranger.message_hash, RELAYER.address) == (0, 0)
    claim = delivered(pair, stranger)
    refused(make_claim(pair.a, claim), error("NothingOffered()"))
    # and cannot pretend that the allowed sender sent it
    refused(make_claim(pair.a, claim, data=claim_calldata(claim, sender=ALICE.address)), error("MessageNotSent()"))
    # it promises in its own name, of its own deposit, which is empty
    promise = calldata("allow(address,uint256,uint64,uint64)", RELAYER.address, 1_000, 0, 9)
    assert pair.a.execute(RELAYER, RELAY_FEES, promise).status == 1
    assert pair.a.execute(RELAYER, RELAY_FEES, calldata("useSponsor(address)", RELAYER.address)).status == 1
    refused(make_claim(pair.a, claim), error("NothingOffered()"))
    refused(pair.a.execute(RELAYER, RELAY_FEES, calldata("withdraw(uint256)", 1)), error("DepositTooLow()"))
    # the allowed sender gets what was promised and no more
    first, second = message(pair.a, B), message(pair.a, B)
    assert make_claim(pair.a, delivered(pair, first)).status == 1
    refused(make_claim(pair.a, delivered(pair, second)), error("NothingOffered()"))
    # nor does what it sends through a contract count as its own
    bridged = only_relay(
        pair.a, pair.a.execute(ALICE, ETH_BRIDGE, calldata("sendETH(address,uint256)", STRANGER, B), value=5)
    )
    assert offered(pair.a, bridged.message_hash, bridged.sent.sender) == (0, 0)
    refused(make_claim(pair.a, delivered(pair, bridged)), error("NothingOffered()"))
    assert pair.a.balance(RELAY_FEES) == pair.a.ask(RELAY_FEES, "deposits(address)", BOB.address) == 700


def test_a_sponsor_who_was_not_chosen_pays_nothing(pair: Pair) -> None:
    """A promise alone is no offer; nor is one whose sender has left for another sponsor, or nobody."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=9, deposit=1_000)
    sent = message(pair.a, B)
    claim = delivered(pair, sent)
    for other in (RELAYER.address, Address(bytes(20))):
        assert pair.a.execute(ALICE, RELAY_FEES, calldata("useSponsor(address)", other)).status == 1
        assert offered(pair.a, sent.message_hash, ALICE.address) == (0, 0)
        refused(make_claim(pair.a, claim), error("NothingOffered()"))


def test_a_deposit_that_does_not_reach_pays_nothing_and_uses_nothing_up(pair: Pair) -> None:
    """The promise is paid whole or not at all; the message stays claimable when the sponsor deposits more."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=1, deposit=299)
    claim = delivered(pair, message(pair.a, B))
    refused(make_claim(pair.a, claim), error("NothingOffered()"))
    assert messages_left(pair.a, BOB.address, ALICE.address) == 1
    assert pair.a.execute(ALICE, RELAY_FEES, calldata("depositFor(address)", BOB.address), value=1).status == 1
    assert make_claim(pair.a, claim).status == 1
    assert pair.a.balance(RELAY_FEES) == 0


def test_a_sponsor_withdraws_its_own(pair: Pair) -> None:
    """Any part of the rest of its deposit, and not a wei more."""
    sponsor(pair.a, BOB, ALICE, amount=300, messages=1, deposit=1_000)
    attach(pair.a, Hash32(b"\x01" * 32), 50)
    before = pair.a.balance(BOB.address)
    refused(pair.a.execute(BOB, RELAY_FEES, calldata("withdraw(uint256)", 1_001)), error("DepositTooLow()"))
    executed = pair.a.execute(BOB, RELAY_FEES, calldata("withdraw(uint256)", 1_000))
    assert executed.status == 1
    assert pair.a.balance(BOB.address) < before + 1_000
    assert pair.a.balance(RELAY_FEES) == 50


def test_the_desk_delivers_as_the_messenger_does(pair: Pair) -> None:
    """Ether goes on to the target; the desk keeps none, and a revert of the target comes through whole."""
    assert deliver(pair.b, message(pair.a, B, data=b""), value=77).status == 1
    assert (pair.b.balance(STRANGER), pair.b.balance(RELAY_DESK)) == (77, 0)
    pair.b.deploy_token()
    failing = message(pair.a, B, target=TOKEN, data=calldata("transfer(address,uint256)", STRANGER, 5))
    broke = calldata("ERC20InsufficientBalance(address,uint256,uint256)", MESSENGER, 0, 5)
    refused(deliver(pair.b, failing), broke)
    pair.b.execute(ALICE, TOKEN, calldata("mint(address,uint256)", MESSENGER, 5))
    assert deliver(pair.b, failing).status == 1


def test_a_target_that_calls_back_delivers_nothing_more(pair: Pair) -> None:
    """A message whose target has the desk deliver a second one: ReentrantCall inside, one Delivered log, one claim."""
    inner = message(pair.a, B, data=b"inner")
    outer = message(pair.a, B, target=MULTICALL_ADDRESS, data=aggregate((RELAY_DESK, True, inner.desk_calldata)))
    executed = pair.b.execute(
        RELAYER, RELAY_DESK, outer.desk_calldata, access_list=[(CROSS_L2_INBOX, [*outer.keys, *inner.keys])]
    )
    assert executed.status == 1
    (told,) = [decode_delivered(log.topics, log.data) for _, log in executed.logs if is_delivered(log)]
    assert told.message_hash == outer.message_hash
    assert pair.b.ask(MESSENGER, "successfulMessages(bytes32)", inner.message_hash) == 0
    assert deliver(pair.b, inner).status == 1


@pytest.mark.parametrize("again", ["claim", "refund", "withdraw"])
def test_a_payee_that_calls_back_is_paid_once(pair: Pair, again: str) -> None:
    """A contract as relayer, payer and sponsor claims, refunds or withdraws again from within its payment."""
    for side in (pair.a, pair.b):
        deploy_probe(side)
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    attach(pair.a, Hash32(b"\x07" * 32), 500)  # what a second payment could be taken from
    on_desk = calldata("run(address,bytes)", RELAY_DESK, sent.desk_calldata)
    executed = pair.b.execute(RELAYER, PROBE, on_desk, access_list=[(CROSS_L2_INBOX, sent.keys)])
    claim = claim_after(pair.b, sent, executed)
    assert claim.delivered.relayer == PROBE
    own = Hash32(b"\x08" * 32)
    probe(pair.a, RELAY_FEES, calldata("attach(bytes32,uint64)", own, 1), value=40)
    probe(pair.a, RELAY_FEES, calldata("depositFor(address)", PROBE), value=40)
    if again == "refund":
        pair.a.leap(Seconds(pair.a.timestamp + WEEK_S + MARGIN_S))
    data = {
        "claim": claim.calldata,
        "refund": calldata("refund(bytes32)", own),
        "withdraw": calldata("withdraw(uint256)", 40),
    }[again]
    assert pair.a.execute(ALICE, PROBE, calldata("callBack(address,bytes)", RELAY_FEES, data)).status == 1
    before = pair.a.balance(RELAY_FEES)
    executed = make_claim(pair.a, claim) if again == "claim" else probe(pair.a, RELAY_FEES, data)
    assert executed.status == 1
    assert (pair.a.ask(PROBE, "callbacks()"), pair.a.ask(PROBE, "successes()")) == (1, 0)
    assert pair.a.balance(PROBE) == before - pair.a.balance(RELAY_FEES) == (500 if again == "claim" else 40)


def test_a_payee_may_be_paid_for_another_message_from_within(pair: Pair) -> None:
    """Calling back is harmless, not forbidden: within a withdrawal the refund of something else goes through."""
    deploy_probe(pair.a)
    other = Hash32(b"\x08" * 32)
    probe(pair.a, RELAY_FEES, calldata("attach(bytes32,uint64)", other, 1), value=40)
    probe(pair.a, RELAY_FEES, calldata("depositFor(address)", PROBE), value=2)
    pair.a.leap(Seconds(pair.a.timestamp + WEEK_S + MARGIN_S))
    refund = calldata("refund(bytes32)", other)
    pair.a.execute(ALICE, PROBE, calldata("callBack(address,bytes)", RELAY_FEES, refund))
    assert probe(pair.a, RELAY_FEES, calldata("withdraw(uint256)", 2)).status == 1
    assert (pair.a.balance(PROBE), pair.a.balance(RELAY_FEES)) == (42, 0)


def test_a_payee_that_refuses_leaves_everything_as_it_was(pair: Pair) -> None:
    """The payment fails, the claim reverts whole, and works once the payee accepts."""
    for side in (pair.a, pair.b):
        deploy_probe(side)
    sent = message(pair.a, B)
    attach(pair.a, sent.message_hash, 500)
    on_desk = calldata("run(address,bytes)", RELAY_DESK, sent.desk_calldata)
    executed = pair.b.execute(RELAYER, PROBE, on_desk, access_list=[(CROSS_L2_INBOX, sent.keys)])
    claim = claim_after(pair.b, sent, executed)
    pair.a.execute(ALICE, PROBE, calldata("refuse(bool)", True))
    refused(make_claim(pair.a, claim), error("PaymentRefused()"))
    assert offered(pair.a, sent.message_hash, ALICE.address)[0] == 500
    pair.a.execute(ALICE, PROBE, calldata("refuse(bool)", False))
    assert make_claim(pair.a, claim).status == 1


def test_amounts_above_their_width_are_refused(pair: Pair) -> None:
    """A promise of 2**128 wei and more; the widest is accepted."""
    for amount, status in ((2**128, 0), (2**128 - 1, 1)):
        data = calldata("allow(address,uint256,uint64,uint64)", ALICE.address, amount, 2**64 - 1, 2**64 - 1)
        executed = pair.a.execute(BOB, RELAY_FEES, data)
        assert executed.status == status
        assert status or executed.output == error("AmountTooHigh()")


def test_ether_sent_without_a_call_is_not_taken(pair: Pair) -> None:
    """Neither contract has a receive function: nothing is lost by mistake."""
    for to in (RELAY_DESK, RELAY_FEES):
        assert pair.a.execute(ALICE, to, b"", value=1).status == 0
        assert pair.a.balance(to) == 0


def test_a_required_delivery_is_a_log_of_the_message(pair: Pair) -> None:
    """requireDelivery emits the hash, by which whoever orders the transaction finds what it demands."""
    executed = pair.a.execute(ALICE, RELAY_FEES, calldata("requireDelivery(bytes32)", b"\x09" * 32))
    ((_, log),) = executed.logs
    assert is_delivery_required(log)
    assert decode_delivery_required(log.topics, log.data) == b"\x09" * 32


GOOD = Log(
    RELAY_DESK, [DELIVERED_TOPIC, Hash32(b"\x01" * 32), Hash32(bytes(32)), Hash32(b"\0" * 12 + b"\x02" * 20)], b""
)


@pytest.mark.parametrize(
    ("topics", "data", "code"),
    [
        (GOOD.topics[:3], b"", "event_topics"),
        ([*GOOD.topics, GOOD.topics[3]], b"", "event_topics"),
        ([DELIVERY_REQUIRED_TOPIC, *GOOD.topics[1:]], b"", "event_topics"),
        ([*GOOD.topics[:3], GOOD.topics[3][1:]], b"", "event_topics"),
        (GOOD.topics, bytes(1), "event_size"),
        ([*GOOD.topics[:3], Hash32(b"\x01" + GOOD.topics[3][1:])], b"", "event_padding"),
    ],
)
def test_logs_of_another_form_are_refused(topics: list[Hash32], data: bytes, code: str) -> None:
    """Number of topics, event, size of a topic, data, and bytes above the address."""
    assert decode_delivered(GOOD.topics, GOOD.data).relayer == b"\x02" * 20
    with pytest.raises(MessageRefused) as caught:
        decode_delivered(topics, data)
    assert caught.value.code == code
    with pytest.raises(MessageRefused):
        decode_delivery_required(topics, data)


def test_logs_of_other_contracts_are_no_events() -> None:
    """The same topics from elsewhere, no topics, another event."""
    for log in (GOOD._replace(address=RELAY_FEES), GOOD._replace(topics=[]), GOOD._replace(topics=GOOD.topics[1:])):
        assert not is_delivered(log)
        assert not is_delivery_required(log)
    assert is_delivered(GOOD)


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"", "offer_size"), (bytes(63), "offer_size"), (bytes(96), "offer_size"), (b"\xff" * 64, "event_padding")],
)
def test_answers_of_another_form_are_refused(answer: bytes, code: str) -> None:
    """An offer is two words, the second of 64 bits."""
    with pytest.raises(MessageRefused) as caught:
        decode_offer(answer)
    assert caught.value.code == code


def test_a_claim_is_made_of_its_own_delivery_only(pair: Pair) -> None:
    """The log of another message, of another contract, or another event is refused before anything is signed."""
    one, two = message(pair.a, B), message(pair.a, B)
    executed = deliver(pair.b, one)
    for sent, (index, log) in ((two, executed.logs[-1]), (one, executed.logs[1]), (one, executed.logs[0])):
        with pytest.raises(MessageRefused) as caught:
            claim_of(sent, log, block_number=pair.b.block_number, log_index=index, timestamp=Seconds(pair.b.timestamp))
        assert caught.value.code == "delivery_foreign"
