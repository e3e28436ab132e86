//! Contract codes as the EVM wants them: the shared code store of the state, with the jump analysis kept beside it.
//!
//! Analysing a code on every call would cost more than running it, so each code is analysed once per process.

use std::sync::{Arc, RwLock};

use alloy_primitives::{map::B256Map, Bytes, B256, KECCAK256_EMPTY};
use plait_state::CodeStore;
use revm::bytecode::Bytecode;

/// Codes of one rollup. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Codes {
    store: CodeStore,
    analysed: Arc<RwLock<B256Map<Bytecode>>>,
    overrides: Arc<RwLock<B256Map<Bytecode>>>,
}

impl Codes {
    /// The bytes by hash, for snapshots.
    pub fn store(&self) -> &CodeStore {
        &self.store
    }

    /// Keeps a code that a transaction created.
    pub fn insert(&self, hash: B256, code: &Bytecode) {
        if hash != KECCAK256_EMPTY {
            self.store.insert_hashed(hash, code.original_bytes());
        }
    }

    /// Makes a code runnable for a call with overrides without keeping it for snapshots.
    pub fn insert_temporary(&self, hash: B256, code: Bytecode) {
        if hash != KECCAK256_EMPTY {
            self.overrides.write().unwrap_or_else(|poison| poison.into_inner()).insert(hash, code);
        }
    }

    /// The same codes with room of its own for the codes of one call's overrides.
    pub fn for_call(&self) -> Self {
        Self { overrides: Arc::default(), ..self.clone() }
    }

    /// The raw bytes; empty when unknown.
    pub fn bytes(&self, hash: B256) -> Bytes {
        self.store.get(hash).unwrap_or_default()
    }

    /// Whether the code is known.
    pub fn has(&self, hash: B256) -> bool {
        self.store.get(hash).is_some()
            || self.overrides.read().unwrap_or_else(|poison| poison.into_inner()).contains_key(&hash)
    }

    /// The code ready to run; empty when unknown.
    pub fn analysed(&self, hash: B256) -> Bytecode {
        if hash == KECCAK256_EMPTY {
            return Bytecode::default();
        }
        if let Some(code) = self.analysed.read().unwrap_or_else(|poison| poison.into_inner()).get(&hash) {
            return code.clone();
        }
        if let Some(code) = self.overrides.read().unwrap_or_else(|poison| poison.into_inner()).get(&hash) {
            return code.clone();
        }
        let code = Bytecode::new_raw(self.bytes(hash));
        self.analysed.write().unwrap_or_else(|poison| poison.into_inner()).insert(hash, code.clone());
        code
    }
}
