//! Blocks, transactions, receipts and logs as op-geth's JSON-RPC answers them.
//!
//! Sources: op-geth v1.101702.3 `internal/ethapi/api.go` (RPCMarshalHeader, RPCMarshalBlock, newRPCTransaction, MarshalReceipt),
//! `core/types/receipt_opstack.go`. The open block differs where it must: no hash yet (null), zero roots.

use alloy_consensus::{Header, Transaction as _, Typed2718, EMPTY_OMMER_ROOT_HASH};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, Bloom, BloomInput, Log, TxKind, B256, U256};
use alloy_rlp::Encodable;
use op_alloy_consensus::OpTxEnvelope;
use op_revm::OpSpecId;

use crate::block::{Included, OpenBlock};
use crate::error::{CoreError, Result};
use crate::fees::{block_costs, effective_gas_price, L1Costs};
use crate::json::{Json, Object};
use crate::rollup::{AnyBlock, Decided, Rollup};
use crate::transaction::signature;

/// Where a transaction is; None fields while its block is open.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: Option<B256>,
    number: u64,
    timestamp: u64,
    base_fee: u64,
}

impl AnyBlock {
    fn place(&self) -> Place {
        match self {
            Self::Sealed(header, hash, _) => Place {
                hash: Some(*hash),
                number: header.number,
                timestamp: header.timestamp,
                base_fee: header.base_fee_per_gas.unwrap_or(0),
            },
            Self::Open(open) => {
                Place { hash: None, number: open.number, timestamp: open.attributes.timestamp, base_fee: open.base_fee }
            }
        }
    }

    /// The header; of an open block with zero roots.
    pub fn header(&self) -> Header {
        match self {
            Self::Sealed(header, _, _) => Header::clone(header),
            Self::Open(open) => open_header(open),
        }
    }
}

/// The header of an open block as far as it is known.
pub fn open_header(open: &OpenBlock) -> Header {
    let mut logs_bloom = Bloom::ZERO;
    for log in open.iter().flat_map(|item| item.logs.iter()) {
        logs_bloom.accrue_log(log);
    }
    Header {
        parent_hash: open.parent_hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: open.attributes.fee_recipient,
        logs_bloom,
        number: open.number,
        gas_limit: open.attributes.gas_limit,
        gas_used: open.gas_used,
        timestamp: open.attributes.timestamp,
        extra_data: open.extra_data.clone(),
        mix_hash: open.attributes.prev_randao,
        base_fee_per_gas: Some(open.base_fee),
        withdrawals_root: Some(B256::ZERO),
        blob_gas_used: Some(open.da_footprint),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(open.attributes.parent_beacon_block_root),
        state_root: B256::ZERO,
        transactions_root: B256::ZERO,
        receipts_root: B256::ZERO,
        ..Default::default()
    }
}

fn header_fields(object: &mut Object<'_>, header: &Header, hash: Option<B256>) {
    object.quantity("number", header.number);
    object.optional("hash", hash);
    object.data("parentHash", header.parent_hash);
    object.data("nonce", header.nonce);
    object.data("mixHash", header.mix_hash);
    object.data("sha3Uncles", header.ommers_hash);
    object.data("logsBloom", header.logs_bloom);
    object.data("stateRoot", header.state_root);
    object.data("miner", header.beneficiary);
    object.big("difficulty", header.difficulty);
    object.data("extraData", &header.extra_data);
    object.quantity("gasLimit", header.gas_limit);
    object.quantity("gasUsed", header.gas_used);
    object.quantity("timestamp", header.timestamp);
    object.data("transactionsRoot", header.transactions_root);
    object.data("receiptsRoot", header.receipts_root);
    if let Some(fee) = header.base_fee_per_gas {
        object.quantity("baseFeePerGas", fee);
    }
    if let Some(root) = header.withdrawals_root {
        object.data("withdrawalsRoot", root);
    }
    if let Some(gas) = header.blob_gas_used {
        object.quantity("blobGasUsed", gas);
    }
    if let Some(gas) = header.excess_blob_gas {
        object.quantity("excessBlobGas", gas);
    }
    if let Some(root) = header.parent_beacon_block_root {
        object.data("parentBeaconBlockRoot", root);
    }
    if let Some(hash) = header.requests_hash {
        object.data("requestsHash", hash);
    }
}

/// RLP of the whole block: header, transactions, no uncles, no withdrawals.
pub fn block_rlp(header: &Header, items: &mut dyn Iterator<Item = &Included>) -> Vec<u8> {
    let mut transactions = Vec::new();
    for item in items {
        if item.transaction.envelope.is_legacy() {
            transactions.extend_from_slice(&item.transaction.raw);
        } else {
            item.transaction.raw.as_ref().encode(&mut transactions);
        }
    }
    let mut payload = Vec::with_capacity(transactions.len() + 800);
    header.encode(&mut payload);
    alloy_rlp::Header { list: true, payload_length: transactions.len() }.encode(&mut payload);
    payload.extend_from_slice(&transactions);
    payload.extend_from_slice(&[0xc0, 0xc0]);
    let mut out = Vec::with_capacity(payload.len() + 9);
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    out
}

/// `eth_getBlockBy*`.
pub fn block_json(block: &AnyBlock, full: bool) -> Vec<u8> {
    let header = block.header();
    let place = block.place();
    let mut json = Json::default();
    json.object(|object| {
        header_fields(object, &header, place.hash);
        object.quantity("size", block_rlp(&header, &mut *block.items()).len() as u64);
        object.key("transactions").array(block.items().enumerate(), |json, (index, item)| {
            if full {
                transaction_fields(json, item, &place, index);
            } else {
                json.data(item.transaction.hash);
            }
        });
        object.key("uncles").raw(b"[]");
        object.key("withdrawals").raw(b"[]");
    });
    json.into_bytes()
}

/// The `newHeads` shape.
pub fn header_json(header: &Header, hash: Option<B256>) -> Vec<u8> {
    let mut json = Json::default();
    json.object(|object| header_fields(object, header, hash));
    json.into_bytes()
}

/// `eth_getTransactionBy*`.
pub fn transaction_json(block: &AnyBlock, index: usize) -> Option<Vec<u8>> {
    let item = block.items().nth(index)?;
    let mut json = Json::default();
    transaction_fields(&mut json, item, &block.place(), index);
    Some(json.into_bytes())
}

fn transaction_fields(json: &mut Json, item: &Included, place: &Place, index: usize) {
    let transaction = &item.transaction;
    let envelope = &transaction.envelope;
    json.object(|object| {
        object.optional("blockHash", place.hash);
        if place.hash.is_some() {
            object.quantity("blockNumber", place.number);
            object.quantity("blockTimestamp", place.timestamp);
        } else {
            object.null("blockNumber");
            object.null("blockTimestamp");
        }
        object.data("from", transaction.sender);
        object.quantity("gas", envelope.gas_limit());
        let price = match (place.hash.is_some(), envelope.is_deposit()) {
            (_, true) => 0,
            (true, false) => effective_gas_price(item, place.base_fee),
            (false, false) => envelope.max_fee_per_gas(),
        };
        object.big("gasPrice", U256::from(price));
        if let (Some(tip), false) = (envelope.max_priority_fee_per_gas(), envelope.is_deposit()) {
            object.big("maxFeePerGas", U256::from(envelope.max_fee_per_gas()));
            object.big("maxPriorityFeePerGas", U256::from(tip));
        }
        object.data("hash", transaction.hash);
        object.data("input", envelope.input());
        object.quantity("nonce", item.deposit_nonce.unwrap_or_else(|| envelope.nonce()));
        object.optional("to", envelope.to());
        if place.hash.is_some() {
            object.quantity("transactionIndex", index as u64);
        } else {
            object.null("transactionIndex");
        }
        object.big("value", envelope.value());
        object.quantity("type", u64::from(envelope.ty()));
        access_and_authorisations(object, envelope);
        signature_fields(object, envelope);
        if let OpTxEnvelope::Deposit(deposit) = envelope {
            object.data("sourceHash", deposit.source_hash);
            object.big("mint", U256::from(deposit.mint));
            object.quantity("depositReceiptVersion", 1);
        }
    });
}

fn access_and_authorisations(object: &mut Object<'_>, envelope: &OpTxEnvelope) {
    if let Some(list) = envelope.access_list() {
        object.key("accessList").array(list.iter(), |json, entry| {
            json.object(|object| {
                object.data("address", entry.address);
                object.key("storageKeys").array(&entry.storage_keys, |json, key| json.data(key));
            });
        });
    }
    if let Some(chain_id) = envelope.chain_id() {
        object.quantity("chainId", chain_id);
    }
    if let Some(list) = envelope.authorization_list() {
        object.key("authorizationList").array(list, |json, entry| {
            json.object(|object| {
                object.big("chainId", entry.chain_id);
                object.data("address", entry.address);
                object.quantity("nonce", entry.nonce);
                object.quantity("yParity", u64::from(entry.y_parity()));
                object.big("r", entry.r());
                object.big("s", entry.s());
            });
        });
    }
}

fn signature_fields(object: &mut Object<'_>, envelope: &OpTxEnvelope) {
    let Some(signature) = signature(envelope) else {
        for name in ["v", "r", "s"] {
            object.quantity(name, 0);
        }
        return;
    };
    let parity = u64::from(signature.v());
    match envelope.chain_id() {
        Some(id) if envelope.is_legacy() => object.quantity("v", 35 + 2 * id + parity),
        None => object.quantity("v", 27 + parity),
        Some(_) => object.quantity("v", parity),
    }
    object.big("r", signature.r());
    object.big("s", signature.s());
    if !envelope.is_legacy() {
        object.quantity("yParity", parity);
    }
}

/// `eth_getBlockReceipts`.
pub fn block_receipts_json(rollup: &Rollup, block: &AnyBlock) -> Vec<u8> {
    let costs = block_costs(&rollup.chain, block);
    let place = block.place();
    let mut json = Json::default();
    json.array(block.items().enumerate(), |json, (index, item)| {
        receipt_fields(json, rollup.chain.spec, item, &place, index, costs.as_ref());
    });
    json.into_bytes()
}

/// `eth_getTransactionReceipt`.
pub fn receipt_json(rollup: &Rollup, block: &AnyBlock, index: usize) -> Option<Vec<u8>> {
    let item = block.items().nth(index)?;
    let costs = block_costs(&rollup.chain, block);
    let mut json = Json::default();
    receipt_fields(&mut json, rollup.chain.spec, item, &block.place(), index, costs.as_ref());
    Some(json.into_bytes())
}

fn receipt_fields(
    json: &mut Json,
    spec: OpSpecId,
    item: &Included,
    place: &Place,
    index: usize,
    costs: Option<&L1Costs>,
) {
    let transaction = &item.transaction;
    let envelope = &transaction.envelope;
    let mut bloom = Bloom::ZERO;
    for log in item.logs.iter() {
        bloom.accrue_log(log);
    }
    json.object(|object| {
        object.optional("blockHash", place.hash);
        object.quantity("blockNumber", place.number);
        object.data("transactionHash", transaction.hash);
        object.quantity("transactionIndex", index as u64);
        object.data("from", transaction.sender);
        object.optional("to", envelope.to());
        object.quantity("gasUsed", item.gas_used);
        object.quantity("cumulativeGasUsed", item.cumulative_gas_used);
        object.optional("contractAddress", created_address(item));
        object.key("logs").array(item.logs.iter().enumerate(), |json, (at, log)| {
            log_fields(json, log, item, place, index, item.first_log_index + at as u64);
        });
        object.data("logsBloom", bloom);
        object.quantity("type", u64::from(envelope.ty()));
        object.big("effectiveGasPrice", U256::from(effective_gas_price(item, place.base_fee)));
        if let (Some(costs), false) = (costs, item.is_deposit()) {
            cost_fields(object, spec, item, costs);
        }
        if let Some(nonce) = item.deposit_nonce {
            object.quantity("depositNonce", nonce);
            object.quantity("depositReceiptVersion", 1);
        }
        object.quantity("status", u64::from(item.success));
    });
}

fn cost_fields(object: &mut Object<'_>, spec: OpSpecId, item: &Included, costs: &L1Costs) {
    let transaction = &item.transaction;
    object.big("l1GasPrice", costs.l1_base_fee);
    object.big("l1GasUsed", costs.l1_gas_used(spec, &transaction.raw));
    object.big("l1Fee", costs.l1_fee(spec, &transaction.raw));
    object.big("l1BlobBaseFee", costs.l1_blob_base_fee);
    object.quantity("l1BaseFeeScalar", costs.base_fee_scalar);
    object.quantity("l1BlobBaseFeeScalar", costs.blob_base_fee_scalar);
    if spec.is_enabled_in(OpSpecId::ISTHMUS) && (costs.operator_fee_scalar != 0 || costs.operator_fee_constant != 0) {
        object.quantity("operatorFeeScalar", costs.operator_fee_scalar);
        object.quantity("operatorFeeConstant", costs.operator_fee_constant);
    }
    if spec.is_enabled_in(OpSpecId::JOVIAN) {
        object.quantity("daFootprintGasScalar", costs.da_footprint_scalar);
        object.quantity("blobGasUsed", costs.da_footprint_scalar * transaction.da_size);
    }
}

/// The address of the contract that a creation transaction makes (also when it failed, as go-ethereum derives it).
fn created_address(item: &Included) -> Option<Address> {
    let envelope = &item.transaction.envelope;
    matches!(envelope.kind(), TxKind::Create)
        .then(|| item.transaction.sender.create(item.deposit_nonce.unwrap_or_else(|| envelope.nonce())))
}

fn log_fields(json: &mut Json, log: &Log, item: &Included, place: &Place, index: usize, log_index: u64) {
    json.object(|object| {
        object.data("address", log.address);
        object.key("topics").array(log.topics(), |json, topic| json.data(topic));
        object.data("data", &log.data.data);
        object.quantity("blockNumber", place.number);
        object.data("transactionHash", item.transaction.hash);
        object.quantity("transactionIndex", index as u64);
        object.optional("blockHash", place.hash);
        object.quantity("blockTimestamp", place.timestamp);
        object.quantity("logIndex", log_index);
        object.key("removed").raw(b"false");
    });
}

/// What a log must match: any of the addresses (none given: every address), and per position any of the topics.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Accepted emitters; empty accepts all.
    pub addresses: Vec<Address>,
    /// Accepted topics by position; None or an empty list accepts all.
    pub topics: Vec<Option<Vec<B256>>>,
}

impl LogFilter {
    fn matches(&self, log: &Log) -> bool {
        let topics = log.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(wanted, topic)| wanted.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(topic)))
    }

    fn may_be_in(&self, bloom: &Bloom) -> bool {
        let may_hold = |item: &[u8]| bloom.contains_input(BloomInput::Raw(item));
        (self.addresses.is_empty() || self.addresses.iter().any(|address| may_hold(address.as_slice())))
            && self
                .topics
                .iter()
                .flatten()
                .all(|wanted| wanted.is_empty() || wanted.iter().any(|topic| may_hold(topic.as_slice())))
    }
}

/// `eth_getLogs` over sealed blocks, both ends included; `to` above the head ends at the head, the open block's number adds its logs.
///
/// # Errors
/// `too_many_logs`, store errors.
pub fn logs_json(
    rollup: &Rollup,
    decided: &Decided,
    from: u64,
    to: u64,
    filter: &LogFilter,
    logs_max: usize,
) -> Result<Vec<u8>> {
    let head = decided.view.head.header.number;
    let mut found = 0_usize;
    let mut json = Json::default();
    let mut chosen: Vec<AnyBlock> = Vec::new();
    for number in from..=to.min(head) {
        let Some((header, hash)) = rollup.header(decided, number)? else { continue };
        if !filter.may_be_in(&header.logs_bloom) {
            continue;
        }
        let Some(content) = rollup.content(decided, number)? else { continue };
        found += content.items.iter().flat_map(|item| item.logs.iter()).filter(|log| filter.matches(log)).count();
        if found > logs_max {
            return Err(CoreError::new(
                "too_many_logs",
                format!("more than {logs_max} logs match; narrow the block range"),
            ));
        }
        chosen.push(AnyBlock::Sealed(header, hash, content));
    }
    if let Some((open, _)) = &decided.view.open {
        if (from..=to).contains(&open.number) {
            chosen.push(AnyBlock::Open(open.clone()));
        }
    }
    let matching = chosen.iter().flat_map(|block| {
        let place = block.place();
        block.items().enumerate().flat_map(move |(index, item)| {
            let logs = item.logs.iter().enumerate().filter(|(_, log)| filter.matches(log));
            logs.map(move |(at, log)| (place, index, item, log, item.first_log_index + at as u64))
        })
    });
    json.array(matching.take(logs_max), |json, (place, index, item, log, log_index)| {
        log_fields(json, log, item, &place, index, log_index);
    });
    Ok(json.into_bytes())
}

/// Consensus receipts of a block, raw.
pub fn raw_receipts(block: &AnyBlock) -> Vec<Vec<u8>> {
    block.items().map(|item| item.receipt().encoded_2718()).collect()
}

/// `eth_getProof`'s result; slots are written as 32 bytes.
///
/// # Errors
/// `state_unavailable`, and those of reading remote state.
pub fn proof_json(rollup: &Rollup, address: Address, slots: &[B256], at: i64) -> Result<Vec<u8>> {
    let numbers: Vec<U256> = slots.iter().map(|slot| U256::from_be_bytes(slot.0)).collect();
    let proof = rollup.read(|moment| moment.provable(address, &numbers, at))?.account_proof(address, &numbers);
    let exists = proof.info.is_some();
    let info = proof.info.unwrap_or_default();
    let mut json = Json::default();
    json.object(|object| {
        object.data("address", address);
        object.key("accountProof").array(&proof.nodes, |json, node| json.data(node));
        object.big("balance", info.balance);
        // op-geth answers zero hashes for an account that does not exist.
        object.data("codeHash", if exists { info.code_hash } else { B256::ZERO });
        object.quantity("nonce", info.nonce);
        object.data("storageHash", if exists { proof.storage_root } else { B256::ZERO });
        object.key("storageProof").array(proof.slots.iter().zip(slots), |json, (slot, key)| {
            json.object(|object| {
                object.data("key", key);
                object.big("value", slot.value);
                object.key("proof").array(&slot.nodes, |json, node| json.data(node));
            });
        });
    });
    Ok(json.into_bytes())
}

/// The block as `engine_newPayloadV4` (V3 before Isthmus) takes it, and the parent beacon block root beside it.
pub fn execution_payload_json(header: &Header, hash: B256, items: &[Included], isthmus: bool) -> (Vec<u8>, B256) {
    let mut json = Json::default();
    json.object(|object| {
        object.data("parentHash", header.parent_hash);
        object.data("feeRecipient", header.beneficiary);
        object.data("stateRoot", header.state_root);
        object.data("receiptsRoot", header.receipts_root);
        object.data("logsBloom", header.logs_bloom);
        object.data("prevRandao", header.mix_hash);
        object.quantity("blockNumber", header.number);
        object.quantity("gasLimit", header.gas_limit);
        object.quantity("gasUsed", header.gas_used);
        object.quantity("timestamp", header.timestamp);
        object.data("extraData", &header.extra_data);
        object.quantity("baseFeePerGas", header.base_fee_per_gas.unwrap_or(0));
        object.data("blockHash", hash);
        object.key("transactions").array(items, |json, item| json.data(&item.transaction.raw));
        object.key("withdrawals").raw(b"[]");
        object.quantity("blobGasUsed", header.blob_gas_used.unwrap_or(0));
        object.quantity("excessBlobGas", header.excess_blob_gas.unwrap_or(0));
        if isthmus {
            object.data("withdrawalsRoot", header.withdrawals_root.unwrap_or_default());
        }
    });
    (json.into_bytes(), header.parent_beacon_block_root.unwrap_or_default())
}
