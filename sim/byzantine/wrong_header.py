"""Claims something else than what was agreed: another network, height, time, slot, parent, L1 origin or ledger root."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.requests import PrepareRequest
from plait.types import Hash32, L1Origin
from sim.forging import opened, with_header


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """One header field changed, the rest intact."""
    header = opened(honest).header
    other = Hash32(random.randbytes(32))
    changes: list[tuple[str, object]] = [
        ("network_id", header.network_id + 1),
        ("height", header.height + random.choice((1, 7))),
        ("slot", header.slot + random.choice((1, 1_000))),
        ("sub_index", header.sub_index + 1),
        ("time_ms", header.time_ms + random.choice((-1, 1, 60_000))),
        ("parent_app_hash", other),
        ("ledger_root", other),
        ("l1_origin", L1Origin(number=header.l1_origin.number, hash=other)),
    ]
    name, value = random.choice(changes)
    return Forgery(f"wrong {name}", with_header(honest, **{name: value}))
