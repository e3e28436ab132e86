"""Traces of ABCI calls, on demand: one JSON line when a request arrives and one when it is answered.

    {"n": 7, "t_ms": 1760000000123, "connection": 4, "method": "process_proposal", "height": 3, "hash": "0x...",
     "txs": 1, "bytes": 512}
    {"answer": 7, "ms": 3.1, "status": "ACCEPT"}

One file per start of a node, so that a file holds what one run of CometBFT asked. Lines are written through at once: a
killed process loses none but the one being written. Level 5.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from plait.engines.cometbft.abci_pb2 import (
    Request,
    Response,
    ResponseApplySnapshotChunk,
    ResponseOfferSnapshot,
    ResponseProcessProposal,
)


class Trace:
    """Writes one file in a directory. Raises OSError when that is not possible."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"abci-{time.time_ns()}-{os.getpid()}.jsonl"
        self._file = self.path.open("ab", buffering=0)
        self._count = 0

    def asked(self, connection: int, method: str, request: Request) -> tuple[int, float]:
        """Notes a request; what it returns goes to `answered`."""
        self._count += 1
        self._write(
            {
                "n": self._count,
                "t_ms": time.time_ns() // 1_000_000,
                "connection": connection,
                "method": method,
                **_facts(method, request),
            }
        )
        return self._count, time.perf_counter()

    def answered(self, asked: tuple[int, float], method: str, response: Response | None) -> None:
        """Notes the answer to a request; None for an exception."""
        number, since = asked
        facts = {"exception": True} if response is None else _answer_facts(method, response)
        self._write({"answer": number, "ms": round((time.perf_counter() - since) * 1_000, 3), **facts})

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")


def _facts(method: str, request: Request) -> dict[str, Any]:
    match method:
        case "prepare_proposal":
            asked = request.prepare_proposal
            return {"height": asked.height, "txs": len(asked.txs), "bytes_max": asked.max_tx_bytes}
        case "process_proposal" | "finalize_block":
            block = request.process_proposal if method == "process_proposal" else request.finalize_block
            return {
                "height": block.height,
                "hash": "0x" + block.hash.hex(),
                "txs": len(block.txs),
                "bytes": sum(map(len, block.txs)),
                "misbehavior": len(block.misbehavior),
            }
        case "extend_vote":
            return {"height": request.extend_vote.height}
        case "verify_vote_extension":
            return {"height": request.verify_vote_extension.height}
        case "init_chain":
            return {"chain_id": request.init_chain.chain_id, "initial_height": request.init_chain.initial_height}
        case "check_tx":
            return {"bytes": len(request.check_tx.tx), "recheck": request.check_tx.type == 1}
        case "offer_snapshot":
            return {"height": request.offer_snapshot.snapshot.height}
        case "apply_snapshot_chunk":
            return {"index": request.apply_snapshot_chunk.index}
        case "load_snapshot_chunk":
            return {"height": request.load_snapshot_chunk.height, "chunk": request.load_snapshot_chunk.chunk}
        case _:
            return {}


def _answer_facts(method: str, response: Response) -> dict[str, Any]:
    match method:
        case "info":
            return {"height": response.info.last_block_height}
        case "process_proposal":
            return {"status": ResponseProcessProposal.ProposalStatus.Name(response.process_proposal.status)}
        case "prepare_proposal":
            return {"bytes": sum(map(len, response.prepare_proposal.txs))}
        case "finalize_block":
            return {"app_hash": "0x" + response.finalize_block.app_hash.hex()}
        case "check_tx":
            return {"code": response.check_tx.code}
        case "offer_snapshot":
            return {"result": ResponseOfferSnapshot.Result.Name(response.offer_snapshot.result)}
        case "apply_snapshot_chunk":
            return {"result": ResponseApplySnapshotChunk.Result.Name(response.apply_snapshot_chunk.result)}
        case _:
            return {}


__all__ = ["Trace"]
