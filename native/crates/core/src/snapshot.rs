//! Snapshots of a rollup's decided state: the last sealed block's state in the state crate's file, and in its header what
//! is needed to go on: head header and content, recent hashes, the open block's attributes and transactions.
//!
//! Of a remote rollup the file holds what is known of the state, and in the header its anchor with the ancestors' hashes too.
//!
//! The open block is not stored as state but executed again on load, so the file holds nothing that could disagree with it.
//! Layout of the header, integers LEB128, byte strings length-prefixed: format 1, chain id, genesis hash, head header RLP,
//! head body and receipts (empty when not at hand), hashes (count, then number and hash), open block flag, attributes, transactions.
//! Of a remote rollup the format is 3, and behind all that: anchor header RLP, number and hash of the next ancestor to be read,
//! ancestors (count, then number and hash).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{keccak256, Address, Bytes, B256};
use alloy_rlp::{Decodable, Encodable};
use plait_state::{snapshot, SnapshotError, StateTrie, Store};

use crate::block::{Attributes, Sealed};
use crate::chain::Chain;
use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::genesis::Genesis;
use crate::records::{self, put_bytes, put_number, Reader};
use crate::remote::{self, Ancestors, Known, Remote};
use crate::rollup::{build_genesis, Decided, Rollup};
use crate::transaction::{decode_in_block, Transaction};

/// Version of the header's layout.
const FORMAT: u64 = 1;
/// The same of a remote rollup; 2 is that of files for others.
const REMOTE_FORMAT: u64 = 3;

impl From<SnapshotError> for CoreError {
    fn from(error: SnapshotError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Everything of a snapshot but the state.
struct Contents {
    header: Header,
    body: Vec<u8>,
    receipts: Vec<u8>,
    hashes: BTreeMap<u64, B256>,
    open: Option<(Attributes, Vec<Arc<Transaction>>)>,
    /// Of a remote rollup: the anchor's header, and the hashes below it.
    remote: Option<(Bytes, Ancestors)>,
}

impl Rollup {
    /// Writes the decided state, of a remote rollup what is known of it, to `path`: atomic, checksummed; the rollup may go on
    /// meanwhile. What a reader answered before this call is among the known, unless nobody used it.
    ///
    /// # Errors
    /// `snapshot_io`, store errors.
    pub fn write_snapshot(&self, path: &Path) -> Result<()> {
        self.write_snapshot_of(&self.decided(), path)
    }

    /// The same of the state at an earlier moment.
    ///
    /// # Errors
    /// `snapshot_io`, store errors.
    pub fn write_snapshot_of(&self, decided: &Decided, path: &Path) -> Result<()> {
        let view = &decided.view;
        match &view.remote {
            None => snapshot::write(path, &view.head.state, view.codes.store(), &self.encode_contents(decided)?)?,
            Some(remote) => {
                remote.settle();
                let mut header = self.encode_contents(decided)?;
                encode_remote(&mut header, remote);
                snapshot::write_known(path, &view.head.state, view.codes.store(), &header)?
            }
        };
        Ok(())
    }

    /// A rollup that goes on where a snapshot ended.
    ///
    /// # Errors
    /// `genesis_malformed`, `genesis_fork_unsupported`, `snapshot_*` (also `snapshot_foreign`: of another rollup), store errors.
    pub fn from_snapshot(genesis_json: &[u8], store: Store, path: &Path) -> Result<Self> {
        let codes = Codes::default();
        let (chain, genesis) = build_genesis(genesis_json, &codes)?;
        let (state, header) = snapshot::load(path, codes.store())?;
        let contents = decode_contents(&header, FORMAT, chain.chain_id, genesis.hash)?;
        Self::resume(Self::start_at(chain, genesis.hash, codes, state, &contents, store)?, contents)
    }

    /// The same of a remote rollup: what the snapshot knows, and `known`, is asked of nobody.
    ///
    /// # Errors
    /// As [`Self::from_snapshot`], and what executing the open block again may miss: `remote_unavailable`, `remote_proof_wrong`.
    pub fn remote_from_snapshot(
        genesis_json: &[u8],
        store: Store,
        path: &Path,
        reader: Box<dyn remote::Reader>,
        genesis_hash: B256,
        known: Known,
    ) -> Result<Self> {
        let codes = Codes::default();
        let chain = Genesis::parse(genesis_json)?.chain;
        let (state, header) = snapshot::load_known(path, codes.store())?;
        let contents = decode_contents(&header, REMOTE_FORMAT, chain.chain_id, genesis_hash)?;
        let Some((rlp, ancestors)) = contents.remote.clone() else {
            return Err(CoreError::internal("a remote rollup's snapshot was read without its anchor"));
        };
        let anchor = Header::decode(&mut &rlp[..])
            .map_err(|_| CoreError::new("snapshot_corrupt", "the snapshot's anchor is malformed"))?;
        let remote = Remote::new(reader, anchor, keccak256(&rlp), codes.clone(), ancestors);
        remote.learn(&state, known);
        let rollup = Self::start_at(chain, genesis_hash, codes, state, &contents, store)?;
        Self::resume(rollup.with_remote(Arc::new(remote)), contents)
    }

    /// A rollup at the head of a snapshot, without the open block.
    fn start_at(
        chain: Chain,
        genesis_hash: B256,
        codes: Codes,
        state: StateTrie,
        contents: &Contents,
        store: Store,
    ) -> Result<Self> {
        let header = contents.header.clone();
        let mut rlp = Vec::with_capacity(700);
        header.encode(&mut rlp);
        if header.state_root != state.root() {
            return Err(CoreError::new(
                "snapshot_corrupt",
                "the snapshot's head names another state root than its state has",
            ));
        }
        let body = if contents.body.is_empty() {
            None
        } else {
            Some(Arc::new(records::decode(&contents.body, &contents.receipts, chain.chain_id)?))
        };
        let head = Arc::new(Sealed { hash: keccak256(&rlp), header, state, body });
        let rollup = Self::start(chain, genesis_hash, codes, head.clone(), contents.hashes.clone(), store)?;
        rollup.restore_chain(&head)?;
        if head.body.is_some() {
            rollup.write_block(&head)?;
        }
        Ok(rollup)
    }

    /// The open block of a snapshot, executed again.
    fn resume(rollup: Self, contents: Contents) -> Result<Self> {
        if let Some((attributes, transactions)) = contents.open {
            let mut session = rollup.session();
            let attributes = Arc::new(attributes);
            session.complete(|attempt| attempt.open(attributes.clone()))?;
            session.prefetch(&[], &transactions)?;
            let outcomes = session.complete(|attempt| attempt.run(&transactions, true))?;
            if outcomes.included != transactions.len() {
                return Err(CoreError::new("snapshot_corrupt", "the snapshot's open block does not execute again"));
            }
            rollup.commit(&mut session)?;
        }
        Ok(rollup)
    }

    /// What would write a state that is known in part ends here.
    pub(crate) fn refuse_remote(decided: &Decided) -> Result<()> {
        match &decided.view.remote {
            None => Ok(()),
            Some(_) => {
                Err(CoreError::new("remote_unsupported", "a state that is elsewhere cannot be written to a file"))
            }
        }
    }

    fn encode_contents(&self, decided: &Decided) -> Result<Vec<u8>> {
        let head = &decided.view.head;
        let mut out = Vec::new();
        put_number(&mut out, if decided.view.remote.is_some() { REMOTE_FORMAT } else { FORMAT });
        put_number(&mut out, self.chain.chain_id);
        out.extend_from_slice(self.genesis_hash.as_slice());
        let mut header = Vec::with_capacity(700);
        head.header.encode(&mut header);
        put_bytes(&mut out, &header);
        match self.content(decided, head.header.number)? {
            Some(content) => {
                put_bytes(&mut out, &records::encode_body(&content));
                put_bytes(&mut out, &records::encode_receipts(&content));
            }
            None => out.extend_from_slice(&[0, 0]),
        }
        put_number(&mut out, decided.view.hashes.len() as u64);
        for (number, hash) in decided.view.hashes.iter() {
            put_number(&mut out, *number);
            out.extend_from_slice(hash.as_slice());
        }
        let Some((open, _)) = &decided.view.open else {
            out.push(0);
            return Ok(out);
        };
        out.push(1);
        encode_attributes(&mut out, &open.attributes);
        let users: Vec<_> = open.iter().filter(|item| !item.is_deposit()).collect();
        put_number(&mut out, users.len() as u64);
        for item in users {
            out.extend_from_slice(item.transaction.sender.as_slice());
            put_bytes(&mut out, &item.transaction.raw);
        }
        Ok(out)
    }
}

fn encode_remote(out: &mut Vec<u8>, remote: &Remote) {
    let mut header = Vec::with_capacity(700);
    remote.header.encode(&mut header);
    put_bytes(out, &header);
    let Ancestors { hashes, next, .. } = remote.ancestors();
    put_number(out, next.0);
    out.extend_from_slice(next.1.as_slice());
    put_number(out, hashes.len() as u64);
    for (number, hash) in &hashes {
        put_number(out, *number);
        out.extend_from_slice(hash.as_slice());
    }
}

fn decode_remote(reader: &mut Reader<'_>) -> Result<(Bytes, Ancestors)> {
    let header = Bytes::copy_from_slice(reader.bytes()?);
    let next = (reader.number()?, B256::from_slice(reader.take(32)?));
    Ok((header, Ancestors::read(next, hashes(reader)?)))
}

/// Hashes by number.
fn hashes(reader: &mut Reader<'_>) -> Result<BTreeMap<u64, B256>> {
    let mut hashes = BTreeMap::new();
    for _ in 0..reader.number()? {
        hashes.insert(reader.number()?, B256::from_slice(reader.take(32)?));
    }
    Ok(hashes)
}

fn encode_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    put_number(out, attributes.timestamp);
    out.extend_from_slice(attributes.prev_randao.as_slice());
    out.extend_from_slice(attributes.fee_recipient.as_slice());
    out.extend_from_slice(attributes.parent_beacon_block_root.as_slice());
    for number in [
        attributes.gas_limit,
        attributes.eip1559_denominator,
        attributes.eip1559_elasticity,
        attributes.min_base_fee,
        attributes.deposits.len() as u64,
    ] {
        put_number(out, number);
    }
    for deposit in &attributes.deposits {
        put_bytes(out, deposit);
    }
}

fn decode_attributes(reader: &mut Reader<'_>) -> Result<Attributes> {
    Ok(Attributes {
        timestamp: reader.number()?,
        prev_randao: B256::from_slice(reader.take(32)?),
        fee_recipient: Address::from_slice(reader.take(20)?),
        parent_beacon_block_root: B256::from_slice(reader.take(32)?),
        gas_limit: reader.number()?,
        eip1559_denominator: reader.number()?,
        eip1559_elasticity: reader.number()?,
        min_base_fee: reader.number()?,
        deposits: (0..reader.number()?)
            .map(|_| reader.bytes().map(Bytes::copy_from_slice))
            .collect::<Result<Vec<_>>>()?,
    })
}

fn decode_contents(bytes: &[u8], format: u64, chain_id: u64, genesis_hash: B256) -> Result<Contents> {
    decode_checked(bytes, format, chain_id, genesis_hash).map_err(|error| match error.code {
        "store_corrupt" => CoreError::new("snapshot_corrupt", "the snapshot's header is malformed"),
        _ => error,
    })
}

fn decode_checked(bytes: &[u8], wanted: u64, chain_id: u64, genesis_hash: B256) -> Result<Contents> {
    let mut reader = Reader(bytes);
    let format = reader.number()?;
    if format != wanted {
        return Err(CoreError::new(
            "snapshot_format",
            format!("the snapshot's header has format {format}, this core reads {wanted}"),
        ));
    }
    let (id, genesis) = (reader.number()?, B256::from_slice(reader.take(32)?));
    if id != chain_id || genesis != genesis_hash {
        return Err(CoreError::new(
            "snapshot_foreign",
            format!(
                "the snapshot is of chain {id} with genesis {genesis}, not of chain {chain_id} with {genesis_hash}"
            ),
        ));
    }
    let malformed = |_| CoreError::new("snapshot_corrupt", "the snapshot's head header is malformed");
    let header = Header::decode(&mut reader.bytes()?).map_err(malformed)?;
    let (body, receipts) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
    let hashes = hashes(&mut reader)?;
    let open = if reader.take(1)?[0] == 0 {
        None
    } else {
        let attributes = decode_attributes(&mut reader)?;
        let mut transactions = Vec::new();
        for _ in 0..reader.number()? {
            let sender = Address::from_slice(reader.take(20)?);
            let transaction = decode_in_block(reader.bytes()?, chain_id, Some(sender))
                .map_err(|refusal| CoreError::new("snapshot_corrupt", refusal.message))?;
            transactions.push(Arc::new(transaction));
        }
        Some((attributes, transactions))
    };
    let remote = if format == REMOTE_FORMAT { Some(decode_remote(&mut reader)?) } else { None };
    Ok(Contents { header, body, receipts, hashes, open, remote })
}
