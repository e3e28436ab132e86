"""A candidate continuation of all rollups: one native session per rollup over the decided state.

A candidate that is dropped leaves no trace; one that is adopted becomes the decided state of every rollup. Work on
different rollups runs in parallel in the native core.

Level 2. Holds no policy: who may run what, and when a block is sealed, is decided by the protocol.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from plait.native import (
    Attributes,
    OpenBlock,
    Outcomes,
    Rollup,
    SealedBlock,
    Session,
    Transaction,
    advance_many,
    run_many,
)
from plait.types import BlockNumber, L1Origin, RollupId, RollupParameters, Seconds


class AttributesSource(Protocol):
    """Where a block's payload attributes come from. A pure function of agreed data: same arguments, same answer, on
    every node."""

    def attributes(
        self, rollup: RollupParameters, number: BlockNumber, timestamp_s: Seconds, fork: str | None = None
    ) -> Attributes:
        """Attributes that open block `number` with this timestamp: the L1-attributes deposit and the forced deposits
        of its L1 origin. `fork` is what its registration says, None for rollups of the network's genesis."""
        ...

    def l1_origin(self, timestamp_s: Seconds) -> L1Origin:
        """The L1 block that a sub-block of a slot starting at this time refers to."""
        ...


class Candidate:
    """Sessions of all rollups, advanced and run together."""

    __slots__ = ("_sessions",)

    def __init__(self, sessions: Mapping[RollupId, Session]) -> None:
        self._sessions = dict(sessions)

    @classmethod
    def over(cls, rollups: Mapping[RollupId, Rollup]) -> "Candidate":
        """A candidate over the decided state of these rollups."""
        return cls({rollup_id: rollup.session() for rollup_id, rollup in rollups.items()})

    def fork(self) -> "Candidate":
        """An independent candidate with the same content."""
        return Candidate({rollup_id: session.fork() for rollup_id, session in self._sessions.items()})

    def session(self, rollup_id: RollupId) -> Session:
        """The session of one rollup."""
        return self._sessions[rollup_id]

    def open_block(self, rollup_id: RollupId) -> OpenBlock | None:
        """Facts of a rollup's open block; None before its first."""
        return self._sessions[rollup_id].open_block

    def advance(self, work: Mapping[RollupId, Sequence[Attributes]]) -> dict[RollupId, list[SealedBlock]]:
        """Seals and opens blocks: for each attributes in order, the open block (if any) is sealed and the next opened.

        Returns:
            The sealed blocks per rollup of `work`; empty for a rollup whose first block was opened.
        """
        if not work:
            return {}
        sealed = advance_many([(self._sessions[rollup_id], attributes) for rollup_id, attributes in work.items()])
        return dict(zip(work, sealed, strict=True))

    def run(
        self, work: Mapping[RollupId, Sequence[Transaction]], *, on_invalid: Literal["skip", "stop"]
    ) -> dict[RollupId, Outcomes]:
        """Appends transactions to the open blocks, rollups in parallel; what cannot be applied is left out."""
        if not work:
            return {}
        outcomes = run_many(
            [(self._sessions[rollup_id], transactions) for rollup_id, transactions in work.items()],
            on_invalid=on_invalid,
        )
        return dict(zip(work, outcomes, strict=True))

    def checkpoint(self) -> dict[RollupId, int]:
        """Marks all sessions that have an open block; `rollback` undoes every run since."""
        return {
            rollup_id: session.checkpoint()
            for rollup_id, session in self._sessions.items()
            if session.open_block is not None
        }

    def rollback(self, marks: Mapping[RollupId, int]) -> None:
        """Undoes every run since the marks were made; later marks become invalid."""
        for rollup_id, mark in marks.items():
            self._sessions[rollup_id].rollback(mark)

    def adopt(self, rollups: Mapping[RollupId, Rollup]) -> None:
        """Makes this candidate the decided state of all rollups.

        Raises:
            NativeError: `session_stale` when a rollup moved since the candidate began.
        """
        for rollup_id, session in self._sessions.items():
            rollups[rollup_id].commit(session)
