//! The state of a rollup: the account trie, whose leaves hold the storage tries.

use alloy_primitives::{Address, Bytes, B256, KECCAK256_EMPTY, U256};
use rayon::prelude::*;
use triomphe::Arc;

use crate::trie::{encode_integer, encode_list_header, string, strings, EncodeBuffer, Resolved, Trie, Update, Value};
use crate::{AccountChange, AccountFate, AccountInfo, Key, StateChanges};

/// A batch of this many keys or more is hashed and sorted in parallel.
const PARALLEL_KEYS_MIN: usize = 256;

/// A rollup's whole account state, immutable; cloning costs one reference count.
#[derive(Clone, Debug, Default)]
pub struct StateTrie {
    pub(crate) accounts: Trie<AccountValue>,
}

/// One contract's storage, immutable; cloning costs one reference count.
#[derive(Clone, Debug, Default)]
pub struct StorageTrie {
    pub(crate) slots: Trie<U256>,
}

/// Proof of an account and some of its slots (EIP-1186 `eth_getProof`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account's fields; `None` when the proof shows absence.
    pub info: Option<AccountInfo>,
    /// Root of its storage trie; the empty root when absent.
    pub storage_root: B256,
    /// RLP of the nodes from the state root to the account's leaf, or to the node that shows its absence.
    pub nodes: Vec<Bytes>,
    /// One proof per slot asked for, in the order asked.
    pub slots: Vec<StorageProof>,
}

/// Proof of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProof {
    /// Slot number.
    pub slot: U256,
    /// Value; zero when the proof shows absence.
    pub value: U256,
    /// RLP of the nodes from the storage root down; none when the storage is empty.
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
    #[inline]
    pub fn account(&self, address: impl Into<Key>) -> Option<AccountInfo> {
        self.accounts.get(&address.into().hashed()).map(AccountValue::info)
    }

    /// The value of a slot; zero when slot or account do not exist.
    #[inline]
    pub fn storage(&self, address: impl Into<Key>, slot: impl Into<Key>) -> U256 {
        match self.accounts.get(&address.into().hashed()).and_then(AccountValue::slots) {
            Some(slots) => slots.get(&slot.into().hashed()).copied().unwrap_or_default(),
            None => U256::ZERO,
        }
    }

    /// The account's storage, empty when it does not exist; reading many slots through it saves the walk to the account.
    #[inline]
    pub fn storage_trie(&self, address: impl Into<Key>) -> StorageTrie {
        self.accounts.get(&address.into().hashed()).map(AccountValue::storage).unwrap_or_default()
    }

    /// Fields and storage in one walk.
    #[inline]
    pub fn account_and_storage(&self, address: impl Into<Key>) -> Option<(AccountInfo, StorageTrie)> {
        let value = self.accounts.get(&address.into().hashed())?;
        Some((value.info(), value.storage()))
    }

    /// The state after the changes. Hashes keys but no nodes, so that it suits every sub-block of an open block.
    ///
    /// # Panics
    /// When an account, or a slot of an account, appears twice: the caller's overlay is broken.
    pub fn apply(&self, changes: StateChanges) -> Self {
        let prepare = |change: AccountChange| AccountUpdate::prepare(change);
        let mut updates: Vec<AccountUpdate> = if changes.len() >= PARALLEL_KEYS_MIN {
            changes.accounts.into_par_iter().with_min_len(32).map(prepare).collect()
        } else {
            changes.accounts.into_iter().map(prepare).collect()
        };
        sort_updates(&mut updates, |update| &update.key);
        self.accounts.update(&mut updates).map_or_else(|| self.clone(), |accounts| Self { accounts })
    }

    /// What turns this state into an older one when it is applied: by rising hashed address, slots by rising hashed number. Costs
    /// what differs when one was made from the other.
    pub fn changes_back_to(&self, old: &Self) -> StateChanges {
        let differing = self.accounts.differences(&old.accounts);
        let changes = differing.into_iter().filter_map(|(key, new, old)| {
            let Some(old) = old else { return Some(AccountChange::delete(key)) };
            let slots =
                |value: Option<&'_ AccountValue>| value.and_then(AccountValue::slots).cloned().unwrap_or_default();
            let (new_slots, old_slots) = (slots(new), slots(Some(old)));
            let slots: Vec<(Key, U256)> = new_slots
                .differences(&old_slots)
                .into_iter()
                .filter(|(_, new, old)| new != old)
                .map(|(slot, _, old)| (Key::Hashed(slot), old.copied().unwrap_or_default()))
                .collect();
            let same = slots.is_empty() && new.is_some_and(|new| new.info() == old.info());
            let fate = AccountFate::Set(old.info());
            (!same).then_some(AccountChange { address: Key::Hashed(key), fate, storage_wiped: false, slots })
        });
        changes.collect()
    }

    /// State root; hashes what no one hashed before, on rayon's threads.
    pub fn root(&self) -> B256 {
        self.accounts.root()
    }

    /// Root of an account's storage; the empty root when it has none or does not exist.
    pub fn storage_root(&self, address: impl Into<Key>) -> B256 {
        self.storage_trie(address).root()
    }

    /// Proof of the account and the slots; what is absent is proven absent (EIP-1186).
    pub fn account_proof(&self, address: Address, slots: &[U256]) -> AccountProof {
        let key = Key::from(address).hashed();
        let storage = self.storage_trie(key);
        AccountProof {
            info: self.account(key),
            storage_root: storage.root(),
            nodes: self.accounts.prove(&key),
            slots: slots.iter().map(|&slot| storage.slot_proof(slot)).collect(),
        }
    }

    /// All accounts by rising hashed address, each with its storage.
    pub fn iter(&self) -> impl Iterator<Item = (B256, AccountInfo, StorageTrie)> + '_ {
        self.accounts.iter().map(|(key, value)| (*key, value.info(), value.storage()))
    }

    /// Number of accounts; constant time.
    pub fn account_count(&self) -> u64 {
        self.accounts.len()
    }

    /// Number of slots over all accounts; constant time.
    pub fn slot_count(&self) -> u64 {
        self.accounts.weight()
    }

    /// Size of the state; walks every node.
    pub fn statistics(&self) -> StateStatistics {
        let (mut nodes, mut bytes) = self.accounts.nodes_and_bytes();
        for contract in self.accounts.iter().filter_map(|(_, value)| value.contract.as_ref()) {
            let (storage_nodes, storage_bytes) = contract.storage.slots.nodes_and_bytes();
            nodes += storage_nodes;
            bytes += storage_bytes + (size_of::<Contract>() + size_of::<usize>()) as u64;
        }
        StateStatistics { accounts: self.account_count(), slots: self.slot_count(), nodes, bytes }
    }

    /// True when both are the same version in memory; unequal versions may still have equal content.
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.accounts.is_same(&other.accounts)
    }

    /// A state from accounts in strictly rising order of hashed addresses; built in parallel.
    pub(crate) fn from_sorted(accounts: Vec<AccountEntry>) -> Self {
        Self { accounts: Trie::from_sorted(accounts.into_iter().map(|entry| (entry.key, entry.value))) }
    }
}

/// An account on its way into a state that is being built.
pub(crate) struct AccountEntry {
    key: B256,
    value: AccountValue,
}

impl AccountEntry {
    pub(crate) fn new(key: B256, info: AccountInfo, storage: StorageTrie) -> Self {
        Self { key, value: AccountValue::new(info, storage) }
    }

    pub(crate) fn key(&self) -> B256 {
        self.key
    }
}

impl StorageTrie {
    /// The value of a slot; zero when absent.
    #[inline]
    pub fn get(&self, slot: impl Into<Key>) -> U256 {
        self.slots.get(&slot.into().hashed()).copied().unwrap_or_default()
    }

    /// Storage root; the empty root without slots.
    pub fn root(&self) -> B256 {
        self.slots.root()
    }

    /// True when no slot has a value.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of slots; constant time.
    pub fn len(&self) -> u64 {
        self.slots.len()
    }

    /// All slots by rising hashed slot number.
    pub fn iter(&self) -> impl Iterator<Item = (B256, U256)> + '_ {
        self.slots.iter().map(|(key, value)| (*key, *value))
    }

    /// Proof of one slot, present or absent.
    pub fn slot_proof(&self, slot: U256) -> StorageProof {
        let key = Key::from(slot).hashed();
        StorageProof { slot, value: self.get(key), nodes: self.slots.prove(&key) }
    }

    /// Storage from slots in strictly rising order of hashed numbers, none of them zero.
    pub(crate) fn from_sorted(slots: Vec<(B256, U256)>) -> Self {
        debug_assert!(slots.iter().all(|(_, value)| !value.is_zero()));
        Self { slots: Trie::from_sorted(slots.into_iter()) }
    }
}

/// What an account's leaf holds. Code and storage are apart because most accounts have neither.
#[derive(Clone, Debug)]
pub(crate) struct AccountValue {
    nonce: u64,
    balance: U256,
    contract: Option<Arc<Contract>>,
}

#[derive(Debug)]
struct Contract {
    code_hash: B256,
    storage: StorageTrie,
}

impl AccountValue {
    pub(crate) fn new(info: AccountInfo, storage: StorageTrie) -> Self {
        let AccountInfo { nonce, balance, code_hash } = info;
        let plain = code_hash == KECCAK256_EMPTY && storage.is_empty();
        let contract = (!plain).then(|| Arc::new(Contract { code_hash, storage }));
        Self { nonce, balance, contract }
    }

    pub(crate) fn info(&self) -> AccountInfo {
        let code_hash = self.contract.as_ref().map_or(KECCAK256_EMPTY, |contract| contract.code_hash);
        AccountInfo { nonce: self.nonce, balance: self.balance, code_hash }
    }

    fn slots(&self) -> Option<&Trie<U256>> {
        self.contract.as_ref().map(|contract| &contract.storage.slots)
    }

    pub(crate) fn storage(&self) -> StorageTrie {
        self.contract.as_ref().map(|contract| contract.storage.clone()).unwrap_or_default()
    }
}

impl Value for AccountValue {
    /// RLP list of nonce, balance, storage root, code hash (Yellow Paper 4.1).
    fn encode(&self, out: &mut EncodeBuffer) {
        let integer_bytes = |bits: usize| if bits <= 7 { 1 } else { 1 + bits.div_ceil(8) };
        let nonce_bits = 64 - self.nonce.leading_zeros() as usize;
        let payload = integer_bytes(nonce_bits) + integer_bytes(self.balance.bit_len()) + 2 * 33;
        encode_list_header(payload, out);
        encode_integer(&U256::from(self.nonce), out);
        encode_integer(&self.balance, out);
        let (root, code_hash) = match &self.contract {
            Some(contract) => (contract.storage.root(), contract.code_hash),
            None => (crate::trie::EMPTY_ROOT, KECCAK256_EMPTY),
        };
        out.string(root.as_slice());
        out.string(code_hash.as_slice());
    }

    fn decode(rlp: &[u8]) -> Option<Self> {
        let fields = strings(rlp)?;
        let [nonce, balance, root, code_hash] = fields[..] else { return None };
        let info = AccountInfo {
            nonce: U256::try_from_be_slice(nonce)?.try_into().ok()?,
            balance: U256::try_from_be_slice(balance)?,
            code_hash: B256::try_from(code_hash).ok()?,
        };
        Some(Self::new(info, StorageTrie { slots: Trie::hidden(B256::try_from(root).ok()?) }))
    }

    /// Its number of slots.
    fn weight(&self) -> u64 {
        self.slots().map_or(0, Trie::len)
    }
}

impl Value for U256 {
    /// RLP of the integer.
    fn encode(&self, out: &mut EncodeBuffer) {
        encode_integer(self, out);
    }

    fn decode(rlp: &[u8]) -> Option<Self> {
        Self::try_from_be_slice(string(rlp)?)
    }

    fn weight(&self) -> u64 {
        0
    }
}

/// A slot's new value; zero deletes it.
struct SlotUpdate {
    key: B256,
    value: U256,
}

impl Update<U256> for SlotUpdate {
    fn key(&self) -> &B256 {
        &self.key
    }

    fn resolve(&mut self, old: Option<&U256>) -> Resolved<U256> {
        match old {
            Some(old) if *old == self.value => Resolved::Unchanged,
            None if self.value.is_zero() => Resolved::Unchanged,
            Some(_) if self.value.is_zero() => Resolved::Deleted,
            _ => Resolved::Set(self.value),
        }
    }
}

/// An account's change with its keys hashed and its slots sorted.
struct AccountUpdate {
    key: B256,
    fate: AccountFate,
    storage_wiped: bool,
    slots: Vec<SlotUpdate>,
}

impl AccountUpdate {
    fn prepare(change: AccountChange) -> Self {
        let AccountChange { address, fate, storage_wiped, slots } = change;
        let prepare = |(slot, value): (Key, U256)| SlotUpdate { key: slot.hashed(), value };
        let mut slots: Vec<SlotUpdate> = if slots.len() >= PARALLEL_KEYS_MIN {
            slots.into_par_iter().with_min_len(64).map(prepare).collect()
        } else {
            slots.into_iter().map(prepare).collect()
        };
        sort_updates(&mut slots, |update| &update.key);
        Self { key: address.hashed(), fate, storage_wiped, slots }
    }
}

impl Update<AccountValue> for AccountUpdate {
    fn key(&self) -> &B256 {
        &self.key
    }

    fn resolve(&mut self, old: Option<&AccountValue>) -> Resolved<AccountValue> {
        let info = match self.fate {
            AccountFate::Delete if old.is_some() => return Resolved::Deleted,
            AccountFate::Delete => return Resolved::Unchanged,
            AccountFate::Set(info) => info,
            AccountFate::Keep => old.map(AccountValue::info).unwrap_or_default(),
        };
        let before = if self.storage_wiped { None } else { old.and_then(AccountValue::slots) };
        let empty = Trie::default();
        let changed = before.unwrap_or(&empty).update(&mut self.slots);
        let wiped = self.storage_wiped && old.and_then(AccountValue::slots).is_some_and(|slots| !slots.is_empty());
        let same_storage = changed.is_none() && !wiped;
        match old {
            Some(old) if same_storage && old.info() == info => return Resolved::Unchanged,
            // Only nonce or balance differ, the usual case: code and storage stay shared.
            Some(old) if same_storage && old.info().code_hash == info.code_hash => {
                let contract = old.contract.clone();
                return Resolved::Set(AccountValue { nonce: info.nonce, balance: info.balance, contract });
            }
            None if changed.is_none() && matches!(self.fate, AccountFate::Keep) => return Resolved::Unchanged,
            _ => {}
        }
        let slots = changed.unwrap_or_else(|| before.cloned().unwrap_or_default());
        Resolved::Set(AccountValue::new(info, StorageTrie { slots }))
    }
}

/// Sorts by key and refuses repetitions.
fn sort_updates<U: Send>(updates: &mut [U], key: impl Fn(&U) -> &B256 + Sync) {
    if updates.len() >= PARALLEL_KEYS_MIN {
        updates.par_sort_unstable_by(|left, right| key(left).cmp(key(right)));
    } else {
        updates.sort_unstable_by(|left, right| key(left).cmp(key(right)));
    }
    assert!(updates.windows(2).all(|pair| key(&pair[0]) != key(&pair[1])), "a key appears twice in a batch of changes");
}
