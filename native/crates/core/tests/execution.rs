//! Execution: rollback and forks restore the state exactly, records reproduce blocks, seals are pure functions of their input.

mod common;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_primitives::{keccak256, Address, Bytes, B256, U256};
use alloy_rlp::Encodable;
use common::{attributes, rollup, Signer, CHAIN_ID, WRITER};
use plait_core::block::Sealed;
use plait_core::records;
use plait_core::session::Session;
use proptest::prelude::*;

/// Seals a copy of the session, so that its state can be compared without ending it.
fn sealed(session: &mut Session) -> std::sync::Arc<Sealed> {
    session.fork().seal().expect("a block is open")
}

#[derive(Debug, Clone)]
enum Step {
    Run { kind: u8, value: u64 },
    Checkpoint,
    Rollback(prop::sample::Index),
    Fork,
    Freeze,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..4_u64).prop_map(|(kind, value)| Step::Run { kind, value }),
        2 => Just(Step::Checkpoint),
        2 => any::<prop::sample::Index>().prop_map(Step::Rollback),
        1 => Just(Step::Fork),
        1 => Just(Step::Freeze),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_state_root_after_a_rollback_is_the_one_before(steps in prop::collection::vec(step(), 1..40)) {
        let rollup = rollup();
        let signer = Signer::new(0);
        let mut session = rollup.session();
        session.open(attributes(1)).unwrap();
        let mut marks: Vec<(usize, u64, B256)> = Vec::new();
        let mut nonce = 0;
        for step in steps {
            match step {
                Step::Run { kind, value } => {
                    let transaction = match kind % 3 {
                        0 => signer.write(nonce, value),
                        1 => signer.pay(nonce, Address::repeat_byte(kind), value),
                        _ => signer.pay(nonce + 5, WRITER, value), // cannot be applied: leaves no trace
                    };
                    nonce += session.run(&[transaction], false).unwrap().included as u64;
                }
                Step::Checkpoint => {
                    // The root is taken after the checkpoint, which makes the fork inside `sealed` part of what must be undone.
                    let checkpoint = session.checkpoint().unwrap();
                    marks.push((checkpoint, nonce, sealed(&mut session).hash));
                }
                Step::Rollback(index) if !marks.is_empty() => {
                    let at = index.index(marks.len());
                    let (checkpoint, nonce_then, hash_then) = marks[at];
                    session.rollback(checkpoint).unwrap();
                    marks.truncate(at + 1);
                    nonce = nonce_then;
                    prop_assert_eq!(sealed(&mut session).hash, hash_then);
                }
                Step::Rollback(_) => {}
                Step::Fork => {
                    let before = sealed(&mut session).hash;
                    let mut other = session.fork();
                    other.run(&[signer.write(nonce, 99)], false).unwrap();
                    prop_assert_eq!(sealed(&mut session).hash, before);
                }
                Step::Freeze => drop(session.view()),
            }
        }
    }
}

#[test]
fn roots_of_a_sealed_block_are_those_of_its_content() {
    let rollup = rollup();
    let mut session = rollup.session();
    session.open(attributes(1)).unwrap();
    let signer = Signer::new(0);
    let transactions: Vec<_> = (0..130).map(|nonce| signer.write(nonce, nonce)).collect();
    session.run(&transactions, false).unwrap();
    let sealed = session.seal().unwrap();
    let content = sealed.body.as_ref().unwrap();
    let envelopes: Vec<_> = content.items.iter().map(|item| item.transaction.envelope.clone()).collect();
    let receipts: Vec<_> = content.items.iter().map(|item| item.receipt()).collect();
    assert_eq!(sealed.header.transactions_root, calculate_transaction_root(&envelopes));
    assert_eq!(sealed.header.receipts_root, calculate_receipt_root(&receipts));
    let mut header = Vec::new();
    sealed.header.encode(&mut header);
    assert_eq!(sealed.hash, keccak256(&header));
    assert_eq!(sealed.header.gas_used, content.items.iter().map(|item| item.gas_used).sum::<u64>());
    assert_eq!(sealed.header.blob_gas_used, Some(130 * 400 * 100));
    assert_eq!(sealed.state.storage(WRITER, U256::ZERO), U256::from(129));
}

#[test]
fn a_block_read_back_from_its_records_has_the_same_receipts() {
    let rollup = rollup();
    let mut session = rollup.session();
    session.open(attributes(1)).unwrap();
    let signer = Signer::new(1);
    session.run(&[signer.write(0, 5), signer.pay(1, Address::ZERO, 1), signer.write(2, 0)], false).unwrap();
    let sealed = session.seal().unwrap();
    let content = sealed.body.as_ref().unwrap();
    let (body, receipts) = (records::encode_body(content), records::encode_receipts(content));
    let again = records::decode(&body, &receipts, CHAIN_ID).unwrap();
    for (one, other) in content.items.iter().zip(&again.items) {
        assert_eq!(one.receipt(), other.receipt());
        assert_eq!(one.transaction.raw, other.transaction.raw);
        assert_eq!((one.first_log_index, one.gas_used), (other.first_log_index, other.gas_used));
    }
    for cut in 0..body.len() {
        assert_eq!(records::decode(&body[..cut], &receipts, CHAIN_ID).unwrap_err().code, "store_corrupt");
    }
}

#[test]
fn committing_sub_blocks_one_by_one_gives_the_block_of_running_all_at_once() {
    let signer = Signer::new(0);
    let transactions: Vec<_> = (0..12).map(|nonce| signer.write(nonce, nonce % 3)).collect();
    let at_once = {
        let mut session = rollup().session();
        session.open(attributes(1)).unwrap();
        session.run(&transactions, false).unwrap();
        session.seal().unwrap().hash
    };
    let rollup = rollup();
    let mut session = rollup.session();
    session.open(attributes(1)).unwrap();
    rollup.commit(&mut session).unwrap();
    for pair in transactions.chunks(2) {
        let mut candidate = rollup.session();
        candidate.run(pair, false).unwrap();
        drop(candidate); // a candidate that is not decided leaves no trace
        let mut decided = rollup.session();
        decided.run(pair, false).unwrap();
        rollup.commit(&mut decided).unwrap();
    }
    assert_eq!(rollup.session().seal().unwrap().hash, at_once);
}

#[test]
fn a_session_of_another_rollup_cannot_be_committed() {
    let mut other = common::genesis();
    other["config"]["chainId"] = 902.into();
    let other = plait_core::rollup::Rollup::from_genesis(other.to_string().as_bytes(), plait_core::Store::in_memory());
    let error = rollup().commit(&mut other.unwrap().session()).unwrap_err();
    assert_eq!(error.code, "session_stale");
}

#[test]
fn calls_see_overrides_and_change_nothing() {
    let rollup = rollup();
    let writer = format!("{WRITER}");
    let request = serde_json::json!({"to": writer, "data": Bytes::from(vec![7; 32])}).to_string();
    // The override makes the writer return its slot 0 instead of writing it.
    let slot = format!("0x{:064x}", 0);
    let value = format!("0x{:064x}", 77);
    let overrides =
        serde_json::json!({writer: {"code": "0x60005460005260206000f3", "stateDiff": {slot: value}}}).to_string();
    let call =
        |overrides: Option<&[u8]>| plait_core::calls::call(&rollup, request.as_bytes(), 0, overrides, None, 0).unwrap();
    assert_eq!(U256::from_be_slice(&call(Some(overrides.as_bytes())).output), U256::from(77));
    assert_eq!(&call(None).output[..], &[7; 32][..]);
    assert_eq!(rollup.decided().view.state().storage(WRITER, U256::ZERO), U256::ZERO);
}

#[test]
fn traces_apply_the_overrides_of_their_options_and_refuse_what_they_cannot_read() {
    let rollup = rollup();
    let request = serde_json::json!({"to": format!("{WRITER}")}).to_string();
    let trace = |options: serde_json::Value| {
        plait_core::trace::trace_call_json(&rollup, request.as_bytes(), 0, options.to_string().as_bytes(), 0)
            .map(|json| serde_json::from_slice::<serde_json::Value>(&json).unwrap())
    };
    // Returns the base fee of blobs, then the block's number.
    let code = "0x4a5f524360205260405ff3";
    let frame = trace(serde_json::json!({
        "stateOverrides": {format!("{WRITER}"): {"code": code}}, "blockOverrides": {"blobBaseFee": "0x7", "number": "0x9"},
    }));
    assert_eq!(frame.unwrap()["output"], format!("0x{:064x}{:064x}", 7, 9));
    let code = |options| trace(options).unwrap_err().code;
    assert_eq!(code(serde_json::json!({"stateOverrides": {"0x12": {}}})), "trace_options_malformed");
    assert_eq!(code(serde_json::json!({"blockOverrides": {"number": 9}})), "trace_options_malformed");
    assert_eq!(code(serde_json::json!({"blockOverrides": {"withdrawals": []}})), "override_refused");
    assert_eq!(code(serde_json::json!({"tracer": 7})), "trace_options_malformed");
    assert_eq!(code(serde_json::json!({"txIndex": "0x0"})), "tracer_unsupported");
}

#[test]
fn only_the_top_call_means_no_selfdestruct_frame_either() {
    let rollup = rollup();
    let request = serde_json::json!({"to": format!("{WRITER}")}).to_string();
    for (only_top_call, calls) in [(true, 0), (false, 1)] {
        let options = serde_json::json!({
            "tracerConfig": {"onlyTopCall": only_top_call},
            "stateOverrides": {format!("{WRITER}"): {"code": "0x33ff"}}, // CALLER SELFDESTRUCT
        });
        let frame =
            plait_core::trace::trace_call_json(&rollup, request.as_bytes(), 0, options.to_string().as_bytes(), 0)
                .unwrap();
        let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(frame["calls"].as_array().map_or(0, Vec::len), calls);
    }
}

#[test]
fn a_malformed_call_is_refused_without_text_of_the_parser() {
    let rollup = rollup();
    let to = format!("{WRITER}");
    for list in [
        serde_json::json!({}),
        serde_json::json!([{"address": to}]),
        serde_json::json!([{"address": to, "storageKeys": ["0x1"]}]),
    ] {
        let request = serde_json::json!({"to": to, "accessList": list}).to_string();
        let error = plait_core::calls::call(&rollup, request.as_bytes(), 0, None, None, 0).unwrap_err();
        assert_eq!(error.code, "call_malformed");
        assert_eq!(error.message, "the field \"accessList\" of the call object cannot be read");
    }
}

#[test]
fn an_overridden_precompile_is_an_account_and_a_moved_one_runs_elsewhere() {
    let rollup = rollup();
    let identity = "0x0000000000000000000000000000000000000004";
    let moved = "0x00000000000000000000000000000000000abcde";
    let call = |to: &str, overrides: serde_json::Value| {
        let request = serde_json::json!({"to": to, "input": "0x1234"}).to_string();
        plait_core::calls::call(&rollup, request.as_bytes(), 0, Some(overrides.to_string().as_bytes()), None, 0)
    };
    let moving = serde_json::json!({identity: {"movePrecompileToAddress": moved}});
    assert_eq!(call(identity, serde_json::json!({})).unwrap().output[..], [0x12, 0x34]);
    assert_eq!(call(moved, moving.clone()).unwrap().output[..], [0x12, 0x34]);
    assert!(call(identity, moving).unwrap().output.is_empty());
    let code = serde_json::json!({identity: {"code": "0x60075f5260205ff3"}});
    assert_eq!(U256::from_be_slice(&call(identity, code).unwrap().output), U256::from(7));
    let no_precompile = serde_json::json!({moved: {"movePrecompileToAddress": identity}});
    let error = call(moved, no_precompile).unwrap_err();
    assert_eq!(error.code, "override_refused");
    assert!(error.message.ends_with("is not a precompile"), "{error}");
}

#[test]
fn a_trace_that_would_outgrow_memory_is_refused_and_the_call_itself_is_not() {
    let rollup = rollup();
    // Calls 0xdead without gas for ever, each time with this many bytes of input.
    let bomb = |bytes: &str| format!("0x600162{bytes}535b5f5f62{bytes}5f5f61dead5ff150600756");
    let request = serde_json::json!({"to": format!("{WRITER}"), "gas": "0x989680"}).to_string();
    for (bytes, tracer) in [("0186a0", "callTracer"), ("000000", "callTracer"), ("0186a0", "prestateTracer")] {
        let state = serde_json::json!({format!("{WRITER}"): {"code": bomb(bytes)}});
        let options = serde_json::json!({"tracer": tracer, "stateOverrides": state}).to_string();
        let error = plait_core::trace::trace_call_json(&rollup, request.as_bytes(), 0, options.as_bytes(), 0)
            .map(|json| json.len())
            .unwrap_err();
        assert_eq!(error.code, "trace_too_large", "{bytes} {tracer}: {error}");
        let overrides = state.to_string();
        let result =
            plait_core::calls::call(&rollup, request.as_bytes(), 0, Some(overrides.as_bytes()), None, 0).unwrap();
        assert_eq!(result.error.as_deref(), Some("out of gas"));
    }
}
