//! The decided rollup: one immutable [`Decided`] at a time, swapped by commit, with the last 128 states and the block store.
//!
//! Invariants: readers take the decided state as a whole and never wait for execution; a session is accepted only when the rollup
//! did not move since the session began; blocks reach the store before they become visible; the store may hold later blocks of an
//! earlier run (they are rebuilt by replay), so reads never look above the decided head.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Encodable};
use plait_state::{AccountChange, AccountInfo, BlockRecord, StateChanges, StateTrie, Store, StoreError, Undo};

use crate::block::{Chunk, Included, OpenBlock, Sealed};
use crate::chain::Chain;
use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::genesis::Genesis;
use crate::logs::LogCache;
use crate::records;
use crate::remote::Remote;
use crate::seal::withdrawals_root;
use crate::session::{Session, View};

/// Sealed blocks whose state stays readable.
pub const STATES_KEPT: usize = 128;
/// Sealed blocks whose transactions stay in memory.
const BODIES_KEPT: usize = 8;
/// Older blocks whose content, once read from the store, stays decoded for the next read of the same block.
const READ_BLOCKS_KEPT: usize = 16;
/// Selects the open block (or the head while none is open).
pub const PENDING: i64 = -1;

/// The decided state of a rollup at one version.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Head, open block and states.
    pub view: View,
    /// Grows by one with every commit.
    pub version: u64,
    /// Grows by one with every change that may take sealed blocks off the chain.
    pub epoch: u64,
    /// The last sealed blocks, oldest first, the head last.
    pub history: VecDeque<Arc<Sealed>>,
}

/// A rollup: decided state, history and store.
#[derive(Debug)]
pub struct Rollup {
    /// Hash of block 0.
    pub genesis_hash: B256,
    /// The rules.
    pub chain: Arc<Chain>,
    /// Block store, shared by all rollups of the node.
    pub store: Store,
    /// Sealed blocks whose undo record stays in the store; unwinding reaches back so far. Zero keeps none.
    pub undo_blocks: u64,
    decided: RwLock<Arc<Decided>>,
    committing: Mutex<()>,
    read_blocks: Mutex<VecDeque<(B256, Arc<Chunk>)>>,
    log_cache: Mutex<LogCache>,
}

/// A block as reads see it.
#[derive(Debug, Clone)]
pub enum AnyBlock {
    /// Sealed: header, hash, content.
    Sealed(Arc<Header>, B256, Arc<Chunk>),
    /// Still open.
    Open(Arc<OpenBlock>),
}

impl From<StoreError> for CoreError {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// The sealed genesis block: header with roots, state, codes.
///
/// # Errors
/// `genesis_malformed`, `genesis_fork_unsupported`.
pub fn build_genesis(json: &[u8], codes: &Codes) -> Result<(Chain, Sealed)> {
    let Genesis { chain, mut header, accounts } = Genesis::parse(json)?;
    let mut changes = StateChanges::with_capacity(accounts.len());
    for account in accounts {
        let code_hash = codes.store().insert(account.code);
        let info = AccountInfo { nonce: account.nonce, balance: account.balance, code_hash };
        let mut change = AccountChange::set(account.address, info);
        for (slot, value) in account.storage {
            change = change.with_slot(slot, value);
        }
        changes.push(change);
    }
    let state = StateTrie::default().apply(changes);
    header.state_root = state.root();
    header.withdrawals_root = Some(withdrawals_root(&chain, &state));
    Ok((chain, Sealed { hash: header.hash_slow(), header, state, body: Some(Arc::default()) }))
}

impl Rollup {
    /// A rollup at its genesis.
    ///
    /// # Errors
    /// `genesis_malformed`, `genesis_fork_unsupported`, `store_genesis_mismatch`, store errors.
    pub fn from_genesis(json: &[u8], store: Store) -> Result<Self> {
        let codes = Codes::default();
        let (chain, genesis) = build_genesis(json, &codes)?;
        let genesis = Arc::new(genesis);
        let rollup = Self::start(chain, genesis.hash, codes, genesis.clone(), BTreeMap::new(), store)?;
        rollup.write_genesis(&genesis)?;
        Ok(rollup)
    }

    /// A rollup whose head is `head`; `hashes` are the recent hashes below and with it.
    ///
    /// # Errors
    /// None today; store errors later.
    pub fn start(
        chain: Chain,
        genesis_hash: B256,
        codes: Codes,
        head: Arc<Sealed>,
        mut hashes: BTreeMap<u64, B256>,
        store: Store,
    ) -> Result<Self> {
        hashes.insert(head.header.number, head.hash);
        let chain = Arc::new(chain);
        let view = View {
            chain: chain.clone(),
            codes,
            head: head.clone(),
            hashes: Arc::new(hashes),
            open: None,
            remote: None,
        };
        let decided = Decided { view, version: 0, epoch: 0, history: VecDeque::from([head]) };
        Ok(Self {
            genesis_hash,
            chain,
            store,
            undo_blocks: 0,
            decided: RwLock::new(Arc::new(decided)),
            committing: Mutex::new(()),
            read_blocks: Mutex::default(),
            log_cache: Mutex::default(),
        })
    }

    /// Puts the genesis block into the store, or finds it there.
    ///
    /// # Errors
    /// `store_genesis_mismatch`, store errors.
    pub(crate) fn write_genesis(&self, genesis: &Sealed) -> Result<()> {
        match self.store.header(self.chain.chain_id, 0)? {
            None => self.write_block(genesis),
            Some(bytes) if alloy_primitives::keccak256(&bytes) == self.genesis_hash => Ok(()),
            Some(_) => Err(CoreError::new(
                "store_genesis_mismatch",
                format!("the store holds another genesis of chain {}; use an empty folder", self.chain.chain_id),
            )),
        }
    }

    /// The decided state now; it never changes under the caller.
    pub fn decided(&self) -> Arc<Decided> {
        self.decided.read().unwrap_or_else(|poison| poison.into_inner()).clone()
    }

    /// A session that continues the decided state.
    pub fn session(&self) -> Session {
        Session::new(&self.decided())
    }

    /// The same rollup, its state read where it is not known.
    pub(crate) fn with_remote(self, remote: Arc<Remote>) -> Self {
        let mut decided = Decided::clone(&self.decided());
        decided.view.remote = Some(remote);
        *self.decided.write().unwrap_or_else(|poison| poison.into_inner()) = Arc::new(decided);
        self
    }

    /// The session becomes the decided state; its sealed blocks go to the store first.
    ///
    /// # Errors
    /// `session_stale` when the rollup moved since the session began; store errors, then nothing has changed.
    pub fn commit(&self, session: &mut Session) -> Result<()> {
        let _turn = self.committing.lock().unwrap_or_else(|poison| poison.into_inner());
        let decided = self.decided();
        if session.version != decided.version || session.chain_id() != self.chain.chain_id {
            return Err(CoreError::new(
                "session_stale",
                format!(
                    "the rollup is at version {}, the session continues version {}",
                    decided.version, session.version
                ),
            ));
        }
        let mut history = decided.history.clone();
        let epoch = decided.epoch + u64::from(session.base.is_some());
        match session.base.take() {
            None => self.append(&decided, &session.sealed)?,
            Some(base) => {
                if let Err(error) = self.replace_above(&decided, &base, &session.sealed) {
                    session.base = Some(base);
                    return Err(error);
                }
                while history.back().is_some_and(|sealed| sealed.header.number > base.header.number) {
                    history.pop_back();
                }
                if history.is_empty() {
                    history.push_back(base);
                }
            }
        }
        history.extend(session.sealed.drain(..));
        while history.len() > STATES_KEPT {
            history.pop_front();
        }
        let first_kept = history.len().saturating_sub(BODIES_KEPT);
        for sealed in history.iter_mut().take(first_kept).filter(|sealed| sealed.body.is_some()) {
            *sealed = Arc::new(Sealed { body: None, ..Sealed::clone(sealed) });
        }
        let version = decided.version + 1;
        session.version = version;
        session.epoch = epoch;
        let next = Arc::new(Decided { view: session.view(), version, epoch, history });
        *self.decided.write().unwrap_or_else(|poison| poison.into_inner()) = next;
        Ok(())
    }

    /// Puts a sealed block with its content into the store.
    pub(crate) fn write_block(&self, sealed: &Sealed) -> Result<()> {
        let block = Encoded::of(sealed, None)?;
        Ok(self.store.write_block(self.chain.chain_id, block.record())?)
    }

    /// The rollup takes over the decided state of another object of the same rollup and store; readers see it as a whole.
    /// Sessions that began before are stale then.
    ///
    /// # Errors
    /// `snapshot_foreign` when the other one is of another rollup.
    pub fn become_like(&self, other: &Self) -> Result<()> {
        if other.genesis_hash != self.genesis_hash || other.chain != self.chain {
            return Err(CoreError::new("snapshot_foreign", "a rollup cannot take over the state of another rollup"));
        }
        let _turn = self.committing.lock().unwrap_or_else(|poison| poison.into_inner());
        let decided = self.decided();
        let (version, epoch) = (decided.version + 1, decided.epoch + 1);
        let next = Arc::new(Decided { version, epoch, ..Decided::clone(&other.decided()) });
        *self.decided.write().unwrap_or_else(|poison| poison.into_inner()) = next;
        self.read_blocks().clear();
        *self.log_cache() = LogCache::default();
        Ok(())
    }

    /// Makes the store's content survive a power cut.
    ///
    /// # Errors
    /// Store errors.
    pub fn sync(&self) -> Result<()> {
        Ok(self.store.sync()?)
    }
}

/// A block with all that the store keeps of it.
pub(crate) struct Encoded {
    number: u64,
    hash: B256,
    header: Vec<u8>,
    body: Vec<u8>,
    receipts: Vec<u8>,
    transactions: Vec<B256>,
    /// Undo record and the number of the block whose record goes.
    undo: Option<(Vec<u8>, Option<u64>)>,
}

impl Encoded {
    /// A block by its parts.
    pub(crate) fn new(number: u64, hash: B256, header: Vec<u8>, body: &Chunk) -> Self {
        Self {
            number,
            hash,
            header,
            body: records::encode_body(body),
            receipts: records::encode_receipts(body),
            transactions: body.items.iter().map(|item| item.transaction.hash).collect(),
            undo: None,
        }
    }

    /// A sealed block.
    pub(crate) fn of(sealed: &Sealed, undo: Option<(Vec<u8>, Option<u64>)>) -> Result<Self> {
        let body = sealed.body.as_ref().ok_or_else(|| CoreError::internal("a block to be stored has no content"))?;
        let mut header = Vec::with_capacity(700);
        sealed.header.encode(&mut header);
        Ok(Self { undo, ..Self::new(sealed.header.number, sealed.hash, header, body) })
    }

    /// With the undo record that another row of the store held.
    pub(crate) fn with_undo(self, undo: &[u8]) -> Self {
        Self { undo: (!undo.is_empty()).then(|| (undo.to_vec(), None)), ..self }
    }

    /// As the store takes it.
    pub(crate) fn record(&self) -> BlockRecord<'_> {
        BlockRecord {
            number: self.number,
            hash: self.hash,
            header: &self.header,
            body: &self.body,
            receipts: &self.receipts,
            transaction_hashes: &self.transactions,
            undo: self.undo.as_ref().map(|(bytes, drops)| Undo { bytes, drops: *drops }),
        }
    }
}

impl Decided {
    /// The sealed block `number` if its state is still kept.
    pub fn recent(&self, number: u64) -> Option<&Arc<Sealed>> {
        let first = self.history.front()?.header.number;
        self.history.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The state at a block selector, of a remote rollup as far as it is known.
    ///
    /// # Errors
    /// `state_unavailable`.
    pub fn state_at(&self, at: i64) -> Result<&StateTrie> {
        if at == PENDING {
            return Ok(self.view.state());
        }
        u64::try_from(at).ok().and_then(|number| self.recent(number)).map(|sealed| &sealed.state).ok_or_else(|| {
            let head = self.view.head.header.number;
            CoreError::new(
                "state_unavailable",
                format!(
                    "the state of block {at} is not kept; the head is {head} and the last {STATES_KEPT} states are"
                ),
            )
        })
    }
}

impl Rollup {
    /// Header and hash of a sealed block at most as high as the decided head.
    ///
    /// # Errors
    /// Store errors.
    pub fn header(&self, decided: &Decided, number: u64) -> Result<Option<(Arc<Header>, B256)>> {
        if let Some(sealed) = decided.recent(number) {
            return Ok(Some((Arc::new(sealed.header.clone()), sealed.hash)));
        }
        let anchor = decided.view.remote.as_ref().filter(|remote| remote.anchor.number == number);
        if let Some(remote) = anchor {
            return Ok(Some((Arc::new(remote.header.clone()), remote.anchor.hash)));
        }
        let Some(hash) = self.hash_of(decided, number)? else { return Ok(None) };
        let Some(bytes) = self.store.header_of(self.chain.chain_id, number, hash)? else { return Ok(None) };
        let header = Header::decode(&mut &bytes[..]).map_err(|_| {
            CoreError::new("store_corrupt", format!("the stored header of block {number} is malformed"))
        })?;
        Ok(Some((Arc::new(header), hash)))
    }

    /// Hash of a sealed block at most as high as the head: as the decided state knows it, of older blocks as the store does.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn hash_of(&self, decided: &Decided, number: u64) -> Result<Option<B256>> {
        if number > decided.view.head.header.number {
            return Ok(None);
        }
        match decided.view.hashes.get(&number) {
            Some(hash) => Ok(Some(*hash)),
            None => Ok(self.store.hash_by_number(self.chain.chain_id, number)?),
        }
    }

    /// The transactions and receipts of a sealed block.
    ///
    /// # Errors
    /// Store errors.
    pub fn content(&self, decided: &Decided, number: u64) -> Result<Option<Arc<Chunk>>> {
        if let Some(body) = decided.recent(number).and_then(|sealed| sealed.body.clone()) {
            return Ok(Some(body));
        }
        let Some(hash) = self.hash_of(decided, number)? else { return Ok(None) };
        let cached = |blocks: &VecDeque<(B256, Arc<Chunk>)>| {
            blocks.iter().find(|(known, _)| *known == hash).map(|(_, content)| content.clone())
        };
        if let Some(content) = cached(&self.read_blocks()) {
            return Ok(Some(content));
        }
        let Some(content) = self.stored_content(number, hash)?.map(Arc::new) else { return Ok(None) };
        let mut blocks = self.read_blocks();
        blocks.push_back((hash, content.clone()));
        if blocks.len() > READ_BLOCKS_KEPT {
            blocks.pop_front();
        }
        Ok(Some(content))
    }

    /// The content of a block as the store has it, on the chain or replaced.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn stored_content(&self, number: u64, hash: B256) -> Result<Option<Chunk>> {
        let id = self.chain.chain_id;
        let Some(block) = self.store.block(id, number, hash)? else { return Ok(None) };
        Ok(Some(records::decode(&block.body, &block.receipts, id)?))
    }

    fn read_blocks(&self) -> std::sync::MutexGuard<'_, VecDeque<(B256, Arc<Chunk>)>> {
        self.read_blocks.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Receipts of stored blocks whose logs were asked for.
    pub(crate) fn log_cache(&self) -> std::sync::MutexGuard<'_, LogCache> {
        self.log_cache.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// A block by selector; PENDING is the open block, or the head while none is open.
    ///
    /// # Errors
    /// Store errors.
    pub fn block(&self, decided: &Decided, at: i64) -> Result<Option<AnyBlock>> {
        let number = match (at, &decided.view.open) {
            (PENDING, Some((open, _))) => return Ok(Some(AnyBlock::Open(open.clone()))),
            (PENDING, None) => decided.view.head.header.number,
            (number, _) => match u64::try_from(number) {
                Ok(number) => number,
                Err(_) => return Ok(None),
            },
        };
        let Some((header, hash)) = self.header(decided, number)? else { return Ok(None) };
        Ok(self.content(decided, number)?.map(|content| AnyBlock::Sealed(header, hash, content)))
    }

    /// Number of a sealed block by its hash.
    ///
    /// # Errors
    /// Store errors.
    pub fn number_by_hash(&self, decided: &Decided, hash: B256) -> Result<Option<u64>> {
        if let Some(sealed) = decided.history.iter().rev().find(|sealed| sealed.hash == hash) {
            return Ok(Some(sealed.header.number));
        }
        let Some(number) = self.store.number_by_hash(self.chain.chain_id, hash)? else { return Ok(None) };
        Ok((self.hash_of(decided, number)? == Some(hash)).then_some(number))
    }

    /// Block number and index of a transaction: sealed, or in the open block.
    ///
    /// # Errors
    /// Store errors.
    pub fn location(&self, decided: &Decided, hash: B256) -> Result<Option<(u64, usize)>> {
        if let Some((open, _)) = &decided.view.open {
            if let Some((index, _)) = open.find(&hash) {
                return Ok(Some((open.number, index)));
            }
        }
        for sealed in decided.history.iter().rev() {
            if let Some(index) = sealed.body.as_ref().and_then(|body| body.by_hash.get(&hash)) {
                return Ok(Some((sealed.header.number, *index as usize)));
            }
        }
        let found = self.store.transaction_location(self.chain.chain_id, hash)?;
        Ok(found
            .filter(|(number, _)| *number <= decided.view.head.header.number)
            .map(|(number, index)| (number, index as usize)))
    }
}

impl AnyBlock {
    /// The included transactions in order.
    pub fn items(&self) -> Box<dyn Iterator<Item = &Included> + '_> {
        match self {
            Self::Sealed(_, _, content) => Box::new(content.items.iter()),
            Self::Open(open) => Box::new(open.iter()),
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        match self {
            Self::Sealed(header, _, _) => header.number,
            Self::Open(open) => open.number,
        }
    }
}

/// Opens a store folder.
///
/// # Errors
/// Store errors.
pub fn open_store(path: &Path) -> Result<Store> {
    Ok(Store::open(path)?)
}
