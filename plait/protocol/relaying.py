"""Relays of a sub-block: deliveries of messages that no bundle had to deliver, and claims of fees.

Relays run last, after the plain transactions of every rollup. They are transactions like any other, signed by a
relayer's account, and stand outside of the ordering policy; so what may be one is narrow: it calls the messenger, the
relay desk or the relay fees, declares a message, and succeeds. Which messages a proposer relays is its own affair: what
is not relayed stays available, to anybody, for as long as messages live.

A message whose sender demands its delivery in the same bundle may only be sent by a bundle.

Level 4, pure but for the native sessions it drives.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from plait.errors import ProposalRefused
from plait.execution.bundles import Marks
from plait.execution.candidate import Candidate
from plait.execution.messages import (
    InteropSets,
    MessageFailure,
    Ran,
    demanded_messages,
    executing_relays,
    sent_messages,
)
from plait.execution.relaying import Delivered, NotDelivered, Relayer, relay_message
from plait.interop.messages import MESSENGER, RELAY_DESK, RELAY_FEES
from plait.interop.relays import Relay
from plait.limits import RELAY_DEPTH_MAX, RELAY_FAILED_GAS_PER_SUB_BLOCK_MAX, RELAYS_PER_SUB_BLOCK_MAX
from plait.native import NativeError, Transaction
from plait.native.unread import is_unread
from plait.types import Hash32, RollupId

RELAY_TARGETS: Final = frozenset({MESSENGER, RELAY_DESK, RELAY_FEES})
"""What a relay may call."""
RELAY_FRAME_BYTES: Final = 512
"""Upper bound of what a relay adds to the bytes of its calldata."""
RELAY_OVERHEAD_BYTES: Final = 8
"""Upper bound of what an item adds to the bytes of a relay."""


class RelayRefused(NamedTuple):
    """A message that was not relayed now."""

    relay: Relay
    code: str
    sentence: str


class RelaysRun(NamedTuple):
    """The relays that took place, per rollup in order, and what was left."""

    ran: dict[RollupId, list[Ran]]
    refused: list[RelayRefused]

    @property
    def transactions(self) -> dict[RollupId, list[Transaction]]:
        """Per rollup, in order."""
        return {
            rollup_id: [one for part in parts for one in part.transactions] for rollup_id, parts in self.ran.items()
        }


class RelayWork(NamedTuple):
    """What a builder may relay."""

    relayer: Relayer
    sent: Sequence[Relay]
    """Of this sub-block, in order, without those that were delivered already."""
    waiting: Sequence[Relay]
    """Of earlier sub-blocks."""


class Room(NamedTuple):
    """What is left of a proposal."""

    bytes: int
    items: int

    def less(self, ran: Ran) -> "Room":
        """What is left after one more relay."""
        return Room(self.bytes - ran.transactions[0].size - RELAY_OVERHEAD_BYTES, self.items - 1)


def build_relays(candidate: Candidate, sets: InteropSets, work: RelayWork, room: Room) -> RelaysRun:
    """Relays messages and their replies, breadth first, as long as there is room.

    Args:
        candidate: with everything of the sub-block but its relays.
        sets: of the registry.
        work: what there is to do.
        room: in the proposal.
    """
    run = RelaysRun({}, [])
    room = Room(room.bytes, min(room.items, RELAYS_PER_SUB_BLOCK_MAX))
    queue = deque((relay, 1) for relay in (*work.sent, *work.waiting))
    done: set[Hash32] = set()
    burnt = 0
    while queue:
        relay, depth = queue.popleft()
        if relay.message_hash in done:
            continue
        done.add(relay.message_hash)
        full = room.items < 2 or room.bytes < 2 * (len(relay.calldata) + RELAY_FRAME_BYTES)
        if full or depth > RELAY_DEPTH_MAX or burnt > RELAY_FAILED_GAS_PER_SUB_BLOCK_MAX:
            run.refused.append(RelayRefused(relay, "relay_no_room", "the sub-block has no room for it"))
            continue
        found = _deliver(candidate, sets, relay, work.relayer)
        if isinstance(found, NotDelivered):
            burnt += found.gas_used
            run.refused.append(RelayRefused(relay, found.code, found.sentence))
            continue
        for rollup_id, ran in found.parts(relay):
            run.ran.setdefault(rollup_id, []).append(ran)
            room = room.less(ran)
        replies = sent_messages(candidate, sets, {RollupId(relay.sent.destination): [found.ran]})
        queue.extend((reply, depth + 1) for reply in replies)
    return run


def _deliver(candidate: Candidate, sets: InteropSets, relay: Relay, relayer: Relayer) -> Delivered | NotDelivered:
    """Delivers a message, unless state is missing, or that brings about a demand that only a bundle can meet."""
    marks: Marks = {}
    try:
        found = relay_message(candidate, marks, sets, relay, relayer)
    except NativeError as error:
        if not is_unread(error):
            raise
        candidate.rollback(marks)
        return NotDelivered(error.code, str(error))
    destination = RollupId(relay.sent.destination)
    if not isinstance(found, NotDelivered) and demanded_messages(sets, {destination: [found.ran]}):
        candidate.rollback(marks)
        problem = "its target sends a message that only a bundle may send"
        return NotDelivered("relay_failed", problem, found.ran.outcomes.gas_used)
    return found


# ---------------------------------------------------------------- checking
def check_relays(rollup_id: RollupId, ran: Ran, relays: int, first: int, sets: InteropSets) -> None:
    """The last `relays` transactions of a run are relays: they call the messenger, the relay desk or the relay fees,
    and execute the one message that they declare.

    Args:
        rollup_id: of the run.
        ran: plain transactions and relays.
        relays: how many of them are relays.
        first: how many items stand before them.
        sets: of the registry.

    Raises:
        ProposalRefused: `relay_invalid`.
    """
    if not relays:
        return
    executing = executing_relays(ran) if rollup_id in sets else set()
    count = len(ran.transactions)
    for index in range(count - relays, count):
        if index not in executing or ran.transactions[index].to not in RELAY_TARGETS:
            failure = ran.outcomes.failure(index)
            raise ProposalRefused(
                f"item {first + index} of rollup {rollup_id} is no relay: it must be of type 2, call the messenger, "
                "the relay desk or the relay fees of a rollup with interop, and execute the one message it declares"
                + ("" if failure is None else f" ({failure[1]})"),
                code="relay_invalid",
                rollup_id=rollup_id,
                index=first + index,
            )


def message_refused(failure: MessageFailure) -> ProposalRefused:
    """The refusal of a proposal with an invalid executing message."""
    return ProposalRefused(
        f"rollup {failure.rollup_id} executes an invalid message: {failure.sentence}",
        code="message_invalid",
        rollup_id=failure.rollup_id,
        transaction="0x" + failure.transaction.hex(),
        reason=failure.code,
    )


def demand_refused(rollup_id: RollupId) -> ProposalRefused:
    """The refusal of a proposal with a demand outside of bundles."""
    return ProposalRefused(
        f"a transaction of rollup {rollup_id} demands the delivery of a message in its bundle and is in none",
        code="delivery_required",
        rollup_id=rollup_id,
    )
