"""What waits to be said about the L1: the newest report of every validator, and the facts that this node read itself.

    offer_report   of this node, or of another one through the spread; checked against the decided ledger
    offer_facts    of this node's own L1 watcher
    candidates     reports that the ledger does not have, then facts in the order of their blocks; nothing by which a
                   block would be agreed that `holds` names
    on_decided     forgets what the ledger has

Bounded by the validators of the set and by L1_BLOCKS_KEPT_MAX blocks. Reports are free, so of others' at most
L1_REPORTS_PER_HEIGHT_MAX of a key are looked at between two decided sub-blocks: its owner cannot flood the spread. It
lives on the event loop. Level 2.
"""

from collections.abc import Callable
from typing import Protocol

from plait.codec.l1_items import SignedReport, decode_l1_item, encode_facts_item
from plait.crypto.l1_reports import is_signed
from plait.derivation.l1_facts import L1BlockFacts, encode_l1_facts
from plait.errors import ActionRefused
from plait.limits import (
    L1_BLOCKS_KEPT_MAX,
    L1_ITEMS_PER_SUB_BLOCK_MAX,
    L1_REORG_BLOCKS_MAX,
    L1_REPORTS_PER_HEIGHT_MAX,
)
from plait.types.identifiers import NetworkId
from plait.types.l1 import L1Report


class L1View(Protocol):
    """What is read of the decided ledger."""

    @property
    def next_number(self) -> int:
        """Number of the L1 block that is to be agreed next."""
        ...

    @property
    def newest(self) -> int:
        """Number of the newest L1 block that may be agreed as far as the ledger's reports go."""
        ...

    @property
    def lag_blocks(self) -> int:
        """How far agreement stays below the reported heads."""
        ...

    def sequence_of(self, public_key: bytes) -> int | None:
        """Sequence of the newest report that the ledger has of a key, -1 for none; None for one that may not report."""
        ...


class L1Items:
    """Reports and facts that wait.

    Args:
        network_id: that reports must be signed for.
        view: of the decided ledger; gives None in a network without an L1.
    """

    def __init__(self, network_id: NetworkId, view: Callable[[], L1View | None]) -> None:
        self._network_id = network_id
        self._view = view
        self._reports: dict[bytes, tuple[L1Report, bytes]] = {}
        """Report and canonical bytes by key."""
        self._facts: dict[int, bytes] = {}
        self._listeners: list[Callable[[bytes], None]] = []
        self.holds: Callable[[int], bool] = lambda _: False
        """Whether an L1 block may not be agreed yet, because this node could not execute what follows from it."""
        self.on_facts: Callable[[L1BlockFacts], None] = lambda _: None
        """Told of the facts that this node read."""
        self._taken: dict[bytes, int] = {}
        """Reports of each key since the last decided sub-block."""

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Has the canonical bytes of every report of this node told to `listener`."""
        self._listeners.append(listener)

    def offer_report(self, raw: bytes, *, own: bool = False) -> bool:
        """Takes a report; whether it is news.

        Args:
            raw: canonical bytes.
            own: made by this node, so that others have to hear of it.

        Raises:
            CodecError: `l1_item_malformed`.
            ActionRefused: `l1_not_used`, `l1_reporter_unknown`, `l1_report_unsigned`.
        """
        signed = decode_l1_item(raw)
        view = self._view()
        if view is None or not isinstance(signed, SignedReport):
            raise ActionRefused("this network has no L1, or this is no report", code="l1_not_used")
        report = signed.report
        held = view.sequence_of(report.public_key)
        if held is None:
            raise ActionRefused("the key of this L1 report belongs to no validator", code="l1_reporter_unknown")
        waiting = self._reports.get(report.public_key)
        if report.sequence <= max(held, -1 if waiting is None else waiting[0].sequence):
            return False
        if not own and self._taken.get(report.public_key, 0) >= L1_REPORTS_PER_HEIGHT_MAX:
            return False
        if not is_signed(self._network_id, signed):
            raise ActionRefused("the L1 report is not signed by its key", code="l1_report_unsigned")
        self._taken[report.public_key] = self._taken.get(report.public_key, 0) + 1
        self._reports[report.public_key] = (report, raw)
        if own:
            for listener in self._listeners:
                listener(raw)
        return True

    def waits(self, raw: bytes) -> bool:
        """Whether a report is waiting."""
        return any(raw == waiting for _, waiting in self._reports.values())

    def offer_facts(self, facts: L1BlockFacts) -> None:
        """Takes facts of an L1 block; newer ones of the same number replace older ones."""
        view = self._view()
        if view is not None and view.next_number - L1_BLOCKS_KEPT_MAX <= facts.number:
            self._facts[facts.number] = encode_facts_item(encode_l1_facts(facts))
            self.on_facts(facts)
            while len(self._facts) > 2 * L1_BLOCKS_KEPT_MAX:
                del self._facts[min(self._facts)]

    def candidates(self) -> list[bytes]:
        """Canonical bytes for a proposal."""
        view = self._view()
        if view is None:
            return []
        self._forget(view)
        held = min(filter(self.holds, self._facts), default=None)
        reports = [
            (report, raw)
            for _, (report, raw) in sorted(self._reports.items())
            if held is None or report.head - view.lag_blocks < held
        ]
        found = [raw for _, raw in reports]
        newest = max([view.newest, *(report.head - view.lag_blocks for report, _ in reports)])
        number = view.next_number
        while number <= newest and number != held and number in self._facts and len(found) < L1_ITEMS_PER_SUB_BLOCK_MAX:
            found.append(self._facts[number])
            number += 1
        return found

    def on_decided(self) -> None:
        """Forgets reports that the ledger has, or whose key may not report any more, and facts of old blocks."""
        self._taken.clear()
        view = self._view()
        if view is not None:
            self._forget(view)

    def _forget(self, view: L1View) -> None:
        for number in [one for one in self._facts if one < view.next_number - L1_REORG_BLOCKS_MAX]:
            del self._facts[number]
        for key, (report, _) in list(self._reports.items()):
            held = view.sequence_of(key)
            if held is None or report.sequence <= held:
                del self._reports[key]
