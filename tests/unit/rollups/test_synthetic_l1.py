"""The synthetic L1 is a function of its parameters, and origins obey the OP Stack's rules."""

from __future__ import annotations

import pytest

from plait.l1.synthetic import SYNTHETIC_BLOCK_TIME_S, SyntheticL1, origin_position
from plait.types import BlockNumber, Seconds

GENESIS_S = Seconds(1_700_000_000)


def test_blocks_are_reproducible_and_networks_differ() -> None:
    """Equal parameters give equal blocks; another network, genesis time or number gives another hash."""
    chain = SyntheticL1(GENESIS_S, 7)
    assert chain.block(BlockNumber(3)) == SyntheticL1(GENESIS_S, 7).block(BlockNumber(3))
    others = [
        SyntheticL1(GENESIS_S, 8).block(BlockNumber(3)),
        SyntheticL1(Seconds(GENESIS_S + 1), 7).block(BlockNumber(3)),
        chain.block(BlockNumber(4)),
    ]
    assert len({block.hash for block in [chain.block(BlockNumber(3)), *others]}) == 4


def test_first_block_is_pinned() -> None:
    """The hash is part of every rollup's history: changing its derivation breaks every devnet's data."""
    block = SyntheticL1(GENESIS_S, 1).block(BlockNumber(1))
    assert block.timestamp == GENESIS_S + SYNTHETIC_BLOCK_TIME_S
    assert block.hash.hex() == "8561f2210bb92cd82144e225f2e162a5988a66130272bb5738f9fed7237330e1"


@pytest.mark.parametrize("block_time_s", [1, 2, 3, 5, 7, 12, 13, 60])
def test_origins_obey_the_derivation_rules(block_time_s: int) -> None:
    """An origin is not younger than its block and advances by 0 or 1; the sequence number counts from 0 at each."""
    number_before, sequence_before = origin_position(BlockNumber(0), Seconds(block_time_s))
    assert (number_before, sequence_before) == (0, 0)
    for rollup_block in range(1, 500):
        number, sequence = origin_position(BlockNumber(rollup_block), Seconds(block_time_s))
        assert number * SYNTHETIC_BLOCK_TIME_S <= rollup_block * block_time_s
        assert number - number_before in (0, 1)
        assert sequence == (0 if number != number_before else sequence_before + 1)
        number_before, sequence_before = number, sequence
