"""A node takes an anchored chain's copy into memory and says so in its reports, or says what is missing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from plait.errors import InvariantBroken
from plait.native import Store
from plait.node.joined import Arrivals, NodeSource
from plait.rollups.opstack.importing import ANCHOR_FILE
from plait.types.action import WithdrawAnchor
from plait.types.l1 import RollupSafe
from sim.l1_joining import CHAIN, JoiningWorld


def anchored(directory: Path) -> JoiningWorld:
    world = JoiningWorld(validators=0)
    world.pass_seconds(6)
    world.pass_second([world.bind()])
    world.pass_seconds(6)
    world.sequences = False
    world.chain.copy_to(directory)
    world.pass_second([world.anchor(world.second + 14)])
    assert world.failed == ()
    return world


def arrivals_of(world: JoiningWorld, imports: Path | None) -> tuple[NodeSource, Arrivals]:
    source = NodeSource(world.network.source, imports)
    return source, Arrivals(source, Store.in_memory(), lambda: world.nodes[0].ledger)


async def test_a_copy_that_is_there_is_loaded_and_reported(tmp_path: Path) -> None:
    world = anchored(tmp_path / str(CHAIN))
    source, arrivals = arrivals_of(world, tmp_path)
    assert arrivals.safe_reports() == ()
    await arrivals.step()
    assert arrivals.reasons() == ()
    number = world.chain.anchor().block.number
    assert arrivals.safe_reports() == (RollupSafe(CHAIN, number),)
    assert world.entry is not None
    assert source.existing(world.entry, Store.in_memory()).head.number == number, "nothing is loaded a second time"
    assert source.genesis_json(world.entry) == world.chain.genesis


@pytest.mark.parametrize("problem", ["none", "memory", "older", "damaged"])
async def test_a_copy_that_is_missing_or_another_is_a_reason_and_is_not_reported(problem: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    world = anchored(elsewhere)
    imports = None if problem == "memory" else tmp_path / "imports"
    if problem == "older":
        other = JoiningWorld(validators=0)
        other.pass_seconds(3)
        other.chain.copy_to(tmp_path / "imports" / str(CHAIN))
    if problem == "damaged":
        world.chain.copy_to(tmp_path / "imports" / str(CHAIN))
        (tmp_path / "imports" / str(CHAIN) / "state").write_bytes(b"nothing")
    source, arrivals = arrivals_of(world, imports)
    await arrivals.step()
    assert arrivals.safe_reports() == ()
    (reason,) = arrivals.reasons()
    assert f"Chain {CHAIN} joins the network at slot" in reason
    assert "plait rollup import" in reason
    assert "s are left" in reason
    assert world.entry is not None
    with pytest.raises(InvariantBroken) as refusal:
        source.existing(world.entry, Store.in_memory())
    assert refusal.value.code == "rollup_import_missing"
    if problem == "none":
        (tmp_path / "imports").mkdir()
        elsewhere.rename(tmp_path / "imports" / str(CHAIN))
        await arrivals.step()
        assert arrivals.reasons() == ()
        assert len(arrivals.safe_reports()) == 1


async def test_a_chain_whose_anchor_was_withdrawn_is_let_go(tmp_path: Path) -> None:
    world = anchored(tmp_path / str(CHAIN))
    source, arrivals = arrivals_of(world, tmp_path)
    await arrivals.step()
    entry = world.entry
    assert entry is not None
    assert source.loaded(entry)
    world.pass_second([world.action(WithdrawAnchor(rollup_id=CHAIN))])
    await arrivals.step()
    assert arrivals.safe_reports() == ()
    assert not source.loaded(entry)
    (tmp_path / str(CHAIN) / ANCHOR_FILE).unlink()
    with pytest.raises(InvariantBroken):
        source.existing(entry, Store.in_memory())


async def test_an_anchor_that_names_the_copys_block_and_lies_about_the_rest_is_not_reported(tmp_path: Path) -> None:
    """Withdrawn and named anew at once, so that the copy is still in memory: nodes that started again could not
    load it, and stopped at the join."""
    world = anchored(tmp_path / str(CHAIN))
    source, arrivals = arrivals_of(world, tmp_path)
    await arrivals.step()
    assert len(arrivals.safe_reports()) == 1
    right = world.chain.anchor()
    wrong = msgspec.structs.replace(right, sequence_number=right.sequence_number + 1)
    world.pass_second([world.action(WithdrawAnchor(rollup_id=CHAIN))])
    world.pass_second([world.anchor(world.second + 14, wrong)])
    assert world.failed == ()
    assert arrivals.safe_reports() == ()
    assert world.entry is not None
    with pytest.raises(InvariantBroken) as refusal:
        source.existing(world.entry, Store.in_memory())
    assert refusal.value.code == "rollup_import_missing"
    await arrivals.step()
    assert len(arrivals.reasons()) == 1
