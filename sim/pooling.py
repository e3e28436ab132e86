"""A network in this process with a pool before it: what the pool offers is decided by the real application, at the
caller's word.

No engine and no clock: the caller says when a sub-block is decided and what time it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plait.errors import TransactionRefused
from plait.mempool import Admitted, Pool, PoolLimits
from plait.native import Rollup, Transaction, decode_transactions
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import FinalizeRequest, PrepareRequest
from plait.types import Gas, Height, Milliseconds, OrderingPolicy, RollupId
from sim.wallet import Wallet
from sim.world import GENESIS_TIME_S, Plan, network_of

USERS = [Wallet.of_index(index, "pool") for index in range(6)]
TO = bytes([7]) * 20


def transfer(user: int, nonce: int, *, chain_id: int = 901, **changes: Any) -> bytes:
    """A signed transfer of 1 wei from one of USERS; `changes` are arguments of `Wallet.sign_1559`."""
    fields: dict[str, Any] = {"to": TO, "value": 1} | changes
    return USERS[user].sign_1559(chain_id, nonce, **fields)


def codes(results: Sequence[Admitted | TransactionRefused]) -> list[str]:
    """Per result of `submit` where it stands (`pending`, `queued`) or the code of the refusal."""
    return [
        result.code if isinstance(result, TransactionRefused) else "pending" if result.pending else "queued"
        for result in results
    ]


class PooledNetwork:
    """One node's application and pool over funded users.

    Args:
        users: wallets with USER_BALANCE_WEI on every rollup.
        policies: one per rollup; chain ids 901, 902, ...
        limits: of the pool.
        gas_limit: of a block.
    """

    def __init__(
        self,
        users: Sequence[Wallet],
        *,
        policies: tuple[OrderingPolicy, ...] = (OrderingPolicy.PRIORITY_FEE,),
        limits: PoolLimits | None = None,
        gas_limit: int = 30_000_000,
    ) -> None:
        plan = Plan(
            nodes=1,
            block_times_slots=(1,) * len(policies),
            policies=policies,
            gas_limit=Gas(gas_limit),
            users=len(users),
            heights=0,
        )
        self.application = network_of(plan, [user.address for user in users]).application()
        self.pool = Pool(limits or PoolLimits())
        for record in self.application.ledger.rollups:
            self.pool.add_rollup(self.application.rollups[record.rollup_id], record.parameters)
        self.time_ms = Milliseconds(GENESIS_TIME_S * 1_000)
        self.decide({}, after_ms=1_000)

    def rollup(self, rollup_id: int = 901) -> Rollup:
        """A rollup's state and blocks."""
        return self.application.rollups[RollupId(rollup_id)]

    def decide(
        self, candidates: Mapping[RollupId, Sequence[SenderQueue]] | None = None, *, after_ms: int = 250
    ) -> SubBlockDecided:
        """Decides one sub-block of the pool's candidates, or of given ones, and tells the pool."""
        self.time_ms = Milliseconds(self.time_ms + after_ms)
        offered = self.pool.candidates() if candidates is None else candidates
        height = Height(self.application.info().height + 1)
        prepared = self.application.prepare(PrepareRequest(height=height, time_ms=self.time_ms, candidates=offered))
        decided = FinalizeRequest(height=height, time_ms=self.time_ms, proposal=prepared.proposal)
        effect = self.application.finalize(decided).effect
        self.application.commit()
        self.pool.drop(prepared.dropped, self.time_ms)
        self.pool.on_decided(effect)
        return effect

    def foreign(self, raws: Sequence[bytes], rollup_id: int = 901) -> dict[RollupId, list[SenderQueue]]:
        """Candidates that never were in this pool, as another node might propose them; one queue each."""
        queues: list[SenderQueue] = []
        for decoded in decode_transactions(raws, rollup_id):
            assert isinstance(decoded, Transaction), decoded
            queues.append((Ready(decoded, self.time_ms),))
        return {RollupId(rollup_id): queues}
