"""A chain is brought in without its genesis file: its last blocks are copied from a real op-geth, its state stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from driven_chain import Chain
from engine_fixtures import Drivers, Engines
from engine_processes import EngineProcess
from test_importing import config_of

import plait.rollups.opstack.ancestors
from plait.derivation.rollup_config import BlockId, encode_rollup_json
from plait.errors import ConfigurationError
from plait.native import Store
from plait.rollups.batcher.anchors import oldest_anchor
from plait.rollups.opstack.ancestors import AncestorFile, copy_ancestors
from plait.rollups.opstack.driver_state import SettledHeads
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.importing import anchor_of
from plait.rollups.opstack.remote_import import (
    NOTHING_HELD,
    RemoteSource,
    ancestors_of,
    remote_imported,
    require_state,
    write_remote_import,
)
from plait.rollups.opstack.remote_journal import Held, ReadJournal
from plait.rollups.opstack.remote_state import RpcStateReader
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
        source = RemoteSource(url=engine.url, jwt_file=str(engine.secret_file))
        write_remote_import(tmp_path, source, await anchor_of(client, last.number, config))
        rollup = remote_imported(tmp_path, Store.in_memory(), source.reader())
        begins = oldest_anchor(rollup, config)
        assert begins is not None, "the settlement view has where to begin"
        assert begins.head.number <= 180, "and it is final"
        assert begins.l1_number == 129

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


async def test_import_without_a_genesis_file_and_every_wrong_input_by_name(
    engines: Engines, drivers: Drivers, tmp_path: Path, plait: Plait
) -> None:
    chain = Chain()
    chain.grow(10, 3)
    engine = await driven(engines, drivers, chain)
    right, other = tmp_path / "rollup.json", tmp_path / "other.json"
    right.write_bytes(encode_rollup_json(config_of(chain)))
    other.write_bytes(encode_rollup_json(config_of(Chain(chain_id=902))))
    bad_secret = tmp_path / "bad.hex"
    bad_secret.write_text("11" * 32)
    bad_secret.chmod(0o600)
    named = ["--engine", engine.url, "--jwt", str(engine.secret_file), "--rollup-config", str(right)]
    into = tmp_path / "copy"

    async def refused(*arguments: str) -> str:
        code, _, said = await plait("import", "--into", str(tmp_path / "refused"), *arguments)
        assert code == 4, said
        assert len(said.split(": ", 1)[1]) > 40, "a sentence that says what to do"
        return said.split(":")[0].removeprefix("error (").removesuffix(")")

    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(chain.genesis)
    other_engine = engines.started(Chain(chain_id=902))
    assert await refused(*named[:2], "--jwt", str(bad_secret), *named[4:]) == "engine_jwt_refused"
    assert await refused(*named[:4], "--rollup-config", str(other)) == "engine_chain_mismatch"
    assert await refused(*named, "--state", "http://127.0.0.1:9") == "remote_unavailable"
    assert await refused(*named, "--state", "nonsense") == "remote_unavailable"
    assert await refused(*named, "--state", engine.url) == "engine_jwt_refused"
    assert await refused(*named, "--genesis", str(genesis), "--state", engine.url) == "state_url_unused"
    http = f"http://127.0.0.1:{other_engine.http_port}"
    assert await refused(*named, "--state", http) == "engine_chain_mismatch"
    for change, expected in (
        ({"error": {"code": -32601, "message": "the method eth_getProof does not exist/is not available"}},
         "remote_method_missing"),
        ({"error": {"code": -32000, "message": "missing trie node 12 (path ) state 0x12 is not available"}},
         "remote_state_pruned"),
        ({"result": {"accountProof": [], "storageProof": []}}, "remote_proof_wrong"),
    ):  # fmt: skip
        async with changing(f"http://127.0.0.1:{engine.http_port}", "eth_getProof", change) as url:
            assert await refused(*named, "--state", url) == expected
    assert not list((tmp_path / "refused").glob("remote.json"))

    code, printed, said = await plait("import", "--into", str(into), *named, "--json")
    assert code == 0, said
    found = json.loads(printed)
    assert (found["number"], found["hash"]) == (10, "0x" + chain.rollup.head.hash.hex())
    assert found["state"] == "remote"
    written = json.loads((into / "remote.json").read_bytes())
    assert written == {"url": engine.url, "jwt_file": str(engine.secret_file)}
    assert (into / "remote.json").stat().st_mode & 0o077 == 0, "a URL can hold a key"
    assert engine.secret.hex() not in (into / "remote.json").read_text()


async def test_an_imported_chain_goes_on_where_it_was_from_its_journal_alone(
    engines: Engines, drivers: Drivers, tmp_path: Path
) -> None:
    """Blocks made on remote state have the engine's hashes; made again from the journal they ask nobody."""
    chain = Chain()
    chain.grow(30, 3)
    engine = await driven(engines, drivers, chain)
    into = tmp_path / "copy"
    source = RemoteSource(url=engine.url, jwt_file=str(engine.secret_file))
    async with EngineClient(engine.url, engine.secret) as client:
        await asyncio.to_thread(require_state, config_of(chain), source)
        last = await copy_ancestors(client, ancestors_of(into), config_of(chain))
        write_remote_import(into, source, await anchor_of(client, last.number, config_of(chain)))
    await drivers.close()  # the engine stays at the anchor
    drivers._tasks.clear()
    blocks = []
    for count in (3, 0, 5):
        chain.grow(1, count)
        blocks.append(chain.rollup.raw_block(chain.rollup.head.number))

    def made(reader: RpcStateReader, held: Held) -> list[bytes | None]:
        rollup = remote_imported(into, Store.in_memory(), reader, held)
        assert rollup.head.hash == last.hash
        assert [rollup.raw_header(number) for number in range(31)] == [
            chain.rollup.raw_header(number) for number in range(31)
        ]
        here = Chain(rollup=rollup)
        for count in (3, 0, 5):
            here.grow(1, count)
        return [rollup.raw_block(number) for number in (31, 32, 33)]

    journal = ReadJournal(tmp_path / "journal")
    reader = source.reader(journal)
    assert await asyncio.to_thread(made, reader, journal.held()) == blocks
    assert reader.requests > 0
    reader.close()
    nobody = RpcStateReader("http://127.0.0.1:9")
    assert await asyncio.to_thread(made, nobody, ReadJournal(tmp_path / "journal").held()) == blocks
    assert nobody.requests == 0

    # without the journal an archive helps, also when it has gone on
    follower = drivers.run(engine.url, engine.secret, chain)
    await follower.wait_for(BlockNumber(33), WAIT_S)
    reader = source.reader(ReadJournal(tmp_path / "lost"))
    reader.replaying = True
    assert await asyncio.to_thread(made, reader, NOTHING_HELD) == blocks
    reader.close()


@contextlib.asynccontextmanager
async def changing(target: str, method: str, change: dict[str, Any]) -> AsyncIterator[str]:
    """A node before `target` that gives another answer to one method."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        asked = json.loads(body)
        async with session.post(target, data=body, headers={"Content-Type": "application/json"}) as response:
            answers = await response.json()
        changed = {one["id"] for one in asked if one["method"] == method}
        return web.json_response(
            [{"jsonrpc": "2.0", "id": one["id"]} | change if one["id"] in changed else one for one in answers]
        )

    application = web.Application()
    application.add_routes([web.post("/", answer)])
    runner = web.AppRunner(application, access_log=None)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
