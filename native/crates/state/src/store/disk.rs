//! The engine on disk: fjall, a log-structured merge tree. Chosen and measured in `docs/adr/0001-state-store.md`.

use std::path::Path;

use alloy_primitives::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{Batch, Key, Space, StoreStatistics};
use crate::StoreError;

/// Bytes of table blocks kept in memory.
const CACHE_BYTES: u64 = 8 << 20;

/// Bytes of rows that one write buffer takes before it is written out. The engine stops writers at four full buffers per key space,
/// so that the worst case of both is five times their sum; in steady operation one or two exist.
const INDEX_BUFFER_BYTES: u64 = 2 << 20;
const DATA_BUFFER_BYTES: u64 = 6 << 20;

/// Bytes of journals before the engine forces buffers out; the least that it accepts.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Values from this size on live in blob files, which compaction does not rewrite.
const SEPARATION_BYTES_MIN: u32 = 1 << 10;

/// Threads that write buffers out and compact.
const WORKERS: usize = 1;

pub(super) struct Disk {
    database: Database,
    index: Keyspace,
    data: Keyspace,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(WORKERS)
            .open()?;
        let index =
            database.keyspace("index", || KeyspaceCreateOptions::default().max_memtable_size(INDEX_BUFFER_BYTES))?;
        let data = database.keyspace("data", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(DATA_BUFFER_BYTES)
                .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(SEPARATION_BYTES_MIN)))
        })?;
        Ok(Self { database, index, data })
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Index => &self.index,
            Space::Data => &self.data,
        }
    }

    pub(super) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut rows = self.database.batch();
        for (space, key, value) in batch.rows {
            match value {
                Some(value) => rows.insert(self.space(space), key, value),
                None => rows.remove(self.space(space), key),
            }
        }
        Ok(rows.commit()?)
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.space(space).get(key)?.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Rows of the index between the keys, greatest first.
    pub(super) fn newest(&self, from: &[u8], to: &[u8], count: usize) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let mut rows = Vec::new();
        for row in self.index.range(from..=to).rev().take(count) {
            let (key, value) = row.into_inner()?;
            rows.push((key.to_vec(), Bytes::copy_from_slice(&value)));
        }
        Ok(rows)
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    pub(super) fn statistics(&self) -> Result<StoreStatistics, StoreError> {
        Ok(StoreStatistics {
            disk_bytes: self.database.disk_space()?,
            write_buffer_bytes: self.database.write_buffer_size(),
            cache_bytes: self.database.cache_size(),
        })
    }
}
