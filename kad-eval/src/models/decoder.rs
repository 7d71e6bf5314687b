//! From a plan and loaded models to a decoder.

use anyhow::{Result, bail};
use kad_core::decode::{Decoder, DeferralDecoder, SingleDecoder};
use kad_core::deferral::Rule;
use kad_core::{
    ImplicitReward, ImpossibleInSmall, LanguageModel, Mixture, MixturePredictor, ModelPredictor,
    RewardDrafter, Sampling, TokenId,
};
use kad_polybasic::{
    DeferralTarget, Drafting, PredictorDrafter, PredictorTarget, Speculative, Stage,
};

use crate::config::{DecoderKind, DraftPart, Execution};

/// How a decoder sees and draws, beside its models.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Tokens are drawn from this law.
    pub(crate) sampling: Sampling,
    /// Rules look at this one.
    pub(crate) decision: Sampling,
    /// Tokens that end a text.
    pub(crate) eos: Vec<TokenId>,
}

/// A decoder with fresh sessions of the models that `model` finds by name. `rule` is the decoder's
/// own, made beforehand so that it outlives the decoder.
///
/// # Errors
/// If a backend cannot start a session, or a deferral decoder comes without its rule.
pub(crate) fn decoder<'m>(
    kind: &DecoderKind,
    model: impl Fn(&str) -> &'m dyn LanguageModel,
    rule: Option<&'m Rule>,
    settings: &Settings,
) -> Result<Box<dyn Decoder + 'm>> {
    let Settings { sampling, decision, eos } = settings;
    match (kind, rule) {
        (DecoderKind::Deferral { base, aligned, execution, .. }, Some(rule)) => {
            let mixture = Mixture::new(model(base), model(aligned), rule, *sampling, *decision)?;
            Ok(deferring(mixture, *execution, eos))
        }
        (DecoderKind::Deferral { .. }, None) => bail!("a deferral decoder has a rule"),
        (DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, execution }, _) => {
            let (base, small, aligned) = (model(base), model(small), model(aligned));
            let cap = cap_log_ratio.map(ImpossibleInSmall::CapLogRatio);
            let policy = cap.unwrap_or(ImpossibleInSmall::Exclude);
            let reward = ImplicitReward::new(base, small, aligned, *sampling, policy)?;
            Ok(rewarding(reward, *execution, *sampling, eos))
        }
        (DecoderKind::Single { model: name }, _) => {
            Ok(Box::new(SingleDecoder::new(ModelPredictor::new(model(name), *sampling)?)))
        }
    }
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
            let stage = Stage::new(drafter, target, Drafting { length, bonus });
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
            let stage = Stage::new(drafter, target, Drafting { length, bonus });
            Box::new(Speculative::new(stage, eos))
        }
    }
}
