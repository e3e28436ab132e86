"""What became of the messages between rollups that this node saw: waiting, delivered, or left to others.

A message that could not be relayed in its slot (no room, no fee yet, a target that reverts, a destination whose block
is older) is offered to the builder again after 1, 2, 4, ... slots, RELAY_TRIALS_MAX times. It stays deliverable by
anybody afterwards, for as long as messages live. All of this is in memory only: a restart forgets it, and nothing is
lost by that but this node's own trials.

Statuses: waiting (with the reason of the last trial) | delivered(height) | left.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from plait.interop.relays import Relay
from plait.limits import MESSAGE_HISTORY_MAX, RELAY_TRIALS_MAX, RELAYS_OFFERED_MAX, RELAYS_WAITING_MAX
from plait.protocol.effects import SubBlockDecided
from plait.types import Hash32, Height, Slot


class RelayRefused(Protocol):
    """A message that was not relayed; `protocol.relaying.RelayRefused` has it."""

    @property
    def relay(self) -> Relay:
        """The message."""
        ...

    @property
    def code(self) -> str:
        """Stable code."""
        ...

    @property
    def sentence(self) -> str:
        """In words."""
        ...


class MessageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a message has come."""

    relay: Relay
    status: Literal["waiting", "delivered", "left"]
    sent_height: Height
    delivered_height: Height | None = None
    trials: int = 0
    """Failed ones so far."""
    code: str | None = None
    """Why it was not delivered when it was tried last."""
    sentence: str | None = None


class _Waiting(msgspec.Struct):
    relay: Relay
    sent_height: Height
    next_slot: int
    offers: int = 0
    trials: int = 0
    code: str | None = None
    sentence: str | None = None


class MessageBook:
    """Messages that this node saw being sent."""

    def __init__(self, *, messages_max: int = RELAYS_WAITING_MAX, history_max: int = MESSAGE_HISTORY_MAX) -> None:
        self._messages_max = messages_max
        self._history_max = history_max
        self._waiting: OrderedDict[Hash32, _Waiting] = OrderedDict()
        self._ended: OrderedDict[Hash32, MessageStatus] = OrderedDict()
        self.delivered = 0
        self.left = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def on_decided(self, effect: SubBlockDecided, refused: Iterable[RelayRefused] = ()) -> None:
        """Takes the messages of a sub-block, and what was delivered.

        Args:
            effect: of the sub-block.
            refused: what the builder of the sub-block could not relay.
        """
        for relay in effect.sent:
            self._take(relay, effect)
        for message_hash in effect.delivered:
            waiting = self._waiting.pop(message_hash, None)
            if waiting is not None:
                self.delivered += 1
                self._end(waiting, "delivered", effect.height)
        for one in refused:
            waiting = self._waiting.get(one.relay.message_hash)
            if waiting is not None:
                waiting.trials += 1
                waiting.code, waiting.sentence = one.code, one.sentence
        while len(self._waiting) > self._messages_max:
            _, oldest = self._waiting.popitem(last=False)
            self._leave(oldest)

    def _take(self, relay: Relay, effect: SubBlockDecided) -> None:
        """A message that was sent, maybe not for the first time: the newest log lives longest."""
        ended = self._ended.get(relay.message_hash)
        if ended is not None and ended.status == "delivered":
            return
        self._ended.pop(relay.message_hash, None)
        waiting = self._waiting.setdefault(relay.message_hash, _Waiting(relay, effect.height, effect.slot + 1))
        waiting.relay = relay

    def offer(self, slot: Slot) -> list[Relay]:
        """Messages to try in a sub-block of this slot, oldest first."""
        due: list[Relay] = []
        ended: list[Hash32] = []
        for message_hash, one in self._waiting.items():
            if len(due) == RELAYS_OFFERED_MAX:
                break
            if one.next_slot > slot:
                continue
            if one.offers == RELAY_TRIALS_MAX:
                ended.append(message_hash)
                continue
            due.append(one.relay)
            one.offers += 1
            one.next_slot = slot + (1 << one.offers)
        for message_hash in ended:
            self._leave(self._waiting.pop(message_hash))
        return due

    def status(self, message_hash: Hash32) -> MessageStatus | None:
        """How far a message has come; None for one that this node does not remember."""
        one = self._waiting.get(message_hash)
        return self._ended.get(message_hash) if one is None else _status(one, "waiting", None)

    def statistics(self) -> dict[str, int]:
        """For metrics."""
        return {
            "waiting": len(self._waiting),
            "waiting_max": self._messages_max,
            "delivered": self.delivered,
            "left": self.left,
        }

    def _leave(self, waiting: _Waiting) -> None:
        self.left += 1
        self._end(waiting, "left", None)

    def _end(self, waiting: _Waiting, status: Literal["delivered", "left"], height: Height | None) -> None:
        self._ended[waiting.relay.message_hash] = _status(waiting, status, height)
        while len(self._ended) > self._history_max:
            self._ended.popitem(last=False)


def _status(
    waiting: _Waiting, status: Literal["waiting", "delivered", "left"], delivered_height: Height | None
) -> MessageStatus:
    return MessageStatus(
        relay=waiting.relay,
        status=status,
        sent_height=waiting.sent_height,
        delivered_height=delivered_height,
        trials=waiting.trials,
        code=waiting.code,
        sentence=waiting.sentence,
    )
