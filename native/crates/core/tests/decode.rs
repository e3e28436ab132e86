//! Decoding and genesis parsing: total functions (they never panic) that accept only one form of everything.

mod common;

use alloy_primitives::{Bytes, TxKind};
use alloy_rlp::Header;
use common::{genesis, Signer, CHAIN_ID, WRITER};
use plait_core::genesis::Genesis;
use plait_core::records::{put_bytes, put_number, Reader};
use plait_core::transaction::{decode_transaction, decode_transactions};
use proptest::prelude::*;

fn valid(nonce: u64, input: Vec<u8>) -> Bytes {
    Signer::new(0).sign(nonce, TxKind::Call(WRITER), 3, input)
}

/// Rewrites the outer list of a typed transaction with items re-encoded by `change`.
fn rewritten(raw: &[u8], change: impl Fn(usize, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut rest = &raw[1..];
    let header = Header::decode(&mut rest).unwrap();
    let mut items = &rest[..header.payload_length];
    let (mut payload, mut index) = (Vec::new(), 0);
    while !items.is_empty() {
        let start = items;
        let item = Header::decode(&mut items).unwrap();
        items = &items[item.payload_length..];
        payload.extend_from_slice(&change(index, &start[..start.len() - items.len()]));
        index += 1;
    }
    let mut out = vec![raw[0]];
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    out
}

#[test]
fn a_rewritten_but_unchanged_transaction_is_the_same_transaction() {
    let raw = valid(7, b"input".to_vec());
    assert_eq!(rewritten(&raw, |_, item| item.to_vec()), raw.to_vec());
}

#[test]
fn an_integer_with_a_leading_zero_or_a_long_length_is_malformed() {
    let raw = valid(7, Vec::new());
    let padded = rewritten(&raw, |index, item| if index == 1 { vec![0x82, 0, 7] } else { item.to_vec() });
    let wrapped = rewritten(&raw, |index, item| if index == 1 { vec![0x81, 7] } else { item.to_vec() });
    for raw in [padded, wrapped] {
        assert_eq!(decode_transaction(&raw, CHAIN_ID, 131_072, None).unwrap_err().code, "rlp_malformed");
    }
}

#[test]
fn a_length_that_points_behind_the_end_is_malformed_whatever_it_says() {
    for raw in [&[0xf8_u8, 0xff][..], &[2, 0xf9, 0xff, 0xff], &[0xff; 9], &[1, 0xfb, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(decode_transaction(raw, CHAIN_ID, 131_072, None).unwrap_err().code, "rlp_malformed");
    }
}

#[test]
fn the_recovered_sender_is_the_signer() {
    for index in 0..20 {
        let signer = Signer::new(index);
        let raw = signer.sign(index, TxKind::Create, 0, vec![0; index as usize]);
        assert_eq!(decode_transaction(&raw, CHAIN_ID, 131_072, None).unwrap().sender, signer.address);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_kept_as_they_are_when_accepted(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(transaction) = decode_transaction(&raw, CHAIN_ID, 131_072, None) {
            prop_assert_eq!(&transaction.raw[..], &raw[..]);
        }
    }

    #[test]
    fn a_damaged_transaction_never_panics_and_never_keeps_its_hash(nonce in 0..1000_u64, at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let original = valid(nonce, b"some input".to_vec());
        let mut raw = original.to_vec();
        let at = at.index(raw.len());
        raw[at] = value;
        if let Ok(transaction) = decode_transaction(&raw, CHAIN_ID, 131_072, None) {
            prop_assert_eq!(&transaction.raw[..], &raw[..]);
            prop_assert!(raw == original || transaction.hash != decode_transaction(&original, CHAIN_ID, 131_072, None).unwrap().hash);
        }
    }

    #[test]
    fn a_batch_answers_in_order(kinds in prop::collection::vec(any::<bool>(), 0..40)) {
        let raws: Vec<Bytes> = kinds.iter().enumerate().map(|(nonce, good)| if *good { valid(nonce as u64, Vec::new()) } else { Bytes::from_static(&[0xc0]) }).collect();
        let decoded = decode_transactions(&raws, CHAIN_ID, 131_072, None, false);
        for (item, good) in decoded.iter().zip(&kinds) {
            prop_assert_eq!(item.is_ok(), *good);
        }
    }

    #[test]
    fn a_genesis_with_any_field_replaced_never_panics(
        field in prop::sample::select(vec!["config", "alloc", "timestamp", "gasLimit", "extraData", "difficulty", "baseFeePerGas", "mixHash", "coinbase", "number", "nonce"]),
        value in prop_oneof![
            Just(serde_json::Value::Null), any::<u64>().prop_map(Into::into), any::<bool>().prop_map(Into::into),
            ".{0,40}".prop_map(Into::into), "0x[0-9a-f]{0,70}".prop_map(Into::into), Just(serde_json::json!({})), Just(serde_json::json!([1])),
        ],
    ) {
        let mut root = genesis();
        root[field] = value;
        let _ = Genesis::parse(root.to_string().as_bytes());
    }

    #[test]
    fn arbitrary_genesis_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Genesis::parse(&bytes).is_err());
    }

    #[test]
    fn stored_numbers_and_bytes_read_back(numbers in prop::collection::vec(any::<u64>(), 0..20), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        for number in &numbers {
            put_number(&mut out, *number);
        }
        put_bytes(&mut out, &bytes);
        let mut reader = Reader(&out);
        for number in &numbers {
            prop_assert_eq!(reader.number().unwrap(), *number);
        }
        prop_assert_eq!(reader.bytes().unwrap(), &bytes[..]);
        prop_assert!(reader.0.is_empty());
        prop_assert!(reader.take(1).is_err());
    }

    #[test]
    fn a_damaged_block_record_is_an_error_and_never_a_panic(body in prop::collection::vec(any::<u8>(), 0..120), receipts in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Err(error) = plait_core::records::decode(&body, &receipts, CHAIN_ID) {
            prop_assert_eq!(error.code, "store_corrupt");
        }
    }
}
