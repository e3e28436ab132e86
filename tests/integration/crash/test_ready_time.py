"""A restart replays the log fast: at most 5 s per 100,000 transactions, from genesis and without a snapshot."""

import asyncio
import time
from pathlib import Path

from killed_node import CHAINS, development_wallets

from plait.mempool import Admitted
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node

TRANSACTIONS = 20_000
SECONDS_PER_100_000_MAX = 5.0


async def test_replay_takes_at_most_five_seconds_per_hundred_thousand_transactions(tmp_path: Path) -> None:
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
    async with Node.start(None, config) as node:
        replayed = node.restored
    assert replayed.replayed_transactions == TRANSACTIONS
    per_100_000 = replayed.seconds * 100_000 / TRANSACTIONS
    print(f"{TRANSACTIONS} transactions replayed in {replayed.seconds:.2f} s: {per_100_000:.1f} s per 100,000")
    assert per_100_000 <= SECONDS_PER_100_000_MAX
