//! The store of derived block data: headers, bodies, receipts by number; number by block hash; location by transaction hash.
//!
//! Everything in it can be rebuilt from the decided log, so a write waits for no disk: it is atomic and survives the end of the
//! process; [`Store::sync`] makes it survive a power cut. What a crash takes are the newest blocks, never the middle.
//!
//! # Rows
//! Two key spaces: `index` for small rows, `data` for large ones (kept out of compactions by key-value separation).
//!
//! | space | key | value |
//! |---|---|---|
//! | index | rollup (8), `h`, number (8) | block hash (32), header |
//! | index | rollup (8), `n`, first 11 bytes of the block hash | number (8), rest of the block hash (21) |
//! | index | rollup (8), first 12 bytes of the transaction hash with the top bit of the first set | number (5), index (3), tag of the block hash (4), next 8 bytes of the transaction hash |
//! | data | rollup (8), `b` or `r`, number (8) | body or receipts |
//! | data | rollup (8), `s`, first 11 bytes of the block hash | a block that [`Store::replace_above`] took off the chain: hash (32), number (8), lengths of header, body and receipts (4 each), these, undo record |
//! | data | rollup (8), `u`, number (8) | block hash (32), undo record: what takes the block's changes of the state back |
//!
//! Numbers are big-endian. Transaction rows are 20 bytes of key and of value because the engine keeps those without allocation; the
//! tag ties a row to the very block that wrote it, so that rows of a removed or replaced block are void without being deleted.

mod disk;
mod memory;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use alloy_primitives::{Bytes, B256};

use crate::StoreError;
use disk::Disk;
use memory::Memory;

/// Blocks removed by one batch of [`Store::remove_above`]; bounds its memory.
const REMOVE_BLOCKS_MAX: usize = 256;

/// Greatest number and index that fit a transaction's row.
const NUMBER_MAX: u64 = (1 << 40) - 1;
const INDEX_MAX: usize = (1 << 24) - 1;

/// Blocks, receipts and indexes of all rollups of a node. Cloning shares it; all methods may be called from any thread.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: RwLock<Option<Engine>>,
    /// Held by writers: a write reads what it replaces.
    writing: Mutex<()>,
}

enum Engine {
    Memory(Memory),
    Disk(Disk),
}

/// Which of the two key spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Index,
    Data,
}

/// Rows to put (with a value) or delete (without), applied all or none.
#[derive(Default)]
struct Batch {
    rows: Vec<(Space, Key, Option<Vec<u8>>)>,
}

/// A row's key, at most 20 bytes.
type Key = Vec<u8>;

/// What one sealed block leaves in the store. The bytes are opaque to the store.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a> {
    /// Block number, below 2^40.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// Header bytes.
    pub header: &'a [u8],
    /// Body bytes.
    pub body: &'a [u8],
    /// Receipts bytes.
    pub receipts: &'a [u8],
    /// Hashes of the block's transactions in their order, fewer than 2^24.
    pub transaction_hashes: &'a [B256],
    /// What takes the block's changes of the state back, where that is kept.
    pub undo: Option<Undo<'a>>,
}

/// The undo record of a block.
#[derive(Clone, Copy, Debug)]
pub struct Undo<'a> {
    /// The record's bytes.
    pub bytes: &'a [u8],
    /// An older block whose record goes.
    pub drops: Option<u64>,
}

/// The bytes of one stored block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Block number.
    pub number: u64,
    /// Header bytes.
    pub header: Bytes,
    /// Body bytes.
    pub body: Bytes,
    /// Receipts bytes.
    pub receipts: Bytes,
    /// Undo record, empty where none was kept.
    pub undo: Bytes,
}

/// Size of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Bytes on disk, journals included; bytes of rows for a store in memory.
    pub disk_bytes: u64,
    /// Bytes in write buffers, not yet in tables.
    pub write_buffer_bytes: u64,
    /// Bytes of the block cache in use.
    pub cache_bytes: u64,
}

impl Store {
    /// Opens or creates a store in this folder. Fails when another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::new(Engine::Disk(Disk::open(path)?)))
    }

    /// A store that ends with the process.
    pub fn in_memory() -> Self {
        Self::new(Engine::Memory(Memory::default()))
    }

    fn new(engine: Engine) -> Self {
        Self { inner: Arc::new(Inner { engine: RwLock::new(Some(engine)), writing: Mutex::new(()) }) }
    }

    /// Writes one block, all or nothing. A block of the same number is replaced; writing the same block again changes nothing.
    ///
    /// # Panics
    /// When the number or the count of transactions is out of its range.
    pub fn write_block(&self, rollup: u64, block: BlockRecord<'_>) -> Result<(), StoreError> {
        assert!(block.number <= NUMBER_MAX && block.transaction_hashes.len() <= INDEX_MAX);
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch { rows: Vec::with_capacity(block.transaction_hashes.len() + 5) };
        if let Some((old_hash, _)) = self.hash_and_header(rollup, block.number)? {
            if old_hash != block.hash {
                batch.delete(Space::Index, hash_key(rollup, old_hash));
            }
        }
        batch.put_block(rollup, &block);
        self.with_engine(|engine| engine.write(batch))
    }

    /// Replaces the chain above `number` by these blocks (rising, from `number + 1` on), all or nothing. The blocks that go are
    /// first copied aside, where [`Self::block`] and [`Self::replaced`] find them by hash; an interruption then leaves the old chain.
    ///
    /// # Panics
    /// When the blocks do not follow `number`, or one is out of range.
    pub fn replace_above(&self, rollup: u64, number: u64, blocks: &[BlockRecord<'_>]) -> Result<(), StoreError> {
        assert!(blocks.iter().zip(number + 1..).all(|(block, expected)| block.number == expected));
        assert!(blocks.iter().all(|block| block.number <= NUMBER_MAX && block.transaction_hashes.len() <= INDEX_MAX));
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.newest_headers(rollup, number.saturating_add(1), usize::MAX)?;
        let mut batch = Batch::default();
        for (old_number, hash) in old {
            let stays = blocks.iter().any(|block| block.hash == hash);
            if !stays {
                self.set_aside(rollup, old_number, hash)?;
                batch.delete(Space::Index, hash_key(rollup, hash));
            }
            if old_number > number + blocks.len() as u64 {
                batch.delete(Space::Index, number_key(rollup, b'h', old_number));
                batch.delete(Space::Data, number_key(rollup, b'b', old_number));
                batch.delete(Space::Data, number_key(rollup, b'r', old_number));
                batch.delete(Space::Data, number_key(rollup, b'u', old_number));
            }
        }
        for block in blocks {
            batch.put_block(rollup, block);
        }
        self.with_engine(|engine| engine.write(batch))
    }

    fn set_aside(&self, rollup: u64, number: u64, hash: B256) -> Result<(), StoreError> {
        let Some(block) = self.numbered(rollup, number, hash)? else { return Ok(()) };
        let mut row = Vec::with_capacity(ASIDE_HEAD + block.header.len() + block.body.len() + block.receipts.len());
        row.extend_from_slice(hash.as_slice());
        row.extend_from_slice(&number.to_be_bytes());
        for part in [&block.header, &block.body, &block.receipts] {
            row.extend_from_slice(&u32::try_from(part.len()).expect("a block has fewer than 4 GiB").to_be_bytes());
        }
        for part in [&block.header, &block.body, &block.receipts, &block.undo] {
            row.extend_from_slice(part);
        }
        let mut batch = Batch::default();
        batch.put(Space::Data, aside_key(rollup, hash), row);
        self.with_engine(|engine| engine.write(batch))
    }

    /// The block with this number and hash, on the chain or set aside.
    pub fn block(&self, rollup: u64, number: u64, hash: B256) -> Result<Option<StoredBlock>, StoreError> {
        let is_on_chain = || Ok::<bool, StoreError>(self.hash_by_number(rollup, number)? == Some(hash));
        if is_on_chain()? {
            let block = self.numbered(rollup, number, hash)?;
            // Looked at twice, since a replacement may have come between.
            if block.is_some() && is_on_chain()? {
                return Ok(block);
            }
        }
        self.replaced(rollup, hash)
    }

    /// Header bytes of the block with this number and hash, on the chain or set aside.
    pub fn header_of(&self, rollup: u64, number: u64, hash: B256) -> Result<Option<Bytes>, StoreError> {
        match self.hash_and_header(rollup, number)? {
            Some((known, header)) if known == hash => Ok(Some(header)),
            _ => Ok(self.replaced(rollup, hash)?.map(|block| block.header)),
        }
    }

    /// A block that was set aside.
    pub fn replaced(&self, rollup: u64, hash: B256) -> Result<Option<StoredBlock>, StoreError> {
        let Some(row) = self.get(Space::Data, &aside_key(rollup, hash))? else { return Ok(None) };
        let corrupt = || StoreError::Corrupt { what: "replaced block" };
        let (head, parts) = row.split_first_chunk::<ASIDE_HEAD>().ok_or_else(corrupt)?;
        if head[..32] != hash[..] {
            return Ok(None);
        }
        let length = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (header, body, receipts) = (length(40), length(44), length(48));
        if header + body + receipts > parts.len() {
            return Err(corrupt());
        }
        let mut at = ASIDE_HEAD;
        let mut part = |length: usize| {
            at += length;
            row.slice(at - length..at)
        };
        let (header, body, receipts) = (part(header), part(body), part(receipts));
        let number = u64::from_be_bytes(head[32..40].try_into().expect("eight bytes"));
        Ok(Some(StoredBlock { number, header, body, receipts, undo: row.slice(at..) }))
    }

    /// Keeps the undo record of a block of the chain.
    pub fn write_undo(&self, rollup: u64, number: u64, hash: B256, record: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(Space::Data, number_key(rollup, b'u', number), [hash.as_slice(), record].concat());
        self.with_engine(|engine| engine.write(batch))
    }

    /// The undo record of the block with this number and hash on the chain.
    pub fn undo(&self, rollup: u64, number: u64, hash: B256) -> Result<Option<Bytes>, StoreError> {
        let row = self.get(Space::Data, &number_key(rollup, b'u', number))?;
        Ok(row.filter(|row| row.starts_with(hash.as_slice())).map(|row| row.slice(32..)))
    }

    fn numbered(&self, rollup: u64, number: u64, hash: B256) -> Result<Option<StoredBlock>, StoreError> {
        let (Some(header), Some(body), Some(receipts)) =
            (self.header(rollup, number)?, self.body(rollup, number)?, self.receipts(rollup, number)?)
        else {
            return Ok(None);
        };
        let undo = self.undo(rollup, number, hash)?.unwrap_or_default();
        Ok(Some(StoredBlock { number, header, body, receipts, undo }))
    }

    /// Header bytes of a block.
    pub fn header(&self, rollup: u64, number: u64) -> Result<Option<Bytes>, StoreError> {
        Ok(self.hash_and_header(rollup, number)?.map(|(_, header)| header))
    }

    /// Hash of a block.
    pub fn hash_by_number(&self, rollup: u64, number: u64) -> Result<Option<B256>, StoreError> {
        Ok(self.hash_and_header(rollup, number)?.map(|(hash, _)| hash))
    }

    /// Body bytes of a block.
    pub fn body(&self, rollup: u64, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.get(Space::Data, &number_key(rollup, b'b', number))
    }

    /// Receipts bytes of a block.
    pub fn receipts(&self, rollup: u64, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.get(Space::Data, &number_key(rollup, b'r', number))
    }

    /// Number of the block with this hash.
    pub fn number_by_hash(&self, rollup: u64, hash: B256) -> Result<Option<u64>, StoreError> {
        let Some(row) = self.get(Space::Index, &hash_key(rollup, hash))? else { return Ok(None) };
        let (number, rest) = row.split_first_chunk::<8>().ok_or(StoreError::Corrupt { what: "block hash" })?;
        Ok((rest == &hash[HASH_KEY_BYTES..]).then(|| u64::from_be_bytes(*number)))
    }

    /// Block number and index in the block of a transaction. Compares 20 bytes of the hash: a caller that shows the transaction to a
    /// stranger compares the rest with the body.
    pub fn transaction_location(&self, rollup: u64, hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
        let Some(row) = self.get(Space::Index, &transaction_key(rollup, hash))? else { return Ok(None) };
        let Some(row) = TransactionRow::decode(&row, hash)? else { return Ok(None) };
        let block = self.hash_by_number(rollup, row.number)?;
        Ok(block.filter(|&block| tag(block) == row.block_tag).map(|_| (row.number, row.index)))
    }

    /// Greatest block number of a rollup.
    pub fn head_number(&self, rollup: u64) -> Result<Option<u64>, StoreError> {
        let newest = self.newest_headers(rollup, 0, 1)?;
        Ok(newest.first().map(|(number, _)| *number))
    }

    /// Removes all blocks above `number` with all that refers to them, newest first, so that an interruption leaves a store without
    /// holes; returns how many there were. Doing it again removes nothing.
    pub fn remove_above(&self, rollup: u64, number: u64) -> Result<u64, StoreError> {
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        loop {
            let newest = self.newest_headers(rollup, number.saturating_add(1), REMOVE_BLOCKS_MAX)?;
            if newest.is_empty() || number == u64::MAX {
                return Ok(removed);
            }
            removed += newest.len() as u64;
            let mut batch = Batch::default();
            for (number, hash) in newest {
                batch.delete(Space::Index, number_key(rollup, b'h', number));
                batch.delete(Space::Index, hash_key(rollup, hash));
                batch.delete(Space::Data, number_key(rollup, b'b', number));
                batch.delete(Space::Data, number_key(rollup, b'r', number));
                batch.delete(Space::Data, number_key(rollup, b'u', number));
            }
            self.with_engine(|engine| engine.write(batch))?;
        }
    }

    /// Makes everything written so far survive a power cut (fsync).
    pub fn sync(&self) -> Result<(), StoreError> {
        self.with_engine(|engine| match engine {
            Engine::Memory(_) => Ok(()),
            Engine::Disk(disk) => disk.sync(),
        })
    }

    /// Syncs and closes, also for every clone; later calls answer [`StoreError::Closed`]. Closing twice is no error.
    pub fn close(&self) -> Result<(), StoreError> {
        let engine = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        match engine {
            Some(Engine::Disk(disk)) => disk.sync(),
            Some(Engine::Memory(_)) | None => Ok(()),
        }
    }

    /// Size figures.
    pub fn statistics(&self) -> Result<StoreStatistics, StoreError> {
        self.with_engine(|engine| match engine {
            Engine::Memory(memory) => Ok(memory.statistics()),
            Engine::Disk(disk) => disk.statistics(),
        })
    }

    fn hash_and_header(&self, rollup: u64, number: u64) -> Result<Option<(B256, Bytes)>, StoreError> {
        let Some(row) = self.get(Space::Index, &number_key(rollup, b'h', number))? else { return Ok(None) };
        if row.len() < 32 {
            return Err(StoreError::Corrupt { what: "header" });
        }
        Ok(Some((B256::from_slice(&row[..32]), row.slice(32..))))
    }

    /// Number and hash of the newest blocks from `lowest` on, newest first, `count` at most.
    fn newest_headers(&self, rollup: u64, lowest: u64, count: usize) -> Result<Vec<(u64, B256)>, StoreError> {
        let (from, to) = (number_key(rollup, b'h', lowest), number_key(rollup, b'h', u64::MAX));
        let rows = self.with_engine(|engine| match engine {
            Engine::Memory(memory) => Ok(memory.newest(&from, &to, count)),
            Engine::Disk(disk) => disk.newest(&from, &to, count),
        })?;
        let decode = |(key, value): (Key, Bytes)| {
            let number = key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number));
            let hash = value.first_chunk::<32>().map(|hash| B256::new(*hash));
            number.zip(hash).ok_or(StoreError::Corrupt { what: "header" })
        };
        rows.into_iter().map(decode).collect()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.with_engine(|engine| match engine {
            Engine::Memory(memory) => Ok(memory.get(space, key)),
            Engine::Disk(disk) => disk.get(space, key),
        })
    }

    fn with_engine<R>(&self, act: impl FnOnce(&Engine) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        act(engine.as_ref().ok_or(StoreError::Closed)?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("statistics", &self.statistics()).finish()
    }
}

impl Engine {
    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.write(batch);
                Ok(())
            }
            Self::Disk(disk) => disk.write(batch),
        }
    }
}

impl Batch {
    fn put(&mut self, space: Space, key: Key, value: Vec<u8>) {
        self.rows.push((space, key, Some(value)));
    }

    fn delete(&mut self, space: Space, key: Key) {
        self.rows.push((space, key, None));
    }

    fn put_block(&mut self, rollup: u64, block: &BlockRecord<'_>) {
        let mut header = Vec::with_capacity(32 + block.header.len());
        header.extend_from_slice(block.hash.as_slice());
        header.extend_from_slice(block.header);
        self.put(Space::Index, number_key(rollup, b'h', block.number), header);
        let mut number = block.number.to_be_bytes().to_vec();
        number.extend_from_slice(&block.hash[HASH_KEY_BYTES..]);
        self.put(Space::Index, hash_key(rollup, block.hash), number);
        self.put(Space::Data, number_key(rollup, b'b', block.number), block.body.to_vec());
        self.put(Space::Data, number_key(rollup, b'r', block.number), block.receipts.to_vec());
        if let Some(undo) = &block.undo {
            let row = [block.hash.as_slice(), undo.bytes].concat();
            self.put(Space::Data, number_key(rollup, b'u', block.number), row);
            if let Some(number) = undo.drops {
                self.delete(Space::Data, number_key(rollup, b'u', number));
            }
        }
        for (index, hash) in block.transaction_hashes.iter().enumerate() {
            let row = TransactionRow { number: block.number, index: index as u32, block_tag: tag(block.hash) };
            self.put(Space::Index, transaction_key(rollup, *hash), row.encode(*hash));
        }
    }
}

/// Bytes of a block hash in its row's key; the row's value holds the rest.
const HASH_KEY_BYTES: usize = 11;

/// Bytes before the parts of a block that was set aside.
const ASIDE_HEAD: usize = 52;

fn number_key(rollup: u64, kind: u8, number: u64) -> Key {
    let mut key = Vec::with_capacity(17);
    key.extend_from_slice(&rollup.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn hash_key(rollup: u64, hash: B256) -> Key {
    key_by_hash(rollup, b'n', hash)
}

fn aside_key(rollup: u64, hash: B256) -> Key {
    key_by_hash(rollup, b's', hash)
}

fn key_by_hash(rollup: u64, kind: u8, hash: B256) -> Key {
    let mut key = Vec::with_capacity(20);
    key.extend_from_slice(&rollup.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&hash[..HASH_KEY_BYTES]);
    key
}

/// The top bit set keeps transaction rows apart from the rows whose ninth byte is a letter.
fn transaction_key(rollup: u64, hash: B256) -> Key {
    let mut key = Vec::with_capacity(20);
    key.extend_from_slice(&rollup.to_be_bytes());
    key.extend_from_slice(&hash[..12]);
    key[8] |= 0x80;
    key
}

/// What ties a transaction's row to the block that wrote it: four bytes of the block hash.
fn tag(block: B256) -> [u8; 4] {
    [block[28], block[29], block[30], block[31]]
}

struct TransactionRow {
    number: u64,
    index: u32,
    block_tag: [u8; 4],
}

impl TransactionRow {
    fn encode(&self, hash: B256) -> Vec<u8> {
        let mut row = Vec::with_capacity(20);
        row.extend_from_slice(&self.number.to_be_bytes()[3..]);
        row.extend_from_slice(&self.index.to_be_bytes()[1..]);
        row.extend_from_slice(&self.block_tag);
        row.extend_from_slice(&hash[12..20]);
        row
    }

    /// `None` when the row belongs to another transaction.
    fn decode(row: &[u8], hash: B256) -> Result<Option<Self>, StoreError> {
        let row: &[u8; 20] = row.try_into().map_err(|_| StoreError::Corrupt { what: "transaction" })?;
        if row[12..] != hash[12..20] {
            return Ok(None);
        }
        let number = row[..5].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let index = row[5..8].iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        Ok(Some(Self { number, index, block_tag: [row[8], row[9], row[10], row[11]] }))
    }
}
