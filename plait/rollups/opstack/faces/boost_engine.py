"""The two authenticated sides of the boost face: op-node in front, the engine behind. Level 5.

What is forwarded passes as it came; only the token is this face's own.
"""

import base64
import hmac
import time
from hashlib import sha256
from typing import Any, Final

import aiohttp
import msgspec

from plait.errors import Unavailable
from plait.http_client import JSON, AnswerTooLarge, HttpClient
from plait.limits import ENGINE_ANSWER_BYTES_MAX, ENGINE_TIMEOUT_S, JWT_AGE_MAX_S
from plait.rollups.opstack.engine_answers import PayloadStatus, read_payload_status
from plait.rollups.opstack.faces.json_rpc import Failure
from plait.rollups.opstack.jwt import token


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] | None = None


_answer: Final = msgspec.json.Decoder(_Answer)


class EngineSide(HttpClient):
    """The local engine.

    Args:
        url: of its authenticated RPC.
        secret: 32 bytes.
    """

    def __init__(self, url: str, secret: bytes) -> None:
        super().__init__(timeout_s=ENGINE_TIMEOUT_S, answer_bytes_max=ENGINE_ANSWER_BYTES_MAX)
        self.url = url.rstrip("/")
        self._secret = secret
        self._calls = 0

    async def forward(self, body: bytes) -> bytes:
        """The engine's answer to a body, unchanged. Raises Unavailable `engine_unreachable`.

        A connection that the engine closed meanwhile is opened once more: repeating a call of the Engine API does no
        harm.
        """
        try:
            return await self._post(body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            await self.close()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        try:
            return await self._post(body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error

    async def _post(self, body: bytes) -> bytes:
        headers = {**JSON, "Authorization": "Bearer " + token(self._secret, int(time.time()))}
        try:
            status, found = await self.request("POST", self.url, headers=headers, body=body)
        except AnswerTooLarge:
            raise self._unreachable(f"its answer is larger than {ENGINE_ANSWER_BYTES_MAX} bytes") from None
        if status != 200:
            raise self._unreachable(f"status {status}: {found[:200].decode(errors='replace').strip()}")
        return found

    async def call(self, method: str, params: bytes) -> msgspec.Raw:
        """The result of a call, parameters and result as JSON.

        Raises:
            Unavailable: `engine_unreachable`.
            Failure: the engine's own error, as it is.
        """
        self._calls += 1
        body = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}' % (self._calls, method.encode(), params)
        try:
            answer = _answer.decode(await self.forward(body))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreachable("its answer is no JSON-RPC") from error
        if answer.error is not None:
            error_ = answer.error
            raise Failure(int(error_.get("code", -32000)), str(error_.get("message", "")), error_.get("data"))
        return answer.result

    async def new_payload(self, payload_json: bytes, root: bytes, version: int) -> PayloadStatus:
        """What the engine thinks of a block. `version`: of engine_newPayload, 3 or 4."""
        rest = b",[]]" if version >= 4 else b"]"
        params = b"[" + payload_json + b',[],"0x' + root.hex().encode() + b'"' + rest
        return read_payload_status(msgspec.json.decode(await self.call(f"engine_newPayloadV{version}", params)))

    def _unreachable(self, words: str) -> Unavailable:
        return Unavailable(
            f"The engine at {self.url} does not answer ({words}); start it, or correct engine_url.",
            code="engine_unreachable",
            url=self.url,
        )


def is_authorized(header: str | None, secret: bytes, now_s: float) -> bool:
    """Whether an Authorization header carries a token of the secret, issued within JWT_AGE_MAX_S of the clock."""
    scheme, _, text = (header or "").partition(" ")
    parts = text.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        return False
    try:
        expected = hmac.new(secret, ".".join(parts[:2]).encode(), sha256).digest()
        if not hmac.compare_digest(_unpadded(parts[2]), expected):
            return False  # nothing that a stranger wrote is read
        head, claims = (msgspec.json.decode(_unpadded(part)) for part in parts[:2])
        return bool(head["alg"] == "HS256" and abs(now_s - float(claims["iat"])) <= JWT_AGE_MAX_S)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError, KeyError, TypeError):
        return False


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
