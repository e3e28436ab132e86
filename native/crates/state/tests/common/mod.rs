//! A plain model of a state and its roots by alloy-trie's `HashBuilder`, the oracle of these tests.
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use alloy_trie::{HashBuilder, Nibbles, TrieAccount, EMPTY_ROOT_HASH};
use plait_state::{AccountChange, AccountFate, AccountInfo, StateChanges, StateTrie};

/// Account fields and storage, by hashed keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub accounts: BTreeMap<B256, (AccountInfo, BTreeMap<B256, U256>)>,
}

pub fn oracle_storage_root(slots: &BTreeMap<B256, U256>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in slots {
        builder.add_leaf(Nibbles::unpack(key), &alloy_rlp::encode(value));
    }
    if slots.is_empty() {
        EMPTY_ROOT_HASH
    } else {
        builder.root()
    }
}

pub fn trie_account(info: &AccountInfo, slots: &BTreeMap<B256, U256>) -> TrieAccount {
    let storage_root = oracle_storage_root(slots);
    TrieAccount { nonce: info.nonce, balance: info.balance, storage_root, code_hash: info.code_hash }
}

impl Model {
    pub fn apply(&mut self, changes: &StateChanges) {
        for change in changes.iter() {
            let key = change.address.hashed();
            let known = self.accounts.contains_key(&key);
            let has_slot = change.slots.iter().any(|(_, value)| !value.is_zero());
            match change.fate {
                AccountFate::Delete => {
                    self.accounts.remove(&key);
                    continue;
                }
                AccountFate::Keep if !known && !has_slot => continue,
                _ => {}
            }
            let entry = self.accounts.entry(key).or_default();
            if let AccountFate::Set(info) = change.fate {
                entry.0 = info;
            }
            if change.storage_wiped {
                entry.1.clear();
            }
            for (slot, value) in &change.slots {
                if value.is_zero() {
                    entry.1.remove(&slot.hashed());
                } else {
                    entry.1.insert(slot.hashed(), *value);
                }
            }
        }
    }

    pub fn root(&self) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, (info, slots)) in &self.accounts {
            builder.add_leaf(Nibbles::unpack(key), &alloy_rlp::encode(trie_account(info, slots)));
        }
        if self.accounts.is_empty() {
            EMPTY_ROOT_HASH
        } else {
            builder.root()
        }
    }

    /// Panics unless the trie holds exactly this model: root, counts, iteration, reads.
    pub fn check(&self, state: &StateTrie) {
        assert_eq!(state.root(), self.root(), "root differs from HashBuilder's");
        let listed: BTreeMap<_, _> =
            state.iter().map(|(key, info, storage)| (key, (info, storage.iter().collect()))).collect();
        assert_eq!(listed, self.accounts);
        assert!(state.iter().map(|entry| entry.0).is_sorted());
        assert_eq!(state.account_count(), self.accounts.len() as u64);
        assert_eq!(state.slot_count(), self.accounts.values().map(|account| account.1.len() as u64).sum::<u64>());
        for (key, (info, slots)) in &self.accounts {
            assert_eq!(state.account(*key).as_ref(), Some(info));
            assert_eq!(state.storage_root(*key), oracle_storage_root(slots));
            for (slot, value) in slots {
                assert_eq!(state.storage(*key, *slot), *value);
            }
        }
    }
}

/// A deterministic stream of numbers (splitmix64), for tests that need volume rather than shrinking.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub fn address(number: u64) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

/// A state of `accounts` externally owned accounts plus one contract (address 0) with `slots` slots.
pub fn populated(accounts: u64, slots: u64) -> StateTrie {
    let mut changes = StateChanges::default();
    for number in 1..=accounts {
        changes.push(AccountChange::set(
            address(number),
            AccountInfo { nonce: number % 7, balance: U256::from(number) << 40, ..Default::default() },
        ));
    }
    let info = AccountInfo { nonce: 1, ..Default::default() };
    let mut contract = AccountChange::set(address(0), info);
    contract.slots.extend((1..=slots).map(|slot| (U256::from(slot).into(), U256::from(slot * slot + 1))));
    changes.push(contract);
    StateTrie::default().apply(changes)
}
