"""Who leads: CometBFT's weighted round robin, computed by the ledger itself.

A set of validators has a priority each. For every height and round the priorities grow by the voting powers, the
greatest priority leads (the smaller address among equals) and pays the total power. Before growing, priorities that
lie further apart than twice the total power are divided by the whole number that brings them there (each quotient
rounded towards zero), and their average (rounded down) is subtracted. A validator that joins starts at -1.125 times
the total power with all updates and before all removals, so that leaving and coming back gains nothing.

CometBFT keeps a set per height. Updates returned at height H are made to the set of height H + 1, which then grows by
one step and is the set of height H + 2. `Rotation` holds the sets of the next height and of the one after it.

Source: CometBFT's specification of the proposer selection procedure (spec/consensus/proposer-selection.md, v0.38);
tests compare with CometBFT's own code. Level 3, pure.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from operator import add
from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list
from plait.errors import CodecError, InvariantBroken
from plait.limits import VALIDATORS_MAX, VOTING_POWER_MAX
from plait.types import ConsensusAddress

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
_WINDOW_FACTOR: Final = 2
"""Priorities lie within this many times the total power."""


class ProposerSet(msgspec.Struct, frozen=True):
    """Validators of one height, strictly ascending by address, with the leader of its round 0."""

    addresses: tuple[ConsensusAddress, ...] = ()
    powers: tuple[int, ...] = ()
    priorities: tuple[int, ...] = ()
    leader: ConsensusAddress = ConsensusAddress(b"")

    @property
    def total_power(self) -> int:
        """Sum of the voting powers."""
        return sum(self.powers)

    def power_of(self, address: bytes) -> int:
        """Voting power of an address; 0 when it is not in the set."""
        for own, power in zip(self.addresses, self.powers, strict=True):
            if own == address:
                return power
        return 0

    def by_power(self) -> tuple[ConsensusAddress, ...]:
        """Addresses in CometBFT's own order: by power, greatest first, then by address."""
        ranked = sorted(zip((-power for power in self.powers), self.addresses, strict=True))
        return tuple(address for _, address in ranked)

    def step(self) -> "ProposerSet":
        """The set one height, or one round, later."""
        if not self.addresses:
            return self
        powers = self.powers
        total = sum(powers)
        settled = _centred(_rescaled(list(self.priorities), total))
        grown = list(map(add, settled, powers))
        greatest = max(grown)
        if greatest > INT64_MAX:
            grown, greatest = [_clipped(priority) for priority in grown], INT64_MAX
        first = grown.index(greatest)
        grown[first] = _clipped(grown[first] - total)
        return ProposerSet(self.addresses, powers, tuple(grown), self.addresses[first])

    def updated(self, updates: Mapping[ConsensusAddress, int]) -> "ProposerSet":
        """The set with new powers; 0 removes a validator.

        Raises:
            InvariantBroken: a removal of somebody who is not in the set, an empty set, or too much power.
        """
        if not updates:
            return self
        members = {
            address: (power, priority)
            for address, power, priority in zip(self.addresses, self.powers, self.priorities, strict=True)
        }
        absent = [address.hex() for address, power in updates.items() if power == 0 and address not in members]
        raised = {address: members[address][0] for address in members} | {a: p for a, p in updates.items() if p}
        joined_priority = -(sum(raised.values()) + (sum(raised.values()) >> 3))
        for address, power in updates.items():
            if power:
                members[address] = (power, members[address][1] if address in members else joined_priority)
            else:
                members.pop(address, None)
        addresses = tuple(sorted(members))
        powers = tuple(members[address][0] for address in addresses)
        if absent or not addresses or sum(powers) > VOTING_POWER_MAX or min(updates.values()) < 0:
            raise InvariantBroken(
                f"a validator set of {len(addresses)} with power {sum(powers)} cannot be",
                code="validator_updates_wrong",
                removed_but_absent=absent,
            )
        priorities = _centred(_rescaled([members[address][1] for address in addresses], sum(powers)))
        return ProposerSet(addresses, powers, tuple(priorities), self.leader)


def _rescaled(priorities: list[int], total: int) -> list[int]:
    window = _WINDOW_FACTOR * total
    distance = max(priorities) - min(priorities)
    if distance <= window:
        return priorities
    ratio = -(-distance // window)
    return [priority // ratio if priority >= 0 else -(-priority // ratio) for priority in priorities]


def _centred(priorities: list[int]) -> list[int]:
    average = sum(priorities) // len(priorities)
    return [_clipped(priority - average) for priority in priorities] if average else priorities


def _clipped(value: int) -> int:
    return min(max(value, INT64_MIN), INT64_MAX)


def new_set(powers: Mapping[ConsensusAddress, int]) -> ProposerSet:
    """The set of a chain's first height, or the empty set of a network without validators."""
    return ProposerSet().updated(powers).step()


class Rotation(msgspec.Struct, frozen=True):
    """The sets of the next height to be decided and of the one after it."""

    current: ProposerSet = ProposerSet()
    following: ProposerSet = ProposerSet()

    def after(self, updates: Mapping[ConsensusAddress, int]) -> "Rotation":
        """The rotation once the next height has been decided and has returned `updates`.

        Raises:
            InvariantBroken: as `ProposerSet.updated`.
        """
        if not self.following.addresses:
            return self
        return Rotation(self.following, self.following.updated(updates).step())

    def leader(self, height_offset: int = 0, round_number: int = 0) -> ConsensusAddress:
        """Leader of a round of the height `height_offset` after the next one, if no update is decided meanwhile.

        `round_number` from 0. CometBFT enters rounds one by one or jumps; both give the same leader unless priorities
        must be rescaled on the way, which happens only right after the set has changed.
        """
        heights = self.heights()
        found = next(islice(heights, height_offset, None))
        for _ in range(round_number):
            found = found.step()
        return found.leader

    def heights(self) -> Iterator[ProposerSet]:
        """Sets of the next height, the one after it, and so on, if no update is decided meanwhile."""
        yield self.current
        later = self.following
        while True:
            yield later
            later = later.step()

    def schedule(self, count: int) -> tuple[ConsensusAddress, ...]:
        """Leaders of round 0 of the next `count` heights, if no update is decided meanwhile."""
        return tuple(proposers.leader for proposers in islice(self.heights(), count))


def new_rotation(powers: Mapping[ConsensusAddress, int]) -> Rotation:
    """Rotation before height 1, as CometBFT starts from a genesis or from InitChain's answer."""
    if not powers:
        return Rotation()
    first = new_set(powers)
    return Rotation(first, first.step())


def encode_set(proposers: ProposerSet) -> bytes:
    """[addresses, powers, priorities, leader]: 20, 8 and 8 bytes a validator; priorities in two's complement."""
    return encode_list(
        (
            encode_bytes(b"".join(proposers.addresses)),
            encode_bytes(struct.pack(f">{len(proposers.powers)}Q", *proposers.powers)),
            encode_bytes(struct.pack(f">{len(proposers.priorities)}q", *proposers.priorities)),
            encode_bytes(proposers.leader),
        )
    )


def decode_set(reader: Reader) -> ProposerSet:
    """Reads a set.

    Raises:
        CodecError: not canonical, columns of different lengths, addresses not ascending, or a leader from elsewhere.
    """
    addresses = tuple(map(ConsensusAddress, _column(reader, 20)))
    powers = tuple(int.from_bytes(entry, "big") for entry in _column(reader, 8))
    priorities = tuple(int.from_bytes(entry, "big", signed=True) for entry in _column(reader, 8))
    leader = ConsensusAddress(reader.read_bytes(size_max=20))
    reader.end()
    ascending = all(addresses[i] < addresses[i + 1] for i in range(len(addresses) - 1))
    fitting = len(addresses) == len(powers) == len(priorities) and sum(powers) <= VOTING_POWER_MAX
    if not ascending or not fitting or 0 in powers or (leader not in addresses if addresses else leader):
        raise CodecError("a set of validators that cannot be")
    return ProposerSet(addresses, powers, priorities, leader)


def _column(reader: Reader, size: int) -> Iterable[bytes]:
    data = reader.read_bytes(size_max=size * VALIDATORS_MAX)
    if len(data) % size:
        raise CodecError("a column of a validator set is cut off")
    return [data[at : at + size] for at in range(0, len(data), size)]


def encode_rotation(rotation: Rotation) -> bytes:
    """[current, following]."""
    return encode_list((encode_set(rotation.current), encode_set(rotation.following)))


def decode_rotation(reader: Reader) -> Rotation:
    """Reads a rotation. Raises CodecError as `decode_set`."""
    current = decode_set(reader.read_list("current validators"))
    following = decode_set(reader.read_list("following validators"))
    reader.end()
    return Rotation(current, following)
