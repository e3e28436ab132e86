"""PLAIT between L1 and the ledger, from a program: deposit, withdraw, claim. Level 7.

    deposit     approve and lock tokens in StakeVault; the ledger credits them once their L1 block is final to it
    withdraw    transfer to the recipient's exit account in the ledger, wait for a checkpoint that has it, prove it
    claim       have the vault pay what has waited its time

Every step can be repeated: tokens that lie in an exit account are requested by the next `withdraw`, also with amount 0.
"""

import asyncio
from typing import Final

import msgspec

from plait.client.jsonrpc import Client, RpcError
from plait.client.ledger import act
from plait.errors import L1Refused, Unavailable
from plait.l1.client import L1Client
from plait.l1.contract_proofs import exit_account
from plait.l1.fields import as_quantity
from plait.l1.vault import (
    Withdrawal,
    approve_call,
    claim_call,
    deposit_call,
    released_of,
    request_call,
    served_proof,
    token_of,
    withdrawals_of,
)
from plait.rollups.batcher.l1_transactions import Content, Fees, address_of_key, sign
from plait.types import Address, Amount, Gas, Hash32, Wei
from plait.types.action import Transfer

_POLL_S: Final = 1.0
_GAS_MARGIN_PERCENT: Final = 25
L1_WAIT_S: Final = 180.0
"""How long a transaction on L1 is waited for."""


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """What `withdraw` began."""

    exit_account: Address
    exit_balance: int
    """All that ever went there, base units."""
    withdrawal: Withdrawal


async def deposit(l1: L1Client, key: bytes, vault: Address, account: Address, amount: Amount) -> Hash32:
    """Locks tokens for an account of the ledger; returns the deposit's transaction.

    Raises:
        L1Refused, Unavailable: as `send_call`.
    """
    await send_call(l1, key, await token_of(l1, vault), approve_call(vault, amount))
    return await send_call(l1, key, vault, deposit_call(account, amount))


async def withdraw(
    client: Client,
    l1: L1Client,
    *,
    ledger_key: bytes,
    wallet_key: bytes,
    vault: Address,
    recipient: Address,
    amount: Amount,
    wait_s: float,
) -> Requested:
    """Moves tokens out of the ledger and requests them on L1.

    Args:
        client: of a node with an attester, which serves the proof.
        l1: open.
        ledger_key: of the account that gives the tokens.
        wallet_key: of the account that pays for the request on L1.
        recipient: on L1.
        amount: base units; 0 requests what lies in the exit account already.
        wait_s: for the next checkpoint.

    Raises:
        Unavailable: `l1_checkpoint_missing`, no checkpoint that has it within `wait_s`; others as `send_call`.
        ActionRefused, RpcError: as `act`.
    """
    leaving = exit_account(await l1.chain_id(), vault, recipient)
    held = int((await client.call("plait_getAccount", "0x" + leaving.hex()))["balance"], 16)
    if amount:
        await act(client, ledger_key, Transfer(to=leaving, amount=amount))
    wanted = max(held + amount, await released_of(l1, vault, recipient) + 1)
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        try:
            served = served_proof(await client.call("plait_getL1AccountProof", "0x" + leaving.hex()))
            if served.balance >= wanted:
                break
        except RpcError:
            pass  # no checkpoint yet, or one from before the transfer
        if loop.time() >= until:
            raise Unavailable(
                f"No checkpoint on L1 has {wanted} base units in exit account 0x{leaving.hex()} after {wait_s:g} s. "
                "Call again later with amount 0: what was transferred stays there.",
                code="l1_checkpoint_missing",
            )
        await asyncio.sleep(_POLL_S)
    await send_call(l1, wallet_key, vault, request_call(recipient, served))
    found = await withdrawals_of(l1, vault, recipient)
    return Requested(exit_account=leaving, exit_balance=served.balance, withdrawal=found[-1])


async def claim(l1: L1Client, key: bytes, vault: Address, number: int) -> Hash32:
    """Pays a withdrawal to its recipient; anybody may. Raises as `send_call`."""
    return await send_call(l1, key, vault, claim_call(number))


async def send_call(l1: L1Client, key: bytes, to: Address, data: bytes, *, wait_s: float = L1_WAIT_S) -> Hash32:
    """Sends a call of a contract from a wallet's key and waits until it is included.

    Raises:
        L1Refused: `l1_call_refused`, it would revert or L1 does not take it; `l1_transaction_failed`, it reverted.
        Unavailable: `l1_transaction_pending`, not included within `wait_s`; `l1_unreachable`.
    """
    sender = address_of_key(key)
    call = {"from": "0x" + sender.hex(), "to": "0x" + to.hex(), "data": "0x" + data.hex()}
    gas = as_quantity(await l1.call("eth_estimateGas", call), "an estimate of gas")
    prices, nonce = await l1.fees(), await l1.nonce(sender, "pending")
    tip = max(1, prices.priority_fee)
    signed = sign(
        key,
        Content(chain_id=await l1.chain_id(), to=to, data=data),
        nonce=nonce,
        fees=Fees(tip=Wei(tip), fee_cap=Wei(2 * prices.base_fee + tip)),
        gas_limit=_gas(gas),
    )
    await l1.send_raw_transaction(signed.raw)
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while (receipt := await l1.transaction_receipt(signed.hash)) is None or receipt.get("blockHash") is None:
        if loop.time() >= until:
            raise Unavailable(
                f"Transaction 0x{signed.hash.hex()} is not included after {wait_s:g} s; it may still be.",
                code="l1_transaction_pending",
            )
        await asyncio.sleep(_POLL_S / 4)
    if receipt.get("status") != "0x1":
        raise L1Refused(f"Transaction 0x{signed.hash.hex()} reverted on L1.", code="l1_transaction_failed")
    return signed.hash


def _gas(estimate: int) -> Gas:
    return Gas(estimate * (100 + _GAS_MARGIN_PERCENT) // 100)


__all__ = ["Requested", "claim", "deposit", "send_call", "withdraw"]
