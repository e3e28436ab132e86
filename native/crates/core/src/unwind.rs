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
use alloy_rlp::Decodable;
use plait_state::BlockRecord;
use rayon::prelude::*;

use crate::block::Sealed;
use crate::error::{CoreError, Result};
use crate::records;
use crate::rollup::{AnyBlock, Decided, Encoded, Rollup};
use crate::session::{Session, View, RECENT_HASHES};
use crate::undo;

/// Ancestors whose hashes BLOCKHASH can name.
const BLOCKHASH_ANCESTORS: u64 = 256;
/// Accounts and slots of undo records that are applied at once.
const MERGED_ENTRIES: usize = 1 << 19;

impl Rollup {
    /// The same rollup, keeping the undo records of so many sealed blocks in the store; none with zero.
    #[must_use]
    pub fn keeping(mut self, undo_blocks: u64) -> Self {
        self.undo_blocks = undo_blocks;
        self
    }

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
        let View { chain, codes, remote, .. } = decided.view.clone();
        Ok(Session::unwound(&View { chain, codes, head: base, hashes, open: None, remote }, &decided))
    }

    /// The lowest block that [`Self::session_at`] accepts.
    ///
    /// # Errors
    /// Store errors.
    pub fn lowest_unwind(&self) -> Result<u64> {
        let decided = self.decided();
        let oldest = decided.history.front().map_or(decided.view.head.header.number, |sealed| sealed.header.number);
        // Records end where the oldest were dropped, so those that are held are the last ones.
        let (mut low, mut high) = (0, oldest);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.has_undo(&decided, middle + 1)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(high)
    }

    fn has_undo(&self, decided: &Decided, number: u64) -> Result<bool> {
        let Some(hash) = self.hash_of(decided, number)? else { return Ok(false) };
        Ok(self.store.undo(self.chain.chain_id, number, hash)?.is_some())
    }

    /// A sealed block with the state after it: from memory, or made from the oldest state there by undo records.
    fn sealed_at(&self, decided: &Decided, number: u64) -> Result<Arc<Sealed>> {
        if let Some(sealed) = decided.recent(number) {
            return Ok(sealed.clone());
        }
        let id = self.chain.chain_id;
        let unavailable = || {
            let message =
                format!("the state of block {number} is not held; `lowest_unwind` tells the first one that is");
            CoreError::new("state_unavailable", message)
        };
        let oldest = decided.history.front().ok_or_else(unavailable)?;
        if !self.has_undo(decided, number + 1)? {
            return Err(unavailable());
        }
        let (mut state, mut hash) = (oldest.state.clone(), oldest.header.parent_hash);
        let mut above = oldest.hash;
        let mut header = oldest.header.clone();
        // One batch, not one for each block: a long way back costs what it changes in all.
        let mut merged = undo::Merged::default();
        for below in (number..oldest.header.number).rev() {
            let record = self.store.undo(id, below + 1, above)?.ok_or_else(unavailable)?;
            merged.add(&record, &decided.view.codes)?;
            if merged.entries() > MERGED_ENTRIES {
                state = merged.apply(&state);
            }
            let anchor = decided.view.remote.as_ref().filter(|remote| remote.anchor.hash == hash);
            header = match anchor {
                Some(remote) => remote.header.clone(),
                None => {
                    let bytes = self.store.header_of(id, below, hash)?.ok_or_else(unavailable)?;
                    Header::decode(&mut &bytes[..]).map_err(|_| {
                        CoreError::new("store_corrupt", format!("the stored header of block {below} is malformed"))
                    })?
                }
            };
            (above, hash) = (hash, header.parent_hash);
        }
        state = merged.apply(&state);
        if let Some(remote) = &decided.view.remote {
            state = remote.settle_state(&state)?;
        }
        if state.root() != header.state_root {
            let message = format!("the undo records do not lead to the state of block {number}");
            return Err(CoreError::new("store_corrupt", message));
        }
        Ok(Arc::new(Sealed { header, hash: above, state, body: None }))
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
                None if lowest > needed && decided.view.remote.is_none() => {
                    let message = format!("the store lacks block {}, whose hash block {number} can name", lowest - 1);
                    return Err(CoreError::new("state_unavailable", message));
                }
                None => break,
            };
            lowest -= 1;
        }
        Ok(hashes)
    }

    /// The store's chain above the base becomes these blocks.
    pub(crate) fn replace_above(&self, decided: &Decided, base: &Sealed, sealed: &[Arc<Sealed>]) -> Result<()> {
        let encoded = self.encoded(decided, base, sealed)?;
        let records: Vec<BlockRecord<'_>> = encoded.iter().map(Encoded::record).collect();
        Ok(self.store.replace_above(self.chain.chain_id, base.header.number, &records)?)
    }

    /// Puts blocks that follow the head into the store.
    pub(crate) fn append(&self, decided: &Decided, sealed: &[Arc<Sealed>]) -> Result<()> {
        for block in self.encoded(decided, &decided.view.head, sealed)? {
            self.store.write_block(self.chain.chain_id, block.record())?;
        }
        Ok(())
    }

    /// Consecutive blocks on `base`, with their undo records where those are kept.
    fn encoded(&self, decided: &Decided, base: &Sealed, sealed: &[Arc<Sealed>]) -> Result<Vec<Encoded>> {
        let parents = std::iter::once(base).chain(sealed.iter().map(|sealed| &**sealed));
        let blocks: Vec<_> = parents.zip(sealed).collect();
        let encode = |(parent, sealed): &(&Sealed, &Arc<Sealed>)| {
            let number = sealed.header.number;
            let undo = (self.undo_blocks > 0).then(|| {
                let record = undo::encode(&sealed.state, &parent.state, &decided.view.codes);
                (record, number.checked_sub(self.undo_blocks))
            });
            Encoded::of(sealed, undo)
        };
        blocks.par_iter().with_max_len(1).map(encode).collect()
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
        loop {
            let stored = self.store.hash_by_number(id, number)?;
            if stored == Some(hash) {
                break;
            }
            match (self.store.replaced(id, hash)?, stored) {
                (Some(block), _) => {
                    let header = Header::decode(&mut &block.header[..])
                        .map_err(|_| CoreError::new("store_corrupt", "a replaced block's header is malformed"))?;
                    moved.push((number, hash, block));
                    hash = header.parent_hash;
                }
                // The caller writes the head itself.
                (None, _) if number == head.header.number && head.body.is_some() => hash = head.header.parent_hash,
                (None, None) => break,
                (None, Some(stored)) => {
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
            let encoded = Encoded::new(number, hash, block.header.to_vec(), &body).with_undo(&block.undo);
            self.store.write_block(id, encoded.record())?;
        }
        Ok(())
    }
}
