//! What another node needs to take a rollup over at a height, and the checks that make it safe to accept from a stranger.
//!
//! Two kinds of files. The *state* file is the state crate's snapshot of the last sealed block's state, with a short header. A
//! *blocks* file holds blocks in falling order, each as length (4, little-endian) and payload: header RLP, transactions, receipts,
//! byte strings with LEB128 lengths; then, of the last 2,048 blocks of a rollup that keeps them, the undo record, so that whoever took
//! over can unwind as far as everybody else. Equal rollups give equal files on every node.
//!
//! Whoever takes over knows the agreed hash of the head, and nothing else is believed: every header is the preimage of the hash that
//! the block above it names, transactions, receipts and bloom hash to what the header says, senders are recovered anew, the state
//! hashes to the head's state root, and every undo record leads to the state root of the block below. The open block is executed again from its attributes and transactions.
//!
//! Errors of content have the code `snapshot_blocks_wrong`, `snapshot_state_wrong`, `snapshot_open_block_wrong`, or one of the state
//! file's own. Memory is bounded by a batch of blocks beside the state.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{keccak256, Bytes, B256};
use alloy_rlp::{Decodable, Encodable};
use plait_state::{snapshot, StateTrie, Store};
use rayon::prelude::*;

use crate::block::{decode_deposit, Attributes, Chunk, Sealed};
use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::records::{self, put_bytes, put_number, Reader};
use crate::rollup::{build_genesis, Decided, Encoded, Rollup};
use crate::seal::{receipts_root, transactions_root, withdrawals_root};
use crate::session::RECENT_HASHES;
use crate::transaction::{decode_in_block, Transaction};
use crate::undo;

/// Version of the state file's header; the header of a node's own snapshots has another one.
const SHARED_FORMAT: u64 = 2;
/// Blocks below the head, the head included, whose undo records are handed on: as many as an unwinding can reach back.
pub const SHARED_UNDO_BLOCKS: u64 = 2_048;
/// A longer block is refused before anything of it is read.
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// Blocks verified at once: so many, or until they have so many bytes.
const BATCH_BLOCKS: usize = 512;
const BATCH_BYTES: usize = 32 << 20;

/// What a rollup is taken over from.
#[derive(Debug)]
pub struct Given<'a> {
    /// The state file.
    pub state: &'a Path,
    /// Blocks files, the one with the head first; none when the head is the genesis block.
    pub blocks: &'a [PathBuf],
    /// The agreed head.
    pub head_number: u64,
    /// Its agreed hash.
    pub head_hash: B256,
    /// The lowest block in the files.
    pub lowest: u64,
    /// What opened the open block, and its user transactions.
    pub open: Option<(Attributes, Vec<Bytes>)>,
}

pub(crate) fn wrong(message: impl Into<String>) -> CoreError {
    CoreError::new("snapshot_blocks_wrong", message)
}

fn io(error: std::io::Error) -> CoreError {
    CoreError::new("snapshot_io", format!("snapshot file: {error}"))
}

// ---------------------------------------------------------------- writing
impl Rollup {
    /// Writes the state of the last sealed block at a moment; returns the bytes.
    ///
    /// # Errors
    /// `snapshot_io`.
    pub fn write_state(&self, decided: &Decided, path: &Path) -> Result<u64> {
        Self::refuse_remote(decided)?;
        let mut header = Vec::new();
        put_number(&mut header, SHARED_FORMAT);
        put_number(&mut header, self.chain.chain_id);
        header.extend_from_slice(self.genesis_hash.as_slice());
        Ok(snapshot::write(path, &decided.view.head.state, decided.view.codes.store(), &header)?)
    }

    /// Writes the blocks from `highest` down to `lowest` to a new file, synced; returns the bytes.
    ///
    /// # Errors
    /// `store_corrupt` when the store lacks one, `snapshot_io`, store errors.
    pub fn write_blocks(&self, decided: &Decided, path: &Path, highest: u64, lowest: u64) -> Result<u64> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
        let mut written = 0;
        let mut payload = Vec::new();
        // From the second block on the one above names the hash: the numbers may lead to another chain by then.
        let mut hash = self.hash_of(decided, highest)?;
        for number in (lowest..=highest).rev() {
            let missing = || CoreError::new("store_corrupt", format!("the store lacks block {number}"));
            let own = hash.ok_or_else(missing)?;
            // Not `content`: a pass over all blocks must not displace what readers keep.
            let recent = decided.recent(number).filter(|sealed| sealed.hash == own);
            let (header, body) = match recent.and_then(|sealed| Some((sealed.header.clone(), sealed.body.clone()?))) {
                Some(block) => block,
                None => self.stored_block(number, own)?.ok_or_else(missing)?,
            };
            hash = Some(header.parent_hash);
            payload.clear();
            encode_block(&mut payload, &header, &body);
            if decided.view.head.header.number - number < SHARED_UNDO_BLOCKS {
                if let Some(record) = self.store.block(self.chain.chain_id, number, own)?.map(|block| block.undo) {
                    payload.extend_from_slice(&record);
                }
            }
            file.write_all(&(payload.len() as u32).to_le_bytes()).map_err(io)?;
            file.write_all(&payload).map_err(io)?;
            written += payload.len() as u64 + 4;
        }
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        Ok(written)
    }

    fn stored_block(&self, number: u64, hash: B256) -> Result<Option<(Header, Arc<Chunk>)>> {
        let Some(block) = self.store.block(self.chain.chain_id, number, hash)? else { return Ok(None) };
        let header = Header::decode(&mut &block.header[..]).map_err(|_| {
            CoreError::new("store_corrupt", format!("the stored header of block {number} is malformed"))
        })?;
        let body = records::decode(&block.body, &block.receipts, self.chain.chain_id)?;
        Ok(Some((header, Arc::new(body))))
    }
}

impl Decided {
    /// The open block's user transactions, raw, in order.
    pub fn open_transactions(&self) -> Vec<Bytes> {
        let Some((open, _)) = &self.view.open else { return Vec::new() };
        open.iter().filter(|item| !item.is_deposit()).map(|item| item.transaction.raw.clone()).collect()
    }
}

fn encode_block(out: &mut Vec<u8>, header: &Header, body: &Chunk) {
    let mut rlp = Vec::with_capacity(700);
    header.encode(&mut rlp);
    put_bytes(out, &rlp);
    put_number(out, body.items.len() as u64);
    for item in &body.items {
        put_bytes(out, &item.transaction.raw);
    }
    put_bytes(out, &records::encode_receipts(body));
}

// ---------------------------------------------------------------- taking over
impl Rollup {
    /// A rollup at the agreed head and open block; its blocks are put into the store as they are found right.
    ///
    /// # Errors
    /// `genesis_malformed`, `genesis_fork_unsupported`, `store_genesis_mismatch`, `snapshot_*`, store errors. Blocks that were
    /// stored before the error are true ones and stay.
    pub fn take_over(genesis_json: &[u8], store: Store, given: Given<'_>) -> Result<Self> {
        let codes = Codes::default();
        let (chain, genesis) = build_genesis(genesis_json, &codes)?;
        let (state, header) = snapshot::load(given.state, codes.store())?;
        check_header(&header, chain.chain_id, genesis.hash)?;
        let mut import = Import::new(&store, chain.chain_id, &given, (&state, &codes));
        for path in given.blocks {
            import.file(path)?;
        }
        import.finish(&genesis)?;
        let (head, hashes) = (import.head.take(), std::mem::take(&mut import.hashes));
        let (header, hash, body) = head.unwrap_or((genesis.header.clone(), genesis.hash, Arc::default()));
        if (header.number, hash) != (given.head_number, given.head_hash) {
            return Err(wrong(format!("the head is block {} {hash}, not the agreed one", header.number)));
        }
        check_state(&header, state.root())?;
        if header.withdrawals_root != Some(withdrawals_root(&chain, &state)) {
            return Err(CoreError::new("snapshot_state_wrong", "the head's withdrawals root is not the state's"));
        }
        let head = Arc::new(Sealed { header, hash, state, body: Some(body) });
        let rollup = Self::start(chain, genesis.hash, codes, head, hashes, store)?;
        rollup.write_genesis(&genesis)?;
        if let Some((attributes, raws)) = given.open {
            rollup.reopen(attributes, &raws)?;
        }
        Ok(rollup)
    }

    fn reopen(&self, attributes: Attributes, raws: &[Bytes]) -> Result<()> {
        let refuse = |message: String| CoreError::new("snapshot_open_block_wrong", message);
        let chain_id = self.chain.chain_id;
        let transactions = raws
            .par_iter()
            .map(|raw| decode_in_block(raw, chain_id, None).map(Arc::new))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|refusal| refuse(refusal.message))?;
        let mut session = self.session();
        session.open(Arc::new(attributes))?;
        let outcomes = session.run(&transactions, true)?;
        if outcomes.included != transactions.len() {
            return Err(refuse(format!("transaction {} of the open block does not execute", outcomes.included)));
        }
        self.commit(&mut session)
    }
}

fn check_header(header: &[u8], chain_id: u64, genesis_hash: B256) -> Result<()> {
    let mut expected = Vec::new();
    put_number(&mut expected, SHARED_FORMAT);
    put_number(&mut expected, chain_id);
    expected.extend_from_slice(genesis_hash.as_slice());
    if header == expected {
        return Ok(());
    }
    Err(CoreError::new(
        "snapshot_foreign",
        format!("the state is not one of chain {chain_id} with genesis {genesis_hash}"),
    ))
}

/// A block's bytes, its header found to be the expected one.
struct Fetched {
    number: u64,
    hash: B256,
    header: Header,
    /// As in the file: header, transactions, receipts.
    payload: Vec<u8>,
    header_bytes: Vec<u8>,
}

struct Import<'a> {
    store: &'a Store,
    chain_id: u64,
    lowest: u64,
    /// Number and hash that the next block must have.
    next: u64,
    expected: B256,
    batch: Vec<Fetched>,
    batch_bytes: usize,
    head: Option<(Header, B256, Arc<Chunk>)>,
    hashes: BTreeMap<u64, B256>,
    codes: &'a Codes,
    /// The state after the lowest block so far; None where the undo records have ended.
    state: Option<StateTrie>,
    /// Number, hash and undo record of that block.
    lowest_record: Option<(u64, B256, Vec<u8>)>,
    records: u64,
}

impl<'a> Import<'a> {
    fn new(store: &'a Store, chain_id: u64, given: &Given<'_>, (state, codes): (&StateTrie, &'a Codes)) -> Self {
        Self {
            store,
            chain_id,
            lowest: given.lowest,
            next: given.head_number,
            expected: given.head_hash,
            batch: Vec::new(),
            batch_bytes: 0,
            head: None,
            hashes: BTreeMap::new(),
            codes,
            state: Some(state.clone()),
            lowest_record: None,
            records: 0,
        }
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(io)?;
        let mut left = file.metadata().map_err(io)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        while left > 0 {
            let mut length = [0; 4];
            read(&mut file, &mut length)?;
            let length = u32::from_le_bytes(length) as usize;
            if length > BLOCK_BYTES_MAX || length as u64 + 4 > left {
                return Err(wrong("a block is longer than its file"));
            }
            let mut payload = vec![0; length];
            read(&mut file, &mut payload)?;
            left -= length as u64 + 4;
            self.block(payload)?;
        }
        Ok(())
    }

    /// Checks that the block is the one that the block above it names.
    fn block(&mut self, payload: Vec<u8>) -> Result<()> {
        let number = self.next;
        if number < self.lowest || number == 0 {
            return Err(wrong(format!("there is a block below the lowest one, {}", self.lowest)));
        }
        let header_bytes = Reader(&payload).bytes().map_err(|_| wrong("a block is cut off"))?.to_vec();
        let hash = keccak256(&header_bytes);
        if hash != self.expected {
            return Err(wrong(format!("block {number} has the hash {hash}, {} is expected", self.expected)));
        }
        let mut rest = &header_bytes[..];
        let header =
            Header::decode(&mut rest).map_err(|_| wrong(format!("the header of block {number} is malformed")))?;
        if header.number != number || !rest.is_empty() {
            return Err(wrong(format!("the header of block {number} is of block {}", header.number)));
        }
        if self.hashes.len() < RECENT_HASHES as usize {
            self.hashes.insert(number, hash);
        }
        self.expected = header.parent_hash;
        self.next = number - 1;
        self.batch_bytes += payload.len();
        self.batch.push(Fetched { number, hash, header, payload, header_bytes });
        if self.batch.len() >= BATCH_BLOCKS || self.batch_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Checks the batch's contents and stores them.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let chain_id = self.chain_id;
        let contents = batch.par_iter().map(|block| content(block, chain_id)).collect::<Result<Vec<_>>>()?;
        for (block, (body, undo)) in batch.into_iter().zip(contents) {
            self.unwind(&block.header, block.hash, undo)?;
            let encoded = Encoded::new(block.number, block.hash, block.header_bytes, &body);
            self.store.write_block(chain_id, encoded.record())?;
            if self.head.is_none() {
                self.head = Some((block.header, block.hash, Arc::new(body)));
            }
        }
        Ok(())
    }

    fn finish(&mut self, genesis: &Sealed) -> Result<()> {
        self.flush()?;
        if self.next + 1 != self.lowest.max(1) && self.next != 0 {
            return Err(wrong(format!("the blocks end at {}, they must reach down to {}", self.next + 1, self.lowest)));
        }
        if self.next > 0 {
            return Ok(());
        }
        if self.expected != genesis.hash {
            return Err(wrong(format!("block 1 is not on the genesis block {}", genesis.hash)));
        }
        // Block 1's record leads to the genesis state, which no file holds.
        self.unwind(&genesis.header, genesis.hash, Vec::new())
    }

    /// Takes the next lower block: the record of the one above must lead to its state, and is stored then.
    fn unwind(&mut self, header: &Header, hash: B256, record: Vec<u8>) -> Result<()> {
        let Some(mut state) = self.state.take() else { return Ok(()) };
        match self.lowest_record.take() {
            None => check_state(header, state.root())?,
            Some((number, above, record)) => {
                let refused = || wrong(format!("the undo record of block {number} does not lead to the state below"));
                state = undo::apply(&state, &record, self.codes).map_err(|_| refused())?;
                if state.root() != header.state_root {
                    return Err(refused());
                }
                self.store.write_undo(self.chain_id, number, above, &record)?;
            }
        }
        if !record.is_empty() && self.records < SHARED_UNDO_BLOCKS {
            self.records += 1;
            self.state = Some(state);
            self.lowest_record = Some((header.number, hash, record));
        }
        Ok(())
    }
}

fn check_state(header: &Header, found: B256) -> Result<()> {
    if header.state_root == found {
        return Ok(());
    }
    let message = format!("the state hashes to {found}, block {} has {}", header.number, header.state_root);
    Err(CoreError::new("snapshot_state_wrong", message))
}

/// Transactions with receipts, found to be what the header commits to, and the undo record, not looked at.
fn content(block: &Fetched, chain_id: u64) -> Result<(Chunk, Vec<u8>)> {
    let malformed = |_| wrong(format!("the content of block {} is malformed", block.number));
    let mut reader = Reader(&block.payload);
    reader.bytes().map_err(malformed)?;
    let count = reader.number().map_err(malformed)?;
    let mut raws = Vec::new();
    for _ in 0..count {
        raws.push(reader.bytes().map_err(malformed)?);
    }
    let receipts = reader.bytes().map_err(malformed)?;
    let undo = reader.0.to_vec();
    let transactions = raws.par_iter().map(|raw| decode(raw, chain_id, block.number)).collect::<Result<Vec<_>>>()?;
    let body = records::with_receipts(transactions, receipts).map_err(malformed)?;
    if body.items.iter().any(|item| item.is_deposit() != item.deposit_nonce.is_some())
        || records::encode_receipts(&body) != receipts
    {
        return Err(wrong(format!("the receipts of block {} are not in their canonical form", block.number)));
    }
    let (receipts_root, bloom) = receipts_root(&body.items);
    let header = &block.header;
    if transactions_root(&body.items) != header.transactions_root {
        return Err(wrong(format!("the transactions of block {} are not those of its header", block.number)));
    }
    if (receipts_root, bloom) != (header.receipts_root, header.logs_bloom) {
        return Err(wrong(format!("the receipts of block {} are not those of its header", block.number)));
    }
    Ok((body, undo))
}

pub(crate) fn decode(raw: &[u8], chain_id: u64, number: u64) -> Result<Arc<Transaction>> {
    let decoded = if raw.first() == Some(&0x7e) {
        decode_deposit(raw)
    } else {
        decode_in_block(raw, chain_id, None).map_err(|refusal| wrong(refusal.message))
    };
    decoded.map(Arc::new).map_err(|error| wrong(format!("a transaction of block {number}: {}", error.message)))
}

fn read(file: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => wrong("the file ends within a block"),
        _ => io(error),
    })
}
