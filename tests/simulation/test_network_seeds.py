"""500 seeded networks keep every promise, message by message: lost, late and repeated messages, islands, crashes at
storage operations and between events, wrong clocks, and byzantine validators with less than a third of the power.

`sim.invariants` asks its questions after every verdict, commit and crash. A failure prints the command that replays
the seed.
"""

import pytest

from sim.run import play_network

SEEDS = 500
CHUNK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_networks_keep_every_promise(first: int) -> None:
    transactions = refused = crashes = lost = 0
    for seed in range(first, first + CHUNK):
        try:
            summary = play_network(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}; replay it with: python -m sim.run --seeds {seed} --verbose")
        transactions += summary.transactions
        refused += sum(summary.refused.values())
        crashes += summary.crashes
        lost += summary.lost
    assert transactions > 50, "the seeds exercised execution"
    assert refused > 5, "the seeds exercised refusals"
    assert crashes > 3, "the seeds exercised crashes"
    assert lost > 100, "the seeds exercised lost messages"
