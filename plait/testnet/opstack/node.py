"""What Plait's node of a local network of OP Stack rollups is told: one sequencer that decides alone."""

from __future__ import annotations

from pathlib import Path

from plait.node.batcher_settings import BatcherSettings
from plait.node.config import EngineConnection, L1Connection, NodeConfig
from plait.rollups.opstack.faces.settings import FACES_FILE, FacesSettings, read_faces
from plait.testnet.opstack.layout import Layout, Ports

HOST = "127.0.0.1"


def node_config(directory: Path, layout: Layout, ports: Ports) -> NodeConfig:
    """What the node is told: its L1, one engine for each rollup, and that it posts."""
    faces = directory / FACES_FILE
    return NodeConfig(
        data_dir=directory / "node",
        faces=read_faces(faces) if faces.exists() else FacesSettings(),
        port=ports.rpc,
        rollup_port_base=ports.rollups or None,
        log_format="json",
        l1=L1Connection(
            rpc_url=f"http://{HOST}:{ports.l1}",
            beacon_url=f"http://{HOST}:{ports.beacon}",
            reporter_key=directory / "reporter.key",
        ),
        engines=tuple(
            EngineConnection(
                chain_id=entry.chain_id,
                engine_url=f"http://{HOST}:{one.engine_auth}",
                rpc_url=f"http://{HOST}:{one.engine_http}",
                verifier_url=f"http://{HOST}:{one.op_node}",
                jwt_file=directory / "jwt.hex",
            )
            for entry, one in zip(layout.rollups, ports.programs, strict=True)
        ),
        batcher=BatcherSettings(
            key_file=directory / "batcher.key",
            data=layout.posting,
            batch=layout.batch,
            interval_s=max(2, 2 * layout.l1_block_time_s),
        ),
    )


__all__ = ["node_config"]
