"""JSON-RPC 2.0 over HTTP and WebSocket, with the errors that a caller can tell apart.

`Client` holds one connection pool; every call has a time limit; nothing is retried behind the caller's back. What a
node answers is bounded in bytes and in levels before it is decoded: the node may be anybody's.
"""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec

from plait.client.bundle import Reservation, reservation_text
from plait.codec.json_depth import is_deeper
from plait.errors import PlaitError
from plait.limits import (
    CLIENT_RESPONSE_BYTES_MAX,
    CLIENT_RESPONSE_LEVELS_MAX,
    CLIENT_TIMEOUT_S,
    RESERVE_SLOTS_AHEAD_MIN,
    RPC_BATCH_ITEMS_MAX,
)

if TYPE_CHECKING:
    from plait.client.bundle import Bundle


class NodeUnreachable(PlaitError):
    """No node answers at the address, or what answers is not one."""

    default_code = "node_unreachable"


class RpcError(PlaitError):
    """The node's own refusal. `fields` has `number` (JSON-RPC's code) and `data`."""

    default_code = "rpc_error"


Call = tuple[str, Sequence[Any]]


class Client:
    """A connection to one endpoint. Use as an asynchronous context manager.

    Args:
        url: http://host:port or http://host:port/<chain id>.
        timeout_s: of one request.
    """

    def __init__(self, url: str, *, timeout_s: float = CLIENT_TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def at(self, path: str) -> "Client":
        """A client of another path of the same server that shares this one's connections."""
        other = Client(f"{self.url}/{path.lstrip('/')}")
        other._session = self._session
        other._timeout = self._timeout
        return other

    async def call(self, method: str, *params: Any) -> Any:
        """One call's result. Raises RpcError, NodeUnreachable."""
        answer = await self._post({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        return _result(answer, method)

    async def batch(self, calls: Sequence[Call]) -> list[Any | RpcError]:
        """Results of many calls in their order, an RpcError in the place of each that failed.

        Batches of more than the server's limit are split. Raises NodeUnreachable, and RpcError when a batch as a whole
        is refused.
        """
        results: list[Any | RpcError] = []
        for start in range(0, len(calls), RPC_BATCH_ITEMS_MAX):
            part = calls[start : start + RPC_BATCH_ITEMS_MAX]
            first = next(self._ids)
            body = [
                {"jsonrpc": "2.0", "id": first + at, "method": method, "params": params}
                for at, (method, params) in enumerate(part)
            ]
            self._ids = itertools.count(first + len(part))
            answers = await self._post(body)
            if not isinstance(answers, list):
                _result(answers, "batch")
                raise NodeUnreachable(f"{self.url} answers a batch with something else.")
            by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
            results.extend(_result_or_error(by_id.get(first + at), method) for at, (method, _) in enumerate(part))
        return results

    # ------------------------------------------------------------ bundles
    async def simulate(self, bundle: "Bundle") -> dict[str, Any]:
        """What would come of a bundle on the decided state, per leg. Raises RpcError, NodeUnreachable."""
        result: dict[str, Any] = await self.call("plait_simulateBundle", bundle.request())
        return result

    async def send(self, bundle: "Bundle", *, signature: bytes | None = None, replaces: str | None = None) -> str:
        """Hands a bundle in and returns its hash; `bundle.wait` follows it then.

        Args:
            bundle: to send.
            signature: EIP-191 over `bundle.signed_text(...)`, by the sender of one of its transactions.
            replaces: hash of the waiting bundle whose place it takes; needs the signature.

        Raises:
            RpcError: the bundle is refused; `code` says why.
            NodeUnreachable: no node answers.
        """
        options = {
            "signature": None if signature is None else "0x" + signature.hex(),
            "replaces": replaces,
            "reservation": bundle.reservation,
        }
        result = await self.call("plait_sendBundle", bundle.request(), options)
        bundle.follow(self, result["bundleHash"])
        return str(result["bundleHash"])

    async def cancel(self, bundle_hash: str, signature: bytes) -> None:
        """Withdraws a waiting bundle. Raises RpcError, NodeUnreachable."""
        await self.call("plait_cancelBundle", bundle_hash, "0x" + signature.hex())

    async def reserve(self, rollups: Sequence[int], sign: Callable[[str], bytes], *, slot: int = 0) -> Reservation:
        """Reserves the tops of the next blocks that rollups open in one slot, for `Bundle.pin_to`.

        Args:
            rollups: at least one.
            sign: an EIP-191 personal signature, 65 bytes, of a text; with eth-account
                `lambda text: account.sign_message(encode_defunct(text=text)).signature`.
            slot: the earliest one; 0 for the next one that is far enough ahead.

        Raises:
            RpcError: refused; `code` says why.
            NodeUnreachable: no node answers.
        """
        earliest = slot or (await self.call("plait_slot"))["clockSlot"] + RESERVE_SLOTS_AHEAD_MIN
        signature = "0x" + bytes(sign(reservation_text(rollups, earliest))).hex()
        request = {"rollups": sorted(rollups), "slot": earliest}
        return Reservation.of(await self.call("plait_reserve", request, signature))

    async def get(self, path: str) -> tuple[int, bytes]:
        """(status, body) of a plain GET, such as /health or /metrics. Raises NodeUnreachable."""
        session = self._require()
        try:
            async with session.get(f"{self.url}/{path.lstrip('/')}") as response:
                return response.status, await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def subscribe(self, method: str, *params: Any) -> AsyncIterator[Any]:
        """Notifications of a subscription, over a WebSocket of its own, until the caller stops or the node closes it.

        Args:
            method: such as `eth_subscribe` or `plait_subscribe`.
            params: its parameters, such as "newHeads".

        Raises:
            RpcError: the node refuses the subscription.
            NodeUnreachable: no connection, or it broke.
        """
        session = self._require()
        try:
            async with session.ws_connect(self.url, max_msg_size=CLIENT_RESPONSE_BYTES_MAX, timeout=_CLOSE) as socket:
                request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
                await socket.send_str(msgspec.json.encode(request).decode())
                _result(self._decode((await socket.receive_str(timeout=CLIENT_TIMEOUT_S)).encode()), method)
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    yield self._notified(message.data.encode())
                if socket.close_code not in {None, 1000, 1001}:
                    raise NodeUnreachable(f"The node closed the subscription (WebSocket code {socket.close_code}).")
        except (aiohttp.ClientError, TimeoutError, TypeError) as error:
            raise self._unreachable(error) from error

    async def wait_ready(self, seconds: float) -> None:
        """Returns when the node answers GET /ready with 200. Raises NodeUnreachable after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                status, _ = await self.get("ready")
                if status == 200:
                    return
                reason = f"it answers {status}"
            except NodeUnreachable as error:
                reason = error.message
            if asyncio.get_running_loop().time() > deadline:
                raise NodeUnreachable(f"The node at {self.url} is not ready after {seconds:g} s: {reason}")
            await asyncio.sleep(0.02)

    async def _post(self, body: Any) -> Any:
        session = self._require()
        headers = {"Content-Type": "application/json"}
        try:
            async with session.post(self.url, data=msgspec.json.encode(body), headers=headers) as response:
                return self._decode(await _read(response))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _decode(self, data: bytes) -> Any:
        if is_deeper(data, CLIENT_RESPONSE_LEVELS_MAX):
            raise NodeUnreachable(
                f"{self.url} answers JSON of more than {CLIENT_RESPONSE_LEVELS_MAX} levels; is it a Plait node?"
            )
        try:
            return msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NodeUnreachable(f"{self.url} does not answer JSON-RPC; is it a Plait node?") from error

    def _notified(self, data: bytes) -> Any:
        try:
            return self._decode(data)["params"]["result"]
        except (LookupError, TypeError) as error:
            raise NodeUnreachable(f"{self.url} sends no notifications of JSON-RPC; is it a Plait node?") from error

    def _require(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise NodeUnreachable("The client is not open; use it as an asynchronous context manager.")
        return self._session

    def _unreachable(self, error: BaseException) -> NodeUnreachable:
        reason = _reason(error)
        return NodeUnreachable(
            f"No node answers at {self.url} ({reason}); start one with `plait devnet`.", url=self.url
        )


def _reason(error: BaseException) -> str:
    """Why there was no answer, in the system's words where it has some."""
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return str(cause.strerror)
        return os.strerror(cause.errno) if cause.errno else "it cannot be connected"
    return str(error) or type(error).__name__


_CLOSE = aiohttp.ClientWSTimeout(ws_close=1.0)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises NodeUnreachable when it is larger than the client takes."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > CLIENT_RESPONSE_BYTES_MAX:
            raise NodeUnreachable(f"The answer is larger than {CLIENT_RESPONSE_BYTES_MAX} bytes.")
    return bytes(data)


def _result(answer: Any, method: str) -> Any:
    outcome = _result_or_error(answer, method)
    if isinstance(outcome, RpcError):
        raise outcome
    return outcome


def _result_or_error(answer: Any, method: str) -> Any | RpcError:
    if not isinstance(answer, dict):
        return RpcError(f"The node gave no answer to {method}.", code="answer_missing", method=method)
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    data = error.get("data")
    code = data.get("code") if isinstance(data, dict) else None
    return RpcError(
        str(error.get("message", "the node refused the call")),
        code=code if isinstance(code, str) else None,
        number=error.get("code"),
        data=data,
        method=method,
    )
