//! Snapshot files: one state, the codes it needs, and an opaque header.

use std::path::Path;

use alloy_primitives::Bytes;

use crate::{CodeStore, SnapshotError, StateTrie};

/// Writes `state`, the codes its accounts refer to and `header` to `path`: temporary file, fsync, rename, fsync of the folder.
pub fn write(_path: &Path, _state: &StateTrie, _codes: &CodeStore, _header: &[u8]) -> Result<u64, SnapshotError> {
    todo!()
}

/// Loads a snapshot, inserts its codes into `codes` and returns the state and the header. Verifies checksums and root.
pub fn load(_path: &Path, _codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
    todo!()
}

/// Reads only the header, its checksum verified.
pub fn read_header(_path: &Path) -> Result<Bytes, SnapshotError> {
    todo!()
}
