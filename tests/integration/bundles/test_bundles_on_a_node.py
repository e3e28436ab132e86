"""Bundles over a running node of two rollups, through its JSON-RPC server and Plait's own client.

Scenarios (atomicity): A1 two legs without messages, B1 a leg that reverts, H4 no leg is shown before it is decided.
"""

import asyncio
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.client import Bundle, BundleDropped, Client
from plait.client.jsonrpc import RpcError
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.listening import WALLETS, Running
from sim.workload import REVERTING_CODE
from tests.integration.bundles.helpers import ONE, OTHER, TO, run, signed


def footprint(node: Running, user: int) -> list[tuple[str, str]]:
    """Nonce and balance of a user and of the recipient on both rollups, in the open blocks."""
    addresses = ["0x" + WALLETS[user].address.hex(), "0x" + TO.hex()]
    return [
        (
            node.call("eth_getTransactionCount", address, "pending", rollup=rollup),
            node.call("eth_getBalance", address, "pending", rollup=rollup),
        )
        for rollup in (ONE, OTHER)
        for address in addresses
    ]


def test_a1_two_legs_are_decided_and_sealed_together(node: Running) -> None:
    async def work(client: Client) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        bundle = Bundle().leg(ONE, signed(0, ONE, 0), signed(0, ONE, 1)).leg(OTHER, signed(0, OTHER, 0))
        simulated = await client.simulate(bundle)
        await client.send(bundle)
        return simulated, await bundle.wait("decided"), await bundle.wait("sealed")

    simulated, decided, sealed = run(node, work)
    assert simulated["success"]
    assert [[t["status"] for t in leg["transactions"]] for leg in simulated["legs"]] == [
        ["succeeded"] * 2,
        ["succeeded"],
    ]
    assert decided["height"] == sealed["height"]
    hashes = {leg["rollupId"]: leg["transactions"] for leg in sealed["legs"]}
    shown = node.call("plait_getSubBlock", sealed["height"], rollup=None)
    assert [entry["bundleHash"] for entry in shown["bundles"]] == [sealed["bundleHash"]]
    for rollup in shown["rollups"]:
        assert rollup["transactions"][: len(hashes[rollup["rollupId"]])] == hashes[rollup["rollupId"]]
    for rollup_id, listed in hashes.items():
        for hash_ in listed:
            assert node.call("eth_getTransactionReceipt", hash_, rollup=rollup_id)["status"] == "0x1"
            proof = node.call("plait_getInclusionProof", rollup_id, hash_, rollup=None)
            assert proof["height"] == sealed["height"]
            assert proof["item"].startswith("0x01" + sealed["bundleHash"][2:])


def test_b1_the_failing_twin_leaves_no_trace(node: Running) -> None:
    before = footprint(node, 1)

    async def work(client: Client) -> tuple[dict[str, Any], BundleDropped]:
        slot = (await client.call("plait_slot"))["clockSlot"]
        reverting = signed(1, OTHER, 0, to=b"", data=REVERTING_CODE, gas_limit=80_000)
        bundle = Bundle().leg(ONE, signed(1, ONE, 0)).leg(OTHER, reverting).deadline(slot + 2)
        simulated = await client.simulate(bundle)
        await client.send(bundle)
        with pytest.raises(BundleDropped) as dropped:
            await bundle.wait("decided")
        return simulated, dropped.value

    simulated, dropped = run(node, work)
    assert (simulated["success"], simulated["failure"]["code"]) == (False, "bundle_leg_failed")
    assert (simulated["failure"]["rollupId"], simulated["failure"]["reason"]) == (OTHER, "reverted")
    assert dropped.code == "bundle_expired"
    assert (dropped.fields["rollup_id"], dropped.fields["index"]) == (OTHER, 0)
    assert footprint(node, 1) == before


def test_h4_a_waiting_bundle_is_in_no_public_answer_and_only_its_sender_ends_it(node: Running) -> None:
    async def work(client: Client) -> None:
        slot = (await client.call("plait_slot"))["clockSlot"]
        raws = {ONE: signed(2, ONE, 0), OTHER: signed(2, OTHER, 0)}
        bundle = Bundle().leg(ONE, raws[ONE]).leg(OTHER, raws[OTHER]).not_before(slot + 1_000).deadline(slot + 1_100)
        hash_ = await client.send(bundle)
        status = await bundle.status()
        assert status is not None
        assert status["status"] == "received"
        for leg in status["legs"]:
            rollup = client.at(str(leg["rollupId"]))
            assert await rollup.call("eth_getTransactionByHash", leg["transactions"][0]) is None
            assert await rollup.call("plait_getTransactionStatus", leg["transactions"][0]) is None
            assert (await rollup.call("txpool_status"))["pending"] == "0x0"
        text = encode_defunct(text=f"Plait: cancel bundle {hash_}")
        for key, allowed in ((b"\x55" * 32, False), (DEVELOPMENT_ACCOUNTS[2].private_key, True)):
            signature = bytes(Account.sign_message(text, key).signature)
            if not allowed:
                with pytest.raises(RpcError) as refused:
                    await client.cancel(hash_, signature)
                assert refused.value.code == "bundle_signature_wrong"
            else:
                await client.cancel(hash_, signature)
        with pytest.raises(BundleDropped) as dropped:
            await bundle.wait("decided")
        assert dropped.value.code == "bundle_cancelled"

    run(node, work)


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        (Bundle(), "bundle_no_legs"),
        (Bundle().leg(777, b"\x02"), "rollup_unknown"),
        (Bundle().leg(ONE), "bundle_leg_empty"),
        (Bundle().leg(ONE, *[signed(3, ONE, n) for n in range(17)]), "bundle_too_many_transactions"),
        (Bundle().leg(ONE, b"\x02\xc0"), "rlp_malformed"),
        (Bundle().leg(ONE, signed(3, OTHER, 0)), "chain_id_wrong"),
        (Bundle().leg(ONE, signed(3, ONE, 0)).deadline(0), "bundle_past_deadline"),
        (Bundle().leg(ONE, signed(3, ONE, 0)).deadline(10**9), "bundle_deadline_too_far"),
        (Bundle().leg(ONE, signed(3, ONE, 0)).not_before(9).deadline(8), "bundle_window_empty"),
        (Bundle().leg(ONE, signed(3, ONE, 0, value=10**30)), "insufficient_funds"),
        (Bundle().leg(ONE, signed(3, ONE, 0, gas_limit=10**8)), "bundle_gas_exceeds_block"),
    ],
)
def test_each_refusal_has_its_code_and_a_sentence(node: Running, bundle: Bundle, code: str) -> None:
    async def work(client: Client) -> RpcError:
        with pytest.raises(RpcError) as refused:
            await client.send(bundle)
        return refused.value

    refused = run(node, work)
    assert refused.code == code
    assert len(refused.message) > 15


def test_a_subscription_tells_every_level(node: Running) -> None:
    async def work(client: Client) -> list[str]:
        slot = (await client.call("plait_slot"))["clockSlot"]
        bundle = Bundle().leg(ONE, signed(4, ONE, 0)).leg(OTHER, signed(4, OTHER, 0))
        bundle.not_before(slot + 2).deadline(slot + 20)
        await client.send(bundle)
        heard: list[str] = []
        async for told in client.subscribe("plait_subscribe", "bundles", bundle.hash):
            heard.append(told["status"])
            if told["status"] in {"sealed", "dropped"}:
                break
        return heard

    assert run(node, work) == ["decided", "sealed"]


def test_a_subscription_tells_why_trials_fail_and_why_it_was_dropped(node: Running) -> None:
    async def work(client: Client) -> list[tuple[str, str | None]]:
        slot = (await client.call("plait_slot"))["clockSlot"]
        reverting = signed(5, OTHER, 0, to=b"", data=REVERTING_CODE, gas_limit=80_000)
        bundle = Bundle().leg(ONE, signed(5, ONE, 0)).leg(OTHER, reverting).not_before(slot + 2).deadline(slot + 3)
        await client.send(bundle)
        heard: list[tuple[str, str | None]] = []
        async for told in client.subscribe("plait_subscribe", "bundles", bundle.hash):
            why = told.get("lastFailure") or told.get("dropped") or {"code": None}
            heard.append((told["status"], why["code"]))
            if told["status"] == "dropped":
                break
        return heard

    heard = run(node, work)
    assert heard[0] == ("received", "bundle_leg_failed")
    assert heard[-1] == ("dropped", "bundle_expired")
    assert 2 <= len(heard) <= 8, "trials grow rare"


def test_h4_nobody_who_watches_pending_transactions_sees_a_leg(node: Running) -> None:
    async def work(client: Client) -> None:
        watched = {}
        for rollup in (ONE, OTHER):
            at = client.at(str(rollup))
            watched[rollup] = (at, await at.call("eth_newPendingTransactionFilter"))
        slot = (await client.call("plait_slot"))["clockSlot"]
        legs = {rollup: signed(6, rollup, 0) for rollup in (ONE, OTHER)}
        waiting = Bundle().leg(ONE, legs[ONE]).leg(OTHER, legs[OTHER]).not_before(slot + 2)
        refused = Bundle().leg(ONE, signed(6, ONE, 1)).leg(OTHER, signed(6, OTHER, 1, value=10**30))
        await client.send(waiting)
        with pytest.raises(RpcError, match="may cost"):
            await client.send(refused)
        await client.simulate(waiting)
        address = "0x" + WALLETS[6].address.hex()
        while (await waiting.status() or {})["status"] == "received":
            for at, filter_ in watched.values():
                assert await at.call("eth_getFilterChanges", filter_) == []
                assert (await at.call("txpool_contentFrom", address)) == {"pending": {}, "queued": {}}
            await asyncio.sleep(0.1)
        assert (await waiting.wait("decided"))["status"] in {"decided", "sealed"}
        for at, filter_ in watched.values():
            assert await at.call("eth_getFilterChanges", filter_) == []

    run(node, work)
