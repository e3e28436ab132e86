//! Measures the state: apply and root per block, reads, memory, snapshots, and the store's writes. Prints one line per figure.
//!
//! `cargo run --release --example floor_state -- [accounts]` (default: 100000 and 1000000)

use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use plait_state::{snapshot, AccountChange, AccountInfo, BlockRecord, CodeStore, Key, StateChanges, StateTrie, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn address(number: u64) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn populate(count: u64) -> StateTrie {
    let mut changes = StateChanges::with_capacity(count as usize + 1);
    for number in 1..=count {
        let info = AccountInfo { nonce: 1, balance: U256::from(number) << 60, ..Default::default() };
        changes.push(AccountChange::set(address(number), info));
    }
    let mut token = AccountChange::set(address(0), AccountInfo { nonce: 1, ..Default::default() });
    token.slots.extend((1..=count).map(|slot| (Key::from(U256::from(slot)), U256::from(slot) << 60)));
    changes.push(token);
    StateTrie::default().apply(changes)
}

/// `count` random accounts and `count` random slots of the token change.
fn block(numbers: &mut Numbers, population: u64, count: u64) -> StateChanges {
    let mut pick = |salt: u64| -> Vec<u64> {
        let mut picked: Vec<u64> = (0..count).map(|_| 1 + numbers.next().wrapping_add(salt) % population).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    };
    let (accounts, slots) = (pick(1), pick(2));
    let mut changes = StateChanges::with_capacity(accounts.len() + 1);
    for number in accounts {
        let info = AccountInfo { nonce: 2, balance: U256::from(numbers.next()) << 50, ..Default::default() };
        changes.push(AccountChange::set(address(number), info));
    }
    let mut token = AccountChange::keep(address(0));
    token
        .slots
        .extend(slots.into_iter().map(|slot| (Key::from(U256::from(slot)), U256::from(numbers.next() | 1) << 50)));
    changes.push(token);
    changes
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn measure_blocks(state: &StateTrie, population: u64, threads: usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    for count in [2_000, 4_000, 10_000] {
        let mut numbers = Numbers(42);
        let (mut apply_ms, mut root_ms, mut drop_ms) = (Vec::new(), Vec::new(), Vec::new());
        let mut previous = state.clone();
        for _ in 0..9 {
            let changes = block(&mut numbers, population, count);
            let start = Instant::now();
            let next = pool.install(|| previous.apply(changes));
            apply_ms.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            black_box(pool.install(|| next.root()));
            root_ms.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            previous = next;
            drop_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let total: Vec<f64> = apply_ms.iter().zip(&root_ms).map(|(apply, root)| apply + root).collect();
        let best = total.iter().copied().fold(f64::MAX, f64::min);
        println!(
            "block {population} pairs, {count} accounts + {count} slots, {threads} threads: apply {:.1} ms, root {:.1} ms, both {:.1} ms (best {best:.1}), drop of the version before {:.1} ms",
            median(apply_ms), median(root_ms), median(total), median(drop_ms),
        );
    }
}

fn measure_reads(state: &StateTrie, population: u64) {
    let mut numbers = Numbers(7);
    let picked: Vec<u64> = (0..200_000).map(|_| 1 + numbers.next() % population).collect();
    let hashed: Vec<(B256, B256)> = picked
        .iter()
        .map(|&number| (Key::from(address(number)).hashed(), Key::from(U256::from(number)).hashed()))
        .collect();
    let token_key = Key::from(address(0)).hashed();
    let per_read = |label: &str, read: &dyn Fn(usize) -> U256| {
        let start = Instant::now();
        let sum = (0..picked.len()).fold(U256::ZERO, |sum, at| sum.wrapping_add(read(at)));
        black_box(sum);
        println!("read {label}: {:.3} us", start.elapsed().as_secs_f64() * 1e6 / picked.len() as f64);
    };
    per_read("account, plain key", &|at| state.account(address(picked[at])).expect("exists").balance);
    per_read("account, hashed key", &|at| state.account(hashed[at].0).expect("exists").balance);
    per_read("slot, hashed keys", &|at| state.storage(token_key, hashed[at].1));
    let token = state.storage_trie(token_key);
    per_read("slot through the storage trie, hashed key", &|at| token.get(hashed[at].1));
    per_read("slot through the storage trie, plain key", &|at| token.get(U256::from(picked[at])));
    let start = Instant::now();
    for &number in &picked[..2_000] {
        black_box(state.account_proof(address(number), &[]));
    }
    println!("proof of an account: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / 2_000.0);
}

fn measure_snapshot(state: &StateTrie) {
    let path = std::env::temp_dir().join(format!("plait-floor-{}.snapshot", std::process::id()));
    let codes = CodeStore::default();
    let start = Instant::now();
    let bytes = snapshot::write(&path, state, &codes, b"header").expect("writes");
    println!("snapshot write: {:.2} s, {} MB", start.elapsed().as_secs_f64(), bytes / 1_000_000);
    let start = Instant::now();
    let (loaded, _) = snapshot::load(&path, &codes).expect("loads");
    println!("snapshot load with verified root: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(loaded.root(), state.root());
    std::fs::remove_file(path).expect("removes");
}

/// Between blocks of the store's measure; as fast as possible would measure the engine's back-pressure instead.
const STORE_PAUSE: Duration = Duration::from_millis(250);

fn measure_store() {
    let folder = std::env::temp_dir().join(format!("plait-floor-{}.store", std::process::id()));
    let store = Store::open(&folder).expect("opens");
    let mut numbers = Numbers(3);
    let before = resident_bytes();
    let mut samples = Vec::new();
    let mut hashes: Vec<B256> = Vec::new();
    for number in 1..=40_u64 {
        std::thread::sleep(STORE_PAUSE);
        hashes = (0..10_000).map(|_| B256::from_slice(&[numbers.next(); 4].map(u64::to_be_bytes).concat())).collect();
        let (body, receipts) = (vec![number as u8; 1_800_000], vec![number as u8; 1_500_000]);
        let record = BlockRecord {
            number,
            hash: hashes[0],
            header: &[1; 600],
            body: &body,
            receipts: &receipts,
            transaction_hashes: &hashes,
            undo: None,
        };
        let start = Instant::now();
        store.write_block(1, record).expect("writes");
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let worst = samples.iter().copied().fold(0.0, f64::max);
    println!("store block of 10000 transactions (3.3 MB): median {:.1} ms, worst {worst:.1} ms", median(samples));
    let start = Instant::now();
    for hash in &hashes {
        assert!(store.transaction_location(1, *hash).expect("reads").is_some());
    }
    println!("store transaction location: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / hashes.len() as f64);
    let start = Instant::now();
    store.sync().expect("syncs");
    println!("store sync: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    println!(
        "store memory: {} MB more resident, {:?}",
        resident_bytes().saturating_sub(before) / 1_000_000,
        store.statistics()
    );
    store.close().expect("closes");
    std::fs::remove_dir_all(folder).expect("removes");
}

fn main() {
    let asked: Option<u64> = std::env::args().nth(1).and_then(|count| count.parse().ok());
    measure_store();
    for population in asked.map_or_else(|| vec![100_000, 1_000_000], |count| vec![count]) {
        let before = resident_bytes();
        let start = Instant::now();
        let state = populate(population);
        let built = start.elapsed().as_secs_f64();
        let start = Instant::now();
        state.root();
        println!("build {population} pairs: {built:.2} s, root {:.2} s", start.elapsed().as_secs_f64());
        let statistics = state.statistics();
        println!(
            "memory {population} pairs: {} B per pair in nodes, {} B resident; {statistics:?}",
            statistics.bytes / population,
            resident_bytes().saturating_sub(before) / population,
        );
        for threads in [1, 2] {
            measure_blocks(&state, population, threads);
        }
        measure_reads(&state, population);
        measure_snapshot(&state);
    }
}
