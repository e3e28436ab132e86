"""A beacon node's face for a development L1: what op-node needs to read blobs, over what anvil keeps of them.

Specification
    - op-node v1.16 asks for /eth/v1/node/version, /eth/v1/config/spec, /eth/v1/beacon/genesis and
      /eth/v1/beacon/blobs/{slot}?versioned_hashes=...; anvil has no version and no spec, and names blocks where the API
      names slots. Nothing here is a consensus: there are no beacon blocks.
    - Slots are seconds since 1970 (genesis time 0, SECONDS_PER_SLOT 1), so that a block's time names its slot.
    - Blobs are copied into a directory as their blocks come, one file each, so that neither a restart of anvil nor its
      forgetting loses one; blocks that a reorganisation took back keep theirs. The oldest of more than
      BEACON_FACE_BLOBS_MAX go.
    - A blob that is asked for before its block was looked at is fetched then.
Whoever reads a blob checks its KZG commitment (op-node does), so this face proves nothing. Listens on 127.0.0.1.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from plait.errors import PlaitError
from plait.l1.client import L1Client
from plait.l1.headers import L1Header
from plait.limits import BEACON_FACE_BLOBS_MAX, L1_STEP_BLOCKS_MAX
from plait.node.logging import get_logger
from plait.types import BlockNumber, Hash32

_POLL_S: Final = 0.5
_HASHES_MAX: Final = 128
"""Versioned hashes of one request."""
_log = get_logger("beacon_face")


class BeaconFace:
    """Serves blobs of a development L1. Use as an asynchronous context manager, or `start` and `stop`.

    Args:
        l1_rpc_url: of anvil.
        directory: where blobs are kept; made when it is missing.
        port: on 127.0.0.1; 0 takes a free one, `port` says which.
        first_block: the first L1 block whose blobs matter.
    """

    def __init__(self, l1_rpc_url: str, directory: Path, *, port: int = 0, first_block: int = 0) -> None:
        self._directory = directory
        self.port = port
        self._next = first_block
        self._last: L1Header | None = None
        self._client = L1Client(l1_rpc_url)
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """What op-node's --l1.beacon takes."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begins to listen and to follow the L1."""
        self._directory.mkdir(parents=True, exist_ok=True)
        application = web.Application()
        application.add_routes(
            [
                web.get("/eth/v1/node/version", self._version),
                web.get("/eth/v1/config/spec", self._spec),
                web.get("/eth/v1/beacon/genesis", self._genesis),
                web.get("/eth/v1/beacon/blobs/{slot}", self._blobs),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stops listening; what is on disk stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._client.close()

    # ------------------------------------------------------------ answers
    async def _version(self, _request: web.Request) -> web.Response:
        return _data({"version": "plait-development-beacon"})

    async def _spec(self, _request: web.Request) -> web.Response:
        return _data({"SECONDS_PER_SLOT": "1"})

    async def _genesis(self, _request: web.Request) -> web.Response:
        zero = "0x" + bytes(32).hex()
        return _data({"genesis_time": "0", "genesis_validators_root": zero, "genesis_fork_version": "0x00000000"})

    async def _blobs(self, request: web.Request) -> web.Response:
        slot = request.match_info["slot"]
        if not slot.isdigit():
            return web.json_response({"code": 400, "message": "a slot is a decimal number here"}, status=400)
        hashes = [one for text in request.query.getall("versioned_hashes", []) for one in text.split(",")]
        if len(hashes) > _HASHES_MAX or not all(map(_is_hash, hashes)):
            return web.json_response({"code": 400, "message": "versioned_hashes are malformed"}, status=400)
        found = self._held(int(slot), hashes)
        if hashes and len(found) < len(hashes):
            await self._catch_up()
            found = self._held(int(slot), hashes)
        if not found and hashes:
            return web.json_response({"code": 404, "message": "no such blob"}, status=404)
        blobs = ["0x" + path.read_bytes().hex() for path in found]
        return _data(blobs, execution_optimistic=False, finalized=False)

    def _held(self, slot: int, hashes: list[str]) -> list[Path]:
        if not hashes:
            return sorted(self._directory.glob(f"{slot}-*.blob"))
        # a blob is the same in whatever block it stands
        matches = (next(iter(sorted(self._directory.glob(f"*-{one[2:].lower()}.blob"))), None) for one in hashes)
        return [path for path in matches if path is not None]

    # ------------------------------------------------------------ following
    async def _follow(self) -> None:
        while True:
            await self._catch_up()
            await asyncio.sleep(_POLL_S)

    async def _catch_up(self) -> None:
        """Copies the blobs of all blocks up to the head. An L1 that does not answer is asked again later."""
        async with self._turn:
            try:
                head = await self._client.block_number()
                await self._step_back_from_reorganisation(head)
                while self._next <= head:
                    headers = await self._client.headers(BlockNumber(self._next), L1_STEP_BLOCKS_MAX)
                    for header in headers:
                        if header.blob_gas_used:
                            await self._copy(header)
                        self._next, self._last = header.number + 1, header
                    if not headers:
                        break
                self._forget()
            except (PlaitError, OSError) as error:
                _log.warning("l1_not_read", error=type(error).__name__)

    async def _step_back_from_reorganisation(self, head: int) -> None:
        """Blocks that took the place of others are looked at, from far enough back."""
        if self._last is None:
            return
        now = await self._client.header(self._last.number)
        if now is None or now.hash != self._last.hash:
            self._next = max(0, min(self._next, head + 1) - L1_STEP_BLOCKS_MAX)
            self._last = None

    async def _copy(self, header: L1Header) -> None:
        block = await self._client.block(header.hash)
        if block is None:
            return
        for transaction in block.transactions:
            for versioned_hash in transaction.blob_hashes:
                path = self._directory / f"{header.timestamp}-{versioned_hash.hex()}.blob"
                if not path.exists():
                    blob = await self._blob_of(versioned_hash)
                    partial = path.with_suffix(".part")
                    partial.write_bytes(blob)
                    partial.replace(path)

    async def _blob_of(self, versioned_hash: Hash32) -> bytes:
        text = await self._client.call("anvil_getBlobByHash", "0x" + versioned_hash.hex())
        return bytes.fromhex(str(text)[2:])

    def _forget(self) -> None:
        held = sorted(self._directory.glob("*.blob"), key=lambda path: int(path.name.partition("-")[0]))
        for path in held[: max(0, len(held) - BEACON_FACE_BLOBS_MAX)]:
            path.unlink(missing_ok=True)


def _data(data: Any, **more: Any) -> web.Response:
    return web.json_response({**more, "data": data})


def _is_hash(text: str) -> bool:
    return len(text) == 66 and text[:2] == "0x" and text[2:].isalnum()
