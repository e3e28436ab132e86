"""Which faces a node shows, and where: part of its local settings. Without any, none listens. Level 5."""

from pathlib import Path
from typing import Literal

import msgspec

ConductorMode = Literal["decided", "follow"]
ExecutionMode = Literal["enabled", "dry_run", "disabled"]


class FlashblocksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The flashblocks stream of every rollup: ws://host:port/<chain id>."""

    port: int
    """0 for a free one."""
    host: str = "127.0.0.1"
    subscribers_max: int = 64
    """Followers at once; a fan-out proxy in front serves more."""


class ConductorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """op-node's op-conductor: http://host:port/<chain id> for `--conductor.rpc`."""

    port: int
    host: str = "127.0.0.1"
    mode: ConductorMode = "decided"
    """`decided`: op-node may publish only blocks that this network decided. `follow`: op-node still builds them itself
    (before a takeover); each is recorded durably, one per height, before op-node publishes it."""


class BoostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """rollup-boost's position before the engine of one rollup: op-node's `--l2` names http://host:port."""

    chain_id: int
    port: int
    engine_url: str
    """http://host:port of the local engine's authenticated RPC."""
    jwt_file: Path
    """Secret between op-node and this face."""
    engine_jwt_file: Path | None = None
    """Secret between this face and the engine; None for the same."""
    host: str = "127.0.0.1"
    mode: ExecutionMode = "enabled"
    """`dry_run`: our blocks are checked but the engine's are answered. `disabled`: everything passes through."""
    timeout_ms: int = 4_000
    """For our block to be sealed, checked and agreed on; the engine's own is answered after it. A block is sealed a
    block time after its timestamp, so this has to be longer than that."""
    debug_port: int | None = None
    """Of debug_setExecutionMode and debug_getExecutionMode on 127.0.0.1; None for none."""


class FacesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All faces of a node."""

    flashblocks: FlashblocksSettings | None = None
    conductor: ConductorSettings | None = None
    boost: tuple[BoostSettings, ...] = ()
