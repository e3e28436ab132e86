"""Commits to other items than it carries."""

from random import Random

import msgspec

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import Hash32
from sim.forging import opened, with_header


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """One of the three commitments changed."""
    commitment = opened(honest).header.commitment
    other = Hash32(random.randbytes(32))
    changes: list[dict[str, object]] = [
        {"rollups_root": other},
        {"ids_root": other},
        {"items_roots": (other, *commitment.items_roots[1:])},
        {"ids": commitment.ids[:-1], "items_roots": commitment.items_roots[:-1]},
    ]
    change = random.choice(changes)
    forged = msgspec.structs.replace(commitment, **change)
    return Forgery(f"wrong {next(iter(change))}", with_header(honest, commitment=forged))
