"""What a driver is doing, as others see it: a state machine of four states, and everything that metrics and RPC show.

    connecting ──> syncing ──> following          connecting: no engine answers, or it is being checked
        ^ ^───────────┘ │         │ │             syncing:    it lacks blocks, has others, or is busy itself
        │ └─────────────┼─────────┘ │             following:  it has our head
        └── stopped <───┴───────────┘             stopped:    refused, with a code; asked again, or until somebody helps
Level 5, pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from plait.errors import InvariantBroken
from plait.types import BlockNumber, ChainId, Hash32, Milliseconds


class DriverState(StrEnum):
    """State of an engine's driver."""

    CONNECTING = "connecting"
    SYNCING = "syncing"
    FOLLOWING = "following"
    STOPPED = "stopped"


_NEXT: Final[Mapping[DriverState, frozenset[DriverState]]] = {
    DriverState.CONNECTING: frozenset({DriverState.SYNCING, DriverState.STOPPED}),
    DriverState.SYNCING: frozenset({DriverState.FOLLOWING, DriverState.CONNECTING, DriverState.STOPPED}),
    DriverState.FOLLOWING: frozenset({DriverState.SYNCING, DriverState.CONNECTING, DriverState.STOPPED}),
    DriverState.STOPPED: frozenset({DriverState.CONNECTING}),
}


def check_step(now: DriverState, then: DriverState) -> None:
    """Raises InvariantBroken for a step that the machine does not have; staying is none."""
    if now is not then and then not in _NEXT[now]:
        raise InvariantBroken(f"an engine's driver went from {now} to {then}")


class SettledHeads(msgspec.Struct, frozen=True):
    """How far L1 has settled a rollup, by block number; 0 for not at all."""

    safe: BlockNumber = BlockNumber(0)
    finalized: BlockNumber = BlockNumber(0)


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One rollup's engine now.

    Fields:
        code, message: why it is not following; empty otherwise.
        head: our newest sealed block; engine_head: the highest block of ours that the engine has as its head,
            with its hash.
        safe, finalized: what the engine was told last.
        imported: blocks handed over; built: of them built by the engine first.
        unwound: times that the engine's head was taken back; reconnects: times that the connection was made anew.
        evidence: file that holds what differed; empty without.
    """

    chain_id: ChainId
    url: str
    state: DriverState
    code: str = ""
    message: str = ""
    head: BlockNumber = BlockNumber(0)
    engine_head: BlockNumber = BlockNumber(0)
    engine_hash: Hash32 = Hash32(bytes(32))
    safe: BlockNumber = BlockNumber(0)
    finalized: BlockNumber = BlockNumber(0)
    imported: int = 0
    built: int = 0
    unwound: int = 0
    reconnects: int = 0
    evidence: str = ""
    behind_ms: Milliseconds = Milliseconds(0)

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics; `state` is the state's place in the machine, from 0 for connecting."""
        shown = ("head", "engine_head", "safe", "finalized", "imported", "built", "unwound", "reconnects", "behind_ms")
        return {name: int(getattr(self, name)) for name in shown} | {"state": list(DriverState).index(self.state)}
