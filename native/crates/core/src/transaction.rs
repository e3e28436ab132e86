//! User transactions: strict decoding, sender recovery, and the figures that admission and packing need.
//!
//! Invariants of a [`Transaction`]: its bytes are the one canonical encoding (re-encoding gives the same bytes), its type is
//! 0, 1, 2 or 4, it names the rollup's chain id (a legacy one in a block may name none, as Homestead had it), its signature has a low s and recovers to `sender` (unless the sender was given
//! by the caller, who then vouches for it). A sender that was recovered before is remembered by the hash of the bytes
//! ([`crate::recovery`]). Deposits (0x7E), post-exec (0x7D) and blob transactions are never user transactions.
//! Sources: EIP-2718, EIP-155, EIP-2, EIP-2930, EIP-1559, EIP-7702, EIP-3860, EIP-2681, EIP-7623.

use std::sync::Arc;

use alloy_consensus::crypto::secp256k1::{recover_signer, sign_message};
use alloy_consensus::{Transaction as _, Typed2718};
use alloy_eips::{eip2718::Decodable2718, Encodable2718};
use alloy_evm::FromTxWithEncoded;
use alloy_op_evm::OpTx;
use alloy_primitives::{keccak256, Address, Bytes, Signature, TxKind, B256, U256};
use alloy_rlp::Header;
use op_alloy_consensus::OpTxEnvelope;
use rayon::prelude::*;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas_for_tx;
use revm::primitives::hardfork::SpecId;

use crate::recovery;

/// EIP-3860: longest init code, bytes.
const INIT_CODE_BYTES_MAX: usize = 49_152;

/// A signed, decoded user transaction with its sender. Immutable and shared.
#[derive(Debug)]
pub struct Transaction {
    /// The canonical EIP-2718 bytes.
    pub raw: Bytes,
    /// The decoded form.
    pub envelope: OpTxEnvelope,
    /// keccak256 of `raw`.
    pub hash: B256,
    /// The signer.
    pub sender: Address,
    /// What the EVM executes; holds `raw` for the L1 fee.
    pub env: OpTx,
    /// Fjord's compressed size estimate in bytes (at least 100), before the footprint scalar.
    pub da_size: u64,
    /// Gas the transaction needs before its first opcode: the larger of the intrinsic gas and the EIP-7623 floor.
    pub intrinsic_gas: u64,
}

impl Transaction {
    /// Tip per gas actually paid at `base_fee`, or None when the fee cap is below it.
    pub fn effective_priority_fee(&self, base_fee: u128) -> Option<u128> {
        let cap = self.envelope.max_fee_per_gas();
        let room = cap.checked_sub(base_fee)?;
        Some(self.envelope.max_priority_fee_per_gas().unwrap_or(cap).min(room))
    }

    /// Whether the access list names the address, with or without keys.
    pub fn declares(&self, address: Address) -> bool {
        self.envelope.access_list().is_some_and(|list| list.iter().any(|entry| entry.address == address))
    }

    /// The storage keys of every access-list entry of the address, in the order of the list.
    pub fn access_list_keys(&self, address: Address) -> impl Iterator<Item = &B256> {
        let entries = self.envelope.access_list().into_iter().flat_map(|list| list.iter());
        entries.filter(move |entry| entry.address == address).flat_map(|entry| entry.storage_keys.iter())
    }

    /// Accounts that the transaction names before it runs, each with the slots that its access list names.
    pub fn named(&self) -> impl Iterator<Item = (Address, Vec<U256>)> + '_ {
        let listed = self.envelope.access_list().into_iter().flat_map(|list| list.iter());
        let listed = listed.map(|entry| (entry.address, entry.storage_keys.iter().map(|key| (*key).into()).collect()));
        let parties = std::iter::once(self.sender).chain(self.envelope.to());
        parties.map(|address| (address, Vec::new())).chain(listed)
    }

    /// Most wei the transaction itself can take: value + gas limit * fee cap.
    pub fn max_cost(&self) -> (U256, bool) {
        let gas = U256::from(self.envelope.gas_limit()) * U256::from(self.envelope.max_fee_per_gas());
        self.envelope.value().overflowing_add(gas)
    }
}

/// Why raw bytes are not an acceptable user transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code, listed in `_core.pyi`.
    pub code: &'static str,
    /// A sentence that says what was wrong.
    pub message: String,
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// Decodes `raws` in parallel. `senders`, when given, has one entry per transaction and replaces recovery.
pub fn decode_transactions<R: AsRef<[u8]> + Sync>(
    raws: &[R],
    chain_id: u64,
    size_max: usize,
    senders: Option<&[Address]>,
    unprotected: bool,
) -> Vec<Result<Arc<Transaction>, Refusal>> {
    raws.par_iter()
        .enumerate()
        .with_min_len(8)
        .map(|(index, raw)| {
            decode(raw.as_ref(), chain_id, size_max, senders.map(|all| all[index]), unprotected).map(Arc::new)
        })
        .collect()
}

/// The address that signed a 32-byte digest: `signature` is r, s and v (0, 1, 27 or 28), 65 bytes, with a low s (EIP-2).
pub fn signer_of(digest: B256, signature: &[u8]) -> Option<Address> {
    let signature = Signature::from_raw(signature).ok()?;
    recover_signer(&signature, digest).ok()
}

/// r, s and v (0 or 1) of a deterministic (RFC 6979) signature with a low s; None for a key that is zero or not below the order.
pub fn sign_digest(private_key: B256, digest: B256) -> Option<[u8; 65]> {
    let signature = sign_message(private_key, digest).ok()?;
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    bytes[32..64].copy_from_slice(&signature.s().to_be_bytes::<32>());
    bytes[64] = u8::from(signature.v());
    Some(bytes)
}

/// Decodes one transaction; `sender` skips recovery.
///
/// # Errors
/// A [`Refusal`] with one of the codes of the contract.
pub fn decode_transaction(
    raw: &[u8],
    chain_id: u64,
    size_max: usize,
    sender: Option<Address>,
) -> Result<Transaction, Refusal> {
    decode(raw, chain_id, size_max, sender, false)
}

/// Decodes one transaction of a block: of any size, and a legacy one may lack replay protection, as in every OP Stack block.
///
/// # Errors
/// As [`decode_transaction`].
pub fn decode_in_block(raw: &[u8], chain_id: u64, sender: Option<Address>) -> Result<Transaction, Refusal> {
    decode(raw, chain_id, usize::MAX, sender, true)
}

fn decode(
    raw: &[u8],
    chain_id: u64,
    size_max: usize,
    sender: Option<Address>,
    unprotected: bool,
) -> Result<Transaction, Refusal> {
    if raw.len() > size_max {
        return refuse("transaction_too_large", format!("{} bytes, at most {size_max} are accepted", raw.len()));
    }
    check_framing(raw)?;
    let envelope = OpTxEnvelope::decode_2718_exact(raw).or_else(|error| {
        if raw[0] == 4 && lacks_recipient(raw) {
            return refuse("creation_unsupported", "an EIP-7702 transaction needs a recipient");
        }
        refuse("rlp_malformed", format!("not a canonical transaction: {error}"))
    })?;
    if envelope.encoded_2718() != raw {
        return refuse("rlp_malformed", "the bytes are not the canonical encoding of the transaction they decode to");
    }
    check_fields(&envelope, chain_id, unprotected)?;
    let signature = check_signature(&envelope)?;
    let hash = keccak256(raw);
    let sender = match sender {
        Some(known) => known,
        None => recovery::SENDERS
            .sender_of(hash, || recover_signer(signature, signing_hash(&envelope)).ok())
            .map_or_else(|| refuse("signature_invalid", "the signature does not recover to any address"), Ok)?,
    };
    let raw = Bytes::copy_from_slice(raw);
    let env = OpTx::from_encoded_tx(&envelope, sender, raw.clone());
    let gas = calculate_initial_tx_gas_for_tx(&env, SpecId::PRAGUE);
    Ok(Transaction {
        hash,
        da_size: op_revm::estimate_tx_compressed_size(&raw) / 1_000_000,
        intrinsic_gas: gas.initial_total_gas.max(gas.floor_gas),
        raw,
        envelope,
        sender,
        env,
    })
}

/// The outer shape: a known type byte, one RLP list, nothing after it.
fn check_framing(raw: &[u8]) -> Result<(), Refusal> {
    let Some(&first) = raw.first() else {
        return refuse("rlp_malformed", "empty transaction");
    };
    let mut payload = match first {
        0xc0..=0xff => raw,
        1 | 2 | 4 => &raw[1..],
        0x80..=0xbf => return refuse("rlp_malformed", "a transaction is an RLP list, not an RLP string"),
        0x7e => return refuse("transaction_type_unsupported", "deposits (0x7E) come from L1 only"),
        0x7d => {
            return refuse(
                "transaction_type_unsupported",
                "post-exec transactions (0x7D) are made by the block builder only",
            )
        }
        3 => {
            return refuse(
                "transaction_type_unsupported",
                "blob transactions (type 3) do not exist on OP Stack rollups",
            )
        }
        other => return refuse("transaction_type_unsupported", format!("unknown transaction type {other:#04x}")),
    };
    let header =
        Header::decode(&mut payload).or_else(|error| refuse("rlp_malformed", format!("RLP header: {error}")))?;
    if !header.list {
        return refuse("rlp_malformed", "the transaction's payload is not an RLP list");
    }
    if payload.len() > header.payload_length {
        let extra = payload.len() - header.payload_length;
        return refuse("rlp_trailing_bytes", format!("{extra} bytes follow the transaction"));
    }
    Ok(())
}

/// Whether field 5 (`to`) of a type-4 payload is the empty string.
fn lacks_recipient(raw: &[u8]) -> bool {
    let mut rest = &raw[1..];
    if Header::decode(&mut rest).is_err() {
        return false;
    }
    for _ in 0..5 {
        let Ok(header) = Header::decode(&mut rest) else { return false };
        if header.payload_length > rest.len() {
            return false;
        }
        rest = &rest[header.payload_length..];
    }
    rest.first() == Some(&0x80)
}

fn check_fields(envelope: &OpTxEnvelope, chain_id: u64, unprotected: bool) -> Result<(), Refusal> {
    match envelope.chain_id() {
        None if unprotected => {}
        None => return refuse("chain_id_missing", "legacy transactions need EIP-155 replay protection here"),
        Some(id) if id != chain_id => {
            return refuse("chain_id_wrong", format!("signed for chain {id}, this rollup is {chain_id}"));
        }
        Some(_) => {}
    }
    if envelope.nonce() == u64::MAX {
        return refuse("nonce_max", "nonce 2^64-1 can never be used (EIP-2681)");
    }
    if let Some(tip) = envelope.max_priority_fee_per_gas() {
        let cap = envelope.max_fee_per_gas();
        if tip > cap {
            return refuse("fee_cap_below_tip", format!("max fee {cap} is below max priority fee {tip}"));
        }
    }
    if envelope.authorization_list().is_some_and(|list| list.is_empty()) {
        return refuse("authorization_list_empty", "an EIP-7702 transaction needs at least one authorisation");
    }
    if matches!(envelope.kind(), TxKind::Create) && envelope.input().len() > INIT_CODE_BYTES_MAX {
        let size = envelope.input().len();
        return refuse("init_code_too_large", format!("{size} bytes of init code, at most {INIT_CODE_BYTES_MAX}"));
    }
    debug_assert!(matches!(envelope.ty(), 0 | 1 | 2 | 4));
    Ok(())
}

/// secp256k1's group order, and its half (EIP-2).
const ORDER: U256 = U256::from_limbs([0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, 0xffffffffffffffff]);
const ORDER_HALF: U256 =
    U256::from_limbs([0xdfe92f46681b20a0, 0x5d576e7357a4501d, 0xffffffffffffffff, 0x7fffffffffffffff]);

fn check_signature(envelope: &OpTxEnvelope) -> Result<&Signature, Refusal> {
    let Some(signature) = signature(envelope) else {
        return refuse("transaction_type_unsupported", "this transaction type carries no signature");
    };
    let (r, s) = (signature.r(), signature.s());
    if r.is_zero() || s.is_zero() || r >= ORDER || s >= ORDER {
        return refuse("signature_invalid", "r and s must be between 1 and the curve's order");
    }
    if s > ORDER_HALF {
        return refuse("signature_high_s", "s is in the upper half of the order (EIP-2)");
    }
    Ok(signature)
}

/// What the sender signed.
fn signing_hash(envelope: &OpTxEnvelope) -> B256 {
    match envelope {
        OpTxEnvelope::Legacy(tx) => tx.signature_hash(),
        OpTxEnvelope::Eip2930(tx) => tx.signature_hash(),
        OpTxEnvelope::Eip1559(tx) => tx.signature_hash(),
        OpTxEnvelope::Eip7702(tx) => tx.signature_hash(),
        OpTxEnvelope::Deposit(_) | OpTxEnvelope::PostExec(_) => B256::ZERO,
    }
}

/// The signature of a user transaction; None for deposits and the like.
pub fn signature(envelope: &OpTxEnvelope) -> Option<&Signature> {
    match envelope {
        OpTxEnvelope::Legacy(tx) => Some(tx.signature()),
        OpTxEnvelope::Eip2930(tx) => Some(tx.signature()),
        OpTxEnvelope::Eip1559(tx) => Some(tx.signature()),
        OpTxEnvelope::Eip7702(tx) => Some(tx.signature()),
        OpTxEnvelope::Deposit(_) | OpTxEnvelope::PostExec(_) => None,
    }
}
