"""Three of four validators sign a second block of a height with their real keys and show it to a light client. With an
honest witness it is uncovered; CometBFT takes the evidence that the client makes, and the three lose stake and place.
"""

import asyncio
import base64
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from running_network import NODES, ROOT, Network, running_network, until
from test_light_verification import lying

from plait.client import Client as RpcClient
from plait.client.light import RpcProvider
from plait.engines.cometbft.rpc_client import CometRpc
from plait.light import LightBlock, Trusted, encode_light_block
from plait.light.commits import ABSENT, PRECOMMIT, Commit, CommitSignature, vote_sign_bytes
from plait.light.headers import BlockId
from plait.native import ed25519_public_key, ed25519_sign
from plait.types import Height
from plait.types.consensus import BlockIdFlag

pytestmark = [pytest.mark.slow, pytest.mark.cometbft]
LIARS = NODES[:3]
COMMON, FORGED = Height(2), Height(6)


@pytest.mark.timeout(420)
async def test_an_attack_by_most_validators_is_uncovered_proven_and_punished(tmp_path: Path) -> None:
    async with running_network(tmp_path / "net") as network:
        await network.decide(heights=8)
        async with RpcProvider(network.urls["node4"]) as honest:
            trusted = Trusted(COMMON, (await honest.light_block(COMMON)).hash)
            forged = forge(await honest.light_block(FORGED), seeds_of(network))
        told = await uncover(network, trusted, forged, tmp_path / "evidence.json")
        assert told["error"]["code"] == "light_conflict"
        evidence = json.loads((tmp_path / "evidence.json").read_text())
        assert (evidence["kind"], evidence["commonHeight"]) == ("lunatic", COMMON)
        accused = {one["address"] for one in evidence["againstPrimary"]["value"]["ByzantineValidators"]}
        assert accused == {address_of(seed).hex().upper() for seed in seeds_of(network).values()}
        async with CometRpc(network.comet_urls["node4"]) as comet:
            await comet.broadcast_evidence(evidence["againstPrimary"])
        await punished(network)


def seeds_of(network: Network) -> dict[str, bytes]:
    """The liars' consensus keys, as CometBFT keeps them: seed and public key."""
    found = {}
    for name in LIARS:
        (file,) = (network.data_dir / name).rglob("priv_validator_key.json")
        found[name] = base64.b64decode(json.loads(file.read_text())["priv_key"]["value"])[:32]
    return found


def address_of(seed: bytes) -> bytes:
    return sha256(ed25519_public_key(seed)).digest()[:20]


def forge(honest: LightBlock, seeds: dict[str, bytes]) -> LightBlock:
    """A block with another app hash, signed by the liars."""
    header = msgspec.structs.replace(honest.header, app_hash=bytes(32))
    block_id = BlockId(header.hash, 1, bytes(32))
    by_address = {address_of(seed): seed for seed in seeds.values()}
    signatures: list[CommitSignature] = []
    for validator in honest.validators.validators:
        seed = by_address.get(validator.address)
        if seed is None:
            signatures.append(ABSENT)
            continue
        text = vote_sign_bytes(
            header.chain_id, PRECOMMIT, height=header.height, round_=0, block_id=block_id, time_ns=header.time_ns
        )
        signature = ed25519_sign(seed, text)
        signatures.append(CommitSignature(BlockIdFlag.COMMIT, validator.address, header.time_ns, signature))
    commit = Commit(header.height, 0, block_id, tuple(signatures))
    return LightBlock(header=header, commit=commit, validators=honest.validators)


async def uncover(network: Network, trusted: Trusted, forged: LightBlock, file: Path) -> Any:
    """`plait verify` against a node that shows the forged block as its newest, with an honest witness."""

    def show(method: str, result: Any) -> Any:
        if method == "plait_getLightBlock" and int(result["signed_header"]["header"]["height"]) >= FORGED:
            return encode_light_block(forged)
        return result

    async with lying(network.urls["node1"], show) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "plait.cli.main", "verify", url, network.urls["node4"], "--json"),
            *("--trusted-height", str(trusted.height), "--trusted-hash", trusted.hash.hex(), "--evidence", str(file)),
            stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 1, output
    return json.loads(output)


async def punished(network: Network) -> None:
    """The liars are out for good and have lost stake; the honest validator goes on alone."""
    async with RpcClient(network.urls["node4"]) as client:
        before = {one["name"]: int(one["tokens"], 16) for one in await client.call("plait_getValidators")}

        async def out() -> Any:
            shown = {one["name"]: one for one in await client.call("plait_getValidators")}
            return shown if all(shown[name]["status"] == "tombstoned" for name in LIARS) else None

        shown = await until(out, seconds=30, what="the liars are tombstoned")
        assert shown["node4"]["status"] == "active"
        assert all(int(shown[name]["tokens"], 16) < before[name] for name in LIARS)
        assert int(shown["node4"]["tokens"], 16) >= before["node4"]
    await network.decide(["node4"], heights=6)
