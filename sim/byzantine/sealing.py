"""Hides, invents or alters sealed blocks."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import BlockNumber, Hash32
from sim.forging import opened, with_header


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """A due block left out or with another hash; an invented one when none is due."""
    sealed = opened(honest).header.sealed
    if not sealed:
        rollup_id = application.ledger.rollup_ids[0]
        invented = ((rollup_id, ((BlockNumber(1), Hash32(random.randbytes(32))),)),)
        return Forgery("invented seal", with_header(honest, sealed=invented))
    if random.randrange(2):
        return Forgery("missing seal", with_header(honest, sealed=sealed[1:]))
    rollup_id, blocks = sealed[-1]
    altered = (*blocks[:-1], (blocks[-1][0], Hash32(random.randbytes(32))))
    return Forgery("altered seal", with_header(honest, sealed=(*sealed[:-1], (rollup_id, altered))))
