"""A node that orders a rollup whose state an unmodified op-geth holds, beside one whose state is here, while op-geth is
slow, does not answer, answers nonsense or lies (a proxy in front of it):

    - the local rollup does not notice: its transactions are decided as fast as ever, the event loop answers at once
    - slots go on, and with them the remote rollup's blocks; what lacks state waits, and says so with its code; a bundle
      over both rollups waits as a whole
    - every method about state answers, or fails with a code, and no read ever runs on the event loop
    - with op-geth back everything that waited takes place, and op-geth accepts the blocks

The network is founded in memory, on op-geth's genesis block, because founding over chains with an L1 is tested
elsewhere; everything else is the real node with its server.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from failing_proxy import FailingProxy, Mood
from opgeth_node import OpGeth, can_build

import plait.node.node as node_module
from plait.native import PENDING, NativeError, Rollup, Store, keccak256
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, embedded_genesis
from plait.node.genesis import genesis_ledger
from plait.node.joined import NodeSource
from plait.node.node import Node, Stored
from plait.node.restore import Restored
from plait.protocol.application import Application
from plait.rollups.opstack.remote_state import RpcStateReader
from plait.rpc import RpcConfig, serve
from plait.types import Hash32, Height, RollupId
from sim.listening import WALLETS, Running
from sim.remote import KEEPER, KEEPER_CODE

pytestmark = [pytest.mark.opgeth, pytest.mark.slow]

REMOTE, LOCAL = RollupId(901), RollupId(902)
SLOTS = 400
PROMPT_S = 1.5
"""Within which a local transaction is decided: sub-blocks come every 200 ms."""
LOOP_S = 0.4
"""Within which the event loop answers, on a busy machine."""


MOODS: tuple[Mood, ...] = ("refuse", "cut", "lie", "error", "status")


def stranger_of(number: int) -> str:
    """An account that nobody looks at."""
    return keccak256(number.to_bytes(4, "big"))[:20].hex()


class WatchedReader(RpcStateReader):
    """Counts the threads that read."""

    def __init__(self, url: str) -> None:
        super().__init__(url, newest=True)
        self.threads: Counter[str] = Counter()

    def read(self, *args: Any) -> Any:
        self.threads[threading.current_thread().name.rstrip("_0123456789")] += 1
        return super().read(*args)


class Rig:
    """The running node, op-geth's proxy and the reader between them."""

    def __init__(self, running: Running, op_geth: OpGeth, proxy: FailingProxy, reader: WatchedReader) -> None:
        self.node, self.op_geth, self.proxy, self.reader = running, op_geth, proxy, reader
        self.used = 0

    def slots(self, count: int) -> list[int]:
        """Slots of the keeper that nobody used, and of which this node knows nothing by now: what stands beside a
        deletion is looked at, too."""
        native, found = self.node.node.rollups[REMOTE].native, list[int]()
        before, self.proxy.mood = self.proxy.mood, "refuse"
        while len(found) < count:
            try:
                native.storage(bytes(KEEPER), self.used.to_bytes(32, "big"), PENDING)
            except NativeError:
                found.append(self.used)
            self.used += 1
        self.proxy.mood = before
        return found

    def keep(self, user: int, slot: int, value: int = 0) -> str:
        """Deletes, or writes, a slot."""
        data = slot.to_bytes(32, "big") + value.to_bytes(32, "big")
        return self.node.signed(user, rollup=REMOTE, to=bytes(KEEPER), data=data, value=0, gas_limit=100_000)

    def status(self, hash_: str, rollup: int) -> dict[str, Any]:
        return self.node.call("plait_getTransactionStatus", hash_, rollup, rollup=None) or {}

    def wait(self, hash_: str, rollup: int, seconds: float) -> float:
        """Seconds until a transaction is decided."""
        started = time.monotonic()
        while (status := self.status(hash_, rollup)).get("level") in {None, "received"}:
            assert status.get("status") != "dropped", status
            assert time.monotonic() - started < seconds, status
            time.sleep(0.02)
        return time.monotonic() - started

    def local_is_prompt(self, count: int = 3) -> None:
        for _ in range(count):
            started = time.monotonic()
            assert self.node.call("eth_chainId", rollup=REMOTE) == hex(REMOTE)
            assert time.monotonic() - started < LOOP_S
            hash_ = self.node.call("eth_sendRawTransaction", self.node.signed(1, rollup=LOCAL), rollup=LOCAL)
            assert self.wait(hash_, LOCAL, PROMPT_S) < PROMPT_S

    def height_of(self, rollup: int) -> int:
        return int(self.node.call("eth_blockNumber", rollup=rollup), 16)


def network_and_genesis() -> tuple[NetworkConfig, dict[RollupId, bytes]]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 1,
        sub_blocks_per_slot=5,
        rollups=(RollupConfig(chain_id=901), RollupConfig(chain_id=902)),
    )
    genesis = dict(embedded_genesis(network))
    data = json.loads(genesis[REMOTE])
    slots = {f"0x{number:064x}": f"0x{number + 1:064x}" for number in range(SLOTS)}
    data["alloc"][KEEPER.hex()] = {"balance": "0x0", "code": "0x" + KEEPER_CODE.hex(), "storage": slots}
    for number in range(300):
        data["alloc"][stranger_of(number)] = {"balance": hex(number + 1)}
    genesis[REMOTE] = json.dumps(data).encode()
    return network, genesis


async def _serve(
    network: NetworkConfig, genesis: dict[RollupId, bytes], box: list[Running], ready: threading.Event,
    stop: threading.Event,
) -> None:  # fmt: skip
    async with (
        Node.start(network, NodeConfig(log_level="error"), genesis=genesis) as node,
        serve(node, RpcConfig(port=0, rollup_port_base=0)) as server,
    ):
        box.append(Running(node, server, asyncio.get_running_loop()))
        ready.set()
        await asyncio.to_thread(stop.wait)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if not can_build():
        if os.environ.get("CI"):
            pytest.fail("CI must have Go to build op-geth, and has not")
        pytest.skip("op-geth is not in the cache and Go is not installed to build it")
    network, genesis = network_and_genesis()
    directory: Path = tmp_path_factory.mktemp("failing")
    with OpGeth(genesis[REMOTE], directory) as op_geth, FailingProxy(op_geth.eth._connection.port) as proxy:
        reader = WatchedReader(proxy.url)

        def founded(config: NodeConfig, stored: Stored, source: NodeSource) -> Restored:
            del config
            store = Store.in_memory()
            whole = Rollup.from_genesis(genesis[REMOTE], Store.in_memory())
            header = whole.raw_header(0)
            assert header is not None
            rollups = {
                REMOTE: Rollup.remote(genesis[REMOTE], store, header, reader, genesis_hash=whole.genesis_hash),
                LOCAL: Rollup.from_genesis(genesis[LOCAL], store),
            }
            ledger = genesis_ledger(stored.network, {i: Hash32(one.genesis_hash) for i, one in rollups.items()})
            application = Application(ledger, rollups, source, store=store)
            return Restored(
                application=application, store=store, snapshot_height=Height(0), replayed_heights=0,
                replayed_transactions=0, seconds=0.0, skipped=(),
            )  # fmt: skip

        patch = pytest.MonkeyPatch()
        patch.setattr(node_module, "_restore", founded)
        box: list[Running] = []
        ready, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(_serve(network, genesis, box, ready, stop)), daemon=True)
        thread.start()
        try:
            assert ready.wait(60), "the node did not start"
            yield Rig(box[0], op_geth, proxy, reader)
        finally:
            proxy.mood = "ok"
            stop.set()
            thread.join(30)
            patch.undo()
            reader.close()
        assert not thread.is_alive(), "the node did not stop"


@pytest.fixture(autouse=True)
def _well(rig: Rig) -> Iterator[None]:
    rig.proxy.mood = "ok"
    deadline = time.monotonic() + 20
    while rig.height_of(REMOTE) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    yield
    rig.proxy.mood = "ok"
    allowed = {"plait-solo", "plait-ahead", "rpc-remote", threading.main_thread().name}
    assert rig.reader.threads.keys() <= allowed, rig.reader.threads


def bundle(rig: Rig, slots: Sequence[int]) -> dict[str, Any]:
    return {
        "legs": [
            {"rollupId": REMOTE, "transactions": [rig.keep(2, slots[0]), rig.keep(2, slots[1], 5)]},
            {"rollupId": LOCAL, "transactions": [rig.node.signed(2, rollup=LOCAL)]},
        ]
    }


def bundle_status(rig: Rig, hash_: str) -> dict[str, Any]:
    found: dict[str, Any] = rig.node.call("plait_getBundle", hash_, rollup=None)
    return found


def await_bundle(rig: Rig, hash_: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (status := bundle_status(rig, hash_))["status"] == "received":
        assert time.monotonic() < end, status
        time.sleep(0.05)
    assert status["status"] in {"decided", "sealed"}, status


def test_what_was_read_ahead_costs_a_proposal_no_request(rig: Rig) -> None:
    hashes = [rig.node.call("eth_sendRawTransaction", rig.keep(0, slot), rollup=REMOTE) for slot in rig.slots(8)]
    before = rig.reader.threads["plait-solo"]
    found = rig.node.call("plait_sendBundle", bundle(rig, rig.slots(2)), rollup=None)
    waits = [rig.wait(hash_, REMOTE, 5) for hash_ in hashes]
    await_bundle(rig, found["bundleHash"], 10)
    print(f"longest wait {max(waits):.3f} s, reads {dict(rig.reader.threads)}, requests {rig.proxy.requests}")
    assert rig.reader.threads["plait-solo"] == before, "the engine asked the node itself"


def test_a_slow_node_delays_what_needs_it_and_nothing_else(rig: Rig) -> None:
    slots = rig.slots(6)
    rig.proxy.mood, rig.proxy.delay_s = "slow", 0.7
    height = rig.height_of(REMOTE)
    started = time.monotonic()
    sent: list[str] = []
    sender = threading.Thread(
        target=lambda: sent.extend(
            rig.node.call("eth_sendRawTransaction", rig.keep(3, slot), rollup=REMOTE) for slot in slots[:4]
        )
    )
    sender.start()
    asked = [
        threading.Thread(
            target=lambda number=number: rig.node.answer(
                {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "eth_getBalance",
                    "params": ["0x" + stranger_of(number), "pending"],
                },
                rollup=REMOTE,
            )
        )
        for number in range(100, 140)
    ]
    for thread in asked:
        thread.start()
    rig.local_is_prompt(6)
    for thread in (sender, *asked):
        thread.join(30)
    found = rig.node.call("plait_sendBundle", bundle(rig, slots[4:]), rollup=None)
    for hash_ in sent:
        rig.wait(hash_, REMOTE, 30)
    await_bundle(rig, found["bundleHash"], 40)
    seconds = time.monotonic() - started
    print(f"decided with a node that takes 0.7 s for each answer after {seconds:.1f} s")
    assert rig.height_of(REMOTE) >= height + int(seconds) - 2, "slots kept their time"


@pytest.mark.parametrize("mood", MOODS)
def test_what_lacks_state_waits_with_its_code_and_takes_place_when_the_node_is_back(rig: Rig, mood: Mood) -> None:
    slots = rig.slots(4)
    balance = rig.node.call("eth_getBalance", "0x" + WALLETS[0].address.hex(), "latest", rollup=REMOTE)
    rig.node.call("eth_getBalance", "0x" + WALLETS[4].address.hex(), "latest", rollup=REMOTE)
    rig.proxy.mood = mood
    height, slot_before = rig.height_of(REMOTE), rig.node.node.info().slot
    waiting = rig.node.call("eth_sendRawTransaction", rig.keep(4, slots[0]), rollup=REMOTE)
    found = rig.node.call("plait_sendBundle", bundle(rig, slots[2:]), rollup=None)["bundleHash"]
    codes = {"remote_unavailable", "remote_proof_wrong"}
    end = time.monotonic() + 10
    while "waitsFor" not in (status := rig.status(waiting, REMOTE)) or "lastFailure" not in bundle_status(rig, found):
        assert time.monotonic() < end, (status, bundle_status(rig, found))
        time.sleep(0.05)
    assert status["waitsFor"]["code"] in codes
    assert bundle_status(rig, found)["lastFailure"]["code"] in codes
    assert bundle_status(rig, found)["failedTrials"] == 0, "nobody is charged for a node's failure"
    rig.local_is_prompt()
    # known state is read as ever; unknown state is an error with its code and a sentence
    assert rig.node.call("eth_getBalance", "0x" + WALLETS[0].address.hex(), "latest", rollup=REMOTE) <= balance
    place = MOODS.index(mood)
    stranger = "0x" + stranger_of(place)
    data = "0x" + (SLOTS - 1 - len(mood)).to_bytes(32, "big").hex()
    for method, params in (
        ("eth_getBalance", [stranger, "latest"]),
        ("eth_getTransactionCount", [stranger, "pending"]),
        ("eth_getCode", [stranger, "latest"]),
        ("eth_getStorageAt", ["0x" + KEEPER.hex(), data, "latest"]),
        ("eth_getProof", [stranger, [], "latest"]),
        ("eth_call", [{"to": stranger, "data": "0x01"}, "latest"]),
        ("eth_estimateGas", [{"from": stranger, "to": stranger}]),
        ("eth_createAccessList", [{"from": stranger, "to": stranger}]),
        ("debug_traceCall", [{"to": stranger}, "latest", {}]),
    ):
        error = rig.node.error(method, *params, rollup=REMOTE)
        assert error["data"]["code"] in codes, (method, error)
        assert len(error["message"]) > 10, method
    unknown = WALLETS[5 + place]
    raw = "0x" + unknown.sign_1559(REMOTE, 0, to=bytes(20), value=1).hex()
    assert rig.node.error("eth_sendRawTransaction", raw, rollup=REMOTE)["data"]["code"] in codes
    time.sleep(1.5)
    assert rig.status(waiting, REMOTE)["level"] == "received"
    assert bundle_status(rig, found)["status"] == "received"
    assert rig.node.node.info().slot >= slot_before + 2, "slots go on"
    assert rig.height_of(REMOTE) >= height + 1, "and the remote rollup's blocks"
    rig.proxy.mood = "ok"
    rig.wait(waiting, REMOTE, 20)
    await_bundle(rig, found, 20)
    assert rig.node.call("eth_getBalance", stranger, "latest", rollup=REMOTE) == hex(place + 1)
    assert rig.node.call("eth_sendRawTransaction", raw, rollup=REMOTE)


def test_every_state_method_answers(rig: Rig) -> None:
    account, slot = "0x" + KEEPER.hex(), "0x" + (SLOTS - 1).to_bytes(32, "big").hex()
    node = rig.node
    assert int(node.call("eth_getStorageAt", account, slot, "latest", rollup=REMOTE), 16) == SLOTS
    assert node.call("eth_getCode", account, "pending", rollup=REMOTE) == "0x" + KEEPER_CODE.hex()
    proof = node.call("eth_getProof", account, [slot], "latest", rollup=REMOTE)
    assert int(proof["storageProof"][0]["value"], 16) == SLOTS
    data = "0x" + bytes(31).hex() + "ff" + bytes(32).hex()
    assert node.call("eth_call", {"to": account, "data": data}, "latest", rollup=REMOTE) == "0x"
    assert int(node.call("eth_estimateGas", {"to": account, "data": data}, rollup=REMOTE), 16) > 21_000
    listed = node.call("eth_createAccessList", {"to": account, "data": data}, rollup=REMOTE)
    assert [entry["address"] for entry in listed["accessList"]] == [account]
    traced = node.call("debug_traceCall", {"to": account, "data": data}, "latest", {}, rollup=REMOTE)
    assert traced["to"] == account
    block = node.call("eth_getBlockByNumber", "latest", True, rollup=REMOTE)
    assert node.call("debug_traceTransaction", block["transactions"][0]["hash"], {}, rollup=REMOTE)["type"] == "CALL"
    simulated = node.call("plait_simulateBundle", bundle(rig, rig.slots(2)), rollup=None)
    assert simulated["success"], simulated
    for user in (2,):  # the simulated ones were never sent
        node.nonces[REMOTE, user] -= 2
        node.nonces[LOCAL, user] -= 1


def test_op_geth_accepts_every_block(rig: Rig) -> None:
    native = rig.node.node.rollups[REMOTE].native
    head = native.head.number
    assert head > 10
    for number in range(1, head + 1):
        status = rig.op_geth.insert(*native.execution_payload_json(number))
        assert status["status"] == "VALID", status
        header = native.raw_header(number)
        assert header is not None
        rig.op_geth.adopt(keccak256(header))
    for user in (0, 2, 3, 4):
        account = "0x" + WALLETS[user].address.hex()
        theirs = rig.op_geth.eth.call("eth_getBalance", account, hex(head))
        assert rig.node.call("eth_getBalance", account, hex(head), rollup=REMOTE) == theirs
    # its newest block is another now, and what was never looked at is still as it was
    unknown = rig.slots(1)[0]
    word = "0x" + unknown.to_bytes(32, "big").hex()
    assert int(rig.node.call("eth_getStorageAt", "0x" + KEEPER.hex(), word, "latest", rollup=REMOTE), 16) == unknown + 1
