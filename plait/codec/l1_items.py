"""Canonical bytes of what a proposal says about the L1, beside the actions of accounts.

    report     = [50, public_key, sequence, head, first, digests, [[rollup_id, number], ...],
                  [[rollup_id, number, hash], ...], signature]
    facts      = [51, facts of one L1 block as a string]                         plait.derivation.l1_facts
    signature  = Ed25519 over "plait/l1-report/1" || network_id as 8 bytes || RLP of the report without it

Both stand in a proposal's list of actions; their first number tells them apart from the kinds of actions. They cost
nothing and use no account: a report is worth the stake of its key, facts are worth the digest that was agreed on.

Level 0. Raises CodecError (`l1_item_malformed`).
"""

from typing import Final, NamedTuple

from plait.codec.rlp import Reader, encode_bytes, encode_list, encode_uint
from plait.errors import CodecError
from plait.limits import L1_FACTS_BYTES_MAX, L1_REPORT_BLOCKS_MAX, ROLLUPS_MAX
from plait.types.identifiers import BlockNumber, Hash32, NetworkId, RollupId
from plait.types.l1 import L1Report, RollupConflict, RollupSafe

KIND_REPORT: Final = 50
KIND_FACTS: Final = 51
MALFORMED: Final = "l1_item_malformed"
_DOMAIN: Final = b"plait/l1-report/1"
_HASH_BYTES: Final = 32


class SignedReport(NamedTuple):
    """A decoded report; its signature has not been looked at."""

    report: L1Report
    signature: bytes


def is_l1_item(raw: bytes) -> bool:
    """Whether an entry of a proposal's actions speaks of the L1, as far as its first number says."""
    if not raw or raw[0] < 0xC0:
        return False
    at = 1 if raw[0] < 0xF8 else 1 + raw[0] - 0xF7
    return raw[at : at + 1] in (b"\x32", b"\x33")


def report_message(network_id: NetworkId, report: L1Report) -> bytes:
    """What a reporter signs."""
    return _DOMAIN + network_id.to_bytes(8, "big") + encode_list(_parts(report))


def encode_report(report: L1Report, signature: bytes) -> bytes:
    """Canonical bytes of a signed report."""
    return encode_list((*_parts(report), encode_bytes(signature)))


def encode_facts_item(facts: bytes) -> bytes:
    """Canonical bytes of an L1 block's facts as a proposal carries them."""
    return encode_list((encode_uint(KIND_FACTS), encode_bytes(facts)))


def unsigned_report(report: L1Report) -> bytes:
    """Canonical bytes of a report without its signature, as the ledger keeps it."""
    return encode_list(_parts(report))


def read_unsigned_report(reader: Reader) -> L1Report:
    """Reads the fields of `unsigned_report`. Raises CodecError."""
    if reader.read_uint(255) != KIND_REPORT:
        raise CodecError("this is no L1 report")
    return _read_body(reader)


def decode_l1_item(raw: bytes) -> SignedReport | bytes:
    """A report, or the bytes of an L1 block's facts.

    Raises:
        CodecError: `l1_item_malformed`.
    """
    try:
        outer = Reader(raw, what="L1 item")
        reader = outer.read_list("L1 item")
        outer.end()
        kind = reader.read_uint(255)
        if kind == KIND_FACTS:
            facts = reader.read_bytes(size_max=L1_FACTS_BYTES_MAX)
            reader.end()
            return facts
        if kind != KIND_REPORT:
            raise CodecError(f"there is no L1 item of kind {kind}", kind=kind)
        return _read_report(reader)
    except CodecError as error:
        raise CodecError(error.message, code=MALFORMED, **error.fields) from error


def _parts(report: L1Report) -> tuple[bytes, ...]:
    safe = (encode_list((encode_uint(one.rollup_id), encode_uint(one.number))) for one in report.safe)
    conflicts = (
        encode_list((encode_uint(one.rollup_id), encode_uint(one.number), encode_bytes(one.hash)))
        for one in report.conflicts
    )
    return (
        encode_uint(KIND_REPORT),
        encode_bytes(report.public_key),
        encode_uint(report.sequence),
        encode_uint(report.head),
        encode_uint(report.first),
        encode_bytes(b"".join(report.digests)),
        encode_list(safe),
        encode_list(conflicts),
    )


def _read_report(reader: Reader) -> SignedReport:
    report = _read_body(reader)
    signature = reader.read_bytes(size=64)
    reader.end()
    return SignedReport(report, signature)


def _read_body(reader: Reader) -> L1Report:
    public_key = reader.read_bytes(size=32)
    sequence, head, first = reader.read_uint(), reader.read_uint(), reader.read_uint()
    joined = reader.read_bytes(size_max=_HASH_BYTES * L1_REPORT_BLOCKS_MAX)
    if len(joined) % _HASH_BYTES:
        raise CodecError("the digests of an L1 report are not whole")
    digests = tuple(Hash32(joined[at : at + _HASH_BYTES]) for at in range(0, len(joined), _HASH_BYTES))
    listed = reader.read_list("safe blocks")
    safe: list[RollupSafe] = []
    while listed.more:
        entry = listed.read_list("safe block")
        safe.append(RollupSafe(RollupId(entry.read_uint()), BlockNumber(entry.read_uint())))
        entry.end()
        _require_ascending([one.rollup_id for one in safe])
    listed = reader.read_list("conflicts")
    conflicts: list[RollupConflict] = []
    while listed.more:
        entry = listed.read_list("conflict")
        rollup_id, number = RollupId(entry.read_uint()), BlockNumber(entry.read_uint())
        conflicts.append(RollupConflict(rollup_id, number, Hash32(entry.read_bytes(size=_HASH_BYTES))))
        entry.end()
        _require_ascending([one.rollup_id for one in conflicts])
    return L1Report(
        public_key=public_key,
        sequence=sequence,
        head=BlockNumber(head),
        first=BlockNumber(first),
        digests=digests,
        safe=tuple(safe),
        conflicts=tuple(conflicts),
    )


def _require_ascending(ids: list[RollupId]) -> None:
    if len(ids) > ROLLUPS_MAX or (len(ids) > 1 and ids[-2] >= ids[-1]):
        raise CodecError(f"rollups of an L1 report are not strictly ascending, or more than {ROLLUPS_MAX}")
