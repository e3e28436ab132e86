"""Names of the entries that are spread, and what the bookkeeping asks the pools. Level 2."""

from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple, Protocol

from plait.codec.batch import BundleEntry, Cancellation, LabelCancellation, encode_cancellation
from plait.types import RollupId

NO_ROLLUP = RollupId(0)


class EntryKind(IntEnum):
    """What an entry is."""

    TRANSACTION = 0
    BUNDLE = 1
    CANCELLATION = 2
    ACTION = 3


class Key(NamedTuple):
    """Names an entry."""

    kind: EntryKind
    rollup_id: RollupId
    """Of a transaction; NO_ROLLUP for the other kinds."""
    hash: bytes
    """32 bytes."""


Entry = bytes | BundleEntry | Cancellation | LabelCancellation


class Contents(Protocol):
    """What the pools of this node hold."""

    def waits(self, key: Key) -> bool:
        """Whether a transaction, bundle or action is admitted and not decided, dropped or replaced. False for a
        cancellation."""
        ...

    def entry(self, key: Key) -> Entry | None:
        """It, for sending; None when it does not wait."""
        ...


def key_of_cancellation(entry: Cancellation | LabelCancellation) -> Key:
    """A cancellation is named by all of it."""
    return Key(EntryKind.CANCELLATION, NO_ROLLUP, sha256(encode_cancellation(entry)).digest())
