//! What two versions of a trie differ in, found without looking at what they share.

use alloy_primitives::B256;
use triomphe::Arc;

use super::iterate::Leaves;
use super::node::{nibble, Extension, Node};

/// A subtree seen from some depth: a node, or the rest of a run whose end is known.
enum Cursor<'a, V> {
    Node(&'a Node<V>),
    Run(&'a Arc<Extension<V>>, usize),
}

impl<V> Clone for Cursor<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Cursor<'_, V> {}

/// A key with its value in the new and in the old version.
pub(crate) type Difference<'a, V> = (B256, Option<&'a V>, Option<&'a V>);

/// Entries that lie in different nodes, by rising key; equal values may be among them. Costs what changed, not what there is.
pub(super) fn differences<'a, V>(new: Option<&'a Node<V>>, old: Option<&'a Node<V>>) -> Vec<Difference<'a, V>> {
    let mut found = Vec::new();
    walk(new.map(Cursor::Node), old.map(Cursor::Node), 0, &mut found);
    found
}

fn walk<'a, V>(
    new: Option<Cursor<'a, V>>,
    old: Option<Cursor<'a, V>>,
    depth: usize,
    found: &mut Vec<Difference<'a, V>>,
) {
    let (new, old) = (new.map(content), old.map(content));
    match (new, old) {
        (None, None) => {}
        (Some(new), None) => found.extend(leaves(new).map(|(key, value)| (*key, Some(value), None))),
        (None, Some(old)) => found.extend(leaves(old).map(|(key, value)| (*key, None, Some(value)))),
        (Some(Cursor::Node(new)), Some(Cursor::Node(old))) if new.is_same(old) => {}
        (Some(Cursor::Run(new, _)), Some(Cursor::Run(old, _))) if Arc::ptr_eq(new, old) => {}
        (Some(Cursor::Node(Node::Leaf(new))), Some(Cursor::Node(Node::Leaf(old)))) if new.key == old.key => {
            found.push((new.key, Some(&new.value), Some(&old.value)));
        }
        (Some(new), Some(old)) => {
            let pairs = children(new, depth).into_iter().zip(children(old, depth));
            pairs.for_each(|(new, old)| walk(new, old, depth + 1, found));
        }
    }
}

/// A node itself instead of the place where it was shown.
fn content<V>(cursor: Cursor<'_, V>) -> Cursor<'_, V> {
    match cursor {
        Cursor::Node(Node::Hidden(hidden)) => hidden.node.get().map_or(cursor, |shown| content(Cursor::Node(shown))),
        cursor => cursor,
    }
}

/// What lies under each nibble; a leaf stays itself until another one parts from it.
fn children<V>(cursor: Cursor<'_, V>, depth: usize) -> [Option<Cursor<'_, V>>; 16] {
    let mut below = [None; 16];
    match cursor {
        Cursor::Run(extension, end) => below[nibble(&extension.key, depth)] = Some(along(extension, depth, end)),
        Cursor::Node(Node::Extension(extension)) => {
            below[nibble(&extension.key, depth)] = Some(along(extension, depth, depth + extension.length));
        }
        // What nobody looked at was changed by nobody: it stands on both sides.
        Cursor::Node(Node::Hidden(_)) => {}
        Cursor::Node(Node::Leaf(leaf)) => below[nibble(&leaf.key, depth)] = Some(cursor),
        Cursor::Node(Node::Branch(branch)) => {
            let mut mask = branch.header.header.mask;
            for child in &branch.slice {
                below[mask.trailing_zeros() as usize] = Some(Cursor::Node(child));
                mask &= mask - 1;
            }
        }
    }
    below
}

/// One nibble further on a run that ends at depth `end`.
fn along<V>(extension: &Arc<Extension<V>>, depth: usize, end: usize) -> Cursor<'_, V> {
    if depth + 1 == end {
        Cursor::Node(&extension.child)
    } else {
        Cursor::Run(extension, end)
    }
}

fn leaves<V>(cursor: Cursor<'_, V>) -> Leaves<'_, V> {
    match cursor {
        Cursor::Node(node) => Leaves::new(std::slice::from_ref(node)),
        Cursor::Run(extension, _) => Leaves::new(std::slice::from_ref(&extension.child)),
    }
}
