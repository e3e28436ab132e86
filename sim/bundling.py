"""What simulated users send as bundles: legs on one to three rollups, with reverts, nonce races, gas races, conditions
and windows.

Stands in for the bundle pool: a node sees a random part of what waits. Most bundles use their senders' next nonces, so
they race with the senders' plain transactions and with each other; a bundle that lost its race is offered for a while
all the same.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from plait.codec.bundle import bundle_hash_of, encode_leg, encode_terms, terms_of
from plait.execution.bundles import BundleCandidate, DecodedBundle
from plait.ledger.state import LedgerState
from plait.native import Transaction, decode_transactions
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Leg,
    Milliseconds,
    Pin,
    RollupId,
    Slot,
    Wei,
)
from sim.messaging import message_call
from sim.wallet import Wallet

REVERTING: Final = bytes.fromhex("60006000fd")
STORING: Final = bytes.fromhex("602a60005560016000f3")
WAITING_MAX: Final = 24


def decoded(bundle: Bundle) -> DecodedBundle:
    """A bundle of good transactions, decoded."""
    terms = terms_of(bundle)
    terms_bytes = encode_terms(terms)
    legs: list[tuple[Transaction, ...]] = []
    for leg in bundle.legs:
        transactions = decode_transactions(leg.transactions, leg.rollup_id)
        legs.append(tuple(entry for entry in transactions if isinstance(entry, Transaction)))
        assert len(legs[-1]) == len(transactions), transactions
    leg_bytes = tuple(encode_leg(leg.transactions) for leg in bundle.legs)
    return DecodedBundle(bundle_hash_of(terms_bytes), terms, terms_bytes, tuple(legs), leg_bytes)


class BundleWorkload:
    """Waiting bundles of all users."""

    def __init__(
        self,
        random: Random,
        ledger: LedgerState,
        wallets: Sequence[Wallet],
        nonce: Callable[[RollupId, int], int],
        recipients: Sequence[Address],
    ) -> None:
        self._random = random
        self._ledger = ledger
        self._wallets = wallets
        self._nonce = nonce
        self._recipients = recipients
        self._interop = any(record.parameters.interop_set for record in ledger.rollups)
        self._waiting: list[BundleCandidate] = []
        self._made = 0
        self.sent: list[DecodedBundle] = []
        """Every bundle that a user ever sent."""

    def add(self, count: int, time_ms: Milliseconds) -> None:
        """Users send `count` bundles."""
        random = self._random
        for _ in range(count):
            ids = self._ledger.rollup_ids
            touched = sorted(random.sample(ids, random.randrange(1, len(ids) + 1)))
            slot = max(0, slot_at(self._ledger.parameters, time_ms))
            not_before = slot + random.choice((0, 0, 0, 1))
            bundle = decoded(
                Bundle(
                    legs=tuple(self._leg(rollup_id) for rollup_id in touched),
                    not_before_slot=Slot(not_before),
                    deadline_slot=Slot(not_before + random.randrange(6)),
                    conditions=tuple(self._condition() for _ in range(random.choice((0, 0, 0, 1, 2)))),
                    fee_bid=self._fee_bid(),
                    delivery_required=random.randrange(4) == 0,
                    pins=self._pins(slot),
                )
            )
            self.sent.append(bundle)
            arrived = Milliseconds(time_ms - random.randrange(500))
            payer = bundle.legs[0][0].sender
            self._waiting.append(
                BundleCandidate(bundle, arrived, random.randrange(4) == 0, payer, random.choice((1, 8)))
            )
        del self._waiting[:-WAITING_MAX]

    def _fee_bid(self) -> FeeBid | None:
        random = self._random
        if random.randrange(5):
            return None
        return FeeBid(rollup_id=random.choice(self._ledger.rollup_ids), amount=Wei(random.choice((1, 10**9, 10**13))))

    def _pins(self, slot: int) -> tuple[Pin, ...]:
        """Sometimes the block of the slot or the next, after a number of logs that may be right."""
        random = self._random
        if random.randrange(6):
            return ()
        record = random.choice(self._ledger.rollups)
        number = record.parameters.block_at(Slot(slot + random.choice((0, 1))))
        log_index = random.choice((0, 0, 1, 3))
        return (Pin(rollup_id=record.rollup_id, block_number=BlockNumber(number), log_index=log_index),)

    def _leg(self, rollup_id: RollupId) -> Leg:
        random = self._random
        user = random.randrange(len(self._wallets))
        nonce = self._nonce(rollup_id, user) + random.choice((0, 0, 0, 0, 1))
        raws: list[bytes] = []
        allowed: list[int] = []
        for place in range(random.randrange(1, 4)):
            self._made += 1
            fields: dict[str, object] = {
                "to": random.choice(self._recipients),
                "value": 1 + self._made,
                "max_fee_per_gas": 2 * 10**9 + self._made,
            }
            kind = random.randrange(20)
            if kind < 5:
                code = random.choice((STORING, REVERTING))
                fields |= {"to": b"", "value": 0, "data": code, "gas_limit": 120_000}
                if random.randrange(2):
                    allowed.append(place)
            elif kind == 5:
                fields["gas_limit"] = 2_000_000
            elif self._interop and kind in {7, 8}:
                fields |= message_call(random, self._ledger.rollup_ids, random.choice(self._recipients))
                fields["gas_limit"] = 400_000
            elif kind == 6:
                fields["value"] = 10**30
            raws.append(self._wallets[user].sign_1559(rollup_id, nonce + place, **fields))  # type: ignore[arg-type]
        return Leg(rollup_id=rollup_id, transactions=tuple(raws), allowed_reverts=tuple(allowed))

    def _condition(self) -> Condition:
        random = self._random
        storage = random.randrange(3) == 0
        return Condition(
            rollup_id=random.choice(self._ledger.rollup_ids),
            kind=ConditionKind.STORAGE if storage else ConditionKind.BALANCE,
            address=random.choice(self._recipients),
            input=bytes(32) if storage else b"",
            comparison=random.choice(list(Comparison)),
            value=random.choice((0, 10**15)),
        )

    def waiting(self) -> list[DecodedBundle]:
        """What users have pending."""
        return [offer.bundle for offer in self._waiting]

    def candidates(self, node: int, time_ms: Milliseconds) -> list[BundleCandidate]:
        """What one node's pool holds: most of what waits."""
        del node, time_ms
        return [offer for offer in self._waiting if self._random.randrange(100) < 80]

    def on_decided(self, effect: SubBlockDecided) -> None:
        """Mostly forgets what was decided; now and then it is offered again."""
        done = {bundle.hash for bundle in effect.bundles}
        self._waiting = [
            offer
            for offer in self._waiting
            if (offer.bundle.hash not in done or self._random.randrange(10) == 0)
            and offer.bundle.terms.deadline_slot >= effect.slot
        ]
