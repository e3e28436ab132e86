"""200 seeded networks keep every promise under rivals, byzantine proposers, skipped checks, crashes and replays.

Each seed is a world of 1 to 5 nodes and 1 to 3 rollups; `sim.checkers` asks its questions after every height. A
failure prints the command that replays the seed.
"""

import pytest

from sim.run import play

SEEDS = 200
CHUNK = 10


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds_keep_every_promise(first: int) -> None:
    transactions = refused = 0
    for seed in range(first, first + CHUNK):
        try:
            summary = play(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}; replay it with: python -m sim.run --seed {seed} --verbose")
        transactions += summary.transactions
        refused += sum(summary.refused.values())
    assert transactions > 100, "the seeds exercised execution"
    assert refused > 10, "the seeds exercised refusals"
