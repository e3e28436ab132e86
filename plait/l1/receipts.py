"""Receipts of an L1 block, proven by the receipts root of its header, and the logs in them. Pure.

Specification
    A receipt is RLP [status, cumulative gas, bloom, [[address, topics, data], ...]] (since Byzantium), with the
    transaction's type before it unless it is 0. The root of the ordered trie over them is in the header. Logs
    are numbered over the block. Logs of a transaction that failed do not exist (its receipt has none).
Source: Yellow Paper 4.4.1, EIP-2718.
"""

from typing import Any

import msgspec

from plait.codec.rlp import encode_bytes, encode_bytes_list, encode_list, encode_uint
from plait.crypto.ordered_trie import ordered_root
from plait.derivation.deposits import L1Log
from plait.l1.fields import address_of, as_bytes, as_list, as_object, bytes_of, hash_of, malformed, quantity_of
from plait.l1.headers import L1Header
from plait.types import Gas, Hash32


class L1Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction's receipt; its logs have their place in the block."""

    transaction_hash: Hash32
    """As the node says: it is not part of what the root proves."""
    type: int
    succeeded: bool
    cumulative_gas: Gas
    logs_bloom: bytes
    logs: tuple[L1Log, ...]

    def encode(self) -> bytes:
        """What the receipts trie holds."""
        logs = (
            encode_list((encode_bytes(log.address), encode_bytes_list(log.topics), encode_bytes(log.data)))
            for log in self.logs
        )
        body = encode_list(
            (
                encode_uint(int(self.succeeded)),
                encode_uint(self.cumulative_gas),
                encode_bytes(self.logs_bloom),
                encode_list(logs),
            )
        )
        return body if self.type == 0 else bytes((self.type,)) + body


def receipts_of(header: L1Header, answer: Any) -> tuple[L1Receipt, ...]:
    """The receipts of a block as `eth_getBlockReceipts` gives them.

    Args:
        header: of that block.
        answer: array of receipts in the order of the transactions.

    Raises:
        L1Refused: `l1_block_malformed` when one is malformed or their root is not the header's.
    """
    receipts: list[L1Receipt] = []
    first_log = 0
    for found in as_list(answer, "the receipts of a block"):
        receipt = _receipt_of(found, first_log)
        first_log += len(receipt.logs)
        receipts.append(receipt)
    root = ordered_root([receipt.encode() for receipt in receipts])
    if root != header.receipts_root:
        raise malformed(
            f"the receipts of block {header.number} have the root 0x{root.hex()}, not 0x{header.receipts_root.hex()}",
            number=header.number,
        )
    return tuple(receipts)


def logs_of(receipts: tuple[L1Receipt, ...]) -> tuple[L1Log, ...]:
    """Logs of the transactions that succeeded, in their order."""
    return tuple(log for receipt in receipts if receipt.succeeded for log in receipt.logs)


def _receipt_of(answer: Any, first_log: int) -> L1Receipt:
    found = as_object(answer, "a receipt")
    logs = []
    for index, entry in enumerate(as_list(found.get("logs"), "the logs of a receipt")):
        log = as_object(entry, "a log")
        topics = tuple(as_bytes(topic, "a topic", 32) for topic in as_list(log.get("topics"), "topics"))
        # numbered by ourselves: a node's logIndex is not proven by anything, and source hashes are made of it
        logs.append(L1Log(address_of(log, "address"), topics, bytes_of(log, "data"), first_log + index))
    kind = 0 if found.get("type") is None else quantity_of(found, "type", 0x7F)
    return L1Receipt(
        transaction_hash=hash_of(found, "transactionHash"),
        type=kind,
        succeeded=quantity_of(found, "status", 1) == 1,
        cumulative_gas=Gas(quantity_of(found, "cumulativeGasUsed")),
        logs_bloom=bytes_of(found, "logsBloom", 256),
        logs=tuple(logs),
    )
