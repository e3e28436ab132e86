//! The engine without a disk, for tests and throw-away networks.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use alloy_primitives::Bytes;

use super::{Batch, Key, Space, StoreStatistics};

#[derive(Default)]
pub(super) struct Memory {
    spaces: RwLock<Spaces>,
}

#[derive(Default)]
struct Spaces {
    index: BTreeMap<Key, Bytes>,
    data: BTreeMap<Key, Bytes>,
}

impl Spaces {
    fn of(&self, space: Space) -> &BTreeMap<Key, Bytes> {
        match space {
            Space::Index => &self.index,
            Space::Data => &self.data,
        }
    }
}

impl Memory {
    pub(super) fn write(&self, batch: Batch) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        for (space, key, value) in batch.rows {
            let rows = match space {
                Space::Index => &mut spaces.index,
                Space::Data => &mut spaces.data,
            };
            match value {
                Some(value) => rows.insert(key, value.into()),
                None => rows.remove(&key),
            };
        }
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        self.read().of(space).get(key).cloned()
    }

    pub(super) fn newest(&self, from: &[u8], to: &[u8], count: usize) -> Vec<(Key, Bytes)> {
        let spaces = self.read();
        let rows = spaces.index.range(from.to_vec()..=to.to_vec()).rev().take(count);
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(super) fn statistics(&self) -> StoreStatistics {
        let spaces = self.read();
        let rows = spaces.index.iter().chain(&spaces.data);
        StoreStatistics {
            disk_bytes: rows.map(|(key, value)| (key.len() + value.len()) as u64).sum(),
            ..Default::default()
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Spaces> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }
}
