//! RFC 6962 (Certificate Transparency) tree hash over SHA-256: leaf prefix 0x00, node prefix 0x01, split at the largest power of two.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// The tree hash of the items; of no items the hash of nothing (RFC 6962 section 2.1).
pub fn merkle_root<T: AsRef<[u8]> + Sync>(items: &[T]) -> [u8; 32] {
    if items.is_empty() {
        return Sha256::digest([]).into();
    }
    let mut level: Vec<[u8; 32]> = items
        .par_iter()
        .with_min_len(256)
        .map(|item| Sha256::new().chain_update([0]).chain_update(item).finalize().into())
        .collect();
    // Pairing from the left and carrying an odd last node up gives the same tree as the recursive definition.
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => {
                    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
                }
                rest => rest[0],
            })
            .collect();
    }
    level[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    fn recursive(items: &[Vec<u8>]) -> [u8; 32] {
        match items {
            [] => Sha256::digest([]).into(),
            [one] => Sha256::new().chain_update([0]).chain_update(one).finalize().into(),
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(split);
                Sha256::new()
                    .chain_update([1])
                    .chain_update(recursive(left))
                    .chain_update(recursive(right))
                    .finalize()
                    .into()
            }
        }
    }

    #[test]
    fn equals_the_recursive_definition_for_every_size() {
        for size in 0..70_u8 {
            let items: Vec<Vec<u8>> = (0..size).map(|item| vec![item; usize::from(item)]).collect();
            assert_eq!(merkle_root(&items), recursive(&items), "{size} items");
        }
    }

    #[test]
    fn root_of_nothing_is_the_hash_of_nothing() {
        let none: [&[u8]; 0] = [];
        assert_eq!(hex::encode(merkle_root(&none)), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
