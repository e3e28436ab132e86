"""Sessions: rollback restores everything, forks do not see each other, what cannot be applied leaves no trace."""

import random

import pytest

from plait.native import NativeError, Rollup, Session, Store, Transaction, advance_many, run_many
from tests.unit.native.builders import (
    ALICE,
    BOB,
    ETHER,
    GWEI,
    REVERTER,
    WRITER,
    address,
    attributes,
    decode,
    deposit,
    genesis,
    sign,
    transfer,
)


@pytest.fixture
def rollup() -> Rollup:
    return Rollup.from_genesis(genesis(), Store.in_memory())


@pytest.fixture
def session(rollup: Rollup) -> Session:
    session = rollup.session()
    session.open(attributes(1))
    return session


def write(nonce: int, word: int) -> Transaction:
    return decode(sign(ALICE, nonce, WRITER, data=word.to_bytes(32, "big")))[0]


def refused(call: object, *arguments: object) -> str:
    with pytest.raises(NativeError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert str(caught.value)
    return caught.value.code


def test_each_outcome_has_its_status_code_and_gas(session: Session) -> None:
    batch = decode(
        sign(ALICE, 0, address(BOB), value=5, gas=21_000),
        sign(ALICE, 1, REVERTER),
        sign(ALICE, 2, WRITER, data=(9).to_bytes(32, "big"), gas=30_000),
        sign(ALICE, 3, None, data=b"\xfe"),
        sign(ALICE, 9, address(BOB)),
        sign(ALICE, 0, address(BOB)),
        sign(ALICE, 4, address(BOB), value=10_000 * ETHER),
        sign(ALICE, 4, address(BOB), maxFeePerGas=1),
        sign(ALICE, 4, address(BOB), gas=20_000),
        sign(ALICE, 4, address(BOB), gas=40_000_000),
        sign(ALICE, 4, WRITER, data=(9).to_bytes(32, "big")),
    )
    outcomes = session.run(batch)
    assert list(outcomes.statuses) == [1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1]
    codes = [failure and failure[0] for failure in map(outcomes.failure, range(len(outcomes)))]
    assert codes == [
        None,
        "reverted",
        "out_of_gas",
        "invalid_opcode",
        "nonce_too_high",
        "nonce_too_low",
        "insufficient_funds",
        "fee_cap_too_low",
        "intrinsic_gas_too_low",
        "block_gas_limit_reached",
        None,
    ]
    assert outcomes.failure(1) == ("reverted", "execution reverted: no")
    assert outcomes.output(1)[:4] == bytes.fromhex("08c379a0")
    assert outcomes.included == 5
    assert outcomes.gas_used == sum(map(outcomes.transaction_gas_used, range(len(outcomes))))
    assert outcomes.transaction_gas_used(0) == 21_000
    assert outcomes.transaction_gas_used(2) == 30_000
    ((emitter, topics, data),) = outcomes.logs(10)
    assert (emitter, topics, data) == (WRITER, [(7).to_bytes(32, "big")], (9).to_bytes(32, "big"))
    assert outcomes.da_footprint == sum(transaction.da_size for transaction in batch[:4] + batch[10:]) * 400


def test_a_run_that_stops_ends_after_the_first_transaction_that_cannot_be_applied(session: Session) -> None:
    batch = [transfer(ALICE, 0, address(BOB)), transfer(ALICE, 5, address(BOB)), transfer(ALICE, 1, address(BOB))]
    assert list(session.run(batch, on_invalid="stop").statuses) == [1, 2]
    assert list(session.run(batch[2:], on_invalid="stop").statuses) == [1]


def test_transactions_left_out_leave_no_trace_in_the_sealed_block(rollup: Rollup) -> None:
    def seal(with_refused: bool) -> bytes:
        session = rollup.session()
        session.open(attributes(1))
        bad = decode(
            sign(BOB, 7, WRITER), sign(BOB, 0, WRITER, value=10_000 * ETHER), sign(BOB, 0, WRITER, gas=40_000_000)
        )
        session.run([write(0, 1), *(bad if with_refused else []), write(1, 2)])
        return session.seal().hash

    assert seal(with_refused=True) == seal(with_refused=False)


def test_the_da_footprint_bounds_a_jovian_block(rollup: Rollup) -> None:
    session = rollup.session()
    session.open(attributes(1, gas_limit=2_100_000))
    batch = [transfer(ALICE, nonce, address(BOB)) for nonce in range(60)]
    outcomes = session.run(batch)
    # 40,000 footprint each against 2,100,000: 52 fit though their gas (21,000 each) would let 97 in.
    assert outcomes.included == 52
    assert outcomes.failure(52) is not None
    assert outcomes.failure(52)[0] == "block_da_limit_reached"  # type: ignore[index]
    block = session.open_block
    assert block is not None
    assert block.da_footprint == 52 * 40_000


@pytest.mark.parametrize("seed", range(12))
def test_rollback_to_any_checkpoint_restores_the_block_as_if_the_rest_had_never_run(rollup: Rollup, seed: int) -> None:
    # Replay: the seed is in the test's name. A reference runs only what survives; both must seal to the same hash.
    dice = random.Random(seed)
    session, survivors = rollup.session(), []
    session.open(attributes(1))
    marks: list[tuple[int, int]] = []
    for _ in range(60):
        action = dice.random()
        if action < 0.25:
            marks.append((session.checkpoint(), len(survivors)))
        elif action < 0.4 and marks:
            index = dice.randrange(len(marks))
            checkpoint, length = marks[index]
            session.rollback(checkpoint)
            del survivors[length:], marks[index + 1 :]
        elif action < 0.5:
            session.fork()  # freezes the overlay: checkpoints from before it must still work
        else:
            nonce = len(survivors)
            kind = dice.randrange(3)
            transaction = (
                write(nonce, dice.randrange(3))
                if kind == 0
                else transfer(ALICE, nonce, dice.randbytes(20), dice.randrange(5))
                if kind == 1
                else decode(sign(ALICE, nonce, None, data=bytes.fromhex("6001600055600a600c600039600a6000f3")))[0]
            )
            assert session.run([transaction]).included == 1
            survivors.append(transaction)
    reference = rollup.session()
    reference.open(attributes(1))
    reference.run(survivors)
    assert session.seal().header_rlp == reference.seal().header_rlp


def test_checkpoints_after_a_rolled_back_one_are_invalid_and_the_one_itself_stays(session: Session) -> None:
    first = session.checkpoint()
    second = session.checkpoint()
    session.rollback(first)
    assert refused(session.rollback, second) == "checkpoint_invalid"
    session.run([transfer(ALICE, 0, address(BOB))])
    session.rollback(first)
    assert session.accounts([address(ALICE)])[0][0] == 0


def test_forks_share_the_past_and_not_the_future(session: Session) -> None:
    session.run([transfer(ALICE, 0, address(BOB), 10)])
    other = session.fork()
    session.run([transfer(ALICE, 1, address(BOB), 1)])
    assert session.accounts([address(BOB)])[0][1] == 1000 * ETHER + 11
    assert other.accounts([address(BOB)])[0][1] == 1000 * ETHER + 10
    other.run([transfer(ALICE, 1, address(BOB), 5)])
    assert other.accounts([address(BOB)])[0][1] == 1000 * ETHER + 15
    assert session.accounts([address(BOB)])[0][1] == 1000 * ETHER + 11


def test_deposits_are_always_included_and_mint_even_when_they_fail(rollup: Rollup) -> None:
    stranger = b"\x99" * 20
    session = rollup.session()
    outcomes = session.open(
        attributes(
            1,
            deposits=[
                deposit(b"\x01" * 32, stranger, address(BOB), mint=100, value=40),
                deposit(b"\x02" * 32, stranger, REVERTER, mint=7),
                deposit(b"\x03" * 32, stranger, address(BOB), value=10**30),
            ],
        )
    )
    assert list(outcomes.statuses) == [1, 1, 0, 0]
    assert session.accounts([stranger]) == [(3, 100 - 40 + 7, False)]
    block = session.open_block
    assert block is not None
    assert (block.deposit_count, block.transaction_count, block.number) == (4, 4, 1)


def test_a_refused_opening_leaves_the_session_as_it_was(rollup: Rollup) -> None:
    session = rollup.session()
    assert refused(session.open, attributes(0)) == "attributes_invalid"  # the parent's own time
    assert refused(session.open, attributes(1, deposits=[b"\x7e\xc0"])) == "deposit_malformed"
    heavy = deposit(b"\x01" * 32, b"\x99" * 20, address(BOB), gas_limit=30_000_000)
    assert refused(session.open, attributes(1, deposits=[heavy])) == "deposit_gas_exceeds_block"
    session.open(attributes(1))
    assert refused(session.open, attributes(2)) == "block_already_open"
    fresh = rollup.session()
    fresh.open(attributes(1))
    assert session.seal().hash == fresh.seal().hash


def test_calls_without_an_open_block_are_refused(rollup: Rollup) -> None:
    session = rollup.session()
    assert session.open_block is None
    assert refused(session.run, []) == "block_not_open"
    assert refused(session.seal) == "block_not_open"
    assert refused(session.checkpoint) == "block_not_open"


def test_blocks_chain_and_the_base_fee_follows_usage(rollup: Rollup) -> None:
    session = rollup.session()
    session.open(attributes(1))
    first = session.seal()
    session.open(attributes(2))
    second = session.seal()
    assert (first.number, second.number) == (1, 2)
    assert first.parent_hash == rollup.genesis_hash
    assert second.parent_hash == first.hash
    assert session.head_hash == second.hash
    assert first.base_fee == GWEI - GWEI // 250  # empty parent: one denominator's step down
    assert second.base_fee < first.base_fee
    assert rollup.head.number == 0  # nothing is decided before commit


def test_advancing_many_sessions_equals_advancing_them_one_by_one(rollup: Rollup) -> None:
    together = [rollup.session(), rollup.session()]
    sealed = advance_many([(together[0], [attributes(1), attributes(2)]), (together[1], [attributes(1)])])
    assert [[block.number for block in blocks] for blocks in sealed] == [[1], []]
    alone = rollup.session()
    alone.open(attributes(1))
    assert sealed[0][0].hash == alone.seal().hash
    outcomes = run_many([(together[0], [write(0, 5)]), (together[1], [write(0, 6), write(1, 7)])])
    assert [outcome.included for outcome in outcomes] == [1, 2]


def test_the_same_session_twice_in_one_parallel_call_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="twice"):
        run_many([(session, []), (session, [])])
