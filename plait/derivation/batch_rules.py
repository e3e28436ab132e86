"""Which batches count: the OP Stack's validity rules since Holocene. Pure.

    accept     the batch is the next block (or a span that begins at, or overlaps, the next block)
    past       all of it is in the chain already: passed over, the rest of its channel counts
    drop       it can never count: the rest of its channel is dropped with it
    undecided  it cannot be judged: passed over, as op-node does

A batch for later than the next block is dropped (before Holocene it was kept: there is no `future` any more). Rules in
their order, for a singular batch on the safe head:
    1. its time is the head's and one block time                       else past (earlier) or drop (later)
    2. its parent is the head                                          else drop
    3. its epoch and the sequencing window reach the L1 block it is in else drop
    4. its epoch is the current or the next one, by number and hash    else drop
    5. its time is not before its epoch's                              else drop
    6. beyond the sequencer drift (1,800 s) it is empty, and may stay in its epoch only while the next one is too young
    7. no transaction is empty, a deposit, or of a type that the fork does not have

The first L1 block of every list here is the current epoch.

Source: OP Stack specs, derivation (batch queue), Fjord (constant drift), Holocene (strict order, span batch checks),
Isthmus (type 4).
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from plait.derivation.batches import SingularBatch
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import MAX_SEQUENCER_DRIFT_FJORD_S, OpStackConfig
from plait.derivation.span_batches import CHECK_BYTES, SpanBatch
from plait.types import BlockNumber, Hash32, Seconds

_DEPOSIT: Final = 0x7E
_SET_CODE: Final = 0x04


class Head(NamedTuple):
    """A block of the rollup, as the next one sees it."""

    number: BlockNumber
    hash: Hash32 | None
    """None while it is not executed: what depends on it is judged later."""
    timestamp: Seconds
    origin_number: BlockNumber
    origin_hash: Hash32
    sequence_number: int


class Validity(Enum):
    """What becomes of a batch."""

    ACCEPT = "accept"
    PAST = "past"
    DROP = "drop"
    UNDECIDED = "undecided"


class Verdict(NamedTuple):
    """What becomes of a batch, and why."""

    validity: Validity
    reason: str = ""


class View(NamedTuple):
    """What a batch is judged by."""

    config: OpStackConfig
    l1: Mapping[int, L1BlockFacts]
    """L1 blocks by number, from the current epoch to the one that batches are read from."""
    epoch_number: int
    inclusion_number: int
    """L1 block that the batch was completed in."""


ACCEPT = Verdict(Validity.ACCEPT)


def check_singular(view: View, head: Head, batch: SingularBatch, *, parent_checked: bool = False) -> Verdict:
    """Judges a singular batch on the head, or a block of a span batch of which the parent was checked with the span."""
    config = view.config
    next_timestamp = head.timestamp + config.block_time_s
    if batch.timestamp > next_timestamp:
        return _drop(f"its time {batch.timestamp} is after the next block's {next_timestamp}")
    if batch.timestamp < next_timestamp:
        return Verdict(Validity.PAST, f"its time {batch.timestamp} is before the next block's {next_timestamp}")
    if not parent_checked and head.hash is not None and batch.parent_hash != head.hash:
        return _drop(f"its parent 0x{batch.parent_hash.hex()} is not the head 0x{head.hash.hex()}")
    if batch.epoch_number + config.seq_window_blocks < view.inclusion_number:
        return _drop("it came after the sequencing window")
    if batch.epoch_number < view.epoch_number:
        return _drop(f"its epoch {batch.epoch_number} is before the current one {view.epoch_number}")
    if batch.epoch_number > view.epoch_number + 1:
        return _drop(f"its epoch {batch.epoch_number} is not the current one {view.epoch_number} nor the next")
    origin = view.l1.get(batch.epoch_number)
    if origin is None:
        return Verdict(Validity.UNDECIDED, "its epoch is not known yet")
    if batch.epoch_hash != origin.hash:
        return _drop(f"its epoch {batch.epoch_number} is of another L1 chain")
    if batch.timestamp < origin.timestamp:
        return _drop(f"its time is before its epoch's {origin.timestamp}")
    if batch.timestamp > origin.timestamp + MAX_SEQUENCER_DRIFT_FJORD_S:
        verdict = _check_drift(view, batch)
        if verdict is not ACCEPT:
            return verdict
    return _check_transactions(config, batch)


def _check_drift(view: View, batch: SingularBatch) -> Verdict:
    """Rule 6, of a batch beyond the drift."""
    if batch.transactions:
        return _drop("it has transactions beyond the sequencer drift")
    if batch.epoch_number == view.epoch_number:
        following = view.l1.get(view.epoch_number + 1)
        if following is None:
            return Verdict(Validity.UNDECIDED, "whether it may stay in its epoch is not known yet")
        if batch.timestamp >= following.timestamp:
            return _drop("it stays in its epoch beyond the sequencer drift, though the next one could be adopted")
    return ACCEPT


def _check_transactions(config: OpStackConfig, batch: SingularBatch) -> Verdict:
    for index, raw in enumerate(batch.transactions):
        if not raw:
            return _drop(f"transaction {index} is empty")
        if raw[0] == _DEPOSIT:
            return _drop(f"transaction {index} is a deposit")
        if raw[0] == _SET_CODE and config.fork == "holocene":
            return _drop(f"transaction {index} is of type 4, which Holocene does not have")
    return ACCEPT


def check_span(view: View, head: Head, span: SpanBatch, ancestor: Callable[[int], Head | None]) -> Verdict:
    """Judges a span batch as a whole; its blocks are judged one by one afterwards.

    Args:
        view: of L1.
        head: executed, so that its hash is known.
        span: the batch.
        ancestor: block of the chain by number; None of one that no valid span batch can reach back to.
    """
    config, first, last = view.config, span.blocks[0], span.blocks[-1]
    start = first.epoch_number
    if start == view.epoch_number + 1 and start not in view.l1:
        return Verdict(Validity.UNDECIDED, "its first epoch is not known yet")
    next_timestamp = head.timestamp + config.block_time_s
    if first.timestamp > next_timestamp:
        return _drop(f"its time {first.timestamp} is after the next block's {next_timestamp}")
    if last.timestamp < next_timestamp:
        return Verdict(Validity.PAST, f"its last time {last.timestamp} is before the next block's {next_timestamp}")
    parent = _parent_of(config, head, span, ancestor)
    if isinstance(parent, Verdict):
        return parent
    if parent.hash is None or span.parent_check != parent.hash[:CHECK_BYTES]:
        return _drop(f"its parent is not block {parent.number} of the chain")
    if start + config.seq_window_blocks < view.inclusion_number:
        return _drop("it came after the sequencing window")
    if start > parent.origin_number + 1:
        return _drop(f"its first epoch {start} is too far after its parent's {parent.origin_number}")
    end = view.l1.get(last.epoch_number) if last.epoch_number >= view.epoch_number else None
    if end is None:
        return Verdict(Validity.UNDECIDED, f"its last epoch {last.epoch_number} is not known")
    if span.origin_check != end.hash[:CHECK_BYTES]:
        return _drop(f"its last epoch {last.epoch_number} is of another L1 chain")
    if start < parent.origin_number:
        return _drop(f"its first epoch {start} is before its parent's {parent.origin_number}")
    return ACCEPT


def _parent_of(
    config: OpStackConfig, head: Head, span: SpanBatch, ancestor: Callable[[int], Head | None]
) -> Head | Verdict:
    """The block that a span batch begins on, which is before the head when the batch overlaps the chain."""
    first = span.blocks[0]
    if first.timestamp == head.timestamp + config.block_time_s:
        return head
    behind = head.timestamp - first.timestamp
    if behind < 0 or behind % config.block_time_s:
        return _drop("its first block lies between two of the chain")
    number = head.number - behind // config.block_time_s - 1
    if number < config.genesis_l2.number:
        return Verdict(Validity.UNDECIDED, "it begins before the chain")
    parent = ancestor(number)
    return parent if parent is not None else _drop("it begins further back than the sequencing window")


def blocks_after(view: View, head: Head, span: SpanBatch) -> list[SingularBatch] | str:
    """Blocks of an accepted span batch that are not in the chain yet; their parent's hash stays zero.

    Returns:
        The blocks, or the reason why the batch is dropped after all.
    """
    blocks: list[SingularBatch] = []
    epoch_min = view.epoch_number
    for block in span.blocks:
        if block.timestamp <= head.timestamp:
            continue
        if block.epoch_number < head.origin_number:
            return f"the epoch {block.epoch_number} of one of its blocks is before the head's {head.origin_number}"
        origin = view.l1.get(block.epoch_number)
        if origin is None or block.epoch_number < epoch_min:
            return f"the epoch {block.epoch_number} of one of its blocks is not known, or behind an earlier one's"
        epoch_min = block.epoch_number
        blocks.append(
            SingularBatch(
                parent_hash=_UNSAID,
                epoch_number=block.epoch_number,
                epoch_hash=origin.hash,
                timestamp=block.timestamp,
                transactions=block.transactions,
            )
        )
    return blocks


_UNSAID: Final = Hash32(bytes(32))


def _drop(reason: str) -> Verdict:
    return Verdict(Validity.DROP, reason)
