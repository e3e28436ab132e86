"""A node takes another one's snapshot over: it stands where the other stood, goes on, and starts again from there."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from plait.engines.decision import record_of
from plait.errors import InvariantBroken
from plait.limits import MESSAGE_LOGS_KEPT_S, NETWORK_SNAPSHOT_SPAN_BLOCKS
from plait.node.network_snapshot import freeze, spans_of
from plait.node.state_sync import ApplyResult, OfferResult
from plait.protocol.requests import FinalizeRequest
from plait.types import Height
from tests.integration.state_sync.chain import OpenHome, join, two_rollups


@pytest.fixture(scope="module")
def giver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHome]:
    """A node of 120 heights that offers a snapshot of the last one."""
    with OpenHome(tmp_path_factory.mktemp("giver") / "home", two_rollups()) as home:
        home.decide(120, transactions=6)
        home.take()
        yield home


def follow(giver: OpenHome, taker: OpenHome, to_height: int | None = None) -> None:
    """Applies what the giver decided beyond the taker's height, as block sync does."""
    for record in giver.stored.log.iterate(Height(taker.height + 1), None if to_height is None else Height(to_height)):
        effect = taker.application.finalize(
            FinalizeRequest(
                height=record.height, time_ms=record.time_ms, proposal=record.proposal, agreed=record.agreed
            )
        ).effect
        assert effect.app_hash == record.app_hash
        taker.stored.log.append(record_of(effect))
        taker.application.commit()


def test_a_new_node_stands_where_the_snapshot_was_taken_and_starts_again_there(giver: OpenHome, tmp_path: Path) -> None:
    with OpenHome(tmp_path / "home", two_rollups()) as taker:
        rollups = dict(taker.application.rollups)
        assert join(giver.service, taker.service, giver.application.app_hash).result is ApplyResult.ACCEPT
        assert taker.application.info() == giver.application.info()
        assert taker.application.ledger == giver.application.ledger
        assert taker.stored.log.base.height == 120
        assert not (tmp_path / "home" / "restore").exists()
        assert not (tmp_path / "home" / "restoring").exists()
        for rollup_id, theirs in giver.application.rollups.items():
            mine = taker.application.rollups[rollup_id]
            assert mine is rollups[rollup_id], "who holds a rollup goes on with it"
            assert mine.open_block.transaction_count == theirs.open_block.transaction_count
            for number in range(theirs.head.number + 1):
                assert mine.raw_block(number) == theirs.raw_block(number)
                assert mine.raw_receipts(number) == theirs.raw_receipts(number)
            assert mine.block_json(-1, full=True) == theirs.block_json(-1, full=True)
            newest = theirs.raw_block(theirs.head.number)
            assert newest is not None
    with OpenHome(tmp_path / "home") as again:
        assert (again.height, again.restored.snapshot_height) == (120, 120)
        assert again.application.app_hash == giver.application.app_hash
        assert again.service.list() == giver.service.list(), "what was received is offered to others"


def test_a_node_that_joined_decides_what_the_others_decide(giver: OpenHome, tmp_path: Path) -> None:
    """Blocks, open blocks and recent hashes are the same: the next heights give the same app hashes, in blocks sealed
    from the open block that was taken over, and after another start."""
    shutil.copytree(giver.stored.directory.path, tmp_path / "giver", ignore=shutil.ignore_patterns("lock"))
    with OpenHome(tmp_path / "home", two_rollups()) as taker:
        join(giver.service, taker.service, giver.application.app_hash)
    with OpenHome(tmp_path / "giver") as theirs, OpenHome(tmp_path / "home") as taker:
        theirs.decide(40, transactions=5, seed=2)
        follow(theirs, taker, 140)
        taker.close()
        with OpenHome(tmp_path / "home") as again:
            assert (again.height, again.restored.snapshot_height, again.stored.log.first_height) == (140, 120, 121)
            follow(theirs, again)
            assert again.application.info() == theirs.application.info()
            theirs.take()
            again.take()
            assert again.service.list()[0].hash == theirs.service.list()[0].hash, "all nodes make the same snapshot"


def test_chunks_may_come_in_any_order(giver: OpenHome, tmp_path: Path) -> None:
    order = list(range(giver.service.list()[0].chunks))
    Random(4).shuffle(order)
    with OpenHome(tmp_path / "home", two_rollups()) as taker:
        assert join(giver.service, taker.service, giver.application.app_hash, order=order).result is ApplyResult.ACCEPT
        assert taker.application.info() == giver.application.info()


def test_without_its_own_snapshots_or_its_store_a_node_that_joined_falls_back_on_the_network_snapshot(
    giver: OpenHome, tmp_path: Path
) -> None:
    with OpenHome(tmp_path / "home", two_rollups()) as taker:
        join(giver.service, taker.service, giver.application.app_hash)
    for lost in ("snapshots", "store"):
        shutil.rmtree(tmp_path / "home" / lost)
        with OpenHome(tmp_path / "home") as again:
            assert again.application.info() == giver.application.info()
            head = again.application.rollups[901].head.number
            assert again.application.rollups[901].raw_block(head - 1) is not None
    for lost in ("snapshots", "network-snapshots"):
        shutil.rmtree(tmp_path / "home" / lost)
    with pytest.raises(InvariantBroken) as caught:
        OpenHome(tmp_path / "home")
    assert caught.value.code == "history_missing"
    assert "--reset" in caught.value.message


def test_a_node_with_decided_heights_takes_no_snapshot(giver: OpenHome, tmp_path: Path) -> None:
    with OpenHome(tmp_path / "home", two_rollups()) as taker:
        taker.decide(1)
        before = taker.application.info()
        assert taker.service.offer(giver.service.list()[0], giver.application.app_hash) is OfferResult.ABORT
        assert dict(taker.service.refusals) == {"state_sync_not_empty": 1}
        assert taker.application.info() == before


def test_a_node_may_take_a_newer_snapshot_before_its_first_own_height(giver: OpenHome, tmp_path: Path) -> None:
    """CometBFT begins again when it ended before it had noted the first snapshot."""
    shutil.copytree(giver.stored.directory.path, tmp_path / "giver", ignore=shutil.ignore_patterns("lock"))
    with OpenHome(tmp_path / "giver") as theirs, OpenHome(tmp_path / "home", two_rollups()) as taker:
        join(giver.service, taker.service, giver.application.app_hash)
        theirs.decide(30, transactions=3, seed=9)
        theirs.take()
        assert join(theirs.service, taker.service, theirs.application.app_hash).result is ApplyResult.ACCEPT
        assert taker.application.info() == theirs.application.info()
        assert taker.stored.log.base.height == 150


def test_a_snapshot_holds_the_blocks_that_messages_may_come_from_and_full_spans_are_linked(tmp_path: Path) -> None:
    with OpenHome(tmp_path / "home", two_rollups()) as home:
        home.decide(2 * NETWORK_SNAPSHOT_SPAN_BLOCKS + 100, slot_every=1)
        home.take()
        home.decide(300, slot_every=1)
        home.take()
        first, second = (tmp_path / "home" / "network-snapshots" / f"{height:020d}" for height in (2148, 2448))
        assert (first / "901-blocks-1").stat().st_ino == (second / "901-blocks-1").stat().st_ino
        assert (first / "901-blocks-0").stat().st_ino != (second / "901-blocks-0").stat().st_ino
        record = home.application.ledger.rollups[0]
        spans = spans_of(home.application.ledger.parameters, record)
        assert (spans[0].highest, spans[-1].lowest) == (record.head_number, 1)
        old = 3 * MESSAGE_LOGS_KEPT_S
        opened = record.open_block
        assert opened is not None
        late = replace(record, head_number=old, open_block=replace(opened, number=old + 1))
        spans = spans_of(home.application.ledger.parameters, late)
        lowest = old + 1 - MESSAGE_LOGS_KEPT_S
        assert spans[-1].lowest <= lowest < spans[-1].lowest + NETWORK_SNAPSHOT_SPAN_BLOCKS
        assert [span.highest + 1 for span in spans[1:]] == [span.lowest for span in spans[:-1]]


def test_a_snapshot_is_taken_while_heights_go_on(tmp_path: Path) -> None:
    with OpenHome(tmp_path / "home", two_rollups()) as home, OpenHome(tmp_path / "new", two_rollups()) as taker:
        home.decide(50, transactions=4)
        frozen, app_hash = freeze(home.application), home.application.app_hash
        home.decide(60, transactions=4, seed=3)
        home.service.take(frozen)
        assert join(home.service, taker.service, app_hash).result is ApplyResult.ACCEPT
        assert taker.height == 50
        follow(home, taker)
        assert taker.application.info() == home.application.info()


@pytest.mark.slow
def test_a_new_node_joins_a_chain_of_ten_thousand_heights_in_under_a_minute(tmp_path: Path) -> None:
    """From the first offer to the newest height, the last 100 of which it executes."""
    with OpenHome(tmp_path / "giver", two_rollups()) as giver, OpenHome(tmp_path / "new", two_rollups()) as taker:
        giver.decide(10_000, transactions=2)
        started = time.perf_counter()
        giver.take()
        taken = time.perf_counter()
        app_hash = giver.application.app_hash
        giver.decide(100, transactions=10, seed=8)
        joining = time.perf_counter()
        assert join(giver.service, taker.service, app_hash).result is ApplyResult.ACCEPT
        follow(giver, taker)
        seconds = time.perf_counter() - joining
        manifest = giver.stored.network_snapshots.newest().manifest
        print(
            f"\nsnapshot of height 10,000: {manifest.chunks} chunks, {manifest.total_bytes / 1e6:.1f} MB, taken in "
            f"{taken - started:.2f} s; joined in {seconds:.2f} s"
        )
        assert taker.application.info() == giver.application.info()
        assert seconds < 60
