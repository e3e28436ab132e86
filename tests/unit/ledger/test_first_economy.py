"""A network's first economy: what is refused, and that its validators lead from height 1 on."""

import msgspec
import pytest

from plait.errors import ConfigurationError
from plait.ledger.economy import holdings
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, first_validators, genesis_economy
from plait.ledger.parameters import PARAMETER_TABLE, TOKEN, LedgerParameters
from plait.ledger.rollup_records import NetworkMode
from plait.types import Address
from tests.property.ledger.stake_world import ACCOUNTS, World, first_economy, public_key


def validator(number: int, **changes: object) -> GenesisValidator:
    values: dict[str, object] = {
        "operator": Address(bytes((number,)) * 20),
        "public_key": public_key(number),
        "stake": TOKEN,
        "name": "one",
    }
    return GenesisValidator(**(values | changes))


@pytest.mark.parametrize(
    "genesis",
    [
        GenesisEconomy(accounts=((ACCOUNTS[0], 1), (ACCOUNTS[0], 2))),
        GenesisEconomy(accounts=((Address(b"short"), 1),)),
        GenesisEconomy(accounts=((ACCOUNTS[0], -1),)),
        GenesisEconomy(accounts=((ACCOUNTS[0], 2**127),)),
        GenesisEconomy(accounts=((ACCOUNTS[0], 10**36), (ACCOUNTS[1], 10**36))),
        GenesisEconomy(validators=(validator(1), validator(1))),
        GenesisEconomy(validators=(validator(1), validator(2, public_key=public_key(1)))),
        GenesisEconomy(validators=(validator(1, stake=TOKEN - 1),)),
        GenesisEconomy(validators=(validator(1, commission_ppm=5, commission_max_ppm=4),)),
        GenesisEconomy(validators=(validator(1, public_key=b"short"),)),
        GenesisEconomy(validators=(validator(1, name=""),)),
        GenesisEconomy(validators=(validator(1), validator(2)), mode=NetworkMode.SINGLE_OPERATOR),
        GenesisEconomy(validators=tuple(validator(i) for i in range(101))),
        GenesisEconomy(parameters=LedgerParameters(unbonding_ms=1_000, evidence_age_ms=1_000)),
        GenesisEconomy(parameters=LedgerParameters(epoch_heights=1)),
    ],
)
def test_an_unusable_genesis_is_refused_by_name(genesis: GenesisEconomy) -> None:
    with pytest.raises(ConfigurationError) as refused:
        genesis_economy(genesis)
    assert refused.value.code in {"ledger_genesis_invalid", "ledger_parameter_out_of_range"}


def test_every_token_of_the_genesis_is_counted_once() -> None:
    economy = first_economy()
    held = holdings(economy)
    assert held.bonded == 9 * TOKEN
    assert held.total == economy.supply.genesis == held.accounts + held.bonded


def test_the_first_set_is_told_to_the_engine() -> None:
    updates = first_validators(first_economy())
    assert {(update.public_key, update.power) for update in updates} == {
        (public_key(0), 5),
        (public_key(1), 3),
        (public_key(2), 1),
    }


def test_a_network_without_validators_has_actions_and_no_stake() -> None:
    economy = genesis_economy(GenesisEconomy(accounts=((ACCOUNTS[0], TOKEN),)))
    assert first_validators(economy) == ()
    assert economy.rotation.leader() == b""


def test_every_parameter_has_a_row_with_a_usable_default() -> None:
    assert tuple(PARAMETER_TABLE) == LedgerParameters.__struct_fields__
    for row in PARAMETER_TABLE.values():
        assert row.minimum <= row.default <= row.maximum
        for value in (row.minimum - 1, row.maximum + 1):
            with pytest.raises(ConfigurationError):
                msgspec.structs.replace(LedgerParameters(), **{row.name: value}).check()


def test_leaders_of_the_schedule_lead_when_their_height_comes() -> None:
    world = World()
    schedule = world.economy.rotation.schedule(30)
    assert schedule.count(world.sets[1].by_power()[0]) == 17, "five of nine parts of thirty heights"
    for leader in schedule[:2]:
        assert world.sets[world.height + 1].leader == leader
        world.sub_block()
    assert world.economy.rotation.leader(0, 1) != world.economy.rotation.leader(0, 0)
