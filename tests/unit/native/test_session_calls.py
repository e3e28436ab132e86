"""A session's call answers what `Rollup.call` answers once the same changes are decided, and leaves nothing behind."""

import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from plait.native import PENDING, CallResult, NativeError, Rollup, Session, Store
from tests.unit.native.builders import (
    ALICE,
    BOB,
    ETHER,
    L1_BLOCK,
    REVERTER,
    WRITER,
    address,
    attributes,
    decode,
    genesis,
    sign,
    transfer,
)

SEED = 4

# Caller, gas price, base fee, number, timestamp, coinbase, own balance, the caller's balance, chain id, gas limit.
FACTS_CODE = "335f52" + "3a602052" + "48604052" + "43606052" + "42608052" + "4160a052" + "4760c052" + "333160e052"
FACTS_CODE += "4661010052" + "4561012052" + "6101405ff3"
FACTS = bytes.fromhex("c0de" + "00" * 17 + "04")
# Creates an empty-coded contract, stores its address, logs it and returns it.
CREATOR_CODE = "5f5f5ff0" + "80" + "5f55" + "5f52" + "60205fa0" + "60205ff3"
CREATOR = bytes.fromhex("c0de" + "00" * 17 + "05")
LOOP = bytes.fromhex("c0de" + "00" * 17 + "06")
INVALID = bytes.fromhex("c0de" + "00" * 17 + "07")
STRANGER = b"\x77" * 20
IDENTITY = bytes(19) + b"\x04"
CODES = {FACTS: FACTS_CODE, CREATOR: CREATOR_CODE, LOOP: "5b5f56", INVALID: "fe"}


@pytest.fixture
def rollup() -> Rollup:
    codes = {name.hex(): {"balance": "0x7", "code": "0x" + code} for name, code in CODES.items()}
    return Rollup.from_genesis(genesis(alloc=json.loads(genesis())["alloc"] | codes), Store.in_memory())


def fields(result: CallResult) -> tuple[bool, int, str, str | None]:
    return result.success, result.gas_used, result.output.hex(), result.error


def of_session(session: Session, sender: bytes, to: bytes, data: bytes, gas: int) -> object:
    try:
        return fields(session.call(sender, to, data, gas))
    except NativeError as refusal:
        return refusal.code, str(refusal)


def of_rollup(rollup: Rollup, sender: bytes, to: bytes, data: bytes, gas: int) -> object:
    request = {"from": "0x" + sender.hex(), "to": "0x" + to.hex(), "input": "0x" + data.hex(), "gas": hex(gas)}
    try:
        return fields(rollup.call(json.dumps(request).encode(), PENDING, None, None, 0))
    except NativeError as refusal:
        return refusal.code, str(refusal)


def random_calls(source: random.Random, count: int) -> list[tuple[bytes, bytes, bytes, int]]:
    senders = (bytes(20), STRANGER, address(ALICE), address(BOB), WRITER, L1_BLOCK)
    targets = (WRITER, REVERTER, FACTS, CREATOR, LOOP, INVALID, STRANGER, L1_BLOCK, IDENTITY, address(BOB))
    lengths = (0, 4, 32, 64, 1024)
    gases = (20_000, 21_000, 23_000, 26_000, 60_000, 100_000, 1_000_000, 50_000_000)
    return [
        (source.choice(senders), source.choice(targets), source.randbytes(source.choice(lengths)), source.choice(gases))
        for _ in range(count)
    ]


def test_a_call_answers_what_the_rollup_answers_after_the_commit(rollup: Rollup) -> None:
    source = random.Random(SEED)
    session = rollup.session()
    nonce, seen = 0, set()
    for number in range(1, 5):
        session.open(attributes(number))
        for _ in range(3):
            word = source.randbytes(32)
            raws = [
                sign(ALICE, nonce, WRITER, data=word),
                sign(ALICE, nonce + 1, CREATOR),
                sign(ALICE, nonce + 2, REVERTER),
            ]
            session.run([*decode(*raws), transfer(ALICE, nonce + 3, address(BOB), value=ETHER)])
            nonce += 4
            calls = random_calls(source, 60)
            answers = [of_session(session, *call) for call in calls]
            assert answers == [of_session(session.fork(), *call) for call in calls]
            rollup.commit(session)
            for call, answer in zip(calls, answers, strict=True):
                assert answer == of_rollup(rollup, *call), f"seed {SEED}, call {call}"
                seen.add(answer[0] if isinstance(answer, tuple) else None)
        session.seal()
    assert seen == {True, False, "intrinsic_gas_too_low"}


def test_the_call_sees_what_is_pending_in_the_session_only(rollup: Rollup) -> None:
    session = rollup.session()
    session.open(attributes(1))
    facts = session.call(STRANGER, FACTS, b"", 100_000)
    words = [int.from_bytes(facts.output[at : at + 32]) for at in range(0, len(facts.output), 32)]
    block = session.open_block
    assert block is not None
    assert words[:5] == [int.from_bytes(STRANGER), 0, 0, 1, block.timestamp]
    assert words[6:] == [7, 0, 901, 30_000_000]
    mark = session.checkpoint()
    session.run([transfer(ALICE, 0, STRANGER, value=5)])
    assert int.from_bytes(session.call(STRANGER, FACTS, b"", 100_000).output[7 * 32 : 8 * 32]) == 5
    session.rollback(mark)
    assert session.call(STRANGER, FACTS, b"", 100_000).output == facts.output


def test_nothing_of_a_call_is_kept(rollup: Rollup) -> None:
    plain, calling = rollup.session(), rollup.session()
    for session in (plain, calling):
        session.open(attributes(1))
    source = random.Random(SEED)
    for nonce in range(12):
        batch = decode(sign(ALICE, nonce, (WRITER, CREATOR, REVERTER)[nonce % 3], data=bytes([nonce]) * 32))
        for call in random_calls(source, 40):
            of_session(calling, *call)
        mark = calling.checkpoint()
        calling.run(batch)
        calling.call(STRANGER, CREATOR, b"", 1_000_000)
        calling.rollback(mark)
        assert [calling.run(batch).statuses, calling.open_block and calling.open_block.log_count] == [
            plain.run(batch).statuses,
            plain.open_block and plain.open_block.log_count,
        ]
    assert calling.accounts([STRANGER]) == [(0, 0, False)]
    rollup.commit(calling)
    assert calling.seal().hash == plain.seal().hash


def test_a_call_needs_an_open_block_and_two_addresses(rollup: Rollup) -> None:
    session = rollup.session()
    with pytest.raises(NativeError) as caught:
        session.call(STRANGER, WRITER, b"", 100_000)
    assert caught.value.code == "block_not_open"
    session.open(attributes(1))
    for sender, to in ((b"", WRITER), (STRANGER, b"\x01" * 21)):
        with pytest.raises(ValueError, match="20 bytes"):
            session.call(sender, to, b"", 100_000)


def test_calls_on_one_session_from_many_threads_wait_for_each_other(rollup: Rollup) -> None:
    session = rollup.session()
    session.open(attributes(1))
    calls = random_calls(random.Random(SEED), 200)
    expected = [of_session(session, *call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda call: of_session(session, *call), calls)) == expected
