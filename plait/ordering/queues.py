"""What the pool hands to the protocol: executable transactions, per sender in nonce order.

Level 2, pure. A queue is a snapshot; nothing here is changed after it was made.
"""

from typing import NamedTuple, TypeAlias

from plait.native import Transaction
from plait.types import Milliseconds


class Ready(NamedTuple):
    """An executable transaction and when it became executable here (Unix time, the stamp of the arrival policy)."""

    transaction: Transaction
    ready_ms: Milliseconds


SenderQueue: TypeAlias = tuple[Ready, ...]
"""Executable transactions of one sender: consecutive nonces, the first being the sender's next one."""
