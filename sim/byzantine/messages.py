"""Misuses relays: an ordinary transaction among them, one that executes a message that never was, a delivery or relay
left out, or doubled."""

from random import Random

from plait.engines.simulated import Forgery
from plait.native import PENDING
from plait.protocol.application import Application
from plait.protocol.proposal import DELIVERIES_KIND, RELAY_KIND, encode_relay_item
from plait.protocol.requests import PrepareRequest
from plait.types import Address, RollupId
from sim.byzantine import garbage
from sim.forging import opened, with_blocks
from sim.messaging import message_call
from sim.wallet import Wallet

_RICH = Wallet.of_index(0)
"""A user who has ether on every rollup of a simulated world."""


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """A proposal whose relays or deliveries are not what they must be; garbage where there can be none."""
    proposal = opened(honest)
    blocks = {rollup_id: list(items) for rollup_id, items in proposal.blocks}
    relayed = [
        (rollup_id, place)
        for rollup_id, items in blocks.items()
        for place, item in enumerate(items)
        if item[:1] in {RELAY_KIND, DELIVERIES_KIND}
    ]
    kind = random.randrange(4)
    if kind < 2 and relayed:
        rollup_id, place = random.choice(relayed)
        item = blocks[rollup_id][place]
        if kind == 0 and item[:1] == DELIVERIES_KIND:
            del blocks[rollup_id][place]
            return Forgery("delivery left out", with_blocks(application, honest, sorted(blocks.items())))
        blocks[rollup_id].insert(place, item)
        return Forgery("relay doubled", with_blocks(application, honest, sorted(blocks.items())))
    if not proposal.blocks:
        return garbage.forge(random, application, request, honest)
    rollup_id = RollupId(random.choice(sorted(blocks)))
    at = PENDING if application.rollups[rollup_id].open_block is not None else 0
    ((nonce, _, _),) = application.rollups[rollup_id].accounts([_RICH.address], at)
    if kind == 2:
        raw = _RICH.sign_1559(rollup_id, nonce, to=bytes(20), value=1, max_fee_per_gas=10**11)
        name = "transfer among the relays"
    else:
        call = message_call(random, application.ledger.rollup_ids, Address(bytes(20)))
        call.pop("access_list", None)
        raw = _RICH.sign_1559(rollup_id, nonce, max_fee_per_gas=10**11, gas_limit=400_000, **call)
        name = "relay that executes nothing"
    blocks[rollup_id].append(encode_relay_item(raw))
    return Forgery(name, with_blocks(application, honest, sorted(blocks.items())))
