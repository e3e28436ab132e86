"""Tampers with ledger actions: one that cannot be applied, noise, one doubled, two swapped, one left out, or one with
another's signature."""

from random import Random

from plait.codec.action import encode_action
from plait.crypto.actions import action_digest, recover_action
from plait.engines.simulated import Forgery
from plait.ledger.parameters import TOKEN
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import Address, Amount
from plait.types.action import Action, Transfer
from sim.forging import opened, with_actions
from sim.wallet import Wallet

_STRANGER = Wallet.of_index(0, "stranger")
"""Has no account."""


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """A proposal whose actions are not what they must be."""
    actions = list(opened(honest).actions)
    kind = random.randrange(6)
    if kind == 0 and actions:
        at = random.randrange(len(actions))
        return Forgery("action left out", with_actions(honest, [*actions[:at], *actions[at + 1 :]]))
    if kind == 1 and actions:
        return Forgery("action doubled", with_actions(honest, [*actions, random.choice(actions)]))
    if kind == 2 and _has_an_order(application, actions):
        return Forgery("actions reversed", with_actions(honest, actions[::-1]))
    if kind == 3 and actions:
        at = random.randrange(len(actions))
        altered = actions[at][:-2] + bytes([actions[at][-2] ^ 1]) + actions[at][-1:]
        return Forgery("action altered", with_actions(honest, [*actions[:at], altered, *actions[at + 1 :]]))
    if kind == 4:
        return _noise(random, honest)
    body = Transfer(to=Address(bytes(20)), amount=Amount(1))
    digest = action_digest(application.ledger.parameters.network_id, 0, Amount(TOKEN), body)
    raw = encode_action(Action(nonce=0, max_fee=Amount(TOKEN), body=body, signature=_STRANGER.sign_digest(digest)))
    return Forgery("action without an account", with_actions(honest, [*actions, raw]))


def _has_an_order(application: Application, actions: list[bytes]) -> bool:
    """Whether one account has two of them: only then does their order matter in any case."""
    network_id = application.ledger.parameters.network_id
    return len({recover_action(raw, network_id).sender for raw in actions}) < len(actions)


def _noise(random: Random, honest: bytes) -> Forgery:
    noise = random.randbytes(random.randrange(1, 200))
    return Forgery("noise among actions", with_actions(honest, [*opened(honest).actions, noise]))
