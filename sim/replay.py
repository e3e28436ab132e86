"""Replays a recorded log in a fresh process: `python -m sim.replay FILE` prints every hash that the log gives, as JSON.

A recording names the network's plan and funded accounts instead of holding state, so that nothing but the log is
trusted. The determinism test runs this under other hash seeds and worker counts and compares the output byte by byte.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from plait.engines.simulated import Decided, SimulatedEngine, replay
from plait.types import Address
from sim.world import Plan, network_of


class Recording(msgspec.Struct, kw_only=True):
    """A decided log and the genesis it starts from."""

    plan: Plan
    funded: list[bytes]
    log: list[Decided]


def record(path: Path, plan: Plan, funded: list[Address], engine: SimulatedEngine) -> None:
    """Writes a recording."""
    path.write_bytes(msgspec.msgpack.encode(Recording(plan=plan, funded=[bytes(f) for f in funded], log=engine.log)))


def hashes_of(recording: Recording, *, with_senders: bool) -> dict[str, object]:
    """Every app hash of the log, and the last sealed header of every rollup."""
    network = network_of(recording.plan, [Address(address) for address in recording.funded])
    application = replay(network.application(), recording.log, with_senders=with_senders)
    heads = {str(rollup_id): rollup.head.header_rlp.hex() for rollup_id, rollup in application.rollups.items()}
    return {"app_hashes": [entry.app_hash.hex() for entry in recording.log], "heads": heads}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sim.replay", description="Replays a recorded log.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--with-senders", action="store_true", help="take senders from the log instead of recovering")
    options = parser.parse_args(arguments)
    recording = msgspec.msgpack.decode(options.file.read_bytes(), type=Recording)
    hashes = hashes_of(recording, with_senders=options.with_senders)
    sys.stdout.write(msgspec.json.encode(hashes, order="sorted").decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
