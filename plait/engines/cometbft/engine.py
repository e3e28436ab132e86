"""The CometBFT engine: answers ABCI 2.0 for one `Application` and supervises CometBFT itself.

Specification (the obligations are CometBFT's, spec/abci/abci++_app_requirements.md; R1 to R13 are its numbers)
    - A block carries exactly one transaction: a proposal's canonical bytes, also when the sub-block is empty. Anything
      else is rejected. What CometBFT's pool holds never goes into a block.
    - The application is asked in one worker thread, in the order of the consensus connection. The event loop stays
      free: it answers CheckTx, Query and Info, from the committed state only.
    - PrepareProposal never fails needlessly: when building fails, an empty sub-block is proposed and the failure is
      logged. It returns at most max_tx_bytes (R2), and less when the last proposals took too long to make (R1).
    - ProcessProposal has no side effects and knows nothing but the proposal and the committed state (R4, R5, R9). A
      proposal whose check fails in a way that no rule names is rejected: nobody may stop this node, or make it vote for
      what it did not check.
    - FinalizeBlock computes, Commit makes durable: log first, then state, then whoever listens, then the answer. So
      Info never names a height that is not on the disk, and CheckTx of the old pool (recheck) sees the new state.
    - Several proposals per height, a decision without its proposal having been checked, replay from any height that
      Info named, and InitChain once more at height 0 are all in order.
    - A wrong genesis, a decided block that is not valid here, a disk that does not take the log: CometBFT gets an
      exception, which stops it, and `run` ends with the reason.

Level 5.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from plait.engines.cometbft import conversions
from plait.engines.cometbft.abci_pb2 import (
    ExecTxResult,
    Request,
    RequestFinalizeBlock,
    RequestInitChain,
    RequestPrepareProposal,
    RequestProcessProposal,
    Response,
    ResponseCheckTx,
    ResponseCommit,
    ResponseExtendVote,
    ResponseFinalizeBlock,
    ResponseInfo,
    ResponseInitChain,
    ResponsePrepareProposal,
    ResponseProcessProposal,
    ResponseQuery,
    ResponseVerifyVoteExtension,
)
from plait.engines.cometbft.home import POOL_GAS_PER_BLOCK, PROPOSE_TIMEOUT_MS, SOCKET_NAME, CometGenesis
from plait.engines.cometbft.pace import Pace
from plait.engines.cometbft.pool_checks import Intake, PoolChecks
from plait.engines.cometbft.process import CometProcess
from plait.engines.cometbft.server import AbciServer
from plait.engines.cometbft.snapshots import SnapshotAnswers, Snapshots
from plait.engines.cometbft.trace import Trace
from plait.engines.decision import Candidates, Decision, Log, record_of
from plait.errors import CodecError, ConfigurationError, InvariantBroken, PlaitError
from plait.execution.bundles import BundleCandidate
from plait.execution.relaying import Relayer
from plait.interop.relays import Relay
from plait.ledger.genesis import first_validators
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.grid import slot_at
from plait.protocol.requests import (
    BundleFailed,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Refused,
)
from plait.types import Hash32, Height, NetworkParameters, Slot
from plait.types.action import SignedAction

T = TypeVar("T")
UPGRADE_REQUIRED = "upgrade_required"
"""The one thing that stops a node while it checks a proposal (protocol/actions.py)."""
ACCEPT, REJECT = ResponseProcessProposal.ACCEPT, ResponseProcessProposal.REJECT
CODE_PATH_UNKNOWN = 1


class CometStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the start."""

    heights: int
    prepared: int
    prepared_empty_by_failure: int
    accepted: int
    rejected: int
    checks: int
    checks_late: int
    checks_busy: int
    requests: int
    proposal_bytes_max: int
    """What the node allows its next proposal, so that it is made in time."""


class _Decided(msgspec.Struct, frozen=True):
    """A finalized height that waits for its Commit."""

    effect: SubBlockDecided
    seconds: float


class CometEngine:
    """Drives one `Application` through CometBFT.

    Args:
        application: restored to the log's height; from now on only this engine calls it.
        log: where decided sub-blocks are made durable.
        home: of the node; the socket and CometBFT's files lie there.
        program: CometBFT; None when somebody else starts it.
        genesis: what CometBFT must have been started from.
        parameters: of the network; the grid.
        candidates, bundles, relays, actions, l1_items: asked on the event loop when this node proposes.
        publish: told on the event loop about each decided height, before CometBFT is told that it is committed.
        failed: told on the event loop about bundles that were tried in a slot and failed.
        relayer: who delivers messages between rollups; None delivers none.
        intake: takes CometBFT's pool; None refuses everything.
        snapshots: serves and takes state for nodes that join; None offers none.
        trace_dir: where every request is noted; None for nowhere.
        logger: has `info`, `warning` and `error`, each with an event and keyed values.
    """

    def __init__(
        self,
        application: Application,
        log: Log,
        *,
        home: Path,
        program: Path | None,
        genesis: CometGenesis,
        parameters: NetworkParameters,
        candidates: Callable[[], Candidates],
        publish: Callable[[Decision], None],
        logger: Any,
        bundles: Callable[[Slot], Sequence[BundleCandidate]] = lambda _: (),
        failed: Callable[[Sequence[BundleFailed], Slot], None] = lambda _, __: None,
        relayer: Relayer | None = None,
        relays: Callable[[Slot], Sequence[Relay]] = lambda _: (),
        actions: Callable[[], Sequence[SignedAction]] = lambda: (),
        l1_items: Callable[[], Sequence[bytes]] = lambda: (),
        intake: Intake | None = None,
        snapshots: Snapshots | None = None,
        trace_dir: Path | None = None,
    ) -> None:
        self._application = application
        self._log = log
        self._home = home
        self._program = program
        self._genesis = genesis
        self._parameters = parameters
        self._candidates = candidates
        self._publish = publish
        self._logger = logger
        self._bundles = bundles
        self._failed = failed
        self._relayer = relayer
        self._relays = relays
        self._actions = actions
        self._l1_items = l1_items
        self._checks = PoolChecks(intake, logger)
        self._snapshots = SnapshotAnswers(snapshots, self.between_heights, logger)
        self._trace_dir = trace_dir
        self._trace: Trace | None = None
        self._info = application.info()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="plait-comet")
        self._stopping = asyncio.Event()
        self._failure: asyncio.Future[BaseException] | None = None
        self._process: CometProcess | None = None
        self._server: AbciServer | None = None
        self._prepared: dict[Hash32, PreparedProposal] = {}
        """Of the height in progress: what did not go into proposals of our own."""
        self._proposed: tuple[Hash32, int, float] | None = None
        """The last proposal of our own that has not come back to be checked: hash, bytes, when it was handed over."""
        self._decided: _Decided | None = None
        self._phases_s: dict[str, float] = {}
        self._pace = Pace(PROPOSE_TIMEOUT_MS / 1_000 / 3)
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        """Proposals of others that were rejected, by code."""

    # ------------------------------------------------------------ lifecycle
    async def run(self) -> None:
        """Answers CometBFT until `stop`, or until either side fails. Raises the reason.

        Raises:
            Unavailable: `cometbft_failed` when CometBFT ends by itself.
            ConfigurationError: `comet_genesis_mismatch` when it was started from another genesis.
            InvariantBroken: what the application or the log raise.
        """
        self._failure = asyncio.get_running_loop().create_future()
        if self._trace_dir is not None:
            self._trace = Trace(self._trace_dir)
        self._server = AbciServer(self._home / SOCKET_NAME, self._answer, self._on_failure)
        await self._server.start()
        try:
            if self._program is not None:
                self._process = CometProcess(self._program, self._home, self._say)
                await self._process.start()
            await self._watch()
        finally:
            if self._process is not None:
                await self._process.stop()
            await self._server.close()
            await self._checks.close()
            await asyncio.to_thread(self._worker.shutdown, wait=True)
            if self._trace is not None:
                self._trace.close()

    def stop(self) -> None:
        """Ends `run`: CometBFT is asked to stop while its requests are still answered."""
        self._stopping.set()

    async def between_heights(self, work: Callable[[], T]) -> T:
        """Runs `work` in the engine's worker thread, where the committed state stands still. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    @property
    def intake(self) -> Intake | None:
        """Who takes CometBFT's pool; may be replaced at any time."""
        return self._checks.intake

    @intake.setter
    def intake(self, intake: Intake | None) -> None:
        self._checks.intake = intake

    def statistics(self) -> CometStatistics:
        """Counters since the start."""
        counts = self.counts
        return CometStatistics(
            heights=counts["heights"],
            prepared=counts["prepared"],
            prepared_empty_by_failure=counts["prepared_empty_by_failure"],
            accepted=counts["accepted"],
            rejected=counts["rejected"],
            checks=counts["checks"],
            checks_late=self._checks.late,
            checks_busy=self._checks.busy,
            requests=0 if self._server is None else self._server.requests,
            proposal_bytes_max=self._pace.bytes_max,
        )

    async def _watch(self) -> None:
        """Returns when asked to stop; raises when either side fails."""
        assert self._failure is not None
        stop = asyncio.ensure_future(self._stopping.wait())
        child = None if self._process is None else asyncio.ensure_future(self._process.wait())
        waited: list[asyncio.Future[Any]] = [stop, self._failure, *([child] if child is not None else [])]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if child is not None and not child.done():
                child.cancel()
        # CometBFT ends because of our own failure, so that is the reason even when its end is seen first.
        if self._failure.done():
            raise self._failure.result()
        if child is not None and child.done() and not self._stopping.is_set():
            child.result()

    def _on_failure(self, error: BaseException, method: str) -> None:
        self._logger.error(
            "abci_failed",
            method=method,
            code=getattr(error, "code", type(error).__name__),
            reason=str(error),
            exc_info=None if isinstance(error, PlaitError) else error,
        )
        if self._failure is not None and not self._failure.done():
            if not isinstance(error, Exception):
                error = InvariantBroken(f"{method} ended in {type(error).__name__}: {error}", code="native_panic")
            self._failure.set_result(error)

    def _say(self, level: str, line: str) -> None:
        getattr(self._logger, level)("cometbft", line=line)

    async def _work(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    # ------------------------------------------------------------ requests
    async def _answer(self, request: Request, method: str, connection: int) -> Response:
        trace = self._trace
        if trace is None:
            return await self._dispatch(request, method)
        asked = trace.asked(connection, method, request)
        response: Response | None = None
        try:
            response = await self._dispatch(request, method)
            return response
        finally:
            with contextlib.suppress(ValueError):  # closed while the node stops
                trace.answered(asked, method, response)

    async def _dispatch(self, request: Request, method: str) -> Response:
        match method:
            case "check_tx":
                return Response(check_tx=await self._check_tx(request.check_tx.tx, request.check_tx.type == 1))
            case "info":
                return Response(info=self._on_info())
            case "query":
                return Response(query=self._on_query(request.query.path))
            case "init_chain":
                return Response(init_chain=self._on_init_chain(request.init_chain))
            case "prepare_proposal":
                return Response(prepare_proposal=await self._on_prepare(request.prepare_proposal))
            case "process_proposal":
                return Response(process_proposal=await self._on_process(request.process_proposal))
            case "finalize_block":
                return Response(finalize_block=await self._on_finalize(request.finalize_block))
            case "commit":
                return Response(commit=await self._on_commit())
            case "extend_vote":
                return Response(extend_vote=ResponseExtendVote())
            case "verify_vote_extension":
                empty = not request.verify_vote_extension.vote_extension
                status = ResponseVerifyVoteExtension.ACCEPT if empty else ResponseVerifyVoteExtension.REJECT
                return Response(verify_vote_extension=ResponseVerifyVoteExtension(status=status))
            case _:
                response = await self._snapshots.answer(request, method)
                if method == "apply_snapshot_chunk":
                    self._info = self._application.info()
                return response

    async def _check_tx(self, tx: bytes, recheck: bool) -> ResponseCheckTx:
        self.counts["checks"] += 1
        code, sentence = await self._checks.check(tx, recheck)
        return ResponseCheckTx(code=code, log=sentence, gas_wanted=POOL_GAS_PER_BLOCK)

    def _on_info(self) -> ResponseInfo:
        info = self._info
        return ResponseInfo(
            data="plait",
            last_block_height=info.height,
            last_block_app_hash=info.app_hash if info.height else b"",
        )

    def _on_query(self, path: str) -> ResponseQuery:
        if path != "/info":
            return ResponseQuery(code=CODE_PATH_UNKNOWN, log=f"there is no {path[:64]!r}; state is read over RPC")
        info = self._info
        value = msgspec.json.encode({"height": info.height, "app_hash": "0x" + info.app_hash.hex(), "slot": info.slot})
        return ResponseQuery(value=value, height=info.height)

    def _on_init_chain(self, request: RequestInitChain) -> ResponseInitChain:
        """Comes at height 0 only, and again when neither side has decided anything yet.

        Raises:
            ConfigurationError: `comet_genesis_mismatch`.
        """
        info, genesis = self._info, self._genesis
        found = conversions.validators_of(request.validators)
        wanted = sorted(genesis.validators, key=lambda one: one.public_key)
        staked = sorted(first_validators(self._application.ledger.economy), key=lambda one: one.public_key)
        checks: list[tuple[str, object, object]] = [
            ("the application's height", info.height, 0),
            ("the chain id", request.chain_id, genesis.chain_id),
            ("the first height", request.initial_height, 1),
            ("the genesis time in ms", conversions.time_ms(request.time), genesis.genesis_time_s * 1_000),
            ("the application's genesis", _app_state(request.app_state_bytes), genesis.app_state),
            ("the first validators", _named(found), _named(wanted)),
            ("the ledger's first validators", _named(found), _named(staked or wanted)),
        ]
        for what, there, here in checks:
            if there != here:
                raise ConfigurationError(
                    f"CometBFT was started from another genesis than this node: {what} is {there}, not {here}. "
                    "Both must come from the same network; see cometbft/config/genesis.json and network.json.",
                    code="comet_genesis_mismatch",
                    what=what,
                )
        return ResponseInitChain(app_hash=info.app_hash)

    # ------------------------------------------------------------ proposing
    async def _on_prepare(self, asked: RequestPrepareProposal) -> ResponsePrepareProposal:
        self.counts["prepared"] += 1
        self._give_up_proposed()
        time_ms = conversions.time_ms(asked.time)
        slot = slot_at(self._parameters, time_ms)
        request = PrepareRequest(
            height=Height(asked.height),
            time_ms=time_ms,
            candidates={},
            agreed=conversions.agreed_of(asked.proposer_address, asked.local_last_commit, asked.misbehavior),
            bytes_max=min(asked.max_tx_bytes - conversions.PROTO_BYTES_PER_TX_MAX, self._pace.bytes_max),
        )
        try:
            full = msgspec.structs.replace(
                request,
                candidates=self._candidates(),
                bundles=self._bundles(slot),
                relayer=self._relayer,
                relays=self._relays(slot),
                actions=self._actions(),
                l1_items=self._l1_items(),
            )
            prepared = await self._work(self._prepare, full)
        except Exception as error:
            self.counts["prepared_empty_by_failure"] += 1
            self._logger.error("prepare_failed", height=asked.height, reason=str(error), exc_info=error)
            prepared = await self._work(self._prepare, request)
        if prepared.bundles_failed:
            self._failed(prepared.bundles_failed, slot)
        self._prepared[prepared.proposal_hash] = prepared
        self._proposed = prepared.proposal_hash, len(prepared.proposal), time.perf_counter()
        return ResponsePrepareProposal(txs=[prepared.proposal])

    def _give_up_proposed(self) -> None:
        """A proposal of our own did not become whole in time: CometBFT syncs every part of it to the disk first."""
        if self._proposed is not None:
            _, size, handed_over = self._proposed
            self._pace.waited(size, time.perf_counter() - handed_over)
            self._proposed = None

    def _prepare(self, request: PrepareRequest) -> PreparedProposal:
        started = time.perf_counter()
        prepared = self._application.prepare(request)
        seconds = self._phases_s["prepare"] = time.perf_counter() - started
        self._pace.took(len(prepared.proposal), seconds)
        if len(prepared.proposal) > request.bytes_max:
            raise InvariantBroken(
                f"A proposal of {len(prepared.proposal)} bytes was built where {request.bytes_max} fit.",
                code="proposal_too_large",
                height=request.height,
            )
        return prepared

    # ------------------------------------------------------------ checking
    async def _on_process(self, asked: RequestProcessProposal) -> ResponseProcessProposal:
        code, sentence = await self._work(self._process_one, asked)
        if not code:
            self.counts["accepted"] += 1
            return ResponseProcessProposal(status=ACCEPT)
        self.counts["rejected"] += 1
        self.rejected[code] += 1
        self._logger.warning(
            "proposal_rejected",
            height=asked.height,
            code=code,
            reason=sentence,
            proposer="0x" + asked.proposer_address.hex(),
            block="0x" + asked.hash.hex(),
        )
        return ResponseProcessProposal(status=REJECT)

    def _process_one(self, asked: RequestProcessProposal) -> tuple[str, str]:
        """("", "") when the block is valid, else the code and sentence of the first broken rule."""
        started = time.perf_counter()
        if len(asked.txs) != 1:
            return "block_content", f"the block carries {len(asked.txs)} transactions; one proposal is what it carries"
        try:
            verdict = self._application.process(
                ProcessRequest(
                    height=Height(asked.height),
                    time_ms=conversions.time_ms(asked.time),
                    proposal=asked.txs[0],
                    agreed=conversions.agreed_of(asked.proposer_address, asked.proposed_last_commit, asked.misbehavior),
                )
            )
        except CodecError as error:
            return error.code, error.message
        except Exception as error:
            # Also a broken invariant: what one proposer wrote must not stop every node. Only a decided block may.
            if getattr(error, "code", "") == UPGRADE_REQUIRED:
                raise
            self._logger.error("process_failed", height=asked.height, reason=repr(error), exc_info=error)
            return "process_failed", f"the check itself failed: {error!r}"
        seconds = self._phases_s["process"] = time.perf_counter() - started
        if isinstance(verdict, Refused):
            return verdict.code, verdict.sentence
        if self._proposed is not None and self._proposed[0] == verdict.proposal_hash:
            self._pace.waited(self._proposed[1], started - self._proposed[2])
            self._proposed = None
        if verdict.proposal_hash not in self._prepared:  # what was prepared here has been executed already
            self._pace.took(len(asked.txs[0]), seconds)
        return "", ""

    # ------------------------------------------------------------ deciding
    async def _on_finalize(self, asked: RequestFinalizeBlock) -> ResponseFinalizeBlock:
        decided = await self._work(self._finalize, asked)
        self._decided = decided
        effect = decided.effect
        return ResponseFinalizeBlock(
            tx_results=[ExecTxResult()],
            validator_updates=conversions.validator_updates(effect.validator_updates),
            app_hash=effect.app_hash,
        )

    def _finalize(self, asked: RequestFinalizeBlock) -> _Decided:
        started = time.perf_counter()
        if len(asked.txs) != 1:
            raise InvariantBroken(
                f"The decided block of height {asked.height} carries {len(asked.txs)} transactions, not one proposal.",
                code="decided_block_malformed",
                height=asked.height,
            )
        finalized = self._application.finalize(
            FinalizeRequest(
                height=Height(asked.height),
                time_ms=conversions.time_ms(asked.time),
                proposal=asked.txs[0],
                agreed=conversions.agreed_of(asked.proposer_address, asked.decided_last_commit, asked.misbehavior),
            )
        )
        return _Decided(finalized.effect, time.perf_counter() - started)

    async def _on_commit(self) -> ResponseCommit:
        decided, self._decided = self._decided, None
        if decided is None:
            raise InvariantBroken("CometBFT commits what was not finalized.", code="nothing_finalized")
        phases = await self._work(self._commit, decided)
        self._give_up_proposed()
        effect = decided.effect
        prepared = self._prepared.get(effect.proposal_hash)
        self._prepared.clear()
        self._info = self._application.info()
        self.counts["heights"] += 1
        self._publish(
            Decision(
                effect=effect,
                dropped=() if prepared is None else prepared.dropped,
                deferred=0 if prepared is None else prepared.deferred,
                bundles_failed=() if prepared is None else prepared.bundles_failed,
                relays_refused=() if prepared is None else prepared.relays_refused,
                actions_failed=() if prepared is None else prepared.actions_failed,
                phases_s=phases,
            )
        )
        return ResponseCommit(retain_height=self._snapshots.retain_height(effect.height))

    def _commit(self, decided: _Decided) -> dict[str, float]:
        clock = time.perf_counter
        started = clock()
        self._log.append(record_of(decided.effect))
        appended = clock()
        self._application.commit()
        phases = {
            **self._phases_s,
            "finalize": decided.seconds,
            "append": appended - started,
            "commit": clock() - appended,
        }
        self._phases_s = {}
        return phases


def _app_state(data: bytes) -> object:
    """The genesis file's app_state; what cannot be read equals nothing."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return data[:200]


def _named(validators: Sequence[Any]) -> list[str]:
    return [f"0x{one.public_key.hex()} with power {one.power}" for one in validators]


__all__ = ["CometEngine", "CometStatistics", "Intake"]
