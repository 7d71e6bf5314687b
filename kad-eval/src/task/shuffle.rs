//! Randomness from a seed and names, without a generator: the SHA-256 of both.

use sha2::{Digest, Sha256};

/// The hasher of `seed`, and of the length in bytes and the text (UTF-8) of each label. Integers are
/// u64, little-endian.
pub(crate) fn seeded(seed: u64, labels: &[&str]) -> Sha256 {
    let mut hasher = Sha256::new_with_prefix(seed.to_le_bytes());
    for label in labels {
        hasher.update((label.len() as u64).to_le_bytes());
        hasher.update(label);
    }
    hasher
}

/// The numbers below `count`, sorted by the digest of seed, labels and number.
pub(super) fn shuffled(count: usize, seed: u64, labels: &[&str]) -> Vec<usize> {
    let hasher = seeded(seed, labels);
    let digest = |index: &usize| {
        <[u8; 32]>::from(hasher.clone().chain_update((*index as u64).to_le_bytes()).finalize())
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(digest);
    order
}
