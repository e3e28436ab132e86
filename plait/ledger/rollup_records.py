"""What the registry keeps in the ledger: every rollup's owner, parameters, terms, escrow and schedule; who left.

    rollup    = [id, owner, status, parameters, genesis, terms, revenue_recipient, escrow, arrears, charged_slot,
                 transactions, update, leave_slot, leave_reason, joining?]
    joining   = [bound_number, lapse_slot, anchor | "", join_slot]                  of a chain that existed; left out
                                                                                    for others
    genesis   = [] | [fork, base_fee, fee_recipient, [[account, balance], ...]]     [] for rollups of the network's own
                                                                                    genesis, whose files nodes have
    terms     = [] | [fee_per_slot, fee_per_transaction, revenue_share_ppm]         [] : the published ones
    update    = [] | [slot, parameters, revenue_recipient]
    departed  = [id, owner, genesis_hash, left_slot, head_number, head_hash, reason]
    parameters: every field of RollupParameters in its order; ordering 0 priority_fee, 1 arrival

Both tables are keyed by the rollup id as 8 bytes big-endian. Level 3, pure.
"""

from enum import IntEnum, StrEnum
from typing import Any, Final

import msgspec

from plait.codec.rlp import EMPTY_LIST, Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.anchor import Anchor, decode_anchor
from plait.errors import CodecError
from plait.ledger.table import TableKind
from plait.limits import ROLLUP_ANCHOR_BYTES_MAX, ROLLUP_FUNDED_ACCOUNTS_MAX
from plait.types.action import AMOUNT_MAX, PPM, FundedAccount
from plait.types.identifiers import Address, BlockNumber, Hash32, RollupId, Slot
from plait.types.network import OrderingPolicy, RollupParameters
from plait.types.quantities import Amount, Wei

ORDERINGS: Final = (OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL)
"""By their numbers on the wire."""
FORKS: Final = ("holocene", "isthmus", "jovian")
"""OP Stack forks that a registered rollup may start with, by their numbers on the wire."""
NEVER: Final = Slot(0)
"""A slot that stands for none."""


class NetworkMode(StrEnum):
    """Who may bring rollups to the network; fixed at its genesis."""

    MARKETPLACE = "marketplace"
    """Everyone, under the published fees."""
    PROTOCOL_SPECIFIC = "protocol_specific"
    """Nobody: the rollups of the genesis, under their own terms; a vote may remove one."""
    SINGLE_OPERATOR = "single_operator"
    """The operator of the only validator."""


class RollupStatus(IntEnum):
    """Where a registered rollup stands."""

    PENDING = 1
    """Joins at its start slot; a chain that existed, at its join slot."""
    ACTIVE = 2
    BOUND = 3
    """A chain that existed: what L1 says to it is agreed on, and no anchor is named yet."""


class LeaveReason(IntEnum):
    """Why a rollup leaves."""

    STAYS = 0
    OWNER = 1
    GOVERNANCE = 2
    ESCROW_EMPTY = 3


class RollupTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup's own fees, base units of PLAIT; without them the published ones hold."""

    fee_per_slot: Amount
    fee_per_transaction: Amount
    revenue_share_ppm: int
    """Part of the transaction fees that goes back to the rollup's revenue recipient."""


class RollupGenesis(msgspec.Struct, frozen=True, kw_only=True):
    """What a node needs, beside the parameters, to build block 0 of a registered rollup."""

    fork: str
    base_fee: Wei
    fee_recipient: Address
    balances: tuple[FundedAccount, ...]


class ScheduledUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that hold from the block that begins at `slot`."""

    slot: Slot
    parameters: RollupParameters
    revenue_recipient: Address


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """How a chain that existed comes, or came, into a running network."""

    bound_number: BlockNumber
    """Agreed L1 head when it was bound: what later L1 blocks say to it is agreed on."""
    lapse_slot: Slot
    """At which it is let go while it has no anchor."""
    anchor: Anchor | None = None
    join_slot: Slot = NEVER
    """From which the network sequences it; 0 without an anchor."""


class RollupEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup of the registry."""

    rollup_id: RollupId
    owner: Address
    status: RollupStatus
    parameters: RollupParameters
    genesis: RollupGenesis | None
    terms: RollupTerms | None
    revenue_recipient: Address
    escrow: Amount
    arrears: Amount = Amount(0)
    """Fees that the escrow could not pay."""
    charged_slot: Slot
    """Slots before this one are paid."""
    transactions: int = 0
    """Ordered and not charged yet."""
    update: ScheduledUpdate | None = None
    leave_slot: Slot = NEVER
    """The first slot that no block of it covers any more; 0: it stays."""
    leave_reason: LeaveReason = LeaveReason.STAYS
    joining: Joining | None = None
    """Of a chain that existed before it joined; None for others."""

    @property
    def begins_slot(self) -> Slot:
        """The slot at which a pending rollup joins."""
        return self.parameters.start_slot if self.joining is None else self.joining.join_slot

    @property
    def leaves(self) -> bool:
        """Whether its departure is scheduled."""
        return self.leave_reason is not LeaveReason.STAYS


class DepartedRollup(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup that left; its id is never used again."""

    rollup_id: RollupId
    owner: Address
    genesis_hash: Hash32
    left_slot: Slot
    head_number: BlockNumber
    head_hash: Hash32
    reason: LeaveReason


def rollup_key(rollup_id: int) -> bytes:
    """Key of a rollup in both tables."""
    return rollup_id.to_bytes(8, "big")


def encode_rollup(entry: RollupEntry) -> bytes:
    """Canonical bytes of a rollup."""
    update = entry.update
    update_bytes = EMPTY_LIST
    if update is not None:
        parts = (encode_uint(update.slot), encode_rollup_parameters(update.parameters))
        update_bytes = encode_list((*parts, encode_bytes(update.revenue_recipient)))
    terms = () if entry.terms is None else msgspec.structs.astuple(entry.terms)
    return encode_list(
        (
            encode_uint(entry.rollup_id),
            encode_bytes(entry.owner),
            encode_uint(entry.status),
            encode_rollup_parameters(entry.parameters),
            _encode_genesis(entry.genesis),
            encode_list(map(encode_uint, terms)),
            encode_bytes(entry.revenue_recipient),
            encode_uint(entry.escrow),
            encode_uint(entry.arrears),
            encode_uint(entry.charged_slot),
            encode_uint(entry.transactions),
            update_bytes,
            encode_uint(entry.leave_slot),
            encode_uint(entry.leave_reason),
            *(() if entry.joining is None else (_encode_joining(entry.joining),)),
        )
    )


def decode_rollup(reader: Reader) -> RollupEntry:
    """Reads a rollup.

    Raises:
        CodecError: not canonical or out of range.
    """
    rollup_id, owner = RollupId(reader.read_uint()), Address(reader.read_bytes(size=20))
    status = _read_enum(reader, RollupStatus)
    parameters = decode_rollup_parameters(reader.read_list("rollup parameters"))
    genesis = _decode_genesis(reader.read_list("rollup genesis"))
    listed = reader.read_list("rollup terms")
    terms = None
    if listed.more:
        terms = RollupTerms(
            fee_per_slot=Amount(listed.read_uint(AMOUNT_MAX)),
            fee_per_transaction=Amount(listed.read_uint(AMOUNT_MAX)),
            revenue_share_ppm=listed.read_uint(PPM),
        )
    listed.end()
    revenue_recipient = Address(reader.read_bytes(size=20))
    escrow, arrears = Amount(reader.read_uint(AMOUNT_MAX)), Amount(reader.read_uint(AMOUNT_MAX))
    charged_slot, transactions = Slot(reader.read_uint()), reader.read_uint()
    listed = reader.read_list("rollup update")
    update = None
    if listed.more:
        update = ScheduledUpdate(
            slot=Slot(listed.read_uint()),
            parameters=decode_rollup_parameters(listed.read_list("rollup parameters")),
            revenue_recipient=Address(listed.read_bytes(size=20)),
        )
    listed.end()
    leave_slot = Slot(reader.read_uint())
    leave_reason = _read_enum(reader, LeaveReason)
    joining = _decode_joining(reader.read_list("joining")) if reader.more else None
    reader.end()
    if parameters.rollup_id != rollup_id or (update is not None and update.parameters.rollup_id != rollup_id):
        raise CodecError("a rollup's parameters name another rollup", rollup_id=rollup_id)
    return RollupEntry(
        rollup_id=rollup_id,
        owner=owner,
        status=status,
        parameters=parameters,
        genesis=genesis,
        terms=terms,
        revenue_recipient=revenue_recipient,
        escrow=escrow,
        arrears=arrears,
        charged_slot=charged_slot,
        transactions=transactions,
        update=update,
        leave_slot=leave_slot,
        leave_reason=leave_reason,
        joining=joining,
    )


def encode_departed(record: DepartedRollup) -> bytes:
    """Canonical bytes of a rollup that left."""
    return encode_list(
        (
            encode_uint(record.rollup_id),
            encode_bytes(record.owner),
            encode_bytes(record.genesis_hash),
            encode_uint(record.left_slot),
            encode_uint(record.head_number),
            encode_bytes(record.head_hash),
            encode_uint(record.reason),
        )
    )


def decode_departed(reader: Reader) -> DepartedRollup:
    """Reads a rollup that left.

    Raises:
        CodecError: not canonical or out of range.
    """
    record = DepartedRollup(
        rollup_id=RollupId(reader.read_uint()),
        owner=Address(reader.read_bytes(size=20)),
        genesis_hash=Hash32(reader.read_bytes(size=32)),
        left_slot=Slot(reader.read_uint()),
        head_number=BlockNumber(reader.read_uint()),
        head_hash=Hash32(reader.read_bytes(size=32)),
        reason=_read_enum(reader, LeaveReason),
    )
    reader.end()
    return record


def encode_rollup_parameters(parameters: RollupParameters) -> bytes:
    """Every field in its order."""
    return encode_list(_encode_parameter(getattr(parameters, name)) for name in RollupParameters.__struct_fields__)


def decode_rollup_parameters(reader: Reader) -> RollupParameters:
    """Reads what `encode_rollup_parameters` wrote; ranges are the caller's to check.

    Raises:
        CodecError: not canonical.
    """
    values: dict[str, Any] = {}
    for name in RollupParameters.__struct_fields__:
        if name == "genesis_hash":
            values[name] = Hash32(reader.read_bytes(size=32))
        elif name == "ordering":
            values[name] = ORDERINGS[reader.read_uint(len(ORDERINGS) - 1)]
        else:
            values[name] = reader.read_uint()
    reader.end()
    return RollupParameters(**values)


def _encode_parameter(value: Any) -> bytes:
    if isinstance(value, bytes):
        return encode_bytes(value)
    return encode_uint(ORDERINGS.index(value) if isinstance(value, OrderingPolicy) else value)


def _encode_genesis(genesis: RollupGenesis | None) -> bytes:
    if genesis is None:
        return EMPTY_LIST
    balances = (encode_list((encode_bytes(entry.account), encode_uint(entry.balance))) for entry in genesis.balances)
    parts = (encode_uint(FORKS.index(genesis.fork)), encode_uint(genesis.base_fee))
    return encode_list((*parts, encode_bytes(genesis.fee_recipient), encode_list(balances)))


def _decode_genesis(reader: Reader) -> RollupGenesis | None:
    if not reader.more:
        return None
    fork, base_fee = FORKS[reader.read_uint(len(FORKS) - 1)], Wei(reader.read_uint())
    fee_recipient = Address(reader.read_bytes(size=20))
    listed = reader.read_list("funded accounts")
    balances: list[FundedAccount] = []
    while listed.more:
        if len(balances) == ROLLUP_FUNDED_ACCOUNTS_MAX:
            raise CodecError(f"more than {ROLLUP_FUNDED_ACCOUNTS_MAX} funded accounts")
        entry = listed.read_list("funded account")
        account, balance = Address(entry.read_bytes(size=20)), Wei(entry.read_uint(AMOUNT_MAX))
        entry.end()
        balances.append(FundedAccount(account=account, balance=balance))
    reader.end()
    return RollupGenesis(fork=fork, base_fee=base_fee, fee_recipient=fee_recipient, balances=tuple(balances))


def _encode_joining(joining: Joining) -> bytes:
    anchor = b"" if joining.anchor is None else joining.anchor.encode()
    numbers = (encode_uint(joining.bound_number), encode_uint(joining.lapse_slot))
    return encode_list((*numbers, encode_bytes(anchor), encode_uint(joining.join_slot)))


def _decode_joining(reader: Reader) -> Joining:
    bound_number, lapse_slot = BlockNumber(reader.read_uint()), Slot(reader.read_uint())
    anchor = reader.read_bytes(size_max=ROLLUP_ANCHOR_BYTES_MAX)
    join_slot = Slot(reader.read_uint())
    reader.end()
    if bool(anchor) != bool(join_slot):
        raise CodecError("a rollup has a join slot without an anchor, or the reverse")
    found = decode_anchor(anchor) if anchor else None
    return Joining(bound_number=bound_number, lapse_slot=lapse_slot, anchor=found, join_slot=join_slot)


def _read_enum(reader: Reader, kind: type[Any]) -> Any:
    number = reader.read_uint(255)
    try:
        return kind(number)
    except ValueError as error:
        raise CodecError(f"{number} is no {kind.__name__}") from error


ROLLUPS: Final = TableKind[RollupEntry]("rollups", 8, encode_rollup, decode_rollup)
DEPARTED: Final = TableKind[DepartedRollup]("departed", 8, encode_departed, decode_departed)
