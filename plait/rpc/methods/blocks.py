"""Blocks and their parts. `pending` is the open block as decided so far. What is not there is `null`, as everywhere.
Level 7."""

from typing import Final

import msgspec

from plait.rpc.endpoint import Endpoint
from plait.rpc.parameters import (
    BLOCK,
    BLOCK_NUMBER,
    BOOLEAN,
    HASH,
    NULL,
    OBJECT_SCHEMA,
    QUANTITY,
    QUANTITY_SCHEMA,
    BlockRef,
    Schema,
)
from plait.rpc.table import Param, method

_FULL: Final = Param("fullTransactions", BOOLEAN, optional=True, default=False)
_HASH_EXAMPLE: Final = "0x" + "11" * 32


def nullable(schema: Schema) -> Schema:
    """A result that is null when there is no such thing."""
    return {"anyOf": [{"type": "null"}, schema]}


def raw_or_null(json: bytes | None) -> msgspec.Raw:
    """JSON of the native core, or null."""
    return NULL if json is None else msgspec.Raw(json)


def _block(endpoint: Endpoint, block: BlockRef, full: bool) -> msgspec.Raw:
    at = endpoint.block(block)
    return NULL if at is None else raw_or_null(endpoint.native.block_json(at, full))


@method(
    "eth_getBlockByNumber",
    Param("block", BLOCK_NUMBER),
    _FULL,
    mode="thread",
    result=nullable(OBJECT_SCHEMA),
    example=("latest", False),
)
def block_by_number(endpoint: Endpoint, block: BlockRef, full: bool) -> msgspec.Raw:
    """A block by number or tag, with transaction hashes or whole transactions."""
    return _block(endpoint, block, full)


@method(
    "eth_getBlockByHash",
    Param("hash", HASH),
    _FULL,
    mode="thread",
    result=nullable(OBJECT_SCHEMA),
    example=(_HASH_EXAMPLE, False),
)
def block_by_hash(endpoint: Endpoint, hash_: bytes, full: bool) -> msgspec.Raw:
    """A sealed block by hash, with transaction hashes or whole transactions."""
    return _block(endpoint, BlockRef(hash=hash_), full)


def _count(endpoint: Endpoint, block: BlockRef) -> str | None:
    at = endpoint.block(block)
    count = None if at is None else endpoint.native.block_transaction_count(at)
    return None if count is None else hex(count)


@method(
    "eth_getBlockTransactionCountByNumber",
    Param("block", BLOCK_NUMBER),
    result=nullable(QUANTITY_SCHEMA),
    example=("latest",),
)
def count_by_number(endpoint: Endpoint, block: BlockRef) -> str | None:
    """Number of transactions of a block, deposits included."""
    return _count(endpoint, block)


@method(
    "eth_getBlockTransactionCountByHash",
    Param("hash", HASH),
    result=nullable(QUANTITY_SCHEMA),
    example=(_HASH_EXAMPLE,),
)
def count_by_hash(endpoint: Endpoint, hash_: bytes) -> str | None:
    """Number of transactions of a sealed block, deposits included."""
    return _count(endpoint, BlockRef(hash=hash_))


@method(
    "eth_getUncleCountByBlockNumber",
    Param("block", BLOCK_NUMBER),
    result=nullable(QUANTITY_SCHEMA),
    example=("latest",),
)
def uncles_by_number(endpoint: Endpoint, block: BlockRef) -> str | None:
    """Always 0 for a block that exists."""
    return None if endpoint.block(block) is None else "0x0"


@method("eth_getUncleCountByBlockHash", Param("hash", HASH), result=nullable(QUANTITY_SCHEMA), example=(_HASH_EXAMPLE,))
def uncles_by_hash(endpoint: Endpoint, hash_: bytes) -> str | None:
    """Always 0 for a block that exists."""
    return None if endpoint.block(BlockRef(hash=hash_)) is None else "0x0"


@method("eth_getHeaderByNumber", Param("block", BLOCK_NUMBER), result=nullable(OBJECT_SCHEMA), example=("latest",))
def header_by_number(endpoint: Endpoint, block: BlockRef) -> msgspec.Raw:
    """A block's header by number or tag."""
    at = endpoint.block(block)
    return NULL if at is None else raw_or_null(endpoint.native.header_json(at))


@method("eth_getHeaderByHash", Param("hash", HASH), result=nullable(OBJECT_SCHEMA), example=(_HASH_EXAMPLE,))
def header_by_hash(endpoint: Endpoint, hash_: bytes) -> msgspec.Raw:
    """A sealed block's header by hash."""
    return header_by_number(endpoint, BlockRef(hash=hash_))


_INDEX: Final = Param("index", QUANTITY)
_NO_UNCLE: Final[Schema] = {"type": "null"}


@method(
    "eth_getUncleByBlockNumberAndIndex",
    Param("block", BLOCK_NUMBER),
    _INDEX,
    result=_NO_UNCLE,
    example=("latest", "0x0"),
)
def uncle_by_number(endpoint: Endpoint, block: BlockRef, index: int) -> None:
    """Always null: rollups have no uncles."""


@method(
    "eth_getUncleByBlockHashAndIndex", Param("hash", HASH), _INDEX, result=_NO_UNCLE, example=(_HASH_EXAMPLE, "0x0")
)
def uncle_by_hash(endpoint: Endpoint, hash_: bytes, index: int) -> None:
    """Always null: rollups have no uncles."""


@method(
    "eth_getBlockReceipts",
    Param("block", BLOCK),
    mode="thread",
    result=nullable({"type": "array", "items": OBJECT_SCHEMA}),
    example=("latest",),
)
def block_receipts(endpoint: Endpoint, block: BlockRef) -> msgspec.Raw:
    """All receipts of a block."""
    at = endpoint.block(block)
    return NULL if at is None else raw_or_null(endpoint.native.block_receipts_json(at))


def _by_index(endpoint: Endpoint, block: BlockRef, index: int) -> msgspec.Raw:
    at = endpoint.block(block)
    return NULL if at is None else raw_or_null(endpoint.native.transaction_by_index_json(at, index))


@method(
    "eth_getTransactionByBlockNumberAndIndex",
    Param("block", BLOCK_NUMBER),
    Param("index", QUANTITY),
    result=nullable(OBJECT_SCHEMA),
    example=("latest", "0x0"),
)
def transaction_by_number_and_index(endpoint: Endpoint, block: BlockRef, index: int) -> msgspec.Raw:
    """A transaction by its block's number and its position."""
    return _by_index(endpoint, block, index)


@method(
    "eth_getTransactionByBlockHashAndIndex",
    Param("hash", HASH),
    Param("index", QUANTITY),
    result=nullable(OBJECT_SCHEMA),
    example=(_HASH_EXAMPLE, "0x0"),
)
def transaction_by_hash_and_index(endpoint: Endpoint, hash_: bytes, index: int) -> msgspec.Raw:
    """A transaction by its block's hash and its position."""
    return _by_index(endpoint, BlockRef(hash=hash_), index)
