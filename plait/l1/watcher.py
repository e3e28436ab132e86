"""Follows the head of an L1 and keeps what its newest blocks say to a network's rollups.

Specification
    - From a block that is known to be right (the anchor) on, the watcher holds one chain of consecutive blocks: each
      proven by its hash, linked to its parent, with its receipts proven by its header. It reads ahead at most
      L1_CACHE_BLOCKS_MAX blocks and forgets below what `keep_from` names.
    - A reorganisation shows as a block whose parent is not the one held, or another block at a held number: the
      watcher walks back to the last common block and goes on from there. It never leaves the anchor: an L1 that no
      longer has it was reset or is another chain (`l1_reorg_too_deep`).
    - A node that shows an older block of the same chain (one of several behind a balancer) takes nothing back.
    - What goes wrong is a state with a code, not an exception: unreachable, another chain, lies, lags. Every state is
      left again when the L1 answers well; nothing else of the node depends on it.
Level 5. The clock is only used for how old the head is.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from plait.derivation.l1_facts import L1BlockFacts, l1_facts_digest
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.errors import L1Refused, PlaitError, Unavailable
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import BlobSchedule, blob_schedule
from plait.l1.headers import L1Header
from plait.l1.receipts import logs_of
from plait.limits import L1_CACHE_BLOCKS_MAX, L1_POLL_S, L1_POLL_S_MIN, L1_SILENCE_S, L1_STEP_BLOCKS_MAX
from plait.types import BlockNumber, Hash32

L1StateName = Literal["starting", "ok", "lagging", "unreachable", "wrong_chain", "lying", "stuck"]

_STATE_OF_CODE: Final[dict[str, L1StateName]] = {
    "l1_unreachable": "unreachable",
    "l1_call_refused": "unreachable",
    "l1_chain_mismatch": "wrong_chain",
    "l1_reorg_too_deep": "wrong_chain",
    "l1_block_malformed": "lying",
}


class L1Status(msgspec.Struct, frozen=True):
    """How the L1 answers. `code` and `message` are empty while the state is ok or starting."""

    state: L1StateName
    code: str = ""
    message: str = ""


class WatchedBlock(msgspec.Struct, frozen=True):
    """A block of the held chain."""

    facts: L1BlockFacts
    digest: Hash32
    malformed_deposits: int
    """Logs of a deposit contract that are no deposits; op-node would stop at one."""


class _Reorganised(Exception):
    """The chain changed between two answers; look again."""


class L1Watcher:
    """What a node sees of its L1.

    Args:
        client: open.
        chain_id: that the L1 must have.
        anchor: a block of it that is known to be right; the chain held begins after it.
        bindings: how the network's rollups hang on it; `follow_bindings` changes them.
        generation: of the bindings.
        vault: the network's StakeVault there; empty for none.
        schedule: of blob parameters; the chain's own by default.
        poll_s: pause between two looks at the head.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        client: L1Client,
        *,
        chain_id: int,
        anchor: BlockId,
        bindings: Sequence[OpStackConfig],
        generation: int = 0,
        vault: bytes = b"",
        schedule: BlobSchedule | None = None,
        poll_s: float = L1_POLL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._chain_id = chain_id
        self._anchor = anchor
        self._bindings = tuple(bindings)
        self._next: tuple[tuple[OpStackConfig, ...], int, int] | None = None
        self.generation = generation
        """Of the bindings that the blocks above the agreed head were looked at with."""
        self._vault = vault
        self._schedule = blob_schedule(chain_id) if schedule is None else schedule
        self._poll_s = max(poll_s, L1_POLL_S_MIN)
        self._clock = clock
        self._blocks: dict[int, WatchedBlock] = {}
        self._tip = anchor
        self._keep_from = anchor.number + 1
        self._checked = False
        self._changed = asyncio.Event()
        self._head: L1Header | None = None
        self.status = L1Status("starting")
        self.version = 0
        """Grows with every change of the held chain or of the status."""
        self.safe: BlockNumber | None = None
        self.finalized: BlockNumber | None = None
        self.reorganisations = 0
        self.deepest_reorganisation = 0

    # ------------------------------------------------------------ what is held
    @property
    def anchor(self) -> BlockId:
        """The block that the held chain begins after."""
        return self._anchor

    @property
    def tip(self) -> BlockId:
        """Newest block of the held chain; the anchor when there is none."""
        return self._tip

    @property
    def l1_head(self) -> BlockNumber | None:
        """Number of the newest block that the L1 has shown; the held chain may still be on its way there."""
        return None if self._head is None else self._head.number

    def block(self, number: int) -> WatchedBlock | None:
        """A block of the held chain; None when it is below what is kept, or not read yet."""
        return self._blocks.get(number)

    def by_hash(self, block_hash: Hash32) -> WatchedBlock | None:
        """The same by hash."""
        return next((block for block in self._blocks.values() if block.facts.hash == block_hash), None)

    def chain(self, first: int, count_max: int) -> list[WatchedBlock]:
        """Consecutive held blocks from `first` on; none when it is not held."""
        found: list[WatchedBlock] = []
        while len(found) < count_max and (block := self._blocks.get(first + len(found))) is not None:
            found.append(block)
        return found

    def keep_from(self, number: int) -> None:
        """Blocks below this number are needed no more, and reading ahead counts from here. Only grows."""
        self._keep_from = max(self._keep_from, min(number, self._tip.number + 1))
        while len(self._blocks) and (lowest := min(self._blocks)) < self._keep_from:
            block = self._blocks.pop(lowest)
            self._anchor = BlockId(block.facts.number, block.facts.hash)

    def follow_bindings(self, bindings: Sequence[OpStackConfig], generation: int, agreed: int) -> None:
        """Has the blocks above an agreed one looked at for other rollups, from the next step on."""
        if generation != self.generation and (self._next is None or self._next[1] != generation):
            self._next = (tuple(bindings), generation, agreed)

    def head_age_s(self) -> float | None:
        """Seconds since the time of the newest block seen; None before the first."""
        return None if self._head is None else max(0.0, self._clock() - self._head.timestamp)

    def statistics(self) -> dict[str, int | float]:
        """Numbers for metrics."""
        return {
            "head": self.l1_head or 0,
            "tip": self._tip.number,
            "safe": self.safe or 0,
            "finalized": self.finalized or 0,
            "blocks": len(self._blocks),
            "head_age_seconds": self.head_age_s() or 0.0,
            "reorganisations": self.reorganisations,
            "deepest_reorganisation": self.deepest_reorganisation,
            "malformed_deposits": sum(block.malformed_deposits for block in self._blocks.values()),
            "ok": int(self.status.state == "ok"),
        }

    async def wait(self, version: int) -> int:
        """Waits until `version` is not the current one, and returns the current one."""
        while self.version == version:
            self._changed.clear()
            await self._changed.wait()
        return self.version

    # ------------------------------------------------------------ following
    async def run(self) -> None:
        """Follows the head until it is cancelled."""
        while True:
            more = await self.step()
            if not more:
                await asyncio.sleep(self._poll_s)

    async def step(self) -> bool:
        """Looks at the head once and reads up to L1_STEP_BLOCKS_MAX blocks. Returns whether more can be read now."""
        self._take_bindings()
        before = self._tip
        try:
            if not self._checked:
                await self._check_chain()
            await self._look()
            more = await self._advance()
        except _Reorganised:
            # nodes behind a balancer that are of two minds would be asked without a pause
            return self._tip != before
        except PlaitError as error:
            self._fail(error)
            return False
        age_s = self.head_age_s() or 0.0
        if age_s > L1_SILENCE_S:
            self._set_status(
                L1Status(
                    "lagging",
                    "l1_lags",
                    f"The newest block of L1 at {self._client.address} is {int(age_s)} s old; check that its node "
                    "keeps up with its network.",
                )
            )
        else:
            self._set_status(L1Status("ok"))
        return more

    def _take_bindings(self) -> None:
        if self._next is None:
            return
        self._bindings, self.generation, agreed = self._next
        self._next = None
        for number in [one for one in self._blocks if one > agreed]:
            del self._blocks[number]
        last = self._blocks.get(agreed)
        if last is not None:
            self._tip = BlockId(last.facts.number, last.facts.hash)
        elif self._tip.number > agreed:
            self._blocks.clear()
            self._tip = self._anchor
        self._notify()

    async def _check_chain(self) -> None:
        """Raises L1Refused `l1_chain_mismatch` when the node is on another chain than the network's."""
        found = await self._client.chain_id()
        if found != self._chain_id:
            raise L1Refused(
                f"The L1 node at {self._client.address} is on chain {found}; this network's L1 is chain "
                f"{self._chain_id}. Set l1.rpc_url to a node of that chain.",
                code="l1_chain_mismatch",
                expected=self._chain_id,
                found=found,
            )
        header = await self._client.header(self._anchor.number)
        if header is None:
            raise self._behind()
        if header.hash != self._anchor.hash:
            raise self._too_deep(header)
        self._checked = True

    async def _look(self) -> None:
        head, safe, finalized = await self._client.heads()
        if head is None:
            raise Unavailable(f"The L1 node at {self._client.address} has no blocks.", code="l1_unreachable")
        self._head = head
        self.safe = self.safe if safe is None else safe.number
        self.finalized = self.finalized if finalized is None else finalized.number
        if head.number < self._anchor.number:
            raise self._behind()
        held = self._blocks.get(head.number)
        if head.number == self._anchor.number and head.hash != self._anchor.hash:
            raise self._too_deep(head)
        if held is not None and held.facts.hash != head.hash:
            await self._walk_back(head.number)

    async def _advance(self) -> bool:
        """Reads the next blocks. Returns whether more are there to be read at once."""
        head = self._head
        assert head is not None
        limit = self._keep_from + L1_CACHE_BLOCKS_MAX
        first = BlockNumber(self._tip.number + 1)
        count = min(head.number, limit - 1) - self._tip.number
        if count <= 0:
            return False
        headers = await self._client.headers(first, min(count, L1_STEP_BLOCKS_MAX))
        if headers and headers[0].parent_hash != self._tip.hash:
            await self._walk_back(self._tip.number)
            raise _Reorganised
        for header in headers:
            receipts = await self._client.receipts(header)
            facts, malformed = block_facts(header, logs_of(receipts), self._bindings, self._schedule, self._vault)
            facts = msgspec.structs.replace(facts, generation=self.generation)
            self._blocks[header.number] = WatchedBlock(facts, l1_facts_digest(facts), len(malformed))
            self._tip = BlockId(header.number, header.hash)
            self._notify()
        return bool(headers) and self._tip.number < min(head.number, limit - 1)

    async def _walk_back(self, number: int) -> None:
        """Forgets held blocks from `number` down that the L1 no longer has, and all above them."""
        depth = 0
        while number > self._anchor.number:
            header = await self._client.header(BlockNumber(number))
            held = self._blocks.get(number)
            if held is None:
                continue  # it was forgotten meanwhile: the anchor has come up to here
            if header is not None and header.hash == held.facts.hash:
                break
            number -= 1
            depth += 1
        else:
            anchor = await self._client.header(self._anchor.number)
            if anchor is None or anchor.hash != self._anchor.hash:
                raise self._too_deep(anchor)
        dropped = self._tip.number - number
        if dropped <= 0:
            return
        for gone in range(number + 1, self._tip.number + 1):
            self._blocks.pop(gone, None)
        last = self._blocks.get(number)
        self._tip = self._anchor if last is None else BlockId(last.facts.number, last.facts.hash)
        self.reorganisations += 1
        self.deepest_reorganisation = max(self.deepest_reorganisation, dropped)
        self._notify()

    def _behind(self) -> Unavailable:
        return Unavailable(
            f"The L1 node at {self._client.address} has no block {self._anchor.number} yet; wait for it.",
            code="l1_unreachable",
        )

    def _too_deep(self, header: L1Header | None) -> L1Refused:
        found = "no such block" if header is None else f"0x{header.hash.hex()}"
        return L1Refused(
            f"L1 block {self._anchor.number} must be 0x{self._anchor.hash.hex()}; the node at {self._client.address} "
            f"has {found}. It is another chain of the same id, was reset, or lost more than a reorganisation may.",
            code="l1_reorg_too_deep",
            number=self._anchor.number,
        )

    def _fail(self, error: PlaitError) -> None:
        state = _STATE_OF_CODE.get(error.code, "lying")
        if state == "unreachable":
            self._checked = False  # what answers next may be another node
        self._set_status(L1Status(state, error.code, error.message))

    def _set_status(self, status: L1Status) -> None:
        changed = (status.state, status.code) != (self.status.state, self.status.code)
        self.status = status
        if changed:
            self._notify()

    def _notify(self) -> None:
        self.version += 1
        self._changed.set()
