"""Proofs for the L1 contracts: of a ledger account, of an item, of a sealed block and of a deposit in it.

Specification
    Every proof begins at a checkpoint, an app hash that the registry holds, and walks from the checkpoint's own header
    through parents to the header that is meant (`SubBlockProof`). From there paths of RFC 6962 trees lead to items,
    ledger leaves and rows of accounts; a rollup's sealed block leads to its transactions by their trie.

Results are structs in the order of the contracts' ABI: `msgspec.structs.astuple`, or `as_abi` for nested ones, gives
what web3.py takes. Pure; the other half is contracts/src/l1/CheckpointProofs.sol and ForcedInclusion.sol.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from plait.crypto.merkle import inclusion_proof
from plait.crypto.ordered_trie import ordered_proof
from plait.ledger.economy import TABLES, economy_leaves
from plait.ledger.encoding import ledger_leaves
from plait.ledger.stake_records import ACCOUNTS
from plait.ledger.state import LedgerState
from plait.native import keccak256, merkle_root
from plait.types import Address, Height

_ALIAS_OFFSET: Final = 0x1111000000000000000000000000000000001111
_EXIT: Final = b"plait.stake.exit"


class LedgerShape(msgspec.Struct, frozen=True):
    """Where accounts stand in the ledger's commitment; what the registry is told of it."""

    economy_leaf: int
    accounts_leaf: int
    economy_leaves: int


class SubBlockProof(msgspec.Struct, frozen=True):
    """Headers from a checkpoint's own down to the one that is meant."""

    checkpoint: Height
    headers: tuple[bytes, ...]


class Place(msgspec.Struct, frozen=True):
    """Where a leaf is in its tree, and the way up."""

    index: int
    count: int
    path: tuple[bytes, ...]


class AccountProof(msgspec.Struct, frozen=True):
    """Way from a row of the accounts up to the ledger's root."""

    row: bytes
    bucket: Place
    branch_paths: tuple[tuple[bytes, ...], ...]
    economy_path: tuple[bytes, ...]
    ledger_leaves: int
    ledger_path: tuple[bytes, ...]


class DepositProof(msgspec.Struct, frozen=True):
    """Where a deposit is in a rollup, and how that follows from a checkpoint: ForcedInclusion's `InclusionProof`."""

    sub_block: SubBlockProof
    block_header: bytes
    transaction_index: int
    trie_proof: tuple[bytes, ...]
    log_index: int


def as_abi(value: Any) -> Any:
    """Structs and sequences as plain tuples, for an ABI encoder."""
    if isinstance(value, msgspec.Struct):
        return tuple(as_abi(part) for part in msgspec.structs.astuple(value))
    if isinstance(value, tuple | list):
        return tuple(as_abi(part) for part in value)
    return value


def ledger_shape(state: LedgerState) -> LedgerShape:
    """Where accounts stand in this version of the ledger."""
    economy = economy_leaves(state.economy)
    return LedgerShape(
        economy_leaf=ledger_leaves(state).index(merkle_root(economy)),
        accounts_leaf=len(economy) - len(TABLES) + TABLES.index(ACCOUNTS),
        economy_leaves=len(economy),
    )


def place_of(leaves: Sequence[bytes], index: int) -> Place:
    """The leaf at `index` of a tree. Raises IndexError when there is none."""
    return Place(index, len(leaves), tuple(inclusion_proof(leaves, index)))


def account_proof(state: LedgerState, account: Address) -> AccountProof:
    """Proof of an account's balance and nonce in a ledger.

    Raises:
        KeyError: the ledger has no row of the account.
    """
    accounts = state.economy.accounts
    if accounts.get(account) is None:
        raise KeyError(account)
    branches, rows = accounts.way_to(account)
    index = [key for key, _ in rows].index(account)
    shape = ledger_shape(state)
    leaves = ledger_leaves(state)
    return AccountProof(
        row=rows[index][1],
        bucket=place_of([row for _, row in rows], index),
        branch_paths=tuple(tuple(inclusion_proof(one, place)) for one, place in reversed(branches)),
        economy_path=tuple(inclusion_proof(economy_leaves(state.economy), shape.accounts_leaf)),
        ledger_leaves=len(leaves),
        ledger_path=tuple(inclusion_proof(leaves, shape.economy_leaf)),
    )


def deposit_proof(
    sub_block: SubBlockProof, *, block_header: bytes, transactions: Sequence[bytes], index: int, log_index: int
) -> DepositProof:
    """Proof that the deposit at `index` of a sealed block is the one of a log.

    Args:
        sub_block: down to the sub-block that sealed the block.
        block_header: its RLP.
        transactions: all of the block, raw.
        index: position of the deposit.
        log_index: of its event in its L1 block.
    """
    return DepositProof(sub_block, block_header, index, tuple(ordered_proof(transactions, index)), log_index)


def alias_of(contract: Address) -> Address:
    """Address by which an L1 contract acts on rollups."""
    return Address(((int.from_bytes(contract, "big") + _ALIAS_OFFSET) % 2**160).to_bytes(20, "big"))


def exit_account(l1_chain_id: int, vault: Address, recipient: Address) -> Address:
    """Account of the ledger whose tokens leave to `recipient` through a StakeVault; it has no key."""
    text = encode_exit(l1_chain_id, vault, recipient)
    return Address(keccak256(text)[:20])


def encode_exit(l1_chain_id: int, vault: Address, recipient: Address) -> bytes:
    """ABI encoding of ("plait.stake.exit", chain id, vault, recipient)."""
    head = [
        (128).to_bytes(32, "big"),
        l1_chain_id.to_bytes(32, "big"),
        vault.rjust(32, b"\0"),
        recipient.rjust(32, b"\0"),
    ]
    return b"".join((*head, len(_EXIT).to_bytes(32, "big"), _EXIT.ljust(32, b"\0")))
