//! The writing half.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, U256};

use super::{
    chunk_crc, CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, KIND_ACCOUNTS, KIND_CODES, KIND_END, KIND_HEADER, MAGIC,
};
use crate::{AccountInfo, CodeStore, SnapshotError, StateTrie};

/// Writes a file beside `path` and puts it in its place, synced.
pub(super) fn atomic(
    path: &Path,
    write_file: impl FnOnce(&Path) -> Result<u64, SnapshotError>,
) -> Result<u64, SnapshotError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_file(&partial).and_then(|bytes| {
        fs::rename(&partial, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    });
    if written.is_err() {
        // The reason is already known; a leftover is overwritten by the next attempt.
        let _ = fs::remove_file(&partial);
    }
    written
}

pub(super) fn write(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    atomic(path, |partial| {
        let root = state.root();
        let mut chunks = ChunkWriter::create(partial, MAGIC)?;
        chunks.header(header)?;
        let code_hashes = write_accounts(&mut chunks, state)?;
        chunks.codes(&code_hashes, codes)?;
        chunks.end(root, [state.account_count(), state.slot_count(), code_hashes.len() as u64])
    })
}

/// Writes all accounts; returns the hashes of the codes that they need.
fn write_accounts(chunks: &mut ChunkWriter, state: &StateTrie) -> Result<BTreeSet<B256>, SnapshotError> {
    let mut code_hashes = BTreeSet::new();
    chunks.begin_accounts(0);
    for (key, info, storage) in state.iter() {
        if info.has_code() {
            code_hashes.insert(info.code_hash);
        }
        chunks.account(&key, &info, storage.len());
        let mut remaining = storage.len();
        for (slot, value) in storage.iter() {
            chunks.break_accounts(remaining)?;
            chunks.payload.extend_from_slice(slot.as_slice());
            chunks.number(&value);
            remaining -= 1;
        }
        chunks.break_accounts(0)?;
    }
    chunks.flush(KIND_ACCOUNTS)?;
    Ok(code_hashes)
}

pub(super) struct ChunkWriter {
    file: BufWriter<File>,
    pub(super) payload: Vec<u8>,
    whole_crc: crc32fast::Hasher,
    bytes: u64,
}

impl ChunkWriter {
    pub(super) fn create(path: &Path, magic: [u8; 8]) -> Result<Self, SnapshotError> {
        let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        let payload = Vec::with_capacity(CHUNK_BYTES + 4096);
        let mut chunks = Self { file, payload, whole_crc: crc32fast::Hasher::new(), bytes: 0 };
        chunks.raw(&magic)?;
        Ok(chunks)
    }

    pub(super) fn header(&mut self, header: &[u8]) -> Result<(), SnapshotError> {
        for piece in header.chunks(CHUNK_BYTES) {
            self.payload.extend_from_slice(piece);
            self.flush(KIND_HEADER)?;
        }
        if header.is_empty() {
            self.flush(KIND_HEADER)?;
        }
        Ok(())
    }

    /// Appends bytes with their length to a chunk, which is closed once it is full.
    pub(super) fn sized(&mut self, bytes: &[u8], kind: u8) -> Result<(), SnapshotError> {
        self.payload.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.payload.extend_from_slice(bytes);
        if self.payload.len() >= CHUNK_BYTES {
            self.flush(kind)?;
        }
        Ok(())
    }

    /// Closes a chunk that has something in it.
    pub(super) fn close(&mut self, kind: u8) -> Result<(), SnapshotError> {
        if self.payload.is_empty() {
            return Ok(());
        }
        self.flush(kind)
    }

    pub(super) fn codes(&mut self, hashes: &BTreeSet<B256>, codes: &CodeStore) -> Result<(), SnapshotError> {
        for &code_hash in hashes {
            let code = codes.get(code_hash).ok_or(SnapshotError::CodeMissing { code_hash })?;
            if code.len() + 4 > CHUNK_BYTES_MAX {
                return Err(std::io::Error::other("a code is longer than a snapshot's chunk").into());
            }
            self.sized(&code, KIND_CODES)?;
        }
        self.close(KIND_CODES)
    }

    /// Writes the last chunk and syncs the file; returns its bytes.
    pub(super) fn end(mut self, root: B256, counts: [u64; 3]) -> Result<u64, SnapshotError> {
        let whole_crc = self.whole_crc.clone().finalize();
        self.payload.extend_from_slice(root.as_slice());
        for count in counts {
            self.payload.extend_from_slice(&count.to_le_bytes());
        }
        self.payload.extend_from_slice(&whole_crc.to_le_bytes());
        self.flush(KIND_END)?;
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(self.bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.whole_crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(self.file.write_all(bytes)?)
    }

    pub(super) fn flush(&mut self, kind: u8) -> Result<(), SnapshotError> {
        let payload = std::mem::take(&mut self.payload);
        let mut head = [kind; CHUNK_HEAD_BYTES];
        head[1..5].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[5..].copy_from_slice(&chunk_crc(kind, &payload).to_le_bytes());
        self.raw(&head)?;
        self.raw(&payload)?;
        self.payload = payload;
        self.payload.clear();
        Ok(())
    }

    fn begin_accounts(&mut self, carried: u64) {
        let carried = u32::try_from(carried).expect("a trie in memory has fewer than 2^32 slots");
        self.payload.extend_from_slice(&carried.to_le_bytes());
    }

    /// Starts a new chunk if this one is full; `carried` slots of the current account are still to come.
    fn break_accounts(&mut self, carried: u64) -> Result<(), SnapshotError> {
        if self.payload.len() >= CHUNK_BYTES {
            self.flush(KIND_ACCOUNTS)?;
            self.begin_accounts(carried);
        }
        Ok(())
    }

    fn account(&mut self, key: &B256, info: &AccountInfo, slot_count: u64) {
        self.payload.extend_from_slice(key.as_slice());
        self.varint(info.nonce);
        self.number(&info.balance);
        self.payload.push(u8::from(info.has_code()));
        if info.has_code() {
            self.payload.extend_from_slice(info.code_hash.as_slice());
        }
        self.varint(slot_count);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.payload.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.payload.push(value as u8);
    }

    fn number(&mut self, value: &U256) {
        let bytes = &value.to_be_bytes::<32>()[value.leading_zeros() / 8..];
        self.payload.push(bytes.len() as u8);
        self.payload.extend_from_slice(bytes);
    }
}
