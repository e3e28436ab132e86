"""Every mutation of a valid history is refused at the mutated message, for the reason that was broken; and every rule
of the checker is needed: without it some mutation passes.

`pytest tests/conformance/messages/test_judge_mutations.py -s` prints the table: per mutation how often it was applied,
and which rules alone refused it (a checker without that rule accepts the mutated message).
More: PLAIT_MESSAGES_SEEDS=20000 pytest tests/conformance/messages
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random

from tests.conformance.messages.checker import RULES, Judged, judge
from tests.conformance.messages.histories import History, random_history
from tests.conformance.messages.mutations import INVALID, VALID, Spot, spots

SEEDS = int(os.environ.get("PLAIT_MESSAGES_SEEDS", "40"))


def broken_at(spot: Spot, found: list[Judged], *, block_too: bool = False) -> list[Judged]:
    """What is bad at the transaction of the spot (or after it in its block)."""
    here = (spot.block.chain_id, spot.block.number)
    return [
        item
        for item in found
        if (item.chain_id, item.block_number) == here
        and (item.transaction == spot.transaction or (block_too and item.transaction > spot.transaction))
    ]


def test_every_mutation_is_refused_and_every_rule_is_needed() -> None:
    """Per mutation: the named rule breaks at the message. Per rule: some mutation is refused by it alone."""
    applied: Counter[str] = Counter()
    alone: dict[str, Counter[str]] = {name: Counter() for name in INVALID}
    for seed in range(SEEDS):
        random = Random(seed)
        history = random_history(seed)
        assert judge(history.chains, history.blocks) == [], seed
        for spot in random.sample(found := spots(history), min(2, len(found))):
            for name, (mutation, rules) in INVALID.items():
                mutated = mutation(random, history, spot)
                if mutated is None:
                    continue
                applied[name] += 1
                _refused(f"random_history({seed}), {name}", mutated, spot, rules.split("|"), alone[name])
    print(table(applied, alone))
    assert min(applied[name] for name in INVALID) >= 5, f"rarely applied: {applied}"
    needed = set().union(*alone.values())
    assert needed == set(RULES), f"no mutation is refused by these alone: {sorted(set(RULES) - needed)}"


def _refused(where: str, mutated: History, spot: Spot, rules: list[str], alone: Counter[str]) -> None:
    found = judge(mutated.chains, mutated.blocks)
    bad = broken_at(spot, found, block_too=True)
    names = set().union(*(item.broken for item in bad))
    assert names & set(rules), f"{where}: {bad} breaks none of {rules}"
    if len(names) == 1:
        (name,) = names
        rest = judge(mutated.chains, mutated.blocks, without=names)
        if not broken_at(spot, rest, block_too=True):
            alone[name] += 1


def table(applied: Counter[str], alone: dict[str, Counter[str]]) -> str:
    """Mutations by rules, in text."""
    lines = [f"\n{'mutation':<38}{'applied':>8}  refused by this rule alone"]
    for name, counts in alone.items():
        lines.append(f"{name:<38}{applied[name]:>8}  " + ", ".join(f"{rule} {n}" for rule, n in counts.items()))
    lines.append(f"{len(RULES)} rules, {len(set().union(*alone.values()))} of them needed by some mutation")
    return "\n".join(lines)


def test_messages_at_the_edge_of_a_rule_are_accepted() -> None:
    """Exactly seven days old, at the first timestamp of a chain, mutual with one emitting first: nothing is broken."""
    applied: Counter[str] = Counter()
    for seed in range(SEEDS):
        random = Random(seed)
        history = random_history(seed)
        for spot in random.sample(found := spots(history), min(3, len(found))):
            for name, mutation in VALID.items():
                mutated = mutation(random, history, spot)
                if mutated is None:
                    continue
                bad = broken_at(spot, judge(mutated.chains, mutated.blocks), block_too="mutual" in name)
                mine = [item for item in bad if item.claim == spot.claim or "mutual" in name]
                assert not mine, f"random_history({seed}), {name}: {mine}"
                applied[name] += 1
    assert min(applied[name] for name in VALID) >= 5, f"rarely applied: {applied}"
