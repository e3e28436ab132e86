"""Leaves every transaction out. That is valid: no rule of version 1 forces inclusion of a user's transaction."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import Height, Milliseconds


def forge(random: Random, application: Application, time_ms: Milliseconds, honest: bytes) -> Forgery:
    """An honest proposal over no candidates."""
    request = PrepareRequest(height=Height(application.info().height + 1), time_ms=time_ms, candidates={})
    return Forgery("censoring", application.prepare(request).proposal, True)
