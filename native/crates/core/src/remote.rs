//! Remote state: a rollup whose state at one block, its anchor, another node holds.
//!
//! Of the anchor block the header alone is known. Execution that meets something unknown goes on with nothing in its place and notes
//! what it missed; the attempt is thrown away, everything missed is asked for at once, and the step is executed again, until it
//! misses nothing. So a step costs as many round trips as its reads depend on each other, and no result rests on a guess.
//! Answers are nodes of the state trie and codes, taken by their hash from the anchor's state root down; they cannot lie, only lack.
//!
//! Sealing may need a node beside the way: the only child left of a branch. It is asked for by hash and, where the node does not
//! answer that, by the proof of a key that is searched for with the right first nibbles.
//!
//! What was read is shown in the tries, whose versions share what none of them changed, or dropped: a later step that finds a node
//! finds it in the state that it starts from. So a snapshot of what is known holds all that the steps after it use without asking.
//! No result depends on what happened to be known. Bounds: rounds of one step, keys tried in a search.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use alloy_consensus::Header;
use alloy_primitives::{address, keccak256, map::B256Map, Address, Bytes, B256, U256};
use alloy_rlp::Decodable;
use plait_state::{Found, StateTrie, Store, Waiting};
use rayon::prelude::*;

use crate::block::Sealed;
use crate::codes::Codes;
use crate::error::{CoreError, Result};
use crate::genesis::Genesis;
use crate::overlay::settled;
use crate::rollup::Rollup;
use crate::session::Session;
use crate::transaction::Transaction;

/// Accounts that every transaction of an OP Stack rollup pays into or reads: the fee vaults and L1Block.
const ALWAYS_READ: [Address; 5] = [
    address!("4200000000000000000000000000000000000011"),
    address!("4200000000000000000000000000000000000015"),
    address!("4200000000000000000000000000000000000019"),
    address!("420000000000000000000000000000000000001a"),
    address!("420000000000000000000000000000000000001b"),
];
/// Attempts of one step. A read can depend on a read; one that depends on 256 others in a row is refused.
pub(crate) const ROUNDS_MAX: usize = 256;
/// Nibbles that a searched key shares with a hidden sibling at most: 16^6 hashes are seconds, 16^7 a minute.
const SEARCH_NIBBLES_MAX: usize = 6;
/// Keys tried for each key expected to be needed.
const SEARCH_FACTOR: u64 = 16;

/// What is asked of the node at the anchor block.
#[derive(Debug, Default)]
pub struct Ask {
    /// Proofs of accounts, each with the slots to be proven.
    pub accounts: Vec<(Address, Vec<U256>)>,
    /// Codes: of which account, with which hash.
    pub codes: Vec<(Address, B256)>,
    /// Trie nodes by their hash; a node that cannot give them answers nothing.
    pub nodes: Vec<B256>,
    /// Headers of these blocks, the higher number first.
    pub headers: Option<(u64, u64)>,
}

/// What the node answered, in any order.
#[derive(Debug, Default)]
pub struct Answer {
    /// Trie nodes, RLP.
    pub nodes: Vec<Bytes>,
    /// Codes.
    pub codes: Vec<Bytes>,
    /// Headers, RLP, by falling number.
    pub headers: Vec<Bytes>,
}

/// Where the state is.
pub trait Reader: Send + Sync + Debug {
    /// Answers at the anchor block.
    ///
    /// # Errors
    /// `remote_unavailable`.
    fn read(&self, anchor: &Anchor, ask: &Ask) -> Result<Answer>;
}

/// The block whose state is remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// What executions missed.
#[derive(Debug, Default)]
pub struct Misses {
    accounts: BTreeSet<Address>,
    slots: BTreeSet<(Address, U256)>,
    codes: BTreeMap<B256, Address>,
    siblings: Vec<(Waiting, Option<Address>)>,
    lowest_header: Option<u64>,
}

/// Where an overlay notes what it misses.
pub type Sink = Arc<Mutex<Misses>>;

/// Nodes by their hash.
type Pool = B256Map<Bytes>;

/// What is known before anybody is asked; of each any number in any order, what belongs nowhere is left.
#[derive(Debug, Default)]
pub struct Known {
    /// Trie nodes, RLP.
    pub nodes: Vec<Bytes>,
    /// Codes.
    pub codes: Vec<Bytes>,
    /// Headers of the anchor's ancestors, RLP.
    pub headers: Vec<Bytes>,
}

/// A remote state: its reader, and what was read beside nodes and codes.
#[derive(Debug)]
pub struct Remote {
    reader: Box<dyn Reader>,
    /// The block whose state is elsewhere.
    pub anchor: Anchor,
    /// Its header.
    pub header: Header,
    codes: Codes,
    read: Mutex<Ancestors>,
    /// Addresses of the accounts that were looked at, by their hash.
    addresses: Mutex<B256Map<Address>>,
    under_way: Mutex<UnderWay>,
    finished: Condvar,
}

/// Ancestors of the anchor whose hashes were read.
#[derive(Debug, Clone)]
pub struct Ancestors {
    /// Hashes by number.
    pub hashes: BTreeMap<u64, B256>,
    /// Number and expected hash of the next lower one.
    pub next: (u64, B256),
    round_trips: u64,
}

/// Reads that have begun and are not shown yet, by their numbers.
#[derive(Debug, Default)]
struct UnderWay {
    numbers: BTreeSet<u64>,
    next: u64,
}

/// A read under way, until it is dropped.
struct Turn<'a>(&'a Remote, u64);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(&self.0.under_way).numbers.remove(&self.1);
        self.0.finished.notify_all();
    }
}

impl Misses {
    /// An account that is not known.
    pub fn account(&mut self, address: Address) {
        self.accounts.insert(address);
    }

    /// A slot that is not known.
    pub fn slot(&mut self, address: Address, slot: U256) {
        self.slots.insert((address, slot));
    }

    /// A code that is not known, of this account.
    pub fn code(&mut self, address: Address, hash: B256) {
        self.codes.insert(hash, address);
    }

    /// A block hash that is not known.
    pub fn header(&mut self, number: u64) {
        self.lowest_header = Some(self.lowest_header.map_or(number, |lowest| lowest.min(number)));
    }

    /// A node that a branch waits for, with the address of its account.
    pub fn sibling(&mut self, waiting: Waiting, address: Option<Address>) {
        self.siblings.push((waiting, address));
    }

    /// Whether nothing was missed.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.slots.is_empty()
            && self.codes.is_empty()
            && self.siblings.is_empty()
            && self.lowest_header.is_none()
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ancestors {
    /// None of them, below this block.
    pub fn below(header: &Header) -> Self {
        Self { hashes: BTreeMap::new(), next: (header.number.saturating_sub(1), header.parent_hash), round_trips: 0 }
    }

    /// Those that were read, and the next one.
    pub(crate) fn read(next: (u64, B256), hashes: BTreeMap<u64, B256>) -> Self {
        Self { hashes, next, round_trips: 0 }
    }

    /// Takes the header that the block above names, or one that was taken before; false for any other.
    fn take(&mut self, rlp: &[u8]) -> bool {
        let hash = keccak256(rlp);
        let Ok(header) = Header::decode(&mut &rlp[..]) else { return false };
        if hash == self.next.1 && header.number == self.next.0 {
            self.hashes.insert(header.number, hash);
            self.next = (header.number.saturating_sub(1), header.parent_hash);
            return true;
        }
        self.hashes.get(&header.number) == Some(&hash)
    }
}

impl Remote {
    /// Where the state of this block is read.
    pub(crate) fn new(reader: Box<dyn Reader>, header: Header, hash: B256, codes: Codes, ancestors: Ancestors) -> Self {
        let anchor = Anchor { number: header.number, hash };
        Self {
            reader,
            anchor,
            header,
            codes,
            read: Mutex::new(ancestors),
            addresses: Mutex::default(),
            under_way: Mutex::default(),
            finished: Condvar::new(),
        }
    }

    /// Takes over what is known of the state before anybody is asked.
    pub(crate) fn learn(&self, state: &StateTrie, known: Known) {
        for code in known.codes {
            self.codes.store().insert(code);
        }
        let pool: Pool = known.nodes.into_par_iter().map(|node| (keccak256(&node), node)).collect();
        state.reveal_all(&|hash| pool.get(hash).cloned(), &|_| false);
        let by_hash: B256Map<Bytes> = known.headers.into_iter().map(|header| (keccak256(&header), header)).collect();
        let mut read = locked(&self.read);
        while by_hash.get(&read.next.1.clone()).is_some_and(|header| read.take(header)) {}
    }

    /// Round trips so far.
    pub fn round_trips(&self) -> u64 {
        locked(&self.read).round_trips
    }

    /// Hash of an ancestor of the anchor, as far as it was read.
    pub fn ancestor(&self, number: u64) -> Option<B256> {
        locked(&self.read).hashes.get(&number).copied()
    }

    /// The ancestors that were read.
    pub(crate) fn ancestors(&self) -> Ancestors {
        locked(&self.read).clone()
    }

    /// Remembers whose storage hangs at a hashed address.
    pub(crate) fn looked_at(&self, key: B256, address: Address) {
        locked(&self.addresses).insert(key, address);
    }

    /// The address behind a hashed one that was looked at.
    pub(crate) fn address_of(&self, key: &B256) -> Option<Address> {
        locked(&self.addresses).get(key).copied()
    }

    /// Waits until all that is being read now is shown. Reads that begin later are not waited for.
    pub(crate) fn settle(&self) {
        let mut under_way = locked(&self.under_way);
        let end = under_way.next;
        while under_way.numbers.first().is_some_and(|first| *first < end) {
            under_way = self.finished.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A state with changes in the form that has a root, reading what is needed for that.
    pub(crate) fn settle_state(&self, state: &StateTrie) -> Result<StateTrie> {
        for _ in 0..ROUNDS_MAX {
            let sink = Sink::default();
            let settled = settled(state, self, &sink);
            let misses = taken(&sink);
            if misses.is_empty() {
                return settled;
            }
            self.supply(state, &misses)?;
        }
        Err(endless())
    }

    fn turn(&self) -> Turn<'_> {
        let mut under_way = locked(&self.under_way);
        let number = under_way.next;
        under_way.next += 1;
        under_way.numbers.insert(number);
        Turn(self, number)
    }

    /// Asks; codes and headers are taken over, nodes come back by their hash.
    fn ask(&self, ask: &Ask) -> Result<Pool> {
        let answer = self.reader.read(&self.anchor, ask)?;
        for code in answer.codes {
            self.codes.store().insert(code);
        }
        let mut read = locked(&self.read);
        read.round_trips += 1;
        for header in answer.headers {
            let number = read.next.0;
            if !read.take(&header) {
                return Err(wrong(format!("what was answered as block {number} is another")));
            }
        }
        Ok(answer.nodes.into_iter().map(|node| (keccak256(&node), node)).collect())
    }

    /// Shows what was missed in `state`, asking for all that is not at hand at once.
    pub(crate) fn supply(&self, state: &StateTrie, misses: &Misses) -> Result<()> {
        let _turn = self.turn();
        let mut wanted: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
        let slots = misses.slots.iter().map(|(address, slot)| (*address, Some(*slot)));
        for (address, slot) in misses.accounts.iter().map(|address| (*address, None)).chain(slots) {
            if show(state, address, slot, &|_| None).is_err() {
                wanted.entry(address).or_default().extend(slot);
            }
        }
        let codes = misses.codes.iter().filter(|(hash, _)| !self.codes.has(**hash));
        let hidden = |waiting: &Waiting| !state.reveal_waiting(waiting, &|_| None);
        let mut ask = Ask {
            accounts: wanted.into_iter().collect(),
            codes: codes.map(|(hash, address)| (*address, *hash)).collect(),
            nodes: misses
                .siblings
                .iter()
                .map(|(waiting, _)| waiting)
                .filter(|one| hidden(one))
                .map(|one| one.hash)
                .collect(),
            headers: misses.lowest_header.and_then(|lowest| {
                let highest = locked(&self.read).next.0;
                (lowest <= highest && self.ancestor(lowest).is_none()).then_some((highest, lowest))
            }),
        };
        let asks = !(ask.accounts.is_empty() && ask.codes.is_empty() && ask.nodes.is_empty() && ask.headers.is_none());
        let answered = if asks { self.ask(&ask)? } else { Pool::default() };
        let pool = |hash: &B256| answered.get(hash).cloned();
        for (address, slots) in std::mem::take(&mut ask.accounts) {
            for slot in std::iter::once(None).chain(slots.into_iter().map(Some)) {
                show(state, address, slot, &pool).map_err(|hash| {
                    wrong(format!(
                        "the proof of account {address} lacks the node {hash}: it does not reach the state root"
                    ))
                })?;
            }
        }
        if let Some((address, hash)) = ask.codes.iter().find(|(_, hash)| !self.codes.has(*hash)) {
            return Err(wrong(format!("the code of account {address} does not have the hash {hash}")));
        }
        let lowest = ask.headers.map(|(_, lowest)| lowest);
        if let Some(number) = lowest.filter(|number| self.ancestor(*number).is_none()) {
            return Err(CoreError::new("remote_unavailable", format!("the hash of block {number} was not answered")));
        }
        let left = misses.siblings.iter().filter(|(waiting, _)| !state.reveal_waiting(waiting, &pool));
        self.search_siblings(state, &left.copied().collect::<Vec<_>>())
    }

    /// Nodes that were not answered by hash: by the proof of a key that leads to them.
    fn search_siblings(&self, state: &StateTrie, siblings: &[(Waiting, Option<Address>)]) -> Result<()> {
        let mut ask = Ask::default();
        for (waiting, address) in siblings {
            match (waiting.account, address) {
                (None, _) => ask.accounts.push((searched(waiting, |bytes| Address::from_slice(&bytes[12..]))?, vec![])),
                (Some(_), Some(address)) => {
                    ask.accounts.push((*address, vec![searched(waiting, |bytes| U256::from_be_bytes(bytes))?]));
                }
                (Some(account), None) => {
                    return Err(CoreError::internal(format!(
                        "the address of the changed account {account} is not known"
                    )));
                }
            }
        }
        if ask.accounts.is_empty() {
            return Ok(());
        }
        let pool = self.ask(&ask)?;
        match siblings.iter().find(|(waiting, _)| !state.reveal_waiting(waiting, &|hash| pool.get(hash).cloned())) {
            None => Ok(()),
            Some((waiting, _)) => {
                Err(wrong(format!("the proof of a key beside a deletion lacks the node {}", waiting.hash)))
            }
        }
    }
}

fn wrong(message: String) -> CoreError {
    CoreError::new("remote_proof_wrong", message)
}

fn show(
    state: &StateTrie,
    address: Address,
    slot: Option<U256>,
    pool: &dyn Fn(&B256) -> Option<Bytes>,
) -> std::result::Result<(), B256> {
    state.reveal_account(address, pool)?;
    slot.map_or(Ok(()), |slot| state.reveal_slot(address, slot, pool))
}

/// A key whose hash leads to a waiting node.
fn searched<K: AsKey + Send>(waiting: &Waiting, key: impl Fn([u8; 32]) -> K + Sync) -> Result<K> {
    let depth = waiting.depth;
    let unknown = || {
        let message = format!(
            "sealing needs the node {} beside a deletion, {depth} nibbles deep; the node does not answer by hash \
             (debug_dbGet) and a key that deep is not searched for",
            waiting.hash
        );
        CoreError::new("remote_sibling_unknown", message)
    };
    if depth > SEARCH_NIBBLES_MAX {
        return Err(unknown());
    }
    let leads = |hash: B256| {
        let whole = depth / 2;
        hash[..whole] == waiting.prefix[..whole]
            && (depth.is_multiple_of(2) || hash[whole] >> 4 == waiting.prefix[whole] >> 4)
    };
    let tries = SEARCH_FACTOR << (4 * depth);
    let found = (0..tries).into_par_iter().find_any(|number| leads(key(U256::from(*number).to_be_bytes()).hashed()));
    found.map(|number| key(U256::from(number).to_be_bytes())).ok_or_else(unknown)
}

/// What a trie's keys are hashed from.
trait AsKey {
    fn hashed(&self) -> B256;
}

impl AsKey for Address {
    fn hashed(&self) -> B256 {
        keccak256(self)
    }
}

impl AsKey for U256 {
    fn hashed(&self) -> B256 {
        keccak256(self.to_be_bytes::<32>())
    }
}

impl Rollup {
    /// A rollup whose head is a block of which the header is known, and the state is where the reader reads. Of the genesis file the
    /// rules alone are taken.
    ///
    /// # Errors
    /// `genesis_malformed`, `genesis_fork_unsupported`; `remote_anchor_malformed`; store errors.
    pub fn remote(
        genesis_json: &[u8],
        store: Store,
        anchor_rlp: &[u8],
        reader: Box<dyn Reader>,
        genesis_hash: B256,
        known: Known,
    ) -> Result<Self> {
        let chain = Genesis::parse(genesis_json)?.chain;
        let mut rest = anchor_rlp;
        let malformed = || CoreError::new("remote_anchor_malformed", "the anchor is not the RLP of a block header");
        let header = Header::decode(&mut rest).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let hash = keccak256(anchor_rlp);
        let codes = Codes::default();
        let remote = Remote::new(reader, header.clone(), hash, codes.clone(), Ancestors::below(&header));
        let state = StateTrie::hidden(header.state_root);
        remote.learn(&state, known);
        let head = Arc::new(Sealed { header, hash, state, body: None });
        let rollup = Self::start(chain, genesis_hash, codes, head, BTreeMap::new(), store)?;
        Ok(rollup.with_remote(Arc::new(remote)))
    }
}

impl Session {
    /// Does one step completely: on remote state as often as it misses something. A failed step leaves the session as it was.
    ///
    /// # Errors
    /// Those of the step; `remote_unavailable`, `remote_proof_wrong`, `remote_sibling_unknown`.
    pub fn complete<T>(&mut self, step: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        let Some(remote) = self.remote().cloned() else { return step(self) };
        for _ in 0..ROUNDS_MAX {
            let mut attempt = self.fork();
            let sink = attempt.watch();
            let result = step(&mut attempt);
            let misses = taken(&sink);
            if misses.is_empty() {
                *self = attempt;
                return result;
            }
            remote.supply(self.base_state(), &misses)?;
        }
        Err(endless())
    }

    /// Reads ahead, in one round trip: accounts with slots, the accounts that the transactions name, and all of their codes.
    ///
    /// # Errors
    /// As [`Session::complete`]. Does nothing where the state is at hand.
    pub fn prefetch(&mut self, keys: &[(Address, Vec<U256>)], transactions: &[Arc<Transaction>]) -> Result<()> {
        if self.remote().is_none() {
            return Ok(());
        }
        let mut all: BTreeMap<Address, BTreeSet<U256>> =
            ALWAYS_READ.iter().map(|address| (*address, BTreeSet::new())).collect();
        for (address, slots) in keys {
            all.entry(*address).or_default().extend(slots);
        }
        for transaction in transactions {
            for (address, slots) in transaction.named() {
                all.entry(address).or_default().extend(slots);
            }
        }
        self.complete(|attempt| {
            for (address, slots) in &all {
                if let Some(account) = attempt.account(*address) {
                    attempt.code(account.code_hash);
                }
                for slot in slots {
                    attempt.slot(*address, *slot);
                }
            }
            Ok(())
        })
    }
}

/// What was noted, which is then forgotten.
pub(crate) fn taken(sink: &Sink) -> Misses {
    std::mem::take(&mut *locked(sink))
}

/// A step that needs more rounds than are allowed.
pub(crate) fn endless() -> CoreError {
    CoreError::new("remote_unavailable", format!("a step missed something new {ROUNDS_MAX} times in a row"))
}

/// What a look-up in a state that may be remote gives; what is hidden counts as absent and is noted.
pub(crate) fn known<T>(found: Found<T>, note: impl FnOnce()) -> Option<T> {
    match found {
        Found::Value(value) => Some(value),
        Found::Absent => None,
        Found::Hidden(_) => {
            note();
            None
        }
    }
}
