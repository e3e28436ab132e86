"""Chains that existed and join a running network: their copies on this node, and whether it may say that it has them.

    source = source_of(network, HOME/imports)      what rollups are made of, those that existed included
    arrivals = Arrivals(source, ...)               takes an anchored chain's copy into memory before its join slot

    HOME/imports/<chain id>      what `plait rollup import` and `plait rollup handover take` wrote; it has to stay: a
                                 replay of the log comes through the join again

A copy counts when its anchor is the agreed one to the last byte. It is loaded in a thread of its own, so that the join
takes no time, and only then do this node's L1 reports say that it has the chain. Level 6.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from plait.derivation.anchor import Anchor
from plait.errors import ConfigurationError, InvariantBroken
from plait.ledger.joining import coming
from plait.ledger.rollup_records import RollupEntry, RollupStatus
from plait.ledger.state import LedgerState
from plait.limits import ARRIVALS_POLL_S, UNWIND_BLOCKS_MAX
from plait.native import Attributes, NativeError, Rollup, Store
from plait.node.config import NetworkConfig
from plait.node.logging import get_logger
from plait.node.remotes import Remotes
from plait.protocol.grid import slot_start_ms
from plait.rollups.embedded.source import EmbeddedSource
from plait.rollups.opstack.importing import GENESIS_FILE, imported_rollup, read_anchor
from plait.types import BlockNumber, L1Origin, RollupId, RollupParameters, Seconds
from plait.types.l1 import RollupSafe

_log = get_logger("joining")


class NodeSource:
    """What a node makes rollups of (`plait.protocol.registry.RollupSource`).

    Args:
        embedded: of registered rollups.
        imports: folder with the chains that existed; None where nothing is on disk.
    """

    def __init__(self, embedded: EmbeddedSource, imports: Path | None) -> None:
        self._embedded = embedded
        self._imports = imports
        self._held: dict[RollupId, tuple[Anchor, Rollup]] = {}
        """With what the copy says of its last block: an anchor can name that block and lie about the rest."""
        self.remotes: Remotes | None = None
        """Rollups whose state another node holds; None where there are validators, who all have to hold it."""

    def attributes(
        self, rollup: RollupParameters, number: BlockNumber, timestamp_s: Seconds, fork: str | None = None
    ) -> Attributes:
        """Attributes of an embedded rollup's block."""
        return self._embedded.attributes(rollup, number, timestamp_s, fork)

    def l1_origin(self, timestamp_s: Seconds) -> L1Origin:
        """Of a network without an L1."""
        return self._embedded.l1_origin(timestamp_s)

    def genesis_json(self, entry: RollupEntry) -> bytes:
        """op-geth's genesis JSON of a rollup that is not of the network's genesis.

        Raises:
            InvariantBroken: `rollup_import_missing`: it existed, and this node has no copy.
        """
        if entry.joining is None:
            return self._embedded.genesis_json(entry)
        directory = self._directory(entry)
        try:
            return (directory / GENESIS_FILE).read_bytes()
        except OSError as error:
            raise self._missing(entry, f"{directory / GENESIS_FILE} cannot be read ({error.strerror})") from error

    def existing(self, entry: RollupEntry, store: Store) -> Rollup:
        """A chain at its anchor: the one that was loaded before, or loaded now.

        Raises:
            InvariantBroken: `rollup_import_missing`.
        """
        held = self._held.get(entry.rollup_id)
        return held[1] if held is not None and _is_the_anchor(*held, entry) else self.load(entry, store)

    def load(self, entry: RollupEntry, store: Store) -> Rollup:
        """Takes a chain's copy into memory and its blocks into the store; `existing` gives it out then.

        Raises:
            InvariantBroken: `rollup_import_missing`.
        """
        directory = self._directory(entry)
        anchor = None if entry.joining is None else entry.joining.anchor
        if anchor is None:
            raise self._missing(entry, "it has no anchor")
        try:
            found = read_anchor(directory)
            if found != anchor:
                raise self._missing(
                    entry,
                    f"the copy in {directory} ends with block {found.block.number} 0x{found.block.hash.hex()}",
                )
            if self.remotes is not None and self.remotes.is_remote(entry.rollup_id):
                rollup = self.remotes.begin(entry.rollup_id, store, undo_blocks=UNWIND_BLOCKS_MAX)
            else:
                rollup, _ = imported_rollup(directory, store)
        except (ConfigurationError, NativeError, OSError) as error:
            raise self._missing(entry, f"{error}".rstrip(".")) from error
        self._held[entry.rollup_id] = found, rollup
        return rollup

    def loaded(self, entry: RollupEntry) -> bool:
        """Whether a chain is in memory at its anchor."""
        held = self._held.get(entry.rollup_id)
        return held is not None and _is_the_anchor(*held, entry)

    def forget(self, kept: set[RollupId]) -> None:
        """Lets go of all chains but these."""
        self._held = {rollup_id: held for rollup_id, held in self._held.items() if rollup_id in kept}

    def _directory(self, entry: RollupEntry) -> Path:
        if self._imports is None:
            raise self._missing(entry, "a node in memory has no copies")
        return self._imports / str(entry.rollup_id)

    def _missing(self, entry: RollupEntry, why: str) -> InvariantBroken:
        anchor = None if entry.joining is None else entry.joining.anchor
        until = "" if anchor is None else f" up to block {anchor.block.number} 0x{anchor.block.hash.hex()}"
        where = "" if self._imports is None else f" --into {self._imports / str(entry.rollup_id)}"
        return InvariantBroken(
            f"Chain {entry.rollup_id} joins the network at slot {entry.begins_slot} and is not on this node{until}: "
            f"{why}. Copy it (`plait rollup import{where}`), or copy that folder of another node, and start again.",
            code="rollup_import_missing",
            rollup_id=entry.rollup_id,
        )


def _is_the_anchor(anchor: Anchor, rollup: Rollup, entry: RollupEntry) -> bool:
    agreed = None if entry.joining is None else entry.joining.anchor
    return anchor == agreed and rollup.head.hash == anchor.block.hash


class Arrivals:
    """Loads the chains that are going to join. `run` is its task; the rest belongs to the event loop.

    Args:
        source: of the node.
        store: of the node.
        ledger: committed.
    """

    def __init__(self, source: NodeSource, store: Store, ledger: Callable[[], LedgerState]) -> None:
        self._source = source
        self._store = store
        self._ledger = ledger
        self._reasons: dict[RollupId, str] = {}
        self._tried: dict[RollupId, float] = {}

    async def run(self) -> None:
        """Looks for anchored chains until it is cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(ARRIVALS_POLL_S)

    async def step(self) -> None:
        """Looks once."""
        ledger = self._ledger()
        waiting = [one for one in coming(ledger.economy) if one.status is RollupStatus.PENDING]
        self._source.forget({one.rollup_id for one in waiting})
        reasons: dict[RollupId, str] = {}
        for entry in waiting:
            if self._source.loaded(entry):
                continue
            try:
                await asyncio.to_thread(self._source.load, entry, self._store)
            except InvariantBroken as error:
                left_s = (slot_start_ms(ledger.parameters, entry.begins_slot) - ledger.time_ms) // 1_000
                reasons[entry.rollup_id] = f"{error.message} {max(0, left_s)} s are left."
                if entry.rollup_id not in self._reasons:
                    _log.error("import_missing", code=error.code, rollup=int(entry.rollup_id), message=error.message)
            else:
                _log.info("import_loaded", rollup=int(entry.rollup_id), join_slot=int(entry.begins_slot))
        self._reasons = reasons

    def reasons(self) -> tuple[str, ...]:
        """What is missing, for the health page."""
        return tuple(reason for _, reason in sorted(self._reasons.items()))

    def safe_reports(self) -> tuple[RollupSafe, ...]:
        """Anchored chains that are here, ascending, for a validator's report."""
        found = []
        for entry in coming(self._ledger().economy):
            anchor = None if entry.joining is None else entry.joining.anchor
            if anchor is not None and self._source.loaded(entry):
                found.append(RollupSafe(entry.rollup_id, anchor.block.number))
        return tuple(found)


def source_of(network: NetworkConfig, imports: Path | None = None) -> NodeSource:
    """Payload attributes, L1 origins and genesis files of a network's rollups.

    Args:
        network: checked.
        imports: folder with the chains that existed before.
    """
    forks = {RollupId(rollup.chain_id): rollup.fork for rollup in network.rollups}
    return NodeSource(EmbeddedSource.of(network.parameters(), forks), imports)


__all__ = ["Arrivals", "NodeSource", "source_of"]
