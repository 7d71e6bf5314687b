//! Builds a decoder from its plan and loaded models.

use std::num::NonZeroUsize;

use anyhow::Result;
use kad_core::decode::{Decoder, DeferralDecoder, SingleDecoder};
use kad_core::{
    ImplicitReward, LanguageModel, Mixture, MixturePredictor, ModelPredictor, RewardDrafter,
    TokenId, UndefinedRatio,
};
use kad_polybasic::{
    DeferralTarget, DraftSettings, Drafter, PredictorDrafter, PredictorTarget, Speculative, Stage,
    Target,
};

use super::chain;
use crate::config::{DecoderKind, DraftPart, Execution, SamplingPlan};

/// The decoder `kind`, whose texts end at a token of `eos`. `model` finds models by name; their
/// sessions are new.
pub(crate) fn decoder<'m>(
    kind: &'m DecoderKind,
    sampling: &SamplingPlan,
    model: &dyn Fn(&str) -> &'m dyn LanguageModel,
    eos: &[TokenId],
) -> Result<Box<dyn Decoder + 'm>> {
    let (sampling, decision) = (sampling.sampling()?, sampling.decision()?);
    Ok(match kind {
        DecoderKind::Single { model: name } => {
            Box::new(SingleDecoder::new(ModelPredictor::new(model(name), sampling)?))
        }
        DecoderKind::Deferral { base, aligned, rule, execution } => {
            let (base, aligned) = (model(base), model(aligned));
            let mixture = Mixture::new(base, aligned, rule.rule(), sampling, decision)?;
            match *execution {
                Execution::Autoregressive => {
                    Box::new(SingleDecoder::new(MixturePredictor::new(mixture)))
                }
                Execution::Lazy => Box::new(DeferralDecoder::new(mixture)),
                Execution::Speculative { draft_length: length, bonus, .. } => {
                    let parts = DeferralTarget::drafted_by_aligned(mixture, length.get());
                    speculative(parts, (length, bonus), eos)
                }
            }
        }
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, execution } => {
            let (base, small, aligned) = (model(base), model(small), model(aligned));
            let undefined = undefined_ratio(*cap_log_ratio);
            let mut reward = ImplicitReward::new(base, small, aligned, sampling, undefined)?;
            match *execution {
                Execution::Autoregressive | Execution::Lazy => Box::new(SingleDecoder::new(reward)),
                Execution::Speculative { draft_length: length, bonus, drafter } => {
                    let part = match drafter {
                        DraftPart::Aligned => RewardDrafter::Aligned,
                        DraftPart::Small => RewardDrafter::Small,
                    };
                    let session = reward.drafted_by(part, length.get());
                    let drafter = PredictorDrafter::new(ModelPredictor::sharing(session, sampling));
                    speculative((drafter, PredictorTarget::new(reward)), (length, bonus), eos)
                }
            }
        }
        DecoderKind::Chain(plan) => chain::decoder(plan, model, eos)?,
    })
}

/// The treatment of tokens that are impossible for the small model.
pub(super) fn undefined_ratio(cap_log_ratio: Option<f64>) -> UndefinedRatio {
    cap_log_ratio.map_or(UndefinedRatio::Exclude, UndefinedRatio::CapLogRatio)
}

fn speculative<'m>(
    (drafter, target): (impl Drafter + 'm, impl Target + 'm),
    (length, bonus): (NonZeroUsize, bool),
    eos: &[TokenId],
) -> Box<dyn Decoder + 'm> {
    Box::new(Speculative::new(Stage::new(drafter, target, DraftSettings { length, bonus }), eos))
}
