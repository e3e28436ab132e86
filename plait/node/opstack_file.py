"""HOME/opstack.toml: what connects a node to an L1 and to execution engines, as its operator edits it.

    [l1]
    rpc_url = "https://l1.example/v3/KEY"
    beacon_url = "https://beacon.example/KEY"      # where batches come in blobs
    reporter_key = "reporter.key"                  # only where the network has no validators

    [[engines]]
    chain_id = 901
    engine_url = "http://127.0.0.1:8551"
    jwt_file = "jwt.hex"

    [batcher]                                      # on the one node that posts
    key_file = "batcher.key"
    data = "blob"
    fee_cap_max_wei = 100_000_000_000              # and more: docs/opstack/batcher.md

    [attester]                                     # on validators' nodes: checkpoints on L1
    registry = "0x..."                             # PlaitRegistry
    key_file = "attester.key"
    interval_heights = 14400                       # the same on all of them
    payer_key_file = "payer.key"                   # on the one node that pays, or on a few
    peers = ["http://10.0.0.2:8545"]               # where that one gathers what the others signed

    [forced_inclusion]                             # raises alarms about missed deadlines
    contract = "0x..."

Paths are relative to the file. URLs of L1 nodes often hold a key, so the file must be closed to other users. A node
without the file reads no L1 and drives no engine.
"""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.errors import ConfigurationError
from plait.limits import L1_CHECKPOINT_PEERS_MAX, OPSTACK_FILE_BYTES_MAX
from plait.node.batcher_settings import BatcherSettings
from plait.node.config import (
    AttesterSettings,
    EngineConnection,
    ForcedInclusionSettings,
    L1Connection,
)

OPSTACK_FILE: Final = "opstack.toml"
_PATHS: Final = ("reporter_key", "jwt_file", "key_file", "payer_key_file")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class OpStackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds."""

    l1: L1Connection | None = None
    engines: tuple[EngineConnection, ...] = ()
    batcher: BatcherSettings | None = None
    attester: AttesterSettings | None = None
    forced_inclusion: ForcedInclusionSettings | None = None

    def check(self) -> None:
        """Raises ConfigurationError (`opstack_file_invalid`) with the first thing that cannot be used."""
        urls = [] if self.l1 is None else [self.l1.rpc_url, self.l1.beacon_url]
        urls += [url for engine in self.engines for url in (engine.engine_url, engine.rpc_url)]
        urls += [] if self.attester is None else self.attester.peers
        # the URL itself is not shown: it may hold a key
        if any(url and not url.startswith(("http://", "https://")) for url in urls):
            raise _invalid("a URL does not begin with http:// or https://")
        if self.l1 is not None and not self.l1.rpc_url:
            raise _invalid("l1.rpc_url is empty")
        if len({engine.chain_id for engine in self.engines}) != len(self.engines):
            raise _invalid("two engines are of one rollup")
        if self.batcher is not None and self.l1 is None:
            raise _invalid("a batcher needs an L1 to post to; add [l1]")
        if self.batcher is not None:
            self.batcher.check()
        if self.attester is not None:
            self._check_attester(self.attester)
        if self.forced_inclusion is not None:
            if self.l1 is None:
                raise _invalid("forced inclusions are read from an L1; add [l1]")
            if not _ADDRESS.fullmatch(self.forced_inclusion.contract):
                raise _invalid("forced_inclusion.contract is not 0x and 40 hex digits")

    def _check_attester(self, attester: AttesterSettings) -> None:
        if self.l1 is None:
            raise _invalid("an attester needs an L1 that has the registry; add [l1]")
        if not _ADDRESS.fullmatch(attester.registry):
            raise _invalid("attester.registry is not 0x and 40 hex digits")
        if attester.interval_heights < 1 or min(attester.pay_after_s, attester.chain_id, attester.fee_cap_max_wei) < 0:
            raise _invalid(
                "attester.interval_heights is 1 or more; pay_after_s, chain_id and fee_cap_max_wei are 0 or more"
            )
        if len(attester.peers) > L1_CHECKPOINT_PEERS_MAX:
            raise _invalid(f"attester.peers names more than {L1_CHECKPOINT_PEERS_MAX} nodes")
        if attester.key_file is None and attester.payer_key_file is None:
            raise _invalid("attester names neither a key that signs nor one that pays")
        if (
            self.batcher is not None
            and attester.payer_key_file is not None
            and attester.payer_key_file == self.batcher.key_file
        ):
            raise _invalid("the batcher and the payer of checkpoints need an account each: they count its nonces")


def read_opstack(home: Path) -> OpStackSettings:
    """The settings of a home, none where it has no such file.

    Raises:
        ConfigurationError: `opstack_file_exposed` when other users may read or change it, `opstack_file_invalid`,
            naming the setting.
    """
    path = home / OPSTACK_FILE
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            data = file.read(OPSTACK_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return OpStackSettings()
    except OSError as error:
        raise _invalid(f"{path}: {error.strerror}") from error
    if stat.S_IMODE(state.st_mode) & 0o077:
        raise ConfigurationError(
            f"{path} may hold keys in its URLs and must be closed to other users: chmod 600 {path}.",
            code="opstack_file_exposed",
        )
    if len(data) > OPSTACK_FILE_BYTES_MAX:
        raise _invalid(f"{path} has more than {OPSTACK_FILE_BYTES_MAX} bytes")
    try:
        found = tomllib.loads(data.decode())
        tables = [found.get("l1"), found.get("batcher"), found.get("attester"), *found.get("engines", ())]
        for table in tables:
            for name in _PATHS if isinstance(table, dict) else ():
                if isinstance(table.get(name), str):
                    table[name] = str(home / table[name])
        settings = msgspec.convert(found, OpStackSettings, dec_hook=_decode_path)
    except (*DAMAGED, TypeError) as error:
        raise _invalid(f"{path}: {said(error)}") from None
    settings.check()
    return settings


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _invalid(reason: str) -> ConfigurationError:
    return ConfigurationError(f"The OP Stack settings cannot be used: {reason}.", code="opstack_file_invalid")


__all__ = ["OPSTACK_FILE", "OpStackSettings", "read_opstack"]
