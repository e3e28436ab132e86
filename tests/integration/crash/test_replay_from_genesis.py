"""A restart without a snapshot replays the whole log to the same state; how fast is measured by `bench/restart.py`."""

import asyncio
import time
from pathlib import Path

from killed_node import CHAINS, development_wallets

from plait.mempool import Admitted
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node

TRANSACTIONS = 20_000


async def test_a_restart_without_a_snapshot_replays_every_transaction_to_the_same_state(tmp_path: Path) -> None:
    wallets = development_wallets()
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        rollups=tuple(RollupConfig(chain_id=chain_id, gas_limit=2_000_000_000) for chain_id in CHAINS),
    )
    config = NodeConfig(data_dir=tmp_path, snapshots=False)
    each = TRANSACTIONS // len(CHAINS) // len(wallets)
    async with Node.start(network, config) as node, asyncio.timeout(60):
        subscription = node.bus.subscribe()
        for start in range(0, each, 100):
            for chain_id in CHAINS:
                raws = [
                    wallet.sign_1559(chain_id, nonce, to=bytes([nonce % 256]) * 20, value=1, max_fee_per_gas=10**12)
                    for nonce in range(start, min(start + 100, each))
                    for wallet in wallets
                ]
                results = await asyncio.to_thread(node.pool.decode, chain_id, raws)
                assert all(isinstance(one, Admitted) for one in node.pool.admit(chain_id, results, node.clock.now_ms()))
        async for _ in subscription:
            if node.pool.statistics()["transactions"] == 0:
                break
        decided = node.info()
    async with Node.start(None, config) as node:
        replayed = node.restored
        record = node.log.read(decided.height)
    assert replayed.snapshot_height == 0
    assert replayed.replayed_transactions == TRANSACTIONS
    assert replayed.replayed_heights >= decided.height
    assert record is not None
    assert record.app_hash == decided.app_hash
