"""Answers CometBFT's questions about snapshots from a service that knows nothing of ABCI. Level 5.

A failure of the service never reaches CometBFT as an exception, which would stop the node: a node that cannot serve
snapshots serves none, and one that cannot take a snapshot aborts taking it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from plait.engines.cometbft.abci_pb2 import (
    Request,
    RequestApplySnapshotChunk,
    RequestLoadSnapshotChunk,
    RequestOfferSnapshot,
    Response,
    ResponseApplySnapshotChunk,
    ResponseListSnapshots,
    ResponseLoadSnapshotChunk,
    ResponseOfferSnapshot,
    Snapshot,
)
from plait.errors import CodecError
from plait.types import Height

Between = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs work in the application's thread."""


class Description(Protocol):
    """A snapshot as peers are told of it; CometBFT's own message has these fields too."""

    @property
    def height(self) -> int:
        """At which it was taken."""

    @property
    def format(self) -> int:
        """Of its chunks."""

    @property
    def chunks(self) -> int:
        """How many there are."""

    @property
    def hash(self) -> bytes:
        """Of all of it."""

    @property
    def metadata(self) -> bytes:
        """What the receiver needs besides."""


class ChunkAnswer(Protocol):
    """What became of a chunk."""

    @property
    def result(self) -> int:
        """CometBFT's number."""

    @property
    def refetch(self) -> Sequence[int]:
        """Chunks to fetch again."""

    @property
    def reject_senders(self) -> Sequence[str]:
        """Peers to ask no more."""


class Snapshots(Protocol):
    """Serves the node's snapshots and takes those of others."""

    def list(self) -> Sequence[Description]:
        """What can be served. From any thread."""

    def load_chunk(self, height: Height, format: int, index: int) -> bytes:  # noqa: A002 - the wire's name
        """A chunk; empty when there is none. From any thread."""

    def offer(self, description: Description, app_hash: bytes) -> int:
        """CometBFT's number of what is done with an offer. Called in the application's thread."""

    def apply_chunk(self, index: int, chunk: bytes, sender: str) -> ChunkAnswer:
        """What became of a chunk. Called in the application's thread."""

    def retain_height(self, height: Height) -> int:
        """Blocks below it may be forgotten when `height` is committed; 0 keeps all."""


class SnapshotAnswers:
    """Speaks ABCI for a `Snapshots`; for None it offers none and takes none."""

    def __init__(self, service: Snapshots | None, between: Between, logger: Any) -> None:
        self._service = service
        self._between = between
        self._logger = logger

    async def answer(self, request: Request, method: str) -> Response:
        """The answer to a request of the snapshot connection.

        Raises:
            CodecError: `request_unknown` for any other request.
        """
        match method:
            case "list_snapshots":
                return Response(list_snapshots=ResponseListSnapshots(snapshots=await self._list()))
            case "load_snapshot_chunk":
                return Response(load_snapshot_chunk=await self._load(request.load_snapshot_chunk))
            case "offer_snapshot":
                return Response(offer_snapshot=await self._offer(request.offer_snapshot))
            case "apply_snapshot_chunk":
                return Response(apply_snapshot_chunk=await self._apply(request.apply_snapshot_chunk))
        raise CodecError(f"there is no answer to {method}", code="request_unknown")

    def retain_height(self, height: Height) -> int:
        """For the answer to a Commit."""
        return 0 if self._service is None else self._service.retain_height(height)

    async def _list(self) -> list[Snapshot]:
        if self._service is None:
            return []
        try:
            found = await asyncio.to_thread(self._service.list)
        except Exception as error:
            self._failed("list_snapshots", error)
            return []
        return [
            Snapshot(height=one.height, format=one.format, chunks=one.chunks, hash=one.hash, metadata=one.metadata)
            for one in found
        ]

    async def _load(self, asked: RequestLoadSnapshotChunk) -> ResponseLoadSnapshotChunk:
        if self._service is None:
            return ResponseLoadSnapshotChunk()
        try:
            chunk = await asyncio.to_thread(self._service.load_chunk, Height(asked.height), asked.format, asked.chunk)
        except Exception as error:
            self._failed("load_snapshot_chunk", error)
            return ResponseLoadSnapshotChunk()
        return ResponseLoadSnapshotChunk(chunk=chunk)

    async def _offer(self, asked: RequestOfferSnapshot) -> ResponseOfferSnapshot:
        service = self._service
        if service is None:
            return ResponseOfferSnapshot(result=ResponseOfferSnapshot.ABORT)
        try:
            result = await self._between(lambda: service.offer(asked.snapshot, asked.app_hash))
        except Exception as error:
            self._failed("offer_snapshot", error)
            result = ResponseOfferSnapshot.ABORT
        return ResponseOfferSnapshot(result=int(result))  # type: ignore[arg-type]  # the wire's own number

    async def _apply(self, asked: RequestApplySnapshotChunk) -> ResponseApplySnapshotChunk:
        service = self._service
        if service is None:
            return ResponseApplySnapshotChunk(result=ResponseApplySnapshotChunk.ABORT)
        try:
            answer = await self._between(lambda: service.apply_chunk(asked.index, asked.chunk, asked.sender))
        except Exception as error:
            self._failed("apply_snapshot_chunk", error)
            return ResponseApplySnapshotChunk(result=ResponseApplySnapshotChunk.ABORT)
        return ResponseApplySnapshotChunk(
            result=int(answer.result),  # type: ignore[arg-type]  # the wire's own number
            refetch_chunks=answer.refetch,
            reject_senders=answer.reject_senders,
        )

    def _failed(self, method: str, error: Exception) -> None:
        self._logger.error("snapshot_request_failed", method=method, reason=repr(error), exc_info=error)


__all__ = ["ChunkAnswer", "Description", "SnapshotAnswers", "Snapshots"]
