"""Identity, access lists, events and cycles over generated input; eth-abi and a naive search are the references.

A failing example is printed with the seed; replay with `pytest --hypothesis-seed=SEED` and this file.
"""

from __future__ import annotations

import itertools

import msgspec
import rlp
from eth_abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import CodecError, MessageRefused
from plait.interop.access_list import (
    Access,
    access_list_of_transaction,
    access_of,
    encode_accesses,
    join_inbox_keys,
    parse_access_list,
    parse_accesses,
)
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import Identifier, Message
from plait.interop.messages import (
    CROSS_L2_INBOX,
    EXECUTING_MESSAGE_TOPIC,
    SENT_MESSAGE_TOPIC,
    SentMessage,
    decode_executing_message,
    decode_sent_message,
    encode_identifier,
    message_hash_of,
    relay_calldata,
)
from plait.native import keccak256
from sim.wallet import Wallet

uint32, uint64, uint256 = (st.integers(0, 2**bits - 1) for bits in (32, 64, 256))
chain_ids = st.one_of(uint64, uint256, st.sampled_from([2**64 - 1, 2**64, 2**256 - 1]))
words, addresses = st.binary(min_size=32, max_size=32), st.binary(min_size=20, max_size=20)
identifiers = st.builds(
    Identifier, origin=addresses, block_number=uint64, log_index=uint32, timestamp=uint64, chain_id=chain_ids
)
messages = st.builds(Message, identifier=identifiers, payload_hash=words)
accesses = st.builds(access_of, messages)
# Keys that nearly fit: a type that may be right, padding that may be wrong
near_keys = st.builds(
    lambda kind, padding, rest: bytes((kind,)) + padding + rest[: 31 - len(padding)],
    st.sampled_from([0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 255]),
    st.sampled_from([bytes(3), bytes(7), b"\x00\x00\x01", bytes(6) + b"\x01", b""]),
    words,
)
sent_messages = st.builds(
    SentMessage, destination=uint256, target=addresses, nonce=uint256, sender=addresses, message=st.binary(max_size=200)
)


@given(st.lists(accesses, max_size=8))
def test_access_lists_round_trip(declared: list[Access]) -> None:
    """Keys of any messages read back as those messages, and the extension is there only when it is needed."""
    keys = encode_accesses(declared)
    assert parse_accesses(keys) == declared
    assert len(keys) == sum(3 if access.chain_id >= 2**64 else 2 for access in declared)


@given(st.lists(accesses, min_size=1, max_size=6), st.data())
def test_lists_of_the_inbox_are_joined_in_order(declared: list[Access], data: st.DataObject) -> None:
    """Cut the keys anywhere, put other contracts' lists between: the inbox's keys still read as one sequence."""
    keys = encode_accesses(declared)
    cut = data.draw(st.integers(0, len(keys)))
    other = (b"\x01" * 20, [b"\xff" * 32])
    access_list = [other, (CROSS_L2_INBOX, keys[:cut]), other, (CROSS_L2_INBOX, keys[cut:]), (CROSS_L2_INBOX, [])]
    assert join_inbox_keys(access_list) == keys
    assert parse_access_list(access_list) == declared


@settings(max_examples=500)
@given(st.lists(st.one_of(near_keys, words, st.binary(max_size=40)), max_size=9))
def test_any_keys_are_read_or_refused_and_what_is_read_says_it_again(keys: list[bytes]) -> None:
    """The reader raises nothing but its refusal; what it accepts encodes to the same keys, but for zero extensions."""
    try:
        declared = parse_accesses(keys)
    except MessageRefused:
        return
    zero_extension = b"\x02" + bytes(31)
    assert encode_accesses(declared) == [key for key in keys if key != zero_extension]


@given(messages, st.data())
def test_every_field_is_committed_to(message: Message, data: st.DataObject) -> None:
    """Changing any one field, or exchanging log index and timestamp, changes the checksum."""
    at = message.identifier
    drawn = data.draw(messages)
    changes = {name: getattr(drawn.identifier, name) for name in Identifier.__struct_fields__}
    for name, value in changes.items():
        other = msgspec.structs.replace(message, identifier=msgspec.structs.replace(at, **{name: value}))
        assert (other.checksum() == message.checksum()) == (getattr(at, name) == value), name
    other = msgspec.structs.replace(message, payload_hash=drawn.payload_hash)
    assert (other.checksum() == message.checksum()) == (message.payload_hash == drawn.payload_hash)
    if at.timestamp < 2**32 and at.timestamp != at.log_index:
        swapped = msgspec.structs.replace(at, log_index=at.timestamp, timestamp=at.log_index)
        assert msgspec.structs.replace(message, identifier=swapped).checksum() != message.checksum()


@given(messages)
def test_executing_message_reads_what_abi_encoding_writes(message: Message) -> None:
    """The event's data is eth-abi's encoding of the struct, and reads back as the message."""
    at = message.identifier
    fields = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
    data = encode(["(address,uint256,uint256,uint256,uint256)"], [fields])
    assert encode_identifier(at) == data
    assert decode_executing_message([EXECUTING_MESSAGE_TOPIC, message.payload_hash], data) == message


@given(messages, st.integers(0, 159), st.integers(1, 255))
def test_a_changed_byte_is_another_message_or_refused(message: Message, position: int, change: int) -> None:
    """No two encodings mean the same message: padding is checked."""
    data = bytearray(encode_identifier(message.identifier))
    data[position] ^= change
    try:
        changed = decode_executing_message([EXECUTING_MESSAGE_TOPIC, message.payload_hash], bytes(data))
    except MessageRefused:
        return
    assert changed != message
    assert changed.checksum() != message.checksum()


near_topics = st.one_of(words, st.sampled_from([EXECUTING_MESSAGE_TOPIC, SENT_MESSAGE_TOPIC]), st.binary(max_size=33))
near_words = st.one_of(words, st.sampled_from([bytes(32), (64).to_bytes(32, "big")]))
near_data = st.one_of(st.binary(max_size=300), st.lists(near_words, max_size=8).map(b"".join))


@given(st.lists(near_topics, max_size=5), near_data)
def test_any_event_is_read_or_refused(topics: list[bytes], data: bytes) -> None:
    """Readers of events raise nothing but their refusal."""
    for read in (decode_executing_message, decode_sent_message):
        try:
            read(topics, data)
        except MessageRefused as refused:
            assert refused.code.startswith("event_")  # noqa: PT017


@given(sent_messages, identifiers)
def test_messenger_encodings_are_those_of_eth_abi(sent: SentMessage, at: Identifier) -> None:
    """SentMessage's data, the message hash and relay calldata agree with eth-abi, and the event reads back."""
    data = encode(["address", "bytes"], [sent.sender, sent.message])
    topics = [SENT_MESSAGE_TOPIC, *(encode(["uint256"], [v]) for v in (sent.destination, sent.nonce))]
    topics.insert(2, encode(["address"], [sent.target]))
    assert decode_sent_message(topics, data) == sent
    hashed = encode(
        ["uint256", "uint256", "uint256", "address", "address", "bytes"],
        [sent.destination, at.chain_id, sent.nonce, sent.sender, sent.target, sent.message],
    )
    assert message_hash_of(sent, at.chain_id) == keccak256(hashed)
    payload = b"".join(topics) + data
    identifier = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
    selector = keccak256(b"relayMessage((address,uint256,uint256,uint256,uint256),bytes)")[:4]
    expected = selector + encode(["(address,uint256,uint256,uint256,uint256)", "bytes"], [identifier, payload])
    assert relay_calldata(at, payload) == expected


@given(st.lists(st.tuples(st.one_of(addresses, st.just(CROSS_L2_INBOX)), st.lists(words, max_size=4)), max_size=5))
def test_access_list_of_a_signed_transaction(access_list: list[tuple[bytes, list[bytes]]]) -> None:
    """The list of a signed transaction is read from its raw bytes; a legacy transaction has none."""
    wallet = Wallet.of_index(1, "interop")
    raw = wallet.sign_1559(901, 0, to=bytes(20), access_list=access_list)
    assert access_list_of_transaction(raw) == access_list
    assert access_list_of_transaction(wallet.sign_legacy(901, 0, to=bytes(20))) == []
    fields = [901, 0, 1, 21_000, bytes(20), 0, b"", access_list, 0, 1, 1]
    assert access_list_of_transaction(b"\x01" + rlp.encode(fields)) == access_list


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_have_an_access_list_or_are_refused(raw: bytes) -> None:
    """Reading raw bytes raises nothing but the codec's error."""
    for prefix in (b"", b"\x01", b"\x02\xf8", b"\x04"):
        try:
            access_list_of_transaction(prefix + raw)
        except CodecError:
            continue


small = st.integers(0, 5)
executions = st.lists(
    st.builds(SameTimeExecution, chain_id=st.integers(1, 3), log_index=small, source_chain_id=st.integers(1, 3),
              source_log_index=small),
    unique_by=lambda node: (node.chain_id, node.log_index), max_size=9,
)  # fmt: skip


def reachable(nodes: list[SameTimeExecution]) -> set[tuple[int, int]]:
    """Pairs (from, to) of nodes where `from` depends on `to`, over any number of steps, by naive closure."""
    edges = set()
    for (i, node), (j, other) in itertools.product(enumerate(nodes), repeat=2):
        earlier = [n.log_index for n in nodes if n.chain_id == node.chain_id and n.log_index < node.log_index]
        if other.chain_id == node.chain_id and earlier and other.log_index == max(earlier):
            edges.add((i, j))
        before = [
            n.log_index for n in nodes if n.chain_id == node.source_chain_id and n.log_index <= node.source_log_index
        ]
        if other.chain_id == node.source_chain_id and before and other.log_index == max(before):
            edges.add((i, j))
    while True:
        longer = {(a, d) for a, b in edges for c, d in edges if b == c} - edges
        if not longer:
            return edges
        edges |= longer


@settings(max_examples=400)
@given(executions, st.randoms(use_true_random=False))
def test_cycles_are_those_that_a_naive_search_finds(nodes: list[SameTimeExecution], random: object) -> None:
    """A chain is at fault exactly when one of its messages depends on itself; the order of the input is no matter."""
    closure = reachable(nodes)
    expected = tuple(sorted({node.chain_id for i, node in enumerate(nodes) if (i, i) in closure}))
    shuffled = list(nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chains_in_cycles(nodes) == chains_in_cycles(shuffled) == expected
