"""A validator that dies: run as a program by the crash tests, in a home that may hold what an earlier run left.

    python child_comet_node.py CONFIG_JSON POINT HEIGHT SEED

It kills itself with SIGKILL at POINT of the first height that is HEIGHT or above; POINT `never` runs until it is
stopped by the end of standard input. On standard output: `started <height> <pid of CometBFT>`, then
`decided <height> <app hash> <transactions>` for everything published.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from comet_network import wallets

from plait.engines.cometbft.engine import CometEngine
from plait.node.config import NodeConfig
from plait.node.logging import configure_logging
from plait.node.node import Node
from plait.protocol.application import Application
from plait.storage import DecidedLog

POINTS = (
    "before_init",
    "before_prepare",
    "after_prepare",
    "before_process",
    "after_process",
    "before_finalize",
    "after_finalize",
    "before_append",
    "after_append",
    "after_commit",
    "after_publish",
    "after_answer",
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: Any, name: str, due: Callable[[Any], bool], *, after: bool) -> None:
    """Makes a method die before or after its work once `due` says so of its arguments."""
    method = getattr(owner, name)

    def call(self: Any, *arguments: Any) -> Any:
        if due(arguments) and not after:
            die()
        result = method(self, *arguments)
        if due(arguments) and after:
            die()
        return result

    setattr(owner, name, call)


def arm(point: str, height: int) -> None:
    """Installs the way to die."""
    at = height

    def by_height(arguments: Any) -> bool:
        return bool(arguments[0].height >= at)

    committed = [0]

    def by_commit(_: Any) -> bool:
        return committed[0] >= at

    when, what = point.split("_")
    after = when == "after"
    match what:
        case "init":
            wrap(CometEngine, "_on_init_chain", lambda _: True, after=after)
        case "prepare" | "process" | "finalize":
            wrap(Application, what, by_height, after=after)
        case "append":
            wrap(DecidedLog, "append", by_height, after=after)
        case "commit":
            wrap(
                Application,
                "finalize",
                lambda arguments: bool(committed.__setitem__(0, arguments[0].height)),
                after=False,
            )
            wrap(Application, "commit", by_commit, after=True)
        case "publish":
            wrap(Node, "_publish", lambda arguments: bool(arguments[0].effect.height >= at), after=True)
        case "answer":
            publish = Node._publish

            def later(self: Node, decision: Any) -> None:
                publish(self, decision)
                if decision.effect.height >= at:
                    asyncio.get_running_loop().call_later(0.03, die)

            Node._publish = later  # type: ignore[method-assign]


async def main(config: NodeConfig, seed: int) -> None:
    source = random.Random(seed)
    accounts = wallets()
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    ended = asyncio.ensure_future(stdin.read())
    async with Node.start(None, config) as node:
        subscription = node.bus.subscribe()
        process = node.engine._process  # type: ignore[attr-defined]
        while process is None or process.pid is None:
            await asyncio.sleep(0.01)
            process = node.engine._process  # type: ignore[attr-defined]
        print("started", node.info().height, process.pid, flush=True)
        while not ended.done():
            for chain_id, handle in node.rollups.items():
                wallet = source.choice(accounts)
                ((nonce, _, _),) = handle.native.accounts([wallet.address], -1)
                nonce = max(nonce, node.pool.next_nonce(chain_id, wallet.address) or 0)
                raws = [
                    wallet.sign_1559(chain_id, nonce + at, to=source.randbytes(20), value=1, max_fee_per_gas=10**11)
                    for at in range(source.randrange(1, 6))
                ]
                node.pool.submit(chain_id, raws, node.clock.now_ms())
            following = asyncio.ensure_future(anext(subscription))
            await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                effect = following.result()
                print("decided", effect.height, effect.app_hash.hex(), effect.transactions, flush=True)
            else:
                following.cancel()
    print("stopped", flush=True)


if __name__ == "__main__":
    settings = msgspec.json.decode(
        Path(sys.argv[1]).read_bytes(), type=NodeConfig, dec_hook=lambda kind, value: kind(value)
    )
    if sys.argv[2] != "never":
        arm(sys.argv[2], int(sys.argv[3]))
    configure_logging("json", "error")
    asyncio.run(main(settings, int(sys.argv[4])))
