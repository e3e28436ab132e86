"""Thousands of random bundles, seed by seed: every invariant of `invariants.py` holds after every sub-block, and the
log replayed over genesis gives the same hashes.

    PLAIT_SEED=7 .venv/bin/pytest tests/property/bundles/test_bundle_traffic.py      one seed
    PLAIT_SOAK=200 .venv/bin/pytest -n 2 tests/property/bundles                       this many seeds instead of SEEDS
"""

from __future__ import annotations

import os

import pytest

from tests.property.bundles.invariants import Invariants
from tests.property.bundles.traffic import Traffic

SEEDS = 24
BUNDLES = 200
"""Per seed, admitted by the pool."""


def seeds() -> list[int]:
    """What to play."""
    if "PLAIT_SEED" in os.environ:
        return [int(os.environ["PLAIT_SEED"])]
    return list(range(int(os.environ.get("PLAIT_SOAK", SEEDS))))


@pytest.mark.parametrize("seed", seeds())
def test_bundles_are_whole_and_value_is_conserved(seed: int) -> None:
    print(f"replay: PLAIT_SEED={seed} .venv/bin/pytest {os.path.relpath(__file__)}")
    traffic = Traffic(seed)
    invariants = Invariants(traffic)
    while traffic.happened["sent"] < BUNDLES:
        effect, _ = traffic.step()
        invariants.check(effect)
    invariants.at_end()
    print(traffic.relay, dict(sorted(traffic.happened.items())))
    assert traffic.happened["decided"] > BUNDLES // 40, "nearly nothing takes place: the seed shows nothing"
    assert traffic.happened["reverted"] + traffic.happened["nonce_too_low"] > 0
    again = traffic.network.application()
    for request in traffic.log:
        again.finalize(request)
        again.commit()
    assert again.info() == traffic.nodes[0].info(), "the log replayed over genesis stands elsewhere"
