"""plait_: the network, its slots and sub-blocks, proofs, and what became of a transaction. Level 7.

Numbers in these answers are JSON numbers (all are below 2**53) except amounts of wei, which are hex quantities.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.crypto.commitments import rollup_leaf
from plait.crypto.merkle import inclusion_proof
from plait.mempool import Decided, DroppedEnd, Pooled, Sealed
from plait.protocol.grid import slot_at, slot_start_ms
from plait.protocol.proposal import Proposal, decode_proposal, encode_header
from plait.rpc.encoding import hex_of, item_hashes, sub_block
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import HISTORY_PRUNED, INVALID_PARAMS, SERVER_ERROR, RpcError
from plait.rpc.levels import l1_levels, sealed_level
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import COUNT, HASH, HASH_SCHEMA, HEIGHT, OBJECT_SCHEMA, TEXT
from plait.rpc.streams import Subscriber
from plait.rpc.table import Param, method
from plait.storage.record import DecidedRecord
from plait.types import BlockNumber, Height, RollupId, Slot

_HASH_EXAMPLE: Final = "0x" + "11" * 32
_ROLLUP: Final = Param("rollupId", COUNT, optional=True)


# ---------------------------------------------------------------- the network
def _rollup_info(endpoint: Endpoint, rollup_id: RollupId) -> dict[str, Any]:
    handle = endpoint.backend.rollups[rollup_id]
    head, open_block, parameters = handle.native.head, handle.native.open_block, handle.parameters
    return {
        "rollupId": rollup_id,
        "chainId": parameters.chain_id,
        "ordering": str(parameters.ordering),
        "blockTimeSlots": parameters.block_time_slots,
        "gasLimit": parameters.gas_limit,
        "minBaseFee": hex(parameters.min_base_fee),
        "genesisHash": hex_of(parameters.genesis_hash),
        "path": f"/{rollup_id}",
        "l1": l1_levels(endpoint.backend, rollup_id),
        "head": {"number": head.number, "hash": hex_of(head.hash), "timestamp": head.timestamp},
        "openBlock": None
        if open_block is None
        else {
            "number": open_block.number,
            "timestamp": open_block.timestamp,
            "gasUsed": open_block.gas_used,
            "transactionCount": open_block.transaction_count,
            "baseFee": hex(open_block.base_fee),
        },
    }


@method("plait_networkInfo", scope="both", result=OBJECT_SCHEMA, example=())
def network_info(endpoint: Endpoint) -> dict[str, Any]:
    """Version, network parameters, the last sub-block's position, and every rollup with its head and open block."""
    parameters, info = endpoint.backend.parameters, endpoint.backend.info()
    return {
        "version": endpoint.backend.version,
        "networkId": parameters.network_id,
        "genesisTime": parameters.genesis_time_s,
        "slotMs": parameters.slot_ms,
        "subBlocksPerSlot": parameters.sub_blocks_per_slot,
        "height": info.height,
        "slot": info.slot,
        "subIndex": info.sub_index,
        "timeMs": info.time_ms,
        "appHash": hex_of(info.app_hash),
        "rollups": rollups(endpoint),
    }


@method("plait_rollups", scope="both", result={"type": "array", "items": OBJECT_SCHEMA}, example=())
def rollups(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Every rollup with its parameters, head, open block, and how far L1 has it (`l1`), by ascending id."""
    return [_rollup_info(endpoint, rollup_id) for rollup_id in sorted(endpoint.backend.rollups)]


@method("plait_slot", scope="both", result=OBJECT_SCHEMA, example=())
def slot(endpoint: Endpoint) -> dict[str, int]:
    """The slot of the last sub-block, and the one that the node's clock says it is now."""
    parameters, info, now_ms = endpoint.backend.parameters, endpoint.backend.info(), endpoint.backend.clock.now_ms()
    current = slot_at(parameters, now_ms)
    return {
        "slot": info.slot,
        "subIndex": info.sub_index,
        "height": info.height,
        "clockSlot": current,
        "clockMs": now_ms,
        "nextSlotMs": slot_start_ms(parameters, Slot(current + 1)),
    }


@method("plait_poolStatistics", scope="both", result=OBJECT_SCHEMA, example=())
def pool_statistics(endpoint: Endpoint) -> dict[str, Any]:
    """Counters of the transaction pool, in all and per rollup."""
    return endpoint.backend.pool.statistics()


@method("plait_health", scope="both", result=OBJECT_SCHEMA, example=())
def health(endpoint: Endpoint) -> dict[str, Any]:
    """Whether the node makes progress, and one sentence for each thing that is wrong."""
    found = endpoint.backend.health()
    info = endpoint.backend.info()
    shown = {"ok": found.ok, "ready": found.ready, "reasons": list(found.reasons)}
    return shown | {"height": info.height, "slot": info.slot}


# ---------------------------------------------------------------- sub-blocks and proofs
def _record(endpoint: Endpoint, height: int | None) -> DecidedRecord | None:
    log = endpoint.backend.log
    wanted = log.height if height is None else Height(height)
    if 0 < wanted < log.first_height:
        message = f"height {wanted} is not kept here; this node's log begins at height {log.first_height}"
        raise RpcError(HISTORY_PRUNED, message, {"code": "height_pruned", "first_height": log.first_height})
    return log.read(wanted) if log.first_height <= wanted <= log.height else None


@method(
    "plait_getSubBlock",
    Param("height", HEIGHT),
    mode="thread",
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=("latest",),
)
def get_sub_block(endpoint: Endpoint, height: int | None) -> dict[str, Any] | None:
    """A decided sub-block by height or `latest`: position, commitments, bundles, per rollup its transactions (`relayed`
    of them are a relayer's) and sealed blocks."""
    record = _record(endpoint, height)
    if record is None:
        return None
    proposal = decode_proposal(record.proposal)
    return sub_block(proposal, record.proposal, record.app_hash)


def _find(endpoint: Endpoint, rollup_id: RollupId, hash_: bytes) -> tuple[DecidedRecord, Proposal, int] | None:
    """The sub-block that decided a transaction, and its index among the rollup's items."""
    handle = endpoint.backend.rollups[rollup_id]
    location, raw = handle.native.transaction_location(hash_), handle.native.raw_transaction(hash_)
    if location is None or raw is None:
        return None
    first_slot = handle.parameters.first_slot(BlockNumber(location[0]))
    log = endpoint.backend.log
    for number in range(first_slot, first_slot + handle.parameters.block_time_slots):
        for height in log.heights_of_slot(Slot(number)):
            record = log.read(Height(height))
            if record is None or raw not in record.proposal:
                continue
            proposal = decode_proposal(record.proposal)
            hashes = item_hashes(dict(proposal.blocks).get(rollup_id, []))
            for index, held in enumerate(hashes):
                if hash_ in held:
                    return record, proposal, index
    return None


def _rollup_ids(endpoint: Endpoint, rollup_id: int | None) -> Sequence[RollupId]:
    if rollup_id is None:
        return [endpoint.rollup_id] if endpoint.is_rollup else sorted(endpoint.backend.rollups)
    if rollup_id not in endpoint.backend.rollups:
        raise RpcError(INVALID_PARAMS, f"unknown rollup {rollup_id}", {"code": "rollup_unknown"})
    return [RollupId(rollup_id)]


@method(
    "plait_getInclusionProof",
    Param("rollupId", COUNT),
    Param("hash", HASH),
    mode="thread",
    scope="both",
    result=nullable(OBJECT_SCHEMA),
)
def get_inclusion_proof(endpoint: Endpoint, rollup_id: int, hash_: bytes) -> dict[str, Any] | None:
    """Proof that a decided transaction stands in its sub-block: RFC 6962 paths to the items root and to the rollups
    root."""
    (known,) = _rollup_ids(endpoint, rollup_id)
    found = _find(endpoint, known, hash_)
    if found is None:
        return None
    record, proposal, index = found
    header, items = proposal.header, dict(proposal.blocks)[known]
    ids = header.commitment.ids
    place = ids.index(known)
    leaves = [rollup_leaf(i, root) for i, root in zip(ids, header.commitment.items_roots, strict=True)]
    return {
        "height": record.height,
        "rollupId": known,
        "transactionHash": hex_of(hash_),
        "item": hex_of(items[index]),
        "itemIndex": index,
        "itemCount": len(items),
        "itemsRoot": hex_of(header.commitment.items_roots[place]),
        "itemsProof": [hex_of(node) for node in inclusion_proof(items, index)],
        "rollupIndex": place,
        "rollupCount": len(ids),
        "rollupsRoot": hex_of(header.commitment.rollups_root),
        "rollupsProof": [hex_of(node) for node in inclusion_proof(leaves, place)],
        "header": hex_of(encode_header(header)),
        "appHash": hex_of(record.app_hash),
    }


# ---------------------------------------------------------------- what became of a transaction
@method(
    "plait_getTransactionStatus",
    Param("hash", HASH),
    _ROLLUP,
    mode="coroutine",
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(_HASH_EXAMPLE,),
)
async def get_transaction_status(endpoint: Endpoint, hash_: bytes, rollup_id: int | None) -> dict[str, Any] | None:
    """How far a transaction has come (`received`, `decided`, `sealed`; with an L1 `posted`, `safe`, `finalized`), or
    why it was dropped; null when nothing is known."""
    for candidate in _rollup_ids(endpoint, rollup_id):
        status = await _status(endpoint, candidate, hash_)
        if status is not None:
            return {"hash": hex_of(hash_), "rollupId": candidate} | status
    return None


async def _status(endpoint: Endpoint, rollup_id: RollupId, hash_: bytes) -> dict[str, Any] | None:
    handle = endpoint.backend.rollups[rollup_id]
    known = endpoint.backend.pool.status(rollup_id, hash_)
    location = handle.native.transaction_location(hash_)
    if location is not None:
        height = known.height if isinstance(known, Decided | Sealed) else None
        if height is None:
            found = await endpoint.readers.run(_find, endpoint, rollup_id, hash_)
            height = None if found is None else found[0].height
        return _included(endpoint, rollup_id, hash_, location, height)
    if isinstance(known, Pooled):
        missing = endpoint.backend.pool.missing(rollup_id, hash_)
        waits = {} if missing is None else {"waitsFor": {"code": missing.code, "reason": missing.sentence}}
        return {"level": "received", "status": known.status} | waits
    if isinstance(known, DroppedEnd):
        return {"level": None, "status": "dropped", "code": known.code, "reason": known.sentence}
    return None


def _included(
    endpoint: Endpoint, rollup_id: RollupId, hash_: bytes, location: tuple[int, int], height: int | None
) -> dict[str, Any]:
    native = endpoint.backend.rollups[rollup_id].native
    sealed = location[0] <= native.head.number
    level = sealed_level(endpoint.backend, rollup_id, location[0]) if sealed else "decided"
    shown: dict[str, Any] = {"level": level, "status": level, "height": height}
    shown |= {"blockNumber": location[0], "transactionIndex": location[1]}
    if sealed:
        receipt = native.receipt_json(hash_)
        if receipt is not None:
            facts = msgspec.json.decode(receipt, type=_Receipt)
            shown |= {"blockHash": facts.blockHash, "succeeded": facts.status == "0x1"}
            return shown | {"gasUsed": int(facts.gasUsed, 16)}
    else:
        outcome = native.pending_outcome(hash_)
        if outcome is not None:
            return shown | {"succeeded": outcome[0] == 1, "gasUsed": outcome[1]}
    return shown


@method(
    "plait_getSettlement",
    _ROLLUP,
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(),
)
def get_settlement(endpoint: Endpoint, rollup_id: int | None) -> dict[str, Any] | None:
    """How far L1 has the rollups: per rollup the last block that is sealed, `posted`, `safe` and `finalized`, and a
    `conflict` where L1 derives another block than this node has; null without an L1."""
    settlement = endpoint.backend.settlement
    if settlement is None:
        return None
    return settlement.status(None if rollup_id is None else _rollup_ids(endpoint, rollup_id)[0])


@method("plait_getEngines", scope="both", result={"type": "array", "items": OBJECT_SCHEMA}, example=())
def get_engines(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The execution engines that this node drives: `state` (connecting, syncing, following, stopped), the `code` of
    what is wrong, both heads, and what the engine was told of safe and finalized blocks."""
    return [
        {
            "rollupId": status.chain_id,
            "state": status.state.value,
            "code": status.code or None,
            "head": status.head,
            "engineHead": status.engine_head,
            "safe": status.safe,
            "finalized": status.finalized,
            "behindMs": status.behind_ms,
            "imported": status.imported,
        }
        for status in endpoint.backend.engines
    ]


class _Receipt(msgspec.Struct):
    blockHash: str  # noqa: N815 - the field's name in the receipt
    status: str
    gasUsed: str  # noqa: N815 - the field's name in the receipt


# ---------------------------------------------------------------- streams and description
@method(
    "plait_subscribe",
    Param("kind", TEXT),
    Param("bundleHash", HASH, optional=True),
    mode="connection",
    scope="both",
    result=HASH_SCHEMA,
)
def subscribe(endpoint: Endpoint, subscriber: Subscriber, kind: str, bundle_hash: bytes | None) -> str:
    """Subscribes to `subBlocks` (every decided sub-block as plait_getSubBlock shows it) or `bundles` (one bundle's
    changes as plait_getBundle shows them, by its hash); WebSocket only."""
    if kind == "bundles":
        if bundle_hash is None:
            raise RpcError(INVALID_PARAMS, "missing value for required argument 1", {"name": "bundleHash"})
        return endpoint.streams.subscribe(subscriber, "bundles", None, bundle_hash=bundle_hash)
    if kind != "subBlocks":
        raise RpcError(-32601, f'no "{kind[:64]}" subscription in plait namespace')
    return endpoint.streams.subscribe(subscriber, "subBlocks", None)


@method("plait_unsubscribe", Param("id", TEXT), mode="connection", scope="both", result={"type": "boolean"})
def unsubscribe(endpoint: Endpoint, subscriber: Subscriber, identity: str) -> bool:
    """Ends a subscription of this connection."""
    if not endpoint.streams.unsubscribe(subscriber, identity):
        raise RpcError(SERVER_ERROR, "subscription not found", {"code": "subscription_unknown"})
    return True


@method("rpc_discover", mode="thread", scope="both", result=OBJECT_SCHEMA, example=())
def discover(endpoint: Endpoint) -> dict[str, Any]:
    """The OpenRPC document of this server."""
    from plait.rpc.openrpc import document

    return document(endpoint.backend.version)
