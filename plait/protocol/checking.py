"""`process`: whether a proposal is valid, by recomputing it. Every rule has a code; the first broken one is named.

The order is cheap rules first: encoding, position, commitments over bytes; then decoding and sender recovery; then
execution; then what execution decides (sealed blocks, ledger). Nothing survives a refusal but the answer.
docs/protocol.md lists all codes.

Level 4.
"""

from collections.abc import Sequence

from plait.crypto.commitments import SubBlockCommitment, commit
from plait.errors import ProposalRefused
from plait.ledger.state import LedgerState
from plait.native import Outcomes, Refusal, Transaction, decode_transactions
from plait.ordering.policy import check_order
from plait.protocol.bundles import BundlesRun, check_entries, root_of, run_bundles, split_legs
from plait.protocol.proposal import (
    Proposal,
    RollupSeals,
    SubBlockHeader,
    TransactionColumns,
    split_items,
)
from plait.protocol.sub_block import Advanced, Base, Executed, Run, complete, seals_of, with_legs
from plait.types import Height, Milliseconds, RollupId, Wei

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
        ProposalRefused: `slot_wrong`, `sub_index_wrong`, `l1_origin_wrong`, `items_not_allowed`.
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
            "the sub-block catches up or is beyond the last of its slot, so it carries no items",
            code="items_not_allowed",
            slot=position.slot,
            sub_index=position.sub_index,
        )


def check_commitment(ledger: LedgerState, proposal: Proposal) -> SubBlockCommitment:
    """Recomputes the three commitments.

    Raises:
        ProposalRefused: `rollup_unknown`, `ids_root_wrong`, `items_root_wrong`, `rollups_root_wrong`,
        `bundles_root_wrong`.
    """
    ids = ledger.rollup_ids
    known = set(ids)
    unknown = [rollup_id for rollup_id, _ in proposal.blocks if rollup_id not in known]
    for entry in proposal.bundles:
        named = [leg.rollup_id for leg in entry.terms.legs]
        named += [condition.rollup_id for condition in entry.terms.conditions]
        unknown.extend(rollup_id for rollup_id in named if rollup_id not in known)
    if unknown:
        raise ProposalRefused(f"rollup {unknown[0]} is not registered", code="rollup_unknown", rollup_id=unknown[0])
    expected = commit(ids, dict(proposal.blocks))
    found = proposal.header.commitment
    _require_equal("ids_root_wrong", "ids root", found.ids_root, expected.ids_root)
    _require_equal("items_root_wrong", "number of items roots", len(found.items_roots), len(ids))
    for rollup_id, root, expected_root in zip(ids, found.items_roots, expected.items_roots, strict=True):
        _require_equal("items_root_wrong", f"items root of rollup {rollup_id}", root, expected_root)
    _require_equal("rollups_root_wrong", "rollups root", found.rollups_root, expected.rollups_root)
    if proposal.header.bundles_root is not None:
        _require_equal("bundles_root_wrong", "bundles root", proposal.header.bundles_root, root_of(proposal.bundles))
    return expected


def decode_items(
    rollup_id: RollupId, items: Sequence[bytes], senders: bytes | None, first: int = 0
) -> tuple[TransactionColumns, list[Transaction]]:
    """Decodes a rollup's plain items and recovers their senders (or takes them from our own log).

    Args:
        rollup_id: whose items these are.
        items: without legs.
        senders: 20 bytes per item, or None.
        first: how many legs stand before them.

    Raises:
        CodecError: `item_kind_unknown`.
        ProposalRefused: `transaction_undecodable`, `transaction_duplicate`.
    """
    columns = split_items(items, first)
    transactions = _decode(rollup_id, columns.raws, senders, first)
    if len(set(columns.raws)) != len(columns.raws):
        index = first + _first_repetition(columns.raws)
        raise ProposalRefused(
            f"item {index} of rollup {rollup_id} occurs twice",
            code="transaction_duplicate",
            rollup_id=rollup_id,
            index=index,
        )
    return columns, transactions


def _decode(rollup_id: RollupId, raws: Sequence[bytes], senders: bytes | None, first: int) -> list[Transaction]:
    decoded = decode_transactions(raws, rollup_id, senders=senders)
    transactions = [transaction for transaction in decoded if isinstance(transaction, Transaction)]
    if len(transactions) != len(decoded):
        index, refusal = next((i, t) for i, t in enumerate(decoded) if isinstance(t, Refusal))
        raise ProposalRefused(
            f"item {first + index} of rollup {rollup_id} is not an acceptable transaction: {refusal.message}",
            code="transaction_undecodable",
            rollup_id=rollup_id,
            index=first + index,
            reason=refusal.code,
        )
    return transactions


def _decode_legs(
    rollup_id: RollupId, legs: Sequence[Sequence[bytes]], senders: bytes | None
) -> list[tuple[Transaction, ...]]:
    """Decodes the legs of a rollup. A refusal's index is that of the leg."""
    decoded: list[tuple[Transaction, ...]] = []
    taken = 0
    for place, raws in enumerate(legs):
        known = None if senders is None else senders[taken : taken + SENDER_BYTES * len(raws)]
        taken += SENDER_BYTES * len(raws)
        try:
            decoded.append(tuple(_decode(rollup_id, raws, known, 0)))
        except ProposalRefused as refused:
            problem = f"leg {place} of rollup {rollup_id} has a transaction that is not acceptable: {refused.message}"
            raise ProposalRefused(problem, code=refused.code, **(refused.fields | {"leg": place})) from None
    return decoded


def run_items(
    base: Base, advanced: Advanced, proposal: Proposal, time_ms: Milliseconds, senders: bytes | None
) -> tuple[dict[RollupId, Run], BundlesRun]:
    """Decodes, checks the order of, and executes all items on the advanced candidate: bundles first, then the rest.

    Raises:
        CodecError: `item_kind_unknown`, and those of `split_legs`.
        ProposalRefused: `block_not_open`, those of `check_entries`, `split_legs`, `decode_items`, `check_order` and
        `run_bundles`, `senders_wrong`, `transaction_not_applicable`.
    """
    policies = {record.rollup_id: record.parameters.ordering for record in base.ledger.rollups}
    check_entries(proposal.bundles, advanced.position.slot, time_ms)
    split = split_legs(proposal)
    counts = {i: sum(map(len, split.legs.get(i, ()))) for i in split.plain}
    items_count = sum(counts.values()) + sum(map(len, split.plain.values()))
    if senders is not None and len(senders) != SENDER_BYTES * items_count:
        raise ProposalRefused(
            f"{len(senders)} bytes of senders are given for {items_count} items",
            code="senders_wrong",
            items=items_count,
        )
    decoded: dict[RollupId, list[Transaction]] = {}
    legs: dict[RollupId, list[tuple[Transaction, ...]]] = {}
    taken = 0
    for rollup_id, items in split.plain.items():
        block = advanced.candidate.open_block(rollup_id)
        if block is None:
            raise ProposalRefused(
                f"rollup {rollup_id} has no open block yet", code="block_not_open", rollup_id=rollup_id
            )
        middle = taken + SENDER_BYTES * counts[rollup_id]
        end = middle + SENDER_BYTES * len(items)
        rollup_legs = split.legs.get(rollup_id, ())
        legs[rollup_id] = _decode_legs(rollup_id, rollup_legs, None if senders is None else senders[taken:middle])
        known = None if senders is None else senders[middle:end]
        taken = end
        columns, transactions = decode_items(rollup_id, items, known, len(rollup_legs))
        check_order(
            policies[rollup_id],
            rollup_id,
            transactions,
            columns.stamps_ms,
            base_fee=Wei(block.base_fee),
            time_ms=time_ms,
            first=len(rollup_legs),
        )
        if items:
            decoded[rollup_id] = transactions
    bundles = run_bundles(advanced.candidate, proposal.bundles, split.leg_bytes, legs)
    ran = advanced.candidate.run(decoded, on_invalid="stop")
    for rollup_id, outcomes in ran.items():
        _require_applied(rollup_id, outcomes, len(decoded[rollup_id]), len(legs[rollup_id]))
    runs = {
        rollup_id: Run(
            split.plain[rollup_id], transactions, ran[rollup_id], ran[rollup_id].statuses, range(len(transactions))
        )
        for rollup_id, transactions in decoded.items()
    }
    return with_legs(runs, bundles), bundles


def finish(
    base: Base,
    advanced: Advanced,
    runs: dict[RollupId, Run],
    bundles: BundlesRun,
    *,
    proposal: Proposal,
    data: bytes,
    commitment: SubBlockCommitment,
    time_ms: Milliseconds,
) -> Executed:
    """Computes what execution decides and compares it.

    Raises:
        ProposalRefused: `seal_missing`, `seal_unexpected`, `sealed_hash_wrong`, `ledger_root_wrong`,
        `proposal_differs`.
    """
    check_sealed(proposal.header.sealed, seals_of(advanced.sealed))
    executed = complete(base, advanced, runs, time_ms, commitment, bundles=bundles)
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
