//! Blocks as they grow and as they are sealed: attributes, the open block, included transactions.
//!
//! Invariants: deposits come first, the L1-attributes deposit before all; `gas_used` and `da_footprint` are the sums over the
//! included; included transactions are kept in immutable chunks so that copying an open block does not copy its content.

use std::sync::Arc;

use alloy_consensus::{Header, Transaction as _};
use alloy_eips::eip2718::Decodable2718;
use alloy_evm::FromTxWithEncoded;
use alloy_op_evm::OpTx;
use alloy_primitives::{keccak256, map::B256Map, Address, Bytes, Log, B256};
use op_alloy_consensus::{OpReceiptEnvelope, OpTxEnvelope, OpTxType};
use op_revm::OpSpecId;
use plait_state::StateTrie;

use crate::chain::Chain;
use crate::error::{CoreError, Result};
use crate::logs::log_among;
use crate::transaction::Transaction;

/// Selector and length of the Jovian L1-attributes calldata (OP Stack specs, jovian/l1-attributes).
const JOVIAN_L1_INFO: ([u8; 4], usize) = ([0x3d, 0xb6, 0xbe, 0x2b], 178);

/// What opens a block: the OP Stack's payload attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Seconds since the epoch; above the parent's.
    pub timestamp: u64,
    /// L1 origin's mix hash.
    pub prev_randao: B256,
    /// Receives the tips.
    pub fee_recipient: Address,
    /// L1 origin's parent beacon block root.
    pub parent_beacon_block_root: B256,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// Raw 0x7E transactions, the L1-attributes deposit first.
    pub deposits: Vec<Bytes>,
    /// EIP-1559 denominator for the next block; 0 with elasticity 0 means the chain's own.
    pub eip1559_denominator: u64,
    /// EIP-1559 elasticity for the next block.
    pub eip1559_elasticity: u64,
    /// Smallest base fee of the next block, wei (Jovian).
    pub min_base_fee: u64,
}

/// A transaction that is in a block, with what its receipt says.
#[derive(Debug, Clone)]
pub struct Included {
    /// The transaction; a deposit has its `from` as sender.
    pub transaction: Arc<Transaction>,
    /// Receipt status.
    pub success: bool,
    /// Gas of this transaction alone.
    pub gas_used: u64,
    /// Gas of the block up to and with this transaction.
    pub cumulative_gas_used: u64,
    /// Logs, in order.
    pub logs: Arc<Vec<Log>>,
    /// Number of logs in the block before this transaction.
    pub first_log_index: u64,
    /// Sender's nonce before a deposit (Regolith).
    pub deposit_nonce: Option<u64>,
}

impl Included {
    /// The consensus receipt, bloom included.
    pub fn receipt(&self) -> OpReceiptEnvelope {
        let tx_type = self.transaction.envelope.tx_type();
        let version = (tx_type == OpTxType::Deposit).then_some(1);
        OpReceiptEnvelope::from_parts(
            self.success,
            self.cumulative_gas_used,
            self.logs.iter(),
            tx_type,
            self.deposit_nonce,
            version,
        )
    }

    /// Whether this is a deposit.
    pub fn is_deposit(&self) -> bool {
        self.transaction.envelope.is_deposit()
    }
}

/// An immutable run of included transactions.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The transactions, in order.
    pub items: Vec<Included>,
    /// Where each hash is in `items`.
    pub by_hash: B256Map<u32>,
}

impl Chunk {
    /// A chunk of these transactions.
    pub fn new(items: Vec<Included>) -> Self {
        let by_hash = items.iter().enumerate().map(|(index, item)| (item.transaction.hash, index as u32)).collect();
        Self { items, by_hash }
    }
}

/// A block that is still growing.
#[derive(Debug, Clone)]
pub struct OpenBlock {
    /// What opened it.
    pub attributes: Arc<Attributes>,
    /// Its number.
    pub number: u64,
    /// Hash of the block below.
    pub parent_hash: B256,
    /// Base fee, wei per gas.
    pub base_fee: u64,
    /// `extraData` of its header.
    pub extra_data: Bytes,
    /// Jovian's DA footprint per compressed byte, gas; 0 before Jovian.
    pub da_footprint_scalar: u64,
    /// Gas used so far.
    pub gas_used: u64,
    /// DA footprint so far.
    pub da_footprint: u64,
    /// Logs so far.
    pub log_count: u64,
    /// Deposits included.
    pub deposit_count: usize,
    /// Transactions included, deposits too.
    pub transaction_count: usize,
    chunks: Vec<Arc<Chunk>>,
    tail: Vec<Included>,
}

/// The counters to restore when a run is rolled back.
#[derive(Debug, Clone, Copy)]
pub struct BlockMark {
    gas_used: u64,
    da_footprint: u64,
    log_count: u64,
    transaction_count: usize,
}

impl OpenBlock {
    /// An empty block on top of `parent`.
    ///
    /// # Errors
    /// `attributes_invalid`.
    pub fn begin(chain: &Chain, parent: &Header, parent_hash: B256, attributes: Arc<Attributes>) -> Result<Self> {
        let invalid = |message: String| CoreError::new("attributes_invalid", message);
        if attributes.timestamp <= parent.timestamp {
            return Err(invalid(format!(
                "timestamp {} is not above the parent's {}",
                attributes.timestamp, parent.timestamp
            )));
        }
        let extra_data =
            chain.extra_data(attributes.eip1559_denominator, attributes.eip1559_elasticity, attributes.min_base_fee)?;
        let da_footprint_scalar = if chain.has(OpSpecId::JOVIAN) { jovian_scalar(&attributes.deposits)? } else { 0 };
        Ok(Self {
            number: parent.number + 1,
            parent_hash,
            base_fee: chain.next_base_fee(parent),
            extra_data,
            da_footprint_scalar,
            gas_used: 0,
            da_footprint: 0,
            log_count: 0,
            deposit_count: attributes.deposits.len(),
            transaction_count: 0,
            chunks: Vec::new(),
            tail: Vec::new(),
            attributes,
        })
    }

    /// A copy of the figures without the transactions.
    pub fn facts(&self) -> Self {
        Self {
            attributes: self.attributes.clone(),
            extra_data: self.extra_data.clone(),
            chunks: Vec::new(),
            tail: Vec::new(),
            ..*self
        }
    }

    /// Adds one executed transaction.
    pub fn push(&mut self, included: Included, da_footprint: u64) {
        self.gas_used = included.cumulative_gas_used;
        self.da_footprint += da_footprint;
        self.log_count += included.logs.len() as u64;
        self.transaction_count += 1;
        self.tail.push(included);
    }

    /// The counters now.
    pub fn mark(&self) -> BlockMark {
        BlockMark {
            gas_used: self.gas_used,
            da_footprint: self.da_footprint,
            log_count: self.log_count,
            transaction_count: self.transaction_count,
        }
    }

    /// Drops everything included since `mark`.
    pub fn rollback(&mut self, mark: BlockMark) {
        self.gas_used = mark.gas_used;
        self.da_footprint = mark.da_footprint;
        self.log_count = mark.log_count;
        self.transaction_count = mark.transaction_count;
        let frozen: usize = self.chunks.iter().map(|chunk| chunk.items.len()).sum();
        if mark.transaction_count >= frozen {
            self.tail.truncate(mark.transaction_count - frozen);
            return;
        }
        self.tail.clear();
        let mut start = frozen;
        while start > mark.transaction_count {
            let chunk = self.chunks.pop().expect("the chunks hold `start` transactions");
            start -= chunk.items.len();
            if start < mark.transaction_count {
                self.tail.extend_from_slice(&chunk.items[..mark.transaction_count - start]);
            }
        }
    }

    /// Moves what was added since the last freeze into an immutable chunk, so that a copy of the block is cheap.
    pub fn freeze(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push(Arc::new(Chunk::new(std::mem::take(&mut self.tail))));
        }
    }

    /// Everything included, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Included> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.items.iter()).chain(self.tail.iter())
    }

    /// The log with this index of the block.
    pub fn log(&self, index: u64) -> Option<&Log> {
        if self.tail.first().is_some_and(|item| item.first_log_index <= index) {
            return log_among(&self.tail, index);
        }
        let starts_by = |chunk: &Arc<Chunk>| chunk.items.first().is_some_and(|item| item.first_log_index <= index);
        let after = self.chunks.partition_point(starts_by);
        log_among(&self.chunks[after.checked_sub(1)?].items, index)
    }

    /// Position and content of a transaction in this block.
    pub fn find(&self, hash: &B256) -> Option<(usize, &Included)> {
        let mut first = 0;
        for chunk in &self.chunks {
            if let Some(index) = chunk.by_hash.get(hash) {
                return Some((first + *index as usize, &chunk.items[*index as usize]));
            }
            first += chunk.items.len();
        }
        let index = self.tail.iter().position(|item| item.transaction.hash == *hash)?;
        Some((first + index, &self.tail[index]))
    }
}

/// The DA footprint scalar that the L1-attributes deposit states (op-geth reads it from the calldata, not from L1Block).
fn jovian_scalar(deposits: &[Bytes]) -> Result<u64> {
    let invalid = |message: &str| CoreError::new("attributes_invalid", message);
    let first = deposits.first().ok_or_else(|| invalid("a Jovian block needs the L1-attributes deposit first"))?;
    let deposit = decode_deposit(first)?;
    let data = deposit.envelope.input();
    let (selector, length) = JOVIAN_L1_INFO;
    if data.len() < length || data[..4] != selector {
        return Err(invalid("the first deposit does not carry Jovian L1 attributes (selector 0x3db6be2b, 178 bytes)"));
    }
    Ok(u64::from(u16::from_be_bytes([data[length - 2], data[length - 1]])))
}

/// Decodes a raw 0x7E transaction.
///
/// # Errors
/// `deposit_malformed`.
pub fn decode_deposit(raw: &[u8]) -> Result<Transaction> {
    let malformed = |message: String| CoreError::new("deposit_malformed", message);
    if raw.first() != Some(&0x7e) {
        return Err(malformed("a deposit starts with the type byte 0x7E".into()));
    }
    let envelope =
        OpTxEnvelope::decode_2718_exact(raw).map_err(|error| malformed(format!("not a canonical deposit: {error}")))?;
    let OpTxEnvelope::Deposit(deposit) = &envelope else {
        return Err(malformed("not a deposit".into()));
    };
    let sender = deposit.from;
    if deposit.is_system_transaction {
        return Err(malformed("`isSystemTx` must be false since Regolith".into()));
    }
    let raw = Bytes::copy_from_slice(raw);
    let env = OpTx::from_encoded_tx(&envelope, sender, raw.clone());
    Ok(Transaction { hash: keccak256(&raw), env, envelope, sender, da_size: 0, intrinsic_gas: 0, raw })
}

/// A sealed block with the state after it.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// The state after the block.
    pub state: StateTrie,
    /// The transactions with their receipts; None when loaded from a snapshot or store.
    pub body: Option<Arc<Chunk>>,
}
