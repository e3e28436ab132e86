"""What one proven L1 block says to the rollups of a network. Pure.

Every validator makes the same facts of the same block and bindings, for their digest is what is agreed on: rollups
ascending by id, only those to which the block says something, and to none at or before the L1 block that its genesis
names (what happened until then is in its genesis).
"""

from collections.abc import Iterable

from plait.derivation.deposits import L1Log, MalformedLog, deposits_of_logs
from plait.derivation.l1_facts import L1BlockFacts, RollupL1Facts, encode_l1_facts
from plait.derivation.rollup_config import OpStackConfig
from plait.derivation.system_config import update_of_log
from plait.errors import L1Refused
from plait.l1.fees import BlobSchedule, blob_base_fee
from plait.l1.headers import L1Header
from plait.limits import L1_FACTS_BYTES_MAX, L1_FACTS_ENTRIES_MAX
from plait.types import Address, RollupId, Wei


def updates_of_logs(logs: Iterable[L1Log], system_config_contract: Address) -> tuple[bytes, ...]:
    """Updates of a rollup's system configuration, in the order of their logs; what derivation ignores is left out."""
    found = (update_of_log(log.topics, log.data) for log in logs if log.address == system_config_contract)
    return tuple(update for update in found if update is not None)


def block_facts(
    header: L1Header, logs: Iterable[L1Log], bindings: Iterable[OpStackConfig], schedule: BlobSchedule
) -> tuple[L1BlockFacts, tuple[MalformedLog, ...]]:
    """Facts of a block, and the logs of deposit contracts that are no deposits.

    Args:
        header: proven by its hash.
        logs: of its successful transactions, proven by its receipts root.
        bindings: of the network's rollups, in any order.
        schedule: of the L1's blob parameters.

    Raises:
        L1Refused: `l1_block_too_large` when no proposal could carry the facts.
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
        if len(deposits) > L1_FACTS_ENTRIES_MAX or len(updates) > L1_FACTS_ENTRIES_MAX:
            raise _too_large(header, f"too many deposits or updates of rollup {config.chain_id}")
        if deposits or updates:
            rollups.append(RollupL1Facts(rollup_id=RollupId(config.chain_id), deposits=deposits, updates=updates))
    facts = L1BlockFacts(
        number=header.number,
        hash=header.hash,
        parent_hash=header.parent_hash,
        timestamp=header.timestamp,
        base_fee=header.base_fee if header.base_fee is not None else Wei(0),
        blob_base_fee=blob_base_fee(header.excess_blob_gas, header.timestamp, schedule),
        prev_randao=header.mix_hash,
        parent_beacon_block_root=header.beacon_root,
        rollups=tuple(rollups),
    )
    if rollups and len(encode_l1_facts(facts)) > L1_FACTS_BYTES_MAX:
        raise _too_large(header, f"more than {L1_FACTS_BYTES_MAX} bytes for the rollups")
    return facts, tuple(malformed)


def _too_large(header: L1Header, what: str) -> L1Refused:
    return L1Refused(
        f"L1 block {header.number} holds {what}: no proposal can carry it, so the rollups stay on its parent.",
        code="l1_block_too_large",
        number=header.number,
    )
