"""What tools of the OP Stack ask an op-node or an op-supernode, and whether the open block is followed. Level 7."""

from typing import Any, Final

from plait.derivation.rollup_config import rollup_json_of
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.op_node import NOT_FOUND, output_at, output_of, super_root_at, sync_status
from plait.rpc.parameters import BLOCK_NUMBER, LATEST, OBJECT_SCHEMA, QUANTITY, BlockRef
from plait.rpc.table import Param, method

_FLASHBLOCKS: Final = "flashblocksv1"


@method("op_supportedCapabilities", scope="both", result={"type": "array", "items": {"type": "string"}}, example=())
def supported_capabilities(endpoint: Endpoint) -> list[str]:
    """`flashblocksv1` where this node publishes flashblocks; receipts then appear with the open block."""
    return [_FLASHBLOCKS] if endpoint.backend.config.faces.flashblocks is not None else []


@method("optimism_version", result={"type": "string"}, example=())
def version(endpoint: Endpoint) -> str:
    """Version of Plait, where tools expect op-node's."""
    return f"v{endpoint.backend.version}-plait"


@method("optimism_syncStatus", mode="thread", result=OBJECT_SCHEMA, example=())
def get_sync_status(endpoint: Endpoint) -> dict[str, Any]:
    """How far the rollup is, as op-node says it: unsafe (sealed), safe (derived from L1) and finalized blocks."""
    return sync_status(endpoint)


@method("optimism_rollupConfig", result=OBJECT_SCHEMA)
def get_rollup_config(endpoint: Endpoint) -> dict[str, Any]:
    """rollup.json of a rollup that derives from an L1."""
    l1 = endpoint.backend.l1
    config = None if l1 is None else l1.binding(endpoint.rollup_id)
    if config is None:
        problem = f"rollup {endpoint.rollup_id} has no rollup.json: it derives from no L1"
        raise RpcError(SERVER_ERROR, problem, {"code": "rollup_config_missing"})
    # op-node always writes this one, zero where the chain has none.
    return rollup_json_of(config) | {"protocol_versions_address": "0x" + "00" * 20}


@method("optimism_outputAtBlock", Param("number", QUANTITY), mode="thread", result=OBJECT_SCHEMA, example=("0x0",))
def get_output_at_block(endpoint: Endpoint, number: int) -> dict[str, Any]:
    """The output root of a sealed block and what it is made of, as op-node answers it."""
    return output_at(endpoint, number)


@method(
    "plait_getOutputRoot",
    Param("block", BLOCK_NUMBER, optional=True, default=LATEST),
    mode="thread",
    result=OBJECT_SCHEMA,
    example=("latest",),
)
def get_output_root(endpoint: Endpoint, block: BlockRef) -> dict[str, Any]:
    """The output root of a sealed block: what withdrawals and fault proofs commit to."""
    at = endpoint.block(block)
    if at is None:
        raise NOT_FOUND
    number = endpoint.head_number() if at < 0 else at
    root, state, withdrawals, hash_ = output_of(endpoint.native, number)
    return {
        "blockNumber": hex(number),
        "blockHash": hex_of(hash_),
        "stateRoot": hex_of(state),
        "withdrawalStorageRoot": hex_of(withdrawals),
        "outputRoot": hex_of(root),
    }


@method("superroot_atTimestamp", Param("timestamp", QUANTITY), mode="thread", scope="both", result=OBJECT_SCHEMA)
def get_super_root(endpoint: Endpoint, timestamp: int) -> dict[str, Any]:
    """The super root of all rollups at a timestamp (Unix seconds), as op-supernode answers it.

    `data` is null while a rollup has no safe block for the timestamp.
    """
    if timestamp >= 2**63:
        raise NOT_FOUND
    return super_root_at(endpoint.siblings(), timestamp)
