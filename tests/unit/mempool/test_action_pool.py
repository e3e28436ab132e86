"""The pool of ledger actions: who gets in, who is offered to a proposal in which order, who has to leave."""

import pytest

from plait.crypto.actions import sign_action
from plait.errors import ActionRefused
from plait.mempool.actions import ActionLimits, ActionPool
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types.action import SignedAction, Transfer

NETWORK = 901
FEE = 10
LIMITS = ActionLimits(actions_max=6, per_account_max=3, nonce_gap_max=4, lifetime_ms=1_000, history_max=8)


class Ledger:
    """Balances and nonces that a test sets; the fee is FEE."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, tuple[int, int]] = {one.address: (1_000, 0) for one in DEVELOPMENT_ACCOUNTS}
        self.fee = FEE

    def account(self, address: bytes) -> tuple[int, int]:
        return self.accounts.get(address, (0, 0))

    @property
    def action_fee(self) -> int:
        return self.fee


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def pool(ledger: Ledger) -> ActionPool:
    return ActionPool(NETWORK, lambda: ledger, LIMITS)


def action(user: int, nonce: int, *, max_fee: int = FEE, amount: int = 1, network: int = NETWORK) -> bytes:
    body = Transfer(to=bytes(20), amount=amount)
    return sign_action(network, nonce, max_fee, body, DEVELOPMENT_ACCOUNTS[user].private_key)


def admit(pool: ActionPool, *raws: bytes, now_ms: int = 0) -> list[str]:
    """ "ok" or the code, per action."""
    return ["ok" if isinstance(one, SignedAction) else one.code for one in pool.admit(raws, now_ms)]


def offered(pool: ActionPool, **bounds: int) -> list[tuple[int, int]]:
    order = [one.address for one in DEVELOPMENT_ACCOUNTS]
    return [(order.index(one.sender), one.nonce) for one in pool.candidates(**bounds)]


def test_accounts_take_turns_by_arrival_and_each_in_its_nonce_order(pool: ActionPool) -> None:
    assert admit(pool, action(0, 1), action(1, 0), action(0, 0), action(2, 0)) == ["ok"] * 4
    assert offered(pool) == [(1, 0), (0, 0), (0, 1), (2, 0)]
    assert offered(pool, count_max=2) == [(1, 0), (0, 0)]
    assert offered(pool, bytes_max=200) == [(1, 0), (0, 0)]


def test_an_action_behind_a_gap_waits_until_it_is_filled(pool: ActionPool) -> None:
    late, first, between = (one for one in pool.admit([action(0, 2), action(0, 0), action(0, 1)], 0))
    assert offered(pool) == [(0, 0), (0, 1), (0, 2)]
    pool.drop([(between.hash, "account_balance_insufficient", "no")])
    assert offered(pool) == [(0, 0)]
    assert [pool.status(one.hash).status for one in (late, first)] == ["queued", "pending"]


def test_what_the_ledger_cannot_take_is_refused_with_its_reason(pool: ActionPool, ledger: Ledger) -> None:
    ledger.accounts[DEVELOPMENT_ACCOUNTS[0].address] = (25, 3)
    raws = [
        b"",
        b"\xc0",
        action(0, 2),
        action(0, 8),
        action(0, 3, max_fee=FEE - 1),
        action(0, 3),
        action(0, 3),
        action(0, 4),
        action(0, 5),
        action(0, 3, network=NETWORK + 1),
    ]
    assert admit(pool, *raws) == [
        "action_malformed",
        "action_malformed",
        "action_nonce_too_low",
        "action_nonce_too_high",
        "action_fee_too_low",
        "ok",
        "action_already_known",
        "ok",
        "account_balance_insufficient",
        "account_balance_insufficient",
    ]
    assert pool.refused["action_malformed"] == 2


def test_a_free_network_still_takes_nothing_from_empty_accounts(pool: ActionPool, ledger: Ledger) -> None:
    ledger.fee = 0
    ledger.accounts[DEVELOPMENT_ACCOUNTS[0].address] = (0, 0)
    assert admit(pool, action(0, 0, max_fee=0), action(1, 0, max_fee=0)) == ["account_balance_insufficient", "ok"]


def test_a_replacement_pays_a_tenth_more_and_keeps_its_place(pool: ActionPool) -> None:
    first = action(0, 0, max_fee=100)
    admit(pool, first, action(1, 0))
    assert admit(pool, action(0, 0, max_fee=109, amount=2)) == ["action_replacement_underpriced"]
    assert admit(pool, action(0, 0, max_fee=110, amount=2)) == ["ok"]
    assert offered(pool) == [(0, 0), (1, 0)]
    assert len(pool) == 2
    (gone,) = pool._ends.values()
    assert gone.code == "action_replaced"


def test_a_full_pool_makes_room_at_the_cost_of_whoever_has_most(pool: ActionPool) -> None:
    assert admit(pool, *(action(0, nonce) for nonce in range(4))) == ["ok"] * 3 + ["action_account_limit"]
    assert admit(pool, *(action(1, nonce) for nonce in range(3))) == ["ok"] * 3
    assert admit(pool, action(2, 0)) == ["ok"]
    assert len(pool) == 6
    assert (2, 0) in offered(pool)
    assert len([one for one in offered(pool) if one[0] < 2]) == 5
    assert admit(pool, action(3, 0), action(4, 0)) == ["ok", "ok"]
    assert admit(pool, action(5, 0)) == ["ok"]
    assert admit(pool, action(6, 0)) == ["action_pool_full"]


def test_decided_actions_leave_with_what_they_overtake_and_the_old_expire(pool: ActionPool, ledger: Ledger) -> None:
    raws = [action(0, 0), action(0, 0 + 1), action(1, 0)]
    found = [one for one in pool.admit(raws, 0) if isinstance(one, SignedAction)]
    elsewhere = b"\x07" * 32
    ledger.accounts[DEVELOPMENT_ACCOUNTS[0].address] = (980, 2)
    pool.on_decided([found[0].hash, elsewhere], 5, 900)
    assert [pool.status(one.hash) and pool.status(one.hash).code for one in found] == [None, "action_nonce_used", None]
    assert (pool.status(found[0].hash).height, pool.status(elsewhere).height) == (5, 5)
    pool.on_decided([], 6, 1_001)
    assert pool.status(found[2].hash).code == "action_expired"
    assert (len(pool), pool.bytes) == (0, 0)


def test_history_is_bounded_and_a_returning_action_is_news(pool: ActionPool) -> None:
    heard: list[bytes] = []
    pool.listen(lambda raw, hash_: heard.append(hash_))
    raw = action(0, 0)
    (found,) = pool.admit([raw], 0)
    assert isinstance(found, SignedAction)
    pool.drop([(found.hash, "x_y", "no")])
    assert pool.status(found.hash).status == "dropped"
    admit(pool, raw)
    assert pool.status(found.hash).status == "pending"
    assert (heard, pool.waits(found.hash)) == ([found.hash] * 2, True)
    for number in range(50):
        pool.on_decided([number.to_bytes(32, "big")], number, 0)
    assert len(pool._ends) == LIMITS.history_max


def test_an_action_whose_predecessor_was_left_out_of_a_proposal_stays(pool: ActionPool) -> None:
    (found,) = pool.admit([action(0, 0)], 0)
    assert isinstance(found, SignedAction)
    pool.drop([(found.hash, "action_nonce_too_high", "the one before was refused")])
    assert pool.waits(found.hash)
    assert pool.next_nonce(found.sender) == 1


def test_refusals_are_errors_with_a_code_and_a_sentence(pool: ActionPool) -> None:
    (found,) = pool.admit([action(0, 9)], 0)
    assert isinstance(found, ActionRefused)
    assert "next nonce is 0" in found.message
    assert found.fields["next_nonce"] == 0
