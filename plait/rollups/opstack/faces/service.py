"""All faces of a node that its settings name, started and stopped as one. Level 5."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plait.errors import ConfigurationError
from plait.rollups.opstack.faces.boost import Boost
from plait.rollups.opstack.faces.boost_source import BlockSource
from plait.rollups.opstack.faces.boost_watch import BoostWatch
from plait.rollups.opstack.faces.conductor import Conductor
from plait.rollups.opstack.faces.conductor_record import ConductorRecord
from plait.rollups.opstack.faces.flashblock_stream import FlashblockStream
from plait.rollups.opstack.faces.host import FaceHost
from plait.rollups.opstack.faces.settings import FacesSettings
from plait.types import RollupId

RECORD_DIRECTORY = "conductor"


class Faces:
    """The faces that listen; where, and their numbers."""

    def __init__(self) -> None:
        self.flashblocks: FlashblockStream | None = None
        self.conductor: Conductor | None = None
        self.boost: dict[int, Boost] = {}
        """By chain id."""

    def urls(self) -> dict[str, str]:
        """Where each listens, by name; the boost faces with their chain ids."""
        shown: dict[str, str] = {}
        if self.flashblocks is not None:
            shown["flashblocks"] = f"{self.flashblocks.url}/<chain id>"
        if self.conductor is not None:
            shown["conductor"] = f"{self.conductor.url}/<chain id>"
        return shown | {f"boost {chain_id}": boost.url for chain_id, boost in sorted(self.boost.items())}

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        shown: dict[str, int | float] = {}
        for name, face in (("flashblocks", self.flashblocks), ("conductor", self.conductor)):
            if face is not None:
                shown |= {f"{name}_{key}": value for key, value in face.statistics().items()}
        for chain_id, boost in self.boost.items():
            shown |= {f"boost_{chain_id}_{key}": value for key, value in boost.statistics().items()}
        return shown


@asynccontextmanager
async def showing(
    host: FaceHost, settings: FacesSettings, *, data_dir: Path | None, log: Callable[..., Any]
) -> AsyncIterator[Faces]:
    """Shows a node's faces until the end of the block.

    Args:
        host: the node.
        settings: which, and where.
        data_dir: of the node; None for a node in memory.
        log: told of failures, by event and fields.

    Raises:
        ConfigurationError: `port_in_use`, `address_unusable`, `engine_jwt_unusable`; `data_directory_missing`: the
            conductor's mode `follow` keeps its record on disk.
        InvariantBroken: `conductor_record_damaged`.
    """
    faces = Faces()
    if settings.flashblocks is not None:
        faces.flashblocks = FlashblockStream(host, settings.flashblocks, log)
    if settings.conductor is not None:
        record: ConductorRecord | None = None
        if settings.conductor.mode == "follow":
            if data_dir is None:
                raise ConfigurationError(
                    "The conductor in mode follow records blocks on disk; give the node a data directory.",
                    code="data_directory_missing",
                )
            record = ConductorRecord(data_dir / RECORD_DIRECTORY)
            record.check()
        faces.conductor = Conductor(host, settings.conductor, record)
    running: list[Any] = [face for face in (faces.flashblocks, faces.conductor) if face is not None]
    if settings.boost:
        watch = BoostWatch(host, (RollupId(item.chain_id) for item in settings.boost))
        for item in settings.boost:
            source = BlockSource(host, RollupId(item.chain_id), watch.legs)
            faces.boost[item.chain_id] = Boost(source, item, watch.agreement, watch.legs, log)
        running += [watch, *faces.boost.values()]
    async with _running(running):
        yield faces


@asynccontextmanager
async def _running(faces: list[Any]) -> AsyncIterator[None]:
    """Runs faces beside the block; one that cannot start ends it with its own error."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for face in faces:
            ready = asyncio.Event()
            task = asyncio.create_task(face.run(ready), name=type(face).__name__)
            tasks.append(task)
            waiting = asyncio.ensure_future(ready.wait())
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
