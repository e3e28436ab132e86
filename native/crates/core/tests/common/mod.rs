//! A small Jovian rollup, signers and attributes for the tests of the core.
#![allow(dead_code)] // each test binary uses its part

use std::sync::Arc;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::Encodable2718;
use alloy_primitives::{address, hex, keccak256, Address, Bytes, Signature, TxKind, B256, U256};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use plait_core::block::Attributes;
use plait_core::rollup::Rollup;
use plait_core::transaction::{decode_transaction, Transaction};
use plait_core::Store;
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey};

/// Chain id of the rollup.
pub const CHAIN_ID: u64 = 901;
/// Seconds of the genesis block.
pub const GENESIS_TIME: u64 = 1_700_000_000;
/// Stores the first word of its input in slot 0 and logs it.
pub const WRITER: Address = Address::repeat_byte(0xcc);
const WRITER_CODE: &str = "600035600055600035600052600760206000a160206000f3";

/// A funded key.
pub struct Signer {
    /// Its address.
    pub address: Address,
    key: SecretKey,
}

impl Signer {
    /// The signer number `index`.
    pub fn new(index: u64) -> Self {
        let key = SecretKey::from_byte_array(keccak256(index.to_be_bytes()).0).expect("a hash is a valid key");
        let public = PublicKey::from_secret_key(&Secp256k1::new(), &key).serialize_uncompressed();
        Self { address: Address::from_raw_public_key(&public[1..]), key }
    }

    /// A signed transaction.
    pub fn sign(&self, nonce: u64, to: TxKind, value: u64, input: Vec<u8>) -> Bytes {
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 120_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1,
            to,
            value: U256::from(value),
            input: input.into(),
            ..Default::default()
        };
        let digest = Message::from_digest(transaction.signature_hash().0);
        let signed = Secp256k1::new().sign_ecdsa_recoverable(digest, &self.key);
        let (id, bytes) = signed.serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, i32::from(id) == 1);
        OpTxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
    }

    /// A decoded call of the writer.
    pub fn write(&self, nonce: u64, word: u64) -> Arc<Transaction> {
        decode(&self.sign(nonce, TxKind::Call(WRITER), 0, U256::from(word).to_be_bytes::<32>().to_vec()))
    }

    /// A decoded transfer.
    pub fn pay(&self, nonce: u64, to: Address, value: u64) -> Arc<Transaction> {
        decode(&self.sign(nonce, TxKind::Call(to), value, Vec::new()))
    }
}

/// Decodes what must be acceptable.
pub fn decode(raw: &[u8]) -> Arc<Transaction> {
    Arc::new(decode_transaction(raw, CHAIN_ID, 131_072, None).expect("an acceptable transaction"))
}

/// The genesis file, Signers 0 and 1 funded.
pub fn genesis() -> serde_json::Value {
    let mut config = serde_json::json!({
        "chainId": CHAIN_ID, "bedrockBlock": 0, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 0,
        "optimism": {"eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250},
    });
    for fork in ["regolith", "canyon", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian"] {
        config[format!("{fork}Time")] = 0.into();
    }
    let funded = serde_json::json!({"balance": "0x3635c9adc5dea00000"});
    serde_json::json!({
        "config": config, "timestamp": GENESIS_TIME, "gasLimit": "0x1c9c380", "difficulty": "0x0",
        "extraData": "0x01000000fa000000060000000000000000", "baseFeePerGas": "0x3b9aca00",
        "alloc": {
            format!("{:x}", Signer::new(0).address): funded,
            format!("{:x}", Signer::new(1).address): funded,
            format!("{WRITER:x}"): {"balance": "0", "code": format!("0x{WRITER_CODE}")},
        },
    })
}

/// The rollup at its genesis.
pub fn rollup() -> Rollup {
    Rollup::from_genesis(genesis().to_string().as_bytes(), Store::in_memory()).expect("a valid genesis")
}

/// Attributes of block `number`.
pub fn attributes(number: u64) -> Arc<Attributes> {
    let mut data = hex!("3db6be2b").to_vec();
    data.resize(176, 0);
    data.extend_from_slice(&400_u16.to_be_bytes());
    let deposit = TxDeposit {
        source_hash: keccak256(number.to_be_bytes()),
        from: address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001"),
        to: TxKind::Call(address!("4200000000000000000000000000000000000015")),
        gas_limit: 1_000_000,
        input: data.into(),
        ..Default::default()
    };
    Arc::new(Attributes {
        timestamp: GENESIS_TIME + number,
        prev_randao: B256::with_last_byte(number as u8),
        fee_recipient: address!("4200000000000000000000000000000000000011"),
        parent_beacon_block_root: B256::ZERO,
        gas_limit: 30_000_000,
        deposits: vec![OpTxEnvelope::from(deposit).encoded_2718().into()],
        eip1559_denominator: 250,
        eip1559_elasticity: 6,
        min_base_fee: 0,
    })
}
