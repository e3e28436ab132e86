//! Views and sessions. A [`View`] is a rollup at one moment, immutable and cheap to copy; a [`Session`] is a candidate
//! continuation of it: it opens, fills and seals blocks on an overlay, and dropping it leaves no trace.
//!
//! Invariants: a session's answers are those of its view plus what it executed; `rollback(checkpoint)` restores overlay,
//! included transactions and counters exactly; `fork()` shares everything executed so far and copies nothing that grows with the
//! state. Checkpoints live within one open block.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, Bytes, B256, U256};
use plait_state::{AccountInfo, StateTrie};

use crate::block::{Attributes, BlockMark, OpenBlock, Sealed};
use crate::calls::{call_result, Call, CallResult};
use crate::chain::Chain;
use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::execute::{begin_block, run_transactions, Outcomes};
use crate::overlay::{Overlay, RecentHashes, Stash};
use crate::remote::{Remote, Sink};
use crate::rollup::Decided;
use crate::seal::seal_block;
use crate::transaction::Transaction;

/// Block hashes kept: the 256 ancestors that BLOCKHASH can name, below every one of the 128 states that calls can start from.
pub(crate) const RECENT_HASHES: u64 = 256 + 128;

/// A rollup at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The rollup's rules.
    pub chain: Arc<Chain>,
    /// Its contract codes.
    pub codes: Codes,
    /// The last sealed block.
    pub head: Arc<Sealed>,
    /// Hashes of the last sealed blocks, the head's included.
    pub hashes: RecentHashes,
    /// The block that grows on the head, with the state inside it.
    pub open: Option<(Arc<OpenBlock>, StateTrie)>,
    /// Where the state is read that is not known.
    pub remote: Option<Arc<Remote>>,
}

impl View {
    /// The state at the tip: inside the open block when there is one.
    pub fn state(&self) -> &StateTrie {
        self.open.as_ref().map_or(&self.head.state, |(_, state)| state)
    }
}

#[derive(Debug, Clone)]
struct Checkpoint {
    block: BlockMark,
    overlay: usize,
    /// Number of freezes before the checkpoint.
    epoch: usize,
}

/// A candidate continuation of a rollup.
#[derive(Debug, Clone)]
pub struct Session {
    chain: Arc<Chain>,
    head: Arc<Sealed>,
    hashes: RecentHashes,
    overlay: Overlay,
    block: Option<OpenBlock>,
    checkpoints: Vec<Checkpoint>,
    /// Changes set aside by freezes of the open block, one per freeze, for checkpoints from before it.
    stashes: Vec<Option<Arc<Stash>>>,
    /// Blocks sealed since the session began, oldest first.
    pub sealed: Vec<Arc<Sealed>>,
    /// The block that the session goes on from instead of the rollup's head; None for a session of the head with its open block.
    pub base: Option<Arc<Sealed>>,
    /// Version of the rollup that the session continues.
    pub version: u64,
    /// Epoch of the rollup that the session continues.
    pub epoch: u64,
}

impl Session {
    /// A session that continues the decided state.
    pub fn new(decided: &Decided) -> Self {
        Self::of(&decided.view, decided)
    }

    /// A session that goes on from a sealed block; `view` ends with it.
    pub fn unwound(view: &View, decided: &Decided) -> Self {
        Self { base: Some(view.head.clone()), ..Self::of(view, decided) }
    }

    fn of(view: &View, decided: &Decided) -> Self {
        let mut overlay = Overlay::new(view.state().clone(), view.codes.clone(), view.hashes.clone());
        overlay.attach(view.remote.clone(), Sink::default());
        Self {
            chain: view.chain.clone(),
            head: view.head.clone(),
            hashes: view.hashes.clone(),
            overlay,
            block: view.open.as_ref().map(|(block, _)| (**block).clone()),
            checkpoints: Vec::new(),
            stashes: Vec::new(),
            sealed: Vec::new(),
            base: None,
            version: decided.version,
            epoch: decided.epoch,
        }
    }

    /// Where unknown state is read.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        self.overlay.remote()
    }

    /// Where this session notes from now on what it misses.
    pub(crate) fn watch(&mut self) -> Sink {
        self.overlay.watch()
    }

    /// The state below the changes of the overlay.
    pub(crate) fn base_state(&self) -> &StateTrie {
        self.overlay.base()
    }

    /// Looks at a code, so that it is read where it is not known.
    pub(crate) fn code(&mut self, hash: B256) {
        self.overlay.code(hash);
    }

    /// The last sealed block, those of this session included.
    pub fn head(&self) -> &Arc<Sealed> {
        &self.head
    }

    /// The open block.
    pub fn open_block(&self) -> Option<&OpenBlock> {
        self.block.as_ref()
    }

    /// The account as the session sees it.
    pub fn account(&mut self, address: Address) -> Option<AccountInfo> {
        self.overlay.account(address)
    }

    /// The storage slot as the session sees it.
    pub fn slot(&mut self, address: Address, slot: U256) -> U256 {
        self.overlay.slot(address, slot)
    }

    /// An independent copy.
    pub fn fork(&mut self) -> Self {
        self.freeze();
        self.clone()
    }

    /// This session's present as an immutable view.
    pub fn view(&mut self) -> View {
        let state = self.freeze();
        View {
            chain: self.chain.clone(),
            codes: self.overlay.codes().clone(),
            head: self.head.clone(),
            hashes: self.hashes.clone(),
            open: self.block.as_ref().map(|block| (Arc::new(block.clone()), state)),
            remote: self.remote().cloned(),
        }
    }

    fn freeze(&mut self) -> StateTrie {
        if let Some(block) = &mut self.block {
            block.freeze();
        }
        let (state, stash) = self.overlay.freeze();
        if stash.is_some() {
            // Only a checkpoint can ask for what the freeze set aside.
            self.stashes.push(if self.checkpoints.is_empty() { None } else { stash.map(Arc::new) });
        }
        state
    }

    /// Opens a block: system calls, then the deposits.
    ///
    /// # Errors
    /// `block_already_open`, `attributes_invalid`, `deposit_malformed`, `deposit_gas_exceeds_block`; the session is unchanged then.
    pub fn open(&mut self, attributes: Arc<Attributes>) -> Result<Outcomes> {
        if let Some(block) = &self.block {
            return Err(CoreError::new(
                "block_already_open",
                format!("block {} is still open; seal it first", block.number),
            ));
        }
        let mut block = OpenBlock::begin(&self.chain, &self.head.header, self.head.hash, attributes)?;
        let mark = self.overlay.mark();
        match begin_block(&self.chain, &mut self.overlay, &mut block) {
            Ok(outcomes) => {
                self.block = Some(block);
                Ok(outcomes)
            }
            Err(error) => {
                self.overlay.rollback(mark);
                Err(error)
            }
        }
    }

    /// Appends transactions to the open block; those that cannot be applied are left out.
    ///
    /// # Errors
    /// `block_not_open`.
    pub fn run(&mut self, transactions: &[Arc<Transaction>], stop: bool) -> Result<Outcomes> {
        let block = self.block.as_mut().ok_or_else(not_open)?;
        run_transactions(&self.chain, &mut self.overlay, block, transactions, stop)
    }

    /// Calls a contract in the open block as it stands, free of charge; nothing is kept.
    ///
    /// # Errors
    /// `block_not_open`; `intrinsic_gas_too_low` and what else [`Call::run`] refuses before execution.
    pub fn call(&mut self, sender: Address, to: Address, data: Bytes, gas: u64) -> Result<CallResult> {
        let block = self.block.as_ref().ok_or_else(not_open)?;
        let mut call = Call::in_session(&self.chain, &mut self.overlay, block, (sender, to), data, gas)?;
        let result = call.run(gas)?.result;
        call_result(&mut call, gas, &result)
    }

    /// A point within the open block to come back to.
    ///
    /// # Errors
    /// `block_not_open`.
    pub fn checkpoint(&mut self) -> Result<usize> {
        let block = self.block.as_ref().ok_or_else(not_open)?;
        self.checkpoints.push(Checkpoint {
            block: block.mark(),
            overlay: self.overlay.mark(),
            epoch: self.stashes.len(),
        });
        Ok(self.checkpoints.len() - 1)
    }

    /// Undoes every run since the checkpoint; later checkpoints become invalid, this one stays.
    ///
    /// # Errors
    /// `checkpoint_invalid`, `block_not_open`.
    pub fn rollback(&mut self, checkpoint: usize) -> Result<()> {
        let block = self.block.as_mut().ok_or_else(not_open)?;
        let Some(point) = self.checkpoints.get(checkpoint).cloned() else {
            return Err(CoreError::new(
                "checkpoint_invalid",
                format!("checkpoint {checkpoint} was never made in this block or was undone by an earlier rollback"),
            ));
        };
        self.checkpoints.truncate(checkpoint + 1);
        block.rollback(point.block);
        match self.stashes.get(point.epoch) {
            None => self.overlay.rollback(point.overlay),
            Some(stash) => {
                let stash = stash.as_ref().ok_or_else(|| CoreError::internal("a checkpoint lost its changes"))?;
                self.overlay.restore(stash, point.overlay);
                self.stashes.truncate(point.epoch);
            }
        }
        Ok(())
    }

    /// Seals the open block.
    ///
    /// # Errors
    /// `block_not_open`.
    pub fn seal(&mut self) -> Result<Arc<Sealed>> {
        if self.block.is_none() {
            return Err(not_open());
        }
        let mut state = self.overlay.folded();
        if self.remote().is_some() {
            state = self.overlay.settled(&state)?;
        }
        let block = self.block.take().ok_or_else(not_open)?;
        let sealed = Arc::new(seal_block(&self.chain, &block, state));
        let mut hashes = BTreeMap::clone(&self.hashes);
        hashes.insert(sealed.header.number, sealed.hash);
        while hashes.len() as u64 > RECENT_HASHES {
            hashes.pop_first();
        }
        self.hashes = Arc::new(hashes);
        self.overlay.reset(sealed.state.clone(), self.hashes.clone());
        self.head = sealed.clone();
        self.checkpoints.clear();
        self.stashes.clear();
        self.sealed.push(sealed.clone());
        Ok(sealed)
    }

    /// For each attributes in order: seals the open block if there is one, then opens the next.
    ///
    /// # Errors
    /// Those of [`Session::open`].
    pub fn advance(&mut self, all: &[Arc<Attributes>]) -> Result<Vec<Arc<Sealed>>> {
        let mut sealed = Vec::with_capacity(all.len());
        for attributes in all {
            if self.block.is_some() {
                sealed.push(self.complete(Self::seal)?);
            }
            self.complete(|attempt| attempt.open(attributes.clone()))?;
        }
        Ok(sealed)
    }

    /// The rollup this session belongs to.
    pub fn chain_id(&self) -> u64 {
        self.chain.chain_id
    }

    /// Hash of a recent block.
    pub fn block_hash(&self, number: u64) -> Option<B256> {
        self.hashes.get(&number).copied()
    }
}

fn not_open() -> CoreError {
    CoreError::new("block_not_open", "no block is open in this session; call open first")
}
