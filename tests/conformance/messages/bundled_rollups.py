"""Random rollups of one interop set under Plait's own application: a proposer builds, a judge re-executes, both commit.

Users send plain transfers and creations, bundles with reverts and races (sim.bundling), ether over the bridge, their
own deliveries of it (now and then with a false declaration), and bundles that send on one rollup and deliver on another
at foreseen positions. Every choice comes from the seed. What the blocks then hold is for op-geth and for the message
checker to judge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Literal

import msgspec
from eth_abi import encode

from plait.execution.bundles import BundleCandidate
from plait.interop.identifiers import LogIndex, MessageChainId
from plait.interop.messages import CROSS_L2_INBOX, ETH_BRIDGE, MESSENGER, SENT_MESSAGE_TOPIC, Log
from plait.interop.relay_fees import RELAY_FEES
from plait.interop.relays import Relay, relays_of
from plait.ledger.state import genesis_state
from plait.native import PENDING, Rollup, Store, Transaction, decode_transactions, keccak256
from plait.node.relayer import LocalRelayer
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import Accepted, FinalizeRequest, PreparedProposal, PrepareRequest, ProcessRequest
from plait.rollups.embedded.accounts import DEVELOPMENT_RELAYER
from plait.rollups.embedded.genesis import MULTICALL, GenesisSpecification, development_balances, genesis_json
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
    Seconds,
    Slot,
    Wei,
)
from sim.bundling import REVERTING, STORING, BundleWorkload, decoded
from sim.wallet import Wallet
from tests.conformance.messages.checker import Chain
from tests.conformance.messages.proposals import Outcome, Outcomes, faults_of
from tests.conformance.messages.reading import Block, read_chain
from tests.conformance.messages.reading import Log as ReadLog

GENESIS_S = Seconds(1_790_000_000)
BALANCE = Wei(10**21)
SUB_BLOCKS = 4
RECIPIENTS = [Address(bytes([0xAB, index]) + bytes(18)) for index in range(6)]
BUNDLERS = [Wallet.of_index(index, "bundled rollups: bundles") for index in range(4)]
SENDERS = [Wallet.of_index(index, "bundled rollups: plain") for index in range(6)]
MULTICALL_ADDRESS = bytes.fromhex(MULTICALL)
PAIRED = [Wallet.of_index(index, "bundled rollups: pairs") for index in range(3)]


class Counts(dict[str, int]):
    """How often things happened."""

    def add(self, name: str, count: int = 1) -> None:
        self[name] = self.get(name, 0) + count


class BundledRollups:
    """Two or three rollups with interop, a proposer and a judge."""

    def __init__(self, seed: int, *, block_times_slots: Sequence[int] = ()) -> None:
        self.seed = seed
        self.random = Random(seed)
        policy: Literal["free", "paid"] = self.random.choice(("free", "free", "paid"))
        self.relayer = LocalRelayer.of_development(policy=policy) if self.random.randrange(5) else None
        self.counts = Counts()
        self.block_times_slots = list(block_times_slots) or [
            self.random.choice((1, 1, 2)) for _ in range(self.random.choice((2, 3)))
        ]
        self.parameters = NetworkParameters(
            network_id=NetworkId(1), genesis_time_s=GENESIS_S, slot_ms=Milliseconds(1_000),
            sub_blocks_per_slot=SUB_BLOCKS,
        )  # fmt: skip
        self.genesis: dict[RollupId, bytes] = {}
        rollups = [self._rollup(RollupId(901 + place), slots) for place, slots in enumerate(self.block_times_slots)]
        self.ledger = genesis_state(self.parameters, tuple(rollups))
        self.ids = self.ledger.rollup_ids
        self.proposer, self.judge = self._application(), self._application()
        self.time_ms = self.ledger.time_ms
        self.bundles = BundleWorkload(self.random, self.ledger, BUNDLERS, self._bundler_nonce, RECIPIENTS)
        self.undelivered: list[Relay] = []
        self.scanned: dict[RollupId, tuple[int, int]] = {}
        """Per rollup the block and log up to which messages were collected."""
        self.effects: list[SubBlockDecided] = []

    def _rollup(self, rollup_id: RollupId, block_time_slots: int) -> RollupParameters:
        random = self.random
        wallets = (*BUNDLERS, *SENDERS, *PAIRED)
        balances = {**development_balances(), **{wallet.address: BALANCE for wallet in wallets}}
        balances[DEVELOPMENT_RELAYER.address] = BALANCE
        gas_limit = Gas(random.choice((8_000_000, 30_000_000)))
        specification = GenesisSpecification(
            chain_id=ChainId(rollup_id), timestamp=GENESIS_S, gas_limit=gas_limit, balances=balances, interop=True
        )
        self.genesis[rollup_id] = genesis_json(specification)
        return RollupParameters(
            rollup_id=rollup_id,
            genesis_hash=Hash32(Rollup.from_genesis(self.genesis[rollup_id], Store.in_memory()).genesis_hash),
            block_time_slots=block_time_slots,
            gas_limit=gas_limit,
            ordering=random.choice(list(OrderingPolicy)),
            da_footprint_gas_scalar=0,
            eip1559_denominator=specification.eip1559_denominator,
            eip1559_elasticity=specification.eip1559_elasticity,
            min_base_fee=specification.min_base_fee,
            operator_fee_scalar=random.choice((0, 1_000)),
            operator_fee_constant=random.choice((0, 7)),
            base_fee_scalar=5_227,
            blob_base_fee_scalar=1_014_213,
            interop_set=1,
        )

    def _application(self) -> Application:
        rollups = {rollup_id: Rollup.from_genesis(data, Store.in_memory()) for rollup_id, data in self.genesis.items()}
        return Application(self.ledger, rollups, EmbeddedSource.of(self.parameters))

    # ------------------------------------------------------------ a height
    def step(self, pause_ms: int | None = None) -> SubBlockDecided:
        """Lets time pass, lets users send, decides a height; the judge must accept it and come to the same state."""
        if pause_ms is None:
            pause_ms = self.random.choice((250, 250, 250, 250, 250, 250, 250, 500, 1_000, 3_000))
        self.time_ms = Milliseconds(self.time_ms + pause_ms)
        height = Height(self.proposer.info().height + 1)
        self.bundles.add(self.random.choice((0, 0, 1, 2)), self.time_ms)
        open_blocks = all(rollup.open_block is not None for rollup in self.proposer.rollups.values())
        request = PrepareRequest(
            height=height,
            time_ms=self.time_ms,
            candidates=self._plain() if open_blocks else {},
            bundles=[*self.bundles.candidates(0, self.time_ms), *(self._pairs() if open_blocks else ())],
            relayer=self.relayer,
            relays=self.random.sample(self.undelivered, min(2, len(self.undelivered))),
        )
        prepared = self.proposer.prepare(request)
        effect = self._decide(height, prepared)
        faults = faults_of(effect.proposal, outcomes_of(self.judge), self.ids)
        assert not faults, f"seed {self.seed}, height {height}: {faults}"
        self._note(effect, prepared)
        return effect

    def _decide(self, height: Height, prepared: PreparedProposal) -> SubBlockDecided:
        where = f"seed {self.seed}, height {height}"
        verdict = self.judge.process(ProcessRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal))
        assert isinstance(verdict, Accepted), f"{where}: {verdict}"
        request = FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        ours, theirs = self.proposer.finalize(request), self.judge.finalize(request)
        assert ours.app_hash == theirs.app_hash, where
        self.proposer.commit()
        self.judge.commit()
        return ours.effect

    def _note(self, effect: SubBlockDecided, prepared: PreparedProposal) -> None:
        self.effects.append(effect)
        self.bundles.on_decided(effect)
        self.counts.add("bundles", len(effect.bundles))
        self.counts.add("transactions", effect.transactions)
        for failed in prepared.bundles_failed:
            self.counts.add(f"failed {failed.code} {failed.reason}".strip())
        for dropped in prepared.dropped:
            self.counts.add(f"dropped {dropped.code}")
        self.counts.add("relayed or delivered", len(effect.delivered))
        for refused in prepared.relays_refused:
            self.counts.add(f"not relayed {refused.code}")
        self._collect()

    # ------------------------------------------------------------ plain transactions
    def nonce(self, rollup_id: RollupId, wallet: Wallet) -> int:
        return self.proposer.rollups[rollup_id].accounts([wallet.address], PENDING)[0][0]

    def _bundler_nonce(self, rollup_id: RollupId, index: int) -> int:
        rollup = self.proposer.rollups[rollup_id]
        at = PENDING if rollup.open_block is not None else rollup.head.number
        return rollup.accounts([BUNDLERS[index].address], at)[0][0]

    def _plain(self) -> dict[RollupId, list[SenderQueue]]:
        """Per rollup some senders' next one or two transactions."""
        queues: dict[RollupId, list[SenderQueue]] = {}
        for rollup_id in self.ids:
            for wallet in self.random.sample(SENDERS, self.random.randrange(len(SENDERS))):
                nonce = self.nonce(rollup_id, wallet)
                raws = [self._raw(wallet, rollup_id, nonce + place) for place in range(self.random.choice((1, 1, 2)))]
                ready = Milliseconds(self.time_ms - self.random.randrange(300))
                queue = tuple(Ready(_one(raw, rollup_id), ready) for raw in raws)
                queues.setdefault(rollup_id, []).append(queue)
        return queues

    def _raw(self, wallet: Wallet, rollup_id: RollupId, nonce: int) -> bytes:
        random = self.random
        kind = random.randrange(10)
        tip = random.choice((0, 10**6, random.randrange(10**8)))
        if kind < 3:
            return wallet.sign_1559(
                rollup_id, nonce, to=random.choice(RECIPIENTS), value=random.randrange(10**15),
                max_priority_fee_per_gas=tip,
            )  # fmt: skip
        if kind == 3:
            code = random.choice((STORING, REVERTING))
            return wallet.sign_1559(rollup_id, nonce, data=code, gas_limit=120_000, max_priority_fee_per_gas=tip)
        here = [relay for relay in self.undelivered if relay.sent.destination == rollup_id]
        if kind < 7 and here:
            relay = random.choice(here)
            keys: Sequence[bytes] = relay.keys
            if random.randrange(5) == 0:
                place = random.randrange(len(keys))
                at = random.randrange(4, 32)
                keys = list(keys)
                keys[place] = keys[place][:at] + bytes([keys[place][at] ^ 1]) + keys[place][at + 1 :]
            return wallet.sign_1559(
                rollup_id, nonce, to=MESSENGER, data=relay.calldata, gas_limit=400_000,
                access_list=[(CROSS_L2_INBOX, keys)], max_priority_fee_per_gas=tip,
            )  # fmt: skip
        if kind == 7:
            return self._answered(wallet, rollup_id, nonce)
        if kind == 8 and random.randrange(3) == 0:
            data = _calldata("requireDelivery(bytes32)", random.randbytes(32))
            return wallet.sign_1559(rollup_id, nonce, to=RELAY_FEES, data=data, gas_limit=100_000)
        return self._sending(wallet, rollup_id, nonce, random.randrange(1, 10**15))

    def _answered(self, wallet: Wallet, rollup_id: RollupId, nonce: int) -> bytes:
        """A message whose delivery sends an answer, up to three times to and fro."""
        data, target = b"the end", bytes(RECIPIENTS[0])
        path = [rollup_id]
        for _ in range(self.random.randrange(2, 5)):
            path.append(self.random.choice([other for other in self.ids if other != path[-1]]))
        for destination in reversed(path[2:]):
            call = (MESSENGER, False, _calldata("sendMessage(uint256,address,bytes)", destination, target, data))
            data = keccak256(b"aggregate3((address,bool,bytes)[])")[:4] + encode(["(address,bool,bytes)[]"], [[call]])
            target = MULTICALL_ADDRESS
        outer = _calldata("sendMessage(uint256,address,bytes)", path[1], target, data)
        return wallet.sign_1559(rollup_id, nonce, to=MESSENGER, data=outer, gas_limit=400_000)

    def _sending(self, wallet: Wallet, rollup_id: RollupId, nonce: int, amount: int) -> bytes:
        """Ether over the bridge to some other rollup."""
        destination = self.random.choice([other for other in self.ids if other != rollup_id])
        data = _calldata("sendETH(address,uint256)", self.random.choice(RECIPIENTS), destination)
        return wallet.sign_1559(rollup_id, nonce, to=ETH_BRIDGE, value=amount, data=data, gas_limit=400_000)

    # ------------------------------------------------------------ bundles with messages
    def _pairs(self) -> list[BundleCandidate]:
        """Bundles whose messages stand at the positions that forks of the open blocks foresee."""
        found = []
        slot = slot_at(self.parameters, self.time_ms)
        if slot != self.proposer.ledger.slot:
            return []  # another slot opens other blocks; what a fork says of positions would not hold
        for wallet in PAIRED:
            if self.random.randrange(3):
                continue
            source, destination = self.random.sample(self.ids, 2)
            make = self.random.choice((self._delivering, self._paying, self._paying, self._mutual))
            made = make(wallet, source, destination)
            if self.random.randrange(4) == 0:
                made = msgspec.structs.replace(made, pins=())
            legs = tuple(sorted(made.legs, key=lambda leg: leg.rollup_id))
            bundle = msgspec.structs.replace(made, legs=legs, not_before_slot=Slot(slot), deadline_slot=Slot(slot))
            found.append(BundleCandidate(decoded(bundle), self.time_ms, False, bytes(wallet.address), 8))
        return found

    def _delivering(self, wallet: Wallet, source: RollupId, destination: RollupId) -> Bundle:
        """Sends on one rollup and delivers on another."""
        sending = self._sending(wallet, source, self.nonce(source, wallet), self.random.randrange(1, 10**15))
        position, (relay,) = self._foresee(source, sending)
        destination = RollupId(relay.sent.destination)
        delivering = wallet.sign_1559(
            destination, self.nonce(destination, wallet), to=MESSENGER, data=relay.calldata, gas_limit=400_000,
            access_list=[(CROSS_L2_INBOX, relay.keys)],
        )  # fmt: skip
        legs = (Leg(rollup_id=source, transactions=(sending,)), Leg(rollup_id=destination, transactions=(delivering,)))
        return Bundle(legs=legs, not_before_slot=Slot(0), deadline_slot=Slot(0), pins=(position,))

    def _paying(self, wallet: Wallet, source: RollupId, destination: RollupId) -> Bundle:
        """Sends with a fee, and may demand the delivery in the bundle, by its terms or by the message itself."""
        nonce = self.nonce(source, wallet)
        sending = self._sending(wallet, source, nonce, self.random.randrange(1, 10**15))
        position, (relay,) = self._foresee(source, sending)
        attach = wallet.sign_1559(
            source, nonce + 1, to=RELAY_FEES, data=_calldata("attach(bytes32,uint64)", relay.message_hash, 500_000),
            value=self.random.choice((0, 10**12, 10**15)), gas_limit=200_000,
        )  # fmt: skip
        demand = wallet.sign_1559(
            source, nonce + 2, to=RELAY_FEES, data=_calldata("requireDelivery(bytes32)", relay.message_hash),
            gas_limit=100_000,
        )  # fmt: skip
        raws = (sending, attach, demand) if self.random.randrange(3) == 0 else (sending, attach)
        return Bundle(
            legs=(Leg(rollup_id=source, transactions=raws),),
            not_before_slot=Slot(0),
            deadline_slot=Slot(0),
            delivery_required=self.random.randrange(2) == 0,
            pins=(position,),
        )

    def _mutual(self, wallet: Wallet, source: RollupId, destination: RollupId) -> Bundle:
        """Each leg executes a message of the other; without one that emits first they are a circle."""
        pair = (source, destination)
        first = self.random.choice(((True, True), (True, False), (False, False)))
        sent: list[tuple[Pin, Relay]] = []
        sending: list[bytes] = []
        for side, emits_first in enumerate(first):
            rollup_id = pair[side]
            nonce = self.nonce(rollup_id, wallet) + (0 if emits_first else 1)
            message = self.random.randbytes(self.random.randrange(40))
            data = _calldata("sendMessage(uint256,address,bytes)", pair[1 - side], RECIPIENTS[0], message)
            sending.append(wallet.sign_1559(rollup_id, nonce, to=MESSENGER, data=data, gas_limit=200_000))
            sent.append(self._foresee_message(rollup_id, wallet, data, shift=0 if emits_first else 1))
        legs = []
        for side, emits_first in enumerate(first):
            rollup_id, (_, other) = pair[side], sent[1 - side]
            at = other.message.identifier
            identifier = (at.origin, at.block_number, at.log_index, at.timestamp, at.chain_id)
            selector = keccak256(b"validateMessage((address,uint256,uint256,uint256,uint256),bytes32)")[:4]
            data = selector + encode(
                ["(address,uint256,uint256,uint256,uint256)", "bytes32"], [identifier, other.message.payload_hash]
            )
            executing = wallet.sign_1559(
                rollup_id, self.nonce(rollup_id, wallet) + (1 if emits_first else 0), to=CROSS_L2_INBOX, data=data,
                gas_limit=200_000, access_list=[(CROSS_L2_INBOX, other.keys)],
            )  # fmt: skip
            raws = (sending[side], executing) if emits_first else (executing, sending[side])
            legs.append(Leg(rollup_id=rollup_id, transactions=raws))
        self.counts.add("mutual " + "".join("e" if emits else "v" for emits in first))
        pins = tuple(sorted((pin for pin, _ in sent), key=lambda pin: pin.rollup_id))
        return Bundle(legs=tuple(legs), not_before_slot=Slot(0), deadline_slot=Slot(0), pins=pins)

    def _foresee(self, rollup_id: RollupId, raw: bytes) -> tuple[Pin, list[Relay]]:
        """Where a bundle would begin on a rollup, and the messages that a transaction sends from there."""
        session = self.proposer.rollups[rollup_id].session()
        block = session.open_block
        assert block is not None
        pin = Pin(rollup_id=rollup_id, block_number=BlockNumber(block.number), log_index=block.log_count)
        outcomes = session.run([_one(raw, rollup_id)])
        logs = [Log(Address(a), [Hash32(t) for t in topics], data) for a, topics, data in outcomes.logs(0)]
        return pin, relays_of(
            logs, first_log_index=LogIndex(block.log_count), block_number=BlockNumber(block.number),
            timestamp=Seconds(block.timestamp), chain_id=MessageChainId(rollup_id),
        )  # fmt: skip

    def _foresee_message(self, rollup_id: RollupId, wallet: Wallet, data: bytes, *, shift: int) -> tuple[Pin, Relay]:
        """As `_foresee` for one message of the messenger, `shift` logs later."""
        raw = wallet.sign_1559(rollup_id, self.nonce(rollup_id, wallet), to=MESSENGER, data=data, gas_limit=200_000)
        pin, (relay,) = self._foresee(rollup_id, raw)
        session = self.proposer.rollups[rollup_id].session()
        ((_, topics, content),) = session.run([_one(raw, rollup_id)]).logs(0)
        block = session.open_block
        assert block is not None
        (moved,) = relays_of(
            [Log(MESSENGER, [Hash32(topic) for topic in topics], content)],
            first_log_index=LogIndex(pin.log_index + shift), block_number=BlockNumber(block.number),
            timestamp=Seconds(block.timestamp), chain_id=MessageChainId(rollup_id),
        )  # fmt: skip
        del relay
        return pin, moved

    # ------------------------------------------------------------ what was sent
    def _collect(self) -> None:
        """Messages sent since the last look, from the logs of sealed and open blocks."""
        for rollup_id in self.ids:
            rollup = self.proposer.rollups[rollup_id]
            newest = rollup.open_block.number if rollup.open_block is not None else rollup.head.number
            block, index = self.scanned.get(rollup_id, (1, -1))
            for log in json.loads(rollup.logs_json(block, newest, [MESSENGER], [[SENT_MESSAGE_TOPIC]], 10_000)):
                at = (int(log["blockNumber"], 16), int(log["logIndex"], 16))
                if at <= (block, index):
                    continue
                self.scanned[rollup_id] = at
                timestamp = self._timestamp(rollup, at[0])
                topics = [Hash32(bytes.fromhex(topic[2:])) for topic in log["topics"]]
                found = relays_of(
                    [Log(MESSENGER, topics, bytes.fromhex(log["data"][2:]))],
                    first_log_index=LogIndex(at[1]),
                    block_number=BlockNumber(at[0]),
                    timestamp=timestamp,
                    chain_id=MessageChainId(rollup_id),
                )
                self.undelivered += [relay for relay in found if relay.sent.destination in self.ids]
                self.counts.add("messages sent")
        del self.undelivered[:-30]

    @staticmethod
    def _timestamp(rollup: Rollup, number: int) -> Seconds:
        if rollup.open_block is not None and rollup.open_block.number == number:
            return Seconds(rollup.open_block.timestamp)
        return Seconds(int(json.loads(rollup.header_json(number) or b"")["timestamp"], 16))

    # ------------------------------------------------------------ for judges
    def replay(self) -> None:
        """A new application finalizes the decided proposals, with the senders as a log keeps them, and agrees."""
        application = self._application()
        for effect in self.effects:
            request = FinalizeRequest(
                height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal, senders=effect.senders
            )
            found = application.finalize(request)
            assert found.app_hash == effect.app_hash, f"seed {self.seed}, height {effect.height}"
            application.commit()

    def chains(self) -> list[Chain]:
        """The dependency set: active from genesis on."""
        return [Chain(r.parameters.rollup_id, GENESIS_S, r.parameters.block_time_slots) for r in self.ledger.rollups]

    def blocks(self) -> list[Block]:
        """All sealed blocks after genesis that refer to sealed blocks only, read from raw bytes."""
        found: list[Block] = []
        for rollup_id, rollup in self.judge.rollups.items():
            numbers = range(1, rollup.head.number + 1)
            found += read_chain(
                rollup_id, [(rollup.raw_block(n) or b"", rollup.raw_receipts(n) or []) for n in numbers]
            )
        newest = min(max(b.timestamp for b in found if b.chain_id == rollup_id) for rollup_id in self.ids)
        return [block for block in found if block.timestamp <= newest]


def outcomes_of(application: Application) -> Outcomes:
    """Looks transactions of the open blocks up."""
    known: dict[tuple[int, bytes], Outcome] = {}
    for rollup_id, rollup in application.rollups.items():
        block = rollup.open_block
        if block is None:
            continue
        count = 0
        for text in json.loads(rollup.block_json(PENDING, False) or b"")["transactions"]:
            found = rollup.pending_outcome(bytes.fromhex(text[2:]))
            assert found is not None
            logs = tuple(ReadLog(origin, tuple(topics), data) for origin, topics, data in found[2])
            known[rollup_id, bytes.fromhex(text[2:])] = Outcome(found[0], logs, block.number, count)
            count += len(logs)
    return lambda rollup_id, transaction_hash: known[rollup_id, transaction_hash]


def _one(raw: bytes, rollup_id: RollupId) -> Transaction:
    transaction = decode_transactions([raw], rollup_id)[0]
    assert isinstance(transaction, Transaction), transaction
    return transaction


def _calldata(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return keccak256(signature.encode())[:4] + encode(types, values)
