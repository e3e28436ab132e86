//! Subtrees of which the hash alone is known, and their content once a proof shows it.
//!
//! A hidden node is filled in place when bytes of its hash arrive; every version that shares it sees the content at once, since the
//! hash says what it must be. Bytes are taken only if they hash to what is asked for, so nothing has to be believed.
//! An update that removes all but a hidden child of a branch cannot tell what the branch becomes (Yellow Paper appendix D has no
//! branch with one child): the branch stays as it is and *waits* until the child is shown. A trie with such branches has no root.
//! What hung below a run is known to be a branch, also where an insertion parted the run: nothing waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use alloy_primitives::{Bytes, B256};
use triomphe::Arc;

use super::hash::{reference, with_encoded, NodeRef};
use super::node::{nibble, shared_nibbles, Leaf, Node, Value, KEY_NIBBLES};

/// A subtree known by hash.
#[derive(Debug)]
pub(crate) struct Hidden<V> {
    pub(super) reference: OnceLock<NodeRef>,
    pub(super) hash: B256,
    /// Its first `depth` nibbles lead here.
    pub(super) prefix: B256,
    pub(super) depth: usize,
    /// Known to be a branch, whatever is in it: it was found below a run.
    is_branch: AtomicBool,
    pub(super) node: OnceLock<Node<V>>,
}

/// Bytes by their keccak-256, as far as they are at hand.
pub(crate) type Pool<'a> = &'a dyn Fn(&B256) -> Option<Bytes>;

/// What a look-up in a partly known trie gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// The entry's value.
    Value(T),
    /// There is no such entry.
    Absent,
    /// The node of this hash would tell.
    Hidden(B256),
}

impl<V: Value> Hidden<V> {
    pub(super) fn new(hash: B256, prefix: B256, depth: usize) -> Arc<Self> {
        let reference = OnceLock::from(NodeRef::hashed(hash));
        Arc::new(Self { reference, hash, prefix, depth, is_branch: AtomicBool::new(false), node: OnceLock::new() })
    }

    /// Whether it is known to be a branch although it is not shown.
    pub(super) fn is_branch(&self) -> bool {
        self.is_branch.load(Ordering::Relaxed)
    }

    /// Whether nothing can be said of its form.
    pub(super) fn is_formless(&self) -> bool {
        self.node.get().is_none() && !self.is_branch()
    }

    /// Whether its form is known, if need be from the pool.
    pub(crate) fn has_form(&self, pool: Pool<'_>) -> bool {
        self.is_branch() || self.shown(pool)
    }

    /// Prefix, its length in nibbles, and hash.
    pub(crate) fn place(&self) -> (B256, usize, B256) {
        (self.prefix, self.depth, self.hash)
    }

    /// The content, filled in from the pool when it was not; false when the pool lacks it or has no node under this hash.
    pub(crate) fn shown(&self, pool: Pool<'_>) -> bool {
        if self.node.get().is_some() {
            return true;
        }
        let decoded = pool(&self.hash).and_then(|bytes| decode(&bytes, &self.prefix, self.depth));
        match decoded {
            Some(node) => {
                let _ = self.node.set(node);
                true
            }
            None => false,
        }
    }
}

/// Looks a key up.
pub(super) fn find<'a, V>(root: &'a Node<V>, key: &B256) -> Found<&'a V> {
    match walk(root, key, |_| false) {
        Ok(Some(value)) => Found::Value(value),
        Ok(None) => Found::Absent,
        Err(hash) => Found::Hidden(hash),
    }
}

/// Fills in the nodes on the way to a key; fails with the hash that the pool lacks.
pub(super) fn reveal<V: Value>(root: &Node<V>, key: &B256, pool: Pool<'_>) -> Result<(), B256> {
    walk(root, key, |hidden| hidden.shown(pool)).map(|_| ())
}

fn walk<'a, V>(root: &'a Node<V>, key: &B256, show: impl Fn(&Hidden<V>) -> bool) -> Result<Option<&'a V>, B256> {
    let mut node = root;
    let mut depth = 0;
    loop {
        match node {
            Node::Leaf(leaf) => return Ok((leaf.key == *key).then_some(&leaf.value)),
            Node::Extension(extension) => {
                if shared_nibbles(key, &extension.key, depth) < extension.length {
                    return Ok(None);
                }
                depth += extension.length;
                node = &extension.child;
            }
            Node::Branch(branch) => {
                let bit = 1_u16 << nibble(key, depth);
                let mask = branch.header.header.mask;
                if mask & bit == 0 {
                    return Ok(None);
                }
                depth += 1;
                node = &branch.slice[(mask & (bit - 1)).count_ones() as usize];
            }
            Node::Hidden(hidden) => match hidden.node.get() {
                Some(shown) => node = shown,
                None if show(hidden) => {}
                None => return Err(hidden.hash),
            },
        }
    }
}

/// Fills in the hidden node that the first `depth` nibbles of `prefix` lead to; false when the pool lacks it or it is not there.
pub(super) fn reveal_place<V: Value>(root: &Node<V>, prefix: &B256, depth: usize, pool: Pool<'_>) -> bool {
    let mut node = root;
    let mut at = 0;
    loop {
        match node {
            Node::Leaf(_) => return false,
            Node::Extension(extension) => {
                if shared_nibbles(prefix, &extension.key, at) < extension.length {
                    return false;
                }
                at += extension.length;
                node = &extension.child;
            }
            Node::Branch(branch) => {
                let mask = branch.header.header.mask;
                if at >= depth || mask & 1 << nibble(prefix, at) == 0 {
                    return false;
                }
                let bit = 1_u16 << nibble(prefix, at);
                at += 1;
                node = &branch.slice[(mask & (bit - 1)).count_ones() as usize];
            }
            Node::Hidden(hidden) if at == depth => return hidden.shown(pool),
            Node::Hidden(hidden) => match hidden.node.get() {
                Some(shown) => node = shown,
                None => return false,
            },
        }
    }
}

/// Fills in all that the pool has, from here down; `is_branch` tells which of the rest are branches, `leaf` sees every entry.
pub(super) fn reveal_all<V: Value>(
    node: &Node<V>,
    pool: Pool<'_>,
    is_branch: &dyn Fn(&B256) -> bool,
    leaf: &mut dyn FnMut(&V),
) {
    match node {
        Node::Leaf(found) => leaf(&found.value),
        Node::Extension(extension) => reveal_all(&extension.child, pool, is_branch, leaf),
        Node::Branch(branch) => branch.slice.iter().for_each(|child| reveal_all(child, pool, is_branch, leaf)),
        Node::Hidden(hidden) => {
            if hidden.shown(pool) {
                hidden.node.get().into_iter().for_each(|shown| reveal_all(shown, pool, is_branch, leaf));
            } else if is_branch(&hidden.hash) {
                hidden.is_branch.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What is known of a subtree, from its root down.
pub(crate) enum Piece<'a, V> {
    /// RLP of a node that has a hash of its own.
    Node(&'a [u8]),
    /// An entry.
    Entry(&'a V),
    /// Hash of a hidden node that is known to be a branch and does not hang below a run.
    Branch(B256),
}

/// Visits what is known; everything must be hashed.
pub(super) fn visit_known<V: Value, E>(
    node: &Node<V>,
    depth: usize,
    visit: &mut dyn FnMut(Piece<'_, V>) -> Result<(), E>,
) -> Result<(), E> {
    if let Node::Hidden(hidden) = node {
        return hidden.node.get().map_or(Ok(()), |shown| visit_known(shown, depth, visit));
    }
    if depth == 0 || !reference(node, depth).is_inline() {
        with_encoded(node, depth, |bytes| visit(Piece::Node(bytes)))?;
    }
    match node {
        Node::Leaf(leaf) => visit(Piece::Entry(&leaf.value)),
        Node::Extension(extension) => visit_known(&extension.child, depth + extension.length, visit),
        Node::Branch(branch) => branch.slice.iter().try_for_each(|child| match child {
            Node::Hidden(hidden) if hidden.node.get().is_none() && hidden.is_branch() => {
                visit(Piece::Branch(hidden.hash))
            }
            child => visit_known(child, depth + 1, visit),
        }),
        Node::Hidden(_) => Ok(()),
    }
}

/// Visits what was never hashed: hidden only children through `waiting`, leaves through `leaf`.
pub(super) fn visit_new<'a, V>(
    node: &'a Node<V>,
    waiting: &mut impl FnMut(&'a Arc<Hidden<V>>),
    leaf: &mut impl FnMut(&'a Leaf<V>),
) {
    if node.reference_cell().get().is_some() {
        return;
    }
    match node {
        Node::Leaf(found) => leaf(found),
        Node::Extension(extension) => visit_new(&extension.child, waiting, leaf),
        Node::Branch(branch) => {
            if let [Node::Hidden(only)] = &branch.slice {
                waiting(only);
            }
            branch.slice.iter().for_each(|child| visit_new(child, waiting, leaf));
        }
        Node::Hidden(_) => {}
    }
}

/// The subtree without waiting branches, whose children must be shown; None when it has none. `leaf` may replace values.
pub(super) fn settled<V: Value>(node: &Node<V>, depth: usize, leaf: &impl Fn(&V) -> Option<V>) -> Option<Node<V>> {
    if node.reference_cell().get().is_some() {
        return None;
    }
    match node {
        Node::Leaf(found) => leaf(&found.value).map(|value| Node::Leaf(Leaf::new(found.key, value))),
        Node::Extension(extension) => {
            let child = settled(&extension.child, depth + extension.length, leaf)?;
            Some(child.lifted(depth, extension.length))
        }
        Node::Branch(branch) => {
            if let [only] = &branch.slice {
                let child = settled(only, depth + 1, leaf).unwrap_or_else(|| only.clone());
                return Some(child.lifted(depth, 1));
            }
            let new: Vec<_> = branch.slice.iter().map(|child| settled(child, depth + 1, leaf)).collect();
            if new.iter().all(Option::is_none) {
                return None;
            }
            let mut children = [const { None }; 16];
            let mut mask = branch.header.header.mask;
            for (child, new) in branch.slice.iter().zip(new) {
                children[mask.trailing_zeros() as usize] = Some(new.unwrap_or_else(|| child.clone()));
                mask &= mask - 1;
            }
            Some(Node::branch(children))
        }
        Node::Hidden(_) => None,
    }
}

/// One RLP item: its payload and whether it is a list.
struct Item<'a> {
    whole: &'a [u8],
    payload: &'a [u8],
    is_list: bool,
}

/// Takes the first item off; strict about lengths, lenient about their encoding: the hash was right.
fn take<'a>(input: &mut &'a [u8]) -> Option<Item<'a>> {
    let first = *input.first()?;
    let (head, length) = match first {
        0..=0x7f => (0, 1),
        0x80..=0xb7 => (1, usize::from(first - 0x80)),
        0xc0..=0xf7 => (1, usize::from(first - 0xc0)),
        0xb8..=0xbf | 0xf8..=0xff => {
            let count = usize::from(first & 7) + 1;
            let bytes = input.get(1..=count).filter(|bytes| bytes.len() <= 3)?;
            (1 + count, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    let whole = input.get(..head + length)?;
    *input = &input[head + length..];
    Some(Item { whole, payload: &whole[head..], is_list: first >= 0xc0 })
}

/// The strings or lists of an RLP list.
pub(crate) fn strings(list: &[u8]) -> Option<Vec<&[u8]>> {
    Some(items(list)?.into_iter().map(|item| item.payload).collect())
}

fn items(list: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut input = list;
    let outer = take(&mut input).filter(|outer| outer.is_list && input.is_empty())?;
    let mut rest = outer.payload;
    let mut found = Vec::with_capacity(17);
    while !rest.is_empty() {
        found.push(take(&mut rest)?);
    }
    Some(found)
}

/// The payload of one RLP string that is all there is.
pub(crate) fn string(mut input: &[u8]) -> Option<&[u8]> {
    let item = take(&mut input)?;
    (input.is_empty() && !item.is_list).then_some(item.payload)
}

/// A node from its RLP, at `depth` below the first nibbles of `prefix`.
fn decode<V: Value>(bytes: &[u8], prefix: &B256, depth: usize) -> Option<Node<V>> {
    let parts = items(bytes)?;
    match &parts[..] {
        [path, value] => {
            let first = *path.payload.first()?;
            let odd = usize::from(first >> 4 & 1);
            let length = 2 * (path.payload.len() - 1) + odd;
            if depth + length > KEY_NIBBLES || first >> 4 > 3 {
                return None;
            }
            let mut key = *prefix;
            for at in 0..length {
                // The nibbles of the path begin with the second one of its first byte, or with its second byte.
                let place = at + 2 - odd;
                let byte = path.payload[place / 2];
                set_nibble(&mut key, depth + at, if place % 2 == 0 { byte >> 4 } else { byte & 15 });
            }
            if first & 0x20 != 0 {
                let whole = depth + length == KEY_NIBBLES;
                return whole
                    .then(|| V::decode(value.payload))
                    .flatten()
                    .map(|value| Node::Leaf(Leaf::new(key, value)));
            }
            let child = child(value, key, depth + length)??;
            if let Node::Hidden(hidden) = &child {
                hidden.is_branch.store(true, Ordering::Relaxed);
            }
            (length > 0).then(|| Node::extension(key, length, child))
        }
        _ if parts.len() == 17 && depth < KEY_NIBBLES => {
            let mut children = [const { None }; 16];
            for (index, part) in parts[..16].iter().enumerate() {
                let mut key = *prefix;
                set_nibble(&mut key, depth, index as u8);
                children[index] = child(part, key, depth + 1)?;
            }
            (children.iter().flatten().count() >= 2).then(|| Node::branch(children))
        }
        _ => None,
    }
}

/// A child by its reference: Some(None) for an absent one, None for a malformed one.
#[allow(clippy::option_option)] // three answers
fn child<V: Value>(item: &Item<'_>, prefix: B256, depth: usize) -> Option<Option<Node<V>>> {
    match (item.is_list, item.payload.len()) {
        (true, _) => decode(item.whole, &prefix, depth).map(Some),
        (false, 0) => Some(None),
        (false, 32) => Some(Some(Node::Hidden(Hidden::new(B256::from_slice(item.payload), prefix, depth)))),
        _ => None,
    }
}

fn set_nibble(key: &mut B256, at: usize, value: u8) {
    let byte = &mut key[at / 2];
    *byte = if at.is_multiple_of(2) { *byte & 0x0f | value << 4 } else { *byte & 0xf0 | value };
}
