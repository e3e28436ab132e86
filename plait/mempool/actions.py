"""The pool of ledger actions: bounded, per account in nonce order, admitted against the decided economy.

    admit        decode, recover the signer, check fee, nonce and balance; replace an earlier action of the same nonce
    candidates   executable actions for a proposal: every account's in nonce order, accounts in order of arrival
    drop         actions that the ledger's rules refused when a proposal was built
    on_decided   forgets what was decided, and what its account's nonce has overtaken

An action is executable when its nonce, and those of all actions before it, follow the account's. Whether its body
applies is found only when a proposal is built, because other actions may come before it.

The pool reads the decided economy through `AccountsView`. It lives on the event loop; `candidates` is a snapshot.
Level 2.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from plait.crypto.actions import recover_action
from plait.errors import ActionRefused, CodecError
from plait.limits import (
    ACTION_HISTORY_MAX,
    ACTION_POOL_BYTES_MAX,
    ACTION_POOL_LIFETIME_S,
    ACTION_POOL_MAX,
    ACTION_POOL_NONCE_GAP_MAX,
    ACTION_POOL_PER_ACCOUNT_MAX,
    ACTIONS_PER_SUB_BLOCK_MAX,
    POOL_PRICE_BUMP_PERCENT,
    PROPOSAL_BYTES_MAX,
)
from plait.types.action import SignedAction
from plait.types.identifiers import Address, Height, NetworkId
from plait.types.quantities import Milliseconds

_CANDIDATE_BYTES_MAX: Final = PROPOSAL_BYTES_MAX // 4
"""Actions never crowd transactions out of a proposal."""


class AccountsView(Protocol):
    """What the pool reads of the decided economy."""

    def account(self, address: Address) -> tuple[int, int]:
        """(balance in base units, next nonce); zeros for an account that does not exist."""
        ...

    @property
    def action_fee(self) -> int:
        """What an action costs."""
        ...


class ActionStatus(NamedTuple):
    """What became of an action."""

    status: str
    """pending, queued (behind a nonce gap), decided or dropped."""
    height: Height | None = None
    code: str | None = None
    sentence: str | None = None


class ActionLimits(NamedTuple):
    """Bounds of one pool; smaller in tests."""

    actions_max: int = ACTION_POOL_MAX
    bytes_max: int = ACTION_POOL_BYTES_MAX
    per_account_max: int = ACTION_POOL_PER_ACCOUNT_MAX
    nonce_gap_max: int = ACTION_POOL_NONCE_GAP_MAX
    lifetime_ms: int = ACTION_POOL_LIFETIME_S * 1_000
    history_max: int = ACTION_HISTORY_MAX


class _Entry(NamedTuple):
    action: SignedAction
    arrival: int
    admitted_ms: int


class ActionPool:
    """Actions that wait to be ordered."""

    def __init__(
        self, network_id: NetworkId, view: Callable[[], AccountsView], limits: ActionLimits | None = None
    ) -> None:
        self._network_id = network_id
        self._view = view
        self.limits = limits or ActionLimits()
        self._accounts: dict[Address, dict[int, _Entry]] = {}
        self._by_hash: dict[bytes, _Entry] = {}
        self._ends: dict[bytes, ActionStatus] = {}
        self._listeners: list[Callable[[bytes, bytes], None]] = []
        self._arrivals = 0
        self.bytes = 0
        self.admitted_count = 0
        self.decided_count = 0
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_hash)

    # ------------------------------------------------------------ admission
    def admit(self, raws: Sequence[bytes], now_ms: Milliseconds) -> list[SignedAction | ActionRefused]:
        """Admits what may be ordered; per input the action, or why not.

        Codes: action_malformed, action_signature_invalid, action_nonce_too_low, action_nonce_too_high,
        action_fee_too_low, account_balance_insufficient, action_already_known, action_replacement_underpriced,
        action_account_limit, action_pool_full.
        """
        results: list[SignedAction | ActionRefused] = []
        view = self._view()
        for raw in raws:
            try:
                results.append(self._admit(view, raw, now_ms))
            except CodecError as error:
                self.refused[error.code] += 1
                results.append(ActionRefused(error.message, code=error.code, **error.fields))
            except ActionRefused as error:
                self.refused[error.code] += 1
                results.append(error)
        return results

    def _admit(self, view: AccountsView, raw: bytes, now_ms: Milliseconds) -> SignedAction:
        action = recover_action(raw, self._network_id)
        if action.hash in self._by_hash:
            raise _refused("action_already_known", "this action waits already")
        balance, nonce = view.account(action.sender)
        waiting = self._accounts.get(action.sender, {})
        before = waiting.get(action.nonce)
        others = len(waiting) - (before is not None)
        self._check_account(view, action, balance, nonce, others)
        if before is not None:
            least = max(before.action.max_fee * (100 + POOL_PRICE_BUMP_PERCENT) // 100, before.action.max_fee + 1)
            if action.max_fee < least:
                raise _refused(
                    "action_replacement_underpriced",
                    f"an action with nonce {action.nonce} waits; to replace it name a maxFee of {least} or more",
                    needed=least,
                )
            self._remove(before.action, ActionStatus("dropped", None, "action_replaced", "a newer action replaced it"))
        else:
            self._make_room(action, others)
        self._arrivals += 1
        arrival = before.arrival if before is not None else self._arrivals
        entry = _Entry(action, arrival, now_ms)
        self._accounts.setdefault(action.sender, {})[action.nonce] = entry
        self._by_hash[action.hash] = entry
        self._ends.pop(action.hash, None)
        self.bytes += len(action.raw)
        self.admitted_count += 1
        for listener in self._listeners:
            listener(action.raw, action.hash)
        return action

    def _check_account(self, view: AccountsView, action: SignedAction, balance: int, nonce: int, others: int) -> None:
        fee = view.action_fee
        if action.nonce < nonce:
            raise _refused(
                "action_nonce_too_low",
                f"the account's next nonce is {nonce}, this action has {action.nonce}",
                next_nonce=nonce,
            )
        if action.nonce > nonce + self.limits.nonce_gap_max:
            raise _refused(
                "action_nonce_too_high",
                f"the account's next nonce is {nonce}, this action has {action.nonce}; send those between first",
                next_nonce=nonce,
            )
        if action.max_fee < fee:
            raise _refused(
                "action_fee_too_low", f"an action costs {fee} base units, maxFee is {action.max_fee}", needed=fee
            )
        needed = max(1, fee * (others + 1))
        if balance < needed:
            raise _refused(
                "account_balance_insufficient",
                f"the account 0x{action.sender.hex()} holds {balance} base units; the fees of its waiting actions are "
                f"{needed}. If that is not your account, the action was signed for another network or altered",
                account="0x" + action.sender.hex(),
                balance=balance,
                needed=needed,
            )

    def _make_room(self, action: SignedAction, others: int) -> None:
        limits = self.limits
        if others >= limits.per_account_max:
            raise _refused("action_account_limit", f"{others} actions of this account wait; wait for some of them")
        while len(self._by_hash) >= limits.actions_max or self.bytes + len(action.raw) > limits.bytes_max:
            fullest = max(self._accounts, key=lambda address: (len(self._accounts[address]), address))
            if len(self._accounts[fullest]) <= others + 1:
                raise _refused("action_pool_full", f"{len(self._by_hash)} actions wait; try again in a moment")
            tail = self._accounts[fullest][max(self._accounts[fullest])]
            self._remove(tail.action, ActionStatus("dropped", None, "action_evicted", "the pool was full"))

    # ------------------------------------------------------------ for the protocol
    def candidates(
        self, count_max: int = ACTIONS_PER_SUB_BLOCK_MAX, bytes_max: int = _CANDIDATE_BYTES_MAX
    ) -> list[SignedAction]:
        """Executable actions in the order that a proposal may have them; nothing in it changes later."""
        view = self._view()
        fee = view.action_fee
        heap: list[tuple[int, Address, int]] = []
        for address, waiting in self._accounts.items():
            nonce = view.account(address)[1]
            entry = waiting.get(nonce)
            if entry is not None:
                heap.append((entry.arrival, address, nonce))
        heapq.heapify(heap)
        chosen: list[SignedAction] = []
        size = 0
        while heap and len(chosen) < count_max:
            arrival, address, nonce = heapq.heappop(heap)
            action = self._accounts[address][nonce].action
            if action.max_fee < fee or size + len(action.raw) > bytes_max:
                continue
            chosen.append(action)
            size += len(action.raw)
            following = self._accounts[address].get(nonce + 1)
            if following is not None:
                heapq.heappush(heap, (max(arrival, following.arrival), address, nonce + 1))
        return chosen

    def drop(self, refused: Iterable[tuple[bytes, str, str]]) -> None:
        """Forgets actions, by (hash, code, sentence), that the ledger refused when a proposal was built.

        One whose nonce was too high stays: an action before it was left out or refused, and may be sent again.
        """
        for hash_, code, sentence in refused:
            entry = self._by_hash.get(hash_)
            if entry is not None and code != "action_nonce_too_high":
                self._remove(entry.action, ActionStatus("dropped", None, code, sentence))

    def on_decided(self, hashes: Iterable[bytes], height: Height, now_ms: Milliseconds) -> None:
        """Follows a decided sub-block; the view shows its economy already.

        Args:
            hashes: of the actions that it holds, also of those that never waited here.
            height: of the sub-block.
            now_ms: its time; what has waited too long by then is dropped.
        """
        decided = ActionStatus("decided", height)
        for hash_ in hashes:
            self.decided_count += 1
            entry = self._by_hash.get(hash_)
            if entry is not None:
                self._remove(entry.action, decided)
            else:
                self._remember(hash_, decided)
        view = self._view()
        for address in list(self._accounts):
            nonce = view.account(address)[1]
            for entry in list(self._accounts.get(address, {}).values()):
                if entry.action.nonce < nonce:
                    sentence = "another action of the account with this nonce was decided"
                    self._remove(entry.action, ActionStatus("dropped", None, "action_nonce_used", sentence))
                elif now_ms - entry.admitted_ms > self.limits.lifetime_ms:
                    self._remove(entry.action, ActionStatus("dropped", None, "action_expired", "it waited too long"))

    # ------------------------------------------------------------ for the spread and for clients
    def listen(self, listener: Callable[[bytes, bytes], None]) -> None:
        """Calls `listener(raw, hash)` at every admission, wherever the action came from."""
        self._listeners.append(listener)

    def waits(self, hash_: bytes) -> bool:
        """Whether an action waits here."""
        return hash_ in self._by_hash

    def get(self, hash_: bytes) -> SignedAction | None:
        """A waiting action."""
        entry = self._by_hash.get(hash_)
        return None if entry is None else entry.action

    def status(self, hash_: bytes) -> ActionStatus | None:
        """What became of an action, as far as the pool remembers."""
        entry = self._by_hash.get(hash_)
        if entry is None:
            return self._ends.get(hash_)
        executable = entry.action.nonce < self.next_nonce(entry.action.sender)
        return ActionStatus("pending" if executable else "queued")

    def next_nonce(self, address: Address) -> int:
        """The nonce after the account's executable actions: the one to sign next."""
        nonce = self._view().account(address)[1]
        waiting: Mapping[int, _Entry] = self._accounts.get(address, {})
        while nonce in waiting:
            nonce += 1
        return nonce

    def statistics(self) -> dict[str, object]:
        """Counters for metrics and `plait_poolStatistics`."""
        return {
            "actions": len(self._by_hash),
            "bytes": self.bytes,
            "accounts": len(self._accounts),
            "actionsMax": self.limits.actions_max,
            "bytesMax": self.limits.bytes_max,
            "admitted": self.admitted_count,
            "decided": self.decided_count,
            "refused": dict(self.refused),
            "dropped": dict(self.dropped),
        }

    def _remove(self, action: SignedAction, end: ActionStatus) -> None:
        waiting = self._accounts[action.sender]
        del waiting[action.nonce]
        if not waiting:
            del self._accounts[action.sender]
        del self._by_hash[action.hash]
        self.bytes -= len(action.raw)
        if end.code is not None:
            self.dropped[end.code] += 1
        self._remember(action.hash, end)

    def _remember(self, hash_: bytes, end: ActionStatus) -> None:
        self._ends.pop(hash_, None)
        self._ends[hash_] = end
        while len(self._ends) > self.limits.history_max:
            del self._ends[next(iter(self._ends))]


def _refused(code: str, sentence: str, **fields: Any) -> ActionRefused:
    return ActionRefused(sentence, code=code, **fields)
