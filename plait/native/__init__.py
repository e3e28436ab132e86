"""The native core: OP Stack execution, state and block store, compiled from `native/` by `make native`.

This module only re-exports `plait.native._core`, whose typed contract with every convention and code is `_core.pyi`. It
holds no policy. Import from here, never from `_core`, so that there is one place to look.
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
    declaring,
    decode_transactions,
    ed25519_verify,
    ed25519_verify_many,
    keccak256,
    keccak256_many,
    merkle_root,
    recover_signer,
    recovery_statistics,
    run_many,
    sign_digest,
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
    "declaring",
    "decode_transactions",
    "ed25519_verify",
    "ed25519_verify_many",
    "keccak256",
    "keccak256_many",
    "merkle_root",
    "recover_signer",
    "recovery_statistics",
    "run_many",
    "sign_digest",
]
