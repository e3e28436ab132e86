"""Messages that wait are tried again with growing pauses, end with their delivery or after enough trials; bounds."""

from types import SimpleNamespace
from typing import Any, cast

from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import MESSENGER, SENT_MESSAGE_TOPIC, Log
from plait.interop.relays import Relay, relays_of
from plait.limits import RELAY_TRIALS_MAX, RELAYS_OFFERED_MAX
from plait.node.message_book import MessageBook
from plait.protocol.effects import SubBlockDecided
from plait.protocol.relaying import RelayRefused
from plait.types import BlockNumber, Hash32, Seconds, Slot


def _log(number: int) -> tuple[list[Hash32], bytes]:
    topics = [SENT_MESSAGE_TOPIC, *(Hash32(value.to_bytes(32, "big")) for value in (902, 0xAA, number))]
    return topics, b"".join(value.to_bytes(32, "big") for value in (0xBB, 64, 0))


def message(number: int) -> Relay:
    """A message from 901 to 902 with this nonce."""
    (relay,) = relays_of(
        [Log(MESSENGER, *_log(number))],
        first_log_index=LogIndex(number),
        block_number=BlockNumber(1),
        timestamp=Seconds(1_790_000_000),
        chain_id=MessageChainId(901),
    )
    return relay


def effect(slot: int, *sent: Relay, delivered: frozenset[Hash32] = frozenset()) -> SubBlockDecided:
    found: Any = SimpleNamespace(height=slot * 4, slot=Slot(slot), sent=sent, delivered=delivered)
    return cast(SubBlockDecided, found)


def test_a_message_is_offered_after_1_2_4_slots_and_then_left() -> None:
    book = MessageBook()
    relay = message(0)
    book.on_decided(effect(10, relay))
    offered = [slot for slot in range(10, 2_200) if book.offer(Slot(slot))]
    assert offered == [11 + 2 * (2**trial - 1) for trial in range(RELAY_TRIALS_MAX)]
    status = book.status(relay.message_hash)
    assert status is not None
    assert status.status == "left"
    assert len(book) == 0


def test_a_delivery_ends_it_and_is_remembered() -> None:
    book = MessageBook()
    relay = message(1)
    book.on_decided(effect(1, relay), [RelayRefused(relay, "relay_failed", "execution reverted")])
    status = book.status(relay.message_hash)
    assert status is not None
    assert (status.status, status.trials, status.code) == ("waiting", 1, "relay_failed")
    book.on_decided(effect(3, delivered=frozenset({relay.message_hash})))
    status = book.status(relay.message_hash)
    assert status is not None
    assert (status.status, status.sent_height, status.delivered_height) == ("delivered", 4, 12)
    assert book.offer(Slot(9)) == []
    book.on_decided(effect(4, relay))  # sent again, delivered already
    assert len(book) == 0


def test_a_message_that_is_sent_again_is_tried_again_at_its_newest_log() -> None:
    book = MessageBook(messages_max=1)
    first, second = message(5), message(6)
    book.on_decided(effect(1, first))
    book.on_decided(effect(2, second))  # no room for the first any more
    left = book.status(first.message_hash)
    assert left is not None
    assert left.status == "left"
    again = relays_of(
        [Log(MESSENGER, *_log(5))],
        first_log_index=LogIndex(0),
        block_number=BlockNumber(9),
        timestamp=Seconds(1_790_000_008),
        chain_id=MessageChainId(901),
    )[0]
    assert again.message_hash == first.message_hash
    book.on_decided(effect(9, again, delivered=frozenset({second.message_hash})))
    assert [one.message.identifier.block_number for one in book.offer(Slot(20))] == [9]


def test_what_is_delivered_where_it_is_sent_never_waits() -> None:
    book = MessageBook()
    relay = message(2)
    book.on_decided(effect(1, relay, delivered=frozenset({relay.message_hash})))
    assert len(book) == 0
    status = book.status(relay.message_hash)
    assert status is not None
    assert status.status == "delivered"


def test_the_book_and_its_offers_are_bounded() -> None:
    book = MessageBook(messages_max=300, history_max=2)
    sent = [message(number) for number in range(310)]
    book.on_decided(effect(1, *sent))
    assert len(book) == 300
    assert [one.message_hash for one in book.offer(Slot(2))] == [
        one.message_hash for one in sent[10 : 10 + RELAYS_OFFERED_MAX]
    ]
    assert book.status(sent[0].message_hash) is None, "only the last two ends are remembered"
    assert book.status(sent[9].message_hash) is not None
    assert book.statistics() == {"waiting": 300, "waiting_max": 300, "delivered": 0, "left": 10}
