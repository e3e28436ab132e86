"""Random bundles over two to four rollups, with reverts, nonce races, gas races, withdrawals and plain traffic: every
bundle takes place whole at the places its proposal says, or not at all, and then nothing shows that it was tried.

The oracle is what the decided effects say: balances and nonces must be exactly what their transactions give, no
transaction of another bundle may be in any block, and a proposal must be the same as if failed bundles had not been
offered. Hypothesis prints the steps of a failing example.
"""

from collections import Counter
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plait.execution.bundles import BundleCandidate, DecodedBundle
from plait.native import PENDING
from plait.protocol.application import Application
from plait.protocol.requests import Accepted, FinalizeRequest, PrepareRequest, ProcessRequest
from plait.types import Address, Bundle, Gas, Height, Leg, Milliseconds, OrderingPolicy, RollupId, Slot
from sim.bundling import decoded
from sim.situation import queues
from sim.wallet import Wallet
from sim.workload import BURNING_CODE, REVERTING_CODE, STORING_CODE
from sim.world import Plan, network_of

USERS = [Wallet.of_index(index, "all or nothing") for index in range(4)]
RECIPIENT = Address(bytes([0xCD]) * 20)
GAS_LIMIT = 2_500_000


class AllOrNothing(RuleBasedStateMachine):
    """A proposer and a judge; the proposer's pool is a list of bundles."""

    @initialize(rollups=st.integers(2, 4), seed=st.integers(0, 2**32))
    def begin(self, rollups: int, seed: int) -> None:
        self.random = Random(seed)
        plan = Plan(
            nodes=2,
            block_times_slots=tuple(self.random.choice((1, 2)) for _ in range(rollups)),
            policies=tuple(self.random.choice(list(OrderingPolicy)) for _ in range(rollups)),
            gas_limit=Gas(GAS_LIMIT),
            users=len(USERS),
            heights=0,
        )
        network = network_of(plan, [user.address for user in USERS])
        self.ids = network.ledger.rollup_ids
        self.proposer, self.judge = network.application(), network.application()
        self.time_ms = network.ledger.time_ms
        self.waiting: list[DecodedBundle] = []
        self.sent: dict[bytes, DecodedBundle] = {}
        self.decided: set[bytes] = set()
        self.paid: Counter[RollupId] = Counter()
        self.used: Counter[tuple[RollupId, bytes]] = Counter()
        self.made = 0
        for _ in range(2):
            self.decide(1_000, 0)

    def accounts(self, application: Application) -> dict[RollupId, Any]:
        return {
            rollup_id: application.rollups[rollup_id].accounts([*(user.address for user in USERS), RECIPIENT], PENDING)
            for rollup_id in self.ids
        }

    def raw(self, rollup_id: RollupId, user: int, nonce: int) -> bytes:
        self.made += 1
        fields: dict[str, Any] = {"to": RECIPIENT, "value": self.made}
        kind = self.random.randrange(12)
        if kind < 4:
            code = (STORING_CODE, STORING_CODE, REVERTING_CODE, BURNING_CODE)[kind]
            fields = {"to": b"", "data": code + bytes([self.made % 256]), "gas_limit": 150_000}
        elif kind == 4:
            fields["gas_limit"] = GAS_LIMIT // 2
        return USERS[user].sign_1559(rollup_id, nonce, **fields)

    @rule(legs=st.integers(1, 4), copies=st.integers(1, 3))
    def send(self, legs: int, copies: int) -> None:
        """Bundles that race with each other for the same nonces."""
        nonces = self.accounts(self.proposer)
        for _ in range(copies):
            chosen: list[Leg] = []
            for rollup_id in sorted(self.random.sample(self.ids, min(legs, len(self.ids)))):
                user = self.random.randrange(len(USERS))
                first = nonces[rollup_id][user][0] + self.random.choice((0, 0, 0, 1))
                count = self.random.randrange(1, 4)
                raws = tuple(self.raw(rollup_id, user, first + place) for place in range(count))
                allowed = tuple(place for place in range(count) if self.random.randrange(3) == 0)
                chosen.append(Leg(rollup_id=rollup_id, transactions=raws, allowed_reverts=allowed))
            bundle = decoded(Bundle(legs=tuple(chosen), not_before_slot=Slot(0), deadline_slot=Slot(2**40)))
            self.waiting.append(bundle)
            self.sent[bundle.hash] = bundle

    @rule()
    def withdraw(self) -> None:
        """A bundle is cancelled or replaced: nothing of it may ever happen."""
        if self.waiting:
            self.waiting.pop(self.random.randrange(len(self.waiting)))

    @rule(after_ms=st.sampled_from((0, 200, 300, 1_000, 2_500)), plain=st.integers(0, 4))
    def decide(self, after_ms: int, plain: int) -> None:
        """One height; the judge checks it, and each failed bundle alone must not change a proposal."""
        self.time_ms = Milliseconds(self.time_ms + after_ms)
        height = Height(self.proposer.info().height + 1)
        candidates: dict[RollupId, Any] = {}
        if height > 2:
            nonces = self.accounts(self.proposer)
            for _ in range(plain):
                rollup_id, user = self.random.choice(self.ids), self.random.randrange(len(USERS))
                raws = [self.raw(rollup_id, user, nonces[rollup_id][user][0])]
                candidates[rollup_id] = queues(rollup_id, [raws], 0)
        offers = [
            BundleCandidate(bundle, Milliseconds(1 + place), False, bundle.legs[0][0].sender, 1_000)
            for place, bundle in enumerate(self.waiting)
        ]
        request = PrepareRequest(height=height, time_ms=self.time_ms, candidates=candidates, bundles=offers)
        prepared = self.proposer.prepare(request)
        if prepared.bundles_failed:
            failed = {entry.hash for entry in prepared.bundles_failed}
            kept = [offer for offer in offers if offer.bundle.hash not in failed]
            again = self.proposer.prepare(
                PrepareRequest(height=height, time_ms=self.time_ms, candidates=candidates, bundles=kept)
            )
            assert again.proposal == prepared.proposal, "failed bundles left a trace in the proposal"
        process = ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        verdict = self.judge.process(process)
        assert isinstance(verdict, Accepted), verdict
        finalize = FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        effects = [application.finalize(finalize).effect for application in (self.proposer, self.judge)]
        assert effects[0].app_hash == effects[1].app_hash
        for application in (self.proposer, self.judge):
            application.commit()
        parts = {part.rollup_id: part for part in effects[0].rollups}
        for part in effects[0].rollups:
            for transaction, status in zip(part.transactions, part.statuses, strict=True):
                self.used[part.rollup_id, transaction.sender] += 1
                self.paid[part.rollup_id] += transaction.value if status and transaction.to == RECIPIENT else 0
        taken = dict.fromkeys(self.ids, 0)
        for bundle in effects[0].bundles:
            assert bundle.hash not in self.decided
            self.decided.add(bundle.hash)
            for rollup_id, hashes in bundle.legs:
                start = taken[rollup_id]
                listed = [t.hash for t in parts[rollup_id].transactions[start : start + len(hashes)]]
                assert listed == list(hashes), "a leg does not stand at its stated place"
                taken[rollup_id] = start + len(hashes)
        self.waiting = [bundle for bundle in self.waiting if bundle.hash not in self.decided]

    @invariant()
    def whole_or_not_at_all(self) -> None:
        """Each bundle ever sent: all of its transactions are in blocks and hold, or none is."""
        for application in (self.proposer, self.judge):
            for bundle in self.sent.values():
                for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True):
                    rollup = application.rollups[leg.rollup_id]
                    for transaction in transactions:
                        there = rollup.transaction_location(transaction.hash) is not None
                        assert there == (bundle.hash in self.decided)

    @invariant()
    def both_nodes_agree(self) -> None:
        assert self.proposer.info() == self.judge.info()
        assert self.accounts(self.proposer) == self.accounts(self.judge)

    @invariant()
    def only_what_took_place_moved_value_and_nonces(self) -> None:
        """The recipient holds exactly what decided transactions carried; nonces count decided transactions."""
        for application in (self.proposer, self.judge):
            for rollup_id, accounts in self.accounts(application).items():
                assert accounts[-1][1] == self.paid[rollup_id]
                assert [account[0] for account in accounts[:-1]] == [self.used[rollup_id, u.address] for u in USERS]


AllOrNothing.TestCase.settings = settings(
    max_examples=120, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAllOrNothing = AllOrNothing.TestCase
