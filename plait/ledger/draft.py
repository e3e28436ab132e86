"""The economy while one sub-block changes it.

A `Draft` lies over an immutable `Economy`: reads see the changes, and nothing of the economy below is touched.
`checkpoint` and `rollback` undo what a refused action did, by a journal of what every change overwrote; they cost what
the changes cost. `freeze` makes the next economy. One draft serves one sub-block of one candidate and is not shared.

Level 3, pure.
"""

from collections.abc import Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from plait.errors import ActionRefused, InvariantBroken
from plait.ledger.economy import TABLES, Clock, Economy, Seats, Supply
from plait.ledger.parameters import LedgerParameters
from plait.ledger.proposal_records import Pause, ProposalRecord, UpgradePlan, VoteRecord
from plait.ledger.rollup_records import DepartedRollup, NetworkMode, RollupEntry
from plait.ledger.rotation import Rotation
from plait.ledger.stake_records import (
    Account,
    Delegation,
    EvidenceSeen,
    Mark,
    Release,
    Validator,
    delegation_key,
)
from plait.ledger.table import Table
from plait.types import Address

R = TypeVar("R")
_EMPTY: Final = Account()
_UNCHANGED: Final = object()
_PARTS: Final = ("parameters", "supply", "clock", "rotation", "seats", "pause", "upgrade", "power_changes")
"""Attributes of a draft that a rollback sets back."""


class TableDraft(Generic[R]):
    """Changes over one table; `None` in `_changes` is a removal."""

    __slots__ = ("_base", "_changes", "_journal")

    def __init__(self, base: Table[R], journal: list[tuple["TableDraft[Any]", bytes, Any]]) -> None:
        self._base = base
        self._changes: dict[bytes, R | None] = {}
        self._journal = journal

    def get(self, key: bytes) -> R | None:
        """The record at `key`, or None."""
        changes = self._changes
        if changes and key in changes:
            return changes[key]
        return self._base.get(key)

    def put(self, key: bytes, record: R) -> None:
        """Sets the record at `key`."""
        self._set(key, record)

    def remove(self, key: bytes) -> None:
        """Removes the record at `key`, if there is one."""
        self._set(key, None)

    def _set(self, key: bytes, record: R | None) -> None:
        self._journal.append((self, key, self._changes.get(key, _UNCHANGED)))
        self._changes[key] = record

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, R]]:
        """Records whose key starts with `prefix`, ascending by key, as they are when the iteration begins."""
        changed = {key: record for key, record in self._changes.items() if key.startswith(prefix)}
        if not changed:
            yield from self._base.items(prefix)
            return
        waiting = sorted(changed, reverse=True)
        for key, record in self._base.items(prefix):
            while waiting and waiting[-1] < key:
                added = changed[waiting[-1]]
                if added is not None:
                    yield waiting[-1], added
                waiting.pop()
            if waiting and waiting[-1] == key:
                continue
            yield key, record
        for key in reversed(waiting):
            added = changed[key]
            if added is not None:
                yield key, added

    def first(self, prefix: bytes = b"") -> tuple[bytes, R] | None:
        """The record with the smallest key that starts with `prefix`, or None."""
        return next(self.items(prefix), None)

    def undo(self, key: bytes, before: Any) -> None:
        """Takes one change back; for `Draft.rollback`."""
        if before is _UNCHANGED:
            del self._changes[key]
        else:
            self._changes[key] = before

    def freeze(self) -> Table[R]:
        """The table with all changes."""
        return self._base.with_changes(self._changes) if self._changes else self._base


class Checkpoint(NamedTuple):
    """A point of a draft to come back to."""

    journal: int
    effects: int
    parts: tuple[Any, ...]


class Draft:
    """A mutable economy. Attributes that are not tables are immutable values: assign a new one to change them."""

    __slots__ = (
        "_journal",
        "_mode",
        "_tables",
        "absences",
        "accounts",
        "clock",
        "delegations",
        "departed",
        "effects",
        "evidence",
        "keys",
        "marks",
        "parameters",
        "pause",
        "power_changes",
        "proposals",
        "releases",
        "rollups",
        "rotation",
        "seats",
        "supply",
        "unbondings",
        "upgrade",
        "validators",
        "votes",
    )

    def __init__(self, economy: Economy) -> None:
        self._mode = economy.mode
        self._journal: list[tuple[TableDraft[Any], bytes, Any]] = []
        self.effects: list[Any] = []
        """What happened, in order, for whoever watches; no part of the state."""
        self.parameters: LedgerParameters = economy.parameters
        self.supply: Supply = economy.supply
        self.clock: Clock = economy.clock
        self.rotation: Rotation = economy.rotation
        self.seats: Seats = economy.seats
        self.pause: Pause = economy.pause
        self.upgrade: UpgradePlan | None = economy.upgrade
        self.power_changes: tuple[tuple[Address, int], ...] = ()
        """Operators whose announced power this sub-block changes, in order; the last one of an operator counts."""
        journal = self._journal
        self.accounts: TableDraft[Account] = TableDraft(economy.accounts, journal)
        self.validators: TableDraft[Validator] = TableDraft(economy.validators, journal)
        self.keys: TableDraft[Address] = TableDraft(economy.keys, journal)
        self.delegations: TableDraft[Delegation] = TableDraft(economy.delegations, journal)
        self.marks: TableDraft[Mark] = TableDraft(economy.marks, journal)
        self.unbondings: TableDraft[int] = TableDraft(economy.unbondings, journal)
        self.releases: TableDraft[Release] = TableDraft(economy.releases, journal)
        self.absences: TableDraft[bytes] = TableDraft(economy.absences, journal)
        self.evidence: TableDraft[EvidenceSeen] = TableDraft(economy.evidence, journal)
        self.proposals: TableDraft[ProposalRecord] = TableDraft(economy.proposals, journal)
        self.votes: TableDraft[VoteRecord] = TableDraft(economy.votes, journal)
        self.rollups: TableDraft[RollupEntry] = TableDraft(economy.rollups, journal)
        self.departed: TableDraft[DepartedRollup] = TableDraft(economy.departed, journal)

    @property
    def mode(self) -> NetworkMode:
        """How the network is run; fixed at genesis."""
        return self._mode

    # ------------------------------------------------------------ undo
    def checkpoint(self) -> Checkpoint:
        """A point to come back to."""
        return Checkpoint(len(self._journal), len(self.effects), self._parts())

    def rollback(self, checkpoint: Checkpoint) -> None:
        """Undoes everything since `checkpoint`, effects included."""
        journal = self._journal
        while len(journal) > checkpoint.journal:
            table, key, before = journal.pop()
            table.undo(key, before)
        del self.effects[checkpoint.effects :]
        for name, value in zip(_PARTS, checkpoint.parts, strict=True):
            setattr(self, name, value)

    def _parts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _PARTS)

    # ------------------------------------------------------------ tokens
    def balance(self, address: Address) -> int:
        """Spendable base units of an account."""
        return (self.accounts.get(address) or _EMPTY).balance

    def nonce(self, address: Address) -> int:
        """Number of the account's next action."""
        return (self.accounts.get(address) or _EMPTY).nonce

    def credit(self, address: Address, amount: int) -> None:
        """Adds `amount`, 0 or more, to an account."""
        _require_amount(amount)
        if amount:
            account = self.accounts.get(address) or _EMPTY
            self.accounts.put(address, Account(account.balance + amount, account.nonce))

    def debit(self, address: Address, amount: int) -> None:
        """Takes `amount`, 0 or more, from an account.

        Raises:
            ActionRefused: `account_balance_insufficient`.
        """
        _require_amount(amount)
        account = self.accounts.get(address) or _EMPTY
        if account.balance < amount:
            raise ActionRefused(
                f"the account holds {account.balance} base units; {amount} are needed",
                code="account_balance_insufficient",
                account=address.hex(),
                balance=account.balance,
                needed=amount,
            )
        if amount:
            self.accounts.put(address, Account(account.balance - amount, account.nonce))

    def use_nonce(self, address: Address) -> None:
        """Counts one action of an account."""
        account = self.accounts.get(address) or _EMPTY
        self.accounts.put(address, Account(account.balance, account.nonce + 1))

    @property
    def pot(self) -> int:
        """What the next distribution shares out."""
        return self.supply.pot

    @pot.setter
    def pot(self, amount: int) -> None:
        _require_amount(amount)
        self.supply = msgspec.structs.replace(self.supply, pot=amount)

    def burn(self, amount: int) -> None:
        """Counts tokens that were taken from somewhere as burned."""
        _require_amount(amount)
        self.supply = msgspec.structs.replace(self.supply, burned=self.supply.burned + amount)

    # ------------------------------------------------------------ the rest
    @property
    def next_proposal_id(self) -> int:
        """Number of the next proposal of governance."""
        return self.clock.next_proposal_id

    @next_proposal_id.setter
    def next_proposal_id(self, number: int) -> None:
        self.clock = msgspec.structs.replace(self.clock, next_proposal_id=number)

    def set_parameters(self, parameters: LedgerParameters) -> None:
        """Uses other parameters from here on. Raises ConfigurationError when they cannot be used."""
        parameters.check()
        self.parameters = parameters

    def emit(self, effect: Any) -> None:
        """Records what happened."""
        self.effects.append(effect)

    def validator(self, operator: Address) -> Validator:
        """An operator's validator.

        Raises:
            ActionRefused: `validator_unknown`.
        """
        validator = self.validators.get(operator)
        if validator is None:
            raise ActionRefused(
                f"no validator has the operator 0x{operator.hex()}", code="validator_unknown", operator=operator.hex()
            )
        return validator

    def shares(self, delegator: Address, operator: Address) -> int:
        """Shares of a delegator in a validator; 0 when there are none."""
        delegation = self.delegations.get(delegation_key(delegator, operator))
        return 0 if delegation is None else delegation.shares

    def freeze(self) -> Economy:
        """The economy with all changes; the draft may go on."""
        return Economy(
            mode=self._mode,
            parameters=self.parameters,
            supply=self.supply,
            clock=self.clock,
            rotation=self.rotation,
            seats=self.seats,
            pause=self.pause,
            upgrade=self.upgrade,
            **{kind.name: getattr(self, kind.name).freeze() for kind in TABLES},
        )


def _require_amount(amount: int) -> None:
    if amount < 0:
        raise InvariantBroken(f"{amount} base units cannot be moved", code="ledger_amount_negative", amount=amount)
