"""Nodes in this process that exchange batches: real applications, pools, bookkeeping and intake.

The common pool between them follows the rules of CometBFT's (a cache, arrival order, recheck after each height), over
links that lose, repeat and reorder.

The caller says when batches are sent, when they travel and which node's proposal is decided. All randomness is seeded.
"""

from collections.abc import Sequence
from random import Random

from plait.codec.batch import batch_hash_of
from plait.errors import TransactionRefused
from plait.mempool import Admitted, BundlePool, Pool, PoolLimits
from plait.node.spread import BatchCode, Intake, Pools, RefusalBudget, Spreader
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import FinalizeRequest, PrepareRequest
from plait.types import Gas, Hash32, Height, Milliseconds, OrderingPolicy, RollupId, Slot
from sim.wallet import Wallet
from sim.world import GENESIS_TIME_S, Network, Plan, network_of


class SpreadNode:
    """One node and its side of the common pool.

    Args:
        network: whose genesis it starts from.
        exchange: that tells the time.
        limits: of its pool.
    """

    def __init__(self, network: Network, exchange: "Exchange", limits: PoolLimits) -> None:
        self.application: Application = network.application()
        self.pool = Pool(limits)
        self.bundles = BundlePool()
        for record in self.application.ledger.rollups:
            rollup = self.application.rollups[record.rollup_id]
            self.pool.add_rollup(rollup, record.parameters)
            self.bundles.add_rollup(rollup, record.parameters)
        pools = Pools(self.pool, self.bundles)
        self.spreader = Spreader(pools, self._offered, now_ms=lambda: exchange.time_ms, slot=lambda: exchange.slot)
        self.intake: Intake = self.spreader.intake
        # Virtual time has no seconds: what may be wasted is given once.
        self.intake._budget = RefusalBudget(clock=lambda: 0.0)
        self.kept: dict[Hash32, bytes] = {}
        self.cache: set[Hash32] = set()
        self.alive = True
        self.answers: list[tuple[int, str]] = []

    async def _offered(self, data: bytes) -> None:
        await self.offer(data)

    async def offer(self, data: bytes) -> int | None:
        """CheckTx, unless the cache knows the bytes; its code."""
        batch_hash = batch_hash_of(data)
        if batch_hash in self.cache:
            return None
        self.cache.add(batch_hash)
        code, sentence = await self.intake.check(data, False)
        self.answers.append((code, sentence))
        if code == BatchCode.KEPT:
            self.kept[batch_hash] = data
        else:
            self.cache.discard(batch_hash)
        return code

    async def recheck(self) -> None:
        """What CometBFT does after each height."""
        for batch_hash, data in list(self.kept.items()):
            code, _ = await self.intake.check(data, True)
            if code != BatchCode.KEPT:
                del self.kept[batch_hash]
                self.cache.discard(batch_hash)

    async def send(self) -> int:
        """Sends all that is to be sent; the number of batches."""
        count = 0
        while (outgoing := self.spreader.spread.next_batch()) is not None:
            await self.offer(outgoing.data)
            count += 1
        return count


class Exchange:
    """Nodes and their links.

    Args:
        random: of the links.
        users: funded on both rollups (901, 902).
        nodes: how many.
        loss: chance that a batch never travels a link.
        repeat: chance that it travels twice.
        limits: of every pool.
    """

    def __init__(
        self,
        random: Random,
        users: Sequence[Wallet],
        *,
        nodes: int = 2,
        loss: float = 0.0,
        repeat: float = 0.0,
        limits: PoolLimits | None = None,
    ) -> None:
        plan = Plan(
            nodes=nodes,
            block_times_slots=(1, 1),
            policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL),
            gas_limit=Gas(30_000_000),
            users=len(users),
            heights=0,
        )
        self.network = network_of(plan, [user.address for user in users])
        self.random = random
        self.loss = loss
        self.repeat = repeat
        self.time_ms = Milliseconds(GENESIS_TIME_S * 1_000)
        self.decided: list[FinalizeRequest] = []
        self.nodes = [SpreadNode(self.network, self, limits or PoolLimits()) for _ in range(nodes)]
        self._travelled: set[tuple[int, int, Hash32]] = set()

    @property
    def slot(self) -> Slot:
        """Of the clock."""
        return slot_at(self.network.ledger.parameters, self.time_ms)

    def hand_in(self, node: int, rollup_id: int, *raws: bytes) -> list[Admitted | TransactionRefused]:
        """A client sends transactions to a node."""
        return self.nodes[node].pool.submit(RollupId(rollup_id), raws, self.time_ms)

    async def travel(self) -> int:
        """Every kept batch goes once over every link to a node that is up; the number that arrived."""
        arriving: list[tuple[int, bytes]] = []
        for source, sender in enumerate(self.nodes):
            for target, receiver in enumerate(self.nodes):
                if source == target or not sender.alive or not receiver.alive:
                    continue
                for batch_hash, data in sender.kept.items():
                    if (source, target, batch_hash) in self._travelled:
                        continue
                    self._travelled.add((source, target, batch_hash))
                    if self.random.random() < self.loss:
                        continue
                    arriving += [(target, data)] * (2 if self.random.random() < self.repeat else 1)
        self.random.shuffle(arriving)
        for target, data in arriving:
            await self.nodes[target].offer(data)
        return len(arriving)

    async def spread(self, rounds: int = 3) -> None:
        """Everybody sends, and batches travel so many links far."""
        for node in self.nodes:
            if node.alive:
                await node.send()
        for _ in range(rounds):
            await self.travel()

    async def decide(self, leader: int, *, after_ms: int = 250) -> SubBlockDecided:
        """Decides a sub-block of a node's pools on all nodes that are up."""
        self.time_ms = Milliseconds(self.time_ms + after_ms)
        proposer = self.nodes[leader]
        prepared = proposer.application.prepare(
            PrepareRequest(
                height=Height(proposer.application.info().height + 1),
                time_ms=self.time_ms,
                candidates=proposer.pool.candidates(),
                bundles=proposer.bundles.candidates(self.slot),
            )
        )
        proposer.bundles.on_failed(prepared.bundles_failed, self.slot)
        proposer.pool.drop(prepared.dropped, self.time_ms)
        height = Height(len(self.decided) + 1)
        self.decided.append(FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
        effects = [await self._apply(node, self.decided[-1]) for node in self.nodes if node.alive]
        return effects[0]

    async def _apply(self, node: SpreadNode, request: FinalizeRequest) -> SubBlockDecided:
        effect = node.application.finalize(request).effect
        node.application.commit()
        node.pool.on_decided(effect)
        node.bundles.on_decided(effect)
        node.spreader.on_decided(effect.height)
        await node.recheck()
        return effect

    def kill(self, index: int) -> None:
        """A node is gone, with its pools."""
        self.nodes[index].alive = False
