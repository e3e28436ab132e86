"""JSON of what only Plait's own layer knows: pooled transactions and sub-blocks.

Pooled transactions have the fields and forms of go-ethereum's answers. Sub-blocks are Plait's own: heights, slots,
counts and milliseconds are JSON numbers (all below 2**53), hashes are `0x` strings.

Level 7.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rlp import decode as rlp_decode  # type: ignore[import-untyped]  # the package has no types

from plait.codec.bundle import decode_leg
from plait.limits import DELIVERIES_PER_BUNDLE_MAX
from plait.native import Transaction, keccak256, keccak256_many
from plait.protocol.proposal import (
    DELIVERIES_KIND,
    LEG_HEAD_BYTES,
    RELAY_KIND,
    Proposal,
    bundled_count,
    decode_proposal,
    proposal_hash_of,
    relays_count,
    split_items,
)
from plait.types import Hash32

JSON: Final = msgspec.json.Encoder()


def hex_of(data: bytes) -> str:
    """DATA."""
    return "0x" + data.hex()


def checksummed(address: bytes) -> str:
    """An address with the checksum of EIP-55 in the case of its letters."""
    digits = address.hex()
    check = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if c >= "8" else d for d, c in zip(digits, check, strict=False))


def _number(data: bytes) -> str:
    return hex(int.from_bytes(data, "big"))


def pooled_transaction(transaction: Transaction) -> dict[str, Any]:
    """A transaction that is in no block yet, as go-ethereum shows it: block fields null."""
    raw = transaction.raw
    kind = transaction.type
    fields: list[Any] = rlp_decode(raw if kind == 0 else raw[1:])
    shown: dict[str, Any] = {
        "blockHash": None,
        "blockNumber": None,
        "blockTimestamp": None,
        "from": hex_of(transaction.sender),
        "gas": hex(transaction.gas_limit),
        "gasPrice": hex(transaction.max_fee_per_gas),
        "hash": hex_of(transaction.hash),
        "nonce": hex(transaction.nonce),
        "to": None if transaction.to is None else hex_of(transaction.to),
        "transactionIndex": None,
        "value": hex(transaction.value),
        "type": hex(kind),
    }
    if kind == 0:
        v = int.from_bytes(fields[6], "big")
        shown |= {"input": hex_of(fields[5]), "chainId": hex((v - 35) // 2), "v": hex(v)}
        return shown | {"r": _number(fields[7]), "s": _number(fields[8])}
    chain_id, fees = fields[0], 3 if kind == 1 else 4
    if kind != 1:
        shown["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    rest = fields[fees:]  # gas limit, to, value, data, access list, then authorizations (type 4), y parity, r, s
    shown |= {"input": hex_of(rest[3]), "accessList": [_access(item) for item in rest[4]], "chainId": _number(chain_id)}
    if kind == 4:
        shown["authorizationList"] = [_authorization(item) for item in rest[5]]
    parity, r, s = rest[-3:]
    return shown | {"v": _number(parity), "r": _number(r), "s": _number(s), "yParity": _number(parity)}


def _access(item: Sequence[Any]) -> dict[str, Any]:
    return {"address": hex_of(item[0]), "storageKeys": [hex_of(key) for key in item[1]]}


def _authorization(item: Sequence[bytes]) -> dict[str, str]:
    chain_id, address, nonce, parity, r, s = item
    return {
        "chainId": _number(chain_id),
        "address": hex_of(address),
        "nonce": _number(nonce),
        "yParity": _number(parity),
        "r": _number(r),
        "s": _number(s),
    }


def pooled_transaction_json(transaction: Transaction) -> bytes:
    """`pooled_transaction` as JSON."""
    return JSON.encode(pooled_transaction(transaction))


def item_hashes(items: Sequence[bytes]) -> list[list[bytes]]:
    """Transaction hashes of each of a rollup's items: several where the item is a bundle's."""
    head, tail = bundled_count(items), relays_count(items)
    plain = split_items(items[head : len(items) - tail], head).raws
    relays = [item[1:] for item in items[len(items) - tail :]]
    hashes = [
        keccak256_many(decode_leg(item[LEG_HEAD_BYTES:], count_max=DELIVERIES_PER_BUNDLE_MAX)) for item in items[:head]
    ]
    return hashes + [[hash_] for hash_ in keccak256_many([*plain, *relays])]


def sub_block(proposal: Proposal, proposal_bytes: bytes, app_hash: Hash32) -> dict[str, Any]:
    """A decided sub-block.

    Args:
        proposal: decoded.
        proposal_bytes: as decided.
        app_hash: of its height.
    """
    header = proposal.header
    items = dict(proposal.blocks)
    sealed = dict(header.sealed)
    return {
        "height": header.height,
        "slot": header.slot,
        "subIndex": header.sub_index,
        "timeMs": header.time_ms,
        "proposalHash": hex_of(proposal_hash_of(proposal_bytes)),
        "appHash": hex_of(app_hash),
        "parentAppHash": hex_of(header.parent_app_hash),
        "l1Origin": {"number": header.l1_origin.number, "hash": hex_of(header.l1_origin.hash)},
        "rollupsRoot": hex_of(header.commitment.rollups_root),
        "idsRoot": hex_of(header.commitment.ids_root),
        "ledgerRoot": hex_of(header.ledger_root),
        "bundles": [
            {
                "bundleHash": hex_of(entry.hash),
                "stampMs": entry.stamp_ms,
                "rollupIds": [leg.rollup_id for leg in entry.terms.legs],
            }
            for entry in proposal.bundles
        ],
        "rollups": [
            {
                "rollupId": rollup_id,
                "itemsRoot": hex_of(root),
                **_transactions(items.get(rollup_id, [])),
                "sealed": [{"number": number, "hash": hex_of(hash_)} for number, hash_ in sealed.get(rollup_id, ())],
            }
            for rollup_id, root in zip(header.commitment.ids, header.commitment.items_roots, strict=True)
        ],
    }


def _transactions(items: Sequence[bytes]) -> dict[str, Any]:
    """Hashes in order, and how many of them are a relayer's: deliveries of messages, and claims of fees."""
    hashes = item_hashes(items)
    relayed = sum(
        len(held) for item, held in zip(items, hashes, strict=True) if item[:1] in {DELIVERIES_KIND, RELAY_KIND}
    )
    return {"transactions": [hex_of(hash_) for held in hashes for hash_ in held], "relayed": relayed}


def sub_block_json(proposal_bytes: bytes, app_hash: Hash32) -> bytes:
    """`sub_block` as JSON."""
    return JSON.encode(sub_block(decode_proposal(proposal_bytes), proposal_bytes, app_hash))
