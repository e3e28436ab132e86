"""Fuzzes targets and prints one line for each; ends with 1 at the first finding.

python -m sim.fuzz                          every target, 5 seconds each
python -m sim.fuzz batch rpc --seconds 600 --seed 7
python -m sim.fuzz batch --input 02f8...    one input of a finding again
python -m sim.fuzz --list
"""

import argparse
import random
import sys

from sim.fuzz.loop import Finding, run
from sim.fuzz.targets import TARGETS


def main() -> int:
    """Exit code: 0 nothing found, 1 a finding."""
    parser = argparse.ArgumentParser(prog="python -m sim.fuzz", description="Fuzz decoders and RPC entries.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="names of targets (default: all)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each target (default: 5)")
    parser.add_argument("--inputs", type=int, help="at most so many inputs for each target")
    parser.add_argument("--seed", type=int, help="chooses the mutations (default: a new one, printed)")
    parser.add_argument("--input", metavar="HEX", help="give this one input to the target and do nothing else")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(TARGETS))
        return 0
    unknown = set(arguments.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"unknown target {min(unknown)}; --list names them")
    names = arguments.targets or list(TARGETS)
    if arguments.input is not None:
        for name in names:
            with TARGETS[name].open() as decode:
                print(f"{name}: {decode(bytes.fromhex(arguments.input))!r}")
        return 0
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    for name in names:
        try:
            found = run(TARGETS[name], seed=seed, inputs=arguments.inputs, seconds=arguments.seconds)
        except Finding as finding:
            print(f"FINDING {finding}\nreplay: python -m sim.fuzz {name} --input {finding.data.hex()}")
            return 1
        print(
            f"{name:26} {found.inputs:8,} inputs, {found.accepted:7,} read, {found.lines:5,} lines of Plait reached, "
            f"{found.kept:4,} kept"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
