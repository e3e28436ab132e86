"""How much data a new block may hold while much of it waits for L1. Pure; a local policy, not consensus.

The budget shrinks with the square of how far the backlog lies between two thresholds, as op-batcher's "quadratic"
throttle does with its defaults: from 3.2 MB of unposted data on, down to its floor at 12.8 MB. A block always has room
for its deposits, which no throttle may hold back, and below the first threshold there is no budget at all.
Source: ethereum-optimism/optimism op-batcher/throttler and op-batcher/flags (defaults).
"""

import msgspec


class ThrottleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds of the backlog and the limits at both ends, in bytes of transactions as a batch holds them."""

    backlog_low_bytes: int = 3_200_000
    backlog_high_bytes: int = 12_800_000
    block_high_bytes: int = 130_000
    block_low_bytes: int = 2_000
    transaction_high_bytes: int = 20_000
    transaction_low_bytes: int = 150


class DaBudget(msgspec.Struct, frozen=True):
    """Most bytes of transactions for one new block of a rollup, and of one transaction in it."""

    block_bytes: int
    transaction_bytes: int


def da_budget(backlog_bytes: int, settings: ThrottleSettings | None = None) -> DaBudget | None:
    """What a new block may hold of user transactions; None for no limit.

    Args:
        backlog_bytes: data of sealed blocks that are not on L1, over all rollups, before compression.
        settings: op-batcher's defaults when None.
    """
    terms = settings or ThrottleSettings()
    if backlog_bytes < terms.backlog_low_bytes:
        return None
    span = max(1, terms.backlog_high_bytes - terms.backlog_low_bytes)
    over = min(backlog_bytes - terms.backlog_low_bytes, span)
    return DaBudget(
        block_bytes=_between(terms.block_high_bytes, terms.block_low_bytes, over, span),
        transaction_bytes=_between(terms.transaction_high_bytes, terms.transaction_low_bytes, over, span),
    )


def _between(high: int, low: int, over: int, span: int) -> int:
    return high - (high - low) * over * over // (span * span)
