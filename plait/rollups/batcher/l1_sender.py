"""Brings signed transactions to L1 in the order of their nonces, whatever happens to them on the way.

One `step` looks at L1 and does what is needed; it keeps no state that a crash could lose beside the journal:
    included      a receipt of any of the offers that were made for a nonce, in a block that is canonical
    reorganised   its block is canonical no more: the same transaction is sent again
    stuck         not included for `bump_after_s`, or offering less than L1 asks: signed again with higher fees, first
                  written to the journal, then sent (calldata +10 %, blobs +100 %: the least that pools replace for)
    dropped       sent again every `resend_after_s`; what a pool knows already it says so, which is no failure
    taken         its nonce was used by none of the offers (another program has the key): it and all after it are void
    timed out     a channel's frames lie further apart than derivation keeps a channel: the same
    final         a posting whose last block L1 finalized is forgotten

Postings are void from a nonce on, never in the middle: derivation takes blocks in order only (Holocene), so what came
after a loss is lost too. The ranges of void postings are posted again under new nonces.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from plait.derivation.rollup_config import BlockId
from plait.errors import InvariantBroken
from plait.limits import BATCHER_IN_FLIGHT_MAX, BATCHER_OFFERS_MAX
from plait.rollups.batcher.costs import added, costs_of
from plait.rollups.batcher.journal import Costs, Entry, Journal, Posting, Range
from plait.rollups.batcher.l1_access import L1Access, L1Prices, L1Receipt
from plait.rollups.batcher.l1_transactions import Content, Fees, address_of_key, calldata_gas, sign
from plait.rollups.batcher.sidecars import Sidecar, SidecarVersion, make_sidecar
from plait.types import Gas, Hash32, Wei

CHANNEL_TIMEOUT_BLOCKS: Final = 50
"""L1 blocks over which a channel's frames may be spread (Granite)."""
NONCE_TAKEN_LOOKS: Final = 3
"""So often in a row no receipt is found for a used nonce until it counts as taken: L1's answers may lag each other."""
BUMP_PERCENT: Final = 10
BLOB_BUMP_PERCENT: Final = 100
BLOB_FEE_CAP_MIN_WEI: Final = Wei(1_000_000_000)
"""Offered at least per blob gas: the blob base fee of a quiet L1 is 1 wei and would double at once."""

_KNOWN: Final = ("already known", "known transaction", "already imported", "already exists")
_STALE: Final = ("nonce too low", "nonce is too low")
_CHEAP: Final = ("underpriced", "less than block base fee", "fee cap less than", "fee too low", "max fee per")


class SenderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How patient and how generous the sender is."""

    bump_after_s: int = 30
    resend_after_s: int = 6
    bump_percent: int = BUMP_PERCENT
    blob_bump_percent: int = BLOB_BUMP_PERCENT
    fee_cap_max_wei: int = 0
    """It offers no more per gas than this; 0: no bound."""
    blob_fee_cap_max_wei: int = 0
    """The same per blob gas."""
    tip_min_wei: int = 1
    sidecar_version: SidecarVersion = 1
    """How proofs of blobs are made: 1 from Osaka on, 0 before."""
    channel_timeout_blocks: int = CHANNEL_TIMEOUT_BLOCKS


class Included(msgspec.Struct, frozen=True, kw_only=True):
    """A posting is on L1 as a whole."""

    posting: Posting
    receipts: tuple[L1Receipt, ...]


class Finalized(msgspec.Struct, frozen=True, kw_only=True):
    """A posting is on L1 for good."""

    posting: Posting


class Voided(msgspec.Struct, frozen=True, kw_only=True):
    """Everything from this nonce on is to be posted again. `code` says why."""

    nonce: int
    code: str


class HistoryLost(msgspec.Struct, frozen=True):
    """L1 has forgotten transactions that it had called final; nothing is known about what is posted."""


SenderEvent = Included | Finalized | Voided | HistoryLost


class _Progress:
    """What is known in memory about a nonce."""

    __slots__ = ("offered_at_s", "receipt", "reported", "sent_at_s", "unseen")

    def __init__(self, now_s: float) -> None:
        self.receipt: L1Receipt | None = None
        self.sent_at_s: float | None = None
        self.offered_at_s = now_s
        self.unseen = 0
        self.reported = False


class L1Sender:
    """Sends what `post` was given. Methods belong to one task."""

    def __init__(
        self,
        l1: L1Access,
        journal: Journal,
        private_key: bytes,
        settings: SenderSettings,
        *,
        now_s: Callable[[], float],
        final_depth_blocks: int = 64,
    ) -> None:
        self._l1 = l1
        self._journal = journal
        self._key = private_key
        self._settings = settings
        self._now_s = now_s
        self._final_depth = final_depth_blocks
        self._progress: dict[int, _Progress] = {}
        self._events: list[SenderEvent] = []
        """Not told yet, because L1 stopped answering in the middle of a step."""
        self._head: BlockId | None = None
        self._nonce = -1
        self.address = address_of_key(private_key)
        self.refusal: str | None = None
        """L1's words about the last transaction that it did not take; None when it took everything."""
        self.capped = False
        """Whether L1 asks for more than may be offered."""
        self.bumps = 0
        self.resends = 0

    # ------------------------------------------------------------ posting
    async def post(self, contents: Sequence[Content], ranges: Sequence[Range]) -> Posting:
        """Signs the transactions of one posting, writes them down, and sends them with the next `step`.

        Args:
            contents: in the order in which L1 must take them, at least one.
            ranges: the blocks that they hold together; none for calls of contracts.

        Raises:
            Unavailable: L1 answers no question; nothing was signed.
            OSError: the journal cannot be written; nothing will be sent.
        """
        first = max(await self._l1.nonce(self.address), self._journal.next_nonce())
        prices = await self._l1.prices()
        posting = Posting(
            first_nonce=first,
            transactions=len(contents),
            ranges=tuple(ranges),
            made_at_ms=int(self._now_s() * 1_000),
        )
        entries = []
        for nonce, content in enumerate(contents, first):
            sidecar = None
            if content.blobs:
                sidecar = await asyncio.to_thread(make_sidecar, content.blobs, self._settings.sidecar_version)
            entries.append(self._entry(nonce, posting, content, sidecar, self._offer(prices, content)))
        await asyncio.to_thread(self._journal.add, entries)
        return posting

    def in_flight(self) -> int:
        """Transactions that are not known to be on L1."""
        return sum(self._known(nonce).receipt is None for nonce in self._journal.entries)

    def included(self) -> list[tuple[Posting, int]]:
        """Postings that are on L1 as a whole and count, and the L1 block of their last transaction."""
        found = []
        for posting in self._journal.postings():
            receipts = self._receipts(posting)
            if receipts is not None and not self._journal.entries[posting.first_nonce].void:
                found.append((posting, max(int(receipt.block.number) for receipt in receipts)))
        return found

    # ------------------------------------------------------------ following
    async def step(self) -> list[SenderEvent]:
        """Looks at L1 once and does what is needed.

        Raises:
            Unavailable: L1 gives no answer; call again later.
            OSError: the journal cannot be written.
        """
        entries = self._journal.entries
        head = await self._l1.block("latest")
        assert head is not None, "L1 has a newest block"
        nonce = await self._l1.nonce(self.address)
        if nonce < min(entries, default=self._journal.settled.next_nonce):
            self._progress.clear()
            return [HistoryLost()]
        await self._drop_reorganised(head, nonce)
        voided = await self._look_for_receipts(nonce)
        await self._send_rest(nonce)
        for event in voided or self._timed_out():
            await asyncio.to_thread(self._journal.void_from, event.nonce)
            self._events.append(event)
        self._events += self._newly_included()
        self._events += await self._finalize(head)
        events, self._events = self._events, []
        return events

    async def _drop_reorganised(self, head: BlockId, nonce: int) -> None:
        if head == self._head and nonce == self._nonce:
            return  # what was canonical under this head still is
        canonical: dict[int, BlockId | None] = {}
        for one in self._journal.entries:
            progress = self._known(one)
            if progress.receipt is None:
                continue
            number = progress.receipt.block.number
            if number not in canonical:
                canonical[number] = await self._l1.block(number)
            if canonical[number] != progress.receipt.block or one >= nonce:
                self._progress[one] = _Progress(self._now_s())
        self._head, self._nonce = head, nonce

    async def _look_for_receipts(self, nonce: int) -> list[Voided]:
        for one, entry in self._journal.entries.items():
            progress = self._known(one)
            if one >= nonce:
                progress.unseen = 0
            if one >= nonce or progress.receipt is not None:
                continue
            progress.receipt = await self._receipt_of(entry)
            if progress.receipt is not None:
                progress.unseen = 0
                continue
            progress.unseen += 1
            if progress.unseen >= NONCE_TAKEN_LOOKS and not entry.void:
                return [Voided(nonce=entry.posting.first_nonce, code="batcher_nonce_taken")]
        return []

    async def _receipt_of(self, entry: Entry) -> L1Receipt | None:
        for hash_, _ in reversed(entry.offers):
            receipt = await self._l1.receipt(hash_)
            if receipt is not None:
                return receipt
        return None

    async def _send_rest(self, nonce: int) -> None:
        self.capped = False
        waiting = [entry for one, entry in self._journal.entries.items() if one >= nonce][:BATCHER_IN_FLIGHT_MAX]
        if not waiting:
            self.refusal = None
            return
        prices = await self._l1.prices()
        for entry in waiting:
            progress = self._known(entry.nonce)
            now_s = self._now_s()
            current = entry
            if self._is_stuck(entry, progress, prices, now_s):
                raised = self._raised(entry, prices)
                if raised is not None:
                    signed = self._signed(entry, raised)
                    current = await asyncio.to_thread(self._journal.offered, entry.nonce, signed[0], raised)
                    progress.offered_at_s, progress.sent_at_s = now_s, None
                    self.bumps += 1
            self.capped |= self._is_capped(current, prices)
            if progress.sent_at_s is not None and now_s - progress.sent_at_s < self._settings.resend_after_s:
                continue
            self.resends += progress.sent_at_s is not None
            refused = await self._send(current)
            progress.sent_at_s = now_s
            if refused is not None:
                break  # what follows would wait behind a gap

    async def _send(self, entry: Entry) -> str | None:
        """None when L1 has it, else its words."""
        hash_, fees = entry.offers[-1]
        signed_hash, raw = self._signed(entry, fees)
        if signed_hash != hash_:
            raise InvariantBroken("the journal holds transactions of another key", code="batcher_journal_damaged")
        refusal = await self._l1.send(raw)
        if refusal is None or any(word in refusal.lower() for word in (*_KNOWN, *_STALE)):
            self.refusal = None
            return None
        if any(word in refusal.lower() for word in _CHEAP):
            self._known(entry.nonce).offered_at_s = float("-inf")  # the next step offers more
        self.refusal = refusal
        return refusal

    # ------------------------------------------------------------ fees
    def _offer(self, prices: L1Prices, content: Content) -> Fees:
        tip = max(prices.tip, self._settings.tip_min_wei)
        blob = max(2 * prices.blob_base_fee, BLOB_FEE_CAP_MIN_WEI) if content.blobs else 0
        fees = Fees(tip=Wei(tip), fee_cap=Wei(2 * prices.base_fee + tip), blob_fee_cap=Wei(blob))
        return self._bounded(fees)

    def _bounded(self, fees: Fees) -> Fees:
        most, most_blob = self._settings.fee_cap_max_wei, self._settings.blob_fee_cap_max_wei
        if most:
            fees = Fees(
                tip=min(fees.tip, Wei(most)), fee_cap=min(fees.fee_cap, Wei(most)), blob_fee_cap=fees.blob_fee_cap
            )
        if most_blob:
            fees = msgspec.structs.replace(fees, blob_fee_cap=min(fees.blob_fee_cap, Wei(most_blob)))
        return fees

    def _is_stuck(self, entry: Entry, progress: _Progress, prices: L1Prices, now_s: float) -> bool:
        return self._is_too_cheap(entry, prices) or now_s - progress.offered_at_s >= self._settings.bump_after_s

    def _is_too_cheap(self, entry: Entry, prices: L1Prices) -> bool:
        fees = entry.offers[-1][1]
        return fees.fee_cap < prices.base_fee or (
            bool(entry.content.blobs) and fees.blob_fee_cap < prices.blob_base_fee
        )

    def _is_capped(self, entry: Entry, prices: L1Prices) -> bool:
        """Whether a transaction offers less than L1 asks, and may not offer more."""
        beyond = len(entry.offers) < BATCHER_OFFERS_MAX and self._raised(entry, prices) is None
        return beyond and self._is_too_cheap(entry, prices)

    def _raised(self, entry: Entry, prices: L1Prices) -> Fees | None:
        """Fees for which a pool replaces the last offer; None when that is more than may be offered."""
        if len(entry.offers) >= BATCHER_OFFERS_MAX:
            return None
        last = entry.offers[-1][1]
        percent = self._settings.blob_bump_percent if entry.content.blobs else self._settings.bump_percent
        least = Fees(
            tip=_more(last.tip, percent),
            fee_cap=_more(last.fee_cap, percent),
            blob_fee_cap=_more(last.blob_fee_cap, percent) if entry.content.blobs else Wei(0),
        )
        raised = least.raised_to(self._offer(prices, entry.content))
        return raised if self._bounded(raised) == raised else None

    # ------------------------------------------------------------ signing
    def _entry(self, nonce: int, posting: Posting, content: Content, sidecar: Sidecar | None, fees: Fees) -> Entry:
        entry = Entry(
            nonce=nonce,
            posting=posting,
            content=content,
            gas_limit=max(Gas(content.gas), calldata_gas(content.data)),
            sidecar=sidecar,
            offers=(),
        )
        return msgspec.structs.replace(entry, offers=((self._signed(entry, fees)[0], fees),))

    def _signed(self, entry: Entry, fees: Fees) -> tuple[Hash32, bytes]:
        signed = sign(
            self._key, entry.content, nonce=entry.nonce, fees=fees, gas_limit=entry.gas_limit, sidecar=entry.sidecar
        )
        return signed.hash, signed.raw

    # ------------------------------------------------------------ events
    def _timed_out(self) -> list[Voided]:
        for posting in self._journal.postings():
            receipts = self._receipts(posting)
            if receipts is None or self._journal.entries[posting.first_nonce].void:
                continue
            numbers = [receipt.block.number for receipt in receipts]
            if max(numbers) - min(numbers) > self._settings.channel_timeout_blocks:
                return [Voided(nonce=posting.first_nonce, code="batcher_channel_timed_out")]
        return []

    def _newly_included(self) -> list[Included]:
        included = []
        for posting in self._journal.postings():
            receipts = self._receipts(posting)
            first = self._known(posting.first_nonce)
            if receipts is None:
                first.reported = False
            elif not first.reported:
                first.reported = True
                included.append(Included(posting=posting, receipts=receipts))
        return included

    async def _finalize(self, head: BlockId) -> list[Finalized]:
        if not self._journal.entries:
            return []
        final = await self._l1.block("finalized")
        number = head.number - self._final_depth if final is None else final.number
        done: list[Finalized] = []
        for posting in self._journal.postings():
            if not self._is_final(posting, number):
                break
            await asyncio.to_thread(self._journal.settle, posting, costs_of(posting.ranges, self._taken(posting)))
            for nonce in range(posting.first_nonce, posting.first_nonce + posting.transactions):
                self._progress.pop(nonce, None)
            done.append(Finalized(posting=posting))
        return done

    def costs(self) -> dict[int, Costs]:
        """What all postings cost, by rollup, as far as L1 is known to hold them; may be asked at any moment."""
        postings, settled = self._journal.postings(), self._journal.settled  # in this order: none counts twice
        waiting = [posting for posting in postings if posting.first_nonce >= settled.next_nonce]
        return added(settled.costs, *(costs_of(posting.ranges, self._taken(posting)) for posting in waiting))

    def _is_final(self, posting: Posting, number: int) -> bool:
        for nonce in range(posting.first_nonce, posting.first_nonce + posting.transactions):
            progress = self._known(nonce)
            if progress.receipt is None:
                if not self._journal.entries[nonce].void or progress.unseen < NONCE_TAKEN_LOOKS:
                    return False
            elif progress.receipt.block.number > number:
                return False
        return True

    def _receipts(self, posting: Posting) -> tuple[L1Receipt, ...] | None:
        receipts = self._taken(posting)
        return receipts if len(receipts) == posting.transactions else None

    def _taken(self, posting: Posting) -> tuple[L1Receipt, ...]:
        """Receipts of those transactions of a posting that L1 is known to hold."""
        nonces = range(posting.first_nonce, posting.first_nonce + posting.transactions)
        return tuple(receipt for nonce in nonces if (receipt := self._known(nonce).receipt) is not None)

    def _known(self, nonce: int) -> _Progress:
        progress = self._progress.get(nonce)
        if progress is None:
            progress = self._progress[nonce] = _Progress(self._now_s())
        return progress


def _more(value: int, percent: int) -> Wei:
    """The least value that is so many percent above."""
    return Wei(max(value + -(-value * percent // 100), value + 1))


__all__ = ["Finalized", "HistoryLost", "Included", "L1Sender", "SenderEvent", "SenderSettings", "Voided"]
