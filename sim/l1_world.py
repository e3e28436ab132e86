"""A network of OP Stack rollups over a made-up L1: several applications that decide together, without an engine.

world = L1World(rollups=2, validators=4)
world.l1.grow(); world.report()          every reporter says what it sees
world.step(milliseconds)                 a height: one proposes, all check, all apply; refusals raise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from plait.codec.l1_items import encode_facts_item
from plait.crypto.l1_reports import sign_report
from plait.derivation.l1_facts import L1BlockFacts, encode_l1_facts
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.execution.bundles import BundleCandidate
from plait.ledger.economy import Economy
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.l1 import L1State, L1Terms, digest_of, undo_blocks
from plait.ledger.parameters import TOKEN, LedgerParameters
from plait.ledger.rollup_records import NetworkMode
from plait.ledger.state import genesis_state
from plait.native import Rollup, Store, ed25519_public_key
from plait.ordering.queues import SenderQueue
from plait.protocol.actions import ActionFailed
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import (
    Accepted,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Verdict,
)
from plait.types import Address, BlockNumber, Gas, Hash32, Height, Milliseconds, OrderingPolicy, RollupId
from plait.types.action import SignedAction
from plait.types.l1 import RollupConflict, RollupSafe
from sim.l1 import MadeL1
from sim.situation import queues
from sim.wallet import Wallet
from sim.world import GENESIS_TIME_S, Network, Plan, network_of

L1_CHAIN_ID = 900
BATCHER = Address(b"\xba" * 20)
GAS_LIMIT = Gas(30_000_000)


class L1World:
    """Applications of all validators over one L1; without validators one application, whose reporter is named."""

    def __init__(
        self,
        *,
        rollups: int = 2,
        validators: int = 0,
        seed: int = 1,
        lag_blocks: int = 0,
        hold_s: int = 60,
        interval_s: int = 2,
        embedded: int = 0,
        block_times: Sequence[int] | None = None,
        users: int = 4,
        tokens: Mapping[Address, int] | None = None,
        vault: bytes = b"",
    ) -> None:
        self.seeds = [sha256(f"plait/sim/reporter/{place}".encode()).digest() for place in range(max(1, validators))]
        self.keys = [ed25519_public_key(one) for one in self.seeds]
        self.wallets = [Wallet.of_index(index, "l1 world") for index in range(users)]
        self.l1 = MadeL1(seed, GENESIS_TIME_S, interval_s)
        self.ids = [RollupId(901 + place) for place in range(rollups)]
        self._sequence = 0
        total = rollups + embedded
        plan = msgspec.structs.replace(
            _PLAN,
            block_times_slots=tuple(block_times or (1,) * total),
            policies=(OrderingPolicy.PRIORITY_FEE,) * total,
        )
        economy = None if validators == 0 and not tokens else _economy(self.keys[:validators], tokens or {})
        network = network_of(plan, [wallet.address for wallet in self.wallets], economy=economy)
        self.parameters = network.ledger.parameters
        start = self.l1.head
        bindings = tuple(
            OpStackConfig(
                chain_id=record.rollup_id,
                l1_chain_id=L1_CHAIN_ID,
                genesis_l1=BlockId(start.number, start.hash),
                genesis_l2=BlockId(BlockNumber(0), record.head_hash),
                genesis_time_s=GENESIS_TIME_S,
                genesis_system=SystemConfig(
                    batcher=BATCHER,
                    gas_limit=GAS_LIMIT,
                    base_fee_scalar=1_368,
                    blob_base_fee_scalar=810_949,
                    eip1559_denominator=250,
                    eip1559_elasticity=6,
                ),
                block_time_s=record.parameters.block_time_slots,
                batch_inbox=Address(b"\x1b" * 20),
                deposit_contract=Address(b"\x2b" * 20),
                system_config_contract=Address(b"\x3b" * 20),
            )
            for record in network.ledger.rollups
            if record.rollup_id in self.ids
        )
        terms = L1Terms(
            chain_id=L1_CHAIN_ID,
            lag_blocks=lag_blocks,
            hold_s=hold_s,
            reporter=b"" if validators else self.keys[0],
            vault=vault,
        )
        ledger = genesis_state(
            self.parameters,
            tuple(record.parameters for record in network.ledger.rollups),
            economy,
            L1State(terms=terms, bindings=bindings, blocks=(start,)),
        )
        self.network = Network(ledger=ledger, source=network.source, genesis=network.genesis)
        self.stores = [Store.in_memory() for _ in range(max(1, validators))]
        self.nodes = [self.network.application(recheck_own=True, store=store) for store in self.stores]
        self.time_ms = self.network.ledger.time_ms
        self.items: list[bytes] = []
        self.failed: tuple[ActionFailed, ...] = ()
        """Actions that the last height left out."""
        self.decided: list[SubBlockDecided] = []

    # ------------------------------------------------------------ the L1
    @property
    def state(self) -> L1State:
        """What is agreed."""
        found = self.nodes[0].ledger.l1
        assert found is not None
        return found

    def first_to_report(self) -> int:
        """The lowest block in which the L1 differs from what is agreed, or the next one."""
        for facts in self.state.blocks[1:]:
            if facts.number > self.l1.head.number or self._differs(facts):
                return facts.number
        return self.state.head.number + 1

    def _differs(self, agreed: L1BlockFacts) -> bool:
        """Facts of another set of rollups cannot be compared, the blocks' hashes can."""
        now = self.l1.block(agreed.number)
        same_set = agreed.generation == self.state.generation
        return now.hash != agreed.hash or (same_set and digest_of(self.seen(now)) != self.state.digest(agreed))

    def report(
        self,
        reporters: Sequence[int] | None = None,
        *,
        conflicts: Sequence[RollupConflict] = (),
        safe: Sequence[RollupSafe] = (),
        facts: bool = True,
    ) -> None:
        """Reports of these validators (all) wait for the next height, and the facts of the blocks they name."""
        self._sequence += 1
        first = self.first_to_report()
        for place in range(len(self.keys)) if reporters is None else reporters:
            said = self.l1.report(
                self.keys[place], self._sequence, first, conflicts=conflicts, safe=safe, seen=self.seen
            )
            self.items.append(sign_report(self.parameters.network_id, said, self.seeds[place]))
        if facts:
            self.bring_facts(first)

    def seen(self, facts: L1BlockFacts) -> L1BlockFacts:
        """What a block of the L1 says to the rollups that derive from it now."""
        bound = {config.chain_id for config in self.state.bindings}
        rollups = tuple(one for one in facts.rollups if one.rollup_id in bound)
        return msgspec.structs.replace(facts, rollups=rollups, generation=self.state.generation)

    def bring_facts(self, first: int) -> None:
        """The facts of the blocks from `first` on wait for the next height."""
        found = [self.seen(one) for one in self.l1.blocks if one.number >= first]
        self.items += [encode_facts_item(encode_l1_facts(one)) for one in found]

    # ------------------------------------------------------------ heights
    def prepare(
        self,
        proposer: int = 0,
        *,
        node: Application | None = None,
        transactions: Mapping[RollupId, Sequence[Sequence[bytes]]] | None = None,
        bundles: Sequence[BundleCandidate] = (),
        items: Sequence[bytes] | None = None,
        actions: Sequence[SignedAction] = (),
    ) -> PreparedProposal:
        """A proposal for the next height at the world's time."""
        found: dict[RollupId, list[SenderQueue]] = {
            rollup_id: queues(rollup_id, by_sender, self.time_ms)
            for rollup_id, by_sender in (transactions or {}).items()
        }
        application = self.nodes[proposer] if node is None else node
        return application.prepare(
            PrepareRequest(
                height=Height(application.info().height + 1),
                time_ms=self.time_ms,
                candidates=found,
                bundles=bundles,
                l1_items=self.items if items is None else items,
                actions=actions,
            )
        )

    def verdicts(self, proposal: bytes) -> list[Verdict]:
        """What every application says of a proposal."""
        return [
            node.process(ProcessRequest(height=Height(node.info().height + 1), time_ms=self.time_ms, proposal=proposal))
            for node in self.nodes
        ]

    def decide(self, proposal: bytes) -> SubBlockDecided:
        """All apply a proposal. They must agree on what it gives."""
        effects = []
        for node in self.nodes:
            request = FinalizeRequest(height=Height(node.info().height + 1), time_ms=self.time_ms, proposal=proposal)
            effects.append(node.finalize(request).effect)
            node.commit()
        assert len({effect.app_hash for effect in effects}) == 1
        self.decided.append(effects[0])
        return effects[0]

    def step(
        self,
        milliseconds: int = 1_000,
        *,
        proposer: int = 0,
        transactions: Mapping[RollupId, Sequence[Sequence[bytes]]] | None = None,
        bundles: Sequence[BundleCandidate] = (),
        actions: Sequence[SignedAction] = (),
    ) -> SubBlockDecided:
        """A height, `milliseconds` after the one before; whatever waits of the L1 goes into it."""
        self.time_ms = Milliseconds(self.time_ms + milliseconds)
        prepared = self.prepare(proposer, transactions=transactions, bundles=bundles, actions=actions)
        self.failed = prepared.actions_failed
        self.items = []
        for verdict in self.verdicts(prepared.proposal):
            assert isinstance(verdict, Accepted), verdict
        return self.decide(prepared.proposal)

    def restart(self, place: int, directory: Path) -> None:
        """A node writes snapshots, forgets its memory and starts from them over its block store."""
        before = self.nodes[place]
        ledger = decode_ledger(encode_ledger(before.ledger))
        rollups = {}
        for rollup_id, rollup in before.rollups.items():
            path = directory / f"{place}-{rollup_id}-{ledger.height}"
            rollup.write_snapshot(str(path))
            rollups[rollup_id] = Rollup.from_snapshot(
                self.network.genesis[rollup_id], self.stores[place], str(path), undo_blocks=undo_blocks(ledger.l1)
            )
        self.nodes[place] = Application(
            ledger, rollups, self.network.source, app_hash=before.app_hash, recheck_own=True, store=self.stores[place]
        )

    def head(self, rollup_id: RollupId) -> tuple[int, Hash32]:
        """Number and hash of a rollup's last sealed block."""
        head = self.nodes[0].rollups[rollup_id].head
        return head.number, Hash32(head.hash)


_PLAN = Plan(
    nodes=1,
    block_times_slots=(1, 1),
    policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.PRIORITY_FEE),
    gas_limit=GAS_LIMIT,
    users=4,
    heights=1,
    interop=False,
)


def _economy(keys: Sequence[bytes], tokens: Mapping[Address, int]) -> Economy:
    return genesis_economy(
        GenesisEconomy(
            mode=NetworkMode.MARKETPLACE,
            parameters=LedgerParameters(),
            accounts=tuple(sorted(tokens.items())),
            validators=tuple(
                GenesisValidator(
                    operator=Wallet.of_index(place, "operator").address,
                    public_key=key,
                    stake=100 * TOKEN,
                    name=f"validator {place}",
                )
                for place, key in enumerate(keys)
            ),
            rollups=(),
        )
    )
