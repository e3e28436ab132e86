"""For any bundle, reservation or access list that is nearly right: an answer with a stable code, never an internal
error, and nothing of what was refused remains in a pool."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.rpc.authentication import Credentials
from plait.rpc.errors import INTERNAL_ERROR, INVALID_PARAMS
from sim.listening import WALLETS

SETTINGS = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def mostly(good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
    """A good value nine times out of ten, so that a request with many fields is often right as a whole."""
    return st.integers(0, 9).flatmap(lambda chance: st.sampled_from(bad if chance == 0 else good))


def objects(optional: dict[str, Any], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, and any of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


SIGNED = {
    rollup: [
        "0x" + WALLETS[user].sign_1559(rollup, nonce, to=bytes(20), value=1, max_fee_per_gas=10**10).hex()
        for user in (8, 9)
        for nonce in (0, 50)
    ]
    for rollup in (901, 902)
}
EDGES = [2**32, 2**53 - 1, 2**53, 2**64, -1, "1", None]
NUMBERS = mostly([0, 1, 2, 5], EDGES)
SLOTS = mostly([0, 1, 20, 3_000], EDGES)
ROLLUPS = mostly([901, 902], [777, 0, None])
ADDRESSES = mostly(["0x" + "42" * 20, "0x" + "00" * 20], ["0x42", "", None])
QUANTITIES = mostly(["0x0", "0x1", "0x" + "f" * 64], ["0x1" + "0" * 64, "1", "0x", "0x01", 5, None])
DATA = mostly(["0x", "0x12345678"], ["0x" + "00" * 1_025, "0x1", None])
SIGNATURES = mostly(["0x" + "11" * 64 + "00", "0x" + "ff" * 65], ["0x", "0x1", None])
HASHES = mostly(["0x" + "11" * 32], ["0x11", "", None])
TRANSACTIONS = {
    rollup: mostly(raws, ["0x", "0x02", "02", None, *SIGNED[1803 - rollup]]) for rollup, raws in SIGNED.items()
}
COMPARISONS = mostly(["eq", "ge", "lt"], ["is", None])
LEGS = st.sampled_from([901, 902]).flatmap(
    lambda rollup: objects(
        {"allowedReverts": st.lists(NUMBERS, max_size=2)},
        rollupId=st.just(rollup),
        transactions=st.lists(TRANSACTIONS[rollup], min_size=0, max_size=3, unique_by=str),
    )
)
CONDITIONS = st.one_of(
    objects({}, rollupId=ROLLUPS, kind=st.just("balance"), address=ADDRESSES, comparison=COMPARISONS, value=QUANTITIES),
    objects({}, rollupId=ROLLUPS, kind=st.just("storage"), address=ADDRESSES, slot=QUANTITIES, comparison=COMPARISONS,
            value=QUANTITIES),
    objects({"slot": QUANTITIES}, rollupId=ROLLUPS, kind=st.just("call"), address=ADDRESSES, input=DATA,
            comparison=COMPARISONS, value=QUANTITIES),
)  # fmt: skip
PINS = objects({}, rollupId=ROLLUPS, blockNumber=SLOTS, logIndex=NUMBERS)
BUNDLES = objects(
    {
        "notBeforeSlot": SLOTS,
        "deadlineSlot": SLOTS,
        "conditions": st.lists(CONDITIONS, max_size=2),
        "feeBid": objects({}, rollupId=ROLLUPS, amount=QUANTITIES),
        "deliveryRequired": mostly([True, False], [1, None]),
        "pins": st.lists(PINS, max_size=2),
    },
    legs=st.lists(LEGS, min_size=0, max_size=2),
)
OPTIONS = objects({"signature": SIGNATURES, "replaces": HASHES, "reservation": mostly(["0x" + "11" * 16], ["0x", 5])})
BLOCKS = mostly([0, 1, 20, "0x14", "20"], [*EDGES, "0x10000000000000000", "latest", ""])
ETH_TRANSACTIONS = st.lists(TRANSACTIONS[901], max_size=3, unique_by=str)
ETH_BUNDLES = objects(
    {
        "blockNumber": BLOCKS,
        "minBlockNumber": BLOCKS,
        "maxBlockNumber": BLOCKS,
        "minTimestamp": BLOCKS,
        "maxTimestamp": BLOCKS,
        "revertingTxHashes": st.lists(HASHES, max_size=2),
        "replacementUuid": st.text(max_size=70) | st.none(),
    },
    txs=ETH_TRANSACTIONS,
)
ETH_CALLS = objects({"blockNumber": BLOCKS, "stateBlockNumber": BLOCKS, "timestamp": BLOCKS}, txs=ETH_TRANSACTIONS)
RESERVATIONS = objects({}, rollups=st.lists(ROLLUPS, max_size=3), slot=SLOTS)
CHAINS = mostly(["901", "902", 902, "0x385"], ["777", str(2**256), "", None])
DESCRIPTORS = objects({"timeout": BLOCKS}, chainID=CHAINS, timestamp=mostly([1, 2**31, hex(2**31)], EDGES))
LEVELS = mostly(["unsafe", "cross-unsafe", "safe", "finalized"], ["none", None])
LOOKUP = "0x01000000" + (901).to_bytes(8, "big").hex() + "00" * 7 + "01" + "00" * 8 + "00000000"
KEYS = st.lists(
    mostly([LOOKUP, "0x03" + "11" * 31], ["0x02" + "00" * 31, "0x01" + "ff" * 31, "0x03", None]), max_size=4
)
CALLS = st.one_of(
    st.tuples(st.just("plait_sendBundle"), st.tuples(BUNDLES, OPTIONS)),
    st.tuples(st.just("plait_simulateBundle"), st.tuples(BUNDLES)),
    st.tuples(st.just("eth_sendBundle"), st.tuples(ETH_BUNDLES)),
    st.tuples(st.just("eth_callBundle"), st.tuples(ETH_CALLS)),
    st.tuples(st.just("eth_cancelBundle"), st.tuples(objects({}, replacementUuid=st.text(max_size=70)))),
    st.tuples(st.just("plait_reserve"), st.tuples(RESERVATIONS, SIGNATURES)),
    st.tuples(st.just("interop_checkAccessList"), st.tuples(KEYS, LEVELS, DESCRIPTORS)),
    st.tuples(st.just("interop_getBlockHashByNumber"), st.tuples(CHAINS, BLOCKS)),
)
HEADERS = st.none() | st.text(max_size=80) | st.builds(lambda a, s: f"{a}:{s}", ADDRESSES, DATA)


@SETTINGS
@given(call=CALLS, header=HEADERS)
def test_every_answer_has_a_stable_code_or_names_what_is_wrong(node: Any, call: Any, header: str | None) -> None:
    method, params = call
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    before = (len(node.node.bundles), node.node.pool.count)
    endpoint = node.server._rollups[901]
    credentials = None if header is None else Credentials(header, body)
    answering = node.server._dispatcher.answer(endpoint, body, credentials=credentials)
    answer = json.loads(asyncio.run_coroutine_threadsafe(answering, node.loop).result(30))
    error = answer.get("error")
    if error is None:
        return
    assert error["code"] != INTERNAL_ERROR, error
    assert error["message"]
    assert error["code"] == INVALID_PARAMS or error["data"]["code"], error
    assert node.node.pool.count == before[1]
    assert len(node.node.bundles) <= before[0]
