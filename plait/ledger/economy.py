"""The network's economy: accounts, stake, rewards, governance and registry, as one immutable value.

    economy = [version = 1, mode, parameters, supply, clock, rotation, seats, pause, upgrade, [row, ...] per table]
    root    = RFC 6962 tree hash over: [version, mode], parameters, supply, clock, rotation, seats, pause, upgrade, and
              the root of every table, in the order of `TABLES`

Value is conserved to the last unit: `holdings(economy).total == supply.genesis + supply.issued`, always.
A network without validators has accounts, actions and a registry, and no stake.

The only way from one economy to the next is a `Draft` that `steps` works on. Level 3, pure.
"""

import struct
from typing import Any, Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError, ConfigurationError
from plait.ledger.parameters import LedgerParameters, decode_parameters, encode_parameters
from plait.ledger.proposal_records import (
    PROPOSALS,
    VOTES,
    Pause,
    ProposalRecord,
    UpgradePlan,
    VoteRecord,
    decode_pause,
    decode_upgrade,
    encode_pause,
    encode_upgrade,
)
from plait.ledger.rollup_records import DEPARTED, ROLLUPS, DepartedRollup, NetworkMode, RollupEntry
from plait.ledger.rotation import Rotation, decode_rotation, encode_rotation
from plait.ledger.stake_records import (
    ABSENCES,
    ACCOUNTS,
    DELEGATIONS,
    EVIDENCE,
    KEYS,
    MARKS,
    RELEASES,
    UNBONDINGS,
    VALIDATORS,
    Account,
    Delegation,
    EvidenceSeen,
    Mark,
    Release,
    Validator,
)
from plait.ledger.table import Table, TableKind, decode_table
from plait.limits import SUPPLY_MAX, VALIDATORS_MAX
from plait.native import merkle_root
from plait.types import Address, ConsensusAddress, Hash32

ECONOMY_VERSION: Final = 1
_MODES: Final = tuple(NetworkMode)


class Supply(msgspec.Struct, frozen=True):
    """Where tokens came from and what nobody owns, in base units."""

    genesis: int = 0
    issued: int = 0
    burned: int = 0
    pot: int = 0
    """Fees and remainders that the next distribution shares out."""


class Clock(msgspec.Struct, frozen=True):
    """Where the ledger stands, and the next number of everything that is numbered."""

    epoch: int = 0
    epoch_first_height: int = 1
    epoch_began_ms: int = 0
    """Time of the last distribution; 0 before the first sub-block."""
    next_seat: int = 1
    next_proposal_id: int = 1


class Seats(msgspec.Struct, frozen=True):
    """The announced validators, ascending by consensus address, and what each did; columns of equal length.

    A validator that leaves the set loses its seat, and gets another number when it comes back: what it missed before
    does not count twice.
    """

    addresses: tuple[ConsensusAddress, ...] = ()
    numbers: tuple[int, ...] = ()
    signed: tuple[int, ...] = ()
    """Heights of this epoch whose commit holds its vote."""
    missed: tuple[int, ...] = ()
    """Heights of the downtime window whose commit lacks it."""
    missed_in_epoch: tuple[int, ...] = ()
    led: tuple[int, ...] = ()
    """Decided proposals of this epoch that it made."""
    leads_missed: tuple[int, ...] = ()
    """Heights of this epoch that it should have led in round 0 and another proposed."""


class Economy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the ledger knows besides the rollups' heads."""

    mode: NetworkMode
    parameters: LedgerParameters
    supply: Supply
    clock: Clock
    rotation: Rotation
    seats: Seats
    pause: Pause
    upgrade: UpgradePlan | None
    accounts: Table[Account]
    validators: Table[Validator]
    keys: Table[Address]
    """Operator of every consensus address."""
    delegations: Table[Delegation]
    marks: Table[Mark]
    unbondings: Table[int]
    releases: Table[Release]
    absences: Table[bytes]
    evidence: Table[EvidenceSeen]
    proposals: Table[ProposalRecord]
    votes: Table[VoteRecord]
    rollups: Table[RollupEntry]
    departed: Table[DepartedRollup]


TABLES: Final[tuple[TableKind[Any], ...]] = (
    ACCOUNTS,
    VALIDATORS,
    KEYS,
    DELEGATIONS,
    MARKS,
    UNBONDINGS,
    RELEASES,
    ABSENCES,
    EVIDENCE,
    PROPOSALS,
    VOTES,
    ROLLUPS,
    DEPARTED,
)
"""Kinds of all tables; a kind's name is the attribute of `Economy`."""


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Where all tokens are, in base units."""

    accounts: int
    bonded: int
    rewards: int
    commission: int
    unbonding: int
    deposits: int
    escrows: int
    pot: int
    burned: int

    @property
    def total(self) -> int:
        """Their sum; equal to what genesis and issuance made."""
        return sum(msgspec.structs.astuple(self))


def holdings(economy: Economy) -> Holdings:
    """Adds up every place that holds tokens; linear in the tables, for checks and answers to people."""
    validators = [validator for _, validator in economy.validators.items()]
    return Holdings(
        accounts=sum(account.balance for _, account in economy.accounts.items()),
        bonded=sum(validator.tokens for validator in validators),
        rewards=sum(validator.rewards for validator in validators),
        commission=sum(validator.commission for validator in validators),
        unbonding=sum(amount for _, amount in economy.unbondings.items()),
        deposits=sum(proposal.deposit for _, proposal in economy.proposals.items()),
        escrows=sum(entry.escrow for _, entry in economy.rollups.items()),
        pot=economy.supply.pot,
        burned=economy.supply.burned,
    )


def empty_economy(mode: NetworkMode, parameters: LedgerParameters) -> Economy:
    """An economy that holds nothing."""
    return Economy(
        mode=mode,
        parameters=parameters,
        supply=Supply(),
        clock=Clock(),
        rotation=Rotation(),
        seats=Seats(),
        pause=Pause(),
        upgrade=None,
        **{kind.name: Table(kind) for kind in TABLES},
    )


def economy_root(economy: Economy) -> Hash32:
    """Tree hash over the parts and the roots of the tables."""
    return Hash32(merkle_root(economy_leaves(economy)))


def economy_leaves(economy: Economy) -> list[bytes]:
    """Leaves of the economy's tree: its parts, then the root of every table."""
    return [*_encode_parts(economy), *(getattr(economy, kind.name).root() for kind in TABLES)]


def _encode_parts(economy: Economy) -> list[bytes]:
    return [
        encode_list((encode_uint(ECONOMY_VERSION), encode_uint(_MODES.index(economy.mode)))),
        encode_parameters(economy.parameters),
        encode_list(map(encode_uint, msgspec.structs.astuple(economy.supply))),
        encode_list(map(encode_uint, msgspec.structs.astuple(economy.clock))),
        encode_rotation(economy.rotation),
        _encode_seats(economy.seats),
        encode_pause(economy.pause),
        encode_list(() if economy.upgrade is None else (encode_upgrade(economy.upgrade),)),
    ]


def encode_economy(economy: Economy) -> bytes:
    """Canonical bytes of the whole economy."""
    tables = (encode_list(getattr(economy, kind.name).leaves()) for kind in TABLES)
    return encode_list((*_encode_parts(economy), *tables))


def decode_economy(data: bytes) -> Economy:
    """Reads canonical bytes.

    Raises:
        CodecError: not canonical, another version, or values that no economy has; tokens that are not accounted for.
    """
    outer = Reader(data, what="economy")
    reader = outer.read_list("economy")
    outer.end()
    head = reader.read_list("economy head")
    version = head.read_uint(255)
    if version != ECONOMY_VERSION:
        raise CodecError(f"economy version {version} is not known here", code="codec_version_unknown", version=version)
    mode = _MODES[head.read_uint(len(_MODES) - 1)]
    head.end()
    try:
        parameters = decode_parameters(reader.read_list("ledger parameters"))
    except ConfigurationError as error:
        raise CodecError(f"the economy holds an unusable parameter: {error.message}", **error.fields) from error
    supply = Supply(*_read_uints(reader.read_list("supply"), 4, SUPPLY_MAX))
    clock = Clock(*_read_uints(reader.read_list("clock"), 5, 2**64 - 1))
    rotation = decode_rotation(reader.read_list("rotation"))
    seats = _decode_seats(reader.read_list("seats"))
    pause = decode_pause(reader.read_list("pause"))
    planned = reader.read_list("upgrade")
    upgrade = decode_upgrade(planned.read_list("upgrade plan")) if planned.more else None
    planned.end()
    tables = {kind.name: decode_table(kind, reader.read_list(kind.name)) for kind in TABLES}
    reader.end()
    economy = Economy(
        mode=mode,
        parameters=parameters,
        supply=supply,
        clock=clock,
        rotation=rotation,
        seats=seats,
        pause=pause,
        upgrade=upgrade,
        **tables,
    )
    if holdings(economy).total != supply.genesis + supply.issued:
        raise CodecError("the economy's tokens do not add up to what was made", code="economy_not_conserved")
    return economy


def _read_uints(reader: Reader, count: int, maximum: int) -> list[int]:
    values = [reader.read_uint(maximum) for _ in range(count)]
    reader.end()
    return values


def _packed(column: tuple[int, ...]) -> bytes:
    return struct.pack(f">{len(column)}I", *column)


def _encode_seats(seats: Seats) -> bytes:
    columns = (seats.numbers, seats.signed, seats.missed, seats.missed_in_epoch, seats.led, seats.leads_missed)
    return encode_list((encode_bytes(b"".join(seats.addresses)), *(encode_bytes(_packed(c)) for c in columns)))


def _decode_seats(reader: Reader) -> Seats:
    data = reader.read_bytes(size_max=20 * VALIDATORS_MAX)
    addresses = tuple(ConsensusAddress(data[at : at + 20]) for at in range(0, len(data), 20))
    columns = []
    for _ in range(6):
        column = reader.read_bytes(size=4 * len(addresses))
        columns.append(struct.unpack(f">{len(addresses)}I", column))
    reader.end()
    ascending = all(addresses[i] < addresses[i + 1] for i in range(len(addresses) - 1))
    if len(data) % 20 or not ascending:
        raise CodecError("seats are not strictly ascending by address")
    return Seats(addresses, *columns)
