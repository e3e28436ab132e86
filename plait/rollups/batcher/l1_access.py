"""What the batcher asks of L1: a few questions, so that a real client and a simulated chain both can answer.

Whoever implements it raises Unavailable when L1 gives no answer; nothing is known then about what was sent.
"""

from typing import Literal, Protocol

import msgspec

from plait.derivation.rollup_config import BlockId
from plait.types import Address, Gas, Hash32, Wei

Tag = Literal["latest", "safe", "finalized"]


class L1Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What the next L1 block asks for, wei per gas."""

    base_fee: Wei
    blob_base_fee: Wei
    tip: Wei
    """A priority fee that is usually taken."""


class L1Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Where a transaction is and what it cost."""

    hash: Hash32
    block: BlockId
    gas_used: Gas
    gas_price: Wei
    blob_gas_used: Gas = Gas(0)
    blob_gas_price: Wei = Wei(0)

    @property
    def cost_wei(self) -> Wei:
        """What its sender paid."""
        return Wei(self.gas_used * self.gas_price + self.blob_gas_used * self.blob_gas_price)


class L1Access(Protocol):
    """A view of L1 and a way to send to it."""

    async def block(self, at: Tag | int) -> BlockId | None:
        """The canonical block at a tag or number; None when there is none. Raises Unavailable."""

    async def nonce(self, address: Address) -> int:
        """Transactions of an account that are in the canonical chain. Raises Unavailable."""

    async def prices(self) -> L1Prices:
        """Raises Unavailable."""

    async def receipt(self, hash_: Hash32) -> L1Receipt | None:
        """Of a transaction in the canonical chain; None for any other. Raises Unavailable."""

    async def send(self, raw: bytes) -> str | None:
        """Hands in a signed transaction: None when L1's pool has it, else L1's words why not. Raises Unavailable."""
