"""Canonical bytes of the agreed L1 data, and its leaf of the ledger tree. Level 3, pure.

l1     = [terms, [config, ...], [facts, ...], rest...]
rest   = [report, ...], [[rollup_id, to_number], ...], [[rollup_id, floor], ...], due_slot,
         [[public_key, sequence], ...], [[rollup_id, count, until_slot, waiting = 0 | 1], ...],
         [[number, digest], ...], unusable = "" | 32 bytes, generation,
         changed_slot, vault
vault  = [next_nonce, credited], only where the terms name one
terms  = [chain_id, lag_blocks, hold_s, reporter, block_time_s] | [..., vault]
report = [50, public_key, sequence, head, first, digests, safe, conflicts]            as in `plait.codec.l1_items`
epoch  = [first_block, [number, hash], system configuration]
leaf   = [terms, keccak256 of the configs' list, digests of the blocks as they are kept, rest...]
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from plait.codec.l1_items import read_unsigned_report, unsigned_report
from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.derivation.l1_facts import L1BlockFacts, encode_l1_facts, read_l1_facts
from plait.derivation.rollup_config import (
    OpStackConfig,
    decode_block_id,
    decode_config,
    encode_block_id,
    encode_config,
)
from plait.derivation.system_config import decode_system, encode_system
from plait.errors import CodecError
from plait.ledger.l1 import Dropped, Epoch, Floor, L1State, L1Terms, Left, Pause, UnwindOrder, VaultRecord, digest_of
from plait.limits import (
    L1_BLOCKS_KEPT_MAX,
    L1_EPOCHS_KEPT,
    L1_REPORTERS_LEFT_MAX,
    ROLLUPS_MAX,
    SUPPLY_MAX,
    VALIDATORS_MAX,
)
from plait.native import keccak256
from plait.types import BlockNumber, Hash32, RollupId, Slot
from plait.types.l1 import L1Report

_T = TypeVar("_T")


def encode_l1(state: L1State) -> bytes:
    """Canonical bytes."""
    return encode_list(
        (
            _encode_terms(state.terms),
            _encode_configs(state.bindings),
            encode_list(map(encode_l1_facts, state.blocks)),
            *_encode_rest(state),
        )
    )


def l1_leaf(state: L1State) -> bytes:
    """What it contributes to the ledger's root: facts by their digests."""
    digests = b"".join(map(digest_of, state.blocks))
    head = (_encode_terms(state.terms), encode_bytes(_configs_hash(state.bindings)), encode_bytes(digests))
    return encode_list((*head, *_encode_rest(state)))


def decode_l1(reader: Reader) -> L1State:
    """Reads the fields of `encode_l1` to their end.

    Raises:
        CodecError: not canonical, out of range, or blocks that do not follow each other.
    """
    terms = _decode_terms(reader.read_list("L1 terms"))
    bindings = tuple(_read_many(reader.read_list("rollup configurations"), decode_config, ROLLUPS_MAX))
    _require_ascending([config.chain_id for config in bindings])
    blocks = tuple(_read_many(reader.read_list("L1 blocks"), _decode_facts, L1_BLOCKS_KEPT_MAX + 1))
    linked = all(
        after.parent_hash == before.hash and after.number == before.number + 1 for before, after in pairwise(blocks)
    )
    if not blocks or not linked:
        raise CodecError("the agreed L1 blocks do not follow each other")
    reports = tuple(_read_many(reader.read_list("L1 reports"), _decode_report, VALIDATORS_MAX))
    _require_ascending([report.public_key for report in reports])
    orders = tuple(_read_many(reader.read_list("unwind orders"), _decode_order, ROLLUPS_MAX))
    _require_ascending([order.rollup_id for order in orders])
    floors = tuple(_read_many(reader.read_list("floors"), _decode_floor, ROLLUPS_MAX))
    _require_ascending([floor.rollup_id for floor in floors])
    due_slot = Slot(reader.read_uint())
    left = tuple(_read_many(reader.read_list("reporters that left"), _decode_left, L1_REPORTERS_LEFT_MAX))
    _require_ascending([one.public_key for one in left])
    pauses = tuple(_read_many(reader.read_list("pauses"), _decode_pause, ROLLUPS_MAX))
    _require_ascending([pause.rollup_id for pause in pauses])
    dropped = tuple(_read_many(reader.read_list("dropped facts"), _decode_dropped, L1_BLOCKS_KEPT_MAX + 1))
    _require_ascending([one.number for one in dropped])
    unusable = reader.read_bytes(size_max=32)
    generation, changed_slot = reader.read_uint(), Slot(reader.read_uint())
    vault = _decode_vault(reader.read_list("vault")) if terms.vault else VaultRecord()
    reader.end()
    if len(unusable) not in (0, 32):
        raise CodecError("a digest of L1 facts has 32 bytes")
    return L1State(
        terms=terms,
        bindings=bindings,
        blocks=blocks,
        reports=reports,
        orders=orders,
        floors=floors,
        generation=generation,
        changed_slot=changed_slot,
        due_slot=due_slot,
        left=left,
        pauses=pauses,
        dropped=dropped,
        unusable=unusable,
        vault=vault,
    )


def encode_epoch(epoch: Epoch) -> bytes:
    """Canonical bytes of an epoch."""
    return encode_list((encode_uint(epoch.first_block), encode_block_id(epoch.origin), encode_system(epoch.system)))


def decode_epochs(reader: Reader) -> tuple[Epoch, ...]:
    """Reads a list of epochs. Raises CodecError."""
    return tuple(_read_many(reader, _decode_epoch, L1_EPOCHS_KEPT))


def _decode_epoch(reader: Reader) -> Epoch:
    first = BlockNumber(reader.read_uint())
    origin = decode_block_id(reader.read_list("L1 origin"))
    system = decode_system(reader.read_list("system configuration"))
    reader.end()
    return Epoch(first_block=first, origin=origin, system=system)


def _encode_rest(state: L1State) -> tuple[bytes, ...]:
    orders = (encode_list((encode_uint(order.rollup_id), encode_uint(order.to_number))) for order in state.orders)
    floors = (encode_list((encode_uint(floor.rollup_id), encode_uint(floor.number))) for floor in state.floors)
    left = (encode_list((encode_bytes(one.public_key), encode_uint(one.sequence))) for one in state.left)
    pauses = (
        encode_list(map(encode_uint, (one.rollup_id, one.count, one.until_slot, int(one.waiting))))
        for one in state.pauses
    )
    dropped = (encode_list((encode_uint(one.number), encode_bytes(one.digest))) for one in state.dropped)
    return (
        encode_list(map(_report, state.reports)),
        encode_list(orders),
        encode_list(floors),
        encode_uint(state.due_slot),
        encode_list(left),
        encode_list(pauses),
        encode_list(dropped),
        encode_bytes(state.unusable),
        encode_uint(state.generation),
        encode_uint(state.changed_slot),
        *(
            (encode_list(map(encode_uint, (state.vault.next_nonce, state.vault.credited))),)
            if state.terms.vault
            else ()
        ),
    )


@lru_cache(maxsize=4 * VALIDATORS_MAX)
def _report(report: L1Report) -> bytes:
    return unsigned_report(report)


def _encode_terms(terms: L1Terms) -> bytes:
    numbers = map(encode_uint, (terms.chain_id, terms.lag_blocks, terms.hold_s))
    vault = (encode_bytes(terms.vault),) if terms.vault else ()
    return encode_list((*numbers, encode_bytes(terms.reporter), encode_uint(terms.block_time_s), *vault))


def _decode_terms(reader: Reader) -> L1Terms:
    terms = L1Terms(
        chain_id=reader.read_uint(),
        lag_blocks=reader.read_uint(),
        hold_s=reader.read_uint(),
        reporter=reader.read_bytes(size_max=32),
        block_time_s=reader.read_uint(),
        vault=reader.read_bytes(size=20) if reader.more else b"",
    )
    reader.end()
    if len(terms.reporter) not in (0, 32):
        raise CodecError("an L1 reporter's key has 32 bytes")
    return terms


def _decode_vault(reader: Reader) -> VaultRecord:
    vault = VaultRecord(reader.read_uint(), reader.read_uint(SUPPLY_MAX))
    reader.end()
    return vault


def _encode_configs(configs: tuple[OpStackConfig, ...]) -> bytes:
    return encode_list(map(encode_config, configs))


@lru_cache(maxsize=16)
def _configs_hash(configs: tuple[OpStackConfig, ...]) -> bytes:
    return keccak256(_encode_configs(configs))


def _decode_facts(reader: Reader) -> L1BlockFacts:
    facts = read_l1_facts(reader)
    reader.end()
    return facts


def _decode_report(reader: Reader) -> L1Report:
    report = read_unsigned_report(reader)
    reader.end()
    return report


def _decode_order(reader: Reader) -> UnwindOrder:
    order = UnwindOrder(RollupId(reader.read_uint()), BlockNumber(reader.read_uint()))
    reader.end()
    return order


def _decode_floor(reader: Reader) -> Floor:
    floor = Floor(RollupId(reader.read_uint()), BlockNumber(reader.read_uint()))
    reader.end()
    return floor


def _decode_left(reader: Reader) -> Left:
    left = Left(reader.read_bytes(size=32), reader.read_uint())
    reader.end()
    return left


def _decode_pause(reader: Reader) -> Pause:
    rollup_id, count, until_slot = RollupId(reader.read_uint()), reader.read_uint(), Slot(reader.read_uint())
    pause = Pause(rollup_id, count, until_slot, bool(reader.read_uint(1)))
    reader.end()
    return pause


def _decode_dropped(reader: Reader) -> Dropped:
    dropped = Dropped(BlockNumber(reader.read_uint()), Hash32(reader.read_bytes(size=32)))
    reader.end()
    return dropped


def _read_many(reader: Reader, read: Callable[[Reader], _T], count_max: int) -> list[_T]:
    found: list[_T] = []
    while reader.more:
        if len(found) == count_max:
            raise CodecError(f"agreed L1 data: more than {count_max} entries")
        found.append(read(reader.read_list("entry")))
    reader.end()
    return found


def _require_ascending(ids: Sequence[int] | Sequence[bytes]) -> None:
    if any(before >= after for before, after in pairwise(ids)):  # type: ignore[operator]
        raise CodecError("a list of the agreed L1 data is not strictly ascending")
