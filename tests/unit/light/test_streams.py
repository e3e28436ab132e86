"""A rollup's stream over a range of slots is proven whole; a stream from which anything is missing, or in which
anything is changed, is refused by the name of what is wrong."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from plait.codec.bundle import encode_leg
from plait.crypto.commitments import SubBlockCommitment
from plait.errors import LightRefused
from plait.light import ItemKind
from plait.light import account as account_module
from plait.light.stream import check_rollups, link, read_items
from plait.native import keccak256
from plait.protocol.proposal import (
    SubBlockHeader,
    app_hash_of,
    decode_header,
    encode_deliveries_item,
    encode_header,
    encode_leg_item,
    encode_relay_item,
    header_hash_of,
)
from plait.types import Hash32, Height, RollupId, Slot, SubIndex
from sim.situation import FEE
from tests.unit.light.light_chains import Chain
from tests.unit.light.light_streams import PER_SLOT, ROLLUPS, History, StreamSource, client_of, shared


def source() -> StreamSource:
    return StreamSource(*shared())


async def refused(forged: StreamSource, first: int = 3, last: int = 8, *, trusted: int = 1) -> LightRefused:
    with pytest.raises(LightRefused) as caught:
        await client_of(forged, trusted).account(FEE, Slot(first), Slot(last))
    return caught.value


# ---------------------------------------------------------------- what is proven
async def test_a_range_is_proven_whole() -> None:
    honest = source()
    seen = []
    account = await client_of(honest).account(FEE, Slot(3), Slot(8), each=seen.append)
    start, end = honest.history.heights_of(3, 8)
    assert [one.height for one in seen] == list(range(start, end))
    assert [list(one.items) for one in seen] == [honest.items[h].get(FEE, []) for h in range(start, end)]
    assert account.first_height == start
    assert account.last_height == end - 1
    assert account.sub_blocks == account.active_sub_blocks == 5 * PER_SLOT
    assert account.slots_without_sub_block == 1
    assert account.items == account.transactions == 5 * 2 * 2
    assert account.rollup_ids == ROLLUPS
    assert account.sealed_blocks == 6
    assert all(3 * anchor.signed_power > 2 * anchor.total_power for anchor in account.anchors)
    assert account.app_hash == honest.history.app_hashes[end]


async def test_items_are_told_by_the_hashes_of_their_transactions() -> None:
    honest = source()
    async for sub_block in client_of(honest).sub_blocks(FEE, Slot(2), Slot(3)):
        for item, raw in zip(sub_block.read_items(), sub_block.items, strict=True):
            assert item.kind is ItemKind.TRANSACTION
            assert item.transactions == (keccak256(raw[7:]),)
            assert item.bundle is None


async def test_a_range_without_sub_blocks_is_proven_empty() -> None:
    account = await client_of(source()).account(FEE, Slot(6), Slot(6))
    assert (account.sub_blocks, account.slots_without_sub_block) == (0, 1)
    assert account.first_height == account.last_height + 1


async def test_the_first_slots_need_nothing_before_them() -> None:
    account = await client_of(source()).account(FEE, Slot(0), Slot(2))
    assert account.first_height == 1
    assert account.sub_blocks == 2 * PER_SLOT


async def test_a_rollup_that_the_network_does_not_have_has_no_items() -> None:
    account = await client_of(source()).account(RollupId(903), Slot(3), Slot(4))
    assert (account.items, account.active_sub_blocks, account.sub_blocks) == (0, 0, 2 * PER_SLOT)


@pytest.mark.parametrize("piece", [1, 2, 7, 500])
@pytest.mark.parametrize("trusted", [1, 17, 20, 40])
async def test_any_trusted_block_and_any_size_of_pieces_give_the_same_account(
    piece: int, trusted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await client_of(source()).account(FEE, Slot(3), Slot(8))
    monkeypatch.setattr(account_module, "LIGHT_HEADERS_PER_CALL_MAX", piece)
    monkeypatch.setattr(account_module, "LIGHT_ITEMS_HEIGHTS_PER_CALL", piece)
    found = await client_of(source(), trusted).account(FEE, Slot(3), Slot(8))
    assert found.stream_hash == expected.stream_hash
    assert found.items == expected.items
    assert found.app_hash == expected.app_hash


@pytest.mark.parametrize("trusted", [1, 25, 45])
async def test_a_stream_over_validators_that_all_change(trusted: int) -> None:
    history, fixed = shared()
    changing = Chain(
        history.height + 1,
        lambda height: tuple((number, 10) for number in range(height // 4, height // 4 + 5)),
        app_hash=lambda height: history.app_hashes.get(height - 1, bytes(32)),
    )
    expected = await client_of(StreamSource(history, fixed)).account(FEE, Slot(3), Slot(8))
    found = await client_of(StreamSource(history, changing), trusted).account(FEE, Slot(3), Slot(8))
    assert found.stream_hash == expected.stream_hash
    assert found.anchors != expected.anchors


# ---------------------------------------------------------------- forged streams
def omit_item(forged: StreamSource, height: int) -> None:
    forged.items[height][FEE].pop()


def swap_items(forged: StreamSource, height: int) -> None:
    forged.items[height][FEE].reverse()


def repeat_item(forged: StreamSource, height: int) -> None:
    forged.items[height][FEE].append(forged.items[height][FEE][0])


def flip_bit(forged: StreamSource, height: int) -> None:
    raw = bytearray(forged.items[height][FEE][0])
    raw[-1] ^= 1
    forged.items[height][FEE][0] = bytes(raw)


def hide_items(forged: StreamSource, height: int) -> None:
    forged.items[height][FEE] = []


def invent_items(forged: StreamSource, height: int) -> None:
    """The items of one sub-block in the place of the next one's, which has others."""
    forged.items[height][FEE] = forged.items[height + 2][FEE]


@pytest.mark.parametrize("forge", [omit_item, swap_items, repeat_item, flip_bit, hide_items, invent_items])
async def test_items_that_are_not_the_decided_ones(forge: Callable[[StreamSource, int], None]) -> None:
    forged = source()
    start, _ = forged.history.heights_of(4, 4)
    forge(forged, start + 1)
    assert (await refused(forged)).code == "light_items_mismatch"


def without(header: SubBlockHeader, rollup_id: RollupId) -> SubBlockCommitment:
    """The commitment as it is when a rollup is left out of it."""
    kept = [
        pair for pair in zip(header.commitment.ids, header.commitment.items_roots, strict=True) if pair[0] != rollup_id
    ]
    return msgspec.structs.replace(
        header.commitment, ids=tuple(one for one, _ in kept), items_roots=tuple(root for _, root in kept)
    )


@pytest.mark.parametrize("left_out", ROLLUPS)
async def test_a_rollup_that_is_left_out_of_a_header(left_out: RollupId) -> None:
    forged = source()
    start, _ = forged.history.heights_of(4, 4)
    with_fields(forged, start, commitment=without(decode_header(forged.headers[start]), left_out))
    assert (await refused(forged)).code == "light_parent_mismatch"


@pytest.mark.parametrize("left_out", ROLLUPS)
def test_a_header_whose_list_of_rollups_is_not_that_of_its_roots(left_out: RollupId) -> None:
    honest = decode_header(source().headers[9])
    check_rollups(honest)
    with pytest.raises(LightRefused) as caught:
        check_rollups(msgspec.structs.replace(honest, commitment=without(honest, left_out)))
    assert caught.value.code == "light_rollups_mismatch"


def with_fields(forged: StreamSource, height: int, **changes: Any) -> None:
    header = msgspec.structs.replace(decode_header(forged.headers[height]), **changes)
    forged.headers[height] = encode_header(header)


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": Slot(1)},
        {"sub_index": SubIndex(9)},
        {"network_id": 99},
        {"time_ms": 1},
        {"parent_app_hash": Hash32(bytes(32))},
        {"ledger_root": Hash32(bytes(32))},
        {"sealed": ()},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("place", ["inside", "last"])
async def test_a_header_in_which_a_field_is_changed(changes: dict[str, Any], place: str) -> None:
    forged = source()
    _, end = forged.history.heights_of(3, 8)
    height = (
        next(h for h in range(end - 8, end) if decode_header(forged.headers[h]).sealed) if place == "inside" else end
    )
    with_fields(forged, height, **changes)
    code = "light_parent_mismatch" if place == "inside" else "light_app_hash_mismatch"
    assert (await refused(forged)).code == code


async def test_a_sub_block_that_is_left_out() -> None:
    forged = source()
    start, _ = forged.history.heights_of(4, 4)
    del forged.headers[start + 1]
    assert (await refused(forged)).code == "light_headers_missing"
    for height in range(start + 1, forged.history.height):  # closing the gap moves every later one
        forged.headers[height] = forged.history.headers[height + 1]
    assert (await refused(forged)).code == "light_height_wrong"


@pytest.mark.parametrize(("by_start", "by_end"), [(1, 0), (PER_SLOT, 0), (0, -1), (0, -PER_SLOT), (-1, 0), (0, 1)])
async def test_a_range_that_is_cut_or_stretched(by_start: int, by_end: int) -> None:
    forged = source()
    start, end = forged.history.heights_of(3, 8)
    forged.heights = (start + by_start, end + by_end)
    assert (await refused(forged)).code == "light_boundary_wrong"


@pytest.mark.parametrize("heights", [(0, 5), (9, 5), (-1, -1)])
async def test_a_range_that_is_none(heights: tuple[int, int]) -> None:
    forged = source()
    forged.heights = heights
    assert (await refused(forged)).code == "light_answer_malformed"


async def test_a_slot_that_may_still_grow() -> None:
    assert (await refused(source(), 3, 12)).code == "light_slot_open"
    assert (await refused(source(), 3, 99)).code == "light_slot_open"


@pytest.mark.parametrize(("first", "last"), [(5, 4), (-1, 3), (0, 2**53)])
async def test_slots_that_are_no_range(first: int, last: int) -> None:
    assert (await refused(source(), first, last)).code == "light_range_invalid"


@pytest.mark.parametrize("data", [b"", b"\xc0", b"garbage", b"\xc2\xc0\xc0"])
async def test_bytes_that_are_no_header(data: bytes) -> None:
    forged = source()
    start, _ = forged.history.heights_of(4, 4)
    forged.headers[start] = data
    assert (await refused(forged)).code == "light_sub_block_malformed"


async def test_fewer_answers_than_were_asked_for() -> None:
    forged = source()
    forged.sub_block_items = lambda heights, rollup_id: _nothing()  # type: ignore[method-assign]
    assert (await refused(forged)).code == "light_answer_malformed"


async def _nothing() -> list[Any]:
    return []


async def test_another_networks_history_below_the_same_validators_blocks() -> None:
    """Headers that link among themselves and are not what the validators agreed on."""
    forged, other = source(), History(12, skipped=(7,))
    forged.history, forged.headers = other, dict(other.headers)
    assert (await refused(forged)).code == "light_app_hash_mismatch"


# ---------------------------------------------------------------- what agreed headers themselves must keep to
def relinked(*changes: dict[str, Any]) -> tuple[list[bytes], Hash32]:
    """Two headers in a row with changes, linked as if validators had agreed on them."""
    honest = source().headers
    first = msgspec.structs.replace(decode_header(honest[10]), **changes[0])
    first_bytes = encode_header(first)
    parent = app_hash_of(first.height, header_hash_of(first_bytes), first.ledger_root)
    second = msgspec.structs.replace(decode_header(honest[11]), parent_app_hash=parent, **changes[1])
    second_bytes = encode_header(second)
    return [first_bytes, second_bytes], app_hash_of(second.height, header_hash_of(second_bytes), second.ledger_root)


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({}, {"sub_index": SubIndex(3)}, "light_position_wrong"),
        ({}, {"sub_index": SubIndex(1)}, "light_position_wrong"),
        ({}, {"slot": Slot(2)}, "light_position_wrong"),
        ({}, {"slot": Slot(4)}, "light_position_wrong"),
        ({}, {"time_ms": 1}, "light_position_wrong"),
        ({"network_id": 99}, {}, "light_network_wrong"),
        ({}, {"height": 12}, "light_height_wrong"),
    ],
)
def test_agreed_headers_that_cannot_follow_each_other(first: dict[str, Any], second: dict[str, Any], code: str) -> None:
    headers, app_hash = relinked({}, {})
    assert [one.header.height for one in link(headers, first=Height(10), count=2, app_hash=app_hash)] == [10, 11]
    headers, app_hash = relinked(first, second)
    with pytest.raises(LightRefused) as caught:
        link(headers, first=Height(10), count=2, app_hash=app_hash)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "item", [b"", b"\x00", bytes(7), b"\x04abc", b"\x01" + bytes(32), b"\x01" + bytes(33), b"\xff"]
)
def test_items_that_are_of_no_known_kind(item: bytes) -> None:
    with pytest.raises(LightRefused) as caught:
        read_items([item])
    assert caught.value.code == "light_items_malformed"


def test_items_of_bundles_and_relays_name_their_transactions() -> None:
    one, other, bundle = b"one transaction", b"another", bytes([7]) * 32
    found = read_items(
        [
            encode_leg_item(Hash32(bundle), encode_leg((one, other))),
            encode_deliveries_item(Hash32(bundle), [other]),
            b"\x00" * 7 + one,
            encode_relay_item(other),
        ]
    )
    assert [item.kind for item in found] == [ItemKind.LEG, ItemKind.DELIVERIES, ItemKind.TRANSACTION, ItemKind.RELAY]
    assert [item.bundle for item in found] == [bundle, bundle, None, None]
    hashes = keccak256(one), keccak256(other)
    assert [item.transactions for item in found] == [hashes, hashes[1:], hashes[:1], hashes[1:]]
