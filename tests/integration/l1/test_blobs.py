"""Blobs posted to a real anvil are read back, proven, through the beacon face that op-node uses; none is ever lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from anvil_l1 import BATCHER, INBOX, L1_CHAIN_ID, Anvil

from plait.derivation.blobs import decode_blob, encode_blob
from plait.errors import L1Refused, Unavailable
from plait.l1.beacon import BeaconClient
from plait.l1.client import L1Client
from plait.l1.transactions import L1Block
from plait.rollups.batcher.l1_transactions import Content, Fees, sign
from plait.rollups.batcher.sidecars import commitment_of, make_sidecar, versioned_hash
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.testnet.opstack.beacon import BeaconFace

pytestmark = pytest.mark.node_js


@pytest.fixture
async def face(anvil: Anvil, tmp_path: Path) -> AsyncIterator[BeaconFace]:
    async with BeaconFace(anvil.url, tmp_path / "blobs") as found:
        yield found


async def post(anvil: Anvil, client: L1Client, contents: list[bytes], version: int = 0) -> L1Block:
    """One blob transaction, in a block of its own."""
    blobs = tuple(map(encode_blob, contents))
    signed = sign(
        DEVELOPMENT_ACCOUNTS[9].private_key,
        Content(chain_id=L1_CHAIN_ID, to=INBOX, data=b"", blobs=blobs),
        nonce=await client.nonce(BATCHER),
        fees=Fees(tip=10**9, fee_cap=20 * 10**9, blob_fee_cap=10**9),
        gas_limit=21_000,
        sidecar=make_sidecar(blobs, version),
    )
    await client.send_raw_transaction(signed.raw)
    block = await client.block(anvil.mine())
    assert block is not None
    assert [one.hash for one in block.transactions] == [signed.hash]
    assert block.transactions[0].sender() == BATCHER
    assert block.header.blob_gas_used == len(contents) << 17
    return block


@pytest.mark.parametrize("version", [0, 1])
async def test_blobs_come_back_in_the_order_asked_for(
    anvil: Anvil, client: L1Client, face: BeaconFace, version: int
) -> None:
    contents = [b"first", b"second" * 1_000]
    block = await post(anvil, client, contents, version)
    hashes = block.transactions[0].blob_hashes
    async with BeaconClient(face.url, commit=commitment_of) as beacon:
        assert [decode_blob(blob) for blob in await beacon.blobs(block.header.timestamp, hashes)] == contents
        backwards = await beacon.blobs(block.header.timestamp, hashes[1::-1])
        assert [decode_blob(blob) for blob in backwards] == contents[1::-1]
        assert await beacon.blobs(block.header.timestamp, []) == []


async def test_blobs_outlive_restarts_and_reorganisations_of_anvil(
    anvil: Anvil, client: L1Client, face: BeaconFace, tmp_path: Path
) -> None:
    block = await post(anvil, client, [b"kept"])
    hashes = block.transactions[0].blob_hashes
    async with BeaconClient(face.url, commit=commitment_of) as beacon:
        await beacon.blobs(block.header.timestamp, hashes)
        anvil.stop()
        anvil.start()
        assert decode_blob((await beacon.blobs(block.header.timestamp, hashes))[0]) == b"kept"
        anvil.mine(3)
        anvil.call("anvil_reorg", 2, [])  # it cannot go back behind its restart
        again = await post(anvil, client, [b"after"])
        found = await beacon.blobs(again.header.timestamp, again.transactions[0].blob_hashes)
        assert decode_blob(found[0]) == b"after"
    await face.stop()
    async with (
        BeaconFace(anvil.url, tmp_path / "blobs") as anew,
        BeaconClient(anew.url, commit=commitment_of) as beacon,
    ):
        assert decode_blob((await beacon.blobs(block.header.timestamp, hashes))[0]) == b"kept"


async def test_a_blob_that_nobody_has_is_named(anvil: Anvil, client: L1Client, face: BeaconFace) -> None:
    header = await client.header(0)
    assert header is not None
    async with BeaconClient(face.url, commit=commitment_of) as beacon:
        with pytest.raises(Unavailable) as missing:
            await beacon.blobs(header.timestamp, [b"\x01" * 32])
    assert missing.value.code == "l1_blob_missing"


async def test_a_blob_that_is_another_is_not_taken(
    anvil: Anvil, client: L1Client, face: BeaconFace, tmp_path: Path
) -> None:
    block = await post(anvil, client, [b"true"])
    hashes = block.transactions[0].blob_hashes
    async with BeaconClient(face.url, commit=commitment_of) as beacon:
        await beacon.blobs(block.header.timestamp, hashes)
        (kept,) = (tmp_path / "blobs").glob("*.blob")
        kept.write_bytes(encode_blob(b"false"))
        with pytest.raises(Unavailable) as missing:
            await beacon.blobs(block.header.timestamp, hashes)
        assert missing.value.code == "l1_blob_missing"
        kept.write_bytes(b"\xff" * 131_072)
        with pytest.raises(L1Refused) as refused:
            await beacon.blobs(block.header.timestamp, hashes)
        assert refused.value.code == "l1_block_malformed"


async def test_the_face_answers_what_op_node_asks(anvil: Anvil, client: L1Client, face: BeaconFace) -> None:
    block = await post(anvil, client, [b"one", b"two"])
    named = [versioned_hash(commitment_of(encode_blob(content))) for content in (b"one", b"two")]
    assert block.transactions[0].blob_hashes == tuple(named)
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, dict]:
            async with session.get(f"{face.url}/eth/v1/{path}") as response:
                return response.status, await response.json()

        assert (await get("node/version"))[1]["data"]["version"]
        assert (await get("config/spec"))[1]["data"]["SECONDS_PER_SLOT"] == "1"
        assert (await get("beacon/genesis"))[1]["data"]["genesis_time"] == "0"
        slot = block.header.timestamp
        query = "&".join(f"versioned_hashes=0x{one.hex()}" for one in named)
        status, found = await get(f"beacon/blobs/{slot}?{query}")
        assert (status, len(found["data"])) == (200, 2)
        status, found = await get(f"beacon/blobs/{slot}")
        assert (status, len(found["data"])) == (200, 2)
        status, found = await get(f"beacon/blobs/{slot + 1}")
        assert (status, found["data"]) == (200, [])
        assert (await get("beacon/blobs/head"))[0] == 400
        assert (await get(f"beacon/blobs/{slot}?versioned_hashes=0x../../etc/passwd"))[0] == 400
        assert (await get(f"beacon/blobs/{slot}?versioned_hashes=0x{'00' * 32}"))[0] == 404


async def test_an_l1_that_is_away_is_followed_when_it_returns(anvil: Anvil, client: L1Client, face: BeaconFace) -> None:
    anvil.stop()
    await asyncio.sleep(0.1)
    anvil.start()
    block = await post(anvil, client, [b"back"])
    async with BeaconClient(face.url, commit=commitment_of) as beacon:
        found = await beacon.blobs(block.header.timestamp, block.transactions[0].blob_hashes)
    assert decode_blob(found[0]) == b"back"
