//! The write overlay of a session: changed accounts and slots over an immutable state, with an undo log.
//!
//! Invariants: what the overlay answers is the base's answer with every committed change applied; `rollback(mark)` restores
//! exactly the answers given when `mark` was taken, at any depth; [`Overlay::freeze`] folds the changes into a new base without
//! hashing and leaves the answers unchanged. Values read from the base are cached too (clean entries), which no mark undoes.
//! revm's own journal ends with each transaction, hence this log (measured: mark and revert cost 0.02 us at any overlay size).

use std::sync::{Arc, MutexGuard, PoisonError};

use alloy_primitives::{keccak256, map::AddressMap, map::HashMap, Address, B256, KECCAK256_EMPTY, U256};
use plait_state::{AccountChange, AccountFate, AccountInfo, Key, StateChanges, StateTrie, StorageTrie};
use revm::{bytecode::Bytecode, state::Account as EvmAccount, Database, DatabaseCommit, DatabaseRef};

use crate::codes::Codes;
use crate::error::CoreError;
use crate::genesis::MESSAGE_PASSER;
use crate::remote::{known, Misses, Remote, Sink};

/// Hashes of recent blocks by number, enough for BLOCKHASH at every kept state.
pub type RecentHashes = Arc<std::collections::BTreeMap<u64, B256>>;

#[derive(Debug, Clone)]
struct CachedAccount {
    key: B256,
    info: Option<AccountInfo>,
    dirty: bool,
    storage: Option<StorageTrie>,
    slots: HashMap<U256, CachedSlot>,
}

#[derive(Debug, Clone, Copy)]
struct CachedSlot {
    key: B256,
    value: U256,
    dirty: bool,
}

#[derive(Debug, Clone)]
enum Undo {
    Account { address: Address, info: Option<AccountInfo>, dirty: bool },
    Slot { address: Address, slot: U256, value: U256, dirty: bool },
}

/// Changed accounts and slots over a state.
#[derive(Debug, Clone)]
pub struct Overlay {
    base: StateTrie,
    codes: Codes,
    hashes: RecentHashes,
    accounts: AddressMap<CachedAccount>,
    undo: Vec<Undo>,
    /// Where the base's unknown part is, and where it is noted what of it was missed.
    unknown: Option<(Arc<Remote>, Sink)>,
}

/// Changes set aside by a freeze, to be taken up again when a checkpoint from before it is restored.
#[derive(Debug, Clone)]
pub struct Stash {
    base: StateTrie,
    accounts: AddressMap<CachedAccount>,
    undo: Vec<Undo>,
}

/// A remote state with the place where misses are noted.
type Unknown<'a> = Option<&'a (Arc<Remote>, Sink)>;

fn noted(sink: &Sink) -> MutexGuard<'_, Misses> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slot that no overlay has changed.
fn base_slot(storage: &StorageTrie, (address, slot): (Address, U256), key: B256, unknown: Unknown<'_>) -> U256 {
    match unknown {
        None => storage.get(key),
        Some((_, sink)) => known(storage.find(key), || noted(sink).slot(address, slot)).unwrap_or_default(),
    }
}

/// An account that no overlay has changed.
fn base_account(base: &StateTrie, address: Address, key: B256, unknown: Unknown<'_>) -> Option<AccountInfo> {
    match unknown {
        None => base.account(key),
        Some((remote, sink)) => {
            remote.looked_at(key, address);
            known(base.find_account(key), || noted(sink).account(address))
        }
    }
}

impl CachedAccount {
    fn load(base: &StateTrie, address: Address, unknown: Unknown<'_>) -> Self {
        let key = keccak256(address);
        let info = base_account(base, address, key, unknown);
        Self { key, info, dirty: false, storage: None, slots: HashMap::default() }
    }

    fn slot(&mut self, base: &StateTrie, address: Address, slot: U256, unknown: Unknown<'_>) -> &mut CachedSlot {
        let Self { key: account, storage, slots, .. } = self;
        slots.entry(slot).or_insert_with(|| {
            let key = Key::from(slot).hashed();
            let storage = storage.get_or_insert_with(|| base.storage_trie(*account));
            CachedSlot { key, value: base_slot(storage, (address, slot), key, unknown), dirty: false }
        })
    }
}

impl Overlay {
    /// An overlay without changes.
    pub fn new(base: StateTrie, codes: Codes, hashes: RecentHashes) -> Self {
        Self { base, codes, hashes, accounts: AddressMap::default(), undo: Vec::new(), unknown: None }
    }

    /// What is not known of the base is there; misses are noted in the sink.
    pub(crate) fn attach(&mut self, remote: Option<Arc<Remote>>, sink: Sink) {
        self.unknown = remote.map(|remote| (remote, sink));
    }

    /// Where unknown state is read.
    pub(crate) fn remote(&self) -> Option<&Arc<Remote>> {
        self.unknown.as_ref().map(|(remote, _)| remote)
    }

    /// A new place where misses are noted from now on.
    pub(crate) fn watch(&mut self) -> Sink {
        let sink = Sink::default();
        if let Some((_, noted)) = &mut self.unknown {
            *noted = sink.clone();
        }
        sink
    }

    /// The state below the changes.
    pub(crate) fn base(&self) -> &StateTrie {
        &self.base
    }

    /// A code; empty and noted when it is not known.
    pub(crate) fn code(&self, hash: B256) -> Bytecode {
        if let Some((_, sink)) = self.unknown.as_ref().filter(|_| hash != KECCAK256_EMPTY && !self.codes.has(hash)) {
            let mut owners =
                self.accounts.iter().filter(|(_, cached)| cached.info.is_some_and(|info| info.code_hash == hash));
            noted(sink).code(owners.next().map(|(owner, _)| *owner).unwrap_or_default(), hash);
            return Bytecode::default();
        }
        self.codes.analysed(hash)
    }

    /// A state with changes in the form that has a root.
    ///
    /// # Errors
    /// `remote_unavailable` where a node is missing that tells the form; it is noted.
    pub(crate) fn settled(&mut self, state: &StateTrie) -> crate::error::Result<StateTrie> {
        self.account(MESSAGE_PASSER);
        let Some((remote, sink)) = &self.unknown else { return Ok(state.clone()) };
        settled(state, remote, sink)
    }

    /// The codes this overlay adds to.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    /// Position to roll back to.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Undoes every change since `mark`.
    pub fn rollback(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop().expect("length checked") {
                Undo::Account { address, info, dirty } => {
                    let entry = self.cached(address);
                    entry.info = info;
                    entry.dirty = dirty;
                }
                Undo::Slot { address, slot, value, dirty } => {
                    let entry = self.cached_slot(address, slot);
                    entry.value = value;
                    entry.dirty = dirty;
                }
            }
        }
    }

    /// Whether anything has been changed since the base.
    pub fn is_changed(&self) -> bool {
        !self.undo.is_empty()
    }

    /// The state with all changes folded in, its new nodes not hashed yet.
    pub fn folded(&self) -> StateTrie {
        if self.undo.is_empty() {
            return self.base.clone();
        }
        let mut changes = StateChanges::with_capacity(self.accounts.len());
        for cached in self.accounts.values() {
            let slots: Vec<(Key, U256)> = cached
                .slots
                .values()
                .filter(|slot| slot.dirty)
                .map(|slot| (Key::Hashed(slot.key), slot.value))
                .collect();
            if !cached.dirty && slots.is_empty() {
                continue;
            }
            let fate = match (cached.dirty, cached.info) {
                (false, _) => AccountFate::Keep,
                (true, Some(info)) => AccountFate::Set(info),
                (true, None) => AccountFate::Delete,
            };
            changes.push(AccountChange { address: Key::Hashed(cached.key), fate, storage_wiped: false, slots });
        }
        self.base.apply(changes)
    }

    /// Replaces base and changes by the folded state. Earlier marks belong to the returned stash from now on.
    pub fn freeze(&mut self) -> (StateTrie, Option<Stash>) {
        if self.undo.is_empty() {
            return (self.base.clone(), None);
        }
        let folded = self.folded();
        let base = std::mem::replace(&mut self.base, folded.clone());
        let accounts = std::mem::take(&mut self.accounts);
        let undo = std::mem::take(&mut self.undo);
        (folded, Some(Stash { base, accounts, undo }))
    }

    /// Takes up the changes of `stash` and undoes them back to `mark`.
    pub fn restore(&mut self, stash: &Stash, mark: usize) {
        let Stash { base, accounts, undo } = stash.clone();
        self.base = base;
        self.accounts = accounts;
        self.undo = undo;
        self.rollback(mark);
    }

    /// Starts over from another base, as after sealing.
    pub fn reset(&mut self, base: StateTrie, hashes: RecentHashes) {
        let unknown = self.unknown.take();
        *self = Self { unknown, ..Self::new(base, self.codes.clone(), hashes) };
    }

    /// The account as this overlay sees it.
    pub fn account(&mut self, address: Address) -> Option<AccountInfo> {
        self.cached(address).info
    }

    /// The slot as this overlay sees it.
    pub fn slot(&mut self, address: Address, slot: U256) -> U256 {
        self.cached_slot(address, slot).value
    }

    fn cached(&mut self, address: Address) -> &mut CachedAccount {
        let Self { base, accounts, unknown, .. } = self;
        accounts.entry(address).or_insert_with(|| CachedAccount::load(base, address, unknown.as_ref()))
    }

    fn cached_slot(&mut self, address: Address, slot: U256) -> &mut CachedSlot {
        let Self { base, accounts, unknown, .. } = self;
        let entry = accounts.entry(address).or_insert_with(|| CachedAccount::load(base, address, unknown.as_ref()));
        entry.slot(base, address, slot, unknown.as_ref())
    }

    fn set_account(&mut self, address: Address, info: Option<AccountInfo>) {
        let entry = self.cached(address);
        let undo = Undo::Account { address, info: entry.info, dirty: entry.dirty };
        entry.info = info;
        entry.dirty = true;
        self.undo.push(undo);
    }

    fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        let entry = self.cached_slot(address, slot);
        let undo = Undo::Slot { address, slot, value: entry.value, dirty: entry.dirty };
        entry.value = value;
        entry.dirty = true;
        self.undo.push(undo);
    }

    /// Sets fields of an account for a call (state overrides); not meant for sessions.
    pub fn override_account(&mut self, address: Address, info: AccountInfo) {
        self.set_account(address, Some(info));
    }

    /// Sets one slot for a call.
    pub fn override_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.set_slot(address, slot, value);
    }

    /// Empties an account's storage for a call.
    pub fn override_storage_empty(&mut self, address: Address) {
        let entry = self.cached(address);
        entry.slots.clear();
        entry.storage = Some(StorageTrie::default());
    }

    fn commit_account(&mut self, address: Address, changed: EvmAccount) {
        if !changed.is_touched() {
            return;
        }
        if changed.is_selfdestructed() {
            // EIP-6780: only an account created in the same transaction disappears, so no committed slot of it exists.
            if self.account(address).is_some() {
                self.set_account(address, None);
            }
            return;
        }
        let info = changed.info;
        let next = AccountInfo { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash };
        // EIP-161: a touched empty account does not stay.
        let next = (!next.is_empty()).then_some(next);
        let before = self.account(address);
        if before != next {
            if let (Some(account), Some(code)) = (&next, &info.code) {
                if before.is_none_or(|before| before.code_hash != account.code_hash) {
                    self.codes.insert(account.code_hash, code);
                }
            }
            self.set_account(address, next);
        }
        for (slot, value) in changed.storage {
            if value.is_changed() {
                self.set_slot(address, slot, value.present_value);
            }
        }
    }
}

impl Database for Overlay {
    type Error = std::convert::Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<revm::state::AccountInfo>, Self::Error> {
        Ok(self.account(address).map(evm_account))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(self.code(code_hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        Ok(self.slot(address, slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        self.block_hash_ref(number)
    }
}

impl DatabaseRef for Overlay {
    type Error = std::convert::Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<revm::state::AccountInfo>, Self::Error> {
        let info = match self.accounts.get(&address) {
            Some(cached) => cached.info,
            None => base_account(&self.base, address, keccak256(address), self.unknown.as_ref()),
        };
        if let (Some((_, sink)), Some(info)) = (&self.unknown, info) {
            // Asked for by its hash alone later, when the owner is not at hand.
            if !self.codes.has(info.code_hash) {
                noted(sink).code(address, info.code_hash);
            }
        }
        Ok(info.map(evm_account))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(self.code(code_hash))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        let cached = self.accounts.get(&address);
        Ok(match cached.and_then(|cached| cached.slots.get(&slot)) {
            Some(known) => known.value,
            None => {
                let (place, key) = ((address, slot), Key::from(slot).hashed());
                match cached.and_then(|cached| cached.storage.as_ref()) {
                    Some(storage) => base_slot(storage, place, key, self.unknown.as_ref()),
                    None => {
                        base_account(&self.base, address, keccak256(address), self.unknown.as_ref());
                        base_slot(&self.base.storage_trie(address), place, key, self.unknown.as_ref())
                    }
                }
            }
        })
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        if let Some(hash) = self.hashes.get(&number) {
            return Ok(*hash);
        }
        let Some((remote, sink)) = &self.unknown else { return Ok(B256::ZERO) };
        let ancestor = remote.ancestor(number);
        if ancestor.is_none() {
            noted(sink).header(number);
        }
        Ok(ancestor.unwrap_or_default())
    }
}

impl DatabaseCommit for Overlay {
    fn commit(&mut self, changes: AddressMap<EvmAccount>) {
        for (address, account) in changes {
            self.commit_account(address, account);
        }
    }
}

/// A state with changes in the form that has a root.
///
/// # Errors
/// `remote_unavailable` where a node is missing that tells the form; it is noted.
pub(crate) fn settled(state: &StateTrie, remote: &Remote, sink: &Sink) -> crate::error::Result<StateTrie> {
    let waiting = state.waiting(&|_| None);
    for node in &waiting {
        noted(sink).sibling(*node, node.account.and_then(|account| remote.address_of(&account)));
    }
    match waiting.first() {
        None => Ok(state.settled()),
        Some(node) => Err(CoreError::new("remote_unavailable", format!("the node {} is not known", node.hash))),
    }
}

/// What the EVM wants to know of an account; its code is loaded on demand.
pub fn evm_account(account: AccountInfo) -> revm::state::AccountInfo {
    revm::state::AccountInfo {
        balance: account.balance,
        nonce: account.nonce,
        code_hash: account.code_hash,
        account_id: None,
        code: None,
    }
}
