"""A small network in a rich moment, for tests of rules: blocks are due on every rollup, and both policies have items
to order.

Rollup 901 has blocks of one slot and orders by priority fee; 902 has blocks of two slots and orders by arrival.
`at_slot_4` stands before height 4, whose honest proposal seals block 3 of 901 and block 1 of 902 and orders
transactions of three senders on each.
"""

from collections.abc import Mapping, Sequence

import msgspec

from plait.native import Transaction, decode_transactions
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.application import Application
from plait.protocol.requests import (
    Accepted,
    FinalizeRequest,
    PreparedProposal,
    PrepareRequest,
    ProcessRequest,
    Refused,
    Verdict,
)
from plait.types import Gas, Height, Milliseconds, OrderingPolicy, RollupId
from sim.wallet import Wallet
from sim.world import Network, Plan, network_of

FEE, ARRIVAL = RollupId(901), RollupId(902)
USERS = tuple(Wallet.of_index(index, "situation") for index in range(4))
RECIPIENT = bytes([0xBB]) * 20


def small_network(*, gas_limit: int = 30_000_000) -> Network:
    """Two rollups, one per policy, with four funded users."""
    plan = Plan(
        nodes=2,
        block_times_slots=(1, 2),
        policies=(OrderingPolicy.PRIORITY_FEE, OrderingPolicy.ARRIVAL),
        gas_limit=Gas(gas_limit),
        users=len(USERS),
        heights=0,
    )
    return network_of(plan, [user.address for user in USERS])


def transfer(rollup_id: RollupId, user: int, nonce: int, *, tip: int = 1, **changes: object) -> bytes:
    """A signed transfer of one wei."""
    fields: dict[str, object] = {"to": RECIPIENT, "value": 1, "max_priority_fee_per_gas": tip}
    fields.update(changes)
    return USERS[user].sign_1559(rollup_id, nonce, **fields)  # type: ignore[arg-type]


def queues(rollup_id: RollupId, by_sender: Sequence[Sequence[bytes]], ready_ms: int) -> list[SenderQueue]:
    """Sender queues of raw transactions; each becomes executable 10 ms after the one before."""
    built: list[SenderQueue] = []
    for sender, raws in enumerate(by_sender):
        decoded = decode_transactions(list(raws), rollup_id)
        built.append(
            tuple(
                Ready(_transaction(entry), Milliseconds(ready_ms + 10 * place + sender))
                for place, entry in enumerate(decoded)
            )
        )
    return built


def _transaction(entry: object) -> Transaction:
    assert isinstance(entry, Transaction), entry
    return entry


class Situation(msgspec.Struct, kw_only=True):
    """A proposer, a judge at the same committed height, and an honest proposal for the next height."""

    network: Network
    proposer: Application
    judge: Application
    time_ms: Milliseconds
    honest: bytes

    @property
    def height(self) -> Height:
        """The height to decide next."""
        return Height(self.judge.info().height + 1)

    def verdict(self, proposal: bytes, *, height: int | None = None, time_ms: int | None = None) -> Verdict:
        """The judge's answer; the proposal's own height and time unless others are given."""
        return self.judge.process(
            ProcessRequest(
                height=Height(height if height is not None else self.height),
                time_ms=Milliseconds(time_ms if time_ms is not None else self.time_ms),
                proposal=proposal,
            )
        )

    def refusal(self, proposal: bytes, *, height: int | None = None, time_ms: int | None = None) -> Refused:
        """The judge's refusal, which must leave no trace: the honest proposal is accepted right after."""
        before = self.judge.info()
        verdict = self.verdict(proposal, height=height, time_ms=time_ms)
        assert isinstance(verdict, Refused), verdict
        assert self.judge.info() == before
        assert isinstance(self.verdict(self.honest), Accepted)
        return verdict

    def prepare(
        self, candidates: Mapping[RollupId, Sequence[SenderQueue]], *, bytes_max: int = 2**24
    ) -> PreparedProposal:
        """The proposer's proposal over these candidates for the next height."""
        return self.proposer.prepare(
            PrepareRequest(height=self.height, time_ms=self.time_ms, candidates=candidates, bytes_max=bytes_max)
        )

    def decide(self, proposal: bytes) -> None:
        """Decides a proposal on proposer and judge."""
        for application in (self.proposer, self.judge):
            application.finalize(
                FinalizeRequest(height=Height(application.info().height + 1), time_ms=self.time_ms, proposal=proposal)
            )
            application.commit()


def at_slot(slot: int, network: Network | None = None) -> Situation:
    """A situation before the first sub-block of `slot` (1 or above): every slot before it had one sub-block, without
    items."""
    network = network if network is not None else small_network()
    start_ms = network.ledger.time_ms
    situation = Situation(
        network=network,
        proposer=network.application(),
        judge=network.application(),
        time_ms=start_ms,
        honest=b"",
    )
    for past in range(1, slot):
        situation.time_ms = Milliseconds(start_ms + past * 1_000)
        situation.decide(situation.prepare({}).proposal)
    situation.time_ms = Milliseconds(start_ms + slot * 1_000 + 100)
    situation.honest = situation.prepare({}).proposal
    return situation


def at_slot_4(network: Network | None = None) -> Situation:
    """The rich moment of the module's description."""
    situation = at_slot(4, network)
    candidates = {
        rollup_id: queues(
            rollup_id,
            [
                [transfer(rollup_id, user, nonce, tip=tips[nonce]) for nonce in range(2)]
                for user, tips in enumerate(TIPS)
            ],
            situation.time_ms - 500,
        )
        for rollup_id in (FEE, ARRIVAL)
    }
    prepared = situation.prepare(candidates)
    assert prepared.transactions == 2 * 2 * len(TIPS), prepared
    situation.honest = prepared.proposal
    return situation


TIPS = ((5, 9), (7, 2), (3, 3))
