//! Orders that a seed decides.

use sha2::{Digest, Sha256};

/// The numbers below `count` in an order that `seed` and `labels` decide: sorted by the SHA-256 of
/// seed, labels and number, so that the order depends on no generator.
pub(super) fn shuffled(count: usize, seed: u64, labels: &[&str]) -> Vec<usize> {
    let digest = |index: usize| {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        for label in labels {
            hasher.update((label.len() as u64).to_le_bytes());
            hasher.update(label.as_bytes());
        }
        hasher.update((index as u64).to_le_bytes());
        <[u8; 32]>::from(hasher.finalize())
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|index| digest(*index));
    order
}
