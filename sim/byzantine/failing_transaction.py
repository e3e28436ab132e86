"""Includes a transaction that cannot be applied: no money, a nonce of the future, another chain's, or none at all."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import Milliseconds, OrderingPolicy
from sim.forging import with_transactions
from sim.wallet import Wallet

_STRANGER = Wallet.of_index(0, "stranger")


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """A proposal whose only item is refused by decoding or by execution."""
    record = random.choice(application.ledger.rollups)
    rollup_id = record.rollup_id
    raws = {
        "unfunded": _STRANGER.sign_1559(rollup_id, 0, to=bytes(20), value=1),
        "nonce of the future": _STRANGER.sign_1559(rollup_id, 9, to=bytes(20)),
        "another chain's": _STRANGER.sign_1559(rollup_id + 1, 0, to=bytes(20)),
        "not a transaction": random.randbytes(100),
    }
    name = random.choice(sorted(raws))
    stamp = request.time_ms if record.parameters.ordering is OrderingPolicy.ARRIVAL else Milliseconds(0)
    return Forgery(name, with_transactions(application, honest, {rollup_id: [raws[name]]}, stamp))
