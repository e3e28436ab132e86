"""Ledger actions from a program: sign, send, and wait until they are decided. Level 7.

async with Client("http://127.0.0.1:8545") as client:
    done = await act(client, private_key, Delegate(validator=operator, amount=10**18))
"""

import asyncio
from typing import Final

import msgspec

from plait.client.jsonrpc import Client
from plait.crypto.actions import sign_action
from plait.errors import ActionRefused, Unavailable
from plait.limits import CLIENT_BUNDLE_POLL_S
from plait.native import recover_signer, sign_digest
from plait.types import Address, Amount, NetworkId
from plait.types.action import Body

ACTION_WAIT_S: Final = 30.0
"""How long `act` waits for the decision when the caller does not say."""


class ActionDone(msgspec.Struct, frozen=True, kw_only=True):
    """A decided action."""

    hash: str
    sender: Address
    nonce: int
    height: int | None
    """None when the caller did not wait."""


def address_of(private_key: bytes) -> Address:
    """Address of a key of 32 bytes. Raises ValueError when it is none."""
    digest = bytes(31) + b"\x01"
    found = recover_signer(digest, sign_digest(private_key, digest))
    if found is None:
        raise ValueError("the key signs nothing that can be recovered")
    return Address(found)


async def act(client: Client, private_key: bytes, body: Body, *, wait_s: float = ACTION_WAIT_S) -> ActionDone:
    """Signs an action at the account's next nonce, sends it, and waits until it is decided.

    Args:
        client: of any node of the network.
        private_key: 32 bytes.
        body: what to do.
        wait_s: seconds to wait; 0 returns once the node has taken it.

    Raises:
        ActionRefused: the ledger refused it after the node took it, with the reason.
        CodecError: a field is out of its bounds.
        RpcError: the node does not take it, with the reason.
        Unavailable: `action_not_decided_yet`, the time is up; it may still be decided.
        NodeUnreachable: no node answers.
    """
    sender = address_of(private_key)
    account = await client.call("plait_getAccount", "0x" + sender.hex())
    network = await client.call("plait_networkInfo")
    nonce, fee = account["nextNonce"], Amount(int(account["actionFee"], 16))
    raw = sign_action(NetworkId(network["networkId"]), nonce, fee, body, private_key)
    hash_ = await client.call("plait_sendAction", "0x" + raw.hex())
    done = ActionDone(hash=hash_, sender=sender, nonce=nonce, height=None)
    if wait_s <= 0:
        return done
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while loop.time() < until:
        found = await client.call("plait_getActionStatus", hash_)
        if found is not None and found["status"] == "decided":
            return msgspec.structs.replace(done, height=found["height"])
        if found is not None and found["status"] == "dropped":
            raise ActionRefused(found["sentence"], code=found["code"], hash=hash_)
        await asyncio.sleep(CLIENT_BUNDLE_POLL_S)
    raise Unavailable(
        f"action {hash_} was not decided within {wait_s:g} s; it may still be",
        code="action_not_decided_yet",
        hash=hash_,
    )
