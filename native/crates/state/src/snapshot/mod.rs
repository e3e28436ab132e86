//! Snapshot files: one state, the codes its accounts refer to, and an opaque header.
//!
//! # Format
//! Eight bytes `PLAITSS1`, then chunks until the end of the file. A chunk is kind (1), payload length (4), CRC-32 of kind, length and
//! payload (4), payload. Integers are little-endian; `varint` is LEB128; `number` is a length byte and that many big-endian bytes
//! without leading zeros. Chunks come in this order:
//!
//! | kind | payload |
//! |---|---|
//! | `H`, one or more | the header, in pieces |
//! | `A`, any number | how many slots of the previous chunk's last account come first (4), those slots, then accounts by rising key |
//! | `C`, any number | codes by rising hash: length (4), bytes |
//! | `E`, one | state root (32), accounts (8), slots (8), codes (8), CRC-32 of the file up to this chunk (4) |
//!
//! Account: key (32), nonce varint, balance number, 0 or 1 and the code hash (32), slot count varint, slots by rising key.
//! Slot: key (32), value number. Equal states with equal headers give equal files.
//!
//! Writing holds one chunk and the list of code hashes in memory. Loading holds a few chunks beside the state it builds.

mod known;
mod read;
mod write;

use std::path::Path;

use alloy_primitives::Bytes;

use crate::{CodeStore, SnapshotError, StateTrie};

const MAGIC: [u8; 8] = *b"PLAITSS1";

const KIND_HEADER: u8 = b'H';
const KIND_ACCOUNTS: u8 = b'A';
const KIND_CODES: u8 = b'C';
const KIND_END: u8 = b'E';

/// A chunk is closed once its payload has this many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// No chunk is longer; a greater length in a file is damage, not a reason to allocate.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Kind, length, CRC.
const CHUNK_HEAD_BYTES: usize = 9;

/// Root, three counts, CRC.
const END_BYTES: usize = 32 + 3 * 8 + 4;

fn chunk_crc(kind: u8, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(&(payload.len() as u32).to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// Writes `state`, the codes that its accounts refer to and `header` to `path`, replacing what is there: temporary file beside it,
/// fsync, rename, fsync of the folder. Returns the bytes written. The state may be in use meanwhile; only one writer per path.
///
/// # Errors
/// `CodeMissing` when an account's code is not in `codes`; `Io`. The old file, if any, is then untouched.
pub fn write(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    write::write(path, state, codes, header)
}

/// Loads a snapshot: adds its codes to `codes` and returns the state and the header.
///
/// # Errors
/// `Io`; `Format` for another kind of file; `Truncated`, `Corrupt` for damage; `RootMismatch` when the accounts do not hash to the
/// root in the file; `CodeMissing` when an account's code is neither in the file nor in `codes`.
pub fn load(path: &Path, codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
    read::load(path, codes)
}

/// Reads only the header, its checksum verified; what follows is not looked at.
///
/// # Errors
/// `Io`, `Format`, `Truncated`, `Corrupt`.
pub fn read_header(path: &Path) -> Result<Bytes, SnapshotError> {
    read::read_header(path)
}

/// Writes what is known of a state whose rest is elsewhere, likewise; codes that are not known are left out.
///
/// # Errors
/// `Io`.
pub fn write_known(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    known::write(path, state, codes, header)
}

/// Loads what was known of a state: adds the codes to `codes` and returns the state and the header.
///
/// # Errors
/// `Io`, `Format`, `Truncated`, `Corrupt`. Nodes are taken by their hash, so that none is wrong.
pub fn load_known(path: &Path, codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
    known::load(path, codes)
}
