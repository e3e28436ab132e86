"""The pool of bundles: admission, what the protocol is offered, credit for failed trials, statuses.

Rules of admission, in this order (the first that fails is the answer; codes in docs/errors.md)
 1. the bundle's own rules (`plait.codec.bundle`): legs, sizes, conditions, window
 2. known rollups; not held already; deadline in reach; gas of each leg within a block's
 3. decoding and sender recovery of every transaction
 4. nonces not used; the first transaction of each leg can be paid (later ones may be funded by earlier ones), and so
    can a fee bid
 5. pins: their blocks are open together within the window, and no reservation is in the way
 6. limits per payer and of the whole pool

Who answers for a bundle (its *payer*) is whoever signed the submission: a signature by the sender of any of its
transactions over `signed_text("send", hash)`. An unsigned one is charged to the sender of its first transaction, in an
account apart, so that nobody can spend the credit of a sender who signs. The same kind of signature cancels and
replaces. A bundle may instead be sent under a *label*, a name that its requester (whoever authenticated the request)
chose: another one under the same label takes its place, and the requester cancels it by its label.

Credit: a failed trial that cost execution takes one of BUNDLE_TRIALS_FAILED_PER_SLOT_MAX of its payer; a payer without
credit waits for the next slot. The gas that it burnt is the payer's debt, of which every slot works off
BUNDLE_FAILED_GAS_PER_SLOT_MAX; who owes more is not tried, whatever it bids or pins. A bid is refused that its senders
cannot pay. A bundle that failed stands behind all that did not, and is tried after 1, 2, 4, ...
sub-blocks. So a flood of failing bundles costs its own sender's turns and nobody else's.

Nothing in here is visible to the pool of plain transactions, or to anybody who does not know the bundle's hash.

Statuses: received | decided(height) | sealed | dropped(code, sentence, leg).

Level 2. Lives on one thread (the event loop's). Time and slot are arguments.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from plait.codec.batch import BundleEntry, Cancellation, LabelCancellation, LabelRequest
from plait.codec.bundle import bundle_hash_of, check_leg_sizes, check_terms, encode_leg, encode_terms, terms_of
from plait.errors import BundleRefused, CodecError
from plait.execution.bundles import BundleCandidate, DecodedBundle
from plait.limits import (
    BUNDLE_DEADLINE_SLOTS_MAX,
    BUNDLE_FAILED_GAS_PER_SLOT_MAX,
    BUNDLE_HISTORY_MAX,
    BUNDLE_RETRY_SUB_BLOCKS_MAX,
    BUNDLE_TRIALS_FAILED_PER_SLOT_MAX,
    BUNDLES_BYTES_MAX,
    BUNDLES_MAX,
    BUNDLES_PER_SENDER_MAX,
    BUNDLES_PER_SUB_BLOCK_MAX,
    MISHAP_OUTPUT_BYTES_MAX,
)
from plait.mempool.bundle_records import (
    BundleStatus,
    Label,
    Mishap,
    Payer,
    Placement,
    SubBlockEffect,
    TrialFailed,
    bundle_of,
    payer_of,
    payer_of_replacement,
    placements_of,
    senders_of,
    signed_text,
)
from plait.mempool.lane import RollupReads
from plait.mempool.reservations import Reservation, Reservations
from plait.mempool.signatures import signer_of
from plait.mempool.unread import Unread
from plait.mempool.waiting_bundles import UNSIGNED, BundleAdmission, BundleOrigin, WaitingBundle, shared
from plait.native import PENDING as AT_PENDING
from plait.native import NativeError, Refusal, Transaction, decode_transactions
from plait.native.unread import UNREAD_CODES, is_unread
from plait.types import Bundle, BundleTerms, Hash32, Milliseconds, RollupId, RollupParameters, Slot

_Reads = dict[RollupId, tuple[dict[bytes, tuple[int, int, bool]], dict[Transaction, int]]]
"""Per rollup: nonce, balance and whether there is code, per sender; and per transaction its L1 and operator fee."""


_Named = tuple[BundleTerms, tuple[bytes, ...]]
"""A bundle's terms, and the canonical bytes of its legs."""


class BundlePool:
    """Bundles of a node that are not decided yet, and what became of the others."""

    def __init__(self, *, bundles_max: int = BUNDLES_MAX, per_sender_max: int = BUNDLES_PER_SENDER_MAX) -> None:
        self.bundles_max = bundles_max
        self.per_sender_max = per_sender_max
        self.reservations = Reservations()
        self.admitted_count = 0
        self.trials_failed = 0
        self.dropped: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._rollups: dict[RollupId, tuple[RollupReads, RollupParameters]] = {}
        self._remote: set[RollupId] = set()
        """Rollups whose state another node holds."""
        self._unread = Unread()
        self._entries: dict[Hash32, WaitingBundle] = {}
        self._bytes = 0
        self._by_payer: dict[Payer, int] = {}
        self._by_sender: dict[tuple[RollupId, bytes], dict[Hash32, int]] = {}
        """The bundles that wait with transactions of a sender, and the lowest nonce of these."""
        self._by_label: dict[Label, Hash32] = {}
        self._pinned: dict[Hash32, None] = {}
        self._last_stamp_ms: dict[tuple[RollupId, bytes], Milliseconds] = {}
        self._used: dict[Payer, int] = {}
        self._used_slot = Slot(-1)
        self._debts: dict[Payer, int] = {}
        """Gas that failed trials burnt and that is not worked off yet."""
        self._height = 0
        self._ends: OrderedDict[Hash32, BundleStatus] = OrderedDict()
        self._unsealed: dict[Hash32, BundleStatus] = {}
        self._listeners: list[Callable[[BundleStatus], None]] = []
        self._on_handed_in: list[Callable[[Hash32 | Cancellation | LabelCancellation], None]] = []

    def add_rollup(self, rollup: RollupReads, parameters: RollupParameters) -> None:
        """Makes a rollup known."""
        self._rollups[parameters.rollup_id] = (rollup, parameters)
        if rollup.is_remote:
            self._remote.add(parameters.rollup_id)
        self.reservations.add_rollup(rollup, parameters)

    def remove_rollup(self, rollup_id: RollupId) -> None:
        """Drops the bundles that touch a rollup which left, and takes no more of them."""
        for entry in list(self._entries.values()):
            if rollup_id in entry.bundle.terms.rollup_ids:
                text = f"Rollup {rollup_id} has left the network."
                self._drop(entry.bundle.hash, Mishap("rollup_left", text, rollup_id))
        self._rollups.pop(rollup_id, None)
        self.reservations.remove_rollup(rollup_id)

    def listen(self, listener: Callable[[BundleStatus], None]) -> None:
        """Has every change of a status told, from now on."""
        self._listeners.append(listener)

    def listen_handed_in(self, listener: Callable[[Hash32 | Cancellation | LabelCancellation], None]) -> None:
        """Has every admission (a hash) and every cancellation that had an effect told, wherever they came from."""
        self._on_handed_in.append(listener)

    def __len__(self) -> int:
        return len(self._entries)

    def waits(self, bundle_hash: bytes) -> bool:
        """Whether a bundle waits here."""
        return bundle_hash in self._entries

    def handed_in(self, bundle_hash: bytes) -> BundleEntry | None:
        """A waiting bundle with what its sender sent along, for another node's pool. Its reservation stays here."""
        entry = self._entries.get(Hash32(bundle_hash))
        if entry is None:
            return None
        origin, bundle = entry.origin, bundle_of(entry.bundle)
        return BundleEntry(
            bundle=bundle,
            hash=entry.bundle.hash,
            signature=origin.signature,
            replaces=origin.replaces,
            request=origin.request,
        )

    # ------------------------------------------------------------ admission
    def decode(self, bundle: Bundle) -> DecodedBundle:
        """The rules that need no pool and no state, and sender recovery. May run on any thread.

        Raises:
            BundleRefused: rules 1 and 3, and unknown rollups.
        """
        (decoded,) = self.decode_many([bundle])
        if isinstance(decoded, BundleRefused):
            raise decoded
        return decoded

    def decode_many(self, bundles: Sequence[Bundle]) -> list[DecodedBundle | BundleRefused]:
        """`decode` for many bundles at once: the transactions of a rollup are decoded together, on all cores."""
        named: list[_Named | BundleRefused] = []
        raws: dict[RollupId, list[bytes]] = {}
        for bundle in bundles:
            try:
                named.append(self._named(bundle))
            except BundleRefused as refused:
                named.append(refused)
                continue
            for leg in bundle.legs:
                raws.setdefault(leg.rollup_id, []).extend(leg.transactions)
        decoded = {rollup_id: iter(decode_transactions(found, rollup_id)) for rollup_id, found in raws.items()}
        return [
            found if isinstance(found, BundleRefused) else _decoded(bundle, found, decoded)
            for bundle, found in zip(bundles, named, strict=True)
        ]

    def _named(self, bundle: Bundle) -> _Named:
        """The bundle's own rules, and those of its rollups."""
        try:
            check_leg_sizes(bundle)
            leg_bytes = tuple([encode_leg(leg.transactions) for leg in bundle.legs])
            terms = terms_of(bundle, leg_bytes)
            check_terms(terms)
        except CodecError as error:
            raise BundleRefused(error.message, code=error.code, **error.fields) from None
        unknown = terms.rollup_ids - self._rollups.keys()
        if unknown:
            rollup_id = min(unknown)
            raise BundleRefused(
                f"rollup {rollup_id} is not one of this network", code="rollup_unknown", rollup_id=rollup_id
            )
        return terms, leg_bytes

    def admit(
        self,
        bundle: DecodedBundle,
        now_ms: Milliseconds,
        slot: Slot,
        *,
        signature: bytes | None = None,
        replaces: Hash32 | None = None,
        reservation: bytes | None = None,
        label: Label | None = None,
        request: LabelRequest | None = None,
        relayed: bool = False,
    ) -> Hash32:
        """Takes a decoded bundle.

        Args:
            bundle: from `decode`.
            now_ms: Unix milliseconds.
            slot: of the clock.
            signature: of the submission; with `replaces`, of the replacement.
            replaces: hash of a waiting bundle that this one takes the place of, if it is admitted.
            reservation: id of the reservation that its pins are of.
            label: its requester's name for it; a bundle that waits under the same one is replaced. Comes instead of
                `signature` and `replaces`.
            request: what proves the label to other nodes.
            relayed: it comes from another node, which may have held a replaced bundle that never came here.

        Raises:
            BundleRefused: the first rule that fails; nothing has changed then.
        """
        try:
            origin = BundleOrigin(signature, replaces, reservation, label, request, relayed)
            admission = self._check(bundle, slot, origin, self._read([bundle]))
        except BundleRefused as refused:
            self._count_refused(refused)
            raise
        return self._take(bundle, admission, now_ms)

    def admit_many(
        self, bundles: Sequence[DecodedBundle | BundleRefused], now_ms: Milliseconds, slot: Slot
    ) -> list[Hash32 | BundleRefused]:
        """`admit` for many unsigned bundles, in their order; state is read for all of them together.

        Args:
            bundles: from `decode_many`; what was refused there stays so.
            now_ms: Unix milliseconds.
            slot: of the clock.
        """
        try:
            reads = self._read([bundle for bundle in bundles if isinstance(bundle, DecodedBundle)])
        except BundleRefused as refused:
            return [refused for _ in bundles]
        results: list[Hash32 | BundleRefused] = []
        for bundle in bundles:
            try:
                if isinstance(bundle, BundleRefused):
                    raise bundle
                admission = self._check(bundle, slot, UNSIGNED, reads)
            except BundleRefused as refused:
                self._count_refused(refused)
                results.append(refused)
            else:
                results.append(self._take(bundle, admission, now_ms))
        return results

    def _count_refused(self, refused: BundleRefused) -> None:
        self.refused[refused.code] = self.refused.get(refused.code, 0) + 1

    def _take(self, bundle: DecodedBundle, admission: BundleAdmission, now_ms: Milliseconds) -> Hash32:
        if admission.replaces is not None:
            self._drop(admission.replaces, Mishap("bundle_replaced", f"Bundle 0x{bundle.hash.hex()} took its place."))
        entry = WaitingBundle(bundle, admission, now_ms)
        senders = entry.senders
        for sender in senders:
            last_ms = self._last_stamp_ms.get(sender)
            if last_ms is not None and last_ms >= entry.stamp_ms:
                entry.stamp_ms = Milliseconds(last_ms + 1)
        self._ends.pop(bundle.hash, None)
        self._entries[bundle.hash] = entry
        self._bytes += entry.size
        self._by_payer[entry.payer] = self._by_payer.get(entry.payer, 0) + 1
        if entry.label is not None:
            self._by_label[entry.label] = bundle.hash
        if bundle.terms.pins:
            self._pinned[bundle.hash] = None
        if self._remote and not self._remote.isdisjoint(bundle.terms.rollup_ids):
            self._unread.add(bundle.hash)
        for sender, nonce in senders.items():
            self._by_sender.setdefault(sender, {})[bundle.hash] = nonce
            self._last_stamp_ms[sender] = entry.stamp_ms
        self.admitted_count += 1
        if self._listeners:
            self._tell(self._waiting(entry))
        self._tell_handed_in(bundle.hash)
        return bundle.hash

    def _tell_handed_in(self, what: Hash32 | Cancellation | LabelCancellation) -> None:
        for listener in self._on_handed_in:
            listener(what)

    def _check(self, bundle: DecodedBundle, slot: Slot, origin: BundleOrigin, reads: _Reads) -> BundleAdmission:
        terms = bundle.terms
        if bundle.hash in self._entries or bundle.hash in self._unsealed:
            raise BundleRefused("this bundle is held already", code="bundle_already_known")
        first, last = self._slots(terms)
        if last < slot:
            raise BundleRefused(
                f"the last slot for the bundle is {last}, now it is {slot}",
                code="bundle_past_deadline",
                deadline_slot=last,
                slot=slot,
            )
        if terms.deadline_slot > slot + BUNDLE_DEADLINE_SLOTS_MAX:
            raise BundleRefused(
                f"the deadline is slot {terms.deadline_slot}; at most {slot + BUNDLE_DEADLINE_SLOTS_MAX} is taken now",
                code="bundle_deadline_too_far",
                deadline_slot=terms.deadline_slot,
                maximum=slot + BUNDLE_DEADLINE_SLOTS_MAX,
            )
        for leg, transactions in zip(terms.legs, bundle.legs, strict=True):
            self._check_leg(leg.rollup_id, transactions, *reads[leg.rollup_id])
        self._check_bid(bundle, reads)
        replaces, label = origin.replaces, origin.label
        if replaces is not None and origin.relayed and replaces not in self._entries:
            payer = payer_of_replacement(bundle, replaces, origin.signature)
            replaces = None
        elif replaces is not None:
            text = signed_text("replace", replaces, bundle.hash)
            self._check_signed(self._waiting_entry(replaces), text, origin.signature)
            payer = self._entries[replaces].payer
        else:
            payer = payer_of(bundle, origin.signature, None if label is None else label.requester)
            replaces = None if label is None else self._by_label.get(label)
        if terms.pins or origin.reservation is not None:
            self.reservations.check(terms, slot, origin.reservation)
        gives_way = replaces is not None and self._entries[replaces].payer == payer
        if not gives_way and self._by_payer.get(payer, 0) >= self.per_sender_max:
            raise BundleRefused(
                f"{self.per_sender_max} bundles of this sender wait already; cancel some or wait",
                code="bundle_quota_reached",
                maximum=self.per_sender_max,
            )
        if len(self._entries) >= self.bundles_max or self._bytes >= BUNDLES_BYTES_MAX:
            raise BundleRefused(f"{len(self._entries)} bundles are held; try again later", code="bundle_pool_full")
        return BundleAdmission(origin, payer, (first, last), replaces)

    def _slots(self, terms: BundleTerms) -> tuple[Slot, Slot]:
        """The window narrowed by the pins. Raises BundleRefused when nothing is left of it."""
        first, last = terms.not_before_slot, terms.deadline_slot
        if terms.pins:
            opens, closes = self.reservations.pinned_slots(terms.pins)
            first, last = max(first, opens), min(last, closes)
            if first > last:
                raise BundleRefused(
                    "there is no slot within the bundle's window in which all blocks that it pins are open",
                    code="bundle_window_empty",
                    not_before_slot=terms.not_before_slot,
                    deadline_slot=terms.deadline_slot,
                )
        return first, last

    def _check_bid(self, bundle: DecodedBundle, reads: _Reads) -> None:
        """A bid is within what its senders have on its rollup: it is they who pay the vault."""
        bid = bundle.terms.fee_bid
        if bid is None:
            return
        places = [place for place, leg in enumerate(bundle.terms.legs) if leg.rollup_id == bid.rollup_id]
        senders = {transaction.sender for place in places for transaction in bundle.legs[place]}
        funds = sum(reads[bid.rollup_id][0][sender][1] for sender in senders)
        if bid.amount > funds:
            raise BundleRefused(
                f"{bid.amount} wei are bid on rollup {bid.rollup_id}, where the bundle's senders have {funds}",
                code="bundle_bid_unfunded",
                rollup_id=bid.rollup_id,
                funds=funds,
            )

    def _check_leg(
        self,
        rollup_id: RollupId,
        transactions: Sequence[Transaction],
        accounts: Mapping[bytes, tuple[int, int, bool]],
        additional_costs: Mapping[Transaction, int],
    ) -> None:
        _, parameters = self._rollups[rollup_id]
        gas = sum([transaction.gas_limit for transaction in transactions])
        if gas > parameters.gas_limit:
            raise BundleRefused(
                f"the leg on rollup {rollup_id} may use {gas} gas, a block has {parameters.gas_limit}",
                code="bundle_gas_exceeds_block",
                rollup_id=rollup_id,
                gas=gas,
            )
        for index, transaction in enumerate(transactions):
            nonce, balance, _ = accounts[transaction.sender]
            if transaction.nonce < nonce:
                raise BundleRefused(
                    f"transaction {index} of the leg on rollup {rollup_id} has nonce {transaction.nonce}; "
                    f"its sender's next is {nonce}",
                    code="nonce_too_low",
                    rollup_id=rollup_id,
                    index=index,
                    next_nonce=nonce,
                )
            if index == 0:
                cost = transaction.max_cost() + additional_costs[transaction]
                if cost > balance:
                    raise BundleRefused(
                        f"transaction 0 of the leg on rollup {rollup_id} may cost {cost}, its sender has {balance}",
                        code="insufficient_funds",
                        rollup_id=rollup_id,
                        index=0,
                        cost=cost,
                        balance=balance,
                    )

    def _read(self, bundles: Sequence[DecodedBundle]) -> _Reads:
        """Reads what `_check_leg` needs of these bundles, with two calls per rollup."""
        senders: dict[RollupId, dict[bytes, None]] = {}
        firsts: dict[RollupId, list[Transaction]] = {}
        for bundle in bundles:
            for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True):
                found = senders.setdefault(leg.rollup_id, {})
                for transaction in transactions:
                    found[transaction.sender] = None
                firsts.setdefault(leg.rollup_id, []).append(transactions[0])
        reads: _Reads = {}
        for rollup_id, addresses in senders.items():
            rollup, _ = self._rollups[rollup_id]
            first = firsts[rollup_id]
            try:
                reads[rollup_id] = (
                    dict(zip(addresses, rollup.accounts(list(addresses), AT_PENDING), strict=True)),
                    dict(zip(first, rollup.additional_costs(first, AT_PENDING), strict=True)),
                )
            except NativeError as error:
                if not is_unread(error):
                    raise
                raise BundleRefused(str(error), code=error.code, rollup_id=rollup_id) from None
        return reads

    # ------------------------------------------------------------ the sender's hand
    def cancel(self, bundle_hash: Hash32, signature: bytes) -> None:
        """Forgets a waiting bundle. One that is in a proposal already may still take place.

        Raises:
            BundleRefused: `bundle_unknown`, `bundle_signature_wrong`.
        """
        entry = self._waiting_entry(bundle_hash)
        self._check_signed(entry, signed_text("cancel", bundle_hash), signature)
        self._drop(bundle_hash, Mishap("bundle_cancelled", "Its sender cancelled it."))
        self._tell_handed_in(Cancellation(bundle_hash=bundle_hash, signature=signature))

    def cancel_labelled(self, label: Label, request: LabelRequest | None = None) -> Hash32:
        """Forgets the waiting bundle under a label, of whose requester the caller is sure.

        Args:
            label: its requester's name for it.
            request: what proves this to other nodes.

        Raises:
            BundleRefused: `bundle_unknown`.
        """
        bundle_hash = self._by_label.get(label)
        if bundle_hash is None:
            raise BundleRefused(f"no bundle waits under the id {label.name!r} of this signer", code="bundle_unknown")
        self._drop(bundle_hash, Mishap("bundle_cancelled", "Its sender cancelled it."))
        if request is not None:
            self._tell_handed_in(LabelCancellation(rollup_id=label.rollup_id, request=request))
        return bundle_hash

    def reserve(
        self, rollups: Sequence[RollupId], earliest: Slot, now: Slot, signature: bytes, new_id: bytes
    ) -> Reservation:
        """Keeps the tops of blocks (`Reservations.reserve`); waiting bundles that are pinned there without it are
        dropped."""
        made = self.reservations.reserve(rollups, earliest, now, signature, new_id)
        for bundle_hash in list(self._pinned):
            entry = self._entries[bundle_hash]
            taken = self.reservations.taken_by_other(entry.bundle.terms, entry.origin.reservation)
            if taken is not None:
                text = f"The top of block {taken[1]} of rollup {taken[0]} was reserved by somebody else."
                self._drop(bundle_hash, Mishap("reserve_taken", text, taken[0]))
        return made

    def _waiting_entry(self, bundle_hash: Hash32) -> WaitingBundle:
        entry = self._entries.get(bundle_hash)
        if entry is None:
            raise BundleRefused(f"no bundle 0x{bundle_hash.hex()} waits here", code="bundle_unknown")
        return entry

    def _check_signed(self, entry: WaitingBundle, text: str, signature: bytes | None) -> None:
        signer = None if signature is None else signer_of(text, signature)
        if signer is None or all(signer != address for _, address in entry.senders):
            raise BundleRefused(
                f"sign {text!r} (EIP-191) with the key of one of the bundle's senders", code="bundle_signature_wrong"
            )

    # ------------------------------------------------------------ for the protocol
    def candidates(self, slot: Slot) -> list[BundleCandidate]:
        """Bundles to try in this slot's next sub-block, oldest first; when they are more than it holds, every payer has
        an equal share. Nothing in it changes later."""
        self._turn(slot)
        height, used, debts, unread = self._height, self._used, self._debts, self._unread
        waiting = [
            entry
            for entry in self._entries.values()
            if height >= entry.not_before_height
            and entry.first_slot <= slot <= entry.last_slot
            and used.get(entry.payer, 0) < BUNDLE_TRIALS_FAILED_PER_SLOT_MAX
            and debts.get(entry.payer, 0) <= BUNDLE_FAILED_GAS_PER_SLOT_MAX
            and not (unread and entry.bundle.hash in unread)
        ]
        if len(waiting) > BUNDLES_PER_SUB_BLOCK_MAX:
            waiting = shared(waiting)
        waiting.sort(key=lambda entry: (entry.trials > 0, entry.stamp_ms))
        return [
            BundleCandidate(
                entry.bundle,
                entry.stamp_ms,
                entry.trials > 0,
                entry.payer,
                BUNDLE_TRIALS_FAILED_PER_SLOT_MAX - used.get(entry.payer, 0),
            )
            for entry in waiting
        ]

    def on_failed(self, failed: Iterable[TrialFailed], slot: Slot) -> None:
        """Follows trials that failed: charges their payers, and drops what can never apply as things stand."""
        self._turn(slot)
        for item in failed:
            if item.code in UNREAD_CODES:
                continue  # nothing was tried to its end; `state_unread` follows it
            self.trials_failed += 1
            entry = self._entries.get(item.hash)
            if entry is None:
                continue
            output = item.output[:MISHAP_OUTPUT_BYTES_MAX]
            mishap = Mishap(item.code, item.sentence, item.rollup_id, item.index, item.reason, output)
            told = not item.charged and mishap == entry.mishap
            entry.mishap = mishap
            entry.missed = True
            if item.charged:
                self._used[entry.payer] = self._used.get(entry.payer, 0) + 1
                self._debts[entry.payer] = self._debts.get(entry.payer, 0) + item.gas_used
                entry.trials += 1
                pause = min(1 << min(entry.trials - 1, 16), BUNDLE_RETRY_SUB_BLOCKS_MAX)
                entry.not_before_height = self._height + pause
            if not told:
                self._tell(self._waiting(entry))
            if item.reason == "nonce_too_low":
                self._drop_if_overtaken(entry)

    # ------------------------------------------------------------ state that another node holds
    def to_read(self, now_ms: Milliseconds, slot: Slot) -> list[DecodedBundle]:
        """Bundles whose state should be read now, before they are offered: every payer's first, then every payer's
        second, so that nobody's make those of others wait."""
        if not self._unread:
            return []
        self._unread.keep(lambda item: item in self._entries)
        due = [self._entries[Hash32(item)] for item in self._unread.due(now_ms)]
        turns: dict[Payer, int] = {}
        placed: list[tuple[int, DecodedBundle]] = []
        for entry in due:
            if entry.first_slot <= slot + 1:
                turn = turns[entry.payer] = turns.get(entry.payer, -1) + 1
                placed.append((turn, entry.bundle))
        placed.sort(key=lambda item: item[0])
        return [bundle for _, bundle in placed]

    def waiting_for_state(self) -> int:
        """Bundles that were tried and lack state."""
        return len(self._unread.reasons())

    def state_read(self, bundle_hash: bytes) -> None:
        """Offers a bundle to proposals: what it needs is known."""
        self._unread.done(bundle_hash)

    def state_unread(self, bundle_hash: bytes, code: str, text: str, now_ms: Milliseconds) -> None:
        """Keeps a bundle back for a while, whole: state of one of its rollups could not be read."""
        entry = self._entries.get(Hash32(bundle_hash))
        if entry is None:
            return
        self._unread.failed(bundle_hash, code, text, now_ms)
        remote = min(self._remote & entry.bundle.terms.rollup_ids, default=None)
        mishap = Mishap(code, text, remote)
        told = mishap == entry.mishap
        entry.mishap = mishap
        if not told:
            self._tell(self._waiting(entry))

    def on_decided(self, effect: SubBlockEffect) -> None:
        """Follows a decided sub-block, in height order."""
        self._height = effect.height
        self.reservations.expire(effect.slot)
        blocks = {part.rollup_id: part.opened[-1].number for part in effect.rollups if part.opened}
        for decided in effect.bundles:
            entry = self._entries.get(decided.hash)
            if entry is None:
                continue
            self._remove(entry)
            status = BundleStatus(
                hash=decided.hash,
                status="decided",
                legs=tuple([Placement(i, hashes, blocks[i]) for i, hashes in decided.legs]),
                not_before_slot=entry.bundle.terms.not_before_slot,
                deadline_slot=entry.bundle.terms.deadline_slot,
                height=effect.height,
                trials=entry.trials,
                deliveries=tuple([Placement(i, hashes, blocks[i]) for i, hashes in decided.deliveries]),
            )
            self._unsealed[decided.hash] = status
            self._tell(status)
        self._follow_seals(effect)
        for bundle_hash in self._reached(effect):
            if (waiting := self._entries.get(bundle_hash)) is not None:
                self._drop_if_overtaken(waiting)
        for waiting in [e for e in self._entries.values() if e.last_slot < effect.slot]:
            last = waiting.mishap
            text = f"Its last slot was {waiting.last_slot}"
            text += f"; it failed last because {last.sentence}." if last is not None else "; it found no room."
            mishap = Mishap("bundle_expired", text)
            if last is not None:
                reason = last.reason or last.code
                mishap = Mishap("bundle_expired", text, last.rollup_id, last.index, reason, last.output)
            self._drop(waiting.bundle.hash, mishap)

    def on_unwound(self, rollup_id: RollupId, to_number: int) -> list[BundleStatus]:
        """Follows a rollup that went back: what of it was decided in later blocks is dropped; returns those bundles."""
        lost = []
        for status in (*self._unsealed.values(), *self._ends.values()):
            placed = (*status.legs, *status.deliveries)
            if status.status in {"decided", "sealed"} and any(
                leg.rollup_id == rollup_id and leg.block_number is not None and leg.block_number > to_number
                for leg in placed
            ):
                lost.append(status)
        for status in lost:
            self._unsealed.pop(status.hash, None)
            text = f"L1 took back the blocks of rollup {rollup_id} after {to_number}, and the bundle with them"
            gone = Mishap("unwound", f"{text}; send it again.", rollup_id)
            self._end(msgspec.structs.replace(status, status="dropped", mishap=gone))
        return lost

    def _reached(self, effect: SubBlockEffect) -> list[Hash32]:
        """Bundles that wait with a nonce which a decided transaction may have used. One that an authorization
        (EIP-7702) used up is found by its next trial."""
        found: dict[Hash32, None] = {}
        if self._by_sender:
            for part in effect.rollups:
                for transaction in part.transactions:
                    held = self._by_sender.get((part.rollup_id, transaction.sender))
                    if held:
                        nonce = transaction.nonce
                        found.update((waiting, None) for waiting, lowest in held.items() if lowest <= nonce)
        return list(found)

    def _follow_seals(self, effect: SubBlockEffect) -> None:
        sealed = {part.rollup_id for part in effect.rollups if part.sealed}
        if not sealed or not self._unsealed:
            return
        heads = {rollup_id: rollup.head.number for rollup_id, (rollup, _) in self._rollups.items()}
        for status in list(self._unsealed.values()):
            if all(leg.block_number is not None and leg.block_number <= heads[leg.rollup_id] for leg in status.legs):
                del self._unsealed[status.hash]
                self._end(msgspec.structs.replace(status, status="sealed"))

    def _drop_if_overtaken(self, entry: WaitingBundle) -> None:
        """Drops a bundle one of whose nonces another decided transaction used."""
        for leg, transactions in zip(entry.bundle.terms.legs, entry.bundle.legs, strict=True):
            rollup, _ = self._rollups[leg.rollup_id]
            try:
                states = rollup.accounts([transaction.sender for transaction in transactions], AT_PENDING)
            except NativeError as error:
                if not is_unread(error):
                    raise
                return  # its next trial tells
            for index, (transaction, (nonce, _, _)) in enumerate(zip(transactions, states, strict=True)):
                if transaction.nonce >= nonce or rollup.transaction_location(transaction.hash) is not None:
                    continue  # one that is decided itself may be the bundle, whose effect is still to come
                self._drop(
                    entry.bundle.hash,
                    Mishap(
                        "nonce_too_low",
                        f"Transaction {index} of the leg on rollup {leg.rollup_id} has nonce {transaction.nonce}, "
                        "which another transaction of its sender used.",
                        leg.rollup_id,
                        index,
                        "nonce_too_low",
                    ),
                )
                return

    def _turn(self, slot: Slot) -> None:
        if slot != self._used_slot:
            worked_off = BUNDLE_FAILED_GAS_PER_SLOT_MAX * max(1, slot - self._used_slot)
            self._debts = {payer: debt - worked_off for payer, debt in self._debts.items() if debt > worked_off}
            self._used_slot = slot
            self._used.clear()

    # ------------------------------------------------------------ statuses
    def status(self, bundle_hash: Hash32) -> BundleStatus | None:
        """What became of a bundle, as far as the pool remembers."""
        entry = self._entries.get(bundle_hash)
        if entry is not None:
            return self._waiting(entry)
        return self._unsealed.get(bundle_hash) or self._ends.get(bundle_hash)

    def statistics(self) -> dict[str, int]:
        """Counters for metrics."""
        return {
            "waiting": len(self._entries),
            "waiting_max": self.bundles_max,
            "bytes": self._bytes,
            "admitted": self.admitted_count,
            "refused": sum(self.refused.values()),
            "trials_failed": self.trials_failed,
            "dropped": sum(self.dropped.values()),
            "reservations": len(self.reservations),
        }

    def _waiting(self, entry: WaitingBundle) -> BundleStatus:
        terms = entry.bundle.terms
        return BundleStatus(
            hash=entry.bundle.hash,
            status="received",
            legs=placements_of(entry.bundle),
            not_before_slot=terms.not_before_slot,
            deadline_slot=terms.deadline_slot,
            trials=entry.trials,
            mishap=entry.mishap,
        )

    def _drop(self, bundle_hash: Hash32, mishap: Mishap) -> None:
        entry = self._entries[bundle_hash]
        self._remove(entry)
        self.dropped[mishap.code] = self.dropped.get(mishap.code, 0) + 1
        self._end(msgspec.structs.replace(self._waiting(entry), status="dropped", mishap=mishap))

    def _remove(self, entry: WaitingBundle) -> None:
        del self._entries[entry.bundle.hash]
        self._bytes -= entry.size
        self._pinned.pop(entry.bundle.hash, None)
        if entry.label is not None:
            self._by_label.pop(entry.label, None)
        self._by_payer[entry.payer] -= 1
        if not self._by_payer[entry.payer]:
            del self._by_payer[entry.payer]
        for sender in entry.senders:
            held = self._by_sender[sender]
            held.pop(entry.bundle.hash, None)
            if not held:
                del self._by_sender[sender]
                self._last_stamp_ms.pop(sender, None)

    def _end(self, status: BundleStatus) -> None:
        self._ends[status.hash] = status
        while len(self._ends) > BUNDLE_HISTORY_MAX:
            self._ends.popitem(last=False)
        self._tell(status)

    def _tell(self, status: BundleStatus) -> None:
        for listener in self._listeners:
            listener(status)


def _decoded(
    bundle: Bundle, named: _Named, decoded: Mapping[RollupId, Iterator[Transaction | Refusal]]
) -> DecodedBundle | BundleRefused:
    """Takes the bundle's transactions from the heads of its rollups' columns."""
    terms, leg_bytes = named
    legs: list[tuple[Transaction, ...]] = []
    refused: BundleRefused | None = None
    for leg in bundle.legs:
        transactions: list[Transaction] = []
        for index, item in enumerate(islice(decoded[leg.rollup_id], len(leg.transactions))):
            if isinstance(item, Transaction):
                transactions.append(item)
            elif refused is None:
                problem = f"transaction {index} of the leg on rollup {leg.rollup_id}: {item.message}"
                refused = BundleRefused(problem, code=item.code, rollup_id=leg.rollup_id, index=index)
        legs.append(tuple(transactions))
    if refused is not None:
        return refused
    terms_bytes = encode_terms(terms)
    return DecodedBundle(bundle_hash_of(terms_bytes), terms, terms_bytes, tuple(legs), leg_bytes)


__all__ = ["BundlePool", "BundleStatus", "Label", "Mishap", "Placement", "senders_of", "signed_text", "signer_of"]
