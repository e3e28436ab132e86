"""Bringing in a chain whose state stays where it is: what a node needs to go on from its newest block.

    genesis.json     the rules of the chain, as rollup.json gives them; no allocation
    anchor.rlp       the block that the network goes on from, as of any imported chain
    ancestors        blocks up to the anchor (ancestors.py)
    remote.json      where state is read: a URL and, for an engine's authenticated port, the secret file's path

Nothing is executed again. That the chain is the right one is checked by chain id, genesis block and fork of its engine
(importing.check_chain); that its state can be read is tried before anything is stopped. What is believed of the state
later is what hashes prove from the anchor's state root down. Level 5.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.derivation.anchor import Anchor
from plait.derivation.rollup_config import OpStackConfig
from plait.errors import CodecError, ConfigurationError, L1Refused
from plait.http_client import address_of_url
from plait.l1.headers import header_of
from plait.native import NativeError, Rollup, Store, keccak256
from plait.rollups.embedded.genesis import GenesisSpecification, chain_configuration, extra_data
from plait.rollups.opstack.ancestors import AncestorFile
from plait.rollups.opstack.importing import ANCHOR_FILE, GENESIS_FILE, read_anchor
from plait.rollups.opstack.jwt import read_secret
from plait.rollups.opstack.remote_journal import Held, ReadJournal
from plait.rollups.opstack.remote_state import RemoteStateRefused, RpcStateReader
from plait.types import Address, ChainId, Gas, Wei

REMOTE_FILE: Final = "remote.json"
ANCESTORS_FILE: Final = "ancestors"
NOTHING_HELD: Final = Held([], [], [])
_L1_BLOCK: Final = Address(bytes.fromhex("4200000000000000000000000000000000000015"))
_TRIED: Final = (_L1_BLOCK, Address(bytes.fromhex("4200000000000000000000000000000000000016")))
"""Accounts of every OP Stack chain: L1Block, which every block writes, and the message passer."""


class RemoteSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of remote.json."""

    url: str
    """Of an RPC with the methods of `eth`."""
    jwt_file: str = ""
    """Absolute path of the secret file, where the URL is an engine's authenticated port."""

    def reader(self, journal: ReadJournal | None = None) -> RpcStateReader:
        """Reads at the newest block.

        Raises:
            ConfigurationError: `engine_jwt_unusable`.
            RemoteStateRefused: the URL cannot be used.
        """
        return RpcStateReader(self.url, secret=self.secret(), journal=journal, newest=True)

    def secret(self) -> bytes | None:
        """Of the secret file. Raises ConfigurationError (`engine_jwt_unusable`)."""
        return read_secret(Path(self.jwt_file)) if self.jwt_file else None


def rules_json(config: OpStackConfig) -> bytes:
    """op-geth's genesis format with the chain's rules and nothing in its state."""
    specification = GenesisSpecification(
        chain_id=ChainId(config.chain_id),
        timestamp=config.genesis_time_s,
        fork=config.fork,
        gas_limit=Gas(config.genesis_system.gas_limit),
        eip1559_denominator=config.eip1559_denominator,
        eip1559_elasticity=config.eip1559_elasticity,
        min_base_fee=Wei(config.genesis_system.min_base_fee),
        balances={},
    )
    document = {
        "config": chain_configuration(specification),
        "timestamp": hex(config.genesis_time_s),
        "extraData": "0x" + extra_data(specification).hex(),
        "gasLimit": hex(specification.gas_limit),
        "difficulty": "0x0",
        "alloc": {},
    }
    return msgspec.json.encode(document, order="sorted")


def require_state(config: OpStackConfig, source: RemoteSource) -> None:
    """Returns when state at the newest block can be read, and is what that block says. Blocks; not in the event loop.

    Raises:
        ConfigurationError: `remote_unavailable`, `remote_method_missing`, `remote_state_pruned`, `remote_proof_wrong`,
            `engine_jwt_refused`, `engine_jwt_unusable`, `engine_chain_mismatch`.
    """
    shown = address_of_url(source.url)
    try:
        _try_state(config, source)
    except (RemoteStateRefused, L1Refused, NativeError) as error:
        words = str(error).removesuffix(".")
        raise ConfigurationError(
            f"The chain's state cannot be read from the node at {shown}: {words}. Start it, correct its address, or "
            "name another RPC of this chain with --state.",
            code="remote_unavailable" if isinstance(error, L1Refused) else error.code,
        ) from error


def _try_state(config: OpStackConfig, source: RemoteSource) -> None:
    reader = RpcStateReader(source.url, secret=source.secret())
    try:
        answers = reader.calls([("eth_chainId", []), ("eth_getBlockByNumber", ["latest", False])])
        if answers[0] != hex(config.chain_id):
            raise ConfigurationError(
                f"The node at {reader.url} runs chain {answers[0]}, and rollup.json is of {config.chain_id}: name an "
                "RPC of that chain for its state.",
                code="engine_chain_mismatch",
            )
        header = header_of(answers[1])
        # said by the node itself, so that its words are heard where the core would only say that reading failed
        reader.calls([("eth_getProof", ["0x" + one.hex(), [], hex(header.number)]) for one in _TRIED])
        reader.calls([("eth_getCode", ["0x" + _L1_BLOCK.hex(), "latest"])])
        rollup = Rollup.remote(
            rules_json(config), Store.in_memory(), header.encode(), reader, genesis_hash=config.genesis_l2.hash
        )
        rollup.session().accounts(list(_TRIED))
    finally:
        reader.close()


# ---------------------------------------------------------------- files
def ancestors_of(directory: Path) -> AncestorFile:
    """The blocks of an import; the directory is made if missing."""
    directory.mkdir(parents=True, exist_ok=True)
    return AncestorFile(directory / ANCESTORS_FILE)


def write_remote_import(directory: Path, source: RemoteSource, anchor: Anchor) -> None:
    """Writes what a node needs to go on from the anchor, whose ancestors are there; remote.json last.

    Raises:
        ConfigurationError: `import_moved`, the copied blocks do not end with the anchor.
        OSError: it cannot be written.
    """
    ends = ancestors_of(directory).ends()
    if ends is None or ends[1] != anchor.block:
        raise ConfigurationError("The copied blocks do not end with the anchor; import it again.", code="import_moved")
    files = (
        (GENESIS_FILE, rules_json(anchor.config)),
        (ANCHOR_FILE, anchor.encode()),
        (REMOTE_FILE, msgspec.json.format(msgspec.json.encode(source), indent=2) + b"\n"),
    )
    for name, data in files:
        temporary = directory / (name + ".part")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # keys in URLs
            file.write(data)
        temporary.replace(directory / name)


def is_remote(directory: Path) -> bool:
    """Whether an imported chain's state is read from a node."""
    return (directory / REMOTE_FILE).exists()


def read_source(directory: Path) -> RemoteSource:
    """Where the state of an imported chain is. Raises ConfigurationError (`import_missing`)."""
    path = directory / REMOTE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RemoteSource)
    except (OSError, *DAMAGED) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({said(error)}); write the url and the jwt_file of the chain's engine into it, or "
            "add the chain again.",
            code="import_missing",
        ) from error


def remote_imported(
    directory: Path, store: Store, reader: RpcStateReader, held: Held = NOTHING_HELD, *, undo_blocks: int = 0
) -> Rollup:
    """The rollup at its anchor, its ancestors in the store.

    Args:
        directory: that `write_remote_import` wrote.
        store: of the node.
        reader: of the chain's state.
        held: what was read before.
        undo_blocks: as of `Rollup`.

    Raises:
        ConfigurationError: `import_missing`, something of it is missing or damaged.
        NativeError: what `Rollup.remote` and `Rollup.put_ancestors` refuse.
    """
    anchor = read_anchor(directory)
    try:
        genesis = (directory / GENESIS_FILE).read_bytes()
        pieces = ancestors_of(directory).downwards()
        piece = next(pieces, [])
        if not piece or keccak256(piece[0].header) != anchor.block.hash:
            raise CodecError("its copied blocks do not begin with the anchor", code="ancestors_damaged")
        rollup = Rollup.remote(
            genesis,
            store,
            piece[0].header,
            reader,
            genesis_hash=anchor.config.genesis_l2.hash,
            undo_blocks=undo_blocks,
            known_nodes=held.nodes,
            known_codes=held.codes,
            known_headers=held.headers,
        )
        while piece:
            rollup.put_ancestors([(block.header, block.transactions, block.receipts) for block in piece])
            piece = next(pieces, [])
        return rollup
    except (OSError, CodecError) as error:
        raise ConfigurationError(
            f"{directory} holds no imported chain, or a damaged one ({error}); add the chain again.",
            code="import_missing",
        ) from error


def remote_restored(
    directory: Path, store: Store, reader: RpcStateReader, held: Held, snapshot: Path, *, undo_blocks: int = 0
) -> Rollup:
    """The rollup at a snapshot that its node wrote.

    Raises:
        ConfigurationError: `import_missing`.
        NativeError: what `Rollup.remote_from_snapshot` refuses.
    """
    anchor = read_anchor(directory)
    try:
        genesis = (directory / GENESIS_FILE).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{directory} has no genesis ({error}).", code="import_missing") from error
    return Rollup.remote_from_snapshot(
        genesis,
        store,
        str(snapshot),
        reader,
        genesis_hash=anchor.config.genesis_l2.hash,
        undo_blocks=undo_blocks,
        known_nodes=held.nodes,
        known_codes=held.codes,
        known_headers=held.headers,
    )


__all__ = [
    "REMOTE_FILE",
    "RemoteSource",
    "RemoteStateRefused",
    "ancestors_of",
    "is_remote",
    "read_source",
    "remote_imported",
    "remote_restored",
    "require_state",
    "rules_json",
    "write_remote_import",
]
