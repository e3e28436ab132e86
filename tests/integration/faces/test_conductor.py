"""op-conductor's place before a real node: op-node may publish what the network decided, and nothing else."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from op_node import until

from plait.derivation.execution_payload import PayloadEnvelope, payload_from_json
from plait.derivation.gossip import decode_message, encode_message
from plait.errors import ConfigurationError, InvariantBroken, RequestRefused
from plait.native import keccak256, sign_digest
from plait.node.config import NetworkConfig, NodeConfig, RollupConfig
from plait.node.node import Node
from plait.rollups.opstack.faces.conductor_record import ConductorRecord
from plait.rollups.opstack.faces.service import Faces, showing
from plait.rollups.opstack.faces.settings import ConductorMode, ConductorSettings, FacesSettings
from plait.rollups.opstack.payload import block_hash_of
from plait.types import BlockNumber, ChainId, Hash32, RollupId

ROLLUP = RollupId(901)


@contextlib.asynccontextmanager
async def conducting(mode: ConductorMode, data_dir: Path | None = None) -> AsyncIterator[tuple[Node, Faces]]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 4, sub_blocks_per_slot=5, rollups=(RollupConfig(chain_id=901),)
    )
    settings = FacesSettings(conductor=ConductorSettings(port=0, mode=mode))
    async with (
        Node.start(network, NodeConfig(log_level="error")) as node,
        showing(node, settings, data_dir=data_dir, log=print) as faces,
    ):
        await until(lambda: node.rollups[ROLLUP].native.head.number >= 3)
        yield node, faces


async def call(faces: Faces, method: str, *params: Any, rollup: int = 901) -> Any:
    assert faces.conductor is not None
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    async with aiohttp.ClientSession() as session, session.post(f"{faces.conductor.url}/{rollup}", json=body) as answer:
        assert answer.status == 200
        shown = await answer.json()
        assert shown["id"] == 7
        return shown


def envelope_of(node: Node, number: int) -> dict[str, Any]:
    """A sealed block as op-node's ExecutionPayloadEnvelope marshals it."""
    payload, root = node.rollups[ROLLUP].native.execution_payload_json(number)
    return {"parentBeaconBlockRoot": "0x" + root.hex(), "executionPayload": json.loads(payload)}


def tampered(envelope: dict[str, Any], **changes: str) -> dict[str, Any]:
    """Another block with a right hash of its own."""
    payload = envelope["executionPayload"] | changes
    made = PayloadEnvelope(
        payload=payload_from_json(payload),
        parent_beacon_block_root=Hash32(bytes.fromhex(envelope["parentBeaconBlockRoot"][2:])),
    )
    return envelope | {"executionPayload": payload | {"blockHash": "0x" + block_hash_of(made).hex()}}


async def test_only_decided_blocks_are_committed() -> None:
    async with conducting("decided") as (node, faces):
        assert await call(faces, "conductor_leader") == {"jsonrpc": "2.0", "id": 7, "result": True}
        good = envelope_of(node, 2)
        assert (await call(faces, "conductor_commitUnsafePayload", good))["result"] is None
        assert (await call(faces, "conductor_commitUnsafePayload", good))["result"] is None, "op-node asks twice"
        other = tampered(good, gasUsed="0x1")
        refused = (await call(faces, "conductor_commitUnsafePayload", other))["error"]
        assert refused["data"]["code"] == "conductor_block_differs"
        lying = good | {"executionPayload": good["executionPayload"] | {"gasUsed": "0x1"}}
        refused = (await call(faces, "conductor_commitUnsafePayload", lying))["error"]
        assert refused["data"]["code"] == "payload_hash_wrong"
        future = tampered(good, blockNumber="0xffff")
        refused = (await call(faces, "conductor_commitUnsafePayload", future))["error"]
        assert refused["data"]["code"] == "conductor_block_undecided"
        assert faces.statistics() == {"conductor_committed": 2, "conductor_refused": 3}


async def test_a_sealed_block_survives_the_way_to_op_nodes_peers() -> None:
    async with conducting("decided") as (node, _faces):
        envelope = _envelope(envelope_of(node, 2))
    key = keccak256(b"a sequencer of a test")
    message = encode_message(envelope, ChainId(901), lambda digest: sign_digest(key, digest))
    signed = decode_message(message, ChainId(901), 4)
    assert signed.envelope == envelope
    assert block_hash_of(signed.envelope) == envelope.payload.block_hash, "all that the hash covers arrived"


async def test_a_block_is_committed_as_soon_as_it_is_sealed() -> None:
    async with conducting("decided") as (node, faces):
        native = node.rollups[ROLLUP].native
        head = native.head.number
        await until(lambda: native.head.number > head)
        envelope = envelope_of(node, head + 1)
        assert (await call(faces, "conductor_commitUnsafePayload", envelope))["result"] is None


async def test_what_op_node_does_not_call_and_rollups_that_are_not_here_are_named() -> None:
    async with conducting("decided") as (_node, faces):
        assert (await call(faces, "conductor_transferLeader"))["error"]["code"] == -32601
        assert (await call(faces, "conductor_commitUnsafePayload"))["error"]["code"] == -32602
        assert (await call(faces, "conductor_commitUnsafePayload", {}))["error"]["data"]["code"] == "payload_malformed"
        assert faces.conductor is not None
        async with aiohttp.ClientSession() as session, session.post(f"{faces.conductor.url}/905", json={}) as answer:
            assert answer.status == 404


async def test_while_following_the_network_leads_what_it_orders_and_records_the_rest(tmp_path: Path) -> None:
    async with conducting("follow", tmp_path) as (node, faces):
        assert (await call(faces, "conductor_leader"))["result"] is False, "the network orders it"
        refused = (await call(faces, "conductor_commitUnsafePayload", envelope_of(node, 2)))["error"]
        assert refused["data"]["code"] == "conductor_not_leader"
        assert (await call(faces, "conductor_leader", rollup=77))["result"] is True
        for number in (1, 2):
            envelope = envelope_of(node, number)
            assert (await call(faces, "conductor_commitUnsafePayload", envelope, rollup=77))["result"] is None
        record = ConductorRecord(tmp_path / "conductor")  # as after a crash
        head = record.head(RollupId(77))
        assert head is not None
        assert head.payload.block_number == 2
        first = bytes.fromhex(envelope_of(node, 1)["executionPayload"]["blockHash"][2:])
        assert record.committed(RollupId(77), BlockNumber(1)) == first


async def test_a_record_takes_one_block_per_height_unless_l1_changed(tmp_path: Path) -> None:
    async with conducting("decided") as (node, _faces):
        shown = [envelope_of(node, number) for number in (1, 2, 3)]
    blocks = [_envelope(item) for item in shown]
    record = ConductorRecord(tmp_path)
    record.commit(ROLLUP, blocks[0])
    record.commit(ROLLUP, blocks[1])
    other = _envelope(tampered(shown[1], gasUsed="0x1"))
    with pytest.raises(RequestRefused) as refused:
        record.commit(ROLLUP, other)
    assert refused.value.code == "conductor_height_taken"
    with pytest.raises(RequestRefused) as refused:
        record.commit(ROLLUP, _envelope(tampered(shown[2], parentHash="0x" + "11" * 32)))
    assert refused.value.code == "conductor_parent_unknown"
    info = shown[1]["executionPayload"]["transactions"][0]
    at = 2 + 2 * (len(bytes.fromhex(info[2:])) - 178 + 100)  # the L1 origin's hash in Jovian's layout
    reorganised = info[:at] + "ee" * 32 + info[at + 64 :]
    record.commit(ROLLUP, _envelope(tampered(shown[1], **{"transactions": [reorganised]})))  # type: ignore[arg-type]
    head = ConductorRecord(tmp_path).head(ROLLUP)
    assert head is not None
    assert head.payload.block_hash not in {block.payload.block_hash for block in blocks}
    with pytest.raises(RequestRefused):
        record.commit(ROLLUP, blocks[2])


def _envelope(shown: dict[str, Any]) -> PayloadEnvelope:
    return PayloadEnvelope(
        payload=payload_from_json(shown["executionPayload"]),
        parent_beacon_block_root=Hash32(bytes.fromhex(shown["parentBeaconBlockRoot"][2:])),
    )


async def test_a_damaged_record_stops_rather_than_lets_a_second_block_out(tmp_path: Path) -> None:
    (tmp_path / "conductor").mkdir()
    (tmp_path / "conductor" / "77.blocks").write_bytes(b"\x00")
    with pytest.raises(InvariantBroken) as broken:
        async with conducting("follow", tmp_path):
            pass
    assert broken.value.code == "conductor_record_damaged"


async def test_a_port_in_use_and_a_record_without_a_disk_are_refused_at_the_start() -> None:
    async with conducting("decided") as (node, faces):
        assert faces.conductor is not None
        port = int(faces.conductor.url.rsplit(":", 1)[1])
        for settings, code in (
            (ConductorSettings(port=port), "port_in_use"),
            (ConductorSettings(port=0, mode="follow"), "data_directory_missing"),
        ):
            with pytest.raises(ConfigurationError) as refused:
                async with showing(node, FacesSettings(conductor=settings), data_dir=None, log=print):
                    pass
            assert refused.value.code == code
