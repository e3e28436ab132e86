"""Which links are broken follows from the faults in force, and from nothing else."""

import pytest

from plait.errors import RequestRefused
from plait.testnet.chaos import Faults

NAMES = ("node1", "node2", "node3", "node4")


def broken(faults: Faults) -> set[tuple[str, str]]:
    return {(a, b) for a in NAMES for b in NAMES if a < b and faults.state_of(a, b) != "open"}


def test_a_disconnected_node_reaches_nobody_and_the_others_reach_each_other() -> None:
    faults = Faults()
    faults.disconnect("node3", "cut")
    assert broken(faults) == {("node1", "node3"), ("node2", "node3"), ("node3", "node4")}
    faults.disconnect("node3", "open")
    assert broken(faults) == set()


def test_a_partition_breaks_exactly_the_links_between_its_groups() -> None:
    faults = Faults()
    faults.partition([("node1", "node2")], NAMES, "silent")
    between = {("node1", "node3"), ("node1", "node4"), ("node2", "node3"), ("node2", "node4")}
    assert broken(faults) == between
    assert {faults.state_of(*pair) for pair in between} == {"silent"}
    faults.disconnect("node1", "cut")
    assert faults.state_of("node4", "node1") == "cut"
    assert faults.state_of("node2", "node4") == "silent"
    faults.heal()
    assert broken(faults) == set()


@pytest.mark.parametrize(
    "groups", [[], [NAMES], [("node1", "node9")], [("node1", "node2"), ("node2", "node3")], [("node1",), ("node1",)]]
)
def test_a_partition_that_is_none_is_refused_and_changes_nothing(groups: list[tuple[str, ...]]) -> None:
    faults = Faults()
    with pytest.raises(RequestRefused) as refused:
        faults.partition(groups, NAMES, "cut")
    assert refused.value.code == "partition_invalid"
    assert broken(faults) == set()
