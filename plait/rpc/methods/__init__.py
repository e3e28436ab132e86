"""All methods; importing this package fills `plait.rpc.table.METHODS`. One module per subject. Level 7."""

from plait.rpc.methods import (
    blocks,
    bundles,
    chain,
    debug,
    eth_bundles,
    interop,
    l1,
    ledger,
    logs,
    messages,
    network,
    opstack,
    proofs,
    state,
    transactions,
    txpool,
)

__all__ = [
    "blocks",
    "bundles",
    "chain",
    "debug",
    "eth_bundles",
    "interop",
    "l1",
    "ledger",
    "logs",
    "messages",
    "network",
    "opstack",
    "proofs",
    "state",
    "transactions",
    "txpool",
]
