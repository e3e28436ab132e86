"""What is asked of an engine before anything is handed to it: is it the right chain, from the right genesis, at the
right fork. A wrong answer is one clear refusal that says what to do, and concerns this rollup only.

    engine_jwt_refused        it does not take our token (engine_client)
    engine_unreachable        nobody answers (engine_client)
    engine_chain_mismatch     another chain id
    engine_genesis_mismatch   another block where both must share one
    engine_fork_mismatch      methods of our fork are missing, or its blocks are of another fork

The genesis hash does not tell forks apart (the chain configuration is not part of it), so the engine is made to build
one block upon its own head and throws it away: its head stays what it is. Level 5.
"""

from plait.derivation.attributes import Fork, L1BlockInfo, l1_attributes_deposit
from plait.derivation.rollup_config import BlockId
from plait.derivation.system_config import NO_BATCHER, SystemConfig
from plait.errors import CodecError, ConfigurationError
from plait.rollups.opstack.attributes_json import FeeParameters, PayloadAttributes, attributes_json, read_extra_data
from plait.rollups.opstack.engine_answers import BuiltPayload, EngineBlock, EngineRefused, EngineUnreachable
from plait.rollups.opstack.engine_client import EngineClient, ForkchoiceState
from plait.rollups.opstack.forks import METHODS, EngineFork, at_least
from plait.rollups.opstack.payload import read_payload
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Seconds, Wei

_PROBE_GAS_LIMIT = Gas(30_000_000)


async def check_engine(client: EngineClient, chain_id: ChainId, first: BlockId, fork: EngineFork) -> None:
    """Returns when blocks of the rollup may be handed to the engine.

    Args:
        client: of the engine.
        chain_id: of the rollup.
        first: a block that both must share: genesis, or where the rollup was taken over.
        fork: of the rollup's blocks now.

    Raises:
        ConfigurationError: `engine_chain_mismatch`, `engine_genesis_mismatch`, `engine_fork_mismatch`,
            `engine_jwt_refused`.
        EngineUnreachable: `engine_unreachable`.
        CodecError: `engine_answer_malformed`.
    """
    await _check_chain(client, chain_id)
    await _check_genesis(client, first)
    await _check_methods(client, fork)
    head = await client.block("latest")
    if head is not None:
        await _check_fork(client, head, fork)


async def _check_chain(client: EngineClient, chain_id: ChainId) -> None:
    found = await client.chain_id()
    if found != chain_id:
        raise ConfigurationError(
            f"The engine at {client.url} runs chain {found}, and this rollup is chain {chain_id}: name the engine of "
            f"chain {chain_id}, or initialise this one with its genesis.",
            code="engine_chain_mismatch",
            expected=chain_id,
            found=found,
        )


async def _check_genesis(client: EngineClient, first: BlockId) -> None:
    block = await client.block(first.number)
    if block is None:
        raise EngineUnreachable(
            f"The engine at {client.url} does not have block {first.number} yet, from which this rollup goes on; "
            "let it sync up to it.",
            code="engine_lags",
            url=client.url,
        )
    if block.hash != first.hash:
        raise ConfigurationError(
            f"The engine at {client.url} has block {first.number} 0x{block.hash.hex()}, and this rollup's is "
            f"0x{first.hash.hex()}: initialise an empty data directory with the rollup's own genesis.",
            code="engine_genesis_mismatch",
            expected="0x" + first.hash.hex(),
            found="0x" + block.hash.hex(),
        )


async def _check_methods(client: EngineClient, fork: EngineFork) -> None:
    needed = METHODS[fork].names()
    offered = await client.exchange_capabilities(needed)
    missing = [name for name in needed if name not in offered]
    if missing:
        raise fork_mismatch(client, fork, f"does not offer {', '.join(missing)}")


async def _check_fork(client: EngineClient, head: EngineBlock, fork: EngineFork) -> None:
    try:
        built = await probe(client, head, fork)
    except EngineRefused as error:
        raise fork_mismatch(client, fork, f"refuses to build such a block ({error.fields['detail']})") from error
    if built is None:
        return
    try:
        payload = read_payload(built.payload_json, built.parent_beacon_block_root).payload
        fees = read_extra_data(payload.extra_data)
    except CodecError as error:
        raise fork_mismatch(client, fork, f"builds a block of another fork ({error.message})") from error
    jovian = fees is not None and len(payload.extra_data) == _JOVIAN_EXTRA_BYTES
    isthmus = payload.withdrawals_root is not None
    if (fees is not None, isthmus, jovian) != (
        METHODS[fork].fee_parameters,
        METHODS[fork].execution_requests,
        METHODS[fork].min_base_fee,
    ):
        found = "jovian" if jovian else "isthmus" if isthmus else "holocene" if fees is not None else "ecotone"
        raise fork_mismatch(client, fork, f"builds blocks of {found}")


async def probe(client: EngineClient, head: EngineBlock, fork: EngineFork) -> BuiltPayload | None:
    """A block of a fork with nothing but a deposit that the engine builds upon its head and forgets; None while it
    syncs.

    Raises:
        EngineRefused: it cannot build one.
    """
    deposit_fork: Fork = "jovian" if at_least(fork, "jovian") else "isthmus" if fork == "isthmus" else "holocene"
    origin = L1BlockInfo(
        number=BlockNumber(0),
        hash=head.hash,
        timestamp=head.timestamp,
        base_fee=Wei(0),
        blob_base_fee=Wei(1),
        prev_randao=Hash32(bytes(32)),
        parent_beacon_block_root=Hash32(bytes(32)),
    )
    system = SystemConfig(
        batcher=NO_BATCHER,
        gas_limit=_PROBE_GAS_LIMIT,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
        eip1559_denominator=0,
        eip1559_elasticity=0,
    )
    attributes = PayloadAttributes(
        timestamp=Seconds(head.timestamp + 1),
        prev_randao=origin.prev_randao,
        fee_recipient=Address(bytes(20)),
        parent_beacon_block_root=origin.parent_beacon_block_root,
        transactions=(l1_attributes_deposit(origin, 0, system, deposit_fork),),
        gas_limit=_PROBE_GAS_LIMIT,
        eip1559=FeeParameters(0, 0),
    )
    answer = await client.forkchoice_updated(ForkchoiceState(head.hash), attributes_json(attributes, fork))
    if answer.payload_id is None:
        return None
    return await client.get_payload(answer.payload_id, fork)


def fork_mismatch(client: EngineClient, fork: EngineFork, problem: str) -> ConfigurationError:
    """The refusal of an engine that is at another fork."""
    return ConfigurationError(
        f"The engine at {client.url} is not at the fork {fork}: it {problem}. Give it the fork times that rollup.json "
        "names (genesis or --override flags) and a release that knows them, or correct rollup.json.",
        code="engine_fork_mismatch",
        expected=fork,
    )


_JOVIAN_EXTRA_BYTES = 17
