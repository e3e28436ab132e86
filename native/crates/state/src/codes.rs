//! Contract codes, shared by every state of a rollup (or of all rollups). Append-only: a code stays valid for every fork and every past block.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use alloy_primitives::map::FbBuildHasher;
use alloy_primitives::{keccak256, Bytes, B256, KECCAK256_EMPTY};

/// Shared map from code hash to code. Cloning shares it. Growth is bounded by what the chain's gas pays for (200 gas per byte created).
#[derive(Clone, Debug, Default)]
pub struct CodeStore {
    codes: Arc<RwLock<HashMap<B256, Bytes, FbBuildHasher<32>>>>,
}

impl CodeStore {
    /// The code of this hash; empty for [`KECCAK256_EMPTY`], `None` when it was never inserted.
    pub fn get(&self, code_hash: B256) -> Option<Bytes> {
        if code_hash == KECCAK256_EMPTY {
            return Some(Bytes::new());
        }
        self.read().get(&code_hash).cloned()
    }

    /// Hashes the code, keeps it and returns the hash.
    pub fn insert(&self, code: Bytes) -> B256 {
        let code_hash = keccak256(&code);
        self.insert_hashed(code_hash, code);
        code_hash
    }

    /// Keeps a code whose hash the caller knows (the EVM computed it).
    pub fn insert_hashed(&self, code_hash: B256, code: Bytes) {
        if code_hash == KECCAK256_EMPTY || self.read().contains_key(&code_hash) {
            return;
        }
        debug_assert_eq!(keccak256(&code), code_hash);
        self.codes.write().unwrap_or_else(|poison| poison.into_inner()).insert(code_hash, code);
    }

    /// Number of codes kept, the empty one not counted.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// True when no code was ever inserted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<B256, Bytes, FbBuildHasher<32>>> {
        // A panic while inserting cannot leave the map half-changed in a way a reader could see.
        self.codes.read().unwrap_or_else(|poison| poison.into_inner())
    }
}
