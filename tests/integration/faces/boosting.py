"""A node whose boost faces stand between a played op-node and real op-geths."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from op_node import Engine, OpGeth

from plait.node.config import NetworkConfig, NodeConfig, RollupConfig, embedded_genesis
from plait.node.node import Node
from plait.rollups.opstack.faces.boost import Boost
from plait.rollups.opstack.faces.settings import BoostSettings, FacesSettings
from plait.rpc import RpcConfig, Server, serve
from plait.types import RollupId


@dataclass
class Boosted:
    """A node with boost faces, op-node's view of them, and the engines behind."""

    node: Node
    server: Server
    op_nodes: dict[int, Engine] = field(default_factory=dict)
    engines: dict[int, Engine] = field(default_factory=dict)
    geths: dict[int, Any] = field(default_factory=dict)

    def face(self, chain_id: int = 901) -> Boost:
        return self.server.faces.boost[chain_id]

    def native(self, chain_id: int = 901) -> Any:
        return self.node.rollups[RollupId(chain_id)].native

    def genesis(self, chain_id: int = 901) -> str:
        return "0x" + self.native(chain_id).genesis_hash.hex()


@contextlib.asynccontextmanager
async def boosted(
    directory: Path, rollups: int = 1, fork: str = "jovian", genesis_age_s: int = 4, **settings: Any
) -> AsyncIterator[Boosted]:
    network = NetworkConfig(
        genesis_time_s=int(time.time()) - genesis_age_s,
        sub_blocks_per_slot=5,
        rollups=tuple(RollupConfig(chain_id=901 + at, fork=fork) for at in range(rollups)),  # type: ignore[arg-type]
    )
    secret = secrets.token_bytes(32)
    jwt = directory / "op-node.hex"
    jwt.write_text(secret.hex())
    jwt.chmod(0o600)
    with contextlib.ExitStack() as geths:
        started: dict[int, Any] = {}
        faces: list[BoostSettings] = []
        for rollup_id, genesis in embedded_genesis(network).items():
            geth = started[rollup_id] = geths.enter_context(OpGeth(genesis, directory / str(rollup_id)))
            engine_jwt = directory / str(rollup_id) / "jwt.hex"
            engine_jwt.chmod(0o600)
            url = f"http://127.0.0.1:{geth.engine._connection.port}"
            face = BoostSettings(
                chain_id=rollup_id, port=0, engine_url=url, jwt_file=jwt, engine_jwt_file=engine_jwt, debug_port=0
            )
            faces.append(msgspec.structs.replace(face, **({"timeout_ms": 20_000} | settings)))
        config = NodeConfig(log_level="error", faces=FacesSettings(boost=tuple(faces)))
        rpc = RpcConfig(port=0, rollup_port_base=None)
        async with Node.start(network, config) as node, serve(node, rpc) as server:
            found = Boosted(node, server, geths=started)
            version = 3 if fork == "holocene" else 4
            for face in faces:
                chain_id = face.chain_id
                found.op_nodes[chain_id] = Engine(server.faces.boost[chain_id].url, secret, version)
                found.engines[chain_id] = Engine(face.engine_url, started[chain_id]._secret, version)
            yield found
