//! The state of a rollup.

use alloy_primitives::{Address, Bytes, B256, U256};

use crate::{AccountInfo, Key, StateChanges};

/// A rollup's account state.
#[derive(Clone, Debug, Default)]
pub struct StateTrie;

/// One contract's storage.
#[derive(Clone, Debug, Default)]
pub struct StorageTrie;

/// Proof of an account and some of its slots (EIP-1186 `eth_getProof`).
#[derive(Clone, Debug)]
pub struct AccountProof {
    /// The account's fields; `None` proves absence.
    pub info: Option<AccountInfo>,
    /// Root of its storage trie; the empty root when absent.
    pub storage_root: B256,
    /// RLP of the nodes from the state root down to the account's leaf, or to where its path ends.
    pub nodes: Vec<Bytes>,
    /// One proof per slot asked for, in the order asked.
    pub slots: Vec<StorageProof>,
}

/// Proof of one slot.
#[derive(Clone, Debug)]
pub struct StorageProof {
    /// Slot number.
    pub slot: U256,
    /// Value; zero proves absence.
    pub value: U256,
    /// RLP of the nodes from the storage root down.
    pub nodes: Vec<Bytes>,
}

/// Size of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStatistics {
    /// Accounts that exist.
    pub accounts: u64,
    /// Slots with a value other than zero, over all accounts.
    pub slots: u64,
    /// Trie nodes, over all tries.
    pub nodes: u64,
    /// Heap bytes of those nodes, the allocator's rounding not counted.
    pub bytes: u64,
}

impl StateTrie {
    /// The account's fields, or `None` when it does not exist.
    pub fn account(&self, _address: impl Into<Key>) -> Option<AccountInfo> {
        todo!()
    }
    /// The value of a slot; zero when slot or account do not exist.
    pub fn storage(&self, _address: impl Into<Key>, _slot: impl Into<Key>) -> U256 {
        todo!()
    }
    /// The account's storage (empty when it does not exist); holds its nodes alive and costs one reference count.
    pub fn storage_trie(&self, _address: impl Into<Key>) -> StorageTrie {
        todo!()
    }
    /// The state after the changes; hashes keys but no nodes.
    pub fn apply(&self, _changes: StateChanges) -> Self {
        todo!()
    }
    /// State root; hashes what no one hashed before, on all of rayon's threads.
    pub fn root(&self) -> B256 {
        todo!()
    }
    /// Root of an account's storage; the empty root when it has none.
    pub fn storage_root(&self, _address: impl Into<Key>) -> B256 {
        todo!()
    }
    /// EIP-1186 proof of the account and the slots, absent ones included.
    pub fn account_proof(&self, _address: Address, _slots: &[U256]) -> AccountProof {
        todo!()
    }
    /// All accounts by rising hashed address, each with its storage.
    pub fn iter(&self) -> impl Iterator<Item = (B256, AccountInfo, StorageTrie)> + '_ {
        std::iter::empty()
    }
    /// Size of the state; walks every node (about 50 ns each).
    pub fn statistics(&self) -> StateStatistics {
        todo!()
    }
    /// Number of accounts; constant time.
    pub fn account_count(&self) -> u64 {
        todo!()
    }
    /// Number of slots over all accounts; constant time.
    pub fn slot_count(&self) -> u64 {
        todo!()
    }
}

impl StorageTrie {
    /// The value of a slot; zero when absent.
    pub fn get(&self, _slot: impl Into<Key>) -> U256 {
        todo!()
    }
    /// Storage root.
    pub fn root(&self) -> B256 {
        todo!()
    }
    /// True when no slot has a value.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// All slots by rising hashed slot.
    pub fn iter(&self) -> impl Iterator<Item = (B256, U256)> + '_ {
        std::iter::empty()
    }
}
