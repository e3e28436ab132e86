//! Undo records: what takes one block's changes of the state back, as the store keeps it beside the block.
//!
//! With them a rollup unwinds further than the states in memory reach, also after a restart. A record is found right by the state
//! root it leads to, never believed. Equal blocks give equal records: accounts and slots by rising hashed key.
//! Layout, integers LEB128: accounts; for each its hashed address, a kind (0 was absent, 1 without code, 2 with code, 3 with code
//! that the block replaced), nonce, balance, code hash (2, 3), code (3), slots; for each its hashed number and value.

use std::collections::BTreeMap;

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use plait_state::{AccountChange, AccountFate, AccountInfo, Key, StateChanges, StateTrie};

use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::records::{put_bytes, put_number, Reader};

/// The record that turns `new` into `old`.
pub fn encode(new: &StateTrie, old: &StateTrie, codes: &Codes) -> Vec<u8> {
    let changes = new.changes_back_to(old);
    let mut out = Vec::with_capacity(64 * changes.len() + 8);
    put_number(&mut out, changes.len() as u64);
    for change in changes.iter() {
        let key = change.address.hashed();
        out.extend_from_slice(key.as_slice());
        let AccountFate::Set(info) = change.fate else {
            out.push(0);
            continue;
        };
        let has_code = info.code_hash != KECCAK256_EMPTY;
        let replaced = has_code && new.account(key).is_none_or(|new| new.code_hash != info.code_hash);
        out.push(1 + u8::from(has_code) + u8::from(replaced));
        put_number(&mut out, info.nonce);
        put_value(&mut out, info.balance);
        if has_code {
            out.extend_from_slice(info.code_hash.as_slice());
        }
        if replaced {
            put_bytes(&mut out, &codes.bytes(info.code_hash));
        }
        put_number(&mut out, change.slots.len() as u64);
        for (slot, value) in &change.slots {
            out.extend_from_slice(slot.hashed().as_slice());
            put_value(&mut out, *value);
        }
    }
    out
}

/// The state that a record leads to.
///
/// # Errors
/// `store_corrupt`.
pub fn apply(state: &StateTrie, record: &[u8], codes: &Codes) -> Result<StateTrie> {
    let mut changes = StateChanges::default();
    read(record, codes, |_, change| changes.push(change))?;
    Ok(state.apply(changes))
}

/// Records of consecutive blocks, from the newest down, made into one batch: what the oldest says of an account or slot counts.
#[derive(Debug, Default)]
pub struct Merged {
    accounts: BTreeMap<B256, Fate>,
    entries: usize,
}

/// What becomes of one account.
#[derive(Debug, Default)]
struct Fate {
    /// None: it is gone.
    info: Option<AccountInfo>,
    /// Whether it was gone in between, with all slots that it has now.
    wiped: bool,
    slots: BTreeMap<B256, U256>,
}

impl Merged {
    /// Takes in the record of the block below the ones so far.
    ///
    /// # Errors
    /// `store_corrupt`.
    pub fn add(&mut self, record: &[u8], codes: &Codes) -> Result<()> {
        read(record, codes, |key, change| {
            self.entries += 1 + change.slots.len();
            let fate = self.accounts.entry(key).or_default();
            if let AccountFate::Set(info) = change.fate {
                fate.info = Some(info);
                fate.slots.extend(change.slots.iter().map(|(slot, value)| (slot.hashed(), *value)));
            } else {
                *fate = Fate { wiped: true, ..Fate::default() };
            }
        })
    }

    /// Accounts and slots taken in; what they are held in grows with it.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The state that the records lead to. Nothing is left in here.
    pub fn apply(&mut self, state: &StateTrie) -> StateTrie {
        let mut changes = StateChanges::with_capacity(self.accounts.len());
        for (key, fate) in std::mem::take(self).accounts {
            let Some(info) = fate.info else {
                changes.push(AccountChange::delete(key));
                continue;
            };
            let mut change = AccountChange::set(key, info);
            change.storage_wiped = fate.wiped;
            change.slots = fate.slots.into_iter().map(|(slot, value)| (Key::Hashed(slot), value)).collect();
            changes.push(change);
        }
        state.apply(changes)
    }
}

/// Hands out what a record says, by rising hashed address.
fn read(record: &[u8], codes: &Codes, mut each: impl FnMut(B256, AccountChange)) -> Result<()> {
    let mut reader = Reader(record);
    let mut last = None;
    for _ in 0..reader.number()? {
        let key = B256::from_slice(reader.take(32)?);
        if last.is_some_and(|last| last >= key) {
            return Err(corrupt());
        }
        last = Some(key);
        each(key, account(&mut reader, key, codes)?);
    }
    if reader.0.is_empty() {
        Ok(())
    } else {
        Err(corrupt())
    }
}

fn account(reader: &mut Reader<'_>, key: B256, codes: &Codes) -> Result<AccountChange> {
    let kind = reader.take(1)?[0];
    if kind == 0 {
        return Ok(AccountChange::delete(key));
    }
    let (nonce, balance) = (reader.number()?, value(reader)?);
    let code_hash = if kind == 1 { KECCAK256_EMPTY } else { B256::from_slice(reader.take(32)?) };
    if kind == 3 {
        codes.store().insert(reader.bytes()?.to_vec().into());
    }
    let mut change = AccountChange::set(key, AccountInfo { nonce, balance, code_hash });
    for _ in 0..reader.number()? {
        let slot = B256::from_slice(reader.take(32)?);
        if change.slots.last().is_some_and(|(last, _)| last.hashed() >= slot) {
            return Err(corrupt());
        }
        change.slots.push((Key::Hashed(slot), value(reader)?));
    }
    Ok(change)
}

fn put_value(out: &mut Vec<u8>, value: U256) {
    put_bytes(out, &value.to_be_bytes_trimmed_vec());
}

fn value(reader: &mut Reader<'_>) -> Result<U256> {
    U256::try_from_be_slice(reader.bytes()?).ok_or_else(corrupt)
}

fn corrupt() -> CoreError {
    CoreError::new("store_corrupt", "an undo record in the store is malformed")
}
