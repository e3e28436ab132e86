//! One log by its place: (block number, index among all logs of the block), as interop messages name their initiating log.
//!
//! Invariants: a log's index counts the logs of the deposits too, and transactions that failed have none; a session finds what it
//! sealed and what is in its open block before it asks the rollup, and never sees above its own tip. A log of a block in memory is
//! found by binary search. Of an older block only the receipts are read from the store, and the last ones stay in memory with the
//! position of every log, so that many messages of one block cost one read. Source: OP Stack specs, interop/messaging (Identifier).

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{map::B256Map, Bytes, Log, B256};
use alloy_rlp::Decodable;

use crate::block::{Included, OpenBlock};
use crate::error::{CoreError, Result};
use crate::records::{log_at, log_positions};
use crate::rollup::{Decided, Rollup};
use crate::session::Session;

/// Blocks whose receipts stay in memory once a log of theirs was asked for.
const BLOCKS_KEPT: usize = 1024;
/// Memory that these receipts take at most; one block above it is not kept at all.
const BYTES_KEPT: usize = 16 << 20;

/// A log and the time of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedLog {
    /// Timestamp of the block, seconds.
    pub timestamp: u64,
    /// The log.
    pub log: Log,
}

/// The log with this index of the block, among consecutive transactions of it.
pub fn log_among(items: &[Included], index: u64) -> Option<&Log> {
    // Transactions without logs share their first index with the next one, so the last candidate is the right one.
    let after = items.partition_point(|item| item.first_log_index <= index);
    let item = &items[after.checked_sub(1)?];
    item.logs.get(usize::try_from(index - item.first_log_index).ok()?)
}

/// The receipts of a stored block, ready for looking up its logs.
#[derive(Debug)]
struct StoredLogs {
    timestamp: u64,
    receipts: Bytes,
    positions: Vec<usize>,
}

impl StoredLogs {
    fn log(&self, index: u64) -> Result<Option<PlacedLog>> {
        let position = usize::try_from(index).ok().and_then(|index| self.positions.get(index));
        let Some(position) = position else { return Ok(None) };
        Ok(Some(PlacedLog { timestamp: self.timestamp, log: log_at(&self.receipts, *position)? }))
    }

    fn bytes(&self) -> usize {
        self.receipts.len() + self.positions.len() * size_of::<usize>()
    }
}

/// The stored blocks that were asked for last.
#[derive(Debug, Default)]
pub struct LogCache {
    /// With the turn of the last request.
    blocks: B256Map<(u64, Arc<StoredLogs>)>,
    bytes: usize,
    turn: u64,
}

impl LogCache {
    fn get(&mut self, hash: B256) -> Option<Arc<StoredLogs>> {
        self.turn += 1;
        let (asked, logs) = self.blocks.get_mut(&hash)?;
        *asked = self.turn;
        Some(logs.clone())
    }

    fn put(&mut self, hash: B256, logs: Arc<StoredLogs>) {
        if logs.bytes() > BYTES_KEPT || self.blocks.contains_key(&hash) {
            return;
        }
        self.turn += 1;
        self.bytes += logs.bytes();
        self.blocks.insert(hash, (self.turn, logs));
        while self.bytes > BYTES_KEPT || self.blocks.len() > BLOCKS_KEPT {
            // A look at every block, which costs less than the read from the store that came before.
            let oldest = self.blocks.iter().min_by_key(|(_, (asked, _))| *asked).map(|(hash, _)| *hash);
            let removed = oldest.and_then(|hash| self.blocks.remove(&hash));
            self.bytes -= removed.expect("what was put last fits alone").1.bytes();
        }
    }
}

fn in_open_block(block: &OpenBlock, index: u64) -> Option<PlacedLog> {
    Some(PlacedLog { timestamp: block.attributes.timestamp, log: block.log(index)?.clone() })
}

impl Session {
    /// The log with this index of block `number`, as the session sees the chain; `rollup` is the one it continues.
    ///
    /// # Errors
    /// Store errors.
    pub fn log(&self, rollup: &Rollup, number: u64, index: u64) -> Result<Option<PlacedLog>> {
        if let Some(block) = self.open_block().filter(|block| block.number == number) {
            return Ok(in_open_block(block, index));
        }
        if number > self.head().header.number || self.remote().is_some_and(|remote| number <= remote.anchor.number) {
            return Ok(None);
        }
        let own = self.sealed.first().and_then(|first| number.checked_sub(first.header.number));
        if let Some(sealed) = own.and_then(|at| self.sealed.get(usize::try_from(at).ok()?)) {
            let body = sealed.body.as_ref().ok_or_else(|| CoreError::internal("a sealed block lost its content"))?;
            let log = log_among(&body.items, index);
            return Ok(log.map(|log| PlacedLog { timestamp: sealed.header.timestamp, log: log.clone() }));
        }
        if let Some(hash) = self.block_hash(number) {
            return rollup.stored_log(number, hash, index);
        }
        let decided = rollup.decided();
        if decided.epoch != self.epoch {
            let message = format!("the rollup was unwound since; block {number} may not be the one below this session");
            return Err(CoreError::new("session_stale", message));
        }
        rollup.log(&decided, number, index)
    }
}

impl Rollup {
    /// The log with this index of block `number`, sealed or open.
    ///
    /// # Errors
    /// Store errors; `store_corrupt` also when the store lacks a block that was decided.
    pub fn log(&self, decided: &Decided, number: u64, index: u64) -> Result<Option<PlacedLog>> {
        if let Some((open, _)) = decided.view.open.as_ref().filter(|(open, _)| open.number == number) {
            return Ok(in_open_block(open, index));
        }
        // A remote rollup begins with its anchor, whichever of the blocks below were put into the store.
        let begins = decided.view.remote.as_ref().is_some_and(|remote| number <= remote.anchor.number);
        if number > decided.view.head.header.number || begins {
            return Ok(None);
        }
        let recent = decided.recent(number);
        if let Some((sealed, body)) = recent.and_then(|sealed| Some((sealed, sealed.body.as_ref()?))) {
            let log = log_among(&body.items, index);
            return Ok(log.map(|log| PlacedLog { timestamp: sealed.header.timestamp, log: log.clone() }));
        }
        let hash = self.hash_of(decided, number)?.ok_or_else(|| missing(number))?;
        self.stored_log(number, hash, index)
    }

    fn stored_log(&self, number: u64, hash: B256, index: u64) -> Result<Option<PlacedLog>> {
        if let Some(stored) = self.log_cache().get(hash) {
            return stored.log(index);
        }
        let block = self.store.block(self.chain.chain_id, number, hash)?.ok_or_else(|| missing(number))?;
        let header = Header::decode(&mut &block.header[..]).map_err(|_| missing(number))?;
        let (receipts, positions) = (block.receipts.clone(), log_positions(&block.receipts)?);
        let stored = Arc::new(StoredLogs { timestamp: header.timestamp, receipts, positions });
        self.log_cache().put(hash, stored.clone());
        stored.log(index)
    }
}

/// "No such log" would be a lie here, and nodes whose stores differ would judge a message differently.
fn missing(number: u64) -> CoreError {
    CoreError::new("store_corrupt", format!("the store lacks block {number}; rebuild it from the decided log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> B256 {
        B256::from(alloy_primitives::U256::from(number))
    }

    fn stored(bytes: usize) -> Arc<StoredLogs> {
        Arc::new(StoredLogs { timestamp: 0, receipts: vec![0; bytes].into(), positions: Vec::new() })
    }

    #[test]
    fn the_cache_keeps_the_blocks_asked_for_last_within_both_bounds() {
        let mut cache = LogCache::default();
        for number in 0..1500 {
            cache.put(hash(number), stored(10));
            assert!(cache.get(hash(0)).is_some(), "block 0 is asked for all the time and stays");
        }
        assert_eq!(cache.blocks.len(), BLOCKS_KEPT);
        assert_eq!(cache.bytes, BLOCKS_KEPT * 10);
        assert!(cache.get(hash(100)).is_none());
        cache.put(hash(10_000), stored(BYTES_KEPT - 15));
        assert_eq!(cache.blocks.len(), 2, "the large block and the last one asked for");
        cache.put(hash(10_001), stored(BYTES_KEPT + 1));
        assert!(cache.get(hash(10_001)).is_none() && cache.get(hash(10_000)).is_some() && cache.get(hash(0)).is_some());
        assert!(cache.bytes <= BYTES_KEPT);
    }
}
