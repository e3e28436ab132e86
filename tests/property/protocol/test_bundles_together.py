"""Bundles that run together come out as bundles that run one after the other: the same proposals, byte for byte, and
the same failed trials, whatever the traffic; and a log made one way replays the other way.

    PLAIT_SEED=7 .venv/bin/pytest tests/property/protocol/test_bundles_together.py      one seed
"""

import os
from collections import Counter
from typing import Any

import pytest

from plait.execution import together
from plait.protocol import bundles as protocol_bundles
from tests.property.bundles.traffic import Traffic

SEEDS = 4
STEPS = 30


def seeds() -> list[int]:
    return [int(os.environ["PLAIT_SEED"])] if "PLAIT_SEED" in os.environ else list(range(SEEDS))


def play(seed: int) -> Traffic:
    traffic = Traffic(seed)
    for _ in range(STEPS):
        traffic.step()
    return traffic


@pytest.mark.parametrize("seed", seeds())
def test_running_together_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"replay: PLAIT_SEED={seed} .venv/bin/pytest {os.path.relpath(__file__)}")
    seen: Counter[str] = Counter()
    run_together = together.run_together

    def counted(*arguments: Any) -> together.Together:
        found = run_together(*arguments)
        seen["cut" if found.stood_out else "whole"] += len(arguments[1]) > 1
        return found

    with monkeypatch.context() as patch:
        patch.setattr(protocol_bundles, "run_together", counted)
        at_once = play(seed)
    assert sum(seen.values()) > 0, "nothing ran together: the seed shows nothing"
    monkeypatch.setattr(together.Pace, "count", 1)
    apart = play(seed)
    assert [request.proposal for request in at_once.log] == [request.proposal for request in apart.log]
    assert at_once.happened == apart.happened
    replayed = apart.network.application()
    for request in at_once.log:
        replayed.finalize(request)
        replayed.commit()
    assert replayed.info() == at_once.nodes[0].info()
