"""Question: how fast does the light client verify blocks and streams?

10,000 consecutive blocks of four validators are verified one by one (hashes, more than two thirds of the signatures),
and reached in one step by skipping. Then the headers of 10,000 sub-blocks are proven by one agreed block. The peer is
CometBFT's own Go light client on the same blocks in the same run, its JSON read beforehand as ours is.
"""

import asyncio
import json
import subprocess
import sys
import time
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from bench.report import Result
from plait.crypto.commitments import commit
from plait.light import Client, LightBlock, Policy, Trusted, encode_light_block, verify
from plait.light.blocks import format_time
from plait.light.commits import PRECOMMIT, Commit, CommitSignature, vote_sign_bytes
from plait.light.headers import BlockId, Header
from plait.light.stream import check_rollups, link
from plait.light.validators import Validator, ValidatorSet
from plait.native import ed25519_public_key, ed25519_sign
from plait.protocol.proposal import SubBlockHeader, app_hash_of, encode_header, header_hash_of
from plait.types import BlockNumber, Hash32, Height, L1Origin, Milliseconds, NetworkId, RollupId, Slot, SubIndex
from plait.types.consensus import BlockIdFlag

CHAIN_ID = "plait-bench"
START_NS = 1_790_000_000 * 10**9
STEP_NS = 250_000_000
SEEDS = [sha256(b"bench validator %d" % number).digest() for number in range(4)]
POLICY = Policy(trusting_period_ns=365 * 86_400 * 10**9)


class Provider:
    """Shows the chain."""

    name = "bench"

    def __init__(self, blocks: list[LightBlock]) -> None:
        self.blocks = blocks

    async def light_block(self, height: Height | None) -> LightBlock:
        return self.blocks[-1 if height is None else height - 1]


def chain(count: int) -> list[LightBlock]:
    """Consecutive blocks, signed by all validators."""
    found = [(Validator(ed25519_public_key(seed), 10), seed) for seed in SEEDS]
    found.sort(key=lambda one: one[0].address)
    validators = ValidatorSet(tuple(one for one, _ in found))
    blocks: list[LightBlock] = []
    last = BlockId()
    for height in range(1, count + 1):
        header = Header(
            chain_id=CHAIN_ID,
            height=Height(height),
            time_ns=START_NS + height * STEP_NS,
            last_block_id=last,
            last_commit_hash=sha256(b"commit %d" % height).digest(),
            data_hash=sha256(b"data %d" % height).digest(),
            validators_hash=validators.hash,
            next_validators_hash=validators.hash,
            consensus_hash=bytes(32),
            app_hash=sha256(b"app %d" % height).digest(),
            last_results_hash=bytes(32),
            evidence_hash=bytes(32),
            proposer_address=validators.validators[height % 4].address,
        )
        last = BlockId(header.hash, 1, sha256(header.hash).digest())
        signatures = tuple(_signature(header, last, one, seed) for one, seed in found)
        signed = Commit(Height(height), 0, last, signatures)
        blocks.append(LightBlock(header=header, commit=signed, validators=validators))
    return blocks


def _signature(header: Header, block_id: BlockId, validator: Validator, seed: bytes) -> CommitSignature:
    time_ns = header.time_ns + 1
    text = vote_sign_bytes(CHAIN_ID, PRECOMMIT, height=header.height, round_=0, block_id=block_id, time_ns=time_ns)
    return CommitSignature(BlockIdFlag.COMMIT, validator.address, time_ns, ed25519_sign(seed, text))


def fresh(blocks: list[LightBlock]) -> list[LightBlock]:
    """The same blocks as they come from a provider: nothing about them is computed yet."""
    from plait.light import decode_light_block

    return [decode_light_block(encode_light_block(block)) for block in blocks]


def verify_all(blocks: list[LightBlock]) -> float:
    """Seconds for each block on top of the one before."""
    now_ns = blocks[-1].header.time_ns + 1
    started = time.perf_counter()
    for before, block in pairwise(blocks):
        verify(before, block, now_ns=now_ns, policy=POLICY)
    return time.perf_counter() - started


def skip(blocks: list[LightBlock]) -> float:
    """Seconds for the last block from the first."""
    now_ns = blocks[-1].header.time_ns + 1
    client = Client(
        Provider(blocks), Trusted(Height(1), blocks[0].hash), policy=POLICY, now_ns=lambda: now_ns  # type: ignore[arg-type]
    )  # fmt: skip
    started = time.perf_counter()
    asyncio.run(client.verify(Height(len(blocks))))
    return time.perf_counter() - started


def sub_blocks(count: int) -> tuple[list[bytes], Hash32]:
    """Headers of two rollups' sub-blocks that follow each other, and the app hash of the last."""
    headers: list[bytes] = []
    app_hash = Hash32(bytes(32))
    ids = (RollupId(901), RollupId(902))
    for height in range(1, count + 1):
        header = SubBlockHeader(
            network_id=NetworkId(1),
            height=Height(height),
            slot=Slot(height // 4),
            sub_index=SubIndex(height % 4 if height > 3 else height - 1),
            time_ms=Milliseconds(1_790_000_000_000 + 250 * height),
            parent_app_hash=app_hash,
            l1_origin=L1Origin(number=BlockNumber(1), hash=Hash32(bytes(32))),
            commitment=commit(ids, {ids[0]: [b"%d" % height]}),
            sealed=(),
            ledger_root=Hash32(sha256(b"%d" % height).digest()),
            actions_root=Hash32(bytes(32)),
            bundles_root=Hash32(bytes(32)),
        )
        headers.append(encode_header(header))
        app_hash = app_hash_of(header.height, header_hash_of(headers[-1]), header.ledger_root)
    return headers, app_hash


def prove(headers: list[bytes], app_hash: Hash32) -> float:
    """Seconds to prove all headers from the last app hash, with the rollups that each lists."""
    started = time.perf_counter()
    for one in link(headers, first=Height(1), count=len(headers), app_hash=app_hash):
        check_rollups(one.header)
    return time.perf_counter() - started


def go_seconds(blocks: list[LightBlock]) -> float | None:
    """What CometBFT's light client takes for the same as `verify_all`; None without Go."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
    import build_tools

    try:
        path = build_tools.build_comet_oracle()
    except build_tools.ToolMissingError:
        return None
    now = format_time(blocks[-1].header.time_ns + 1)
    asked = {"op": "verify_chain", "blocks": [encode_light_block(block) for block in blocks], "now": now}
    done = subprocess.run([path], input=json.dumps(asked).encode() + b"\n", stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["ok"] / 1e9


def run(quick: bool = False) -> Result:
    count = 500 if quick else 10_000
    blocks = chain(count)
    sequential = min(verify_all(fresh(blocks)) for _ in range(2))
    peer = go_seconds(blocks)
    headers, app_hash = sub_blocks(count)
    proven = min(prove(headers, app_hash) for _ in range(3))
    result = Result("light")
    result.figure(f"{count} heights one by one", sequential, "s")
    result.figure("heights per second, one by one", (count - 1) / sequential, "heights/s")
    result.figure(f"{count} heights in one step", 1_000 * skip(fresh([blocks[0], *blocks[1:]])), "ms")
    result.figure("sub-block headers proven from one block", count / proven, "headers/s")
    if peer is None:
        result.note("Go is missing: CometBFT's light client was not measured.")
    else:
        result.figure("CometBFT's Go light client, one by one", (count - 1) / peer, "heights/s")
        result.ratio("time one by one / CometBFT's Go light client", sequential / peer)
    return result
