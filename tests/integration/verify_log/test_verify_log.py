"""`plait verify-log` as a process: the same log gives the same hashes everywhere, and every kind of damage is named."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, fingerprint
from plait.node.node import Node, open_storage
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.storage import DecidedLog
from plait.types import OrderingPolicy
from sim.wallet import Wallet

ROOT = Path(__file__).resolve().parents[3]


async def fill(directory: Path) -> None:
    """A network with three different rollups, some hundred transactions, and a snapshot in the middle."""
    source = random.Random(5)
    wallets = [Wallet(account.private_key) for account in DEVELOPMENT_ACCOUNTS]
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - 40,
        sub_blocks_per_slot=20,
        rollups=(
            RollupConfig(chain_id=901),
            RollupConfig(chain_id=902, ordering=OrderingPolicy.ARRIVAL),
            RollupConfig(chain_id=903, block_time_slots=2, fork="isthmus"),
        ),
    )
    async with Node.start(network, NodeConfig(data_dir=directory)) as node:
        nonces = {(chain, at): 0 for chain in (901, 902, 903) for at in range(10)}
        for turn in range(40):
            for chain in (901, 902, 903):
                raws = []
                for at in source.sample(range(10), 5):
                    tip = source.randrange(1, 10**9)
                    raws.append(
                        wallets[at].sign_1559(
                            chain, nonces[chain, at], to=source.randbytes(20), value=turn,
                            max_fee_per_gas=10**11, max_priority_fee_per_gas=tip,
                        )
                    )  # fmt: skip
                    nonces[chain, at] += 1
                results = node.pool.submit(chain, raws, node.clock.now_ms())
                assert not any(isinstance(one, Exception) for one in results), results
            await asyncio.sleep(0.06)
            if turn == 20:
                await node.engine.between_heights(node._write_snapshot)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network")
    asyncio.run(fill(path))
    return path


def verify_log(path: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "plait.cli.main", "verify-log", "--data-dir", str(path), "--json"],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    found.pop("seconds", None)
    return done.returncode, found


def test_other_hash_seeds_and_worker_counts_give_the_same_hashes(directory: Path) -> None:
    results = [
        verify_log(directory, PYTHONHASHSEED=seed, RAYON_NUM_THREADS=threads)
        for seed, threads in (("0", "1"), ("1", "2"), ("4242", "4"), ("random", "3"))
    ]
    code, first = results[0]
    assert code == 0, first
    assert first["transactions"] == 600
    assert len(first["snapshots"]) == 2
    assert len({rollup["block_hash"] for rollup in first["rollups"]}) == 3
    assert all(result == results[0] for result in results[1:])


def test_a_flipped_bit_is_named(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "copy")
    (segment,) = (tmp_path / "copy" / "log").glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 16
    segment.write_bytes(data)
    code, found = verify_log(tmp_path / "copy")
    assert code == 5
    assert found["error"]["code"] == "log_damaged"
    assert segment.name in found["error"]["message"]


def test_a_changed_record_with_right_checksums_is_found_by_replay(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    stored = open_storage(None, NodeConfig(data_dir=copy))
    records = list(stored.log.iterate())
    name = fingerprint(stored.network, stored.genesis)
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()
    middle = next(at for at in range(len(records) // 2, len(records)) if records[at].senders)
    changes = {
        "app_hash": bytes(32),
        "senders": bytes(len(records[middle].senders)),
        "time_ms": records[middle].time_ms + 1,
        "proposal": records[middle].proposal[:-1] + bytes([records[middle].proposal[-1] ^ 1]),
    }
    for field, value in changes.items():
        shutil.rmtree(copy / "log")
        log = DecidedLog(copy / "log", name)
        for at, record in enumerate(records):
            log.append(msgspec.structs.replace(record, **{field: value}) if at == middle else record)
        log.close()
        code, found = verify_log(copy)
        assert code == 1, field
        assert not found["ok"]
        assert found["heights"] == records[middle].height - 1, field


def journal_of(copy: Path) -> Path:
    """The store's journal: with so few blocks nothing of them is in a table yet."""
    (journal,) = (copy / "store").glob("*.jnl")
    return journal


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    for place in range(at, at + 16):
        data[place] ^= 0xA5
    path.write_bytes(data)


def raw_blocks(node: Node) -> dict[tuple[int, int], bytes | None]:
    return {
        (rollup_id, number): handle.native.raw_block(number)
        for rollup_id, handle in node.rollups.items()
        for number in range(handle.native.head.number + 1)
    }


def test_a_damaged_block_in_the_store_is_found(directory: Path, tmp_path: Path) -> None:
    """Opening and restarting read none of the old blocks; their damage must not stay unseen."""
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    code, found = verify_log(copy)
    assert code == 0, found
    stored = open_storage(None, NodeConfig(data_dir=copy))
    senders = [record.senders[:20] for record in stored.log.iterate() if record.senders]
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()
    journal = journal_of(copy)
    inside_a_block = journal.read_bytes().index(senders[len(senders) // 2])
    damage(journal, inside_a_block)
    code, found = verify_log(copy)
    assert (code, found["code"]) == (1, "store_corrupt"), f"damaged at {inside_a_block}"
    assert "The log is good" in found["difference"]
    shutil.rmtree(copy / "store")
    assert verify_log(copy)[0] == 0


@pytest.mark.parametrize("third", [0, 1, 2])
def test_whatever_byte_of_the_journal_is_damaged_no_wrong_or_missing_block_is_served(
    directory: Path, tmp_path: Path, third: int
) -> None:
    """Damage that the engine takes for a torn end shortens the store; the log makes the lost blocks again."""
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    stored = open_storage(None, NodeConfig(data_dir=copy))
    network = stored.network
    stored.log.close()
    assert stored.directory is not None
    stored.directory.close()

    async def started() -> dict[tuple[int, int], bytes | None]:
        async with Node.start(network, NodeConfig(data_dir=copy)) as node:
            return raw_blocks(node)

    before = asyncio.run(started())
    shutil.rmtree(copy)
    shutil.copytree(directory, copy)
    journal = journal_of(copy)
    filled = len(journal.read_bytes().rstrip(b"\0"))
    at = filled * third // 3
    damage(journal, at)
    after = asyncio.run(started())
    assert all(after.values()), f"damaged at {at} of {filled}"
    assert {key: after[key] for key in sorted(set(before) & set(after))} == {
        key: before[key] for key in sorted(set(before) & set(after))
    }, f"damaged at {at} of {filled}"


def test_a_changed_snapshot_is_found(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "copy")
    (part, *_) = sorted((tmp_path / "copy" / "snapshots").glob("*/rollup-902"))
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    code, found = verify_log(tmp_path / "copy")
    assert (code, found["code"]) == (1, "snapshot_differs")
    assert "rollup-902" in found["difference"]
