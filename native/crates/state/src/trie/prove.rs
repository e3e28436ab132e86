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
        while let Node::Hidden(hidden) = node {
            match hidden.node.get() {
                Some(shown) => node = shown,
                None => return nodes,
            }
        }
        if depth == 0 || !reference(node, depth).is_inline() {
            nodes.push(with_encoded(node, depth, Bytes::copy_from_slice));
        }
        match node {
            Node::Hidden(_) => return nodes,
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

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, U256};
    use alloy_trie::proof::verify_proof;
    use alloy_trie::Nibbles;

    use crate::trie::Trie;

    /// Nodes shorter than 32 bytes stand in their parent and are not listed again; such proofs verify, for present and absent keys.
    /// Hashed keys never share so long a prefix, hence keys made by hand.
    #[test]
    fn inline_nodes_are_not_repeated() {
        let key = |number: u8| {
            let mut key = B256::repeat_byte(0x77);
            key[31] = number;
            key
        };
        let entries = [0x10, 0x11, 0x25, 0x80, 0x81, 0x8f].map(|number| (key(number), U256::from(number)));
        let trie = Trie::from_sorted(entries.into_iter());
        for number in 0..=u8::MAX {
            let nodes = trie.prove(&key(number));
            assert!(nodes[1..].iter().all(|node| node.len() >= 32), "an inline node is listed");
            let expected = trie.get(&key(number)).map(alloy_rlp::encode);
            assert!(verify_proof(trie.root(), Nibbles::unpack(key(number)), expected, &nodes).is_ok());
        }
    }
}
