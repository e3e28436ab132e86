"""Typed surface of the Rust core (PyO3). Coarse calls, bytes in, compact records out; no policy.

Conventions
    hash, root      32 bytes
    address         20 bytes
    wei, gas        Python int, >= 0 (wei < 2**256, gas < 2**64)
    block selector  int >= 0 (a sealed block's number), or -1 for the pending (open) block
    *_json methods  return UTF-8 JSON bytes with exactly the fields and encodings that op-geth answers, or None when absent
Every call that executes or hashes more than a few microseconds releases the GIL. All classes are safe to share between threads.
Failures raise `NativeError` with `.code` (stable snake_case string) and a sentence.
"""

from collections.abc import Sequence
from typing import Literal, final

PENDING: int  # -1

class NativeError(Exception):
    code: str

# ---------------------------------------------------------------- transactions
@final
class Transaction:
    """One signed, decoded user transaction with its recovered sender. Immutable."""

    raw: bytes
    hash: bytes
    sender: bytes
    type: int  # 0 legacy, 1 EIP-2930, 2 EIP-1559, 4 EIP-7702
    nonce: int
    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    value: int
    to: bytes | None
    input_bytes: int
    size: int  # len(raw), bytes
    da_size: int  # Fjord estimate: max(100, linear FastLZ estimate) in bytes, unscaled by the footprint scalar
    intrinsic_gas: int  # incl. access list, authorisations, init code and the EIP-7623 floor: max of both
    def effective_priority_fee(self, base_fee: int) -> int | None: ...  # None when max fee < base fee
    def max_cost(self) -> int: ...  # value + gas_limit * max_fee_per_gas (L1 and operator fee not included)

@final
class Refusal:
    """Why raw bytes are not an acceptable user transaction."""

    code: Literal[
        "rlp_malformed",
        "rlp_trailing_bytes",
        "transaction_type_unsupported",  # 0x7E, 0x7D, blob, unknown
        "chain_id_wrong",
        "chain_id_missing",  # legacy without EIP-155
        "signature_invalid",
        "signature_high_s",
        "transaction_too_large",
        "fee_cap_below_tip",
        "nonce_max",
        "authorization_list_empty",
        "creation_unsupported",  # 7702 without `to`
        "init_code_too_large",
    ]
    message: str

def decode_transactions(
    raws: Sequence[bytes], chain_id: int, *, size_max: int = 131_072, senders: bytes | None = None
) -> list[Transaction | Refusal]:
    """Decodes and recovers senders in parallel, GIL released. `senders` (20 bytes each, concatenated) skips recovery: only for our own log."""

def keccak256(data: bytes) -> bytes: ...
def keccak256_many(items: Sequence[bytes]) -> list[bytes]: ...
def merkle_root(items: Sequence[bytes]) -> bytes:
    """RFC 6962 tree hash (SHA-256) over the items."""

# ---------------------------------------------------------------- storage of derived data
@final
class Store:
    """Blocks, receipts and indexes of all rollups of a node; everything in it can be rebuilt from the decided log."""

    @staticmethod
    def open(path: str) -> Store: ...
    @staticmethod
    def in_memory() -> Store: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...
    def statistics(self) -> dict[str, int]: ...

# ---------------------------------------------------------------- a rollup and its sessions
@final
class Attributes:
    """What opens a block (the OP Stack's payload attributes). `deposits`: raw 0x7E transactions, the L1-attributes deposit first."""

    def __init__(
        self,
        *,
        timestamp: int,
        prev_randao: bytes,
        fee_recipient: bytes,
        parent_beacon_block_root: bytes,
        gas_limit: int,
        deposits: Sequence[bytes],
        eip1559_denominator: int,
        eip1559_elasticity: int,
        min_base_fee: int,
    ) -> None: ...

@final
class OpenBlock:
    """Facts of the open block."""

    number: int
    timestamp: int
    parent_hash: bytes
    base_fee: int
    gas_limit: int
    gas_used: int
    da_footprint: int
    da_footprint_scalar: int
    transaction_count: int  # deposits included
    deposit_count: int

@final
class SealedBlock:
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    withdrawals_root: bytes
    gas_used: int
    da_footprint: int
    base_fee: int
    transaction_count: int
    header_rlp: bytes

@final
class Outcomes:
    """Results of one `run`, in the order of its input; columns are cheap, items are made when asked for."""

    def __len__(self) -> int: ...
    statuses: bytes  # per transaction: 1 succeeded, 0 reverted or halted (included), 2 not applicable (left out, no trace in state)
    gas_used: int  # total of the included
    da_footprint: int
    included: int
    def transaction_gas_used(self, index: int) -> int: ...
    def output(self, index: int) -> bytes: ...
    def failure(self, index: int) -> tuple[str, str] | None:
        """(code, sentence) of a status 0 or 2. Codes of status 2: nonce_too_low, nonce_too_high, insufficient_funds, fee_cap_too_low,
        block_gas_limit_reached, block_da_limit_reached, intrinsic_gas_too_low, sender_not_eoa, transaction_not_applicable.
        Codes of status 0: reverted, out_of_gas, invalid_opcode, halted."""
    def logs(self, index: int) -> list[tuple[bytes, list[bytes], bytes]]: ...  # (address, topics, data)

@final
class Session:
    """A candidate continuation of a rollup: an overlay over the rollup's decided state. Dropping it leaves no trace."""

    def fork(self) -> Session: ...  # cheap, independent
    @property
    def open_block(self) -> OpenBlock | None: ...
    @property
    def head_number(self) -> int: ...  # last sealed block, blocks sealed in this session included
    @property
    def head_hash(self) -> bytes: ...
    @property
    def head_timestamp(self) -> int: ...
    def open(
        self, attributes: Attributes
    ) -> Outcomes: ...  # executes pre-block system calls and the deposits; error code `block_already_open`
    def run(self, transactions: Sequence[Transaction], *, on_invalid: Literal["skip", "stop"] = "skip") -> Outcomes:
        """Appends transactions to the open block. A status-2 transaction is left out; with "stop" the run ends after it (Outcomes then has fewer entries)."""
    def checkpoint(self) -> int: ...
    def rollback(self, checkpoint: int) -> None: ...  # undoes all run() since; nested; later checkpoints become invalid
    def seal(self) -> SealedBlock: ...
    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bool]]: ...  # (nonce, balance, has_code)

def run_many(
    work: Sequence[tuple[Session, Sequence[Transaction]]], *, on_invalid: Literal["skip", "stop"] = "skip"
) -> list[Outcomes]:
    """Runs disjoint sessions in parallel."""

def advance_many(work: Sequence[tuple[Session, Sequence[Attributes]]]) -> list[list[SealedBlock]]:
    """For each session and each attributes in order: seal the open block if there is one, then open the next. In parallel over sessions."""

@final
class CallResult:
    success: bool
    gas_used: int
    output: bytes
    error: str | None  # "execution reverted", "out of gas", ... as op-geth words it

@final
class Rollup:
    @staticmethod
    def from_genesis(genesis_json: bytes, store: Store) -> Rollup:
        """op-geth's genesis format. Codes: genesis_malformed, genesis_fork_unsupported (a fork after genesis time, or none of Cancun/Ecotone)."""
    @staticmethod
    def from_snapshot(genesis_json: bytes, store: Store, path: str) -> Rollup: ...
    def write_snapshot(self, path: str) -> None:
        """Decided state: last sealed block's state, recent hashes, the open block's attributes and transactions. Atomic (temp, fsync, rename); CRC; may run in a thread while the rollup goes on."""
    chain_id: int
    genesis_hash: bytes
    @property
    def head(self) -> SealedBlock: ...
    @property
    def open_block(self) -> OpenBlock | None: ...
    def session(self) -> Session: ...
    def commit(self, session: Session) -> None:
        """The session becomes the rollup's decided state; its sealed blocks are written to the store. Code `session_stale` when the rollup moved since the session began."""
    def statistics(self) -> dict[str, int]: ...

    # reads: `at` is a sealed block's number (last 128 for state; all for blocks) or PENDING. Code `state_unavailable` beyond.
    def accounts(self, addresses: Sequence[bytes], at: int) -> list[tuple[int, int, bool]]: ...
    def l1_cost_parameters(self, at: int) -> tuple[int, int, int, int, int, int, int]:
        """(l1_base_fee, base_fee_scalar, l1_blob_base_fee, blob_base_fee_scalar, operator_fee_scalar, operator_fee_constant, da_footprint_scalar) from L1Block."""
    def additional_costs(self, transactions: Sequence[Transaction], at: int) -> list[int]:
        """L1 data fee + operator fee (on gas_limit) in wei per transaction, as op-geth's pool charges them."""
    def code(self, address: bytes, at: int) -> bytes: ...
    def storage(self, address: bytes, slot: bytes, at: int) -> bytes: ...
    def proof_json(self, address: bytes, slots: Sequence[bytes], at: int) -> bytes: ...
    def call(
        self,
        request_json: bytes,
        at: int,
        overrides_json: bytes | None,
        block_overrides_json: bytes | None,
        gas_cap: int,
    ) -> CallResult: ...
    def estimate_gas(self, request_json: bytes, at: int, overrides_json: bytes | None, gas_cap: int) -> int:
        """Raises NativeError code `execution_reverted` with attribute `data: bytes`, `gas_required_exceeds_allowance`, ..."""
    def access_list_json(self, request_json: bytes, at: int, gas_cap: int) -> bytes: ...
    def trace_transaction_json(
        self, hash: bytes, options_json: bytes
    ) -> bytes | None: ...  # callTracer (default), prestateTracer if cheap, structLog refused
    def trace_call_json(self, request_json: bytes, at: int, options_json: bytes, gas_cap: int) -> bytes: ...
    def block_json(self, at: int, full: bool) -> bytes | None: ...
    def block_number_by_hash(self, hash: bytes) -> int | None: ...
    def header_json(self, at: int) -> bytes | None: ...  # the newHeads shape
    def block_receipts_json(self, at: int) -> bytes | None: ...
    def receipt_json(self, hash: bytes) -> bytes | None: ...  # sealed only
    def transaction_json(self, hash: bytes) -> bytes | None: ...  # sealed, or in the open block (block fields null)
    def transaction_by_index_json(self, at: int, index: int) -> bytes | None: ...
    def transaction_location(
        self, hash: bytes
    ) -> tuple[int, int] | None: ...  # (block number, index); number = open block's while open
    def pending_outcome(
        self, hash: bytes
    ) -> (
        tuple[int, int, list[tuple[bytes, list[bytes], bytes]]] | None
    ): ...  # (status, gas_used, logs) in the open block
    def raw_transaction(self, hash: bytes) -> bytes | None: ...
    def raw_block(self, at: int) -> bytes | None: ...
    def raw_header(self, at: int) -> bytes | None: ...
    def raw_receipts(self, at: int) -> list[bytes] | None: ...
    def block_transaction_count(self, at: int) -> int | None: ...
    def logs_json(
        self,
        from_block: int,
        to_block: int,
        addresses: Sequence[bytes],
        topics: Sequence[Sequence[bytes] | None],
        logs_max: int,
    ) -> bytes:
        """JSON array, blocks inclusive; blooms skip blocks. Code `too_many_logs` past logs_max."""
    def fee_history_json(self, block_count: int, newest: int, percentiles: Sequence[float]) -> bytes: ...
    def execution_payload_json(self, at: int) -> tuple[bytes, bytes]:
        """(ExecutionPayloadV4 JSON for engine_newPayloadV4, parent beacon block root)."""
