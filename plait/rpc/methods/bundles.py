"""plait_: bundles, transactions on several rollups that take place together or not at all. Level 7.

A bundle's transactions are in no public answer before they are decided; its hash is all that finds it.
"""

from typing import Any, Final

from plait.execution.bundles import try_bundle
from plait.execution.candidate import Candidate
from plait.protocol.grid import slot_at
from plait.rpc.bundle_answers import refuse_empty, status_of, trial_of
from plait.rpc.bundles import BUNDLE, SEND_OPTIONS, BundleRequest, SendOptions
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import DATA, HASH, OBJECT_SCHEMA
from plait.rpc.table import Param, method
from plait.types import Bundle, Hash32, Slot

_HASH_EXAMPLE: Final = "0x" + "11" * 32
_BUNDLE: Final = Param("bundle", BUNDLE)


def _slot(endpoint: Endpoint) -> Slot:
    return slot_at(endpoint.backend.parameters, endpoint.backend.clock.now_ms())


def _bundle(endpoint: Endpoint, request: BundleRequest) -> Bundle:
    rollups = endpoint.backend.rollups
    return request.bundle(_slot(endpoint), {i: handle.parameters.block_time_slots for i, handle in rollups.items()})


@method(
    "plait_sendBundle",
    _BUNDLE,
    Param("options", SEND_OPTIONS, optional=True, default=SendOptions()),
    mode="coroutine",
    scope="both",
    result=OBJECT_SCHEMA,
)
async def send_bundle(endpoint: Endpoint, request: BundleRequest, options: SendOptions) -> dict[str, Any]:
    """Hands in a bundle: its legs are executed together in one sub-block, or not at all."""
    pool = endpoint.backend.bundles
    bundle = _bundle(endpoint, request)
    decoded = await endpoint.readers.run(pool.decode, bundle)
    found = pool.admit(
        decoded,
        endpoint.backend.clock.now_ms(),
        _slot(endpoint),
        signature=options.signature,
        replaces=options.replaces,
    )
    return {"bundleHash": hex_of(found), "deadlineSlot": bundle.deadline_slot}


@method("plait_simulateBundle", _BUNDLE, mode="thread", scope="both", result=OBJECT_SCHEMA)
def simulate_bundle(endpoint: Endpoint, request: BundleRequest) -> dict[str, Any]:
    """Runs a bundle on the decided state and keeps nothing: per leg status, gas, revert reason and logs."""
    decoded = endpoint.backend.bundles.decode(_bundle(endpoint, request))
    touched = {leg.rollup_id for leg in decoded.terms.legs} | {c.rollup_id for c in decoded.terms.conditions}
    candidate = Candidate.over({rollup_id: endpoint.backend.rollups[rollup_id].native for rollup_id in sorted(touched)})
    for leg in decoded.terms.legs:
        refuse_empty(candidate.open_block(leg.rollup_id))
    return trial_of(decoded, try_bundle(candidate, decoded, every_leg=True))


@method(
    "plait_cancelBundle",
    Param("bundleHash", HASH),
    Param("signature", DATA),
    scope="both",
    result={"type": "boolean"},
)
def cancel_bundle(endpoint: Endpoint, bundle_hash: bytes, signature: bytes) -> bool:
    """Withdraws a waiting bundle, signed (EIP-191) by the sender of one of its transactions."""
    endpoint.backend.bundles.cancel(Hash32(bundle_hash), signature)
    return True


@method(
    "plait_getBundle",
    Param("bundleHash", HASH),
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(_HASH_EXAMPLE,),
)
def get_bundle(endpoint: Endpoint, bundle_hash: bytes) -> dict[str, Any] | None:
    """How far a bundle has come (`received`, `decided`, `sealed`), or why it was dropped; null when it is unknown."""
    status = endpoint.backend.bundles.status(Hash32(bundle_hash))
    return None if status is None else status_of(status)
