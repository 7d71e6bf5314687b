//! Texts that must equal those of plain decoding.

use anyhow::Result;
use kad_core::TokenId;
use kad_polybasic::Verifier;
use serde::Serialize;

use super::BenchDecoder;
use super::decode::DecoderTexts;
use crate::analysis::equal_texts::EqualTexts;
use crate::config::DecoderKind;
use crate::models::{self, Models, first_difference_at};

/// Texts that equal the baseline's, and the first difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct TextCheck {
    #[serde(flatten)]
    pub(crate) same: EqualTexts,
    pub(crate) first_difference: Option<FirstDifference>,
}

/// The first difference of two texts; prompts, repetitions and tokens count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct FirstDifference {
    pub(crate) prompt: usize,
    pub(crate) repetition: usize,
    pub(crate) token: usize,
    /// Difference of the target's two largest logits there, by a pass over the whole text.
    pub(crate) gap: Option<f64>,
}

impl std::fmt::Display for TextCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} texts equal the baseline's, token for token", self.same)?;
        let Some(FirstDifference { prompt, repetition, token, gap }) = self.first_difference else {
            return Ok(());
        };
        write!(f, "; first difference: prompt {prompt}, repetition {repetition}, token {token}")?;
        match gap {
            Some(gap) => write!(f, ", gap of the two largest logits {gap:.2e}"),
            None => Ok(()),
        }
    }
}

/// For each decoder the number of texts that equal those of the first; `None` for decoders whose
/// texts may differ.
pub(super) fn compare(
    decoders: &[BenchDecoder],
    measured: &[DecoderTexts],
    prompts: &[(u64, Vec<Vec<TokenId>>)],
    models: &Models,
) -> Result<Vec<Option<TextCheck>>> {
    let (Some(plain), Some(wanted)) = (decoders.first(), measured.first()) else {
        return Ok(Vec::new());
    };
    let each = decoders.iter().zip(measured).enumerate();
    each.map(|(index, (one, found))| {
        if index == 0 || !one.same_distribution(plain) || !writes_plain_text(one) {
            return Ok(None);
        }
        let mut check = TextCheck::default();
        for (prompt, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            for (repetition, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                let difference = first_difference_at(&found.tokens, &wanted.tokens);
                check.same.add(difference.is_none());
                if let (Some(token), None) = (difference, check.first_difference) {
                    let text = [&prompts[prompt].1[index][..], &wanted.tokens[..token]].concat();
                    let gap = models::top_two_gap(&one.kind, models, &text)?;
                    let (prompt, repetition, token) = (prompt + 1, repetition + 1, token + 1);
                    check.first_difference =
                        Some(FirstDifference { prompt, repetition, token, gap });
                }
            }
        }
        Ok(Some(check))
    })
    .collect()
}

/// True at temperature 0, and where every level verifies by the uniforms of plain decoding.
fn writes_plain_text(one: &BenchDecoder) -> bool {
    let shared = match &one.kind {
        DecoderKind::Chain(chain) => {
            let single = matches!(*chain.target.distribution, DecoderKind::Single { .. });
            single && chain.listed().iter().all(|level| level.verifier == Verifier::SameUniform)
        }
        _ => false,
    };
    one.sampling.temperature == 0.0 || shared
}
