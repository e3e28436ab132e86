"""Lies about arrival: a stamp of the future, or a stamp where the policy has none."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.proposal import bundled_count, encode_items, relays_count, split_items
from plait.protocol.requests import PrepareRequest
from plait.types import Milliseconds, OrderingPolicy
from sim.byzantine import garbage
from sim.forging import largest_block, opened, with_blocks


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """The last item's stamp moved; garbage when there are no items."""
    proposal = opened(honest)
    largest = largest_block(proposal)
    if largest is None:
        return garbage.forge(random, application, request, honest)
    place, (rollup_id, items) = largest
    legs = bundled_count(items)
    relays = relays_count(items)
    if legs + relays == len(items):
        return garbage.forge(random, application, request, honest)
    columns = split_items(items[legs : len(items) - relays], legs)
    policies = {record.rollup_id: record.parameters.ordering for record in application.ledger.rollups}
    arrival = policies[rollup_id] is OrderingPolicy.ARRIVAL
    stamps = list(columns.stamps_ms)
    stamps[-1] = Milliseconds(request.time_ms + 1) if arrival else request.time_ms
    blocks = list(proposal.blocks)
    blocks[place] = (rollup_id, [*items[:legs], *encode_items(columns.raws, stamps), *items[len(items) - relays :]])
    return Forgery("stamp of the future" if arrival else "stamp unused", with_blocks(application, honest, blocks))
