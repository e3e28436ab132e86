"""The pool against a naive model that keeps every transaction in one list and decides everything by looking at all of
it.

Rules: submit (any nonce, price, value), decide what the pool offers, decide somebody else's transaction, drop, wait
until things expire. The pool is small, so that limits and eviction matter. After every step: same members, same
executable queues, same statuses, and the pool's own counters equal a recount.
"""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plait.errors import TransactionRefused
from plait.limits import POOL_PENDING_LIFETIME_S, POOL_QUEUED_LIFETIME_S
from plait.mempool import Admitted, PoolLimits
from plait.mempool.lane import Lane
from plait.native import Transaction, decode_transactions
from plait.protocol.requests import Dropped
from plait.types import Hash32, OrderingPolicy, RollupId
from sim.pooling import USERS, PooledNetwork, transfer

ID = RollupId(901)
LIMITS = PoolLimits(transactions_max=8, per_sender_max=4, nonce_gap_max=5)
GWEI = 10**9
SENDS = st.tuples(
    st.integers(0, 3),
    st.sampled_from([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 7]),
    st.sampled_from([1, 2, 3, 4, 10]),
    st.sampled_from([0, 1, 1_000, GWEI]),
    st.sampled_from([0, 0, 0, 0, 20, 40]),
)
"""User, nonce beyond its next one, fee cap in gwei, tip in wei, value in ether (users have 100)."""


@dataclass
class Known:
    """A transaction as the model remembers it."""

    transaction: Transaction
    cost: int
    arrived_ms: int
    state: str = "pooled"

    @property
    def key(self) -> tuple[bytes, int]:
        return self.transaction.sender, self.transaction.nonce


class PoolMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(list(OrderingPolicy)))
    def start(self, policy: OrderingPolicy) -> None:
        self.network = PooledNetwork(USERS[:4], policies=(policy,), limits=LIMITS)
        self.known: dict[bytes, Known] = {}

    # ------------------------------------------------------------ the model
    def members(self, sender: bytes | None = None) -> list[Known]:
        return [k for k in self.known.values() if k.state == "pooled" and sender in {None, k.transaction.sender}]

    def state(self, sender: bytes) -> tuple[int, int]:
        ((nonce, balance, _),) = self.network.rollup().accounts([sender], -1)
        return nonce, balance

    def executable(self, sender: bytes) -> list[Known]:
        nonce, _ = self.state(sender)
        by_nonce = {k.transaction.nonce: k for k in self.members(sender)}
        found = []
        while nonce in by_nonce:
            found.append(by_nonce[nonce])
            nonce += 1
        return found

    def is_executable(self, known: Known) -> bool:
        return known in self.executable(known.transaction.sender)

    def base_fee(self) -> int:
        block = self.network.rollup().open_block
        assert block is not None
        return block.base_fee

    def worth(self, transaction: Transaction) -> int:
        return min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - self.base_fee())

    def expected(self, transaction: Transaction, cost: int) -> str:
        """The code of the refusal, or "" after having made room and replaced as the pool should."""
        sender, nonce = transaction.sender, transaction.nonce
        state_nonce, balance = self.state(sender)
        mine = self.members(sender)
        if any(k.transaction.hash == transaction.hash for k in mine):
            return "already_known"
        if nonce < state_nonce:
            return "nonce_too_low"
        executable_nonce = state_nonce + len(self.executable(sender))
        if nonce > executable_nonce + LIMITS.nonce_gap_max:
            return "nonce_gap_too_large"
        before = next((k for k in mine if k.transaction.nonce == nonce), None)
        if before is not None:
            old = before.transaction
            if transaction.max_fee_per_gas < max(old.max_fee_per_gas * 110 // 100, old.max_fee_per_gas + 1):
                return "replacement_underpriced"
            tip, old_tip = transaction.max_priority_fee_per_gas, old.max_priority_fee_per_gas
            if tip < max(old_tip * 110 // 100, old_tip + 1):
                return "replacement_underpriced"
        spent = sum(k.cost for k in mine if k is not before)
        if spent + cost > balance:
            return "insufficient_funds"
        if before is not None:
            before.state = "replaced"
            return ""
        return self.make_room(transaction, executable_nonce)

    def make_room(self, transaction: Transaction, executable_nonce: int) -> str:
        mine = self.members(transaction.sender)
        if len(mine) >= LIMITS.per_sender_max:
            tail = max(mine, key=lambda k: k.transaction.nonce)
            if tail.transaction.nonce < transaction.nonce:
                return "account_limit_exceeded"
            tail.state = "account_limit_exceeded"
        if len(self.members()) >= LIMITS.transactions_max:
            tails = [
                max(self.members(sender), key=lambda k: k.transaction.nonce)
                for sender in {k.transaction.sender for k in self.members()}
            ]
            victim = min(tails, key=lambda k: (self.is_executable(k), self.worth(k.transaction), k.transaction.hash))
            own = victim.transaction.sender == transaction.sender and victim.transaction.nonce < transaction.nonce
            rank = (transaction.nonce == executable_nonce, self.worth(transaction))
            if own or rank <= (self.is_executable(victim), self.worth(victim.transaction)):
                return "underpriced"
            victim.state = "evicted"
        return ""

    def follow_decided(self, senders: set[bytes]) -> None:
        for known in self.members():
            state_nonce, balance = self.state(known.transaction.sender)
            if self.network.rollup().transaction_location(known.transaction.hash) is not None:
                known.state = "decided"
            elif known.transaction.nonce < state_nonce:
                known.state = "nonce_used"
            elif known.transaction.sender in senders and known.cost > balance:
                known.state = "insufficient_funds"

    # ------------------------------------------------------------ rules
    @rule(sends=st.lists(SENDS, min_size=1, max_size=8))
    def submit(self, sends: list[tuple[int, int, int, int, int]]) -> None:
        for send in sends:
            self.submit_one(*send)

    def submit_one(self, user: int, ahead: int, price: int, tip: int, share: int) -> None:
        nonce = max(0, self.state(USERS[user].address)[0] + ahead)
        raw = transfer(
            user,
            nonce,
            value=share * 10**18,
            max_fee_per_gas=price * GWEI,
            max_priority_fee_per_gas=min(tip, price * GWEI),
        )
        (decoded,) = decode_transactions([raw], ID)
        assert isinstance(decoded, Transaction)
        (extra,) = self.network.rollup().additional_costs([decoded], -1)
        cost = decoded.max_cost() + extra
        expected = self.expected(decoded, cost)
        (result,) = self.network.pool.submit(ID, [raw], self.network.time_ms)
        event(expected or "admitted")
        assert (result.code if isinstance(result, TransactionRefused) else "") == expected
        if isinstance(result, Admitted):
            self.known[decoded.hash] = Known(decoded, cost, self.network.time_ms)

    @rule(after_ms=st.sampled_from([1, 250, 1_000]))
    def decide(self, after_ms: int) -> None:
        effect = self.network.decide(after_ms=after_ms)
        self.follow_decided({t.sender for part in effect.rollups for t in part.transactions})
        self.expire(self.network.time_ms)

    @rule(user=st.integers(0, 3), share=st.sampled_from([1, 50]))
    def decide_foreign(self, user: int, share: int) -> None:
        nonce, balance = self.state(USERS[user].address)
        raw = transfer(user, nonce, value=balance * share // 100, max_fee_per_gas=5 * GWEI)
        effect = self.network.decide(self.network.foreign([raw]))
        self.follow_decided({t.sender for part in effect.rollups for t in part.transactions})
        self.expire(self.network.time_ms)

    @rule(pick=st.integers(0, 30))
    def drop(self, pick: int) -> None:
        members = self.members()
        if members:
            known = members[pick % len(members)]
            self.network.pool.drop([Dropped(ID, Hash32(known.transaction.hash), "odd", "Odd.")], self.network.time_ms)
            known.state = "odd"

    @rule(hours=st.sampled_from([2, 4, 25]))
    def sleep(self, hours: int) -> None:
        """Looks at the pool as after some hours; the chain does not have to catch up for that."""
        now_ms = self.network.time_ms + hours * 3_600 * 1_000
        self.network.pool.lanes[ID].sweep(now_ms)
        self.network.pool._recount()
        self.expire(now_ms)

    def expire(self, now_ms: int) -> None:
        """As the pool's sweep does: an account at a time, what is executable before the sweep has the longer life."""
        for sender in {k.transaction.sender for k in self.members()}:
            executable = self.executable(sender)
            for known in self.members(sender):
                life_s = POOL_PENDING_LIFETIME_S if known in executable else POOL_QUEUED_LIFETIME_S
                if now_ms - known.arrived_ms >= life_s * 1_000:
                    known.state = "expired"

    # ------------------------------------------------------------ what must hold
    @invariant()
    def same_members_and_queues(self) -> None:
        if not hasattr(self, "network"):
            return
        lane = self.network.pool.lanes[ID]
        assert {k.transaction.hash for k in self.members()} == set(lane.by_hash)
        expected = {}
        for sender in {k.transaction.sender for k in self.members()}:
            queue = [
                k.transaction.hash for k in self.executable(sender) if k.transaction.max_fee_per_gas >= self.base_fee()
            ]
            if queue:
                expected[sender] = queue
        offered = self.network.pool.candidates(gas_max_factor=100).get(ID, [])
        assert {queue[0].transaction.sender: [r.transaction.hash for r in queue] for queue in offered} == expected
        for queue in offered:
            stamps = [ready.ready_ms for ready in queue]
            assert stamps == sorted(stamps)

    @invariant()
    def same_statuses(self) -> None:
        for hash_, known in getattr(self, "known", {}).items():
            status = self.network.pool.status(ID, hash_)
            assert status is not None
            if known.state == "pooled":
                assert status.status == ("pending" if self.is_executable(known) else "queued")
            elif known.state == "decided":
                assert status.status in {"decided", "sealed"}
            else:
                assert (status.status, status.code) == ("dropped", known.state)

    @invariant()
    def counters_equal_a_recount(self) -> None:
        if hasattr(self, "network"):
            recount(self.network.pool.lanes[ID])
            assert self.network.pool.count == len(self.network.pool.lanes[ID].by_hash) <= LIMITS.transactions_max


def recount(lane: Lane) -> None:
    entries = {entry.hash: entry for account in lane.accounts.values() for entry in account.entries()}
    assert entries == lane.by_hash
    assert lane.bytes == sum(entry.size for entry in entries.values())
    pending = [entry for account in lane.accounts.values() for entry in account.pending]
    assert lane.pending_count == len(pending)
    assert lane.pending_gas == sum(entry.gas_limit for entry in pending)
    assert lane.pending_bytes == sum(entry.size for entry in pending)
    placed = [account for accounts in lane.tiers.values() for account in accounts]
    assert len(placed) == len(set(placed))
    assert set(placed) == {account for account in lane.accounts.values() if account.pending}
    assert all(accounts for accounts in lane.tiers.values())
    for account in lane.accounts.values():
        assert len(account)
        assert account.cost == sum(entry.cost for entry in account.entries())
        nonces = [entry.nonce for entry in account.pending]
        assert nonces == list(range(account.next_nonce, account.next_nonce + len(nonces)))
        assert all(nonce > account.next_nonce + len(nonces) for nonce in account.queued)
        assert [ready.transaction for ready in account.ready] == [entry.transaction for entry in account.pending]
        assert all(account.fee_cap_min <= entry.fee_cap for entry in account.pending)


PoolMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPoolAgainstTheModel = pytest.mark.timeout(300)(PoolMachine.TestCase)
