"""[batcher] of opstack.toml: what an operator may choose about posting, each value with its range.

What is out of range is refused when the file is read, by name. Defaults are op-batcher's where it has the setting
(docs/opstack/batcher.md). Level 6.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from plait.errors import ConfigurationError
from plait.limits import (
    BATCHER_BACKLOG_SET_BYTES_MAX,
    BATCHER_BUMP_PERCENT_MAX,
    BATCHER_FEE_SET_WEI_MAX,
    BATCHER_FINAL_DEPTH_BLOCKS_MAX,
    BATCHER_PATIENCE_S_MAX,
    BATCHER_POLL_S_MAX,
    BATCHER_POLL_S_MIN,
    BATCHER_WINDOW_MARGIN_BLOCKS_MAX,
)
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.l1_sender import (
    BLOB_BUMP_PERCENT,
    BUMP_PERCENT,
    SenderSettings,
)
from plait.rollups.batcher.plan import PlanSettings
from plait.rollups.batcher.service import BatcherTerms
from plait.rollups.batcher.throttle import ThrottleSettings

_Wei = Annotated[int, msgspec.Meta(ge=0, le=BATCHER_FEE_SET_WEI_MAX)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=BATCHER_PATIENCE_S_MAX)]
_Bytes = Annotated[int, msgspec.Meta(ge=1, le=BATCHER_BACKLOG_SET_BYTES_MAX)]
_PLAN, _SENDER, _THROTTLE, _TERMS = PlanSettings(), SenderSettings(), ThrottleSettings(), BatcherTerms()


class ThrottleChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[batcher.throttle]: thresholds of the backlog and the limits at both ends, in bytes of transactions."""

    backlog_low_bytes: _Bytes = _THROTTLE.backlog_low_bytes
    """Of sealed data that no posting holds; above it new blocks are limited."""
    backlog_high_bytes: _Bytes = _THROTTLE.backlog_high_bytes
    block_high_bytes: _Bytes = _THROTTLE.block_high_bytes
    """Of one block, at the low threshold."""
    block_low_bytes: _Bytes = _THROTTLE.block_low_bytes
    """At the high threshold and beyond."""
    transaction_high_bytes: _Bytes = _THROTTLE.transaction_high_bytes
    transaction_low_bytes: _Bytes = _THROTTLE.transaction_low_bytes


class BatcherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How batches are posted to L1."""

    key_file: Path
    """Private key of the batcher's account, 64 hex digits; never on a command line."""
    data: Literal["calldata", "blob"] = "calldata"
    batch: Literal["singular", "span"] = "span"
    compression: Literal["zlib", "brotli"] = "brotli"
    interval_s: _Seconds = _PLAN.age_max_s
    """A posting begins after this many seconds at the latest."""
    window_margin_blocks: Annotated[int, msgspec.Meta(ge=1, le=BATCHER_WINDOW_MARGIN_BLOCKS_MAX)] = (
        _PLAN.window_margin_blocks
    )
    """L1 blocks before the end of a sequencing window at which whatever waits is posted."""
    fee_cap_max_wei: _Wei = _SENDER.fee_cap_max_wei
    """Most that is offered per gas; 0 for no bound."""
    blob_fee_cap_max_wei: _Wei = _SENDER.blob_fee_cap_max_wei
    """Most that is offered per blob gas; 0 for no bound."""
    tip_min_wei: _Wei = _SENDER.tip_min_wei
    """Least tip that is offered per gas."""
    bump_after_s: _Seconds = _SENDER.bump_after_s
    """A transaction that is not included for so long is signed again with higher fees."""
    bump_percent: Annotated[int, msgspec.Meta(ge=BUMP_PERCENT, le=BATCHER_BUMP_PERCENT_MAX)] = _SENDER.bump_percent
    """By how much at least; pools replace for no less than 10."""
    blob_bump_percent: Annotated[int, msgspec.Meta(ge=BLOB_BUMP_PERCENT, le=BATCHER_BUMP_PERCENT_MAX)] = (
        _SENDER.blob_bump_percent
    )
    """The same of transactions with blobs, for which pools ask 100."""
    resend_after_s: _Seconds = _SENDER.resend_after_s
    """A transaction that L1 does not show is handed in again."""
    poll_s: Annotated[float, msgspec.Meta(ge=BATCHER_POLL_S_MIN, le=BATCHER_POLL_S_MAX)] = _TERMS.poll_s
    """Pause between two looks at L1."""
    final_depth_blocks: Annotated[int, msgspec.Meta(ge=1, le=BATCHER_FINAL_DEPTH_BLOCKS_MAX)] = (
        _TERMS.final_depth_blocks
    )
    """Where L1 names no finalized block, a posting is final so many blocks below the newest."""
    throttle: ThrottleChoice = ThrottleChoice()

    def check(self) -> None:
        """Raises ConfigurationError (`opstack_file_invalid`) with the first two values that do not fit together."""
        if self.fee_cap_max_wei and self.tip_min_wei > self.fee_cap_max_wei:
            raise _invalid("batcher.tip_min_wei is above batcher.fee_cap_max_wei")
        chosen = self.throttle
        if chosen.backlog_low_bytes >= chosen.backlog_high_bytes:
            raise _invalid("batcher.throttle.backlog_low_bytes is not below backlog_high_bytes")
        for what in ("block", "transaction"):
            if getattr(chosen, f"{what}_low_bytes") > getattr(chosen, f"{what}_high_bytes"):
                raise _invalid(f"batcher.throttle.{what}_low_bytes is above {what}_high_bytes")

    def terms(self) -> BatcherTerms:
        """What the batcher is made with."""
        return BatcherTerms(
            format=Format(carrier=self.data, batch=self.batch, compression=self.compression),
            plan=PlanSettings(age_max_s=self.interval_s, window_margin_blocks=self.window_margin_blocks),
            sender=SenderSettings(
                fee_cap_max_wei=self.fee_cap_max_wei,
                blob_fee_cap_max_wei=self.blob_fee_cap_max_wei,
                tip_min_wei=self.tip_min_wei,
                bump_after_s=self.bump_after_s,
                bump_percent=self.bump_percent,
                blob_bump_percent=self.blob_bump_percent,
                resend_after_s=self.resend_after_s,
            ),
            throttle=ThrottleSettings(**msgspec.structs.asdict(self.throttle)),
            poll_s=self.poll_s,
            final_depth_blocks=self.final_depth_blocks,
        )


def _invalid(reason: str) -> ConfigurationError:
    return ConfigurationError(f"The OP Stack settings cannot be used: {reason}.", code="opstack_file_invalid")


__all__ = ["BatcherSettings", "ThrottleChoice"]
