"""Tools of byzantine proposers: take an honest proposal apart, change it, and put it together with commitments that
fit the change.

A forgery that only broke its own commitments would always be caught by the first rule; these reach the deeper ones.
"""

from collections.abc import Mapping, Sequence

import msgspec

from plait.crypto.commitments import commit
from plait.crypto.merkle import EMPTY_ROOT
from plait.native import merkle_root
from plait.protocol.application import Application
from plait.protocol.proposal import (
    Proposal,
    RollupItems,
    SubBlockHeader,
    decode_proposal,
    encode_entry,
    encode_header,
    encode_items,
    encode_proposal,
)
from plait.types import Hash32, Milliseconds, RollupId


def opened(proposal: bytes) -> Proposal:
    """The parts of an honest proposal."""
    return decode_proposal(proposal)


def with_header(proposal: bytes, **changes: object) -> bytes:
    """The proposal with header fields replaced and nothing else."""
    parts = decode_proposal(proposal)
    return encode_proposal(
        encode_header(msgspec.structs.replace(parts.header, **changes)), parts.blocks, entries_of(parts), parts.actions
    )


def with_blocks(application: Application, proposal: bytes, blocks: Sequence[RollupItems]) -> bytes:
    """The proposal with other items and the commitments that fit them; bundles and the ledger root stay."""
    parts = decode_proposal(proposal)
    header = parts.header
    kept = tuple((rollup_id, items) for rollup_id, items in blocks if items)
    commitment = commit(application.ledger.rollup_ids, dict(kept))
    changed: SubBlockHeader = msgspec.structs.replace(header, commitment=commitment)
    return encode_proposal(encode_header(changed), kept, entries_of(parts), parts.actions)


def entries_of(proposal: Proposal) -> list[bytes]:
    """The encoded entries of a proposal's bundles."""
    return [encode_entry(entry.stamp_ms, entry.terms_bytes) for entry in proposal.bundles]


def with_bundles(
    application: Application, proposal: bytes, entries: Sequence[bytes], blocks: Sequence[RollupItems]
) -> bytes:
    """The proposal with other bundle entries and items, and the commitments that fit them."""
    parts = decode_proposal(proposal)
    kept = tuple((rollup_id, items) for rollup_id, items in blocks if items)
    changed: SubBlockHeader = msgspec.structs.replace(
        parts.header,
        commitment=commit(application.ledger.rollup_ids, dict(kept)),
        bundles_root=Hash32(merkle_root(list(entries))),
    )
    return encode_proposal(encode_header(changed), kept, entries, parts.actions)


def with_transactions(
    application: Application, proposal: bytes, raws: Mapping[RollupId, Sequence[bytes]], stamp_ms: Milliseconds
) -> bytes:
    """The proposal with only these transactions, stamped alike, and fitting commitments."""
    blocks = [
        (rollup_id, encode_items(raws[rollup_id], [stamp_ms] * len(raws[rollup_id]))) for rollup_id in sorted(raws)
    ]
    return with_blocks(application, proposal, blocks)


def largest_block(proposal: Proposal) -> tuple[int, RollupItems] | None:
    """Place and content of the block with most items; None when there is none."""
    if not proposal.blocks:
        return None
    place = max(range(len(proposal.blocks)), key=lambda index: len(proposal.blocks[index][1]))
    return place, proposal.blocks[place]


def with_actions(proposal: bytes, actions: Sequence[bytes]) -> bytes:
    """The proposal with other ledger actions and the root that fits them; the ledger root stays."""
    parts = decode_proposal(proposal)
    changed: SubBlockHeader = msgspec.structs.replace(
        parts.header, actions_root=Hash32(merkle_root(list(actions))) if actions else EMPTY_ROOT
    )
    return encode_proposal(encode_header(changed), parts.blocks, entries_of(parts), actions)
