"""What CometBFT wrote into its consensus log about proposals, and two of one proposer for one round among them.

CometBFT writes every message that reaches its consensus into `data/cs.wal` before it acts on it, proposals of peers
included. A proposer that signs two for one height and round is no evidence to CometBFT itself; both are here.

    file    = record*
    record  = CRC-32C (4 bytes) | length (4 bytes, big-endian) | TimedWALMessage (protobuf)

Checksums are not looked at: what counts is a signature over what was found. Reading stops at the first record that is
cut off. Source: CometBFT v0.38 consensus/wal.go, proto/tendermint/consensus. Level 5.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from plait.errors import CodecError
from plait.ledger.equivocation import Equivocation, read_varint
from plait.light.commits import proposal_sign_bytes
from plait.light.headers import BlockId
from plait.light.protobuf import NANOSECONDS
from plait.native import ed25519_verify

RECORD_BYTES_MAX: Final = 2 * 1024 * 1024
"""CometBFT's bound of one record is below."""
PROPOSALS_KEPT_MAX: Final = 100_000
"""Proposals looked at in one search; newer ones take the place of older ones."""
_LENGTH_BYTES: Final = 8
_WAL_MESSAGE, _MSG_INFO, _MESSAGE, _PROPOSAL, _PROPOSAL_FIELD = 2, 2, 1, 3, 1


class LoggedProposal(NamedTuple):
    """A proposal message as a node received or made it."""

    height: int
    round_number: int
    block_id: bytes
    """Encoded: hash and part set header."""
    sign_bytes: bytes
    signature: bytes


class DoubleProposal(msgspec.Struct, frozen=True, kw_only=True):
    """Two proposals of one validator for one height and round."""

    height: int
    round_number: int
    public_key: bytes
    proof: Equivocation


def proposals(directory: Path, chain_id: str) -> Iterator[LoggedProposal]:
    """Proposals in a consensus log, oldest first.

    Args:
        directory: `cometbft/data/cs.wal` of a node's home.
        chain_id: CometBFT's.
    """
    # The head file has no number; older ones end in .000, .001 and so on.
    for path in sorted(directory.glob("wal*"), key=lambda file: (file.suffix == "", file.name)):
        for record in _records(path):
            found = _proposal(record, chain_id)
            if found is not None:
                yield found


def double_proposals(directory: Path, chain_id: str, public_keys: Sequence[bytes]) -> list[DoubleProposal]:
    """Every pair of different proposals for one height and round that one of these keys has signed.

    Args:
        directory: as in `proposals`.
        chain_id: CometBFT's.
        public_keys: ed25519 keys of the validators that may have proposed.
    """
    by_round: dict[tuple[int, int], list[LoggedProposal]] = {}
    for one in proposals(directory, chain_id):
        seen = by_round.setdefault((one.height, one.round_number), [])
        if all(other.block_id != one.block_id for other in seen):
            seen.append(one)
        if len(by_round) > PROPOSALS_KEPT_MAX:
            del by_round[next(iter(by_round))]
    found: list[DoubleProposal] = []
    for (height, round_number), several in sorted(by_round.items()):
        if len(several) < 2:
            continue
        for key in public_keys:
            signed = [one for one in several if ed25519_verify(key, one.sign_bytes, one.signature)]
            if len(signed) >= 2:
                proof = Equivocation(
                    first=signed[0].sign_bytes,
                    first_signature=signed[0].signature,
                    second=signed[1].sign_bytes,
                    second_signature=signed[1].signature,
                )
                found.append(DoubleProposal(height=height, round_number=round_number, public_key=key, proof=proof))
    return found


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while len(head := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            length = int.from_bytes(head[4:], "big")
            if length > RECORD_BYTES_MAX:
                return
            data = file.read(length)
            if len(data) < length:
                return
            yield data


def _proposal(record: bytes, chain_id: str) -> LoggedProposal | None:
    """The proposal in a record; None when it holds something else."""
    try:
        inner = record
        for number in (_WAL_MESSAGE, _MSG_INFO, _MESSAGE, _PROPOSAL, _PROPOSAL_FIELD):
            part = _fields(inner).get(number)
            if not isinstance(part, bytes):
                return None
            inner = part
        fields = _fields(inner)
    except CodecError:
        return None
    height, round_number, pol_round = fields.get(2, 0), fields.get(3, 0), fields.get(4, 0)
    block_id, timestamp, signature = fields.get(5, b""), fields.get(6, b""), fields.get(7, b"")
    if (
        not isinstance(height, int)
        or not isinstance(round_number, int)
        or not isinstance(pol_round, int)
        or not isinstance(block_id, bytes)
        or not isinstance(timestamp, bytes)
        or not isinstance(signature, bytes)
        or len(signature) != 64
        or not block_id
    ):
        return None
    try:
        named, parts, seconds = _fields(block_id), _fields(_bytes(_fields(block_id).get(2))), _fields(timestamp)
    except CodecError:
        return None
    signed = proposal_sign_bytes(
        chain_id,
        height=height,
        round_=round_number,
        pol_round=pol_round,
        block_id=BlockId(_bytes(named.get(1)), _number(parts.get(1)), _bytes(parts.get(2))),
        time_ns=_number(seconds.get(1)) * NANOSECONDS + _number(seconds.get(2)),
    )
    return LoggedProposal(height, round_number, block_id, signed, signature)


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _number(value: int | bytes | None) -> int:
    return value if isinstance(value, int) else 0


def _fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message by number, the last of each.

    Raises:
        CodecError: not protobuf.
    """
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            found[number], at = read_varint(data, at)
            continue
        if kind == 2:
            length, at = read_varint(data, at)
        elif kind in {1, 5}:
            length = 8 if kind == 1 else 4
        else:
            raise CodecError(f"a field of wire type {kind}")
        if at + length > len(data):
            raise CodecError("a field is cut off")
        found[number] = data[at : at + length]
        at += length
    return found
