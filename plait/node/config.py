"""Configuration of a network and of a node: typed, validated, with errors that say what to write instead.

`NetworkConfig` is what a network is created from; a node keeps it, and each rollup's genesis, in its data
directory, so a
second start needs neither. `NodeConfig` is local: addresses, paths, logs. Nothing is read from the environment.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from plait.codec.damage import DAMAGED, said
from plait.derivation.anchor import Anchor, decode_anchor
from plait.derivation.attributes import FORKS, Fork
from plait.derivation.l1_facts import L1BlockFacts, decode_l1_facts
from plait.derivation.rollup_config import OpStackConfig, config_of
from plait.errors import CodecError, ConfigurationError
from plait.interop.messages import CROSS_L2_INBOX
from plait.ledger.l1 import L1State, L1Terms
from plait.ledger.parameters import PARAMETER_TABLE, TOKEN, LedgerParameters
from plait.ledger.rollup_records import RollupTerms
from plait.ledger.state import check_interop_sets
from plait.limits import (
    L1_BLOCK_TIME_S_MAX,
    L1_REORG_BLOCKS_MAX,
    LOG_KEEP_HEIGHTS_MIN,
    NETWORK_SNAPSHOT_EVERY_HEIGHTS,
    ROLLUPS_MAX,
    SNAPSHOT_EVERY_TRANSACTIONS,
)
from plait.node.batcher_settings import BatcherSettings
from plait.node.logging import LogFormat, LogLevel
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS, DEVELOPMENT_RELAYER
from plait.rollups.embedded.genesis import DEVELOPMENT_BALANCE_WEI, GenesisSpecification, genesis_json
from plait.rollups.opstack.faces.settings import FacesSettings
from plait.types import (
    Address,
    Amount,
    ChainId,
    Gas,
    Hash32,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
    Wei,
)
from plait.types.action import AMOUNT_MAX, PPM

FIRST_CHAIN_ID = 901
DEFAULT_PORT = 8545
DEFAULT_ROLLUP_PORT_BASE = 9545
DEVNET_NETWORK_ID = 7_901
DEFAULT_P2P_PORT = 26_656
DEFAULT_COMET_RPC_PORT = 26_657
VOTING_POWER_MAX = (2**63 - 1) // 8
"""Of all validators together; CometBFT's bound (types/validator_set.go, MaxTotalVotingPower)."""

NetworkMode = Literal["marketplace", "protocol_specific", "single_operator"]
EngineName = Literal["solo", "cometbft"]


class RollupConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One embedded rollup. Amounts are in wei and gas; `block_time_slots` slots make a block."""

    chain_id: int
    block_time_slots: int = 1
    gas_limit: int = 60_000_000
    ordering: OrderingPolicy = OrderingPolicy.PRIORITY_FEE
    fork: Fork = "jovian"
    da_footprint_gas_scalar: int = 0
    eip1559_denominator: int = 250
    eip1559_elasticity: int = 6
    min_base_fee: int = 0
    operator_fee_scalar: int = 0
    operator_fee_constant: int = 0
    base_fee_scalar: int = 1_368
    blob_base_fee_scalar: int = 810_949
    interop_set: int = 1
    """Rollups with the same number execute each other's messages; 0: none, and a genesis without the predeploys."""
    owner: str = ""
    """0x hex of the account that may change the rollup's parameters and let it leave; empty: nobody."""
    fee_per_slot: int = 0
    """What the rollup pays per slot from its escrow, base units; a rollup that cannot pay leaves after a notice."""
    fee_per_transaction: int = 0
    """The same per ordered transaction."""
    revenue_share_ppm: int = 0
    """Part of the transaction fees that goes back to the owner."""
    escrow: int = 0
    """What is paid in at genesis, base units."""
    opstack: dict[str, Any] | None = None
    """Content of rollup.json for a rollup that derives from the L1; None for an embedded one."""
    anchor: str = ""
    """0x hex of `plait.derivation.anchor` for a chain that existed before the network: the block that it goes on from.
    Every node needs the chain itself under imports/<chain id> of its data directory (`plait rollup import`)."""

    def anchor_block(self) -> Anchor | None:
        """The block that an existing chain goes on from. Raises ConfigurationError (`rollup_config_invalid`)."""
        if not self.anchor:
            return None
        try:
            return decode_anchor(bytes.fromhex(self.anchor.removeprefix("0x")))
        except (ValueError, CodecError) as error:
            raise ConfigurationError(
                f"The anchor of rollup {self.chain_id} cannot be read: {error}.", code="rollup_config_invalid"
            ) from error

    def terms(self) -> RollupTerms:
        """Its fees, as the ledger keeps them. Raises ConfigurationError (`rollup_terms_out_of_range`)."""
        values = (self.fee_per_slot, self.fee_per_transaction, self.escrow)
        if any(not 0 <= value <= AMOUNT_MAX for value in values) or not 0 <= self.revenue_share_ppm <= PPM:
            raise ConfigurationError(
                f"Fees and escrow of rollup {self.chain_id} lie in 0 to {AMOUNT_MAX}, its revenue share in 0 to {PPM}.",
                code="rollup_terms_out_of_range",
            )
        if any(values) and not self.owner:
            raise ConfigurationError(
                f"Rollup {self.chain_id} pays fees and has no owner who could pay in.", code="rollup_terms_out_of_range"
            )
        return RollupTerms(
            fee_per_slot=Amount(self.fee_per_slot),
            fee_per_transaction=Amount(self.fee_per_transaction),
            revenue_share_ppm=self.revenue_share_ppm,
        )

    def owner_address(self) -> Address | None:
        """20 bytes, or None for nobody. Raises ConfigurationError (`address_malformed`)."""
        if not self.owner:
            return None
        return Address(_hex(self.owner, 20, f"owner of rollup {self.chain_id}", code="address_malformed"))

    def parameters(self, genesis_hash: Hash32) -> RollupParameters:
        """As the ledger registers it."""
        return RollupParameters(
            rollup_id=RollupId(self.chain_id),
            genesis_hash=genesis_hash,
            block_time_slots=self.block_time_slots,
            gas_limit=Gas(self.gas_limit),
            ordering=self.ordering,
            da_footprint_gas_scalar=self.da_footprint_gas_scalar,
            eip1559_denominator=self.eip1559_denominator,
            eip1559_elasticity=self.eip1559_elasticity,
            min_base_fee=Wei(self.min_base_fee),
            operator_fee_scalar=self.operator_fee_scalar,
            operator_fee_constant=self.operator_fee_constant,
            base_fee_scalar=self.base_fee_scalar,
            blob_base_fee_scalar=self.blob_base_fee_scalar,
            interop_set=self.interop_set,
        )


class L1Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The L1 that a network's OP Stack rollups derive from."""

    chain_id: int
    start: str
    """0x hex of the facts of the L1 block that agreement begins with (`plait.derivation.l1_facts`): the L1 origin that
    every OP Stack rollup's genesis has."""
    lag_blocks: int = 0
    """How far below the reported heads L1 blocks are agreed; 0 adopts them at once, and goes back when L1 does."""
    hold_s: int = 90
    """A rollup block older than this waits for the L1 blocks of its time. At least `block_time_s` times
    `lag_blocks` + 2: the newest agreed block is as old as that now and then."""
    block_time_s: int = 12
    """Mean time between two blocks of the L1; Ethereum's by default."""
    reporter: str = ""
    """Ed25519 key, 0x hex of 32 bytes, that reports the L1 in a network without validators."""
    vault: str = ""
    """Address of the StakeVault, 0x hex, whose deposits after the start block the ledger credits; empty for none."""

    def start_facts(self) -> L1BlockFacts:
        """The first agreed block. Raises ConfigurationError (`l1_config_invalid`)."""
        try:
            return decode_l1_facts(bytes.fromhex(self.start.removeprefix("0x")))
        except (ValueError, CodecError) as error:
            raise ConfigurationError(
                f"start of the L1 is no L1 block's facts: {error}.", code="l1_config_invalid"
            ) from error

    def terms(self) -> L1Terms:
        """As the ledger keeps them. Raises ConfigurationError (`public_key_malformed`, `l1_config_invalid`,
        `l1_hold_too_short`, `address_malformed`)."""
        if self.chain_id < 1 or not 0 <= self.lag_blocks <= L1_REORG_BLOCKS_MAX or not 1 <= self.hold_s <= 86_400:
            raise ConfigurationError(
                f"The L1's chain id is 1 or more, lag_blocks 0 to {L1_REORG_BLOCKS_MAX}, hold_s 1 to 86400.",
                code="l1_config_invalid",
            )
        if not 1 <= self.block_time_s <= L1_BLOCK_TIME_S_MAX:
            raise ConfigurationError(
                f"block_time_s of the L1 is {self.block_time_s}; it is 1 to {L1_BLOCK_TIME_S_MAX}.",
                code="l1_config_invalid",
            )
        least_s = (self.lag_blocks + 2) * self.block_time_s
        if self.hold_s < least_s:
            raise ConfigurationError(
                f"hold_s is {self.hold_s}; with lag_blocks of {self.lag_blocks} and L1 blocks of {self.block_time_s} s "
                f"it is at least {least_s}, or rollups that waited once would wait for ever.",
                code="l1_hold_too_short",
            )
        key = _hex(self.reporter, 32, "reporter of the L1", code="public_key_malformed") if self.reporter else b""
        return L1Terms(
            chain_id=self.chain_id,
            lag_blocks=self.lag_blocks,
            hold_s=self.hold_s,
            reporter=key,
            block_time_s=self.block_time_s,
            vault=_hex(self.vault, 20, "vault of the L1", code="address_malformed") if self.vault else b"",
        )


class ValidatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A validator of the first set. Shares are in parts per million."""

    operator: str
    """Ethereum address of who answers for the stake, 0x hex."""
    public_key: str
    """ed25519 key that signs votes, 0x hex of 32 bytes (`plait init` prints it)."""
    stake: int
    """Own stake in base units; 10**18 of them are one unit of voting power."""
    name: str = ""
    commission_ppm: int = 50_000
    commission_max_ppm: int = 200_000
    commission_step_ppm: int = 10_000
    """By how much the commission may change in an epoch."""

    def operator_address(self) -> Address:
        """20 bytes. Raises ConfigurationError (`address_malformed`)."""
        return Address(_hex(self.operator, 20, f"operator of validator {self.name!r}", code="address_malformed"))

    def key_bytes(self) -> bytes:
        """32 bytes. Raises ConfigurationError (`public_key_malformed`)."""
        return _hex(self.public_key, 32, f"public_key of validator {self.name!r}", code="public_key_malformed")


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account of the ledger that owns stake tokens from genesis."""

    address: str
    """0x hex."""
    balance: int
    """Base units."""

    def address_bytes(self) -> Address:
        """20 bytes. Raises ConfigurationError (`address_malformed`)."""
        return Address(_hex(self.address, 20, "address of an account", code="address_malformed"))


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network: its grid, its rollups, and who orders them. Without validators one process does (a devnet)."""

    genesis_time_s: int
    slot_ms: int = 1_000
    sub_blocks_per_slot: int = 4
    network_id: int = DEVNET_NETWORK_ID
    development_accounts: int = 10
    """How many of the public development accounts an embedded genesis funds, 0 to 10."""
    rollups: tuple[RollupConfig, ...]
    mode: NetworkMode = "marketplace"
    """Who may add rollups: everybody for a fee, nobody, or the one operator."""
    validators: tuple[ValidatorConfig, ...] = ()
    accounts: tuple[AccountConfig, ...] = ()
    ledger: dict[str, int] = {}
    """Governed parameters of the ledger that differ from their defaults, by name."""
    l1: L1Config | None = None
    """None: the L1 is synthetic."""

    def l1_state(self) -> L1State | None:
        """What is agreed about the L1 at genesis.

        Raises:
            ConfigurationError: `rollup_config_invalid`, `rollup_slower_than_l1`, `l1_config_invalid`,
                `l1_hold_too_short`.
        """
        bound = [rollup for rollup in self.rollups if rollup.opstack is not None]
        if self.l1 is None:
            if bound:
                raise ConfigurationError(
                    f"Rollup {bound[0].chain_id} derives from an L1 and the network names none.",
                    code="l1_config_invalid",
                )
            return None
        start = self.l1.start_facts()
        configs = sorted((config_of(rollup.opstack or {}) for rollup in bound), key=lambda config: config.chain_id)
        for rollup, config in zip(sorted(bound, key=lambda one: one.chain_id), configs, strict=True):
            self._check_binding(rollup, config, start)
        return L1State(terms=self.l1.terms(), bindings=tuple(configs), blocks=(start,))

    def _check_binding(self, rollup: RollupConfig, config: OpStackConfig, start: L1BlockFacts) -> None:
        assert self.l1 is not None
        anchor = rollup.anchor_block()
        origin = config.genesis_l1 if anchor is None else anchor.origin
        begins_s = config.genesis_time_s if anchor is None else anchor.timestamp
        wrong = {
            "l2_chain_id": config.chain_id != rollup.chain_id,
            "l1_chain_id": config.l1_chain_id != self.l1.chain_id,
            "genesis.l1": anchor is None and (origin.number, origin.hash) != (start.number, start.hash),
            "the anchor's L1 origin": anchor is not None and origin.number < start.number,
            "genesis.l2_time": anchor is None and begins_s != self.genesis_time_s,
            "the anchor's time": (begins_s - self.genesis_time_s) % config.block_time_s != 0
            or begins_s < self.genesis_time_s,
            "the anchor's chain": anchor is not None and anchor.config != config,
            "block_time": config.block_time_s * 1_000 != rollup.block_time_slots * self.slot_ms,
        }
        for field, differs in wrong.items():
            if differs:
                raise ConfigurationError(
                    f"{field} in the rollup configuration of {rollup.chain_id} is not the network's.",
                    code="rollup_config_invalid",
                    field=field,
                )
        if config.block_time_s > self.l1.block_time_s:
            raise ConfigurationError(
                f"Rollup {rollup.chain_id} has blocks of {config.block_time_s} s, its L1 of {self.l1.block_time_s} s; "
                "a rollup with longer blocks falls behind its L1, and holds up the others.",
                code="rollup_slower_than_l1",
            )

    def parameters(self) -> NetworkParameters:
        """As the ledger keeps them. Raises ConfigurationError when a value is out of range."""
        parameters = NetworkParameters(
            network_id=NetworkId(self.network_id),
            genesis_time_s=Seconds(self.genesis_time_s),
            slot_ms=Milliseconds(self.slot_ms),
            sub_blocks_per_slot=self.sub_blocks_per_slot,
        )
        parameters.check()
        return parameters

    def check(self) -> None:
        """Raises ConfigurationError with the first thing that cannot be used."""
        parameters = self.parameters()
        if not 1 <= len(self.rollups) <= ROLLUPS_MAX:
            raise ConfigurationError(
                f"A network has 1 to {ROLLUPS_MAX} rollups, not {len(self.rollups)}.", code="rollup_count"
            )
        if not 0 <= self.development_accounts <= len(DEVELOPMENT_ACCOUNTS):
            raise ConfigurationError(
                f"There are {len(DEVELOPMENT_ACCOUNTS)} development accounts, not {self.development_accounts}.",
                code="development_accounts",
            )
        seen: set[int] = set()
        for rollup in self.rollups:
            if rollup.chain_id in seen:
                raise ConfigurationError(
                    f"Chain id {rollup.chain_id} is given to two rollups; each needs its own.", code="rollup_duplicate"
                )
            seen.add(rollup.chain_id)
            rollup.parameters(Hash32(bytes(32))).check(parameters)
            rollup.owner_address()
            rollup.terms()
        check_interop_sets(rollup.parameters(Hash32(bytes(32))) for rollup in self.rollups)
        self.l1_state()
        self._check_stake()

    def ledger_parameters(self) -> LedgerParameters:
        """The ledger's parameters at genesis.

        Raises:
            ConfigurationError: `ledger_parameter_unknown`, `ledger_parameter_out_of_range`.
        """
        unknown = sorted(set(self.ledger) - set(PARAMETER_TABLE))
        if unknown:
            raise ConfigurationError(
                f"The ledger has no parameter {unknown[0]!r}; it has {', '.join(PARAMETER_TABLE)}.",
                code="ledger_parameter_unknown",
            )
        parameters = LedgerParameters(**self.ledger)
        parameters.check()
        return parameters

    def _check_stake(self) -> None:
        self.ledger_parameters()
        operators = [validator.operator_address() for validator in self.validators]
        keys = [validator.key_bytes() for validator in self.validators]
        accounts = [account.address_bytes() for account in self.accounts]
        if len(set(operators)) != len(operators):
            raise ConfigurationError("One operator has two validators; each may have one.", code="operator_duplicate")
        if len(set(keys)) != len(keys):
            raise ConfigurationError("Two validators have one public key.", code="public_key_duplicate")
        if len(set(accounts)) != len(accounts):
            raise ConfigurationError("One account is named twice.", code="account_duplicate")
        for validator in self.validators:
            if validator.stake < TOKEN:
                raise ConfigurationError(
                    f"Validator {validator.name!r} stakes {validator.stake}; {TOKEN} base units are the least, "
                    "they make one unit of voting power.",
                    code="stake_too_small",
                )
        if any(account.balance < 0 for account in self.accounts):
            raise ConfigurationError("The balance of an account is below 0.", code="balance_negative")
        if sum(validator.stake // TOKEN for validator in self.validators) > VOTING_POWER_MAX:
            raise ConfigurationError(
                f"The validators' voting power is above {VOTING_POWER_MAX} in all.", code="stake_too_large"
            )
        if self.mode == "single_operator" and len(self.validators) > 1:
            raise ConfigurationError(
                f"A network of one operator has one validator, not {len(self.validators)}.", code="validator_count"
            )

    def encode(self) -> bytes:
        """JSON as it lies in the data directory."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=2) + b"\n"


class L1Connection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where this node reads the L1."""

    rpc_url: str
    beacon_url: str = ""
    """Of a beacon node, where batches come in blobs; empty for none."""
    reporter_key: Path | None = None
    """File with the Ed25519 seed of the network's one reporter, 64 hex digits. Where there are validators, a
    validator's own key reports."""


class EngineConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OP Stack execution engine (op-geth, op-reth) behind the Engine API."""

    chain_id: int
    engine_url: str
    jwt_file: Path
    rpc_url: str = ""
    """Its ordinary RPC; empty: not used."""
    mode: Literal["import", "build"] = "import"
    """`build` has the engine build every new block too, before it is handed over, and compares the hashes."""
    verifier_url: str = ""
    """Of an op-node that derives this rollup; its view of the rollup is shown beside ours. Empty: none is asked."""


class AttesterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this node signs for PlaitRegistry on L1, and whether it pays for committing it."""

    registry: str
    """The contract's address, 0x hex."""
    key_file: Path | None = None
    """Private key of the validator's operator, or of the attester that it appointed, 64 hex digits; None on a node that
    only pays."""
    interval_heights: int = 14_400
    """A checkpoint is made of every height that is a multiple of it; all validators need the same."""
    payer_key_file: Path | None = None
    """Private key of the account that pays, used by nothing else; None on a node that does not pay."""
    peers: tuple[str, ...] = ()
    """JSON-RPC of the other validators' nodes, from which a node that pays gathers."""
    pay_after_s: int = 0
    """A node that pays waits so long for another one to do it."""
    fee_cap_max_wei: int = 0
    """It offers no more per gas than this; 0: no bound."""
    chain_id: int = 0
    """Of the L1; needed where the network itself names none."""


class ForcedInclusionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract of forced inclusions that this node keeps an eye on."""

    contract: str
    """Its address, 0x hex."""
    acknowledged: dict[str, int] = {}
    """By rollup id: so many missed inclusions are known to the operator and raise no alarm any more."""


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A node: where it keeps its data and where it listens. `data_dir` None keeps everything in memory."""

    data_dir: Path | None = None
    faces: FacesSettings = FacesSettings()
    """Interfaces of other programs of the OP Stack that this node answers; none by default."""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    rollup_port_base: int | None = DEFAULT_ROLLUP_PORT_BASE
    """The first rollup's own port, the next one's follows; None for none."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names besides localhost by which clients may reach this node; "*" for any."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins that may use this node from a browser; "*" for any."""
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"
    recheck_own: bool = False
    """Execute own proposals a second time, as a validator of a network does with foreign ones."""
    relay: Literal["off", "free", "paid"] = "free"
    """Which messages between rollups this node delivers: none, all, or those that pay for it."""
    relayer_key: Path | None = None
    """File with the key that signs and pays deliveries; None for the public one of a devnet."""
    snapshots: bool = True
    snapshot_every_transactions: int = SNAPSHOT_EVERY_TRANSACTIONS
    """A snapshot is written after this many transactions, and after SNAPSHOT_EVERY_HEIGHTS heights in any case."""
    network_snapshot_every_heights: int | None = None
    """At multiples of it a snapshot for other nodes is written; 0: none. None: NETWORK_SNAPSHOT_EVERY_HEIGHTS with
    CometBFT, none in a node that decides alone."""
    keep_heights: int | None = None
    """How many heights of the decided log, and of CometBFT's blocks, are kept at least; None: all. What a snapshot
    needs stays in any case."""
    engine: EngineName = "solo"
    """`cometbft` agrees with other nodes; `solo` decides alone."""
    name: str = "node"
    """What peers and logs call this node."""
    p2p_host: str = "127.0.0.1"
    p2p_port: int = DEFAULT_P2P_PORT
    """Where CometBFT listens for its peers."""
    comet_rpc_port: int = DEFAULT_COMET_RPC_PORT
    """Of CometBFT's own RPC; this node sends it transactions there."""
    comet_rpc_host: str = "127.0.0.1"
    """Where that RPC listens. New nodes that fetch a snapshot ask it; it has no limits of its own, so put a proxy in
    front of it rather than open it."""
    comet_metrics_port: int = 0
    """Of CometBFT's own metrics on 127.0.0.1; 0 for none."""
    external_address: str = ""
    """host:port under which peers reach this node, when it is another one than they see."""
    peers: tuple[str, ...] = ()
    """Peers to keep a connection to: id@host:port."""
    pex: bool = True
    """Learn about further peers from peers."""
    sync_servers: tuple[str, ...] = ()
    """host:port of at least two CometBFT RPCs: a node that has nothing yet fetches a snapshot with their help instead
    of replaying everything. Empty: it replays."""
    sync_trust_height: int = 0
    """A height that the operator trusts, not older than the trusting period; with `sync_servers`."""
    sync_trust_hash: str = ""
    """The hash of CometBFT's block of that height, 64 hex digits."""
    l1: L1Connection | None = None
    """The L1 node; needed by a node of a network with OP Stack rollups that reports what it sees."""
    engines: tuple[EngineConnection, ...] = ()
    """Execution engines that this node drives, one a rollup at most."""
    batcher: BatcherSettings | None = None
    """Set on the node that posts the rollups' batches to L1."""
    attester: AttesterSettings | None = None
    """Set on nodes that sign, or pay for, checkpoints on L1."""
    forced_inclusion: ForcedInclusionSettings | None = None
    trace_dir: Path | None = None
    """Where every request of CometBFT is noted, for examinations; None for nowhere."""

    def network_snapshot_interval(self) -> int:
        """Heights between two snapshots for other nodes; 0 for none."""
        if self.network_snapshot_every_heights is not None:
            return self.network_snapshot_every_heights
        return NETWORK_SNAPSHOT_EVERY_HEIGHTS if self.engine == "cometbft" else 0

    def comet_rpc_url(self) -> str:
        """Where this node itself reaches CometBFT's RPC."""
        everywhere = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1" if self.comet_rpc_host in everywhere else self.comet_rpc_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.comet_rpc_port}"

    def check(self) -> None:
        """Raises ConfigurationError (`port_out_of_range`, `peer_malformed`, `snapshot_interval`, `keep_heights`,
        `data_directory_missing`, `sync_invalid`)."""
        if self.sync_servers and (
            len(self.sync_servers) < 2
            or self.sync_trust_height < 1
            or not re.fullmatch(r"[0-9a-fA-F]{64}", self.sync_trust_hash)
            or not all(_SERVER.fullmatch(server) for server in self.sync_servers)
        ):
            raise ConfigurationError(
                "Fetching a snapshot needs two or more sync_servers (host:port), sync_trust_height of 1 or more and "
                "sync_trust_hash with the 64 hex digits of that block's hash.",
                code="sync_invalid",
            )
        if self.snapshot_every_transactions < 1:
            raise ConfigurationError(
                f"A snapshot after {self.snapshot_every_transactions} transactions is not possible; 1 is the least.",
                code="snapshot_interval",
            )
        if (self.network_snapshot_every_heights or 0) < 0:
            raise ConfigurationError(
                f"A snapshot for other nodes every {self.network_snapshot_every_heights} heights is not possible; 0 "
                "writes none.",
                code="snapshot_interval",
            )
        if self.keep_heights is not None and self.keep_heights < LOG_KEEP_HEIGHTS_MIN:
            raise ConfigurationError(
                f"keep_heights is {self.keep_heights}; a node keeps {LOG_KEEP_HEIGHTS_MIN} heights at least.",
                code="keep_heights",
            )
        if self.engine == "cometbft" and self.data_dir is None:
            raise ConfigurationError("A node of a network keeps its data on disk.", code="data_directory_missing")
        for peer in self.peers:
            if not _PEER.fullmatch(peer):
                raise ConfigurationError(
                    f"{peer!r} is not a peer; write id@host:port, the id as `plait init` prints it.",
                    code="peer_malformed",
                )
        for name in ("port", "rollup_port_base", "p2p_port", "comet_rpc_port", "comet_metrics_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65_535:
                raise ConfigurationError(
                    f"{name} is {port}; a port lies in 1 to 65535 (0 lets the system choose).", code="port_out_of_range"
                )


def decode_network(data: bytes, name: str) -> NetworkConfig:
    """Reads a network configuration from JSON. `name` is the file's, for the error.

    Raises:
        ConfigurationError: `configuration_invalid` with the field that is wrong, or what `NetworkConfig.check` raises.
    """
    try:
        config = msgspec.json.decode(data, type=NetworkConfig)
    except DAMAGED as error:
        raise ConfigurationError(f"{name} is not a network configuration: {said(error)}.", file=name) from error
    config.check()
    return config


def embedded_genesis(network: NetworkConfig) -> dict[RollupId, bytes]:
    """op-geth's genesis JSON of every rollup, funded with the development accounts and, beside them, the relayer's."""
    funded = DEVELOPMENT_ACCOUNTS[: network.development_accounts]
    relayers = (DEVELOPMENT_RELAYER,) if funded else ()
    return {
        RollupId(rollup.chain_id): genesis_json(
            GenesisSpecification(
                chain_id=ChainId(rollup.chain_id),
                timestamp=Seconds(network.genesis_time_s),
                fork=rollup.fork,
                gas_limit=Gas(rollup.gas_limit),
                eip1559_denominator=rollup.eip1559_denominator,
                eip1559_elasticity=rollup.eip1559_elasticity,
                min_base_fee=Wei(rollup.min_base_fee),
                interop=rollup.interop_set != 0,
                balances={
                    account.address: DEVELOPMENT_BALANCE_WEI
                    for account in (*funded, *(relayers if rollup.interop_set != 0 else ()))
                },
            )
        )
        for rollup in network.rollups
    }


def rollup_of_genesis(data: bytes, name: str, template: RollupConfig) -> RollupConfig:
    """The configuration of a rollup with an own genesis: chain id, fork and base fee rule are read from it.

    Args:
        data: op-geth's genesis JSON.
        name: of the file, for errors.
        template: everything that a genesis does not say (block time, ordering, scalars); its gas limit is the blocks'.
            Its interop set holds only when the genesis has the predeploys of interop.

    Raises:
        ConfigurationError: `genesis_malformed`.
    """
    document = _document(data, name)
    config = document["config"]
    forks = [fork for fork in FORKS if isinstance(config.get(f"{fork}Time"), int)]
    if not forks:
        raise ConfigurationError(
            f"{name} activates none of the forks {', '.join(FORKS)}; Plait needs holoceneTime at least.",
            code="genesis_malformed",
            file=name,
        )
    optimism = config.get("optimism") or {}
    return msgspec.structs.replace(
        template,
        chain_id=config["chainId"],
        fork=forks[-1],
        eip1559_denominator=optimism.get("eip1559DenominatorCanyon", template.eip1559_denominator),
        eip1559_elasticity=optimism.get("eip1559Elasticity", template.eip1559_elasticity),
        interop_set=template.interop_set if _has_interop(document) else 0,
    )


def genesis_at(data: bytes, name: str, genesis_time_s: Seconds) -> bytes:
    """The same genesis with the network's genesis time as its timestamp. Raises ConfigurationError
    (`genesis_malformed`)."""
    document = _document(data, name)
    if document.get("timestamp") == hex(genesis_time_s):
        return data
    document["timestamp"] = hex(genesis_time_s)
    return msgspec.json.encode(document)


def fingerprint(network: NetworkConfig, genesis: Mapping[RollupId, bytes]) -> Hash32:
    """32 bytes that name a network: its configuration and every genesis. What lies in a data directory carries them."""
    digest = hashlib.sha256(b"plait/network/1")
    digest.update(hashlib.sha256(network.encode()).digest())
    for rollup_id in sorted(genesis):
        digest.update(rollup_id.to_bytes(8, "big") + hashlib.sha256(genesis[rollup_id]).digest())
    return Hash32(digest.digest())


def _has_interop(document: Mapping[str, Any]) -> bool:
    """Whether the genesis has code at CrossL2Inbox."""
    accounts = {str(address).lower().removeprefix("0x"): account for address, account in document["alloc"].items()}
    return bool(accounts.get(CROSS_L2_INBOX.hex(), {}).get("code"))


def _document(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except DAMAGED as error:
        raise ConfigurationError(f"{name} is not JSON: {said(error)}.", code="genesis_malformed", file=name) from error
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("chainId"), int):
        raise ConfigurationError(
            f"{name} is not a genesis as op-geth reads it: it has no config.chainId.",
            code="genesis_malformed",
            file=name,
        )
    return dict(document)


_SERVER = re.compile(r"[^@\s,/]+:[0-9]{1,5}")
_PEER = re.compile(r"[0-9a-f]{40}@[^@\s,]+:[0-9]{1,5}")


def _hex(text: str, length: int, what: str, *, code: str) -> bytes:
    if not re.fullmatch(rf"0x[0-9a-fA-F]{{{2 * length}}}", text):
        raise ConfigurationError(f"The {what} is {text!r}; it is 0x and {2 * length} hex digits.", code=code)
    return bytes.fromhex(text[2:])
