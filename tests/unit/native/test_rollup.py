"""The decided rollup: commits swap it as a whole, reads answer what was executed, files bring it back."""

import json
from pathlib import Path

import pytest
import rlp
from eth_utils import keccak

from plait.native import PENDING, NativeError, Rollup, Store, Transaction
from tests.unit.native.builders import (
    ALICE,
    BOB,
    CHAIN_ID,
    ETHER,
    GENESIS_TIME,
    REVERTER,
    WRITER,
    address,
    attributes,
    decode,
    genesis,
    sign,
    transfer,
)


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def loaded(value: bytes | None) -> dict[str, object]:
    assert value is not None
    return dict(json.loads(value))


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(NativeError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


@pytest.fixture
def chain() -> tuple[Rollup, list[Transaction]]:
    """Two sealed blocks and an open one; transactions 0 and 1 are in block 1, 2 in block 2, 3 in the open block."""
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    transactions = decode(
        sign(ALICE, 0, WRITER, data=(9).to_bytes(32, "big")),
        sign(ALICE, 1, REVERTER),
        sign(ALICE, 2, None, data=bytes.fromhex("600a600c600039600a6000f3602a60005260206000f3")),
        sign(ALICE, 3, WRITER, data=(10).to_bytes(32, "big")),
    )
    session = rollup.session()
    session.open(attributes(1))
    session.run(transactions[:2])
    session.seal()
    session.open(attributes(2))
    session.run(transactions[2:3])
    session.seal()
    rollup.commit(session)
    session.open(attributes(3))
    session.run(transactions[3:])
    rollup.commit(session)
    return rollup, transactions


def test_a_session_of_the_past_cannot_be_committed() -> None:
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    first, second = rollup.session(), rollup.session()
    first.open(attributes(1))
    second.open(attributes(1))
    rollup.commit(first)
    assert code_of(rollup.commit, second) == "session_stale"
    first.run([transfer(ALICE, 0, address(BOB))])
    rollup.commit(first)  # the committed session is the present and may go on
    assert rollup.accounts([address(ALICE)], PENDING)[0][0] == 1


def test_state_reads_see_the_block_they_ask_for(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, _ = chain
    words = [int.from_bytes(rollup.storage(WRITER, bytes(32), at)) for at in (0, 1, 2, PENDING)]
    assert words == [0, 9, 9, 10]
    assert [rollup.accounts([address(ALICE)], at)[0][0] for at in (0, 1, 2, PENDING)] == [0, 2, 3, 4]
    assert code_of(rollup.accounts, [address(ALICE)], 3) == "state_unavailable"
    assert rollup.accounts([b"\x01" * 20], 2) == [(0, 0, False)]


def test_blocks_carry_the_hash_of_their_header_and_link_to_their_transactions(
    chain: tuple[Rollup, list[Transaction]],
) -> None:
    rollup, transactions = chain
    header = rollup.raw_header(1)
    raw_block = rollup.raw_block(1)
    assert header is not None
    assert raw_block is not None
    block = loaded(rollup.block_json(1, False))
    assert block["hash"] == hexed(keccak(header))
    assert block["size"] == hex(len(raw_block))
    assert rlp.decode(raw_block)[0] == rlp.decode(header)
    assert block["transactions"][1:] == [hexed(transaction.hash) for transaction in transactions[:2]]  # type: ignore[index]
    assert rollup.block_number_by_hash(keccak(header)) == 1
    assert rollup.block_number_by_hash(bytes(32)) is None
    assert rollup.block_json(7, False) is None
    full = loaded(rollup.block_json(1, True))["transactions"]
    assert full[1] == loaded(rollup.transaction_json(transactions[0].hash))  # type: ignore[index]
    assert full[1] == loaded(rollup.transaction_by_index_json(1, 1))  # type: ignore[index]
    assert rollup.block_transaction_count(1) == 3


def test_receipts_tell_status_gas_fees_logs_and_created_addresses(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, transactions = chain
    written, reverted, created = (loaded(rollup.receipt_json(transaction.hash)) for transaction in transactions[:3])
    assert (written["status"], reverted["status"], created["status"]) == ("0x1", "0x0", "0x1")
    (log,) = written["logs"]  # type: ignore[misc]
    assert (log["address"], log["logIndex"], log["transactionIndex"]) == (hexed(WRITER), "0x0", "0x1")
    assert log["blockTimestamp"] == hex(GENESIS_TIME + 2)
    assert created["contractAddress"] == hexed(keccak(rlp.encode([address(ALICE), 2]))[12:])
    assert rollup.code(keccak(rlp.encode([address(ALICE), 2]))[12:], 2).hex() == "602a60005260206000f3"
    assert written["daFootprintGasScalar"] == "0x190"
    assert written["blobGasUsed"] == hex(400 * transactions[0].da_size)
    assert written["l1GasPrice"] == hex(7 * 10**9)
    assert "operatorFeeScalar" not in written  # both parameters are zero
    listed = json.loads(rollup.block_receipts_json(1) or b"")
    assert listed[1] == written
    assert listed[0]["depositNonce"] == "0x0"
    assert rollup.receipt_json(transactions[3].hash) is None  # still open


def test_the_open_block_answers_without_a_hash(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, transactions = chain
    block = loaded(rollup.block_json(PENDING, True))
    assert (block["hash"], block["number"]) == (None, "0x3")
    pending = loaded(rollup.transaction_json(transactions[3].hash))
    assert (pending["blockHash"], pending["blockNumber"], pending["nonce"]) == (None, None, "0x3")
    assert rollup.transaction_location(transactions[3].hash) == (3, 1)
    assert rollup.transaction_location(transactions[2].hash) == (2, 1)
    outcome = rollup.pending_outcome(transactions[3].hash)
    assert outcome is not None
    assert outcome[0] == 1
    assert outcome[2][0][2] == (10).to_bytes(32, "big")
    assert rollup.pending_outcome(transactions[2].hash) is None
    assert rollup.raw_transaction(transactions[3].hash) == transactions[3].raw


def test_log_filters_match_address_and_topic_positions_and_bound_their_answer(
    chain: tuple[Rollup, list[Transaction]],
) -> None:
    rollup, _ = chain
    topic = (7).to_bytes(32, "big")

    def found(addresses: list[bytes], topics: list[list[bytes] | None], first: int = 0, last: int = 2) -> int:
        return len(json.loads(rollup.logs_json(first, last, addresses, topics, 10)))

    assert found([], []) == 1
    assert found([WRITER], [[topic]]) == 1
    assert found([WRITER], [None]) == 1
    assert found([REVERTER], []) == 0
    assert found([], [[bytes(32)]]) == 0
    assert found([], [None, None]) == 0  # more positions than the log has topics
    assert found([], [], 0, 3) == 2  # the open block counts
    assert found([], [], 2, 2) == 0
    assert code_of(rollup.logs_json, 0, 2, [], [], 0) == "too_many_logs"


def test_proofs_end_in_the_state_root_of_the_header(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, _ = chain
    proof = loaded(rollup.proof_json(WRITER, [bytes(32), b"\x01" * 32], 1))
    top = bytes.fromhex(proof["accountProof"][0][2:])  # type: ignore[index]
    assert hexed(keccak(top)) == loaded(rollup.block_json(1, False))["stateRoot"]
    held, absent = proof["storageProof"]  # type: ignore[misc]
    assert (held["value"], absent["value"]) == ("0x9", "0x0")
    assert hexed(keccak(bytes.fromhex(held["proof"][0][2:]))) == proof["storageHash"]


def test_fee_history_counts_blocks_and_refuses_what_is_not_a_percentile(
    chain: tuple[Rollup, list[Transaction]],
) -> None:
    rollup, _ = chain
    history = loaded(rollup.fee_history_json(10, PENDING, [50.0]))
    assert history["oldestBlock"] == "0x0"
    assert len(history["baseFeePerGas"]) == 4  # type: ignore[arg-type]
    assert len(history["reward"]) == 3  # type: ignore[arg-type]
    assert code_of(rollup.fee_history_json, 1, 2, [50.0, 10.0]) == "invalid_percentile"
    assert code_of(rollup.fee_history_json, 1, 9, []) == "block_beyond_head"


def test_additional_costs_are_the_l1_fee_of_fjord(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, transactions = chain
    # L1Block has no code in this genesis, so nothing was stored and nothing is charged.
    assert rollup.l1_cost_parameters(2) == (0, 0, 0, 0, 0, 0, 0)
    assert rollup.additional_costs(transactions[:1], 2) == [0]


def test_a_genesis_is_refused_with_the_reason() -> None:
    def refusal(change: dict[str, object], **top: object) -> str:
        root = json.loads(genesis())
        root["config"] |= change
        root |= top
        root["config"] = {key: value for key, value in root["config"].items() if value != "absent"}
        return code_of(Rollup.from_genesis, json.dumps(root).encode(), Store.in_memory())

    assert refusal({"jovianTime": GENESIS_TIME + 1}) == "genesis_fork_unsupported"
    assert refusal({"isthmusTime": "absent"}) == "genesis_fork_unsupported"
    assert refusal({"optimism": None}) == "genesis_fork_unsupported"
    assert refusal({"ecotoneTime": "absent"}) == "genesis_fork_unsupported"
    assert refusal({}, extraData="0x") == "genesis_malformed"
    assert refusal({}, alloc={"zz": {"balance": "0"}}) == "genesis_malformed"
    assert code_of(Rollup.from_genesis, b"[]", Store.in_memory()) == "genesis_malformed"
    assert code_of(Rollup.from_genesis, b"\xff", Store.in_memory()) == "genesis_malformed"


def test_later_forks_execute_by_the_rules_of_jovian() -> None:
    root = json.loads(genesis())
    root["config"] |= {"karstTime": 0, "lagoonTime": 0, "interopTime": 0}
    rollup = Rollup.from_genesis(json.dumps(root).encode(), Store.in_memory())
    assert rollup.genesis_hash == Rollup.from_genesis(genesis(), Store.in_memory()).genesis_hash


def test_a_snapshot_brings_back_head_open_block_and_state(
    chain: tuple[Rollup, list[Transaction]], tmp_path: Path
) -> None:
    rollup, transactions = chain
    path = tmp_path / "rollup.snapshot"
    rollup.write_snapshot(str(path))
    again = Rollup.from_snapshot(genesis(), Store.in_memory(), str(path))
    assert again.head.header_rlp == rollup.head.header_rlp
    assert again.accounts([address(ALICE)], PENDING) == rollup.accounts([address(ALICE)], PENDING)
    assert again.block_json(2, True) == rollup.block_json(2, True)
    assert again.block_json(PENDING, True) == rollup.block_json(PENDING, True)
    assert again.pending_outcome(transactions[3].hash) == rollup.pending_outcome(transactions[3].hash)
    hashes = []
    for one in (rollup, again):
        session = one.session()
        session.run([transfer(ALICE, 4, address(BOB), 3)])
        hashes.append(session.seal().hash)
    assert hashes[0] == hashes[1]
    other = json.loads(genesis()) | {"timestamp": hex(GENESIS_TIME + 1)}
    assert code_of(Rollup.from_snapshot, json.dumps(other).encode(), Store.in_memory(), str(path)) == "snapshot_foreign"


def test_a_damaged_snapshot_is_refused(chain: tuple[Rollup, list[Transaction]], tmp_path: Path) -> None:
    path = tmp_path / "rollup.snapshot"
    chain[0].write_snapshot(str(path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert code_of(Rollup.from_snapshot, genesis(), Store.in_memory(), str(path)).startswith("snapshot_")


def test_a_store_on_disk_answers_for_blocks_after_a_restart_and_replay_gives_the_same(tmp_path: Path) -> None:
    def build(store: Store) -> Rollup:
        rollup = Rollup.from_genesis(genesis(), store)
        session = rollup.session()
        for number in range(1, 20):
            session.open(attributes(number))
            session.run([transfer(ALICE, number - 1, address(BOB), number)])
            session.seal()
            rollup.commit(session)
        return rollup

    folder = tmp_path / "store"
    store = Store.open(str(folder))
    first = build(store)
    blocks = [first.block_json(number, True) for number in range(20)]
    receipts = [first.block_receipts_json(number) for number in range(20)]
    assert all(blocks)
    store.sync()
    store.close()
    again = Store.open(str(folder))
    restarted = Rollup.from_genesis(genesis(), again)
    assert restarted.block_json(5, True) is None  # above the head: not decided yet in this run
    second = build_on(restarted)
    assert [second.block_json(number, True) for number in range(20)] == blocks
    assert [second.block_receipts_json(number) for number in range(20)] == receipts
    again.close()


def build_on(rollup: Rollup) -> Rollup:
    session = rollup.session()
    for number in range(1, 20):
        session.open(attributes(number))
        session.run([transfer(ALICE, number - 1, address(BOB), number)])
        session.seal()
    rollup.commit(session)
    return rollup


def test_a_store_of_another_genesis_is_refused(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    Rollup.from_genesis(genesis(), store)
    assert code_of(Rollup.from_genesis, genesis(gasLimit="0x1000000"), store) == "store_genesis_mismatch"


def test_only_the_last_128_states_are_kept_and_all_blocks() -> None:
    rollup = Rollup.from_genesis(genesis(), Store.in_memory())
    session = rollup.session()
    for number in range(1, 151):
        session.open(attributes(number))
        session.seal()
    rollup.commit(session)
    assert rollup.head.number == 150
    assert rollup.accounts([address(ALICE)], 23)[0][1] == 1000 * ETHER
    assert code_of(rollup.accounts, [address(ALICE)], 22) == "state_unavailable"
    assert loaded(rollup.block_json(1, True))["number"] == "0x1"
    assert loaded(rollup.header_json(0))["hash"] == hexed(rollup.genesis_hash)
    assert rollup.chain_id == CHAIN_ID


def test_calls_estimates_access_lists_and_traces_agree_with_what_a_block_then_does(
    chain: tuple[Rollup, list[Transaction]],
) -> None:
    rollup, transactions = chain
    word = "0x" + (44).to_bytes(32, "big").hex()
    request = json.dumps({"from": hexed(address(ALICE)), "to": hexed(WRITER), "data": word}).encode()
    called = rollup.call(request, PENDING, None, None, 0)
    assert (called.success, called.output, called.error) == (True, (44).to_bytes(32, "big"), None)
    estimate = rollup.estimate_gas(request, PENDING, None, 50_000_000)
    assert called.gas_used <= estimate < called.gas_used * 1.1
    listed = loaded(rollup.access_list_json(request, PENDING, 0))
    assert listed["accessList"] == [{"address": hexed(WRITER), "storageKeys": ["0x" + "00" * 32]}]
    session = rollup.session()
    data = (44).to_bytes(32, "big")
    outcomes = session.run(decode(sign(ALICE, 4, WRITER, data=data, gas=estimate), sign(ALICE, 5, WRITER, data=data)))
    assert list(outcomes.statuses) == [1, 1]
    assert outcomes.transaction_gas_used(0) == called.gas_used
    rollup.commit(session)
    trace = loaded(rollup.trace_transaction_json(transactions[1].hash, b'{"tracer":"callTracer"}'))
    assert (trace["error"], trace["revertReason"]) == ("execution reverted", "no")
    assert trace["gasUsed"] == loaded(rollup.receipt_json(transactions[1].hash))["gasUsed"]
    assert loaded(rollup.trace_transaction_json(transactions[3].hash, b"{}"))["to"] == hexed(WRITER)  # open block
    assert rollup.trace_transaction_json(bytes(32), b"{}") is None
    assert (
        code_of(rollup.trace_transaction_json, transactions[1].hash, b'{"tracer":"4byteTracer"}')
        == "tracer_unsupported"
    )


def test_failing_calls_tell_why_as_op_geth_words_it(chain: tuple[Rollup, list[Transaction]]) -> None:
    rollup, _ = chain
    poor = hexed(b"\x77" * 20)
    reverted = rollup.call(json.dumps({"to": hexed(REVERTER)}).encode(), 1, None, None, 0)
    assert (reverted.success, reverted.error) == (False, "execution reverted: no")
    with pytest.raises(NativeError, match="execution reverted: no") as caught:
        rollup.estimate_gas(json.dumps({"to": hexed(REVERTER)}).encode(), 1, None, 0)
    assert caught.value.code == "execution_reverted"
    assert caught.value.data == reverted.output
    sending = json.dumps({"from": poor, "to": hexed(WRITER), "value": "0x1"}).encode()
    with pytest.raises(NativeError, match=r"insufficient funds for gas \* price \+ value: address .* have 0 want 1"):
        rollup.call(sending, 1, None, None, 0)
    assert rollup.call(sending, 1, json.dumps({poor: {"balance": "0x1"}}).encode(), None, 0).success
    with pytest.raises(NativeError, match="intrinsic gas too low: have 16, want 21000"):
        rollup.call(json.dumps({"to": poor, "gas": "0x10"}).encode(), 1, None, None, 0)
    assert code_of(rollup.call, b"{", 1, None, None, 0) == "call_malformed"
    assert (
        code_of(rollup.call, json.dumps({"to": poor, "chainId": "0x1"}).encode(), 1, None, None, 0) == "invalid_params"
    )
    # TIMESTAMP under a block override.
    code = json.dumps({poor: {"code": "0x4260005260206000f3"}}).encode()
    seen = rollup.call(json.dumps({"to": poor}).encode(), 1, code, json.dumps({"time": "0x5"}).encode(), 0)
    assert int.from_bytes(seen.output) == 5
