"""A network founded over OP Stack chains that exist: what `plait rollup add` gathers and `plait rollup run` starts.

    DIRECTORY/founding.json           the network to be, its L1, the chains' engines
    DIRECTORY/keys/operator.json      owns the chains: signs what lets them leave, and others join
    DIRECTORY/reporter.key            signs what this node sees of L1; the network has one operator
    DIRECTORY/node                    the node's data; imports/<chain id> in it holds each chain up to its anchor

Chains are added one by one before the first start; then the network's first slot, its L1 start and every anchor are
settled. The grid begins at the earliest anchor, so that every chain goes on with its next block's own time. Level 6.
"""

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.derivation.anchor import Anchor
from plait.derivation.l1_facts import encode_l1_facts
from plait.derivation.rollup_config import BlockId, rollup_json_of
from plait.errors import ConfigurationError
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import blob_schedule
from plait.ledger.parameters import TOKEN
from plait.native import ed25519_public_key, keccak256
from plait.node.batcher_settings import BatcherSettings
from plait.node.config import (
    AccountConfig,
    EngineConnection,
    L1Config,
    L1Connection,
    NetworkConfig,
    NodeConfig,
    RollupConfig,
)
from plait.node.remotes import IMPORTS
from plait.rollups.opstack.importing import GENESIS_FILE
from plait.rollups.opstack.jwt import read_secret
from plait.storage import NETWORK_FILE
from plait.types import RollupId, Seconds

FOUNDING_FILE: Final = "founding.json"
REPORTER_FILE: Final = "reporter.key"
NODE_DIRECTORY: Final = "node"
KEYS_DIRECTORY: Final = "keys"
OPERATOR_KEY: Final = "operator"
"""Name of the key that owns the chains (`plait keys`); it is in KEYS_DIRECTORY."""
OPERATOR_BALANCE: Final = 1_000_000 * TOKEN
"""For the fees of actions; nobody else has tokens in such a network."""


class ChainEngine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chain's engine."""

    chain_id: int
    url: str
    jwt_file: str
    """Absolute path."""


class Founding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of founding.json."""

    network: NetworkConfig
    l1_url: str
    beacon_url: str = ""
    engines: tuple[ChainEngine, ...]


def import_directory(directory: Path, chain_id: int) -> Path:
    """Where a chain's copy lies."""
    return directory / NODE_DIRECTORY / IMPORTS / str(chain_id)


def read_founding(directory: Path) -> Founding | None:
    """What was gathered; None when nothing was. Raises ConfigurationError (`configuration_invalid`)."""
    path = directory / FOUNDING_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Founding)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        raise ConfigurationError(f"{path} cannot be read: {said(error)}.", file=str(path)) from error


def check_open(directory: Path, chain_id: int) -> Founding | None:
    """What was gathered, when the chain may still be added.

    Raises:
        ConfigurationError: `network_started`, `rollup_already_registered`, `configuration_invalid`.
    """
    founding = read_founding(directory)
    if (directory / NODE_DIRECTORY / NETWORK_FILE).exists():
        raise ConfigurationError(
            f"The network in {directory} has started. Let the chain join it while it runs (`plait rollup bind`, then "
            "`plait rollup anchor`), or add it in another directory, before the first `plait rollup run`.",
            code="network_started",
        )
    if founding is not None and any(rollup.chain_id == chain_id for rollup in founding.network.rollups):
        raise ConfigurationError(
            f"Chain {chain_id} was added before; remove {directory / FOUNDING_FILE} to begin again.",
            code="rollup_already_registered",
        )
    return founding


async def check_l1(l1: L1Client, expected: int, founding: Founding | None) -> None:
    """Returns when an L1 node is of the chain that a rollup hangs on, and the one that was named before.

    Raises:
        ConfigurationError: `l1_chain_mismatch`.
    """
    found = await l1.chain_id()
    others = expected if founding is None or founding.network.l1 is None else founding.network.l1.chain_id
    if found != expected or others != expected:
        raise ConfigurationError(
            f"The rollup hangs on L1 chain {expected}; the node at {l1.address} is on {found}, the network on "
            f"{others}. Name a node of the rollup's L1, and add only chains of one L1 to a network.",
            code="l1_chain_mismatch",
        )


async def add_chain(
    directory: Path,
    founding: Founding | None,
    anchor: Anchor,
    engine: ChainEngine,
    *,
    l1: L1Client,
    l1_url: str,
    beacon_url: str = "",
    operator: str = "",
) -> Founding:
    """Adds a chain to the network to be, and writes it.

    `operator`, 0x hex, owns the chain and what the network has of tokens: it lets chains leave and others join.

    Raises:
        ConfigurationError: `anchor_not_on_l1`: the anchor's L1 origin is no block of this L1; `rollup_off_grid`; what
            `NetworkConfig.check` refuses.
    """
    reporter = _reporter(directory)
    before = () if founding is None else founding.network.rollups
    rollups = (*before, msgspec.structs.replace(_rollup(anchor), owner=operator))
    anchors = [one for rollup in rollups if (one := rollup.anchor_block()) is not None]
    first = min(anchors, key=lambda one: one.origin.number)
    genesis_time_s = _grid(anchors)
    network = NetworkConfig(
        genesis_time_s=genesis_time_s,
        network_id=1 + int.from_bytes(keccak256(anchors[0].block.hash)[:4], "big"),
        development_accounts=0,
        rollups=rollups,
        mode="single_operator",
        accounts=(AccountConfig(address=operator, balance=OPERATOR_BALANCE),) if operator else (),
        ledger={"rollup_escrow_min": 0, "rollup_fee_per_slot": 0, "rollup_fee_per_transaction": 0},
        l1=L1Config(
            chain_id=anchor.config.l1_chain_id,
            start=await _start(l1, first.origin, anchor.config.l1_chain_id),
            reporter="0x" + ed25519_public_key(reporter).hex(),
        ),
    )
    network.check()
    network.l1_state()
    engines = () if founding is None else founding.engines
    found = Founding(network=network, l1_url=l1_url, beacon_url=beacon_url, engines=(*engines, engine))
    path = directory / FOUNDING_FILE
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # URLs can hold keys
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    temporary.replace(path)
    return found


def node_config(
    directory: Path,
    founding: Founding,
    *,
    port: int,
    rollup_port_base: int | None,
    batcher_key: Path | None,
    engines: tuple[ChainEngine, ...] = (),
) -> NodeConfig:
    """The settings of the network's one node.

    Args:
        directory: of the network.
        founding: what `read_founding` gave.
        port, rollup_port_base: of its RPC; 0 lets the system choose, None for no ports of single rollups.
        batcher_key: file with the key that posts batches; None when somebody else does.
        engines: of chains that join, or joined, later.
    """
    return NodeConfig(
        data_dir=directory / NODE_DIRECTORY,
        port=port,
        rollup_port_base=rollup_port_base,
        l1=L1Connection(
            rpc_url=founding.l1_url, beacon_url=founding.beacon_url, reporter_key=directory / REPORTER_FILE
        ),
        engines=tuple(
            EngineConnection(chain_id=engine.chain_id, engine_url=engine.url, jwt_file=Path(engine.jwt_file))
            for engine in (*founding.engines, *engines)
        ),
        batcher=None if batcher_key is None else BatcherSettings(key_file=batcher_key),
    )


def genesis_files(directory: Path, founding: Founding) -> dict[RollupId, bytes]:
    """Every chain's genesis, as it was imported. Raises ConfigurationError (`import_missing`)."""
    found = {}
    for rollup in founding.network.rollups:
        path = import_directory(directory, rollup.chain_id) / GENESIS_FILE
        try:
            found[RollupId(rollup.chain_id)] = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read ({error.strerror}).", code="import_missing") from error
    return found


# ---------------------------------------------------------------- parts
def _rollup(anchor: Anchor) -> RollupConfig:
    system, config = anchor.system, anchor.config
    return RollupConfig(
        chain_id=config.chain_id,
        block_time_slots=config.block_time_s,
        gas_limit=system.gas_limit,
        fork=config.fork,
        da_footprint_gas_scalar=system.da_footprint_gas_scalar,
        eip1559_denominator=system.eip1559_denominator or config.eip1559_denominator,
        eip1559_elasticity=system.eip1559_elasticity or config.eip1559_elasticity,
        min_base_fee=system.min_base_fee,
        operator_fee_scalar=system.operator_fee_scalar,
        operator_fee_constant=system.operator_fee_constant,
        base_fee_scalar=system.base_fee_scalar,
        blob_base_fee_scalar=system.blob_base_fee_scalar,
        interop_set=0,
        opstack=rollup_json_of(config),
        anchor="0x" + anchor.encode().hex(),
    )


def _grid(anchors: list[Anchor]) -> Seconds:
    """Time of slot 0, slots being seconds: the latest one from which every chain goes on block by block.

    Raises:
        ConfigurationError: `rollup_off_grid`: the chains' blocks never fall together.
    """
    earliest = min(one.timestamp for one in anchors)
    span = max(one.config.block_time_s for one in anchors)
    for back in range(span**2):
        if all((one.timestamp - (earliest - back)) % one.config.block_time_s == 0 for one in anchors):
            return Seconds(earliest - back)
    raise ConfigurationError(
        "The blocks of these chains never have a common time, so no slot can hold all of them; run them as networks of "
        "their own.",
        code="rollup_off_grid",
    )


async def _start(l1: L1Client, origin: BlockId, l1_chain_id: int) -> str:
    header = await l1.header(origin.number)
    if header is None or header.hash != origin.hash:
        raise ConfigurationError(
            f"The chain's L1 origin {origin.number} 0x{origin.hash.hex()} is no block of this L1; let the chain's "
            "op-node follow L1's reorganisation first, or name its own L1.",
            code="anchor_not_on_l1",
        )
    facts, _ = block_facts(header, (), (), blob_schedule(l1_chain_id))
    return "0x" + encode_l1_facts(facts).hex()


def _reporter(directory: Path) -> bytes:
    """The reporter's seed, made when there is none."""
    path = directory / REPORTER_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return read_secret(path)
