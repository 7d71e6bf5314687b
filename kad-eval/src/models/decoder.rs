//! Builds a decoder from its plan and loaded models.

use anyhow::Result;
use kad_core::decode::{Decoder, DeferralDecoder, SingleDecoder};
use kad_core::{
    ImplicitReward, LanguageModel, Mixture, MixturePredictor, ModelPredictor, RewardDrafter,
    Sampling, TokenId, UndefinedRatio,
};
use kad_polybasic::{
    DeferralTarget, DraftSettings, PredictorDrafter, PredictorTarget, Speculative, Stage,
};

use super::chain;
use super::rules::Rules;
use crate::config::{DecoderKind, DraftPart, Execution};

/// Settings of a decoder beside its models.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The distribution that tokens are drawn from.
    pub(crate) sampling: Sampling,
    /// The distribution that deferral rules see.
    pub(crate) decision: Sampling,
    /// Tokens that end a text.
    pub(crate) eos: Vec<TokenId>,
}

/// The decoder `kind`. `model` finds models by name; their sessions are new. `rules` are made by
/// [`Rules::of`] the same kind.
///
/// # Errors
/// If a backend cannot start a session, or the rules are another decoder's.
pub(crate) fn decoder<'m>(
    kind: &DecoderKind,
    model: impl Fn(&str) -> &'m dyn LanguageModel,
    rules: &'m Rules,
    settings: &Settings,
) -> Result<Box<dyn Decoder + 'm>> {
    let Settings { sampling, decision, eos } = settings;
    match kind {
        DecoderKind::Single { model: name } => {
            Ok(Box::new(SingleDecoder::new(ModelPredictor::new(model(name), *sampling)?)))
        }
        DecoderKind::Deferral { base, aligned, rule, execution } => {
            let (base, aligned, rule) = (model(base), model(aligned), rules.rule(rule)?);
            let mixture = Mixture::new(base, aligned, rule, *sampling, *decision)?;
            Ok(deferring(mixture, *execution, eos))
        }
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, execution } => {
            let (base, small, aligned) = (model(base), model(small), model(aligned));
            let impossible = undefined_ratio(*cap_log_ratio);
            let reward = ImplicitReward::new(base, small, aligned, *sampling, impossible)?;
            Ok(rewarding(reward, *execution, *sampling, eos))
        }
        DecoderKind::Chain(plan) => chain::decoder(plan, &model, rules, eos),
    }
}

/// What to do with tokens that the small model holds for impossible.
pub(super) fn undefined_ratio(cap_log_ratio: Option<f64>) -> UndefinedRatio {
    cap_log_ratio.map_or(UndefinedRatio::Exclude, UndefinedRatio::CapLogRatio)
}

fn deferring<'m>(
    mixture: Mixture<'m>,
    execution: Execution,
    eos: &[TokenId],
) -> Box<dyn Decoder + 'm> {
    match execution {
        Execution::Autoregressive => Box::new(SingleDecoder::new(MixturePredictor::new(mixture))),
        Execution::Lazy => Box::new(DeferralDecoder::new(mixture)),
        Execution::Speculative { draft_length: length, bonus, .. } => {
            let (drafter, target) = DeferralTarget::drafted_by_aligned(mixture, length.get());
            let stage = Stage::new(drafter, target, DraftSettings { length, bonus });
            Box::new(Speculative::new(stage, eos))
        }
    }
}

fn rewarding<'m>(
    mut reward: ImplicitReward<'m>,
    execution: Execution,
    sampling: Sampling,
    eos: &[TokenId],
) -> Box<dyn Decoder + 'm> {
    match execution {
        Execution::Autoregressive | Execution::Lazy => Box::new(SingleDecoder::new(reward)),
        Execution::Speculative { draft_length: length, bonus, drafter } => {
            let part = match drafter {
                DraftPart::Aligned => RewardDrafter::Aligned,
                DraftPart::Small => RewardDrafter::Small,
            };
            let drafter = ModelPredictor::sharing(reward.drafted_by(part, length.get()), sampling);
            let (drafter, target) = (PredictorDrafter::new(drafter), PredictorTarget::new(reward));
            let stage = Stage::new(drafter, target, DraftSettings { length, bonus });
            Box::new(Speculative::new(stage, eos))
        }
    }
}
