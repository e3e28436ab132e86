"""A small JSON-RPC client for programs that talk to a node: the command line, the demonstration, tests. Level 7.

Not an Ethereum library: for signing, contracts and wallets use web3.py, viem or ethers against a rollup's endpoint.
"""

from plait.client.bundle import Bundle, BundleDropped, Reservation, ReservedPin, reservation_text
from plait.client.jsonrpc import Client, NodeUnreachable, RpcError

__all__ = [
    "Bundle",
    "BundleDropped",
    "Client",
    "NodeUnreachable",
    "Reservation",
    "ReservedPin",
    "RpcError",
    "reservation_text",
]
