"""RELAY_FEES under random use against books kept here: it owes what it holds at every step, and nothing is lost.

The books restate the rules of docs/interop.md in Python; the contract runs on the native core, and every claim executes
a real Delivered log. A failure prints a blob for `@reproduce_failure`; more: PLAIT_FEES_EXAMPLES=500.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from eth_abi import decode
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.interop.messages import RELAY_FEES
from plait.interop.relay_fees import Claim
from plait.interop.relays import Relay
from plait.types import Hash32, Seconds
from tests.unit.interop.fees import (
    MARGIN_S,
    WEEK_S,
    attach,
    claim_after,
    deliver,
    make_claim,
    message,
    messages_left,
    offered,
)
from tests.unit.interop.pair import ALICE, BOB, RELAYER, B, Executed, Pair, calldata, error

USERS = (ALICE, BOB, RELAYER)
WHO = st.integers(0, len(USERS) - 1)
WHICH = st.integers(0, 99)
VALUE = st.integers(0, 100)
EXAMPLES = int(os.environ.get("PLAIT_FEES_EXAMPLES", "60"))


@dataclass
class Offer:
    """Attached to one message: until when, the highest gas limit, each payer's part and the offer that it is of."""

    until: int = 0
    gas: int = 0
    claimed: bool = False
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        """Of the parts that belong to the offer as it stands."""
        return sum(amount for amount, until in self.parts.values() if until == self.until)

    @property
    def owed(self) -> int:
        """To payers: all parts, but those that a claim has spent."""
        return sum(amount for amount, until in self.parts.values() if not (self.claimed and until == self.until))


class RelayFees(RuleBasedStateMachine):
    """Users attach, sponsor, deliver, claim and take back, in any order and at any time."""

    @initialize()
    def begin(self) -> None:
        self.pair = Pair()
        self.side = self.pair.a
        self.ether = self.side.ether()
        self.sent: list[Relay] = []
        self.claims: list[tuple[Relay, Claim]] = []
        self.undelivered: list[Relay] = []
        self.offers: dict[Hash32, Offer] = {}
        self.deposits = [0] * len(USERS)
        self.allowed: dict[tuple[int, int], tuple[int, int]] = {}
        """(sponsor, sender): amount per message, messages left."""
        self.chosen: dict[int, int] = {}
        self.received = self.paid = 0
        for user in USERS:
            self.new_message(USERS.index(user))

    # ------------------------------------------------------------ helpers
    def expect(self, executed: Executed, refusal: str | None) -> bool:
        """The contract agrees with the books on whether this works; True when it does."""
        if refusal is None:
            assert executed.status == 1, executed.output.hex()
        else:
            assert (executed.status, executed.output[:4]) == (0, error(refusal)), (executed.output.hex(), refusal)
        return refusal is None

    def do(self, who: int, signature: str, *values: object, value: int = 0) -> Executed:
        return self.side.execute(USERS[who], RELAY_FEES, calldata(signature, *values), value=value)

    def sponsored(self, sender: int, attached: int) -> tuple[int, int]:
        """Who adds how much to what is attached."""
        sponsor = self.chosen.get(sender, -1)
        amount, left = self.allowed.get((sponsor, sender), (0, 0))
        rest = amount - attached
        return (sponsor, rest) if left > 0 and 0 < rest <= self.deposits[sponsor] else (sponsor, 0)

    def sender_of(self, sent: Relay) -> int:
        return [user.address for user in USERS].index(sent.sent.sender)

    @property
    def now(self) -> int:
        return self.side.timestamp

    # ------------------------------------------------------------ rules
    @rule(who=WHO)
    def new_message(self, who: int) -> None:
        sent = message(self.side, B, data=bytes([len(self.sent) % 256]), wallet=USERS[who])
        self.sent.append(sent)
        self.undelivered.append(sent)
        self.offers[sent.message_hash] = Offer()

    @rule(which=WHICH, who=WHO, value=VALUE, gas=st.integers(0, 2**64 - 1))
    def attach(self, which: int, who: int, value: int, gas: int) -> None:
        message_hash = self.sent[which % len(self.sent)].message_hash
        offer = self.offers[message_hash]
        part, of = offer.parts.get(who, (0, 0))
        closing = offer.until <= self.now < offer.until + MARGIN_S
        refusal = (
            "AlreadyClaimed()" if offer.claimed
            else "OfferClosing(uint256)" if closing
            else "NothingAttached()" if value + (part if of != offer.until or self.now >= offer.until else 0) == 0
            else None
        )  # fmt: skip
        if not self.expect(attach(self.side, message_hash, value, gas=gas, wallet=USERS[who]), refusal):
            return
        if self.now >= offer.until:
            offer.until, offer.gas = self.now + WEEK_S, 0
        offer.gas = max(offer.gas, gas)
        offer.parts[who] = (part + value, offer.until)
        self.received += value

    @rule(which=WHICH, who=WHO)
    def refund(self, which: int, who: int) -> None:
        message_hash = self.sent[which % len(self.sent)].message_hash
        offer = self.offers[message_hash]
        part, of = offer.parts.get(who, (0, 0))
        executed = self.do(who, "refund(bytes32)", message_hash)
        refusal = (
            "NothingAttached()" if part == 0
            else "AlreadyClaimed()" if offer.claimed and of == offer.until
            else "RefundTooEarly(uint256)" if self.now < of + MARGIN_S
            else None
        )  # fmt: skip
        if self.expect(executed, refusal):
            del offer.parts[who]
            self.paid += part

    @rule(who=WHO, sponsor=WHO, value=VALUE)
    def deposit(self, who: int, sponsor: int, value: int) -> None:
        assert self.do(who, "depositFor(address)", USERS[sponsor].address, value=value).status == 1
        self.deposits[sponsor] += value
        self.received += value

    @rule(who=WHO, value=VALUE)
    def withdraw(self, who: int, value: int) -> None:
        refusal = "DepositTooLow()" if value > self.deposits[who] else None
        if self.expect(self.do(who, "withdraw(uint256)", value), refusal):
            self.deposits[who] -= value
            self.paid += value

    @rule(sponsor=WHO, sender=WHO, amount=VALUE, messages=st.integers(0, 3))
    def allow(self, sponsor: int, sender: int, amount: int, messages: int) -> None:
        signature = "allow(address,uint256,uint64,uint64)"
        assert self.do(sponsor, signature, USERS[sender].address, amount, 7, messages).status == 1
        self.allowed[sponsor, sender] = (amount, messages)

    @rule(sender=WHO, sponsor=WHO)
    def choose(self, sender: int, sponsor: int) -> None:
        assert self.do(sender, "useSponsor(address)", USERS[sponsor].address).status == 1
        self.chosen[sender] = sponsor

    @rule(sponsor=WHO, sender=WHO, amount=VALUE, deposit=st.integers(50, 300))
    def sponsor(self, sponsor: int, sender: int, amount: int, deposit: int) -> None:
        """All that it takes; the rules above alone rarely meet."""
        self.deposit(sponsor, sponsor, deposit)
        self.allow(sponsor, sender, amount, 2)
        self.choose(sender, sponsor)

    @precondition(lambda self: self.undelivered)
    @rule(which=WHICH, who=WHO)
    def deliver(self, which: int, who: int) -> None:
        sent = self.undelivered.pop(which % len(self.undelivered))
        executed = deliver(self.pair.b, sent, wallet=USERS[who])
        self.claims.append((sent, claim_after(self.pair.b, sent, executed)))

    @precondition(lambda self: self.undelivered)
    @rule(which=WHICH, who=WHO)
    def deliver_and_claim(self, which: int, who: int) -> None:
        """As a builder does."""
        self.deliver(which, who)
        self.claim(len(self.claims) - 1, who)

    @precondition(lambda self: self.claims)
    @rule(which=WHICH, who=WHO)
    def claim(self, which: int, who: int) -> None:
        """Anybody claims for any delivery, paid for already or not."""
        sent, claim = self.claims[which % len(self.claims)]
        offer, sender = self.offers[sent.message_hash], self.sender_of(sent)
        attached = offer.amount if self.now < offer.until + MARGIN_S else 0
        sponsor, sponsored = self.sponsored(sender, attached)
        promised, _ = offered(self.side, sent.message_hash, sent.sent.sender)
        before = self.balances()
        executed = make_claim(self.side, claim, wallet=USERS[who])
        refusal = "AlreadyClaimed()" if offer.claimed else None if attached + sponsored else "NothingOffered()"
        if not self.expect(executed, refusal):
            return
        earned: int = decode(["uint256"], executed.output)[0]
        assert earned == attached + sponsored >= promised
        payee = next(at for at, user in enumerate(USERS) if user.address == claim.delivered.relayer)
        gained = [after - balance for after, balance in zip(self.balances(), before, strict=True)]
        assert [gain for at, gain in enumerate(gained) if at != who] == [
            earned if at == payee else 0 for at in range(len(USERS)) if at != who
        ]
        offer.claimed = True
        if not attached:  # no part is spent: those of expired offers stay refundable
            offer.until = 0
        if sponsored:
            amount, left = self.allowed[sponsor, sender]
            self.allowed[sponsor, sender] = (amount, left - 1)
            self.deposits[sponsor] -= sponsored
        self.paid += earned

    @rule(seconds=st.sampled_from([2, 2, 2, 2, MARGIN_S - 2, MARGIN_S, WEEK_S - 2, WEEK_S, WEEK_S + MARGIN_S]))
    def wait(self, seconds: int) -> None:
        for side in (self.pair.a, self.pair.b):
            side.leap(Seconds(side.timestamp + seconds))

    # ------------------------------------------------------------ what always holds
    def balances(self) -> list[int]:
        return [self.side.balance(user.address) for user in USERS]

    @invariant()
    def it_holds_what_it_owes(self) -> None:
        """Its balance is all deposits and all parts that were neither claimed nor given back; ether is conserved."""
        owed = sum(self.deposits) + sum(offer.owed for offer in self.offers.values())
        assert self.side.balance(RELAY_FEES) == owed == self.received - self.paid
        assert self.side.ether() == self.ether

    @invariant()
    def it_offers_what_the_books_say(self) -> None:
        """For the newest messages: what is attached and not expired, and what the sponsor would add to it."""
        for sent in self.sent[-4:]:
            offer = self.offers[sent.message_hash]
            attached = offer.amount if self.now < offer.until else 0
            answer = self.side.call(RELAY_FEES, calldata("offers(bytes32)", sent.message_hash))
            kept = decode(["uint120", "uint64", "uint64", "bool"], answer)
            assert kept == (
                0 if offer.claimed else offer.amount,
                offer.until,
                0 if offer.claimed else offer.gas,
                offer.claimed,
            )
            expected = 0 if offer.claimed else attached + self.sponsored(self.sender_of(sent), attached)[1]
            assert offered(self.side, sent.message_hash, sent.sent.sender)[0] == expected

    def teardown(self) -> None:
        """In the end everybody takes back what is theirs, and the contract is empty."""
        if not hasattr(self, "pair"):
            return
        self.wait(WEEK_S + MARGIN_S)
        for at, sent in enumerate(self.sent):
            for who in list(self.offers[sent.message_hash].parts):
                self.refund(at, who)
        for who, deposit in enumerate(self.deposits):
            self.withdraw(who, deposit)
        for (sponsor, sender), (_, left) in self.allowed.items():
            assert messages_left(self.side, USERS[sponsor].address, USERS[sender].address) == left
        assert self.side.balance(RELAY_FEES) == 0


RelayFees.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRelayFees = RelayFees.TestCase
