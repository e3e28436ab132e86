"""Blocks as the message checker wants them, read from raw bytes or from what eth_* methods answer.

Shares nothing with Plait: RLP by the `rlp` package, Keccak-256 by `eth_hash`. Reading raw blocks checks that the parts
belong together: the header's transactions and receipts roots are those of the body and of the receipts, and each block
names the one before it as its parent. So a checker that accepts speaks about the blocks with exactly these hashes.

Sources: Ethereum yellow paper, appendices B, C and D (RLP, hex prefix, tries); EIP-2718, EIP-2930, EIP-1559, EIP-7702;
OP Stack specs, protocol/deposits.md (type 0x7E).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import rlp
from eth_hash.auto import keccak

AccessList = tuple[tuple[bytes, tuple[bytes, ...]], ...]

HEADER_PARENT, HEADER_TRANSACTIONS, HEADER_RECEIPTS, HEADER_NUMBER, HEADER_TIMESTAMP = 0, 4, 5, 8, 11
ACCESS_LIST_FIELDS = {0x01: 7, 0x02: 8, 0x04: 8}
DEPOSIT = 0x7E


class ReadingError(Exception):
    """The bytes are not a block with its receipts."""


class Log(NamedTuple):
    """One log."""

    origin: bytes
    topics: tuple[bytes, ...]
    data: bytes


class Transaction(NamedTuple):
    """What matters of a transaction: the keys that it declares, and what it logged."""

    access_list: AccessList
    logs: tuple[Log, ...]


class Block(NamedTuple):
    """A block of one chain."""

    chain_id: int
    number: int
    timestamp: int
    transactions: tuple[Transaction, ...]

    @property
    def logs(self) -> list[Log]:
        """All logs, in order; the position in this list is the log index."""
        return [log for transaction in self.transactions for log in transaction.logs]


# ---------------------------------------------------------------- raw bytes
def read_chain(chain_id: int, blocks: Iterable[tuple[bytes, Sequence[bytes]]]) -> list[Block]:
    """Consecutive blocks of a chain.

    Args:
        chain_id: of all of them; it stands in no header.
        blocks: per block its RLP and its raw receipts (EIP-2718), ascending.

    Raises:
        ReadingError: something does not decode or does not belong together.
    """
    found: list[Block] = []
    parent: tuple[int, bytes] | None = None
    for raw, receipts in blocks:
        block, parent_hash, block_hash = _read_block(chain_id, raw, receipts)
        if parent is not None and parent != (block.number - 1, parent_hash):
            raise ReadingError(f"block {block.number} of chain {chain_id} does not follow the block before it")
        parent = (block.number, block_hash)
        found.append(block)
    return found


def _read_block(chain_id: int, raw: bytes, receipts: Sequence[bytes]) -> tuple[Block, bytes, bytes]:
    fields = _decode(raw)
    if not isinstance(fields, list) or len(fields) < 3:
        raise ReadingError("a block is a list of header, transactions and uncles")
    header, body = fields[0], fields[1]
    transactions = [rlp.encode(item) if isinstance(item, list) else bytes(item) for item in body]
    if len(receipts) != len(transactions):
        raise ReadingError(f"{len(transactions)} transactions have {len(receipts)} receipts")
    for place, items, what in (
        (HEADER_TRANSACTIONS, transactions, "transactions"),
        (HEADER_RECEIPTS, receipts, "receipts"),
    ):
        if header[place] != ordered_root(items):
            raise ReadingError(f"the {what} are not those that the header commits to")
    block = Block(
        chain_id,
        int.from_bytes(header[HEADER_NUMBER], "big"),
        int.from_bytes(header[HEADER_TIMESTAMP], "big"),
        tuple(
            Transaction(read_access_list(transaction), _read_logs(receipt))
            for transaction, receipt in zip(transactions, receipts, strict=True)
        ),
    )
    return block, header[HEADER_PARENT], keccak(rlp.encode(header))


def read_access_list(raw: bytes) -> AccessList:
    """The access list of a raw transaction; legacy transactions and deposits have none.

    Raises:
        ReadingError: it is no transaction of a type that an OP Stack block may hold.
    """
    kind = raw[0] if raw else 0
    if kind >= 0xC0 or kind == DEPOSIT:
        return ()
    if kind not in ACCESS_LIST_FIELDS:
        raise ReadingError(f"transaction of type 0x{kind:02x}")
    fields = _decode(raw[1:])
    entries = fields[ACCESS_LIST_FIELDS[kind]]
    access_list = tuple((bytes(address), tuple(bytes(key) for key in keys)) for address, keys in entries)
    if any(len(address) != 20 or any(len(key) != 32 for key in keys) for address, keys in access_list):
        raise ReadingError("an access list holds addresses of 20 bytes and keys of 32")
    return access_list


def _read_logs(raw: bytes) -> tuple[Log, ...]:
    fields = _decode(raw if raw[0] >= 0xC0 else raw[1:])
    return tuple(
        Log(bytes(origin), tuple(bytes(topic) for topic in topics), bytes(data)) for origin, topics, data in fields[3]
    )


def _decode(raw: bytes) -> Any:
    try:
        return rlp.decode(raw)
    except rlp.DecodingError as error:
        raise ReadingError(f"not RLP: {error}") from error


# ---------------------------------------------------------------- JSON
def read_json(chain_id: int, block: Mapping[str, Any], receipts: Sequence[Mapping[str, Any]]) -> Block:
    """A block from what eth_getBlockByNumber (with full transactions) and eth_getBlockReceipts answer.

    Raises:
        ReadingError: the receipts are not those of the transactions, or their logs are not numbered from 0 on.
    """
    transactions = block["transactions"]
    if [item["hash"] for item in transactions] != [item["transactionHash"] for item in receipts]:
        raise ReadingError("the receipts are not those of the block's transactions")
    read = []
    index = 0
    for transaction, receipt in zip(transactions, receipts, strict=True):
        access_list = tuple(
            (_bytes(entry["address"]), tuple(_bytes(key) for key in entry["storageKeys"]))
            for entry in transaction.get("accessList") or ()
        )
        logs = []
        for log in receipt["logs"]:
            if int(log["logIndex"], 16) != index:
                raise ReadingError(f"log {index} of the block says that it is log {int(log['logIndex'], 16)}")
            index += 1
            logs.append(Log(_bytes(log["address"]), tuple(map(_bytes, log["topics"])), _bytes(log["data"])))
        read.append(Transaction(access_list, tuple(logs)))
    return Block(chain_id, int(block["number"], 16), int(block["timestamp"], 16), tuple(read))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


# ---------------------------------------------------------------- tries
def ordered_root(items: Sequence[bytes]) -> bytes:
    """Root of the trie from RLP(index) to item, as headers hold it for transactions and receipts."""
    if not items:
        return keccak(rlp.encode(b""))
    leaves = sorted((_nibbles(rlp.encode(index)), item) for index, item in enumerate(items))
    node = _node(leaves, 0)
    return keccak(rlp.encode(node))


def _nibbles(data: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in data for nibble in (byte >> 4, byte & 15))


def _hex_prefix(path: Sequence[int], leaf: bool) -> bytes:
    flag = 2 * leaf
    padded = [flag + 1, *path] if len(path) % 2 else [flag, 0, *path]
    return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _node(leaves: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> Any:
    """Structure of the node that holds these leaves, all of the same first `depth` nibbles."""
    first, last = leaves[0][0], leaves[-1][0]
    if len(leaves) == 1:
        return [_hex_prefix(first[depth:], leaf=True), leaves[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_hex_prefix(first[depth:shared], leaf=False), _reference(_node(leaves, shared))]
    branch: list[Any] = [b""] * 17  # no key is the beginning of another, so the value stays empty
    for nibble in range(16):
        below = [leaf for leaf in leaves if leaf[0][depth] == nibble]
        if below:
            branch[nibble] = _reference(_node(below, depth + 1))
    return branch


def _reference(node: Any) -> Any:
    encoded = rlp.encode(node)
    return keccak(encoded) if len(encoded) >= 32 else node
