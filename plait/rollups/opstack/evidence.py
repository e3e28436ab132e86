"""What is kept when an engine and this node do not agree about a block: enough to execute it again and to see who is
wrong. One JSON file per block; the same disagreement writes the same file. Level 5.
"""

from pathlib import Path
from typing import Any

import msgspec

from plait.derivation.execution_payload import PayloadEnvelope
from plait.rollups.opstack.payload import first_difference, header_shown
from plait.types import ChainId


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A block that an engine does not accept as ours.

    Fields:
        engine: the block that the engine builds from the same attributes and transactions; None when it builds none.
        engine_words: why it refused ours, or why it builds none; empty without a reason.
    """

    chain_id: ChainId
    code: str
    ours: PayloadEnvelope
    engine: PayloadEnvelope | None
    engine_words: str
    engine_version: str = ""

    @property
    def field(self) -> str | None:
        """Name of the first header field in which the two differ; None without a second block or a difference."""
        return None if self.engine is None else first_difference(self.ours, self.engine)

    def shown(self) -> dict[str, Any]:
        """What the file holds."""
        return {
            "code": self.code,
            "chainId": self.chain_id,
            "blockNumber": self.ours.payload.block_number,
            "firstDifference": self.field,
            "ours": header_shown(self.ours),
            "engine": None if self.engine is None else header_shown(self.engine),
            "engineWords": self.engine_words,
            "engineVersion": self.engine_version,
            "transactions": ["0x" + raw.hex() for raw in self.ours.payload.transactions],
        }


def write_evidence(directory: Path, found: Disagreement) -> Path:
    """Writes a disagreement and returns its file.

    Raises:
        OSError: it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    payload = found.ours.payload
    path = directory / f"{found.chain_id}-{payload.block_number}-{payload.block_hash.hex()[:16]}.json"
    temporary = path.with_suffix(".part")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found.shown()), indent=2) + b"\n")
    temporary.replace(path)
    return path
