"""What the economy reports beside its new state: for logs, metrics and people, never for the state. Level 3, pure."""

import msgspec

from plait.types import Address, Hash32


class ActionApplied(msgspec.Struct, frozen=True, kw_only=True):
    """An action took effect."""

    hash: Hash32
    sender: Address
    kind: int
    fee: int


class ValidatorPunished(msgspec.Struct, frozen=True, kw_only=True):
    """A validator was slashed for a fault."""

    operator: Address
    fault: str
    """duplicate_vote, light_client_attack, proposal_equivocation or downtime."""
    height: int
    """Of the fault."""
    slashed: int
    """Base units, the reporter's share included."""
    reporter_share: int
    tombstoned: bool


class EvidenceIgnored(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence of the engine that changed nothing."""

    code: str
    address: bytes
    height: int


class PowerChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A validator's announced power changed; acts two heights later."""

    operator: Address
    before: int
    after: int


class LeadMissed(msgspec.Struct, frozen=True, kw_only=True):
    """The leader of round 0 did not get its proposal decided."""

    height: int
    leader: bytes
    proposer: bytes


class UnbondingsPaid(msgspec.Struct, frozen=True, kw_only=True):
    """Matured stake went back to its delegators."""

    count: int
    amount: int


class VaultDepositCredited(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that were locked on L1 became an account's."""

    nonce: int
    account: Address
    amount: int


class EpochEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Rewards were shared out and the validator set was chosen."""

    epoch: int
    issued: int
    distributed: int
    pot: int
    validators: int
