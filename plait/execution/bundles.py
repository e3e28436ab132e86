"""One bundle on a candidate: conditions, then legs; everything is applied, or nothing is.

A trial marks the sessions of the bundle's legs, reads its conditions, runs leg after leg (ascending by rollup id), and
undoes all of them when a transaction cannot be applied, or fails without being allowed to. Building, checking and
simulating use this one function, so they cannot differ.

Level 2. Holds no policy: which bundles are tried, when and in which order, is decided by the protocol.
"""

from collections.abc import Sequence
from typing import NamedTuple

from plait.execution.candidate import Candidate
from plait.native import Outcomes, Transaction
from plait.types import BundleTerms, Condition, ConditionKind, Gas, Hash32, Milliseconds, RollupId


class DecodedBundle(NamedTuple):
    """A bundle whose transactions have been decoded and whose senders are known."""

    hash: Hash32
    terms: BundleTerms
    terms_bytes: bytes
    legs: tuple[tuple[Transaction, ...], ...]
    """Parallel to `terms.legs`."""
    leg_bytes: tuple[bytes, ...]
    """Canonical bytes of the legs, parallel to `legs`."""


class BundleCandidate(NamedTuple):
    """A bundle that the pool offers for the next sub-block."""

    bundle: DecodedBundle
    ready_ms: Milliseconds
    """When it arrived here, Unix milliseconds; what orders it."""
    retried: bool
    """It failed before: it stands behind bundles that did not."""
    payer: bytes
    """Who answers for a failed trial."""
    credit: int
    """How many failed trials the payer may still cause in this sub-block."""


class Failure(NamedTuple):
    """Why a bundle does not take place."""

    code: str
    """`bundle_condition_false` or `bundle_leg_failed`."""
    sentence: str
    rollup_id: RollupId
    place: int
    """Of the transaction in its leg, or of the condition."""
    reason: str
    """The transaction's own code (`reverted`, `nonce_too_low`, ...); empty for a condition."""


class Trial(NamedTuple):
    """What came of running a bundle."""

    outcomes: tuple[Outcomes | None, ...]
    """Per leg; None where a leg did not run."""
    failure: Failure | None
    """None when all of it was applied."""
    gas_used: Gas


def try_bundle(candidate: Candidate, bundle: DecodedBundle, *, every_leg: bool = False) -> Trial:
    """Applies a bundle to the open blocks of a candidate, or leaves the candidate as it was.

    Args:
        candidate: every rollup of a leg has an open block, every rollup of a condition a session.
        bundle: decoded.
        every_leg: also run what follows a failure, to learn about it (simulation).

    Raises:
        NativeError: `block_not_open`.
    """
    terms = bundle.terms
    marks = {leg.rollup_id: candidate.session(leg.rollup_id).checkpoint() for leg in terms.legs}
    failure = _false_condition(candidate, terms.conditions)
    outcomes: list[Outcomes | None] = [None] * len(terms.legs)
    gas_used = 0
    if failure is None or every_leg:
        for place, leg in enumerate(terms.legs):
            ran = candidate.session(leg.rollup_id).run(bundle.legs[place], on_invalid="stop")
            outcomes[place] = ran
            gas_used += ran.gas_used
            if failure is None:
                failure = _failed_transaction(leg.rollup_id, ran, len(bundle.legs[place]), leg.allowed_reverts)
            if failure is not None and not every_leg:
                break
    if failure is not None:
        candidate.rollback(marks)
    return Trial(tuple(outcomes), failure, Gas(gas_used))


def read_condition(candidate: Candidate, condition: Condition) -> int:
    """What a condition compares, as the candidate stands."""
    session = candidate.session(condition.rollup_id)
    if condition.kind is ConditionKind.STORAGE:
        return int.from_bytes(session.storage(condition.address, condition.input), "big")
    ((_, balance, _),) = session.accounts([condition.address])
    return balance


def _false_condition(candidate: Candidate, conditions: Sequence[Condition]) -> Failure | None:
    for index, condition in enumerate(conditions):
        found = read_condition(candidate, condition)
        if not condition.comparison.holds(found, condition.value):
            where = f" slot 0x{condition.input.hex()}" if condition.input else ""
            return Failure(
                "bundle_condition_false",
                f"condition {index}: {condition.kind} of 0x{condition.address.hex()}{where} on rollup "
                f"{condition.rollup_id} is {found}, which is not {condition.comparison} {condition.value}",
                condition.rollup_id,
                index,
                "",
            )
    return None


def _failed_transaction(
    rollup_id: RollupId, ran: Outcomes, count: int, allowed_reverts: Sequence[int]
) -> Failure | None:
    statuses = ran.statuses
    if len(statuses) == count and statuses.count(1) == count:
        return None
    for index, status in enumerate(statuses):
        if status == 1 or (status == 0 and index in allowed_reverts):
            continue
        found = ran.failure(index)
        reason, sentence = found if found is not None else ("transaction_not_applicable", "it cannot be applied")
        return Failure(
            "bundle_leg_failed",
            f"transaction {index} of the leg on rollup {rollup_id}: {sentence}",
            rollup_id,
            index,
            reason,
        )
    return None
