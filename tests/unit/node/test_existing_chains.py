"""A network founded over existing chains: one grid for all of them, and what cannot be gathered is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from plait.derivation.anchor import Anchor
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.system_config import NO_BATCHER, SystemConfig
from plait.errors import ConfigurationError
from plait.l1.client import L1Client
from plait.l1.headers import L1Header
from plait.node.existing import (
    FOUNDING_FILE,
    ChainEngine,
    Founding,
    _grid,
    add_chain,
    check_open,
    genesis_files,
    import_directory,
    node_config,
    read_founding,
)
from plait.types import Address, BlockNumber, Gas, Hash32, Seconds

SYSTEM = SystemConfig(
    batcher=NO_BATCHER, gas_limit=Gas(30_000_000), base_fee_scalar=1, blob_base_fee_scalar=2,
    eip1559_denominator=250, eip1559_elasticity=6,
)  # fmt: skip


def anchor(chain_id: int, timestamp: int, block_time_s: int = 1, origin: int = 9) -> Anchor:
    return Anchor(
        config=OpStackConfig(
            chain_id=chain_id,
            l1_chain_id=900,
            genesis_l1=BlockId(BlockNumber(0), Hash32(bytes(32))),
            genesis_l2=BlockId(BlockNumber(0), Hash32(bytes(32))),
            genesis_time_s=Seconds(1_000),
            genesis_system=SYSTEM,
            block_time_s=block_time_s,
            batch_inbox=Address(bytes(20)),
            deposit_contract=Address(bytes(20)),
            system_config_contract=Address(bytes(20)),
        ),
        block=BlockId(BlockNumber(500), Hash32(chain_id.to_bytes(32, "big"))),
        timestamp=Seconds(timestamp),
        origin=BlockId(BlockNumber(origin), hash_of(origin)),
        sequence_number=3,
        system=SYSTEM,
    )


def hash_of(number: int) -> Hash32:
    return Hash32(bytes([number]) * 32)


class Headers:
    """The one call of an L1 that is needed, on a chain of made-up headers."""

    async def header(self, number: BlockNumber) -> L1Header | None:
        if number > 20:
            return None
        empty = Hash32(bytes(32))
        values: dict[str, Any] = dict.fromkeys(L1Header.__struct_fields__, empty)
        values |= {"number": number, "hash": hash_of(number), "timestamp": Seconds(100 + number), "base_fee": 7}
        values |= {"excess_blob_gas": 0, "gas_limit": 1, "gas_used": 0, "blob_gas_used": 0}
        return L1Header(**values)


async def add(directory: Path, found: Founding | None, one: Anchor) -> Founding:
    l1: L1Client = Headers()  # type: ignore[assignment]
    engine = ChainEngine(chain_id=one.config.chain_id, url="http://127.0.0.1:1", jwt_file="/jwt.hex")
    return await add_chain(directory, found, one, engine, l1=l1, l1_url="http://127.0.0.1:2")


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ([(2_000, 1)], 2_000),
        ([(2_000, 1), (2_007, 1)], 2_000),
        ([(2_000, 2), (2_003, 1)], 2_000),
        ([(2_003, 2), (2_001, 1)], 2_001),
        ([(2_000, 2), (2_001, 3)], 1_998),
        ([(2_000, 4), (2_002, 2)], 2_000),
    ],
)
def test_the_grid_begins_at_the_latest_time_from_which_every_chain_goes_on(
    chains: list[tuple[int, int]], expected: int
) -> None:
    anchors = [anchor(901 + at, time, block) for at, (time, block) in enumerate(chains)]
    found = _grid(anchors)
    assert found == expected
    assert all(one.timestamp >= found and (one.timestamp - found) % one.config.block_time_s == 0 for one in anchors)


def test_chains_whose_blocks_never_fall_together_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _grid([anchor(901, 2_000, 2), anchor(902, 2_001, 4)])
    assert caught.value.code == "rollup_off_grid"


async def test_chains_are_gathered_one_after_the_other_and_begin_at_the_earliest_origin(tmp_path: Path) -> None:
    first = await add(tmp_path, None, anchor(901, 2_005, origin=9))
    again = check_open(tmp_path, 902)
    assert again == first
    both = await add(tmp_path, again, anchor(902, 2_000, block_time_s=5, origin=7))
    assert read_founding(tmp_path) == both
    assert [rollup.chain_id for rollup in both.network.rollups] == [901, 902]
    assert both.network.l1 is not None
    assert both.network.l1.start_facts().number == 7
    assert both.network.genesis_time_s == 2_000
    assert both.network.network_id == first.network.network_id
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("reporter.key", FOUNDING_FILE))
    config = node_config(tmp_path, both, port=0, rollup_port_base=None, batcher_key=None)
    config.check()
    assert [engine.chain_id for engine in config.engines] == [901, 902]
    for name, call in (
        ("rollup_already_registered", lambda: check_open(tmp_path, 901)),
        ("import_missing", lambda: genesis_files(tmp_path, both)),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.code == name
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "network.json").write_text("{}")
    with pytest.raises(ConfigurationError) as caught:
        check_open(tmp_path, 903)
    assert caught.value.code == "network_started"
    assert import_directory(tmp_path, 901) == tmp_path / "node" / "imports" / "901"


async def test_an_anchor_of_another_l1_is_refused_and_nothing_written(tmp_path: Path) -> None:
    lost = msgspec.structs.replace(anchor(901, 2_000), origin=BlockId(BlockNumber(9), hash_of(8)))
    for wrong in (lost, anchor(901, 2_000, origin=21)):
        with pytest.raises(ConfigurationError) as caught:
            await add(tmp_path, None, wrong)
        assert caught.value.code == "anchor_not_on_l1"
    assert not (tmp_path / FOUNDING_FILE).exists()
    (tmp_path / FOUNDING_FILE).write_text("{}")
    with pytest.raises(ConfigurationError) as caught:
        read_founding(tmp_path)
    assert caught.value.code == "configuration_invalid"
