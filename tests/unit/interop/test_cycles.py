"""The same-timestamp rule: which messages may refer to each other (scenarios D12, D13, D15).

Most cases are those of op-supernode (cycle_test.go, atomic_demo_test.go), written as (chain, log, source, source log).
"""

from __future__ import annotations

import pytest

from plait.errors import InvariantBroken
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import LogIndex, MessageChainId

A, B, C, D = 10, 8453, 420, 999
Case = list[tuple[int, int, int, int]]

VALID: dict[str, Case] = {
    "nothing": [],
    "one-way reference to a chain that executes nothing": [(A, 0, B, 0)],
    "one-way dependency": [(A, 0, B, 5), (B, 3, C, 0)],
    "refers to a log before the other's message": [(A, 0, B, 2), (B, 3, A, 0)],
    "two messages of one chain": [(A, 0, B, 0), (A, 5, B, 3)],
    "triangle that emits before it validates": [(A, 5, B, 3), (B, 5, C, 3), (C, 5, A, 3)],
    "mutual, both emit before they validate": [(A, 1, B, 0), (B, 1, A, 0)],
    "mutual, A emits first and B validates first": [(A, 1, B, 1), (B, 0, A, 0)],
    "two round trips": [(A, 1, B, 1), (A, 3, B, 3), (B, 0, A, 0), (B, 2, A, 2), (B, 4, A, 4)],
    "callback into a waiting chain": [
        (A, 1, B, 1), (A, 3, B, 3), (A, 5, B, 5), (B, 0, A, 0), (B, 2, A, 2), (B, 4, A, 4), (B, 6, A, 6),
    ],
    "diamond": [(D, 0, B, 1), (D, 2, C, 1), (B, 0, A, 1), (C, 0, A, 1), (A, 0, 1, 0)],
    "own chain, an earlier log": [(A, 3, A, 2)],
    "own chain, after an earlier message": [(A, 1, A, 0), (A, 3, A, 2)],
}  # fmt: skip

CYCLES: dict[str, tuple[Case, list[int]]] = {
    "mutual, both validate first": ([(A, 0, B, 0), (B, 0, A, 0)], [A, B]),
    "mutual, both validate before they emit": ([(A, 0, B, 1), (B, 0, A, 1)], [A, B]),
    "triangle": ([(A, 0, B, 0), (B, 0, C, 0), (C, 0, A, 0)], [A, B, C]),
    "through adjacency on one chain": ([(A, 0, B, 0), (A, 2, C, 0), (B, 0, A, 3)], [A, B]),
    "through adjacency on both chains": ([(A, 0, B, 9), (A, 5, 1, 0), (B, 0, 1, 0), (B, 4, A, 7)], [A, B]),
    "one chain: a message that justifies itself": ([(A, 0, A, 0)], [A]),
    "one chain: a message that refers to a later log": ([(A, 0, A, 1)], [A]),
    "one chain: two messages in a circle": ([(A, 0, A, 1), (A, 1, A, 0)], [A]),
    "one chain: three messages in a circle": ([(A, 0, A, 2), (A, 1, A, 0), (A, 2, A, 1)], [A]),
    "bystander is not at fault": ([(A, 0, C, 0), (C, 0, A, 0), (B, 0, D, 0)], [A, C]),
    "what a cycle depends on is not at fault": ([(A, 0, B, 0), (B, 0, A, 1), (A, 1, C, 0), (C, 0, D, 0)], [A, B]),
    "what depends on a cycle is not at fault": ([(A, 0, B, 0), (B, 0, A, 0), (C, 0, A, 5)], [A, B]),
    "between two cycles is not at fault": (
        [(A, 0, A, 0), (B, 0, A, 0), (C, 0, B, 0), (C, 1, C, 1)],
        [A, C],
    ),
    "waits for a completion that waits for it": (
        [(A, 1, B, 1), (A, 3, B, 3), (A, 5, B, 5), (B, 0, A, 0), (B, 2, A, 6), (B, 4, A, 4), (B, 6, A, 6)],
        [A, B],
    ),
    # specs#207: an NFT is bridged A -> B and back in one timestamp, each arrival being the other's reason
    "an asset that exists because it returns": ([(A, 0, B, 1), (B, 0, A, 1)], [A, B]),
}


def executions(case: Case) -> list[SameTimeExecution]:
    return [
        SameTimeExecution(
            chain_id=MessageChainId(chain),
            log_index=LogIndex(log),
            source_chain_id=MessageChainId(source),
            source_log_index=LogIndex(source_log),
        )
        for chain, log, source, source_log in case
    ]


@pytest.mark.parametrize("name", VALID)
def test_messages_without_a_cycle_are_valid(name: str) -> None:
    """No chain is at fault, in whatever order the messages are given."""
    case = executions(VALID[name])
    assert chains_in_cycles(case) == chains_in_cycles(reversed(case)) == ()


@pytest.mark.parametrize("name", CYCLES)
def test_chains_on_a_cycle_are_at_fault_and_no_others(name: str) -> None:
    """Exactly the chains with a message on a cycle are named, ascending."""
    case, at_fault = CYCLES[name]
    expected = tuple(sorted(at_fault))
    assert chains_in_cycles(executions(case)) == chains_in_cycles(reversed(executions(case))) == expected


@pytest.mark.parametrize("depth", [2, 3, 5, 10, 5_000])
def test_alternating_chain_of_any_depth_is_valid(depth: int) -> None:
    """D15: A and B answer each other `depth` times; each executes the other's last log, then emits."""
    case: Case = []
    logs = {A: 1, B: 0}  # A has emitted its first request at log 0
    side, other = B, A
    for _ in range(depth):
        case.append((side, logs[side], other, logs[other] - 1))
        logs[side] += 2
        side, other = other, side
    assert chains_in_cycles(executions(case)) == ()
    # closing the circle: the first message refers to the last log instead
    first = (case[0][0], case[0][1], other, logs[other] - 1)
    assert chains_in_cycles(executions([first, *case[1:]])) == (A, B)


def test_two_messages_at_one_log_are_a_bug_of_the_caller() -> None:
    """A log is one message: two at one position stop the node."""
    with pytest.raises(InvariantBroken):
        chains_in_cycles(executions([(A, 0, B, 0), (A, 0, C, 0)]))
