"""A simulated world from a seed: parameters, rollups with funded users, nodes over in-memory stores, and a virtual
clock.

The seed decides everything: how many rollups with which block times and policies, how many nodes, how fast time passes
and when it jumps. Genesis is Plait's own (op-geth's format), so that real fees, vaults and predeploys take part.
"""

from random import Random

import msgspec

from plait.engines.simulated import Chances, SimulatedEngine, SimulatedNode, Step
from plait.ledger.economy import Economy
from plait.ledger.l1 import undo_blocks
from plait.ledger.state import LedgerState, genesis_state
from plait.native import Rollup, Store
from plait.node.message_book import MessageBook
from plait.node.relayer import LocalRelayer
from plait.protocol.application import Application
from plait.protocol.grid import slot_at
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.rollups.embedded.source import EmbeddedSource
from plait.types import (
    Address,
    ChainId,
    Gas,
    Hash32,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
    Wei,
)
from sim.bundling import BundleWorkload
from sim.byzantine import all_forgers
from sim.wallet import Wallet
from sim.workload import Workload

GENESIS_TIME_S = Seconds(1_790_000_000)
USER_BALANCE_WEI = Wei(10**20)
RELAYER = LocalRelayer.of_development(policy="free")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a seed decides before the first height."""

    nodes: int
    block_times_slots: tuple[int, ...]
    policies: tuple[OrderingPolicy, ...]
    gas_limit: Gas
    users: int
    heights: int
    slot_ms: Milliseconds = Milliseconds(1_000)
    sub_blocks_per_slot: int = 4
    interop: bool = False
    """Whether the rollups execute each other's messages."""

    @classmethod
    def of(cls, random: Random, *, heights: int | None = None) -> "Plan":
        """A plan for a seeded source of randomness."""
        rollups = random.choice((1, 2, 2, 3))
        return cls(
            nodes=random.choice((1, 2, 3, 4, 5)),
            block_times_slots=tuple(random.choice((1, 1, 2, 3)) for _ in range(rollups)),
            policies=tuple(random.choice(list(OrderingPolicy)) for _ in range(rollups)),
            gas_limit=Gas(random.choice((2_500_000, 5_000_000, 30_000_000))),
            users=random.choice((2, 4, 8)),
            heights=heights if heights is not None else random.randrange(12, 36),
            interop=random.choice((True, True, False)),
        )


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network's genesis: ledger, source of attributes, and each rollup's genesis JSON."""

    ledger: LedgerState
    source: EmbeddedSource
    genesis: dict[RollupId, bytes]

    def application(self, *, recheck_own: bool = False, store: Store | None = None) -> Application:
        """A new application at genesis, over a store or over its own in-memory ones."""
        rollups = {
            rollup_id: Rollup.from_genesis(
                data, store if store is not None else Store.in_memory(), undo_blocks=undo_blocks(self.ledger.l1)
            )
            for rollup_id, data in self.genesis.items()
        }
        return Application(self.ledger, rollups, self.source, recheck_own=recheck_own, store=store)


def network_of(plan: Plan, funded: list[Address], *, network_id: int = 1, economy: Economy | None = None) -> Network:
    """Genesis of a planned network with funded accounts on every rollup; chain ids 901, 902, ...; an economy with
    validators, or one without tokens."""
    parameters = NetworkParameters(
        network_id=NetworkId(network_id),
        genesis_time_s=GENESIS_TIME_S,
        slot_ms=plan.slot_ms,
        sub_blocks_per_slot=plan.sub_blocks_per_slot,
    )
    genesis: dict[RollupId, bytes] = {}
    rollups: list[RollupParameters] = []
    for place, (slots, policy) in enumerate(zip(plan.block_times_slots, plan.policies, strict=True)):
        rollup_id = RollupId(901 + place)
        specification = GenesisSpecification(
            chain_id=ChainId(rollup_id),
            timestamp=GENESIS_TIME_S,
            gas_limit=plan.gas_limit,
            balances=dict.fromkeys([*funded, RELAYER.address], USER_BALANCE_WEI),
            interop=plan.interop,
        )
        genesis[rollup_id] = genesis_json(specification)
        rollups.append(
            RollupParameters(
                rollup_id=rollup_id,
                genesis_hash=_genesis_hash(genesis[rollup_id]),
                block_time_slots=slots,
                gas_limit=plan.gas_limit,
                ordering=policy,
                da_footprint_gas_scalar=400,
                eip1559_denominator=specification.eip1559_denominator,
                eip1559_elasticity=specification.eip1559_elasticity,
                min_base_fee=specification.min_base_fee,
                operator_fee_scalar=place * 1_000,
                operator_fee_constant=place * 7,
                base_fee_scalar=5_227,
                blob_base_fee_scalar=1_014_213,
                interop_set=int(plan.interop),
            )
        )
    return Network(
        ledger=genesis_state(parameters, tuple(rollups), economy), source=EmbeddedSource.of(parameters), genesis=genesis
    )


def _genesis_hash(data: bytes) -> Hash32:
    return Hash32(Rollup.from_genesis(data, Store.in_memory()).genesis_hash)


class World:
    """Nodes, users and the clock of one seed; `step` plays one height."""

    def __init__(self, seed: int, *, heights: int | None = None, chances: Chances | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.plan = Plan.of(self.random, heights=heights)
        self.wallets = [Wallet.of_index(index) for index in range(self.plan.users)]
        self.network = network_of(self.plan, [wallet.address for wallet in self.wallets])
        ids = self.network.ledger.rollup_ids
        interop = self.plan.interop and len(ids) > 1
        self.workload = Workload(self.random, ids, self.wallets, int(self.plan.gas_limit), interop=interop)
        self.messages = MessageBook()
        self.bundles = BundleWorkload(
            self.random, self.network.ledger, self.wallets, self.workload.nonce, self.workload.recipients
        )
        self.nodes = [SimulatedNode(index, self.network.application) for index in range(self.plan.nodes)]
        self.engine = SimulatedEngine(
            self.nodes,
            self.random,
            candidates=self.workload.candidates,
            bundles=self.bundles.candidates,
            relays=lambda _, time_ms: self.messages.offer(slot_at(self.network.ledger.parameters, time_ms)),
            relayer=RELAYER if interop else None,
            forgers=all_forgers(),
            chances=chances,
        )
        self.time_ms = self.network.ledger.time_ms

    @property
    def live(self) -> list[tuple[int, Application]]:
        """Nodes that are up, with their applications."""
        return self.engine.live

    def step(self) -> Step:
        """Lets time pass, lets users send, decides a height."""
        self.time_ms = Milliseconds(self.time_ms + self._pause_ms())
        self.workload.add(self.random.choice((0, 1, 3, 10, 25)))
        self.bundles.add(self.random.choice((0, 0, 1, 3, 6)), self.time_ms)
        step = self.engine.step(self.time_ms)
        self.workload.on_decided(next(iter(step.effects.values())), self.engine.live[0][1])
        self.bundles.on_decided(next(iter(step.effects.values())))
        self.messages.on_decided(next(iter(step.effects.values())))
        self.workload.on_dropped(step.dropped)
        self.workload.give_up_some()
        return step

    def _pause_ms(self) -> int:
        """Mostly a sub-block's interval, now and then nothing, several slots, or a long stall."""
        random = self.random
        kind = random.randrange(100)
        if kind < 5:
            return 0
        if kind < 85:
            return random.randrange(150, 400)
        if kind < 98:
            return random.randrange(1_000, 5_000)
        return random.choice((60_000, 700_000))
