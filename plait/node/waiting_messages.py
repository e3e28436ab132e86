"""Messages that were decided without their delivery: tried again for a while, then left to whoever wants them.

A message that could not be relayed in its slot (no room, no fee yet, a target that reverts, a destination whose block
is older) is offered to the builder again after 1, 2, 4, ... slots, RELAY_TRIALS_MAX times. It stays deliverable by
anybody afterwards, for as long as messages live. What waits is in memory only: a restart forgets it, and nothing is
lost by that but this node's own trials.
"""

from collections import OrderedDict

import msgspec

from plait.interop.relays import Relay
from plait.limits import RELAY_TRIALS_MAX, RELAYS_OFFERED_MAX, RELAYS_WAITING_MAX
from plait.protocol.effects import SubBlockDecided
from plait.types import Hash32, Slot


class _Waiting(msgspec.Struct):
    relay: Relay
    next_slot: int
    trials: int = 0


class WaitingMessages:
    """Messages without their delivery, oldest first."""

    def __init__(self, *, messages_max: int = RELAYS_WAITING_MAX) -> None:
        self._messages_max = messages_max
        self._waiting: OrderedDict[Hash32, _Waiting] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def on_decided(self, effect: SubBlockDecided) -> None:
        """Takes the messages of a sub-block that it did not deliver, and forgets those that it did."""
        for message_hash in effect.delivered:
            self._waiting.pop(message_hash, None)
        for relay in effect.sent:
            if relay.message_hash not in effect.delivered and relay.message_hash not in self._waiting:
                self._waiting[relay.message_hash] = _Waiting(relay, effect.slot + 1)
        while len(self._waiting) > self._messages_max:
            self._waiting.popitem(last=False)
            self.forgotten += 1

    def offer(self, slot: Slot) -> list[Relay]:
        """Messages to try in a sub-block of this slot, oldest first."""
        due: list[Relay] = []
        ended: list[Hash32] = []
        for message_hash, one in self._waiting.items():
            if len(due) == RELAYS_OFFERED_MAX:
                break
            if one.next_slot > slot:
                continue
            due.append(one.relay)
            one.trials += 1
            one.next_slot = slot + (1 << one.trials)
            if one.trials == RELAY_TRIALS_MAX:
                ended.append(message_hash)
        for message_hash in ended:
            del self._waiting[message_hash]
            self.forgotten += 1
        return due

    def statistics(self) -> dict[str, int]:
        """For metrics."""
        return {"waiting": len(self._waiting), "waiting_max": self._messages_max, "forgotten": self.forgotten}
