"""ForcedInclusion over an L1 client: requests, and how many deadlines a rollup missed.

Read at one L1 block, named by its hash; proven by nothing: it raises alarms and decides nothing. Level 5.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from plait.errors import L1Refused, Unavailable
from plait.l1.abi import address_of_word, selector, word, words_of
from plait.l1.client import L1Client
from plait.l1.fields import as_bytes
from plait.types import Address, BlockNumber, RollupId, Seconds

RequestState = Literal["none", "open", "claimed", "included", "overdue"]
_STATES: Final[tuple[RequestState, ...]] = ("none", "open", "claimed", "included", "overdue")
_REQUEST_WORDS: Final = 8


class ForcedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    number: int
    requester: Address
    rollup_id: RollupId
    state: RequestState
    deadline: Seconds
    """Unix seconds: last agreed time of a sub-block that may seal it."""
    claimed_until: Seconds
    """Unix seconds: until when a claim can be answered; 0 while there is none."""
    l1_block: BlockNumber
    """That holds the deposit."""


class ForcedState(msgspec.Struct, frozen=True, kw_only=True):
    """The contract at one L1 block."""

    time_s: Seconds
    """Of the block."""
    window_s: int
    count: int
    """Requests so far; they are numbered from 1."""
    requests: tuple[ForcedRequest, ...]
    """Those that were asked for, as far as they exist."""
    overdue: dict[RollupId, int]
    """Missed deadlines that stood unanswered, by rollup."""


async def read_forced(
    client: L1Client, contract: Address, *, numbers: Sequence[int], new_from: int, new_max: int, rollups: Sequence[int]
) -> ForcedState:
    """The contract at L1's newest block.

    Args:
        numbers: requests to read.
        new_from: also those from this number on, `new_max` at most.
        rollups: whose missed deadlines are asked for.

    Raises:
        Unavailable: `l1_unreachable`.
        L1Refused: `l1_contract_wrong`: no ForcedInclusion is at this address; others as the client does.
    """
    header = await client.header("latest")
    if header is None:
        raise Unavailable(f"The L1 node at {client.address} has no blocks.", code="l1_unreachable")

    async def views(calls: Sequence[bytes]) -> list[bytes]:
        block = {"blockHash": "0x" + header.hash.hex()}
        target = "0x" + contract.hex()
        asked = [("eth_call", ({"to": target, "data": "0x" + call.hex()}, block)) for call in calls]
        return [as_bytes(found, "a call's result") for found in await client.batch(asked)]

    try:
        heads = [selector("windowS()"), selector("requestCount()")]
        counted = [selector("overdueCount(uint64)") + word(one) for one in rollups]
        window_s, count, *missed = (words_of(one, 1, "ForcedInclusion")[0] for one in await views([*heads, *counted]))
        wanted = sorted(
            {one for one in numbers if one <= count} | set(range(new_from, min(count + 1, new_from + new_max)))
        )
        answers = await views([selector("requestAt(uint256)") + word(one) for one in wanted])
        requests = tuple(_request(number, data) for number, data in zip(wanted, answers, strict=True))
    except L1Refused as error:
        if error.code != "l1_call_refused":
            raise
        raise L1Refused(
            f"The contract 0x{contract.hex()} on L1 does not answer as ForcedInclusion does; check its address.",
            code="l1_contract_wrong",
        ) from error
    return ForcedState(
        time_s=header.timestamp,
        window_s=window_s,
        count=count,
        requests=requests,
        overdue={RollupId(one): found for one, found in zip(rollups, missed, strict=True)},
    )


def _request(number: int, data: bytes) -> ForcedRequest:
    requester, rollup_id, state, deadline, until, l1_block, _, _ = words_of(data, _REQUEST_WORDS, "a request")
    return ForcedRequest(
        number=number,
        requester=address_of_word(requester),
        rollup_id=RollupId(rollup_id),
        state=_STATES[state] if state < len(_STATES) else "none",
        deadline=Seconds(deadline),
        claimed_until=Seconds(until),
        l1_block=BlockNumber(l1_block),
    )


__all__ = ["ForcedRequest", "ForcedState", "read_forced"]
