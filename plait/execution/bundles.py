"""One bundle on a candidate: pins, conditions, legs, deliveries; everything is applied, or nothing is.

A trial marks the sessions that it touches, and undoes all of them when state that it needs cannot be read, or one of
these does not hold, in this order:
    - its pins: the open blocks stand exactly where they say
    - its conditions, read before anything runs
    - its legs, ascending by rollup id: every transaction can be applied and succeeds, unless it may revert
    - its deliveries: when the terms require it, every message that its transactions send to a rollup of the interop set
      is delivered within the bundle by transactions of a relayer; a message whose sender demanded that
      (DeliveryRequired of RelayFees) is, whatever the terms say
    - its messages: what its transactions execute is valid (`plait.execution.messages`)
    - its fee bid: the sequencer's fee vault has gained at least that much
Building, checking and simulating use this one function, so they cannot differ. They differ in where deliveries come
from: a relayer that makes them, or the proposal that lists them.

Level 2. Holds no policy: which bundles are tried, when and in which order, is decided by the protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from plait.execution.candidate import Candidate
from plait.execution.messages import (
    InteropSets,
    Ran,
    RanByRollup,
    delivered_by,
    delivered_messages,
    demanded_messages,
    executing_relays,
    refuse_messages,
    sent_messages,
    touch_messages,
)
from plait.interop.messages import MESSENGER, RELAY_DESK, RELAY_FEES
from plait.interop.relays import Relay
from plait.limits import CONDITION_CALL_GAS_MAX
from plait.native import NativeError, Outcomes, Transaction
from plait.native.unread import is_unread
from plait.types import Address, BundleTerms, Condition, ConditionKind, Gas, Hash32, Milliseconds, Pin, RollupId

SEQUENCER_FEE_VAULT: Final = Address(bytes.fromhex("4200000000000000000000000000000000000011"))
"""Where priority fees go, and fee bids (OP Stack specs, predeploys)."""
DELIVERY_TARGETS: Final = frozenset({MESSENGER, RELAY_DESK})
"""What a delivery may call."""
_NOBODY: Final = bytes(20)


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
    """`bundle_pin_missed`, `bundle_condition_false`, `bundle_leg_failed`, `bundle_delivery_failed`,
    `bundle_message_invalid` or `bundle_bid_unpaid`."""
    sentence: str
    rollup_id: RollupId
    place: int
    """Of the transaction in its leg, of the condition, or of the pin; 0 where there is none."""
    reason: str
    """The transaction's own code (`reverted`, `nonce_too_low`, ...) or the message's; empty where there is none."""
    output: bytes = b""
    """Revert data of the transaction, or of the delivery, that failed."""


Marks = dict[RollupId, int]
"""Checkpoints to come back to, per touched rollup."""


class Wanted(NamedTuple):
    """Which messages a bundle must deliver itself."""

    sent: tuple[Relay, ...]
    """In order, of what its legs sent and did not deliver themselves."""
    all: bool
    """Whether every message that a delivery sends belongs to them too, or only those it demands."""
    delivered: frozenset[Hash32]
    """What its legs delivered themselves, replies that are still to be sent included."""


class Deliveries(NamedTuple):
    """What was run to deliver a bundle's messages."""

    ran: Mapping[RollupId, Sequence[Ran]]
    """Per rollup, in order."""
    failure: Failure | None
    gas_used: int
    """Of all that was tried."""


Deliver = Callable[[Candidate, Marks, Wanted], Deliveries]
"""Runs the deliveries of a bundle, marking every session before it runs on it."""


class Trial(NamedTuple):
    """What came of running a bundle."""

    outcomes: tuple[Outcomes | None, ...]
    """Per leg; None where a leg did not run."""
    failure: Failure | None
    """None when all of it was applied."""
    gas_used: Gas
    """Of legs and deliveries."""
    deliveries: Mapping[RollupId, Sequence[Ran]] = {}
    """What relayers ran for it."""
    sent: tuple[Relay, ...] = ()
    """Messages that it sent to rollups of the set."""
    delivered: frozenset[Hash32] = frozenset()
    """Messages that it delivered."""


def no_deliveries(candidate: Candidate, marks: Marks, wanted: Wanted) -> Deliveries:
    """The `Deliver` of who relays nothing."""
    del candidate, marks
    failure = undelivered(wanted.sent[0], "no relayer is at work here", "") if wanted.sent else None
    return Deliveries({}, failure, 0)


def undelivered(relay: Relay, problem: str, reason: str, output: bytes = b"") -> Failure:
    """The failure of a bundle one of whose messages cannot be delivered."""
    return Failure(
        "bundle_delivery_failed",
        f"message 0x{relay.message_hash.hex()} to rollup {relay.sent.destination} cannot be delivered: {problem}",
        RollupId(relay.sent.destination),
        0,
        reason,
        output,
    )


def try_bundle(
    candidate: Candidate,
    bundle: DecodedBundle,
    sets: InteropSets,
    deliver: Deliver = no_deliveries,
    *,
    every_leg: bool = False,
) -> Trial:
    """Applies a bundle to the open blocks of a candidate, or leaves the candidate as it was.

    Args:
        candidate: every rollup of a leg or pin has an open block, every other rollup that the bundle names a session.
        bundle: decoded.
        sets: of the registry.
        deliver: where deliveries come from.
        every_leg: also run what follows a failure, to learn about it (simulation).

    Raises:
        NativeError: `block_not_open`; state of one of its rollups cannot be read (`is_unread`), and the candidate is
            as it was.
    """
    marks: Marks = {leg.rollup_id: candidate.session(leg.rollup_id).checkpoint() for leg in bundle.terms.legs}
    try:
        trial = _try(candidate, marks, bundle, sets, deliver, every_leg=every_leg)
    except NativeError as error:
        if is_unread(error):
            candidate.rollback(marks)
        raise
    if trial.failure is not None:
        candidate.rollback(marks)
    return trial


def _try(
    candidate: Candidate, marks: Marks, bundle: DecodedBundle, sets: InteropSets, deliver: Deliver, *, every_leg: bool
) -> Trial:
    """Applies a bundle; where it fails the caller goes back to the marks."""
    terms = bundle.terms
    failure = _missed_pin(candidate, terms.pins) or _false_condition(candidate, terms.conditions)
    vault_before = 0 if terms.fee_bid is None else _vault(candidate, terms.fee_bid.rollup_id)
    outcomes: list[Outcomes | None] = [None] * len(terms.legs)
    ran: dict[RollupId, list[Ran]] = {}
    gas_used = 0
    if failure is None or every_leg:
        for place, leg in enumerate(terms.legs):
            outcome = candidate.session(leg.rollup_id).run(bundle.legs[place], on_invalid="stop")
            outcomes[place] = outcome
            ran[leg.rollup_id] = [Ran(bundle.legs[place], outcome)]
            gas_used += outcome.gas_used
            if failure is None:
                failure = _failed_transaction(leg.rollup_id, outcome, len(bundle.legs[place]), leg.allowed_reverts)
            if failure is not None and not every_leg:
                break
    trial = Trial(tuple(outcomes), failure, Gas(gas_used))
    if failure is None and sets and touch_messages(sets, ran):
        trial = _with_messages(candidate, marks, bundle, sets, deliver, ran, trial)
    if trial.failure is None and terms.fee_bid is not None:
        gained = _vault(candidate, terms.fee_bid.rollup_id) - vault_before
        if gained < terms.fee_bid.amount:
            trial = trial._replace(failure=_unpaid(terms.fee_bid.rollup_id, gained, terms.fee_bid.amount))
    return trial


def _with_messages(  # noqa: PLR0917 - a helper with one caller
    candidate: Candidate,
    marks: Marks,
    bundle: DecodedBundle,
    sets: InteropSets,
    deliver: Deliver,
    ran: dict[RollupId, list[Ran]],
    trial: Trial,
) -> Trial:
    """Delivers what must be delivered, and judges all messages of the bundle."""
    required = bundle.terms.delivery_required
    sent = sent_messages(candidate, sets, ran)
    demanded = demanded_messages(sets, ran)
    done = delivered_messages(sets, ran)
    wanted = tuple(
        relay for relay in sent if (required or relay.message_hash in demanded) and relay.message_hash not in done
    )
    deliveries = deliver(candidate, marks, Wanted(wanted, required, done))
    trial = trial._replace(gas_used=Gas(trial.gas_used + deliveries.gas_used))
    if deliveries.failure is not None:
        return trial._replace(failure=deliveries.failure)
    found = deliveries.ran
    whole = {rollup_id: [*ran.get(rollup_id, ()), *found.get(rollup_id, ())] for rollup_id in sorted({*ran, *found})}
    if found:
        sent = sent_messages(candidate, sets, whole)
        demanded = demanded_messages(sets, whole)
    delivered = delivered_messages(sets, whole)
    return trial._replace(
        failure=_idle_delivery(found, frozenset(relay.message_hash for relay in sent))
        or _missing_delivery(sent, demanded, delivered, required=required)
        or _invalid_message(candidate, sets, whole, bundle),
        deliveries=found,
        sent=tuple(sent),
        delivered=delivered,
    )


def _idle_delivery(found: Mapping[RollupId, Sequence[Ran]], sent: frozenset[Hash32]) -> Failure | None:
    """Every delivery delivers a message of its bundle, or claims a fee: nothing else travels under its name."""
    for rollup_id in sorted(found):
        for one in found[rollup_id]:
            delivering = {index for index, message_hash in delivered_by(one) if message_hash in sent}
            executing = executing_relays(one)
            for index, transaction in enumerate(one.transactions):
                claims = transaction.to == RELAY_FEES
                if index in executing and (claims or (index in delivering and transaction.to in DELIVERY_TARGETS)):
                    continue
                failure = one.outcomes.failure(index) if index < len(one.outcomes) else None
                return Failure(
                    "bundle_delivery_failed",
                    f"delivery 0x{transaction.hash.hex()} on rollup {rollup_id} delivers no message of the bundle"
                    + ("" if failure is None else f": {failure[1]}"),
                    rollup_id,
                    0,
                    "" if failure is None else failure[0],
                )
    return None


def _missing_delivery(
    sent: Sequence[Relay], demanded: frozenset[Hash32], delivered: frozenset[Hash32], *, required: bool
) -> Failure | None:
    """Every message that has to be delivered in the bundle is; one that is demanded has to be sent in it, too."""
    for relay in sent:
        if (required or relay.message_hash in demanded) and relay.message_hash not in delivered:
            return undelivered(relay, "the bundle lacks its delivery", "")
    lost = sorted(demanded - delivered)
    if lost:
        return Failure(
            "bundle_delivery_failed",
            f"the delivery of message 0x{lost[0].hex()} is demanded, which is not in the bundle",
            RollupId(0),
            0,
            "",
        )
    return None


def _invalid_message(
    candidate: Candidate, sets: InteropSets, ran: RanByRollup, bundle: DecodedBundle
) -> Failure | None:
    refused = refuse_messages(candidate, sets, ran)
    if refused is None:
        return None
    places = [place for leg in bundle.legs for place, one in enumerate(leg) if one.hash == refused.transaction]
    return Failure(
        "bundle_message_invalid", refused.sentence, refused.rollup_id, places[0] if places else 0, refused.code
    )


def _vault(candidate: Candidate, rollup_id: RollupId) -> int:
    ((_, balance, _),) = candidate.session(rollup_id).accounts([SEQUENCER_FEE_VAULT])
    return balance


def _unpaid(rollup_id: RollupId, gained: int, amount: int) -> Failure:
    return Failure(
        "bundle_bid_unpaid",
        f"the fee vault of rollup {rollup_id} gained {gained} wei, {amount} were bid",
        rollup_id,
        0,
        "",
    )


def _missed_pin(candidate: Candidate, pins: Sequence[Pin]) -> Failure | None:
    for index, pin in enumerate(pins):
        block = candidate.open_block(pin.rollup_id)
        if block is None or (block.number, block.log_count) != (pin.block_number, pin.log_index):
            stands = "no block is open" if block is None else f"block {block.number} has {block.log_count} logs"
            return Failure(
                "bundle_pin_missed",
                f"pin {index}: on rollup {pin.rollup_id} it must begin in block {pin.block_number} after "
                f"{pin.log_index} logs; {stands}",
                pin.rollup_id,
                index,
                "",
            )
    return None


def read_condition(candidate: Candidate, condition: Condition) -> int | None:
    """What a condition compares, as the candidate stands; None for a call that fails or returns less than a word."""
    session = candidate.session(condition.rollup_id)
    if condition.kind is ConditionKind.STORAGE:
        return int.from_bytes(session.storage(condition.address, condition.input), "big")
    if condition.kind is ConditionKind.BALANCE:
        ((_, balance, _),) = session.accounts([condition.address])
        return balance
    try:
        result = session.call(_NOBODY, condition.address, condition.input, CONDITION_CALL_GAS_MAX)
    except NativeError as error:
        if error.code == "internal" or is_unread(error):
            raise
        return None
    if not result.success or len(result.output) < 32:
        return None
    return int.from_bytes(result.output[:32], "big")


def _false_condition(candidate: Candidate, conditions: Sequence[Condition]) -> Failure | None:
    for index, condition in enumerate(conditions):
        found = read_condition(candidate, condition)
        if found is None or not condition.comparison.holds(found, condition.value):
            where = f" with input 0x{condition.input.hex()}" if condition.input else ""
            shown = "has no result" if found is None else f"is {found}"
            return Failure(
                "bundle_condition_false",
                f"condition {index}: {condition.kind} of 0x{condition.address.hex()}{where} on rollup "
                f"{condition.rollup_id} {shown}, which is not {condition.comparison} {condition.value}",
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
            ran.output(index) if status == 0 else b"",
        )
    return None
