"""What one proven L1 block says to the rollups of a network. Pure.

Every validator makes the same facts of the same block and bindings, for their digest is what is agreed on: rollups
ascending by id, only those to which the block says something, and to none at or before the L1 block that its genesis
names (what happened until then is in its genesis).

Deposits of the network's vault are its `Deposited` logs, ascending by their nonce. The contract takes at most
L1_VAULT_DEPOSITS_MAX in a block and counts them; a contract that says more, or counts otherwise, is not the vault, and
nothing is taken of what it says in that block.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from plait.derivation.deposits import L1Log, MalformedLog, deposits_of_logs
from plait.derivation.l1_facts import VAULT_NONCE_MAX, L1BlockFacts, RollupL1Facts, VaultDeposit
from plait.derivation.rollup_config import OpStackConfig
from plait.derivation.system_config import update_of_log
from plait.l1.fees import BlobSchedule, blob_base_fee
from plait.l1.headers import L1Header
from plait.limits import (
    L1_FACTS_BYTES_MAX,
    L1_FACTS_ENTRIES_MAX,
    L1_ROLLUP_FACTS_BYTES_MAX,
    L1_VAULT_DEPOSITS_MAX,
)
from plait.native import keccak256
from plait.types import Address, RollupId, Wei

_DEPOSITED: Final = keccak256(b"Deposited(uint256,address,address,uint256)")


def updates_of_logs(logs: Iterable[L1Log], system_config_contract: Address) -> tuple[bytes, ...]:
    """Updates of a rollup's system configuration, in the order of their logs; what derivation ignores is left out."""
    found = (update_of_log(log.topics, log.data) for log in logs if log.address == system_config_contract)
    return tuple(update for update in found if update is not None)


def vault_deposits_of_logs(logs: Iterable[L1Log], vault: Address) -> tuple[VaultDeposit, ...]:
    """Deposits that the vault announces; none when these logs are not what a vault says."""
    found: list[VaultDeposit] = []
    for log in logs:
        if log.address != vault or not log.topics or log.topics[0] != _DEPOSITED:
            continue
        if len(log.topics) != 4 or len(log.data) != 32 or any(log.topics[3][:12]):
            return ()
        nonce = int.from_bytes(log.topics[1], "big")
        if nonce > VAULT_NONCE_MAX or (found and nonce != found[-1].nonce + 1) or len(found) == L1_VAULT_DEPOSITS_MAX:
            return ()
        found.append(VaultDeposit(nonce, Address(bytes(log.topics[3][12:])), int.from_bytes(log.data, "big")))
    return tuple(found)


def block_facts(
    header: L1Header,
    logs: Iterable[L1Log],
    bindings: Iterable[OpStackConfig],
    schedule: BlobSchedule,
    vault: bytes = b"",
) -> tuple[L1BlockFacts, tuple[MalformedLog, ...]]:
    """Facts of a block, and the logs of deposit contracts that are no deposits.

    Args:
        header: proven by its hash.
        logs: of its successful transactions, proven by its receipts root.
        bindings: of the network's rollups, in any order.
        schedule: of the L1's blob parameters.
        vault: the network's StakeVault; empty where it has none.
    """
    kept = tuple(logs)
    rollups: list[RollupL1Facts] = []
    malformed: list[MalformedLog] = []
    for config in sorted(bindings, key=lambda one: one.chain_id):
        if header.number <= config.genesis_l1.number:
            continue
        deposits, broken = deposits_of_logs(kept, header.hash, config.deposit_contract)
        updates = updates_of_logs(kept, config.system_config_contract)
        malformed += broken
        if deposits or updates:
            said = RollupL1Facts(rollup_id=RollupId(config.chain_id), deposits=deposits, updates=updates)
            rollups.append(_bounded(said))
    said_by_vault = vault_deposits_of_logs(kept, Address(vault)) if vault else ()
    facts = L1BlockFacts(
        number=header.number,
        hash=header.hash,
        parent_hash=header.parent_hash,
        timestamp=header.timestamp,
        base_fee=header.base_fee if header.base_fee is not None else Wei(0),
        blob_base_fee=blob_base_fee(header.excess_blob_gas, header.timestamp, schedule),
        prev_randao=header.mix_hash,
        parent_beacon_block_root=header.beacon_root,
        rollups=_together(rollups, _ROOM_BYTES - _VAULT_DEPOSIT_BYTES * len(said_by_vault)),
        vault=said_by_vault,
    )
    return facts, tuple(malformed)


def _bounded(found: RollupL1Facts) -> RollupL1Facts:
    """What a block says to a rollup, or that it is too much."""
    entries = max(len(found.deposits), len(found.updates))
    if entries > L1_FACTS_ENTRIES_MAX or found.size > L1_ROLLUP_FACTS_BYTES_MAX:
        return RollupL1Facts(rollup_id=found.rollup_id, oversized=True)
    return found


def _together(rollups: Sequence[RollupL1Facts], room_bytes: int) -> tuple[RollupL1Facts, ...]:
    """All of them, the largest (of equal ones the greatest id) named as oversized while they do not fit together."""
    kept = {one.rollup_id: one for one in rollups}
    while sum(map(_encoded_bytes, kept.values())) > room_bytes:
        largest = max(kept.values(), key=lambda one: (one.size, one.rollup_id))
        kept[largest.rollup_id] = RollupL1Facts(rollup_id=largest.rollup_id, oversized=True)
    return tuple(kept[rollup_id] for rollup_id in sorted(kept))


def _encoded_bytes(one: RollupL1Facts) -> int:
    """At least what it takes in the encoded facts."""
    return one.size + _ENTRY_BYTES * (len(one.deposits) + len(one.updates) + 1)


_ENTRY_BYTES: Final = 32
"""More than what encoding adds to a deposit, an update, or a rollup."""
_VAULT_DEPOSIT_BYTES: Final = 80
"""More than a deposit of the vault takes: 9 + 21 + 33 and its list."""
_ROOM_BYTES: Final = L1_FACTS_BYTES_MAX - 1_024
"""Room beside the header's fields."""
