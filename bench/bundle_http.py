"""Sends a load of bundles to a node in a process of its own, as plait_sendBundle over HTTP, and times it.

A steady client of 8 connections, one bundle per request. What is counted is accepted by the pool; the node goes on
deciding meanwhile, and the run fails when a bundle is refused.
"""

import asyncio
import json
import time
from collections.abc import Iterator

import aiohttp

from bench import processes
from bench.bundle_load import BundleLoad, Legs

CONNECTIONS = 8


def body_of(index: int, legs: Legs) -> bytes:
    """One JSON-RPC call."""
    listed = [{"rollupId": chain_id, "transactions": ["0x" + raw.hex() for raw in raws]} for chain_id, raws in legs]
    call = {"jsonrpc": "2.0", "id": index, "method": "plait_sendBundle", "params": [{"legs": listed}]}
    return json.dumps(call).encode()


async def _send(url: str, bodies: Iterator[bytes]) -> float:
    refused: list[bytes] = []

    async def connection(session: aiohttp.ClientSession) -> None:
        for body in bodies:
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as response:
                answer = await response.read()
            if b'"error"' in answer:
                refused.append(answer)

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(connection(session) for _ in range(CONNECTIONS)))
        seconds = time.perf_counter() - started
    if refused:
        raise RuntimeError(f"{len(refused)} bundles were refused: {refused[0].decode(errors='replace')}")
    return seconds


def bundles_per_second(load: BundleLoad) -> float:
    """Accepted per second; waits until the last one is decided."""
    genesis_time_s = int(time.time()) - 2
    bodies = [body_of(index, legs) for index, legs in enumerate(load.bundles)]
    with processes.plait(load.geneses(genesis_time_s), genesis_time_s) as nodes:
        time.sleep(1.2)
        seconds = asyncio.run(_send(nodes[0].url, iter(bodies)))
        chain_id, raws = load.bundles[-1][-1]
        processes.wait_for_receipt(nodes[chain_id], raws[-1])
    return len(load.bundles) / seconds
