"""Single blocks between us and an engine: handing one over, having one built and compared, taking the head back.

Specification
    - VALID is the engine's word that it executed the block and came to the hash in it. Everything else is examined:
      SYNCING and ACCEPTED mean that it lacks an ancestor; INVALID is answered by having the engine build the block
      itself from the same attributes, which shows where the two differ.
    - An engine that refuses a block and yet builds it hash for hash contradicts itself; it is asked again
      ENGINE_INVALID_RETRIES_MAX times.
Level 5.
"""

from plait.derivation.execution_payload import PayloadEnvelope
from plait.derivation.rollup_config import BlockId
from plait.errors import CodecError, InvalidInput, Unavailable
from plait.limits import ENGINE_INVALID_RETRIES_MAX
from plait.native import keccak256
from plait.rollups.opstack.attributes_json import PayloadAttributes, attributes_json, attributes_of
from plait.rollups.opstack.blocks import Blocks, envelope_of
from plait.rollups.opstack.engine_answers import BuiltPayload, EngineRefused, PayloadStatus
from plait.rollups.opstack.engine_client import EngineClient, ForkchoiceState
from plait.rollups.opstack.forks import EngineFork
from plait.rollups.opstack.payload import first_difference, read_payload
from plait.types import BlockNumber, Hash32

_REFUSED = frozenset({"INVALID", "INVALID_BLOCK_HASH"})


class EngineLags(Unavailable):
    """The engine does not have what it needs for the next block; where both stand is looked up again."""

    default_code = "engine_lags"


class BlockRefused(InvalidInput):
    """The engine does not come to our block: `engine_hash_mismatch`, or `engine_block_refused` when it refuses a block
    that it builds itself."""

    default_code = "engine_hash_mismatch"

    def __init__(self, ours: PayloadEnvelope, engine: PayloadEnvelope | None, engine_words: str, *, code: str) -> None:
        self.ours, self.engine, self.engine_words = ours, engine, engine_words
        payload = ours.payload
        field = None if engine is None else first_difference(ours, engine)
        differs = f", and they differ in {field} first" if field else ""
        theirs = f"it builds 0x{engine.payload.block_hash.hex()}" if engine is not None else "it builds none"
        words = f" ({engine_words})" if engine_words else ""
        super().__init__(
            f"The engine does not come to our block {payload.block_number} 0x{payload.block_hash.hex()}{words}: "
            f"{theirs}{differs}. Compare both with the evidence file; a release or a genesis of one side is wrong.",
            code=code,
            number=payload.block_number,
            hash="0x" + payload.block_hash.hex(),
            field=field,
        )

    @property
    def block(self) -> BlockId:
        """Our block."""
        return BlockId(self.ours.payload.block_number, self.ours.payload.block_hash)


async def import_block(client: EngineClient, blocks: Blocks, number: BlockNumber, fork: EngineFork) -> BlockId:
    """Hands our block to the engine, whose head stays where it is.

    Raises:
        EngineLags: it lacks an ancestor, or the block is no longer ours.
        BlockRefused: it comes to another block.
    """
    found, expected = blocks.payload(number), blocks.hash_of(number)
    if found is None or expected is None:
        raise _absent(blocks, number)
    status = await client.new_payload(*found, fork)
    if status.status in _REFUSED:
        status = await _examine(client, read_payload(*found), status, fork)
    if status.status != "VALID":
        raise EngineLags(f"The engine answers {status.status} to block {number}: it lacks blocks before it.")
    return BlockId(number, expected)


async def build_block(
    client: EngineClient, blocks: Blocks, number: BlockNumber, parent: BlockId, fork: EngineFork
) -> BlockId:
    """Has the engine build our block from its attributes, compares the hashes, and imports what it built.

    Args:
        client: of the engine.
        blocks: ours.
        number: of the block.
        parent: the block before it, which the engine has.
        fork: of the block.

    Raises:
        EngineLags: it lacks the parent, or the block is no longer ours.
        BlockRefused: it comes to another block.
    """
    ours, expected = envelope_of(blocks, number), blocks.hash_of(number)
    if ours is None or expected is None or ours.payload.parent_hash != parent.hash:
        raise _absent(blocks, number)
    try:
        built = await _build(client, attributes_of(ours), parent.hash, fork)
    except EngineRefused as error:
        raise BlockRefused(ours, None, error.fields["detail"], code="engine_hash_mismatch") from error
    if built.block_hash != expected:
        raise BlockRefused(ours, _readable(built), "", code="engine_hash_mismatch")
    status = await client.new_payload(built.payload_json, built.parent_beacon_block_root, fork)
    if status.status in _REFUSED:
        status = await _examine(client, ours, status, fork)
    if status.status != "VALID":
        raise EngineLags(f"The engine answers {status.status} to block {number}: it lacks blocks before it.")
    return BlockId(number, expected)


async def take_back(client: EngineClient, blocks: Blocks, target: BlockId, fork: EngineFork) -> None:
    """Makes an older block of the engine's own chain its head again, by way of a sibling of it.

    Args:
        client: of the engine.
        blocks: ours.
        target: a block of ours above the first one.
        fork: of that block.

    Raises:
        EngineLags: the engine does not do it, or the block is no longer ours.
        EngineRefused: it cannot build a sibling.
    """
    ours = envelope_of(blocks, target.number)
    if ours is None or ours.payload.block_hash != target.hash:
        raise EngineLags(f"Our block {target.number} was replaced.", code="engine_unwinding")
    attributes = attributes_of(ours)
    other = PayloadAttributes(
        timestamp=attributes.timestamp,
        prev_randao=Hash32(keccak256(b"a sibling of " + target.hash)),
        fee_recipient=attributes.fee_recipient,
        parent_beacon_block_root=attributes.parent_beacon_block_root,
        transactions=attributes.transactions[:1],
        gas_limit=attributes.gas_limit,
        eip1559=attributes.eip1559,
    )
    sibling = await _build(client, other, ours.payload.parent_hash, fork)
    status = await client.new_payload(sibling.payload_json, sibling.parent_beacon_block_root, fork)
    if status.status != "VALID":
        raise EngineLags(f"The engine answers {status.status} to a sibling of block {target.number}.")
    for head in (sibling.block_hash, target.hash):
        answer = await client.forkchoice_updated(ForkchoiceState(head))
        if answer.status.status != "VALID":
            raise EngineLags(f"The engine answers {answer.status.status} on the way back to block {target.number}.")
    latest = await client.block("latest")
    if latest is None or latest.hash != target.hash:
        raise EngineLags(f"The engine's head did not go back to block {target.number}.")


async def _build(client: EngineClient, attributes: PayloadAttributes, parent: Hash32, fork: EngineFork) -> BuiltPayload:
    answer = await client.forkchoice_updated(ForkchoiceState(parent), attributes_json(attributes, fork))
    if answer.status.status != "VALID" or answer.payload_id is None:
        raise EngineLags(f"The engine answers {answer.status.status} and does not build upon 0x{parent.hex()}.")
    return await client.get_payload(answer.payload_id, fork)


async def _examine(
    client: EngineClient, ours: PayloadEnvelope, status: PayloadStatus, fork: EngineFork
) -> PayloadStatus:
    """What to think of a block that the engine called invalid: its later opinion, or BlockRefused."""
    words = status.validation_error
    try:
        built = await _build(client, attributes_of(ours), ours.payload.parent_hash, fork)
    except EngineRefused as error:
        raise BlockRefused(ours, None, f"{words}; {error.fields['detail']}", code="engine_hash_mismatch") from error
    if built.block_hash != ours.payload.block_hash:
        raise BlockRefused(ours, _readable(built), words, code="engine_hash_mismatch")
    for _ in range(ENGINE_INVALID_RETRIES_MAX):
        status = await client.new_payload(built.payload_json, built.parent_beacon_block_root, fork)
        if status.status not in _REFUSED:
            return status
    raise BlockRefused(ours, _readable(built), words, code="engine_block_refused")


def _absent(blocks: Blocks, number: BlockNumber) -> EngineLags:
    """Why we have no such block: it was taken back, or this node began above it."""
    if number > blocks.head().number or blocks.hash_of(number) is not None:
        return EngineLags(f"Our block {number} was replaced.", code="engine_unwinding")
    return EngineLags(
        f"The engine needs block {number}, which this node does not have because it began from a snapshot: let the "
        "engine sync from a peer or from op-node first, or copy another engine's data directory.",
        code="engine_history_missing",
    )


def _readable(built: BuiltPayload) -> PayloadEnvelope | None:
    """What the engine built, for evidence; None when it cannot be read."""
    try:
        return read_payload(built.payload_json, built.parent_beacon_block_root)
    except CodecError:
        return None
