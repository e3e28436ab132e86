"""A load generator in a process of its own: posts prepared JSON-RPC bodies over keep-alive connections as fast as
they are answered.

    python -m bench.load URL WORKLOAD.pickle BATCH CONNECTIONS [TRANSACTIONS_PER_SECOND]

Bodies are made before the clock starts. Prints one JSON line: seconds, requests, errors (the first few in words). The
clock starts with the first request; how long transactions took to be sealed is measured by the caller.
"""

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path

import aiohttp
import uvloop


def bodies_of(raws: list[bytes], batch: int) -> list[bytes]:
    """One request body per `batch` transactions."""
    bodies = []
    for start in range(0, len(raws), batch):
        calls = [
            f'{{"jsonrpc":"2.0","id":{index},"method":"eth_sendRawTransaction","params":["0x{raw.hex()}"]}}'
            for index, raw in enumerate(raws[start : start + batch])
        ]
        bodies.append(("[" + ",".join(calls) + "]" if batch > 1 else calls[0]).encode())
    return bodies


async def main(url: str, workload_path: str, batch: str, connections: str, rate: str = "0") -> None:
    """Sends the whole workload once; at a steady rate when one is given."""
    raws: list[bytes] = pickle.loads(Path(workload_path).read_bytes())
    bodies = bodies_of(raws, int(batch))
    errors: list[str] = []
    sent = 0
    position = iter(enumerate(bodies))
    interval_s = int(batch) / float(rate) if float(rate) else 0.0

    async def connection(session: aiohttp.ClientSession) -> None:
        nonlocal sent
        for index, body in position:
            pause = 0.02
            await asyncio.sleep(max(0.0, started + index * interval_s - time.perf_counter()))
            while True:
                async with session.post(url, data=body, headers={"content-type": "application/json"}) as response:
                    answer = await response.read()
                if b'"error"' not in answer:
                    break
                if b"pool is full" in answer or b"txpool is full" in answer:
                    await asyncio.sleep(pause)
                    continue
                errors.append(answer[:300].decode(errors="replace"))
                break
            sent += 1

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        started_at = time.time()
        started = time.perf_counter()
        await asyncio.gather(*(connection(session) for _ in range(int(connections))))
        seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "started_at": started_at,
                "seconds": seconds,
                "requests": sent,
                "errors": len(errors),
                "first_errors": errors[:3],
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
