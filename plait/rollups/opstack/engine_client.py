"""The Engine API of one execution engine, over HTTP with a JSON Web Token.

Specification (execution-apis, engine; OP Stack specs, exec-engine)
    - One kept-alive session; every call has a time limit and is repeated at most ENGINE_ATTEMPTS_MAX times when the
      connection breaks. Repeating is harmless: payload ids are deterministic, known blocks are answered VALID.
    - Payloads pass through as the JSON that somebody made once: nothing of a block is decoded on its way.
    - The `eth` methods that the engine's authenticated port serves too are enough to compare chains.
Level 5. Raises EngineUnreachable (`engine_unreachable`), ConfigurationError (`engine_jwt_refused`), EngineRefused and
CodecError (`engine_answer_malformed`).
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec

from plait.errors import ConfigurationError
from plait.http_client import JSON, AnswerTooLarge, HttpClient, address_of_url
from plait.limits import ENGINE_ANSWER_BYTES_MAX, ENGINE_ATTEMPTS_MAX, ENGINE_TIMEOUT_S
from plait.rollups.opstack.engine_answers import (
    BuiltPayload,
    EngineBlock,
    EngineUnreachable,
    ForkchoiceAnswer,
    PayloadStatus,
    bounded,
    read_block,
    read_built,
    read_forkchoice,
    read_payload_status,
    refusal,
)
from plait.rollups.opstack.forks import METHODS, EngineFork
from plait.rollups.opstack.jwt import token
from plait.rollups.opstack.wire import data, malformed, quantity, read_data, read_quantity
from plait.types import BlockNumber, Hash32

NO_HASH: Final = Hash32(bytes(32))
"""In a forkchoice state: leave the engine's safe or finalized block as it is."""


class ForkchoiceState(msgspec.Struct, frozen=True):
    """Which blocks the engine shall have as its head, its safe and its finalized one."""

    head: Hash32
    safe: Hash32 = NO_HASH
    finalized: Hash32 = NO_HASH


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class EngineClient(HttpClient):
    """Use as an asynchronous context manager, or call `close`.

    Args:
        url: http://host:port of the engine's authenticated RPC.
        secret: 32 bytes, None for an RPC without authentication.
        timeout_s: of one call.
    """

    def __init__(self, url: str, secret: bytes | None, *, timeout_s: float = ENGINE_TIMEOUT_S) -> None:
        super().__init__(timeout_s=timeout_s, answer_bytes_max=ENGINE_ANSWER_BYTES_MAX)
        self._url = url.rstrip("/")
        self.url = address_of_url(url)
        """What may be shown of the address: a URL can hold a key."""
        self._secret = secret
        self.calls = 0

    # ------------------------------------------------------------ engine
    async def exchange_capabilities(self, ours: Sequence[str]) -> frozenset[str]:
        """Methods that the engine offers."""
        names = msgspec.json.decode(await self.call_raw("engine_exchangeCapabilities", msgspec.json.encode([ours])))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise malformed("a list of methods", "that is none")
        return frozenset(names)

    async def forkchoice_updated(self, state: ForkchoiceState, attributes: bytes | None = None) -> ForkchoiceAnswer:
        """Sets the engine's head; with attributes (JSON) it builds a block upon that head."""
        hashes = (
            f'{{"headBlockHash":"{data(state.head)}","safeBlockHash":"{data(state.safe)}",'
            f'"finalizedBlockHash":"{data(state.finalized)}"}}'
        )
        params = b"[" + hashes.encode() + b"," + (attributes or b"null") + b"]"
        return read_forkchoice(msgspec.json.decode(await self.call_raw("engine_forkchoiceUpdatedV3", params)))

    async def get_payload(self, payload_id: str, fork: EngineFork) -> BuiltPayload:
        """The block that the engine builds under an id; it remembers the last ten."""
        return read_built(await self.call_raw(METHODS[fork].get_payload, msgspec.json.encode([payload_id])))

    async def new_payload(
        self, payload_json: bytes, parent_beacon_block_root: bytes, fork: EngineFork
    ) -> PayloadStatus:
        """Hands a block to the engine, which executes it and says what it thinks of it.

        Args:
            payload_json: ExecutionPayload of the fork's version, passed on unchanged.
            parent_beacon_block_root: 32 bytes.
            fork: of the payload's timestamp.
        """
        methods = METHODS[fork]
        rest = b",[]]" if methods.execution_requests else b"]"
        params = b"[" + payload_json + b',[],"' + data(parent_beacon_block_root).encode() + b'"' + rest
        return read_payload_status(msgspec.json.decode(await self.call_raw(methods.new_payload, params)))

    async def bodies(self, start: BlockNumber, count: int) -> list[tuple[bytes, ...] | None]:
        """Raw transactions of blocks in order, None for one that the engine does not have; fewer at its head."""
        params = msgspec.json.encode([quantity(start), quantity(count)])
        found = msgspec.json.decode(await self.call_raw("engine_getPayloadBodiesByRangeV1", params))
        if not isinstance(found, list) or len(found) > count:
            raise malformed("a list of bodies", "that is none")
        return [None if body is None else _transactions(body) for body in found]

    # ------------------------------------------------------------ eth
    async def chain_id(self) -> int:
        """Chain id that the engine signs for."""
        return read_quantity(await self.call("eth_chainId"), "chain id", 256)

    async def block(self, which: BlockNumber | str) -> EngineBlock | None:
        """A block of the engine's canonical chain by number or tag ("latest", "safe", ...)."""
        tag = which if isinstance(which, str) else quantity(which)
        found = await self.call("eth_getBlockByNumber", tag, False)
        return None if found is None else read_block(found)

    # ------------------------------------------------------------ calls
    async def call(self, method: str, *params: Any) -> Any:
        """Decoded result of any call."""
        return msgspec.json.decode(await self.call_raw(method, msgspec.json.encode(params)))

    async def call_raw(self, method: str, params: bytes) -> bytes:
        """Result of any call as JSON, its parameters given as a JSON array."""
        self.calls += 1
        body = b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}' % (self.calls, method.encode(), params)
        answer = await self._post(method, body)
        try:
            answer.decode()  # the parts that are read later are not looked at here
            decoded = msgspec.json.decode(answer, type=_Answer)
            error = msgspec.json.decode(decoded.error)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise malformed(f"no JSON-RPC for {method}", f"({problem})") from problem
        if error is not None:
            raise refusal(method, error)
        return bytes(decoded.result)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Decoded results of many calls in their order; the first refusal is raised."""
        body = [
            {"jsonrpc": "2.0", "id": at, "method": method, "params": params}
            for at, (method, params) in enumerate(calls)
        ]
        answer = await self._post("a batch", msgspec.json.encode(body))
        try:
            found = msgspec.json.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise malformed("no JSON-RPC for a batch", f"({problem})") from problem
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise malformed("no JSON-RPC for a batch", "(it is no list)")
        by_id = {item["id"]: item for item in found if isinstance(item.get("id"), int)}
        results = []
        for at, (method, _) in enumerate(calls):
            item = by_id.get(at)
            if item is None:
                raise malformed("a batch", f"without the answer to {method}")
            if item.get("error") is not None:
                raise refusal(method, item["error"])
            results.append(item.get("result"))
        return results

    async def _post(self, method: str, body: bytes) -> bytes:
        for attempt in range(1, ENGINE_ATTEMPTS_MAX + 1):
            try:
                return await self._post_once(body)
            except AnswerTooLarge:
                raise malformed(f"more bytes for {method}", f"than {ENGINE_ANSWER_BYTES_MAX}") from None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
                await self.close()
                if attempt == ENGINE_ATTEMPTS_MAX:
                    raise self._unreachable(method, error) from error
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
                raise self._unreachable(method, error) from error
        raise AssertionError("the loop returns or raises")

    async def _post_once(self, body: bytes) -> bytes:
        headers = dict(JSON)
        if self._secret is not None:
            headers["Authorization"] = "Bearer " + token(self._secret, int(time.time()))
        status, found = await self.request("POST", self._url, headers=headers, body=body)
        if status in {401, 403}:
            words = bounded(found.decode(errors="replace")).strip()
            raise ConfigurationError(
                f"The engine at {self.url} refuses our token ({words}): name the secret file that it was started "
                "with (--authrpc.jwtsecret), and check that both clocks agree to a minute.",
                code="engine_jwt_refused",
                url=self.url,
            )
        return found

    def _unreachable(self, method: str, error: BaseException) -> EngineUnreachable:
        words = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            words = "it takes too long"
        elif isinstance(error, aiohttp.InvalidURL):
            words = "it is no URL"
        return EngineUnreachable(
            f"No engine answers {method} at {self.url} ({words}); start it, or correct the engine's address.",
            url=self.url,
        )


def _transactions(body: Any) -> tuple[bytes, ...]:
    listed = body.get("transactions") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise malformed("a body", "without transactions")
    return tuple(read_data(item, "a transaction") for item in listed)
