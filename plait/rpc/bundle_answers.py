"""What clients are told of bundles, as JSON: statuses, reasons, trials. Level 7.

Slots, indices, counts and rollup ids are JSON numbers. A failed transaction is explained by a stable code, a sentence,
and what its revert data says in words: the text of `Error(string)`, the name of a `Panic`, or the selector of a custom
error.
"""

from typing import Any, Final

import msgspec

from plait.errors import RequestRefused
from plait.execution.bundles import DecodedBundle, Trial
from plait.mempool import BundleStatus, Mishap, Placement
from plait.native import Outcomes
from plait.rpc.errors import revert_reason
from plait.types import RollupId

SELECTOR_BYTES: Final = 4


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def status_of(status: BundleStatus) -> dict[str, Any]:
    """What plait_getBundle and the subscription show."""
    shown: dict[str, Any] = {
        "bundleHash": _hex(status.hash),
        "level": None if status.status == "dropped" else status.status,
        "status": status.status,
        "height": status.height,
        "notBeforeSlot": status.not_before_slot,
        "deadlineSlot": status.deadline_slot,
        "failedTrials": status.trials,
        "legs": [_placement(leg) for leg in status.legs],
        "deliveries": [_placement(delivery) for delivery in status.deliveries],
    }
    if status.mishap is not None:
        shown["dropped" if status.status == "dropped" else "lastFailure"] = mishap_of(status.mishap)
    return shown


def _placement(placed: Placement) -> dict[str, Any]:
    return {
        "rollupId": placed.rollup_id,
        "blockNumber": placed.block_number,
        "transactions": [_hex(hash_) for hash_ in placed.transactions],
    }


def mishap_of(mishap: Mishap) -> dict[str, Any]:
    """Why a bundle failed."""
    return _explained(mishap.code, mishap.sentence, mishap.rollup_id, mishap.index, mishap.reason, mishap.output)


def _explained(  # noqa: PLR0917 - the fields of a failure, in its order
    code: str, sentence: str, rollup_id: RollupId | None, index: int | None, reason: str, output: bytes
) -> dict[str, Any]:
    return {
        "code": code,
        "sentence": sentence,
        "rollupId": rollup_id,
        "index": index,
        "reason": reason or None,
        "output": _hex(output),
        **explain_revert(output),
    }


def status_json(status: BundleStatus) -> bytes:
    """`status_of` as JSON."""
    return msgspec.json.encode(status_of(status))


def trial_of(bundle: DecodedBundle, trial: Trial) -> dict[str, Any]:
    """What plait_simulateBundle shows."""
    failure = trial.failure
    return {
        "bundleHash": _hex(bundle.hash),
        "success": failure is None,
        "gasUsed": trial.gas_used,
        "failure": None if failure is None else _explained(*failure),
        "legs": [
            {
                "rollupId": leg.rollup_id,
                "transactions": []
                if ran is None
                else [_transaction(transactions[index].hash, ran, index) for index in range(len(ran))],
            }
            for leg, transactions, ran in zip(bundle.terms.legs, bundle.legs, trial.outcomes, strict=True)
        ],
        "deliveries": [
            {
                "rollupId": rollup_id,
                "transactions": [
                    _transaction(one.transactions[index].hash, one.outcomes, index)
                    for one in parts
                    for index in range(len(one.outcomes))
                ],
            }
            for rollup_id, parts in sorted(trial.deliveries.items())
        ],
        "messages": [
            {
                "messageHash": _hex(relay.message_hash),
                "source": relay.message.identifier.chain_id,
                "destination": relay.sent.destination,
                "delivered": relay.message_hash in trial.delivered,
            }
            for relay in trial.sent
        ],
    }


def _transaction(hash_: bytes, ran: Outcomes, index: int) -> dict[str, Any]:
    status, failure, output = ran.statuses[index], ran.failure(index), ran.output(index)
    shown: dict[str, Any] = {
        "hash": _hex(hash_),
        "status": ("reverted", "succeeded", "notApplicable")[status],
        "gasUsed": ran.transaction_gas_used(index) if status != 2 else 0,
        "output": _hex(output),
        "logs": [
            {"address": _hex(address), "topics": [_hex(topic) for topic in topics], "data": _hex(data)}
            for address, topics, data in ran.logs(index)
        ],
    }
    if failure is not None:
        shown |= {"code": failure[0], "sentence": failure[1], **explain_revert(output)}
    return shown


def explain_revert(output: bytes) -> dict[str, str | None]:
    """`revertReason` in words, and `errorSelector` of a custom error; both None where the data says nothing."""
    reason = revert_reason(output)
    if reason is None and len(output) >= SELECTOR_BYTES:
        selector = _hex(output[:SELECTOR_BYTES])
        return {"revertReason": f"custom error {selector}", "errorSelector": selector}
    return {"revertReason": reason, "errorSelector": None}


def refuse_empty(found: object) -> None:
    """Raises RequestRefused for an answer that needs an open block where there is none."""
    if found is None:
        raise RequestRefused("a rollup of the bundle has no open block yet; wait a slot", code="block_not_open")
