"""An independent checker of the published ABCI call grammar, for recorded traces.

The rules below are the productions of CometBFT v0.38, spec/abci/abci++_comet_expected_behavior.md ("Valid method call
sequences"), written as regular expressions over one letter per call. A trace is judged by derivatives: after each call
what may still follow is computed; nothing left means that the call was not allowed there. So a trace that ends in the
middle of a height, because a process was killed, is judged as far as it goes.

Beside the order the checker looks at what the grammar's text says about heights: the first decision follows what Info
named, each further one follows the one before, and a proposal is for the height that is being agreed on.

Calls that the grammar leaves out because they may come at any time: Echo, Flush, CheckTx, Query, ListSnapshots,
LoadSnapshotChunk, and Info but for the handshake at the start and the end of state sync. CometBFT v0.38 makes that
handshake on a clean start as well, before InitChain (consensus/replay.go), repeats InitChain after a crash before the
first decision, and makes neither call before state sync (node/node.go); that is in the rules here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

LETTERS = {
    "info": "i",
    "init_chain": "I",
    "offer_snapshot": "o",
    "apply_snapshot_chunk": "a",
    "prepare_proposal": "p",
    "process_proposal": "r",
    "extend_vote": "e",
    "verify_vote_extension": "v",
    "finalize_block": "d",
    "commit": "c",
}
ANYWHERE = frozenset({"check_tx", "query", "list_snapshots", "load_snapshot_chunk", "echo", "flush"})


# ---------------------------------------------------------------- regular expressions with derivatives
@dataclass(frozen=True)
class Node:
    """A regular expression: kind and parts."""

    kind: str
    letter: str = ""
    parts: tuple[Node, ...] = ()


NOTHING = Node("nothing")
EMPTY = Node("empty")


def one(letter: str) -> Node:
    return Node("letter", letter)


def seq(*parts: Node) -> Node:
    found = [part for part in parts if part is not EMPTY and part.kind != "empty"]
    if any(part.kind == "nothing" for part in found):
        return NOTHING
    if not found:
        return EMPTY
    return found[0] if len(found) == 1 else Node("seq", parts=(found[0], seq(*found[1:])))


def either(*parts: Node) -> Node:
    found: dict[Node, None] = {}
    for part in parts:
        for inner in part.parts if part.kind == "either" else (part,):
            if inner.kind != "nothing":
                found[inner] = None
    if not found:
        return NOTHING
    return next(iter(found)) if len(found) == 1 else Node("either", parts=tuple(found))


def many(part: Node) -> Node:
    return Node("many", parts=(part,))


def maybe(part: Node) -> Node:
    return either(EMPTY, part)


@lru_cache(maxsize=100_000)
def can_end(node: Node) -> bool:
    match node.kind:
        case "empty" | "many":
            return True
        case "seq":
            return all(can_end(part) for part in node.parts)
        case "either":
            return any(can_end(part) for part in node.parts)
    return False


@lru_cache(maxsize=100_000)
def after(node: Node, letter: str) -> Node:
    """What may follow once `letter` has come: the derivative (J. A. Brzozowski, 1964)."""
    match node.kind:
        case "letter":
            return EMPTY if node.letter == letter else NOTHING
        case "either":
            return either(*(after(part, letter) for part in node.parts))
        case "many":
            return seq(after(node.parts[0], letter), node)
        case "seq":
            first, rest = node.parts
            taken = seq(after(first, letter), rest)
            return either(taken, after(rest, letter)) if can_end(first) else taken
    return NOTHING


# ---------------------------------------------------------------- the published rules
def _rules() -> Node:
    got_votes = many(one("v"))
    extend = seq(got_votes, one("e"), got_votes)
    proposer = seq(got_votes, maybe(seq(one("p"), maybe(one("r")))), maybe(extend))
    non_proposer = seq(got_votes, maybe(one("r")), maybe(extend))
    consensus_height = seq(many(either(proposer, non_proposer)), one("d"), one("c"))
    consensus_exec = many(consensus_height)
    # The last height of a run is cut off anywhere; derivatives allow that without a rule.
    attempt = seq(one("o"), many(one("a")))
    success = seq(one("o"), one("a"), many(one("a")))
    state_sync = seq(many(attempt), success, one("i"))
    handshake = seq(one("i"), one("I"))
    clean_start = either(seq(handshake, maybe(state_sync), consensus_exec), seq(state_sync, consensus_exec))
    recovery = seq(one("i"), consensus_exec)
    return either(clean_start, recovery)


START = _rules()


# ---------------------------------------------------------------- traces
@dataclass(frozen=True)
class Call:
    """One call of a trace."""

    n: int
    method: str
    facts: dict[str, Any]
    answer: dict[str, Any]


def read_trace(path: Path) -> list[Call]:
    """The calls of one file in the order of their arrival. A last line that was cut off is left out."""
    asked: dict[int, dict[str, Any]] = {}
    answers: dict[int, dict[str, Any]] = {}
    lines = path.read_bytes().split(b"\n")
    for place, line in enumerate(lines):
        if not line:
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            if place >= len(lines) - 1:
                break
            raise
        if "answer" in entry:
            answers[entry["answer"]] = entry
        else:
            asked[entry["n"]] = entry
    return [Call(n, entry["method"], entry, answers.get(n, {})) for n, entry in sorted(asked.items())]


def check_run(calls: Sequence[Call]) -> list[str]:
    """Violations in the calls of one run of CometBFT, one sentence each; none when all is in order."""
    return [*check_order(call.method for call in calls), *check_heights(calls)]


def check_order(methods: Iterable[str]) -> list[str]:
    """The first call that the grammar does not allow where it came."""
    state = START
    seen: list[str] = []
    synced = False
    for method in methods:
        if method in ANYWHERE:
            continue
        letter = LETTERS.get(method)
        if letter is None:
            return [f"call {len(seen) + 1}: {method} is no call of ABCI 2.0"]
        following = after(state, letter)
        if letter == "i" and following.kind == "nothing" and seen:
            continue  # asked by a client of the RPC (abci_info), at any time
        synced = synced or letter == "o"
        if following.kind == "nothing":
            recent = " ".join(seen[-6:]) or "the start"
            return [f"call {len(seen) + 1}: {method} is not allowed after {recent}"]
        state = following
        seen.append(method)
    return []


def check_heights(calls: Sequence[Call]) -> list[str]:
    """Heights: decisions follow each other, starting after what Info named; proposals are for the next decision."""
    problems: list[str] = []
    last: int | None = None
    """Height of the newest commit, or what the handshake named."""
    decided: int | None = None
    for call in calls:
        height = call.facts.get("height")
        match call.method:
            case "info" if "height" in call.answer and (last is None or decided is None):
                last = call.answer["height"]
            case "finalize_block":
                if last is not None and height != last + 1:
                    problems.append(f"call {call.n}: finalize_block of height {height} after height {last}")
                decided = height
            case "commit":
                last = decided if decided is not None else last
            case "prepare_proposal" | "process_proposal" | "extend_vote":
                if last is not None and height != last + 1:
                    problems.append(f"call {call.n}: {call.method} of height {height} after height {last}")
            case _:
                pass
    return problems


def check_file(path: Path) -> list[str]:
    """Violations in a recorded file, each beginning with the file's name."""
    return [f"{path.name}: {problem}" for problem in check_run(read_trace(path))]


def check_directory(path: Path) -> tuple[int, list[str]]:
    """(calls that were judged, violations) of all files below a directory."""
    count = 0
    problems: list[str] = []
    for file in sorted(path.rglob("abci-*.jsonl")):
        calls = read_trace(file)
        count += len(calls)
        problems += [f"{file.name}: {problem}" for problem in check_run(calls)]
    return count, problems


__all__ = ["Call", "check_directory", "check_file", "check_heights", "check_order", "check_run", "read_trace"]
