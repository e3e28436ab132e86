"""Typed surface of the Rust core (PyO3). Coarse calls, bytes in, compact records out; no policy.

Conventions
    hash, root      32 bytes
    address         20 bytes
    wei, gas        Python int, >= 0 (wei < 2**256, gas < 2**64)
    block selector  int >= 0 (a sealed block's number), or -1 for the pending (open) block; the head while none is open
    *_json methods  return UTF-8 JSON bytes with the fields and encodings that op-geth answers, or None when absent
Calls that execute or hash for more than a few microseconds release the GIL. All classes are safe to share between threads; calls on
one session wait for each other.

Failures raise `NativeError` with `.code` (stable snake_case string) and a sentence. Besides the codes named at each method:
`internal` (a bug of the core: a broken invariant or a caught panic), `store_engine`, `store_io`, `store_corrupt`, `store_closed`,
`store_locked` from whatever touches a store. Arguments of a wrong length or type raise ValueError or TypeError.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, final

PENDING: int  # -1
SHARED_UNDO_BLOCKS: int  # blocks whose undo records `FrozenRollup.write_blocks` hands on

class NativeError(Exception):
    """A refused call."""

    code: str
    data: bytes  # revert data of an executed call; empty otherwise

# ---------------------------------------------------------------- transactions
@final
class Transaction:
    """One signed, decoded user transaction with its recovered sender. Immutable; equal and hashed by its hash."""

    raw: bytes
    hash: bytes
    sender: bytes
    type: int  # 0 legacy, 1 EIP-2930, 2 EIP-1559, 4 EIP-7702
    nonce: int
    gas_limit: int
    max_fee_per_gas: int  # gas price of types 0 and 1
    max_priority_fee_per_gas: int  # gas price of types 0 and 1
    value: int
    to: bytes | None
    input: bytes
    input_bytes: int
    size: int  # len(raw), bytes
    da_size: int  # Fjord estimate: max(100, linear FastLZ estimate) in bytes, unscaled by the footprint scalar
    intrinsic_gas: int  # incl. access list, authorisations, init code and the EIP-7623 floor: max of both
    def effective_priority_fee(self, base_fee: int) -> int | None: ...  # None when max fee < base fee
    def max_cost(self) -> int: ...  # value + gas_limit * max_fee_per_gas (L1 and operator fee not included)
    def access_list_keys(self, address: bytes) -> list[bytes]:
        """Storage keys of every access-list entry of the address, joined in order; empty when there is none."""

@final
class Refusal:
    """Why raw bytes are not an acceptable user transaction."""

    code: Literal[
        "rlp_malformed",  # also: not the canonical encoding of what it decodes to
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
    raws: Sequence[bytes],
    chain_id: int,
    *,
    size_max: int = 131_072,
    senders: bytes | None = None,
    unprotected: bool = False,
) -> list[Transaction | Refusal]:
    """Decodes and recovers senders in parallel. `senders` (20 bytes each, concatenated) skips recovery: only for our own log.

    `unprotected` accepts legacy transactions without EIP-155 (no `chain_id_missing`), as blocks of the OP Stack may hold them.

    A sender that was recovered is remembered by the transaction's hash, in a bounded memory of this process: decoding the same
    bytes again gives the same, without a recovery.
    """

def recovery_forget() -> None: ...  # empties the memory of senders; for measurements, which have to begin alike
def recovery_statistics() -> dict[str, int]:
    """`recovered` and `remembered` senders since the start of the process; `entries` and `entries_max` of the memory of them."""

def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature (64 bytes) by a key (32 bytes) is valid by the rules of ZIP-215, CometBFT's; False for other lengths."""

def ed25519_verify_many(signed: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """`ed25519_verify` of each (public key, message, signature), in parallel."""

def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """Signature (64 bytes) by the key of a 32-byte seed (RFC 8032). ValueError: another length."""

def ed25519_public_key(seed: bytes) -> bytes:
    """Public key (32 bytes) of a 32-byte seed. ValueError: another length."""

def recover_signer(digest: bytes, signature: bytes) -> bytes | None:
    """Address that signed a 32-byte digest. `signature`: r, s, v (0, 1, 27 or 28), 65 bytes, low s; None when it is no such thing."""

def sign_digest(private_key: bytes, digest: bytes) -> bytes:
    """r, s, v (0 or 1) of a deterministic signature (RFC 6979) with low s, 65 bytes. ValueError: zero, or not below the order."""

def declaring(transactions: Sequence[Transaction], address: bytes) -> list[int]:
    """Positions of the transactions whose access list names the address (an entry without keys counts), rising."""

def keccak256(data: bytes) -> bytes: ...
def keccak256_many(items: Sequence[bytes]) -> list[bytes]: ...
def ordered_trie_root(values: Sequence[bytes]) -> bytes:
    """Root of the trie of rlp(position) -> value: a header's transactions root and receipts root over their EIP-2718 bytes."""

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
    def head_number(self, chain_id: int) -> int | None: ...  # greatest sealed block held, also above a rollup's head
    def remove_above(self, chain_id: int, number: int) -> int: ...  # blocks of greater number go; returns how many
    def statistics(self) -> dict[str, int]: ...  # disk_bytes, write_buffer_bytes

# ---------------------------------------------------------------- a rollup and its sessions
@final
class Attributes:
    """What opens a block (the OP Stack's payload attributes).

    `deposits`: raw 0x7E transactions, the L1-attributes deposit first (in Jovian's layout from Jovian on). Denominator and
    elasticity both 0 mean the chain's own.
    """

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
    log_count: int  # logs so far, the deposits' included; the next log gets this index

@final
class SealedBlock:
    """Facts of a sealed block."""

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
    """Results of one `run`, in the order of its input; columns are cheap, items are made when asked for (IndexError beyond)."""

    def __len__(self) -> int: ...
    statuses: bytes  # 1 succeeded, 0 reverted or halted (included), 2 not applicable (left out, no trace in state)
    gas_used: int  # total of the included
    da_footprint: int
    included: int
    first_log_index: int  # logs in the block before the run, the deposits' included
    def transaction_gas_used(self, index: int) -> int: ...
    def output(self, index: int) -> bytes: ...
    def failure(self, index: int) -> tuple[str, str] | None:
        """(code, sentence) of a status 0 or 2.

        Codes of status 2: nonce_too_low, nonce_too_high, insufficient_funds, fee_cap_too_low, block_gas_limit_reached,
        block_da_limit_reached, intrinsic_gas_too_low, sender_not_eoa, transaction_not_applicable.
        Codes of status 0: reverted, out_of_gas, invalid_opcode, halted.
        """
    def logs(self, index: int) -> list[tuple[bytes, list[bytes], bytes]]: ...  # (address, topics, data)
    def logs_of(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bytes, list[bytes], bytes]]:
        """(index of the outcome, log's index in the block, address, topics, data) of what the addresses emitted, in order.

        Nothing is made in Python for other logs. Transactions of status 0 and 2 have no logs.
        """

@final
class Session:
    """A candidate continuation of a rollup: an overlay over the rollup's decided state. Dropping it leaves no trace."""

    def fork(self) -> Session:
        """An independent copy. Costs what was changed since the last fork or commit, not what the session holds."""
    @property
    def open_block(self) -> OpenBlock | None: ...
    is_remote: bool  # whether what it does not know is read elsewhere
    @property
    def unwound_to(self) -> int | None:
        """The block this session of `Rollup.session_at` goes on from; None for others, and once it was committed."""
    @property
    def head_number(self) -> int: ...  # last sealed block, blocks sealed in this session included
    @property
    def head_hash(self) -> bytes: ...
    @property
    def head_timestamp(self) -> int: ...
    def open(self, attributes: Attributes) -> Outcomes:
        """Executes the pre-block system calls and the deposits, which are always included; the outcomes are the deposits'.

        Codes: block_already_open, attributes_invalid, deposit_malformed, deposit_gas_exceeds_block. The session is unchanged then.
        """
    def run(self, transactions: Sequence[Transaction], *, on_invalid: Literal["skip", "stop"] = "skip") -> Outcomes:
        """Appends transactions to the open block; one of status 2 is left out. Code: block_not_open.

        With "stop" the run ends after the first of status 2 (Outcomes then has fewer entries).
        """
    def prefetch(self, keys: Sequence[tuple[bytes, Sequence[bytes]]], transactions: Sequence[Transaction] = ()) -> None:
        """Reads accounts with slots, and all that the transactions name, ahead of running; only on remote state, else nothing."""
    def checkpoint(self) -> int:
        """A point within the open block to come back to. Code: block_not_open."""
    def rollback(self, checkpoint: int) -> None:
        """Undoes every run since; nested. The checkpoint stays, later ones become invalid. Codes: checkpoint_invalid, block_not_open."""
    def seal(self) -> SealedBlock:
        """Ends the open block: roots and hash. Its checkpoints end with it. Code: block_not_open."""
    def accounts(self, addresses: Sequence[bytes]) -> list[tuple[int, int, bool]]: ...  # (nonce, balance, has_code)
    def storage(self, address: bytes, slot: bytes) -> bytes: ...  # 32 bytes, zero where nothing was stored
    def log(self, number: int, index: int) -> tuple[int, bytes, list[bytes], bytes] | None:
        """(block's timestamp, address, topics, data) of the log with this index among all logs of block `number`.

        Looks in the open block, the blocks sealed in this session and the rollup's sealed blocks, of which receipts are read
        from the store and kept (1,024 blocks, 16 MiB). None above the session's tip, beyond the block's logs, and for numbers that are
        negative or beyond 64 bits. Codes: store_corrupt (also when the store lacks a sealed block); session_stale (the session began
        before an unwinding, and the block is older than the 384 that every session knows by hash).
        """
    def call(self, sender: bytes, to: bytes, data: bytes, gas: int) -> CallResult:
        """A call without value in the open block as it stands, the session's changes included; nothing is kept.

        Gas price and base fee are zero; nonce, balance, the sender's code and the block's gas are not checked, as in
        `Rollup.call`. `gas` includes the intrinsic gas. Codes: block_not_open, intrinsic_gas_too_low, transaction_not_applicable.
        """

def run_many(
    work: Sequence[tuple[Session, Sequence[Transaction]]], *, on_invalid: Literal["skip", "stop"] = "skip"
) -> list[Outcomes]:
    """Runs disjoint sessions in parallel."""

def advance_many(work: Sequence[tuple[Session, Sequence[Attributes]]]) -> list[list[SealedBlock]]:
    """For each session and each attributes in order: seal the open block if there is one, then open the next. In parallel."""

@final
class CallResult:
    """Result of a call that ran."""

    success: bool
    gas_used: int
    output: bytes
    error: str | None  # "execution reverted", "execution reverted: reason", "out of gas", ... as op-geth words it

class RemoteReader(Protocol):
    """Where the state of a remote rollup is. Called by any thread that works on a session, holding the interpreter."""

    def read(
        self,
        number: int,
        block_hash: bytes,
        accounts: list[tuple[bytes, list[bytes]]],
        codes: list[tuple[bytes, bytes]],
        nodes: list[bytes],
        headers: tuple[int, int] | None,
    ) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """(trie nodes, codes, headers) at the block: RLP nodes of the proofs of the accounts with their slots, in any order, and
        those of `nodes` (hashes) that it can give; the codes of (address, code hash); header RLPs of the blocks from the first number of
        `headers` down to the second.

        Whatever it raises becomes remote_unavailable."""

@final
class FrozenRollup:
    """A rollup's decided state at one moment; keeps that state in memory as long as it lives."""

    head_number: int
    head_hash: bytes
    def open_transactions(self) -> list[bytes]: ...  # raw user transactions of the open block, in order
    def write_snapshot(self, path: str) -> None: ...  # as Rollup.write_snapshot did at that moment
    def write_state(self, path: str) -> int:
        """Writes the head's state, for `Rollup.take_over`: synced, equal bytes on every node; returns their number.

        Codes of this and the next: snapshot_io, store_corrupt (the store lacks a block).
        """
    def write_blocks(self, path: str, highest: int, lowest: int) -> int: ...  # blocks in falling order, likewise

@final
class Rollup:
    """A rollup's decided state, its last 128 states, and its blocks in the store.

    `undo_blocks`: so many sealed blocks keep in the store what takes their changes of the state back (about 50 bytes for each
    account or slot that a block changed), so that `session_at` reaches as many blocks back, whatever the states in memory, also
    after a restart. Zero keeps none; then it reaches as far as the states in memory, which is the head alone after a restart. The
    records of the last SHARED_UNDO_BLOCKS blocks go with `FrozenRollup.write_blocks`, checked by whoever takes over.
    """

    @staticmethod
    def from_genesis(genesis_json: bytes, store: Store, *, undo_blocks: int = 0) -> Rollup:
        """Starts at block 0 of op-geth's genesis format.

        Codes: genesis_malformed; genesis_fork_unsupported (a fork after genesis time, a gap, or Ecotone missing);
        store_genesis_mismatch (the store holds another genesis of this chain id).
        """
    @staticmethod
    def from_snapshot(genesis_json: bytes, store: Store, path: str, *, undo_blocks: int = 0) -> Rollup:
        """Goes on where `write_snapshot` was called. Codes: snapshot_io, snapshot_format, snapshot_truncated, snapshot_corrupt,
        snapshot_root_mismatch, snapshot_code_missing, snapshot_foreign (of another rollup), and those of from_genesis."""
    def write_snapshot(self, path: str) -> None:
        """Decided state: last sealed block's state, recent hashes, the open block's attributes and transactions. Of a remote rollup
        what is known of the state: all that any step or read before this call used, for `remote_from_snapshot`. What a reader answers
        after this call has begun may be missing: keep it elsewhere until the next snapshot.

        Atomic (temporary file, fsync, rename), checksummed; may run in a thread while the rollup goes on.
        """
    @staticmethod
    def take_over(
        genesis_json: bytes,
        store: Store,
        *,
        state: str,
        blocks: Sequence[str],
        head_number: int,
        head_hash: bytes,
        lowest: int,
        attributes: Attributes | None,
        transactions: Sequence[bytes],
        undo_blocks: int = 0,
    ) -> Rollup:
        """A rollup at an agreed head, from files that a stranger may have sent: `FrozenRollup.write_state` and `write_blocks`.

        `blocks`: paths, the file with the head first; they must reach down to block `lowest` exactly. `attributes` open the open
        block (None when there is none), which then runs `transactions`. Everything is checked against `head_hash`; blocks are put
        into the store once they were found right, and stay when a later one is not.

        Codes: snapshot_blocks_wrong, snapshot_state_wrong, snapshot_open_block_wrong, and those of from_snapshot.
        """
    @staticmethod
    def remote(
        genesis_json: bytes,
        store: Store,
        anchor: bytes,
        reader: RemoteReader,
        *,
        genesis_hash: bytes,
        undo_blocks: int = 0,
        known_nodes: Sequence[bytes] = (),
        known_codes: Sequence[bytes] = (),
        known_headers: Sequence[bytes] = (),
    ) -> Rollup:
        """A rollup whose head is a block of which the header's RLP is at hand and the state is where `reader` reads.

        `genesis_json` gives the rules; its allocation is not looked at, and `genesis_hash` is the chain's own. Sessions work as on
        any rollup and seal the same blocks, and so do all reads of the rollup itself. What a step or a read misses is read in rounds,
        each for all that the round before missed; answers are taken by their hash from the anchor's state root down and shown in the
        tries of all states, so that nothing is asked for twice. A step that fails leaves its session as it was. The calling thread
        waits, without the interpreter's lock.

        `known_*`: trie nodes, codes and headers of the anchor's ancestors that were read before, in any order; what belongs nowhere
        is dropped. No result depends on what is known. Logs of the anchor and of the blocks below it are None for `log`.

        Further codes of sessions and reads: remote_unavailable (no answer, or more than 256 rounds), remote_proof_wrong,
        remote_sibling_unknown (sealing needs a node beside a deletion that the reader does not give by hash, deeper than is searched
        for). Code here: remote_anchor_malformed, and those of from_genesis.
        """
    @staticmethod
    def remote_from_snapshot(
        genesis_json: bytes,
        store: Store,
        path: str,
        reader: RemoteReader,
        *,
        genesis_hash: bytes,
        undo_blocks: int = 0,
        known_nodes: Sequence[bytes] = (),
        known_codes: Sequence[bytes] = (),
        known_headers: Sequence[bytes] = (),
    ) -> Rollup:
        """Goes on where `write_snapshot` of a remote rollup was called, and asks nobody for what the file or `known_*` holds.

        Executing the open block again may miss something; the calling thread then waits for `reader`. Codes: those of from_snapshot
        (snapshot_format also for a file of the other kind) and of reading.
        """
    def put_ancestors(self, blocks: Sequence[tuple[bytes, Sequence[bytes], Sequence[bytes]]]) -> None:
        """Puts blocks of a remote rollup into the store: (header RLP, raw transactions, consensus receipts), each the parent of the
        one before; the first is the anchor, or the parent of a block that was put before.

        All are checked first, against the anchor's hash. Codes: snapshot_blocks_wrong (nothing was stored), remote_unsupported (the
        rollup holds its state). Without the anchor's own block its content reads as None.
        """
    is_remote: bool  # whether the state is read elsewhere
    def become_like(self, other: Rollup) -> None:
        """Takes over the decided state of another object of the same rollup and store. Code: snapshot_foreign.

        Sessions that began before are stale then.
        """
    def freeze(self) -> FrozenRollup:
        """The decided state as it is now, for writing it while the rollup goes on. Costs a pointer."""
    chain_id: int
    genesis_hash: bytes
    @property
    def head(self) -> SealedBlock: ...
    @property
    def open_block(self) -> OpenBlock | None: ...
    def session(self) -> Session: ...
    def session_at(self, number: int) -> Session:
        """A session that goes on from the sealed block `number` as if neither later blocks nor the open block had ever been.

        `number`: `lowest_unwind` to the head's, both included; the head's drops the open block alone. Committing the session
        replaces the chain above `number` by what it sealed and opened, in one step that a crash leaves undone or done; a session
        without blocks only unwinds. Numbers and transactions then lead to the new chain; the blocks replaced stay readable with
        `replaced_block`. Codes: block_unknown (above the head, negative), state_unavailable (below `lowest_unwind`).
        """
    @property
    def lowest_unwind(self) -> int: ...  # the oldest block that `session_at` accepts now
    def replaced_block(self, block_hash: bytes) -> tuple[int, bytes, list[bytes]] | None:
        """(number, block RLP, consensus receipts) of a block that an unwinding replaced; None for every other."""
    def commit(self, session: Session) -> None:
        """The session becomes the rollup's decided state; its sealed blocks are written to the store first.

        The session may go on and be committed again. Code: session_stale when the rollup moved since the session began.
        """
    def statistics(self) -> dict[str, int]: ...  # states_kept, version, accounts, slots, codes, round_trips

    # Reads take the decided state as a whole and never wait for execution. State is kept for the last 128 sealed blocks (code
    # state_unavailable beyond); blocks are kept without end.
    def accounts(self, addresses: Sequence[bytes], at: int) -> list[tuple[int, int, bool]]: ...
    def l1_cost_parameters(self, at: int) -> tuple[int, int, int, int, int, int, int]:
        """(l1_base_fee, base_fee_scalar, l1_blob_base_fee, blob_base_fee_scalar, operator_fee_scalar, operator_fee_constant,
        da_footprint_scalar) as L1Block holds them."""
    def additional_costs(self, transactions: Sequence[Transaction], at: int) -> list[int]:
        """L1 data fee + operator fee (on gas_limit) in wei per transaction, as op-geth's pool charges them."""
    def code(self, address: bytes, at: int) -> bytes: ...
    def storage(self, address: bytes, slot: bytes, at: int) -> bytes: ...
    def log(self, number: int, index: int) -> tuple[int, bytes, list[bytes], bytes] | None:
        """As `Session.log`, of the decided blocks and the decided open block."""
    def proof_json(self, address: bytes, slots: Sequence[bytes], at: int) -> bytes: ...
    def call(
        self,
        request_json: bytes,
        at: int,
        overrides_json: bytes | None,
        block_overrides_json: bytes | None,
        gas_cap: int,
    ) -> CallResult:
        """`eth_call`; gas_cap 0 means unbounded. Codes before execution, messages in op-geth's words: call_malformed,
        state_overrides_malformed, block_overrides_malformed, override_refused, invalid_params, insufficient_funds,
        intrinsic_gas_too_low, fee_cap_too_low, init_code_too_large, transaction_not_applicable."""
    def estimate_gas(self, request_json: bytes, at: int, overrides_json: bytes | None, gas_cap: int) -> int:
        """Smallest sufficient gas within 1.5 %, as op-geth estimates. Codes: execution_reverted (with `data`),
        gas_required_exceeds_allowance, execution_failed, and those of `call`."""
    def access_list_json(self, request_json: bytes, at: int, gas_cap: int) -> bytes: ...
    def trace_transaction_json(self, transaction_hash: bytes, options_json: bytes) -> bytes | None:
        """callTracer (default) or prestateTracer, also in the open block. Codes: trace_options_malformed, tracer_unsupported,
        trace_too_large (50,000 frames or 16 MiB), state_unavailable.

        prestateTracer lists the fee vaults beside the accounts that op-geth lists, and has no `codeHash`.
        """
    def trace_call_json(self, request_json: bytes, at: int, options_json: bytes, gas_cap: int) -> bytes:
        """As trace_transaction_json; `stateOverrides` and `blockOverrides` of the options are applied. Codes: those of both."""
    def block_json(self, at: int, full: bool) -> bytes | None: ...  # open block: hash null, roots zero
    def block_number_by_hash(self, block_hash: bytes) -> int | None: ...
    def header_json(self, at: int) -> bytes | None: ...  # the newHeads shape
    def block_receipts_json(self, at: int) -> bytes | None: ...
    def receipt_json(self, transaction_hash: bytes) -> bytes | None: ...  # sealed only
    def transaction_json(self, transaction_hash: bytes) -> bytes | None: ...  # open block: block fields null
    def transaction_by_index_json(self, at: int, index: int) -> bytes | None: ...
    def transaction_location(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """(block number, index in the block), sealed or in the open block."""
    def pending_outcome(
        self, transaction_hash: bytes
    ) -> tuple[int, int, list[tuple[bytes, list[bytes], bytes]]] | None:
        """(status, gas_used, logs) in the open block."""
    def raw_transaction(self, transaction_hash: bytes) -> bytes | None: ...
    def raw_block(self, at: int) -> bytes | None: ...  # sealed only, as the next two
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
        """JSON array, both blocks included (the open block's number adds its logs); blooms skip blocks. Code: too_many_logs."""
    def fee_history_json(self, block_count: int, newest: int, percentiles: Sequence[float]) -> bytes:
        """`eth_feeHistory`'s result; at most 1,024 blocks. Codes: invalid_percentile, block_beyond_head."""
    def execution_payload_json(self, at: int) -> tuple[bytes, bytes]:
        """(ExecutionPayloadV4 JSON for engine_newPayloadV4, V3 before Isthmus; parent beacon block root). Code: block_unknown."""
