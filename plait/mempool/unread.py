"""Items of a pool that wait until the state that they need was read from the node that holds it.

    add       an item came in: it is read ahead before it is offered to a proposal
    done      all that it needs is known
    failed    it was tried, by a proposal or ahead of one, and state was missing: it is due again after a pause that
              doubles from REMOTE_RETRY_MS_FIRST to REMOTE_RETRY_MS_MAX with each failure
    due       what is to be read now: what failed least first, then the oldest

An item that waits here costs a proposal nothing, however slow the node is. Only for rollups with remote state. Level 2;
time is an argument.
"""

from collections.abc import Callable
from typing import NamedTuple

from plait.limits import REMOTE_RETRY_MS_FIRST, REMOTE_RETRY_MS_MAX
from plait.types import Milliseconds


class Missing(NamedTuple):
    """Why an item waits."""

    failures: int
    not_before_ms: Milliseconds
    code: str
    """Empty until it was tried."""
    sentence: str


_NEW = Missing(0, Milliseconds(0), "", "")
_DOUBLINGS_MAX = 16


class Unread:
    """What waits for state."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: dict[bytes, Missing] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: bytes) -> bool:
        return item in self._items

    def get(self, item: bytes) -> Missing | None:
        """Why it waits, if it does."""
        return self._items.get(item)

    def add(self, item: bytes) -> None:
        """An item that nobody tried to read for yet."""
        self._items.setdefault(item, _NEW)

    def done(self, item: bytes) -> None:
        """It waits no longer."""
        self._items.pop(item, None)

    def failed(self, item: bytes, code: str, sentence: str, now_ms: Milliseconds, *, tried: bool = True) -> None:
        """State was missing; for it, or, when it was not tried, for others before it."""
        failures = self._items.get(item, _NEW).failures + tried
        pause_ms = min(REMOTE_RETRY_MS_FIRST << min(max(failures - 1, 0), _DOUBLINGS_MAX), REMOTE_RETRY_MS_MAX)
        self._items[item] = Missing(failures, Milliseconds(now_ms + pause_ms), code, sentence)

    def later(self, item: bytes, now_ms: Milliseconds) -> None:
        """It could not be tried now, for another reason than state."""
        before = self._items.get(item)
        if before is not None:
            self._items[item] = before._replace(not_before_ms=Milliseconds(now_ms + REMOTE_RETRY_MS_FIRST))

    def keep(self, waits: Callable[[bytes], bool]) -> None:
        """Forgets items that the pool does not hold any more."""
        for item in [one for one in self._items if not waits(one)]:
            del self._items[item]

    def due(self, now_ms: Milliseconds) -> list[bytes]:
        """What may be read for now, in the order in which it should be."""
        found = [(one.failures, item) for item, one in self._items.items() if one.not_before_ms <= now_ms]
        found.sort(key=lambda pair: pair[0])
        return [item for _, item in found]

    def reasons(self) -> list[Missing]:
        """Why items wait that were tried."""
        return [one for one in self._items.values() if one.code]
