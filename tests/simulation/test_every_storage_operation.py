"""A node may stop at every single operation of its disk, killed or without power: nothing decided is lost.

One network is played once per operation that its first node makes on its disk, and stops there: while a record, a
segment's header or a part of a snapshot is written, synced, renamed, removed, or its directory synced.
`sim.invariants` asks that the log holds what `append` returned for, that no damaged snapshot is used, that replay
gives the state of the others, and everything else that must always hold.
"""

import msgspec
import pytest

from plait.types import Gas, OrderingPolicy
from sim.cluster import Cluster, Scenario
from sim.member import Habits
from sim.network import FAIR
from sim.world import Plan

SEED = 1
NODES = 4
TIGHT = Habits(
    recheck_own=False,
    skew_ms=0,
    segment_bytes_max=2_500,
    bytes_max=2**20,
    with_senders=True,
    snapshot_heights=3,
)
PLACES = 3
"""Parts of the operations that run as tests of their own."""


def scenario(operation: int | None, *, killed: bool = False) -> Scenario:
    """Four honest nodes in fair weather; the first stops at an operation of its disk."""
    return Scenario(
        plan=Plan(
            nodes=NODES,
            block_times_slots=(1, 2),
            policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL),
            gas_limit=Gas(30_000_000),
            users=2,
            heights=8,
        ),
        powers=(1,) * NODES,
        liars=frozenset(),
        careful=False,
        habits=(
            TIGHT,
            *(TIGHT._replace(segment_bytes_max=10**6, with_senders=index == 1) for index in range(1, NODES)),
        ),
        weather=FAIR,
        start_ms=1_500,
        chaos_ms=20_000,
        crashes=0,
        breaking=(operation, *(None for _ in range(1, NODES))),
        killed=(killed,) * NODES,
        islands=0,
        again=0,
    )


def operations() -> int:
    """How many operations the first node's disk sees when nothing stops it."""
    with Cluster(SEED, scenario=scenario(None)) as cluster:
        cluster.run()
        assert cluster.invariants.crashes == 0
        assert len(list((cluster.members[0].disk.root / "log").iterdir())) >= 3, "several segments were begun"
        return cluster.operations_at_healing[0]


@pytest.mark.parametrize("killed", [False, True], ids=["power lost", "killed"])
@pytest.mark.parametrize("place", range(PLACES))
def test_a_node_may_stop_at_every_operation_of_its_disk(place: int, killed: bool) -> None:
    count = operations()
    assert count >= 20
    stopped = 0
    for operation in range(place, count, PLACES):
        try:
            with Cluster(SEED, scenario=scenario(operation, killed=killed)) as cluster:
                cluster.run()
                stopped += cluster.invariants.crashes
        except Exception as error:
            pytest.fail(f"operation {operation} of {count}, killed={killed}: {error!r}")
    assert stopped == len(range(place, count, PLACES)), "every run stopped its node"


@pytest.mark.parametrize("seed", range(4))
def test_stops_follow_each_other(seed: int) -> None:
    """Each start, too, ends at one of its first operations: while it cuts what an append left, or right after."""
    broken = msgspec.structs.replace(scenario(2 + 5 * seed), again=100)
    with Cluster(seed, scenario=broken) as cluster:
        cluster.run()
        assert cluster.invariants.crashes >= 2, f"seed {seed}"
