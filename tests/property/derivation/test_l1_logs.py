"""Logs of L1: every deposit comes back from its log; nothing that L1 could emit breaks the reading."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import rlp
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.derivation.deposits import TRANSACTION_DEPOSITED, L1Log, deposit_log, deposit_of_log, deposits_of_logs
from plait.derivation.system_config import CONFIG_UPDATE, SystemConfig, apply_update, update_of_log
from plait.errors import CodecError
from plait.types import Address, Gas, Wei

PORTAL = Address(b"\x11" * 20)
HASH = b"\x22" * 32
words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
uint256 = st.integers(0, 2**256 - 1)
indices = st.integers(0, 2**32)


@st.composite
def deposits(draw: Any) -> tuple[Deposit, int]:
    index = draw(indices)
    return (
        Deposit(
            source_hash=user_deposit_source_hash(HASH, index),
            sender=Address(draw(addresses)),
            to=draw(st.none() | addresses),
            mint=Wei(draw(uint256)),
            value=Wei(draw(uint256)),
            gas_limit=Gas(draw(st.integers(0, 2**64 - 1))),
            data=draw(st.binary(max_size=200)),
        ),
        index,
    )


@given(deposits())
def test_a_deposit_comes_back_from_the_log_that_a_portal_writes(made: tuple[Deposit, int]) -> None:
    deposit, index = made
    log = deposit_log(deposit, address=PORTAL, index=index)
    opaque = deposit.mint.to_bytes(32, "big") + deposit.value.to_bytes(32, "big")
    opaque += deposit.gas_limit.to_bytes(8, "big") + bytes([deposit.to is None]) + deposit.data
    assert log.data == encode(["bytes"], [opaque]), "as Solidity's abi.encode writes it"
    assert deposit_of_log(log, HASH) == deposit
    fields = rlp.decode(deposit.encode()[1:])
    assert fields[3] == (b"" if deposit.mint == 0 else fields[3])
    assert int.from_bytes(fields[4]) == deposit.value


@given(deposits(), st.data())
def test_a_damaged_log_is_malformed_and_never_another_kind_of_failure(made: tuple[Deposit, int], data: Any) -> None:
    deposit, index = made
    log = deposit_log(deposit, address=PORTAL, index=index)
    damage = data.draw(st.sampled_from(["cut", "more", "offset", "length", "version", "topics"]))
    if damage == "cut":
        kept = data.draw(st.integers(0, len(log.data) - 1))
        log = msgspec.structs.replace(log, data=log.data[:kept])
    elif damage == "more":
        log = msgspec.structs.replace(log, data=log.data + bytes(data.draw(st.integers(1, 64))))
    elif damage == "offset":
        other = data.draw(uint256.filter(lambda value: value != 32))
        log = msgspec.structs.replace(log, data=other.to_bytes(32, "big") + log.data[32:])
    elif damage == "length":
        room = len(log.data) - 64
        other = data.draw(uint256.filter(lambda value: value > room or value + 32 <= room))
        log = msgspec.structs.replace(log, data=log.data[:32] + other.to_bytes(32, "big") + log.data[64:])
    elif damage == "version":
        log = msgspec.structs.replace(log, topics=(*log.topics[:3], data.draw(words.filter(any))))
    else:
        log = msgspec.structs.replace(log, topics=log.topics[: data.draw(st.integers(1, 3))])
    with pytest.raises(CodecError) as refused:
        deposit_of_log(log, HASH)
    assert refused.value.code == "deposit_log_malformed"
    raws, malformed = deposits_of_logs([log], HASH, PORTAL)
    assert raws == ()
    assert [one.index for one in malformed] == [index]


@given(st.lists(deposits(), max_size=6), st.lists(st.tuples(addresses, st.lists(words, max_size=4), st.binary())))
def test_deposits_keep_the_order_of_their_logs_among_any_others(
    made: list[tuple[Deposit, int]], others: list[tuple[bytes, list[bytes], bytes]]
) -> None:
    ours = [deposit_log(deposit, address=PORTAL, index=index) for deposit, index in made]
    noise = [
        L1Log(Address(address), tuple(topics), data, 0)
        for address, topics, data in others
        if address != PORTAL or topics[:1] != [TRANSACTION_DEPOSITED]
    ]
    mixed = [log for pair in zip(ours, noise, strict=False) for log in pair] + ours[len(noise) :] + noise[len(ours) :]
    raws, malformed = deposits_of_logs(mixed, HASH, PORTAL)
    assert raws == tuple(deposit.encode() for deposit, _ in made)
    assert malformed == ()


@given(st.lists(words, max_size=5), st.binary(max_size=200))
def test_no_log_and_no_update_breaks_the_configuration(topics: list[bytes], data: bytes) -> None:
    system = SystemConfig(
        batcher=PORTAL, gas_limit=Gas(1), base_fee_scalar=2, blob_base_fee_scalar=3, eip1559_denominator=4,
        eip1559_elasticity=5,
    )  # fmt: skip
    for update in (update_of_log([CONFIG_UPDATE, *topics], data), update_of_log(topics, data), data):
        if update is not None:
            after = apply_update(system, update)
            assert 0 <= after.gas_limit < 2**64
            assert 0 <= after.da_footprint_gas_scalar < 2**16
            assert (after.eip1559_denominator == 0) == (after.eip1559_elasticity == 0)


@given(st.integers(0, 9), st.binary(min_size=0, max_size=96))
def test_an_update_of_the_wrong_length_changes_nothing(kind: int, content: bytes) -> None:
    system = SystemConfig(
        batcher=PORTAL, gas_limit=Gas(1), base_fee_scalar=2, blob_base_fee_scalar=3, eip1559_denominator=4,
        eip1559_elasticity=5,
    )  # fmt: skip
    sizes = {0: 32, 1: 64, 2: 32, 4: 32, 5: 32, 6: 32, 7: 32}
    after = apply_update(system, kind.to_bytes(32, "big") + content)
    assert after == system or len(content) == sizes[kind]
