"""Orders a transaction twice, leaves one out without changing the ledger root, or lists an unknown rollup."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import RollupId
from sim.byzantine import garbage
from sim.forging import largest_block, opened, with_blocks


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """Items doubled, dropped, or given to a rollup that does not exist; garbage when there are none."""
    proposal = opened(honest)
    largest = largest_block(proposal)
    if largest is None:
        return garbage.forge(random, application, request, honest)
    place, (rollup_id, items) = largest
    blocks = list(proposal.blocks)
    kind = random.randrange(3)
    if kind == 0:
        blocks[place] = (rollup_id, [*items, random.choice(items)])
        return Forgery("doubled", with_blocks(application, honest, blocks))
    if kind == 1:
        blocks[place] = (rollup_id, items[:-1])
        return Forgery("left out", with_blocks(application, honest, blocks))
    blocks[place] = (RollupId(max(application.ledger.rollup_ids) + 1), items)
    return Forgery("unknown rollup", with_blocks(application, honest, sorted(blocks)))
