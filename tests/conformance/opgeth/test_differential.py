"""Blocks that Plait's native core builds from random transactions are valid for op-geth, with equal hashes.

For every block an unmodified op-geth executes the payload itself: VALID means that state root, receipts root,
withdrawals root, gas, DA footprint, bloom and base fee all agree. On sampled blocks the JSON that both sides answer is
compared field by field.
More: PLAIT_OPGETH_SEEDS="4,5" PLAIT_OPGETH_BLOCKS=1000 pytest tests/conformance/opgeth/test_differential.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from call_comparison import compare_block_traces, compare_calls
from comparison import DIFFERENCES_MAX, compare_answers, differences, explain_difference
from opgeth_node import OpGeth, can_build
from random_blocks import Block, BlockSource
from random_transactions import Generator, Made

from plait.derivation.attributes import Fork
from plait.native import Rollup, Session, Store, Transaction, decode_transactions
from plait.rollups.embedded.genesis import GenesisSpecification, development_balances, genesis_json
from plait.types import Address, ChainId, Seconds, Wei

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
BLOCKS = int(os.environ.get("PLAIT_OPGETH_BLOCKS", "100"))
SEEDS = [int(text) for text in os.environ.get("PLAIT_OPGETH_SEEDS", "1,2,3").split(",")]
SAMPLE_EVERY = 7
# Codes of transactions that only the state of the block leaves out; the model does not foresee them.
LIMITS = {"block_gas_limit_reached", "block_da_limit_reached", "nonce_too_high", "insufficient_funds"}


@pytest.fixture(autouse=True)
def _needs_op_geth() -> None:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")


def replay(seed: int, block: int, test: str) -> str:
    """The command that runs a failure again."""
    variables = f"PLAIT_OPGETH_SEEDS={seed} PLAIT_OPGETH_BLOCKS={block}"
    return f"{variables} .venv/bin/pytest tests/conformance/opgeth/test_differential.py -k {test}"


class Run:
    """One chain on both sides: Plait builds, op-geth checks."""

    def __init__(self, seed: int, fork: Fork, directory: Path) -> None:
        self.seed, self.fork = seed, fork
        self.generator = Generator(seed, CHAIN_ID)
        self.generator.authorization_types = fork != "holocene"
        balances = development_balances()
        balances[Address(self.generator.wallet.poor)] = Wei(10**14)
        self.genesis = genesis_json(
            GenesisSpecification(
                chain_id=ChainId(CHAIN_ID), timestamp=Seconds(GENESIS_TIME_S), fork=fork, balances=balances
            )
        )
        self.source = BlockSource(seed, CHAIN_ID, GENESIS_TIME_S, fork, self.generator)
        self.store = Store.in_memory()
        self.rollup = Rollup.from_genesis(self.genesis, self.store)
        self.op_geth = OpGeth(self.genesis, directory)
        self.included = 0
        self.seen: set[str] = set()
        """Labels of transactions that were included, and codes of those left out: what the run really went through."""

    def payload_version(self) -> int:
        return 3 if self.fork == "holocene" else 4

    def build(self, number: int) -> tuple[Block, list[Transaction]]:
        """Builds, seals and commits block `number` in Plait; returns what it was made of."""
        self._synchronise_nonces()
        block = self.source.next(number)
        session = self.rollup.session()
        session.open(block.attributes)
        opened = session.open_block
        assert opened is not None
        self.generator.base_fee = opened.base_fee
        included = self._run(session, self._transactions(block))
        session.seal()
        self.rollup.commit(session)
        self.included += len(included)
        return block, included

    def _transactions(self, block: Block) -> list[Made]:
        generator = self.generator
        match block.kind:
            case "setup":
                return generator.setup()
            case "empty" | "deposits":
                return []
            case "da full":
                return generator.small_transfers(40)
            case "gas full":
                return generator.gas_burners(12, 5_000_000)
            case _:
                return generator.transactions(self.source.random.randrange(1, 24))

    def _run(self, session: Session, made: list[Made]) -> list[Transaction]:
        """Runs the transactions; checks that exactly those that no block may hold were left out.

        On the way the same work is done and undone, in a fork that is dropped and after a checkpoint that is rolled
        back: neither may leave a trace in the block.
        """
        decoded = decode_transactions([item.raw for item in made], CHAIN_ID)
        transactions = []
        for item, transaction in zip(made, decoded, strict=True):
            if isinstance(transaction, Transaction):
                transactions.append((item, transaction))
            else:
                assert item.excluded, f"{item.label} was refused: {transaction.code}"
        # in two parts, to run a block that already holds transactions
        middle = len(transactions) // 2
        included = []
        for part in (transactions[:middle], transactions[middle:]):
            fork = session.fork()
            fork.run([transaction for _, transaction in part])
            checkpoint = session.checkpoint()
            session.run([transaction for _, transaction in reversed(part)])
            nested = session.checkpoint()
            session.run([transaction for _, transaction in transactions])
            session.rollback(nested)
            session.rollback(checkpoint)
            outcomes = session.run([transaction for _, transaction in part])
            for index, (item, transaction) in enumerate(part):
                if outcomes.statuses[index] != 2:
                    assert not item.excluded, f"{item.label} was included"
                    included.append(transaction)
                    self.seen.add(item.label)
                    continue
                failure = outcomes.failure(index)
                assert failure is not None
                assert item.excluded or failure[0] in LIMITS, f"{item.label}: {failure}"
                self.seen.add(failure[0])
        return included

    def _synchronise_nonces(self) -> None:
        """The model follows the chain: a full block may have left some of a sender's transactions out."""
        wallet = self.generator.wallet
        known = [*wallet.senders, *wallet.authorities]
        accounts = self.rollup.accounts(known, self.rollup.head.number)
        for address, (nonce, _, _) in zip(known, accounts, strict=True):
            wallet.nonces[address] = nonce


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    seed, fork = request.param
    made = Run(seed, fork, tmp_path / "op-geth")
    with made.op_geth:
        yield made


CASES = [(seed, "jovian") for seed in SEEDS] + [(SEEDS[0], "isthmus"), (SEEDS[0], "holocene")]


@pytest.mark.parametrize("run", CASES, indirect=True, ids=[f"{fork}-{seed}" for seed, fork in CASES])
def test_op_geth_accepts_every_block(run: Run, request: pytest.FixtureRequest) -> None:
    """Genesis hashes are equal, op-geth calls every block VALID, and sampled answers are equal field by field."""
    genesis = run.op_geth.eth.call("eth_getBlockByNumber", "0x0", False)
    assert genesis["hash"] == "0x" + run.rollup.genesis_hash.hex(), "genesis hashes differ"
    name = request.node.callspec.id
    for number in range(1, BLOCKS + 1):
        where = f"seed {run.seed}, {run.fork}, block {number}\nreplay: {replay(run.seed, number, name)}"
        block, included = run.build(number)
        payload, beacon_root = run.rollup.execution_payload_json(number)
        status = run.op_geth.insert(payload, beacon_root, run.payload_version())
        if status["status"] != "VALID":
            difference = explain_difference(run.op_geth, run.rollup, block, included, run.fork)
            pytest.fail(f"op-geth: {status}\n{where}\n({block.kind}) {difference}")
        run.op_geth.adopt(run.rollup.head.hash)
        found = differences("newHeads", json.loads(run.rollup.header_json(number) or b""), run.op_geth.next_head())
        if number % SAMPLE_EVERY == 0 or number in (1, BLOCKS):
            found += compare_answers(run.op_geth, run.rollup, number)
            found += compare_calls(run.op_geth, run.rollup, run.generator, number)
            found += compare_block_traces(run.op_geth, run.rollup, number)
        assert not found, where + "\n" + "\n".join(found[:DIFFERENCES_MAX])
    assert run.included > BLOCKS * 3, "the generator made too few applicable transactions to show anything"
    if BLOCKS >= 60:
        expected = {label for _, label, _ in run.generator.makers} | {
            "nonce_too_high", "nonce_too_low", "insufficient_funds", "intrinsic_gas_too_low", "fee_cap_too_low",
            "block_gas_limit_reached", "block_da_limit_reached",
        }  # fmt: skip
        if run.fork != "jovian":
            expected.discard("block_da_limit_reached")
        if run.fork == "holocene":
            expected.discard("authorization")
        assert expected <= run.seen, f"never happened: {sorted(expected - run.seen)}"


@pytest.mark.parametrize("run", [(41, "jovian"), (42, "isthmus")], indirect=True, ids=["jovian", "isthmus"])
def test_op_geth_builds_the_same_block_and_refuses_a_changed_one(run: Run) -> None:
    """From the same attributes and transactions op-geth builds our payload; with one root changed it is INVALID."""
    for number in range(1, 25):
        block, included = run.build(number)
        payload, beacon_root = run.rollup.execution_payload_json(number)
        ours = json.loads(payload)
        attributes = block.engine_attributes(run.fork, [transaction.raw for transaction in included])
        theirs = run.op_geth.build(run.rollup.head.parent_hash, attributes)["executionPayload"]
        theirs.pop("slotNumber", None)  # of a fork that no OP Stack chain has; this geth names it with a null
        assert differences("payload", ours, theirs) == [], f"seed {run.seed}, block {number}"
        for name in ("stateRoot", "receiptsRoot", "withdrawalsRoot"):
            changed = {**ours, name: "0x" + bytes(32).hex()}
            if changed[name] != ours[name]:
                status = run.op_geth.insert(json.dumps(changed).encode(), beacon_root)
                assert status["status"] == "INVALID", name
        run.op_geth.insert(payload, beacon_root)
        run.op_geth.adopt(run.rollup.head.hash)
