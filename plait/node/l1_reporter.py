"""Tells the network what this node sees of the L1, and the operator what is wrong with it.

Specification
    - A report begins with the lowest agreed L1 block that this node sees otherwise (a reorganisation), else with the
      block after the agreed head, and holds the digests of what follows, L1_REPORT_BLOCKS_MAX at most, none of the
      newest `confirmations` blocks. When the set of rollups that derive from the L1 changes, blocks above the agreed
      head are looked at anew, and nothing is said of them before.
    - It is made anew when what it says changes, at most every L1_REPORT_PAUSE_S; and again after L1_REPORT_AGAIN_S
      while the ledger has an older one. Sequence numbers are the clock's milliseconds, above the ledger's for the key.
    - The facts of the blocks after the agreed head are offered for whoever proposes when their digest is agreed on;
      again when another block takes their place, and every L1_REPORT_AGAIN_S.
    - While the L1 cannot be read, what was seen last stays reported; nothing is invented. Whatever goes wrong here is
      an alarm with a code, in the log once when it begins and once when it ends, and never stops the node.
Level 6.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from plait.crypto.l1_reports import sign_report
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import BlockId
from plait.errors import PlaitError
from plait.l1.client import L1Client
from plait.l1.watcher import L1Watcher, WatchedBlock
from plait.ledger.l1 import L1State
from plait.limits import (
    L1_AGREEMENT_BEHIND_BLOCKS,
    L1_FACTS_OFFERED_MAX,
    L1_POLL_S,
    L1_REORG_BLOCKS_MAX,
    L1_REPORT_AGAIN_S,
    L1_REPORT_BLOCKS_MAX,
    L1_REPORT_PAUSE_S,
)
from plait.native import ed25519_public_key
from plait.node.l1_alarms import Alarm, RollupPosition, alarms_of, raised_and_cleared
from plait.node.logging import get_logger
from plait.types import BlockNumber, Hash32, NetworkId, RollupId
from plait.types.l1 import L1Report, RollupConflict, RollupSafe

_log = get_logger("l1")
_STATUS_ALARM: Final = "alarm"


def watcher_of(client: L1Client, state: L1State, *, poll_s: float = L1_POLL_S) -> L1Watcher:
    """A watcher that begins far enough below the agreed head to see every reorganisation that may be taken back.

    Args:
        client: open.
        state: what is agreed now.
    """
    anchor = state.blocks[max(0, len(state.blocks) - 1 - L1_REORG_BLOCKS_MAX)]
    return L1Watcher(
        client,
        chain_id=state.terms.chain_id,
        anchor=BlockId(anchor.number, anchor.hash),
        bindings=state.bindings,
        generation=state.generation,
        vault=state.terms.vault,
        poll_s=poll_s,
    )


def report_of(
    watcher: L1Watcher,
    state: L1State,
    *,
    public_key: bytes,
    confirmations: int = 0,
    safe: Sequence[RollupSafe] = (),
    conflicts: Sequence[RollupConflict] = (),
) -> L1Report:
    """What to report now, with sequence 0.

    Args:
        watcher: what this node sees.
        state: what is agreed.
        public_key: of the reporter.
        confirmations: newest blocks of the L1 that are left out.
        safe, conflicts: ascending by rollup.
    """
    first = state.head.number + 1
    for agreed in state.blocks[1:]:
        held = watcher.block(agreed.number)
        if held is not None and _differs(held, agreed, state):
            first = agreed.number
            break
    last = watcher.tip.number - confirmations
    count = min(L1_REPORT_BLOCKS_MAX, last + 1 - first) if watcher.generation == state.generation else 0
    seen = watcher.chain(first, max(0, count))
    return L1Report(
        public_key=public_key,
        sequence=0,
        head=BlockNumber(max(0, watcher.tip.number)),
        first=BlockNumber(first),
        digests=tuple(block.digest for block in seen),
        safe=tuple(safe),
        conflicts=tuple(conflicts),
    )


class L1Reporter:
    """The task that reports; `run` it beside the watcher's.

    Args:
        watcher: what this node sees.
        network_id: part of what is signed.
        seed: of the Ed25519 key whose stake stands behind the reports; None on a node that only watches.
        agreed: the ledger's L1 state now; None before there is one.
        submit: takes the bytes of a signed report to the network; must not block. A PlaitError becomes an alarm.
        offer_facts: takes the facts of a block that follows the agreed head; must not block.
        safe, conflicts: what derivation from L1 says here, ascending by rollup.
        positions: where the rollups stand, for the alarms.
        confirmations: newest L1 blocks of which nothing is said.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        watcher: L1Watcher,
        network_id: NetworkId,
        seed: bytes | None,
        agreed: Callable[[], L1State | None],
        submit: Callable[[bytes], object],
        offer_facts: Callable[[L1BlockFacts], object],
        safe: Callable[[], Sequence[RollupSafe]] = tuple,
        conflicts: Callable[[], Sequence[RollupConflict]] = tuple,
        positions: Callable[[], Sequence[RollupPosition]] = tuple,
        confirmations: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.watcher = watcher
        self._network_id = network_id
        self._seed = seed
        self._public_key = b"" if seed is None else ed25519_public_key(seed)
        self._agreed = agreed
        self._submit = submit
        self._offer_facts = offer_facts
        self._offered: dict[int, Hash32] = {}
        self._offered_at = 0.0
        self._safe = safe
        self._conflicts = conflicts
        self._positions = positions
        self._confirmations = confirmations
        self._clock = clock
        self._said: L1Report | None = None
        self._said_at = 0.0
        self._alarms: dict[tuple[str, int], Alarm] = {}
        self._refusal: PlaitError | None = None
        self.reports = 0

    def __repr__(self) -> str:
        """Without the seed."""
        return f"L1Reporter(public_key={self._public_key.hex()})"

    async def run(self) -> None:
        """Follows the L1 and reports until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watcher.run(), name="l1-watcher")
            group.create_task(self._report(), name="l1-reporter")

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong now."""
        return tuple(self._alarms.values())

    @property
    def reasons(self) -> tuple[str, ...]:
        """The same as sentences, for the health page."""
        return tuple(alarm.message for alarm in self._alarms.values())

    def facts(self, number: int, digest: Hash32) -> L1BlockFacts | None:
        """Facts of a block that was agreed on; None when this node has not seen the block, or another one."""
        held = self.watcher.block(number)
        return held.facts if held is not None and held.digest == digest else None

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        state = self._agreed()
        worst = max((alarm.percent for alarm in self._alarms.values()), default=0)
        return {
            **self.watcher.statistics(),
            "agreed": 0 if state is None else state.head.number,
            "reports": self.reports,
            "alarms": len(self._alarms),
            "worst_alarm_percent": worst,
        }

    async def _report(self) -> None:
        while True:
            version = self.watcher.version
            self.step()
            try:  # not wait_for: it loses a cancellation at the moment of waking
                async with asyncio.timeout(L1_REPORT_PAUSE_S):
                    await self.watcher.wait(version)
            except TimeoutError:
                continue
            await asyncio.sleep(L1_REPORT_PAUSE_S)

    def step(self) -> bytes | None:
        """Judges the alarms and hands in a report when there is something new to say; returns what was handed in."""
        self._judge()
        state = self._agreed()
        if state is None:
            return None
        # one chain of agreed blocks is left to see reorganisations in, and one reach of reading ahead
        self.watcher.keep_from(state.head.number + 1 - L1_REORG_BLOCKS_MAX)
        self.watcher.follow_bindings(state.bindings, state.generation, state.head.number)
        if self.watcher.status.state == "starting":
            return None
        self._offer(state)
        if self._seed is None:
            return None
        report = report_of(
            self.watcher,
            state,
            public_key=self._public_key,
            confirmations=self._confirmations,
            safe=self._safe(),
            conflicts=self._conflicts(),
        )
        held = next((one for one in state.reports if one.public_key == self._public_key), None)
        if not self._worth_saying(report, held):
            return None
        sequence = max(int(self._clock() * 1_000), 0 if held is None else held.sequence + 1)
        if self._said is not None:
            sequence = max(sequence, self._said.sequence + 1)
        report = _with_sequence(report, sequence)
        raw = sign_report(self._network_id, report, self._seed)
        self._said, self._said_at = report, self._clock()
        self._refusal = None
        try:
            self._submit(raw)
        except PlaitError as error:
            # such as the key of a validator that is not bonded yet: said again later
            self._refusal = error
            return None
        self.reports += 1
        return raw

    def _offer(self, state: L1State) -> None:
        """Hands out what proposers need next."""
        if self.watcher.generation != state.generation:
            return
        following = self.watcher.chain(state.head.number + 1, L1_FACTS_OFFERED_MAX)
        if self._clock() - self._offered_at >= L1_REPORT_AGAIN_S:
            self._offered, self._offered_at = {}, self._clock()
        for block in following:
            if self._offered.get(block.facts.number) != block.digest:
                self._offer_facts(block.facts)
        self._offered = {block.facts.number: block.digest for block in following}

    def _worth_saying(self, report: L1Report, held: L1Report | None) -> bool:
        """Whether a report says something new, or the last one seems lost."""
        if self._said is None or _with_sequence(self._said, 0) != report:
            # the ledger's own may say the same already, after a restart
            return held is None or _with_sequence(held, 0) != report
        lost = held is None or held.sequence < self._said.sequence
        return lost and self._clock() - self._said_at >= L1_REPORT_AGAIN_S

    def _judge(self) -> None:
        now = list(alarms_of(self._positions(), self.watcher.l1_head))
        state = self._agreed()
        behind = 0 if state is None else self.watcher.tip.number - state.terms.lag_blocks - state.head.number
        if behind > L1_AGREEMENT_BEHIND_BLOCKS:
            now.append(_behind_alarm(behind))
        status = self.watcher.status
        if status.code:
            now.append(_l1_alarm(status.code, status.message))
        if self._refusal is not None:
            now.append(_l1_alarm(self._refusal.code, self._refusal.message))
        malformed = int(self.watcher.statistics()["malformed_deposits"])
        if malformed:
            sentence = f"{malformed} logs of deposit contracts on L1 are no deposits; op-node stops at such a log."
            now.append(_l1_alarm("deposit_log_malformed", sentence))
        raised, cleared, self._alarms = raised_and_cleared(self._alarms, now)
        for alarm in raised:
            log = _log.error if alarm.level == "alarm" else _log.warning
            log(alarm.code, rollup=int(alarm.rollup_id), percent=alarm.percent, message=alarm.message)
        for alarm in cleared:
            _log.info("alarm_ended", code=alarm.code, rollup=int(alarm.rollup_id))


def _behind_alarm(blocks: int) -> Alarm:
    return Alarm(
        code="l1_agreement_lags",
        level="warning",
        rollup_id=RollupId(0),
        message=f"The network has not agreed on {blocks} L1 blocks that this node sees; check that validators with "
        "more than two thirds of the stake read the L1.",
        percent=100,
    )


def _l1_alarm(code: str, message: str) -> Alarm:
    return Alarm(code=code, level=_STATUS_ALARM, rollup_id=RollupId(0), message=message, percent=100)


def _differs(held: WatchedBlock, agreed: L1BlockFacts, state: L1State) -> bool:
    """Whether this node sees another block. Facts of another generation cannot be compared, the blocks' hashes can."""
    same_set = held.facts.generation == agreed.generation
    return held.facts.hash != agreed.hash or (same_set and held.digest != state.digest(agreed))


def _with_sequence(report: L1Report, sequence: int) -> L1Report:
    return L1Report(
        public_key=report.public_key,
        sequence=sequence,
        head=report.head,
        first=report.first,
        digests=report.digests,
        safe=report.safe,
        conflicts=report.conflicts,
    )
