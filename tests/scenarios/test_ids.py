"""The suite is complete: every id of the list is a test that runs here, one elsewhere, or is listed with the reason why
it is none."""

from __future__ import annotations

import re
from pathlib import Path

from tests.scenarios.ids import ELSEWHERE, EVENTS, GROUPS, NOT_PLAYED

FOLDER = Path(__file__).parent
TEST = re.compile(r"^def test_([a-h])(\d\d)_\w+\(.*?\) -> None:\n    \"\"\"(.*?)\"\"\"", re.MULTILINE | re.DOTALL)


def played() -> dict[str, list[str]]:
    """Docstrings of the tests of each id."""
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("test_[a-h]_*.py")):
        for group, number, text in TEST.findall(path.read_text()):
            found.setdefault(f"{group.upper()}{int(number)}", []).append(text)
    return found


def test_every_id_is_a_test_or_has_a_reason() -> None:
    tests = played()
    assert set(tests) | set(ELSEWHERE) | set(NOT_PLAYED) == set(EVENTS)
    assert len(tests) + len(ELSEWHERE) + len(NOT_PLAYED) == len(EVENTS), "an id is listed twice"
    assert all(len(reason) > 20 for reason in NOT_PLAYED.values())


def test_tests_elsewhere_are_there() -> None:
    for name, test in ELSEWHERE.items():
        path, function = test.split("::")
        source = (FOLDER.parents[1] / path).read_text()
        assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), f"{name}: {test} is not there"


def test_the_list_has_no_gaps() -> None:
    """Ids of a group count up from 1; the groups that this design is about are there in full."""
    sizes = {"A": 15, "B": 12, "C": 13, "D": 15, "E": 14, "F": 11, "G": 7, "H": 10}
    assert list(EVENTS) == [f"{group}{number + 1}" for group, size in sizes.items() for number in range(size)]
    assert set(GROUPS) == set(sizes)


def test_every_test_says_what_happens_and_what_must_come_of_it() -> None:
    for texts in played().values():
        assert all("=>" in text for text in texts), texts


def test_the_readme_names_what_is_played_elsewhere_or_not() -> None:
    readme = (FOLDER / "README.md").read_text()
    for name, reason in NOT_PLAYED.items():
        assert f"| {name} | {EVENTS[name]} | {reason} |" in readme, name
    for name, test in ELSEWHERE.items():
        assert f"| {name} | {EVENTS[name]} | `{test}` |" in readme, name
