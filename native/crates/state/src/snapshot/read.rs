//! The loading half: chunks are read one after the other, parsed in parallel, joined in order, and built bottom-up in parallel.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use alloy_primitives::{keccak256, Bytes, B256, KECCAK256_EMPTY, U256};
use rayon::prelude::*;

use super::{
    chunk_crc, CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, END_BYTES, KIND_ACCOUNTS, KIND_CODES, KIND_END, KIND_HEADER, MAGIC,
};
use crate::state::AccountEntry;
use crate::{AccountInfo, CodeStore, SnapshotError, StateTrie, StorageTrie};

/// Account chunks parsed at a time; bounds the memory beside the state.
const CHUNKS_PARSED_AT_ONCE: usize = 16;

pub(super) fn read_header(path: &Path) -> Result<Bytes, SnapshotError> {
    let mut chunks = ChunkReader::open(path, MAGIC)?;
    let mut header = Vec::new();
    let mut chunk = chunks.next()?;
    if chunk.kind != KIND_HEADER {
        return Err(chunk.corrupt("no header"));
    }
    while chunk.kind == KIND_HEADER {
        header.extend_from_slice(&chunk.payload);
        chunk = chunks.next()?;
    }
    Ok(header.into())
}

pub(super) fn load(path: &Path, codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
    let mut chunks = ChunkReader::open(path, MAGIC)?;
    let mut loader = Loader::default();
    loop {
        let whole_crc = chunks.whole_crc.clone().finalize();
        let chunk = chunks.next()?;
        // Kinds come in one order; `H` < `A` < `C` < `E` by rank.
        let rank = [KIND_HEADER, KIND_ACCOUNTS, KIND_CODES, KIND_END].iter().position(|&kind| kind == chunk.kind);
        let rank = rank.ok_or_else(|| chunk.corrupt("unknown kind of chunk"))?;
        if rank < loader.rank || (loader.chunk_count == 0 && rank != 0) {
            return Err(chunk.corrupt("chunk out of order"));
        }
        loader.rank = rank;
        loader.chunk_count += 1;
        match chunk.kind {
            KIND_HEADER => loader.header.extend_from_slice(&chunk.payload),
            KIND_ACCOUNTS => loader.accounts(chunk)?,
            KIND_CODES => loader.codes(&chunk, codes)?,
            _ => {
                chunks.expect_end()?;
                return loader.finish(&chunk, whole_crc, codes);
            }
        }
    }
}

#[derive(Default)]
struct Loader {
    rank: usize,
    chunk_count: u64,
    header: Vec<u8>,
    unparsed: Vec<Chunk>,
    accounts: Vec<AccountEntry>,
    open: Option<OpenAccount>,
    code_hashes: BTreeSet<B256>,
    code_count: u64,
}

impl Loader {
    fn accounts(&mut self, chunk: Chunk) -> Result<(), SnapshotError> {
        self.unparsed.push(chunk);
        if self.unparsed.len() == CHUNKS_PARSED_AT_ONCE {
            self.parse_accounts()?;
        }
        Ok(())
    }

    fn parse_accounts(&mut self) -> Result<(), SnapshotError> {
        let chunks = std::mem::take(&mut self.unparsed);
        let parsed: Vec<_> = chunks.par_iter().map(parse_account_chunk).collect::<Result<_, _>>()?;
        for (chunk, parsed) in chunks.iter().zip(parsed) {
            self.join(chunk, parsed)?;
        }
        Ok(())
    }

    /// Appends a chunk's accounts; the one that was still open takes the slots carried over.
    fn join(&mut self, chunk: &Chunk, parsed: ParsedChunk) -> Result<(), SnapshotError> {
        let ParsedChunk { carried, whole, open, code_hashes } = parsed;
        match &mut self.open {
            Some(account) => {
                let rising =
                    carried.first().is_none_or(|first| account.slots.last().is_none_or(|last| last.0 < first.0));
                if carried.len() as u64 != account.missing.min(carried.len() as u64) || !rising {
                    return Err(chunk.corrupt("slots carried over do not fit"));
                }
                account.missing -= carried.len() as u64;
                account.slots.extend(carried);
            }
            None if !carried.is_empty() => return Err(chunk.corrupt("slots without an account")),
            None => {}
        }
        if self.open.as_ref().is_some_and(|account| account.missing == 0) {
            self.accounts.extend(self.open.take().map(OpenAccount::close));
        }
        if self.open.is_some() && !(whole.is_empty() && open.is_none()) {
            return Err(chunk.corrupt("an account lacks slots"));
        }
        let first = whole.first().map(AccountEntry::key).or(open.as_ref().map(|account| account.key));
        if first.zip(self.accounts.last().map(AccountEntry::key)).is_some_and(|(first, last)| first <= last) {
            return Err(chunk.corrupt("accounts are not in order"));
        }
        self.accounts.extend(whole);
        self.open = self.open.take().or(open);
        self.code_hashes.extend(code_hashes);
        Ok(())
    }

    fn codes(&mut self, chunk: &Chunk, codes: &CodeStore) -> Result<(), SnapshotError> {
        // Which codes are needed must be known before the first is kept: a file may come from a stranger.
        self.parse_accounts()?;
        let mut fields = Fields::new(chunk);
        while !fields.rest.is_empty() {
            let length = u32::from_le_bytes(fields.array()?);
            let code = fields.take(length as usize)?;
            if !self.code_hashes.contains(&keccak256(code)) {
                return Err(chunk.corrupt("a code that no account has"));
            }
            codes.insert(Bytes::copy_from_slice(code));
            self.code_count += 1;
        }
        Ok(())
    }

    fn finish(mut self, end: &Chunk, whole_crc: u32, codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
        if end.payload.len() != END_BYTES {
            return Err(end.corrupt("last chunk has a wrong length"));
        }
        let mut fields = Fields::new(end);
        let expected = B256::new(fields.array()?);
        let counts: [u64; 3] = [fields.u64()?, fields.u64()?, fields.u64()?];
        if u32::from_le_bytes(fields.array()?) != whole_crc {
            return Err(end.corrupt("checksum of the whole file"));
        }
        self.parse_accounts()?;
        if self.open.is_some() {
            return Err(end.corrupt("the last account lacks slots"));
        }
        let state = StateTrie::from_sorted(self.accounts);
        if counts != [state.account_count(), state.slot_count(), self.code_count] {
            return Err(end.corrupt("counts differ from content"));
        }
        let computed = state.root();
        if computed != expected {
            return Err(SnapshotError::RootMismatch { expected, computed });
        }
        match self.code_hashes.into_iter().find(|&code_hash| codes.get(code_hash).is_none()) {
            Some(code_hash) => Err(SnapshotError::CodeMissing { code_hash }),
            None => Ok((state, self.header.into())),
        }
    }
}

/// An account whose slots go on in the next chunk.
struct OpenAccount {
    key: B256,
    info: AccountInfo,
    slots: Vec<(B256, U256)>,
    missing: u64,
}

impl OpenAccount {
    fn close(self) -> AccountEntry {
        AccountEntry::new(self.key, self.info, StorageTrie::from_sorted(self.slots))
    }
}

struct ParsedChunk {
    carried: Vec<(B256, U256)>,
    whole: Vec<AccountEntry>,
    open: Option<OpenAccount>,
    code_hashes: BTreeSet<B256>,
}

fn parse_account_chunk(chunk: &Chunk) -> Result<ParsedChunk, SnapshotError> {
    let mut fields = Fields::new(chunk);
    let carried = u64::from(u32::from_le_bytes(fields.array()?));
    let carried = fields.slots(carried)?;
    let mut parsed = ParsedChunk { carried, whole: Vec::new(), open: None, code_hashes: BTreeSet::new() };
    let mut last_key = None;
    while !fields.rest.is_empty() {
        let key = B256::new(fields.array()?);
        if last_key.replace(key).is_some_and(|last| last >= key) {
            return Err(chunk.corrupt("accounts are not in order"));
        }
        let (nonce, balance) = (fields.varint()?, fields.number()?);
        let code_hash = match fields.array::<1>()? {
            [0] => KECCAK256_EMPTY,
            [1] => B256::new(fields.array()?),
            _ => return Err(chunk.corrupt("account has an unknown flag")),
        };
        if code_hash != KECCAK256_EMPTY {
            parsed.code_hashes.insert(code_hash);
        }
        let slot_count = fields.varint()?;
        let slots = fields.slots(slot_count)?;
        let missing = slot_count - slots.len() as u64;
        let account = OpenAccount { key, info: AccountInfo { nonce, balance, code_hash }, slots, missing };
        match missing {
            0 => parsed.whole.push(account.close()),
            _ => parsed.open = Some(account),
        }
    }
    Ok(parsed)
}

/// A chunk's payload, taken apart from the front.
pub(super) struct Fields<'a> {
    chunk: &'a Chunk,
    pub(super) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(chunk: &'a Chunk) -> Self {
        Self { chunk, rest: &chunk.payload }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.chunk.corrupt("a record is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnapshotError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn varint(&mut self) -> Result<u64, SnapshotError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.chunk.corrupt("an integer is too long"))
    }

    fn number(&mut self) -> Result<U256, SnapshotError> {
        let [length] = self.array()?;
        let bytes = self.take(usize::from(length))?;
        match bytes.len() > 32 || bytes.first() == Some(&0) {
            true => Err(self.chunk.corrupt("a number is malformed")),
            false => Ok(U256::from_be_slice(bytes)),
        }
    }

    /// Up to `count` slots by rising key; fewer when the chunk ends.
    fn slots(&mut self, count: u64) -> Result<Vec<(B256, U256)>, SnapshotError> {
        let mut slots: Vec<(B256, U256)> = Vec::new();
        while (slots.len() as u64) < count && !self.rest.is_empty() {
            let key = B256::new(self.array()?);
            let value = self.number()?;
            if value.is_zero() || slots.last().is_some_and(|last| last.0 >= key) {
                return Err(self.chunk.corrupt("slots are zero or not in order"));
            }
            slots.push((key, value));
        }
        Ok(slots)
    }
}

pub(super) struct Chunk {
    offset: u64,
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Chunk {
    pub(super) fn corrupt(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Corrupt { offset: self.offset, what }
    }
}

pub(super) struct ChunkReader {
    file: BufReader<File>,
    offset: u64,
    pub(super) whole_crc: crc32fast::Hasher,
}

impl ChunkReader {
    pub(super) fn open(path: &Path, magic: [u8; 8]) -> Result<Self, SnapshotError> {
        let mut reader = Self {
            file: BufReader::with_capacity(1 << 18, File::open(path)?),
            offset: 0,
            whole_crc: crc32fast::Hasher::new(),
        };
        let mut found = [0; 8];
        reader.read(&mut found)?;
        match found == magic {
            true => Ok(reader),
            false => Err(SnapshotError::Format { found }),
        }
    }

    pub(super) fn next(&mut self) -> Result<Chunk, SnapshotError> {
        let offset = self.offset;
        let mut head = [0; CHUNK_HEAD_BYTES];
        self.read(&mut head)?;
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > CHUNK_BYTES_MAX {
            return Err(SnapshotError::Corrupt { offset, what: "a chunk is too long" });
        }
        let mut payload = vec![0; length];
        self.read(&mut payload)?;
        if chunk_crc(kind, &payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(SnapshotError::Corrupt { offset, what: "checksum of a chunk" });
        }
        Ok(Chunk { offset, kind, payload })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => SnapshotError::Truncated { offset: self.offset },
            _ => SnapshotError::Io(error),
        })?;
        self.whole_crc.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn expect_end(&mut self) -> Result<(), SnapshotError> {
        match self.file.read(&mut [0; 1])? {
            0 => Ok(()),
            _ => Err(SnapshotError::Corrupt { offset: self.offset, what: "bytes after the end" }),
        }
    }
}
