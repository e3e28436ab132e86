//! One log by its place, calls in a session, and the figures about declared addresses and signatures.

mod common;

use std::sync::Arc;

use alloy_consensus::{SignableTransaction, TxEip2930};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::Encodable2718;
use alloy_primitives::{b256, keccak256, Address, Bytes, Log, Signature, TxKind, B256, U256};
use common::{attributes, decode, genesis, rollup, Signer, CHAIN_ID, GENESIS_TIME, WRITER};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use plait_core::block::Attributes;
use plait_core::logs::PlacedLog;
use plait_core::rollup::Rollup;
use plait_core::session::Session;
use plait_core::transaction::{sign_digest, signer_of};
use plait_core::Store;
use proptest::prelude::*;

/// Attributes of a block whose second deposit calls the writer, so that the first log is a deposit's.
fn logging_attributes(number: u64) -> Arc<Attributes> {
    let deposit = TxDeposit {
        source_hash: keccak256(number.to_le_bytes()),
        from: Address::repeat_byte(0xde),
        to: TxKind::Call(WRITER),
        gas_limit: 100_000,
        input: U256::from(number).to_be_bytes::<32>().into(),
        ..Default::default()
    };
    let mut attributes = Attributes::clone(&attributes(number));
    attributes.deposits.push(OpTxEnvelope::from(deposit).encoded_2718().into());
    Arc::new(attributes)
}

/// Every log that the session can see, by block, as it lies in the receipts; the open block last.
fn expected(session: &Session, rollup: &Rollup) -> Vec<(u64, Vec<PlacedLog>)> {
    let placed = |timestamp: u64, logs: Vec<Log>| {
        logs.into_iter().map(|log| PlacedLog { timestamp, log }).collect::<Vec<PlacedLog>>()
    };
    let decided = rollup.decided();
    let mut blocks = Vec::new();
    for number in 0..=session.head().header.number {
        let own = session.sealed.iter().find(|sealed| sealed.header.number == number);
        let content = match own {
            Some(sealed) => sealed.body.clone(),
            None => rollup.content(&decided, number).expect("the store works"),
        };
        let logs = content.expect("sealed").items.iter().flat_map(|item| item.logs.iter().cloned()).collect();
        blocks.push((number, placed(GENESIS_TIME + number, logs)));
    }
    if let Some(open) = session.open_block() {
        let logs: Vec<Log> = open.iter().flat_map(|item| item.logs.iter().cloned()).collect();
        assert_eq!(open.log_count, logs.len() as u64);
        blocks.push((open.number, placed(open.attributes.timestamp, logs)));
    }
    blocks
}

fn check(session: &Session, rollup: &Rollup) {
    let blocks = expected(session, rollup);
    for (number, logs) in &blocks {
        for (index, log) in logs.iter().enumerate() {
            assert_eq!(session.log(rollup, *number, index as u64).unwrap().as_ref(), Some(log));
        }
        for beyond in [logs.len() as u64, logs.len() as u64 + 1, u64::MAX] {
            assert_eq!(session.log(rollup, *number, beyond).unwrap(), None);
        }
    }
    assert_eq!(session.log(rollup, blocks.len() as u64, 0).unwrap(), None, "above the tip");
    assert_eq!(session.log(rollup, u64::MAX, 0).unwrap(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Run(Vec<u8>),
    Checkpoint,
    Rollback(prop::sample::Index),
    Fork,
    Seal,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..5).prop_map(Step::Run),
        2 => Just(Step::Checkpoint),
        2 => any::<prop::sample::Index>().prop_map(Step::Rollback),
        1 => Just(Step::Fork),
        3 => Just(Step::Seal),
        1 => Just(Step::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_session_finds_exactly_the_logs_of_the_receipts(steps in prop::collection::vec(step(), 1..120)) {
        let rollup = rollup();
        let signer = Signer::new(0);
        let mut session = rollup.session();
        session.open(logging_attributes(1)).unwrap();
        let mut nonce = 0;
        let mut marks: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Run(kinds) => {
                    let mut next = nonce;
                    let mut batch = Vec::new();
                    for kind in kinds {
                        batch.push(match kind % 3 {
                            0 => signer.write(next, u64::from(kind)),
                            1 => signer.pay(next, Address::repeat_byte(kind), 1), // no log
                            _ => signer.write(next + 9, 0), // left out
                        });
                        next += u64::from(kind % 3 != 2);
                    }
                    let before = session.open_block().unwrap().log_count;
                    let outcomes = session.run(&batch, false).unwrap();
                    prop_assert_eq!(outcomes.first_log_index, before);
                    for (position, index, log) in outcomes.logs_of(&[WRITER]) {
                        let found = session.log(&rollup, session.open_block().unwrap().number, index).unwrap();
                        prop_assert!(found.is_some_and(|placed| placed.log == *log));
                        prop_assert!(outcomes.items[position].logs.contains(log));
                    }
                    let logs: usize = outcomes.items.iter().map(|item| item.logs.len()).sum();
                    prop_assert_eq!(outcomes.logs_of(&[Address::ZERO, WRITER]).count(), logs);
                    prop_assert_eq!(outcomes.logs_of(&[Address::ZERO]).count(), 0);
                    nonce = next;
                }
                Step::Checkpoint => {
                    prop_assert_eq!(session.checkpoint().unwrap(), marks.len());
                    marks.push(nonce);
                }
                Step::Rollback(index) if !marks.is_empty() => {
                    let at = index.index(marks.len());
                    session.rollback(at).unwrap();
                    marks.truncate(at + 1);
                    nonce = marks[at];
                }
                Step::Rollback(_) => {}
                Step::Fork => {
                    let mut other = session.fork();
                    other.run(&[signer.write(nonce, 99)], false).unwrap();
                    other.seal().unwrap();
                    check(&other, &rollup);
                }
                Step::Seal => {
                    let number = session.seal().unwrap().header.number;
                    check(&session, &rollup);
                    session.open(logging_attributes(number + 1)).unwrap();
                    marks.clear();
                }
                Step::Commit => rollup.commit(&mut session).unwrap(),
            }
            check(&session, &rollup);
        }
        rollup.commit(&mut session).unwrap();
        let decided = rollup.decided();
        for (number, logs) in expected(&session, &rollup) {
            for (index, log) in logs.into_iter().enumerate() {
                prop_assert_eq!(rollup.log(&decided, number, index as u64).unwrap(), Some(log));
            }
        }
    }
}

#[test]
fn a_session_that_the_rollup_left_behind_still_finds_the_blocks_below_it_and_no_later_ones() {
    let rollup = rollup();
    let mut session = rollup.session();
    session.open(logging_attributes(1)).unwrap();
    rollup.commit(&mut session).unwrap();
    let mut behind = rollup.session();
    for number in 2..30 {
        session.seal().unwrap();
        session.open(logging_attributes(number)).unwrap();
        rollup.commit(&mut session).unwrap();
    }
    assert!(rollup.log(&rollup.decided(), 20, 0).unwrap().is_some());
    assert_eq!(behind.log(&rollup, 20, 0).unwrap(), None);
    behind.run(&[Signer::new(0).write(0, 7)], false).unwrap();
    behind.seal().unwrap();
    let found = behind.log(&rollup, 1, 1).unwrap().expect("in its own block 1, which nobody decided");
    assert_eq!(found.log.data.data, Bytes::from(U256::from(7).to_be_bytes::<32>()));
    assert_eq!(rollup.log(&rollup.decided(), 1, 1).unwrap(), None);
}

#[test]
fn a_decided_block_that_the_store_lacks_is_an_error_and_never_a_missing_log() {
    let folder = std::env::temp_dir().join(format!("plait-logs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("snapshot");
    let rollup = rollup();
    let mut session = rollup.session();
    for number in 1..=12 {
        session.open(logging_attributes(number)).unwrap();
        session.seal().unwrap();
    }
    rollup.commit(&mut session).unwrap();
    rollup.write_snapshot(&file).unwrap();
    let again = Rollup::from_snapshot(genesis().to_string().as_bytes(), Store::in_memory(), &file).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let decided = again.decided();
    assert!(again.log(&decided, 12, 0).unwrap().is_some(), "the snapshot holds its head");
    assert_eq!(again.log(&decided, 13, 0).unwrap(), None);
    assert_eq!(again.log(&decided, 3, 0).unwrap_err().code, "store_corrupt");
    assert_eq!(again.session().log(&again, 3, 0).unwrap_err().code, "store_corrupt");
}

#[test]
fn a_call_sees_the_sessions_changes_and_leaves_none() {
    let rollup = rollup();
    let mut session = rollup.session();
    let call = |session: &mut Session, word: u64, gas: u64| {
        session.call(Address::ZERO, WRITER, U256::from(word).to_be_bytes::<32>().into(), gas)
    };
    assert_eq!(call(&mut session, 1, 100_000).unwrap_err().code, "block_not_open");
    session.open(attributes(1)).unwrap();
    session.run(&[Signer::new(0).write(0, 5)], false).unwrap();
    let before = session.fork().seal().unwrap().hash;
    let changed = call(&mut session, 6, 100_000).unwrap();
    assert!(changed.success);
    assert_eq!(changed.output, Bytes::from(U256::from(6).to_be_bytes::<32>()));
    // Writing what the slot holds already is cheaper: the call sees the 5 that is pending.
    assert!(call(&mut session, 5, 100_000).unwrap().gas_used + 2_000 < changed.gas_used);
    assert!(call(&mut session, 6, 22_000).unwrap().error.is_some_and(|words| words.starts_with("out of gas")));
    assert_eq!(call(&mut session, 6, 20_000).unwrap_err().code, "intrinsic_gas_too_low");
    assert_eq!(session.slot(WRITER, U256::ZERO), U256::from(5));
    assert_eq!(session.open_block().unwrap().log_count, 1);
    assert_eq!(session.seal().unwrap().hash, before);
}

#[test]
fn a_transaction_declares_the_keys_of_all_entries_of_an_address() {
    let inbox = Address::repeat_byte(0x22);
    let item = |address, keys: &[u8]| AccessListItem {
        address,
        storage_keys: keys.iter().map(|key| B256::with_last_byte(*key)).collect(),
    };
    let other = Address::repeat_byte(0x33);
    let lists = [
        (vec![], false, vec![]),
        (vec![item(other, &[1])], false, vec![]),
        (vec![item(inbox, &[])], true, vec![]),
        (vec![item(inbox, &[1, 2]), item(other, &[9]), item(inbox, &[2, 1])], true, vec![1, 2, 2, 1]),
    ];
    for (list, declares, keys) in lists {
        let unsigned = TxEip2930 {
            chain_id: CHAIN_ID,
            gas_limit: 100_000,
            to: TxKind::Call(WRITER),
            access_list: AccessList(list),
            ..Default::default()
        };
        let signature = sign_digest(B256::repeat_byte(1), unsigned.signature_hash()).expect("a valid key");
        let signature = Signature::from_raw(&signature).expect("a valid signature");
        let transaction = decode(&OpTxEnvelope::from(unsigned.into_signed(signature)).encoded_2718());
        assert_eq!(transaction.declares(inbox), declares);
        let expected: Vec<B256> = keys.into_iter().map(B256::with_last_byte).collect();
        assert!(transaction.access_list_keys(inbox).eq(&expected));
    }
    assert!(!Signer::new(0).write(0, 1).declares(WRITER), "the recipient is not declared by being called");
}

#[test]
fn a_digest_is_signed_as_eip_155_shows() {
    // The example of EIP-155: its key, signing hash, r and s; parity 0 (v 37 on chain 1).
    let key = B256::repeat_byte(0x46);
    let digest = b256!("daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53");
    let signature = sign_digest(key, digest).unwrap();
    assert_eq!(signature[..32], b256!("28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276")[..]);
    assert_eq!(signature[32..64], b256!("67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83")[..]);
    assert_eq!(signature[64], 0);
    assert_eq!(signer_of(digest, &signature), Some("0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F".parse().unwrap()));
}

#[test]
fn no_key_outside_the_group_signs() {
    let order = b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let below = U256::from_be_bytes(order.0) - U256::ONE;
    assert!(sign_digest(below.into(), B256::ZERO).is_some());
    assert!(sign_digest(B256::with_last_byte(1), B256::repeat_byte(0xff)).is_some());
    for key in [B256::ZERO, order, B256::repeat_byte(0xff)] {
        assert!(sign_digest(key, B256::ZERO).is_none());
    }
}
