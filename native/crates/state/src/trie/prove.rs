//! Merkle proofs: the RLP of the nodes on the way to a key.

use alloy_primitives::{Bytes, B256};

use super::hash::{reference, with_encoded};
use super::node::{nibble, shared_nibbles, Node, Value};

/// Nodes from `root` to the leaf of `key`, or to the node that shows its absence. A node that stands inline in its parent is not
/// repeated (as in EIP-1186 and op-geth).
pub(super) fn prove<V: Value>(root: &Node<V>, key: &B256) -> Vec<Bytes> {
    let mut nodes = Vec::new();
    let mut node = root;
    let mut depth = 0;
    loop {
        if depth == 0 || !reference(node, depth).is_inline() {
            nodes.push(with_encoded(node, depth, Bytes::copy_from_slice));
        }
        match node {
            Node::Leaf(_) => return nodes,
            Node::Extension(extension) => {
                if shared_nibbles(key, &extension.key, depth) < extension.length {
                    return nodes;
                }
                depth += extension.length;
                node = &extension.child;
            }
            Node::Branch(branch) => {
                let bit = 1_u16 << nibble(key, depth);
                let mask = branch.header.header.mask;
                if mask & bit == 0 {
                    return nodes;
                }
                depth += 1;
                node = &branch.slice[(mask & (bit - 1)).count_ones() as usize];
            }
        }
    }
}
