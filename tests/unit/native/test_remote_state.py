"""Remote state: a session on a block whose state another node holds seals the same blocks as that node."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_utils import keccak

from plait.native import NativeError, Rollup, Store
from tests.unit.native.builders import ALICE, BOB, address, attributes, decode, sign, transfer
from tests.unit.native.remote_builders import (
    HASHES,
    KEEPER,
    SLOTS,
    STRANGERS,
    LocalReader,
    chain,
    held,
    keep,
    remote,
)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(NativeError) as caught:
        call()
    assert str(caught.value)
    return caught.value.code


def test_reads_are_those_of_the_node_and_what_is_absent_is_proven_so() -> None:
    local = chain(3)
    session = remote(local, LocalReader(local)).session()
    assert session.head_number == 3
    strangers = [keccak(number.to_bytes(4, "big"))[:20] for number in range(0, STRANGERS + 50, 7)]
    assert session.accounts(strangers) == local.accounts(strangers, 3)
    for slot in (0, 1, SLOTS - 1, SLOTS, 2**256 - 1):
        word = slot.to_bytes(32, "big")
        assert session.storage(KEEPER, word) == local.storage(KEEPER, word, 3)
        assert session.storage(b"\x05" * 20, word) == bytes(32)


@pytest.mark.parametrize("seed", range(6))
def test_random_blocks_have_the_hashes_of_the_node_that_holds_the_state(seed: int) -> None:
    draw = random.Random(seed)
    local = chain(draw.randint(1, 4))
    reader = LocalReader(local)
    distant = remote(local, reader)
    own, other = local.session(), distant.session()
    nonce = 0
    for number in range(local.head.number + 1, local.head.number + 5):
        batch = []
        for _ in range(draw.randint(1, 40)):
            kind = draw.randint(0, 9)
            if kind < 6:
                # Zero deletes: most slots go over the blocks, so that branches lose their children.
                batch.append(keep(nonce, draw.randrange(SLOTS + 20), draw.choice([0, 0, 0, draw.randint(1, 9)])))
            elif kind < 8:
                batch.append(transfer(ALICE, nonce, keccak(draw.randbytes(2))[:20], draw.randint(0, 3)))
            elif kind < 9:
                batch.append(
                    decode(sign(ALICE, nonce, None, data=bytes.fromhex("602a60005260206000f3"), gas=100_000))[0]
                )
            else:
                data = max(0, number - draw.randint(1, 6)).to_bytes(32, "big")
                batch.append(decode(sign(ALICE, nonce, HASHES, data=data, gas=100_000))[0])
            nonce += 1
        for session in (own, other):
            session.open(attributes(number))
            mark = session.checkpoint()
            session.run(batch[: len(batch) // 2])
            session.rollback(mark)
            assert session.run(batch).included == len(batch), f"replay: pytest -k 'random_blocks and {seed}'"
        assert other.fork().seal().hash == own.fork().seal().hash, f"seed {seed}, block {number}"
        sealed = [session.seal() for session in (own, other)]
        assert sealed[0].header_rlp == sealed[1].header_rlp
        if draw.random() < 0.5:
            distant.commit(other)
            other = distant.session()
    assert distant.statistics()["round_trips"] == reader.calls


def test_independent_reads_cost_one_round_trip_and_read_ahead_none_later() -> None:
    local = chain(1)
    reader = LocalReader(local)
    session = remote(local, reader).session()
    session.open(attributes(2))
    session.prefetch([(KEEPER, [slot.to_bytes(32, "big") for slot in range(50)])], [keep(0, 0, 1)])
    before = reader.calls
    assert session.run([keep(nonce, nonce, 99) for nonce in range(50)]).included == 50
    assert reader.calls == before
    assert session.run([keep(50 + nonce, 100 + nonce, 99) for nonce in range(50)]).included == 50
    assert reader.calls == before + 1, "fifty slots that do not depend on each other"


def test_an_answer_that_does_not_reach_the_state_root_is_refused_and_nothing_is_half_done() -> None:
    local = chain(1)
    reader = LocalReader(local)
    session = remote(local, reader).session()
    session.open(attributes(2))
    session.run([keep(0, 1, 5)])
    before = session.open_block
    assert before is not None

    def altered(nodes: list[bytes]) -> list[bytes]:
        return [node[:-1] + bytes([node[-1] ^ 1]) for node in nodes]

    for spoil in (altered, lambda nodes: nodes[:-1], lambda _: []):
        reader.spoil = spoil
        assert code_of(lambda: session.run([keep(1, 150, 5), keep(2, 151, 5)])) == "remote_proof_wrong"
        after = session.open_block
        assert after is not None
        assert (after.transaction_count, after.gas_used) == (before.transaction_count, before.gas_used)
    reader.spoil = lambda nodes: nodes
    assert session.run([keep(1, 150, 5), keep(2, 151, 5)]).included == 2
    own = local.session()
    own.open(attributes(2))
    own.run([keep(0, 1, 5), keep(1, 150, 5), keep(2, 151, 5)])
    assert session.seal().hash == own.seal().hash


@pytest.mark.parametrize("gives_nodes", [False, True])
def test_a_deletion_that_leaves_a_branch_one_unknown_child_is_sealed(gives_nodes: bool) -> None:
    local = chain(1)
    reader = LocalReader(local, gives_nodes=gives_nodes)
    if gives_nodes:
        for slot in range(SLOTS):
            reader.read(1, local.head.hash, [(KEEPER, [slot.to_bytes(32, "big")])], [], [], None)
    own, other = local.session(), remote(local, reader).session()
    # Two thirds of all slots go: pairs of leaves lose one of theirs, whose sibling nobody has looked at.
    batch = [keep(nonce, slot, 0) for nonce, slot in enumerate(slot for slot in range(SLOTS) if slot % 3)]
    for session in (own, other):
        session.open(attributes(2))
        assert session.run(batch).included == len(batch)
    assert own.seal().hash == other.seal().hash
    assert reader.siblings > 10, "the case that the test is about did not occur"


def test_a_reader_that_does_not_answer_fails_the_step_alone() -> None:
    class Silent(LocalReader):
        def read(self, *_: object) -> tuple[list[bytes], list[bytes], list[bytes]]:
            raise TimeoutError("no answer within 5 s")

    local = chain(1)
    session = remote(local, Silent(local)).session()
    assert code_of(lambda: session.open(attributes(2))) == "remote_unavailable"
    assert session.open_block is None


def test_reads_of_the_rollup_itself_are_those_of_the_node_that_holds_the_state() -> None:
    local = chain(3)
    distant = remote(local, LocalReader(local))
    for rollup in (local, distant):
        session = rollup.session()
        session.open(attributes(4))
        assert (
            session.run([keep(0, 3, 0), keep(1, SLOTS + 1, 8), transfer(BOB, 3, bytes(19) + b"\x77", 5)]).included == 3
        )
        rollup.commit(session)
    strangers = [keccak(number.to_bytes(4, "big"))[:20] for number in range(0, STRANGERS + 50, 7)]
    words = [slot.to_bytes(32, "big") for slot in (1, 3, SLOTS - 1, SLOTS, SLOTS + 1, 2**256 - 1)]
    request = json.dumps({
        "from": "0x" + address(ALICE).hex(), "to": "0x" + KEEPER.hex(), "input": "0x" + (words[0] + words[1]).hex(),
    }).encode()  # fmt: skip
    override = json.dumps({"0x" + "ab" * 20: {"code": "0x60015f5260205ff3"}, "0x" + KEEPER.hex(): {"nonce": "0x5"}})
    overridden = json.dumps({"to": "0x" + "ab" * 20}).encode()
    raws = [keep(2, 9, 9)]
    tracer = b'{"tracer": "prestateTracer"}'
    (executed,) = [keep(1, SLOTS + 1, 8).hash]
    reads: list[Callable[[Rollup, int], object]] = [
        lambda rollup, at: rollup.accounts([*strangers, address(ALICE), KEEPER, bytes(19) + b"\x77"], at),
        lambda rollup, at: [rollup.code(account, at) for account in (KEEPER, HASHES, strangers[0], bytes(20))],
        lambda rollup, at: [rollup.storage(KEEPER, word, at) for word in words],
        lambda rollup, at: rollup.storage(b"\x05" * 20, words[0], at),
        lambda rollup, at: [rollup.proof_json(account, words, at) for account in (KEEPER, strangers[1], b"\x05" * 20)],
        lambda rollup, at: (found := rollup.call(request, at, None, None, 0)) and (found.success, found.gas_used),
        lambda rollup, at: rollup.call(overridden, at, override.encode(), None, 0).output,
        lambda rollup, at: rollup.estimate_gas(request, at, None, 0),
        lambda rollup, at: rollup.access_list_json(request, at, 10_000_000),
        lambda rollup, at: rollup.trace_call_json(request, at, tracer, 10_000_000),
        lambda rollup, at: rollup.l1_cost_parameters(at),
        lambda rollup, at: rollup.additional_costs(raws, at),
        lambda rollup, at: rollup.trace_transaction_json(executed, tracer),
    ]
    for number, read in enumerate(reads):
        for at in (-1, 3):
            # Of a rollup that knows nothing as of one that knows all.
            assert read(distant, at) == read(local, at), f"read {number} at {at}"
            if at == 3 and number + 1 < len(reads):  # the last one's transaction is in the open block
                assert read(remote(local, LocalReader(local)), at) == read(local, at), f"read {number}, nothing known"
    calls = distant.statistics()["round_trips"]
    for read in reads:
        read(distant, -1)
    assert distant.statistics()["round_trips"] == calls, "what was read once is known"
    assert [rollup.session().is_remote for rollup in (local, distant)] == [False, True]
    assert [rollup.is_remote for rollup in (local, distant)] == [False, True]


def test_what_cannot_be_served_says_so(tmp_path: Path) -> None:
    local = chain(1)
    distant = remote(local, LocalReader(local))
    assert code_of(lambda: distant.freeze().write_state(f"{tmp_path}/state")) == "remote_unsupported"
    assert code_of(lambda: distant.accounts([address(ALICE)], 0)) == "state_unavailable"
    broken = lambda: Rollup.remote(held(), Store.in_memory(), b"\xc0", LocalReader(local), genesis_hash=bytes(32))  # noqa: E731
    assert code_of(broken) == "remote_anchor_malformed"
