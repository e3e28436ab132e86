//! Reads of a rollup's state at one moment, wherever the state is.
//!
//! A read looks at one decided state from its beginning to its end. On remote state it is attempted until it misses nothing, as a
//! session's step is, and what was missed is shown in the tries that all states share: the next read finds it.

use std::cell::RefCell;
use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use plait_state::{AccountInfo, StateTrie};

use crate::error::Result;
use crate::overlay::{settled, Overlay};
use crate::remote::{endless, known, locked, taken, Sink, ROUNDS_MAX};
use crate::rollup::{Decided, Rollup, PENDING};

/// One attempt of a read.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Of which rollup.
    pub rollup: &'a Rollup,
    /// What it sees.
    pub decided: Arc<Decided>,
    missed: Sink,
    /// The state that was looked at last; a read looks at one.
    looked_at: RefCell<StateTrie>,
}

impl Rollup {
    /// Reads completely: on remote state as often as something is missed.
    ///
    /// # Errors
    /// Those of the read; `remote_unavailable`, `remote_proof_wrong`, `remote_sibling_unknown`.
    pub fn read<T>(&self, read: impl Fn(&Moment<'_>) -> Result<T>) -> Result<T> {
        let decided = self.decided();
        for _ in 0..ROUNDS_MAX {
            let moment = Moment {
                rollup: self,
                decided: decided.clone(),
                missed: Sink::default(),
                looked_at: RefCell::default(),
            };
            let result = read(&moment);
            let Some(remote) = &decided.view.remote else { return result };
            let misses = taken(&moment.missed);
            if misses.is_empty() {
                return result;
            }
            remote.supply(&moment.looked_at.borrow(), &misses)?;
        }
        Err(endless())
    }
}

impl Moment<'_> {
    /// The state at a block selector.
    fn state(&self, at: i64) -> Result<StateTrie> {
        let state = self.decided.state_at(at)?.clone();
        *self.looked_at.borrow_mut() = state.clone();
        Ok(state)
    }

    /// An overlay without changes on the state at a block selector; `for_call` when its codes may be overridden.
    ///
    /// # Errors
    /// `state_unavailable`.
    pub fn overlay(&self, at: i64, for_call: bool) -> Result<Overlay> {
        let view = &self.decided.view;
        let codes = if for_call { view.codes.for_call() } else { view.codes.clone() };
        let mut overlay = Overlay::new(self.state(at)?, codes, view.hashes.clone());
        overlay.attach(view.remote.clone(), self.missed.clone());
        Ok(overlay)
    }

    /// Fields of accounts, in their order.
    ///
    /// # Errors
    /// `state_unavailable`; likewise below.
    pub fn accounts(&self, addresses: &[Address], at: i64) -> Result<Vec<Option<AccountInfo>>> {
        let state = self.state(at)?;
        Ok(addresses.iter().map(|address| self.account_in(&state, *address)).collect())
    }

    fn account_in(&self, state: &StateTrie, address: Address) -> Option<AccountInfo> {
        known(state.find_account(address), || locked(&self.missed).account(address))
    }

    /// The code of an account.
    ///
    /// # Errors
    /// As above.
    pub fn code(&self, address: Address, at: i64) -> Result<Bytes> {
        let state = self.state(at)?;
        let Some(account) = self.account_in(&state, address) else { return Ok(Bytes::new()) };
        let codes = &self.decided.view.codes;
        if !codes.has(account.code_hash) {
            locked(&self.missed).code(address, account.code_hash);
        }
        Ok(codes.bytes(account.code_hash))
    }

    /// Slots of one account, in their order.
    ///
    /// # Errors
    /// As above.
    pub fn slots(&self, address: Address, slots: &[U256], at: i64) -> Result<Vec<U256>> {
        let state = self.state(at)?;
        Ok(self.slots_in(&state, address, slots))
    }

    fn slots_in(&self, state: &StateTrie, address: Address, slots: &[U256]) -> Vec<U256> {
        // With a hidden account the slots are asked for at once, not a round later.
        let is_hidden = matches!(state.find_account(address), plait_state::Found::Hidden(_));
        let storage = state.storage_trie(address);
        let read = |slot: &U256| {
            if is_hidden {
                locked(&self.missed).slot(address, *slot);
                return U256::ZERO;
            }
            known(storage.find(*slot), || locked(&self.missed).slot(address, *slot)).unwrap_or_default()
        };
        slots.iter().map(read).collect()
    }

    /// The state with all that a proof of these keys needs; its root can be computed.
    ///
    /// # Errors
    /// As above.
    pub fn provable(&self, address: Address, slots: &[U256], at: i64) -> Result<StateTrie> {
        let state = self.state(at)?;
        let Some(remote) = &self.decided.view.remote else { return Ok(state) };
        self.account_in(&state, address);
        self.slots_in(&state, address, slots);
        // Sealed states have their root; inside the open block branches may wait for a child.
        if at == PENDING && self.decided.view.open.is_some() {
            return settled(&state, remote, &self.missed);
        }
        Ok(state)
    }
}
