"""Going back: the first thing in a sub-block, when the one before ordered it (`plait.protocol.l1_work`).

Every rollup that has to goes on from an earlier block of its own; what came after is gone, and named. A rollup that
cannot go back that far stays where it is. Level 4, pure but for the native sessions.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from plait.codec.rlp import Reader
from plait.errors import InvariantBroken
from plait.ledger.l1 import Floor, L1State
from plait.ledger.state import LedgerState, RollupRecord
from plait.limits import UNWIND_BLOCKS_MAX, UNWOUND_TRANSACTIONS_MAX
from plait.native import SHARED_UNDO_BLOCKS, Rollup, Session, keccak256
from plait.protocol.effects import Unwound
from plait.protocol.l1_blocks import can_go, gone_back
from plait.types import BlockNumber, Hash32, RollupId

DEPOSIT_TYPE = 0x7E

if UNWIND_BLOCKS_MAX > SHARED_UNDO_BLOCKS:
    # nodes that started from a snapshot could not go back as far as the others
    raise InvariantBroken(
        f"UNWIND_BLOCKS_MAX is {UNWIND_BLOCKS_MAX}; snapshots hand on undo records of {SHARED_UNDO_BLOCKS} blocks",
        code="unwind_bound_wrong",
    )


class GoneBack(NamedTuple):
    """The committed state with every order carried out."""

    ledger: LedgerState
    sessions: dict[RollupId, Session]
    """Of the rollups that went back. Each candidate takes forks of them: a long way back takes its time once."""
    unwound: tuple[Unwound, ...]


def go_back(ledger: LedgerState, rollups: Mapping[RollupId, Rollup]) -> GoneBack:
    """Carries out the ledger's orders.

    Args:
        ledger: committed.
        rollups: its rollups, at the state that it names.
    """
    l1 = ledger.l1
    if l1 is None or not l1.orders:
        return GoneBack(ledger, {}, ())
    orders = {order.rollup_id: order.to_number for order in l1.orders}
    records: list[RollupRecord] = []
    sessions: dict[RollupId, Session] = {}
    unwound: list[Unwound] = []
    for record in ledger.rollups:
        to_number = orders.get(record.rollup_id)
        if to_number is None or to_number >= record.newest_number or not can_go(record, to_number, l1):
            records.append(record)
            continue
        rollup = rollups[record.rollup_id]
        session = rollup.session_at(to_number)
        to_hash = Hash32(session.head_hash)
        records.append(gone_back(record, to_number, to_hash))
        sessions[record.rollup_id] = session
        unwound.append(_lost(rollup, record, to_number, to_hash))
    if not unwound:
        return GoneBack(ledger, {}, ())
    l1 = msgspec.structs.replace(l1, floors=_floors(l1, ledger.rollups, records))
    return GoneBack(msgspec.structs.replace(ledger, rollups=tuple(records), l1=l1), sessions, tuple(unwound))


def _floors(l1: L1State, before: Iterable[RollupRecord], after: Iterable[RollupRecord]) -> tuple[Floor, ...]:
    """The floors that stay above what the heads give."""
    found: list[Floor] = []
    for was, now in zip(before, after, strict=True):
        floor = l1.floor(was.rollup_id, was.head_number)
        if floor > now.head_number - UNWIND_BLOCKS_MAX and floor > 0:
            found.append(Floor(was.rollup_id, floor))
    return tuple(found)


def _lost(rollup: Rollup, record: RollupRecord, to_number: BlockNumber, to_hash: Hash32) -> Unwound:
    hashes: list[Hash32] = []
    lost: list[bytes] = []
    for number in range(to_number + 1, record.head_number + 1):
        header = rollup.raw_header(number)
        if header is not None:
            hashes.append(Hash32(keccak256(header)))
        block = rollup.raw_block(number) if len(lost) < UNWOUND_TRANSACTIONS_MAX else None
        if block is not None:
            lost.extend(transactions_of(block))
    lost.extend(rollup.freeze().open_transactions())
    del lost[UNWOUND_TRANSACTIONS_MAX:]
    return Unwound(
        rollup_id=record.rollup_id,
        to_number=to_number,
        to_hash=to_hash,
        first_lost=BlockNumber(to_number + 1),
        last_lost=record.head_number,
        lost_hashes=tuple(hashes),
        lost=tuple(lost),
    )


def transactions_of(raw_block: bytes) -> list[bytes]:
    """Raw transactions of a block in its RLP form, without deposits.

    Raises:
        CodecError: it is no block.
    """
    reader = Reader(raw_block, what="block").read_list("block")
    reader.read_list("header")
    listed = reader.read_list("transactions")
    found = []
    while listed.more:
        raw = listed.read_item()
        if raw[0] != DEPOSIT_TYPE:
            found.append(raw)
    return found
