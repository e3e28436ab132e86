"""Receipts of transactions in the open block, for nodes that publish flashblocks.

A transaction of the open block is decided: its order and its result are final, only its block has no hash yet. As the
flashblocks specification has it, its receipt then has a placeholder (32 zero bytes) where the block's hash will be; in
every other field it is the receipt that the sealed block will have, but for the fields that op-geth computes from the
sealed block's L1 data (`l1Fee`, `l1GasUsed` and their kin), which are left out until then.

Level 7.
"""

from typing import Any, Final

import msgspec
from rlp import encode as rlp_encode  # type: ignore[import-untyped]  # the package has no types

from plait.native import PENDING, Rollup, keccak256
from plait.rpc.encoding import hex_of

_ZERO_HASH: Final = "0x" + "00" * 32
_BLOOM_BITS: Final = 2_048


class _Block(msgspec.Struct, rename="camel"):
    """Fields of the open block's JSON."""

    number: str
    timestamp: str
    base_fee_per_gas: str
    transactions: list[str]


class _Shown(msgspec.Struct, rename="camel"):
    """Fields of a transaction's JSON."""

    from_: str = msgspec.field(name="from")
    type: str
    nonce: str
    to: str | None = None
    gas_price: str = "0x0"
    max_fee_per_gas: str | None = None
    max_priority_fee_per_gas: str | None = None


def pending_receipt(native: Rollup, hash_: bytes) -> dict[str, Any] | None:
    """The receipt of a transaction in the open block; None when it is not there."""
    found, shown = native.block_json(PENDING, False), native.transaction_json(hash_)
    if found is None or shown is None:
        return None
    block = msgspec.json.decode(found, type=_Block)
    text = hex_of(hash_)
    if text not in block.transactions:
        return None
    position = block.transactions.index(text)
    outcomes = [native.pending_outcome(bytes.fromhex(other[2:])) for other in block.transactions[: position + 1]]
    if None in outcomes:  # sealed while we looked
        return None
    held = [outcome for outcome in outcomes if outcome is not None]
    status, gas_used, logs = held[-1]
    transaction = msgspec.json.decode(shown, type=_Shown)
    first_log = sum(len(outcome[2]) for outcome in held[:-1])
    place = {
        "blockHash": _ZERO_HASH,
        "blockNumber": block.number,
        "transactionHash": text,
        "transactionIndex": hex(position),
    }
    return place | {
        "from": transaction.from_,
        "to": transaction.to,
        "type": transaction.type,
        "status": hex(status),
        "gasUsed": hex(gas_used),
        "cumulativeGasUsed": hex(sum(outcome[1] for outcome in held)),
        "effectiveGasPrice": _price(transaction, int(block.base_fee_per_gas, 16)),
        "contractAddress": None if transaction.to is not None else _created(transaction),
        "logs": [
            place
            | {
                "address": hex_of(address),
                "topics": [hex_of(topic) for topic in topics],
                "data": hex_of(data),
                "blockTimestamp": block.timestamp,
                "logIndex": hex(first_log + index),
                "removed": False,
            }
            for index, (address, topics, data) in enumerate(logs)
        ],
        "logsBloom": hex_of(_bloom(logs)),
    }


def _price(transaction: _Shown, base_fee: int) -> str:
    if transaction.max_fee_per_gas is None or transaction.max_priority_fee_per_gas is None:
        return transaction.gas_price
    tip = int(transaction.max_priority_fee_per_gas, 16)
    return hex(min(int(transaction.max_fee_per_gas, 16), base_fee + tip))


def _created(transaction: _Shown) -> str:
    """Address of the contract that a transaction creates."""
    sender = bytes.fromhex(transaction.from_[2:])
    return hex_of(keccak256(rlp_encode([sender, int(transaction.nonce, 16)]))[12:])


def _bloom(logs: list[tuple[bytes, list[bytes], bytes]]) -> bytes:
    """The 256-byte bloom filter over addresses and topics (Yellow Paper, 4.3.1)."""
    bits = 0
    for address, topics, _data in logs:
        for item in (address, *topics):
            digest = keccak256(item)
            for at in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") % _BLOOM_BITS)
    return bits.to_bytes(_BLOOM_BITS // 8, "big")
