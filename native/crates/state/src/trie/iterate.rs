//! Iteration over entries by rising key.

use alloy_primitives::B256;

use super::node::Node;

/// Entries of a trie by rising key; memory is bounded by the trie's depth.
pub(crate) struct Leaves<'a, V> {
    /// What remains of each level that is open; the deepest is last.
    levels: Vec<std::slice::Iter<'a, Node<V>>>,
}

impl<'a, V> Leaves<'a, V> {
    pub(super) fn new(root: &'a [Node<V>]) -> Self {
        Self { levels: vec![root.iter()] }
    }
}

impl<'a, V> Iterator for Leaves<'a, V> {
    type Item = (&'a B256, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.levels.last_mut()?.next() {
                None => {
                    self.levels.pop();
                }
                Some(Node::Leaf(leaf)) => return Some((&leaf.key, &leaf.value)),
                Some(Node::Extension(extension)) => self.levels.push(std::slice::from_ref(&extension.child).iter()),
                Some(Node::Branch(branch)) => self.levels.push(branch.slice.iter()),
                Some(Node::Hidden(hidden)) => {
                    self.levels.extend(hidden.node.get().map(|node| std::slice::from_ref(node).iter()))
                }
            }
        }
    }
}
