"""Question: how many bytes does a transaction take on L1, beside op-batcher's span batches with brotli for the same?

A rollup's blocks with ERC-20 transfers, some full and some thin, go to calldata twice: by our batcher's own planning
(postings begin when what waits fills a transaction) and by op-batcher's channel builder from its Go module, with its
defaults for calldata (120,000 bytes a transaction, one frame a channel, shadow compressor) but span batches and brotli.
The bytes counted are all of the transactions' calldata.
"""

import sys

from bench import workload
from bench.processes import ROOT
from bench.report import Result
from plait.derivation.attributes import L1BlockInfo, block_attributes
from plait.derivation.system_config import NO_BATCHER, SystemConfig
from plait.native import Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.batcher.assembly import Format, carry, make_part
from plait.rollups.batcher.blocks import BatchBlock, batch_block
from plait.rollups.batcher.plan import Backlog, PlanSettings, Waiting, plan
from plait.rollups.batcher.service import RATIO_FIRST
from plait.types import BlockNumber, Gas, Hash32, RollupId, Seconds, Wei

sys.path[:0] = [str(ROOT / "tests" / "peers" / "opstack"), str(ROOT / "tools")]

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
L1_BLOCK_TIME_S, BLOCK_TIME_S = 12, 2
TRANSACTION_BYTES = 120_000
FORMAT = Format(transaction_bytes_max=TRANSACTION_BYTES)


def run(quick: bool = False) -> Result:
    from build_tools import ToolMissingError, build_opstack_oracle
    from opstack_oracle import Oracle

    result = Result("batch_size")
    try:
        oracle = Oracle(build_opstack_oracle())
    except ToolMissingError as error:
        result.note(f"not measured: {error}")
        return result
    try:
        for name, blocks, per_block in (("full blocks", 40, 250), ("thin blocks", 800, 10)):
            count = blocks // (5 if quick else 1)
            raws = _sealed(count, per_block)
            transactions = count * per_block
            ours = sum(_ours(raws))
            theirs = sum(
                oracle.call(
                    "batch_sizes",
                    blocks=raws,
                    genesis_time=GENESIS_TIME_S,
                    block_time=BLOCK_TIME_S,
                    chain_id=CHAIN_ID,
                    tx_bytes=TRANSACTION_BYTES,
                    frames=1,
                )
            )
            result.figure(f"{name}: Plait", ours / transactions, "bytes/tx")
            result.figure(f"{name}: op-batcher, span batches, brotli", theirs / transactions, "bytes/tx")
            result.ratio(f"{name}: Plait / op-batcher", ours / theirs, at_most=1.03)
            result.note(f"{name}: {count:,} blocks of {per_block} transfers, {transactions:,} in all")
    finally:
        oracle.close()
    return result


def _sealed(blocks: int, per_block: int) -> list[bytes]:
    """Raw blocks with transfers of a token, one L1 origin per twelve seconds."""
    transfers = workload.make(CHAIN_ID, 1_000, -(-blocks * per_block // 1_000), recipients=2_000)
    known = [*transfers.senders, *transfers.recipients]
    genesis = workload.genesis_with_token(CHAIN_ID, GENESIS_TIME_S, known, transfers.senders, gas_limit=60_000_000)
    rollup = Rollup.from_genesis(genesis, Store.in_memory())
    system = SystemConfig(
        batcher=NO_BATCHER, gas_limit=Gas(60_000_000), base_fee_scalar=1_368, blob_base_fee_scalar=810_949,
        eip1559_denominator=250, eip1559_elasticity=6,
    )  # fmt: skip
    found = []
    for number in range(1, blocks + 1):
        timestamp = Seconds(GENESIS_TIME_S + number * BLOCK_TIME_S)
        epoch, sequence = divmod(number * BLOCK_TIME_S, L1_BLOCK_TIME_S)
        origin = L1BlockInfo(
            number=BlockNumber(epoch), hash=Hash32(keccak256(b"%d" % epoch)),
            timestamp=Seconds(GENESIS_TIME_S + epoch * L1_BLOCK_TIME_S), base_fee=Wei(10**9), blob_base_fee=Wei(1),
            prev_randao=Hash32(bytes(32)), parent_beacon_block_root=Hash32(bytes(32)),
        )  # fmt: skip
        session = rollup.session()
        session.open(block_attributes(timestamp, origin, sequence // BLOCK_TIME_S, system))
        raws = transfers.raws[(number - 1) * per_block : number * per_block]
        decoded = [one for one in decode_transactions(raws, CHAIN_ID) if isinstance(one, Transaction)]
        assert session.run(decoded).included == per_block
        session.seal()
        rollup.commit(session)
        raw = rollup.raw_block(number)
        assert raw is not None
        found.append(raw)
    return found


def _ours(raws: list[bytes]) -> list[int]:
    """Calldata of each transaction, as blocks come one after the other."""
    sizes: list[int] = []
    waiting: list[BatchBlock] = []
    ratio = RATIO_FIRST
    for raw in raws:
        waiting.append(batch_block(raw))
        backlog = Backlog(
            blocks=[
                Waiting(one.number, one.batch.timestamp, one.batch.epoch_number, one.data_bytes) for one in waiting
            ],
            next_timestamp=Seconds(waiting[-1].batch.timestamp + BLOCK_TIME_S),
            seq_window_blocks=3_600,
        )
        planned = plan(
            {RollupId(CHAIN_ID): backlog}, l1_number=waiting[-1].batch.epoch_number,
            now_s=waiting[-1].batch.timestamp, waiting=0, ratio=ratio, settings=PlanSettings(age_max_s=10**9),
        )  # fmt: skip
        if planned is not None:
            made, stream = _posting(waiting)
            sizes += made
            ratio += 0.3 * (sum(made) / stream - ratio)
            waiting = []
    return sizes + (_posting(waiting)[0] if waiting else [])


def _posting(blocks: list[BatchBlock]) -> tuple[list[int], int]:
    part = make_part(
        RollupId(CHAIN_ID), blocks, channel_id=bytes(16), genesis_time_s=Seconds(GENESIS_TIME_S), format_=FORMAT
    )
    return [len(data) for data in carry([part], TRANSACTION_BYTES)], part.stream_bytes
