"""A rollup on an invented L1: a sequencer that seals blocks in the native core, and a poster that puts them on L1."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from random import Random
from typing import Any

from eth_account import Account

from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.derivation.batches import SingularBatch
from plait.derivation.channels import BatchKind, ChannelBuilder, Compression
from plait.derivation.frames import Frame, encode
from plait.derivation.l1_facts import L1BlockFacts, RollupL1Facts
from plait.derivation.origins import Origin, deposits_only, next_origin
from plait.derivation.pipeline import DerivedBlock
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig, apply_update
from plait.native import Rollup, Store, Transaction, decode_transactions, keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.embedded.genesis import GenesisSpecification, genesis_json
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, RollupId, Seconds, Wei

CHAIN_ID = 901
GENESIS_TIME_S = 1_700_000_000
NOBODY = Address(bytes(19) + b"\xaa")
SYSTEM = SystemConfig(
    batcher=Address(bytes(19) + b"\xbb"),
    gas_limit=Gas(30_000_000),
    base_fee_scalar=1_368,
    blob_base_fee_scalar=810_949,
    eip1559_denominator=250,
    eip1559_elasticity=6,
)
_WALLETS = [Account.from_key(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


@dataclass
class InventedL1:
    """Blocks of an L1 with deposits and updates, as facts."""

    source: Random
    block_time_s: int = 12
    blocks: list[L1BlockFacts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mine(quiet=True)

    def mine(self, *, quiet: bool = False, late_s: int = 0) -> L1BlockFacts:
        """Adds a block; with a deposit or an update now and then unless `quiet`."""
        number = len(self.blocks)
        parent = self.blocks[-1] if self.blocks else None
        block_hash = Hash32(keccak256(b"l1 %d %d" % (number, self.source.getrandbits(64))))
        timestamp = GENESIS_TIME_S if parent is None else parent.timestamp + self.block_time_s + late_s
        rollups: tuple[RollupL1Facts, ...] = ()
        if not quiet and self.source.random() < 0.3:
            rollups = (self._said(block_hash),)
        self.blocks.append(
            L1BlockFacts(
                number=BlockNumber(number),
                hash=block_hash,
                parent_hash=parent.hash if parent is not None else Hash32(bytes(32)),
                timestamp=Seconds(timestamp),
                base_fee=Wei(self.source.randrange(1, 10**11)),
                blob_base_fee=Wei(self.source.randrange(1, 10**9)),
                prev_randao=Hash32(keccak256(b"randao" + block_hash)),
                parent_beacon_block_root=Hash32(keccak256(b"beacon" + block_hash)),
                rollups=rollups,
            )
        )
        return self.blocks[-1]

    def _said(self, block_hash: Hash32) -> RollupL1Facts:
        deposits = tuple(
            Deposit(
                source_hash=user_deposit_source_hash(block_hash, index),
                sender=Address(keccak256(b"depositor %d" % index)[:20]),
                to=Address(self.source.randbytes(20)),
                mint=Wei(10**15),
                value=Wei(10**14),
                gas_limit=Gas(50_000),
            ).encode()
            for index in range(self.source.randrange(3))
        )
        gas_limit = self.source.choice((25_000_000, 30_000_000, 36_000_000))
        updates = ((2).to_bytes(32, "big") + gas_limit.to_bytes(32, "big"),) if self.source.random() < 0.4 else ()
        return RollupL1Facts(rollup_id=RollupId(CHAIN_ID), deposits=deposits, updates=updates or _nothing(deposits))


def _nothing(deposits: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return () if deposits else ((3).to_bytes(32, "big") + bytes(32),)  # facts name no rollup without content


class Sequencer:
    """Seals a rollup's blocks by the origin rule, and remembers what a batcher needs of them."""

    def __init__(self, l1: InventedL1, *, block_time_s: int = 2, seq_window_blocks: int = 3_600) -> None:
        self.l1 = l1
        specification = GenesisSpecification(chain_id=ChainId(CHAIN_ID), timestamp=Seconds(GENESIS_TIME_S))
        self.genesis = genesis_json(specification)
        self.rollup = Rollup.from_genesis(self.genesis, Store.in_memory())
        first = l1.blocks[0]
        self.config = OpStackConfig(
            chain_id=CHAIN_ID,
            l1_chain_id=900,
            genesis_l1=BlockId(first.number, first.hash),
            genesis_l2=BlockId(BlockNumber(0), Hash32(self.rollup.genesis_hash)),
            genesis_time_s=first.timestamp,
            genesis_system=SYSTEM,
            block_time_s=block_time_s,
            seq_window_blocks=seq_window_blocks,
            batch_inbox=NOBODY,
            deposit_contract=NOBODY,
            system_config_contract=NOBODY,
        )
        self.origin = Origin(first, 0)
        self.system = SYSTEM
        self.batches: list[tuple[SingularBatch, int]] = []
        self._nonces = [0] * len(_WALLETS)
        self._sent = 0

    def transfers(self, count: int) -> list[bytes]:
        """Signed transfers of the development accounts in turn."""
        raws = []
        for _ in range(count):
            at = self._sent % len(_WALLETS)
            fields: dict[str, Any] = {
                "type": 2, "chainId": CHAIN_ID, "nonce": self._nonces[at], "value": 1 + self._sent, "gas": 21_000,
                "to": keccak256(b"to %d" % self._sent)[:20], "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 1,
            }  # fmt: skip
            raws.append(bytes(_WALLETS[at].sign_transaction(fields).raw_transaction))
            self._nonces[at] += 1
            self._sent += 1
        return raws

    def seal(self, transactions: int, *, spoiled: bool = False) -> None:
        """Seals the next block. `spoiled`: its batch has one more transaction, which nobody can apply."""
        head = self.rollup.head
        timestamp = Seconds(head.timestamp + self.config.block_time_s)
        number = self.origin.block.number + 1
        following = self.l1.blocks[number] if number < len(self.l1.blocks) else None
        self.origin = next_origin(self.origin, following, timestamp)
        facts = self.origin.block.of(RollupId(CHAIN_ID))
        deposits: tuple[bytes, ...] = ()
        if self.origin.sequence_number == 0:
            deposits = facts.deposits
            for update in facts.updates:
                self.system = apply_update(self.system, update)
        if deposits_only(self.origin.block, timestamp):
            transactions = 0
        raws = [] if spoiled else self.transfers(transactions)
        derived = DerivedBlock(
            number=BlockNumber(head.number + 1), timestamp=timestamp, origin=self.origin.block,
            sequence_number=self.origin.sequence_number, system=self.system, deposits=deposits,
            transactions=tuple(raws), parent_hash=None, inclusion_number=BlockNumber(0), cause="batch",
        )  # fmt: skip
        session = self.rollup.session()
        session.open(derived.attributes(self.config))
        decoded = [one for one in decode_transactions(raws, CHAIN_ID) if isinstance(one, Transaction)]
        assert session.run(decoded).included == len(raws)
        session.seal()
        self.rollup.commit(session)
        if spoiled:
            raws = [self._too_late()]
        batch = SingularBatch(
            parent_hash=Hash32(head.hash),
            epoch_number=self.origin.block.number,
            epoch_hash=self.origin.block.hash,
            timestamp=timestamp,
            transactions=tuple(raws),
        )
        self.batches.append((batch, self.origin.sequence_number))

    def _too_late(self) -> bytes:
        fields = {
            "type": 2, "chainId": CHAIN_ID, "nonce": 10**6, "value": 1, "gas": 21_000, "to": bytes(20),
            "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 1,
        }  # fmt: skip
        return bytes(_WALLETS[0].sign_transaction(fields).raw_transaction)


def channel_frames(
    sequencer: Sequencer,
    batches: list[tuple[SingularBatch, int]],
    source: Random,
    *,
    kind: BatchKind | None = None,
    compression: Compression | None = None,
    frame_bytes_max: int | None = None,
) -> list[Frame]:
    """Frames of one channel of these blocks; what is not said is drawn."""
    builder = ChannelBuilder(
        channel_id=source.randbytes(16),
        chain_id=CHAIN_ID,
        genesis_time_s=sequencer.config.genesis_time_s,
        target_bytes=sys.maxsize,
        kind=kind or source.choice(("singular", "span")),
        compression=compression or source.choice(("zlib", "brotli")),
    )
    for batch, sequence_number in batches:
        assert builder.add(batch, sequence_number)
    return builder.frames(frame_bytes_max or source.choice((60, 300, 5_000, 120_000)))


def in_l1_blocks(
    frames: list[Frame], first: int, last: int, source: Random, posted: dict[int, list[bytes]]
) -> dict[int, list[bytes]]:
    """Puts frames in their order into transactions of L1 blocks from `first` to `last`."""
    for number, frame in zip(sorted(source.choices(range(first, last + 1), k=len(frames))), frames, strict=True):
        posted.setdefault(number, []).append(encode([frame]))
    return posted
