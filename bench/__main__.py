"""Runs the benchmarks by name; see `bench/__init__.py`."""

import argparse
import importlib
import sys

QUESTIONS = [
    "floor",
    "solo",
    "over_http",
    "engine_api",
    "engine_driver",
    "latency",
    "scaling",
    "memory",
    "restart",
    "bundles",
    "messages",
    "network",
    "joining",
    "ledger_steps",
    "light",
    "derivation",
    "batch_size",
]


def main() -> int:
    """Runs the named questions (all by default), prints each table and writes its JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that they run, not how fast")
    arguments = parser.parse_args()
    unknown = set(arguments.questions) - set(QUESTIONS)
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    for name in arguments.questions or QUESTIONS:
        result = importlib.import_module(f"bench.{name}").run(quick=arguments.quick)
        result.print()
        print(f"  written: {result.write().relative_to(result.write().parents[2])}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
