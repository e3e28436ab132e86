//! Errors of snapshot files and of the store. `code()` is stable; the text is for people.

use std::io;

use alloy_primitives::B256;
use thiserror::Error;

/// Why a snapshot file could not be written or loaded.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("snapshot file: {0}")]
    Io(#[from] io::Error),
    /// Not a snapshot, or of an unknown version.
    #[error("not a state snapshot of a known version (starts with {found:02x?})")]
    Format {
        /// The first bytes found.
        found: [u8; 8],
    },
    /// The file ends early.
    #[error("snapshot ends at byte {offset}, in the middle of its content")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// A checksum does not match or a record is malformed.
    #[error("snapshot is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The rebuilt trie has another root than the file says.
    #[error("snapshot holds root {expected} but its accounts hash to {computed}")]
    RootMismatch {
        /// Root that the file states.
        expected: B256,
        /// Root of the accounts in it.
        computed: B256,
    },
    /// An account's code is not in the code store.
    #[error("code {code_hash} of an account is not in the code store")]
    CodeMissing {
        /// Hash of the code.
        code_hash: B256,
    },
}

impl SnapshotError {
    /// Stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "snapshot_io",
            Self::Format { .. } => "snapshot_format",
            Self::Truncated { .. } => "snapshot_truncated",
            Self::Corrupt { .. } => "snapshot_corrupt",
            Self::RootMismatch { .. } => "snapshot_root_mismatch",
            Self::CodeMissing { .. } => "snapshot_code_missing",
        }
    }
}

/// Why the store could not answer or write.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The storage engine failed (disk full, IO error, damaged files). The store can be deleted and rebuilt from the decided log.
    #[error("block store: {0}")]
    Engine(fjall::Error),
    /// Another process, or another `Store` of this one, has the folder open.
    #[error("block store folder is open elsewhere")]
    Locked,
    /// The operating system refused.
    #[error("block store: {0}")]
    Io(#[from] io::Error),
    /// A row does not have the shape that this version writes.
    #[error("block store row is malformed: {what}")]
    Corrupt {
        /// Which row.
        what: &'static str,
    },
    /// The store was closed.
    #[error("block store is closed")]
    Closed,
}

impl StoreError {
    /// Stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "store_engine",
            Self::Locked => "store_locked",
            Self::Io(_) => "store_io",
            Self::Corrupt { .. } => "store_corrupt",
            Self::Closed => "store_closed",
        }
    }
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Locked,
            fjall::Error::Io(error) => Self::Io(error),
            other => Self::Engine(other),
        }
    }
}
