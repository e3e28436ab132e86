"""The pool's part for one rollup: accounts, the index by hash, snapshots for the protocol, eviction, expiry.

Invariants
- every entry of every account is in `by_hash`, and nothing else is; the counters equal what a recount gives (`check` in
  the tests)
- an account with executable transactions stands in exactly one tier of `tiers`; the tier follows its first transaction:
  its price under
  `priority_fee`, the time it became ready under `arrival`. Within a tier accounts take turns.
- what is removed is always the tail of an account, unless the removal names one (drop, replacement, expiry); then later
  ones go back to `queued`

Level 2.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Protocol

from plait.limits import (
    POOL_CANDIDATES_PER_SENDER_MAX,
    POOL_FEE_CAP_SHARE_MIN_PERCENT,
    POOL_PENDING_LIFETIME_S,
    POOL_PROMOTED_MAX,
    POOL_QUEUED_LIFETIME_S,
    POOL_SWEEP_ACCOUNTS_MAX,
    REMOTE_AHEAD_GAS_MAX,
)
from plait.mempool.entries import UNPLACED, Account, Admitted, tier_of
from plait.mempool.history import Decided, DroppedEnd, History, Waiters
from plait.mempool.refusals import sentence
from plait.mempool.unread import Unread
from plait.native import NativeError, OpenBlock, SealedBlock, Transaction
from plait.native.unread import is_unread
from plait.ordering.queues import SenderQueue
from plait.types import BlockNumber, Gas, Height, Milliseconds, OrderingPolicy, RollupId, RollupParameters, Wei

DA_FOOTPRINT_GAS_SCALAR_DEFAULT = 400
"""Jovian's default when L1Block holds 0."""


class RollupReads(Protocol):
    """What the pool asks of a rollup; `native.Rollup` has it."""

    chain_id: int

    @property
    def head(self) -> SealedBlock:
        """The last sealed block."""
        ...

    @property
    def open_block(self) -> OpenBlock | None:
        """The block that is open."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether another node holds its state."""
        ...

    def accounts(self, addresses: Sequence[bytes], at: int) -> list[tuple[int, int, bool]]:
        """(nonce, balance, has code) per address."""
        ...

    def additional_costs(self, transactions: Sequence[Transaction], at: int) -> list[int]:
        """L1 and operator fee per transaction, wei."""
        ...

    def code(self, address: bytes, at: int) -> bytes:
        """Code of an account."""
        ...

    def transaction_location(self, hash: bytes) -> tuple[int, int] | None:  # noqa: A002 - the native name
        """(block number, index) of a decided transaction."""
        ...


class RollupDecided(Protocol):
    """One rollup's part of a decided sub-block; `protocol.effects.RollupEffect` has it."""

    @property
    def rollup_id(self) -> RollupId:
        """Its rollup."""
        ...

    @property
    def transactions(self) -> Sequence[Transaction]:
        """In their decided order."""
        ...

    @property
    def sealed(self) -> Sequence[SealedBlock]:
        """Blocks that it sealed."""
        ...

    @property
    def opened(self) -> Sequence[OpenBlock]:
        """The open block, when it changed."""
        ...


class Lane:
    """The pooled transactions of one rollup."""

    def __init__(self, rollup: RollupReads, parameters: RollupParameters) -> None:
        self.rollup = rollup
        self.parameters = parameters
        self.by_arrival = parameters.ordering is OrderingPolicy.ARRIVAL
        self.is_closed = False
        self.unread: Unread | None = Unread() if rollup.is_remote else None
        """Transactions that wait for state; None where all of it is at hand."""
        self.accounts: dict[bytes, Account] = {}
        self.by_hash: dict[bytes, Admitted] = {}
        self.tiers: dict[int, dict[Account, None]] = {}
        self.history = History()
        self.waiters = Waiters()
        self.promoted: deque[Admitted] = deque(maxlen=POOL_PROMOTED_MAX)
        self.pending_count = 0
        self.pending_gas = 0
        self.pending_bytes = 0
        self.bytes = 0
        self.dropped: dict[str, int] = {}
        self.decided_count = 0
        self._tails: list[tuple[bool, int, bytes]] | None = None
        self._tails_base_fee = 0
        self._sweep: list[Account] = []
        self.base_fee: Wei
        self.fee_cap_min: int
        self.gas_limit: Gas
        self.da_bytes_max: int
        self.open_number: BlockNumber
        self.sealed_number = BlockNumber(rollup.head.number)
        self.refresh(rollup.open_block)

    def __len__(self) -> int:
        return len(self.by_hash)

    def take_over(self, other: "Lane") -> None:
        """Goes on with what another lane of the same rollup remembers, and with those who wait at it."""
        self.history, self.waiters, self.promoted = other.history, other.waiters, other.promoted
        self.unread = other.unread
        self.dropped, self.decided_count = other.dropped, other.decided_count

    def refresh(self, open_block: OpenBlock | None) -> None:
        """Takes over the rules of the block that is open now."""
        if open_block is None:
            head = self.rollup.head
            self.base_fee, self.gas_limit = Wei(head.base_fee), self.parameters.gas_limit
            scalar, number = self.parameters.da_footprint_gas_scalar, head.number + 1
        else:
            self.base_fee, self.gas_limit = Wei(open_block.base_fee), Gas(open_block.gas_limit)
            scalar, number = open_block.da_footprint_scalar, open_block.number
        self.da_bytes_max = self.gas_limit // (scalar or DA_FOOTPRINT_GAS_SCALAR_DEFAULT)
        self.open_number = BlockNumber(number)
        self.fee_cap_min = max(self.parameters.min_base_fee, self.base_fee * POOL_FEE_CAP_SHARE_MIN_PERCENT // 100)

    # ------------------------------------------------------------ counters and tiers
    def count_pending(self, entries: Iterable[Admitted], sign: int) -> None:
        """Adds (1) or removes (-1) executable transactions in the counters."""
        count = gas = size = 0
        for entry in entries:
            count += 1
            gas += entry.gas_limit
            size += entry.size
        self.pending_count += sign * count
        self.pending_gas += sign * gas
        self.pending_bytes += sign * size

    def promote(self, account: Account, now_ms: Milliseconds) -> None:
        """Makes executable what follows an account's executable transactions; remembers it for those who listen."""
        moved = account.promote(now_ms)
        self.count_pending(moved, 1)
        self.promoted.extend(moved)

    def take_promoted(self) -> list[Admitted]:
        """Transactions that became executable after they had waited behind a gap, since the last call."""
        if not self.promoted:
            return []
        taken = list(self.promoted)
        self.promoted.clear()
        return taken

    def place(self, account: Account) -> None:
        """Puts an account into the tier of its first executable transaction, at the end of it; forgets an empty
        account."""
        if account.pending:
            if self.by_arrival:
                tier = account.ready[0].ready_ms >> 8
            else:
                head = account.pending[0]
                tier = tier_of(head.tip if head.tip < head.fee_cap else head.fee_cap)
        else:
            tier = UNPLACED
        before = account.tier
        if before != UNPLACED:
            accounts = self.tiers[before]
            accounts.pop(account, None)
            if not accounts and tier != before:
                del self.tiers[before]
        if tier != UNPLACED:
            self.tiers.setdefault(tier, {})[account] = None
        elif not account.queued:
            self.accounts.pop(account.address, None)
        account.tier = tier

    # ------------------------------------------------------------ snapshots
    def candidates(self, gas_max: int, bytes_max: int, items_max: int) -> list[SenderQueue]:
        """Executable queues, the best first when not all fit. Costs little per account and nothing per transaction when
        all fit."""
        queues = self._best(gas_max, bytes_max, items_max)
        return self._without_unread(queues) if self.unread else queues

    def _without_unread(self, queues: list[SenderQueue]) -> list[SenderQueue]:
        """Each queue up to the first transaction that waits for state."""
        unread = self.unread or ()
        cut = [tuple(takewhile(lambda ready: ready.transaction.hash not in unread, queue)) for queue in queues]
        return [queue for queue in cut if queue]

    def _best(self, gas_max: int, bytes_max: int, items_max: int) -> list[SenderQueue]:
        base_fee = self.base_fee
        queues: list[SenderQueue] = []
        fits = self.pending_gas <= gas_max and self.pending_bytes <= bytes_max and self.pending_count <= items_max
        if fits:
            for accounts in self.tiers.values():
                for account in accounts:
                    if account.fee_cap_min >= base_fee:
                        queues.append(tuple(account.ready))
                    elif payable := self._payable(account, len(account.pending)):
                        queues.append(tuple(account.ready[:payable]))
            return queues
        for tier in sorted(self.tiers, reverse=not self.by_arrival):
            for account in self.tiers[tier]:
                taken = 0
                for entry in account.pending[:POOL_CANDIDATES_PER_SENDER_MAX]:
                    if entry.fee_cap < base_fee:
                        break
                    gas_max -= entry.gas_limit
                    bytes_max -= entry.size
                    items_max -= 1
                    if gas_max < 0 or bytes_max < 0 or items_max < 0:
                        break
                    taken += 1
                if taken:
                    queues.append(tuple(account.ready[:taken]))
                if gas_max <= 0 or bytes_max <= 0 or items_max <= 0:
                    return queues
        return queues

    def _payable(self, account: Account, most: int) -> int:
        for place, entry in enumerate(account.pending[:most]):
            if entry.fee_cap < self.base_fee:
                return place
        return most

    def to_read(self, now_ms: Milliseconds, most: int) -> list[SenderQueue]:
        """Queues with transactions whose state is to be read now, each from its sender's first one up to the last such
        one, because they run one after the other; together about `most` transactions and REMOTE_AHEAD_GAS_MAX.

        Those with little gas go first: they can look at little, so that what is slow to read makes them not wait."""
        unread = self.unread
        if not unread:
            return []
        unread.keep(self.by_hash.__contains__)
        ends: dict[Account, int] = {}
        count = gas = 0
        due = [self.by_hash[hash_] for hash_ in unread.due(now_ms)]
        due.sort(key=lambda entry: entry.gas_limit.bit_length())
        for entry in due:
            if not entry.pending:
                continue
            end = entry.nonce - entry.account.next_nonce + 1
            before = ends.get(entry.account, 0)
            more = sum([one.gas_limit for one in entry.account.pending[before:end]])
            fits = count + end - before <= most and gas + more <= REMOTE_AHEAD_GAS_MAX
            if end > before and (not count or fits):
                ends[entry.account] = end
                count += end - before
                gas += more
            if count >= most:
                break
        return [tuple(account.ready[:end]) for account, end in ends.items()]

    # ------------------------------------------------------------ removals
    def forget(self, entry: Admitted, end: DroppedEnd) -> None:
        """Removes one transaction of an account that it no longer stands in; says why to those who ask."""
        if self.by_hash.pop(entry.hash, None) is None:
            return
        self.bytes -= entry.size
        entry.account.cost -= entry.cost
        self.end(entry.hash, end)

    def end(self, hash_: bytes, end: DroppedEnd) -> None:
        """Remembers why a transaction is not pooled any more; says so to those who wait for it."""
        self.history.remember((hash_,), end)
        self.waiters.dropped(hash_, end)
        self.dropped[end.code] = self.dropped.get(end.code, 0) + 1

    def remove(self, entry: Admitted, end: DroppedEnd) -> None:
        """Removes a transaction from wherever it stands; later ones of its sender go back to `queued`."""
        account = entry.account
        place = entry.nonce - account.next_nonce
        if 0 <= place < len(account.pending):
            self.count_pending(account.cut(place), -1)
        del account.queued[entry.nonce]
        self.forget(entry, end)
        self.place(account)
        self.added(account)

    def decide(self, part: RollupDecided, height: Height, time_ms: Milliseconds) -> None:
        """Takes a decided sub-block into account: removes its transactions, promotes what they made executable, tells
        the waiting."""
        if part.opened:
            self.refresh(part.opened[-1])
            if self._tails is not None and abs(self.base_fee - self._tails_base_fee) * 8 > self._tails_base_fee:
                self._tails = None
        if part.transactions:
            self._decide_transactions(part.transactions, Decided(height, self.open_number), time_ms)
        if part.sealed:
            self.sealed_number = BlockNumber(part.sealed[-1].number)
            self.waiters.sealed(self.sealed_number)

    def _decide_transactions(self, transactions: Sequence[Transaction], end: Decided, time_ms: Milliseconds) -> None:
        hashes = [transaction.hash for transaction in transactions]
        self.decided_count += len(hashes)
        pop, accounts = self.by_hash.pop, self.accounts
        following: dict[Account, int] = {}
        size = 0
        for hash_, transaction in zip(hashes, transactions, strict=True):
            entry = pop(hash_, None)
            if entry is not None:
                account = entry.account
                size += entry.size
                account.cost -= entry.cost
                following[account] = entry.nonce + 1
            elif (other := accounts.get(transaction.sender)) is not None:
                following[other] = transaction.nonce + 1
        self.bytes -= size
        executed: list[Admitted] = []
        for account, next_nonce in following.items():
            executed += account.pending[: max(0, next_nonce - account.next_nonce)]
            for entry in account.advance(next_nonce):
                if entry.hash in self.by_hash:
                    self.forget(entry, DroppedEnd("nonce_used", sentence("nonce_used", f"nonce {entry.nonce}")))
            if account.queued:
                self.promote(account, time_ms)
            self.place(account)
            self.added(account)
        self.count_pending(executed, -1)
        self.history.remember(hashes, end)
        self.waiters.decided(hashes, end)
        self._recheck(following, time_ms)

    def _recheck(self, touched: Iterable[Account], time_ms: Milliseconds) -> None:
        """A sender that spent more than foreseen keeps only what it can still pay one by one; execution decides about
        sums."""
        rest = [account for account in touched if account.pending or account.queued]
        if not rest:
            return
        try:
            states = self.rollup.accounts([account.address for account in rest], -1)
        except NativeError as error:
            if not is_unread(error):
                raise
            return  # execution decides; they are looked at again in their turn
        for account, (nonce, balance, _) in zip(rest, states, strict=True):
            account.balance = balance
            if nonce > account.next_nonce and not self._is_ahead(account, nonce):
                self.follow(account, nonce, time_ms)
            if account.cost <= balance:
                continue
            for entry in [entry for entry in account.entries() if entry.cost > balance]:
                details = f"balance {balance}, tx cost {entry.cost}, overshot {entry.cost - balance}"
                self.remove(entry, DroppedEnd("insufficient_funds", sentence("insufficient_funds", details)))

    def _is_ahead(self, account: Account, nonce: int) -> bool:
        """Whether the state is later than the effects told so far: one of ours below its nonce was decided by a height
        to come."""
        passed = account.pending[: nonce - account.next_nonce]
        return any(self.rollup.transaction_location(entry.hash) is not None for entry in passed)

    def follow(self, account: Account, state_nonce: int, now_ms: Milliseconds) -> None:
        """The nonce moved without the pool's transactions (an EIP-7702 authorization): what stands at the new one is
        executable."""
        self.count_pending(account.pending[: state_nonce - account.next_nonce], -1)
        for entry in account.advance(state_nonce):
            self.forget(entry, DroppedEnd("nonce_used", sentence("nonce_used", f"nonce {entry.nonce}")))
        self.promote(account, now_ms)
        self.place(account)
        self.added(account)

    def sweep(self, now_ms: Milliseconds) -> None:
        """Expires what waited too long, a bounded number of accounts per call, all accounts in turn.

        Nonce and balance of these accounts are looked up again: a transaction of somebody else may have changed them
        (an EIP-7702 authorization uses up a nonce of whoever signed it).
        """
        if not self._sweep:
            self._sweep = list(self.accounts.values())
        swept = [self._sweep.pop() for _ in range(min(POOL_SWEEP_ACCOUNTS_MAX, len(self._sweep)))]
        self._recheck((one for one in swept if self.accounts.get(one.address) is one), now_ms)
        for account in swept:
            if self.accounts.get(account.address) is not account:
                continue
            old = [e for e in account.pending if now_ms - e.arrived_ms >= POOL_PENDING_LIFETIME_S * 1_000]
            old += [e for e in account.queued.values() if now_ms - e.arrived_ms >= POOL_QUEUED_LIFETIME_S * 1_000]
            for entry in reversed(old):
                waited_s = (now_ms - entry.arrived_ms) // 1_000
                self.remove(entry, DroppedEnd("expired", sentence("expired", f"waited {waited_s} s")))

    # ------------------------------------------------------------ eviction
    def lowest_tail(self) -> Admitted | None:
        """The transaction to give up first: among the last nonces of all senders one behind a gap, then the lowest
        effective tip.

        The heap is built when first asked for and kept up to date from then on; entries that are no tails any more are
        skipped. It is
        rebuilt when the base fee has moved by an eighth, or when it has grown beyond twice the accounts.
        """
        if self._tails is None:
            self._tails_base_fee = self.base_fee
            self._tails = [
                self._tail_key(tail) for account in self.accounts.values() if (tail := account.tail()) is not None
            ]
            heapq.heapify(self._tails)
        heap = self._tails
        while heap:
            entry = self.by_hash.get(heap[0][2])
            if entry is not None and entry.account.tail() is entry and self._tail_key(entry) == heap[0]:
                return entry
            heapq.heappop(heap)
        return None

    def _tail_key(self, entry: Admitted) -> tuple[bool, int, bytes]:
        return entry.pending, entry.effective_tip(self._tails_base_fee), entry.hash

    def added(self, account: Account) -> None:
        """An account's tail, or what is executable of it, may have changed."""
        if self._tails is None or (tail := account.tail()) is None:
            return
        if len(self._tails) > 2 * len(self.accounts) + 64:
            self._tails = None
        else:
            heapq.heappush(self._tails, self._tail_key(tail))
