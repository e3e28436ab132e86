"""What it takes to deliver the messages that a transaction has just sent: calldata and access-list keys, per message.

Nothing but the position of the logs is needed, so a builder can relay from an open block whose hash nobody knows yet.
"""

from collections.abc import Iterable

import msgspec

from plait.interop.access_list import Access, access_of, encode_accesses
from plait.interop.identifiers import LogIndex, Message, MessageChainId, message_of_log, payload_of
from plait.interop.messages import (
    Log,
    SentMessage,
    decode_sent_message,
    desk_calldata,
    is_sent_message,
    message_hash_of,
    relay_calldata,
)
from plait.limits import TRANSACTION_BYTES_MAX
from plait.types import BlockNumber, Hash32, Seconds


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way: what was sent, where its log is, and the transaction that would deliver it."""

    sent: SentMessage
    message: Message
    message_hash: Hash32
    """Key of successfulMessages on the destination: delivered already or not."""
    access: Access
    keys: tuple[Hash32, ...]
    """Storage keys of CrossL2Inbox for the transaction's access list."""
    calldata: bytes
    """For the messenger on `sent.destination`; whoever sends it pays the gas."""
    desk_calldata: bytes
    """For RELAY_DESK there: the same delivery, with a log by which its relayer can claim a fee (relay_fees)."""


def relays_of(
    logs: Iterable[Log],
    *,
    first_log_index: LogIndex,
    block_number: BlockNumber,
    timestamp: Seconds,
    chain_id: MessageChainId,
) -> list[Relay]:
    """The relays of all messages that these logs say were sent, in their order, whatever the destination.

    A message that fits into no transaction is left out: nobody can deliver it.

    Args:
        logs: consecutive logs of one block.
        first_log_index: position of the first of them in the block.
        block_number, timestamp, chain_id: of the block that holds them, open or sealed.

    Raises:
        MessageRefused: an event of the messenger is malformed, or the position does not fit.
    """
    relays: list[Relay] = []
    for index, log in enumerate(logs, first_log_index):
        payload = payload_of(log.topics, log.data)
        if not is_sent_message(log) or len(payload) >= TRANSACTION_BYTES_MAX:
            continue
        sent = decode_sent_message(log.topics, log.data)
        message = message_of_log(
            log.address,
            log.topics,
            log.data,
            block_number=block_number,
            log_index=LogIndex(index),
            timestamp=timestamp,
            chain_id=chain_id,
        )
        access = access_of(message)
        relays.append(
            Relay(
                sent=sent,
                message=message,
                message_hash=message_hash_of(sent, chain_id),
                access=access,
                keys=tuple(encode_accesses([access])),
                calldata=relay_calldata(message.identifier, payload),
                desk_calldata=desk_calldata(message.identifier, payload),
            )
        )
    return relays
