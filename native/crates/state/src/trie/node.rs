//! Nodes of the trie.
//!
//! A branch keeps exactly as many children as it has, behind a 16-bit mask of the nibbles present: most branches of a random trie
//! have two or three. Together with leaves of 112 (slot) or 128 bytes (account) an entry costs about 160 bytes.

use std::sync::OnceLock;

use alloy_primitives::B256;
use triomphe::{Arc, HeaderSlice, ThinArc};

use super::hash::{EncodeBuffer, NodeRef};
use super::hidden::Hidden;

/// Nibbles of a key.
pub(crate) const KEY_NIBBLES: usize = 64;

/// What a leaf holds.
pub(crate) trait Value: Clone + Send + Sync {
    /// Appends the value's RLP, fewer than 256 bytes (an account has at most 110).
    fn encode(&self, out: &mut EncodeBuffer);

    /// The value of such an RLP; None when it is none.
    fn decode(rlp: &[u8]) -> Option<Self>;

    /// What the value adds to [`super::Trie::weight`].
    fn weight(&self) -> u64;
}

/// An entry of the trie.
#[derive(Debug)]
pub(crate) struct Leaf<V> {
    pub(super) reference: OnceLock<NodeRef>,
    pub(super) key: B256,
    pub(super) value: V,
}

impl<V> Leaf<V> {
    pub(super) fn new(key: B256, value: V) -> Arc<Self> {
        Arc::new(Self { reference: OnceLock::new(), key, value })
    }
}

/// A run of nibbles that all entries below share. Its child is always a branch.
#[derive(Debug)]
pub(crate) struct Extension<V> {
    pub(super) reference: OnceLock<NodeRef>,
    /// A key below; its nibbles `depth .. depth + length` are the run.
    pub(super) key: B256,
    pub(super) length: usize,
    pub(super) child: Node<V>,
}

/// What a branch knows apart from its children.
#[derive(Debug)]
pub(crate) struct BranchHead {
    pub(super) reference: OnceLock<NodeRef>,
    /// Bit n is set when there is a child for nibble n; children lie in rising order of nibbles.
    pub(super) mask: u16,
    pub(super) leaf_count: u32,
    pub(super) weight: u64,
}

/// A branch with two to sixteen children.
pub(crate) type Branch<V> = ThinArc<BranchHead, Node<V>>;

/// A reference-counted node.
#[derive(Debug)]
pub(crate) enum Node<V> {
    Leaf(Arc<Leaf<V>>),
    Extension(Arc<Extension<V>>),
    Branch(Branch<V>),
    /// Only in a state read from elsewhere.
    Hidden(Arc<Hidden<V>>),
}

impl<V> Clone for Node<V> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Extension(extension) => Self::Extension(extension.clone()),
            Self::Branch(branch) => Self::Branch(branch.clone()),
            Self::Hidden(hidden) => Self::Hidden(hidden.clone()),
        }
    }
}

/// Nibble number `depth` of a key, 0 to 15.
#[inline]
pub(super) fn nibble(key: &B256, depth: usize) -> usize {
    let byte = key[depth / 2];
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

/// Number of nibbles that two keys share from nibble `depth` on; they must agree before it.
pub(super) fn shared_nibbles(left: &B256, right: &B256, depth: usize) -> usize {
    (depth..KEY_NIBBLES).take_while(|&at| nibble(left, at) == nibble(right, at)).count()
}

impl<V> Node<V> {
    /// Where the node's hash is kept.
    #[inline]
    pub(super) fn reference_cell(&self) -> &OnceLock<NodeRef> {
        match self {
            Self::Leaf(leaf) => &leaf.reference,
            Self::Extension(extension) => &extension.reference,
            Self::Branch(branch) => &branch.header.header.reference,
            Self::Hidden(hidden) => &hidden.reference,
        }
    }

    /// The value of a key. Runs are not compared on the way: the leaf's whole key decides.
    #[inline]
    pub(super) fn get(&self, key: &B256) -> Option<&V> {
        let mut node = self;
        let mut depth = 0;
        loop {
            match node {
                Self::Leaf(leaf) => return (leaf.key == *key).then_some(&leaf.value),
                Self::Extension(extension) => {
                    depth += extension.length;
                    node = &extension.child;
                }
                Self::Branch(branch) => {
                    let bit = 1_u16 << nibble(key, depth);
                    let mask = branch.header.header.mask;
                    if mask & bit == 0 {
                        return None;
                    }
                    depth += 1;
                    node = &branch.slice[(mask & (bit - 1)).count_ones() as usize];
                }
                Self::Hidden(hidden) => node = hidden.node.get()?,
            }
        }
    }

    /// A key that leads here: that of some leaf below where one is known.
    pub(super) fn any_key(&self) -> B256 {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf.key,
                Self::Extension(extension) => return extension.key,
                Self::Branch(branch) => node = &branch.slice[0],
                Self::Hidden(hidden) => return hidden.prefix,
            }
        }
    }

    /// True when both are the same node in memory.
    #[inline]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(left), Self::Leaf(right)) => Arc::ptr_eq(left, right),
            (Self::Extension(left), Self::Extension(right)) => Arc::ptr_eq(left, right),
            (Self::Hidden(left), Self::Hidden(right)) => Arc::ptr_eq(left, right),
            (Self::Branch(left), Self::Branch(right)) => std::ptr::eq(left.as_ptr(), right.as_ptr()),
            _ => false,
        }
    }

    /// Number of leaves below.
    #[inline]
    pub(super) fn leaf_count(&self) -> u64 {
        match self {
            Self::Leaf(_) => 1,
            Self::Extension(extension) => extension.child.leaf_count(),
            Self::Branch(branch) => u64::from(branch.header.header.leaf_count),
            Self::Hidden(_) => 0,
        }
    }

    /// Number of nodes from this one down and their bytes on the heap.
    pub(super) fn nodes_and_bytes(&self) -> (u64, u64)
    where
        V: Value,
    {
        const COUNTER: usize = size_of::<usize>();
        match self {
            Self::Leaf(_) => (1, (size_of::<Leaf<V>>() + COUNTER) as u64),
            Self::Extension(extension) => {
                let (nodes, bytes) = extension.child.nodes_and_bytes();
                (nodes + 1, bytes + (size_of::<Extension<V>>() + COUNTER) as u64)
            }
            Self::Hidden(_) => (1, (size_of::<Hidden<V>>() + COUNTER) as u64),
            Self::Branch(branch) => {
                let head = size_of::<HeaderSlice<BranchHead, [Self; 0]>>() + 2 * COUNTER;
                let own = (head + size_of_val(&branch.slice)) as u64;
                branch
                    .slice
                    .iter()
                    .map(Self::nodes_and_bytes)
                    .fold((1, own), |sum, part| (sum.0 + part.0, sum.1 + part.1))
            }
        }
    }

    /// Sum of the weights below.
    #[inline]
    pub(super) fn weight(&self) -> u64
    where
        V: Value,
    {
        match self {
            Self::Leaf(leaf) => leaf.value.weight(),
            Self::Extension(extension) => extension.child.weight(),
            Self::Branch(branch) => branch.header.header.weight,
            Self::Hidden(_) => 0,
        }
    }

    /// A branch of these children, indexed by nibble; at least two must be present, or one that is hidden.
    pub(super) fn branch(children: [Option<Self>; 16]) -> Self
    where
        V: Value,
    {
        let (mut mask, mut leaf_count, mut weight) = (0_u16, 0_u64, 0_u64);
        for (index, child) in children.iter().enumerate() {
            if let Some(child) = child {
                mask |= 1 << index;
                leaf_count += child.leaf_count();
                weight += child.weight();
            }
        }
        debug_assert!(
            mask.count_ones() >= 2 || children.iter().flatten().all(|only| matches!(only, Self::Hidden(_))),
            "a branch has two children, or waits for its only one to be shown"
        );
        let leaf_count = u32::try_from(leaf_count).expect("a trie in memory has fewer than 2^32 leaves");
        let head = BranchHead { reference: OnceLock::new(), mask, leaf_count, weight };
        let present = Present { count: mask.count_ones() as usize, children: children.into_iter() };
        Self::Branch(ThinArc::from_header_and_iter(head, present))
    }

    /// The same subtree, rooted `count` nibbles nearer to the root, at `depth`. Leaves and extensions are copied: their hash depends on depth.
    pub(super) fn lifted(self, depth: usize, count: usize) -> Self
    where
        V: Value,
    {
        if count == 0 {
            return self;
        }
        match self {
            Self::Leaf(leaf) => Self::Leaf(Leaf::new(leaf.key, leaf.value.clone())),
            Self::Extension(extension) => {
                Self::extension(extension.key, extension.length + count, extension.child.clone())
            }
            Self::Hidden(hidden) => match hidden.node.get() {
                Some(shown) => shown.clone().lifted(depth, count),
                None if hidden.is_branch() => Self::extension(hidden.prefix, count, Self::Hidden(hidden)),
                None => unreachable!("a hidden node is lifted only once its form is known"),
            },
            Self::Branch(_) => {
                debug_assert!(depth + count < KEY_NIBBLES);
                Self::extension(self.any_key(), count, self)
            }
        }
    }

    /// An extension over a branch; `key` is any key below.
    pub(super) fn extension(key: B256, length: usize, child: Self) -> Self {
        debug_assert!(length > 0 && matches!(child, Self::Branch(_) | Self::Hidden(_)));
        Self::Extension(Arc::new(Extension { reference: OnceLock::new(), key, length, child }))
    }
}

/// The present children, with the exact length that a thin allocation asks for.
struct Present<V> {
    count: usize,
    children: std::array::IntoIter<Option<Node<V>>, 16>,
}

impl<V> Iterator for Present<V> {
    type Item = Node<V>;

    fn next(&mut self) -> Option<Node<V>> {
        let child = self.children.by_ref().flatten().next()?;
        self.count -= 1;
        Some(child)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<V> ExactSizeIterator for Present<V> {}
