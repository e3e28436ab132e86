"""Every bound of the system: name with unit last, the value, and why it is that value.

Level 0: imports nothing. A queue, cache, list, retry or loop that takes its size from outside has its bound here.
"""

from typing import Final

# ---------------------------------------------------------------- network parameters
SLOT_MS_MIN: Final = 1_000
"""OP Stack timestamps are whole seconds; sub-second confirmation comes from sub-blocks."""
SLOT_MS_MAX: Final = 60_000
SUB_BLOCKS_PER_SLOT_MAX: Final = 50
"""20 ms sub-blocks at a 1 s slot; below that a proposal costs more than it holds."""
BLOCK_TIME_SLOTS_MAX: Final = 60
ROLLUPS_MAX: Final = 256
"""Rollups of one network; the commitment tree and the registry are linear in it."""

# ---------------------------------------------------------------- transactions
TRANSACTION_BYTES_MAX: Final = 131_072
"""128 KiB, the limit of op-geth's pool for one transaction."""

ACCESS_LIST_KEYS_MAX: Final = 6_000
"""Addresses and storage keys of an access list; 128 KiB hold fewer (22 bytes an empty entry, 33 a key)."""

# ---------------------------------------------------------------- validators
VALIDATORS_MAX: Final = 200
"""Validators that an engine's set can hold; every commit carries a signature of each."""
VOTING_POWER_MAX: Final = (2**63 - 1) // 8
"""Total voting power of a set; CometBFT's bound."""
MISBEHAVIOR_PER_HEIGHT_MAX: Final = 10_000
"""Pieces of evidence in one block: above what CometBFT's evidence bytes per block (1 MiB) can hold."""

# ---------------------------------------------------------------- interop
INTEROP_CHAINS_MAX: Final = 127
"""Chains of one interop set; the OP Stack's fault proof has room for no more."""

# ---------------------------------------------------------------- proposals
PROPOSAL_BYTES_MAX: Final = 16 * 1024 * 1024
"""Below CometBFT's default block.max_bytes of 22,020,096 with room for its header and commit."""
PROPOSAL_ITEMS_MAX: Final = 50_000
"""Items of one sub-block over all rollups; bounds the work of checking one proposal."""
PROPOSAL_REPAIRS_MAX: Final = 4
"""Times that a proposal in the making is run again without what fell out of order; each takes out at least one
transaction, and a set that still does not settle is left for the next sub-block."""
CANDIDATES_MAX: Final = 8
"""Candidate states alive at once (rival proposals of several rounds of one height)."""
CATCH_UP_BLOCKS_PER_SUB_BLOCK_MAX: Final = 600
"""Missed blocks per rollup that one sub-block fills after a pause; at about 10,000 blocks/s in all that keeps one
height well below a second."""
CATCH_UP_BLOCKS_IN_ALL_MAX: Final = 6_000
"""The same over all rollups: with more than ten of them each fills fewer, so that checking a height stays well below an
engine's patience."""

ACTIONS_PER_SUB_BLOCK_MAX: Final = 256
"""Signed ledger actions of one sub-block; each costs a signature recovery and touches a few ledger entries."""
REGISTRATIONS_PER_SUB_BLOCK_MAX: Final = 4
"""Rollups that one sub-block registers: every node builds the genesis of each."""
ACTION_BYTES_MAX: Final = 16 * 1024
"""One signed action; evidence and a rollup's registration are the largest."""

# ---------------------------------------------------------------- bundles
BUNDLE_LEGS_MAX: Final = 16
"""Rollups that one bundle touches; a trial holds a checkpoint on each."""
BUNDLE_LEG_TRANSACTIONS_MAX: Final = 16
"""Transactions of one leg: approve, swap, bridge and a few more."""
BUNDLE_CONDITIONS_MAX: Final = 16
"""State reads before the legs of one bundle run."""
CONDITION_INPUT_BYTES_MAX: Final = 1_024
"""Calldata of a condition that calls a contract."""
CONDITION_CALL_GAS_MAX: Final = 200_000
"""Gas of one such call; what needs more is false."""
CONDITION_CALLS_PER_SUB_BLOCK_MAX: Final = 256
"""Calls that the conditions of one sub-block's bundles make: nobody pays for them. A tenth of a second at most."""
BUNDLE_BYTES_MAX: Final = 128_000
"""One encoded bundle; below TRANSACTION_BYTES_MAX, so that a leg meets the bound of an item."""
BUNDLE_DEADLINE_SLOTS_MAX: Final = 3_600
"""How far ahead of the current slot a deadline may lie; an hour at one second per slot."""
BUNDLE_DEADLINE_SLOTS_DEFAULT: Final = 30
"""Slots that a bundle without a deadline waits at most."""
BUNDLES_PER_SUB_BLOCK_MAX: Final = 4_096
"""Entries of one proposal's bundles section, and trials of one `prepare`."""
BUNDLES_MAX: Final = 20_000
"""Bundles of a node's pool."""
BUNDLES_BYTES_MAX: Final = 128 * 1024 * 1024
BUNDLES_PER_SENDER_MAX: Final = 256
"""Waiting bundles that one sender answers for."""
BUNDLE_TRIALS_FAILED_PER_SLOT_MAX: Final = 8
"""Failed trials that one sender may cause per slot; further bundles of that sender wait untried."""
BUNDLE_FAILED_GAS_PER_SUB_BLOCK_MAX: Final = 60_000_000
"""Gas that failed trials of one `prepare` may burn in all; below a tenth of a second of execution."""
BUNDLE_FAILED_GAS_PER_SLOT_MAX: Final = 3_000_000
"""Gas that one sender's failed trials may burn per slot; what is burnt beyond it is worked off in later slots."""
BUNDLE_HISTORY_MAX: Final = 50_000
"""Remembered ends of bundles."""
BUNDLE_RETRY_SUB_BLOCKS_MAX: Final = 64
"""A bundle that keeps failing is tried after 1, 2, 4, ... sub-blocks, at most so many apart."""
MISHAP_OUTPUT_BYTES_MAX: Final = 512
"""Revert data that is remembered of a bundle's failure: a sentence or a custom error, not a contract's whole memory."""
BUNDLE_UUID_CHARACTERS_MAX: Final = 64
"""Of the replacementUuid of eth_sendBundle; a UUID has 36."""
RESERVE_SLOTS_AHEAD_MIN: Final = 2
"""From the current slot to a reserved one, at least: time to sign and to send."""
RESERVE_SLOTS_AHEAD_MAX: Final = 128
"""The same at most, and how far the node looks for a slot in which every rollup opens a block that is free."""
RESERVATIONS_MAX: Final = 1_024
"""Live reservations of a node."""
RESERVATIONS_PER_SIGNER_MAX: Final = 4
"""Live reservations of one signer."""


# ---------------------------------------------------------------- messages between rollups
RELAY_DEPTH_MAX: Final = 32
"""Rounds of messages and replies that one sub-block, or one bundle, delivers."""
RELAYS_PER_SUB_BLOCK_MAX: Final = 768
"""Relays of one proposal; below MESSAGES_PER_STEP_MAX, because each declares a message."""
MESSAGES_PER_TRANSACTION_MAX: Final = 64
"""Messages that one transaction declares."""
MESSAGES_PER_STEP_MAX: Final = 1_024
"""Messages that one bundle, or the rest of a sub-block, declares: each may cost a read of an old block's receipts."""
MESSAGES_ASKED_PER_SUB_BLOCK_MAX: Final = 2_048
"""Declared messages of plain transactions that one `prepare` looks up, valid or not; the others wait."""
RELAY_FAILED_GAS_PER_SUB_BLOCK_MAX: Final = 30_000_000
"""Gas that relays which fail may burn in one `prepare`; nobody pays for it."""
RELAY_GAS_DEFAULT: Final = 2_000_000
"""Gas limit of a relay whose sender names none."""
RELAY_GAS_MAX: Final = 10_000_000
"""Gas limit of one relay at most, whatever its sender asks for."""
RELAY_OFFER_GAS_MAX: Final = 200_000
"""Gas of the call that asks what is offered for a delivery."""
RELAYS_WAITING_MAX: Final = 10_000
"""Messages that were decided without their delivery and that a node tries again."""
MESSAGE_HISTORY_MAX: Final = 50_000
"""Remembered ends of messages."""
RELAYS_OFFERED_MAX: Final = 256
"""Of these, tried again in one sub-block."""
RELAY_TRIALS_MAX: Final = 10
"""After so many trials, 1, 2, 4, ... slots apart, a node leaves a message to others."""
DELIVERIES_PER_BUNDLE_MAX: Final = 64
"""Transactions that deliver one bundle's messages; BUNDLE_BYTES_MAX bounds their bytes."""

# ---------------------------------------------------------------- pool
POOL_TRANSACTIONS_MAX: Final = 200_000
"""All transactions of a node's pool, all rollups together."""
POOL_BYTES_MAX: Final = 256 * 1024 * 1024
POOL_TRANSACTIONS_PER_SENDER_MAX: Final = 1_024
"""Executable and queued, per sender and rollup; a load generator with few keys still fits."""
POOL_NONCE_GAP_MAX: Final = 1_024
"""How far beyond the next nonce a queued transaction may lie."""
POOL_QUEUED_LIFETIME_S: Final = 3 * 3_600
"""A transaction behind a nonce gap is dropped after this; three hours as in go-ethereum."""
POOL_PENDING_LIFETIME_S: Final = 24 * 3_600
POOL_PRICE_BUMP_PERCENT: Final = 10
"""A replacement must raise both the fee cap and the tip by this share; go-ethereum's pool uses the same."""
POOL_STATUS_HISTORY_MAX: Final = 100_000
"""Remembered ends (dropped, replaced, decided) of transactions that left the pool."""
POOL_WAITERS_MAX: Final = 20_000
"""Calls that wait for a transaction to be decided or sealed, per rollup."""
POOL_CANDIDATES_PER_SENDER_MAX: Final = 256
"""Of one sender in one snapshot when not everything fits, so that nobody fills it alone."""
POOL_PROMOTED_MAX: Final = 10_000
"""Transactions that became executable and were not yet told to subscribers; older ones are forgotten."""
POOL_SWEEP_ACCOUNTS_MAX: Final = 256
"""Accounts looked at for expired transactions per sub-block and rollup; all have their turn."""
POOL_FEE_CAP_SHARE_MIN_PERCENT: Final = 10
"""A fee cap below this share of the base fee is refused: the base fee needs minutes of empty blocks to fall so far."""

# ---------------------------------------------------------------- spread
BATCH_BYTES_MAX: Final = 512 * 1024
"""One batch of the spread; half of what CometBFT takes as one transaction by default (1 MiB)."""
BATCH_ENTRIES_MAX: Final = 4_096
"""Transactions, bundles, cancellations and actions of one batch; bounds the work of checking one."""
SPREAD_COLLECT_S: Final = 0.02
"""How long a node collects before it sends the next batch, unless half a batch is there already."""
SPREAD_AGAIN_HEIGHTS: Final = 40
"""After so many heights a node sends its own entries that still wait again: ten seconds at four heights a second. Then
after twice as many, and so on."""
SPREAD_AGAIN_DOUBLINGS: Final = 4
"""How often that interval is doubled."""
SPREAD_CARRIED_HEIGHTS: Final = 20
"""For so many heights a batch without news is refused when its entries were carried by another; below
SPREAD_AGAIN_HEIGHTS, so that what is sent again is passed on."""
SPREAD_CANCEL_HEIGHTS: Final = 8
"""A batch with cancellations stays in CometBFT's pool for so many heights: they wait nowhere, and must reach all."""
SPREAD_CANCELS_EARLY_MAX: Final = 4_096
"""Cancellations that came before their bundle and are remembered."""
SPREAD_REQUESTS_SEEN_MAX: Final = 50_000
"""Signed requests whose bundle is remembered, so that a replay in another window is noticed."""
SPREAD_REQUEST_BYTES_MAX: Final = 300_000
"""The body of a signed request that travels with its bundle; a bundle's transactions as hexadecimal text, and more."""
SPREAD_KEPT_HEIGHTS: Final = 24
"""A batch stays in CometBFT's pool for at most so many heights, whatever its entries wait for: enough to reach
everybody, and what is stuck must not take the room of what is not."""
SPREAD_HELD_BYTES_MAX: Final = 24 * 1024 * 1024
"""Of CometBFT's pool (64 MiB), for a node's own batches; and the same for the others'."""
SPREAD_THIN_ENTRIES: Final = 16
"""A batch with fewer entries, and fewer bytes than a sixteenth of the bound, is thin."""
SPREAD_THIN_BATCHES_MAX: Final = 500
"""Thin batches of others that are kept at once, of the 2,000 that CometBFT's pool has room for; the entries of further
ones go on in this node's own, full batches."""
SPREAD_BATCHES_MAX: Final = 8_192
"""Batches whose entries are remembered; above the size of CometBFT's pool (2,000 batches)."""
SPREAD_OWN_MAX: Final = 250_000
"""Entries that a node remembers to send, or to send again; above what its pools hold."""
SPREAD_CARRIED_MAX: Final = 400_000
"""Entries that are remembered as carried by a batch lately; 200,000 lie in a full pool."""
SPREAD_SWEEP_BATCHES: Final = 64
"""Remembered batches looked at per height for whether they are finished; all have their turn."""
SPREAD_PROBE_ENTRIES: Final = 4
"""New entries of a batch that are checked first; the next part is four times as large. A batch of which so many more
are refused than admitted is not looked at further."""
SPREAD_REFUSED_PER_S_MAX: Final = 2_000
"""Refused entries of batches per second after which every batch has to show a good entry first: 50 ms of recoveries."""
SPREAD_WASTED_BYTES_PER_S_MAX: Final = 8 * 1024 * 1024
"""Bytes of others' batches that brought nothing, per second, before further ones are refused unread: such a batch of
512 KiB, of old transactions in a new order, costs its sender nothing and the event loop 15 ms."""
SPREAD_DECODE_INLINE_MAX: Final = 16
"""Transactions of a batch that are decoded on the event loop; more go to a thread."""
SPREAD_RETRY_S: Final = 0.25
"""Pause before sending again what CometBFT did not take."""

# ---------------------------------------------------------------- reads
RPC_GAS_CAP: Final = 50_000_000
"""Gas of one eth_call or estimate; op-geth's default."""

# ---------------------------------------------------------------- RPC
RPC_BODY_BYTES_MAX: Final = 5 * 1024 * 1024
"""One HTTP request; op-geth's default."""
RPC_BATCH_ITEMS_MAX: Final = 1_000
"""Calls of one JSON-RPC batch; op-geth's default."""
RPC_BATCH_RESPONSE_BYTES_MAX: Final = 25_000_000
"""op-geth's default."""
RPC_CALL_TIMEOUT_S: Final = 10
RPC_BATCH_TIMEOUT_S: Final = 30
"""Calls of a batch that were not begun by then are answered with a timeout; op-geth's default."""
RPC_LOGS_MAX: Final = 10_000
"""Logs of one eth_getLogs answer."""
RPC_LOGS_BLOCK_RANGE_MAX: Final = 100_000
RPC_FILTERS_MAX: Final = 1_000
RPC_FILTER_LIFETIME_S: Final = 300
"""A filter nobody polls is removed; op-geth's default of five minutes."""
RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX: Final = 100
RPC_WEBSOCKET_CONNECTIONS_MAX: Final = 1_000
RPC_CONNECTIONS_MAX: Final = 4_096
"""Clients connected at once over all ports, HTTP and WebSocket; the next one is answered 503."""
RPC_FILES_RESERVED: Final = 256
"""Of the process's open files, those that connections may not take from the store, the log and peers."""
RPC_REFUSALS_MAX: Final = 64
"""Clients at once that are told why they are refused; further ones are cut off."""
RPC_WEBSOCKET_QUEUE_MAX: Final = 4_096
"""Notifications waiting for one slow client; beyond it the connection is closed with the reason."""
RPC_WEBSOCKET_QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The same in bytes: a notification of a full sub-block is megabytes."""
RPC_JSON_DEPTH_MAX: Final = 64
"""Nesting of a request; deeper ones are refused before they are decoded."""
RPC_FEE_HISTORY_BLOCKS_MAX: Final = 1_024
RPC_JSON_ELEMENTS_MAX: Final = 100_000
"""Commas of one request body; a body of five million tiny elements would take a hundred megabytes once decoded."""
RPC_READ_THREADS: Final = 4
"""Threads for calls, traces and scans; the native core releases the GIL in them."""
RPC_READS_WAITING_MAX: Final = 512
"""Reads waiting for a thread; beyond it a call is refused at once rather than late."""
RPC_BODY_TIMEOUT_S: Final = 30
"""For a client to send the body of one request."""
RPC_SEND_TIMEOUT_S: Final = 30
"""For a client to take one message; a slower one is disconnected."""
RPC_KEEPALIVE_S: Final = 75
"""An idle connection, and one that does not finish its first headers, is closed after this."""
RPC_WEBSOCKET_CALLS_MAX: Final = 64
"""Calls of one WebSocket connection in progress; further messages are not read until one is answered."""
RPC_TRANSACTION_WAIT_MS: Final = 20_000
"""How long eth_sendRawTransactionSync waits when the call does not say; op-geth's default."""
RPC_TRANSACTION_WAIT_MS_MAX: Final = 60_000
RPC_ADDRESSES_MAX: Final = 1_000
"""Addresses, or topics of one position, of a log filter; op-geth's default."""
RPC_PROOF_SLOTS_MAX: Final = 1_024
"""Storage slots of one eth_getProof; op-geth's limit."""
RPC_TXPOOL_ENTRIES_MAX: Final = 10_000
"""Transactions of one txpool_content or txpool_inspect answer."""
RPC_FILTER_ENTRIES_MAX: Final = 10_000
"""Hashes that a polled filter keeps between two polls; older ones are forgotten."""

# ---------------------------------------------------------------- ledger
LEDGER_TABLE_ROWS_MAX: Final = 4_000_000
"""Rows of one table of a decoded ledger; memory runs out elsewhere before."""
SUPPLY_MAX: Final = VOTING_POWER_MAX * 10**18
"""Base units of PLAIT that can ever be there at once: however they are staked, voting power stays within CometBFT's
bound."""
UNBONDINGS_PER_SUB_BLOCK_MAX: Final = 256
"""Matured unbondings that one sub-block pays out; the others follow in the next ones."""
SHARES_MAX: Final = 2**200
"""Shares of one validator: beyond it they are worth next to nothing, and products of rewards would leave 256 bits."""
ABSENCES_EXPIRED_PER_SUB_BLOCK_MAX: Final = 16
"""Rows of missed heights that leave the downtime window per sub-block after governance has made it shorter."""
ISSUANCE_ELAPSED_MS_MAX: Final = 86_400_000
"""A network that stood still issues at most one day's tokens for the pause."""
EVIDENCE_ROWS_EXPIRED_PER_SUB_BLOCK_MAX: Final = 64
"""Remembered evidence that one sub-block forgets after its age."""

# ---------------------------------------------------------------- storage
LOG_SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
LOG_RECORD_BYTES_MAX: Final = PROPOSAL_BYTES_MAX + PROPOSAL_ITEMS_MAX * 20 + 4_096
"""A proposal, its senders (20 bytes each) and a small header."""
LOG_INDEX_STRIDE_BYTES: Final = 64 * 1024
"""One height of the index in memory per this many bytes of a segment; a read skips at most so much."""
LOG_INDEXES_KEPT: Final = 16
"""Older segments whose index stays in memory; 1,024 heights each at most."""
MEMORY_LOG_BYTES_MAX: Final = 256 * 1024 * 1024
"""A node without a data directory forgets its oldest sub-blocks beyond this."""
SNAPSHOT_EVERY_TRANSACTIONS: Final = 100_000
"""Bounds the replay at start to a few seconds."""
SNAPSHOT_EVERY_HEIGHTS: Final = 20_000
SNAPSHOTS_KEPT: Final = 2
MESSAGE_LOGS_KEPT_S: Final = 604_800 + 3_600
"""Age up to which a log can be found as a message's origin: the validity window of messages, and as much as rollups of
different block times may lie apart. Older blocks are nothing that agreement depends on."""
LOG_KEEP_HEIGHTS_MIN: Final = 1_000
"""Fewest heights that a node may be told to keep of its log."""
NETWORK_SNAPSHOT_EVERY_HEIGHTS: Final = 1_000
"""Heights at whose multiples every node takes a snapshot for others; a few minutes, so a joining node has little left
to execute."""
NETWORK_SNAPSHOTS_KEPT: Final = 2
"""The one before stays while peers are still fetching it."""
NETWORK_SNAPSHOT_CHUNK_BYTES: Final = 1024 * 1024
"""CometBFT sends chunks of up to 16 MiB; a chunk that has to be fetched again should cost little."""
NETWORK_SNAPSHOT_CHUNKS_MAX: Final = 65_536
"""64 GiB, in a manifest of 2 MiB: CometBFT offers a snapshot in a message of 4 MB at most."""
NETWORK_SNAPSHOT_HEAD_BYTES_MAX: Final = 128 * 1024 * 1024
"""A sub-block header and the ledger: held in memory to be checked. About four million accounts; a minute to read."""
NETWORK_SNAPSHOT_OPEN_BYTES_MAX: Final = 256 * 1024 * 1024
"""Transactions of one open block: held in memory to be checked."""
NETWORK_SNAPSHOT_SPAN_BLOCKS: Final = 1_024
"""Blocks of one file: a full one never changes, so later snapshots link it instead of writing it again."""
NETWORK_SNAPSHOT_SENDERS_MAX: Final = 64
"""Peers remembered as senders of one snapshot's chunks; CometBFT has 10 to 50 peers."""
NETWORK_SNAPSHOT_FREE_BYTES_MIN: Final = 256 * 1024 * 1024
"""Room on the disk beside what a snapshot needs."""

# ---------------------------------------------------------------- node
BUS_QUEUE_MAX: Final = 1_024
"""Decided sub-blocks waiting for one subscriber within the process; minutes at four per second."""
BUS_SUBSCRIBERS_MAX: Final = 64
"""Parts of one process that follow decided sub-blocks; clients share the server's."""

# ---------------------------------------------------------------- CometBFT
ABCI_MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One message of CometBFT. A block of 21 MiB with the votes of 10,000 validators is less than half of it."""
ABCI_CONNECTIONS_MAX: Final = 8
"""CometBFT opens four."""
ABCI_REQUESTS_WAITING_MAX: Final = 512
"""Requests of one connection that were read and not answered; CometBFT itself sends at most 256 ahead."""
COMET_BLOCK_BYTES_MAX: Final = PROPOSAL_BYTES_MAX + 6 * 1024 * 1024
"""CometBFT's block.max_bytes: a proposal, the commit of 10,000 validators (2 MB) and 1 MiB of evidence."""
COMET_POOL_BATCHES_MAX: Final = 2_000
"""Batches in CometBFT's pool."""
COMET_POOL_BYTES_MAX: Final = 64 * 1024 * 1024
COMET_BATCH_BYTES_MAX: Final = 1024 * 1024
"""One entry of CometBFT's pool."""
COMET_CHECK_S: Final = 0.05
"""How long CometBFT, and with it a commit, waits for the check of one new batch; then the check goes on without it."""
COMET_CHECKS_BEHIND_MAX: Final = 2
"""Checks that go on so; while there are as many, further new batches are refused unread."""
COMET_LOG_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of CometBFT's own log; then it is set aside as cometbft.log.1 and a new one begins."""
COMET_LOG_LINES_PER_MINUTE_MAX: Final = 60
"""Lines of CometBFT that go on to the node's log; its own file has all of them."""
COMET_STOP_S: Final = 10
"""For CometBFT to end by itself when it is asked to; then it is killed."""
COMET_RPC_TIMEOUT_S: Final = 10
"""One question to CometBFT's RPC."""
COMET_RPC_RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024

# ---------------------------------------------------------------- client
CLIENT_TIMEOUT_S: Final = 15
"""One request of Plait's own client; longer than the server's own limit."""
CLIENT_RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One answer or notification that the client reads."""
CLIENT_RESPONSE_LEVELS_MAX: Final = 500
"""Arrays and objects within each other in an answer; call traces have two per call. A tenth of what the stack of a
thread holds."""
WATCH_SUB_BLOCKS_KEPT: Final = 100
"""Sub-blocks that the terminal view remembers for its table and latencies."""
CLIENT_BUNDLE_WAIT_S: Final = 60
"""How long the client waits for a bundle when the caller does not say."""
CLIENT_BUNDLE_POLL_S: Final = 0.05
"""Between two questions for a bundle's status; a quarter of a usual sub-block."""

# ---------------------------------------------------------------- ledger actions, governance, registry
ACTION_NAME_BYTES_MAX: Final = 64
"""Name of a validator, a parameter or an upgrade, bytes of UTF-8."""
ACTION_TITLE_BYTES_MAX: Final = 120
"""Title of a proposal; one line of a wallet or a terminal."""
ACTION_DETAILS_BYTES_MAX: Final = 1_024
"""Text of a proposal in the ledger; longer ones are named by an address and a hash in it."""
ACTION_EVIDENCE_BYTES_MAX: Final = 8 * 1024
"""Payload of one piece of evidence: two signed messages and what proves them."""
PROPOSAL_CHANGES_MAX: Final = 32
"""Parameters that one proposal changes."""
PROPOSALS_OPEN_MAX: Final = 64
"""Proposals in their vote or their timelock at once; each tally walks the votes."""
PROPOSALS_FOR_OPERATORS: Final = 16
"""Of these, places that only operators of bonded validators may take."""
PROPOSALS_ENDED_KEPT: Final = 256
"""Ended proposals that stay in the ledger for readers; the oldest leave first."""
PROPOSAL_VOTES_MAX: Final = 10_000
"""Votes of one proposal by delegators, about; operators always have a place, and half of the places ask for stake."""
PROPOSALS_TALLIED_PER_SUB_BLOCK_MAX: Final = 1
"""Votes that end in one slot are counted in several sub-blocks."""
ROLLUP_FUNDED_ACCOUNTS_MAX: Final = 16
"""Accounts that a registered rollup's genesis funds; further ones are funded by a bridge."""
ROLLUP_BINDING_SLOTS_MAX: Final = 604_800
"""A rollup that is bound and has no anchor after this many slots is let go."""
L1_BINDINGS_PAUSE_SLOTS: Final = 20
"""Slots between two changes of the set of rollups that derive from the L1: at each, every validator looks at the newest
L1 blocks anew, and nobody shall keep them from agreeing."""
ROLLUP_ANCHOR_SLOTS_AHEAD_MAX: Final = 3_600
"""How far ahead an anchor may put the join slot. Its L1 origin is kept meanwhile, and nobody sequences the chain."""
ROLLUP_ANCHOR_BYTES_MAX: Final = 1_024
"""Bytes of an anchor (`plait.derivation.anchor`) in an action, and of a rollup configuration: twice what they need."""
ROLLUP_START_SLOTS_AHEAD_MAX: Final = 604_800
"""How far ahead a registration, a change or a departure may be announced: a week at one second per slot."""
ACTION_POOL_MAX: Final = 10_000
"""Actions of a node's pool; some seconds of full sub-blocks."""
ACTION_POOL_BYTES_MAX: Final = 32 * 1024 * 1024
ACTION_POOL_PER_ACCOUNT_MAX: Final = 64
"""Waiting actions of one account."""
ACTION_POOL_NONCE_GAP_MAX: Final = 64
"""How far beyond the account's next nonce an action may lie."""
ACTION_POOL_LIFETIME_S: Final = 3_600
"""An action that could not be applied for so long is dropped."""
ACTION_RECOVERIES_KEPT: Final = 2_048
"""Actions whose signer is remembered: admission, prepare, process and finalize ask for the same one; 32 MiB at most."""
ACTION_HISTORY_MAX: Final = 20_000
"""Remembered ends of actions."""
LEADERS_AHEAD_DEFAULT: Final = 8
LEADERS_AHEAD_MAX: Final = 256
"""Heights of one plait_getLeader answer; beyond it a change of the set is likely anyway."""

# ---------------------------------------------------------------- local network of processes
TESTNET_NODES_MAX: Final = 16
"""Each is two processes and two links to every other; a laptop holds fewer."""
TESTNET_READY_S: Final = 60
"""From the start of a node's process until it says that it serves; it may replay its log before."""
TESTNET_STOP_S: Final = 20
"""For a node to end after it was asked to; a height in progress and a snapshot fit."""
CONTROL_REQUEST_BYTES_MAX: Final = 64 * 1024
"""One command, or one answer, on the control socket."""

# ---------------------------------------------------------------- light client
LIGHT_VALIDATORS_MAX: Final = 10_000
"""Validators of one set and signatures of one commit; CometBFT's own bound of votes (types.MaxVotesCount)."""
LIGHT_CHAIN_ID_BYTES_MAX: Final = 50
"""CometBFT's own bound of a chain id (types.MaxChainIDLen)."""
LIGHT_ROUND_MAX: Final = 2**31 - 1
LIGHT_TRUSTING_PERIOD_S: Final = 32 * 3_600
"""Two thirds of the 48 hours for which CometBFT takes evidence by default: whoever signs two blocks can still be
punished for it."""
LIGHT_CLOCK_DRIFT_S: Final = 10
"""How far a block's time may lie ahead of this computer's clock; CometBFT's default."""
LIGHT_BLOCKS_KEPT: Final = 1_000
"""Verified blocks that a client remembers; the newest stay."""
LIGHT_FETCHES_PER_VERIFICATION_MAX: Final = 512
"""Blocks fetched to verify one: a bisection halves the way at each, so 2**63 heights need 63 for each change of more
than two thirds of the validators."""
LIGHT_BACKWARDS_MAX: Final = 100_000
"""Headers that are followed backwards to an older one."""
LIGHT_WITNESSES_MAX: Final = 16
LIGHT_HEADERS_PER_CALL_MAX: Final = 500
"""Sub-block headers of one request; with 256 rollups one has about 9 KB, as hex 18 KB."""
LIGHT_ITEMS_HEIGHTS_PER_CALL: Final = 50
"""Sub-blocks whose items are asked for in one batch."""
LIGHT_SLOTS_MAX: Final = 2**53
"""A slot's number in a request, as any number in JSON."""
LIGHT_LOG_BYTES_PER_CALL: Final = 32 * 1024 * 1024
"""Read from the log for one request of headers; proposals are read whole."""
TESTNET_FAULT_S_MAX: Final = 3_600
"""A fault with an end ends within this."""
TESTNET_FAULTS_TIMED_MAX: Final = 64
"""Faults that wait for their end."""
TESTNET_STATUS_TIMEOUT_S: Final = 2
"""One question of the status line to one node; a busy or hung one must not hold up the others'."""
TESTNET_MEMBERSHIP_S: Final = 90
"""For a node to catch up, and for the validator set to change at an epoch's end."""
L1_FACTS_BYTES_MAX: Final = 4 * 1024 * 1024
"""Facts of one L1 block, of all rollups; a quarter of a proposal."""
L1_ROLLUP_FACTS_BYTES_MAX: Final = 512 * 1024
"""Deposits and updates of one rollup in one L1 block. The OP Stack's portal lets 20 million gas of deposits into an L1
block, of which a byte costs 40: what it takes fits. A contract that lets more in stops its own rollup."""
L1_FACTS_ENTRIES_MAX: Final = 1_000
"""Deposits, or updates, of one rollup in one L1 block: 20 million gas of deposits at 21,000 each."""
L1_DEPOSITS_GAS_MAX: Final = 100_000_000
"""Gas that deposits of one rollup may ask for in one L1 block; five times what the OP Stack's portals sell."""
L1_BLOCK_ROLLUPS_MAX: Final = 256
"""Rollups that facts of an L1 block name; ROLLUPS_MAX."""
L1_REPORT_BLOCKS_MAX: Final = 64
"""L1 blocks of one report."""
L1_REPORTS_PER_HEIGHT_MAX: Final = 4
"""Reports of one key that a node takes from others between two decided sub-blocks; an honest reporter makes two
per second."""
L1_BLOCKS_KEPT_MAX: Final = 256
"""Agreed L1 blocks in the ledger: those that may still be an origin, and those that a reorg may take back."""
L1_REORG_BLOCKS_MAX: Final = 64
"""How far an L1 reorg may reach behind the agreed head; two epochs of Ethereum, after which blocks are final."""
L1_EPOCHS_KEPT: Final = 128
"""Epochs of a rollup that the ledger remembers for going back; above L1_REORG_BLOCKS_MAX."""
L1_BLOCK_TIME_S_MAX: Final = 900
"""Mean time between two blocks of an L1 that a network can name; half the drift that rollups may have from it."""
L1_ROLLUP_KEPT_BYTES_MAX: Final = 24 * 1024 * 1024
"""Deposits and updates of one rollup in all agreed L1 blocks of the ledger. The OP Stack's portals sell 20 million gas
in an L1 block, 2 million in the long run, of which a byte costs 40: a day's dearest burst and 256 blocks fit."""
L1_REPORTERS_LEFT_MAX: Final = 256
"""Validators that left whose last report's sequence the ledger remembers, so that no report of theirs comes twice."""
CONFLICTS_UNPAUSED: Final = 16
"""Conflicts of a rollup that are carried out at once: an honest one whose batches came late takes a few to catch up
with what L1 derives without it."""
CONFLICT_PAUSE_SLOTS: Final = 60
"""After more of them its next one waits so long; twice as long each further time."""
CONFLICT_PAUSE_SLOTS_MAX: Final = 960
"""The longest such wait. With what posting takes it stays below UNWIND_BLOCKS_MAX, or the rollup could not go back."""
CONFLICT_QUIET_SLOTS: Final = 7_200
"""A rollup without conflicts for so long after its wait begins with the shortest wait again."""
UNWIND_BLOCKS_MAX: Final = 2_000
"""Sealed blocks of a rollup that can be taken back: as many of a second as one L1 origin can have by the sequencer
drift, and 200 more. At most what snapshots hand on, `plait.native.SHARED_UNDO_BLOCKS`."""
UNWOUND_TRANSACTIONS_MAX: Final = 10_000
"""Transactions of a rollup that went back which wait again by themselves, the earliest ones; of a long way back there
can be millions, and a node names and admits them between two heights."""
ROLLUP_CONFIG_BYTES_MAX: Final = 64 * 1024
"""A rollup.json."""

# ---------------------------------------------------------------- execution payloads and gossip of the OP Stack
PAYLOAD_TRANSACTIONS_MAX: Final = 2**20
"""Transactions of one execution payload; the consensus specification's MAX_TRANSACTIONS_PER_PAYLOAD."""
PAYLOAD_WITHDRAWALS_MAX: Final = 16
"""The consensus specification's bound; blocks of the OP Stack have none at all."""
GOSSIP_MESSAGE_BYTES_MAX: Final = 10 * 1024 * 1024
"""A signed block, decompressed; op-node's maxGossipSize."""

# ---------------------------------------------------------------- execution engines of OP Stack rollups
ENGINE_SECRET_FILE_BYTES_MAX: Final = 256
"""64 digits, a prefix and white space."""
ENGINE_TIMEOUT_S: Final = 8.0
"""One call; execution-apis gives newPayload and forkchoiceUpdated 8 s."""
ENGINE_ATTEMPTS_MAX: Final = 2
"""Times that one call is sent when the connection breaks: an engine closes idle ones. Every call may be repeated."""
ENGINE_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""One answer; a block of 30 Mgas is below 4 MiB as JSON."""
ENGINE_RETRY_MS_MIN: Final = 100
ENGINE_RETRY_MS_MAX: Final = 5_000
"""Pauses between attempts to reach an engine; each is twice the one before."""
ENGINE_LAG_RETRY_MS_MAX: Final = 1_000
"""Pauses between looking where a lagging engine stands; a shorter one ends them when we have a new block."""
ENGINE_RECHECK_S: Final = 10.0
"""After a refusal (secret, chain, genesis, fork) the engine is asked again: its operator may have put it right."""
ENGINE_IDLE_CHECK_S: Final = 2.0
"""Without new blocks the engine's head is compared so often, to notice one that was restarted or lost its data."""
ENGINE_BACKFILL_BLOCKS: Final = 32
"""Blocks handed over between two forkchoice updates while an engine catches up; what it forgets when it is killed."""
ENGINE_INVALID_RETRIES_MAX: Final = 2
"""Times that a block is handed over again which the engine refused and yet builds itself, hash for hash."""
ENGINE_AHEAD_GRACE_S: Final = 10.0
"""How long blocks that an engine has above our head are left alone: this node may still be on its way to them."""
ENGINE_BODIES_PER_CALL: Final = 128
"""Block bodies of one request while a chain is copied; engines give 1,024 at most, full blocks have 4 MiB."""
ENGINE_ERROR_TEXT_MAX: Final = 2_000
"""Characters of an engine's own words that are kept."""
HANDOVER_TIMEOUT_S: Final = 60.0
"""From the stop of the stock sequencer until its last block is held here."""
SUPER_ROOT_CHAINS_MAX: Final = 256
"""Chains of one super root; as many as a network has rollups."""

# ---------------------------------------------------------------- reading L1
L1_TIMEOUT_S: Final = 10.0
"""One HTTP request to an L1 node."""
L1_SEND_TIMEOUT_S: Final = 60.0
"""Handing in one transaction: a node checks the proofs of its blobs first, which takes seconds on a busy machine."""
L1_ATTEMPTS_MAX: Final = 3
"""Times that a read is sent when the connection breaks or the node asks for patience (429, 5xx)."""
L1_RETRY_S: Final = 0.2
"""Pause before the second attempt; each later one is twice as long."""
L1_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""One answer: a full block of L1 with blobs inline, as development nodes give it, is 21 blobs of 256 KiB as JSON."""
L1_BATCH_CALLS_MAX: Final = 50
"""Calls of one JSON-RPC batch; public nodes refuse 100 and more."""
L1_EXTRA_DATA_BYTES_MAX: Final = 32
"""Of a header since Frontier; proof-of-authority chains are not L1s of an OP Stack rollup."""
L1_BLOBS_PER_BLOCK_MAX: Final = 72
"""Blobs of one block; above every scheduled maximum (BPO2: 21)."""
L1_CACHE_BLOCKS_MAX: Final = 512
"""Blocks that a watcher keeps: what the ledger keeps (L1_BLOCKS_KEPT_MAX), and as many again."""
L1_POLL_S: Final = 1.0
"""Pause between two looks at the head of L1; blocks come every 12 s, on development chains every 1 or 2 s."""
L1_POLL_S_MIN: Final = 0.05
L1_STEP_BLOCKS_MAX: Final = 32
"""Blocks that a watcher reads before it publishes what it has."""
L1_SILENCE_S: Final = 60.0
"""Without a new block for so long L1 counts as lagging: five slots of Ethereum."""
OPSTACK_FILE_BYTES_MAX: Final = 256 * 1024
"""opstack.toml of a node: an entry for each of ROLLUPS_MAX engines."""
L1_AGREEMENT_BEHIND_BLOCKS: Final = 10
"""L1 blocks beyond the network's lag that a node sees and the network has not agreed on, from which on it warns."""
L1_FACTS_OFFERED_MAX: Final = 16
"""L1 blocks after the agreed head whose facts a node holds ready for its proposals."""
ARRIVALS_POLL_S: Final = 0.5
"""Seconds between two looks for anchored chains whose copies are to be loaded."""
L1_REPORT_PAUSE_S: Final = 0.5
"""Least time between two L1 reports of a node; they are free, but each takes room in a proposal."""
L1_REPORT_AGAIN_S: Final = 5.0
"""After so long without it in the ledger, a report is handed in again."""
BEACON_FACE_BLOBS_MAX: Final = 4_096
"""Blobs that the development beacon keeps on disk: 512 MiB."""

# ---------------------------------------------------------------- batches, channels and derivation of the OP Stack
FRAME_DATA_BYTES_MAX: Final = 1_000_000
"""Data of one frame; op-node's MaxFrameLen, part of the protocol."""
FRAMES_PER_CHANNEL_MAX: Final = 2**16
"""Frame numbers have two bytes."""
CHANNEL_RLP_BYTES_MAX: Final = 100_000_000
"""Decompressed bytes read of one channel, and the compressed bytes it may have; MAX_RLP_BYTES_PER_CHANNEL since
Fjord, part of the protocol."""
SPAN_BATCH_ELEMENTS_MAX: Final = 10_000_000
"""Blocks of a span batch, transactions of it, and bytes of one transaction's data in it; part of the protocol."""
CHANNEL_READ_BYTES: Final = 64 * 1024
"""Decompressed bytes that one step makes: a channel's memory grows with what is read of it, not with what it claims."""
DERIVATION_RUN_BLOCKS_MAX: Final = 512
"""Blocks that derivation hands over at once to be executed together; their transactions are in memory."""
DERIVATION_L1_BATCH_BLOCKS: Final = 32
"""L1 blocks that derivation asks for at once."""
DERIVATION_L1_AHEAD_MAX: Final = 128
"""L1 blocks that derivation reads ahead of what it executes."""
DERIVATION_NOTICES_SHOWN_MAX: Final = 100
"""Notices that a derivation reports word by word; the others are counted."""
DERIVATION_NOTICES_MAX: Final = 1_000
"""Notices of derivation that wait to be read; whoever floods the inbox floods nothing else."""

# ---------------------------------------------------------------- batcher
BATCHER_IN_FLIGHT_MAX: Final = 16
"""Transactions of the batcher that L1 is asked to take before the first of them is included; go-ethereum's pool keeps
16 blob transactions of one account, and 64 others."""
BATCHER_OFFERS_MAX: Final = 64
"""Times that one transaction is signed, each time with higher fees: +10 % 64 times is a factor of 445."""
BATCHER_FEE_SET_WEI_MAX: Final = 10**15
"""Most per gas that an operator may set as a bound: a million gwei, far beyond every fee that was ever paid."""
BATCHER_BUMP_PERCENT_MAX: Final = 1_000
BATCHER_PATIENCE_S_MAX: Final = 86_400
"""Of every pause that an operator may set."""
BATCHER_POLL_S_MIN: Final = 0.05
BATCHER_POLL_S_MAX: Final = 60.0
BATCHER_FINAL_DEPTH_BLOCKS_MAX: Final = 10_000
BATCHER_WINDOW_MARGIN_BLOCKS_MAX: Final = 1_000
BATCHER_BACKLOG_SET_BYTES_MAX: Final = 10**12
"""Of every bound on data; a threshold up here switches the throttle off."""
BATCHER_WAITING_MAX: Final = 64
"""Transactions in the batcher's journal that are not on L1; beyond it nothing new is posted."""
SETTLEMENT_POLL_S: Final = 1.0
"""Pause between two looks at L1 for what became of batches."""
SETTLEMENT_VERIFIER_EVERY_S: Final = 5.0
"""Pause between two questions to an op-node that verifies."""
SETTLEMENT_VERIFIER_TIMEOUT_S: Final = 5.0
BATCHER_REJECTIONS_MAX: Final = 3
"""Times that blocks are posted again which are on L1 and do not derive; more would only cost."""
FOLLOWER_L1_BLOCKS_PER_STEP_MAX: Final = 64
"""L1 blocks that the settlement view reads for one rollup before the next one has its turn."""
FOLLOWER_ANCESTORS_MAX: Final = 2_048
"""Blocks before the last final one that a span batch, posted twice, may begin with after a restart."""
BATCHER_BACKLOG_BLOCKS_PER_STEP_MAX: Final = 5_000
"""Sealed blocks of one rollup that one step of the batcher reads; the next step reads on."""

# ---------------------------------------------------------------- local network of OP Stack rollups
OPSTACK_READY_S: Final = 60
"""For op-geth, op-node or anvil to answer after its start; anvil reads its whole state before."""
OPSTACK_STOP_S: Final = 20
"""For one of them to end after it was asked to; anvil writes its whole state then."""
OPSTACK_ASK_TIMEOUT_S: Final = 2
"""One question of the table of heads to one program; a hung one must not hold up the others'."""
TOOL_BUILD_S_MAX: Final = 1_800
"""To fetch and build a program of the OP Stack; op-node takes two minutes on two cores."""
L1_FACTS_DUE_SLOTS: Final = 4
"""Slots after which the facts of an L1 block that validators agreed on must be in a proposal that carries items; long
enough for a proposer whose L1 node answers late."""
L1_ITEMS_PER_SUB_BLOCK_MAX: Final = 192
"""Reports and facts that one proposal carries, before the actions of accounts: VALIDATORS_MAX reports and as many L1
blocks as a long pause needs."""

# ---------------------------------------------------------------- faces of the OP Stack
FACE_BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""A request to a face: an execution payload as JSON is twice its bytes; op-node's own RPC client takes as much."""
FLASHBLOCKS_QUEUE_MAX: Final = 256
"""Flashblocks waiting for one slow follower: about a minute at four per second."""
FLASHBLOCKS_QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
FLASHBLOCKS_SEND_TIMEOUT_S: Final = 10
"""For a follower to take one flashblock."""
FACE_BATCH_CALLS_MAX: Final = 100
"""Calls of one batch; op-node's clients send 20."""
CONDUCTOR_WAIT_S: Final = 0.8
"""For a block to be decided while op-node asks; its own patience is one second."""
CONDUCTOR_BLOCKS_KEPT: Final = 1_024
"""Hashes of committed blocks that are kept, to recognise one that comes again."""
JWT_AGE_MAX_S: Final = 60
"""Seconds between a token's issue and the clock (execution-apis, engine/authentication)."""
BOOST_REQUESTS_KEPT: Final = 100
"""Forkchoice updates with attributes that are remembered by payload id; rollup-boost's own number."""
BOOST_LEGS_KEPT: Final = 100_000
"""Transactions that are remembered as legs of bundles: minutes of nothing but bundles; 30 MB."""
SETTLING_RESTART_S: Final = 5
"""Pause before a service of a node that failed is started again: long enough not to fill the log, short enough that
nobody waits for it."""

REMOTE_TIMEOUT_S: Final = 5.0
"""For one request to the node that holds a remote rollup's state: proofs of a hundred accounts take well below 1 s."""
REMOTE_CONNECTIONS_MAX: Final = 3 * RPC_READ_THREADS
"""To that node: reads of clients, which are as many as their threads, must not make those ahead of a slot wait."""
REMOTE_REASON_S: Final = 60
"""For so long after a read that failed the health page names it; what waits asks again more often."""
REMOTE_JOURNAL_BYTES_MAX: Final = 512 * 1024 * 1024
"""Of what was read that a start loads into memory: 100,000 accounts or more between two snapshots."""
REMOTE_JOURNAL_SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
"""Read since the last snapshot, so that another one is due: it keeps a start short, and far from the bound above."""
REMOTE_JOURNAL_OVERLAP_BYTES: Final = 48 * 1024 * 1024
"""Of what was read before a snapshot that a start loads too: the native core keeps 32 MiB of nodes beside the state."""
REMOTE_JOURNAL_BYTES_KEPT: Final = 2 * 1024 * 1024 * 1024
"""Of all that was read; what no start needs goes beyond that. Until then a damaged block store is rebuilt without
asking anybody."""
REMOTE_ANCESTORS_MAX: Final = 60_000
"""Blocks before its anchor that are copied of a chain with remote state: what is not on L1 yet, at 1 s a sequencing
window of 3,600 L1 blocks, and the lifetime of a channel before it."""
REMOTE_ANCESTOR_BLOCKS_PER_CALL: Final = 64
"""With their transactions and receipts, in one piece."""
REMOTE_HASHES_BELOW_ANCHOR_MAX: Final = 512
"""Ancestors of its anchor whose hashes are read: BLOCKHASH in the 128 states kept reaches 384 below; more is asked by
calls that pretend another block number, and would be a request for each block of the chain."""
REMOTE_CALL_PLACES_MAX: Final = 4_000
"""Accounts, slots and codes that one call of a client may have read: what was read stays in memory and on the disk."""
REMOTE_CLIENT_PLACES_MAX: Final = 100_000
"""The same of all clients at once, some hundred MB; and then so many a second:"""
REMOTE_CLIENT_PLACES_PER_S: Final = 50
REMOTE_BATCH_CALLS_MAX: Final = 500
"""Calls of one batch to that node: op-geth refuses more than 1,000."""
REMOTE_PROOF_SLOTS_MAX: Final = 1_000
"""Slots of one eth_getProof: op-geth refuses more than 1,024."""
REMOTE_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one answer: 500 proofs of full depth with a thousand slots do not occur; with ten slots each they are 40 MB."""
REMOTE_SEARCH_NODES_MAX: Final = 16
"""Nodes beside deletions that one step searches for where the node gives none by hash: seconds of all cores each, at
worst."""
REMOTE_SEARCH_S_MAX: Final = 10.0
"""Of such searches at once, for a rollup; and of this part of the time after that:"""
REMOTE_SEARCH_SHARE: Final = 0.1
REMOTE_SEARCH_GRACE_S: Final = 2.0
"""For asking for what a search found, also when the time is up: else the search is repeated, for ever."""
REMOTE_EARLY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of proofs that came before a read ran out of time, held until it is tried again."""
REMOTE_RETRY_MS_FIRST: Final = 250
"""Pause after a read of remote state failed; it doubles with each further failure of the same item."""
REMOTE_RETRY_MS_MAX: Final = 15_000
"""Longest such pause: a node that comes back serves again within it."""
REMOTE_PREPARE_MS: Final = 100
"""That a proposal may spend on reading remote state, all rollups together: what was not read ahead by then waits."""
REMOTE_AHEAD_THREADS: Final = 16
"""Threads that read ahead of execution; at most four work for a rollup, so slow nodes hold up those of others late."""
REMOTE_AHEAD_TIMEOUT_S: Final = 4.0
"""For reading ahead what one batch of transactions or one bundle needs."""
REMOTE_AHEAD_BATCH_MAX: Final = 256
"""Transactions of a rollup that are read ahead together: their reads share round trips."""
REMOTE_AHEAD_GAS_MAX: Final = 15_000_000
"""Gas limits of them: one that may look at thousands of accounts is read alone, and after those that cannot."""
REMOTE_AHEAD_BLOCKS: Final = 256
"""Blocks that a rollup can open without its node, as far as the blocks' own bookkeeping goes (block hashes and beacon
roots): some minutes."""

# ---------------------------------------------------------------- Plait's contracts on L1
L1_CHECKPOINT_POINTS_KEPT: Final = 8
"""Newest heights for which a node holds what its attester signs; each keeps a ledger alive, most of it shared."""
L1_CHECKPOINT_SETS_KEPT: Final = 32
"""Validator sets that a node remembers for the registry, which knows them by their hash alone."""
L1_CHECKPOINT_POLL_S: Final = 4.0
"""Pause between two looks at the registry."""
L1_CHECKPOINT_PEERS_MAX: Final = 200
"""Nodes that one payer asks for attestations."""
L1_CHECKPOINT_PEERS_AT_ONCE: Final = 16
L1_TRUST_WARNING_PERCENT: Final = 75
"""Part of a set's trusting period after which an operator hears of it; the set is renewed from the half of it on."""
L1_TRUST_RENEW_PERCENT: Final = 50
L1_VAULT_DEPOSITS_MAX: Final = 128
"""Deposits that StakeVault takes in one L1 block (DEPOSITS_PER_BLOCK_MAX there), so that facts can hold them."""
L1_FORCED_REQUESTS_MAX: Final = 1_000
"""Open requests of forced inclusion that a node keeps an eye on."""
L1_FORCED_READS_PER_STEP_MAX: Final = 100
"""Requests that are read in one look at the contract."""
