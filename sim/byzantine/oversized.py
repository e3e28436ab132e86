"""Sends more than a proposal may hold."""

from random import Random

from plait.engines.simulated import Forgery
from plait.limits import PROPOSAL_BYTES_MAX, PROPOSAL_ITEMS_MAX
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from sim.forging import with_blocks


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """Too many items, or too many bytes."""
    rollup_id = application.ledger.rollup_ids[0]
    if random.randrange(4):
        return Forgery("too many bytes", honest + bytes(PROPOSAL_BYTES_MAX))
    items = [bytes(7)] * (PROPOSAL_ITEMS_MAX + 1)
    return Forgery("too many items", with_blocks(application, honest, [(rollup_id, items)]))
