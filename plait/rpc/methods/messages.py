"""plait_: messages between rollups, followed by their hash. Level 7."""

from typing import Any, Final

from plait.node.message_book import MessageStatus
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import HASH, OBJECT_SCHEMA
from plait.rpc.table import Param, method
from plait.types import Hash32

_HASH_EXAMPLE: Final = "0x" + "11" * 32


@method(
    "plait_getMessage",
    Param("messageHash", HASH),
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(_HASH_EXAMPLE,),
)
def get_message(endpoint: Endpoint, message_hash: bytes) -> dict[str, Any] | None:
    """How far a message between rollups has come (`waiting`, `delivered`, `left`) and why; null when it is unknown."""
    status = endpoint.backend.messages.status(Hash32(message_hash))
    return None if status is None else _shown(status)


def _shown(status: MessageStatus) -> dict[str, Any]:
    relay = status.relay
    at, sent = relay.message.identifier, relay.sent
    return {
        "messageHash": hex_of(relay.message_hash),
        "status": status.status,
        "source": at.chain_id,
        "destination": sent.destination,
        "sender": hex_of(sent.sender),
        "target": hex_of(sent.target),
        "nonce": hex(sent.nonce),
        "blockNumber": at.block_number,
        "logIndex": at.log_index,
        "timestamp": at.timestamp,
        "sentHeight": status.sent_height,
        "deliveredHeight": status.delivered_height,
        "failedTrials": status.trials,
        "lastFailure": None if status.code is None else {"code": status.code, "sentence": status.sentence},
    }
