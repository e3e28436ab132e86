"""Watches ForcedInclusion on L1 and says when a deadline is near, missed, claimed, or counted against a rollup.

Specification
    - A request's deposit is in the first block whose L1 origin is the request's L1 block or a later one: derivation
      puts it there. It counts as included here once that block is sealed.
    - `forced_inclusion_due` (warning): not included, and less than a quarter of its time is left.
    - `forced_inclusion_missed` (alarm): not included, and its deadline is over.
    - `forced_inclusion_claimed` (alarm): somebody says on L1 that it was missed; until when an answer counts.
    - `forced_inclusion_overdue` (alarm): the contract counts more missed deadlines against a rollup than the operator
      has acknowledged.
    The newest L1_FORCED_REQUESTS_MAX requests are looked at, L1_FORCED_READS_PER_STEP_MAX in one look. Nothing here
    decides anything: deposits are included by derivation whoever watches.
Level 6.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from plait.errors import PlaitError
from plait.l1.client import L1Client
from plait.l1.forced import ForcedRequest, ForcedState, read_forced
from plait.ledger.state import LedgerState
from plait.limits import L1_CHECKPOINT_POLL_S, L1_FORCED_READS_PER_STEP_MAX, L1_FORCED_REQUESTS_MAX
from plait.node.l1_alarms import Alarm, AlarmLevel, raised_and_cleared
from plait.node.logging import get_logger
from plait.types import Address, RollupId

_log = get_logger("forced_inclusion")
_WATCHED: Final = ("open", "claimed")
DUE_SHARE: Final = 4
"""A quarter of the window before the deadline an operator hears of a request."""


def is_sealed(ledger: LedgerState, request: ForcedRequest) -> bool | None:
    """Whether the block that must hold a request's deposit is sealed; None for a rollup that derives from no L1."""
    record = next((one for one in ledger.rollups if one.rollup_id == request.rollup_id), None)
    if record is None or not record.epochs:
        return None
    first = next((one.first_block for one in record.epochs if one.origin.number >= request.l1_block), None)
    return first is not None and first <= record.head_number


class ForcedWatch:
    """The service of one node. `run` is its task.

    Args:
        client: of the L1, open.
        contract: ForcedInclusion.
        ledger: the committed one, now.
        acknowledged: missed deadlines that raise no alarm any more, by rollup id.
    """

    def __init__(
        self,
        *,
        client: L1Client,
        contract: Address,
        ledger: Callable[[], LedgerState],
        acknowledged: Mapping[int, int],
        poll_s: float = L1_CHECKPOINT_POLL_S,
    ) -> None:
        self._client = client
        self._contract = contract
        self._ledger = ledger
        self._acknowledged = dict(acknowledged)
        self._poll_s = poll_s
        self._next = 1
        self._begun = False
        self._watched: dict[int, ForcedRequest] = {}
        self._looked_at = 0
        """The request that was read last of those watched: with many they are read in turns."""
        self._sealed: set[int] = set()
        """Requests whose block was seen sealed before their deadline."""
        self._failure: PlaitError | None = None
        self._alarms: dict[tuple[str, int], Alarm] = {}
        self.state: ForcedState | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, as sentences."""
        return tuple(alarm.message for alarm in self._alarms.values())

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong."""
        return tuple(self._alarms.values())

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        state = self.state
        return {
            "requests": 0 if state is None else state.count,
            "waiting": len(self._watched),
            "overdue": 0 if state is None else sum(state.overdue.values()),
            "alarms": len(self._alarms),
        }

    def status(self) -> dict[str, Any]:
        """For people."""
        return {
            "contract": "0x" + self._contract.hex(),
            **self.statistics(),
            "alarms": [{"code": one.code, "message": one.message} for one in self._alarms.values()],
        }

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            more = await self.step()
            if not more:
                await asyncio.sleep(self._poll_s)

    async def step(self) -> bool:
        """Looks at the contract once. Returns whether requests are left that were not read yet."""
        self._failure = None
        try:
            state = await self._read()
            if not self._begun:
                self._begun = True
                self._next = max(1, state.count - L1_FORCED_REQUESTS_MAX + 1)
                state = await self._read()
        except PlaitError as error:
            self._failure = error
            self._judge()
            return False
        self.state = state
        for gone in [one for one in self._watched if one > state.count]:
            del self._watched[gone]  # L1 was reorganised
        for request in state.requests:
            if request.state in _WATCHED:
                self._watched[request.number] = request
            else:
                self._watched.pop(request.number, None)
        new = [one.number for one in state.requests if one.number >= self._next]
        self._next = min(max([self._next - 1, *new]), state.count) + 1
        while len(self._watched) > L1_FORCED_REQUESTS_MAX:
            del self._watched[min(self._watched)]
        self._sealed &= self._watched.keys()
        self._judge()
        return self._next <= state.count

    async def _read(self) -> ForcedState:
        waiting = sorted(self._watched)
        later = [one for one in waiting if one > self._looked_at] + [one for one in waiting if one <= self._looked_at]
        chosen = later[:L1_FORCED_READS_PER_STEP_MAX]
        self._looked_at = chosen[-1] if chosen else 0
        return await read_forced(
            self._client,
            self._contract,
            numbers=chosen,
            new_from=self._next,
            new_max=L1_FORCED_READS_PER_STEP_MAX if self._begun else 0,
            rollups=list(self._ledger().rollup_ids),
        )

    # ------------------------------------------------------------ alarms
    def _judge(self) -> None:
        now: list[Alarm] = []
        if self._failure is not None:
            now.append(_alarm(self._failure.code, "alarm", RollupId(0), self._failure.message))
        if self.state is not None:
            now += self._alarms_of(self.state)
        raised, cleared, self._alarms = raised_and_cleared(self._alarms, now)
        for alarm in raised:
            log = _log.error if alarm.level == "alarm" else _log.warning
            log(alarm.code, rollup=int(alarm.rollup_id), message=alarm.message)
        for alarm in cleared:
            _log.info("alarm_ended", code=alarm.code, rollup=int(alarm.rollup_id))

    def _alarms_of(self, state: ForcedState) -> list[Alarm]:
        ledger = self._ledger()
        near: dict[RollupId, list[ForcedRequest]] = {}
        missed: dict[RollupId, list[ForcedRequest]] = {}
        claimed: dict[RollupId, list[ForcedRequest]] = {}
        for number, request in sorted(self._watched.items()):
            if request.state == "claimed":
                claimed.setdefault(request.rollup_id, []).append(request)
            sealed = is_sealed(ledger, request)
            if sealed is None or number in self._sealed:
                continue
            if sealed:
                self._sealed.add(number)
            elif state.time_s > request.deadline:
                missed.setdefault(request.rollup_id, []).append(request)
            elif request.deadline - state.time_s < state.window_s // DUE_SHARE:
                near.setdefault(request.rollup_id, []).append(request)
        found = [_due(rollup_id, some, state) for rollup_id, some in near.items()]
        found += [_missed(rollup_id, some, state) for rollup_id, some in missed.items()]
        found += [_claimed(rollup_id, some) for rollup_id, some in claimed.items()]
        for rollup_id, count in sorted(state.overdue.items()):
            if count > self._acknowledged.get(rollup_id, 0):
                found.append(_overdue(rollup_id, count))
        return found


def _due(rollup_id: RollupId, some: list[ForcedRequest], state: ForcedState) -> Alarm:
    first = min(one.deadline for one in some)
    sentence = (
        f"Rollup {rollup_id} has {len(some)} forced requests in no sealed block yet; the first deadline is in "
        f"{first - state.time_s} s. Check that the network agrees on L1 blocks and that the rollup goes on."
    )
    return _alarm("forced_inclusion_due", "warning", rollup_id, sentence)


def _missed(rollup_id: RollupId, some: list[ForcedRequest], state: ForcedState) -> Alarm:
    oldest = min(some, key=lambda one: one.deadline)
    sentence = (
        f"Rollup {rollup_id} missed the deadline of {len(some)} forced requests; number {oldest.number} was due "
        f"{state.time_s - oldest.deadline} s ago and is in no sealed block. Its requester may claim that on L1; find "
        "out why the rollup does not adopt L1 blocks."
    )
    return _alarm("forced_inclusion_missed", "alarm", rollup_id, sentence)


def _claimed(rollup_id: RollupId, some: list[ForcedRequest]) -> Alarm:
    first = min(some, key=lambda one: one.claimed_until)
    sentence = (
        f"On L1 it is claimed that rollup {rollup_id} missed the deadline of forced request {first.number}"
        + (f" and {len(some) - 1} more" if len(some) > 1 else "")
        + f". Where the network included it in time, prove that on L1 before {first.claimed_until} (Unix seconds)."
    )
    return _alarm("forced_inclusion_claimed", "alarm", rollup_id, sentence)


def _overdue(rollup_id: RollupId, count: int) -> Alarm:
    sentence = (
        f"L1 holds {count} missed deadlines of forced inclusions against rollup {rollup_id}. Validators answer for "
        "them in governance; once that is done, set acknowledged in [forced_inclusion]."
    )
    return _alarm("forced_inclusion_overdue", "alarm", rollup_id, sentence)


def _alarm(code: str, level: AlarmLevel, rollup_id: RollupId, message: str) -> Alarm:
    return Alarm(code=code, level=level, rollup_id=rollup_id, message=message, percent=100)


__all__ = ["ForcedWatch", "is_sealed"]
