"""What the clients of other programs' HTTP interfaces share: one kept-alive session, bounded in time and in bytes.

Specification
    - The session is opened by the first request and after `close` by the next one, on the loop that runs then.
    - Nothing is repeated here and no status is an error: a program's own client knows what may be sent again and what
      a status means to it.
    - No more of an answer is held than its bound: what is longer is given up, connection and all.
What a request raises is aiohttp's own, whose words may hold a URL and with it a key: clients show `address_of_url`.
Level 1. Imports nothing of Plait.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

JSON: Final = {"Content-Type": "application/json"}
"""Header of a request whose body is JSON."""


class HttpAnswer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


class AnswerTooLarge(Exception):
    """An answer has more bytes than its client takes; clients raise their own error for it."""


class HttpClient:
    """To be inherited by a client. Use as an asynchronous context manager, or call `close`.

    Args:
        timeout_s: of one request, unless it says otherwise.
        answer_bytes_max: of one answer's body.
    """

    def __init__(self, *, timeout_s: float, answer_bytes_max: int) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._answer_bytes_max = answer_bytes_max
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; the next request opens others."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        """Sends one request and reads the whole answer, whatever its status is.

        Raises:
            AnswerTooLarge: it has more bytes than this client takes.
            aiohttp.ClientError, TimeoutError, OSError, ValueError: there is no answer.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        timeout = self._timeout if timeout_s is None else aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.request(method, url, data=body, headers=headers, timeout=timeout) as response:
            found = bytearray()
            async for chunk in response.content.iter_any():
                found += chunk
                if len(found) > self._answer_bytes_max:
                    response.close()
                    raise AnswerTooLarge
            return HttpAnswer(response.status, bytes(found))


def address_of_url(url: str) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "?"
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


__all__ = ["JSON", "AnswerTooLarge", "HttpAnswer", "HttpClient", "address_of_url"]
