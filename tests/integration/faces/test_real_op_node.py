"""An unmodified op-node v1.16.11 that sequences: it asks our conductor face, and builds through our boost face.

The network's side is the native core: it seals a block for the attributes that op-node asks for, as the network does
once it has agreed on the same L1 origin. Everything between is real: op-node, op-geth, anvil, HTTP, tokens.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from op_node import can_build, until

from plait.client import Client
from plait.client.jsonrpc import RpcError
from plait.derivation.rollup_config import decode_rollup_json
from plait.native import Attributes, Rollup, Store, Transaction, decode_transactions
from plait.node.bus import EffectBus
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.faces.boost import Boost
from plait.rollups.opstack.faces.service import Faces, showing
from plait.rollups.opstack.faces.settings import BoostSettings, ConductorMode, ConductorSettings, FacesSettings
from plait.testnet.opstack.founding import Founding
from plait.testnet.opstack.layout import PortPlan
from plait.testnet.opstack.processes import Process
from plait.testnet.opstack.programs import find_programs
from plait.testnet.opstack.supervisor import HOST, OpStack
from plait.types import RollupId
from sim.wallet import Wallet

pytestmark = [pytest.mark.opgeth, pytest.mark.node_js, pytest.mark.slow]

WALLET = Wallet(DEVELOPMENT_ACCOUNTS[0].private_key)


class Network:
    """What the faces see of a node: one rollup that the native core builds, block by block, when op-node asks."""

    def __init__(self, rollup: Rollup, *, orders: bool) -> None:
        self.native = rollup
        self.bus = EffectBus()
        self.bundles = SimpleNamespace(listen=lambda _listener: None)
        self.waiting: list[bytes] = []
        handle = SimpleNamespace(native=rollup, parameters=None, is_active=orders)
        self.rollups = {RollupId(rollup.chain_id): handle}

    async def build(self, face: Boost) -> None:
        """Seals a block for each request, until cancelled."""
        seen: set[str] = set()
        while True:
            for identity, asked in list(face._builds.items()):
                parent = bytes.fromhex(asked.state["headBlockHash"][2:])
                if identity not in seen and parent == self.native.head.hash:
                    self._seal(asked.attributes)
                seen.add(identity)
            await asyncio.sleep(0.01)

    def _seal(self, asked: dict[str, Any]) -> None:
        parameters = bytes.fromhex(asked["eip1559Params"][2:])
        session = self.native.session()
        session.open(
            Attributes(
                timestamp=int(asked["timestamp"], 16),
                prev_randao=bytes.fromhex(asked["prevRandao"][2:]),
                fee_recipient=bytes.fromhex(asked["suggestedFeeRecipient"][2:]),
                parent_beacon_block_root=bytes.fromhex(asked["parentBeaconBlockRoot"][2:]),
                gas_limit=int(asked["gasLimit"], 16),
                deposits=[bytes.fromhex(raw[2:]) for raw in asked["transactions"]],
                eip1559_denominator=int.from_bytes(parameters[:4], "big"),
                eip1559_elasticity=int.from_bytes(parameters[4:], "big"),
                min_base_fee=int(asked["minBaseFee"]),
            )
        )
        raws, self.waiting = self.waiting, []
        made = [item for item in decode_transactions(raws, self.native.chain_id) if isinstance(item, Transaction)]
        assert session.run(made).included == len(raws)
        session.seal()
        self.native.commit(session)


def transfers(chain_id: int, count: int) -> list[bytes]:
    fields: dict[str, Any] = {"to": bytes([7]) * 20, "value": 1, "max_fee_per_gas": 10**11}
    return [WALLET.sign_1559(chain_id, nonce, **fields) for nonce in range(count)]


def sequencer(network: OpStack, engine_url: str, conductor_url: str) -> tuple[Process, str]:
    """op-node that sequences through `engine_url` and asks a conductor."""
    from opgeth_node import free_ports

    entry = network.layout.rollups[0]
    port = free_ports(1)[0]
    url = f"http://{HOST}:{port}"
    command = (
        str(network.programs.op_node), "--l1", network.l1_url, "--l1.rpckind", "standard",
        "--l1.http-poll-interval", "500ms", "--l1.epoch-poll-interval", "2s", "--l1.beacon.ignore=true",
        "--l2", engine_url, "--l2.jwt-secret", str(network.directory / "jwt.hex"),
        "--rollup.config", str(network.directory / str(entry.chain_id) / "rollup.json"),
        "--rollup.l1-chain-config", str(network.directory / "l1chain.json"),
        "--sequencer.enabled", "--sequencer.stopped", "--sequencer.l1-confs", "0", "--verifier.l1-confs", "0",
        "--conductor.enabled", "--conductor.rpc", conductor_url,
        "--p2p.disable", "--rpc.addr", HOST, "--rpc.port", str(port), "--rpc.enable-admin",
    )  # fmt: skip

    async def ready() -> bool:
        async with Client(url) as client:
            await client.call("optimism_version")
        return True

    return Process("op-node-faces", command, network.directory, ready=ready), url


async def start(op_node: Client) -> int:
    """Starts it as op-conductor does, once it knows its head; the head's number."""
    async with asyncio.timeout(60):
        while True:
            number, head = await unsafe(op_node)
            if int(head, 16):
                break
            await asyncio.sleep(0.1)
    await op_node.call("admin_startSequencer", head)
    return number


async def unsafe(op_node: Client) -> tuple[int, str]:
    head = (await op_node.call("optimism_syncStatus"))["unsafe_l2"]
    return head["number"], head["hash"]


async def reaches(op_node: Client, number: int) -> None:
    async with asyncio.timeout(60):
        while True:
            if (await unsafe(op_node))[0] >= number:
                return
            await asyncio.sleep(0.1)


def settings(network: OpStack, mode: ConductorMode) -> FacesSettings:
    jwt = network.directory / "jwt.hex"
    ports = network.ports.programs[0]
    engine = f"http://{HOST}:{ports.engine_auth}"
    return FacesSettings(
        conductor=ConductorSettings(port=0, mode=mode),
        boost=(BoostSettings(chain_id=network.layout.rollups[0].chain_id, port=0, engine_url=engine, jwt_file=jwt),),
    )


async def test_op_node_publishes_the_networks_blocks_and_in_follow_its_own(tmp_path: Path) -> None:
    if not can_build():
        pytest.skip("op-geth is neither there nor can it be built")
    founding = Founding(rollups=1, ports=PortPlan(rpc=0))
    async with OpStack.running(tmp_path, find_programs(), founding, sequencer=False) as network:
        home = network.directory / str(network.layout.rollups[0].chain_id)
        chain_id = decode_rollup_json((home / "rollup.json").read_bytes()).chain_id
        plait = Network(Rollup.from_genesis((home / "genesis.json").read_bytes(), Store.in_memory()), orders=True)
        async with showing(plait, settings(network, "decided"), data_dir=None, log=print) as faces:  # type: ignore[arg-type]
            await through_both(network, plait, faces, chain_id)
        plait.rollups[RollupId(chain_id)].is_active = False
        data = tmp_path / "data"
        async with showing(plait, settings(network, "follow"), data_dir=data, log=print) as faces:  # type: ignore[arg-type]
            await following(network, plait, faces, chain_id, data)


async def through_both(network: OpStack, plait: Network, faces: Faces, chain_id: int) -> None:
    assert faces.conductor is not None
    face = faces.boost[chain_id]
    process, url = sequencer(network, face.url, f"{faces.conductor.url}/{chain_id}")
    building = asyncio.ensure_future(plait.build(face))
    await process.start()
    try:
        async with Client(url) as op_node:
            assert await op_node.call("admin_sequencerActive") is False
            plait.waiting = transfers(chain_id, 3)
            await start(op_node)
            await reaches(op_node, 5)
            number, hash_ = await unsafe(op_node)
            ours = msgspec.json.decode(plait.native.block_json(number, False))["hash"]  # type: ignore[arg-type]
            assert hash_ == ours, "op-node's head is the network's block"
            assert plait.native.accounts([WALLET.address], -1)[0][0] == 3, "with the network's transactions in it"
            assert face.statistics()["blocks_ours"] >= 5
            assert face.statistics()["blocks_fallback"] == 0
            assert faces.statistics()["conductor_committed"] >= 5
            assert faces.statistics()["conductor_refused"] == 0

            # What the network did not decide is built by the engine but never published.
            building.cancel()
            face.mode = "disabled"
            await until(lambda: faces.statistics()["conductor_refused"] >= 1, 30)
            at, _ = await unsafe(op_node)
            await asyncio.sleep(2)
            assert (await unsafe(op_node))[0] <= at + 1
            assert (await unsafe(op_node))[0] <= plait.native.head.number

            # Without the lead op-node does not even start.
            await op_node.call("admin_stopSequencer")
            plait.rollups[RollupId(chain_id)].is_active = False
            with pytest.raises(RpcError, match="leader"):
                await start(op_node)
    finally:
        building.cancel()
        await process.stop()


async def following(network: OpStack, plait: Network, faces: Faces, chain_id: int, data: Path) -> None:
    """A stock sequencer upon its own engine, while the network does not order the rollup: recorded, then stopped."""
    assert faces.conductor is not None
    engine = f"http://{HOST}:{network.ports.programs[0].engine_auth}"
    process, url = sequencer(network, engine, f"{faces.conductor.url}/{chain_id}")
    await process.start()
    try:
        async with Client(url) as op_node:
            before = await start(op_node)
            await reaches(op_node, before + 3)
            committed = faces.statistics()["conductor_committed"]
            assert committed >= 3
            assert (data / "conductor" / f"{chain_id}.blocks").exists()
            record = faces.conductor._record
            assert record is not None
            head = record.head(RollupId(chain_id))
            assert head is not None
            assert head.payload.block_number >= before + 3

            plait.rollups[RollupId(chain_id)].is_active = True  # the network takes over
            await until(lambda: faces.statistics()["conductor_refused"] >= 1, 30)
            at, _ = await unsafe(op_node)
            await asyncio.sleep(2)
            assert (await unsafe(op_node))[0] <= at + 1, "no block is published after the takeover"
            assert json.dumps(await op_node.call("optimism_version"))
    finally:
        await process.stop()
