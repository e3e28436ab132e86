"""`process`: whether a proposal is valid, by recomputing it. Every rule has a code; the first broken one is named.

The order is cheap rules first: encoding, position, commitments over bytes; then decoding and sender recovery; then
execution; then what execution decides (sealed blocks, ledger). Nothing survives a refusal but the answer.
docs/protocol.md lists all codes.

Level 4.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plait.crypto.commitments import SubBlockCommitment, commit
from plait.errors import ProposalRefused
from plait.execution.bundles import DecodedBundle
from plait.execution.messages import (
    Ran,
    delivered_messages,
    demanded_messages,
    refuse_messages,
    sent_messages,
)
from plait.ledger.state import LedgerState
from plait.native import Outcomes, Refusal, Transaction, decode_transactions, merkle_root
from plait.ordering.policy import check_order
from plait.protocol.actions import LedgerWork
from plait.protocol.bundles import BundlesRun, ListedBundle, check_entries, root_of, run_bundles
from plait.protocol.proposal import (
    BundleEntry,
    Proposal,
    RollupSeals,
    SubBlockHeader,
    TransactionColumns,
    encode_items,
    split_items,
)
from plait.protocol.relaying import check_relays, demand_refused, message_refused
from plait.protocol.sections import Bundled, RollupSections, sections_of
from plait.protocol.sub_block import (
    Advanced,
    Base,
    Executed,
    Messages,
    Run,
    assemble,
    complete,
    seals_of,
    sets_of,
)
from plait.types import Hash32, Height, Milliseconds, RollupId, Wei

SENDER_BYTES = 20


def check_agreed(base: Base, header: SubBlockHeader, height: Height, time_ms: Milliseconds) -> None:
    """Rules that need no computation: the proposal is for this network, this height, this time, this parent.

    Raises:
        ProposalRefused: `network_wrong`, `height_wrong`, `time_wrong`, `parent_app_hash_wrong`.
    """
    ledger = base.ledger
    _require_equal("network_wrong", "network id", header.network_id, ledger.parameters.network_id)
    _require_equal("height_wrong", "height", height, ledger.height + 1)
    _require_equal("height_wrong", "height", header.height, height)
    _require_equal("time_wrong", "time in ms", header.time_ms, time_ms)
    _require_equal("parent_app_hash_wrong", "parent app hash", header.parent_app_hash, base.app_hash)


def check_position(advanced: Advanced, proposal: Proposal) -> None:
    """Rules of the grid and of agreed L1 data.

    Raises:
        ProposalRefused: `slot_wrong`, `sub_index_wrong`, `l1_origin_wrong`, `items_not_allowed`, `rollup_closed`.
    """
    header, position = proposal.header, advanced.position
    _require_equal("slot_wrong", "slot", header.slot, position.slot)
    _require_equal("sub_index_wrong", "sub-index", header.sub_index, position.sub_index)
    if header.l1_origin != advanced.l1_origin:
        raise ProposalRefused(
            f"the L1 origin is block {header.l1_origin.number}; "
            f"the slot's is block {advanced.l1_origin.number} (or another hash)",
            code="l1_origin_wrong",
            found=header.l1_origin.number,
            expected=advanced.l1_origin.number,
        )
    if proposal.blocks and not position.carries_items:
        raise ProposalRefused(
            "the sub-block catches up, is beyond the last of its slot, or falls into a pause, so it carries no items",
            code="items_not_allowed",
            slot=position.slot,
            sub_index=position.sub_index,
        )
    for rollup_id, _ in proposal.blocks:
        if rollup_id in advanced.closed:
            raise ProposalRefused(
                f"rollup {rollup_id} waits for its L1, so it takes no transactions",
                code="rollup_closed",
                rollup_id=rollup_id,
            )


def check_facts(work: LedgerWork, proposal: Proposal) -> None:
    """Raises ProposalRefused `l1_facts_withheld`: deposits that are due may be left out by nobody who orders items."""
    if work.withholds_facts and proposal.blocks:
        raise ProposalRefused(
            "the next L1 block is agreed and overdue; a proposal that does not bring it may carry no items",
            code="l1_facts_withheld",
        )


def check_commitment(ledger: LedgerState, proposal: Proposal) -> SubBlockCommitment:
    """Recomputes the three commitments.

    Raises:
        ProposalRefused: `rollup_unknown`, `ids_root_wrong`, `items_root_wrong`, `rollups_root_wrong`,
        `actions_root_wrong`, `bundles_root_wrong`.
    """
    ids = ledger.rollup_ids
    known = set(ids)
    unknown = [rollup_id for rollup_id, _ in proposal.blocks if rollup_id not in known]
    for entry in proposal.bundles:
        unknown.extend(sorted(entry.terms.rollup_ids - known))
    if unknown:
        raise ProposalRefused(f"rollup {unknown[0]} is not registered", code="rollup_unknown", rollup_id=unknown[0])
    expected = commit(ids, dict(proposal.blocks))
    found = proposal.header.commitment
    _require_equal("ids_root_wrong", "ids root", found.ids_root, expected.ids_root)
    if found.ids != expected.ids:
        raise ProposalRefused(
            f"the header lists the rollups {list(found.ids)}; registered are {list(expected.ids)}",
            code="ids_wrong",
            found=list(found.ids),
            expected=list(expected.ids),
        )
    for rollup_id, root, expected_root in zip(ids, found.items_roots, expected.items_roots, strict=True):
        _require_equal("items_root_wrong", f"items root of rollup {rollup_id}", root, expected_root)
    _require_equal("rollups_root_wrong", "rollups root", found.rollups_root, expected.rollups_root)
    actions_root = Hash32(merkle_root(list(proposal.actions)))
    _require_equal("actions_root_wrong", "actions root", proposal.header.actions_root, actions_root)
    _require_equal("bundles_root_wrong", "bundles root", proposal.header.bundles_root, root_of(proposal.bundles))
    return expected


class Decoded(NamedTuple):
    """A rollup's items, decoded."""

    bundled: list[tuple[Bundled, tuple[Transaction, ...]]]
    columns: TransactionColumns
    plain: list[Transaction]
    relays: list[Transaction]


def decode_items(rollup_id: RollupId, sections: RollupSections, senders: bytes | None) -> Decoded:
    """Decodes a rollup's transactions and recovers their senders (or takes them from our own log).

    Args:
        rollup_id: whose items these are.
        sections: of `sections_of`.
        senders: 20 bytes per transaction, or None.

    Raises:
        CodecError: `item_kind_unknown`.
        ProposalRefused: `transaction_undecodable`, `transaction_duplicate`.
    """
    first = len(sections.bundled)
    columns = split_items(sections.plain, first)
    raws = [raw for one in sections.bundled for raw in one.raws]
    legs = len(raws)
    raws += columns.raws
    raws += sections.relays
    decoded = decode_transactions(raws, rollup_id, senders=senders)
    transactions = [transaction for transaction in decoded if isinstance(transaction, Transaction)]
    if len(transactions) != len(decoded):
        index, refusal = next((i, t) for i, t in enumerate(decoded) if isinstance(t, Refusal))
        raise _undecodable(rollup_id, sections, index, refusal)
    if len(set(columns.raws)) != len(columns.raws):
        index = first + _first_repetition(columns.raws)
        raise ProposalRefused(
            f"item {index} of rollup {rollup_id} occurs twice",
            code="transaction_duplicate",
            rollup_id=rollup_id,
            index=index,
        )
    bundled: list[tuple[Bundled, tuple[Transaction, ...]]] = []
    taken = 0
    for one in sections.bundled:
        bundled.append((one, tuple(transactions[taken : taken + len(one.raws)])))
        taken += len(one.raws)
    middle = legs + len(columns.raws)
    return Decoded(bundled, columns, transactions[legs:middle], transactions[middle:])


def _undecodable(rollup_id: RollupId, sections: RollupSections, index: int, refusal: Refusal) -> ProposalRefused:
    """The refusal of the transaction at `index` among all of a rollup's. Names the item; within a bundle's item, its
    place there too."""
    for item, one in enumerate(sections.bundled):
        if index < len(one.raws):
            return ProposalRefused(
                f"transaction {index} of item {item} of rollup {rollup_id}, a part of a bundle, is not acceptable: "
                f"{refusal.message}",
                code="transaction_undecodable",
                rollup_id=rollup_id,
                index=index,
                leg=item,
                reason=refusal.code,
            )
        index -= len(one.raws)
    item = len(sections.bundled) + index
    return ProposalRefused(
        f"item {item} of rollup {rollup_id} is not an acceptable transaction: {refusal.message}",
        code="transaction_undecodable",
        rollup_id=rollup_id,
        index=item,
        reason=refusal.code,
    )


def run_items(
    advanced: Advanced, proposal: Proposal, time_ms: Milliseconds, senders: bytes | None
) -> tuple[dict[RollupId, Run], BundlesRun, Messages]:
    """Decodes, checks the order of, and executes all items on the advanced candidate: bundles first, then the rest.

    Raises:
        CodecError: `item_kind_unknown`, and those of `sections_of`.
        ProposalRefused: `block_not_open`, those of `check_entries`, `sections_of`, `decode_items`, `check_order`,
        `check_relays` and `run_bundles`, `senders_wrong`, `transaction_not_applicable`, `message_invalid`,
        `delivery_required`.
    """
    candidate, sets = advanced.candidate, sets_of(advanced.ledger)
    check_entries(proposal.bundles, advanced.position.slot, time_ms)
    decoded = _decode_all(advanced, sections_of(proposal), time_ms, senders)
    bundles = run_bundles(candidate, proposal.bundles, _listed(proposal.bundles, decoded), sets)
    work = {rollup_id: [*one.plain, *one.relays] for rollup_id, one in decoded.items() if one.plain or one.relays}
    ran = candidate.run(work, on_invalid="stop")
    plain: dict[RollupId, Run] = {}
    for rollup_id, outcomes in ran.items():
        one = decoded[rollup_id]
        first = len(one.bundled)
        _require_applied(rollup_id, outcomes, len(work[rollup_id]), first)
        check_relays(rollup_id, Ran(work[rollup_id], outcomes), len(one.relays), first, sets)
        count = len(one.plain)
        items = encode_items(one.columns.raws, one.columns.stamps_ms)
        plain[rollup_id] = Run(items, one.plain, outcomes, outcomes.statuses[:count], range(count))
    step = {rollup_id: [Ran(work[rollup_id], outcomes)] for rollup_id, outcomes in ran.items()}
    invalid = refuse_messages(candidate, sets, step)
    if invalid is not None:
        raise message_refused(invalid)
    for rollup_id in sorted(step):
        if demanded_messages(sets, {rollup_id: step[rollup_id]}):
            raise demand_refused(rollup_id)
    messages = Messages(
        (*bundles.sent, *sent_messages(candidate, sets, step)),
        frozenset(bundles.delivered) | delivered_messages(sets, step),
    )
    relays = {rollup_id: one.relays for rollup_id, one in decoded.items() if one.relays}
    return assemble(plain, bundles, relays), bundles, messages


def _decode_all(
    advanced: Advanced,
    sections: Mapping[RollupId, RollupSections],
    time_ms: Milliseconds,
    senders: bytes | None,
) -> dict[RollupId, Decoded]:
    """Decodes every rollup's items and checks what needs no execution."""
    policies = {record.rollup_id: record.parameters.ordering for record in advanced.ledger.rollups}
    total = sum(one.transactions for one in sections.values())
    if senders is not None and len(senders) != SENDER_BYTES * total:
        raise ProposalRefused(
            f"{len(senders)} bytes of senders are given for {total} transactions", code="senders_wrong", items=total
        )
    decoded: dict[RollupId, Decoded] = {}
    taken = 0
    for rollup_id, one in sections.items():
        block = advanced.candidate.open_block(rollup_id)
        if block is None:
            raise ProposalRefused(
                f"rollup {rollup_id} has no open block yet", code="block_not_open", rollup_id=rollup_id
            )
        end = taken + SENDER_BYTES * one.transactions
        found = decode_items(rollup_id, one, None if senders is None else senders[taken:end])
        taken = end
        first = len(one.bundled)
        check_order(
            policies[rollup_id],
            rollup_id,
            found.plain,
            found.columns.stamps_ms,
            base_fee=Wei(block.base_fee),
            time_ms=time_ms,
            first=first,
        )
        decoded[rollup_id] = found
    return decoded


def _listed(entries: Sequence[BundleEntry], decoded: Mapping[RollupId, Decoded]) -> list[ListedBundle]:
    """The bundles of a proposal with their decoded transactions."""
    legs: list[dict[RollupId, tuple[Bundled, tuple[Transaction, ...]]]] = [{} for _ in entries]
    deliveries: list[dict[RollupId, tuple[Transaction, ...]]] = [{} for _ in entries]
    for rollup_id, rollup in decoded.items():
        for one, transactions in rollup.bundled:
            if one.is_leg:
                legs[one.place][rollup_id] = (one, transactions)
            else:
                deliveries[one.place][rollup_id] = transactions
    listed: list[ListedBundle] = []
    for entry, parts, delivered in zip(entries, legs, deliveries, strict=True):
        ordered = [parts[leg.rollup_id] for leg in entry.terms.legs]
        bundle = DecodedBundle(
            entry.hash,
            entry.terms,
            entry.terms_bytes,
            tuple(transactions for _, transactions in ordered),
            tuple(one.data for one, _ in ordered),
        )
        listed.append(ListedBundle(bundle, delivered))
    return listed


def finish(
    base: Base,
    advanced: Advanced,
    runs: dict[RollupId, Run],
    bundles: BundlesRun,
    messages: Messages,
    *,
    proposal: Proposal,
    data: bytes,
    commitment: SubBlockCommitment,
    work: LedgerWork,
    time_ms: Milliseconds,
) -> Executed:
    """Computes what execution decides and compares it.

    Raises:
        ProposalRefused: `seal_missing`, `seal_unexpected`, `sealed_hash_wrong`, `ledger_root_wrong`,
        `proposal_differs`.
    """
    check_sealed(proposal.header.sealed, seals_of(advanced.sealed))
    executed = complete(base, advanced, runs, time_ms, commitment, work=work, bundles=bundles, messages=messages)
    _require_equal("ledger_root_wrong", "ledger root", proposal.header.ledger_root, executed.header.ledger_root)
    if executed.proposal != data:  # no known way to get here: every field was compared one by one
        raise ProposalRefused("the proposal differs from what its content gives", code="proposal_differs")
    return executed


def check_sealed(found: tuple[RollupSeals, ...], expected: tuple[RollupSeals, ...]) -> None:
    """Compares sealed blocks rollup by rollup, block by block.

    Raises:
        ProposalRefused: `seal_missing`, `seal_unexpected`, `sealed_hash_wrong`.
    """
    if found == expected:
        return
    listed = {(rollup_id, number): block_hash for rollup_id, blocks in found for number, block_hash in blocks}
    for rollup_id, blocks in expected:
        for number, block_hash in blocks:
            claimed = listed.pop((rollup_id, number), None)
            if claimed is None:
                raise ProposalRefused(
                    f"block {number} of rollup {rollup_id} is due and not sealed",
                    code="seal_missing",
                    rollup_id=rollup_id,
                    number=number,
                )
            if claimed != block_hash:
                raise ProposalRefused(
                    f"sealed block {number} of rollup {rollup_id} has hash 0x{block_hash.hex()}, not 0x{claimed.hex()}",
                    code="sealed_hash_wrong",
                    rollup_id=rollup_id,
                    number=number,
                )
    raise ProposalRefused(
        "a block is sealed that is not due, or one is listed twice or out of order",
        code="seal_unexpected",
        blocks=sorted(listed),
    )


def _first_repetition(raws: Sequence[bytes]) -> int:
    seen: set[bytes] = set()
    for index, raw in enumerate(raws):
        if raw in seen:
            return index
        seen.add(raw)
    raise AssertionError("called without a repetition")


def _require_applied(rollup_id: RollupId, outcomes: Outcomes, count: int, first: int) -> None:
    index = len(outcomes) - 1
    if len(outcomes) == count and 2 not in outcomes.statuses:
        return
    failure = outcomes.failure(index)
    reason, sentence = failure if failure is not None else ("transaction_not_applicable", "it cannot be applied")
    raise ProposalRefused(
        f"item {first + index} of rollup {rollup_id} cannot be applied: {sentence}",
        code="transaction_not_applicable",
        rollup_id=rollup_id,
        index=first + index,
        reason=reason,
    )


def _require_equal(code: str, what: str, found: int | bytes, expected: int | bytes) -> None:
    if found != expected:
        shown = [f"0x{value.hex()}" if isinstance(value, bytes) else value for value in (found, expected)]
        raise ProposalRefused(
            f"the {what} is {shown[0]}; it must be {shown[1]}", code=code, found=shown[0], expected=shown[1]
        )
