"""An L1 without a network: a chain, a pool with go-ethereum's replacement rule, and every accident on demand."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from plait.codec.rlp import Reader
from plait.derivation.rollup_config import BlockId
from plait.errors import Unavailable
from plait.native import keccak256
from plait.rollups.batcher.l1_access import L1Prices, L1Receipt, Tag
from plait.rollups.batcher.l1_transactions import decode_signed
from plait.types import Address, BlockNumber, Gas, Hash32, Wei

SAFE_DEPTH, FINAL_DEPTH = 4, 8


class Pooled(NamedTuple):
    """A transaction as the pool and the chain hold it."""

    hash: Hash32
    nonce: int
    tip: int
    fee_cap: int
    sender: Address
    data: bytes


def pooled(raw: bytes) -> Pooled:
    sent = decode_signed(raw)
    reader = Reader(raw, start=1).read_list("transaction")
    _, nonce, tip, fee_cap = (reader.read_uint(2**256 - 1) for _ in range(4))
    return Pooled(Hash32(keccak256(raw)), nonce, tip, fee_cap, sent.sender, sent.data)


class Block(NamedTuple):
    """A mined block."""

    id: BlockId
    transactions: tuple[Pooled, ...]
    base_fee: int


class SimulatedL1:
    """`L1Access` for one account, with the accidents as methods."""

    def __init__(self, seed: int, account: Address) -> None:
        self.chance = Random(seed)
        self.account = account
        self.base_fee = 1_000
        self.unavailable = 0.0
        self._salt = 0
        self.blocks: list[Block] = [self._made((), 0)]
        self.pool: dict[int, Pooled] = {}

    def _made(self, transactions: tuple[Pooled, ...], number: int) -> Block:
        self._salt += 1
        hash_ = Hash32(keccak256(b"%d %d" % (number, self._salt)))
        return Block(BlockId(BlockNumber(number), hash_), transactions, self.base_fee)

    # ------------------------------------------------------------ accidents
    def mine(self, count: int = 1, *, room: int = 4) -> None:
        for _ in range(count):
            taken = []
            nonce = self.used()
            while len(taken) < room and nonce in self.pool and self.pool[nonce].fee_cap >= self.base_fee:
                taken.append(self.pool.pop(nonce))
                nonce += 1
            self.blocks.append(self._made(tuple(taken), len(self.blocks)))

    def reorganise(self, depth: int, *, keep_transactions: bool) -> None:
        depth = min(depth, FINAL_DEPTH - 1, len(self.blocks) - 1)
        removed = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        if keep_transactions:
            for block in removed:
                self.pool |= {one.nonce: one for one in block.transactions if one.nonce not in self.pool}
        for _ in range(depth + 1):
            self.blocks.append(self._made((), len(self.blocks)))

    def drop_pool(self) -> None:
        self.pool.clear()

    def take_nonce(self) -> None:
        """Another program uses the account's key."""
        nonce = self.used()
        foreign = Pooled(Hash32(keccak256(b"foreign %d" % self._salt)), nonce, 0, 2**255, self.account, b"")
        self.pool.pop(nonce, None)
        self.blocks.append(self._made((foreign,), len(self.blocks)))

    def used(self) -> int:
        return sum(len(block.transactions) for block in self.blocks)

    # ------------------------------------------------------------ L1Access
    def _answer(self) -> None:
        if self.chance.random() < self.unavailable:
            raise Unavailable("the simulated L1 does not answer", code="l1_unreachable")

    async def block(self, at: Tag | int) -> BlockId | None:
        self._answer()
        head = len(self.blocks) - 1
        number = {"latest": head, "safe": head - SAFE_DEPTH, "finalized": head - FINAL_DEPTH}.get(at, at)  # type: ignore[call-overload]
        if at in ("safe", "finalized"):
            number = max(0, number)
        return self.blocks[number].id if 0 <= number <= head else None

    async def nonce(self, address: Address) -> int:
        self._answer()
        assert address == self.account
        return self.used()

    async def prices(self) -> L1Prices:
        self._answer()
        return L1Prices(base_fee=Wei(self.base_fee), blob_base_fee=Wei(1), tip=Wei(1))

    async def receipt(self, hash_: Hash32) -> L1Receipt | None:
        self._answer()
        for block in self.blocks:
            if any(one.hash == hash_ for one in block.transactions):
                return L1Receipt(hash=hash_, block=block.id, gas_used=Gas(21_000), gas_price=Wei(block.base_fee))
        return None

    async def send(self, raw: bytes) -> str | None:
        self._answer()
        new = pooled(raw)
        old = self.pool.get(new.nonce)
        if new.nonce < self.used():
            return "nonce too low"
        if old is not None and old.hash == new.hash:
            return "already known"
        if old is not None and (new.fee_cap * 10 < old.fee_cap * 11 or new.tip * 10 < old.tip * 11):
            return "replacement transaction underpriced"
        self.pool[new.nonce] = new
        self._answer()  # it arrived, and the answer was lost
        return None
