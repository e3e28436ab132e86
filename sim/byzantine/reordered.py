"""Orders transactions to its own liking: two neighbours swapped, or all reversed."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from sim.byzantine import garbage
from sim.forging import largest_block, opened, with_blocks


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """Another order with commitments that fit it; garbage when there is nothing to reorder."""
    proposal = opened(honest)
    largest = largest_block(proposal)
    if largest is None or len(largest[1][1]) < 2:
        return garbage.forge(random, application, request, honest)
    place, (rollup_id, items) = largest
    changed = list(items)
    if random.randrange(2):
        changed.reverse()
    else:
        at = random.randrange(len(changed) - 1)
        changed[at], changed[at + 1] = changed[at + 1], changed[at]
    blocks = list(proposal.blocks)
    blocks[place] = (rollup_id, changed)
    return Forgery("reordered", with_blocks(application, honest, blocks))
