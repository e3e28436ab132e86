"""A light client's provider over JSON-RPC: asks one node of Plait for blocks, sub-blocks and items. Level 7.

    async with RpcProvider("http://127.0.0.1:8545") as node:
        client = plait.light.Client(node, trusted)

What it is told is not believed here: it only reads JSON into the types of `plait.light`, which proves them.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from plait.client.jsonrpc import Client, RpcError
from plait.errors import LightRefused, Unavailable
from plait.light import LightBlock, decode_light_block
from plait.limits import CLIENT_TIMEOUT_S, PROPOSAL_ITEMS_MAX
from plait.types import Height, RollupId, Slot

_TOO_LARGE: Final = -32003
"""JSON-RPC number of an answer that is too large, also as a part of a batch."""


class RpcProvider:
    """A node at a URL. Use as an asynchronous context manager.

    Args:
        url: http://host:port of a node.
        timeout_s: of one request.
    """

    def __init__(self, url: str, *, timeout_s: float = CLIENT_TIMEOUT_S) -> None:
        self._client = Client(url, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    @property
    def name(self) -> str:
        """Its address."""
        return self._client.url

    async def light_block(self, height: Height | None) -> LightBlock:
        """The block of a height, the newest for None.

        Raises:
            Unavailable: the node does not have it.
            NodeUnreachable: no node answers.
            LightRefused: `light_answer_malformed`.
        """
        return decode_light_block(await self._call("plait_getLightBlock", "latest" if height is None else height))

    async def heights_of_slots(self, first: Slot, last: Slot) -> tuple[Height, Height]:
        """The first height of the slots, and the first one after them. Raises as `light_block`."""
        shown = await self._call("plait_getHeightsOfSlots", first, last)
        return Height(_integer(shown, "first")), Height(_integer(shown, "end"))

    async def sub_block_headers(self, first: Height, last: Height) -> Sequence[bytes]:
        """Canonical headers of sub-blocks, ascending. Raises as `light_block`."""
        headers: list[bytes] = []
        while len(headers) <= last - first:
            shown = await self._call("plait_getSubBlockHeaders", first + len(headers), last)
            if not isinstance(shown, list) or not 0 < len(shown) <= last - first + 1 - len(headers):
                raise _malformed("headers")
            headers += [_data(one, "header") for one in shown]
        return headers

    async def sub_block_items(self, heights: Sequence[Height], rollup_id: RollupId) -> Sequence[Sequence[bytes]]:
        """Items of a rollup at each of the heights. Raises as `light_block`."""
        answers = await self._client.batch([("plait_getSubBlockItems", (height, rollup_id)) for height in heights])
        return [
            _items(await self._again(height, rollup_id, answer))
            for height, answer in zip(heights, answers, strict=True)
        ]

    async def _again(self, height: Height, rollup_id: RollupId, answer: Any) -> Any:
        """An answer of a batch, asked for alone when the batch had no room for it."""
        if isinstance(answer, RpcError):
            if answer.fields.get("number") != _TOO_LARGE:
                raise _unavailable(answer)
            return await self._call("plait_getSubBlockItems", height, rollup_id)
        return answer

    async def _call(self, method: str, *params: Any) -> Any:
        try:
            return await self._client.call(method, *params)
        except RpcError as error:
            raise _unavailable(error) from error


def _items(shown: object) -> list[bytes]:
    if not isinstance(shown, list) or len(shown) > PROPOSAL_ITEMS_MAX:
        raise _malformed("items")
    return [_data(one, "item") for one in shown]


def _integer(shown: object, field: str) -> int:
    value = shown.get(field) if isinstance(shown, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _malformed(field)
    return value


def _data(value: object, field: str) -> bytes:
    try:
        if not isinstance(value, str) or not value.startswith("0x"):
            raise ValueError
        return bytes.fromhex(value[2:])
    except ValueError:
        raise _malformed(field) from None


def _malformed(field: str) -> LightRefused:
    return LightRefused(f"The provider's answer has no readable {field}.", code="light_answer_malformed", field=field)


def _unavailable(error: RpcError) -> Unavailable:
    return Unavailable(error.message, code=error.code)
