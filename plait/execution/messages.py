"""Messages between rollups, judged on a candidate: what was sent, what was delivered, and whether everything that was
executed is valid.

Execution on one rollup never reads another. So a transaction that executes a message runs like any other, and whether
it may stand is decided afterwards from logs alone, for a *step*: one bundle, or the rest of a sub-block. A step is
valid when
    - every message that one of its transactions declares in its access list is at its place, in a sealed block or in an
      open one as the step left it, and may be executed in the block that the transaction is in
      (`plait.interop.validity`); a transaction cannot execute what it does not declare
    - its executions of messages of the same timestamp leave no cycle (`plait.interop.cycles`). Executions of earlier
      steps need not be looked at again: nothing that they depend on came later than their own step.

Rollups outside of an interop set have no predeploys; nothing of theirs is a message.

Level 2, pure but for the native sessions it reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

from plait.errors import MessageRefused
from plait.execution.candidate import Candidate
from plait.interop.access_list import Access, parse_accesses
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import LogIndex, MessageChainId, log_hash_of, payload_hash_of
from plait.interop.messages import (
    CROSS_L2_INBOX,
    EXECUTING_MESSAGE_TOPIC,
    MESSENGER,
    RELAY_FEES,
    RELAYED_MESSAGE_TOPIC,
    SENT_MESSAGE_TOPIC,
    Log,
    decode_executing_message,
    is_executing_message,
)
from plait.interop.relay_fees import DELIVERY_REQUIRED_TOPIC
from plait.interop.relays import Relay, relays_of
from plait.interop.validity import (
    InitiatingLog,
    InteropChain,
    InteropSet,
    LogAbsence,
    LogLookup,
    refuse_missing,
    refuse_position,
)
from plait.limits import MESSAGE_LOGS_KEPT_S, MESSAGES_PER_STEP_MAX, MESSAGES_PER_TRANSACTION_MAX
from plait.native import Outcomes, Transaction, declaring
from plait.types import Address, BlockNumber, Hash32, RollupId, RollupParameters, Seconds, Slot

InteropSets = Mapping[RollupId, InteropSet]
"""The set of every rollup that belongs to one."""


EMITTERS: Final = (CROSS_L2_INBOX, MESSENGER, RELAY_FEES)
"""Whose logs have to do with messages."""


class Ran(NamedTuple):
    """Transactions that ran on a rollup one after the other, and what came of them."""

    transactions: Sequence[Transaction]
    outcomes: Outcomes


RanByRollup = Mapping[RollupId, Sequence[Ran]]


class MessageFailure(NamedTuple):
    """Why a step is not valid."""

    code: str
    """Of `plait.interop`, `message_cycle`, or `message_too_many`."""
    sentence: str
    rollup_id: RollupId
    transaction: Hash32
    """That declares the message; empty for a cycle."""


def interop_sets(rollups: Iterable[RollupParameters], genesis_time_s: Seconds, slot_ms: int) -> InteropSets:
    """The interop sets of a registry: rollups with the same number, each active from its genesis on."""
    return _interop_sets(
        tuple(
            (rollup.interop_set, rollup.rollup_id, rollup.block_time_slots, rollup.start_slot)
            for rollup in rollups
            if rollup.interop_set
        ),
        genesis_time_s,
        slot_ms,
    )


@lru_cache(maxsize=8)
def _interop_sets(
    rollups: tuple[tuple[int, RollupId, int, Slot], ...], genesis_time_s: Seconds, slot_ms: int
) -> InteropSets:
    sets: dict[RollupId, InteropSet] = {}
    for number in sorted({rollup[0] for rollup in rollups}):
        members = sorted((rollup_id, slots, start) for member, rollup_id, slots, start in rollups if member == number)
        chains = tuple(
            InteropChain(
                chain_id=MessageChainId(rollup_id),
                activation=Seconds(genesis_time_s + start * slot_ms // 1_000),
                block_time_s=Seconds(slots * slot_ms // 1_000),
            )
            for rollup_id, slots, start in members
        )
        interop_set = InteropSet(chains=chains)
        sets.update((rollup_id, interop_set) for rollup_id, *_ in members)
    return sets


# ---------------------------------------------------------------- what a step did
def touch_messages(sets: InteropSets, ran: RanByRollup) -> bool:
    """Whether a step has anything to do with messages: a quick no for nearly every one."""
    return any(
        one.outcomes.logs_of(EMITTERS) or declaring(one.transactions, CROSS_L2_INBOX)
        for rollup_id, parts in ran.items()
        if rollup_id in sets
        for one in parts
    )


def sent_messages(candidate: Candidate, sets: InteropSets, ran: RanByRollup) -> list[Relay]:
    """Messages that a step sent to rollups of the sender's set, ascending by rollup id and position."""
    found: list[Relay] = []
    for rollup_id in sorted(ran):
        interop_set = sets.get(rollup_id)
        block = candidate.open_block(rollup_id) if interop_set is not None else None
        if interop_set is None or block is None:
            continue
        for one in ran[rollup_id]:
            for _, index, address, topics, data in one.outcomes.logs_of([MESSENGER]):
                if not topics or topics[0] != SENT_MESSAGE_TOPIC:
                    continue
                try:
                    relays = relays_of(
                        [log_of(address, topics, data)],
                        first_log_index=LogIndex(index),
                        block_number=BlockNumber(block.number),
                        timestamp=Seconds(block.timestamp),
                        chain_id=MessageChainId(rollup_id),
                    )
                except MessageRefused:  # a genesis with another contract in the messenger's place
                    continue
                found.extend(relay for relay in relays if interop_set.chain(relay.sent.destination) is not None)
    return found


def delivered_by(ran: Ran) -> list[tuple[int, Hash32]]:
    """(position of the transaction, hash of the message) of every delivery among these, in order."""
    return [
        (index, Hash32(topics[3]))
        for index, _, _, topics, _ in ran.outcomes.logs_of([MESSENGER])
        if len(topics) == 4 and topics[0] == RELAYED_MESSAGE_TOPIC
    ]


def delivered_messages(sets: InteropSets, ran: RanByRollup) -> frozenset[Hash32]:
    """Hashes of the messages that a step delivered."""
    return frozenset(
        message_hash
        for rollup_id, parts in ran.items()
        if rollup_id in sets
        for one in parts
        for _, message_hash in delivered_by(one)
    )


def executing_relays(ran: Ran) -> set[int]:
    """Positions of the transactions that have the form of a relay: of type 2, so that nobody's authorization travels
    with them, declaring one message, and executing one."""
    executing = {
        index
        for index, _, _, topics, _ in ran.outcomes.logs_of([CROSS_L2_INBOX])
        if topics and topics[0] == EXECUTING_MESSAGE_TOPIC
    }
    return {
        index for index in executing if ran.transactions[index].type == 2 and _declares_one(ran.transactions[index])
    }


def _declares_one(transaction: Transaction) -> bool:
    try:
        return len(declared_by(transaction)) == 1
    except MessageRefused:
        return False


def _demands(outcomes: Outcomes) -> list[tuple[int, Hash32]]:
    """(position of the transaction, hash of the message) of every demand for a delivery, in order."""
    return [
        (index, Hash32(topics[1]))
        for index, _, _, topics, _ in outcomes.logs_of([RELAY_FEES])
        if len(topics) == 2 and topics[0] == DELIVERY_REQUIRED_TOPIC
    ]


def demanded_by(outcomes: Outcomes) -> set[int]:
    """Positions of the transactions that demand a delivery."""
    return {index for index, _ in _demands(outcomes)}


def demanded_messages(sets: InteropSets, ran: RanByRollup) -> frozenset[Hash32]:
    """Hashes of the messages whose delivery in the same bundle a step demands (RelayFees.requireDelivery)."""
    return frozenset(
        message_hash
        for rollup_id, parts in ran.items()
        if rollup_id in sets
        for one in parts
        for _, message_hash in _demands(one.outcomes)
    )


# ---------------------------------------------------------------- whether it is valid
def refuse_messages(candidate: Candidate, sets: InteropSets, ran: RanByRollup) -> MessageFailure | None:
    """The first rule of messages that a step breaks, or None.

    Args:
        candidate: as the step left it.
        sets: of the registry.
        ran: everything that the step ran; transactions that were left out (status 2) do not count.
    """
    if not sets:
        return None
    lookup = lookup_of(candidate)
    declared = 0
    timestamps: dict[Seconds, list[SameTimeExecution]] = {}
    for rollup_id in sorted(ran):
        interop_set = sets.get(rollup_id)
        block = candidate.open_block(rollup_id) if interop_set is not None else None
        if interop_set is None or block is None:
            continue
        timestamp = Seconds(block.timestamp)
        for one in ran[rollup_id]:
            statuses = one.outcomes.statuses
            for index in declaring(one.transactions, CROSS_L2_INBOX):
                if index >= len(statuses) or statuses[index] == 2:
                    continue
                transaction = one.transactions[index]
                declared += len(transaction.access_list_keys(CROSS_L2_INBOX)) // 2
                if declared > MESSAGES_PER_STEP_MAX:
                    return _too_many(MESSAGES_PER_STEP_MAX, rollup_id, transaction)
                failure = refuse_declared(interop_set, rollup_id, timestamp, transaction, lookup)
                if failure is not None:
                    return failure
            logs = one.outcomes.logs_of([CROSS_L2_INBOX])
            try:
                executions = _same_time_executions(rollup_id, timestamp, logs)
            except MessageRefused as refused:
                return MessageFailure(refused.code, refused.message, rollup_id, Hash32(b""))
            if executions:
                timestamps.setdefault(timestamp, []).extend(executions)
    for timestamp in sorted(timestamps):
        at_fault = chains_in_cycles(timestamps[timestamp])
        if at_fault:
            names = ", ".join(map(str, at_fault))
            return MessageFailure(
                "message_cycle",
                f"messages of rollups {names} justify each other in a circle",
                RollupId(at_fault[0]),
                Hash32(b""),
            )
    return None


def refuse_declared(
    interop_set: InteropSet, rollup_id: RollupId, timestamp: Seconds, transaction: Transaction, lookup: LogLookup
) -> MessageFailure | None:
    """The first message that a transaction declares and that may not be executed in its block, or None.

    Args:
        interop_set: of the rollup.
        rollup_id, timestamp: of the block that holds the transaction.
        lookup: of logs as they are known where the question is asked.
    """
    try:
        accesses = declared_by(transaction)
    except MessageRefused as refused:
        return MessageFailure(refused.code, refused.message, rollup_id, Hash32(transaction.hash))
    if len(accesses) > MESSAGES_PER_TRANSACTION_MAX:
        return _too_many(MESSAGES_PER_TRANSACTION_MAX, rollup_id, transaction)
    refusals = chain(  # what costs no read comes first
        (refuse_position(interop_set, MessageChainId(rollup_id), timestamp, access) for access in accesses),
        (refuse_missing(access, lookup) for access in accesses),
    )
    refusal = next((found for found in refusals if found is not None), None)
    if refusal is None:
        return None
    return MessageFailure(refusal.code, refusal.message, rollup_id, Hash32(transaction.hash))


def never_comes(candidate: Candidate, transaction: Transaction, lookup: LogLookup) -> bool:
    """Whether a transaction, refused with `message_missing`, declares a log that a sealed block does not have."""
    for access in declared_by(transaction):
        block = candidate.open_block(RollupId(access.chain_id))
        sealed = block is not None and access.block_number < block.number
        if sealed and lookup(access.chain_id, access.block_number, access.log_index) is LogAbsence.NO_SUCH_LOG:
            return True
    return False


def _too_many(maximum: int, rollup_id: RollupId, transaction: Transaction) -> MessageFailure:
    sentence = f"it declares more messages than the {maximum} that there is room for"
    return MessageFailure("message_too_many", sentence, rollup_id, Hash32(transaction.hash))


def declared_by(transaction: Transaction) -> list[Access]:
    """The messages that a transaction declares, in order. Raises MessageRefused for a malformed declaration."""
    return parse_accesses([Hash32(key) for key in transaction.access_list_keys(CROSS_L2_INBOX)])


def lookup_of(candidate: Candidate) -> LogLookup:
    """Finds logs of sealed blocks and of the open blocks as the candidate stands."""

    def lookup(chain_id: MessageChainId, block_number: BlockNumber, log_index: LogIndex) -> InitiatingLog | LogAbsence:
        session = candidate.session(RollupId(chain_id))
        block = session.open_block
        if block is None or block_number > block.number:
            return LogAbsence.FUTURE_BLOCK
        block_time_s = block.timestamp - session.head_timestamp
        if (block.number - block_number) * block_time_s > MESSAGE_LOGS_KEPT_S:
            # No such message is valid any more; a node that began from a snapshot does not have the block.
            return LogAbsence.PRUNED
        found = session.log(block_number, log_index)
        return LogAbsence.NO_SUCH_LOG if found is None else initiating_log(*found)

    return lookup


def initiating_log(timestamp: int, address: bytes, topics: Sequence[bytes], data: bytes) -> InitiatingLog:
    """A log as the native core finds it by its place, for a lookup's answer."""
    log = log_of(address, topics, data)
    log_hash = log_hash_of(log.address, payload_hash_of(log.topics, log.data))
    return InitiatingLog(timestamp=Seconds(timestamp), log_hash=log_hash)


def log_of(address: bytes, topics: Sequence[bytes], data: bytes) -> Log:
    """A log as the native core reports it."""
    return Log(Address(address), [Hash32(topic) for topic in topics], data)


def _same_time_executions(
    rollup_id: RollupId, timestamp: Seconds, logs: Iterable[tuple[int, int, bytes, list[bytes], bytes]]
) -> list[SameTimeExecution]:
    """Raises MessageRefused for a malformed event of CrossL2Inbox."""
    found: list[SameTimeExecution] = []
    for _, index, address, topics, data in logs:
        log = log_of(address, topics, data)
        if not is_executing_message(log):
            continue
        at = decode_executing_message(log.topics, log.data).identifier
        if at.timestamp == timestamp:
            found.append(SameTimeExecution(MessageChainId(rollup_id), LogIndex(index), at.chain_id, at.log_index))
    return found
