"""Worlds for derivation, and their judge: an L1 with deposits, updates, honest batches and everything that goes wrong.

Nothing is executed here: a block's hash is that of its parent, time and transactions, which both sides of a comparison
compute alike, and transactions of a given set cannot be applied. So a world is quick. All of it follows from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from eth_account import Account

from plait.codec.rlp import encode_bytes
from plait.derivation.attributes import l1_attributes_deposit
from plait.derivation.batches import SingularBatch, encode_singular
from plait.derivation.channels import Compression, compress, cut
from plait.derivation.deposits import L1Log, deposits_of_logs
from plait.derivation.frames import Frame, encode
from plait.derivation.l1_facts import L1BlockFacts, RollupL1Facts
from plait.derivation.pipeline import DerivedBlock, Pipeline
from plait.derivation.rollup_config import BlockId, OpStackConfig, rollup_json_of
from plait.derivation.span_batches import encode_span
from plait.derivation.system_config import CONFIG_UPDATE, SystemConfig, update_of_log
from plait.errors import CodecError
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, BlockNumber, Gas, Hash32, RollupId, Seconds, Wei

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
PORTAL, SYSTEM_CONTRACT, INBOX = (Address(bytes(19) + bytes((last,))) for last in (0xD0, 0xC0, 0xB0))
BATCHERS = DEVELOPMENT_ACCOUNTS[:2]
"""The batcher, and a stranger who may become it."""
DEPOSITED = keccak256(b"TransactionDeposited(address,address,uint256,bytes)")


def signed_transactions() -> tuple[list[bytes], list[bytes]]:
    """Transactions of every type that batches may hold, and some that cannot be applied."""
    wallet = Account.from_key(DEVELOPMENT_ACCOUNTS[2].private_key)
    made: list[bytes] = []
    for nonce in range(24):
        call: dict[str, Any] = {"nonce": nonce, "gas": 21_000 + nonce, "value": nonce * 10**17, "data": bytes(nonce)}
        if nonce % 3:
            call["to"] = keccak256(b"to %d" % nonce)[:20]
        priced = {**call, "gasPrice": 10**9 + nonce}
        capped = {**call, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": nonce}
        listed = [{"address": bytes(19) + b"\1", "storageKeys": [bytes(32)] * (nonce % 2)}] * (nonce % 3)
        kind = nonce % 6
        if kind == 0:
            fields = {**priced, "chainId": CHAIN_ID}
        elif kind == 1:
            fields = priced  # signed for any chain
        elif kind == 2:
            fields = {**priced, "chainId": CHAIN_ID, "accessList": listed, "type": 1}
        elif kind == 5 and "to" in call:
            authorization = wallet.sign_authorization({"chainId": CHAIN_ID, "address": bytes(20), "nonce": nonce})
            fields = {**capped, "chainId": CHAIN_ID, "type": 4, "authorizationList": [authorization]}
        else:
            fields = {**capped, "chainId": CHAIN_ID, "accessList": listed, "type": 2}
        made.append(bytes(wallet.sign_transaction(fields).raw_transaction))
    return made[:20], made[20:]


@dataclass
class World:
    """A world as it grows, one L1 block after the other."""

    source: Random
    transactions: Sequence[bytes]
    bad: Sequence[bytes]
    config: OpStackConfig = field(init=False)
    l1: list[L1BlockFacts] = field(default_factory=list)
    logs: list[list[L1Log]] = field(default_factory=list)
    posted: list[tuple[list[bytes], list[bytes]]] = field(default_factory=list)
    """Per L1 block, what the batcher and what the stranger sent to the inbox."""
    blocks: list[tuple[DerivedBlock, Hash32, bool]] = field(default_factory=list)
    """What our pipeline derives: block, hash, deposits only."""

    def __post_init__(self) -> None:
        source = self.source
        self._l1_block_time_s = source.choice((1, 2, 6, 12))
        self._waiting: dict[int, list[Frame]] = {}
        self._mine(logs=[])
        first = self.l1[0]
        self.config = OpStackConfig(
            chain_id=CHAIN_ID,
            l1_chain_id=900,
            genesis_l1=BlockId(first.number, first.hash),
            genesis_l2=BlockId(BlockNumber(0), Hash32(keccak256(b"genesis"))),
            genesis_time_s=first.timestamp,
            genesis_system=SystemConfig(
                batcher=BATCHERS[0].address, gas_limit=Gas(30_000_000), base_fee_scalar=7, blob_base_fee_scalar=9,
                eip1559_denominator=250, eip1559_elasticity=6,
            ),
            block_time_s=source.choice((1, 2, 2)),
            seq_window_blocks=source.choice((4, 10, 30, 100)),
            batch_inbox=INBOX,
            deposit_contract=PORTAL,
            system_config_contract=SYSTEM_CONTRACT,
            fork=source.choice(("isthmus", "jovian", "jovian")),
        )  # fmt: skip
        self._pipeline = Pipeline.from_genesis(self.config, RollupId(CHAIN_ID), first)
        self._tip = self._genesis_tip()

    def _genesis_tip(self) -> tuple[Hash32, int, int, int]:
        config = self.config
        return config.genesis_l2.hash, config.genesis_time_s, config.genesis_l1.number, 0

    # ------------------------------------------------------------ L1
    def _mine(self, logs: list[L1Log]) -> None:
        number = len(self.l1)
        parent = self.l1[-1] if self.l1 else None
        block_hash = Hash32(keccak256(b"l1 %d %d" % (number, self.source.getrandbits(64))))
        late_s = self.source.choice((0,) * 60 + (30, 30, 2_000))
        timestamp = GENESIS_TIME_S if parent is None else parent.timestamp + self._l1_block_time_s + late_s
        rollups: tuple[RollupL1Facts, ...] = ()
        deposits, _ = deposits_of_logs(logs, block_hash, PORTAL)
        updates = tuple(
            update for log in logs if log.address == SYSTEM_CONTRACT
            if (update := update_of_log(log.topics, log.data)) is not None
        )  # fmt: skip
        if deposits or updates:
            rollups = (RollupL1Facts(rollup_id=RollupId(CHAIN_ID), deposits=tuple(deposits), updates=updates),)
        self.logs.append(logs)
        self.posted.append(([], []))
        self.l1.append(
            L1BlockFacts(
                number=BlockNumber(number),
                hash=block_hash,
                parent_hash=parent.hash if parent is not None else Hash32(bytes(32)),
                timestamp=Seconds(timestamp),
                base_fee=Wei(self.source.randrange(1, 10**11)),
                blob_base_fee=Wei(1),
                prev_randao=Hash32(keccak256(b"randao" + block_hash)),
                parent_beacon_block_root=Hash32(keccak256(b"beacon" + block_hash)),
                rollups=rollups,
            )
        )

    def _random_logs(self) -> list[L1Log]:
        logs: list[L1Log] = []
        for index in range(self.source.choice((0, 0, 0, 1, 2))):
            if self.source.random() < 0.6:
                opaque = (
                    (10**15).to_bytes(32, "big") + (10**14).to_bytes(32, "big") + (50_000).to_bytes(8, "big") + b"\0"
                )
                data = (32).to_bytes(32, "big") + len(opaque).to_bytes(32, "big") + opaque.ljust(96, b"\0")
                topics = (DEPOSITED, bytes(12) + self.source.randbytes(20), bytes(32), bytes(32))
                logs.append(L1Log(address=PORTAL, topics=topics, data=data, index=index))
            else:
                kind, value = self.source.choice(
                    ((2, 25_000_000), (2, 36_000_000), (6, 1_000), (0, None), (4, (50 << 32) + 2), (9, 1))
                )
                if kind == 0:
                    content = self.source.choice((BATCHERS[0], BATCHERS[0], BATCHERS[1])).address.rjust(32, b"\0")
                else:
                    content = int(value or 0).to_bytes(32, "big")
                data = (32).to_bytes(32, "big") + (32).to_bytes(32, "big") + content
                topics = (CONFIG_UPDATE, bytes(32), kind.to_bytes(32, "big"))
                logs.append(L1Log(address=SYSTEM_CONTRACT, topics=topics, data=data, index=index))
        return logs

    # ------------------------------------------------------------ batches
    def step(self) -> None:
        """Mines an L1 block, posts something or nothing, derives."""
        source = self.source
        self._mine(self._random_logs())
        number = len(self.l1) - 1
        if source.random() < 0.7:
            self._post(number)
        whose = 0 if source.random() < 0.95 else 1
        frames = self._waiting.pop(number, [])
        while frames:
            count = source.randrange(1, len(frames) + 1)
            self.posted[number][whose].append(encode(frames[:count]))
            frames = frames[count:]
        if source.random() < 0.05:
            self.posted[number][0].append(source.randbytes(source.randrange(60)))
        self._derive(number)

    def _post(self, number: int) -> None:
        source = self.source
        if source.random() < 0.3 or self._tip[1] < self._pipeline.head.timestamp:
            head = self._pipeline.head
            assert head.hash is not None
            self._tip = head.hash, head.timestamp, head.origin_number, head.sequence_number
        stream = b""
        for _ in range(source.choice((1, 1, 2))):
            behind = (self.l1[number].timestamp - self._tip[1]) // self.config.block_time_s
            batches, begins = self._build(number, min(200, max(1, behind + source.randrange(4))))
            if source.random() < 0.5:
                stream += b"".join(encode_bytes(encode_singular(one)) for one in batches)
                continue
            try:
                span = encode_span(
                    batches, genesis_time_s=self.config.genesis_time_s, chain_id=CHAIN_ID, begins_epoch=begins
                )
            except CodecError:
                continue
            if source.random() < 0.05:
                at = source.randrange(len(span))
                span = span[:at] + bytes((span[at] ^ 1 << source.randrange(8),)) + span[at + 1 :]
            stream += encode_bytes(span)
        if source.random() < 0.04:
            stream += source.choice((b"\x80", b"\xc0", b"\x81\x05", b"\x83\x02abc"[:4], b"\xb8"))
        compression: Compression = source.choice(("zlib", "brotli"))
        channel = compress(stream, compression)
        if compression == "zlib" and source.random() < 0.08:
            at = source.randrange(len(channel))
            channel = channel[:at] + bytes((channel[at] ^ 1 << source.randrange(8),)) + channel[at + 1 :]
        frames = cut(source.randbytes(16), channel, source.choice((100, 700, 10_000)))
        last = number + source.choice((0, 0, 0, 1, 3, 3, 60))
        places = sorted(source.choices(range(number, last + 1), k=len(frames)))
        for place, frame in zip(places, frames, strict=True):
            chance = source.random()
            if chance < 0.01:
                continue
            self._waiting.setdefault(place, []).extend([frame] * (2 if chance > 0.99 else 1))
        if source.random() < 0.05:
            source.shuffle(self._waiting.get(number, []))

    def _build(self, number: int, count: int) -> tuple[list[SingularBatch], bool]:
        """Blocks on the tip as an honest sequencer makes them, but for what goes wrong."""
        source, config = self.source, self.config
        parent_hash, timestamp, origin, sequence_number = self._tip
        overlap = source.random() < 0.05 and len(self.blocks) > 4
        if overlap:
            block, block_hash, _ = self.blocks[-source.randrange(2, 5)]
            parent_hash, timestamp = block_hash, block.timestamp
            origin, sequence_number = block.origin.number, block.sequence_number
        batches: list[SingularBatch] = []
        begins = False
        for _ in range(count):
            timestamp += config.block_time_s
            following = origin + 1
            if following < number and self.l1[following].timestamp <= timestamp and source.random() < 0.9:
                origin, sequence_number = following, 0
            else:
                sequence_number += 1
            if not batches:
                begins = sequence_number == 0
            late = timestamp > self.l1[origin].timestamp + 1_800 and source.random() < 0.9
            raws = [] if late else source.choices(self.transactions, k=source.choice((0, 1, 2)))
            chance = source.random() * max(1, count // 8)
            if chance < 0.01:
                raws = [*raws, source.choice(self.bad)]
            elif chance < 0.015:
                raws = [*raws, b"\x7e\xc0"]
            elif chance < 0.02:
                timestamp += source.choice((-1, 1, config.block_time_s))
            elif chance < 0.025:
                origin = min(origin + 1, number)
            facts = self.l1[origin]
            epoch_hash = facts.hash if source.random() > 0.01 / count else Hash32(source.randbytes(32))
            batches.append(
                SingularBatch(
                    parent_hash=parent_hash,
                    epoch_number=BlockNumber(origin),
                    epoch_hash=epoch_hash,
                    timestamp=Seconds(timestamp),
                    transactions=tuple(raws),
                )
            )
            parent_hash = self._expected_hash(parent_hash, facts, sequence_number, batches[-1])
        self._tip = parent_hash, timestamp, origin, sequence_number
        return batches, begins

    def _expected_hash(self, parent: Hash32, facts: L1BlockFacts, sequence_number: int, batch: SingularBatch) -> Hash32:
        """Right while no update changes the L1 attributes: else the next batch has another parent than the chain."""
        deposits = facts.of(RollupId(CHAIN_ID)).deposits if sequence_number == 0 else ()
        system = self._pipeline._system
        first = l1_attributes_deposit(facts.info, sequence_number, system, self.config.fork)
        return block_hash(parent, batch.timestamp, (first, *deposits, *batch.transactions))

    # ------------------------------------------------------------ our derivation
    def _derive(self, number: int) -> None:
        pipeline = self._pipeline
        pipeline.advance(self.l1[number])
        for who, posted in zip(BATCHERS, self.posted[number], strict=True):
            if who.address == pipeline.batcher:
                for data in posted:
                    pipeline.add(data)
        while run := pipeline.next_run(self.source.choice((1, 3, 512))):
            parent = pipeline.head.hash
            assert parent is not None
            made: list[tuple[DerivedBlock, Hash32, bool]] = []
            for block in run:
                if block.parent_hash not in (None, parent):
                    break
                spoiled = any(one in self.bad for one in block.transactions)
                first = l1_attributes_deposit(block.origin.info, block.sequence_number, block.system, self.config.fork)
                rest = () if spoiled else block.transactions
                parent = block_hash(parent, block.timestamp, (first, *block.deposits, *rest))
                made.append((block, parent, spoiled))
                if spoiled:
                    break
            assert pipeline.settle([one for _, one, _ in made], replaced=bool(made) and made[-1][2]) == len(made)
            self.blocks += made

    def question(self) -> dict[str, Any]:
        """What op-node's pipeline is asked."""
        return {
            "rollup": rollup_json_of(self.config),
            "keys": [who.private_key for who in BATCHERS],
            "bad": list(self.bad),
            "max": 10**6,
            "blocks": [
                {
                    "number": facts.number, "hash": facts.hash, "parent_hash": facts.parent_hash,
                    "timestamp": facts.timestamp, "base_fee": facts.base_fee, "prev_randao": facts.prev_randao,
                    "beacon_root": facts.parent_beacon_block_root, "data": data, "stranger": stranger,
                    "logs": [{"address": log.address, "topics": list(log.topics), "data": log.data} for log in logs],
                }
                for facts, logs, (data, stranger) in zip(self.l1, self.logs, self.posted, strict=True)
            ],
        }  # fmt: skip


def block_hash(parent: Hash32, timestamp: int, transactions: Sequence[bytes]) -> Hash32:
    """What stands for a block's hash here; the oracle computes the same."""
    content = parent + timestamp.to_bytes(8, "big") + b"".join(map(keccak256, transactions))
    return Hash32(keccak256(content))
