//! The persistent Merkle-Patricia trie under both the account and the storage tries.
//!
//! A [`Trie`] is an optional root node; nodes are immutable and reference-counted, so versions share what they have in common.
//! Leaves hold their whole 32-byte key, which makes iteration, splitting and reading independent of the path walked.
//! A node's hash depends on its depth, hence a leaf or extension that moves to another depth is always a new node.
//!
//! Source: Yellow Paper appendix D (tries), appendix C (hex-prefix encoding), appendix B (RLP).

mod diff;
mod hash;
mod hidden;
mod iterate;
mod node;
mod prove;
mod update;

use alloy_primitives::Bytes;
use alloy_primitives::B256;

pub(crate) use diff::Difference;
pub(crate) use hash::{encode_integer, encode_list_header, EncodeBuffer};
pub use hidden::Found;
pub(crate) use hidden::{string, strings, Hidden, Piece, Pool};
pub(crate) use iterate::Leaves;
pub(crate) use node::Value;
use node::{Leaf, Node};
pub(crate) use update::{Resolved, Update};

use triomphe::Arc;

/// keccak-256 of the RLP of the empty string: the root of a trie without entries (Yellow Paper appendix D).
pub(crate) const EMPTY_ROOT: B256 =
    alloy_primitives::b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// A map from 32-byte keys to values with a Merkle root.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    root: Option<Node<V>>,
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Value> Trie<V> {
    /// Builds a trie from entries in strictly rising order of keys; in parallel when there are many.
    pub(crate) fn from_sorted(entries: impl Iterator<Item = (B256, V)>) -> Self {
        let mut leaves: Vec<Option<Arc<Leaf<V>>>> = entries.map(|(key, value)| Some(Leaf::new(key, value))).collect();
        Self { root: update::build(&mut leaves, 0) }
    }

    /// The value of a key.
    #[inline]
    pub(crate) fn get(&self, key: &B256) -> Option<&V> {
        self.root.as_ref()?.get(key)
    }

    /// A trie of which the root alone is known.
    pub(crate) fn hidden(root: B256) -> Self {
        Self { root: (root != EMPTY_ROOT).then(|| Node::Hidden(Hidden::new(root, B256::ZERO, 0))) }
    }

    /// Looks a key up in a trie that may be known in part.
    pub(crate) fn find(&self, key: &B256) -> Found<&V> {
        self.root.as_ref().map_or(Found::Absent, |root| hidden::find(root, key))
    }

    /// Fills in the nodes on the way to a key; fails with the first hash that the pool lacks.
    pub(crate) fn reveal(&self, key: &B256, pool: Pool<'_>) -> Result<(), B256> {
        self.root.as_ref().map_or(Ok(()), |root| hidden::reveal(root, key, pool))
    }

    /// Fills in the hidden node at a place; false when the pool lacks it or it is not there.
    pub(crate) fn reveal_place(&self, prefix: &B256, depth: usize, pool: Pool<'_>) -> bool {
        self.root.as_ref().is_some_and(|root| hidden::reveal_place(root, prefix, depth, pool))
    }

    /// Fills in all that the pool has; `is_branch` tells which of the rest are branches, `leaf` sees every entry.
    pub(crate) fn reveal_all(&self, pool: Pool<'_>, is_branch: &dyn Fn(&B256) -> bool, leaf: &mut dyn FnMut(&V)) {
        if let Some(root) = &self.root {
            hidden::reveal_all(root, pool, is_branch, leaf);
        }
    }

    /// Visits what is known, from the root down; the trie must have its root.
    pub(crate) fn visit_known<E>(&self, visit: &mut dyn FnMut(Piece<'_, V>) -> Result<(), E>) -> Result<(), E> {
        self.root.as_ref().map_or(Ok(()), |root| hidden::visit_known(root, 0, visit))
    }

    /// Visits what was never hashed: hidden nodes for which a branch waits, and leaves.
    pub(crate) fn visit_new<'a>(
        &'a self,
        waiting: &mut impl FnMut(&'a Arc<Hidden<V>>),
        leaf: &mut impl FnMut(&'a B256, &'a V),
    ) {
        if let Some(root) = &self.root {
            hidden::visit_new(root, waiting, &mut |found: &'a Leaf<V>| leaf(&found.key, &found.value));
        }
    }

    /// The trie without waiting branches, None when it has none; `leaf` may replace values that were never hashed.
    pub(crate) fn settled(&self, leaf: &impl Fn(&V) -> Option<V>) -> Option<Self> {
        let root = hidden::settled(self.root.as_ref()?, 0, leaf)?;
        Some(Self { root: Some(root) })
    }

    /// The trie after the updates, which must be sorted by key without repetition; `None` when nothing differs.
    pub(crate) fn update<U: Update<V>>(&self, updates: &mut [U]) -> Option<Self> {
        match update::update(self.root.as_ref(), updates, 0) {
            update::Change::Unchanged => None,
            update::Change::Changed(root) => Some(Self { root }),
        }
    }

    /// Merkle root; hashes every node that was never hashed, in parallel where that pays.
    pub(crate) fn root(&self) -> B256 {
        match &self.root {
            None => EMPTY_ROOT,
            Some(node) => hash::root_hash(node),
        }
    }

    /// RLP of the nodes on the way to `key`, from the root; nodes inlined into their parent are not listed on their own.
    pub(crate) fn prove(&self, key: &B256) -> Vec<Bytes> {
        self.root.as_ref().map(|root| prove::prove(root, key)).unwrap_or_default()
    }

    /// Entries by rising key.
    pub(crate) fn iter(&self) -> Leaves<'_, V> {
        Leaves::new(self.root.as_slice())
    }

    /// Entries that differ from an older version, with both values, by rising key.
    pub(crate) fn differences<'a>(&'a self, old: &'a Self) -> Vec<Difference<'a, V>> {
        diff::differences(self.root.as_ref(), old.root.as_ref())
    }

    /// Number of entries; constant time.
    pub(crate) fn len(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.leaf_count())
    }

    /// Sum of the entries' weights; constant time.
    pub(crate) fn weight(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.weight())
    }

    /// True when there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Number of nodes and the bytes that they take on the heap; walks all of them.
    pub(crate) fn nodes_and_bytes(&self) -> (u64, u64) {
        self.root.as_ref().map_or((0, 0), |root| root.nodes_and_bytes())
    }

    /// True when both are the same version (the same root node in memory).
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(left), Some(right)) => left.is_same(right),
            _ => false,
        }
    }
}
