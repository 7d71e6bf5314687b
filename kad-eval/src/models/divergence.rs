//! Where two texts part, and how close a call it was there.

use anyhow::Result;
use kad_core::{CachedSession, TokenId};

use super::Model;

/// The index of the first token that is another; if one text goes on where the other ends, that
/// place.
pub(crate) fn part_at(a: &[TokenId], b: &[TokenId]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or((a.len() != b.len()).then(|| a.len().min(b.len())))
}

/// How far the two best logits after `text` are apart.
///
/// # Errors
/// If the model fails, or has no room for the text.
pub(crate) fn top_gap(model: &Model, text: &[TokenId]) -> Result<f64> {
    let mut session = CachedSession::new(&model.counted)?;
    let mut best = [f32::NEG_INFINITY; 2];
    for &logit in session.row(text)? {
        if logit > best[0] {
            best = [logit, best[0]];
        } else if logit > best[1] {
            best[1] = logit;
        }
    }
    Ok(f64::from(best[0]) - f64::from(best[1]))
}

#[cfg(test)]
mod tests {
    use super::part_at;

    #[test]
    fn texts_differ_where_the_first_token_does_or_one_ends() {
        assert_eq!(part_at(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(part_at(&[1, 2, 3], &[1, 4, 3]), Some(1));
        assert_eq!(part_at(&[1, 2], &[1, 2, 3]), Some(2));
    }
}
