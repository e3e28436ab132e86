"""A validator set and whose turn it is.

Rotation is CometBFT's weighted round robin (spec/consensus/proposer-selection.md, written anew from its text): each
turn every validator gains its power, whoever then has most proposes and pays the total. Before a turn priorities are
scaled into a window of twice the total power and centred around zero. A new validator starts at -1.125 times the
total, so that leaving and joining again wins nothing.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from plait.types import ValidatorUpdate

WINDOW_FACTOR = 2
"""Priorities lie within this many times the total power."""


def address_of(public_key: bytes) -> bytes:
    """A validator's 20-byte name in CometBFT."""
    return sha256(public_key).digest()[:20]


class Validator(NamedTuple):
    """One member."""

    public_key: bytes
    power: int
    address: bytes
    priority: int


class ValidatorSet:
    """Members in CometBFT's order: by power, highest first, then by address. Immutable.

    Args:
        members: with powers above 0 and distinct addresses.
        leader: whose turn round 0 is; empty for a set that has not begun a height.
    """

    def __init__(self, members: Iterable[Validator], leader: bytes = b"") -> None:
        self.members = tuple(sorted(members, key=lambda member: (-member.power, member.address)))
        self.total_power = sum(member.power for member in self.members)
        self.leader = leader
        self._powers = {member.address: member.power for member in self.members}
        self._rounds: list[ValidatorSet] = [self]

    @classmethod
    def genesis(cls, updates: Iterable[ValidatorUpdate]) -> "ValidatorSet":
        """The set of height 1."""
        return cls(()).changed(updates).turned()

    def power(self, address: bytes) -> int:
        """0 for one who is no member."""
        return self._powers.get(address, 0)

    def is_quorum(self, power: int) -> bool:
        """Whether this is more than two thirds."""
        return 3 * power > 2 * self.total_power

    def is_third(self, power: int) -> bool:
        """Whether this is more than one third: somebody honest is among them."""
        return 3 * power > self.total_power

    def proposer(self, round_index: int) -> bytes:
        """Whose turn a round of this height is."""
        while len(self._rounds) <= round_index:
            self._rounds.append(self._rounds[-1].turned())
        return self._rounds[round_index].leader

    def turned(self) -> "ValidatorSet":
        """The same members one turn later."""
        priorities = _centred(_within([member.priority for member in self.members], WINDOW_FACTOR * self.total_power))
        gained = [priority + member.power for priority, member in zip(priorities, self.members, strict=True)]
        places = range(len(self.members))
        first = min(places, key=lambda place: (-gained[place], self.members[place].address))
        gained[first] -= self.total_power
        return ValidatorSet(_with(self.members, gained), self.members[first].address)

    def changed(self, updates: Iterable[ValidatorUpdate]) -> "ValidatorSet":
        """The set after updates (power 0 removes a member)."""
        members = {member.address: member for member in self.members}
        powers = {address: member.power for address, member in members.items()}
        listed = {address_of(update.public_key): update for update in updates}
        if not listed:
            return self
        # The start of a new member counts the total after changes and before removals.
        powers |= {address: update.power for address, update in listed.items() if update.power}
        total = sum(powers.values())
        for address, update in sorted(listed.items()):
            if update.power == 0:
                del members[address]
            elif address in members:
                members[address] = members[address]._replace(power=update.power)
            else:
                members[address] = Validator(update.public_key, update.power, address, -(total + (total >> 3)))
        following = ValidatorSet(members.values())
        priorities = _within([m.priority for m in following.members], WINDOW_FACTOR * following.total_power)
        return ValidatorSet(_with(following.members, _centred(priorities)), self.leader)


def _with(members: Sequence[Validator], priorities: Sequence[int]) -> list[Validator]:
    return [member._replace(priority=priority) for member, priority in zip(members, priorities, strict=True)]


def _within(priorities: list[int], window: int) -> list[int]:
    """Scaled down so that highest and lowest differ by about the window at most; quotients towards zero."""
    spread = max(priorities) - min(priorities)
    if spread <= window:
        return priorities
    ratio = -(-spread // window)
    return [priority // ratio if priority >= 0 else -(-priority // ratio) for priority in priorities]


def _centred(priorities: list[int]) -> list[int]:
    average = sum(priorities) // len(priorities)
    return [priority - average for priority in priorities]
