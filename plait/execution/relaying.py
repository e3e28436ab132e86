"""Delivering messages on a candidate: a relayer's transactions, made and run one after the other.

For each message, in order: the relayer signs a transaction that calls RelayDesk (or the messenger, where there is no
desk) on the destination, with the message's exact position in its access list. It runs on the open block. What does not
deliver the message, or costs the relayer more than it is offered, is undone; nothing of it remains. What a delivery
sends in turn goes to the end of the queue, RELAY_DEPTH_MAX rounds deep.

Where the sender attached a fee, or a sponsor stands in, the fee is claimed right away: a second transaction executes
the desk's Delivered log on the source. A relayer who wants to be paid delivers only what pays for both: nothing is owed
beyond the step.

Only builders and simulations come here; what they make is checked like any other transaction.

Level 2.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from plait.errors import MessageRefused
from plait.execution.bundles import Deliver, Deliveries, Marks, Wanted, undelivered
from plait.execution.candidate import Candidate
from plait.execution.messages import (
    InteropSets,
    Ran,
    delivered_by,
    demanded_messages,
    log_of,
    lookup_of,
    sent_messages,
)
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, RELAY_DESK, RELAY_FEES
from plait.interop.relay_fees import Offer, claim_of, decode_offer, offer_calldata
from plait.interop.relays import Relay
from plait.interop.validity import AWAITED_CODES, refuse_execution
from plait.limits import (
    BUNDLE_BYTES_MAX,
    DELIVERIES_PER_BUNDLE_MAX,
    RELAY_DEPTH_MAX,
    RELAY_GAS_DEFAULT,
    RELAY_GAS_MAX,
    RELAY_OFFER_GAS_MAX,
    TRANSACTION_BYTES_MAX,
)
from plait.native import OpenBlock, Refusal, decode_transactions
from plait.types import Address, BlockNumber, Gas, Hash32, RollupId, Seconds, Wei

CLAIM_GAS: Final = 300_000
"""Gas limit of a claim, without its calldata."""
GAS_PER_BYTE: Final = 44
"""Of calldata: 40 by the floor of EIP-7623, and what copying and hashing it takes."""
_NOTHING_OFFERED: Final = Offer(amount=Wei(0), gas_limit=Gas(0))


class Relayer(Protocol):
    """Who delivers messages: an account with balance on every rollup, and what it asks for."""

    @property
    def address(self) -> Address:
        """Pays the gas of deliveries and gets the fees."""
        ...

    @property
    def policy(self) -> Literal["free", "paid"]:
        """Whether a delivery has to be paid for by what is offered."""
        ...

    def sign(
        self,
        rollup_id: RollupId,
        *,
        nonce: int,
        to: Address,
        data: bytes,
        gas_limit: int,
        max_fee_per_gas: int,
        max_priority_fee_per_gas: int,
        access_list: Sequence[tuple[bytes, Sequence[bytes]]],
    ) -> bytes:
        """A signed transaction of type 2 (EIP-1559) without value."""
        ...


class NotDelivered(NamedTuple):
    """Why a message was not delivered now. Codes: relay_not_yet, relay_invalid, relay_no_room, relay_too_large,
    relay_failed, relay_unpaid."""

    code: str
    sentence: str
    gas_used: int = 0
    """That trying it took."""
    output: bytes = b""
    """Revert data of the delivery."""


class Delivered(NamedTuple):
    """A message that was delivered."""

    ran: Ran
    """One transaction on the destination."""
    claim: Ran | None
    """One transaction on the source, where a fee was claimed."""

    def parts(self, relay: Relay) -> list[tuple[RollupId, Ran]]:
        """What ran, and where."""
        found = [(RollupId(relay.sent.destination), self.ran)]
        if self.claim is not None:
            found.append((RollupId(relay.message.identifier.chain_id), self.claim))
        return found


def relay_message(
    candidate: Candidate, marks: Marks, sets: InteropSets, relay: Relay, relayer: Relayer
) -> Delivered | NotDelivered:
    """Delivers one message on the open block of its destination, or leaves the candidate as it was.

    Args:
        candidate: where it is delivered.
        marks: gets a checkpoint of each session that it did not have, before anything runs there.
        sets: of the registry.
        relay: a message of a decided or open block.
        relayer: who signs.
    """
    destination, source = RollupId(relay.sent.destination), RollupId(relay.message.identifier.chain_id)
    refused = _refuse(candidate, sets, relay)
    if refused is not None:
        return refused
    block, here = candidate.open_block(destination), candidate.open_block(source)
    assert block is not None, "a message of a rollup without a block is not valid"
    offer = _offer_of(candidate, source, relay)
    paid = relayer.policy == "paid"
    if paid and (not offer.amount or here is None or here.timestamp < block.timestamp):
        return NotDelivered("relay_unpaid", "no fee is offered for it, or it cannot be claimed in this slot")
    for rollup_id in (destination, source):
        if rollup_id not in marks and candidate.open_block(rollup_id) is not None:
            marks[rollup_id] = candidate.session(rollup_id).checkpoint()
    session = candidate.session(destination)
    mark = session.checkpoint()
    before = _balances(candidate, (destination, source), relayer.address)
    ran = _call_target(candidate, block, relay, relayer, offer)
    if isinstance(ran, NotDelivered):
        return ran
    gas_used = ran.outcomes.gas_used
    if [message_hash for _, message_hash in delivered_by(ran)].count(relay.message_hash) != 1:
        failure, output = ran.outcomes.failure(0), ran.outcomes.output(0)
        session.rollback(mark)
        problem = "the delivery does nothing" if failure is None else failure[1]
        return NotDelivered("relay_failed", problem, gas_used, output)
    mark_source = None if here is None else candidate.session(source).checkpoint()
    claim = _claim_fee(candidate, relay, ran, relayer) if offer.amount else None
    cost = before - _balances(candidate, (destination, source), relayer.address)
    if paid and (claim is None or cost > 0):
        if mark_source is not None:
            candidate.session(source).rollback(mark_source)
        session.rollback(mark)
        return NotDelivered("relay_unpaid", f"{offer.amount} wei do not pay for it", gas_used)
    return Delivered(ran, claim)


def _refuse(candidate: Candidate, sets: InteropSets, relay: Relay) -> NotDelivered | None:
    """Why the message may not be executed in the open block of its destination; None when it may."""
    destination = RollupId(relay.sent.destination)
    interop_set = sets.get(destination)
    block = None if interop_set is None else candidate.open_block(destination)
    if interop_set is None or block is None:
        return NotDelivered("relay_not_yet", f"rollup {destination} has no block yet, or no interop")
    refusal = refuse_execution(
        interop_set, MessageChainId(destination), Seconds(block.timestamp), relay.access, lookup_of(candidate)
    )
    if refusal is None:
        return None
    return NotDelivered("relay_not_yet" if refusal.code in AWAITED_CODES else "relay_invalid", refusal.message)


def _balances(candidate: Candidate, rollup_ids: Sequence[RollupId], address: Address) -> int:
    """Of an account on several rollups together."""
    return sum(candidate.session(rollup_id).accounts([address])[0][1] for rollup_id in rollup_ids)


def _call_target(
    candidate: Candidate, block: OpenBlock, relay: Relay, relayer: Relayer, offer: Offer
) -> Ran | NotDelivered:
    """Runs the delivery on the destination."""
    destination = RollupId(relay.sent.destination)
    # Anybody may attach a fee to a message: a small gas limit of one must not keep the delivery from running.
    usual = RELAY_GAS_DEFAULT + GAS_PER_BYTE * len(relay.desk_calldata)
    gas_limit = min(max(offer.gas_limit, usual), RELAY_GAS_MAX, block.gas_limit - block.gas_used)
    ((nonce, _, _), (_, _, has_desk)) = candidate.session(destination).accounts([relayer.address, RELAY_DESK])
    to, data = (RELAY_DESK, relay.desk_calldata) if has_desk else (MESSENGER, relay.calldata)
    return _run(candidate, block, destination, relayer, nonce, to, data, gas_limit, relay.keys)


def _offer_of(candidate: Candidate, source: RollupId, relay: Relay) -> Offer:
    """What RelayFees holds ready for a delivery."""
    session = candidate.session(source)
    if session.open_block is None or not session.accounts([RELAY_FEES])[0][2]:
        return _NOTHING_OFFERED
    result = session.call(
        bytes(20), RELAY_FEES, offer_calldata(relay.message_hash, relay.sent.sender), RELAY_OFFER_GAS_MAX
    )
    try:
        return decode_offer(result.output) if result.success else _NOTHING_OFFERED
    except MessageRefused:  # a genesis with another contract in its place
        return _NOTHING_OFFERED


def _run(  # noqa: PLR0917 - a helper with two callers
    candidate: Candidate,
    block: OpenBlock,
    rollup_id: RollupId,
    relayer: Relayer,
    nonce: int,
    to: Address,
    data: bytes,
    gas_limit: int,
    keys: Sequence[Hash32],
) -> Ran | NotDelivered:
    """Signs and runs one transaction that executes one message; what cannot be applied leaves nothing."""
    if gas_limit <= 0:
        return NotDelivered("relay_no_room", f"the open block of rollup {rollup_id} is full")
    raw = relayer.sign(
        rollup_id,
        nonce=nonce,
        to=to,
        data=data,
        gas_limit=gas_limit,
        max_fee_per_gas=block.base_fee,
        max_priority_fee_per_gas=0,
        access_list=[(CROSS_L2_INBOX, keys)],
    )
    if len(raw) > TRANSACTION_BYTES_MAX:
        return NotDelivered("relay_too_large", "no transaction has room for it")
    (decoded,) = decode_transactions([raw], rollup_id, senders=relayer.address)
    if isinstance(decoded, Refusal):
        return NotDelivered("relay_too_large", decoded.message)
    session = candidate.session(rollup_id)
    outcomes = session.run([decoded])
    if outcomes.statuses[0] == 2:
        code, sentence = outcomes.failure(0) or ("", "")
        full = code in {"block_gas_limit_reached", "block_da_limit_reached"}
        return NotDelivered("relay_no_room" if full else "relay_failed", sentence)
    return Ran([decoded], outcomes)


def _claim_fee(candidate: Candidate, relay: Relay, ran: Ran, relayer: Relayer) -> Ran | None:
    """Claims the fee of a delivery on its source; None, and nothing done, where that cannot be.

    Args:
        candidate: with the open blocks of source and destination.
        relay: the message.
        ran: its delivery, in the open block.
        relayer: who made it.
    """
    destination, source = RollupId(relay.sent.destination), RollupId(relay.message.identifier.chain_id)
    there, here = candidate.open_block(destination), candidate.open_block(source)
    logs = ran.outcomes.logs_of([RELAY_DESK])
    if there is None or here is None or here.timestamp < there.timestamp:
        return None
    claim = None
    for _, index, address, topics, data in logs:
        try:
            claim = claim_of(
                relay,
                log_of(address, topics, data),
                block_number=BlockNumber(there.number),
                log_index=LogIndex(index),
                timestamp=Seconds(there.timestamp),
            )
        except MessageRefused:  # of another message of the same bundle
            continue
    if claim is None or claim.delivered.relayer != relayer.address:
        return None
    session = candidate.session(source)
    mark = session.checkpoint()
    ((nonce, _, _),) = session.accounts([relayer.address])
    gas_limit = min(CLAIM_GAS + GAS_PER_BYTE * len(claim.calldata), here.gas_limit - here.gas_used)
    claimed = _run(candidate, here, source, relayer, nonce, RELAY_FEES, claim.calldata, gas_limit, claim.keys)
    if isinstance(claimed, NotDelivered):
        return None
    if claimed.outcomes.statuses[0] != 1:
        session.rollback(mark)
        return None
    return claimed


# ---------------------------------------------------------------- of a bundle
def deliver_by(relayer: Relayer, sets: InteropSets) -> Deliver:
    """Deliveries that a relayer makes: breadth first, in the order in which the messages were sent; each message once,
    however often it was sent."""

    def deliver(candidate: Candidate, marks: Marks, wanted: Wanted) -> Deliveries:
        found: dict[RollupId, list[Ran]] = {}
        queue = deque((relay, 1) for relay in wanted.sent)
        done = set(wanted.delivered)
        count = size = gas_used = 0
        while queue:
            relay, depth = queue.popleft()
            if relay.message_hash in done:
                continue
            done.add(relay.message_hash)
            count += 1
            if depth > RELAY_DEPTH_MAX or 2 * count > DELIVERIES_PER_BUNDLE_MAX:
                most = f"{RELAY_DEPTH_MAX} rounds or {DELIVERIES_PER_BUNDLE_MAX // 2} deliveries"
                problem = f"the bundle needs more than {most}"
                return Deliveries(found, undelivered(relay, problem, "relay_depth"), gas_used)
            delivered = relay_message(candidate, marks, sets, relay, relayer)
            if isinstance(delivered, NotDelivered):
                failure = undelivered(relay, delivered.sentence, delivered.code, delivered.output)
                return Deliveries(found, failure, gas_used + delivered.gas_used)
            for rollup_id, ran in delivered.parts(relay):
                found.setdefault(rollup_id, []).append(ran)
                size += ran.transactions[0].size
                gas_used += ran.outcomes.gas_used
            if size > BUNDLE_BYTES_MAX:
                problem = f"the deliveries need more than {BUNDLE_BYTES_MAX} bytes"
                return Deliveries(found, undelivered(relay, problem, "relay_too_large"), gas_used)
            step = {RollupId(relay.sent.destination): [delivered.ran]}
            replies = sent_messages(candidate, sets, step)
            demanded = frozenset() if wanted.all else demanded_messages(sets, step)
            queue.extend((reply, depth + 1) for reply in replies if wanted.all or reply.message_hash in demanded)
        return Deliveries(found, None, gas_used)

    return deliver
