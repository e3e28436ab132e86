"""Signs checkpoints and validator sets for PlaitRegistry on L1, and commits them where this node pays.

Specification
    - A point is made of every height that is a multiple of `interval_heights`, and of every height after which other
      validators act; the newest L1_CHECKPOINT_POINTS_KEPT are held. All validators need the same interval, or their
      attestations do not meet.
    - The attester signs the app hash of each point of the interval that the registry may still take, and as the next
      set the one that acts after a point when the registry holds another one, or when half of its time is over. It
      signs what its own node decided and nothing that anybody else claims; what it signs is a function of decided
      heights and of the registry, so that nothing has to survive a crash.
    - What it signed is served (`plait_getL1Attestations`); the node that pays gathers and commits it (`l1_paying`).
    - A registry that is halted or whose set has expired takes nothing more: an alarm says so and what to do. So does a
      set whose time runs out, a key that attests for nobody, an account that cannot pay, too few signatures.
    - Whatever goes wrong is an alarm with a code, in the log once when it begins and once when it ends.
Level 6.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.errors import PlaitError
from plait.l1.attestations import AttestedValidator, L1Contract, attest
from plait.l1.client import L1Client
from plait.l1.gathering import Attestations, CheckpointClaim, SetClaim
from plait.l1.registry import RegistryState, read_attesters, read_checkpoints, read_registry
from plait.ledger.state import LedgerState
from plait.limits import (
    L1_CHECKPOINT_POINTS_KEPT,
    L1_CHECKPOINT_POLL_S,
    L1_TRUST_RENEW_PERCENT,
    L1_TRUST_WARNING_PERCENT,
)
from plait.node.known_sets import KnownSets, acting_set
from plait.node.l1_alarms import Alarm, AlarmLevel, raised_and_cleared
from plait.node.l1_paying import CheckpointPayer
from plait.node.logging import get_logger
from plait.rollups.batcher.l1_transactions import address_of_key
from plait.types import Address, Hash32, Height, NetworkId, RollupId

_log = get_logger("l1_checkpoints")
MISSING_S: Final = 600
"""So long a checkpoint may wait for its quorum before the paying node's operator hears of it."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A decided height of which something may be signed."""

    height: Height
    app_hash: Hash32
    following: tuple[AttestedValidator, ...]
    """Validators that act from the next height on."""
    following_hash: Hash32
    is_checkpoint: bool
    """Whether it is a multiple of the interval."""
    ledger: LedgerState


class L1Checkpoints:
    """The service of one node. `run` is its task; `on_decided` belongs to the same event loop.

    Args:
        client: of the L1, open.
        contract: the registry.
        network_id: that the registry must be of.
        interval_heights: between two checkpoints.
        ledger: committed now.
        key: of the attester, 32 bytes; None on a node that only pays.
        payer: None on a node that does not pay.
        directory: where sets are remembered; None for memory.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        *,
        client: L1Client,
        contract: L1Contract,
        network_id: NetworkId,
        interval_heights: int,
        ledger: LedgerState,
        key: bytes | None,
        payer: CheckpointPayer | None = None,
        directory: Path | None = None,
        poll_s: float = L1_CHECKPOINT_POLL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.contract = contract
        self.payer = payer
        self._client = client
        self._network_id = network_id
        self._interval = interval_heights
        self._key = key
        self.attester: Address | None = None if key is None else address_of_key(key)
        self._poll_s = poll_s
        self._clock = clock
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        self._known = KnownSets(directory)
        self._acting = self._known.add(acting_set(ledger.economy))
        self._points: deque[Point] = deque(maxlen=L1_CHECKPOINT_POINTS_KEPT)
        self._signatures: dict[bytes, bytes] = {}
        self._committed: dict[Height, Hash32] = {}
        self._waiting_since: float | None = None
        self._wake = asyncio.Event()
        self._failure: PlaitError | None = None
        self._alarms: dict[tuple[str, int], Alarm] = {}
        self.state: RegistryState | None = None
        """What was last read; None before."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"L1Checkpoints(registry={self.contract.address.hex()})"

    # ------------------------------------------------------------ decided heights
    def on_decided(self, height: Height, app_hash: Hash32, ledger: LedgerState) -> None:
        """Notes a decided height. `ledger` is the one that it left behind."""
        following = acting_set(ledger.economy)
        is_checkpoint = height % self._interval == 0
        # a set is only hashed where it may have changed: that is after few heights
        if not is_checkpoint and following == self._known.get(self._acting):
            return
        try:
            hash_ = self._known.add(following)
        except OSError as error:
            _log.warning("l1_sets_not_kept", reason=str(error))
            return
        if is_checkpoint or hash_ != self._acting:
            self._points.append(
                Point(
                    height=height,
                    app_hash=app_hash,
                    following=following,
                    following_hash=hash_,
                    is_checkpoint=is_checkpoint,
                    ledger=ledger,
                )
            )
            self._wake.set()
        self._acting = hash_

    # ------------------------------------------------------------ what others ask
    def attestations(self) -> Attestations | None:
        """What this node's attester signs now; None before the registry was read.

        Without a key there is the registry's current set alone, for those who gather.
        """
        state = self.state
        if state is None:
            return None
        checkpoints: tuple[CheckpointClaim, ...] = ()
        sets: tuple[SetClaim, ...] = ()
        if self._key is not None and not state.expired and not state.conflict_height:
            checkpoints = tuple(self._checkpoint_claims(state))
            sets = tuple(self._set_claims(state))
        return Attestations(
            chain_id=self.contract.chain_id,
            registry=self.contract.address,
            network_id=self._network_id,
            epoch=state.epoch,
            attester=self.attester or Address(bytes(20)),
            current=self._known.get(state.set_hash),
            checkpoints=checkpoints,
            sets=sets,
        )

    def proven_point(self) -> Point | None:
        """The newest point whose checkpoint the registry holds; None when there is none."""
        held = [one for one in self._points if self._committed.get(one.height) == one.app_hash]
        return held[-1] if held else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, as sentences."""
        return tuple(alarm.message for alarm in self._alarms.values())

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        state, point = self.state, self.proven_point()
        return {
            "epoch": 0 if state is None else state.epoch,
            "trust_used_percent": 0 if state is None else state.used_percent,
            "points": len(self._points),
            "committed_height": 0 if point is None else point.height,
            "alarms": len(self._alarms),
            **({} if self.payer is None else self.payer.statistics()),
        }

    def status(self) -> dict[str, Any]:
        """For people."""
        state, point = self.state, self.proven_point()
        return {
            "registry": "0x" + self.contract.address.hex(),
            "attester": None if self.attester is None else "0x" + self.attester.hex(),
            "intervalHeights": self._interval,
            "epoch": None if state is None else state.epoch,
            "trustedUntil": None if state is None else state.trusted_until,
            "points": [one.height for one in self._points],
            "committedHeight": None if point is None else point.height,
            "payer": None if self.payer is None else self.payer.status(),
            "alarms": [{"code": one.code, "message": one.message} for one in self._alarms.values()],
        }

    # ------------------------------------------------------------ the task
    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            await self.step()
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await asyncio.sleep(min(self._poll_s, 0.5))  # points of a busy network do not make it ask without a pause

    async def step(self) -> None:
        """Reads the registry once, signs, and pays when it is this node's turn."""
        self._failure = None
        unknown: tuple[Address, ...] = ()
        try:
            state = await read_registry(self._client, self.contract)
            heights = [one.height for one in self._points if one.is_checkpoint]
            held = await read_checkpoints(self._client, state, heights)
            self._committed = {at: found for at, found in zip(heights, held, strict=True) if found is not None}
            self.state = state
            unknown = await self._absent(state)
            await self._pay(state)
        except PlaitError as error:
            self._failure = error
        except OSError as error:
            self._failure = PlaitError(
                f"What was signed for L1 cannot be written ({error.strerror}); nothing is committed until it can.",
                code="l1_payer_journal_unwritable",
            )
        self._judge(unknown)

    async def _absent(self, state: RegistryState) -> tuple[Address, ...]:
        """The attester, when it attests for nobody of the registry's set."""
        validators = self._known.get(state.set_hash)
        if self.attester is None or not validators:
            return ()
        keys = await read_attesters(self._client, state, [one.operator for one in validators])
        return () if self.attester in keys else (self.attester,)

    async def _pay(self, state: RegistryState) -> None:
        if self.payer is None:
            return
        missing = self._is_missing(state)
        if not missing or state.expired or state.conflict_height or state.network_id != self._network_id:
            self._waiting_since = None
            await self.payer.follow()
            return
        if self._waiting_since is None:
            self._waiting_since = self._clock()
        own = self.attestations()
        sent = await self.payer.pay(
            state,
            () if own is None else (own,),
            self._known.get(state.set_hash),
            {one.height: one.app_hash for one in self._points},
        )
        if sent is not None:
            self._waiting_since = None
            _log.info("l1_committing", what=sent, registry="0x" + self.contract.address.hex())

    def _is_missing(self, state: RegistryState) -> bool:
        """Whether the registry lacks something that validators sign by now."""
        newest = next((one for one in reversed(self._points) if one.is_checkpoint), None)
        lacks_checkpoint = (
            newest is not None and newest.height >= state.set_height and newest.height not in self._committed
        )
        return lacks_checkpoint or any(self._wants_set(state, one) for one in self._points)

    # ------------------------------------------------------------ signing
    def _checkpoint_claims(self, state: RegistryState) -> list[CheckpointClaim]:
        wanted = [one for one in self._points if one.is_checkpoint and one.height >= state.set_height]
        return [
            CheckpointClaim(one.height, one.app_hash, self._signed(state.checkpoint_digest(one.height, one.app_hash)))
            for one in wanted
            if one.height not in self._committed
        ]

    def _set_claims(self, state: RegistryState) -> list[SetClaim]:
        claims = []
        for one in self._points:
            if self._wants_set(state, one):
                height = Height(one.height + 1)
                digest = state.set_digest(height, one.following)
                claims.append(SetClaim(height, one.following, self._signed(digest)))
        return claims

    def _wants_set(self, state: RegistryState, point: Point) -> bool:
        """Whether the set after a point is to follow the registry's."""
        if not point.following or point.height + 1 <= state.set_height:
            return False
        if point is not self._points[-1] and point.following_hash != self._points[-1].following_hash:
            return False  # it is over already
        return point.following_hash != state.set_hash or state.used_percent >= L1_TRUST_RENEW_PERCENT

    def _signed(self, digest: bytes) -> bytes:
        found = self._signatures.get(digest)
        if found is None:
            assert self._key is not None, "asked by those who have one"
            if len(self._signatures) > 4 * L1_CHECKPOINT_POINTS_KEPT:
                self._signatures.clear()
            found = self._signatures[digest] = attest(self._key, digest)
        return found

    # ------------------------------------------------------------ alarms
    def _judge(self, unknown: tuple[Address, ...]) -> None:
        now: list[Alarm] = []
        if self._failure is not None:
            now.append(_alarm(self._failure.code, "alarm", self._failure.message))
        elif self.state is not None:
            now += self._trust(self.state)
            for attester in unknown:
                sentence = (
                    f"The key 0x{attester.hex()} attests for no validator that PlaitRegistry knows; let the operator "
                    "appoint it with appointAttester, or wait for the set that its operator is in."
                )
                now.append(_alarm("l1_attester_unknown", "warning", sentence))
        if self.payer is not None:
            now += self._paying(self.payer)
        raised, cleared, self._alarms = raised_and_cleared(self._alarms, now)
        for alarm in raised:
            log = _log.error if alarm.level == "alarm" else _log.warning
            log(alarm.code, percent=alarm.percent, message=alarm.message)
        for alarm in cleared:
            _log.info("alarm_ended", code=alarm.code)

    def _trust(self, state: RegistryState) -> list[Alarm]:
        if state.network_id != self._network_id:
            sentence = f"PlaitRegistry is of network {state.network_id}, not {self._network_id}; check its address."
            return [_alarm("l1_registry_of_another_network", "alarm", sentence)]
        if state.conflict_height:
            sentence = (
                f"PlaitRegistry is halted: more than two thirds of a set signed two states of height "
                f"{state.conflict_height}. Find out who signed both; only the timelock can appoint a new set."
            )
            return [_alarm("l1_registry_halted", "alarm", sentence)]
        if state.expired:
            sentence = (
                f"PlaitRegistry trusts its validator set no more since {state.trusted_until} (Unix seconds): no "
                "checkpoint can be committed. Only the timelock can appoint a set again (restart)."
            )
            return [_alarm("l1_set_expired", "alarm", sentence)]
        used = state.used_percent
        if used < L1_TRUST_WARNING_PERCENT:
            return []
        left_s = max(0, state.trusted_until - state.block_time)
        sentence = (
            f"PlaitRegistry trusts its validator set for {left_s} s more, {used} % of its time are over, and nobody "
            "renews it. Check that validators with more than two thirds of the power attest, and that somebody pays."
        )
        return [_alarm("l1_set_expires", "alarm" if used >= _TRUST_ALARM_PERCENT else "warning", sentence, used)]

    def _paying(self, payer: CheckpointPayer) -> list[Alarm]:
        found = []
        if payer.problem is not None:
            found.append(_alarm(payer.problem.code, "alarm", payer.problem.message))
        if payer.contradiction is not None:
            sentence = (
                f"A quorum of validators signed another state of height {payer.contradiction} than this node decided "
                "or L1 holds. Nothing is committed; compare this node with others (`plait verify-log`)."
            )
            found.append(_alarm("l1_checkpoint_contradicted", "alarm", sentence))
        if self._waiting_since is not None and self._clock() - self._waiting_since >= MISSING_S:
            shares = ", ".join(f"{what}: {percent} %" for what, percent in sorted(payer.signed.items())) or "none"
            sentence = (
                f"What is due on L1 waits for signatures since {int(self._clock() - self._waiting_since)} s (signed so "
                f"far: {shares}; {payer.missing_peers} nodes do not answer). Check the nodes in attester.peers, and "
                "that all have the same interval_heights."
            )
            found.append(_alarm("l1_quorum_missing", "warning", sentence))
        return found


_TRUST_ALARM_PERCENT: Final = 90


def _alarm(code: str, level: AlarmLevel, message: str, percent: int = 100) -> Alarm:
    return Alarm(code=code, level=level, rollup_id=RollupId(0), message=message, percent=percent)


__all__ = ["L1Checkpoints", "Point"]
