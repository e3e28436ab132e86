"""`plait bundle` and `plait tx` about bundles, deliveries and relays, as a person asks a running devnet."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from test_devnet_process import devnet, plait

from plait.client import Bundle, Client
from plait.interop.messages import CROSS_L2_INBOX, ETH_BRIDGE
from plait.native import keccak256
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from sim.wallet import Wallet

RECIPIENT = bytes([0x5E]) * 20
WALLETS = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]


def signed(user: int, chain_id: int, to: bytes, value: int, data: bytes = b"", *, nonce: int = 0) -> bytes:
    gas = 400_000 if data else 21_000
    return WALLETS[user].sign_1559(
        chain_id, nonce, to=to, value=value, data=data, gas_limit=gas, max_fee_per_gas=10**11
    )


def over_the_bridge(user: int, source: int, destination: int) -> bytes:
    call = keccak256(b"sendETH(address,uint256)")[:4] + RECIPIENT.rjust(32, b"\0") + destination.to_bytes(32, "big")
    return signed(user, source, ETH_BRIDGE, 7, call)


async def shown(*arguments: str, code: int = 0) -> Any:
    ended, text = await plait(*arguments, "--json")
    assert ended == code, text
    return json.loads(text)


@pytest.mark.timeout(420)
async def test_bundles_deliveries_and_relays_are_explained(tmp_path: Path) -> None:
    """A bundle with a delivery, one that fails, and a plain message: commands say what each is, also after a restart,
    as far as the node still knows."""
    data_dir = ("--data-dir", str(tmp_path / "data"))
    async with devnet(*data_dir) as (ready, _):
        url = ("--url", ready["url"])
        async with Client(ready["url"]) as client:
            await client.wait_ready(10)
            while int(await client.at("902").call("eth_blockNumber"), 16) < 1:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.05)  # no message of the first block may be executed
            good = Bundle().leg(901, over_the_bridge(0, 901, 902)).leg(902, signed(0, 902, RECIPIENT, 1)).deliver()
            bad = (
                Bundle().leg(901, signed(1, 901, RECIPIENT, 1)).leg(902, signed(1, 902, CROSS_L2_INBOX, 0, b"\xff" * 4))
            )
            slot = (await client.call("plait_slot"))["clockSlot"]
            late = Bundle().leg(901, signed(3, 901, RECIPIENT, 1, nonce=9)).deadline(slot + 1)
            late_hash = await client.send(late)
            good_hash, bad_hash = await client.send(good), await client.send(bad)
            plain = await client.at("902").call("eth_sendRawTransaction", "0x" + over_the_bridge(2, 902, 901).hex())
        found = await shown("bundle", good_hash, "--wait", "sealed", *url)
        assert [(leg["rollupId"], [one["succeeded"] for one in leg["transactions"]]) for leg in found["legs"]] == [
            (901, [True]), (902, [True])
        ]  # fmt: skip
        ((delivery,),) = [part["transactions"] for part in found["deliveries"]]
        assert delivery["succeeded"]
        code, text = await plait("bundle", good_hash, *url)
        assert code == 0
        assert f"rollup 902, block {found['legs'][1]['blockNumber']}" in text
        assert f"{delivery['hash']}  succeeded" in text

        code, text = await plait("bundle", bad_hash, *url)
        assert (code, "received" in text) == (0, True), text
        assert "failed last transaction 0 of the leg on rollup 902: execution reverted (bundle_leg_failed)" in text
        await shown("bundle", bad_hash, "--wait", "decided", "--timeout", "0.2", *url, code=1)
        code, text = await plait("bundle", late_hash, "--wait", "decided", *url)
        assert (code, "dropped" in text) == (1, True), text
        assert "(bundle_expired)" in text
        code, text = await plait("bundle", "0x" + "11" * 32, *url)
        assert (code, "bundle_unknown" in text) == (1, True), text
        sent = await shown("tx", plain, "--wait", "sealed", *url)
        relayed = await _relay_of(ready["url"], plain, sent["height"])

    leg = good_transactions(found)[0]
    async with devnet(*data_dir) as (ready, _):
        url = ("--url", ready["url"])
        assert "bundle_unknown" in (await plait("bundle", good_hash, *url))[1]
        asked = await shown("tx", leg, *url)
        assert asked["partOf"] == {"kind": "leg", "bundleHash": good_hash}
        assert asked["executes"] == []
        asked = await shown("tx", delivery["hash"], *url)
        assert asked["partOf"] == {"kind": "delivery", "bundleHash": good_hash}
        assert [one["chainId"] for one in asked["executes"]] == [901]
        assert (await shown("tx", plain, *url))["partOf"] == {"kind": "plain", "bundleHash": None}
        code, text = await plait("tx", relayed, *url)
        assert "a relay: " in text
        assert f"of block {sent['blockNumber']} on rollup 902" in text


def good_transactions(found: dict[str, Any]) -> list[str]:
    return [one["hash"] for leg in found["legs"] for one in leg["transactions"]]


async def _relay_of(url: str, plain: str, height: int) -> str:
    """The relay that delivered the message of a plain transaction: in its sub-block."""
    async with Client(url) as client:
        sub_block = await client.call("plait_getSubBlock", height)
    parts = {part["rollupId"]: part for part in sub_block["rollups"]}
    assert plain in parts[902]["transactions"]
    assert parts[901]["relayed"] >= 1
    return str(parts[901]["transactions"][-1])
