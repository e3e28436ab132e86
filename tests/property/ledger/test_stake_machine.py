"""Stake never makes or loses a unit: a state machine over everything that accounts, validators and the engine can do.

Each step decides one sub-block or a few, with actions of extreme amounts, absent votes, evidence and changed
parameters; after each the properties of `stake_world.World.check` hold, a refused action has left no trace, and nobody
got more out of rounding than was there.

CI runs 500 machines of 50 steps. All 10,000, some eleven minutes of one core:

    .venv/bin/python -m tests.property.ledger.test_stake_machine 10000

Hypothesis prints how to replay what fails.
"""

import sys
from time import perf_counter

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from plait.ledger.draft import Draft
from plait.ledger.parameters import TOKEN
from plait.types import Address, MisbehaviorKind
from plait.types.action import (
    Body,
    CreateValidator,
    Delegate,
    EditValidator,
    LeaveValidator,
    SubmitEvidence,
    Transfer,
    Undelegate,
    Unjail,
    WithdrawCommission,
    WithdrawRewards,
)
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import ACCOUNTS, World, possession, public_key, two_proposals

EXTREMES = (0, 1, 2, 3, TOKEN - 1, TOKEN, TOKEN + 1, 10**19, 10**36, 2**127, 2**128 - 1)
WHO = st.sampled_from((0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 6, 7))
"""Mostly those who own something."""
OPERATOR = st.sampled_from((0, 0, 1, 1, 2, 2, 3, 4))
KEY = st.integers(0, 5)
FEW = st.integers(0, 3)
PARTS = st.tuples(st.sampled_from(("balance", "worth")), st.sampled_from((-1, 0, 0, 1, 2, 3, 7, 10, 1_000, 1_000_003)))
HOW_MUCH = st.one_of(PARTS, PARTS, PARTS, st.sampled_from(EXTREMES), st.integers(0, 10**36))
RATE = st.sampled_from((0, 1, 99_999, 100_000, 333_333, 1_000_000))


class StakeMachine(RuleBasedStateMachine):
    """Accounts, validators and the engine do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def amount(self, asked: int | tuple[str, int], account: Address, operator: Address) -> Amount:
        """An amount that was drawn, or one beside or a part of what the account has."""
        if isinstance(asked, int):
            return Amount(asked)
        what, change = asked
        have = self.world.balance(account) if what == "balance" else self.world.worth(account, operator)
        return Amount(max(0, have + change) if change < 2 else have // change)

    def act(self, sender: Address, body: Body) -> bool:
        """One action in a sub-block of its own; returns whether it took effect."""
        return self.world.sub_block((sender, body)) == [None]

    @rule(sender=WHO, to=WHO, asked=HOW_MUCH)
    def transfer(self, sender: int, to: int, asked: int | tuple[str, int]) -> None:
        amount = self.amount(asked, ACCOUNTS[sender], ACCOUNTS[0])
        self.act(ACCOUNTS[sender], Transfer(to=ACCOUNTS[to], amount=amount))

    @rule(sender=WHO, operator=OPERATOR, asked=HOW_MUCH, out=st.booleans())
    def bond_or_unbond(self, sender: int, operator: int, asked: int | tuple[str, int], out: bool) -> None:
        account, at = ACCOUNTS[sender], ACCOUNTS[operator]
        if isinstance(asked, tuple) and self.world.worth(account, at):
            asked = ("worth" if out else "balance", asked[1])
        amount = self.amount(asked, account, at)
        body = Undelegate(validator=at, amount=amount) if out else Delegate(validator=at, amount=amount)
        self.trade(account, at, body)

    @rule(sender=WHO, operator=OPERATOR, bonded=st.integers(1, 9), unbonded=st.sampled_from((1, 2, 3)), gap=FEW)
    def bond_and_unbond(self, sender: int, operator: int, bonded: int, unbonded: int, gap: int) -> None:
        """In one epoch, or across its end: shares that earn nothing yet go first."""
        account, at = ACCOUNTS[sender], ACCOUNTS[operator]
        amount = Amount(self.world.balance(account) // bonded // 2)
        self.act(account, Delegate(validator=at, amount=amount))
        self.world.heights(gap)
        worth = self.world.worth(account, at)
        self.trade(account, at, Undelegate(validator=at, amount=Amount(worth // unbonded)))

    @rule(
        trades=st.lists(st.tuples(WHO, OPERATOR, st.booleans(), st.integers(1, 2_000_003)), min_size=2, max_size=6),
        away=st.one_of(st.none(), FEW),
    )
    def many_trade(self, trades: list[tuple[int, int, bool, int]], away: int | None) -> None:
        """Several trades of parts of what their senders have, in one sub-block."""
        actions: list[tuple[Address, Body]] = []
        for sender, operator, out, part in trades:
            account, at = ACCOUNTS[sender], ACCOUNTS[operator]
            have = self.world.worth(account, at) if out else self.world.balance(account)
            amount = Amount(have // part)
            actions.append((account, (Undelegate if out else Delegate)(validator=at, amount=amount)))
        self.world.sub_block(*actions, absent=() if away is None else (away,))

    def trade(self, account: Address, operator: Address, body: Body) -> None:
        """Bonds or unbonds in a draft: rounding may cost the one who trades, and never those who stay."""
        world = self.world
        draft, ctx = Draft(world.economy), world.context()
        others = [other for other in ACCOUNTS if other != account and draft.shares(other, operator)]
        before = {other: world.worth(other, operator) for other in others}
        had = world.balance(account) + world.worth(account, operator) + world.earned(account, operator)
        if world.act(draft, ctx, account, body) is None:
            after = World(draft.freeze())
            for other in others:
                assert after.worth(other, operator) >= before[other], "a trade took something from another delegator"
            unbonded = body.amount if isinstance(body, Undelegate) else 0
            have = after.balance(account) + after.worth(account, operator) + unbonded
            assert have <= had - world.economy.parameters.action_fee, "rounding made value"
        self.act(account, body)

    @rule(sender=WHO, key=KEY, asked=HOW_MUCH, rates=st.tuples(RATE, RATE, RATE))
    def create_validator(
        self, sender: int, key: int, asked: int | tuple[str, int], rates: tuple[int, int, int]
    ) -> None:
        account = ACCOUNTS[sender]
        body = CreateValidator(
            public_key=public_key(key),
            commission_ppm=rates[0],
            commission_max_ppm=rates[1],
            commission_step_ppm=rates[2],
            self_stake=self.amount(asked, account, account),
            name="another",
            possession=possession(key, account),
        )
        self.act(account, body)

    @rule(sender=OPERATOR, rate=RATE)
    def edit_validator(self, sender: int, rate: int) -> None:
        self.act(ACCOUNTS[sender], EditValidator(name="renamed", commission_ppm=rate))

    @rule(sender=OPERATOR, leaves=st.sampled_from((False, False, True)))
    def leave_or_come_back(self, sender: int, leaves: bool) -> None:
        self.act(ACCOUNTS[sender], LeaveValidator() if leaves else Unjail())

    @rule(sender=WHO, operator=OPERATOR)
    def withdraw(self, sender: int, operator: int) -> None:
        world, account, at = self.world, ACCOUNTS[sender], ACCOUNTS[operator]
        owed = world.earned(account, at)
        draft = Draft(world.economy)
        before = draft.balance(account)
        if world.act(draft, world.context(), account, WithdrawRewards(validator=at)) is None:
            assert draft.balance(account) == before + owed - world.economy.parameters.action_fee
        world.sub_block((account, WithdrawRewards(validator=at)), (at, WithdrawCommission()))

    @rule(count=st.integers(1, 8), elapsed_ms=st.sampled_from((0, 1, 250, 3_000)))
    def time_passes(self, count: int, elapsed_ms: int) -> None:
        self.world.heights(count, elapsed_ms=elapsed_ms)

    @rule(position=FEW, count=st.integers(1, 5), led_by=st.one_of(st.none(), FEW))
    def somebody_is_away(self, position: int, count: int, led_by: int | None) -> None:
        self.world.heights(count, absent=(position,), led_by=led_by)

    @rule(key=KEY, ago=st.integers(0, 12), kind=st.sampled_from(MisbehaviorKind), twice=st.booleans())
    def engine_evidence(self, key: int, ago: int, kind: MisbehaviorKind, twice: bool) -> None:
        fault = self.world.fault(key, heights_ago=ago, kind=kind)
        burned = self.world.economy.supply.burned
        self.world.sub_block(misbehavior=(fault, fault) if twice else (fault,))
        slashed = sum(getattr(effect, "slashed", 0) for effect in self.world.effects)
        assert self.world.economy.supply.burned - burned == slashed

    @rule(
        sender=WHO, operator=OPERATOR, key=st.none() | KEY, ago=st.integers(0, 12), kind=st.sampled_from((1, 1, 1, 2))
    )
    def submitted_evidence(self, sender: int, operator: int, key: int | None, ago: int, kind: int) -> None:
        payload = two_proposals(operator if key is None else key, max(1, self.world.height - ago))
        body = SubmitEvidence(evidence_kind=kind, validator=ACCOUNTS[operator], payload=payload)
        self.world.sub_block((ACCOUNTS[sender], body), (ACCOUNTS[sender], body))
        assert self.world.refusals[1] is not None, "the same evidence counted twice"

    @rule(
        changes=st.fixed_dictionaries(
            {},
            optional={
                "action_fee": st.sampled_from((0, 1, 10**18)),
                "validators_max": st.integers(1, 5),
                "epoch_heights": st.integers(2, 9),
                "self_stake_min": st.sampled_from((TOKEN, 2 * TOKEN, 10**30)),
                "downtime_window_heights": st.sampled_from((10, 11, 40)),
                "slash_duplicate_vote_ppm": st.sampled_from((0, 1, 500_000, 999_999, 1_000_000)),
                "slash_proposal_equivocation_ppm": st.sampled_from((0, 1, 500_000, 1_000_000)),
                "delegation_min": st.sampled_from((1, TOKEN)),
            },
        )
    )
    def parameters_change(self, changes: dict[str, int]) -> None:
        parameters = msgspec.structs.replace(self.world.economy.parameters, **changes)
        parameters.check()
        self.world.economy = msgspec.structs.replace(self.world.economy, parameters=parameters)


def machine_settings(count: int) -> settings:
    """So many machines of 50 steps."""
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    return settings(
        max_examples=count, stateful_step_count=50, deadline=None, print_blob=True, suppress_health_check=slow
    )


TestStakeMachine = StakeMachine.TestCase
TestStakeMachine.settings = machine_settings(500)


if __name__ == "__main__":
    asked_count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    began_s = perf_counter()
    run_state_machine_as_test(StakeMachine, settings=machine_settings(asked_count))
    print(f"{asked_count} machines of 50 steps: {perf_counter() - began_s:.0f} s, nothing found")
