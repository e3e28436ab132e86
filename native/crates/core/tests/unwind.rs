//! Unwinding: after any history of blocks, unwindings, restarts from snapshots, a rollup is what one that never had the removed
//! blocks is.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use alloy_consensus::Header;
use alloy_primitives::{keccak256, Address, B256, U256};
use alloy_rlp::Decodable;
use common::{attributes, genesis, Signer, CHAIN_ID, WRITER};
use plait_core::block::Attributes;
use plait_core::history::Given;
use plait_core::reads;
use plait_core::records::decode;
use plait_core::rollup::{AnyBlock, Decided, Rollup, PENDING};
use plait_core::session::Session;
use plait_core::transaction::Transaction;
use plait_core::Store;
use proptest::prelude::*;

/// More than any history here has.
const UNDO_BLOCKS: u64 = 1_000;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("plait-unwind-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a block is made of.
#[derive(Debug, Clone)]
struct Plan {
    attributes: Arc<Attributes>,
    transactions: Vec<Arc<Transaction>>,
}

/// A chain as it should be: the last plan is still open when `open` says so.
#[derive(Debug, Clone, Default)]
struct Chain {
    plans: Vec<Plan>,
    open: bool,
}

impl Chain {
    fn sealed(&self) -> usize {
        self.plans.len() - usize::from(self.open)
    }

    fn nonce(&self) -> u64 {
        self.plans.iter().map(|plan| plan.transactions.len() as u64).sum()
    }

    /// A rollup that had these blocks and no others.
    fn fresh(&self) -> Rollup {
        let rollup = rollup(Store::in_memory());
        let mut session = rollup.session();
        for (index, plan) in self.plans.iter().enumerate() {
            build(&mut session, plan);
            if index < self.sealed() {
                session.seal().unwrap();
            }
        }
        rollup.commit(&mut session).unwrap();
        rollup
    }
}

fn rollup(store: Store) -> Rollup {
    let rollup = Rollup::from_genesis(genesis().to_string().as_bytes(), store).expect("a valid genesis");
    rollup.keeping(UNDO_BLOCKS)
}

fn build(session: &mut Session, plan: &Plan) {
    session.open(plan.attributes.clone()).unwrap();
    let outcomes = session.run(&plan.transactions, true).unwrap();
    assert_eq!(outcomes.included, plan.transactions.len());
}

fn plan(number: u64, salt: u8, nonce: u64, kinds: &[u8]) -> Plan {
    let signer = Signer::new(0);
    let mut attributes = Attributes::clone(&attributes(number));
    attributes.prev_randao = B256::repeat_byte(salt);
    let transactions = kinds.iter().zip(nonce..).map(|(kind, nonce)| match kind % 4 {
        0 => signer.pay(nonce, Address::repeat_byte(0x40 + kind / 4), 5),
        1 => signer.write(nonce, 0),
        _ => signer.write(nonce, u64::from(*kind)),
    });
    Plan { attributes: Arc::new(attributes), transactions: transactions.collect() }
}

/// Everything that can be read of a rollup, of the blocks, transactions and hashes that any history had.
fn readings(rollup: &Rollup, ever: &Ever) -> Vec<String> {
    let decided = rollup.decided();
    let head = decided.view.head.header.number;
    let mut all = vec![format!("head {head} {}", decided.view.head.hash)];
    for at in (0..=head as i64 + 1).chain([PENDING]) {
        if let Some(block) = rollup.block(&decided, at).unwrap() {
            all.push(String::from_utf8(reads::block_json(&block, true)).unwrap());
            all.push(String::from_utf8(reads::block_receipts_json(rollup, &block)).unwrap());
            if matches!(block, AnyBlock::Sealed(..)) {
                all.push(format!("{:?}", reads::raw_receipts(&block)));
            }
        }
        all.push(format!("{:?}", rollup.header(&decided, at as u64).unwrap()));
        // States of before a restart are readable by unwinding alone.
        if let (PENDING, Ok(state)) = (at, decided.state_at(at)) {
            let proof = state.account_proof(WRITER, &[U256::ZERO]);
            all.push(format!("{} {proof:?}", state.root()));
        }
    }
    for number in 0..=head + 2 {
        for index in 0..6 {
            let (decided, session) = (rollup.log(&decided, number, index), rollup.session().log(rollup, number, index));
            assert_eq!(decided, session);
            all.push(format!("{decided:?}"));
        }
    }
    for hash in &ever.transactions {
        all.push(format!("{hash} {:?}", rollup.location(&decided, *hash).unwrap()));
    }
    for hash in &ever.blocks {
        all.push(format!("{hash} {:?}", rollup.number_by_hash(&decided, *hash).unwrap()));
    }
    for number in 0..=head {
        let mut session = rollup.session_at(number).unwrap();
        assert_eq!(session.head().hash, rollup.header(&decided, number).unwrap().unwrap().1);
        assert_eq!(session.view().state().root(), session.head().header.state_root);
        all.push(format!("{:?}", session.view().state().account_proof(WRITER, &[U256::ZERO])));
        let known: Vec<_> = (0..=head + 1).map(|number| session.block_hash(number)).collect();
        session.open(attributes(number + 1)).unwrap();
        all.push(format!("{number} {known:?} {}", session.seal().unwrap().hash));
        all.push(format!("{:?}", session.log(rollup, number, 0).unwrap()));
    }
    all
}

/// Hashes that any history had.
#[derive(Debug, Default)]
struct Ever {
    transactions: Vec<B256>,
    blocks: Vec<B256>,
}

impl Ever {
    fn note(&mut self, rollup: &Rollup, chain: &Chain) {
        let decided = rollup.decided();
        let hashes = decided.view.hashes.values().filter(|hash| !self.blocks.contains(hash)).copied();
        self.blocks.extend(hashes.collect::<Vec<_>>());
        let transactions = chain.plans.iter().flat_map(|plan| plan.transactions.iter().map(|item| item.hash));
        let new: Vec<_> = transactions.filter(|hash| !self.transactions.contains(hash)).collect();
        self.transactions.extend(new);
    }
}

fn check(rollup: &Rollup, chain: &Chain, ever: &Ever) {
    let fresh = chain.fresh();
    for (own, expected) in readings(rollup, ever).iter().zip(readings(&fresh, ever)) {
        assert_eq!(*own, expected);
    }
}

fn blocks_file(rollup: &Rollup, decided: &Decided, path: &Path) -> Vec<u8> {
    rollup.write_blocks(decided, path, decided.view.head.header.number, 1).unwrap();
    std::fs::read(path).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Build(Vec<u8>),
    /// To which block, how many of the old transactions come again at once, and what follows.
    Unwind(prop::sample::Index, u8, Vec<u8>),
    Fork(prop::sample::Index),
    Freeze,
    Snapshot,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = || prop::collection::vec(any::<u8>(), 0..5);
    prop_oneof![
        8 => kinds().prop_map(Step::Build),
        4 => (any::<prop::sample::Index>(), any::<u8>(), kinds()).prop_map(|(to, again, kinds)| Step::Unwind(to, again, kinds)),
        1 => any::<prop::sample::Index>().prop_map(Step::Fork),
        1 => Just(Step::Freeze),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restore),
    ]
}

/// A rollup under test with what it should be.
struct World {
    folder: Folder,
    store: Store,
    rollup: Rollup,
    chain: Chain,
    saved: Option<Chain>,
    frozen: Option<(Arc<Decided>, Chain)>,
    ever: Ever,
    salt: u8,
}

impl World {
    fn new() -> Self {
        let folder = Folder::new();
        let store = Store::open(&folder.0.join("store")).unwrap();
        let rollup = rollup(store.clone());
        let (chain, ever) = (Chain::default(), Ever::default());
        Self { folder, store, rollup, chain, saved: None, frozen: None, ever, salt: 0 }
    }

    fn next_plan(&mut self, number: usize, kinds: &[u8]) -> Plan {
        self.salt = self.salt.wrapping_add(1);
        plan(number as u64, self.salt, self.chain.nonce(), kinds)
    }

    fn build(&mut self, kinds: &[u8]) {
        let mut session = self.rollup.session();
        if self.chain.open {
            session.seal().unwrap();
        }
        let plan = self.next_plan(self.chain.plans.len() + 1, kinds);
        build(&mut session, &plan);
        self.chain.plans.push(plan);
        self.chain.open = true;
        self.rollup.commit(&mut session).unwrap();
        assert_eq!(session.base.as_ref().map(|base| base.header.number), None);
    }

    fn unwind(&mut self, to: usize, again: u8, kinds: &[u8]) {
        let old: Vec<_> = self.chain.plans[to..].iter().flat_map(|plan| plan.transactions.clone()).collect();
        let mut stale = self.rollup.session();
        let mut session = self.rollup.session_at(to as u64).unwrap();
        assert_eq!(session.base.as_ref().map(|base| base.header.number), Some(to as u64));
        self.chain.plans.truncate(to);
        self.chain.open = false;
        for round in 0..again % 3 {
            // The same transactions at other places, as a rebuilt chain has them.
            let mut plan = self.next_plan(to + 1 + usize::from(round), &[]);
            if round == 0 {
                plan.transactions = old.iter().take(usize::from(again) / 8).cloned().collect();
            } else {
                plan = self.next_plan(to + 1 + usize::from(round), kinds);
            }
            build(&mut session, &plan);
            self.chain.plans.push(plan);
            self.chain.open = round + 1 < again % 3 || again.is_multiple_of(2);
            if round + 1 < again % 3 || !self.chain.open {
                session.seal().unwrap();
            }
        }
        self.rollup.commit(&mut session).unwrap();
        assert!(session.base.is_none());
        assert_eq!(self.rollup.commit(&mut stale).unwrap_err().code, "session_stale");
    }

    /// A block that the rollup can unwind to.
    fn pick(&self, index: &prop::sample::Index) -> usize {
        let lowest = self.rollup.lowest_unwind().unwrap() as usize;
        lowest + index.index(self.chain.sealed() + 1 - lowest)
    }

    fn step(&mut self, step: &Step) {
        let file = self.folder.0.join("snapshot");
        match step {
            Step::Build(kinds) => self.build(kinds),
            Step::Unwind(to, again, kinds) => self.unwind(self.pick(to), *again, kinds),
            Step::Fork(to) => {
                // A fork that is dropped leaves nothing, its sibling neither.
                let to = self.pick(to);
                let mut session = self.rollup.session_at(to as u64).unwrap();
                session.open(attributes(to as u64 + 1)).unwrap();
                let mut fork = session.fork();
                assert_eq!(fork.seal().unwrap().hash, session.seal().unwrap().hash);
            }
            Step::Freeze => self.frozen = Some((self.rollup.decided(), self.chain.clone())),
            Step::Snapshot => {
                self.rollup.write_snapshot(&file).unwrap();
                self.saved = Some(self.chain.clone());
            }
            Step::Restore => {
                let Some(saved) = self.saved.clone() else { return };
                let genesis = genesis().to_string();
                let rollup = Rollup::from_snapshot(genesis.as_bytes(), self.store.clone(), &file).unwrap();
                self.rollup = rollup.keeping(UNDO_BLOCKS);
                self.chain = saved;
                self.frozen = None;
            }
        }
        self.ever.note(&self.rollup, &self.chain);
        if let Some((decided, chain)) = &self.frozen {
            let fresh = chain.fresh();
            let path = self.folder.0.join("blocks");
            let own = blocks_file(&self.rollup, decided, &path);
            assert_eq!(own, blocks_file(&fresh, &fresh.decided(), &path), "a frozen rollup keeps its own chain");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_unwound_rollup_is_one_that_never_had_the_removed_blocks(steps in prop::collection::vec(step(), 1..25)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            check(&world.rollup, &world.chain, &world.ever);
        }
    }
}

#[test]
fn a_session_that_began_before_an_unwinding_keeps_its_own_chain() {
    let mut world = World::new();
    for _ in 0..14 {
        world.build(&[2, 3]);
    }
    let before = world.rollup.session();
    let expected = before.log(&world.rollup, 3, 0).unwrap().unwrap();
    let removed = world.rollup.header(&world.rollup.decided(), 3).unwrap().unwrap().1;
    let lost = world.chain.plans[2].transactions[1].hash;
    assert!(world.rollup.replaced_block(removed).unwrap().is_none(), "still on the chain");
    world.unwind(2, 1, &[]);
    assert_eq!(world.rollup.log(&world.rollup.decided(), 3, 0).unwrap(), None);
    assert_eq!(before.log(&world.rollup, 3, 0).unwrap(), Some(expected));
    let replaced = world.rollup.replaced_block(removed).unwrap().expect("kept by its hash");
    assert_eq!((replaced.number(), replaced.items().count()), (3, 3));
    assert_eq!(world.rollup.location(&world.rollup.decided(), lost).unwrap(), None);
}

#[test]
fn no_session_starts_above_the_head_or_below_the_states_held() {
    for (undo_blocks, lowest) in [(0, 12), (30, 109), (130, 9)] {
        let mut world = World::new();
        world.rollup = rollup(world.store.clone()).keeping(undo_blocks);
        assert_eq!(world.rollup.session_at(1).unwrap_err().code, "block_unknown");
        for _ in 0..140 {
            world.build(&[2]);
        }
        let held = world.rollup.lowest_unwind().unwrap();
        assert_eq!(held, lowest.min(12), "128 states in memory, or what the records reach");
        assert!(world.rollup.session_at(held).is_ok());
        assert_eq!(world.rollup.session_at(held - 1).unwrap_err().code, "state_unavailable");
        assert_eq!(world.rollup.session_at(u64::MAX).unwrap_err().code, "block_unknown");
        world.step(&Step::Snapshot);
        world.step(&Step::Restore);
        let expected = if undo_blocks == 0 { 139 } else { lowest };
        assert_eq!(world.rollup.lowest_unwind().unwrap(), expected, "a restart leaves the records");
        world.unwind(expected as usize, 1, &[]);
        let fresh = world.chain.fresh();
        assert_eq!(world.rollup.decided().view.head.hash, fresh.decided().view.head.hash);
    }
}

/// Unwinds and builds without end in the store that the environment names; does nothing when it names none.
#[test]
fn unwinds_until_it_is_killed() {
    let Ok(path) = std::env::var("PLAIT_UNWIND_STORE") else { return };
    let rollup = rollup(Store::open(Path::new(&path)).unwrap());
    for round in 0_u64.. {
        let head = rollup.decided().view.head.header.number;
        let mut session = rollup.session_at(head - (round * 7 % 5).min(head)).unwrap();
        for _ in 0..3 {
            let number = session.head().header.number + 1;
            build(&mut session, &plan(number, round as u8, 0, &[]));
            session.seal().unwrap();
        }
        rollup.commit(&mut session).unwrap();
        if round == 0 {
            println!("the first unwinding is committed");
        }
    }
}

#[test]
fn a_node_killed_while_it_unwinds_has_one_whole_chain_in_its_store() {
    for round in 0..4 {
        let folder = Folder::new();
        let store = folder.0.join("store");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "unwinds_until_it_is_killed", "--nocapture"])
            .env("PLAIT_UNWIND_STORE", &store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("is committed")));
        std::thread::sleep(Duration::from_millis(20 + 35 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&store).unwrap();
        let head = store.head_number(CHAIN_ID).unwrap().expect("blocks");
        for number in 1..=head {
            let header = store.header(CHAIN_ID, number).unwrap().expect("a chain without holes");
            let parent = store.hash_by_number(CHAIN_ID, number - 1).unwrap().unwrap();
            assert_eq!(Header::decode(&mut &header[..]).unwrap().parent_hash, parent, "block {number}");
            let hash = keccak256(&header);
            assert_eq!(store.hash_by_number(CHAIN_ID, number).unwrap(), Some(hash));
            assert_eq!(store.number_by_hash(CHAIN_ID, hash).unwrap(), Some(number));
            let block = store.block(CHAIN_ID, number, hash).unwrap().expect("with its content");
            assert_eq!(decode(&block.body, &block.receipts, CHAIN_ID).unwrap().items.len(), 1);
        }
    }
}

fn taken_over(frozen: &Rollup, folder: &Path, edit: impl Fn(&mut Vec<u8>)) -> plait_core::error::Result<Rollup> {
    let decided = frozen.decided();
    let (state, blocks) = (folder.join("state"), folder.join("blocks"));
    frozen.write_state(&decided, &state).unwrap();
    let mut bytes = blocks_file(frozen, &decided, &blocks);
    edit(&mut bytes);
    std::fs::write(&blocks, bytes).unwrap();
    let head = &decided.view.head;
    let (head_number, head_hash) = (head.header.number, head.hash);
    let given = Given { state: &state, blocks: &[blocks], head_number, head_hash, lowest: 1, open: None };
    Rollup::take_over(genesis().to_string().as_bytes(), Store::in_memory(), given)
}

#[test]
fn who_takes_over_can_unwind_as_far_as_the_others_and_refuses_a_wrong_record() {
    let mut world = World::new();
    for _ in 0..140 {
        world.build(&[2, 5]);
    }
    let taken = taken_over(&world.rollup, &world.folder.0, |_| {}).unwrap();
    assert_eq!(taken.decided().view.head.header.number, 139);
    assert_eq!(taken.lowest_unwind().unwrap(), world.rollup.lowest_unwind().unwrap());
    let (own, other) = (taken.session_at(11).unwrap().view(), world.rollup.session_at(11).unwrap().view());
    assert_eq!((own.head.hash, own.head.state.root()), (other.head.hash, other.head.state.root()));
    // The first block in the file is the head; its record is what its payload ends with.
    let end = |bytes: &[u8]| 4 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let refused = taken_over(&world.rollup, &world.folder.0, |bytes| {
        let last = end(bytes) - 1;
        bytes[last] ^= 1;
    });
    assert_eq!(refused.unwrap_err().code, "snapshot_blocks_wrong");
}
