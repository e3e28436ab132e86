"""The decided economy as the pool of actions reads it. Level 3, pure."""

from plait.ledger.economy import Economy
from plait.types.identifiers import Address


class EconomyAccounts:
    """An `AccountsView` (plait.mempool.actions) of one economy."""

    __slots__ = ("_economy",)

    def __init__(self, economy: Economy) -> None:
        self._economy = economy

    def account(self, address: Address) -> tuple[int, int]:
        """(balance in base units, next nonce); zeros for an account that does not exist."""
        account = self._economy.accounts.get(address)
        return (0, 0) if account is None else (account.balance, account.nonce)

    @property
    def action_fee(self) -> int:
        """What an action costs, base units."""
        return self._economy.parameters.action_fee
