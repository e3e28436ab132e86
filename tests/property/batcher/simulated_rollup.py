"""Rollups without execution: blocks with the fields that batches are made of, and a strict reader of what is posted."""

from __future__ import annotations

from typing import NamedTuple

from simulated_l1 import SimulatedL1

from plait.codec.rlp import encode_bytes, encode_list, encode_uint
from plait.derivation.attributes import L1BlockInfo, l1_attributes_deposit
from plait.derivation.batches import decode_singular
from plait.derivation.channel_reading import read_batches
from plait.derivation.channels import ChannelAssembler
from plait.derivation.frames import decode, prune
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import SystemConfig
from plait.errors import CodecError
from plait.native import keccak256
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds, Wei

INBOX = Address(b"\xff" * 20)
ORIGIN = L1BlockInfo(
    number=BlockNumber(0),
    hash=Hash32(keccak256(b"origin")),
    timestamp=Seconds(1_000),
    base_fee=Wei(7),
    blob_base_fee=Wei(1),
    prev_randao=Hash32(bytes(32)),
    parent_beacon_block_root=Hash32(bytes(32)),
)


class Head(NamedTuple):
    number: BlockNumber
    hash: Hash32
    timestamp: Seconds


class SimulatedRollup:
    """Sealed blocks by number; the shape that the batcher reads."""

    def __init__(self, chain_id: int, batcher: Address) -> None:
        self.chain_id = chain_id
        self.system = SystemConfig(
            batcher=batcher,
            gas_limit=Gas(30_000_000),
            base_fee_scalar=1,
            blob_base_fee_scalar=1,
            eip1559_denominator=250,
            eip1559_elasticity=6,
        )
        self._salt = 0
        self._headers: list[bytes] = []
        self._raws: list[bytes] = []
        self.seal(0)
        self.config = OpStackConfig(
            chain_id=chain_id,
            l1_chain_id=900,
            genesis_l1=BlockId(BlockNumber(0), ORIGIN.hash),
            genesis_l2=BlockId(BlockNumber(0), self.head.hash),
            genesis_time_s=Seconds(1_000),
            genesis_system=self.system,
            block_time_s=1,
            batch_inbox=INBOX,
            deposit_contract=INBOX,
            system_config_contract=INBOX,
        )

    @property
    def head(self) -> Head:
        number = len(self._raws) - 1
        return Head(BlockNumber(number), self.hash_at(number), Seconds(1_000 + number))

    def hash_at(self, number: int) -> Hash32:
        return Hash32(keccak256(self._headers[number]))

    def seal(self, transactions: int) -> None:
        number = len(self._raws)
        self._salt += 1
        parent = self.hash_at(number - 1) if number else bytes(32)
        values = [b"", b"", b"", b"", b"", b"", b"", self._salt, number, 30_000_000, 0, 1_000 + number, self.chain_id]
        fields = [encode_bytes(parent)]
        fields += [encode_uint(one) if isinstance(one, int) else encode_bytes(one) for one in values[1:]]
        header = encode_list(fields)
        raws = [l1_attributes_deposit(ORIGIN, number, self.system)]
        raws += [
            b"\x02" + encode_list([encode_bytes(keccak256(b"%d %d" % (self._salt, at)))]) for at in range(transactions)
        ]
        self._headers.append(header)
        self._raws.append(encode_list([header, encode_list(map(encode_bytes, raws)), b"\xc0", b"\xc0"]))

    def unwind(self, number: int) -> None:
        """Blocks above a number are gone."""
        del self._headers[number + 1 :], self._raws[number + 1 :]

    def raw_block(self, at: int) -> bytes | None:
        return self._raws[at] if 0 <= at < len(self._raws) else None

    def raw_header(self, at: int) -> bytes | None:
        return self._headers[at] if 0 <= at < len(self._headers) else None


class Reading(NamedTuple):
    """What strict derivation makes of the inbox."""

    reached: list[int]
    """Per rollup, the last block that derives."""
    posted_again: int
    """Batches of the past."""


def read_inbox(l1: SimulatedL1, rollups: list[SimulatedRollup]) -> Reading:
    """Applies what the canonical chain holds by Holocene's rules: in order or not at all."""
    reached, again = [], 0
    for rollup in rollups:
        at, assembler = 0, ChannelAssembler()
        for block in l1.blocks:
            assembler.expire(block.id.number)
            frames = [frame for one in block.transactions if one.data for frame in prune(decode(one.data))]
            for frame in frames:
                try:
                    channel = assembler.add(frame, block.id.number)
                except CodecError:
                    continue
                for raw in () if channel is None else read_batches(channel):
                    batch = decode_singular(raw)
                    number = batch.timestamp - 1_000
                    known = number <= rollup.head.number and batch.parent_hash == rollup.hash_at(number - 1)
                    if known and number <= at:
                        again += 1
                        continue
                    if not known or number != at + 1:
                        break
                    at = number
        reached.append(at)
    return Reading(reached, again)
