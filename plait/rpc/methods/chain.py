"""What chain this is, where it stands and what gas costs: eth_chainId and its kin, net_, web3_, rpc_modules. Level
7."""

import platform
import sys
from typing import Any, Final

import msgspec

from plait.limits import RPC_FEE_HISTORY_BLOCKS_MAX
from plait.native import PENDING, keccak256
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.parameters import (
    BLOCK_NUMBER,
    COUNT,
    DATA,
    HASH_SCHEMA,
    OBJECT_SCHEMA,
    PERCENTILES,
    QUANTITY_SCHEMA,
    BlockRef,
)
from plait.rpc.table import METHODS, Param, method

PRIORITY_FEE_MIN_WEI: Final = 1_000_000
"""What op-geth suggests while blocks have room (0.001 gwei)."""
_FULL_PERCENT: Final = 90
"""A block this full makes the suggestion follow what its transactions paid."""


@method("eth_chainId", result=QUANTITY_SCHEMA, example=())
def chain_id(endpoint: Endpoint) -> str:
    """The rollup's chain id (EIP-695)."""
    return hex(endpoint.native.chain_id)


@method("eth_blockNumber", result=QUANTITY_SCHEMA, example=())
def block_number(endpoint: Endpoint) -> str:
    """Number of the last sealed block."""
    return hex(endpoint.head_number())


@method("eth_syncing", result={"const": False}, example=())
def syncing(endpoint: Endpoint) -> bool:
    """Always false: a node that is not up to date answers `/ready` with 503."""
    return False


@method("eth_accounts", result={"type": "array", "maxItems": 0}, example=())
def accounts(endpoint: Endpoint) -> list[str]:
    """Always empty: a node holds no keys."""
    return []


def _base_fee(endpoint: Endpoint) -> int:
    open_block = endpoint.native.open_block
    return endpoint.native.head.base_fee if open_block is None else open_block.base_fee


class _Rewards(msgspec.Struct):
    reward: list[list[str]] = []


def _priority_fee(endpoint: Endpoint) -> int:
    head = endpoint.native.head
    if head.gas_used * 100 < endpoint.rollup.parameters.gas_limit * _FULL_PERCENT:
        return PRIORITY_FEE_MIN_WEI
    history = msgspec.json.decode(endpoint.native.fee_history_json(1, head.number, [50.0]), type=_Rewards)
    median = int(history.reward[0][0], 16) if history.reward and history.reward[0] else 0
    return max(PRIORITY_FEE_MIN_WEI, median * 11 // 10)


@method("eth_gasPrice", result=QUANTITY_SCHEMA, example=())
def gas_price(endpoint: Endpoint) -> str:
    """A price per gas, in wei, that is likely to be included soon: open block's base fee plus the suggested priority
    fee."""
    return hex(_base_fee(endpoint) + _priority_fee(endpoint))


@method("eth_maxPriorityFeePerGas", result=QUANTITY_SCHEMA, example=())
def max_priority_fee_per_gas(endpoint: Endpoint) -> str:
    """A priority fee per gas, in wei: 0.001 gwei while blocks have room, else above the last block's median."""
    return hex(_priority_fee(endpoint))


@method("eth_blobBaseFee", result=QUANTITY_SCHEMA, example=())
def blob_base_fee(endpoint: Endpoint) -> str:
    """Always 1 wei: rollups have no blobs of their own."""
    return "0x1"


@method(
    "eth_feeHistory",
    Param("blockCount", COUNT),
    Param("newestBlock", BLOCK_NUMBER),
    Param("rewardPercentiles", PERCENTILES, optional=True, default=()),
    mode="thread",
    result=OBJECT_SCHEMA,
    example=("0x4", "latest", [25, 75]),
)
def fee_history(endpoint: Endpoint, count: int, newest: BlockRef, percentiles: list[float]) -> Any:
    """Base fees, fullness and paid priority fees of a range of blocks."""
    if count == 0:
        return {"oldestBlock": "0x0", "gasUsedRatio": None}
    at = endpoint.block(newest)
    if at is None:
        problem = f"request beyond head block: requested {newest.number}, head {endpoint.head_number()}"
        raise RpcError(SERVER_ERROR, problem, {"code": "block_beyond_head"})
    if at == PENDING:
        at = endpoint.head_number()
    count = min(count, RPC_FEE_HISTORY_BLOCKS_MAX, at + 1)
    endpoint.require_kept(at + 1 - count)
    return msgspec.Raw(endpoint.native.fee_history_json(count, at, list(percentiles)))


@method("net_version", result={"type": "string"}, example=())
def net_version(endpoint: Endpoint) -> str:
    """The chain id in decimal."""
    return str(endpoint.native.chain_id)


@method("net_listening", scope="both", result={"type": "boolean"}, example=())
def net_listening(endpoint: Endpoint) -> bool:
    """Always true."""
    return True


@method("net_peerCount", scope="both", result=QUANTITY_SCHEMA, example=())
def net_peer_count(endpoint: Endpoint) -> str:
    """Always 0: a node has no peers in the sense of Ethereum's protocol."""
    return "0x0"


@method("web3_clientVersion", scope="both", result={"type": "string"}, example=())
def client_version(endpoint: Endpoint) -> str:
    """Name, version, platform and language of this node."""
    machine = f"{sys.platform}-{platform.machine()}"
    return f"Plait/v{endpoint.backend.version}/{machine}/python{platform.python_version()}"


@method("web3_sha3", Param("data", DATA), scope="both", result=HASH_SCHEMA, example=("0x68656c6c6f",))
def sha3(endpoint: Endpoint, data: bytes) -> str:
    """Keccak-256 of data."""
    return hex_of(keccak256(data))


@method("rpc_modules", scope="both", result=OBJECT_SCHEMA, example=())
def modules(endpoint: Endpoint) -> dict[str, str]:
    """The namespaces that this endpoint answers."""
    names = {name.split("_", 1)[0] for name, item in METHODS.items() if item.scope != "rollup" or endpoint.is_rollup}
    return dict.fromkeys(sorted(names), "1.0")
