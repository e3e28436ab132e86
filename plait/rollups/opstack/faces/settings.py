"""Which faces a node shows, and where: part of its local settings. Without any, none listens.

They are written in a file of their own, faces.toml, one table per face; paths in it are relative to the file:

    [flashblocks]
    port = 1111

    [conductor]
    port = 8547
    mode = "decided"

    [[boost]]
    chain_id = 901
    port = 8551
    engine_url = "http://127.0.0.1:8561"
    jwt_file = "op-node.hex"
    engine_jwt_file = "engine.hex"

Level 5.
"""

import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import ConfigurationError

ConductorMode = Literal["decided", "follow"]
ExecutionMode = Literal["enabled", "dry_run", "disabled"]


class FlashblocksSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flashblocks stream of every rollup: ws://host:port/<chain id>."""

    port: int
    """0 for a free one."""
    host: str = "127.0.0.1"
    subscribers_max: int = 64
    """Followers at once; a fan-out proxy in front serves more."""


class ConductorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """op-node's op-conductor: http://host:port/<chain id> for `--conductor.rpc`."""

    port: int
    host: str = "127.0.0.1"
    mode: ConductorMode = "decided"
    """`decided`: op-node may publish only blocks that this network decided. `follow`: op-node still builds them itself
    (before a takeover); each is recorded durably, one per height, before op-node publishes it."""


class BoostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class FacesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All faces of a node."""

    flashblocks: FlashblocksSettings | None = None
    conductor: ConductorSettings | None = None
    boost: tuple[BoostSettings, ...] = ()

    def check(self) -> None:
        """Raises ConfigurationError (`faces_invalid`) with the first thing that cannot be used."""
        chains = [face.chain_id for face in self.boost]
        ports = [face.port for face in (self.flashblocks, self.conductor, *self.boost) if face is not None]
        ports += [face.debug_port for face in self.boost if face.debug_port is not None]
        if len(set(chains)) != len(chains):
            raise _invalid("two boost faces stand before one rollup")
        if any(not 0 <= port <= 65_535 for port in ports):
            raise _invalid("a port lies in 1 to 65535 (0 lets the system choose)")
        if len({port for port in ports if port}) != len([port for port in ports if port]):
            raise _invalid("two faces have one port")
        for face in self.boost:
            if not face.engine_url.startswith(("http://", "https://")):
                raise _invalid(f"engine_url of {face.chain_id} is {face.engine_url!r}; write http://host:port")
            if not 0 < face.timeout_ms <= 60_000:
                raise _invalid(f"timeout_ms of {face.chain_id} is {face.timeout_ms}; it lies in 1 to 60000")


FACES_FILE: Final = "faces.toml"


def read_faces(path: Path) -> FacesSettings:
    """The settings in a file.

    Raises:
        ConfigurationError: `faces_invalid`, naming the setting.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text())
        for face in found.get("boost", []):
            for name in ("jwt_file", "engine_jwt_file"):
                if isinstance(face.get(name), str):
                    face[name] = str(path.parent / face[name])
        settings = msgspec.convert(found, FacesSettings, strict=True, dec_hook=_decode_path)
    except (OSError, *DAMAGED, AttributeError, TypeError) as error:
        raise _invalid(f"{path}: {said(error)}") from None
    settings.check()
    return settings


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _invalid(reason: str) -> ConfigurationError:
    return ConfigurationError(f"The settings of the faces cannot be used: {reason}.", code="faces_invalid")
