//! Account state of a rollup, its snapshot files, and the store of derived block data.
//!
//! # What is where
//! | item | is |
//! |---|---|
//! | [`StateTrie`] | a rollup's whole account state: a persistent Merkle-Patricia trie. Cloning is one reference count |
//! | [`StateChanges`] | what a sub-block or block changes, in any order; [`StateTrie::apply`] makes the next state |
//! | [`StorageTrie`] | one contract's storage; fetch it once to read many slots of the same account |
//! | [`CodeStore`] | shared, append-only map from code hash to code |
//! | [`snapshot`] | writes a state, its codes and an opaque header to one checked file; loads it in parallel |
//! | [`Store`] | headers, bodies, receipts and indexes by rollup; everything in it can be rebuilt from the decided log |
//!
//! # Invariants
//! 1. A [`StateTrie`] never changes; every operation that "changes" gives a new one that shares all untouched nodes. All types are `Send + Sync`.
//! 2. The trie is the only copy of the account state: there is no flat map beside it.
//! 3. Roots and proofs are Ethereum's (Yellow Paper appendix D, secured tries: keys are keccak-256 of address and slot).
//!    A node is hashed at most once, whoever asks first, and the hash stays with the node in every state that shares it.
//! 4. A storage slot of value zero does not exist; an account exists exactly if it was set and not deleted since
//!    (clearing empty accounts by EIP-161 is the executor's duty).
//!
//! # Threads
//! `apply`, `root`, `account_proof` and the snapshot functions use rayon. Called from inside a rayon task they may run other tasks of
//! that pool on the calling thread while they wait: a caller must not hold a lock that such a task could want.
//! Dropping the last handle of an old version frees what only it had (a few milliseconds after a block of 10,000 changes).
//!
//! # Use
//! ```
//! use alloy_primitives::{address, U256};
//! use plait_state::{AccountChange, AccountInfo, StateChanges, StateTrie};
//!
//! let alice = address!("f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
//! let genesis = StateTrie::default();
//! let mut changes = StateChanges::default();
//! changes.push(
//!     AccountChange::set(alice, AccountInfo { balance: U256::from(7), ..Default::default() })
//!         .with_slot(U256::from(1), U256::from(42)),
//! );
//! let next = genesis.apply(changes); // no hashing of nodes
//! assert_eq!(next.account(alice).unwrap().balance, U256::from(7));
//! assert_eq!(next.storage(alice, U256::from(1)), U256::from(42));
//! assert_ne!(next.root(), genesis.root()); // hashes what is new, in parallel
//! assert!(genesis.account(alice).is_none()); // the old state is untouched
//! ```
#![deny(missing_docs)]

mod account;
mod changes;
mod codes;
mod error;
mod remote;
mod state;
mod store;
mod trie;

pub mod snapshot;

pub use account::AccountInfo;
pub use changes::{AccountChange, AccountFate, Key, StateChanges};
pub use codes::CodeStore;
pub use error::{SnapshotError, StoreError};
pub use remote::Waiting;
pub use state::{AccountProof, StateStatistics, StateTrie, StorageProof, StorageTrie};
pub use store::{BlockRecord, Store, StoreStatistics, StoredBlock, Undo};
pub use trie::Found;
