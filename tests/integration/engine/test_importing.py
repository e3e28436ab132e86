"""A chain that exists is copied from its op-geth and executed again, block by block, before anybody goes on from it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from driven_chain import GENESIS_TIME_S, SYSTEM, Chain, origin
from engine_fixtures import Drivers, Engines

from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.errors import ConfigurationError
from plait.native import Rollup, Store
from plait.rollups.opstack.blocks import NativeBlocks
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.importing import (
    check_chain,
    check_grid,
    copy_chain,
    decode_anchor,
    imported_rollup,
    write_import,
)
from plait.types import Address, BlockNumber, Hash32, Milliseconds, Seconds

pytestmark = [pytest.mark.opgeth]

WAIT_S = 60


def config_of(chain: Chain) -> OpStackConfig:
    return OpStackConfig(
        chain_id=chain.chain_id,
        l1_chain_id=900,
        genesis_l1=BlockId(BlockNumber(0), origin(0).hash),
        genesis_l2=BlockId(BlockNumber(0), Hash32(chain.rollup.genesis_hash)),
        genesis_time_s=Seconds(GENESIS_TIME_S),
        genesis_system=SYSTEM,
        block_time_s=1,
        batch_inbox=Address(bytes(20)),
        deposit_contract=Address(bytes(20)),
        system_config_contract=Address(bytes(20)),
        fork=chain.fork,
    )


@pytest.mark.parametrize("fork", ["jovian", "holocene"])
async def test_a_copied_chain_has_every_hash_and_goes_on_from_its_anchor(
    engines: Engines, drivers: Drivers, tmp_path: Path, fork: str
) -> None:
    chain = Chain(fork=fork)
    for number in range(1, 302):
        chain.seal(transactions=number % 3, deposits=number % 2)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain, fork=fork)
    await driver.wait_for(BlockNumber(301), WAIT_S)

    copy = Rollup.from_genesis(chain.genesis, Store.in_memory())
    config = config_of(chain)
    seen: list[int] = []
    async with EngineClient(engine.url, engine.secret) as client:
        await check_chain(client, config)
        anchor = await copy_chain(client, copy, config, progress=lambda number, _: seen.append(number))
    assert copy.head.hash == chain.rollup.head.hash
    assert seen == [128, 256, 301]
    assert anchor.block == BlockId(BlockNumber(301), Hash32(chain.rollup.head.hash))
    assert anchor.origin == BlockId(BlockNumber(301), origin(301).hash)
    assert (anchor.sequence_number, anchor.timestamp) == (0, GENESIS_TIME_S + 301)
    expected = SYSTEM if fork == "holocene" else msgspec.structs.replace(SYSTEM, da_footprint_gas_scalar=400)
    assert anchor.system == expected
    assert decode_anchor(anchor.encode()) == anchor

    write_import(tmp_path / "import", chain.genesis, copy, anchor)
    taken, read = imported_rollup(tmp_path / "import", Store.in_memory())
    assert read == anchor
    assert all(taken.raw_block(number) == chain.rollup.raw_block(number) for number in (1, 150, 301))
    again = Chain(fork=fork, rollup=taken)
    chain.seal(3)
    again.seal(3)
    assert taken.head.hash == chain.rollup.head.hash
    await drivers.close()
    drivers._tasks.clear()
    source = NativeBlocks(taken, anchor.block)
    follower = drivers.run(engine.url, engine.secret, source, fork=fork)
    await follower.wait_for(BlockNumber(302), WAIT_S)
    assert engine.head() == (302, taken.head.hash)


async def test_a_chain_that_does_not_come_out_of_the_genesis_file_is_refused_at_its_first_wrong_block(
    engines: Engines, drivers: Drivers
) -> None:
    chain = Chain()
    chain.grow(3, 0)
    chain.grow(4, 2)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_for(BlockNumber(7), WAIT_S)
    poorer = json.loads(chain.genesis)
    accounts = [address for address, account in poorer["alloc"].items() if "code" not in account]
    for address in accounts:
        if int(poorer["alloc"][address]["balance"], 16) > 0:
            poorer["alloc"][address]["balance"] = "0x0"
    rollup = Rollup.from_genesis(json.dumps(poorer).encode(), Store.in_memory())
    async with EngineClient(engine.url, engine.secret) as client:
        with pytest.raises(ConfigurationError) as caught:
            await copy_chain(client, rollup, config_of(chain))
    assert caught.value.code == "import_hash_mismatch"
    assert "Block 1 " in caught.value.message


async def test_rollup_json_of_another_chain_is_refused(engines: Engines) -> None:
    chain = Chain()
    engine = engines.started(chain)
    right = config_of(chain)
    replace = msgspec.structs.replace
    wrong = {
        "engine_chain_mismatch": replace(right, chain_id=5),
        "engine_genesis_mismatch": replace(right, genesis_l2=BlockId(BlockNumber(0), Hash32(bytes(32)))),
        "engine_fork_mismatch": replace(right, fork="isthmus"),
    }
    async with EngineClient(engine.url, engine.secret) as client:
        await check_chain(client, right)
        for code, config in [*wrong.items(), ("engine_genesis_mismatch", replace(right, genesis_time_s=Seconds(7)))]:
            with pytest.raises(ConfigurationError) as caught:
                await check_chain(client, config)
            assert caught.value.code == code
        with pytest.raises(ConfigurationError) as caught:
            await copy_chain(client, Rollup.from_genesis(chain.genesis, Store.in_memory()), right)
        assert caught.value.code == "import_empty"


def test_blocks_must_fall_on_the_networks_slots() -> None:
    config = msgspec.structs.replace(config_of(Chain()), block_time_s=2)
    check_grid(config, genesis_time_s=Seconds(GENESIS_TIME_S + 5), slot_ms=Milliseconds(1_000))
    check_grid(config, genesis_time_s=Seconds(GENESIS_TIME_S + 4), slot_ms=Milliseconds(2_000))
    for genesis_time_s, slot_ms in ((5, 2_000), (0, 4_000), (0, 3_000)):
        with pytest.raises(ConfigurationError) as caught:
            check_grid(config, genesis_time_s=Seconds(GENESIS_TIME_S + genesis_time_s), slot_ms=Milliseconds(slot_ms))
        assert caught.value.code == "rollup_off_grid"
