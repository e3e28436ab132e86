"""JSON-RPC and WebSocket server: one method table, one dispatcher, any node that has the `Backend`'s shape. Level 7."""

from plait.rpc.backend import Backend
from plait.rpc.server import RpcConfig, Served, Server, serve

__all__ = ["Backend", "RpcConfig", "Served", "Server", "serve"]
