"""Where a light client gets what it checks: one seam, so that everything else here does no IO.

A provider is not trusted with anything but being asked. `plait.client.light.RpcProvider` asks a node of Plait.
"""

from collections.abc import Sequence
from typing import Protocol

from plait.light.blocks import LightBlock
from plait.types import Height, RollupId, Slot


class Provider(Protocol):
    """Somebody who shows blocks of the network's engine."""

    @property
    def name(self) -> str:
        """What reports call it, such as its address."""
        ...

    async def light_block(self, height: Height | None) -> LightBlock:
        """The block of a height; the newest one that it has for None.

        Raises:
            Unavailable: it does not have that height (any code).
            LightRefused: its answer cannot be read.
        """
        ...


class StreamProvider(Provider, Protocol):
    """Somebody who shows sub-blocks, too."""

    async def heights_of_slots(self, first: Slot, last: Slot) -> tuple[Height, Height]:
        """The first height of the slots, and the first one after them."""
        ...

    async def sub_block_headers(self, first: Height, last: Height) -> Sequence[bytes]:
        """Canonical headers of sub-blocks, ascending; at most LIGHT_HEADERS_PER_CALL_MAX are asked for."""
        ...

    async def sub_block_items(self, heights: Sequence[Height], rollup_id: RollupId) -> Sequence[Sequence[bytes]]:
        """Items of a rollup at each of the heights, in order; at most LIGHT_ITEMS_HEIGHTS_PER_CALL are asked for."""
        ...
