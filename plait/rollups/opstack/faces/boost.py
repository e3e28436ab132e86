"""rollup-boost's position: an Engine API between op-node and its engine that answers with the network's blocks.

Specification (flashbots/rollup-boost; execution-apis, engine/authentication)
    - Everything is forwarded to the engine and answered as it answered, but for two methods. forkchoiceUpdated with
      attributes is remembered by the payload id that the engine gave. getPayload of such an id answers our block for
      that parent and those attributes, once the engine has found it VALID (newPayload), or else the engine's own block.
    - Never a half bundle. Our block holds all legs that this rollup has, and it is answered only together with the
      blocks of other faces that it needs (`boost_agreement`). The engine's own block must hold no leg either: legs are
      never given to an engine's pool by this node, and if one of them is in the block all the same (somebody sent it
      there), the block is built again without the pool. A block that was answered as part of a bundle is answered
      again, or nothing is: falling back then would leave the other half alone.
    - Requests with noTxPool (recovery, upgrades) are the engine's business: passed through.
    - Modes as rollup-boost has them: enabled, dry_run (ours is checked, the engine's is answered), disabled (everything
      passes); `debug_setExecutionMode` [{"execution_mode": ...}] and `debug_getExecutionMode` on a port of their own.
    - GET /healthz: 200 our blocks are built, 206 only the engine's, 503 none; /readyz, /livez.
Nothing that happens here touches what the network decided; a fallback is logged with its reason and counted.
Level 5. Lives on the event loop.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from plait.errors import PlaitError, RequestRefused, Unavailable
from plait.limits import BOOST_REQUESTS_KEPT
from plait.native import NativeError, keccak256
from plait.rollups.opstack.faces.boost_agreement import Agreement, BlockKey
from plait.rollups.opstack.faces.boost_engine import EngineSide, is_authorized
from plait.rollups.opstack.faces.boost_source import BlockSource, LegBook, NoBlock, OurBlock
from plait.rollups.opstack.faces.json_rpc import Failure, answer, argument, not_found, respond
from plait.rollups.opstack.faces.listener import listening
from plait.rollups.opstack.faces.settings import BoostSettings, ExecutionMode
from plait.rollups.opstack.jwt import read_secret
from plait.types import RollupId

_FORKCHOICE: Final = ("engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV2", "engine_forkchoiceUpdatedV3")
_GET_PAYLOAD: Final = ("engine_getPayloadV3", "engine_getPayloadV4", "engine_getPayloadV5")
_MODES: Final[tuple[ExecutionMode, ...]] = ("enabled", "dry_run", "disabled")


class _Build(msgspec.Struct):
    """A forkchoice update with attributes."""

    method: str
    state: dict[str, str]
    attributes: dict[str, Any]
    answered: msgspec.Raw | None = None
    """What was answered for it; asked again, it is the same."""


class Boost:
    """One rollup's face.

    Args:
        source: our blocks.
        settings: where to listen, and which engine.
        agreement: of all faces of the node.
        legs: of the bundles that this node knows.
        log: told of fallbacks, by event and fields.
    """

    def __init__(
        self, source: BlockSource, settings: BoostSettings, agreement: Agreement, legs: LegBook, log: Callable[..., Any]
    ) -> None:
        self.mode: ExecutionMode = settings.mode
        self.url = ""
        """http://host:port for op-node's `--l2`, once it listens."""
        self.debug_url = ""
        self._source = source
        self._settings = settings
        self._rollup_id = RollupId(settings.chain_id)
        self._agreement = agreement
        self._legs = legs
        self._log = log
        self._secret = read_secret(settings.jwt_file)
        engine_secret = self._secret if settings.engine_jwt_file is None else read_secret(settings.engine_jwt_file)
        self._engine = EngineSide(settings.engine_url, engine_secret)
        self._builds: OrderedDict[str, _Build] = OrderedDict()
        self._changed = asyncio.Event()
        self._health = 503
        self._ours = self._fallbacks = self._refused = self._rebuilt = 0
        self.last_reason = ""
        """Why the engine's own block was answered last: a code."""
        agreement.listen(self._changed.set)

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {
            "blocks_ours": self._ours,
            "blocks_fallback": self._fallbacks,
            "blocks_rebuilt": self._rebuilt,
            "unauthorized": self._refused,
            "execution_mode": 3 - _MODES.index(self.mode),
        }

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Answers until cancelled. Raises ConfigurationError (`port_in_use`, `address_unusable`)."""
        settings = self._settings
        try:
            async with listening(settings.host, settings.port, self._handle) as address:
                self.url = f"http://{address}"
                if settings.debug_port is None:
                    await _forever(ready)
                async with listening("127.0.0.1", settings.debug_port or 0, self._handle_debug) as debug:
                    self.debug_url = f"http://{debug}"
                    await _forever(ready)
        finally:
            await self._engine.close()

    # ------------------------------------------------------------ op-node's side
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return self._probe(request.path)
        if not is_authorized(request.headers.get("Authorization"), self._secret, time.time()):
            self._refused += 1
            return web.Response(status=401, text="missing or wrong token; check op-node's --l2.jwt-secret and clock\n")
        body = await request.read()
        try:
            if not any(method.encode() in body for method in (*_FORKCHOICE, *_GET_PAYLOAD)):
                return web.Response(body=await self._engine.forward(body), content_type="application/json")
        except Unavailable as error:
            self._health = 503
            return web.Response(status=503, text=error.message + "\n")
        return web.Response(body=await answer(body, self._call), content_type="application/json")

    async def _call(self, method: str, params: list[msgspec.Raw]) -> Any:
        if method in _FORKCHOICE:
            return await self._forkchoice(method, params)
        if method in _GET_PAYLOAD:
            return await self._get_payload(method, params)
        return await self._engine.call(method, _joined(params))

    async def _forkchoice(self, method: str, params: list[msgspec.Raw]) -> msgspec.Raw:
        result = await self._engine.call(method, _joined(params))
        state = argument(params, 0, method)
        number = self._source.number_of(_hash(state.get("headBlockHash")))
        shown = msgspec.json.decode(result)
        if number is not None and (shown.get("payloadStatus") or {}).get("status") == "VALID":
            self._agreement.adopted(self._rollup_id, number)
        attributes = argument(params, 1, method) if len(params) > 1 else None
        if attributes is not None and shown.get("payloadId") is not None:
            self._builds[shown["payloadId"]] = _Build(method, state, attributes)
            while len(self._builds) > BOOST_REQUESTS_KEPT:
                self._builds.popitem(last=False)
        return result

    async def _get_payload(self, method: str, params: list[msgspec.Raw]) -> msgspec.Raw:
        build = self._builds.get(str(argument(params, 0, method)))
        if build is not None and build.answered is not None:
            return build.answered
        if build is None or self.mode == "disabled" or build.attributes.get("noTxPool"):
            result = await self._local(method, params, build)
            self._health = 200
            return result
        key: BlockKey | None = None
        ours: OurBlock | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1_000):
                ours = await self._source.block_for(_hash(build.state["headBlockHash"]), build.attributes)
                key = (self._rollup_id, ours.number)
                await self._check(ours, int(method[-1]))
                if self.mode == "enabled":
                    await self._agree(key, ours)
        except (NoBlock, TimeoutError, NativeError) as problem:
            if ours is None or key is None or not self._agreement.is_bound(key):
                return await self._fall_back(method, params, build, key, problem)
        if self.mode == "dry_run":
            return await self._local(method, params, build)
        self._ours += 1
        self._health = 200
        build.answered = _envelope(ours, int(method[-1]))
        return build.answered

    async def _check(self, ours: OurBlock, version: int) -> None:
        try:
            status = await self._engine.new_payload(ours.payload_json, ours.parent_beacon_block_root, min(version, 4))
        except (Failure, PlaitError) as error:
            raise NoBlock(f"The engine did not judge our block: {error}", code="boost_engine_failed") from error
        if status.status != "VALID":
            raise NoBlock(
                f"The engine says {status.status} of the network's block {ours.number}: {status.validation_error}",
                code="boost_block_refused",
            )

    async def _agree(self, key: BlockKey, ours: OurBlock) -> None:
        self._agreement.ready(key, ours.needs)
        while not self._agreement.is_taken(key):
            if self._agreement.is_hopeless(ours.needs):
                raise NoBlock("Another rollup's half of a bundle did not take place.", code="boost_bundle_incomplete")
            self._changed.clear()
            await self._changed.wait()

    # ------------------------------------------------------------ the engine's own block
    async def _fall_back(
        self, method: str, params: list[msgspec.Raw], build: _Build, key: BlockKey | None, problem: Exception
    ) -> msgspec.Raw:
        parent = self._source.number_of(_hash(build.state["headBlockHash"]))
        if key is None and parent is not None:
            key = (self._rollup_id, type(parent)(parent + 1))
        if key is not None and self.mode == "enabled":
            if self._agreement.is_bound(key):
                raise RequestRefused(
                    f"Block {key[1]} of rollup {key[0]} is the half of a bundle whose other half took place; only the "
                    "network's block may be built here. Set execution mode disabled to break it on purpose.",
                    code="boost_bundle_taken",
                )
            self._agreement.withdraw(key)
        self.last_reason = (
            "boost_late" if isinstance(problem, TimeoutError) else getattr(problem, "code", "boost_failed")
        )
        self._log("boost_fallback", rollup=self._rollup_id, reason=self.last_reason, detail=str(problem)[:300])
        result = await self._local(method, params, build)
        if self.mode == "enabled":
            build.answered = result
        self._fallbacks += 1
        self._health = 206
        return result

    async def _local(self, method: str, params: list[msgspec.Raw], build: _Build | None) -> msgspec.Raw:
        """The engine's own block; built again from the forced transactions alone when a leg of a bundle is in it."""
        try:
            result = await self._engine.call(method, _joined(params))
            if build is None or not self._has_leg(result):
                return result
            self._rebuilt += 1
            self._log("boost_rebuilt", rollup=self._rollup_id, reason="the engine's pool holds legs of bundles")
            again = _joined([_raw(build.state), _raw(build.attributes | {"noTxPool": True})])
            shown = msgspec.json.decode(await self._engine.call(build.method, again))
            return await self._engine.call(method, _joined([_raw(shown.get("payloadId"))]))
        except Unavailable:
            self._health = 503
            raise

    def _has_leg(self, result: msgspec.Raw) -> bool:
        payload = msgspec.json.decode(result, type=_Built).executionPayload
        return any(keccak256(bytes.fromhex(raw[2:])) in self._legs for raw in payload.transactions)

    # ------------------------------------------------------------ operators
    def _probe(self, path: str) -> web.Response:
        if path == "/healthz":
            words = {200: "the network's blocks are built\n", 206: "only the engine's own blocks are built\n"}
            return web.Response(status=self._health, text=words.get(self._health, "no block has been built\n"))
        if path in {"/readyz", "/livez"}:
            return web.Response(status=200, text="ok\n")
        return web.Response(status=404, text="POST Engine API calls here; GET /healthz, /readyz, /livez\n")

    async def _handle_debug(self, request: web.Request) -> web.StreamResponse:
        async def call(method: str, params: list[msgspec.Raw]) -> Any:
            if method == "debug_setExecutionMode":
                asked = argument(params, 0, method)
                mode = asked.get("execution_mode") if isinstance(asked, Mapping) else asked
                if mode not in _MODES:
                    raise Failure(-32602, f"invalid params: execution_mode is one of {', '.join(_MODES)}")
                self.mode = mode
                self._log("boost_mode", rollup=self._rollup_id, mode=mode)
            elif method != "debug_getExecutionMode":
                raise not_found(method)
            return {"execution_mode": self.mode}

        return await respond(request, call)


class _Payload(msgspec.Struct):
    transactions: list[str]


class _Built(msgspec.Struct):
    executionPayload: _Payload  # noqa: N815 - the name on the wire


def _envelope(ours: OurBlock, version: int) -> msgspec.Raw:
    """Our block as getPayload of a version answers."""
    shown: dict[str, Any] = {
        "executionPayload": msgspec.Raw(ours.payload_json),
        "blockValue": "0x0",
        "blobsBundle": {"commitments": [], "proofs": [], "blobs": []},
        "shouldOverrideBuilder": False,
        "parentBeaconBlockRoot": "0x" + ours.parent_beacon_block_root.hex(),
    }
    if version >= 4:
        shown["executionRequests"] = []
    return msgspec.Raw(msgspec.json.encode(shown))


def _joined(params: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(bytes(param) for param in params) + b"]"


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _hash(text: Any) -> bytes:
    try:
        return bytes.fromhex(str(text).removeprefix("0x"))
    except ValueError:
        return b""


async def _forever(ready: asyncio.Event | None) -> None:
    if ready is not None:
        ready.set()
    await asyncio.Event().wait()
