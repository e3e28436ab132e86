"""The transaction pool: admission in batches, snapshots for the protocol, replacement, eviction, statuses.

Rules of admission, in this order (the first that fails is the answer); codes and texts are in `refusals.py`
 1. canonical encoding, supported type, chain id, signature, size, init code, fee cap not below the tip (native
    decoding, once per batch)
 2. not in the pool already
 3. gas limit not below the intrinsic gas and not above the block's gas limit; data availability size within the block's
 4. fee cap not below the rollup's lowest base fee, nor below POOL_FEE_CAP_SHARE_MIN_PERCENT of the open block's
 5. sender has no contract code (delegation by EIP-7702 is none); nonce not used, and not too far beyond the next one
 6. a replacement raises fee cap and tip by POOL_PRICE_BUMP_PERCENT each
 7. the sender's balance covers everything it has in the pool: value + gas limit * fee cap + L1 data fee + operator fee
 8. limits per sender and of the whole pool; a full pool gives up the tail with the lowest effective tip for a better
    one

Fairness between rollups: when the pool is full, only a rollup that holds more than an equal share gives up
transactions, so that a flood on one rollup cannot push out the others' share.

Statuses: pending | queued | dropped(code, sentence) | decided(height, block) | sealed(height, block).

Level 2. Lives on one thread (the event loop's); only `decode` may be called elsewhere. Time is an argument.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from plait.errors import TransactionRefused
from plait.limits import (
    POOL_BYTES_MAX,
    POOL_NONCE_GAP_MAX,
    POOL_PRICE_BUMP_PERCENT,
    POOL_TRANSACTIONS_MAX,
    POOL_TRANSACTIONS_PER_SENDER_MAX,
    PROPOSAL_BYTES_MAX,
    PROPOSAL_ITEMS_MAX,
    TRANSACTION_BYTES_MAX,
)
from plait.mempool.entries import Account, Admitted
from plait.mempool.history import PENDING, QUEUED, Decided, DroppedEnd, Sealed, Status
from plait.mempool.lane import Lane, RollupDecided, RollupReads
from plait.mempool.refusals import REASONS, refusal, sentence
from plait.mempool.unread import Missing
from plait.native import PENDING as AT_PENDING
from plait.native import NativeError, Refusal, Transaction, decode_transactions
from plait.native.unread import is_unread
from plait.ordering.queues import SenderQueue
from plait.types import BlockNumber, Height, Milliseconds, RollupId, RollupParameters

DELEGATION_PREFIX = b"\xef\x01\x00"
"""EIP-7702: an account with this code is still an ordinary sender."""


class SubBlockEffect(Protocol):
    """What the pool needs of a decided sub-block; `protocol.effects.SubBlockDecided` has it."""

    @property
    def height(self) -> Height:
        """Of the sub-block."""
        ...

    @property
    def time_ms(self) -> Milliseconds:
        """Agreed time, Unix milliseconds."""
        ...

    @property
    def rollups(self) -> Sequence[RollupDecided]:
        """Its parts."""
        ...


class UnreadCandidate(Protocol):
    """A candidate for which state was missing; `protocol.requests.Unread` has it."""

    @property
    def rollup_id(self) -> RollupId:
        """Its rollup."""
        ...

    @property
    def hash(self) -> bytes:
        """Of the transaction."""
        ...

    @property
    def code(self) -> str:
        """Why, as a stable code."""
        ...

    @property
    def sentence(self) -> str:
        """Why, in words."""
        ...


class DroppedCandidate(UnreadCandidate, Protocol):
    """A candidate that the protocol found impossible; `protocol.requests.Dropped` has it."""


class PoolLimits(NamedTuple):
    """Bounds of one pool; the defaults are those of `limits.py`."""

    transactions_max: int = POOL_TRANSACTIONS_MAX
    bytes_max: int = POOL_BYTES_MAX
    per_sender_max: int = POOL_TRANSACTIONS_PER_SENDER_MAX
    nonce_gap_max: int = POOL_NONCE_GAP_MAX


class Pool:
    """Transactions of all rollups of a node that are not decided yet."""

    def __init__(self, limits: PoolLimits = PoolLimits()) -> None:  # noqa: B008  (immutable)
        self.limits = limits
        self.lanes: dict[RollupId, Lane] = {}
        self.count = 0
        self.bytes = 0
        self.admitted_count = 0
        self.refused: dict[str, int] = {}
        self._listeners: list[Callable[[RollupId, Sequence[Admitted]], None]] = []

    def listen(self, listener: Callable[[RollupId, Sequence[Admitted]], None]) -> None:
        """Has every admission told, wherever the transactions came from."""
        self._listeners.append(listener)

    def add_rollup(self, rollup: RollupReads, parameters: RollupParameters) -> None:
        """Opens the pool for a rollup."""
        self.lanes[parameters.rollup_id] = Lane(rollup, parameters)

    def update_rollup(self, parameters: RollupParameters, now_ms: Milliseconds) -> None:
        """Holds a rollup's transactions by other parameters from now on; what they do not allow any more is dropped."""
        before = self.lanes[parameters.rollup_id]
        self._renew(before, Lane(before.rollup, parameters), [], now_ms)

    def on_unwound(
        self, rollup_id: RollupId, to_number: BlockNumber, lost: Sequence[Transaction], now_ms: Milliseconds
    ) -> None:
        """Follows a rollup that went back: transactions that are in no block any more wait again, before the others.

        Args:
            rollup_id: of the rollup.
            to_number: its last block that stayed.
            lost: what may be executed again by itself; not parts of bundles.
            now_ms: time of the sub-block.
        """
        before = self.lanes.get(rollup_id)
        if before is None or before.is_closed:
            return
        before.waiters.unwound(to_number, DroppedEnd("unwound", sentence("unwound", f"block {to_number} stayed")))
        self._renew(before, Lane(before.rollup, before.parameters), lost, now_ms)

    def _renew(self, before: Lane, after: Lane, first: Sequence[Transaction], now_ms: Milliseconds) -> None:
        """Puts a rollup's transactions into a new lane, behind `first`, by the state as it is now."""
        after.take_over(before)
        rollup_id = after.parameters.rollup_id
        self.lanes[rollup_id] = after
        self._recount()
        for transaction in first:
            after.history.forget(transaction.hash)
        known = {transaction.hash for transaction in first}
        waiting = sorted(before.by_hash.values(), key=lambda entry: (entry.account.address, entry.nonce))
        again = [*first, *(entry.transaction for entry in waiting if entry.hash not in known)]
        for transaction, result in zip(again, self.admit(rollup_id, again, now_ms), strict=True):
            if isinstance(result, TransactionRefused):
                after.end(transaction.hash, DroppedEnd(result.code, result.message))

    def close_rollup(self, rollup_id: RollupId) -> None:
        """Drops the transactions of a rollup that left, and takes no more. What became of earlier ones stays known."""
        lane = self.lanes[rollup_id]
        lane.is_closed = True
        for entry in list(lane.by_hash.values()):
            lane.remove(entry, DroppedEnd("rollup_left", sentence("rollup_left", f"rollup id {rollup_id}")))
        self._recount()

    # ------------------------------------------------------------ admission
    def submit(
        self, rollup_id: RollupId, raws: Sequence[bytes], now_ms: Milliseconds
    ) -> list[Admitted | TransactionRefused]:
        """Decodes and admits a batch.

        Args:
            rollup_id: the rollup whose endpoint received it.
            raws: signed transactions, canonical bytes.
            now_ms: Unix milliseconds; never decreasing from call to call.

        Returns:
            Per transaction the pooled one or why it was refused.

        Raises:
            TransactionRefused: `rollup_unknown`.
        """
        return self.admit(rollup_id, self.decode(rollup_id, raws), now_ms)

    def decode(self, rollup_id: RollupId, raws: Sequence[bytes]) -> list[Transaction | Refusal]:
        """The part of `submit` that needs no pool: decodes and recovers senders on all cores. May run on any thread."""
        return decode_transactions(raws, self._lane(rollup_id).rollup.chain_id, size_max=TRANSACTION_BYTES_MAX)

    def admit(
        self, rollup_id: RollupId, decoded: Sequence[Transaction | Refusal], now_ms: Milliseconds
    ) -> list[Admitted | TransactionRefused]:
        """The rest of `submit`: checks decoded transactions against state and pool, in their order."""
        lane = self._lane(rollup_id)
        if lane.is_closed:
            raise refusal("rollup_left", f"rollup id {rollup_id}", rollup_id=rollup_id)
        transactions = [item for item in decoded if type(item) is Transaction]
        rollup = lane.rollup
        senders = [transaction.sender for transaction in transactions]
        addresses = list(dict.fromkeys(senders))
        try:
            costs = iter(rollup.additional_costs(transactions, AT_PENDING) if transactions else ())
            states = dict(zip(addresses, rollup.accounts(addresses, AT_PENDING) if addresses else (), strict=True))
        except NativeError as error:
            if not is_unread(error):
                raise
            return [self._refused(_unread(error)) for _ in decoded]
        sender = iter(senders)
        results: list[Admitted | TransactionRefused] = []
        for item in decoded:
            try:
                if type(item) is Transaction:
                    address = next(sender)
                    results.append(self._admit_one(lane, item, address, states[address], next(costs), now_ms))
                else:
                    results.append(self._refused(_of_native(item)))
            except TransactionRefused as refused:
                results.append(self._refused(refused))
            except NativeError as error:  # a sender's code
                if not is_unread(error):
                    raise
                results.append(self._refused(_unread(error)))
        if self._listeners and (admitted := [item for item in results if type(item) is Admitted]):
            for listener in self._listeners:
                listener(rollup_id, admitted)
        return results

    def _refused(self, refused: TransactionRefused) -> TransactionRefused:
        self.refused[refused.code] = self.refused.get(refused.code, 0) + 1
        return refused

    def _admit_one(  # noqa: PLR0917  (one call per transaction)
        self,
        lane: Lane,
        transaction: Transaction,
        address: bytes,
        state: tuple[int, int, bool],
        additional_cost: int,
        now_ms: Milliseconds,
    ) -> Admitted:
        hash_ = transaction.hash
        if hash_ in lane.by_hash:
            raise refusal("already_known", "0x" + hash_.hex())
        gas_limit, fee_cap, nonce = transaction.gas_limit, transaction.max_fee_per_gas, transaction.nonce
        if not (
            transaction.intrinsic_gas <= gas_limit <= lane.gas_limit
            and transaction.da_size <= lane.da_bytes_max
            and fee_cap >= lane.fee_cap_min
        ):
            raise _block_rule_broken(lane, transaction, gas_limit, fee_cap)
        state_nonce, balance, has_code = state
        if has_code and not lane.rollup.code(address, AT_PENDING).startswith(DELEGATION_PREFIX):
            raise refusal("sender_not_eoa", f"address 0x{address.hex()}", address="0x" + address.hex())
        if nonce < state_nonce:
            raise refusal(
                "nonce_too_low", f"next nonce {state_nonce}, tx nonce {nonce}", next_nonce=state_nonce, nonce=nonce
            )
        account = lane.accounts.get(address)
        if account is None:
            account = Account(address, state_nonce, balance)
        elif account.next_nonce < state_nonce and not account.pending:
            lane.follow(account, state_nonce, now_ms)
        account.balance = balance
        executable_nonce = account.next_nonce + len(account.pending)
        if nonce > executable_nonce + self.limits.nonce_gap_max:
            details = f"tx nonce {nonce}, gapped nonce {executable_nonce}"
            raise refusal("nonce_gap_too_large", details, next_nonce=executable_nonce, nonce=nonce)
        entry = Admitted(
            account,
            transaction,
            hash_,
            nonce,
            fee_cap,
            transaction.max_priority_fee_per_gas,
            gas_limit,
            transaction.size,
            transaction.max_cost() + additional_cost,
            now_ms,
        )
        # A new sender has no earlier transaction, and an executable nonce is free unless it is one of `pending`.
        before = account.at(nonce) if nonce < executable_nonce or account.queued else None
        if before is not None:
            _check_replacement(before, entry)
        spent = account.cost if before is None else account.cost - before.cost
        if spent + entry.cost > balance:
            raise _insufficient(balance, spent, entry.cost)
        if before is not None:
            self._replace(lane, before, entry, now_ms)
        else:
            self._insert(lane, account, entry, executable_nonce, now_ms)
        self.admitted_count += 1
        return entry

    def _insert(
        self, lane: Lane, account: Account, entry: Admitted, executable_nonce: int, now_ms: Milliseconds
    ) -> None:
        limits, size = self.limits, entry.size
        if len(account.pending) + len(account.queued) >= limits.per_sender_max:
            self._make_room_of_sender(lane, account, entry)
        if self.count >= limits.transactions_max or self.bytes + size > limits.bytes_max:
            self._make_room(lane, entry)
        lane.accounts[account.address] = account
        lane.by_hash[entry.hash] = entry
        if lane.unread is not None:
            lane.unread.add(entry.hash)
        self.count += 1
        lane.bytes += size
        self.bytes += size
        account.cost += entry.cost
        lane.history.forget(entry.hash)
        if entry.nonce != executable_nonce:
            account.queued[entry.nonce] = entry
        else:
            account.append(entry, now_ms)
            lane.pending_count += 1
            lane.pending_gas += entry.gas_limit
            lane.pending_bytes += size
            if account.queued:
                lane.promote(account, now_ms)
            if account.tier < 0:
                lane.place(account)
        lane.added(account)

    def _replace(self, lane: Lane, before: Admitted, entry: Admitted, now_ms: Milliseconds) -> None:
        account = before.account
        executable = before.pending
        if executable:
            lane.count_pending((before,), -1)
        account.replace(entry, now_ms)
        if executable:
            lane.count_pending((entry,), 1)
        details = f"by 0x{entry.hash.hex()}"
        lane.forget(before, DroppedEnd("replaced", sentence("replaced", details)))
        lane.by_hash[entry.hash] = entry
        if lane.unread is not None:
            lane.unread.add(entry.hash)
        lane.bytes += entry.size
        self.bytes += entry.size - before.size
        account.cost += entry.cost
        lane.history.forget(entry.hash)
        if executable and entry.nonce == account.next_nonce:
            lane.place(account)
        lane.added(account)

    # ------------------------------------------------------------ room
    def _make_room_of_sender(self, lane: Lane, account: Account, entry: Admitted) -> None:
        """A sender at its limit may still fill a gap: its own last transaction leaves for it."""
        tail = account.tail()
        if tail is None or tail.nonce < entry.nonce:
            details = f"pooled {len(account)} txs"
            raise refusal("account_limit_exceeded", details, limit=self.limits.per_sender_max)
        self._evict(lane, tail, "account_limit_exceeded", f"pooled {len(account)} txs")

    def _make_room(self, lane: Lane, entry: Admitted) -> None:
        """Gives up tails for a transaction that is worth more, or whose rollup holds less than its share."""
        share = self.limits.transactions_max // len(self.lanes)
        bytes_share = self.limits.bytes_max // len(self.lanes)
        while self.count >= self.limits.transactions_max or self.bytes + entry.size > self.limits.bytes_max:
            entitled = len(lane) < share and lane.bytes + entry.size <= bytes_share
            victim_lane = lane
            if entitled:
                victim_lane = max(
                    self.lanes.values(), key=lambda other: max(len(other) / share, other.bytes / bytes_share)
                )
            victim = victim_lane.lowest_tail()
            if victim is None:
                raise refusal("pool_full", f"{self.count} transactions")
            if victim_lane is lane:
                own = victim.account is entry.account and victim.nonce < entry.nonce
                executable = entry.nonce == entry.account.next_nonce + len(entry.account.pending)
                worth, least = entry.effective_tip(lane.base_fee), victim.effective_tip(lane.base_fee)
                if own or (executable, worth) <= (victim.pending, least):
                    details = f"effective tip {worth} wei per gas, lowest held {least}"
                    raise refusal("underpriced", details, tip=worth, tip_lowest=least)
            self._evict(victim_lane, victim, "evicted", f"{self.count} transactions held")

    def _evict(self, lane: Lane, entry: Admitted, code: str, details: str) -> None:
        lane.remove(entry, DroppedEnd(code, sentence(code, details)))
        self._recount()

    def _recount(self) -> None:
        self.count = sum(map(len, self.lanes.values()))
        self.bytes = sum(lane.bytes for lane in self.lanes.values())

    # ------------------------------------------------------------ for the protocol
    def candidates(
        self,
        gas_max_factor: int = 2,
        bytes_max: int = PROPOSAL_BYTES_MAX,
        items_max: int = PROPOSAL_ITEMS_MAX,
        throttled: Mapping[RollupId, int] = MappingProxyType({}),
    ) -> dict[RollupId, list[SenderQueue]]:
        """A snapshot of executable transactions, per rollup and sender.

        Args:
            gas_max_factor: bound of the gas limits per rollup, in gas limits of a block (transactions use less than
            their limit).
            bytes_max: bound of the encoded sizes per rollup, bytes.
            items_max: bound of the transactions per rollup.
            throttled: lower bounds of the encoded sizes, for rollups whose data wait for L1.

        Returns:
            Queues of the rollups that have any. Nothing in it changes later.
        """
        return {
            rollup_id: queues
            for rollup_id, lane in self.lanes.items()
            if lane.pending_count
            and (
                queues := lane.candidates(
                    gas_max_factor * lane.gas_limit, min(bytes_max, throttled.get(rollup_id, bytes_max)), items_max
                )
            )
        }

    def on_decided(self, effect: SubBlockEffect) -> None:
        """Follows a decided sub-block, in height order: removes, promotes, wakes those who wait, expires what is
        old."""
        for part in effect.rollups:
            lane = self.lanes.get(part.rollup_id)
            if lane is not None:
                lane.decide(part, effect.height, effect.time_ms)
        for lane in self.lanes.values():
            lane.sweep(effect.time_ms)
        self._recount()

    def drop(self, dropped: Iterable[DroppedCandidate], now_ms: Milliseconds) -> None:
        """Forgets candidates that can never be applied. One that was decided meanwhile stays until its effect
        arrives."""
        for item in dropped:
            lane = self.lanes.get(item.rollup_id)
            entry = lane.by_hash.get(item.hash) if lane is not None else None
            if lane is None or entry is None or lane.rollup.transaction_location(item.hash) is not None:
                continue
            account = entry.account
            lane.remove(entry, DroppedEnd(item.code, item.sentence))
            if item.code == "nonce_too_low" and account.queued and not account.pending:
                try:
                    ((nonce, account.balance, _),) = lane.rollup.accounts([account.address], AT_PENDING)
                except NativeError as error:
                    if not is_unread(error):
                        raise
                    continue  # the lane looks at every account in its turn
                lane.follow(account, nonce, now_ms)
        self._recount()

    # ------------------------------------------------------------ state that another node holds
    def to_read(self, rollup_id: RollupId, now_ms: Milliseconds, most: int) -> list[SenderQueue]:
        """Transactions whose state should be read now; none of a rollup whose state is at hand.

        Args:
            rollup_id: of the rollup.
            now_ms: Unix milliseconds.
            most: transactions.
        """
        lane = self.lanes.get(rollup_id)
        return [] if lane is None else lane.to_read(now_ms, most)

    def state_read(self, rollup_id: RollupId, hashes: Iterable[bytes]) -> None:
        """Offers transactions to proposals: what they need is known."""
        lane = self.lanes.get(rollup_id)
        if lane is not None and lane.unread is not None:
            for hash_ in hashes:
                lane.unread.done(hash_)

    def state_unread(self, unread: Iterable[UnreadCandidate], now_ms: Milliseconds, *, tried: bool = True) -> None:
        """Keeps transactions back for a while: state that they need could not be read, or, when they were not tried,
        state that others need which stand before them."""
        for item in unread:
            lane = self.lanes.get(item.rollup_id)
            if lane is not None and lane.unread is not None and item.hash in lane.by_hash:
                lane.unread.failed(item.hash, item.code, item.sentence, now_ms, tried=tried)

    def state_later(self, rollup_id: RollupId, hashes: Iterable[bytes], now_ms: Milliseconds) -> None:
        """Reads for transactions again in a moment: they could not be run now, for another reason than state."""
        lane = self.lanes.get(rollup_id)
        if lane is not None and lane.unread is not None:
            for hash_ in hashes:
                lane.unread.later(hash_, now_ms)

    def waits_for_state(self, rollup_id: RollupId, hash_: bytes) -> bool:
        """Whether a transaction is kept back until its state was read."""
        lane = self.lanes.get(rollup_id)
        return lane is not None and lane.unread is not None and hash_ in lane.unread

    def waiting_for_state(self) -> int:
        """Transactions that were tried and lack state."""
        return sum(len(lane.unread.reasons()) for lane in self.lanes.values() if lane.unread is not None)

    def missing(self, rollup_id: RollupId, hash_: bytes) -> Missing | None:
        """Why a pooled transaction waits for state, if it does and was tried."""
        lane = self.lanes.get(rollup_id)
        found = None if lane is None or lane.unread is None else lane.unread.get(hash_)
        return found if found is not None and found.code and lane is not None and hash_ in lane.by_hash else None

    # ------------------------------------------------------------ for clients
    def get(self, rollup_id: RollupId, hash_: bytes) -> Admitted | None:
        """A pooled transaction."""
        return self._lane(rollup_id).by_hash.get(hash_)

    def status(self, rollup_id: RollupId, hash_: bytes) -> Status | None:
        """What became of a transaction, as far as the pool remembers."""
        lane = self._lane(rollup_id)
        entry = lane.by_hash.get(hash_)
        if entry is not None:
            return PENDING if entry.pending else QUEUED
        end = lane.history.get(hash_)
        if isinstance(end, Decided) and end.block_number <= lane.sealed_number:
            return Sealed(end.height, end.block_number)
        return end

    async def wait(self, rollup_id: RollupId, hash_: bytes, level: Literal["decided", "sealed"]) -> Status:
        """Waits until a transaction is decided, sealed or dropped; the caller bounds the time.

        Raises:
            Unavailable: `waiters_full`.
        """
        status = self.status(rollup_id, hash_)
        reached = ("decided", "sealed", "dropped") if level == "decided" else ("sealed", "dropped")
        if status is not None and status.status in reached:
            return status
        return await self._lane(rollup_id).waiters.add(hash_, level, status if isinstance(status, Decided) else None)

    def next_nonce(self, rollup_id: RollupId, address: bytes) -> int | None:
        """The nonce after the sender's executable transactions; None when it has none here (then the state's nonce
        counts)."""
        account = self._lane(rollup_id).accounts.get(address)
        return None if account is None or not account.pending else account.next_nonce + len(account.pending)

    def accounts(self, rollup_id: RollupId) -> Mapping[bytes, Account]:
        """All senders of a rollup, for `txpool_content` and the like. Read it before the next await."""
        return self._lane(rollup_id).accounts

    def statistics(self) -> dict[str, object]:
        """Counters for metrics, `txpool_status` and `plait_poolStatistics`."""
        return {
            "transactions": self.count,
            "bytes": self.bytes,
            "transactionsMax": self.limits.transactions_max,
            "bytesMax": self.limits.bytes_max,
            "admitted": self.admitted_count,
            "refused": dict(self.refused),
            "rollups": {
                rollup_id: {
                    "pending": lane.pending_count,
                    "queued": len(lane) - lane.pending_count,
                    "bytes": lane.bytes,
                    "senders": len(lane.accounts),
                    "decided": lane.decided_count,
                    "dropped": dict(lane.dropped),
                    "waiters": len(lane.waiters),
                    "baseFee": lane.base_fee,
                }
                for rollup_id, lane in self.lanes.items()
            },
        }

    def _lane(self, rollup_id: RollupId) -> Lane:
        lane = self.lanes.get(rollup_id)
        if lane is None:
            raise refusal("rollup_unknown", f"rollup id {rollup_id}", rollup_id=rollup_id)
        return lane


# ---------------------------------------------------------------- rules without pool state
def _unread(error: NativeError) -> TransactionRefused:
    """The refusal of a transaction whose sender is not known here and could not be looked up."""
    return refusal("remote_unavailable", str(error).rstrip("."), reason=error.code)


def _of_native(found: Refusal) -> TransactionRefused:
    if found.code in REASONS:
        return refusal(found.code, found.message.rstrip("."))
    return TransactionRefused(found.message, code=found.code)


def _block_rule_broken(lane: Lane, transaction: Transaction, gas_limit: int, fee_cap: int) -> TransactionRefused:
    """The first rule of the open block that a transaction breaks; it breaks one."""
    intrinsic = transaction.intrinsic_gas
    if gas_limit < intrinsic:
        details = f"gas {gas_limit}, minimum needed {intrinsic}"
        return refusal("intrinsic_gas_too_low", details, gas=gas_limit, minimum=intrinsic)
    if gas_limit > lane.gas_limit:
        details = f"gas {gas_limit}, block gas limit {lane.gas_limit}"
        return refusal("gas_limit_exceeds_block", details, gas=gas_limit, limit=lane.gas_limit)
    if transaction.da_size > lane.da_bytes_max:
        details = f"estimated {transaction.da_size} bytes, limit {lane.da_bytes_max}"
        return refusal("da_exceeds_block", details, da_bytes=transaction.da_size, limit=lane.da_bytes_max)
    floor = lane.fee_cap_min
    details = f"maxFeePerGas {fee_cap}, baseFee {lane.base_fee}, lowest accepted {floor}"
    return refusal("fee_cap_too_low", details, fee_cap=fee_cap, base_fee=lane.base_fee, minimum=floor)


def _check_replacement(before: Admitted, entry: Admitted) -> None:
    factor = 100 + POOL_PRICE_BUMP_PERCENT
    fee_cap_min = max(before.fee_cap * factor // 100, before.fee_cap + 1)
    tip_min = max(before.tip * factor // 100, before.tip + 1)
    if entry.fee_cap < fee_cap_min or entry.tip < tip_min:
        details = f"nonce {entry.nonce} needs maxFeePerGas >= {fee_cap_min} and maxPriorityFeePerGas >= {tip_min}"
        raise refusal(
            "replacement_underpriced",
            details,
            fee_cap_min=fee_cap_min,
            tip_min=tip_min,
            earlier="0x" + before.hash.hex(),
        )


def _insufficient(balance: int, spent: int, cost: int) -> TransactionRefused:
    details = f"balance {balance}, "
    if spent:
        details += f"queued cost {spent}, "
    details += f"tx cost {cost}, overshot {spent + cost - balance}"
    return refusal("insufficient_funds", details, balance=balance, queued_cost=spent, cost=cost)
