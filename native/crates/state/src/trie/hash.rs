//! Node encoding (RLP) and hashing.
//!
//! A node's *reference* is what its parent holds: the keccak-256 of its RLP, or the RLP itself when that is shorter than 32 bytes
//! (Yellow Paper appendix D, function c).

use alloy_primitives::{keccak256, B256, U256};
use rayon::prelude::*;

use super::node::{nibble, Node, Value, KEY_NIBBLES};

/// The longest node: a branch of 16 hashes, an empty value and the list header.
const NODE_BYTES_MAX: usize = 3 + 16 * 33 + 1;

/// A subtree with fewer entries than this is hashed by one thread.
const PARALLEL_HASH_MIN: u64 = 512;

/// Hash of a node, or its RLP when shorter than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRef {
    /// 32 for a hash, otherwise the length of the RLP.
    length: u8,
    bytes: [u8; 32],
}

impl NodeRef {
    fn of(encoded: &[u8]) -> Self {
        if encoded.len() >= 32 {
            return Self { length: 32, bytes: keccak256(encoded).0 };
        }
        let mut bytes = [0; 32];
        bytes[..encoded.len()].copy_from_slice(encoded);
        Self { length: encoded.len() as u8, bytes }
    }

    /// The reference of a node known by its hash.
    pub(super) fn hashed(hash: B256) -> Self {
        Self { length: 32, bytes: hash.0 }
    }

    /// True when the node's RLP stands in its parent instead of a hash.
    pub(super) fn is_inline(&self) -> bool {
        self.length < 32
    }
}

/// A node's RLP under construction, on the stack; the list header is put in front at the end.
pub(crate) struct EncodeBuffer {
    bytes: [u8; NODE_BYTES_MAX],
    length: usize,
}

/// Room for the longest list header of a node.
const HEADER_ROOM: usize = 3;

impl EncodeBuffer {
    fn new() -> Self {
        Self { bytes: [0; NODE_BYTES_MAX], length: HEADER_ROOM }
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends an RLP string of fewer than 56 bytes, or of up to 255.
    #[inline]
    pub(crate) fn string(&mut self, bytes: &[u8]) {
        match bytes {
            [byte] if *byte < 0x80 => {}
            _ if bytes.len() < 56 => self.push(0x80 + bytes.len() as u8),
            _ => self.extend(&[0xb8, bytes.len() as u8]),
        }
        self.extend(bytes);
    }

    #[inline]
    fn reference(&mut self, reference: &NodeRef) {
        if reference.length == 32 {
            self.push(0xa0);
        }
        self.extend(&reference.bytes[..usize::from(reference.length)]);
    }

    /// The payload so far as an RLP list.
    fn finish_list(&mut self) -> &[u8] {
        let payload = self.length - HEADER_ROOM;
        let start = match payload {
            0..56 => {
                self.bytes[2] = 0xc0 + payload as u8;
                2
            }
            56..256 => {
                self.bytes[1..3].copy_from_slice(&[0xf8, payload as u8]);
                1
            }
            _ => {
                self.bytes[0] = 0xf9;
                self.bytes[1..3].copy_from_slice(&(payload as u16).to_be_bytes());
                0
            }
        };
        &self.bytes[start..self.length]
    }
}

/// Appends an integer as RLP: big-endian without leading zeros.
#[inline]
pub(crate) fn encode_integer(value: &U256, out: &mut EncodeBuffer) {
    let bytes = value.to_be_bytes::<32>();
    out.string(&bytes[value.leading_zeros() / 8..]);
}

/// Appends the header of an RLP list of `payload` bytes, fewer than 256.
#[inline]
pub(crate) fn encode_list_header(payload: usize, out: &mut EncodeBuffer) {
    debug_assert!(payload < 256);
    if payload < 56 {
        out.push(0xc0 + payload as u8);
    } else {
        out.extend(&[0xf8, payload as u8]);
    }
}

/// Appends nibbles `from..to` of a key in hex-prefix encoding (Yellow Paper appendix C).
fn encode_path(key: &B256, from: usize, to: usize, is_leaf: bool, out: &mut EncodeBuffer) {
    let mut path = [0_u8; 1 + KEY_NIBBLES / 2];
    let odd = (to - from) % 2 == 1;
    path[0] = if is_leaf { 0x20 } else { 0 };
    let mut at = from;
    if odd {
        path[0] |= 0x10 | nibble(key, at) as u8;
        at += 1;
    }
    let length = 1 + (to - at) / 2;
    if at.is_multiple_of(2) {
        path[1..length].copy_from_slice(&key[at / 2..to / 2]);
    } else {
        for byte in &mut path[1..length] {
            *byte = (nibble(key, at) as u8) << 4 | nibble(key, at + 1) as u8;
            at += 2;
        }
    }
    out.string(&path[..length]);
}

/// Calls `use_encoded` with the RLP of a node at `depth`; children are hashed on the way if they were not.
pub(super) fn with_encoded<V: Value, R>(node: &Node<V>, depth: usize, use_encoded: impl FnOnce(&[u8]) -> R) -> R {
    let mut out = EncodeBuffer::new();
    match node {
        Node::Leaf(leaf) => {
            encode_path(&leaf.key, depth, KEY_NIBBLES, true, &mut out);
            let mut value = EncodeBuffer::new();
            leaf.value.encode(&mut value);
            out.string(&value.bytes[HEADER_ROOM..value.length]);
        }
        Node::Extension(extension) => {
            let below = depth + extension.length;
            encode_path(&extension.key, depth, below, false, &mut out);
            out.reference(&reference(&extension.child, below));
        }
        Node::Branch(branch) => {
            let head = &branch.header.header;
            if u64::from(head.leaf_count) + head.weight >= PARALLEL_HASH_MIN {
                hash_children(&branch.slice, depth + 1);
            }
            let mut children = branch.slice.iter();
            for index in 0..16 {
                match (head.mask >> index) & 1 {
                    0 => out.push(0x80),
                    _ => out.reference(&reference(children.next().expect("mask counts children"), depth + 1)),
                }
            }
            out.push(0x80);
        }
        Node::Hidden(hidden) => {
            let shown = hidden.node.get().expect("what is not shown has its reference and is encoded by nobody");
            return with_encoded(shown, depth, use_encoded);
        }
    }
    use_encoded(out.finish_list())
}

/// Hashes in parallel what is not hashed yet.
fn hash_children<V: Value>(children: &[Node<V>], depth: usize) {
    let new: Vec<&Node<V>> = children.iter().filter(|child| child.reference_cell().get().is_none()).collect();
    if new.len() >= 2 {
        new.into_par_iter().with_max_len(1).for_each(|child| {
            reference(child, depth);
        });
    }
}

/// A node's reference, from its cell or computed and left there.
///
/// Computed outside the cell: hashing may run other rayon tasks that want the same cell, which `get_or_init` would deadlock on.
/// Two threads may hash the same node; both get the same bytes.
#[inline]
pub(super) fn reference<V: Value>(node: &Node<V>, depth: usize) -> NodeRef {
    if let Some(known) = node.reference_cell().get() {
        return *known;
    }
    let computed = with_encoded(node, depth, NodeRef::of);
    let _ = node.reference_cell().set(computed);
    computed
}

/// Root hash of a trie: unlike inner nodes, a short root is hashed too.
pub(super) fn root_hash<V: Value>(root: &Node<V>) -> B256 {
    let known = reference(root, 0);
    match known.is_inline() {
        true => keccak256(&known.bytes[..usize::from(known.length)]),
        false => B256::new(known.bytes),
    }
}
