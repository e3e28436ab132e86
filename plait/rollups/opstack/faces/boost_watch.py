"""What all boost faces of a node share, kept up to date: the legs of bundles, and what became of replaced blocks.

Level 5. Lives on the event loop.
"""

import asyncio
from collections.abc import Iterable

from plait.mempool import BundleStatus
from plait.rollups.opstack.faces.boost_agreement import Agreement
from plait.rollups.opstack.faces.boost_source import LegBook
from plait.rollups.opstack.faces.host import FaceHost
from plait.types import RollupId


class BoostWatch:
    """Follows the node's bundles and decided sub-blocks.

    Args:
        host: the node.
        rollups: that a face stands before.
    """

    def __init__(self, host: FaceHost, rollups: Iterable[RollupId]) -> None:
        self._host = host
        self.legs = LegBook()
        self.agreement = Agreement(rollups)
        host.bundles.listen(self._on_bundle)

    def _on_bundle(self, status: BundleStatus) -> None:
        placed = (*status.legs, *status.deliveries)
        members = [(place.rollup_id, hash_) for place in placed for hash_ in place.transactions]
        note = {"received": self.legs.wait, "dropped": self.legs.drop}.get(status.status, self.legs.decide)
        note(members)

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Until cancelled. A subscription that fell behind begins anew: bundles also come from the pool."""
        while True:
            effects = self._host.bus.subscribe()
            if ready is not None:
                ready.set()
            try:
                while True:
                    effect = await anext(effects)
                    self.legs.on_decided(effect)
                    for item in effect.unwound:
                        self.agreement.reset(item.rollup_id, item.to_number)
            except StopAsyncIteration:
                if not effects.lagged:
                    return
            finally:
                effects.close()
