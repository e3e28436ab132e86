"""op-conductor's place: what an unmodified op-node asks before it leads and before it publishes a block.

Specification (op-node v1.16.11, op-node/node/conductor.go, rollup/sequencing/sequencer.go; op-conductor rpc/api.go)
    - op-node (`--conductor.enabled --conductor.rpc=URL`) calls `conductor_leader` -> bool before it starts to sequence
      and before it takes over, and `conductor_commitUnsafePayload(envelope)` -> null after a block is built and before
      it is gossiped. Each at most twice, 50 ms apart, within --conductor.rpc-timeout (1 s); an error keeps the block
      from being published.
    - op-conductor's leader is Raft's and its commit a Raft log entry: it survives crashes and trusts its members. Here
      agreement is Byzantine fault tolerant, and a block that an op-node shows is not proposed by it but compared.
Modes
    decided  op-node publishes only what this network decided: leader while the network orders the rollup, a commit
             succeeds for exactly the block that is sealed here at its height. op-node then builds through the boost
             face or an engine that this node drives, and adds what only it can: gossip under its own key.
    follow   a stock sequencer goes on while the network does not order its rollup (before a takeover, after giving it
             back): leader until the network orders the rollup, never after. Each block is recorded on disk before
             op-node publishes it, one per height: a second one for a recorded height, or one that does not follow on
             the last, is refused. Whoever takes over begins at the recorded head.
A refused commit changes nothing and says why. Level 5.
"""

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from plait.derivation.execution_payload import PayloadEnvelope, envelope_from_json
from plait.errors import CodecError, RequestRefused, Unavailable
from plait.limits import CONDUCTOR_WAIT_S
from plait.rollups.opstack.faces.conductor_record import ConductorRecord
from plait.rollups.opstack.faces.host import FaceHost
from plait.rollups.opstack.faces.json_rpc import argument, not_found, respond
from plait.rollups.opstack.faces.listener import listening
from plait.rollups.opstack.faces.settings import ConductorSettings
from plait.rollups.opstack.payload import block_hash_of
from plait.types import BlockNumber, Hash32, RollupId

_COMMIT: Final = "conductor_commitUnsafePayload"


class Conductor:
    """The face; one port, a path per rollup.

    Args:
        host: the node.
        settings: where to listen, and in which mode.
        record: of the blocks that were committed in mode `follow`; None in mode `decided`.
    """

    def __init__(self, host: FaceHost, settings: ConductorSettings, record: ConductorRecord | None) -> None:
        self._host = host
        self._settings = settings
        self._record = record
        self.url = ""
        """http://host:port, once it listens."""
        self._committed = self._refused = 0

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {"committed": self._committed, "refused": self._refused}

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Answers until cancelled. Raises ConfigurationError (`port_in_use`, `address_unusable`)."""
        async with listening(self._settings.host, self._settings.port, self._handle) as address:
            self.url = f"http://{address}"
            if ready is not None:
                ready.set()
            await asyncio.Event().wait()

    # ------------------------------------------------------------ answers
    def leads(self, rollup_id: RollupId) -> bool:
        """Whether the op-node of a rollup may sequence now."""
        rollup = self._host.rollups.get(rollup_id)
        ordered_here = rollup is not None and rollup.is_active
        return ordered_here if self._settings.mode == "decided" else not ordered_here

    async def commit(self, rollup_id: RollupId, envelope: PayloadEnvelope) -> None:
        """Returns when op-node may publish the block.

        Raises:
            RequestRefused: `conductor_not_leader`, `conductor_block_differs`, `conductor_height_taken`,
                `conductor_parent_unknown`.
            Unavailable: `conductor_block_undecided`.
            CodecError: `payload_malformed`, `payload_hash_wrong`.
        """
        payload = envelope.payload
        if block_hash_of(envelope) != payload.block_hash:
            raise CodecError(
                f"Block {payload.block_number} has another hash than 0x{payload.block_hash.hex()} by its fields.",
                code="payload_hash_wrong",
            )
        if not self.leads(rollup_id):
            reason = "orders it" if self._settings.mode == "follow" else "does not order it"
            raise RequestRefused(
                f"The network {reason}; this op-node must not sequence rollup {rollup_id} now.",
                code="conductor_not_leader",
            )
        if self._record is not None:
            await asyncio.to_thread(self._record.commit, rollup_id, envelope)
            return
        await self._compare(rollup_id, BlockNumber(payload.block_number), payload.block_hash)

    async def _compare(self, rollup_id: RollupId, number: BlockNumber, block_hash: Hash32) -> None:
        native = self._host.rollups[rollup_id].native
        deadline = asyncio.get_running_loop().time() + CONDUCTOR_WAIT_S
        while native.head.number < number:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    f"The network has not decided block {number} of rollup {rollup_id} yet (its head is "
                    f"{native.head.number}); only decided blocks may be published.",
                    code="conductor_block_undecided",
                )
            await asyncio.sleep(0.02)
        if native.block_number_by_hash(block_hash) != number:
            raise RequestRefused(
                f"Block {number} of rollup {rollup_id} is another one here than 0x{block_hash.hex()}; let op-node "
                "build through the boost face, so that it publishes what was decided.",
                code="conductor_block_differs",
            )

    # ------------------------------------------------------------ transport
    async def _handle(self, request: web.Request) -> web.Response:
        name = request.path.strip("/")
        if not name.isascii() or not name.isdigit() or len(name) > 19:
            return web.Response(status=404, text="op-conductor's methods are at /<chain id>\n")
        rollup_id = RollupId(int(name))
        if self._settings.mode == "decided" and rollup_id not in self._host.rollups:
            return web.Response(status=404, text=f"this network has no rollup {rollup_id}\n")

        async def call(method: str, params: list[msgspec.Raw]) -> Any:
            return await self._call(rollup_id, method, params)

        return await respond(request, call)

    async def _call(self, rollup_id: RollupId, method: str, params: list[msgspec.Raw]) -> Any:
        if method in {"conductor_leader", "conductor_active", "conductor_sequencerHealthy"}:
            return self.leads(rollup_id) if method == "conductor_leader" else True
        if method in {"conductor_paused", "conductor_stopped", "conductor_leaderOverridden"}:
            return False
        if method != _COMMIT:
            raise not_found(method)
        try:
            await self.commit(rollup_id, envelope_from_json(argument(params, 0, method)))
        except (RequestRefused, Unavailable, CodecError):
            self._refused += 1
            raise
        self._committed += 1
        return None
