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

pub(super) fn write(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_file(&partial, state, codes, header).and_then(|bytes| {
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

fn write_file(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    let root = state.root();
    let mut chunks = ChunkWriter::new(BufWriter::with_capacity(1 << 18, File::create(path)?));
    chunks.raw(&MAGIC)?;
    for piece in header.chunks(CHUNK_BYTES) {
        chunks.payload.extend_from_slice(piece);
        chunks.flush(KIND_HEADER)?;
    }
    if header.is_empty() {
        chunks.flush(KIND_HEADER)?;
    }
    let code_hashes = write_accounts(&mut chunks, state)?;
    for &code_hash in &code_hashes {
        let code = codes.get(code_hash).ok_or(SnapshotError::CodeMissing { code_hash })?;
        if code.len() + 4 > CHUNK_BYTES_MAX {
            return Err(std::io::Error::other("a code is longer than a snapshot's chunk").into());
        }
        chunks.payload.extend_from_slice(&(code.len() as u32).to_le_bytes());
        chunks.payload.extend_from_slice(&code);
        if chunks.payload.len() >= CHUNK_BYTES {
            chunks.flush(KIND_CODES)?;
        }
    }
    if !chunks.payload.is_empty() {
        chunks.flush(KIND_CODES)?;
    }
    let whole_crc = chunks.whole_crc.clone().finalize();
    chunks.payload.extend_from_slice(root.as_slice());
    for count in [state.account_count(), state.slot_count(), code_hashes.len() as u64] {
        chunks.payload.extend_from_slice(&count.to_le_bytes());
    }
    chunks.payload.extend_from_slice(&whole_crc.to_le_bytes());
    chunks.flush(KIND_END)?;
    let file = chunks.file.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    Ok(chunks.bytes)
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

struct ChunkWriter {
    file: BufWriter<File>,
    payload: Vec<u8>,
    whole_crc: crc32fast::Hasher,
    bytes: u64,
}

impl ChunkWriter {
    fn new(file: BufWriter<File>) -> Self {
        let payload = Vec::with_capacity(CHUNK_BYTES + 4096);
        Self { file, payload, whole_crc: crc32fast::Hasher::new(), bytes: 0 }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.whole_crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(self.file.write_all(bytes)?)
    }

    fn flush(&mut self, kind: u8) -> Result<(), SnapshotError> {
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
