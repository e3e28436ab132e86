"""What simulated users send: transfers, creations, reverts, out-of-gas runs, and transactions that do not fit or
cannot pay.

Stands in for the pool: per rollup and sender a queue in nonce order. A node sees a random part of it, each its own,
and now and then a stale one: transactions that were decided already. EIP-7702 authorizations move nonces under other
users' pending transactions.
"""

from collections.abc import Iterable, Sequence
from random import Random

from plait.engines.decision import Candidates
from plait.native import PENDING, Transaction, decode_transactions
from plait.ordering.queues import Ready, SenderQueue
from plait.protocol.application import Application
from plait.protocol.effects import SubBlockDecided
from plait.protocol.requests import Dropped
from plait.types import Address, Milliseconds, RollupId
from sim.messaging import message_call
from sim.wallet import Wallet

REVERTING_CODE = bytes.fromhex("60006000fd")
"""Init code: REVERT with no data."""
BURNING_CODE = bytes.fromhex("5b600056")
"""Init code: jumps to itself until the gas is gone."""
STORING_CODE = bytes.fromhex("602a60005560016000f3")
"""Init code: stores 42 and returns one zero byte."""

Key = tuple[RollupId, int]


class Workload:
    """Pending transactions of all users on all rollups."""

    def __init__(
        self,
        random: Random,
        rollup_ids: Sequence[RollupId],
        wallets: Sequence[Wallet],
        gas_limit: int,
        *,
        interop: bool = False,
    ) -> None:
        self._random = random
        self._interop = interop
        self._rollup_ids = tuple(rollup_ids)
        self._wallets = tuple(wallets)
        self._gas_limit = gas_limit
        self._queues: dict[Key, list[Transaction]] = {(r, w): [] for r in rollup_ids for w in range(len(wallets))}
        self._nonces: dict[Key, int] = dict.fromkeys(self._queues, 0)
        self._decided: dict[Key, list[Transaction]] = {key: [] for key in self._queues}
        self._owners = {wallet.address: index for index, wallet in enumerate(wallets)}
        self.recipients = [Address(bytes([0xAA, index]) + bytes(18)) for index in range(8)]

    def add(self, count: int) -> None:
        """Users send `count` transactions."""
        for _ in range(count):
            key = (self._random.choice(self._rollup_ids), self._random.randrange(len(self._wallets)))
            queue = self._queues[key]
            raw = self._raw(key, self._nonces[key] + len(queue))
            decoded = decode_transactions([raw], key[0])[0]
            assert isinstance(decoded, Transaction), decoded
            queue.append(decoded)

    def nonce(self, rollup_id: RollupId, wallet: int) -> int:
        """A user's next nonce on a rollup, as the last decided height left it."""
        return self._nonces[rollup_id, wallet]

    def _raw(self, key: Key, nonce: int) -> bytes:
        random, wallet, chain_id = self._random, self._wallets[key[1]], key[0]
        tip = random.choice((0, 1, 10**6, 10**6, 2 * 10**6, random.randrange(10**7)))
        cap = 2 * 10**9
        kind = random.randrange(100)
        to = random.choice(self.recipients)
        if self._interop and random.randrange(4) == 0:
            call = message_call(random, self._rollup_ids, to)
            return wallet.sign_1559(
                chain_id, nonce, max_fee_per_gas=cap, max_priority_fee_per_gas=tip, gas_limit=400_000, **call
            )
        if kind < 8:
            other = random.randrange(len(self._wallets))
            own = other == key[1]
            authorized = nonce + 1 if own else self._nonces[key[0], other] + random.choice((0, 0, 1))
            authorization = self._wallets[other].authorize(chain_id, authorized)
            return wallet.sign_7702(chain_id, nonce, [authorization], max_priority_fee_per_gas=tip)
        if kind < 55:
            value = random.randrange(10**15)
            return wallet.sign_1559(
                chain_id, nonce, to=to, value=value, max_fee_per_gas=cap, max_priority_fee_per_gas=tip
            )
        if kind < 65:
            return wallet.sign_legacy(chain_id, nonce, to=to, value=1, gas_price=cap)
        if kind < 90:
            code, gas = random.choice(((STORING_CODE, 120_000), (REVERTING_CODE, 80_000), (BURNING_CODE, 150_000)))
            return wallet.sign_1559(
                chain_id, nonce, data=code, gas_limit=gas, max_fee_per_gas=cap, max_priority_fee_per_gas=tip
            )
        if kind < 94:
            gas = self._gas_limit - random.choice((0, 100_000))
            return wallet.sign_1559(
                chain_id, nonce, to=to, gas_limit=gas, max_fee_per_gas=cap, max_priority_fee_per_gas=tip
            )
        if kind < 97:
            return wallet.sign_1559(chain_id, nonce, to=to, max_fee_per_gas=10, max_priority_fee_per_gas=1)
        return wallet.sign_1559(chain_id, nonce, to=to, value=10**30)

    def waiting(self) -> dict[RollupId, list[Transaction]]:
        """What users have pending, per rollup and in each sender's nonce order."""
        found: dict[RollupId, list[Transaction]] = {rollup_id: [] for rollup_id in self._rollup_ids}
        for (rollup_id, _), queue in self._queues.items():
            found[rollup_id].extend(queue)
        return found

    def candidates(self, node: int, time_ms: Milliseconds) -> Candidates:
        """What one node's pool holds: of most senders a prefix of their queue."""
        del node
        random = self._random
        seen: dict[RollupId, list[SenderQueue]] = {rollup_id: [] for rollup_id in self._rollup_ids}
        for key, queue in self._queues.items():
            if not queue or random.randrange(100) < 15:
                continue
            ready_ms = time_ms - random.randrange(2_000)
            ready: list[Ready] = []
            stale = self._decided[key][-random.randrange(1, 3) :] if random.randrange(100) < 10 else []
            for transaction in [*stale, *queue[: random.randrange(1, len(queue) + 1)]]:
                ready.append(Ready(transaction, Milliseconds(ready_ms)))
                ready_ms += random.choice((0, 0, 1, 700))
            seen[key[0]].append(tuple(ready))
        return seen

    def on_decided(self, effect: SubBlockDecided, application: Application) -> None:
        """Forgets what can no longer apply: transactions below their sender's nonce, as a node that committed the
        effect reads it."""
        for part in effect.rollups:
            for transaction in part.transactions:
                if Address(transaction.sender) not in self._owners:
                    continue  # the relayer's
                self._decided[part.rollup_id, self._owners[Address(transaction.sender)]].append(transaction)
        for rollup_id, rollup in application.rollups.items():
            at = PENDING if rollup.open_block is not None else rollup.head.number
            accounts = rollup.accounts([wallet.address for wallet in self._wallets], at)
            for index, (nonce, _, _) in enumerate(accounts):
                queue = self._queues[rollup_id, index]
                self._nonces[rollup_id, index] = nonce
                while queue and queue[0].nonce < nonce:
                    del queue[0]
                if queue and queue[0].nonce > nonce:
                    queue.clear()

    def on_dropped(self, dropped: Iterable[Dropped]) -> None:
        """Forgets a transaction that can never apply, and what its sender queued behind it."""
        by_rollup = {(entry.rollup_id, entry.hash) for entry in dropped}
        for (rollup_id, _), queue in self._queues.items():
            for place, transaction in enumerate(queue):
                if (rollup_id, transaction.hash) in by_rollup:
                    del queue[place:]
                    break

    def give_up_some(self) -> None:
        """A few users withdraw all they have pending."""
        for queue in self._queues.values():
            if queue and self._random.randrange(100) < 5:
                queue.clear()
