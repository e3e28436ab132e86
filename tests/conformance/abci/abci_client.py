"""A hand-made ABCI client for tests: it asks a real engine over its real socket whatever a test wants to ask."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from plait.engines.cometbft.abci_pb2 import (
    CommitInfo,
    ExtendedCommitInfo,
    Flush,
    Misbehavior,
    Request,
    RequestCommit,
    RequestFinalizeBlock,
    RequestInfo,
    RequestInitChain,
    RequestPrepareProposal,
    RequestProcessProposal,
    Response,
    ResponseProcessProposal,
)
from plait.engines.cometbft.conversions import timestamp, validator_updates
from plait.engines.cometbft.engine import CometEngine
from plait.engines.cometbft.framing import Deframer, frame
from plait.engines.cometbft.home import CometGenesis
from plait.engines.decision import Decision
from plait.native import Store
from plait.node.config import NetworkConfig, RollupConfig, embedded_genesis, fingerprint
from plait.node.joined import source_of
from plait.node.restore import at_genesis
from plait.protocol.application import Application
from plait.storage import MemoryLog
from plait.types import Hash32, Milliseconds, NetworkId, Seconds, ValidatorUpdate

MAX_TX_BYTES = 22_000_000
ACCEPT, REJECT = ResponseProcessProposal.ACCEPT, ResponseProcessProposal.REJECT


class AbciClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._deframer = Deframer()

    @classmethod
    async def connect(cls, path: Path) -> Self:
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def ask(self, request: Request) -> Response:
        """A call as CometBFT makes it: the request, a flush, both answers."""
        self._writer.write(frame(request.SerializeToString()) + frame(Request(flush=Flush()).SerializeToString()))
        response = await self._next()
        assert response is not None, "the connection was closed without an answer"
        if response.WhichOneof("value") != "exception":
            flushed = await self._next()
            assert flushed is not None
            assert flushed.WhichOneof("value") == "flush"
        return response

    async def _next(self) -> Response | None:
        while (data := self._deframer.pop()) is None:
            read = await asyncio.wait_for(self._reader.read(1 << 20), 30)
            if not read:
                return None
            self._deframer.feed(read)
        response = Response()
        response.ParseFromString(data)
        return response


class Logger:
    """Remembers what was logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _note(self, event: str, **values: Any) -> None:
        self.events.append((event, values))

    info = warning = error = _note

    def of(self, event: str) -> list[dict[str, Any]]:
        """Values of every event of this name."""
        return [values for name, values in self.events if name == event]


class World:
    """An engine over a real application, without CometBFT: the test is CometBFT."""

    def __init__(self, home: Path, *, genesis_time_s: int | None = None, **engine: Any) -> None:
        self.network = NetworkConfig(
            genesis_time_s=int(time.time()) - 10 if genesis_time_s is None else genesis_time_s,
            rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
        )
        self.genesis = embedded_genesis(self.network)
        self.application = self.new_application()
        self.comet = CometGenesis(
            network_id=NetworkId(self.network.network_id),
            genesis_time_s=Seconds(self.network.genesis_time_s),
            fingerprint=fingerprint(self.network, self.genesis),
            validators=(ValidatorUpdate(b"\x01" * 32, 10), ValidatorUpdate(b"\x02" * 32, 20)),
        )
        self.log = MemoryLog()
        self.logger = Logger()
        self.decisions: list[Decision] = []
        self.home = home
        self.engine = CometEngine(
            self.application,
            engine.pop("log", self.log),
            home=home,
            program=None,
            genesis=self.comet,
            parameters=self.network.parameters(),
            candidates=engine.pop("candidates", lambda: {}),
            publish=engine.pop("publish", self.decisions.append),
            logger=self.logger,
            **engine,
        )

    def new_application(self) -> Application:
        """Another node's application at genesis."""
        return at_genesis(self.network, self.genesis, source_of(self.network), Store.in_memory())

    def time_ms(self, height: int) -> Milliseconds:
        """The agreed time of a height."""
        return Milliseconds(self.network.genesis_time_s * 1_000 + (height - 1) * 250)

    # ------------------------------------------------------------ requests
    def init(self, **changes: Any) -> Request:
        """InitChain of this network."""
        fields: dict[str, Any] = {
            "time": timestamp(Milliseconds(self.network.genesis_time_s * 1_000)),
            "chain_id": self.comet.chain_id,
            "validators": validator_updates(self.comet.validators),
            "app_state_bytes": json.dumps(self.comet.app_state).encode(),
            "initial_height": 1,
        }
        return Request(init_chain=RequestInitChain(**{**fields, **changes}))

    def prepare(self, height: int, **changes: Any) -> Request:
        """PrepareProposal."""
        fields: dict[str, Any] = {
            "height": height,
            "time": timestamp(self.time_ms(height)),
            "max_tx_bytes": MAX_TX_BYTES,
            "proposer_address": b"\x07" * 20,
            "local_last_commit": ExtendedCommitInfo(),
        }
        return Request(prepare_proposal=RequestPrepareProposal(**{**fields, **changes}))

    def process(self, height: int, txs: Sequence[bytes], **changes: Any) -> Request:
        """ProcessProposal."""
        return Request(
            process_proposal=RequestProcessProposal(**self._block(height, txs, changes, "proposed_last_commit"))
        )

    def finalize(self, height: int, txs: Sequence[bytes], **changes: Any) -> Request:
        """FinalizeBlock."""
        return Request(finalize_block=RequestFinalizeBlock(**self._block(height, txs, changes, "decided_last_commit")))

    def _block(self, height: int, txs: Sequence[bytes], changes: dict[str, Any], commit: str) -> dict[str, Any]:
        misbehavior: list[Misbehavior] = []
        return {
            "txs": txs,
            "height": height,
            "time": timestamp(self.time_ms(height)),
            "hash": b"\x09" * 32,
            "proposer_address": b"\x07" * 20,
            commit: CommitInfo(),
            "misbehavior": misbehavior,
            **changes,
        }


COMMIT = Request(commit=RequestCommit())
INFO = Request(info=RequestInfo(version="0.38.25", abci_version="2.0.0"))


@asynccontextmanager
async def running(world: World, *, fails: Callable[[BaseException], None] | None = None) -> AsyncIterator[AbciClient]:
    """The engine at work and the consensus connection to it; at the end it is stopped.

    `fails`: told how the engine ended; without it the engine must end well.
    """
    run = asyncio.create_task(world.engine.run())
    path = world.home / "abci.sock"
    while not path.exists():
        assert not run.done(), run
        await asyncio.sleep(0.005)
    client = await AbciClient.connect(path)
    try:
        yield client
    finally:
        world.engine.stop()
        try:
            await asyncio.wait_for(run, 30)
        except Exception as error:
            if fails is None:
                raise
            fails(error)
        else:
            assert fails is None, "the engine ended without the failure that was expected"


async def decide(world: World, client: AbciClient, height: int, proposal: bytes) -> Hash32:
    """Finalizes and commits; the app hash."""
    answer = await client.ask(world.finalize(height, [proposal]))
    assert answer.WhichOneof("value") == "finalize_block", answer
    assert (await client.ask(COMMIT)).WhichOneof("value") == "commit"
    return Hash32(answer.finalize_block.app_hash)
