"""Leaves every transaction out. That is valid: no rule forces inclusion of a user's transaction."""

from random import Random

import msgspec

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """An honest proposal over no candidates."""
    nothing = msgspec.structs.replace(request, candidates={}, bundles=(), relays=(), relayer=None)
    return Forgery("censoring", application.prepare(nothing).proposal, True)
