"""Bringing in a chain that exists: its blocks are copied from its engine and executed again from its own genesis.

Specification
    - Nothing of the engine is believed: every block is executed by the native core, and its hash must be the engine's.
      So the chain's genesis file is needed; a chain whose state cannot be held needs remote state instead.
    - Only the engine's authenticated port is asked: headers by `eth_getBlockByNumber`, transactions by
      `engine_getPayloadBodiesByRangeV1`.
    - The last copied block is the *anchor*: the network goes on from it. What the network has to agree on follows from
      that block alone: its L1 origin and sequence number stand in its first deposit, its system configuration in the
      deposit and the header.
    - What is written (genesis, state, blocks, anchor) is checked by the anchor's hash when it is read again, so the
      directory may be copied to other nodes.
Level 5.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from plait.derivation.anchor import Anchor, decode_anchor
from plait.derivation.attributes import DEPOSIT_TYPE
from plait.derivation.execution_payload import ExecutionPayload, PayloadEnvelope
from plait.derivation.l1_info import decode_l1_attributes
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.errors import CodecError, ConfigurationError, Unavailable
from plait.limits import BLOCK_TIME_SLOTS_MAX, ENGINE_BODIES_PER_CALL, UNWIND_BLOCKS_MAX
from plait.native import NativeError, Rollup, Session, Store, Transaction, decode_transactions
from plait.rollups.opstack.attributes_json import native_attributes, read_extra_data
from plait.rollups.opstack.checks import check_engine
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.payload import block_hash_of
from plait.rollups.opstack.wire import malformed, read_data, read_quantity
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Milliseconds, Seconds, Wei

Progress = Callable[[BlockNumber, BlockNumber], None]
"""Called with the number of the block that was copied last and with the last one to copy."""

GENESIS_FILE: Final = "genesis.json"
ANCHOR_FILE: Final = "anchor.rlp"
STATE_FILE: Final = "state"
BLOCKS_FILE: Final = "blocks"
STORE_FILE: Final = "copy"
SNAPSHOT_FILE: Final = "copy.snapshot"
_COMMIT_BLOCKS: Final = 128
_ANCHOR_BYTES_MAX: Final = 64 * 1024


# ---------------------------------------------------------------- checks


async def check_chain(client: EngineClient, config: OpStackConfig) -> None:
    """Returns when the engine runs the chain that rollup.json describes.

    Raises:
        ConfigurationError: as `check_engine`; `engine_genesis_mismatch` too when its genesis has another time.
        Unavailable: as `check_engine`.
    """
    await check_engine(client, ChainId(config.chain_id), config.genesis_l2, config.fork)
    first = await client.block(config.genesis_l2.number)
    if first is None or first.timestamp != config.genesis_time_s:
        raise ConfigurationError(
            f"genesis.l2_time is {config.genesis_time_s}, and the engine's block {config.genesis_l2.number} has time "
            f"{None if first is None else first.timestamp}; correct rollup.json.",
            code="engine_genesis_mismatch",
        )


def check_grid(config: OpStackConfig, *, genesis_time_s: Seconds, slot_ms: Milliseconds) -> None:
    """Returns when every block of the chain falls on a slot of the network.

    Args:
        config: the chain's.
        genesis_time_s, slot_ms: the network's.

    Raises:
        ConfigurationError: `rollup_off_grid`.
    """
    block_ms = config.block_time_s * 1000
    apart_ms = (config.genesis_time_s - genesis_time_s) * 1000
    if block_ms % slot_ms or block_ms // slot_ms > BLOCK_TIME_SLOTS_MAX or apart_ms % slot_ms:
        raise ConfigurationError(
            f"Blocks every {config.block_time_s} s since {config.genesis_time_s} do not fall on slots of {slot_ms} ms "
            f"since {genesis_time_s}; join a network whose slots divide the block time.",
            code="rollup_off_grid",
        )


# ---------------------------------------------------------------- copying
async def copy_chain(
    client: EngineClient,
    rollup: Rollup,
    config: OpStackConfig,
    *,
    until: BlockNumber | None = None,
    progress: Progress | None = None,
) -> Anchor:
    """Copies the engine's blocks above the rollup's head, executes them, and returns the last one as the anchor.

    Args:
        client: of the chain's engine; `check_chain` passed.
        rollup: of the native core, at a block of the chain.
        config: the chain's.
        until: the last block to copy; None for the engine's head when it is reached.
        progress: told after every piece.

    Raises:
        ConfigurationError: `import_hash_mismatch`, our execution comes to another block; `import_empty`, there is no
            block above genesis yet.
        Unavailable, CodecError: the engine does not answer, or not properly.
    """
    while True:
        last = until if until is not None else await _head_number(client)
        if last <= rollup.head.number:
            break
        fetched: asyncio.Task[list[PayloadEnvelope]] | None = None
        try:
            start = BlockNumber(rollup.head.number + 1)
            fetched = asyncio.create_task(fetch_blocks(client, start, _count(start, last)))
            while start <= last:
                found = await fetched
                start = BlockNumber(start + len(found))
                if start <= last:
                    fetched = asyncio.create_task(fetch_blocks(client, start, _count(start, last)))
                await asyncio.to_thread(execute, rollup, found)
                if progress is not None:
                    progress(BlockNumber(rollup.head.number), last)
        finally:
            if fetched is not None and not fetched.done():
                fetched.cancel()
    return await anchor_of(client, BlockNumber(rollup.head.number), config)


def _count(start: BlockNumber, last: BlockNumber) -> int:
    return min(ENGINE_BODIES_PER_CALL, last - start + 1)


async def _head_number(client: EngineClient) -> BlockNumber:
    head = await client.block("latest")
    if head is None:
        raise Unavailable(f"The engine at {client.url} has no head.", code="engine_lags")
    return head.number


async def fetch_blocks(client: EngineClient, start: BlockNumber, count: int) -> list[PayloadEnvelope]:
    """Blocks in order, each with the hash of its own fields.

    Raises:
        Unavailable: `engine_lags`, it does not have them all.
        CodecError: `engine_answer_malformed`, `payload_hash_wrong`.
    """
    calls = [("eth_getBlockByNumber", (hex(start + at), False)) for at in range(count)]
    headers = await client.batch(calls)
    bodies = await client.bodies(start, count)
    if len(bodies) < count or any(header is None for header in headers) or any(body is None for body in bodies):
        raise Unavailable(f"The engine does not have blocks {start} to {start + count - 1}.", code="engine_lags")
    return [
        _envelope(header, body or (), BlockNumber(start + at))
        for at, (header, body) in enumerate(zip(headers, bodies, strict=True))
    ]


def _envelope(header: Any, transactions: tuple[bytes, ...], number: BlockNumber) -> PayloadEnvelope:
    if not isinstance(header, dict):
        raise malformed("a block", "that is no object")

    def number_of(name: str, bits: int = 64) -> int:
        return read_quantity(header.get(name), name, bits)

    def bytes_of(name: str, size: int | None = 32) -> bytes:
        return read_data(header.get(name), name, size)

    isthmus = header.get("requestsHash") is not None
    payload = ExecutionPayload(
        parent_hash=Hash32(bytes_of("parentHash")),
        fee_recipient=Address(bytes_of("miner", 20)),
        state_root=Hash32(bytes_of("stateRoot")),
        receipts_root=Hash32(bytes_of("receiptsRoot")),
        logs_bloom=bytes_of("logsBloom", 256),
        prev_randao=Hash32(bytes_of("mixHash")),
        block_number=BlockNumber(number_of("number")),
        gas_limit=Gas(number_of("gasLimit")),
        gas_used=Gas(number_of("gasUsed")),
        timestamp=Seconds(number_of("timestamp")),
        extra_data=bytes_of("extraData", None),
        base_fee_per_gas=Wei(number_of("baseFeePerGas", 256)),
        block_hash=Hash32(bytes_of("hash")),
        transactions=transactions,
        withdrawals=(),
        blob_gas_used=Gas(number_of("blobGasUsed")),
        excess_blob_gas=Gas(number_of("excessBlobGas")),
        withdrawals_root=Hash32(bytes_of("withdrawalsRoot")) if isthmus else None,
    )
    envelope = PayloadEnvelope(payload=payload, parent_beacon_block_root=Hash32(bytes_of("parentBeaconBlockRoot")))
    if payload.block_number != number or block_hash_of(envelope) != payload.block_hash:
        raise CodecError(f"The engine's block {number} is not what its hash says.", code="payload_hash_wrong")
    return envelope


def execute(rollup: Rollup, found: Sequence[PayloadEnvelope]) -> None:
    """Executes blocks upon the rollup's head and commits them.

    Raises:
        ConfigurationError: `import_hash_mismatch`; what was right before stays.
    """
    for start in range(0, len(found), _COMMIT_BLOCKS):
        session = rollup.session()
        for envelope in found[start : start + _COMMIT_BLOCKS]:
            _execute_one(session, envelope, rollup.chain_id)
        rollup.commit(session)


def _execute_one(session: Session, envelope: PayloadEnvelope, chain_id: int) -> None:
    payload = envelope.payload
    raws = payload.transactions
    user = next((at for at, raw in enumerate(raws) if raw[:1] != DEPOSIT_TYPE), len(raws))
    try:
        session.open(native_attributes(envelope, raws[:user]))
        decoded = decode_transactions(raws[user:], chain_id)
        transactions = [item for item in decoded if isinstance(item, Transaction)]
        included = session.run(transactions, on_invalid="stop").included
        sealed = session.seal()
    except NativeError as error:
        raise _differs(envelope, f"it cannot be executed: {error} ({error.code})") from error
    if sealed.hash == payload.block_hash:
        return
    if included != len(raws) - user:
        raise _differs(envelope, f"its transaction {user + included} cannot be executed")
    fields = ("state_root", "receipts_root", "gas_used", "withdrawals_root")
    wrong = [name for name in fields if getattr(payload, name) not in (None, getattr(sealed, name))]
    raise _differs(envelope, f"ours has hash 0x{sealed.hash.hex()} and another {', '.join(wrong) or 'header'}")


def _differs(envelope: PayloadEnvelope, problem: str) -> ConfigurationError:
    payload = envelope.payload
    return ConfigurationError(
        f"Block {payload.block_number} 0x{payload.block_hash.hex()} of the chain does not come out of its genesis file "
        f"here: {problem}. Is it the chain's own genesis, and are its forks supported?",
        code="import_hash_mismatch",
        number=payload.block_number,
    )


async def anchor_of(client: EngineClient, number: BlockNumber, config: OpStackConfig) -> Anchor:
    """The engine's block `number` as an anchor.

    Raises:
        ConfigurationError: `import_empty` for the genesis block, which names no L1 origin.
        CodecError: `l1_attributes_malformed`, it does not begin with an L1-attributes deposit.
    """
    if number <= config.genesis_l2.number:
        raise ConfigurationError(
            "The chain has no block above its genesis yet; found the network with its rollup.json instead.",
            code="import_empty",
        )
    payload = (await fetch_blocks(client, number, 1))[0].payload
    if not payload.transactions:
        raise CodecError(f"Block {number} has no deposit.", code="l1_attributes_malformed")
    info = decode_l1_attributes(payload.transactions[0])
    fees = read_extra_data(payload.extra_data)
    return Anchor(
        config=config,
        block=BlockId(number, payload.block_hash),
        timestamp=payload.timestamp,
        origin=BlockId(info.number, info.hash),
        sequence_number=info.sequence_number,
        system=SystemConfig(
            batcher=info.batcher,
            gas_limit=payload.gas_limit,
            base_fee_scalar=info.base_fee_scalar,
            blob_base_fee_scalar=info.blob_base_fee_scalar,
            eip1559_denominator=0 if fees is None else fees.denominator,
            eip1559_elasticity=0 if fees is None else fees.elasticity,
            operator_fee_scalar=info.operator_fee_scalar,
            operator_fee_constant=info.operator_fee_constant,
            min_base_fee=0 if fees is None else fees.min_base_fee,
            da_footprint_gas_scalar=info.da_footprint_gas_scalar,
        ),
    )


# ---------------------------------------------------------------- files
@contextlib.contextmanager
def open_copy(directory: Path, genesis_json: bytes) -> Iterator[Rollup]:
    """The copy of a chain in a directory, where the last one ended; what was copied is kept at the end of the block,
    also after a failure.

    Args:
        directory: made if missing; one copy at a time.
        genesis_json: the chain's, in op-geth's format.

    Raises:
        NativeError: what `Rollup.from_genesis` and `Rollup.from_snapshot` refuse; `store_locked`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    snapshot = directory / SNAPSHOT_FILE
    store = Store.open(str(directory / STORE_FILE))
    try:
        if snapshot.exists():
            rollup = Rollup.from_snapshot(genesis_json, store, str(snapshot), undo_blocks=UNWIND_BLOCKS_MAX)
        else:
            rollup = Rollup.from_genesis(genesis_json, store, undo_blocks=UNWIND_BLOCKS_MAX)
        try:
            yield rollup
        finally:
            store.sync()
            rollup.write_snapshot(str(snapshot))
    finally:
        store.close()


def write_import(directory: Path, genesis_json: bytes, rollup: Rollup, anchor: Anchor) -> None:
    """Writes what a node needs to go on from the anchor.

    Args:
        directory: made if missing.
        genesis_json: the chain's, in op-geth's format.
        rollup: at the anchor.
        anchor: of the same chain.

    Raises:
        ConfigurationError: `import_moved`, the rollup is not at the anchor.
        OSError, NativeError: it cannot be written.
    """
    frozen = rollup.freeze()
    if frozen.head_hash != anchor.block.hash:
        raise ConfigurationError("The rollup went on from the anchor; import it again.", code="import_moved")
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in ((GENESIS_FILE, genesis_json), (ANCHOR_FILE, anchor.encode())):
        temporary = directory / (name + ".part")
        temporary.write_bytes(data)
        temporary.replace(directory / name)
    frozen.write_state(str(directory / STATE_FILE))
    frozen.write_blocks(str(directory / BLOCKS_FILE), frozen.head_number, 1)


def read_anchor(directory: Path) -> Anchor:
    """The anchor of a directory that `write_import` wrote.

    Raises:
        ConfigurationError: `import_missing`, there is none, or it is damaged.
    """
    try:
        with (directory / ANCHOR_FILE).open("rb") as file:
            return decode_anchor(file.read(_ANCHOR_BYTES_MAX))
    except (OSError, CodecError) as error:
        raise ConfigurationError(
            f"{directory} holds no imported chain ({error}); run `plait rollup import`.", code="import_missing"
        ) from error


def imported_rollup(directory: Path, store: Store) -> tuple[Rollup, Anchor]:
    """The rollup at its anchor, its blocks in the store. Everything is checked against the anchor's hash.

    Raises:
        ConfigurationError: `import_missing`.
        NativeError: what `Rollup.take_over` refuses.
    """
    anchor = read_anchor(directory)
    try:
        genesis = (directory / GENESIS_FILE).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{directory} has no genesis ({error}).", code="import_missing") from error
    rollup = Rollup.take_over(
        genesis,
        store,
        state=str(directory / STATE_FILE),
        blocks=[str(directory / BLOCKS_FILE)],
        head_number=anchor.block.number,
        head_hash=anchor.block.hash,
        lowest=1,
        attributes=None,
        transactions=(),
        undo_blocks=UNWIND_BLOCKS_MAX,
    )
    return rollup, anchor
