"""Questions that an engine asks the `Application`, and its answers. Data only.

Level 4. `prepare` and `process` may be asked many times per height (rounds, rival proposers); `finalize` once, then
`commit` once.
"""

from collections.abc import Mapping, Sequence

import msgspec

from plait.execution.bundles import BundleCandidate
from plait.execution.relaying import Relayer
from plait.interop.relays import Relay
from plait.limits import PROPOSAL_BYTES_MAX
from plait.ordering.queues import SenderQueue
from plait.protocol.actions import ActionFailed
from plait.protocol.relaying import RelayRefused
from plait.types import NOTHING_AGREED, Agreed, Hash32, Height, Milliseconds, RollupId, Slot, SubIndex
from plait.types.action import SignedAction


class ApplicationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the committed state stands. Height 0 is genesis."""

    height: Height
    app_hash: Hash32
    slot: Slot
    sub_index: SubIndex
    time_ms: Milliseconds


class PrepareRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a proposal on top of the committed state."""

    height: Height
    time_ms: Milliseconds
    """The agreed time of this height, Unix milliseconds; never below the time of the height before."""
    candidates: Mapping[RollupId, Sequence[SenderQueue]]
    bundles: Sequence[BundleCandidate] = ()
    actions: Sequence[SignedAction] = ()
    """Ledger actions, each account's by ascending nonce."""
    l1_items: Sequence[bytes] = ()
    """Reports, then facts, of the L1 in the order of their blocks (`plait.codec.l1_items`)."""
    relayer: Relayer | None = None
    """Who delivers messages; None relays nothing."""
    relays: Sequence[Relay] = ()
    """Messages of earlier sub-blocks that wait for their delivery."""
    agreed: Agreed = NOTHING_AGREED
    bytes_max: int = PROPOSAL_BYTES_MAX


class Dropped(msgspec.Struct, frozen=True):
    """A candidate that can never be applied as things stand: the pool should forget it."""

    rollup_id: RollupId
    hash: Hash32
    code: str
    sentence: str


class Unread(msgspec.Struct, frozen=True):
    """A candidate that was left out because state that it needs is with another node and did not come in time. It
    waits; so do the later ones of its sender."""

    rollup_id: RollupId
    hash: Hash32
    code: str
    """One of `plait.native.unread`."""
    sentence: str


class BundleFailed(msgspec.Struct, frozen=True):
    """A bundle that was tried and left no trace. Whether it can still apply later is the pool's to find out."""

    hash: Hash32
    code: str
    sentence: str
    rollup_id: RollupId
    index: int
    reason: str
    charged: bool
    """It cost execution, or its condition was read and false: the sender answers for it."""
    output: bytes = b""
    """Revert data of the transaction, or of the delivery, that failed."""
    gas_used: int = 0
    """That the trial burnt."""


class PreparedProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal that this node's own `process` accepts."""

    proposal: bytes
    proposal_hash: Hash32
    transactions: int
    dropped: tuple[Dropped, ...]
    deferred: int
    """Candidates that are fine but did not fit (gas, data availability, bytes, items, or a slot that is still catching
    up)."""
    bundles_failed: tuple[BundleFailed, ...] = ()
    relays_refused: tuple[RelayRefused, ...] = ()
    """Messages that could have been relayed and were not."""
    actions_failed: tuple[ActionFailed, ...] = ()
    """Ledger actions that cannot be applied to the ledger as it is."""
    bundles_deferred: int = 0
    """Bundles that were not tried: no room on one of their rollups, outside their window, or no credit left."""
    unread: tuple[Unread, ...] = ()
    """Transactions for which state was missing. Bundles for which it was are among those that failed, uncharged, with
    the same codes."""


class ProcessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks whether a proposal is valid on top of the committed state."""

    height: Height
    time_ms: Milliseconds
    proposal: bytes
    agreed: Agreed = NOTHING_AGREED


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule holds and every commitment was recomputed."""

    proposal_hash: Hash32


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The first broken rule: its code (docs/protocol.md lists all), a sentence, and the offending values."""

    code: str
    sentence: str
    fields: Mapping[str, object]


Verdict = Accepted | Refused


class FinalizeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a proposal was decided. `process` need not have been asked before (replay, block sync)."""

    height: Height
    time_ms: Milliseconds
    proposal: bytes
    agreed: Agreed = NOTHING_AGREED
    senders: bytes | None = None
    """Senders (20 bytes each) in the order of the proposal's items, those of bundles and relays included: only from
    this node's own log, skips their recovery."""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The finalized candidate is the state now."""

    height: Height
    app_hash: Hash32
    retain_height: Height
    """Heights below this one are not needed by the application any more."""
