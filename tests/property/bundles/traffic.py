"""A seeded simulation of users who send bundles over two to five rollups, against a real bundle pool and two nodes.

Users race for nonces, for room in small blocks and with the base fee; they replace, cancel, set windows, conditions,
pins and fee bids, let legs revert, bridge ether and tokens, send calls on journeys over rollups, demand deliveries,
attach fees, and relay messages themselves, rightly and wrongly. Each node has its own relayer. Every sub-block is
prepared by one of the two nodes and processed by both (the proposer executes its own proposal again). No two
transactions are equal. What has to hold is in `invariants.py`, which sees the decided sub-blocks and the rollups'
reads only.
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from random import Random
from typing import Any

import msgspec

from plait.errors import BundleRefused
from plait.interop.identifiers import MessageChainId
from plait.interop.messages import (
    CROSS_L2_INBOX,
    ETH_BRIDGE,
    MESSENGER,
    RELAY_FEES,
    TOKEN_BRIDGE,
    SentMessage,
    message_hash_of,
)
from plait.interop.relays import Relay
from plait.mempool import BundlePool
from plait.mempool.bundles import signed_text
from plait.native import PENDING, keccak256
from plait.node.relayer import LocalRelayer, RelayPolicy
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import (
    Accepted,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
)
from plait.rollups.contracts import artifact
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.types import (
    Address,
    BlockNumber,
    Bundle,
    Comparison,
    Condition,
    ConditionKind,
    FeeBid,
    Hash32,
    Height,
    Leg,
    Milliseconds,
    OrderingPolicy,
    Pin,
    RollupId,
    Slot,
    Wei,
)
from sim.situation import queues
from sim.wallet import Wallet
from sim.workload import BURNING_CODE, REVERTING_CODE, STORING_CODE
from tests.scenarios.contracts import hop, start
from tests.scenarios.world import DEPLOYER, NOWHERE, USERS, calldata, network_of

BENCH_CODE = artifact("Workbench").creation_code
TOKEN_CODE = artifact("DemoSuperchainToken").creation_code
TRAVEL_CODE = artifact("Itinerary").creation_code
MULTICALL = Address(bytes.fromhex("ca11bde05977b3631167028862be2a173976ca11"))


def fixed_address(code: bytes) -> Address:
    """Where the deterministic deployer puts this code with salt 0."""
    return Address(keccak256(b"\xff" + DEPLOYER + bytes(32) + keccak256(code))[12:])


BENCH, TOKEN, TRAVEL = (fixed_address(code) for code in (BENCH_CODE, TOKEN_CODE, TRAVEL_CODE))
MINTED = 10**24
"""Tokens that each user has on each rollup at the start."""


class Traffic:
    """Nodes, pool, users and clock of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        count = random.choice((2, 2, 3, 4, 5))
        self.gas_limit = random.choice((3_000_000, 5_000_000, 30_000_000))
        self.sets = random.choice(((1,) * 5, (1,) * 5, (1,) * 5, (1, 1, 2, 2, 1)))[:count]
        """Interop sets. Messages between them are never delivered."""
        self.network = network_of(
            count,
            gas_limit=self.gas_limit,
            block_times=[random.choice((1, 1, 2, 3)) for _ in range(count)],
            policies=[random.choice(list(OrderingPolicy)) for _ in range(count)],
            base_fee=10**9,
            sets=self.sets,
        )
        self.ids = self.network.ledger.rollup_ids
        self.nodes = [self.network.application(recheck_own=True) for _ in range(2)]
        self.time_ms = self.network.ledger.time_ms
        self.users = USERS[:6]
        self.pool = BundlePool()
        for record in self.nodes[0].ledger.rollups:
            self.pool.add_rollup(self.nodes[0].rollups[record.rollup_id], record.parameters)
        self.log: list[FinalizeRequest] = []
        self.relay: RelayPolicy | None = random.choice((None, "free", "free", "paid"))
        keys = (DEVELOPMENT_RELAYER.private_key, sha256(b"plait/sim/scenario/6").digest())
        self.relayers = [None if self.relay is None else LocalRelayer(key, policy=self.relay) for key in keys]
        self.waiting: dict[bytes, Relay] = {}
        """Messages that were sent and not delivered."""
        self.sent: dict[bytes, Bundle] = {}
        self.hashes: dict[bytes, dict[RollupId, list[bytes]]] = {}
        """Per bundle ever admitted the hashes of its transactions."""
        self.happened: Counter[str] = Counter()
        """What came up, so that a run that shows nothing is noticed."""
        self._made = 0
        self._set_up()

    # ------------------------------------------------------------ time
    @property
    def slot(self) -> Slot:
        """At the clock."""
        return slot_at(self.network.ledger.parameters, self.time_ms)

    def decide(
        self, plain: dict[RollupId, Any], *, after_ms: int, bundles: bool = True
    ) -> tuple[SubBlockDecided, PreparedProposal]:
        """One height on both nodes."""
        self.time_ms = Milliseconds(self.time_ms + after_ms)
        chosen = self.random.randrange(len(self.nodes))
        proposer = self.nodes[chosen]
        offers = self.pool.candidates(self.slot) if bundles else []
        height = Height(proposer.info().height + 1)
        request = PrepareRequest(
            height=height,
            time_ms=self.time_ms,
            candidates=plain,
            bundles=offers,
            relayer=self.relayers[chosen],
            relays=[relay for relay in self.waiting.values() if self.random.randrange(3)],
        )
        prepared = proposer.prepare(request)
        if prepared.bundles_failed and self.random.randrange(4) == 0:
            self._unchanged_without_failed(proposer, request)
        for node in self.nodes:
            verdict = node.process(ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
            assert isinstance(verdict, Accepted), verdict
        finalize = FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        effects = [node.finalize(finalize).effect for node in self.nodes]
        assert effects[0].app_hash == effects[1].app_hash, "nodes derive different app hashes"
        for node in self.nodes:
            node.commit()
        self.log.append(finalize)
        self.waiting |= {relay.message_hash: relay for relay in effects[0].sent}
        for message_hash in effects[0].delivered:
            self.waiting.pop(message_hash, None)
        self.happened["messages"] += len(effects[0].sent)
        self.happened["delivered"] += len(effects[0].delivered)
        self.happened["relays"] += sum(part.relays_transactions for part in effects[0].rollups)
        self.happened["deliveries of bundles"] += sum(len(bundle.deliveries) for bundle in effects[0].bundles)
        for refused in prepared.relays_refused:
            self.happened[refused.code] += 1
        self.pool.on_failed(prepared.bundles_failed, self.slot)
        self.pool.on_decided(effects[0])
        for failed in prepared.bundles_failed:
            self.happened[failed.reason or failed.code] += 1
        self.happened["deferred"] += prepared.bundles_deferred
        self.happened["decided"] += len(effects[0].bundles)
        return effects[0], prepared

    def _unchanged_without_failed(self, proposer: Application, request: PrepareRequest) -> None:
        """A proposal is the same bytes when the bundles that failed are not offered at all; everybody answers for one
        bundle only, since what a payer's failures defer depends on them on purpose."""
        rich = [offer._replace(credit=1_000, payer=offer.bundle.hash) for offer in request.bundles]
        prepared = proposer.prepare(msgspec.structs.replace(request, bundles=rich))
        failed = {entry.hash for entry in prepared.bundles_failed}
        kept = [offer for offer in rich if offer.bundle.hash not in failed]
        again = proposer.prepare(msgspec.structs.replace(request, bundles=kept))
        if again.bundles_deferred == prepared.bundles_deferred:
            assert again.bundles_failed == ()
            assert again.proposal == prepared.proposal, "failed bundles left a trace in the proposal"
            self.happened["compared"] += 1

    def _set_up(self) -> None:
        """First blocks, contracts, tokens."""
        for _ in range(4):
            self.decide({}, after_ms=1_000)
        for code in (BENCH_CODE, TOKEN_CODE, TRAVEL_CODE):
            raws = {i: [self._sign(i, 7, 0, DEPLOYER, bytes(32) + code, gas=2_600_000)] for i in self.ids}
            self.decide({i: queues(i, [raws[i]], 0) for i in self.ids}, after_ms=3_000)
        for user in self.users:
            mint = calldata("mint(address,uint256)", user.address, MINTED)
            self.decide({i: queues(i, [[self._sign(i, 7, 0, TOKEN, mint)]], 0) for i in self.ids}, after_ms=1_000)

    # ------------------------------------------------------------ what users do
    def step(self) -> tuple[SubBlockDecided, PreparedProposal]:
        """Users act, time passes, a sub-block is decided."""
        random = self.random
        for _ in range(random.choice((0, 2, 4, 8, 14))):
            self.send()
        if random.randrange(3) == 0:
            self.replace_or_cancel()
        plain: dict[RollupId, Any] = {}
        for rollup_id in self.ids:
            if random.randrange(3) == 0:
                users = random.sample(range(len(self.users)), random.randrange(1, 4))
                raws = [[self.raw(rollup_id, user, n) for n in range(random.randrange(1, 3))] for user in users]
                plain[rollup_id] = queues(rollup_id, raws, self.time_ms - random.randrange(400))
        after_ms = random.choice((0, 100, 100, 250, 250, 250, 400, 1_000, 2_000))
        if random.randrange(120) == 0:
            after_ms = 650_000  # more blocks were missed than one sub-block makes up for
        return self.decide(plain, after_ms=after_ms)

    def send(self, replaces: Hash32 | None = None, signer: Wallet | None = None) -> None:
        """A random bundle goes to the pool, which may refuse it."""
        random = self.random
        touched = sorted(random.sample(self.ids, random.randrange(1, min(4, len(self.ids)) + 1)))
        legs = []
        for rollup_id in touched:
            user = self.users.index(signer) if signer else random.randrange(len(self.users))
            first = random.choice((0,) * 9 + (1, 2))
            count = random.choice((1, 1, 1, 2, 3))
            raws = tuple(self.raw(rollup_id, user, first + place) for place in range(count))
            allowed = tuple(place for place in range(count) if random.randrange(4) == 0)
            legs.append(Leg(rollup_id=rollup_id, transactions=raws, allowed_reverts=allowed))
        begin = Slot(self.slot + random.choice((0, 0, 0, 0, 1, 2)))
        bundle = Bundle(
            legs=tuple(legs),
            not_before_slot=begin,
            deadline_slot=Slot(begin + random.choice((0, 1, 2, 5, 20))),
            conditions=tuple(self.condition() for _ in range(random.choice((0, 0, 0, 0, 1, 2)))),
            fee_bid=self.fee_bid(touched),
            delivery_required=random.randrange(3) == 0,
            pins=self.pins(touched),
        )
        try:
            decoded = self.pool.decode(bundle)
            signature = None
            if replaces is not None and signer is not None:
                signature = sign_text(signer, signed_text("replace", replaces, decoded.hash))
            self.pool.admit(decoded, self.time_ms, self.slot, signature=signature, replaces=replaces)
        except BundleRefused as refused:
            self.happened["refused " + refused.code] += 1
            return
        self.happened["sent"] += 1
        self.sent[decoded.hash] = bundle
        self.hashes[decoded.hash] = {
            leg.rollup_id: [transaction.hash for transaction in transactions]
            for leg, transactions in zip(decoded.terms.legs, decoded.legs, strict=True)
        }

    def replace_or_cancel(self) -> None:
        """The sender of a waiting bundle takes it back, or puts another in its place."""
        waiting = [h for h in self.sent if (s := self.pool.status(Hash32(h))) is not None and s.status == "received"]
        if not waiting:
            return
        chosen = Hash32(self.random.choice(waiting))
        leg = self.sent[chosen].legs[0]
        sender = self._sender(leg)
        if self.random.randrange(2):
            self.pool.cancel(chosen, sign_text(sender, signed_text("cancel", chosen)))
            self.happened["cancelled"] += 1
            return
        self.send(replaces=chosen, signer=sender)
        status = self.pool.status(chosen)
        if status is not None and status.mishap is not None and status.mishap.code == "bundle_replaced":
            self.happened["replaced"] += 1

    def _sender(self, leg: Leg) -> Wallet:
        decoded = self.pool.decode(Bundle(legs=(leg,), not_before_slot=Slot(0), deadline_slot=Slot(1)))
        address = decoded.legs[0][0].sender
        return next(user for user in self.users if user.address == address)

    def fee_bid(self, touched: list[RollupId]) -> FeeBid | None:
        """Mostly none; the smaller ones are met by priority fees."""
        if self.random.randrange(6):
            return None
        amount = self.random.choice((1, 10**6, 10**10, 10**14))
        return FeeBid(rollup_id=self.random.choice(touched), amount=Wei(amount))

    def pins(self, touched: list[RollupId]) -> tuple[Pin, ...]:
        """Mostly none; where the next sub-block begins if no block is sealed, now and then beside it."""
        if self.random.randrange(8):
            return ()
        found = []
        for rollup_id in touched:
            block = self.nodes[0].rollups[rollup_id].open_block
            assert block is not None
            beside = self.random.choice((0, 0, 0, 0, 1))
            number = BlockNumber(block.number + self.random.choice((0, 0, 0, 1)))
            index = block.log_count + beside if number == block.number else 0
            found.append(Pin(rollup_id=rollup_id, block_number=number, log_index=index))
        return tuple(found)

    def raw(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """A random transaction of a user."""
        self._made += 1
        kind = self.random.choices(
            (self.common, self.costly, self.bridging_ether, self.bridging_tokens, self.travelling, self.relaying),
            (10, 5, 3, 3, 3, 3),
        )[0]
        return kind(rollup_id, user, after)

    def common(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """Transfers of ether and tokens, calls, creations, some of which revert."""
        random = self.random
        kind = random.randrange(6)
        if kind < 3:
            return self._sign(rollup_id, user, after, NOWHERE, value=1 + self._made, gas=21_000)
        if kind == 3:
            return self._sign(rollup_id, user, after, BENCH, calldata("count()"), gas=100_000)
        if kind == 4:
            code = random.choice((REVERTING_CODE, STORING_CODE)) + self._made.to_bytes(4, "big")
            return self._sign(rollup_id, user, after, b"", code, gas=150_000)
        to = random.choice(self.users).address
        amount = random.choice((self._made, self._made, 10**40))
        return self._sign(rollup_id, user, after, TOKEN, calldata("transfer(address,uint256)", to, amount), gas=120_000)

    def costly(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """What may run out of gas, fill a block, be too poor, or have too low a fee."""
        random = self.random
        kind = random.randrange(5)
        if kind == 0:
            gas = random.choice((100_000, self.gas_limit // 4))
            return self._sign(rollup_id, user, after, b"", BURNING_CODE, gas=gas)
        if kind < 3:
            gas = self.gas_limit * random.choice((2, 5, 9)) // 10
            return self._sign(rollup_id, user, after, NOWHERE, value=self._made, gas=gas)
        if kind == 3:
            return self._sign(rollup_id, user, after, NOWHERE, value=10**30, gas=21_000)
        block = self.nodes[0].rollups[rollup_id].open_block
        assert block is not None
        fee = block.base_fee + random.choice((-2, -1, 0, 0, 1, 10**6))
        return self._sign(rollup_id, user, after, NOWHERE, value=self._made, gas=21_000, fee=fee, tip=0)

    def travelling(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """A call on a journey, whose last stop may revert; or a message that must be delivered in its bundle."""
        random = self.random
        if random.randrange(3):
            stops = [random.choice(self.ids) for _ in range(random.randrange(1, 5))]
            calls = [calldata("count()")] * 5 + [calldata("revertReason(string)", "here")]
            journeys = [[hop(stop, BENCH, random.choice(calls)) for stop in stops]]
            return self._sign(rollup_id, user, after, TRAVEL, start(*journeys), gas=600_000)
        other = self._other(rollup_id)
        request = {"to": "0x" + MESSENGER.hex(), "data": "0x" + calldata("messageNonce()").hex()}
        rollup = self.nodes[0].rollups[rollup_id]
        nonce = rollup.call(json.dumps(request).encode(), PENDING, None, None, 10**6).output
        sent = SentMessage(
            destination=MessageChainId(other),
            target=BENCH,
            nonce=int.from_bytes(nonce, "big"),
            sender=MULTICALL,
            message=calldata("count()"),
        )
        message_hash = message_hash_of(sent, MessageChainId(rollup_id))
        calls = [
            (MESSENGER, calldata("sendMessage(uint256,address,bytes)", other, BENCH, calldata("count()"))),
            (RELAY_FEES, calldata("requireDelivery(bytes32)", message_hash)),
        ]
        return self._sign(
            rollup_id, user, after, MULTICALL, calldata("aggregate((address,bytes)[])", calls), gas=400_000
        )

    def relaying(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """Delivers a waiting message, its access list right or wrong; or attaches a fee to one that was sent here."""
        random = self.random
        arriving = [relay for relay in self.waiting.values() if relay.sent.destination == rollup_id]
        leaving = [r for r in self.waiting.values() if r.message.identifier.chain_id == rollup_id]
        if leaving and random.randrange(2):
            attach = calldata("attach(bytes32,uint64)", random.choice(leaving).message_hash, 400_000)
            value = random.choice((10**9, 10**15))
            return self._sign(rollup_id, user, after, RELAY_FEES, attach, value=value, gas=250_000)
        if not arriving:
            return self.common(rollup_id, user, after)
        relay = random.choice(arriving)
        lookup, checksum = relay.keys
        wrong = [(), (lookup,), (checksum, lookup), (lookup[:-1] + b"\x77", checksum), (lookup, checksum[:-1] + b"\0")]
        keys = relay.keys if random.randrange(4) else random.choice(wrong)
        access_list = [(CROSS_L2_INBOX, keys)]
        return self._sign(rollup_id, user, after, MESSENGER, relay.calldata, gas=500_000, access_list=access_list)

    def _other(self, rollup_id: RollupId) -> RollupId:
        return self.random.choice([i for i in self.ids if i != rollup_id])

    def bridging_ether(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """Ether for somebody on another rollup."""
        other = self._other(rollup_id)
        data = calldata("sendETH(address,uint256)", self.random.choice([NOWHERE, self.users[0].address]), other)
        return self._sign(rollup_id, user, after, ETH_BRIDGE, data, value=self._made, gas=300_000)

    def bridging_tokens(self, rollup_id: RollupId, user: int, after: int) -> bytes:
        """Tokens for somebody on another rollup; now and then more than there are."""
        other = self._other(rollup_id)
        amount = self.random.choice((self._made, self._made, self._made, 10**40))
        to = self.random.choice(self.users).address
        data = calldata("sendERC20(address,address,uint256,uint256)", TOKEN, to, amount, other)
        return self._sign(rollup_id, user, after, TOKEN_BRIDGE, data, gas=300_000)

    def condition(self) -> Condition:
        """On any rollup, also one without a leg."""
        random = self.random
        rollup_id, kind = random.choice(self.ids), random.choice(list(ConditionKind))
        balance = self.nodes[0].rollups[rollup_id].accounts([NOWHERE], PENDING)[0][1]
        inputs = {
            ConditionKind.BALANCE: b"",
            ConditionKind.STORAGE: (1).to_bytes(32, "big"),
            ConditionKind.CALL: calldata(random.choice(("counter()", "counter()", "revertPlain()"))),
        }
        return Condition(
            rollup_id=rollup_id,
            kind=kind,
            address=NOWHERE if kind is ConditionKind.BALANCE else BENCH,
            input=inputs[kind],
            comparison=random.choice(list(Comparison)),
            value=random.choice((0, balance)) if kind is ConditionKind.BALANCE else random.choice((0, 1, 5)),
        )

    def _sign(
        self,
        rollup_id: RollupId,
        user: int,
        after: int,
        to: bytes,
        data: bytes = b"",
        *,
        value: int = 0,
        gas: int = 200_000,
        fee: int | None = None,
        tip: int = 10**6,
        access_list: Any = (),
    ) -> bytes:
        nonce = self.nodes[0].rollups[rollup_id].accounts([USERS[user].address], PENDING)[0][0]
        return USERS[user].sign_1559(
            rollup_id,
            nonce + after,
            to=to,
            data=data,
            value=value,
            gas_limit=gas,
            max_fee_per_gas=10**10 + self._made if fee is None else max(fee, tip),
            max_priority_fee_per_gas=tip,
            access_list=access_list,
        )


def sign_text(wallet: Wallet, text: str) -> bytes:
    """A personal signature (EIP-191)."""
    message = text.encode()
    parity, r, s = wallet._sign(keccak256(b"\x19Ethereum Signed Message:\n%d%b" % (len(message), message)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + parity])
