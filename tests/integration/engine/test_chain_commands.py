"""`plait rollup check` and `import` on a real op-geth: what they print and write, and every wrong input by name."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from driven_chain import Chain
from engine_fixtures import Drivers, Engines
from test_importing import config_of

from plait.derivation.rollup_config import encode_rollup_json
from plait.native import Store
from plait.rollups.opstack.importing import imported_rollup
from plait.types import BlockNumber

pytestmark = [pytest.mark.opgeth]


async def test_check_and_import_a_chain_and_import_more_of_it_later(
    engines: Engines,
    drivers: Drivers,
    tmp_path: Path,
    plait: Callable[..., Awaitable[tuple[int, str, str]]],
) -> None:
    chain = Chain()
    chain.grow(30)
    engine = engines.started(chain)
    driver = drivers.run(engine.url, engine.secret, chain)
    await driver.wait_for(BlockNumber(30), 60)
    rollup_json, wrong_json, genesis = (tmp_path / name for name in ("rollup.json", "wrong.json", "genesis.json"))
    rollup_json.write_bytes(encode_rollup_json(config_of(chain)))
    wrong_json.write_bytes(encode_rollup_json(config_of(Chain(chain_id=902))))
    genesis.write_bytes(chain.genesis)
    bad_secret = tmp_path / "bad.hex"
    bad_secret.write_text("11" * 32)
    bad_secret.chmod(0o600)
    named = ["--engine", engine.url, "--jwt", str(engine.secret_file), "--rollup-config", str(rollup_json)]

    code, printed, _ = await plait("check", *named, "--json")
    assert code == 0
    assert json.loads(printed)["head"] == {"number": 30, "hash": "0x" + chain.rollup.head.hash.hex()}
    for changed, expected in (
        ([*named[:2], "--jwt", str(bad_secret), *named[4:]], "engine_jwt_refused"),
        ([*named[:2], "--jwt", str(tmp_path / "none"), *named[4:]], "engine_jwt_unusable"),
        ([*named[:4], "--rollup-config", str(wrong_json)], "engine_chain_mismatch"),
        ([*named[:4], "--rollup-config", str(genesis)], "rollup_config_invalid"),
        (["--engine", "http://127.0.0.1:9", *named[2:]], "engine_unreachable"),
    ):
        code, _, said = await plait("check", *changed)
        assert (code, said.split(":")[0]) == (4, f"error ({expected})")

    into = tmp_path / "copy"
    for number in (30, 45):
        chain.grow(number - chain.rollup.head.number)
        driver.notify()
        await driver.wait_for(BlockNumber(number), 60)
        code, printed, said = await plait(
            "import", *named, "--genesis", str(genesis), "--into", str(into), *(["--json"] if number == 45 else [])
        )
        assert code == 0, said
        assert chain.rollup.head.hash.hex() in printed
    assert json.loads(printed)["number"] == 45
    rollup, anchor = imported_rollup(into, Store.in_memory())
    assert rollup.head.hash == anchor.block.hash == chain.rollup.head.hash
    code, _, said = await plait("import", *named, "--genesis", str(wrong_json), "--into", str(tmp_path / "other"))
    assert code != 0
    assert said.startswith("error (genesis_malformed)")
