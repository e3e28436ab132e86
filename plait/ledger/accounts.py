"""Accounts: nonce, fee and transfer. Level 3, pure.

Every action costs the governed flat fee, which goes into the pot, and uses its sender's next nonce.
"""

from plait.errors import ActionRefused
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.types.action import SignedAction, Transfer


def admit(draft: Draft, action: SignedAction) -> int:
    """Takes an action's nonce and fee; returns the fee in base units.

    Raises:
        ActionRefused: `action_nonce_too_low`, `action_nonce_too_high`, `action_fee_too_low`,
            `account_balance_insufficient`.
    """
    sender, nonce, fee = action.sender, draft.nonce(action.sender), draft.parameters.action_fee
    if action.nonce != nonce:
        low = action.nonce < nonce
        raise ActionRefused(
            f"the action has nonce {action.nonce}; the account's next one is {nonce}",
            code="action_nonce_too_low" if low else "action_nonce_too_high",
            nonce=action.nonce,
            expected=nonce,
        )
    if action.max_fee < fee:
        raise ActionRefused(
            f"an action costs {fee} base units; this one offers at most {action.max_fee}",
            code="action_fee_too_low",
            fee=fee,
            max_fee=action.max_fee,
        )
    draft.debit(sender, fee)
    draft.use_nonce(sender)
    draft.pot += fee
    return fee


def transfer(draft: Draft, ctx: SubBlockContext, action: SignedAction) -> None:
    """Moves tokens. Raises ActionRefused `account_balance_insufficient`."""
    body = action.body
    assert isinstance(body, Transfer)
    draft.debit(action.sender, body.amount)
    draft.credit(body.to, body.amount)


HANDLERS = {Transfer: transfer}
