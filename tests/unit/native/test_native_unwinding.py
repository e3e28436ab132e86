"""Unwinding: a session of an earlier block replaces the chain above it, in one step, for every way of reading."""

import json
from pathlib import Path

import pytest

from plait.native import NativeError, Rollup, Store, Transaction, advance_many
from tests.unit.native.builders import ALICE, BOB, WRITER, address, attributes, decode, genesis, sign, transfer


@pytest.fixture
def rollup() -> Rollup:
    return Rollup.from_genesis(genesis(), Store.in_memory())


def write(nonce: int, word: int) -> Transaction:
    return decode(sign(ALICE, nonce, WRITER, data=word.to_bytes(32, "big")))[0]


def build(rollup: Rollup, last: int) -> None:
    """Seals the blocks up to `last`, one write in each, and leaves the next one open."""
    session = rollup.session()
    for number in range(session.head_number + 1, last + 1):
        session.open(attributes(number))
        assert session.run([write(number - 1, number)]).included == 1
        session.seal()
    session.open(attributes(last + 1))
    rollup.commit(session)


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(NativeError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert str(caught.value)
    return caught.value.code


def test_a_committed_session_of_an_earlier_block_replaces_the_chain_above_it(rollup: Rollup) -> None:
    build(rollup, 6)
    old = [rollup.raw_header(number) for number in range(7)]
    lost = [write(number - 1, number) for number in range(1, 7)]
    gone = rollup.raw_block(4), rollup.raw_receipts(4), rollup.block_json(4, False)
    session = rollup.session_at(3)
    assert (session.unwound_to, session.head_number, session.open_block) == (3, 3, None)
    assert session.storage(WRITER, bytes(32)) == (3).to_bytes(32, "big")
    assert session.log(4, 0) is None
    assert session.log(3, 0) is not None
    session.open(attributes(4))
    session.run([transfer(ALICE, 3, address(BOB), 1)])
    sealed = session.seal()
    assert rollup.head.number == 6, "nothing happens before the commit"
    rollup.commit(session)
    assert (session.unwound_to, rollup.head.hash, rollup.open_block) == (None, sealed.hash, None)
    assert [rollup.raw_header(number) for number in range(4)] == old[:4]
    assert rollup.raw_header(5) is None
    assert rollup.block_json(6, False) is None
    assert [rollup.transaction_location(item.hash) for item in lost] == [(1, 1), (2, 1), (3, 1), None, None, None]
    removed = bytes.fromhex(json.loads(gone[2] or b"")["hash"][2:])
    assert rollup.block_number_by_hash(removed) is None
    assert rollup.replaced_block(removed) == (4, gone[0], gone[1])
    assert rollup.replaced_block(sealed.hash) is None
    assert rollup.replaced_block(bytes(32)) is None
    session.open(attributes(5))
    session.seal()
    rollup.commit(session)
    assert rollup.head.number == 5, "the session goes on like any other"


def test_a_session_of_the_head_drops_the_open_block_alone(rollup: Rollup) -> None:
    build(rollup, 2)
    head = rollup.head.hash
    session = rollup.session_at(2)
    assert session.unwound_to == 2
    rollup.commit(session)
    assert (rollup.head.hash, rollup.open_block) == (head, None)


def test_forks_and_the_rollups_other_sessions_are_stale_after_an_unwinding(rollup: Rollup) -> None:
    build(rollup, 3)
    plain, earlier = rollup.session(), rollup.session_at(1)
    fork = earlier.fork()
    assert fork.unwound_to == 1
    rollup.commit(earlier)
    assert rollup.head.number == 1
    assert {code_of(rollup.commit, session) for session in (plain, fork)} == {"session_stale"}


@pytest.mark.parametrize("number", [4, 2**64, -1, 2**200])
def test_numbers_that_no_sealed_block_has_are_refused(rollup: Rollup, number: int) -> None:
    build(rollup, 3)
    assert code_of(rollup.session_at, number) == "block_unknown"


def test_advance_many_builds_on_unwound_sessions_what_it_builds_on_a_rollup_that_never_went_further() -> None:
    rollups = [Rollup.from_genesis(genesis(), Store.in_memory()) for _ in range(2)]
    for rollup, last in zip(rollups, (9, 5), strict=True):
        build(rollup, last)
    sessions = [rollup.session_at(5) for rollup in rollups]
    sealed = advance_many([(session, [attributes(number) for number in range(6, 12)]) for session in sessions])
    assert [block.hash for block in sealed[0]] == [block.hash for block in sealed[1]]
    for rollup, session in zip(rollups, sessions, strict=True):
        rollup.commit(session)
    assert rollups[0].head.hash == rollups[1].head.hash


def test_a_replay_from_a_snapshot_before_the_unwinding_sees_the_chain_of_then(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    rollup = Rollup.from_genesis(genesis(), store)
    build(rollup, 6)
    blocks = [rollup.raw_block(number) for number in range(7)]
    log = rollup.log(5, 0)
    rollup.write_snapshot(str(tmp_path / "snapshot"))
    session = rollup.session_at(3)
    for number in (4, 5, 6, 7):
        session.open(attributes(number))
        session.seal()
    rollup.commit(session)
    assert rollup.log(5, 0) is None
    again = Rollup.from_snapshot(genesis(), store, str(tmp_path / "snapshot"))
    assert [again.raw_block(number) for number in range(7)] == blocks
    assert again.log(5, 0) == log
    assert again.session().log(5, 0) == log
    assert again.transaction_location(write(4, 5).hash) == (5, 1)
    store.close()


def test_undo_records_reach_back_beyond_the_states_in_memory_and_over_a_restart(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    rollup = Rollup.from_genesis(genesis(), store, undo_blocks=200)
    build(rollup, 140)
    assert rollup.lowest_unwind == 0
    rollup.write_snapshot(str(tmp_path / "snapshot"))
    again = Rollup.from_snapshot(genesis(), store, str(tmp_path / "snapshot"), undo_blocks=200)
    assert (again.statistics()["states_kept"], again.lowest_unwind) == (1, 0)
    session = again.session_at(7)
    assert session.storage(WRITER, bytes(32)) == (7).to_bytes(32, "big")
    session.open(attributes(8))
    session.run([write(7, 8)])
    assert session.seal().header_rlp == rollup.raw_header(8)
    again.commit(session)
    assert again.head.number == 8
    store.close()
