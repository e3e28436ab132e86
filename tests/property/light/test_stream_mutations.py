"""Whatever is changed of a stream that a provider shows, it is refused; and what is refused gives no account."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import LightRefused
from plait.light import Account
from plait.types import Slot
from sim.situation import FEE
from tests.unit.light.light_streams import StreamSource, client_of, shared

FIRST, LAST = 3, 8
HISTORY, CHAIN = shared()
START, END = HISTORY.heights_of(FIRST, LAST)
WITH_ITEMS = [height for height in range(START, END) if HISTORY.items[height]]
CODES = {
    "light_items_mismatch",
    "light_app_hash_mismatch",
    "light_parent_mismatch",
    "light_sub_block_malformed",
    "light_height_wrong",
    "light_headers_missing",
    "light_boundary_wrong",
    "light_answer_malformed",
}


def prove(source: StreamSource) -> Account | str:
    """The account, or the code of the refusal."""
    try:
        return asyncio.run(client_of(source).account(FEE, Slot(FIRST), Slot(LAST)))
    except LightRefused as refused:
        return refused.code


def flipped(data: bytes, bit: int) -> bytes:
    place = bit % (8 * len(data))
    return data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]


def flip_header(source: StreamSource, height: int, bit: int) -> None:
    source.headers[height] = flipped(source.headers[height], bit)


def flip_item(source: StreamSource, height: int, bit: int) -> None:
    items = source.items[WITH_ITEMS[height % len(WITH_ITEMS)]][FEE]
    items[bit % len(items)] = flipped(items[bit % len(items)], bit)


def exchange_headers(source: StreamSource, height: int, bit: int) -> None:
    other = START + bit % (END - START)
    if other == height:
        other = START + (bit + 1) % (END - START)
    source.headers[height], source.headers[other] = source.headers[other], source.headers[height]


def exchange_items(source: StreamSource, height: int, bit: int) -> None:
    one = WITH_ITEMS[height % len(WITH_ITEMS)]
    other = WITH_ITEMS[(height + 1 + bit % (len(WITH_ITEMS) - 1)) % len(WITH_ITEMS)]
    source.items[one], source.items[other] = source.items[other], source.items[one]


def cut_header(source: StreamSource, height: int, bit: int) -> None:
    source.headers[height] = source.headers[height][: bit % len(source.headers[height])]


def move_range(source: StreamSource, height: int, bit: int) -> None:
    by = 1 + bit % 5
    source.heights = [(START + by, END), (START, END - by), (START - by, END), (START, END + by)][height % 4]


FORGERIES: list[Callable[[StreamSource, int, int], None]] = [
    flip_header, flip_item, exchange_headers, exchange_items, cut_header, move_range,
]  # fmt: skip


@settings(max_examples=300)
@given(
    forge=st.sampled_from(FORGERIES),
    height=st.integers(START - 1, END),
    bit=st.integers(0, 2**16),
)
def test_every_change_of_a_stream_is_refused(
    forge: Callable[[StreamSource, int, int], None], height: int, bit: int
) -> None:
    source = StreamSource(HISTORY, CHAIN)
    forge(source, height, bit)
    assert prove(source) in CODES


def test_the_unchanged_stream_is_proven() -> None:
    account = prove(StreamSource(HISTORY, CHAIN))
    assert isinstance(account, Account)
    assert account.items == sum(len(HISTORY.items[height].get(FEE, ())) for height in range(START, END))
