"""A chain is brought in without its genesis file: its last blocks are copied from a real op-geth, its state stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from driven_chain import Chain
from engine_fixtures import Drivers, Engines
from engine_processes import EngineProcess
from test_chain_commands import plait
from test_importing import config_of

import plait.rollups.opstack.ancestors
from plait.derivation.rollup_config import BlockId
from plait.errors import ConfigurationError
from plait.rollups.opstack.ancestors import AncestorFile, copy_ancestors
from plait.rollups.opstack.driver_state import SettledHeads
from plait.rollups.opstack.engine_client import EngineClient
from plait.types import BlockNumber, Hash32

pytestmark = [pytest.mark.opgeth]

WAIT_S = 60
Plait = Callable[..., Awaitable[tuple[int, str, str]]]


def numbers(file: AncestorFile) -> list[int]:
    return [block.number for piece in file.downwards(17) for block in piece]


async def driven(engines: Engines, drivers: Drivers, chain: Chain, final: int = 0) -> EngineProcess:
    engine = engines.started(chain)
    settled = SettledHeads(BlockNumber(final), BlockNumber(final))
    driver = drivers.run(engine.url, engine.secret, chain, settled=lambda: settled)
    await driver.wait_for(BlockNumber(chain.rollup.head.number), WAIT_S)
    return engine


async def test_blocks_are_copied_whole_from_a_channels_lifetime_before_what_is_final(
    engines: Engines, drivers: Drivers, tmp_path: Path
) -> None:
    chain = Chain()  # one L1 block for each of its blocks
    for number in range(1, 202):
        chain.seal(number % 3, deposits=number % 2)
    engine = await driven(engines, drivers, chain, final=180)
    file, config = AncestorFile(tmp_path / "ancestors"), config_of(chain)
    seen: list[int] = []
    async with EngineClient(engine.url, engine.secret) as client:
        last = await copy_ancestors(client, file, config, progress=lambda number, _: seen.append(number))
        assert last == BlockId(BlockNumber(201), Hash32(chain.rollup.head.hash))
        assert numbers(file) == list(range(201, 180 - 51 - 1, -1))
        assert seen == [192, 201]
        for piece in file.downwards():
            for block in piece:
                assert block.header == chain.rollup.raw_header(block.number)
                assert block.receipts == chain.rollup.raw_receipts(block.number)

        chain.grow(5)  # a second call goes on where the first ended
        follower = drivers.run(engine.url, engine.secret, chain)
        await follower.wait_for(BlockNumber(206), WAIT_S)
        assert (await copy_ancestors(client, file, config, until=BlockNumber(204))).number == 204
        assert numbers(file) == list(range(204, 128, -1))

        whole = file.path.read_bytes()
        for cut in (1, 3, 4, 5, 100):  # a copy that was interrupted begins anew
            file.path.write_bytes(whole[:-cut])
            assert (await copy_ancestors(client, file, config, until=BlockNumber(204))).number == 204
            assert file.path.read_bytes() == whole


async def test_a_chain_of_which_l1_has_nothing_is_copied_from_its_genesis_or_refused_when_it_is_too_long(
    engines: Engines, drivers: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    chain.grow(40)
    engine = await driven(engines, drivers, chain)
    file, config = AncestorFile(tmp_path / "ancestors"), config_of(chain)
    async with EngineClient(engine.url, engine.secret) as client:
        await copy_ancestors(client, file, config)
        assert numbers(file) == list(range(40, -1, -1))
        file.clear()
        monkeypatch.setattr(plait.rollups.opstack.ancestors, "REMOTE_ANCESTORS_MAX", 39)
        with pytest.raises(ConfigurationError) as long:
            await copy_ancestors(client, file, config)
        assert long.value.code == "remote_history_long"


async def test_what_an_engine_took_back_is_copied_again(engines: Engines, drivers: Drivers, tmp_path: Path) -> None:
    chain = Chain()
    chain.grow(20)
    engine = await driven(engines, drivers, chain)
    file, config = AncestorFile(tmp_path / "ancestors"), config_of(chain)
    async with EngineClient(engine.url, engine.secret) as client:
        await copy_ancestors(client, file, config)
        session = chain.rollup.session_at(15)
        chain.rollup.commit(session)
        chain.grow(10, 1)
        follower = drivers.run(engine.url, engine.secret, chain)
        await follower.wait_for(BlockNumber(25), WAIT_S)
        last = await copy_ancestors(client, file, config)
    assert last == BlockId(BlockNumber(25), Hash32(chain.rollup.head.hash))
    assert numbers(file) == list(range(25, -1, -1))
    found = {block.number: block.header for piece in file.downwards() for block in piece}
    assert all(header == chain.rollup.raw_header(number) for number, header in found.items())
