"""Breaks bundles apart: a leg left out or exchanged, two bundles swapped, one doubled, a stamp moved, one that fails
brought in, or a section without its legs."""

from random import Random

from plait.engines.simulated import Forgery
from plait.protocol.application import Application
from plait.protocol.grid import slot_at
from plait.protocol.proposal import Proposal, RollupItems, encode_entry, encode_leg_item
from plait.protocol.requests import PrepareRequest
from plait.types import Bundle, Leg, Milliseconds, RollupId, Slot
from sim.bundling import decoded
from sim.byzantine import garbage
from sim.forging import entries_of, opened, with_bundles
from sim.wallet import Wallet

_STRANGER = Wallet.of_index(0, "stranger")


def forge(random: Random, application: Application, request: PrepareRequest, honest: bytes) -> Forgery:
    """A proposal in which a bundle does not take place whole and in order; garbage where nothing can be broken."""
    proposal = opened(honest)
    if not proposal.bundles or random.randrange(4) == 0:
        return _failing(random, application, request, proposal, honest)
    entries = entries_of(proposal)
    kind = random.randrange(6)
    if kind == 0:
        return Forgery("leg left out", with_bundles(application, honest, entries, _without_leg(random, proposal)))
    if kind == 1:
        return Forgery("bundle doubled", with_bundles(application, honest, [*entries, entries[0]], proposal.blocks))
    if kind == 2 and len(entries) > 1:
        return Forgery("bundles swapped", with_bundles(application, honest, entries[::-1], proposal.blocks))
    if kind == 3:
        last = proposal.bundles[-1]
        late = encode_entry(Milliseconds(request.time_ms + 1), last.terms_bytes)
        return Forgery(
            "bundle of the future", with_bundles(application, honest, [*entries[:-1], late], proposal.blocks)
        )
    if kind == 4:
        return Forgery("bundle unlisted", with_bundles(application, honest, entries[:-1], proposal.blocks))
    return Forgery("legs without terms", with_bundles(application, honest, entries, ()))


def _without_leg(random: Random, proposal: Proposal) -> list[RollupItems]:
    leg = random.choice(proposal.bundles[0].terms.legs)
    return [(i, items[1:] if i == leg.rollup_id else items) for i, items in proposal.blocks]


def _failing(
    random: Random, application: Application, request: PrepareRequest, proposal: Proposal, honest: bytes
) -> Forgery:
    """A bundle of a sender without money behind the honest ones."""
    slot = proposal.header.slot
    if slot != slot_at(application.ledger.parameters, request.time_ms) or slot < 4:
        return garbage.forge(random, application, request, honest)
    rollup_id = RollupId(random.choice(application.ledger.rollup_ids))
    raw = _STRANGER.sign_1559(rollup_id, 0, to=bytes(20), value=1)
    leg = Leg(rollup_id=rollup_id, transactions=(raw,))
    bundle = decoded(Bundle(legs=(leg,), not_before_slot=Slot(0), deadline_slot=Slot(2**40)))
    blocks = dict(proposal.blocks)
    items = blocks.get(rollup_id, [])
    legs = sum(rollup_id in [found.rollup_id for found in entry.terms.legs] for entry in proposal.bundles)
    blocks[rollup_id] = [*items[:legs], encode_leg_item(bundle.hash, bundle.leg_bytes[0]), *items[legs:]]
    entries = [*entries_of(proposal), encode_entry(request.time_ms, bundle.terms_bytes)]
    return Forgery("failing bundle", with_bundles(application, honest, entries, sorted(blocks.items())))
