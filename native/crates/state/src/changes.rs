//! A batch of changes to a state: one entry per account, slots inside. Order does not matter; sorting happens in `apply`.

use alloy_primitives::{keccak256, Address, B256, U256};

use crate::AccountInfo;

/// A trie key: given plain it is hashed (keccak-256) when it is used, given hashed it is used as it is.
///
/// Executors that look the same keys up again and again keep the hash and save about 0.25 us per use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// An address, not yet hashed.
    Address(Address),
    /// A storage slot number, not yet hashed.
    Slot(U256),
    /// keccak-256 of the address (20 bytes) or of the slot (32 bytes, big-endian).
    Hashed(B256),
}

impl Key {
    /// The key's place in the trie.
    #[inline]
    pub fn hashed(self) -> B256 {
        match self {
            Self::Address(address) => keccak256(address),
            Self::Slot(slot) => keccak256(slot.to_be_bytes::<32>()),
            Self::Hashed(hash) => hash,
        }
    }
}

impl From<Address> for Key {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<U256> for Key {
    fn from(slot: U256) -> Self {
        Self::Slot(slot)
    }
}

impl From<B256> for Key {
    /// A `B256` is taken as an already hashed key, never as a slot number.
    fn from(hash: B256) -> Self {
        Self::Hashed(hash)
    }
}

/// What becomes of an account's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountFate {
    /// Stays as it is; only slots change. An account that does not exist comes into being with default fields if a slot is set.
    Keep,
    /// Exists from now on with these fields; its storage stays unless wiped.
    Set(AccountInfo),
    /// Ceases to exist, storage included; slots of the same change are ignored.
    Delete,
}

/// Everything that changes in one account.
#[derive(Clone, Debug)]
pub struct AccountChange {
    /// The account.
    pub address: Key,
    /// What becomes of its fields.
    pub fate: AccountFate,
    /// True when the storage before this change is gone (account destroyed and created again); `slots` are then all there is.
    pub storage_wiped: bool,
    /// New values of slots; zero deletes. A slot may appear once.
    pub slots: Vec<(Key, U256)>,
}

impl AccountChange {
    /// The account has these fields from now on.
    pub fn set(address: impl Into<Key>, info: AccountInfo) -> Self {
        Self { address: address.into(), fate: AccountFate::Set(info), storage_wiped: false, slots: Vec::new() }
    }

    /// The account's fields stay; slots follow with [`Self::with_slot`].
    pub fn keep(address: impl Into<Key>) -> Self {
        Self { address: address.into(), fate: AccountFate::Keep, storage_wiped: false, slots: Vec::new() }
    }

    /// The account and its storage are gone.
    pub fn delete(address: impl Into<Key>) -> Self {
        Self { address: address.into(), fate: AccountFate::Delete, storage_wiped: true, slots: Vec::new() }
    }

    /// Drops the storage from before; slots given here are all that remain.
    pub fn with_storage_wiped(mut self) -> Self {
        self.storage_wiped = true;
        self
    }

    /// Adds the new value of one slot; zero deletes it.
    pub fn with_slot(mut self, slot: impl Into<Key>, value: U256) -> Self {
        self.slots.push((slot.into(), value));
        self
    }
}

/// The changes of a sub-block or block, at most one entry per account.
#[derive(Clone, Debug, Default)]
pub struct StateChanges {
    pub(crate) accounts: Vec<AccountChange>,
}

impl StateChanges {
    /// An empty batch with room for `accounts` entries.
    pub fn with_capacity(accounts: usize) -> Self {
        Self { accounts: Vec::with_capacity(accounts) }
    }

    /// Adds one account's changes.
    pub fn push(&mut self, change: AccountChange) {
        self.accounts.push(change);
    }

    /// Number of accounts in the batch.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// The entries as they were pushed.
    pub fn iter(&self) -> std::slice::Iter<'_, AccountChange> {
        self.accounts.iter()
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

impl FromIterator<AccountChange> for StateChanges {
    fn from_iter<I: IntoIterator<Item = AccountChange>>(iter: I) -> Self {
        Self { accounts: iter.into_iter().collect() }
    }
}
