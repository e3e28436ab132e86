"""Bonding and unbonding: who owns what, when it counts, when it comes free, and what is refused."""

import msgspec
import pytest

from plait.errors import ActionRefused
from plait.ledger import epochs, steps
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy
from plait.ledger.parameters import TOKEN
from plait.ledger.stake_records import unbonding_key
from plait.types.action import (
    CreateValidator,
    Delegate,
    EditValidator,
    LeaveValidator,
    Transfer,
    Undelegate,
    Unjail,
)
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import ACCOUNTS, QUICK, World, first_economy, possession, public_key

FIRST, SECOND, THIRD, WHALE, SAVER, POOR = ACCOUNTS[:6]
FEE = QUICK.action_fee


def unbonding(economy: Economy, delegator: bytes, operator: bytes) -> int:
    return sum(amount for key, amount in economy.unbondings.items() if key[8:] == operator + delegator)


def create(key: int = 5, **changes: object) -> CreateValidator:
    values: dict[str, object] = {
        "public_key": public_key(key),
        "commission_ppm": 50_000,
        "commission_max_ppm": 200_000,
        "commission_step_ppm": 10_000,
        "self_stake": Amount(2 * TOKEN),
        "name": "newcomer",
        "possession": possession(key, WHALE),
    }
    return CreateValidator(**(values | changes))


def test_a_delegation_moves_tokens_and_counts_from_the_next_epoch_on() -> None:
    world = World()
    assert world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(10 * TOKEN)))) == [None]
    assert world.balance(WHALE) == 10**36 - 10 * TOKEN - FEE
    assert world.worth(WHALE, FIRST) == 10 * TOKEN
    validator = world.economy.validators.get(FIRST)
    assert validator is not None
    assert (validator.tokens, validator.power) == (15 * TOKEN, 5), "power does not change within an epoch"
    world.epoch()
    validator = world.economy.validators.get(FIRST)
    assert validator is not None
    assert validator.power == 15


def test_unbonded_stake_comes_back_after_time_and_heights_and_not_before() -> None:
    world = World()
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(10 * TOKEN))))
    world.epoch()
    assert world.sub_block((WHALE, Undelegate(validator=FIRST, amount=Amount(4 * TOKEN)))) == [None]
    began = world.height
    assert world.worth(WHALE, FIRST) == 6 * TOKEN
    assert unbonding(world.economy, WHALE, FIRST) == 4 * TOKEN
    world.epoch()
    release_height, release_ms = world.height + 2, world.time_ms + 500
    before = world.balance(WHALE)
    while unbonding(world.economy, WHALE, FIRST):
        world.sub_block()
        assert world.height < began + 40
    assert world.height - release_height > QUICK.evidence_age_heights
    assert world.time_ms - release_ms > QUICK.unbonding_ms
    assert world.balance(WHALE) == before + 4 * TOKEN
    assert not list(world.economy.releases.items())


@pytest.mark.parametrize("elapsed_ms", [1, 5_000])
def test_neither_time_nor_heights_alone_free_unbonded_stake(elapsed_ms: int) -> None:
    world = World()
    world.epoch()
    world.sub_block((FIRST, Undelegate(validator=FIRST, amount=Amount(TOKEN))))
    world.epoch()
    world.heights(2)
    world.heights(QUICK.evidence_age_heights if elapsed_ms > 250 else 60, elapsed_ms=elapsed_ms)
    assert unbonding(world.economy, FIRST, FIRST) == TOKEN


def test_one_sub_block_pays_out_a_bounded_number_of_unbondings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "UNBONDINGS_PER_SUB_BLOCK_MAX", 2)
    world = World()
    savers = (WHALE, SAVER, FIRST, THIRD)
    world.sub_block(*((saver, Delegate(validator=FIRST, amount=Amount(10))) for saver in savers))
    world.sub_block(*((saver, Undelegate(validator=FIRST, amount=Amount(5))) for saver in savers))
    assert len(world.economy.unbondings) == 4
    left = []
    while len(world.economy.unbondings):
        world.sub_block()
        left.append(len(world.economy.unbondings))
    assert left[-3:] == [4, 2, 0]
    assert len(world.economy.releases) == 0


def test_unbonding_everything_takes_all_shares_and_forgets_the_delegation() -> None:
    world = World()
    world.sub_block((WHALE, Delegate(validator=FIRST, amount=Amount(3 * TOKEN + 1))))
    amount = Amount(world.worth(WHALE, FIRST))
    assert world.sub_block((WHALE, Undelegate(validator=FIRST, amount=amount))) == [None]
    assert Draft(world.economy).shares(WHALE, FIRST) == 0
    assert not list(world.economy.marks.items())


def test_several_unbondings_of_one_epoch_are_one_row() -> None:
    world = World()
    body = Undelegate(validator=FIRST, amount=Amount(5))
    assert world.sub_block((FIRST, body), (FIRST, body), (FIRST, body)) == [None] * 3
    key = unbonding_key(0, FIRST, FIRST)
    assert list(world.economy.unbondings.items()) == [(key, 15)]


def test_rounding_favours_those_who_stay() -> None:
    world = World()
    world.sub_block((SAVER, Delegate(validator=FIRST, amount=Amount(10**19))))
    world.sub_block(misbehavior=[world.fault(1)])
    assert world.worth(SECOND, SECOND) == 3 * TOKEN - 3 * TOKEN * 333_333 // 10**6
    worth = world.worth(SAVER, FIRST)
    for amount in (1, 3, 7, 10**6 + 1):
        before = world.worth(FIRST, FIRST)
        world.sub_block((SAVER, Undelegate(validator=FIRST, amount=Amount(amount))))
        assert world.worth(FIRST, FIRST) >= before
        assert world.worth(SAVER, FIRST) <= worth - amount
        worth = world.worth(SAVER, FIRST)


@pytest.mark.parametrize(
    ("sender", "body", "code"),
    [
        (WHALE, Delegate(validator=WHALE, amount=Amount(TOKEN)), "validator_unknown"),
        (WHALE, Delegate(validator=FIRST, amount=Amount(0)), "delegation_too_small"),
        (WHALE, Delegate(validator=FIRST, amount=Amount(10**36)), "account_balance_insufficient"),
        (WHALE, Delegate(validator=FIRST, amount=Amount(2**128 - 1)), "account_balance_insufficient"),
        (WHALE, Undelegate(validator=FIRST, amount=Amount(1)), "delegation_unknown"),
        (WHALE, Undelegate(validator=POOR, amount=Amount(1)), "validator_unknown"),
        (FIRST, Undelegate(validator=FIRST, amount=Amount(5 * TOKEN + 1)), "delegation_insufficient"),
        (FIRST, Undelegate(validator=FIRST, amount=Amount(0)), "delegation_insufficient"),
        (POOR, Transfer(to=FIRST, amount=Amount(0)), "account_balance_insufficient"),
        (SECOND, Transfer(to=FIRST, amount=Amount(5)), "account_balance_insufficient"),
        (WHALE, create(commission_ppm=300_000), "commission_invalid"),
        (WHALE, create(self_stake=Amount(TOKEN - 1)), "self_stake_too_small"),
        (WHALE, create(possession=bytes(64)), "validator_key_not_possessed"),
        (WHALE, create(possession=possession(5, FIRST)), "validator_key_not_possessed"),
        (WHALE, create(key=0), "validator_key_used"),
        (FIRST, create(), "validator_exists"),
        (FIRST, EditValidator(name="x", commission_ppm=100_001), "commission_invalid"),
        (WHALE, EditValidator(name="x", commission_ppm=0), "validator_unknown"),
        (FIRST, Unjail(), "validator_not_jailed"),
        (WHALE, LeaveValidator(), "validator_unknown"),
    ],
)
def test_what_is_refused_is_refused_by_name_and_leaves_no_trace(sender, body, code) -> None:
    assert World().sub_block((sender, body)) == [code]


def test_a_validator_that_was_created_stands_for_the_next_set() -> None:
    world = World()
    assert world.sub_block((WHALE, create())) == [None]
    world.epoch()
    operators = {operator for operator, validator in world.economy.validators.items() if validator.bonded}
    assert operators == {FIRST, SECOND, WHALE}, "two tokens are more than the third's one; three may be in the set"


def test_equal_stake_is_decided_by_the_operators_address() -> None:
    world = World(first_economy(QUICK, (2, 2, 2)))
    parameters = msgspec.structs.replace(QUICK, validators_max=2)
    world.economy = msgspec.structs.replace(world.economy, parameters=parameters)
    world.sub_block()
    world.sub_block()
    world.sub_block()
    assert [v.power for _, v in world.economy.validators.items()] == [2, 2, 0]


def test_the_commission_moves_at_most_a_step_per_epoch() -> None:
    world = World()
    codes = world.sub_block(
        (SECOND, EditValidator(name="a", commission_ppm=200_000)),
        (SECOND, Transfer(to=WHALE, amount=Amount(0))),
    )
    assert codes == [None, None]
    assert world.sub_block((SECOND, EditValidator(name="a", commission_ppm=0))) == ["account_balance_insufficient"]
    world.sub_block((WHALE, Transfer(to=SECOND, amount=Amount(1_000))))
    world = World()
    world.sub_block((WHALE, Transfer(to=SECOND, amount=Amount(1_000))))
    world.epoch()
    assert world.sub_block((SECOND, EditValidator(name="a", commission_ppm=200_000))) == [None]
    assert world.sub_block((SECOND, EditValidator(name="a", commission_ppm=300_000))) == ["commission_invalid"]
    assert world.sub_block((SECOND, EditValidator(name="a", commission_ppm=0))) == [None]
    world.epoch()
    assert world.sub_block((SECOND, EditValidator(name="a", commission_ppm=100_000))) == [None]


def test_a_validator_that_leaves_is_out_at_the_epochs_end_and_forgotten_much_later() -> None:
    world = World()
    assert world.sub_block((THIRD, LeaveValidator())) == [None]
    assert world.sub_block((WHALE, Delegate(validator=THIRD, amount=Amount(TOKEN)))) == ["validator_leaving"]
    world.epoch()
    validator = world.economy.validators.get(THIRD)
    assert validator is not None
    assert (validator.power, validator.shares) == (0, 0)
    world.heights(40)
    assert world.economy.validators.get(THIRD) is None
    assert len(list(world.economy.keys.items())) == 2
    assert world.balance(THIRD) == 2 * TOKEN + 10**6 - FEE + validator.commission


def test_the_last_validator_cannot_leave() -> None:
    world = World(first_economy(QUICK, (5,)))
    assert world.sub_block((FIRST, LeaveValidator())) == ["validator_last"]


def test_when_nobody_may_stand_the_set_stays() -> None:
    world = World()
    parameters = msgspec.structs.replace(QUICK, self_stake_min=100 * TOKEN)
    world.economy = msgspec.structs.replace(world.economy, parameters=parameters)
    world.epoch()
    assert len(world.economy.seats.addresses) == 3


def test_a_nonce_is_used_once_and_a_fee_is_capped_by_its_sender() -> None:
    world = World()
    draft, ctx = Draft(world.economy), world.context()
    body = Transfer(to=FIRST, amount=Amount(1))
    for nonce, max_fee, code in ((1, 9, "action_nonce_too_high"), (0, FEE - 1, "action_fee_too_low")):
        with pytest.raises(ActionRefused) as refused:
            steps.act(draft, ctx, world.signed(WHALE, body, nonce=nonce, max_fee=max_fee))
        assert refused.value.code == code
    action = world.signed(WHALE, body, nonce=0, max_fee=FEE)
    steps.act(draft, ctx, action)
    with pytest.raises(ActionRefused) as refused:
        steps.act(draft, ctx, action)
    assert refused.value.code == "action_nonce_too_low"
    assert draft.pot == FEE
