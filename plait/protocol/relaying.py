"""Relays of a sub-block: deliveries of messages that no bundle had to deliver, and claims of fees.

Relays run last, after the plain transactions of every rollup. They are transactions like any other, signed by a
relayer's account, and stand outside of the ordering policy; so what may be one is narrow: it calls the messenger, the
relay desk or the relay fees, declares a message, and succeeds. Which messages a proposer relays is its own affair: what
is not relayed stays available, to anybody, for as long as messages live.

A message whose sender demands its delivery in the same bundle may only be sent by a bundle.

Level 4, pure but for the native sessions it drives.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from plait.errors import ProposalRefused
from plait.execution.candidate import Candidate
from plait.execution.messages import (
    InteropSets,
    MessageFailure,
    Ran,
    demanded_messages,
    sent_messages,
)
from plait.execution.relaying import Delivered, NotDelivered, Relayer, claim_fee, offer_of, relay_message
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, RELAY_DESK, RELAY_FEES
from plait.interop.relays import Relay
from plait.limits import RELAY_DEPTH_MAX, RELAYS_PER_SUB_BLOCK_MAX
from plait.native import Outcomes, Transaction, declaring
from plait.types import Hash32, RollupId

RELAY_TARGETS: Final = frozenset({MESSENGER, RELAY_DESK, RELAY_FEES})
"""What a relay may call."""
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
    """Of this sub-block, in order."""
    delivered: Mapping[Hash32, Ran]
    """Of these, what bundles delivered already: only their fees are claimed."""
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
    while queue:
        relay, depth = queue.popleft()
        if relay.message_hash in done:
            continue
        done.add(relay.message_hash)
        size = len(relay.calldata) + 512
        if depth > RELAY_DEPTH_MAX or room.items < 2 or room.bytes < 2 * size:
            run.refused.append(RelayRefused(relay, "relay_no_room", "the sub-block has no room for it"))
            continue
        delivered = work.delivered.get(relay.message_hash)
        if delivered is not None:
            offer: int = offer_of(candidate, RollupId(relay.message.identifier.chain_id), relay).amount
        else:
            found = _deliver(candidate, sets, relay, work.relayer)
            if isinstance(found, NotDelivered):
                run.refused.append(RelayRefused(relay, *found))
                continue
            delivered, offer = found.ran, found.offer
            run.ran.setdefault(RollupId(relay.sent.destination), []).append(delivered)
            room = room.less(delivered)
            replies = sent_messages(candidate, sets, {RollupId(relay.sent.destination): [delivered]})
            queue.extend((reply, depth + 1) for reply in replies)
        claim = claim_fee(candidate, relay, delivered, work.relayer) if offer else None
        if claim is not None:
            run.ran.setdefault(RollupId(relay.message.identifier.chain_id), []).append(claim)
            room = room.less(claim)
    return run


def _deliver(candidate: Candidate, sets: InteropSets, relay: Relay, relayer: Relayer) -> Delivered | NotDelivered:
    """Delivers a message, unless that brings about a demand that only a bundle can meet."""
    destination = RollupId(relay.sent.destination)
    if candidate.open_block(destination) is None:
        return NotDelivered("relay_not_yet", f"rollup {destination} has no block yet")
    mark = candidate.session(destination).checkpoint()
    found = relay_message(candidate, {}, relay, relayer)
    if not isinstance(found, NotDelivered) and demanded_messages(sets, {destination: [found.ran]}):
        candidate.session(destination).rollback(mark)
        return NotDelivered("relay_failed", "its target sends a message that only a bundle may send")
    return found


# ---------------------------------------------------------------- checking
def check_relays(rollup_id: RollupId, transactions: Sequence[Transaction], first: int, sets: InteropSets) -> None:
    """The form of a rollup's relays; `first` items stand before them.

    Raises:
        ProposalRefused: `relay_invalid`.
    """
    if not transactions:
        return
    declared = set(declaring(transactions, CROSS_L2_INBOX))
    for index, transaction in enumerate(transactions):
        if rollup_id not in sets or index not in declared or transaction.to not in RELAY_TARGETS:
            raise ProposalRefused(
                f"item {first + index} of rollup {rollup_id} is no relay: it must call the messenger, the relay desk "
                "or the relay fees of a rollup with interop, and declare a message",
                code="relay_invalid",
                rollup_id=rollup_id,
                index=first + index,
            )


def check_relayed(rollup_id: RollupId, outcomes: Outcomes, relays: int, first: int) -> None:
    """The last `relays` transactions of a run have succeeded.

    Raises:
        ProposalRefused: `relay_invalid`.
    """
    statuses = outcomes.statuses
    for index in range(len(statuses) - relays, len(statuses)):
        if statuses[index] != 1:
            _, sentence = outcomes.failure(index) or ("", "it fails")
            raise ProposalRefused(
                f"relay {first + index} of rollup {rollup_id} fails: {sentence}",
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
