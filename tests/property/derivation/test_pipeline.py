"""What is posted is derived: real blocks of the native core, posted in any way, come back with their hashes."""

import os
from random import Random

import pytest
from eth_account import Account
from posted_chains import CHAIN_ID, InventedL1, Sequencer, channel_frames, in_l1_blocks

from plait.derivation.batches import SingularBatch
from plait.derivation.frames import encode
from plait.derivation.pipeline import Pipeline
from plait.errors import ConfigurationError, InvalidInput
from plait.native import Rollup, Store
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.rebuilding import Rebuilder, RebuiltBlock
from plait.types import RollupId

SEEDS = [int(os.environ["PLAIT_SEED"])] if "PLAIT_SEED" in os.environ else list(range(25))


def derived(
    sequencer: Sequencer, posted: dict[int, list[bytes]]
) -> tuple[Rollup, list[RebuiltBlock], list[tuple[int, str, str]]]:
    """The rollup as L1 alone says it, its blocks, and the notices."""
    l1 = sequencer.l1.blocks
    pipeline = Pipeline.from_genesis(sequencer.config, RollupId(CHAIN_ID), l1[0])
    rollup = Rollup.from_genesis(sequencer.genesis, Store.in_memory())
    rebuilder = Rebuilder(sequencer.config, rollup, pipeline)
    blocks: list[RebuiltBlock] = []
    notices: list[tuple[int, str, str]] = []
    for facts in l1[1:]:
        pipeline.advance(facts)
        for data in posted.get(facts.number, ()):
            pipeline.add(data)
        rebuilder.take(on_block=blocks.append)
        notices += pipeline.take_notices()
    assert rollup.head.number == pipeline.head.number
    assert rollup.head.hash == pipeline.head.hash
    return rollup, blocks, notices


def sequencer_of(source: Random, l1_blocks: int = 20, **settings: int) -> Sequencer:
    l1 = InventedL1(source, block_time_s=source.choice((2, 6, 12)))
    for _ in range(l1_blocks):
        l1.mine()
    return Sequencer(l1, **settings)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_way_blocks_are_posted_the_same_blocks_are_derived(seed: int) -> None:
    source = Random(seed)
    sequencer = sequencer_of(source)
    posted: dict[int, list[bytes]] = {}
    at, count, last = 0, source.randrange(10, 50), 1
    while at < count:
        size = min(count - at, source.randrange(1, 20))
        for _ in range(size):
            sequencer.seal(source.choice((0, 0, 1, 3)))
        first = max(last, sequencer.origin.block.number + 1)
        last = first + source.randrange(3)
        in_l1_blocks(channel_frames(sequencer, sequencer.batches[at:], source), first, last, source, posted)
        at += size
        while len(sequencer.l1.blocks) <= last + 1:
            sequencer.l1.mine()
    rollup, blocks, notices = derived(sequencer, posted)
    assert rollup.head.hash == sequencer.rollup.head.hash, f"seed {seed}: {notices}"
    assert rollup.head.number == count == len(blocks)
    assert not notices


def post_all(sequencer: Sequencer, source: Random, at: int, **how: object) -> dict[int, list[bytes]]:
    """Everything sealed, in one channel in one L1 block."""
    frames = channel_frames(sequencer, sequencer.batches, source, frame_bytes_max=200_000, **how)  # type: ignore[arg-type]
    return {at: [encode(frames)]}


@pytest.mark.parametrize("kind", ["singular", "span"])
def test_a_block_with_an_inapplicable_transaction_holds_its_deposits_only_and_the_rest_of_its_channel_is_lost(
    kind: str,
) -> None:
    source = Random(7)
    sequencer = sequencer_of(source, l1_blocks=30)
    for number in range(1, 11):
        sequencer.seal(1, spoiled=number == 6)
    rollup, blocks, notices = derived(sequencer, post_all(sequencer, source, 25, kind=kind))
    assert rollup.head.number == 6, "what came after it is lost"
    assert rollup.raw_header(6) == sequencer.rollup.raw_header(6), "the sequencer sealed it without that transaction"
    assert [block.problem.split(":")[0] for block in blocks if block.problem] == ["nonce_too_high"]
    assert [code for _, code, _ in notices] == ["batch_dropped"]


def test_what_was_lost_with_a_channel_counts_when_it_is_posted_again() -> None:
    source = Random(8)
    sequencer = sequencer_of(source, l1_blocks=30)
    for number in range(1, 11):
        sequencer.seal(1, spoiled=number == 6)
    posted = post_all(sequencer, source, 24, kind="singular")
    later = channel_frames(sequencer, sequencer.batches[6:], source, frame_bytes_max=200_000)
    posted[26] = [encode(later)]
    rollup, _, _ = derived(sequencer, posted)
    assert rollup.head.hash == sequencer.rollup.head.hash


def test_a_batch_with_another_parent_ends_the_run_before_it_and_its_channel_with_it() -> None:
    """Empty blocks are executed together: the wrong parent is found only afterwards."""
    source = Random(9)
    sequencer = sequencer_of(source, l1_blocks=30)
    for _ in range(10):
        sequencer.seal(0)
    good = list(sequencer.batches)
    batch, sequence_number = good[6]
    wrong = SingularBatch(
        parent_hash=batch.epoch_hash,
        epoch_number=batch.epoch_number,
        epoch_hash=batch.epoch_hash,
        timestamp=batch.timestamp,
    )
    sequencer.batches[6] = (wrong, sequence_number)
    posted = post_all(sequencer, source, 24, kind="singular")
    rollup, blocks, notices = derived(sequencer, posted)
    assert rollup.head.number == 6 == len(blocks)
    assert rollup.raw_header(6) == sequencer.rollup.raw_header(6)
    assert [code for _, code, _ in notices] == ["batch_dropped"]
    sequencer.batches = good
    posted[26] = post_all(sequencer, source, 26, kind="singular")[26]
    rollup, _, _ = derived(sequencer, posted)
    assert rollup.head.hash == sequencer.rollup.head.hash, "past batches are passed over, the rest counts"


def test_a_silent_sequencer_is_replaced_by_blocks_with_deposits_after_the_sequencing_window() -> None:
    source = Random(10)
    sequencer = sequencer_of(source, l1_blocks=60, seq_window_blocks=10)
    for _ in range(4):
        sequencer.seal(2)
    rollup, blocks, _ = derived(sequencer, post_all(sequencer, source, 4))
    assert rollup.raw_header(4) == sequencer.rollup.raw_header(4)
    filled = blocks[4:]
    assert filled
    assert {block.derived.cause for block in filled} == {"window"}
    assert not any(block.transactions for block in filled)
    last = sequencer.l1.blocks[-1].number
    assert filled[-1].derived.origin.number == last - 10
    deposits = [deposit for block in filled for deposit in block.derived.deposits]
    first = blocks[3].derived.origin.number + 1
    expected = [
        deposit for facts in sequencer.l1.blocks[first : last - 9] for deposit in facts.of(RollupId(CHAIN_ID)).deposits
    ]
    assert deposits == expected, "every deposit of every epoch, once"
    assert expected


def test_an_unprotected_legacy_transaction_in_a_batch_is_executed() -> None:
    source = Random(11)
    sequencer = sequencer_of(source)
    fields = {"nonce": 0, "gas": 21_000, "value": 1, "to": bytes(18) + b"\xaa\1", "gasPrice": 10**11}
    raw = bytes(Account.from_key(DEVELOPMENT_ACCOUNTS[0].private_key).sign_transaction(fields).raw_transaction)
    assert raw[-67] in (27, 28), "its signature names no chain"
    sequencer.seal(0)
    batch, sequence_number = sequencer.batches[0]
    batch = SingularBatch(
        parent_hash=batch.parent_hash,
        epoch_number=batch.epoch_number,
        epoch_hash=batch.epoch_hash,
        timestamp=batch.timestamp,
        transactions=(raw,),
    )
    sequencer.batches[0] = (batch, sequence_number)
    for kind in ("singular", "span"):
        rollup, blocks, _ = derived(sequencer, post_all(sequencer, source, 10, kind=kind))
        assert [(block.transactions, block.problem) for block in blocks] == [(1, "")]
        assert rollup.accounts([bytes(18) + b"\xaa\1"], 1)[0][1] == 1


def test_a_foreign_genesis_and_a_foreign_l1_are_refused() -> None:
    sequencer, other = sequencer_of(Random(12)), sequencer_of(Random(13))
    with pytest.raises(InvalidInput, match="Use the L1 that the rollup is on") as refused:
        Pipeline.from_genesis(sequencer.config, RollupId(CHAIN_ID), other.l1.blocks[0])
    assert refused.value.code == "l1_reorganised"
    pipeline = Pipeline.from_genesis(sequencer.config, RollupId(CHAIN_ID), sequencer.l1.blocks[0])
    with pytest.raises(InvalidInput, match="begin again") as refused:
        pipeline.advance(other.l1.blocks[1])
    assert refused.value.code == "l1_reorganised"
    sequencer.seal(0)
    with pytest.raises(ConfigurationError, match="of one rollup") as unusable:
        Rebuilder(sequencer.config, sequencer.rollup, pipeline)
    assert unusable.value.code == "rollup_config_invalid"
