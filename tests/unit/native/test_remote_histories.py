"""Remote rollups over whole histories: blocks, unwindings, restarts, crashes leave what a rollup with its state has."""

import json
import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from eth_utils import keccak

from plait.native import NativeError, Rollup, Store, Transaction, keccak256_many
from tests.unit.native.builders import ALICE, BOB, address, attributes, decode, genesis, sign, transfer
from tests.unit.native.remote_builders import KEEPER, KEEPER_CODE, SLOTS, LocalReader, chain, keep, remote

UNDO_BLOCKS = 60
# CALLER SELFDESTRUCT as init code: the account is there and gone within one transaction.
BORN_AND_GONE = bytes.fromhex("33ff")
STORES_AND_STAYS = bytes.fromhex("6001600055602a60005260206000f3")


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(NativeError) as caught:
        call()
    assert str(caught.value)
    return caught.value.code


@cache
def crowded() -> tuple[list[int], list[int], list[bytes], list[bytes]]:
    """(slots held, slots beside them, accounts held, accounts beside them).

    Hashes of what is held come in pairs with a long common beginning, so that tries have runs; what lies beside parts
    from them within the run or just behind it.
    """

    def pick(words: list[bytes]) -> tuple[list[int], list[int]]:
        nibbles = [word.hex() for word in keccak256_many(words)]
        by_start: dict[str, list[int]] = defaultdict(list)
        for index, text in enumerate(nibbles):
            by_start[text[:5]].append(index)
        pairs = [group[:2] for group in by_start.values() if len(group) > 1][:24]
        starts = {nibbles[pair[0]][:length] for pair in pairs for length in (3, 4)}
        inside = {index for pair in pairs for index in pair}
        beside = [index for index, text in enumerate(nibbles) if index not in inside and text[:4] in starts]
        return [index for pair in pairs for index in pair], beside

    words = [number.to_bytes(32, "big") for number in range(30_000)]
    slots, beside_slots = pick(words)
    accounts, beside_accounts = pick([word[12:] for word in words])
    return slots, beside_slots, [words[one][12:] for one in accounts], [words[one][12:] for one in beside_accounts]


@cache
def crowded_genesis() -> bytes:
    slots, _, accounts, _ = crowded()
    alloc = json.loads(genesis())["alloc"]
    words = {f"0x{number:064x}": "0x07" for number in [*slots, *range(SLOTS)]}
    alloc[KEEPER.hex()] = {"balance": "0x0", "code": "0x" + KEEPER_CODE.hex(), "storage": words}
    for account in accounts:
        alloc[account.hex()] = {"balance": "0x5"}
    return genesis(alloc=alloc)


def batch_of(draw: random.Random, nonce: int) -> list[Transaction]:
    slots, beside_slots, accounts, beside_accounts = crowded()
    batch = []
    for at in range(nonce, nonce + draw.randint(1, 9)):
        kind = draw.randint(0, 9)
        if kind < 5:
            pool = draw.choice([slots, beside_slots, range(SLOTS)])
            batch.append(keep(at, draw.choice(pool), draw.choice([0, 0, draw.randint(1, 9)])))
        elif kind < 8:
            batch.append(transfer(ALICE, at, draw.choice(draw.choice([accounts, beside_accounts])), draw.randint(0, 2)))
        else:
            code = draw.choice([BORN_AND_GONE, STORES_AND_STAYS])
            batch.append(decode(sign(ALICE, at, None, data=code, value=draw.randint(0, 1), gas=200_000))[0])
    return batch


class Pair:
    """A rollup that holds its state, and one beside it whose state the first one gives, at its latest block."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.path = str(folder / "snapshot")
        self.local = Rollup.from_genesis(crowded_genesis(), Store.in_memory(), undo_blocks=UNDO_BLOCKS)
        self.reader = LocalReader(self.local)
        self.reader.at_latest = True
        self.store = Store.in_memory()
        self.nonces = {0: 0}
        for number in range(1, self.draw.randint(2, 5)):
            self.block(number, [self.local])
        slots, _, accounts, _ = crowded()
        words = [slot.to_bytes(32, "big") for slot in [*slots, *range(SLOTS)]]
        keys = [(KEEPER, words), *((account, []) for account in accounts)]
        self.reader.read(self.local.head.number, self.local.head.hash, keys, [], [], None)
        self.reader.gives_nodes = True
        self.distant = remote(self.local, self.reader, self.store, undo_blocks=UNDO_BLOCKS)
        self.anchor = self.local.head.number
        self.since: list[Callable[[Rollup], None]] = []
        self.snapshot()

    def block(self, number: int, rollups: list[Rollup]) -> None:
        batch = batch_of(self.draw, self.nonces[number - 1])
        self.nonces[number] = self.nonces[number - 1] + len(batch)
        halves = batch[: len(batch) // 2], batch[len(batch) // 2 :]

        def step(rollup: Rollup) -> None:
            for part, transactions in enumerate(halves):
                session = rollup.session()
                if part == 0:
                    session.open(attributes(number))
                assert session.run(transactions).included == len(transactions)
                rollup.commit(session)
            session = rollup.session()
            session.seal()
            rollup.commit(session)

        for rollup in rollups:
            step(rollup)
        if rollups[0] is not self.local:
            self.since.append(step)

    def unwind(self) -> None:
        lowest = max(self.anchor, self.distant.lowest_unwind)
        target = self.draw.randint(lowest, self.distant.head.number)

        def step(rollup: Rollup) -> None:
            rollup.commit(rollup.session_at(target))

        self.reader.is_closed = True
        step(self.distant)
        self.reader.is_closed = False
        step(self.local)
        self.since.append(step)

    def snapshot(self) -> None:
        for kept in self.reader.journal:
            kept.clear()
        self.distant.freeze().write_snapshot(self.path)
        self.since.clear()

    def restart(self) -> None:
        """From the last snapshot, with what was read since then and nobody to ask."""
        nodes, codes, headers = (list(kept) for kept in self.reader.journal)
        self.reader.is_closed = True
        self.distant = Rollup.remote_from_snapshot(
            genesis(),
            self.store,
            self.path,
            self.reader,
            genesis_hash=self.local.genesis_hash,
            undo_blocks=UNDO_BLOCKS,
            known_nodes=nodes,
            known_codes=codes,
            known_headers=headers,
        )
        for step in self.since:
            step(self.distant)
        self.reader.is_closed = False

    def compare(self) -> None:
        assert self.distant.head.header_rlp == self.local.head.header_rlp
        slots, beside_slots, accounts, beside_accounts = crowded()
        some = self.draw.sample([*accounts, *beside_accounts], 6)
        assert self.distant.accounts(some, -1) == self.local.accounts(some, -1)
        for slot in self.draw.sample([*slots, *beside_slots], 6):
            word = slot.to_bytes(32, "big")
            assert self.distant.storage(KEEPER, word, -1) == self.local.storage(KEEPER, word, -1)


SEEDS = range(int(os.environ.get("PLAIT_REMOTE_SEEDS", "12")))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_of_blocks_unwindings_restarts_and_crashes_is_that_of_a_rollup_with_its_state(
    seed: int, tmp_path: Path
) -> None:
    pair = Pair(seed, tmp_path)
    done = []
    for _ in range(30):
        kind = pair.draw.choices(["block", "unwind", "snapshot", "restart"], [6, 2, 1, 2])[0]
        done.append(kind)
        try:
            if kind == "block":
                pair.block(pair.local.head.number + 1, [pair.distant, pair.local])
            elif kind == "unwind":
                pair.unwind()
            elif kind == "snapshot":
                pair.snapshot()
            else:
                if pair.draw.random() < 0.5:
                    pair.snapshot()
                pair.restart()
            pair.compare()
        except BaseException:
            print(f"seed {seed}, steps {done}; replay: pytest {__file__} -k '[{seed}]'")
            raise
    assert {"block", "unwind", "restart"} <= set(done)


def test_the_records_reach_back_to_the_anchor_after_a_restart_and_not_below(tmp_path: Path) -> None:
    pair = Pair(3, tmp_path)
    for number in range(pair.anchor + 1, pair.anchor + 20):
        pair.block(number, [pair.distant, pair.local])
    pair.snapshot()
    pair.restart()
    assert pair.distant.lowest_unwind == pair.anchor
    pair.reader.is_closed = True
    session = pair.distant.session_at(pair.anchor)
    assert session.head_hash == keccak(pair.local.raw_header(pair.anchor) or b"")
    assert session.is_remote
    assert code_of(lambda: pair.distant.session_at(pair.anchor - 1)) == "state_unavailable"


def test_a_snapshot_holds_the_open_block_and_asks_nobody_for_what_was_known(tmp_path: Path) -> None:
    pair = Pair(5, tmp_path)
    for rollup in (pair.distant, pair.local):
        session = rollup.session()
        session.open(attributes(pair.anchor + 1))
        assert session.run([keep(pair.nonces[pair.anchor], 3, 0)]).included == 1
        rollup.commit(session)
    pair.snapshot()
    pair.restart()
    pair.reader.is_closed = True
    opened = pair.distant.open_block
    assert opened is not None
    assert opened.transaction_count == 2
    assert pair.distant.storage(KEEPER, (3).to_bytes(32, "big"), -1) == bytes(32)
    unknown = (SLOTS - 1).to_bytes(32, "big")
    assert code_of(lambda: pair.distant.storage(KEEPER, unknown, -1)) == "remote_unavailable"


def test_damage_to_a_snapshot_of_what_is_known_is_found(tmp_path: Path) -> None:
    pair = Pair(1, tmp_path)
    pair.block(pair.anchor + 1, [pair.distant, pair.local])
    pair.snapshot()
    whole = Path(pair.path).read_bytes()
    draw = random.Random(1)
    codes = {"snapshot_corrupt", "snapshot_truncated", "snapshot_format"}
    for _ in range(40):
        at = draw.randrange(len(whole))
        Path(pair.path).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
        assert code_of(pair.restart) in codes, f"byte {at}"
        Path(pair.path).write_bytes(whole[:at])
        assert code_of(pair.restart) in codes, f"cut at {at}"
    Path(pair.path).write_bytes(whole)
    other = lambda: Rollup.remote_from_snapshot(  # noqa: E731
        genesis(), Store.in_memory(), pair.path, pair.reader, genesis_hash=bytes(32)
    )
    assert code_of(other) == "snapshot_foreign"
    assert code_of(lambda: Rollup.from_snapshot(crowded_genesis(), Store.in_memory(), pair.path)) == "snapshot_format"
    pair.local.write_snapshot(pair.path)
    assert code_of(pair.restart) == "snapshot_format"


def test_a_snapshot_waits_for_the_reads_that_were_under_way(tmp_path: Path) -> None:
    """Their answers lie in a journal that ends with the snapshot: they must be in it."""

    class Slow(LocalReader):
        begun, released = threading.Event(), threading.Event()

        def read(self, *arguments: object) -> tuple[list[bytes], list[bytes], list[bytes]]:
            answer = super().read(*arguments)  # type: ignore[arg-type]
            self.begun.set()
            assert self.released.wait(30)
            return answer

    local = chain(1)
    reader = Slow(local)
    distant = remote(local, reader)
    word = (5).to_bytes(32, "big")
    path = str(tmp_path / "snapshot")
    reading = threading.Thread(target=distant.storage, args=(KEEPER, word, -1))
    reading.start()
    assert reader.begun.wait(30)
    writing = threading.Thread(target=distant.write_snapshot, args=(path,))
    writing.start()
    writing.join(0.3)
    assert writing.is_alive()
    reader.released.set()
    reading.join(30)
    writing.join(30)
    again = Rollup.remote_from_snapshot(
        genesis(), Store.in_memory(), path, LocalReader(local), genesis_hash=local.genesis_hash
    )
    assert again.storage(KEEPER, word, -1) == local.storage(KEEPER, word, 1)
    assert again.statistics()["round_trips"] == 0


@pytest.fixture
def readers() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(60)


def test_reads_in_other_threads_change_no_result_of_execution(tmp_path: Path, readers: list[threading.Thread]) -> None:
    pair = Pair(7, tmp_path)
    slots, beside_slots, accounts, beside_accounts = crowded()
    failures: list[BaseException] = []
    is_over = threading.Event()
    request = json.dumps(
        {"from": "0x" + address(BOB).hex(), "to": "0x" + KEEPER.hex(), "input": "0x" + "00" * 63 + "01"}
    )

    def read(seed: int) -> None:
        draw = random.Random(seed)
        held = pair.local.head.number
        try:
            while not is_over.is_set():
                account = draw.choice([*accounts, *beside_accounts])
                pair.distant.accounts([account], draw.choice([-1, held]))
                word = draw.choice([*slots, *beside_slots]).to_bytes(32, "big")
                pair.distant.storage(KEEPER, word, -1)
                pair.distant.call(request.encode(), -1, None, None, 1_000_000)
                pair.distant.proof_json(KEEPER, [word], -1)
        except BaseException as error:
            failures.append(error)

    for seed in range(3):
        readers.append(threading.Thread(target=read, args=(seed,)))
        readers[-1].start()
    try:
        for number in range(pair.anchor + 1, pair.anchor + 25):
            pair.block(number, [pair.distant, pair.local])
            assert pair.distant.head.header_rlp == pair.local.head.header_rlp, f"block {number}"
    finally:
        is_over.set()
    for thread in readers:
        thread.join(60)
    assert failures == []


def test_ancestors_are_taken_by_hash_and_roots_and_read_like_own_blocks() -> None:
    local = chain(6)
    distant = remote(local, LocalReader(local))

    def raw(number: int) -> tuple[bytes, list[bytes], list[bytes]]:
        body = json.loads(local.block_json(number, False) or b"")["transactions"]
        raws = [local.raw_transaction(bytes.fromhex(one[2:])) or b"" for one in body]
        return local.raw_header(number) or b"", raws, local.raw_receipts(number) or []

    assert distant.block_json(6, True) is None
    top, below = raw(6), raw(5)
    wrong = [
        [raw(5)],
        [top, raw(4)],
        [(top[0], below[1], top[2])],
        [(top[0], top[1], below[2])],
        [(top[0], top[1][:1], top[2][:1])],
        [(top[0], [*top[1], b"\x02"], [*top[2], b"\x02"])],
        [(top[0] + b"\x00", top[1], top[2])],
    ]
    for blocks in wrong:
        assert code_of(lambda blocks=blocks: distant.put_ancestors(blocks)) == "snapshot_blocks_wrong"
    assert distant.block_json(6, True) is None
    distant.put_ancestors([top, below])
    distant.put_ancestors([raw(4), raw(3)])
    assert code_of(lambda: distant.put_ancestors([raw(1)])) == "snapshot_blocks_wrong"
    for number in range(3, 7):
        assert distant.block_json(number, True) == local.block_json(number, True)
        assert distant.raw_receipts(number) == local.raw_receipts(number)
        assert distant.execution_payload_json(number) == local.execution_payload_json(number)
    assert distant.raw_header(2) is None
    assert code_of(lambda: local.put_ancestors([top])) == "remote_unsupported"
    assert [distant.log(number, 0) for number in (2, 4, 6)] == [None] * 3
    session = distant.session()
    session.open(attributes(7))
    session.run([transfer(BOB, 6, address(ALICE), 1)])
    session.seal()
    distant.commit(session)
    assert distant.head.number == 7
