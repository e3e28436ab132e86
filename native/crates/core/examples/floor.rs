//! What the native core does alone, without Python, network or disk: the floor that benchmarks of the whole system compare with.
//!
//! Blocks of ERC-20 transfers, distinct senders within a block, on a Jovian rollup of many accounts. Prints one JSON object: best
//! milliseconds per stage and transactions per second, stage after stage and with the next block's decoding beside execution.
//!
//!     cargo run --release -p plait-core --example floor -- [transactions per block] [accounts] [blocks]

use std::sync::Arc;
use std::time::Instant;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::Encodable2718;
use alloy_primitives::{hex, keccak256, Address, Bytes, Signature, TxKind, B256, U256};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use plait_core::block::Attributes;
use plait_core::rollup::Rollup;
use plait_core::transaction::{decode_transactions, Transaction};
use plait_core::Store;
use secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHAIN_ID: u64 = 901;
const TOKEN: Address = Address::repeat_byte(0x70);
const GENESIS_TIME: u64 = 1_700_000_000;
/// `transfer(address,uint256)` over a balance mapping in slot 0, with the Transfer event; reverts when the balance is too small.
const TOKEN_CODE: &str = "3360005260006020526040600020805460243580821061006b5790039055600435600052604060002080546024350190556024356000526004\
    35337fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef60206000a3600160005260206000f35b60006000fd";

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let count = arguments.next().unwrap_or(2_000);
    let accounts = arguments.next().unwrap_or(100_000).max(count * 2);
    let blocks = arguments.next().unwrap_or(10);
    let senders: Vec<Sender> = (0..count).map(Sender::new).collect();
    let rollup = Rollup::from_genesis(&genesis(&senders, accounts), Store::in_memory()).expect("the genesis is valid");
    let raws: Vec<Vec<Bytes>> = (0..2 * blocks as u64)
        .map(|nonce| senders.iter().enumerate().map(|(at, sender)| sender.transfer(nonce, accounts, at)).collect())
        .collect();
    let staged = staged(&rollup, &raws[..blocks]);
    let pipelined = pipelined(&rollup, &raws[blocks..], blocks as u64);
    let rate = |milliseconds: f64| (count as f64 / milliseconds * 1e3).round();
    let [decode, execute, seal] = staged;
    println!(
        "{{\"transactions\":{count},\"accounts\":{accounts},\"blocks\":{blocks},\"threads\":{},\"decode_recover_ms\":{decode:.2},\
         \"execute_ms\":{execute:.2},\"seal_ms\":{seal:.2},\"staged_tps\":{},\"staged_without_recovery_tps\":{},\
         \"pipelined_tps\":{}}}",
        rayon::current_num_threads(),
        rate(decode + execute + seal),
        rate(execute + seal),
        rate(pipelined),
    );
}

/// Best milliseconds of decoding, executing and sealing.
fn staged(rollup: &Rollup, blocks: &[Vec<Bytes>]) -> [f64; 3] {
    let mut best = [f64::MAX; 3];
    let mut session = rollup.session();
    for (number, raws) in blocks.iter().enumerate() {
        let start = Instant::now();
        let transactions = decode(raws);
        best[0] = best[0].min(milliseconds(start));
        let start = Instant::now();
        run(&mut session, number as u64 + 1, &transactions);
        best[1] = best[1].min(milliseconds(start));
        let start = Instant::now();
        session.seal().expect("a block is open");
        best[2] = best[2].min(milliseconds(start));
        rollup.commit(&mut session).expect("nobody else commits");
    }
    best
}

/// Best milliseconds per block when the next block is decoded while this one is executed and sealed.
fn pipelined(rollup: &Rollup, blocks: &[Vec<Bytes>], first: u64) -> f64 {
    let mut best = f64::MAX;
    let mut session = rollup.session();
    let mut next = decode(&blocks[0]);
    for number in 0..blocks.len() {
        let start = Instant::now();
        let transactions = std::mem::take(&mut next);
        let (decoded, ()) = rayon::join(
            || blocks.get(number + 1).map(|raws| decode(raws)),
            || {
                run(&mut session, first + number as u64 + 1, &transactions);
                session.seal().expect("a block is open");
            },
        );
        if let Some(decoded) = decoded {
            next = decoded;
            best = best.min(milliseconds(start));
        }
        rollup.commit(&mut session).expect("nobody else commits");
    }
    best
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn decode(raws: &[Bytes]) -> Vec<Arc<Transaction>> {
    decode_transactions(raws, CHAIN_ID, 131_072, None, false)
        .into_iter()
        .map(|item| item.expect("signed here"))
        .collect()
}

fn run(session: &mut plait_core::session::Session, number: u64, transactions: &[Arc<Transaction>]) {
    session.open(Arc::new(attributes(number))).expect("attributes are valid");
    let outcomes = session.run(transactions, false).expect("a block is open");
    let succeeded = outcomes.items.iter().filter(|item| item.status == 1).count();
    assert_eq!(succeeded, transactions.len(), "{:?}", outcomes.items.iter().find(|item| item.status != 1));
}

struct Sender {
    address: Address,
    key: SecretKey,
    curve: Secp256k1<SignOnly>,
}

impl Sender {
    fn new(index: usize) -> Self {
        let key = SecretKey::from_byte_array(keccak256((index as u64).to_be_bytes()).0).expect("a hash is a valid key");
        let public = PublicKey::from_secret_key(&Secp256k1::new(), &key).serialize_uncompressed();
        Self { address: Address::from_raw_public_key(&public[1..]), key, curve: Secp256k1::signing_only() }
    }

    fn transfer(&self, nonce: u64, accounts: usize, at: usize) -> Bytes {
        let to = holder((at * 7 + nonce as usize * 13) % (accounts / 2));
        let mut input = hex!("a9059cbb").to_vec();
        input.extend_from_slice(to.into_word().as_slice());
        input.extend_from_slice(&U256::from(1).to_be_bytes::<32>());
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 60_000,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(TOKEN),
            input: input.into(),
            ..Default::default()
        };
        let digest = Message::from_digest(transaction.signature_hash().0);
        let (id, bytes) = self.curve.sign_ecdsa_recoverable(digest, &self.key).serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, i32::from(id) == 1);
        OpTxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
    }
}

/// A token holder that never sends.
fn holder(index: usize) -> Address {
    Address::from_word(keccak256([b"holder".as_slice(), &(index as u64).to_be_bytes()].concat()))
}

fn balance_slot(owner: Address) -> B256 {
    keccak256([owner.into_word().as_slice(), [0; 32].as_slice()].concat())
}

fn genesis(senders: &[Sender], accounts: usize) -> Vec<u8> {
    let holders = (0..accounts - senders.len()).map(holder);
    let owners: Vec<Address> = senders.iter().map(|sender| sender.address).chain(holders).collect();
    let mut alloc = serde_json::Map::new();
    let mut storage = serde_json::Map::new();
    for owner in &owners {
        alloc.insert(format!("{owner:x}"), serde_json::json!({"balance": "1000000000000000000000"}));
        storage.insert(balance_slot(*owner).to_string(), "0x0f4240".into());
    }
    alloc.insert(
        format!("{TOKEN:x}"),
        serde_json::json!({"balance": "0", "code": format!("0x{TOKEN_CODE}").replace([' ', '\n'], ""), "storage": storage}),
    );
    let mut config = serde_json::json!({
        "chainId": CHAIN_ID, "bedrockBlock": 0, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 0,
        "optimism": {"eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250},
    });
    for fork in ["regolith", "canyon", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian"] {
        config[format!("{fork}Time")] = 0.into();
    }
    serde_json::json!({
        "config": config, "timestamp": GENESIS_TIME, "gasLimit": "0x77359400", "difficulty": "0x0",
        "extraData": "0x01000000fa000000060000000000000000", "baseFeePerGas": "0x3b9aca00", "alloc": alloc,
    })
    .to_string()
    .into_bytes()
}

fn attributes(number: u64) -> Attributes {
    let mut data = hex!("3db6be2b").to_vec();
    data.resize(176, 0);
    data.extend_from_slice(&400_u16.to_be_bytes());
    let deposit = TxDeposit {
        source_hash: keccak256(number.to_be_bytes()),
        from: alloy_primitives::address!("deaddeaddeaddeaddeaddeaddeaddeaddead0001"),
        to: TxKind::Call(alloy_primitives::address!("4200000000000000000000000000000000000015")),
        gas_limit: 1_000_000,
        input: data.into(),
        ..Default::default()
    };
    Attributes {
        timestamp: GENESIS_TIME + number,
        prev_randao: B256::ZERO,
        fee_recipient: alloy_primitives::address!("4200000000000000000000000000000000000011"),
        parent_beacon_block_root: B256::ZERO,
        gas_limit: 2_000_000_000,
        deposits: vec![OpTxEnvelope::from(deposit).encoded_2718().into()],
        eip1559_denominator: 250,
        eip1559_elasticity: 6,
        min_base_fee: 0,
    }
}
