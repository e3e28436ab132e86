"""The invariants of a simulated network are not decoration: each notices the fault it exists for, in a network that
runs well without that fault.

Faults are put where a real one would be: into a node's application, its disk, its clock, its agreement, or the network.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from plait.errors import InvariantBroken
from plait.ledger.economy import Economy
from plait.ledger.parameters import TOKEN
from plait.protocol.actions import LedgerDone, LedgerWork
from plait.protocol.application import Application
from plait.protocol.effects import Finalized
from plait.protocol.requests import Accepted, FinalizeRequest, ProcessRequest, Refused, Verdict
from plait.types import Amount, Gas, Hash32, OrderingPolicy
from plait.types.action import Delegate, Transfer
from sim import member as member_module
from sim.acting import Acting
from sim.adversary import Adversary
from sim.agreement.blocks import Block, Vote
from sim.agreement.machine import Message
from sim.checkers import Violation
from sim.cluster import Cluster, Scenario
from sim.disk import SimulatedDisk
from sim.economy import operator
from sim.member import Habits, Member
from sim.network import FAIR, Weather
from sim.world import Plan

NODES = 4
HABITS = Habits(
    recheck_own=False,
    skew_ms=0,
    segment_bytes_max=10**6,
    bytes_max=2**20,
    with_senders=True,
    snapshot_heights=3,
)
QUIET = Scenario(
    plan=Plan(
        nodes=NODES,
        block_times_slots=(1,),
        policies=(OrderingPolicy.PRIORITY_FEE,),
        gas_limit=Gas(30_000_000),
        users=2,
        heights=4,
    ),
    powers=(1,) * NODES,
    liars=frozenset(),
    careful=False,
    habits=(HABITS,) * NODES,
    weather=FAIR,
    start_ms=1_500,
    chaos_ms=20_000,
    crashes=0,
    breaking=(None,) * NODES,
    killed=(False,) * NODES,
    islands=0,
)


def played(cluster: Cluster) -> Cluster:
    with cluster:
        cluster.run()
    return cluster


def played_each(make: Callable[[int], Cluster], seeds: int) -> None:
    for seed in range(seeds):
        played(make(seed))


def quiet(seed: int = 1, **changes: Any) -> Cluster:
    return Cluster(seed, scenario=msgspec.structs.replace(QUIET, **changes))


def in_node(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, index: int, method: str, changed: Any) -> None:
    """Replaces a method of one node's application; `changed` gets the original and the request."""
    original = getattr(Application, method)

    def patched(self: Application, request: Any) -> Any:
        if cluster.members[index].application is self:
            return changed(original, self, request)
        return original(self, request)

    monkeypatch.setattr(Application, method, patched)


def with_fault(monkeypatch: pytest.MonkeyPatch, seed: int, process: Any) -> Cluster:
    """Node 3 lies, and node 1 judges in another way."""
    cluster = quiet(seed, liars=frozenset({3}))
    in_node(monkeypatch, cluster, 1, "process", process)
    return cluster


def test_a_network_without_a_fault_runs_well() -> None:
    cluster = played(quiet())
    assert cluster.height >= 7
    assert cluster.invariants.rounds == {0: cluster.height}
    assert set(cluster.invariants.verdicts) == {"accepted"}


def splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liars do nothing but show two valid blocks, one to each peer, with both votes of all liars for it."""

    def told(self: Adversary, message: Message, peers: Sequence[int]) -> list[tuple[int, Message]]:
        if isinstance(message, Vote):
            return [(peer, message) for peer in peers]
        told: list[tuple[int, Message]] = []
        for peer in peers:
            shown = message if peer % 2 else message._replace(block=self._other.get(message.block.id, message.block))
            told += [(peer, said) for said in (shown, *self._votes_for(shown))]
        return told

    def proposed(self: Adversary, member: Member, honest: Block, request: Any) -> Block:
        self._other[honest.id] = self._rival(member, honest, request)
        self._expect(honest, "honest", True)
        return honest

    monkeypatch.setattr(Adversary, "proposed", proposed)
    monkeypatch.setattr(Adversary, "told", told)


def test_a_fork_is_noticed_when_half_of_the_power_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    splitting(monkeypatch)
    with pytest.raises(Violation, match="another block"):
        played_each(lambda seed: quiet(seed, liars=frozenset({2, 3})), 20)


@pytest.mark.parametrize("seed", range(6))
def test_one_liar_of_four_cannot_fork_the_network(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    splitting(monkeypatch)
    played(quiet(seed, liars=frozenset({3})))


def test_a_node_that_accepts_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(original: Any, self: Application, request: ProcessRequest) -> Verdict:
        verdict: Verdict = original(self, request)
        return Accepted(proposal_hash=Hash32(bytes(32))) if isinstance(verdict, Refused) else verdict

    with pytest.raises(Violation, match="was accepted"):
        played_each(lambda seed: with_fault(monkeypatch, seed, lenient), 20)


def test_a_node_that_refuses_an_honest_proposal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = quiet()
    in_node(
        monkeypatch,
        cluster,
        2,
        "process",
        lambda original, self, request: (
            Refused(code="mood", sentence="not today, not like this", fields={})
            if request.height == 3
            else original(self, request)
        ),
    )
    with pytest.raises(Violation, match="'honest' was mood"):
        played(cluster)


def test_a_refused_proposal_that_leaves_a_trace_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def tracing(original: Any, self: Application, request: ProcessRequest) -> Verdict:
        verdict: Verdict = original(self, request)
        if isinstance(verdict, Refused):
            self._executed[Hash32(bytes(32))] = None  # type: ignore[assignment]
        return verdict

    with pytest.raises(Violation, match="left a trace"):
        played_each(lambda seed: with_fault(monkeypatch, seed, tracing), 20)


def test_another_app_hash_on_one_node_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def flipped(original: Any, self: Application, request: FinalizeRequest) -> Finalized:
        finalized: Finalized = original(self, request)
        if request.height != 3:
            return finalized
        other = Hash32(bytes([finalized.app_hash[0] ^ 1]) + finalized.app_hash[1:])
        effect = msgspec.structs.replace(finalized.effect, app_hash=other)
        return msgspec.structs.replace(finalized, app_hash=other, effect=effect)

    cluster = quiet()
    in_node(monkeypatch, cluster, 1, "finalize", flipped)
    with pytest.raises(Violation, match="another app hash at height 3"):
        played(cluster)


def test_a_log_that_is_not_synced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedDisk, "sync_data", lambda self, fd: self._step())
    with pytest.raises((Violation, InvariantBroken), match=r"had been appended|damaged|missing"):
        played_each(lambda seed: quiet(seed, crashes=2, chaos_ms=1_500), 20)


def test_a_decided_height_that_a_log_lacks_is_noticed() -> None:
    with quiet() as cluster:
        cluster.run()
        cluster.members[2].durable_height += 1
        with pytest.raises(Violation, match="node 2: log"):
            cluster.invariants.at_end()


def test_a_network_that_never_heals_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.cluster.FAIR", Weather(lost=100))
    monkeypatch.setattr("sim.cluster.EVENTS_MAX", 1_500)
    with pytest.raises(Violation, match="no progress"):
        played(quiet())


def test_too_many_rounds_after_healing_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposer that says nothing costs a round; here none is allowed."""
    monkeypatch.setattr("sim.invariants.ROUNDS_PER_NODE_MAX", 0)
    monkeypatch.setattr(Adversary, "told", lambda self, message, peers: [])
    with pytest.raises(Violation, match="rounds, 0 are allowed"):
        played_each(lambda seed: quiet(seed, liars=frozenset({seed})), NODES)


def test_a_time_of_the_future_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = member_module.median_time
    monkeypatch.setattr(member_module, "median_time", lambda commit, validators: original(commit, validators) + 5_000)
    with pytest.raises(Violation, match="beyond every honest clock"):
        played(quiet())


def test_a_fork_by_a_quorum_that_is_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the power decides: islands of two nodes each go their own way."""
    monkeypatch.setattr(
        "sim.agreement.validators.ValidatorSet.is_quorum", lambda self, power: 2 * power >= self.total_power
    )
    long = msgspec.structs.replace(QUIET.plan, heights=12)
    with pytest.raises(Violation, match="another block"):
        played_each(lambda seed: quiet(seed, islands=3, chaos_ms=3_000, plan=long), 40)


def finalized_with(monkeypatch: pytest.MonkeyPatch, change: Callable[[Economy], Economy]) -> None:
    """Every node's ledger comes to another economy at height 3, and all agree about it."""
    original = LedgerWork.end

    def end(self: LedgerWork, *arguments: Any, **keywords: Any) -> LedgerDone:
        done = original(self, *arguments, **keywords)
        if self._context.height != 3:
            return done
        return msgspec.structs.replace(done, economy=change(done.economy))

    monkeypatch.setattr(LedgerWork, "end", end)


def test_a_token_out_of_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def richer(economy: Economy) -> Economy:
        key, account = next(iter(economy.accounts.items()))
        more = msgspec.structs.replace(account, balance=account.balance + 1)
        return msgspec.structs.replace(economy, accounts=economy.accounts.with_changes({key: more}))

    finalized_with(monkeypatch, richer)
    with pytest.raises(Violation, match=r"height 3: \d+ base units are held"):
        played(quiet())


def test_a_rotation_that_is_not_the_engines_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    finalized_with(monkeypatch, lambda economy: msgspec.structs.replace(economy, rotation=economy.rotation.after({})))
    with pytest.raises(Violation, match="height 3: the ledger has another set of height 4"):
        played(quiet())


def test_evidence_without_a_punishment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.ledger.slashing.judge_engine_evidence", lambda *_: None)
    with pytest.raises(Violation, match="who was caught is a validator"):
        played_each(lambda seed: quiet(seed, liars=frozenset({seed % NODES})), 12)


def test_liars_that_gain_power_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody delegates to a liar as much as the others have."""
    original = Acting._body

    def body(self: Acting) -> Any:
        sender, asked = original(self)
        if isinstance(asked, Transfer):
            return sender, Delegate(validator=operator(3).address, amount=Amount(30 * TOKEN))
        return sender, asked

    monkeypatch.setattr(Acting, "_body", body)
    careful = {"liars": frozenset({3}), "careful": True}
    with pytest.raises(Violation, match="liars gained"):
        played_each(lambda seed: quiet(seed, **careful), 12)
