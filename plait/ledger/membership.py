"""The announced validator set: who holds which power and which seat, and what the engine has to be told.

A validator's announced power changes in one place, `set_power`: it gives and takes seats and remembers the change for
the end of the sub-block, where `announce` turns all changes into updates for the engine and moves the rotation on.
The set never becomes empty: its last member keeps its power whatever it did. Level 3, pure.
"""

from msgspec.structs import astuple, replace

from plait.errors import InvariantBroken
from plait.ledger.draft import Draft
from plait.ledger.economy import Seats
from plait.ledger.happenings import PowerChanged
from plait.ledger.parameters import TOKEN
from plait.ledger.stake_records import Validator, delegation_key
from plait.types import Address, ConsensusAddress, ValidatorUpdate
from plait.types.consensus import consensus_address


def set_power(draft: Draft, height: int, operator: Address, power: int) -> None:
    """Announces another power for a validator; 0 takes it out of the set."""
    validator = draft.validators.get(operator)
    if validator is None:
        raise InvariantBroken("power for nobody", code="ledger_seat_wrong", operator=operator.hex())
    if validator.power == power:
        return
    address = consensus_address(validator.public_key)
    after = replace(validator, power=power, idle_height=0 if power else height)
    if validator.power == 0:
        draft.seats = _with_seat(draft.seats, address, draft.clock.next_seat)
        draft.clock = replace(draft.clock, next_seat=draft.clock.next_seat + 1)
    elif power == 0:
        after = _with_deeds(after, draft.seats, draft.seats.addresses.index(address))
        draft.seats = _without_seat(draft.seats, address)
    draft.validators.put(operator, after)
    draft.power_changes = (*draft.power_changes, (operator, power))
    draft.emit(PowerChanged(operator=operator, before=validator.power, after=power))


def is_last(draft: Draft, validator: Validator) -> bool:
    """Whether a validator is the only one of the set."""
    return validator.power > 0 and len(draft.seats.addresses) == 1


def choose(draft: Draft, height: int) -> None:
    """The set of the next epoch: the validators with the most tokens, the smaller operator address first among equals.

    When nobody may stand, the set stays as it is.
    """
    standing = sorted(
        (-validator.tokens, Address(operator))
        for operator, validator in draft.validators.items()
        if may_stand(draft, Address(operator), validator)
    )[: draft.parameters.validators_max]
    if not standing:
        return
    chosen = {operator: -negative // TOKEN for negative, operator in standing}
    leaving = [Address(operator) for operator, v in draft.validators.items() if v.power and operator not in chosen]
    for _, operator in standing:
        set_power(draft, height, operator, chosen[operator])
    for operator in leaving:
        set_power(draft, height, operator, 0)


def may_stand(draft: Draft, operator: Address, validator: Validator) -> bool:
    """Whether a validator can be in the set: free, with a whole token, and with enough stake of its operator."""
    if validator.jailed or validator.tombstoned or validator.leaving or validator.tokens < TOKEN:
        return False
    own = draft.delegations.get(delegation_key(operator, operator))
    worth = 0 if own is None else validator.tokens * own.shares // validator.shares
    return worth >= draft.parameters.self_stake_min


def begin_epoch_for_seats(draft: Draft) -> None:
    """Adds what every seat did in the epoch to its validator's record, and counts anew."""
    seats = draft.seats
    for position, address in enumerate(seats.addresses):
        operator = draft.keys.get(address)
        validator = draft.validators.get(operator) if operator is not None else None
        if operator is None or validator is None:
            raise InvariantBroken("a seat has no validator", code="ledger_seat_wrong", address=address.hex())
        after = _with_deeds(validator, seats, position)
        if after != validator:
            draft.validators.put(operator, after)
    zeros = (0,) * len(seats.addresses)
    draft.seats = replace(seats, signed=zeros, missed_in_epoch=zeros, led=zeros, leads_missed=zeros)


def announce(draft: Draft) -> tuple[ValidatorUpdate, ...]:
    """Moves the rotation to the next height; returns what changes, ascending by consensus address."""
    powers: dict[ConsensusAddress, int] = {}
    keys: dict[ConsensusAddress, bytes] = {}
    following = draft.rotation.following
    for operator, power in draft.power_changes:
        validator = draft.validators.get(operator)
        if validator is None:
            raise InvariantBroken("an announced validator is gone", code="ledger_seat_wrong", operator=operator.hex())
        address = consensus_address(validator.public_key)
        powers[address], keys[address] = power, validator.public_key
    changed = {address: powers[address] for address in sorted(powers) if following.power_of(address) != powers[address]}
    draft.rotation = draft.rotation.after(changed)
    draft.power_changes = ()
    return tuple(ValidatorUpdate(keys[address], power) for address, power in changed.items())


def _with_deeds(validator: Validator, seats: Seats, position: int) -> Validator:
    return replace(
        validator,
        heights_signed=validator.heights_signed + seats.signed[position],
        heights_missed=validator.heights_missed + seats.missed_in_epoch[position],
        blocks_led=validator.blocks_led + seats.led[position],
        leads_missed=validator.leads_missed + seats.leads_missed[position],
    )


def _with_seat(seats: Seats, address: ConsensusAddress, number: int) -> Seats:
    at = sum(1 for other in seats.addresses if other < address)
    values = (address, number, *(0,) * (len(Seats.__struct_fields__) - 2))
    return Seats(*((*column[:at], value, *column[at:]) for column, value in zip(astuple(seats), values, strict=True)))


def _without_seat(seats: Seats, address: ConsensusAddress) -> Seats:
    at = seats.addresses.index(address)
    return Seats(*((*column[:at], *column[at + 1 :]) for column in astuple(seats)))
