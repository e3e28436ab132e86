"""plait_: bundles, transactions on several rollups that take place together or not at all. Level 7.

A bundle's transactions are in no public answer before they are decided; its hash is all that finds it.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from plait.execution.bundles import DecodedBundle, Trial, no_deliveries, try_bundle
from plait.execution.candidate import Candidate
from plait.execution.relaying import deliver_by
from plait.mempool.reservations import RESERVATION_ID_BYTES, reservation_text
from plait.mempool.signatures import signer_of
from plait.native import Rollup
from plait.protocol.grid import block_timestamp_s, slot_at, slot_start_ms
from plait.rpc.bundle_answers import refuse_empty, status_of, trial_of
from plait.rpc.bundles import BUNDLE, RESERVE, SEND_OPTIONS, BundleRequest, ReserveRequest, SendOptions
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import RpcError
from plait.rpc.interop import refuse_never_valid
from plait.rpc.levels import lowest_level, sealed_level
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import DATA, HASH, OBJECT_SCHEMA
from plait.rpc.remote import read_accounts, read_bundle
from plait.rpc.table import Param, method
from plait.types import Bundle, Hash32, RollupId, Slot

_HASH_EXAMPLE: Final = "0x" + "11" * 32
_BUNDLE: Final = Param("bundle", BUNDLE)


def _slot(endpoint: Endpoint) -> Slot:
    return slot_at(endpoint.backend.parameters, endpoint.backend.clock.now_ms())


def _bundle(endpoint: Endpoint, request: BundleRequest) -> Bundle:
    rollups = endpoint.backend.rollups
    return request.bundle(_slot(endpoint), {i: handle.parameters for i, handle in rollups.items()})


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
    decoded = await endpoint.readers_for(_touched(bundle)).admission.run(decoded_of, endpoint, bundle)
    found = pool.admit(
        decoded,
        endpoint.backend.clock.now_ms(),
        _slot(endpoint),
        signature=options.signature,
        replaces=options.replaces,
        reservation=options.reservation,
    )
    return {"bundleHash": hex_of(found), "deadlineSlot": bundle.deadline_slot}


def decoded_of(endpoint: Endpoint, bundle: Bundle) -> DecodedBundle:
    """Decodes a bundle that is handed in.

    Raises:
        BundleRefused: as `BundlePool.decode`.
        RpcError: one of its messages can never be executed; the number is the OP Stack's.
        NativeError: another node holds the state of a leg's senders and does not give it.
    """
    decoded = endpoint.backend.bundles.decode(bundle)
    for leg, transactions in zip(decoded.terms.legs, decoded.legs, strict=True):
        refused = refuse_never_valid(endpoint.backend, leg.rollup_id, transactions)
        for index in sorted(refused):
            error = refused[index]
            problem = f"transaction {index} of the leg on rollup {leg.rollup_id}: {error.message}"
            raise RpcError(error.number, problem, {**error.data, "rollupId": leg.rollup_id, "index": index})
    read_bundle(endpoint.backend.rollups, decoded)
    return decoded


def _touched(bundle: Bundle) -> set[RollupId]:
    return {leg.rollup_id for leg in bundle.legs} | {condition.rollup_id for condition in bundle.conditions}


def simulated(endpoint: Endpoint, bundle: DecodedBundle) -> Trial:
    """What comes of a bundle on the decided state; nothing of it is kept.

    Raises:
        RequestRefused: `block_not_open`.
    """
    backend = endpoint.backend
    candidate = Candidate.over({rollup_id: rollup.native for rollup_id, rollup in backend.rollups.items()})
    for leg in bundle.terms.legs:
        refuse_empty(candidate.open_block(leg.rollup_id))
    sets, relayer = backend.interop_sets, backend.relayer
    deliver = no_deliveries if relayer is None else deliver_by(relayer, sets)
    return try_bundle(candidate, bundle, sets, deliver, every_leg=True)


@method("plait_simulateBundle", _BUNDLE, mode="coroutine", scope="both", result=OBJECT_SCHEMA)
async def simulate_bundle(endpoint: Endpoint, request: BundleRequest) -> Any:
    """Runs a bundle on the decided state and keeps nothing: per leg status, gas, revert reason and logs."""
    bundle = _bundle(endpoint, request)
    return await endpoint.readers_for(endpoint.backend.rollups).run(_simulate, endpoint, bundle)


def _simulate(endpoint: Endpoint, bundle: Bundle) -> dict[str, Any]:
    decoded = endpoint.backend.bundles.decode(bundle)
    return trial_of(decoded, simulated(endpoint, decoded))


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
    """How far a bundle has come (`received`, `decided`, `sealed`, and with an L1 `posted`, `safe`, `finalized`: as far
    as the last of its rollups), or why it was dropped; null when it is unknown."""
    status = endpoint.backend.bundles.status(Hash32(bundle_hash))
    if status is None:
        return None
    shown = status_of(status)
    if status.status == "sealed":
        places = [(part.rollup_id, part.block_number) for part in (*status.legs, *status.deliveries)]
        level = lowest_level(
            sealed_level(endpoint.backend, one, number) for one, number in places if number is not None
        )
        shown |= {"level": level, "status": level}
    return shown


def _read_signer(rollups: Sequence[Rollup], signer: bytes) -> None:
    for rollup in rollups:
        if (failed := read_accounts(rollup, [signer])) is not None:
            raise failed


@method(
    "plait_reserve",
    Param("request", RESERVE),
    Param("signature", DATA),
    mode="coroutine",
    scope="both",
    result=OBJECT_SCHEMA,
)
async def reserve(endpoint: Endpoint, request: ReserveRequest, signature: bytes) -> dict[str, Any]:
    """Keeps the tops of the next blocks that some rollups open in one slot, for a bundle pinned to them."""
    backend = endpoint.backend
    wanted = sorted({RollupId(rollup_id) for rollup_id in request.rollups})
    signer = signer_of(reservation_text(wanted, Slot(request.slot)), signature)
    remote = [one for one in wanted if one in backend.rollups and backend.rollups[one].native.is_remote]
    if signer is not None and remote:
        readers = endpoint.readers_for(remote).admission
        await readers.run(_read_signer, [backend.rollups[one].native for one in remote], signer)
    made = backend.bundles.reserve(
        [RollupId(rollup_id) for rollup_id in request.rollups],
        Slot(request.slot),
        _slot(endpoint),
        signature,
        secrets.token_bytes(RESERVATION_ID_BYTES),
    )
    parameters = backend.parameters
    return {
        "reservationId": hex_of(made.id),
        "slot": made.slot,
        "expiresAtMs": slot_start_ms(parameters, Slot(made.slot + 1)),
        "pins": [
            {
                "rollupId": pin.rollup_id,
                "blockNumber": pin.block_number,
                "timestamp": block_timestamp_s(parameters, backend.rollups[pin.rollup_id].parameters, pin.block_number),
                "logIndex": pin.log_index,
            }
            for pin in made.pins
        ],
    }
