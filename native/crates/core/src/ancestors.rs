//! Blocks from the anchor of a remote rollup downwards, put into the store so that they can be read, posted and handed to an engine.
//!
//! Nothing is believed: the highest block is the anchor, or the parent of a block that was put before; every further one is the
//! parent of the one above it; transactions, receipts and bloom hash to what the header says; senders are recovered.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::Decodable2718;
use alloy_primitives::{keccak256, Bytes, B256};
use alloy_rlp::Decodable;
use op_alloy_consensus::OpReceiptEnvelope;
use rayon::prelude::*;

use crate::block::{Chunk, Included};
use crate::error::{CoreError, Result};
use crate::history::{decode, wrong};
use crate::rollup::{Encoded, Rollup};
use crate::seal::{receipts_root, transactions_root};

/// A block as others keep it.
#[derive(Debug)]
pub struct RawBlock {
    /// RLP of the header.
    pub header: Bytes,
    /// Raw transactions, in order.
    pub transactions: Vec<Bytes>,
    /// Consensus receipts, in the same order.
    pub receipts: Vec<Bytes>,
}

impl Rollup {
    /// Puts blocks into the store, from the anchor or from where an earlier call ended downwards. All of them are checked first.
    ///
    /// # Errors
    /// `remote_unsupported` where the rollup holds its state; `snapshot_blocks_wrong`, then none was stored; store errors.
    pub fn put_ancestors(&self, blocks: &[RawBlock]) -> Result<()> {
        let decided = self.decided();
        let Some(remote) = &decided.view.remote else {
            return Err(CoreError::new("remote_unsupported", "a rollup that holds its state has its blocks"));
        };
        let (mut expected, mut checked) = (remote.anchor.hash, Vec::with_capacity(blocks.len()));
        for (position, block) in blocks.iter().enumerate() {
            let hash = keccak256(&block.header);
            let mut rest = &block.header[..];
            let header = Header::decode(&mut rest).ok().filter(|_| rest.is_empty());
            let header = header.ok_or_else(|| wrong(format!("the header of block {hash} is malformed")))?;
            if position == 0 && hash != expected {
                expected = self.below_stored(header.number)?.unwrap_or(expected);
            }
            if hash != expected {
                return Err(wrong(format!("block {} has the hash {hash}, {expected} is expected", header.number)));
            }
            expected = header.parent_hash;
            checked.push((header, hash));
        }
        let contents = blocks.par_iter().zip(&checked).map(|(block, (header, _))| self.content_of(block, header));
        let contents = contents.collect::<Result<Vec<_>>>()?;
        for ((block, (header, hash)), body) in blocks.iter().zip(checked).zip(contents) {
            let encoded = Encoded::new(header.number, hash, block.header.to_vec(), &body);
            self.store.write_block(self.chain.chain_id, encoded.record())?;
        }
        Ok(())
    }

    /// The hash of block `number` as the stored block above it names it.
    fn below_stored(&self, number: u64) -> Result<Option<B256>> {
        let Some(above) = self.store.header(self.chain.chain_id, number + 1)? else { return Ok(None) };
        Ok(Header::decode(&mut &above[..]).ok().map(|above| above.parent_hash))
    }

    fn content_of(&self, block: &RawBlock, header: &Header) -> Result<Chunk> {
        let number = header.number;
        let malformed = || wrong(format!("the receipts of block {number} are malformed"));
        if block.transactions.len() != block.receipts.len() {
            return Err(malformed());
        }
        let mut items = Vec::with_capacity(block.transactions.len());
        let (mut gas, mut logs_before) = (0_u64, 0_u64);
        for (raw, receipt) in block.transactions.iter().zip(&block.receipts) {
            let transaction = decode(raw, self.chain.chain_id, number)?;
            let mut rest = &receipt[..];
            let receipt = OpReceiptEnvelope::decode_2718(&mut rest).map_err(|_| malformed())?;
            let cumulative_gas_used = receipt.cumulative_gas_used();
            let gas_used = cumulative_gas_used.checked_sub(gas).ok_or_else(malformed)?;
            let logs = receipt.logs().to_vec();
            let first_log_index = logs_before;
            (gas, logs_before) = (cumulative_gas_used, logs_before + logs.len() as u64);
            items.push(Included {
                transaction,
                success: receipt.status(),
                gas_used,
                cumulative_gas_used,
                logs: Arc::new(logs),
                first_log_index,
                deposit_nonce: receipt.deposit_nonce(),
            });
        }
        if transactions_root(&items) != header.transactions_root {
            return Err(wrong(format!("the transactions of block {number} are not those of its header")));
        }
        if receipts_root(&items) != (header.receipts_root, header.logs_bloom) {
            return Err(wrong(format!("the receipts of block {number} are not those of its header")));
        }
        Ok(Chunk::new(items))
    }
}
