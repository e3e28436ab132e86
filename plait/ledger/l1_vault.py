"""Deposits of the StakeVault on L1 become tokens of the ledger. Level 3, pure.

Rules
    - Only where the L1's terms name a vault, and only deposits of L1 blocks after the one that agreement began with.
    - A block's deposits are credited when it becomes the oldest of the agreed chain: no report takes that one back, so
      no credit has ever to be undone. That is L1_REORG_BLOCKS_MAX blocks (two epochs of Ethereum) behind the oldest
      origin on which a rollup builds, and behind the agreed head where none does.
    - In the order of blocks and nonces, each once: a nonce below `next_nonce` counts for nothing. What the vault
      announced before agreement began is not there, so nonces may begin anywhere.
    - What is credited counts as issued: holdings stay equal to what genesis and issuance made. A deposit that would
      bring more than SUPPLY_MAX into the world is passed over; no token with a supply below it can do that.
"""

from collections.abc import Sequence

import msgspec

from plait.derivation.l1_facts import VaultDeposit
from plait.ledger.draft import Draft
from plait.ledger.happenings import VaultDepositCredited
from plait.ledger.l1 import L1State, VaultRecord
from plait.limits import SUPPLY_MAX


def final_deposits(before: L1State, after: L1State) -> tuple[VaultDeposit, ...]:
    """Deposits of the blocks that nothing takes back any more once `before` has forgotten blocks and is `after`."""
    if not after.terms.vault:
        return ()
    count = after.blocks[0].number - before.blocks[0].number
    return tuple(deposit for facts in before.blocks[1 : count + 1] for deposit in facts.vault)


def credit(draft: Draft, state: L1State, deposits: Sequence[VaultDeposit]) -> L1State:
    """Credits deposits that are final. Returns the state that remembers them."""
    if not deposits:
        return state
    next_nonce, credited = state.vault.next_nonce, state.vault.credited
    for deposit in deposits:
        if deposit.nonce < next_nonce:
            continue
        next_nonce = deposit.nonce + 1
        supply = draft.supply
        if deposit.amount > SUPPLY_MAX - supply.genesis - supply.issued:
            continue
        draft.credit(deposit.account, deposit.amount)
        draft.supply = msgspec.structs.replace(supply, issued=supply.issued + deposit.amount)
        credited += deposit.amount
        draft.emit(VaultDepositCredited(nonce=deposit.nonce, account=deposit.account, amount=deposit.amount))
    return msgspec.structs.replace(state, vault=VaultRecord(next_nonce, credited))
