//! Sorted batch update: one walk over the touched part of the trie, the top levels in parallel.

use alloy_primitives::B256;
use rayon::prelude::*;
use triomphe::Arc;

use super::node::{nibble, shared_nibbles, Leaf, Node, Value};

/// Fewer updates than this below a node are applied by one thread; a rayon task costs about a microsecond, an update three.
const PARALLEL_UPDATES_MIN: usize = 128;

/// Fewer leaves than this are built by one thread.
const PARALLEL_BUILD_MIN: usize = 2_048;

/// One entry of a batch.
pub(crate) trait Update<V>: Send {
    /// Which entry.
    fn key(&self) -> &B256;

    /// Decides the entry's new value; called once at most.
    fn resolve(&mut self, old: Option<&V>) -> Resolved<V>;
}

/// What an update does to its entry.
pub(crate) enum Resolved<V> {
    Unchanged,
    Set(V),
    Deleted,
}

/// What a batch did to a subtree.
pub(super) enum Change<V> {
    Unchanged,
    Changed(Option<Node<V>>),
}

/// Applies updates (sorted, without repetition, all agreeing with the node's path above `depth`) to a subtree.
pub(super) fn update<V: Value, U: Update<V>>(node: Option<&Node<V>>, updates: &mut [U], depth: usize) -> Change<V> {
    debug_assert!(updates.windows(2).all(|pair| pair[0].key() < pair[1].key()));
    if updates.is_empty() {
        return Change::Unchanged;
    }
    match node {
        None => insert_all(updates, depth),
        Some(Node::Leaf(leaf)) => update_leaf(leaf, updates, depth),
        // What nobody looked at is changed by nobody but an execution that guessed, whose results are thrown away.
        Some(Node::Hidden(hidden)) => {
            hidden.node.get().map_or(Change::Unchanged, |shown| update(Some(shown), updates, depth))
        }
        Some(Node::Extension(extension)) => {
            let (first, last) = (updates[0].key(), updates[updates.len() - 1].key());
            let shared = shared_nibbles(first, &extension.key, depth).min(shared_nibbles(last, &extension.key, depth));
            if shared >= extension.length {
                let below = depth + extension.length;
                lift(update(Some(&extension.child), updates, below), depth, extension.length)
            } else {
                // Some update leaves the run: a branch stands where the first one does.
                let rest = extension.length - shared - 1;
                let kid = match rest {
                    0 => extension.child.clone(),
                    _ => Node::extension(extension.key, rest, extension.child.clone()),
                };
                let mut children = [const { None }; 16];
                children[nibble(&extension.key, depth + shared)] = Some(&kid);
                lift(update_children(children, updates, depth + shared), depth, shared)
            }
        }
        Some(Node::Branch(branch)) => {
            let mut children = [const { None }; 16];
            let mut mask = branch.header.header.mask;
            for child in &branch.slice {
                children[mask.trailing_zeros() as usize] = Some(child);
                mask &= mask - 1;
            }
            update_children(children, updates, depth)
        }
    }
}

fn lift<V: Value>(change: Change<V>, depth: usize, count: usize) -> Change<V> {
    match change {
        Change::Changed(Some(node)) => Change::Changed(Some(node.lifted(depth, count))),
        other => other,
    }
}

fn insert_all<V: Value, U: Update<V>>(updates: &mut [U], depth: usize) -> Change<V> {
    if let [only] = updates {
        return match only.resolve(None) {
            Resolved::Set(value) => Change::Changed(Some(Node::Leaf(Leaf::new(*only.key(), value)))),
            Resolved::Unchanged | Resolved::Deleted => Change::Unchanged,
        };
    }
    let mut leaves = Vec::with_capacity(updates.len());
    for update in updates {
        if let Resolved::Set(value) = update.resolve(None) {
            leaves.push(Some(Leaf::new(*update.key(), value)));
        }
    }
    if leaves.is_empty() {
        return Change::Unchanged;
    }
    Change::Changed(build(&mut leaves, depth))
}

fn update_leaf<V: Value, U: Update<V>>(leaf: &Arc<Leaf<V>>, updates: &mut [U], depth: usize) -> Change<V> {
    let mut leaves = Vec::with_capacity(updates.len() + 1);
    let mut kept = true;
    let mut place = 0;
    for update in updates {
        let key = *update.key();
        let own = key == leaf.key;
        match update.resolve(own.then_some(&leaf.value)) {
            Resolved::Set(value) => {
                leaves.push(Some(Leaf::new(key, value)));
                kept &= !own;
            }
            Resolved::Deleted => kept &= !own,
            Resolved::Unchanged => {}
        }
        if key < leaf.key {
            place = leaves.len();
        }
    }
    if kept {
        if leaves.is_empty() {
            return Change::Unchanged;
        }
        // With company the leaf moves down: a new node, since its hash depends on depth.
        leaves.insert(place, Some(Leaf::new(leaf.key, leaf.value.clone())));
    }
    Change::Changed(build(&mut leaves, depth))
}

fn update_children<V: Value, U: Update<V>>(
    children: [Option<&Node<V>>; 16],
    updates: &mut [U],
    depth: usize,
) -> Change<V> {
    let parallel = updates.len() >= PARALLEL_UPDATES_MIN;
    let mut results: [Change<V>; 16] = [const { Change::Unchanged }; 16];
    let mut jobs: Vec<(usize, &mut [U])> = Vec::with_capacity(if parallel { 16 } else { 0 });
    let mut rest = updates;
    while let Some(first) = rest.first() {
        let index = nibble(first.key(), depth);
        let end = if rest.len() <= 8 {
            rest.iter().position(|update| nibble(update.key(), depth) != index).unwrap_or(rest.len())
        } else {
            rest.partition_point(|update| nibble(update.key(), depth) <= index)
        };
        let (own, others) = rest.split_at_mut(end);
        rest = others;
        if parallel {
            jobs.push((index, own));
        } else {
            results[index] = update(children[index], own, depth + 1);
        }
    }
    if parallel {
        let done: Vec<(usize, Change<V>)> = jobs
            .into_par_iter()
            .with_max_len(1)
            .map(|(index, own)| (index, update(children[index], own, depth + 1)))
            .collect();
        for (index, change) in done {
            results[index] = change;
        }
    }
    if results.iter().all(|change| matches!(change, Change::Unchanged)) {
        return Change::Unchanged;
    }
    let mut next = [const { None }; 16];
    let mut count = 0;
    for (index, change) in results.into_iter().enumerate() {
        next[index] = match change {
            Change::Changed(node) => node,
            Change::Unchanged => children[index].cloned(),
        };
        count += usize::from(next[index].is_some());
    }
    Change::Changed(match count {
        0 => None,
        // Whether the only child is a leaf, a run or a branch decides what becomes of this one: it waits until that is known.
        1 if next.iter().flatten().any(|only| matches!(only, Node::Hidden(hidden) if hidden.is_formless())) => {
            Some(Node::branch(next))
        }
        1 => next.into_iter().flatten().next().map(|only| only.lifted(depth, 1)),
        _ => Some(Node::branch(next)),
    })
}

/// Builds a subtree at `depth` from leaves in rising order of keys; takes them out of the slice.
pub(super) fn build<V: Value>(leaves: &mut [Option<Arc<Leaf<V>>>], depth: usize) -> Option<Node<V>> {
    match leaves {
        [] => return None,
        [only] => return only.take().map(Node::Leaf),
        _ => {}
    }
    let key_at = |leaf: &Option<Arc<Leaf<V>>>| leaf.as_ref().map(|leaf| leaf.key).unwrap_or_default();
    let (first, last) = (key_at(&leaves[0]), key_at(&leaves[leaves.len() - 1]));
    let shared = shared_nibbles(&first, &last, depth);
    let at = depth + shared;
    let parallel = leaves.len() >= PARALLEL_BUILD_MIN;
    let mut children = [const { None }; 16];
    let mut jobs = Vec::new();
    let mut rest = leaves;
    while !rest.is_empty() {
        let index = nibble(&key_at(&rest[0]), at);
        let end = rest.partition_point(|leaf| nibble(&key_at(leaf), at) <= index);
        let (own, others) = rest.split_at_mut(end);
        rest = others;
        if parallel {
            jobs.push((index, own));
        } else {
            children[index] = build(own, at + 1);
        }
    }
    if parallel {
        let done: Vec<_> =
            jobs.into_par_iter().with_max_len(1).map(|(index, own)| (index, build(own, at + 1))).collect();
        for (index, child) in done {
            children[index] = child;
        }
    }
    let branch = Node::branch(children);
    Some(if shared > 0 { Node::extension(first, shared, branch) } else { branch })
}
