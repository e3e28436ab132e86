"""Ledger actions: what an account asks of the network's own ledger, and the one table that describes every kind.

`ACTION_TABLE` gives each kind its number, body, and fields with EIP-712 type and bounds. From it come the RLP codec
(`plait.codec.action`), the typed-data JSON that a wallet shows (the same module), and the struct hash
(`plait.crypto.actions`). A body is a frozen struct whose attributes are the table's fields, in the table's order.

A field's `low` and `high` bound an integer's value, the bytes of a string or byte string, or the entries of a list.
Amounts are in base units of PLAIT. Numbers of kinds never change their meaning; new kinds get new numbers.

Level 0. Source of the type names: EIP-712.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

from plait.limits import (
    ACTION_DETAILS_BYTES_MAX,
    ACTION_EVIDENCE_BYTES_MAX,
    ACTION_NAME_BYTES_MAX,
    ACTION_TITLE_BYTES_MAX,
    PROPOSAL_CHANGES_MAX,
    ROLLUP_ANCHOR_BYTES_MAX,
    ROLLUP_FUNDED_ACCOUNTS_MAX,
)
from plait.types.identifiers import Address, Hash32, RollupId, Slot
from plait.types.quantities import Amount, Gas, Wei

PPM: Final = 1_000_000
"""Parts per million: 100 %."""
UINT16_MAX: Final = 2**16 - 1
UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
AMOUNT_MAX: Final = 2**128 - 1


class ActionKind(IntEnum):
    """The number of each kind on the wire."""

    TRANSFER = 1
    CREATE_VALIDATOR = 2
    EDIT_VALIDATOR = 3
    LEAVE_VALIDATOR = 4
    UNJAIL = 5
    DELEGATE = 6
    UNDELEGATE = 7
    WITHDRAW_REWARDS = 8
    WITHDRAW_COMMISSION = 9
    SUBMIT_EVIDENCE = 10
    REGISTER_ROLLUP = 20
    UPDATE_ROLLUP = 21
    LEAVE_ROLLUP = 22
    FUND_ROLLUP = 23
    BIND_ROLLUP = 24
    ANCHOR_ROLLUP = 25
    WITHDRAW_ANCHOR = 26
    PROPOSE_PARAMETERS = 30
    PROPOSE_ROLLUP_REMOVAL = 31
    PROPOSE_ROLLUP_OWNER = 32
    PROPOSE_UPGRADE = 33
    PROPOSE_PAUSE = 34
    PROPOSE_RESUME = 35
    PROPOSE_TEXT = 36
    VOTE = 40


class VoteOption(IntEnum):
    """What a vote says; 0 is no vote."""

    YES = 1
    NO = 2
    ABSTAIN = 3
    """Counts for the quorum only."""
    VETO = 4
    """No, and the deposit shall be lost."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every action's body; the subclass is the kind."""


# ---------------------------------------------------------------- accounts and stake
class Transfer(Body, frozen=True, kw_only=True):
    """Moves tokens to another account."""

    to: Address
    amount: Amount


class CreateValidator(Body, frozen=True, kw_only=True):
    """Makes the sender an operator with a consensus key and a first stake of its own."""

    public_key: bytes
    commission_ppm: int
    commission_max_ppm: int
    commission_step_ppm: int
    """Greatest change of the commission per epoch."""
    self_stake: Amount
    name: str
    possession: bytes
    """Ed25519 signature of the consensus key over `plait/possession/1` and the operator's address."""


class EditValidator(Body, frozen=True, kw_only=True):
    """Changes the sender's validator's name and commission."""

    name: str
    commission_ppm: int


class LeaveValidator(Body, frozen=True, kw_only=True):
    """Takes the sender's validator out of the set; its stake unbonds."""


class Unjail(Body, frozen=True, kw_only=True):
    """Asks for the sender's jailed validator to stand for the set again."""


class Delegate(Body, frozen=True, kw_only=True):
    """Bonds tokens of the sender to a validator."""

    validator: Address
    """The validator's operator."""
    amount: Amount


class Undelegate(Body, frozen=True, kw_only=True):
    """Begins to unbond tokens of the sender from a validator."""

    validator: Address
    amount: Amount


class WithdrawRewards(Body, frozen=True, kw_only=True):
    """Pays out what the sender's delegation to a validator has earned."""

    validator: Address


class WithdrawCommission(Body, frozen=True, kw_only=True):
    """Pays out the commission that the sender's validator has earned."""


class SubmitEvidence(Body, frozen=True, kw_only=True):
    """Shows a fault of a validator; the payload's form is that of its evidence kind."""

    evidence_kind: int
    validator: Address
    payload: bytes


# ---------------------------------------------------------------- registry
class FundedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a rollup's genesis."""

    account: Address
    balance: Wei


class RegisterRollup(Body, frozen=True, kw_only=True):
    """Registers a rollup: what its genesis, its blocks and its terms are, and the slot at which it joins."""

    rollup_id: RollupId
    start_slot: Slot
    """Slot of block 0: the rollup's blocks begin with it."""
    block_time_slots: int
    gas_limit: Gas
    ordering: int
    """0 priority fee, 1 arrival."""
    interop_set: int
    da_footprint_gas_scalar: int
    eip1559_denominator: int
    eip1559_elasticity: int
    min_base_fee: Wei
    operator_fee_scalar: int
    operator_fee_constant: int
    base_fee_scalar: int
    blob_base_fee_scalar: int
    fork: int
    """0 holocene, 1 isthmus, 2 jovian."""
    base_fee: Wei
    """Of block 0."""
    fee_recipient: Address
    balances: tuple[FundedAccount, ...]
    """Strictly ascending by account."""
    genesis_hash: Hash32
    """Of the genesis block that all of this gives; every node compares it with what it builds."""
    revenue_recipient: Address
    """Ledger account that receives the rollup's part of the fees that its transactions paid."""
    escrow: Amount
    """Taken from the sender; slot and transaction fees are paid from it."""
    fee_per_slot_max: Amount
    fee_per_transaction_max: Amount
    """The registration is refused when the published fees are higher."""


class UpdateRollup(Body, frozen=True, kw_only=True):
    """Changes a rollup's parameters at the first block that begins at or after a slot."""

    rollup_id: RollupId
    at_slot: Slot
    gas_limit: Gas
    ordering: int
    da_footprint_gas_scalar: int
    eip1559_denominator: int
    eip1559_elasticity: int
    min_base_fee: Wei
    operator_fee_scalar: int
    operator_fee_constant: int
    base_fee_scalar: int
    blob_base_fee_scalar: int
    revenue_recipient: Address


class LeaveRollup(Body, frozen=True, kw_only=True):
    """Takes a rollup out of the network at a slot; its last block is sealed there."""

    rollup_id: RollupId
    at_slot: Slot


class FundRollup(Body, frozen=True, kw_only=True):
    """Adds to a rollup's escrow; anyone may."""

    rollup_id: RollupId
    amount: Amount


class BindRollup(Body, frozen=True, kw_only=True):
    """Begins to bring in an OP Stack chain that exists: from the next agreed L1 block on, what it says to the chain is
    agreed on too. Somebody else sequences the chain until an anchor says where the network goes on."""

    rollup_id: RollupId
    config: bytes
    """Canonical bytes of `plait.derivation.rollup_config`: what decides of the chain's rollup.json."""
    ordering: int
    revenue_recipient: Address
    escrow: Amount
    fee_per_slot_max: Amount
    fee_per_transaction_max: Amount


class AnchorRollup(Body, frozen=True, kw_only=True):
    """Says which block of a bound chain the network goes on from, and when."""

    rollup_id: RollupId
    anchor: bytes
    """Canonical bytes of `plait.derivation.anchor`."""
    join_slot: Slot


class WithdrawAnchor(Body, frozen=True, kw_only=True):
    """Takes an anchor back before its slot; the chain stays bound."""

    rollup_id: RollupId


# ---------------------------------------------------------------- governance
class ParameterChange(msgspec.Struct, frozen=True, kw_only=True):
    """A governed parameter's new value."""

    name: str
    value: int


class Propose(Body, frozen=True, kw_only=True):
    """What every proposal has; the deposit is held until the vote has ended."""

    title: str
    details: str
    deposit: Amount


class ProposeParameters(Propose, frozen=True, kw_only=True):
    """Proposes new values of governed parameters."""

    changes: tuple[ParameterChange, ...]
    """Strictly ascending by name."""


class ProposeRollupRemoval(Propose, frozen=True, kw_only=True):
    """Proposes to take a rollup out of the registry."""

    rollup_id: RollupId


class ProposeRollupOwner(Propose, frozen=True, kw_only=True):
    """Proposes to give a rollup another owner."""

    rollup_id: RollupId
    owner: Address


class ProposeUpgrade(Propose, frozen=True, kw_only=True):
    """Proposes that all nodes run another version from a height on; height 0 takes a decided plan back."""

    name: str
    height: int
    change_hash: Hash32
    """SHA-256 of the change; a node without that version stops at the height."""


class ProposePause(Propose, frozen=True, kw_only=True):
    """Proposes to stop transactions and bundles for a number of slots; never deposits, sealing or actions."""

    slots: int


class ProposeResume(Propose, frozen=True, kw_only=True):
    """Proposes to end a pause early."""


class ProposeText(Propose, frozen=True, kw_only=True):
    """Proposes a resolution that changes nothing by itself."""


class Vote(Body, frozen=True, kw_only=True):
    """Votes with the sender's bonded stake; a delegator's vote counts instead of its validator's for its part."""

    proposal_id: int
    option: int


# ---------------------------------------------------------------- the table
class Field(msgspec.Struct, frozen=True):
    """One field of a body or of a struct in a list."""

    name: str
    """The attribute; the wire name is its camelCase form."""
    type: str
    """uint8 to uint256, address, bytes32, bytes, string, or a struct's name with []."""
    low: int = 0
    high: int = 0
    """0: the type's own greatest value."""

    @property
    def wire_name(self) -> str:
        """Name in typed data."""
        first, *others = self.name.split("_")
        return first + "".join(part.capitalize() for part in others)

    @property
    def bound(self) -> int:
        """Greatest value, bytes or entries."""
        if self.high:
            return self.high
        if self.type.startswith("uint"):
            return int(2 ** int(self.type[4:])) - 1
        return {"address": 20, "bytes32": 32}[self.type]


class StructType(msgspec.Struct, frozen=True):
    """A struct that lists of a body hold."""

    struct: type[Any]
    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        """Name in typed data."""
        return self.struct.__name__


class ActionType(msgspec.Struct, frozen=True):
    """One kind of action."""

    kind: ActionKind
    body: type[Body]
    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        """Primary type in typed data."""
        return self.body.__name__


HEAD_FIELDS: Final = (Field("nonce", "uint64"), Field("max_fee", "uint128"))
"""Of every action, before its own fields."""

STRUCT_TYPES: Final[Mapping[str, StructType]] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            StructType(FundedAccount, (Field("account", "address"), Field("balance", "uint128"))),
            StructType(ParameterChange, (Field("name", "string", 1, ACTION_NAME_BYTES_MAX), Field("value", "uint256"))),
        )
    }
)

_NAME: Final = Field("name", "string", 1, ACTION_NAME_BYTES_MAX)
_AMOUNT: Final = Field("amount", "uint128", 1)
_VALIDATOR: Final = Field("validator", "address")
_ROLLUP: Final = Field("rollup_id", "uint64", 1)
_COMMISSION: Final = Field("commission_ppm", "uint32", 0, PPM)
_PROPOSAL: Final = (
    Field("title", "string", 1, ACTION_TITLE_BYTES_MAX),
    Field("details", "string", 0, ACTION_DETAILS_BYTES_MAX),
    Field("deposit", "uint128"),
)
_FEES: Final = (
    Field("da_footprint_gas_scalar", "uint16"),
    Field("eip1559_denominator", "uint32", 1),
    Field("eip1559_elasticity", "uint32", 1),
    Field("min_base_fee", "uint64"),
    Field("operator_fee_scalar", "uint32"),
    Field("operator_fee_constant", "uint64"),
    Field("base_fee_scalar", "uint32"),
    Field("blob_base_fee_scalar", "uint32"),
)
_GAS_LIMIT: Final = Field("gas_limit", "uint64", 1_000_000, 2**53)
_ORDERING: Final = Field("ordering", "uint8", 0, 1)

_REGISTER: Final = (
    _ROLLUP,
    Field("start_slot", "uint64"),
    Field("block_time_slots", "uint8", 1),
    _GAS_LIMIT,
    _ORDERING,
    Field("interop_set", "uint32"),
    *_FEES,
    Field("fork", "uint8", 0, 2),
    Field("base_fee", "uint64"),
    Field("fee_recipient", "address"),
    Field("balances", "FundedAccount[]", 0, ROLLUP_FUNDED_ACCOUNTS_MAX),
    Field("genesis_hash", "bytes32"),
    Field("revenue_recipient", "address"),
    Field("escrow", "uint128"),
    Field("fee_per_slot_max", "uint128"),
    Field("fee_per_transaction_max", "uint128"),
)

_KINDS: Final = (
    ActionType(ActionKind.TRANSFER, Transfer, (Field("to", "address"), _AMOUNT)),
    ActionType(
        ActionKind.CREATE_VALIDATOR,
        CreateValidator,
        (
            Field("public_key", "bytes32"),
            _COMMISSION,
            Field("commission_max_ppm", "uint32", 0, PPM),
            Field("commission_step_ppm", "uint32", 0, PPM),
            Field("self_stake", "uint128", 1),
            _NAME,
            Field("possession", "bytes", 64, 64),
        ),
    ),
    ActionType(ActionKind.EDIT_VALIDATOR, EditValidator, (_NAME, _COMMISSION)),
    ActionType(ActionKind.LEAVE_VALIDATOR, LeaveValidator, ()),
    ActionType(ActionKind.UNJAIL, Unjail, ()),
    ActionType(ActionKind.DELEGATE, Delegate, (_VALIDATOR, _AMOUNT)),
    ActionType(ActionKind.UNDELEGATE, Undelegate, (_VALIDATOR, _AMOUNT)),
    ActionType(ActionKind.WITHDRAW_REWARDS, WithdrawRewards, (_VALIDATOR,)),
    ActionType(ActionKind.WITHDRAW_COMMISSION, WithdrawCommission, ()),
    ActionType(
        ActionKind.SUBMIT_EVIDENCE,
        SubmitEvidence,
        (Field("evidence_kind", "uint8", 1), _VALIDATOR, Field("payload", "bytes", 1, ACTION_EVIDENCE_BYTES_MAX)),
    ),
    ActionType(ActionKind.REGISTER_ROLLUP, RegisterRollup, _REGISTER),
    ActionType(
        ActionKind.UPDATE_ROLLUP,
        UpdateRollup,
        (_ROLLUP, Field("at_slot", "uint64"), _GAS_LIMIT, _ORDERING, *_FEES, Field("revenue_recipient", "address")),
    ),
    ActionType(ActionKind.LEAVE_ROLLUP, LeaveRollup, (_ROLLUP, Field("at_slot", "uint64"))),
    ActionType(ActionKind.FUND_ROLLUP, FundRollup, (_ROLLUP, _AMOUNT)),
    ActionType(
        ActionKind.BIND_ROLLUP,
        BindRollup,
        (
            _ROLLUP,
            Field("config", "bytes", 1, ROLLUP_ANCHOR_BYTES_MAX),
            _ORDERING,
            Field("revenue_recipient", "address"),
            Field("escrow", "uint128"),
            Field("fee_per_slot_max", "uint128"),
            Field("fee_per_transaction_max", "uint128"),
        ),
    ),
    ActionType(
        ActionKind.ANCHOR_ROLLUP,
        AnchorRollup,
        (_ROLLUP, Field("anchor", "bytes", 1, ROLLUP_ANCHOR_BYTES_MAX), Field("join_slot", "uint64")),
    ),
    ActionType(ActionKind.WITHDRAW_ANCHOR, WithdrawAnchor, (_ROLLUP,)),
    ActionType(
        ActionKind.PROPOSE_PARAMETERS,
        ProposeParameters,
        (*_PROPOSAL, Field("changes", "ParameterChange[]", 1, PROPOSAL_CHANGES_MAX)),
    ),
    ActionType(ActionKind.PROPOSE_ROLLUP_REMOVAL, ProposeRollupRemoval, (*_PROPOSAL, _ROLLUP)),
    ActionType(ActionKind.PROPOSE_ROLLUP_OWNER, ProposeRollupOwner, (*_PROPOSAL, _ROLLUP, Field("owner", "address"))),
    ActionType(
        ActionKind.PROPOSE_UPGRADE,
        ProposeUpgrade,
        (*_PROPOSAL, _NAME, Field("height", "uint64"), Field("change_hash", "bytes32")),
    ),
    ActionType(ActionKind.PROPOSE_PAUSE, ProposePause, (*_PROPOSAL, Field("slots", "uint32", 1))),
    ActionType(ActionKind.PROPOSE_RESUME, ProposeResume, _PROPOSAL),
    ActionType(ActionKind.PROPOSE_TEXT, ProposeText, _PROPOSAL),
    ActionType(ActionKind.VOTE, Vote, (Field("proposal_id", "uint64", 1), Field("option", "uint8", 1, 4))),
)

ACTION_TABLE: Final[Mapping[int, ActionType]] = MappingProxyType({entry.kind: entry for entry in _KINDS})
"""Every kind by its number."""

TYPE_OF_BODY: Final[Mapping[type[Body], ActionType]] = MappingProxyType({entry.body: entry for entry in _KINDS})
"""Every kind by its body."""

ACTION_OF_NAME: Final[Mapping[str, ActionType]] = MappingProxyType({entry.name: entry for entry in _KINDS})
"""Every kind by its primary type."""


# ---------------------------------------------------------------- what travels
class Action(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded action: well-formed, its signer not yet looked for."""

    nonce: int
    max_fee: Amount
    """Most that the sender pays into the pot for this action."""
    body: Body
    signature: bytes
    """r, s, v (27 or 28)."""


class SignedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action with its signer."""

    raw: bytes
    """Canonical bytes."""
    hash: Hash32
    """SHA-256 of the canonical bytes: the action's name everywhere."""
    sender: Address
    nonce: int
    max_fee: Amount
    body: Body

    @property
    def kind(self) -> ActionKind:
        """Its kind."""
        return TYPE_OF_BODY[type(self.body)].kind
