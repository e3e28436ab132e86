"""A proposer that leaves out one of its own checks and commits to the result correctly: what it builds is refused by
every other node, with the code of the rule, and never changes their state.

The proposer runs the real builder with one function replaced while it builds; the judge runs the real protocol. So each
case reaches the rule that it is about, and nothing before it fails. Cases that are valid although unusual are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
import rlp
from eth_abi import encode

from plait.execution.bundles import BundleCandidate, DecodedBundle, Deliveries, Trial
from plait.execution.candidate import Candidate
from plait.execution.messages import Ran
from plait.interop.identifiers import Identifier, LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, Log, relay_calldata
from plait.interop.relay_fees import RELAY_FEES
from plait.interop.relays import Relay, relays_of
from plait.limits import MESSAGES_ASKED_PER_SUB_BLOCK_MAX
from plait.native import PENDING, Transaction, decode_transactions, keccak256
from plait.node.relayer import LocalRelayer
from plait.ordering.queues import Ready
from plait.protocol import building, bundles
from plait.protocol.relaying import RelaysRun
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest, ProcessRequest
from plait.types import (
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Hash32,
    Height,
    Leg,
    Milliseconds,
    Pin,
    RollupId,
    Seconds,
    Slot,
    Wei,
)
from sim.bundling import decoded
from sim.wallet import Wallet
from tests.conformance.messages.bundled_rollups import BUNDLERS, PAIRED, RECIPIENTS, SENDERS, BundledRollups

A, B = RollupId(901), RollupId(902)
ALICE, BOB, CAROL = SENDERS[:3]
IDENTIFIER = "(address,uint256,uint256,uint256,uint256)"
Raws = Mapping[RollupId, Sequence[bytes]]


def call(signature: str, *values: object) -> bytes:
    """Calldata of a plain signature."""
    inside = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode(inside.split(",") if inside else [], values)


def one(raw: bytes, rollup_id: RollupId) -> Transaction:
    transaction = decode_transactions([raw], rollup_id)[0]
    assert isinstance(transaction, Transaction), transaction
    return transaction


class Stage:
    """Two rollups with open blocks of one time, a proposer that may be made dishonest, and a judge."""

    def __init__(self, block_time_s: int = 1) -> None:
        world = BundledRollups(7, block_times_slots=(block_time_s, block_time_s))
        self.proposer, self.judge = world.proposer, world.judge
        self.time_ms = world.time_ms
        for _ in range(3):
            self.decide(self.prepare(pause_ms=1_000 * block_time_s))

    def prepare(
        self,
        raws: Raws | None = None,
        offered: Sequence[DecodedBundle] = (),
        *,
        relayer: LocalRelayer | None = None,
        relays: Sequence[Relay] = (),
        pause_ms: int = 250,
    ) -> PreparedProposal:
        """The proposer's next proposal."""
        self.time_ms = Milliseconds(self.time_ms + pause_ms)
        queues: dict[RollupId, list[tuple[Ready, ...]]] = {}
        for rollup_id, listed in (raws or {}).items():
            by_sender: dict[bytes, list[Ready]] = {}
            for raw in listed:
                transaction = one(raw, rollup_id)
                by_sender.setdefault(transaction.sender, []).append(Ready(transaction, self.time_ms))
            queues[rollup_id] = [tuple(queue) for queue in by_sender.values()]
        return self.proposer.prepare(
            PrepareRequest(
                height=Height(self.proposer.info().height + 1),
                time_ms=self.time_ms,
                candidates=queues,
                bundles=[BundleCandidate(bundle, self.time_ms, False, b"payer", 8) for bundle in offered],
                relayer=relayer,
                relays=relays,
            )
        )

    def verdict(self, prepared: PreparedProposal) -> str:
        """What the judge says: "accepted", or the code (with the message's own code behind it)."""
        before = self.judge.info()
        height = Height(before.height + 1)
        verdict = self.judge.process(ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
        assert self.judge.info() == before
        if isinstance(verdict, Accepted):
            return "accepted"
        return " ".join(str(part) for part in (verdict.code, verdict.fields.get("reason")) if part)

    def decide(self, prepared: PreparedProposal) -> None:
        """Both commit an honest proposal."""
        assert self.verdict(prepared) == "accepted"
        for application in (self.proposer, self.judge):
            height = Height(application.info().height + 1)
            application.finalize(FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
            application.commit()

    def nonce(self, rollup_id: RollupId, wallet: Wallet) -> int:
        return self.proposer.rollups[rollup_id].accounts([wallet.address], PENDING)[0][0]

    def position(self, rollup_id: RollupId) -> tuple[int, int, int]:
        """Number, timestamp and logs of the open block."""
        block = self.proposer.rollups[rollup_id].open_block
        assert block is not None
        return block.number, block.timestamp, block.log_count

    def sending(
        self, wallet: Wallet, source: RollupId, destination: RollupId, text: bytes = b"hello", shift: int = 0
    ) -> bytes:
        """A transaction that sends a message."""
        data = call("sendMessage(uint256,address,bytes)", destination, RECIPIENTS[0], text)
        nonce = self.nonce(source, wallet) + shift
        return wallet.sign_1559(source, nonce, to=MESSENGER, data=data, gas_limit=200_000)

    def foreseen(self, source: RollupId, raw: bytes, log_index: int | None = None) -> Relay:
        """The message that a transaction sends when it runs at this log of the open block."""
        number, timestamp, count = self.position(source)
        session = self.proposer.rollups[source].session()
        ((_, topics, data),) = session.run([one(raw, source)]).logs(0)
        (relay,) = relays_of(
            [Log(MESSENGER, [Hash32(topic) for topic in topics], data)],
            first_log_index=LogIndex(count if log_index is None else log_index),
            block_number=BlockNumber(number),
            timestamp=Seconds(timestamp),
            chain_id=MessageChainId(source),
        )
        return relay

    def sent(self, wallet: Wallet = ALICE, source: RollupId = A, destination: RollupId = B) -> Relay:
        """A message of a decided sub-block of the open block."""
        raw = self.sending(wallet, source, destination)
        relay = self.foreseen(source, raw)
        self.decide(self.prepare({source: [raw]}))
        return relay

    def executing(self, wallet: Wallet, rollup_id: RollupId, relay: Relay, shift: int = 0) -> bytes:
        """A transaction that validates a message."""
        at = relay.message.identifier
        identifier = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
        data = keccak256(f"validateMessage({IDENTIFIER},bytes32)".encode())[:4]
        data += encode([IDENTIFIER, "bytes32"], [identifier, relay.message.payload_hash])
        nonce = self.nonce(rollup_id, wallet) + shift
        return wallet.sign_1559(
            rollup_id, nonce, to=CROSS_L2_INBOX, data=data, gas_limit=200_000,
            access_list=[(CROSS_L2_INBOX, relay.keys)],
        )  # fmt: skip

    def relaying(self, wallet: Wallet, relay: Relay) -> bytes:
        """A transaction that delivers a message."""
        destination = RollupId(relay.sent.destination)
        return wallet.sign_1559(
            destination, self.nonce(destination, wallet), to=MESSENGER, data=relay.calldata, gas_limit=400_000,
            access_list=[(CROSS_L2_INBOX, relay.keys)],
        )  # fmt: skip

    def bundle(self, legs: Mapping[RollupId, Sequence[bytes]], **terms: Any) -> DecodedBundle:
        """A bundle for the current slot."""
        slot = self.proposer.ledger.slot
        return decoded(
            Bundle(
                legs=tuple(Leg(rollup_id=i, transactions=tuple(legs[i])) for i in sorted(legs)),
                not_before_slot=Slot(slot),
                deadline_slot=Slot(slot + 5),
                **terms,
            )
        )


@pytest.fixture
def stage() -> Stage:
    return Stage()


# ---------------------------------------------------------------- plain transactions
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder judges no messages of plain transactions and relays."""
    monkeypatch.setattr(building, "refuse_declared", lambda *_: None)
    monkeypatch.setattr(building, "refuse_messages", lambda *_: None)


def moved(relay: Relay, **changes: int) -> Relay:
    """The same content said to be at another position, consistently in event and access list."""
    at: Identifier = msgspec.structs.replace(relay.message.identifier, **changes)
    (changed,) = relays_of(
        [log_of(relay)],
        first_log_index=at.log_index, block_number=at.block_number, timestamp=at.timestamp, chain_id=at.chain_id,
    )  # fmt: skip
    return changed


def log_of(relay: Relay) -> Log:
    """The SentMessage log of a message, from its calldata."""
    payload = relay.calldata[4 + 7 * 32 :]
    size = int.from_bytes(relay.calldata[4 + 6 * 32 : 4 + 7 * 32], "big")
    topics = [Hash32(payload[32 * index : 32 * index + 32]) for index in range(4)]
    assert relay_calldata(relay.message.identifier, payload[:size]) == relay.calldata
    return Log(MESSENGER, topics, payload[128:size])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"log_index": 1}, "message_missing"),
        ({"block_number": -1}, "message_timestamp_wrong|message_missing"),
        ({"block_number": 5}, "message_not_yet"),
        ({"timestamp": -1}, "message_timestamp_wrong"),
        ({"timestamp": 1}, "message_from_future"),
        ({"chain_id": 1}, "message_missing|message_not_yet|message_checksum_wrong"),
        ({"chain_id": 1_000}, "chain_unknown"),
    ],
    ids=str,
)
def test_a_plain_transaction_with_an_invalid_message_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], code: str
) -> None:
    """One field of the identifier is wrong, in the call as in the access list, so that the contract does not notice."""
    relay = stage.sent()
    at = relay.message.identifier
    wrong = moved(relay, **{name: getattr(at, name) + change for name, change in changes.items()})
    raw = stage.executing(BOB, B, wrong)
    honest = stage.prepare({B: [raw]}, pause_ms=0)
    assert honest.transactions == 0
    careless(monkeypatch)
    forged = stage.prepare({B: [raw]}, pause_ms=0)
    assert forged.transactions == 1
    assert stage.verdict(forged) in [f"message_invalid {each}" for each in code.split("|")]
    good = stage.prepare({B: [stage.executing(BOB, B, relay)]}, pause_ms=0)
    assert stage.verdict(good) == "accepted"


def test_a_declared_message_that_nothing_executes_must_be_valid_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer with the access list of a message that does not exist; also hidden behind one that does."""
    relay = stage.sent()
    wrong = moved(relay, log_index=relay.message.identifier.log_index + 7)
    careless(monkeypatch)
    for access_list, code in (
        ([(CROSS_L2_INBOX, wrong.keys)], "message_invalid message_missing"),
        (
            [(CROSS_L2_INBOX, relay.keys), (bytes(20), []), (CROSS_L2_INBOX, wrong.keys)],
            "message_invalid message_missing",
        ),
        ([(CROSS_L2_INBOX, relay.keys[:1])], "message_invalid access_list_incomplete"),
        ([(CROSS_L2_INBOX, relay.keys[1:])], "message_invalid access_list_key_type"),
        ([(CROSS_L2_INBOX, relay.keys), (CROSS_L2_INBOX, relay.keys)], "accepted"),
    ):
        raw = BOB.sign_1559(
            B, stage.nonce(B, BOB), to=RECIPIENTS[1], value=1, gas_limit=100_000, access_list=access_list
        )
        forged = stage.prepare({B: [raw]}, pause_ms=0)
        assert forged.transactions == 1
        assert stage.verdict(forged) == code, access_list


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        ((True, True), "accepted"),
        ((True, False), "accepted"),
        ((False, True), "accepted"),
        ((False, False), "message_invalid message_cycle"),
    ],
)
def test_plain_transactions_that_justify_each_other_are_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, first: tuple[bool, bool], verdict: str
) -> None:
    """Two rollups execute each other's log of the same sub-block; fine when at least one emits before it executes."""
    careless(monkeypatch)
    pair = (A, B)
    sent = []
    for side, emits_first in enumerate(first):
        raw = stage.sending(ALICE, pair[side], pair[1 - side])
        sent.append(stage.foreseen(pair[side], raw, stage.position(pair[side])[2] + (0 if emits_first else 1)))
    raws: dict[RollupId, list[bytes]] = {}
    for side, emits_first in enumerate(first):
        sending = stage.sending(ALICE, pair[side], pair[1 - side], shift=0 if emits_first else 1)
        executing = stage.executing(ALICE, pair[side], sent[1 - side], shift=1 if emits_first else 0)
        raws[pair[side]] = [sending, executing] if emits_first else [executing, sending]
    forged = stage.prepare(raws)
    assert forged.transactions == 4
    assert stage.verdict(forged) == verdict


def test_a_plain_demand_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """requireDelivery outside of bundles, also of a message that the same transaction's sender relays by itself."""
    relay = stage.sent()
    raw = ALICE.sign_1559(
        A, stage.nonce(A, ALICE), to=RELAY_FEES, data=call("requireDelivery(bytes32)", relay.message_hash),
        gas_limit=100_000,
    )  # fmt: skip
    honest = stage.prepare({A: [raw]}, pause_ms=0)
    assert [dropped.code for dropped in honest.dropped] == ["delivery_required"]
    monkeypatch.setattr(building, "demanded_by", lambda ran: set())
    forged = stage.prepare({A: [raw], B: [stage.relaying(BOB, relay)]}, pause_ms=0)
    assert forged.transactions == 2
    assert stage.verdict(forged) == "delivery_required"


# ---------------------------------------------------------------- relays
def relayed(monkeypatch: pytest.MonkeyPatch, raws: Raws) -> None:
    """The builder's relays are these transactions, whatever they are."""

    def build_relays(candidate: Candidate, *_: object, **__: object) -> RelaysRun:
        ran: dict[RollupId, list[Ran]] = {}
        for rollup_id, listed in raws.items():
            for raw in listed:
                transactions = [one(raw, rollup_id)]
                outcomes = candidate.session(rollup_id).run(transactions)
                assert outcomes.statuses[0] != 2, outcomes.failure(0)
                ran.setdefault(rollup_id, []).append(Ran(transactions, outcomes))
        return RelaysRun(ran, [])

    monkeypatch.setattr(building, "build_relays", build_relays)
    careless(monkeypatch)


RELAYER = LocalRelayer.of_development(policy="free")

SMUGGLED: dict[str, Callable[[Stage, Relay], bytes]] = {
    "a transfer": lambda stage, relay: BOB.sign_1559(B, stage.nonce(B, BOB), to=RECIPIENTS[2], value=5),
    "a transfer that declares a message": lambda stage, relay: BOB.sign_1559(
        B, stage.nonce(B, BOB), to=RECIPIENTS[2], value=5, gas_limit=100_000,
        access_list=[(CROSS_L2_INBOX, relay.keys)],
    ),
    "a message sent, without keys": lambda stage, relay: BOB.sign_1559(
        B, stage.nonce(B, BOB), to=MESSENGER, gas_limit=200_000, access_list=[(CROSS_L2_INBOX, [])],
        data=call("sendMessage(uint256,address,bytes)", A, RECIPIENTS[0], b"smuggled"),
    ),
    "a message sent, with a valid declaration": lambda stage, relay: BOB.sign_1559(
        B, stage.nonce(B, BOB), to=MESSENGER, gas_limit=200_000, access_list=[(CROSS_L2_INBOX, relay.keys)],
        data=call("sendMessage(uint256,address,bytes)", A, RECIPIENTS[0], b"smuggled"),
    ),
    "a deposit for a sponsor": lambda stage, relay: BOB.sign_1559(
        B, stage.nonce(B, BOB), to=RELAY_FEES, gas_limit=200_000, value=7,
        access_list=[(CROSS_L2_INBOX, relay.keys)], data=call("depositFor(address)", BOB.address.hex()),
    ),
    "a validation only": lambda stage, relay: stage.executing(BOB, B, relay),
    "a delivery that fails": lambda stage, relay: BOB.sign_1559(
        B, stage.nonce(B, BOB), to=MESSENGER, gas_limit=400_000, access_list=[(CROSS_L2_INBOX, relay.keys)],
        data=relay.calldata[:-1] + b"\1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
def test_only_deliveries_and_claims_stand_among_the_relays(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is not a delivery or a claim belongs to the plain transactions, where a policy orders it."""
    relay = stage.sent()
    relayed(monkeypatch, {B: [SMUGGLED[name](stage, relay)]})
    forged = stage.prepare(relayer=RELAYER, relays=[relay])
    assert forged.transactions == 1
    assert stage.verdict(forged) == "relay_invalid"


def test_anybodys_delivery_may_stand_among_the_relays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be the proposer's own relayer that signs it."""
    relay = stage.sent()
    relayed(monkeypatch, {B: [stage.relaying(BOB, relay)]})
    forged = stage.prepare(relayer=RELAYER, relays=[relay])
    assert forged.transactions == 1
    assert stage.verdict(forged) == "accepted"


def test_a_relay_with_authorizations_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIP-7702 would change the nonces and the code of others outside of the ordering policy."""
    eth_account = pytest.importorskip("eth_account")
    relay = stage.sent()
    account = eth_account.Account.create()
    authorized = eth_account.Account.create().sign_authorization(
        {"chainId": B, "address": "0x" + "11" * 20, "nonce": 0}
    )
    fund = ALICE.sign_1559(B, stage.nonce(B, ALICE), to=bytes.fromhex(account.address[2:]), value=10**18)
    stage.decide(stage.prepare({B: [fund]}))
    raw = account.sign_transaction(
        {
            "type": 4, "chainId": B, "nonce": 0, "gas": 500_000, "maxFeePerGas": 2 * 10**9,
            "maxPriorityFeePerGas": 0, "to": "0x" + MESSENGER.hex(), "value": 0, "data": "0x" + relay.calldata.hex(),
            "accessList": [
                {"address": "0x" + CROSS_L2_INBOX.hex(), "storageKeys": ["0x" + key.hex() for key in relay.keys]}
            ],
            "authorizationList": [authorized],
        }
    ).raw_transaction  # fmt: skip
    relayed(monkeypatch, {B: [bytes(raw)]})
    forged = stage.prepare(relayer=RELAYER, relays=[relay])
    assert forged.transactions == 1
    assert stage.verdict(forged) == "relay_invalid"


def test_a_relay_of_an_invalid_message_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The messenger delivers whatever its access list allows; that the log exists is for nodes to see."""
    relay = moved(stage.sent(), log_index=9)
    relayed(monkeypatch, {B: [stage.relaying(BOB, relay)]})
    forged = stage.prepare(relayer=RELAYER, relays=[relay])
    assert forged.transactions == 1
    assert stage.verdict(forged) == "message_invalid message_missing"


# ---------------------------------------------------------------- bundles
def heedless(monkeypatch: pytest.MonkeyPatch, *codes: str) -> None:
    """The builder takes bundles whose trial fails with one of these codes, as far as they ran."""
    real = bundles.try_bundle

    def try_bundle(candidate: Candidate, bundle: DecodedBundle, *rest: Any, **options: Any) -> Trial:
        kept: list[dict[RollupId, int]] = []
        with monkeypatch.context() as inside:
            inside.setattr(Candidate, "rollback", lambda self, marks: kept.append(dict(marks)))
            trial = real(candidate, bundle, *rest, **options)
        if trial.failure is not None and trial.failure.code not in codes:
            candidate.rollback(kept[-1])
            return trial
        return trial._replace(failure=None)

    monkeypatch.setattr(bundles, "try_bundle", try_bundle)


def test_a_bundle_with_a_reverted_leg_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a bundle, committed to correctly."""
    good = ALICE.sign_1559(A, stage.nonce(A, ALICE), to=RECIPIENTS[0], value=1)
    bad = BOB.sign_1559(B, stage.nonce(B, BOB), data=bytes.fromhex("60006000fd"), gas_limit=100_000)
    offered = [stage.bundle({A: [good], B: [bad]})]
    assert stage.prepare(offered=offered, pause_ms=0).transactions == 0
    with monkeypatch.context() as inside:
        heedless(inside, "bundle_leg_failed")
        forged = stage.prepare(offered=offered, pause_ms=0)
    assert forged.transactions == 2
    assert stage.verdict(forged) == "bundle_leg_failed reverted"


def test_bundles_whose_terms_do_not_hold_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins, conditions and bids are re-checked by everyone."""
    number, _, logs = stage.position(A)
    poor = Condition(
        rollup_id=B, kind=ConditionKind.BALANCE, address=RECIPIENTS[0], input=b"",
        comparison=Comparison.GREATER, value=10**30,
    )  # fmt: skip
    cases: dict[str, dict[str, Any]] = {
        "bundle_pin_missed": {"pins": (Pin(rollup_id=A, block_number=BlockNumber(number), log_index=logs + 1),)},
        "bundle_condition_false": {"conditions": (poor,)},
        "bundle_bid_unpaid": {"fee_bid": FeeBid(rollup_id=B, amount=Wei(10**15))},
    }
    for code, terms in cases.items():
        raw = ALICE.sign_1559(A, stage.nonce(A, ALICE), to=RECIPIENTS[0], value=1)
        offered = [stage.bundle({A: [raw]}, **terms)]
        assert [failed.code for failed in stage.prepare(offered=offered, pause_ms=0).bundles_failed] == [code]
        with monkeypatch.context() as inside:
            heedless(inside, code)
            if code != "bundle_bid_unpaid":  # pins and conditions fail before the legs run
                inside.setattr("plait.execution.bundles._missed_pin", lambda candidate, pins: None)
                inside.setattr("plait.execution.bundles._false_condition", lambda candidate, conditions: None)
            forged = stage.prepare(offered=offered, pause_ms=0)
        assert forged.transactions == 1
        assert stage.verdict(forged) == code


def test_a_bundle_with_an_invalid_message_is_refused_even_if_it_becomes_valid_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle's messages have to exist when the bundle ends, not when its sub-block ends."""
    sending = stage.sending(CAROL, A, B)
    relay = stage.foreseen(A, sending)
    offered = [stage.bundle({B: [stage.executing(ALICE, B, relay)]})]
    with monkeypatch.context() as inside:
        heedless(inside, "bundle_message_invalid")
        forged = stage.prepare({A: [sending]}, offered)
    assert forged.transactions == 2
    assert stage.verdict(forged) == "bundle_message_invalid message_missing"


def test_a_bundle_that_owes_deliveries_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its terms or by its message; also when a plain transaction or a relay delivers it later."""
    sending = stage.sending(ALICE, A, B)
    relay = stage.foreseen(A, sending)
    demand = ALICE.sign_1559(
        A, stage.nonce(A, ALICE) + 1, to=RELAY_FEES, data=call("requireDelivery(bytes32)", relay.message_hash),
        gas_limit=100_000,
    )  # fmt: skip
    for offered in (
        [stage.bundle({A: [sending]}, delivery_required=True)],
        [stage.bundle({A: [sending, demand]})],
        [stage.bundle({A: [demand_of_nothing(stage)]})],
    ):
        assert [one.code for one in stage.prepare(offered=offered, pause_ms=0).bundles_failed] == [
            "bundle_delivery_failed"
        ]
        with monkeypatch.context() as inside:
            heedless(inside, "bundle_delivery_failed")
            careless(inside)
            forged = stage.prepare({B: [stage.relaying(BOB, relay)]}, offered, pause_ms=0)
        assert forged.transactions >= 2
        assert stage.verdict(forged).startswith("bundle_delivery_failed")
    for offered in (
        [stage.bundle({A: [sending]}, delivery_required=True)],
        [stage.bundle({A: [sending, demand]})],
    ):
        good = stage.prepare(offered=offered, relayer=RELAYER, pause_ms=0)
        assert good.transactions == 1 + len(offered[0].legs[0])
        assert stage.verdict(good) == "accepted"


def demand_of_nothing(stage: Stage) -> bytes:
    """requireDelivery of a hash that no message has."""
    return ALICE.sign_1559(
        A, stage.nonce(A, ALICE), to=RELAY_FEES, data=call("requireDelivery(bytes32)", b"\7" * 32), gas_limit=100_000
    )


def delivering(monkeypatch: pytest.MonkeyPatch, raws: Raws) -> None:
    """The builder's deliveries of every bundle are these transactions, and it does not judge them."""

    def deliver(candidate: Candidate, marks: dict[RollupId, int], wanted: object) -> Deliveries:
        found: dict[RollupId, list[Ran]] = {}
        for rollup_id, listed in raws.items():
            session = candidate.session(rollup_id)
            marks.setdefault(rollup_id, session.checkpoint())
            transactions = [one(raw, rollup_id) for raw in listed]
            outcomes = session.run(transactions)
            assert 2 not in outcomes.statuses, outcomes.failure(0)
            found[rollup_id] = [Ran(transactions, outcomes)]
        return Deliveries(found, None, 0)

    monkeypatch.setattr(building, "deliver_by", lambda relayer, sets: deliver)
    monkeypatch.setattr("plait.execution.bundles._idle_delivery", lambda found, sent: None)
    monkeypatch.setattr("plait.execution.bundles._missing_delivery", lambda *_, **__: None)


FOREIGN: dict[str, Callable[[Stage, Relay, Relay], list[bytes]]] = {
    "a transfer beside the delivery": lambda stage, mine, older: [
        stage.relaying(BOB, mine),
        CAROL.sign_1559(B, stage.nonce(B, CAROL), to=RECIPIENTS[1], value=1),
    ],
    "a transfer instead of the delivery": lambda stage, mine, older: [
        CAROL.sign_1559(B, stage.nonce(B, CAROL), to=RECIPIENTS[1], value=1)
    ],
    "the delivery of an older message beside it": lambda stage, mine, older: [
        stage.relaying(BOB, mine),
        stage.relaying(CAROL, older),
    ],
    "a message sent beside it": lambda stage, mine, older: [
        stage.relaying(BOB, mine),
        stage.sending(CAROL, B, A),
    ],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_deliveries_of_a_bundle_deliver_its_messages_and_nothing_else_travels_with_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also when the bundle's own message is delivered as it should be."""
    older = stage.sent(CAROL)
    sending = stage.sending(ALICE, A, B)
    mine = stage.foreseen(A, sending)
    offered = [stage.bundle({A: [sending]}, delivery_required=True)]
    with monkeypatch.context() as inside:
        delivering(inside, {B: FOREIGN[name](stage, mine, older)})
        forged = stage.prepare(offered=offered, relayer=RELAYER)
    assert forged.transactions >= 2
    assert stage.verdict(forged) == "bundle_delivery_failed"


def test_a_bundle_without_messages_has_no_deliveries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise transactions would stand in a proposal that nobody executes."""
    older = stage.sent(CAROL)
    transfer = ALICE.sign_1559(A, stage.nonce(A, ALICE), to=RECIPIENTS[0], value=1)
    offered = [stage.bundle({A: [transfer]})]
    with monkeypatch.context() as inside:
        delivering(inside, {B: [stage.relaying(BOB, older)]})
        inside.setattr("plait.execution.bundles.touch_messages", lambda sets, ran: True)
        forged = stage.prepare(offered=offered, relayer=RELAYER)
    assert forged.transactions == 2
    assert stage.verdict(forged) == "bundle_delivery_failed"


def test_a_message_older_than_its_window_is_not_relayed() -> None:
    """A message that waits while the clock jumps beyond seven days is left alone: what a node prepares, it accepts."""
    stage = Stage(block_time_s=60)
    relay = stage.sent()
    prepared = stage.prepare(relayer=RELAYER, relays=[relay], pause_ms=604_900_000)
    while not prepared.relays_refused and not prepared.transactions:  # sub-blocks that catch up carry nothing
        stage.decide(prepared)
        prepared = stage.prepare(relayer=RELAYER, relays=[relay])
    assert stage.verdict(prepared) == "accepted"
    assert prepared.transactions == 0


def test_demands_that_show_one_after_the_other_do_not_keep_others_out(stage: Stage) -> None:
    """A contract demands a delivery for its first caller of a block only: taking one caller out makes the next one
    demand. However many callers there are, they cost nothing, so the transactions of others have to go in."""
    target = bytes.fromhex("73" + RELAY_FEES.hex())
    selector = keccak256(b"requireDelivery(bytes32)")[:4].ljust(32, b"\0")
    runtime = bytes.fromhex("43541560075700" + "5b6001435560") + b"\0" + bytes.fromhex("50")
    runtime += (
        b"\x7f" + selector + bytes.fromhex("6000526000600060246000") + b"\x60\0" + target + bytes.fromhex("5af100")
    )
    creation = b"\x60" + bytes([len(runtime)]) + bytes.fromhex("8060095f395ff3") + runtime
    deploy = CAROL.sign_1559(A, stage.nonce(A, CAROL), data=creation, gas_limit=500_000)
    address = keccak256(rlp.encode([CAROL.address, stage.nonce(A, CAROL)]))[12:]
    stage.decide(stage.prepare({A: [deploy]}))
    stage.decide(stage.prepare(pause_ms=1_000))
    callers = [*SENDERS, *BUNDLERS]
    raws = [
        wallet.sign_1559(A, stage.nonce(A, wallet), to=address, gas_limit=200_000, max_priority_fee_per_gas=10**8)
        for wallet in callers
    ]
    transfers = {i: PAIRED[0].sign_1559(i, stage.nonce(i, PAIRED[0]), to=RECIPIENTS[0], value=1) for i in (A, B)}
    prepared = stage.prepare({A: [*raws, transfers[A]], B: [transfers[B]]})
    assert stage.verdict(prepared) == "accepted"
    dropped = {bytes(each.hash) for each in prepared.dropped}
    assert dropped & {keccak256(raw) for raw in raws}, "the contract demanded nothing"
    assert prepared.transactions >= 2, "nobody's transaction went in"


def test_declarations_that_never_come_true_are_asked_after_once_and_within_a_bound(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of transactions that declare many good messages and at last one that a sealed block does not have: few
    logs are looked up per sub-block, all of the flood is dropped in the end, and the transfers of others go in."""
    relay = stage.sent()
    stage.decide(stage.prepare(pause_ms=1_000))
    wrong = moved(relay, log_index=77)
    keys = [*relay.keys * 62, *wrong.keys]
    flood = [
        wallet.sign_1559(B, 0, to=RECIPIENTS[0], gas_limit=300_000, access_list=[(CROSS_L2_INBOX, keys)])
        for wallet in (Wallet.of_index(index, "flood") for index in range(100))
    ]
    asked: list[object] = []
    real = building.lookup_of
    monkeypatch.setattr(
        building, "lookup_of", lambda candidate: lambda *at: (asked.append(at), real(candidate)(*at))[1]
    )
    waiting = {keccak256(raw): raw for raw in flood}
    for _ in range(4):
        asked.clear()
        transfer = ALICE.sign_1559(B, stage.nonce(B, ALICE), to=RECIPIENTS[0], value=1)
        prepared = stage.prepare({B: [transfer, *waiting.values()]})
        assert len(asked) <= 2 * MESSAGES_ASKED_PER_SUB_BLOCK_MAX
        assert prepared.transactions == 1
        for dropped in prepared.dropped:
            assert dropped.code == "message_missing"
            del waiting[bytes(dropped.hash)]
        stage.decide(prepared)
    assert not waiting


def test_many_messages_and_strange_chains_do_not_stop_a_builder(stage: Stage) -> None:
    """Far too many messages, and a future one before one of a chain that nobody knows: dropped, or left to wait."""
    relay = stage.sent()
    at = relay.message.identifier
    future, strange = moved(relay, timestamp=at.timestamp + 90), moved(relay, chain_id=77)
    awaited = moved(relay, log_index=at.log_index + 9)
    for wallet, keys, code in (
        (ALICE, [*relay.keys * 300], "message_too_many"),
        (BOB, [*future.keys, *strange.keys], None),
        (CAROL, [*awaited.keys, *strange.keys], "chain_unknown"),
    ):
        raw = wallet.sign_1559(
            B, stage.nonce(B, wallet), to=RECIPIENTS[0], gas_limit=2_000_000, access_list=[(CROSS_L2_INBOX, keys)]
        )
        prepared = stage.prepare({B: [raw]}, pause_ms=0)
        assert prepared.transactions == 0
        assert [dropped.code for dropped in prepared.dropped] == ([code] if code else [])
