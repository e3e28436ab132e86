"""Virtual time and a network that loses, delays, repeats and reorders messages, and falls apart into islands.

Everything that happens in a simulated network is an event on one agenda, ordered by time and then by when it was put
there, so that a run is a function of its seed.
"""

import heapq
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from plait.types import Milliseconds


class Agenda:
    """What will happen, in order. Now and then something happens that only then decides what follows."""

    def __init__(self, now_ms: Milliseconds) -> None:
        self.now_ms = now_ms
        self.done = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_ms: int, event: Callable[[], None]) -> None:
        """Puts an event `delay_ms` (0 or more) from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._count, event))

    def step(self) -> bool:
        """Lets the next event happen; False when there is none."""
        if not self._heap:
            return False
        time_ms, _, event = heapq.heappop(self._heap)
        self.now_ms = Milliseconds(max(time_ms, self.now_ms))
        self.done += 1
        event()
        return True


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """How a network treats messages; chances in percent, delays in milliseconds."""

    lost: int = 0
    repeated: int = 0
    delay_ms_min: int = 1
    delay_ms_max: int = 40
    late: int = 0
    """How many take up to `late_ms_max` instead."""
    late_ms_max: int = 2_500


FAIR = Weather()


class LossyNetwork:
    """Links between numbered nodes.

    Args:
        agenda: where deliveries are put.
        random: source of every choice.
        weather: until it changes.
    """

    def __init__(self, agenda: Agenda, random: Random, weather: Weather) -> None:
        self.weather = weather
        self.sent = 0
        self.lost = 0
        self._agenda = agenda
        self._random = random
        self._islands: tuple[frozenset[int], ...] = ()

    def part(self, islands: Sequence[frozenset[int]]) -> None:
        """Only nodes of one island reach each other from now on; those in none reach nobody."""
        self._islands = tuple(islands)

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self._islands = ()

    @property
    def parted(self) -> bool:
        """Whether there are islands."""
        return bool(self._islands)

    def send(self, source: int, target: int, deliver: Callable[[], None]) -> None:
        """Delivers once, later, twice or not at all. A message on its way when islands form still arrives."""
        random, weather = self._random, self.weather
        self.sent += 1
        apart = self._islands and not any(source in island and target in island for island in self._islands)
        if apart or random.randrange(100) < weather.lost:
            self.lost += 1
            return
        for _ in range(2 if random.randrange(100) < weather.repeated else 1):
            late = random.randrange(100) < weather.late
            longest = weather.late_ms_max if late else weather.delay_ms_max
            self._agenda.after(random.randint(weather.delay_ms_min, longest), deliver)
