"""What every engine hands on when a height is decided, and what it needs of the decided log. Level 5."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from plait.ordering.queues import SenderQueue
from plait.protocol.actions import ActionFailed
from plait.protocol.effects import SubBlockDecided
from plait.protocol.relaying import RelayRefused
from plait.protocol.requests import BundleFailed, Dropped, Unread
from plait.storage.record import DecidedRecord
from plait.types import RollupId

Candidates = Mapping[RollupId, Sequence[SenderQueue]]


class Log(Protocol):
    """What an engine needs of a decided log."""

    def append(self, record: DecidedRecord) -> None:
        """Returns when the record is durable."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A height that was decided, made durable and committed."""

    effect: SubBlockDecided
    dropped: tuple[Dropped, ...]
    deferred: int
    bundles_failed: tuple[BundleFailed, ...]
    relays_refused: tuple[RelayRefused, ...]
    actions_failed: tuple[ActionFailed, ...] = ()
    unread: tuple[Unread, ...] = ()
    phases_s: Mapping[str, float]
    """Seconds per phase: prepare, process, finalize, append, commit. For metrics only."""


def record_of(effect: SubBlockDecided) -> DecidedRecord:
    """What the log keeps of a decided height."""
    return DecidedRecord(
        height=effect.height,
        slot=effect.slot,
        sub_index=effect.sub_index,
        time_ms=effect.time_ms,
        app_hash=effect.app_hash,
        proposal=effect.proposal,
        senders=effect.senders,
        agreed=effect.agreed,
    )
