"""A node that dies: run as a program by the crash tests, in a directory that may hold what an earlier one left.

    python child_node.py DIRECTORY DIES_AT SEED

It kills itself with SIGKILL inside disk operation number DIES_AT (a write gets half of its bytes to the disk first).
On standard output: `started <height>`, then `decided <height> <app hash> <transactions>` for everything published.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.logging import configure_logging
from plait.node.node import Node
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import Files
from sim.wallet import Wallet

HEIGHTS_MAX = 24


class DyingFiles(Files):
    """The real disk until operation `dies_at`."""

    def __init__(self, dies_at: int) -> None:
        self.left = dies_at

    def _step(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def write(self, fd: int, data: bytes | memoryview) -> None:
        if self.left == 0:
            super().write(fd, memoryview(data)[: len(data) // 2])
        self._step()
        super().write(fd, data)

    def sync_data(self, fd: int) -> None:
        self._step()
        super().sync_data(fd)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._step()
        super().truncate(fd, size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


async def main(directory: Path, dies_at: int, seed: int) -> None:
    source = random.Random(seed)
    wallets = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]
    new = not (directory / "network.json").exists()
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=50,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
    )
    config = NodeConfig(data_dir=directory, snapshots=True)
    async with Node.start(network if new else None, config, files=DyingFiles(dies_at)) as node:
        print("started", node.info().height, flush=True)
        subscription = node.bus.subscribe()
        for _ in range(HEIGHTS_MAX):
            for chain_id, handle in node.rollups.items():
                wallet = source.choice(wallets)
                ((nonce, _, _),) = handle.native.accounts([wallet.address], -1)
                nonce = max(nonce, node.pool.next_nonce(chain_id, wallet.address) or 0)
                raws = [
                    wallet.sign_1559(chain_id, nonce + at, to=source.randbytes(20), value=1, max_fee_per_gas=10**11)
                    for at in range(source.randrange(1, 6))
                ]
                node.pool.submit(chain_id, raws, node.clock.now_ms())
            effect = await anext(subscription)
            print("decided", effect.height, effect.app_hash.hex(), effect.transactions, flush=True)
            if source.random() < 0.2:
                await node.engine.between_heights(node._write_snapshot)
    print("stopped", flush=True)


def run(directory: Path, dies_at: int, seed: int) -> None:
    """The whole life of one node."""
    configure_logging("json", "error")
    asyncio.run(main(directory, dies_at, seed))


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
