"""Plays seeds: `python -m sim.run --seed N` replays one and prints what happened; `--count` plays a range.

The summary of a seed is a function of the seed alone; `--json` prints it for programs and for the determinism test.
"""

import argparse
import sys
import traceback
from collections import Counter

import msgspec

from plait.engines.simulated import Step
from plait.protocol.requests import Refused
from sim.checkers import Checkers
from sim.world import World


class Summary(msgspec.Struct, kw_only=True):
    """What came of a seed."""

    seed: int
    nodes: int
    rollups: int
    heights: int
    transactions: int
    bundles: int
    sealed: int
    restarts: int
    refused: dict[str, int]
    app_hash: str
    heads: dict[str, str]


def play(seed: int, *, heights: int | None = None, verbose: bool = False) -> Summary:
    """Plays one seed under all checkers.

    Raises:
        Violation, InvariantBroken: the world went wrong; the same seed goes wrong the same way.
    """
    world = World(seed, heights=heights)
    checkers = Checkers(world)
    refused: Counter[str] = Counter()
    transactions = bundles = restarts = 0
    for _ in range(world.plan.heights):
        step = world.step()
        checkers.after(step)
        transactions += sum(1 for _ in range(0, len(step.decided.senders), 20))
        bundles += len(next(iter(step.effects.values())).bundles)
        restarts += len(step.restarted)
        refused.update(_refusals(step))
        if verbose:
            print(describe(step), file=sys.stderr)
    checkers.at_end()
    application = world.engine.live[0][1]
    return Summary(
        seed=seed,
        nodes=world.plan.nodes,
        rollups=len(world.plan.block_times_slots),
        heights=world.plan.heights,
        transactions=transactions,
        bundles=bundles,
        sealed=sum(rollup.head.number for rollup in application.rollups.values()),
        restarts=restarts,
        refused=dict(sorted(refused.items())),
        app_hash=application.app_hash.hex(),
        heads={str(rollup_id): rollup.head.hash.hex() for rollup_id, rollup in application.rollups.items()},
    )


def _refusals(step: Step) -> Counter[str]:
    return Counter(
        verdict.code
        for shown in step.shown
        for verdict in list(shown.verdicts.values())[:1]
        if isinstance(verdict, Refused)
    )


def describe(step: Step) -> str:
    """One line about a height."""
    effect = next(iter(step.effects.values()))
    tried = ", ".join(
        f"{shown.name}={'ok' if shown.valid else getattr(next(iter(shown.verdicts.values())), 'code', '?')}"
        for shown in step.shown
    )
    return (
        f"height {effect.height} slot {effect.slot}.{effect.sub_index} transactions {effect.transactions} "
        f"app 0x{effect.app_hash.hex()[:12]} rounds [{tried}] back {list(step.restarted)}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sim.run", description="Plays simulated networks from seeds.")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--heights", type=int, default=None, help="heights per seed (default: by seed)")
    parser.add_argument("--json", action="store_true", help="print summaries as JSON lines")
    parser.add_argument("--verbose", action="store_true", help="print a line per height")
    options = parser.parse_args(arguments)
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        try:
            summary = play(seed, heights=options.heights, verbose=options.verbose)
        except Exception:
            failed += 1
            traceback.print_exc()
            heights = f" --heights {options.heights}" if options.heights is not None else ""
            print(
                f"seed {seed} failed; replay it with: python -m sim.run --seed {seed}{heights} --verbose",
                file=sys.stderr,
            )
            continue
        if options.json:
            sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
        else:
            print(
                f"seed {summary.seed}: {summary.nodes} nodes, {summary.rollups} rollups, {summary.heights} heights, "
                f"{summary.transactions} transactions, {summary.bundles} bundles, {summary.sealed} blocks sealed, "
                f"{summary.restarts} restarts, "
                f"{sum(summary.refused.values())} refused, app 0x{summary.app_hash[:16]}"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
