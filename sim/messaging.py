"""What simulated users do with messages between rollups: they send some to each other, move ether over the bridge,
attach relay fees, demand deliveries, and execute messages that never were.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from plait.interop.access_list import Access, encode_accesses
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, ETH_BRIDGE, MESSENGER, RELAY_FEES
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, RollupId, Seconds


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def _word(value: int | bytes) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def _sent(destination: int, target: bytes, message: bytes) -> bytes:
    """Calldata of the messenger's sendMessage(uint256,address,bytes)."""
    padded = message + bytes(-len(message) % 32)
    head = _word(destination) + _word(target) + _word(96) + _word(len(message))
    return _selector("sendMessage(uint256,address,bytes)") + head + padded


def message_call(random: Random, rollup_ids: Sequence[RollupId], recipient: Address) -> dict[str, Any]:
    """Fields of a transaction that has to do with messages.

    Args:
        random: source of every choice.
        rollup_ids: of the network.
        recipient: of what is sent.
    """
    destination = random.choice([*rollup_ids, 77])  # may be the own chain, or none of the set: those revert or stay
    kind = random.randrange(10)
    if kind < 3:
        return {"to": MESSENGER, "data": _sent(destination, recipient, random.randbytes(random.choice((0, 4, 200))))}
    if kind == 3:  # its target reverts: it can never be delivered
        return {"to": MESSENGER, "data": _sent(destination, CROSS_L2_INBOX, b"\xff" * 4)}
    if kind < 7:
        data = _selector("sendETH(address,uint256)") + _word(recipient) + _word(destination)
        return {"to": ETH_BRIDGE, "data": data, "value": random.randrange(10**15)}
    if kind == 7:
        data = _selector("attach(bytes32,uint64)") + random.randbytes(32) + _word(200_000)
        return {"to": RELAY_FEES, "data": data, "value": 10**12}
    if kind == 8:  # only a bundle may, and no bundle sends that message
        return {"to": RELAY_FEES, "data": _selector("requireDelivery(bytes32)") + random.randbytes(32)}
    access = Access(
        block_number=BlockNumber(random.randrange(8)),
        timestamp=Seconds(1_790_000_000 + random.randrange(8)),
        log_index=LogIndex(random.randrange(3)),
        chain_id=MessageChainId(destination),
        checksum=Hash32(b"\x03" + random.randbytes(31)),
    )
    return {"to": recipient, "access_list": [(CROSS_L2_INBOX, encode_accesses([access]))]}
