//! Whether texts that must be those of plain decoding are.

use anyhow::{Context, Result};
use kad_core::TokenId;
use kad_polybasic::Verifier;

use super::decode::Measured;
use super::{BenchDecoder, Difference, SameText};
use crate::config::DecoderKind;
use crate::models::{self, Models, part_at};

/// By decoder; None where texts may be others.
pub(super) type SameTexts = Vec<Option<SameText>>;

/// Of each decoder whose texts must be the first one's: how many are. The others have None.
///
/// # Errors
/// If the target fails where texts part.
pub(super) fn compare(
    decoders: &[BenchDecoder],
    measured: &[Measured],
    prompts: &[(u64, Vec<Vec<TokenId>>)],
    models: &Models,
) -> Result<SameTexts> {
    let (Some(plain), Some(wanted)) = (decoders.first(), measured.first()) else {
        return Ok(Vec::new());
    };
    let each = decoders.iter().zip(measured).enumerate();
    each.map(|(index, (one, found))| {
        if index == 0 || !one.same_distribution(plain) || !writes_plain_text(one) {
            return Ok(None);
        }
        let mut same = SameText::default();
        for (prompt, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            for (repetition, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                same.of += 1;
                let Some(token) = part_at(&found.tokens, &wanted.tokens) else {
                    same.equal += 1;
                    continue;
                };
                if same.first_difference.is_none() {
                    let text = [&prompts[prompt].1[index][..], &wanted.tokens[..token]].concat();
                    let gap = gap(one, models, &text)?;
                    let (prompt, repetition, token) = (prompt + 1, repetition + 1, token + 1);
                    same.first_difference = Some(Difference { prompt, repetition, token, gap });
                }
            }
        }
        Ok(Some(same))
    })
    .collect()
}

/// At temperature 0, or verified by the uniforms of plain decoding throughout.
fn writes_plain_text(one: &BenchDecoder) -> bool {
    let shared = match &one.kind {
        DecoderKind::Chain(chain) => {
            let single = matches!(*chain.target.distribution, DecoderKind::Single { .. });
            single && chain.listed().iter().all(|level| level.verifier == Verifier::SharedUniform)
        }
        _ => false,
    };
    one.sampling.temperature == 0.0 || shared
}

/// How far the target's two best logits after `text` are apart; None for composed targets.
fn gap(one: &BenchDecoder, models: &Models, text: &[TokenId]) -> Result<Option<f64>> {
    let DecoderKind::Single { model } = one.kind.distribution() else { return Ok(None) };
    let model = models.get(model).context("the target's model is loaded")?;
    models::top_gap(model, text).map(Some)
}
