"""The grammar checker accepts what CometBFT is allowed to do and notices what it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grammar import check_directory, check_order, check_run, read_trace

NAMES = {
    "i": "info",
    "I": "init_chain",
    "o": "offer_snapshot",
    "a": "apply_snapshot_chunk",
    "p": "prepare_proposal",
    "r": "process_proposal",
    "e": "extend_vote",
    "v": "verify_vote_extension",
    "d": "finalize_block",
    "c": "commit",
    "x": "check_tx",
    "q": "query",
}


def order(letters: str) -> list[str]:
    return check_order(NAMES[letter] for letter in letters.replace(" ", ""))


@pytest.mark.parametrize(
    "letters",
    [
        "",
        "i",
        "iI",
        "iI prdc rdc dc",
        "iI pr pr r p r dc",  # rounds: own proposals, those of others, and one that came to nothing
        "i dc dc dc rdc",  # replay
        "iI r",  # killed in the middle
        "iI rd",
        "iI v r e v v dc",  # votes with extensions
        "iI pre vv dc",
        "iI x r x d x c x q",
        "iI rdc i rdc",  # somebody asked abci_info
        "iI o aaa i dc rdc",  # state sync at the second attempt
        "iI o o aaa i dc",
        "o aa i dc",  # v0.38 makes no handshake before state sync
        "iI v v p r dc",
        "iI e dc",
    ],
)
def test_what_the_grammar_allows_is_accepted(letters: str) -> None:
    assert order(letters) == []


@pytest.mark.parametrize(
    ("letters", "at"),
    [
        ("iI c", "commit is not allowed after info init_chain"),
        ("iI rc", "commit is not allowed"),
        ("iI rdd", "finalize_block is not allowed"),
        ("iI rdr", "process_proposal is not allowed after info init_chain process_proposal finalize_block"),
        ("iI rdpc", "prepare_proposal is not allowed"),
        ("iI rdec", "extend_vote is not allowed"),
        ("iI rdcc", "commit is not allowed"),
        ("I rdc", "init_chain is not allowed after the start"),
        ("rdc", "process_proposal is not allowed after the start"),
        ("dc", "finalize_block is not allowed after the start"),
        ("iI rdc I", "init_chain is not allowed"),
        ("iI I", "init_chain is not allowed"),
        ("i o a i dc", "offer_snapshot is not allowed"),
        ("iI rdc o", "offer_snapshot is not allowed"),
        ("iI a", "apply_snapshot_chunk is not allowed"),
        ("iI o dc", "finalize_block is not allowed"),
        ("iI o a dc", "finalize_block is not allowed"),  # no Info at the end of state sync
    ],
)
def test_what_the_grammar_does_not_allow_is_noticed(letters: str, at: str) -> None:
    problems = order(letters)
    assert len(problems) == 1
    assert at in problems[0]


def test_a_call_that_abci_2_does_not_have_is_noticed() -> None:
    assert "deliver_tx is no call of ABCI 2.0" in check_order(["info", "deliver_tx"])[0]


def _write(path: Path, lines: list[dict[str, object]], tail: bytes = b"") -> Path:
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + tail)
    return path


def _run(*heights: tuple[str, int | None], info: int = 0) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = [{"n": 1, "method": "info"}, {"answer": 1, "height": info}]
    if info == 0:
        lines.append({"n": 2, "method": "init_chain"})
    for method, height in heights:
        line: dict[str, object] = {"n": len(lines) + 10, "method": method}
        lines.append(line if height is None else {**line, "height": height})
    return lines


def test_a_recorded_file_is_read_in_order_of_arrival_and_a_torn_last_line_left_out(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "abci-1.jsonl",
        _run(("process_proposal", 1), ("finalize_block", 1), ("commit", None)),
        b'{"n": 99, "meth',
    )
    assert [call.method for call in read_trace(path)] == [
        "info",
        "init_chain",
        "process_proposal",
        "finalize_block",
        "commit",
    ]
    assert check_directory(tmp_path) == (5, [])


@pytest.mark.parametrize(
    ("info", "heights", "problem"),
    [
        (0, [("finalize_block", 2)], "finalize_block of height 2 after height 0"),
        (7, [("finalize_block", 8), ("commit", None), ("finalize_block", 10)], "height 10 after height 8"),
        (7, [("process_proposal", 7)], "process_proposal of height 7 after height 7"),
        (7, [("finalize_block", 8), ("commit", None), ("prepare_proposal", 8)], "prepare_proposal of height 8"),
    ],
)
def test_heights_that_do_not_follow_each_other_are_noticed(
    tmp_path: Path, info: int, heights: list[tuple[str, int | None]], problem: str
) -> None:
    calls = read_trace(_write(tmp_path / "abci-1.jsonl", _run(*heights, info=info)))
    assert any(problem in found for found in check_run(calls))


def test_replay_from_what_info_named_is_in_order(tmp_path: Path) -> None:
    heights = [
        ("finalize_block", 8),
        ("commit", None),
        ("finalize_block", 9),
        ("commit", None),
        ("prepare_proposal", 10),
    ]
    assert check_run(read_trace(_write(tmp_path / "abci-1.jsonl", _run(*heights, info=7)))) == []
