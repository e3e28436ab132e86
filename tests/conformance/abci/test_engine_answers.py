"""The engine's side of ABCI 2.0, asked over its real socket as CometBFT may ask, also in ways that seldom happen."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from abci_client import ACCEPT, COMMIT, INFO, MAX_TX_BYTES, REJECT, AbciClient, World, decide, running

from plait.engines.cometbft.abci_pb2 import (
    CommitInfo,
    ExtendedCommitInfo,
    ExtendedVoteInfo,
    Misbehavior,
    Request,
    RequestApplySnapshotChunk,
    RequestCheckTx,
    RequestExtendVote,
    RequestListSnapshots,
    RequestLoadSnapshotChunk,
    RequestOfferSnapshot,
    RequestQuery,
    RequestVerifyVoteExtension,
    ResponseApplySnapshotChunk,
    ResponseOfferSnapshot,
    ResponseVerifyVoteExtension,
    Snapshot,
    Validator,
    VoteInfo,
)
from plait.engines.cometbft.conversions import timestamp, validator_updates
from plait.errors import ConfigurationError, InvariantBroken
from plait.mempool import Pool
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import BlockIdFlag, Height, Milliseconds, MisbehaviorKind, ValidatorUpdate
from sim.wallet import Wallet

pytestmark = pytest.mark.timeout(60)


async def proposal_of(world: World, client: AbciClient, height: int, **changes: Any) -> bytes:
    answer = await client.ask(world.prepare(height, **changes))
    assert len(answer.prepare_proposal.txs) == 1, "always exactly one proposal"
    return bytes(answer.prepare_proposal.txs[0])


# ---------------------------------------------------------------- the usual way
async def test_heights_are_decided_made_durable_and_published_before_commit_is_answered(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    world = World(tmp_path, publish=lambda decision: seen.append((decision.effect.height, world.log.height)))
    async with running(world) as client:
        info = (await client.ask(INFO)).info
        assert (info.last_block_height, info.last_block_app_hash) == (0, b"")
        started = (await client.ask(world.init())).init_chain
        assert started.app_hash == world.application.app_hash
        for height in range(1, 6):
            proposal = await proposal_of(world, client, height)
            assert (await client.ask(world.process(height, [proposal]))).process_proposal.status == ACCEPT
            answer = (await client.ask(world.finalize(height, [proposal]))).finalize_block
            assert len(answer.tx_results) == 1
            before = (await client.ask(INFO)).info
            assert before.last_block_height == height - 1, "FinalizeBlock makes nothing permanent"
            assert world.log.height == height - 1
            assert (await client.ask(COMMIT)).commit.retain_height == 0
            assert seen[-1] == (height, height), "the log first, then whoever listens"
            after = (await client.ask(INFO)).info
            assert (after.last_block_height, after.last_block_app_hash) == (height, answer.app_hash)
            record = world.log.read(Height(height))
            assert record is not None
            assert record.app_hash == answer.app_hash


async def test_time_is_the_header_time_in_whole_milliseconds(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        time = timestamp(world.time_ms(2))
        time.nanos += 999_999
        proposal = await proposal_of(world, client, 1, time=time)
        assert (await client.ask(world.process(1, [proposal], time=time))).process_proposal.status == ACCEPT
        await client.ask(world.finalize(1, [proposal], time=time))
        await client.ask(COMMIT)
    assert world.decisions[0].effect.time_ms == world.time_ms(2)


async def test_what_cometbft_agreed_on_reaches_the_application_the_same_in_every_request(tmp_path: Path) -> None:
    world = World(tmp_path)
    votes = [(b"\x01" * 20, 10, 2), (b"\x02" * 20, 20, 1), (b"\x03" * 20, 5, 3)]
    evidence = [
        Misbehavior(
            type=1,
            validator=Validator(address=b"\x02" * 20, power=20),
            height=1,
            time=timestamp(world.time_ms(1)),
            total_voting_power=35,
        )
    ]
    commit = CommitInfo(
        votes=[
            VoteInfo(validator=Validator(address=address, power=power), block_id_flag=flag)
            for address, power, flag in votes
        ]
    )
    extended = ExtendedCommitInfo(
        votes=[
            ExtendedVoteInfo(validator=Validator(address=address, power=power), block_id_flag=flag)
            for address, power, flag in votes
        ]
    )
    async with running(world) as client:
        proposal = await proposal_of(world, client, 1, local_last_commit=extended, misbehavior=evidence)
        same = {"misbehavior": evidence}
        answer = await client.ask(world.process(1, [proposal], proposed_last_commit=commit, **same))
        assert answer.process_proposal.status == ACCEPT
        await client.ask(world.finalize(1, [proposal], decided_last_commit=commit, **same))
        await client.ask(COMMIT)
    agreed = world.decisions[0].effect.agreed
    assert agreed.proposer == b"\x07" * 20
    assert [(vote.address, vote.power, vote.flag) for vote in agreed.votes] == [
        (address, power, BlockIdFlag(flag)) for address, power, flag in votes
    ]
    (found,) = agreed.misbehavior
    assert (found.kind, found.address, found.height, found.total_power) == (
        MisbehaviorKind.DUPLICATE_VOTE,
        b"\x02" * 20,
        1,
        35,
    )


# ---------------------------------------------------------------- seldom, but allowed
async def test_a_decision_needs_no_process_and_no_prepare_here(tmp_path: Path) -> None:
    """Replay and block sync: another node decided, this one is only told."""
    first = World(tmp_path / "one")
    proposals, hashes = [], []
    async with running(first) as client:
        for height in range(1, 4):
            proposals.append(await proposal_of(first, client, height))
            hashes.append(await decide(first, client, height, proposals[-1]))
    second = World(tmp_path / "two", genesis_time_s=first.network.genesis_time_s)
    async with running(second) as client:
        assert [await decide(second, client, height, proposals[height - 1]) for height in range(1, 4)] == hashes


async def test_several_proposals_of_a_height_live_beside_each_other_and_any_may_be_decided(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        proposals = []
        for offset in (0, 7, 20):  # rounds: each has its own time
            time = timestamp(Milliseconds(world.time_ms(1) + offset))
            proposals.append((await proposal_of(world, client, 1, time=time), time))
        for proposal, time in [*proposals, *reversed(proposals)]:
            assert (await client.ask(world.process(1, [proposal], time=time))).process_proposal.status == ACCEPT
        proposal, time = proposals[1]
        assert (await client.ask(world.process(1, [proposal], time=proposals[0][1]))).process_proposal.status == REJECT
        await client.ask(world.finalize(1, [proposal], time=time))
        again = await client.ask(world.finalize(1, [proposal], time=time))
        assert again.WhichOneof("value") == "finalize_block", "asked twice, answered twice"
        await client.ask(COMMIT)
        assert world.decisions[0].effect.time_ms == world.time_ms(1) + 7
        assert (await client.ask(world.process(1, [proposal], time=time))).process_proposal.status == REJECT


async def test_init_chain_comes_again_while_nothing_was_decided(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        first = await client.ask(world.init())
        assert await client.ask(world.init()) == first


async def test_vote_extensions_are_empty_and_only_empty_ones_are_accepted(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        extended = await client.ask(Request(extend_vote=RequestExtendVote(height=1)))
        assert extended.extend_vote.vote_extension == b""
        for extension, status in (
            (b"", ResponseVerifyVoteExtension.ACCEPT),
            (b"x", ResponseVerifyVoteExtension.REJECT),
        ):
            request = Request(verify_vote_extension=RequestVerifyVoteExtension(height=1, vote_extension=extension))
            assert (await client.ask(request)).verify_vote_extension.status == status


# ---------------------------------------------------------------- bad blocks
@pytest.mark.parametrize(
    ("txs", "code"),
    [
        ([], "block_content"),
        ([b"a", b"b"], "block_content"),
        ([b""], "codec_invalid"),
        ([b"\xff" * 99], "codec_invalid"),
    ],
)
async def test_a_block_that_is_not_one_valid_proposal_is_rejected_with_a_reason(
    tmp_path: Path, txs: list[bytes], code: str
) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        before = world.application.info()
        assert (await client.ask(world.process(1, txs))).process_proposal.status == REJECT
        assert world.application.info() == before
        assert await decide(world, client, 1, await proposal_of(world, client, 1))
    (event,) = world.logger.of("proposal_rejected")
    assert sum(world.engine.rejected.values()) == 1
    assert code in (event["code"], "codec_invalid")
    assert event["reason"]


async def test_a_flag_that_abci_does_not_have_is_rejected_not_guessed(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        proposal = await proposal_of(world, client, 1)
        commit = CommitInfo(votes=[VoteInfo(validator=Validator(address=b"\x01" * 20, power=1), block_id_flag=9)])
        answer = await client.ask(world.process(1, [proposal], proposed_last_commit=commit))
        assert answer.process_proposal.status == REJECT
        assert world.engine.rejected["agreed_invalid"] == 1


async def test_a_check_that_breaks_rejects_and_the_node_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        proposal = await proposal_of(world, client, 1)
        with monkeypatch.context() as patched:
            patched.setattr(world.application, "process", lambda _: 1 // 0)
            assert (await client.ask(world.process(1, [proposal]))).process_proposal.status == REJECT
        assert world.engine.rejected == {"process_failed": 1}
        assert (await client.ask(world.process(1, [proposal]))).process_proposal.status == ACCEPT


class NativePanic(BaseException):
    """As PyO3's, which is no Exception."""


@pytest.mark.parametrize("code", ["ledger_seat_wrong", "upgrade_required"])
async def test_only_a_missing_upgrade_stops_a_node_that_checks_a_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """An invariant that one proposal breaks must not stop every node that looks at it."""

    def broken(_: object) -> None:
        raise InvariantBroken("something that cannot be", code=code)

    world = World(tmp_path)
    failures: list[BaseException] = []
    stops = code == "upgrade_required"
    async with running(world, fails=failures.append if stops else None) as client:
        proposal = await proposal_of(world, client, 1)
        monkeypatch.setattr(world.application, "process", broken)
        answer = await client.ask(world.process(1, [proposal]))
        assert answer.WhichOneof("value") == ("exception" if stops else "process_proposal")
        assert stops or answer.process_proposal.status == REJECT
    assert len(failures) == stops


async def test_a_proposal_that_does_not_come_back_in_time_makes_the_next_ones_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[int, bool]] = []
    world = World(tmp_path)
    monkeypatch.setattr(world.engine._pace, "waited", lambda size, seconds: waited.append((size, seconds > 0.2)))
    async with running(world) as client:
        proposal = await proposal_of(world, client, 1)
        await client.ask(world.process(1, [proposal]))
        assert waited == [(len(proposal), False)]
        proposal = await proposal_of(world, client, 1)
        await asyncio.sleep(0.25)
        await proposal_of(world, client, 1)  # of a later round
        assert waited[1:] == [(len(proposal), True)]
        await asyncio.sleep(0.25)
        await client.ask(world.finalize(1, [proposal]))
        await client.ask(COMMIT)
        assert [late for _, late in waited] == [False, True, True]


async def test_a_panic_of_native_code_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(_: object) -> None:
        raise NativePanic("index out of bounds")

    world = World(tmp_path)
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        monkeypatch.setattr(world.application, "finalize", panics)
        answer = await client.ask(world.finalize(1, [b"\xc0"]))
        assert "NativePanic" in answer.exception.error
    assert isinstance(failures[0], InvariantBroken)
    assert failures[0].code == "native_panic"


async def test_prepare_that_breaks_proposes_an_empty_sub_block(tmp_path: Path) -> None:
    def broken() -> Any:
        raise KeyError("the pool is confused")

    world = World(tmp_path, candidates=broken)
    async with running(world) as client:
        proposal = await proposal_of(world, client, 1)
        assert (await client.ask(world.process(1, [proposal]))).process_proposal.status == ACCEPT
        await decide(world, client, 1, proposal)
    assert world.engine.statistics().prepared_empty_by_failure == 1
    assert len(world.logger.of("prepare_failed")) == 1


async def test_a_proposal_keeps_within_the_bytes_that_cometbft_has_left(tmp_path: Path) -> None:
    pool = Pool()
    world = World(tmp_path, candidates=pool.candidates)
    for record in world.application.ledger.rollups:
        pool.add_rollup(world.application.rollups[record.rollup_id], record.parameters)
        for account in DEVELOPMENT_ACCOUNTS:
            wallet = Wallet(account.private_key)
            raws = [
                wallet.sign_1559(record.rollup_id, nonce, to=b"\x05" * 20, value=1, max_fee_per_gas=10**11)
                for nonce in range(20)
            ]
            pool.submit(record.rollup_id, raws, world.time_ms(1))
    async with running(world) as client:
        sizes = []
        for limit in (3_000, 10_000, MAX_TX_BYTES):
            time = timestamp(Milliseconds(world.time_ms(1) + 1_000))
            proposal = await proposal_of(world, client, 1, max_tx_bytes=limit, time=time)
            sizes.append(len(proposal))
            assert len(proposal) + 6 <= limit
            assert (await client.ask(world.process(1, [proposal], time=time))).process_proposal.status == ACCEPT
        assert sizes[0] < sizes[1] < sizes[2], "the room is used"
    assert world.engine.statistics().prepared_empty_by_failure == 0


# ---------------------------------------------------------------- what ends the node
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"chain_id": "another"}, "the chain id"),
        ({"initial_height": 5}, "the first height"),
        ({"time": timestamp(Milliseconds(1_000))}, "the genesis time in ms"),
        ({"app_state_bytes": b"{}"}, "the application's genesis"),
        ({"app_state_bytes": b"\xff"}, "the application's genesis"),
        ({"validators": []}, "the first validators"),
        ({"validators": validator_updates([ValidatorUpdate(b"\x01" * 32, 11)])}, "the first validators"),
    ],
)
async def test_another_genesis_is_refused_with_what_differs(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    world = World(tmp_path)
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        answer = await client.ask(world.init(**changes))
        assert "comet_genesis_mismatch" in answer.exception.error
        assert what in answer.exception.error
    (failure,) = failures
    assert isinstance(failure, ConfigurationError)
    assert failure.code == "comet_genesis_mismatch"


async def test_init_chain_above_height_0_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        await decide(world, client, 1, await proposal_of(world, client, 1))
        answer = await client.ask(world.init())
        assert "the application's height is 1, not 0" in answer.exception.error
    assert len(failures) == 1


@pytest.mark.parametrize("txs", [[], [b"garbage"], [b"a", b"b"]])
async def test_a_decided_block_that_is_not_valid_here_stops_the_node(tmp_path: Path, txs: list[bytes]) -> None:
    world = World(tmp_path)
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        answer = await client.ask(world.finalize(1, txs))
        assert answer.WhichOneof("value") == "exception"
    (failure,) = failures
    assert isinstance(failure, InvariantBroken)
    assert failure.code in {"decided_block_malformed", "decided_proposal_invalid"}
    assert world.log.height == 0


async def test_commit_without_a_decision_stops_the_node(tmp_path: Path) -> None:
    world = World(tmp_path)
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        assert "nothing_finalized" in (await client.ask(COMMIT)).exception.error
    assert isinstance(failures[0], InvariantBroken)


async def test_a_disk_that_takes_no_record_stops_the_node_before_anything_is_published(tmp_path: Path) -> None:
    class Full:
        def append(self, record: object) -> None:
            raise OSError(28, "No space left on device")

    world = World(tmp_path, log=Full())
    failures: list[BaseException] = []
    async with running(world, fails=failures.append) as client:
        proposal = await proposal_of(world, client, 1)
        await client.ask(world.finalize(1, [proposal]))
        assert (await client.ask(COMMIT)).WhichOneof("value") == "exception"
    assert isinstance(failures[0], OSError)
    assert world.decisions == []
    assert world.application.info().height == 0, "what is not durable is not the state"


# ---------------------------------------------------------------- pool, queries, snapshots
async def test_pool_entries_are_judged_by_the_intake_and_a_failure_there_harms_only_the_entry(tmp_path: Path) -> None:
    class Intake:
        async def check(self, tx: bytes, recheck: bool) -> tuple[int, str]:
            if tx == b"bug":
                raise RuntimeError("oops")
            return (0, "") if recheck else (7, "not new")

    world = World(tmp_path, intake=Intake())
    async with running(world) as client:
        answers = [
            (await client.ask(Request(check_tx=RequestCheckTx(tx=tx, type=kind)))).check_tx
            for tx, kind in ((b"x", 1), (b"x", 0), (b"bug", 0))
        ]
        assert [answer.code for answer in answers] == [0, 7, 2]
        assert answers[1].log == "not new"
        assert await decide(world, client, 1, await proposal_of(world, client, 1))
    without = World(tmp_path)
    async with running(without) as client:
        assert (await client.ask(Request(check_tx=RequestCheckTx(tx=b"x")))).check_tx.code == 1


async def test_queries_name_the_committed_state_and_unknown_paths_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        await decide(world, client, 1, await proposal_of(world, client, 1))
        answer = (await client.ask(Request(query=RequestQuery(path="/info")))).query
        assert (answer.code, answer.height) == (0, 1)
        assert world.application.app_hash.hex() in answer.value.decode()
        assert (await client.ask(Request(query=RequestQuery(path="/store")))).query.code == 1


async def test_a_node_without_snapshots_offers_none_and_takes_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with running(world) as client:
        assert list((await client.ask(Request(list_snapshots=RequestListSnapshots()))).list_snapshots.snapshots) == []
        chunk = await client.ask(Request(load_snapshot_chunk=RequestLoadSnapshotChunk(height=5)))
        assert chunk.load_snapshot_chunk.chunk == b""
        offered = await client.ask(Request(offer_snapshot=RequestOfferSnapshot(snapshot=Snapshot(height=5))))
        assert offered.offer_snapshot.result == ResponseOfferSnapshot.ABORT
        applied = await client.ask(Request(apply_snapshot_chunk=RequestApplySnapshotChunk(index=0)))
        assert applied.apply_snapshot_chunk.result == ResponseApplySnapshotChunk.ABORT


async def test_a_snapshot_service_that_breaks_aborts_and_the_node_lives_on(tmp_path: Path) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "retain_height":
                return lambda height: 0
            return lambda *_: 1 // 0

    world = World(tmp_path, snapshots=Broken())
    async with running(world) as client:
        assert list((await client.ask(Request(list_snapshots=RequestListSnapshots()))).list_snapshots.snapshots) == []
        offered = await client.ask(Request(offer_snapshot=RequestOfferSnapshot(snapshot=Snapshot(height=5))))
        assert offered.offer_snapshot.result == ResponseOfferSnapshot.ABORT
        await decide(world, client, 1, await proposal_of(world, client, 1))
    assert len(world.logger.of("snapshot_request_failed")) == 2


async def test_the_loop_answers_while_the_application_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    gate = threading.Event()
    real = world.application.process

    def slow(request: Any) -> Any:
        gate.wait(10)
        return real(request)

    async with running(world) as client:
        proposal = await proposal_of(world, client, 1)
        monkeypatch.setattr(world.application, "process", slow)
        pending = asyncio.create_task(client.ask(world.process(1, [proposal])))
        other = await AbciClient.connect(tmp_path / "abci.sock")
        assert (await other.ask(INFO)).info.last_block_height == 0
        assert not pending.done()
        gate.set()
        assert (await pending).process_proposal.status == ACCEPT
