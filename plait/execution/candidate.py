"""A candidate continuation of all rollups: one native session per rollup over the decided state.

A candidate that is dropped leaves no trace; one that is adopted becomes the decided state of every rollup. Work on
different rollups runs in parallel in the native core; on those whose state another node holds one after the other, in
the caller's own thread, which bounds how long they may read (`plait.patience`).

Level 2. Holds no policy: who may run what, and when a block is sealed, is decided by the protocol.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    """Sessions of all rollups, advanced and run together.

    Where a step lacks state it raises NativeError (`plait.native.unread`). The session that lacked it is as it was;
    others may have done theirs: go back to marks, or drop the candidate.
    """

    __slots__ = ("_sessions", "remote")

    def __init__(self, sessions: Mapping[RollupId, Session], remote: frozenset[RollupId] | None = None) -> None:
        self._sessions = dict(sessions)
        self.remote = (
            frozenset([i for i, session in sessions.items() if session.is_remote]) if remote is None else remote
        )
        """Rollups whose state another node holds."""

    @classmethod
    def over(cls, rollups: Mapping[RollupId, Rollup]) -> "Candidate":
        """A candidate over the decided state of these rollups."""
        return cls({rollup_id: rollup.session() for rollup_id, rollup in rollups.items()})

    def fork(self) -> "Candidate":
        """An independent candidate with the same content."""
        return Candidate({rollup_id: session.fork() for rollup_id, session in self._sessions.items()}, self.remote)

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
        apart = {rollup_id: self._advance_one(rollup_id, work[rollup_id]) for rollup_id in self.remote & work.keys()}
        local = [rollup_id for rollup_id in work if rollup_id not in apart] if apart else list(work)
        sealed = advance_many([(self._sessions[rollup_id], work[rollup_id]) for rollup_id in local])
        done = dict(zip(local, sealed, strict=True))
        return {rollup_id: (done | apart)[rollup_id] for rollup_id in work} if apart else done

    def _advance_one(self, rollup_id: RollupId, all_attributes: Sequence[Attributes]) -> list[SealedBlock]:
        session = self._sessions[rollup_id]
        sealed: list[SealedBlock] = []
        for attributes in all_attributes:
            if session.open_block is not None:
                sealed.append(session.seal())
            session.open(attributes)
        return sealed

    def run(
        self, work: Mapping[RollupId, Sequence[Transaction]], *, on_invalid: Literal["skip", "stop"]
    ) -> dict[RollupId, Outcomes]:
        """Appends transactions to the open blocks, rollups in parallel; what cannot be applied is left out."""
        if not work:
            return {}
        if not self.remote.isdisjoint(work):
            return self._run_apart(work, on_invalid)
        outcomes = run_many(
            [(self._sessions[rollup_id], transactions) for rollup_id, transactions in work.items()],
            on_invalid=on_invalid,
        )
        return dict(zip(work, outcomes, strict=True))

    def _run_apart(
        self, work: Mapping[RollupId, Sequence[Transaction]], on_invalid: Literal["skip", "stop"]
    ) -> dict[RollupId, Outcomes]:
        """First where state may be missing, so that nothing ran in vain when it is."""
        done = {i: self._sessions[i].run(work[i], on_invalid=on_invalid) for i in sorted(self.remote & work.keys())}
        local = {rollup_id: transactions for rollup_id, transactions in work.items() if rollup_id not in done}
        done |= self.run(local, on_invalid=on_invalid)
        return {rollup_id: done[rollup_id] for rollup_id in work}

    def require_sealable(self, rollup_ids: Iterable[RollupId]) -> None:
        """Reads what ending the open blocks of remote rollups will need: after it their sealing lacks nothing.

        Raises:
            NativeError: it cannot be read; whoever builds leaves out what brought this about.
        """
        for rollup_id in sorted(self.remote & set(rollup_ids)):
            session = self._sessions[rollup_id]
            if session.open_block is not None:
                session.fork().seal()

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
