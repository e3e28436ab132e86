"""A batcher in a process of its own, for killing: builds the same two rollups on every start and posts them.

    child_batcher.py L1_URL DIRECTORY GENESIS_L1_NUMBER BLOCKS
Prints a line `posted N M` whenever L1 is seen to have more of both rollups; ends by itself never.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from batcher_world import Chain, facts_at, make_batcher

from plait.l1.client import L1Client
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.l1_sender import SenderSettings
from plait.rollups.batcher.plan import PlanSettings
from plait.rollups.batcher.service import BatcherTerms


async def main(url: str, directory: Path, genesis_number: int, blocks: int) -> None:
    async with L1Client(url) as client:
        origin = await facts_at(client, genesis_number)
        assert origin is not None
        chains = [Chain(901, origin), Chain(902, origin)]
        terms = BatcherTerms(
            format=Format(transaction_bytes_max=1_500),
            plan=PlanSettings(age_max_s=0, raw_bytes_max=2_000),
            sender=SenderSettings(resend_after_s=0),
            poll_s=0.05,
        )
        batcher = make_batcher(ClientAccess(client), chains, terms, directory=directory)
        task = asyncio.create_task(batcher.run())
        for _ in range(blocks):
            for chain in chains:
                await chain.grow(client, 1)
        print("sealed", flush=True)
        said: list[int | None] = []
        while not task.done():
            batcher.flush()
            now = [one["postedTo"] for one in batcher.status()["rollups"].values()]
            if now != said:
                said = now
                print("posted", *now, flush=True)
            await asyncio.sleep(0.02)
        await task


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
