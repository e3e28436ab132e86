"""The blocks that a stock sequencer committed while the network does not order its rollup: on disk before published.

- One file per rollup, replaced whole and durably with every commit: the last block, and number, hash and L1 origin of
  the ones before it. It is small, so writing it takes as long as one flush of the disk.
- A block follows on a recorded one. At a recorded height another block is taken only when L1 itself changed: its L1
  origin has the number of a recorded origin and another hash. Two sequencers at work at once are refused by that, and
  one that rebuilds after an L1 reorganisation is not stopped by it.
Level 5.
"""

from pathlib import Path
from typing import Final

import msgspec

from plait.codec.damage import DAMAGED
from plait.derivation.execution_payload import PayloadEnvelope, decode_envelope_ssz, encode_envelope_ssz
from plait.derivation.l1_info import decode_l1_attributes
from plait.errors import InvariantBroken, RequestRefused
from plait.limits import CONDUCTOR_BLOCKS_KEPT
from plait.storage import Files
from plait.types import BlockNumber, Hash32, RollupId

_SUFFIX: Final = ".blocks"


class _Recorded(msgspec.Struct, frozen=True):
    """Content of a file."""

    version: int
    """Of the last payload (1 to 4)."""
    last: bytes
    """Its envelope, SSZ."""
    blocks: tuple[tuple[int, bytes, int, bytes], ...]
    """Number, hash, number and hash of the L1 origin; numbers rise by one; the last block included."""


class ConductorRecord:
    """All rollups' records in one directory.

    Args:
        directory: is created when it is missing.
        files: the disk.
    """

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self._directory = directory
        self._files = files if files is not None else Files()
        self._held: dict[RollupId, _Recorded] = {}

    def check(self) -> None:
        """Reads every record. Raises InvariantBroken `conductor_record_damaged`."""
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            if path.stem.isdigit():
                self._read(RollupId(int(path.stem)))

    def head(self, rollup_id: RollupId) -> PayloadEnvelope | None:
        """The last block that was committed; None when there is none."""
        found = self._read(rollup_id)
        return None if found is None else decode_envelope_ssz(found.last, found.version)  # type: ignore[arg-type]

    def commit(self, rollup_id: RollupId, envelope: PayloadEnvelope) -> None:
        """Records a block durably; one that is recorded already is fine.

        Raises:
            RequestRefused: `conductor_height_taken`, `conductor_parent_unknown`.
            CodecError: `l1_attributes_malformed`, the block does not begin with an L1-attributes deposit.
        """
        payload = envelope.payload
        found = self._read(rollup_id)
        blocks = () if found is None else found.blocks
        number = payload.block_number
        if any(block[:2] == (number, payload.block_hash) for block in blocks):
            return
        origin = decode_l1_attributes(payload.transactions[0] if payload.transactions else b"")
        if blocks and number <= blocks[-1][0]:
            if not any(block[2] == origin.number and block[3] != origin.hash for block in blocks):
                raise RequestRefused(
                    f"Another block {number} of rollup {rollup_id} was committed before, and L1 did not change under "
                    "it; let op-node sync to the committed one.",
                    code="conductor_height_taken",
                    number=number,
                )
            blocks = tuple(block for block in blocks if block[0] < number)
        if blocks and (number != blocks[-1][0] + 1 or payload.parent_hash != blocks[-1][1]):
            raise RequestRefused(
                f"Block {number} of rollup {rollup_id} does not follow on a block that was committed (the last one is "
                f"{blocks[-1][0]}); let op-node sync first.",
                code="conductor_parent_unknown",
                number=number,
            )
        kept = (*blocks, (number, payload.block_hash, origin.number, origin.hash))[-CONDUCTOR_BLOCKS_KEPT:]
        recorded = _Recorded(payload.version, encode_envelope_ssz(envelope), kept)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._files.write_whole(self._path(rollup_id), msgspec.msgpack.encode(recorded))
        self._held[rollup_id] = recorded

    def committed(self, rollup_id: RollupId, number: BlockNumber) -> Hash32 | None:
        """Hash of a committed block, as far back as they are kept."""
        found = self._read(rollup_id)
        blocks = () if found is None else found.blocks
        return next((Hash32(block[1]) for block in blocks if block[0] == number), None)

    def _path(self, rollup_id: RollupId) -> Path:
        return self._directory / f"{rollup_id}{_SUFFIX}"

    def _read(self, rollup_id: RollupId) -> _Recorded | None:
        if rollup_id not in self._held:
            try:
                data = self._path(rollup_id).read_bytes()
            except FileNotFoundError:
                return None
            try:
                self._held[rollup_id] = msgspec.msgpack.decode(data, type=_Recorded)
            except DAMAGED as error:
                raise InvariantBroken(
                    f"{self._path(rollup_id)} is damaged; move it away only after checking which block op-node "
                    "published last.",
                    code="conductor_record_damaged",
                ) from error
        return self._held[rollup_id]
