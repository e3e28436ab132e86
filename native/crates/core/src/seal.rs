//! Sealing: the header of a finished block, bit for bit as op-geth v1.101702.3 builds it.
//!
//! The state root, the transactions root and the receipts root with the blooms are computed in parallel.
//! Sources: OP Stack specs isthmus/exec-engine (withdrawals root, requests hash), jovian/exec-engine (blobGasUsed is the DA
//! footprint), holocene/exec-engine (extraData); op-geth `consensus/beacon/consensus.go`.

use std::sync::Arc;

use alloy_consensus::{constants::EMPTY_WITHDRAWALS, Header, EMPTY_OMMER_ROOT_HASH};
use alloy_eips::Encodable2718;
use alloy_primitives::{Bloom, B256};
use alloy_trie::root::ordered_trie_root_with_encoder;
use bytes::BufMut;
use op_alloy_consensus::OpReceiptEnvelope;
use op_revm::OpSpecId;
use plait_state::StateTrie;
use rayon::prelude::*;

use crate::block::{Chunk, Included, OpenBlock, Sealed};
use crate::chain::{Chain, EMPTY_REQUESTS_HASH};
use crate::genesis::MESSAGE_PASSER;

/// Seals `block` over the state after it.
pub fn seal_block(chain: &Chain, block: &OpenBlock, state: StateTrie) -> Sealed {
    let items: Vec<Included> = block.iter().cloned().collect();
    let ((state_root, withdrawals_root), (transactions_root, (receipts_root, logs_bloom))) = rayon::join(
        || (state.root(), withdrawals_root(chain, &state)),
        || rayon::join(|| transactions_root(&items), || receipts_root(&items)),
    );
    let isthmus = chain.has(OpSpecId::ISTHMUS);
    let attributes = &block.attributes;
    let header = Header {
        parent_hash: block.parent_hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: attributes.fee_recipient,
        state_root,
        transactions_root,
        receipts_root,
        logs_bloom,
        number: block.number,
        gas_limit: attributes.gas_limit,
        gas_used: block.gas_used,
        timestamp: attributes.timestamp,
        extra_data: block.extra_data.clone(),
        mix_hash: attributes.prev_randao,
        base_fee_per_gas: Some(block.base_fee),
        withdrawals_root: Some(withdrawals_root),
        blob_gas_used: Some(block.da_footprint),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        requests_hash: isthmus.then_some(EMPTY_REQUESTS_HASH),
        ..Default::default()
    };
    Sealed { hash: header.hash_slow(), header, state, body: Some(Arc::new(Chunk::new(items))) }
}

/// The header's withdrawals root: before Isthmus the root of an empty list, afterwards the message passer's storage root,
/// which op-geth takes as zero when that account does not exist.
pub fn withdrawals_root(chain: &Chain, state: &StateTrie) -> B256 {
    if !chain.has(OpSpecId::ISTHMUS) {
        return EMPTY_WITHDRAWALS;
    }
    match state.account(MESSAGE_PASSER) {
        None => B256::ZERO,
        Some(_) => state.storage_root(MESSAGE_PASSER),
    }
}

/// Root of the trie that maps the RLP of each position to the bytes there (Yellow Paper 4.3.2).
pub fn ordered_root<Item: AsRef<[u8]>>(values: &[Item]) -> B256 {
    ordered_trie_root_with_encoder(values, |value, out| out.put_slice(value.as_ref()))
}

/// Root over the raw transactions.
pub(crate) fn transactions_root(items: &[Included]) -> B256 {
    ordered_trie_root_with_encoder(items, |item, out| out.put_slice(&item.transaction.raw))
}

/// Root over the receipts, and their bloom.
pub(crate) fn receipts_root(items: &[Included]) -> (B256, Bloom) {
    let receipts: Vec<OpReceiptEnvelope> = items.par_iter().with_min_len(64).map(Included::receipt).collect();
    let mut bloom = Bloom::ZERO;
    for receipt in &receipts {
        bloom.accrue_bloom(receipt.logs_bloom());
    }
    (ordered_trie_root_with_encoder(&receipts, |receipt, out| receipt.encode_2718(out)), bloom)
}
