"""Sends bytes that are no proposal: noise, a cut, or one flipped bit of an honest one."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """Noise, a truncated proposal, a proposal with a byte appended, or one bit flipped."""
    kind = random.randrange(4)
    if kind == 0:
        return Forgery("noise", random.randbytes(random.randrange(0, 400)))
    if kind == 1:
        return Forgery("truncated", honest[: random.randrange(len(honest))])
    if kind == 2:
        return Forgery("appended", honest + bytes([random.randrange(256)]))
    flipped = bytearray(honest)
    flipped[random.randrange(len(honest))] ^= 1 << random.randrange(8)
    return Forgery("bit flipped", bytes(flipped))
