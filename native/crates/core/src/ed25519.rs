//! Ed25519 signatures as CometBFT checks them: the rules of ZIP-215, which leave no case open.
//!
//! A signature (R, s) by A over m is valid when R and A are encodings of points on the curve (non-canonical ones and points of small
//! order included), s is below the group's order, and `[8][s]B = [8]R + [8][k]A` with k = SHA-512(R, A, m).
//! Sources: RFC 8032, ZIP-215.

use ed25519_zebra::{Signature, SigningKey, VerificationKey};
use rayon::prelude::*;

/// Whether `signature` (64 bytes) is the signature by `public_key` (32 bytes) over `message`; false for other lengths.
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = <&[u8; 64]>::try_from(signature) else { return false };
    VerificationKey::try_from(public_key).and_then(|key| key.verify(&Signature::from_bytes(signature), message)).is_ok()
}

/// Public key (32 bytes) and signature (64 bytes) over `message` by the key of a 32-byte seed (RFC 8032).
pub fn sign(seed: [u8; 32], message: &[u8]) -> ([u8; 32], [u8; 64]) {
    let key = SigningKey::from(seed);
    (VerificationKey::from(&key).into(), key.sign(message).to_bytes())
}

/// [`verify`] of each, in parallel: one bad signature says nothing about the others.
pub fn verify_many<T: AsRef<[u8]> + Sync>(signed: &[(T, T, T)]) -> Vec<bool> {
    signed
        .par_iter()
        .with_min_len(8)
        .map(|(public_key, message, signature)| verify(public_key.as_ref(), message.as_ref(), signature.as_ref()))
        .collect()
}
