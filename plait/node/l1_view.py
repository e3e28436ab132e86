"""What the pool of L1 items reads of the decided ledger. Level 6."""

from collections.abc import Callable

import msgspec

from plait.ledger.l1 import L1State, powers_of, sequence_of
from plait.ledger.state import LedgerState
from plait.types.consensus import ConsensusAddress, consensus_address


class DecidedL1(msgspec.Struct, frozen=True):
    """`plait.mempool.l1_items.L1View` over agreed L1 data."""

    state: L1State
    powers: dict[ConsensusAddress, int]

    @property
    def next_number(self) -> int:
        """Number of the L1 block that is to be agreed next."""
        return self.state.head.number + 1

    @property
    def newest(self) -> int:
        """Number of the newest L1 block that may be agreed as far as the ledger's reports go."""
        return max((report.head for report in self.state.reports), default=-1) - self.lag_blocks

    @property
    def lag_blocks(self) -> int:
        """How far agreement stays below the reported heads."""
        return self.state.terms.lag_blocks

    def sequence_of(self, public_key: bytes) -> int | None:
        """Sequence of the newest report that the ledger has of a key."""
        if consensus_address(public_key) not in self.powers:
            return None
        return sequence_of(self.state, public_key)


def l1_view(ledger: Callable[[], LedgerState]) -> Callable[[], DecidedL1 | None]:
    """The view of whatever ledger is decided when it is asked."""

    def view() -> DecidedL1 | None:
        found = ledger()
        if found.l1 is None:
            return None
        return DecidedL1(found.l1, powers_of(found.l1, found.economy.rotation.current))

    return view
