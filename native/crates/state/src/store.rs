//! Derived block data.

use std::path::Path;

use alloy_primitives::{Bytes, B256};

use crate::StoreError;

/// Blocks, receipts and indexes of all rollups of a node. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store;

/// What one sealed block leaves in the store. The bytes are opaque to the store.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a> {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// Header bytes.
    pub header: &'a [u8],
    /// Body bytes.
    pub body: &'a [u8],
    /// Receipts bytes.
    pub receipts: &'a [u8],
    /// Hashes of the block's transactions, in order.
    pub transaction_hashes: &'a [B256],
}

/// Size of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Bytes on disk (or in memory for an in-memory store).
    pub disk_bytes: u64,
    /// Bytes in write buffers.
    pub write_buffer_bytes: u64,
}

impl Store {
    /// Opens or creates a store in this folder.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        todo!()
    }
    /// A store that lives in memory only.
    pub fn in_memory() -> Self {
        todo!()
    }
    /// Writes one block atomically, replacing a block of the same number.
    pub fn write_block(&self, _rollup: u64, _block: BlockRecord<'_>) -> Result<(), StoreError> {
        todo!()
    }
    /// Header bytes of a block.
    pub fn header(&self, _rollup: u64, _number: u64) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Body bytes of a block.
    pub fn body(&self, _rollup: u64, _number: u64) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Receipts bytes of a block.
    pub fn receipts(&self, _rollup: u64, _number: u64) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Number of the block with this hash.
    pub fn number_by_hash(&self, _rollup: u64, _hash: B256) -> Result<Option<u64>, StoreError> {
        todo!()
    }
    /// Block number and index in the block of a transaction.
    pub fn transaction_location(&self, _rollup: u64, _hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
        todo!()
    }
    /// Greatest block number of a rollup.
    pub fn head_number(&self, _rollup: u64) -> Result<Option<u64>, StoreError> {
        todo!()
    }
    /// Removes all blocks above `number` with everything that refers to them; returns how many there were.
    pub fn remove_above(&self, _rollup: u64, _number: u64) -> Result<u64, StoreError> {
        todo!()
    }
    /// Makes everything written so far survive a power cut.
    pub fn sync(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Syncs and closes; every later call answers [`StoreError::Closed`].
    pub fn close(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Size figures.
    pub fn statistics(&self) -> Result<StoreStatistics, StoreError> {
        todo!()
    }
}
