"""Bundles as JSON: what clients send, and what they are told. Level 7.

Slots, indices, counts and rollup ids are JSON numbers; values of conditions are hex quantities.
"""

from typing import Any, Final

import msgspec

from plait.errors import RequestRefused
from plait.execution.bundles import DecodedBundle, Trial
from plait.mempool import BundleStatus, Mishap
from plait.native import Outcomes
from plait.rpc.errors import revert_reason
from plait.rpc.parameters import OBJECT_SCHEMA, Kind, Schema, data_of_hex, fixed, quantity_of, slot_key
from plait.types import Address, Bundle, Comparison, Condition, ConditionKind, Hash32, Leg, RollupId, Slot


class _Leg(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    transactions: list[str]
    allowed_reverts: list[int] = []


class _Condition(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rollup_id: int
    kind: ConditionKind
    address: str
    comparison: Comparison
    value: str
    slot: str | None = None


class _Bundle(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    legs: list[_Leg]
    not_before_slot: int = 0
    deadline_slot: int | None = None
    conditions: list[_Condition] = []


class BundleRequest(msgspec.Struct, frozen=True):
    """A bundle as a client sends it; without a deadline the node chooses one."""

    legs: tuple[Leg, ...]
    conditions: tuple[Condition, ...]
    not_before_slot: Slot
    deadline_slot: Slot | None

    def bundle(self, deadline_slot: Slot) -> Bundle:
        """The bundle, with this deadline if it has none."""
        return Bundle(
            legs=self.legs,
            conditions=self.conditions,
            not_before_slot=self.not_before_slot,
            deadline_slot=deadline_slot if self.deadline_slot is None else self.deadline_slot,
        )


class SendOptions(msgspec.Struct, frozen=True):
    """What comes with a bundle."""

    signature: bytes | None = None
    replaces: Hash32 | None = None


class _Options(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    signature: str | None = None
    replaces: str | None = None


_decoder: Final = msgspec.json.Decoder(_Bundle)
_options: Final = msgspec.json.Decoder(_Options)
_MAX: Final = 2**53 - 1


def bundle_request(data: bytes) -> BundleRequest:
    """The bundle of a request. Raises ValueError with the problem."""
    try:
        found = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    numbers = [found.not_before_slot, found.deadline_slot or 0]
    numbers += [part.rollup_id for part in (*found.legs, *found.conditions)]  # type: ignore[attr-defined]
    numbers += [index for leg in found.legs for index in leg.allowed_reverts]
    if any(not 0 <= number <= _MAX for number in numbers):
        raise ValueError("slots, indices and rollup ids are numbers from 0 to 2**53 - 1")
    legs = [
        Leg(
            rollup_id=RollupId(leg.rollup_id),
            transactions=tuple(map(data_of_hex, leg.transactions)),
            allowed_reverts=tuple(leg.allowed_reverts),
        )
        for leg in found.legs
    ]
    return BundleRequest(
        tuple(sorted(legs, key=lambda leg: leg.rollup_id)),
        tuple(map(_condition, found.conditions)),
        Slot(found.not_before_slot),
        None if found.deadline_slot is None else Slot(found.deadline_slot),
    )


def _condition(found: _Condition) -> Condition:
    if (found.slot is not None) != (found.kind is ConditionKind.STORAGE):
        raise ValueError("a condition has a slot exactly when its kind is storage")
    return Condition(
        rollup_id=RollupId(found.rollup_id),
        kind=found.kind,
        address=Address(fixed(found.address, 20)),
        input=b"" if found.slot is None else slot_key(found.slot),
        comparison=found.comparison,
        value=quantity_of(found.value, 256),
    )


def send_options(data: bytes) -> SendOptions:
    """Signature and replaced bundle. Raises ValueError with the problem."""
    try:
        found = _options.decode(data)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return SendOptions(
        None if found.signature is None else data_of_hex(found.signature),
        None if found.replaces is None else Hash32(fixed(found.replaces, 32)),
    )


_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
BUNDLE_SCHEMA: Final[Schema] = {
    "title": "bundle",
    "type": "object",
    "required": ["legs"],
    "properties": {
        "legs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rollupId", "transactions"],
                "properties": {
                    "rollupId": _NUMBER,
                    "transactions": {"type": "array", "items": {"type": "string"}},
                    "allowedReverts": {"type": "array", "items": _NUMBER},
                },
            },
        },
        "notBeforeSlot": _NUMBER,
        "deadlineSlot": _NUMBER,
        "conditions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["rollupId", "kind", "address", "comparison", "value"],
                "properties": {
                    "rollupId": _NUMBER,
                    "kind": {"enum": [str(kind) for kind in ConditionKind]},
                    "address": {"type": "string"},
                    "slot": {"type": "string"},
                    "comparison": {"enum": [str(comparison) for comparison in Comparison]},
                    "value": {"type": "string"},
                },
            },
        },
    },
}
BUNDLE: Final = Kind(bundle_request, BUNDLE_SCHEMA, raw=True)
SEND_OPTIONS: Final = Kind(send_options, OBJECT_SCHEMA, raw=True)


# ---------------------------------------------------------------- answers
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
        "legs": [
            {
                "rollupId": leg.rollup_id,
                "blockNumber": leg.block_number,
                "transactions": [_hex(hash_) for hash_ in leg.transactions],
            }
            for leg in status.legs
        ],
    }
    if status.mishap is not None:
        shown["dropped" if status.status == "dropped" else "lastFailure"] = mishap_of(status.mishap)
    return shown


def mishap_of(mishap: Mishap) -> dict[str, Any]:
    """Why a bundle failed."""
    return {
        "code": mishap.code,
        "sentence": mishap.sentence,
        "rollupId": mishap.rollup_id,
        "index": mishap.index,
        "reason": mishap.reason or None,
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
        "failure": None
        if failure is None
        else {
            "code": failure.code,
            "sentence": failure.sentence,
            "rollupId": failure.rollup_id,
            "index": failure.place,
            "reason": failure.reason or None,
        },
        "legs": [
            {
                "rollupId": leg.rollup_id,
                "transactions": []
                if ran is None
                else [_transaction(transactions[index].hash, ran, index) for index in range(len(ran))],
            }
            for leg, transactions, ran in zip(bundle.terms.legs, bundle.legs, trial.outcomes, strict=True)
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
        shown |= {"code": failure[0], "sentence": failure[1], "revertReason": revert_reason(output)}
    return shown


def refuse_empty(found: object) -> None:
    """Raises RequestRefused for an answer that needs an open block where there is none."""
    if found is None:
        raise RequestRefused("a rollup of the bundle has no open block yet; wait a slot", code="block_not_open")
