"""Executes derived blocks in the native core: from a pipeline's runs to sealed blocks.

A run is executed as a whole and committed once. Consecutive blocks without transactions go to the core in one call. A
transaction that cannot be applied takes all of its block's transactions out: the block is sealed with its deposits
only, and the pipeline hears of it (Holocene). A block whose batch names another parent than the one that came out is
not executed.

Synchronous: a caller with an event loop runs `take` in a thread.
"""

from collections.abc import Callable, Sequence

import msgspec

from plait.derivation.pipeline import DerivedBlock, Pipeline
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import ConfigurationError
from plait.limits import DERIVATION_RUN_BLOCKS_MAX
from plait.native import Rollup, SealedBlock, Session, Transaction, advance_many, decode_transactions
from plait.types import Hash32

_SIZE_MAX = 2**32 - 1
"""A batch's transaction may be as large as a channel allows; the pool's bound is not the chain's."""


class RebuiltBlock(msgspec.Struct, frozen=True):
    """A derived block after its execution."""

    derived: DerivedBlock
    hash: Hash32
    transactions: int
    """Of users, in the block."""
    problem: str = ""
    """Why it holds deposits only, though its batch has transactions."""


class Rebuilder:
    """Brings a rollup's native state to where its pipeline is."""

    def __init__(self, config: OpStackConfig, rollup: Rollup, pipeline: Pipeline) -> None:
        """The rollup's head must be the pipeline's.

        Raises:
            ConfigurationError: `rollup_config_invalid`: the genesis is not the one that the configuration names.
        """
        if rollup.head.hash != pipeline.head.hash:
            raise ConfigurationError(
                f"block {rollup.head.number} of the genesis file is 0x{rollup.head.hash.hex()}, but the rollup "
                f"configuration begins on block {pipeline.head.number} 0x{(pipeline.head.hash or b'').hex()}. Use the "
                "genesis file and rollup.json of one rollup.",
                code="rollup_config_invalid",
            )
        self._config, self._rollup, self._pipeline = config, rollup, pipeline
        self._session = rollup.session()

    def take(self, *, number_max: int | None = None, on_block: Callable[[RebuiltBlock], None] | None = None) -> int:
        """Executes all that the pipeline can derive from the L1 blocks it has.

        Args:
            number_max: greatest block number that is wanted.
            on_block: called with every block, in order, once it is committed.

        Returns:
            The number of blocks.

        Raises:
            NativeError: of the core; nothing of the run is committed then.
        """
        count = 0
        while True:
            limit = DERIVATION_RUN_BLOCKS_MAX
            if number_max is not None:
                limit = min(limit, number_max - self._pipeline.head.number)
            run = self._pipeline.next_run(limit) if limit > 0 else ()
            if not run:
                return count
            rebuilt = self._execute(run)
            self._rollup.commit(self._session)
            self._pipeline.settle([one.hash for one in rebuilt], replaced=bool(rebuilt) and rebuilt[-1].problem != "")
            count += len(rebuilt)
            if on_block is not None:
                for one in rebuilt:
                    on_block(one)

    def _execute(self, run: Sequence[DerivedBlock]) -> list[RebuiltBlock]:
        """Seals the blocks of a run up to the first that is replaced, or whose batch names another parent."""
        raws = [raw for block in run for raw in block.transactions]
        decoded = decode_transactions(raws, self._config.chain_id, size_max=_SIZE_MAX, unprotected=True)
        rebuilt: list[RebuiltBlock] = []
        index = position = 0
        while index < len(run):
            block = run[index]
            if block.parent_hash not in (None, self._session.head_hash):
                break
            if not block.transactions:
                stop = index + 1
                while stop < len(run) and not run[stop].transactions:
                    stop += 1
                rebuilt += self._execute_empty(run[index:stop])
                if len(rebuilt) < stop:
                    break
                index = stop
                continue
            transactions = decoded[position : position + len(block.transactions)]
            position += len(transactions)
            rebuilt.append(self._execute_one(block, transactions))
            if rebuilt[-1].problem:
                break
            index += 1
        return rebuilt

    def _execute_empty(self, blocks: Sequence[DerivedBlock]) -> list[RebuiltBlock]:
        """Seals blocks without transactions, up to one whose batch names another parent."""
        before = self._session.fork() if any(block.parent_hash is not None for block in blocks[1:]) else None
        sealed = self._advance(self._session, blocks)
        for index in range(1, len(blocks)):
            if blocks[index].parent_hash not in (None, sealed[index - 1].hash):
                assert before is not None
                self._session = before
                sealed = self._advance(before, blocks[:index])
                break
        return [
            RebuiltBlock(block, Hash32(one.hash), 0) for block, one in zip(blocks[: len(sealed)], sealed, strict=True)
        ]

    def _advance(self, session: Session, blocks: Sequence[DerivedBlock]) -> list[SealedBlock]:
        attributes = [block.attributes(self._config) for block in blocks]
        return [*advance_many([(session, attributes)])[0], session.seal()]

    def _execute_one(self, block: DerivedBlock, transactions: Sequence[object]) -> RebuiltBlock:
        session = self._session
        session.open(block.attributes(self._config))
        accepted = [one for one in transactions if isinstance(one, Transaction)]
        problem = ""
        if len(accepted) < len(transactions):
            refusal = next(one for one in transactions if not isinstance(one, Transaction))
            problem = f"{getattr(refusal, 'code', '')}: {getattr(refusal, 'message', '')}"
        else:
            checkpoint = session.checkpoint()
            outcomes = session.run(accepted, on_invalid="stop")
            if outcomes.included < len(accepted):
                code, sentence = outcomes.failure(len(outcomes) - 1) or ("", "")
                problem = f"{code}: {sentence}"
                session.rollback(checkpoint)
        sealed = session.seal()
        return RebuiltBlock(block, Hash32(sealed.hash), 0 if problem else len(accepted), problem)
