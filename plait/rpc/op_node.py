"""What op-node and op-supernode would answer about a rollup, from what this node knows.

Shapes: op-node v1.16.11 op-service/eth/{id,sync_status,output,superroot_at_timestamp}.go; numbers of references are
JSON numbers, chain ids are decimal strings.

- `unsafe` is the last sealed block (it is decided, so no node will seal another one unless L1 itself changes), `safe`
  the last one that derivation of L1 reaches, `finalized` the last one that final L1 blocks hold. Messages between
  rollups are checked by every validator before a block is decided, so what is safe is cross-safe too.
- A rollup without an L1 has a synthetic one: there its last sealed block is safe and final.
- Which L1 block brought a block's batch is not kept per block: `required_l1` is the L1 block up to which derivation has
  read, with which everything here can be verified, not the least such block.
- What is not known is zero, as op-node has it before it is synced.

Level 7.
"""

from typing import Any, Final

import msgspec

from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.output_roots import output_root_v0, super_root_v1
from plait.errors import CodecError
from plait.native import Rollup
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.parameters import BlockRef
from plait.types import ChainId, Hash32, RollupId, Seconds

NOT_FOUND: Final = RpcError(SERVER_ERROR, "not found", {"code": "block_unknown"})
_MESSAGE_PASSER: Final = bytes.fromhex("42" + "00" * 18 + "16")
_ZERO_HASH: Final = "0x" + "00" * 32
_NO_BLOCK: Final = {"hash": _ZERO_HASH, "number": 0}
_NO_L1: Final = {"hash": _ZERO_HASH, "number": 0, "parentHash": _ZERO_HASH, "timestamp": 0}


class _Block(msgspec.Struct, rename="camel"):
    """Fields of a sealed block's JSON."""

    hash: str
    number: str
    parent_hash: str
    timestamp: str
    state_root: str
    transactions: list[str]
    withdrawals_root: str | None = None


class _Proof(msgspec.Struct, rename="camel"):
    storage_hash: str


_block: Final = msgspec.json.Decoder(_Block)


def _read(native: Rollup, number: int) -> _Block:
    found = native.block_json(number, False) if 0 <= number <= native.head.number else None
    if found is None:
        raise NOT_FOUND
    return _block.decode(found)


# ---------------------------------------------------------------- references
def block_reference(endpoint: Endpoint, number: int) -> dict[str, Any]:
    """An L2BlockRef. Raises RpcError `not found`."""
    block = _read(endpoint.native, number)
    origin, sequence = _origin(endpoint, block)
    return {
        "hash": block.hash,
        "number": number,
        "parentHash": block.parent_hash,
        "timestamp": int(block.timestamp, 16),
        "l1origin": origin,
        "sequenceNumber": sequence,
    }


def _origin(endpoint: Endpoint, block: _Block) -> tuple[dict[str, Any], int]:
    if not block.transactions:
        config = None if endpoint.backend.l1 is None else endpoint.backend.l1.binding(endpoint.rollup_id)
        if config is None:
            return _NO_BLOCK, 0
        return {"hash": hex_of(config.genesis_l1.hash), "number": config.genesis_l1.number}, 0
    raw = endpoint.native.raw_transaction(bytes.fromhex(block.transactions[0][2:]))
    try:
        info = decode_l1_attributes(raw or b"")
    except CodecError:
        return _NO_BLOCK, 0
    return {"hash": hex_of(info.hash), "number": info.number}, info.sequence_number


def _l1_reference(endpoint: Endpoint, number: int | None) -> dict[str, Any]:
    """An L1BlockRef; zero for a block that this network has not agreed on, or forgot."""
    facts = None if endpoint.backend.l1 is None or number is None else endpoint.backend.l1.block(number)
    if facts is None:
        return _NO_L1 if number is None else _NO_L1 | {"number": number}
    return {
        "hash": hex_of(facts.hash),
        "number": facts.number,
        "parentHash": hex_of(facts.parent_hash),
        "timestamp": facts.timestamp,
    }


def sync_status(endpoint: Endpoint) -> dict[str, Any]:
    """A SyncStatus."""
    head = endpoint.head_number()
    safe = block_reference(endpoint, endpoint.block(BlockRef(tag="safe")) or 0)
    unsafe = block_reference(endpoint, head)
    settlement = endpoint.backend.settlement
    if settlement is None:
        origin = unsafe["l1origin"]
        l1 = dict.fromkeys(("current", "latest", "safe", "finalized"), _NO_L1 | origin)
    else:
        shown = settlement.status(endpoint.rollup_id)
        read = next((rollup["l1Read"] for rollup in shown["rollups"]), None)
        l1 = {name: _l1_reference(endpoint, shown["l1"][name]) for name in ("latest", "safe", "finalized")}
        l1["current"] = _l1_reference(endpoint, read)
    return {
        "current_l1": l1["current"],
        "current_l1_finalized": l1["finalized"],
        "head_l1": l1["latest"],
        "safe_l1": l1["safe"],
        "finalized_l1": l1["finalized"],
        "unsafe_l2": unsafe,
        "safe_l2": safe,
        "finalized_l2": block_reference(endpoint, endpoint.block(BlockRef(tag="finalized")) or 0),
        "pending_safe_l2": safe,
        "cross_unsafe_l2": unsafe,
        "local_safe_l2": safe,
    }


# ---------------------------------------------------------------- roots
def output_of(native: Rollup, number: int) -> tuple[Hash32, Hash32, Hash32, Hash32]:
    """(output root, state root, root of the message passer's storage, block hash) of a sealed block.

    Raises:
        RpcError: `not found`; before Isthmus `state_unavailable` for a block whose state is not kept any more.
    """
    block = _read(native, number)
    # From Isthmus on the header's withdrawals root is the message passer's storage root; before, it is a constant.
    if block.withdrawals_root is None or block.withdrawals_root == _NO_WITHDRAWALS:
        proof = msgspec.json.decode(native.proof_json(_MESSAGE_PASSER, [], number), type=_Proof)
        withdrawals = _hash(proof.storage_hash)
    else:
        withdrawals = _hash(block.withdrawals_root)
    state, hash_ = _hash(block.state_root), _hash(block.hash)
    return output_root_v0(state, withdrawals, hash_), state, withdrawals, hash_


_NO_WITHDRAWALS: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""Root of an empty trie: an empty list of withdrawals before Isthmus, and an empty message passer after."""


def output_at(endpoint: Endpoint, number: int) -> dict[str, Any]:
    """An OutputResponse."""
    root, state, withdrawals, _ = output_of(endpoint.native, number)
    return {
        "version": _ZERO_HASH,
        "outputRoot": hex_of(root),
        "blockRef": block_reference(endpoint, number),
        "withdrawalStorageRoot": hex_of(withdrawals),
        "stateRoot": hex_of(state),
        "syncStatus": sync_status(endpoint),
    }


def super_root_at(endpoints: dict[RollupId, Endpoint], timestamp: int) -> dict[str, Any]:
    """A SuperRootAtTimestampResponse over rollups.

    Args:
        endpoints: of every rollup, by rising id.
        timestamp: Unix seconds.
    """
    statuses = {rollup_id: sync_status(endpoint) for rollup_id, endpoint in endpoints.items()}
    optimistic: dict[str, Any] = {}
    outputs: list[tuple[ChainId, Hash32]] = []
    for rollup_id, endpoint in endpoints.items():
        status = statuses[rollup_id]
        number = _last_before(endpoint.native, timestamp, status["safe_l2"]["number"])
        if number is None:
            continue
        output = output_at(endpoint, number)
        required = {name: status["current_l1"][name] for name in ("hash", "number")}
        optimistic[str(rollup_id)] = {"output": output, "output_root": output["outputRoot"], "required_l1": required}
        outputs.append((ChainId(rollup_id), _hash(output["outputRoot"])))
    current = min((status["current_l1"] for status in statuses.values()), key=lambda l1: l1["number"], default=_NO_L1)
    answer: dict[str, Any] = {
        "current_l1": {name: current[name] for name in ("hash", "number")},
        "safe_timestamp": _least(statuses, "safe_l2"),
        "local_safe_timestamp": _least(statuses, "local_safe_l2"),
        "finalized_timestamp": _least(statuses, "finalized_l2"),
        "chain_ids": [str(rollup_id) for rollup_id in endpoints],
        "optimistic_at_timestamp": optimistic,
        "data": None,
    }
    if outputs and len(outputs) == len(endpoints):
        answer["data"] = {
            "verified_required_l1": answer["current_l1"],
            "super": {
                "timestamp": hex(timestamp),
                "chains": [{"ChainID": str(chain_id), "Output": hex_of(root)} for chain_id, root in outputs],
            },
            "super_root": hex_of(super_root_v1(Seconds(timestamp), outputs)),
        }
    return answer


def _least(statuses: dict[RollupId, dict[str, Any]], name: str) -> int:
    return min((int(status[name]["timestamp"]) for status in statuses.values()), default=0)


def _last_before(native: Rollup, timestamp: int, safe: int) -> int | None:
    """The last block whose timestamp is not later; None before genesis, and beyond what is safe."""

    def time_of(number: int) -> int:
        return int(_read(native, number).timestamp, 16)

    if timestamp < time_of(0):
        return None
    low, high = 0, safe
    if timestamp >= time_of(high):
        following = native.head.number > high and time_of(high + 1) <= timestamp
        return None if following or timestamp >= time_of(high) + _spacing(native, high) else high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if time_of(middle) <= timestamp else (low, middle)
    return low


def _spacing(native: Rollup, number: int) -> int:
    """Seconds between a block and the one before it: the rollup's block time. 1 where there is only genesis."""
    if number == 0:
        return 1 if native.head.number == 0 else _time(native, 1) - _time(native, 0)
    return _time(native, number) - _time(native, number - 1)


def _time(native: Rollup, number: int) -> int:
    return int(_read(native, number).timestamp, 16)


def _hash(text: str) -> Hash32:
    return Hash32(bytes.fromhex(text[2:]))
