"""Quantities: integers whose name says the unit. Consensus code holds no float."""

from typing import NewType

Wei = NewType("Wei", int)
"""0 to 2**256 - 1."""

Gas = NewType("Gas", int)
"""0 to 2**64 - 1."""

Milliseconds = NewType("Milliseconds", int)
"""A duration, or a point in time since the Unix epoch where the name says `time`."""

Seconds = NewType("Seconds", int)
"""A duration, or a block's timestamp since the Unix epoch."""

Amount = NewType("Amount", int)
"""Stake token PLAIT in base units (18 decimals), 0 to 2**128 - 1."""
