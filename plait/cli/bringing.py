"""The two ways of bringing in a chain that exists, behind one face for the commands.

with a genesis file      copied from its first block, executed again, its state written    (importing)
without                  its last blocks copied, its state left where it is                 (remote_import)
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from plait.cli.output import err
from plait.derivation.anchor import Anchor
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import ConfigurationError
from plait.native import Rollup
from plait.rollups.opstack.ancestors import AncestorFile, copy_ancestors
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.importing import Progress, anchor_of, copy_chain, open_copy, write_import
from plait.rollups.opstack.remote_import import (
    REMOTE_FILE,
    RemoteSource,
    ancestors_of,
    require_state,
    write_remote_import,
)
from plait.types import BlockNumber, Hash32

Found = Callable[[Anchor], Awaitable[None]]


class Copying(Protocol):
    """A chain that is being brought in."""

    async def reach(self, until: BlockNumber | None) -> Hash32:
        """Copies up to a block, or to the engine's head; returns the last one's hash."""

    async def keep(self, anchor: Anchor) -> None:
        """Writes what a node needs to go on from the anchor, up to which everything is copied."""

    async def finish(self) -> Anchor:
        """Copies up to the engine's head, and keeps that as the anchor."""


class Bringing(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Fields:
        genesis: None to leave the state where it is, which is at `source`.
    """

    config: OpStackConfig
    into: Path
    genesis: bytes | None
    source: RemoteSource
    progress: Progress | None

    @classmethod
    def of(cls, config: OpStackConfig, into: Path, options: dict[str, Any], *, quiet: bool) -> Self:
        """From the options of a command.

        Raises:
            ConfigurationError: `state_url_unused`, a genesis file and a node for the state are named.
        """
        genesis, state_url = options["genesis"], options["state_url"]
        if genesis is not None and state_url is not None:
            raise ConfigurationError(
                "With --genesis the state is held here, and --state names a node to read it from: give one of them.",
                code="state_url_unused",
            )
        jwt_file = "" if state_url is not None else str(options["jwt"].resolve())
        return cls(
            config=config,
            into=into,
            genesis=None if genesis is None else genesis.read_bytes(),
            source=RemoteSource(url=state_url or options["engine"], jwt_file=jwt_file),
            progress=None if quiet else show_progress,
        )

    @contextlib.asynccontextmanager
    async def copying(self, client: EngineClient, found: Found | None = None) -> AsyncIterator[Copying]:
        """Begins, or goes on with what was copied before.

        Args:
            client: of the chain's engine; `check_chain` passed.
            found: what else belongs to keeping an anchor.

        Raises:
            What `open_copy` and `require_state` refuse.
        """
        if self.genesis is None:
            await asyncio.to_thread(require_state, self.config, self.source)
            yield _Left(self, client, found, ancestors_of(self.into))
            return
        with open_copy(self.into, self.genesis) as rollup:
            yield _Executed(self, client, found, rollup, self.genesis)


class _Executed:
    """Every block is executed again."""

    def __init__(
        self, wanted: Bringing, client: EngineClient, found: Found | None, rollup: Rollup, genesis: bytes
    ) -> None:
        self._wanted, self._client, self._found = wanted, client, found
        self._rollup, self._genesis = rollup, genesis

    async def reach(self, until: BlockNumber | None) -> Hash32:
        """As `Copying`."""
        wanted = self._wanted
        await copy_chain(self._client, self._rollup, wanted.config, until=until, progress=wanted.progress)
        return Hash32(self._rollup.head.hash)

    async def keep(self, anchor: Anchor) -> None:
        """As `Copying`."""
        await asyncio.to_thread(write_import, self._wanted.into, self._genesis, self._rollup, anchor)
        (self._wanted.into / REMOTE_FILE).unlink(missing_ok=True)  # of an import without the genesis file
        if self._found is not None:
            await self._found(anchor)

    async def finish(self) -> Anchor:
        """As `Copying`."""
        await self.reach(None)
        anchor = await anchor_of(self._client, BlockNumber(self._rollup.head.number), self._wanted.config)
        await self.keep(anchor)
        return anchor


class _Left:
    """The state is left where it is."""

    def __init__(self, wanted: Bringing, client: EngineClient, found: Found | None, file: AncestorFile) -> None:
        self._wanted, self._client, self._found, self._file = wanted, client, found, file

    async def reach(self, until: BlockNumber | None) -> Hash32:
        """As `Copying`."""
        wanted = self._wanted
        last = await copy_ancestors(self._client, self._file, wanted.config, until=until, progress=wanted.progress)
        return last.hash

    async def keep(self, anchor: Anchor) -> None:
        """As `Copying`."""
        await asyncio.to_thread(write_remote_import, self._wanted.into, self._wanted.source, anchor)
        if self._found is not None:
            await self._found(anchor)

    async def finish(self) -> Anchor:
        """As `Copying`."""
        wanted = self._wanted
        last = await copy_ancestors(self._client, self._file, wanted.config, progress=wanted.progress)
        anchor = await anchor_of(self._client, last.number, wanted.config)
        await self.keep(anchor)
        return anchor


def show_progress(number: BlockNumber, last: BlockNumber) -> None:
    """One line that is written over."""
    err.print(f"  block {number:,} of {last:,}", end="\r" if number < last else "\n", markup=False)


__all__ = ["Bringing", "Copying"]
