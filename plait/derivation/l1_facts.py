"""What a network agrees on about one L1 block: the header fields that rollups restate, and what it says to each rollup.

    facts  = [number, hash, parent_hash, timestamp, base_fee, blob_base_fee, prev_randao, parent_beacon_block_root,
              [[rollup_id, [deposit, ...], [update, ...], oversized = 0 | 1], ...],
              [[nonce, account, amount], ...] where the block has deposits of the network's vault, or a generation,
              generation where it is not 0]
    digest = keccak256("plait/l1-facts/1" || RLP(facts))

`deposits` are raw 0x7E transactions in the order of their logs. An update is the type of a ConfigUpdate log as 32 bytes
and its ABI-decoded `data`. Rollups are ascending by id; one of which the block says nothing is left out. A rollup for
which the block says more than its share of bytes is named as oversized, without what it says: it cannot go on, and the
others can. Deposits of the vault (contracts/src/l1/StakeVault.sol) ascend by their nonce. The generation counts how
often the network's set of rollups that derive from the L1 had changed when the facts were made (`plait.ledger.l1`), so
that nobody takes facts for those of another set. Pure.
"""

from typing import Final

import msgspec

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.attributes import L1BlockInfo
from plait.errors import CodecError
from plait.limits import (
    L1_BLOCK_ROLLUPS_MAX,
    L1_FACTS_BYTES_MAX,
    L1_FACTS_ENTRIES_MAX,
    L1_ROLLUP_FACTS_BYTES_MAX,
    L1_VAULT_DEPOSITS_MAX,
)
from plait.native import keccak256
from plait.types import Address, BlockNumber, Hash32, RollupId, Seconds, Wei

_DOMAIN: Final = b"plait/l1-facts/1"
_UINT256_MAX: Final = 2**256 - 1
VAULT_NONCE_MAX: Final = 2**64 - 2
"""Of a deposit: the ledger keeps the one after it as a 64-bit number."""


class RollupL1Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What one L1 block says to one rollup."""

    rollup_id: RollupId
    deposits: tuple[bytes, ...] = ()
    """Raw transactions, in the order of their logs."""
    updates: tuple[bytes, ...] = ()
    """Of the system configuration, in the order of their logs: type as 32 bytes, then its data."""
    oversized: bool = False
    """Whether the block says more than L1_ROLLUP_FACTS_BYTES_MAX bytes; then nothing of it is here."""

    @property
    def size(self) -> int:
        """Bytes of its deposits and updates."""
        return sum(map(len, self.deposits)) + sum(map(len, self.updates))


class VaultDeposit(msgspec.Struct, frozen=True):
    """Tokens that were locked on L1 for an account of the ledger."""

    nonce: int
    """The vault's own count of its deposits, from 0."""
    account: Address
    amount: int
    """Base units."""


class L1BlockFacts(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """One L1 block, as far as rollups are concerned."""

    number: BlockNumber
    hash: Hash32
    parent_hash: Hash32
    timestamp: Seconds
    base_fee: Wei
    blob_base_fee: Wei
    prev_randao: Hash32
    parent_beacon_block_root: Hash32
    rollups: tuple[RollupL1Facts, ...] = ()
    vault: tuple[VaultDeposit, ...] = ()
    """Ascending by nonce, at most L1_VAULT_DEPOSITS_MAX."""
    generation: int = 0
    """Of the set of rollups that were looked for."""

    @property
    def info(self) -> L1BlockInfo:
        """What a rollup's block restates of it."""
        return L1BlockInfo(
            number=self.number,
            hash=self.hash,
            timestamp=self.timestamp,
            base_fee=self.base_fee,
            blob_base_fee=self.blob_base_fee,
            prev_randao=self.prev_randao,
            parent_beacon_block_root=self.parent_beacon_block_root,
        )

    def of(self, rollup_id: RollupId) -> RollupL1Facts:
        """What it says to one rollup."""
        for facts in self.rollups:
            if facts.rollup_id == rollup_id:
                return facts
        return RollupL1Facts(rollup_id=rollup_id)


def encode_l1_facts(facts: L1BlockFacts) -> bytes:
    """Canonical bytes."""
    rollups = (
        encode_list(
            (
                encode_uint(one.rollup_id),
                encode_list(map(encode_bytes, one.deposits)),
                encode_list(map(encode_bytes, one.updates)),
                encode_uint(int(one.oversized)),
            )
        )
        for one in facts.rollups
    )
    return encode_list(
        (
            encode_uint(facts.number),
            encode_bytes(facts.hash),
            encode_bytes(facts.parent_hash),
            encode_uint(facts.timestamp),
            encode_uint(facts.base_fee),
            encode_uint(facts.blob_base_fee),
            encode_bytes(facts.prev_randao),
            encode_bytes(facts.parent_beacon_block_root),
            encode_list(rollups),
            *_encode_more(facts),
        )
    )


def _encode_vault_deposit(deposit: VaultDeposit) -> bytes:
    parts = (encode_uint(deposit.nonce), encode_bytes(deposit.account), encode_uint(deposit.amount))
    return encode_list(parts)


def _encode_more(facts: L1BlockFacts) -> tuple[bytes, ...]:
    if not facts.vault and not facts.generation:
        return ()
    vault = encode_list(map(_encode_vault_deposit, facts.vault))
    return (vault, encode_uint(facts.generation)) if facts.generation else (vault,)


def decode_l1_facts(data: bytes) -> L1BlockFacts:
    """Reads canonical bytes.

    Raises:
        CodecError: not canonical, out of range, or more than L1_FACTS_BYTES_MAX bytes.
    """
    if len(data) > L1_FACTS_BYTES_MAX:
        raise CodecError(f"facts of an L1 block have at most {L1_FACTS_BYTES_MAX} bytes, not {len(data)}")
    outer = Reader(data, what="L1 block facts")
    reader = outer.read_list("L1 block facts")
    outer.end()
    facts = read_l1_facts(reader)
    reader.end()
    return facts


def read_l1_facts(reader: Reader) -> L1BlockFacts:
    """Reads the fields of one block's facts.

    Raises:
        CodecError: as `decode_l1_facts`.
    """
    number = BlockNumber(reader.read_uint())
    block_hash, parent_hash = _read_hash(reader), _read_hash(reader)
    timestamp = Seconds(reader.read_uint())
    base_fee, blob_base_fee = Wei(reader.read_uint(_UINT256_MAX)), Wei(reader.read_uint(_UINT256_MAX))
    prev_randao, beacon_root = _read_hash(reader), _read_hash(reader)
    listed = reader.read_list("rollups")
    rollups: list[RollupL1Facts] = []
    while listed.more:
        one = _read_rollup(listed.read_list("rollup"))
        if rollups and one.rollup_id <= rollups[-1].rollup_id:
            raise CodecError("rollups of L1 block facts are not strictly ascending", rollup_id=one.rollup_id)
        if len(rollups) == L1_BLOCK_ROLLUPS_MAX:
            raise CodecError(f"L1 block facts name more than {L1_BLOCK_ROLLUPS_MAX} rollups")
        rollups.append(one)
    vault: tuple[VaultDeposit, ...] = ()
    generation = 0
    if reader.more:
        vault = _read_vault(reader.read_list("vault's deposits"))
        generation = _read_generation(reader) if reader.more else 0
        if not vault and not generation:
            raise CodecError("L1 block facts name a vault that they say nothing of")
    return L1BlockFacts(
        number=number,
        hash=block_hash,
        parent_hash=parent_hash,
        timestamp=timestamp,
        base_fee=base_fee,
        blob_base_fee=blob_base_fee,
        prev_randao=prev_randao,
        parent_beacon_block_root=beacon_root,
        rollups=tuple(rollups),
        vault=vault,
        generation=generation,
    )


def l1_facts_digest(facts: L1BlockFacts) -> Hash32:
    """What validators report of a block, 32 bytes."""
    return Hash32(keccak256(_DOMAIN + encode_l1_facts(facts)))


def _read_rollup(reader: Reader) -> RollupL1Facts:
    rollup_id = RollupId(reader.read_uint())
    deposits = _read_entries(reader.read_list("deposits"))
    updates = _read_entries(reader.read_list("updates"))
    oversized = bool(reader.read_uint(1))
    reader.end()
    if oversized == bool(deposits or updates):
        raise CodecError("L1 block facts name a rollup of which they say nothing, or too much", rollup_id=rollup_id)
    found = RollupL1Facts(rollup_id=rollup_id, deposits=deposits, updates=updates, oversized=oversized)
    if found.size > L1_ROLLUP_FACTS_BYTES_MAX:
        raise CodecError(f"more than {L1_ROLLUP_FACTS_BYTES_MAX} bytes of one rollup", rollup_id=rollup_id)
    return found


def _read_generation(reader: Reader) -> int:
    generation = reader.read_uint()
    if not generation:
        raise CodecError("L1 block facts name generation 0, which is left out")
    return generation


def _read_vault(reader: Reader) -> tuple[VaultDeposit, ...]:
    deposits: list[VaultDeposit] = []
    while reader.more:
        one = reader.read_list("vault deposit")
        deposit = VaultDeposit(
            one.read_uint(VAULT_NONCE_MAX), Address(one.read_bytes(size=20)), one.read_uint(_UINT256_MAX)
        )
        one.end()
        if deposits and deposit.nonce <= deposits[-1].nonce:
            raise CodecError("deposits of the vault are not strictly ascending", nonce=deposit.nonce)
        if len(deposits) == L1_VAULT_DEPOSITS_MAX:
            raise CodecError(f"L1 block facts have more than {L1_VAULT_DEPOSITS_MAX} deposits of the vault")
        deposits.append(deposit)
    reader.end()
    return tuple(deposits)


def _read_entries(reader: Reader) -> tuple[bytes, ...]:
    entries: list[bytes] = []
    while reader.more:
        if len(entries) == L1_FACTS_ENTRIES_MAX:
            raise CodecError(f"L1 block facts have more than {L1_FACTS_ENTRIES_MAX} deposits or updates of one rollup")
        entries.append(reader.read_bytes(size_max=L1_FACTS_BYTES_MAX))
    reader.end()
    return tuple(entries)


def _read_hash(reader: Reader) -> Hash32:
    return Hash32(reader.read_bytes(size=32))
