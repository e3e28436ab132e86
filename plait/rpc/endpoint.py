"""What a URL stands for: one rollup, or the network as a whole; the first argument of every handler.

Block references are resolved here, once for all methods: `latest` is the last sealed block, `pending` the open block
as decided so far, `earliest` genesis. `safe` and `finalized` are what a verifier calls so: the last block that derives
from L1's newest blocks, and from final ones. Without an L1 nothing could undo a sealed block: both are the last one.

Level 7.
"""

from collections.abc import Iterable
from typing import Final

from plait.native import PENDING, Rollup
from plait.protocol.views import RollupHandle
from plait.rpc.backend import Backend
from plait.rpc.errors import HISTORY_PRUNED, METHOD_NOT_FOUND, SERVER_ERROR, RpcError
from plait.rpc.filters import Filters
from plait.rpc.parameters import BlockRef
from plait.rpc.readers import Readers
from plait.rpc.streams import Streams
from plait.types import RollupId

HEADER_NOT_FOUND: Final = RpcError(SERVER_ERROR, "header not found", {"code": "block_unknown"})


class Endpoint:
    """The node through one URL."""

    def __init__(
        self,
        backend: Backend,
        readers: Readers,
        streams: Streams,
        rollup: RollupHandle | None,
        *,
        watch: bool = True,
    ) -> None:
        self.backend = backend
        self.is_remote = rollup is not None and rollup.native.is_remote
        """Whether another node holds the rollup's state, so that no read of it may wait on the event loop."""
        self.readers = readers.remote if self.is_remote else readers
        self._local_readers = readers
        self.streams = streams
        self._rollup = rollup
        self.filters = Filters()
        if rollup is not None and watch:
            streams.watch(rollup.rollup_id, self.filters)

    @property
    def is_rollup(self) -> bool:
        """Whether `eth_` methods have a chain to talk about."""
        return self._rollup is not None

    @property
    def rollup(self) -> RollupHandle:
        """The rollup. Raises RpcError at the network's endpoint."""
        if self._rollup is None:
            raise RpcError(METHOD_NOT_FOUND, "this endpoint is the network's; use /<chain id> for a rollup")
        return self.backend.rollups[self._rollup.rollup_id]

    @property
    def native(self) -> Rollup:
        """The rollup's state and blocks."""
        return self.rollup.native

    @property
    def rollup_id(self) -> RollupId:
        """The rollup's id."""
        return self.rollup.rollup_id

    def siblings(self) -> dict[RollupId, "Endpoint"]:
        """All rollups that the network orders, by rising id, for methods about them all."""
        rollups = self.backend.rollups
        return {
            rollup_id: Endpoint(self.backend, self._local_readers, self.streams, rollups[rollup_id], watch=False)
            for rollup_id in sorted(rollups)
            if rollups[rollup_id].is_active
        }

    def readers_for(self, rollup_ids: Iterable[RollupId]) -> Readers:
        """The threads for work on these rollups."""
        rollups = self.backend.rollups
        remote = any(one in rollups and rollups[one].native.is_remote for one in rollup_ids)
        return self._local_readers.remote if remote else self._local_readers

    def head_number(self) -> int:
        """Number of the last sealed block."""
        return self.native.head.number

    def block(self, ref: BlockRef) -> int | None:
        """The block selector of the native core, or None when there is no such block."""
        if ref.hash is not None:
            return self.native.block_number_by_hash(ref.hash)
        head = self.native.head.number
        if ref.number is not None:
            if ref.number > head:
                return None
            self.require_kept(ref.number)
            return ref.number
        if ref.tag == "earliest":
            return 0
        if ref.tag == "pending" and self.native.open_block is not None:
            return PENDING
        return self._settled(ref.tag, head)

    def _settled(self, tag: str | None, head: int) -> int:
        settlement = self.backend.settlement if tag in {"safe", "finalized"} else None
        levels = None if settlement is None else settlement.levels(self.rollup_id)
        if levels is None:
            return head
        return min(levels.posted if tag == "safe" else levels.finalized, head)

    def require_kept(self, number: int) -> None:
        """Refuses a sealed block that this node does not have because it began from a later snapshot, or the rollup
        from a later block.

        Raises:
            RpcError: 4444, `block_pruned`.
        """
        began_later = self.is_remote or self.backend.log.first_height > 1
        if number > 0 and began_later and self.native.raw_header(number) is None:
            start = "an imported block" if self.is_remote else "a snapshot"
            raise RpcError(
                HISTORY_PRUNED,
                f"pruned history unavailable: this node began from {start} and has no block {number}; ask another",
                {"code": "block_pruned", "number": hex(number)},
            )

    def state(self, ref: BlockRef) -> int:
        """The selector of a state. Raises RpcError `header not found`."""
        at = self.block(ref)
        if at is None:
            raise HEADER_NOT_FOUND
        return at
