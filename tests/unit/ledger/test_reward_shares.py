"""Rewards: who gets which part of an epoch's pot and issuance, and that nobody can collect what others waited for."""

import msgspec

from plait.ledger.happenings import EpochEnded
from plait.ledger.parameters import TOKEN
from plait.ledger.rewards import YEAR_MS
from plait.limits import SUPPLY_MAX
from plait.types.action import PPM, Delegate, Transfer, Undelegate, WithdrawCommission, WithdrawRewards
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import ACCOUNTS, QUICK, World, first_economy

FIRST, SECOND, THIRD, WHALE, SAVER = ACCOUNTS[:5]
STILL = msgspec.structs.replace(QUICK, issuance_ppm_per_year=0, action_fee=9 * 10**6)


def ended(world: World) -> EpochEnded:
    return next(effect for effect in world.effects if isinstance(effect, EpochEnded))


def test_the_pot_goes_by_power_and_commission() -> None:
    world = World(first_economy(STILL))
    world.sub_block()
    world.sub_block((WHALE, Transfer(to=SAVER, amount=Amount(1))))
    world.sub_block()
    assert ended(world).distributed == 9 * 10**6
    validators = [world.economy.validators.get(operator) for operator in (FIRST, SECOND, THIRD)]
    rewards = [(v.rewards, v.commission) for v in validators if v is not None]
    assert rewards == [(5 * 10**6, 0), (27 * 10**5, 3 * 10**5), (8 * 10**5, 2 * 10**5)]
    assert world.earned(FIRST, FIRST) == 5 * 10**6
    before = world.balance(FIRST)
    assert world.sub_block((FIRST, WithdrawRewards(validator=FIRST))) == [None]
    assert world.balance(FIRST) == before + 5 * 10**6 - STILL.action_fee


def test_a_height_without_a_vote_earns_nothing() -> None:
    world = World(first_economy(STILL))
    world.sub_block((WHALE, Transfer(to=SAVER, amount=Amount(1))))
    world.sub_block(absent=(0,))
    world.sub_block()
    first, second, third = (world.economy.validators.get(operator) for operator in (FIRST, SECOND, THIRD))
    assert first is not None
    assert second is not None
    assert third is not None
    pot = 9 * 10**6
    assert first.rewards == pot * 5 // 13, "5 * 1 of 5 * 1 + 3 * 2 + 1 * 2"
    assert second.rewards + second.commission == pot * 6 // 13
    assert third.rewards + third.commission == pot * 2 // 13
    assert world.economy.supply.pot == pot - pot * 5 // 13 - pot * 6 // 13 - pot * 2 // 13


def test_stake_that_comes_just_before_the_end_of_an_epoch_earns_nothing_of_it() -> None:
    world = World(first_economy(STILL))
    world.heights(2)
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(10**30))))
    assert ended(world).distributed == STILL.action_fee
    assert world.earned(WHALE, FIRST) == 0
    assert world.earned(FIRST, FIRST) == STILL.action_fee * 5 // 9
    world.sub_block((SAVER, Transfer(to=WHALE, amount=Amount(1))))
    world.epoch()
    assert world.earned(WHALE, FIRST) > STILL.action_fee * 99 // 100, "from the next epoch on it earns"


def test_shares_added_twice_earn_each_from_its_own_epoch() -> None:
    world = World(first_economy(STILL))
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(5 * TOKEN))))
    world.epoch()
    world.sub_block((SAVER, Transfer(to=WHALE, amount=Amount(0))))
    world.epoch()
    part = STILL.action_fee * 10 // 14 // 2
    assert abs(world.earned(WHALE, FIRST) - part) <= 1
    before = world.balance(WHALE)
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(5 * TOKEN))))
    assert abs(world.balance(WHALE) - (before + part - 5 * TOKEN - STILL.action_fee)) <= 1, "paid when it changed"
    assert world.earned(WHALE, FIRST) == 0
    world.epoch()
    first = world.economy.validators.get(FIRST)
    assert first is not None
    assert abs(world.earned(WHALE, FIRST) - STILL.action_fee * 10 // 14 // 2) <= 1, "five of ten shares earned"


def test_commission_is_the_operators_to_withdraw() -> None:
    world = World()
    world.epoch()
    second = world.economy.validators.get(SECOND)
    assert second is not None
    assert second.commission > 0
    before = world.balance(SECOND)
    assert world.sub_block((SECOND, WithdrawCommission()))[0] is None
    assert world.balance(SECOND) == before + second.commission - QUICK.action_fee
    assert world.sub_block((FIRST, WithdrawCommission())) == ["commission_empty"]


def test_issuance_follows_time_and_stops_at_the_greatest_supply() -> None:
    world = World()
    supply = world.economy.supply.genesis
    world.epoch()
    assert ended(world).issued == supply * QUICK.issuance_ppm_per_year * 500 // (PPM * YEAR_MS)
    full = msgspec.structs.replace(world.economy.supply, genesis=SUPPLY_MAX - world.economy.supply.issued - 5)
    account = world.economy.accounts.get(WHALE)
    assert account is not None
    missing = SUPPLY_MAX - 5 - supply - world.economy.supply.issued
    rich = msgspec.structs.replace(account, balance=account.balance + missing)
    world.economy = msgspec.structs.replace(
        world.economy, supply=full, accounts=world.economy.accounts.with_changes({WHALE: rich})
    )
    world.epoch()
    assert ended(world).issued == 5
    world.epoch()
    assert ended(world).issued == 0


def test_what_rounding_leaves_with_the_last_delegator_goes_to_the_pot() -> None:
    world = World(first_economy(msgspec.structs.replace(QUICK, action_fee=1)))
    world.sub_block((SAVER, Delegate(validator=FIRST, amount=Amount(3))))
    world.epoch()
    world.epoch()
    world.sub_block((SAVER, Undelegate(validator=FIRST, amount=Amount(3))))
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(5 * TOKEN))))
    first = world.economy.validators.get(FIRST)
    assert first is not None
    assert (first.tokens, first.shares, first.rewards) == (0, 0, 0)
