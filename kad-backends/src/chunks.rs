//! Splits long prompts into chunks of bounded size.

use kad_core::TokenId;

/// Chunks of at most `size` tokens, each with the number of its tokens among the last `wanted` of
/// all.
pub(crate) fn chunks(
    tokens: &[TokenId],
    size: usize,
    wanted: usize,
) -> impl Iterator<Item = (&[TokenId], usize)> {
    let mut left = tokens.len();
    tokens.chunks(size).map(move |chunk| {
        left -= chunk.len();
        (chunk, wanted.saturating_sub(left).min(chunk.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with marking each token separately.
    #[test]
    fn the_last_tokens_are_marked_in_every_chunk() {
        for count in 0..12 {
            let tokens: Vec<TokenId> = (0..count).collect();
            for (size, wanted) in (1..5).flat_map(|size| (0..=tokens.len()).map(move |w| (size, w)))
            {
                let found: Vec<(&[TokenId], usize)> = chunks(&tokens, size, wanted).collect();
                let is_wanted = |token: &&TokenId| **token as usize >= tokens.len() - wanted;
                let marked = |chunk: &[TokenId]| chunk.iter().filter(is_wanted).count();
                let expected: Vec<_> = tokens.chunks(size).map(|it| (it, marked(it))).collect();
                assert_eq!(found, expected);
            }
        }
    }
}
