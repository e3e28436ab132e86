//! Unwinding: going on from an earlier block as if the later ones had never been.
//!
//! Invariants: a session of an earlier block sees the chain that ends with that block and nothing else: state, recent hashes, logs;
//! committing it moves the store from the old chain to the new one in one batch and only then the decided state; blocks that left
//! the chain stay in the store by their hash, so that whatever began before (frozen rollups, sessions, a replay from an older
//! snapshot) still finds its own chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Encodable};
use plait_state::BlockRecord;

use crate::block::Sealed;
use crate::error::{CoreError, Result};
use crate::records;
use crate::rollup::{AnyBlock, Decided, Rollup};
use crate::session::{Session, View, RECENT_HASHES};

/// Ancestors whose hashes BLOCKHASH can name.
const BLOCKHASH_ANCESTORS: u64 = 256;

impl Rollup {
    /// A session that goes on from the sealed block `number`, without the open block.
    ///
    /// # Errors
    /// `block_unknown` above the head; `state_unavailable` where the state after the block is not held; store errors.
    pub fn session_at(&self, number: u64) -> Result<Session> {
        let decided = self.decided();
        let head = decided.view.head.header.number;
        if number > head {
            return Err(CoreError::new("block_unknown", format!("there is no block {number}; the head is {head}")));
        }
        let base = self.sealed_at(&decided, number)?;
        let hashes = Arc::new(self.hashes_up_to(&decided, number)?);
        let (chain, codes) = (self.chain.clone(), decided.view.codes.clone());
        Ok(Session::unwound(&View { chain, codes, head: base, hashes, open: None }, &decided))
    }

    /// The lowest block that [`Self::session_at`] accepts.
    ///
    /// # Errors
    /// Store errors.
    pub fn lowest_unwind(&self) -> Result<u64> {
        let decided = self.decided();
        Ok(decided.history.front().map_or(decided.view.head.header.number, |sealed| sealed.header.number))
    }

    fn sealed_at(&self, decided: &Decided, number: u64) -> Result<Arc<Sealed>> {
        decided.recent(number).cloned().ok_or_else(|| {
            CoreError::new(
                "state_unavailable",
                format!("the state of block {number} is not held; `lowest_unwind` tells the first one that is"),
            )
        })
    }

    /// The hashes of the blocks up to `number`, as a session of that block needs them.
    fn hashes_up_to(&self, decided: &Decided, number: u64) -> Result<BTreeMap<u64, B256>> {
        let mut hashes: BTreeMap<u64, B256> =
            decided.view.hashes.range(..=number).map(|(number, hash)| (*number, *hash)).collect();
        let wanted = (number + 1).saturating_sub(RECENT_HASHES);
        let needed = (number + 1).saturating_sub(BLOCKHASH_ANCESTORS);
        let mut lowest = hashes.keys().next().copied().unwrap_or(number + 1);
        while lowest > wanted {
            match self.store.hash_by_number(self.chain.chain_id, lowest - 1)? {
                Some(hash) => hashes.insert(lowest - 1, hash),
                None if lowest > needed => {
                    let message = format!("the store lacks block {}, whose hash block {number} can name", lowest - 1);
                    return Err(CoreError::new("state_unavailable", message));
                }
                None => break,
            };
            lowest -= 1;
        }
        Ok(hashes)
    }

    /// The store's chain above `number` becomes these blocks.
    pub(crate) fn replace_above(&self, number: u64, sealed: &[Arc<Sealed>]) -> Result<()> {
        let encoded = sealed.iter().map(|sealed| Encoded::of(sealed)).collect::<Result<Vec<_>>>()?;
        let records: Vec<BlockRecord<'_>> = encoded.iter().map(Encoded::record).collect();
        Ok(self.store.replace_above(self.chain.chain_id, number, &records)?)
    }

    /// A block that an unwinding took off the chain: header and content.
    ///
    /// # Errors
    /// Store errors.
    pub fn replaced_block(&self, hash: B256) -> Result<Option<AnyBlock>> {
        let Some(block) = self.store.replaced(self.chain.chain_id, hash)? else { return Ok(None) };
        if self.hash_of(&self.decided(), block.number)? == Some(hash) {
            return Ok(None);
        }
        let header = Header::decode(&mut &block.header[..])
            .map_err(|_| CoreError::new("store_corrupt", format!("the stored header of block {hash} is malformed")))?;
        let content = records::decode(&block.body, &block.receipts, self.chain.chain_id)?;
        Ok(Some(AnyBlock::Sealed(Arc::new(header), hash, Arc::new(content))))
    }

    /// Makes the store's numbers lead to the chain below `head`, which an earlier run may have replaced.
    ///
    /// Nothing changes where they do; a store without these blocks stays without them.
    ///
    /// # Errors
    /// `store_corrupt` when the store has another chain and lacks a block of this one.
    pub(crate) fn restore_chain(&self, head: &Sealed) -> Result<()> {
        let id = self.chain.chain_id;
        let (mut number, mut hash) = (head.header.number, head.hash);
        let mut moved = Vec::new();
        while let Some(stored) = self.store.hash_by_number(id, number)?.filter(|stored| *stored != hash) {
            match self.store.replaced(id, hash)? {
                Some(block) => {
                    let header = Header::decode(&mut &block.header[..])
                        .map_err(|_| CoreError::new("store_corrupt", "a replaced block's header is malformed"))?;
                    moved.push((number, hash, block));
                    hash = header.parent_hash;
                }
                None if number == head.header.number && head.body.is_some() => hash = head.header.parent_hash,
                None => {
                    let message = format!("the store has {stored} as block {number} and lacks {hash}");
                    return Err(CoreError::new("store_corrupt", message));
                }
            }
            match number.checked_sub(1) {
                Some(below) => number = below,
                None => break,
            }
        }
        // The lowest first: after an interruption the walk from above still meets what is left.
        for (number, hash, block) in moved.into_iter().rev() {
            let body = records::decode(&block.body, &block.receipts, id)?;
            crate::rollup::store_block(&self.store, id, number, hash, &block.header, &body)?;
        }
        Ok(())
    }
}

/// A sealed block as the store takes it.
struct Encoded {
    number: u64,
    hash: B256,
    header: Vec<u8>,
    body: Vec<u8>,
    receipts: Vec<u8>,
    transactions: Vec<B256>,
}

impl Encoded {
    fn of(sealed: &Sealed) -> Result<Self> {
        let body = sealed.body.as_ref().ok_or_else(|| CoreError::internal("a block to be stored has no content"))?;
        let mut header = Vec::with_capacity(700);
        sealed.header.encode(&mut header);
        Ok(Self {
            number: sealed.header.number,
            hash: sealed.hash,
            header,
            body: records::encode_body(body),
            receipts: records::encode_receipts(body),
            transactions: body.items.iter().map(|item| item.transaction.hash).collect(),
        })
    }

    fn record(&self) -> BlockRecord<'_> {
        BlockRecord {
            number: self.number,
            hash: self.hash,
            header: &self.header,
            body: &self.body,
            receipts: &self.receipts,
            transaction_hashes: &self.transactions,
        }
    }
}
