"""Messages between two rollups on the native core: what the predeploys accept, and how each misuse reverts."""

from __future__ import annotations

import msgspec
import pytest
from eth_abi import decode, encode

from plait.errors import MessageRefused
from plait.interop.access_list import Access, access_list_of_transaction, encode_accesses, parse_access_list
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import Identifier, LogIndex, MessageChainId
from plait.interop.messages import (
    CROSS_L2_INBOX,
    MESSENGER,
    Log,
    decode_relayed_message,
    decode_sent_message,
    executing_messages,
    is_relayed_message,
    message_hash_of,
    relay_calldata,
)
from plait.interop.relays import relays_of
from plait.interop.validity import refuse_admission, refuse_execution, refuse_missing
from plait.native import keccak256
from plait.rollups.embedded.genesis import MULTICALL
from plait.types import Address, BlockNumber, Hash32, Seconds
from tests.unit.interop.pair import (
    ALICE,
    RELAYER,
    SET,
    STRANGER,
    TOKEN,
    A,
    B,
    Pair,
    Sent,
    aggregate,
    calldata,
    error,
    relay,
    send,
    sent_messages,
)

IDENTIFIER = "(address,uint256,uint256,uint256,uint256)"
NOT_IN_ACCESS_LIST = bytes.fromhex("e3c00816")
MULTICALL_ADDRESS = Address(bytes.fromhex(MULTICALL))


@pytest.fixture
def pair() -> Pair:
    return Pair()


def validate(identifier: tuple[object, ...], payload_hash: bytes) -> bytes:
    return keccak256(f"validateMessage({IDENTIFIER},bytes32)".encode())[:4] + encode(
        [IDENTIFIER, "bytes32"], [identifier, payload_hash]
    )


def fields(at: Identifier) -> tuple[object, ...]:
    return (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)


def test_a_message_is_relayed_at_its_own_timestamp(pair: Pair) -> None:
    """Sent in A's open block, delivered in B's of the same timestamp; every commitment agrees with plait.interop."""
    sent = send(pair.a, B, STRANGER, b"hello")
    assert refuse_execution(SET, B, pair.b.timestamp, sent.access, pair.lookup) is None
    executed = relay(pair.b, sent)
    assert executed.status == 1, executed.failure
    said = decode_sent_message(sent.log.topics, sent.log.data)
    assert (said.destination, said.target, said.nonce, said.sender, said.message) == (
        B, STRANGER, 0, ALICE.address, b"hello",
    )  # fmt: skip
    logs = [log for _, log in executed.logs]
    assert [message for _, message in executing_messages(logs, LogIndex(0))] == [sent.message]
    (reported,) = [decode_relayed_message(log.topics, log.data) for log in logs if is_relayed_message(log)]
    message_hash = message_hash_of(said, A)
    assert (reported.source, reported.nonce, reported.message_hash) == (A, 0, message_hash)
    assert reported.return_data_hash == keccak256(b"")
    assert pair.b.ask(MESSENGER, "successfulMessages(bytes32)", message_hash) == 1
    assert pair.a.ask(MESSENGER, "successfulMessages(bytes32)", message_hash) == 0
    assert pair.a.call(MESSENGER, calldata("sentMessages(uint256)", 0)) == message_hash
    assert pair.a.ask(MESSENGER, "messageNonce()") == 1


def test_relays_of_a_transactions_logs(pair: Pair) -> None:
    """One transaction sends two messages among other logs: both relays come in order and run as they are."""
    signature = "sendMessage(uint256,address,bytes)"
    calls = [(MESSENGER, False, calldata(signature, B, STRANGER, text)) for text in (b"first", b"second")]
    send(pair.a, B, STRANGER, b"so that the position is not zero")
    executed = pair.a.execute(ALICE, MULTICALL_ADDRESS, aggregate(*calls))
    foreign = Log(STRANGER, executed.logs[0][1].topics, executed.logs[0][1].data)
    relays = relays_of(
        [*(log for _, log in executed.logs), foreign], first_log_index=executed.logs[0][0],
        block_number=pair.a.block_number, timestamp=pair.a.timestamp, chain_id=A,
    )  # fmt: skip
    expected = sent_messages(pair.a, executed)
    assert [(one.message, one.access, one.calldata) for one in relays] == [
        (sent.message, sent.access, sent.relay) for sent in expected
    ]
    for one in reversed(relays):  # D3: the order of delivery is free
        assert pair.b.ask(MESSENGER, "successfulMessages(bytes32)", one.message_hash) == 0
        delivered = pair.b.execute(RELAYER, MESSENGER, one.calldata, access_list=[(CROSS_L2_INBOX, one.keys)])
        assert delivered.status == 1
        assert pair.b.ask(MESSENGER, "successfulMessages(bytes32)", one.message_hash) == 1


def test_the_same_message_is_valid_in_a_later_block_too(pair: Pair) -> None:
    """What could not be relayed in its slot stays available."""
    sent = send(pair.a, B, STRANGER, b"later")
    pair.a.advance(Seconds(pair.a.timestamp + 4))
    pair.b.advance(pair.a.timestamp)
    assert refuse_execution(SET, B, pair.b.timestamp, sent.access, pair.lookup) is None
    assert relay(pair.b, sent).status == 1


def test_without_its_access_list_nothing_is_executed(pair: Pair) -> None:
    """No list, another contract's list, or the lookup key alone: NotInAccessList, and no trace but the gas."""
    sent = send(pair.a, B, STRANGER, b"hello")
    keys = encode_accesses([sent.access])
    for access_list in ([], [(MESSENGER, keys)], [(CROSS_L2_INBOX, keys[:1])], [(CROSS_L2_INBOX, [])]):
        executed = relay(pair.b, sent, access_list=access_list)
        assert (executed.status, executed.output, executed.logs) == (0, NOT_IN_ACCESS_LIST, [])
    assert relay(pair.b, sent).status == 1


@pytest.mark.parametrize("field", ["block_number", "timestamp", "log_index", "chain_id", "checksum"])
def test_a_mutated_access_list_is_refused_by_contract_or_rule(pair: Pair, field: str) -> None:
    """A wrong checksum is cold for the contract; a wrong position is warm for it but no log of that checksum."""
    sent = send(pair.a, B, STRANGER, b"hello")
    changed: dict[str, object] = {
        "block_number": sent.access.block_number - 1, "timestamp": sent.access.timestamp - 1,
        "log_index": sent.access.log_index + 1, "chain_id": B,
        "checksum": Hash32(sent.access.checksum[:-1] + bytes([sent.access.checksum[-1] ^ 1])),
    }  # fmt: skip
    access = msgspec.structs.replace(sent.access, **{field: changed[field]})
    assert refuse_missing(sent.access, pair.lookup) is None
    assert refuse_missing(access, pair.lookup) is not None
    executed = relay(pair.b, sent, access_list=[(CROSS_L2_INBOX, encode_accesses([access]))])
    if field == "checksum":
        assert (executed.status, executed.output) == (0, NOT_IN_ACCESS_LIST)
    else:
        assert executed.status == 1, "the contract sees the checksum only: whoever orders must check the position"


def test_a_checksum_without_its_lookup_is_the_readers_to_refuse(pair: Pair) -> None:
    """The contract would accept a list that names the checksum alone; the strict reader does not."""
    sent = send(pair.a, B, STRANGER, b"hello")
    access_list = [(CROSS_L2_INBOX, [sent.access.checksum])]
    with pytest.raises(MessageRefused) as refused:
        parse_access_list([(CROSS_L2_INBOX, [sent.access.checksum])])
    assert refused.value.code == "access_list_key_type"
    assert relay(pair.b, sent, access_list=access_list).status == 1


@pytest.mark.parametrize("field", ["origin", "block_number", "log_index", "timestamp", "chain_id", "payload"])
def test_a_mutated_call_is_not_what_the_access_list_declares(pair: Pair, field: str) -> None:
    """D7, D9: one field of the identifier or one byte of the payload changed in calldata reverts."""
    sent = send(pair.a, B, STRANGER, b"hello")
    at, payload = sent.message.identifier, sent.payload
    if field == "payload":
        payload = payload[:-32] + b"H" + payload[-31:]
    elif field == "origin":
        at = msgspec.structs.replace(at, origin=STRANGER)
    else:
        at = msgspec.structs.replace(at, **{field: getattr(at, field) + 1})
    executed = pair.b.execute(RELAYER, MESSENGER, relay_calldata(at, payload), access_list=sent.access_list)
    expected = error("IdOriginNotL2ToL2CrossDomainMessenger()") if field == "origin" else NOT_IN_ACCESS_LIST
    assert (executed.status, executed.output) == (0, expected)


def test_a_failed_try_does_not_warm_the_slot_for_the_next(pair: Pair) -> None:
    """The read of a reverted frame leaves its slot cold (EIP-2929), so trying twice in one transaction fails twice."""
    sent = send(pair.a, B, STRANGER, b"hello")
    call = validate(fields(sent.message.identifier), sent.message.payload_hash)
    executed = pair.b.execute(RELAYER, MULTICALL_ADDRESS, aggregate(*[(CROSS_L2_INBOX, True, call)] * 3))
    (results,) = decode(["(bool,bytes)[]"], executed.output)
    assert list(results) == [(False, NOT_IN_ACCESS_LIST)] * 3
    assert executed.logs == []


def test_one_transaction_may_execute_several_messages(pair: Pair) -> None:
    """Two lists of the inbox, joined in order, declare two messages; the same one twice is delivered once."""
    first, second = (send(pair.a, B, STRANGER, text) for text in (b"first", b"second"))
    access_list = [*first.access_list, (bytes(STRANGER), []), *second.access_list]
    calls = [(MESSENGER, True, sent.relay) for sent in (first, second, first)]
    executed = pair.b.execute(RELAYER, MULTICALL_ADDRESS, aggregate(*calls), access_list=access_list)
    (results,) = decode(["(bool,bytes)[]"], executed.output)
    assert [success for success, _ in results] == [True, True, False]
    assert results[2][1] == error("MessageAlreadyRelayed()")
    found = [message for _, message in executing_messages([log for _, log in executed.logs], LogIndex(0))]
    assert found == [first.message, second.message]


@pytest.mark.parametrize(
    ("position", "value", "expected"),
    [(1, 2**64, "BlockNumberTooHigh()"), (2, 2**32, "LogIndexTooHigh()"), (3, 2**64, "TimestampTooHigh()")],
)
def test_fields_above_their_width(pair: Pair, position: int, value: int, expected: str) -> None:
    """The contract refuses what the checksum cannot hold."""
    identifier = [bytes(MESSENGER), 1, 1, 1, A]
    identifier[position] = value
    executed = pair.b.execute(RELAYER, CROSS_L2_INBOX, validate(tuple(identifier), bytes(32)))
    assert (executed.status, executed.output) == (0, error(expected))


def test_the_contracts_checksum_is_ours(pair: Pair) -> None:
    """calculateChecksum answers what plait.interop computes, at the edges of every width."""
    sent = send(pair.a, B, STRANGER, b"hello")
    edges = Identifier(
        origin=Address(b"\xff" * 20), block_number=BlockNumber(2**64 - 1), log_index=LogIndex(2**32 - 1),
        timestamp=Seconds(2**64 - 1), chain_id=MessageChainId(2**256 - 1),
    )  # fmt: skip
    zeros = Identifier(
        origin=Address(bytes(20)), block_number=BlockNumber(0), log_index=LogIndex(0), timestamp=Seconds(0),
        chain_id=MessageChainId(0),
    )  # fmt: skip
    for at in (sent.message.identifier, edges, zeros):
        message = msgspec.structs.replace(sent.message, identifier=at)
        selector = keccak256(f"calculateChecksum({IDENTIFIER},bytes32)".encode())[:4]
        data = selector + encode([IDENTIFIER, "bytes32"], [fields(at), message.payload_hash])
        assert pair.b.call(CROSS_L2_INBOX, data) == message.checksum()


def test_a_message_is_delivered_once(pair: Pair) -> None:
    """D5: relaying again reverts; so does relaying the log of a resend of it."""
    sent = send(pair.a, B, STRANGER, b"once")
    said = decode_sent_message(sent.log.topics, sent.log.data)
    resend = calldata(
        "resendMessage(uint256,uint256,address,address,bytes)", B, said.nonce, said.sender, said.target, said.message
    )
    (again,) = sent_messages(pair.a, pair.a.execute(RELAYER, MESSENGER, resend))
    assert again.payload == sent.payload
    assert again.message != sent.message
    assert relay(pair.b, again).status == 1
    for late in (sent, again):
        executed = relay(pair.b, late)
        assert (executed.status, executed.output) == (0, error("MessageAlreadyRelayed()"))


def test_only_what_was_sent_can_be_resent(pair: Pair) -> None:
    """A resend with any other parameter reverts with InvalidMessage."""
    send(pair.a, B, STRANGER, b"once")
    signature = "resendMessage(uint256,uint256,address,address,bytes)"
    for values in (
        (A, 0, ALICE.address, STRANGER, b"once"),
        (B, 1, ALICE.address, STRANGER, b"once"),
        (B, 0, STRANGER, STRANGER, b"once"),
        (B, 0, ALICE.address, ALICE.address, b"once"),
        (B, 0, ALICE.address, STRANGER, b"twice"),
    ):
        executed = pair.a.execute(ALICE, MESSENGER, calldata(signature, *values))
        assert (executed.status, executed.output) == (0, error("InvalidMessage()"))


def test_messages_that_cannot_be_sent(pair: Pair) -> None:
    """To the own rollup, or to the messenger itself."""
    signature = "sendMessage(uint256,address,bytes)"
    for values, expected in (
        ((A, STRANGER, b""), "MessageDestinationSameChain()"),
        ((B, MESSENGER, b""), "MessageTargetL2ToL2CrossDomainMessenger()"),
    ):
        executed = pair.a.execute(ALICE, MESSENGER, calldata(signature, *values))
        assert (executed.status, executed.output) == (0, error(expected))


def test_a_message_for_another_rollup_is_not_delivered_here(pair: Pair) -> None:
    """D8: A's message for B, relayed on A, reverts although A may execute its own logs."""
    sent = send(pair.a, B, STRANGER, b"wrong way")
    executed = relay(pair.a, sent)
    assert (executed.status, executed.output) == (0, error("MessageDestinationNotRelayChain()"))


def test_only_sent_messages_are_delivered(pair: Pair) -> None:
    """Another log of the messenger (here: RelayedMessage) can be executed, but not relayed."""
    delivered = relay(pair.b, send(pair.a, B, STRANGER, b"hello"))
    ((index, log),) = [(index, log) for index, log in delivered.logs if is_relayed_message(log)]
    payload = b"".join((*log.topics, log.data))
    at = Identifier(
        origin=MESSENGER, block_number=pair.b.block_number, log_index=index, timestamp=pair.b.timestamp, chain_id=B
    )
    message = msgspec.structs.replace(send(pair.a, B, STRANGER, b"").message, identifier=at)
    message = msgspec.structs.replace(message, payload_hash=Hash32(keccak256(payload)))
    reply = Sent(message, payload, log)
    assert refuse_execution(SET, A, pair.a.timestamp, reply.access, pair.lookup) is None
    executed = relay(pair.a, reply)
    assert (executed.status, executed.output) == (0, error("EventPayloadNotSentMessage()"))


def test_a_target_that_reverts_can_be_tried_again(pair: Pair) -> None:
    """The target's own revert data comes through; nothing is marked; once the target can, the message is delivered."""
    pair.b.deploy_token()
    sent = send(pair.a, B, TOKEN, calldata("transfer(address,uint256)", STRANGER, 5))
    executed = relay(pair.b, sent)
    assert executed.status == 0
    assert executed.output == calldata("ERC20InsufficientBalance(address,uint256,uint256)", MESSENGER, 0, 5)
    pair.b.execute(ALICE, TOKEN, calldata("mint(address,uint256)", MESSENGER, 5))
    assert relay(pair.b, sent).status == 1
    assert pair.b.ask(TOKEN, "balanceOf(address)", STRANGER) == 5


def test_ether_of_the_relay_goes_to_the_target(pair: Pair) -> None:
    """relayMessage is payable: the relayer's ether arrives with the call."""
    sent = send(pair.a, B, STRANGER, b"")
    assert relay(pair.b, sent, value=77).status == 1
    assert pair.b.balance(STRANGER) == 77


def test_the_target_sees_who_sent_from_where_and_nobody_sees_it_after(pair: Pair) -> None:
    """crossDomainMessageContext answers during a delivery only, also later in the same transaction."""
    for getter in ("crossDomainMessageSender()", "crossDomainMessageSource()", "crossDomainMessageContext()"):
        executed = pair.b.execute(ALICE, MESSENGER, calldata(getter))
        assert (executed.status, executed.output) == (0, error("NotEntered()"))
    context = (MESSENGER, False, calldata("crossDomainMessageContext()"))
    sent = send(pair.a, B, MULTICALL_ADDRESS, aggregate(context))
    calls = aggregate((MESSENGER, False, sent.relay), (MESSENGER, True, context[2]))
    executed = pair.b.execute(RELAYER, MULTICALL_ADDRESS, calls, access_list=sent.access_list)
    (results,) = decode(["(bool,bytes)[]"], executed.output)
    assert results[1] == (False, error("NotEntered()"))
    (returned,) = decode(["bytes"], results[0][1])
    (inner,) = decode(["(bool,bytes)[]"], returned)
    assert inner == ((True, encode(["address", "uint256"], [ALICE.address, A])),)


def test_a_delivery_cannot_start_another(pair: Pair) -> None:
    """A message whose target relays a second message: ReentrantCall inside, and the second can be relayed later."""
    second = send(pair.a, B, STRANGER, b"inner")
    first = send(pair.a, B, MULTICALL_ADDRESS, aggregate((MESSENGER, True, second.relay)))
    executed = relay(pair.b, first, access_list=[*first.access_list, *second.access_list])
    assert executed.status == 1
    (returned,) = decode(["bytes"], executed.output)
    (inner,) = decode(["(bool,bytes)[]"], returned)
    assert inner == ((False, error("ReentrantCall()")),)
    assert relay(pair.b, second).status == 1


@pytest.mark.parametrize("depth", [2, 3, 5, 10])
def test_messages_and_replies_within_one_timestamp(pair: Pair, depth: int) -> None:
    """A5, D15: each delivery sends the next message back; all are valid at one timestamp and form no cycle."""
    data = b"the end"
    target: bytes = STRANGER
    for level in range(depth, 1, -1):  # the innermost message first
        destination = B if level % 2 else A
        data = aggregate((MESSENGER, False, calldata("sendMessage(uint256,address,bytes)", destination, target, data)))
        target = MULTICALL_ADDRESS
    sent = send(pair.a, B, target, data)
    executions = []
    sides = (pair.b, pair.a)
    for level in range(depth):
        side = sides[level % 2]
        assert refuse_execution(SET, side.chain_id, side.timestamp, sent.access, pair.lookup) is None
        executed = relay(side, sent)
        assert executed.status == 1, (level, executed.failure)
        ((index, message),) = executing_messages([log for _, log in executed.logs], executed.logs[0][0])
        executions.append(
            SameTimeExecution(
                chain_id=side.chain_id,
                log_index=index,
                source_chain_id=message.identifier.chain_id,
                source_log_index=message.identifier.log_index,
            )
        )
        replies = sent_messages(side, executed)
        assert len(replies) == (1 if level < depth - 1 else 0)
        sent = replies[0] if replies else sent
    assert chains_in_cycles(executions) == ()


def test_legs_that_commit_to_each_other_before_either_runs(pair: Pair) -> None:
    """D12: both legs' positions and content are foreseen on forks; then each emits, validates the other's; no cycle."""
    foreseen = {}
    for side, other in ((pair.a, B), (pair.b, A)):
        real, history = side.session, dict(side.history)
        side.session = real.fork()
        foreseen[side.chain_id] = send(side, other, STRANGER, b"leg")
        side.session, side.history, side.next_log = real, history, 0
    executions = []
    for side, other in ((pair.a, B), (pair.b, A)):
        peer = foreseen[other]
        assert send(side, other, STRANGER, b"leg") == foreseen[side.chain_id]
        check = validate(fields(peer.message.identifier), peer.message.payload_hash)
        executed = side.execute(ALICE, CROSS_L2_INBOX, check, access_list=peer.access_list)
        assert executed.status == 1
        ((index, message),) = executing_messages([log for _, log in executed.logs], executed.logs[0][0])
        assert message == peer.message
        executions.append(
            SameTimeExecution(
                chain_id=side.chain_id,
                log_index=index,
                source_chain_id=other,
                source_log_index=message.identifier.log_index,
            )
        )
    for side, other in ((pair.a, B), (pair.b, A)):
        assert refuse_execution(SET, side.chain_id, side.timestamp, foreseen[other].access, pair.lookup) is None
    assert chains_in_cycles(executions) == ()


def test_a_signed_relay_can_be_checked_before_it_runs(pair: Pair) -> None:
    """What an admission filter does: read the raw transaction's access list and judge each message it declares."""
    sent = send(pair.a, B, STRANGER, b"hello")
    raw = RELAYER.sign_1559(B, 0, to=MESSENGER, data=sent.relay, gas_limit=500_000, access_list=sent.access_list)
    accesses: list[Access] = parse_access_list(access_list_of_transaction(raw))
    assert accesses == [sent.access]
    for same_timestamp in (False, True):
        refusal = refuse_admission(
            SET, B, pair.b.timestamp, accesses[0], pair.lookup, timeout_s=Seconds(86_400),
            read_until=pair.a.timestamp, same_timestamp=same_timestamp,
        )  # fmt: skip
        assert (refusal is None) == same_timestamp


def test_gas_of_a_validation_is_bounded(pair: Pair) -> None:
    """validateMessage with its access list costs about what the published contract costs (33,636 gas in all)."""
    sent = send(pair.a, B, STRANGER, b"hello")
    call = validate(fields(sent.message.identifier), sent.message.payload_hash)
    executed = pair.b.execute(RELAYER, CROSS_L2_INBOX, call, access_list=sent.access_list)
    assert executed.status == 1
    assert 30_000 < executed.gas_used < 36_000, executed.gas_used
