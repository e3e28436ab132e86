"""A made-up L1 for tests: blocks by seed, with deposits and configuration updates, that can be reorganised.

chain = MadeL1.begin(seed, start_s, interval_s)
chain.grow(deposits=...)         one more block
chain.reorganise(depth)          the newest blocks are replaced by others of the same numbers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.derivation.l1_facts import L1BlockFacts, RollupL1Facts, VaultDeposit, l1_facts_digest
from plait.native import keccak256
from plait.types import Address, BlockNumber, Gas, Hash32, RollupId, Seconds, Wei
from plait.types.l1 import L1Report, RollupConflict, RollupSafe

FIRST_NUMBER = 100


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A deposit that somebody makes on the L1: `amount` is minted for `to`, who needs no key."""

    rollup_id: RollupId
    to: Address
    amount: int
    gas: int = 100_000


class MadeL1:
    """A chain of L1 blocks from number FIRST_NUMBER on."""

    def __init__(self, seed: int, start_s: Seconds, interval_s: int) -> None:
        self._seed = seed
        self.interval_s = interval_s
        self._branch = 0
        self.blocks: list[L1BlockFacts] = []
        self._append(Hash32(bytes(32)), start_s, (), {})

    @property
    def head(self) -> L1BlockFacts:
        """The newest block."""
        return self.blocks[-1]

    def block(self, number: int) -> L1BlockFacts:
        """A block by number."""
        return self.blocks[number - FIRST_NUMBER]

    def grow(
        self,
        wishes: Sequence[Wish] = (),
        updates: Mapping[RollupId, Sequence[bytes]] | None = None,
        vault: Sequence[tuple[Address, int]] = (),
    ) -> L1BlockFacts:
        """One more block with these deposits, configuration updates, and (account, amount) of the network's vault."""
        head = self.head
        self._append(head.hash, Seconds(head.timestamp + self.interval_s), wishes, updates or {}, vault)
        return self.head

    def reorganise(self, depth: int, grow: int = 0) -> None:
        """Replaces the newest `depth` blocks by as many others, and `grow` more; their deposits are gone."""
        del self.blocks[-depth:]
        self._branch += 1
        for _ in range(depth + grow):
            self.grow()

    def report(
        self,
        public_key: bytes,
        sequence: int,
        first: int,
        *,
        safe: Sequence[RollupSafe] = (),
        conflicts: Sequence[RollupConflict] = (),
        seen: Callable[[L1BlockFacts], L1BlockFacts] = lambda facts: facts,
    ) -> L1Report:
        """What an honest reporter says that is asked for the blocks from `first` on, and makes these facts of them."""
        return L1Report(
            public_key=public_key,
            sequence=sequence,
            head=self.head.number,
            first=BlockNumber(first),
            digests=tuple(l1_facts_digest(seen(facts)) for facts in self.blocks if facts.number >= first)[:64],
            safe=tuple(safe),
            conflicts=tuple(conflicts),
        )

    def _append(
        self,
        parent: Hash32,
        timestamp: Seconds,
        wishes: Sequence[Wish],
        updates: Mapping[RollupId, Sequence[bytes]],
        vault: Sequence[tuple[Address, int]] = (),
    ) -> None:
        nonce = sum(len(block.vault) for block in self.blocks)
        number = FIRST_NUMBER + len(self.blocks)
        identity = b"".join(value.to_bytes(8, "big") for value in (self._seed, self._branch, number))
        block_hash = Hash32(keccak256(b"made l1" + parent + identity))
        deposits: dict[RollupId, list[bytes]] = {}
        for index, wish in enumerate(wishes):
            deposit = Deposit(
                source_hash=user_deposit_source_hash(block_hash, index),
                sender=wish.to,
                to=wish.to,
                mint=Wei(wish.amount),
                value=Wei(0),
                gas_limit=Gas(wish.gas),
            )
            deposits.setdefault(wish.rollup_id, []).append(deposit.encode())
        rollups = tuple(
            RollupL1Facts(
                rollup_id=rollup_id,
                deposits=tuple(deposits.get(rollup_id, ())),
                updates=tuple(updates.get(rollup_id, ())),
            )
            for rollup_id in sorted({*deposits, *updates})
        )
        self.blocks.append(
            L1BlockFacts(
                number=BlockNumber(number),
                hash=block_hash,
                parent_hash=parent,
                timestamp=timestamp,
                base_fee=Wei(1_000_000_000 + number),
                blob_base_fee=Wei(1),
                prev_randao=Hash32(keccak256(block_hash)),
                parent_beacon_block_root=Hash32(keccak256(block_hash + b"beacon")),
                rollups=rollups,
                vault=tuple(
                    VaultDeposit(nonce + place, account, amount) for place, (account, amount) in enumerate(vault)
                ),
            )
        )
