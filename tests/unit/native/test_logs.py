"""One log by its place: `log` answers what the runs gave and the receipts say, wherever the block lies by now."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from plait.native import (
    Attributes,
    NativeError,
    Outcomes,
    Rollup,
    Session,
    Store,
    Transaction,
    declaring,
)
from tests.unit.native.builders import (
    ALICE,
    BOB,
    CHAIN_ID,
    GENESIS_TIME,
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

# Emits as many logs as the first word says, the rest as topic and data; then reverts if the second word is not 0.
COUNTER_CODE = "5f355b8015601757805f528060205fa1600190036002565b602035601f57005b5f5ffd"
COUNTER = bytes.fromhex("c0de" + "00" * 17 + "03")
INBOX = bytes.fromhex("4200000000000000000000000000000000000022")
FOREIGN = b"\x51" * 20

Log = tuple[bytes, list[bytes], bytes]
Chain = list[list[Log]]
"""Logs of every block, by number."""


def fresh(store: Store) -> Rollup:
    alloc = json.loads(genesis())["alloc"] | {COUNTER.hex(): {"balance": "0x0", "code": "0x" + COUNTER_CODE}}
    return Rollup.from_genesis(genesis(alloc=alloc), store)


def emit(nonce: int, count: int, *, reverts: bool = False) -> Transaction:
    data = count.to_bytes(32, "big") + int(reverts).to_bytes(32, "big")
    return decode(sign(ALICE, nonce, COUNTER, data=data, gas=60_000 + 2_500 * count))[0]


def logging_block(number: int) -> Attributes:
    """Attributes with a deposit that emits a log: the user transactions' first log has index 1."""
    source = number.to_bytes(32, "big")
    return attributes(number, deposits=[deposit(source, FOREIGN, WRITER, data=source)])


def logs_in(outcomes: Outcomes) -> list[Log]:
    return [log for index in range(len(outcomes)) for log in outcomes.logs(index)]


def check(find: Callable[[int, int], tuple[int, bytes, list[bytes], bytes] | None], chain: Chain) -> None:
    """`find` knows exactly the logs of `chain`."""
    for number, logs in enumerate(chain):
        timestamp = GENESIS_TIME + 2 * number
        assert [find(number, index) for index in range(len(logs))] == [(timestamp, *log) for log in logs]
        for beyond in (len(logs), len(logs) + 1, 2**32, 2**64 - 1, 2**64, 2**256 - 1, -1):
            assert find(number, beyond) is None
    for above in (len(chain), len(chain) + 1, 2**64, 2**256 - 1, -1, -(2**64)):
        assert find(above, 0) is None


def random_run(session: Session, source: random.Random, nonce: int) -> tuple[int, list[Log]]:
    """Runs a few transactions, compares the columns with the items; returns the next nonce and the logs."""
    batch = []
    for _ in range(source.randrange(6)):
        kind = source.randrange(5)
        if kind == 0:
            batch.append(transfer(ALICE, nonce, address(BOB)))
        elif kind == 1:
            batch.append(emit(nonce, 3, reverts=True))
        elif kind == 2:
            batch.append(emit(nonce + 7, 2))  # left out
            continue
        else:
            batch.append(emit(nonce, source.randrange(4)))
        nonce += 1
    block = session.open_block
    assert block is not None
    outcomes = session.run(batch)
    assert outcomes.first_log_index == block.log_count
    numbered = []
    for index in range(len(outcomes)):
        assert outcomes.statuses[index] == 1 or not outcomes.logs(index)
        numbered += [(index, log) for log in outcomes.logs(index)]
    expected = [(index, block.log_count + at, *log) for at, (index, log) in enumerate(numbered)]
    assert outcomes.logs_of([COUNTER]) == expected
    assert outcomes.logs_of([FOREIGN, COUNTER, WRITER]) == expected
    assert outcomes.logs_of([FOREIGN]) == outcomes.logs_of([]) == []
    return nonce, logs_in(outcomes)


def receipts_of(rollup: Rollup, at: int) -> list[Log]:
    receipts = json.loads(rollup.block_receipts_json(at) or b"null")
    logs = [log for receipt in receipts for log in receipt["logs"]]
    assert [int(log["logIndex"], 16) for log in logs] == list(range(len(logs)))
    unhex = bytes.fromhex
    return [(unhex(log["address"][2:]), [unhex(t[2:]) for t in log["topics"]], unhex(log["data"][2:])) for log in logs]


@pytest.mark.parametrize("seed", range(6))
def test_the_logs_found_are_those_of_the_runs_and_of_the_receipts(seed: int, tmp_path: Path) -> None:
    """Replay: pytest tests/unit/native/test_logs.py -k 'receipts and <seed>'."""
    source = random.Random(seed)
    store = Store.open(str(tmp_path / "store")) if seed % 2 else Store.in_memory()
    rollup = fresh(store)
    session = rollup.session()
    chain: Chain = [[], logs_in(session.open(logging_block(1)))]
    nonce, marks = 0, []
    for _ in range(120):
        action = source.choice(("run", "run", "mark", "rollback", "fork", "seal", "commit"))
        if action == "run":
            nonce, logs = random_run(session, source, nonce)
            chain[-1] += logs
        elif action == "mark":
            marks.append((session.checkpoint(), nonce, len(chain[-1])))
        elif action == "rollback" and marks:
            at = source.randrange(len(marks))
            mark, nonce, count = marks[at]
            del marks[at + 1 :], chain[-1][count:]
            session.rollback(mark)
        elif action == "fork":
            other = session.fork()
            other.run([emit(nonce, 3)])
            check(
                other.log, [*chain[:-1], chain[-1] + [(COUNTER, [n.to_bytes(32)], n.to_bytes(32)) for n in (3, 2, 1)]]
            )
        elif action == "seal":
            session.seal()
            marks.clear()
            check(session.log, chain)
            chain.append(logs_in(session.open(logging_block(len(chain)))))
        elif action == "commit":
            rollup.commit(session)
            check(rollup.log, chain)
        check(session.log, chain)
        block = session.open_block
        assert block is not None
        assert block.log_count == len(chain[-1]), f"seed {seed}"
    rollup.commit(session)
    check(rollup.log, chain)
    assert len(chain) > 9, "blocks whose content is in the store only are among those compared"
    assert [receipts_of(rollup, number) for number in range(len(chain) - 1)] == chain[:-1]
    assert receipts_of(rollup, -1) == chain[-1]
    rollup.write_snapshot(str(tmp_path / "snapshot"))
    alloc = json.loads(genesis())["alloc"] | {COUNTER.hex(): {"balance": "0x0", "code": "0x" + COUNTER_CODE}}
    again = Rollup.from_snapshot(genesis(alloc=alloc), store, str(tmp_path / "snapshot"))
    check(again.log, chain)
    check(again.session().log, chain)


def test_a_block_that_the_store_lost_is_an_error_and_never_a_missing_log(tmp_path: Path) -> None:
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    session = rollup.session()
    for number in range(1, 13):
        session.open(logging_block(number))
        session.seal()
    rollup.commit(session)
    rollup.write_snapshot(str(tmp_path / "snapshot"))
    again = Rollup.from_snapshot(genesis(), Store.in_memory(), str(tmp_path / "snapshot"))
    for find in (again.log, again.session().log):
        assert find(12, 0) is not None
        assert find(13, 0) is None
        with pytest.raises(NativeError) as caught:
            find(2, 0)
        assert caught.value.code == "store_corrupt"


def test_a_place_is_two_integers() -> None:
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    for find in (rollup.log, rollup.session().log):
        assert find(0, 0) is None
        with pytest.raises(TypeError):
            find("0", 0)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            find(0, 0.0)  # type: ignore[arg-type]


def test_logs_of_takes_addresses_only() -> None:
    session = Rollup.from_genesis(genesis(), Store.in_memory()).session()
    outcomes = session.open(logging_block(1))
    assert outcomes.first_log_index == 0
    assert [item[:3] for item in outcomes.logs_of([WRITER])] == [(1, 0, WRITER)]
    with pytest.raises(ValueError, match="20 bytes"):
        outcomes.logs_of([b"\x01" * 19])


def listing(kind: int, nonce: int, *entries: tuple[bytes, list[bytes]]) -> bytes:
    fees: dict[str, object] = {"maxFeePerGas": 2 * GWEI, "maxPriorityFeePerGas": 1} if kind == 2 else {"gasPrice": GWEI}
    request = {
        "type": kind,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "gas": 100_000,
        "to": REVERTER,
        "value": 0,
        "accessList": [
            {"address": "0x" + name.hex(), "storageKeys": ["0x" + key.hex() for key in keys]} for name, keys in entries
        ],
    }
    return bytes(ALICE.sign_transaction(request | fees).raw_transaction)


def test_declared_keys_are_those_of_every_entry_of_the_address_in_order() -> None:
    first, second, third = (bytes([n]) * 32 for n in (3, 1, 2))
    transactions = decode(
        sign(ALICE, 0, INBOX),  # calls the address without declaring it
        listing(2, 1, (INBOX, [first])),
        listing(2, 2, (FOREIGN, [first, second])),
        listing(1, 3, (INBOX, [first, second]), (FOREIGN, [third]), (INBOX, []), (INBOX, [third, first])),
        listing(2, 4, (INBOX, [])),
        bytes(
            ALICE.sign_transaction(
                {"nonce": 5, "gas": 21_000, "gasPrice": GWEI, "to": INBOX, "chainId": 901}
            ).raw_transaction
        ),
    )
    assert declaring(transactions, INBOX) == [1, 3, 4]
    assert declaring(transactions, FOREIGN) == [2, 3]
    assert declaring(transactions, WRITER) == declaring([], INBOX) == []
    keys = [transaction.access_list_keys(INBOX) for transaction in transactions]
    assert keys == [[], [first], [], [first, second, third, first], [], []]
    with pytest.raises(ValueError, match="20 bytes"):
        declaring(transactions, bytes(21))
    with pytest.raises(ValueError, match="20 bytes"):
        transactions[0].access_list_keys(b"")
