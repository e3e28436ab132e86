"""Rows of the tables of accounts and stake, with their canonical bytes.

    accounts     key operator or delegator (20)                 [balance, nonce]
    validators   key operator (20)                              [public_key, name, tokens, shares, ...] as `Validator`
    keys         key consensus address (20)                     [operator]
    delegations  key delegator (20) || operator (20)            [shares, index, pending_shares, pending_epoch]
    marks        key operator (20) || epoch (8)                 [index, waiting]
    unbondings   key epoch (8) || operator (20) || delegator (20)    [amount]
    releases     key epoch (8)                                  [height, time_ms]
    absences     key height (8)                                 [seats]  four bytes a seat number, ascending
    evidence     key height (8) || kind (1) || consensus address (20)  [time_ms, seen_height]

Every integer of a key is big-endian, so that the order of keys is the order of numbers. Level 3, pure.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.ledger.table import TableKind
from plait.limits import ACTION_NAME_BYTES_MAX, SUPPLY_MAX
from plait.types import Address, ConsensusAddress
from plait.types.action import PPM

INDEX_SCALE: Final = 10**36
"""Rewards per share are kept times this, rounded down."""
INDEX_MAX: Final = 2**256 - 1
_UINT64: Final = 2**64 - 1


class Account(msgspec.Struct, frozen=True):
    """Spendable tokens of an address and the number of its next action."""

    balance: int = 0
    nonce: int = 0


class Validator(msgspec.Struct, frozen=True, kw_only=True):
    """A validator; its key in the table is its operator's address."""

    public_key: bytes
    """Ed25519, 32 bytes: what CometBFT knows it by."""
    name: str
    tokens: int
    """Base units bonded to it."""
    shares: int
    """Claims on `tokens`; a delegation's worth is tokens * its shares // shares."""
    pending_shares: int = 0
    """Shares delegated during `pending_epoch`; they earn from the next epoch on."""
    pending_epoch: int = 0
    commission_ppm: int = 0
    commission_max_ppm: int = 0
    commission_step_ppm: int = 0
    """Greatest distance from the commission at the epoch's begin."""
    commission_base_ppm: int = 0
    """Commission before the first change in `commission_epoch`."""
    commission_epoch: int = 0
    index: int = 0
    """Rewards of one share since the beginning, times INDEX_SCALE."""
    rewards: int = 0
    """Base units that delegators have earned and not yet been paid, with what rounding left over."""
    commission: int = 0
    """Base units that the operator may withdraw."""
    power: int = 0
    """Voting power that was announced last; acts two heights after it changed."""
    jailed: bool = False
    jailed_until_ms: int = 0
    tombstoned: bool = False
    """Caught signing two things; never returns."""
    leaving: bool = False
    created_height: int = 0
    idle_height: int = 0
    """Height at which its power last fell to 0; 0 while it has power or never had."""
    heights_signed: int = 0
    heights_missed: int = 0
    blocks_led: int = 0
    leads_missed: int = 0
    """Times that it was the first leader of a height and another's proposal was decided."""

    @property
    def bonded(self) -> bool:
        """Whether it is in the announced set, so that its stake counts."""
        return self.power > 0


class Delegation(msgspec.Struct, frozen=True):
    """A delegator's part of a validator."""

    shares: int
    """All of them, the pending ones included."""
    index: int
    """The validator's index up to which the shares that are not pending were paid."""
    pending_shares: int = 0
    pending_epoch: int = 0


class Mark(msgspec.Struct, frozen=True):
    """A validator's index at the end of an epoch, for shares that began to earn there."""

    index: int
    waiting: int
    """Delegations whose pending shares still need it."""


class Release(msgspec.Struct, frozen=True):
    """When the voting power of stake that was unbonded in an epoch ended."""

    height: int
    time_ms: int


class EvidenceSeen(msgspec.Struct, frozen=True):
    """Evidence that was acted on, remembered until it would be too old."""

    time_ms: int
    seen_height: int


def _encode_account(account: Account) -> bytes:
    return encode_list((encode_uint(account.balance), encode_uint(account.nonce)))


def _decode_account(reader: Reader) -> Account:
    account = Account(reader.read_uint(SUPPLY_MAX), reader.read_uint())
    reader.end()
    return account


def _encode_validator(v: Validator) -> bytes:
    flags = v.jailed + 2 * v.tombstoned + 4 * v.leaving
    numbers = (
        v.tokens,
        v.shares,
        v.pending_shares,
        v.pending_epoch,
        v.commission_ppm,
        v.commission_max_ppm,
        v.commission_step_ppm,
        v.commission_base_ppm,
        v.commission_epoch,
        v.index,
        v.rewards,
        v.commission,
        v.power,
        flags,
        v.jailed_until_ms,
        v.created_height,
        v.idle_height,
        v.heights_signed,
        v.heights_missed,
        v.blocks_led,
        v.leads_missed,
    )
    return encode_list((encode_bytes(v.public_key), encode_bytes(v.name.encode()), *map(encode_uint, numbers)))


def _decode_validator(reader: Reader) -> Validator:
    public_key = reader.read_bytes(size=32)
    name = _read_name(reader)
    tokens = reader.read_uint(SUPPLY_MAX)
    shares = reader.read_uint(INDEX_MAX)
    pending_shares, pending_epoch = reader.read_uint(INDEX_MAX), reader.read_uint()
    rates = [reader.read_uint(PPM) for _ in range(4)]
    commission_epoch = reader.read_uint()
    index, rewards, commission = reader.read_uint(INDEX_MAX), reader.read_uint(SUPPLY_MAX), reader.read_uint(SUPPLY_MAX)
    power, flags, jailed_until_ms = reader.read_uint(), reader.read_uint(7), reader.read_uint()
    created_height, idle_height = reader.read_uint(), reader.read_uint()
    signed, missed, led, leads_missed = (reader.read_uint() for _ in range(4))
    reader.end()
    return Validator(
        public_key=public_key,
        name=name,
        tokens=tokens,
        shares=shares,
        pending_shares=pending_shares,
        pending_epoch=pending_epoch,
        commission_ppm=rates[0],
        commission_max_ppm=rates[1],
        commission_step_ppm=rates[2],
        commission_base_ppm=rates[3],
        commission_epoch=commission_epoch,
        index=index,
        rewards=rewards,
        commission=commission,
        power=power,
        jailed=bool(flags & 1),
        jailed_until_ms=jailed_until_ms,
        tombstoned=bool(flags & 2),
        leaving=bool(flags & 4),
        created_height=created_height,
        idle_height=idle_height,
        heights_signed=signed,
        heights_missed=missed,
        blocks_led=led,
        leads_missed=leads_missed,
    )


def _read_name(reader: Reader) -> str:
    data = reader.read_bytes(size_max=ACTION_NAME_BYTES_MAX)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CodecError("a validator's name is not UTF-8") from error


def _encode_operator(operator: Address) -> bytes:
    return encode_list((encode_bytes(operator),))


def _decode_operator(reader: Reader) -> Address:
    operator = Address(reader.read_bytes(size=20))
    reader.end()
    return operator


def _encode_delegation(delegation: Delegation) -> bytes:
    return encode_list(map(encode_uint, msgspec.structs.astuple(delegation)))


def _decode_delegation(reader: Reader) -> Delegation:
    delegation = Delegation(
        reader.read_uint(INDEX_MAX), reader.read_uint(INDEX_MAX), reader.read_uint(INDEX_MAX), reader.read_uint()
    )
    reader.end()
    if not 0 < delegation.shares >= delegation.pending_shares:
        raise CodecError("a delegation without shares, or with more pending ones than there are")
    return delegation


def _encode_mark(mark: Mark) -> bytes:
    return encode_list((encode_uint(mark.index), encode_uint(mark.waiting)))


def _decode_mark(reader: Reader) -> Mark:
    mark = Mark(reader.read_uint(INDEX_MAX), reader.read_uint())
    reader.end()
    return mark


def _encode_amount(amount: int) -> bytes:
    return encode_list((encode_uint(amount),))


def _decode_amount(reader: Reader) -> int:
    amount = reader.read_uint(SUPPLY_MAX)
    reader.end()
    return amount


def _encode_release(release: Release) -> bytes:
    return encode_list((encode_uint(release.height), encode_uint(release.time_ms)))


def _decode_release(reader: Reader) -> Release:
    release = Release(reader.read_uint(), reader.read_uint())
    reader.end()
    return release


def _encode_seats(seats: bytes) -> bytes:
    return encode_list((encode_bytes(seats),))


def _decode_seats(reader: Reader) -> bytes:
    seats = reader.read_bytes()
    reader.end()
    if not seats or len(seats) % 4:
        raise CodecError("an absence row is empty or cut off")
    return seats


def _encode_evidence(seen: EvidenceSeen) -> bytes:
    return encode_list((encode_uint(seen.time_ms), encode_uint(seen.seen_height)))


def _decode_evidence(reader: Reader) -> EvidenceSeen:
    seen = EvidenceSeen(reader.read_uint(), reader.read_uint())
    reader.end()
    return seen


ACCOUNTS: Final = TableKind[Account]("accounts", 20, _encode_account, _decode_account)
VALIDATORS: Final = TableKind[Validator]("validators", 20, _encode_validator, _decode_validator)
KEYS: Final = TableKind[Address]("keys", 20, _encode_operator, _decode_operator)
DELEGATIONS: Final = TableKind[Delegation]("delegations", 40, _encode_delegation, _decode_delegation)
MARKS: Final = TableKind[Mark]("marks", 28, _encode_mark, _decode_mark)
UNBONDINGS: Final = TableKind[int]("unbondings", 48, _encode_amount, _decode_amount)
RELEASES: Final = TableKind[Release]("releases", 8, _encode_release, _decode_release)
ABSENCES: Final = TableKind[bytes]("absences", 8, _encode_seats, _decode_seats)
EVIDENCE: Final = TableKind[EvidenceSeen]("evidence", 29, _encode_evidence, _decode_evidence)


def uint64_key(number: int) -> bytes:
    """Key of a table whose rows are numbered."""
    return number.to_bytes(8, "big")


def delegation_key(delegator: bytes, operator: bytes) -> bytes:
    """Key of the table of delegations."""
    return delegator + operator


def mark_key(operator: bytes, epoch: int) -> bytes:
    """Key of the table of marks."""
    return operator + epoch.to_bytes(8, "big")


def unbonding_key(epoch: int, operator: bytes, delegator: bytes) -> bytes:
    """Key of the table of unbondings."""
    return epoch.to_bytes(8, "big") + operator + delegator


def evidence_key(height: int, kind: int, address: ConsensusAddress) -> bytes:
    """Key of the table of evidence."""
    return height.to_bytes(8, "big") + kind.to_bytes(1, "big") + address
