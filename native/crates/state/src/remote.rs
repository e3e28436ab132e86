//! A state of which the root is known, and the rest as far as proofs have shown it.
//!
//! Everything of [`StateTrie`] works on it where its nodes are shown. What may meet hidden ones goes through `find_*` before, and
//! [`StateTrie::waiting`] must be empty before [`StateTrie::root`] is asked for. Iteration and statistics see what is shown alone.

use alloy_primitives::{Bytes, B256, U256};

use crate::state::{AccountValue, StateTrie, StorageTrie};
use crate::trie::{Found, Hidden, Piece, Pool, Trie, Value};
use crate::{AccountInfo, Key};

/// A node that must be shown before the state has a root: the only child left of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Hashed address of the account in whose storage it is; None in the account trie.
    pub account: Option<B256>,
    /// Its first `depth` nibbles lead to the node.
    pub prefix: B256,
    /// Nibbles from the root.
    pub depth: usize,
    /// The node's hash.
    pub hash: B256,
}

/// What is known of a state.
pub(crate) enum Known<'a> {
    /// RLP of a node.
    Node(&'a [u8]),
    /// Fields of an account.
    Account(AccountInfo),
    /// Hash of a node of which nothing is known but that it is a branch.
    Branch(B256),
}

impl StateTrie {
    /// A state of which nothing but the root is known.
    pub fn hidden(root: B256) -> Self {
        Self { accounts: Trie::hidden(root) }
    }

    /// The account's fields, as far as that is known.
    pub fn find_account(&self, address: impl Into<Key>) -> Found<AccountInfo> {
        match self.accounts.find(&address.into().hashed()) {
            Found::Value(value) => Found::Value(value.info()),
            Found::Absent => Found::Absent,
            Found::Hidden(hash) => Found::Hidden(hash),
        }
    }

    /// Fills in the nodes on the way to an account from bytes by their hash; fails with the first hash that is missing.
    ///
    /// # Errors
    /// The hash of the node that `pool` does not have, or has malformed.
    pub fn reveal_account(&self, address: impl Into<Key>, pool: Pool<'_>) -> Result<(), B256> {
        self.accounts.reveal(&address.into().hashed(), pool)
    }

    /// The same for a slot of an account that is shown.
    ///
    /// # Errors
    /// As [`Self::reveal_account`].
    pub fn reveal_slot(&self, address: impl Into<Key>, slot: impl Into<Key>, pool: Pool<'_>) -> Result<(), B256> {
        self.storage_trie(address).slots.reveal(&slot.into().hashed(), pool)
    }

    /// Fills in a node that changes wait for, in any state that shares it; false when the pool lacks it.
    pub fn reveal_waiting(&self, waiting: &Waiting, pool: Pool<'_>) -> bool {
        let (prefix, depth) = (&waiting.prefix, waiting.depth);
        match waiting.account {
            None => self.accounts.reveal_place(prefix, depth, pool),
            Some(account) => self.storage_trie(account).slots.reveal_place(prefix, depth, pool),
        }
    }

    /// Fills in all that the pool has; `is_branch` tells which of the nodes that stay hidden are branches.
    pub fn reveal_all(&self, pool: Pool<'_>, is_branch: &dyn Fn(&B256) -> bool) {
        self.accounts.reveal_all(pool, is_branch, &mut |value| {
            value.storage().slots.reveal_all(pool, is_branch, &mut |_| {});
        });
    }

    /// Visits what is known of a state that has its root; of a storage after its account.
    ///
    /// # Errors
    /// What `visit` fails with.
    pub(crate) fn visit_known<E>(&self, visit: &mut dyn FnMut(Known<'_>) -> Result<(), E>) -> Result<(), E> {
        self.accounts.visit_known(&mut |piece| match piece {
            Piece::Node(rlp) => visit(Known::Node(rlp)),
            Piece::Branch(hash) => visit(Known::Branch(hash)),
            Piece::Entry(value) => {
                visit(Known::Account(value.info()))?;
                value.storage().slots.visit_known(&mut |piece| match piece {
                    Piece::Node(rlp) => visit(Known::Node(rlp)),
                    Piece::Branch(hash) => visit(Known::Branch(hash)),
                    Piece::Entry(_) => Ok(()),
                })
            }
        })
    }

    /// The nodes that changes made wait for, filled in from the pool where it has them.
    pub fn waiting(&self, pool: Pool<'_>) -> Vec<Waiting> {
        let mut all = Vec::new();
        let mut tries = Vec::new();
        self.accounts
            .visit_new(&mut |hidden| all.extend(missing(hidden, None, pool)), &mut |key, value: &AccountValue| {
                tries.push((*key, value.storage()))
            });
        for (key, storage) in &tries {
            storage.slots.visit_new(&mut |hidden| all.extend(missing(hidden, Some(*key), pool)), &mut |_, _| {});
        }
        all
    }

    /// The same state in the form that has a root; nothing may be [`Self::waiting`].
    #[must_use]
    pub fn settled(&self) -> Self {
        let storage = |value: &AccountValue| {
            let slots = value.storage().slots.settled(&|_: &U256| None)?;
            Some(AccountValue::new(value.info(), StorageTrie { slots }))
        };
        self.accounts.settled(&storage).map_or_else(|| self.clone(), |accounts| Self { accounts })
    }
}

impl StorageTrie {
    /// The value of a slot, as far as that is known.
    pub fn find(&self, slot: impl Into<Key>) -> Found<U256> {
        match self.slots.find(&slot.into().hashed()) {
            Found::Value(value) => Found::Value(*value),
            Found::Absent => Found::Absent,
            Found::Hidden(hash) => Found::Hidden(hash),
        }
    }
}

fn missing<V: Value>(
    hidden: &Hidden<V>,
    account: Option<B256>,
    pool: &dyn Fn(&B256) -> Option<Bytes>,
) -> Option<Waiting> {
    let (prefix, depth, hash) = hidden.place();
    (!hidden.has_form(pool)).then_some(Waiting { account, prefix, depth, hash })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{load_known, write_known};
    use crate::{AccountChange, AccountFate, CodeStore, Key, StateChanges};

    /// Keys of few distinct nibbles: runs, branches below them, and what parts from both.
    fn key() -> impl Strategy<Value = B256> {
        (prop::collection::vec(0_u8..2, 5), 0_u8..3).prop_map(|(nibbles, last)| {
            let mut key = B256::repeat_byte(0x77);
            for (at, nibble) in nibbles.into_iter().enumerate() {
                key[at] = 0x10 * nibble + 1;
            }
            key[31] = last;
            key
        })
    }

    type Slots = BTreeMap<B256, u64>;
    type Accounts = BTreeMap<B256, (u64, Slots)>;

    fn slots() -> impl Strategy<Value = Slots> {
        // Large values, since small ones would stand in their parent; zero deletes.
        prop::collection::btree_map(key(), (0_u64..4).prop_map(|value| value << 50), 0..6)
    }

    fn changes(accounts: &Accounts) -> StateChanges {
        let change = |(key, (nonce, slots)): (&B256, &(u64, Slots))| AccountChange {
            address: Key::Hashed(*key),
            fate: AccountFate::Set(AccountInfo { nonce: *nonce, ..Default::default() }),
            storage_wiped: false,
            slots: slots.iter().map(|(slot, value)| (Key::Hashed(*slot), U256::from(*value))).collect(),
        };
        accounts.iter().map(change).collect()
    }

    fn nodes(state: &StateTrie) -> HashMap<B256, Bytes> {
        state.root();
        let mut nodes = HashMap::new();
        let visited: Result<(), ()> = state.visit_known(&mut |piece| {
            if let Known::Node(rlp) = piece {
                nodes.insert(keccak256(rlp), Bytes::copy_from_slice(rlp));
            }
            Ok(())
        });
        visited.expect("nothing fails");
        nodes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Taking changes back needs no node that making them did not need, also when what was known went through a file.
        #[test]
        fn changes_of_a_partly_known_state_are_taken_back_without_asking(
            held in prop::collection::btree_map(key(), (1_u64..9, slots()), 1..24),
            rounds in prop::collection::vec(prop::collection::btree_map(key(), (1_u64..9, slots()), 1..5), 1..4),
        ) {
            let whole = StateTrie::default().apply(changes(&held));
            let nodes = nodes(&whole);
            let pool = |hash: &B256| nodes.get(hash).cloned();
            let old = StateTrie::hidden(whole.root());
            let (mut states, mut expected) = (vec![old.clone()], whole.clone());
            for round in &rounds {
                let last = states.last().cloned().unwrap_or_default();
                for (account, (_, slots)) in round {
                    last.reveal_account(*account, &pool).unwrap();
                    for slot in slots.keys() {
                        last.reveal_slot(*account, *slot, &pool).unwrap();
                    }
                }
                let next = last.apply(changes(round));
                prop_assert!(next.waiting(&pool).is_empty());
                expected = expected.apply(changes(round));
                states.push(next.settled());
                prop_assert_eq!(states[states.len() - 1].root(), expected.root());
            }
            let records: Vec<StateChanges> = states.windows(2).map(|pair| pair[1].changes_back_to(&pair[0])).collect();
            let folder = tempfile::tempdir().unwrap();
            let (path, codes) = (folder.path().join("known"), CodeStore::default());
            let head = states[states.len() - 1].clone();
            write_known(&path, &head, &codes, b"header").unwrap();
            let (loaded, header) = load_known(&path, &codes).unwrap();
            prop_assert_eq!(&header[..], b"header");
            for mut state in [head, loaded] {
                for (record, below) in records.iter().zip(&states).rev() {
                    state = state.apply(record.clone());
                    prop_assert!(state.waiting(&|_| None).is_empty(), "a record leads where a node is missing");
                    prop_assert_eq!(state.settled().root(), below.root());
                }
            }
        }
    }
}
