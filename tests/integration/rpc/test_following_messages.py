"""Messages between rollups as a client sees them: sent by a call, delivered in the same slot, followed by hash."""

import time
from typing import Any

from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, Log
from plait.interop.relays import Relay, relays_of
from plait.types import Address, BlockNumber, Hash32, Seconds
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import ONE, OTHER, calldata, next_nonce, signed

USER = 7


def data_of(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def sent(node: Running, target: bytes, message: bytes) -> tuple[Relay, dict[str, Any]]:
    """Sends a message to the other rollup; what relays it, and the sender's receipt."""
    call = calldata("sendMessage(uint256,address,bytes)", OTHER, target, message)
    raw = signed(USER, ONE, next_nonce(node, USER, ONE), to=MESSENGER, value=0, data=call, gas_limit=300_000)
    hash_ = node.call("eth_sendRawTransaction", "0x" + raw.hex(), rollup=ONE)
    receipt = waited(lambda: node.call("eth_getTransactionReceipt", hash_, rollup=ONE))
    assert receipt["status"] == "0x1"
    (log,) = receipt["logs"]
    block = node.call("eth_getBlockByHash", receipt["blockHash"], False, rollup=ONE)
    topics = [Hash32(data_of(topic)) for topic in log["topics"]]
    (relay,) = relays_of(
        [Log(Address(data_of(log["address"])), topics, data_of(log["data"]))],
        first_log_index=LogIndex(int(log["logIndex"], 16)),
        block_number=BlockNumber(int(block["number"], 16)),
        timestamp=Seconds(int(block["timestamp"], 16)),
        chain_id=MessageChainId(ONE),
    )
    return relay, receipt


def waited(ask: Any, *, seconds: float = 20) -> Any:
    """The first answer that is something."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_message_of_an_ordinary_transaction_arrives_in_its_sub_block(node: Running) -> None:
    relay, receipt = sent(node, WALLETS[1].address, b"")
    status = node.call("plait_getMessage", "0x" + relay.message_hash.hex())
    assert status["status"] == "delivered"
    assert status["deliveredHeight"] == status["sentHeight"]
    assert (status["source"], status["destination"]) == (ONE, OTHER)
    assert status["sender"] == "0x" + WALLETS[USER].address.hex()
    flag = node.call(
        "eth_call",
        {
            "to": "0x" + MESSENGER.hex(),
            "data": "0x" + calldata("successfulMessages(bytes32)", relay.message_hash).hex(),
        },
        "latest",
        rollup=OTHER,
    )
    assert int(flag, 16) == 1
    logs = node.call(
        "eth_getLogs", {"fromBlock": "0x0", "topics": [None, None, None, "0x" + relay.message_hash.hex()]}, rollup=OTHER
    )
    (delivery,) = logs
    blocks = [
        node.call("eth_getBlockByNumber", number, False, rollup=rollup)
        for number, rollup in ((receipt["blockNumber"], ONE), (delivery["blockNumber"], OTHER))
    ]
    assert blocks[0]["timestamp"] == blocks[1]["timestamp"], "sent and delivered in one slot"


def test_a_message_whose_target_reverts_waits_and_says_why(node: Running) -> None:
    relay, _ = sent(node, CROSS_L2_INBOX, b"\xff" * 4)
    status = node.call("plait_getMessage", "0x" + relay.message_hash.hex())
    assert status["status"] == "waiting"
    assert status["failedTrials"] >= 1
    assert status["lastFailure"]["code"] == "relay_failed"
    assert status["deliveredHeight"] is None


def test_an_unknown_message(node: Running) -> None:
    assert node.call("plait_getMessage", "0x" + "42" * 32) is None
