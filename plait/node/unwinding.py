"""What a node does when a rollup went back: says what was lost, and lets what may run again wait again. Level 6.

Plain transactions go back to the pool, in their order. Parts of bundles do not: a leg alone is not what its sender
signed for; the bundle is dropped with code `unwound` and may be sent again. Nor do deliveries: their messages are gone
or wait again.
"""

from typing import Any

from plait.mempool import BundlePool, Pool
from plait.native import Transaction, decode_transactions
from plait.protocol.effects import SubBlockDecided


def follow_unwound(effect: SubBlockDecided, pool: Pool, bundles: BundlePool, relayer: bytes | None, logger: Any) -> int:
    """Follows every rollup that went back before this sub-block; returns how many transactions wait again.

    Args:
        effect: of the sub-block; the pools have not been told of it yet.
        pool, bundles: of this node.
        relayer: address that delivers messages for this node.
        logger: told what was lost.
    """
    gone = {one.rollup_id: bundles.on_unwound(one.rollup_id, one.to_number) for one in effect.unwound}
    parts = {
        hash_
        for dropped in gone.values()
        for status in dropped
        for placed in (*status.legs, *status.deliveries)
        for hash_ in placed.transactions
    }
    again = 0
    for unwound in effect.unwound:
        decoded = decode_transactions(list(unwound.lost), unwound.rollup_id)
        own = [
            one for one in decoded if isinstance(one, Transaction) and one.hash not in parts and one.sender != relayer
        ]
        pool.on_unwound(unwound.rollup_id, unwound.to_number, own, effect.time_ms)
        again += len(own)
        logger.warning(
            "unwound",
            rollup=unwound.rollup_id,
            stays=unwound.to_number,
            first_lost=unwound.first_lost,
            last_lost=unwound.last_lost,
            blocks=["0x" + block_hash.hex() for block_hash in unwound.lost_hashes],
            transactions=len(unwound.lost),
            waiting_again=len(own),
            bundles=["0x" + status.hash.hex() for status in gone[unwound.rollup_id]],
        )
    return again
