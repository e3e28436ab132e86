"""The pool of actions under any traffic: its bounds hold, its sums are right, and what it offers can be applied."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plait.crypto.actions import sign_action
from plait.mempool.actions import ActionLimits, ActionPool
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types.action import SignedAction, Transfer

NETWORK = 901
LIMITS = ActionLimits(
    actions_max=8, bytes_max=900, per_account_max=4, nonce_gap_max=5, lifetime_ms=2_000, history_max=10
)
users = st.integers(0, 3)


class Traffic(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.balances = {one.address: 100 for one in DEVELOPMENT_ACCOUNTS}
        self.nonces = dict.fromkeys(self.balances, 0)
        self.action_fee = 10
        self.now_ms = 0
        self.height = 0
        self.seen: list[bytes] = []
        self.pool = ActionPool(NETWORK, lambda: self, LIMITS)

    def account(self, address: bytes) -> tuple[int, int]:
        return self.balances[address], self.nonces[address]

    @rule(user=users, nonce=st.integers(0, 12), fee=st.integers(0, 40), amount=st.integers(1, 3))
    def send(self, user: int, nonce: int, fee: int, amount: int) -> None:
        key = DEVELOPMENT_ACCOUNTS[user].private_key
        raw = sign_action(NETWORK, nonce, fee, Transfer(to=bytes(20), amount=amount), key)
        (found,) = self.pool.admit([raw], self.now_ms)
        if isinstance(found, SignedAction):
            assert self.pool.waits(found.hash)
            self.seen.append(found.hash)
        else:
            assert found.code
            assert found.message

    @rule(data=st.binary(max_size=40))
    def garbage(self, data: bytes) -> None:
        (found,) = self.pool.admit([data], self.now_ms)
        assert not isinstance(found, SignedAction)

    @rule(count=st.integers(0, 4), passed_ms=st.integers(0, 900), fee=st.sampled_from([0, 10, 10, 25]))
    def decide(self, count: int, passed_ms: int, fee: int) -> None:
        chosen = self.pool.candidates(count_max=count)
        for action in chosen:
            assert action.nonce == self.nonces[action.sender], "an offered action applies in the order offered"
            self.nonces[action.sender] += 1
            self.balances[action.sender] = max(0, self.balances[action.sender] - self.action_fee)
        self.height += 1
        self.now_ms += passed_ms
        self.action_fee = fee
        self.pool.on_decided([action.hash for action in chosen], self.height, self.now_ms)
        for action in chosen:
            found = self.pool.status(action.hash)
            assert found is not None
            assert (found.status, found.height) == ("decided", self.height)

    @rule(place=st.integers(0, 7))
    def refused_in_a_proposal(self, place: int) -> None:
        chosen = self.pool.candidates()
        if place < len(chosen):
            self.pool.drop([(chosen[place].hash, "rollup_unknown", "no")])
            assert not self.pool.waits(chosen[place].hash)

    @invariant()
    def bounds_hold_and_sums_are_right(self) -> None:
        pool = self.pool
        waiting = [pool.get(hash_) for hash_ in self.seen if pool.waits(hash_)]
        found = {action.hash: action for action in waiting if action is not None}
        assert len(found) == len(pool) <= LIMITS.actions_max
        assert sum(len(action.raw) for action in found.values()) == pool.bytes
        places = [(action.sender, action.nonce) for action in found.values()]
        assert len(set(places)) == len(places), "one action per nonce"
        for sender, nonce in places:
            assert nonce >= self.nonces[sender]
            assert sum(other == sender for other, _ in places) <= LIMITS.per_account_max
        assert len(pool._ends) <= LIMITS.history_max

    @invariant()
    def what_is_offered_is_executable_in_order(self) -> None:
        following = dict(self.nonces)
        for action in self.pool.candidates():
            assert action.nonce == following[action.sender]
            assert action.max_fee >= self.action_fee
            following[action.sender] += 1


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
