"""A small network for scenarios: two to five rollups of one interop set, users with ether, and several validators.

Every sub-block is decided through the simulated engine: nodes propose, rivals too, every validator re-executes what is
proposed (the proposer too), rounds may end undecided, then all apply what was decided; now and then a node crashes
before or after its commit and comes back by replaying the log. What is proposed depends on the offers alone, so two
worlds that are told the same decide the same bytes. `World.twin` gives the second one, and `fails_without_trace`
compares a world that was offered something that must not happen with its twin that never heard of it: app hash, state
roots, all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
from eth_abi import encode

from plait.engines.simulated import Chances, SimulatedEngine, SimulatedNode, replay
from plait.execution.bundles import BundleCandidate
from plait.interop.relays import Relay
from plait.ledger.state import genesis_state
from plait.native import PENDING, Rollup, Store, keccak256
from plait.node.relayer import LocalRelayer, RelayPolicy
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.proposal import encode_entry, encode_leg_item
from plait.protocol.requests import (
    ApplicationInfo,
    BundleFailed,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Refused,
)
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.rollups.embedded.genesis import DETERMINISTIC_DEPLOYER, GenesisSpecification, genesis_json
from plait.rollups.embedded.source import EmbeddedSource
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    ChainId,
    Gas,
    Hash32,
    Height,
    Leg,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    OrderingPolicy,
    Pin,
    RollupId,
    RollupParameters,
    Slot,
    Wei,
)
from sim.bundling import decoded
from sim.forging import with_bundles
from sim.situation import queues
from sim.wallet import Wallet
from sim.world import GENESIS_TIME_S, USER_BALANCE_WEI, Network

A, B, C, D, E = (RollupId(901 + place) for place in range(5))
USERS = [Wallet.of_index(index, "scenario") for index in range(8)]
DEPLOYER = Address(bytes.fromhex(DETERMINISTIC_DEPLOYER))
NOWHERE = Address(b"\xbb" * 20)
STEADY = Chances(byzantine=0, rival=30, undecided=20, not_asked=0, crash_before_commit=0, crash_after_commit=0)
"""Without crashes, where something outside reads one validator's rollups all the time."""
ROUGH = Chances(byzantine=0, rival=30, undecided=20, not_asked=0, crash_before_commit=10, crash_after_commit=10)
FEE, ARRIVAL = OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL


class Decided(NamedTuple):
    """A sub-block as the scenario sees it."""

    effect: SubBlockDecided
    bundles: list[Hash32]
    failed: dict[Hash32, BundleFailed]
    deferred: int
    dropped: list[tuple[RollupId, str]]
    """Plain transactions that the proposer threw out, by code."""
    undelivered: dict[Hash32, str]
    """Messages that the proposer could not deliver, by code."""

    def statuses(self, rollup_id: RollupId) -> list[int]:
        """Of all transactions of this sub-block on a rollup, in order."""
        return [status for part in self.effect.rollups if part.rollup_id == rollup_id for status in part.statuses]


def network_of(
    count: int,
    *,
    gas_limit: int,
    block_times: Sequence[int],
    policies: Sequence[OrderingPolicy],
    base_fee: int,
    sets: Sequence[int],
    slot_ms: int = 1_000,
) -> Network:
    """Genesis of `count` rollups with ids 901, 902, ...; every user has ether on each. `sets` has the interop set of
    each, 0 for none."""
    parameters = NetworkParameters(
        network_id=NetworkId(7), genesis_time_s=GENESIS_TIME_S, slot_ms=Milliseconds(slot_ms), sub_blocks_per_slot=4
    )
    genesis: dict[RollupId, bytes] = {}
    rollups: list[RollupParameters] = []
    for rollup_id, slots, policy, number in zip((A, B, C, D, E)[:count], block_times, policies, sets, strict=True):
        specification = GenesisSpecification(
            chain_id=ChainId(rollup_id),
            timestamp=GENESIS_TIME_S,
            gas_limit=Gas(gas_limit),
            base_fee=Wei(base_fee),
            balances=dict.fromkeys([*(user.address for user in USERS), DEVELOPMENT_RELAYER.address], USER_BALANCE_WEI),
            interop=number > 0,
        )
        genesis[rollup_id] = genesis_json(specification)
        rollups.append(
            RollupParameters(
                rollup_id=rollup_id,
                genesis_hash=Hash32(Rollup.from_genesis(genesis[rollup_id], Store.in_memory()).genesis_hash),
                block_time_slots=slots,
                gas_limit=Gas(gas_limit),
                ordering=policy,
                da_footprint_gas_scalar=400,
                eip1559_denominator=specification.eip1559_denominator,
                eip1559_elasticity=specification.eip1559_elasticity,
                min_base_fee=specification.min_base_fee,
                operator_fee_scalar=0,
                operator_fee_constant=0,
                base_fee_scalar=5_227,
                blob_base_fee_scalar=1_014_213,
                interop_set=number,
            )
        )
    return Network(
        ledger=genesis_state(parameters, tuple(rollups)), source=EmbeddedSource.of(parameters), genesis=genesis
    )


class Validator(Application):
    """An application that executes its own proposals again, and delivers messages as its world says."""

    def __init__(self, world: World, rollups: Mapping[RollupId, Rollup]) -> None:
        super().__init__(world.network.ledger, rollups, world.network.source, recheck_own=True)
        self._world = world

    def prepare(self, request: PrepareRequest) -> PreparedProposal:
        """Proposes, with the world's relayer."""
        world = self._world
        return super().prepare(msgspec.structs.replace(request, relayer=world.relayer, relays=tuple(world.waiting)))


class World:
    """The network, its clock, and what its users do."""

    def __init__(
        self,
        rollups: int = 2,
        *,
        validators: int = 3,
        block_times: Sequence[int] | None = None,
        policies: Sequence[OrderingPolicy] | None = None,
        gas_limit: int = 30_000_000,
        base_fee: int = 10**9,
        sets: Sequence[int] | None = None,
        slot_ms: int = 1_000,
        relay: RelayPolicy | None = None,
        chances: Chances = ROUGH,
        seed: int = 1,
    ) -> None:
        """`relay` says whether proposers deliver messages: not, for nothing ("free"), or when it pays ("paid")."""
        self._arguments: dict[str, Any] = {
            "rollups": rollups,
            "validators": validators,
            "block_times": block_times,
            "policies": policies,
            "gas_limit": gas_limit,
            "base_fee": base_fee,
            "sets": sets,
            "slot_ms": slot_ms,
            "relay": relay,
            "chances": chances,
            "seed": seed,
        }
        self.network = network_of(
            rollups,
            gas_limit=gas_limit,
            block_times=block_times or (1,) * rollups,
            policies=policies or [(FEE, ARRIVAL)[place % 2] for place in range(rollups)],
            base_fee=base_fee,
            sets=sets or (1,) * rollups,
            slot_ms=slot_ms,
        )
        self.ids = self.network.ledger.rollup_ids
        self.relayer = None if relay is None else LocalRelayer.of_development(policy=relay)
        self.waiting: list[Relay] = []
        """Messages that were sent and not delivered; proposers try them again."""
        self.engine = SimulatedEngine(
            [SimulatedNode(index, self._start) for index in range(validators)],
            Random(seed),
            candidates=lambda _, __: self._plain,
            bundles=lambda _, __: self._offers,
            chances=chances,
        )
        self.time_ms = self.network.ledger.time_ms
        self._plain: Mapping[RollupId, Any] = {}
        self._offers: Sequence[BundleCandidate] = ()
        for _ in range(4):
            self.decide(after_ms=slot_ms)
        if any(self.rollup(rollup_id).open_block is None for rollup_id in self.ids):
            self.decide(after_ms=slot_ms * max(block_times or (1,)))

    def _start(self) -> Application:
        rollups = {i: Rollup.from_genesis(data, Store.in_memory()) for i, data in self.network.genesis.items()}
        return Validator(self, rollups)

    def twin(self) -> World:
        """A second world with the same past."""
        other = World(**self._arguments)
        other.time_ms = self.time_ms
        other.waiting = list(self.waiting)
        other.engine.log = list(self.engine.log)
        for node in other.engine.nodes:
            node.application = replay(node.start(), other.engine.log, with_senders=False)
        return other

    # ------------------------------------------------------------ time
    @property
    def application(self) -> Application:
        """A validator that is up."""
        return self.engine.live[0][1]

    @property
    def info(self) -> ApplicationInfo:
        """Where the validators stand."""
        return self.application.info()

    @property
    def slot(self) -> Slot:
        """Of the last decided sub-block."""
        return slot_at(self.application.ledger.parameters, self.time_ms)

    def request(self, *offers: BundleCandidate, plain: Mapping[RollupId, Any] | None = None) -> PrepareRequest:
        """What a proposer is asked for the next height, at the world's time."""
        return PrepareRequest(
            height=Height(self.info.height + 1), time_ms=self.time_ms, candidates=plain or {}, bundles=offers
        )

    def prepare(self, *offers: BundleCandidate, plain: Mapping[RollupId, Any] | None = None) -> PreparedProposal:
        """What a validator would propose now; changes nothing."""
        return self.application.prepare(self.request(*offers, plain=plain))

    def decide(
        self, *offers: BundleCandidate, plain: Mapping[RollupId, Sequence[bytes]] | None = None, after_ms: int = 250
    ) -> Decided:
        """One sub-block, `after_ms` after the last one; `plain` are raw transactions in their order of arrival."""
        self.time_ms = Milliseconds(self.time_ms + after_ms)
        self._offers = offers
        self._plain = self.candidates(plain or {})
        prepared = self.application.prepare(self.request(*offers, plain=self._plain))
        step = self.engine.step(self.time_ms)
        effect = next(iter(step.effects.values()))
        assert {application.info().app_hash for _, application in self.engine.live} == {effect.app_hash}
        self._offers, self._plain = (), {}
        self.waiting = [m for m in [*self.waiting, *effect.sent] if m.message_hash not in effect.delivered]
        return Decided(
            effect,
            [bundle.hash for bundle in effect.bundles],
            {failed.hash: failed for failed in prepared.bundles_failed},
            prepared.bundles_deferred,
            [(entry.rollup_id, entry.code) for entry in prepared.dropped],
            {refused.relay.message_hash: refused.code for refused in prepared.relays_refused},
        )

    def fresh(self) -> None:
        """Opens the next block of every rollup, so that the next three sub-blocks are in it too."""
        times = [record.parameters.block_time_slots for record in self.application.ledger.rollups]
        slot = self.slot + 1
        while any(slot % slots for slots in times):
            slot += 1
        start_ms = self.network.ledger.time_ms + slot * self.network.ledger.parameters.slot_ms
        self.decide(after_ms=start_ms - self.time_ms)

    def candidates(self, plain: Mapping[RollupId, Sequence[bytes]]) -> dict[RollupId, Any]:
        """Raw transactions as a pool offers them: per sender a queue in nonce order, stamped in the order given."""
        offered: dict[RollupId, Any] = {}
        for rollup_id, raws in plain.items():
            by_sender: dict[bytes, list[Any]] = {}
            for place, raw in enumerate(raws):
                ((ready,),) = queues(rollup_id, [[raw]], self.time_ms - 200 + place)
                by_sender.setdefault(ready.transaction.sender, []).append(ready)
            offered[rollup_id] = [tuple(queue) for queue in by_sender.values()]
        return offered

    def seal(self) -> dict[RollupId, bytes]:
        """Lets the slots pass that seal every open block; the state roots."""
        numbers = {rollup_id: self.rollup(rollup_id).open_block.number for rollup_id in self.ids}  # type: ignore[union-attr]
        while any(self.rollup(rollup_id).head.number < number for rollup_id, number in numbers.items()):
            self.decide(after_ms=1_000)
        return {rollup_id: self.rollup(rollup_id).head.state_root for rollup_id in self.ids}

    # ------------------------------------------------------------ proposals that are not honest
    def refusal(self, proposal: bytes) -> Refused:
        """Every validator's answer to a proposal for the next height, which is the same refusal and changes nothing."""
        before = self.info
        request = ProcessRequest(height=Height(before.height + 1), time_ms=self.time_ms, proposal=proposal)
        verdicts = [application.process(request) for _, application in self.engine.live]
        refused = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
        assert len(refused) == len(verdicts), verdicts
        assert len({verdict.code for verdict in refused}) == 1
        assert all(application.info() == before for _, application in self.engine.live)
        return refused[0]

    def forged(self, *offers: BundleCandidate, plain: Mapping[RollupId, Sequence[bytes]] | None = None) -> bytes:
        """A proposal that holds these bundles and plain transactions, whether they may stand or not."""
        blocks: dict[RollupId, list[bytes]] = {}
        for offer in offers:
            for leg, data in zip(offer.bundle.terms.legs, offer.bundle.leg_bytes, strict=True):
                blocks.setdefault(leg.rollup_id, []).append(encode_leg_item(offer.bundle.hash, data))
        for rollup_id, raws in (plain or {}).items():
            blocks.setdefault(rollup_id, []).extend(bytes(7) + raw for raw in raws)
        entries = [encode_entry(Milliseconds(offer.ready_ms), offer.bundle.terms_bytes) for offer in offers]
        return with_bundles(self.application, self.prepare().proposal, entries, sorted(blocks.items()))

    # ------------------------------------------------------------ what users send
    def tx(
        self,
        rollup_id: RollupId,
        user: int | Wallet,
        to: bytes = NOWHERE,
        data: bytes = b"",
        *,
        after: int = 0,
        nonce: int | None = None,
        value: int = 0,
        gas: int = 1_000_000,
        **changes: Any,
    ) -> bytes:
        """A signed transaction with its sender's next nonce, or the one `after` that many more."""
        wallet = USERS[user] if isinstance(user, int) else user
        number = self.nonce(rollup_id, wallet.address) + after if nonce is None else nonce
        fields: dict[str, Any] = {"max_fee_per_gas": 10**10, "max_priority_fee_per_gas": 10**6} | changes
        return wallet.sign_1559(rollup_id, number, to=to, data=data, value=value, gas_limit=gas, **fields)

    def offer(
        self,
        legs: Mapping[RollupId, Sequence[bytes]],
        *,
        allowed: Mapping[RollupId, tuple[int, ...]] | None = None,
        ready_ms: int | None = None,
        retried: bool = False,
        credit: int = 8,
        slots: tuple[int, int] = (0, 2**40),
        **terms: Any,
    ) -> BundleCandidate:
        """A bundle as a pool offers it; `slots` are the first and last one of its window."""
        bundle = decoded(
            Bundle(
                legs=tuple(
                    Leg(
                        rollup_id=rollup_id,
                        transactions=tuple(raws),
                        allowed_reverts=(allowed or {}).get(rollup_id, ()),
                    )
                    for rollup_id, raws in sorted(legs.items())
                ),
                not_before_slot=Slot(slots[0]),
                deadline_slot=Slot(slots[1]),
                **terms,
            )
        )
        ready = Milliseconds(self.time_ms if ready_ms is None else ready_ms)
        return BundleCandidate(bundle, ready, retried, bundle.legs[0][0].sender, credit)

    def happen(self, rollup_id: RollupId, *raws: bytes) -> None:
        """Decides plain transactions, all of which must succeed."""
        decided = self.decide(plain={rollup_id: raws})
        assert decided.statuses(rollup_id) == [1] * len(raws), self.outcomes(rollup_id, raws)

    def deploy(
        self, rollup_id: RollupId, name: str, *arguments: Any, types: Sequence[str] = (), user: int = 7
    ) -> Address:
        """Deploys a compiled contract, at an address of this rollup's own."""
        sender = USERS[user].address
        made = Address(keccak256(_rlp_pair(sender, self.nonce(rollup_id, sender)))[12:])
        code = artifact(name).creation_code + encode(list(types), list(arguments))
        self.happen(rollup_id, self.tx(rollup_id, user, b"", code, gas=6_000_000))
        assert self.rollup(rollup_id).accounts([made], PENDING)[0][2]
        return made

    def deploy_everywhere(self, name: str, *arguments: Any, types: Sequence[str] = (), user: int = 7) -> Address:
        """Deploys a compiled contract with CREATE2: one address on all rollups."""
        code = artifact(name).creation_code + encode(list(types), list(arguments))
        plain = {i: [self.tx(i, user, DEPLOYER, bytes(32) + code, gas=6_000_000)] for i in self.ids}
        decided = self.decide(plain=plain)
        assert all(decided.statuses(rollup_id) == [1] for rollup_id in self.ids)
        made = Address(keccak256(b"\xff" + DEPLOYER + bytes(32) + keccak256(code))[12:])
        assert all(self.rollup(rollup_id).accounts([made], PENDING)[0][2] for rollup_id in self.ids)
        return made

    # ------------------------------------------------------------ reads
    def rollup(self, rollup_id: RollupId) -> Rollup:
        """As a validator that is up has it."""
        return self.application.rollups[rollup_id]

    def nonce(self, rollup_id: RollupId, address: bytes) -> int:
        """Transactions that this account has used."""
        return self.rollup(rollup_id).accounts([address], PENDING)[0][0]

    def balance(self, rollup_id: RollupId, address: bytes) -> int:
        """Wei."""
        return self.rollup(rollup_id).accounts([address], PENDING)[0][1]

    def ask(self, rollup_id: RollupId, to: bytes, signature: str, *values: Any) -> int:
        """First word that a getter answers on the open block."""
        request = {"to": "0x" + to.hex(), "data": "0x" + calldata(signature, *values).hex()}
        result = self.rollup(rollup_id).call(json.dumps(request).encode(), PENDING, None, None, 30_000_000)
        assert result.success, result.error
        return int.from_bytes(result.output[:32], "big")

    def there(self, offer: BundleCandidate) -> set[bool]:
        """For every transaction of a bundle whether it is in a block, on every validator."""
        return {
            application.rollups[leg.rollup_id].transaction_location(transaction.hash) is not None
            for _, application in self.engine.live
            for leg, transactions in zip(offer.bundle.terms.legs, offer.bundle.legs, strict=True)
            for transaction in transactions
        }

    def outcomes(self, rollup_id: RollupId, raws: Sequence[bytes]) -> list[Any]:
        """(status, gas used, logs) of transactions in the open block."""
        return [self.rollup(rollup_id).pending_outcome(keccak256(raw)) for raw in raws]

    def pin(self, rollup_id: RollupId) -> Pin:
        """Where a bundle begins that is the first of its sub-block, if that is in the block which is open now."""
        block = self.rollup(rollup_id).open_block
        assert block is not None
        return Pin(rollup_id=rollup_id, block_number=BlockNumber(block.number), log_index=block.log_count)

    def ether(self, rollup_id: RollupId, *others: bytes) -> int:
        """All ether of genesis accounts, users, vaults and `others`."""
        known = {bytes.fromhex(address) for address in json.loads(self.network.genesis[rollup_id])["alloc"]}
        known |= {NOWHERE, *others}
        return sum(balance for _, balance, _ in self.rollup(rollup_id).accounts(sorted(known), PENDING))


def fails_without_trace(
    world: World,
    *offers: BundleCandidate,
    code: str,
    reason: str | None = None,
    rollup_id: RollupId | None = None,
    index: int | None = None,
    plain: Mapping[RollupId, Sequence[bytes]] | None = None,
) -> Decided:
    """Decides a sub-block in which every offer fails with this code: proposal, app hash and the state roots of the
    sealed blocks are those of a twin that was never offered them."""
    twin = world.twin()
    assert twin.info == world.info
    decided = world.decide(*offers, plain=plain)
    twin.decide(plain=plain)
    for offer in offers:
        assert offer.bundle.hash in decided.failed, (decided.bundles, decided.deferred)
        failed = decided.failed[offer.bundle.hash]
        assert failed.code == code, failed
        assert len(failed.sentence) > 10
        if reason is not None:
            assert failed.reason == reason, failed
        if rollup_id is not None:
            assert failed.rollup_id == rollup_id, failed
        if index is not None:
            assert failed.index == index, failed
        assert world.there(offer) == {False}
    assert world.info == twin.info
    assert world.seal() == twin.seal()
    return decided


def calldata(signature: str, *values: Any) -> bytes:
    """Selector and ABI encoding; arrays and tuples as eth-abi takes them."""
    inside = signature[signature.index("(") + 1 : -1]
    return keccak256(signature.encode())[:4] + encode(_split(inside), values)


def _split(types: str) -> list[str]:
    """Top-level argument types of a signature."""
    found, depth, start = [], 0, 0
    for place, letter in enumerate(types):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append(types[start:place])
            start = place + 1
    return [*found, types[start:]] if types else []


def _rlp_pair(address: bytes, nonce: int) -> bytes:
    from plait.codec.rlp import encode_bytes, encode_list, encode_uint

    return encode_list((encode_bytes(address), encode_uint(nonce)))
