"""Question: how fast is the native core alone? The floor that the node's speed is a share of.

Blocks of 2,000 ERC-20 transfers from distinct senders over a population of accounts, stage after stage: decode with
sender recovery, execution in the open block, sealing (state, transactions and receipts roots, header). Nothing is
stored but the in-memory block store; nothing is in the way: no pool, no proposal, no log, no RPC. The peer of every
other benchmark here.
"""

import time
from dataclasses import dataclass

from bench import workload
from bench.report import Result, median
from plait.derivation.attributes import block_attributes
from plait.derivation.system_config import system_of
from plait.l1.synthetic import SyntheticL1
from plait.native import Attributes, Rollup, Store, Transaction, decode_transactions, recovery_forget
from plait.types import BlockNumber, Hash32, NetworkId, RollupParameters, Seconds

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
BLOCK_TRANSACTIONS = 2_000


def parameters(chain_id: int = CHAIN_ID, gas_limit: int = workload.GAS_LIMIT_BLOCK) -> RollupParameters:
    """A rollup whose blocks hold more than a benchmark's block."""
    from plait.node.config import RollupConfig

    return RollupConfig(chain_id=chain_id, gas_limit=gas_limit).parameters(Hash32(bytes(32)))


def attributes_of(rollup: RollupParameters, number: int) -> Attributes:
    l1 = SyntheticL1(Seconds(GENESIS_TIME_S), NetworkId(1))
    origin, sequence_number = l1.origin(BlockNumber(number), Seconds(1))
    return block_attributes(Seconds(GENESIS_TIME_S + number), origin, sequence_number, system_of(rollup))


def rollup_with(transfers: workload.Workload, chain_id: int = CHAIN_ID, accounts: int = 100_000) -> Rollup:
    """A rollup whose state holds about `accounts` accounts and as many token balances, the workload's included."""
    others = [workload.keccak256(b"plait bench other" + index.to_bytes(8, "big"))[12:] for index in range(accounts)]
    known = [*transfers.senders, *transfers.recipients]
    holders = known[:accounts] + others[: max(0, accounts - len(known))]
    payers = [*transfers.senders, *holders[len(transfers.senders) :]]
    genesis = workload.genesis_with_token(chain_id, GENESIS_TIME_S, holders, payers)
    return Rollup.from_genesis(genesis, Store.in_memory())


@dataclass
class Stages:
    """Seconds of one block, by stage."""

    decode: float
    execute: float
    seal: float

    @property
    def total(self) -> float:
        return self.decode + self.execute + self.seal


def one_block(rollup: Rollup, rules: RollupParameters, number: int, raws: list[bytes]) -> Stages:
    session = rollup.session()
    session.open(attributes_of(rules, number))
    start = time.perf_counter()
    decoded = decode_transactions(raws, rollup.chain_id)
    recovered = time.perf_counter()
    transactions = [item for item in decoded if isinstance(item, Transaction)]
    outcomes = session.run(transactions)
    executed = time.perf_counter()
    session.seal()
    sealed = time.perf_counter()
    assert outcomes.included == len(raws), outcomes.failure(outcomes.statuses.index(2))
    assert outcomes.statuses.count(1) == len(raws)
    rollup.commit(session)
    return Stages(recovered - start, executed - recovered, sealed - executed)


def measure(accounts: int = 100_000, blocks: int = 10) -> list[Stages]:
    recovery_forget()
    transfers = workload.make(CHAIN_ID, BLOCK_TRANSACTIONS * 2, blocks // 2 + 1)
    rollup = rollup_with(transfers, accounts=accounts)
    rules = parameters()
    rounds = transfers.rounds(BLOCK_TRANSACTIONS)
    return [one_block(rollup, rules, number, raws) for number, raws in enumerate(rounds[: blocks + 1], 1)][1:]


def run(quick: bool = False) -> Result:
    stages = measure(accounts=20_000 if quick else 100_000, blocks=4 if quick else 10)
    result = Result("floor")
    count = BLOCK_TRANSACTIONS
    result.figure("native core, stage after stage (median block)", count / median([s.total for s in stages]), "tx/s")
    result.figure("native core, best block", count / min(s.total for s in stages), "tx/s")
    result.figure(
        "native core, senders recovered beforehand", count / median([s.execute + s.seal for s in stages]), "tx/s"
    )
    result.figure("decode and recover", median([s.decode for s in stages]) / count * 1e6, "us/tx")
    result.figure("execute", median([s.execute for s in stages]) / count * 1e6, "us/tx")
    result.figure("seal (roots, header)", median([s.seal for s in stages]) / count * 1e6, "us/tx")
    return result
