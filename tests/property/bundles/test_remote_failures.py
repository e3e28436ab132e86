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
from plait.patience import until_read
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
NETWORKS = {one: network_with_state([user.address for user in USERS], one) for one in (REMOTE, LOCAL)}
"""Which rollup is remote: legs run in the order of their rollups, so it makes a difference."""
NETWORK = NETWORKS[REMOTE]
Moods = tuple[list[Mood], Mood]
moods = st.tuples(st.lists(st.sampled_from(MOODS), max_size=12), st.sampled_from(MOODS))


class Pair:
    """A proposer that reads one rollup's state, and a judge that holds it."""

    def __init__(self, remote_id: RollupId = REMOTE, *, gives_nodes: bool) -> None:
        self.network = network = NETWORKS[remote_id]
        self.remote_id, self.local_id = remote_id, LOCAL if remote_id == REMOTE else REMOTE
        remote, self.node = remote_rollup(network, remote_id, gives_nodes=gives_nodes)
        local = Rollup.from_genesis(network.genesis[self.local_id], Store.in_memory())
        self.proposer = Application(network.ledger, {remote_id: remote, self.local_id: local}, network.source)
        self.judge = network.application()
        self.time_ms = Milliseconds(network.ledger.time_ms)
        self.slot = Slot(0)
        self.decide(self.next_slot())
        (record,) = [one for one in self.proposer.ledger.rollups if one.rollup_id == remote_id]
        blocks = [
            (n, block_timestamp_s(network.ledger.parameters, record.parameters, BlockNumber(n))) for n in range(1, 64)
        ]
        read_openings(remote, blocks)

    def next_slot(self) -> PreparedProposal:
        """The first sub-block of the next slot, without items."""
        self.slot = Slot(self.slot + 1)
        self.time_ms = Milliseconds(self.network.ledger.time_ms + self.slot * 1_000)
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


def keep(remote: RollupId, user: int, nonce: int, slot: int, value: int) -> bytes:
    data = slot.to_bytes(32, "big") + value.to_bytes(32, "big")
    return USERS[user].sign_1559(remote, nonce, to=KEEPER, data=data, gas_limit=100_000)


def pay(rollup_id: RollupId, user: int, nonce: int, to: int) -> bytes:
    return USERS[user].sign_1559(rollup_id, nonce, to=STRANGERS[to % len(STRANGERS)], value=1)


def bundle_of(
    pair: Pair, user: int, slots: Sequence[tuple[int, int]], to: int, conditions: tuple[Condition, ...] = ()
) -> DecodedBundle:
    """Writes and deletes slots of the keeper, and pays strangers on both rollups."""
    remote, local = pair.remote_id, pair.local_id
    writes = [keep(remote, user, nonce, slot, value) for nonce, (slot, value) in enumerate(slots)]
    legs = [
        Leg(rollup_id=remote, transactions=(*writes, pay(remote, user, len(slots), to))),
        Leg(rollup_id=local, transactions=(pay(local, user, 0, to), pay(local, user, 1, to))),
    ]
    ordered = tuple(sorted(legs, key=lambda leg: leg.rollup_id))
    return decoded(Bundle(legs=ordered, conditions=conditions, not_before_slot=Slot(0), deadline_slot=Slot(40)))


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
    remote=st.sampled_from((REMOTE, LOCAL)),
)
def test_a_bundle_over_a_remote_and_a_local_rollup_is_whole_under_every_pattern_of_failures(
    patterns: list[Moods],
    parts: list[tuple[list[tuple[int, int]], int]],
    plain: list[tuple[int, int, int]],
    gives_nodes: bool,
    remote: RollupId,
) -> None:
    pair = Pair(remote, gives_nodes=gives_nodes)
    local = pair.local_id
    waiting = [bundle_of(pair, user, slots, to) for user, (slots, to) in enumerate(parts)]
    remote_plain = [
        keep(remote, 4, 0, slot, value) if not nonce else pay(remote, 5, nonce - 1, to)
        for nonce, (slot, value, to) in enumerate(plain)
    ]
    local_plain = pay(local, 4, 0, 1)
    for pattern, then in [*patterns, ([], "ok")]:
        pair.node.moods, pair.node.then = list(pattern), then
        pair.time_ms = Milliseconds(pair.time_ms + 10)
        by_sender: dict[bytes, list[bytes]] = {}
        for raw in remote_plain:
            if not _is_decided(pair.proposer, remote, raw):
                by_sender.setdefault(_transaction(remote, raw).sender, []).append(raw)
        candidates: dict[RollupId, list[SenderQueue]] = {}
        if by_sender:
            candidates[remote] = queues(remote, list(by_sender.values()), pair.time_ms - 100)
        if not _is_decided(pair.proposer, local, local_plain):
            candidates[local] = queues(local, [[local_plain]], pair.time_ms - 100)
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
        assert _is_decided(pair.proposer, local, local_plain), "no local transaction waits for a remote rollup"
    if gives_nodes:
        assert not waiting, "with the node back every bundle takes place"
        assert all(_is_decided(pair.proposer, remote, raw) for raw in remote_plain)


def _transaction(rollup_id: RollupId, raw: bytes) -> Transaction:
    (transaction,) = decode_transactions([raw], rollup_id)
    assert isinstance(transaction, Transaction)
    return transaction


def _is_decided(application: Application, rollup_id: RollupId, raw: bytes) -> bool:
    return application.rollups[rollup_id].transaction_location(_transaction(rollup_id, raw).hash) is not None


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(pattern=st.lists(st.sampled_from(MOODS), max_size=20), parts=st.lists(writes, min_size=1, max_size=3))
def test_checking_and_finalizing_give_their_one_answer_however_often_the_node_fails(
    pattern: list[Mood], parts: list[list[tuple[int, int]]]
) -> None:
    """What a node that holds the state proposes is neither refused nor decided otherwise: it waits."""
    pair = Pair(gives_nodes=True)
    bundles = [bundle_of(pair, user, slots, user) for user, slots in enumerate(parts)]
    pair.time_ms = Milliseconds(pair.time_ms + 10)
    pair.proposer, pair.judge = pair.judge, pair.proposer
    prepared = pair.prepare(bundles)
    pair.proposer, pair.judge = pair.judge, pair.proposer
    assert all(all(placed(prepared, bundle)) for bundle in bundles)
    height = Height(pair.proposer.info().height + 1)
    asked = ProcessRequest(height=height, time_ms=pair.time_ms, proposal=prepared.proposal)
    decided = FinalizeRequest(height=height, time_ms=pair.time_ms, proposal=prepared.proposal)
    pair.node.moods, before = list(pattern), pair.proposer.info()
    told: list[NativeError] = []
    verdict = until_read(lambda: pair.proposer.process(asked), told.append, lambda _: True)
    assert verdict == Accepted(proposal_hash=prepared.proposal_hash)
    pair.proposer.replace(pair.proposer.ledger, pair.proposer.rollups, pair.proposer.app_hash)  # as after a restart
    pair.node.moods = list(pattern)
    found = until_read(lambda: pair.proposer.finalize(decided), told.append, lambda _: True)
    assert pair.proposer.info() == before, "waiting changed nothing"
    assert found.app_hash == pair.judge.finalize(decided).app_hash
    assert {error.code for error in told} <= UNREAD_CODES
    for application in (pair.proposer, pair.judge):
        application.commit()
    pair.node.moods = []
    pair.decide(pair.next_slot())


@pytest.mark.parametrize("answers", range(10))
@pytest.mark.parametrize("remote", [REMOTE, LOCAL])
def test_plain_transactions_are_right_wherever_the_node_goes_away_among_them(remote: RollupId, answers: int) -> None:
    """While they run, and while it is made sure that the block can be sealed after them."""
    pair = Pair(remote, gives_nodes=False)
    local = pair.local_id
    mine = [[keep(remote, user, 0, 11 * user + 1, 0), keep(remote, user, 1, 11 * user + 2, 0)] for user in range(4)]
    other = [[pay(local, user, 0, user)] for user in range(3)]
    pair.time_ms = Milliseconds(pair.time_ms + 10)
    at_ms = pair.time_ms - 100
    pair.node.moods, pair.node.then = ["ok"] * answers, "refuse"
    prepared = pair.prepare([], {remote: queues(remote, mine, at_ms), local: queues(local, other, at_ms)})
    pair.decide(prepared)
    assert all(_is_decided(pair.proposer, local, raw) for (raw,) in other)
    left = {one.hash for one in prepared.unread}
    for first, second in mine:
        decided = [_is_decided(pair.proposer, remote, raw) for raw in (first, second)]
        assert decided in ([True, True], [True, False], [False, False])
        waiting = [_transaction(remote, raw).hash in left for raw in (first, second)]
        assert all(decided) or any(waiting), "who is left out is told so"
    assert {one.code for one in prepared.unread} <= UNREAD_CODES
    pair.decide(pair.next_slot())


def test_only_what_lacks_state_and_what_follows_it_waits() -> None:
    pair = Pair(gives_nodes=True)
    known = [keep(REMOTE, 0, 0, 5, 9), keep(REMOTE, 0, 1, 6, 9)]
    unknown = [keep(REMOTE, 1, 0, 5, 8), keep(REMOTE, 1, 1, 77, 9), keep(REMOTE, 1, 2, 6, 8)]
    session = pair.proposer.rollups[REMOTE].session()
    session.run([_transaction(REMOTE, raw) for raw in (*known, unknown[0])])
    session.seal()
    pair.node.then = "refuse"
    pair.time_ms = Milliseconds(pair.time_ms + 10)
    prepared = pair.prepare([], {REMOTE: queues(REMOTE, [known, unknown], pair.time_ms - 100)})
    assert [one.hash for one in prepared.unread] == [_transaction(REMOTE, unknown[1]).hash]
    assert prepared.transactions == 3
    assert prepared.dropped == ()
    pair.decide(prepared)
    pair.decide(pair.next_slot())


def test_a_block_that_cannot_be_opened_keeps_nothing_half_done_and_is_opened_when_the_node_is_back() -> None:
    remote, node = remote_rollup(NETWORK)
    proposer = Application(
        NETWORK.ledger,
        {REMOTE: remote, LOCAL: Rollup.from_genesis(NETWORK.genesis[LOCAL], Store.in_memory())},
        NETWORK.source,
    )
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


@pytest.mark.parametrize("kind", list(ConditionKind))
def test_an_unreadable_condition_is_no_false_one(kind: ConditionKind) -> None:
    """Reading one that cannot be read must not charge anybody, nor differ from what a judge finds."""
    pair = Pair(gives_nodes=True)
    data = {ConditionKind.STORAGE: (70).to_bytes(32, "big")}.get(kind, b"")
    address, value = (KEEPER, 71) if kind is ConditionKind.STORAGE else (STRANGERS[40], 41)
    condition = Condition(
        rollup_id=REMOTE, kind=kind, address=address, input=data, comparison=Comparison.EQUAL, value=value
    )
    asked = bundle_of(pair, 0, [(3, 1)], 5, (condition,))
    pair.node.then = "refuse"
    candidate = Candidate.over(pair.proposer.rollups)
    with pytest.raises(NativeError) as caught:
        try_bundle(candidate, asked, {})
    assert is_unread(caught.value)
    pair.node.then = "ok"
    failure = try_bundle(candidate, asked, {}).failure
    # A call of an account without code returns nothing, which is no result.
    assert (failure is None) == (kind is not ConditionKind.CALL)


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
