"""What holds for every test: no property is judged by the time that an example takes, recursion ends where it does
for a node, and what takes long begins first.

`py_ecc`, which client libraries load, lets Python recurse 100,000 levels deep in the whole process; hostile JSON
then overflows the stack of C before Python notices. A node does not load it.
"""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("plait", deadline=None, print_blob=True)
settings.load_profile("plait")

RECURSION_LIMIT = 3_000
LONGEST = (
    "simulation/test_network_seeds.py",
    "simulation/test_seeds.py",
    "integration/crash/test_random_kills.py",
    "integration/abci/test_killed_validator.py",
    "integration/devnet/test_devnet_process.py",
    "integration/crash/test_kill_at_write_points.py",
    "property/ledger/test_stake_machine.py",
    "integration/faces/test_boost.py",
    "integration/engine/test_driver.py",
    "conformance/opgeth/test_devnet.py",
    "conformance/opgeth/test_differential.py",
    "e2e/network/test_kills_and_partitions.py",
    "e2e/opstack/test_derivation.py",
    "e2e/opstack/test_opstack_faults.py",
    "e2e/network/test_pauses_and_disconnections.py",
    "e2e/network/test_testnet_commands.py",
    "e2e/opstack/test_remote_chain.py",
    "e2e/opstack/test_commands.py",
    "e2e/network/test_hurt_nodes.py",
)
"""Of each phase of tools/test.sh, the longest first: who begins one of them last is waited for by the other workers."""
_TESTS = Path(__file__).resolve().parent


def pytest_configure(config: pytest.Config) -> None:
    """Lets xdist hand out files in the order below, where it would put those of few tests last."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, then those with a slow test; the order within a file stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place_of(item: pytest.Item) -> int:
        name = item.path.relative_to(_TESTS).as_posix() if item.path.is_relative_to(_TESTS) else ""
        return places.get(name, len(places) + (item.path not in slow))

    items.sort(key=place_of)


@pytest.fixture(autouse=True)
def _recursion_ends() -> None:
    if sys.getrecursionlimit() > RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
