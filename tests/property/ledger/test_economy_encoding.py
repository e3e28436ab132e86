"""An economy's bytes have one reading, and no other bytes are read as an economy."""

import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.codec.rlp import encode_uint
from plait.errors import CodecError
from plait.ledger.economy import decode_economy, economy_root, encode_economy
from plait.types import Address
from plait.types.action import Delegate, Undelegate
from plait.types.quantities import Amount
from tests.property.ledger.stake_world import ACCOUNTS, World, rebuilt
from tests.property.ledger.test_stake_long_run import live


def some_validator(world: World) -> Address:
    """One that takes delegations."""
    found = (o for o, v in world.economy.validators.items() if v.tokens and not v.tombstoned and not v.leaving)
    return Address(next(found))


@cache
def lived() -> bytes:
    """Of a network in which much has happened."""
    world = live(3, 120)
    for _ in range(6):
        pairs = [key for key, _ in world.economy.delegations.items()][::3]
        bodies = [(Address(pair[:20]), Undelegate(validator=Address(pair[20:]), amount=Amount(5))) for pair in pairs]
        world.sub_block(*bodies, absent=(1,))
    world.sub_block((ACCOUNTS[3], Delegate(validator=some_validator(world), amount=Amount(7))))
    world.sub_block(misbehavior=[world.fault(number) for number in range(12)])
    economy = world.economy
    for name in ("delegations", "unbondings", "releases", "marks", "keys", "evidence", "absences"):
        assert len(getattr(economy, name)), f"no {name}"
    return encode_economy(economy)


def test_encoding_and_root_do_not_depend_on_how_the_economy_came_about() -> None:
    economy = decode_economy(lived())
    assert encode_economy(economy) == lived()
    assert rebuilt(economy) == economy
    assert economy_root(rebuilt(economy)) == economy_root(economy)


@given(st.integers(0, 10**9), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_makes_another_economy(position: int, value: int) -> None:
    data = bytearray(lived())
    position %= len(data)
    if data[position] == value:
        return
    data[position] = value
    try:
        found = decode_economy(bytes(data))
    except CodecError:
        return
    assert encode_economy(found) == bytes(data)
    assert economy_root(found) != economy_root(decode_economy(lived()))


@given(st.binary(max_size=300))
def test_anything_else_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_economy(data)


@pytest.mark.parametrize("cut", [1, 7, 100, 5_000])
def test_a_cut_economy_is_refused(cut: int) -> None:
    with pytest.raises(CodecError):
        decode_economy(lived()[:-cut])
    with pytest.raises(CodecError):
        decode_economy(lived() + random.Random(cut).randbytes(cut))


def test_tokens_that_nothing_made_are_refused() -> None:
    economy = decode_economy(lived())
    account = next(record for _, record in economy.accounts.items() if record.balance % 2 == 0)
    plain, more = encode_uint(account.balance), encode_uint(account.balance + 1)
    assert len(plain) == len(more)
    assert lived().count(plain) >= 1
    with pytest.raises(CodecError) as refused:
        decode_economy(lived().replace(plain, more, 1))
    assert refused.value.code == "economy_not_conserved"
