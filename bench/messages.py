"""Question: how much later than a plain transaction is a message between rollups decided with its reply?

A transaction on one rollup sends a message to a contract on another, which replies at once. The node's own relayer
delivers both. Probes of both kinds take turns, sent at times that do not follow the sub-block grid, to a solo node in
process: from handing the transaction to the pool until it (and, of a message, the delivery of the reply) is decided, in
the durable log. Once at rest and once beside a steady stream of transfers. In units of the sub-block interval; the peer
is the plain transaction.
"""

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from coincurve import PrivateKey

from bench import floor, solo, workload
from bench.report import Result, percentile
from plait.interop.messages import MESSENGER, RELAY_DESK
from plait.node.config import NodeConfig
from plait.node.node import Node
from plait.protocol.effects import SubBlockDecided
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.types import RollupId

HERE, THERE = RollupId(floor.CHAIN_ID), RollupId(floor.CHAIN_ID + 1)
SUB_BLOCKS = 4
SUB_BLOCK_S = 1.0 / SUB_BLOCKS
ECHO = bytes.fromhex("00000000000000000000000000000000000ec400")
NOBODY = bytes.fromhex("000000000000000000000000000000000000beef")
GAS = 400_000
STREAM_PER_SECOND = 2_000
STREAM_BATCH = 100
WAIT_S = 10


def send_message(destination: int, target: bytes, message: bytes = b"") -> bytes:
    """Calldata of L2ToL2CrossDomainMessenger.sendMessage."""
    words = [destination.to_bytes(32, "big"), target.rjust(32, b"\0"), (96).to_bytes(32, "big")]
    padded = message + bytes(-len(message) % 32)
    selector = workload.keccak256(b"sendMessage(uint256,address,bytes)")[:4]
    return selector + b"".join(words) + len(message).to_bytes(32, "big") + padded


def echo_code(call: bytes) -> bytes:
    """Code of a contract that answers everything by making this call of the messenger."""
    size = len(call).to_bytes(2, "big")
    after_copy = b"\x5f\x5f\x61" + size + b"\x5f\x5f\x73" + MESSENGER + b"\x5a\xf1"  # CALL with the copied bytes
    head_bytes = 8 + len(after_copy) + 8
    copy = b"\x61" + size + b"\x61" + head_bytes.to_bytes(2, "big") + b"\x5f\x39"  # CODECOPY to memory 0
    landing = len(copy) + len(after_copy) + 6
    end = b"\x60" + bytes((landing,)) + b"\x57\x5f\x5f\xfd\x5b\x00"  # JUMPI over a REVERT, then STOP
    head = copy + after_copy + end
    assert len(head) == head_bytes
    return head + call


@dataclass
class Probes:
    """Seconds from sending to decided, and how messages fared."""

    plain: list[float] = field(default_factory=list)
    message: list[float] = field(default_factory=list)
    same_slot: int = 0
    same_sub_block: int = 0


class Prober:
    """Sends probes one after the other and waits for what they bring about."""

    def __init__(self, node: Node, key: PrivateKey) -> None:
        self._node = node
        self._key = key
        self._nonce = 0

    async def probe(self, *, message: bool) -> tuple[float, int, int]:
        """Seconds until decided, and the heights apart and slots apart of sending and reply."""
        to, data = (MESSENGER, send_message(THERE, ECHO)) if message else (NOBODY, b"")
        raw = workload.sign_call(self._key, HERE, self._nonce, to, data, gas_limit=GAS)
        self._nonce += 1
        own = workload.keccak256(raw)
        subscription = self._node.bus.subscribe(size=1_000)
        try:
            started = time.perf_counter()
            (admitted,) = self._node.pool.submit(HERE, [raw], self._node.clock.now_ms())
            if isinstance(admitted, Exception):
                raise admitted
            sent: SubBlockDecided | None = None
            async with asyncio.timeout(WAIT_S):
                async for effect in subscription:
                    found = [part for part in effect.rollups if part.rollup_id == HERE]
                    for transaction, status in [
                        pair for part in found for pair in zip(part.transactions, part.statuses, strict=True)
                    ]:
                        if transaction.hash == own:
                            assert status == 1
                            sent = effect
                        replied = transaction.to == RELAY_DESK and status == 1
                        if sent is not None and (replied or not message):
                            seconds = time.perf_counter() - started
                            return seconds, effect.height - sent.height, effect.slot - sent.slot
        finally:
            subscription.close()
        raise RuntimeError("the node stopped")


async def stream(node: Node, raws: list[bytes]) -> None:
    """Hands transfers on the other rollup to the pool at a steady rate."""
    started = time.perf_counter()
    for start in range(0, len(raws), STREAM_BATCH):
        await asyncio.sleep(max(0.0, started + start / STREAM_PER_SECOND - time.perf_counter()))
        decoded = await asyncio.to_thread(node.pool.decode, THERE, raws[start : start + STREAM_BATCH])
        node.pool.admit(THERE, decoded, node.clock.now_ms())


async def probe_all(prober: Prober, pairs: int, generator: random.Random) -> Probes:
    """Probes of both kinds in turn."""
    found = Probes()
    for _ in range(pairs):
        for message in (False, True):
            await asyncio.sleep(generator.uniform(0, SUB_BLOCK_S))
            seconds, heights, slots = await prober.probe(message=message)
            (found.message if message else found.plain).append(seconds)
            if message:
                found.same_slot += slots == 0
                found.same_sub_block += heights == 0
    return found


async def measure(pairs: int, folder: Path) -> tuple[Probes, Probes]:
    """Probes at rest, and beside a stream."""
    key = workload.private_key(7, 0)
    background = workload.make(int(THERE), 2_000, 1 + pairs * STREAM_PER_SECOND // 2_000)
    genesis_time_s = int(time.time()) - 2
    payers = [workload.address_of(key), DEVELOPMENT_RELAYER.address]
    codes = {ECHO: echo_code(send_message(HERE, NOBODY))}
    genesis = {
        HERE: workload.genesis_with_token(int(HERE), genesis_time_s, [], payers, interop=True),
        THERE: workload.genesis_with_token(
            int(THERE),
            genesis_time_s,
            [*background.senders, *background.recipients],
            [*payers, *background.senders],
            interop=True,
            codes=codes,
        ),
    }
    config = NodeConfig(data_dir=folder, port=0, rollup_port_base=None, log_level="warning", relay="free")
    network = solo.network(genesis_time_s, 2, sub_blocks=SUB_BLOCKS)
    async with Node.start(network, config, genesis=genesis) as node:
        await asyncio.sleep(1.5)
        prober, generator = Prober(node, key), random.Random(5)
        rest = await probe_all(prober, pairs, generator)
        streaming = asyncio.create_task(stream(node, background.raws))
        await asyncio.sleep(0.5)
        loaded = await probe_all(prober, pairs, generator)
        streaming.cancel()
        return rest, loaded


def run(quick: bool = False) -> Result:
    pairs = 6 if quick else 24
    with tempfile.TemporaryDirectory() as folder:
        rest, loaded = asyncio.run(measure(pairs, Path(folder) / "data"))
    result = Result("messages")
    for name, found in (("at rest", rest), (f"beside {STREAM_PER_SECOND:,} transfers/s", loaded)):
        plain, message = percentile(found.plain, 0.5), percentile(found.message, 0.5)
        result.figure(f"plain transaction, p50, {name}", plain * 1e3, "ms")
        result.figure(f"message and reply, p50, {name}", message * 1e3, "ms")
        result.figure(f"message and reply, p95, {name}", percentile(found.message, 0.95) * 1e3, "ms")
        result.figure(f"in the slot of the sending, {name}", found.same_slot / pairs * 100, "%")
        result.figure(f"in the sub-block of the sending, {name}", found.same_sub_block / pairs * 100, "%")
        result.ratio(f"extra p50 / sub-block interval, {name}", (message - plain) / SUB_BLOCK_S, at_most=1.0)
    result.note(f"{pairs} probes of each kind, 1 s slots of {SUB_BLOCKS} sub-blocks, relay policy free")
    return result
