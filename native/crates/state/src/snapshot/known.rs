//! Files of a state that is known in part: its nodes and codes as far as they are known.
//!
//! As the files of whole states, with `PLAITSK1` first and other chunks between header and end:
//!
//! | kind | payload |
//! |---|---|
//! | `N`, any number | nodes: length (4), RLP |
//! | `B`, any number | hashes (32) of nodes of which it is known that they are branches, and nothing else |
//! | `C`, any number | codes by rising hash: length (4), bytes |
//! | `E`, one | state root (32), nodes (8), branches (8), codes (8), CRC-32 of the file up to this chunk (4) |
//!
//! Nodes lie from the root down, those of a storage behind their account. Loading takes them by their hash from the state root down,
//! so that a file which another one was mistaken for shows nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use alloy_primitives::map::FbBuildHasher;
use alloy_primitives::{keccak256, Bytes, B256};
use rayon::prelude::*;

use super::read::{Chunk, ChunkReader, Fields};
use super::write::{atomic, ChunkWriter};
use super::{CHUNK_BYTES, END_BYTES, KIND_CODES, KIND_END, KIND_HEADER};
use crate::remote::Known;
use crate::{CodeStore, SnapshotError, StateTrie};

const MAGIC: [u8; 8] = *b"PLAITSK1";
const KIND_NODES: u8 = b'N';
const KIND_BRANCHES: u8 = b'B';

/// Bytes by their hash.
type Pool = HashMap<B256, Bytes, FbBuildHasher<32>>;

pub(super) fn write(path: &Path, state: &StateTrie, codes: &CodeStore, header: &[u8]) -> Result<u64, SnapshotError> {
    atomic(path, |partial| {
        let root = state.root();
        let mut chunks = ChunkWriter::create(partial, MAGIC)?;
        chunks.header(header)?;
        let (mut nodes, mut branches, mut code_hashes) = (0_u64, BTreeSet::new(), BTreeSet::new());
        state.visit_known(&mut |piece| match piece {
            Known::Node(rlp) => {
                nodes += 1;
                chunks.sized(rlp, KIND_NODES)
            }
            Known::Branch(hash) => {
                branches.insert(hash);
                Ok(())
            }
            Known::Account(info) => {
                if info.has_code() && codes.get(info.code_hash).is_some() {
                    code_hashes.insert(info.code_hash);
                }
                Ok(())
            }
        })?;
        chunks.close(KIND_NODES)?;
        for hash in &branches {
            chunks.payload.extend_from_slice(hash.as_slice());
            if chunks.payload.len() >= CHUNK_BYTES {
                chunks.flush(KIND_BRANCHES)?;
            }
        }
        chunks.close(KIND_BRANCHES)?;
        chunks.codes(&code_hashes, codes)?;
        chunks.end(root, [nodes, branches.len() as u64, code_hashes.len() as u64])
    })
}

pub(super) fn load(path: &Path, codes: &CodeStore) -> Result<(StateTrie, Bytes), SnapshotError> {
    let mut chunks = ChunkReader::open(path, MAGIC)?;
    let mut header = Vec::new();
    let mut nodes = Vec::new();
    let mut branches: HashSet<B256> = HashSet::new();
    let mut code_count = 0;
    let mut last_rank = 0;
    loop {
        let whole_crc = chunks.whole_crc.clone().finalize();
        let chunk = chunks.next()?;
        let kinds = [KIND_HEADER, KIND_NODES, KIND_BRANCHES, KIND_CODES, KIND_END];
        let rank = kinds.iter().position(|kind| *kind == chunk.kind);
        last_rank = rank.filter(|rank| *rank >= last_rank).ok_or_else(|| chunk.corrupt("chunk out of order"))?;
        match chunk.kind {
            KIND_HEADER => header.extend_from_slice(&chunk.payload),
            KIND_NODES => nodes.extend(sized(&chunk)?),
            KIND_BRANCHES => {
                let mut fields = Fields::new(&chunk);
                while !fields.rest.is_empty() {
                    branches.insert(B256::new(fields.array()?));
                }
            }
            KIND_CODES => {
                for code in sized(&chunk)? {
                    codes.insert(code);
                    code_count += 1;
                }
            }
            _ => {
                chunks.expect_end()?;
                let counts = [nodes.len() as u64, branches.len() as u64, code_count];
                let root = end(&chunk, counts, whole_crc)?;
                let pool: Pool = nodes.into_par_iter().map(|node| (keccak256(&node), node)).collect();
                let state = StateTrie::hidden(root);
                state.reveal_all(&|hash| pool.get(hash).cloned(), &|hash| branches.contains(hash));
                return Ok((state, header.into()));
            }
        }
    }
}

/// Byte strings with their lengths before them.
fn sized(chunk: &Chunk) -> Result<Vec<Bytes>, SnapshotError> {
    let mut fields = Fields::new(chunk);
    let mut found = Vec::new();
    while !fields.rest.is_empty() {
        let length = u32::from_le_bytes(fields.array()?);
        found.push(Bytes::copy_from_slice(fields.take(length as usize)?));
    }
    Ok(found)
}

/// The state root.
fn end(chunk: &Chunk, found: [u64; 3], whole_crc: u32) -> Result<B256, SnapshotError> {
    if chunk.payload.len() != END_BYTES {
        return Err(chunk.corrupt("last chunk has a wrong length"));
    }
    let mut fields = Fields::new(chunk);
    let root = B256::new(fields.array()?);
    let counts = [fields.u64()?, fields.u64()?, fields.u64()?];
    if u32::from_le_bytes(fields.array()?) != whole_crc {
        return Err(chunk.corrupt("checksum of the whole file"));
    }
    match counts == found {
        true => Ok(root),
        false => Err(chunk.corrupt("counts differ from content")),
    }
}
