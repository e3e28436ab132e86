"""CometBFT's part of a node's home: keys, genesis and configuration.

    HOME/abci.sock                             where the application listens
    HOME/cometbft/config/genesis.json          written once from the network
    HOME/cometbft/config/config.toml           derived from the node's settings at every start, never edited
    HOME/cometbft/config/node_key.json         made once; names the node among its peers
    HOME/cometbft/config/priv_validator_key.json   made once; signs votes
    HOME/cometbft/data/                        blocks, votes, the signer's memory (priv_validator_state.json)
    HOME/cometbft/cometbft.log, cometbft.pid

CometBFT runs in HOME, so that the socket's name is short and nothing here depends on where HOME is. Level 5.
"""

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.engines.cometbft.binary import find_cometbft
from plait.errors import ConfigurationError, InvariantBroken
from plait.limits import (
    COMET_BATCH_BYTES_MAX,
    COMET_BLOCK_BYTES_MAX,
    COMET_POOL_BATCHES_MAX,
    COMET_POOL_BYTES_MAX,
)
from plait.types import Hash32, NetworkId, NetworkParameters, Seconds, ValidatorUpdate
from plait.types.consensus import comet_chain_id, consensus_address

SOCKET_NAME = "abci.sock"
FOLDER = "cometbft"
PROPOSE_TIMEOUT_MS = 1_000
DELTA_MS = 500
VOTE_TIMEOUT_MS = 500
CONSENSUS_COST_MS = 36
"""What a height costs beside timeout_commit, measured with four validators on one machine of two cores."""
EVIDENCE_BYTES_MAX = 1_048_576
POOL_GAS_PER_BLOCK = 1
"""Of CometBFT's own accounting: a batch costs 1, so a proposer is handed at most one of the batches, which it does not
need."""


class StateSyncSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a new node fetches a snapshot: whom it asks, and which block it trusts."""

    rpc_servers: tuple[str, ...]
    """At least two RPC addresses, host:port."""
    trust_height: int
    trust_hash: str
    """Hash of the block at that height, hex."""
    trust_period_s: int = 168 * 3_600


class CometSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A node's settings of CometBFT. Times are in milliseconds."""

    moniker: str = "node"
    p2p_host: str = "127.0.0.1"
    p2p_port: int = 26_656
    rpc_host: str = "127.0.0.1"
    rpc_port: int = 26_657
    external_address: str = ""
    persistent_peers: tuple[str, ...] = ()
    """id@host:port"""
    pex: bool = True
    timeout_commit_ms: int = 214
    timeout_propose_ms: int = PROPOSE_TIMEOUT_MS
    timeout_vote_ms: int = VOTE_TIMEOUT_MS
    timeout_delta_ms: int = DELTA_MS
    log_level: str = "statesync:info,*:error"
    prometheus_port: int | None = None
    """Where CometBFT's own metrics are served on 127.0.0.1."""
    state_sync: StateSyncSettings | None = None


class CometGenesis(msgspec.Struct, frozen=True, kw_only=True):
    """What both sides must start from: CometBFT's genesis file is written from it, and InitChain compared with it."""

    network_id: NetworkId
    genesis_time_s: Seconds
    fingerprint: Hash32
    """Names the network's configuration and the rollups' genesis."""
    validators: tuple[ValidatorUpdate, ...]
    """The first set."""
    evidence_age_heights: int = 100_000
    evidence_age_ms: int = 48 * 3_600_000
    """How old evidence may be in CometBFT's eyes, by both measures; stake must stay bound for longer."""

    @property
    def chain_id(self) -> str:
        """CometBFT's name of the network."""
        return comet_chain_id(self.network_id)

    @property
    def app_state(self) -> dict[str, str]:
        """What the genesis file carries for the application."""
        return {"fingerprint": "0x" + self.fingerprint.hex()}


def commit_timeout_ms(parameters: NetworkParameters) -> int:
    """How long CometBFT rests after a commit so that heights come at the pace of the grid."""
    return max(parameters.slot_ms // parameters.sub_blocks_per_slot - CONSENSUS_COST_MS, 0)


# ---------------------------------------------------------------- keys
def create_keys(home: Path) -> tuple[bytes, str]:
    """Makes the validator's and the node's keys with `cometbft init` when there are none.

    Returns:
        (public key that votes are signed with, 32 bytes; id of the node among its peers, 40 hex digits).

    Raises:
        ConfigurationError: `cometbft_missing`, `cometbft_version`, `comet_home_unusable`.
    """
    root = home / FOLDER
    if not _node_key_file(home).exists() or not _validator_key_file(home).exists():
        root.mkdir(parents=True, exist_ok=True)
        genesis = root / "config" / "genesis.json"
        had_genesis = genesis.exists()
        _run_init(root)
        if not had_genesis:
            # `init` writes one of its own invention; a network's is written by `write_genesis`.
            genesis.unlink(missing_ok=True)
    return public_key_of(home), node_id_of(home)


def public_key_of(home: Path) -> bytes:
    """The validator's ed25519 public key. Raises ConfigurationError (`comet_home_unusable`)."""
    document = _read(_validator_key_file(home))
    try:
        key = document["pub_key"]
        data = base64.b64decode(key["value"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(_validator_key_file(home), "holds no validator key") from error
    if key.get("type") != "tendermint/PubKeyEd25519" or len(data) != 32:
        raise _unusable(_validator_key_file(home), "holds a key that is not ed25519")
    return data


def node_id_of(home: Path) -> str:
    """The node's id among its peers. Raises ConfigurationError (`comet_home_unusable`)."""
    document = _read(_node_key_file(home))
    try:
        private = base64.b64decode(document["priv_key"]["value"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(_node_key_file(home), "holds no node key") from error
    if len(private) != 64:
        raise _unusable(_node_key_file(home), "holds a key that is not ed25519")
    return consensus_address(private[32:]).hex()


def _run_init(root: Path) -> None:
    try:
        subprocess.run(  # noqa: S603 - the program that find_cometbft has checked
            [find_cometbft(), "init", "--home", root], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ConfigurationError(
            f"`cometbft init` failed in {root}: {said.strip()[:500]}", code="comet_home_unusable", path=str(root)
        ) from error


# ---------------------------------------------------------------- genesis
def genesis_document(genesis: CometGenesis) -> dict[str, Any]:
    """CometBFT's genesis file. Its JSON writes 64-bit integers as strings."""
    return {
        "genesis_time": datetime.fromtimestamp(genesis.genesis_time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "chain_id": genesis.chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(COMET_BLOCK_BYTES_MAX), "max_gas": str(POOL_GAS_PER_BLOCK)},
            "evidence": {
                "max_age_num_blocks": str(genesis.evidence_age_heights),
                "max_age_duration": str(genesis.evidence_age_ms * 10**6),
                "max_bytes": str(EVIDENCE_BYTES_MAX),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "0"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {
                "address": consensus_address(validator.public_key).hex().upper(),
                "pub_key": {
                    "type": "tendermint/PubKeyEd25519",
                    "value": base64.b64encode(validator.public_key).decode(),
                },
                "power": str(validator.power),
                "name": "",
            }
            for validator in sorted(genesis.validators, key=lambda one: one.public_key)
        ],
        "app_hash": "",
        "app_state": genesis.app_state,
    }


def write_genesis(home: Path, genesis: CometGenesis) -> None:
    """Writes CometBFT's genesis file; one that is there must say the same.

    Raises:
        ConfigurationError: `comet_genesis_mismatch`, `comet_home_unusable`.
    """
    path = home / FOLDER / "config" / "genesis.json"
    document = genesis_document(genesis)
    if path.exists():
        if _read(path) != document:
            raise ConfigurationError(
                f"{path} is the genesis of another network. Use the network it was written for, or another home.",
                code="comet_genesis_mismatch",
                path=str(path),
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(document, indent=2) + "\n")


# ---------------------------------------------------------------- configuration
def write_config(home: Path, settings: CometSettings) -> None:
    """Writes config.toml from the node's settings. Raises ConfigurationError (`comet_home_unusable`)."""
    path = home / FOLDER / "config" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (home / FOLDER / "data").mkdir(exist_ok=True)
    sections = [_section(name, values) for name, values in _configuration(settings).items()]
    _write(path, "# Written by Plait at every start from the node's own settings.\n" + "\n".join(sections))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _configuration(settings: CometSettings) -> dict[str, dict[str, Any]]:
    """Everything that differs from CometBFT's defaults, by section."""
    sync = settings.state_sync
    return {
        "": {
            "proxy_app": f"unix://{SOCKET_NAME}",
            "abci": "socket",
            "moniker": settings.moniker,
            "log_level": settings.log_level,
            "log_format": "json",
            "event_bus_buffer_capacity": 1_000,
        },
        "rpc": {
            "laddr": _listening(settings.rpc_host, settings.rpc_port),
            "max_body_bytes": 4 * COMET_BATCH_BYTES_MAX,
            "pprof_laddr": "",
        },
        "p2p": {
            "laddr": _listening(settings.p2p_host, settings.p2p_port),
            "external_address": settings.external_address,
            "persistent_peers": ",".join(settings.persistent_peers),
            "persistent_peers_max_dial_period": "1s",
            # Strangers that take every place must not keep out those whom the operator named.
            "unconditional_peer_ids": ",".join(peer.partition("@")[0] for peer in settings.persistent_peers),
            "pex": settings.pex,
            "addr_book_strict": False,
            # On one machine all peers share an address; elsewhere nobody takes all places from one.
            "allow_duplicate_ip": _is_loopback(settings.p2p_host),
            "flush_throttle_timeout": "1ms",
            "send_rate": 52_428_800,
            "recv_rate": 52_428_800,
            "max_packet_msg_payload_size": 10_240,
            "handshake_timeout": "5s",
            "dial_timeout": "3s",
        },
        "mempool": {
            "type": "flood",
            "recheck": True,
            "broadcast": True,
            "size": COMET_POOL_BATCHES_MAX,
            "max_txs_bytes": COMET_POOL_BYTES_MAX,
            "max_tx_bytes": COMET_BATCH_BYTES_MAX,
            "cache_size": 2 * COMET_POOL_BATCHES_MAX,
        },
        "statesync": {"enable": False}
        if sync is None
        else {
            "enable": True,
            "rpc_servers": ",".join(sync.rpc_servers),
            "trust_height": sync.trust_height,
            "trust_hash": sync.trust_hash,
            "trust_period": f"{sync.trust_period_s}s",
            "discovery_time": "5s",
            "chunk_request_timeout": "10s",
            "chunk_fetchers": "4",
        },
        "consensus": {
            "timeout_propose": f"{settings.timeout_propose_ms}ms",
            "timeout_propose_delta": f"{settings.timeout_delta_ms}ms",
            "timeout_prevote": f"{settings.timeout_vote_ms}ms",
            "timeout_prevote_delta": f"{settings.timeout_delta_ms}ms",
            "timeout_precommit": f"{settings.timeout_vote_ms}ms",
            "timeout_precommit_delta": f"{settings.timeout_delta_ms}ms",
            "timeout_commit": f"{settings.timeout_commit_ms}ms",
            "skip_timeout_commit": False,
            "create_empty_blocks": True,
            "peer_gossip_sleep_duration": "10ms",
            "peer_query_maj23_sleep_duration": "500ms",
        },
        "tx_index": {"indexer": "null"},
        "instrumentation": {
            "prometheus": settings.prometheus_port is not None,
            "prometheus_listen_addr": f"127.0.0.1:{settings.prometheus_port or 0}",
        },
    }


def _listening(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _section(name: str, values: Mapping[str, Any]) -> str:
    head = [f"[{name}]"] if name else []
    return "\n".join([*head, *(f"{key} = {json.dumps(value)}" for key, value in values.items())]) + "\n"


# ---------------------------------------------------------------- files
def _validator_key_file(home: Path) -> Path:
    return home / FOLDER / "config" / "priv_validator_key.json"


def _node_key_file(home: Path) -> Path:
    return home / FOLDER / "config" / "node_key.json"


def require_signer_memory(home: Path) -> None:
    """Refuses a home whose signer has forgotten what it signed although the chain has begun.

    CometBFT would begin to sign from nothing, and could sign a height a second time.

    Raises:
        InvariantBroken: `signer_memory_lost`.
    """
    data = home / FOLDER / "data"
    if (data / "blockstore.db").exists() and not (data / "priv_validator_state.json").exists():
        raise InvariantBroken(
            f"{data / 'priv_validator_state.json'} is gone, but blocks are there: the validator no longer knows what "
            "it signed. Bring the file back; without it this key must not sign again.",
            code="signer_memory_lost",
            path=str(data),
        )


def require_home(home: Path) -> None:
    """Refuses a home without keys or genesis. Raises ConfigurationError (`comet_home_missing`)."""
    missing: Sequence[Path] = [
        path
        for path in (_validator_key_file(home), _node_key_file(home), home / FOLDER / "config" / "genesis.json")
        if not path.exists()
    ]
    if missing:
        raise ConfigurationError(
            f"{missing[0]} is not there; `plait init` makes a node's home.",
            code="comet_home_missing",
            path=str(missing[0]),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, *DAMAGED) as error:
        raise _unusable(path, f"cannot be read ({said(error)})") from error
    if not isinstance(document, dict):
        raise _unusable(path, "is not a JSON object")
    return document


def _write(path: Path, text: str) -> None:
    try:
        beside = path.with_name(path.name + ".new")
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        raise _unusable(path, f"cannot be written ({error.strerror})") from error


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {problem}.", code="comet_home_unusable", path=str(path))


__all__ = [
    "CometGenesis",
    "CometSettings",
    "StateSyncSettings",
    "commit_timeout_ms",
    "create_keys",
    "genesis_document",
    "node_id_of",
    "public_key_of",
    "require_home",
    "require_signer_memory",
    "write_config",
    "write_genesis",
]
