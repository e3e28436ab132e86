"""Where and when the ledger's steps act: agreed data that every rule of one sub-block sees. Level 3, pure."""

import msgspec

from plait.types import Height, Milliseconds, NetworkId, NetworkParameters, Slot


class SubBlockContext(msgspec.Struct, frozen=True, kw_only=True):
    """One sub-block, as far as the economy is concerned."""

    network: NetworkParameters
    height: Height
    slot: Slot
    time_ms: Milliseconds
    """Agreed time of the height."""

    @property
    def network_id(self) -> NetworkId:
        """The network that actions must be signed for."""
        return self.network.network_id
