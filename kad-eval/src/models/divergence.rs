//! The first difference of two texts, and the logit gap there.

use anyhow::Result;
use kad_core::{CachedSession, LanguageModel, TokenId};

use super::Models;
use crate::config::DecoderKind;

/// Index of the first token in which two texts differ; the length of the shorter text where it is a
/// prefix of the other. `None` for equal texts.
pub(crate) fn first_difference_at(a: &[TokenId], b: &[TokenId]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or((a.len() != b.len()).then(|| a.len().min(b.len())))
}

/// Difference of the two largest logits of the decoder's model after `text`; `None` for a composed
/// distribution, and for a text longer than the context.
pub(crate) fn top_two_gap(
    kind: &DecoderKind,
    models: &Models,
    text: &[TokenId],
) -> Result<Option<f64>> {
    let DecoderKind::Single { model } = kind.distribution() else { return Ok(None) };
    let model = &models[model];
    if text.len() > model.counted.context_len() {
        return Ok(None);
    }
    let mut session = CachedSession::new(&model.counted)?;
    let mut best = [f32::NEG_INFINITY; 2];
    for &logit in session.row(text)? {
        if logit > best[0] {
            best = [logit, best[0]];
        } else if logit > best[1] {
            best[1] = logit;
        }
    }
    Ok(Some(f64::from(best[0]) - f64::from(best[1])))
}

#[cfg(test)]
mod tests {
    use super::first_difference_at;

    #[test]
    fn texts_differ_at_the_first_other_token_or_at_the_end_of_the_shorter() {
        assert_eq!(first_difference_at(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first_difference_at(&[1, 2, 3], &[1, 4, 3]), Some(1));
        assert_eq!(first_difference_at(&[1, 2], &[1, 2, 3]), Some(2));
    }
}
