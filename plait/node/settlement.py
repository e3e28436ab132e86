"""The settlement view: how far L1 has every rollup's blocks, and where L1 says something else than this node.

    posted      its batch is on L1 and derives to our block; what a verifier that follows L1's head calls safe
    safe        the L1 block that decided it is safe on L1
    finalized   and final there
Levels come from L1 alone, by the same derivation that verifiers run, never from the memory of what was sent. What is
final is noted in a file per rollup, so that a restart reads on from there.

Where an op-node is named as a verifier, its own view is compared too: another hash at a block that it calls safe shows
as `verifier_disagrees`.

One task for all rollups; whatever L1, a beacon node or a verifier does is a state with a code, and the node goes on.
Level 6.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgspec

from plait.codec.damage import DAMAGED
from plait.derivation.pipeline import Notice
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import PlaitError
from plait.http_client import JSON, AnswerTooLarge, HttpClient
from plait.limits import (
    L1_ANSWER_BYTES_MAX,
    SETTLEMENT_POLL_S,
    SETTLEMENT_VERIFIER_EVERY_S,
    SETTLEMENT_VERIFIER_TIMEOUT_S,
)
from plait.native import Rollup, keccak256
from plait.node.logging import get_logger
from plait.rollups.batcher.anchors import Anchor
from plait.rollups.batcher.blocks import batch_block
from plait.rollups.batcher.follower import Conflict, Follower, Levels
from plait.rollups.batcher.inbox import InboxReader
from plait.rollups.batcher.service import Floor
from plait.storage.files import Files
from plait.types import RollupId
from plait.types.l1 import RollupConflict, RollupSafe

Level = Literal["posted", "safe", "finalized"]
_log = get_logger("settlement")


class FollowedRollup(msgspec.Struct, frozen=True, kw_only=True):
    """A rollup that derives from L1."""

    rollup_id: RollupId
    native: Rollup
    config: OpStackConfig


class VerifierView(msgspec.Struct, frozen=True, kw_only=True):
    """What an op-node says of a rollup."""

    unsafe: int
    safe: int
    finalized: int
    agrees: bool | None
    """Whether our block has the hash of its safe head; None where we do not have it."""


class Settlement:
    """Follows L1 for all rollups. Methods belong to the event loop.

    Args:
        rollups: that derive from L1, by id; asked at every step.
        reader: of L1.
        directory: for what is final; None to keep it in memory.
        verifiers: URLs of op-nodes by rollup, for the comparison.
        changed: called when levels or conflicts changed.
        poll_s: pause between two looks.
    """

    def __init__(
        self,
        rollups: Callable[[], Mapping[RollupId, FollowedRollup]],
        reader: InboxReader,
        *,
        directory: Path | None = None,
        verifiers: Mapping[RollupId, str] | None = None,
        changed: Callable[[], object] = lambda: None,
        poll_s: float = SETTLEMENT_POLL_S,
        files: Files | None = None,
    ) -> None:
        self._rollups = rollups
        self._reader = reader
        self._directory = directory
        self._files = files or Files()
        self._verifiers = dict(verifiers or {})
        self._changed = changed
        self._poll_s = poll_s
        self._followers: dict[RollupId, Follower] = {}
        self._anchored: dict[RollupId, Anchor] = {}
        self._views: dict[RollupId, VerifierView] = {}
        self._wake = asyncio.Event()
        self._shown: object = None
        self.state = "starting"
        """`following`, or the code of what keeps it from reading L1."""
        self.reason = ""
        self.notices = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------ reads
    def levels(self, rollup_id: RollupId) -> Levels | None:
        """How far L1 has a rollup; None for one that does not derive from L1."""
        follower = self._followers.get(rollup_id)
        return None if follower is None else follower.levels()

    def level_of(self, rollup_id: RollupId, number: int) -> Level | None:
        """How firm L1 is about one of our sealed blocks; None when it is not on L1 or the rollup is not."""
        levels = self.levels(rollup_id)
        if levels is None or number > levels.posted:
            return None
        if number <= levels.finalized:
            return "finalized"
        return "safe" if number <= levels.safe else "posted"

    def conflicts(self) -> tuple[Conflict, ...]:
        """Where derivation replaces our blocks, by rising rollup."""
        return tuple(one.conflict for _, one in sorted(self._followers.items()) if one.conflict is not None)

    def conflict_reports(self) -> tuple[RollupConflict, ...]:
        """The same for a validator's report."""
        return tuple(
            RollupConflict(one.rollup_id, one.number, one.derived_hash)
            for one in self.conflicts()
            if one.derived_hash is not None
        )

    def safe_reports(self) -> tuple[RollupSafe, ...]:
        """How far our blocks derive from L1 as it is now, for a validator's report.

        A conflict of one rollup takes back others too, but not what L1 derives of them: built anew it would be other
        blocks, and these in conflict for ever. A reorganisation of L1 takes back whatever it must.
        """
        return tuple(
            RollupSafe(rollup_id, follower.levels().posted) for rollup_id, follower in sorted(self._followers.items())
        )

    def floor(self, rollup_id: RollupId) -> Floor | None:
        """Where a batcher without a memory begins; None until L1 was read to its head once."""
        follower = self._followers.get(rollup_id)
        head = None if follower is None else follower.posted_head()
        number = None if follower is None else follower.origin_number()
        if follower is None or head is None or head.hash is None or number is None:
            return None
        blocked = follower.conflict is not None or self._origin_is_gone(rollup_id)
        following = not blocked and not follower.waits_for_us()
        if number < self._reader.latest - 1 and following:
            return None
        return Floor(number=head.number, hash=head.hash, l1_number=number, following=following, blocked=blocked)

    def _origin_is_gone(self, rollup_id: RollupId) -> bool:
        """Whether L1 lost the origin of our newest block: a span batch that ends with it would be lost as a whole."""
        rollup = self._rollups().get(rollup_id)
        raw = (
            None
            if rollup is None or not rollup.native.head.number
            else rollup.native.raw_block(rollup.native.head.number)
        )
        if raw is None:
            return False
        batch = batch_block(raw).batch
        held = self._reader.held(batch.epoch_number)
        if held is None:
            return batch.epoch_number > self._reader.latest
        return held.facts.hash != batch.epoch_hash

    def status(self, rollup_id: RollupId | None = None) -> dict[str, Any]:
        """For people and RPC: L1's heads, and per rollup its levels, conflict and verifier."""
        chosen = (
            sorted(self._followers) if rollup_id is None else [one for one in (rollup_id,) if one in self._followers]
        )
        return {
            "state": self.state,
            "reason": self.reason,
            "l1": {
                "latest": self._reader.latest,
                "safe": self._reader.safe,
                "finalized": self._reader.finalized,
            },
            "rollups": [self._shown_rollup(one) for one in chosen],
        }

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        found: dict[str, int | float] = {
            "following": int(self.state == "following"),
            "conflicts": len(self.conflicts()),
            "notices": self.notices,
            "l1_latest": self._reader.latest,
            "restarts": sum(one.restarts for one in self._followers.values()),
        }
        for rollup_id, follower in sorted(self._followers.items()):
            levels = follower.levels()
            found[f"posted_{rollup_id}"] = levels.posted
            found[f"safe_{rollup_id}"] = levels.safe
            found[f"finalized_{rollup_id}"] = levels.finalized
        return found

    def notify(self) -> None:
        """Our chain changed: blocks were sealed or unwound."""
        self._wake.set()

    # ------------------------------------------------------------ the task
    async def run(self) -> None:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="settlement")
            if self._verifiers:
                group.create_task(self._ask_verifiers(), name="settlement-verifiers")

    async def _follow(self) -> None:
        while True:
            more = False
            try:
                more = await self.step()
                self._becomes("following", "")
            except PlaitError as error:
                self._becomes(error.code, error.message)
            except OSError as error:
                self._becomes("settlement_unwritable", f"What is final cannot be noted: {error}.")
            if more:
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
                await asyncio.sleep(self._poll_s / 4)
            except TimeoutError:
                pass
            self._wake.clear()

    async def step(self) -> bool:
        """Looks at L1 once and reads on for every rollup; whether there is more to read at once.

        Raises:
            Unavailable, L1Refused: L1 or a beacon node does not answer as it should.
        """
        await self._reader.refresh()
        rollups = self._rollups()
        for gone in self._followers.keys() - rollups.keys():
            del self._followers[gone]
        more = False
        for rollup_id, rollup in sorted(rollups.items()):
            follower = self._followers.get(rollup_id)
            if follower is None:
                follower = self._followers[rollup_id] = self._begun(rollup)
            before = follower.conflict
            more |= await follower.step(self._reader)
            self._note(follower, before)
            if follower.anchor is not None and follower.anchor != self._anchored.get(rollup_id):
                await asyncio.to_thread(self._keep, rollup_id, follower.anchor)
        shown = [(one, follower.levels(), follower.conflict) for one, follower in sorted(self._followers.items())]
        if shown != self._shown:
            self._shown = shown
            self._changed()
        return more

    # ------------------------------------------------------------ inside
    def _begun(self, rollup: FollowedRollup) -> Follower:
        anchor = self._kept(rollup.rollup_id)
        if anchor is not None:
            self._anchored[rollup.rollup_id] = anchor
        return Follower(
            rollup.rollup_id,
            rollup.config,
            rollup.native,
            anchor=anchor,
            on_notices=lambda notices: self._say(rollup.rollup_id, notices),
        )

    def _kept(self, rollup_id: RollupId) -> Anchor | None:
        path = self._path(rollup_id)
        if path is None or not path.exists():
            return None
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=Anchor)
        except DAMAGED:
            _log.warning("settlement_file_damaged", file=str(path))
            return None  # the rollup is read from its genesis again

    def _keep(self, rollup_id: RollupId, anchor: Anchor) -> None:
        path = self._path(rollup_id)
        if path is not None:
            self._files.write_whole(path, msgspec.msgpack.encode(anchor))
        self._anchored[rollup_id] = anchor

    def _path(self, rollup_id: RollupId) -> Path | None:
        return None if self._directory is None else self._directory / f"{rollup_id}.final"

    def _say(self, rollup_id: RollupId, notices: Sequence[Notice]) -> None:
        self.notices += len(notices)
        for notice in notices:
            _log.debug(
                "not_derived", rollup=rollup_id, l1_block=notice.l1_number, code=notice.code, reason=notice.message
            )

    def _note(self, follower: Follower, before: Conflict | None) -> None:
        now = follower.conflict
        if now is not None and now != before:
            _log.warning(
                "derived_otherwise",
                code="derived_otherwise",
                rollup=now.rollup_id,
                block=now.number,
                cause=now.cause,
                ours="0x" + now.our_hash.hex(),
                derived=None if now.derived_hash is None else "0x" + now.derived_hash.hex(),
                l1_block=now.inclusion_number,
            )

    def _shown_rollup(self, rollup_id: RollupId) -> dict[str, Any]:
        follower, view = self._followers[rollup_id], self._views.get(rollup_id)
        levels, conflict = follower.levels(), follower.conflict
        return {
            "rollupId": rollup_id,
            "sealed": self._rollups()[rollup_id].native.head.number if rollup_id in self._rollups() else None,
            "posted": levels.posted,
            "safe": levels.safe,
            "finalized": levels.finalized,
            "l1Read": follower.origin_number(),
            "conflict": None
            if conflict is None
            else {
                "number": conflict.number,
                "ours": "0x" + conflict.our_hash.hex(),
                "derived": None if conflict.derived_hash is None else "0x" + conflict.derived_hash.hex(),
                "cause": conflict.cause,
                "l1Block": conflict.inclusion_number,
            },
            "verifier": None if view is None else msgspec.to_builtins(view),
        }

    def _becomes(self, state: str, reason: str) -> None:
        if state != self.state:
            if state == "following":
                _log.info("following_l1")
            else:
                _log.warning("settlement_waiting", code=state, reason=reason)
        self.state, self.reason = state, reason

    # ------------------------------------------------------------ verifiers
    async def _ask_verifiers(self) -> None:
        async with HttpClient(
            timeout_s=SETTLEMENT_VERIFIER_TIMEOUT_S, answer_bytes_max=L1_ANSWER_BYTES_MAX
        ) as verifiers:
            while True:
                for rollup_id, url in sorted(self._verifiers.items()):
                    await self._ask(verifiers, rollup_id, url)
                await asyncio.sleep(SETTLEMENT_VERIFIER_EVERY_S)

    async def _ask(self, verifiers: HttpClient, rollup_id: RollupId, url: str) -> None:
        rollup = self._rollups().get(rollup_id)
        if rollup is None:
            return
        question = b'{"jsonrpc":"2.0","id":1,"method":"optimism_syncStatus","params":[]}'
        try:
            _, answer = await verifiers.request("POST", url, headers=JSON, body=question)
            found = msgspec.json.decode(answer)["result"]
            safe, hash_ = int(found["safe_l2"]["number"]), bytes.fromhex(found["safe_l2"]["hash"][2:])
            heads = [int(found[name]["number"]) for name in ("unsafe_l2", "finalized_l2")]
        except (aiohttp.ClientError, AnswerTooLarge, OSError, KeyError, TypeError, ValueError, RecursionError):
            self._views.pop(rollup_id, None)
            return
        header = rollup.native.raw_header(safe)
        agrees = None if header is None else keccak256(header) == hash_
        before = self._views.get(rollup_id)
        self._views[rollup_id] = VerifierView(unsafe=heads[0], safe=safe, finalized=heads[1], agrees=agrees)
        if agrees is False and (before is None or before.agrees is not False):
            _log.warning(
                "verifier_disagrees", code="verifier_disagrees", rollup=rollup_id, block=safe, theirs="0x" + hash_.hex()
            )


__all__ = ["Conflict", "FollowedRollup", "Level", "Levels", "Settlement", "VerifierView"]
