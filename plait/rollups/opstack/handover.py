"""Taking a chain over from a stock op-node sequencer, and giving it back, without a gap in its blocks.

Specification (op-node v1.16, admin and optimism namespaces)
    - `admin_stopSequencer` ends the block in progress and returns the hash of the last one; `admin_startSequencer`
      begins upon the hash that it is given, which must be op-node's unsafe head. So there are never two sequencers, and
      every block has exactly one successor.
    - Take: everything is copied while op-node still sequences; it is stopped; the few blocks made meanwhile are copied;
      the chain goes on here, one block time after the last block. If anything fails between, op-node sequences again.
    - Give: op-node is shown every block made here (`admin_postUnsafePayload`) until its unsafe head is our last block,
      and is started upon it.
Level 5.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from plait.derivation.anchor import Anchor
from plait.derivation.execution_payload import PayloadEnvelope, payload_json
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.errors import ConfigurationError, PlaitError, Unavailable
from plait.limits import ENGINE_BODIES_PER_CALL, HANDOVER_TIMEOUT_S
from plait.native import Rollup
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.importing import Progress, anchor_of, copy_chain, fetch_blocks
from plait.rollups.opstack.wire import data, malformed, read_data, read_quantity
from plait.types import BlockNumber, Hash32

_POLL_S: Final = 0.05
Copy = Callable[[BlockNumber | None], Awaitable[Hash32]]
"""Copies a chain's blocks up to a number, without one up to its engine's head; returns the hash of the last one."""


class OpNode:
    """The RPC of an op-node with `--rpc.enable-admin`. Use as an asynchronous context manager.

    Raises what `EngineClient` does; `engine_unreachable` names the address, which is op-node's here.
    """

    def __init__(self, url: str) -> None:
        self._client = EngineClient(url, None, timeout_s=HANDOVER_TIMEOUT_S)
        self.url = self._client.url

    async def __aenter__(self) -> "OpNode":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def check(self, config: OpStackConfig) -> None:
        """Returns when it runs the chain of rollup.json.

        Raises:
            ConfigurationError: `handover_mismatch`.
        """
        found = await self._client.call("optimism_rollupConfig")
        genesis = found.get("genesis") if isinstance(found, dict) else None
        block = genesis.get("l2") if isinstance(genesis, dict) else None
        if not isinstance(block, dict):
            raise malformed("a rollup configuration", "without a genesis")
        if found.get("l2_chain_id") != config.chain_id or block.get("hash") != data(config.genesis_l2.hash):
            raise ConfigurationError(
                f"op-node at {self.url} runs chain {found.get('l2_chain_id')} from genesis {block.get('hash')}, and "
                f"rollup.json names {config.chain_id} from {data(config.genesis_l2.hash)}: name this chain's op-node.",
                code="handover_mismatch",
            )

    async def is_sequencing(self) -> bool:
        """Whether it makes blocks now."""
        return bool(await self._client.call("admin_sequencerActive"))

    async def stop(self) -> Hash32:
        """Stops sequencing; the hash of the last block it made."""
        return Hash32(read_data(await self._client.call("admin_stopSequencer"), "a block hash", 32))

    async def start(self, head: Hash32) -> None:
        """Starts sequencing upon its unsafe head."""
        await self._client.call("admin_startSequencer", data(head))

    async def unsafe_head(self) -> BlockId:
        """The newest block it knows."""
        status = await self._client.call("optimism_syncStatus")
        head = status.get("unsafe_l2") if isinstance(status, dict) else None
        if not isinstance(head, dict) or not isinstance(head.get("number"), int):
            raise malformed("a sync status", "without an unsafe head")
        return BlockId(BlockNumber(head["number"]), Hash32(read_data(head.get("hash"), "hash", 32)))

    async def post(self, envelope: PayloadEnvelope) -> None:
        """Shows it a block that somebody else made."""
        root: Any = envelope.parent_beacon_block_root
        shown = {"executionPayload": payload_json(envelope.payload), "parentBeaconBlockRoot": data(root)}
        await self._client.call("admin_postUnsafePayload", shown)


async def take(
    node: OpNode,
    client: EngineClient,
    rollup: Rollup,
    config: OpStackConfig,
    *,
    progress: Progress | None = None,
    keep: Callable[[Anchor], Awaitable[None]] | None = None,
) -> Anchor:
    """Stops the stock sequencer and returns its last block, which the rollup then has as its head.

    Args:
        rollup: of the native core, at a block of the chain.
        progress: told while blocks are copied.
        node, client, config, keep: as for `take_with`, which also says what is raised.
    """

    async def copy(until: BlockNumber | None) -> Hash32:
        await copy_chain(client, rollup, config, until=until, progress=progress)
        return Hash32(rollup.head.hash)

    return await take_with(node, client, copy, config, keep=keep)


async def take_with(
    node: OpNode,
    client: EngineClient,
    copy: Copy,
    config: OpStackConfig,
    *,
    keep: Callable[[Anchor], Awaitable[None]] | None = None,
) -> Anchor:
    """Stops the stock sequencer and returns its last block, up to which everything is copied then.

    Args:
        node: the sequencer.
        client: of its engine; `check_chain` passed.
        copy: what is copied of the chain; called before op-node is stopped, and again for what it made meanwhile.
        config: the chain's.
        keep: what else belongs to taking over, such as writing the copy; when it fails, op-node goes on.

    Raises:
        ConfigurationError: `handover_mismatch`; `handover_not_sequencing`; what `copy` raises. op-node sequences
            again in every case in which it did before.
        Unavailable: somebody does not answer; likewise, but for `handover_stopped`.
    """
    await node.check(config)
    if not await node.is_sequencing():
        raise ConfigurationError(
            f"op-node at {node.url} does not sequence now, so there is nothing to take over from it; name the active "
            "sequencer, or import the chain.",
            code="handover_not_sequencing",
        )
    await copy(None)
    last = await node.stop()
    try:
        async with asyncio.timeout(HANDOVER_TIMEOUT_S):
            number = await _number_of(client, last)
            if await copy(number) != last:
                raise Unavailable(f"The engine's block {number} is not the sequencer's last.", code="handover_moved")
            anchor = await anchor_of(client, number, config)
            if keep is not None:
                await keep(anchor)
            return anchor
    except TimeoutError:
        await _go_on(node, last)
        raise Unavailable(
            f"The last blocks were not copied within {HANDOVER_TIMEOUT_S:g} s; op-node sequences again.",
            code="handover_timeout",
        ) from None
    except BaseException:
        await _go_on(node, last)
        raise


async def give(node: OpNode, client: EngineClient, config: OpStackConfig, last: BlockId | None = None) -> BlockId:
    """Gives the chain back: op-node has our last block as its head, and sequences upon it.

    Args:
        node: a stock sequencer that is stopped.
        client: of an engine that has our blocks; the one that we drove.
        config: the chain's.
        last: our last block; None for the engine's head.

    Raises:
        ConfigurationError: `handover_mismatch`; `handover_sequencing`, it makes blocks itself already;
            `handover_forked`, it has a block that is not ours.
        Unavailable: `handover_timeout`, it does not take our blocks; somebody does not answer.
    """
    await node.check(config)
    if await node.is_sequencing():
        raise ConfigurationError(
            f"op-node at {node.url} sequences already; stop it first (admin_stopSequencer).", code="handover_sequencing"
        )
    if last is None:
        head = await client.block("latest")
        if head is None:
            raise Unavailable(f"The engine at {client.url} has no head.", code="engine_lags")
        last = BlockId(head.number, head.hash)
    known = await node.unsafe_head()
    ours = await client.block(known.number)
    if known.number > last.number or ours is None or ours.hash != known.hash:
        raise ConfigurationError(
            f"op-node at {node.url} has block {known.number} {data(known.hash)}, which is none of ours up to "
            f"{last.number}; let it derive the chain from L1 again (restart it on an engine without that block).",
            code="handover_forked",
        )
    start = known.number + 1
    while start <= last.number:
        count = min(ENGINE_BODIES_PER_CALL, last.number - start + 1)
        for envelope in await fetch_blocks(client, BlockNumber(start), count):
            await node.post(envelope)
        start += count
        await _until(node, BlockNumber(start - 1))
    if (await node.unsafe_head()).hash != last.hash:
        raise Unavailable("op-node went on to other blocks meanwhile.", code="handover_moved")
    await node.start(last.hash)
    return last


async def _go_on(node: OpNode, last: Hash32) -> None:
    """Lets op-node sequence again after a take that failed. Raises Unavailable `handover_stopped`: nobody sequences."""
    try:
        await node.start(last)
    except PlaitError as error:
        raise Unavailable(
            f"The take failed, and op-node at {node.url} could not be started again ({error.message}): nobody "
            f"sequences this chain now. Call admin_startSequencer with {data(last)} there.",
            code="handover_stopped",
        ) from error


async def _number_of(client: EngineClient, block_hash: Hash32) -> BlockNumber:
    """Number of a block that the engine has, or is about to have, as its head."""
    while True:
        found = await client.call("eth_getBlockByHash", data(block_hash), False)
        if isinstance(found, dict):
            return BlockNumber(read_quantity(found.get("number"), "number"))
        await asyncio.sleep(_POLL_S)


async def _until(node: OpNode, number: BlockNumber) -> None:
    deadline = time.monotonic() + HANDOVER_TIMEOUT_S
    while (await node.unsafe_head()).number < number:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"op-node at {node.url} does not take our blocks up to {number}; see its log.", code="handover_timeout"
            )
        await asyncio.sleep(_POLL_S)
