"""State and calls: balances, nonces, code, storage, proofs, eth_call, estimates, access lists. Level 7."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.limits import RPC_GAS_CAP
from plait.native import PENDING
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError, reverted
from plait.rpc.parameters import (
    ADDRESS,
    BLOCK,
    CALL,
    DATA_SCHEMA,
    HASH_SCHEMA,
    LATEST,
    OBJECT,
    OBJECT_SCHEMA,
    PENDING_REF,
    QUANTITY_SCHEMA,
    SLOT,
    SLOTS,
    AskedSlot,
    BlockRef,
)
from plait.rpc.table import Param, method

_AT: Final = Param("block", BLOCK, optional=True, default=LATEST)
_ZERO: Final = "0x" + "00" * 20
_IDENTITY: Final = "0x" + "00" * 19 + "04"


@method(
    "eth_getBalance", Param("address", ADDRESS), _AT, mode="state", result=QUANTITY_SCHEMA, example=(_ZERO, "latest")
)
def get_balance(endpoint: Endpoint, address: bytes, block: BlockRef) -> str:
    """An account's balance in wei."""
    return hex(endpoint.native.accounts([address], endpoint.state(block))[0][1])


@method(
    "eth_getTransactionCount",
    Param("address", ADDRESS),
    _AT,
    mode="state",
    result=QUANTITY_SCHEMA,
    example=(_ZERO, "pending"),
)
def get_transaction_count(endpoint: Endpoint, address: bytes, block: BlockRef) -> str:
    """An account's nonce; with `pending` the one after its executable transactions in the pool."""
    nonce = endpoint.native.accounts([address], endpoint.state(block))[0][0]
    if block.tag == "pending":
        nonce = max(nonce, endpoint.backend.pool.next_nonce(endpoint.rollup_id, address) or 0)
    return hex(nonce)


@method("eth_getCode", Param("address", ADDRESS), _AT, mode="state", result=DATA_SCHEMA, example=(_ZERO, "latest"))
def get_code(endpoint: Endpoint, address: bytes, block: BlockRef) -> str:
    """An account's code."""
    return hex_of(endpoint.native.code(address, endpoint.state(block)))


@method(
    "eth_getStorageAt",
    Param("address", ADDRESS),
    Param("slot", SLOT),
    _AT,
    mode="state",
    result=HASH_SCHEMA,
    example=(_ZERO, "0x0", "latest"),
)
def get_storage_at(endpoint: Endpoint, address: bytes, slot: bytes, block: BlockRef) -> str:
    """32 bytes of an account's storage."""
    return hex_of(endpoint.native.storage(address, slot, endpoint.state(block)).rjust(32, b"\0"))


@method(
    "eth_getProof",
    Param("address", ADDRESS),
    Param("slots", SLOTS, optional=True, default=()),
    _AT,
    mode="thread",
    result=OBJECT_SCHEMA,
    example=(_ZERO, ["0x0"], "latest"),
)
def get_proof(endpoint: Endpoint, address: bytes, slots: Sequence[AskedSlot], block: BlockRef) -> Any:
    """Merkle proof of an account and some of its storage against a sealed block's state root (EIP-1186)."""
    at = endpoint.state(block)
    keys = [slot.key for slot in slots]
    proof = endpoint.native.proof_json(address, keys, endpoint.head_number() if at == PENDING else at)
    if all(len(slot.shown) == 66 for slot in slots):
        return msgspec.Raw(proof)
    shown = msgspec.json.decode(proof)
    for entry, slot in zip(shown["storageProof"], slots, strict=True):
        entry["key"] = slot.shown
    return shown


@method(
    "eth_call",
    Param("call", CALL),
    _AT,
    Param("stateOverrides", OBJECT, optional=True),
    Param("blockOverrides", OBJECT, optional=True),
    mode="thread",
    result=DATA_SCHEMA,
    example=({"to": _IDENTITY, "input": "0x1234"}, "latest"),
)
def call(
    endpoint: Endpoint, request: bytes, block: BlockRef, overrides: bytes | None, block_overrides: bytes | None
) -> str:
    """Executes a call without a transaction and returns its output. A revert is error 3 with the revert data."""
    result = endpoint.native.call(request, endpoint.state(block), overrides, block_overrides, RPC_GAS_CAP)
    if result.success:
        return hex_of(result.output)
    if result.error is not None and result.error.startswith("execution reverted"):
        raise reverted(result.output)
    raise RpcError(SERVER_ERROR, result.error or "execution failed", {"code": "execution_failed"})


@method(
    "eth_estimateGas",
    Param("call", CALL),
    Param("block", BLOCK, optional=True, default=PENDING_REF),
    Param("stateOverrides", OBJECT, optional=True),
    mode="thread",
    result=QUANTITY_SCHEMA,
    example=({"to": _ZERO},),
)
def estimate_gas(endpoint: Endpoint, request: bytes, block: BlockRef, overrides: bytes | None) -> str:
    """The least gas limit, within 1.5 %, with which a transaction succeeds. A revert is error 3 with the revert
    data."""
    return hex(endpoint.native.estimate_gas(request, endpoint.state(block), overrides, RPC_GAS_CAP))


@method(
    "eth_createAccessList",
    Param("call", CALL),
    Param("block", BLOCK, optional=True, default=PENDING_REF),
    mode="thread",
    result=OBJECT_SCHEMA,
    example=({"to": _ZERO},),
)
def create_access_list(endpoint: Endpoint, request: bytes, block: BlockRef) -> Any:
    """The access list of a transaction and the gas it uses with it (EIP-2930)."""
    return msgspec.Raw(endpoint.native.access_list_json(request, endpoint.state(block), RPC_GAS_CAP))
