"""The Rust core, typed by `_core.pyi`: decoding and sender recovery, execution, hashing, state. It holds no policy.

Level 1. This package adds nothing: it names what the rest of Plait may use.
"""

from plait.native._core import (
    PENDING,
    Attributes,
    CallResult,
    NativeError,
    OpenBlock,
    Outcomes,
    Refusal,
    Rollup,
    SealedBlock,
    Session,
    Store,
    Transaction,
    advance_many,
    decode_transactions,
    keccak256,
    keccak256_many,
    merkle_root,
    run_many,
)

__all__ = [
    "PENDING",
    "Attributes",
    "CallResult",
    "NativeError",
    "OpenBlock",
    "Outcomes",
    "Refusal",
    "Rollup",
    "SealedBlock",
    "Session",
    "Store",
    "Transaction",
    "advance_many",
    "decode_transactions",
    "keccak256",
    "keccak256_many",
    "merkle_root",
    "run_many",
]
