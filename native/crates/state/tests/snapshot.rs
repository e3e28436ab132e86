//! Snapshot files: what is written comes back, and no damage goes unnoticed.

mod common;

use std::fs;
use std::path::Path;

use alloy_primitives::{keccak256, Bytes, U256};
use common::{address, populated, Numbers};
use plait_state::snapshot::{load, read_header, write};
use plait_state::{AccountChange, AccountInfo, CodeStore, SnapshotError, StateChanges, StateTrie};

/// A state with plain accounts, contracts with code, one storage larger than a chunk, and hostile numbers.
fn rich_state(codes: &CodeStore, slots: u64) -> StateTrie {
    let mut changes = StateChanges::default();
    for number in 10_000..10_060_u64 {
        let code_hash = codes.insert(Bytes::from(vec![number as u8; 1 + number as usize % 50]));
        let info = AccountInfo { nonce: u64::MAX - number, balance: U256::MAX - U256::from(number), code_hash };
        let change = AccountChange::set(address(number), info).with_slot(U256::MAX, U256::MAX);
        changes.push(change.with_slot(U256::from(number), U256::from(1)));
    }
    populated(2_000, slots).apply(changes)
}

fn assert_equal(left: &StateTrie, right: &StateTrie) {
    assert_eq!(left.root(), right.root());
    assert!(left.iter().map(|entry| (entry.0, entry.1)).eq(right.iter().map(|entry| (entry.0, entry.1))));
    assert_eq!((left.account_count(), left.slot_count()), (right.account_count(), right.slot_count()));
}

/// State, codes and header come back, for storages that fit a chunk, end at its edge, or span several.
#[test]
fn round_trip() {
    let folder = tempfile::tempdir().unwrap();
    for slots in [0, 1, 100, 30_000, 120_000] {
        let path = folder.path().join(format!("{slots}.snapshot"));
        let codes = CodeStore::default();
        let state = rich_state(&codes, slots);
        let header = vec![slots as u8; slots as usize * 20];
        let bytes = write(&path, &state, &codes, &header).unwrap();
        assert_eq!(bytes, fs::metadata(&path).unwrap().len());
        let loaded_codes = CodeStore::default();
        let (loaded, loaded_header) = load(&path, &loaded_codes).unwrap();
        assert_eq!(loaded_header, header);
        assert_eq!(read_header(&path).unwrap(), header);
        assert_equal(&loaded, &state);
        assert_eq!(loaded_codes.len(), codes.len());
        let code = Bytes::from(vec![10_007_u64 as u8; 8]);
        assert_eq!(loaded_codes.get(keccak256(&code)), Some(code));
        // The loaded state goes on like the original.
        let next = |state: &StateTrie| state.apply([AccountChange::delete(address(5))].into_iter().collect()).root();
        assert_eq!(next(&loaded), next(&state));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().filter(|file| is_partial(&file.as_ref().unwrap().path())).count(),
            0
        );
    }
}

fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

/// The empty state and the empty header are a valid snapshot.
#[test]
fn empty_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    write(&path, &StateTrie::default(), &CodeStore::default(), &[]).unwrap();
    let (state, header) = load(&path, &CodeStore::default()).unwrap();
    assert_eq!((state.root(), header.len()), (StateTrie::default().root(), 0));
}

/// Equal states give equal files, whichever way they came about: snapshots can be compared and served by hash.
#[test]
fn files_are_canonical() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let codes = CodeStore::default();
    let state = rich_state(&codes, 500);
    write(&one, &state, &codes, b"header").unwrap();
    let (loaded, header) = load(&one, &codes).unwrap();
    write(&two, &loaded, &codes, &header).unwrap();
    assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
}

/// Whichever byte is flipped, wherever the file is cut, whatever is appended: loading fails with a typed error, never with a wrong
/// state. Every byte of the structure and a sample of the rest.
#[test]
fn no_damage_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, broken) = (folder.path().join("good"), folder.path().join("broken"));
    let codes = CodeStore::default();
    let state = rich_state(&codes, 30);
    write(&path, &state, &codes, &[7; 300]).unwrap();
    let good = fs::read(&path).unwrap();
    let attempt = |bytes: &[u8]| {
        fs::write(&broken, bytes).unwrap();
        load(&broken, &CodeStore::default()).map(|(state, _)| state.root())
    };
    assert_eq!(attempt(&good).unwrap(), state.root());
    let seed = 3;
    let mut numbers = Numbers(seed);
    let sampled = (0..300).map(|_| numbers.below(good.len() as u64) as usize).collect::<Vec<_>>();
    let structure = (0..700).chain(good.len() - 700..good.len());
    for at in structure.chain(sampled.iter().copied()) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let error = attempt(&bytes).expect_err(&format!("flipped byte {at} of {} unnoticed (seed {seed})", good.len()));
        assert!(matches!(
            error,
            SnapshotError::Format { .. } | SnapshotError::Corrupt { .. } | SnapshotError::Truncated { .. }
        ));
    }
    for length in (0..700).chain(good.len() - 200..good.len()).chain(sampled) {
        let error = attempt(&good[..length]).expect_err("cut unnoticed");
        assert_eq!(error.code(), "snapshot_truncated", "cut at {length}: {error}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(attempt(&longer).unwrap_err().code(), "snapshot_corrupt");
    assert_eq!(attempt(b"not a snapshot at all").unwrap_err().code(), "snapshot_format");
}

/// A file that lost, repeats or swaps whole chunks, each with its own right checksum, is refused by the checksum of the whole.
#[test]
fn rearranged_chunks_are_refused() {
    const PIECE: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rearranged");
    let header: Vec<u8> = (0..3 * PIECE).map(|at| (at / PIECE) as u8).collect();
    write(&path, &populated(10, 10), &CodeStore::default(), &header).unwrap();
    let good = fs::read(&path).unwrap();
    let (start, chunk) = (8, 9 + PIECE);
    let (before, pieces) = (&good[..start], &good[start..]);
    let (one, two, rest) = (&pieces[..chunk], &pieces[chunk..2 * chunk], &pieces[2 * chunk..]);
    for rearranged in [vec![before, one, rest], vec![before, one, one, two, rest], vec![before, two, one, rest]] {
        fs::write(&path, rearranged.concat()).unwrap();
        assert_eq!(load(&path, &CodeStore::default()).unwrap_err().code(), "snapshot_corrupt");
    }
    fs::write(&path, good).unwrap();
    assert_eq!(load(&path, &CodeStore::default()).unwrap().1, header);
}

/// A file whose checksums are right but whose root is another is refused: checksums protect from accidents, the root from the rest.
#[test]
fn a_forged_root_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged");
    write(&path, &populated(10, 10), &CodeStore::default(), &[]).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let payload = bytes.len() - 60;
    bytes[payload] ^= 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[payload - 9..payload - 4]);
    crc.update(&bytes[payload..]);
    bytes[payload - 4..payload].copy_from_slice(&crc.finalize().to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert_eq!(load(&path, &CodeStore::default()).unwrap_err().code(), "snapshot_root_mismatch");
}

/// Without an account's code nothing is written, and what was there stays.
#[test]
fn a_missing_code_stops_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let codes = CodeStore::default();
    write(&path, &populated(5, 5), &codes, b"old").unwrap();
    let state = rich_state(&CodeStore::default(), 5);
    assert_eq!(write(&path, &state, &codes, b"new").unwrap_err().code(), "snapshot_code_missing");
    assert_eq!(read_header(&path).unwrap(), b"old"[..]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
