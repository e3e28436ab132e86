"""Transactions: sending, waiting, looking up. Sending answers as soon as the pool has admitted; the receipt appears
when the block is sealed.

Level 7.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.errors import TransactionRefused
from plait.interop.messages import CROSS_L2_INBOX
from plait.limits import RPC_TRANSACTION_WAIT_MS, RPC_TRANSACTION_WAIT_MS_MAX
from plait.mempool import Admitted, DroppedEnd
from plait.mempool.refusals import refusal
from plait.native import Transaction, declaring
from plait.rpc.encoding import hex_of, pooled_transaction
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, WAIT_DROPPED, WAIT_TIMEOUT, RpcError, data_of
from plait.rpc.interop import refuse_never_valid
from plait.rpc.methods.blocks import nullable, raw_or_null
from plait.rpc.parameters import (
    BLOCK_NUMBER,
    DATA,
    DATA_SCHEMA,
    HASH,
    HASH_SCHEMA,
    OBJECT_SCHEMA,
    QUANTITY,
    WAIT_MS,
    BlockRef,
)
from plait.rpc.pending_receipts import pending_receipt
from plait.rpc.remote import read_senders
from plait.rpc.table import Param, method

_DECODE_INLINE_MAX: Final = 2
"""Recovering a sender takes 40 microseconds: one or two do not pay the way to another thread."""
_HASH_EXAMPLE: Final = "0x" + "11" * 32
_TRANSACTION: Final = Param("transaction", DATA)


def is_too_short(raw: bytes) -> bool:
    """Whether there is nothing behind a transaction's type."""
    return len(raw) < 2 and raw < b"\x80"


async def submit(endpoint: Endpoint, raws: Sequence[bytes]) -> list[bytes | RpcError]:
    """Admits a batch of signed transactions: per transaction its hash or why it was refused."""
    if not raws:
        return []
    pool, rollup_id = endpoint.backend.pool, endpoint.rollup_id
    if len(raws) <= _DECODE_INLINE_MAX:
        decoded = pool.decode(rollup_id, raws)
    else:
        decoded = await endpoint.readers.run(pool.decode, rollup_id, raws)
    invalid: dict[int, RpcError] = {}
    if declaring([item for item in decoded if type(item) is Transaction], CROSS_L2_INBOX):
        invalid = await endpoint.readers.run(refuse_never_valid, endpoint.backend, rollup_id, decoded)
        decoded = [item for place, item in enumerate(decoded) if place not in invalid]
    missing = (
        await endpoint.readers.admission.run(read_senders, endpoint.native, decoded) if endpoint.is_remote else None
    )
    if missing is not None:
        return [_refusal(refusal("remote_unavailable", str(missing).rstrip("."), reason=missing.code)) for _ in raws]
    results = pool.admit(rollup_id, decoded, endpoint.backend.clock.now_ms())
    answers: list[bytes | RpcError] = [item.hash if type(item) is Admitted else _refusal(item) for item in results]
    for place in sorted(invalid):
        answers.insert(place, invalid[place])
    return answers


def _refusal(refused: Admitted | TransactionRefused) -> RpcError:
    assert isinstance(refused, TransactionRefused)
    return RpcError(SERVER_ERROR, refused.message, data_of(refused))


TOO_SHORT: Final = RpcError(
    SERVER_ERROR, "typed transaction too short. Send the whole transaction.", {"code": "rlp_malformed"}
)
"""What go-ethereum says of nothing and of a type without a body."""


async def _submit_one(endpoint: Endpoint, raw: bytes) -> bytes:
    if is_too_short(raw):
        raise TOO_SHORT
    (result,) = await submit(endpoint, [raw])
    if isinstance(result, RpcError):
        raise result
    return result


@method("eth_sendRawTransaction", _TRANSACTION, mode="coroutine", result=HASH_SCHEMA)
async def send_raw_transaction(endpoint: Endpoint, raw: bytes) -> str:
    """Puts a signed transaction into the pool and returns its hash."""
    return hex_of(await _submit_one(endpoint, raw))


@method(
    "eth_sendRawTransactionSync",
    _TRANSACTION,
    Param("timeoutMs", WAIT_MS, optional=True, default=0),
    mode="coroutine",
    result=OBJECT_SCHEMA,
)
async def send_raw_transaction_sync(endpoint: Endpoint, raw: bytes, timeout_ms: int) -> Any:
    """Sends a transaction and answers with its receipt, as eth_getTransactionReceipt does (EIP-7966)."""
    hash_ = await _submit_one(endpoint, raw)
    early = _shows_pending(endpoint)
    wait_ms = min(timeout_ms or RPC_TRANSACTION_WAIT_MS, RPC_TRANSACTION_WAIT_MS_MAX)
    try:
        async with asyncio.timeout(wait_ms / 1_000):
            status = await endpoint.backend.pool.wait(endpoint.rollup_id, hash_, "decided" if early else "sealed")
    except TimeoutError:
        problem = f"The transaction was added to the transaction pool but wasn't processed in {wait_ms} ms"
        raise RpcError(WAIT_TIMEOUT, problem, hex_of(hash_)) from None
    if isinstance(status, DroppedEnd):
        raise RpcError(WAIT_DROPPED, status.sentence, {"code": status.code, "hash": hex_of(hash_)})
    return await endpoint.readers.run(_receipt, endpoint, hash_)


@method("eth_getTransactionByHash", Param("hash", HASH), result=nullable(OBJECT_SCHEMA), example=(_HASH_EXAMPLE,))
def transaction_by_hash(endpoint: Endpoint, hash_: bytes) -> Any:
    """A transaction in a block, in the open block, or in the pool (block fields null)."""
    json = endpoint.native.transaction_json(hash_)
    if json is not None:
        return msgspec.Raw(json)
    entry = endpoint.backend.pool.get(endpoint.rollup_id, hash_)
    return None if entry is None else pooled_transaction(entry.transaction)


@method("eth_getTransactionReceipt", Param("hash", HASH), result=nullable(OBJECT_SCHEMA), example=(_HASH_EXAMPLE,))
def transaction_receipt(endpoint: Endpoint, hash_: bytes) -> Any:
    """A transaction's receipt once its block is sealed; with flashblocks once it is in the open block.

    Until the block is sealed the receipt has a block hash of zeros.
    """
    return _receipt(endpoint, hash_)


def _shows_pending(endpoint: Endpoint) -> bool:
    return endpoint.backend.config.faces.flashblocks is not None


def _receipt(endpoint: Endpoint, hash_: bytes) -> Any:
    sealed = endpoint.native.receipt_json(hash_)
    if sealed is not None or not _shows_pending(endpoint):
        return raw_or_null(sealed)
    pending = pending_receipt(endpoint.native, hash_)
    # Between the two looks the block may have been sealed.
    return raw_or_null(endpoint.native.receipt_json(hash_)) if pending is None else pending


@method("eth_getRawTransactionByHash", Param("hash", HASH), result=DATA_SCHEMA, example=(_HASH_EXAMPLE,))
def raw_transaction_by_hash(endpoint: Endpoint, hash_: bytes) -> str:
    """A transaction's signed bytes, from a block or the pool; `0x` when it is not known."""
    raw = endpoint.native.raw_transaction(hash_)
    if raw is None:
        entry = endpoint.backend.pool.get(endpoint.rollup_id, hash_)
        raw = None if entry is None else entry.transaction.raw
    return "0x" if raw is None else hex_of(raw)


class _Hash(msgspec.Struct):
    hash: str


def _raw_by_index(endpoint: Endpoint, block: BlockRef, index: int) -> str:
    at = endpoint.block(block)
    json = None if at is None else endpoint.native.transaction_by_index_json(at, index)
    if json is None:
        return "0x"
    return raw_transaction_by_hash(endpoint, bytes.fromhex(msgspec.json.decode(json, type=_Hash).hash[2:]))


@method(
    "eth_getRawTransactionByBlockNumberAndIndex",
    Param("block", BLOCK_NUMBER),
    Param("index", QUANTITY),
    result=DATA_SCHEMA,
    example=("latest", "0x0"),
)
def raw_transaction_by_number_and_index(endpoint: Endpoint, block: BlockRef, index: int) -> str:
    """A transaction's bytes by its block's number and its position; `0x` when there is none."""
    return _raw_by_index(endpoint, block, index)


@method(
    "eth_getRawTransactionByBlockHashAndIndex",
    Param("hash", HASH),
    Param("index", QUANTITY),
    result=DATA_SCHEMA,
    example=(_HASH_EXAMPLE, "0x0"),
)
def raw_transaction_by_block_hash_and_index(endpoint: Endpoint, hash_: bytes, index: int) -> str:
    """A transaction's bytes by its block's hash and its position; `0x` when there is none."""
    return _raw_by_index(endpoint, BlockRef(hash=hash_), index)
