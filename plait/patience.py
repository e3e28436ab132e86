"""How long a thread waits for state that another node holds; and what to do when it does not come.

    patience(seconds)         bounds all reads of this thread within the block; a nested one can only be shorter
    time_left_s(default)      what a reader may take now; 0 says that nobody is to be asked
    spend(places)             what a reader asks for is taken from the purse of whom it asks for, where it has one
    until_read(work, ...)     does a step that has one right outcome as often as it takes

Execution of a rollup whose state is remote reads what it misses (docs/opstack/remote-state.md). Who builds a proposal
has little time and may leave out what needs more; who checks, replays or finalizes may not, and waits: a step that
fails so has changed nothing, and its outcome does not depend on how often it was tried.

Nothing here touches an outcome: time decides what a proposer offers, never what a proposal means. Consensus code does
not import this.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from plait.limits import REMOTE_RETRY_MS_FIRST, REMOTE_RETRY_MS_MAX
from plait.native import NativeError
from plait.native.unread import is_unread

T = TypeVar("T")


class Purse:
    """Places of unknown state (accounts, slots, codes) that may be read for others: what is read stays in memory.

    Args:
        places_max: at once.
        places_per_s: that come back.
        call_places_max: within one `patience` block.
    """

    def __init__(self, places_max: int, places_per_s: int, call_places_max: int) -> None:
        self.call_places_max = call_places_max
        self._places_max = places_max
        self._places_per_s = places_per_s
        self._left = float(places_max)
        self._at_s = time.monotonic()
        self._turn = threading.Lock()

    def take(self, places: int) -> bool:
        """Takes so many; False, and none, when there are not so many."""
        with self._turn:
            now_s = time.monotonic()
            self._left = min(self._places_max, self._left + (now_s - self._at_s) * self._places_per_s)
            self._at_s = now_s
            if places > self._left:
                return False
            self._left -= places
            return True


class _Deadline(threading.local):
    at_s: float | None = None
    """On the monotonic clock; None where nothing bounds this thread."""
    purse: Purse | None = None
    spent: int = 0
    """Places of this block."""
    search_at_s: float | None = None
    """When the core was left to search for a node beside a deletion."""


_deadline: Final = _Deadline()


@contextlib.contextmanager
def patience(seconds: float, purse: Purse | None = None) -> Iterator[None]:
    """Bounds what reads of this thread may take together within the block; 0 allows none. With a purse also how much
    they may ask for."""
    before, outer = _deadline.at_s, (_deadline.purse, _deadline.spent)
    end = time.monotonic() + seconds if seconds > 0 else 0.0
    _deadline.at_s = end if before is None else min(before, end)
    if purse is not None:
        _deadline.purse, _deadline.spent = purse, 0
    _deadline.search_at_s = None
    try:
        yield
    finally:
        _deadline.at_s, _deadline.search_at_s = before, None
        _deadline.purse, _deadline.spent = outer


def time_left_s(default: float) -> float:
    """Seconds that a read of this thread may take: at most `default`, at least 0."""
    end = _deadline.at_s
    return default if end is None else max(0.0, min(default, end - time.monotonic()))


def is_for_others() -> bool:
    """Whether this thread reads for a client, out of a purse."""
    return _deadline.purse is not None


def spend(places: int) -> bool:
    """Takes what is to be read from the thread's purse, if it has one; False when it may not be read."""
    purse = _deadline.purse
    if purse is None:
        return True
    if _deadline.spent + places > purse.call_places_max or not purse.take(places):
        return False
    _deadline.spent += places
    return True


def search_begins() -> None:
    """Notes that the core, in this thread, searches for what a reader could not give it."""
    _deadline.search_at_s = time.monotonic()


def search_ended(grace_s: float) -> float:
    """Seconds that a search took which this read follows, 0 when it follows none. What was found so is worth waiting
    for: the thread may take `grace_s` more."""
    begun = _deadline.search_at_s
    if begun is None:
        return 0.0
    now = time.monotonic()
    _deadline.search_at_s = None
    if _deadline.at_s is not None:
        _deadline.at_s = max(_deadline.at_s, now + grace_s)
    return now - begun


class NotRead(Exception):
    """Somebody ended the wait for state."""


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def until_read(
    work: Callable[[], T],
    waiting: Callable[[NativeError], None] = lambda _: None,
    pause: Callable[[float], bool] = _sleep,
) -> T:
    """The result of a step, tried again after growing pauses for as long as state is missing.

    Args:
        work: leaves nothing behind when it fails.
        waiting: told before each pause why.
        pause: waits for so many seconds; False ends the wait.

    Raises:
        NotRead: the wait was ended.
        Exception: any other failure of the step, at once.
    """
    pause_ms = REMOTE_RETRY_MS_FIRST
    while True:
        try:
            return work()
        except NativeError as error:
            if not is_unread(error):
                raise
            waiting(error)
            reason = error
        if not pause(pause_ms / 1_000):
            raise NotRead(str(reason)) from reason
        pause_ms = min(2 * pause_ms, REMOTE_RETRY_MS_MAX)
