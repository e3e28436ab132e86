//! The store: both engines behave alike, and a crash leaves a prefix.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use alloy_primitives::{keccak256, B256};
use common::Numbers;
use plait_state::{BlockRecord, Store};
use proptest::prelude::*;

/// A block made from its number and a variant, so that any two can be told apart.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    number: u64,
    hash: B256,
    header: Vec<u8>,
    body: Vec<u8>,
    receipts: Vec<u8>,
    transactions: Vec<B256>,
}

fn block(rollup: u64, number: u64, variant: u64, transaction_count: u64) -> Block {
    let seed = [rollup, number, variant].map(u64::to_be_bytes).concat();
    let mut numbers = Numbers(rollup << 40 ^ number << 8 ^ variant);
    let mut blob = |length: u64| (0..length).map(|_| numbers.next() as u8).collect::<Vec<u8>>();
    Block {
        number,
        hash: keccak256(&seed),
        header: blob(600),
        body: blob(transaction_count * 180),
        receipts: blob(transaction_count * 150),
        transactions: (0..transaction_count)
            .map(|index| keccak256([&seed[..], &index.to_be_bytes()].concat()))
            .collect(),
    }
}

fn put(store: &Store, rollup: u64, block: &Block) {
    let Block { number, hash, header, body, receipts, transactions } = block;
    let transaction_hashes = transactions;
    store
        .write_block(
            rollup,
            BlockRecord { number: *number, hash: *hash, header, body, receipts, transaction_hashes, undo: None },
        )
        .unwrap();
}

fn assert_holds(store: &Store, rollup: u64, block: &Block) {
    assert_eq!(store.header(rollup, block.number).unwrap().unwrap(), block.header);
    assert_eq!(store.hash_by_number(rollup, block.number).unwrap(), Some(block.hash));
    assert_eq!(store.body(rollup, block.number).unwrap().unwrap(), block.body);
    assert_eq!(store.receipts(rollup, block.number).unwrap().unwrap(), block.receipts);
    assert_eq!(store.number_by_hash(rollup, block.hash).unwrap(), Some(block.number));
    for (index, hash) in block.transactions.iter().enumerate() {
        assert_eq!(store.transaction_location(rollup, *hash).unwrap(), Some((block.number, index as u32)));
    }
}

fn assert_lacks(store: &Store, rollup: u64, block: &Block) {
    assert_eq!(store.number_by_hash(rollup, block.hash).unwrap(), None);
    for hash in &block.transactions {
        assert_eq!(store.transaction_location(rollup, *hash).unwrap(), None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { rollup: u64, number: u64, variant: u64 },
    RemoveAbove { rollup: u64, number: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u64..2, 0_u64..12, 0_u64..3).prop_map(|(rollup, number, variant)| Step::Write { rollup, number, variant }),
        2 => (0_u64..2, 0_u64..12).prop_map(|(rollup, number)| Step::RemoveAbove { rollup, number }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any sequence of writes, rewrites, removals and reopenings leaves in both engines exactly the blocks written last, and nothing
    /// of those replaced or removed.
    #[test]
    fn engines_hold_what_a_map_holds(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Store::open(folder.path()).unwrap();
        let memory = Store::in_memory();
        let mut model: BTreeMap<(u64, u64), Block> = BTreeMap::new();
        let mut gone: Vec<(u64, Block)> = Vec::new();
        for step in steps {
            match step {
                Step::Write { rollup, number, variant } => {
                    let new = block(rollup, number, variant, 1 + number);
                    put(&disk, rollup, &new);
                    put(&memory, rollup, &new);
                    gone.retain(|(_, block)| *block != new);
                    let old = model.insert((rollup, number), new.clone());
                    gone.extend(old.filter(|old| *old != new).map(|old| (rollup, old)));
                }
                Step::RemoveAbove { rollup, number } => {
                    let doomed: Vec<_> = model.range((rollup, number + 1)..=(rollup, u64::MAX)).map(|entry| *entry.0).collect();
                    for store in [&disk, &memory] {
                        prop_assert_eq!(store.remove_above(rollup, number).unwrap(), doomed.len() as u64);
                        prop_assert_eq!(store.remove_above(rollup, number).unwrap(), 0);
                    }
                    gone.extend(doomed.iter().map(|key| (rollup, model.remove(key).unwrap())));
                }
                Step::Reopen => {
                    drop(disk);
                    disk = Store::open(folder.path()).unwrap();
                }
            }
        }
        for store in [&disk, &memory] {
            for ((rollup, _), block) in &model {
                assert_holds(store, *rollup, block);
            }
            for (rollup, block) in &gone {
                assert_lacks(store, *rollup, block);
            }
            for rollup in 0..2 {
                let head = model.range((rollup, 0)..=(rollup, u64::MAX)).next_back().map(|entry| entry.0.1);
                prop_assert_eq!(store.head_number(rollup).unwrap(), head);
            }
        }
    }
}

/// What one rollup stores is invisible to another, even the same transaction hash.
#[test]
fn rollups_are_apart() {
    let store = Store::in_memory();
    let (mut left, right) = (block(1, 5, 0, 3), block(2, 9, 0, 3));
    left.transactions = right.transactions.clone();
    put(&store, 1, &left);
    put(&store, 2, &right);
    assert_holds(&store, 1, &left);
    assert_holds(&store, 2, &right);
    assert_eq!(store.remove_above(1, 0).unwrap(), 1);
    assert_holds(&store, 2, &right);
    assert_eq!(store.head_number(3).unwrap(), None);
}

/// A second opener is refused while the first lives; after `close` every call says so, and the folder can be opened again.
#[test]
fn one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let written = block(1, 1, 0, 2);
    put(&store, 1, &written);
    assert_eq!(Store::open(folder.path()).unwrap_err().code(), "store_locked");
    let clone = store.clone();
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(clone.header(1, 1).unwrap_err().code(), "store_closed");
    assert_holds(&Store::open(folder.path()).unwrap(), 1, &written);
}

/// The body of the damage test's child: prints `wrong` for every block that is answered with another content.
#[test]
#[ignore = "runs as the child of damaged_files_never_pass_for_other_content"]
fn child_reads_damaged_store() {
    let Ok(path) = std::env::var("PLAIT_STORE_DAMAGED_PATH") else { return };
    let store = Store::open(path.as_ref()).unwrap();
    for number in 0..60 {
        let expected = block(1, number, 0, 900);
        let fields = [
            (store.header(1, number), expected.header),
            (store.body(1, number), expected.body),
            (store.receipts(1, number), expected.receipts),
        ];
        for (found, expected) in fields {
            if found.unwrap().expect("block is missing") != expected {
                println!("wrong content of block {number}");
            }
        }
    }
}

/// Damage anywhere in the files is an error, a missing block or no matter; it never passes for another content. The reader is a
/// process of its own because the engine answers some damage by aborting (a damaged length that no memory can hold).
#[test]
fn damaged_files_never_pass_for_other_content() {
    let seed = 9;
    let mut numbers = Numbers(seed);
    let mut noticed = 0;
    for round in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (0..60).for_each(|number| put(&store, 1, &block(1, number, 0, 900)));
        store.close().unwrap();
        drop(store);
        let mut files: Vec<_> = files_below(folder.path()).into_iter().filter(|file| file.1 > 0).collect();
        files.sort();
        let (path, length) = files[numbers.below(files.len() as u64) as usize].clone();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = numbers.below(length) as usize;
        bytes[at] ^= 1 << numbers.below(8);
        std::fs::write(&path, bytes).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_reads_damaged_store", "--ignored", "--nocapture"])
            .env("PLAIT_STORE_DAMAGED_PATH", folder.path())
            .output()
            .unwrap();
        noticed += usize::from(!child.status.success());
        let answered = String::from_utf8_lossy(&child.stdout);
        assert!(!answered.contains("wrong content"), "byte {at} of {} (seed {seed}, round {round})", path.display());
    }
    assert!(noticed > 0, "no damage of {seed} hit anything: the test shows nothing");
}

fn files_below(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        match metadata.is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push((entry.path(), metadata.len())),
        }
    }
    found
}

/// The body of the crash test's child: writes blocks one after the other until it is killed.
#[test]
#[ignore = "runs as the child of killed_writer_leaves_a_prefix"]
fn child_writes_until_killed() {
    let Ok(path) = std::env::var("PLAIT_STORE_CRASH_PATH") else { return };
    let store = Store::open(path.as_ref()).unwrap();
    let first = store.head_number(1).unwrap().map_or(0, |head| head + 1);
    for number in first.. {
        put(&store, 1, &block(1, number, 0, 300));
        println!("wrote {number}");
    }
}

/// A writer killed at any moment (SIGKILL) leaves whole blocks up to some number, none lost of those it had confirmed.
#[test]
fn killed_writer_leaves_a_prefix() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(5);
    for _ in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_killed", "--ignored", "--nocapture"])
            .env("PLAIT_STORE_CRASH_PATH", folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let stop_after = 20 + numbers.below(120) as usize;
        let confirmed: Vec<u64> =
            lines.filter_map(|line| line.rsplit_once("wrote ")?.1.trim().parse().ok()).take(stop_after).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let head = store.head_number(1).unwrap().unwrap();
        assert!(head >= *confirmed.last().unwrap(), "a confirmed block was lost");
        for number in 0..=head {
            let expected = block(1, number, 0, 300);
            assert_eq!(store.body(1, number).unwrap().unwrap(), expected.body);
            assert_eq!(store.receipts(1, number).unwrap().unwrap(), expected.receipts);
        }
        assert_holds(&store, 1, &block(1, head, 0, 300));
        assert_eq!(store.remove_above(1, head - 3).unwrap(), 3);
    }
}
