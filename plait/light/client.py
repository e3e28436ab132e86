"""The light client: follows a network's blocks from one that it trusts, without executing anything.

It holds a handful of verified blocks. A higher one is reached by skipping, with a bisection where too many validators
changed in between; one in between from the nearest below; a lower one backwards, block by block. What was verified
forwards is compared with the witnesses before it is believed: one who is honest suffices to uncover an attack by more
than a third of the validators (rules and errors: `verification`, `evidence`).

Invariants: every remembered block was verified; the newest is never forgotten; a refusal leaves the memory as it was.
No IO but through providers. Source: CometBFT v0.38 spec/light-client (verification, detection).
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from plait.errors import LightConflict, LightRefused, PlaitError
from plait.light.account import Account, account_of, sub_blocks_of
from plait.light.blocks import LightBlock
from plait.light.commits import Verify, check_light
from plait.light.evidence import Evidence
from plait.light.provider import Provider, StreamProvider
from plait.light.stream import SubBlock
from plait.light.verification import Policy, check_not_expired, verify, verify_backwards
from plait.limits import (
    LIGHT_BACKWARDS_MAX,
    LIGHT_BLOCKS_KEPT,
    LIGHT_FETCHES_PER_VERIFICATION_MAX,
    LIGHT_WITNESSES_MAX,
)
from plait.native import ed25519_verify_many
from plait.types import Hash32, Height, RollupId, Slot


class Trusted(msgspec.Struct, frozen=True):
    """A block that the user trusts: the root of all that follows."""

    height: Height
    hash: Hash32
    """The CometBFT block's, 32 bytes."""


class Client:
    """A light client.

        client = Client(provider, Trusted(height, block_hash), witnesses=[other])
        block = await client.verify(height)
        async for sub_block in client.sub_blocks(RollupId(901), first, last): ...

    Args:
        primary: whom it asks.
        trusted: where it begins; from a source that the user believes.
        witnesses: others that it compares with; at most LIGHT_WITNESSES_MAX.
        policy: what it is ready to believe.
        now_ns: the time, nanoseconds since the Unix epoch.
        signatures: who checks signatures.

    Raises:
        LightRefused: `light_policy_invalid`.
    """

    def __init__(
        self,
        primary: StreamProvider,
        trusted: Trusted,
        *,
        witnesses: Sequence[Provider] = (),
        policy: Policy | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        signatures: Verify = ed25519_verify_many,
    ) -> None:
        self.primary = primary
        self.policy = policy if policy is not None else Policy()
        self.policy.check()
        if len(witnesses) > LIGHT_WITNESSES_MAX:
            raise LightRefused(f"At most {LIGHT_WITNESSES_MAX} witnesses.", code="light_policy_invalid")
        self._trusted = trusted
        self._witnesses = list(witnesses)
        self._now_ns = now_ns
        self._signatures = signatures
        self._blocks: dict[Height, LightBlock] = {}
        self._powers: dict[Height, int] = {}
        self._counts = {"fetched": 0, "verified": 0, "compared": 0}
        self._faults: dict[str, str] = {}

    # ------------------------------------------------------------ what is known
    @property
    def newest(self) -> Trusted:
        """The highest verified block; what a later session may begin with."""
        if not self._blocks:
            return self._trusted
        block = self._blocks[max(self._blocks)]
        return Trusted(block.height, block.hash)

    @property
    def lowest(self) -> Height:
        """The lowest verified height."""
        return min(self._blocks, default=self._trusted.height)

    @property
    def witness_faults(self) -> dict[str, str]:
        """Why a witness's answer did not count, by its name."""
        return dict(self._faults)

    def signed_power(self, height: Height) -> int:
        """Voting power whose signatures on a verified block were checked; 0 for a block that is not remembered."""
        return self._powers.get(height, 0)

    def statistics(self) -> dict[str, int]:
        """Blocks fetched and verified, comparisons with witnesses that agreed, blocks remembered."""
        return {**self._counts, "kept": len(self._blocks)}

    # ------------------------------------------------------------ blocks
    async def verify(self, height: Height | None = None) -> LightBlock:
        """A block that was decided, by its height; the newest one of the primary for None.

        Raises:
            LightConflict: a witness proves another block of that height.
            LightRefused: what the primary shows does not follow from what is trusted; the code says why.
            Unavailable: the primary does not have it.
        """
        await self._begin()
        if height is not None and height in self._blocks:
            return self._blocks[height]
        target = await self._fetch(self.primary, height)
        known = self._blocks.get(target.height)
        if known is not None:
            return self._require_same(known, target)
        if target.height < min(self._blocks):
            await self._backwards(target)
            return target
        base = self._blocks[max(height for height in self._blocks if height < target.height)]
        steps = await self._skip(self.primary, base, target)
        await self._compare([base, *(block for block, _ in steps)])
        for block, power in steps:
            self._remember(block, power)
        return target

    async def _begin(self) -> None:
        """Takes over the trusted block when it is the one that the user named."""
        if self._blocks:
            return
        block = await self._fetch(self.primary, self._trusted.height)
        if block.hash != self._trusted.hash:
            raise LightRefused(
                f"Height {block.height} is block {block.hash.hex()} at {self.primary.name}; trusted is "
                f"{self._trusted.hash.hex()}. One of the two is of another network, or false.",
                code="light_trusted_hash_wrong", height=block.height, hash=block.hash,
            )  # fmt: skip
        block.check(block.header.chain_id)
        check_not_expired(block.header, now_ns=self._now_ns(), policy=self.policy)
        power = check_light(block.header.chain_id, block.validators, block.commit, self._signatures)
        self._remember(block, power)

    async def _skip(self, source: Provider, trusted: LightBlock, target: LightBlock) -> list[tuple[LightBlock, int]]:
        """Verifies every block that it takes to get to `target`, and that; each with the power that was checked."""
        steps: list[tuple[LightBlock, int]] = []
        current, pending = trusted, [target]
        for _ in range(2 * LIGHT_FETCHES_PER_VERIFICATION_MAX):
            candidate = pending[-1]
            try:
                power = verify(
                    current, candidate, now_ns=self._now_ns(), policy=self.policy, signatures=self._signatures
                )
            except LightRefused as refused:
                if refused.code != "light_trust_insufficient" or len(pending) > LIGHT_FETCHES_PER_VERIFICATION_MAX:
                    raise
                pending.append(await self._fetch(source, Height((current.height + candidate.height) // 2)))
                continue
            steps.append((candidate, power))
            current = pending.pop()
            if not pending:
                return steps
        raise LightRefused(
            f"Height {target.height} takes more than {LIGHT_FETCHES_PER_VERIFICATION_MAX} blocks in between; begin "
            "with a newer trusted one.",
            code="light_way_too_long", height=target.height,
        )  # fmt: skip

    async def _backwards(self, target: LightBlock) -> None:
        """Verifies a block below all that are known by the chain of last blocks."""
        lowest = self._blocks[min(self._blocks)]
        check_not_expired(lowest.header, now_ns=self._now_ns(), policy=self.policy)
        if lowest.height - target.height > LIGHT_BACKWARDS_MAX:
            raise LightRefused(
                f"Height {target.height} is more than {LIGHT_BACKWARDS_MAX} below {lowest.height}; begin with an "
                "older trusted block.",
                code="light_way_too_long", height=target.height,
            )  # fmt: skip
        above = lowest.header
        for height in range(lowest.height - 1, target.height, -1):
            older = (await self._fetch(self.primary, Height(height))).header
            verify_backwards(older, above)
            above = older
        verify_backwards(target.header, above)
        chain_id = above.chain_id
        target.check(chain_id)
        power = check_light(chain_id, target.validators, target.commit, self._signatures)
        self._remember(target, power)

    async def _fetch(self, source: Provider, height: Height | None) -> LightBlock:
        block = await source.light_block(height)
        self._counts["fetched"] += 1
        if height is not None and block.height != height:
            raise LightRefused(
                f"{source.name} was asked for height {height} and shows {block.height}.",
                code="light_height_wrong", height=block.height, expected=height,
            )  # fmt: skip
        return block

    def _require_same(self, known: LightBlock, shown: LightBlock) -> LightBlock:
        if known.hash != shown.hash:
            raise LightRefused(
                f"{self.primary.name} shows block {shown.hash.hex()} for height {shown.height}, which was verified as "
                f"{known.hash.hex()} before.",
                code="light_commit_mismatch", height=shown.height,
            )  # fmt: skip
        return known

    def _remember(self, block: LightBlock, power: int) -> None:
        self._counts["verified"] += 1
        self._blocks[block.height], self._powers[block.height] = block, power
        while len(self._blocks) > LIGHT_BLOCKS_KEPT:
            oldest = min(self._blocks)
            del self._blocks[oldest]
            del self._powers[oldest]

    # ------------------------------------------------------------ witnesses
    async def _compare(self, trace: Sequence[LightBlock]) -> None:
        """Asks every witness for the block at the end of a trace.

        Raises:
            LightConflict: one proves another block.
            LightRefused: `light_witness_missing` when there are witnesses and none agrees.
        """
        if not self._witnesses:
            return
        agreed = 0
        for witness in self._witnesses:
            try:
                shown = await self._witness_block(witness, trace[-1])
                if shown is None:
                    self._faults[witness.name] = f"it has not got as far as height {trace[-1].height}"
                elif shown.hash == trace[-1].hash:
                    agreed += 1
                    self._faults.pop(witness.name, None)
                else:
                    await self._examine(trace, witness, shown)
            except LightConflict:
                raise
            except PlaitError as error:
                self._faults[witness.name] = f"{error.message} ({error.code})"
        self._counts["compared"] += agreed
        if not agreed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(self._faults.items()))
            raise LightRefused(
                f"No witness confirms height {trace[-1].height}. {reasons}.",
                code="light_witness_missing", height=trace[-1].height,
            )  # fmt: skip

    async def _witness_block(self, witness: Provider, target: LightBlock) -> LightBlock | None:
        """The witness's block of the target's height; its newest when that is lower and yet not older; else None."""
        try:
            return await self._fetch(witness, target.height)
        except LightRefused:
            raise
        except PlaitError:
            newest = await self._fetch(witness, None)
            if newest.height >= target.height:
                return await self._fetch(witness, target.height)
            return newest if newest.header.time_ns >= target.header.time_ns else None

    async def _examine(self, trace: Sequence[LightBlock], witness: Provider, shown: LightBlock) -> None:
        """Finds where a witness's chain leaves ours, and whether its validators signed it.

        Raises:
            LightConflict: they did; the evidence names who lied.
            LightRefused: the witness cannot prove what it shows.
        """
        common = trace[0]
        if (await self._fetch(witness, common.height)).hash != common.hash:
            raise LightRefused(
                f"{witness.name} has another block at the trusted height {common.height}.",
                code="light_trusted_hash_wrong", height=common.height,
            )  # fmt: skip
        for block in trace[1:]:
            beyond = block.height >= shown.height
            other = shown if beyond else await self._fetch(witness, block.height)
            await self._skip(witness, common, other)
            if other.hash != block.hash:
                raise _conflict(Evidence(common=common, primary=block, witness=other, witness_name=witness.name))
            common = other

    # ------------------------------------------------------------ sub-blocks
    def sub_blocks(self, rollup_id: RollupId, first: Slot, last: Slot) -> AsyncIterator[SubBlock]:
        """Every sub-block of the slots `first` to `last` in order, each with all of a rollup's items.

        When the iteration ends without an error, the stream is complete: nothing was left out at either end or in
        between, nothing was added or moved, and more than two thirds of the validators' power decided it.

        Raises:
            LightRefused: what the primary shows does not follow from what is trusted; the code says why.
            Unavailable: the primary does not have it.
        """
        return sub_blocks_of(self, self.primary, rollup_id, first, last)

    async def account(
        self, rollup_id: RollupId, first: Slot, last: Slot, *, each: Callable[[SubBlock], None] | None = None
    ) -> Account:
        """Verifies a rollup's stream over a range of slots and sums it up.

        Args:
            rollup_id: the rollup.
            first: slot of the range.
            last: slot of the range, not below `first`.
            each: called with every sub-block in order, once it is verified.

        Raises:
            LightRefused: as `sub_blocks`.
            Unavailable: as `sub_blocks`.
        """
        return await account_of(self, self.primary, rollup_id, first=first, last=last, each=each)


def _conflict(evidence: Evidence) -> LightConflict:
    return LightConflict(
        f"Two blocks of height {evidence.primary.height} are signed, {evidence.primary.hash.hex()} and "
        f"{evidence.witness.hash.hex()} at {evidence.witness_name}: a {evidence.kind} attack above height "
        f"{evidence.common_height}. Believe neither; ask others and send them the evidence.",
        height=evidence.primary.height, kind=str(evidence.kind), common_height=evidence.common_height,
        evidence=evidence,
    )  # fmt: skip
