"""Builds for something else than what is agreed: another proposer, other votes, evidence that nobody has."""

from random import Random

import msgspec

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import BlockIdFlag, ConsensusAddress, Misbehavior, MisbehaviorKind
from sim.byzantine import garbage


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """An honest proposal for other agreed data; garbage where there are no validators."""
    agreed = request.agreed
    if not agreed.votes:
        return garbage.forge(random, application, request, honest)
    kind = random.randrange(3)
    victim = random.choice(agreed.votes)
    if kind == 0:
        changed = msgspec.structs.replace(agreed, proposer=ConsensusAddress(random.randbytes(20)))
    elif kind == 1:
        flag = BlockIdFlag.COMMIT if victim.flag is BlockIdFlag.ABSENT else BlockIdFlag.ABSENT
        votes = tuple(msgspec.structs.replace(vote, flag=flag) if vote is victim else vote for vote in agreed.votes)
        changed = msgspec.structs.replace(agreed, votes=votes)
    else:
        accusation = Misbehavior(
            kind=MisbehaviorKind.DUPLICATE_VOTE,
            address=victim.address,
            power=victim.power,
            height=request.height,
            time_ms=request.time_ms,
            total_power=sum(vote.power for vote in agreed.votes),
        )
        changed = msgspec.structs.replace(agreed, misbehavior=(*agreed.misbehavior, accusation))
    proposal = application.prepare(msgspec.structs.replace(request, agreed=changed)).proposal
    return Forgery("built for other agreed data", proposal, proposal == honest)
