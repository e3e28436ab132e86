"""Plays seeds and prints what came of them.

    python -m sim.run --seeds A-B          networks of whole nodes, message by message (sim.cluster); one number for one
    python -m sim.run --seed N --count C   worlds decided height by height (sim.world)

The summary of a seed is a function of the seed alone; `--json` prints it for programs and for the determinism test,
`--verbose` prints everything of note as it happens.
"""

import argparse
import sys
import traceback
from collections import Counter

import msgspec

from plait.engines.simulated import Step
from plait.protocol.requests import Refused
from sim.checkers import Checkers
from sim.cluster import Cluster
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


class NetworkSummary(msgspec.Struct, kw_only=True):
    """What came of a network's seed."""

    seed: int
    nodes: int
    liars: int
    heights: int
    rounds_max: int
    crashes: int
    transactions: int
    bundles: int
    caught: int
    accepted: int
    refused: dict[str, int]
    messages: int
    lost: int
    milliseconds: int
    app_hash: str


def play_network(seed: int, *, heights: int | None = None, verbose: bool = False) -> NetworkSummary:
    """Plays one seed of a network under all invariants.

    Raises:
        Violation, InvariantBroken: something went wrong; the same seed goes wrong the same way.
    """
    with Cluster(seed, heights=heights, tell=_print if verbose else lambda _: None) as cluster:
        cluster.run()
        found = cluster.invariants
        refused = {code: count for code, count in sorted(found.verdicts.items()) if code != "accepted"}
        return NetworkSummary(
            seed=seed,
            nodes=len(cluster.members),
            liars=len(cluster.scenario.liars),
            heights=cluster.height,
            rounds_max=max(found.rounds),
            crashes=found.crashes,
            transactions=found.transactions,
            bundles=found.bundles,
            caught=found.misbehavior,
            accepted=found.verdicts["accepted"],
            refused=refused,
            messages=cluster.links.sent,
            lost=cluster.links.lost,
            milliseconds=cluster.now_ms() - cluster.start_ms,
            app_hash=found.last_app_hash.hex(),
        )


def _print(line: str) -> None:
    print(line, file=sys.stderr)


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


def _sentence(summary: Summary | NetworkSummary) -> str:
    refused = sum(summary.refused.values())
    if isinstance(summary, Summary):
        return (
            f"seed {summary.seed}: {summary.nodes} nodes, {summary.rollups} rollups, {summary.heights} heights, "
            f"{summary.transactions} transactions, {summary.bundles} bundles, {summary.sealed} blocks sealed, "
            f"{summary.restarts} restarts, {refused} refused, app 0x{summary.app_hash[:16]}"
        )
    return (
        f"seed {summary.seed}: {summary.nodes} nodes, {summary.liars} lie, {summary.heights} heights in "
        f"{summary.milliseconds / 1_000:.1f} s, up to round {summary.rounds_max}, {summary.crashes} crashes, "
        f"{summary.lost} of {summary.messages} messages lost, {summary.transactions} transactions, "
        f"{summary.bundles} bundles, {refused} refused, {summary.caught} caught, app 0x{summary.app_hash[:16]}"
    )


def _seeds(text: str) -> range:
    """`A-B` (both inclusive) or one number."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sim.run", description="Plays simulated networks from seeds.")
    parser.add_argument("--seeds", type=_seeds, default=None, help="networks message by message: A-B, or one seed")
    parser.add_argument("--seed", type=int, default=0, help="worlds height by height: first seed")
    parser.add_argument("--count", type=int, default=1, help="worlds height by height: how many seeds from there on")
    parser.add_argument("--heights", type=int, default=None, help="heights per seed (default: by seed)")
    parser.add_argument("--json", action="store_true", help="print summaries as JSON lines")
    parser.add_argument("--verbose", action="store_true", help="print what happens")
    options = parser.parse_args(arguments)
    network = options.seeds is not None
    failed = 0
    for seed in options.seeds if network else range(options.seed, options.seed + options.count):
        player = play_network if network else play
        try:
            summary = player(seed, heights=options.heights, verbose=options.verbose)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"seed {seed} failed; replay it with: {_command(seed, network, options.heights)}", file=sys.stderr)
            continue
        print(msgspec.json.encode(summary).decode() if options.json else _sentence(summary), flush=True)
    return 1 if failed else 0


def _command(seed: int, network: bool, heights: int | None) -> str:
    wanted = f" --heights {heights}" if heights is not None else ""
    return f"python -m sim.run --seed{'s' if network else ''} {seed}{wanted} --verbose"


if __name__ == "__main__":
    sys.exit(main())
