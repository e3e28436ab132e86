//! The memory of recovered senders: one recovery per process and transaction, whatever the number of phases that decode it
//! (admission, gossip, prepare, process, finalize).
//!
//! What holds
//! - a sender is remembered only after a successful recovery, under keccak-256 of the full signed bytes. These hold the chain id
//!   and the signature, so the sender is a function of the key: forgetting or remembering changes no result, only its cost
//! - bounded: each shard keeps two generations; a full young one becomes the old one and what the old one held is forgotten.
//!   What is found in the old generation moves to the young one
//! - recovery runs outside of the locks; two threads that meet in the same transaction may both recover it
//!
//! Shards and buckets follow a hash with a secret of this process, so that nobody can choose transactions that share one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256};

/// Locks; more than the threads that decode at once.
const SHARDS: usize = 16;

/// Senders remembered at most by [`SENDERS`]: at least every transaction of a full pool (200,000) lies in the young generations
/// or was found there. At 53 bytes an entry and hash tables that are half to fully used, about 50 MiB.
pub const ENTRIES_MAX: usize = 1 << 19;

/// The memory that [`crate::transaction::decode_transaction`] uses.
pub static SENDERS: LazyLock<Senders> = LazyLock::new(|| Senders::new(ENTRIES_MAX));

#[derive(Default)]
struct Generations {
    young: HashMap<B256, Address>,
    old: HashMap<B256, Address>,
}

/// A bounded memory of senders.
pub struct Senders {
    shards: Vec<Mutex<Generations>>,
    secret: RandomState,
    generation_max: usize,
    recovered: AtomicU64,
    remembered: AtomicU64,
}

/// Counters of a [`Senders`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Successful recoveries since the start.
    pub recovered: u64,
    /// Recoveries that were not needed since the start.
    pub remembered: u64,
    /// Senders held now.
    pub entries: u64,
    /// Bound of `entries`.
    pub entries_max: u64,
}

impl Senders {
    /// A memory of at most `entries_max` senders (rounded down to a multiple of twice the shards, at least that).
    pub fn new(entries_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            secret: RandomState::new(),
            generation_max: (entries_max / (2 * SHARDS)).max(1),
            recovered: AtomicU64::new(0),
            remembered: AtomicU64::new(0),
        }
    }

    /// The sender of the transaction with this hash: remembered, or from `recover`, whose success is remembered.
    pub fn sender_of(&self, hash: B256, recover: impl FnOnce() -> Option<Address>) -> Option<Address> {
        let place = self.secret.hash_one(hash) as usize % SHARDS;
        if let Some(known) = self.lock(place).find(hash, self.generation_max) {
            self.remembered.fetch_add(1, Ordering::Relaxed);
            return Some(known);
        }
        let sender = recover()?;
        self.recovered.fetch_add(1, Ordering::Relaxed);
        self.lock(place).put(hash, sender, self.generation_max);
        Some(sender)
    }

    /// Forgets every sender; the counters go on. For measurements, which have to begin alike.
    pub fn forget(&self) {
        for place in 0..SHARDS {
            *self.lock(place) = Generations::default();
        }
    }

    /// Counters; the entries are counted shard by shard.
    pub fn statistics(&self) -> Statistics {
        let held = |place| {
            let shard = self.lock(place);
            shard.young.len() + shard.old.len()
        };
        Statistics {
            recovered: self.recovered.load(Ordering::Relaxed),
            remembered: self.remembered.load(Ordering::Relaxed),
            entries: (0..SHARDS).map(held).sum::<usize>() as u64,
            entries_max: (2 * SHARDS * self.generation_max) as u64,
        }
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Generations> {
        // Entries are whole whenever the lock is free, also after a panic.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, hash: B256, generation_max: usize) -> Option<Address> {
        if let Some(sender) = self.young.get(&hash) {
            return Some(*sender);
        }
        let sender = self.old.remove(&hash)?;
        self.put(hash, sender, generation_max);
        Some(sender)
    }

    fn put(&mut self, hash: B256, sender: Address, generation_max: usize) {
        if self.young.len() >= generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_recovered_again() {
        let senders = Senders::new(1024);
        for _ in 0..2 {
            assert_eq!(senders.sender_of(hash(1), || Some(sender(1))), Some(sender(1)));
            senders.forget();
        }
        let found = senders.statistics();
        assert_eq!((found.recovered, found.remembered, found.entries), (2, 0, 0));
    }

    fn hash(number: u64) -> B256 {
        alloy_primitives::keccak256(number.to_be_bytes())
    }

    fn sender(number: u64) -> Address {
        Address::from_word(hash(number))
    }

    #[test]
    fn a_sender_is_recovered_once_and_remembered_after_that() {
        let senders = Senders::new(1024);
        for _ in 0..3 {
            for number in 0..100 {
                assert_eq!(senders.sender_of(hash(number), || Some(sender(number))), Some(sender(number)));
            }
        }
        let statistics = senders.statistics();
        assert_eq!((statistics.recovered, statistics.remembered, statistics.entries), (100, 200, 100));
    }

    #[test]
    fn a_failed_recovery_is_not_remembered() {
        let senders = Senders::new(1024);
        assert_eq!(senders.sender_of(hash(1), || None), None);
        assert_eq!(senders.sender_of(hash(1), || Some(sender(1))), Some(sender(1)));
        assert_eq!(senders.statistics().recovered, 1);
    }

    #[test]
    fn the_bound_holds_under_a_flood_and_what_is_asked_for_again_stays() {
        let senders = Senders::new(256);
        for number in 0..10_000 {
            senders.sender_of(hash(number), || Some(sender(number)));
            // Never further apart than one generation of its shard can fill.
            assert_eq!(senders.sender_of(hash(0), || None), Some(sender(0)));
            let statistics = senders.statistics();
            assert!(statistics.entries <= statistics.entries_max);
        }
        assert_eq!(senders.statistics().entries_max, 256);
        assert_eq!(senders.sender_of(hash(1), || None), None);
    }

    #[test]
    fn many_threads_agree() {
        let senders = Senders::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in (0..200).cycle().take(20_000) {
                        assert_eq!(senders.sender_of(hash(number), || Some(sender(number))), Some(sender(number)));
                    }
                });
            }
        });
        let statistics = senders.statistics();
        assert_eq!(statistics.recovered + statistics.remembered, 80_000);
    }
}
