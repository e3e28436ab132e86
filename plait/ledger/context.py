"""What the economy's steps know of the sub-block that they are part of. Level 3, pure."""

import msgspec

from plait.ledger.l1 import L1State
from plait.types import Height, Milliseconds, NetworkId, NetworkParameters, Slot


class SubBlockContext(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-block's place: agreed data, the same on every node."""

    height: Height
    slot: Slot
    time_ms: Milliseconds
    network: NetworkParameters
    l1: L1State | None = None
    """What is agreed about the L1 when an action is applied; None without an L1."""

    @property
    def network_id(self) -> NetworkId:
        """The network that actions must be signed for."""
        return self.network.network_id
