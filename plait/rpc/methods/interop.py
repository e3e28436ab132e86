"""interop_: this node as the interop filter of execution clients; `supervisor_` is the namespace's older name. Level 7.

A client's operator points it here: op-geth with `--rollup.interoprpc`, op-reth with `--rollup.interop-http`.
"""

from collections.abc import Sequence
from typing import Final

from plait.interop.identifiers import MessageChainId
from plait.native import keccak256
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import INVALID_PARAMS, SERVER_ERROR, RpcError
from plait.rpc.interop import (
    CHAIN_ID,
    DESCRIPTOR,
    INBOX_ENTRIES,
    SAFETY_LEVEL,
    Execution,
    check,
    set_of,
)
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import BLOCK_NUMBER, HASH_SCHEMA, OBJECT_SCHEMA, BlockRef
from plait.rpc.table import Param, method
from plait.types import Hash32, RollupId

_ENTRIES: Final = Param("inboxEntries", INBOX_ENTRIES)
_LEVEL: Final = Param("minSafety", SAFETY_LEVEL)
_EXECUTION: Final = Param("executingDescriptor", DESCRIPTOR)
_NOTHING: Final = nullable(OBJECT_SCHEMA)


@method("interop_checkAccessList", _ENTRIES, _LEVEL, _EXECUTION, mode="thread", scope="both", result=_NOTHING)
def check_access_list(endpoint: Endpoint, entries: Sequence[Hash32], open_blocks: bool, execution: Execution) -> None:
    """Whether a transaction with these keys of CrossL2Inbox may enter a pool: null, or an error with OP's number."""
    check(endpoint.backend, entries, execution, open_blocks=open_blocks)


@method("supervisor_checkAccessList", _ENTRIES, _LEVEL, _EXECUTION, mode="thread", scope="both", result=_NOTHING)
def supervisor_check_access_list(
    endpoint: Endpoint, entries: Sequence[Hash32], open_blocks: bool, execution: Execution
) -> None:
    """The same as interop_checkAccessList, by the name that older clients call."""
    check(endpoint.backend, entries, execution, open_blocks=open_blocks)


@method(
    "interop_getBlockHashByNumber",
    Param("chainID", CHAIN_ID),
    Param("blockNumber", BLOCK_NUMBER),
    scope="both",
    result=HASH_SCHEMA,
)
def get_block_hash_by_number(endpoint: Endpoint, chain_id: MessageChainId, block: BlockRef) -> str:
    """Hash of a sealed block of a chain of an interop set, by `latest` or number."""
    set_of(endpoint.backend, chain_id)
    native = endpoint.backend.rollups[RollupId(chain_id)].native
    if block.number is None and block.tag != "latest":
        raise RpcError(INVALID_PARAMS, f"unsupported block tag {block.tag!r}: only latest and numbers are")
    number = native.head.number if block.number is None else block.number
    header = native.raw_header(number)
    if header is None:
        raise RpcError(SERVER_ERROR, f"block {number} for chain {chain_id}: not found", {"code": "block_unknown"})
    return hex_of(keccak256(header))


@method("admin_getFailsafeEnabled", scope="both", result={"type": "boolean"}, example=())
def get_failsafe_enabled(endpoint: Endpoint) -> bool:
    """Whether no executing message is admitted: true while this node makes no progress."""
    return not endpoint.backend.health().ok
