"""Programs die, L1 takes blocks back, the sequencer is away for too long: each ends with one chain that everybody has.

What is asked after every fault: nothing that was safe (or, when L1 itself went back, final) has changed; what was lost
above is named in the node's log, block by block; whatever is there now becomes safe with an unmodified op-node.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from rebuilt import rebuilt
from running_opstack import Running, blocks, call, cast, running_opstack, until

from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.opstack.founding import BATCHER
from sim.wallet import Wallet

pytestmark = [pytest.mark.slow, pytest.mark.opgeth, pytest.mark.node_js]
FAST = ("--l1-block-time", "1")
USER = Wallet(DEVELOPMENT_ACCOUNTS[5].private_key)
L1_BLOCK, L1_BLOCK_NUMBER = "0x4200000000000000000000000000000000000015", "0x8381f58a"
"""The predeploy that restates the L1 origin, and its method number()."""
RECIPIENT = "0x00000000000000000000000000000000000000d1"


async def test_killed_programs_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    """op-geth killed, anvil stopped, the node killed between a batch transaction and its receipt."""
    async with running_opstack(tmp_path / "net", *FAST) as network:
        await network.safe_reaches([4, 4], 40)

        await network.tell("kill", name="op-geth-901-engine")
        head = await network.head(1)
        await network.heads_reach(head + 3, 20)  # neither rollup waits for an engine
        reasons = (await network.status())["reasons"]
        assert any("Engine of rollup 901" in one for one in reasons), f"nobody is told of the engine: {reasons}"
        await network.tell("start", name="op-geth-901-engine")
        await network.require_engines_follow()

        before = await _kept(network, "safe")
        await network.tell("stop", name="l1")
        await asyncio.sleep(3)
        assert (await network.status())["reasons"], "nobody is told of the L1"
        await network.tell("start", name="l1")
        await network.require_derived(seconds=60)
        await _require_kept(network, before)

        before = await _kept(network, "safe")
        await until(lambda: _batch_waits(network), seconds=20, what="a batch waits for its L1 block")
        await network.tell("kill", name="plait")
        await asyncio.sleep(2)
        await network.tell("start", name="plait")
        await network.require_derived(seconds=60)
        await _require_kept(network, before)
        await network.require_engines_follow()
        assert _unwound(network) == [], "none of these faults takes a block back"


async def test_a_reorganisation_of_five_l1_blocks_takes_back_what_hung_on_them_and_names_it(tmp_path: Path) -> None:
    """The blocks of L1 that are final stay, so do the rollups' final blocks; the rest is built and posted again."""
    # L1 blocks of two seconds: with one a second, origins would stay as far behind as they were when the node began.
    async with running_opstack(tmp_path / "net", "--l1-block-time", "2", "--l1-epoch", "4") as network:
        await network.safe_reaches([24, 24], 60)
        await until(lambda: _origins_are_new(network), seconds=60, what="origins are at most three blocks old")
        await _send(network, 0)
        final = await _kept(network, "finalized")
        before = [await blocks(one["plaitUrl"], 0, await network.head(at)) for at, one in enumerate(network.rollups)]
        await network.l1("anvil_reorg", 5, [])

        await until(lambda: _gone_back(network, before), seconds=30, what="blocks are taken back", state=network.status)
        heads = [len(one) + 5 for one in before]
        await network.heads_reach(max(heads), 60)
        await network.require_derived(seconds=60)
        await _require_kept(network, final)
        await network.require_engines_follow()
        assert await _require_losses_named(network, before), "nothing was taken back"
        assert int(cast("balance", RECIPIENT, "--rpc-url", network.rollups[0]["verifierUrl"])) == 1, (
            "the transfer of a block that was taken back is in a block again"
        )


async def test_the_chain_goes_on_without_its_sequencer_and_a_deposit_is_forced_in(tmp_path: Path) -> None:
    """The sequencer is away for longer than its window: op-node derives the deposit, and the node adopts the blocks."""
    async with running_opstack(tmp_path / "net", *FAST, "--window", "8") as network:
        await network.safe_reaches([6, 6], 60)
        safe = await _kept(network, "safe")
        await _send(network, 0)
        before = [await blocks(one["plaitUrl"], 0, await network.head(at)) for at, one in enumerate(network.rollups)]
        await network.tell("kill", name="plait")
        depositor = DEVELOPMENT_ACCOUNTS[3]
        rollup = network.rollups[0]
        start = int(cast("balance", depositor.address_text, "--rpc-url", rollup["verifierUrl"]))
        cast(
            "send", rollup["portal"], "--value", "1ether", "--private-key", "0x" + depositor.private_key.hex(),
            "--rpc-url", network.l1_url,
        )  # fmt: skip

        async def arrived() -> bool:
            found = await call(rollup["verifierUrl"], "eth_getBalance", depositor.address_text, "latest")
            return int(found, 16) - start == 10**18

        await until(arrived, seconds=60, what="op-node forces the deposit in", state=network.status)
        derived = [await network.safe(at) for at in range(2)]
        forced = [await blocks(one["verifierUrl"], 0, derived[at]) for at, one in enumerate(network.rollups)]
        await network.tell("start", name="plait")
        await network.heads_reach(max(derived) + 5, 60)
        await network.require_derived(seconds=60)
        await _require_kept(network, safe)
        await _require_kept(network, forced)
        await _require_losses_named(network, before)
        await network.require_engines_follow()
        home = tmp_path / "net" / str(rollup["chainId"])
        found = await rebuilt(home, network.l1_url, network.beacon_url, rollup["plaitUrl"])
        assert found["blocks_without_batch"] > 0, found
        assert found["blocks"] >= derived[0], found


# ---------------------------------------------------------------- what is asked
async def _kept(network: Running, level: str) -> list[list[str]]:
    """Hashes of all blocks up to this level, of every rollup, as the verifier has them."""
    found = []
    for at, rollup in enumerate(network.rollups):
        number = await (network.safe(at) if level == "safe" else network.finalized(at))
        found.append(await blocks(rollup["verifierUrl"], 0, number))
    return found


async def _require_kept(network: Running, before: list[list[str]]) -> None:
    for rollup, hashes in zip(network.rollups, before, strict=True):
        for name in ("plaitUrl", "verifierUrl"):
            now = await blocks(rollup[name], 0, len(hashes) - 1)
            assert now == hashes, f"rollup {rollup['chainId']}: {name} changed a block that had to stay"


def _unwound(network: Running) -> list[dict[str, Any]]:
    """What the node's log says was taken back."""
    found = []
    for line in (network.directory / "node" / "node.log").read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "unwound":
            found.append(event)
    return found


async def _gone_back(network: Running, before: list[list[str]]) -> bool:
    """Whether every rollup has another block now at the end of what it had."""
    for rollup, hashes in zip(network.rollups, before, strict=True):
        found = await call(rollup["plaitUrl"], "eth_getBlockByNumber", hex(len(hashes) - 1), False)
        if found is None or found["hash"] == hashes[-1]:
            return False
    return True


async def _require_losses_named(network: Running, before: list[list[str]]) -> int:
    """Every block that is no more is in the log, with its hash and number: how many there are."""
    count = 0
    named: dict[str, int] = {}
    for event in _unwound(network):
        named |= {hash_: event["first_lost"] + at for at, hash_ in enumerate(event["blocks"])}
    for rollup, hashes in zip(network.rollups, before, strict=True):
        now = await blocks(rollup["plaitUrl"], 0, len(hashes) - 1)
        lost = {hash_: number for number, hash_ in enumerate(hashes) if now[number] != hash_}
        count += len(lost)
        assert lost.items() <= named.items(), f"rollup {rollup['chainId']}: not all of {lost} are named"
    return count


async def _origins_are_new(network: Running) -> bool:
    """Whether a reorganisation of five blocks would take back the newest blocks of every rollup."""
    head = int(await network.l1("eth_blockNumber"), 16)
    origins = [
        int(await call(rollup["plaitUrl"], "eth_call", {"to": L1_BLOCK, "data": L1_BLOCK_NUMBER}, "latest"), 16)
        for rollup in network.rollups
    ]
    return head - min(origins) <= 3


async def _batch_waits(network: Running) -> bool:
    counts = [
        int(await network.l1("eth_getTransactionCount", BATCHER.address_text, tag), 16) for tag in ("latest", "pending")
    ]
    return counts[1] > counts[0]


async def _send(network: Running, at: int) -> str:
    """A transfer of one wei that is in a sealed block when this returns: its hash."""
    rollup = network.rollups[at]
    nonce = int(await call(rollup["plaitUrl"], "eth_getTransactionCount", "0x" + USER.address.hex(), "pending"), 16)
    raw = USER.sign_1559(rollup["chainId"], nonce, to=bytes.fromhex(RECIPIENT[2:]), value=1, max_fee_per_gas=10**11)
    sent = await call(rollup["plaitUrl"], "eth_sendRawTransaction", "0x" + raw.hex())

    async def sealed() -> bool:
        return await call(rollup["plaitUrl"], "eth_getTransactionReceipt", sent) is not None

    await until(sealed, seconds=20, what="a transfer is sealed")
    return str(sent)
