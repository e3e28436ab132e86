"""A bundle over a rollup whose state another node holds and one whose state is here takes place on both or on neither,
whatever the node does: it answers, refuses, lies or leaves something out, in every order.

Asked of every proposal, with nothing of the code that made it so:
    whole      of a bundle's transactions either all are in the proposal's items or none is, on both rollups
    judged     a node that holds all of the state accepts the proposal and comes to the same app hash
    known      once the blocks' own bookkeeping was read, the next slot can be prepared although the node is gone: what
               was decided never needs, for sealing or for opening, what is not known here
    waits      once the node is back, everything that still can take place does

Hypothesis prints a failing example; it is run again with the printed decorator.
"""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.execution.bundles import BundleCandidate, DecodedBundle, try_bundle
from plait.execution.candidate import Candidate
from plait.native import NativeError, Rollup, Store, Transaction, decode_transactions
from plait.native.unread import UNREAD_CODES, is_unread
from plait.node.reading import read_openings
from plait.ordering.queues import SenderQueue
from plait.protocol.application import Application
from plait.protocol.grid import block_timestamp_s
from plait.protocol.proposal import decode_proposal
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest, ProcessRequest
from plait.types import (
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    Height,
    Leg,
    Milliseconds,
    RollupId,
    Slot,
)
from sim.bundling import decoded
from sim.remote import KEEPER, LOCAL, MOODS, REMOTE, SLOTS, STRANGERS, Mood, network_with_state, remote_rollup
from sim.situation import queues
from sim.wallet import Wallet

USERS = [Wallet.of_index(index, "remote failures") for index in range(6)]
NETWORK = network_with_state([user.address for user in USERS])
Moods = tuple[list[Mood], Mood]
moods = st.tuples(st.lists(st.sampled_from(MOODS), max_size=12), st.sampled_from(MOODS))


class Pair:
    """A proposer that reads the first rollup's state, and a judge that holds it."""

    def __init__(self, *, gives_nodes: bool) -> None:
        remote, self.node = remote_rollup(NETWORK, gives_nodes=gives_nodes)
        local = {LOCAL: _from_genesis(LOCAL)}
        self.proposer = Application(NETWORK.ledger, {REMOTE: remote, **local}, NETWORK.source)
        self.judge = NETWORK.application()
        self.time_ms = Milliseconds(NETWORK.ledger.time_ms)
        self.slot = Slot(0)
        self.decide(self.next_slot())
        record = self.proposer.ledger.rollups[0]
        blocks = [
            (n, block_timestamp_s(NETWORK.ledger.parameters, record.parameters, BlockNumber(n))) for n in range(1, 64)
        ]
        read_openings(remote, blocks)

    def next_slot(self) -> PreparedProposal:
        """The first sub-block of the next slot, without items."""
        self.slot = Slot(self.slot + 1)
        self.time_ms = Milliseconds(NETWORK.ledger.time_ms + self.slot * 1_000)
        return self.prepare()

    def prepare(
        self,
        bundles: Sequence[DecodedBundle] = (),
        candidates: dict[RollupId, list[SenderQueue]] | None = None,
    ) -> PreparedProposal:
        offered = [
            BundleCandidate(bundle, self.time_ms, retried=False, payer=bytes([place]), credit=100)
            for place, bundle in enumerate(bundles)
        ]
        return self.proposer.prepare(
            PrepareRequest(
                height=Height(self.proposer.info().height + 1),
                time_ms=self.time_ms,
                candidates=candidates or {},
                bundles=offered,
            )
        )

    def decide(self, prepared: PreparedProposal) -> None:
        """Judges and decides on both; the app hashes are equal."""
        height = Height(self.judge.info().height + 1)
        asked = ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        assert self.judge.process(asked) == Accepted(proposal_hash=prepared.proposal_hash)
        decided = FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        hashes = {application.finalize(decided).app_hash for application in (self.proposer, self.judge)}
        assert len(hashes) == 1
        for application in (self.proposer, self.judge):
            application.commit()


def _from_genesis(rollup_id: RollupId) -> Rollup:
    return Rollup.from_genesis(NETWORK.genesis[rollup_id], Store.in_memory())


def keep(user: int, nonce: int, slot: int, value: int) -> bytes:
    data = slot.to_bytes(32, "big") + value.to_bytes(32, "big")
    return USERS[user].sign_1559(REMOTE, nonce, to=KEEPER, data=data, gas_limit=100_000)


def pay(rollup_id: RollupId, user: int, nonce: int, to: int) -> bytes:
    return USERS[user].sign_1559(rollup_id, nonce, to=STRANGERS[to % len(STRANGERS)], value=1)


def bundle_of(user: int, slots: Sequence[tuple[int, int]], to: int) -> DecodedBundle:
    """Writes and deletes slots of the keeper, and pays strangers on both rollups."""
    remote = [keep(user, nonce, slot, value) for nonce, (slot, value) in enumerate(slots)]
    remote.append(pay(REMOTE, user, len(slots), to))
    legs = (
        Leg(rollup_id=REMOTE, transactions=tuple(remote)),
        Leg(rollup_id=LOCAL, transactions=(pay(LOCAL, user, 0, to), pay(LOCAL, user, 1, to))),
    )
    return decoded(Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(40)))


def in_proposal(proposal: bytes) -> set[bytes]:
    """Every transaction of a proposal's items, as raw bytes, found by looking for them."""
    return {item for _, items in decode_proposal(proposal).blocks for item in items}


def placed(prepared: PreparedProposal, bundle: DecodedBundle) -> list[bool]:
    """For each transaction of a bundle whether its bytes are in the proposal."""
    items = in_proposal(prepared.proposal)
    return [any(one.raw in item for item in items) for leg in bundle.legs for one in leg]


writes = st.lists(st.tuples(st.integers(0, SLOTS + 4), st.sampled_from((0, 0, 0, 7))), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    patterns=st.lists(moods, min_size=1, max_size=3),
    parts=st.lists(st.tuples(writes, st.integers(0, 119)), min_size=1, max_size=3),
    plain=st.lists(st.tuples(st.integers(0, SLOTS), st.sampled_from((0, 5)), st.integers(0, 119)), max_size=4),
    gives_nodes=st.booleans(),
)
def test_a_bundle_over_a_remote_and_a_local_rollup_is_whole_under_every_pattern_of_failures(
    patterns: list[Moods],
    parts: list[tuple[list[tuple[int, int]], int]],
    plain: list[tuple[int, int, int]],
    gives_nodes: bool,
) -> None:
    pair = Pair(gives_nodes=gives_nodes)
    waiting = [bundle_of(user, slots, to) for user, (slots, to) in enumerate(parts)]
    raws = {
        REMOTE: [[keep(4, nonce, slot, value)] if not nonce else [pay(REMOTE, 5, nonce - 1, to)]
                 for nonce, (slot, value, to) in enumerate(plain)],
        LOCAL: [[pay(LOCAL, 4, 0, 1)]],
    }  # fmt: skip
    remote_plain = [raw for queue in raws[REMOTE] for raw in queue]
    for pattern, then in [*patterns, ([], "ok")]:
        pair.node.moods, pair.node.then = list(pattern), then
        pair.time_ms = Milliseconds(pair.time_ms + 10)
        left = [raw for raw in remote_plain if not _is_decided(pair.proposer, REMOTE, raw)]
        by_sender: dict[bytes, list[bytes]] = {}
        for raw in left:
            by_sender.setdefault(_transaction(REMOTE, raw).sender, []).append(raw)
        candidates: dict[RollupId, list[SenderQueue]] = {}
        if by_sender:
            candidates[REMOTE] = queues(REMOTE, list(by_sender.values()), pair.time_ms - 100)
        if not _is_decided(pair.proposer, LOCAL, raws[LOCAL][0][0]):
            candidates[LOCAL] = queues(LOCAL, raws[LOCAL], pair.time_ms - 100)
        prepared = pair.prepare(waiting, candidates)
        for bundle in waiting:
            assert len(set(placed(prepared, bundle))) == 1, f"moods {pair.node.answers}"
        for failed in prepared.bundles_failed:
            assert failed.code in UNREAD_CODES, failed
            assert not failed.charged
        pair.decide(prepared)
        waiting = [bundle for bundle in waiting if not all(placed(prepared, bundle))]
        # The node is gone: sealing, and opening the next block, need nothing that is not known.
        pair.node.moods, pair.node.then = [], "refuse"
        pair.decide(pair.next_slot())
        assert _is_decided(pair.proposer, LOCAL, raws[LOCAL][0][0]), "no local transaction waits for a remote rollup"
    if gives_nodes:
        assert not waiting, "with the node back every bundle takes place"
        assert all(_is_decided(pair.proposer, REMOTE, raw) for raw in remote_plain)


def _transaction(rollup_id: RollupId, raw: bytes) -> Transaction:
    (transaction,) = decode_transactions([raw], rollup_id)
    assert isinstance(transaction, Transaction)
    return transaction


def _is_decided(application: Application, rollup_id: RollupId, raw: bytes) -> bool:
    return application.rollups[rollup_id].transaction_location(_transaction(rollup_id, raw).hash) is not None


def test_a_block_that_cannot_be_opened_keeps_nothing_half_done_and_is_opened_when_the_node_is_back() -> None:
    remote, node = remote_rollup(NETWORK)
    proposer = Application(NETWORK.ledger, {REMOTE: remote, LOCAL: _from_genesis(LOCAL)}, NETWORK.source)
    time_ms = Milliseconds(NETWORK.ledger.time_ms + 1_000)
    request = PrepareRequest(height=Height(1), time_ms=time_ms, candidates={})
    for mood in ("refuse", "lie", "cut"):
        node.moods, node.then = [], mood
        with pytest.raises(NativeError) as caught:
            proposer.prepare(request)
        assert is_unread(caught.value), mood
        assert proposer.info().height == 0
    node.then = "ok"
    prepared = proposer.prepare(request)
    asked = ProcessRequest(height=Height(1), time_ms=time_ms, proposal=prepared.proposal)
    verdict = NETWORK.application().process(asked)
    assert isinstance(verdict, Accepted)


def test_an_unreadable_condition_is_no_false_one() -> None:
    """Reading one that cannot be read must not charge anybody, nor differ from what a judge finds."""
    pair = Pair(gives_nodes=True)
    made = bundle_of(0, [(3, 1)], 5)
    condition = Condition(
        rollup_id=REMOTE,
        kind=ConditionKind.STORAGE,
        address=KEEPER,
        input=(70).to_bytes(32, "big"),
        comparison=Comparison.EQUAL,
        value=71,
    )
    legs = tuple(
        Leg(rollup_id=leg.rollup_id, transactions=tuple(one.raw for one in transactions))
        for leg, transactions in zip(made.terms.legs, made.legs, strict=True)
    )
    asked = decoded(Bundle(legs=legs, conditions=(condition,), not_before_slot=Slot(0), deadline_slot=Slot(40)))
    pair.node.then = "refuse"
    candidate = Candidate.over(pair.proposer.rollups)
    with pytest.raises(NativeError) as caught:
        try_bundle(candidate, asked, {})
    assert is_unread(caught.value)
    pair.node.then = "ok"
    assert try_bundle(candidate, asked, {}).failure is None


def test_failing_nodes_fail() -> None:
    """The moods do what they say."""
    _, node = remote_rollup(NETWORK)
    account = [(bytes(KEEPER), [(1).to_bytes(32, "big")])]
    good, _, _ = node.read(0, b"", account, [(bytes(KEEPER), b"")], [], None)
    node.moods = ["lie", "cut", "refuse"]
    bad, codes, _ = node.read(0, b"", account, [(bytes(KEEPER), b"")], [], None)
    assert len(bad) == len(good)
    assert not set(bad) & set(good)
    assert codes[0].endswith(b"\0")
    assert node.read(0, b"", account, [], [], None)[0] == good[:-1]
    with pytest.raises(ConnectionError):
        node.read(0, b"", account, [], [], None)
