"""A rollup sequenced without a node: blocks of the native core on real L1 origins, driven into op-geth, posted to L1.

It is the shortest way from Plait's parts to an unmodified op-node: attributes, execution, engine driver, batches and
blobs as the node uses them, and nothing of agreement.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from plait.derivation import frames
from plait.derivation.attributes import block_attributes
from plait.derivation.batches import SingularBatch
from plait.derivation.blobs import encode_blob
from plait.derivation.channels import ChannelBuilder
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.origins import Origin, next_origin
from plait.derivation.rollup_config import OpStackConfig, decode_rollup_json
from plait.derivation.system_config import SystemConfig, apply_update
from plait.l1.client import L1Client
from plait.l1.watcher import L1Watcher
from plait.native import Rollup, SealedBlock, Store, decode_transactions
from plait.node.config import decode_network
from plait.rollups.batcher.l1_transactions import Content, Fees, calldata_gas, sign
from plait.rollups.batcher.sidecars import make_sidecar
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.driver import EngineDriver
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.jwt import read_secret
from plait.storage import NETWORK_FILE
from plait.testnet.opstack.founding import BATCHER
from plait.testnet.opstack.layout import BatchKind, PostingKind
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import BlockNumber, Hash32, RollupId, Seconds, Wei

FRAME_BYTES_MAX = 100_000


class ByHand:
    """One rollup."""

    def __init__(
        self, directory: Path, chain_id: int, watcher: L1Watcher, driver: EngineDriver, rollup: Rollup
    ) -> None:
        self.config: OpStackConfig = decode_rollup_json((directory / str(chain_id) / "rollup.json").read_bytes())
        self.rollup = rollup
        self.driver = driver
        self.system: SystemConfig = self.config.genesis_system
        self._watcher = watcher
        network = decode_network((directory / NETWORK_FILE).read_bytes(), NETWORK_FILE)
        assert network.l1 is not None
        self._origin = Origin(network.l1.start_facts(), 0)
        self.batches: list[tuple[SingularBatch, int]] = []
        """Blocks that are not posted yet, with their sequence numbers."""

    @property
    def head(self) -> SealedBlock:
        """The last sealed block."""
        return self.rollup.head

    @property
    def origin(self) -> L1BlockFacts:
        """L1 origin of the last block."""
        return self._origin.block

    def build(self, raws: Sequence[bytes]) -> SealedBlock:
        """Seals the next block with what of these transactions can be applied; it waits to be posted."""
        session = self.rollup.session()
        timestamp = Seconds(session.head_timestamp + self.config.block_time_s)
        origin = self._next_origin(timestamp)
        facts = origin.block.of(RollupId(self.config.chain_id))
        first = origin.sequence_number == 0
        if first:
            for update in facts.updates:
                self.system = apply_update(self.system, update)
        session.open(
            block_attributes(
                timestamp,
                origin.block.info,
                origin.sequence_number,
                self.system,
                deposits=facts.deposits if first else (),
                fork=self.config.fork,
            )
        )
        parent = session.head_hash
        made = decode_transactions(list(raws), self.config.chain_id)
        outcomes = session.run(made)  # type: ignore[arg-type]
        kept = [raw for raw, status in zip(raws, outcomes.statuses, strict=True) if status != 2]
        sealed = session.seal()
        self.rollup.commit(session)
        self._origin = origin
        block = origin.block
        batch = SingularBatch(
            parent_hash=Hash32(parent),
            epoch_number=block.number,
            epoch_hash=block.hash,
            timestamp=timestamp,
            transactions=tuple(kept),
        )
        self.batches.append((batch, origin.sequence_number))
        self.driver.notify()
        return sealed

    def channel(self, kind: BatchKind, compression: str) -> list[frames.Frame]:
        """Frames of everything that is not posted yet."""
        first = self.batches[0][0]
        builder = ChannelBuilder(
            channel_id=hashlib.sha256(f"{self.config.chain_id} {first.timestamp}".encode()).digest()[:16],
            chain_id=self.config.chain_id,
            genesis_time_s=self.config.genesis_time_s,
            target_bytes=1_000_000,
            kind=kind,
            compression=compression,  # type: ignore[arg-type]
        )
        for batch, sequence_number in self.batches:
            assert builder.add(batch, sequence_number), "the channel has room"
        self.batches.clear()
        return builder.frames(FRAME_BYTES_MAX)

    def _next_origin(self, timestamp: Seconds) -> Origin:
        following = self._watcher.block(self._origin.block.number + 1)
        return next_origin(self._origin, None if following is None else following.facts, timestamp)


async def post(l1: L1Client, inbox: bytes, posting: PostingKind, sent: Sequence[frames.Frame]) -> int:
    """One L1 transaction for all frames, whoever's they are; returns the number of the block that holds it."""
    nonce = await l1.nonce(BATCHER.address)
    data = frames.encode(sent)
    fees = Fees(tip=Wei(10**9), fee_cap=Wei(20 * 10**9), blob_fee_cap=Wei(10**9 if posting == "blob" else 0))
    chain_id = await l1.chain_id()
    if posting == "blob":
        blobs = (encode_blob(data),)
        content = Content(chain_id=chain_id, to=inbox, data=b"", blobs=blobs)  # type: ignore[arg-type]
        sidecar = make_sidecar(blobs, 1)
    else:
        content = Content(chain_id=chain_id, to=inbox, data=data)  # type: ignore[arg-type]
        sidecar = None
    signed = sign(
        BATCHER.private_key, content, nonce=nonce, fees=fees, gas_limit=calldata_gas(content.data), sidecar=sidecar
    )
    await l1.send_raw_transaction(signed.raw)
    receipt = None
    for _ in range(300):
        receipt = await l1.transaction_receipt(signed.hash)
        if receipt is not None:
            break
        await asyncio.sleep(0.1)
    assert receipt is not None, "the batch is in a block of L1 within half a minute"
    assert receipt["status"] == "0x1", receipt
    return int(receipt["blockNumber"], 16)


@contextlib.asynccontextmanager
async def sequenced(network: OpStack) -> AsyncIterator[tuple[list[ByHand], L1Client, L1Watcher]]:
    """Every rollup of a network that was started without a sequencer, with an engine driver each."""
    async with L1Client(network.l1_url) as l1:
        configs = [
            decode_rollup_json((network.directory / str(entry.chain_id) / "rollup.json").read_bytes())
            for entry in network.layout.rollups
        ]
        watcher = L1Watcher(
            l1, chain_id=network.layout.l1_chain_id, anchor=configs[0].genesis_l1, bindings=tuple(configs), poll_s=0.2
        )
        tasks = [asyncio.create_task(watcher.run())]
        made: list[ByHand] = []
        store = Store.in_memory()
        for entry, ports in zip(network.layout.rollups, network.ports.programs, strict=True):
            rollup = Rollup.from_genesis((network.directory / str(entry.chain_id) / "genesis.json").read_bytes(), store)
            client = EngineClient(f"http://{HOST}:{ports.engine_auth}", read_secret(network.directory / "jwt.hex"))
            driver = EngineDriver(client, NativeBlocks(rollup))
            tasks.append(asyncio.create_task(driver.run()))
            made.append(ByHand(network.directory, entry.chain_id, watcher, driver, rollup))
        try:
            yield made, l1, watcher
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def safe_hash(network: OpStack, at: int, number: BlockNumber, seconds: float) -> str:
    """Hash of the verifier's block once op-node calls it safe. Raises AssertionError after so many seconds."""
    from plait.testnet.opstack.heads import heads_of

    async with asyncio.timeout(seconds):
        while True:
            heads = await heads_of(network.endpoints(at))
            safe = heads.levels["safe"].verifier
            if safe is not None and safe.number >= number:
                break
            await asyncio.sleep(0.2)
    async with L1Client(network.endpoints(at).verifier) as verifier:
        block = await verifier.call("eth_getBlockByNumber", hex(number), False)
    return str(block["hash"])
