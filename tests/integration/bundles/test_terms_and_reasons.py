"""Every kind of term that a bundle may have, over a running node with Plait's client: it holds or the bundle leaves no
trace, and what failed is explained. Scenarios (atomicity): A6 conditions on a rollup without a leg, B1, B2, H4."""

from typing import Any

import pytest

from plait.client import Bundle, BundleDropped, Client, RpcError
from plait.interop.messages import MESSENGER
from plait.native import keccak256
from plait.rollups.contracts import artifact
from sim.listening import WALLETS, Running
from tests.integration.bundles.helpers import ONE, OTHER, TO, calldata, deploy, next_nonce, run, signed, traces

VAULT = "0x4200000000000000000000000000000000000011"


@pytest.fixture(scope="module")
def bench(node: Running) -> bytes:
    """A Workbench on the other rollup, whose counter stands at 0."""
    return deploy(node, 9, OTHER, artifact("Workbench").creation_code)


def pair(node: Running, user: int) -> Bundle:
    """One transfer on each rollup."""
    bundle = Bundle()
    for rollup in (ONE, OTHER):
        bundle.leg(rollup, signed(user, rollup, next_nonce(node, user, rollup)))
    return bundle


def decide(node: Running, bundle: Bundle) -> dict[str, Any]:
    """Its status once it is decided."""

    async def work(client: Client) -> Any:
        await client.send(bundle)
        return await bundle.wait("decided")

    found: dict[str, Any] = run(node, work)
    return found


def fail(node: Running, bundle: Bundle, *users: int) -> tuple[dict[str, Any], BundleDropped]:
    """What its simulation shows and why it is dropped; nothing of it may be seen anywhere."""
    before = traces(node, *users)

    async def work(client: Client) -> Any:
        slot = (await client.call("plait_slot"))["clockSlot"]
        bundle.deadline(slot + 1)
        simulated = await client.simulate(bundle)
        await client.send(bundle)
        with pytest.raises(BundleDropped) as dropped:
            await bundle.wait("decided")
        status = await bundle.status()
        assert status is not None
        for leg in status["legs"]:
            for hash_ in leg["transactions"]:
                rollup = client.at(str(leg["rollupId"]))
                assert await rollup.call("eth_getTransactionByHash", hash_) is None
                assert await rollup.call("plait_getTransactionStatus", hash_) is None
        return simulated, dropped.value

    simulated, dropped = run(node, work)
    assert traces(node, *users) == before
    return simulated, dropped


def test_a_call_condition_reads_a_contract_of_a_rollup_without_a_leg(node: Running, bench: bytes) -> None:
    getter = calldata("counter()")
    address = "0x" + bench.hex()
    bundle = Bundle().leg(ONE, signed(0, ONE, next_nonce(node, 0, ONE)))
    assert decide(node, bundle.require_call(OTHER, address, getter, "eq", 0))["status"] == "decided"
    false = Bundle().leg(ONE, signed(0, ONE, next_nonce(node, 0, ONE))).require_call(OTHER, address, getter, "gt", 0)
    simulated, dropped = fail(node, false, 0)
    assert (simulated["failure"]["code"], simulated["failure"]["rollupId"]) == ("bundle_condition_false", OTHER)
    assert dropped.code == "bundle_expired"
    assert "is 0, which is not gt 0" in dropped.message


def test_a_call_that_reverts_or_returns_too_little_is_a_false_condition(node: Running, bench: bytes) -> None:
    for rollup, to, data in ((OTHER, bench, calldata("revertPlain()")), (ONE, TO, b"")):
        bundle = pair(node, 1).require_call(rollup, "0x" + to.hex(), data, "ge", 0)
        simulated, _ = fail(node, bundle, 1)
        assert simulated["failure"]["code"] == "bundle_condition_false"
        assert "has no result" in simulated["failure"]["sentence"]


def test_a_fee_bid_is_paid_by_priority_fees_or_by_a_transfer_or_nothing_happens(node: Running) -> None:
    paid = Bundle().leg(ONE, signed(2, ONE, next_nonce(node, 2, ONE), max_priority_fee_per_gas=10**9))
    assert decide(node, paid.fee_bid(ONE, 21_000 * 10**9))["status"] == "decided"
    vault = bytes.fromhex(VAULT[2:])
    given = Bundle().leg(OTHER, signed(2, OTHER, next_nonce(node, 2, OTHER), to=vault, value=10**15, gas_limit=60_000))
    assert decide(node, given.fee_bid(OTHER, 10**15))["status"] == "decided"
    simulated, dropped = fail(node, pair(node, 2).fee_bid(ONE, 10**18), 2)
    assert simulated["failure"]["code"] == "bundle_bid_unpaid"
    assert dropped.code == "bundle_expired"
    assert "were bid" in dropped.message


def send_message(node: Running, user: int, target: bytes, data: bytes) -> bytes:
    body = calldata("sendMessage(uint256,address,bytes)", OTHER, target, data)
    nonce = next_nonce(node, user, ONE)
    return signed(user, ONE, nonce, to=MESSENGER, value=0, data=body, gas_limit=300_000)


def test_a_required_delivery_happens_in_the_bundle_and_is_shown(node: Running, bench: bytes) -> None:
    bundle = Bundle().leg(ONE, send_message(node, 3, bench, calldata("count()"))).deliver()
    counted = int(node.call("eth_call", {"to": "0x" + bench.hex(), "data": "0x" + calldata("counter()").hex()},
                            "pending", rollup=OTHER), 16)  # fmt: skip

    async def work(client: Client) -> Any:
        simulated = await client.simulate(bundle)
        await client.send(bundle)
        return simulated, await bundle.wait("sealed")

    simulated, sealed = run(node, work)
    assert simulated["success"], simulated["failure"]
    assert [(m["source"], m["destination"], m["delivered"]) for m in simulated["messages"]] == [(ONE, OTHER, True)]
    assert [delivery["rollupId"] for delivery in simulated["deliveries"]] == [OTHER]
    (delivery,) = sealed["deliveries"]
    receipt = node.call("eth_getTransactionReceipt", delivery["transactions"][0], rollup=OTHER)
    assert (receipt["status"], int(receipt["blockNumber"], 16)) == ("0x1", delivery["blockNumber"])
    after = node.call("eth_call", {"to": "0x" + bench.hex(), "data": "0x" + calldata("counter()").hex()},
                      "pending", rollup=OTHER)  # fmt: skip
    assert int(after, 16) == counted + 1


def test_a_required_delivery_that_fails_undoes_the_sending(node: Running, bench: bytes) -> None:
    bundle = Bundle().leg(ONE, send_message(node, 3, bench, calldata("revertPlain()"))).deliver()
    simulated, dropped = fail(node, bundle, 3)
    assert simulated["failure"]["code"] == "bundle_delivery_failed"
    assert dropped.code == "bundle_expired"


@pytest.mark.parametrize(
    ("call", "reason", "selector"),
    [
        (calldata("revertReason(string)", "no money left"), "no money left", None),
        (calldata("panic(uint256)", 0), "division or modulo by zero", None),
        (calldata("revertCustom(uint256)", 7), "custom error 0x", "Refused(uint256,string)"),
        (calldata("revertPlain()"), None, None),
    ],
)
def test_a_failed_leg_says_code_reason_gas_and_what_the_revert_data_means(
    node: Running, bench: bytes, call: bytes, reason: str | None, selector: str | None
) -> None:
    bundle = Bundle().leg(ONE, signed(4, ONE, next_nonce(node, 4, ONE)))
    bundle.leg(
        OTHER,
        signed(4, OTHER, next_nonce(node, 4, OTHER), to=bench, value=0, data=call, gas_limit=100_000),
    )
    simulated, dropped = fail(node, bundle, 4)
    failed = simulated["legs"][1]["transactions"][0]
    assert (failed["status"], failed["code"]) == ("reverted", "reverted")
    assert 21_000 < failed["gasUsed"] < 100_000
    assert (failed["revertReason"] or "").startswith(reason or "")
    if selector is not None:
        wanted = "0x" + keccak256(selector.encode())[:4].hex()
        assert (failed["errorSelector"], failed["revertReason"]) == (wanted, f"custom error {wanted}")
    assert simulated["legs"][0]["transactions"][0]["status"] == "succeeded"
    assert (dropped.fields["rollup_id"], dropped.fields["index"]) == (OTHER, 0)
    assert (dropped.fields["reason"], dropped.fields["revert_reason"]) == ("reverted", failed["revertReason"])
    assert simulated["failure"]["revertReason"] == failed["revertReason"]
    assert simulated["failure"]["errorSelector"] == failed["errorSelector"]


def test_logs_of_a_leg_are_shown_in_a_simulation(node: Running, bench: bytes) -> None:
    raw = signed(5, OTHER, next_nonce(node, 5, OTHER), to=bench, data=calldata("count()"), gas_limit=100_000)
    simulated = run(node, lambda client: client.simulate(Bundle().leg(OTHER, raw)))
    (log,) = simulated["legs"][0]["transactions"][0]["logs"]
    assert log["address"] == "0x" + bench.hex()
    assert log["topics"][1] == "0x" + WALLETS[5].address.rjust(32, b"\0").hex()


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        (Bundle().leg(ONE, signed(6, ONE, 0)).fee_bid(ONE, 0), "bundle_fee_bid_zero"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).fee_bid(777, 1), "rollup_unknown"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).pin(777, 1, 0), "rollup_unknown"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).pin(ONE, 1, 0).pin(ONE, 2, 0), "bundle_pins_unsorted"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).pin(ONE, 0, 0), "bundle_past_deadline"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).pin(ONE, 5, 0).pin(OTHER, 6, 0), "bundle_window_empty"),
        (Bundle().leg(ONE, signed(6, ONE, 0)).require_call(777, VAULT, b"", "eq", 0), "rollup_unknown"),
        (
            Bundle().leg(ONE, signed(6, ONE, 0)).require_call(ONE, VAULT, bytes(1_025), "eq", 0),
            "bundle_condition_malformed",
        ),
    ],
)  # fmt: skip
def test_terms_that_cannot_be_are_refused_with_a_code_and_a_sentence(node: Running, bundle: Bundle, code: str) -> None:
    before = traces(node, 6)

    async def work(client: Client) -> RpcError:
        with pytest.raises(RpcError) as refused:
            await client.send(bundle)
        return refused.value

    refused = run(node, work)
    assert (refused.code, len(refused.message) > 15) == (code, True)
    assert traces(node, 6) == before


_CONDITION = {"rollupId": ONE, "address": VAULT, "comparison": "eq", "value": "0x0"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": [_CONDITION | {"kind": "call"}]}, "input"),
        ({"conditions": [_CONDITION | {"kind": "balance", "input": "0x"}]}, "input"),
        ({"feeBid": {"rollupId": ONE}}, "amount"),
        ({"feeBid": {"rollupId": ONE, "amount": "5"}}, "0x prefix"),
        ({"pins": [{"rollupId": ONE, "blockNumber": 1, "logIndex": 2**32}]}, "2**32"),
        ({"pins": [{"rollupId": ONE, "blockNumber": -1, "logIndex": 0}]}, "from 0"),
        ({"deliveryRequired": 1}, "bool"),
        ({"nonsense": 1}, "nonsense"),
    ],
)  # fmt: skip
def test_malformed_terms_are_invalid_parameters(node: Running, changes: dict[str, Any], words: str) -> None:
    legs = [{"rollupId": ONE, "transactions": ["0x" + signed(6, ONE, 0).hex()]}]
    error = node.error("plait_sendBundle", {"legs": legs, **changes}, rollup=None)
    assert (error["code"], words in error["message"]) == (-32602, True), error
