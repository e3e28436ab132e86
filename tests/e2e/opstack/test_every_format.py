"""The batcher's postings in every format, one after the other on the same chains: unmodified op-node calls all safe."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand, safe_hash, sequenced
from eth_account import Account

from plait.errors import Unavailable
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.node.settlement import FollowedRollup, Settlement
from plait.rollups.batcher.assembly import Format
from plait.rollups.batcher.client_access import ClientAccess
from plait.rollups.batcher.inbox import InboxReader
from plait.rollups.batcher.journal import Journal
from plait.rollups.batcher.service import Batcher, BatcherTerms, PostedRollup
from plait.rollups.batcher.sidecars import commitment_of
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.opstack.founding import BATCHER, Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import RollupId

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]

FORMATS = list(itertools.product(("calldata", "blob"), ("singular", "span"), ("zlib", "brotli")))
BLOCKS_EACH = 3


class Quiet:
    def info(self, event: str, **fields: Any) -> None:
        """Says nothing."""

    warning = info


def transfers(rollup: ByHand, count: int) -> list[bytes]:
    wallet = Account.from_key(DEVELOPMENT_ACCOUNTS[2].private_key)
    ((nonce, _, _),) = rollup.rollup.accounts([DEVELOPMENT_ACCOUNTS[2].address], -1)
    return [
        bytes(
            wallet.sign_transaction(
                {
                    "type": 2, "chainId": rollup.config.chain_id, "nonce": nonce + at, "value": 1, "gas": 21_000,
                    "to": bytes(19) + b"\xd0", "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 1,
                }
            ).raw_transaction
        )
        for at in range(count)
    ]  # fmt: skip


async def post_all(batcher: Batcher) -> None:
    """Posts what is sealed and waits until L1 has it."""
    batcher.flush()
    for _ in range(600):
        try:
            await batcher.step()
        except Unavailable as error:
            if error.code != "l1_unreachable":
                raise
        if not batcher.backlog_bytes() and not batcher.sender.in_flight():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("L1 did not take the postings within a minute")


async def test_op_node_calls_safe_what_is_posted_in_every_format(tmp_path: Path) -> None:
    founding = Founding(rollups=2, l1_block_time_s=1, posting="blob", ports=PortPlan(rpc=0))
    network = OpStack.running(tmp_path, find_programs(), founding, sequencer=False)
    async with network as running, sequenced(running) as (rollups, l1, _), asyncio.timeout(200):
        posted = {
            RollupId(one.config.chain_id): PostedRollup(
                rollup_id=RollupId(one.config.chain_id), blocks=one.rollup, config=one.config, batcher=BATCHER.address
            )
            for one in rollups
        }
        followed = {
            one.rollup_id: FollowedRollup(rollup_id=one.rollup_id, native=one.blocks, config=one.config)  # type: ignore[arg-type]
            for one in posted.values()
        }
        journal = Journal(tmp_path / "journal")
        for carrier, batch, compression in FORMATS:
            for one, _ in itertools.product(rollups, range(BLOCKS_EACH)):
                one.build(transfers(one, 3))
            terms = BatcherTerms(format=Format(carrier=carrier, batch=batch, compression=compression))  # type: ignore[arg-type]
            batcher = Batcher(
                lambda: posted, ClientAccess(l1), journal, BATCHER.private_key, l1_chain_id=running.layout.l1_chain_id,
                terms=terms, now_s=time.time, logger=Quiet(),
            )  # fmt: skip
            nonce = await L1Client.nonce(l1, BATCHER.address)
            await post_all(batcher)
            assert await l1.nonce(BATCHER.address) == nonce + 1, "one transaction for both rollups"
            for at, one in enumerate(rollups):
                found = await safe_hash(running, at, one.head.number, 60)
                assert found == "0x" + one.head.hash.hex(), (carrier, batch, compression)
        async with BeaconClient(f"http://{HOST}:{running.ports.beacon}", commit=commitment_of) as beacon:
            reader = InboxReader(
                l1,
                l1_chain_id=running.layout.l1_chain_id,
                bindings=lambda: [one.config for one in rollups],
                beacon=beacon,
            )
            settlement = Settlement(lambda: followed, reader)
            while await settlement.step():
                pass
        assert not settlement.conflicts()
        for one in rollups:
            levels = settlement.levels(RollupId(one.config.chain_id))
            assert levels is not None
            assert levels.posted == one.head.number == BLOCKS_EACH * len(FORMATS)
