"""Who took part: votes in commits, missed heights in a sliding window, and leaders that missed their turn.

The commit of the height before tells for every validator whether its vote is there. A vote for nil counts as taking
part; an absent one is a miss. Misses of the last `downtime_window_heights` heights are counted per seat; a height at
which nobody was absent costs nothing. A validator that misses more than `downtime_missed_max_ppm` of the window is
slashed and jailed, unless it is the last one.

A height's first leader misses its turn when the decided proposal is another's: it was late, or what it proposed was
not accepted. That is counted and reported. Level 3, pure.
"""

from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Seats
from plait.ledger.happenings import LeadMissed
from plait.ledger.membership import is_last
from plait.ledger.slashing import Fault, punish
from plait.ledger.stake_records import uint64_key
from plait.limits import ABSENCES_EXPIRED_PER_SUB_BLOCK_MAX
from plait.types import Agreed, BlockIdFlag, ConsensusAddress
from plait.types.action import PPM


def count_participation(draft: Draft, ctx: SubBlockContext, agreed: Agreed) -> None:
    """Counts one height's votes and leader, and jails who missed too much."""
    seats = draft.seats
    if not seats.addresses:
        return
    position = dict(zip(seats.addresses, range(len(seats.addresses)), strict=True))
    signed, absent = list(seats.signed), []
    for vote in agreed.votes:
        at = position.get(vote.address)
        if at is None:
            continue
        if vote.flag == BlockIdFlag.ABSENT:
            absent.append(at)
        else:
            signed[at] += 1
    led, leads_missed = _count_leader(draft, ctx, agreed, position)
    missed, missed_in_epoch = seats.missed, seats.missed_in_epoch
    if absent:
        missed, missed_in_epoch = _raised(missed, absent), _raised(missed_in_epoch, absent)
        numbers = sorted(seats.numbers[at] for at in absent)
        draft.absences.put(uint64_key(ctx.height), b"".join(number.to_bytes(4, "big") for number in numbers))
    missed = _expired(draft, ctx, missed)
    draft.seats = Seats(seats.addresses, seats.numbers, tuple(signed), missed, missed_in_epoch, led, leads_missed)
    allowed = draft.parameters.downtime_window_heights * draft.parameters.downtime_missed_max_ppm // PPM
    for at in absent:
        if missed[at] > allowed:
            _jail(draft, ctx, seats.addresses[at])


def _raised(column: tuple[int, ...], positions: list[int]) -> tuple[int, ...]:
    values = list(column)
    for at in positions:
        values[at] += 1
    return tuple(values)


def _count_leader(
    draft: Draft, ctx: SubBlockContext, agreed: Agreed, position: dict[ConsensusAddress, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    seats, leader, proposer = draft.seats, draft.rotation.current.leader, agreed.proposer
    led, leads_missed = seats.led, seats.leads_missed
    if proposer in position:
        led = _raised(led, [position[proposer]])
    if proposer and proposer != leader:
        if leader in position:
            leads_missed = _raised(leads_missed, [position[leader]])
        draft.emit(LeadMissed(height=ctx.height, leader=leader, proposer=proposer))
    return led, leads_missed


def _expired(draft: Draft, ctx: SubBlockContext, missed: tuple[int, ...]) -> tuple[int, ...]:
    """Takes back the misses of heights that have left the window."""
    newest_old = ctx.height - draft.parameters.downtime_window_heights
    rows: list[tuple[bytes, bytes]] = []
    for key, numbers in draft.absences.items():
        if int.from_bytes(key, "big") > newest_old or len(rows) == ABSENCES_EXPIRED_PER_SUB_BLOCK_MAX:
            break
        rows.append((key, numbers))
    if not rows:
        return missed
    position = dict(zip(draft.seats.numbers, range(len(draft.seats.numbers)), strict=True))
    values = list(missed)
    for key, numbers in rows:
        draft.absences.remove(key)
        for start in range(0, len(numbers), 4):
            at = position.get(int.from_bytes(numbers[start : start + 4], "big"))
            if at is not None:
                values[at] -= 1
    return tuple(values)


def _jail(draft: Draft, ctx: SubBlockContext, address: ConsensusAddress) -> None:
    operator = draft.keys.get(address)
    validator = draft.validators.get(operator) if operator is not None else None
    if operator is None or validator is None or is_last(draft, validator):
        return
    punish(draft, ctx, operator, Fault(name="downtime", height=ctx.height - 1))
