"""Question: how fast does `plait derive` rebuild a chain from L1, beside op-node with op-geth deriving the same blocks?

A rollup of 10,000 blocks with two ERC-20 transfers each, posted to a real L1 (anvil) as calldata: span batches in
brotli channels of 120,000 bytes, made by our own encoder. Then, one after the other: `plait derive` as a process of its
own, from its start to its end, and op-node with a fresh op-geth, from op-node's start until its safe head is the last
block (op-geth is up and initialised by then). Both heads must have the sequencer's hash.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import workload
from bench.processes import ROOT, Served, free_port
from bench.report import Result
from plait.derivation.attributes import block_attributes
from plait.derivation.batches import SingularBatch
from plait.derivation.channels import ChannelBuilder
from plait.derivation.frames import encode
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.origins import Origin, next_origin
from plait.derivation.rollup_config import BlockId, OpStackConfig, encode_rollup_json
from plait.derivation.system_config import SystemConfig
from plait.l1.client import L1Client
from plait.native import Rollup, Store, Transaction, decode_transactions
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.rollups.opstack.l1_reading import L1Reading
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds

sys.path[:0] = [str(ROOT / "tests" / "conformance" / "opgeth"), str(ROOT / "tools")]

CHAIN_ID, L1_CHAIN_ID = 901, 900
GENESIS_TIME_S = 1_700_000_000
L1_BLOCK_TIME_S, BLOCK_TIME_S = 6, 1
TRANSACTIONS_PER_BLOCK = 2
CHANNEL_BYTES = 120_000
GAS_LIMIT = 30_000_000
BATCHER = DEVELOPMENT_ACCOUNTS[9]
INBOX = "0x" + "ff" * 20
CONTRACT = "0x" + "ee" * 20
SIGNER_SLOT = "0x65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08"
"""op-node reads the signer of unsafe blocks from this slot of the SystemConfig contract, and does not start without."""


def run(quick: bool = False) -> Result:
    from build_tools import ToolMissingError, build_op_geth, build_op_stack, foundry_path

    result = Result("derivation")
    try:
        build_op_geth()
        op_node, anvil = build_op_stack("op-node"), foundry_path("anvil")
    except ToolMissingError as error:
        result.note(f"not measured: {error}")
        return result
    blocks = 300 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder, _anvil(anvil, Path(folder)) as l1:
        directory = Path(folder)
        genesis = _genesis(blocks)
        (directory / "genesis.json").write_bytes(genesis)
        head, transactions = asyncio.run(_post(l1, genesis, blocks, directory))
        ours = _plait_derive(l1, directory, head)
        theirs = _op_node(op_node, l1, genesis, directory, head)
        result.figure("plait derive, reading L1 and executing", ours["seconds"], "s")
        result.figure("plait derive, its process from start to end", ours["process_s"], "s")
        result.figure("op-node + op-geth", theirs, "s")
        result.figure("plait derive", blocks / ours["process_s"], "blocks/s")
        result.figure("L1 blocks read", ours["l1"], "blocks")
        result.ratio("plait derive / op-node + op-geth, whole processes", theirs / ours["process_s"], at_least=5.0)
        result.note(
            f"{blocks:,} blocks, {transactions:,} transfers; both heads are the sequencer's 0x{head.hex()[:16]}…"
        )
    return result


def _genesis(blocks: int) -> bytes:
    transfers = _transfers(blocks)
    known = [*transfers.senders, *transfers.recipients]
    return workload.genesis_with_token(CHAIN_ID, GENESIS_TIME_S, known, transfers.senders, gas_limit=GAS_LIMIT)


def _transfers(blocks: int) -> workload.Workload:
    senders = 1_000 if blocks > 1_000 else 50
    return workload.make(CHAIN_ID, senders, blocks * TRANSACTIONS_PER_BLOCK // senders, recipients=2_000)


@contextlib.contextmanager
def _anvil(program: Path, folder: Path) -> Iterator[Served]:
    port = free_port()
    command = [
        str(program), "--chain-id", str(L1_CHAIN_ID), "-p", str(port), "--silent", "--no-mining",
        "--timestamp", str(GENESIS_TIME_S), "--slots-in-an-epoch", "1", "--gas-limit", "100000000",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(folder)})
    served = Served(f"http://127.0.0.1:{port}", process.pid)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                served.call("eth_chainId")
                break
            time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.wait(20)


async def _post(l1: Served, genesis: bytes, blocks: int, directory: Path) -> tuple[bytes, int]:
    """Seals the chain on L1 blocks that are there, writes rollup.json, and posts it. Returns its head and its size."""
    l1.call("anvil_setStorageAt", CONTRACT, SIGNER_SLOT, "0x" + bytes(31).hex() + "01")
    l1.call("anvil_mine", hex(blocks * BLOCK_TIME_S // L1_BLOCK_TIME_S + 2), hex(L1_BLOCK_TIME_S))
    rollup = Rollup.from_genesis(genesis, Store.in_memory())
    async with L1Client(l1.url) as client:
        first = await client.header(0)
        assert first is not None
        config = _config(rollup, BlockId(first.number, first.hash))
        (directory / "rollup.json").write_bytes(encode_rollup_json(config))
        end = await client.block_number()
        facts = [block.facts async for block in L1Reading(client, None, config).blocks(BlockNumber(0), end)]
    transfers = _transfers(blocks).rounds(TRANSACTIONS_PER_BLOCK)
    channel: ChannelBuilder | None = None
    origin = Origin(facts[0], 0)
    nonce = count = 0
    for number in range(1, blocks + 1):
        origin, batch = _seal(rollup, config, origin, facts, transfers[number - 1])
        count += len(batch.transactions)
        if channel is None or not channel.add(batch, origin.sequence_number):
            if channel is not None:
                nonce = _send(l1, channel, nonce)
            channel = _channel(config, number)
            assert channel.add(batch, origin.sequence_number)
    assert channel is not None
    _send(l1, channel, nonce)
    l1.call("anvil_mine", "0x3", hex(L1_BLOCK_TIME_S))
    return rollup.head.hash, count


def _config(rollup: Rollup, l1: BlockId) -> OpStackConfig:
    return OpStackConfig(
        chain_id=CHAIN_ID,
        l1_chain_id=L1_CHAIN_ID,
        genesis_l1=l1,
        genesis_l2=BlockId(BlockNumber(0), Hash32(rollup.genesis_hash)),
        genesis_time_s=Seconds(GENESIS_TIME_S),
        genesis_system=SystemConfig(
            batcher=BATCHER.address, gas_limit=Gas(GAS_LIMIT), base_fee_scalar=1_368, blob_base_fee_scalar=810_949,
            eip1559_denominator=250, eip1559_elasticity=6,
        ),
        block_time_s=BLOCK_TIME_S,
        batch_inbox=Address(bytes.fromhex(INBOX[2:])),
        deposit_contract=Address(bytes.fromhex(CONTRACT[2:])),
        system_config_contract=Address(bytes.fromhex(CONTRACT[2:])),
    )  # fmt: skip


def _seal(
    rollup: Rollup, config: OpStackConfig, parent: Origin, facts: list[L1BlockFacts], raws: list[bytes]
) -> tuple[Origin, SingularBatch]:
    head = rollup.head
    timestamp = Seconds(head.timestamp + BLOCK_TIME_S)
    following = parent.block.number + 1
    origin = next_origin(parent, facts[following] if following < len(facts) else None, timestamp)
    session = rollup.session()
    session.open(block_attributes(timestamp, origin.block.info, origin.sequence_number, config.genesis_system))
    decoded = [one for one in decode_transactions(raws, CHAIN_ID) if isinstance(one, Transaction)]
    assert session.run(decoded).included == len(raws)
    session.seal()
    rollup.commit(session)
    batch = SingularBatch(
        parent_hash=Hash32(head.hash), epoch_number=origin.block.number, epoch_hash=origin.block.hash,
        timestamp=timestamp, transactions=tuple(raws),
    )  # fmt: skip
    return origin, batch


def _channel(config: OpStackConfig, number: int) -> ChannelBuilder:
    return ChannelBuilder(
        channel_id=number.to_bytes(16, "big"),
        chain_id=CHAIN_ID,
        genesis_time_s=config.genesis_time_s,
        target_bytes=CHANNEL_BYTES - 24,
    )


def _send(l1: Served, channel: ChannelBuilder, nonce: int) -> int:
    data = encode(channel.frames(CHANNEL_BYTES - 1))
    transaction = {
        "from": "0x" + BATCHER.address.hex(), "to": INBOX, "data": "0x" + data.hex(), "nonce": hex(nonce),
        "gas": hex(21_000 + 40 * len(data)), "maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": "0x1",
    }  # fmt: skip
    l1.call("eth_sendTransaction", transaction)
    l1.call("anvil_mine", "0x1", hex(L1_BLOCK_TIME_S))
    return nonce + 1


def _plait_derive(l1: Served, directory: Path, head: bytes) -> dict[str, float]:
    plait = Path(sys.executable).parent / "plait"
    command = [
        str(plait), "derive", "--l1", l1.url, "--rollup-config", str(directory / "rollup.json"),
        "--genesis", str(directory / "genesis.json"), "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    process_s = time.perf_counter() - began
    assert answer["head"]["hash"] == "0x" + head.hex(), answer
    assert not answer["passed_over"], answer
    return {"seconds": answer["seconds"], "process_s": process_s, "l1": answer["l1"]["number"]}


def _op_node(program: Path, l1: Served, genesis: bytes, directory: Path, head: bytes) -> float:
    from opgeth_node import OpGeth

    from plait.testnet.opstack.founding import l1_chain_json

    class Unwatched(OpGeth):
        def _subscribe(self, port: int) -> None:
            """Nobody reads its heads."""

    (directory / "l1chain.json").write_bytes(l1_chain_json(L1_CHAIN_ID))
    with (
        Unwatched(genesis, directory / "geth", ("--gcmode", "full")) as geth,
        open(directory / "op-node.log", "wb") as log,
    ):
        port = free_port()
        command = [
            str(program), "--l1", l1.url, "--l1.rpckind", "standard", "--l1.beacon.ignore=true",
            "--l1.http-poll-interval", "500ms", "--l1.epoch-poll-interval", "2s", "--l1.rpc-rate-limit", "0",
            "--l2", f"http://127.0.0.1:{geth.engine._connection.port}",
            "--l2.jwt-secret", str(directory / "geth" / "jwt.hex"),
            "--rollup.config", str(directory / "rollup.json"),
            "--rollup.l1-chain-config", str(directory / "l1chain.json"),
            "--sequencer.enabled=false", "--verifier.l1-confs", "0", "--p2p.disable", "--log.level", "error",
            "--rpc.addr", "127.0.0.1", "--rpc.port", str(port),
        ]  # fmt: skip
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(directory)})
        served = Served(f"http://127.0.0.1:{port}", process.pid)
        try:
            while True:
                assert process.poll() is None, (directory / "op-node.log").read_text(errors="replace")[-2_000:]
                with contextlib.suppress(OSError):
                    status = served.call("optimism_syncStatus")
                    assert isinstance(status, dict)
                    if status["safe_l2"]["hash"] == "0x" + head.hex():
                        return time.perf_counter() - began
                time.sleep(0.1)
        finally:
            process.terminate()
            process.wait(20)
